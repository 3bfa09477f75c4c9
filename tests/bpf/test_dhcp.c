/* SPDX-License-Identifier: Apache-2.0 */
/* DHCP and DHCPv6: who may serve, what is learned and from whom, how it ends. */
#include "kit.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE };
#define XID	     0x11223344u
#define LINK_LOCAL_1 "fe80::5054:ff:fe00:1"

struct dhcp {
	uint8_t op, type;
	const uint8_t *chaddr;
	const char *yiaddr, *ciaddr, *asked;
	uint32_t xid, lease_s;
	bool cut; /* the last option ends behind the packet */
};

static size_t dhcp_body(uint8_t b[300], const struct dhcp *d)
{
	uint32_t lease = htonl(d->lease_s), xid = htonl(d->xid);
	uint8_t addr[16], *o = b + 243;

	memset(b, 0, 300);
	memcpy(b, (uint8_t[]){d->op, 1, 6}, 3);
	memcpy(b + 4, &xid, 4);
	if (d->ciaddr) {
		kit_ip(d->ciaddr, addr);
		memcpy(b + 12, addr + 12, 4);
	}
	if (d->yiaddr) {
		kit_ip(d->yiaddr, addr);
		memcpy(b + 16, addr + 12, 4);
	}
	memcpy(b + 28, d->chaddr, 6);
	memcpy(b + 236, "\x63\x82\x53\x63\x35\x01", 6);
	b[242] = d->type;
	if (d->lease_s) {
		memcpy(o, "\x33\x04", 2);
		memcpy(o + 2, &lease, 4);
		o += 6;
	}
	if (d->asked) {
		kit_ip(d->asked, addr);
		memcpy(o, "\x32\x04", 2);
		memcpy(o + 2, addr + 12, 4);
		o += 6;
	}
	o[0] = d->cut ? 12 : 255;
	o[1] = 200;
	return 300;
}

/* From NIC 1: by broadcast, or from an address of its own. */
static int client_says(struct kit *kit, const char *src, const struct dhcp *d)
{
	struct kit_frame f;
	uint8_t b[300];
	size_t size = dhcp_body(b, d);

	KIT_FRAME(&f, .smac = kit_mac[1], .src = src ? src : "0.0.0.0",
		  .dst = src ? "10.0.0.254" : "255.255.255.255", .proto = KIT_UDP, .sport = 68,
		  .dport = 67, .body = b, .body_size = size);
	return kit_send(kit, 1, &f);
}
#define CLIENT(kit, src, ...) client_says(kit, src, &(struct dhcp){.op = 1, __VA_ARGS__})

static int server_says(struct kit *kit, unsigned kind, const struct dhcp *d)
{
	struct kit_frame f;
	uint8_t b[300];
	size_t size = dhcp_body(b, d);

	KIT_FRAME(&f, .smac = kit_mac[0], .dmac = kit_mac[1], .src = "10.0.0.254", .dst = d->yiaddr,
		  .proto = KIT_UDP, .sport = 67, .dport = 68, .body = b, .body_size = size);
	return kit_receive(kit, 1, kind, &f);
}
#define SERVER(kit, kind, ...) server_says(kit, kind, &(struct dhcp){.op = 2, __VA_ARGS__})

static bool has_address(struct kit *kit, unsigned nic, const char *text, struct bh_nic_addr *ret)
{
	struct bh_nic_addr_key key = {.nic = nic};

	kit_ip(text, key.addr);
	return !bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_nic_addrs), &key, ret);
}

/* Is this address NIC 1's now, by DHCP? */
static bool is_learned(struct kit *kit, const char *addr)
{
	struct bh_nic_addr own;
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return has_address(kit, 1, addr, &own) && own.flags == BH_ADDR_LEARNED && own.present[0] &&
	       own.present[1] &&
	       (!own.expires_ns || own.expires_ns > now.tv_sec * 1000000000ull + now.tv_nsec);
}

