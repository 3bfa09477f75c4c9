/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections as they come with a VM, and what else of a NIC travels: learned addresses, rate
 * state, and the flags that say it is on its way. Entries are changed by the program bh_import and
 * never from here: timers, quotas and tickets are the kernel's.
 */
#include "host/dataplane/internal.h"

#include "base/time.h"
#include "model/id.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <sys/mman.h>
#include <unistd.h>

#define MS_NS 1000000ull

/* ---- the program ---- */

/* Work for bh_import, run whenever there is a batch of it. */
struct batch {
	struct hostd_dp *dp;
	struct hostd_dp_import_result result;
	uint32_t count;
	struct bh_diag *diag;
};

static size_t imports_size(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (BH_IMPORT_BATCH * sizeof(struct bh_import) + page - 1) & ~(page - 1);
}

static int map_imports(struct hostd_dp *dp, struct bh_diag *diag)
{
	int fd;
	void *p;

	if (dp->imports) {
		return 0;
	}
	fd = bpf_object__find_map_fd_by_name(dp->obj, "bh_imports");
	p = mmap(NULL, imports_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		return bh_diag_set(diag, -errno, "cannot map bh_imports: %s", strerror(errno));
	}
	dp->imports = p;
	return 0;
}

void dp_imports_unmap(struct hostd_dp *dp)
{
	if (dp->imports) {
		munmap(dp->imports, imports_size());
		dp->imports = NULL;
	}
}

static void count_results(struct batch *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		switch ((enum bh_import_result)b->dp->imports[i].result) {
		case BH_IMPORT_ADDED:
			b->result.added++;
			break;
		case BH_IMPORT_MERGED:
			b->result.merged++;
			break;
		case BH_IMPORT_QUOTA:
			b->result.quota++;
			break;
		case BH_IMPORT_FULL:
			b->result.full++;
			break;
		case BH_IMPORT_NOTHING:
		case BH_IMPORT_DONE:
			break;
		}
	}
}

static int batch_run(struct batch *b)
{
	static const uint8_t frame[ETH_HLEN];
	struct __sk_buff ctx = {.cb = {b->count}};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	int r;

	if (!b->count) {
		return 0;
	}
	r = bpf_prog_test_run_opts(b->dp->prog_fd[DP_PROG_IMPORT], &opts);
	if (r) {
		return bh_diag_set(b->diag, r, "cannot run bh_import: %s", strerror(-r));
	}
	count_results(b);
	b->count = 0;
	return 0;
}

/* A place for the next piece of work; NULL on error, which *ret_err tells. */
static struct bh_import *batch_next(struct batch *b, int *ret_err)
{
	struct bh_import *i;

	*ret_err = map_imports(b->dp, b->diag);
	if (!*ret_err && b->count == BH_IMPORT_BATCH) {
		*ret_err = batch_run(b);
	}
	if (*ret_err) {
		return NULL;
	}
	i = &b->dp->imports[b->count++];
	memset(i, 0, sizeof(*i));
	return i;
}

/* ---- putting ---- */

bool dp_ct_key(const struct bh_capsule_tuple *t, union bh_ct_key *ret)
{
	bool v6 = !bh_addr_is_v4(t->lo);

	memset(ret, 0, sizeof(*ret));
	if (v6) {
		ret->v6.net = t->net;
		ret->v6.vlan = t->vlan;
		memcpy(ret->v6.lo, t->lo, 16);
		memcpy(ret->v6.hi, t->hi, 16);
		ret->v6.lo_port = htons(t->lo_port);
		ret->v6.hi_port = htons(t->hi_port);
		ret->v6.proto = t->proto;
	} else {
		ret->v4.net = t->net;
		ret->v4.vlan = t->vlan;
		memcpy(&ret->v4.lo, t->lo + 12, 4);
		memcpy(&ret->v4.hi, t->hi + 12, 4);
		ret->v4.lo_port = htons(t->lo_port);
		ret->v4.hi_port = htons(t->hi_port);
		ret->v4.proto = t->proto;
	}
	return v6;
}

static uint64_t ns_before(uint64_t now_ns, uint64_t ms)
{
	return ms < now_ns / MS_NS ? now_ns - ms * MS_NS : 0;
}

