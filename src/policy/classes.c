/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/classes.h"

#include "model/id.h"
#include "policy/compiler.h"

#define RESERVED 256 /* identities below are classes of their own */

/* Who is asked about VMs of a tenant. */
struct tenant_view {
	const struct policy_tenant *tenant;
	BH_VEC(const struct policy_selector *) selectors;
	UT_hash_handle hh;
};

struct class
{
	uint32_t number;
	uint8_t *key; /* owned */
	size_t key_size;
	UT_hash_handle hh;
};

struct prefix {
	struct policy_cidr cidr;
	uint32_t outer; /* place + 1 of the narrowest one around it; 0: none */
};

struct bh_policy_classes {
	const struct bh_policy_compiler *const *compilers; /* owned array */
	size_t compiler_count;
	struct tenant_view *tenants;
	struct class *classes;
	uint32_t last;
	BH_VEC(struct prefix) prefixes; /* sorted */
};

/* ---- prefixes ---- */

static bool collect_cidrs(const struct policy_peer *peer, const void *arg)
{
	struct bh_policy_classes *c = *(struct bh_policy_classes *const *)arg;

	if (peer->kind == POLICY_PEER_CIDR) {
		*bh_vec_push(&c->prefixes) = (struct prefix){.cidr = peer->cidr};
	}
	for (size_t i = 0; peer->kind == POLICY_PEER_CIDR && i < peer->except_count; i++) {
		*bh_vec_push(&c->prefixes) = (struct prefix){.cidr = peer->except[i]};
	}
	return false;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct policy_cidr *x = &((const struct prefix *)a)->cidr;
	const struct policy_cidr *y = &((const struct prefix *)b)->cidr;
	int r = memcmp(x->addr, y->addr, sizeof(x->addr));

	return r ? r : (x->bits > y->bits) - (x->bits < y->bits);
}

/* Sorted like this a prefix comes right before what is in it. */
static void nest_prefixes(struct bh_policy_classes *c)
{
	size_t kept = 0;

	if (c->prefixes.count) {
		qsort(c->prefixes.items, c->prefixes.count, sizeof(c->prefixes.items[0]),
		      compare_prefixes);
	}
	for (size_t i = 0; i < c->prefixes.count; i++) {
		struct prefix *p = &c->prefixes.items[i];
		uint32_t outer = (uint32_t)kept;

		if (kept && compare_prefixes(p, &c->prefixes.items[kept - 1]) == 0) {
			continue;
		}
		while (outer &&
		       !bh_cidr_contains(c->prefixes.items[outer - 1].cidr.addr,
					 c->prefixes.items[outer - 1].cidr.bits, p->cidr.addr)) {
			outer = c->prefixes.items[outer - 1].outer;
		}
		p->outer = outer;
		c->prefixes.items[kept++] = *p;
	}
	c->prefixes.count = kept;
}

