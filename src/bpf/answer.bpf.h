/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Turns a rejected packet into its answer: TCP RST (RFC 9293, 3.10.7.1), else ICMP or
 *           ICMPv6 "administratively prohibited", and sends it back where the packet came from.
 * Ownership The packet; the scratch of this CPU.
 * Threads   See maps.bpf.h.
 *
 * A packet whose checksum is left to the hardware keeps that property, and no helper takes it
 * away: at the end something adds up what lies behind the start of its TCP or UDP header and
 * writes the result into that header's checksum field. So the answer is laid out for it: an RST
 * holds the pseudo header's sum there, as TCP would; an ICMP message about UDP leaves its own
 * field zero and lets the result, which lands in its unused bytes 6 and 7, make the whole come
 * out right.
 */
#ifndef BH_BPF_ANSWER_H
#define BH_BPF_ANSWER_H

#include <linux/tcp.h>
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "events.bpf.h"

#define BH_ANSWER_L4                                                                               \
	40 /* where in the buffer the transport header is; the IP header ends there                \
	    */
#define BH_ANSWER_QUOTE 128 /* bytes of the refused packet that go into an ICMP message */

static __always_inline __u16 bh_answer_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Sum of the pseudo header of a packet between the two addresses, either way. */
static __always_inline __u64 bh_answer_pseudo(const struct bh_pkt *p, __u8 proto, __u32 size)
{
	__u64 sum = bpf_htonl(size) + (__u64)bpf_htonl(proto);

	if (!p->v6) {
		return sum + p->src.w[3] + p->dst.w[3];
	}
	for (int i = 0; i < 4; i++) {
		sum += (__u64)p->src.w[i] + p->dst.w[i];
	}
	return sum;
}

/* Is the packet's TCP or UDP checksum left to the hardware? Then its field is the pseudo header's
 * sum. */
static __always_inline bool bh_answer_is_partial(struct __sk_buff *skb, const struct bh_pkt *p)
{
	__u16 field = 0;

	if (p->proto != BH_P_TCP && p->proto != BH_P_UDP) {
		return false;
	}
	if (skb->gso_size) {
		return true;
	}
	if (bpf_skb_load_bytes(skb, p->l4 + (p->proto == BH_P_TCP ? 16 : 6), &field, 2)) {
		return false;
	}
	return field == bh_answer_fold(bh_answer_pseudo(p, p->proto, p->w.end - p->l4));
}

/* May this packet be answered at all? RFC 1122 3.2.2, RFC 4443 2.4 (e). */
static __always_inline bool bh_answer_is_due(const struct bh_pkt *p)
{
	if (p->group || p->related || p->w.frag_seen || p->eth.h_dest[0] & 1 ||
	    p->special != BH_SPECIAL_NONE) {
		return false;
	}
	if (p->v6 ? (p->src.d[0] == 0 && p->src.d[1] == 0) : p->src.w[3] == 0) {
		return false;
	}
	return p->proto != BH_P_TCP || !(p->tcp_flags & BH_TCP_RST);
}

static __always_inline void bh_answer_ip(struct bh_pkt *p, __u8 proto, __u32 size)
{
	if (p->v6) {
		struct ipv6hdr *ip = (struct ipv6hdr *)(p->buf + BH_ANSWER_L4 - sizeof(*ip));

		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 6;
		ip->payload_len = bpf_htons(size);
		ip->nexthdr = proto;
		ip->hop_limit = 64;
		__builtin_memcpy(&ip->saddr, p->dst.b, 16);
		__builtin_memcpy(&ip->daddr, p->src.b, 16);
	} else {
		struct iphdr *ip = (struct iphdr *)(p->buf + BH_ANSWER_L4 - sizeof(*ip));

		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 4;
		ip->ihl = 5;
		ip->tot_len = bpf_htons(sizeof(*ip) + size);
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = 64;
		ip->protocol = proto;
		ip->saddr = p->dst.w[3];
		ip->daddr = p->src.w[3];
		ip->check = ~bh_answer_fold(bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0));
	}
}

/* Writes the RST into the buffer. Returns its size, 0 when it can't be made. */
static __always_inline __u32 bh_answer_rst(struct __sk_buff *skb, struct bh_pkt *p, bool partial)
{
	struct tcphdr *tcp = (struct tcphdr *)(p->buf + BH_ANSWER_L4);
	__u32 size = sizeof(*tcp), len;
	__u64 pseudo;
	__u8 doff;

	if (bpf_skb_load_bytes(skb, p->l4 + 12, &doff, 1)) {
		return 0;
	}
	len = p->w.end - p->l4 - (doff >> 4) * 4 + !!(p->tcp_flags & BH_TCP_SYN) +
	      !!(p->tcp_flags & BH_TCP_FIN);
	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = p->dport;
	tcp->dest = p->sport;
	tcp->doff = 5;
	tcp->rst = 1;
	if (p->tcp_flags & BH_TCP_ACK) {
		tcp->seq = bpf_htonl(p->tcp_ack);
	} else {
		tcp->ack = 1;
		tcp->ack_seq = bpf_htonl(p->tcp_seq + len);
	}
	pseudo = bh_answer_pseudo(p, BH_P_TCP, size);
	if (partial) {
		tcp->check = bh_answer_fold(pseudo);
	} else {
		__s64 sum = bpf_csum_diff(0, 0, (__be32 *)tcp, sizeof(*tcp), 0);

		tcp->check = ~bh_answer_fold(pseudo + (__u32)sum);
	}
	bh_answer_ip(p, BH_P_TCP, size);
	return size;
}

