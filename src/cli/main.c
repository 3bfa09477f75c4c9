/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead: the command line. This file is its table of contents; bulkhead(1) is its specification.
 */
#include "cli/cmd.h"
#include "cli/text.h"

#include <errno.h>
#include <string.h>

static const struct cli_option global_options[] = {
	{"server", 's', "URL", "manager: https://HOST:PORT or the path of a unix socket",
	 CLI_WORDS_FILE},
	{"token-file", 't', "FILE", "file with the API token", CLI_WORDS_FILE},
	{"ca", 0, "FILE", "CA certificate of the manager", CLI_WORDS_FILE},
	{"fingerprint", 0, "HEX", "SHA-256 of the manager's CA certificate, instead of --ca", NULL},
	{"timeout", 0, "SECONDS", "how long to wait for an answer (30)", NULL},
	{"output", 'o', "FORMAT", "table, wide or json", "table|wide|json"},
	{"json", 'j', NULL, "for programs: the API's own JSON", NULL},
	{"no-color", 0, NULL, "no colours (also: NO_COLOR in the environment)", NULL},
	{"help", 'h', NULL, "what this command takes", NULL},
	{"version", 'V', NULL, "the version of this program", NULL},
	{},
};

static const struct cli_command commands[] = {
	{.name = "status",
	 .summary = "is every host as it should be?",
	 .options = cli_status_options,
	 .run = cli_cmd_status},
	{.name = "host",
	 .summary = "hypervisor hosts: list, enrol, remove",
	 .children = cli_host_commands},
	{.name = "vm",
	 .summary = "virtual machines and what protects their NICs",
	 .children = cli_vm_commands},
	{.name = "migration",
	 .summary = "VMs that travel: each step, and why not",
	 .children = cli_migration_commands},
	{.name = "label",
	 .summary = "labels of VMs, which policies speak of",
	 .children = cli_label_commands},
	{.name = "policy",
	 .summary = "check, apply, compare, explain policies",
	 .children = cli_policy_commands},
	{.name = "flow",
	 .summary = "what was allowed and what was refused, and by which rule",
	 .options = cli_flow_options,
	 .run = cli_cmd_flow,
	 .children = cli_flow_commands},
	{.name = "event", .summary = "everything that happened", .children = cli_event_commands},
	{.name = "order",
	 .summary = "what hosts were told to do with VMs",
	 .children = cli_order_commands},
	{.name = "alert",
	 .summary = "what somebody should look at",
	 .children = cli_alert_commands},
	{.name = "channel",
	 .summary = "where events go to: syslog, webhooks",
	 .children = cli_channel_commands},
	{.name = "audit",
	 .summary = "who did what, and that nobody changed the record of it",
	 .children = cli_audit_commands},
	{.name = "tenant",
	 .summary = "owners of VMs and policies",
	 .children = cli_tenant_commands},
	{.name = "network",
	 .summary = "networks that hosts reported",
	 .children = cli_network_commands},
	{.name = "identity",
	 .summary = "label sets and their numbers",
	 .children = cli_identity_commands},
	{.name = "login",
	 .args = "USER",
	 .summary = "log in to a manager; the session is kept for the next commands",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cli_cmd_login},
	{.name = "logout", .summary = "end the session", .run = cli_cmd_logout},
	{.name = "whoami", .summary = "as whom, and with which roles", .run = cli_cmd_whoami},
	{.name = "stepup",
	 .summary = "show the second factor anew, for what is dangerous",
	 .run = cli_cmd_stepup},
	{.name = "passwd", .summary = "change your password", .run = cli_cmd_passwd},
	{.name = "totp", .summary = "your authenticator", .children = cli_totp_commands},
	{.name = "key", .summary = "your security keys", .children = cli_key_commands},
	{.name = "user", .summary = "who may log in, and as what", .children = cli_user_commands},
	{.name = "role", .summary = "roles and the table of rights", .children = cli_role_commands},
	{.name = "token", .summary = "API tokens of your own", .children = cli_token_commands},
	{.name = "request",
	 .summary = "ask for a right; say yes or no to who asks",
	 .children = cli_request_commands},
	{.name = "settings",
	 .summary = "accounts, second persons, OpenID Connect",
	 .children = cli_settings_commands},
	{.name = "session", .summary = "who is logged in", .children = cli_session_commands},
	{.name = "debug",
	 .summary = "ask a daemon what goes on inside",
	 .children = cli_debug_commands},
	{.name = "version",
	 .summary = "versions of this program and of the manager",
	 .run = cli_cmd_version},
	{},
};

static const struct cli_command root = {
	.name = "bulkhead",
	.summary = "keeps a breach in one compartment of a KVM cloud",
	.details = "Without --server it talks to the manager on this machine (root).\n"
		   "Exit: 0 ok, 1 the answer is no, 2 usage, 3 unreachable, 4 not allowed,\n"
		   "5 refused, 6 not found, 7 the manager failed, 8 a local file failed.\n"
		   "See bulkhead(1).",
	.children = commands,
};

static int show_help(const struct cli *cli, const struct cli_call *call, FILE *file)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	cli_args_help(call, cli->global, &w);
	fputs(bh_wbuf_cstr(&w), file);
	bh_wbuf_done(&w);
	return CLI_EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct cli_call call;
	struct bh_diag diag = {};
	int r = cli_args_parse(&root, global_options, argc, argv, &call, &diag);

	switch (r) {
	case CLI_ARGS_HELP:
		return show_help(cli, &call, stdout);
	case CLI_ARGS_VERSION:
		return cli_cmd_version(cli, NULL);
	case CLI_ARGS_RUN:
		r = cli_init(cli, &call);
		return r ? r : call.command->run(cli, &call);
	default:
		return cli_fail_diag(cli, CLI_EXIT_USAGE, &diag);
	}
}

int main(int argc, char **argv)
{
	struct cli cli = {.root = &root, .global = global_options, .out = {.file = stdout}};
	int code;

	cli_text_init();
	if (argc > 1 && !strcmp(argv[1], "__complete")) {
		struct cli_call call = {.args = argv + 2, .arg_count = (unsigned int)(argc - 2)};

		code = cli_init(&cli, &call);
		code = code ? code : cli_cmd_complete(&cli, &call);
	} else if (argc < 2) {
		struct cli_call call = {.command = &root, .path = "bulkhead"};

		show_help(&cli, &call, stderr);
		code = CLI_EXIT_USAGE;
	} else {
		code = run(&cli, argc, argv);
	}
	if (fflush(stdout) && code == CLI_EXIT_OK) {
		code = cli_fail(&cli, CLI_EXIT_LOCAL, "cannot write the output: %s",
				strerror(errno));
	}
	cli_done(&cli);
	return code;
}
