/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPv6 (RFC 8200) and its extension headers. Bits of p->ip6_exts: 0 hop-by-hop, 1 destination,
 * 2 routing, 3 fragment, 4 AH, 5 ESP, 6 mobility, HIP or Shim6.
 */
#include "gate/decode/decoder.h"

#include <string.h>

#define IP6_SIZE      40
#define IP4_MIN	      20
#define EXTS_MAX      20
#define FRAGMENT_SIZE 8
#define AH_SIZE	      12

enum {
	NH_HOP = 0,
	NH_ROUTING = 43,
	NH_FRAGMENT = 44,
	NH_NONE = 59,
	NH_DST = 60,
	NH_MOBILITY = 135,
	NH_HIP = 139,
	NH_SHIM6 = 140,
};

enum ext_bit {
	EXT_HOP = 1 << 0,
	EXT_DST = 1 << 1,
	EXT_ROUTING = 1 << 2,
	EXT_FRAGMENT = 1 << 3,
	EXT_AH = 1 << 4,
	EXT_ESP = 1 << 5,
	EXT_OTHER = 1 << 6,
};

enum ip6_option {
	OPT_PAD1 = 0,
	OPT_PADN = 1,
	OPT_ROUTER_ALERT = 5,
	OPT_JUMBO = 0xc2,
	OPT_HOME_ADDRESS = 0xc9,
};

/* Where the walk over the headers stands. */
struct walk {
	const uint8_t *data; /* of the next header */
	uint32_t size;
	unsigned int next;    /* what it is */
	uint32_t next_at;     /* the byte that says so, from the IPv6 header */
	unsigned int options; /* destination headers seen */
	bool done;	      /* nothing more to be done */
};

/* One option; its size, or 0 when it can't be. */
static unsigned int option(struct gate_packet *p, const uint8_t *opt, unsigned int left, bool hop,
			   unsigned int *pads, unsigned int *others)
{
	unsigned int len, least = 0;

	if (opt[0] == OPT_PAD1) {
		++*pads;
		return 1;
	}
	if (left < 2 || opt[1] + 2u > left) {
		return 0;
	}
	len = opt[1];
	switch (opt[0]) {
	case OPT_PADN:
		++*pads;
		if (!len) {
			gate_packet_event(p, GATE_EVENT_IPV6_ZERO_LEN_PADN);
		}
		return 2 + len;
	case OPT_ROUTER_ALERT:
		least = 2;
		break;
	case OPT_JUMBO:
		return len < 4 ? 0 : 2 + len;
	case OPT_HOME_ADDRESS:
		least = 16;
		break;
	default:
		gate_packet_event(p, hop ? GATE_EVENT_IPV6_HOPOPTS_UNKNOWN_OPT
					 : GATE_EVENT_IPV6_DSTOPTS_UNKNOWN_OPT);
	}
	if (len < least) {
		return 0;
	}
	++*others;
	return 2 + len;
}

static void options(struct gate_packet *p, const uint8_t *data, unsigned int size, bool hop)
{
	unsigned int pads = 0, others = 0;

	while (size) {
		unsigned int used = option(p, data, size, hop, &pads, &others);

		if (!used) {
			gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_INVALID_OPTLEN);
			break;
		}
		data += used;
		size -= used;
	}
	if (pads && !others) {
		gate_packet_event(p, hop ? GATE_EVENT_IPV6_HOPOPTS_ONLY_PADDING
					 : GATE_EVENT_IPV6_DSTOPTS_ONLY_PADDING);
	}
}

/* Behind a header of that size; false: it is longer than what is there. */
static bool step(struct gate_packet *p, struct walk *w, uint32_t size)
{
	if (size > w->size) {
		decode_invalid(p, GATE_EVENT_IPV6_TRUNC_EXTHDR);
		w->done = true;
		return false;
	}
	w->next = w->data[0];
	w->next_at = (uint32_t)(w->data - p->l3.data);
	w->data += size;
	w->size -= size;
	p->l3_size += size;
	p->ip6_ext_count++;
	return true;
}

