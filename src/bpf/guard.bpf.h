/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   What a NIC may say about itself: MAC, addresses, ARP, neighbour discovery, and that
 *           it is no DHCP server and no router unless it may be. Honest neighbour traffic is
 *           marked as such: it passes whatever the policy says, or nobody would find anybody.
 * Ownership The scratch of this CPU.
 * Threads   See maps.bpf.h.
 */
#ifndef BH_BPF_GUARD_H
#define BH_BPF_GUARD_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "policy.bpf.h"

#define BH_ND_RS       133
#define BH_ND_RA       134
#define BH_ND_NS       135
#define BH_ND_NA       136
#define BH_ND_REDIRECT 137
#define BH_MLD_QUERY   130
#define BH_MLD_REPORT  131
#define BH_MLD_DONE    132
#define BH_MLD2_REPORT 143
#define BH_MRD_ADVERT  151 /* and below: what makes a bridge take a port for a multicast router's */
#define BH_IGMP_QUERY  0x11
#define BH_IGMP_MRD    0x30
#define BH_P_PIM       103
#define BH_ND_OPTIONS  3

struct bh_arp {
	__u16 hrd, pro;
	__u8 hln, pln;
	__u16 op;
	__u8 sha[6];
	__u8 spa[4];
	__u8 tha[6];
	__u8 tpa[4];
} __attribute__((packed));

/* Is this the address of that NIC, in this generation? */
static __always_inline bool bh_guard_owns(const struct bh_pkt *p, const union bh_ip *ip)
{
	struct bh_nic_addr_key key = {.nic = p->nic};
	struct bh_nic_addr *own;

	__builtin_memcpy(key.addr, ip->b, 16);
	own = bpf_map_lookup_elem(&bh_nic_addrs, &key);
	return own && own->present[p->slot & 1] && (!own->expires_ns || own->expires_ns > p->now);
}

/* Notes until when what was just found to be the NIC's source address stays so. */
static __always_inline bool bh_guard_owns_source(struct bh_pkt *p)
{
	struct bh_nic_addr_key key = {.nic = p->nic};
	struct bh_nic_addr *own;

	__builtin_memcpy(key.addr, p->src.b, 16);
	own = bpf_map_lookup_elem(&bh_nic_addrs, &key);
	if (!own || !own->present[p->slot & 1] || (own->expires_ns && own->expires_ns <= p->now)) {
		return false;
	}
	p->own_until_ns = own->expires_ns ? own->expires_ns : ~0ull;
	return true;
}

/* The link-local address that a NIC gives itself from its MAC (RFC 4291, appendix A). */
static __always_inline bool bh_guard_is_eui64(const union bh_ip *ip, const __u8 *mac)
{
	return ip->w[0] == bpf_htonl(0xfe800000) && ip->w[1] == 0 && ip->b[8] == (mac[0] ^ 2) &&
	       ip->b[9] == mac[1] && ip->b[10] == mac[2] && ip->b[11] == 0xff &&
	       ip->b[12] == 0xfe && ip->b[13] == mac[3] && ip->b[14] == mac[4] &&
	       ip->b[15] == mac[5];
}

/* The sender's MAC was found to be the NIC's before, so the frame's stands for it. */
static __always_inline bool bh_guard_owns6(const struct bh_pkt *p, const union bh_ip *ip)
{
	return bh_guard_is_eui64(ip, p->eth.h_source) || bh_guard_owns(p, ip);
}

static __always_inline bool bh_guard_unspecified(const union bh_ip *ip)
{
	return ip->d[0] == 0 && ip->d[1] == 0;
}

static __always_inline int bh_guard_arp_load(struct __sk_buff *skb, struct bh_arp *arp)
{
	struct bh_pkt *p = bh_pkt_get();

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	if (bpf_skb_load_bytes(skb, p->l3, arp, sizeof(*arp)) || arp->hrd != bpf_htons(1) ||
	    arp->pro != bpf_htons(BH_ETH_IP) || arp->hln != 6 || arp->pln != 4) {
		return BH_REASON_DROP_MALFORMED;
	}
	bh_ip_from4(&p->src, *(__u32 *)arp->spa);
	bh_ip_from4(&p->dst, *(__u32 *)arp->tpa);
	return BH_REASON_PASS;
}

