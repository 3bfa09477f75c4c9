/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Judges packets by connection: asks, opens, follows, judges anew; ICMP errors too.
 * Ownership The scratch of this CPU; entries as in ct.bpf.h.
 * Threads   As ct.bpf.h.
 *
 * An entry lives from the first allowed packet to its timeout. Each side that has a NIC on this
 * host is judged at that NIC's tap, or at the sender's when both are here, always for the
 * opening packet: a reply is allowed by what allowed the question. An entry of an older
 * generation is judged anew, with the same question, before its next packet passes.
 */
#ifndef BH_BPF_JUDGE_H
#define BH_BPF_JUDGE_H

#include "ct.bpf.h"
#include "policy.bpf.h"

/* ---- judging ---- */
/*
 * Asks the policy of `nic` in direction `dir` about the opening packet; `what` is dir | 2 when the
 * packet in the scratch is a reply, so that its addresses are the other way round. Returns a
 * reason.
 */
__weak int bh_ct_ask(struct __sk_buff *skb, __u32 nic, __u32 what)
{
	bool reply = what & 2, far_is_dst;
	struct bh_pkt *p = bh_pkt_get();
	struct bh_nic *n = bh_nic_get(nic);
	__u32 dir = what & 1, flags;
	struct bh_who who;

	if (!p || !n) {
		return BH_REASON_DROP_CLOSED;
	}
	p->rule = 0;
	p->action = BH_ACTION_DENY;
	p->row_flags = 0;
	p->judged_nic = nic;
	p->judged_dir = dir;
	p->ask_identity = n->slot[p->slot & 1].identity;
	flags = n->slot[p->slot & 1].flags;
	if (flags & BH_NIC_OPEN) {
		p->action = BH_ACTION_ALLOW;
		p->rules[dir] = 0;
		return BH_REASON_PASS;
	}
	if (!p->ask_identity) {
		return BH_REASON_DROP_CLOSED;
	}
	far_is_dst = (dir == BH_DIR_EGRESS) != reply;
	p->ask_addr = far_is_dst ? p->dst : p->src;
	who = bh_policy_who(p, &p->ask_addr);
	if (p->group && dir == BH_DIR_EGRESS) {
		who.identity = BH_IDENTITY_MULTICAST;
		who.tenant = 0;
	}
	p->ask_remote = who.identity;
	p->ask_tenant = who.tenant;
	p->ask_dir = dir;
	p->ask_proto = p->proto;
	p->ask_port = p->policy_port;
	if (far_is_dst) {
		p->dst_identity = who.identity;
		p->src_identity = p->ask_identity;
	} else {
		p->src_identity = who.identity;
		p->dst_identity = p->ask_identity;
	}
	bh_policy_ask(skb);
	p->rules[dir] = p->rule;
	return p->action == BH_ACTION_ALLOW    ? BH_REASON_PASS
	       : p->action == BH_ACTION_REJECT ? BH_REASON_DROP_REJECT
					       : BH_REASON_DROP_POLICY;
}

/* Judges the packet as an opening one at every tap that is known here: `dir` says whose program
 * runs. */
__weak int bh_ct_ask_open(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	__u8 row_flags;
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	p->rules[0] = p->rules[1] = 0;
	reason = bh_ct_ask(skb, p->nic, dir);
	if (reason == BH_REASON_PASS && p->peer) {
		row_flags = p->row_flags;
		reason = bh_ct_ask(skb, p->peer, BH_DIR_INGRESS);
		p->row_flags |= row_flags;
		p->judged_peer = 1;
	}
	return reason;
}

/* The rules that decided, once per connection. */
static __always_inline void bh_ct_rule_stats(const struct bh_pkt *p, __u32 dir)
{
	bh_rule_stat_add(p->rules[dir & 1], p->nic, dir, p->len);
	if (p->judged_peer) {
		bh_rule_stat_add(p->rules[BH_DIR_INGRESS], p->peer, BH_DIR_INGRESS, p->len);
	}
}

