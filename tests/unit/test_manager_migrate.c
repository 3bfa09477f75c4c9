/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations with carriers that stand for the hosts: the walk of a VM from one host to another, who
 * is refused and why, how it ends when something breaks, and what a restart of the manager finds.
 */
#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/migrate/migrate.h"
#include "policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <cmocka.h>

#define VM   "00000000-0000-4000-8000-000000000001"
#define MAC  "52:54:00:00:00:01"
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct command {
	char host[BH_NAME_MAX + 1];
	json_t *body;
	bh_bus_reply_fn *fn;
	void *arg;
};

struct world {
	char path[64]; /* of the database */
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_migrate *migrate;
	struct manager_sync *asked[4]; /* whose deltas wait for an answer */
	struct bh_hash to[4];
	size_t asked_count;
	unsigned int sent;
	struct command commands[8];
	size_t command_count;
	json_t *noticed;
	bool answered;
	char code[32], text[512], id[MANAGER_MIGRATION_ID_SIZE], source[BH_NAME_MAX + 1];
	struct bh_hash hash;
};

static void carry_apply(struct manager_sync *sync, const struct manager_image *image,
			const struct bh_delta *delta, void *arg)
{
	struct world *w = arg;

	assert_in_range(w->asked_count, 0, 3);
	w->asked[w->asked_count] = sync;
	w->to[w->asked_count++] = *bh_delta_to(delta);
	w->sent++;
}

static void carry_ping(struct manager_sync *sync, void *arg)
{
}

static bool carry_up(void *arg)
{
	return true;
}

static void command(const char *host, json_t *body, uint64_t timeout_ms, bh_bus_reply_fn *fn,
		    void *arg, void *command_arg)
{
	struct world *w = command_arg;
	struct command *c = &w->commands[w->command_count++];

	assert_in_range(w->command_count, 1, 8);
	snprintf(c->host, sizeof(c->host), "%s", host);
	c->body = body;
	c->fn = fn;
	c->arg = arg;
}

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	json_object_set_new(body, "type", json_string(type));
	json_array_append_new(w->noticed, body);
}

static void on_answer(const struct manager_migrate_answer *answer, void *arg)
{
	struct world *w = arg;

	assert_false(w->answered);
	w->answered = true;
	snprintf(w->code, sizeof(w->code), "%s", answer->code ? answer->code : "ok");
	snprintf(w->text, sizeof(w->text), "%s", answer->text ? answer->text : "");
	snprintf(w->id, sizeof(w->id), "%s", answer->id);
	snprintf(w->source, sizeof(w->source), "%s", answer->source);
	w->hash = answer->hash;
}

/* ---- the world ---- */

static void start_manager(struct world *w)
{
	struct manager_distribute_options dist = {
		.carrier = {carry_apply, carry_ping, carry_up, w}};
	struct manager_migrate_options migrate = {.command = command, .command_arg = w};
	struct bh_diag diag = {};

	if (manager_store_open(w->path, &w->db, &diag) < 0 ||
	    manager_inventory_new(w->db, "default", &w->inv, &diag) < 0 ||
	    manager_rulebook_new(w->db, &w->book, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_inventory_set_policies(w->inv, manager_rulebook_set(w->book));
	w->inv->notice = on_notice;
	w->inv->notice_arg = w;
	dist.inv = w->inv;
	dist.book = w->book;
	w->dist = manager_distribute_new(&dist);
	migrate.inv = w->inv;
	migrate.dist = w->dist;
	assert_int_equal(manager_migrate_new(&migrate, &w->migrate, &diag), 0);
	assert_int_equal(manager_distribute_flush(w->dist, &diag), 0);
}

static void drop_commands(struct world *w)
{
	for (size_t i = 0; i < w->command_count; i++) {
		if (w->commands[i].fn) {
			w->commands[i].fn(-ECANCELED, NULL, w->commands[i].arg);
		}
		json_decref(w->commands[i].body);
	}
	w->command_count = 0;
}

static void stop_manager(struct world *w)
{
	manager_migrate_close(w->migrate);
	manager_distribute_close(w->dist);
	drop_commands(w);
	w->asked_count = 0;
	manager_migrate_free(w->migrate);
	manager_distribute_free(w->dist);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
}

static void answer_all(struct world *w)
{
	while (w->asked_count) {
		struct manager_answer a = {
			.code = "", .text = "", .hash = w->to[0], .has_hash = true};
		struct manager_sync *sync = w->asked[0];

		a.attempt = sync->attempt;
		w->asked_count--;
		memmove(w->asked, w->asked + 1, w->asked_count * sizeof(w->asked[0]));
		memmove(w->to, w->to + 1, w->asked_count * sizeof(w->to[0]));
		manager_sync_answer(sync, &a);
	}
}

static void flush(struct world *w)
{
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
}

static struct manager_host *host(struct world *w, const char *name)
{
	return manager_host_find(w->inv, name);
}

static void join(struct world *w, const char *name)
{
	BH_JSON json_t *hello = json_pack("{s:{s:i, s:i}}", "capacity", "rows", 40, "cts", 1000);
	struct manager_host *h = manager_host_add(w->inv, name, 1);
	static const struct bh_hash zero;

	manager_host_hello(w->inv, h, hello, bh_time_wall_ns());
	flush(w);
	manager_distribute_hello(w->dist, h, &zero);
	answer_all(w);
}

static json_t *vm_json(const char *state)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:[s]}]}", "uuid", VM, "name",
			 "web", "state", state, "tenant", "shop", "labels", "role", "web", "nics",
			 "mac", MAC, "net", "bridge/br0", "addresses", "10.0.0.1");
}

