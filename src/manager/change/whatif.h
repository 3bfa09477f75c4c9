/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What recorded flows say about a change of policies: which of them would get another verdict.
 *
 * Theory of operation
 *   A worker reads the talks of the window. Only VMs that other policies would judge than now
 *   matter, so most rows are passed over after two look-ups. The others are judged under both
 *   sets, at both of their ends, by the documents themselves (policy/eval.h), once for what the
 *   documents can't tell apart (judge.h). What changes is put together by identities, service and
 *   addresses, and told by pair and service, most flows first.
 *   Bounded: WHATIF_GROUPS_MAX that change and a time; when either ends it the answer says that it
 *   is not complete.
 *   Not seen: VMs that get another identity by the change itself (policies that name VMs or
 *   addresses of VMs anew); they are judged by the identity that they had. The answer says so
 *   (`by_name`).
 */
#ifndef BH_MANAGER_CHANGE_WHATIF_H
#define BH_MANAGER_CHANGE_WHATIF_H

#include "manager/change/world.h"

#define MANAGER_WHATIF_GROUPS_MAX  4000000
#define MANAGER_WHATIF_ANSWERS_MAX 1000000 /* kept */
#define MANAGER_WHATIF_ENTRIES_MAX 500
#define MANAGER_WHATIF_DAYS_MAX	   365

struct manager_whatif_options {
	struct manager_world *world;
	uint64_t since_ns, until_ns;
	struct manager_scope scope;    /* whose flows, and whose names are told */
	struct manager_scope policies; /* whose rules are told */
	size_t entries;		       /* at most; 0: 100 */
	uint64_t limit_ms;	       /* 0: none */
	const atomic_bool *cancel;     /* NULL: none */
};
/* In a worker. *ret_json (owned) is Flows of docs/api.yaml. */
[[nodiscard]] int manager_whatif_run(const struct manager_whatif_options *options,
				     json_t **ret_json, struct bh_diag *diag);

#endif
