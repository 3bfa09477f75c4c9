/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead user, role, token, session. */
#include "cli/cmd.h"
#include "cli/session.h"

#include "base/json.h"
#include "base/util.h"

#include <string.h>

/* ---- users ---- */

void cli_cell_roles(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const json_t *role;
	struct bh_wbuf w;
	size_t i;

	bh_wbuf_init(&w, 0);
	json_array_foreach (json_object_get(row, "roles"), i, role) {
		const char *until = bh_json_str_or(role, "until", "");
		uint64_t id = bh_json_u64_or(role, "id", 0);

		bh_wbuf_printf(&w, "%s%s at %s", i ? ", " : "", bh_json_str_or(role, "role", "?"),
			       bh_json_str_or(role, "tenant", "?"));
		if (id) {
			bh_wbuf_printf(&w, " (%llu)", (unsigned long long)id);
		}
		if (*until) {
			bh_wbuf_printf(&w, " until %s", until);
		}
	}
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static const struct cli_column user_columns[] = {
	{.title = "NAME", .key = "name"},
	{.title = "TENANT", .key = "tenant"},
	{.title = "ROLES", .fn = cli_cell_roles, .flags = CLI_COL_CUT},
	{.title = "2FA", .key = "second_factor"},
	{.title = "DISABLED", .key = "disabled"},
	{.title = "LAST LOGIN", .key = "last_login"},
	{.title = "DISPLAY", .key = "display", .flags = CLI_COL_WIDE},
	{.title = "MADE BY", .key = "made_by", .flags = CLI_COL_WIDE},
	{.title = "CREATED", .key = "created", .flags = CLI_COL_WIDE},
};

static int user_list(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/users");
	cli_query_add(&path, "tenant", cli_call_value(call, "tenant"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(
			&cli->out, user_columns, BH_ARRAY_SIZE(user_columns),
			json_object_get(body, "items"), body,
			"No users. `bulkhead user create NAME --role provider-admin --at '*'` "
			"makes one.");
	}
	return r;
}

static int show_user(struct cli *cli, const json_t *body)
{
	const char *password = bh_json_str_or(body, "password", "");

	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
		return CLI_EXIT_OK;
	}
	cli_show_record(&cli->out, user_columns, BH_ARRAY_SIZE(user_columns), body);
	if (*password) {
		cli_say(stdout, "Password, good for one login: %s\n", password);
	}
	return CLI_EXIT_OK;
}

static int user_show(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	return r ? r : show_user(cli, body);
}

/* Options that are members of the body as they are. */
static void take(const struct cli_call *call, const char *const *names, json_t *body)
{
	for (size_t i = 0; names[i]; i++) {
		if (cli_call_value(call, names[i])) {
			json_object_set_new(body, names[i],
					    json_string(cli_call_value(call, names[i])));
		}
	}
}

static int take_number(const struct cli *cli, const struct cli_call *call, const char *name,
		       json_t *body)
{
	const char *text = cli_call_value(call, name);
	uint64_t v;

	if (!text) {
		return CLI_EXIT_OK;
	}
	if (bh_parse_u64(text, 1, 1000000, &v) < 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--%s is a number", name);
	}
	json_object_set_new(body, name, json_integer((json_int_t)v));
	return CLI_EXIT_OK;
}

static int user_create(struct cli *cli, const struct cli_call *call)
{
	static const char *const names[] = {"tenant", "role", "at", "display", "locale", NULL};
	BH_JSON json_t *body = json_pack("{s:s}", "name", call->args[0]);
	BH_JSON json_t *answer = NULL;
	int r;

	take(call, names, body);
	r = take_number(cli, call, "hours", body);
	if (!r && cli_call_flag(call, "password")) {
		char *password = cli_secret_ask("Password");

		json_object_set_new(body, "password", json_string(password ? password : ""));
		cli_secret_free(password);
	}
	r = r ? r : cli_send(cli, "POST", "/users", body, &answer);
	return r ? r : show_user(cli, answer);
}

static int user_password(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "/password");
	BH_JSON json_t *answer = NULL;
	int r = cli_send(cli, "PUT", path, NULL, &answer);

	return r ? r : show_user(cli, answer);
}

static int switch_user(struct cli *cli, const struct cli_call *call, bool disabled)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "");
	BH_JSON json_t *body = json_pack("{s:b}", "disabled", disabled);

	return cli_send(cli, "PATCH", path, body, NULL);
}

static int user_disable(struct cli *cli, const struct cli_call *call)
{
	return switch_user(cli, call, true);
}

