/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections as they leave with a VM: all of them by a walk, each change by the journal.
 *
 * The journal says only which entry to look at; what is told is how it stands in the table when it
 * is looked at. A record is written after the change, so what is found there is the change or
 * something later, whose record is still to come.
 */
#include "host/dataplane/internal.h"

#include "base/time.h"
#include "model/id.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>

#define MS_NS 1000000ull

/* ---- positions ---- */

uint8_t *dp_positions(const struct hostd_dp *dp, const struct hostd_dp_move_nics *nics)
{
	uint8_t *positions = bh_alloc_array(dp->map_size[DP_MAP_NICS], 1);

	for (size_t i = 0; i < nics->count && i < BH_CAPSULE_NICS_MAX; i++) {
		const struct dp_nic *nic = dp_nic_find(dp, nics->keys[i].vm, nics->keys[i].mac);

		if (nic) {
			positions[nic->index] = (uint8_t)(i + 1);
		}
	}
	return positions;
}

uint8_t dp_position(const struct hostd_dp *dp, const uint8_t *positions, uint32_t index)
{
	return index < dp->map_size[DP_MAP_NICS] ? positions[index] : 0;
}

bool dp_ct_is_of(const struct hostd_dp *dp, const uint8_t *positions, const struct bh_ct *ct)
{
	return dp_position(dp, positions, ct->nic[0]) || dp_position(dp, positions, ct->nic[1]);
}

/* ---- one entry ---- */

static void tuple_of(bool v6, const void *key, struct bh_capsule_tuple *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (v6) {
		struct bh_ct6_key k;

		memcpy(&k, key, sizeof(k));
		ret->net = k.net;
		ret->vlan = k.vlan;
		memcpy(ret->lo, k.lo, 16);
		memcpy(ret->hi, k.hi, 16);
		ret->lo_port = ntohs(k.lo_port);
		ret->hi_port = ntohs(k.hi_port);
		ret->proto = k.proto;
	} else {
		struct bh_ct4_key k;

		memcpy(&k, key, sizeof(k));
		ret->net = k.net;
		ret->vlan = k.vlan;
		memset(ret->lo + 10, 0xff, 2);
		memset(ret->hi + 10, 0xff, 2);
		memcpy(ret->lo + 12, &k.lo, 4);
		memcpy(ret->hi + 12, &k.hi, 4);
		ret->lo_port = ntohs(k.lo_port);
		ret->hi_port = ntohs(k.hi_port);
		ret->proto = k.proto;
	}
}

static uint64_t ms_since(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? (now_ns - then_ns) / MS_NS : 0;
}

static uint64_t ms_until(uint64_t now_ns, uint64_t then_ns)
{
	return then_ns == UINT64_MAX ? BH_CAPSULE_MS_MAX
	       : then_ns > now_ns    ? (then_ns - now_ns) / MS_NS
				     : 0;
}

/* What the entry is in a capsule. False when its time is over: its timer is about to fire. */
static bool conn_of(struct hostd_dp *dp, const uint8_t *positions, bool v6, const void *key,
		    const struct bh_ct *ct, struct bh_capsule_conn *ret)
{
	uint64_t now_ns = bh_time_mono_ns();

	memset(ret, 0, sizeof(*ret));
	tuple_of(v6, key, &ret->tuple);
	ret->state = ct->state;
	ret->flags = ct->flags & (uint8_t)~BH_CT_TIMER;
	ret->row_flags = ct->row_flags;
	ret->charged = dp_position(dp, positions, ct->charged);
	ret->policy_port = ct->policy_port;
	ret->timeout_s = ct->timeout_s;
	for (int i = 0; i < 2; i++) {
		ret->nic[i] = dp_position(dp, positions, ct->nic[i]);
		ret->identity[i] = ct->identity[i];
		ret->rule[i] = ct->rule[i];
		ret->packets[i] = ct->packets[i];
		ret->bytes[i] = ct->bytes[i];
		ret->own_left_ms[i] = ms_until(now_ns, ct->own_until_ns[i]);
	}
	ret->age_ms = ms_since(now_ns, ct->created_ns);
	ret->idle_ms = ms_since(now_ns, ct->last_ns);
	if (!v6) {
		struct bh_ct4_key k;

		memcpy(&k, key, sizeof(k));
		dp_add_tickets(dp, &k, ret->packets, ret->bytes);
	}
	return ret->idle_ms < ct->timeout_s * 1000ull;
}

/* ---- walk ---- */

struct hostd_dp_walk {
	struct hostd_dp *dp;
	struct hostd_dp_move_nics nics;
	struct dp_iter it;
	enum dp_map map; /* DP_MAP_CT4, DP_MAP_CT6, then DP_MAP_COUNT */

	/* when only these are wanted; else NULL */
	struct bh_capsule_tuple *tuples;
	size_t count, next;
};

struct hostd_dp_walk *hostd_dp_walk_new(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics)
{
	struct hostd_dp_walk *walk = bh_alloc(sizeof(*walk));

