/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Connections: keys, states, timers. Who judges them is judge.bpf.h.
 * Ownership An entry is charged to one NIC's quota and belongs to its own timer, which removes
 *           it also when nobody is left in user space.
 * Threads   Entries are shared by all CPUs. Counters are atomic; the rest are single words whose
 *           racing writers write what is true for one of two packets that arrived together.
 */
#ifndef BH_BPF_CT_H
#define BH_BPF_CT_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "events.bpf.h"
#include "ticket.bpf.h"
#include "journal.bpf.h"

#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif
#define BH_EEXIST 17

/* ---- keys ---- */
/* Does (src, sport) come before (dst, dport), as bytes? */
static __always_inline bool bh_ct_src_is_lo(const struct bh_pkt *p)
{
	__u64 a, b;

	if (p->v6 && p->src.d[0] != p->dst.d[0]) {
		a = bpf_be64_to_cpu(p->src.d[0]);
		b = bpf_be64_to_cpu(p->dst.d[0]);
	} else {
		a = bpf_be64_to_cpu(p->src.d[1]);
		b = bpf_be64_to_cpu(p->dst.d[1]);
	}
	return a != b ? a < b : bpf_ntohs(p->sport) <= bpf_ntohs(p->dport);
}

static __always_inline void bh_ct_key_make(struct bh_pkt *p)
{
	bool lo = bh_ct_src_is_lo(p);

	p->side = !lo;
	__builtin_memset(&p->key, 0, sizeof(p->key));
	if (p->v6) {
		struct bh_ct6_key *k = &p->key.v6;

		k->net = p->net;
		k->vlan = p->vlan;
		__builtin_memcpy(k->lo, lo ? p->src.b : p->dst.b, 16);
		__builtin_memcpy(k->hi, lo ? p->dst.b : p->src.b, 16);
		k->lo_port = lo ? p->sport : p->dport;
		k->hi_port = lo ? p->dport : p->sport;
		k->proto = p->proto;
	} else {
		struct bh_ct4_key *k = &p->key.v4;

		k->net = p->net;
		k->vlan = p->vlan;
		k->lo = lo ? p->src.w[3] : p->dst.w[3];
		k->hi = lo ? p->dst.w[3] : p->src.w[3];
		k->lo_port = lo ? p->sport : p->dport;
		k->hi_port = lo ? p->dport : p->sport;
		k->proto = p->proto;
	}
}

static __always_inline struct bh_ct *bh_ct_find(struct bh_pkt *p)
{
	return p->v6 ? bpf_map_lookup_elem(&bh_ct6, &p->key.v6)
		     : bpf_map_lookup_elem(&bh_ct4, &p->key.v4);
}

/* ---- end ---- */
static __always_inline __u64 bh_ct_timeout_ns(const struct bh_ct *ct)
{
	return (__u64)ct->timeout_s * BH_SECOND_NS;
}

static __always_inline void bh_ct_uncharge(__u32 nic)
{
	struct bh_nic_state *state = bh_nic_state_get(nic);

	if (state && state->ct_count) {
		__sync_fetch_and_add(&state->ct_count, -1);
	}
}

/* What the record of a closed connection has besides its addresses. */
static __always_inline void bh_ct_event_fill(struct bh_flow_event *e, const struct bh_ct *ct,
					     __u64 now)
{
	__u32 opener = ct->flags & BH_CT_ORIG_HI ? 1 : 0;

	bh_event_init(e, now);
	e->type = BH_FLOW_CLOSED;
	e->action = BH_ACTION_ALLOW;
	e->packets[0] = ct->packets[opener];
	e->packets[1] = ct->packets[!opener];
	e->bytes[0] = ct->bytes[opener];
	e->bytes[1] = ct->bytes[!opener];
	e->duration_ns = ct->last_ns - ct->created_ns;
	e->gen = ct->gen;
	e->dir = ct->nic[opener] ? BH_DIR_EGRESS : BH_DIR_INGRESS;
	e->nic = ct->nic[opener] ? ct->nic[opener] : ct->nic[!opener];
	e->peer_nic = ct->nic[opener] ? ct->nic[!opener] : 0;
	e->src_identity = ct->identity[opener];
	e->dst_identity = ct->identity[!opener];
	e->rule = ct->rule[e->dir];
	e->other_rule = ct->rule[!e->dir];
	e->tcp_state = ct->state;
}

