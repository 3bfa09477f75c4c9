/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups: shapes, ranks, CIDRs, ranges, tenants, slots, defaults, logging, limits of records. */
#include "kit.h"

#include <arpa/inet.h>
#include <string.h>

#include <bpf/bpf.h>

/* Sends UDP from NIC 1 to `dst`:`port` and gives the verdict. Each port is a connection of its own.
 */
static int try(struct kit *kit, const char *dst, uint16_t port)
{
	struct kit_frame f;

	KIT_FRAME(&f, .src = strchr(dst, ':') ? "fd00::1" : "10.0.0.1", .dst = dst,
		  .proto = KIT_UDP, .sport = 9, .dport = port);
	return kit_send(kit, 1, &f);
}

static void row(struct kit *kit, uint32_t kind, uint32_t remote, uint32_t rank, uint8_t action)
{
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .remote_kind = kind, .remote = remote,
		.rank = rank, .rule = 1000 + rank, .action = action);
}

static uint32_t last_rule(struct kit *kit, enum bh_flow_type type)
{
	return kit_event(kit, type)->rule;
}

static void cidr(struct kit *kit, uint32_t scope, const char *addr, unsigned bits, uint32_t class)
{
	struct bh_cidr_key key = {.prefixlen = 32 + bits, .scope = scope};

	kit_ip(addr, key.addr);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_cidrs), &key, &class, BPF_ANY),
		0);
}

static void range(struct kit *kit, uint8_t proto, uint16_t port, unsigned bits, uint32_t class)
{
	struct bh_range_key key = {.prefixlen = 32 + 16 + bits,
				   .scope = BH_SET(300, BH_DIR_EGRESS),
				   .proto = proto,
				   .port = htons(port)};

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_ranges), &key, &class, BPF_ANY),
		0);
}

static void peers_by_identity(void **state)
{
	struct kit *kit = *state;

	row(kit, BH_REMOTE_IDENTITY, KIT_ID_FAR, 1, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "10.0.0.50", 1), KIT_PASS);
	assert_int_equal(try(kit, "fd00::50", 1), KIT_PASS);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_DROP);
	assert_int_equal(try(kit, "10.0.0.254", 1), KIT_DROP);
	row(kit, BH_REMOTE_IDENTITY, BH_IDENTITY_WORLD, 2, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_PASS);
	assert_int_equal(try(kit, "10.0.0.254", 1), KIT_DROP);
	row(kit, BH_REMOTE_IDENTITY, BH_IDENTITY_HOST, 3, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "10.0.0.254", 1), KIT_PASS);
}

static void peers_by_tenant(void **state)
{
	struct kit *kit = *state;

	row(kit, BH_REMOTE_TENANT, 11, 1, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "10.0.0.50", 1), KIT_PASS);
	assert_int_equal(try(kit, "10.0.0.3", 1), KIT_DROP);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_DROP);
}

static void the_lowest_rank_wins(void **state)
{
	struct kit *kit = *state;

	row(kit, BH_REMOTE_ANY, 0, 30, BH_ACTION_ALLOW);
	row(kit, BH_REMOTE_IDENTITY, KIT_ID_FAR, 20, BH_ACTION_DENY);
	assert_int_equal(try(kit, "10.0.0.50", 1), KIT_DROP);
	assert_int_equal(last_rule(kit, BH_FLOW_REFUSED), 1020);
	row(kit, BH_REMOTE_TENANT, 11, 10, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "10.0.0.50", 1), KIT_PASS);
	assert_int_equal(last_rule(kit, BH_FLOW_NEW), 1010);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_PASS);
	assert_int_equal(last_rule(kit, BH_FLOW_NEW), 1030);
	assert_int_equal(kit_rule_stat(kit, 1010, 1, BH_DIR_EGRESS), 1);
}

