/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts say while a VM travels: the target's word on the capsule, and what their inventories
 * mean for it. */
#include "manager/migrate/migrate.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "model/capsule.h"

#include <errno.h>

#define READY_NS  (60 * BH_NS_PER_S)  /* for the target to fetch the capsule */
#define APPEAR_NS (150 * BH_NS_PER_S) /* for the VM to be in the target's inventory */
#define GONE_NS	  (3 * BH_NS_PER_S)
#define FINAL_NS  (5 * BH_NS_PER_S)   /* for the last word after the source has stopped it */
#define LANDED_NS (600 * BH_NS_PER_S) /* from the end, in which it should be seen running */

#define FEW_EXPECTED 100

BH_COUNTER(migrate_allowed, "migrations allowed: the target had read everything back");
BH_COUNTER(migrate_cut, "migrations whose last word from the source came too late");

/* ---- what the target tells ---- */

/* What ran out between the two is in neither of the sums (docs/migration.md). */
static bool fits_mark(const json_t *receipt, uint64_t count, const char *hash)
{
	const json_t *mark = json_object_get(receipt, "mark");

	return count == bh_json_u64_or(mark, "connections", UINT64_MAX) &&
	       !strcmp(hash, bh_json_str_or(mark, "hash", ""));
}

static int check_receipt(struct manager_migration *m, const json_t *receipt, struct bh_diag *diag)
{
	const char *hash = bh_json_str_or(receipt, "hash", "");
	uint64_t count = bh_json_u64_or(receipt, "connections", 0);
	uint64_t expired = bh_json_u64_or(receipt, "expired", 0);
	struct bh_hash parsed;

	if (bh_hash_parse(hash, &parsed) < 0 || expired > BH_CAPSULE_CONNS_MAX ||
	    count > BH_CAPSULE_CONNS_MAX) {
		return bh_diag_set(diag, -EINVAL, "the receipt has no hash");
	}
	if (!fits_mark(receipt, count, hash)) {
		return bh_diag_set(diag, -EPERM,
				   "host %s holds other connections than host %s sent", m->target,
				   m->source);
	}
	if (m->expected >= FEW_EXPECTED && count + expired < m->expected / 2) {
		return bh_diag_set(diag, -EPERM,
				   "host %s holds %llu connections of about %llu that host %s has",
				   m->target, (unsigned long long)count,
				   (unsigned long long)m->expected, m->source);
	}
	m->connections = count;
	m->bytes = bh_json_u64_or(receipt, "bytes", 0);
	snprintf(m->hash, sizeof(m->hash), "%s", hash);
	return 0;
}

void manager_migration_allowed(struct manager_migration *m)
{
	bh_counter_add(&migrate_allowed, 1);
	manager_migration_notice(m, "migration.allowed", "info",
				 json_pack("{s:I, s:s}", "connections", (json_int_t)m->connections,
					   "hash", m->hash));
}

static int told_installed(struct manager_migration *m, const json_t *body, struct bh_diag *diag)
{
	const json_t *receipt = json_object_get(body, "receipt");
	struct bh_diag own = {};
	int r;

	diag = diag ? diag : &own;
	if (m->state >= MANAGER_MIGRATION_INSTALLED) {
		return 0; /* a repeat: it is in the store */
	}
	if (m->state < MANAGER_MIGRATION_READY) {
		return bh_diag_set(diag, -EINVAL, "migration %s is not decided yet", m->id);
	}
	r = check_receipt(m, receipt, diag);
	if (r == -EPERM) {
		manager_migration_fail(m, diag->text);
	}
	if (r < 0) {
		return r;
	}
	manager_migration_step(m, "installed",
			       json_pack("{s:s, s:I, s:I}", "hash", m->hash, "connections",
					 (json_int_t)m->connections, "bytes",
					 (json_int_t)m->bytes));
	manager_migration_enter(m, MANAGER_MIGRATION_INSTALLED);
	r = manager_migration_save(m, diag);
	if (r < 0) {
		manager_migration_enter(m, MANAGER_MIGRATION_READY);
		return r;
	}
	manager_migration_allowed(m);
	return 0;
}

