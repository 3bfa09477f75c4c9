/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that travel with a VM: two dataplanes stand for two hosts, frames go into their
 * programs by BPF_PROG_TEST_RUN. Guest 0 is the VM that moves, guest 1 a neighbour, 10.77.0.200 is
 * somewhere outside. What moves must be judged at the target as if it had never moved, and nothing
 * may be left behind.
 */
#include "dataplane_world.h"

#include "base/time.h"
#include "base/util.h"
#include "host/dataplane/internal.h"
#include "kit.h"
#include "model/id.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define REFUSED 2001 /* UDP and TCP port that every policy here refuses */
#define MOVER	300u
#define OTHER	301u
#define NEWCOMER 302u
#define PORT	80
#define VLAN	12

static const uint8_t macs[3][6] = {
	{2, 0x77, 0, 0, 0, 1}, {2, 0x77, 0, 0, 0, 2}, {2, 0x77, 0, 0, 0, 200}};
static const char *const addrs4[3] = {"10.77.0.1", "10.77.0.2", "10.77.0.200"};
static const char *const addrs6[3] = {"fd77::1", "fd77::2", "fd77::c8"};
enum { A, B, OUT };

/* One host: its dataplane and what it holds. */
struct host {
	char pin_dir[128];
	struct hostd_dp *dp;
	struct bh_image *image;
	bool newcomer;
};

static struct world world;
static struct host src, dst;
static struct hostd_dp_move_nics nics;

struct conns {
	BH_VEC(struct bh_capsule_conn) list;
};

/* ---- hosts ---- */

static void open_host(struct host *h, const char *name, void (*change)(struct hostd_dp_options *o))
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};

	memset(h, 0, sizeof(*h));
	snprintf(h->pin_dir, sizeof(h->pin_dir), "%s/%s/v%d", world.dir, name, BH_ABI_VERSION);
	hostd_dp_options_init(&options);
	options.pin_dir = h->pin_dir;
	if (change) {
		change(&options);
	}
	if (hostd_dp_open(&options, &h->dp, NULL, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	h->image = bh_image_new();
}

static void open_again(struct host *h)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};

	hostd_dp_close(h->dp);
	hostd_dp_options_init(&options);
	options.pin_dir = h->pin_dir;
	if (hostd_dp_open(&options, &h->dp, NULL, &diag)) {
		fail_msg("open: %s", diag.text);
	}
}

static void add_more_addresses(struct bh_segment *seg, int guest, uint32_t identity)
{
	struct hostd_dp_nic_key key = world_key(guest);
	struct bh_rec nic_addr = {.type = BH_REC_NIC_ADDR}, addr = {.type = BH_REC_ADDR},
		      vlan = {.type = BH_REC_NIC_VLAN};

	memcpy(nic_addr.nic_addr.vm, key.vm, 16);
	memcpy(nic_addr.nic_addr.mac, key.mac, 6);
	memcpy(vlan.nic_vlan.vm, key.vm, 16);
	memcpy(vlan.nic_vlan.mac, key.mac, 6);
	kit_ip(addrs6[guest], nic_addr.nic_addr.addr);
	bh_segment_add(seg, &nic_addr);
	addr.addr.net = WORLD_NET;
	addr.addr.identity = identity;
	addr.addr.tenant = WORLD_TENANT;
	kit_ip(addrs6[guest], addr.addr.addr);
	bh_segment_add(seg, &addr);
	addr.addr.vlan = VLAN << 16;
	kit_ip(addrs4[guest], addr.addr.addr);
	bh_segment_add(seg, &addr);
	vlan.nic_vlan.vlan = VLAN << 16;
	bh_segment_add(seg, &vlan);
	vlan.nic_vlan.vlan = 0;
	bh_segment_add(seg, &vlan);
}

/* Somebody else's VM, who may do nothing. */
static void add_newcomer(struct bh_segment *seg)
{
	struct bh_rec nic = {.type = BH_REC_NIC,
			     .nic = {.vm = {0x77},
				     .mac = {2, 0x77, 0, 0, 0, 0x77},
				     .net = WORLD_NET,
				     .identity = NEWCOMER,
				     .tenant = WORLD_TENANT}};

	bh_segment_add(seg, &nic);
	add_set(seg, BH_SET(NEWCOMER, BH_DIR_EGRESS), BH_ACTION_DENY, 0);
	add_set(seg, BH_SET(NEWCOMER, BH_DIR_INGRESS), BH_ACTION_DENY, 0);
}

