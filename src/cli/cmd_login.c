/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead login, logout, whoami, stepup, passwd, totp, key. */
#include "cli/cmd.h"
#include "cli/session.h"

#include "base/json.h"
#include "base/qr.h"
#include "base/util.h"

#include <string.h>
#include <unistd.h>

/* Sends a body that holds a secret, and forgets its text. */
static int send_secret(struct cli *cli, const char *path, json_t *body, json_t **ret)
{
	int r = cli_send(cli, "POST", path, body, ret);

	json_decref(body);
	return r;
}

static int keep(struct cli *cli, const json_t *answer)
{
	const char *token = bh_json_str_or(answer, "token", "");
	struct bh_diag diag = {};

	if (!*token) {
		return cli_fail(cli, CLI_EXIT_SERVER, "the manager's answer has no session");
	}
	if (cli_session_save(&cli->config, token, &diag) < 0) {
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	cli_config_set(&cli->config.token, token);
	cli_client_free(bh_steal(&cli->client)); /* it has the former one */
	return CLI_EXIT_OK;
}

/* A code of the authenticator, or with dashes and letters one for when it is lost. */
static json_t *ask_code(void)
{
	char *code = cli_secret_ask("Code (authenticator or recovery)");
	bool digits = code && strspn(code, "0123456789 ") == strlen(code);
	json_t *body =
		code ? json_pack("{s:s, s:s}", "method", digits ? "totp" : "recovery", "code", code)
		     : NULL;

	cli_secret_free(code);
	return body;
}

static int second(struct cli *cli, const char *path)
{
	BH_JSON json_t *answer = NULL;
	json_t *body = ask_code();
	int r;

	if (!body) {
		return cli_fail(cli, CLI_EXIT_USAGE, "no code was given");
	}
	r = send_secret(cli, path, body, &answer);
	return r ? r : keep(cli, answer);
}

static int new_password(struct cli *cli, const char *old)
{
	char *new = cli_secret_ask("New password");
	char *again = new ? cli_secret_ask("New password again") : NULL;
	int r = CLI_EXIT_USAGE;

	if (!new || !again || strcmp(new, again) != 0) {
		r = cli_fail(cli, CLI_EXIT_USAGE, "the two are not the same");
	} else {
		r = send_secret(cli, "/me/password",
				json_pack("{s:s, s:s}", "old", old, "new", new), NULL);
	}
	cli_secret_free(new);
	cli_secret_free(again);
	return r;
}

static int greet(struct cli *cli, const char *password)
{
	BH_JSON json_t *session = NULL;
	int r = cli_get(cli, "/session", &session);

	if (!r && json_is_true(json_object_get(session, "must_change"))) {
		fprintf(stderr, "This password was made by somebody else.\n");
		r = new_password(cli, password);
	}
	if (!r && cli->out.format != CLI_FORMAT_JSON) {
		cli_say(stdout, "Logged in as %s.\n", bh_json_str_or(session, "user", "?"));
	}
	return r;
}

int cli_cmd_login(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *answer = NULL;
	char *password;
	int r;

	if (strncmp(cli->config.server, "https://", 8) != 0) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"say which manager: --server https://HOST:7443 (on its own machine "
				"root needs no login)");
	}
	free(bh_steal(&cli->config.token));
	password = cli_secret_ask("Password");
	if (!password) {
		return cli_fail(cli, CLI_EXIT_USAGE, "no password was given");
	}
	r = send_secret(cli, "/login",
			json_pack("{s:s, s:s, s:b}", "user", call->args[0], "password", password,
				  "bearer", 1),
			&answer);
	r = r ? r : keep(cli, answer);
	if (!r && json_array_size(json_object_get(answer, "need"))) {
		r = second(cli, "/login/second");
	}
	r = r ? r : greet(cli, password);
	cli_secret_free(password);
	return r;
}

int cli_cmd_stepup(struct cli *cli, const struct cli_call *call)
{
	return second(cli, "/session/step-up");
}

int cli_cmd_logout(struct cli *cli, const struct cli_call *call)
{
	int r = cli_send(cli, "POST", "/logout", NULL, NULL);

	cli_session_remove();
	return r;
}

