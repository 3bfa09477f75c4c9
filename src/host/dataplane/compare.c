/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel holds against an image: naming each difference, and putting it right. */
#include "host/dataplane/internal.h"

#include <errno.h>

struct wanted {
	uint64_t print;
	const struct bh_rec *rec;
	bool seen;
};

struct compare {
	struct hostd_dp *dp;
	BH_VEC(struct wanted) wanted;
	hostd_dp_drift_fn *fn;
	void *arg;
	int count;
};

static uint64_t fingerprint(const struct bh_rec *rec)
{
	uint8_t key[BH_REC_KEY_MAX];

	return bh_fnv1a(key, bh_rec_key(rec, key)); /* a clash costs time only */
}

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *wa = a, *wb = b;

	return (wa->print > wb->print) - (wa->print < wb->print);
}

static void want_segment(struct bh_segment *seg, void *arg)
{
	struct compare *c = arg;

	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		struct wanted *w = bh_vec_push(&c->wanted);

		w->rec = bh_segment_at(seg, i);
		w->print = fingerprint(w->rec);
	}
}

static bool same_bytes(const struct bh_rec *a, const struct bh_rec *b, bool value)
{
	uint8_t ba[BH_REC_KEY_MAX] = {}, bb[BH_REC_KEY_MAX] = {};

	if (value) {
		bh_rec_value(a, ba);
		bh_rec_value(b, bb);
	} else {
		bh_rec_key(a, ba);
		bh_rec_key(b, bb);
	}
	return !memcmp(ba, bb, sizeof(ba));
}

static struct wanted *find_wanted(struct compare *c, const struct bh_rec *rec)
{
	struct wanted probe = {.print = fingerprint(rec)};
	size_t lo = 0, hi = c->wanted.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->wanted.items[mid].print < probe.print) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	for (; lo < c->wanted.count && c->wanted.items[lo].print == probe.print; lo++) {
		if (same_bytes(c->wanted.items[lo].rec, rec, false)) {
			return &c->wanted.items[lo];
		}
	}
	return NULL;
}

static void report(struct compare *c, enum hostd_dp_drift_kind kind, const struct bh_rec *rec,
		   uint32_t ifindex)
{
	struct hostd_dp_drift drift = {.kind = kind, .ifindex = ifindex};

	if (rec) {
		drift.rec = *rec;
	}
	c->count++;
	c->fn(&drift, c->arg);
}

static void compare_rec(struct compare *c, const struct bh_rec *rec)
{
	struct wanted *w = find_wanted(c, rec);

	if (!w) {
		report(c, HOSTD_DP_DRIFT_EXTRA, rec, 0);
		return;
	}
	w->seen = true;
	if (!same_bytes(w->rec, rec, true)) {
		report(c, HOSTD_DP_DRIFT_CHANGED, w->rec, 0);
	}
}

static int compare_map(struct compare *c, enum dp_map map, const struct dp_scopes *scopes)
{
	struct dp_iter it;
	int n;

	dp_iter_init(&it, c->dp, map);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			struct dp_entry entry = {};

			if (dp_entry_read(c->dp, map, dp_iter_key(&it, i), dp_iter_value(&it, i),
					  scopes, &entry)) {
				compare_rec(c, &entry.rec);
			}
			if (entry.differ) {
				report(c, HOSTD_DP_DRIFT_SLOTS, &entry.rec, 0);
			}
		}
	}
	dp_iter_done(&it);
	return n;
}

