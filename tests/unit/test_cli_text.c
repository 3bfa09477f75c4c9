/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

static int setup(void **state)
{
	cli_text_init();
	return setenv("TZ", "UTC", 1);
}

static void test_width(void **state)
{
	assert_int_equal(cli_text_width(""), 0);
	assert_int_equal(cli_text_width("abc"), 3);
	assert_int_equal(cli_text_width("Käse"), 4);
	assert_int_equal(cli_text_width("✓ ja"), 4);
	assert_int_equal(cli_text_width("虚拟机"), 6);
	assert_int_equal(cli_text_width("e\u0301"), 1);
	assert_int_equal(cli_text_width("\xff\xfe"), 2);
}

static void check_clean(const char *in, const char *out)
{
	BH_FREE char *clean = cli_text_clean(in);

	assert_string_equal(clean, out);
}

static void test_clean(void **state)
{
	check_clean("plain", "plain");
	check_clean("虚拟机 ✓", "虚拟机 ✓");
	check_clean("\033]0;owned\a", "\\x1b]0;owned\\x07");
	check_clean("a\nb\tc\rd\x7f", "a\\x0ab\\x09c\\x0dd\\x7f");
	check_clean("\xc2\x9b"
		    "31m",
		    "\\x9b31m"); /* CSI as one C1 character */
	check_clean("\xff"
		    "a\xc3",
		    "\\xffa\\xc3");
	check_clean("\xc0\xaf", "\\xc0\\xaf");		/* overlong */
	check_clean("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
	check_clean("evil\u202Etxt", "evil\\u{202e}txt");
	check_clean("a\u2028b\ufeff", "a\\u{2028}b\\u{feff}");
}

static void test_clean_lines_and_json(void **state)
{
	BH_FREE char *lines = cli_text_clean_lines("a\n\tb\r\033[2J\u202e\n");
	BH_FREE char *json = cli_text_clean_json("{\n\t\"a\": \"\xc2\x9b"
						 "31m\u202e\x7f✓\"\n}");

	assert_string_equal(lines, "a\n\tb\\x0d\\x1b[2J\\u{202e}\n");
	assert_string_equal(json, "{\n\t\"a\": \"\\u009b31m\\u202e\\u007f✓\"\n}");
}

/* No truncation of a valid text leaves a raw byte that is no UTF-8, nor reads behind its end. */
static void test_clean_truncated(void **state)
{
	static const char whole[] = "ä虚✓𝄞\033[31m\u202e";

	for (size_t i = 0; i < sizeof(whole); i++) {
		BH_FREE char *part = strndup(whole, i);
		BH_FREE char *clean = cli_text_clean(part);
		BH_FREE char *again = cli_text_clean(clean);

		assert_string_equal(clean, again);
	}
}

static void test_cut(void **state)
{
	static const struct {
		const char *in;
		size_t width;
		const char *out;
	} cases[] = {
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"abcdef", 1, "…"},
		{"abcdef", 0, ""},	 {"虚拟机", 5, "虚拟…"}, {"虚拟机", 4, "虚…"},
	};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *cut = cli_text_cut(cases[i].in, cases[i].width);

		assert_string_equal(cut, cases[i].out);
		assert_true(cli_text_width(cut) <= cases[i].width);
	}
}

#define NOON 1795608000ull /* 2026-11-25T12:00:00Z */

static void test_times(void **state)
{
	char text[CLI_TIME_SIZE];
	uint64_t now = NOON * BH_NS_PER_S;

	assert_int_equal(cli_time_parse("2026-11-25T12:00:00.000Z"), now);
	assert_int_equal(cli_time_parse("2026-11-25T12:00:00Z"), now);
	assert_int_equal(cli_time_parse("2026-11-25T12:00:00.250Z"), now + 250000000);
	assert_int_equal(cli_time_parse("2026-11-25T12:00:00"), 0);
	assert_int_equal(cli_time_parse("2026-11-25T12:00:00Zx"), 0);
	assert_int_equal(cli_time_parse("yesterday"), 0);
	assert_int_equal(cli_time_parse(""), 0);
	assert_int_equal(cli_time_parse(NULL), 0);
	cli_time_short(now, now, text);
	assert_string_equal(text, "12:00:00");
	cli_time_short(now - 86400 * BH_NS_PER_S, now, text);
	assert_string_equal(text, "2026-11-24 12:00:00");
	cli_time_age(now - 90 * BH_NS_PER_S, now, text);
	assert_string_equal(text, "90s");
	cli_time_age(now - 3600 * BH_NS_PER_S, now, text);
	assert_string_equal(text, "60m");
	cli_time_age(now - 5 * 86400 * BH_NS_PER_S, now, text);
	assert_string_equal(text, "5d");
	cli_time_age(now + 1, now, text);
	assert_string_equal(text, "now");
}

static void test_since(void **state)
{
	uint64_t now = NOON * BH_NS_PER_S;
	uint64_t at;

	assert_int_equal(cli_time_since("5m", now, &at), 0);
	assert_int_equal(at, now - 300 * BH_NS_PER_S);
	assert_int_equal(cli_time_since("90", now, &at), 0);
	assert_int_equal(at, now - 90 * BH_NS_PER_S);
	assert_int_equal(cli_time_since("2026-11-25T11:00:00Z", now, &at), 0);
	assert_int_equal(at, now - 3600 * BH_NS_PER_S);
	assert_int_equal(cli_time_since("", now, &at), -EINVAL);
	assert_int_equal(cli_time_since("m", now, &at), -EINVAL);
	assert_int_equal(cli_time_since("-5m", now, &at), -EINVAL);
	assert_int_equal(cli_time_since("5 m", now, &at), -EINVAL);
	assert_int_equal(cli_time_since("99999999999999999999d", now, &at), -EINVAL);
	assert_int_equal(cli_time_since("2026-11-25T99:00", now, &at), -EINVAL);
}

static void test_bytes(void **state)
{
	char text[CLI_TIME_SIZE];

	cli_bytes_format(0, text);
	assert_string_equal(text, "0 B");
	cli_bytes_format(999, text);
	assert_string_equal(text, "999 B");
	cli_bytes_format(1500, text);
	assert_string_equal(text, "1.5 kB");
	cli_bytes_format(UINT64_MAX, text);
	assert_string_equal(text, "18446.7 PB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_clean_lines_and_json),
		cmocka_unit_test(test_clean_truncated),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
