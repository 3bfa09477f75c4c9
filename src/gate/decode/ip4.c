/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 (RFC 791) with its options. A datagram of which bytes are missing is not looked into. */
#include "gate/decode/decoder.h"

#include <string.h>

#define IP4_MIN	    20
#define OFFSET_BITS 0x1fff
#define MORE_BIT    0x2000

enum ip4_option {
	OPT_EOL = 0,
	OPT_NOP = 1,
	OPT_RR = 7,
	OPT_QS = 25,
	OPT_TS = 68,
	OPT_SEC = 130,
	OPT_LSRR = 131,
	OPT_ESEC = 133,
	OPT_CIPSO = 134,
	OPT_SID = 136,
	OPT_SSRR = 137,
	OPT_RTRALT = 148,
};

/* Route options: the pointer stands on an address or behind the last. */
static enum gate_event check_route(const uint8_t *opt, unsigned int len)
{
	if (len < 3) {
		return GATE_EVENT_IPV4_OPT_INVALID_LEN;
	}
	if (opt[2] < 4 || opt[2] % 4 || opt[2] > len + 1) {
		return GATE_EVENT_IPV4_OPT_MALFORMED;
	}
	return GATE_EVENT_NONE;
}

static enum gate_event check_timestamp(const uint8_t *opt, unsigned int len)
{
	unsigned int record;

	if (len < 4) {
		return GATE_EVENT_IPV4_OPT_INVALID_LEN;
	}
	switch (opt[3] & 0x0f) {
	case 0:
		record = 4;
		break;
	case 1:
	case 3:
		record = 8;
		break;
	default:
		return GATE_EVENT_IPV4_OPT_MALFORMED;
	}
	if (opt[2] < 5 || (opt[2] - 5) % record || opt[2] > len + 1) {
		return GATE_EVENT_IPV4_OPT_MALFORMED;
	}
	return GATE_EVENT_NONE;
}

/* FIPS 188: domain of 4 bytes, tags with their length. */
static enum gate_event check_cipso(const uint8_t *opt, unsigned int len)
{
	unsigned int at = 6;

	if (len < 8) {
		return GATE_EVENT_IPV4_OPT_MALFORMED;
	}
	while (at + 1 < len) {
		unsigned int type = opt[at], size = opt[at + 1];
		bool known = type == 1 || type == 2 || type == 5 || type == 6 || type == 7;

		if (size < 4 || size > len - at || (!known && type < 128)) {
			return GATE_EVENT_IPV4_OPT_MALFORMED;
		}
		at += size;
	}
	return at == len ? GATE_EVENT_NONE : GATE_EVENT_IPV4_OPT_MALFORMED;
}

static enum gate_event check_option(const uint8_t *opt, unsigned int len)
{
	static const enum gate_event by_length[] = {GATE_EVENT_IPV4_OPT_INVALID_LEN,
						    GATE_EVENT_NONE};

	switch (opt[0]) {
	case OPT_RR:
	case OPT_LSRR:
	case OPT_SSRR:
		return check_route(opt, len);
	case OPT_TS:
		return check_timestamp(opt, len);
	case OPT_CIPSO:
		return check_cipso(opt, len);
	case OPT_QS:
		return by_length[len >= 8];
	case OPT_SEC:
		return by_length[len == 11];
	case OPT_ESEC:
		return by_length[len > 2];
	case OPT_SID:
	case OPT_RTRALT:
		return by_length[len == 4];
	default:
		return GATE_EVENT_IPV4_OPT_INVALID;
	}
}

static void options(struct gate_packet *p, const uint8_t *data, unsigned int size)
{
	uint32_t seen[8] = {};

	if (size % 8) {
		gate_packet_event(p, GATE_EVENT_IPV4_OPT_PAD_REQUIRED);
	}
	while (size && data[0] != OPT_EOL) {
		enum gate_event event;
		unsigned int type = data[0], len;

		if (type == OPT_NOP) {
			data++;
			size--;
			continue;
		}
		if (size < 2) {
			gate_packet_event(p, GATE_EVENT_IPV4_OPT_EOL_REQUIRED);
			return;
		}
		len = data[1];
		if (len < 2 || len > size) {
			gate_packet_event(p, GATE_EVENT_IPV4_OPT_INVALID_LEN);
			return;
		}
		event = check_option(data, len);
		if (seen[type / 32] & 1u << type % 32 && event != GATE_EVENT_IPV4_OPT_INVALID) {
			event = GATE_EVENT_IPV4_OPT_DUPLICATE;
		}
		seen[type / 32] |= 1u << type % 32;
		if (event) {
			gate_packet_event(p, event);
		}
		data += len;
		size -= len;
	}
}