/* NIC 1 learns; policy has the built-in rules 3 and 6 and denies the rest. */
static int setup(void **state)
{
	static const uint16_t ports[2][2] = {{67, 547}, {68, 546}};
	struct kit *kit;

	(void)kit_setup(state);
	kit = *state;
	kit_nic_flags(kit, 1, BH_NIC_LEARN_DHCP);
	for (uint32_t dir = 0; dir < 2; dir++) {
		for (int i = 0; i < 2; i++) {
			KIT_ROW(kit, .identity = 300, .dir = dir, .service_kind = BH_SERVICE_PORT,
				.remote_kind = BH_REMOTE_IDENTITY, .remote = BH_IDENTITY_HOST,
				.proto = KIT_UDP, .port = ports[dir][i], .rank = 1, .rule = 3,
				.action = BH_ACTION_ALLOW);
			KIT_ROW(kit, .identity = 300, .dir = dir, .service_kind = BH_SERVICE_PORT,
				.remote_kind = BH_REMOTE_IDENTITY,
				.remote = dir ? BH_IDENTITY_WORLD : BH_IDENTITY_MULTICAST,
				.proto = KIT_UDP, .port = ports[dir][i], .rank = 2, .rule = 3,
				.action = BH_ACTION_ALLOW);
		}
	}
	return 0;
}

/* ---- who may say what ---- */
static void clients_ask_before_they_have_an_address(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_FRAME(&f, .smac = kit_mac[1], .src = "0.0.0.0", .dst = "255.255.255.255",
		  .proto = KIT_UDP, .sport = 68, .dport = 67, .body_size = 240);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f)); /* an ordinary row allows it */
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 67, .rank = 1, .rule = 3, .action = BH_ACTION_ALLOW);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(kit_rule_stat(kit, 3, 1, BH_DIR_EGRESS), 1);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "0.0.0.0", .dst = "10.0.0.254", .proto = KIT_UDP,
		  .sport = 68, .dport = 67, .body_size = 240);
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
}

static void only_servers_answer(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 67,
		  .dport = 68);
	assert_reason(kit, 1, DROP_ROGUE_DHCP, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "255.255.255.255", .proto = KIT_UDP, .sport = 4444,
		  .dport = 68);
	assert_reason(kit, 1, DROP_ROGUE_DHCP, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP, .sport = 547,
		  .dport = 546);
	assert_reason(kit, 1, DROP_ROGUE_DHCP, kit_send(kit, 1, &f));
	assert_int_equal(kit_event(kit, BH_FLOW_GUARD)->reason, BH_REASON_DROP_ROGUE_DHCP);
	kit_nic_flags(kit, 1, BH_NIC_DHCP_SERVER);
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS); /* the right to serve is enough here */
	assert_int_equal(kit_receive(kit, 2, BH_MARK_NIC, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 0);
	kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_DENY, 1);
	assert_reason(kit, 2, DROP_POLICY, kit_receive(kit, 2, BH_MARK_NIC, &f));
	assert_reason(kit, 2, DROP_POLICY, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
}

/* ---- learning ---- */
static void addresses_are_learned(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;
	struct kit_frame f;

	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = OFFER, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID),
			 KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own)); /* an offer is no lease */
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[2],
				.yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID),
			 KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own)); /* another's */
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1], .cut = true,
				.yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID),
			 KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID),
			 KIT_PASS);
	assert_true(is_learned(kit, "10.0.0.120"));
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->duration_ns, 3600000000000);
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->dst[15], 120);
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->action, BH_ACTION_ALLOW);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_DHCP_LEARNED), 1);
	kit_allow_all(kit);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "10.0.0.120", .dst = "192.0.2.1",
		  .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

static void a_nic_that_does_not_learn_learns_nothing(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;

	kit_nic_flags(kit, 1, 0);
	kit_nic_flags(kit, 2, BH_NIC_LEARN_DHCP);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID), -1);
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID),
			 KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
	assert_int_equal(kit_event_count(kit, BH_FLOW_DHCP), 0);
}

