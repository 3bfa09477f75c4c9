/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two texts, as people read it. */
#include "manager/rulebook/textdiff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *from, const char *to, size_t max, const char *wanted)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	manager_text_diff(from, to, max, &w);
	assert_string_equal(bh_wbuf_cstr(&w), wanted);
	bh_wbuf_done(&w);
}

static void test_lines(void **state)
{
	check("", "", 9, "");
	check("a\nb\n", "a\nb\n", 9, "");
	check("", "a\nb\n", 9, "+a\n+b\n");
	check("a\nb", "", 9, "-a\n-b\n");
	check("a\nb\nc\n", "a\nx\nc\n", 9, " a\n-b\n+x\n c\n");
	check("a\nb\n", "b\na\n", 9, "-a\n b\n+a\n");
}

static void test_far_lines_are_left_out(void **state)
{
	check("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\n8\ny\n", 99,
	      "-1\n+x\n 2\n 3\n...\n 7\n 8\n-9\n+y\n");
	check("1\n2\n3\n4\n", "1\n2\n3\nx\n", 99, " 2\n 3\n-4\n+x\n");
}

static void test_limit(void **state)
{
	check("a\nb\nc\n", "", 2, "-a\n-b\n... 1 more lines\n");
}

static void test_long_and_different(void **state)
{
	struct bh_wbuf a, b, out;

	bh_wbuf_init(&a, 0);
	bh_wbuf_init(&b, 0);
	bh_wbuf_init(&out, 0);
	for (int i = 0; i < 3000; i++) {
		bh_wbuf_printf(&a, "a%d\n", i);
		bh_wbuf_printf(&b, "b%d\n", i);
	}
	manager_text_diff(bh_wbuf_cstr(&a), bh_wbuf_cstr(&b), 10, &out);
	assert_memory_equal(bh_wbuf_cstr(&out), "-a0\n-a1\n", 8);
	assert_non_null(strstr(bh_wbuf_cstr(&out), "... 5990 more lines\n"));
	bh_wbuf_done(&a);
	bh_wbuf_done(&b);
	bh_wbuf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_far_lines_are_left_out),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_long_and_different),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