static uint64_t ns_after(uint64_t now_ns, uint64_t ms)
{
	return ms >= BH_CAPSULE_MS_MAX ? UINT64_MAX : ms ? now_ns + ms * MS_NS : 0;
}

/* The VM's NICs by position; [0] nobody. */
struct movers {
	const struct dp_nic *nic[BH_CAPSULE_NICS_MAX + 1];
	size_t count;
};

static int find_movers(const struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
		       struct movers *ret, struct bh_diag *diag)
{
	char mac[BH_MAC_TEXT_SIZE];

	memset(ret, 0, sizeof(*ret));
	ret->count = nics->count < BH_CAPSULE_NICS_MAX ? nics->count : BH_CAPSULE_NICS_MAX;
	for (size_t i = 0; i < ret->count; i++) {
		const struct dp_nic *nic = dp_nic_find(dp, nics->keys[i].vm, nics->keys[i].mac);

		if (!nic || !nic->has_rec) {
			bh_mac_format(nics->keys[i].mac, mac);
			return bh_diag_set(diag, -ENOENT, "NIC %s is not known here", mac);
		}
		ret->nic[i + 1] = nic;
	}
	return 0;
}

static const struct dp_nic *mover(const struct movers *m, uint8_t position)
{
	return position <= m->count ? m->nic[position] : NULL;
}

static bool tuple_is_sound(const struct bh_capsule_tuple *t)
{
	int order = memcmp(t->lo, t->hi, 16);

	return bh_addr_is_v4(t->lo) == bh_addr_is_v4(t->hi) &&
	       (order < 0 || (!order && t->lo_port <= t->hi_port));
}

/* A source may speak of its VM's connections and of nobody else's. */
static bool conn_is_sound(const struct movers *m, const struct bh_capsule_conn *c)
{
	bool any = false;

	for (int i = 0; i < 2; i++) {
		const struct dp_nic *nic = mover(m, c->nic[i]);

		if (c->nic[i] && (!nic || nic->rec.net != c->tuple.net)) {
			return false;
		}
		any = any || nic;
	}
	return any && c->charged <= m->count && c->state <= BH_CT_CLOSED &&
	       tuple_is_sound(&c->tuple);
}

static void fill_put(const struct movers *m, const struct bh_capsule_conn *c, uint64_t now_ns,
		     struct bh_import *ret)
{
	/* The quota of a peer that stays behind does not count here. */
	uint8_t charged = c->charged ? c->charged : c->nic[0] ? c->nic[0] : c->nic[1];

	ret->op = BH_IMPORT_PUT;
	ret->v6 = dp_ct_key(&c->tuple, &ret->key);
	ret->charged = m->nic[charged]->index;
	ret->state = c->state;
	ret->flags = c->flags & (uint8_t)~BH_CT_TIMER;
	ret->row_flags = c->row_flags;
	ret->policy_port = c->policy_port;
	ret->timeout_s = c->timeout_s;
	ret->created_ns = ns_before(now_ns, c->age_ms);
	ret->last_ns = ns_before(now_ns, c->idle_ms);
	for (int i = 0; i < 2; i++) {
		ret->nic[i] = c->nic[i] ? m->nic[c->nic[i]]->index : 0;
		ret->identity[i] = c->identity[i];
		ret->rule[i] = c->rule[i];
		ret->packets[i] = c->packets[i];
		ret->bytes[i] = c->bytes[i];
		ret->own_until_ns[i] = ns_after(now_ns, c->own_left_ms[i]);
	}
}

int hostd_dp_import(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
		    const struct bh_capsule_conn *conns, size_t count,
		    struct hostd_dp_import_result *ret_result, struct bh_diag *diag)
{
	struct batch b = {.dp = dp, .diag = diag};
	uint64_t now_ns = bh_time_mono_ns();
	struct movers m;
	int r = find_movers(dp, nics, &m, diag);

