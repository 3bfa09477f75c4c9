/* SPDX-License-Identifier: Apache-2.0 */
/* What a NIC may say about itself, what is delivered to it, marks, VLANs. DHCP: test_dhcp.c. */
#include "kit.h"

#include <arpa/inet.h>
#include <string.h>

#include <bpf/bpf.h>

static const uint8_t stranger[6] = {0x52, 0x54, 0, 0, 9, 9};

static void only_its_own_mac(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .smac = stranger, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
	assert_int_equal(kit_event(kit, BH_FLOW_GUARD)->reason, BH_REASON_DROP_SPOOF_MAC);
	assert_memory_equal(kit_event(kit, BH_FLOW_GUARD)->src_mac, stranger, 6);
	kit_nic_flags(kit, 1, BH_NIC_ANY_SOURCE);
	assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
}

static void only_its_own_addresses(void **state)
{
	static const char *const v4[] = {"10.0.0.2",	    "10.0.0.99", "224.0.0.1",
					 "255.255.255.255", "127.0.0.1", "0.0.0.0"};
	static const char *const v6[] = {"fd00::2", "2001:db8::1", "fe80::1",
					 "ff02::1", "::",	   "::1"};
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	for (size_t i = 0; i < 6; i++) {
		KIT_FRAME(&f, .smac = kit_mac[1], .src = v4[i], .dst = "10.0.0.50",
			  .proto = KIT_UDP);
		assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
		KIT_FRAME(&f, .smac = kit_mac[1], .src = v6[i], .dst = "fd00::50",
			  .proto = KIT_UDP);
		assert_reason(kit, 1, DROP_SPOOF_IP6, kit_send(kit, 1, &f));
	}
	kit_nic_flags(kit, 1, BH_NIC_ANY_SOURCE);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "10.0.0.99", .dst = "10.0.0.50", .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "224.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
}

static void the_link_local_address_of_its_mac_is_its_own(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fe80::5054:ff:fe00:1", .dst = "fd00::50",
		  .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fe80::5054:ff:fe00:2", .dst = "fd00::50",
		  .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_IP6, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fe80:0:0:1:5054:ff:fe00:1", .dst = "fd00::50",
		  .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_SPOOF_IP6, kit_send(kit, 1, &f));
	kit_own(kit, 1, "fe80::abcd");
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "fe80::abcd", .dst = "fd00::50", .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

static void addresses_end(void **state)
{
	struct bh_nic_addr_key key = {.nic = 1};
	struct bh_nic_addr value = {.present = {1, 0}};
	struct kit *kit = *state;
	int fd = bpf_map__fd(kit->skel->maps.bh_nic_addrs);
	struct kit_frame f;

	kit_allow_all(kit);
	kit_ip("10.0.0.77", key.addr);
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = "10.0.0.77", .dst = "10.0.0.50", .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_set_gen(kit, 3);
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
	value = (struct bh_nic_addr){.present = {1, 1}, .expires_ns = 1};
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
}

/* ---- ARP ---- */
static void honest_arp_passes(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.1", "10.0.0.2");
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_NIC, &f), KIT_PASS);
	kit_arp(&f, kit_mac[1], 2, kit_mac[1], "10.0.0.1", "10.0.0.2");
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.1", "10.0.0.1"); /* gratuitous */
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "0.0.0.0", "10.0.0.1"); /* probe */
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_arp(&f, kit_mac[0], 1, kit_mac[0], "10.0.0.254", "10.0.0.1");
	assert_int_equal(kit_receive(kit, 1, BH_MARK_HOST, &f), KIT_PASS);
}

