/* SPDX-License-Identifier: Apache-2.0 */
#include "moves_world.h"

#include "base/util.h"
#include "model/id.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define REFUSED	 2001 /* port that every policy here refuses */
#define NEWCOMER 302u

const uint8_t macs[3][6] = {{2, 0x77, 0, 0, 0, 1}, {2, 0x77, 0, 0, 0, 2}, {2, 0x77, 0, 0, 0, 200}};
const char *const addrs4[3] = {"10.77.0.1", "10.77.0.2", "10.77.0.200"};
const char *const addrs6[3] = {"fd77::1", "fd77::2", "fd77::c8"};

struct world world;
struct host src, dst;
struct hostd_dp_move_nics nics;

/* ---- hosts ---- */

void open_host(struct host *h, const char *name, void (*change)(struct hostd_dp_options *o))
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

void open_again(struct host *h)
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
void must_hold(struct host *h, bool mover, bool other, bool strict)
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

void plug(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);
	struct hostd_dp_device device = {
		.ifindex = world.tap[guest], .bridge = world.bridge, .host_flags = BH_NIC_FASTPATH};
	struct bh_diag diag = {};

	if (hostd_dp_bind(h->dp, &key, &device, &diag)) {
		fail_msg("bind: %s", diag.text);
	}
}

void unplug(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);

	assert_int_equal(hostd_dp_unbind(h->dp, &key, NULL), 0);
}

void forget_host(struct host *h)
{
	if (h->dp) {
		(void)!hostd_dp_destroy(h->dp, NULL);
		bh_image_free(h->image);
	}
	memset(h, 0, sizeof(*h));
}

/* Both hosts have the neighbour's and the VM's policy; devices only where they run. */
void two_hosts(void)
{
	open_host(&src, "src", NULL);
	open_host(&dst, "dst", NULL);
	must_hold(&src, true, true, false);
	must_hold(&dst, true, false, false);
	plug(&src, A);
	nics = (struct hostd_dp_move_nics){.keys = {world_key(A)}, .count = 1};
}

int clean_up(void **state)
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
bool sends(struct host *h, int guest, const struct kit_frame *f, uint32_t *ret_kind)
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
bool gets(struct host *h, int guest, const struct kit_frame *f)
{
	int verdict;

	run(h, DP_PROG_TO_GUEST, world.tap[guest], BH_MARK_UPLINK, f, &verdict);
	return verdict == KIT_PASS;
}

void frame_of(const struct flow *flow, bool reply, uint8_t tcp_flags, struct kit_frame *f)
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
bool passes(struct host *h, const struct flow *flow, bool reply, uint8_t tcp_flags)
{
	struct kit_frame f;

	frame_of(flow, reply, tcp_flags, &f);
	return flow->inwards == reply ? sends(h, A, &f, NULL) : gets(h, A, &f);
}

void must_open_tcp(struct host *h, const struct flow *flow)
{
	assert_true(passes(h, flow, false, KIT_SYN));
	assert_true(passes(h, flow, true, KIT_SYN | KIT_ACK));
	assert_true(passes(h, flow, false, KIT_ACK));
}

uint64_t counted(struct host *h, int guest, enum bh_reason reason)
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

uint32_t charged(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);
	const struct dp_nic *nic = dp_nic_find(h->dp, key.vm, key.mac);
	struct bh_nic_state state;

	assert_int_equal(dp_map_get(h->dp, DP_MAP_NIC_STATE, &nic->index, &state), 0);
	return state.ct_count;
}

uint32_t index_of(struct host *h, int guest)
{
	struct hostd_dp_nic_key key = world_key(guest);

	return dp_nic_find(h->dp, key.vm, key.mac)->index;
}

/* ---- moving ---- */

void collect(const struct bh_capsule_conn *conn, void *arg)
{
	struct conns *conns = arg;

	*bh_vec_push(&conns->list) = *conn;
}

void walk(struct host *h, struct conns *ret)
{
	struct hostd_dp_walk *w = hostd_dp_walk_new(h->dp, &nics);
	int r;

	memset(ret, 0, sizeof(*ret));
	while ((r = hostd_dp_walk_step(w, 100, collect, ret, NULL)) == HOSTD_DP_MORE) {
	}
	assert_int_equal(r, 0);
	hostd_dp_walk_free(w);
}

struct hostd_dp_import_result import(struct host *h, const struct conns *conns)
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
size_t move_all(void)
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

const struct bh_capsule_conn *conn_of_port(const struct conns *conns, uint16_t port)
{
	bh_vec_foreach (c, &conns->list) {
		if (c->tuple.lo_port == port || c->tuple.hi_port == port) {
			return c;
		}
	}
	fail_msg("no connection of port %u", port);
	return NULL;
}

/* ---- neighbours on one host ---- */

const struct flow pair = {.proto = KIT_TCP, .peer = B, .sport = 42000};
const struct flow pair_udp = {.proto = KIT_UDP, .peer = B, .sport = 42001};
const struct flow pair_back = {.proto = KIT_TCP, .peer = B, .sport = 42002, .inwards = true};

unsigned int tickets_that_run(struct host *h)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < BH_TICKET_SLOTS; i++) {
		struct bh_ticket t;

		assert_int_equal(dp_map_get(h->dp, DP_MAP_TICKETS, &i, &t), 0);
		count += t.until != 0;
	}
	return count;
}

/* One packet of a flow between A and B, at the tap of the one who sends it, or at that of the one
 * who gets it from outside. */
bool at_sender(struct host *h, const struct flow *f, bool reply, uint8_t flags, uint32_t *ret_kind)
{
	struct kit_frame frame;

	frame_of(f, reply, flags, &frame);
	return sends(h, f->inwards != reply ? B : A, &frame, ret_kind);
}

bool at_receiver(struct host *h, const struct flow *f, bool reply, uint8_t flags)
{
	struct kit_frame frame;

	frame_of(f, reply, flags, &frame);
	return gets(h, f->inwards != reply ? A : B, &frame);
}

void must_open_pair(struct host *h, const struct flow *f)
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

void open_many(struct host *h, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = (uint16_t)(43000 + i)};

		must_open_tcp(h, &f);
	}
}

size_t count_of(struct host *h)
{
	struct conns all;
	size_t n;

	walk(h, &all);
	n = all.list.count;
	bh_vec_done(&all.list);
	return n;
}

int setup(void **state)
{
	world_init(&world, 2, true);
	return 0;
}

int teardown(void **state)
{
	world_done(&world);
	return 0;
}
