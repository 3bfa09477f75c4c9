/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Reads a frame into the scratch: tags, addresses, extension headers, ports. What
 *           lies, is cut short or has more layers than anything honest is refused here.
 * Ownership The scratch of this CPU.
 * Threads   See maps.bpf.h.
 *
 * Headers are copied by bpf_skb_load_bytes, not read through packet pointers: it reads what is
 * not linear as well (frames from AF_PACKET rings have 14 linear bytes, GSO frames have pages),
 * it can't be cut short unnoticed, and it does not change the frame.
 */
#ifndef BH_BPF_PARSE_H
#define BH_BPF_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "maps.bpf.h"

#define BH_ETH_VLAN 0x8100
#define BH_ETH_QINQ 0x88a8
#define BH_ETH_IP   0x0800
#define BH_ETH_IPV6 0x86dd
#define BH_ETH_ARP  0x0806
#define BH_ETH_RARP 0x8035

#define BH_P_HOPOPTS 0
#define BH_P_ICMP    1
#define BH_P_IGMP    2
#define BH_P_TCP     6
#define BH_P_UDP     17
#define BH_P_ROUTING 43
#define BH_P_FRAG    44
#define BH_P_AH	     51
#define BH_P_ICMP6   58
#define BH_P_DSTOPTS 60
#define BH_P_SCTP    132

#define BH_TCP_FIN 0x01
#define BH_TCP_SYN 0x02
#define BH_TCP_RST 0x04
#define BH_TCP_ACK 0x10

#define BH_EXTHDR_MAX 8

#define BH_IP4_OPTIONS_MAX 40
#define BH_IP4_LSRR	   131
#define BH_IP4_SSRR	   137

struct bh_vlan_tag {
	__u16 tci;
	__u16 proto;
};

/* Ethernet and up to two tags. Returns a reason, BH_REASON_PASS when there is a layer 3 to look at.
 */
__weak int bh_parse_l2(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 tags = 0, outer = 0, inner = 0, off = sizeof(struct ethhdr);
	struct bh_vlan_tag tag;
	__u16 type;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	p->len = skb->len;
	if (bpf_skb_load_bytes(skb, 0, &p->eth, sizeof(p->eth))) {
		return BH_REASON_DROP_MALFORMED;
	}
	type = bpf_ntohs(p->eth.h_proto);
	if (skb->vlan_present) {
		outer = skb->vlan_tci & 0xfff;
		tags = 1;
	}
	for (int i = 0; i < 2; i++) {
		if (type != BH_ETH_VLAN && type != BH_ETH_QINQ) {
			break;
		}
		if (tags == 2) {
			return BH_REASON_DROP_VLAN;
		}
		if (bpf_skb_load_bytes(skb, off, &tag, sizeof(tag))) {
			return BH_REASON_DROP_MALFORMED;
		}
		if (tags == 0) {
			outer = bpf_ntohs(tag.tci) & 0xfff;
		} else {
			inner = bpf_ntohs(tag.tci) & 0xfff;
		}
		tags++;
		type = bpf_ntohs(tag.proto);
		off += sizeof(tag);
	}
	if (type == BH_ETH_VLAN || type == BH_ETH_QINQ) {
		return BH_REASON_DROP_VLAN;
	}
	p->vlan = outer << 16 | inner;
	p->ethertype = type;
	p->l3 = off;
	return BH_REASON_PASS;
}

