/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead settings: how accounts are kept, what needs a second person, who logs in elsewhere. */
#include "cli/cmd.h"
#include "cli/session.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"

#include <string.h>

#define OIDC_PATH   "/settings/oidc"
#define CA_LIMIT    65536
#define SECRET_SIZE 1024

/* ---- accounts ---- */

static int accounts_show(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "fresh_s", .key = "fresh_s"},
		{.title = "idle_s", .key = "idle_s"},
		{.title = "absolute_s", .key = "absolute_s"},
		{.title = "bind_address", .key = "bind_address"},
		{.title = "admin_token", .key = "admin_token"},
		{.title = "key_verify", .key = "key_verify"},
		{.title = "console_url", .key = "console_url"},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/settings/accounts", &body);

	if (!r) {
		cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	}
	return r;
}

/* Splits "NAME=VALUE"; *ret_name is owned, *ret_value borrowed. CLI_EXIT_USAGE (reported). */
static int split(const struct cli *cli, const char *text, char **ret_name, const char **ret_value)
{
	const char *value = strchr(text, '=');

	if (!value || value == text) {
		return cli_fail(cli, CLI_EXIT_USAGE, "'%s' is no NAME=VALUE", text);
	}
	*ret_name = bh_asprintf("%.*s", (int)(value - text), text);
	*ret_value = value + 1;
	return CLI_EXIT_OK;
}

/* true, false and numbers are what they look like. Owned. */
static json_t *value_json(const char *value)
{
	uint64_t number;

	if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
		return json_boolean(*value == 't');
	}
	if (bh_parse_u64(value, 0, INT64_MAX, &number) == 0) {
		return json_integer((json_int_t)number);
	}
	return json_string(value);
}

static int accounts_set(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = json_object();

	for (unsigned int i = 0; i < call->arg_count; i++) {
		BH_FREE char *name = NULL;
		const char *value;
		int r = split(cli, call->args[i], &name, &value);

		if (r) {
			return r;
		}
		json_object_set_new(body, name, value_json(value));
	}
	return cli_send(cli, "PATCH", "/settings/accounts", body, NULL);
}

/* ---- what needs a second person ---- */

static int show_approvals(struct cli *cli, const json_t *body)
{
	static const struct cli_column columns[] = {
		{.title = "RIGHTS THAT NEED A SECOND PERSON", .key = "verbs"},
	};

	cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	return CLI_EXIT_OK;
}

static int approvals_show(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/settings/approvals", &body);

	return r ? r : show_approvals(cli, body);
}

static int approvals_set(struct cli *cli, const struct cli_call *call)
{
	json_t *verbs = json_array();
	BH_JSON json_t *body = json_pack("{s:o}", "verbs", verbs);
	BH_JSON json_t *answer = NULL;
	int r;

	for (unsigned int i = 0; i < call->arg_count; i++) {
		json_array_append_new(verbs, json_string(call->args[i]));
	}
	r = cli_send(cli, "PUT", "/settings/approvals", body, &answer);
	return r ? r : show_approvals(cli, answer);
}

/* ---- logging in where the organisation does ---- */