	memset(ret_result, 0, sizeof(*ret_result));
	for (size_t i = 0; !r && i < count; i++) {
		if (!conn_is_sound(&m, &conns[i])) {
			r = bh_diag_set(diag, -EINVAL, "connection %zu is not of this VM", i);
		}
	}
	for (size_t i = 0; !r && i < count; i++) {
		struct bh_import *work = batch_next(&b, &r);

		if (work) {
			fill_put(&m, &conns[i], now_ns, work);
		}
	}
	r = r ? r : batch_run(&b);
	*ret_result = b.result;
	return r;
}

/* ---- taking out ---- */

/* What of the entry is these NICs'. */
static void fill_out(const struct hostd_dp *dp, const uint8_t *positions, enum bh_import_op op,
		     const struct bh_ct *ct, struct bh_import *ret)
{
	ret->op = op;
	for (int i = 0; i < 2; i++) {
		ret->nic[i] = dp_position(dp, positions, ct->nic[i]) ? ct->nic[i] : 0;
	}
	ret->charged = dp_position(dp, positions, ct->charged) ? ct->charged : 0;
}

int hostd_dp_import_gone(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
			 const struct bh_capsule_tuple *tuples, size_t count, struct bh_diag *diag)
{
	BH_FREE uint8_t *positions = dp_positions(dp, nics);
	struct batch b = {.dp = dp, .diag = diag};
	int r = 0;

	for (size_t i = 0; !r && i < count; i++) {
		struct bh_import *work;
		union bh_ct_key key;
		struct bh_ct ct;
		bool v6;

		if (!tuple_is_sound(&tuples[i])) {
			continue;
		}
		v6 = dp_ct_key(&tuples[i], &key);
		if (dp_map_get(dp, v6 ? DP_MAP_CT6 : DP_MAP_CT4, &key, &ct) ||
		    !dp_ct_is_of(dp, positions, &ct)) {
			continue;
		}
		work = batch_next(&b, &r);
		if (work) {
			fill_out(dp, positions, BH_IMPORT_GONE, &ct, work);
			work->v6 = v6;
			work->key = key;
		}
	}
	return r ? r : batch_run(&b);
}

struct found {
	BH_VEC(struct bh_import) list;
};

/* Collected first: a walk over something that shrinks may start anew. */
static int find_of(struct hostd_dp *dp, enum dp_map map, const uint8_t *positions,
		   struct found *found)
{
	struct dp_iter it;
	int n;

	dp_iter_init(&it, dp, map);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			const struct bh_ct *ct = dp_iter_value(&it, i);
			struct bh_import *work;

			if (!dp_ct_is_of(dp, positions, ct) &&
			    !dp_position(dp, positions, ct->charged)) {
				continue;
			}
			work = bh_vec_push(&found->list);
			memset(work, 0, sizeof(*work));
			fill_out(dp, positions, BH_IMPORT_LEAVE, ct, work);
			work->v6 = map == DP_MAP_CT6;
			memcpy(&work->key, dp_iter_key(&it, i), dp_map_descs[map].key_size);
		}
	}
	dp_iter_done(&it);
	return n;
}

int dp_undo(struct hostd_dp *dp, const uint8_t *positions, struct bh_diag *diag)
{
	struct batch b = {.dp = dp, .diag = diag};
	struct found found = {};
	int r = find_of(dp, DP_MAP_CT4, positions, &found);

	r = r ? r : find_of(dp, DP_MAP_CT6, positions, &found);
	if (r) {
		bh_diag_set(diag, r, "cannot read connections: %s", strerror(-r));
	}
	for (size_t i = 0; !r && i < found.list.count; i++) {
		struct bh_import *work = batch_next(&b, &r);

		if (work) {
			*work = found.list.items[i];
		}
	}
	bh_vec_done(&found.list);
	return r ? r : batch_run(&b);
}

int hostd_dp_import_undo(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
			 struct bh_diag *diag)
{
	BH_FREE uint8_t *positions = dp_positions(dp, nics);

	return dp_undo(dp, positions, diag);
}

/* ---- NICs ---- */

