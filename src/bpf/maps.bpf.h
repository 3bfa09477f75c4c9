/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   The maps, and the scratch that one packet's judgement lives in.
 * Ownership Map sizes are defaults; user space sets what it needs before loading.
 * Threads   The scratch is per CPU: tc programs run with bottom halves off and none runs inside
 *           another (what they redirect or enqueue is handled after they return).
 *
 * Why scratch and not the stack: the stages are global functions, which the verifier checks one
 * by one, so that its effort is the sum and not the product of their paths. They find what the
 * others found out here. They are __weak, or clang would drop arguments that it finds unused.
 */
#ifndef BH_BPF_MAPS_H
#define BH_BPF_MAPS_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "bpf/abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bh_ctl);
} bh_ctl SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bh_port);
} bh_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct bh_nic);
} bh_nics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct bh_nic_state);
} bh_nic_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_nic_vlan_key);
	__type(value, struct bh_nic_vlan);
} bh_nic_vlans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_nic_addr_key);
	__type(value, struct bh_nic_addr);
} bh_nic_addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_addr_key);
	__type(value, struct bh_addr);
} bh_addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_mac_key);
	__type(value, __u32);
} bh_macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct bh_set);
} bh_sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_row_key);
	__type(value, struct bh_row);
} bh_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_cidr_key);
	__type(value, __u32);
} bh_cidrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_range_key);
	__type(value, __u32);
} bh_ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct bh_ct4_key);
	__type(value, struct bh_ct);
} bh_ct4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct bh_ct6_key);
	__type(value, struct bh_ct);
} bh_ct6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct bh_frag_key);
	__type(value, struct bh_frag);
} bh_frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_stat_key);
	__type(value, struct bh_counter);
} bh_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct bh_pass);
} bh_pass SEC(".maps");

/* Which NIC a device was when it was last looked up in bh_ports, by the low bits of its ifindex.
 * Only a hint: bh_nic.ifindex says whether it is true. */
#define BH_PORT_HINTS 4096
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BH_PORT_HINTS);
	__type(key, __u32);
	__type(value, __u32);
} bh_port_hints SEC(".maps");

/* Nobody maps it: the flag lets each slot begin with a cache line. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BH_TICKET_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bh_ticket);
} bh_tickets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bh_rule_stat_key);
	__type(value, struct bh_counter);
} bh_rule_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} bh_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} bh_moves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BH_IMPORT_BATCH);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bh_import);
} bh_imports SEC(".maps");

/* ---- scratch ---- */
union bh_ip {
	__u8 b[16];
	__u32 w[4];
	__u64 d[2];
};

enum bh_frag_kind { BH_FRAG_NONE, BH_FRAG_FIRST, BH_FRAG_LATER };

/* What of a packet needs no connection to pass, or can have none. */
enum bh_special {
	BH_SPECIAL_NONE,
	BH_SPECIAL_FREE,	/* honest ND, MLD and IGMP reports: pass unjudged */
	BH_SPECIAL_DHCP_ANSWER, /* from a server that may be one */
	BH_SPECIAL_STATELESS, /* multicast, or ICMP that is neither echo nor error: judged each time
			       */
	BH_SPECIAL_ICMP_ERROR,
};

/* Where a header walk stands. */
struct bh_walk {
	__u32 off; /* of what is next */
	__u32 end; /* of the packet */
	__u32 frag_off;
	__u32 frag_data; /* where the fragment's data begin */
	__u32 frag_id;
	__u8 proto;	 /* of what is at off */
	__u8 frag_proto; /* what the fragment header says; IPv4: proto */
	__u8 frag;	 /* enum bh_frag_kind */
	__u8 frag_seen;	 /* there is a fragment header, even of a whole packet */
};

/* What the key of either table says. */
struct bh_ct_name {
	union bh_ip lo, hi;
	__u32 net, vlan;
	__u16 lo_port, hi_port, ethertype;
	__u8 proto;
};

struct bh_pkt {
	/* who looks */
	__u64 now;
	__u64 own_until_ns; /* when the source address stops being the NIC's */
	__u32 gen, slot;
	__u32 ctl_flags, nonce;
	__u32 len;
	__u32 nic, bridge, net;
	__u32 nic_flags, identity, tenant;
	__u32 mark_kind; /* enum bh_mark_kind, 0 none */
	__u32 peer;	 /* the NIC that a unicast frame is for, when it is on this host */
	/* layer 2 */
	struct ethhdr eth;
	__u16 ethertype; /* host order, behind the tags */
	__u32 vlan;
	__u32 l3;
	/* layer 3; IPv4 mapped */
	union bh_ip src, dst;
	struct bh_walk w;
	__u32 l4;
	__u8 v6, group, hop_limit, ip_hlen;
	/* layer 4 */
	__u16 sport, dport; /* network order; echo: the identifier */
	__u16 policy_port;  /* host order */
	__u8 proto, special;
	__u8 icmp_type, icmp_code;
	__u8 tcp_flags, opens;	/* opens: may begin a connection */
	__u32 tcp_seq, tcp_ack; /* host order */
	/* connection */
	union bh_ct_key key;
	__u8 side;		/* of the sender: 0 lo, 1 hi */
	__u8 related;		/* it is an ICMP error's quoted connection that is looked at */
	struct bh_ct_name name; /* of the one that ends */
	/* a question to policy and its answer */
	__u32 ask_identity, ask_remote, ask_tenant;
	union bh_ip ask_addr;
	__u16 ask_port;
	__u8 ask_proto, ask_dir;
	__u32 rule;
	__u8 action, row_flags;
	/* what it came to */
	__u8 judged_dir;  /* direction that refused */
	__u8 judged_peer; /* the receiver's side was judged here too */
	__u32 judged_nic; /* NIC whose policy refused */
	__u32 rules[2];
	__u32 src_identity, dst_identity;
	/* the walk through DHCP options; dhcp_type is that of the message, 0 believe nothing */
	__u32 dhcp_off, dhcp_lease_s, dhcp_type;
	/* buffers for what is read and written */
	__u8 buf[320];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bh_pkt);
} bh_scratch SEC(".maps");

static __always_inline struct bh_pkt *bh_pkt_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bh_scratch, &zero);
}

static __always_inline struct bh_ctl *bh_ctl_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bh_ctl, &zero);
}

static __always_inline struct bh_nic *bh_nic_get(__u32 nic)
{
	return nic ? bpf_map_lookup_elem(&bh_nics, &nic) : 0;
}

static __always_inline struct bh_nic_state *bh_nic_state_get(__u32 nic)
{
	return nic ? bpf_map_lookup_elem(&bh_nic_state, &nic) : 0;
}

static __always_inline bool bh_mac_same(const __u8 *a, const __u8 *b)
{
	return *(const __u16 *)a == *(const __u16 *)b &&
	       *(const __u16 *)(a + 2) == *(const __u16 *)(b + 2) &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

static __always_inline bool bh_ip_same(const union bh_ip *a, const union bh_ip *b)
{
	return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

static __always_inline void bh_ip_from4(union bh_ip *ip, __u32 addr)
{
	ip->d[0] = 0;
	ip->w[2] = bpf_htonl(0xffff);
	ip->w[3] = addr;
}

#endif
