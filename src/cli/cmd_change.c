/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of policies without fear: drafts, commits that wait to be confirmed, hits of rules,
 * suggestions, policies under watch. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/changes.h"
#include "cli/documents.h"
#include "cli/text.h"

#include <string.h>
#include <unistd.h>

#define FILES_MAX 1000

/* ---- requests ---- */

/* Adds what the call says of these options, under the same names. */
static void add_options(struct bh_wbuf *path, const struct cli_call *call, const char *const *names)
{
	for (; *names; names++) {
		const char *value = cli_call_flag(call, *names) && !cli_call_value(call, *names)
					    ? "true"
					    : cli_call_value(call, *names);

		cli_query_add(path, *names, value);
	}
}

/* GET of a path with options of the call. */
static int get_with(struct cli *cli, const struct cli_call *call, const char *route,
		    const char *const *names, json_t **ret_body)
{
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, route);
	add_options(&path, call, names);
	r = cli_get(cli, bh_wbuf_cstr(&path), ret_body);
	bh_wbuf_done(&path);
	return r;
}

/* A POST that makes a new revision; `--wait` and `--confirm` of the call. */
static int commit_at(struct cli *cli, const struct cli_call *call, const char *route)
{
	struct cli_request request = {.method = "POST"};
	struct cli_response response;
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	unsigned int wait = 0;
	int r = cli_wait_of(cli, call, &wait);

	if (r) {
		return r;
	}
	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, route);
	cli_query_add(&path, "confirm", cli_call_value(call, "confirm"));
	if (wait) {
		BH_FREE char *seconds = bh_asprintf("%u", wait);

		cli_query_add(&path, "wait", seconds);
	}
	request.path = bh_wbuf_cstr(&path);
	request.extra_s = wait;
	r = cli_exchange(cli, &request, &response);
	r = r ? r : cli_parse_body(cli, &response, &body);
	r = r ? r : cli_show_applied(cli, body, wait > 0);
	cli_response_done(&response);
	bh_wbuf_done(&path);
	return r;
}

static int show_or_say(struct cli *cli, const json_t *body, const char *words)
{
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else {
		cli_say(cli->out.file, "%s\n", words);
	}
	return CLI_EXIT_OK;
}

/* ---- drafts ---- */

static void cell_updated(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(row, "updated"), cell);
}

static void cell_state(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	uint64_t revision = bh_json_u64_or(row, "committed_in", 0);

	if (revision) {
		cli_cell_printf(cell, "revision %llu", (unsigned long long)revision);
	} else {
		cli_cell_printf(cell, "open");
	}
}

static int draft_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "DRAFT", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "TENANT", .key = "tenant"},
		{.title = "TITLE", .key = "title", .flags = CLI_COL_CUT},
		{.title = "BY", .key = "updated_by"},
		{.title = "AGE", .fn = cell_updated, .flags = CLI_COL_RIGHT},
		{.title = "STATE", .fn = cell_state},
		{.title = "BASE", .key = "base", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
	};
	static const char *const names[] = {"tenant", NULL};
	BH_JSON json_t *body = NULL;
	int r = get_with(cli, call, "/drafts", names, &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body,
			      "No drafts. `bulkhead policy draft new FILE` makes one.");
	}
	return r;
}

/* Files from argument `first` on, and `--title`, `--note`, `--remove`, as a body. NULL when it was
 * said why. */
static json_t *draft_body(const struct cli *cli, const struct cli_call *call, unsigned int first,
			  int *ret_code)
{
	struct cli_documents documents;
	struct bh_diag diag = {};
	json_t *body = json_object();
	json_t *removes = json_array();

	*ret_code = CLI_EXIT_OK;
	for (unsigned int i = 0; i < call->value_count; i++) {
		if (strcmp(call->values[i].option->name, "remove") == 0) {
			json_array_append_new(removes, json_string(call->values[i].value));
		}
	}
	if (json_array_size(removes)) {
		json_object_set(body, "removes", removes);
	}
	json_decref(removes);
	if (cli_documents_read(&documents, call->args + first, call->arg_count - first, &diag)) {
		*ret_code = cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	} else {
		json_object_set_new(body, "documents", json_string(bh_wbuf_cstr(&documents.text)));
		json_object_set_new(body, "title",
				    json_string(cli_call_value_or(call, "title", documents.name)));
	}
	if (cli_call_value(call, "note")) {
		json_object_set_new(body, "note", json_string(cli_call_value(call, "note")));
	}
	cli_documents_done(&documents);
	return body;
}

