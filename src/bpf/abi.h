/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The one header that both sides of a BPF map include: keys, values, limits, reasons.
 *
 * Theory of operation
 *   Goal     Judge every frame at the tap of the VM that sends it and at the tap of the VM
 *            that receives it, at a cost that does not grow with rules, VMs or networks.
 *   Time     One word, bh_ctl.gen, says which generation of the policy packets see.
 *            Everything that a commit may change has two slots, [gen & 1]. User space writes
 *            the other slot of what changes, flips the word (one aligned store), waits until
 *            no program can still be looking at the old slot, and copies the new slot over
 *            it. So packets see a commit as a whole, and its cost is that of what changed. A
 *            program reads gen once and uses that value throughout.
 *   Lookup   set (who is judged, in which direction) -> bit mask of the row shapes that exist
 *            in it -> at most one hash lookup per shape that exists -> the row with the
 *            lowest rank wins.
 *   State    One connection entry per network and tuple, shared by both directions and both
 *            taps. It remembers the generation that judged it; a packet of an older
 *            generation judges it anew.
 *   Tickets  What a packet of a connection proved at a tap holds for the next ones that look like
 *            it, for 64 ticks of the kernel at most: they pass without a look at the connection
 *            table. Whatever a ticket rests on is either compared each time (generation, records
 *            of both NICs, marks, the frame itself) or ends it when it changes (the connection).
 *            So a verdict never lives longer than without tickets. They are for IPv4.
 *   Moves    Connections travel with a VM (docs/migration.md). The kernel of the source writes down
 *            which ones change, user space brings them, and bh_import puts them into the target's
 *            table of a generation that never was, so that their first packet judges them there.
 *   Marks    Inside the host's bridge a frame proves where it came from by skb->mark, whose
 *            upper 24 bits are a random number of this installation. A guest can't set marks;
 *            a port that is not fed has no program that would; so what it sends is dropped at
 *            every other port.
 *
 * Addresses are 16 bytes; IPv4 is ::ffff:a.b.c.d. Ports, addresses and MACs are in network order
 * unless a comment says "host order". Times are bpf_ktime_get_ns() (CLOCK_MONOTONIC).
 *
 * Changing a layout means raising BH_ABI_VERSION: it is part of the pin path.
 */
#ifndef BH_BPF_ABI_H
#define BH_BPF_ABI_H

#ifndef __bpf__
#include <linux/bpf.h>
#include <linux/types.h>
#endif

#define BH_ABI_VERSION 2

/* Identities below BH_IDENTITY_FIRST are reserved. */
enum bh_identity_reserved {
	BH_IDENTITY_NONE = 0,
	BH_IDENTITY_HOST = 1,	   /* an address of the hypervisor itself on that network */
	BH_IDENTITY_WORLD = 2,	   /* no VM of this network, no host */
	BH_IDENTITY_MULTICAST = 3, /* a multicast or broadcast destination */
};
#define BH_IDENTITY_FIRST 256

enum bh_dir {
	BH_DIR_EGRESS = 0,  /* what the VM sends */
	BH_DIR_INGRESS = 1, /* what the VM receives */
};

/* A set is what is judged by one lookup: identity and direction in one number. */
#define BH_SET(identity, dir) (((identity) << 1) | (dir))

enum bh_action {
	BH_ACTION_NONE = 0, /* slot is empty in this generation */
	BH_ACTION_ALLOW = 1,
	BH_ACTION_DENY = 2,
	BH_ACTION_REJECT = 3, /* TCP RST, or ICMP administratively prohibited */
};
#define BH_ROW_LOG 1u /* report allowed packets of it too, and never aggregate */

/* The shape of a row: kind of remote x kind of service. The mask of a set has bit
 * (remote_kind * 4 + service_kind) for each shape that it holds. */
enum bh_remote_kind {
	BH_REMOTE_ANY = 0,	/* remote = 0 */
	BH_REMOTE_IDENTITY = 1, /* remote = identity, reserved ones included */
	BH_REMOTE_CIDR = 2,	/* remote = class of the longest prefix, see bh_cidr_key */
	BH_REMOTE_TENANT = 3,	/* remote = tenant number */
};
enum bh_service_kind {
	BH_SERVICE_ANY = 0,   /* proto = 0, port = 0 */
	BH_SERVICE_PROTO = 1, /* proto; port = 0 */
	BH_SERVICE_PORT = 2,  /* proto; port exact (ICMP: type << 8 | code) */
	BH_SERVICE_RANGE = 3, /* proto; port = class of the range, see bh_range_key */
};
#define BH_SHAPE_BIT(remote_kind, service_kind) (1u << ((remote_kind)*4 + (service_kind)))