static int user_enable(struct cli *cli, const struct cli_call *call)
{
	return switch_user(cli, call, false);
}

static int user_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static int user_totp_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "/totp");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static int user_grant(struct cli *cli, const struct cli_call *call)
{
	static const char *const names[] = {"at", NULL};
	BH_FREE char *path = cli_path("/users/", call->args[0], "/roles");
	BH_JSON json_t *body = json_pack("{s:s}", "role", call->args[1]);
	BH_JSON json_t *answer = NULL;
	int r;

	take(call, names, body);
	r = take_number(cli, call, "hours", body);
	r = r ? r : cli_send(cli, "POST", path, body, &answer);
	return r ? r : show_user(cli, answer);
}

static int user_revoke(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *before = cli_path("/users/", call->args[0], "/roles/");
	BH_FREE char *path = cli_path(before, call->args[1], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

/* ---- who he is at the provider of OpenID Connect ---- */

static int user_links(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ISSUER", .key = "issuer"},
		{.title = "SUBJECT", .key = "subject"},
	};
	BH_FREE char *path = cli_path("/users/", call->args[0], "/oidc");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body,
			      "He logs in here only. `bulkhead user link USER SUBJECT` says who he "
			      "is at the provider.");
	}
	return r;
}

static int user_link(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "/oidc");
	BH_JSON json_t *body = json_pack("{s:s}", "subject", call->args[1]);

	return cli_send(cli, "PUT", path, body, NULL);
}

static int user_unlink(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/users/", call->args[0], "/oidc");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static const struct cli_option create_options[] = {
	{"role", 0, "ROLE", "a role that he gets at once", NULL},
	{"tenant", 0, "TENANT", "whom he belongs to (provider)", CLI_WORDS_TENANT},
	{"at", 0, "TENANT", "where the role holds; '*' for all (his own tenant)", CLI_WORDS_TENANT},
	{"hours", 0, "N", "how long the role holds (for ever)", NULL},
	{"display", 0, "TEXT", "his name for people", NULL},
	{"locale", 0, "LOCALE", "zh-CN or en", NULL},
	{"password", 0, NULL, "ask for a first password; else one is made and shown", NULL},
	{},
};
static const struct cli_option grant_options[] = {
	{"at", 0, "TENANT", "where it holds; '*' for all (the user's tenant)", CLI_WORDS_TENANT},
	{"hours", 0, "N", "how long (for ever)", NULL},
	{},
};
static const struct cli_option list_options[] = {
	{"tenant", 0, "TENANT", "only of this tenant", CLI_WORDS_TENANT},
	{},
};

#define USER .args = "USER", .args_min = 1, .args_max = 1

const struct cli_command cli_user_commands[] = {
	{.name = "list",
	 .summary = "users and their roles",
	 .options = list_options,
	 .run = user_list},
	{.name = "show", USER, .summary = "one user", .run = user_show},
	{.name = "create",
	 .args = "NAME",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "make a user; as root also the first administrator",
	 .options = create_options,
	 .run = user_create},
	{.name = "password",
	 USER,
	 .summary = "give him another first password",
	 .run = user_password},
	{.name = "disable", USER, .summary = "let him in no more", .run = user_disable},
	{.name = "enable", USER, .summary = "let him in again", .run = user_enable},
	{.name = "reset-totp",
	 USER,
	 .summary = "forget his authenticator and security keys",
	 .run = user_totp_remove},
	{.name = "remove", USER, .summary = "forget him", .run = user_remove},
	{.name = "grant",
	 .args = "USER ROLE",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "give a role, for ever or some hours",
	 .options = grant_options,
	 .run = user_grant},
	{.name = "revoke",
	 .args = "USER ID",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "take a role (its number is in `user show`)",
	 .run = user_revoke},
	{.name = "links", USER, .summary = "who he is at the provider", .run = user_links},
	{.name = "link",
	 .args = "USER SUBJECT",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "whoever the provider says is SUBJECT logs in as him",
	 .run = user_link},
	{.name = "unlink",
	 USER,
	 .summary = "he logs in here only, and his sessions end",
	 .run = user_unlink},
	{},
};

/* ---- roles ---- */

static int role_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ROLE", .key = "name"},
		{.title = "TENANT", .key = "tenant"},
		{.title = "AT A TENANT", .key = "tenant_verbs", .flags = CLI_COL_CUT},
		{.title = "AT THE PROVIDER", .key = "provider_verbs", .flags = CLI_COL_CUT},
		{.title = "WHAT FOR", .key = "words", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/roles", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No roles.");
	}
	return r;
}

