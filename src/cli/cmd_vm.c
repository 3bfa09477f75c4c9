/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead vm: VMs, how they are born, the addresses of their NICs. `tree` is in cmd_vm_tree.c. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/hosts.h"
#include "model/id.h"

#include <string.h>

static void cell_protected(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	cli_cell_protected(json_object_get(vm, "nics"), cell);
}

static void cell_labels(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	BH_FREE char *text = cli_labels_text(json_object_get(vm, "labels"));

	cli_cell_printf(cell, "%s", text);
}

static void cell_labels_api(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	BH_FREE char *text = cli_labels_text(json_object_get(vm, "labels_api"));

	cli_cell_printf(cell, "%s", text);
}

static void cell_addresses(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const json_t *nics = json_object_get(vm, "nics");
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < json_array_size(nics); i++) {
		const json_t *list = json_object_get(json_array_get(nics, i), "addresses");
		BH_FREE char *text = cli_json_text(list);

		bh_wbuf_printf(&w, "%s%s", w.size && *text ? ", " : "", text);
	}
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static void cell_state(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const char *state = bh_json_str_or(vm, "state", "");
	bool quarantine = json_is_object(json_object_get(vm, "quarantine"));
	bool over = json_is_object(json_object_get(vm, "over_quota"));

	cli_cell_printf(cell, "%s%s%s", state, quarantine ? ", quarantine" : "",
			over ? ", out of quota" : "");
	cell->colour = quarantine || over	       ? CLI_COLOUR_WARN
		       : strcmp(state, "running") != 0 ? CLI_COLOUR_DIM
						       : CLI_COLOUR_NONE;
}

static void cell_birth(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const char *birth = bh_json_str_or(vm, "birth", "");

	cli_cell_printf(cell, "%s", birth);
	cell->colour = !strcmp(birth, "open") ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

static void cell_misplaced(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const char *why = bh_json_str_or(vm, "misplaced", "");

	cli_cell_printf(cell, "%s", *why ? why : "no");
	cell->colour = *why ? CLI_COLOUR_BAD : CLI_COLOUR_NONE;
}

static void cell_quota(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	const json_t *over = json_object_get(vm, "over_quota");

	if (!json_is_object(over)) {
		cli_cell_printf(cell, "kept");
		return;
	}
	cli_cell_printf(cell, "%llu labels of %llu; %s",
			(unsigned long long)bh_json_u64_or(over, "labels", 0),
			(unsigned long long)bh_json_u64_or(over, "limit", 0),
			bh_json_str_or(over, "message", ""));
	cell->colour = CLI_COLOUR_BAD;
}

static int vm_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "NAME", .key = "name", .flags = CLI_COL_CUT},
		{.title = "TENANT", .key = "tenant"},
		{.title = "HOST", .key = "host"},
		{.title = "STATE", .fn = cell_state},
		{.title = "PROTECTED", .fn = cell_protected},
		{.title = "LABELS", .fn = cell_labels, .flags = CLI_COL_CUT},
		{.title = "ADDRESSES", .fn = cell_addresses, .flags = CLI_COL_CUT},
		{.title = "IDENTITY", .key = "identity", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
		{.title = "BIRTH", .fn = cell_birth, .flags = CLI_COL_WIDE},
		{.title = "TYPE", .key = "type", .flags = CLI_COL_WIDE},
		{.title = "UUID", .key = "uuid", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/vms");
	cli_query_add(&path, "tenant", cli_call_value(call, "tenant"));
	cli_query_add(&path, "host", cli_call_value(call, "host"));
	cli_query_add(&path, "label", cli_call_value(call, "label"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No VMs.");
	}
	return r;
}

static void cell_nic_protected(const struct cli_output *out, const json_t *nic,
			       struct cli_cell *cell)
{
	bool good = json_is_true(json_object_get(nic, "protected"));

	cli_cell_printf(cell, "%s%s%s", good ? CLI_OK : CLI_BAD " ",
			good ? "" : "no: ", good ? "" : bh_json_str_or(nic, "reason", "unknown"));
	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static void show_nics(const struct cli_output *out, const json_t *nics)
{
	static const struct cli_column columns[] = {
		{.title = "MAC", .key = "mac"},
		{.title = "DEVICE", .key = "dev"},
		{.title = "NETWORK", .key = "network"},
		{.title = "ADDRESSES", .key = "addresses", .flags = CLI_COL_CUT},
		{.title = "PROTECTED", .fn = cell_nic_protected},
		{.title = "VLANS", .key = "vlans", .flags = CLI_COL_WIDE},
		{.title = "MAY", .key = "flags", .flags = CLI_COL_WIDE},
		{.title = "BY API", .key = "addresses_api", .flags = CLI_COL_WIDE},
		{.title = "LEARNED", .key = "addresses_learned", .flags = CLI_COL_WIDE},
		{.title = "KIND", .key = "kind", .flags = CLI_COL_WIDE},
		{.title = "SOURCE", .key = "source", .flags = CLI_COL_WIDE},
	};

	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), nics, nics, "No NICs.");
}

/* Who has it, from the point of view of nobody in particular. */
static void show_conflicts(const struct cli_output *out, const json_t *list)
{
	static const struct cli_column columns[] = {
		{.title = "ADDRESS", .key = "address"},
		{.title = "NETWORK", .key = "network"},
		{.title = "HAS IT", .key = "winner_name"},
		{.title = "CLAIMS IT TOO", .key = "vm_name"},
		{.title = "BECAUSE", .key = "why"},
	};

	if (json_array_size(list)) {
		fputs("\nAddresses that another VM claims too:\n", out->file);
		cli_show_list(out, columns, BH_ARRAY_SIZE(columns), list, list, "");
	}
}

static void cell_until(const struct cli_output *out, const json_t *place, struct cli_cell *cell)
{
	const char *until = bh_json_str_or(place, "until", "");

	cli_cell_printf(cell, "%s", *until ? until : "now");
	cell->colour = *until ? CLI_COLOUR_DIM : CLI_COLOUR_NONE;
}

/* Newest first. */
static void show_history(const struct cli_output *out, const json_t *list)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "host"},	    {.title = "SINCE", .key = "since"},
		{.title = "UNTIL", .fn = cell_until},	    {.title = "CAME BY", .key = "how"},
		{.title = "MIGRATION", .key = "migration"},
	};

	if (json_array_size(list)) {
		fputs("\nWhere it ran:\n", out->file);
		cli_show_list(out, columns, BH_ARRAY_SIZE(columns), list, list, "");
	}
}

