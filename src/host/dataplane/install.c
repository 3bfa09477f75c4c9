/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits. A commit lives from planning to settling in one struct dp_commit:
 *   plan    read what is there, work out the other slot of each touched key, account the hash
 *   check   capacity, contradictions; up to here nothing in the kernel changed but fresh, closed
 *           NIC entries
 *   write   other slots and new prefix lists, read back; a failure takes all of it back
 *   flip    one aligned store; then the model in memory follows
 *   settle  (later) grace period, new slots over old ones, dead entries and old lists deleted,
 *           grace period
 * The second grace period is for the kernel's free lists: a deleted element may become that of
 * another key, and a program that still holds it must be gone before that key's verdict can be
 * seen, i.e. before the next flip.
 */
#include "host/dataplane/internal.h"

#include "base/time.h"

#include <errno.h>

struct nic_change {
	struct dp_nic *nic;
	int refs;
	bool sets_rec;
	bool has_rec;
	struct bh_rec_nic rec;
};

struct shadow_change {
	struct dp_host_addr *addr;
	bool shadows;
	struct bh_rec rec;
};

struct dp_commit {
	BH_VEC(struct dp_op) ops;
	BH_VEC(struct nic_change) nics;
	BH_VEC(struct shadow_change) shadows;
	struct dp_lists *lists; /* new ones, by set */
	BH_VEC(struct dp_lists *) old_lists;
	size_t set_ops_begin, set_ops_end;
	struct dp_sum sum;
	size_t written; /* ops written, for taking back */
	size_t settled; /* ops and old lists settled, for going on after an error */
	size_t settled_lists;
	bool waited;
	bool deleted;
};

static void commit_free(struct dp_commit *c)
{
	struct dp_lists *l, *tmp;

	if (!c) {
		return;
	}
	HASH_ITER (hh, c->lists, l, tmp) {
		HASH_DEL(c->lists, l);
		dp_lists_free(l);
	}
	bh_vec_foreach (old, &c->old_lists) {
		dp_lists_free(*old);
	}
	bh_vec_done(&c->old_lists);
	bh_vec_done(&c->ops);
	bh_vec_done(&c->nics);
	bh_vec_done(&c->shadows);
	free(c);
}

void dp_changes_add(struct dp_changes *changes, const struct bh_rec *rec, bool put)
{
	struct dp_change *c = bh_vec_push(&changes->list);

	c->rec = *rec;
	bh_rec_key(rec, c->key);
	c->seq = (uint32_t)changes->list.count;
	c->put = put;
}

static int compare_changes(const void *a, const void *b)
{
	const struct dp_change *ca = a, *cb = b;
	int c = memcmp(ca->key, cb->key, sizeof(ca->key));

	return c ? c : (ca->seq > cb->seq) - (ca->seq < cb->seq);
}

/* By key; of several changes to one key (a record that moved to another segment) the last counts.
 */
static void sort_changes(struct dp_changes *changes)
{
	struct dp_change *c = changes->list.items;
	size_t n = changes->list.count, kept = 0;

	if (!n) {
		return;
	}
	qsort(c, n, sizeof(*c), compare_changes);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 == n || memcmp(c[i].key, c[i + 1].key, sizeof(c->key))) {
			c[kept++] = c[i];
		}
	}
	changes->list.count = kept;
}

/* ---- plan ---- */

static bool same_value(const struct bh_rec *a, const struct bh_rec *b)
{
	uint8_t va[BH_REC_VALUE_MAX] = {}, vb[BH_REC_VALUE_MAX] = {};

	bh_rec_value(a, va);
	bh_rec_value(b, vb);
	return !memcmp(va, vb, sizeof(va));
}

static void account(struct dp_commit *c, const struct bh_rec *old, const struct bh_rec *put)
{
	if (old && put && same_value(old, put)) {
		return;
	}
	if (old || put) {
		dp_sum_account(&c->sum, old, put);
	}
}

/* While the host has the address, the image's record for it is kept aside. */
static void plan_shadow(struct dp_commit *c, struct dp_host_addr *addr,
			const struct dp_change *change)
{
	struct shadow_change *s = bh_vec_push(&c->shadows);

	s->addr = addr;
	s->shadows = change->put;
	s->rec = change->rec;
	account(c, addr->shadows ? &addr->shadowed : NULL, change->put ? &change->rec : NULL);
}

