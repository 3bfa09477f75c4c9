/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead vm start, shutdown, ..., vm snapshot, vm migrate, and order: what became of it. */
#include "cli/cmd.h"
#include "cli/show_any.h"

#include "base/json.h"
#include "base/util.h"

#include <sys/random.h>

#define WAIT_MAX_S 60 /* that the manager takes */

const struct cli_option cli_power_options[] = {
	{"reason", 0, "TEXT", "why, for the audit log", NULL},
	{"wait", 'w', "SECONDS", "how long to wait for the end, 0 to 60; 10", NULL},
	{},
};
const struct cli_option cli_destroy_options[] = {
	{"undefine", 0, NULL, "libvirt forgets the VM then; its disks stay", NULL},
	{"yes", 'y', NULL, "do not ask", NULL},
	{"reason", 0, "TEXT", "why, for the audit log", NULL},
	{"wait", 'w', "SECONDS", "how long to wait for the end, 0 to 60; 10", NULL},
	{},
};
static const struct cli_option snapshot_options[] = {
	{"description", 'd', "TEXT", "what it is of", NULL},
	{"reason", 0, "TEXT", "why, for the audit log", NULL},
	{"wait", 'w', "SECONDS", "how long to wait for the end, 0 to 60; 10", NULL},
	{},
};
static const struct cli_option danger_options[] = {
	{"yes", 'y', NULL, "do not ask", NULL},
	{"reason", 0, "TEXT", "why, for the audit log", NULL},
	{"wait", 'w', "SECONDS", "how long to wait for the end, 0 to 60; 10", NULL},
	{},
};

/* What can't be taken back is asked about, at a terminal; elsewhere --yes has to say so. */
static int sure(const struct cli *cli, const struct cli_call *call, const char *question)
{
	char line[16] = "";

	if (cli_call_flag(call, "yes")) {
		return CLI_EXIT_OK;
	}
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		return cli_fail(cli, CLI_EXIT_USAGE, "%s Say so with --yes", question);
	}
	cli_say(stderr, "%s [y/N] ", question);
	if (!fgets(line, sizeof(line), stdin) || (*line != 'y' && *line != 'Y')) {
		return cli_fail(cli, CLI_EXIT_NO, "nothing was done");
	}
	return CLI_EXIT_OK;
}

static void tell(const json_t *order)
{
	const char *state = bh_json_str_or(order, "state", "?");
	const json_t *percent = json_object_get(order, "percent");

	cli_say(stdout, "%s of %s: ", bh_json_str_or(order, "act", "?"),
		bh_json_str_or(order, "vm_name", "?"));
	if (strcmp(state, "running") == 0) {
		printf("under way");
		if (json_is_integer(percent)) {
			printf(", %d %%", (int)json_integer_value(percent));
		}
		cli_say(stdout, "; see `bulkhead order show %s`\n",
			bh_json_str_or(order, "id", "?"));
		return;
	}
	cli_say(stdout, "%s%s%s%s%s\n", state,
		strcmp(state, "done") == 0 && !json_is_true(json_object_get(order, "changed"))
			? ", nothing was to do"
			: "",
		*bh_json_str_or(order, "vm_state", "") ? "; it is " : "",
		bh_json_str_or(order, "vm_state", ""),
		*bh_json_str_or(order, "error", "") ? " (see --json)" : "");
}

/* A word of ours, so that a request that libcurl sends again does nothing twice. */
static void add_request(json_t *body)
{
	uint8_t random[12];
	char text[2 * sizeof(random) + 1];

	if (getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random)) {
		bh_hex_format(random, sizeof(random), text);
		json_object_set_new(body, "request", json_string(text));
	}
}

static int order(struct cli *cli, const struct cli_call *call, const char *method, const char *path,
		 json_t *body)
{
	const char *reason = cli_call_value(call, "reason");
	const char *wait = cli_call_value_or(call, "wait", "10");
	BH_JSON json_t *owned = body;
	BH_JSON json_t *answer = NULL;
	BH_FREE char *text = NULL;
	struct cli_request request = {
		.method = method, .content_type = "application/json", .extra_s = WAIT_MAX_S};
	struct cli_response response = {};
	struct bh_wbuf full;
	int r;

	add_request(owned);
	if (reason) {
		json_object_set_new(owned, "reason", json_string(reason));
	}
	text = bh_json_dump(owned);
	bh_wbuf_init(&full, 0);
	bh_wbuf_str(&full, path);
	cli_query_add(&full, "wait", wait);
	request.path = bh_wbuf_cstr(&full);
	request.body = text;
	request.body_size = strlen(text);
	r = cli_exchange(cli, &request, &response);
	if (!r) {
		r = cli_parse_body(cli, &response, &answer);
	}
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, answer, false);
	} else if (!r) {
		tell(answer);
	}
	cli_response_done(&response);
	bh_wbuf_done(&full);
	return r;
}

/* "bulkhead vm start": the last word is the act. */
int cli_cmd_vm_power(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *act = bh_asprintf(":%s", call->command->name);
	BH_FREE char *path = cli_path("/vms/", call->args[0], act);

	return order(cli, call, "POST", path, json_object());
}

