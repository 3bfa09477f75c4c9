/* SPDX-License-Identifier: Apache-2.0 */
/* Link layers, by the capture's type or by what a tunnel carries. */
#include "gate/decode/decoder.h"

#include <net/ethernet.h>

#define ETHERNET_SIZE 14
#define ARP_MIN	      8
#define ARP_SIZE      28 /* of Ethernet and IPv4 */

enum ethertype {
	TYPE_IP4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_IP6 = 0x86dd,
	TYPE_MPLS = 0x8847,
	TYPE_MPLS_MULTICAST = 0x8848,
	TYPE_PPPOE_DISCOVERY = 0x8863,
	TYPE_PPPOE_SESSION = 0x8864,
	TYPE_8021AD = 0x88a8,
	TYPE_8021AH = 0x88e7,
	TYPE_ETAG = 0x893f,
	TYPE_NSH = 0x894f,
	TYPE_DCE = 0x8903,
	TYPE_VNTAG = 0x8926,
	TYPE_QINQ = 0x9100,
};

void decode_arp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int operation;

	if (!decode_layer(d, p)) {
		return;
	}
	if (size < ARP_MIN) {
		decode_invalid(p, GATE_EVENT_ARP_PKT_TOO_SMALL);
		return;
	}
	if (gate_be16(data) != 1) {
		decode_invalid(p, GATE_EVENT_ARP_UNSUPPORTED_HARDWARE);
	} else if (gate_be16(data + 2) != TYPE_IP4) {
		decode_invalid(p, GATE_EVENT_ARP_UNSUPPORTED_PROTOCOL);
	} else if (size < ARP_SIZE) {
		decode_invalid(p, GATE_EVENT_ARP_UNSUPPORTED_PKT);
	} else if (data[4] != 6) {
		decode_invalid(p, GATE_EVENT_ARP_INVALID_HARDWARE_SIZE);
	} else if (data[5] != 4) {
		decode_invalid(p, GATE_EVENT_ARP_INVALID_PROTOCOL_SIZE);
	} else {
		/* ARP, RARP, InARP and the NAK of ATM */
		operation = gate_be16(data + 6);
		if (!(operation >= 1 && operation <= 4) && !(operation >= 8 && operation <= 10)) {
			decode_invalid(p, GATE_EVENT_ARP_UNSUPPORTED_OPCODE);
			return;
		}
		p->arp = data;
	}
}

/* Cisco FabricPath: a tag of 2 bytes and another Ethernet header. */
static void dce(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (size < 2) {
		decode_invalid(p, GATE_EVENT_DCE_PKT_TOO_SMALL);
		return;
	}
	decode_ethernet(d, p, data + 2, size - 2);
}

static bool tag(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size,
		unsigned int type)
{
	switch (type) {
	case TYPE_VLAN:
	case TYPE_8021AD:
	case TYPE_QINQ:
		decode_vlan(d, p, data, size);
		return true;
	case TYPE_8021AH:
		decode_8021ah(d, p, data, size);
		return true;
	case TYPE_MPLS:
	case TYPE_MPLS_MULTICAST:
		decode_mpls(d, p, data, size);
		return true;
	case TYPE_VNTAG:
		decode_vntag(d, p, data, size);
		return true;
	case TYPE_ETAG:
		decode_etag(d, p, data, size);
		return true;
	case TYPE_NSH:
		decode_nsh(d, p, data, size);
		return true;
	case TYPE_DCE:
		dce(d, p, data, size);
		return true;
	default:
		return false;
	}
}

bool decode_network(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		    uint32_t size, unsigned int type)
{
	p->ethertype = (uint16_t)type;
	switch (type) {
	case TYPE_IP4:
		decode_ip4(d, p, data, size);
		return true;
	case TYPE_IP6:
		decode_ip6(d, p, data, size);
		return true;
	case TYPE_ARP:
		decode_arp(d, p, data, size);
		return true;
	case TYPE_PPPOE_SESSION:
		decode_pppoe_session(d, p, data, size);
		return true;
	case TYPE_PPPOE_DISCOVERY:
		decode_pppoe_discovery(p, data, size);
		return true;
	default:
		return tag(d, p, data, size, type);
	}
}