static struct nic_change *nic_change(struct dp_commit *c, struct dp_nic *nic)
{
	struct nic_change *n = c->nics.count ? &c->nics.items[c->nics.count - 1] : NULL;

	if (!n || n->nic != nic) {
		n = bh_vec_push(&c->nics);
		n->nic = nic;
	}
	return n;
}

static void plan_nic(struct dp_commit *c, struct dp_nic *nic, const struct dp_change *change,
		     struct dp_op *op, bool has_old)
{
	struct nic_change *n = nic_change(c, nic);
	struct dp_nic then = *nic;
	struct bh_nic_slot slot;

	if (change->rec.type != BH_REC_NIC) {
		n->refs += (int)change->put - (int)has_old;
		return;
	}
	n->sets_rec = true;
	n->has_rec = then.has_rec = change->put;
	n->rec = then.rec = change->rec.nic;
	dp_nic_slot(&then, &slot);
	memcpy(op->slot, &slot, sizeof(slot));
}

static int read_op(const struct hostd_dp *dp, struct dp_op *op, struct bh_diag *diag)
{
	int r = dp_map_get(dp, op->map, op->key, op->old);

	op->existed = !r;
	if (r == -ENOENT) {
		memset(op->old, 0, sizeof(op->old));
		return 0;
	}
	return r ? bh_diag_set(diag, r, "cannot read %s: %s", dp_map_descs[op->map].name,
			       strerror(-r))
		 : 0;
}

static bool learned(const struct dp_op *op)
{
	struct bh_nic_addr v;

	memcpy(&v, op->old, sizeof(v));
	return op->map == DP_MAP_NIC_ADDRS && op->existed && v.flags & BH_ADDR_LEARNED;
}

static int plan_record(struct hostd_dp *dp, struct dp_commit *c, const struct dp_change *change,
		       struct bh_diag *diag)
{
	bool of_nic = change->rec.type <= BH_REC_NIC_VLAN, has_old;
	struct dp_op op = {.map = dp_rec_map(&change->rec)};
	struct dp_nic *nic = NULL;
	struct dp_host_addr *host;
	struct bh_rec old;
	int r;

	if (of_nic) { /* the three NIC records begin with vm and mac */
		nic = change->put ? dp_nic_need(dp, change->rec.nic.vm, change->rec.nic.mac, diag)
				  : dp_nic_find(dp, change->rec.nic.vm, change->rec.nic.mac);
		if (!nic) {
			return change->put ? HOSTD_DP_FULL : 0;
		}
		nic_change(c, nic); /* so that a new index is freed again when this fails */
	}
	dp_rec_encode(&change->rec, nic ? nic->index : 0, op.key, op.slot);
	if (!change->put) {
		memset(op.slot, 0, sizeof(op.slot));
	}
	host = op.map == DP_MAP_ADDRS ? dp_host_addr_find(dp, (const void *)op.key) : NULL;
	if (host) {
		plan_shadow(c, host, change);
		return 0;
	}
	r = read_op(dp, &op, diag);
	if (r) {
		return r;
	}
	has_old = op.existed && dp_rec_decode(dp, op.map, op.key, op.old, dp->ctl->gen, &old);
	if (nic) {
		plan_nic(c, nic, change, &op, has_old);
	}
	account(c, has_old ? &old : NULL, change->put ? &change->rec : NULL);
	/* A set's operation is needed also when only its lists change. */
	if (op.map != DP_MAP_SETS && !(change->put && learned(&op)) &&
	    !memcmp(op.slot, dp_slot(op.map, op.old, dp->ctl->gen),
		    dp_map_descs[op.map].slot_size)) {
		return 0;
	}
	if (op.existed || change->put) {
		*bh_vec_push(&c->ops) = op;
	}
	return 0;
}

