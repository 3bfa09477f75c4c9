/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prefix lists of sets (CIDR and port ranges). A trie has no generations: a list that changes
 * is written anew under a scope of its own, which the set's slot names; the old one is erased when
 * nobody looks at it any more. Lists are short beside rows, so a copy is kept in memory, sorted.
 */
#include "host/dataplane/internal.h"

#include <bpf/bpf.h>
#include <errno.h>

struct dp_lists *dp_lists_find(const struct hostd_dp *dp, uint32_t set)
{
	struct dp_lists *l;

	HASH_FIND(hh, dp->lists, &set, sizeof(set), l);
	return l;
}

struct dp_lists *dp_lists_clone(const struct dp_lists *old, uint32_t set)
{
	struct dp_lists *l = bh_alloc(sizeof(*l));

	l->set = set;
	if (old && old->cidrs.count) {
		l->cidrs.items =
			bh_memdup(old->cidrs.items, old->cidrs.count * sizeof(*old->cidrs.items));
		l->cidrs.count = l->cidrs.capacity = old->cidrs.count;
	}
	if (old && old->ranges.count) {
		l->ranges.items = bh_memdup(old->ranges.items,
					    old->ranges.count * sizeof(*old->ranges.items));
		l->ranges.count = l->ranges.capacity = old->ranges.count;
	}
	return l;
}

void dp_lists_free(struct dp_lists *l)
{
	if (l) {
		bh_vec_done(&l->cidrs);
		bh_vec_done(&l->ranges);
		free(l);
	}
}

void dp_lists_done(struct hostd_dp *dp)
{
	struct dp_lists *l, *tmp;

	HASH_ITER (hh, dp->lists, l, tmp) {
		HASH_DEL(dp->lists, l);
		dp_lists_free(l);
	}
}

static int compare_cidr(const struct dp_cidr *a, const struct dp_cidr *b)
{
	int c = (int)a->prefix_bits - (int)b->prefix_bits;

	return c ? c : memcmp(a->addr, b->addr, 16);
}

static int compare_range(const struct dp_range *a, const struct dp_range *b)
{
	int c = (int)a->proto - (int)b->proto;

	c = c ? c : (int)a->prefix_bits - (int)b->prefix_bits;
	return c ? c : (int)a->port - (int)b->port;
}

/* Puts item into the sorted vector, replaces or removes it. Leaves in found/old what stood there.
 */
#define SORTED_CHANGE(v, item, compare, put, found, old_item)                                      \
	do {                                                                                       \
		size_t lo_ = 0, hi_ = (v)->count;                                                  \
		while (lo_ < hi_) {                                                                \
			size_t mid_ = (lo_ + hi_) / 2;                                             \
			if (compare(&(v)->items[mid_], item) < 0) {                                \
				lo_ = mid_ + 1;                                                    \
			} else {                                                                   \
				hi_ = mid_;                                                        \
			}                                                                          \
		}                                                                                  \
		found = lo_ < (v)->count && !compare(&(v)->items[lo_], item);                      \
		if (found) {                                                                       \
			old_item = (v)->items[lo_];                                                \
		}                                                                                  \
		if (put && !found) {                                                               \
			bh_vec_push(v);                                                            \
			memmove(&(v)->items[lo_ + 1], &(v)->items[lo_],                            \
				((v)->count - 1 - lo_) * sizeof(*(v)->items));                     \
		}                                                                                  \
		if (put) {                                                                         \
			(v)->items[lo_] = *(item);                                                 \
		} else if (found) {                                                                \
			(v)->count--;                                                              \
			memmove(&(v)->items[lo_], &(v)->items[lo_ + 1],                            \
				((v)->count - lo_) * sizeof(*(v)->items));                         \
		}                                                                                  \
	} while (0)

