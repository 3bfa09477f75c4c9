/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show_any.h"
#include "cli/table.h"
#include "cli/text.h"

#include "base/json.h"
#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static int setup(void **state)
{
	cli_text_init();
	return 0;
}

static void cell_good(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	bool good = json_is_true(json_object_get(row, "good"));

	cli_cell_printf(cell, good ? "✓" : "✗");
	cell->colour = good ? CLI_COLOUR_GOOD : CLI_COLOUR_BAD;
}

static const struct cli_column columns[] = {
	{.title = "NAME", .key = "name", .flags = CLI_COL_CUT},
	{.title = "OK", .fn = cell_good},
	{.title = "COUNT", .key = "deep.count", .flags = CLI_COL_RIGHT},
	{.title = "LIST", .key = "list", .flags = CLI_COL_WIDE},
};

#define ROWS                                                                                       \
	"[{\"name\": \"db\", \"good\": true, \"deep\": {\"count\": 7}, \"list\": [\"a\", \"b\"]}," \
	" {\"name\": \"虚拟机\", \"good\": false, \"deep\": {\"count\": 1234}, \"list\": []},"  \
	" {\"name\": \"x\\u001b[2Jy\", \"deep\": {}}]"

struct fixture {
	struct cli_output out;
	char *text;
	size_t size;
	json_t *rows;
};

static void begin(struct fixture *f, enum cli_format format)
{
	*f = (struct fixture){.rows = json_loads(ROWS, 0, NULL)};
	f->out = (struct cli_output){.file = open_memstream(&f->text, &f->size), .format = format};
	assert_non_null(f->rows);
	assert_non_null(f->out.file);
}

static void list(struct fixture *f)
{
	cli_show_list(&f->out, columns, BH_ARRAY_SIZE(columns), f->rows, f->rows, "None.");
	fclose(f->out.file);
}

static void end(struct fixture *f)
{
	free(f->text);
	json_decref(f->rows);
}

static void test_table(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	list(&f);
	assert_string_equal(f.text, "NAME       OK  COUNT\n"
				    "db         ✓       7\n"
				    "虚拟机     ✗    1234\n"
				    "x\\x1b[2Jy  ✗       -\n");
	end(&f);
}

static void test_wide(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_WIDE);
	list(&f);
	assert_non_null(strstr(f.text, "LIST\n"));
	assert_non_null(strstr(f.text, "a, b\n"));
	end(&f);
}

static void test_cut_to_terminal(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	f.out.columns = 19;
	list(&f);
	assert_non_null(strstr(f.text, "x\\x1b[2… "));
	for (char *line = strtok(f.text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_true(cli_text_width(line) <= 19);
	}
	end(&f);
}

static void test_colour(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	f.out.colour = true;
	list(&f);
	assert_non_null(strstr(f.text, "\033[32m✓\033[0m"));
	assert_non_null(strstr(f.text, "\033[31m✗\033[0m"));
	end(&f);
}

static void test_json(void **state)
{
	struct fixture f;
	json_t *back;

	begin(&f, CLI_FORMAT_JSON);
	list(&f);
	back = json_loads(f.text, 0, NULL);
	assert_true(json_equal(back, f.rows));
	json_decref(back);
	end(&f);
}

static void test_none(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	json_array_clear(f.rows);
	list(&f);
	assert_string_equal(f.text, "None.\n");
	end(&f);
}

static void test_record(void **state)
{
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	cli_show_record(&f.out, columns, BH_ARRAY_SIZE(columns), json_array_get(f.rows, 0));
	fclose(f.out.file);
	assert_string_equal(f.text, "NAME   db\nOK     ✓\nCOUNT  7\nLIST   a, b\n");
	end(&f);
}

static void test_json_text(void **state)
{
	BH_JSON json_t *value =
		json_loads("{\"a\": [1, true, null, 2.5], \"b\": {\"c\": \"d\"}}", 0, NULL);
	BH_FREE char *text = cli_json_text(value);
	BH_FREE char *none = cli_json_text(NULL);

	assert_string_equal(text, "a=1, yes, , 2.5, b=c=d");
	assert_string_equal(none, "");
}

/* What a control socket may answer. */
static void test_any(void **state)
{
	struct fixture f;
	static const char text[] =
		"{\"ok\": true, \"program\": \"hostd\", "
		"\"nics\": [{\"mac\": \"m1\", \"net_id\": 3}, {\"mac\": \"m2\", \"more\": \"x\"}], "
		"\"counters\": {\"lost\": {\"value\": 5, \"help\": \"events lost\"}}}";
	BH_JSON json_t *reply = json_loads(text, 0, NULL);

	begin(&f, CLI_FORMAT_TABLE);
	cli_show_any(&f.out, reply);
	fclose(f.out.file);
	assert_non_null(strstr(f.text, "program  hostd\n"));
	assert_null(strstr(f.text, "ok "));
	assert_non_null(strstr(f.text, "MAC  MORE  NET ID\n"));
	assert_non_null(strstr(f.text, "lost         5  events lost\n"));
	end(&f);
}

/* The dataplane's totals and connections, as hostd answers. */
static void test_any_map_and_ends(void **state)
{
	static const char text[] =
		"{\"totals\": {\"pass\": {\"packets\": 7, \"bytes\": 900}}, \"connections\": "
		"[{\"src\": {\"address\": \"fd00::1\", \"port\": 80, \"vm_name\": \"web\"}, "
		"\"dst\": {\"address\": \"10.0.0.1\", \"port\": 0}, \"rules\": [1, 2]}]}";
	BH_JSON json_t *reply = json_loads(text, 0, NULL);
	struct fixture f;

	begin(&f, CLI_FORMAT_TABLE);
	cli_show_any(&f.out, reply);
	fclose(f.out.file);
	assert_non_null(strstr(f.text, "NAME  PACKETS  BYTES\npass        7    900\n"));
	assert_non_null(strstr(f.text, "web [fd00::1]:80  10.0.0.1  1, 2\n"));
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),  cmocka_unit_test(test_wide),
		cmocka_unit_test(test_colour), cmocka_unit_test(test_cut_to_terminal),
		cmocka_unit_test(test_json),   cmocka_unit_test(test_none),
		cmocka_unit_test(test_record), cmocka_unit_test(test_json_text),
		cmocka_unit_test(test_any),    cmocka_unit_test(test_any_map_and_ends),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
