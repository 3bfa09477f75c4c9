/* SPDX-License-Identifier: Apache-2.0 */
/* May this VM come to this host? One place, one sentence each. What is known of the VM is what its
 * own host reported; the XML that travels is not believed, only compared. */
#include "manager/migrate/migrate.h"
#include "manager/migrate/placement.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

#define NO(diag, ...) bh_diag_set(diag, -EPERM, __VA_ARGS__)

/* ---- the target ---- */

static int check_target(const struct manager_migrate_case *c, struct bh_diag *diag)
{
	const struct manager_host *t = c->target;
	enum manager_sync_state state = t->sync ? manager_sync_state(t->sync) : MANAGER_SYNC_NEVER;
	struct manager_migration *m, *tmp;
	size_t open = 0;

	if (state == MANAGER_SYNC_NEVER || state == MANAGER_SYNC_OFFLINE) {
		return NO(diag,
			  "host %s is not connected to the manager; start bulkhead-hostd on it",
			  t->name);
	}
	if (state == MANAGER_SYNC_FULL || state == MANAGER_SYNC_FAILED) {
		return NO(diag,
			  "host %s is not in sync (%s); see `bulkhead host show %s` and try again",
			  t->name, t->sync->problem, t->name);
	}
	if (t->vm_count + t->incoming_count >= MANAGER_VMS_PER_HOST) {
		return NO(diag, "host %s has %d VMs, which is the most", t->name,
			  MANAGER_VMS_PER_HOST);
	}
	HASH_ITER (hh, c->part->open, m, tmp) {
		open += strcmp(m->target, t->name) == 0;
	}
	if (open >= MANAGER_MIGRATIONS_AT_MAX ||
	    HASH_COUNT(c->part->open) >= MANAGER_MIGRATIONS_OPEN_MAX) {
		return NO(diag,
			  "%zu migrations to host %s are under way; try again when some are "
			  "over",
			  open, t->name);
	}
	return 0;
}

/* ---- where it comes from ---- */

static int check_source(struct manager_migrate_case *c, struct bh_diag *diag)
{
	struct manager_host *source = c->vm ? c->vm->host : NULL;
	const char *name = c->report->name;
	bool runs = source && manager_report_running(&c->vm->report);

	if (!source || (source == c->target && !runs)) {
		return 0; /* nobody of ours runs it: like a start */
	}
	if (source == c->target) {
		return c->restore ? 0
				  : NO(diag, "VM %s runs on host %s already", name, source->name);
	}
	if (c->restore && runs) {
		return NO(diag, "VM %s runs on host %s; stop it there before it is restored", name,
			  source->name);
	}
	if (c->restore && !source->online) {
		return 0; /* what it had is lost with its host: like a start */
	}
	c->ret_source = source;
	if (!runs) {
		return c->restore
			       ? 0
			       : NO(diag,
				    "host %s says that VM %s is %s, so it cannot come from there "
				    "while it runs",
				    source->name, name, c->vm->report.state);
	}
	if (!source->online) {
		char seen[BH_TIME_TEXT_SIZE];

		bh_time_format(source->last_seen_ns, seen);
		return NO(
			diag,
			"host %s, on which VM %s runs, is not connected to the manager (last seen "
			"%s), so its connections cannot come along; start bulkhead-hostd there",
			source->name, name, seen);
	}
	return 0;
}

/* ---- what the XML says ---- */

static bool same_addrs(const struct manager_addrs *a, const struct manager_addrs *b)
{
	if (a->count != b->count) {
		return false;
	}
	bh_vec_foreach (x, a) {
		if (!manager_addrs_has(b, x->bytes)) {
			return false;
		}
	}
	return true;
}

static bool same_vlans(const struct manager_report_nic *a, const struct manager_report_nic *b)
{
	if (a->vlan_count != b->vlan_count) {
		return false;
	}
	for (size_t i = 0; i < a->vlan_count; i++) {
		bool found = false;

		for (size_t k = 0; k < b->vlan_count; k++) {
			found = found || a->vlans[i] == b->vlans[k];
		}
		if (!found) {
			return false;
		}
	}
	return true;
}

static const struct manager_report_nic *nic_of(const struct manager_report *report,
					       const uint8_t mac[6])
{
	for (size_t i = 0; i < report->nic_count; i++) {
		if (memcmp(report->nics[i].mac, mac, 6) == 0) {
			return &report->nics[i];
		}
	}
	return NULL;
}