void dp_lists_change(struct dp_lists *l, const struct bh_rec *rec, bool put, struct dp_sum *sum)
{
	struct bh_rec old;
	bool found, same = false;

	if (rec->type == BH_REC_CIDR) {
		struct dp_cidr item = {.prefix_bits = rec->cidr.prefix_bits,
				       .class_id = rec->cidr.class_id};
		struct dp_cidr was = {};

		memcpy(item.addr, rec->cidr.addr, 16);
		SORTED_CHANGE(&l->cidrs, &item, compare_cidr, put, found, was);
		same = put && found && was.class_id == item.class_id;
		dp_cidr_rec(&was, l->set, &old);
	} else {
		struct dp_range item = {.proto = rec->range.proto,
					.prefix_bits = rec->range.prefix_bits,
					.port = rec->range.port,
					.class_id = rec->range.class_id};
		struct dp_range was = {};

		SORTED_CHANGE(&l->ranges, &item, compare_range, put, found, was);
		same = put && found && was.class_id == item.class_id;
		dp_range_rec(&was, l->set, &old);
	}
	if (!same && (found || put)) {
		dp_sum_account(sum, found ? &old : NULL, put ? rec : NULL);
	}
}

bool dp_lists_equal(const struct dp_lists *a, const struct dp_lists *b)
{
	if (!b) {
		return !a->cidrs.count && !a->ranges.count;
	}
	if (a->cidrs.count != b->cidrs.count || a->ranges.count != b->ranges.count) {
		return false;
	}
	for (size_t i = 0; i < a->cidrs.count; i++) {
		if (compare_cidr(&a->cidrs.items[i], &b->cidrs.items[i]) ||
		    a->cidrs.items[i].class_id != b->cidrs.items[i].class_id) {
			return false;
		}
	}
	for (size_t i = 0; i < a->ranges.count; i++) {
		if (compare_range(&a->ranges.items[i], &b->ranges.items[i]) ||
		    a->ranges.items[i].class_id != b->ranges.items[i].class_id) {
			return false;
		}
	}
	return true;
}

uint32_t dp_scope_take(struct hostd_dp *dp)
{
	struct dp_lists *l, *tmp;
	bool taken = true;

	/* After 2^32 changes numbers come round; the few that still live are skipped. */
	while (taken) {
		dp->scope_next += dp->scope_next == UINT32_MAX ? 2 : 1;
		taken = false;
		HASH_ITER (hh, dp->lists, l, tmp) {
			taken = taken || l->scope == dp->scope_next;
		}
	}
	return dp->scope_next;
}

static int write_one(struct hostd_dp *dp, enum dp_map map, const void *key, uint32_t class_id,
		     struct bh_diag *diag)
{
	uint32_t got = ~class_id;
	int r = dp_map_put(dp, map, key, &class_id);

	if (!r) {
		dp->used[map]++;
		r = dp_map_get(dp, map, key, &got);
	}
	if (!r && got != class_id) {
		r = -EIO;
	}
	return r ? bh_diag_set(diag, r, "cannot write a prefix into %s: %s", dp_map_descs[map].name,
			       strerror(-r))
		 : 0;
}

int dp_lists_write(struct hostd_dp *dp, const struct dp_lists *l, struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; !r && i < l->cidrs.count; i++) {
		struct bh_cidr_key key;

		dp_cidr_key(&l->cidrs.items[i], l->scope, &key);
		r = write_one(dp, DP_MAP_CIDRS, &key, l->cidrs.items[i].class_id, diag);
	}
	for (size_t i = 0; !r && i < l->ranges.count; i++) {
		struct bh_range_key key;

		dp_range_key(&l->ranges.items[i], l->scope, &key);
		r = write_one(dp, DP_MAP_RANGES, &key, l->ranges.items[i].class_id, diag);
	}
	return r;
}

/* Counts what really was there, because a write may have stopped half-way. */
static int erase_one(struct hostd_dp *dp, enum dp_map map, const void *key)
{
	int r = bpf_map_delete_elem(dp->map_fd[map], key);

	if (!r) {
		dp->used[map]--;
	}
	return r == -ENOENT ? 0 : r;
}

int dp_lists_erase(struct hostd_dp *dp, const struct dp_lists *l, struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; i < l->cidrs.count; i++) {
		struct bh_cidr_key key;
		int e;

		dp_cidr_key(&l->cidrs.items[i], l->scope, &key);
		e = erase_one(dp, DP_MAP_CIDRS, &key);
		r = r ? r : e;
	}
	for (size_t i = 0; i < l->ranges.count; i++) {
		struct bh_range_key key;
		int e;

		dp_range_key(&l->ranges.items[i], l->scope, &key);
		e = erase_one(dp, DP_MAP_RANGES, &key);
		r = r ? r : e;
	}
	return r ? bh_diag_set(diag, r, "cannot erase an old prefix list: %s", strerror(-r)) : 0;
}
