/* SPDX-License-Identifier: Apache-2.0 */
/* Who is judged by which policies, whom peers mean, and who is touched by a change. */
#include "policy/compiler.h"

#define ICMP_ECHO  0x0800
#define ICMP6_ECHO 0x8000

const struct policy_builtin *policy_builtins(size_t *ret_count)
{
	/* Towards the host and to everybody (broadcast); answers come from the host or a server
	 * outside. Another VM that serves DHCP needs a rule, so that port 68 is no way from tenant
	 * to tenant. */
	static const struct policy_builtin builtins[] = {
		{BH_POLICY_RULE_DHCP, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 17, 67},
		{BH_POLICY_RULE_DHCP, BH_POLICY_EGRESS, POLICY_ENTITY_MULTICAST, 17, 67},
		{BH_POLICY_RULE_DHCP, BH_POLICY_INGRESS, POLICY_ENTITY_HOST, 17, 68},
		{BH_POLICY_RULE_DHCP, BH_POLICY_INGRESS, POLICY_ENTITY_WORLD, 17, 68},
		{BH_POLICY_RULE_DNS, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 17, 53},
		{BH_POLICY_RULE_DNS, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 6, 53},
		{BH_POLICY_RULE_PING, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 1, ICMP_ECHO},
		{BH_POLICY_RULE_PING, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 58, ICMP6_ECHO},
		{BH_POLICY_RULE_DHCPV6, BH_POLICY_EGRESS, POLICY_ENTITY_HOST, 17, 547},
		{BH_POLICY_RULE_DHCPV6, BH_POLICY_EGRESS, POLICY_ENTITY_MULTICAST, 17, 547},
		{BH_POLICY_RULE_DHCPV6, BH_POLICY_INGRESS, POLICY_ENTITY_HOST, 17, 546},
		{BH_POLICY_RULE_DHCPV6, BH_POLICY_INGRESS, POLICY_ENTITY_WORLD, 17, 546},
	};

	*ret_count = BH_ARRAY_SIZE(builtins);
	return builtins;
}

/* ---- index of subjects ---- */
/* A policy stands in one bucket per tenant (or in that of all tenants), narrowed by one label that
 * it asks for. An identity looks into the buckets of its labels only. */
struct policy_bucket {
	char *key;
	policy_ids places; /* in the order of judgement */
	UT_hash_handle hh;
};

static void bucket_add(struct bh_policy_compiler *c, const char *tenant, const char *label,
		       const char *value, uint32_t place)
{
	BH_FREE char *key = bh_asprintf("%s\001%s\001%s", tenant, label, value);
	struct policy_bucket *b;

	HASH_FIND_STR(c->buckets, key, b);
	if (!b) {
		b = bh_alloc(sizeof(*b));
		b->key = bh_steal(&key);
		HASH_ADD_KEYPTR(hh, c->buckets, b->key, strlen(b->key), b);
	}
	*bh_vec_push(&b->places) = place;
}

static void index_for_tenant(struct bh_policy_compiler *c, const struct bh_policy *policy,
			     const char *tenant, uint32_t place)
{
	const struct policy_selector *s = policy->selector;

	if (s->vm_count) {
		bucket_add(c, tenant, s->vm_class, "", place);
	} else if (s->address_count) {
		bucket_add(c, tenant, s->address_class, "", place);
	} else if (s->label_count) {
		bucket_add(c, tenant, s->labels[0].key, s->labels[0].value, place);
	} else {
		bucket_add(c, tenant, "", "", place);
	}
}

static void index_policy(struct bh_policy_compiler *c, const struct bh_policy *policy,
			 uint32_t place)
{
	if (policy->tier == BH_POLICY_TIER_TENANT) {
		index_for_tenant(c, policy, policy->tenant, place);
		return;
	}
	for (size_t i = 0; i < policy->tenant_count; i++) {
		index_for_tenant(c, policy, policy->tenants[i], place);
	}
	if (!policy->tenant_count) {
		index_for_tenant(c, policy, "*", place);
	}
}

