/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what the kernel counts, knows and says: usage, counters, connections, events. */
#include "host/dataplane/internal.h"

#include "base/time.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>

static uint32_t connections_of_nics(const struct hostd_dp *dp)
{
	struct dp_nic *nic, *tmp;
	uint32_t count = 0;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		struct bh_nic_state state;

		if (!dp_map_get(dp, DP_MAP_NIC_STATE, &nic->index, &state)) {
			count += state.ct_count;
		}
	}
	return count;
}

uint32_t hostd_dp_charged(const struct hostd_dp *dp, const uint8_t vm[16])
{
	struct dp_nic *nic, *tmp;
	uint32_t count = 0;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		struct bh_nic_state state;

		if (!memcmp(nic->key.vm, vm, sizeof(nic->key.vm)) &&
		    !dp_map_get(dp, DP_MAP_NIC_STATE, &nic->index, &state)) {
			count += state.ct_count;
		}
	}
	return count;
}

void hostd_dp_usage(const struct hostd_dp *dp,
		    struct hostd_dp_usage ret_usage[HOSTD_DP_TABLE_COUNT])
{
	memset(ret_usage, 0, HOSTD_DP_TABLE_COUNT * sizeof(*ret_usage));
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		int table = dp_map_descs[m].table;

		if (table >= 0 && m != DP_MAP_NIC_STATE && m != DP_MAP_MACS && m != DP_MAP_PASS) {
			ret_usage[table].size = dp->map_size[m];
			ret_usage[table].used = dp->used[m];
		}
	}
	ret_usage[HOSTD_DP_NICS].used = dp->nic_count + 1; /* index 0 is never used */
	ret_usage[HOSTD_DP_CT4].used =
		connections_of_nics(dp); /* both families are charged alike */
}

const char *hostd_dp_reason_name(unsigned int reason)
{
	static const char *const names[BH_REASON_COUNT] = {
#define REASON_NAME(id, name) [BH_REASON_##id] = name,
		BH_REASONS(REASON_NAME)
#undef REASON_NAME
	};

	return reason < BH_REASON_COUNT ? names[reason] : "unknown";
}

static struct bh_counter sum_cpus(const void *value, int cpus)
{
	const struct bh_counter *c = value;
	struct bh_counter sum = {};

	for (int i = 0; i < cpus; i++) {
		sum.packets += c[i].packets;
		sum.bytes += c[i].bytes;
	}
	return sum;
}

/* What passed stands in an array of its own, by NIC. */
static int count_passed(const struct hostd_dp *dp, hostd_dp_counter_fn *fn, void *arg)
{
	int r = 0, cpus = libbpf_num_possible_cpus();
	BH_FREE struct bh_pass *pass = bh_alloc_array((size_t)cpus, sizeof(*pass));
	struct dp_nic *nic, *tmp;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		struct hostd_dp_counter passed = {.nic = nic->index, .reason = BH_REASON_PASS};
		struct hostd_dp_counter fast = {.nic = nic->index, .reason = BH_REASON_PASS_FAST};
		int e = dp_map_get(dp, DP_MAP_PASS, &nic->index, pass);

		for (int i = 0; !e && i < cpus; i++) {
			passed.value.packets += pass[i].pass.packets;
			passed.value.bytes += pass[i].pass.bytes;
			fast.value.packets += pass[i].fast.packets;
			fast.value.bytes += pass[i].fast.bytes;
		}
		if (passed.value.packets) {
			fn(&passed, arg);
		}
		if (fast.value.packets) {
			fn(&fast, arg);
		}
		r = r ? r : e;
	}
	return r;
}

int hostd_dp_counters(struct hostd_dp *dp, hostd_dp_counter_fn *fn, void *arg, struct bh_diag *diag)
{
	int n, r, cpus = libbpf_num_possible_cpus();
	struct dp_iter it;

	r = count_passed(dp, fn, arg);
	if (r) {
		return bh_diag_set(diag, r, "cannot read bh_pass: %s", strerror(-r));
	}
	dp_iter_init(&it, dp, DP_MAP_STATS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			const struct bh_stat_key *key = dp_iter_key(&it, i);
			struct hostd_dp_counter counter = {
				.nic = key->nic,
				.reason = (enum bh_reason)key->reason,
				.value = sum_cpus(dp_iter_value(&it, i), cpus),
			};

			fn(&counter, arg);
		}
	}
	dp_iter_done(&it);
	return n ? bh_diag_set(diag, n, "cannot read bh_stats: %s", strerror(-n)) : 0;
}

