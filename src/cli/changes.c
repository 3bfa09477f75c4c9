/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/changes.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/text.h"

#include <string.h>

static const struct change_kind {
	const char *change;
	const char *sign;
	enum cli_colour colour;
} kinds[] = {
	{"added", "+", CLI_COLOUR_GOOD},
	{"removed", "-", CLI_COLOUR_BAD},
	{"changed", "~", CLI_COLOUR_WARN},
};

static const struct change_kind *kind_of(const json_t *change)
{
	const char *word = bh_json_str_or(change, "change", "");

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].change, word)) {
			return &kinds[i];
		}
	}
	return NULL;
}

char *cli_changes_text(const json_t *changes)
{
	struct bh_wbuf w;
	char *text;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < json_array_size(changes); i++) {
		const json_t *change = json_array_get(changes, i);
		const struct change_kind *kind = kind_of(change);

		if (kind) {
			bh_wbuf_printf(&w, "%s%s%s/%s", w.size ? " " : "", kind->sign,
				       bh_json_str_or(change, "tenant", "?"),
				       bh_json_str_or(change, "name", "?"));
		}
	}
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

/* Each line of a text, indented; diff lines in their colours. */
static void put_lines(const struct cli_output *out, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		BH_FREE char *line = strndup(text, len);
		BH_FREE char *clean = cli_text_clean(line ? line : "");
		enum cli_colour colour = clean[0] == '+'   ? CLI_COLOUR_GOOD
					 : clean[0] == '-' ? CLI_COLOUR_BAD
							   : CLI_COLOUR_NONE;

		fprintf(out->file, "    %s%s%s\n", cli_colour_begin(out, colour), clean,
			cli_colour_end(out, colour));
		text += len + (text[len] == '\n');
	}
}

static void put_changes(const struct cli_output *out, const json_t *changes, bool with_text)
{
	for (size_t i = 0; i < json_array_size(changes); i++) {
		const json_t *change = json_array_get(changes, i);
		const struct change_kind *kind = kind_of(change);
		BH_FREE char *name = NULL;
		BH_FREE char *clean = NULL;

		if (!kind) {
			continue;
		}
		name = bh_asprintf("%s/%s", bh_json_str_or(change, "tenant", "?"),
				   bh_json_str_or(change, "name", "?"));
		clean = cli_text_clean(name);
		fprintf(out->file, "%s%s %s %s%s\n", cli_colour_begin(out, kind->colour),
			kind->sign, kind->change, clean, cli_colour_end(out, kind->colour));
		if (with_text) {
			put_lines(out, bh_json_str_or(change, "text", ""));
		}
	}
}

/* "shop role=db" of {"tenant", "labels"}; labels that the manager made for itself are left out.
 * Owned. */
static char *selected_text(const json_t *selected)
{
	BH_JSON json_t *labels = json_copy(json_object_get(selected, "labels"));
	BH_FREE char *text = NULL;
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (labels, next, key, value) {
		if (!strncmp(key, "bulkhead/", 9)) {
			json_object_del(labels, key);
		}
	}
	text = cli_labels_text(labels);
	return bh_asprintf("%s%s%s", bh_json_str_or(selected, "tenant", "?"), *text ? " " : "",
			   text);
}

static void cell_selected(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	BH_FREE char *text = selected_text(json_object_get(row, "selected"));

	cli_cell_printf(cell, "%s", text);
}

static void cell_peers(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	bool in = !strcmp(bh_json_str_or(row, "dir", ""), "ingress");
	BH_FREE char *text = cli_json_text(json_object_get(row, "peers"));

	cli_cell_printf(cell, "%s %s", in ? "from" : "to", text);
}

static void cell_verdicts(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const json_t *before = json_object_get(row, "before");
	const json_t *after = json_object_get(row, "after");
	const char *action = bh_json_str_or(after, "action", "?");

	cli_cell_printf(cell, "%s → %s", bh_json_str_or(before, "action", "?"), action);
	cell->colour = strcmp(action, "allow") != 0 ? CLI_COLOUR_BAD : CLI_COLOUR_GOOD;
}

/* Which connections get another verdict, as the policy room found out. */
static void put_effect(const struct cli_output *out, const json_t *effect)
{
	static const struct cli_column columns[] = {
		{.title = "VMS", .fn = cell_selected, .flags = CLI_COL_CUT},
		{.title = "PEERS", .fn = cell_peers, .flags = CLI_COL_CUT},
		{.title = "SERVICES", .key = "services", .flags = CLI_COL_CUT},
		{.title = "VERDICT", .fn = cell_verdicts},
		{.title = "BY", .key = "after.rule", .flags = CLI_COL_CUT},
		{.title = "WAS BY", .key = "before.rule", .flags = CLI_COL_WIDE},
	};
	const json_t *entries = json_object_get(effect, "entries");
	uint64_t left_out = bh_json_u64_or(effect, "left_out", 0);

	if (!json_is_object(effect)) {
		return;
	}
	fputc('\n', out->file);
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), entries, entries,
		      "No connection between VMs that are there now would get another verdict.");
	if (left_out) {
		fprintf(out->file, "... and %llu more.\n", (unsigned long long)left_out);
	}
	if (json_is_false(json_object_get(effect, "complete"))) {
		fprintf(out->file, "Too much to ask everything: there may be more.\n");
	}
}

