/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame that answers a packet which a rule rejects: TCP a RST (RFC 9293 3.10.7.1: with the
 * sequence number that its receiver waits for, or it is ignored), anything else an ICMP error
 * "administratively prohibited" to the sender (RFC 792, 1812, 4443). Never to a RST, an ICMP error,
 * a later fragment, nor about broadcast or multicast. Ethernet with VLAN tags, or bare IP.
 *
 * In a tunnel everything before the packet's own IP header is copied, turned round when it is for
 * the sender, and mended from the inside out: IP in IP, GRE, VXLAN, Geneve, Teredo, PPPoE. Where
 * what lies between differs by direction only the receiver is answered: labels of MPLS, PPTP's
 * numbers (what is rejected does not arrive, so its sequence number there is free).
 */
#include "gate/decode/checksum.h"
#include "gate/flow/flow.h"
#include "gate/stream/stream.h"
#include "gate/verdict/verdict.h"

#include <arpa/inet.h>
#include <string.h>

#define ETHERNET_SIZE 14
#define IP4_SIZE      20
#define IP6_SIZE      40
#define TCP_SIZE      20
#define ICMP_SIZE     8
#define TTL	      64
#define QUOTE4	      8	 /* of the transport, behind the IP header */
#define QUOTE6	      88 /* of the datagram: what fits into our frame, more is not needed */
#define OUR_ID	      0x4742
#define TAG_SIZE      4
#define UDP_SIZE      8
#define TEREDO	      3544
#define GRE_SUM	      0x80 /* in the first byte: a checksum is there, at 4 */
#define GRE_VERSION   7	   /* in the second */
#define TYPE_IP4      0x0800
#define TYPE_IP6      0x86dd
#define TYPE_PPPOE    0x8864
#define PPPOE_SIZE    6

struct maker {
	const struct gate_packet *p;
	bool to_sender;
	uint8_t *frame;
	size_t size, room;
};

static uint8_t *grow(struct maker *m, size_t size)
{
	uint8_t *at = m->frame + m->size;

	if (size > m->room - m->size) {
		return NULL;
	}
	memset(at, 0, size);
	m->size += size;
	return at;
}

static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t folded = gate_checksum_fold(sum);

	memcpy(at, &folded, sizeof(folded));
}

static const struct gate_packet *root_of(const struct gate_packet *p)
{
	while (p->outer) {
		p = p->outer;
	}
	return p;
}

static int ethernet_size(const struct gate_packet *p)
{
	return p->eth ? ETHERNET_SIZE + TAG_SIZE * p->vlan_count : 0;
}

/* What the frame says stands behind its tags (p->ethertype is that of the datagram). */
static unsigned int carried_type(const struct gate_packet *p)
{
	const uint8_t *at = p->eth + ethernet_size(p) - 2;

	return (unsigned int)(at[0] << 8 | at[1]);
}

/* Where PPPoE's header stands in p->data; < 0: there is none. PPP's protocol has two bytes, or
 * one. */
static int pppoe_at(const struct gate_packet *p)
{
	int at, left;

	if (!p->eth || p->flags & GATE_PKT_REASSEMBLED || carried_type(p) != TYPE_PPPOE) {
		return -1;
	}
	at = (int)(p->eth - p->data) + ethernet_size(p);
	left = (int)(p->l3.data - p->data) - at - PPPOE_SIZE;
	return left == 1 || left == 2 ? at : -1;
}

/* Bytes of the link layer before an IP header; < 0: not one that we can answer with. */
static int link_size(const struct gate_packet *p, bool to_sender)
{
	int size = ethernet_size(p), have = (int)(p->l3.data - p->data);
	unsigned int type = p->eth ? carried_type(p) : 0;

	if (p->flags & GATE_PKT_REASSEMBLED) { /* the frame was the last fragment's */
		return p->outer || (p->eth && type != TYPE_IP4 && type != TYPE_IP6) ? -1 : size;
	}
	if (!to_sender) { /* labels and the like lead there as they are */
		return have;
	}
	if (p->eth && p->eth != p->data) {
		return -1;
	}
	return have == size || pppoe_at(p) == size ? have : -1;
}

/* Addresses of the link layer at `at` in the frame. */
static void turn_link(uint8_t *at, const struct gate_packet *p)
{
	if (p->eth) {
		memcpy(at, p->eth + 6, 6);
		memcpy(at + 6, p->eth, 6);
	}
}

/* Everything before p's IP header; false: something stands there that we can't answer with. */
static bool prefix(struct maker *m)
{
	const struct gate_packet *p = m->p, *root = root_of(p);
	const uint8_t *from = p->flags & GATE_PKT_REASSEMBLED ? p->eth : root->data;
	int own = link_size(p, m->to_sender);
	size_t size = p->outer ? (size_t)(p->l3.data - root->data) : (size_t)own;
	uint8_t *at;

	if (own < 0) {
		return false;
	}
	at = grow(m, size);
	if (!at) {
		return false;
	}
	if (size) {
		memcpy(at, from, size);
	}
	if (!m->to_sender) {
		return true;
	}
	turn_link(at + size - own, p);
	for (const struct gate_packet *q = p->outer; q; q = q->outer) {
		turn_link(at + (q->data - root->data), q);
	}
	return true;
}