static void plan_list(struct hostd_dp *dp, struct dp_commit *c, const struct dp_change *change)
{
	uint32_t set =
		change->rec.type == BH_REC_CIDR ? change->rec.cidr.set : change->rec.range.set;
	struct dp_lists *l;

	HASH_FIND(hh, c->lists, &set, sizeof(set), l);
	if (!l) {
		l = dp_lists_clone(dp_lists_find(dp, set), set);
		HASH_ADD(hh, c->lists, set, sizeof(l->set), l);
	}
	dp_lists_change(l, &change->rec, change->put, &c->sum);
}

static struct dp_op *set_op(struct dp_commit *c, uint32_t set)
{
	for (size_t i = c->set_ops_begin; i < c->set_ops_end; i++) {
		if (!memcmp(c->ops.items[i].key, &set, sizeof(set))) {
			return &c->ops.items[i];
		}
	}
	return NULL;
}

/* Gives every set whose lists change an operation with the new scope. */
static int plan_scopes(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	struct dp_lists *l, *tmp;

	HASH_ITER (hh, c->lists, l, tmp) {
		struct dp_op *op = set_op(c, l->set), fresh = {.map = DP_MAP_SETS};
		struct bh_set_slot slot;

		if (!op) {
			int r;

			memcpy(fresh.key, &l->set, sizeof(l->set));
			r = read_op(dp, &fresh, diag);
			if (r) {
				return r;
			}
			memcpy(fresh.slot, dp_slot(DP_MAP_SETS, fresh.old, dp->ctl->gen),
			       sizeof(slot));
			op = bh_vec_push(&c->ops);
			*op = fresh;
		}
		l->scope = l->cidrs.count || l->ranges.count ? dp_scope_take(dp) : 0;
		memcpy(&slot, op->slot, sizeof(slot));
		if (l->scope && slot.default_action == BH_ACTION_NONE) {
			return bh_diag_set(diag, HOSTD_DP_INVALID,
					   "set %u has prefixes or port ranges but no set record",
					   l->set);
		}
		slot.scope = l->scope;
		memcpy(op->slot, &slot, sizeof(slot));
	}
	return 0;
}

/* Lists that were named but came out as they were. */
static void drop_idle_lists(struct hostd_dp *dp, struct dp_commit *c)
{
	struct dp_lists *l, *tmp;

	HASH_ITER (hh, c->lists, l, tmp) {
		const struct dp_lists *old = dp_lists_find(dp, l->set);

		if (dp_lists_equal(l, old)) {
			HASH_DEL(c->lists, l);
			dp_lists_free(l);
		}
	}
}

/* Sets whose lists stay keep their scope; a set that goes must not leave lists behind. */
static int keep_scopes(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	for (size_t i = c->set_ops_begin; i < c->set_ops_end; i++) {
		struct dp_op *op = &c->ops.items[i];
		struct dp_lists *old, *changed;
		struct bh_set_slot slot;
		uint32_t set;

		memcpy(&set, op->key, sizeof(set));
		memcpy(&slot, op->slot, sizeof(slot));
		HASH_FIND(hh, c->lists, &set, sizeof(set), changed);
		old = dp_lists_find(dp, set);
		if (changed || !old) {
			continue;
		}
		if (slot.default_action == BH_ACTION_NONE) {
			return bh_diag_set(diag, HOSTD_DP_INVALID,
					   "set %u goes but its prefixes or port ranges stay", set);
		}
		slot.scope = old->scope;
		memcpy(op->slot, &slot, sizeof(slot));
	}
	return 0;
}

static void drop_idle_ops(struct hostd_dp *dp, struct dp_commit *c)
{
	size_t kept = 0;

	bh_vec_foreach (op, &c->ops) {
		const void *now = dp_slot(op->map, op->old, dp->ctl->gen);

		if (op->map != DP_MAP_SETS ||
		    memcmp(op->slot, now, dp_map_descs[op->map].slot_size)) {
			c->ops.items[kept++] = *op;
		}
	}
	c->ops.count = kept;
}

static int plan(struct hostd_dp *dp, struct dp_commit *c, struct dp_changes *changes,
		struct bh_diag *diag)
{
	int r = 0;