/* ARP from a NIC; RARP too, which QEMU sends for a guest that has just moved to this host. */
__weak int bh_guard_arp(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_arp arp;
	__u16 op;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	if (bh_guard_arp_load(skb, &arp)) {
		return BH_REASON_DROP_MALFORMED;
	}
	op = bpf_ntohs(arp.op);
	if (!bh_mac_same(arp.sha, p->eth.h_source)) {
		return BH_REASON_DROP_SPOOF_ARP;
	}
	if (p->ethertype == BH_ETH_RARP) {
		return op == 3 && bh_mac_same(arp.tha, p->eth.h_source) ? BH_REASON_PASS
									: BH_REASON_DROP_SPOOF_ARP;
	}
	if (op != 1 && op != 2) {
		return BH_REASON_DROP_MALFORMED;
	}
	if (p->nic_flags & BH_NIC_ANY_SOURCE) {
		return BH_REASON_PASS;
	}
	if (p->src.w[3] == 0) { /* a probe, RFC 5227 */
		return op == 1 && bh_guard_owns(p, &p->dst) ? BH_REASON_PASS
							    : BH_REASON_DROP_SPOOF_ARP;
	}
	return bh_guard_owns(p, &p->src) ? BH_REASON_PASS : BH_REASON_DROP_SPOOF_ARP;
}

/* ARP to a NIC: only its form. */
__weak int bh_guard_arp_form(struct __sk_buff *skb)
{
	struct bh_arp arp;

	return bh_guard_arp_load(skb, &arp);
}

/*
 * Link-layer address options must name the sender's MAC. `off` is the first option. Those that
 * hosts send (link-layer address, nonce) have 8 bytes: what passes unjudged has no room for cargo.
 */
static __always_inline int bh_guard_nd_options(struct __sk_buff *skb, struct bh_pkt *p, __u32 off)
{
	__u8 o[8];

	for (int i = 0; i < BH_ND_OPTIONS; i++) {
		if (off == p->w.end) {
			return BH_REASON_PASS;
		}
		if (off + sizeof(o) > p->w.end || bpf_skb_load_bytes(skb, off, o, sizeof(o)) ||
		    o[1] != 1) {
			return BH_REASON_DROP_MALFORMED;
		}
		if ((o[0] == 1 || o[0] == 2) && !bh_mac_same(o + 2, p->eth.h_source)) {
			return BH_REASON_DROP_SPOOF_ND;
		}
		off += sizeof(o);
	}
	return off == p->w.end ? BH_REASON_PASS : BH_REASON_DROP_MALFORMED;
}

/* Neighbour discovery from a NIC. Its source address was looked at before, unless it is "::". */
__weak int bh_guard_nd(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	union bh_ip target;
	bool any, nowhere;
	__u32 fixed;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	any = p->nic_flags & BH_NIC_ANY_SOURCE;
	nowhere = bh_guard_unspecified(&p->src);
	if (p->w.frag_seen) {
		return BH_REASON_DROP_FRAGMENT; /* RFC 6980 */
	}
	if (p->icmp_type == BH_ND_RA || p->icmp_type == BH_ND_REDIRECT) {
		if (!(p->nic_flags & BH_NIC_ROUTER)) {
			return BH_REASON_DROP_ROGUE_RA;
		}
		return p->hop_limit == 255 && !nowhere ? BH_REASON_PASS : BH_REASON_DROP_SPOOF_ND;
	}
	if (p->hop_limit != 255 || p->icmp_code != 0) {
		return BH_REASON_DROP_SPOOF_ND;
	}
	fixed = p->icmp_type == BH_ND_RS ? 8 : 24;
	if (p->l4 + fixed > p->w.end) {
		return BH_REASON_DROP_MALFORMED;
	}
	if (p->icmp_type != BH_ND_RS) {
		if (bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target))) {
			return BH_REASON_DROP_MALFORMED;
		}
		if ((p->icmp_type == BH_ND_NA || nowhere) && !any && !bh_guard_owns6(p, &target)) {
			p->src = target; /* the record names what was claimed */
			return BH_REASON_DROP_SPOOF_ND;
		}
		if (p->icmp_type == BH_ND_NA && nowhere) {
			return BH_REASON_DROP_SPOOF_ND;
		}
	}
	return bh_guard_nd_options(skb, p, p->l4 + fixed);
}

