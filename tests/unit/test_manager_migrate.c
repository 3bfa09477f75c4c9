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

/* ---- refusals ---- */

static void refused(struct world *w, const char *target, json_t *said, const char *words)
{
	size_t commands = w->command_count;

	ask_json(w, target, said, "live");
	assert_true(w->answered);
	assert_string_equal(w->code, "refused");
	if (!strstr(w->text, words)) {
		fail_msg("\"%s\" does not say \"%s\"", w->text, words);
	}
	expect_notice(w, "migration.refused", "reason", w->text);
	assert_int_equal(w->command_count, commands);
	flush(w);
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_int_equal(has_segment(w, target), strcmp(target, "h1") == 0);
	assert_string_equal(vm(w)->report.state, "running");
}

static json_t *with(const char *key, json_t *value)
{
	json_t *said = vm_json("paused");

	json_object_set_new(said, key, value);
	return said;
}

static json_t *with_nic(const char *key, json_t *value)
{
	json_t *said = vm_json("paused");

	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), key, value);
	return said;
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *last = NULL;

	refused(w, "h1", vm_json("paused"), "runs on host h1 already");
	refused(w, "h2", with("tenant", json_string("bank")),
		"says tenant 'bank', host h1 reports");
	refused(w, "h2", with("labels", json_pack("{s:s}", "role", "db")), "says labels");
	refused(w, "h2", with("nics", json_array()), "has 1 NICs on host h1");
	refused(w, "h2", with_nic("mac", json_string("52:54:00:00:00:99")), "has no NIC");
	refused(w, "h2", with_nic("net", json_string("bridge/br1")), "would be on bridge/br1");
	refused(w, "h2", with_nic("net", json_string("")), "can't be protected on host h2");
	refused(w, "h2", with_nic("addresses", json_pack("[s, s]", "10.0.0.1", "10.0.0.2")),
		"other addresses, VLANs or rights");
	refused(w, "h2", with_nic("flags", json_pack("[s]", "any-source")), "or rights");
	refused(w, "h2", with_nic("vlans", json_pack("[i]", 7)), "VLANs");
	last = record(w);
	assert_string_equal(bh_json_str_or(last, "state", ""), "refused");
	assert_string_equal(
		bh_json_str_or(json_array_get(json_object_get(last, "by"), 0), "user", ""), "root");
	host(w, "h1")->online = false;
	refused(w, "h2", vm_json("paused"), "h1, on which VM web runs, is not connected");
	host(w, "h1")->online = true;
	report(w, "h1", "shutoff");
	ask(w, "h2");
	assert_non_null(strstr(w->text, "host h1 says that VM web is shutoff"));
}

/* A network that exists on one host only can't be on the other one. */
static void test_network_of_one_host(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = with_nic("net", json_string("host/h1/net/default"));
	BH_JSON json_t *vms = json_pack("[O]", said);
	BH_JSON json_t *rejected = NULL;

	json_object_set_new(said, "state", json_string("running"));
	assert_int_equal(manager_inventory_report(w->inv, host(w, "h1"), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	flush(w);
	refused(w, "h2", with_nic("net", json_string("host/h2/net/default")),
		"which exists on host h1 only");
	ask_json(w, "h2", with_nic("net", json_string("host/h1/net/default")), "live");
	assert_string_equal(w->code, "bad"); /* h2 can't speak of networks of h1 */
}

static void test_nonsense(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *body = json_pack("{s:s}", "migration", "../../etc");

	w->id[0] = '\0';
	ask_json(w, "h2", json_string("everything"), "live");
	assert_string_equal(w->code, "bad");
	assert_int_equal(manager_migrate_told(w->migrate, host(w, "h2"), body, NULL), -ENOENT);
	get_ready(w);
	assert_int_equal(told(w, "h2", "", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "final", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", json_pack("{s:i}", "connections", 1)), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
}

/* A host that asks on and on: the first ones are written down and told. */
static void test_refusals_are_limited(void **state)
{
	struct world *w = *state;
	uint64_t untold = bh_counter_get("migrate_refused_untold");

	json_array_clear(w->noticed);
	for (int i = 0; i < 100; i++) {
		ask(w, "h1");
		assert_string_equal(w->code, "refused");
	}
	assert_int_equal(json_array_size(w->noticed), 30);
	assert_int_equal(bh_counter_get("migrate_refused_untold"), untold + 70);
}

static void test_two_at_once(void **state)
{
	struct world *w = *state;

	get_ready(w);
	refused(w, "h3", vm_json("paused"), "on its way to host h2 already");
	/* The same target again: libvirt there has given the first one up. */
	ask(w, "h2");
	assert_false(w->answered);
	expect_notice(w, "migration.failed", "reason", "the target began anew");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	depart(w, 10);
	flush(w);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
}

/* ---- room ---- */

static void test_connections_need_room(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 1001);
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "has room for 1000 more connections, VM web has 1001"));
	answer_command(w, "h1", "depart-end", json_object(), "");
	assert_null(w->migrate->open);
}

static void test_tables_need_room(void **state)
{
	struct world *w = *state;

	host(w, "h2")->capacity[MANAGER_TABLE_ADDRS] = 0; /* not told */
	host(w, "h2")->capacity[MANAGER_TABLE_NICS] = 1;
	report(w, "h2", NULL);
	ask(w, "h2");
	depart(w, 1);
	flush(w);
	assert_string_equal(w->code, "ok"); /* one NIC fits */
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	flush(w);
	drop_commands(w);
	host(w, "h2")->capacity[MANAGER_TABLE_ADDRS] = 1;
	report(w, "h2", NULL);
	{
		BH_JSON json_t *two = vm_json("running");
		BH_JSON json_t *vms = json_pack("[O]", two);
		BH_JSON json_t *rejected = NULL;

		json_object_set_new(json_array_get(json_object_get(two, "nics"), 0), "addresses",
				    json_pack("[s, s]", "10.0.0.1", "10.0.0.2"));
		assert_int_equal(manager_inventory_report(w->inv, host(w, "h1"), vms,
							  bh_time_wall_ns(), &rejected, NULL),
				 0);
		flush(w);
		ask_json(w, "h2", json_incref(two), "live");
	}
	depart(w, 1);
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "addrs would be 2 of 1"));
	flush(w);
	assert_false(has_segment(w, "h2"));
}