/* ---- control: array, one element, mmapable ---- */
struct bh_ctl {
	__u32 gen;	     /* the generation that packets see */
	__u32 mark_nonce;    /* upper 24 bits used, never 0; chosen once per installation */
	__u32 flags;	     /* BH_CTL_* */
	__u32 ct_per_nic;    /* connections that one NIC may hold; 0 no limit */
	__u32 timeout_s[16]; /* by enum bh_ct_timeout */
	__u32 reject_pps;    /* RST/ICMP answers per NIC and second */
	__u32 event_pps;     /* flow records per NIC and second; the rest is counted */
};
#define BH_CTL_FASTPATH 1u /* hand frames from tap to tap past the bridge where that is safe */

enum bh_ct_timeout {
	BH_TIMEOUT_TCP_SYN,	/* 60 */
	BH_TIMEOUT_TCP_EST,	/* 28800 */
	BH_TIMEOUT_TCP_FIN,	/* 60 */
	BH_TIMEOUT_TCP_CLOSED,	/* 10 */
	BH_TIMEOUT_UDP_NEW,	/* 30 */
	BH_TIMEOUT_UDP_EST,	/* 180 */
	BH_TIMEOUT_SCTP_NEW,	/* 60 */
	BH_TIMEOUT_SCTP_EST,	/* 3600 */
	BH_TIMEOUT_SCTP_CLOSED, /* 10 */
	BH_TIMEOUT_ICMP,	/* 30 */
	BH_TIMEOUT_OTHER,	/* 600 */
	BH_TIMEOUT_COUNT
};

/* Mark: nonce in the upper 24 bits, what is known about the frame in the lower 8. */
enum bh_mark_kind {
	BH_MARK_UPLINK = 1, /* entered by an uplink port */
	BH_MARK_HOST = 2,   /* sent by the host's own stack through the bridge device */
	BH_MARK_NIC = 3,    /* entered by a fed NIC, judged for the sender */
	BH_MARK_JUDGED = 4, /* as NIC, and judged for the receiver too: only its MAC is looked at */
	BH_MARK_ANSWER = 5, /* our own RST or ICMP error */
	BH_MARK_HANDED = 6, /* from the sender's tap straight to the receiver's: nothing to ask */
};

/* ---- ports: hash, ifindex -> what is attached there ---- */
enum bh_port_kind { BH_PORT_NIC = 1, BH_PORT_UPLINK = 2, BH_PORT_BRIDGE = 3 };
struct bh_port {
	__u32 kind;
	__u32 nic;    /* index into nics for BH_PORT_NIC */
	__u32 bridge; /* ifindex of the bridge, 0 when routed */
	__u32 net;
};

/* ---- NICs: array, index chosen by hostd; index 0 is never used ---- */
#define BH_NIC_DHCP_SERVER 0x01u  /* may send DHCP/DHCPv6 server messages */
#define BH_NIC_ROUTER	   0x02u  /* may send router advertisements */
#define BH_NIC_ANY_SOURCE  0x04u  /* may send from addresses that are not its own (a router VM) */
#define BH_NIC_LEARN_DHCP  0x08u  /* addresses are learned from DHCP answers */
#define BH_NIC_PICKUP	   0x10u  /* TCP seen in the middle is judged as new instead of dropped */
#define BH_NIC_FASTPATH	   0x20u  /* port of a bridge where handing over past it is safe */
#define BH_NIC_OPEN	   0x40u  /* `birth: open`, not fed yet: pass, count */
#define BH_NIC_ANY_VLAN	   0x80u  /* may send tagged frames with any tag; else see nic_vlans */
#define BH_NIC_DEPARTING   0x100u /* what becomes of its connections is written to bh_moves */
#define BH_NIC_ARRIVING	   0x200u /* its connections are still on their way here: DROP_ARRIVING */
struct bh_nic_slot {
	__u32 flags; /* 0 and identity 0: this NIC is closed in this generation */
	__u32 identity;
	__u32 tenant;
	__u32 net;
};
struct bh_nic {
	__u32 ifindex; /* host order; 0 when absent */
	__u32 bridge;
	__u8 mac[6];
	__u16 pad;
	struct bh_nic_slot slot[2];
	__u8 vm[16]; /* UUID of the VM; for user space, which finds its names again after a crash */
};
/* Changed by programs; apart from bh_nic so that an update of the one never loses the other. */
struct bh_nic_state {
	__u64 bridge_refresh_ns; /* last frame that went by the bridge: keeps its FDB warm */
	__u64 bucket_ns;	 /* token buckets of answers and records */
	__u32 answer_tokens;
	__u32 event_tokens;
	__u32 ct_count;	  /* connections charged to this NIC */
	__u32 suppressed; /* records left out since the last one that went out */
};

