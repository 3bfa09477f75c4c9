/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels above IP: GRE (RFC 2784, 2890, 2637), ERSPAN, VXLAN, Geneve, Teredo. */
#include "gate/decode/decoder.h"

#include <stdlib.h>
#include <string.h>

#define GRE_MIN	      4
#define VXLAN_SIZE    8
#define GENEVE_MIN    8
#define ETHERNET_SIZE 14
#define IP6_SIZE      40
#define TEREDO_ORIGIN 8

enum gre_bits {
	GRE_CHECKSUM = 0x8000,
	GRE_ROUTE = 0x4000,
	GRE_KEY = 0x2000,
	GRE_SEQUENCE = 0x1000,
	GRE_STRICT = 0x0800,
	GRE_RECURSION = 0x0700,
	GRE_ACK = 0x0080,
	GRE_FLAGS0 = 0x00f8,
	GRE_FLAGS1 = 0x0078,
	GRE_VERSION = 0x0007,
};

enum gre_protocol {
	PROTO_IP4 = 0x0800,
	PROTO_ARP = 0x0806,
	PROTO_TRANS_ETHERNET = 0x6558,
	PROTO_VLAN = 0x8100,
	PROTO_IP6 = 0x86dd,
	PROTO_PPP = 0x880b,
	PROTO_ERSPAN = 0x88be,
};

/* ERSPAN type I has no header and comes without a sequence number, type II has 8 bytes. */
static void erspan(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		   uint32_t size, bool sequenced)
{
	struct gate_packet *inner;
	unsigned int vlan;

	if (!sequenced) {
		decode_spawn(d, p, data, size, GATE_LINK_ETHERNET);
		return;
	}
	if (size < 8) {
		decode_invalid(p, GATE_EVENT_ERSPAN_HEADER_TOO_SMALL);
		return;
	}
	if (data[0] >> 4 != 1) {
		decode_invalid(p, GATE_EVENT_ERSPAN_UNSUPPORTED_VERSION);
		return;
	}
	vlan = gate_be16(data) & 0x0fff;
	inner = decode_spawn(d, p, data + 8, size - 8, GATE_LINK_ETHERNET);
	if (inner && vlan) {
		inner->vlan[inner->vlan_count++] = (uint16_t)vlan;
	}
}

static void gre_carried(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
			uint32_t size, unsigned int word, unsigned int protocol)
{
	p->payload = (struct gate_view){data, size};
	switch (protocol) {
	case PROTO_IP4:
		decode_spawn(d, p, data, size, GATE_LINK_IPV4);
		break;
	case PROTO_IP6:
		decode_spawn(d, p, data, size, GATE_LINK_IPV6);
		break;
	case PROTO_PPP:
		if (size) { /* else an acknowledgment of PPTP */
			decode_spawn(d, p, data, size, GATE_LINK_PPP);
		}
		break;
	case PROTO_VLAN:
		decode_spawn(d, p, data, size, GATE_LINK_VLAN);
		break;
	case PROTO_ERSPAN:
		erspan(d, p, data, size, word & GRE_SEQUENCE);
		break;
	case PROTO_TRANS_ETHERNET:
		decode_spawn(d, p, data, size, GATE_LINK_ETHERNET);
		break;
	case PROTO_ARP:
		decode_spawn(d, p, data, size, GATE_LINK_ARP);
		break;
	default:
		break;
	}
}

/* Source route entries (RFC 1701) behind the header; false: they end behind the packet. */
static bool skip_routes(const uint8_t *data, uint32_t size, uint32_t *header)
{
	for (;;) {
		uint32_t entry;

		if (size - *header < 4) {
			return false;
		}
		entry = data[*header + 3];
		if (!gate_be16(data + *header) && !entry) {
			*header += 4;
			return true;
		}
		if (!entry || entry + 4 > size - *header) {
			return false;
		}
		*header += entry + 4;
	}
}

