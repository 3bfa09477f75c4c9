/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead tenant, network, identity, version, and what commands share. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "version.h"

#include <string.h>

#define WAIT_DEFAULT_S 30
#define WAIT_MAX_S     60

int cli_ref_parse(const struct cli *cli, const char *text, struct cli_ref *ret)
{
	const char *slash = strchr(text, '/');
	const char *name = slash ? slash + 1 : text;
	size_t tenant_len = slash ? (size_t)(slash - text) : 0;

	*ret = (struct cli_ref){};
	if (tenant_len >= sizeof(ret->tenant) || strlen(name) >= sizeof(ret->name) || !*name ||
	    (slash && !tenant_len)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"\"%s\" is no name; it looks like db or shop/db", text);
	}
	memcpy(ret->tenant, text, tenant_len);
	memcpy(ret->name, name, strlen(name));
	return CLI_EXIT_OK;
}

int cli_wait_of(const struct cli *cli, const struct cli_call *call, unsigned int *ret_seconds)
{
	const char *value = cli_call_value(call, "wait");
	uint64_t seconds = WAIT_DEFAULT_S;

	*ret_seconds = 0;
	if (!cli_call_flag(call, "wait")) {
		return CLI_EXIT_OK;
	}
	if (value && bh_parse_u64(value, 1, WAIT_MAX_S, &seconds)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"--wait takes seconds from 1 to %d, as --wait=10", WAIT_MAX_S);
	}
	*ret_seconds = (unsigned int)seconds;
	return CLI_EXIT_OK;
}

int cli_put_switch(struct cli *cli, const struct cli_call *call, const char *path, bool on,
		   json_t **ret_body)
{
	const char *reason = cli_call_value(call, "reason");
	BH_JSON json_t *request = json_pack("{s:b}", "on", on);
	int r;

	if (reason) {
		json_object_set_new(request, "reason", json_string(reason));
	}
	r = cli_send(cli, "PUT", path, request, ret_body);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, *ret_body, false);
	}
	return r;
}

struct listing {
	const char *path;
	const struct cli_column *columns;
	unsigned int count;
	const char *none;
};

static int show_listing(struct cli *cli, const struct listing *listing)
{
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, listing->path, &body);

	if (!r) {
		cli_show_list(&cli->out, listing->columns, listing->count,
			      json_object_get(body, "items"), body, listing->none);
	}
	return r;
}

static int tenant_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "TENANT", .key = "name"},
		{.title = "VMS", .key = "vms", .flags = CLI_COL_RIGHT},
		{.title = "POLICIES", .key = "policies", .flags = CLI_COL_RIGHT},
		{.title = "NUMBER", .key = "number", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
	};

	return show_listing(
		cli, &(struct listing){"/tenants", columns, BH_ARRAY_SIZE(columns), "No tenants."});
}

static int tenant_create(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *request = json_pack("{s:s}", "name", call->args[0]);
	BH_JSON json_t *body = NULL;
	int r;

	if (!request) {
		return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no name", call->args[0]);
	}
	r = cli_send(cli, "POST", "/tenants", request, &body);
	if (!r && cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	}
	return r;
}

static int tenant_remove(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/tenants/", call->args[0], "");

	return cli_send(cli, "DELETE", path, NULL, NULL);
}

static int network_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "NETWORK", .key = "key"},
		{.title = "NICS", .key = "nics", .flags = CLI_COL_RIGHT},
		{.title = "OF LIBVIRT", .key = "managed"},
		{.title = "NUMBER", .key = "number", .flags = CLI_COL_RIGHT},
	};

	return show_listing(cli, &(struct listing){"/networks", columns, BH_ARRAY_SIZE(columns),
						   "No networks: no host has reported a NIC yet."});
}

static void cell_labels(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	BH_FREE char *text = cli_labels_text(json_object_get(row, "labels"));

	cli_cell_printf(cell, "%s", *text ? text : "(no labels)");
}

static int identity_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "IDENTITY", .key = "number", .flags = CLI_COL_RIGHT},
		{.title = "TENANT", .key = "tenant"},
		{.title = "LABELS", .fn = cell_labels, .flags = CLI_COL_CUT},
		{.title = "VMS", .key = "vms", .flags = CLI_COL_RIGHT},
	};

	return show_listing(cli, &(struct listing){"/identities", columns, BH_ARRAY_SIZE(columns),
						   "No identities: there are no VMs yet."});
}

const struct cli_command cli_tenant_commands[] = {
	{.name = "list", .summary = "tenants with their VMs and policies", .run = tenant_list},
	{.name = "create",
	 .args = "NAME",
	 .summary = "make a tenant",
	 .args_min = 1,
	 .args_max = 1,
	 .run = tenant_create},
	{.name = "remove",
	 .args = "NAME",
	 .summary = "forget a tenant without VMs and policies",
	 .words = CLI_WORDS_TENANT,
	 .args_min = 1,
	 .args_max = 1,
	 .run = tenant_remove},
	{},
};

const struct cli_command cli_network_commands[] = {
	{.name = "list", .summary = "networks and how many NICs they have", .run = network_list},
	{},
};

const struct cli_command cli_identity_commands[] = {
	{.name = "list", .summary = "label sets that VMs have", .run = identity_list},
	{},
};

/* call NULL: --version, which asks nobody. */
int cli_cmd_version(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	BH_JSON json_t *shown = json_pack("{s:s}", "bulkhead", BH_VERSION);
	int r;

	if (!call) {
		printf("bulkhead %s\n", BH_VERSION);
		return CLI_EXIT_OK;
	}
	if (cli->out.format != CLI_FORMAT_JSON) {
		printf("bulkhead  %s\n", BH_VERSION);
	}
	r = cli_get(cli, "/status", &body);
	if (r) {
		return r;
	}
	json_object_set(shown, "manager", json_object_get(body, "version"));
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, shown, false);
	} else {
		cli_say(stdout, "manager   %s\n", bh_json_str_or(body, "version", "?"));
	}
	return CLI_EXIT_OK;
}