static __always_inline bool bh_guard_is_nd(const struct bh_pkt *p)
{
	return p->v6 && p->proto == BH_P_ICMP6 && p->w.frag != BH_FRAG_LATER &&
	       p->icmp_type >= BH_ND_RS && p->icmp_type <= BH_ND_REDIRECT;
}

static __always_inline bool bh_guard_is_mld(const struct bh_pkt *p, bool query)
{
	return p->v6 && p->proto == BH_P_ICMP6 && !p->w.frag_seen && p->hop_limit == 1 &&
	       p->group &&
	       (p->icmp_type == BH_MLD_REPORT || p->icmp_type == BH_MLD_DONE ||
		p->icmp_type == BH_MLD2_REPORT || (query && p->icmp_type == BH_MLD_QUERY));
}

static __always_inline bool bh_guard_is_igmp(const struct bh_pkt *p, bool query)
{
	return !p->v6 && p->proto == BH_P_IGMP && !p->w.frag_seen && p->hop_limit == 1 &&
	       p->group &&
	       (p->icmp_type == 0x12 || p->icmp_type == 0x16 || p->icmp_type == 0x17 ||
		p->icmp_type == 0x22 || (query && p->icmp_type == 0x11));
}

/* Whoever sends one of these gets all multicast of the bridge, as a router should. */
static __always_inline bool bh_guard_is_multicast_router(const struct bh_pkt *p)
{
	if (p->w.frag == BH_FRAG_LATER) {
		return false;
	}
	if (p->proto == BH_P_PIM) {
		return p->group;
	}
	if (p->v6) {
		return p->proto == BH_P_ICMP6 &&
		       (p->icmp_type == BH_MLD_QUERY || p->icmp_type == BH_MRD_ADVERT);
	}
	return p->proto == BH_P_IGMP &&
	       (p->icmp_type == BH_IGMP_QUERY || p->icmp_type == BH_IGMP_MRD);
}

/*
 * Can this neighbour message only be meant for this link? One that a router would carry on is a
 * message to the world like any other, and policy has its say.
 */
static __always_inline bool bh_guard_is_on_link(const struct bh_pkt *p)
{
	if (p->dst.b[0] == 0xff) {
		return (p->dst.b[1] & 0xf) <= 2;
	}
	return (p->dst.b[0] == 0xfe && (p->dst.b[1] & 0xc0) == 0x80) ||
	       p->dst.d[0] == p->src.d[0] ||
	       bh_policy_who(p, &p->dst).identity != BH_IDENTITY_WORLD;
}

static __always_inline bool bh_guard_udp(const struct bh_pkt *p, __u16 sport, __u16 dport)
{
	return p->proto == BH_P_UDP && p->w.frag != BH_FRAG_LATER &&
	       (!sport || p->sport == bpf_htons(sport)) && p->dport == bpf_htons(dport);
}

