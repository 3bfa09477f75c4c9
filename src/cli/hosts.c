/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/hosts.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/text.h"

#include <string.h>

static void cell_state(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	const char *state = bh_json_str_or(host, "state", "?");
	bool good = !strcmp(state, "in-sync");

	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
	if (!strcmp(state, "syncing")) {
		cell->colour = CLI_COLOUR_WARN;
	}
	cli_cell_printf(cell, "%s %s", good ? CLI_OK : CLI_BAD, state);
}

static void cell_labels(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	BH_FREE char *text = cli_labels_text(json_object_get(host, "labels"));

	cli_cell_printf(cell, "%s", text);
}

/* What is wrong, or that it takes no VMs. */
static void cell_problem(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	const json_t *maintenance = json_object_get(host, "maintenance");
	const char *problem = bh_json_str_or(host, "problem", "");
	const char *reason = bh_json_str_or(maintenance, "reason", "");

	if (json_is_true(json_object_get(maintenance, "on"))) {
		cli_cell_printf(cell, "in maintenance%s%s%s%s", *reason ? ": " : "", reason,
				*problem ? "; " : "", problem);
		cell->colour = CLI_COLOUR_WARN;
	} else {
		cli_cell_printf(cell, "%s", *problem ? problem : "-");
	}
}

static void cell_maintenance(const struct cli_output *out, const json_t *host,
			     struct cli_cell *cell)
{
	const json_t *maintenance = json_object_get(host, "maintenance");
	const char *reason = bh_json_str_or(maintenance, "reason", "");

	if (!json_is_true(json_object_get(maintenance, "on"))) {
		cli_cell_printf(cell, "off");
		return;
	}
	cli_cell_printf(cell, "on since %s, by %s%s%s", bh_json_str_or(maintenance, "since", "?"),
			bh_json_str_or(maintenance, "by", "?"), *reason ? ": " : "", reason);
	cell->colour = CLI_COLOUR_WARN;
}

static void cell_seen(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(host, "last_seen"), cell);
}

static void cell_installed_age(const struct cli_output *out, const json_t *host,
			       struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(host, "installed_at"), cell);
}

static void cell_intended(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	cli_cell_hash(json_object_get(host, "intended"), cell);
}

static void cell_installed(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	cli_cell_hash(json_object_get(host, "installed"), cell);
	cell->colour =
		json_is_true(json_object_get(host, "in_sync")) ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static void cell_certificate(const struct cli_output *out, const json_t *host,
			     struct cli_cell *cell)
{
	const json_t *cert = json_object_get(host, "certificate");
	bool expired = json_is_true(json_object_get(cert, "expired"));

	cli_cell_printf(cell, "%s%s", expired ? "ended " : "",
			bh_json_str_or(cert, "not_after", "-"));
	cell->colour = expired ? CLI_COLOUR_BAD : CLI_COLOUR_NONE;
}

static void cell_unprotected(const struct cli_output *out, const json_t *host,
			     struct cli_cell *cell)
{
	uint64_t count = bh_json_u64_or(host, "nics_unprotected", 0);

	cli_cell_printf(cell, "%llu", (unsigned long long)count);
	cell->colour = count ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

static enum cli_colour fill_colour(double part)
{
	if (part > 0.9) {
		return CLI_COLOUR_BAD;
	}
	return part > 0.7 ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

/* The fullest table: "rows 12/65536". */
static void cell_fullest(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	json_t *capacity = json_object_get(host, "capacity");
	const json_t *used = json_object_get(host, "used");
	const char *table;
	json_t *limit;
	double fullest = -1;

	json_object_foreach (capacity, table, limit) {
		double max = json_number_value(limit);
		double now = (double)bh_json_u64_or(used, table, 0);

		if (max > 0 && now / max > fullest) {
			fullest = now / max;
			cli_cell_printf(cell, "%s %.0f%%", table, 100 * fullest);
			cell->colour = fill_colour(fullest);
		}
	}
}

static void cell_percent(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	double size = (double)bh_json_u64_or(row, "size", 0);
	double part = size > 0 ? (double)bh_json_u64_or(row, "used", 0) / size : 0;

	cli_cell_printf(cell, "%.1f%%", 100 * part);
	cell->colour = fill_colour(part);
}

void cli_show_tables(const struct cli_output *out, const json_t *host)
{
	static const struct cli_column columns[] = {
		{.title = "TABLE", .key = "table"},
		{.title = "USED", .key = "used", .flags = CLI_COL_RIGHT},
		{.title = "OF", .key = "size", .flags = CLI_COL_RIGHT},
		{.title = "FULL", .fn = cell_percent, .flags = CLI_COL_RIGHT},
	};
	const json_t *capacity = json_object_get(host, "capacity");
	BH_JSON json_t *rows = json_array();
	const char *table;
	json_t *used;

	json_object_foreach (json_object_get(host, "used"), table, used) {
		json_t *size = json_object_get(capacity, table);

		if (json_is_integer(size)) {
			json_array_append_new(rows, json_pack("{s:s, s:O, s:O}", "table", table,
							      "used", used, "size", size));
		}
	}
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), rows, rows,
		      "It has not said yet how much it holds.");
}

static void format_us(const json_t *us, struct cli_cell *cell)
{
	if (json_is_integer(us)) {
		cli_cell_printf(cell, "%.1f ms", (double)json_integer_value(us) / 1000);
	}
}

static void cell_install_time(const struct cli_output *out, const json_t *host,
			      struct cli_cell *cell)
{
	format_us(json_object_get(host, "install_us"), cell);
}

static void cell_sync_time(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	format_us(json_object_get(host, "sync_us"), cell);
}

void cli_show_hosts(const struct cli_output *out, const json_t *hosts, const json_t *whole)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "name"},
		{.title = "STATE", .fn = cell_state},
		{.title = "VMS", .key = "vms", .flags = CLI_COL_RIGHT},
		{.title = "NICS", .key = "nics", .flags = CLI_COL_RIGHT},
		{.title = "UNPROTECTED", .fn = cell_unprotected, .flags = CLI_COL_RIGHT},
		{.title = "REVISION", .key = "revision", .flags = CLI_COL_RIGHT},
		{.title = "SEEN", .fn = cell_seen, .flags = CLI_COL_RIGHT},
		{.title = "LABELS", .fn = cell_labels, .flags = CLI_COL_CUT},
		{.title = "PROBLEM", .fn = cell_problem, .flags = CLI_COL_CUT},
		{.title = "VERSION", .key = "version", .flags = CLI_COL_WIDE},
		{.title = "FULLEST", .fn = cell_fullest, .flags = CLI_COL_WIDE},
	};

	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), hosts, whole,
		      "No hosts yet. `bulkhead host token` makes a token to enrol one.");
}