static int draft_new(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *answer = NULL;
	BH_FREE char *words = NULL;
	int r;
	BH_JSON json_t *body = draft_body(cli, call, 0, &r);

	if (r) {
		return r;
	}
	if (cli_call_value(call, "tenant")) {
		json_object_set_new(body, "tenant", json_string(cli_call_value(call, "tenant")));
	}
	r = cli_send(cli, "POST", "/drafts", body, &answer);
	if (r) {
		return r;
	}
	words = bh_asprintf("Draft %llu", (unsigned long long)bh_json_u64_or(answer, "id", 0));
	return show_or_say(cli, answer, words);
}

static int draft_edit(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/drafts/", call->args[0], "");
	BH_JSON json_t *old = NULL;
	BH_JSON json_t *answer = NULL;
	int r;
	BH_JSON json_t *body = draft_body(cli, call, 1, &r);

	r = r ? r : cli_get(cli, path, &old);
	if (r) {
		return r;
	}
	if (!cli_call_value(call, "title")) {
		json_object_del(body, "title");
	}
	json_object_set(body, "version", json_object_get(old, "version"));
	r = cli_send(cli, "PUT", path, body, &answer);
	return r ? r : show_or_say(cli, answer, "Saved.");
}

/* Somebody else's text, which a terminal must not obey. In a file it stays as it is. */
static void put_clean(const struct cli *cli, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		BH_FREE char *line = strndup(text, len);
		BH_FREE char *clean = cli_text_clean(line ? line : "");

		fprintf(cli->out.file, "%s\n", clean);
		text += len + (text[len] == '\n');
	}
}

static int draft_show(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/drafts/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r && cli->out.format != CLI_FORMAT_JSON && isatty(fileno(cli->out.file))) {
		put_clean(cli, bh_json_str_or(body, "documents", ""));
		return CLI_EXIT_OK;
	}
	return r ? r : show_or_say(cli, body, bh_json_str_or(body, "documents", ""));
}

static int draft_delete(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/drafts/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static int draft_rebase(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/drafts/", call->args[0], ":rebase");
	BH_JSON json_t *body = NULL;
	int r = cli_send(cli, "POST", path, NULL, &body);

	return r ? r : show_or_say(cli, body, "Its base is the revision in force now.");
}

static int draft_check(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/drafts/", call->args[0], ":check");
	BH_JSON json_t *body = NULL;
	int r = cli_send(cli, "POST", path, NULL, &body);

	if (r) {
		return r;
	}
	cli_show_draft_check(cli, body);
	return json_array_size(json_object_get(body, "conflicts")) ? CLI_EXIT_NO : CLI_EXIT_OK;
}

static int draft_what_if(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *route = cli_path("/drafts/", call->args[0], ":what-if");
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, route);
	cli_query_add(&path, "days", cli_call_value(call, "days"));
	r = cli_send(cli, "POST", bh_wbuf_cstr(&path), NULL, &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_diff(cli, body);
	}
	return r;
}

int cli_cmd_policy_commit(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *route = cli_path("/drafts/", call->args[0], ":commit");

	return commit_at(cli, call, route);
}

/* ---- commits that wait ---- */

static void cell_left(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const json_t *left = json_object_get(row, "seconds_left");

	if (json_is_integer(left)) {
		cli_cell_printf(cell, "%lld s", (long long)json_integer_value(left));
		cell->colour = CLI_COLOUR_WARN;
	}
}