int cli_cmd_vm_destroy(struct cli *cli, const struct cli_call *call)
{
	bool undefine = cli_call_flag(call, "undefine");
	BH_FREE char *question = bh_asprintf("Power %s off as it is%s?", call->args[0],
					     undefine ? ", and have libvirt forget it" : "");
	BH_FREE char *path = cli_path("/vms/", call->args[0], ":destroy");
	int r = sure(cli, call, question);

	return r ? r : order(cli, call, "POST", path, json_pack("{s:b}", "undefine", undefine));
}

int cli_cmd_vm_migrate(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], ":migrate");

	return order(cli, call, "POST", path, json_pack("{s:s}", "host", call->args[1]));
}

/* ---- snapshots ---- */

static int snapshot_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "NAME", .key = "name"},
		{.title = "CREATED", .key = "created"},
		{.title = "STATE", .key = "state"},
		{.title = "CURRENT", .key = "current"},
		{.title = "DESCRIPTION", .key = "description", .flags = CLI_COL_CUT},
	};
	BH_FREE char *path = cli_path("/vms/", call->args[0], "/snapshots");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No snapshots.");
	}
	return r;
}

static int snapshot_create(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/vms/", call->args[0], "/snapshots");

	return order(cli, call, "POST", path,
		     json_pack("{s:s, s:s}", "name", call->args[1], "description",
			       cli_call_value_or(call, "description", "")));
}

static int with_snapshot(struct cli *cli, const struct cli_call *call, const char *method,
			 const char *word, const char *question)
{
	BH_FREE char *before = cli_path("/vms/", call->args[0], "/snapshots/");
	BH_FREE char *path = cli_path(before, call->args[1], word);
	BH_FREE char *text = bh_asprintf(question, call->args[0], call->args[1]);
	int r = sure(cli, call, text);

	return r ? r : order(cli, call, method, path, json_object());
}

static int snapshot_revert(struct cli *cli, const struct cli_call *call)
{
	return with_snapshot(cli, call, "POST", ":revert",
			     "Put %s back to snapshot %s? What it did since is lost.");
}

static int snapshot_delete(struct cli *cli, const struct cli_call *call)
{
	return with_snapshot(cli, call, "DELETE", "", "Of %s, delete snapshot %s?");
}

const struct cli_command cli_snapshot_commands[] = {
	{.name = "list",
	 .args = "VM",
	 .summary = "snapshots of a VM",
	 .words = CLI_WORDS_VM,
	 .args_min = 1,
	 .args_max = 1,
	 .run = snapshot_list},
	{.name = "create",
	 .args = "VM NAME",
	 .summary = "take one, with the memory when the VM runs",
	 .words = CLI_WORDS_VM,
	 .options = snapshot_options,
	 .args_min = 2,
	 .args_max = 2,
	 .run = snapshot_create},
	{.name = "revert",
	 .args = "VM NAME",
	 .summary = "put the VM back to it (dangerous)",
	 .words = CLI_WORDS_VM,
	 .options = danger_options,
	 .args_min = 2,
	 .args_max = 2,
	 .run = snapshot_revert},
	{.name = "delete",
	 .args = "VM NAME",
	 .summary = "delete one (dangerous)",
	 .words = CLI_WORDS_VM,
	 .options = danger_options,
	 .args_min = 2,
	 .args_max = 2,
	 .run = snapshot_delete},
	{},
};

/* ---- orders ---- */

static int order_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ORDER", .key = "id"},
		{.title = "VM", .key = "vm_name"},
		{.title = "ACT", .key = "act"},
		{.title = "STATE", .key = "state"},
		{.title = "%", .key = "percent", .flags = CLI_COL_RIGHT},
		{.title = "BY", .key = "by"},
		{.title = "BEGUN", .key = "begun"},
		{.title = "ERROR", .key = "error", .flags = CLI_COL_CUT},
	};
	const char *vm = cli_call_value(call, "vm");
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/orders");
	cli_query_add(&path, "vm", vm);
	cli_query_add(&path, "state", cli_call_value(call, "state"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No orders.");
	}
	return r;
}

static int order_show(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/orders/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		cli_show_any(&cli->out, body);
	}
	return r;
}

static int order_cancel(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/orders/", call->args[0], ":cancel");

	return cli_send(cli, "POST", path, NULL, NULL);
}

static const struct cli_option order_list_options[] = {
	{"vm", 0, "VM", "only of this VM", CLI_WORDS_VM},
	{"state", 0, "STATE", "only these", "running|done|failed|unknown"},
	{},
};

const struct cli_command cli_order_commands[] = {
	{.name = "list",
	 .summary = "what hosts were told to do with VMs, newest first",
	 .options = order_list_options,
	 .run = order_list},
	{.name = "show",
	 .args = "ORDER",
	 .summary = "one of them",
	 .args_min = 1,
	 .args_max = 1,
	 .run = order_show},
	{.name = "cancel",
	 .args = "ORDER",
	 .summary = "give up a migration, a snapshot or a shutdown",
	 .args_min = 1,
	 .args_max = 1,
	 .run = order_cancel},
	{},
};
