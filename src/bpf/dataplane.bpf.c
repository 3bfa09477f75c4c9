// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/*
 * Purpose   The six programs of the dataplane: what happens to a frame at each kind of port. A
 *           seventh, which user space runs, is in import.bpf.h. The theory of operation is in
 *           abi.h; the stages are in the *.bpf.h files, in the order of a packet's way.
 * Ownership None: programs own nothing between two packets but what is in the maps.
 * Threads   Run on every CPU at once; see maps.bpf.h.
 *
 * A frame that passes returns TC_ACT_UNSPEC, so that filters of others behind ours still see it.
 */
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "guard.bpf.h"
#include "events.bpf.h"
#include "policy.bpf.h"
#include "frag.bpf.h"
#include "ct.bpf.h"
#include "judge.bpf.h"
#include "fast.bpf.h"
#include "answer.bpf.h"
#include "dhcp.bpf.h"
#include "import.bpf.h"

#define BH_PASS TC_ACT_UNSPEC

/* ---- coming in ---- */
static __always_inline bool bh_enter(struct __sk_buff *skb, struct bh_pkt *p)
{
	__u32 ifindex = skb->ifindex, nonce, mark = skb->mark;
	__u32 slot, *hint;
	struct bh_ctl *ctl = bh_ctl_get();
	struct bh_port *port;

	p->nic = 0;
	p->len = skb->len;
	if (!ctl) {
		return false;
	}
	p->now = bpf_ktime_get_coarse_ns();
	p->gen = *(volatile __u32 *)&ctl->gen;
	p->slot = p->gen & 1;
	p->ctl_flags = ctl->flags;
	nonce = ctl->mark_nonce & 0xffffff00;
	p->nonce = nonce;
	p->mark_kind = nonce && (mark & 0xffffff00) == nonce ? mark & 0xff : 0;
	port = bpf_map_lookup_elem(&bh_ports, &ifindex);
	if (!port || !nonce) {
		return false; /* not fed, or the installation has not chosen its marks yet */
	}
	p->net = port->net;
	p->bridge = port->bridge;
	p->nic = port->kind == BH_PORT_NIC ? port->nic : 0;
	slot = ifindex & (BH_PORT_HINTS - 1);
	hint = bpf_map_lookup_elem(&bh_port_hints, &slot);
	if (hint && *hint != p->nic) {
		*hint = p->nic;
	}
	return true;
}

/* Takes over what the current generation says of the NIC. False when it is closed. */
static __always_inline bool bh_enter_nic(struct bh_pkt *p, const struct bh_nic *n)
{
	const struct bh_nic_slot *slot = &n->slot[p->slot & 1];

	p->nic_flags = slot->flags;
	p->identity = slot->identity;
	p->tenant = slot->tenant;
	p->net = slot->net;
	p->peer = 0;
	p->judged_peer = 0;
	p->judged_nic = 0;
	p->row_flags = 0;
	p->action = BH_ACTION_NONE;
	p->rules[0] = p->rules[1] = 0;
	p->src_identity = p->dst_identity = 0;
	p->ethertype = 0;
	p->vlan = 0;
	p->proto = 0;
	p->sport = p->dport = 0;
	return slot->identity || slot->flags;
}

/* A group frame, unless its address is some one VM's: then that VM judges it. */
static __always_inline void bh_enter_group(struct bh_pkt *p)
{
	if (!p->group && p->eth.h_dest[0] & 1) {
		p->group = bh_policy_who(p, &p->dst).identity == BH_IDENTITY_WORLD;
	}
}

/* ---- going out ---- */
static __always_inline bool bh_leave_is_guard(int reason)
{
	return (reason >= BH_REASON_DROP_MALFORMED && reason <= BH_REASON_DROP_VLAN) ||
	       reason == BH_REASON_DROP_FRAGMENT || reason == BH_REASON_DROP_EXTHDR ||
	       reason == BH_REASON_DROP_ICMP_UNRELATED;
}

/* Counts and reports a frame that goes no further. Returns what the program returns. */
__weak int bh_leave_drop(struct __sk_buff *skb, __u32 reason, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 nic;

	if (!p) {
		return TC_ACT_SHOT;
	}
	nic = p->nic;
	if (reason == BH_REASON_DROP_POLICY || reason == BH_REASON_DROP_REJECT) {
		nic = p->judged_nic;
		bh_event_send(skb, BH_EVENT(BH_FLOW_REFUSED, reason, p->judged_dir), nic);
	} else if (reason == BH_REASON_DROP_CT_FULL || reason == BH_REASON_DROP_CT_QUOTA) {
		p->action = BH_ACTION_DENY;
		p->row_flags = 0;
		bh_event_send(skb, BH_EVENT(BH_FLOW_REFUSED, reason, dir), nic);
	} else if (dir == BH_DIR_EGRESS && bh_leave_is_guard(reason)) {
		p->row_flags = 0;
		bh_event_send(skb, BH_EVENT(BH_FLOW_GUARD, reason, dir), nic);
	}
	bh_stat_add(nic, reason, p->len);
	return reason == BH_REASON_DROP_REJECT ? bh_answer(skb, dir) : TC_ACT_SHOT;
}

