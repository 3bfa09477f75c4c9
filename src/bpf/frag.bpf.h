/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Later fragments have no ports; they get those of their first one, which must have
 *           come before, must have been allowed, and must not be overlapped (RFC 1858, 3128,
 *           5722).
 * Ownership The scratch of this CPU.
 * Threads   See maps.bpf.h.
 */
#ifndef BH_BPF_FRAG_H
#define BH_BPF_FRAG_H

#include "maps.bpf.h"

#define BH_FRAG_LIFE_NS (30 * 1000000000ull)

static __always_inline void bh_frag_key_make(const struct bh_pkt *p, struct bh_frag_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->net = p->net;
	key->vlan = p->vlan;
	__builtin_memcpy(key->src, p->src.b, 16);
	__builtin_memcpy(key->dst, p->dst.b, 16);
	key->id = p->w.frag_id;
	key->proto = p->w.frag_proto | (p->v6 ? 0x100 : 0);
}

/* Remembers a first fragment that was allowed. */
__weak int bh_frag_learn(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_frag frag = {};
	struct bh_frag_key key;

	if (!p) {
		return 0;
	}
	bh_frag_key_make(p, &key);
	frag.seen_ns = p->now;
	frag.gen = p->gen;
	frag.sport = p->sport;
	frag.dport = p->dport;
	frag.proto = p->proto;
	frag.end = p->w.end - p->w.frag_data;
	bpf_map_update_elem(&bh_frags, &key, &frag, BPF_ANY);
	return 0;
}

/* Gives a later fragment the ports of its first. */
__weak int bh_frag_find(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_frag_key key;
	struct bh_frag *frag;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	bh_frag_key_make(p, &key);
	frag = bpf_map_lookup_elem(&bh_frags, &key);
	if (!frag || p->now - frag->seen_ns > BH_FRAG_LIFE_NS || p->w.frag_off < frag->end) {
		return BH_REASON_DROP_FRAGMENT;
	}
	p->proto = frag->proto;
	p->sport = frag->sport;
	p->dport = frag->dport;
	p->opens = 0;
	if (p->group) { /* no connection: the first one's verdict stands while its generation does
			 */
		p->special = BH_SPECIAL_FREE;
		return frag->gen == p->gen ? BH_REASON_PASS : BH_REASON_DROP_FRAGMENT;
	}
	return BH_REASON_PASS;
}

#endif
