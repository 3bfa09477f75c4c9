/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that have a second place for a while, because they travel. Which ones, and for how long, is
 * decided in migrate/. */
#include "manager/inventory/inventory.h"

#include <utlist.h>

bool manager_vm_lives(const struct manager_vm *vm)
{
	return vm->incoming || manager_report_running(&vm->report);
}

static void forget_arrival(struct manager_vm *vm)
{
	manager_report_done(&vm->arrival.report);
	vm->arrival = (struct manager_arrival){};
}

void manager_vm_expect(struct manager_inventory *inv, struct manager_vm *vm,
		       struct manager_host *target)
{
	if (vm->incoming == target) {
		return;
	}
	manager_vm_unexpect(inv, vm);
	vm->incoming = target;
	DL_APPEND2(target->incoming, vm, in_prev, in_next);
	target->incoming_count++;
	manager_vm_touch(inv, vm);
}

void manager_vm_unexpect(struct manager_inventory *inv, struct manager_vm *vm)
{
	if (!vm->incoming) {
		return;
	}
	manager_vm_touch(inv, vm);
	DL_DELETE2(vm->incoming->incoming, vm, in_prev, in_next);
	vm->incoming->incoming_count--;
	if (vm->arrival.there && vm->arrival.report.name && vm->host != vm->incoming) {
		manager_claim_put(vm, vm->incoming, &vm->arrival.report); /* it may run there */
	}
	vm->incoming = NULL;
	forget_arrival(vm);
}

void manager_vm_arriving(struct manager_inventory *inv, struct manager_vm *vm,
			 struct manager_report *report, bool listed, uint64_t now_ns)
{
	struct manager_arrival *a = &vm->arrival;

	if (report) {
		manager_report_done(&a->report);
		a->report = *report;
		memset(report, 0, sizeof(*report));
	}
	if (!listed) {
		return;
	}
	a->there = report && manager_report_running(&a->report);
	if (a->there) {
		a->was_there = true;
		a->gone_ns = 0;
	} else if (a->was_there && !a->gone_ns) {
		a->gone_ns = now_ns;
	}
	inv->dirty = true;
}

int manager_vm_move(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns,
		    struct bh_diag *diag)
{
	struct manager_host *target = vm->incoming;
	struct manager_report report = vm->arrival.report;
	int r = 0;

	vm->arrival.report = (struct manager_report){};
	if (report.name) {
		r = manager_vm_set_report(inv, vm, &report, diag);
	}
	manager_report_done(&report);
	manager_vm_unexpect(inv, vm);
	manager_claim_drop(vm, target);
	manager_vm_attach(inv, vm, target);
	vm->last_seen_ns = now_ns;
	manager_vm_place(inv, vm, now_ns);
	return r;
}
