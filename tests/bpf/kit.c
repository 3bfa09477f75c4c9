/* SPDX-License-Identifier: Apache-2.0 */
/* The dataplane of the packet tests: load, feed, run, look. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

void kit_require_root(void)
{
	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root: loads programs into the kernel\n");
		exit(77);
	}
	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespaces: %s\n", strerror(errno));
		exit(77);
	}
}

/* A tap that stays until the namespace goes: ctx.ifindex must be a device's. */
static int make_tap(unsigned n)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), ifindex;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "kit%u", n);
	ifindex = if_nametoindex(ifr.ifr_name);
	if (!ifindex && fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) && !ioctl(fd, TUNSETPERSIST, 1)) {
		ifindex = if_nametoindex(ifr.ifr_name);
	}
	if (fd >= 0) {
		close(fd);
	}
	if (!ifindex) {
		printf("1..0 # SKIP no tap device here: %s\n", strerror(errno));
		exit(77);
	}
	return ifindex;
}

static int on_event(void *ctx, void *data, size_t size)
{
	struct kit *kit = ctx;

	assert_int_equal(size, sizeof(struct bh_flow_event));
	if (kit->event_count < 256) {
		memcpy(&kit->events[kit->event_count++], data, size);
	}
	return 0;
}

static void put(struct bpf_map *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

static void feed_ctl(struct kit *kit)
{
	struct bh_ctl ctl = {
		.gen = 2, .mark_nonce = KIT_NONCE, .reject_pps = 100, .event_pps = 100};
	static const uint32_t timeouts[BH_TIMEOUT_COUNT] = {60, 28800, 60, 10, 30, 180,
							    60, 3600,  10, 30, 600};
	uint32_t zero = 0;

	memcpy(ctl.timeout_s, timeouts, sizeof(timeouts));
	put(kit->skel->maps.bh_ctl, &zero, &ctl);
}

static void feed_nic(struct kit *kit, uint32_t nic)
{
	struct bh_port port = {.kind = BH_PORT_NIC, .nic = nic};
	struct bh_nic n = {.ifindex = kit->ifindex[nic]};
	struct bh_mac_key mac = {.net = KIT_NET};
	char text[32];

	port.bridge = n.bridge = nic == 3 ? 0 : KIT_BRIDGE;
	memcpy(n.mac, kit_mac[nic], 6);
	memcpy(mac.mac, kit_mac[nic], 6);
	for (int i = 0; i < 2; i++) {
		n.slot[i].identity = KIT_ID(nic);
		n.slot[i].tenant = 10;
		n.slot[i].net = KIT_NET;
	}
	put(kit->skel->maps.bh_ports, &kit->ifindex[nic], &port);
	put(kit->skel->maps.bh_nics, &nic, &n);
	put(kit->skel->maps.bh_macs, &mac, &nic);
	snprintf(text, sizeof(text), "10.0.0.%u", nic);
	kit_own(kit, nic, text);
	kit_who(kit, 0, text, KIT_ID(nic), 10);
	snprintf(text, sizeof(text), "fd00::%u", nic);
	kit_own(kit, nic, text);
	kit_who(kit, 0, text, KIT_ID(nic), 10);
	kit_default(kit, KIT_ID(nic), BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	kit_default(kit, KIT_ID(nic), BH_DIR_INGRESS, BH_ACTION_DENY, 1);
}

struct kit *kit_open_sized(unsigned rows, unsigned cts)
{
	struct kit *kit = calloc(1, sizeof(*kit));

	assert_non_null(kit);
	for (unsigned i = 0; i <= KIT_NICS; i++) {
		kit->ifindex[i] = make_tap(i);
	}
	kit->skel = dataplane__open();
	assert_non_null(kit->skel);
	assert_int_equal(bpf_map__set_max_entries(kit->skel->maps.bh_rows, rows), 0);
	assert_int_equal(bpf_map__set_max_entries(kit->skel->maps.bh_ct4, cts), 0);
	assert_int_equal(bpf_map__set_max_entries(kit->skel->maps.bh_ct6, cts), 0);
	assert_int_equal(dataplane__load(kit->skel), 0);
	kit->ring = ring_buffer__new(bpf_map__fd(kit->skel->maps.bh_events), on_event, kit, NULL);
	assert_non_null(kit->ring);
	feed_ctl(kit);
	for (unsigned i = 1; i <= KIT_NICS; i++) {
		feed_nic(kit, i);
	}
	kit_who(kit, 0, "10.0.0.50", KIT_ID_FAR, 11);
	kit_who(kit, 0, "fd00::50", KIT_ID_FAR, 11);
	kit_who(kit, 0, "10.0.0.254", BH_IDENTITY_HOST, 0);
	kit_who(kit, 0, "fd00::fe", BH_IDENTITY_HOST, 0);
	return kit;
}

void kit_close(struct kit *kit)
{
	ring_buffer__free(kit->ring);
	dataplane__destroy(kit->skel);
	free(kit);
}

int kit_setup(void **state)
{
	*state = kit_open_sized(4096, 64);
	return 0;
}

int kit_teardown(void **state)
{
	kit_close(*state);
	return 0;
}

/* ---- running ---- */
static int prog_fd(struct kit *kit, enum kit_prog prog)
{
	const struct bpf_program *progs[] = {
		kit->skel->progs.bh_from_guest,	 kit->skel->progs.bh_to_guest,
		kit->skel->progs.bh_from_uplink, kit->skel->progs.bh_to_uplink,
		kit->skel->progs.bh_from_bridge, kit->skel->progs.bh_to_bridge,
	};

	return bpf_program__fd(progs[prog]);
}

struct kit_result kit_run(struct kit *kit, enum kit_prog prog, int ifindex, uint32_t mark,
			  const struct kit_frame *frame)
{
	struct __sk_buff in = {.ifindex = ifindex, .mark = mark}, out = {};
	struct kit_result result = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame->data, .data_size_in = frame->size,
		    .data_out = result.out.data, .data_size_out = sizeof(result.out.data),
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .ctx_out = &out,
		    .ctx_size_out = sizeof(out));
	int err;

	err = bpf_prog_test_run_opts(prog_fd(kit, prog), &opts);
	if (err == -EINVAL && frame->size < frame->l3 + 40) {
		result.verdict = KIT_NOT_RUN;
		return result;
	}
	assert_int_equal(err, 0);
	result.verdict = (int)opts.retval;
	result.mark = out.mark;
	result.ns = opts.duration;
	result.out.size = opts.data_size_out;
	result.out.l3 = frame->l3;
	return result;
}

int kit_send(struct kit *kit, unsigned nic, const struct kit_frame *frame)
{
	return kit_run(kit, KIT_FROM_GUEST, kit->ifindex[nic], 0, frame).verdict;
}

int kit_receive(struct kit *kit, unsigned nic, unsigned kind, const struct kit_frame *frame)
{
	return kit_run(kit, KIT_TO_GUEST, kit->ifindex[nic], kind ? KIT_NONCE | kind : 0, frame)
		.verdict;
}

/* ---- feeding ---- */
void kit_nic_flags(struct kit *kit, unsigned nic, uint32_t flags)
{
	int fd = bpf_map__fd(kit->skel->maps.bh_nics);
	struct bh_nic n;
	uint32_t key = nic;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &n), 0);
	n.slot[0].flags = n.slot[1].flags = flags;
	put(kit->skel->maps.bh_nics, &key, &n);
}