/* ---- recorded flows ---- */

static void put_side(struct bh_wbuf *w, const json_t *side)
{
	const json_t *addresses = json_object_get(side, "addresses");

	if (json_object_get(side, "labels")) {
		BH_FREE char *text = selected_text(side);

		bh_wbuf_str(w, text);
		return;
	}
	bh_wbuf_str(w, bh_json_str_or(side, "entity", "?"));
	if (json_array_size(addresses)) {
		BH_FREE char *text = cli_json_text(addresses);

		bh_wbuf_printf(w, " %s", text);
	}
}

static void cell_talk(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	put_side(&w, json_object_get(row, "src"));
	bh_wbuf_str(&w, " → ");
	put_side(&w, json_object_get(row, "dst"));
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static void cell_last(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cli_cell_age(out, json_object_get(row, "last"), cell);
}

void cli_show_flows(struct cli *cli, const json_t *flows)
{
	static const struct cli_column columns[] = {
		{.title = "RECORDED", .fn = cell_talk, .flags = CLI_COL_CUT},
		{.title = "SERVICE", .key = "service"},
		{.title = "FLOWS", .key = "flows", .flags = CLI_COL_RIGHT},
		{.title = "LAST", .fn = cell_last, .flags = CLI_COL_RIGHT},
		{.title = "VERDICT", .fn = cell_verdicts},
		{.title = "BY", .key = "after.rule", .flags = CLI_COL_CUT},
		{.title = "WAS BY", .key = "before.rule", .flags = CLI_COL_WIDE},
	};
	const struct cli_output *out = &cli->out;
	const json_t *entries = json_object_get(flows, "entries");
	uint64_t left_out = bh_json_u64_or(flows, "left_out", 0);

	if (!json_is_object(flows)) {
		return;
	}
	fputc('\n', out->file);
	if (!entries) {
		BH_FREE char *clean = cli_text_clean(bh_json_str_or(flows, "problem", ""));

		fprintf(out->file, "Recorded flows can't be read: %s\n", clean);
		return;
	}
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), entries, entries,
		      "No recorded flow would get another verdict.");
	if (left_out) {
		fprintf(out->file, "... and %llu more.\n", (unsigned long long)left_out);
	}
	fprintf(out->file, "Of %llu recorded flows %llu would be refused, %llu let through.\n",
		(unsigned long long)bh_json_u64_or(flows, "flows", 0),
		(unsigned long long)bh_json_u64_or(flows, "would_deny", 0),
		(unsigned long long)bh_json_u64_or(flows, "would_allow", 0));
	if (json_is_false(json_object_get(flows, "complete"))) {
		fprintf(out->file, "There were too many to look at all of them.\n");
	}
}

void cli_show_draft_check(struct cli *cli, const json_t *check)
{
	static const struct cli_column warnings[] = {
		{.title = "LINE", .key = "line", .flags = CLI_COL_RIGHT},
		{.title = "WARNING", .key = "message"},
	};
	static const struct cli_column conflicts[] = {
		{.title = "CHANGED MEANWHILE", .key = "policy"},
		{.title = "IN REVISION", .key = "revision", .flags = CLI_COL_RIGHT},
	};
	const json_t *list = json_object_get(check, "warnings");
	const json_t *moved = json_object_get(check, "conflicts");

	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, check, false);
		return;
	}
	put_changes(&cli->out, json_object_get(check, "changes"), true);
	cli_show_list(&cli->out, warnings, BH_ARRAY_SIZE(warnings), list, list, "No warnings.");
	cli_show_list(&cli->out, conflicts, BH_ARRAY_SIZE(conflicts), moved, moved,
		      "Nobody changed the same meanwhile.");
}

static void put_end(struct bh_wbuf *w, const json_t *end)
{
	const char *vm = bh_json_str_or(end, "vm", "");

	if (*vm) {
		bh_wbuf_printf(w, "%s/%s ", bh_json_str_or(end, "tenant", "?"), vm);
	}
	bh_wbuf_printf(w, "%s:%llu", bh_json_str_or(end, "address", "?"),
		       (unsigned long long)bh_json_u64_or(end, "port", 0));
}

