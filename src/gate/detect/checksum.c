/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums of a packet for the keywords ipv4-csum and the like (RFC 1071). */
#include "gate/detect/detector.h"

#include <arpa/inet.h>

static uint32_t add(uint32_t sum, const uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i + 1 < size; i += 2) {
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	}
	return size & 1 ? sum + ((uint32_t)data[size - 1] << 8) : sum;
}

static bool is_zero(uint32_t sum)
{
	while (sum >> 16) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum == 0xffff;
}

static bool upper_valid(const struct gate_packet *p, const void *header, uint8_t proto, bool pseudo)
{
	const uint8_t *at = header;
	/* of ICMPv6 a payload may begin in the header */
	uint32_t sum = 0, size = p->payload.data
					 ? (uint32_t)(p->payload.data + p->payload.size - at)
					 : p->l4_size;

	if (pseudo) {
		unsigned int skip = p->ip_version == 4 ? 12 : 0;

		sum = add(sum, p->src.bytes + skip, 16 - skip);
		sum = add(sum, p->dst.bytes + skip, 16 - skip);
		sum += proto + (size >> 16) + (size & 0xffff);
	}
	return is_zero(add(sum, at, size));
}

static bool is_of(const struct gate_packet *p, enum gate_csum_of of)
{
	switch (of) {
	case GATE_CSUM_IPV4:
		return p->ip4;
	case GATE_CSUM_TCPV4:
		return p->ip4 && p->tcp;
	case GATE_CSUM_TCPV6:
		return p->ip6 && p->tcp;
	case GATE_CSUM_UDPV4:
		return p->ip4 && p->udp && p->udp->check;
	case GATE_CSUM_UDPV6:
		return p->ip6 && p->udp;
	case GATE_CSUM_ICMPV4:
		return p->ip4 && p->icmp4;
	default:
		return p->ip6 && p->icmp6;
	}
}

bool gate_checksum_matches(const struct gate_packet *p, const struct gate_match *m)
{
	enum gate_csum_of of = (enum gate_csum_of)m->other.args[0];
	bool valid;

	if ((p->flags & (GATE_PKT_PSEUDO | GATE_PKT_TRUNCATED)) || !is_of(p, of)) {
		return false;
	}
	switch (of) {
	case GATE_CSUM_IPV4:
		valid = is_zero(add(0, (const uint8_t *)p->ip4, (uint32_t)p->ip4->ihl * 4));
		break;
	case GATE_CSUM_TCPV4:
	case GATE_CSUM_TCPV6:
		valid = upper_valid(p, p->tcp, IPPROTO_TCP, true);
		break;
	case GATE_CSUM_UDPV4:
	case GATE_CSUM_UDPV6:
		valid = upper_valid(p, p->udp, IPPROTO_UDP, true);
		break;
	case GATE_CSUM_ICMPV4:
		valid = upper_valid(p, p->icmp4, IPPROTO_ICMP, false);
		break;
	default:
		valid = upper_valid(p, p->icmp6, IPPROTO_ICMPV6, true);
		break;
	}
	return valid == (m->other.args[1] != 0);
}
