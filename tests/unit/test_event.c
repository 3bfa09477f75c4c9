/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define EPOCH "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53"
#define WALL  (1795305600ull * BH_NS_PER_S + 123 * BH_NS_PER_MS) /* 2026-11-22T00:00:00.123Z */

static char *line_of(const char *change, const char *to)
{
	static const char base[] = "{\"v\":1,\"producer\":\"h1\",\"epoch\":\"" EPOCH
				   "\",\"seq\":7,\"time\":\"2026-11-22T00:00:00.123Z\","
				   "\"type\":\"flow.new\",\"severity\":\"info\"}";
	const char *at = *change ? strstr(base, change) : NULL;

	return at ? bh_asprintf("%.*s%s%s", (int)(at - base), base, to, at + strlen(change))
		  : bh_strdup(base);
}

/* e's text is gone afterwards. */
static int parse(const char *change, const char *to, struct bh_event *e)
{
	BH_FREE char *line = line_of(change, to);

	return bh_event_parse(line, strlen(line), e, NULL);
}

static void test_round_trip(void **state)
{
	BH_JSON json_t *json = bh_event_new("guard.spoofed-mac", BH_SEVERITY_WARNING, WALL);
	BH_JSON json_t *again = NULL;
	BH_FREE char *line = NULL;
	struct bh_event e;
	size_t size;

	json_object_set_new(json, "vm_name", json_string("a \"b\"\n\xc3\xbc"));
	bh_event_stamp(json, "h1", EPOCH, 42);
	assert_int_equal(bh_event_format(json, &line, &size, NULL), 0);
	assert_int_equal(size, strlen(line));
	assert_null(strchr(line, '\n'));
	assert_int_equal(bh_event_parse(line, size, &e, NULL), 0);
	again = json_loadb(e.j.text, e.j.size, 0, NULL);
	assert_true(json_equal(json, again));
	assert_string_equal(e.producer, "h1");
	assert_string_equal(e.epoch, EPOCH);
	assert_string_equal(e.type, "guard.spoofed-mac");
	assert_int_equal(e.severity, BH_SEVERITY_WARNING);
	assert_int_equal(e.seq, 42);
	assert_int_equal(e.wall_ns, WALL);
	assert_false(e.is_gap);
	/* no truncation of it is an event */
	for (size_t n = 0; n < size; n++) {
		assert_true(bh_event_parse(line, n, &e, NULL) < 0);
	}
}

static void test_gap(void **state)
{
	BH_JSON json_t *json = bh_event_new_gap(3, 9, 7, "spool-full", WALL);
	BH_FREE char *line = NULL;
	struct bh_event e;
	size_t size;

	bh_event_stamp(json, "h1", EPOCH, 10);
	assert_int_equal(bh_event_format(json, &line, &size, NULL), 0);
	assert_int_equal(bh_event_parse(line, size, &e, NULL), 0);
	assert_true(e.is_gap);
	assert_int_equal(e.gap_from, 3);
	assert_int_equal(e.gap_to, 9);
	assert_int_equal(e.gap_count, 7);
	free(bh_steal(&line));
	bh_event_stamp(json, "h1", EPOCH, 9); /* stands for itself */
	assert_int_equal(bh_event_format(json, &line, &size, NULL), 0);
	assert_int_equal(bh_event_parse(line, size, &e, NULL), -EINVAL);
}

static void test_refused(void **state)
{
	static const char *const bad[][2] = {
		{"\"v\":1", "\"v\":2"},
		{"\"v\":1", "\"w\":1"},
		{"\"h1\"", "\"H1\""},
		{"\"h1\"", "\"\""},
		{"\"h1\"", "7"},
		{EPOCH, "6e0fbc13"},
		{"\"seq\":7", "\"seq\":0"},
		{"\"seq\":7", "\"seq\":-1"},
		{"\"seq\":7", "\"seq\":1.5"},
		{"\"seq\":7", "\"seq\":99999999999999999999"},
		{"\"seq\":7", "\"seq\":7,\"seq\":8"},
		{"2026-11-22T", "2026-13-22T"},
		{"2026-11-22T", " 026-11-22T"},
		{".123Z", ".123+01:00"},
		{".123Z", ""},
		{"2026-11-22T00:00:00.123Z", "1969-12-31T23:59:59Z"},
		{"flow.new", "flow..new"},
		{"flow.new", ".new"},
		{"flow.new", "flow."},
		{"flow.new", "Flow"},
		{"flow.new", ""},
		{"flow.new", "gap"},
		{"\"info\"", "\"panic\""},
		{"\"info\"", "null"},
		{"{", "[{"},
		{",", ", "},
		{":", " :"},
		{"{", "{ "},
		{"}", "} "},
		{"}", "}\r"},
		{"\"v\"", "\"\\u0076\""},
		{"}", ",\"id\":\"\\u0000\"}"},
		{"2026-11-22T", "2026-02-29T"},
		{"2026-11-22T00", "2026-11-22T24"},
	};
	struct bh_event e;

	assert_int_equal(parse("", "", &e), 0);
	assert_int_equal(parse(".123Z", "Z", &e), 0);
	assert_int_equal(e.wall_ns % BH_NS_PER_S, 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		if (parse(bad[i][0], bad[i][1], &e) >= 0) {
			fail_msg("accepted with %s", bad[i][1]);
		}
	}
}

