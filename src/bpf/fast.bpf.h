/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   The short way for a packet of a connection that is judged already. It proves that the
 *           long way would let the packet pass and change no state, or leaves it to that. What it
 *           proves it grants a ticket for (ticket.bpf.h), so that it is not asked for each packet.
 * Ownership None. Does not use the scratch.
 * Threads   As ct.bpf.h.
 *
 * The proof for a sender: frame without tags, options, extension headers or fragments, lengths
 * honest, UDP or TCP with nothing but data and acknowledgement; MAC is the NIC's; there is an
 * entry that this generation judged for every NIC of this host that has part in it. That it is
 * bound to this NIC means that the source address was found to be the NIC's in this generation,
 * and own_until_ns for how long.
 */
#ifndef BH_BPF_FAST_H
#define BH_BPF_FAST_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "ct.bpf.h"
#include "ticket.bpf.h"

struct bh_fast4 {
	struct iphdr ip;
	__u8 l4[20];
} __attribute__((aligned(8)));

struct bh_fast6 {
	struct ipv6hdr ip;
	__u8 l4[20];
} __attribute__((aligned(8)));

/* Copies the headers: from where they lie when they are linear, else by the helper. */
static __always_inline bool bh_fast_load(struct __sk_buff *skb, void *ip, __u32 size, void *l4)
{
	const __u8 *data = (const void *)(long)skb->data + sizeof(struct ethhdr);
	__u32 *to = ip, *to4 = l4;

	if (data + size + 20 <= (const __u8 *)(long)skb->data_end) {
		for (__u32 i = 0; i < size / 4; i++) {
			to[i] = *(const __u32 *)(data + i * 4);
		}
		for (__u32 i = 0; i < 5; i++) {
			to4[i] = *(const __u32 *)(data + size + i * 4);
		}
		return true;
	}
	if (skb->len >= sizeof(struct ethhdr) + size + 20) {
		return !bpf_skb_load_bytes(skb, sizeof(struct ethhdr), ip, size + 20);
	}
	__builtin_memset(l4, 0, 20);
	return !bpf_skb_load_bytes(skb, sizeof(struct ethhdr), ip, size + 8);
}

/* Is this transport header one that changes no state? `have` is what the IP packet holds of it. */
static __always_inline bool bh_fast_l4(const __u8 *l4, __u8 proto, __u32 have)
{
	__u16 size, dport = *(const __u16 *)(l4 + 2), head;

	if (proto == BH_P_UDP) {
		size = bpf_ntohs(*(const __u16 *)(l4 + 4));
		return have >= 8 && size >= 8 && size <= have && dport != bpf_htons(67) &&
		       dport != bpf_htons(68) && dport != bpf_htons(546) && dport != bpf_htons(547);
	}
	head = (l4[12] >> 4) * 4;
	return have >= 20 && head >= 20 && head <= have &&
	       (l4[13] & (BH_TCP_SYN | BH_TCP_FIN | BH_TCP_RST | BH_TCP_ACK)) == BH_TCP_ACK;
}

/* What the short way knows of a packet. */
struct bh_fast {
	struct bh_ct *ct;
	__u32 side; /* of the sender */
	__u8 proto;
	bool v4;
	struct bh_ct4_key key; /* when v4 */
};

static __always_inline bool bh_fast_find4(struct __sk_buff *skb, __u32 net, struct bh_fast *fast)
{
	struct bh_ct4_key *key = &fast->key;
	struct bh_fast4 f;
	__u32 total, len = skb->len;
	__u16 sport, dport;
	bool lo;

	if (!bh_fast_load(skb, &f.ip, sizeof(f.ip), f.l4)) {
		return false;
	}
	total = bpf_ntohs(f.ip.tot_len);
	if (*(__u8 *)&f.ip != 0x45 || f.ip.frag_off & bpf_htons(0x3fff) || total < 28 ||
	    total + 14 > len || (f.ip.protocol != BH_P_TCP && f.ip.protocol != BH_P_UDP) ||
	    !bh_fast_l4(f.l4, f.ip.protocol, total - 20)) {
		return false;
	}
	sport = *(__u16 *)f.l4;
	dport = *(__u16 *)(f.l4 + 2);
	lo = f.ip.saddr != f.ip.daddr ? bpf_ntohl(f.ip.saddr) < bpf_ntohl(f.ip.daddr)
				      : bpf_ntohs(sport) <= bpf_ntohs(dport);
	key->net = net;
	key->lo = lo ? f.ip.saddr : f.ip.daddr;
	key->hi = lo ? f.ip.daddr : f.ip.saddr;
	key->lo_port = lo ? sport : dport;
	key->hi_port = lo ? dport : sport;
	key->proto = f.ip.protocol;
	fast->proto = f.ip.protocol;
	fast->side = !lo;
	fast->v4 = true;
	fast->ct = bpf_map_lookup_elem(&bh_ct4, key);
	return fast->ct;
}

