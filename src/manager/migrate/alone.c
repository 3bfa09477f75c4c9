/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations that went on while the manager was away: both hosts name them when they say hello, and
 * from then on they are as any other. Before the first image goes out to either host the VM has its
 * second place, so it is never taken from the host where it runs now. */
#include "manager/migrate/grant.h"
#include "manager/migrate/placement.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "model/id.h"

#include <errno.h>

#define ALONE_MAX   64 /* that one host may name */
#define AGE_MAX_S   (30 * 86400ull)
#define ID_HEX_SIZE 16 /* bytes */

BH_COUNTER(migrate_adopted, "migrations taken up that went on without the manager");
BH_COUNTER(migrate_not_adopted, "migrations without the manager that no policy allows");

static bool may(const struct manager_inventory *inv, const struct manager_vm *vm,
		const struct manager_host *target)
{
	BH_FREE struct bh_policy_label *labels = NULL;
	struct bh_policy_subject subject = {};
	const struct bh_policy *policy;

	if (!vm->identity || !vm->tenant || !inv->policies) {
		return false;
	}
	subject.tenant = vm->tenant->name;
	subject.label_count = manager_identity_labels(vm->identity, &labels);
	subject.labels = labels;
	return bh_policy_without_manager(inv->policies, &subject, &policy) &&
	       manager_placement_takes(inv, &subject, target);
}

struct said {
	const char *id, *peer;
	struct manager_host *source, *target;
	struct manager_vm *vm;
	uint64_t begun_ns;
	bool final;
};

/* What the host says, as far as it makes sense. */
static int read_said(const struct manager_migrate *part, struct manager_host *host,
		     const json_t *item, struct said *ret, struct bh_diag *diag)
{
	struct manager_inventory *inv = part->o.inv;
	uint64_t now_s = bh_time_wall_ns() / BH_NS_PER_S;
	uint64_t begun_s = bh_json_u64_or(item, "begun", now_s);
	const char *vm = bh_json_str_or(item, "vm", "");
	bool target = strcmp(bh_json_str_or(item, "role", ""), "target") == 0;
	uint8_t id[ID_HEX_SIZE];
	struct manager_host *peer;

	ret->id = bh_json_str_or(item, "migration", "");
	ret->peer = bh_json_str_or(item, "peer", "");
	ret->final = json_is_true(json_object_get(item, "final"));
	peer = manager_host_find(inv, ret->peer);
	HASH_FIND_STR(inv->vms, vm, ret->vm);
	if (bh_hex_parse(ret->id, id, sizeof(id)) < 0 || !peer || peer == host || !ret->vm) {
		return bh_diag_set(diag, -EINVAL, "VM '%.40s' or host '%.64s' is not known", vm,
				   ret->peer);
	}
	ret->source = target ? peer : host;
	ret->target = target ? host : peer;
	if (begun_s > now_s || begun_s + AGE_MAX_S < now_s) {
		begun_s = now_s;
	}
	ret->begun_ns = begun_s * BH_NS_PER_S;
	return 0;
}

static int check_said(const struct manager_migrate *part, const struct said *said,
		      struct bh_diag *diag)
{
	const struct manager_migration *open = manager_migration_of_vm(part, said->vm->uuid);

	if (open) {
		return bh_diag_set(diag, -EPERM, "migration %.12s of VM %s is open already",
				   open->id, said->vm->report.name);
	}
	if (said->vm->host != said->source) {
		return bh_diag_set(diag, -EPERM, "VM %s was not on host %s", said->vm->report.name,
				   said->source->name);
	}
	if (!may(part->o.inv, said->vm, said->target)) {
		return bh_diag_set(diag, -EPERM,
				   "no policy lets VM %s migrate to host %s without the manager",
				   said->vm->report.name, said->target->name);
	}
	return 0;
}

static void adopt(struct manager_migrate *part, const struct said *said)
{
	struct manager_migration *m = manager_migration_new(part);
	struct bh_diag diag = {};

	snprintf(m->id, sizeof(m->id), "%s", said->id);
	memcpy(m->vm, said->vm->uuid, sizeof(m->vm));
	free(m->vm_name);
	m->vm_name = bh_strdup(said->vm->report.name);
	free(m->tenant);
	m->tenant = bh_strdup(said->vm->tenant->name);
	snprintf(m->source, sizeof(m->source), "%s", said->source->name);
	snprintf(m->target, sizeof(m->target), "%s", said->target->name);
	m->begun_ns = said->begun_ns;
	m->begun_mono_ns = 0; /* by nobody of this run */
	m->final = said->final;
	manager_migration_step(m, "alone", NULL);
	manager_migration_enter(m, MANAGER_MIGRATION_INSTALLED);
	HASH_ADD_STR(part->open, id, m);
	manager_vm_expect(part->o.inv, said->vm, said->target);
	if (manager_migration_save(m, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "migrate", "migration %s: %s", m->id, diag.text);
	}
	bh_counter_add(&migrate_adopted, 1);
	bh_log(BH_LOG_INFO, "migrate", "%s went from %s to %s while the manager was away",
	       m->vm_name, m->source, m->target);
	manager_migration_notice(m, "migration.allowed", "info",
				 json_pack("{s:b}", "without_manager", 1));
}

/* The other host was quicker, or it is a repeat, maybe of one that is over. */
static bool known(struct manager_migrate *part, const struct manager_host *host, const json_t *item)
{
	const char *id = bh_json_str_or(item, "migration", "");
	struct manager_migration *m;

	HASH_FIND_STR(part->open, id, m);
	if (m) {
		m->final = m->final || (json_is_true(json_object_get(item, "final")) &&
					(strcmp(m->source, host->name) == 0 ||
					 strcmp(m->target, host->name) == 0));
		return true;
	}
	m = manager_migration_ended(part, id);
	if (!m) {
		return false;
	}
	manager_migration_free(m);
	return true;
}

bool manager_migrate_adopt(struct manager_migrate *part, struct manager_host *host,
			   const json_t *list)
{
	bool any = false;
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		struct said said = {};
		struct bh_diag diag = {};

		if (i == ALONE_MAX) {
			break;
		}
		if (known(part, host, item)) {
			continue;
		}
		if (read_said(part, host, item, &said, &diag) < 0 ||
		    check_said(part, &said, &diag) < 0) {
			bh_counter_add(&migrate_not_adopted, 1);
			bh_log_limited(BH_LOG_WARN, "migrate", 5,
				       "host %s names a migration without the manager: %s",
				       host->name, diag.text);
			continue;
		}
		adopt(part, &said);
		any = true;
	}
	return any;
}