static void option_header(struct gate_packet *p, struct walk *w, bool hop)
{
	const uint8_t *data = w->data;
	uint32_t size = (data[1] + 1u) * 8;

	if (!step(p, w, size)) {
		return;
	}
	if (hop && p->ip6_exts & EXT_HOP) {
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_DUPL_HH);
		return;
	}
	if (!hop && ++w->options > 2) { /* before and after a routing header */
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_DUPL_DH);
		return;
	}
	p->ip6_exts |= hop ? EXT_HOP : EXT_DST;
	options(p, data + 2, size - 2, hop);
}

static void routing(struct gate_packet *p, struct walk *w)
{
	const uint8_t *data = w->data;

	if (!step(p, w, (data[1] + 1u) * 8)) {
		return;
	}
	if (p->ip6_exts & EXT_ROUTING) {
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_DUPL_RH);
		return;
	}
	p->ip6_exts |= EXT_ROUTING;
	if (!data[2]) {
		gate_packet_event(p, GATE_EVENT_IPV6_RH_TYPE_0);
	}
}

static void authentication(struct gate_packet *p, struct walk *w)
{
	const uint8_t *data = w->data;
	uint32_t size = data[1] ? AH_SIZE + (data[1] - 1u) * 4 : AH_SIZE;

	if (!step(p, w, size)) {
		return;
	}
	if (gate_be16(data + 2)) {
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_AH_RES_NOT_NULL);
	}
	if (p->ip6_exts & EXT_AH) {
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_DUPL_AH);
	}
	p->ip6_exts |= EXT_AH;
}

static void fragment(struct gate_decoder *d, struct gate_packet *p, struct walk *w)
{
	const uint8_t *data = w->data;
	uint32_t before = p->l3_size, next_at = w->next_at, left = w->size;
	struct defrag_part part;

	if (!step(p, w, FRAGMENT_SIZE)) {
		return;
	}
	if (data[1]) {
		gate_packet_event(p, GATE_EVENT_IPV6_FH_NON_ZERO_RESERVED_FIELD);
	}
	if (p->ip6_exts & EXT_FRAGMENT) {
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_DUPL_FH);
		return;
	}
	p->ip6_exts |= EXT_FRAGMENT;
	if (!(gate_be16(data + 2) & 0xfff9)) {
		/* an atomic fragment (RFC 6946): read on */
		gate_packet_event(p, GATE_EVENT_IPV6_EXTHDR_USELESS_FH);
		return;
	}
	w->done = true;
	p->ip_proto = NH_FRAGMENT;
	part = (struct defrag_part){
		.id = gate_be32(data + 4),
		.offset = gate_be16(data + 2) & 0xfff8,
		.more = gate_be16(data + 2) & 1,
		.header = p->l3.data,
		.header_size = before,
		.next_at = next_at,
		.next_header = data[0],
		.data = w->data,
		.size = w->size,
	};
	if (part.more && left % 8) {
		gate_packet_event(p, GATE_EVENT_IPV6_FRAG_INVALID_LENGTH);
	}
	p->payload = (struct gate_view){w->data, w->size};
	decode_fragment(d, p, &part);
}

static void inner_ip4(struct gate_decoder *d, struct gate_packet *p, const struct walk *w)
{
	if (w->size < IP4_MIN) {
		decode_invalid(p, GATE_EVENT_IPV6_IPV4_IN_IPV6_TOO_SMALL);
	} else if (w->data[0] >> 4 != 4) {
		decode_invalid(p, GATE_EVENT_IPV6_IPV4_IN_IPV6_WRONG_VERSION);
	} else {
		decode_spawn(d, p, w->data, w->size, GATE_LINK_IPV4);
	}
}

static void inner_ip6(struct gate_decoder *d, struct gate_packet *p, const struct walk *w)
{
	if (w->size < IP6_SIZE) {
		decode_invalid(p, GATE_EVENT_IPV6_IPV6_IN_IPV6_TOO_SMALL);
	} else if (w->data[0] >> 4 != 6) {
		decode_invalid(p, GATE_EVENT_IPV6_IPV6_IN_IPV6_WRONG_VERSION);
	} else {
		decode_spawn(d, p, w->data, w->size, GATE_LINK_IPV6);
	}
}