/* Hands an allowed frame from tap to tap where both may, but now and then by the bridge, whose
 * table of MACs would else forget the sender. */
static __always_inline int bh_leave_guest(struct __sk_buff *skb, struct bh_pkt *p)
{
	struct bh_nic_state *state = bh_nic_state_get(p->nic);
	struct bh_nic *peer = bh_nic_get(p->peer);

	skb->mark = !p->bridge ? 0 : p->nonce | (p->judged_peer ? BH_MARK_JUDGED : BH_MARK_NIC);
	if (p->judged_peer && p->bridge && peer && state && peer->bridge == p->bridge &&
	    (p->ctl_flags & BH_CTL_FASTPATH) && (p->nic_flags & BH_NIC_FASTPATH) &&
	    (peer->slot[p->slot & 1].flags & BH_NIC_FASTPATH)) {
		if (state->bridge_refresh_ns &&
		    p->now - state->bridge_refresh_ns < BH_BRIDGE_WARM_NS) {
			bh_pass_add(p->nic, true, p->len);
			bh_pass_add(p->peer, false, p->len);
			skb->mark = p->nonce | BH_MARK_HANDED;
			return bpf_redirect(peer->ifindex, 0);
		}
		state->bridge_refresh_ns = p->now;
	}
	bh_pass_add(p->nic, false, p->len);
	return BH_PASS;
}

/* ---- a guest sends ---- */
/* Finds the receiver when it is a fed NIC on this host that may use the frame's tag. */
static __always_inline void bh_guest_peer(struct bh_pkt *p)
{
	struct bh_mac_key key = {.net = p->net};
	struct bh_nic *peer;
	__u32 *nic, slot = p->slot & 1;

	if (p->eth.h_dest[0] & 1) {
		return;
	}
	__builtin_memcpy(key.mac, p->eth.h_dest, 6);
	nic = bpf_map_lookup_elem(&bh_macs, &key);
	if (!nic || *nic == p->nic) {
		return;
	}
	peer = bh_nic_get(*nic);
	if (peer && bh_mac_same(peer->mac, p->eth.h_dest) &&
	    (peer->slot[slot].identity || peer->slot[slot].flags) &&
	    bh_guard_vlan(*nic, peer->slot[slot].flags, p->vlan, slot)) {
		p->peer = *nic;
	}
}

/* IP that was found honest. */
__weak int bh_guest_ip(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	bh_enter_group(p);
	if (p->w.frag == BH_FRAG_LATER) {
		reason = bh_frag_find(skb);
		if (reason != BH_REASON_PASS) {
			return reason;
		}
	}
	if (p->special == BH_SPECIAL_FREE || p->special == BH_SPECIAL_DHCP_ANSWER) {
		return BH_REASON_PASS;
	}
	if (p->special == BH_SPECIAL_ICMP_ERROR && !p->group) {
		return bh_ct_error(skb, BH_DIR_EGRESS);
	}
	bh_guest_peer(p);
	if (p->group || p->special == BH_SPECIAL_STATELESS) {
		if (p->special == BH_SPECIAL_NONE) {
			p->special = BH_SPECIAL_STATELESS;
		}
		reason = bh_ct_ask_open(skb, BH_DIR_EGRESS);
		if (reason != BH_REASON_DROP_CLOSED) {
			bh_ct_rule_stats(p, BH_DIR_EGRESS);
		}
	} else {
		reason = bh_ct_track(skb, BH_DIR_EGRESS);
	}
	if (reason == BH_REASON_PASS && p->w.frag == BH_FRAG_FIRST) {
		bh_frag_learn(skb);
	}
	if (reason == BH_REASON_PASS && p->nic_flags & BH_NIC_LEARN_DHCP &&
	    bh_guard_udp(p, p->v6 ? 546 : 68, p->v6 ? 547 : 67)) {
		(void)(p->v6 ? bh_dhcp6_ask(skb) : bh_dhcp_ask(skb));
	}
	return reason;
}