int hostd_dp_nic_set_flags(struct hostd_dp *dp, const struct hostd_dp_nic_key *key, uint32_t mask,
			   uint32_t flags, struct bh_diag *diag)
{
	struct dp_nic *nic = dp_nic_find(dp, key->vm, key->mac);
	uint32_t allowed = mask & (DP_MOVE_FLAGS | BH_NIC_PICKUP), now, set = flags & allowed;
	int r;

	if (!nic) {
		return bh_diag_set(diag, -ENOENT, "the NIC is not known here");
	}
	now = nic->move_flags | (nic->device.host_flags & BH_NIC_PICKUP);
	if (!((now ^ flags) & allowed)) {
		return 0;
	}
	r = dp_ready(dp, diag);
	nic = r ? NULL : dp_nic_find(dp, key->vm, key->mac); /* settling may have freed it */
	if (!nic) {
		return r ? r : bh_diag_set(diag, -ENOENT, "the NIC is not known here");
	}
	nic->device.host_flags &= ~(allowed & BH_NIC_PICKUP);
	if (nic->device.ifindex) { /* a device has it from now on, and the next bind decides */
		nic->device.host_flags |= set & BH_NIC_PICKUP;
		set &= DP_MOVE_FLAGS;
	}
	nic->move_flags = (nic->move_flags & ~allowed) | set;
	return dp_nic_write(dp, nic, diag);
}

static uint64_t left_ms(uint64_t now_ns, uint64_t expires_ns)
{
	return !expires_ns	     ? BH_CAPSULE_MS_MAX
	       : expires_ns > now_ns ? (expires_ns - now_ns) / MS_NS
				     : 0;
}

/* Under which tag of the network the NIC's address is known: the one that it was learned under. */
static uint32_t vlan_of(struct hostd_dp *dp, const struct dp_nic *nic, const uint8_t addr[16])
{
	struct dp_iter it;
	uint32_t vlan = 0;
	int n;

	dp_iter_init(&it, dp, DP_MAP_ADDRS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			const struct bh_addr_key *key = dp_iter_key(&it, i);
			const struct bh_addr *value = dp_iter_value(&it, i);

			if (key->net == nic->rec.net && !memcmp(key->addr, addr, 16) &&
			    value->slot[dp->ctl->gen & 1].identity == nic->rec.identity) {
				vlan = key->vlan;
			}
		}
	}
	dp_iter_done(&it);
	return vlan;
}

static int export_learned(struct hostd_dp *dp, const struct dp_nic *nic, struct bh_capsule_nic *ret)
{
	uint64_t now_ns = bh_time_mono_ns();
	struct dp_iter it;
	int n;

	dp_iter_init(&it, dp, DP_MAP_NIC_ADDRS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n && ret->learned_count < BH_CAPSULE_ADDRS_MAX; i++) {
			const struct bh_nic_addr_key *key = dp_iter_key(&it, i);
			const struct bh_nic_addr *value = dp_iter_value(&it, i);
			uint64_t left = left_ms(now_ns, value->expires_ns);
			struct bh_capsule_learned *learned;

			if (key->nic != nic->index || !(value->flags & BH_ADDR_LEARNED) || !left) {
				continue;
			}
			learned = &ret->learned[ret->learned_count++];
			memcpy(learned->addr, key->addr, 16);
			learned->left_ms = left;
		}
	}
	dp_iter_done(&it);
	for (size_t i = 0; i < ret->learned_count; i++) {
		ret->learned[i].vlan = vlan_of(dp, nic, ret->learned[i].addr);
	}
	return n;
}

int hostd_dp_nic_export(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
			struct bh_capsule_nic *ret_nic, struct bh_diag *diag)
{
	const struct dp_nic *nic = dp_nic_find(dp, key->vm, key->mac);
	uint64_t now_ns = bh_time_mono_ns(), age_ms;
	struct bh_nic_state state = {};
	struct bh_nic_slot slot;
	int r;