static void lying_arp_does_not(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_arp(&f, kit_mac[1], 2, kit_mac[1], "10.0.0.254", "10.0.0.2");
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
	kit_arp(&f, kit_mac[1], 1, stranger, "10.0.0.1", "10.0.0.2");
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
	kit_arp(&f, kit_mac[1], 1, kit_mac[1], "0.0.0.0", "10.0.0.2");
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
	kit_arp(&f, kit_mac[1], 2, kit_mac[1], "0.0.0.0", "10.0.0.1");
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
	kit_arp(&f, stranger, 1, kit_mac[1], "10.0.0.1", "10.0.0.2");
	assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
	kit_arp(&f, kit_mac[1], 9, kit_mac[1], "10.0.0.1", "10.0.0.2");
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
}

static void arp_has_one_form(void **state)
{
	static const size_t fields[] = {0, 2, 4, 5};
	struct kit *kit = *state;
	struct kit_frame f;

	for (size_t i = 0; i < 4; i++) {
		kit_arp(&f, kit_mac[1], 1, kit_mac[1], "10.0.0.1", "10.0.0.2");
		f.data[f.l3 + fields[i]] ^= 0x40;
		assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
		assert_reason(kit, 2, DROP_MALFORMED, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	}
}

static void qemu_announces_a_guest_that_moved(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_arp(&f, kit_mac[1], 3, kit_mac[1], "0.0.0.0", "0.0.0.0");
	f.data[12] = 0x80;
	f.data[13] = 0x35;
	memcpy(f.data + f.l3 + 18, kit_mac[1], 6);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	memcpy(f.data + f.l3 + 18, stranger, 6);
	assert_reason(kit, 1, DROP_SPOOF_ARP, kit_send(kit, 1, &f));
}

/* ---- neighbour discovery ---- */
struct nd {
	const char *src, *dst, *target;
	uint8_t type, option; /* option: type of the link-layer address option, 0 none */
	const uint8_t *mac;
	uint8_t ttl;
};

static void nd_build(struct kit_frame *f, const struct nd *nd)
{
	uint8_t body[24] = {};
	size_t size = nd->target ? 16 : 0;

	if (nd->target) {
		kit_ip(nd->target, body);
	}
	if (nd->option) {
		body[size] = nd->option;
		body[size + 1] = 1;
		memcpy(body + size + 2, nd->mac, 6);
		size += 8;
	}
	KIT_FRAME(f, .smac = kit_mac[1], .src = nd->src, .dst = nd->dst, .proto = KIT_ICMP6,
		  .icmp_type = nd->type, .ttl = nd->ttl ? nd->ttl : 255, .body = body,
		  .body_size = size);
}
#define ND(f, ...) nd_build(f, &(struct nd){__VA_ARGS__})
#define LL1	   "fe80::5054:ff:fe00:1"

static void honest_nd_passes(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	ND(&f, .src = "fd00::1", .dst = "ff02::1:ff00:2", .target = "fd00::2", .type = 135,
	   .option = 1, .mac = kit_mac[1]);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_NIC, &f), KIT_PASS);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_UPLINK, &f), KIT_PASS);
	ND(&f, .src = "fd00::1", .dst = "fd00::2", .target = "fd00::1", .type = 136, .option = 2,
	   .mac = kit_mac[1]);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	ND(&f, .src = "::", .dst = "ff02::1:ff00:1", .target = "fd00::1", .type = 135);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	ND(&f, .src = "::", .dst = "ff02::2", .type = 133);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	ND(&f, .src = LL1, .dst = "ff02::2", .type = 133, .option = 1, .mac = kit_mac[1]);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .smac = kit_mac[1], .src = LL1, .dst = "ff02::16", .proto = KIT_ICMP6,
		  .icmp_type = 143, .ttl = 1);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "224.0.0.22", .proto = 2, .ttl = 1,
		  .body = "\x22\0\0\0\0\0\0", .body_size = 8);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

/* The record of the last frame names this as the address that was claimed. */
static void assert_claimed(struct kit *kit, const char *text)
{
	struct in6_addr claimed;

	assert_int_equal(inet_pton(AF_INET6, text, &claimed), 1);
	assert_memory_equal(kit_event(kit, BH_FLOW_GUARD)->src, &claimed, sizeof(claimed));
}