static void show_vm(const struct cli_output *out, const json_t *vm)
{
	static const struct cli_column columns[] = {
		{.title = "name", .key = "name"},
		{.title = "uuid", .key = "uuid"},
		{.title = "tenant", .key = "tenant"},
		{.title = "host", .key = "host"},
		{.title = "moving to", .key = "moving_to"},
		{.title = "state", .fn = cell_state},
		{.title = "type", .key = "type"},
		{.title = "birth", .fn = cell_birth},
		{.title = "quarantine", .fn = cli_cell_quarantine},
		{.title = "misplaced", .fn = cell_misplaced},
		{.title = "quota", .fn = cell_quota},
		{.title = "identity", .key = "identity"},
		{.title = "labels", .fn = cell_labels},
		{.title = "labels set here", .fn = cell_labels_api},
		{.title = "protected", .fn = cell_protected},
		{.title = "last seen", .key = "last_seen"},
	};

	cli_show_record(out, columns, BH_ARRAY_SIZE(columns), vm);
	if (out->format != CLI_FORMAT_JSON) {
		fputc('\n', out->file);
		show_nics(out, json_object_get(vm, "nics"));
		show_conflicts(out, json_object_get(vm, "address_conflicts"));
		show_history(out, json_object_get(vm, "history"));
	}
}

static int vm_show(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		show_vm(&cli->out, body);
	}
	return r;
}

/* PATCH of one member; "default" gives it back to libvirt's metadata. */
static int patch_vm(struct cli *cli, const char *vm, const char *member, const char *value)
{
	BH_FREE char *path = cli_path("/vms/", vm, "");
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *body = NULL;
	int r;

	json_object_set_new(request, member,
			    !strcmp(value, "default") ? json_null() : json_string(value));
	r = cli_send(cli, "PATCH", path, request, &body);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else if (!r) {
		cli_say(stdout, "%s: %s is %s\n", bh_json_str_or(body, "name", vm), member,
			bh_json_str_or(body, member, "?"));
	}
	return r;
}