static int role_rights(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "RIGHT", .key = "verb"},
		{.title = "DANGEROUS", .key = "dangerous"},
		{.title = "LETS ONE", .key = "words"},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/rights", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "rights"), body, "No rights.");
	}
	return r;
}

/* "a b,c" as a list. Owned. */
static json_t *words_json(const char *text)
{
	json_t *list = json_array();

	for (const char *p = text + strspn(text, " ,"); *p; p += strspn(p, " ,")) {
		size_t len = strcspn(p, " ,");

		json_array_append_new(list, json_stringn(p, len));
		p += len;
	}
	return list;
}

static int role_create(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:o, s:s}", "name", call->args[0], "tenant",
					 cli_call_value_or(call, "tenant", ""), "verbs",
					 words_json(cli_call_value_or(call, "rights", "")), "words",
					 cli_call_value_or(call, "words", ""));

	return cli_send(cli, "POST", "/roles", body, NULL);
}

static int role_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *before = cli_path("/roles/", cli_call_value_or(call, "tenant", ""), "/");
	BH_FREE char *path = cli_path(before, call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static const struct cli_option role_options[] = {
	{"tenant", 0, "TENANT", "whose role it is", CLI_WORDS_TENANT},
	{"rights", 0, "LIST", "what it gives, like \"vm.read vm.release\"", NULL},
	{"words", 0, "TEXT", "what it is for", NULL},
	{},
};

const struct cli_command cli_role_commands[] = {
	{.name = "list", .summary = "roles and what they give", .run = role_list},
	{.name = "rights", .summary = "the table of rights", .run = role_rights},
	{.name = "create",
	 .args = "NAME",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "make a role of a tenant from rights that you hold",
	 .options = role_options,
	 .run = role_create},
	{.name = "remove",
	 .args = "NAME",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "forget a role of a tenant",
	 .options = role_options,
	 .run = role_remove},
	{},
};

/* ---- tokens and sessions ---- */

static int token_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "NAME", .key = "name"},
		{.title = "RIGHTS", .key = "verbs", .flags = CLI_COL_CUT},
		{.title = "TENANT", .key = "tenant"},
		{.title = "EXPIRES", .key = "expires"},
		{.title = "USED", .key = "used"},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/me/tokens", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No API tokens.");
	}
	return r;
}

static int token_create(struct cli *cli, const struct cli_call *call)
{
	static const char *const names[] = {"tenant", NULL};
	BH_JSON json_t *body = json_pack("{s:s, s:o}", "name", call->args[0], "verbs",
					 words_json(cli_call_value_or(call, "rights", "")));
	BH_JSON json_t *answer = NULL;
	int r;

	take(call, names, body);
	r = take_number(cli, call, "days", body);
	r = r ? r : cli_send(cli, "POST", "/me/tokens", body, &answer);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, answer, false);
	} else if (!r) {
		cli_say(stdout, "%s\n", bh_json_str_or(answer, "token", ""));
		cli_say(stderr, "Good until %s. It is not shown again.\n",
			bh_json_str_or(answer, "expires", "?"));
	}
	return r;
}

static int token_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/me/tokens/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static const struct cli_option token_options[] = {
	{"rights", 0, "LIST", "what it may, like \"vm.read flow.read\"", NULL},
	{"tenant", 0, "TENANT", "only there (wherever you may)", CLI_WORDS_TENANT},
	{"days", 0, "N", "how long it is good (90)", NULL},
	{},
};

const struct cli_command cli_token_commands[] = {
	{.name = "list", .summary = "your API tokens", .run = token_list},
	{.name = "create",
	 .args = "NAME",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "make one; it is shown once",
	 .options = token_options,
	 .run = token_create},
	{.name = "remove",
	 .args = "ID",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "take one back",
	 .run = token_remove},
	{},
};

static int session_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "USER", .key = "user"},
		{.title = "ADDRESS", .key = "address"},
		{.title = "2FA", .key = "factor"},
		{.title = "USED", .key = "used"},
		{.title = "THIS ONE", .key = "current"},
		{.title = "AGENT", .key = "agent", .flags = CLI_COL_CUT},
		{.title = "BEGUN", .key = "created", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/sessions", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No sessions.");
	}
	return r;
}

static int session_revoke(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/sessions/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

const struct cli_command cli_session_commands[] = {
	{.name = "list", .summary = "who is logged in", .run = session_list},
	{.name = "revoke",
	 .args = "ID",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "end a session",
	 .run = session_revoke},
	{},
};
