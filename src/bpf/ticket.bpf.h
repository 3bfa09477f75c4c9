/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   The shortest way: a packet that looks, byte for byte where it matters, like one that
 *           the short way let pass a moment ago, passes like it, without a look at the connection
 *           table. For IPv4.
 * Ownership A ticket belongs to nobody: it ends by itself after BH_TICKET_TICKS. Packets counted
 *           under it are moved to the connection by whoever renews, replaces or ends it.
 * Threads   All CPUs share the slots. A slot is filled by who turns `seq` odd; readers take no
 *           lock, see bh_ticket_open(). See also "How a ticket ends".
 *
 * What a ticket stands for: tuple, tap and direction; the connection's entry allows them and the
 * packet changes no state. What it does not stand for is looked at each time: the generation and
 * the marks' number, the records of the NIC and of its peer (device, bridge, MAC, flags, identity:
 * all must be what they were), the frame's MACs, its lengths, its TCP flags.
 *
 * How a ticket ends: who changes a connection makes the change first and calls
 * bh_ticket_end() then; who grants a ticket makes it visible first and proves the connection again
 * then. Between the two steps of each lies a full barrier, so one of them sees the other, and no
 * ticket outlives what it stands for. Time is counted in ticks of the kernel, which cost one load;
 * a tick is 10 ms at most.
 */
#ifndef BH_BPF_TICKET_H
#define BH_BPF_TICKET_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "events.bpf.h"

#define BH_FAST_LEFT	 (-2) /* not proven: go the longer way */
#define BH_TICKET_TICKS	 64
#define BH_TICKET_MAX_NS (BH_TICKET_TICKS * 10000000ull)
#define BH_TICKET_PACKET (1ull << BH_TICKET_BYTES_BITS)
#define BH_TICKET_BYTES	 (BH_TICKET_PACKET - 1)

/* Where in a frame without tags and options things are. */
#define BH_TICKET_IP	 14
#define BH_TICKET_L4	 34
#define BH_TICKET_MIN	 42 /* up to the end of a UDP header */
#define BH_TICKET_TCP	 54
#define BH_TICKET_TCP_IN 13 /* flags within the TCP header */

static __always_inline struct bh_ticket *bh_ticket_at(__u64 addrs, __u32 ports)
{
	__u32 slot = bh_ticket_slot(addrs, ports);

	return bpf_map_lookup_elem(&bh_tickets, &slot);
}

/* Full barrier: an atomic operation that returns something is one. */
static __always_inline __u64 bh_ticket_take(__u64 *word)
{
	return __sync_lock_test_and_set(word, 0);
}

/* ---- counting ---- */
/* Moves what was counted to the connection. `side` is the sender's. */
static __always_inline void bh_ticket_settle(struct bh_ticket *l, struct bh_ct *ct, __u32 side)
{
	__u64 count = bh_ticket_take(&l->count), ticks = bpf_jiffies64() - l->since, last_ns;

	if (!count) {
		return;
	}
	__sync_fetch_and_add(&ct->packets[side & 1], count >> BH_TICKET_BYTES_BITS);
	__sync_fetch_and_add(&ct->bytes[side & 1], count & BH_TICKET_BYTES);
	last_ns = l->since_ns;
	if (ticks && l->last > l->since) {
		last_ns += (bpf_ktime_get_coarse_ns() - l->since_ns) * (l->last - l->since) / ticks;
	}
	if (last_ns > ct->last_ns) {
		ct->last_ns = last_ns;
	}
}

/* The connection that a ticket was granted for. Returns the sender's side. */
static __always_inline __u32 bh_ticket_key(const struct bh_ticket *l, struct bh_ct4_key *key)
{
	bool lo = l->src != l->dst ? bpf_ntohl(l->src) < bpf_ntohl(l->dst)
				   : bpf_ntohs(l->sport) <= bpf_ntohs(l->dport);

	__builtin_memset(key, 0, sizeof(*key));
	key->net = l->net;
	key->lo = lo ? l->src : l->dst;
	key->hi = lo ? l->dst : l->src;
	key->lo_port = lo ? l->sport : l->dport;
	key->hi_port = lo ? l->dport : l->sport;
	key->proto = l->proto;
	return !lo;
}

/* ---- ending ---- */
static __always_inline void bh_ticket_end_side(const struct bh_ct4_key *key, struct bh_ct *ct,
					       __u32 side)
{
	__u32 src = side ? key->hi : key->lo, dst = side ? key->lo : key->hi;
	__u16 sport = side ? key->hi_port : key->lo_port,
	      dport = side ? key->lo_port : key->hi_port;
	struct bh_ticket *l =
		bh_ticket_at(bh_ticket_addrs(src, dst), bh_ticket_ports(sport, dport));
	__u64 barrier;

	if (!l) {
		return;
	}
	barrier = __sync_fetch_and_add(&l->count, 0);
	asm volatile("" : : "r"(barrier));
	if (l->net != key->net || l->src != src || l->dst != dst || l->sport != sport ||
	    l->dport != dport || l->proto != key->proto) {
		return;
	}
	(void)bh_ticket_take(&l->until);
	if (ct) {
		bh_ticket_settle(l, ct, side);
	}
}

