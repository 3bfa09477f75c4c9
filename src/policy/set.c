/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of policies, and what follows from a whole set for one VM: classes and grants. */
#include "policy/doc.h"

#include "model/id.h"

#include <errno.h>
#include <strings.h>

/* A selector that gives classes, and whose VMs it may mean. */
struct class_source {
	const struct policy_selector *selector;
	const struct bh_policy *policy; /* whose subject it is, or */
	const struct policy_peer *peer; /* whose peer */
};

/* Made when first asked for, gone with any change. */
struct class_cache {
	bool valid;
	BH_VEC(struct class_source) sources;
	policy_travellers travellers;
	bool placement;
};

struct bh_policy_set {
	BH_VEC(struct bh_policy *) policies;
	BH_VEC(struct bh_policy_tenant_doc) tenants;
	struct class_cache *classes;
};

struct bh_policy_set *bh_policy_set_new(void)
{
	struct bh_policy_set *set = bh_alloc(sizeof(*set));

	set->classes = bh_alloc(sizeof(*set->classes));
	return set;
}

void bh_policy_set_free(struct bh_policy_set *set)
{
	if (!set) {
		return;
	}
	bh_vec_foreach (p, &set->policies) {
		bh_policy_unref(*p);
	}
	bh_vec_foreach (t, &set->tenants) {
		free((void *)t->name);
		free((void *)t->description);
	}
	bh_vec_done(&set->policies);
	bh_vec_done(&set->tenants);
	bh_vec_done(&set->classes->sources);
	bh_vec_done(&set->classes->travellers);
	free(set->classes);
	free(set);
}

struct bh_policy_set *bh_policy_set_copy(const struct bh_policy_set *set)
{
	struct bh_policy_set *copy = bh_policy_set_new();

	bh_vec_foreach (p, &set->policies) {
		*bh_vec_push(&copy->policies) = bh_policy_ref(*p);
	}
	bh_vec_foreach (t, &set->tenants) {
		policy_set_push_tenant(copy, t->name, t->description, t->line);
	}
	return copy;
}

static int compare_names(const struct bh_policy *policy, const char *tenant, const char *name)
{
	int r = strcmp(policy->tenant, tenant);

	return r ? r : strcmp(policy->name, name);
}