static __always_inline bool bh_fast_find6(struct __sk_buff *skb, __u32 net, struct bh_fast *fast)
{
	struct bh_ct6_key key = {.net = net};
	const union bh_ip *src, *dst;
	struct bh_fast6 f;
	__u32 have, len = skb->len;
	__u16 sport, dport;
	__u64 a, b;
	bool lo;

	if (!bh_fast_load(skb, &f.ip, sizeof(f.ip), f.l4)) {
		return false;
	}
	have = bpf_ntohs(f.ip.payload_len);
	if (*(__u8 *)&f.ip >> 4 != 6 || have < 8 || have + 14 + 40 > len ||
	    (f.ip.nexthdr != BH_P_TCP && f.ip.nexthdr != BH_P_UDP) ||
	    !bh_fast_l4(f.l4, f.ip.nexthdr, have)) {
		return false;
	}
	sport = *(__u16 *)f.l4;
	dport = *(__u16 *)(f.l4 + 2);
	src = (const union bh_ip *)&f.ip.saddr;
	dst = (const union bh_ip *)&f.ip.daddr;
	a = bpf_be64_to_cpu(src->d[0] != dst->d[0] ? src->d[0] : src->d[1]);
	b = bpf_be64_to_cpu(src->d[0] != dst->d[0] ? dst->d[0] : dst->d[1]);
	lo = a != b ? a < b : bpf_ntohs(sport) <= bpf_ntohs(dport);
	if (lo) {
		__builtin_memcpy(key.lo, src, 16);
		__builtin_memcpy(key.hi, dst, 16);
	} else {
		__builtin_memcpy(key.lo, dst, 16);
		__builtin_memcpy(key.hi, src, 16);
	}
	key.lo_port = lo ? sport : dport;
	key.hi_port = lo ? dport : sport;
	key.proto = f.ip.nexthdr;
	fast->proto = f.ip.nexthdr;
	fast->side = !lo;
	fast->ct = bpf_map_lookup_elem(&bh_ct6, &key);
	return fast->ct;
}

/* Would this packet leave the entry's state as it is? */
static __always_inline bool bh_fast_is_steady(const struct bh_ct *ct, const struct bh_fast *fast,
					      __u32 gen, __u64 now)
{
	bool reply = fast->side != (ct->flags & BH_CT_ORIG_HI ? 1 : 0);

	if (ct->gen != gen || !(ct->flags & BH_CT_TIMER) ||
	    now > ct->last_ns + bh_ct_timeout_ns(ct)) {
		return false;
	}
	if (fast->proto == BH_P_TCP) {
		return ct->state == BH_CT_ESTABLISHED;
	}
	return !reply || (ct->state == BH_CT_ESTABLISHED && ct->flags & BH_CT_SEEN_REPLY);
}

static __always_inline void bh_fast_count(struct bh_ct *ct, __u32 side, __u32 len, __u64 now)
{
	ct->last_ns = now;
	if (side) {
		__sync_fetch_and_add(&ct->packets[1], 1);
		__sync_fetch_and_add(&ct->bytes[1], len);
	} else {
		__sync_fetch_and_add(&ct->packets[0], 1);
		__sync_fetch_and_add(&ct->bytes[0], len);
	}
}