/* A NIC that is open until it is fed says what it likes, but it is no DHCP server and no router. */
__weak int bh_guest_open(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	if (bh_parse_l2(skb) != BH_REASON_PASS ||
	    (p->ethertype != BH_ETH_IP && p->ethertype != BH_ETH_IPV6) ||
	    bh_parse_l3(skb) != BH_REASON_PASS) {
		return BH_REASON_PASS;
	}
	if (!(p->nic_flags & BH_NIC_DHCP_SERVER) && bh_guard_udp(p, 0, p->v6 ? 546 : 68)) {
		return BH_REASON_DROP_ROGUE_DHCP;
	}
	if (!(p->nic_flags & BH_NIC_ROUTER) && bh_guard_is_nd(p) &&
	    (p->icmp_type == BH_ND_RA || p->icmp_type == BH_ND_REDIRECT)) {
		return BH_REASON_DROP_ROGUE_RA;
	}
	return BH_REASON_PASS;
}

static __always_inline int bh_guest_frame(struct __sk_buff *skb, struct bh_pkt *p)
{
	struct bh_nic *n;
	int reason;

	n = bh_nic_get(p->nic);
	if (!n || !bh_enter_nic(p, n)) {
		return BH_REASON_DROP_CLOSED;
	}
	if (p->nic_flags & BH_NIC_OPEN) {
		return bh_guest_open(skb);
	}
	reason = bh_parse_l2(skb);
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	if (!bh_mac_same(p->eth.h_source, n->mac)) {
		return BH_REASON_DROP_SPOOF_MAC;
	}
	if (!bh_guard_vlan(p->nic, p->nic_flags, p->vlan, p->slot)) {
		return BH_REASON_DROP_VLAN;
	}
	if (p->ethertype == BH_ETH_ARP || p->ethertype == BH_ETH_RARP) {
		return bh_guard_arp(skb);
	}
	if (p->ethertype != BH_ETH_IP && p->ethertype != BH_ETH_IPV6) {
		return BH_REASON_DROP_ETHERTYPE;
	}
	reason = bh_parse_l3(skb);
	if (reason == BH_REASON_PASS) {
		reason = bh_guard_ip(skb);
	}
	return reason == BH_REASON_PASS ? bh_guest_ip(skb) : reason;
}

SEC("tc")
int bh_from_guest(struct __sk_buff *skb)
{
	int reason, verdict = bh_ticket_pass(skb, BH_DIR_EGRESS);
	struct bh_pkt *p;

	if (verdict == BH_FAST_LEFT) {
		verdict = bh_fast_from_guest(skb);
	}
	if (verdict != BH_FAST_LEFT) {
		return verdict;
	}
	p = bh_pkt_get();
	if (!p) {
		return TC_ACT_SHOT;
	}
	if (!bh_enter(skb, p)) {
		skb->mark = 0;
		bh_stat_add(0, BH_REASON_DROP_CLOSED, skb->len);
		return TC_ACT_SHOT;
	}
	if (p->mark_kind ==
	    BH_MARK_ANSWER) { /* ours, put in here by bh_answer at this port's egress */
		if (!p->bridge) {
			skb->mark = 0;
		}
		return BH_PASS;
	}
	skb->mark = 0;
	reason = bh_guest_frame(skb, p);
	if (reason != BH_REASON_PASS) {
		return bh_leave_drop(skb, reason, BH_DIR_EGRESS);
	}
	return bh_leave_guest(skb, p);
}

/* ---- a guest receives ---- */
/* Multicast and the like, which has no connection. What a VM sent was judged where it was sent. */
static __always_inline int bh_deliver_stateless(struct __sk_buff *skb, struct bh_pkt *p)
{
	int reason;

	if (p->group && (p->mark_kind == BH_MARK_NIC ||
			 bh_policy_who(p, &p->src).identity >= BH_IDENTITY_FIRST)) {
		return BH_REASON_PASS;
	}
	if (p->special == BH_SPECIAL_NONE) {
		p->special = BH_SPECIAL_STATELESS;
	}
	reason = bh_ct_ask_open(skb, BH_DIR_INGRESS);
	if (reason != BH_REASON_DROP_CLOSED) {
		bh_ct_rule_stats(p, BH_DIR_INGRESS);
	}
	return reason;
}

__weak int bh_deliver_ip(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	reason = bh_parse_l3(skb);
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	bh_enter_group(p);
	if (p->w.frag == BH_FRAG_LATER) {
		reason = bh_frag_find(skb);
	} else {
		reason = bh_guard_classify(p);
	}
	if (reason != BH_REASON_PASS || p->special == BH_SPECIAL_FREE) {
		return reason;
	}
	if (p->special == BH_SPECIAL_DHCP_ANSWER) {
		reason = bh_deliver_stateless(skb, p);
		if (reason == BH_REASON_PASS && p->nic_flags & BH_NIC_LEARN_DHCP) {
			(void)(p->v6 ? bh_dhcp6_learn(skb) : bh_dhcp_learn(skb));
		}
		return reason;
	}
	if (p->special == BH_SPECIAL_ICMP_ERROR && !p->group) {
		return bh_ct_error(skb, BH_DIR_INGRESS);
	}
	if (p->group || p->special == BH_SPECIAL_STATELESS) {
		reason = bh_deliver_stateless(skb, p);
	} else {
		reason = bh_ct_track(skb, BH_DIR_INGRESS);
	}
	if (reason == BH_REASON_PASS && p->w.frag == BH_FRAG_FIRST) {
		bh_frag_learn(skb);
	}
	return reason;
}

