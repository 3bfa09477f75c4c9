/* SPDX-License-Identifier: Apache-2.0 */
/* How a migration begins, goes on and ends. The theory of operation is in the header. */
#include "manager/migrate/migrate.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>

#define DECIDE_NS  (15 * BH_NS_PER_S) /* the hook waits for 20 s */
#define DEPART_MS  5000
#define COMMAND_MS 5000
#define TRIM_NS	   (3600 * BH_NS_PER_S)

#define KEEP_PLACES    500000
#define KEEP_PLACES_NS (30 * 86400 * BH_NS_PER_S) /* of VMs that nobody has */
#define KEEP_REFUSED   2000
#define KEEP	       10000
#define REFUSALS_MAX   30 /* written down and told per host and minute */

BH_COUNTER(migrate_asked, "migrations that hosts asked for");
BH_COUNTER(migrate_refused, "migrations refused");
BH_COUNTER(migrate_refused_untold, "refused migrations that a host asked for too often to tell");
BH_COUNTER(migrate_done, "VMs that arrived");
BH_COUNTER(migrate_failed, "migrations that were allowed or prepared and did not happen");
BH_COUNTER(migrate_taken_up, "open migrations taken up after a restart");
BH_COUNTER(migrate_store_failed, "ends of migrations that the store did not take");

/* ---- telling ---- */

void manager_migration_notice(struct manager_migration *m, const char *type, const char *severity,
			      json_t *more)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "migration", m->id, "vm", m->vm,
				 "vm_name", m->vm_name, "tenant", m->tenant, "source", m->source,
				 "target", m->target);

	json_object_set(body, "by", m->by);
	if (more) {
		json_object_update(body, more);
		json_decref(more);
	}
	manager_inventory_notice(m->part->o.inv, type, severity, body);
}

static void answer(struct manager_migration *m, const struct manager_migrate_answer *a)
{
	manager_migrate_answer_fn *fn = m->answer;

	m->answer = NULL;
	if (fn) {
		fn(a, m->answer_arg);
	}
}

static void command(struct manager_migration *m, const char *host, json_t *body)
{
	struct manager_migrate *part = m->part;

	json_object_set_new(body, "migration", json_string(m->id));
	if (!part->o.command || part->closing || !*host) {
		json_decref(body);
		return;
	}
	/* Who does not hear it learns with the next hello that this migration is over. */
	part->o.command(host, body, COMMAND_MS, NULL, NULL, part->o.command_arg);
}

static void tell_hosts(struct manager_migration *m, const char *result)
{
	const char *why = m->reason;

	command(m, m->source,
		json_pack("{s:s, s:s, s:s}", "type", "depart-end", "result", result, "why", why));
	command(m, m->target,
		json_pack("{s:s, s:s, s:s}", "type", "arrive-end", "result", result, "why", why));
}

void manager_migration_enter(struct manager_migration *m, enum manager_migration_state state)
{
	m->state = state;
	m->state_ns = bh_time_wall_ns();
}

struct manager_vm *manager_migration_vm(const struct manager_migration *m)
{
	struct manager_vm *vm;

	HASH_FIND_STR(m->part->o.inv->vms, m->vm, vm);
	return vm;
}

static void set_reason(struct manager_migration *m, const char *reason)
{
	free(m->reason);
	m->reason = bh_strdup(reason);
}

/* ---- ending ---- */

void manager_migration_save_end(struct manager_migration *m)
{
	struct bh_diag diag = {};

	if (manager_migration_save(m, &diag) < 0) {
		bh_counter_add(&migrate_store_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "migrate", 3, "migration %s: the store failed: %s",
			       m->id, diag.text);
	}
}

/* It is over: no second place, nobody waits, it is not among the open ones. */
static void close_it(struct manager_migration *m, enum manager_migration_state state)
{
	struct manager_migrate *part = m->part;
	struct manager_vm *vm = manager_migration_vm(m);

	manager_migration_enter(m, state);
	m->ended_ns = m->state_ns;
	if (m->wait) {
		manager_wait_cancel(part->o.dist, bh_steal(&m->wait));
	}
	if (vm && state != MANAGER_MIGRATION_DONE && strcmp(vm->next_migration, m->id) == 0) {
		manager_vm_place_next(vm, "start", "");
	}
	if (vm && vm->incoming && strcmp(vm->incoming->name, m->target) == 0) {
		manager_vm_unexpect(part->o.inv, vm);
		manager_vm_drop_gone(part->o.inv, vm, m->state_ns);
	}
	manager_distribute_schedule(part->o.dist);
	HASH_DEL(part->open, m);
}