static void cell_connection(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	put_end(&w, json_object_get(row, "src"));
	bh_wbuf_str(&w, " → ");
	put_end(&w, json_object_get(row, "dst"));
	cli_cell_printf(cell, "%s", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
}

static void cell_connection_age(const struct cli_output *out, const json_t *row,
				struct cli_cell *cell)
{
	cli_cell_printf(cell, "%llu s",
			(unsigned long long)bh_json_u64_or(row, "age_ms", 0) / 1000);
}

/* Connections that are open now and would end. */
static void put_connections(const struct cli_output *out, const json_t *connections)
{
	static const struct cli_column columns[] = {
		{.title = "OPEN NOW, WOULD END", .fn = cell_connection},
		{.title = "PROTO", .key = "proto"},
		{.title = "AGE", .fn = cell_connection_age, .flags = CLI_COL_RIGHT},
		{.title = "BY", .key = "rule", .flags = CLI_COL_CUT},
		{.title = "HOST", .key = "host", .flags = CLI_COL_WIDE},
	};
	const json_t *cut = json_object_get(connections, "cut");
	const json_t *silent = json_object_get(connections, "silent");
	uint64_t total = bh_json_u64_or(connections, "total", 0);

	if (!json_is_object(connections)) {
		return;
	}
	fputc('\n', out->file);
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), cut, cut,
		      "No connection that is open now would end.");
	if (total > json_array_size(cut)) {
		fprintf(out->file, "... and %llu more.\n",
			(unsigned long long)(total - json_array_size(cut)));
	}
	if (json_array_size(silent)) {
		BH_FREE char *names = cli_json_text(silent);
		BH_FREE char *clean = cli_text_clean(names);

		fprintf(out->file, "Not told by: %s\n", clean);
	} else if (json_is_false(json_object_get(connections, "complete"))) {
		fprintf(out->file, "Not every host told all of its connections.\n");
	}
}

static void put_misplaced(const struct cli_output *out, const json_t *misplaced)
{
	static const struct cli_column columns[] = {
		{.title = "RUNS WHERE IT MAY NOT ANY MORE", .key = "name"},
		{.title = "HOST", .key = "host"},
		{.title = "WHY", .key = "why", .flags = CLI_COL_CUT},
	};
	const json_t *vms = json_object_get(misplaced, "vms");
	uint64_t total = bh_json_u64_or(misplaced, "total", 0);

	if (!total) {
		return; /* most policies say nothing of hosts */
	}
	fputc('\n', out->file);
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), vms, vms, "");
	if (total > json_array_size(vms)) {
		fprintf(out->file, "... and %llu more.\n",
			(unsigned long long)(total - json_array_size(vms)));
	}
}

void cli_show_diff(struct cli *cli, const json_t *diff)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "host"},
		{.title = "RECORDS TO CHANGE", .key = "records", .flags = CLI_COL_RIGHT},
	};
	const json_t *hosts = json_object_get(diff, "hosts");

	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, diff, false);
		return;
	}
	if (!json_is_true(json_object_get(diff, "changed"))) {
		fprintf(cli->out.file, "Nothing would change.\n");
		return;
	}
	put_changes(&cli->out, json_object_get(diff, "changes"), true);
	put_effect(&cli->out, json_object_get(diff, "effect"));
	cli_show_flows(cli, json_object_get(diff, "flows"));
	put_connections(&cli->out, json_object_get(diff, "connections"));
	put_misplaced(&cli->out, json_object_get(diff, "misplaced"));
	fputc('\n', cli->out.file);
	cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), hosts, hosts,
		      "No host's desired state would change.");
}

static void cell_has(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	bool good = json_is_true(json_object_get(host, "in_sync"));
	bool offline = json_is_false(json_object_get(host, "online"));

	cli_cell_printf(cell, "%s",
			good	  ? CLI_OK " yes"
			: offline ? CLI_BAD " offline"
				  : CLI_BAD " not yet");
	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static void cell_sync_time(const struct cli_output *out, const json_t *host, struct cli_cell *cell)
{
	const json_t *us = json_object_get(host, "sync_us");

	if (json_is_integer(us) && json_is_true(json_object_get(host, "in_sync"))) {
		cli_cell_printf(cell, "%.1f ms", (double)json_integer_value(us) / 1000);
	}
}

int cli_show_applied(struct cli *cli, const json_t *applied, bool waited)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "host"},
		{.title = "ENFORCES IT", .fn = cell_has},
		{.title = "AFTER", .fn = cell_sync_time, .flags = CLI_COL_RIGHT},
		{.title = "PROBLEM", .key = "problem", .flags = CLI_COL_CUT},
	};
	const json_t *hosts = json_object_get(applied, "hosts");
	bool complete = json_is_true(json_object_get(applied, "complete"));
	int code = waited && !complete ? CLI_EXIT_NO : CLI_EXIT_OK;

	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, applied, false);
		return code;
	}
	if (json_is_true(json_object_get(applied, "changed"))) {
		fprintf(cli->out.file, "Revision %llu\n",
			(unsigned long long)bh_json_u64_or(applied, "revision", 0));
	} else {
		fprintf(cli->out.file, "Nothing to change; revision %llu stays.\n",
			(unsigned long long)bh_json_u64_or(applied, "revision", 0));
	}
	put_changes(&cli->out, json_object_get(applied, "changes"), false);
	if (json_object_get(applied, "confirm_until")) {
		cli_say(cli->out.file,
			"Goes back by itself at %s unless you say `bulkhead policy confirm "
			"%llu`.\n",
			bh_json_str_or(applied, "confirm_until", "?"),
			(unsigned long long)bh_json_u64_or(applied, "revision", 0));
	}
	if (waited) {
		cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), hosts, hosts,
			      "No host is in scope.");
	} else if (json_array_size(hosts)) {
		fprintf(cli->out.file,
			"On its way to %zu host%s; `bulkhead status` shows when it is there.\n",
			json_array_size(hosts), json_array_size(hosts) == 1 ? "" : "s");
	}
	if (code) {
		(void)cli_fail(cli, code, "not every host enforces it yet; see `bulkhead status`");
	}
	return code;
}

