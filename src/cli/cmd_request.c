/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead request: asking for rights and saying yes or no. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"

#include <string.h>

static const struct cli_column columns[] = {
	{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
	{.title = "STATE", .key = "state"},
	{.title = "USER", .key = "user"},
	{.title = "KIND", .key = "kind"},
	{.title = "RIGHT", .key = "verb"},
	{.title = "TENANT", .key = "tenant"},
	{.title = "OBJECT", .key = "object", .flags = CLI_COL_CUT},
	{.title = "HOURS", .key = "hours", .flags = CLI_COL_RIGHT},
	{.title = "REASON", .key = "reason", .flags = CLI_COL_CUT},
	{.title = "UNTIL", .key = "until", .flags = CLI_COL_WIDE},
	{.title = "DECIDED BY", .key = "decided_by", .flags = CLI_COL_WIDE},
	{.title = "ANSWER", .key = "answer", .flags = CLI_COL_WIDE},
	{.title = "CREATED", .key = "created", .flags = CLI_COL_WIDE},
};

static int show(struct cli *cli, const json_t *body)
{
	cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	return CLI_EXIT_OK;
}

static int request_list(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/requests");
	cli_query_add(&path, "state", cli_call_value(call, "state"));
	cli_query_add(&path, "before", cli_call_value(call, "before"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No requests.");
	}
	return r;
}

static int request_show(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/requests/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	return r ? r : show(cli, body);
}

/* "--hours N" into the body; CLI_EXIT_USAGE (reported). */
static int take_hours(const struct cli *cli, const struct cli_call *call, json_t *body)
{
	const char *text = cli_call_value(call, "hours");
	uint64_t hours;

	if (text && bh_parse_u64(text, 1, 720, &hours) < 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--hours is from 1 to 720");
	}
	if (text) {
		json_object_set_new(body, "hours", json_integer((json_int_t)hours));
	}
	return CLI_EXIT_OK;
}

static int request_submit(struct cli *cli, const struct cli_call *call)
{
	static const char *const names[] = {"tenant", "object"};
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "grant", "verb", call->args[0],
					 "reason", cli_call_value_or(call, "reason", ""));
	BH_JSON json_t *answer = NULL;
	int r = take_hours(cli, call, body);

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (cli_call_value(call, names[i])) {
			json_object_set_new(body, names[i],
					    json_string(cli_call_value(call, names[i])));
		}
	}
	r = r ? r : cli_send(cli, "POST", "/requests", body, &answer);
	return r ? r : show(cli, answer);
}

static int decide(struct cli *cli, const struct cli_call *call, const char *verb)
{
	BH_FREE char *path = cli_path("/requests/", call->args[0], verb);
	BH_JSON json_t *body = json_pack("{s:s}", "reason", cli_call_value_or(call, "reason", ""));
	BH_JSON json_t *answer = NULL;
	int r = take_hours(cli, call, body);

	r = r ? r : cli_send(cli, "POST", path, body, &answer);
	return r ? r : show(cli, answer);
}

static int request_approve(struct cli *cli, const struct cli_call *call)
{
	return decide(cli, call, ":approve");
}

static int request_refuse(struct cli *cli, const struct cli_call *call)
{
	return decide(cli, call, ":refuse");
}

static int request_end(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/requests/", call->args[0], ":end");

	return cli_send(cli, "POST", path, NULL, NULL);
}

static const struct cli_option list_options[] = {
	{"state", 0, "STATE", "waiting, approved, refused, ended or expired", NULL},
	{"before", 0, "ID", "older ones than this", NULL},
	{},
};
static const struct cli_option submit_options[] = {
	{"reason", 0, "TEXT", "why; who decides reads it", NULL},
	{"tenant", 0, "TENANT", "where (your own)", CLI_WORDS_TENANT},
	{"object", 0, "OBJECT", "only for this, like vm/NAME", NULL},
	{"hours", 0, "N", "how long (1)", NULL},
	{},
};
static const struct cli_option approve_options[] = {
	{"reason", 0, "TEXT", "what the record shall say", NULL},
	{"hours", 0, "N", "not as long as was asked for", NULL},
	{},
};
static const struct cli_option refuse_options[] = {
	{"reason", 0, "TEXT", "why not", NULL},
	{},
};

#define ID .args = "ID", .args_min = 1, .args_max = 1

const struct cli_command cli_request_commands[] = {
	{.name = "list",
	 .summary = "yours, and those that you may decide",
	 .options = list_options,
	 .run = request_list},
	{.name = "show", ID, .summary = "one of them", .run = request_show},
	{.name = "submit",
	 .args = "RIGHT",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "ask for a right for some hours",
	 .options = submit_options,
	 .run = request_submit},
	{.name = "approve",
	 ID,
	 .summary = "say yes; the grant ends by itself",
	 .options = approve_options,
	 .run = request_approve},
	{.name = "refuse",
	 ID,
	 .summary = "say no",
	 .options = refuse_options,
	 .run = request_refuse},
	{.name = "end",
	 ID,
	 .summary = "withdraw it, or end a grant before its time",
	 .run = request_end},
	{},
};
