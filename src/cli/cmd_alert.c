/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead alert, bulkhead channel: what somebody should look at, and where events go to. */
#include "cli/cmd.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/show_any.h"
#include "cli/text.h"

#include <string.h>

#define FILE_MAX 65536

/* ---- alerts ---- */

static void cell_time(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	char text[CLI_TIME_SIZE] = "";
	uint64_t time = cli_time_parse(bh_json_str_or(row, "last", ""));

	if (time) {
		cli_time_short(time, out->now_ns, text);
	}
	cli_cell_printf(cell, "%s", text);
}

static void cell_severity(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *severity = bh_json_str_or(row, "severity", "");

	cli_cell_printf(cell, "%s", severity);
	cell->colour = !strcmp(severity, "critical")  ? CLI_COLOUR_BAD
		       : !strcmp(severity, "warning") ? CLI_COLOUR_WARN
						      : CLI_COLOUR_NONE;
}

static int alert_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "SEVERITY", .fn = cell_severity},
		{.title = "STATE", .key = "state"},
		{.title = "COUNT", .key = "count", .flags = CLI_COL_RIGHT},
		{.title = "LAST", .fn = cell_time},
		{.title = "TYPE", .key = "type"},
		{.title = "ABOUT", .key = "name", .flags = CLI_COL_CUT},
		{.title = "WHAT", .key = "signature", .flags = CLI_COL_CUT},
		{.title = "TENANT", .key = "tenant", .flags = CLI_COL_WIDE},
		{.title = "ASSIGNEE", .key = "assignee", .flags = CLI_COL_WIDE},
		{.title = "COMMENTS", .key = "comments", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
	};
	static const char *const passed[] = {"state", "severity", "tenant", "type",
					     "vm",    "since",	  "q"};
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/alerts");
	for (size_t i = 0; i < BH_ARRAY_SIZE(passed); i++) {
		cli_query_add(&path, passed[i],
			      cli_call_value(call, strcmp(passed[i], "q") ? passed[i] : "search"));
	}
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No alerts.");
	}
	return r;
}

static int show_body(struct cli *cli, const json_t *body)
{
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else {
		cli_show_any(&cli->out, body);
	}
	return CLI_EXIT_OK;
}