/* Is the source address one that this NIC may use for this packet? */
static __always_inline int bh_guard_source(struct bh_pkt *p)
{
	p->own_until_ns = ~0ull;
	if (p->v6) {
		if (p->src.b[0] == 0xff) {
			return BH_REASON_DROP_SPOOF_IP6;
		}
		if (bh_guard_unspecified(&p->src)) {
			return (bh_guard_is_nd(p) && p->group) || bh_guard_is_mld(p, false)
				       ? BH_REASON_PASS
				       : BH_REASON_DROP_SPOOF_IP6;
		}
		return (p->nic_flags & BH_NIC_ANY_SOURCE) ||
				       bh_guard_is_eui64(&p->src, p->eth.h_source) ||
				       bh_guard_owns_source(p)
			       ? BH_REASON_PASS
			       : BH_REASON_DROP_SPOOF_IP6;
	}
	if (p->src.w[3] == 0) {
		bool dhcp = bh_guard_udp(p, 68, 67) && p->dst.w[3] == 0xffffffff && !p->w.frag_seen;

		return dhcp || bh_guard_is_igmp(p, false) ? BH_REASON_PASS
							  : BH_REASON_DROP_SPOOF_IP4;
	}
	if ((bpf_ntohl(p->src.w[3]) >> 28) >= 0xe) {
		return BH_REASON_DROP_SPOOF_IP4; /* nobody is a multicast address or 240/4 */
	}
	return (p->nic_flags & BH_NIC_ANY_SOURCE) || bh_guard_owns_source(p)
		       ? BH_REASON_PASS
		       : BH_REASON_DROP_SPOOF_IP4;
}

/* IP from a NIC. */
__weak int bh_guard_ip(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	reason = bh_guard_source(p);
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	if (bh_guard_is_nd(p)) {
		p->special = bh_guard_is_on_link(p) ? BH_SPECIAL_FREE : BH_SPECIAL_STATELESS;
		return bh_guard_nd(skb);
	}
	if (bh_guard_is_multicast_router(p) && !(p->nic_flags & BH_NIC_ROUTER)) {
		return BH_REASON_DROP_ROGUE_RA;
	}
	if (bh_guard_is_mld(p, false) || bh_guard_is_igmp(p, false)) {
		p->special = BH_SPECIAL_FREE;
		return BH_REASON_PASS;
	}
	/* Clients look at the destination port only, so a rogue server may come from any. */
	if (bh_guard_udp(p, 0, p->v6 ? 546 : 68)) {
		if (!(p->nic_flags & BH_NIC_DHCP_SERVER)) {
			return BH_REASON_DROP_ROGUE_DHCP;
		}
		if (p->sport == bpf_htons(p->v6 ? 547 : 67)) {
			p->special = BH_SPECIAL_DHCP_ANSWER;
		}
	}
	/* ICMP redirects (5) and router advertisements (9) of IPv4 are a router's too. */
	if (!p->v6 && p->proto == BH_P_ICMP && p->w.frag != BH_FRAG_LATER &&
	    (p->icmp_type == 5 || p->icmp_type == 9) && !(p->nic_flags & BH_NIC_ROUTER)) {
		return BH_REASON_DROP_ROGUE_RA;
	}
	return BH_REASON_PASS;
}

/* IP to a NIC, from a port where the above was done or that is trusted to be the world. */
static __always_inline int bh_guard_classify(struct bh_pkt *p)
{
	if (bh_guard_is_nd(p)) {
		if (p->w.frag_seen || p->hop_limit != 255) {
			return BH_REASON_DROP_SPOOF_ND;
		}
		p->special = BH_SPECIAL_FREE;
	} else if (bh_guard_is_mld(p, true) || bh_guard_is_igmp(p, true)) {
		p->special = BH_SPECIAL_FREE;
	} else if (p->v6 ? bh_guard_udp(p, 547, 546) : bh_guard_udp(p, 67, 68)) {
		p->special = BH_SPECIAL_DHCP_ANSWER;
	}
	return BH_REASON_PASS;
}

/* May this NIC use this tag? */
static __always_inline bool bh_guard_vlan(__u32 nic, __u32 nic_flags, __u32 vlan, __u32 slot)
{
	struct bh_nic_vlan_key key = {.nic = nic, .vlan = vlan};
	struct bh_nic_vlan *present;

	if (vlan == 0 || (nic_flags & BH_NIC_ANY_VLAN)) {
		return true;
	}
	present = bpf_map_lookup_elem(&bh_nic_vlans, &key);
	return present && present->present[slot & 1];
}

#endif