/* With -o wide: every rule that was asked before the one that decided. */
static void put_considered(const struct cli_output *out, const json_t *rules)
{
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);
		const char *outcome = bh_json_str_or(rule, "outcome", "");
		const char *says = bh_json_str_or(rule, "says", "");
		BH_FREE char *line = bh_asprintf("%s%s%s%s", bh_json_str_or(rule, "text", "?"),
						 *says ? ": " : "", says,
						 !strcmp(outcome, "peer")   ? " - another peer"
						 : !strcmp(outcome, "port") ? " - another port"
									    : " - decides");
		BH_FREE char *clean = cli_text_clean(line);

		fprintf(out->file, "      %s%s%s\n", cli_colour_begin(out, CLI_COLOUR_DIM), clean,
			cli_colour_end(out, CLI_COLOUR_DIM));
	}
}

static void put_judged(const struct cli_output *out, const char *where, const json_t *judged)
{
	const char *action = bh_json_str_or(judged, "action", "?");
	bool good = !strcmp(action, "allow");
	const char *policy = bh_json_str_or(judged, "policy", "");
	const char *file = bh_json_str_or(judged, "file", "");
	uint64_t line = bh_json_u64_or(judged, "line", 0);
	BH_FREE char *text = cli_text_clean(bh_json_str_or(judged, "text", "?"));
	BH_FREE char *place = line && *file ? bh_asprintf("%s:%llu", file, (unsigned long long)line)
					    : bh_strdup("");
	BH_FREE char *clean_place = cli_text_clean(place);
	BH_FREE char *says = cli_text_clean(bh_json_str_or(judged, "says", ""));

	if (!json_is_object(judged)) {
		fprintf(out->file, "  %s  not judged: no VM there\n", where);
		return;
	}
	fprintf(out->file, "  %s  %s%s %s%s  %s", where,
		cli_colour_begin(out, good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD),
		good ? CLI_OK : CLI_BAD, action, cli_colour_end(out, CLI_COLOUR_GOOD), text);
	/* The text names policy and place already when it comes from a document. */
	if (*policy && !strstr(text, policy)) {
		fprintf(out->file, "  [%s]", policy);
	}
	if (*clean_place && !strstr(text, clean_place)) {
		fprintf(out->file, "  (%s)", clean_place);
	}
	if (*says) {
		fprintf(out->file, ": %s", says);
	}
	fputc('\n', out->file);
	if (out->format == CLI_FORMAT_WIDE) {
		put_considered(out, json_object_get(judged, "considered"));
	}
}

void cli_show_explained(struct cli *cli, const json_t *explained)
{
	const struct cli_output *out = &cli->out;
	const char *verdict = bh_json_str_or(explained, "verdict", "?");
	bool good = !strcmp(verdict, "allow");
	BH_FREE char *from = cli_text_clean(bh_json_str_or(explained, "from", "?"));
	BH_FREE char *to = cli_text_clean(bh_json_str_or(explained, "to", "?"));
	BH_FREE char *port = cli_text_clean(bh_json_str_or(explained, "port", "any service"));

	if (out->format == CLI_FORMAT_JSON) {
		cli_show_json(out, explained, false);
		return;
	}
	fprintf(out->file, "%s%s %s%s: %s → %s, %s\n",
		cli_colour_begin(out, good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD),
		good ? CLI_OK : CLI_BAD, good ? "allowed" : "refused",
		cli_colour_end(out, CLI_COLOUR_GOOD), from, to, port);
	put_judged(out, "where it leaves: ", json_object_get(explained, "egress"));
	put_judged(out, "where it arrives:", json_object_get(explained, "ingress"));
}