static void lying_nd_does_not(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	ND(&f, .src = "fd00::1", .dst = "fd00::2", .target = "fd00::fe", .type = 136, .option = 2,
	   .mac = kit_mac[1]);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	assert_claimed(kit, "fd00::fe");
	ND(&f, .src = "fd00::1", .dst = "fd00::2", .target = "fd00::1", .type = 136, .option = 2,
	   .mac = stranger);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	ND(&f, .src = "fd00::1", .dst = "ff02::1:ff00:2", .target = "fd00::2", .type = 135,
	   .option = 1, .mac = stranger);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	ND(&f, .src = "fd00::fe", .dst = "fd00::2", .target = "fd00::1", .type = 136);
	assert_reason(kit, 1, DROP_SPOOF_IP6, kit_send(kit, 1, &f));
	ND(&f, .src = "::", .dst = "ff02::1:ff00:2", .target = "fd00::2", .type = 135);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	assert_claimed(kit, "fd00::2");
	ND(&f, .src = "fd00::1", .dst = "fd00::2", .target = "fd00::1", .type = 136, .ttl = 64);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	ND(&f, .src = LL1, .dst = "ff02::2", .type = 133, .option = 1, .mac = stranger);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_send(kit, 1, &f));
	ND(&f, .src = "fd00::1", .dst = "fd00::2", .target = "fd00::1", .type = 136, .option = 2,
	   .mac = kit_mac[1]);
	f.data[f.l4 + 25] = 0; /* an option of no length */
	kit_fix(&f);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	f.data[f.l4 + 25] = 2; /* one that ends behind the packet */
	f.data[f.l4 + 24] = 14;
	kit_fix(&f);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	ND(&f, .src = "fd00::fe", .dst = "fd00::1", .target = "fd00::fe", .type = 136, .ttl = 254);
	assert_reason(kit, 1, DROP_SPOOF_ND, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
}

static void only_routers_advertise(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	ND(&f, .src = LL1, .dst = "ff02::1", .type = 134);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	assert_int_equal(kit_receive(kit, 2, BH_MARK_UPLINK, &f), KIT_PASS);
	ND(&f, .src = LL1, .dst = "fd00::2", .target = "fd00::1", .type = 137);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_ICMP, .icmp_type = 5);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	/* Hidden behind an extension header, and in a fragment. */
	KIT_FRAME(&f, .smac = kit_mac[1], .src = LL1, .dst = "ff02::1", .proto = KIT_ICMP6,
		  .icmp_type = 134, .ttl = 255, .ext = "\x3a\0\1\4\0\0\0", .ext_size = 8,
		  .ext_proto = 60);
	assert_reason(kit, 1, DROP_ROGUE_RA, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .smac = kit_mac[1], .src = LL1, .dst = "ff02::1", .proto = KIT_ICMP6,
		  .icmp_type = 134, .ttl = 255, .frag_more = true, .body_size = 8);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	kit_nic_flags(kit, 1, BH_NIC_ROUTER);
	ND(&f, .src = LL1, .dst = "ff02::1", .type = 134);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

/* ---- delivery ---- */
static void nobody_hears_what_is_for_others(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP);
	for (unsigned kind = BH_MARK_UPLINK; kind <= BH_MARK_ANSWER; kind++) {
		assert_reason(kit, 3, DROP_NOT_MINE, kit_receive(kit, 3, kind, &f));
		assert_int_equal(kit_receive(kit, 2, kind, &f), KIT_PASS);
	}
	KIT_FRAME(&f, .smac = kit_mac[1], .dmac = stranger, .src = "10.0.0.1", .dst = "10.0.0.2",
		  .proto = KIT_UDP);
	assert_reason(kit, 2, DROP_NOT_MINE, kit_receive(kit, 2, BH_MARK_NIC, &f));
}

