/* SPDX-License-Identifier: Apache-2.0 */
/* What a commit has to do: reads what is there, works out the other slot of each touched key,
 * accounts the hash, and checks that all of it fits. */
#include "host/dataplane/commit.h"

#include <errno.h>

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

bool dp_op_learned(const struct dp_op *op)
{
	struct bh_nic_addr own;
	struct bh_addr addr;

	memcpy(&own, op->old, sizeof(own));
	memcpy(&addr, op->old, sizeof(addr));
	return op->existed && ((op->map == DP_MAP_NIC_ADDRS && own.flags & BH_ADDR_LEARNED) ||
			       (op->map == DP_MAP_ADDRS && addr.flags & BH_ADDR_LEARNED));
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
	if (op.map != DP_MAP_SETS && !(change->put && dp_op_learned(&op)) &&
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

static int plan_change(struct hostd_dp *dp, struct dp_commit *c, const struct dp_change *change,
		       struct bh_diag *diag)
{
	int r = change->put ? dp_rec_check(&change->rec, diag) : 0;

	if (r) {
		return r;
	}
	if (change->rec.type == BH_REC_CIDR || change->rec.type == BH_REC_RANGE) {
		plan_list(dp, c, change);
		return 0;
	}
	if (change->rec.type == BH_REC_SET && !c->set_ops_end) {
		c->set_ops_begin = c->ops.count;
	}
	r = plan_record(dp, c, change, diag);
	if (change->rec.type == BH_REC_SET) {
		c->set_ops_end = c->ops.count;
	}
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

static int check_nics(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	uint32_t count = dp->nic_count;

	bh_vec_foreach (change, &c->changes.list) {
		if (change->put && change->rec.type == BH_REC_NIC &&
		    !dp_nic_find(dp, change->rec.nic.vm, change->rec.nic.mac)) {
			count++;
		}
	}
	if (count + 1 > dp->map_size[DP_MAP_NICS]) {
		c->report.need[HOSTD_DP_NICS] = count + 1;
		return refuse_full(dp, c->report.need, diag);
	}
	return 0;
}

static int check_capacity(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
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
			c->report.need[table] = (uint32_t)(need[m] + dp->used[m]);
			full = true;
		}
	}
	return full ? refuse_full(dp, c->report.need, diag) : 0;
}

int dp_plan_begin(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag)
{
	sort_changes(&c->changes);
	return check_nics(dp, c, diag);
}

int dp_plan_step(struct hostd_dp *dp, struct dp_commit *c, size_t *budget, struct bh_diag *diag)
{
	int r = 0;

	for (; !r && c->planned < c->changes.list.count; c->planned++, --*budget) {
		if (!*budget) {
			return HOSTD_DP_MORE;
		}
		r = plan_change(dp, c, &c->changes.list.items[c->planned], diag);
	}
	if (r || c->checked) {
		return r;
	}
	drop_idle_lists(dp, c);
	r = keep_scopes(dp, c, diag);
	r = r ? r : plan_scopes(dp, c, diag);
	drop_idle_ops(dp, c);
	c->checked = true;
	return r ? r : check_capacity(dp, c, diag);
}
