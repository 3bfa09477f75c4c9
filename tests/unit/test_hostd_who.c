/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the program that looks who is connected to libvirt: scripts play it. */
#include "base/counter.h"
#include "base/file.h"
#include "base/util.h"
#include "host/capsule/who.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

static char dir[] = "/tmp/test_hostd_who.XXXXXX";
static uv_loop_t loop;

struct answer {
	unsigned int called;
	size_t count;
	char user[32];
};

static void on_answer(const json_t *by, void *arg)
{
	struct answer *a = arg;

	a->called++;
	a->count = json_array_size(by);
	snprintf(a->user, sizeof(a->user), "%s", "");
	if (a->count) {
		const json_t *user = json_object_get(json_array_get(by, 0), "user");

		snprintf(a->user, sizeof(a->user), "%s", json_string_value(user));
	}
}

/* A look with this script in the program's place. */
static struct hostd_who *who_of(const char *script)
{
	BH_FREE char *path = bh_asprintf("%s/program", dir);
	BH_FREE char *text = bh_asprintf("#!/bin/sh\n%s\n", script);

	assert_int_equal(bh_file_replace(path, text, strlen(text), 0700, NULL), 0);
	return hostd_who_new(&loop, path);
}

/* Asks twice: both get what one look finds. */
static struct answer look(const char *script)
{
	struct hostd_who *who = who_of(script);
	struct answer one = {}, two = {};

	assert_int_equal(hostd_who_ask(who, on_answer, &one), 0);
	assert_int_equal(hostd_who_ask(who, on_answer, &two), 0);
	assert_int_equal(one.called, 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing is left of it either */
	assert_int_equal(one.called, 1);
	assert_int_equal(two.called, 1);
	assert_int_equal(one.count, two.count);
	hostd_who_free(who);
	/* no zombie */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return one;
}

static void test_found(void **state)
{
	struct answer a = look("test \"$1\" = clients && echo '[{\"user\": \"anna\", \"uid\": 7}]' "
			       "&& echo x >> $0.ran");
	BH_FREE char *ran = bh_asprintf("%s/program.ran", dir);
	struct stat st;

	assert_int_equal(a.count, 1);
	assert_string_equal(a.user, "anna");
	assert_int_equal(stat(ran, &st), 0);
	assert_int_equal(st.st_size, 2); /* once */
}

static void test_useless(void **state)
{
	static const char *const scripts[] = {
		"echo '[{\"user\": \"anna\"}]'; exit 1",
		"echo '[{\"user\": \"anna\"}]'; kill -9 $$",
		"echo '{\"user\": \"anna\"}'",
		"echo no JSON",
		"exit 0",
		"exec tr '\\0' ' ' < /dev/zero", /* without an end */
		"exec sleep 1000",		 /* likewise */
		"exec >&-; exec sleep 1000",
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(scripts); i++) {
		assert_int_equal(look(scripts[i]).count, 0);
	}
}

static void test_no_program(void **state)
{
	struct hostd_who *who = hostd_who_new(&loop, "/nowhere/bulkhead-hook");
	struct answer a = {};

	assert_int_equal(hostd_who_ask(who, on_answer, &a), 0);
	assert_int_equal(a.called, 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(a.called, 1);
	assert_int_equal(a.count, 0);
	/* and again */
	assert_int_equal(hostd_who_ask(who, on_answer, &a), 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(a.called, 2);
	hostd_who_free(who);
}

static void test_too_many(void **state)
{
	struct hostd_who *who = who_of("echo '[]'");
	struct answer a = {};
	unsigned int asked = 0;

	while (hostd_who_ask(who, on_answer, &a) == 0) {
		assert_in_range(++asked, 1, 1000);
	}
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(a.called, asked);
	hostd_who_free(who);
}

/* hostd ends meanwhile. */
static void test_freed(void **state)
{
	struct hostd_who *who = who_of("exec sleep 1000");
	struct answer a = {};

	assert_int_equal(hostd_who_ask(who, on_answer, &a), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	hostd_who_free(who);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(a.called, 0);
	assert_true(waitpid(-1, NULL, 0) > 0); /* init's, when we are gone */
}

static int setup(void **state)
{
	return mkdtemp(dir) ? uv_loop_init(&loop) : -1;
}

static int teardown(void **state)
{
	BH_FREE char *cmd = bh_asprintf("rm -r %s", dir);

	return uv_loop_close(&loop) || system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),	   cmocka_unit_test(test_useless),
		cmocka_unit_test(test_no_program), cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_freed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