/* VLANs that a NIC may use: hash; vlan = outer << 16 | inner, host order, 0 means none. */
struct bh_nic_vlan_key {
	__u32 nic;
	__u32 vlan;
};
struct bh_nic_vlan {
	__u32 present[2];	   /* by generation */
	struct bpf_spin_lock lock; /* see bh_row */
};

/* ---- addresses ---- */
/* Own addresses of a NIC (source guard): hash. */
struct bh_nic_addr_key {
	__u32 nic;
	__u8 addr[16];
};
#define BH_ADDR_LEARNED 1u /* by DHCP, in the kernel; expires */
struct bh_nic_addr {
	__u32 present[2]; /* by generation; learned ones set both */
	__u32 flags;
	__u32 pad;
	__u64 expires_ns;	   /* 0 never */
	struct bpf_spin_lock lock; /* see bh_row */
	__u32 pad2;
};

/* Who has an address in a network: hash. */
struct bh_addr_key {
	__u32 net;
	__u32 vlan;
	__u8 addr[16];
};
struct bh_addr_slot {
	__u32 identity; /* 0: not in this generation */
	__u32 tenant;
};
struct bh_addr {
	struct bh_addr_slot slot[2];
	__u64 expires_ns; /* learned ones, 0 never */
	__u32 flags;	  /* BH_ADDR_LEARNED: by the kernel, not part of the desired state yet */
	struct bpf_spin_lock lock; /* see bh_row */
};

/* Who has a MAC on this host: hash, for handing over and for "no sniffing". */
struct bh_mac_key {
	__u32 net;
	__u8 mac[6];
	__u16 pad;
}; /* -> __u32 nic */

/* ---- policy ---- */
struct bh_set_slot {
	__u32 default_rule; /* rule number that answers when no row does */
	__u32 scope; /* of the CIDR and range tries; 0 none. A changed list gets a new scope. */
	__u16 mask;  /* shapes that exist */
	__u8 default_action; /* BH_ACTION_NONE: the set does not exist in this generation */
	__u8 default_flags;
};
struct bh_set {
	struct bh_set_slot slot[2];
	struct bpf_spin_lock lock; /* see bh_row */
};				   /* hash: __u32 set -> bh_set */

struct bh_row_key {
	__u32 set;
	__u32 remote;
	__u16 port; /* host order */
	__u8 proto;
	__u8 shape; /* remote_kind * 4 + service_kind */
};
struct bh_row_slot {
	__u32 rule;
	__u32 rank; /* lower wins; ranks are unique within a set */
	__u8 action;
	__u8 flags;
	__u16 pad;
};
/* Programs never take the lock and never copy the whole value. It is there because an update with
 * BPF_F_LOCK writes the value where it lies. Without it the kernel puts a new element in its place
 * and uses the old one for the next key at once, so that a program which had found the one key
 * would read the verdict of another. */
struct bh_row {
	struct bh_row_slot slot[2];
	struct bpf_spin_lock lock;
};

/* LPM tries. prefixlen counts from `scope` on, which is always whole (32 bits, any order). */
struct bh_cidr_key {
	__u32 prefixlen; /* 32 + bits of addr */
	__u32 scope;
	__u8 addr[16];
}; /* -> __u32 class */
struct bh_range_key {
	__u32 prefixlen; /* 32 + 16 + bits of port */
	__u32 scope;
	__u8 proto;
	__u8 pad;
	__u16 port; /* network order: the trie matches from the first bit on */
};		    /* -> __u32 class */

/* ---- connections ---- */
/* The tuple is ordered: (lo, lo_port) <= (hi, hi_port), compared as bytes in network order, so that
 * both directions find one entry. ICMP echo: both ports hold the identifier; others: 0. */