	walk->dp = dp;
	walk->nics = *nics;
	walk->map = DP_MAP_CT4;
	dp_iter_init(&walk->it, dp, walk->map);
	return walk;
}

struct hostd_dp_walk *hostd_dp_walk_of(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				       struct bh_capsule_tuple *tuples, size_t count)
{
	struct hostd_dp_walk *walk = bh_alloc(sizeof(*walk));

	walk->dp = dp;
	walk->nics = *nics;
	walk->map = DP_MAP_COUNT;
	walk->tuples = tuples;
	walk->count = count;
	return walk;
}

/* A lookup by its own call costs about what eight slots of a batch cost, empty ones included
 * (6.1, 0.5 us). */
bool hostd_dp_walk_is_short(const struct hostd_dp *dp, size_t count)
{
	return count < (dp->map_size[DP_MAP_CT4] + dp->map_size[DP_MAP_CT6]) / 8;
}

void hostd_dp_walk_free(struct hostd_dp_walk *walk)
{
	if (walk) {
		dp_iter_done(&walk->it);
		free(walk->tuples);
		free(walk);
	}
}

/* Returns how many entries it looked at; 0: the table is through. */
static int walk_chunk(struct hostd_dp_walk *walk, const uint8_t *positions,
		      hostd_dp_move_conn_fn *fn, void *arg)
{
	int n = dp_iter_next(&walk->it);

	for (int i = 0; i < n; i++) {
		const struct bh_ct *ct = dp_iter_value(&walk->it, i);
		struct bh_capsule_conn conn;

		if (dp_ct_is_of(walk->dp, positions, ct) &&
		    conn_of(walk->dp, positions, walk->map == DP_MAP_CT6, dp_iter_key(&walk->it, i),
			    ct, &conn)) {
			fn(&conn, arg);
		}
	}
	return n;
}

static void walk_one(struct hostd_dp_walk *walk, const uint8_t *positions,
		     hostd_dp_move_conn_fn *fn, void *arg)
{
	struct bh_capsule_conn conn;
	union bh_ct_key key;
	struct bh_ct ct;
	bool v6 = dp_ct_key(&walk->tuples[walk->next++], &key);

	if (!dp_map_get(walk->dp, v6 ? DP_MAP_CT6 : DP_MAP_CT4, &key, &ct) &&
	    dp_ct_is_of(walk->dp, positions, &ct) &&
	    conn_of(walk->dp, positions, v6, &key, &ct, &conn)) {
		fn(&conn, arg);
	}
}

int hostd_dp_walk_step(struct hostd_dp_walk *walk, size_t budget, hostd_dp_move_conn_fn *fn,
		       void *arg, struct bh_diag *diag)
{
	/* Indexes may have changed since the last step. */
	BH_FREE uint8_t *positions = dp_positions(walk->dp, &walk->nics);
	size_t seen = 0;

	while (walk->next < walk->count && seen++ < budget) {
		walk_one(walk, positions, fn, arg);
	}
	if (walk->next < walk->count) {
		return HOSTD_DP_MORE;
	}
	while (walk->map != DP_MAP_COUNT) {
		int n;

		if (seen >= budget) {
			return HOSTD_DP_MORE;
		}
		n = walk_chunk(walk, positions, fn, arg);
		if (n < 0) {
			return bh_diag_set(diag, n, "cannot read connections: %s", strerror(-n));
		}
		seen += (size_t)n;
		if (!n) {
			dp_iter_done(&walk->it);
			walk->map = walk->map == DP_MAP_CT4 ? DP_MAP_CT6 : DP_MAP_COUNT;
		}
		if (!n && walk->map == DP_MAP_CT6) {
			dp_iter_init(&walk->it, walk->dp, walk->map);
		}
	}
	return 0;
}

/* ---- journal ---- */

struct dp_moved {
	BH_VEC(struct bh_move) list;
	unsigned int left;
};

/* Stops after the allowed number: a negative answer ends the round with this record consumed. */
static int on_move(void *arg, void *data, size_t size)
{
	struct hostd_dp *dp = arg;
	struct dp_moved *moved = dp->moved;

	if (size >= sizeof(struct bh_move)) {
		memcpy(bh_vec_push(&moved->list), data, sizeof(struct bh_move));
	}
	moved->left--;
	return moved->left ? 0 : -ECANCELED;
}

int dp_walk_open(struct hostd_dp *dp, struct bh_diag *diag)
{
	dp->moves = ring_buffer__new(dp->map_fd[DP_MAP_MOVES], on_move, dp, NULL);
	return dp->moves ? 0
			 : bh_diag_set(diag, -errno, "cannot open the journal of connections: %s",
				       strerror(errno));
}

void dp_walk_close(struct hostd_dp *dp)
{
	ring_buffer__free(dp->moves);
	dp->moves = NULL;
}

int hostd_dp_journal_fd(const struct hostd_dp *dp)
{
	return ring_buffer__epoll_fd(dp->moves);
}