int hostd_dp_rule_counters(struct hostd_dp *dp, hostd_dp_rule_counter_fn *fn, void *arg,
			   struct bh_diag *diag)
{
	int n, cpus = libbpf_num_possible_cpus();
	struct dp_iter it;

	dp_iter_init(&it, dp, DP_MAP_RULE_STATS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			struct bh_counter value = sum_cpus(dp_iter_value(&it, i), cpus);

			fn(dp_iter_key(&it, i), &value, arg);
		}
	}
	dp_iter_done(&it);
	return n ? bh_diag_set(diag, n, "cannot read bh_rule_stats: %s", strerror(-n)) : 0;
}

/* ---- connections ---- */

static void map_v4(uint32_t addr, uint8_t ret_addr[16])
{
	memset(ret_addr, 0, 10);
	memset(ret_addr + 10, 0xff, 2);
	memcpy(ret_addr + 12, &addr, sizeof(addr));
}

/* Tuple in lo, hi order, as both tables have it. */
struct tuple {
	uint32_t net, vlan;
	uint8_t addr[2][16];
	uint16_t port[2];
	uint8_t proto;
};

static void read_tuple(enum dp_map map, const void *key, struct tuple *ret)
{
	if (map == DP_MAP_CT4) {
		const struct bh_ct4_key *k = key;

		*ret = (struct tuple){
			k->net, k->vlan, {}, {ntohs(k->lo_port), ntohs(k->hi_port)}, k->proto};
		map_v4(k->lo, ret->addr[0]);
		map_v4(k->hi, ret->addr[1]);
	} else {
		const struct bh_ct6_key *k = key;

		*ret = (struct tuple){
			k->net, k->vlan, {}, {ntohs(k->lo_port), ntohs(k->hi_port)}, k->proto};
		memcpy(ret->addr[0], k->lo, 16);
		memcpy(ret->addr[1], k->hi, 16);
	}
}

static void read_connection(enum dp_map map, const void *key, const struct bh_ct *ct,
			    uint64_t now_ns, struct hostd_dp_connection *ret)
{
	int opener = ct->flags & BH_CT_ORIG_HI ? 1 : 0, other = 1 - opener;
	struct tuple t;

	read_tuple(map, key, &t);
	memset(ret, 0, sizeof(*ret));
	ret->net = t.net;
	ret->vlan = t.vlan;
	memcpy(ret->src, t.addr[opener], 16);
	memcpy(ret->dst, t.addr[other], 16);
	ret->sport = t.port[opener];
	ret->dport = t.port[other];
	ret->proto = t.proto;
	ret->state = ct->state;
	ret->flags = ct->flags;
	ret->src_nic = ct->nic[opener];
	ret->dst_nic = ct->nic[other];
	ret->src_identity = ct->identity[opener];
	ret->dst_identity = ct->identity[other];
	ret->rule[0] = ct->rule[0];
	ret->rule[1] = ct->rule[1];
	ret->gen = ct->gen;
	ret->packets[0] = ct->packets[opener];
	ret->packets[1] = ct->packets[other];
	ret->bytes[0] = ct->bytes[opener];
	ret->bytes[1] = ct->bytes[other];
	ret->age_ns = now_ns > ct->created_ns ? now_ns - ct->created_ns : 0;
	ret->idle_ns = now_ns > ct->last_ns ? now_ns - ct->last_ns : 0;
	ret->timeout_s = ct->timeout_s;
}

#define TICKETS_SIZE (BH_TICKET_SLOTS * sizeof(struct bh_ticket))

static const struct bh_ticket *map_tickets(struct hostd_dp *dp)
{
	if (!dp->tickets) {
		void *p = mmap(NULL, TICKETS_SIZE, PROT_READ, MAP_SHARED,
			       dp->map_fd[DP_MAP_TICKETS], 0);

		dp->tickets = p == MAP_FAILED ? NULL : p;
	}
	return dp->tickets;
}

void dp_add_tickets(struct hostd_dp *dp, const struct bh_ct4_key *key, uint64_t packets[2],
		    uint64_t bytes[2])
{
	const uint32_t addr[2] = {key->lo, key->hi};
	const uint16_t port[2] = {key->lo_port, key->hi_port};
	const struct bh_ticket *all = key->vlan ? NULL : map_tickets(dp);

	for (int i = 0; all && i < 2; i++) {
		const struct bh_ticket *t = &all[bh_ticket_slot(
			bh_ticket_addrs(addr[i], addr[!i]), bh_ticket_ports(port[i], port[!i]))];
		uint64_t count = __atomic_load_n(&t->count, __ATOMIC_RELAXED);

		if (count && t->net == key->net && t->src == addr[i] && t->dst == addr[!i] &&
		    t->sport == port[i] && t->dport == port[!i] && t->proto == key->proto) {
			packets[i] += count >> BH_TICKET_BYTES_BITS;
			bytes[i] += count & ((1ull << BH_TICKET_BYTES_BITS) - 1);
		}
	}
}

