/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which host may run a VM: placements of policies against labels of hosts, and maintenance. Asked
 * by births and migrations; VMs that run already where they may not are told once per change (event
 * `vm.misplaced`), never touched.
 *
 * Works on the inventory and the policies in force. Loop thread only.
 */
#ifndef BH_MANAGER_MIGRATE_PLACEMENT_H
#define BH_MANAGER_MIGRATE_PLACEMENT_H

#include "manager/inventory/inventory.h"

/* May the VM, as it is known, run on this host? 0, or -EPERM with a sentence for whoever runs
 * virsh. Maintenance is no reason on the host that it is on. */
[[nodiscard]] int manager_placement_check(const struct manager_inventory *inv,
					  const struct manager_vm *vm,
					  const struct manager_host *host, struct bh_diag *diag);
/* The same for a VM as a host describes it, before the inventory has taken that: what the API says
 * of the VM of that UUID counts too. Bad descriptions pass; the inventory refuses them. */
[[nodiscard]] int manager_placement_check_birth(const struct manager_inventory *inv,
						const json_t *vm, const struct manager_host *host,
						struct bh_diag *diag);
/* Do the placements of the VM's policies take this host, whatever else is with it? There are
 * policies. */
bool manager_placement_takes(const struct manager_inventory *inv,
			     const struct bh_policy_subject *vm, const struct manager_host *host);
/* After policies, labels or places have changed: which VMs run where they may not? Sets
 * vm->misplaced and tells what is new. */
void manager_placement_review(struct manager_inventory *inv);
/* The VMs that run where they may, and would not under these policies: {"vms": [{"vm", "name",
 * "tenant", "host", "why"}], "total"}, the first 200. Owned. */
json_t *manager_placement_preview(const struct manager_inventory *inv,
				  const struct bh_policy_set *set);

#endif
