/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a tenant may have: policies, rules in them, labels of a VM, flow events that are kept. A
 * commit that would give a tenant more than its quota is refused with the numbers; one that leaves
 * it with less than before is not, so a quota that was lowered never holds a clean-up back. The
 * provider has none: he could lift it. Loop thread only.
 */
#ifndef BH_MANAGER_CHANGE_QUOTA_H
#define BH_MANAGER_CHANGE_QUOTA_H

#include "manager/change/change.h"

#define MANAGER_MONITORS_MAX 50 /* policies that a tenant watches */
#define MANAGER_QUOTA_MAX    1000000000

enum manager_quota {
	MANAGER_QUOTA_POLICIES,
	MANAGER_QUOTA_RULES,
	MANAGER_QUOTA_LABELS, /* of one VM, without those of Bulkhead; identify.c holds it */
	MANAGER_QUOTA_EVENTS, /* about flows, kept of an hour (events/ration.h) */
	MANAGER_QUOTA_COUNT
};
const char *manager_quota_name(enum manager_quota what); /* "policies" */
/* Is there a number of what the tenant has now? */
bool manager_quota_counts(enum manager_quota what);
uint64_t manager_quota_default(enum manager_quota what);
uint64_t manager_quota_of(const struct manager_change *change, const char *tenant,
			  enum manager_quota what);
/* Policies and rules that a tenant has in a set. */
uint64_t manager_quota_used(const struct bh_policy_set *set, const char *tenant,
			    enum manager_quota what);
/* MANAGER_COMMIT_QUOTA with the numbers when a tenant of the changes would have too much. */
[[nodiscard]] int manager_quota_check(const struct manager_change *change,
				      const struct bh_policy_set *set, const json_t *changes,
				      struct bh_diag *diag);
/* MANAGER_COMMIT_QUOTA when a VM of the tenant may not have so many labels. */
[[nodiscard]] int manager_quota_labels(const struct manager_change *change, const char *tenant,
				       size_t count, struct bh_diag *diag);
/* A manager_ration_fn; arg is a struct manager_inventory with its database. */
uint64_t manager_quota_events(uint32_t tenant, void *arg);

#endif