	memset(ret_nic, 0, sizeof(*ret_nic));
	if (!nic || !nic->has_rec) {
		return bh_diag_set(diag, -ENOENT, "the NIC is not known here");
	}
	memcpy(ret_nic->mac, nic->key.mac, 6);
	dp_nic_slot(nic, &slot);
	ret_nic->net = slot.net;
	ret_nic->identity = slot.identity;
	ret_nic->tenant = slot.tenant;
	ret_nic->flags = slot.flags;
	r = dp_map_get(dp, DP_MAP_NIC_STATE, &nic->index, &state);
	ret_nic->answer_tokens = state.answer_tokens;
	ret_nic->event_tokens = state.event_tokens;
	ret_nic->suppressed = state.suppressed;
	age_ms = now_ns > state.bucket_ns ? (now_ns - state.bucket_ns) / MS_NS : 0;
	ret_nic->bucket_age_ms = age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
	r = r ? r : export_learned(dp, nic, ret_nic);
	return r ? bh_diag_set(diag, r, "cannot read NIC %u: %s", nic->index, strerror(-r)) : 0;
}

/* As the kernel does it when it learns: what is configured stays, what is another's is not taken.
 */
static int import_learned(struct hostd_dp *dp, const struct dp_nic *nic,
			  const struct bh_capsule_learned *learned, uint64_t now_ns)
{
	uint64_t until_ns = ns_after(now_ns, learned->left_ms);
	struct bh_addr_key akey = {.net = nic->rec.net, .vlan = learned->vlan};
	struct bh_nic_addr_key nkey = {.nic = nic->index};
	struct bh_nic_addr own = {.present = {1, 1}, .flags = BH_ADDR_LEARNED}, had;
	struct bh_addr addr = {.flags = BH_ADDR_LEARNED}, known;
	int r;

	own.expires_ns = addr.expires_ns = until_ns == UINT64_MAX ? 0 : until_ns;
	memcpy(nkey.addr, learned->addr, 16);
	memcpy(akey.addr, learned->addr, 16);
	for (int i = 0; i < 2; i++) {
		addr.slot[i].identity = nic->rec.identity;
		addr.slot[i].tenant = nic->rec.tenant;
	}
	r = dp_map_get(dp, DP_MAP_ADDRS, &akey, &known);
	if (r == -ENOENT || (!r && known.flags & BH_ADDR_LEARNED &&
			     known.slot[dp->ctl->gen & 1].identity == nic->rec.identity)) {
		r = dp_map_put(dp, DP_MAP_ADDRS, &akey, &addr);
	} else if (!r && known.slot[dp->ctl->gen & 1].identity != nic->rec.identity) {
		return 0; /* somebody else's */
	}
	if (r) {
		return r;
	}
	r = dp_map_get(dp, DP_MAP_NIC_ADDRS, &nkey, &had);
	if (r == -ENOENT || (!r && had.flags & BH_ADDR_LEARNED)) {
		r = dp_map_put(dp, DP_MAP_NIC_ADDRS, &nkey, &own);
	}
	return r;
}

int hostd_dp_nic_import(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
			const struct bh_capsule_nic *in, struct bh_diag *diag)
{
	struct batch b = {.dp = dp, .diag = diag};
	uint64_t now_ns = bh_time_mono_ns();
	const struct dp_nic *nic;
	struct bh_import *work;
	int r = dp_ready(dp, diag);

	if (r) {
		return r;
	}
	nic = dp_nic_find(dp, key->vm, key->mac);
	if (!nic || !nic->has_rec) {
		return bh_diag_set(diag, -ENOENT, "the NIC is not known here");
	}
	for (size_t i = 0; !r && i < in->learned_count && i < BH_CAPSULE_ADDRS_MAX; i++) {
		r = in->learned[i].left_ms ? import_learned(dp, nic, &in->learned[i], now_ns) : 0;
	}
	if (r) {
		return bh_diag_set(diag, r, "cannot write addresses of NIC %u: %s", nic->index,
				   strerror(-r));
	}
	work = batch_next(&b, &r);
	if (!work) {
		return r;
	}
	work->op = BH_IMPORT_STATE;
	work->nic[0] = nic->index;
	work->bucket.bucket_ns = ns_before(now_ns, in->bucket_age_ms);
	work->bucket.answer_tokens =
		in->answer_tokens < dp->ctl->reject_pps ? in->answer_tokens : dp->ctl->reject_pps;
	work->bucket.event_tokens =
		in->event_tokens < dp->ctl->event_pps ? in->event_tokens : dp->ctl->event_pps;
	work->bucket.suppressed = in->suppressed;
	return batch_run(&b);
}
