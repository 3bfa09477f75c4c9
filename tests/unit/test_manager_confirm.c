/* SPDX-License-Identifier: Apache-2.0 */
/* Commits that roll back by themselves: the clock is moved, the manager is closed and opened again.
 */
#include "manager_world.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"
#include "manager/change/change.h"
#include "manager/change/confirm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#define DB "confirm-test.db"

#define POLICY(tenant, name, port)                                                                 \
	"kind: Policy\nmetadata: {name: " name ", tenant: " tenant "}\nspec:\n"                    \
	"  selector: {}\n  ingress:\n  - ports: [tcp/" port "]\n"

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_change *change;
	struct manager_commit_request request;
	json_t *noticed;
};

static void nothing_to_carry(struct manager_sync *sync, void *arg)
{
}

static bool never_up(void *arg)
{
	return false;
}

/* As the manager's main(): at these times. */
static void begin_with(struct world *w, const char *path, uint64_t wall_ns,
		       struct manager_audit *audit)
{
	struct manager_distribute_options options = {
		.carrier = {.ping = nothing_to_carry, .up = never_up}};
	struct manager_change_options change = {};
	struct bh_diag diag = {};

	memset(w, 0, sizeof(*w));
	manager_world_open(path, &w->db, &w->inv, &w->book);
	w->noticed = json_array();
	w->inv->notice = manager_world_note;
	w->inv->notice_arg = w->noticed;
	options.inv = change.inv = w->inv;
	options.book = change.book = w->book;
	w->dist = manager_distribute_new(&options);
	assert_int_equal(manager_distribute_flush(w->dist, &diag), 0);
	change.db = w->db;
	change.dist = w->dist;
	change.audit = audit;
	if (manager_change_new(&change, wall_ns, bh_time_mono_ns(), &w->change, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	w->request = (struct manager_commit_request){
		.db = w->db, .inv = w->inv, .book = w->book, .dist = w->dist, .change = w->change};
}

static void begin(struct world *w, const char *path, uint64_t wall_ns)
{
	begin_with(w, path, wall_ns, NULL);
}

/* Without a word to the store: what a kill leaves. */
static void end(struct world *w)
{
	manager_change_free(w->change);
	manager_distribute_close(w->dist);
	manager_distribute_free(w->dist);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	json_decref(w->noticed);
}

static uint32_t commit(struct world *w, const char *text, uint32_t confirm_s)
{
	struct manager_commit_result result;
	struct bh_diag diag = {};
	uint32_t revision;

	w->request.confirm_s = confirm_s;
	if (manager_world_commit(&w->request, text, &result, &diag) != 0) {
		fail_msg("%s", diag.text);
	}
	assert_true(result.changed);
	revision = result.revision;
	manager_commit_result_done(&result);
	return revision;
}

static int refused_with(struct world *w, const char *text, uint32_t confirm_s,
			char ret_words[BH_DIAG_TEXT_SIZE])
{
	struct manager_commit_result result;
	struct bh_diag diag = {};
	int r;

	w->request.confirm_s = confirm_s;
	r = manager_world_commit(&w->request, text, &result, &diag);
	snprintf(ret_words, BH_DIAG_TEXT_SIZE, "%s", diag.text);
	manager_commit_result_done(&result);
	return r;
}

static int refused(struct world *w, const char *text, char ret_words[BH_DIAG_TEXT_SIZE])
{
	return refused_with(w, text, 0, ret_words);
}

/* What is in force under that name: its canonical text, "" when nothing is. */
static const char *now(const struct world *w, const char *tenant, const char *name)
{
	const struct bh_policy *p = bh_policy_set_get(manager_rulebook_set(w->book), tenant, name);

	return p ? bh_policy_canonical(p) : "";
}

static void tick_after(struct world *w, uint64_t seconds)
{
	manager_change_tick(w->change, bh_time_wall_ns() + seconds * BH_NS_PER_S,
			    bh_time_mono_ns() + seconds * BH_NS_PER_S);
}

static json_t *told(struct world *w, const char *type)
{
	return manager_world_take_note(w->noticed, type);
}

static void it_rolls_back_by_itself(void **state)
{
	struct world w;
	BH_JSON json_t *note = NULL;
	BH_FREE char *before = NULL;
	uint32_t revision;

	begin(&w, ":memory:", bh_time_wall_ns());
	commit(&w, POLICY("shop", "db", "1") "---\n" POLICY("shop", "old", "9"), 0);
	json_array_clear(w.noticed);
	before = bh_strdup(now(&w, "shop", "db"));
	revision = commit(&w, POLICY("shop", "db", "2") "---\n" POLICY("shop", "new", "3"), 60);
	assert_non_null(strstr(now(&w, "shop", "db"), "tcp/2"));
	assert_non_null(manager_confirm_find(w.change->confirm, revision));
	tick_after(&w, 58);
	assert_non_null(strstr(now(&w, "shop", "db"), "tcp/2"));
	tick_after(&w, 61);
	assert_string_equal(now(&w, "shop", "db"), before);
	assert_string_equal(now(&w, "shop", "new"), "");
	assert_non_null(strstr(now(&w, "shop", "old"), "tcp/9"));
	assert_int_equal(manager_rulebook_revision(w.book), revision + 1);
	assert_null(manager_confirm_find(w.change->confirm, revision));
	note = told(&w, "policy.unconfirmed-rolled-back");
	assert_int_equal(bh_json_u64_or(note, "revision", 0), revision);
	assert_int_equal(bh_json_u64_or(note, "new_revision", 0), revision + 1);
	assert_string_equal(bh_json_str_or(note, "tenant", ""), "shop");
	assert_int_equal(json_array_size(json_object_get(note, "policies")), 2);
	tick_after(&w, 200);
	assert_int_equal(manager_rulebook_revision(w.book), revision + 1);
	end(&w);
}

static void confirmed_it_stays(void **state)
{
	struct world w;
	BH_JSON json_t *note = NULL;
	struct manager_commit_result result;
	struct bh_diag diag = {};
	uint32_t revision;

	begin(&w, ":memory:", bh_time_wall_ns());
	revision = commit(&w, POLICY("shop", "db", "2"), 60);
	assert_int_equal(manager_confirm_accept(w.change->confirm, revision, "ann", &diag), 0);
	note = told(&w, "policy.confirmed");
	assert_string_equal(bh_json_str_or(note, "by", ""), "ann");
	tick_after(&w, 100);
	assert_non_null(strstr(now(&w, "shop", "db"), "tcp/2"));
	/* Twice, or too late, is none. */
	assert_int_equal(manager_confirm_accept(w.change->confirm, revision, "ann", &diag),
			 -ENOENT);
	assert_int_equal(manager_confirm_undo(w.change->confirm, revision, "ann", &result, &diag),
			 -ENOENT);
	assert_int_equal(manager_confirm_accept(w.change->confirm, 99, "ann", &diag), -ENOENT);
	end(&w);
}

static void others_commits_stay(void **state)
{
	struct world w;
	struct manager_commit_result result;
	struct bh_diag diag = {};
	char words[BH_DIAG_TEXT_SIZE];
	uint32_t revision;

	begin(&w, ":memory:", bh_time_wall_ns());
	revision = commit(&w, POLICY("shop", "db", "2"), 60);
	commit(&w, POLICY("rival", "db", "7") "---\n" POLICY("shop", "web", "80"), 0);
	/* What waits is nobody's to change but by confirming it or rolling it back. */
	assert_int_equal(refused(&w, POLICY("shop", "db", "5"), words), MANAGER_COMMIT_UNCONFIRMED);
	assert_non_null(strstr(words, "shop/db"));
	assert_non_null(strstr(words, "confirm it or roll it back"));
	assert_int_equal(manager_confirm_undo(w.change->confirm, revision, "ann", &result, &diag),
			 0);
	manager_commit_result_done(&result);
	assert_string_equal(now(&w, "shop", "db"), "");
	assert_non_null(strstr(now(&w, "rival", "db"), "tcp/7"));
	assert_non_null(strstr(now(&w, "shop", "web"), "tcp/80"));
	commit(&w, POLICY("shop", "db", "5"), 0);
	end(&w);
}

/* One tenant that waits for everything takes nobody else's turn. */
static void each_tenant_has_its_limit(void **state)
{
	struct world w;
	char words[BH_DIAG_TEXT_SIZE];

	begin(&w, ":memory:", bh_time_wall_ns());
	for (unsigned int i = 0; i < MANAGER_WAITING_MAX; i++) {
		BH_FREE char *text =
			bh_asprintf("kind: Policy\nmetadata: {name: p%u, tenant: shop}\n"
				    "spec: {selector: {}, ingress: []}\n",
				    i);

		commit(&w, text, 60);
	}
	assert_int_equal(refused_with(&w, POLICY("shop", "more", "5"), 60, words),
			 MANAGER_COMMIT_UNCONFIRMED);
	assert_non_null(strstr(words, "tenant shop"));
	commit(&w, POLICY("shop", "more", "5"), 0);
	commit(&w, POLICY("rival", "db", "5"), 60);
	end(&w);
}

static void remove_db(void)
{
	unlink(DB);
	unlink(DB "-wal");
	unlink(DB "-shm");
}

/* Closed at any moment: what waited waits on, what was over is rolled back at the start. */
static void a_restart_changes_nothing(void **state)
{
	struct world w;
	const struct manager_waiting *waiting;
	uint64_t wall = bh_time_wall_ns();
	uint32_t revision;

	remove_db();
	begin(&w, DB, wall);
	revision = commit(&w, POLICY("shop", "db", "2"), 600);
	end(&w);

	begin(&w, DB, wall + 100 * BH_NS_PER_S);
	waiting = manager_confirm_find(w.change->confirm, revision);
	assert_non_null(waiting);
	assert_string_equal(waiting->author, "test");
	tick_after(&w, 490);
	assert_non_null(manager_confirm_find(w.change->confirm, revision));
	end(&w);

	/* A clock that was set back gives no more time than there was. */
	begin(&w, DB, wall - 5000 * BH_NS_PER_S);
	tick_after(&w, 601);
	assert_string_equal(now(&w, "shop", "db"), "");
	end(&w);

	begin(&w, DB, wall);
	revision = commit(&w, POLICY("shop", "db", "3"), 600);
	end(&w);
	begin(&w, DB, wall + 601 * BH_NS_PER_S);
	tick_after(&w, 0);
	assert_string_equal(now(&w, "shop", "db"), "");
	end(&w);
	begin(&w, DB, wall + 700 * BH_NS_PER_S);
	assert_null(manager_confirm_find(w.change->confirm, revision));
	assert_int_equal(manager_rulebook_revision(w.book), revision + 1);
	end(&w);
	remove_db();
}

static int fail_writes(sqlite3_stmt *row, void *arg)
{
	return 0;
}

/* The store takes nothing: it is told once and tried until it is done. */
static void a_failure_is_tried_again(void **state)
{
	struct world w;
	BH_JSON json_t *note = NULL;
	struct bh_diag diag = {};
	uint32_t revision;

	begin(&w, ":memory:", bh_time_wall_ns());
	revision = commit(&w, POLICY("shop", "db", "2"), 60);
	assert_int_equal(manager_db_each(w.db, (struct manager_db_each){fail_writes, NULL}, &diag,
					 "PRAGMA query_only = ON", ""),
			 0);
	tick_after(&w, 61);
	note = told(&w, "policy.rollback-failed");
	assert_non_null(note);
	assert_string_equal(bh_json_str_or(note, "severity", ""), "critical");
	tick_after(&w, 75);
	assert_null(told(&w, "policy.rollback-failed"));
	assert_true(*manager_confirm_find(w.change->confirm, revision)->problem);
	assert_int_equal(manager_db_each(w.db, (struct manager_db_each){fail_writes, NULL}, &diag,
					 "PRAGMA query_only = OFF", ""),
			 0);
	tick_after(&w, 90);
	assert_string_equal(now(&w, "shop", "db"), "");
	end(&w);
}

static void take_entry(uint64_t seq, const char *id, const char *line, void *arg)
{
	json_array_append_new(arg, json_loads(line, 0, NULL));
}

/* The log as a tenant reads it, newest first; 0: all of it. Owned. */
static json_t *log_of(struct manager_audit *audit, uint32_t tenant)
{
	struct manager_audit_filter filter = {.scope = {.all = !tenant, .count = 1}, .limit = 100};
	char next[MANAGER_AUDIT_ID_SIZE];
	json_t *list = json_array();
	struct bh_diag diag = {};

	filter.scope.tenants[0] = tenant;
	if (manager_audit_list(audit, &filter, take_entry, list, next, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	return list;
}

static const char *member(const json_t *list, size_t i, const char *key)
{
	return bh_json_str_or(json_array_get(list, i), key, "");
}

/* Nobody's act is on record too: each tenant reads of its own policies what they were and are. */
static void what_nobody_confirmed_is_on_record(void **state)
{
	struct manager_audit_options o = {
		.path = ":memory:", .key_file = "confirm-test.key", .reserve_bytes = 4096};
	BH_JSON json_t *all = NULL, *of_shop = NULL, *later = NULL;
	struct manager_audit *audit;
	struct bh_diag diag = {};
	struct world w;

	if (manager_audit_open(&o, &audit, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	begin_with(&w, ":memory:", bh_time_wall_ns(), audit);
	commit(&w, POLICY("shop", "db", "1"), 0);
	commit(&w, POLICY("shop", "db", "2") "---\n" POLICY("rival", "secret", "3"), 60);
	assert_int_equal(manager_db_each(w.db, (struct manager_db_each){fail_writes, NULL}, &diag,
					 "PRAGMA query_only = ON", ""),
			 0);
	tick_after(&w, 61);
	tick_after(&w, 75); /* what can't be done is on record once */
	all = log_of(audit, 0);
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(member(all, 0, "result"), "failed");
	assert_string_equal(member(all, 1, "state"), "begun");
	assert_int_equal(manager_db_each(w.db, (struct manager_db_each){fail_writes, NULL}, &diag,
					 "PRAGMA query_only = OFF", ""),
			 0);
	tick_after(&w, 90);
	later = log_of(audit, 0);
	assert_int_equal(json_array_size(later), 4);
	of_shop = log_of(audit, manager_tenant_find(w.inv, "shop")->number);
	for (size_t i = 0; i < json_array_size(of_shop); i++) {
		BH_FREE char *text = bh_json_dump(json_array_get(of_shop, i));

		assert_null(strstr(text, "secret"));
	}
	assert_string_equal(member(of_shop, 0, "act"), "policy.undo");
	assert_string_equal(member(of_shop, 0, "object"), "policy/shop/db");
	assert_string_equal(member(of_shop, 0, "user"), "bulkheadd");
	assert_string_equal(member(of_shop, 0, "result"), "done");
	assert_non_null(strstr(member(of_shop, 0, "before"), "tcp/2"));
	assert_non_null(strstr(member(of_shop, 0, "after"), "tcp/1"));
	end(&w);
	manager_audit_close(audit);
	unlink("confirm-test.key");
	unlink(":memory:.reserve");
}

/* Each tenant hears of its own policies. */
static void tenants_hear_of_their_own(void **state)
{
	struct world w;
	json_t *note;
	size_t i, heard = 0;

	begin(&w, ":memory:", bh_time_wall_ns());
	commit(&w, POLICY("shop", "db", "2") "---\n" POLICY("rival", "secret", "3"), 60);
	json_array_foreach (w.noticed, i, note) {
		BH_FREE char *text = bh_json_dump(note);

		if (strcmp(bh_json_str_or(note, "type", ""), "policy.committed") != 0) {
			continue;
		}
		heard++;
		assert_string_equal(bh_json_str_or(note, "summary", "?"), "");
		assert_int_equal(strcmp(bh_json_str_or(note, "tenant", ""), "rival") == 0,
				 strstr(text, "secret") != NULL);
	}
	assert_int_equal(heard, 2);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_rolls_back_by_itself),
		cmocka_unit_test(confirmed_it_stays),
		cmocka_unit_test(others_commits_stay),
		cmocka_unit_test(each_tenant_has_its_limit),
		cmocka_unit_test(a_restart_changes_nothing),
		cmocka_unit_test(a_failure_is_tried_again),
		cmocka_unit_test(tenants_hear_of_their_own),
		cmocka_unit_test(what_nobody_confirmed_is_on_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
