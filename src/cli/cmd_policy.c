/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead policy: documents and their revisions, at the manager. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/changes.h"
#include "cli/documents.h"

#include <string.h>

#define FILES_MAX    1000
#define CONFIRM_HELP "goes back by itself unless confirmed within this time, like 5m"

/* ---- documents ---- */

/* An error of the API, with the place in the file that the line of the stream came from. */
static int refused_documents(const struct cli *cli, const struct cli_documents *documents,
			     const struct cli_response *response)
{
	BH_JSON json_t *body = NULL;
	json_t *error;
	unsigned int line;
	const char *file;
	struct cli_response mapped = *response;
	BH_FREE char *text = NULL;

	if (bh_json_load(response->data, response->size, 0, &body, NULL)) {
		return cli_refused(cli, response);
	}
	error = json_object_get(body, "error");
	if (documents->files.count < 2 || !bh_json_u64_or(error, "line", 0)) {
		return cli_refused(cli, response);
	}
	file = cli_documents_place(documents, (unsigned int)bh_json_u64_or(error, "line", 0),
				   &line);
	json_object_set_new(error, "file", json_string(file));
	json_object_set_new(error, "line", json_integer(line));
	text = bh_json_dump(body);
	mapped.data = text;
	mapped.size = strlen(text);
	return cli_refused(cli, &mapped);
}

/* POSTs the files of a call; days: of recorded flows when the call says none, may be NULL.
 * *ret_body is owned. */
static int post_documents(struct cli *cli, const struct cli_call *call, const char *route,
			  unsigned int wait_s, const char *days, json_t **ret_body)
{
	struct cli_documents documents;
	struct cli_request request = {.method = "POST", .content_type = "text/yaml"};
	struct cli_response response = {};
	struct bh_wbuf path;
	struct bh_diag diag = {};
	BH_FREE char *wait = wait_s ? bh_asprintf("%u", wait_s) : NULL;
	BH_FREE char *whole = NULL;
	struct cli_client *client = cli_client_of(cli);
	int r;

	if (!client) {
		return CLI_EXIT_USAGE;
	}
	bh_wbuf_init(&path, 0);
	if (cli_documents_read(&documents, call->args, call->arg_count, &diag)) {
		cli_documents_done(&documents);
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	bh_wbuf_str(&path, route);
	cli_query_add(&path, "file", documents.name);
	cli_query_add(&path, "tenant", cli_call_value(call, "tenant"));
	cli_query_add(&path, "prune", cli_call_flag(call, "prune") ? "true" : NULL);
	cli_query_add(&path, "wait", wait);
	cli_query_add(&path, "confirm", cli_call_value(call, "confirm"));
	cli_query_add(&path, "days", cli_call_value_or(call, "days", days));
	whole = bh_asprintf("/v1%s", bh_wbuf_cstr(&path));
	bh_wbuf_done(&path);
	request.path = whole;
	request.body = bh_wbuf_cstr(&documents.text);
	request.body_size = documents.text.size;
	request.extra_s = wait_s;
	if (cli_client_send(client, &request, &response, &diag)) {
		r = cli_fail_diag(cli, CLI_EXIT_UNREACHABLE, &diag);
	} else if (response.status < 200 || response.status > 299) {
		r = refused_documents(cli, &documents, &response);
	} else {
		r = cli_parse_body(cli, &response, ret_body);
	}
	cli_response_done(&response);
	cli_documents_done(&documents);
	return r;
}

static int show_diff(struct cli *cli, const struct cli_call *call, const char *days)
{
	BH_JSON json_t *body = NULL;
	int r = post_documents(cli, call, "/policies:diff", 0, days, &body);

	if (r) {
		return r;
	}
	cli_show_diff(cli, body);
	return cli_call_flag(call, "exit-code") && json_is_true(json_object_get(body, "changed"))
		       ? CLI_EXIT_NO
		       : CLI_EXIT_OK;
}

static int policy_diff(struct cli *cli, const struct cli_call *call)
{
	return show_diff(cli, call, NULL);
}

static int policy_what_if(struct cli *cli, const struct cli_call *call)
{
	return show_diff(cli, call, "7");
}

static int policy_apply(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	unsigned int wait = 0;
	int r = cli_wait_of(cli, call, &wait);

	if (r) {
		return r;
	}
	if (cli_call_flag(call, "dry-run")) {
		return policy_diff(cli, call);
	}
	r = post_documents(cli, call, "/policies:apply", wait, NULL, &body);
	return r ? r : cli_show_applied(cli, body, wait > 0);
}

/* ---- what is there ---- */

static int policy_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "TENANT", .key = "tenant"},
		{.title = "POLICY", .key = "name"},
		{.title = "TIER", .key = "tier"},
		{.title = "ORDER", .key = "order", .flags = CLI_COL_RIGHT},
		{.title = "RULES", .key = "rules", .flags = CLI_COL_RIGHT},
		{.title = "REVISION", .key = "revision", .flags = CLI_COL_RIGHT},
		{.title = "FILE", .key = "file", .flags = CLI_COL_CUT},
		{.title = "DESCRIPTION", .key = "description", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/policies");
	cli_query_add(&path, "tenant", cli_call_value(call, "tenant"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body,
			      "No policies. `bulkhead policy apply FILE` brings some.");
	}
	return r;
}