struct bh_ct4_key {
	__u32 net;
	__u32 vlan;
	__u32 lo, hi;
	__u16 lo_port, hi_port;
	__u8 proto;
	__u8 pad[3];
};
struct bh_ct6_key {
	__u32 net;
	__u32 vlan;
	__u8 lo[16], hi[16];
	__u16 lo_port, hi_port;
	__u8 proto;
	__u8 pad[3];
};
enum bh_ct_state {
	BH_CT_NEW = 0, /* first packet seen, no answer */
	BH_CT_TCP_SYN_RECV,
	BH_CT_ESTABLISHED,
	BH_CT_FIN,    /* one side closed */
	BH_CT_CLOSED, /* both sides closed, or RST */
};
#define BH_CT_ORIG_HI	 0x01u /* the opener is the hi side */
#define BH_CT_EGRESS_OK	 0x02u /* judged at the opener's tap */
#define BH_CT_INGRESS_OK 0x04u /* judged at the other side's tap */
#define BH_CT_FIN_LO	 0x08u
#define BH_CT_FIN_HI	 0x10u
#define BH_CT_SEEN_REPLY 0x20u
#define BH_CT_TIMER	 0x40u /* its timer runs */
struct bh_ct {
	struct bpf_timer timer; /* expires the entry in the kernel, also while hostd is away */
	__u64 created_ns;
	__u64 last_ns;
	__u64 packets[2]; /* [0] by the lo side, [1] by the hi side */
	__u64 bytes[2];
	__u32 gen;    /* that judged it last */
	__u32 nic[2]; /* NIC index of the lo and of the hi side, 0 when not on this host */
	__u32 identity[2];
	__u32 rule[2]; /* that allowed it: [BH_DIR_EGRESS], [BH_DIR_INGRESS] */
	__u16 timeout_s;
	__u8 state;
	__u8 flags;
	__u32 charged;	   /* NIC index whose quota holds it, 0 nobody's */
	__u16 policy_port; /* host order: what policy was asked, ICMP: type << 8 | code */
	__u8 row_flags;	   /* BH_ROW_* of the rows that allowed it */
	__u8 pad;
	__u64 own_until_ns[2]; /* that side's address is its NIC's until then, 0 unknown */
};

/*
 * ---- tickets: array, by bh_ticket_slot() of addresses and ports as the frame has them ----
 * What the last packet of an IPv4 connection in one direction proved at one tap, for a moment; see
 * ticket.bpf.h. Packets that passed by it are counted here until somebody moves the count to the
 * connection.
 */
#define BH_TICKET_SLOTS	     65536
#define BH_TICKET_BYTES_BITS 40
struct bh_ticket {
	__u32 seq;	    /* odd while it is written */
	__u32 tap;	    /* ifindex << 1 | enum bh_dir of the program */
	__u32 src, dst;	    /* read as one word */
	__u16 sport, dport; /* read as one word */
	__u8 proto;
	__u8 pad[3];
	__u64 until;	       /* tick of the kernel, exclusive; 0 ended */
	__u32 gen, mark_nonce; /* of bh_ctl, read as one word */
	__u64 count;	       /* packets << BH_TICKET_BYTES_BITS | bytes */
	__u64 last;	       /* tick of the last packet */
	__u32 nic, peer;
	__u64 nic_dev, peer_dev;   /* ifindex and bridge of their records, as one word */
	__u64 nic_slot, peer_slot; /* flags and identity in this generation, as one word */
	__u32 net;
	__u32 ctl_flags;
	__u32 mark; /* EGRESS: that it gets, INGRESS: that it must have */
	__u32 to;   /* device of the peer where the packet is handed over, 0: by the bridge */
	__u64 since, since_ns; /* when it was granted: tick and time */
};

static inline __attribute__((always_inline)) __u64 bh_ticket_addrs(__u32 src, __u32 dst)
{
	union {
		__u32 half[2];
		__u64 whole;
	} word = {.half = {src, dst}};

	return word.whole;
}

static inline __attribute__((always_inline)) __u32 bh_ticket_ports(__u16 sport, __u16 dport)
{
	union {
		__u16 half[2];
		__u32 whole;
	} word = {.half = {sport, dport}};

	return word.whole;
}