/* An answer that nobody asked for changes nothing, whoever sends it. */
static void only_own_questions_are_answered(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;

#define ACK_OF(number)                                                                             \
	SERVER(kit, BH_MARK_UPLINK, .type = ACK, .chaddr = kit_mac[1], .yiaddr = "10.0.0.120",     \
	       .lease_s = 3600, .xid = (number))
	assert_int_equal(ACK_OF(XID), KIT_PASS);
	assert_int_equal(ACK_OF(0), KIT_PASS);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_int_equal(ACK_OF(XID + 1), KIT_PASS);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[2], .xid = XID + 2),
			 KIT_PASS); /* about another MAC */
	assert_int_equal(ACK_OF(XID + 2), KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
	/* A question that policy refuses was not asked. */
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .rank = 0, .rule = 9,
		.action = BH_ACTION_DENY);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID + 3),
			 KIT_DROP);
	assert_int_equal(ACK_OF(XID + 3), KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
	assert_int_equal(kit_event_count(kit, BH_FLOW_DHCP), 0);
	assert_int_equal(ACK_OF(XID), KIT_PASS);
	assert_true(is_learned(kit, "10.0.0.120"));
#undef ACK_OF
}

/* What policy keeps from the guest is not learned either: that is how a server is not allowed. */
static void policy_says_who_may_serve(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_INGRESS, .remote_kind = BH_REMOTE_IDENTITY,
		.remote = BH_IDENTITY_HOST, .rank = 0, .rule = 9, .action = BH_ACTION_DENY);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_reason(kit, 1, DROP_POLICY,
		      SERVER(kit, BH_MARK_UPLINK, .type = ACK, .chaddr = kit_mac[1],
			     .yiaddr = "10.0.0.120", .lease_s = 3600, .xid = XID));
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
}

static void nobody_gets_what_another_has(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;

	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_int_equal(SERVER(kit, BH_MARK_UPLINK, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.50", .lease_s = 60, .xid = XID),
			 KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.50", &own));
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->action, BH_ACTION_DENY);
	assert_int_equal(SERVER(kit, BH_MARK_UPLINK, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.1", .lease_s = 60, .xid = XID),
			 KIT_PASS);
	assert_true(has_address(kit, 1, "10.0.0.1", &own));
	assert_int_equal(own.expires_ns, 0); /* configured: does not end with the lease */
}

static void every_cut_of_an_answer_teaches_nothing(void **state)
{
	struct kit *kit = *state;
	struct dhcp ack = {.op = 2,
			   .type = ACK,
			   .chaddr = kit_mac[1],
			   .yiaddr = "10.0.0.120",
			   .lease_s = 3600,
			   .xid = XID};
	struct bh_nic_addr own;
	struct kit_frame f;
	uint8_t b[300];

	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	(void)dhcp_body(b, &ack);
	for (size_t size = 0; size < 249; size++) { /* 243: where the lease begins */
		KIT_FRAME(&f, .smac = kit_mac[0], .dmac = kit_mac[1], .src = "10.0.0.254",
			  .dst = "10.0.0.120", .proto = KIT_UDP, .sport = 67, .dport = 68,
			  .body = b, .body_size = size);
		assert_int_equal(kit_receive(kit, 1, BH_MARK_HOST, &f), KIT_PASS);
		assert_false(has_address(kit, 1, "10.0.0.120", &own));
	}
	KIT_FRAME(&f, .smac = kit_mac[0], .dmac = kit_mac[1], .src = "10.0.0.254",
		  .dst = "10.0.0.120", .proto = KIT_UDP, .sport = 67, .dport = 68, .body = b,
		  .body_size = 248, .frag_more = true);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_HOST, &f), KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
}

/* ---- how it ends ---- */
static void learn(struct kit *kit, uint32_t lease_s)
{
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.120", .lease_s = lease_s, .xid = XID),
			 KIT_PASS);
	assert_true(is_learned(kit, "10.0.0.120"));
}

