/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a VM and of a migration its owner sees. Where it runs, names of hosts, of networks and of
 * what is beside it are the provider's business, so a tenant gets what is on a list of members and
 * nothing else: a member that is added to the full answer is not shown until it is put there.
 */
#ifndef BH_MANAGER_API_SHOWN_H
#define BH_MANAGER_API_SHOWN_H

#include "manager/api/request.h"

/* Does the caller see the provider's side (host.read)? */
bool manager_request_sees_hosts(struct manager_request *req);
/* As much of manager_vm_json() as the caller may see. Owned. */
json_t *manager_vm_shown(struct manager_request *req, const struct manager_vm *vm);
json_t *manager_nic_shown(struct manager_request *req, json_t *nic); /* takes nic over */
json_t *manager_migration_shown(struct manager_request *req, json_t *migration); /* as that */

#endif