/* The place of (tenant, name), or where it would be. */
static size_t find(const struct bh_policy_set *set, const char *tenant, const char *name,
		   bool *ret_found)
{
	size_t lo = 0;
	size_t hi = set->policies.count;

	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int r = compare_names(set->policies.items[mid], tenant, name);

		if (!r) {
			*ret_found = true;
			return mid;
		}
		if (r < 0) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

size_t bh_policy_set_count(const struct bh_policy_set *set)
{
	return set->policies.count;
}

struct bh_policy *bh_policy_set_at(const struct bh_policy_set *set, size_t i)
{
	return i < set->policies.count ? set->policies.items[i] : NULL;
}

struct bh_policy *bh_policy_set_get(const struct bh_policy_set *set, const char *tenant,
				    const char *name)
{
	bool found;
	size_t i = find(set, tenant, name, &found);

	return found ? set->policies.items[i] : NULL;
}

void bh_policy_set_put(struct bh_policy_set *set, struct bh_policy *policy)
{
	bool found;
	size_t i = find(set, policy->tenant, policy->name, &found);

	set->classes->valid = false;
	bh_policy_ref(policy);
	if (found) {
		bh_policy_unref(set->policies.items[i]);
	} else {
		(void)bh_vec_push(&set->policies);
		memmove(&set->policies.items[i + 1], &set->policies.items[i],
			(set->policies.count - 1 - i) * sizeof(set->policies.items[0]));
	}
	set->policies.items[i] = policy;
}

bool bh_policy_set_drop(struct bh_policy_set *set, const char *tenant, const char *name)
{
	bool found;
	size_t i = find(set, tenant, name, &found);

	if (!found) {
		return false;
	}
	set->classes->valid = false;
	bh_policy_unref(set->policies.items[i]);
	set->policies.count--;
	memmove(&set->policies.items[i], &set->policies.items[i + 1],
		(set->policies.count - i) * sizeof(set->policies.items[0]));
	return true;
}

size_t bh_policy_set_tenant_count(const struct bh_policy_set *set)
{
	return set->tenants.count;
}

const struct bh_policy_tenant_doc *bh_policy_set_tenant_at(const struct bh_policy_set *set,
							   size_t i)
{
	return i < set->tenants.count ? &set->tenants.items[i] : NULL;
}

void bh_policy_set_print(const struct bh_policy_set *set, struct bh_wbuf *w)
{
	bool first = true;

	bh_vec_foreach (t, &set->tenants) {
		bh_wbuf_str(w, first ? "" : "---\n");
		policy_tenant_print(t, w);
		first = false;
	}
	bh_vec_foreach (p, &set->policies) {
		bh_wbuf_str(w, first ? "" : "---\n");
		bh_wbuf_str(w, (*p)->canonical);
		first = false;
	}
}

/* ---- for the parser ---- */
void policy_set_push(struct bh_policy_set *set, struct bh_policy *policy)
{
	*bh_vec_push(&set->policies) = policy;
}

void policy_set_push_tenant(struct bh_policy_set *set, const char *name, const char *description,
			    unsigned int line)
{
	*bh_vec_push(&set->tenants) = (struct bh_policy_tenant_doc){
		.name = bh_strdup(name),
		.description = bh_strdup(description),
		.line = line,
	};
}

static int compare_policies(const void *a, const void *b)
{
	const struct bh_policy *x = *(struct bh_policy *const *)a;
	const struct bh_policy *y = *(struct bh_policy *const *)b;
	int r = compare_names(x, y->tenant, y->name);

	return r ? r : (x->line > y->line) - (x->line < y->line);
}

int policy_set_seal(struct bh_policy_set *set, const char *file, struct bh_diag *diag)
{
	if (set->policies.count) {
		qsort(set->policies.items, set->policies.count, sizeof(set->policies.items[0]),
		      compare_policies);
	}
	for (size_t i = 1; i < set->policies.count; i++) {
		const struct bh_policy *a = set->policies.items[i - 1];
		const struct bh_policy *b = set->policies.items[i];

		if (!compare_names(a, b->tenant, b->name)) {
			return bh_diag_at(diag, -EINVAL, file, b->line, 1,
					  "policy %s/%s is there twice, first in line %u",
					  b->tenant, b->name, a->line);
		}
	}
	return 0;
}

/* ---- selectors ---- */
const struct bh_policy_label *policy_label_find(const struct bh_policy_label *labels, size_t count,
						const char *key)
{
	struct bh_policy_label want = {.key = key};

	return count ? bsearch(&want, labels, count, sizeof(*labels), policy_label_compare) : NULL;
}

struct bh_policy_label *policy_labels_sorted(const struct bh_policy_label *labels, size_t count)
{
	struct bh_policy_label *sorted = bh_alloc_array(count + 1, sizeof(*sorted));

	if (count) {
		memcpy(sorted, labels, count * sizeof(*labels));
		qsort(sorted, count, sizeof(*sorted), policy_label_compare);
	}
	return sorted;
}

bool policy_selector_is_all(const struct policy_selector *selector)
{
	return !selector->label_count && !selector->expr_count && !selector->address_count &&
	       !selector->vm_count;
}

static bool expr_matches(const struct policy_expr *e, const struct bh_policy_label *labels,
			 size_t count)
{
	const struct bh_policy_label *l = policy_label_find(labels, count, e->key);
	bool in;

	if (e->op == POLICY_EXISTS) {
		return l;
	}
	if (e->op == POLICY_DOES_NOT_EXIST) {
		return !l;
	}
	in = l && bsearch(&l->value, e->values, e->value_count, sizeof(*e->values),
			  policy_string_compare);
	return e->op == POLICY_IN ? in : !in;
}

static bool labels_match(const struct policy_selector *s, const struct bh_policy_label *labels,
			 size_t count)
{
	for (size_t i = 0; i < s->label_count; i++) {
		const struct bh_policy_label *l =
			policy_label_find(labels, count, s->labels[i].key);

		if (!l || strcmp(l->value, s->labels[i].value) != 0) {
			return false;
		}
	}
	for (size_t i = 0; i < s->expr_count; i++) {
		if (!expr_matches(&s->exprs[i], labels, count)) {
			return false;
		}
	}
	return true;
}

bool policy_selector_matches(const struct policy_selector *s, const struct bh_policy_label *labels,
			     size_t count)
{
	if (s->address_count && !policy_label_find(labels, count, s->address_class)) {
		return false;
	}
	if (s->vm_count && !policy_label_find(labels, count, s->vm_class)) {
		return false;
	}
	return labels_match(s, labels, count);
}

bool policy_covers_tenant(const struct bh_policy *policy, const char *tenant)
{
	if (policy->tier == BH_POLICY_TIER_TENANT) {
		return !strcmp(policy->tenant, tenant);
	}
	return !policy->tenant_count || bsearch(&tenant, policy->tenants, policy->tenant_count,
						sizeof(*policy->tenants), policy_string_compare);
}

bool policy_peer_covers_tenant(const struct policy_peer *peer, const char *self_tenant,
			       const char *tenant)
{
	switch (peer->tenancy) {
	case POLICY_TENANCY_SAME:
		return !strcmp(self_tenant, tenant);
	case POLICY_TENANCY_OTHER:
		return strcmp(self_tenant, tenant) != 0;
	case POLICY_TENANCY_NAMED:
		break;
	}
	return !strcmp(peer->tenant, "*") || !strcmp(peer->tenant, tenant);
}

bool policy_cidr_contains(const struct policy_cidr *cidr, const uint8_t addr[16])
{
	bool v4 = bh_addr_is_v4(cidr->addr) && cidr->bits >= 96;

	return v4 == bh_addr_is_v4(addr) && bh_cidr_contains(cidr->addr, cidr->bits, addr);
}

/* ---- classes ---- */
static void add_source(struct class_cache *cache, const struct policy_selector *selector,
		       const struct bh_policy *policy, const struct policy_peer *peer)
{
	if (selector->address_count || selector->vm_count) {
		*bh_vec_push(&cache->sources) = (struct class_source){
			.selector = selector,
			.policy = policy,
			.peer = peer,
		};
	}
}

static bool add_peer_source(const struct policy_peer *peer, const void *arg)
{
	struct class_cache *const *cache = arg;

	if (peer->kind == POLICY_PEER_SELECTOR) {
		add_source(*cache, peer->selector, NULL, peer);
	}
	return false;
}

static const struct class_cache *classes_of(const struct bh_policy_set *set)
{
	struct class_cache *cache = set->classes;

	if (cache->valid) {
		return cache;
	}
	bh_vec_done(&cache->sources);
	bh_vec_done(&cache->travellers);
	cache->placement = false;
	bh_vec_foreach (pp, &set->policies) {
		const struct bh_policy *p = *pp;
		const struct policy_travel *t = &p->travel;

		if (t->hosts || t->without_manager || t->rollback) {
			*bh_vec_push(&cache->travellers) = p;
		}
		cache->placement = cache->placement || t->hosts;

		add_source(cache, p->selector, p, NULL);
		policy_walk_peers(p, add_peer_source, &cache);
	}
	cache->valid = true;
	return cache;
}

const policy_travellers *policy_set_travellers(const struct bh_policy_set *set)
{
	return &classes_of(set)->travellers;
}

bool bh_policy_set_has_placement(const struct bh_policy_set *set)
{
	return classes_of(set)->placement;
}

bool bh_policy_set_has_classes(const struct bh_policy_set *set)
{
	return classes_of(set)->sources.count;
}

static bool is_cidr(const struct policy_peer *peer, const void *arg)
{
	return peer->kind == POLICY_PEER_CIDR;
}

bool bh_policy_set_has_cidrs(const struct bh_policy_set *set)
{
	bh_vec_foreach (p, &set->policies) {
		if (policy_walk_peers(*p, is_cidr, NULL)) {
			return true;
		}
	}
	return false;
}

static bool source_covers(const struct class_source *source, const char *tenant)
{
	if (source->policy) {
		return policy_covers_tenant(source->policy, tenant);
	}
	/* Of a relative peer only the place of judgement says whom it means: take every tenant. */
	return source->peer->tenancy != POLICY_TENANCY_NAMED ||
	       policy_peer_covers_tenant(source->peer, "", tenant);
}

static bool vm_has_address(const struct bh_policy_vm *vm, const struct policy_selector *s)
{
	for (size_t i = 0; i < s->address_count; i++) {
		for (size_t k = 0; k < vm->address_count; k++) {
			const struct policy_cidr *c = &s->addresses[i];

			if (policy_cidr_contains(c, vm->addresses[k])) {
				return true;
			}
		}
	}
	return false;
}

static bool vm_is_named(const struct bh_policy_vm *vm, const struct policy_selector *s)
{
	for (size_t i = 0; i < s->vm_count; i++) {
		if ((vm->name && !strcmp(s->vms[i], vm->name)) ||
		    (vm->uuid && !strcasecmp(s->vms[i], vm->uuid))) {
			return true;
		}
	}
	return false;
}

void bh_policy_vm_classes(const struct bh_policy_set *set, const struct bh_policy_vm *vm,
			  bh_policy_class_fn *fn, void *arg)
{
	const struct class_cache *cache = classes_of(set);
	BH_VEC(const char *) keys = {};
	const char *last = "";

	bh_vec_foreach (source, &cache->sources) {
		const struct policy_selector *s = source->selector;

		if (!source_covers(source, vm->tenant)) {
			continue;
		}
		if (vm_has_address(vm, s)) {
			*bh_vec_push(&keys) = s->address_class;
		}
		if (vm_is_named(vm, s)) {
			*bh_vec_push(&keys) = s->vm_class;
		}
	}
	if (keys.count) {
		qsort(keys.items, keys.count, sizeof(keys.items[0]), policy_string_compare);
	}
	bh_vec_foreach (key, &keys) {
		if (strcmp(*key, last) != 0) {
			fn(*key, "", arg);
		}
		last = *key;
	}
	bh_vec_done(&keys);
}

/* ---- grants ---- */
static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void bh_policy_grant_of(const struct bh_policy_set *set, const char *tenant,
			const struct bh_policy_label *labels, size_t label_count,
			struct bh_policy_grant *ret_grant)
{
	BH_VEC(uint32_t) vlans = {};
	struct bh_policy_label *sorted = policy_labels_sorted(labels, label_count);
	bool quarantined = policy_label_find(sorted, label_count, BH_POLICY_QUARANTINE);
	size_t n = 0;

	memset(ret_grant, 0, sizeof(*ret_grant));
	bh_vec_foreach (pp, &set->policies) {
		const struct bh_policy *p = *pp;

		if ((!p->permit && !p->vlan_count) || (quarantined && !p->quarantine) ||
		    !policy_covers_tenant(p, tenant) ||
		    !policy_selector_matches(p->selector, sorted, label_count)) {
			continue;
		}
		ret_grant->flags |= p->permit;
		for (size_t i = 0; i < p->vlan_count; i++) {
			*bh_vec_push(&vlans) = p->vlans[i];
		}
	}
	free(sorted);
	if (vlans.count) {
		qsort(vlans.items, vlans.count, sizeof(vlans.items[0]), compare_u32);
	}
	for (size_t i = 0; i < vlans.count && n < BH_POLICY_VLANS_MAX; i++) {
		if (!n || vlans.items[n - 1] != vlans.items[i]) {
			vlans.items[n++] = vlans.items[i];
		}
	}
	ret_grant->vlans = vlans.items;
	ret_grant->vlan_count = n;
}

void bh_policy_grant_done(struct bh_policy_grant *grant)
{
	free(grant->vlans);
	memset(grant, 0, sizeof(*grant));
}