static void a_released_address_is_not_its_own(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;
	struct kit_frame f;

	learn(kit, 3600);
	/* Only what it learned itself, and from that address. */
	assert_int_equal(CLIENT(kit, "10.0.0.1", .type = RELEASE, .chaddr = kit_mac[1],
				.ciaddr = "10.0.0.1", .xid = 9),
			 KIT_PASS);
	assert_true(has_address(kit, 1, "10.0.0.1", &own));
	assert_int_equal(own.expires_ns, 0);
	assert_true(is_learned(kit, "10.0.0.120"));
	assert_int_equal(CLIENT(kit, "10.0.0.120", .type = RELEASE, .chaddr = kit_mac[1],
				.ciaddr = "10.0.0.120", .xid = 9),
			 KIT_PASS);
	assert_false(is_learned(kit, "10.0.0.120"));
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->duration_ns, 0);
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->dst[15], 120);
	assert_int_equal(kit_event_count(kit, BH_FLOW_DHCP), 2);
	kit_allow_all(kit);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "10.0.0.120", .dst = "192.0.2.1",
		  .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
	learn(kit, 3600); /* and again */
	assert_int_equal(CLIENT(kit, NULL, .type = DECLINE, .chaddr = kit_mac[1],
				.asked = "10.0.0.120", .xid = 10),
			 KIT_PASS);
	assert_false(is_learned(kit, "10.0.0.120"));
}

/* The network knows whose it is from the answer on, as long as the lease lasts. */
static void the_address_has_its_identity(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_ROW(kit, .identity = 301, .dir = BH_DIR_EGRESS, .remote_kind = BH_REMOTE_IDENTITY,
		.remote = 300, .rank = 1, .rule = 60, .action = BH_ACTION_ALLOW);
	KIT_FRAME(&f, .dmac = kit_mac[0], .src = "10.0.0.2", .dst = "10.0.0.120", .proto = KIT_UDP,
		  .dport = 1);
	assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 2, &f));
	learn(kit, 3600);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	assert_int_equal(CLIENT(kit, "10.0.0.120", .type = RELEASE, .chaddr = kit_mac[1],
				.ciaddr = "10.0.0.120", .xid = 9),
			 KIT_PASS);
	KIT_FRAME(&f, .dmac = kit_mac[0], .src = "10.0.0.2", .dst = "10.0.0.120", .proto = KIT_UDP,
		  .dport = 2);
	assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 2, &f));
	/* What is free again may become another's. */
	kit_who(kit, 0, "10.0.0.120", 301, 10);
	assert_int_equal(CLIENT(kit, NULL, .type = REQUEST, .chaddr = kit_mac[1], .xid = XID),
			 KIT_PASS);
	assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1],
				.yiaddr = "10.0.0.120", .lease_s = 60, .xid = XID),
			 KIT_PASS);
	assert_false(is_learned(kit, "10.0.0.120"));
}

static void a_lease_ends(void **state)
{
	const struct timespec step = {.tv_nsec = 20000000};
	struct kit *kit = *state;
	struct kit_frame f;

	learn(kit, 1);
	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.120", "10.0.0.2");
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	for (int i = 0; i < 500 && is_learned(kit, "10.0.0.120"); i++) {
		(void)nanosleep(&step, NULL);
	}
	(void)nanosleep(&step, NULL); /* the programs' clock is coarse */
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
}

/* The unicast renewal goes the long way, though its connection is steady. */
static void renewals_are_noticed(void **state)
{
	struct kit *kit = *state;

	learn(kit, 3600);
	for (uint32_t i = 1; i < 5; i++) {
		assert_int_equal(CLIENT(kit, "10.0.0.120", .type = REQUEST, .chaddr = kit_mac[1],
					.ciaddr = "10.0.0.120", .xid = XID + i),
				 KIT_PASS);
		assert_int_equal(SERVER(kit, BH_MARK_HOST, .type = ACK, .chaddr = kit_mac[1],
					.yiaddr = "10.0.0.120", .lease_s = 3600 + i,
					.xid = XID + i),
				 KIT_PASS);
		assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->duration_ns,
				 (3600 + i) * 1000000000ull);
	}
}