/* Walks IPv6 extension headers from p->w.off on. */
__weak int bh_parse_ext(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	__u8 h[8];
	__u32 off, end, size;
	__u8 proto;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	off = p->w.off;
	end = p->w.end;
	proto = p->w.proto;
	for (int i = 0; i < BH_EXTHDR_MAX + 1; i++) {
		if (proto != BH_P_HOPOPTS && proto != BH_P_ROUTING && proto != BH_P_DSTOPTS &&
		    proto != BH_P_FRAG && proto != BH_P_AH) {
			p->w.off = off;
			p->w.proto = proto;
			return BH_REASON_PASS;
		}
		if (i == BH_EXTHDR_MAX || (proto == BH_P_HOPOPTS && i != 0)) {
			return BH_REASON_DROP_EXTHDR;
		}
		if (off + sizeof(h) > end || bpf_skb_load_bytes(skb, off, h, sizeof(h))) {
			return BH_REASON_DROP_MALFORMED;
		}
		if (proto == BH_P_ROUTING && h[2] == 0) {
			return BH_REASON_DROP_EXTHDR; /* RFC 5095 */
		}
		size = proto == BH_P_AH ? (h[1] + 2) * 4 : (h[1] + 1) * 8;
		if (proto == BH_P_FRAG) {
			__u32 word = h[2] << 8 | h[3];

			if (p->w.frag_seen) {
				return BH_REASON_DROP_EXTHDR;
			}
			size = sizeof(h);
			p->w.frag_seen = 1;
			p->w.frag_off = word & 0xfff8;
			p->w.frag_id = h[4] << 24 | h[5] << 16 | h[6] << 8 | h[7];
			p->w.frag_data = off + size;
			p->w.frag_proto = h[0];
			p->w.frag = p->w.frag_off ? BH_FRAG_LATER
				    : word & 1	  ? BH_FRAG_FIRST
						  : BH_FRAG_NONE;
			if (off + size > end ||
			    (word & 1 && !p->related && (end - off - size) % 8) ||
			    p->w.frag_off + (end - off - size) > 65535) {
				return BH_REASON_DROP_MALFORMED;
			}
		}
		off += size;
		if (off > end) {
			return BH_REASON_DROP_MALFORMED;
		}
		proto = h[0];
		if (p->w.frag == BH_FRAG_LATER) {
			p->w.off = off;
			p->w.proto = proto;
			return BH_REASON_PASS;
		}
	}
	return BH_REASON_DROP_EXTHDR;
}

/* Sets the walk of an IPv4 header. `room` is where what surrounds it ends. */
static __always_inline int bh_parse_ip4_head(struct bh_pkt *p, const struct iphdr *ip, __u32 off,
					     __u32 room, bool big)
{
	__u32 total = bpf_ntohs(ip->tot_len), head = ip->ihl * 4;
	__u16 word = bpf_ntohs(ip->frag_off);
	__u32 data;

	if (total == 0 && big) {
		total = room - off; /* BIG TCP: longer than the field can say */
	}
	if (ip->version != 4 || head < sizeof(*ip) || total < head || off + total > room) {
		return BH_REASON_DROP_MALFORMED;
	}
	data = total - head;
	p->w.off = off + head;
	p->w.end = off + total;
	p->w.proto = ip->protocol;
	p->w.frag_proto = ip->protocol;
	p->w.frag_data = off + head;
	p->w.frag_off = (word & 0x1fff) * 8;
	p->w.frag_id = ip->id;
	p->w.frag = p->w.frag_off ? BH_FRAG_LATER : word & 0x2000 ? BH_FRAG_FIRST : BH_FRAG_NONE;
	p->w.frag_seen = p->w.frag != BH_FRAG_NONE;
	if ((word & 0x2000 && data % 8) || p->w.frag_off + data > 65535) {
		return big && !p->w.frag_seen ? BH_REASON_PASS : BH_REASON_DROP_MALFORMED;
	}
	return BH_REASON_PASS;
}

/* IPv4 options: well formed, and no source route (RFC 7126, 4.3 and 4.4), which would take the
 * packet to others than the one that was judged. */
__weak int bh_parse_ip4_options(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 off, end;
	__u8 o[2];

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	off = p->l3 + sizeof(struct iphdr);
	end = p->l3 + p->ip_hlen;
	for (int i = 0; i < BH_IP4_OPTIONS_MAX; i++) {
		if (off >= end) {
			return BH_REASON_PASS;
		}
		if (bpf_skb_load_bytes(skb, off, o, 1)) {
			return BH_REASON_DROP_MALFORMED;
		}
		if (o[0] == 0) {
			return BH_REASON_PASS;
		}
		if (o[0] == 1) {
			off++;
			continue;
		}
		if (off + 2 > end || bpf_skb_load_bytes(skb, off, o, 2) || o[1] < 2 ||
		    off + o[1] > end) {
			return BH_REASON_DROP_MALFORMED;
		}
		if (o[0] == BH_IP4_LSRR || o[0] == BH_IP4_SSRR) {
			return BH_REASON_DROP_EXTHDR;
		}
		off += o[1];
	}
	return BH_REASON_PASS;
}