static int get_and_show(struct cli *cli, const char *before, const char *name)
{
	BH_FREE char *path = cli_path(before, name, "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	return r ? r : show_body(cli, body);
}

static int alert_show(struct cli *cli, const struct cli_call *call)
{
	return get_and_show(cli, "/alerts/", call->args[0]);
}

static int alert_act(struct cli *cli, const struct cli_call *call, const char *verb)
{
	BH_FREE char *path = cli_path("/alerts/", call->args[0], verb);
	const char *text = cli_call_value(call, "comment");
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *body = NULL;
	int r;

	if (!strcmp(verb, ":comment")) {
		text = call->args[1];
	} else if (!strcmp(verb, ":assign")) {
		json_object_set_new(request, "assignee",
				    json_string(call->arg_count > 1 ? call->args[1] : ""));
	}
	if (text) {
		json_object_set_new(request, "text", json_string(text));
	}
	r = cli_send(cli, "POST", path, request, &body);
	return r ? r : show_body(cli, body);
}

static int alert_acknowledge(struct cli *cli, const struct cli_call *call)
{
	return alert_act(cli, call, ":acknowledge");
}

static int alert_close(struct cli *cli, const struct cli_call *call)
{
	return alert_act(cli, call, ":close");
}

static int alert_reopen(struct cli *cli, const struct cli_call *call)
{
	return alert_act(cli, call, ":reopen");
}

static int alert_comment(struct cli *cli, const struct cli_call *call)
{
	return alert_act(cli, call, ":comment");
}

static int alert_assign(struct cli *cli, const struct cli_call *call)
{
	return alert_act(cli, call, ":assign");
}

static const struct cli_option alert_list_options[] = {
	{"state", 0, "STATE", "active (not closed), open, acknowledged, closed or any",
	 "active|open|acknowledged|closed|any"},
	{"severity", 0, "SEVERITY", "this one or graver", "info|notice|warning|critical"},
	{"tenant", 0, "TENANT", "of this tenant", CLI_WORDS_TENANT},
	{"type", 0, "TYPE", "a type, or its beginning: vm., guard.*", NULL},
	{"vm", 0, "VM", "about this VM", CLI_WORDS_VM},
	{"since", 0, "TIME", "last seen after: 5m, 2h, 1d or an RFC 3339 time", NULL},
	{"search", 's', "TEXT", "in name, type or what it is about", NULL},
	{},
};

static const struct cli_option alert_act_options[] = {
	{"comment", 'm', "TEXT", "why, for the others", NULL},
	{},
};

const struct cli_command cli_alert_commands[] = {
	{.name = "list",
	 .summary = "alerts, the newest first",
	 .options = alert_list_options,
	 .run = alert_list},
	{.name = "show",
	 .args = "ID",
	 .summary = "one alert and what was done about it",
	 .args_min = 1,
	 .args_max = 1,
	 .run = alert_show},
	{.name = "acknowledge",
	 .args = "ID",
	 .summary = "somebody looks at it",
	 .args_min = 1,
	 .args_max = 1,
	 .options = alert_act_options,
	 .run = alert_acknowledge},
	{.name = "close",
	 .args = "ID",
	 .summary = "it is dealt with",
	 .args_min = 1,
	 .args_max = 1,
	 .options = alert_act_options,
	 .run = alert_close},
	{.name = "reopen",
	 .args = "ID",
	 .summary = "it is not, after all",
	 .args_min = 1,
	 .args_max = 1,
	 .options = alert_act_options,
	 .run = alert_reopen},
	{.name = "comment",
	 .args = "ID TEXT",
	 .summary = "a word for the others",
	 .args_min = 2,
	 .args_max = 2,
	 .run = alert_comment},
	{.name = "assign",
	 .args = "ID [USER]",
	 .summary = "who looks at it; nobody without USER",
	 .args_min = 1,
	 .args_max = 2,
	 .options = alert_act_options,
	 .run = alert_assign},
	{},
};

/* ---- channels ---- */

static int channel_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "NAME", .key = "name"},
		{.title = "KIND", .key = "kind"},
		{.title = "FORMAT", .key = "format"},
		{.title = "STATE", .key = "state"},
		{.title = "DELIVERED", .key = "delivered", .flags = CLI_COL_RIGHT},
		{.title = "QUEUED", .key = "queued", .flags = CLI_COL_RIGHT},
		{.title = "GAVE UP", .key = "gave_up", .flags = CLI_COL_RIGHT},
		{.title = "LAST ERROR", .key = "last_error", .flags = CLI_COL_CUT},
		{.title = "URL", .key = "url", .flags = CLI_COL_CUT | CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/channels", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No channels.");
	}
	return r;
}

static int channel_show(struct cli *cli, const struct cli_call *call)
{
	return get_and_show(cli, "/channels/", call->args[0]);
}