static void gre0(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int word = gate_be16(data);
	uint32_t header = GRE_MIN;

	if (word & GRE_RECURSION) {
		decode_invalid(p, GATE_EVENT_GRE_VERSION0_RECUR);
		return;
	}
	if (word & GRE_FLAGS0) {
		decode_invalid(p, GATE_EVENT_GRE_VERSION0_FLAGS);
		return;
	}
	header += word & GRE_KEY ? 4 : 0;
	header += word & GRE_SEQUENCE ? 4 : 0;
	header += word & (GRE_CHECKSUM | GRE_ROUTE) ? 4 : 0;
	if (header > size) {
		decode_invalid(p, GATE_EVENT_GRE_VERSION0_HDR_TOO_BIG);
		return;
	}
	if (word & GRE_ROUTE && !skip_routes(data, size, &header)) {
		decode_invalid(p, GATE_EVENT_GRE_VERSION0_MALFORMED_SRE_HDR);
		return;
	}
	p->l4_size = header;
	gre_carried(d, p, data + header, size - header, word, gate_be16(data + 2));
}

static enum gate_event check_gre1(unsigned int word, unsigned int protocol)
{
	if (word & GRE_CHECKSUM) {
		return GATE_EVENT_GRE_VERSION1_CHKSUM;
	}
	if (word & GRE_ROUTE) {
		return GATE_EVENT_GRE_VERSION1_ROUTE;
	}
	if (word & GRE_STRICT) {
		return GATE_EVENT_GRE_VERSION1_SSR;
	}
	if (word & GRE_RECURSION) {
		return GATE_EVENT_GRE_VERSION1_RECUR;
	}
	if (word & GRE_FLAGS1) {
		return GATE_EVENT_GRE_VERSION1_FLAGS;
	}
	if (protocol != PROTO_PPP) {
		return GATE_EVENT_GRE_VERSION1_WRONG_PROTOCOL;
	}
	return word & GRE_KEY ? GATE_EVENT_NONE : GATE_EVENT_GRE_VERSION1_NO_KEY;
}

/* As PPTP uses it. */
static void gre1(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int word = gate_be16(data), protocol = gate_be16(data + 2);
	enum gate_event event = check_gre1(word, protocol);
	uint32_t header = GRE_MIN + 4;

	if (event) {
		decode_invalid(p, event);
		return;
	}
	header += word & GRE_SEQUENCE ? 4 : 0;
	header += word & GRE_ACK ? 4 : 0;
	if (header > size) {
		decode_invalid(p, GATE_EVENT_GRE_VERSION1_HDR_TOO_BIG);
		return;
	}
	p->l4_size = header;
	gre_carried(d, p, data + header, size - header, word, protocol);
}

void decode_gre(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (size < GRE_MIN) {
		decode_invalid(p, GATE_EVENT_GRE_PKT_TOO_SMALL);
		return;
	}
	switch (data[1] & GRE_VERSION) {
	case 0:
		gre0(d, p, data, size);
		break;
	case 1:
		gre1(d, p, data, size);
		break;
	default:
		decode_invalid(p, GATE_EVENT_GRE_WRONG_VERSION);
	}
}

/* ---- above UDP ---- */

static bool is_carried_type(unsigned int type)
{
	switch (type) {
	case PROTO_IP4:
	case PROTO_IP6:
	case PROTO_ARP:
	case PROTO_VLAN:
	case 0x88a8:
	case 0x9100:
		return true;
	default:
		return false;
	}
}

/* 24 bits, and one: 0 says that there is none. */
static uint32_t vni_at(const uint8_t *data)
{
	return ((uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2]) + 1;
}

/* A tunnel in a tunnel is its sender's: the outermost says whose it is. */
static bool in_network(struct gate_packet *inner, uint32_t vni)
{
	if (inner && !inner->vni) {
		inner->vni = vni;
	}
	return inner;
}