/* Everything is allowed but the port REFUSED, or (`strict`) nothing that the VM receives. */
static void must_hold(struct host *h, bool mover, bool other, bool strict)
{
	struct bh_segment *seg = bh_segment_new("world");

	for (uint32_t id = MOVER; id <= OTHER; id++) {
		add_set(seg, BH_SET(id, BH_DIR_EGRESS), BH_ACTION_ALLOW, row_mask(0, REFUSED));
		add_row(seg, BH_SET(id, BH_DIR_EGRESS), 0, REFUSED, 1, BH_ACTION_DENY);
		add_set(seg, BH_SET(id, BH_DIR_INGRESS), strict ? BH_ACTION_DENY : BH_ACTION_ALLOW,
			0);
	}
	if (mover) {
		add_nic(seg, A, MOVER, 0);
		add_more_addresses(seg, A, MOVER);
	}
	if (other) {
		add_nic(seg, B, OTHER, 0);
		add_more_addresses(seg, B, OTHER);
	}
	if (h->newcomer) {
		add_newcomer(seg);
	}
	h->image = must_apply(h->dp, h->image, image_of(seg));
	assert_int_equal(hostd_dp_settle(h->dp, NULL), 0);
}

static void plug(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);
	struct hostd_dp_device device = {
		.ifindex = world.tap[guest], .bridge = world.bridge, .host_flags = BH_NIC_FASTPATH};
	struct bh_diag diag = {};

	if (hostd_dp_bind(h->dp, &key, &device, &diag)) {
		fail_msg("bind: %s", diag.text);
	}
}

static void unplug(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);

	assert_int_equal(hostd_dp_unbind(h->dp, &key, NULL), 0);
}

static void forget_host(struct host *h)
{
	if (h->dp) {
		(void)!hostd_dp_destroy(h->dp, NULL);
		bh_image_free(h->image);
	}
	memset(h, 0, sizeof(*h));
}

/* Both hosts have the neighbour's and the VM's policy; devices only where they run. */
static void two_hosts(void)
{
	open_host(&src, "src", NULL);
	open_host(&dst, "dst", NULL);
	must_hold(&src, true, true, false);
	must_hold(&dst, true, false, false);
	plug(&src, A);
	nics = (struct hostd_dp_move_nics){.keys = {world_key(A)}, .count = 1};
}

static int clean_up(void **state)
{
	forget_host(&src);
	forget_host(&dst);
	return 0;
}

/* ---- frames ---- */

static uint32_t run(struct host *h, enum dp_prog prog, uint32_t ifindex, uint32_t kind,
		    const struct kit_frame *f, int *ret_verdict)
{
	uint32_t nonce = h->dp->ctl->mark_nonce & 0xffffff00;
	struct __sk_buff in = {.ifindex = ifindex, .mark = kind ? nonce | kind : 0}, out = {};
	uint8_t data[KIT_FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->size,
		    .data_out = data, .data_size_out = sizeof(data), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out));

	assert_int_equal(bpf_prog_test_run_opts(h->dp->prog_fd[prog], &opts), 0);
	*ret_verdict = (int)opts.retval;
	return out.mark & 0xff;
}

/* A guest sends; with what mark it goes on is in *ret_kind, which may be NULL. */
static bool sends(struct host *h, int guest, const struct kit_frame *f, uint32_t *ret_kind)
{
	uint32_t kind;
	int verdict;

	kind = run(h, DP_PROG_FROM_GUEST, world.tap[guest], 0, f, &verdict);
	if (ret_kind) {
		*ret_kind = verdict == KIT_REDIRECT ? BH_MARK_HANDED : kind;
	}
	return verdict == KIT_PASS || verdict == KIT_REDIRECT;
}

/* A guest gets what entered by the uplink. */
static bool gets(struct host *h, int guest, const struct kit_frame *f)
{
	int verdict;

	run(h, DP_PROG_TO_GUEST, world.tap[guest], BH_MARK_UPLINK, f, &verdict);
	return verdict == KIT_PASS;
}

/* What a packet of a flow looks like. */
struct flow {
	bool v6;
	uint8_t proto;
	int peer; /* of A */
	uint16_t sport, vlan;
	bool inwards; /* the peer opened it */
};