/* A connection has two: of src -> dst and of dst -> src. */
static inline __attribute__((always_inline)) __u32 bh_ticket_slot(__u64 addrs, __u32 ports)
{
	__u64 hash = (addrs ^ (__u64)ports << 16) * 0x9e3779b97f4a7c15ull;

	return (__u32)(hash >> 32) / (__u32)(0x100000000ull / BH_TICKET_SLOTS);
}

/*
 * ---- connections that travel ----
 * Journal: ring buffer. What to look at; how the entry is now says the table. A record is written
 * after the change. What found no room is counted as JOURNAL_LOST of the NIC.
 */
enum bh_move_op { BH_MOVE_CHANGED = 1, BH_MOVE_GONE = 2 };
union bh_ct_key {
	struct bh_ct4_key v4;
	struct bh_ct6_key v6;
};
struct bh_move {
	__u32 nic[2]; /* of the lo and of the hi side; one of them departs */
	__u8 op;      /* enum bh_move_op */
	__u8 v6;
	__u8 pad[6];
	union bh_ct_key key;
};

/* What bh_import shall do, and what came of it. Not pinned: who loads the program feeds it. */
#define BH_IMPORT_BATCH 256
enum bh_import_op {
	BH_IMPORT_PUT = 1,   /* makes the entry, or brings what is there up to date */
	BH_IMPORT_GONE = 2,  /* deletes it, when it is of one of these NICs */
	BH_IMPORT_LEAVE = 3, /* these NICs have no part in it any more */
	BH_IMPORT_STATE = 4, /* token buckets of nic[0] */
};
enum bh_import_result {
	BH_IMPORT_NOTHING = 0, /* no such entry, or not of these NICs */
	BH_IMPORT_ADDED,
	BH_IMPORT_MERGED,
	BH_IMPORT_FULL,
	BH_IMPORT_QUOTA,
	BH_IMPORT_DONE,
};
struct bh_import {
	__u32 op;     /* enum bh_import_op */
	__u32 result; /* enum bh_import_result */
	__u32 nic[2]; /* those of the VM: of the lo, of the hi side; 0 not of it */
	__u32 charged;
	__u32 identity[2];
	__u32 rule[2];
	__u16 timeout_s;
	__u16 policy_port;
	__u8 v6;
	__u8 state;
	__u8 flags;
	__u8 row_flags;
	__u64 created_ns, last_ns;
	__u64 packets[2], bytes[2];
	__u64 own_until_ns[2];
	union {
		union bh_ct_key key;
		struct bh_nic_state bucket; /* STATE: without bridge_refresh_ns and ct_count */
	};
};

/* First fragments, so that later ones can be judged: LRU hash. */
struct bh_frag_key {
	__u32 net;
	__u32 vlan;
	__u8 src[16], dst[16];
	__u32 id;
	__u32 proto;
};
struct bh_frag {
	__u64 seen_ns;
	__u32 gen;
	__u16 sport, dport; /* network order */
	__u32 end;	    /* of the first fragment's data: later ones begin there or after */
	__u8 proto;	    /* of the transport header that the first one carries */
	__u8 pad[3];
};

