/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything from the kernel: the model at adoption, what an interrupted commit left, verify.
 *
 * A commit that was cut short left one of two things. Not flipped: other slots and prefix lists
 * that nobody asked for. Flipped: other slots that are old, entries that are dead, lists that no
 * set names. Both are mended alike: the slot that packets see is the truth, the other one becomes
 * its copy, and what it does not name goes.
 */
#include "host/dataplane/internal.h"

#include <bpf/bpf.h>
#include <errno.h>

static const enum dp_map slotted[] = {
	DP_MAP_NICS, DP_MAP_NIC_ADDRS, DP_MAP_NIC_VLANS, DP_MAP_ADDRS, DP_MAP_SETS, DP_MAP_ROWS,
};

/* One entry to mend. */
struct fix {
	enum dp_map map;
	uint8_t key[DP_KEY_MAX];
	uint8_t value[DP_VALUE_MAX];
	bool dead;
};

struct scan {
	struct hostd_dp *dp;
	uint32_t gen;
	BH_VEC(struct fix) fixes;
	struct dp_scopes scopes;
	struct dp_sum sum;
	struct bh_diag *diag;
};

static void add_fix(struct scan *s, enum dp_map map, const void *key, const void *value, bool dead)
{
	struct fix *f = bh_vec_push(&s->fixes);
	const struct dp_map_desc *d = &dp_map_descs[map];

	f->map = map;
	f->dead = dead;
	memcpy(f->key, key, d->key_size);
	memcpy(f->value, value, d->value_size);
	if (d->slot_size && !dead) {
		memcpy(dp_slot(map, f->value, s->gen + 1), dp_slot(map, f->value, s->gen),
		       d->slot_size);
	}
}

static bool slots_differ(enum dp_map map, void *value)
{
	return memcmp(dp_slot(map, value, 0), dp_slot(map, value, 1), dp_map_descs[map].slot_size);
}

static void adopt_nic(struct scan *s, uint32_t index, const void *value)
{
	struct bh_nic entry;
	struct dp_nic *nic;

	memcpy(&entry, value, sizeof(entry));
	if (!index || (dp_zero(entry.vm, 16) && dp_zero(entry.mac, 6))) {
		return;
	}
	nic = dp_nic_find(s->dp, entry.vm, entry.mac);
	if (nic) { /* can't be written by us twice */
		add_fix(s, DP_MAP_NICS, &index, &(struct bh_nic){}, false);
		return;
	}
	nic = dp_nic_adopt(s->dp, index, &entry);
	nic->open = entry.slot[s->gen & 1].flags & BH_NIC_OPEN;
	nic->device.host_flags = entry.slot[s->gen & 1].flags & DP_DEVICE_FLAGS;
	nic->move_flags = entry.slot[s->gen & 1].flags & DP_MOVE_FLAGS;
}

static void adopt_scope(struct scan *s, const void *value, uint32_t set)
{
	struct bh_set v;
	struct dp_lists *l;

	memcpy(&v, value, sizeof(v));
	if (!v.slot[s->gen & 1].scope) {
		return;
	}
	l = dp_lists_clone(NULL, set);
	l->scope = v.slot[s->gen & 1].scope;
	HASH_ADD(hh, s->dp->lists, set, sizeof(l->set), l);
}

static void adopt_rec(struct scan *s, const struct bh_rec *rec, const void *value)
{
	struct dp_nic *nic;

	dp_sum_account(&s->sum, NULL, rec);
	switch (rec->type) {
	case BH_REC_NIC:
		nic = dp_nic_find(s->dp, rec->nic.vm, rec->nic.mac);
		nic->has_rec = true;
		nic->rec = rec->nic;
		break;
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN:
		dp_nic_find(s->dp, rec->nic.vm, rec->nic.mac)->refs++;
		break;
	case BH_REC_SET:
		adopt_scope(s, value, rec->set.set);
		break;
	default:
		break;
	}
}

