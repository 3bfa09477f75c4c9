/* SPDX-License-Identifier: Apache-2.0 */
/* One migration as a record: steps, JSON, the store. */
#include "manager/migrate/migrate.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <sodium.h>

#define ROW_MAX	    (1u << 20)
#define STEPS_MAX   64
#define PEOPLE_MAX  8
#define MEMBERS_MAX 8
#define TEXT_MAX    128
#define LATE_NS	    (3600 * BH_NS_PER_S) /* since when one began that may still be seen to run */

static const char *const state_names[] = {"asked", "applying", "ready",	 "installed",
					  "final", "done",     "failed", "refused"};

const char *manager_migration_state_name(enum manager_migration_state state)
{
	return state_names[state];
}

struct manager_migration *manager_migration_of_vm(const struct manager_migrate *part,
						  const char *vm)
{
	struct manager_migration *m, *tmp;

	HASH_ITER (hh, part->open, m, tmp) {
		if (strcmp(m->vm, vm) == 0) {
			return m;
		}
	}
	return NULL;
}

struct manager_migration *manager_migration_new(struct manager_migrate *part)
{
	struct manager_migration *m = bh_alloc(sizeof(*m));
	uint8_t random[16];

	randombytes_buf(random, sizeof(random));
	bh_hex_format(random, sizeof(random), m->id);
	m->part = part;
	m->vm_name = bh_strdup("");
	m->tenant = bh_strdup("");
	m->reason = bh_strdup("");
	m->by = json_array();
	m->steps = json_array();
	m->begun_ns = m->state_ns = m->step_ns = bh_time_wall_ns();
	m->begun_mono_ns = m->step_mono_ns = bh_time_mono_ns();
	return m;
}

void manager_migration_free(struct manager_migration *m)
{
	json_decref(m->by);
	json_decref(m->steps);
	json_decref(m->asked);
	free(m->vm_name);
	free(m->tenant);
	free(m->reason);
	free(m);
}

void manager_migration_step(struct manager_migration *m, const char *name, json_t *more)
{
	uint64_t now = bh_time_wall_ns(), mono = bh_time_mono_ns();
	uint64_t took = m->step_mono_ns	   ? mono - m->step_mono_ns
			: now > m->step_ns ? now - m->step_ns
					   : 0;
	char time[BH_TIME_TEXT_SIZE];
	json_t *step;

	m->step_ns = now;
	m->step_mono_ns = mono;
	if (json_array_size(m->steps) >= STEPS_MAX) {
		json_decref(more);
		return;
	}
	bh_time_format(now, time);
	step = json_pack("{s:s, s:s, s:f}", "step", name, "time", time, "ms",
			 (double)(took / 1000) / 1000);
	if (more) {
		json_object_update(step, more);
		json_decref(more);
	}
	json_array_append_new(m->steps, step);
}

json_t *manager_migration_phases(const struct manager_migration *m)
{
	json_t *phases = json_object();
	size_t i;
	json_t *step;

	json_array_foreach (m->steps, i, step) {
		json_object_set(phases, bh_json_str_or(step, "step", ""),
				json_object_get(step, "ms"));
	}
	return phases;
}

/* ---- who ---- */

static bool harmless(const char *s)
{
	if (strlen(s) > TEXT_MAX) {
		return false;
	}
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			return false;
		}
	}
	return true;
}

json_t *manager_migration_people(const json_t *by)
{
	json_t *people = json_array();
	size_t i;
	json_t *one, *value;
	const char *key;

	json_array_foreach (by, i, one) {
		json_t *clean;

		if (json_array_size(people) >= PEOPLE_MAX || !json_is_object(one)) {
			continue;
		}
		clean = json_object();
		json_object_foreach (one, key, value) {
			if (json_object_size(clean) < MEMBERS_MAX && harmless(key) &&
			    ((json_is_string(value) && harmless(json_string_value(value))) ||
			     json_is_integer(value) || json_is_boolean(value))) {
				json_object_set(clean, key, value);
			}
		}
		json_array_append_new(people, clean);
	}
	return people;
}

/* ---- JSON ---- */

