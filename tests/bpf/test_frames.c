/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attacker in a guest builds by hand: every kind of frame that is not honest IP, addresses
 * and headers that mean two things, chains, fragments in every order, forged errors, tunnels, and
 * noise. Unless a test says otherwise everything that is well formed is allowed, so that what stops
 * a frame is its form.
 */
#include "kit.h"

#include <string.h>

static int setup(void **state)
{
	(void)kit_setup(state);
	kit_allow_all(*state);
	return 0;
}

static void retype(struct kit_frame *f, size_t at, uint16_t type)
{
	f->data[at] = type >> 8;
	f->data[at + 1] = type;
}

/* ---- layer 2 ---- */
/* Switches and stations talk these; a guest is neither. LLC and SNAP have a length for a type. */
static void only_ip_and_arp_have_a_way(void **state)
{
	/* LLDP, 802.1X, pause, LACP, MACsec, PTP, PPPoE (2), MPLS (2), AVB, AoE, FCoE (2), loop,
	 * old QinQ (2), PBB, 802.1BR, DECnet, IPX, AppleTalk; neighbours of those that do pass. */
	static const uint16_t types[] = {0x88cc, 0x888e, 0x8808, 0x8809, 0x88e5, 0x88f7, 0x8863,
					 0x8864, 0x8847, 0x8848, 0x22f0, 0x88a2, 0x8906, 0x8914,
					 0x9000, 0x9100, 0x9200, 0x88e7, 0x893f, 0x6003, 0x8137,
					 0x809b, 0x86dc, 0x86de, 0x0801, 0x0805, 0x0807, 0x8034,
					 0x8036, 0xffff, 0x0000, 0x0600};
	struct kit *kit = *state;
	struct kit_frame f;

	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	kit_nic_flags(kit, 2, BH_NIC_ANY_VLAN);
	for (int tags = 0; tags < 3; tags++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP,
			  .vlan = {tags > 0 ? 5 : 0, tags > 1 ? 6 : 0}, .body_size = 20);
		for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
			retype(&f, f.l3 - 2, types[i]);
			assert_reason(kit, 1, DROP_ETHERTYPE, kit_send(kit, 1, &f));
			assert_reason(kit, 2, DROP_ETHERTYPE,
				      kit_receive(kit, 2, BH_MARK_UPLINK, &f));
		}
	}
	/* 802.3: a length; behind it STP, CDP, or IP and ARP in SNAP. */
	for (unsigned length = 0; length <= 1500; length += 4) {
		retype(&f, 12, length);
		assert_reason(kit, 1, DROP_ETHERTYPE, kit_send(kit, 1, &f));
	}
	for (int arp = 0; arp < 2; arp++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP);
		memmove(f.data + 22, f.data + 14, f.size - 14);
		memcpy(f.data + 14, "\xaa\xaa\3\0\0\0\x08", 7);
		f.data[21] = arp ? 6 : 0;
		retype(&f, 12, f.size - 6);
		f.size += 8;
		assert_reason(kit, 1, DROP_ETHERTYPE, kit_send(kit, 1, &f));
	}
	memcpy(f.data, "\x01\x80\xc2\0\0\0", 6); /* to the bridges' group: STP */
	memcpy(f.data + 14, "\x42\x42\3\0\0\0\0\0", 8);
	assert_reason(kit, 1, DROP_ETHERTYPE, kit_send(kit, 1, &f));
}

static void tags_of_both_kinds(void **state)
{
	static const uint16_t outer[] = {0x8100, 0x88a8};
	struct kit *kit = *state;
	struct kit_frame f;

	for (int i = 0; i < 2; i++) {
		for (int nic_may = 0; nic_may < 2; nic_may++) {
			kit_nic_flags(kit, 1, nic_may ? BH_NIC_ANY_VLAN : 0);
			KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.1", .proto = KIT_UDP,
				  .vlan = {5, 6});
			retype(&f, 12, outer[i]);
			if (nic_may) {
				assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
			} else {
				assert_reason(kit, 1, DROP_VLAN, kit_send(kit, 1, &f));
			}
			/* ARP, ND and DHCP are no way around a tag. */
			kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.1", "10.0.0.2");
			memmove(f.data + 16, f.data + 12, f.size - 12);
			f.size += 4;
			f.l3 += 4;
			retype(&f, 12, outer[i]);
			retype(&f, 14, 7);
			assert_int_equal(kit_send(kit, 1, &f), nic_may ? KIT_PASS : KIT_DROP);
		}
	}
	/* VLAN 0 is a priority and no network: the rules of the untagged one hold. */
	kit_nic_flags(kit, 1, 0);
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5});
	retype(&f, 14, 0xe000);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
}