static void cell_changes(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	BH_FREE char *changes = cli_changes_text(json_object_get(row, "changes"));

	cli_cell_printf(cell, "%s", changes);
}

int cli_cmd_policy_unconfirmed(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "REVISION", .key = "revision", .flags = CLI_COL_RIGHT},
		{.title = "STATE", .key = "state"},
		{.title = "LEFT", .fn = cell_left, .flags = CLI_COL_RIGHT},
		{.title = "BY", .key = "author"},
		{.title = "CHANGES", .fn = cell_changes, .flags = CLI_COL_CUT},
		{.title = "DECIDED BY", .key = "decided_by", .flags = CLI_COL_WIDE},
		{.title = "PROBLEM", .key = "problem", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, cli_call_flag(call, "all") ? "/commits" : "/commits?state=waiting",
			&body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body,
			      "No commit waits to be confirmed.");
	}
	return r;
}

int cli_cmd_policy_confirm(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/commits/", call->args[0], ":confirm");

	return cli_send(cli, "POST", path, NULL, NULL);
}

int cli_cmd_policy_undo(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *route = cli_path("/commits/", call->args[0], ":rollback");

	return commit_at(cli, call, route);
}

/* ---- hits ---- */

static void cell_rule(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *name = bh_json_str_or(row, "name", "");

	cli_cell_printf(cell, "%s/%s %s[%llu]%s%s", bh_json_str_or(row, "tenant", "?"),
			bh_json_str_or(row, "policy", "?"), bh_json_str_or(row, "dir", "?"),
			(unsigned long long)bh_json_u64_or(row, "index", 0), *name ? " " : "",
			name);
}

static void cell_last_hit(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(row, "last_hit"), cell);
}

int cli_cmd_policy_hits(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "RULE", .fn = cell_rule},
		{.title = "HITS", .key = "hits", .flags = CLI_COL_RIGHT},
		{.title = "LAST", .fn = cell_last_hit, .flags = CLI_COL_RIGHT},
		{.title = "SAYS", .key = "text", .flags = CLI_COL_CUT},
		{.title = "LINE", .key = "line", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
	};
	static const char *const names[] = {"tenant", "policy", "never", "idle", NULL};
	BH_JSON json_t *body = NULL;
	int r = get_with(cli, call, "/rules", names, &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No rules.");
	}
	return r;
}

/* ---- suggestions ---- */

/* Makes a draft of what was suggested. */
static int keep_suggestion(struct cli *cli, const struct cli_call *call, const json_t *suggestion)
{
	const char *selector = cli_call_value_or(call, "selector", "");
	BH_FREE char *title = bh_asprintf("suggested for %s", selector);
	BH_FREE char *words = NULL;
	BH_JSON json_t *answer = NULL;
	BH_JSON json_t *body =
		json_pack("{s:s, s:s, s:s}", "tenant", bh_json_str_or(suggestion, "tenant", ""),
			  "title", title, "documents", bh_json_str_or(suggestion, "documents", ""));
	int r = cli_send(cli, "POST", "/drafts", body, &answer);

	if (r) {
		return r;
	}
	words = bh_asprintf("Draft %llu", (unsigned long long)bh_json_u64_or(answer, "id", 0));
	return show_or_say(cli, answer, words);
}

int cli_cmd_policy_suggest(struct cli *cli, const struct cli_call *call)
{
	static const char *const names[] = {"tenant", "selector", "days", "refused", NULL};
	BH_JSON json_t *body = NULL;
	int r;

	if (!cli_call_value(call, "selector")) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"`policy suggest` needs --selector, like app=web");
	}
	r = get_with(cli, call, "/policies:suggest", names, &body);
	if (r) {
		return r;
	}
	if (!*bh_json_str_or(body, "documents", "")) {
		return show_or_say(cli, body, "No flows of such VMs were recorded in that time.");
	}
	if (cli_call_flag(call, "draft")) {
		return keep_suggestion(cli, call, body);
	}
	r = show_or_say(cli, body, bh_json_str_or(body, "documents", ""));
	if (cli->out.format != CLI_FORMAT_JSON) {
		fprintf(cli->out.file, "# allows %llu of %llu recorded connections\n",
			(unsigned long long)bh_json_u64_or(body, "covered", 0),
			(unsigned long long)bh_json_u64_or(body, "flows", 0));
	}
	return r;
}

