/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler.h"

#include "model/id.h"

#include <errno.h>

#define POOL_MAX (32u << 20) /* entries: 128 MiB */

void policy_cidrs_add(struct policy_cidrs *cidrs, const struct policy_cidr *cidr, uint32_t atom,
		      bool minus)
{
	*bh_vec_push(&cidrs->events) = (struct policy_cidr_event){
		.cidr = *cidr,
		.atom = atom,
		.minus = minus,
	};
}

void policy_cidrs_done(struct policy_cidrs *cidrs)
{
	bh_vec_done(&cidrs->events);
	bh_vec_done(&cidrs->prefixes);
	bh_vec_done(&cidrs->classes);
	bh_vec_done(&cidrs->pool);
	policy_numbers_done(&cidrs->numbers);
}

static int compare_events(const void *a, const void *b)
{
	const struct policy_cidr_event *x = a;
	const struct policy_cidr_event *y = b;
	int r = policy_cidr_compare(&x->cidr, &y->cidr);

	if (r) {
		return r;
	}
	if (x->atom != y->atom) {
		return x->atom < y->atom ? -1 : 1;
	}
	return (int)x->minus - (int)y->minus;
}

/* ---- classes by content ---- */
struct interner {
	uint32_t *slots; /* class index + 1 */
	size_t size;
};

static uint64_t hash_atoms(const uint32_t *atoms, size_t count)
{
	uint64_t h = 0x9e3779b97f4a7c15ull + count;

	for (size_t i = 0; i < count; i++) {
		h = (h ^ atoms[i]) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

static size_t intern_slot(const struct policy_cidrs *c, const struct interner *in,
			  const uint32_t *atoms, size_t count)
{
	size_t i = hash_atoms(atoms, count) & (in->size - 1);

	for (; in->slots[i]; i = (i + 1) & (in->size - 1)) {
		const struct policy_class *k = &c->classes.items[in->slots[i] - 1];

		if (k->atom_count == count &&
		    (!count || !memcmp(&c->pool.items[k->atoms], atoms, count * sizeof(*atoms)))) {
			break;
		}
	}
	return i;
}

static void grow_interner(const struct policy_cidrs *c, struct interner *in)
{
	free(in->slots);
	in->size = in->size ? in->size * 2 : 256;
	in->slots = bh_alloc_array(in->size, sizeof(*in->slots));
	for (size_t i = 0; i < c->classes.count; i++) {
		const struct policy_class *k = &c->classes.items[i];

		in->slots[intern_slot(c, in, c->pool.items + k->atoms, k->atom_count)] =
			(uint32_t)i + 1;
	}
}

/* The class of the atoms that stand at the end of the pool from `at` on; equal ones are taken back.
 */
static uint32_t intern(struct policy_cidrs *c, struct interner *in, size_t at)
{
	size_t count = c->pool.count - at;
	struct policy_class *k;
	size_t slot;

	if ((c->classes.count + 1) * 2 > in->size) {
		grow_interner(c, in);
	}
	slot = intern_slot(c, in, c->pool.items + at, count);
	if (in->slots[slot]) {
		c->pool.count = at;
		return in->slots[slot] - 1;
	}
	k = bh_vec_push(&c->classes);
	k->atoms = at;
	k->atom_count = count;
	in->slots[slot] = (uint32_t)c->classes.count;
	return (uint32_t)c->classes.count - 1;
}

static void push_atom(struct policy_cidrs *c, uint32_t atom)
{
	*bh_vec_push(&c->pool) = atom;
}

/* Appends (parent + plus) - minus to the pool; all are sorted by atom. */
static void merge(struct policy_cidrs *c, const struct policy_class *parent, size_t from, size_t to)
{
	/* Offsets, not pointers: the pool moves while it grows. */
	size_t p = parent ? parent->atoms : 0;
	size_t p_end = parent ? p + parent->atom_count : 0;
	size_t e = from;

	while (p < p_end || e < to) {
		const struct policy_cidr_event *event = &c->events.items[e];
		uint32_t inherited = p < p_end ? c->pool.items[p] : UINT32_MAX;
		uint32_t own = e < to ? event->atom : UINT32_MAX;
		uint32_t atom = inherited < own ? inherited : own;
		bool minus = false;

		if (inherited == atom) {
			p++;
		}
		for (; e < to && c->events.items[e].atom == atom; e++) {
			minus = minus || c->events.items[e].minus;
		}
		if (!minus) {
			push_atom(c, atom);
		}
	}
}

static int compare_atoms(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Would these events leave what holds in the parent as it is? Saves copying long lists. */
static bool changes_nothing(const struct policy_cidrs *c, const struct policy_class *parent,
			    size_t from, size_t to)
{
	bool same = true;

	for (size_t e = from; e < to && same; e++) {
		const struct policy_cidr_event *event = &c->events.items[e];
		bool there = parent->atom_count &&
			     bsearch(&event->atom, c->pool.items + parent->atoms,
				     parent->atom_count, sizeof(uint32_t), compare_atoms);

		same = there != event->minus;
	}
	return same;
}

struct node {
	struct policy_cidr cidr;
	uint32_t class_index;
};

static bool inside(const struct node *outer, const struct policy_cidr *inner)
{
	return outer->cidr.bits <= inner->bits &&
	       bh_cidr_contains(outer->cidr.addr, outer->cidr.bits, inner->addr);
}

int policy_cidrs_build(struct policy_cidrs *c)
{
	struct node stack[130];
	size_t depth = 0;
	struct interner in = {};
	size_t from = 0;
	int r = 0;

	if (c->events.count) {
		qsort(c->events.items, c->events.count, sizeof(c->events.items[0]), compare_events);
	}
	while (from < c->events.count && !r) {
		const struct policy_cidr cidr = c->events.items[from].cidr;
		const struct policy_class *parent;
		size_t to = from;
		size_t at = c->pool.count;
		uint32_t k;

		while (to < c->events.count &&
		       !policy_cidr_compare(&c->events.items[to].cidr, &cidr)) {
			to++;
		}
		while (depth && !inside(&stack[depth - 1], &cidr)) {
			depth--;
		}
		parent = depth ? &c->classes.items[stack[depth - 1].class_index] : NULL;
		if (parent && changes_nothing(c, parent, from, to)) {
			from = to;
			continue;
		}
		if (c->pool.count + (parent ? parent->atom_count : 0) + to - from > POOL_MAX) {
			r = -E2BIG;
			break;
		}
		merge(c, parent, from, to);
		from = to;
		/* Where nothing holds and nothing held, there is nothing to say. */
		if (!depth && c->pool.count == at) {
			continue;
		}
		k = intern(c, &in, at);
		if (depth && stack[depth - 1].class_index == k) {
			continue;
		}
		stack[depth++] = (struct node){.cidr = cidr, .class_index = k};
		*bh_vec_push(&c->prefixes) = (struct policy_prefix){.cidr = cidr, .class_index = k};
		if (!c->classes.items[k].class_id) {
			/* Named after the first prefix that has it. */
			c->classes.items[k].class_id =
				policy_numbers_take(&c->numbers, &cidr, sizeof(cidr));
		}
	}
	free(in.slots);
	return r;
}
