/* SPDX-License-Identifier: Apache-2.0 */
/* PPP as a link layer and over Ethernet (RFC 1661, 2516). */
#include "gate/decode/decoder.h"

#define IP4_MIN	    20
#define IP6_MIN	    40
#define PPPOE_SIZE  6
#define TYPE_IP4    0x0800
#define TYPE_IP6    0x86dd
#define PPPOE_VALID 0x11 /* version 1, type 1 */

enum ppp_protocol {
	PPP_IP = 0x0021,
	PPP_VJ_COMPRESSED = 0x002d,
	PPP_VJ_UNCOMPRESSED = 0x002f,
	PPP_IP6 = 0x0057,
	PPP_IPCP = 0x8021,
	PPP_LCP = 0xc021,
};

/* Protocols that are assigned but not looked into (IANA, PPP numbers; those that Suricata
 * knows). */
static bool is_assigned(unsigned int protocol)
{
	static const uint16_t assigned[] = {
		0x0023, 0x0025, 0x0027, 0x0029, 0x002b, 0x002d, 0x0031, 0x0033, 0x0035, 0x003b,
		0x003d, 0x003f, 0x0041, 0x0043, 0x0045, 0x0047, 0x0049, 0x004b, 0x004d, 0x004f,
		0x0051, 0x0053, 0x0055, 0x0059, 0x005b, 0x005d, 0x005f, 0x0073, 0x00fb, 0x00fd,
		0x0201, 0x0203, 0x0205, 0x0231, 0x0233, 0x0235, 0x0281, 0x0283, 0x8021, 0x8023,
		0x8025, 0x8027, 0x8029, 0x802b, 0x8031, 0x8033, 0x8035, 0x803d, 0x803f, 0x8041,
		0x8043, 0x8045, 0x8047, 0x8049, 0x804b, 0x804d, 0x804f, 0x8051, 0x8053, 0x8055,
		0x8057, 0x8059, 0x805b, 0x80fb, 0x80fd, 0x8281, 0x8283, 0xc021, 0xc023, 0xc025,
		0xc027, 0xc029, 0xc02b, 0xc02d, 0xc081, 0xc223, 0xc227, 0xc229, 0xc26f, 0xc281,
	};

	for (unsigned int i = 0; i < sizeof(assigned) / sizeof(assigned[0]); i++) {
		if (assigned[i] == protocol) {
			return true;
		}
	}
	return false;
}

static void carried(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		    uint32_t size, unsigned int protocol)
{
	switch (protocol) {
	case PPP_VJ_UNCOMPRESSED:
		if (size < IP4_MIN) {
			decode_invalid(p, GATE_EVENT_PPP_VJU_PKT_TOO_SMALL);
		} else if (data[0] >> 4 == 4) {
			p->ethertype = TYPE_IP4;
			decode_ip4(d, p, data, size);
		}
		break;
	case PPP_IP:
		if (size < IP4_MIN) {
			decode_invalid(p, GATE_EVENT_PPP_IP4_PKT_TOO_SMALL);
			break;
		}
		p->ethertype = TYPE_IP4;
		decode_ip4(d, p, data, size);
		break;
	case PPP_IP6:
		if (size < IP6_MIN) {
			decode_invalid(p, GATE_EVENT_PPP_IP6_PKT_TOO_SMALL);
			break;
		}
		p->ethertype = TYPE_IP6;
		decode_ip6(d, p, data, size);
		break;
	default:
		decode_invalid(p, is_assigned(protocol) ? GATE_EVENT_PPP_UNSUP_PROTO
							: GATE_EVENT_PPP_WRONG_TYPE);
	}
}

/* The protocol, in one byte when it is odd (compressed). Returns its size; 0 there is too
 * little. */
static unsigned int protocol_of(const uint8_t *data, uint32_t size, unsigned int *ret)
{
	if (size && data[0] & 1) {
		*ret = data[0];
		return 1;
	}
	if (size < 2) {
		return 0;
	}
	*ret = gate_be16(data);
	return 2;
}

void decode_ppp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int used, protocol = 0;

	if (!decode_layer(d, p)) {
		return;
	}
	if (size >= 2 && data[0] == 0xff && data[1] == 0x03) {
		data += 2;
		size -= 2;
	}
	used = protocol_of(data, size, &protocol);
	if (!used || size < 4) {
		decode_invalid(p, GATE_EVENT_PPP_PKT_TOO_SMALL);
		return;
	}
	carried(d, p, data + used, size - used, protocol);
}

void decode_pppoe_session(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
			  uint32_t size)
{
	unsigned int used, protocol = 0, length;

	if (!decode_layer(d, p)) {
		return;
	}
	if (size < PPPOE_SIZE + 2) {
		decode_invalid(p, GATE_EVENT_PPPOE_PKT_TOO_SMALL);
		return;
	}
	if (data[0] != PPPOE_VALID || data[1]) {
		gate_packet_event(p, GATE_EVENT_PPPOE_WRONG_CODE);
	}
	length = gate_be16(data + 4);
	data += PPPOE_SIZE;
	size -= PPPOE_SIZE;
	size = size < length ? size : length;
	used = protocol_of(data, size, &protocol);
	if (!used) {
		decode_invalid(p, GATE_EVENT_PPPOE_PKT_TOO_SMALL);
		return;
	}
	carried(d, p, data + used, size - used, protocol);
}

void decode_pppoe_discovery(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	uint32_t left;

	if (size < PPPOE_SIZE) {
		decode_invalid(p, GATE_EVENT_PPPOE_PKT_TOO_SMALL);
		return;
	}
	switch (data[1]) {
	case 0x09: /* PADI, PADO, PADR, PADS, PADT */
	case 0x07:
	case 0x19:
	case 0x65:
	case 0xa7:
		break;
	default:
		decode_invalid(p, GATE_EVENT_PPPOE_WRONG_CODE);
		return;
	}
	left = gate_be16(data + 4);
	if (left > size - PPPOE_SIZE) {
		decode_invalid(p, GATE_EVENT_PPPOE_MALFORMED_TAGS);
		return;
	}
	data += PPPOE_SIZE;
	while (left >= 4) {
		uint32_t tag = 4u + gate_be16(data + 2);

		if (tag > left) {
			gate_packet_event(p, GATE_EVENT_PPPOE_MALFORMED_TAGS);
			return;
		}
		data += tag;
		left -= tag;
	}
}
