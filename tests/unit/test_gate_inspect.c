/* SPDX-License-Identifier: Apache-2.0 */
/* Matches of bytes: a table of rules and buffers, every truncation, and contents against a matcher
 * that tries every place. */
#include "base/counter.h"
#include "gate/config.h"
#include "gate/detect/inspect.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
	struct gate_config config;
	struct gate_names *names;
	struct gate_shared *shared;
	struct gate_rule_set *set;
	struct gate_inspect in;
};

static void begin(struct world *w)
{
	struct bh_diag diag;

	memset(w, 0, sizeof(*w));
	assert_int_equal(gate_config_load(NULL, &w->config, &diag), 0);
	w->names = gate_names_new();
	w->shared = gate_shared_new(&w->config);
	gate_inspect_init(&w->in, &w->config);
}

static void end(struct world *w)
{
	gate_inspect_done(&w->in);
	gate_shared_free(w->shared);
	gate_names_free(w->names);
	gate_config_done(&w->config);
}

/* One rule with those options; its first list. */
static const struct gate_dm *compile(struct world *w, const char *options)
{
	struct gate_rule_files *files = gate_rules_new();
	struct bh_diag diag = {};
	BH_FREE char *text = bh_asprintf("alert udp any any -> any any (%s sid:1;)\n", options);
	struct gate_view view = {.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};

	assert_int_equal(gate_rules_read_text(files, &w->config, w->names, "test", view, &diag), 0);
	if (files->refusals.count) {
		fail_msg("%s: %s", options, files->refusals.items[0].reason);
	}
	assert_int_equal(gate_rule_set_new(files, &w->config, w->shared, &w->set, &diag), 0);
	assert_int_equal(w->set->sig_count, 1);
	assert_true(w->set->sigs[0].list_count > 0);
	return w->set->sigs[0].lists[0].matches;
}

static bool inspect(struct world *w, const struct gate_dm *matches, const void *data, size_t size)
{
	/* A copy of its own size, so that ASan sees a byte too far. */
	BH_FREE uint8_t *copy = bh_memdup(data, size ? size : 1);
	struct gate_buffer_view view = {.data = copy, .size = (uint32_t)size, .complete = true};

	gate_inspect_begin(&w->in, GATE_VARS_MAX);
	return gate_inspect_list(&w->in, matches, &view);
}