struct bh_policy_compiler *bh_policy_compiler_new(const struct bh_policy_set *set,
						  const struct bh_policy_universe *universe,
						  const struct bh_policy_compile_options *options)
{
	struct bh_policy_compiler *c = bh_alloc(sizeof(*c));
	struct bh_policy_compile_options *o = &c->options;

	c->set = set;
	c->universe = universe;
	if (options) {
		*o = *options;
	}
	o->provider_default = o->provider_default ? o->provider_default : BH_POLICY_DENY;
	o->max_rows = o->max_rows ? o->max_rows : 1u << 20;
	o->max_cidrs = o->max_cidrs ? o->max_cidrs : 1u << 18;
	o->max_ranges = o->max_ranges ? o->max_ranges : 1u << 16;
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		*bh_vec_push(&c->order) = bh_policy_set_at(set, i);
	}
	if (c->order.count) {
		qsort(c->order.items, c->order.count, sizeof(c->order.items[0]),
		      policy_judgement_compare);
	}
	for (size_t i = 0; i < c->order.count; i++) {
		index_policy(c, c->order.items[i], (uint32_t)i);
	}
	return c;
}

void bh_policy_compiler_free(struct bh_policy_compiler *c)
{
	struct policy_bucket *b, *next_b;
	struct policy_resolved *v, *next_v;

	if (!c) {
		return;
	}
	HASH_ITER (hh, c->buckets, b, next_b) {
		HASH_DEL(c->buckets, b);
		free(b->key);
		bh_vec_done(&b->places);
		free(b);
	}
	HASH_ITER (hh, c->resolved, v, next_v) {
		HASH_DEL(c->resolved, v);
		free(v->key);
		bh_vec_done(&v->ids);
		free(v);
	}
	bh_vec_done(&c->order);
	free(c);
}