/* A learned address belongs to the kernel; all that is asked of it is a NIC. */
static bool learned_and_owned(const struct hostd_dp *dp, enum dp_map map, const void *key,
			      const void *value)
{
	struct bh_nic_addr_key k;
	struct bh_nic_addr v;

	if (map != DP_MAP_NIC_ADDRS) {
		return false;
	}
	memcpy(&k, key, sizeof(k));
	memcpy(&v, value, sizeof(v));
	return v.flags & BH_ADDR_LEARNED && k.nic < dp->map_size[DP_MAP_NICS] &&
	       dp->by_index[k.nic];
}

static void adopt_entry(struct scan *s, enum dp_map map, const void *key, void *value)
{
	const struct dp_map_desc *d = &dp_map_descs[map];
	bool alive = !dp_zero(dp_slot(map, value, s->gen), d->slot_size);
	struct bh_rec rec;

	if (map == DP_MAP_NICS) {
		uint32_t index;

		memcpy(&index, key, sizeof(index));
		adopt_nic(s, index, value);
		if (index && !s->dp->by_index[index]) {
			return;
		}
		alive = true; /* an array's entry stays */
	} else if (learned_and_owned(s->dp, map, key, value)) {
		return;
	}
	if (dp_rec_decode(s->dp, map, key, value, s->gen, &rec)) {
		adopt_rec(s, &rec, value);
	} else if (map == DP_MAP_NIC_ADDRS || map == DP_MAP_NIC_VLANS) {
		alive = false; /* its NIC is unknown, or it is gone in this generation */
	}
	s->dp->used[map]++;
	if (!alive || slots_differ(map, value)) {
		add_fix(s, map, key, value, !alive);
	}
}

static int compare_scope(const void *a, const void *b)
{
	const struct dp_lists *la = *(struct dp_lists *const *)a,
			      *lb = *(struct dp_lists *const *)b;

	return (la->scope > lb->scope) - (la->scope < lb->scope);
}

void dp_scopes_init(struct dp_scopes *scopes, const struct hostd_dp *dp)
{
	struct dp_lists *l, *tmp;

	scopes->lists = bh_alloc_array(HASH_COUNT(dp->lists) + 1, sizeof(struct dp_lists *));
	scopes->count = 0;
	HASH_ITER (hh, dp->lists, l, tmp) {
		scopes->lists[scopes->count++] = l;
	}
	qsort(scopes->lists, scopes->count, sizeof(struct dp_lists *), compare_scope);
}

void dp_scopes_done(struct dp_scopes *scopes)
{
	free(scopes->lists);
	memset(scopes, 0, sizeof(*scopes));
}

static uint32_t prefix_scope(const void *key)
{
	uint32_t scope;

	memcpy(&scope, (const uint8_t *)key + offsetof(struct bh_cidr_key, scope), sizeof(scope));
	return scope;
}

/* Whose entry of a trie it is; NULL: nobody's. */
static struct dp_lists *lists_of(const struct dp_scopes *scopes, const void *key)
{
	struct dp_lists wanted = {.scope = prefix_scope(key)}, *p = &wanted, **found;

	found = bsearch(&p, scopes->lists, scopes->count, sizeof(p), compare_scope);
	return found ? *found : NULL;
}

/* The record of a trie's entry; false when no set names its scope. */
static bool decode_prefix(enum dp_map map, const struct dp_lists *l, const void *key,
			  const void *value, struct bh_rec *ret_rec)
{
	struct dp_cidr c = {};
	struct dp_range r = {};
	struct bh_range_key rk;
	struct bh_cidr_key ck;

	if (!l) {
		return false;
	}
	if (map == DP_MAP_CIDRS) {
		memcpy(&ck, key, sizeof(ck));
		memcpy(&c.class_id, value, sizeof(c.class_id));
		memcpy(c.addr, ck.addr, 16);
		c.prefix_bits = (uint8_t)(ck.prefixlen - 32);
		dp_cidr_rec(&c, l->set, ret_rec);
	} else {
		memcpy(&rk, key, sizeof(rk));
		memcpy(&r.class_id, value, sizeof(r.class_id));
		r.proto = rk.proto;
		r.port = (uint16_t)(rk.port >> 8 | rk.port << 8);
		r.prefix_bits = (uint8_t)(rk.prefixlen - 48);
		dp_range_rec(&r, l->set, ret_rec);
	}
	return true;
}