static void note_last(struct manager_migration *m, const json_t *body, bool cut)
{
	const json_t *receipt = json_object_get(body, "receipt");
	const char *why = bh_json_str_or(body, "why", "");

	m->final = true;
	manager_migration_step(m, cut ? "cut" : "final",
			       json_pack("{s:s, s:I, s:s}", "hash",
					 bh_json_str_or(receipt, "hash", ""), "connections",
					 (json_int_t)bh_json_u64_or(receipt, "connections", 0),
					 "why", why));
	manager_migration_save_end(m);
	if (cut) {
		bh_counter_add(&migrate_cut, 1);
		manager_migration_notice(m, "migration.cut", "warning",
					 json_pack("{s:s}", "reason", why));
	}
}

static int told_last(struct manager_migration *m, const json_t *body, bool cut,
		     struct bh_diag *diag)
{
	if (m->state < MANAGER_MIGRATION_INSTALLED) {
		return bh_diag_set(diag, -EINVAL, "migration %s was not allowed yet", m->id);
	}
	if (m->final) {
		return 0; /* a repeat */
	}
	manager_migration_enter(m, MANAGER_MIGRATION_FINAL);
	note_last(m, body, cut);
	manager_migration_look(m, bh_time_wall_ns());
	return 0;
}

/* The inventories were faster than the last word. */
static bool told_late(struct manager_migrate *part, const struct manager_host *host,
		      const json_t *body)
{
	const char *id = bh_json_str_or(body, "migration", "");
	const char *phase = bh_json_str_or(body, "phase", "");
	struct manager_migration *landed, *m;
	bool mine;

	HASH_FIND_STR(part->landed, id, landed);
	m = landed ? landed : manager_migration_ended(part, id);
	mine = m && m->state == MANAGER_MIGRATION_DONE && strcmp(m->target, host->name) == 0 &&
	       (strcmp(phase, "final") == 0 || strcmp(phase, "cut") == 0);
	if (mine && !m->final) {
		note_last(m, body, strcmp(phase, "cut") == 0);
	}
	if (m && !landed) {
		manager_migration_free(m);
	}
	return mine;
}

static int told_failed(struct manager_migration *m, const struct manager_host *host,
		       const json_t *body)
{
	const char *why = bh_json_str_or(body, "why", "");
	const struct manager_vm *vm = manager_migration_vm(m);
	BH_FREE char *text = bh_asprintf("host %s: %.300s", host->name, *why ? why : "no reason");

	/* The source alone can't make a VM leave the host that runs it. */
	if (strcmp(host->name, m->target) == 0 || !vm || !vm->arrival.there ||
	    m->state < MANAGER_MIGRATION_INSTALLED) {
		manager_migration_fail(m, text);
	}
	return 0;
}

int manager_migrate_told(struct manager_migrate *part, struct manager_host *host,
			 const json_t *body, struct bh_diag *diag)
{
	const char *id = bh_json_str_or(body, "migration", "");
	const char *phase = bh_json_str_or(body, "phase", "");
	struct manager_migration *m;
	bool target;

	HASH_FIND_STR(part->open, id, m);
	target = m && strcmp(m->target, host->name) == 0;
	if (!m && told_late(part, host, body)) {
		return 0;
	}
	if (!m || (!target && strcmp(m->source, host->name) != 0)) {
		return bh_diag_set(diag, -ENOENT, "no migration %.40s of this host is open", id);
	}
	if (strcmp(phase, "failed") == 0) {
		return told_failed(m, host, body);
	}
	if (target && strcmp(phase, "installed") == 0) {
		return told_installed(m, body, diag);
	}
	if (target && (strcmp(phase, "final") == 0 || strcmp(phase, "cut") == 0)) {
		return told_last(m, body, strcmp(phase, "cut") == 0, diag);
	}
	return bh_diag_set(diag, -EINVAL, "unknown phase '%.40s'", phase);
}

/* ---- what inventories tell ---- */

/* While the manager itself was away it heard nobody. */
static bool silent(const struct manager_migrate *part, const struct manager_host *host,
		   uint64_t now_ns)
{
	uint64_t seen = host ? host->last_seen_ns : 0;

	return !host ||
	       (seen > part->begun_ns ? seen : part->begun_ns) + MANAGER_SILENT_NS < now_ns;
}

