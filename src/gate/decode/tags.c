/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between the link layer and the network: VLAN and its kin, MPLS, service chains. */
#include "gate/decode/decoder.h"

#define MPLS_LABELS_MAX	  8
#define MPLS_RESERVED_MAX 15
#define MPLS_CONTROL_WORD 4

void decode_vlan(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (!decode_layer(d, p)) {
		return;
	}
	if (size < 4) {
		decode_invalid(p, GATE_EVENT_VLAN_HEADER_TOO_SMALL);
		return;
	}
	if (p->vlan_count == GATE_VLANS_MAX) {
		gate_packet_event(p, GATE_EVENT_VLAN_TOO_MANY_LAYERS);
		return;
	}
	p->vlan[p->vlan_count++] = gate_be16(data) & 0x0fff;
	if (!decode_network(d, p, data + 4, size - 4, gate_be16(data + 2))) {
		decode_invalid(p, GATE_EVENT_VLAN_UNKNOWN_TYPE);
	}
}

/* Provider backbone bridges: service identifier and the customer's addresses. */
void decode_8021ah(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		   uint32_t size)
{
	if (!decode_layer(d, p)) {
		return;
	}
	if (size < 18) {
		decode_invalid(p, GATE_EVENT_IEEE8021AH_HEADER_TOO_SMALL);
		return;
	}
	if (!decode_network(d, p, data + 18, size - 18, gate_be16(data + 16))) {
		gate_packet_event(p, GATE_EVENT_ETHERNET_UNKNOWN_ETHERTYPE);
	}
}

void decode_vntag(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (!decode_layer(d, p)) {
		return;
	}
	if (size < 6) {
		decode_invalid(p, GATE_EVENT_VNTAG_HEADER_TOO_SMALL);
		return;
	}
	if (!decode_network(d, p, data + 6, size - 6, gate_be16(data + 4))) {
		decode_invalid(p, GATE_EVENT_VNTAG_UNKNOWN_TYPE);
	}
}

void decode_etag(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (!decode_layer(d, p)) {
		return;
	}
	if (size < 8) {
		decode_invalid(p, GATE_EVENT_ETAG_HEADER_TOO_SMALL);
		return;
	}
	if (!decode_network(d, p, data + 8, size - 8, gate_be16(data + 6))) {
		decode_invalid(p, GATE_EVENT_ETAG_UNKNOWN_TYPE);
	}
}

/* A label that says nothing of what follows: its first nibble does (RFC 4928). */
static void mpls_guess(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		       uint32_t size)
{
	if (size < MPLS_CONTROL_WORD) {
		decode_invalid(p, GATE_EVENT_MPLS_PKT_TOO_SMALL);
		return;
	}
	switch (data[0] >> 4) {
	case 4:
		decode_ip4(d, p, data, size);
		break;
	case 6:
		decode_ip6(d, p, data, size);
		break;
	case 0: /* a pseudowire with its control word */
		decode_ethernet(d, p, data + MPLS_CONTROL_WORD, size - MPLS_CONTROL_WORD);
		break;
	default:
		decode_invalid(p, GATE_EVENT_MPLS_UNKNOWN_PAYLOAD_TYPE);
	}
}

void decode_mpls(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int count = 0;
	uint32_t shim;

	if (!decode_layer(d, p)) {
		return;
	}
	do {
		if (size < 4) {
			decode_invalid(p, GATE_EVENT_MPLS_HEADER_TOO_SMALL);
			return;
		}
		if (++count > MPLS_LABELS_MAX) {
			decode_invalid(p, GATE_EVENT_TOO_MANY_LAYERS);
			return;
		}
		shim = gate_be32(data);
		data += 4;
		size -= 4;
	} while (!(shim & 0x100));

	switch (shim >> 12) {
	case 0:
		decode_ip4(d, p, data, size);
		return;
	case 1:
		decode_invalid(p, GATE_EVENT_MPLS_BAD_LABEL_ROUTER_ALERT);
		return;
	case 2:
		decode_ip6(d, p, data, size);
		return;
	case 3:
		decode_invalid(p, GATE_EVENT_MPLS_BAD_LABEL_IMPLICIT_NULL);
		return;
	default:
		if (shim >> 12 <= MPLS_RESERVED_MAX) {
			decode_invalid(p, GATE_EVENT_MPLS_BAD_LABEL_RESERVED);
			return;
		}
		mpls_guess(d, p, data, size);
	}
}

/* RFC 8300. */
void decode_nsh(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	enum { BASE = 8, FIXED_METADATA = 16 };
	unsigned int word, length, kind;

	if (!decode_layer(d, p)) {
		return;
	}
	if (size < BASE) {
		decode_invalid(p, GATE_EVENT_NSH_HEADER_TOO_SMALL);
		return;
	}
	word = gate_be16(data);
	length = (word & 0x3f) * 4;
	kind = data[2] & 0x0f;
	if (word >> 14) {
		decode_invalid(p, GATE_EVENT_NSH_UNSUPPORTED_VERSION);
	} else if (length < BASE || length >= size ||
		   (kind == 1 && length != BASE + FIXED_METADATA)) {
		decode_invalid(p, GATE_EVENT_NSH_BAD_HEADER_LENGTH);
	} else if (!kind) {
		gate_packet_event(p, GATE_EVENT_NSH_RESERVED_TYPE);
	} else if (kind > 2 && kind != 0x0f) {
		gate_packet_event(p, GATE_EVENT_NSH_UNSUPPORTED_TYPE);
	} else if (data[3] == 1) {
		decode_ip4(d, p, data + length, size - length);
	} else if (data[3] == 2) {
		decode_ip6(d, p, data + length, size - length);
	} else if (data[3] == 3) {
		decode_ethernet(d, p, data + length, size - length);
	} else {
		gate_packet_event(p, GATE_EVENT_NSH_UNKNOWN_PAYLOAD);
	}
}