static void collect(const struct bh_policy_compiler *c, const char *tenant, const char *label,
		    const char *value, policy_ids *places)
{
	BH_FREE char *key = bh_asprintf("%s\001%s\001%s", tenant, label, value);
	struct policy_bucket *b;

	HASH_FIND_STR(c->buckets, key, b);
	for (size_t i = 0; b && i < b->places.count; i++) {
		*bh_vec_push(places) = b->places.items[i];
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void policy_compiler_applicable(const struct bh_policy_compiler *c,
				const struct policy_identity *identity, policy_list *ret_list)
{
	const char *tenants[2] = {identity->tenant->name, "*"};
	policy_ids places = {};

	for (size_t t = 0; t < 2; t++) {
		collect(c, tenants[t], "", "", &places);
		for (size_t i = 0; i < identity->label_count; i++) {
			collect(c, tenants[t], identity->labels[i].key, identity->labels[i].value,
				&places);
		}
	}
	if (places.count) {
		qsort(places.items, places.count, sizeof(places.items[0]), compare_u32);
	}
	bh_vec_foreach (place, &places) {
		const struct bh_policy *p = c->order.items[*place];

		if (policy_selector_matches(p->selector, identity->labels, identity->label_count)) {
			*bh_vec_push(ret_list) = p;
		}
	}
	bh_vec_done(&places);
}

/* ---- peers ---- */
static void selector_key(const struct policy_selector *s, struct bh_wbuf *w)
{
	for (size_t i = 0; i < s->label_count; i++) {
		bh_wbuf_printf(w, "\001%s=%s", s->labels[i].key, s->labels[i].value);
	}
	for (size_t i = 0; i < s->expr_count; i++) {
		const struct policy_expr *e = &s->exprs[i];

		bh_wbuf_printf(w, "\002%d%s", (int)e->op, e->key);
		for (size_t k = 0; k < e->value_count; k++) {
			bh_wbuf_printf(w, "\003%s", e->values[k]);
		}
	}
	bh_wbuf_printf(w, "\004%s", s->vm_class);
}

static void resolve_in(struct bh_policy_compiler *c, const struct policy_peer *peer,
		       const char *self_tenant, struct policy_resolved *v)
{
	struct policy_tenant *t;

	v->tenants = policy_selector_is_all(peer->selector);
	for (t = c->universe->by_number; t; t = t->by_number.next) {
		if (!policy_peer_covers_tenant(peer, self_tenant, t->name)) {
			continue;
		}
		if (v->tenants) {
			*bh_vec_push(&v->ids) = t->number;
		} else {
			policy_universe_select(c->universe, t, peer->selector, &v->ids);
		}
	}
	/* The order of the hash table must not show. */
	if (v->ids.count) {
		qsort(v->ids.items, v->ids.count, sizeof(v->ids.items[0]), compare_u32);
	}
}

const struct policy_resolved *policy_compiler_resolve(struct bh_policy_compiler *c,
						      const struct policy_peer *peer,
						      const char *self_tenant)
{
	bool named = peer->tenancy == POLICY_TENANCY_NAMED;
	struct policy_resolved *v;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_printf(&w, "%d%s", (int)peer->tenancy, named ? peer->tenant : self_tenant);
	selector_key(peer->selector, &w);
	HASH_FIND(hh, c->resolved, w.data, w.size, v);
	if (!v) {
		v = bh_alloc(sizeof(*v));
		v->key = bh_memdup(w.data, w.size);
		resolve_in(c, peer, self_tenant, v);
		HASH_ADD_KEYPTR(hh, c->resolved, v->key, w.size, v);
	}
	bh_wbuf_done(&w);
	return v;
}

/* ---- who is touched ---- */
/* Everybody that the policy selects, appended. */
static void add_selected(const struct bh_policy_universe *universe, const struct bh_policy *policy,
			 policy_ids *ids)
{
	const struct policy_tenant *t;

	for (t = universe->by_number; t; t = t->by_number.next) {
		if (policy_covers_tenant(policy, t->name)) {
			policy_universe_select(universe, t, policy->selector, ids);
		}
	}
}

/* Each once, in growing order, without `except`. */
static void report(policy_ids *ids, uint32_t except, bh_policy_identity_fn *fn, void *arg)
{
	uint32_t last = 0;

	if (ids->count) {
		qsort(ids->items, ids->count, sizeof(ids->items[0]), compare_u32);
	}
	bh_vec_foreach (id, ids) {
		if (*id != last && *id != except) {
			fn(*id, arg);
		}
		last = *id;
	}
	bh_vec_done(ids);
}

void bh_policy_affected(const struct bh_policy_set *from, const struct bh_policy_set *to,
			const struct bh_policy_universe *universe, bh_policy_identity_fn *fn,
			void *arg)
{
	policy_ids ids = {};

	for (size_t i = 0; i < bh_policy_set_count(from); i++) {
		const struct bh_policy *old = bh_policy_set_at(from, i);
		const struct bh_policy *new = bh_policy_set_get(to, old->tenant, old->name);

		if (new != old && (!new || !policy_judge_alike(new, old))) {
			add_selected(universe, old, &ids);
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(to); i++) {
		const struct bh_policy *new = bh_policy_set_at(to, i);
		const struct bh_policy *old = bh_policy_set_get(from, new->tenant, new->name);

		if (new != old && (!old || !policy_judge_alike(new, old))) {
			add_selected(universe, new, &ids);
		}
	}
	report(&ids, 0, fn, arg);
}

/* What a peer must speak of to be of interest. */
struct wanted {
	const struct policy_identity *identity; /* or, when NULL: */
	const char *tenant;
};

static bool peer_is_wanted(const struct policy_peer *peer, const void *arg)
{
	const struct wanted *w = arg;
	const char *tenant = w->identity ? w->identity->tenant->name : w->tenant;

	if (peer->kind != POLICY_PEER_SELECTOR) {
		return false;
	}
	/* Relative peers: some tenant may mean it; who does is sorted out by whom the policy
	 * selects. */
	if (peer->tenancy == POLICY_TENANCY_NAMED && !policy_peer_covers_tenant(peer, "", tenant)) {
		return false;
	}
	if (!w->identity) {
		return true;
	}
	return !policy_selector_is_all(peer->selector) &&
	       policy_selector_matches(peer->selector, w->identity->labels,
				       w->identity->label_count);
}

static bool policy_is_wanted(const struct bh_policy *policy, const struct wanted *w)
{
	return policy_walk_peers(policy, peer_is_wanted, w);
}

static void report_wanted(const struct bh_policy_set *set,
			  const struct bh_policy_universe *universe, const struct wanted *w,
			  bh_policy_identity_fn *fn, void *arg)
{
	policy_ids ids = {};

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *policy = bh_policy_set_at(set, i);

		if (policy_is_wanted(policy, w)) {
			add_selected(universe, policy, &ids);
		}
	}
	report(&ids, w->identity ? w->identity->id : 0, fn, arg);
}

void bh_policy_dependents(const struct bh_policy_set *set,
			  const struct bh_policy_universe *universe, uint32_t identity,
			  bh_policy_identity_fn *fn, void *arg)
{
	struct wanted w = {.identity = policy_universe_identity(universe, identity)};

	if (w.identity) {
		report_wanted(set, universe, &w, fn, arg);
	}
}

void bh_policy_tenant_dependents(const struct bh_policy_set *set,
				 const struct bh_policy_universe *universe, const char *tenant,
				 bh_policy_identity_fn *fn, void *arg)
{
	struct wanted w = {.tenant = tenant};

	report_wanted(set, universe, &w, fn, arg);
}