static void frame_of(const struct flow *flow, bool reply, uint8_t tcp_flags, struct kit_frame *f)
{
	int from = flow->inwards != reply ? flow->peer : A, to = from == A ? flow->peer : A;
	const char *const *addrs = flow->v6 ? addrs6 : addrs4;
	bool echo = flow->proto == KIT_ICMP || flow->proto == KIT_ICMP6;
	uint8_t chunk[16] = {tcp_flags == KIT_SYN ? (reply ? 2 : 1) : 0, 0, 0, 16};

	kit_build(&(struct kit_spec){.smac = macs[from],
				     .dmac = macs[to],
				     .src = addrs[from],
				     .dst = addrs[to],
				     .proto = flow->proto,
				     .sport = reply ? PORT : flow->sport,
				     .dport = reply ? flow->sport : PORT,
				     .tcp_flags = tcp_flags,
				     .seq = 1,
				     .ack = 1,
				     .icmp_type = !echo	     ? 0
						  : flow->v6 ? (reply ? 129 : 128)
							     : (reply ? 0 : 8),
				     .icmp_id = flow->sport,
				     .vlan = {flow->vlan},
				     .body = flow->proto == KIT_SCTP ? chunk : NULL,
				     .body_size = flow->proto == KIT_SCTP ? sizeof(chunk) : 8},
		  f);
}

/* One packet of the flow at the tap of A, which sends or gets it. */
static bool passes(struct host *h, const struct flow *flow, bool reply, uint8_t tcp_flags)
{
	struct kit_frame f;

	frame_of(flow, reply, tcp_flags, &f);
	return flow->inwards == reply ? sends(h, A, &f, NULL) : gets(h, A, &f);
}

static void must_open_tcp(struct host *h, const struct flow *flow)
{
	assert_true(passes(h, flow, false, KIT_SYN));
	assert_true(passes(h, flow, true, KIT_SYN | KIT_ACK));
	assert_true(passes(h, flow, false, KIT_ACK));
}

static uint64_t counted(struct host *h, int guest, enum bh_reason reason)
{
	struct hostd_dp_nic_key key = world_key(guest);
	const struct dp_nic *nic = dp_nic_find(h->dp, key.vm, key.mac);
	struct bh_stat_key stat = {.nic = nic->index, .reason = reason};
	struct bh_counter c[256] = {};
	uint64_t sum = 0;

	assert_true(libbpf_num_possible_cpus() <= 256);
	(void)!dp_map_get(h->dp, DP_MAP_STATS, &stat, c);
	for (int i = 0; i < 256; i++) {
		sum += c[i].packets;
	}
	return sum;
}

static uint32_t charged(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);
	const struct dp_nic *nic = dp_nic_find(h->dp, key.vm, key.mac);
	struct bh_nic_state state;

	assert_int_equal(dp_map_get(h->dp, DP_MAP_NIC_STATE, &nic->index, &state), 0);
	return state.ct_count;
}

static uint32_t index_of(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);

	return dp_nic_find(h->dp, key.vm, key.mac)->index;
}

/* ---- moving ---- */

static void collect(const struct bh_capsule_conn *conn, void *arg)
{
	struct conns *conns = arg;

	*bh_vec_push(&conns->list) = *conn;
}

static void walk(struct host *h, struct conns *ret)
{
	struct hostd_dp_walk *w = hostd_dp_walk_new(h->dp, &nics);
	int r;

	memset(ret, 0, sizeof(*ret));
	while ((r = hostd_dp_walk_step(w, 100, collect, ret, NULL)) == HOSTD_DP_MORE) {
	}
	assert_int_equal(r, 0);
	hostd_dp_walk_free(w);
}

static struct hostd_dp_import_result import(struct host *h, const struct conns *conns)
{
	struct hostd_dp_import_result result;
	struct bh_diag diag = {};

	if (hostd_dp_import(h->dp, &nics, conns->list.items, conns->list.count, &result, &diag)) {
		fail_msg("import: %s", diag.text);
	}
	return result;
}

static struct bh_hash sum_of(const struct conns *conns)
{
	struct bh_hasher *hasher = bh_hasher_new();
	struct bh_hash sum = {}, one;

	bh_vec_foreach (conn, &conns->list) {
		bh_capsule_conn_hash(hasher, conn, &one);
		bh_hash_add(&sum, &one);
	}
	bh_hasher_free(hasher);
	return sum;
}

