/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits. A commit lives from planning to settling in one struct dp_commit:
 *
 *   plan    plan.c; up to here nothing in the kernel changed but fresh, closed NIC entries
 *   write   other slots and new prefix lists, read back; a failure takes all of it back
 *   flip    one aligned store; then the model in memory follows
 *   settle  (later) grace period, new slots over old ones, dead entries and old lists deleted,
 *           grace period
 *
 * Everything before the flip is done in steps, so that whoever has a loop can turn it in between.
 * Packets see nothing of it until the flip; whatever else changes maps (dp_ready) lets the commit
 * finish first.
 *
 * The second grace period is for the kernel's free lists: a deleted element may become that of
 * another key, and a program that still holds it must be gone before that key's verdict can be
 * seen, i.e. before the next flip.
 */
#include "host/dataplane/commit.h"

#include "base/time.h"

#include <errno.h>

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
	bh_vec_done(&c->changes.list);
	free(c);
}

/* ---- write ---- */

static void op_value(const struct dp_op *op, uint32_t gen, bool both,
		     uint8_t ret_value[DP_VALUE_MAX])
{
	uint32_t size = dp_map_descs[op->map].slot_size;

	memcpy(ret_value, op->old, DP_VALUE_MAX);
	/* From now on it is configured; packets see no difference. */
	if (dp_op_learned(op) && op->map == DP_MAP_ADDRS) {
		struct bh_addr v;

		memcpy(&v, ret_value, sizeof(v));
		v.flags = 0;
		v.expires_ns = 0;
		memcpy(ret_value, &v, sizeof(v));
	} else if (dp_op_learned(op)) {
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

static int write_op(struct hostd_dp *dp, const struct dp_op *op, uint32_t gen, struct bh_diag *diag)
{
	uint8_t value[DP_VALUE_MAX];
	int r;

	op_value(op, gen, false, value);
	r = dp_map_put(dp, op->map, op->key, value);
	if (r) {
		return bh_diag_set(diag, r, "cannot write %s: %s", dp_map_descs[op->map].name,
				   strerror(-r));
	}
	dp->used[op->map] += !op->existed;
	return 0;
}

static int read_back_op(struct hostd_dp *dp, const struct dp_op *op, uint32_t gen,
			struct bh_diag *diag)
{
	uint8_t value[DP_VALUE_MAX], got[DP_VALUE_MAX] = {};
	int r = dp_map_get(dp, op->map, op->key, got);

	op_value(op, gen, false, value);
	if (r || memcmp(value, got, dp_map_descs[op->map].value_size)) {
		return bh_diag_set(diag, r ? r : -EIO, "%s reads back otherwise than written",
				   dp_map_descs[op->map].name);
	}
	return 0;
}

/* New lists, then ops, then all ops again to read them back. HOSTD_DP_MORE: call again. */
static int write_step(struct hostd_dp *dp, struct dp_commit *c, size_t *budget,
		      struct bh_diag *diag)
{
	uint32_t gen = dp->ctl->gen + 1;
	int r = 0;

	if (!c->lists_begun) {
		c->list_next = c->lists;
		c->lists_begun = true;
	}
	for (; !r && c->list_next && *budget; c->list_next = c->list_next->hh.next) {
		size_t size = c->list_next->cidrs.count + c->list_next->ranges.count;

		r = dp_lists_write(dp, c->list_next, diag);
		*budget -= size < *budget ? size : *budget;
	}
	for (; !r && !c->list_next && c->written < c->ops.count && *budget; --*budget) {
		r = write_op(dp, &c->ops.items[c->written], gen, diag);
		c->written += !r;
	}
	for (; !r && c->written == c->ops.count && c->read_back < c->ops.count && *budget;
	     --*budget) {
		r = read_back_op(dp, &c->ops.items[c->read_back++], gen, diag);
	}
	if (r) {
		return r;
	}
	return c->list_next || c->read_back < c->ops.count ? HOSTD_DP_MORE : 0;
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

/* ---- steps ---- */

/* One step of everything before the flip, and the flip. */
static int work(struct hostd_dp *dp, struct dp_commit *c, size_t budget, struct bh_diag *diag)
{
	int r = dp_plan_step(dp, c, &budget, diag);

	if (r || (!c->ops.count && !c->lists)) {
		return r;
	}
	r = write_step(dp, c, &budget, diag);
	if (r == -E2BIG || r == -ENOSPC) {
		return HOSTD_DP_FULL; /* learned addresses take room that is not in our count */
	}
	if (!r) {
		__atomic_store_n(&dp->ctl->gen, dp->ctl->gen + 1, __ATOMIC_SEQ_CST);
		dp->ctl_want.gen = dp->ctl->gen;
	}
	return r;
}

/* Takes over the changes. Nothing may be in work or pending. */
static struct dp_commit *commit_new(const struct hostd_dp *dp, struct dp_changes *changes)
{
	struct dp_commit *c = bh_alloc(sizeof(*c));

	c->begin_ns = bh_time_mono_ns();
	c->sum.hash = dp->hash;
	c->sum.hasher = dp->hasher;
	c->changes = *changes;
	memset(changes, 0, sizeof(*changes));
	return c;
}

/* The commit ends, well or not; what is to be known of it goes into the report. */
static void conclude(struct hostd_dp *dp, struct dp_commit *c, int r,
		     struct hostd_dp_report *ret_report)
{
	struct hostd_dp_report report = c->report;
	uint64_t begin_ns = c->begin_ns;

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
}

int dp_commit_changes(struct hostd_dp *dp, struct dp_changes *changes,
		      struct hostd_dp_report *ret_report, struct bh_diag *diag)
{
	struct dp_commit *c;
	int r = dp_ready(dp, diag);

	if (r) {
		return r;
	}
	c = commit_new(dp, changes);
	r = dp_plan_begin(dp, c, diag);
	r = r ? r : work(dp, c, SIZE_MAX, diag);
	conclude(dp, c, r, ret_report);
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

	if (ret_report) {
		*ret_report = (struct hostd_dp_report){.hash = dp->hash, .gen = dp->ctl->gen};
	}
	bh_delta_each(delta, collect, &changes);
	r = dp_commit_changes(dp, &changes, ret_report, diag);
	bh_vec_done(&changes.list);
	return r;
}

/* ---- in work while the caller's loop turns ---- */

struct dp_work {
	struct dp_commit *commit; /* NULL: it has come to an end */
	int result;
	struct hostd_dp_report report;
	struct bh_diag diag;
};

static void work_ends(struct hostd_dp *dp, int r)
{
	struct dp_work *w = dp->work;
	struct dp_commit *c = w->commit;

	w->commit = NULL;
	w->result = r;
	conclude(dp, c, r, &w->report);
}

int hostd_dp_apply_begin(struct hostd_dp *dp, const struct bh_delta *delta, struct bh_diag *diag)
{
	struct dp_changes changes = {};
	int r;

	if (dp->work) {
		return bh_diag_set(diag, -EBUSY, "another commit is in work");
	}
	r = dp_ready(dp, diag);
	if (r) {
		return r;
	}
	bh_delta_each(delta, collect, &changes);
	dp->work = bh_alloc(sizeof(*dp->work));
	dp->work->commit = commit_new(dp, &changes);
	r = dp_plan_begin(dp, dp->work->commit, &dp->work->diag);
	if (r) {
		work_ends(dp, r);
	}
	return 0;
}

static void work_step(struct hostd_dp *dp, size_t budget)
{
	struct dp_work *w = dp->work;
	int r = work(dp, w->commit, budget, &w->diag);

	if (r != HOSTD_DP_MORE) {
		work_ends(dp, r);
	}
}

int hostd_dp_apply_step(struct hostd_dp *dp, size_t budget, struct hostd_dp_report *ret_report,
			struct bh_diag *diag)
{
	struct dp_work *w = dp->work;
	int r;

	if (!w) {
		return bh_diag_set(diag, -ENOENT, "no commit is in work");
	}
	if (w->commit) {
		work_step(dp, budget);
	}
	if (w->commit) {
		return HOSTD_DP_MORE;
	}
	r = w->result;
	if (diag) {
		*diag = w->diag;
	}
	if (ret_report) {
		*ret_report = w->report;
	}
	dp->work = NULL;
	free(w);
	return r;
}

bool hostd_dp_working(const struct hostd_dp *dp)
{
	return dp->work && dp->work->commit;
}

void hostd_dp_apply_abort(struct hostd_dp *dp)
{
	if (hostd_dp_working(dp)) {
		work_ends(dp, -ECANCELED);
	}
	free(dp->work);
	dp->work = NULL;
}

int dp_ready(struct hostd_dp *dp, struct bh_diag *diag)
{
	while (hostd_dp_working(dp)) {
		work_step(dp, SIZE_MAX);
	}
	return hostd_dp_settle(dp, diag);
}
