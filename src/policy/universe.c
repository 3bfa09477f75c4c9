/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/universe.h"

#include <errno.h>

#define IDENTITY_FIRST 256

struct policy_label_ids {
	char *key; /* "<tenant number>\001<key>\001<value>" */
	policy_ids ids;
	UT_hash_handle hh;
};

struct bh_policy_universe *bh_policy_universe_new(void)
{
	return bh_alloc(sizeof(struct bh_policy_universe));
}

static void free_identity(struct policy_identity *identity)
{
	for (size_t i = 0; i < identity->label_count; i++) {
		free((void *)identity->labels[i].key);
		free((void *)identity->labels[i].value);
	}
	free(identity->labels);
	free(identity);
}

void bh_policy_universe_free(struct bh_policy_universe *universe)
{
	struct policy_identity *identity, *next_identity;
	struct policy_tenant *tenant, *next_tenant;
	struct policy_label_ids *l, *next_l;

	if (!universe) {
		return;
	}
	HASH_ITER (hh, universe->identities, identity, next_identity) {
		HASH_DEL(universe->identities, identity);
		free_identity(identity);
	}
	HASH_ITER (hh, universe->labels, l, next_l) {
		HASH_DEL(universe->labels, l);
		free(l->key);
		bh_vec_done(&l->ids);
		free(l);
	}
	HASH_CLEAR(by_name, universe->by_name);
	HASH_ITER (by_number, universe->by_number, tenant, next_tenant) {
		HASH_DELETE(by_number, universe->by_number, tenant);
		free(tenant->name);
		bh_vec_done(&tenant->identities);
		free(tenant);
	}
	bh_vec_done(&universe->all);
	free(universe);
}

int bh_policy_universe_add_tenant(struct bh_policy_universe *universe, const char *name,
				  uint32_t number, struct bh_diag *diag)
{
	struct policy_tenant *tenant;

	HASH_FIND(by_number, universe->by_number, &number, sizeof(number), tenant);
	if (tenant || policy_universe_tenant(universe, name)) {
		return bh_diag_set(diag, -EEXIST, "tenant %s (number %u) is there already", name,
				   number);
	}
	tenant = bh_alloc(sizeof(*tenant));
	tenant->name = bh_strdup(name);
	tenant->number = number;
	HASH_ADD_KEYPTR(by_name, universe->by_name, tenant->name, strlen(tenant->name), tenant);
	HASH_ADD(by_number, universe->by_number, number, sizeof(number), tenant);
	return 0;
}