/* A host that asks again and again must not fill the store or the events. */
static bool worth_telling(const struct manager_migration *m)
{
	struct manager_host *h = manager_host_find(m->part->o.inv, m->target);

	if (!h) {
		return true;
	}
	if (h->refusals.since_ns + 60 * BH_NS_PER_S < m->ended_ns) {
		h->refusals.since_ns = m->ended_ns;
		h->refusals.count = 0;
	}
	if (++h->refusals.count > REFUSALS_MAX) {
		bh_counter_add(&migrate_refused_untold, 1);
		return false;
	}
	return true;
}

static void refuse(struct manager_migration *m, const char *code, const char *reason)
{
	struct manager_migrate_answer a = {.code = code, .id = m->id, .source = m->source};
	bool tell;

	set_reason(m, reason);
	a.text = m->reason;
	bh_counter_add(&migrate_refused, 1);
	if (m->departed) {
		command(m, m->source,
			json_pack("{s:s, s:s, s:s}", "type", "depart-end", "result", "failed",
				  "why", reason));
	}
	manager_migration_step(m, "refused", NULL);
	close_it(m, MANAGER_MIGRATION_REFUSED);
	tell = worth_telling(m);
	if (tell) {
		bh_log(BH_LOG_WARN, "migrate", "%s may not come to %s: %s", m->vm_name, m->target,
		       reason);
		manager_migration_save_end(m);
	}
	answer(m, &a);
	if (tell) {
		manager_migration_who_refused(m);
	} else {
		manager_migration_free(m);
	}
}

void manager_migration_fail(struct manager_migration *m, const char *reason)
{
	const char *phase = manager_migration_state_name(m->state);

	if (m->state < MANAGER_MIGRATION_READY) {
		refuse(m, "refused", reason);
		return;
	}
	bh_counter_add(&migrate_failed, 1);
	set_reason(m, reason);
	tell_hosts(m, "failed");
	manager_migration_step(m, "failed",
			       json_pack("{s:s, s:s}", "phase", phase, "reason", reason));
	bh_log(BH_LOG_WARN, "migrate", "%s did not move from %s to %s (%s): %s", m->vm_name,
	       *m->source ? m->source : "another host", m->target, phase, reason);
	close_it(m, MANAGER_MIGRATION_FAILED);
	manager_migration_save_end(m);
	manager_migration_notice(m, "migration.failed", "warning",
				 json_pack("{s:s, s:s}", "phase", phase, "reason", reason));
	manager_migration_free(m);
}

static json_t *hash_of(const struct manager_host *host)
{
	char hash[2 * BH_HASH_SIZE + 1] = "";

	if (host && host->sync && host->sync->installed) {
		bh_hash_format(bh_image_hash(host->sync->installed->image), hash);
	}
	return json_pack("{s:s}", "hash", hash);
}

static void place_next(const struct manager_migration *m, struct manager_vm *vm)
{
	manager_vm_place_next(vm, m->restore ? "restore" : "migration", m->id);
}

/* The VM lives at the target. */
void manager_migration_finish(struct manager_migration *m)
{
	struct manager_migrate *part = m->part;
	struct manager_vm *vm = manager_migration_vm(m);
	struct bh_diag diag = {};

	bh_counter_add(&migrate_done, 1);
	if (vm->incoming) {
		place_next(m, vm);
		if (manager_vm_move(part->o.inv, vm, bh_time_wall_ns(), &diag) < 0) {
			bh_log(BH_LOG_ERROR, "migrate", "%s: %s", m->vm_name, diag.text);
		}
	}
	tell_hosts(m, "done");
	manager_migration_step(m, "moved", hash_of(vm->host));
	close_it(m, MANAGER_MIGRATION_DONE);
	manager_migration_save_end(m);
	bh_log(BH_LOG_INFO, "migrate", "%s moved from %s to %s", m->vm_name,
	       *m->source ? m->source : "another host", m->target);
	manager_migration_notice(m, "vm.migrated", "info",
				 json_pack("{s:s, s:s, s:o, s:I}", "from", m->source, "to",
					   m->target, "ms", manager_migration_phases(m),
					   "connections", (json_int_t)m->connections));
	if (m->ran || !*m->source) {
		manager_migration_free(m);
	} else { /* the target's inventory is still to say that it runs */
		HASH_ADD_STR(part->landed, id, m);
	}
}