static void adopt_prefix(struct scan *s, enum dp_map map, const void *key, const void *value)
{
	struct dp_lists *l = lists_of(&s->scopes, key);
	struct bh_rec rec;

	if (prefix_scope(key) > s->dp->scope_next) {
		s->dp->scope_next = prefix_scope(key);
	}
	s->dp->used[map]++;
	if (decode_prefix(map, l, key, value, &rec)) {
		dp_lists_change(l, &rec, true, &s->sum);
	} else {
		add_fix(s, map, key, value, true);
	}
}

typedef void entry_fn(struct scan *s, enum dp_map map, const void *key, void *value);

static int each_entry(struct scan *s, enum dp_map map, entry_fn *fn)
{
	struct dp_iter it;
	int n;

	dp_iter_init(&it, s->dp, map);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			fn(s, map, dp_iter_key(&it, i), dp_iter_value(&it, i));
		}
	}
	dp_iter_done(&it);
	return n ? bh_diag_set(s->diag, n, "cannot read %s: %s", dp_map_descs[map].name,
			       strerror(-n))
		 : 0;
}

static void adopt_prefix_entry(struct scan *s, enum dp_map map, const void *key, void *value)
{
	adopt_prefix(s, map, key, value);
}

static int mend(struct scan *s)
{
	int r = s->fixes.count ? dp_grace(s->dp, s->diag) : 0;

	bh_vec_foreach (f, &s->fixes) {
		if (r) {
			return r;
		}
		r = f->dead ? dp_map_del(s->dp, f->map, f->key)
			    : dp_map_put(s->dp, f->map, f->key, f->value);
		if (r) {
			return bh_diag_set(s->diag, r, "cannot mend %s: %s",
					   dp_map_descs[f->map].name, strerror(-r));
		}
		s->dp->used[f->map] -= f->dead;
	}
	return s->fixes.count && !r ? dp_grace(s->dp, s->diag) : r;
}

int dp_scan_adopt(struct hostd_dp *dp, bool *ret_recovered, struct bh_diag *diag)
{
	struct scan s = {
		.dp = dp, .gen = dp->ctl->gen, .sum = {.hasher = dp->hasher}, .diag = diag};
	int r = 0;

	memset(dp->used, 0, sizeof(dp->used));
	for (size_t i = 0; !r && i < BH_ARRAY_SIZE(slotted); i++) {
		r = each_entry(&s, slotted[i], adopt_entry);
	}
	dp_scopes_init(&s.scopes, dp);
	if (s.scopes.count) {
		dp->scope_next = s.scopes.lists[s.scopes.count - 1]->scope;
	}
	r = r ? r : each_entry(&s, DP_MAP_CIDRS, adopt_prefix_entry);
	r = r ? r : each_entry(&s, DP_MAP_RANGES, adopt_prefix_entry);
	dp_scopes_done(&s.scopes);
	dp->hash = s.sum.hash;
	r = r ? r : mend(&s);
	*ret_recovered = s.fixes.count > 0;
	bh_vec_done(&s.fixes);
	return r ? r : dp_ports_scan(dp, diag);
}

/* ---- verify ---- */

struct dp_verify {
	struct dp_iter it;
	size_t stage; /* slotted maps, then tries, then ports */
	bool walking;
	bool drift;
	struct dp_sum sum;
	struct dp_scopes scopes;
};

void dp_verify_done(struct hostd_dp *dp)
{
	if (dp->verify) {
		dp_iter_done(&dp->verify->it);
		dp_scopes_done(&dp->verify->scopes);
		free(dp->verify);
		dp->verify = NULL;
	}
}

