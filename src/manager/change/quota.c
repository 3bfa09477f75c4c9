/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/quota.h"

#include "base/counter.h"
#include "base/json.h"
#include "manager/commit.h"
#include "manager/store/changes.h"

BH_COUNTER(quota_refused, "commits and labels refused because a tenant would have too much");

static const struct {
	const char *name;
	uint64_t dflt;
} quotas[MANAGER_QUOTA_COUNT] = {
	[MANAGER_QUOTA_POLICIES] = {"policies", 2000},
	[MANAGER_QUOTA_RULES] = {"rules", 200000},
	[MANAGER_QUOTA_LABELS] = {MANAGER_STORE_QUOTA_LABELS, BH_LABELS_MAX},
	[MANAGER_QUOTA_EVENTS] = {"events", 250000}, /* a quarter of what is kept by default */
};

const char *manager_quota_name(enum manager_quota what)
{
	return quotas[what].name;
}

bool manager_quota_counts(enum manager_quota what)
{
	return what == MANAGER_QUOTA_POLICIES || what == MANAGER_QUOTA_RULES;
}

uint64_t manager_quota_default(enum manager_quota what)
{
	return quotas[what].dflt;
}

uint64_t manager_quota_of(const struct manager_change *change, const char *tenant,
			  enum manager_quota what)
{
	return manager_store_quota(change->o.db, tenant, quotas[what].name, quotas[what].dflt);
}

uint64_t manager_quota_used(const struct bh_policy_set *set, const char *tenant,
			    enum manager_quota what)
{
	uint64_t used = 0;

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);

		if (strcmp(bh_policy_tenant(p), tenant) != 0) {
			continue;
		}
		used += what == MANAGER_QUOTA_POLICIES
				? 1
				: bh_policy_rule_count(p, BH_POLICY_EGRESS) +
					  bh_policy_rule_count(p, BH_POLICY_INGRESS);
	}
	return used;
}

static int check_one(const struct manager_change *change, const struct bh_policy_set *set,
		     const char *tenant, enum manager_quota what, struct bh_diag *diag)
{
	uint64_t used = manager_quota_used(set, tenant, what);
	uint64_t limit = manager_quota_of(change, tenant, what);

	if (used <= limit ||
	    used <= manager_quota_used(manager_rulebook_set(change->o.book), tenant, what)) {
		return 0;
	}
	bh_counter_add(&quota_refused, 1);
	return bh_diag_set(diag, MANAGER_COMMIT_QUOTA,
			   "tenant %s would have %llu %s, its quota is %llu; nothing was changed",
			   tenant, (unsigned long long)used, quotas[what].name,
			   (unsigned long long)limit);
}

int manager_quota_check(const struct manager_change *change, const struct bh_policy_set *set,
			const json_t *changes, struct bh_diag *diag)
{
	BH_JSON json_t *looked_at = json_object();
	json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (changes, i, one) {
		const char *tenant = bh_json_str_or(one, "tenant", "");

		if (strcmp(tenant, BH_POLICY_PROVIDER) == 0 || json_object_get(looked_at, tenant)) {
			continue;
		}
		json_object_set_new(looked_at, tenant, json_true());
		r = check_one(change, set, tenant, MANAGER_QUOTA_POLICIES, diag);
		r = r ? r : check_one(change, set, tenant, MANAGER_QUOTA_RULES, diag);
		if (r) {
			return r;
		}
	}
	return 0;
}

int manager_quota_labels(const struct manager_change *change, const char *tenant, size_t count,
			 struct bh_diag *diag)
{
	uint64_t limit = manager_quota_of(change, tenant, MANAGER_QUOTA_LABELS);

	if (count <= limit || strcmp(tenant, BH_POLICY_PROVIDER) == 0) {
		return 0;
	}
	bh_counter_add(&quota_refused, 1);
	return bh_diag_set(diag, MANAGER_COMMIT_QUOTA,
			   "a VM of tenant %s may have %llu labels, not %zu", tenant,
			   (unsigned long long)limit, count);
}

uint64_t manager_quota_events(uint32_t tenant, void *arg)
{
	struct manager_inventory *inv = arg;
	const struct manager_tenant *t = manager_tenant_at(inv, tenant);

	return manager_store_quota(inv->db, t ? t->name : "", quotas[MANAGER_QUOTA_EVENTS].name,
				   quotas[MANAGER_QUOTA_EVENTS].dflt);
}
