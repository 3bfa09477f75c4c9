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
		{.title = "SELF-SERVICE", .key = "self_service", .flags = CLI_COL_WIDE},
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

static const char *const quotas[] = {"policies", "rules", "labels", "events"};

static int show_quota(const struct cli *cli, const json_t *body)
{
	static const struct cli_column columns[] = {
		{.title = "WHAT", .key = "what"},
		{.title = "LIMIT", .key = "limit", .flags = CLI_COL_RIGHT},
		{.title = "USED", .key = "used", .flags = CLI_COL_RIGHT},
		{.title = "DEFAULT", .key = "default", .flags = CLI_COL_RIGHT},
	};
	BH_JSON json_t *rows = json_array();
	const char *what;
	json_t *quota;

	json_object_foreach ((json_t *)body, what, quota) {
		json_t *row = json_copy(quota);

		json_object_set_new(row, "what", json_string(what));
		json_array_append_new(rows, row);
	}
	cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), rows, body, "No quotas.");
	return CLI_EXIT_OK;
}

/* Shows what a tenant may have; with options, after having changed that. */
static int tenant_quota(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/tenants/", call->args[0], "/quota");
	BH_JSON json_t *request = json_object();
	BH_JSON json_t *body = NULL;
	int r;

	for (size_t i = 0; i < BH_ARRAY_SIZE(quotas); i++) {
		const char *text = cli_call_value(call, quotas[i]);
		uint64_t limit = 0;

		if (text && strcmp(text, "default") != 0 &&
		    bh_parse_u64(text, 0, INT64_MAX, &limit) < 0) {
			return cli_fail(cli, CLI_EXIT_USAGE,
					"--%s is a number or \"default\", not \"%s\"", quotas[i],
					text);
		}
		if (text) {
			json_object_set_new(request, quotas[i],
					    strcmp(text, "default") == 0
						    ? json_null()
						    : json_integer((json_int_t)limit));
		}
	}
	r = json_object_size(request) ? cli_send(cli, "PUT", path, request, &body)
				      : cli_get(cli, path, &body);
	return r ? r : show_quota(cli, body);
}

static int tenant_self_service(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = cli_path("/tenants/", call->args[0], "/self-service");
	BH_JSON json_t *body = NULL;
	bool on = strcmp(call->args[1], "on") == 0;

	if (!on && strcmp(call->args[1], "off") != 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "say on or off, not \"%s\"", call->args[1]);
	}
	return cli_put_switch(cli, call, path, on, &body);
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

static const struct cli_option quota_options[] = {
	{"policies", 0, "N", "policies; \"default\" gives the default back, here and below", NULL},
	{"rules", 0, "N", "rules in them", NULL},
	{"labels", 0, "N", "labels of a VM", NULL},
	{"events", 0, "N", "events about flows that are kept of an hour; more are counted", NULL},
	{},
};

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
	{.name = "quota",
	 .args = "NAME",
	 .summary = "how much a tenant may have, and has; options change it",
	 .words = CLI_WORDS_TENANT,
	 .args_min = 1,
	 .args_max = 1,
	 .options = quota_options,
	 .run = tenant_quota},
	{.name = "self-service",
	 .args = "NAME on|off",
	 .summary = "off: its people change nothing without a request that somebody approves",
	 .words = CLI_WORDS_TENANT,
	 .args_min = 2,
	 .args_max = 2,
	 .run = tenant_self_service},
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