static void frames_without_a_mark_come_from_a_port_that_is_not_fed(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.2", .proto = KIT_UDP);
	assert_reason(kit, 2, DROP_UNMARKED, kit_receive(kit, 2, 0, &f));
	r = kit_run(kit, KIT_TO_GUEST, kit->ifindex[2], (KIT_NONCE ^ 0x100) | BH_MARK_UPLINK, &f);
	assert_int_equal(r.verdict, KIT_DROP); /* another installation's number */
	r = kit_run(kit, KIT_TO_GUEST, kit->ifindex[2], KIT_NONCE | BH_MARK_UPLINK, &f);
	assert_int_equal(r.verdict, KIT_PASS);
	assert_int_equal(r.mark, 0);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.3", .proto = KIT_UDP);
	assert_int_equal(kit_receive(kit, 3, 0, &f), KIT_PASS); /* routed: the host sends */
	r = kit_run(kit, KIT_TO_UPLINK, kit->ifindex[0], 0, &f);
	assert_int_equal(r.verdict, KIT_DROP);
	r = kit_run(kit, KIT_FROM_BRIDGE, kit->ifindex[0], KIT_NONCE, &f);
	assert_int_equal(r.verdict, KIT_DROP);
	assert_int_equal(kit_stat(kit, 0, BH_REASON_DROP_UNMARKED), 2);
	r = kit_run(kit, KIT_TO_UPLINK, kit->ifindex[0], KIT_NONCE | BH_MARK_NIC, &f);
	assert_int_equal(r.verdict, KIT_PASS);
	assert_int_equal(r.mark, 0);
	r = kit_run(kit, KIT_FROM_BRIDGE, kit->ifindex[0], KIT_NONCE | BH_MARK_NIC, &f);
	assert_int_equal(r.mark, 0);
	r = kit_run(kit, KIT_FROM_UPLINK, kit->ifindex[0], 77, &f);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_UPLINK);
	r = kit_run(kit, KIT_TO_BRIDGE, kit->ifindex[0], 77, &f);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_HOST);
}

static void what_is_not_fed_is_closed(void **state)
{
	struct kit *kit = *state;
	struct bh_nic n = {};
	struct kit_frame f;
	uint32_t one = 1;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP);
	assert_int_equal(kit_run(kit, KIT_FROM_GUEST, kit->ifindex[0], 0, &f).verdict, KIT_DROP);
	assert_int_equal(kit_stat(kit, 0, BH_REASON_DROP_CLOSED), 1);
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_nics), &one, &n, BPF_ANY), 0);
	assert_reason(kit, 1, DROP_CLOSED, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.2", .dst = "10.0.0.1", .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_CLOSED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
}

static void an_open_nic_passes_but_serves_nobody(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_nic_flags(kit, 1, BH_NIC_OPEN);
	KIT_FRAME(&f, .smac = stranger, .src = "10.0.0.77", .dst = "192.0.2.1", .proto = KIT_UDP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_PASS), 1);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 67,
		  .dport = 68);
	assert_reason(kit, 1, DROP_ROGUE_DHCP, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "192.0.2.1", .dst = "10.0.0.1", .proto = KIT_UDP);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_reason(kit, 1, DROP_UNMARKED, kit_receive(kit, 1, 0, &f));
}

static void groups_are_judged_once(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "224.0.0.251", .proto = KIT_UDP, .dport = 5353);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .remote_kind = BH_REMOTE_IDENTITY,
		.remote = BH_IDENTITY_MULTICAST, .rank = 1, .rule = 50, .action = BH_ACTION_ALLOW);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_NIC, &f), KIT_PASS);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_UPLINK, &f), KIT_PASS); /* a VM's elsewhere */
	KIT_FRAME(&f, .src = "192.0.2.1", .dst = "224.0.0.251", .proto = KIT_UDP, .dport = 5353);
	assert_reason(kit, 2, DROP_POLICY, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	KIT_FRAME(&f, .src = "10.0.0.254", .dst = "255.255.255.255", .proto = KIT_UDP,
		  .dport = 5353);
	assert_reason(kit, 2, DROP_POLICY, kit_receive(kit, 2, BH_MARK_HOST, &f));
	KIT_ROW(kit, .identity = 301, .dir = BH_DIR_INGRESS, .remote_kind = BH_REMOTE_IDENTITY,
		.remote = BH_IDENTITY_HOST, .rank = 1, .rule = 51, .action = BH_ACTION_ALLOW);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_HOST, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "ff02::fb", .proto = KIT_UDP, .dport = 5353);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