static void any_mac_but_its_own_is_stopped(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	for (int i = 0; i < 48; i++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP);
		f.data[6 + i / 8] ^= 1 << i % 8;
		assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
		if (i) { /* bit 0 makes a group of it */
			f.data[6 + i / 8] ^= 1 << i % 8;
			f.data[i / 8] ^= 1 << i % 8;
			if (!(f.data[0] & 1)) {
				assert_reason(kit, 2, DROP_NOT_MINE,
					      kit_receive(kit, 2, BH_MARK_UPLINK, &f));
			}
		}
	}
}

/* ---- addresses that mean two things ---- */
static void mapped_addresses_are_no_ipv6(void **state)
{
	static const char *const pairs[][2] = {{"::ffff:10.0.0.1", "fd00::2"},
					       {"::ffff:10.0.0.1", "::ffff:10.0.0.2"},
					       {"fd00::1", "::ffff:10.0.0.2"}};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < 3; i++) {
		KIT_FRAME(&f, .smac = kit_mac[1], .dmac = kit_mac[2], .src = pairs[i][0],
			  .dst = pairs[i][1], .proto = KIT_UDP, .dport = 9);
		assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		assert_reason(kit, 2, DROP_MALFORMED, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	}
	assert_int_equal(kit_ct_count(kit), 0);
}

static void no_source_routes(void **state)
{
	static const uint8_t lsrr[] = {1, 131, 7, 4, 10, 0, 0, 3},
			     ssrr[] = {137, 7, 4, 10, 0, 0, 3, 0},
			     record[] = {7, 7, 4, 0, 0, 0, 0, 0}, short_one[] = {7, 1, 0, 0},
			     long_one[] = {7, 9, 4, 0, 0, 0, 0, 0}, cut[] = {1, 1, 1, 7},
			     hidden[] = {0, 131, 7, 4};
	struct kit *kit = *state;
	struct kit_frame f;

#define WITH(options)                                                                              \
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 1,          \
		  .dport = 2, .ext = (options), .ext_size = sizeof(options))
	WITH(lsrr);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	assert_reason(kit, 2, DROP_EXTHDR, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	WITH(ssrr);
	assert_reason(kit, 1, DROP_EXTHDR, kit_send(kit, 1, &f));
	WITH(record);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	WITH(hidden); /* behind the end of the list nothing means anything */
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	WITH(short_one);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	WITH(long_one);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	WITH(cut);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
#undef WITH
}

/* ---- IPv6 chains ---- */
static int chained(struct kit *kit, uint8_t first, const void *ext, size_t size, uint8_t proto)
{
	struct kit_frame f;

	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = proto, .sport = 4, .dport = 22,
		  .tcp_flags = KIT_SYN, .ext = ext, .ext_size = size, .ext_proto = first);
	return kit_send(kit, 1, &f);
}

