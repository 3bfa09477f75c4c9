/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead vm tree: what virt-manager or `virsh domiflist` show, for all hosts at once, with what
 * keeps each NIC. JSON: [{"host", "online", "vms": [Vm of the API]}]; VMs that no host reports
 * stand under null.
 */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/text.h"

#include <string.h>

#define LAST	"└─ "
#define BRANCH	"├─ "
#define THROUGH "│  "
#define NOTHING "   "

static void put(const struct cli_output *out, enum cli_colour colour, const char *text)
{
	BH_FREE char *clean = cli_text_clean(text);

	fprintf(out->file, "%s%s%s", cli_colour_begin(out, colour), clean,
		cli_colour_end(out, colour));
}

static void put_nic(const struct cli_output *out, const char *prefix, bool last, const json_t *nic)
{
	bool good = json_is_true(json_object_get(nic, "protected"));
	const char *network = bh_json_str_or(nic, "network", "");
	const char *source = bh_json_str_or(nic, "source", "");
	BH_FREE char *addresses = cli_json_text(json_object_get(nic, "addresses"));
	const char *dev = bh_json_str_or(nic, "dev", "");
	BH_FREE char *head =
		bh_asprintf("%s%s%s", bh_json_str_or(nic, "mac", "?"), *dev ? "  " : "", dev);
	BH_FREE char *tail = bh_asprintf(" → %s%s%s%s", *network ? network : source,
					 *addresses ? "  " : "", addresses, good ? "  " : "");

	fprintf(out->file, "%s%s", prefix, last ? LAST : BRANCH);
	put(out, CLI_COLOUR_NONE, head);
	put(out, CLI_COLOUR_NONE, tail);
	if (good) {
		put(out, CLI_COLOUR_GOOD, CLI_OK " protected");
	} else {
		BH_FREE char *why = bh_asprintf("  " CLI_BAD " not protected: %s",
						bh_json_str_or(nic, "reason", "unknown"));

		put(out, CLI_COLOUR_BAD, why);
	}
	fputc('\n', out->file);
}

static void put_vm(const struct cli_output *out, bool last, const json_t *vm)
{
	const json_t *nics = json_object_get(vm, "nics");
	size_t count = json_array_size(nics);
	BH_FREE char *labels = cli_labels_text(json_object_get(vm, "labels"));
	BH_FREE char *head = bh_asprintf("%s/%s", bh_json_str_or(vm, "tenant", "?"),
					 bh_json_str_or(vm, "name", "?"));
	BH_FREE char *tail = bh_asprintf("  %s%s%s", bh_json_str_or(vm, "state", ""),
					 *labels ? "  " : "", labels);

	fputs(last ? LAST : BRANCH, out->file);
	put(out, CLI_COLOUR_BOLD, head);
	put(out, CLI_COLOUR_DIM, tail);
	fputc('\n', out->file);
	for (size_t i = 0; i < count; i++) {
		put_nic(out, last ? NOTHING : THROUGH, i + 1 == count, json_array_get(nics, i));
	}
}

static void put_host(const struct cli_output *out, const json_t *entry)
{
	const json_t *vms = json_object_get(entry, "vms");
	const char *name = bh_json_str_or(entry, "host", "(on no host)");
	size_t count = json_array_size(vms);

	put(out, CLI_COLOUR_BOLD, name);
	if (json_is_false(json_object_get(entry, "online"))) {
		put(out, CLI_COLOUR_BAD, "  offline; as it was seen last");
	}
	fputc('\n', out->file);
	for (size_t i = 0; i < count; i++) {
		put_vm(out, i + 1 == count, json_array_get(vms, i));
	}
}

static json_t *vms_of(const json_t *vms, const char *host)
{
	json_t *list = json_array();

	for (size_t i = 0; i < json_array_size(vms); i++) {
		json_t *vm = json_array_get(vms, i);
		const char *on = json_string_value(json_object_get(vm, "host"));

		if (host ? on && !strcmp(on, host) : !on) {
			json_array_append(list, vm);
		}
	}
	return list;
}

static json_t *make_tree(const json_t *hosts, const json_t *vms, const char *only)
{
	json_t *tree = json_array();
	json_t *homeless = vms_of(vms, NULL);

	for (size_t i = 0; i < json_array_size(hosts); i++) {
		const json_t *host = json_array_get(hosts, i);
		const char *name = bh_json_str_or(host, "name", "");

		if (!only || !strcmp(only, name)) {
			json_array_append_new(tree,
					      json_pack("{s:s, s:O, s:o}", "host", name, "online",
							json_object_get(host, "online"), "vms",
							vms_of(vms, name)));
		}
	}
	if (json_array_size(homeless) && !only) {
		json_array_append_new(
			tree, json_pack("{s:n, s:n, s:O}", "host", "online", "vms", homeless));
	}
	json_decref(homeless);
	return tree;
}

int cli_cmd_vm_tree(struct cli *cli, const struct cli_call *call)
{
	const char *only = cli_call_value(call, "host");
	BH_JSON json_t *hosts = NULL;
	BH_JSON json_t *vms = NULL;
	BH_JSON json_t *tree = NULL;
	int r = cli_get(cli, "/hosts", &hosts);

	r = r ? r : cli_get(cli, "/vms", &vms);
	if (r) {
		return r;
	}
	tree = make_tree(json_object_get(hosts, "items"), json_object_get(vms, "items"), only);
	if (only && json_array_size(tree) == 0) {
		return cli_fail(cli, CLI_EXIT_MISSING, "there is no host \"%s\"", only);
	}
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, tree, false);
		return CLI_EXIT_OK;
	}
	for (size_t i = 0; i < json_array_size(tree); i++) {
		put_host(&cli->out, json_array_get(tree, i));
	}
	if (json_array_size(tree) == 0) {
		printf("No hosts yet. `bulkhead host token` makes a token to enrol one.\n");
	}
	return CLI_EXIT_OK;
}