/* ---- IPv6 ---- */
/* Client identifier, then IA_NA with `addr` for ten minutes and fd00::78 given back. */
static size_t dhcp6_body(uint8_t b[88], uint8_t type, uint32_t xid, const char *addr)
{
	static const uint8_t head[] = {0, 0, 0, 0, 0, 1, 0, 4, 0, 0, 0, 0, 0, 3, 0, 12 + 2 * 28};

	memset(b, 0, 88);
	memcpy(b, head, sizeof(head));
	memcpy(b, (uint8_t[]){type, xid >> 16, xid >> 8, xid}, 4);
	memcpy(b + 28, "\0\5\0\30", 4);
	kit_ip(addr, b + 32);
	memcpy(b + 52, "\0\0\2\130", 4);
	memcpy(b + 56, "\0\5\0\30", 4);
	kit_ip("fd00::78", b + 60);
	return 4 + 8 + 16 + 2 * 28;
}

static int client6_says(struct kit *kit, uint8_t type, uint32_t xid)
{
	struct kit_frame f;
	uint8_t b[88];
	size_t size = dhcp6_body(b, type, xid, "fd00::77");

	KIT_FRAME(&f, .smac = kit_mac[1], .src = LINK_LOCAL_1, .dst = "ff02::1:2", .proto = KIT_UDP,
		  .sport = 546, .dport = 547, .body = b, .body_size = size);
	return kit_send(kit, 1, &f);
}

static int server6_says(struct kit *kit, uint8_t type, uint32_t xid, const char *addr)
{
	struct kit_frame f;
	uint8_t b[88];
	size_t size = dhcp6_body(b, type, xid, addr);

	KIT_FRAME(&f, .src = "fe80::fe", .dst = LINK_LOCAL_1, .dmac = kit_mac[1], .proto = KIT_UDP,
		  .sport = 547, .dport = 546, .body = b, .body_size = size);
	return kit_receive(kit, 1, BH_MARK_HOST, &f);
}

static void addresses_are_learned_over_ipv6(void **state)
{
	struct kit *kit = *state;
	struct bh_nic_addr own;
	struct kit_frame f;

	assert_int_equal(server6_says(kit, 7, 0x010203, "fd00::77"), KIT_PASS);
	assert_false(has_address(kit, 1, "fd00::77", &own)); /* not asked for */
	assert_int_equal(client6_says(kit, 3, 0x010203), KIT_PASS);
	assert_int_equal(server6_says(kit, 2, 0x010203, "fd00::77"), KIT_PASS);
	assert_int_equal(server6_says(kit, 7, 0x010204, "fd00::77"), KIT_PASS);
	assert_false(has_address(kit, 1, "fd00::77", &own));
	/* ::ffff:10.0.0.120 is how the maps write 10.0.0.120. */
	assert_int_equal(server6_says(kit, 7, 0x010203, "::ffff:10.0.0.120"), KIT_PASS);
	assert_false(has_address(kit, 1, "10.0.0.120", &own));
	assert_int_equal(server6_says(kit, 7, 0x010203, "fd00::77"), KIT_PASS);
	assert_true(is_learned(kit, "fd00::77"));
	assert_false(has_address(kit, 1, "fd00::78", &own));
	assert_int_equal(kit_event(kit, BH_FLOW_DHCP)->duration_ns, 600000000000);
	assert_int_equal(kit_event_count(kit, BH_FLOW_DHCP), 1);
	kit_allow_all(kit);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fd00::77", .dst = "2001:db8::1",
		  .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(client6_says(kit, 8, 0x010205), KIT_PASS); /* release */
	assert_false(is_learned(kit, "fd00::77"));
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fd00::77", .dst = "2001:db8::1", .dport = 5,
		  .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_IP6, kit_send(kit, 1, &f));
}

#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, kit_teardown)
#define TEST_PLAIN(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_PLAIN(clients_ask_before_they_have_an_address),
		TEST_PLAIN(only_servers_answer),
		TEST(addresses_are_learned),
		TEST(a_nic_that_does_not_learn_learns_nothing),
		TEST(only_own_questions_are_answered),
		TEST(policy_says_who_may_serve),
		TEST(nobody_gets_what_another_has),
		TEST(every_cut_of_an_answer_teaches_nothing),
		TEST(a_released_address_is_not_its_own),
		TEST(the_address_has_its_identity),
		TEST(a_lease_ends),
		TEST(renewals_are_noticed),
		TEST(addresses_are_learned_over_ipv6),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