/* The contents of a file as a member of the request. */
static int add_file(const struct cli *cli, const struct cli_call *call, const char *option,
		    const char *member, json_t *request)
{
	const char *path = cli_call_value(call, option);
	BH_FREE char *text = NULL;
	struct bh_diag diag = {};
	size_t size = 0;

	if (!path) {
		return CLI_EXIT_OK;
	}
	if (bh_file_read(path, FILE_MAX, &text, &size, &diag) < 0) {
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	size -= size && !strcmp(member, "secret") && text[size - 1] == '\n';
	json_object_set_new(request, member, json_stringn(text, size));
	return CLI_EXIT_OK;
}

static int add_files(const struct cli *cli, const struct cli_call *call, json_t *request)
{
	static const char *const files[][2] = {{"secret-file", "secret"},
					       {"receiver-ca", "ca"},
					       {"certificate", "certificate"},
					       {"key", "key"}};
	int r = CLI_EXIT_OK;

	for (size_t i = 0; i < BH_ARRAY_SIZE(files) && !r; i++) {
		r = add_file(cli, call, files[i][0], files[i][1], request);
	}
	return r;
}

static int channel_set(struct cli *cli, const struct cli_call *call)
{
	static const char *const filters[] = {"type", "severity", "q"};
	const char *url = call->args[1];
	BH_FREE char *path = cli_path("/channels/", call->args[0], "");
	BH_JSON json_t *request = json_pack("{s:s, s:s, s:b}", "url", url, "kind",
					    strncmp(url, "tls://", 6) == 0 ? "syslog" : "webhook",
					    "enabled", !cli_call_flag(call, "off"));
	BH_JSON json_t *body = NULL;
	json_t *filter = json_object();
	int r;

	json_object_set_new(request, "filter", filter);
	json_object_set_new(request, "format",
			    json_string(cli_call_value_or(call, "format", "ecs")));
	if (cli_call_flag(call, "from-oldest")) {
		json_object_set_new(request, "from", json_string("oldest"));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(filters); i++) {
		const char *value =
			cli_call_value(call, strcmp(filters[i], "q") ? filters[i] : "search");

		if (value) {
			json_object_set_new(filter, filters[i], json_string(value));
		}
	}
	r = add_files(cli, call, request);
	if (!r) {
		r = cli_send(cli, "PUT", path, request, &body);
	}
	return r ? r : show_body(cli, body);
}

static int channel_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/channels/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static int channel_test(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/channels/", call->args[0], ":test");
	BH_JSON json_t *body = NULL;
	int r = cli_send(cli, "POST", path, NULL, &body);

	return r ? r : show_body(cli, body);
}

static const struct cli_option channel_set_options[] = {
	{"format", 0, "FORMAT", "ecs (JSON), cef or raw", "ecs|cef|raw"},
	{"type", 0, "TYPE", "only events of this type, or with this beginning", NULL},
	{"severity", 0, "SEVERITY", "only this one or graver", "info|notice|warning|critical"},
	{"search", 's', "WORDS", "only events with these words", NULL},
	{"secret-file", 0, "FILE", "what signs webhooks; a text of at least 16 bytes",
	 CLI_WORDS_FILE},
	{"receiver-ca", 0, "FILE", "who signs the receiver's certificate, PEM", CLI_WORDS_FILE},
	{"certificate", 0, "FILE", "ours, if the receiver wants one, PEM", CLI_WORDS_FILE},
	{"key", 0, "FILE", "its key, PEM", CLI_WORDS_FILE},
	{"from-oldest", 0, NULL, "a new channel sends what is kept, too", NULL},
	{"off", 0, NULL, "keep it, but send nothing", NULL},
	{},
};

const struct cli_command cli_channel_commands[] = {
	{.name = "list", .summary = "where events go to", .run = channel_list},
	{.name = "show",
	 .args = "NAME",
	 .summary = "one channel",
	 .args_min = 1,
	 .args_max = 1,
	 .run = channel_show},
	{.name = "set",
	 .args = "NAME URL",
	 .summary = "make or change one: tls://HOST:6514 is syslog, https://... a webhook",
	 .args_min = 2,
	 .args_max = 2,
	 .options = channel_set_options,
	 .run = channel_set},
	{.name = "remove",
	 .args = "NAME",
	 .summary = "send nothing there any more",
	 .args_min = 1,
	 .args_max = 1,
	 .run = channel_remove},
	{.name = "test",
	 .args = "NAME",
	 .summary = "send an event, and try again at once",
	 .args_min = 1,
	 .args_max = 1,
	 .run = channel_test},
	{},
};