static void peers_by_cidr(void **state)
{
	struct kit *kit = *state;
	uint32_t scope = BH_SET(300, BH_DIR_EGRESS);

	cidr(kit, scope, "192.0.0.0", 96 + 8, 1);
	cidr(kit, scope, "192.0.2.0", 96 + 24, 2);
	cidr(kit, scope, "2001:db8::", 32, 3);
	cidr(kit, scope + 1, "198.51.100.0", 96 + 24, 1); /* another set's */
	row(kit, BH_REMOTE_CIDR, 1, 20, BH_ACTION_ALLOW);
	row(kit, BH_REMOTE_CIDR, 2, 21, BH_ACTION_DENY);
	row(kit, BH_REMOTE_CIDR, 3, 22, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "192.0.3.1", 1), KIT_PASS);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_DROP);
	assert_int_equal(last_rule(kit, BH_FLOW_REFUSED), 1021);
	assert_int_equal(try(kit, "2001:db8::1", 1), KIT_PASS);
	assert_int_equal(try(kit, "2001:db9::1", 1), KIT_DROP);
	assert_int_equal(try(kit, "198.51.100.1", 1), KIT_DROP);
	cidr(kit, scope, "10.0.0.0", 96 + 8, 1); /* the addresses of VMs too */
	assert_int_equal(try(kit, "10.0.0.50", 1), KIT_PASS);
}

static void services_by_protocol_port_and_range(void **state)
{
	struct kit *kit = *state;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 53, .rank = 5, .rule = 5, .action = BH_ACTION_ALLOW);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_TCP, .port = 54, .rank = 6, .rule = 6, .action = BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_PASS);
	assert_int_equal(try(kit, "192.0.2.1", 54), KIT_DROP);
	/* 1024-2047 is class 1, in it 1536-1537 class 2. */
	range(kit, KIT_UDP, 1024, 6, 1);
	range(kit, KIT_UDP, 1536, 15, 2);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_RANGE,
		.proto = KIT_UDP, .port = 1, .rank = 7, .rule = 7, .action = BH_ACTION_ALLOW);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_RANGE,
		.proto = KIT_UDP, .port = 2, .rank = 8, .rule = 8, .action = BH_ACTION_DENY);
	assert_int_equal(try(kit, "192.0.2.1", 1023), KIT_DROP);
	assert_int_equal(try(kit, "192.0.2.1", 1024), KIT_PASS);
	assert_int_equal(try(kit, "192.0.2.1", 2047), KIT_PASS);
	assert_int_equal(try(kit, "192.0.2.1", 2048), KIT_DROP);
	assert_int_equal(try(kit, "192.0.2.1", 1537), KIT_DROP);
	assert_int_equal(last_rule(kit, BH_FLOW_REFUSED), 8);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PROTO,
		.proto = KIT_UDP, .rank = 9, .rule = 9, .action = BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "192.0.2.1", 54), KIT_PASS);
}

/* Every shape there is finds its row, and only then. */
static void every_shape_is_looked_up(void **state)
{
	static const uint32_t remotes[] = {0, KIT_ID_FAR, 77, 11};
	static const uint16_t ports[] = {0, 0, 4000, 5};
	struct kit *kit = *state;

	cidr(kit, BH_SET(300, BH_DIR_EGRESS), "10.0.0.50", 128, 77);
	range(kit, KIT_UDP, 4000, 16, 5);
	for (uint32_t shape = 16; shape-- > 0;) {
		uint32_t remote = shape / 4, service = shape % 4;

		KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .remote_kind = remote,
			.remote = remotes[remote], .service_kind = service,
			.proto = service ? KIT_UDP : 0, .port = ports[service], .rank = 1 + shape,
			.rule = 500 + shape, .action = BH_ACTION_DENY);
		assert_int_equal(try(kit, "10.0.0.50", 4000), KIT_DROP);
		assert_int_equal(last_rule(kit, BH_FLOW_REFUSED), 500 + shape);
	}
}

static void a_commit_is_seen_as_a_whole(void **state)
{
	struct kit *kit = *state;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 53, .rank = 1, .rule = 1, .action = BH_ACTION_ALLOW,
		.slots = 2);
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
	kit_set_gen(kit, 3);
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_PASS);
	kit_set_gen(kit, 4);
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
}

static void a_set_that_is_missing_allows_nothing(void **state)
{
	uint32_t set = BH_SET(300, BH_DIR_EGRESS);
	struct kit *kit = *state;

	kit_allow_all(kit);
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(kit->skel->maps.bh_sets), &set), 0);
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
	assert_int_equal(last_rule(kit, BH_FLOW_REFUSED), 0);
}

static void set_event_pps(struct bh_ctl *ctl, uint32_t value)
{
	ctl->event_pps = value;
}

