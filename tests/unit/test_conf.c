/* SPDX-License-Identifier: Apache-2.0 */
/* base/conf: defaults, values, and each kind of mistake with its place. */
#include "base/conf.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct conf {
	char *dir;
	char *verdict;
	bool strict;
	uint64_t keep, room;
	char seen[256];
};

static int each(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct conf *c = target;
	size_t len = strlen(c->seen);

	if (strcmp(value, "bad") == 0) {
		return bh_diag_set(diag, -EINVAL, "bad is bad");
	}
	snprintf(c->seen + len, sizeof(c->seen) - len, "%s=%s;", path, value);
	return 0;
}

static const struct bh_conf_key keys[] = {
	{.key = "dir", .type = BH_CONF_STR, .offset = offsetof(struct conf, dir), .dflt = "/d"},
	{.key = "verdict",
	 .type = BH_CONF_STR,
	 .offset = offsetof(struct conf, verdict),
	 .dflt = "deny",
	 .choices = "allow|deny"},
	{.key = "strict", .type = BH_CONF_BOOL, .offset = offsetof(struct conf, strict)},
	{.key = "events.keep",
	 .type = BH_CONF_U64,
	 .offset = offsetof(struct conf, keep),
	 .dflt = "5",
	 .min = 1,
	 .max = 10},
	{.key = "room",
	 .type = BH_CONF_SIZE,
	 .offset = offsetof(struct conf, room),
	 .dflt = "4kb",
	 .min = 1,
	 .max = 1ull << 40},
	{.key = "networks", .type = BH_CONF_EACH, .each = each},
};

static int parse(const char *text, struct conf *c, struct bh_diag *diag)
{
	return bh_conf_parse(text, strlen(text), "f.yaml", keys, BH_ARRAY_SIZE(keys), c, diag);
}

static void done(struct conf *c)
{
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), c);
}

static void test_values(void **state)
{
	struct conf c = {};
	struct bh_diag diag = {};

	assert_int_equal(parse("# nothing\n", &c, &diag), 0);
	assert_string_equal(c.dir, "/d");
	assert_int_equal(c.keep, 5);
	done(&c);
	assert_int_equal(parse("dir: \"/x y\"\nverdict: allow\nstrict: yes\nevents:\n  keep: 7\n"
			       "networks: {br0: {name: dc1/lan}, l: [a, b]}\n",
			       &c, &diag),
			 0);
	assert_string_equal(c.dir, "/x y");
	assert_string_equal(c.verdict, "allow");
	assert_true(c.strict);
	assert_int_equal(c.keep, 7);
	assert_string_equal(c.seen, "br0\nname=dc1/lan;l\n0=a;l\n1=b;");
	done(&c);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text;
		unsigned int line;
		const char *word;
	} cases[] = {
		{"dir: a\nnope: 1\n", 2, "unknown key 'nope'"},
		{"dir: a\ndir: b\n", 2, "second value"},
		{"verdict: al\n", 1, "allow|deny"},
		{"strict: 1\n", 1, "yes or no"},
		{"events: {keep: 11}\n", 1, "from 1 to 10"},
		{"events: {keep: -1}\n", 1, "from 1 to 10"},
		{"events: 4\n", 1, "unknown key 'events'"},
		{"events: [1]\n", 1, "unknown key"},
		{"dir: {a: b}\n", 1, "single value"},
		{"\n\nnetworks:\n  x: bad\n", 4, "bad is bad"},
		{"dir: &a x\n", 1, "anchors"},
		{"dir: *a\n", 1, "aliases"},
		{"- a\n", 1, "not a list"},
		{"word\n", 1, "expected keys"},
		{"dir: a\n---\ndir: b\n", 2, "second document"},
		{"dir: [\n", 0, ""},
		{"networks: {a: {a: {a: {a: {a: {a: {a: b}}}}}}}\n", 1, "too deep"},
		{"{a: b}: c\n", 1, "expected a key"},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		struct conf c = {};
		struct bh_diag diag = {};

		assert_true(parse(cases[i].text, &c, &diag) < 0);
		if (cases[i].line) {
			assert_int_equal(diag.line, cases[i].line);
		}
		if (!strstr(diag.text, cases[i].word)) {
			fail_msg("case %zu: %s", i, diag.text);
		}
		done(&c);
	}
}

static void test_truncated(void **state)
{
	static const char text[] =
		"dir: \"/x\"\nevents: {keep: 7}\nnetworks: {b: {n: x}, l: [a]}\n";

	for (size_t n = 0; n < sizeof(text); n++) {
		struct conf c = {};

		(void)!bh_conf_parse(text, n, "f", keys, BH_ARRAY_SIZE(keys), &c, NULL);
		done(&c);
	}
}

static void test_missing(void **state)
{
	struct conf c = {};
	struct bh_diag diag = {};

	assert_int_equal(
		bh_conf_load("/nonexistent/x", false, keys, BH_ARRAY_SIZE(keys), &c, &diag), 0);
	assert_string_equal(c.dir, "/d");
	done(&c);
	assert_int_equal(bh_conf_load("/nonexistent/x", true, keys, BH_ARRAY_SIZE(keys), &c, &diag),
			 -ENOENT);
	done(&c);
}

static int set(struct conf *c, const char *path, const char *value, struct bh_diag *diag)
{
	return bh_conf_set(keys, BH_ARRAY_SIZE(keys), c, path, value, diag);
}

static void test_set(void **state)
{
	struct conf c = {};
	struct bh_diag diag = {};

	assert_int_equal(parse("events: {keep: 3}", &c, NULL), 0);
	assert_int_equal(set(&c, "events.keep", "7", &diag), 0);
	assert_int_equal(c.keep, 7);
	assert_int_equal(set(&c, "dir", "/e", &diag), 0);
	assert_string_equal(c.dir, "/e");
	assert_int_equal(set(&c, "networks.br0.name", "x", &diag), 0);
	assert_string_equal(c.seen, "br0\nname=x;");
	assert_int_equal(set(&c, "networks", "x", &diag), -EINVAL);
	assert_int_equal(set(&c, "events", "x", &diag), -EINVAL);
	assert_string_equal(diag.text, "unknown key 'events'");
	assert_int_equal(set(&c, "events.keep", "70", &diag), -EINVAL);
	assert_int_equal(set(&c, "networks.br0.name", "bad", &diag), -EINVAL);
	done(&c);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {{"1", 1},
		    {"100kb", 100 << 10},
		    {"64MB", 64u << 20},
		    {"1 GiB", 1u << 30},
		    {"2k", 2 << 10},
		    {"1024gb", 1ull << 40}},
	  bad[] = {{"", 0},   {"0", 0},	     {"kb", 0},	   {"1x", 0},
		   {"-1", 0}, {"1025gb", 0}, {"1  kb", 0}, {"99999999999999999999gb", 0}};
	struct conf c = {};

	assert_int_equal(parse("", &c, NULL), 0);
	assert_int_equal(c.room, 4096);
	for (size_t i = 0; i < BH_ARRAY_SIZE(good); i++) {
		assert_int_equal(set(&c, "room", good[i].text, NULL), 0);
		assert_true(c.room == good[i].size);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(set(&c, "room", bad[i].text, NULL), -EINVAL);
	}
	done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_missing),
		cmocka_unit_test(test_set),	  cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