/* The port behind the chain is the one that is judged. */
static void chains_hide_nothing(void **state)
{
	static const uint8_t hop[] = {6, 0, 1, 4, 0, 0, 0, 0}, pad2[16] = {6, 1, 1, 12},
			     ah[12] = {6, 1}, hop_dst_ah[28] = {60, 0, 1, 4, 0, 0, 0, 0, 51,
								0,  1, 4, 0, 0, 0, 0, 6, 1},
			     rh0[] = {6, 2, 0, 1}, rh2[24] = {6, 2, 2, 1}, atomic[8] = {6};
	struct kit *kit = *state;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_TCP, .port = 22, .rank = 1, .rule = 77, .action = BH_ACTION_DENY);
	assert_reason(kit, 1, DROP_POLICY, chained(kit, 0, hop, sizeof(hop), KIT_TCP));
	assert_reason(kit, 1, DROP_POLICY, chained(kit, 60, pad2, sizeof(pad2), KIT_TCP));
	assert_reason(kit, 1, DROP_POLICY, chained(kit, 51, ah, sizeof(ah), KIT_TCP));
	assert_reason(kit, 1, DROP_POLICY,
		      chained(kit, 0, hop_dst_ah, sizeof(hop_dst_ah), KIT_TCP));
	assert_reason(kit, 1, DROP_POLICY, chained(kit, 43, rh2, sizeof(rh2), KIT_TCP));
	assert_reason(kit, 1, DROP_POLICY, chained(kit, 44, atomic, sizeof(atomic), KIT_TCP));
	assert_int_equal(kit_rule_stat(kit, 77, 1, BH_DIR_EGRESS), 6);
	assert_reason(kit, 1, DROP_EXTHDR, chained(kit, 43, rh0, sizeof(rh0), KIT_TCP));
}

static void chains_that_end_in_nothing(void **state)
{
	static const uint8_t none[] = {59, 0, 1, 4, 0, 0, 0, 0};
	struct kit *kit = *state;
	struct kit_frame f;

	/* No next header, ESP, mobility, HIP, shim6, an experiment: protocols by number. */
	for (size_t i = 0; i < 6; i++) {
		const uint8_t protos[] = {59, 50, 135, 139, 140, 253};

		kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
		KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = protos[i],
			  .body_size = 24);
		assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
		KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS,
			.service_kind = BH_SERVICE_PROTO, .proto = protos[i], .rank = 1, .rule = 78,
			.action = BH_ACTION_ALLOW);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	}
	assert_int_equal(chained(kit, 60, none, sizeof(none), 59), KIT_PASS);
	/* A jumbogram: no length in the header, 65,536 bytes and more in the option. */
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP,
		  .ext = "\x11\0\xc2\4\0\1\0\0", .ext_size = 8, .ext_proto = 0, .body_size = 100);
	retype(&f, f.l3 + 4, 0);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	/* Every length that the header may claim, and every length of the option header. */
	kit_allow_all(kit);
	for (unsigned size = 0; size < 256; size++) {
		KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_UDP,
			  .ext = "\x11\0\1\4\0\0\0", .ext_size = 8, .ext_proto = 60);
		f.data[f.l3 + 41] = size;
		if (size) {
			assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		}
	}
}

/* ---- fragments ---- */
static int fragment(struct kit *kit, bool v6, unsigned off, size_t size, bool more, uint8_t proto)
{
	struct kit_frame f;

	KIT_FRAME(&f, .src = v6 ? "fd00::1" : "10.0.0.1", .dst = v6 ? "fd00::2" : "10.0.0.2",
		  .proto = proto, .sport = 1000, .dport = 2000, .tcp_flags = KIT_SYN,
		  .body_size = size, .frag_off = off, .frag_more = more, .frag_id = 5);
	if (!off && proto == KIT_UDP) {
		f.data[f.l4 + 4] = 4;
	}
	return kit_send(kit, 1, &f);
}

static void fragments_in_every_order(void **state)
{
	struct kit *kit = *state;

	for (int v6 = 0; v6 < 2; v6++) {
		/* What comes before its first has no port and no verdict. */
		assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, v6, 64, 8, false, KIT_UDP));
		assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, v6, 32, 32, true, KIT_UDP));
		assert_int_equal(fragment(kit, v6, 0, 24, true, KIT_UDP), KIT_PASS);
		assert_int_equal(fragment(kit, v6, 64, 8, false, KIT_UDP), KIT_PASS);
		assert_int_equal(fragment(kit, v6, 32, 32, true, KIT_UDP), KIT_PASS);
		assert_int_equal(fragment(kit, v6, 32, 32, true, KIT_UDP), KIT_PASS); /* twice */
		/* A later one of another protocol is of another packet. */
		assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, v6, 64, 8, false, KIT_TCP));
		assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, v6, 64, 8, false, 47));
		/* Into the header, into the first one's data, by one unit. */
		for (unsigned off = 8; off < 32; off += 8) {
			assert_reason(kit, 1, DROP_FRAGMENT,
				      fragment(kit, v6, off, 8, true, KIT_UDP));
		}
		/* Over the end of 64 KiB ("ping of death"). */
		assert_reason(kit, 1, DROP_MALFORMED, fragment(kit, v6, 65528, 16, false, KIT_UDP));
	}
}