/* ---- opening ---- */
static __always_inline void bh_ct_fill(struct bh_ct *ct, const struct bh_pkt *p, __u32 dir)
{
	bool hi = p->side & 1; /* no index by it: the stack must be written at constant offsets */
	__u32 src_nic, dst_nic;

	ct->created_ns = ct->last_ns = p->now;
	ct->packets[0] = hi ? 0 : 1;
	ct->packets[1] = hi ? 1 : 0;
	ct->bytes[0] = hi ? 0 : p->len;
	ct->bytes[1] = hi ? p->len : 0;
	ct->gen = p->gen;
	ct->identity[0] = hi ? p->dst_identity : p->src_identity;
	ct->identity[1] = hi ? p->src_identity : p->dst_identity;
	ct->rule[0] = p->rules[0];
	ct->rule[1] = p->rules[1];
	ct->charged = p->nic;
	ct->policy_port = p->policy_port;
	ct->row_flags = p->row_flags;
	ct->flags = hi ? BH_CT_ORIG_HI : 0;
	if (dir == BH_DIR_EGRESS) {
		src_nic = p->nic;
		dst_nic = p->judged_peer ? p->peer : 0;
		ct->flags |= BH_CT_EGRESS_OK | (p->judged_peer ? BH_CT_INGRESS_OK : 0);
	} else {
		src_nic = 0;
		dst_nic = p->nic;
		ct->flags |= BH_CT_INGRESS_OK;
	}
	ct->nic[0] = hi ? dst_nic : src_nic;
	ct->nic[1] = hi ? src_nic : dst_nic;
	ct->own_until_ns[0] = dir == BH_DIR_EGRESS && !hi ? p->own_until_ns : 0;
	ct->own_until_ns[1] = dir == BH_DIR_EGRESS && hi ? p->own_until_ns : 0;
	ct->state = p->proto == BH_P_TCP && !p->opens ? BH_CT_ESTABLISHED : BH_CT_NEW;
	ct->timeout_s = bh_ct_timeout_of(p->proto, ct->state);
}

/* Makes the entry of a packet that was allowed, within the NIC's quota. */
__weak int bh_ct_insert(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_ctl *ctl = bh_ctl_get();
	struct bh_nic_state *state;
	struct bh_ct ct;
	long err;

	if (!p || !ctl) {
		return BH_REASON_DROP_INTERNAL;
	}
	state = bh_nic_state_get(p->nic);
	if (!state) {
		return BH_REASON_DROP_INTERNAL;
	}
	if (ctl->ct_per_nic && state->ct_count >= ctl->ct_per_nic) {
		return BH_REASON_DROP_CT_QUOTA;
	}
	__builtin_memset(&ct, 0, sizeof(ct));
	bh_ct_fill(&ct, p, dir);
	err = p->v6 ? bpf_map_update_elem(&bh_ct6, &p->key.v6, &ct, BPF_NOEXIST)
		    : bpf_map_update_elem(&bh_ct4, &p->key.v4, &ct, BPF_NOEXIST);
	if (err == -BH_EEXIST) {
		return BH_REASON_PASS; /* another CPU was first, with the same verdict */
	}
	if (err) {
		return BH_REASON_DROP_CT_FULL;
	}
	__sync_fetch_and_add(&state->ct_count, 1);
	bh_ct_arm(skb);
	bh_ct_note(skb);
	bh_stat_add(p->nic, BH_REASON_CT_NEW, p->len);
	bh_event_send(skb, BH_EVENT(BH_FLOW_NEW, BH_REASON_PASS, dir), p->nic);
	return BH_REASON_PASS;
}

/* A packet without an entry, or one that may open a connection of its own. `have`: an entry is in
 * the way. */