/* ---- counters ---- */
/* Every reason has a name, and a text in docs/operations.md. Order is ABI: append only. */
#define BH_REASONS(X)                                                                              \
	X(PASS, "pass")                                                                            \
	X(PASS_FAST, "pass_fast")                                                                  \
	X(DROP_POLICY, "drop_policy")                                                              \
	X(DROP_REJECT, "drop_reject")                                                              \
	X(DROP_CLOSED, "drop_closed")	    /* NIC not fed */                                      \
	X(DROP_UNMARKED, "drop_unmarked")   /* came from a port that is not fed */                 \
	X(DROP_NOT_MINE, "drop_not_mine")   /* unicast for another MAC */                          \
	X(DROP_MALFORMED, "drop_malformed") /* headers truncated or lying */                       \
	X(DROP_SPOOF_MAC, "drop_spoof_mac")                                                        \
	X(DROP_SPOOF_IP4, "drop_spoof_ip4")                                                        \
	X(DROP_SPOOF_IP6, "drop_spoof_ip6")                                                        \
	X(DROP_SPOOF_ARP, "drop_spoof_arp")                                                        \
	X(DROP_SPOOF_ND, "drop_spoof_nd")                                                          \
	X(DROP_ROGUE_DHCP, "drop_rogue_dhcp")                                                      \
	X(DROP_ROGUE_RA, "drop_rogue_ra")                                                          \
	X(DROP_VLAN, "drop_vlan")                                                                  \
	X(DROP_ETHERTYPE, "drop_ethertype")   /* neither ARP nor IP */                             \
	X(DROP_FRAGMENT, "drop_fragment")     /* first one not seen, tiny or overlapping */        \
	X(DROP_CT_FULL, "drop_ct_full")	      /* connection table full */                          \
	X(DROP_CT_QUOTA, "drop_ct_quota")     /* this NIC holds its share */                       \
	X(DROP_CT_INVALID, "drop_ct_invalid") /* TCP without a connection */                       \
	X(DROP_ICMP_UNRELATED, "drop_icmp_unrelated")                                              \
	X(DROP_EXTHDR, "drop_exthdr")	  /* too many or forbidden IPv6 headers */                 \
	X(DROP_INTERNAL, "drop_internal") /* a helper failed */                                    \
	X(ANSWER_SENT, "answer_sent")	  /* RST or ICMP error made */                             \
	X(ANSWER_LIMITED, "answer_limited")                                                        \
	X(EVENT_LOST, "event_lost")	  /* ring buffer full */                                   \
	X(EVENT_LIMITED, "event_limited") /* over event_pps, aggregated */                         \
	X(DHCP_LEARNED, "dhcp_learned")                                                            \
	X(REJUDGED, "rejudged") /* connection judged anew after a commit */                        \
	X(CT_NEW, "ct_new")                                                                        \
	X(CT_EXPIRED, "ct_expired")                                                                \
	X(DROP_ARRIVING, "drop_arriving") /* TCP whose connection may be on its way here */        \
	X(JOURNAL_LOST, "journal_lost")	  /* bh_moves full */

enum bh_reason {
#define BH_REASON_ENUM(id, name) BH_REASON_##id,
	BH_REASONS(BH_REASON_ENUM)
#undef BH_REASON_ENUM
		BH_REASON_COUNT
};

struct bh_counter {
	__u64 packets;
	__u64 bytes;
};
/* per-CPU array: NIC index -> what passed there, coming or going. BH_REASON_PASS and PASS_FAST of
 * NICs are counted here and not in bh_stats: every packet does it, and an array costs nothing. */
struct bh_pass {
	struct bh_counter pass;
	struct bh_counter fast; /* sent, and handed over past the bridge */
};
/* per-CPU hash: (nic, reason) -> bh_counter; nic 0 for ports that are not NICs */
struct bh_stat_key {
	__u32 nic;
	__u32 reason;
};
/* per-CPU hash: (rule, nic, dir) -> bh_counter; counts first packets and refused ones */
struct bh_rule_stat_key {
	__u32 rule;
	__u32 nic;
	__u32 dir;
};

/* ---- events: ring buffer ---- */
enum bh_flow_type {
	BH_FLOW_NEW = 1,
	BH_FLOW_REFUSED = 2,
	BH_FLOW_CLOSED = 3,
	BH_FLOW_GUARD = 4, /* spoofing and the like: reason says what */
	BH_FLOW_DHCP = 5,  /* address learned: dst is the address, duration_ns the lease */
};
struct bh_flow_event {
	__u64 time_ns;
	__u64 packets[2]; /* closed: [0] by the opener, [1] by the other side; else how many like
			     this */
	__u64 bytes[2];
	__u64 duration_ns;
	__u32 gen;
	__u32 nic;	/* whose tap reports */
	__u32 peer_nic; /* 0 when not on this host */
	__u32 net;
	__u32 vlan;
	__u32 src_identity, dst_identity;
	__u32 rule;	    /* that decided; 0 none (guard) */
	__u32 other_rule;   /* closed and new: the rule of the other direction, when judged here */
	__u32 suppressed;   /* records of this NIC left out before this one */
	__u16 sport, dport; /* network order; ICMP: type and code in sport's bytes */
	__u16 ethertype;    /* host order */
	__u8 type;	    /* enum bh_flow_type */
	__u8 reason;	    /* enum bh_reason */
	__u8 dir;	    /* enum bh_dir of the judgement */
	__u8 action;
	__u8 proto;
	__u8 tcp_state; /* enum bh_ct_state at the end */
	__u8 src[16], dst[16];
	__u8 src_mac[6], dst_mac[6];
	__u8 pad[4];
};

#endif