/* The frame's Ethernet header, when it is IP without a tag in front. */
static __always_inline __u16 bh_fast_eth(struct __sk_buff *skb, __u8 *smac, __u8 *dmac)
{
	const struct ethhdr *eth = (const void *)(long)skb->data;

	if ((const void *)(eth + 1) > (const void *)(long)skb->data_end || skb->vlan_present) {
		return 0;
	}
	__builtin_memcpy(dmac, eth->h_dest, 6);
	__builtin_memcpy(smac, eth->h_source, 6);
	return bpf_ntohs(eth->h_proto);
}

struct bh_fast_at {
	__u64 now;
	struct bh_nic *n;
	__u32 gen, slot, nonce, nic, ctl_flags, ctl_nonce;
};

/* Finds the NIC of the device by the hint that the long way left. False when it is not open. */
static __always_inline bool bh_fast_enter(struct __sk_buff *skb, struct bh_fast_at *at)
{
	__u32 ifindex = skb->ifindex, slot = ifindex & (BH_PORT_HINTS - 1);
	struct bh_ctl *ctl = bh_ctl_get();
	__u32 *hint = bpf_map_lookup_elem(&bh_port_hints, &slot);

	if (!ctl || !hint || !*hint) {
		return false;
	}
	at->nic = *hint;
	at->gen = *(volatile __u32 *)&ctl->gen;
	at->slot = at->gen & 1;
	at->ctl_nonce = ctl->mark_nonce;
	at->nonce = at->ctl_nonce & 0xffffff00;
	at->ctl_flags = ctl->flags;
	at->n = bh_nic_get(at->nic);
	return at->nonce && at->n && at->n->ifindex == ifindex && at->n->slot[at->slot].identity;
}

/* The entry of the packet, or none. */
static __always_inline bool bh_fast_find(struct __sk_buff *skb, struct bh_fast_at *at, __u16 type,
					 struct bh_fast *fast)
{
	__u32 net = at->n->slot[at->slot & 1].net;

	if (!(type == BH_ETH_IP ? bh_fast_find4(skb, net, fast) : bh_fast_find6(skb, net, fast)) ||
	    !fast->ct) {
		return false;
	}
	at->now = bpf_ktime_get_coarse_ns();
	return true;
}

/* Which of the two judgements does this side's tap rest on? */
static __always_inline __u8 bh_fast_need(const struct bh_ct *ct, __u32 side)
{
	return side == (ct->flags & BH_CT_ORIG_HI ? 1 : 0) ? BH_CT_EGRESS_OK : BH_CT_INGRESS_OK;
}

/* May this NIC send the packet? Sets the NIC that it is for, 0 when that is not on this host. */
static __always_inline bool bh_fast_may_send(const struct bh_fast_at *at,
					     const struct bh_fast *fast, const struct bh_ct *ct,
					     __u32 *ret_far)
{
	__u32 side = fast->side & 1;
	__u8 need;

	*ret_far = ct->nic[!side];
	need = *ret_far ? BH_CT_EGRESS_OK | BH_CT_INGRESS_OK : bh_fast_need(ct, side);
	return bh_fast_is_steady(ct, fast, at->gen, at->now) && ct->nic[side] == at->nic &&
	       ct->own_until_ns[side] > at->now && (ct->flags & need) == need;
}

/* May this NIC receive it? */
static __always_inline bool bh_fast_may_receive(const struct bh_fast_at *at,
						const struct bh_fast *fast, const struct bh_ct *ct)
{
	__u32 mine = !(fast->side & 1);
	__u8 need = bh_fast_need(ct, mine);

	return bh_fast_is_steady(ct, fast, at->gen, at->now) && ct->nic[mine] == at->nic &&
	       (ct->flags & need) == need;
}

/* What is the same in both directions of a ticket for what was just proven. */
static __always_inline void bh_fast_ticket_fill(struct bh_ticket *want, const struct bh_fast_at *at,
						const struct bh_fast *fast)
{
	const struct bh_ct4_key *key = &fast->key;
	bool hi = fast->side & 1;

	want->src = hi ? key->hi : key->lo;
	want->dst = hi ? key->lo : key->hi;
	want->sport = hi ? key->hi_port : key->lo_port;
	want->dport = hi ? key->lo_port : key->hi_port;
	want->proto = key->proto;
	want->net = key->net;
	want->gen = at->gen;
	want->mark_nonce = at->ctl_nonce;
	want->ctl_flags = at->ctl_flags;
	want->nic = at->nic;
	want->nic_dev = bh_ticket_dev(at->n);
	want->nic_slot = bh_ticket_nic_slot(at->n, at->gen);
	want->since = bpf_jiffies64();
	want->since_ns = at->now;
}