uint32_t bh_policy_classes_address(const struct bh_policy_classes *c, const uint8_t addr[16])
{
	size_t low = 0, high = c->prefixes.count;
	uint32_t at;

	/* The last one that begins at or before the address, then those around it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(c->prefixes.items[middle].cidr.addr, addr, 16) <= 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	for (at = (uint32_t)low;
	     at && !policy_cidr_contains(&c->prefixes.items[at - 1].cidr, addr);) {
		at = c->prefixes.items[at - 1].outer;
	}
	return at;
}

/* ---- VMs ---- */

static bool may_mean(const struct policy_peer *peer, const char *tenant, bool covers)
{
	switch (peer->tenancy) {
	case POLICY_TENANCY_SAME:
		return covers;
	case POLICY_TENANCY_OTHER:
		return true;
	case POLICY_TENANCY_NAMED:
		break;
	}
	return policy_peer_covers_tenant(peer, "", tenant);
}

struct collecting {
	struct tenant_view *view;
	bool covers;
};

static bool collect_selectors(const struct policy_peer *peer, const void *arg)
{
	const struct collecting *c = arg;

	if (peer->kind == POLICY_PEER_SELECTOR &&
	    may_mean(peer, c->view->tenant->name, c->covers)) {
		*bh_vec_push(&c->view->selectors) = peer->selector;
	}
	return c->view->selectors.count > BH_POLICY_CLASS_SELECTORS_MAX;
}

static void ask_policy(struct tenant_view *view, const struct bh_policy *policy)
{
	struct collecting c = {view, policy_covers_tenant(policy, view->tenant->name)};

	if (c.covers) {
		*bh_vec_push(&view->selectors) = policy->selector;
	}
	(void)policy_walk_peers(policy, collect_selectors, &c);
}

static const struct tenant_view *view_of(struct bh_policy_classes *c,
					 const struct policy_tenant *tenant)
{
	struct tenant_view *view;

	HASH_FIND(hh, c->tenants, &tenant, sizeof(tenant), view);
	if (view) {
		return view;
	}
	view = bh_alloc(sizeof(*view));
	view->tenant = tenant;
	for (size_t i = 0; i < c->compiler_count; i++) {
		bh_vec_foreach (p, &c->compilers[i]->order) {
			if (view->selectors.count <= BH_POLICY_CLASS_SELECTORS_MAX) {
				ask_policy(view, *p);
			}
		}
	}
	HASH_ADD(hh, c->tenants, tenant, sizeof(tenant), view);
	return view;
}

static void key_of(struct bh_policy_classes *c, const struct policy_identity *identity,
		   struct bh_wbuf *key)
{
	const struct tenant_view *view = view_of(c, identity->tenant);
	uint8_t bits = 0;

	bh_wbuf_u32(key, identity->tenant->number);
	bh_wbuf_u8(key, identity->quarantined);
	if (view->selectors.count > BH_POLICY_CLASS_SELECTORS_MAX) {
		bh_wbuf_u32(key, identity->id);
		return;
	}
	for (size_t i = 0; i < view->selectors.count; i++) {
		bool matches = policy_selector_matches(view->selectors.items[i], identity->labels,
						       identity->label_count);

		bits |= (uint8_t)(matches << i % 8);
		if (i % 8 == 7 || i + 1 == view->selectors.count) {
			bh_wbuf_u8(key, bits);
			bits = 0;
		}
	}
}

uint32_t bh_policy_classes_identity(struct bh_policy_classes *c, uint32_t id)
{
	const struct policy_identity *identity;
	struct class *class;
	struct bh_wbuf key;

	if (id < RESERVED) {
		return id;
	}
	identity = policy_universe_identity(c->compilers[0]->universe, id);
	if (!identity) {
		return 0;
	}
	bh_wbuf_init(&key, 0);
	key_of(c, identity, &key);
	HASH_FIND(hh, c->classes, key.data, key.size, class);
	if (class) {
		bh_wbuf_done(&key);
		return class->number;
	}
	class = bh_alloc(sizeof(*class));
	class->number = ++c->last;
	class->key = key.data;
	class->key_size = key.size;
	HASH_ADD_KEYPTR(hh, c->classes, class->key, class->key_size, class);
	return class->number;
}

/* ---- life ---- */

struct bh_policy_classes *bh_policy_classes_new(const struct bh_policy_compiler *const *compilers,
						size_t count)
{
	struct bh_policy_classes *c = bh_alloc(sizeof(*c));

	c->compilers = bh_memdup(compilers, count * sizeof(*compilers));
	c->compiler_count = count;
	c->last = RESERVED;
	for (size_t i = 0; i < count; i++) {
		bh_vec_foreach (p, &compilers[i]->order) {
			(void)policy_walk_peers(*p, collect_cidrs, &c);
		}
	}
	nest_prefixes(c);
	return c;
}

void bh_policy_classes_free(struct bh_policy_classes *c)
{
	struct tenant_view *view, *next_view;
	struct class *class, *next_class;

	if (!c) {
		return;
	}
	HASH_ITER (hh, c->tenants, view, next_view) {
		HASH_DEL(c->tenants, view);
		bh_vec_done(&view->selectors);
		free(view);
	}
	HASH_ITER (hh, c->classes, class, next_class) {
		HASH_DEL(c->classes, class);
		free(class->key);
		free(class);
	}
	bh_vec_done(&c->prefixes);
	free((void *)c->compilers);
	free(c);
}
