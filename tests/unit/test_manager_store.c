/* SPDX-License-Identifier: Apache-2.0 */
/* manager/store: migrations, numbers, revisions, and a commit that does not fit. */
#include "base/buf.h"
#include "base/util.h"
#include "manager/store/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char path[] = "/tmp/bh-store-XXXXXX/db";

static int set_up(void **state)
{
	static char dir[] = "/tmp/bh-store-XXXXXX";

	strcpy(dir, "/tmp/bh-store-XXXXXX");
	if (!mkdtemp(dir)) {
		return -1;
	}
	memcpy(path, dir, strlen(dir));
	return 0;
}

static int tear_down(void **state)
{
	char dir[sizeof(path)];
	BH_FREE char *wal = bh_asprintf("%s-wal", path);
	BH_FREE char *shm = bh_asprintf("%s-shm", path);

	unlink(path);
	unlink(wal);
	unlink(shm);
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	return rmdir(dir);
}

static void test_migrations(void **state)
{
	static const char *const v1[] = {"CREATE TABLE a (x)"};
	static const char *const v2[] = {"CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"};
	static const char *const broken[] = {"CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y",
					     "CREATE TABLE b (x); NONSENSE"};
	struct manager_db *db;
	struct bh_diag diag = {};

	assert_int_equal(manager_db_open(path, v1, 1, &db, &diag), 0);
	assert_int_equal(manager_db_run(db, &diag, "INSERT INTO a VALUES (7)", ""), 0);
	manager_db_close(db);
	assert_int_equal(manager_db_open(path, v2, 2, &db, &diag), 0);
	assert_int_equal(manager_db_number(db, -1, "SELECT x FROM a WHERE y IS NULL", ""), 7);
	manager_db_close(db);
	/* A newer schema is left alone; a failing migration leaves the schema before it. */
	assert_int_equal(manager_db_open(path, v1, 1, &db, &diag), -EPROTO);
	assert_true(manager_db_open(path, broken, 3, &db, &diag) < 0);
	assert_non_null(strstr(diag.text, "migration to schema 3"));
	assert_int_equal(manager_db_open(path, v2, 2, &db, &diag), 0);
	assert_int_equal(manager_db_number(db, -1,
					   "SELECT count(*) FROM sqlite_master WHERE"
					   " name = 'b'",
					   ""),
			 0);
	manager_db_close(db);
}

static void test_numbers(void **state)
{
	struct manager_db *db;
	uint32_t n;

	assert_int_equal(manager_store_open(path, &db, NULL), 0);
	assert_int_equal(manager_store_take_numbers(db, "x", 256, 3, &n, NULL), 0);
	assert_int_equal(n, 256);
	assert_int_equal(manager_store_take_numbers(db, "x", 256, 1, &n, NULL), 0);
	assert_int_equal(n, 259);
	manager_db_close(db);
	assert_int_equal(manager_store_open(path, &db, NULL), 0);
	assert_int_equal(manager_store_take_numbers(db, "x", 256, 1, &n, NULL), 0);
	assert_int_equal(n, 260);
	assert_true(manager_store_take_numbers(db, "x", 256, UINT32_MAX, &n, NULL) < 0);
	manager_db_close(db);
}

static int collect(const struct manager_store_policy *row, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "%s/%s@%u=%s;", row->tenant, row->name, row->revision, row->text);
	return 0;
}

static void assert_policies(struct manager_db *db, uint32_t revision, const char *wanted)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	assert_int_equal(manager_store_policies(db, revision, collect, &w, NULL), 0);
	assert_string_equal(bh_wbuf_cstr(&w), wanted);
	bh_wbuf_done(&w);
}

static void add(struct manager_db *db, uint32_t revision, const char *name, const char *text)
{
	struct manager_store_policy row = {
		.revision = revision, .tenant = "t", .name = name, .text = text, .source = "{}"};

	assert_int_equal(manager_store_add_policy(db, &row, NULL), 0);
}

static void add_revision(struct manager_db *db, uint32_t number)
{
	struct manager_store_revision row = {
		.number = number, .author = "me", .summary = "", .changes = "[]"};

	assert_int_equal(manager_store_add_revision(db, &row, NULL), 0);
}

static void test_revisions(void **state)
{
	struct manager_db *db;

	assert_int_equal(manager_store_open(path, &db, NULL), 0);
	assert_int_equal(manager_store_last_revision(db), 0);
	add_revision(db, 1);
	add(db, 1, "a", "A1");
	add(db, 1, "b", "B1");
	add_revision(db, 2);
	add(db, 2, "a", "A2");
	add_revision(db, 3);
	add(db, 3, "b", NULL);
	assert_int_equal(manager_store_last_revision(db), 3);
	assert_policies(db, 0, "");
	assert_policies(db, 1, "t/a@1=A1;t/b@1=B1;");
	assert_policies(db, 2, "t/a@2=A2;t/b@1=B1;");
	assert_policies(db, 3, "t/a@2=A2;");
	manager_db_close(db);
}

static void test_full(void **state)
{
	struct manager_db *db;
	struct bh_diag diag = {};
	BH_FREE char *large = bh_alloc(400000);
	struct manager_store_policy row = {
		.revision = 2, .tenant = "t", .name = "a", .text = large, .source = "{}"};
	struct manager_store_revision revision = {
		.number = 2, .author = "me", .summary = "", .changes = "[]"};
	int r;

	memset(large, 'x', 399999);
	assert_int_equal(manager_store_open(path, &db, NULL), 0);
	add_revision(db, 1);
	add(db, 1, "a", "A1");
	assert_true(manager_db_number(db, 0, "PRAGMA max_page_count = 60", "") > 0);
	assert_int_equal(manager_db_begin(db, &diag), 0);
	assert_int_equal(manager_store_add_revision(db, &revision, &diag), 0);
	r = manager_store_add_policy(db, &row, &diag);
	assert_int_equal(r, -ENOSPC);
	manager_db_abort(db);
	assert_int_equal(manager_store_last_revision(db), 1);
	assert_policies(db, 9, "t/a@1=A1;");
	assert_int_equal(manager_db_begin(db, &diag), 0);
	assert_int_equal(manager_store_add_revision(db, &revision, &diag), 0);
	assert_int_equal(manager_db_commit(db, &diag), 0);
	manager_db_close(db);
}

static void test_tokens(void **state)
{
	struct manager_store_token row = {.name = "h1", .created_ns = 100, .expires_ns = 200};
	uint8_t hash[32] = {1}, other[32] = {2};
	struct manager_db *db;
	int64_t id;

	row.hash = hash;
	assert_int_equal(manager_store_open(path, &db, NULL), 0);
	assert_int_equal(manager_store_add_token(db, &row, &id, NULL), 0);
	assert_int_equal(manager_store_use_token(db, other, "h1", 150, NULL), -EACCES);
	assert_int_equal(manager_store_use_token(db, hash, "h2", 150, NULL), -EACCES);
	assert_int_equal(manager_store_use_token(db, hash, "h1", 250, NULL), -EACCES);
	assert_int_equal(manager_store_use_token(db, hash, "h1", 150, NULL), 0);
	assert_int_equal(manager_store_use_token(db, hash, "h1", 151, NULL), -EACCES);
	assert_int_equal(manager_store_drop_token(db, id, NULL), 0);
	assert_int_equal(manager_store_drop_token(db, id, NULL), -ENOENT);
	manager_db_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_migrations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_revisions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tokens, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