/* What the source has, the target holds; returns how many. */
static size_t move_all(void)
{
	struct conns there, here;
	struct bh_hash a, b;
	size_t count;

	walk(&src, &there);
	import(&dst, &there);
	walk(&dst, &here);
	count = there.list.count;
	assert_int_equal(here.list.count, count);
	a = sum_of(&there);
	b = sum_of(&here);
	assert_true(bh_hash_equal(&a, &b));
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
	return count;
}

[[maybe_unused]] static const struct bh_capsule_conn *conn_of_port(const struct conns *conns,
								   uint16_t port)
{
	bh_vec_foreach (c, &conns->list) {
		if (c->tuple.lo_port == port || c->tuple.hi_port == port) {
			return c;
		}
	}
	fail_msg("no connection of port %u", port);
	return NULL;
}

/* ---- tests ---- */

static void tcp_goes_on(void **state)
{
	struct flow out = {.proto = KIT_TCP, .peer = OUT, .sport = 40000},
		    in = {.proto = KIT_TCP, .peer = OUT, .sport = 40001, .inwards = true};

	two_hosts();
	must_open_tcp(&src, &out);
	must_open_tcp(&src, &in);
	plug(&dst, A);
	/* The target knows nothing of it ... */
	assert_false(passes(&dst, &out, false, KIT_ACK));
	assert_false(passes(&dst, &in, false, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 2);
	/* ... until it is told. */
	assert_int_equal(move_all(), 2);
	for (int i = 0; i < 4; i++) {
		assert_true(passes(&dst, &out, false, KIT_ACK));
		assert_true(passes(&dst, &out, true, KIT_ACK));
		assert_true(passes(&dst, &in, false, KIT_ACK));
		assert_true(passes(&dst, &in, true, KIT_ACK));
	}
	assert_int_equal(counted(&dst, A, BH_REASON_REJUDGED), 2);
	assert_int_equal(charged(&dst, A), 2);
}

/* ---- everything that a connection can be ---- */

static const struct flow flows[] = {
	{.proto = KIT_TCP, .peer = OUT, .sport = 41000},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41001, .inwards = true},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41002, .v6 = true},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41003, .vlan = VLAN},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41004},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41005, .v6 = true, .inwards = true},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41006, .vlan = VLAN, .inwards = true},
	{.proto = KIT_ICMP, .peer = OUT, .sport = 41007},
	{.proto = KIT_ICMP6, .peer = OUT, .sport = 41008, .v6 = true},
	{.proto = KIT_SCTP, .peer = OUT, .sport = 41009},
	{.proto = KIT_SCTP, .peer = OUT, .sport = 41010, .v6 = true, .inwards = true},
};
#define STAGES 5

/* Brings the flow so far at that host: opened, answered, carrying data, half closed, closed. */
static void bring(struct host *h, const struct flow *f, int stage)
{
	bool tcp = f->proto == KIT_TCP;

	assert_true(passes(h, f, false, KIT_SYN));
	if (stage >= 1) {
		assert_true(passes(h, f, true, tcp ? KIT_SYN | KIT_ACK : KIT_SYN));
	}
	for (int i = 0; stage >= 2 && i < 3; i++) {
		assert_true(passes(h, f, false, KIT_ACK));
		assert_true(passes(h, f, true, KIT_ACK));
	}
	if (stage >= 3 && tcp) {
		assert_true(passes(h, f, false, KIT_FIN | KIT_ACK));
	}
	if (stage >= 4 && tcp) {
		assert_true(passes(h, f, true, KIT_FIN | KIT_ACK));
	}
}

static struct flow at_stage(size_t i, int stage)
{
	struct flow f = flows[i];

	f.sport = (uint16_t)(f.sport + 100 * stage);
	return f;
}

static void must_be_alike(const struct conns *a, const struct conns *b)
{
	assert_int_equal(a->list.count, b->list.count);
	bh_vec_foreach (x, &a->list) {
		const struct bh_capsule_conn *y = NULL;

		bh_vec_foreach (c, &b->list) {
			y = memcmp(&c->tuple, &x->tuple, sizeof(c->tuple)) ? y : c;
		}
		assert_non_null(y);
		assert_int_equal(x->state, y->state);
		assert_int_equal(x->flags, y->flags);
		assert_int_equal(x->timeout_s, y->timeout_s);
		assert_int_equal(x->policy_port, y->policy_port);
		assert_memory_equal(x->nic, y->nic, sizeof(x->nic));
		assert_memory_equal(x->identity, y->identity, sizeof(x->identity));
		assert_memory_equal(x->rule, y->rule, sizeof(x->rule));
		assert_memory_equal(x->packets, y->packets, sizeof(x->packets));
		assert_memory_equal(x->bytes, y->bytes, sizeof(x->bytes));
		assert_true(y->age_ms + 20 >= x->age_ms && y->age_ms < x->age_ms + 5000);
		assert_true(y->idle_ms + 1000 >= x->idle_ms /* tickets */ &&
			    y->idle_ms < x->idle_ms + 5000);
	}
}

