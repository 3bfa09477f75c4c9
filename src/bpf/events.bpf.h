/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Counters and flow records. What is left out is counted where it is left out.
 * Ownership A record belongs to the ring from submit on.
 * Threads   Counters are per CPU. Token buckets are shared and a little generous when CPUs race.
 */
#ifndef BH_BPF_EVENTS_H
#define BH_BPF_EVENTS_H

#include "maps.bpf.h"

#define BH_SECOND_NS 1000000000ull
#define BH_BRIDGE_WARM_NS                                                                          \
	(30 * BH_SECOND_NS) /* one frame by the bridge, so that its FDB stays warm */

/* Adds to a counter of this CPU and makes it when it is the first. */
static __always_inline void bh_stat_add(__u32 nic, __u32 reason, __u64 bytes)
{
	struct bh_stat_key key = {.nic = nic, .reason = reason};
	struct bh_counter zero = {}, *c;

	c = bpf_map_lookup_elem(&bh_stats, &key);
	if (!c) {
		bpf_map_update_elem(&bh_stats, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&bh_stats, &key);
		if (!c) {
			return;
		}
	}
	c->packets++;
	c->bytes += bytes;
}

/* What passes is counted apart from what does not. */
static __always_inline void bh_pass_add(__u32 nic, bool fast, __u64 bytes)
{
	struct bh_pass *pass = bpf_map_lookup_elem(&bh_pass, &nic);

	if (!pass) {
		return;
	}
	if (fast) {
		pass->fast.packets++;
		pass->fast.bytes += bytes;
	} else {
		pass->pass.packets++;
		pass->pass.bytes += bytes;
	}
}

static __always_inline void bh_rule_stat_add(__u32 rule, __u32 nic, __u32 dir, __u64 bytes)
{
	struct bh_rule_stat_key key = {.rule = rule, .nic = nic, .dir = dir};
	struct bh_counter zero = {}, *c;

	c = bpf_map_lookup_elem(&bh_rule_stats, &key);
	if (!c) {
		bpf_map_update_elem(&bh_rule_stats, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&bh_rule_stats, &key);
		if (!c) {
			return;
		}
	}
	c->packets++;
	c->bytes += bytes;
}

/* Both buckets are filled up once a second. */
static __always_inline void bh_bucket_fill(struct bh_nic_state *state, __u64 now)
{
	struct bh_ctl *ctl = bh_ctl_get();

	if (ctl && (!state->bucket_ns || now - state->bucket_ns >= BH_SECOND_NS)) {
		state->bucket_ns = now;
		state->answer_tokens = ctl->reject_pps;
		state->event_tokens = ctl->event_pps;
	}
}

static __always_inline bool bh_bucket_take(__u32 *tokens)
{
	if (*tokens == 0) {
		return false;
	}
	__sync_fetch_and_add(tokens, -1);
	return true;
}

/* Zeroes a record and fills in what every kind has. */
static __always_inline void bh_event_init(struct bh_flow_event *e, __u64 now)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = now;
}

/* What the packet in the scratch is. `about` is type << 8 | reason. */
static __always_inline void bh_event_packet(struct bh_flow_event *e, const struct bh_pkt *p)
{
	bh_event_init(e, p->now);
	e->gen = p->gen;
	e->net = p->net;
	e->vlan = p->vlan;
	e->packets[0] = 1;
	e->bytes[0] = p->len;
	e->ethertype = p->ethertype;
	__builtin_memcpy(e->src_mac, p->eth.h_source, 6);
	__builtin_memcpy(e->dst_mac, p->eth.h_dest, 6);
	if (p->ethertype != BH_ETH_IP && p->ethertype != BH_ETH_IPV6 &&
	    p->ethertype != BH_ETH_ARP) {
		return;
	}
	__builtin_memcpy(e->src, p->src.b, 16);
	__builtin_memcpy(e->dst, p->dst.b, 16);
	if (p->ethertype == BH_ETH_ARP) {
		return;
	}
	e->src_identity = p->src_identity;
	e->dst_identity = p->dst_identity;
	e->proto = p->proto;
	e->sport = p->sport;
	e->dport = p->dport;
	if (p->proto == (p->v6 ? BH_P_ICMP6 : BH_P_ICMP)) {
		e->sport = bpf_htons(p->policy_port);
		e->dport = 0;
	}
}

/*
 * Sends a record about the packet in the scratch. `what` is type << 16 | reason << 8 | dir; `nic`
 * is who it is about. BH_ROW_LOG goes past the limit.
 */
__weak int bh_event_send(struct __sk_buff *skb, __u32 what, __u32 nic)
{
	struct bh_nic_state *state = bh_nic_state_get(nic);
	struct bh_pkt *p = bh_pkt_get();
	struct bh_flow_event *e;
	__u32 dir = what & 1;

	if (!p || !state) {
		return 0;
	}
	bh_bucket_fill(state, p->now);
	if (!(p->row_flags & BH_ROW_LOG) && !bh_bucket_take(&state->event_tokens)) {
		__sync_fetch_and_add(&state->suppressed, 1);
		bh_stat_add(nic, BH_REASON_EVENT_LIMITED, 0);
		return 0;
	}
	e = bpf_ringbuf_reserve(&bh_events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&state->suppressed, 1);
		bh_stat_add(nic, BH_REASON_EVENT_LOST, 0);
		return 0;
	}
	bh_event_packet(e, p);
	e->type = what >> 16;
	e->reason = what >> 8;
	e->dir = dir;
	e->nic = nic;
	e->peer_nic = nic == p->nic ? p->peer : p->nic;
	if (e->type != BH_FLOW_GUARD) {
		e->action = p->action;
		e->rule = p->rules[dir];
		e->other_rule = p->rules[!dir];
	}
	e->suppressed = __sync_fetch_and_and(&state->suppressed, 0);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#define BH_EVENT(type, reason, dir) ((type) << 16 | (reason) << 8 | (dir))

#endif