/* `state` NULL: the host has no VM. */
static void report(struct world *w, const char *name, const char *state)
{
	BH_JSON json_t *vms = json_array();
	BH_JSON json_t *rejected = NULL;

	if (state) {
		json_array_append_new(vms, vm_json(state));
	}
	assert_int_equal(manager_inventory_report(w->inv, host(w, name), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	manager_distribute_seen(w->dist, host(w, name));
	manager_migrate_look(w->migrate, host(w, name));
	flush(w);
}

static struct manager_vm *vm(struct world *w)
{
	struct manager_vm *found;

	HASH_FIND_STR(w->inv->vms, VM, found);
	return found;
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	if (sodium_init() < 0) {
		return -1;
	}
	snprintf(w->path, sizeof(w->path), "/tmp/bh-migrate-XXXXXX");
	close(mkstemp(w->path));
	w->noticed = json_array();
	start_manager(w);
	join(w, "h1");
	join(w, "h2");
	join(w, "h3");
	report(w, "h1", "running");
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	stop_manager(w);
	json_decref(w->noticed);
	unlink(w->path);
	free(w);
	return 0;
}

/* ---- what happens in it ---- */

/* The only notice of that type since the last call for it, which takes it away; NULL when none. */
static json_t *take_notice(struct world *w, const char *type)
{
	json_t *found = NULL, *item;
	size_t i = json_array_size(w->noticed);

	while (i-- > 0) {
		item = json_array_get(w->noticed, i);
		if (strcmp(bh_json_str_or(item, "type", ""), type) == 0) {
			assert_null(found);
			found = json_incref(item);
			json_array_remove(w->noticed, i);
		}
	}
	return found;
}

static void expect_notice(struct world *w, const char *type, const char *key, const char *value)
{
	BH_JSON json_t *notice = take_notice(w, type);

	if (!notice) {
		fail_msg("no event %s", type);
	}
	assert_string_equal(bh_json_str_or(notice, key, ""), value);
}

static void ask_json(struct world *w, const char *target, json_t *vm_said, const char *why)
{
	BH_JSON json_t *body = json_pack("{s:o, s:s, s:[{s:s, s:i}]}", "vm", vm_said, "why", why,
					 "by", "user", "root", "uid", 0);

	w->answered = false;
	manager_migrate_ask(w->migrate, host(w, target), body, on_answer, w);
}

static void ask(struct world *w, const char *target)
{
	ask_json(w, target, vm_json("paused"), "live");
}

/* The oldest command that waits; must go to that host and be of that type. reply NULL: refused with
 * `code`, "" as if the host did not answer. Owned by the callee. */
static void answer_command(struct world *w, const char *to, const char *type, json_t *reply,
			   const char *code)
{
	struct command c = w->commands[0];
	BH_JSON json_t *body = c.body;
	BH_JSON json_t *refusal =
		reply ? NULL : json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", "test");
	BH_JSON json_t *owned = reply;
	struct bh_bus_msg msg = {.json = reply ? reply : refusal};

	assert_int_not_equal(w->command_count, 0);
	w->command_count--;
	memmove(w->commands, w->commands + 1, w->command_count * sizeof(w->commands[0]));
	assert_string_equal(bh_json_str_or(body, "type", ""), type);
	assert_string_equal(c.host, to);
	if (c.fn) {
		c.fn(reply   ? 0
		     : *code ? BH_BUS_REFUSED
			     : -ETIMEDOUT,
		     *code || reply ? &msg : NULL, c.arg);
	}
}

static int told(struct world *w, const char *from, const char *phase, json_t *receipt)
{
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:o*}", "migration", w->id, "phase", phase,
					 "receipt", receipt);

	return manager_migrate_told(w->migrate, host(w, from), body, NULL);
}