static const struct row {
	const char *options, *data;
	int size; /* 0: that of the text */
	bool holds;
} rows[] = {
	{"content:\"abc\";", "xxabcxx", 0, true},
	{"content:\"abc\";", "xxABCxx", 0, false},
	{"content:\"aBc\"; nocase;", "xxAbCxx", 0, true},
	{"content:!\"abc\";", "xxabcxx", 0, false},
	{"content:!\"abc\";", "xxabxx", 0, true},
	{"content:\"abc\"; depth:5;", "xxabcxx", 0, true},
	{"content:\"abc\"; depth:4;", "xxabcxx", 0, false},
	{"content:\"abc\"; offset:2; depth:3;", "xxabcxx", 0, true},
	{"content:\"abc\"; offset:3; depth:3;", "xxabcxx", 0, false},
	{"content:\"abc\"; startswith;", "abcx", 0, true},
	{"content:\"abc\"; startswith;", "xabc", 0, false},
	{"content:\"abc\"; endswith;", "xabc", 0, true},
	{"content:\"abc\"; endswith;", "abcabcx", 0, false},
	{"content:!\"abc\"; endswith;", "abcx", 0, true},
	{"content:\"a\"; content:\"b\"; distance:2; within:1;", "a1b aXYb", 0, true},
	{"content:\"a\"; content:\"b\"; distance:2; within:1;", "a1b aXb", 0, false},
	{"content:\"a\"; content:\"b\"; distance:0; content:\"c\"; distance:0; within:1;",
	 "ab abxbc", 0, true},
	{"content:\"one\"; content:\"two\"; within:3;", "one one twoonetwo", 0, true},
	{"content:\"one\"; content:!\"two\"; within:3;", "onetwo", 0, false},
	{"content:\"one\"; content:!\"two\"; within:3;", "onetwoone", 0, true},
	{"content:\"a\"; isdataat:2,relative;", "xa12", 0, true},
	{"content:\"a\"; isdataat:!1,relative;", "xa", 0, true},
	{"content:\"a\"; isdataat:!1,relative;", "xab", 0, false},
	{"content:\"x\"; isdataat:3;", "xabc", 0, true},
	{"content:\"x\"; isdataat:4;", "xabc", 0, false},
	{"content:\"L\"; byte_jump:1,0,relative; content:\"END\"; distance:0; within:3;",
	 "L\x02zzEND", 0, true},
	{"content:\"L\"; byte_jump:1,0,relative; content:\"END\"; distance:0; within:3;",
	 "L\x03zzEND", 0, false},
	{"content:\"L\"; byte_test:2,>,255,0,relative;", "L\x01\x00", 3, true},
	{"content:\"L\"; byte_test:2,>,256,0,relative;", "L\x01\x00", 3, false},
	{"content:\"L\"; byte_test:2,=,1,0,relative,little;", "L\x01\x00", 3, true},
	{"content:\"L\"; byte_test:3,=,123,0,relative,string,dec;", "L123", 0, true},
	{"content:\"L\"; byte_extract:1,0,n,relative; content:\"E\"; offset:n; depth:1;", "L\x03xE",
	 0, true},
	{"content:\"L\"; byte_extract:1,0,n,relative; content:\"E\"; offset:n; depth:1;", "L\x02xE",
	 0, false},
	{"content:\"ab\"; pcre:\"/^c+d/R\";", "abcccd", 0, true},
	{"content:\"ab\"; pcre:\"/^c+d/R\";", "abxcd abcd", 0, true},
	{"content:\"ab\"; pcre:\"/^c+d/R\";", "abxcd", 0, false},
	{"content:\"ab\"; pcre:!\"/c+d/\";", "abcd", 0, false},
	{"content:\"ab\"; base64_decode:bytes 8, offset 0, relative; base64_data; "
	 "content:\"hello\"; startswith;",
	 "abaGVsbG8=", 0, true},
	{"content:\"ab\"; base64_decode:bytes 8, offset 0, relative; base64_data; "
	 "content:\"hullo\";",
	 "abaGVsbG8=", 0, false},
};

static void test_rows(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	for (size_t i = 0; i < BH_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		const struct gate_dm *m = compile(&w, r->options);
		size_t size = r->size ? (size_t)r->size : strlen(r->data);

		if (inspect(&w, m, r->data, size) != r->holds) {
			fail_msg("%s on \"%s\": not %d", r->options, r->data, r->holds);
		}
		for (size_t n = 0; n < size; n++) {
			inspect(&w, m, r->data, n);
		}
		gate_rule_set_unref(w.set);
	}
	end(&w);
}

/* A rule that would try every pair of places gives up after so many steps. */
static void test_recursion(void **state)
{
	struct world w;
	const struct gate_dm *m;
	char data[4096];

	(void)state;
	begin(&w);
	m = compile(&w, "content:\"a\"; content:\"a\"; distance:0; content:\"a\"; distance:0; "
			"content:\"a\"; distance:0; content:\"b\"; distance:0;");
	memset(data, 'a', sizeof(data));
	/* Nowhere a b, relative: each place is tried, until the limit. */
	assert_false(inspect(&w, m, data, sizeof(data)));
	assert_true(w.in.recursion_limit > 0);
	gate_rule_set_unref(w.set);
	end(&w);
}

/* An expression that runs into its limit at each place of a content gives up after a few, and holds
 * in neither way. */
static void test_costly_expressions(void **state)
{
	struct world w;
	const struct gate_dm *m;
	char data[4096];
	uint64_t before;

	(void)state;
	memset(data, 'a', sizeof(data));
	begin(&w);
	m = compile(&w, "content:\"a\"; pcre:\"/(a|aa)+[bc]/R\";");
	before = bh_counter_get("gate_pcre_limit");
	assert_false(inspect(&w, m, data, sizeof(data)));
	assert_in_range(bh_counter_get("gate_pcre_limit") - before, 1, 50);
	assert_true(w.in.recursion_limit > 0);
	gate_rule_set_unref(w.set);
	m = compile(&w, "content:\"a\"; pcre:!\"/(a|aa)+[bc]/\";");
	assert_false(inspect(&w, m, data, sizeof(data)));
	assert_true(inspect(&w, m, "aaad", 4));
	gate_rule_set_unref(w.set);
	end(&w);
}

