/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each rule decided, and when last; and so, which rules never do.
 *
 * Theory of operation
 *   Hosts are asked in turn for the counters of their kernels: how many first packets and refused
 *   ones each rule had at each NIC since the counter exists. What is more than last time is added
 *   to the rule's hits, which are kept for ever under the rule's number, so they survive edits
 *   elsewhere in the policy, restarts of hosts and of the manager. What a host's kernel had
 *   counted is written together with what was made of it, in one transaction per host: a manager
 *   that was killed counts nothing twice, and what happened meanwhile is added at the first
 *   answer. A counter that is smaller than last time is a new one. Between two answers the time
 *   of the last hit is that of the answer, at most MANAGER_HITS_EVERY_S late.
 *   What hosts say is foreign: rules that no document has had are passed over, each host is looked
 *   at up to HITS_ITEMS_MAX counters.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_CHANGE_HITS_H
#define BH_MANAGER_CHANGE_HITS_H

#include "manager/change/change.h"

#define MANAGER_HITS_EVERY_S 30
#define MANAGER_HITS_SAVE_S  300

struct manager_hits;
[[nodiscard]] int manager_hits_new(struct manager_change *change, struct manager_hits **ret,
				   struct bh_diag *diag);
/* Writes what is not written yet; NULL is fine. */
void manager_hits_free(struct manager_hits *hits);
/* Asks those whose turn it is; every second. */
void manager_hits_tick(struct manager_hits *hits, uint64_t mono_ns);
/* A host's answer: [{"rule", "dir", "packets", "vm", "nic"}]. */
void manager_hits_take(struct manager_hits *hits, const char *host, const json_t *rules,
		       uint64_t wall_ns);
/* Writes what this host's answers added. */
[[nodiscard]] int manager_hits_save(struct manager_hits *hits, const char *host,
				    struct bh_diag *diag);

struct manager_hit {
	uint64_t count;
	uint64_t last_ns; /* wall clock; 0: never */
};
struct manager_hit manager_hits_of(const struct manager_hits *hits, uint32_t rule);

#endif
