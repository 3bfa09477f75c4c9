/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends, rules and services of recorded flows in words, for those who may see them: names of other
 * tenants and what their rules say are left out. Pure; works on a struct manager_world in its
 * worker.
 */
#ifndef BH_MANAGER_CHANGE_WORDS_H
#define BH_MANAGER_CHANGE_WORDS_H

#include "manager/change/world.h"

/* {"tenant", "labels"} of a VM, {"entity": "world"|"host"|"multicast"} of what is none,
 * {"entity": "another tenant"} of one that the scope does not have. Owned. */
json_t *manager_words_end(const struct manager_world *world, const struct manager_scope *scope,
			  uint32_t identity);
/* Which rule decided. Owned. */
json_t *manager_words_rule(const struct manager_world *world, const struct manager_scope *scope,
			   const struct bh_policy_verdict *verdict);
json_t *manager_words_service(const struct bh_policy_service *service); /* "tcp/443"; owned */
json_t *manager_words_time(uint32_t wall_s);				/* owned */

#endif