static void all_protocols_and_states_go_on(void **state)
{
	struct conns there, here;

	two_hosts();
	for (int stage = 0; stage < STAGES; stage++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(flows); i++) {
			struct flow f = at_stage(i, stage);

			bring(&src, &f, stage);
		}
	}
	assert_int_equal(move_all(), STAGES * BH_ARRAY_SIZE(flows));
	walk(&src, &there);
	walk(&dst, &here);
	must_be_alike(&there, &here);
	bh_vec_done(&here.list);
	plug(&dst, A);
	for (int stage = 0; stage < STAGES; stage++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(flows); i++) {
			struct flow f = at_stage(i, stage);
			uint8_t next = stage ? KIT_ACK : KIT_SYN | KIT_ACK;

			/* What comes next passes on both, and means the same. */
			assert_true(passes(&src, &f, true, next));
			assert_true(passes(&dst, &f, true, next));
			assert_true(passes(&src, &f, false, KIT_ACK));
			assert_true(passes(&dst, &f, false, KIT_ACK));
		}
	}
	bh_vec_done(&there.list);
	walk(&src, &there);
	walk(&dst, &here);
	must_be_alike(&there, &here);
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	assert_int_equal(charged(&dst, A), STAGES * BH_ARRAY_SIZE(flows));
	assert_int_equal(charged(&src, A), STAGES * BH_ARRAY_SIZE(flows));
}

/* Whatever comes and however often, nothing goes back. */
static void later_parts_go_forward_only(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct hostd_dp_import_result r;
	struct conns early, late, here;

	two_hosts();
	bring(&src, &f, 1);
	walk(&src, &early);
	r = import(&dst, &early);
	assert_int_equal(r.added, 1);
	assert_true(passes(&src, &f, false, KIT_ACK));
	assert_true(passes(&src, &f, true, KIT_ACK));
	walk(&src, &late);
	for (int i = 0; i < 3; i++) {
		r = import(&dst, &late);
		assert_int_equal(r.merged, 1);
		r = import(&dst, &early);
		assert_int_equal(r.merged, 1);
	}
	walk(&dst, &here);
	must_be_alike(&late, &here);
	assert_int_equal(here.list.items[0].state, BH_CT_ESTABLISHED);
	assert_int_equal(charged(&dst, A), 1);
	bh_vec_done(&early.list);
	bh_vec_done(&late.list);
	bh_vec_done(&here.list);
}

/* A repeat does not have the target judge again what it has judged. */
static void a_repeat_changes_nothing(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct conns there;

	two_hosts();
	must_open_tcp(&src, &f);
	plug(&dst, A);
	assert_int_equal(move_all(), 1);
	walk(&src, &there);
	for (int i = 0; i < 3; i++) {
		assert_true(passes(&dst, &f, false, KIT_ACK));
		import(&dst, &there);
	}
	assert_int_equal(counted(&dst, A, BH_REASON_REJUDGED), 1);
	bh_vec_done(&there.list);
}

/* The tuple is used again, and nobody told that the first one ended. */
static void another_connection_of_the_same_name(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct conns here;

	two_hosts();
	bring(&src, &f, 4);
	assert_int_equal(move_all(), 1);
	usleep(20000); /* the coarse clock ticks */
	assert_true(passes(&src, &f, false, KIT_SYN));
	assert_int_equal(move_all(), 1);
	walk(&dst, &here);
	assert_int_equal(here.list.items[0].state, BH_CT_NEW);
	assert_int_equal(here.list.items[0].timeout_s, 60);
	assert_int_equal(here.list.items[0].packets[0] + here.list.items[0].packets[1], 1);
	bh_vec_done(&here.list);
}

/* ---- judging ---- */