json_t *manager_migration_json(const struct manager_migration *m, bool steps)
{
	uint64_t end = m->ended_ns ? m->ended_ns : bh_time_wall_ns();
	json_t *obj =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "id", m->id, "vm", m->vm,
			  "vm_name", m->vm_name, "tenant", m->tenant, "source", m->source, "target",
			  m->target, "why", m->restore ? "restore" : "live", "state",
			  state_names[m->state], "open", !m->ended_ns);

	json_object_set_new(obj, "begun", bh_json_time_or_null(m->begun_ns));
	json_object_set_new(obj, "ended", bh_json_time_or_null(m->ended_ns));
	json_object_set_new(obj, "ms",
			    json_integer(end > m->begun_ns
						 ? (json_int_t)((end - m->begun_ns) / BH_NS_PER_MS)
						 : 0));
	json_object_set(obj, "by", m->by);
	json_object_set_new(obj, "connections", json_integer((json_int_t)m->connections));
	json_object_set_new(obj, "bytes", json_integer((json_int_t)m->bytes));
	json_object_set_new(obj, "hash", *m->hash ? json_string(m->hash) : json_null());
	json_object_set_new(obj, "reason", *m->reason ? json_string(m->reason) : json_null());
	if (steps) {
		json_object_set(obj, "steps", m->steps);
	}
	return obj;
}

/* ---- the store ---- */

/* Beside what the API shows, what a later run of the manager needs to go on. */
int manager_migration_save(const struct manager_migration *m, struct bh_diag *diag)
{
	BH_JSON json_t *body = manager_migration_json(m, true);
	BH_FREE char *text = NULL;
	struct manager_store_migration row = {.id = m->id,
					      .vm = m->vm,
					      .state = state_names[m->state],
					      .begun_ns = m->begun_ns,
					      .ended_ns = m->ended_ns};

	json_object_set_new(body, "internal",
			    json_pack("{s:I, s:I, s:I, s:b, s:b}", "state_ns",
				      (json_int_t)m->state_ns, "step_ns", (json_int_t)m->step_ns,
				      "expected", (json_int_t)m->expected, "final", m->final, "ran",
				      m->ran));
	text = bh_json_dump(body);
	row.body = text;
	return manager_store_put_migration(m->part->o.inv->db, &row, diag);
}

static void copy(char *to, size_t size, const json_t *json, const char *key)
{
	snprintf(to, size, "%s", bh_json_str_or(json, key, ""));
}

/* A row as it was when it was saved; NULL when it can't be read. */
static struct manager_migration *read_row(struct manager_migrate *part,
					  const struct manager_store_migration *row)
{
	BH_JSON json_t *body = NULL;
	struct manager_migration *m;
	const json_t *internal;

	if (bh_json_load(row->body, strlen(row->body), ROW_MAX, &body, NULL) < 0) {
		bh_log(BH_LOG_ERROR, "migrate", "stored migration %s can't be read", row->id);
		return NULL;
	}
	m = manager_migration_new(part);
	snprintf(m->id, sizeof(m->id), "%s", row->id);
	snprintf(m->vm, sizeof(m->vm), "%s", row->vm);
	free(m->vm_name);
	m->vm_name = bh_strdup(bh_json_str_or(body, "vm_name", ""));
	free(m->tenant);
	m->tenant = bh_strdup(bh_json_str_or(body, "tenant", ""));
	copy(m->source, sizeof(m->source), body, "source");
	copy(m->target, sizeof(m->target), body, "target");
	copy(m->hash, sizeof(m->hash), body, "hash");
	m->restore = strcmp(bh_json_str_or(body, "why", ""), "restore") == 0;
	json_decref(m->by);
	m->by = manager_migration_people(json_object_get(body, "by"));
	if (json_is_array(json_object_get(body, "steps"))) {
		json_decref(m->steps);
		m->steps = json_incref(json_object_get(body, "steps"));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(state_names); i++) {
		if (strcmp(row->state, state_names[i]) == 0) {
			m->state = (enum manager_migration_state)i;
		}
	}
	internal = json_object_get(body, "internal");
	m->begun_ns = row->begun_ns;
	m->ended_ns = row->ended_ns;
	m->state_ns = bh_json_u64_or(internal, "state_ns", row->begun_ns);
	m->step_ns = bh_json_u64_or(internal, "step_ns", row->begun_ns);
	m->begun_mono_ns = m->step_mono_ns = 0;
	m->expected = bh_json_u64_or(internal, "expected", 0);
	m->connections = bh_json_u64_or(body, "connections", 0);
	m->bytes = bh_json_u64_or(body, "bytes", 0);
	m->final = json_is_true(json_object_get(internal, "final"));
	m->ran = json_is_true(json_object_get(internal, "ran"));
	return m;
}