/* A group MAC does not make a unicast address a group. */
static void a_group_mac_is_no_way_around(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .remote_kind = BH_REMOTE_IDENTITY,
		.remote = BH_IDENTITY_MULTICAST, .rank = 1, .rule = 50, .action = BH_ACTION_ALLOW);
	KIT_FRAME(&f, .dmac = kit_mac_all, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP,
		  .dport = 9);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	assert_reason(kit, 2, DROP_POLICY, kit_receive(kit, 2, BH_MARK_NIC, &f));
	KIT_FRAME(&f, .dmac = kit_mac_all, .src = "10.0.0.1", .dst = "10.0.0.255", .proto = KIT_UDP,
		  .dport = 9);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

static void tags_need_permission(void **state)
{
	struct bh_nic_vlan_key key = {.nic = 1, .vlan = 5 << 16};
	uint32_t present[2] = {1, 0};
	struct kit *kit = *state;
	struct kit_frame f, q;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.1", .proto = KIT_UDP, .vlan = {5});
	KIT_FRAME(&q, .src = "10.0.0.1", .dst = "192.0.2.1", .proto = KIT_UDP, .vlan = {5, 6});
	assert_reason(kit, 1, DROP_VLAN, kit_send(kit, 1, &f));
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_nic_vlans), &key,
					     present, BPF_ANY),
			 0);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_reason(kit, 1, DROP_VLAN, kit_send(kit, 1, &q));
	kit_set_gen(kit, 3);
	assert_reason(kit, 1, DROP_VLAN, kit_send(kit, 1, &f));
	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	assert_int_equal(kit_send(kit, 1, &q), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.1", .proto = KIT_UDP, .vlan = {5, 6, 7});
	assert_reason(kit, 1, DROP_VLAN, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "192.0.2.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5});
	assert_reason(kit, 2, DROP_VLAN, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	KIT_FRAME(&f, .src = "192.0.2.1", .dst = "10.0.0.1", .proto = KIT_UDP, .vlan = {5});
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
}

static void other_ethertypes_are_dropped(void **state)
{
	static const uint16_t types[] = {0x88cc, 0x0026, 0x8847, 0x9100, 0x86dc, 0};
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	for (size_t i = 0; i < 6; i++) {
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP);
		f.data[12] = types[i] >> 8;
		f.data[13] = types[i];
		assert_reason(kit, 1, DROP_ETHERTYPE, kit_send(kit, 1, &f));
		assert_reason(kit, 2, DROP_ETHERTYPE, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_its_own_mac),
		TEST(only_its_own_addresses),
		TEST(the_link_local_address_of_its_mac_is_its_own),
		TEST(addresses_end),
		TEST(honest_arp_passes),
		TEST(lying_arp_does_not),
		TEST(arp_has_one_form),
		TEST(qemu_announces_a_guest_that_moved),
		TEST(honest_nd_passes),
		TEST(lying_nd_does_not),
		TEST(only_routers_advertise),
		TEST(nobody_hears_what_is_for_others),
		TEST(frames_without_a_mark_come_from_a_port_that_is_not_fed),
		TEST(what_is_not_fed_is_closed),
		TEST(an_open_nic_passes_but_serves_nobody),
		TEST(groups_are_judged_once),
		TEST(a_group_mac_is_no_way_around),
		TEST(tags_need_permission),
		TEST(other_ethertypes_are_dropped),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