static void the_target_judges(void **state)
{
	struct flow in = {.proto = KIT_TCP, .peer = OUT, .sport = 40000, .inwards = true},
		    out = {.proto = KIT_TCP, .peer = OUT, .sport = 40001};

	two_hosts();
	must_open_tcp(&src, &in);
	must_open_tcp(&src, &out);
	must_hold(&dst, true, false, true); /* the VM receives nothing that it did not ask for */
	plug(&dst, A);
	assert_int_equal(move_all(), 2);
	assert_true(passes(&dst, &out, true, KIT_ACK));
	assert_false(passes(&dst, &in, false, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_POLICY), 1);
	assert_int_equal(charged(&dst, A), 1);
}

static void arriving_is_counted_apart(void **state)
{
	struct flow tcp = {.proto = KIT_TCP, .peer = OUT, .sport = 40000, .inwards = true},
		    fresh = {.proto = KIT_TCP, .peer = OUT, .sport = 40001},
		    udp = {.proto = KIT_UDP, .peer = OUT, .sport = 40002};
	struct hostd_dp_nic_key key = world_key(A), stranger = world_key(5);
	struct hostd_dp_nic_status status;
	struct conns there;

	two_hosts();
	must_open_tcp(&src, &tcp);
	assert_int_equal(
		hostd_dp_nic_set_flags(dst.dp, &stranger, BH_NIC_ARRIVING, BH_NIC_ARRIVING, NULL),
		-ENOENT);
	/* Before there is a device, and kept when there is one, and by the next process. */
	assert_int_equal(
		hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_ARRIVING, BH_NIC_ARRIVING, NULL), 0);
	plug(&dst, A);
	open_again(&dst);
	assert_int_equal(hostd_dp_nic_status(dst.dp, &key, &status, NULL), 0);
	assert_int_equal(status.flags & BH_NIC_ARRIVING, BH_NIC_ARRIVING);
	assert_false(passes(&dst, &tcp, false, KIT_ACK));
	assert_false(passes(&dst, &tcp, true, KIT_ACK));
	assert_false(passes(&dst, &tcp, true, KIT_RST | KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_ARRIVING), 3);
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 0);
	must_open_tcp(&dst, &fresh);
	assert_true(passes(&dst, &udp, false, 0));
	walk(&src, &there);
	assert_int_equal(import(&dst, &there).added, 1);
	bh_vec_done(&there.list);
	assert_true(passes(&dst, &tcp, true, KIT_ACK));
	/* It came; from now on TCP from nowhere is what it always was. */
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_ARRIVING, 0, NULL), 0);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_false(passes(&dst, &tcp, true, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 1);
	/* The last way out: judged as if it opened. */
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_PICKUP, BH_NIC_PICKUP, NULL),
			 0);
	plug(&dst, A);
	assert_true(passes(&dst, &tcp, true, KIT_ACK));
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_PICKUP, 0, NULL), 0);
	assert_int_equal(hostd_dp_nic_status(dst.dp, &key, &status, NULL), 0);
	assert_int_equal(status.flags & BH_NIC_PICKUP, 0);
}

/* ---- neighbours on one host ---- */

static const struct flow pair = {.proto = KIT_TCP, .peer = B, .sport = 42000};
static const struct flow pair_udp = {.proto = KIT_UDP, .peer = B, .sport = 42001};
static const struct flow pair_back = {
	.proto = KIT_TCP, .peer = B, .sport = 42002, .inwards = true};

/* One packet of a flow between A and B, at the tap of the one who sends it, or at that of the one
 * who gets it from outside. */
static bool at_sender(struct host *h, const struct flow *f, bool reply, uint8_t flags,
		      uint32_t *ret_kind)
{
	struct kit_frame frame;

	frame_of(f, reply, flags, &frame);
	return sends(h, f->inwards != reply ? B : A, &frame, ret_kind);
}

static bool at_receiver(struct host *h, const struct flow *f, bool reply, uint8_t flags)
{
	struct kit_frame frame;

	frame_of(f, reply, flags, &frame);
	return gets(h, f->inwards != reply ? A : B, &frame);
}

static void must_open_pair(struct host *h, const struct flow *f)
{
	uint32_t kind;

	assert_true(at_sender(h, f, false, KIT_SYN, &kind));
	assert_true(kind == BH_MARK_JUDGED || kind == BH_MARK_HANDED);
	assert_true(at_sender(h, f, true, KIT_SYN | KIT_ACK, NULL));
	for (int i = 0; i < 3; i++) {
		assert_true(at_sender(h, f, false, KIT_ACK, NULL));
		assert_true(at_sender(h, f, true, KIT_ACK, NULL));
	}
}