/* An IP header around what follows; its checksum is right at once. */
static bool network(struct maker *m, unsigned int proto, unsigned int carried)
{
	const struct gate_packet *p = m->p;
	const struct gate_addr *from = m->to_sender ? &p->dst : &p->src;
	const struct gate_addr *to = m->to_sender ? &p->src : &p->dst;
	uint8_t *at = grow(m, p->ip_version == 4 ? IP4_SIZE : IP6_SIZE);

	if (!at) {
		return false;
	}
	if (p->ip_version == 4) {
		at[0] = 0x45;
		gate_put16(at + 2, IP4_SIZE + carried);
		gate_put16(at + 4, OUR_ID);
		at[8] = TTL;
		at[9] = (uint8_t)proto;
		memcpy(at + 12, from->bytes + 12, 4);
		memcpy(at + 16, to->bytes + 12, 4);
		put_sum(at + 10, gate_checksum_add(0, at, IP4_SIZE));
		return true;
	}
	at[0] = 0x60;
	gate_put16(at + 4, carried);
	at[6] = (uint8_t)proto;
	at[7] = TTL;
	memcpy(at + 8, from->bytes, 16);
	memcpy(at + 24, to->bytes, 16);
	return true;
}

/* Over addresses, protocol, length; what a transport's checksum begins with. */
static uint64_t pseudo(const struct gate_packet *p, unsigned int proto, unsigned int size)
{
	unsigned int from = p->ip_version == 4 ? 12 : 0, addr = 16 - from;
	uint8_t tail[4] = {0, (uint8_t)proto, (uint8_t)(size >> 8), (uint8_t)size};
	uint64_t sum = gate_checksum_add(0, p->src.bytes + from, addr);

	sum = gate_checksum_add(sum, p->dst.bytes + from, addr);
	return gate_checksum_add(sum, tail, sizeof(tail));
}

/* What the packet's sequence number ends at: SYN and FIN count. */
static uint32_t end_of(const struct gate_packet *p)
{
	return ntohl(p->tcp->th_seq) + p->payload.size + !!(p->tcp->th_flags & TH_SYN) +
	       !!(p->tcp->th_flags & TH_FIN);
}

/* What the receiver of p waits for from its sender. */
static uint32_t awaited(const struct gate_packet *p)
{
	if (p->flow && p->flow->stream && !(p->tcp->th_flags & TH_SYN)) {
		uint32_t next = gate_stream_next_seq(p->flow->stream, p->dir);
		uint32_t seq = ntohl(p->tcp->th_seq);

		/* p itself may have been taken into the stream before the rule spoke */
		return next - seq <= p->payload.size + 1 ? seq : next;
	}
	return ntohl(p->tcp->th_seq);
}

static bool reset(struct maker *m)
{
	const struct gate_packet *p = m->p;
	bool acks = p->tcp->th_flags & TH_ACK;
	uint8_t *at;

	if (p->tcp->th_flags & TH_RST || !network(m, IPPROTO_TCP, TCP_SIZE)) {
		return false;
	}
	at = grow(m, TCP_SIZE);
	if (!at) {
		return false;
	}
	gate_put16(at, m->to_sender ? p->dport : p->sport);
	gate_put16(at + 2, m->to_sender ? p->sport : p->dport);
	at[12] = TCP_SIZE / 4 << 4;
	at[13] = TH_RST | TH_ACK;
	if (m->to_sender) {
		gate_put32(at + 4, acks ? ntohl(p->tcp->th_ack) : 0);
		gate_put32(at + 8, end_of(p));
	} else {
		gate_put32(at + 4, awaited(p));
		gate_put32(at + 8, acks ? ntohl(p->tcp->th_ack) : 0);
		at[13] = acks ? TH_RST | TH_ACK : TH_RST;
	}
	put_sum(at + 16, gate_checksum_add(pseudo(p, IPPROTO_TCP, TCP_SIZE), at, TCP_SIZE));
	return true;
}

static bool is_to_many(const struct gate_packet *p)
{
	const uint8_t *v4 = p->dst.bytes + 12;

	if (p->eth && p->eth[0] & 1) {
		return true;
	}
	return p->ip_version == 4 ? v4[0] >= 224 || !v4[0] : p->dst.bytes[0] == 0xff;
}

static bool is_answerable(const struct gate_packet *p)
{
	if (p->icmp4) {
		return p->icmp4->type == ICMP_ECHO || p->icmp4->type == ICMP_TIMESTAMP;
	}
	if (p->icmp6) {
		return p->icmp6->icmp6_type == ICMP6_ECHO_REQUEST;
	}
	return !(p->flags & GATE_PKT_FRAGMENT);
}