/* What is no extension header: the walk ends. */
static void upper(struct gate_decoder *d, struct gate_packet *p, struct walk *w)
{
	w->done = true;
	p->ip_proto = (uint8_t)w->next;
	p->payload = (struct gate_view){w->data, w->size};
	if (p->ip6_ext_count && w->size < 2 && w->next != NH_NONE) {
		decode_invalid(p, GATE_EVENT_IPV6_TRUNC_EXTHDR);
		return;
	}
	switch (w->next) {
	case IPPROTO_TCP:
		decode_tcp(d, p, w->data, w->size);
		break;
	case IPPROTO_UDP:
		decode_udp(d, p, w->data, w->size);
		break;
	case IPPROTO_ICMPV6:
		decode_icmp6(p, w->data, w->size);
		break;
	case IPPROTO_SCTP:
		decode_sctp(p, w->data, w->size);
		break;
	case IPPROTO_GRE:
		decode_gre(d, p, w->data, w->size);
		break;
	case IPPROTO_IPIP:
		inner_ip4(d, p, w);
		break;
	case IPPROTO_IPV6:
		inner_ip6(d, p, w);
		break;
	case IPPROTO_ESP:
		p->ip6_exts |= EXT_ESP;
		p->ip6_ext_count++;
		decode_esp(p, w->data, w->size);
		break;
	case NH_NONE:
		if (w->size) {
			gate_packet_event(p, GATE_EVENT_IPV6_DATA_AFTER_NONE_HEADER);
		}
		break;
	case IPPROTO_ICMP:
		gate_packet_event(p, GATE_EVENT_IPV6_ICMPV4);
		break;
	default:
		gate_packet_event(p, GATE_EVENT_IPV6_UNKNOWN_NEXT_HEADER);
	}
}

static bool is_ext(unsigned int next)
{
	switch (next) {
	case NH_HOP:
	case NH_DST:
	case NH_ROUTING:
	case NH_FRAGMENT:
	case NH_MOBILITY:
	case NH_HIP:
	case NH_SHIM6:
	case IPPROTO_AH:
		return true;
	default:
		return false;
	}
}

static void ext(struct gate_decoder *d, struct gate_packet *p, struct walk *w)
{
	p->ip_proto = (uint8_t)w->next;
	if (w->size < 8) {
		decode_invalid(p, GATE_EVENT_IPV6_TRUNC_EXTHDR);
		w->done = true;
		return;
	}
	if (p->ip6_ext_count == EXTS_MAX) {
		decode_invalid(p, GATE_EVENT_TOO_MANY_LAYERS);
		w->done = true;
		return;
	}
	switch (w->next) {
	case NH_HOP:
	case NH_DST:
		option_header(p, w, w->next == NH_HOP);
		break;
	case NH_ROUTING:
		routing(p, w);
		break;
	case NH_FRAGMENT:
		fragment(d, p, w);
		break;
	case IPPROTO_AH:
		authentication(p, w);
		break;
	default:
		p->ip6_exts |= EXT_OTHER;
		step(p, w, (w->data[1] + 1u) * 8);
	}
}

static enum gate_event check_header(const uint8_t *data, uint32_t size)
{
	if (size < IP6_SIZE) {
		return GATE_EVENT_IPV6_PKT_TOO_SMALL;
	}
	if (data[0] >> 4 != 6) {
		return GATE_EVENT_IPV6_WRONG_IP_VERSION;
	}
	return size < IP6_SIZE + (uint32_t)gate_be16(data + 4) ? GATE_EVENT_IPV6_TRUNC_PKT
							       : GATE_EVENT_NONE;
}

void decode_ip6(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	enum gate_event event;
	struct walk w;

	if (!decode_layer(d, p)) {
		return;
	}
	event = check_header(data, size);
	if (event) {
		decode_invalid(p, event);
		return;
	}
	w = (struct walk){.data = data + IP6_SIZE,
			  .size = gate_be16(data + 4),
			  .next = data[6],
			  .next_at = offsetof(struct ip6_hdr, ip6_nxt)};
	p->ip6 = (const gate_ip6_hdr *)data;
	p->ip_version = 6;
	p->ttl = data[7];
	memcpy(p->src.bytes, data + 8, 16);
	memcpy(p->dst.bytes, data + 24, 16);
	p->l3_size = IP6_SIZE;
	p->l3 = (struct gate_view){data, IP6_SIZE + w.size};
	while (!w.done && is_ext(w.next)) {
		ext(d, p, &w);
	}
	if (!w.done) {
		upper(d, p, &w);
	}
}