void kit_own(struct kit *kit, unsigned nic, const char *addr)
{
	struct bh_nic_addr_key key = {.nic = nic};
	struct bh_nic_addr value = {.present = {1, 1}};

	kit_ip(addr, key.addr);
	put(kit->skel->maps.bh_nic_addrs, &key, &value);
}

void kit_who(struct kit *kit, uint32_t vlan, const char *addr, uint32_t identity, uint32_t tenant)
{
	struct bh_addr_key key = {.net = KIT_NET, .vlan = vlan};
	struct bh_addr value = {.slot = {{identity, tenant}, {identity, tenant}}};

	kit_ip(addr, key.addr);
	put(kit->skel->maps.bh_addrs, &key, &value);
}

void kit_ctl(struct kit *kit, void (*change)(struct bh_ctl *ctl, uint32_t value), uint32_t value)
{
	uint32_t zero = 0;
	struct bh_ctl ctl;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_ctl), &zero, &ctl), 0);
	change(&ctl, value);
	put(kit->skel->maps.bh_ctl, &zero, &ctl);
}

static void change_flags(struct bh_ctl *ctl, uint32_t value)
{
	ctl->flags = value;
}

void kit_ctl_flags(struct kit *kit, uint32_t flags)
{
	kit_ctl(kit, change_flags, flags);
}

