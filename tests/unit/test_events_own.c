/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/own.h"

#include "base/file.h"
#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

struct found {
	char text[256];
	size_t count;
};

static void note(const char *text, size_t len, void *arg)
{
	struct found *f = arg;

	assert_int_equal(strlen(text), len);
	strncat(f->text, text, sizeof(f->text) - strlen(f->text) - 1);
	f->count++;
}

static struct manager_own *open_at(const char *path, uint64_t stored, struct found *f)
{
	struct manager_own *own = NULL;

	*f = (struct found){};
	assert_int_equal(manager_own_open(path, stored, note, f, &own, NULL), 0);
	return own;
}

static void what_was_not_stored_is_found(void **state)
{
	char path[] = "/tmp/test-own-XXXXXX";
	struct manager_own *own;
	struct found f;
	int fd = mkstemp(path);

	own = open_at(path, 0, &f);
	assert_int_equal(f.count, 0);
	manager_own_add(own, "{\"a\":1}", 7);
	manager_own_add(own, "{\"b\":2}", 7);
	manager_own_add(own, "{\"c\":3}", 7);
	assert_int_equal(manager_own_last(own), 3);
	manager_own_stored(own, 1); /* not all: they stay */
	manager_own_close(own);

	own = open_at(path, 1, &f);
	assert_string_equal(f.text, "{\"b\":2}{\"c\":3}");
	assert_int_equal(manager_own_last(own), 3);
	manager_own_add(own, "{\"d\":4}", 7);
	manager_own_stored(own, 4);
	manager_own_close(own);

	own = open_at(path, 4, &f);
	assert_int_equal(f.count, 0);
	manager_own_add(own, "{\"e\":5}", 7);
	manager_own_close(own);
	/* Killed in the middle of a line. */
	assert_int_equal(bh_file_replace(path, "5 {\"e\":5}\n6 {\"f", 15, 0600, NULL), 0);
	own = open_at(path, 4, &f);
	assert_string_equal(f.text, "{\"e\":5}");
	manager_own_add(own, "{\"g\":6}", 7);
	manager_own_close(own);
	own = open_at(path, 4, &f);
	assert_string_equal(f.text, "{\"e\":5}{\"g\":6}");
	manager_own_close(own);
	close(fd);
	unlink(path);
}

static void other_things_in_it_are_passed_over(void **state)
{
	static const char text[] = "\nno number\n-1 {}\n99999999999999999999 {}\n7\n8 {\"x\":1}\n";
	char path[] = "/tmp/test-own-XXXXXX";
	struct manager_own *own;
	struct found f;
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	own = open_at(path, 0, &f);
	assert_string_equal(f.text, "{\"x\":1}");
	assert_int_equal(manager_own_last(own), 8);
	manager_own_close(own);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_stored_is_found),
		cmocka_unit_test(other_things_in_it_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