static unsigned int tickets_that_run(struct host *h)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < BH_TICKET_SLOTS; i++) {
		struct bh_ticket t;

		assert_int_equal(dp_map_get(h->dp, DP_MAP_TICKETS, &i, &t), 0);
		count += t.until != 0;
	}
	return count;
}

/* The VM moves away: its neighbour goes on talking with it, now by the uplink. */
static void the_neighbour_stays(void **state)
{
	static const struct flow *const all[] = {&pair, &pair_udp, &pair_back};
	struct hostd_dp_nic_key key = world_key(A);
	uint32_t kind;

	two_hosts();
	plug(&src, B);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		must_open_pair(&src, all[i]);
	}
	assert_true(tickets_that_run(&src) >= 4);
	assert_int_equal(charged(&src, A), 2);
	assert_int_equal(charged(&src, B), 1);
	assert_int_equal(move_all(), 3);
	unplug(&src, A);
	assert_int_equal(hostd_dp_import_undo(src.dp, &nics, NULL), 0);
	assert_int_equal(tickets_that_run(&src), 0);
	assert_int_equal(charged(&src, A), 0);
	assert_int_equal(charged(&src, B), 3);
	must_hold(&src, false, true, false);
	assert_null(dp_nic_find(src.dp, key.vm, key.mac));
	plug(&dst, A);
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
			for (int reply = 0; reply < 2; reply++) {
				assert_true(at_sender(all[i]->inwards != reply ? &src : &dst,
						      all[i], reply, KIT_ACK, &kind));
				assert_int_equal(kind, BH_MARK_NIC); /* judged for the sender */
				assert_true(at_receiver(all[i]->inwards != reply ? &dst : &src,
							all[i], reply, KIT_ACK));
			}
		}
	}
	/* Still the same ones, followed on both hosts. */
	assert_int_equal(counted(&src, B, BH_REASON_CT_NEW), 1);
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	assert_int_equal(charged(&src, B), 3);
	assert_int_equal(charged(&dst, A), 3);
	/* And they end. */
	assert_true(at_sender(&dst, &pair, false, KIT_RST | KIT_ACK, NULL));
	assert_true(at_receiver(&src, &pair, false, KIT_RST | KIT_ACK));
}

/* Nobody says anything: the VM's device and records just go. */
static void a_neighbour_that_vanishes(void **state)
{
	struct hostd_dp_nic_key key = world_key(A);
	uint32_t kind;

	two_hosts();
	plug(&src, B);
	must_open_pair(&src, &pair);
	unplug(&src, A);
	must_hold(&src, false, true, false);
	assert_null(dp_nic_find(src.dp, key.vm, key.mac));
	for (int i = 0; i < 4; i++) {
		assert_true(at_sender(&src, &pair, true, KIT_ACK, &kind));
		assert_int_equal(kind, BH_MARK_NIC);
		assert_true(at_receiver(&src, &pair, false, KIT_ACK));
	}
}

/* The VM moves to where its neighbour is already. */
static void two_taps_of(struct host *h, const struct flow *f)
{
	uint32_t kind;

	for (int i = 0; i < 4; i++) {
		for (int reply = 0; reply < 2; reply++) {
			assert_true(at_sender(h, f, reply, KIT_ACK, &kind));
			assert_true(kind == BH_MARK_JUDGED || kind == BH_MARK_HANDED);
		}
	}
}

static void open_across(const struct flow *f)
{
	static const uint8_t steps[3][2] = {
		{0, KIT_SYN}, {1, KIT_SYN | KIT_ACK}, {0, KIT_ACK}};

	for (int i = 0; i < 3; i++) {
		bool from_b = f->inwards != steps[i][0];

		assert_true(at_sender(from_b ? &dst : &src, f, steps[i][0], steps[i][1], NULL));
		assert_true(at_receiver(from_b ? &src : &dst, f, steps[i][0], steps[i][1]));
	}
}