/* ---- sorted lists of identities ---- */
static size_t lower_bound(const policy_ids *ids, uint32_t id)
{
	size_t lo = 0;
	size_t hi = ids->count;

	/* Identities mostly arrive in growing order. */
	if (hi && ids->items[hi - 1] < id) {
		return hi;
	}
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (ids->items[mid] < id) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

static void ids_add(policy_ids *ids, uint32_t id)
{
	size_t i = lower_bound(ids, id);

	(void)bh_vec_push(ids);
	memmove(&ids->items[i + 1], &ids->items[i], (ids->count - 1 - i) * sizeof(id));
	ids->items[i] = id;
}

static void ids_drop(policy_ids *ids, uint32_t id)
{
	size_t i = lower_bound(ids, id);

	if (i < ids->count && ids->items[i] == id) {
		ids->count--;
		memmove(&ids->items[i], &ids->items[i + 1], (ids->count - i) * sizeof(id));
	}
}

/* ---- labels ---- */
static char *label_key(uint32_t tenant, const char *key, const char *value)
{
	return bh_asprintf("%u\001%s\001%s", tenant, key, value);
}

static struct policy_label_ids *find_label(const struct bh_policy_universe *universe,
					   uint32_t tenant, const char *key, const char *value)
{
	BH_FREE char *text = label_key(tenant, key, value);
	struct policy_label_ids *l;

	HASH_FIND_STR(universe->labels, text, l);
	return l;
}

static void index_labels(struct bh_policy_universe *universe,
			 const struct policy_identity *identity)
{
	for (size_t i = 0; i < identity->label_count; i++) {
		const struct bh_policy_label *label = &identity->labels[i];
		uint32_t tenant = identity->tenant->number;
		struct policy_label_ids *l = find_label(universe, tenant, label->key, label->value);

		if (!l) {
			l = bh_alloc(sizeof(*l));
			l->key = label_key(tenant, label->key, label->value);
			HASH_ADD_KEYPTR(hh, universe->labels, l->key, strlen(l->key), l);
		}
		ids_add(&l->ids, identity->id);
	}
}

int bh_policy_universe_add_identity(struct bh_policy_universe *universe, uint32_t id,
				    uint32_t tenant, const struct bh_policy_label *labels,
				    size_t label_count, struct bh_diag *diag)
{
	struct policy_identity *identity;
	struct policy_tenant *t;

	if (id < IDENTITY_FIRST) {
		return bh_diag_set(diag, -EINVAL, "identity %u is reserved", id);
	}
	if (policy_universe_identity(universe, id)) {
		return bh_diag_set(diag, -EEXIST, "identity %u is there already", id);
	}
	HASH_FIND(by_number, universe->by_number, &tenant, sizeof(tenant), t);
	if (!t) {
		return bh_diag_set(diag, -ENOENT, "identity %u is of unknown tenant %u", id,
				   tenant);
	}
	identity = bh_alloc(sizeof(*identity));
	identity->id = id;
	identity->tenant = t;
	identity->labels = bh_alloc_array(label_count + 1, sizeof(*labels));
	identity->label_count = label_count;
	for (size_t i = 0; i < label_count; i++) {
		identity->labels[i].key = bh_strdup(labels[i].key);
		identity->labels[i].value = bh_strdup(labels[i].value);
	}
	qsort(identity->labels, label_count, sizeof(*labels), policy_label_compare);
	for (size_t i = 1; i < label_count; i++) {
		if (!strcmp(identity->labels[i - 1].key, identity->labels[i].key)) {
			int r = bh_diag_set(diag, -EINVAL, "identity %u has label %s twice", id,
					    identity->labels[i].key);

			free_identity(identity);
			return r;
		}
	}
	identity->quarantined =
		policy_label_find(identity->labels, label_count, BH_POLICY_QUARANTINE);
	HASH_ADD(hh, universe->identities, id, sizeof(id), identity);
	index_labels(universe, identity);
	ids_add(&t->identities, id);
	ids_add(&universe->all, id);
	return 0;
}

void bh_policy_universe_drop_identity(struct bh_policy_universe *universe, uint32_t id)
{
	struct policy_identity *identity;

	HASH_FIND(hh, universe->identities, &id, sizeof(id), identity);
	if (!identity) {
		return;
	}
	for (size_t i = 0; i < identity->label_count; i++) {
		struct policy_label_ids *l =
			find_label(universe, identity->tenant->number, identity->labels[i].key,
				   identity->labels[i].value);

		if (!l) {
			continue;
		}
		ids_drop(&l->ids, id);
		if (!l->ids.count) {
			HASH_DEL(universe->labels, l);
			free(l->key);
			bh_vec_done(&l->ids);
			free(l);
		}
	}
	ids_drop(&identity->tenant->identities, id);
	ids_drop(&universe->all, id);
	HASH_DEL(universe->identities, identity);
	free_identity(identity);
}

struct bh_policy_universe *bh_policy_universe_copy(const struct bh_policy_universe *universe)
{
	struct bh_policy_universe *copy = bh_policy_universe_new();
	const struct policy_tenant *t;

	for (t = universe->by_number; t; t = t->by_number.next) {
		(void)!bh_policy_universe_add_tenant(copy, t->name, t->number, NULL);
	}
	bh_vec_foreach (id, &universe->all) { /* in growing order: appended, not inserted */
		const struct policy_identity *i = policy_universe_identity(universe, *id);

		(void)!bh_policy_universe_add_identity(copy, i->id, i->tenant->number, i->labels,
						       i->label_count, NULL);
	}
	return copy;
}

json_t *bh_policy_universe_identity_json(const struct bh_policy_universe *universe, uint32_t id)
{
	const struct policy_identity *identity = policy_universe_identity(universe, id);
	json_t *labels;

	if (!identity) {
		return NULL;
	}
	labels = json_object();
	for (size_t i = 0; i < identity->label_count; i++) {
		const struct bh_policy_label *l = &identity->labels[i];

		if (strncmp(l->key, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX)) != 0) {
			json_object_set_new(labels, l->key, json_string(l->value));
		}
	}
	return json_pack("{s:s, s:o}", "tenant", identity->tenant->name, "labels", labels);
}

uint32_t bh_policy_universe_tenant_of(const struct bh_policy_universe *universe, uint32_t id)
{
	const struct policy_identity *identity = policy_universe_identity(universe, id);

	return identity ? identity->tenant->number : 0;
}

uint32_t bh_policy_universe_tenant_number(const struct bh_policy_universe *universe,
					  const char *name)
{
	const struct policy_tenant *tenant = policy_universe_tenant(universe, name);

	return tenant ? tenant->number : 0;
}

size_t bh_policy_universe_identity_count(const struct bh_policy_universe *universe)
{
	return universe->all.count;
}

const struct policy_identity *policy_universe_identity(const struct bh_policy_universe *universe,
						       uint32_t id)
{
	struct policy_identity *identity;

	HASH_FIND(hh, universe->identities, &id, sizeof(id), identity);
	return identity;
}

const struct policy_tenant *policy_universe_tenant(const struct bh_policy_universe *universe,
						   const char *name)
{
	struct policy_tenant *tenant;

	HASH_FIND(by_name, universe->by_name, name, strlen(name), tenant);
	return tenant;
}

void policy_universe_select(const struct bh_policy_universe *universe,
			    const struct policy_tenant *tenant,
			    const struct policy_selector *selector, policy_ids *ids)
{
	static const policy_ids nobody;
	const policy_ids *candidates = &tenant->identities;

	/* The shortest list that must hold them all. */
	for (size_t i = 0; i < selector->label_count; i++) {
		const struct policy_label_ids *l =
			find_label(universe, tenant->number, selector->labels[i].key,
				   selector->labels[i].value);
		const policy_ids *list = l ? &l->ids : &nobody;

		candidates = list->count < candidates->count ? list : candidates;
	}
	for (size_t i = 0; i < candidates->count; i++) {
		const struct policy_identity *identity =
			policy_universe_identity(universe, candidates->items[i]);

		if (policy_selector_matches(selector, identity->labels, identity->label_count)) {
			*bh_vec_push(ids) = identity->id;
		}
	}
}
