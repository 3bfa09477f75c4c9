/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts: a flood is one line, what people do stays, kills lose and double nothing. */
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/alerts.h"
#include "manager_world.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

struct world {
	uv_loop_t loop;
	char dir[64];
	char *events, *path;
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_events *ev;
	struct manager_alerts *alerts;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void open_all(struct world *w)
{
	struct manager_events_options options = {.loop = &w->loop,
						 .keep = 1000000,
						 .path = w->events,
						 .inv = w->inv,
						 .book = w->book};

	assert_int_equal(manager_events_new(&options, &w->ev, NULL), 0);
	assert_int_equal(manager_alerts_open(w->path, w->ev, &w->alerts, NULL), 0);
}

static void close_all(struct world *w)
{
	manager_alerts_close(bh_steal(&w->alerts));
	manager_events_free(bh_steal(&w->ev));
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/var/tmp/bh-test-alerts-XXXXXX");
	if (!mkdtemp(w->dir) || uv_loop_init(&w->loop)) {
		return -1;
	}
	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	w->events = bh_asprintf("%s/events.db", w->dir);
	w->path = bh_asprintf("%s/alerts.db", w->dir);
	open_all(w);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	if (w->ev) {
		close_all(w);
	}
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	uv_loop_close(&w->loop);
	free(w->events);
	free(w->path);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static void tell(struct world *w, const char *type, enum bh_severity severity, const char *vm,
		 const char *reason)
{
	manager_events_own(w->ev, type, severity,
			   json_pack("{s:s, s:s}", "vm", vm, "reason", reason));
}

static size_t count(struct world *w)
{
	size_t n = 0;

	uv_run(&w->loop, UV_RUN_DEFAULT);
	for (struct manager_alert *a = manager_alerts_first(w->alerts); a; a = a->next) {
		n++;
	}
	return n;
}

static void test_flood(void **state)
{
	struct world *w = *state;
	struct manager_alert *a;

	for (unsigned int i = 0; i < 5000; i++) {
		tell(w, "guard.spoof-mac", BH_SEVERITY_WARNING, i % 2 ? "v1" : "v2", "spoof");
		tell(w, "flow.refused", BH_SEVERITY_NOTICE, "v1", "policy");
	}
	assert_int_equal(count(w), 2);
	a = manager_alerts_first(w->alerts);
	assert_int_equal(a->count, 2500);
	assert_string_equal(a->signature, "spoof");
	assert_string_equal(a->object, "vm/v1");
	assert_int_equal(a->next->count, 2500);
}

static void act(struct world *w, struct manager_alert *a, const char *what, const char *text)
{
	struct manager_alert_act act = {
		.who = "alice", .what = what, .text = text, .assignee = "bob", .now_ns = 1};

	assert_int_equal(manager_alerts_act(w->alerts, a, &act, NULL), 0);
}

static void test_states(void **state)
{
	struct world *w = *state;
	struct manager_alert *a;
	uint64_t id;

	tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	assert_int_equal(count(w), 1);
	a = manager_alerts_first(w->alerts);
	id = a->id;
	act(w, a, "assign", "");
	act(w, a, "acknowledge", "I look at it");
	tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	assert_int_equal(count(w), 1);
	assert_int_equal(a->state, MANAGER_ALERT_ACKNOWLEDGED);
	assert_int_equal(a->count, 2);
	tell(w, "x", BH_SEVERITY_CRITICAL, "v1", "r"); /* graver: open again */
	assert_int_equal(count(w), 1);
	assert_int_equal(a->state, MANAGER_ALERT_OPEN);
	act(w, a, "close", "done");
	tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	assert_int_equal(count(w), 2);
	assert_int_not_equal(manager_alerts_first(w->alerts)->id, id);
	close_all(w);
	open_all(w);
	a = manager_alerts_find(w->alerts, id);
	assert_int_equal(a->state, MANAGER_ALERT_CLOSED);
	assert_string_equal(a->assignee, "bob");
	assert_int_equal(a->count, 3);
	assert_int_equal(json_array_size(a->history), 4);
	assert_string_equal(bh_json_str_or(json_array_get(a->history, 1), "text", ""),
			    "I look at it");
	assert_int_equal(count(w), 2);
}

/* The counts of the last second are not on disk when it is killed: the copy of the file before them
 * is what is found. */
static void test_kill(void **state)
{
	struct world *w = *state;
	BH_FREE char *command = bh_asprintf("cp %s %s.before", w->path, w->path);
	BH_FREE char *back = bh_asprintf("rm -f %s-wal %s-shm; mv %s.before %s", w->path, w->path,
					 w->path, w->path);

	tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	assert_int_equal(count(w), 1);
	close_all(w);
	assert_int_equal(system(command), 0);
	open_all(w);
	for (unsigned int i = 0; i < 100; i++) {
		tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	}
	assert_int_equal(count(w), 1);
	close_all(w);
	assert_int_equal(system(back), 0);
	open_all(w);
	assert_int_equal(count(w), 1);
	assert_int_equal(manager_alerts_first(w->alerts)->count, 101);
}

static void test_rules(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *rules = json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}]}", "severity",
					  "critical", "rules", "type", "guard.*", "severity",
					  "never", "type", "flow.refused", "severity", "notice");
	BH_JSON json_t *bad = json_pack("{s:[{s:s}]}", "rules", "type", "x");
	BH_JSON json_t *shown = NULL;

	assert_int_equal(manager_alerts_set_rules(w->alerts, rules, NULL), 0);
	assert_true(manager_alerts_set_rules(w->alerts, bad, NULL) < 0);
	shown = manager_alerts_rules(w->alerts);
	assert_true(json_equal(shown, rules));
	tell(w, "guard.spoof-mac", BH_SEVERITY_CRITICAL, "v1", "r");
	tell(w, "x", BH_SEVERITY_WARNING, "v1", "r");
	assert_int_equal(count(w), 0);
	tell(w, "flow.refused", BH_SEVERITY_NOTICE, "v1", "r");
	tell(w, "x", BH_SEVERITY_CRITICAL, "v1", "r");
	assert_int_equal(count(w), 2);
}