/* One that came as if it started: it has no second place. */
static void look_birth(struct manager_migration *m, struct manager_vm *vm, uint64_t now_ns)
{
	bool here = vm && vm->host && strcmp(vm->host->name, m->target) == 0;

	if (here && strcmp(vm->report.state, "running") == 0) {
		manager_migration_finish(m);
	} else if (here && manager_report_running(&vm->report)) {
		return; /* starting, or its memory is on the way */
	} else if (m->state_ns + GONE_NS < now_ns) {
		manager_migration_fail(m, "the VM does not run at the target");
	}
}

/* The target has it and the source has not: it has moved, as soon as the last word was said. */
static void look_arrived(struct manager_migration *m, uint64_t now_ns)
{
	if (!m->left_ns) {
		m->left_ns = now_ns;
	}
	if (m->restore || m->final || m->left_ns + FINAL_NS < now_ns) {
		manager_migration_finish(m);
	}
}

static void note_run(struct manager_migration *m)
{
	if (!m->ran) {
		manager_migration_step(m, "runs", NULL);
	}
	m->ran = true;
}

void manager_migration_look(struct manager_migration *m, uint64_t now_ns)
{
	struct manager_vm *vm = manager_migration_vm(m);
	const struct manager_arrival *a = vm ? &vm->arrival : NULL;
	bool source_runs, arrived;

	if (m->state < MANAGER_MIGRATION_READY) {
		return;
	}
	if (!*m->source) {
		look_birth(m, vm, now_ns);
		return;
	}
	if (!vm || !vm->incoming) {
		manager_migration_fail(m, "the VM or the target is not known any more");
		return;
	}
	source_runs = vm->host && manager_report_running(&vm->report);
	arrived = a->there && !source_runs;
	if (a->there && strcmp(a->report.state, "running") == 0) {
		note_run(m);
		/* A source that is lost can't say that it stopped it. */
		arrived = arrived || silent(m->part, vm->host, now_ns);
	}
	m->left_ns = arrived ? m->left_ns : 0;
	if (arrived) {
		look_arrived(m, now_ns);
	} else if (a->gone_ns && a->gone_ns + GONE_NS < now_ns) {
		manager_migration_fail(m, source_runs ? "the VM is gone at the target"
						      : "no host runs the VM");
	} else if (!a->was_there && m->state == MANAGER_MIGRATION_READY &&
		   m->state_ns + READY_NS < now_ns) {
		manager_migration_fail(m,
				       "the target did not say that it holds the VM's connections");
	} else if (!a->was_there && m->state_ns + APPEAR_NS < now_ns) {
		manager_migration_fail(m, "the VM did not appear at the target");
	} else if (silent(m->part, vm->incoming, now_ns)) {
		manager_migration_fail(m, "the target has been silent for 180 s");
	}
}

void manager_migration_look_landed(struct manager_migration *m, uint64_t now_ns)
{
	const struct manager_vm *vm = manager_migration_vm(m);
	/* it has been there since, or is about to start there */
	bool here = vm && (strcmp(vm->place.migration, m->id) == 0 ||
			   strcmp(vm->next_migration, m->id) == 0);

	if (here && strcmp(vm->report.state, "running") == 0) {
		note_run(m);
		manager_migration_save_end(m);
	} else if (here && now_ns < m->ended_ns + LANDED_NS) {
		return;
	}
	HASH_DEL(m->part->landed, m);
	manager_migration_free(m);
}

void manager_migrate_look(struct manager_migrate *part, struct manager_host *host)
{
	struct manager_migration *m, *tmp;
	uint64_t now = bh_time_wall_ns();

	HASH_ITER (hh, part->landed, m, tmp) {
		if (strcmp(m->target, host->name) == 0) {
			manager_migration_look_landed(m, now);
		}
	}
	HASH_ITER (hh, part->open, m, tmp) {
		if (strcmp(m->source, host->name) == 0 || strcmp(m->target, host->name) == 0) {
			manager_migration_look(m, now);
		}
	}
}