/* What the hot path writes is read like what jansson writes. */
static void test_text(void **state)
{
	BH_JSON json_t *json = bh_event_new("flow.refused", BH_SEVERITY_NOTICE, WALL);
	BH_JSON json_t *same = NULL;
	const struct bh_event_stamp stamp = {"h1", EPOCH, 42};
	struct bh_wbuf w = {};
	char line[BH_EVENT_SIZE_MAX];
	BH_FREE char *long_text = bh_alloc(BH_EVENT_SIZE_MAX + 1);
	struct bh_event e;
	size_t size;

	json_object_set_new(json, "vm_name", json_string("a \"b\"\\\n\x01\xc3\xbc"));
	json_object_set_new(json, "net", json_integer(7));
	json_object_set_new(json, "packets", json_pack("[I, I]", (json_int_t)1, INT64_MAX));
	bh_event_stamp(json, "h1", EPOCH, 42);
	bh_event_text_begin(&w, "flow.refused", BH_SEVERITY_NOTICE, WALL);
	bh_jtext_add_str(&w, "vm_name", "a \"b\"\\\n\x01\xc3\xbc");
	bh_jtext_add_u64(&w, "net", 7);
	bh_jtext_add_pair(&w, "packets", 1, INT64_MAX);
	assert_int_equal(bh_event_text_write(&stamp, &w, line, &size, NULL), 0);
	assert_int_equal(bh_event_parse(line, size, &e, NULL), 0);
	assert_int_equal(e.seq, 42);
	assert_int_equal(e.wall_ns, WALL);
	same = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
	assert_true(json_equal(json, same));
	/* bytes that are no text don't make a line that nobody can read */
	bh_event_text_begin(&w, "flow.new", BH_SEVERITY_INFO, WALL);
	bh_jtext_add_str(&w, "vm_name", "\xff\xc0\xaf\xed\xa0\x80x\xf0\x9f\x98");
	assert_int_equal(bh_event_text_write(&stamp, &w, line, &size, NULL), 0);
	assert_int_equal(bh_event_parse(line, size, &e, NULL), 0);
	memset(long_text, 'x', BH_EVENT_SIZE_MAX);
	bh_event_text_begin(&w, "flow.new", BH_SEVERITY_INFO, WALL);
	bh_jtext_add_str(&w, "text", long_text);
	assert_int_equal(bh_event_text_write(&stamp, &w, line, &size, NULL), -EMSGSIZE);
	bh_event_text_begin(&w, "flow.new", BH_SEVERITY_INFO, WALL);
	assert_int_equal(bh_event_text_write(&stamp, &w, line, &size, NULL), 0);
	bh_wbuf_done(&w);
}

static void test_size(void **state)
{
	BH_JSON json_t *json = bh_event_new("flow.new", BH_SEVERITY_INFO, WALL);
	BH_FREE char *text = bh_alloc(BH_EVENT_SIZE_MAX + 1);
	BH_FREE char *line = NULL;
	struct bh_diag diag = {};
	struct bh_event e;
	size_t size;

	memset(text, 'x', BH_EVENT_SIZE_MAX);
	json_object_set_new(json, "text", json_string(text));
	bh_event_stamp(json, "h1", EPOCH, 1);
	assert_int_equal(bh_event_format(json, &line, &size, &diag), -EMSGSIZE);
	assert_true(*diag.text);
	assert_int_equal(bh_event_parse(text, BH_EVENT_SIZE_MAX + 1, &e, &diag), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_gap),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_text),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