/* ---- deciding ---- */

static void allow(struct manager_migration *m)
{
	const struct manager_host *target = manager_host_find(m->part->o.inv, m->target);
	struct manager_migrate_answer a = {.id = m->id, .source = m->source};
	struct bh_diag diag = {};
	json_t *step = hash_of(target);

	a.hash = *bh_image_hash(target->sync->installed->image);
	json_object_set_new(step, "revision", json_integer(target->sync->revision));
	manager_migration_step(m, "applied", step);
	json_decref(m->asked);
	m->asked = NULL;
	manager_migration_enter(m,
				*m->source ? MANAGER_MIGRATION_READY : MANAGER_MIGRATION_INSTALLED);
	if (manager_migration_save(m, &diag) < 0) {
		m->state = MANAGER_MIGRATION_APPLYING;
		refuse(m, "store", diag.text);
		return;
	}
	if (!*m->source) { /* nothing to fetch: this was the last question */
		manager_migration_allowed(m);
	}
	answer(m, &a);
}

static void on_applied(bool all, void *arg)
{
	struct manager_migration *m = arg;
	const struct manager_host *target = manager_host_find(m->part->o.inv, m->target);
	BH_FREE char *why = NULL;

	m->wait = NULL;
	if (all && target && target->sync && target->sync->installed) {
		allow(m);
		return;
	}
	why = bh_asprintf("host %s did not confirm the VM's policy: %s", m->target,
			  target && target->sync && *target->sync->problem ? target->sync->problem
									   : "no answer in time");
	refuse(m, "refused", why);
}

static void apply(struct manager_migration *m, struct manager_host *target)
{
	struct manager_distribute *dist = m->part->o.dist;
	uint64_t now = bh_time_mono_ns();
	struct bh_diag diag = {};

	manager_migration_enter(m, MANAGER_MIGRATION_APPLYING);
	if (manager_distribute_flush(dist, &diag) < 0) {
		refuse(m, "store", diag.text);
		return;
	}
	m->wait = manager_distribute_wait(
		dist, &target, 1,
		m->deadline_mono_ns > now ? (m->deadline_mono_ns - now) / BH_NS_PER_MS : 1,
		on_applied, m);
	if (target->sync && manager_sync_in_sync(target->sync)) {
		manager_wait_cancel(dist, m->wait);
		on_applied(true, m);
	}
}

/* Nothing comes along: as for a VM that starts there. */
static void apply_birth(struct manager_migration *m, struct manager_host *target)
{
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};

	m->source[0] = '\0';
	/* It is not there yet, whatever its memory says: its place begins when it is. */
	json_object_set_new(m->asked, "state", json_string("starting"));
	if (manager_inventory_birth(m->part->o.inv, target, m->asked, bh_time_wall_ns(), &vm,
				    &diag) != 0) {
		refuse(m, "refused", diag.text);
		return;
	}
	place_next(m, vm);
	apply(m, target);
}

/* Gives the VM its second place, if the tables there have room for it. */
static int make_room(struct manager_migration *m, struct manager_vm *vm,
		     struct manager_host *target, struct bh_diag *diag)
{
	BH_JSON json_t *list = NULL;
	const json_t *first;
	int r = manager_distribute_flush(m->part->o.dist, diag); /* everything is built then */

	if (r < 0) {
		return r;
	}
	manager_vm_expect(m->part->o.inv, vm, target);
	list = manager_distribute_overflow_at(target);
	if (!list) {
		return 0;
	}
	first = json_array_get(list, 0);
	return bh_diag_set(
		diag, -ENOSPC,
		"the tables of host %s are too small for VM %s: %s would be %llu of %llu",
		target->name, m->vm_name, bh_json_str_or(first, "table", ""),
		(unsigned long long)bh_json_u64_or(first, "need", 0),
		(unsigned long long)bh_json_u64_or(first, "capacity", 0));
}

