/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show_any.h"

#include "base/json.h"
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

/* {"a": {...}, "b": {...}}: a table whose first column is the name. */
static bool is_map(const json_t *value)
{
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)value, key, item) {
		if (!json_is_object(item)) {
			return false;
		}
	}
	return json_object_size(value) > 0;
}

/* Members that are ends of a connection become "vm 10.0.0.1:80". Owned copy. */
static json_t *with_ends_as_text(const json_t *row)
{
	json_t *copy = json_copy((json_t *)row);
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)row, key, value) {
		const char *address = bh_json_str_or(value, "address", "");
		const char *vm = bh_json_str_or(value, "vm_name", "");
		uint64_t port = bh_json_u64_or(value, "port", 0);
		BH_FREE char *host = NULL;
		BH_FREE char *end = NULL;

		if (!*address) {
			continue;
		}
		host = bh_asprintf(port && strchr(address, ':') ? "[%s]" : "%s", address);
		end = port ? bh_asprintf("%s%s%s:%llu", vm, *vm ? " " : "", host,
					 (unsigned long long)port)
			   : bh_asprintf("%s%s%s", vm, *vm ? " " : "", host);
		json_object_set_new(copy, key, json_string(end));
	}
	return copy;
}

/* Daemons sort their members by name; people look for these first. Others follow as they come. */
static unsigned int place_of(const char *key)
{
	static const char *const first[] = {
		"name",	 "vm_name", "host", "uri",  "rule",    "proto",	 "src",	 "dst",
		"state", "dir",	    "nic",  "mac",  "dev",     "bridge", "kind", "protected",
		"fed",	 "reason",  "used", "size", "packets", "bytes",
	};
	unsigned int i = 0;

	while (i < BH_ARRAY_SIZE(first) && strcmp(first[i], key) != 0) {
		i++;
	}
	return i;
}

static int by_place(const void *a, const void *b)
{
	const struct cli_column *x = a;
	const struct cli_column *y = b;
	unsigned int x_place = place_of(x->key);
	unsigned int y_place = place_of(y->key);

	return x_place != y_place ? (x_place < y_place ? -1 : 1) : strcmp(x->key, y->key);
}

static char *title_of(const char *key)
{
	char *title = bh_strdup(key);

	for (char *p = title; *p; p++) {
		*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p == '_' ? ' ' : *p);
	}
	return title;
}

static void show_table(const struct cli_output *out, const json_t *given)
{
	BH_JSON json_t *rows = json_array();
	struct cli_column columns[COLUMNS_MAX] = {};
	char *titles[COLUMNS_MAX] = {};
	unsigned int count = 0;

	for (size_t i = 0; i < json_array_size(given); i++) {
		json_array_append_new(rows, with_ends_as_text(json_array_get(given, i)));
	}
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
			/* The UUID behind a name. */
			columns[count].flags |= strcmp(key, "vm") ? 0 : CLI_COL_WIDE;
			count++;
		}
	}
	qsort(columns, count, sizeof(columns[0]), by_place);
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

static void show_map(const struct cli_output *out, const json_t *map)
{
	BH_JSON json_t *rows = json_array();
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)map, key, item) {
		json_t *row = json_pack("{s:s}", "name", key);

		json_object_update(row, item);
		json_array_append_new(rows, row);
	}
	show_table(out, rows);
}

struct plain {
	BH_VEC(struct cli_column) columns;
	BH_VEC(char *) names;
};

static void add_plain(struct plain *plain, char *name)
{
	struct cli_column *column = bh_vec_push(&plain->columns);

	*bh_vec_push(&plain->names) = name;
	column->title = name;
	column->key = name;
}

/* Members that are no tables; those of an object inside as "outer.inner". */
static void show_plain(const struct cli_output *out, const json_t *object)
{
	struct plain plain = {};
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value) {
		const char *inner;
		json_t *ignored;

		if (!strcmp(key, "ok") || is_table(value) || is_map(value)) {
			continue;
		}
		if (!json_is_object(value)) {
			add_plain(&plain, bh_strdup(key));
		}
		json_object_foreach (value, inner, ignored) {
			add_plain(&plain, bh_asprintf("%s.%s", key, inner));
		}
	}
	cli_show_record(out, plain.columns.items, (unsigned int)plain.columns.count, object);
	bh_vec_foreach (name, &plain.names) {
		free(*name);
	}
	bh_vec_done(&plain.names);
	bh_vec_done(&plain.columns);
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
		if (is_table(value) || is_map(value)) {
			BH_FREE char *clean = cli_text_clean(key);

			fprintf(out->file, "\n%s%s%s\n", cli_colour_begin(out, CLI_COLOUR_BOLD),
				clean, cli_colour_end(out, CLI_COLOUR_BOLD));
		}
		if (is_table(value)) {
			show_table(out, value);
		} else if (is_counters(value)) {
			show_counters(out, value);
		} else if (is_map(value)) {
			show_map(out, value);
		}
	}
}
