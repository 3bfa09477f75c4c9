/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead migration: which VMs travelled, which were not let go and why, and each step of one. */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/text.h"

#include <string.h>

#define ID_DIGITS 12

static void cell_id(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_printf(cell, "%.*s", ID_DIGITS, bh_json_str_or(row, "id", ""));
}

static void cell_source(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *source = bh_json_str_or(row, "source", "");

	cli_cell_printf(cell, "%s", *source ? source : "(not ours)");
	cell->colour = *source ? CLI_COLOUR_NONE : CLI_COLOUR_DIM;
}

static void cell_state(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *state = bh_json_str_or(row, "state", "");
	bool bad = !strcmp(state, "failed") || !strcmp(state, "refused");

	cli_cell_printf(cell, "%s", state);
	cell->colour = bad			? CLI_COLOUR_BAD
		       : !strcmp(state, "done") ? CLI_COLOUR_GOOD
						: CLI_COLOUR_WARN;
}

static void format_ms(double ms, struct cli_cell *cell)
{
	if (ms < 10) {
		cli_cell_printf(cell, "%.1f ms", ms);
	} else if (ms < 10000) {
		cli_cell_printf(cell, "%.0f ms", ms);
	} else {
		cli_cell_printf(cell, "%.1f s", ms / 1000);
	}
}

static void cell_ms(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	format_ms(json_number_value(json_object_get(row, "ms")), cell);
}

static void cell_begun(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	char text[CLI_TIME_SIZE] = "";
	uint64_t time = cli_time_parse(bh_json_str_or(row, "begun", ""));

	if (time) {
		cli_time_short(time, out->now_ns, text);
	}
	cli_cell_printf(cell, "%s", text);
}

/* "root (h1), ...": whatever names people, libvirt differs by how it was reached. */
static void cell_by(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const json_t *by = json_object_get(row, "by");
	struct bh_wbuf w;
	const char *key;
	json_t *value;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < json_array_size(by); i++) {
		bh_wbuf_str(&w, w.size ? ";" : "");
		json_object_foreach (json_array_get(by, i), key, value) {
			BH_FREE char *text = cli_json_text(value);

			bh_wbuf_printf(&w, "%s%s=%s", w.size ? " " : "", key, text);
		}
	}
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static int migration_list(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "ID", .fn = cell_id},
		{.title = "VM", .key = "vm_name", .flags = CLI_COL_CUT},
		{.title = "FROM", .fn = cell_source},
		{.title = "TO", .key = "target"},
		{.title = "STATE", .fn = cell_state},
		{.title = "BEGUN", .fn = cell_begun},
		{.title = "TOOK", .fn = cell_ms, .flags = CLI_COL_RIGHT},
		{.title = "CONNECTIONS", .key = "connections", .flags = CLI_COL_RIGHT},
		{.title = "REASON", .key = "reason", .flags = CLI_COL_CUT},
		{.title = "BYTES", .key = "bytes", .flags = CLI_COL_RIGHT | CLI_COL_WIDE},
		{.title = "BY", .fn = cell_by, .flags = CLI_COL_WIDE},
		{.title = "TENANT", .key = "tenant", .flags = CLI_COL_WIDE},
		{.title = "WHY", .key = "why", .flags = CLI_COL_WIDE},
	};
	BH_JSON json_t *body = NULL;
	struct bh_wbuf path;
	int r;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/migrations");
	cli_query_add(&path, "vm", cli_call_value(call, "vm"));
	cli_query_add(&path, "open", cli_call_flag(call, "open") ? "true" : NULL);
	cli_query_add(&path, "since", cli_call_value(call, "since"));
	cli_query_add(&path, "limit", cli_call_value(call, "limit"));
	r = cli_get(cli, bh_wbuf_cstr(&path), &body);
	bh_wbuf_done(&path);
	if (!r) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns),
			      json_object_get(body, "items"), body, "No migrations.");
	}
	return r;
}

/* ---- one ---- */

static void cell_step_hash(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_printf(cell, "%.*s", out->format == CLI_FORMAT_WIDE ? 64 : ID_DIGITS,
			bh_json_str_or(row, "hash", ""));
}

static void cell_step_time(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	char text[CLI_TIME_SIZE] = "";
	const char *time = bh_json_str_or(row, "time", "");
	const char *fraction = strchr(time, '.');

	cli_time_short(cli_time_parse(time), out->now_ns, text);
	cli_cell_printf(cell, "%s%.4s", text, fraction ? fraction : "");
}

/* What a step says beyond time and hash. */
static void cell_step_more(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	static const char *const shown[] = {"connections", "bytes", "revision",
					    "phase",	   "why",   "reason"};
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(shown); i++) {
		BH_FREE char *text = cli_json_text(json_object_get(row, shown[i]));

		if (*text) {
			bh_wbuf_printf(&w, "%s%s=%s", w.size ? " " : "", shown[i], text);
		}
	}
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static void show_steps(const struct cli_output *out, const json_t *steps)
{
	static const struct cli_column columns[] = {
		{.title = "STEP", .key = "step"},
		{.title = "TIME", .fn = cell_step_time},
		{.title = "AFTER", .fn = cell_ms, .flags = CLI_COL_RIGHT},
		{.title = "HASH", .fn = cell_step_hash},
		{.title = "", .fn = cell_step_more, .flags = CLI_COL_CUT},
	};

	fputc('\n', out->file);
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), steps, steps, "No steps.");
}

static int migration_show(struct cli *cli, const struct cli_call *call)
{
	static const struct cli_column columns[] = {
		{.title = "id", .key = "id"},
		{.title = "vm", .key = "vm_name"},
		{.title = "uuid", .key = "vm"},
		{.title = "tenant", .key = "tenant"},
		{.title = "from", .fn = cell_source},
		{.title = "to", .key = "target"},
		{.title = "why", .key = "why"},
		{.title = "state", .fn = cell_state},
		{.title = "reason", .key = "reason"},
		{.title = "by", .fn = cell_by},
		{.title = "begun", .key = "begun"},
		{.title = "ended", .key = "ended"},
		{.title = "took", .fn = cell_ms},
		{.title = "connections", .key = "connections"},
		{.title = "bytes", .key = "bytes"},
		{.title = "hash", .key = "hash"},
	};
	BH_FREE char *path = cli_path("/migrations/", call->args[0], "");
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, path, &body);

	if (!r) {
		cli_show_record(&cli->out, columns, BH_ARRAY_SIZE(columns), body);
	}
	if (!r && cli->out.format != CLI_FORMAT_JSON) {
		show_steps(&cli->out, json_object_get(body, "steps"));
	}
	return r;
}

static const struct cli_option list_options[] = {
	{"vm", 0, "VM", "only of this VM", CLI_WORDS_VM},
	{"open", 0, NULL, "only those that have not ended", NULL},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"limit", 0, "N", "the newest N, 100 unless given", NULL},
	{},
};

const struct cli_command cli_migration_commands[] = {
	{.name = "list",
	 .summary = "which VMs travelled, and which were refused and why",
	 .options = list_options,
	 .run = migration_list},
	{.name = "show",
	 .args = "ID",
	 .summary = "one migration, step by step",
	 .words = CLI_WORDS_MIGRATION,
	 .args_min = 1,
	 .args_max = 1,
	 .run = migration_show},
	{},
};
