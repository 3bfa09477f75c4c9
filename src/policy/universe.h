/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the policy room: tenants and identities, with an index by label. */
#ifndef BH_POLICY_UNIVERSE_H
#define BH_POLICY_UNIVERSE_H

#include "policy/compile.h"
#include "policy/doc.h"

#include <uthash.h>

typedef BH_VEC(uint32_t) policy_ids;

struct policy_tenant {
	char *name;
	uint32_t number;
	policy_ids identities; /* sorted */
	UT_hash_handle by_name;
	UT_hash_handle by_number;
};

struct policy_identity {
	uint32_t id;
	struct policy_tenant *tenant;
	struct bh_policy_label *labels; /* sorted by key, owned with their texts */
	size_t label_count;
	bool quarantined;
	UT_hash_handle hh;
};

struct bh_policy_universe {
	struct policy_tenant *by_name;
	struct policy_tenant *by_number;
	struct policy_identity *identities;
	struct policy_label_ids *labels; /* (tenant, key, value) -> identities */
	policy_ids all;			 /* sorted */
};

const struct policy_identity *policy_universe_identity(const struct bh_policy_universe *universe,
						       uint32_t id);
const struct policy_tenant *policy_universe_tenant(const struct bh_policy_universe *universe,
						   const char *name);
/* Identities of a tenant that the selector matches, in growing order, appended to ids. */
void policy_universe_select(const struct bh_policy_universe *universe,
			    const struct policy_tenant *tenant,
			    const struct policy_selector *selector, policy_ids *ids);

#endif
