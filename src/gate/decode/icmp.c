/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP (RFC 792 and later) and ICMPv6 (RFC 4443): types, codes, and the datagram in an error. */
#include "gate/decode/decoder.h"

#define ICMP_SIZE      8
#define INFO_SIZE      4 /* the head that all messages have: what carries no more begins there */
#define TIMESTAMP_SIZE 20
#define IP4_MIN	       20
#define IP6_SIZE       40
#define NO_LIMIT       255

static void inner4(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (!size) {
		return;
	}
	if (size < IP4_MIN) {
		gate_packet_event(p, GATE_EVENT_ICMPV4_IPV4_TRUNC_PKT);
	} else if (data[0] >> 4 != 4) {
		gate_packet_event(p, GATE_EVENT_ICMPV4_IPV4_UNKNOWN_VER);
	} else {
		p->icmp_inner = (struct gate_view){data, size};
	}
}

static void inner6(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (size < IP6_SIZE) {
		gate_packet_event(p, GATE_EVENT_ICMPV6_IPV6_TRUNC_PKT);
	} else if (data[0] >> 4 != 6) {
		gate_packet_event(p, GATE_EVENT_ICMPV6_IPV6_UNKNOWN_VERSION);
	} else {
		p->icmp_inner = (struct gate_view){data, size};
	}
}

/* The greatest code of a type, or -1 when the type is not known. */
static int icmp4_codes(unsigned int type)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
		return 15;
	case ICMP_REDIRECT:
		return 3;
	case ICMP_TIME_EXCEEDED:
		return 1;
	case ICMP_PARAMETERPROB:
		return 2;
	case 9: /* routers; mobile IP has codes of its own */
	case 10:
		return NO_LIMIT;
	case ICMP_ECHOREPLY:
	case ICMP_SOURCE_QUENCH:
	case ICMP_ECHO:
	case ICMP_TIMESTAMP:
	case ICMP_TIMESTAMPREPLY:
	case ICMP_INFO_REQUEST:
	case ICMP_INFO_REPLY:
	case ICMP_ADDRESS:
	case ICMP_ADDRESSREPLY:
		return 0;
	default:
		return -1;
	}
}

static bool icmp4_is_error(unsigned int type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

static void head(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	p->sport = data[0];
	p->dport = data[1];
	p->l4_size = ICMP_SIZE;
	p->payload = (struct gate_view){data + ICMP_SIZE, size - ICMP_SIZE};
}

/* A message whose header is longer than 8 bytes. */
static void icmp4_longer(struct gate_packet *p, const uint8_t *data, uint32_t size, uint32_t header)
{
	if (size < header) {
		gate_packet_event(p, GATE_EVENT_ICMPV4_PKT_TOO_SMALL);
		return;
	}
	p->l4_size = header;
	p->payload = (struct gate_view){data + header, size - header};
}

void decode_icmp4(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	int codes;

	if (size < ICMP_SIZE) {
		decode_invalid(p, GATE_EVENT_ICMPV4_PKT_TOO_SMALL);
		return;
	}
	p->icmp4 = (const gate_icmphdr *)data;
	head(p, data, size);
	codes = icmp4_codes(data[0]);
	if (codes < 0) {
		gate_packet_event(p, GATE_EVENT_ICMPV4_UNKNOWN_TYPE);
		return;
	}
	if (data[1] > codes) {
		gate_packet_event(p, GATE_EVENT_ICMPV4_UNKNOWN_CODE);
	} else if (icmp4_is_error(data[0])) {
		inner4(p, p->payload.data, p->payload.size);
	}
	if (data[0] == ICMP_TIMESTAMP || data[0] == ICMP_TIMESTAMPREPLY) {
		icmp4_longer(p, data, size, TIMESTAMP_SIZE);
	} else if (data[0] == 9) {
		/* a count of addresses, and the words each takes (RFC 1256) */
		icmp4_longer(p, data, size, ICMP_SIZE + data[4] * data[5] * 4u);
	}
}

static int icmp6_codes(unsigned int type)
{
	switch (type) {
	case ICMP6_DST_UNREACH:
		return 6;
	case ICMP6_TIME_EXCEEDED:
		return 1;
	case ICMP6_PARAM_PROB:
	case 139: /* node information */
	case 140:
		return 2;
	case 138: /* router renumbering; 255 resets the sequence number */
	case 150: /* mobility, experiments */
	case 151: /* multicast routers */
	case 152:
	case 153:
	case 155: /* RPL */
		return NO_LIMIT;
	case ICMP6_PACKET_TOO_BIG:
	case ICMP6_ECHO_REQUEST:
	case ICMP6_ECHO_REPLY:
		return 0;
	default:
		/* listeners, neighbours, mobility, certification paths, handover, ILNP, MPL */
		return (type >= 130 && type <= 137) || (type >= 141 && type <= 149) ||
				       type == 154 || (type >= 156 && type <= 159)
			       ? 0
			       : -1;
	}
}

/* Of types that have no limit. */
static bool icmp6_code_gap(unsigned int type, unsigned int code)
{
	return (type == 138 && code > 2 && code != 255) ||
	       (type == 155 && ((code > 3 && code < 128) || code > 132));
}

/* IANA, ICMPv6 parameters. */
static enum gate_event icmp6_unknown(unsigned int type)
{
	if (type == 100 || type == 101 || type == 200 || type == 201) {
		return GATE_EVENT_ICMPV6_EXPERIMENTATION_TYPE;
	}
	if ((type > 4 && type < 127) || type >= 160) {
		return GATE_EVENT_ICMPV6_UNASSIGNED_TYPE;
	}
	return GATE_EVENT_ICMPV6_UNKNOWN_TYPE;
}

void decode_icmp6(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int type;
	int codes;
	bool known;

	if (size < ICMP_SIZE) {
		decode_invalid(p, GATE_EVENT_ICMPV6_PKT_TOO_SMALL);
		return;
	}
	p->icmp6 = (const gate_icmp6_hdr *)data;
	head(p, data, size);
	type = data[0];
	codes = icmp6_codes(type);
	known = data[1] <= codes && !icmp6_code_gap(type, data[1]);
	if (codes < 0) {
		gate_packet_event(p, icmp6_unknown(type));
	} else if (!known) {
		gate_packet_event(p, GATE_EVENT_ICMPV6_UNKNOWN_CODE);
	}
	if (type >= 130 && type <= 132 && p->ttl != 1) {
		gate_packet_event(p, GATE_EVENT_ICMPV6_MLD_MESSAGE_WITH_INVALID_HL);
	}
	if (known && type <= ICMP6_PARAM_PROB) {
		inner6(p, p->payload.data, p->payload.size);
	} else if (!known || (type != ICMP6_ECHO_REQUEST && type != ICMP6_ECHO_REPLY)) {
		p->payload = (struct gate_view){data + INFO_SIZE, size - INFO_SIZE};
	}
}