/* One family's first fragment is not the other's, nor one NIC's another's. */
static void fragments_belong_to_their_packet(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	assert_int_equal(fragment(kit, false, 0, 24, true, KIT_UDP), KIT_PASS);
	assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, true, 32, 8, false, KIT_UDP));
	KIT_FRAME(&f, .src = "10.0.0.2", .dst = "10.0.0.1", .proto = KIT_UDP, .body_size = 8,
		  .frag_off = 32, .frag_id = 5);
	assert_reason(kit, 2, DROP_FRAGMENT, kit_send(kit, 2, &f));
	KIT_FRAME(&f, .smac = kit_mac[2], .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP,
		  .body_size = 8, .frag_off = 32, .frag_id = 5);
	assert_reason(kit, 2, DROP_SPOOF_IP4, kit_send(kit, 2, &f));
	/* A verdict that changed meanwhile holds for what is still to come. */
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	kit_set_gen(kit, 3);
	assert_reason(kit, 1, DROP_POLICY, fragment(kit, false, 32, 8, false, KIT_UDP));
}

/* RFC 6946: a packet in one piece, whatever else has its number. */
static void atomic_fragments_stand_alone(void **state)
{
	static const uint8_t atomic[8] = {KIT_UDP, 0, 0, 0, 0, 0, 0, 5};
	struct kit *kit = *state;
	struct kit_frame f;

	assert_int_equal(chained(kit, 44, atomic, sizeof(atomic), KIT_UDP), KIT_PASS);
	assert_reason(kit, 1, DROP_FRAGMENT, fragment(kit, true, 32, 8, false, KIT_UDP));
	/* Neighbour discovery never comes in fragments, RFC 6980. */
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_ICMP6, .icmp_type = 136,
		  .ttl = 255, .body_size = 16, .ext = "\x3a\0\0\0\0\0\0\5", .ext_size = 8,
		  .ext_proto = 44);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	/* Two fragment headers, or more headers behind one than the first fragment holds. */
	assert_reason(kit, 1, DROP_EXTHDR,
		      chained(kit, 44, "\x2c\0\0\0\0\0\0\5\x11\0\0\0\0\0\0\6", 16, KIT_UDP));
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = 60, .body = "\x11\4",
		  .body_size = 8, .frag_more = true, .frag_id = 6);
	f.data[f.l4] = 17;
	f.data[f.l4 + 1] = 4; /* 40 bytes, of which 8 are here */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

/* ---- neighbours ---- */
static void nd_message(struct kit_frame *f, const char *src, const char *dst, uint8_t type,
		       const void *options, size_t size)
{
	uint8_t body[256] = {};

	kit_ip("fd00::1", body);
	memcpy(body + 16, options, size);
	KIT_FRAME(f, .smac = kit_mac[1], .src = src, .dst = dst, .proto = KIT_ICMP6,
		  .icmp_type = type, .ttl = 255, .body = body, .body_size = 16 + size);
}