int cli_cmd_passwd(struct cli *cli, const struct cli_call *call)
{
	char *old = cli_secret_ask("Password");
	int r = old ? new_password(cli, old)
		    : cli_fail(cli, CLI_EXIT_USAGE, "no password was given");

	cli_secret_free(old);
	return r;
}

int cli_cmd_whoami(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "USER", .key = "user"},
		{.title = "NAME", .key = "name"},
		{.title = "TENANT", .key = "tenant"},
		{.title = "VIA", .key = "via"},
		{.title = "ROLES", .fn = cli_cell_roles},
		{.title = "SECOND FACTOR", .key = "second_factor.methods"},
		{.title = "SHOWN", .key = "second_factor.age_s"},
		{.title = "EXPIRES", .key = "expires"},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/session", &body);

	if (!r) {
		cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	}
	return r;
}

/* ---- the authenticator ---- */

static void print_codes(const json_t *answer)
{
	const json_t *code;
	size_t i;

	fprintf(stderr, "Codes for when it is lost, each good once. They are not shown again:\n");
	json_array_foreach (json_object_get(answer, "recovery"), i, code) {
		cli_say(stdout, "%s\n", json_is_string(code) ? json_string_value(code) : "?");
	}
}

/* Only for eyes: a file has no use for it. */
static void print_qr(const char *uri)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	if (isatty(STDERR_FILENO) && bh_qr_terminal(uri, &w) == 0) {
		fputs(bh_wbuf_cstr(&w), stderr);
	}
	bh_wbuf_done(&w);
}

static int totp_enroll(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *begun = NULL;
	BH_JSON json_t *answer = NULL;
	char *code;
	int r = cli_send(cli, "POST", "/me/totp", NULL, &begun);

	if (r) {
		return r;
	}
	print_qr(bh_json_str_or(begun, "uri", ""));
	cli_say(stderr, "Put this into your authenticator:\n  %s\nor as text:\n  %s\n",
		bh_json_str_or(begun, "uri", ""), bh_json_str_or(begun, "secret", ""));
	code = cli_secret_ask("First code");
	if (!code) {
		return cli_fail(cli, CLI_EXIT_USAGE, "no code was given");
	}
	r = send_secret(cli, "/me/totp:confirm", json_pack("{s:s}", "code", code), &answer);
	cli_secret_free(code);
	r = r ? r : keep(cli, answer);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		json_object_del(answer, "token");
		cli_show_json(&cli->out, answer, false);
	} else if (!r) {
		print_codes(answer);
	}
	return r;
}

static int totp_recovery(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *answer = NULL;
	int r = cli_send(cli, "POST", "/me/recovery", NULL, &answer);

	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, answer, false);
	} else if (!r) {
		print_codes(answer);
	}
	return r;
}

static int totp_remove(struct cli *cli, const struct cli_call *call)
{
	return cli_send(cli, "DELETE", "/me/totp", NULL, NULL);
}

const struct cli_command cli_totp_commands[] = {
	{.name = "enroll", .summary = "put a secret into an authenticator app", .run = totp_enroll},
	{.name = "recovery", .summary = "make other recovery codes", .run = totp_recovery},
	{.name = "remove", .summary = "forget the authenticator", .run = totp_remove},
	{},
};

/* ---- security keys: made in a browser, kept here too ---- */

static int key_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "NAME", .key = "name"},
		{.title = "USED", .key = "used"},
		{.title = "CREATED", .key = "created"},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/me/factors", &body);
	const json_t *keys = json_object_get(body, "webauthn");

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), keys, keys,
			      "No security keys. They are added in the console.");
	}
	return r;
}

static int key_name(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/me/webauthn/", call->args[0], "");
	BH_JSON json_t *body = json_pack("{s:s}", "name", call->args[1]);

	return cli_send(cli, "PATCH", path, body, NULL);
}

static int key_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/me/webauthn/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

const struct cli_command cli_key_commands[] = {
	{.name = "list", .summary = "yours, and when they were used", .run = key_list},
	{.name = "name",
	 .args = "ID NAME",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "call one something else",
	 .run = key_name},
	{.name = "remove",
	 .args = "ID",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "let nobody in with it any more",
	 .run = key_remove},
	{},
};