void dp_verify_restart(struct hostd_dp *dp)
{
	dp_verify_done(dp);
}

const enum dp_map dp_record_maps[DP_RECORD_MAP_COUNT] = {
	DP_MAP_NICS, DP_MAP_NIC_ADDRS, DP_MAP_NIC_VLANS, DP_MAP_ADDRS,
	DP_MAP_SETS, DP_MAP_ROWS,      DP_MAP_CIDRS,	 DP_MAP_RANGES,
};

bool dp_entry_read(const struct hostd_dp *dp, enum dp_map map, const void *key, void *value,
		   const struct dp_scopes *scopes, struct dp_entry *ret_entry)
{
	if (map == DP_MAP_CIDRS || map == DP_MAP_RANGES) {
		const struct dp_lists *l = lists_of(scopes, key);

		ret_entry->differ = !l;
		return decode_prefix(map, l, key, value, &ret_entry->rec);
	}
	ret_entry->differ = slots_differ(map, value);
	return dp_rec_decode(dp, map, key, value, dp->ctl->gen, &ret_entry->rec);
}

static int verify_chunk(struct hostd_dp *dp, struct dp_verify *v)
{
	enum dp_map map = dp_record_maps[v->stage];
	int n;

	if (!v->walking) {
		dp_iter_init(&v->it, dp, map);
		v->walking = true;
	}
	n = dp_iter_next(&v->it);
	for (int i = 0; i < n; i++) {
		struct dp_entry entry;

		if (dp_entry_read(dp, map, dp_iter_key(&v->it, i), dp_iter_value(&v->it, i),
				  &v->scopes, &entry)) {
			dp_sum_account(&v->sum, NULL, &entry.rec);
		}
		v->drift = v->drift || entry.differ;
	}
	if (n == 0) {
		dp_iter_done(&v->it);
		v->walking = false;
		v->stage++;
	}
	return n;
}

static void add_shadowed(const struct hostd_dp *dp, struct dp_sum *sum)
{
	struct dp_host_addr *a, *tmp;

	HASH_ITER (hh, dp->host_addrs, a, tmp) {
		if (a->shadows) {
			dp_sum_account(sum, NULL, &a->shadowed);
		}
	}
}

static bool ports_drifted(const struct hostd_dp *dp)
{
	struct dp_port *p, *tmp;

	HASH_ITER (hh, dp->ports, p, tmp) {
		struct bh_port got;

		if (dp_map_get(dp, DP_MAP_PORTS, &p->ifindex, &got) ||
		    memcmp(&got, &p->port, sizeof(got)) ||
		    dp_attached(dp, p->ifindex, (enum bh_port_kind)p->port.kind) != 1) {
			return true;
		}
	}
	return false;
}

int hostd_dp_verify(struct hostd_dp *dp, size_t budget, struct bh_diag *diag)
{
	size_t seen = 0;
	struct dp_verify *v;
	int r;

	if (hostd_dp_working(dp)) {
		return 1; /* slots differ now, and should */
	}
	r = hostd_dp_settle(dp, diag);
	if (!r && !dp->verify) {
		dp->verify = bh_alloc(sizeof(*dp->verify));
		dp->verify->sum.hasher = dp->hasher;
		dp_scopes_init(&dp->verify->scopes, dp);
	}
	v = dp->verify;
	while (!r && v->stage < DP_RECORD_MAP_COUNT && seen <= budget) {
		int n = verify_chunk(dp, v);

		if (n < 0) {
			r = bh_diag_set(diag, n, "cannot read back: %s", strerror(-n));
		}
		seen += n > 0 ? (size_t)n : 0;
	}
	if (!r && v->stage < DP_RECORD_MAP_COUNT) {
		return 1;
	}
	if (!r) {
		add_shadowed(dp, &v->sum);
		if (v->drift || !bh_hash_equal(&v->sum.hash, &dp->hash) || ports_drifted(dp) ||
		    dp_ctl_drifted(dp)) {
			r = 2;
		}
	}
	dp_verify_done(dp);
	return r;
}