/* Ends what tickets a connection has; comes after the change that is the reason. `ct` is NULL when
 * the entry is no more. */
static __always_inline void bh_ticket_end(const struct bh_ct4_key *key, struct bh_ct *ct)
{
	if (!key->vlan) {
		bh_ticket_end_side(key, ct, 0);
		bh_ticket_end_side(key, ct, 1);
	}
}

/* ---- granting ---- */
/* Claims the slot for a new ticket and settles what the one before left. Returns NULL when a ticket
 * runs there, be it of another connection: it has its time. */
static __always_inline struct bh_ticket *bh_ticket_claim(const struct bh_ticket *want)
{
	struct bh_ticket *l = bh_ticket_at(bh_ticket_addrs(want->src, want->dst),
					   bh_ticket_ports(want->sport, want->dport));
	struct bh_ct4_key key;
	struct bh_ct *ct;
	__u32 seq, side;

	if (!l || *(volatile __u64 *)&l->until > want->since) {
		return 0;
	}
	seq = *(volatile __u32 *)&l->seq;
	if (seq & 1 || __sync_val_compare_and_swap(&l->seq, seq, seq + 1) != seq) {
		return 0;
	}
	if (l->count) {
		side = bh_ticket_key(l, &key);
		ct = bpf_map_lookup_elem(&bh_ct4, &key);
		if (ct) {
			bh_ticket_settle(l, ct, side);
		} else {
			bh_ticket_take(&l->count);
		}
	}
	return l;
}

/* Makes the ticket visible. The caller proves the connection again, or ends the ticket. */
static __always_inline void bh_ticket_publish(struct bh_ticket *l, const struct bh_ticket *want)
{
	__u32 seq;

	l->tap = want->tap;
	l->src = want->src;
	l->dst = want->dst;
	l->sport = want->sport;
	l->dport = want->dport;
	l->proto = want->proto;
	l->to = want->to;
	l->mark = want->mark;
	l->gen = want->gen;
	l->mark_nonce = want->mark_nonce;
	l->ctl_flags = want->ctl_flags;
	l->nic = want->nic;
	l->peer = want->peer;
	l->nic_dev = want->nic_dev;
	l->nic_slot = want->nic_slot;
	l->peer_dev = want->peer_dev;
	l->peer_slot = want->peer_slot;
	l->net = want->net;
	l->since = want->since;
	l->since_ns = want->since_ns;
	l->last = want->since;
	seq = __sync_fetch_and_add(&l->seq, 1);
	asm volatile("" : : "r"(seq));
	seq = !!__sync_lock_test_and_set(&l->until, want->since + BH_TICKET_TICKS);
	asm volatile("" : : "r"(seq));
}

/* ---- using ---- */
/*
 * Begins to read a slot. Everything is read through the pointer that comes back, which depends on
 * the sequence number, so that also CPUs that like to read ahead read the number first. What was
 * read holds if bh_ticket_use() says so.
 */
static __always_inline struct bh_ticket *bh_ticket_open(struct bh_ticket *l, __u32 *ret_seq)
{
	__u64 none;

	*ret_seq = *(volatile __u32 *)&l->seq;
	none = *ret_seq;
	asm volatile("%0 &= 0" : "+r"(none));
	return (void *)l + none;
}

/* Counts the packet. False when the slot was written in the meantime. */
static __always_inline bool bh_ticket_use(struct bh_ticket *l, __u32 seq, __u32 len)
{
	__u64 barrier = __sync_fetch_and_add(&l->count, BH_TICKET_PACKET | len);

	asm volatile("" : : "r"(barrier));
	return *(volatile __u32 *)&l->seq == (seq & ~1u);
}

/* Is this transport header one that changes no state? */
static __always_inline bool bh_ticket_l4(const __u8 *d, const void *end, __u8 proto, __u32 have)
{
	const __u8 *h = d + BH_TICKET_L4;
	__u32 size;

	if (proto == BH_P_UDP) {
		size = bpf_ntohs(*(const __u16 *)(h + 4));
		return size >= 8 && size <= have;
	}
	if ((const void *)(d + BH_TICKET_TCP) > end) {
		return false;
	}
	size = (h[12] >> 4) * 4;
	return size >= 20 && size <= have &&
	       (h[BH_TICKET_TCP_IN] & (BH_TCP_SYN | BH_TCP_FIN | BH_TCP_RST | BH_TCP_ACK)) ==
		       BH_TCP_ACK;
}