static uint64_t lost_of(const struct hostd_dp *dp, const struct dp_nic *nic)
{
	struct bh_stat_key key = {.nic = nic->index, .reason = BH_REASON_JOURNAL_LOST};
	int cpus = libbpf_num_possible_cpus();
	BH_FREE struct bh_counter *c = bh_alloc_array((size_t)cpus, sizeof(*c));
	uint64_t sum = 0;

	if (dp_map_get(dp, DP_MAP_STATS, &key, c)) {
		return 0;
	}
	for (int i = 0; i < cpus; i++) {
		sum += c[i].packets;
	}
	return sum;
}

int hostd_dp_journal_set(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics, bool on,
			 struct bh_diag *diag)
{
	for (size_t i = 0; i < nics->count && i < BH_CAPSULE_NICS_MAX; i++) {
		struct dp_nic *nic = dp_nic_find(dp, nics->keys[i].vm, nics->keys[i].mac);
		int r;

		if (!nic && !on) {
			continue;
		}
		if (nic && on && !(nic->move_flags & BH_NIC_DEPARTING)) {
			nic->journal_lost = lost_of(dp, nic);
		}
		r = hostd_dp_nic_set_flags(dp, &nics->keys[i], BH_NIC_DEPARTING,
					   on ? BH_NIC_DEPARTING : 0, diag);
		if (r) {
			return r;
		}
	}
	return 0;
}

static uint64_t lost_since(struct hostd_dp *dp)
{
	struct dp_nic *nic, *tmp;
	uint64_t sum = 0;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		uint64_t lost = nic->move_flags & BH_NIC_DEPARTING ? lost_of(dp, nic) : 0;

		sum += lost > nic->journal_lost ? lost - nic->journal_lost : 0;
		nic->journal_lost = lost;
	}
	return sum;
}

static int compare_moves(const void *a, const void *b)
{
	const struct bh_move *ma = a, *mb = b;
	int c = (int)ma->v6 - (int)mb->v6;

	return c ? c : memcmp(&ma->key, &mb->key, sizeof(ma->key));
}

/* Tells each VM that departs and has part in it that it is gone, or else how it is. What ended and
 * is there again is another connection of the same name: the old one is gone, the new one is. */
static void tell(struct hostd_dp *dp, const struct bh_move *m, bool ended, bool gone,
		 const struct hostd_dp_journal_handlers *h)
{
	const struct hostd_dp_move_nics *told = NULL;
	enum dp_map map = m->v6 ? DP_MAP_CT6 : DP_MAP_CT4;
	struct bh_capsule_tuple tuple;
	struct bh_ct ct;
	bool there = !dp_map_get(dp, map, &m->key, &ct);

	tuple_of(m->v6, &m->key, &tuple);
	for (int i = 0; i < 2; i++) {
		const struct hostd_dp_move_nics *nics = NULL;
		uint32_t index = there && ct.nic[i] ? ct.nic[i] : m->nic[i];
		BH_FREE uint8_t *positions = NULL;
		struct hostd_dp_nic_key key;
		struct bh_capsule_conn conn;
		bool told_there;

		if (hostd_dp_nic_of_index(dp, index, &key)) {
			nics = h->nics_of(&key, h->arg);
		}
		if (!nics || nics == told) {
			continue;
		}
		told = nics;
		positions = dp_positions(dp, nics);
		told_there = there && dp_ct_is_of(dp, positions, &ct) &&
			     conn_of(dp, positions, m->v6, &m->key, &ct, &conn);
		if (gone && (ended || !told_there)) {
			h->gone(&key, &tuple, h->arg);
		} else if (!gone && told_there) {
			h->conn(&key, &conn, h->arg);
		}
	}
}

static void tell_all(struct hostd_dp *dp, const struct dp_moved *moved, bool gone,
		     const struct hostd_dp_journal_handlers *h)
{
	bool ended = false;

	for (size_t i = 0; i < moved->list.count; i++) {
		const struct bh_move *m = &moved->list.items[i];

		ended = ended || m->op == BH_MOVE_GONE;
		if (i + 1 == moved->list.count || compare_moves(m, m + 1)) {
			tell(dp, m, ended, gone, h);
			ended = false;
		}
	}
}

int hostd_dp_journal_poll(struct hostd_dp *dp, unsigned int max,
			  const struct hostd_dp_journal_handlers *handlers, uint64_t *ret_lost,
			  struct bh_diag *diag)
{
	struct dp_moved moved = {.left = max};
	int r = 0;

	*ret_lost = 0;
	if (!max) {
		return 0;
	}
	dp->moved = &moved;
	r = ring_buffer__consume(dp->moves);
	dp->moved = NULL;
	if (r < 0 && r != -ECANCELED) {
		bh_vec_done(&moved.list);
		return bh_diag_set(diag, r, "cannot read the journal of connections: %s",
				   strerror(-r));
	}
	if (moved.list.count) {
		qsort(moved.list.items, moved.list.count, sizeof(struct bh_move), compare_moves);
	}
	/* What ended first: it made room for what came. */
	tell_all(dp, &moved, true, handlers);
	tell_all(dp, &moved, false, handlers);
	bh_vec_done(&moved.list);
	*ret_lost = lost_since(dp);
	return (int)(max - moved.left);
}