/* What passes unjudged can't be used to carry things out, least of all past a router. */
static void neighbour_discovery_is_no_tunnel(void **state)
{
	static const uint8_t tlla[] = {2, 1, 0x52, 0x54, 0, 0, 0, 1}, nonce[] = {14, 1, 1, 2, 3, 4};
	uint8_t cargo[200] = {14, 25};
	struct kit *kit = *state;
	struct kit_frame f;

	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	nd_message(&f, "fd00::1", "fd00::2", 136, tlla, 8);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	nd_message(&f, "fd00::1", "fd00::77", 136, tlla, 8); /* a neighbour that is no VM */
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	nd_message(&f, "fd00::1", "fe80::1", 136, tlla, 8);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	nd_message(&f, "fd00::1", "2001:db8::1", 136, tlla, 8); /* a router would carry it */
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	nd_message(&f, "fd00::1", "2001:db8::1", 135, tlla, 0);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	nd_message(&f, "fd00::1", "ff0e::1", 135, nonce, 0);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PROTO,
		.proto = KIT_ICMP6, .rank = 1, .rule = 50, .action = BH_ACTION_ALLOW);
	nd_message(&f, "fd00::1", "2001:db8::1", 136, tlla, 8);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	nd_message(&f, "fd00::1", "fd00::2", 136, cargo, sizeof(cargo));
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	for (size_t i = 0; i < 4; i++) {
		memcpy(cargo + i * 8, "\16\1", 2);
	}
	nd_message(&f, "fd00::1", "fd00::2", 136, cargo, 32);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

/* A bridge sends all multicast to the port of whoever asks as a router does. */
static void only_routers_ask_for_all_multicast(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto, type;
	} cases[] = {{"10.0.0.1", "224.0.0.1", 2, 0x11},
		     {"10.0.0.1", "224.0.0.106", 2, 0x30},
		     {"10.0.0.1", "224.0.0.13", 103, 0x20},
		     {"fe80::5054:ff:fe00:1", "ff02::1", KIT_ICMP6, 130},
		     {"fe80::5054:ff:fe00:1", "ff02::6a", KIT_ICMP6, 151},
		     {"fe80::5054:ff:fe00:1", "ff02::d", 103, 0x20}};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < 6; i++) {
		uint8_t body[16] = {cases[i].type};

		kit_nic_flags(kit, 1, 0);
		KIT_FRAME(&f, .smac = kit_mac[1], .src = cases[i].src, .dst = cases[i].dst,
			  .proto = cases[i].proto, .icmp_type = cases[i].type, .ttl = 1,
			  .body = body, .body_size = sizeof(body));
		assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
		kit_nic_flags(kit, 1, BH_NIC_ROUTER);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	}
	assert_int_equal(kit_event(kit, BH_FLOW_GUARD)->reason, BH_REASON_DROP_ROGUE_RA);
}

static void redirects_are_a_routers(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	for (uint8_t type = 5; type <= 9; type += 4) { /* redirect, router advertisement */
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_ICMP,
			  .icmp_type = type, .body_size = 28);
		assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	}
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_ICMP6, .icmp_type = 137,
		  .ttl = 255, .body_size = 32);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::2", .proto = KIT_ICMP6, .icmp_type = 134,
		  .ttl = 255, .body_size = 8, .ext = "\x3c\0\1\4\0\0\0\0\x3a\0\1\4\0\0\0",
		  .ext_size = 16, .ext_proto = 0);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
}

/* ---- forged errors ---- */
static void error_about(struct kit_frame *f, const char *src, const char *dst,
			const struct kit_frame *quoted, size_t size, uint8_t type)
{
	KIT_FRAME(f, .src = src, .dst = dst,
		  .proto = quoted->data[quoted->l3] >> 4 == 6 ? KIT_ICMP6 : KIT_ICMP,
		  .icmp_type = type, .body = quoted->data + quoted->l3, .body_size = size);
}