static int load_one(const struct manager_store_migration *row, void *arg)
{
	struct manager_migrate *part = arg;
	struct manager_migration *m = read_row(part, row);

	if (m) {
		HASH_ADD_STR(part->open, id, m);
	}
	return 0;
}

static int load_landed(const struct manager_store_migration *row, void *arg)
{
	struct manager_migrate *part = arg;
	struct manager_migration *m =
		row->ended_ns && strcmp(row->state, state_names[MANAGER_MIGRATION_DONE]) == 0
			? read_row(part, row)
			: NULL;

	if (m && !m->ran && *m->source) {
		HASH_ADD_STR(part->landed, id, m);
	} else if (m) {
		manager_migration_free(m);
	}
	return 0;
}

struct find_arg {
	struct manager_migrate *part;
	struct manager_migration *found;
};

static int find_row(const struct manager_store_migration *row, void *arg)
{
	struct find_arg *a = arg;

	a->found = read_row(a->part, row);
	return 1;
}

struct manager_migration *manager_migration_ended(struct manager_migrate *part, const char *id)
{
	struct manager_store_migration_filter filter = {.id = id};
	struct find_arg a = {part, NULL};

	if (strlen(id) == MANAGER_MIGRATION_ID_SIZE - 1) {
		(void)!manager_store_migrations(part->o.inv->db, &filter, find_row, &a, NULL);
	}
	return a.found;
}

static int by_time(const struct manager_migration *a, const struct manager_migration *b)
{
	return (a->begun_ns > b->begun_ns) - (a->begun_ns < b->begun_ns);
}

int manager_migrations_load(struct manager_migrate *part, struct bh_diag *diag)
{
	struct manager_store_migration_filter open = {.open = true};
	struct manager_store_migration_filter late = {.since_ns = part->begun_ns - LATE_NS};
	int r = manager_store_migrations(part->o.inv->db, &open, load_one, part, diag);

	HASH_SORT(part->open, by_time);
	return r < 0 ? r
		     : manager_store_migrations(part->o.inv->db, &late, load_landed, part, diag);
}

/* ---- asking ---- */

struct list_arg {
	const struct manager_migrate *part;
	bool steps;
	manager_migration_fn *fn;
	void *arg;
	uint64_t left;
};

static int list_row(const struct manager_store_migration *row, void *arg)
{
	struct list_arg *a = arg;
	struct manager_migration *m;
	json_t *body = NULL;

	if (!a->left) {
		return 1;
	}
	HASH_FIND_STR(a->part->open, row->id, m);
	if (m || bh_json_load(row->body, strlen(row->body), ROW_MAX, &body, NULL) < 0) {
		return 0; /* told from memory */
	}
	json_object_del(body, "internal");
	if (!a->steps) {
		json_object_del(body, "steps");
	}
	a->left--;
	a->fn(body, a->arg);
	return 0;
}

int manager_migrate_list(const struct manager_migrate *part,
			 const struct manager_migration_filter *filter, bool steps,
			 manager_migration_fn *fn, void *arg, struct bh_diag *diag)
{
	struct list_arg a = {part, steps, fn, arg, filter->limit ? filter->limit : UINT64_MAX};
	struct manager_store_migration_filter rows = {.vm = filter->vm,
						      .id = filter->id,
						      .open = filter->open,
						      .since_ns = filter->since_ns};
	BH_FREE struct manager_migration **open =
		bh_alloc_array(HASH_COUNT(part->open) + 1, sizeof(struct manager_migration *));
	struct manager_migration *m, *tmp;
	size_t count = 0;
	int r;

	HASH_ITER (hh, part->open, m, tmp) {
		open[count++] = m;
	}
	while (count-- > 0) { /* they were added one after the other */
		m = open[count];
		if (a.left && m->begun_ns >= filter->since_ns &&
		    (!filter->vm || strcmp(filter->vm, m->vm) == 0) &&
		    (!filter->id || strncmp(filter->id, m->id, strlen(filter->id)) == 0)) {
			a.left--;
			fn(manager_migration_json(m, steps), arg);
		}
	}
	r = manager_store_migrations(part->o.inv->db, &rows, list_row, &a, diag);
	return r < 0 ? r : 0;
}
