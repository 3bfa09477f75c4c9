/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead status: the whole system on one screen. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/hosts.h"
#include "cli/text.h"

#include <string.h>

static unsigned long long number(const json_t *row, const char *key)
{
	const json_t *value = cli_json_at(row, key);

	return json_is_integer(value) ? (unsigned long long)json_integer_value(value) : 0;
}

static const char *string(const json_t *row, const char *key, const char *dflt)
{
	const char *s = json_string_value(cli_json_at(row, key));

	return s ? s : dflt;
}

static void cell_sync(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	bool good = json_is_true(json_object_get(status, "in_sync"));

	cli_cell_printf(cell, "%s %llu of %llu hosts hold what is intended, %llu online",
			good ? CLI_OK : CLI_BAD, number(status, "hosts.in_sync"),
			number(status, "hosts.total"), number(status, "hosts.online"));
	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static void cell_manager(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	uint64_t started = cli_time_parse(string(status, "started_at", ""));
	char age[CLI_TIME_SIZE] = "?";

	if (started) {
		cli_time_age(started, out->now_ns, age);
	}
	cli_cell_printf(cell, "bulkheadd %s, up %s", string(status, "version", "?"), age);
}

static void cell_policy(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	cli_cell_printf(cell, "revision %llu: %llu policies, %llu rules",
			number(status, "revision"), number(status, "counts.policies"),
			number(status, "counts.rules"));
}

static void cell_vms(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	unsigned long long open = number(status, "counts.nics_unprotected");
	unsigned long long conflicts = number(status, "counts.address_conflicts");
	char twice[64] = "";

	if (conflicts) {
		snprintf(twice, sizeof(twice), "; %llu address%s claimed twice", conflicts,
			 conflicts == 1 ? "" : "es");
	}
	cli_cell_printf(
		cell,
		"%llu with %llu NICs, %llu of them not protected; %llu tenants, %llu networks%s",
		number(status, "counts.vms"), number(status, "counts.nics"), open,
		number(status, "counts.tenants"), number(status, "counts.networks"), twice);
	cell->colour = open || conflicts ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

static void cell_bus(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	bool good = json_is_true(cli_json_at(status, "bus.connected"));

	cli_cell_printf(
		cell, "%s %s%s%s", good ? CLI_OK : CLI_BAD,
		good ? "connected to " : "not connected to ", string(status, "bus.url", "?"),
		json_is_true(cli_json_at(status, "bus.private_server")) ? " (its own server)" : "");
	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static void cell_store(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	bool bad = json_is_false(cli_json_at(status, "store.ok"));
	char size[CLI_TIME_SIZE];
	char left[CLI_TIME_SIZE];

	cli_bytes_format(number(status, "store.size_bytes"), size);
	cli_bytes_format(number(status, "store.free_bytes"), left);
	cli_cell_printf(cell, "%s %s, %s; %s free", bad ? CLI_BAD : CLI_OK,
			string(status, "store.path", "?"), size, left);
	cell->colour = bad ? CLI_COLOUR_BAD : CLI_COLOUR_GOOD;
}

static void cell_events(const struct cli_output *out, const json_t *status, struct cli_cell *cell)
{
	unsigned long long missing = number(status, "events.missing");

	cli_cell_printf(cell, "%llu stored, %llu reported as lost", number(status, "events.stored"),
			missing);
	cell->colour = missing ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

int cli_cmd_status(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "enforced", .fn = cell_sync}, {.title = "manager", .fn = cell_manager},
		{.title = "policy", .fn = cell_policy}, {.title = "VMs", .fn = cell_vms},
		{.title = "bus", .fn = cell_bus},	{.title = "store", .fn = cell_store},
		{.title = "events", .fn = cell_events},
	};
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/status", &body);

	if (r) {
		return r;
	}
	cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	if (cli->out.format != CLI_FORMAT_JSON) {
		fputc('\n', cli->out.file);
		cli_show_sync(&cli->out, json_object_get(body, "host_list"));
	}
	if (cli_call_flag(call, "exit-code") && !json_is_true(json_object_get(body, "in_sync"))) {
		return CLI_EXIT_NO;
	}
	return CLI_EXIT_OK;
}

const struct cli_option cli_status_options[] = {
	{"exit-code", 0, NULL, "exit with 1 unless every host is online and in sync", NULL},
	{},
};