/* Grants a ticket for what this NIC may send. */
static __always_inline void bh_fast_ticket_send(struct __sk_buff *skb, const struct bh_fast_at *at,
						const struct bh_fast *fast, bool handed,
						const struct bh_nic *peer)
{
	struct bh_ticket want = {.tap = skb->ifindex << 1 | BH_DIR_EGRESS, .mark = skb->mark};
	struct bh_ticket *l;
	struct bh_ct *ct;
	__u32 far;

	if (!fast->v4 || fast->ct->own_until_ns[fast->side & 1] - at->now < BH_TICKET_MAX_NS) {
		return;
	}
	bh_fast_ticket_fill(&want, at, fast);
	want.peer = fast->ct->nic[!(fast->side & 1)];
	if (peer) {
		want.peer_dev = bh_ticket_dev(peer);
		want.to = handed ? peer->ifindex : 0;
		want.peer_slot = bh_ticket_nic_slot(peer, at->gen);
	}
	l = bh_ticket_claim(&want);
	if (!l) {
		return;
	}
	bh_ticket_publish(l, &want);
	ct = bpf_map_lookup_elem(&bh_ct4, &fast->key);
	if (!ct || !bh_fast_may_send(at, fast, ct, &far) || far != want.peer) {
		(void)bh_ticket_take(&l->until);
	}
}

/* Grants a ticket for what this NIC may receive with this mark. */
static __always_inline void bh_fast_ticket_receive(struct __sk_buff *skb,
						   const struct bh_fast_at *at,
						   const struct bh_fast *fast)
{
	struct bh_ticket want = {.tap = skb->ifindex << 1 | BH_DIR_INGRESS, .mark = skb->mark};
	struct bh_ticket *l;
	struct bh_ct *ct;

	if (!fast->v4) {
		return;
	}
	bh_fast_ticket_fill(&want, at, fast);
	l = bh_ticket_claim(&want);
	if (!l) {
		return;
	}
	bh_ticket_publish(l, &want);
	ct = bpf_map_lookup_elem(&bh_ct4, &fast->key);
	if (!ct || !bh_fast_may_receive(at, fast, ct)) {
		(void)bh_ticket_take(&l->until);
	}
}

/* Sends the frame on to a NIC of this host, past the bridge when both may. */
static __always_inline int bh_fast_forward(struct __sk_buff *skb, const struct bh_fast_at *at,
					   const struct bh_fast *fast, const struct bh_nic *peer,
					   __u32 peer_nic)
{
	__u32 both = at->n->slot[at->slot & 1].flags & peer->slot[at->slot & 1].flags;
	struct bh_nic_state *state = bh_nic_state_get(at->nic);
	bool hand = state && at->ctl_flags & BH_CTL_FASTPATH && both & BH_NIC_FASTPATH &&
		    peer->bridge == at->n->bridge;

	skb->mark = at->nonce | BH_MARK_JUDGED;
	if (hand && (!state->bridge_refresh_ns ||
		     at->now - state->bridge_refresh_ns >= BH_BRIDGE_WARM_NS)) {
		state->bridge_refresh_ns = at->now;
		bh_pass_add(at->nic, false, skb->len);
		return TC_ACT_UNSPEC;
	}
	if (hand) {
		skb->mark = at->nonce | BH_MARK_HANDED;
	}
	bh_fast_ticket_send(skb, at, fast, hand, peer);
	bh_pass_add(at->nic, hand, skb->len);
	if (!hand) {
		return TC_ACT_UNSPEC;
	}
	bh_pass_add(peer_nic, false, skb->len);
	return bpf_redirect(peer->ifindex, 0);
}