void kit_fastpath(struct kit *kit)
{
	kit_ctl_flags(kit, BH_CTL_FASTPATH);
	kit_nic_flags(kit, 1, BH_NIC_FASTPATH);
	kit_nic_flags(kit, 2, BH_NIC_FASTPATH);
}

static void change_gen(struct bh_ctl *ctl, uint32_t value)
{
	ctl->gen = value;
}

void kit_set_gen(struct kit *kit, uint32_t gen)
{
	kit_ctl(kit, change_gen, gen);
}

void kit_default(struct kit *kit, uint32_t identity, uint32_t dir, uint8_t action, uint32_t rule)
{
	uint32_t key = BH_SET(identity, dir);
	struct bh_set set = {};

	(void)bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_sets), &key, &set);
	for (int i = 0; i < 2; i++) {
		set.slot[i].default_action = action;
		set.slot[i].default_rule = rule;
		set.slot[i].scope = key;
	}
	put(kit->skel->maps.bh_sets, &key, &set);
}

void kit_allow_all(struct kit *kit)
{
	for (unsigned nic = 1; nic <= KIT_NICS; nic++) {
		kit_default(kit, KIT_ID(nic), BH_DIR_EGRESS, BH_ACTION_ALLOW, 20);
		kit_default(kit, KIT_ID(nic), BH_DIR_INGRESS, BH_ACTION_ALLOW, 21);
	}
}

void kit_row_put(struct kit *kit, const struct kit_row *row)
{
	uint32_t id = BH_SET(row->identity, row->dir);
	struct bh_row_key key = {.set = id,
				 .remote = row->remote,
				 .port = row->port,
				 .proto = row->proto,
				 .shape = row->remote_kind * 4 + row->service_kind};
	struct bh_row value = {};
	struct bh_set set = {};

	(void)bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_rows), &key, &value);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_sets), &id, &set), 0);
	for (int i = 0; i < 2; i++) {
		if (row->slots && !(row->slots & 1 << i)) {
			continue;
		}
		value.slot[i] = (struct bh_row_slot){.rule = row->rule,
						     .rank = row->rank,
						     .action = row->action,
						     .flags = row->flags};
		set.slot[i].mask |= BH_SHAPE_BIT(row->remote_kind, row->service_kind);
	}
	put(kit->skel->maps.bh_rows, &key, &value);
	put(kit->skel->maps.bh_sets, &id, &set);
}

/* ---- looking ---- */
static uint64_t percpu_packets(struct bpf_map *map, const void *key)
{
	struct bh_counter c[256] = {};
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(map), key, c)) {
		return 0;
	}
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum += c[i].packets;
	}
	return sum;
}

static uint64_t passed(struct kit *kit, uint32_t nic, bool fast)
{
	struct bh_pass c[256] = {};
	uint64_t sum = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_pass), &nic, c), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum += fast ? c[i].fast.packets : c[i].pass.packets;
	}
	return sum;
}

uint64_t kit_stat(struct kit *kit, unsigned nic, enum bh_reason reason)
{
	struct bh_stat_key key = {.nic = nic, .reason = reason};

	if (reason == BH_REASON_PASS || reason == BH_REASON_PASS_FAST) {
		return passed(kit, nic, reason == BH_REASON_PASS_FAST);
	}

	return percpu_packets(kit->skel->maps.bh_stats, &key);
}

uint64_t kit_rule_stat(struct kit *kit, uint32_t rule, unsigned nic, uint32_t dir)
{
	struct bh_rule_stat_key key = {.rule = rule, .nic = nic, .dir = dir};

	return percpu_packets(kit->skel->maps.bh_rule_stats, &key);
}

const struct bh_flow_event *kit_event(struct kit *kit, enum bh_flow_type type)
{
	(void)ring_buffer__consume(kit->ring);
	for (unsigned i = kit->event_count; i > 0; i--) {
		if (kit->events[i - 1].type == type) {
			return &kit->events[i - 1];
		}
	}
	return NULL;
}

