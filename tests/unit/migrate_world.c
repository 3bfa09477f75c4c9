/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_world.h"

#include "manager_world.h"
#include "policy/policy.h"

#include <errno.h>

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

void start_manager(struct world *w)
{
	struct manager_distribute_options dist = {
		.carrier = {carry_apply, carry_ping, carry_up, w}};
	struct manager_migrate_options migrate = {.command = command, .command_arg = w};
	struct bh_diag diag = {};

	manager_world_open(w->path, &w->db, &w->inv, &w->book);
	w->inv->notice = manager_world_note;
	w->inv->notice_arg = w->noticed;
	dist.inv = w->inv;
	dist.book = w->book;
	w->dist = manager_distribute_new(&dist);
	migrate.inv = w->inv;
	migrate.dist = w->dist;
	assert_int_equal(manager_migrate_new(&migrate, &w->migrate, &diag), 0);
	assert_int_equal(manager_distribute_flush(w->dist, &diag), 0);
}

void drop_commands(struct world *w)
{
	for (size_t i = 0; i < w->command_count; i++) {
		if (w->commands[i].fn) {
			w->commands[i].fn(-ECANCELED, NULL, w->commands[i].arg);
		}
		json_decref(w->commands[i].body);
	}
	w->command_count = 0;
}

void stop_manager(struct world *w)
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

void answer_all(struct world *w)
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

void flush(struct world *w)
{
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
}

struct manager_host *host(struct world *w, const char *name)
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

json_t *vm_json(const char *state)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:[s]}]}", "uuid", VM, "name",
			 "web", "state", state, "tenant", "shop", "labels", "role", "web", "nics",
			 "mac", MAC, "net", "bridge/br0", "addresses", "10.0.0.1");
}

void report(struct world *w, const char *name, const char *state)
{
	BH_JSON json_t *vms = json_array();
	BH_JSON json_t *rejected = NULL;

	if (state) {
		json_array_append_new(vms, vm_json(state));
	}
	assert_int_equal(manager_inventory_report(w->inv, host(w, name), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	w->rejected = json_array_size(rejected);
	manager_distribute_seen(w->dist, host(w, name));
	manager_migrate_look(w->migrate, host(w, name));
	flush(w);
}

struct manager_vm *vm(struct world *w)
{
	struct manager_vm *found;

	HASH_FIND_STR(w->inv->vms, VM, found);
	return found;
}

int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

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

int tear_down(void **state)
{
	struct world *w = *state;

	stop_manager(w);
	json_decref(w->noticed);
	unlink(w->path);
	free(w);
	return 0;
}

/* ---- what happens in it ---- */

json_t *take_notice(struct world *w, const char *type)
{
	return manager_world_take_note(w->noticed, type);
}

void expect_notice(struct world *w, const char *type, const char *key, const char *value)
{
	BH_JSON json_t *notice = take_notice(w, type);

	if (!notice) {
		fail_msg("no event %s", type);
	}
	assert_string_equal(bh_json_str_or(notice, key, ""), value);
}

void ask_json(struct world *w, const char *target, json_t *vm_said, const char *why)
{
	BH_JSON json_t *body = json_pack("{s:o, s:s, s:[{s:s, s:i}]}", "vm", vm_said, "why", why,
					 "by", "user", "root", "uid", 0);

	w->answered = false;
	manager_migrate_ask(w->migrate, host(w, target), body, on_answer, w);
}

void ask(struct world *w, const char *target)
{
	ask_json(w, target, vm_json("paused"), "live");
}

void answer_command(struct world *w, const char *to, const char *type, json_t *reply,
		    const char *code)
{
	struct command c = w->commands[0];
	BH_JSON json_t *body = c.body;
	BH_JSON json_t *refusal =
		reply ? NULL : json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", "test");
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
	json_decref(reply);
}

int told(struct world *w, const char *from, const char *phase, json_t *receipt)
{
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:o*}", "migration", w->id, "phase", phase,
					 "receipt", receipt);

	return manager_migrate_told(w->migrate, host(w, from), body, NULL);
}

json_t *receipt(int connections)
{
	return json_pack("{s:i, s:s, s:i, s:{s:i, s:s}}", "connections", connections, "hash", HASH,
			 "bytes", 100, "mark", "connections", connections, "hash", HASH);
}

void depart(struct world *w, int connections)
{
	answer_command(
		w, "h1", "depart",
		json_pack("{s:i, s:[{s:s}]}", "connections", connections, "by", "user", "admin"),
		"");
}

void get_ready(struct world *w)
{
	ask(w, "h2");
	depart(w, 10);
	answer_all(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "ok");
}

void get_installed(struct world *w)
{
	get_ready(w);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	json_decref(take_notice(w, "migration.allowed"));
}

static void add(json_t *migration, void *arg)
{
	json_array_append_new(arg, migration);
}

json_t *record(struct world *w)
{
	struct manager_migration_filter filter = {.limit = 1};
	BH_JSON json_t *list = json_array();

	assert_int_equal(manager_migrate_list(w->migrate, &filter, true, add, list, NULL), 0);
	assert_int_equal(json_array_size(list), 1);
	return json_incref(json_array_get(list, 0));
}

void expect_record(struct world *w, const char *state, const char *steps)
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

bool has_segment(struct world *w, const char *name)
{
	const struct manager_sync *sync = host(w, name)->sync;

	return sync->installed && bh_image_get(sync->installed->image, "vm:" VM);
}