static void fragment(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data)
{
	const struct defrag_part part = {
		.id = gate_be16(data + 4),
		.offset = (gate_be16(data + 6) & OFFSET_BITS) * 8u,
		.more = gate_be16(data + 6) & MORE_BIT,
		.header = data,
		.header_size = p->l3_size,
		.next_header = p->ip_proto,
		.data = data + p->l3_size,
		.size = p->l3.size - p->l3_size,
	};

	decode_fragment(d, p, &part);
}

static void carried(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		    uint32_t size)
{
	switch (p->ip_proto) {
	case IPPROTO_TCP:
		decode_tcp(d, p, data, size);
		break;
	case IPPROTO_UDP:
		decode_udp(d, p, data, size);
		break;
	case IPPROTO_ICMP:
		decode_icmp4(p, data, size);
		break;
	case IPPROTO_SCTP:
		decode_sctp(p, data, size);
		break;
	case IPPROTO_IGMP:
		decode_igmp(p, data, size);
		break;
	case IPPROTO_ESP:
		decode_esp(p, data, size);
		break;
	case IPPROTO_GRE:
		decode_gre(d, p, data, size);
		break;
	case IPPROTO_IPIP:
		decode_spawn(d, p, data, size, GATE_LINK_IPV4);
		break;
	case IPPROTO_IPV6:
		decode_spawn(d, p, data, size, GATE_LINK_IPV6);
		break;
	case IPPROTO_ICMPV6:
		gate_packet_event(p, GATE_EVENT_IPV4_ICMPV6);
		break;
	default:
		break;
	}
}

static enum gate_event check_header(const uint8_t *data, uint32_t size)
{
	uint32_t header;

	if (size < IP4_MIN) {
		return GATE_EVENT_IPV4_PKT_TOO_SMALL;
	}
	if (data[0] >> 4 != 4) {
		return GATE_EVENT_IPV4_WRONG_IP_VERSION;
	}
	header = (data[0] & 0x0fu) * 4;
	if (header < IP4_MIN) {
		return GATE_EVENT_IPV4_HLEN_TOO_SMALL;
	}
	if (gate_be16(data + 2) < header) {
		return GATE_EVENT_IPV4_IPLEN_SMALLER_THAN_HLEN;
	}
	return size < gate_be16(data + 2) ? GATE_EVENT_IPV4_TRUNC_PKT : GATE_EVENT_NONE;
}

void decode_ip4(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	enum gate_event event;
	uint32_t header, total;

	if (!decode_layer(d, p)) {
		return;
	}
	event = check_header(data, size);
	if (event) {
		decode_invalid(p, event);
		return;
	}
	header = (data[0] & 0x0fu) * 4;
	total = gate_be16(data + 2);
	p->ip4 = (const gate_iphdr *)data;
	p->ip_version = 4;
	p->ip_proto = data[9];
	p->ttl = data[8];
	p->src.bytes[10] = p->src.bytes[11] = p->dst.bytes[10] = p->dst.bytes[11] = 0xff;
	memcpy(p->src.bytes + 12, data + 12, 4);
	memcpy(p->dst.bytes + 12, data + 16, 4);
	p->l3_size = header;
	p->l3 = (struct gate_view){data, total};
	p->payload = (struct gate_view){data + header, total - header};
	if (header > IP4_MIN) {
		options(p, data + IP4_MIN, header - IP4_MIN);
	}
	if (gate_be16(data + 6) & (OFFSET_BITS | MORE_BIT)) {
		fragment(d, p, data);
		return;
	}
	carried(d, p, data + header, total - header);
}
