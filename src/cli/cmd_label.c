/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead label: what policies speak of. Labels set here win over those of libvirt's metadata. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "model/id.h"

#include <string.h>

/* One row per label: {"label", "value", "from"}. */
static json_t *label_rows(const json_t *of)
{
	const json_t *api = json_object_get(of, "labels_api");
	json_t *rows = json_array();
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(of, "labels"), key, value) {
		const char *from = json_object_get(api, key) ? "set here" : "libvirt metadata";

		json_array_append_new(rows, json_pack("{s:s, s:O, s:s}", "label", key, "value",
						      value, "from", from));
	}
	return rows;
}

static void show_labels(struct cli *cli, const json_t *of)
{
	static const struct cli_column columns[] = {
		{.title = "LABEL", .key = "label"},
		{.title = "VALUE", .key = "value"},
		{.title = "FROM", .key = "from"},
	};
	BH_JSON json_t *rows = label_rows(of);

	cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), rows, of, "No labels.");
}

static int label_list(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], "/labels");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		show_labels(cli, body);
	}
	return r;
}

static int send_patch(struct cli *cli, const struct cli_call *call, json_t *labels)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], "/labels");
	BH_JSON json_t *request = json_pack("{s:O}", "labels", labels);
	BH_FREE char *text = bh_json_dump(request);
	BH_JSON json_t *body = NULL;
	struct cli_request exchange = {.method = "PATCH",
				       .body = text,
				       .body_size = strlen(text),
				       .content_type = "application/json"};
	struct cli_response response;
	struct bh_wbuf whole;
	unsigned int wait = 0;
	int r = cli_wait_of(cli, call, &wait);

	if (r) {
		return r;
	}
	bh_wbuf_init(&whole, 0);
	bh_wbuf_str(&whole, path);
	if (wait) {
		BH_FREE char *seconds = bh_asprintf("%u", wait);

		cli_query_add(&whole, "wait", seconds);
	}
	exchange.path = bh_wbuf_cstr(&whole);
	exchange.extra_s = wait;
	r = cli_exchange(cli, &exchange, &response);
	r = r ? r : cli_parse_body(cli, &response, &body);
	if (!r) {
		show_labels(cli, body);
	}
	cli_response_done(&response);
	bh_wbuf_done(&whole);
	return r;
}

int cli_label_take(const struct cli *cli, const char *text, json_t *labels)
{
	BH_FREE char *key = bh_strdup(text);
	char *value = strchr(key, '=');

	if (!value) {
		return cli_fail(cli, CLI_EXIT_USAGE, "a label is KEY=VALUE, not \"%s\"", text);
	}
	*value++ = '\0';
	if (!bh_label_key_valid(key) || !bh_label_value_valid(value)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"\"%s\" is no label: letters, digits and -_./ inside, at most 63 "
				"characters on each side",
				text);
	}
	json_object_set_new(labels, key, json_string(value));
	return CLI_EXIT_OK;
}

static int label_set(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *labels = json_object();
	int r = CLI_EXIT_OK;

	for (unsigned int i = 1; !r && i < call->arg_count; i++) {
		r = cli_label_take(cli, call->args[i], labels);
	}
	return r ? r : send_patch(cli, call, labels);
}

static int label_remove(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *labels = json_object();

	for (unsigned int i = 1; i < call->arg_count; i++) {
		if (!bh_label_key_valid(call->args[i])) {
			return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no label's key",
					call->args[i]);
		}
		json_object_set_new(labels, call->args[i], json_null());
	}
	return send_patch(cli, call, labels);
}

static const struct cli_option change_options[] = {
	{"wait", 'w', "[=SECONDS]", "until every host in scope enforces it (30)", NULL},
	{},
};

const struct cli_command cli_label_commands[] = {
	{.name = "list",
	 .args = "VM",
	 .summary = "labels of a VM and where they come from",
	 .words = CLI_WORDS_VM,
	 .args_min = 1,
	 .args_max = 1,
	 .run = label_list},
	{.name = "set",
	 .args = "VM KEY=VALUE...",
	 .summary = "set labels",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 1 + BH_LABELS_MAX,
	 .options = change_options,
	 .run = label_set},
	{.name = "remove",
	 .args = "VM KEY...",
	 .summary = "take labels back that were set here",
	 .words = CLI_WORDS_VM,
	 .args_min = 2,
	 .args_max = 1 + BH_LABELS_MAX,
	 .options = change_options,
	 .run = label_remove},
	{},
};