static int check_network(const struct manager_migrate_case *c, const char *mac,
			 const struct manager_report_nic *here,
			 const struct manager_report_nic *there, struct bh_diag *diag)
{
	const char *from = c->vm->host->name, *to = c->target->name;

	if (strcmp(here->net, there->net) == 0) {
		return 0;
	}
	if (strncmp(here->net, "host/", 5) == 0) {
		return NO(
			diag,
			"NIC %s of VM %s is on network %s, which exists on host %s only; put it on "
			"a bridge that both hosts have, or shut the VM down to move it",
			mac, c->report->name, here->net, from);
	}
	if (!*there->net) {
		return NO(diag, "NIC %s of VM %s can't be protected on host %s: %s", mac,
			  c->report->name, to, *there->reason ? there->reason : "no network");
	}
	return NO(diag,
		  "NIC %s of VM %s is on network %s on host %s but would be on %s on host %s; "
		  "call them alike with `networks` in hostd.yaml or change the XML",
		  mac, c->report->name, *here->net ? here->net : "(none)", from, there->net, to);
}

static int check_nics(const struct manager_migrate_case *c, struct bh_diag *diag)
{
	const struct manager_report *here = &c->vm->report;
	const char *name = c->report->name, *from = c->vm->host->name;

	if (here->nic_count != c->report->nic_count) {
		return NO(diag, "VM %s has %zu NICs on host %s, the XML that arrived has %zu", name,
			  here->nic_count, from, c->report->nic_count);
	}
	for (size_t i = 0; i < c->report->nic_count; i++) {
		const struct manager_report_nic *nic = &c->report->nics[i];
		const struct manager_report_nic *old = nic_of(here, nic->mac);
		char mac[BH_MAC_TEXT_SIZE];

		bh_mac_format(nic->mac, mac);
		if (!old) {
			return NO(diag, "VM %s has no NIC %s on host %s, the XML that arrived has",
				  name, mac, from);
		}
		if (check_network(c, mac, old, nic, diag) < 0) {
			return -EPERM;
		}
		if (old->flags != nic->flags || !same_vlans(old, nic) ||
		    !same_addrs(&old->addresses, &nic->addresses)) {
			return NO(
				diag,
				"the XML that arrived gives NIC %s of VM %s other addresses, VLANs "
				"or rights than host %s reports; change them there first",
				mac, name, from);
		}
	}
	return 0;
}

static int check_names(const struct manager_migrate_case *c, struct bh_diag *diag)
{
	const struct manager_report *here = &c->vm->report;
	const char *name = c->report->name, *from = c->vm->host->name;

	if (strcmp(here->tenant, c->report->tenant) != 0) {
		return NO(diag,
			  "the XML of VM %s that arrived says tenant '%s', host %s reports '%s'; "
			  "change it there first or with `bulkhead vm tenant`",
			  name, c->report->tenant, from, here->tenant);
	}
	if (!json_equal(here->labels, c->report->labels)) {
		BH_FREE char *old = bh_json_dump(here->labels);
		BH_FREE char *new = bh_json_dump(c->report->labels);

		return NO(
			diag,
			"the XML of VM %s that arrived says labels %.120s, host %s reports %.120s; "
			"change them there first or with `bulkhead label set`",
			name, new, from, old);
	}
	return 0;
}

/* ---- all of it ---- */

static int check_open(const struct manager_migrate_case *c, struct bh_diag *diag)
{
	const struct manager_migration *m = manager_migration_of_vm(c->part, c->report->uuid);

	if (m && strcmp(m->target, c->target->name) != 0) {
		return NO(diag,
			  "VM %s is on its way to host %s already (migration %.12s); wait for its "
			  "end or cancel it with `virsh domjobabort`",
			  c->report->name, m->target, m->id);
	}
	return 0;
}

int manager_migrate_decide(struct manager_migrate_case *c, struct bh_diag *diag)
{
	int r = check_target(c, diag);

	if (r == 0) {
		r = check_open(c, diag);
	}
	if (r == 0) {
		r = check_source(c, diag);
	}
	if (r == 0 && c->ret_source) {
		r = check_names(c, diag);
	}
	if (r == 0 && c->ret_source) {
		r = check_nics(c, diag);
	}
	if (r == 0) {
		r = c->ret_source ? manager_placement_check(c->part->o.inv, c->vm, c->target, diag)
				  : manager_placement_check_birth(c->part->o.inv, c->json,
								  c->target, diag);
	}
	return r;
}