static __always_inline void bh_ct_name4(struct bh_ct_name *name, const struct bh_ct4_key *key)
{
	bh_ip_from4(&name->lo, key->lo);
	bh_ip_from4(&name->hi, key->hi);
	name->net = key->net;
	name->vlan = key->vlan;
	name->lo_port = key->lo_port;
	name->hi_port = key->hi_port;
	name->ethertype = BH_ETH_IP;
	name->proto = key->proto;
}

static __always_inline void bh_ct_name6(struct bh_ct_name *name, const struct bh_ct6_key *key)
{
	__builtin_memcpy(&name->lo, key->lo, 16);
	__builtin_memcpy(&name->hi, key->hi, 16);
	name->net = key->net;
	name->vlan = key->vlan;
	name->lo_port = key->lo_port;
	name->hi_port = key->hi_port;
	name->ethertype = BH_ETH_IPV6;
	name->proto = key->proto;
}

/* Reports a connection that ends. */
static __always_inline void bh_ct_closed(const struct bh_ct_name *name, const struct bh_ct *ct,
					 __u64 now, __u8 reason)
{
	struct bh_flow_event *e = bpf_ringbuf_reserve(&bh_events, sizeof(*e), 0);
	bool hi = ct->flags & BH_CT_ORIG_HI;

	if (!e) {
		bh_stat_add(ct->charged, BH_REASON_EVENT_LOST, 0);
		return;
	}
	bh_ct_event_fill(e, ct, now);
	e->reason = reason;
	e->net = name->net;
	e->vlan = name->vlan;
	e->proto = name->proto;
	e->ethertype = name->ethertype;
	if (hi) {
		__builtin_memcpy(e->src, &name->hi, 16);
		__builtin_memcpy(e->dst, &name->lo, 16);
	} else {
		__builtin_memcpy(e->src, &name->lo, 16);
		__builtin_memcpy(e->dst, &name->hi, 16);
	}
	e->sport = hi ? name->hi_port : name->lo_port;
	e->dport = hi ? name->lo_port : name->hi_port;
	if (e->proto == BH_P_ICMP || e->proto == BH_P_ICMP6) {
		e->sport = bpf_htons(ct->policy_port);
		e->dport = 0;
	}
	bpf_ringbuf_submit(e, 0);
}

/* Sets the timer again when the connection is not over yet. Returns whether it did. */
static __always_inline bool bh_ct_is_due_later(struct bh_ct *ct, __u64 now)
{
	__u64 due = ct->last_ns + bh_ct_timeout_ns(ct);

	if (due > now) {
		bpf_timer_start(&ct->timer, due - now + 1000000, 0);
	}
	return due > now;
}

static __always_inline void bh_ct_expired(__u32 charged)
{
	bh_ct_uncharge(charged);
	bh_stat_add(charged, BH_REASON_CT_EXPIRED, 0);
}

static int bh_ct4_timer(void *map, struct bh_ct4_key *key, struct bh_ct *ct)
{
	__u64 now = bpf_ktime_get_ns();
	struct bh_ct4_key k = *key;
	__u32 charged = ct->charged, lo = ct->nic[0], hi = ct->nic[1];
	struct bh_ct_name name;

	bh_ticket_end(&k, ct);
	if (bh_ct_is_due_later(ct, now)) {
		return 0;
	}
	bh_ct_name4(&name, &k);
	bh_ct_closed(&name, ct, now, BH_REASON_CT_EXPIRED);
	if (!bpf_map_delete_elem(&bh_ct4, &k)) {
		bh_ticket_end(&k, 0); /* one that was granted since */
		bh_ct_expired(charged);
		bh_journal_put(lo, hi, BH_MOVE_GONE, false, &k);
	}
	return 0;
}