/* An alert of what only the provider may see is the provider's: its words name hosts. */
static void test_whose(void **state)
{
	struct world *w = *state;
	struct manager_tenant *shop = manager_tenant_get(w->inv, "shop", NULL);

	manager_events_own(w->ev, "request.refused", BH_SEVERITY_WARNING,
			   json_pack("{s:s}", "tenant", "shop"));
	assert_int_equal(count(w), 1);
	assert_int_equal(manager_alerts_first(w->alerts)->tenant, shop->number);
	manager_events_own(w->ev, "migration.refused", BH_SEVERITY_WARNING,
			   json_pack("{s:s, s:s}", "tenant", "shop", "reason", "h2 is full"));
	assert_int_equal(count(w), 2);
	assert_int_equal(manager_alerts_first(w->alerts)->tenant, MANAGER_SCOPE_PROVIDER);
}

/* More groups than there is room for: closed ones go, then one line stands for what is too much. */
static void test_too_many(void **state)
{
	struct world *w = *state;
	struct manager_alert_counts counts;
	static const struct manager_scope all = {.all = true};
	char vm[32];

	for (unsigned int i = 0; i < MANAGER_ALERTS_MAX + 500; i++) {
		snprintf(vm, sizeof(vm), "v%u", i);
		tell(w, "x", BH_SEVERITY_WARNING, vm, "r");
	}
	assert_int_equal(count(w), MANAGER_ALERTS_MAX + 1);
	assert_int_equal(manager_alerts_first(w->alerts)->count, 500);
	act(w, manager_alerts_first(w->alerts)->next, "close", "");
	act(w, manager_alerts_first(w->alerts)->next->next, "close", "");
	tell(w, "y", BH_SEVERITY_WARNING, "v1", "r");
	uv_run(&w->loop, UV_RUN_DEFAULT);
	manager_alerts_count(w->alerts, &all, &all, &counts);
	assert_int_equal(counts.open, MANAGER_ALERTS_MAX);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_flood), T(test_states), T(test_kill),
		T(test_rules), T(test_whose),  T(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