static void cell_rules(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const json_t *rule;
	struct bh_wbuf w;
	size_t i;

	bh_wbuf_init(&w, 0);
	json_array_foreach (json_object_get(row, "rules"), i, rule) {
		bh_wbuf_printf(&w, "%s%s: %s at %s", i ? ", " : "",
			       bh_json_str_or(rule, "value", "?"),
			       bh_json_str_or(rule, "role", "?"), bh_json_str_or(rule, "at", "?"));
	}
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static void cell_ca(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_printf(cell, "%s", *bh_json_str_or(row, "ca", "") ? "set" : "the system's");
}

static int show_oidc(struct cli *cli, const json_t *body)
{
	static const struct cli_column columns[] = {
		{.title = "enabled", .key = "enabled"},
		{.title = "name", .key = "name"},
		{.title = "issuer", .key = "issuer"},
		{.title = "client_id", .key = "client_id"},
		{.title = "client_secret", .key = "client_secret_set"},
		{.title = "scopes", .key = "scopes"},
		{.title = "ca", .fn = cell_ca},
		{.title = "create", .key = "create"},
		{.title = "tenant", .key = "tenant"},
		{.title = "claim", .key = "claim"},
		{.title = "rules", .fn = cell_rules},
		{.title = "amr", .key = "amr"},
		{.title = "acr", .key = "acr"},
		{.title = "logout", .key = "logout"},
		{.title = "redirect_uri", .key = "redirect_uri"},
		{.title = "post_logout_redirect_uri", .key = "post_logout_redirect_uri"},
	};

	cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	return CLI_EXIT_OK;
}

static int oidc_show(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, OIDC_PATH, &body);

	return r ? r : show_oidc(cli, body);
}

/* What is set, as PUT wants it: without what only the answer has. Owned. */
static int oidc_get(struct cli *cli, json_t **ret)
{
	static const char *const only_shown[] = {"client_secret_set", "redirect_uri",
						 "post_logout_redirect_uri"};
	int r = cli_get(cli, OIDC_PATH, ret);

	for (size_t i = 0; !r && i < BH_ARRAY_SIZE(only_shown); i++) {
		json_object_del(*ret, only_shown[i]);
	}
	return r;
}

static int oidc_put(struct cli *cli, const json_t *body)
{
	BH_JSON json_t *answer = NULL;
	int r = cli_send(cli, "PUT", OIDC_PATH, body, &answer);

	return r ? r : show_oidc(cli, answer);
}

/* "a,b" as a list. Owned. */
static json_t *list_json(const char *text)
{
	json_t *list = json_array();

	for (const char *p = text; *p;) {
		size_t len = strcspn(p, ",");

		if (len) {
			json_array_append_new(list, json_stringn(p, len));
		}
		p += len + (p[len] == ',');
	}
	return list;
}

static int oidc_take(const struct cli *cli, const char *text, json_t *body)
{
	BH_FREE char *name = NULL;
	const char *value;
	int r = split(cli, text, &name, &value);

	if (r) {
		return r;
	}
	if (strcmp(name, "client_secret") == 0) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"everybody on this machine can read a command line: give the "
				"secret with --secret-file FILE, or - to be asked for it");
	}
	if (strcmp(name, "amr") == 0 || strcmp(name, "acr") == 0) {
		json_object_set_new(body, name, list_json(value));
	} else if (strcmp(name, "enabled") == 0 || strcmp(name, "create") == 0 ||
		   strcmp(name, "logout") == 0) {
		json_object_set_new(body, name, value_json(value));
	} else {
		json_object_set_new(body, name, json_string(value));
	}
	return CLI_EXIT_OK;
}