/* Writes the ICMP message into the buffer. Returns its size, 0 when it can't be made. */
static __always_inline __u32 bh_answer_icmp(struct __sk_buff *skb, struct bh_pkt *p, bool partial)
{
	__u32 quote = p->w.end - p->l3, size;
	__u8 *icmp = p->buf + BH_ANSWER_L4;
	__u64 pseudo = 0;
	__s64 sum;

	if (quote > BH_ANSWER_QUOTE) {
		quote = BH_ANSWER_QUOTE;
	}
	asm volatile("" : "+r"(quote));
	if (quote < 20 || quote > BH_ANSWER_QUOTE) {
		return 0;
	}
	__builtin_memset(icmp, 0, 8 + BH_ANSWER_QUOTE);
	if (bpf_skb_load_bytes(skb, p->l3, icmp + 8, quote)) {
		return 0;
	}
	size = 8 + quote;
	icmp[0] = p->v6 ? 1 : 3;
	icmp[1] = p->v6 ? 1 : 13;
	if (p->v6) {
		pseudo = bh_answer_pseudo(p, BH_P_ICMP6, size);
	}
	if (partial) {
		*(__u16 *)(icmp + 6) = bh_answer_fold(pseudo);
	} else {
		sum = bpf_csum_diff(0, 0, (__be32 *)icmp, 8 + BH_ANSWER_QUOTE, 0);
		*(__u16 *)(icmp + 2) = ~bh_answer_fold(pseudo + (__u32)sum);
	}
	bh_answer_ip(p, p->v6 ? BH_P_ICMP6 : BH_P_ICMP, size);
	return size;
}

/* The frame becomes what is in the buffer, with its MACs swapped and its tags kept. */
static __always_inline int bh_answer_write(struct __sk_buff *skb, struct bh_pkt *p, __u32 size)
{
	__u32 head = p->v6 ? 40 : 20;
	__u8 mac[12];

	__builtin_memcpy(mac, p->eth.h_source, 6);
	__builtin_memcpy(mac + 6, p->eth.h_dest, 6);
	if (bpf_skb_change_tail(skb, p->l3 + head + size, 0) ||
	    bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0)) {
		return -1;
	}
	if (p->v6 ? bpf_skb_store_bytes(skb, p->l3, p->buf, 40, BPF_F_RECOMPUTE_CSUM)
		  : bpf_skb_store_bytes(skb, p->l3, p->buf + 20, 20, BPF_F_RECOMPUTE_CSUM)) {
		return -1;
	}
	asm volatile("" : "+r"(size));
	if (size < 8 || size > 8 + BH_ANSWER_QUOTE) {
		return -1;
	}
	return bpf_skb_store_bytes(skb, p->l3 + head, p->buf + BH_ANSWER_L4, size,
				   BPF_F_RECOMPUTE_CSUM);
}

/*
 * Answers the packet in the scratch, which was refused in direction `dir` of the running program.
 * Returns what the program returns: the answer on its way, or a plain drop.
 */
__weak int bh_answer(struct __sk_buff *skb, __u32 dir)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_nic_state *state;
	__u32 size;
	bool partial;

	if (!p || !bh_answer_is_due(p)) {
		return TC_ACT_SHOT;
	}
	state = bh_nic_state_get(p->nic);
	if (!state) {
		return TC_ACT_SHOT;
	}
	bh_bucket_fill(state, p->now);
	if (!bh_bucket_take(&state->answer_tokens)) {
		bh_stat_add(p->nic, BH_REASON_ANSWER_LIMITED, p->len);
		return TC_ACT_SHOT;
	}
	partial = bh_answer_is_partial(skb, p);
	if (partial && p->l4 != p->l3 + (p->v6 ? 40 : 20)) {
		return TC_ACT_SHOT; /* the answer's header would not be where the sum is written */
	}
	size = p->proto == BH_P_TCP ? bh_answer_rst(skb, p, partial)
				    : bh_answer_icmp(skb, p, partial);
	if (!size || bh_answer_write(skb, p, size)) {
		bh_stat_add(p->nic, BH_REASON_DROP_INTERNAL, p->len);
		return TC_ACT_SHOT;
	}
	bh_stat_add(p->nic, BH_REASON_ANSWER_SENT, p->l3 + size);
	skb->mark = p->nonce | BH_MARK_ANSWER;
	return bpf_redirect(skb->ifindex, dir == BH_DIR_EGRESS ? 0 : BPF_F_INGRESS);
}

#endif