__weak int bh_ct_open(struct __sk_buff *skb, __u32 dir, __u32 have)
{
	struct bh_pkt *p = bh_pkt_get();
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	if (p->w.frag == BH_FRAG_LATER) {
		return BH_REASON_DROP_FRAGMENT;
	}
	if (p->proto == BH_P_TCP && !p->opens &&
	    (!(p->nic_flags & BH_NIC_PICKUP) || (p->tcp_flags & BH_TCP_RST))) {
		return p->nic_flags & BH_NIC_ARRIVING ? BH_REASON_DROP_ARRIVING
						      : BH_REASON_DROP_CT_INVALID;
	}
	reason = bh_ct_ask_open(skb, dir);
	if (reason != BH_REASON_DROP_CLOSED) {
		bh_ct_rule_stats(p, dir);
	}
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	if (have) {
		bh_ct_end(skb, BH_REASON_PASS);
	}
	return bh_ct_insert(skb, dir);
}

/* ---- following ---- */
static __always_inline bool bh_ct_is_over(const struct bh_ct *ct, const struct bh_pkt *p)
{
	if (p->now > ct->last_ns + bh_ct_timeout_ns(ct)) {
		return true; /* its timer is a little late */
	}
	return (p->proto == BH_P_TCP || p->proto == BH_P_SCTP) && p->opens &&
	       p->w.frag != BH_FRAG_LATER && !p->related &&
	       (ct->state == BH_CT_CLOSED || ct->state == BH_CT_FIN);
}

/* A packet that opens, coming from the side that was asked: allowed by no answer, so judged by
 * itself. */
static __always_inline bool bh_ct_is_counter(const struct bh_ct *ct, const struct bh_pkt *p,
					     bool reply)
{
	if (!reply || !p->opens || p->related || p->w.frag == BH_FRAG_LATER) {
		return false;
	}
	if (p->proto == BH_P_TCP || p->proto == BH_P_SCTP) {
		return ct->state == BH_CT_NEW;
	}
	return p->proto == BH_P_ICMP || p->proto == BH_P_ICMP6;
}

static __always_inline bool bh_ct_is_fed(const struct bh_pkt *p, __u32 nic)
{
	struct bh_nic *n = bh_nic_get(nic);
	__u32 slot = p->slot & 1;

	return n && (n->slot[slot].identity || n->slot[slot].flags);
}

/*
 * Judges what of an entry is not judged, or not in this generation. `dir` says whose program runs.
 * Returns a reason; what is refused ends the entry.
 */
__weak int bh_ct_rejudge(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 src, dst, opener, other, side, reply, ask = 0;
	bool stale, moved = false;
	int reason = BH_REASON_PASS;
	struct bh_ct *ct;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	ct = bh_ct_find(p);
	if (!ct) {
		return BH_REASON_DROP_CT_INVALID; /* it ended this moment */
	}
	side = ct->flags & BH_CT_ORIG_HI ? 1 : 0;
	reply = (p->side & 1) != side;
	stale = ct->gen != p->gen;
	src = dir == BH_DIR_EGRESS ? p->nic : ct->nic[p->side & 1];
	dst = dir == BH_DIR_EGRESS ? p->peer : p->nic;
	if (!dst) {
		dst = ct->nic[!(p->side & 1)];
	}
	/* The far side may have left this host since; then its own host judges it. */
	src = src == p->nic || bh_ct_is_fed(p, src) ? src : 0;
	dst = dst == p->nic || bh_ct_is_fed(p, dst) ? dst : 0;
	opener = reply ? dst : src;
	other = reply ? src : dst;
	if (opener && (stale || !(ct->flags & BH_CT_EGRESS_OK) || ct->nic[side] != opener)) {
		ask |= 1;
	}
	if (other && (stale || !(ct->flags & BH_CT_INGRESS_OK) || ct->nic[!side] != other)) {
		ask |= 2;
	}
	p->policy_port = ct->policy_port;
	p->rules[0] = ct->rule[0];
	p->rules[1] = ct->rule[1];
	if (ask & 1) {
		reason = bh_ct_ask(skb, opener, BH_DIR_EGRESS | reply << 1);
	}
	if (reason == BH_REASON_PASS && ask & 2) {
		reason = bh_ct_ask(skb, other, BH_DIR_INGRESS | reply << 1);
	}
	if (stale) {
		bh_stat_add(p->nic, BH_REASON_REJUDGED, 0);
	}
	if (reason != BH_REASON_PASS) {
		bh_rule_stat_add(p->rules[p->judged_dir & 1], p->judged_nic, p->judged_dir, p->len);
		bh_ct_end(skb, reason);
		return reason;
	}
	if (ask & 1) {
		moved = ct->nic[side] != opener;
		ct->nic[side] = opener;
		ct->rule[BH_DIR_EGRESS] = p->rules[BH_DIR_EGRESS];
		ct->flags |= BH_CT_EGRESS_OK;
	}
	if (ask & 2) {
		moved |= ct->nic[!side] != other;
		ct->nic[!side] = other;
		ct->rule[BH_DIR_INGRESS] = p->rules[BH_DIR_INGRESS];
		ct->flags |= BH_CT_INGRESS_OK;
	}
	ct->gen = p->gen;
	bh_ct_changed(skb);
	if (moved) {
		bh_ct_note(skb);
	}
	return BH_REASON_PASS;
}