/* Fills the tenant of a name that came without one, when only one policy is called so. */
static int find_policy(struct cli *cli, const char *text, struct cli_ref *ret)
{
	BH_JSON json_t *body = NULL;
	const json_t *items;
	unsigned int found = 0;
	int r = cli_ref_parse(cli, text, ret);

	if (r || ret->tenant[0]) {
		return r;
	}
	r = cli_get(cli, "/policies", &body);
	if (r) {
		return r;
	}
	items = json_object_get(body, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *policy = json_array_get(items, i);

		if (!strcmp(bh_json_str_or(policy, "name", ""), ret->name)) {
			snprintf(ret->tenant, sizeof(ret->tenant), "%s",
				 bh_json_str_or(policy, "tenant", ""));
			found++;
		}
	}
	if (found == 0) {
		return cli_fail(cli, CLI_EXIT_MISSING, "there is no policy \"%s\"", text);
	}
	if (found > 1) {
		return cli_fail(cli, CLI_EXIT_INVALID,
				"%u tenants have a policy \"%s\"; say which as TENANT/%s", found,
				text, text);
	}
	return CLI_EXIT_OK;
}

static char *policy_path(const struct cli_ref *ref)
{
	BH_FREE char *tenant = cli_path("/policies/", ref->tenant, "/");

	return cli_path(tenant, ref->name, "");
}

static int policy_show(struct cli *cli, const struct cli_call *call)
{
	struct cli_ref ref;
	struct cli_response response;
	struct cli_request request = {.method = "GET", .accept = "text/yaml"};
	BH_FREE char *path = NULL;
	BH_JSON json_t *body = NULL;
	int r = find_policy(cli, call->args[0], &ref);

	if (r) {
		return r;
	}
	path = policy_path(&ref);
	if (cli->out.format == CLI_FORMAT_JSON) {
		r = cli_get(cli, path, &body);
		if (!r) {
			cli_show_json(&cli->out, body, false);
		}
		return r;
	}
	request.path = path;
	r = cli_exchange(cli, &request, &response);
	if (!r) {
		cli_say(cli->out.file, "%s", response.data);
	}
	cli_response_done(&response);
	return r;
}

/* POST or DELETE that makes a new revision. */
static int change(struct cli *cli, const struct cli_call *call, struct cli_request *request)
{
	struct cli_response response;
	struct bh_wbuf path;
	BH_JSON json_t *body = NULL;
	unsigned int wait = 0;
	int r = cli_wait_of(cli, call, &wait);

	if (r) {
		return r;
	}
	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, request->path);
	cli_query_add(&path, "confirm", cli_call_value(call, "confirm"));
	if (wait) {
		BH_FREE char *seconds = bh_asprintf("%u", wait);

		cli_query_add(&path, "wait", seconds);
	}
	request->path = bh_wbuf_cstr(&path);
	request->extra_s = wait;
	r = cli_exchange(cli, request, &response);
	r = r ? r : cli_parse_body(cli, &response, &body);
	r = r ? r : cli_show_applied(cli, body, wait > 0);
	cli_response_done(&response);
	bh_wbuf_done(&path);
	return r;
}

static int policy_delete(struct cli *cli, const struct cli_call *call)
{
	struct cli_ref ref;
	struct cli_request request = {.method = "DELETE"};
	BH_FREE char *path = NULL;
	int r = find_policy(cli, call->args[0], &ref);

	if (r) {
		return r;
	}
	path = policy_path(&ref);
	request.path = path;
	return change(cli, call, &request);
}

/* ---- revisions ---- */

static int parse_revision(const struct cli *cli, const char *text, uint64_t *ret)
{
	return bh_parse_u64(text, 0, INT64_MAX, ret)
		       ? cli_fail(cli, CLI_EXIT_USAGE,
				  "\"%s\" is no revision; see `bulkhead policy revisions`", text)
		       : CLI_EXIT_OK;
}

static int policy_rollback(struct cli *cli, const struct cli_call *call)
{
	uint64_t revision = 0;
	BH_FREE char *body = NULL;
	struct cli_request request = {
		.method = "POST", .path = "/rollback", .content_type = "application/json"};
	int r = parse_revision(cli, call->args[0], &revision);

	if (r) {
		return r;
	}
	body = bh_asprintf("{\"revision\":%llu}", (unsigned long long)revision);
	request.body = body;
	request.body_size = strlen(body);
	return change(cli, call, &request);
}