static void errors_of_those_without_part_in_it(void **state)
{
	static const struct {
		const char *one, *two, *far;
		uint8_t type;
	} families[] = {{"10.0.0.1", "10.0.0.2", "10.0.0.50", 3},
			{"fd00::1", "fd00::2", "fd00::50", 1}};
	struct kit *kit = *state;
	struct kit_frame q, f;

	for (size_t i = 0; i < 2; i++) {
		size_t whole = i ? 60 : 40;

		KIT_FRAME(&q, .src = families[i].one, .dst = families[i].far, .proto = KIT_TCP,
			  .sport = 1000, .dport = 80, .tcp_flags = KIT_SYN);
		assert_int_equal(kit_send(kit, 1, &q), KIT_PASS);
		/* NIC 2 knows the tuple, but has no part in it. */
		error_about(&f, families[i].two, families[i].one, &q, whole, families[i].type);
		assert_reason(kit, 2, DROP_ICMP_UNRELATED, kit_send(kit, 2, &f));
		/* NIC 1 can't report about its own packet to the other side. */
		error_about(&f, families[i].one, families[i].far, &q, whole, families[i].type);
		assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_send(kit, 1, &f));
		/* From the way, to somebody else than who sent it. */
		error_about(&f, families[i].far, families[i].two, &q, whole, families[i].type);
		assert_reason(kit, 2, DROP_ICMP_UNRELATED, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
		/* The true one, and each cut of what it quotes. */
		error_about(&f, families[i].far, families[i].one, &q, whole, families[i].type);
		assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
		for (size_t size = 0; size < whole - 12; size++) {
			error_about(&f, families[i].far, families[i].one, &q, size,
				    families[i].type);
			assert_reason(kit, 1, DROP_ICMP_UNRELATED,
				      kit_receive(kit, 1, BH_MARK_UPLINK, &f));
		}
		/* Another port, another protocol, a later fragment, the other family. */
		error_about(&f, families[i].far, families[i].one, &q, whole, families[i].type);
		f.data[f.l4 + 8 + whole - 20 + 3] ^= 1;
		assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
		error_about(&f, families[i].far, families[i].one, &q, whole, families[i].type);
		f.data[f.l4 + 8 + (i ? 6 : 9)] = KIT_UDP;
		assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
		error_about(&f, families[i].far, families[i].one, &q, whole, families[i].type);
		f.data[f.l4 + 8] ^= 0x20;
		assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	}
}

/* An error about an error is no error about a connection. */
static void errors_about_errors(void **state)
{
	struct kit *kit = *state;
	struct kit_frame q, e, f;

	KIT_FRAME(&q, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP, .dport = 9);
	assert_int_equal(kit_send(kit, 1, &q), KIT_PASS);
	error_about(&e, "10.0.0.1", "10.0.0.50", &q, 28, 3);
	error_about(&f, "10.0.0.50", "10.0.0.1", &e, 56, 3);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
}

/* ---- tunnels ---- */
/* What is inside of a tunnel is nobody's address; only the tunnel is asked for, by number. */
static void tunnels_are_protocols_by_number(void **state)
{
	static const uint8_t protos[] = {4 /* IPIP */,	   41 /* 6in4 */,  47 /* GRE */,
					 50 /* ESP */,	   51 /* AH */,	   94,
					 97 /* EtherIP */, 115 /* L2TP */, 137 /* MPLS */};
	struct kit *kit = *state;
	struct kit_frame in, f;

	kit_allow_all(kit);
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_TCP, .port = 80, .rank = 1, .rule = 7, .action = BH_ACTION_ALLOW);
	KIT_FRAME(&in, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .dport = 80,
		  .tcp_flags = KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &in), KIT_PASS);
	for (size_t i = 0; i < sizeof(protos); i++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = protos[i],
			  .body = in.data + in.l3, .body_size = in.size - in.l3);
		assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
		KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS,
			.service_kind = BH_SERVICE_PROTO, .proto = protos[i], .rank = 2, .rule = 8,
			.action = BH_ACTION_ALLOW);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_DENY, 1); /* and the receiver's */
		kit_set_gen(kit, 3 + i);
		assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 1, &f));
		kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_ALLOW, 1);
	}
}

/* ---- noise ---- */
/* Is this what the policy of `noise` allows, or what needs no permission? Read by other code than
 * the program's, and simpler: untagged, no options but those of a chain. */
static bool is_permitted4(const uint8_t *ip)
{
	const uint8_t *l4 = ip + (ip[0] & 15) * 4;

	if (memcmp(ip + 12, "\x0a\0\0\1", 4)) {
		return false;
	}
	if (ip[9] == 2) { /* IGMP */
		return ip[16] >> 4 == 14 && ip[8] == 1;
	}
	return ip[9] == KIT_TCP && !memcmp(ip + 16, "\x0a\0\0\2", 4) && !(ip[6] & 0x1f) && !ip[7] &&
	       !memcmp(l4 + 2, "\0\x50", 2);
}