static int vm_birth(struct cli *cli, const struct cli_call *call)
{
	const char *birth = call->args[1];

	if (strcmp(birth, "open") != 0 && strcmp(birth, "closed") != 0 &&
	    strcmp(birth, "default") != 0) {
		return cli_fail(
			cli, CLI_EXIT_USAGE,
			"birth is open (starts even unprotected), closed, or default (as libvirt's "
			"metadata says), not \"%s\"",
			birth);
	}
	return patch_vm(cli, call->args[0], "birth", birth);
}

static int vm_tenant(struct cli *cli, const struct cli_call *call)
{
	return patch_vm(cli, call->args[0], "tenant", call->args[1]);
}

static int vm_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

/* ---- addresses ---- */

static json_t *find_nic(const json_t *vm, const char *mac)
{
	json_t *nics = json_object_get(vm, "nics");

	for (size_t i = 0; i < json_array_size(nics); i++) {
		json_t *nic = json_array_get(nics, i);

		if (!mac || !strcasecmp(bh_json_str_or(nic, "mac", ""), mac)) {
			return nic;
		}
	}
	return NULL;
}

/* Which NIC is meant: args[1] when it is a MAC, else the only one. */
static int choose_nic(struct cli *cli, const struct cli_call *call, const json_t *vm,
		      json_t **ret_nic, unsigned int *ret_first)
{
	uint8_t mac[6];
	bool given = bh_mac_parse(call->args[1], mac) == 0;
	size_t count = json_array_size(json_object_get(vm, "nics"));

	*ret_first = given ? 2 : 1;
	if (!given && count != 1) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"%s has %zu NICs; name one: `%s %s MAC ADDRESS...`", call->args[0],
				count, call->path, call->args[0]);
	}
	*ret_nic = find_nic(vm, given ? call->args[1] : NULL);
	if (!*ret_nic) {
		return cli_fail(cli, CLI_EXIT_MISSING, "%s has no NIC %s", call->args[0],
				call->args[1]);
	}
	if (*ret_first >= call->arg_count) {
		return cli_fail(cli, CLI_EXIT_USAGE, "`%s` needs an address", call->path);
	}
	return CLI_EXIT_OK;
}

static void drop_text(json_t *list, const char *text)
{
	for (size_t i = json_array_size(list); i > 0; i--) {
		if (!strcmp(json_string_value(json_array_get(list, i - 1)), text)) {
			(void)json_array_remove(list, i - 1);
		}
	}
}

static int change_list(struct cli *cli, const struct cli_call *call, unsigned int first, bool add,
		       json_t *list)
{
	for (unsigned int i = first; i < call->arg_count; i++) {
		char text[BH_ADDR_TEXT_SIZE];
		uint8_t addr[16];

		if (bh_addr_parse(call->args[i], addr)) {
			return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no IPv4 or IPv6 address",
					call->args[i]);
		}
		bh_addr_format(addr, text);
		drop_text(list, text);
		if (add) {
			json_array_append_new(list, json_string(text));
		}
	}
	return CLI_EXIT_OK;
}

static int change_addresses(struct cli *cli, const struct cli_call *call, bool add)
{
	BH_FREE char *vm_path = cli_path("/vms/", call->args[0], "");
	BH_FREE char *nics_path = NULL;
	BH_FREE char *path = NULL;
	BH_JSON json_t *vm = NULL;
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *body = NULL;
	json_t *nic = NULL;
	json_t *list = NULL;
	unsigned int first = 0;
	int r = cli_get(cli, vm_path, &vm);

	r = r ? r : choose_nic(cli, call, vm, &nic, &first);
	if (r) {
		return r;
	}
	list = json_copy(json_object_get(nic, "addresses_api"));
	list = list ? list : json_array();
	json_object_set_new(request, "addresses", list);
	r = change_list(cli, call, first, add, list);
	if (r) {
		return r;
	}
	nics_path = bh_asprintf("%s/nics/", vm_path);
	path = cli_path(nics_path, bh_json_str_or(nic, "mac", ""), "/addresses");
	r = cli_send(cli, "PUT", path, request, &body);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else if (!r) {
		BH_JSON json_t *one = json_pack("[O]", body);

		show_nics(&cli->out, one);
	}
	return r;
}