static void cell_age(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(row, "time"), cell);
}

static void cell_summary(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *summary = bh_json_str_or(row, "summary", "");
	BH_FREE char *changes = cli_changes_text(json_object_get(row, "changes"));

	cli_cell_printf(cell, "%s", *changes ? changes : summary);
}

static int list_revisions(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "REVISION", .key = "revision", .flags = CLI_COL_RIGHT},
		{.title = "AGE", .fn = cell_age, .flags = CLI_COL_RIGHT},
		{.title = "BY", .key = "author"},
		{.title = "CHANGES", .fn = cell_summary, .flags = CLI_COL_CUT},
		{.title = "TIME", .key = "time", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/revisions");
	cli_query_add(&path, "limit", cli_call_value(call, "limit"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No revisions.");
	}
	return r;
}

static int policy_revisions(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = NULL;
	BH_JSON json_t *body = NULL;
	uint64_t revision = 0;
	int r;

	if (call->arg_count == 0) {
		return list_revisions(cli, call);
	}
	r = parse_revision(cli, call->args[0], &revision);
	if (r) {
		return r;
	}
	path = cli_path("/revisions/", call->args[0], "");
	r = cli_get(cli, path, &body);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else if (!r) {
		cli_say(cli->out.file, "%s", bh_json_str_or(body, "text", ""));
	}
	return r;
}

/* ---- explain ---- */

static int policy_explain(struct cli *cli, const struct cli_call *call)
{
	const char *from = cli_call_value(call, "from");
	const char *to = cli_call_value(call, "to");
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	if (!from || !to) {
		return cli_fail(
			cli, CLI_EXIT_USAGE,
			"`policy explain` needs --from and --to: a VM, an address, world or host");
	}
	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/policies:explain");
	cli_query_add(&path, "from", from);
	cli_query_add(&path, "to", to);
	cli_query_add(&path, "port", cli_call_value(call, "port"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (r) {
		return r;
	}
	cli_show_explained(cli, body);
	return cli_call_flag(call, "exit-code") &&
			       strcmp(bh_json_str_or(body, "verdict", ""), "allow") != 0
		       ? CLI_EXIT_NO
		       : CLI_EXIT_OK;
}

/* ---- the tree ---- */

static const struct cli_option check_options[] = {
	{"tenant", 0, "TENANT", "of documents that name none", CLI_WORDS_TENANT},
	{"strict", 0, NULL, "exit with 1 for warnings too", NULL},
	{},
};
static const struct cli_option format_options[] = {
	{"tenant", 0, "TENANT", "of documents that name none", CLI_WORDS_TENANT},
	{},
};
static const struct cli_option diff_options[] = {
	{"tenant", 0, "TENANT", "of documents that name none", CLI_WORDS_TENANT},
	{"prune", 0, NULL, "as if policies of these tenants that are not in the files went away",
	 NULL},
	{"exit-code", 0, NULL, "exit with 1 when something would change", NULL},
	{"days", 0, "N", "look at the flows recorded in so many days too", NULL},
	{},
};
static const struct cli_option apply_options[] = {
	{"tenant", 0, "TENANT", "of documents that name none", CLI_WORDS_TENANT},
	{"wait", 'w', "[=SECONDS]", "until every host in scope enforces it (30)", NULL},
	{"dry-run", 'n', NULL, "show what would change, change nothing", NULL},
	{"prune", 0, NULL, "policies of these tenants that are not in the files go away", NULL},
	{"confirm", 0, "TIME", CONFIRM_HELP, NULL},
	{},
};
static const struct cli_option change_options[] = {
	{"wait", 'w', "[=SECONDS]", "until every host in scope enforces it (30)", NULL},
	{"confirm", 0, "TIME", CONFIRM_HELP, NULL},
	{},
};
static const struct cli_option undo_options[] = {
	{"wait", 'w', "[=SECONDS]", "until every host in scope enforces it (30)", NULL},
	{},
};
static const struct cli_option unconfirmed_options[] = {
	{"all", 0, NULL, "those that were decided too", NULL},
	{},
};
static const struct cli_option hits_options[] = {
	{"tenant", 0, "TENANT", "only of this tenant", CLI_WORDS_TENANT},
	{"policy", 0, "NAME", "only of policies of this name", NULL},
	{"never", 0, NULL, "only rules that never decided", NULL},
	{"idle", 0, "TIME", "only rules that decided nothing for so long, like 30d", NULL},
	{},
};
static const struct cli_option suggest_options[] = {
	{"tenant", 0, "TENANT", "whose VMs", CLI_WORDS_TENANT},
	{"selector", 0, "LABELS", "which VMs, like app=web,zone=a", NULL},
	{"days", 0, "N", "of recorded flows to look at (7)", NULL},
	{"refused", 0, NULL, "allow what was refused, too", NULL},
	{"draft", 0, NULL, "keep it as a draft", NULL},
	{},
};
static const struct cli_option list_options[] = {
	{"tenant", 0, "TENANT", "only of this tenant", CLI_WORDS_TENANT},
	{},
};
static const struct cli_option revisions_options[] = {
	{"limit", 0, "N", "how many, newest first (100)", NULL},
	{},
};
static const struct cli_option explain_options[] = {
	{"from", 0, "VM", "who opens: VM (name or UUID), address, world, host", CLI_WORDS_VM},
	{"to", 0, "VM", "to whom, as --from", CLI_WORDS_VM},
	{"port", 'p', "PORT", "tcp/3306, udp/53, icmp, 47; without: any", NULL},
	{"exit-code", 0, NULL, "exit with 1 when it is refused", NULL},
	{},
};

const struct cli_command cli_policy_commands[] = {
	{.name = "check",
	 .args = "FILE...",
	 .summary = "read files and say what is wrong (offline)",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = FILES_MAX,
	 .options = check_options,
	 .run = cli_cmd_policy_check},
	{.name = "format",
	 .args = "FILE...",
	 .summary = "print files in canonical form (offline)",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = FILES_MAX,
	 .options = format_options,
	 .run = cli_cmd_policy_format},
	{.name = "diff",
	 .args = "FILE...",
	 .summary = "what `apply` would change",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = FILES_MAX,
	 .options = diff_options,
	 .run = policy_diff},
	{.name = "what-if",
	 .args = "FILE...",
	 .summary = "`diff` with the flows recorded in the last 7 days",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = FILES_MAX,
	 .options = diff_options,
	 .run = policy_what_if},
	{.name = "apply",
	 .args = "FILE...",
	 .summary = "make files the policies of their names",
	 .details = "All files are one commit: either everything is applied or nothing.",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = FILES_MAX,
	 .options = apply_options,
	 .run = policy_apply},
	{.name = "list",
	 .summary = "policies that run",
	 .options = list_options,
	 .run = policy_list},
	{.name = "show",
	 .args = "[TENANT/]NAME",
	 .summary = "one policy as canonical YAML",
	 .words = CLI_WORDS_POLICY,
	 .args_min = 1,
	 .args_max = 1,
	 .run = policy_show},
	{.name = "explain",
	 .summary = "which rule decides, at the sender and at the receiver",
	 .details = "With -o wide also every rule that was asked before the one that decides.",
	 .options = explain_options,
	 .run = policy_explain},
	{.name = "revisions",
	 .args = "[REVISION]",
	 .summary = "who changed what and when; or one revision as YAML",
	 .args_max = 1,
	 .options = revisions_options,
	 .run = policy_revisions},
	{.name = "rollback",
	 .args = "REVISION",
	 .summary = "a new revision with the policies of an old one",
	 .args_min = 1,
	 .args_max = 1,
	 .options = change_options,
	 .run = policy_rollback},
	{.name = "draft",
	 .summary = "documents that are not in force yet",
	 .children = cli_draft_commands},
	{.name = "commit",
	 .args = "DRAFT",
	 .summary = "put a draft into force",
	 .args_min = 1,
	 .args_max = 1,
	 .options = change_options,
	 .run = cli_cmd_policy_commit},
	{.name = "unconfirmed",
	 .summary = "commits that go back by themselves, and when",
	 .options = unconfirmed_options,
	 .run = cli_cmd_policy_unconfirmed},
	{.name = "confirm",
	 .args = "REVISION",
	 .summary = "a commit that waits stays",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_policy_confirm},
	{.name = "undo",
	 .args = "REVISION",
	 .summary = "a commit that waits goes back now",
	 .args_min = 1,
	 .args_max = 1,
	 .options = undo_options,
	 .run = cli_cmd_policy_undo},
	{.name = "hits",
	 .summary = "how often rules decided, and when last",
	 .options = hits_options,
	 .run = cli_cmd_policy_hits},
	{.name = "suggest",
	 .summary = "a policy that allows what such VMs really do",
	 .options = suggest_options,
	 .run = cli_cmd_policy_suggest},
	{.name = "monitor",
	 .summary = "what a version of a policy would do, while the old one enforces",
	 .children = cli_monitor_commands},
	{.name = "delete",
	 .args = "[TENANT/]NAME",
	 .summary = "a new revision without this policy",
	 .words = CLI_WORDS_POLICY,
	 .args_min = 1,
	 .args_max = 1,
	 .options = change_options,
	 .run = policy_delete},
	{},
};
