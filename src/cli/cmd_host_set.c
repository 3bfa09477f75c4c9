/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead host label, host maintenance: what people say about a host. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "model/id.h"

#include <string.h>

/* ---- labels ---- */
static int take_change(struct cli *cli, const char *text, json_t *labels)
{
	size_t len = strlen(text);
	BH_FREE char *key = NULL;

	if (len < 2 || text[len - 1] != '-' || strchr(text, '=')) {
		return cli_label_take(cli, text, labels);
	}
	key = strndup(text, len - 1);
	if (!bh_label_key_valid(key)) {
		return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no label's key", key);
	}
	json_object_set_new(labels, key, json_null());
	return CLI_EXIT_OK;
}

static int show_labels(struct cli *cli, const json_t *body)
{
	static const struct cli_column columns[] = {
		{.title = "LABEL", .key = "label"},
		{.title = "VALUE", .key = "value"},
	};
	BH_JSON json_t *rows = json_array();
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(body, "labels"), key, value) {
		json_array_append_new(rows, json_pack("{s:s, s:O}", "label", key, "value", value));
	}
	cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), rows, body, "No labels.");
	return CLI_EXIT_OK;
}

int cli_cmd_host_label(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/hosts/", call->args[0], "/labels");
	json_t *labels = json_object();
	BH_JSON json_t *request = json_pack("{s:o}", "labels", labels);
	BH_JSON json_t *body = NULL;
	int r = CLI_EXIT_OK;

	for (unsigned int i = 1; !r && i < call->arg_count; i++) {
		r = take_change(cli, call->args[i], labels);
	}
	if (!r) {
		r = call->arg_count > 1 ? cli_send(cli, "PATCH", path, request, &body)
					: cli_get(cli, path, &body);
	}
	return r ? r : show_labels(cli, body);
}

/* ---- maintenance ---- */
const struct cli_option cli_host_maintenance_options[] = {
	{"reason", 0, "TEXT", "why, for those who are refused", NULL},
	{},
};

int cli_cmd_host_maintenance(struct cli *cli, const struct cli_call *call)
{
	bool on = !strcmp(call->args[1], "on");
	BH_FREE char *path = cli_path("/hosts/", call->args[0], "/maintenance");
	BH_JSON json_t *body = NULL;
	int r;

	if (!on && strcmp(call->args[1], "off") != 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "maintenance is on or off, not \"%s\"",
				call->args[1]);
	}
	if (!on && cli_call_value(call, "reason")) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--reason goes with `on`");
	}
	r = cli_put_switch(cli, call, path, on, &body);
	if (r || cli->out.format == CLI_FORMAT_JSON) {
		return r;
	}
	if (on) {
		cli_say(stdout,
			"%s takes no VM that is new to it, by start or by migration. Its own VMs "
			"run on.\n",
			call->args[0]);
	} else {
		cli_say(stdout, "%s takes VMs again.\n", call->args[0]);
	}
	return CLI_EXIT_OK;
}