/* ---- policies under watch ---- */

/* "/policies/T/N/monitor"; NULL when it was said why. */
static char *monitor_path(struct cli *cli, const char *text, int *ret_code)
{
	struct cli_ref ref;
	BH_FREE char *tenant = NULL;

	*ret_code = cli_ref_parse(cli, text, &ref);
	if (*ret_code) {
		return NULL;
	}
	if (!ref.tenant[0]) {
		*ret_code = cli_fail(cli, CLI_EXIT_USAGE, "say which tenant: TENANT/%s", text);
		return NULL;
	}
	tenant = cli_path("/policies/", ref.tenant, "/");
	return cli_path(tenant, ref.name, "/monitor");
}

static int monitor_start(struct cli *cli, const struct cli_call *call)
{
	bool removes = cli_call_flag(call, "remove");
	struct cli_documents documents = {};
	struct cli_request request = {.method = "PUT", .content_type = "text/yaml"};
	struct cli_response response = {};
	struct bh_diag diag = {};
	BH_FREE char *query = NULL;
	int r;
	BH_FREE char *path = monitor_path(cli, call->args[0], &r);

	if (r) {
		return r;
	}
	if (removes == (call->arg_count > 1)) {
		return cli_fail(cli, CLI_EXIT_USAGE, "give a FILE, or --remove");
	}
	query = bh_asprintf("%s%s", path, removes ? "?remove=true" : "");
	request.path = query;
	if (!removes) {
		r = cli_documents_read(&documents, call->args + 1, 1, &diag)
			    ? cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag)
			    : CLI_EXIT_OK;
		request.body = bh_wbuf_cstr(&documents.text);
		request.body_size = documents.text.size;
	}
	if (!r) {
		r = cli_exchange(cli, &request, &response);
		cli_response_done(&response);
	}
	cli_documents_done(&documents);
	return r;
}

static int monitor_show(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r;
	BH_FREE char *path = monitor_path(cli, call->args[0], &r);

	r = r ? r : cli_get(cli, path, &body);
	if (r) {
		return r;
	}
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else {
		cli_show_flows(cli, json_object_get(body, "flows"));
	}
	return CLI_EXIT_OK;
}

static int monitor_stop(struct cli *cli, const struct cli_call *call)
{
	int r;
	BH_FREE char *path = monitor_path(cli, call->args[0], &r);

	return r ? r : cli_send(cli, "DELETE", path, NULL, NULL);
}

static void cell_since(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(row, "since"), cell);
}

/* What the manager found last; "-" before its first look. */
static void cell_found(const json_t *row, const char *key, struct cli_cell *cell)
{
	const json_t *found = json_object_get(row, "found");

	if (json_is_object(found)) {
		cli_cell_printf(cell, "%llu", (unsigned long long)bh_json_u64_or(found, key, 0));
	} else {
		cli_cell_printf(cell, "-");
	}
}

static void cell_refuses(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cell_found(row, "would_deny", cell);
}

static void cell_lets_through(const struct cli_output *out, const json_t *row,
			      struct cli_cell *cell)
{
	cell_found(row, "would_allow", cell);
}

static int monitor_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "TENANT", .key = "tenant"},
		{.title = "POLICY", .key = "policy"},
		{.title = "BY", .key = "author"},
		{.title = "SINCE", .fn = cell_since, .flags = CLI_COL_RIGHT},
		{.title = "GOES AWAY", .key = "removes"},
		{.title = "WOULD REFUSE", .fn = cell_refuses, .flags = CLI_COL_RIGHT},
		{.title = "WOULD ALLOW", .fn = cell_lets_through, .flags = CLI_COL_RIGHT},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/monitors", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No policy is watched.");
	}
	return r;
}

