/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random policies and packets for property tests: documents as text that always can be read, and
 * the small world of addresses, services and labels that they speak of. The same seed gives the
 * same documents.
 */
#ifndef BH_TESTS_UNIT_POLICY_RANDOM_H
#define BH_TESTS_UNIT_POLICY_RANDOM_H

#include "base/buf.h"
#include "policy/eval.h"

#define RANDOM_TENANTS 3 /* the provider is the first */
extern const char *const random_tenants[RANDOM_TENANTS];

struct rng {
	uint64_t state;
};
uint32_t random_next(struct rng *r, uint32_t limit);
bool random_chance(struct rng *r, uint32_t percent);

const char *random_role(struct rng *r);
const char *random_zone(struct rng *r);
const char *random_address(struct rng *r);
const struct bh_policy_service *random_service(struct rng *r);

/* A document of policy p<number>. tenant NULL: any. */
void random_policy(struct rng *r, struct bh_wbuf *w, size_t number, const char *tenant);

#endif