static bool is_permitted6(const uint8_t *ip)
{
	uint8_t own[16], dst[16], proto = ip[6];
	unsigned off = 40;

	kit_ip("fd00::1", own);
	kit_ip("fd00::2", dst);
	while (off < 200 && memchr("\0\x2b\x2c\x3c\x33", proto, 5)) {
		unsigned size = (ip[off + 1] + 1) * 8u;

		size = proto == 44 ? 8u : proto == 51 ? (ip[off + 1] + 2) * 4u : size;
		proto = ip[off];
		off += size;
	}
	if (memcmp(ip + 8, own, 16)) {
		return false;
	}
	if (proto == KIT_ICMP6) { /* neighbour discovery */
		return ip[7] == 255;
	}
	return proto == KIT_TCP && !memcmp(ip + 24, dst, 16) && !memcmp(ip + off + 2, "\0\x50", 2);
}

static bool is_permitted(const struct kit_frame *f)
{
	unsigned type = f->data[12] << 8 | f->data[13];
	const uint8_t *ip = f->data + 14;

	if (memcmp(f->data + 6, kit_mac[1], 6)) {
		return false;
	}
	if (type == 0x0806 || type == 0x8035) {
		return !memcmp(ip + 8, kit_mac[1], 6);
	}
	return type == 0x0800 ? is_permitted4(ip) : type == 0x86dd && is_permitted6(ip);
}

static void noise(void **state)
{
	static const uint8_t chain[] = {60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0};
	struct kit *kit = *state;
	struct kit_frame f;
	uint32_t seed = 7;
	unsigned passed = 0;

	for (unsigned nic = 1; nic < 3; nic++) {
		for (uint32_t dir = 0; dir < 2; dir++) {
			kit_default(kit, KIT_ID(nic), dir, BH_ACTION_DENY, 1);
			KIT_ROW(kit, .identity = KIT_ID(nic), .dir = dir,
				.remote_kind = BH_REMOTE_IDENTITY, .remote = 601 - KIT_ID(nic),
				.service_kind = BH_SERVICE_PORT, .proto = KIT_TCP, .port = 80,
				.rank = 1, .rule = 7, .action = BH_ACTION_ALLOW);
		}
	}
	for (int round = 0; round < 20000; round++) {
		bool v6 = round & 1, ext = round & 2;

		KIT_FRAME(&f, .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2", .proto = KIT_TCP, .sport = 99,
			  .dport = 80, .tcp_flags = KIT_SYN, .body_size = 24,
			  .ext = v6 && ext ? chain : NULL, .ext_size = v6 && ext ? 16 : 0,
			  .ext_proto = 0);
		for (int i = 0; i < 1 + round % 4; i++) {
			seed = seed * 1664525 + 1013904223;
			f.data[(seed >> 8) % 90 % f.size] = seed >> 24;
		}
		if (kit_send(kit, 1, &f) == KIT_PASS) {
			passed++;
			assert_true(is_permitted(&f));
		}
	}
	assert_true(passed > 1000); /* else this shows nothing */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_ip_and_arp_have_a_way),
		TEST(tags_of_both_kinds),
		TEST(any_mac_but_its_own_is_stopped),
		TEST(mapped_addresses_are_no_ipv6),
		TEST(no_source_routes),
		TEST(chains_hide_nothing),
		TEST(chains_that_end_in_nothing),
		TEST(fragments_in_every_order),
		TEST(fragments_belong_to_their_packet),
		TEST(atomic_fragments_stand_alone),
		TEST(neighbour_discovery_is_no_tunnel),
		TEST(only_routers_ask_for_all_multicast),
		TEST(redirects_are_a_routers),
		TEST(errors_of_those_without_part_in_it),
		TEST(errors_about_errors),
		TEST(tunnels_are_protocols_by_number),
		TEST(noise),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