/* Packets that passed by the connection's tickets are counted there first. */
static void add_tickets(struct hostd_dp *dp, const struct bh_ct4_key *key,
			struct hostd_dp_connection *c)
{
	int opener = c->flags & BH_CT_ORIG_HI ? 1 : 0;
	uint64_t packets[2] = {}, bytes[2] = {};

	dp_add_tickets(dp, key, packets, bytes);
	for (int i = 0; i < 2; i++) {
		c->packets[i] += packets[i ^ opener];
		c->bytes[i] += bytes[i ^ opener];
	}
}

static bool matches(const struct hostd_dp_connection *c, const struct hostd_dp_connection_filter *f)
{
	return (!f->nic || c->src_nic == f->nic || c->dst_nic == f->nic) &&
	       (!f->net || c->net == f->net) && (!f->proto || c->proto == f->proto) &&
	       (!f->port || c->sport == f->port || c->dport == f->port) &&
	       (dp_zero(f->addr, 16) || !memcmp(c->src, f->addr, 16) ||
		!memcmp(c->dst, f->addr, 16));
}

static int connections_in(struct hostd_dp *dp, enum dp_map map,
			  const struct hostd_dp_connection_filter *filter,
			  hostd_dp_connection_fn *fn, void *arg, size_t *count)
{
	uint64_t now_ns = bh_time_mono_ns();
	struct dp_iter it;
	int n = 0;

	dp_iter_init(&it, dp, map);
	while ((!filter->limit || *count < filter->limit) && (n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n && (!filter->limit || *count < filter->limit); i++) {
			struct hostd_dp_connection c;

			read_connection(map, dp_iter_key(&it, i), dp_iter_value(&it, i), now_ns,
					&c);
			if (matches(&c, filter)) {
				if (map == DP_MAP_CT4) {
					add_tickets(dp, dp_iter_key(&it, i), &c);
				}
				(*count)++;
				fn(&c, arg);
			}
		}
	}
	dp_iter_done(&it);
	return n < 0 ? n : 0;
}

int hostd_dp_connections(struct hostd_dp *dp, const struct hostd_dp_connection_filter *filter,
			 hostd_dp_connection_fn *fn, void *arg, struct bh_diag *diag)
{
	size_t count = 0;
	int r = connections_in(dp, DP_MAP_CT4, filter, fn, arg, &count);

	r = r ? r : connections_in(dp, DP_MAP_CT6, filter, fn, arg, &count);
	return r ? bh_diag_set(diag, r, "cannot read connections: %s", strerror(-r)) : (int)count;
}

/* ---- events ---- */

/* Stops after the allowed number: a negative answer ends the round with this record consumed. */
static int on_event(void *arg, void *data, size_t size)
{
	struct hostd_dp *dp = arg;
	struct bh_flow_event event;

	if (size >= sizeof(event) && dp->event_fn) {
		memcpy(&event, data, sizeof(event));
		dp->event_fn(&event, dp->event_arg);
	}
	dp->event_left--;
	return dp->event_left ? 0 : -ECANCELED;
}

int dp_events_open(struct hostd_dp *dp, struct bh_diag *diag)
{
	dp->ring = ring_buffer__new(dp->map_fd[DP_MAP_EVENTS], on_event, dp, NULL);
	return dp->ring ? 0
			: bh_diag_set(diag, -errno, "cannot open the event ring: %s",
				      strerror(errno));
}

void dp_events_close(struct hostd_dp *dp)
{
	ring_buffer__free(dp->ring);
	dp->ring = NULL;
	if (dp->tickets) {
		munmap((void *)(uintptr_t)dp->tickets, TICKETS_SIZE);
		dp->tickets = NULL;
	}
}

int hostd_dp_events_fd(const struct hostd_dp *dp)
{
	return ring_buffer__epoll_fd(dp->ring);
}

int hostd_dp_events_poll(struct hostd_dp *dp, unsigned int max, hostd_dp_event_fn *fn, void *arg,
			 struct bh_diag *diag)
{
	int r;

	if (!max) {
		return 0;
	}
	dp->event_fn = fn;
	dp->event_arg = arg;
	dp->event_left = max;
	r = ring_buffer__consume(dp->ring);
	dp->event_fn = NULL;
	if (r < 0 && r != -ECANCELED) {
		return bh_diag_set(diag, r, "cannot read the event ring: %s", strerror(-r));
	}
	return (int)(max - dp->event_left);
}