	sort_changes(changes);
	bh_vec_foreach (change, &changes->list) {
		r = change->put ? dp_rec_check(&change->rec, diag) : 0;
		if (!r && (change->rec.type == BH_REC_CIDR || change->rec.type == BH_REC_RANGE)) {
			plan_list(dp, c, change);
			continue;
		}
		if (!r && change->rec.type == BH_REC_SET && !c->set_ops_end) {
			c->set_ops_begin = c->ops.count;
		}
		r = r ? r : plan_record(dp, c, change, diag);
		if (r) {
			return r;
		}
		if (change->rec.type == BH_REC_SET) {
			c->set_ops_end = c->ops.count;
		}
	}
	drop_idle_lists(dp, c);
	r = keep_scopes(dp, c, diag);
	r = r ? r : plan_scopes(dp, c, diag);
	drop_idle_ops(dp, c);
	return r;
}

/* ---- check ---- */

static int refuse_full(struct hostd_dp *dp, const uint32_t need[HOSTD_DP_TABLE_COUNT],
		       struct bh_diag *diag)
{
	char text[256];
	size_t len = 0;

	for (int t = 0; t < HOSTD_DP_TABLE_COUNT; t++) {
		struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];

		hostd_dp_usage(dp, usage);
		if (need[t] && len < sizeof(text)) {
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%s: %u needed, %u are there", len ? "; " : "",
						hostd_dp_table_name((enum hostd_dp_table)t),
						need[t], usage[t].size);
		}
	}
	return bh_diag_set(diag, HOSTD_DP_FULL, "does not fit (%s)", len ? text : "unknown table");
}

static int check_nics(struct hostd_dp *dp, const struct dp_changes *changes,
		      uint32_t ret_need[HOSTD_DP_TABLE_COUNT], struct bh_diag *diag)
{
	uint32_t count = dp->nic_count;

	bh_vec_foreach (change, &changes->list) {
		if (change->put && change->rec.type == BH_REC_NIC &&
		    !dp_nic_find(dp, change->rec.nic.vm, change->rec.nic.mac)) {
			count++;
		}
	}
	if (count + 1 > dp->map_size[DP_MAP_NICS]) {
		ret_need[HOSTD_DP_NICS] = count + 1;
		return refuse_full(dp, ret_need, diag);
	}
	return 0;
}

static int check_capacity(struct hostd_dp *dp, const struct dp_commit *c,
			  uint32_t ret_need[HOSTD_DP_TABLE_COUNT], struct bh_diag *diag)
{
	uint64_t need[DP_MAP_COUNT] = {};
	struct dp_lists *l, *tmp;
	bool full = false;

	bh_vec_foreach (op, &c->ops) {
		need[op->map] += !op->existed;
	}
	HASH_ITER (hh, c->lists, l, tmp) {
		need[DP_MAP_CIDRS] += l->cidrs.count;
		need[DP_MAP_RANGES] += l->ranges.count;
	}
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		int table = dp_map_descs[m].table;

		if (need[m] && table >= 0 && need[m] + dp->used[m] > dp->map_size[m]) {
			ret_need[table] = (uint32_t)(need[m] + dp->used[m]);
			full = true;
		}
	}
	return full ? refuse_full(dp, ret_need, diag) : 0;
}

/* ---- write ---- */

static void op_value(const struct dp_op *op, uint32_t gen, bool both,
		     uint8_t ret_value[DP_VALUE_MAX])
{
	uint32_t size = dp_map_descs[op->map].slot_size;

	memcpy(ret_value, op->old, DP_VALUE_MAX);
	if (learned(op)) { /* from now on it is configured; packets see no difference */
		struct bh_nic_addr v;

		memcpy(&v, ret_value, sizeof(v));
		v.flags &= ~BH_ADDR_LEARNED;
		v.expires_ns = 0;
		memcpy(ret_value, &v, sizeof(v));
	}
	memcpy(dp_slot(op->map, ret_value, gen), op->slot, size);
	if (both) {
		memcpy(dp_slot(op->map, ret_value, gen ^ 1), op->slot, size);
	}
}