static int bh_ct6_timer(void *map, struct bh_ct6_key *key, struct bh_ct *ct)
{
	__u64 now = bpf_ktime_get_ns();
	struct bh_ct6_key k = *key;
	__u32 charged = ct->charged, lo = ct->nic[0], hi = ct->nic[1];
	struct bh_ct_name name;

	if (bh_ct_is_due_later(ct, now)) {
		return 0;
	}
	bh_ct_name6(&name, &k);
	bh_ct_closed(&name, ct, now, BH_REASON_CT_EXPIRED);
	if (!bpf_map_delete_elem(&bh_ct6, &k)) {
		bh_ct_expired(charged);
		bh_journal_put(lo, hi, BH_MOVE_GONE, true, &k);
	}
	return 0;
}

/* Sets the entry's timer and makes it when there is none; entries that user space copied have
 * none. */
static __always_inline void bh_ct4_start(struct bh_ct *ct, __u64 after_ns)
{
	if (!bpf_timer_init(&ct->timer, &bh_ct4, CLOCK_MONOTONIC)) {
		bpf_timer_set_callback(&ct->timer, bh_ct4_timer);
	}
	ct->flags |= BH_CT_TIMER;
	bpf_timer_start(&ct->timer, after_ns, 0);
}

static __always_inline void bh_ct6_start(struct bh_ct *ct, __u64 after_ns)
{
	if (!bpf_timer_init(&ct->timer, &bh_ct6, CLOCK_MONOTONIC)) {
		bpf_timer_set_callback(&ct->timer, bh_ct6_timer);
	}
	ct->flags |= BH_CT_TIMER;
	bpf_timer_start(&ct->timer, after_ns, 0);
}

/* Starts the timer of the packet's entry, or sets it to a new timeout. */
__weak int bh_ct_arm(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_ct *ct;

	if (!p) {
		return 0;
	}
	if (p->v6) {
		ct = bpf_map_lookup_elem(&bh_ct6, &p->key.v6);
		if (ct) {
			bh_ct6_start(ct, bh_ct_timeout_ns(ct));
		}
	} else {
		ct = bpf_map_lookup_elem(&bh_ct4, &p->key.v4);
		if (ct) {
			bh_ct4_start(ct, bh_ct_timeout_ns(ct));
		}
	}
	return 0;
}

/* Writes down that the packet's entry changed; comes after the change. */
__weak int bh_ct_note(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_ct *ct;

	if (!p) {
		return 0;
	}
	ct = bh_ct_find(p);
	if (ct) {
		bh_journal_put(ct->nic[0], ct->nic[1], BH_MOVE_CHANGED, p->v6, &p->key);
	}
	return 0;
}

/* Ends the tickets of the packet's entry; comes after the change that is the reason. */
__weak int bh_ct_changed(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();

	if (p && !p->v6) {
		bh_ticket_end(&p->key.v4, bpf_map_lookup_elem(&bh_ct4, &p->key.v4));
	}
	return 0;
}

/* Ends the packet's entry now and reports it with the reason why. */
__weak int bh_ct_end(struct __sk_buff *skb, __u32 reason)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 charged = 0, lo, hi;
	struct bh_ct *ct;
	long err;

	if (!p) {
		return 0;
	}
	ct = bh_ct_find(p);
	if (!ct) {
		return 0;
	}
	charged = ct->charged;
	lo = ct->nic[0];
	hi = ct->nic[1];
	bh_ct_changed(skb); /* counts what passed by them */
	if (p->v6) {
		bh_ct_name6(&p->name, &p->key.v6);
	} else {
		bh_ct_name4(&p->name, &p->key.v4);
	}
	bh_ct_closed(&p->name, ct, p->now, reason);
	if (p->v6) {
		err = bpf_map_delete_elem(&bh_ct6, &p->key.v6);
	} else {
		err = bpf_map_delete_elem(&bh_ct4, &p->key.v4);
	}
	bh_ct_changed(skb); /* one that was granted since */
	if (!err) {
		bh_ct_uncharge(charged);
		bh_journal_put(lo, hi, BH_MOVE_GONE, p->v6, &p->key);
	}
	return 0;
}