static void records_are_limited_and_counted(void **state)
{
	struct bh_nic_state s;
	struct kit *kit = *state;
	uint32_t one = 1;

	kit_ctl(kit, set_event_pps, 3);
	for (uint16_t i = 0; i < 10; i++) {
		assert_int_equal(try(kit, "192.0.2.1", 100 + i), KIT_DROP);
	}
	assert_int_equal(kit_event_count(kit, BH_FLOW_REFUSED), 3);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_EVENT_LIMITED), 7);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_DROP_POLICY), 10);
	/* A second later the next one says how many were left out. */
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_nic_state), &one, &s),
			 0);
	s.bucket_ns = 1;
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_nic_state), &one, &s, BPF_ANY),
		0);
	assert_int_equal(try(kit, "192.0.2.1", 120), KIT_DROP);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->suppressed, 7);
	/* A row that says log is not limited. */
	kit_ctl(kit, set_event_pps, 0);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 53, .rank = 1, .rule = 1, .action = BH_ACTION_DENY,
		.flags = BH_ROW_LOG);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
	}
	assert_int_equal(kit_event_count(kit, BH_FLOW_REFUSED), 24);
}

/* The ring is full because nobody reads: every record that is lost is counted, and told later. */
static void lost_records_are_counted(void **state)
{
	struct kit *kit = *state;
	uint64_t lost = 0, sent = 0;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 53, .rank = 1, .rule = 1, .action = BH_ACTION_DENY,
		.flags = BH_ROW_LOG);
	while (!lost && sent < 100000) {
		for (int i = 0; i < 2000; i++) {
			assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
		}
		sent += 2000;
		lost = kit_stat(kit, 1, BH_REASON_EVENT_LOST);
	}
	assert_in_range(lost, 1, 2000);
	assert_int_equal(kit_event_count(kit, BH_FLOW_REFUSED), 256); /* what the kit keeps */
	kit->event_count = 0;
	assert_int_equal(try(kit, "192.0.2.1", 53), KIT_DROP);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->suppressed, lost);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_EVENT_LOST), lost);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_DROP_POLICY), sent + 1);
}

static void a_record_says_everything(void **state)
{
	const struct bh_flow_event *e;
	struct kit *kit = *state;
	uint8_t addr[16];

	assert_int_equal(try(kit, "10.0.0.50", 4321), KIT_DROP);
	e = kit_event(kit, BH_FLOW_REFUSED);
	assert_int_equal(e->nic, 1);
	assert_int_equal(e->net, KIT_NET);
	assert_int_equal(e->gen, 2);
	assert_int_equal(e->dir, BH_DIR_EGRESS);
	assert_int_equal(e->action, BH_ACTION_DENY);
	assert_int_equal(e->reason, BH_REASON_DROP_POLICY);
	assert_int_equal(e->rule, 1);
	assert_int_equal(e->src_identity, 300);
	assert_int_equal(e->dst_identity, KIT_ID_FAR);
	assert_int_equal(e->proto, KIT_UDP);
	assert_int_equal(ntohs(e->sport), 9);
	assert_int_equal(ntohs(e->dport), 4321);
	assert_int_equal(e->ethertype, 0x0800);
	kit_ip("10.0.0.1", addr);
	assert_memory_equal(e->src, addr, 16);
	kit_ip("10.0.0.50", addr);
	assert_memory_equal(e->dst, addr, 16);
	assert_memory_equal(e->src_mac, kit_mac[1], 6);
}

static void addresses_are_per_network_and_vlan(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	kit_who(kit, 5 << 16, "192.0.2.1", KIT_ID_FAR, 11);
	row(kit, BH_REMOTE_IDENTITY, KIT_ID_FAR, 1, BH_ACTION_ALLOW);
	assert_int_equal(try(kit, "192.0.2.1", 1), KIT_DROP);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.1", .proto = KIT_UDP, .vlan = {5});
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP, .vlan = {5});
	assert_int_equal(kit_send(kit, 1, &f), KIT_DROP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(peers_by_identity),
		TEST(peers_by_tenant),
		TEST(the_lowest_rank_wins),
		TEST(peers_by_cidr),
		TEST(services_by_protocol_port_and_range),
		TEST(every_shape_is_looked_up),
		TEST(a_commit_is_seen_as_a_whole),
		TEST(a_set_that_is_missing_allows_nothing),
		TEST(records_are_limited_and_counted),
		TEST(lost_records_are_counted),
		TEST(a_record_says_everything),
		TEST(addresses_are_per_network_and_vlan),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