/* One line of a file, or of whoever is at the terminal. */
static int oidc_take_secret(const struct cli *cli, const char *file, json_t *body)
{
	struct bh_diag diag = {};
	char *secret = NULL;
	size_t size = 0;

	if (strcmp(file, "-") == 0) {
		secret = cli_secret_ask("Secret of the client");
	} else if (bh_file_read(file, SECRET_SIZE, &secret, &size, &diag) < 0) {
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	if (!secret) {
		return cli_fail(cli, CLI_EXIT_USAGE, "no secret was given");
	}
	secret[strcspn(secret, "\r\n")] = '\0';
	json_object_set_new(body, "client_secret", json_string(secret));
	explicit_bzero(secret, strlen(secret));
	free(secret);
	return CLI_EXIT_OK;
}

static int oidc_take_ca(const struct cli *cli, const char *file, json_t *body)
{
	struct bh_diag diag = {};
	BH_FREE char *pem = NULL;
	size_t size = 0;

	if (bh_file_read(file, CA_LIMIT, &pem, &size, &diag) < 0) {
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	json_object_set_new(body, "ca", json_string(pem));
	return CLI_EXIT_OK;
}

static int oidc_set(struct cli *cli, const struct cli_call *call)
{
	const char *secret = cli_call_value(call, "secret-file");
	const char *ca = cli_call_value(call, "ca-file");
	BH_JSON json_t *body = NULL;
	int r = oidc_get(cli, &body);

	for (unsigned int i = 0; !r && i < call->arg_count; i++) {
		r = oidc_take(cli, call->args[i], body);
	}
	r = r || !secret ? r : oidc_take_secret(cli, secret, body);
	r = r || !ca ? r : oidc_take_ca(cli, ca, body);
	return r ? r : oidc_put(cli, body);
}

/* Is it the rule of this call? Of any role when the call names none. */
static bool is_rule(const json_t *rule, const struct cli_call *call)
{
	return strcmp(bh_json_str_or(rule, "value", ""), call->args[0]) == 0 &&
	       (call->arg_count < 2 ||
		strcmp(bh_json_str_or(rule, "role", ""), call->args[1]) == 0);
}

static int oidc_rule_add(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = oidc_get(cli, &body);

	if (!r) {
		json_array_append_new(json_object_get(body, "rules"),
				      json_pack("{s:s, s:s, s:s}", "value", call->args[0], "role",
						call->args[1], "at",
						cli_call_value_or(call, "at", "")));
	}
	return r ? r : oidc_put(cli, body);
}

static int oidc_rule_remove(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = oidc_get(cli, &body);
	json_t *rules = json_object_get(body, "rules");
	size_t count = json_array_size(rules);

	for (size_t i = count; i-- > 0;) {
		if (is_rule(json_array_get(rules, i), call)) {
			json_array_remove(rules, i);
		}
	}
	if (!r && json_array_size(rules) == count) {
		return cli_fail(cli, CLI_EXIT_MISSING, "there is no such rule");
	}
	return r ? r : oidc_put(cli, body);
}

/* ---- the tables ---- */

static const struct cli_command approvals_commands[] = {
	{.name = "show", .summary = "these rights", .run = approvals_show},
	{.name = "set",
	 .args = "[RIGHT ...]",
	 .args_max = CLI_VALUES_MAX,
	 .summary = "these and no others; without any: none",
	 .run = approvals_set},
	{},
};

static const struct cli_option set_options[] = {
	{"secret-file", 0, "FILE", "file with the client's secret; -: ask for it", CLI_WORDS_FILE},
	{"ca-file", 0, "FILE", "PEM of the provider's CA", CLI_WORDS_FILE},
	{},
};
static const struct cli_option rule_options[] = {
	{"at", 0, "TENANT", "where the role holds; '*' for all", CLI_WORDS_TENANT},
	{},
};

static const struct cli_command oidc_commands[] = {
	{.name = "show", .summary = "all of it but the client's secret", .run = oidc_show},
	{.name = "set",
	 .args = "[NAME=VALUE ...]",
	 .args_max = 16,
	 .summary = "change some of these; the others stay",
	 .options = set_options,
	 .run = oidc_set},
	{.name = "rule-add",
	 .args = "VALUE ROLE",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "who has this value of the claim gets a role",
	 .options = rule_options,
	 .run = oidc_rule_add},
	{.name = "rule-remove",
	 .args = "VALUE [ROLE]",
	 .args_min = 1,
	 .args_max = 2,
	 .summary = "no more",
	 .run = oidc_rule_remove},
	{},
};

const struct cli_command cli_settings_commands[] = {
	{.name = "show", .summary = "how accounts and sessions are kept", .run = accounts_show},
	{.name = "set",
	 .args = "NAME=VALUE ...",
	 .args_min = 1,
	 .args_max = 16,
	 .summary = "change some of these",
	 .run = accounts_set},
	{.name = "approvals",
	 .summary = "rights that need a second person",
	 .children = approvals_commands},
	{.name = "oidc", .summary = "logging in by OpenID Connect", .children = oidc_commands},
	{},
};