void cli_show_host(const struct cli_output *out, const json_t *host)
{
	static const struct cli_column columns[] = {
		{.title = "name", .key = "name"},
		{.title = "state", .fn = cell_state},
		{.title = "problem", .key = "problem"},
		{.title = "labels", .fn = cell_labels},
		{.title = "maintenance", .fn = cell_maintenance},
		{.title = "last seen", .fn = cell_seen},
		{.title = "intended", .key = "intended"},
		{.title = "installed", .key = "installed"},
		{.title = "revision", .key = "revision"},
		{.title = "installed since", .fn = cell_installed_age},
		{.title = "install took", .fn = cell_install_time},
		{.title = "commit to answer", .fn = cell_sync_time},
		{.title = "version", .key = "version"},
		{.title = "kernel ABI", .key = "abi"},
		{.title = "enrolled", .key = "enrolled_at"},
		{.title = "certificate until", .fn = cell_certificate},
		{.title = "VMs", .key = "vms"},
		{.title = "NICs", .key = "nics"},
		{.title = "unprotected NICs", .fn = cell_unprotected},
	};

	cli_show_record(out, columns, BH_ARRAY_SIZE(columns), host);
}

void cli_show_sync(const struct cli_output *out, const json_t *hosts)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "name"},
		{.title = "STATE", .fn = cell_state},
		{.title = "INTENDED", .fn = cell_intended},
		{.title = "INSTALLED", .fn = cell_installed},
		{.title = "SINCE", .fn = cell_installed_age, .flags = CLI_COL_RIGHT},
		{.title = "SYNC TOOK", .fn = cell_sync_time, .flags = CLI_COL_RIGHT},
		{.title = "VMS", .key = "vms", .flags = CLI_COL_RIGHT},
		{.title = "FULLEST", .fn = cell_fullest},
		{.title = "SEEN", .fn = cell_seen, .flags = CLI_COL_RIGHT},
		{.title = "PROBLEM", .key = "problem", .flags = CLI_COL_CUT},
	};

	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), hosts, hosts,
		      "No hosts yet. `bulkhead host token` makes a token to enrol one.");
}

void cli_cell_protected(const json_t *nics, struct cli_cell *cell)
{
	size_t count = json_array_size(nics);
	size_t good = 0;

	for (size_t i = 0; i < count; i++) {
		good += json_is_true(json_object_get(json_array_get(nics, i), "protected"));
	}
	if (!count) {
		cli_cell_printf(cell, "no NICs");
		cell->colour = CLI_COLOUR_DIM;
	} else if (good == count) {
		cli_cell_printf(cell, CLI_OK);
		cell->colour = CLI_COLOUR_GOOD;
	} else {
		cli_cell_printf(cell, CLI_BAD " %zu of %zu", good, count);
		cell->colour = CLI_COLOUR_BAD;
	}
}
