/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From recorded flows to a policy: "what does app=web talk to", written as rules that allow it.
 *
 * Theory of operation
 *   A worker puts the flows of the selected VMs together by direction, other end and service. The
 *   other ends are generalised: VMs to one label, the one that the selection itself speaks of where
 *   every peer has it, else the common one with the fewest values, else all labels of each; what is
 *   no VM to its addresses, or to `entity: world` when there are many; ports of one peer to a range
 *   when there are many. Ends with the same services share a rule. Every rule says in a comment how
 *   many connections stand behind it and when the last one was.
 *   The text is read again and every flow is judged by it: `covered` is how many it allows, so a
 *   flow that could not be put into words shows. What built-in rules allow anyway (DHCP, DNS and
 *   ping to the host) is left out.
 */
#ifndef BH_MANAGER_CHANGE_SUGGEST_H
#define BH_MANAGER_CHANGE_SUGGEST_H

#include "manager/change/world.h"

#define MANAGER_SUGGEST_LABELS_MAX 8
#define MANAGER_SUGGEST_GROUPS_MAX 500000
#define MANAGER_SUGGEST_RULES_MAX  1000

struct manager_suggest_options {
	struct manager_world *world; /* sets[1] NULL */
	const char *tenant;
	const struct bh_policy_label *labels; /* what the VMs must have; at least one */
	size_t label_count;
	uint64_t since_ns;
	bool refused; /* take flows that were refused too, not only what was allowed */
	struct manager_scope scope;
	uint64_t limit_ms;
	const atomic_bool *cancel;
};
/* In a worker. *ret_json (owned) is Suggestion of docs/api.yaml. */
[[nodiscard]] int manager_suggest_run(const struct manager_suggest_options *options,
				      json_t **ret_json, struct bh_diag *diag);

#endif