static int write_ops(struct hostd_dp *dp, struct dp_commit *c, uint32_t gen, struct bh_diag *diag)
{
	uint8_t value[DP_VALUE_MAX], got[DP_VALUE_MAX] = {};

	for (; c->written < c->ops.count; c->written++) {
		struct dp_op *op = &c->ops.items[c->written];
		int r;

		op_value(op, gen, false, value);
		r = dp_map_put(dp, op->map, op->key, value);
		if (r) {
			return bh_diag_set(diag, r, "cannot write %s: %s",
					   dp_map_descs[op->map].name, strerror(-r));
		}
		dp->used[op->map] += !op->existed;
	}
	bh_vec_foreach (op, &c->ops) {
		int r = dp_map_get(dp, op->map, op->key, got);

		op_value(op, gen, false, value);
		if (r || memcmp(value, got, dp_map_descs[op->map].value_size)) {
			return bh_diag_set(diag, r ? r : -EIO,
					   "%s reads back otherwise than written",
					   dp_map_descs[op->map].name);
		}
	}
	return 0;
}

static void release_nics(struct hostd_dp *dp, struct dp_commit *c)
{
	struct dp_nic *last = NULL;

	/* A NIC may stand in the list several times, but a freed one must not be looked at again.
	 */
	for (size_t i = 0; i < c->nics.count; i++) {
		for (size_t j = i + 1; j < c->nics.count; j++) {
			if (c->nics.items[j].nic == c->nics.items[i].nic) {
				c->nics.items[i].nic = NULL;
				break;
			}
		}
		last = c->nics.items[i].nic;
		if (last && dp_nic_release(dp, last, NULL)) {
			continue; /* stays as a closed entry; the next open frees it */
		}
	}
	c->nics.count = 0;
}

/* Packets have seen nothing of it. What fails here is mended by the next open. */
static void take_back(struct hostd_dp *dp, struct dp_commit *c)
{
	struct dp_lists *l, *tmp;

	for (size_t i = 0; i < c->written; i++) {
		struct dp_op *op = &c->ops.items[i];

		if (op->existed) {
			(void)!dp_map_put(dp, op->map, op->key, op->old);
		} else if (!dp_map_del(dp, op->map, op->key)) {
			dp->used[op->map]--;
		}
	}
	HASH_ITER (hh, c->lists, l, tmp) {
		(void)!dp_lists_erase(dp, l, NULL);
	}
	if (c->written) {
		(void)!dp_grace(dp, NULL);
	}
	release_nics(dp, c);
}

static int write_all(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	struct dp_lists *l, *tmp;
	int r = 0;

	HASH_ITER (hh, c->lists, l, tmp) {
		r = r ? r : dp_lists_write(dp, l, diag);
	}
	return r ? r : write_ops(dp, c, dp->ctl->gen + 1, diag);
}

/* ---- flip, settle ---- */

static void follow(struct hostd_dp *dp, struct dp_commit *c)
{
	struct dp_lists *l, *tmp, *old;

	dp->hash = c->sum.hash;
	bh_vec_foreach (n, &c->nics) {
		n->nic->refs = (unsigned int)((int)n->nic->refs + n->refs);
		if (n->sets_rec) {
			n->nic->has_rec = n->has_rec;
			n->nic->rec = n->rec;
		}
	}
	bh_vec_foreach (s, &c->shadows) {
		s->addr->shadows = s->shadows;
		s->addr->shadowed = s->rec;
	}
	HASH_ITER (hh, c->lists, l, tmp) {
		HASH_DEL(c->lists, l);
		old = dp_lists_find(dp, l->set);
		if (old) {
			HASH_DEL(dp->lists, old);
			*bh_vec_push(&c->old_lists) = old;
		}
		if (l->scope) {
			HASH_ADD(hh, dp->lists, set, sizeof(l->set), l);
		} else {
			dp_lists_free(l);
		}
	}
}

static int settle_ops(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	uint8_t value[DP_VALUE_MAX];

	for (; c->settled < c->ops.count; c->settled++) {
		struct dp_op *op = &c->ops.items[c->settled];
		bool dead = op->map != DP_MAP_NICS && dp_zero(op->slot, sizeof(op->slot));
		int r;

		op_value(op, dp->ctl->gen, true, value);
		r = dead ? dp_map_del(dp, op->map, op->key)
			 : dp_map_put(dp, op->map, op->key, value);
		if (r) {
			return bh_diag_set(diag, r, "cannot settle %s: %s",
					   dp_map_descs[op->map].name, strerror(-r));
		}
		dp->used[op->map] -= dead;
		c->deleted = c->deleted || dead;
	}
	for (; c->settled_lists < c->old_lists.count; c->settled_lists++) {
		int r = dp_lists_erase(dp, c->old_lists.items[c->settled_lists], diag);

		if (r) {
			return r;
		}
	}
	return 0;
}

