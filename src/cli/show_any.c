/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show_any.h"

#include "base/util.h"
#include "cli/text.h"

#include <string.h>

#define COLUMNS_MAX 24

static bool is_table(const json_t *value)
{
	return json_array_size(value) && json_is_object(json_array_get(value, 0));
}

/* {"a": {"value": 1, ...}, ...} */
static bool is_counters(const json_t *value)
{
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)value, key, item) {
		if (!json_object_get(item, "value")) {
			return false;
		}
	}
	return json_object_size(value) > 0;
}

static char *title_of(const char *key)
{
	char *title = bh_strdup(key);

	for (char *p = title; *p; p++) {
		*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p == '_' ? ' ' : *p);
	}
	return title;
}

static void show_table(const struct cli_output *out, const json_t *rows)
{
	struct cli_column columns[COLUMNS_MAX] = {};
	char *titles[COLUMNS_MAX] = {};
	unsigned int count = 0;

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *key;
		json_t *value;

		json_object_foreach (json_array_get(rows, i), key, value) {
			unsigned int c = 0;

			while (c < count && strcmp(columns[c].key, key) != 0) {
				c++;
			}
			if (c < count || count == COLUMNS_MAX) {
				continue;
			}
			titles[count] = title_of(key);
			columns[count].title = titles[count];
			columns[count].key = key;
			columns[count].flags = json_is_number(value) ? CLI_COL_RIGHT : CLI_COL_CUT;
			count++;
		}
	}
	cli_show_list(out, columns, count, rows, rows, "");
	for (unsigned int c = 0; c < count; c++) {
		free(titles[c]);
	}
}

static void show_counters(const struct cli_output *out, const json_t *counters)
{
	static const struct cli_column columns[] = {
		{.title = "COUNTER", .key = "name"},
		{.title = "VALUE", .key = "value", .flags = CLI_COL_RIGHT},
		{.title = "MEANING", .key = "help", .flags = CLI_COL_CUT},
	};
	json_t *rows = json_array();
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)counters, key, item) {
		json_t *row = json_copy(item);

		json_object_set_new(row, "name", json_string(key));
		json_array_append_new(rows, row);
	}
	cli_show_list(out, columns, BH_ARRAY_SIZE(columns), rows, rows, "No counters.");
	json_decref(rows);
}

static void show_plain(const struct cli_output *out, const json_t *object)
{
	json_t *plain = json_object();
	struct cli_column *columns = bh_alloc_array(json_object_size(object) + 1, sizeof(*columns));
	unsigned int count = 0;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		if (!strcmp(key, "ok") || is_table(value) || is_counters(value)) {
			continue;
		}
		columns[count].title = key;
		columns[count].key = key;
		count++;
		json_object_set(plain, key, value);
	}
	cli_show_record(out, columns, count, plain);
	free(columns);
	json_decref(plain);
}

void cli_show_any(const struct cli_output *out, const json_t *object)
{
	const char *key;
	json_t *value;

	if (out->format == CLI_FORMAT_JSON) {
		cli_show_json(out, object, false);
		return;
	}
	if (is_counters(object)) {
		show_counters(out, object);
		return;
	}
	show_plain(out, object);
	json_object_foreach ((json_t *)object, key, value) {
		if (is_table(value) || is_counters(value)) {
			BH_FREE char *clean = cli_text_clean(key);

			fprintf(out->file, "\n%s%s%s\n", cli_colour_begin(out, CLI_COLOUR_BOLD),
				clean, cli_colour_end(out, CLI_COLOUR_BOLD));
		}
		if (is_table(value)) {
			show_table(out, value);
		} else if (is_counters(value)) {
			show_counters(out, value);
		}
	}
}