static bool vxlan(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	uint32_t vni;

	/* RFC 7348: the flag says that there is an identifier; the last byte is reserved */
	if (size < VXLAN_SIZE + ETHERNET_SIZE || !(data[0] & 0x08) || data[7]) {
		return false;
	}
	vni = vni_at(data + 4);
	data += VXLAN_SIZE;
	size -= VXLAN_SIZE;
	if (!is_carried_type(gate_be16(data + 12))) {
		gate_packet_event(p, GATE_EVENT_VXLAN_UNKNOWN_PAYLOAD_TYPE);
		return false;
	}
	return in_network(decode_spawn(d, p, data, size, GATE_LINK_ETHERNET), vni);
}

static bool geneve(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		   uint32_t size)
{
	uint32_t header, vni;

	if (size < GENEVE_MIN || data[0] >> 6 || data[7]) {
		return false;
	}
	header = GENEVE_MIN + (data[0] & 0x3fu) * 4;
	if (header > size) {
		return false;
	}
	vni = vni_at(data + 4);
	switch (gate_be16(data + 2)) {
	case PROTO_TRANS_ETHERNET:
		if (size - header < ETHERNET_SIZE) {
			return false;
		}
		if (!is_carried_type(gate_be16(data + header + 12))) {
			break;
		}
		return in_network(
			decode_spawn(d, p, data + header, size - header, GATE_LINK_ETHERNET), vni);
	case PROTO_IP4:
		return in_network(decode_spawn(d, p, data + header, size - header, GATE_LINK_IPV4),
				  vni);
	case PROTO_IP6:
		return in_network(decode_spawn(d, p, data + header, size - header, GATE_LINK_IPV6),
				  vni);
	case PROTO_ARP:
		return in_network(decode_spawn(d, p, data + header, size - header, GATE_LINK_ARP),
				  vni);
	default:
		break;
	}
	gate_packet_event(p, GATE_EVENT_GENEVE_UNKNOWN_PAYLOAD_TYPE);
	return false;
}

/* RFC 4380. Nothing in it says Teredo: an IPv6 header whose length fits is the only sign. */
static bool teredo(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		   uint32_t size)
{
	if (size >= 2 && !data[0]) {
		if (data[1] || size < TEREDO_ORIGIN) {
			return false; /* authentication: no packet behind it that counts */
		}
		data += TEREDO_ORIGIN;
		size -= TEREDO_ORIGIN;
	}
	if (size < IP6_SIZE || data[0] >> 4 != 6 ||
	    size != IP6_SIZE + (uint32_t)gate_be16(data + 4)) {
		return false;
	}
	return decode_spawn(d, p, data, size, GATE_LINK_IPV6);
}

static bool has(const struct decode_ports *ports, unsigned int port)
{
	for (unsigned int i = 0; i < ports->count; i++) {
		if (ports->ports[i] == port) {
			return true;
		}
	}
	return ports->any;
}

bool decode_udp_tunnel(struct gate_decoder *d, struct gate_packet *p)
{
	const uint8_t *data = p->payload.data;
	uint32_t size = p->payload.size;

	if ((has(&d->teredo, p->sport) || has(&d->teredo, p->dport)) && teredo(d, p, data, size)) {
		return true;
	}
	if (has(&d->geneve, p->dport) && geneve(d, p, data, size)) {
		return true;
	}
	return has(&d->vxlan, p->dport) && vxlan(d, p, data, size);
}

/* "4789", "[4789, 8472]", "any"; what is no port is left out. */
void decode_ports_parse(const char *text, bool enabled, struct decode_ports *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!enabled || !text) {
		return;
	}
	ret->any = !strcmp(text, "any");
	while (*text && ret->count < PORTS_MAX) {
		char *end;
		unsigned long port = strtoul(text, &end, 10);

		if (end == text) {
			text++;
			continue;
		}
		if (port && port <= 0xffff) {
			ret->ports[ret->count++] = (uint16_t)port;
		}
		text = end;
	}
}