static bool connections_fit(const struct manager_migration *m, const struct manager_host *target,
			    struct bh_diag *diag)
{
	uint64_t most = bh_json_u64_or(json_object_get(target->hello, "capacity"), "cts", 0);
	uint64_t left = most > m->used ? most - m->used : 0;

	if (!most || m->expected <= left) {
		return true;
	}
	bh_diag_set(diag, -ENOSPC,
		    "host %s has room for %llu more connections, VM %s has %llu; raise "
		    "`connections` there or wait until some have ended",
		    m->target, (unsigned long long)left, m->vm_name,
		    (unsigned long long)m->expected);
	return false;
}

/* What a question to the source comes back to: the migration may be over meanwhile. */
struct departing {
	struct manager_migrate *part;
	char id[MANAGER_MIGRATION_ID_SIZE];
};

static void departs(struct manager_migration *m, const json_t *reply)
{
	struct manager_host *target = manager_host_find(m->part->o.inv, m->target);
	struct manager_vm *vm = manager_migration_vm(m);
	BH_JSON json_t *people = manager_migration_people(json_object_get(reply, "by"));
	struct bh_diag diag = {};

	m->expected = bh_json_u64_or(reply, "connections", 0);
	json_array_extend(m->by, people);
	manager_migration_step(m, "counted",
			       json_pack("{s:I}", "connections", (json_int_t)m->expected));
	if (!vm || !target || !vm->host || strcmp(vm->host->name, m->source) != 0) {
		refuse(m, "refused", "the VM or the host is gone meanwhile");
		return;
	}
	if (!connections_fit(m, target, &diag) || make_room(m, vm, target, &diag) < 0) {
		refuse(m, "refused", diag.text);
		return;
	}
	apply(m, target);
}

static void on_depart(int err, const struct bh_bus_msg *reply, void *arg)
{
	BH_FREE struct departing *d = arg;
	struct manager_migration *m;
	struct manager_host *target;
	BH_FREE char *why = NULL;

	HASH_FIND_STR(d->part->open, d->id, m);
	if (!m || m->state != MANAGER_MIGRATION_ASKED || d->part->closing) {
		return;
	}
	target = manager_host_find(d->part->o.inv, m->target);
	if (err == 0) {
		departs(m, reply->json);
	} else if (m->restore && target &&
		   (err < 0 || strcmp(bh_bus_reply_code(err, reply), "gone") == 0)) {
		apply_birth(m, target);
	} else {
		why = err > 0 && strcmp(bh_bus_reply_code(err, reply), "gone") == 0
			      ? bh_asprintf("host %s says that VM %s does not run there", m->source,
					    m->vm_name)
			      : bh_asprintf("host %s, on which VM %s runs, can't let it go: %s",
					    m->source, m->vm_name, bh_bus_reply_text(err, reply));
		refuse(m, "refused", why);
	}
}

static void depart(struct manager_migration *m)
{
	struct manager_migrate *part = m->part;
	struct departing *d = bh_alloc(sizeof(*d));

	d->part = part;
	m->departed = true;
	memcpy(d->id, m->id, sizeof(d->id));
	part->o.command(m->source,
			json_pack("{s:s, s:s, s:s, s:s}", "type", "depart", "migration", m->id,
				  "vm", m->vm, "target", m->target),
			DEPART_MS, on_depart, d, part->o.command_arg);
	manager_migration_who(m);
}

/* One that the same target began before: libvirt there has given it up. */
static void end_earlier(struct manager_migrate *part, const char *vm, const char *target)
{
	struct manager_migration *m = manager_migration_of_vm(part, vm);

	if (m && strcmp(m->target, target) == 0) {
		manager_migration_fail(m, "the target began anew");
	}
}