/* The host itself says that it is full, or can't. */
static void test_apply_fails(void **state)
{
	struct world *w = *state;
	struct manager_answer a = {.err = BH_BUS_REFUSED, .code = "full", .text = "no room"};

	ask(w, "h2");
	depart(w, 1);
	assert_int_equal(w->asked_count, 1);
	a.attempt = w->asked[0]->attempt;
	w->asked_count = 0;
	manager_sync_answer(host(w, "h2")->sync, &a);
	manager_migrate_tick(w->migrate, bh_time_wall_ns(), bh_time_mono_ns());
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "full: no room"));
	flush(w);
	assert_null(vm(w)->incoming);
}

/* ---- the source ---- */

static void test_source_says_no(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	answer_command(w, "h1", "depart", NULL, "gone");
	assert_non_null(strstr(w->text, "host h1 says that VM web does not run there"));
	drop_commands(w);
	ask(w, "h2");
	answer_command(w, "h1", "depart", NULL, "");
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "can't let it go"));
	drop_commands(w);
	ask(w, "h2"); /* no answer at all */
	manager_migrate_tick(w->migrate, bh_time_wall_ns(), bh_time_mono_ns() + 16 * BH_NS_PER_S);
	assert_non_null(strstr(w->text, "host h1 did not answer in time"));
	answer_command(w, "h1", "depart", json_pack("{s:i}", "connections", 1), ""); /* too late */
	assert_null(w->migrate->open);
}

/* ---- receipts ---- */

static void test_receipt_must_fit(void **state)
{
	struct world *w = *state;
	json_t *wrong = receipt(10);

	get_ready(w);
	json_object_set_new(wrong, "mark",
			    json_pack("{s:i, s:s}", "connections", 11, "hash", HASH));
	assert_int_equal(told(w, "h2", "installed", wrong), -EPERM);
	expect_notice(w, "migration.failed", "phase", "ready");
	assert_null(take_notice(w, "migration.allowed"));
	flush(w);
	assert_null(vm(w)->incoming);
	drop_commands(w);

	get_ready(w); /* one ran out meanwhile */
	wrong = receipt(10);
	json_object_set_new(wrong, "mark", json_pack("{s:i, s:s}", "connections", 11, "hash", ""));
	json_object_set_new(wrong, "expired", json_integer(1));
	assert_int_equal(told(w, "h2", "installed", wrong), 0);
}

static void test_receipt_must_be_near(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 500);
	answer_all(w);
	assert_int_equal(told(w, "h2", "installed", receipt(3)), -EPERM);
	expect_notice(w, "migration.failed", "phase", "ready");
}

/* ---- how it ends ---- */

static void later(struct world *w, uint64_t seconds)
{
	manager_migrate_tick(w->migrate, bh_time_wall_ns() + seconds * BH_NS_PER_S,
			     bh_time_mono_ns() + seconds * BH_NS_PER_S);
	flush(w);
}

