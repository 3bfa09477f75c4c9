/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: what hosts list that another host has. A VM is at one place, so such a word is put aside;
 * but it becomes true when the place ends: a VM that moved while no hostd watched is claimed by its
 * new host before the old one has said that it is gone, and hosts repeat themselves only once a
 * minute. A claim lasts until its host's next inventory leaves the VM out.
 */
#include "manager/inventory/inventory.h"

#include <utlist.h>

static void claim_free(struct manager_claim *c)
{
	DL_DELETE(c->vm->claims, c);
	DL_DELETE2(c->host->claims, c, host_prev, host_next);
	manager_report_done(&c->report);
	free(c);
}

static struct manager_claim *find(const struct manager_vm *vm, const struct manager_host *host)
{
	struct manager_claim *c;

	DL_FOREACH (vm->claims, c) {
		if (c->host == host) {
			return c;
		}
	}
	return NULL;
}

void manager_claim_put(struct manager_vm *vm, struct manager_host *host,
		       struct manager_report *report)
{
	struct manager_claim *c = find(vm, host);

	if (!c) {
		c = bh_alloc(sizeof(*c));
		c->vm = vm;
		c->host = host;
		DL_APPEND(vm->claims, c);
		DL_APPEND2(host->claims, c, host_prev, host_next);
	}
	manager_report_done(&c->report);
	c->report = *report;
	memset(report, 0, sizeof(*report));
}

void manager_claim_drop(struct manager_vm *vm, const struct manager_host *host)
{
	struct manager_claim *c = find(vm, host);

	if (c) {
		claim_free(c);
	}
}

void manager_vm_drop_claims(struct manager_vm *vm)
{
	while (vm->claims) {
		claim_free(vm->claims);
	}
}

void manager_host_drop_claims(struct manager_host *host)
{
	while (host->claims) {
		claim_free(host->claims);
	}
}

/* The oldest one of a host that runs the VM; else, when that will do, of one that has it. */
static struct manager_claim *best(const struct manager_vm *vm, bool defined, uint64_t now_ns)
{
	struct manager_claim *c, *other = NULL;

	DL_FOREACH (vm->claims, c) {
		if (manager_host_lost(c->host, now_ns) ||
		    c->host->vm_count >= MANAGER_VMS_PER_HOST) {
			continue;
		}
		if (manager_report_running(&c->report)) {
			return c;
		}
		other = other ? other : c;
	}
	return defined ? other : NULL;
}

void manager_vm_settle(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns)
{
	struct manager_report report;
	struct manager_host *host;
	struct manager_claim *c;

	if (vm->incoming || (vm->host && manager_report_running(&vm->report))) {
		return;
	}
	c = best(vm, !vm->host, now_ns);
	if (!c) {
		return;
	}
	host = c->host;
	report = c->report;
	c->report = (struct manager_report){};
	claim_free(c);
	if (manager_vm_set_report(inv, vm, &report, NULL) == 0) {
		manager_vm_attach(inv, vm, host);
		vm->last_seen_ns = now_ns;
		manager_vm_place(inv, vm, now_ns);
	}
	manager_report_done(&report); /* when it was not taken */
}