static __always_inline int bh_parse_ip4(struct __sk_buff *skb, struct bh_pkt *p)
{
	struct iphdr ip;
	int reason;

	if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip))) {
		return BH_REASON_DROP_MALFORMED;
	}
	p->v6 = 0;
	p->hop_limit = ip.ttl;
	p->ip_hlen = ip.ihl * 4;
	bh_ip_from4(&p->src, ip.saddr);
	bh_ip_from4(&p->dst, ip.daddr);
	reason = bh_parse_ip4_head(p, &ip, p->l3, p->len, skb->gso_size && p->len > 65535);
	return reason == BH_REASON_PASS && p->ip_hlen > sizeof(ip) ? bh_parse_ip4_options(skb)
								   : reason;
}

/* ::ffff:a.b.c.d is how the maps write IPv4; an IPv6 address of that form would be taken for it. */
static __always_inline bool bh_ip_is_mapped(const union bh_ip *ip)
{
	return ip->d[0] == 0 && ip->w[2] == bpf_htonl(0xffff);
}

static __always_inline int bh_parse_ip6(struct __sk_buff *skb, struct bh_pkt *p)
{
	struct ipv6hdr ip;
	__u32 size;

	if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip))) {
		return BH_REASON_DROP_MALFORMED;
	}
	size = bpf_ntohs(ip.payload_len);
	if (size == 0 && skb->gso_size && p->len > 65535) {
		size = p->len - p->l3 - sizeof(ip);
	}
	if (ip.version != 6 || p->l3 + sizeof(ip) + size > p->len) {
		return BH_REASON_DROP_MALFORMED;
	}
	p->v6 = 1;
	p->hop_limit = ip.hop_limit;
	p->ip_hlen = sizeof(ip);
	__builtin_memcpy(p->src.b, &ip.saddr, 16);
	__builtin_memcpy(p->dst.b, &ip.daddr, 16);
	if (bh_ip_is_mapped(&p->src) || bh_ip_is_mapped(&p->dst)) {
		return BH_REASON_DROP_MALFORMED; /* no such thing on a wire (RFC 4942, 2.2) */
	}
	p->w.off = p->l3 + sizeof(ip);
	p->w.end = p->w.off + size;
	p->w.proto = ip.nexthdr;
	p->w.frag_proto = ip.nexthdr;
	p->w.frag = BH_FRAG_NONE;
	p->w.frag_off = 0;
	p->w.frag_seen = 0;
	return bh_parse_ext(skb);
}

static __always_inline int bh_parse_tcp(struct bh_pkt *p, const __u8 *h, __u32 have)
{
	__u32 head = (h[12] >> 4) * 4;
	__u8 flags = h[13];

	if (head < 20 || head > have) {
		return BH_REASON_DROP_MALFORMED;
	}
	p->tcp_seq = bpf_ntohl(*(__u32 *)(h + 4));
	p->tcp_ack = bpf_ntohl(*(__u32 *)(h + 8));
	p->tcp_flags = flags;
	if (((flags & BH_TCP_SYN) && (flags & (BH_TCP_FIN | BH_TCP_RST))) ||
	    !(flags & (BH_TCP_SYN | BH_TCP_RST | BH_TCP_ACK | BH_TCP_FIN))) {
		return BH_REASON_DROP_MALFORMED; /* no stack sends these; scanners do */
	}
	p->opens = (flags & (BH_TCP_SYN | BH_TCP_ACK)) == BH_TCP_SYN;
	return BH_REASON_PASS;
}

static __always_inline int bh_parse_icmp(struct bh_pkt *p, const __u8 *h)
{
	__u8 type = h[0], request = p->v6 ? 128 : 8, reply = p->v6 ? 129 : 0;

	p->icmp_type = type;
	p->icmp_code = h[1];
	p->policy_port = type << 8 | h[1];
	if (type == request || type == reply) {
		p->sport = p->dport = *(__u16 *)(h + 4);
		p->opens = type == request;
		return BH_REASON_PASS;
	}
	p->opens = 0;
	if (p->v6 ? (type >= 1 && type <= 4)
		  : (type == 3 || type == 4 || type == 11 || type == 12)) {
		p->special = BH_SPECIAL_ICMP_ERROR;
		return p->w.frag == BH_FRAG_NONE ? BH_REASON_PASS : BH_REASON_DROP_ICMP_UNRELATED;
	}
	p->special = BH_SPECIAL_STATELESS;
	return BH_REASON_PASS;
}