static void expect_failed(struct world *w, const char *reason)
{
	expect_notice(w, "migration.failed", "reason", reason);
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(vm(w)->incoming);
	assert_false(has_segment(w, "h2"));
	assert_true(has_segment(w, "h1"));
	drop_commands(w);
}

static void test_nobody_ends_it(void **state)
{
	struct world *w = *state;

	get_ready(w);
	later(w, 30);
	assert_non_null(w->migrate->open);
	later(w, 70);
	expect_failed(w, "the target did not say that it holds the VM's connections");

	get_installed(w);
	later(w, 100);
	assert_non_null(w->migrate->open);
	later(w, 160);
	expect_failed(w, "the VM did not appear at the target");

	get_installed(w);
	report(w, "h2", "paused");
	later(w, 170); /* memory may take long */
	assert_non_null(w->migrate->open);
	report(w, "h2", NULL);
	assert_non_null(w->migrate->open); /* an older inventory may come late */
	report(w, "h2", "paused");
	later(w, 4);
	assert_non_null(w->migrate->open);
	report(w, "h2", "shutoff");
	later(w, 4);
	expect_failed(w, "the VM is gone at the target");

	get_installed(w);
	report(w, "h2", "paused");
	host(w, "h2")->last_seen_ns = w->migrate->begun_ns = 1;
	later(w, 0);
	expect_failed(w, "the target has been silent for 180 s");
}

/* Without the last word the VM has moved all the same, a little later. */
static void test_cut(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	report(w, "h1", "shutoff");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_int_equal(told(w, "h2", "cut", NULL), 0);
	expect_notice(w, "migration.cut", "target", "h2");
	flush(w);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	expect_record(w, "done", "asked counted applied installed runs cut moved");
	drop_commands(w);
	report(w, "h1", "shutoff"); /* it is merely defined there */
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(take_notice(w, "host.conflict"));
}

static void test_no_last_word(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	report(w, "h1", NULL);
	assert_non_null(vm(w)); /* nobody has it for this moment, but it is not forgotten */
	later(w, 1);
	assert_non_null(w->migrate->open);
	later(w, 6);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
}

/* A source that is lost can't say that it has stopped the VM. */
static void test_source_is_lost(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	host(w, "h1")->last_seen_ns = w->migrate->begun_ns = 1;
	later(w, 6);
	later(w, 12);
	assert_ptr_equal(vm(w)->host, host(w, "h1")); /* it may run there: memory is on the way */
	report(w, "h2", "running");
	later(w, 6);
	later(w, 12);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
}

static void test_source_can_end_it_only_before(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h1", "failed", NULL), 0);
	assert_non_null(w->migrate->open);
	assert_int_equal(told(w, "h3", "failed", NULL), -ENOENT);
}

/* ---- starts on the way ---- */

static void test_start_needs_no_question(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = vm_json("shutoff");
	struct manager_vm *found = NULL;

	get_ready(w);
	assert_false(manager_migrate_may_start(w->migrate, vm(w), host(w, "h2")));
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	assert_true(manager_migrate_may_start(w->migrate, vm(w), host(w, "h2")));
	assert_false(manager_migrate_may_start(w->migrate, vm(w), host(w, "h3")));
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h2"), said, 1, &found, NULL), 0);
	assert_ptr_equal(found, vm(w));
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_string_equal(vm(w)->report.state, "running");
	assert_false(vm(w)->arrival.there); /* a start is no proof */
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h3"), said, 1, &found, NULL),
			 MANAGER_REPORT_CONFLICT);
}

/* What the target learns while the VM arrives is the VM's. */
static void test_learned_on_the_way(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:s, s:i}", "vm", VM, "mac", MAC, "address",
					 "10.0.0.77", "lease_s", 600);

	assert_int_equal(
		manager_inventory_learned(w->inv, host(w, "h2"), body, bh_time_wall_ns(), NULL),
		-ENOENT);
	get_installed(w);
	assert_int_equal(
		manager_inventory_learned(w->inv, host(w, "h2"), body, bh_time_wall_ns(), NULL), 0);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h2", "final", NULL), 0);
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_int_equal(vm(w)->nics[0].learned_count, 1);
}

/* One claim, wherever it stands: no conflict with itself. */
static void test_one_claim(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(manager_conflict_count(w->inv), 0);
	report(w, "h1", "shutoff");
	assert_int_equal(manager_conflict_count(w->inv), 0);
	assert_null(take_notice(w, "address.conflict"));
}

/* ---- what comes from elsewhere, or out of a file ---- */