/* ---- the tree ---- */

static const struct cli_option tenant_options[] = {
	{"tenant", 0, "TENANT", "only of this tenant", CLI_WORDS_TENANT},
	{},
};
static const struct cli_option new_options[] = {
	{"tenant", 0, "TENANT", "whose draft it is", CLI_WORDS_TENANT},
	{"title", 0, "TEXT", "what it is called", NULL},
	{"note", 0, "TEXT", "why", NULL},
	{"remove", 0, "POLICY", "a policy that goes; may be given again", CLI_WORDS_POLICY},
	{},
};
static const struct cli_option edit_options[] = {
	{"title", 0, "TEXT", "what it is called", NULL},
	{"note", 0, "TEXT", "why", NULL},
	{"remove", 0, "POLICY", "a policy that goes; may be given again", CLI_WORDS_POLICY},
	{},
};
static const struct cli_option days_options[] = {
	{"days", 0, "N", "of recorded flows to look at (7)", NULL},
	{},
};
static const struct cli_option remove_options[] = {
	{"remove", 0, NULL, "watch what would be without the policy", NULL},
	{},
};

const struct cli_command cli_draft_commands[] = {
	{.name = "list",
	 .summary = "drafts, newest first",
	 .options = tenant_options,
	 .run = draft_list},
	{.name = "new",
	 .args = "[FILE...]",
	 .summary = "keep files as a draft",
	 .words = CLI_WORDS_FILE,
	 .args_max = FILES_MAX,
	 .options = new_options,
	 .run = draft_new},
	{.name = "edit",
	 .args = "DRAFT FILE...",
	 .summary = "other files in place of what it has",
	 .words = CLI_WORDS_FILE,
	 .args_min = 2,
	 .args_max = FILES_MAX,
	 .options = edit_options,
	 .run = draft_edit},
	{.name = "show",
	 .args = "DRAFT",
	 .summary = "its documents",
	 .args_min = 1,
	 .args_max = 1,
	 .run = draft_show},
	{.name = "check",
	 .args = "DRAFT",
	 .summary = "what is wrong with it, and who changed the same meanwhile",
	 .args_min = 1,
	 .args_max = 1,
	 .run = draft_check},
	{.name = "what-if",
	 .args = "DRAFT",
	 .summary = "what committing it would do",
	 .args_min = 1,
	 .args_max = 1,
	 .options = days_options,
	 .run = draft_what_if},
	{.name = "rebase",
	 .args = "DRAFT",
	 .summary = "it is meant for the policies as they are now",
	 .args_min = 1,
	 .args_max = 1,
	 .run = draft_rebase},
	{.name = "delete",
	 .args = "DRAFT",
	 .summary = "forget it",
	 .args_min = 1,
	 .args_max = 1,
	 .run = draft_delete},
	{},
};

const struct cli_command cli_monitor_commands[] = {
	{.name = "list", .summary = "policies that are watched", .run = monitor_list},
	{.name = "start",
	 .args = "TENANT/POLICY [FILE]",
	 .summary = "watch what this version of the policy would do; it enforces nothing",
	 .words = CLI_WORDS_POLICY,
	 .args_min = 1,
	 .args_max = 2,
	 .options = remove_options,
	 .run = monitor_start},
	{.name = "show",
	 .args = "TENANT/POLICY",
	 .summary = "which flows since then it would judge otherwise",
	 .words = CLI_WORDS_POLICY,
	 .args_min = 1,
	 .args_max = 1,
	 .run = monitor_show},
	{.name = "stop",
	 .args = "TENANT/POLICY",
	 .summary = "watch it no more",
	 .words = CLI_WORDS_POLICY,
	 .args_min = 1,
	 .args_max = 1,
	 .run = monitor_stop},
	{},
};