/* Is everything that this tap must know judged in this generation? */
static __always_inline bool bh_ct_is_judged(const struct bh_ct *ct, const struct bh_pkt *p,
					    __u32 dir)
{
	__u32 from = p->side & 1, orig = ct->flags & BH_CT_ORIG_HI ? 1 : 0;
	__u32 mine = dir == BH_DIR_EGRESS ? from : !from;
	__u8 need = mine == orig ? BH_CT_EGRESS_OK : BH_CT_INGRESS_OK;

	if (ct->gen != p->gen || ct->nic[mine] != p->nic) {
		return false;
	}
	if (dir == BH_DIR_EGRESS && p->peer) {
		if (ct->nic[!mine] != p->peer) {
			return false;
		}
		need = BH_CT_EGRESS_OK | BH_CT_INGRESS_OK;
	}
	return (ct->flags & need) == need;
}

/* Unicast that belongs to a connection or opens one. `dir` says whose program runs. Returns a
 * reason. */
__weak int bh_ct_track(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_ct *ct;
	bool reply;
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	bh_ct_key_make(p);
	ct = bh_ct_find(p);
	if (ct && bh_ct_is_over(ct, p)) {
		bh_ct_end(skb, BH_REASON_CT_EXPIRED);
		ct = 0;
	}
	if (!ct) {
		return p->related ? BH_REASON_DROP_ICMP_UNRELATED : bh_ct_open(skb, dir, 0);
	}
	reply = (p->side & 1) != (ct->flags & BH_CT_ORIG_HI ? 1 : 0);
	if (bh_ct_is_counter(ct, p, reply)) {
		if (p->proto == BH_P_TCP || p->proto == BH_P_SCTP) {
			return bh_ct_open(skb, dir, 1);
		}
		reason = bh_ct_ask_open(skb, dir);
		bh_ct_rule_stats(p, dir);
		return reason;
	}
	if (!bh_ct_is_judged(ct, p, dir)) {
		reason = bh_ct_rejudge(skb, dir);
		if (reason != BH_REASON_PASS) {
			return reason;
		}
	}
	if (p->peer && dir == BH_DIR_EGRESS) {
		p->judged_peer = 1;
	}
	if (dir == BH_DIR_EGRESS && !p->related &&
	    ct->own_until_ns[p->side & 1] != p->own_until_ns) {
		ct->own_until_ns[p->side & 1] = p->own_until_ns;
		bh_ct_changed(skb);
	}
	if (!p->related && bh_ct_follow(ct, p, reply)) {
		bh_ct_changed(skb);
		bh_ct_arm(skb);
		bh_ct_note(skb);
	}
	return BH_REASON_PASS;
}

/* ---- ICMP errors ---- */
/*
 * The quoted packet's connection takes the place of the error's own addresses in the scratch, the
 * other way round: an error about A -> B is let through where an answer B -> A would be.
 */