/* ---- against a matcher that knows nothing ---- */

struct naive {
	const char *word;
	bool relative;
	int distance, within; /* within 0: none */
};

static bool naive_match(const struct naive *c, size_t count, const char *data, int size, int pos)
{
	int len;

	if (!count) {
		return true;
	}
	len = (int)strlen(c->word);
	for (int at = 0; at + len <= size; at++) {
		if (c->relative && (at < pos + c->distance || at < 0 ||
				    (c->within && at + len > pos + c->distance + c->within))) {
			continue;
		}
		if (!memcmp(data + at, c->word, (size_t)len) &&
		    naive_match(c + 1, count - 1, data, size, at + len)) {
			return true;
		}
	}
	return false;
}

static void test_naive(void **state)
{
	struct world w;
	unsigned int holds = 0;

	(void)state;
	begin(&w);
	srandom(7);
	for (int round = 0; round < 300; round++) {
		struct naive c[3];
		char words[3][4], options[512] = "", data[64];
		const struct gate_dm *m;

		for (int i = 0; i < 3; i++) {
			int len = 1 + (int)(random() % 2);

			for (int k = 0; k < len; k++) {
				words[i][k] = (char)('a' + random() % 3);
			}
			words[i][len] = 0;
			c[i] = (struct naive){.word = words[i],
					      .relative = i > 0,
					      .distance = (int)(random() % 4),
					      .within =
						      random() % 2 ? len + (int)(random() % 3) : 0};
			snprintf(options + strlen(options), 128, "content:\"%s\";", words[i]);
			if (i) {
				snprintf(options + strlen(options), 128, " distance:%d;",
					 c[i].distance);
			}
			if (i && c[i].within) {
				snprintf(options + strlen(options), 128, " within:%d;",
					 c[i].within);
			}
		}
		m = compile(&w, options);
		for (int k = 0; k < 30; k++) {
			int size = 1 + (int)(random() % 20);
			bool want;

			for (int n = 0; n < size; n++) {
				data[n] = (char)('a' + random() % 3);
			}
			want = naive_match(c, 3, data, size, 0);
			holds += want;
			if (inspect(&w, m, data, (size_t)size) != want) {
				fail_msg("%s on %.*s: not %d", options, size, data, want);
			}
		}
		gate_rule_set_unref(w.set);
	}
	assert_in_range(holds, 500, 8500);
	end(&w);
}

static void test_search(void **state)
{
	(void)state;
	srandom(3);
	for (int round = 0; round < 20000; round++) {
		uint8_t needle[4], data[40];
		uint16_t size = (uint16_t)(1 + random() % 4);
		uint32_t length = (uint32_t)(random() % 40);
		bool nocase = random() % 2;
		struct gate_dm m = {.flags = nocase ? GATE_CONTENT_NOCASE : 0};
		int64_t want = -1;

		for (uint16_t i = 0; i < size; i++) {
			needle[i] = (uint8_t)("abAB."[random() % 5]);
			needle[i] |= nocase && needle[i] != '.' ? 0x20 : 0;
		}
		for (uint32_t i = 0; i < length; i++) {
			data[i] = (uint8_t)("abAB."[random() % 5]);
		}
		for (uint32_t at = 0; want < 0 && at + size <= length; at++) {
			bool same = nocase ? !strncasecmp((char *)data + at, (char *)needle, size)
					   : !memcmp(data + at, needle, size);

			want = same ? (int64_t)at : -1;
		}
		gate_content_prepare(&m, needle, size, nocase);
		assert_int_equal(gate_content_search(&m, data, length), want);
	}
}

static void test_base64(void **state)
{
	uint8_t out[64];

	(void)state;
	assert_int_equal(gate_base64_decode((const uint8_t *)"aGVsbG8=", 8, out, 64, 0), 5);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(
		gate_base64_decode((const uint8_t *)"aGV*sbG8=", 9, out, 64, GATE_BASE64_RFC2045),
		5);
	assert_int_equal(
		gate_base64_decode((const uint8_t *)"aGV*", 4, out, 64, GATE_BASE64_STRICT), 0);
	assert_int_equal(gate_base64_decode((const uint8_t *)"aGVsbG8=", 8, out, 2, 0), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_recursion),
		cmocka_unit_test(test_costly_expressions),
		cmocka_unit_test(test_naive),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