static void test_from_nobody_of_ours(void **state)
{
	struct world *w = *state;
	json_t *said = vm_json("paused");

	json_object_set_new(said, "uuid", json_string("00000000-0000-4000-8000-000000000002"));
	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), "mac",
			    json_string("52:54:00:00:00:02"));
	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), "addresses",
			    json_pack("[s]", "10.0.0.2"));
	ask_json(w, "h2", json_incref(said), "live");
	assert_false(w->answered);
	assert_int_equal(w->command_count, 0);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "");
	expect_notice(w, "migration.allowed", "source", "");
	{
		BH_JSON json_t *vms = json_pack("[o]", said);
		BH_JSON json_t *rejected = NULL;

		json_object_set_new(said, "state", json_string("running"));
		assert_int_equal(manager_inventory_report(w->inv, host(w, "h2"), vms,
							  bh_time_wall_ns(), &rejected, NULL),
				 0);
		manager_migrate_look(w->migrate, host(w, "h2"));
	}
	expect_notice(w, "vm.migrated", "to", "h2");
	assert_null(w->migrate->open);
}

/* Saved on h1, restored on h2: its connections come along when h1 still has them. */
static void test_restore(void **state)
{
	struct world *w = *state;

	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	depart(w, 4);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "h1");
	assert_int_equal(told(w, "h2", "installed", receipt(4)), 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_string_equal(manager_place_how_name(vm(w)->place.how), "restore");
}

static void test_restore_without_source(void **state)
{
	struct world *w = *state;

	ask_json(w, "h2", vm_json("paused"), "restore");
	assert_non_null(strstr(w->text, "stop it there before it is restored"));
	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	answer_command(w, "h1", "depart", NULL, "gone");
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "");
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(w->migrate->open);
}

/* Undefined here, defined and started there. */
static void test_cold(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = vm_json("shutoff");
	BH_JSON json_t *places = NULL;
	struct manager_vm *found = NULL;

	report(w, "h1", "shutoff");
	report(w, "h1", NULL);
	assert_null(vm(w));
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h2"), said, bh_time_wall_ns(),
						 &found, NULL),
			 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	places = manager_vm_places(w->inv, vm(w));
	assert_int_equal(json_array_size(places), 2); /* known by its UUID */
	assert_string_equal(bh_json_str_or(json_array_get(places, 1), "host", ""), "h1");
}

/* ---- the manager starts anew ---- */

static void restart(struct world *w)
{
	struct bh_hash images[2];
	static const char *const names[] = {"h1", "h2"};

	for (size_t i = 0; i < 2; i++) {
		images[i] = *bh_image_hash(host(w, names[i])->sync->installed->image);
	}
	stop_manager(w);
	start_manager(w);
	for (size_t i = 0; i < 2; i++) {
		manager_distribute_hello(w->dist, host(w, names[i]), &images[i]);
	}
	assert_int_equal(w->asked_count, 0); /* no host sees a change */
}

static void expect_listed(struct world *w, const char *name, const char *role, const char *phase)
{
	BH_JSON json_t *list = manager_migrate_of_host(w->migrate, host(w, name));

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "migration", ""), w->id);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "role", ""), role);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "phase", ""), phase);
}

static void test_restart(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *of_h3 = NULL;

	get_ready(w);
	restart(w);
	expect_listed(w, "h1", "source", "ready");
	expect_listed(w, "h2", "target", "ready");
	of_h3 = manager_migrate_of_host(w->migrate, host(w, "h3"));
	assert_int_equal(json_array_size(of_h3), 0);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	restart(w);
	expect_listed(w, "h2", "target", "installed");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	report(w, "h2", "paused");
	assert_int_equal(told(w, "h2", "final", NULL), 0);
	restart(w);
	report(w, "h1", NULL);
	restart(w); /* no host has said that it has it */
	assert_non_null(vm(w));
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	drop_commands(w);
	restart(w);
	assert_null(w->migrate->open);
	expect_record(w, "done", "asked counted applied installed final runs moved");
	assert_string_equal(vm(w)->place.migration, w->id);
}

/* Before it was decided nothing was changed. */
static void test_restart_before(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 10);
	w->asked_count = 0;
	w->answered = false;
	stop_manager(w);
	start_manager(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "late");
	assert_null(w->migrate->open);
	assert_null(vm(w)->incoming);
}

/* A host that is removed takes its migrations with it. */
static void test_removed(void **state)
{
	struct world *w = *state;

	get_installed(w);
	manager_migrate_forget(w->migrate, host(w, "h2"));
	expect_notice(w, "migration.failed", "reason", "the target was removed");
	drop_commands(w);
	assert_null(vm(w)->incoming);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_walk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_network_of_one_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals_are_limited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_need_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tables_need_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_apply_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_says_no, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receipt_must_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receipt_must_be_near, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobody_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_last_word, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_can_end_it_only_before, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_start_needs_no_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_learned_on_the_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_claim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_from_nobody_of_ours, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restore, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restore_without_source, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