/* ---- states ---- */
static __always_inline __u16 bh_ct_timeout_of(__u8 proto, __u8 state)
{
	struct bh_ctl *ctl = bh_ctl_get();
	__u32 i = BH_TIMEOUT_OTHER;

	if (proto == BH_P_TCP) {
		i = state == BH_CT_ESTABLISHED ? BH_TIMEOUT_TCP_EST
		    : state == BH_CT_FIN       ? BH_TIMEOUT_TCP_FIN
		    : state == BH_CT_CLOSED    ? BH_TIMEOUT_TCP_CLOSED
					       : BH_TIMEOUT_TCP_SYN;
	} else if (proto == BH_P_UDP) {
		i = state == BH_CT_NEW ? BH_TIMEOUT_UDP_NEW : BH_TIMEOUT_UDP_EST;
	} else if (proto == BH_P_SCTP) {
		i = state == BH_CT_NEW	    ? BH_TIMEOUT_SCTP_NEW
		    : state == BH_CT_CLOSED ? BH_TIMEOUT_SCTP_CLOSED
					    : BH_TIMEOUT_SCTP_EST;
	} else if (proto == BH_P_ICMP || proto == BH_P_ICMP6) {
		i = BH_TIMEOUT_ICMP;
	}
	return ctl ? ctl->timeout_s[i] : 30;
}

static __always_inline __u8 bh_ct_tcp_next(struct bh_ct *ct, const struct bh_pkt *p, bool reply)
{
	__u8 flags = p->tcp_flags, state = ct->state;

	if (flags & BH_TCP_RST) {
		return BH_CT_CLOSED;
	}
	if (flags & BH_TCP_FIN) {
		ct->flags |= p->side ? BH_CT_FIN_HI : BH_CT_FIN_LO;
		return (ct->flags & BH_CT_FIN_HI) && (ct->flags & BH_CT_FIN_LO) ? BH_CT_CLOSED
										: BH_CT_FIN;
	}
	if (state == BH_CT_NEW && reply && (flags & BH_TCP_SYN) && (flags & BH_TCP_ACK)) {
		return BH_CT_TCP_SYN_RECV;
	}
	if (state == BH_CT_TCP_SYN_RECV && !reply && (flags & BH_TCP_ACK)) {
		return BH_CT_ESTABLISHED;
	}
	return state;
}

/* Counts the packet and moves the state on. Returns whether the timer must be set anew. */
static __always_inline bool bh_ct_follow(struct bh_ct *ct, const struct bh_pkt *p, bool reply)
{
	__u8 state = ct->state;
	__u32 side = p->side & 1;

	ct->last_ns = p->now;
	__sync_fetch_and_add(&ct->packets[side], 1);
	__sync_fetch_and_add(&ct->bytes[side], p->len);
	if (reply && !(ct->flags & BH_CT_SEEN_REPLY)) {
		ct->flags |= BH_CT_SEEN_REPLY;
	}
	if (p->proto == BH_P_TCP) {
		if (p->w.frag != BH_FRAG_LATER) {
			state = bh_ct_tcp_next(ct, p, reply);
		}
	} else if (p->proto == BH_P_SCTP && p->tcp_flags & BH_TCP_RST) {
		state = BH_CT_CLOSED;
	} else if (reply && state == BH_CT_NEW) {
		state = BH_CT_ESTABLISHED;
	}
	if (state == ct->state) {
		return !(ct->flags & BH_CT_TIMER);
	}
	ct->state = state;
	ct->timeout_s = bh_ct_timeout_of(p->proto, state);
	return true;
}

#endif