static struct manager_migration *begin(struct manager_migrate *part, const json_t *body,
				       const struct manager_report *report,
				       const struct manager_migrate_case *c)
{
	struct manager_migration *m = manager_migration_new(part);
	const json_t *vm = json_object_get(body, "vm");
	BH_FREE char *text = bh_json_dump(vm);
	char hash[2 * BH_HASH_SIZE + 1];
	struct bh_hasher *hasher = bh_hasher_new();
	struct bh_hash sum;

	memcpy(m->vm, report->uuid, sizeof(m->vm));
	free(m->vm_name);
	m->vm_name = bh_strdup(report->name);
	free(m->tenant);
	m->tenant = bh_strdup(c->vm && c->vm->tenant ? c->vm->tenant->name : report->tenant);
	snprintf(m->target, sizeof(m->target), "%s", c->target->name);
	m->restore = c->restore;
	m->used = bh_json_u64_or(body, "connections", 0);
	m->asked = json_deep_copy(vm);
	json_decref(m->by);
	m->by = manager_migration_people(json_object_get(body, "by"));
	m->deadline_mono_ns = bh_time_mono_ns() + DECIDE_NS;
	bh_hasher_bytes(hasher, text, strlen(text), &sum);
	bh_hasher_free(hasher);
	bh_hash_format(&sum, hash);
	manager_migration_step(m, "asked", json_pack("{s:s}", "hash", hash));
	HASH_ADD_STR(part->open, id, m);
	return m;
}

void manager_migrate_ask(struct manager_migrate *part, struct manager_host *target,
			 const json_t *body, manager_migrate_answer_fn *fn, void *arg)
{
	struct manager_migrate_case c = {.part = part, .target = target};
	struct manager_report report = {};
	struct manager_migration *m;
	struct bh_diag diag = {};
	int r;

	bh_counter_add(&migrate_asked, 1);
	if (manager_report_parse(json_object_get(body, "vm"), target->name, &report, &diag) < 0) {
		fn(&(struct manager_migrate_answer){"bad", diag.text, "", "", {}}, arg);
		return;
	}
	c.report = &report;
	c.json = json_object_get(body, "vm");
	c.restore = strcmp(bh_json_str_or(body, "why", "live"), "restore") == 0;
	end_earlier(part, report.uuid, target->name); /* which may forget the VM */
	HASH_FIND_STR(part->o.inv->vms, report.uuid, c.vm);
	r = manager_migrate_decide(&c, &diag);
	m = begin(part, body, &report, &c);
	m->answer = fn;
	m->answer_arg = arg;
	manager_report_done(&report);
	if (r < 0) {
		if (c.vm && c.vm->host && c.vm->host != target) {
			snprintf(m->source, sizeof(m->source), "%s", c.vm->host->name);
		}
		refuse(m, "refused", diag.text);
	} else if (c.ret_source) {
		snprintf(m->source, sizeof(m->source), "%s", c.ret_source->name);
		depart(m);
	} else {
		apply_birth(m, target);
	}
}

/* ---- time ---- */

static void look_decision(struct manager_migration *m, uint64_t mono_ns)
{
	const struct manager_host *target = manager_host_find(m->part->o.inv, m->target);
	const struct manager_sync *sync = target ? target->sync : NULL;
	BH_FREE char *why = NULL;

	if (m->state == MANAGER_MIGRATION_APPLYING && sync && (sync->full || sync->failed)) {
		why = bh_asprintf("host %s could not install the VM's policy: %s", m->target,
				  sync->problem);
	} else if (mono_ns >= m->deadline_mono_ns) {
		why = bh_asprintf("host %s did not answer in time",
				  m->state == MANAGER_MIGRATION_ASKED ? m->source : m->target);
	}
	if (why) {
		refuse(m, "refused", why);
	}
}

static void trim(struct manager_migrate *part, uint64_t now_ns)
{
	struct bh_diag diag = {};

	if (part->trim_ns + TRIM_NS > now_ns) {
		return;
	}
	part->trim_ns = now_ns;
	if (manager_store_trim_migrations(part->o.inv->db, KEEP_REFUSED, KEEP, &diag) < 0 ||
	    manager_store_trim_places(part->o.inv->db,
				      now_ns > KEEP_PLACES_NS ? now_ns - KEEP_PLACES_NS : 0,
				      KEEP_PLACES, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "migrate", 3, "old records stay: %s", diag.text);
	}
}