static json_t *receipt(int connections)
{
	return json_pack("{s:i, s:s, s:i}", "connections", connections, "hash", HASH, "bytes", 100);
}

static void depart(struct world *w, int connections)
{
	answer_command(
		w, "h1", "depart",
		json_pack("{s:i, s:[{s:s}]}", "connections", connections, "by", "user", "admin"),
		"");
}

/* h2 may fetch. */
static void get_ready(struct world *w)
{
	ask(w, "h2");
	depart(w, 10);
	answer_all(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "ok");
}

static void get_installed(struct world *w)
{
	get_ready(w);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	json_decref(take_notice(w, "migration.allowed"));
}

static void add(json_t *migration, void *arg)
{
	json_array_append_new(arg, migration);
}

/* The newest record. Owned. */
static json_t *record(struct world *w)
{
	struct manager_migration_filter filter = {.limit = 1};
	BH_JSON json_t *list = json_array();

	assert_int_equal(manager_migrate_list(w->migrate, &filter, true, add, list, NULL), 0);
	assert_int_equal(json_array_size(list), 1);
	return json_incref(json_array_get(list, 0));
}

static void expect_record(struct world *w, const char *state, const char *steps)
{
	BH_JSON json_t *r = record(w);
	struct bh_wbuf text;
	size_t i;
	json_t *step;

	assert_string_equal(bh_json_str_or(r, "state", ""), state);
	bh_wbuf_init(&text, 0);
	json_array_foreach (json_object_get(r, "steps"), i, step) {
		bh_wbuf_printf(&text, "%s%s", i ? " " : "", bh_json_str_or(step, "step", ""));
	}
	assert_string_equal(bh_wbuf_cstr(&text), steps);
	bh_wbuf_done(&text);
}

static bool has_segment(struct world *w, const char *name)
{
	const struct manager_sync *sync = host(w, name)->sync;

	return sync->installed && bh_image_get(sync->installed->image, "vm:" VM);
}

/* ---- the walk ---- */

static void test_walk(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *places = NULL;

	ask(w, "h2");
	assert_false(w->answered);
	assert_false(has_segment(w, "h2"));
	depart(w, 10);
	assert_false(w->answered); /* not before the target has read it back */
	assert_int_equal(w->asked_count, 1);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "h1");
	assert_true(bh_hash_equal(&w->hash, bh_image_hash(host(w, "h2")->sync->installed->image)));
	assert_true(has_segment(w, "h2") && has_segment(w, "h1"));

	assert_int_equal(told(w, "h3", "installed", receipt(10)), -ENOENT);
	assert_int_equal(told(w, "h1", "installed", receipt(10)), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	expect_notice(w, "migration.allowed", "source", "h1");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0); /* a repeat */
	assert_null(take_notice(w, "migration.allowed"));

	report(w, "h2", "paused"); /* memory is copied */
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(take_notice(w, "host.conflict"));
	assert_true(has_segment(w, "h1"));
	assert_int_equal(told(w, "h2", "final", receipt(11)), 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(vm(w)->incoming);
	assert_true(has_segment(w, "h2"));
	assert_false(has_segment(w, "h1"));
	expect_notice(w, "vm.migrated", "to", "h2");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	assert_null(w->migrate->open);
	expect_record(w, "done", "asked counted applied installed final runs moved");

	places = manager_vm_places(w->inv, vm(w));
	assert_int_equal(json_array_size(places), 2);
	assert_string_equal(bh_json_str_or(json_array_get(places, 0), "host", ""), "h2");
	assert_string_equal(bh_json_str_or(json_array_get(places, 0), "migration", ""), w->id);
	assert_string_equal(bh_json_str_or(json_array_get(places, 1), "how", ""), "start");
}

/* Cancelled while memory is copied: as if nothing had been. */
static void test_cancelled(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	flush(w);
	expect_notice(w, "migration.failed", "phase", "installed");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(vm(w)->incoming);
	assert_false(has_segment(w, "h2"));
	assert_true(has_segment(w, "h1"));
	expect_record(w, "failed", "asked counted applied installed failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_walk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
