/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Who is that address, and what does the policy of this NIC say to it.
 * Ownership The scratch of this CPU.
 * Threads   See maps.bpf.h.
 *
 * A question is asked through the ask_* fields of the scratch; the answer stands in rule, action
 * and row_flags. It costs one lookup per shape that the set holds, however many rows there are.
 */
#ifndef BH_BPF_POLICY_H
#define BH_BPF_POLICY_H

#include "maps.bpf.h"

struct bh_who {
	__u32 identity;
	__u32 tenant;
};

static __always_inline struct bh_who bh_policy_who(const struct bh_pkt *p, const union bh_ip *ip)
{
	struct bh_addr_key key = {.net = p->net, .vlan = p->vlan};
	struct bh_who who = {.identity = BH_IDENTITY_WORLD};
	struct bh_addr *addr;

	__builtin_memcpy(key.addr, ip->b, 16);
	addr = bpf_map_lookup_elem(&bh_addrs, &key);
	if (addr && addr->slot[p->slot & 1].identity &&
	    (!addr->expires_ns || addr->expires_ns > p->now)) {
		who.identity = addr->slot[p->slot & 1].identity;
		who.tenant = addr->slot[p->slot & 1].tenant;
	}
	return who;
}

static __always_inline __u32 bh_policy_cidr(__u32 scope, const union bh_ip *ip)
{
	struct bh_cidr_key key = {.prefixlen = 32 + 128, .scope = scope};
	__u32 *class;

	__builtin_memcpy(key.addr, ip->b, 16);
	class = bpf_map_lookup_elem(&bh_cidrs, &key);
	return class ? *class : 0;
}

static __always_inline __u32 bh_policy_range(__u32 scope, __u8 proto, __u16 port)
{
	struct bh_range_key key = {.prefixlen = 64, .scope = scope, .proto = proto};
	__u32 *class;

	key.port = bpf_htons(port);
	class = bpf_map_lookup_elem(&bh_ranges, &key);
	return class ? *class : 0;
}

/* Answers the question in the scratch. Returns whether there is a set for it. */
__weak int bh_policy_ask(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 id, mask, slot, cidr = 0, range = 0, best = 0xffffffff;
	struct bh_row_key key = {};
	struct bh_set *set;

	if (!p) {
		return 0;
	}
	slot = p->slot & 1;
	id = BH_SET(p->ask_identity, p->ask_dir);
	p->rule = 0;
	p->action = BH_ACTION_DENY;
	p->row_flags = 0;
	set = bpf_map_lookup_elem(&bh_sets, &id);
	if (!set || set->slot[slot].default_action == BH_ACTION_NONE) {
		return 0;
	}
	p->rule = set->slot[slot].default_rule;
	p->action = set->slot[slot].default_action;
	p->row_flags = set->slot[slot].default_flags;
	mask = set->slot[slot].mask;
	if (mask & 0x0f00) {
		cidr = bh_policy_cidr(set->slot[slot].scope, &p->ask_addr);
	}
	if (mask & 0x8888) {
		range = bh_policy_range(set->slot[slot].scope, p->ask_proto, p->ask_port);
	}
	key.set = id;
	for (__u32 shape = 0; shape < 16; shape++) {
		__u32 remote = shape >> 2, service = shape & 3;
		struct bh_row *row;

		if (!(mask & 1u << shape)) {
			continue;
		}
		key.shape = shape;
		key.remote = remote == BH_REMOTE_IDENTITY ? p->ask_remote
			     : remote == BH_REMOTE_CIDR	  ? cidr
			     : remote == BH_REMOTE_TENANT ? p->ask_tenant
							  : 0;
		key.proto = service == BH_SERVICE_ANY ? 0 : p->ask_proto;
		key.port = service == BH_SERVICE_PORT	 ? p->ask_port
			   : service == BH_SERVICE_RANGE ? range
							 : 0;
		if ((remote != BH_REMOTE_ANY && !key.remote) ||
		    (service == BH_SERVICE_RANGE && !range)) {
			continue; /* no class, no tenant: nothing that such a row could mean */
		}
		row = bpf_map_lookup_elem(&bh_rows, &key);
		if (row && row->slot[slot].action != BH_ACTION_NONE &&
		    row->slot[slot].rank < best) {
			best = row->slot[slot].rank;
			p->rule = row->slot[slot].rule;
			p->action = row->slot[slot].action;
			p->row_flags = row->slot[slot].flags;
		}
	}
	return 1;
}

#endif