static int address_add(struct cli *cli, const struct cli_call *call)
{
	return change_addresses(cli, call, true);
}

static int address_remove(struct cli *cli, const struct cli_call *call)
{
	return change_addresses(cli, call, false);
}

static const struct cli_command address_commands[] = {
	{.name = "add",
	 .args = "VM [MAC] ADDRESS...",
	 .summary = "let a NIC use addresses",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 66,
	 .run = address_add},
	{.name = "remove",
	 .args = "VM [MAC] ADDRESS...",
	 .summary = "take addresses back that were added here",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 66,
	 .run = address_remove},
	{},
};

static const struct cli_option list_options[] = {
	{"tenant", 0, "TENANT", "only VMs of this tenant", CLI_WORDS_TENANT},
	{"host", 0, "HOST", "only VMs on this host", CLI_WORDS_HOST},
	{"label", 0, "KEY[=VALUE]", "only VMs with this label; several with commas", NULL},
	{},
};

static const struct cli_option tree_options[] = {
	{"host", 0, "HOST", "only this host", CLI_WORDS_HOST},
	{},
};

const struct cli_command cli_vm_commands[] = {
	{.name = "list",
	 .summary = "VMs with labels and addresses",
	 .options = list_options,
	 .run = vm_list},
	{.name = "show",
	 .args = "VM",
	 .summary = "one VM and its NICs",
	 .words = CLI_WORDS_VM,
	 .args_min = 1,
	 .args_max = 1,
	 .run = vm_show},
	{.name = "tree",
	 .summary = "host, VM, NIC, network: the tree that libvirt shows",
	 .options = tree_options,
	 .run = cli_cmd_vm_tree},
	{.name = "birth",
	 .args = "VM open|closed|default",
	 .summary = "may it start before it is protected?",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 2,
	 .run = vm_birth},
	{.name = "quarantine",
	 .args = "VM",
	 .summary = "leave it DHCP and what policies with `quarantine: true` allow",
	 .words = CLI_WORDS_VM,
	 .options = cli_quarantine_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_quarantine},
	{.name = "release",
	 .args = "VM",
	 .summary = "let it out of quarantine",
	 .words = CLI_WORDS_VM,
	 .options = cli_quarantine_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_release},
	{.name = "start",
	 .args = "VM",
	 .summary = "start it, protected before its first packet",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "shutdown",
	 .args = "VM",
	 .summary = "ask its guest to shut down, and wait until it is off",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "reboot",
	 .args = "VM",
	 .summary = "ask its guest to restart",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "reset",
	 .args = "VM",
	 .summary = "restart it as with a reset button",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "suspend",
	 .args = "VM",
	 .summary = "let it stand still",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "resume",
	 .args = "VM",
	 .summary = "let it go on",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_power},
	{.name = "destroy",
	 .args = "VM",
	 .summary = "power it off as it is (dangerous)",
	 .words = CLI_WORDS_VM,
	 .options = cli_destroy_options,
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_vm_destroy},
	{.name = "migrate",
	 .args = "VM HOST",
	 .summary = "move it to another host while it runs",
	 .words = CLI_WORDS_VM,
	 .options = cli_power_options,
	 .args_min = 2,
	 .args_max = 2,
	 .run = cli_cmd_vm_migrate},
	{.name = "snapshot",
	 .summary = "snapshots of a VM, with its memory",
	 .children = cli_snapshot_commands},
	{.name = "tenant",
	 .args = "VM TENANT|default",
	 .summary = "give a VM to a tenant",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 2,
	 .run = vm_tenant},
	{.name = "address",
	 .summary = "addresses that a NIC may use",
	 .children = address_commands},
	{.name = "remove",
	 .args = "VM",
	 .summary = "forget a VM that no host reports any more",
	 .words = CLI_WORDS_VM,
	 .args_min = 1,
	 .args_max = 1,
	 .run = vm_remove},
	{},
};