/* A plain IPv4 packet whose lengths are honest? */
static __always_inline bool bh_ticket_l3(struct __sk_buff *skb, const __u8 *d, const void *end,
					 __u8 proto)
{
	__u32 total = bpf_ntohs(*(const __u16 *)(d + BH_TICKET_IP + 2));

	return (*(const __u32 *)(d + 12) & bpf_htonl(0xffffff00)) == bpf_htonl(0x08004500) &&
	       (*(const __u32 *)(d + BH_TICKET_IP + 6) & bpf_htonl(0x3fff00ff)) ==
		       bpf_htonl(proto) &&
	       total >= 28 && total + BH_TICKET_IP <= skb->len &&
	       bh_ticket_l4(d, end, proto, total - 20);
}

static __always_inline __u32 bh_ticket_mac_differs(const __u8 *a, const __u8 *b)
{
	return (*(const __u32 *)a ^ *(const __u32 *)b) |
	       (*(const __u16 *)(a + 4) ^ *(const __u16 *)(b + 4));
}

/* Two fields that lie side by side. */
static __always_inline __u64 bh_ticket_pair(const __u32 *first)
{
	return *(const volatile __u64 *)first;
}

static __always_inline __u64 bh_ticket_dev(const struct bh_nic *n)
{
	return bh_ticket_pair(&n->ifindex);
}

static __always_inline __u64 bh_ticket_nic_slot(const struct bh_nic *n, __u32 gen)
{
	return bh_ticket_pair(&n->slot[gen & 1].flags);
}

/* Does a ticket cover this frame, as far as the frame itself says? */
static __always_inline bool bh_ticket_covers(struct __sk_buff *skb, const struct bh_ticket *l,
					     enum bh_dir dir)
{
	const __u8 *d = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;

	return (const void *)(d + BH_TICKET_MIN) <= end && !skb->vlan_present &&
	       l->tap == (skb->ifindex << 1 | dir) &&
	       !((*(const __u64 *)&l->src ^ *(const __u64 *)(d + BH_TICKET_IP + 12)) |
		 (*(const __u32 *)&l->sport ^ *(const __u32 *)(d + BH_TICKET_L4))) &&
	       bh_ticket_l3(skb, d, end, l->proto);
}

/* Are the NIC's record and MAC what they were? `mac` is in the frame. */
static __always_inline bool bh_ticket_nic_holds(const struct bh_ticket *l, __u32 nic, __u64 dev,
						__u64 slot, const __u8 *mac)
{
	const struct bh_nic *n = bpf_map_lookup_elem(&bh_nics, &nic);

	return n && !((dev ^ bh_ticket_dev(n)) | (slot ^ bh_ticket_nic_slot(n, l->gen)) |
		      bh_ticket_mac_differs(n->mac, mac));
}

/* Is the host's word still the same? */
static __always_inline bool bh_ticket_is_current(const struct bh_ticket *l)
{
	const struct bh_ctl *ctl = bh_ctl_get();

	return ctl && !((bh_ticket_pair(&l->gen) ^ bh_ticket_pair(&ctl->gen)) |
			(l->ctl_flags ^ ctl->flags));
}

/* Does a ticket cover this packet? Returns what the program returns, or BH_FAST_LEFT. */
static __always_inline int bh_ticket_pass(struct __sk_buff *skb, enum bh_dir dir)
{
	const __u8 *d = (const void *)(long)skb->data;
	__u32 seq, mark, to;
	struct bh_ticket *l;

	if ((const void *)(d + BH_TICKET_MIN) > (const void *)(long)skb->data_end) {
		return BH_FAST_LEFT;
	}
	l = bh_ticket_at(*(const __u64 *)(d + BH_TICKET_IP + 12),
			 *(const __u32 *)(d + BH_TICKET_L4));
	if (!l) {
		return BH_FAST_LEFT;
	}
	l = bh_ticket_open(l, &seq);
	if (bpf_jiffies64() >= *(volatile __u64 *)&l->until || !bh_ticket_covers(skb, l, dir) ||
	    !bh_ticket_is_current(l) ||
	    !bh_ticket_nic_holds(l, l->nic, l->nic_dev, l->nic_slot,
				 dir == BH_DIR_EGRESS ? d + 6 : d)) {
		return BH_FAST_LEFT;
	}
	if (dir == BH_DIR_INGRESS ? skb->mark != l->mark
	    : l->peer		  ? !bh_ticket_nic_holds(l, l->peer, l->peer_dev, l->peer_slot, d)
				  : d[0] & 1) {
		return BH_FAST_LEFT;
	}
	/* Read before it is known whether what was read holds: behind that only counters are. */
	mark = dir == BH_DIR_EGRESS ? l->mark : 0;
	to = dir == BH_DIR_EGRESS ? l->to : 0;
	if (!bh_ticket_use(l, seq, skb->len)) {
		return BH_FAST_LEFT;
	}
	l->last = bpf_jiffies64();
	skb->mark = mark;
	bh_pass_add(l->nic, to, skb->len);
	if (!to) {
		return TC_ACT_UNSPEC;
	}
	bh_pass_add(l->peer, false, skb->len);
	return bpf_redirect(to, 0);
}

#endif