__weak int bh_ct_quote(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	union bh_ip src, dst, outer_dst;
	struct iphdr ip4;
	struct ipv6hdr ip6;
	__u8 h[8];

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	outer_dst = p->dst;
	if (p->v6) {
		if (p->l4 + 8 + sizeof(ip6) > p->w.end ||
		    bpf_skb_load_bytes(skb, p->l4 + 8, &ip6, sizeof(ip6)) || ip6.version != 6) {
			return BH_REASON_DROP_ICMP_UNRELATED;
		}
		__builtin_memcpy(src.b, &ip6.saddr, 16);
		__builtin_memcpy(dst.b, &ip6.daddr, 16);
		p->w.off = p->l4 + 8 + sizeof(ip6);
		p->w.proto = ip6.nexthdr;
		p->w.frag = BH_FRAG_NONE;
		p->w.frag_seen = 0;
		if (bh_parse_ext(skb) != BH_REASON_PASS) {
			return BH_REASON_DROP_ICMP_UNRELATED;
		}
	} else {
		if (p->l4 + 8 + sizeof(ip4) > p->w.end ||
		    bpf_skb_load_bytes(skb, p->l4 + 8, &ip4, sizeof(ip4)) || ip4.version != 4 ||
		    ip4.ihl < 5) {
			return BH_REASON_DROP_ICMP_UNRELATED;
		}
		bh_ip_from4(&src, ip4.saddr);
		bh_ip_from4(&dst, ip4.daddr);
		p->w.off = p->l4 + 8 + ip4.ihl * 4;
		p->w.proto = ip4.protocol;
		p->w.frag = ip4.frag_off & bpf_htons(0x1fff) ? BH_FRAG_LATER : BH_FRAG_NONE;
	}
	if (p->w.frag == BH_FRAG_LATER || p->w.off + sizeof(h) > p->w.end ||
	    bpf_skb_load_bytes(skb, p->w.off, h, sizeof(h)) || !bh_ip_same(&src, &outer_dst)) {
		return BH_REASON_DROP_ICMP_UNRELATED;
	}
	p->src = dst;
	p->dst = src;
	p->proto = p->w.proto;
	p->sport = p->dport = 0;
	if (p->proto == BH_P_TCP || p->proto == BH_P_UDP || p->proto == BH_P_SCTP) {
		p->sport = *(__u16 *)(h + 2);
		p->dport = *(__u16 *)h;
	} else if (p->proto == (p->v6 ? BH_P_ICMP6 : BH_P_ICMP)) {
		if (p->v6 ? (h[0] != 128 && h[0] != 129) : (h[0] != 8 && h[0] != 0)) {
			return BH_REASON_DROP_ICMP_UNRELATED;
		}
		p->sport = p->dport = *(__u16 *)(h + 4);
	}
	return BH_REASON_PASS;
}

/* An ICMP error at a tap. */
static __always_inline int bh_ct_error(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	union bh_ip src, dst;
	__u32 sender, nic;
	struct bh_ct *ct;
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	src = p->src;
	dst = p->dst;
	p->related = 1;
	reason = bh_ct_quote(skb);
	if (reason == BH_REASON_PASS) {
		bh_ct_key_make(p);
		ct = bh_ct_find(p);
		sender = p->side & 1;
		nic = ct ? ct->nic[dir == BH_DIR_EGRESS ? sender : !sender] : 0;
		p->opens = 0;
		p->peer = 0;
		if (!ct) {
			reason = BH_REASON_DROP_ICMP_UNRELATED;
		} else if (nic == p->nic) {
			reason = bh_ct_track(skb, dir);
		} else if (dir != BH_DIR_EGRESS || !(p->nic_flags & BH_NIC_ANY_SOURCE) ||
			   ct->gen != p->gen) {
			/* A router on the way may report, as long as nothing is to be judged. */
			reason = BH_REASON_DROP_ICMP_UNRELATED;
		}
	}
	if (reason != BH_REASON_PASS) {
		p->src = src;
		p->dst = dst;
	}
	return reason;
}

#endif