bool hostd_dp_pending(const struct hostd_dp *dp)
{
	return dp->pending != NULL;
}

int hostd_dp_settle(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_commit *c = dp->pending;
	int r = 0;

	if (!c) {
		return 0;
	}
	if (!c->waited) {
		r = dp_grace(dp, diag);
		c->waited = !r;
	}
	r = r ? r : settle_ops(dp, c, diag);
	bh_vec_foreach (n, &c->nics) {
		r = r ? r : dp_nic_macs(dp, n->nic, true, diag);
	}
	if (!r && c->deleted) {
		r = dp_grace(dp, diag);
	}
	if (r) {
		return r;
	}
	dp->pending = NULL;
	release_nics(dp, c);
	commit_free(c);
	return 0;
}

static int install(struct hostd_dp *dp, struct dp_commit *c, struct hostd_dp_report *report,
		   struct bh_diag *diag)
{
	int r = check_capacity(dp, c, report->need, diag);

	r = r ? r : write_all(dp, c, diag);
	if (r == -E2BIG ||
	    r == -ENOSPC) { /* learned addresses take room that is not in our count */
		r = HOSTD_DP_FULL;
	}
	if (r) {
		return r;
	}
	__atomic_store_n(&dp->ctl->gen, dp->ctl->gen + 1, __ATOMIC_SEQ_CST);
	dp->ctl_want.gen = dp->ctl->gen;
	return 0;
}

void dp_commit_drop(struct hostd_dp *dp)
{
	commit_free(dp->pending);
	dp->pending = NULL;
}

/* The kernel has it; what we think follows. A commit that flipped nothing needs no settling. */
static void finish(struct hostd_dp *dp, struct dp_commit *c)
{
	bool flipped = c->ops.count || c->lists;

	follow(dp, c);
	if (!flipped) {
		release_nics(dp, c);
		commit_free(c);
		return;
	}
	/* Without, frames take the way by the bridge until settling says what is wrong. */
	bh_vec_foreach (n, &c->nics) {
		(void)!dp_nic_macs(dp, n->nic, false, NULL);
	}
	dp->pending = c;
	dp_verify_restart(dp);
}

int dp_commit_changes(struct hostd_dp *dp, struct dp_changes *changes,
		      struct hostd_dp_report *ret_report, struct bh_diag *diag)
{
	uint64_t begin_ns = bh_time_mono_ns();
	struct hostd_dp_report report = {};
	struct dp_commit *c = bh_alloc(sizeof(*c));
	int r = hostd_dp_settle(dp, diag);

	c->sum.hash = dp->hash;
	c->sum.hasher = dp->hasher;
	r = r ? r : check_nics(dp, changes, report.need, diag);
	r = r ? r : plan(dp, c, changes, diag);
	if (!r && (c->ops.count || c->lists)) {
		r = install(dp, c, &report, diag);
	}
	if (r) {
		take_back(dp, c);
		commit_free(c);
	} else {
		report.changed = c->sum.changed;
		finish(dp, c);
	}
	report.hash = dp->hash;
	report.gen = dp->ctl->gen;
	report.install_ns = bh_time_mono_ns() - begin_ns;
	if (ret_report) {
		*ret_report = report;
	}
	return r;
}

static void collect(const struct bh_rec *old, const struct bh_rec *put, void *arg)
{
	if (put) {
		dp_changes_add(arg, put, true);
	} else {
		dp_changes_add(arg, old, false);
	}
}

int hostd_dp_apply(struct hostd_dp *dp, const struct bh_delta *delta,
		   struct hostd_dp_report *ret_report, struct bh_diag *diag)
{
	struct dp_changes changes = {};
	int r;

	bh_delta_each(delta, collect, &changes);
	r = dp_commit_changes(dp, &changes, ret_report, diag);
	bh_vec_done(&changes.list);
	return r;
}