/* The first chunk says whether an association begins or ends; RFC 9260, 3.2. */
static __always_inline int bh_parse_sctp(struct __sk_buff *skb, struct bh_pkt *p, __u32 have)
{
	__u8 chunk = 0;

	if (have >= 16 && bpf_skb_load_bytes(skb, p->w.off + 12, &chunk, 1)) {
		return BH_REASON_DROP_MALFORMED;
	}
	p->opens = have >= 16 && chunk == 1; /* INIT */
	if (chunk == 6 || chunk == 14) {     /* ABORT, SHUTDOWN COMPLETE */
		p->tcp_flags = BH_TCP_RST;
	}
	return BH_REASON_PASS;
}

/* The transport header, in whole packets and first fragments: it must be there as a whole. */
__weak int bh_parse_l4(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 have, need;
	__u8 *h;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	p->l4 = p->w.off;
	p->proto = p->w.proto;
	p->sport = p->dport = p->policy_port = 0;
	p->opens = 1;
	p->tcp_flags = 0;
	if (p->w.frag == BH_FRAG_LATER) {
		return BH_REASON_PASS;
	}
	have = p->w.end - p->w.off;
	need = p->proto == BH_P_TCP ? 20 : p->proto == BH_P_SCTP ? 12 : 8;
	if (p->proto != BH_P_TCP && p->proto != BH_P_UDP && p->proto != BH_P_SCTP &&
	    p->proto != BH_P_IGMP && p->proto != (p->v6 ? BH_P_ICMP6 : BH_P_ICMP)) {
		return BH_REASON_PASS;
	}
	h = p->buf;
	if (have < need) {
		return p->w.frag == BH_FRAG_FIRST ? BH_REASON_DROP_FRAGMENT
						  : BH_REASON_DROP_MALFORMED;
	}
	if (need == 20 ? bpf_skb_load_bytes(skb, p->w.off, h, 20)
		       : bpf_skb_load_bytes(skb, p->w.off, h, 8)) {
		return BH_REASON_DROP_MALFORMED;
	}
	switch (p->proto) {
	case BH_P_ICMP:
	case BH_P_ICMP6:
		return bh_parse_icmp(p, h);
	case BH_P_IGMP:
		p->icmp_type = h[0];
		return BH_REASON_PASS;
	default:
		break;
	}
	p->sport = *(__u16 *)h;
	p->dport = *(__u16 *)(h + 2);
	p->policy_port = bpf_ntohs(p->dport);
	if (p->proto == BH_P_TCP) {
		return bh_parse_tcp(p, h, have);
	}
	if (p->proto == BH_P_SCTP) {
		return bh_parse_sctp(skb, p, have);
	}
	if (p->proto == BH_P_UDP) {
		__u32 size = bpf_ntohs(*(__u16 *)(h + 4));

		if ((size < 8 || (size > have && p->w.frag == BH_FRAG_NONE)) &&
		    !(size == 0 && p->len > 65535)) {
			return BH_REASON_DROP_MALFORMED;
		}
	}
	return BH_REASON_PASS;
}

/* A destination that is more than one. Decides by the address where the MAC could lie about it. */
static __always_inline void bh_parse_group(struct bh_pkt *p)
{
	if (p->v6) {
		p->group = p->dst.b[0] == 0xff;
	} else {
		__u32 a = bpf_ntohl(p->dst.w[3]);

		p->group = a >> 28 == 0xe || a == 0xffffffff;
	}
}

__weak int bh_parse_l3(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	int reason;

	if (!p) {
		return BH_REASON_DROP_INTERNAL;
	}
	p->special = BH_SPECIAL_NONE;
	p->related = 0;
	reason = p->ethertype == BH_ETH_IP ? bh_parse_ip4(skb, p) : bh_parse_ip6(skb, p);
	if (reason != BH_REASON_PASS) {
		return reason;
	}
	if (bh_ip_same(&p->src, &p->dst)) {
		return BH_REASON_DROP_MALFORMED; /* "land" */
	}
	bh_parse_group(p);
	return bh_parse_l4(skb);
}

#endif
