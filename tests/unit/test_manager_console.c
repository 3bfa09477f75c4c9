/* SPDX-License-Identifier: Apache-2.0 */
/* The web console's files: which of them answers what, in which coding. */
#include "manager/api/console.h"

#include "base/file.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

struct world {
	char dir[64];
	struct manager_console *console;
};

static void put(const struct world *w, const char *name, const char *text)
{
	BH_FREE char *path = bh_asprintf("%s/%s", w->dir, name);
	BH_FREE char *folder = bh_strdup(path);

	*strrchr(folder, '/') = '\0';
	assert_int_equal(bh_mkdirs(folder, 0755, NULL), 0);
	assert_int_equal(bh_file_replace(path, text, strlen(text), 0644, NULL), 0);
}

static int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/bh-console-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	put(w, "index.html", "<script nonce=\"" CONSOLE_NONCE_MARK "\"></script>");
	put(w, "assets/app-1.js", "plain");
	put(w, "assets/app-1.js.br", "b");
	put(w, "assets/app-1.js.gz", "gz");
	put(w, "assets/small-2.css", "a{}");
	put(w, "assets/lost-3.js.gz", "twin of nothing");
	put(w, "assets/notes.md", "of a type that no browser asks for");
	put(w, ".hidden.js", "no");
	assert_int_equal(manager_console_open(w->dir, &w->console, NULL), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	BH_FREE char *command = bh_asprintf("rm -r %s", w->dir);

	manager_console_free(w->console);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void test_only_what_was_listed(void **state)
{
	static const char *const absent[] = {
		"/assets/app-1.js.gz", "/assets/app-1.js.br", "/assets/lost-3.js",
		"/assets/notes.md",    "/.hidden.js",	      "/assets/../index.html",
		"/../etc/passwd.txt",  "/assets//app-1.js",   "/index.html/x.js",
		"/assets/app-9.js",    "/favicon.ico",	      "/..",
	};
	const struct world *w = *state;

	assert_non_null(manager_console_find(w->console, "/assets/app-1.js"));
	assert_true(manager_console_find(w->console, "/assets/app-1.js")->immutable);
	for (size_t i = 0; i < BH_ARRAY_SIZE(absent); i++) {
		if (manager_console_find(w->console, absent[i])) {
			fail_msg("%s is served", absent[i]);
		}
	}
}

static void test_paths_of_pages_give_the_page(void **state)
{
	static const char *const pages[] = {"/", "/index.html", "/vms/web1", "/policies/shop/db"};
	const struct world *w = *state;

	for (size_t i = 0; i < BH_ARRAY_SIZE(pages); i++) {
		const struct manager_console_file *f = manager_console_find(w->console, pages[i]);

		assert_non_null(f);
		assert_true(f->page);
		assert_false(f->immutable);
	}
}

static void test_the_api_is_not_touched(void **state)
{
	static const char *const others[] = {"/v1",	 "/v1/vms",  "/api/v1/events",
					     "/metrics", "/healthz", "/api",
					     "/v1:x",	 "*",	     ""};
	static const char *const own[] = {"/", "/v1x", "/vms", "/apiary", "/metrics.html"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(others); i++) {
		assert_false(manager_console_owns(others[i]));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(own); i++) {
		assert_true(manager_console_owns(own[i]));
	}
}

static void test_coding(void **state)
{
	static const struct {
		const char *accept;
		enum manager_console_coding wanted;
	} cases[] = {
		{NULL, CONSOLE_IDENTITY},
		{"", CONSOLE_IDENTITY},
		{"gzip, deflate, br, zstd", CONSOLE_BROTLI},
		{"gzip, deflate", CONSOLE_GZIP},
		{"GZIP", CONSOLE_GZIP},
		{"br;q=0, gzip", CONSOLE_GZIP},
		{"br; q=0.000,gzip;q=0.1", CONSOLE_GZIP},
		{"br;q=0.001", CONSOLE_BROTLI},
		{"br;q=0,*", CONSOLE_GZIP},
		{"*", CONSOLE_BROTLI},
		{"*;q=0", CONSOLE_IDENTITY},
		{"*;q=0, gzip", CONSOLE_GZIP},
		{"brotli, xgzip, gzipx", CONSOLE_IDENTITY},
		{"identity", CONSOLE_IDENTITY},
		{",,;;=,", CONSOLE_IDENTITY},
	};
	const struct world *w = *state;
	const struct manager_console_file *js =
		manager_console_find(w->console, "/assets/app-1.js");
	const struct manager_console_file *css =
		manager_console_find(w->console, "/assets/small-2.css");

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		enum manager_console_coding c = manager_console_coding(js, cases[i].accept);

		if (c != cases[i].wanted) {
			fail_msg("'%s' gives %d", cases[i].accept, (int)c);
		}
	}
	assert_int_equal(manager_console_coding(css, "br, gzip"), CONSOLE_IDENTITY);
	assert_string_equal(js->as[CONSOLE_GZIP].data, "gz");
}

static void test_etags(void **state)
{
	const struct world *w = *state;
	const struct manager_console_file *js =
		manager_console_find(w->console, "/assets/app-1.js");
	const char *etag = js->as[CONSOLE_GZIP].etag;
	BH_FREE char *list = bh_asprintf("\"x\", W/%s, \"y\"", etag);

	assert_string_not_equal(etag, js->as[CONSOLE_BROTLI].etag);
	assert_true(manager_console_known(etag, etag));
	assert_true(manager_console_known(list, etag));
	assert_true(manager_console_known("*", etag));
	assert_false(manager_console_known(NULL, etag));
	assert_false(manager_console_known("", etag));
	assert_false(manager_console_known("\"x\"", etag));
	assert_false(manager_console_known(js->as[CONSOLE_BROTLI].etag, etag));
}

static void test_no_console(void **state)
{
	struct manager_console *console = NULL;
	struct bh_diag diag = {};
	char empty[] = "/tmp/bh-console-XXXXXX";

	assert_int_equal(manager_console_open("/nowhere/at/all", &console, &diag), -ENOENT);
	assert_non_null(mkdtemp(empty));
	assert_int_equal(manager_console_open(empty, &console, &diag), -EINVAL);
	assert_null(console);
	assert_int_equal(rmdir(empty), 0);
	assert_null(manager_console_load(NULL));
	assert_null(manager_console_load(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_was_listed),
		cmocka_unit_test(test_paths_of_pages_give_the_page),
		cmocka_unit_test(test_the_api_is_not_touched),
		cmocka_unit_test(test_coding),
		cmocka_unit_test(test_etags),
		cmocka_unit_test(test_no_console),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
