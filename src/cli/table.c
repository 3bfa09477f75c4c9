/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/buf.h"
#include "base/util.h"
#include "cli/text.h"

#include <stdarg.h>

#define GAP	   2
#define CUT_TO_MIN 8

void cli_cell_printf(struct cli_cell *cell, const char *fmt, ...)
{
	va_list ap;

	free(cell->text);
	va_start(ap, fmt);
	if (vasprintf(&cell->text, fmt, ap) < 0) {
		abort();
	}
	va_end(ap);
}

const json_t *cli_json_at(const json_t *row, const char *key)
{
	while (row) {
		size_t n = strcspn(key, ".");
		BH_FREE char *part = NULL;

		if (!key[n]) {
			return json_object_get(row, key);
		}
		part = strndup(key, n);
		row = part ? json_object_get(row, part) : NULL;
		key += n + 1;
	}
	return NULL;
}

static void put_text(struct bh_wbuf *w, const json_t *value, unsigned int depth)
{
	const char *key;
	json_t *item;
	size_t i;
	bool first = true;

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		bh_wbuf_str(w, json_string_value(value));
		break;
	case JSON_INTEGER:
		bh_wbuf_printf(w, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		bh_wbuf_printf(w, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		bh_wbuf_str(w, json_is_true(value) ? "yes" : "no");
		break;
	case JSON_ARRAY:
		for (i = 0; depth && i < json_array_size(value); i++) {
			bh_wbuf_str(w, i ? ", " : "");
			put_text(w, json_array_get(value, i), depth - 1);
		}
		break;
	case JSON_OBJECT:
		/* The iterator wants a mutable object but does not change it. */
		json_object_foreach ((json_t *)value, key, item) {
			if (!depth) {
				break;
			}
			bh_wbuf_printf(w, "%s%s=", first ? "" : ", ", key);
			put_text(w, item, depth - 1);
			first = false;
		}
		break;
	case JSON_NULL:
		break;
	}
}

char *cli_json_text(const json_t *value)
{
	struct bh_wbuf w;
	char *text;

	bh_wbuf_init(&w, 0);
	put_text(&w, value, 4);
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

const char *cli_colour_begin(const struct cli_output *out, enum cli_colour colour)
{
	static const char *const begin[] = {
		[CLI_COLOUR_NONE] = "",	       [CLI_COLOUR_GOOD] = "\033[32m",
		[CLI_COLOUR_BAD] = "\033[31m", [CLI_COLOUR_WARN] = "\033[33m",
		[CLI_COLOUR_DIM] = "\033[2m",  [CLI_COLOUR_BOLD] = "\033[1m",
	};

	return out->colour ? begin[colour] : "";
}

const char *cli_colour_end(const struct cli_output *out, enum cli_colour colour)
{
	return out->colour && colour != CLI_COLOUR_NONE ? "\033[0m" : "";
}

static void make_cell(const struct cli_output *out, const struct cli_column *column,
		      const json_t *row, struct cli_cell *cell)
{
	BH_FREE char *raw = NULL;

	if (column->fn) {
		column->fn(out, row, cell);
		raw = bh_steal(&cell->text);
	} else {
		raw = cli_json_text(cli_json_at(row, column->key));
	}
	cell->text = raw && *raw ? cli_text_clean(raw) : bh_strdup("-");
}

/* Takes columns away from the widest cuttable one until the line fits. */
static void fit(const struct cli_output *out, const struct cli_column *const *shown, size_t *widths,
		size_t count)
{
	size_t total = count ? GAP * (count - 1) : 0;

	for (size_t i = 0; i < count; i++) {
		total += widths[i];
	}
	while (out->columns && total > out->columns) {
		size_t widest = count;

		for (size_t i = 0; i < count; i++) {
			if ((shown[i]->flags & CLI_COL_CUT) && widths[i] > CUT_TO_MIN &&
			    (widest == count || widths[i] > widths[widest])) {
				widest = i;
			}
		}
		if (widest == count) {
			return;
		}
		widths[widest]--;
		total--;
	}
}

static void put_cell(const struct cli_output *out, const struct cli_column *column,
		     const struct cli_cell *cell, size_t width, bool last)
{
	BH_FREE char *text = cli_text_cut(cell->text, width);
	int pad = (int)(width - cli_text_width(text));

	if (column->flags & CLI_COL_RIGHT) {
		fprintf(out->file, "%*s", pad, "");
		pad = 0;
	}
	fprintf(out->file, "%s%s%s", cli_colour_begin(out, cell->colour), text,
		cli_colour_end(out, cell->colour));
	if (last) {
		fputc('\n', out->file);
	} else {
		fprintf(out->file, "%*s", pad + GAP, "");
	}
}

static void write_table(const struct cli_output *out, const struct cli_column *const *shown,
			size_t count, const json_t *rows)
{
	size_t row_count = json_array_size(rows);
	struct cli_cell *cells = bh_alloc_array((row_count + 1) * count, sizeof(*cells));
	size_t *widths = bh_alloc_array(count, sizeof(*widths));

	for (size_t c = 0; c < count; c++) {
		cells[c].text = cli_text_clean(shown[c]->title);
		cells[c].colour = CLI_COLOUR_BOLD;
	}
	for (size_t r = 0; r < row_count; r++) {
		for (size_t c = 0; c < count; c++) {
			make_cell(out, shown[c], json_array_get(rows, r),
				  &cells[(r + 1) * count + c]);
		}
	}
	for (size_t i = 0; i < (row_count + 1) * count; i++) {
		size_t width = cli_text_width(cells[i].text);

		if (width > widths[i % count]) {
			widths[i % count] = width;
		}
	}
	fit(out, shown, widths, count);
	for (size_t i = 0; i < (row_count + 1) * count; i++) {
		put_cell(out, shown[i % count], &cells[i], widths[i % count],
			 i % count == count - 1);
		free(cells[i].text);
	}
	free(widths);
	free(cells);
}

void cli_show_list(const struct cli_output *out, const struct cli_column *columns,
		   unsigned int count, const json_t *rows, const json_t *whole, const char *none)
{
	const struct cli_column **shown = NULL;
	size_t shown_count = 0;

	if (out->format == CLI_FORMAT_JSON) {
		cli_show_json(out, whole, false);
		return;
	}
	if (json_array_size(rows) == 0) {
		fprintf(out->file, "%s\n", none);
		return;
	}
	shown = bh_alloc_array(count, sizeof(*shown));
	for (unsigned int i = 0; i < count; i++) {
		if (out->format == CLI_FORMAT_WIDE || !(columns[i].flags & CLI_COL_WIDE)) {
			shown[shown_count++] = &columns[i];
		}
	}
	write_table(out, shown, shown_count, rows);
	free(shown);
}

void cli_show_record(const struct cli_output *out, const struct cli_column *columns,
		     unsigned int count, const json_t *row)
{
	char **titles = NULL; /* some are members of an answer */
	size_t width = 0;

	if (out->format == CLI_FORMAT_JSON) {
		cli_show_json(out, row, false);
		return;
	}
	titles = bh_alloc_array(count, sizeof(*titles));
	for (unsigned int i = 0; i < count; i++) {
		size_t n;

		titles[i] = cli_text_clean(columns[i].title);
		n = cli_text_width(titles[i]);
		width = n > width ? n : width;
	}
	for (unsigned int i = 0; i < count; i++) {
		struct cli_cell cell = {};

		make_cell(out, &columns[i], row, &cell);
		fprintf(out->file, "%s%s%s%*s%s%s%s\n", cli_colour_begin(out, CLI_COLOUR_BOLD),
			titles[i], cli_colour_end(out, CLI_COLOUR_BOLD),
			(int)(width - cli_text_width(titles[i])) + GAP, "",
			cli_colour_begin(out, cell.colour), cell.text,
			cli_colour_end(out, cell.colour));
		free(cell.text);
		free(titles[i]);
	}
	free(titles);
}

void cli_show_json(const struct cli_output *out, const json_t *json, bool compact)
{
	size_t flags = JSON_ENCODE_ANY | (compact ? JSON_COMPACT : JSON_INDENT(2));
	BH_FREE char *text = json_dumps(json, flags);
	BH_FREE char *clean = text ? cli_text_clean_json(text) : NULL;

	/* A broken pipe shows at fflush() in main. */
	fprintf(out->file, "%s\n", clean ? clean : "null");
}

void cli_say(FILE *file, const char *fmt, ...)
{
	BH_FREE char *text = NULL;
	BH_FREE char *clean = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		abort();
	}
	va_end(ap);
	clean = cli_text_clean_lines(text);
	fputs(clean, file);
}