/* The short way from a guest. Returns what the program returns, or BH_FAST_LEFT. */
__weak int bh_fast_from_guest(struct __sk_buff *skb)
{
	__u8 smac[8], dmac[8];
	__u16 type = bh_fast_eth(skb, smac, dmac);
	struct bh_fast fast = {};
	struct bh_fast_at at = {};
	struct bh_nic *peer;
	__u32 far;

	if ((type != BH_ETH_IP && type != BH_ETH_IPV6) || dmac[0] & 1 || !bh_fast_enter(skb, &at) ||
	    skb->mark == (at.nonce | BH_MARK_ANSWER) ||
	    at.n->slot[at.slot & 1].flags & BH_NIC_OPEN || !bh_mac_same(smac, at.n->mac) ||
	    !bh_fast_find(skb, &at, type, &fast) || !bh_fast_may_send(&at, &fast, fast.ct, &far)) {
		return BH_FAST_LEFT;
	}
	if (far) {
		peer = bh_nic_get(far);
		if (!peer || !at.n->bridge || !peer->slot[at.slot & 1].identity ||
		    !bh_mac_same(dmac, peer->mac)) {
			return BH_FAST_LEFT;
		}
		bh_fast_count(fast.ct, fast.side & 1, skb->len, at.now);
		return bh_fast_forward(skb, &at, &fast, peer, far);
	}
	bh_fast_count(fast.ct, fast.side & 1, skb->len, at.now);
	/* No mark into the host's routing: there it would mean something else. */
	skb->mark = at.n->bridge ? at.nonce | BH_MARK_NIC : 0;
	bh_fast_ticket_send(skb, &at, &fast, false, 0);
	bh_pass_add(at.nic, false, skb->len);
	return TC_ACT_UNSPEC;
}

/* The short way to a guest, for what was not judged for it by the sender's tap. Returns what the
 * program returns, or BH_FAST_LEFT. */
__weak int bh_fast_to_guest(struct __sk_buff *skb)
{
	__u8 smac[8], dmac[8];
	__u16 type = bh_fast_eth(skb, smac, dmac);
	struct bh_fast fast = {};
	struct bh_fast_at at = {};
	__u32 kind;

	if ((type != BH_ETH_IP && type != BH_ETH_IPV6) || !bh_fast_enter(skb, &at) ||
	    !bh_mac_same(dmac, at.n->mac)) {
		return BH_FAST_LEFT;
	}
	kind = (skb->mark & 0xffffff00) == at.nonce ? skb->mark & 0xff : 0;
	if ((!kind && at.n->bridge) || !bh_fast_find(skb, &at, type, &fast) ||
	    !bh_fast_may_receive(&at, &fast, fast.ct)) {
		return BH_FAST_LEFT;
	}
	bh_fast_count(fast.ct, fast.side & 1, skb->len, at.now);
	bh_fast_ticket_receive(skb, &at, &fast);
	skb->mark = 0;
	bh_pass_add(at.nic, false, skb->len);
	return TC_ACT_UNSPEC;
}

/*
 * The shortest way to a guest: what a sender's tap of this host judged for this side too. One that
 * was handed over was meant for this very device; one that came by the bridge is for this NIC if
 * its MAC says so.
 */
static __always_inline int bh_fast_judged(struct __sk_buff *skb)
{
	__u32 slot = skb->ifindex & (BH_PORT_HINTS - 1), nic;
	const __u8 *d = (const void *)(long)skb->data;
	struct bh_ctl *ctl = bh_ctl_get();
	__u32 *hint, known, gen;
	struct bh_nic *n;

	if (!ctl || !(ctl->mark_nonce & 0xffffff00)) {
		return BH_FAST_LEFT;
	}
	known = skb->mark ^ (ctl->mark_nonce & 0xffffff00);
	if (known == BH_MARK_HANDED) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	hint = bpf_map_lookup_elem(&bh_port_hints, &slot);
	if (known != BH_MARK_JUDGED || !hint ||
	    (const void *)(d + sizeof(struct ethhdr)) > (const void *)(long)skb->data_end) {
		return BH_FAST_LEFT;
	}
	nic = *hint;
	n = bpf_map_lookup_elem(&bh_nics, &nic);
	gen = *(volatile __u32 *)&ctl->gen;
	if (!n || n->ifindex != skb->ifindex || !n->slot[gen & 1].identity ||
	    bh_ticket_mac_differs(n->mac, d)) {
		return BH_FAST_LEFT;
	}
	skb->mark = 0;
	bh_pass_add(nic, false, skb->len);
	return TC_ACT_UNSPEC;
}

#endif