unsigned kit_event_count(struct kit *kit, enum bh_flow_type type)
{
	unsigned count = 0;

	(void)ring_buffer__consume(kit->ring);
	for (unsigned i = 0; i < kit->event_count; i++) {
		count += kit->events[i].type == type;
	}
	return count;
}

/* Counts the entries of a map and gives the last one's key. */
static unsigned map_count(struct bpf_map *map, void *ret_key)
{
	uint8_t key[64], next[64];
	void *from = NULL;
	unsigned count = 0;

	while (!bpf_map_get_next_key(bpf_map__fd(map), from, next)) {
		count++;
		memcpy(key, next, sizeof(key));
		from = key;
	}
	if (count) {
		memcpy(ret_key, key, sizeof(key));
	}
	return count;
}

unsigned kit_ct_count(struct kit *kit)
{
	uint8_t key[64];

	return map_count(kit->skel->maps.bh_ct4, key) + map_count(kit->skel->maps.bh_ct6, key);
}

static struct bpf_map *ct_map(struct kit *kit, uint8_t key[64])
{
	struct bpf_map *map = kit->skel->maps.bh_ct4;

	assert_int_equal(kit_ct_count(kit), 1);
	if (!map_count(map, key)) {
		map = kit->skel->maps.bh_ct6;
		(void)map_count(map, key);
	}
	return map;
}

struct bh_ticket kit_ticket(struct kit *kit, const struct kit_frame *f)
{
	struct bh_ticket ticket = {};
	uint64_t addrs;
	uint32_t ports, slot;

	memcpy(&addrs, f->data + 26, sizeof(addrs));
	memcpy(&ports, f->data + 34, sizeof(ports));
	slot = bh_ticket_slot(addrs, ports);
	assert_int_equal(
		bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_tickets), &slot, &ticket), 0);
	return ticket;
}

void kit_ticket_put(struct kit *kit, const struct bh_ticket *ticket)
{
	uint32_t slot = bh_ticket_slot(bh_ticket_addrs(ticket->src, ticket->dst),
				       bh_ticket_ports(ticket->sport, ticket->dport));

	put(kit->skel->maps.bh_tickets, &slot, ticket);
}

/* The ticket of an IPv4 connection in one direction; false when its slot is not its own. */
static bool ticket_of(struct kit *kit, const struct bh_ct4_key *key, bool hi, struct bh_ticket *ret)
{
	uint32_t src = hi ? key->hi : key->lo, dst = hi ? key->lo : key->hi, slot;
	uint16_t sport = hi ? key->hi_port : key->lo_port, dport = hi ? key->lo_port : key->hi_port;

	slot = bh_ticket_slot(bh_ticket_addrs(src, dst), bh_ticket_ports(sport, dport));
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_tickets), &slot, ret),
			 0);
	return ret->src == src && ret->dst == dst && ret->sport == sport && ret->dport == dport &&
	       ret->proto == key->proto && ret->net == key->net && !key->vlan;
}

struct bh_ct kit_ct(struct kit *kit)
{
	struct bh_ct ct = {};
	uint8_t key[64];
	struct bpf_map *map = ct_map(kit, key);
	struct bh_ticket ticket;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), key, &ct), 0);
	for (int i = 0; i < 2 && map == kit->skel->maps.bh_ct4; i++) {
		if (ticket_of(kit, (const struct bh_ct4_key *)key, i, &ticket)) {
			ct.packets[i] += ticket.count >> BH_TICKET_BYTES_BITS;
			ct.bytes[i] += ticket.count & ((1ull << BH_TICKET_BYTES_BITS) - 1);
		}
	}
	return ct;
}

void kit_ct_put(struct kit *kit, const struct bh_ct *ct)
{
	uint8_t key[64];
	struct bpf_map *map = ct_map(kit, key);
	struct bh_ticket ticket;

	put(map, key, ct);
	for (int i = 0; i < 2 && map == kit->skel->maps.bh_ct4; i++) {
		if (ticket_of(kit, (const struct bh_ct4_key *)key, i, &ticket)) {
			ticket.until = ticket.count = 0;
			kit_ticket_put(kit, &ticket);
		}
	}
}
