/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead host: hosts and the tokens by which they join. `enroll` is in cmd_enroll.c. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/hosts.h"
#include "cli/text.h"
#include "model/id.h"

#include <string.h>

static int host_list(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/hosts", &body);

	if (r) {
		return r;
	}
	cli_show_hosts(&cli->out, json_object_get(body, "items"), body);
	return CLI_EXIT_OK;
}

static void cell_vm_protected(const struct cli_output *out, const json_t *vm, struct cli_cell *cell)
{
	cli_cell_protected(json_object_get(vm, "nics"), cell);
}

static int host_show(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column vms[] = {
		{.title = "VM", .key = "name", .flags = CLI_COL_CUT},
		{.title = "TENANT", .key = "tenant"},
		{.title = "STATE", .key = "state"},
		{.title = "PROTECTED", .fn = cell_vm_protected},
		{.title = "UUID", .key = "uuid", .flags = CLI_COL_WIDE},
	};
	BH_FREE char *path = cli_path("/hosts/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (r) {
		return r;
	}
	cli_show_host(&cli->out, body);
	if (cli->out.format != CLI_FORMAT_JSON) {
		const json_t *list = json_object_get(body, "vm_list");

		fputc('\n', cli->out.file);
		cli_show_tables(&cli->out, body);
		fputc('\n', cli->out.file);
		cli_show_list(&cli->out, vms, BH_ARRAY_SIZE(vms), list, list, "No VMs.");
	}
	return CLI_EXIT_OK;
}

static int host_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/hosts/", call->args[0], "");
	int r = cli_send(cli, "DELETE", path, NULL, NULL);

	if (!r && cli->out.format != CLI_FORMAT_JSON) {
		cli_say(stdout,
			"%s is forgotten and can no longer join the bus. What its kernel enforces "
			"stays until bulkhead-hostd is taken off that machine.\n",
			call->args[0]);
	}
	return r;
}

static int token_create(struct cli *cli, const struct cli_call *call)
{
	const char *name = cli_call_value(call, "name");
	const char *ttl = cli_call_value_or(call, "ttl", "1h");
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *body = NULL;
	uint64_t since = 0;
	int r;

	if (cli_time_since(ttl, cli->out.now_ns, &since)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"--ttl is a time like 30m, 2h or 7d, not \"%s\"", ttl);
	}
	json_object_set_new(request, "ttl_s",
			    json_integer((json_int_t)((cli->out.now_ns - since) / 1000000000u)));
	if (name) {
		json_object_set_new(request, "name", json_string(name));
	}
	r = cli_send(cli, "POST", "/enroll-tokens", request, &body);
	if (r) {
		return r;
	}
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
		return CLI_EXIT_OK;
	}
	cli_say(stdout, "%s\n", bh_json_str_or(body, "token", ""));
	cli_say(stderr,
		"Good for one host until %s. On that host, as root:\n"
		"  bulkhead host enroll --manager https://THIS-MACHINE:7443 --token TOKEN%s%s\n",
		bh_json_str_or(body, "expires_at", "?"), name ? " --name " : "", name ? name : "");
	return CLI_EXIT_OK;
}

static void cell_expires(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	uint64_t at = cli_time_parse(bh_json_str_or(row, "expires_at", ""));
	char text[CLI_TIME_SIZE];

	if (at <= out->now_ns) {
		cli_cell_printf(cell, "expired");
		cell->colour = CLI_COLOUR_DIM;
		return;
	}
	cli_time_age(out->now_ns, at, text);
	cli_cell_printf(cell, "in %s", text);
}

static int token_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .key = "id", .flags = CLI_COL_RIGHT},
		{.title = "FOR HOST", .key = "name"},
		{.title = "EXPIRES", .fn = cell_expires},
		{.title = "USED", .key = "used"},
		{.title = "BY", .key = "used_by"},
		{.title = "CREATED", .key = "created_at", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/enroll-tokens", &body);

	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body,
			      "No join tokens. `bulkhead host token` makes one.");
	}
	return r;
}

static int token_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/enroll-tokens/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static const struct cli_option token_options[] = {
	{"name", 0, "HOST", "the only host name that may use it", NULL},
	{"ttl", 0, "TIME", "how long it is good, like 30m, 2h, 7d (1h)", NULL},
	{},
};

const struct cli_command cli_host_token_commands[] = {
	{.name = "list", .summary = "join tokens that exist", .run = token_list},
	{.name = "remove",
	 .args = "ID",
	 .summary = "take a join token back",
	 .args_min = 1,
	 .args_max = 1,
	 .run = token_remove},
	{},
};

/* A host, and what is to be with it. */
#define ARGS(min, max) .words = CLI_WORDS_HOST, .args_min = (min), .args_max = (max)

const struct cli_command cli_host_commands[] = {
	{.name = "list", .summary = "hosts and whether they are in sync", .run = host_list},
	{.name = "show",
	 .args = "HOST",
	 .summary = "one host, its VMs, how full it is",
	 ARGS(1, 1),
	 .run = host_show},
	{.name = "label",
	 .args = "HOST [KEY=VALUE|KEY-]...",
	 .summary = "labels of a host, which placements of policies speak of",
	 .details = "Without changes: shows them. KEY=VALUE sets a label, KEY- takes it away. VMs\n"
		    "that run where they may not any more run on; an event says so.",
	 ARGS(1, 1 + BH_LABELS_MAX),
	 .run = cli_cmd_host_label},
	{.name = "maintenance",
	 .args = "HOST on|off",
	 .summary = "let a host take no further VMs",
	 .details = "A host in maintenance refuses VMs that are new to it, by start and by\n"
		    "migration. What it runs, runs on and may leave.",
	 ARGS(2, 2),
	 .options = cli_host_maintenance_options,
	 .run = cli_cmd_host_maintenance},
	{.name = "enroll",
	 .summary = "make this machine a host of a manager",
	 .details = "Makes a key (it never leaves this machine), checks the manager by the\n"
		    "fingerprint in the token, gets a certificate, and writes host.json and\n"
		    "pki/ into the state folder.",
	 .options = cli_enroll_options,
	 .run = cli_cmd_enroll},
	{.name = "token",
	 .summary = "make a one-time token for `host enroll`",
	 .options = token_options,
	 .run = token_create,
	 .children = cli_host_token_commands},
	{.name = "remove",
	 .args = "HOST",
	 .summary = "forget a host and its credentials",
	 ARGS(1, 1),
	 .run = host_remove},
	{},
};