void manager_migrate_tick(struct manager_migrate *part, uint64_t now_ns, uint64_t mono_ns)
{
	struct manager_migration *m, *tmp;

	HASH_ITER (hh, part->open, m, tmp) {
		if (m->state < MANAGER_MIGRATION_READY) {
			look_decision(m, mono_ns);
		} else {
			manager_migration_look(m, now_ns);
		}
	}
	HASH_ITER (hh, part->landed, m, tmp) {
		manager_migration_look_landed(m, now_ns);
	}
	trim(part, now_ns);
}

/* ---- asking ---- */

bool manager_migrate_may_start(const struct manager_migrate *part, const struct manager_vm *vm,
			       const struct manager_host *host)
{
	const struct manager_migration *m = manager_migration_of_vm(part, vm->uuid);

	return m && vm->incoming == host && m->state >= MANAGER_MIGRATION_INSTALLED;
}

json_t *manager_migrate_of_host(const struct manager_migrate *part, const struct manager_host *host)
{
	struct manager_migration *m, *tmp;
	json_t *list = json_array();

	HASH_ITER (hh, part->open, m, tmp) {
		bool target = strcmp(m->target, host->name) == 0;

		if (!*m->source || (!target && strcmp(m->source, host->name) != 0)) {
			continue;
		}
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s, s:s}", "migration", m->id,
						"vm", m->vm, "role", target ? "target" : "source",
						"peer", target ? m->source : m->target, "phase",
						manager_migration_state_name(m->state)));
	}
	return list;
}

void manager_migrate_forget(struct manager_migrate *part, const struct manager_host *host)
{
	struct manager_migration *m, *tmp;

	HASH_ITER (hh, part->open, m, tmp) {
		if (strcmp(m->target, host->name) == 0) {
			manager_migration_fail(m, "the target was removed");
		} else if (strcmp(m->source, host->name) == 0 &&
			   m->state < MANAGER_MIGRATION_READY) {
			manager_migration_fail(m, "the source was removed");
		}
	}
}

/* ---- life ---- */

/* Those that were decided go on; the images come out as they were. */
static void take_up(struct manager_migrate *part)
{
	struct manager_migration *m, *tmp;

	HASH_ITER (hh, part->open, m, tmp) {
		struct manager_host *target = manager_host_find(part->o.inv, m->target);
		struct manager_vm *vm = manager_migration_vm(m);

		bh_counter_add(&migrate_taken_up, 1);
		if (!target || !vm || m->state < MANAGER_MIGRATION_READY) {
			manager_migration_fail(
				m,
				"the manager started anew and knows the VM or the target no more");
		} else if (*m->source && vm->host == target) {
			manager_migration_finish(m);
		} else if (*m->source) {
			manager_vm_expect(part->o.inv, vm, target);
		} else if (strcmp(vm->place.migration, m->id) != 0) {
			place_next(m, vm); /* it is still to run */
		}
	}
}

int manager_migrate_new(const struct manager_migrate_options *options, struct manager_migrate **ret,
			struct bh_diag *diag)
{
	struct manager_migrate *part = bh_alloc(sizeof(*part));
	int r;

	part->o = *options;
	part->begun_ns = bh_time_wall_ns();
	r = manager_migrations_load(part, diag);
	if (r < 0) {
		manager_migrate_free(part);
		return r;
	}
	take_up(part);
	*ret = part;
	return 0;
}

void manager_migrate_close(struct manager_migrate *part)
{
	struct manager_migration *m, *tmp;

	part->closing = true;
	HASH_ITER (hh, part->open, m, tmp) {
		if (m->wait) {
			manager_wait_cancel(part->o.dist, bh_steal(&m->wait));
		}
		answer(m,
		       &(struct manager_migrate_answer){
			       "late", "the manager is ending; try again", m->id, m->source, {}});
	}
}

void manager_migrate_free(struct manager_migrate *part)
{
	struct manager_migration *m, *tmp;

	if (!part) {
		return;
	}
	HASH_ITER (hh, part->open, m, tmp) {
		HASH_DEL(part->open, m);
		manager_migration_free(m);
	}
	HASH_ITER (hh, part->landed, m, tmp) {
		HASH_DEL(part->landed, m);
		manager_migration_free(m);
	}
	free(part);
}