static bool unreachable(struct maker *m)
{
	const struct gate_packet *p = m->p;
	bool v4 = p->ip_version == 4;
	unsigned int proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, size;
	uint32_t quote = v4 ? p->l3_size + QUOTE4 : QUOTE6;
	uint8_t *at;

	if (!m->to_sender || is_to_many(p) || !is_answerable(p)) {
		return false;
	}
	quote = quote < p->l3.size ? quote : p->l3.size;
	size = ICMP_SIZE + quote;
	if (!network(m, proto, size)) {
		return false;
	}
	at = grow(m, size);
	if (!at) {
		return false;
	}
	at[0] = v4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH;
	at[1] = v4 ? ICMP_PKT_FILTERED : ICMP6_DST_UNREACH_ADMIN;
	memcpy(at + ICMP_SIZE, p->l3.data, quote);
	put_sum(at + 2, gate_checksum_add(v4 ? 0 : pseudo(p, proto, size), at, size));
	return true;
}

/* ---- what is around it ---- */

static bool mend_ip(struct maker *m, const struct gate_packet *q, uint8_t *ip, size_t size)
{
	bool v4 = q->ip_version == 4;
	size_t from = v4 ? 12 : 8, addr = v4 ? 4 : 16;
	uint8_t was[16];

	if (q->l3_size != (v4 ? IP4_SIZE : IP6_SIZE) || is_to_many(q)) {
		return false;
	}
	if (m->to_sender) {
		memcpy(was, ip + from, addr);
		memcpy(ip + from, ip + from + addr, addr);
		memcpy(ip + from + addr, was, addr);
	}
	if (!v4) {
		gate_put16(ip + 4, (unsigned int)size - IP6_SIZE);
		ip[7] = TTL;
		return true;
	}
	gate_put16(ip + 2, (unsigned int)size);
	gate_put16(ip + 4, OUR_ID);
	gate_put16(ip + 6, 0);
	ip[8] = TTL;
	gate_put16(ip + 10, 0);
	put_sum(ip + 10, gate_checksum_add(0, ip, IP4_SIZE));
	return true;
}

static void mend_udp(struct maker *m, const struct gate_packet *q, uint8_t *udp, unsigned int size)
{
	/* the ports of others stay: one is the tunnel's, the other only spreads flows */
	if (m->to_sender && (q->sport == TEREDO || q->dport == TEREDO)) {
		gate_put16(udp, q->dport);
		gate_put16(udp + 2, q->sport);
	}
	gate_put16(udp + 4, size);
	if (udp[6] || udp[7]) {
		gate_put16(udp + 6, 0);
		put_sum(udp + 6, gate_checksum_add(pseudo(q, IPPROTO_UDP, size), udp, size));
	}
}

/* PPPoE says how long what it carries is. */
static void mend_link(struct maker *m, const struct gate_packet *q)
{
	int within = pppoe_at(q);
	size_t at;

	if (within >= 0) {
		at = (size_t)within + (size_t)(q->data - root_of(q)->data);
		gate_put16(m->frame + at + 4, (unsigned int)(m->size - at - PPPOE_SIZE));
	}
}

/* GRE at `gre`, of `size` bytes with what it carries. PPTP's (version 1) says how long that is. */
static bool mend_gre(struct maker *m, const struct gate_packet *q, uint8_t *gre, size_t size)
{
	if (gre[1] & GRE_VERSION) {
		gate_put16(gre + 4, (unsigned int)(size - q->l4_size));
		return !m->to_sender;
	}
	if (gre[0] & GRE_SUM) {
		gate_put16(gre + 4, 0);
		put_sum(gre + 4, gate_checksum_add(0, gre, (uint32_t)size));
	}
	return true;
}

/* The layer of q, an outer packet, around what is made by now. */
static bool mend(struct maker *m, const struct gate_packet *q)
{
	size_t at = (size_t)(q->l3.data - root_of(q)->data), size = m->size - at;
	uint8_t *ip = m->frame + at, *l4 = ip + q->l3_size;

	if (!q->ip_version || link_size(q, m->to_sender) < 0 || !mend_ip(m, q, ip, size)) {
		return false;
	}
	size -= q->l3_size;
	switch (q->ip_proto) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return true;
	case IPPROTO_UDP:
		mend_udp(m, q, l4, (unsigned int)size);
		return true;
	case IPPROTO_GRE:
		return mend_gre(m, q, l4, size);
	default:
		return false;
	}
}

size_t gate_reject_frame(const struct gate_packet *p, bool to_sender, uint8_t *ret, size_t size)
{
	struct maker m = {.p = p, .to_sender = to_sender, .frame = ret, .room = size};

	/* what was put together from fragments stands in a buffer of its own */
	for (const struct gate_packet *q = p->outer; q; q = q->outer) {
		if (q->flags & (GATE_PKT_FRAGMENT | GATE_PKT_REASSEMBLED)) {
			return 0;
		}
	}
	if (!p->ip_version || p->flags & GATE_PKT_PSEUDO || !prefix(&m) ||
	    !(p->tcp ? reset(&m) : unreachable(&m))) {
		return 0;
	}
	mend_link(&m, p);
	for (const struct gate_packet *q = p->outer; q; q = q->outer) {
		if (!mend(&m, q)) {
			return 0;
		}
		mend_link(&m, q);
	}
	return m.size;
}