static __always_inline int bh_deliver_frame(struct __sk_buff *skb, struct bh_pkt *p)
{
	struct bh_nic *n;
	int reason;

	if (!p->mark_kind) {
		if (p->bridge) {
			return BH_REASON_DROP_UNMARKED;
		}
		p->mark_kind = BH_MARK_HOST; /* routed: nobody but the host sends here */
	}
	n = bh_nic_get(p->nic);
	if (!n || !bh_enter_nic(p, n)) {
		return BH_REASON_DROP_CLOSED;
	}
	reason = bh_parse_l2(skb);
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	if (!(p->eth.h_dest[0] & 1) && !bh_mac_same(p->eth.h_dest, n->mac)) {
		return BH_REASON_DROP_NOT_MINE;
	}
	if (p->mark_kind == BH_MARK_JUDGED || p->mark_kind == BH_MARK_ANSWER ||
	    p->nic_flags & BH_NIC_OPEN) {
		return BH_REASON_PASS;
	}
	if (!bh_guard_vlan(p->nic, p->nic_flags, p->vlan, p->slot)) {
		return BH_REASON_DROP_VLAN;
	}
	if (p->ethertype == BH_ETH_ARP || p->ethertype == BH_ETH_RARP) {
		return bh_guard_arp_form(skb);
	}
	if (p->ethertype != BH_ETH_IP && p->ethertype != BH_ETH_IPV6) {
		return BH_REASON_DROP_ETHERTYPE;
	}
	return bh_deliver_ip(skb);
}

SEC("tc")
int bh_to_guest(struct __sk_buff *skb)
{
	int reason, verdict = bh_fast_judged(skb);
	struct bh_pkt *p;

	if (verdict == BH_FAST_LEFT) {
		verdict = bh_ticket_pass(skb, BH_DIR_INGRESS);
	}
	if (verdict == BH_FAST_LEFT) {
		verdict = bh_fast_to_guest(skb);
	}
	if (verdict != BH_FAST_LEFT) {
		return verdict;
	}
	p = bh_pkt_get();
	if (!p) {
		return TC_ACT_SHOT;
	}
	if (!bh_enter(skb, p)) {
		bh_stat_add(0, BH_REASON_DROP_CLOSED, skb->len);
		return TC_ACT_SHOT;
	}
	reason = bh_deliver_frame(skb, p);
	if (reason != BH_REASON_PASS) {
		return bh_leave_drop(skb, reason, BH_DIR_INGRESS);
	}
	skb->mark = 0;
	bh_pass_add(p->nic, false, p->len);
	return BH_PASS;
}

/* ---- the other ports ---- */
/* Marks what enters the bridge by a port that belongs to the host. */
static __always_inline int bh_mark_all(struct __sk_buff *skb, __u32 kind)
{
	struct bh_ctl *ctl = bh_ctl_get();

	skb->mark = ctl ? (ctl->mark_nonce & 0xffffff00) | kind : 0;
	return BH_PASS;
}

/* Lets out of the bridge what entered it by a port that is ours. */
static __always_inline int bh_unmark_all(struct __sk_buff *skb)
{
	struct bh_ctl *ctl = bh_ctl_get();
	__u32 nonce = ctl ? ctl->mark_nonce & 0xffffff00 : 0;

	if (!nonce || (skb->mark & 0xffffff00) != nonce || !(skb->mark & 0xff)) {
		bh_stat_add(0, BH_REASON_DROP_UNMARKED, skb->len);
		return TC_ACT_SHOT;
	}
	skb->mark = 0;
	return BH_PASS;
}

SEC("tc")
int bh_from_uplink(struct __sk_buff *skb)
{
	return bh_mark_all(skb, BH_MARK_UPLINK);
}

SEC("tc")
int bh_to_uplink(struct __sk_buff *skb)
{
	return bh_unmark_all(skb);
}

SEC("tc")
int bh_from_bridge(struct __sk_buff *skb)
{
	return bh_unmark_all(skb);
}

SEC("tc")
int bh_to_bridge(struct __sk_buff *skb)
{
	return bh_mark_all(skb, BH_MARK_HOST);
}

char _license[] SEC("license") = "Dual BSD/GPL";