void decode_ethernet(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		     uint32_t size)
{
	if (!decode_layer(d, p)) {
		return;
	}
	if (size < ETHERNET_SIZE) {
		decode_invalid(p, GATE_EVENT_ETHERNET_PKT_TOO_SMALL);
		return;
	}
	p->eth = data;
	if (!decode_network(d, p, data + ETHERNET_SIZE, size - ETHERNET_SIZE,
			    gate_be16(data + 12))) {
		gate_packet_event(p, GATE_EVENT_ETHERNET_UNKNOWN_ETHERTYPE);
	}
}

/* A header with the type at one place and what it carries behind it. */
static void cooked(struct gate_decoder *d, struct gate_packet *p, uint32_t header, uint32_t type_at,
		   enum gate_event small)
{
	if (p->size < header) {
		decode_invalid(p, small);
		return;
	}
	if (!decode_network(d, p, p->data + header, p->size - header,
			    gate_be16(p->data + type_at))) {
		gate_packet_event(p, GATE_EVENT_ETHERNET_UNKNOWN_ETHERTYPE);
	}
}

/* BSD loopback: the family in the byte order of the machine that captured, or (LOOP) big-endian. */
static void loopback(struct gate_decoder *d, struct gate_packet *p)
{
	uint32_t family;

	if (p->size < 4) {
		decode_invalid(p, GATE_EVENT_LTNULL_PKT_TOO_SMALL);
		return;
	}
	family = gate_be32(p->data);
	family = family > 0xffff ? __builtin_bswap32(family) : family;
	switch (family) {
	case 2:
		p->ethertype = TYPE_IP4;
		decode_ip4(d, p, p->data + 4, p->size - 4);
		break;
	case 10: /* Linux, and the BSDs after it */
	case 24:
	case 28:
	case 30:
		p->ethertype = TYPE_IP6;
		decode_ip6(d, p, p->data + 4, p->size - 4);
		break;
	default:
		decode_invalid(p, GATE_EVENT_LTNULL_UNSUPPORTED_TYPE);
	}
}

void decode_ip(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int version = size ? data[0] >> 4 : 0;

	if (!size) {
		decode_invalid(p, GATE_EVENT_IPV4_PKT_TOO_SMALL);
	} else if (version == 4) {
		p->ethertype = TYPE_IP4;
		decode_ip4(d, p, data, size);
	} else if (version == 6) {
		p->ethertype = TYPE_IP6;
		decode_ip6(d, p, data, size);
	} else {
		decode_invalid(p, GATE_EVENT_IPRAW_INVALID_IP_VERSION);
	}
}

void decode_link(struct gate_decoder *d, struct gate_packet *p)
{
	switch (p->link) {
	case GATE_LINK_ETHERNET:
		decode_ethernet(d, p, p->data, p->size);
		break;
	case GATE_LINK_RAW:
	case GATE_LINK_RAW_BSD:
	case GATE_LINK_RAW_OPENBSD:
		decode_ip(d, p, p->data, p->size);
		break;
	case GATE_LINK_IPV4:
		decode_ip4(d, p, p->data, p->size);
		break;
	case GATE_LINK_IPV6:
		decode_ip6(d, p, p->data, p->size);
		break;
	case GATE_LINK_NULL:
	case GATE_LINK_LOOP:
		loopback(d, p);
		break;
	case GATE_LINK_SLL:
		cooked(d, p, 16, 14, GATE_EVENT_SLL_PKT_TOO_SMALL);
		break;
	case GATE_LINK_SLL2:
		cooked(d, p, 20, 0, GATE_EVENT_SLL2_PKT_TOO_SMALL);
		break;
	case GATE_LINK_C_HDLC:
		cooked(d, p, 4, 2, GATE_EVENT_CHDLC_PKT_TOO_SMALL);
		break;
	case GATE_LINK_PPP:
	case GATE_LINK_PPP_HDLC:
		decode_ppp(d, p, p->data, p->size);
		break;
	case GATE_LINK_VLAN:
		decode_vlan(d, p, p->data, p->size);
		break;
	case GATE_LINK_ARP:
		decode_arp(d, p, p->data, p->size);
		break;
	default:
		decode_invalid(p, GATE_EVENT_LINK_UNSUPPORTED);
	}
}