static void compare_local(struct compare *c)
{
	struct dp_host_addr *a, *atmp;
	struct dp_port *p, *ptmp;

	HASH_ITER (hh, c->dp->host_addrs, a, atmp) {
		if (a->shadows) {
			compare_rec(c, &a->shadowed);
		}
	}
	HASH_ITER (hh, c->dp->ports, p, ptmp) {
		if (dp_attached(c->dp, p->ifindex, (enum bh_port_kind)p->port.kind) != 1) {
			report(c, HOSTD_DP_DRIFT_PORT, NULL, p->ifindex);
		}
	}
	if (dp_ctl_drifted(c->dp)) {
		report(c, HOSTD_DP_DRIFT_CTL, NULL, 0);
	}
	bh_vec_foreach (w, &c->wanted) {
		if (!w->seen) {
			report(c, HOSTD_DP_DRIFT_MISSING, w->rec, 0);
		}
	}
}

int hostd_dp_compare(struct hostd_dp *dp, const struct bh_image *image, hostd_dp_drift_fn *fn,
		     void *arg, struct bh_diag *diag)
{
	struct compare c = {.dp = dp, .fn = fn, .arg = arg};
	struct dp_scopes scopes;
	int r = dp_ready(dp, diag);

	if (r) {
		return r;
	}
	bh_image_each(image, want_segment, &c);
	if (c.wanted.count) {
		qsort(c.wanted.items, c.wanted.count, sizeof(*c.wanted.items), compare_wanted);
	}
	dp_scopes_init(&scopes, dp);
	for (size_t i = 0; r >= 0 && i < DP_RECORD_MAP_COUNT; i++) {
		r = compare_map(&c, dp_record_maps[i], &scopes);
	}
	dp_scopes_done(&scopes);
	if (r >= 0) {
		compare_local(&c);
	}
	bh_vec_done(&c.wanted);
	return r < 0 ? bh_diag_set(diag, r, "cannot read back: %s", strerror(-r)) : c.count;
}

/* ---- sync ---- */

static void collect(const struct hostd_dp_drift *drift, void *arg)
{
	switch (drift->kind) {
	case HOSTD_DP_DRIFT_MISSING:
	case HOSTD_DP_DRIFT_CHANGED:
		dp_changes_add(arg, &drift->rec, true);
		break;
	case HOSTD_DP_DRIFT_EXTRA:
		dp_changes_add(arg, &drift->rec, false);
		break;
	default:
		break; /* reloading and repairing ports take care of these */
	}
}

/* The kernel may hold something else than we think; so think anew. */
static int reload(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_nic *before = dp->nics, *nic, *tmp;
	bool recovered;
	int r;

	dp_verify_done(dp);
	dp_lists_done(dp);
	dp_ports_done(dp);
	dp->nics = NULL;
	dp->nic_count = 0;
	memset(dp->by_index, 0, dp->map_size[DP_MAP_NICS] * sizeof(struct dp_nic *));
	r = dp_scan_adopt(dp, &recovered, diag);
	HASH_ITER (hh, before, nic, tmp) {
		struct dp_nic *now = dp_nic_find(dp, nic->key.vm, nic->key.mac);

		/* Not in the kernel while the NIC is not fed. */
		if (now && now->device.ifindex == nic->device.ifindex) {
			now->device.host_flags = nic->device.host_flags;
			now->in_macs = nic->in_macs;
			now->macs_net = nic->macs_net;
		}
		HASH_DEL(before, nic);
		free(nic);
	}
	return r;
}

int hostd_dp_sync(struct hostd_dp *dp, const struct bh_image *image,
		  struct hostd_dp_report *ret_report, struct bh_diag *diag)
{
	struct dp_changes changes = {};
	int r = dp_ready(dp, diag);

	if (ret_report) {
		*ret_report = (struct hostd_dp_report){.hash = dp->hash, .gen = dp->ctl->gen};
	}
	r = r ? r : reload(dp, diag);
	dp_ctl_write(dp);
	r = r ? r : dp_ports_repair(dp, diag);
	if (!r) {
		r = hostd_dp_compare(dp, image, collect, &changes, diag);
		r = r > 0 ? 0 : r;
	}
	r = r ? r : dp_commit_changes(dp, &changes, ret_report, diag);
	bh_vec_done(&changes.list);
	return r;
}