static void the_neighbour_is_there(void **state)
{
	static const struct flow *const all[] = {&pair, &pair_udp, &pair_back};
	struct hostd_dp_import_result r;
	struct conns there, again;

	two_hosts();
	must_hold(&src, true, false, false);
	must_hold(&dst, false, true, false);
	plug(&dst, B);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		open_across(all[i]);
	}
	must_hold(&dst, true, true, false); /* it is told of the VM */
	walk(&src, &there);
	r = import(&dst, &there);
	assert_int_equal(r.merged, 3);
	assert_int_equal(charged(&dst, B), 3);
	assert_int_equal(charged(&dst, A), 0);
	/* While memory is copied the VM still talks from over there. */
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		for (int round = 0; round < 3; round++) {
			bool b_first = all[i]->inwards;

			assert_true(at_sender(b_first ? &dst : &src, all[i], false, KIT_ACK, NULL));
			assert_true(at_receiver(b_first ? &src : &dst, all[i], false, KIT_ACK));
			assert_true(at_sender(b_first ? &src : &dst, all[i], true, KIT_ACK, NULL));
			assert_true(at_receiver(b_first ? &dst : &src, all[i], true, KIT_ACK));
		}
	}
	walk(&src, &again);
	assert_int_equal(import(&dst, &again).merged, 3);
	unplug(&src, A);
	plug(&dst, A);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		two_taps_of(&dst, all[i]);
	}
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	bh_vec_done(&there.list);
	bh_vec_done(&again.list);
}

/* The same, but it does not come: what the neighbour has with it stays as it was. */
static void the_neighbour_waits_in_vain(void **state)
{
	struct conns there, here;

	two_hosts();
	must_hold(&dst, false, true, false);
	plug(&dst, B);
	open_across(&pair);
	open_across(&pair_back);
	must_hold(&dst, true, true, false);
	walk(&src, &there);
	import(&dst, &there);
	assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
	assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_int_equal(tickets_that_run(&dst), 0);
	must_hold(&dst, false, true, false);
	walk(&dst, &here);
	assert_int_equal(here.list.count, 0);
	assert_int_equal(charged(&dst, B), 2);
	for (int i = 0; i < 3; i++) {
		assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
		assert_true(at_receiver(&src, &pair, true, KIT_ACK));
		assert_true(at_sender(&src, &pair_back, true, KIT_ACK, NULL));
		assert_true(at_receiver(&dst, &pair_back, true, KIT_ACK));
	}
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
}

/* An index that was another VM's: what that one had is not judged by the newcomer's policy. */
static void an_index_is_not_inherited(void **state)
{
	for (int again = 0; again < 2; again++) {
		static const uint8_t mac[6] = {2, 0x77, 0, 0, 0, 0x77}, vm[16] = {0x77};
		uint32_t was, kind;

		two_hosts();
		plug(&src, B);
		must_open_pair(&src, &pair);
		was = index_of(&src, A);
		unplug(&src, A);
		must_hold(&src, false, true, false);
		if (again) {
			open_again(&src);
		}
		src.dp->nic_next = was; /* all the others came and went */
		src.newcomer = true;
		must_hold(&src, false, true, false);
		assert_int_equal(dp_nic_find(src.dp, vm, mac)->index, was);
		assert_true(at_sender(&src, &pair, true, KIT_ACK, &kind));
		assert_int_equal(kind, BH_MARK_NIC);
		assert_true(at_receiver(&src, &pair, false, KIT_ACK));
		assert_int_equal(charged(&src, B), 1);
		clean_up(NULL);
	}
}

static int setup(void **state)
{
	world_init(&world, 2, true);
	return 0;
}

static int teardown(void **state)
{
	world_done(&world);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(tcp_goes_on, clean_up),
		cmocka_unit_test_teardown(all_protocols_and_states_go_on, clean_up),
		cmocka_unit_test_teardown(later_parts_go_forward_only, clean_up),
		cmocka_unit_test_teardown(a_repeat_changes_nothing, clean_up),
		cmocka_unit_test_teardown(another_connection_of_the_same_name, clean_up),
		cmocka_unit_test_teardown(the_target_judges, clean_up),
		cmocka_unit_test_teardown(arriving_is_counted_apart, clean_up),
		cmocka_unit_test_teardown(the_neighbour_stays, clean_up),
		cmocka_unit_test_teardown(a_neighbour_that_vanishes, clean_up),
		cmocka_unit_test_teardown(the_neighbour_is_there, clean_up),
		cmocka_unit_test_teardown(the_neighbour_waits_in_vain, clean_up),
		cmocka_unit_test_teardown(an_index_is_not_inherited, clean_up),
	};

	world_require_root();
	return cmocka_run_group_tests(tests, setup, teardown);
}
