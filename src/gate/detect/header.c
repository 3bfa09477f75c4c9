/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a rule against a packet: what it is (bits), addresses, ports, then the keywords of
 * packet and flow. Whether an address is in one of the first sets is asked once per flow and side:
 * rules share a few sets (HOME_NET and the like).
 */
#include "gate/detect/detector.h"

#define CACHED_SETS 64

/* By what the IP header says: fragments, headers that can't be read and the end of a flow have no
 * header of their own. */
static uint32_t have_of_proto(const struct gate_packet *p)
{
	uint32_t have = p->arp ? GATE_NEED_ARP : 0;

	have |= p->eth ? GATE_NEED_ETHER : 0;
	switch (p->ip_proto) {
	case IPPROTO_TCP:
		return have | GATE_NEED_TCP;
	case IPPROTO_UDP:
		return have | GATE_NEED_UDP;
	case IPPROTO_SCTP:
		return have | GATE_NEED_SCTP;
	case IPPROTO_IGMP:
		return have | (p->ip_version == 4 ? GATE_NEED_IGMP : 0);
	case IPPROTO_ICMP:
		return have | (p->ip_version == 4 ? GATE_NEED_ICMP4 | GATE_NEED_ICMP : 0);
	case IPPROTO_ICMPV6:
		return have | (p->ip_version == 6 ? GATE_NEED_ICMP6 | GATE_NEED_ICMP : 0);
	default:
		return have;
	}
}

uint32_t gate_have_of(const struct gate_packet *p)
{
	uint32_t have = have_of_proto(p);

	if (p->ip_version) {
		have |= GATE_NEED_IP | (p->ip_version == 4 ? GATE_NEED_IP4 : GATE_NEED_IP6);
	}
	if (gate_payload_size(p) && !(p->flags & GATE_PKT_NO_PAYLOAD)) {
		have |= GATE_NEED_PAYLOAD | GATE_NEED_PAYLOAD_OR_STREAM;
	}
	have |= p->flow ? GATE_NEED_FLOW : 0;
	/* What has no flow goes to a server, as in Suricata. */
	have |= p->flow && p->dir == GATE_TO_CLIENT ? GATE_NEED_TO_CLIENT : GATE_NEED_TO_SERVER;
	have |= p->flow && (p->flags & GATE_PKT_ESTABLISHED) ? GATE_NEED_ESTABLISHED
							     : GATE_NEED_NOT_ESTABLISHED;
	have |= p->flags & GATE_PKT_REASSEMBLED ? GATE_NEED_FRAG : GATE_NEED_NO_FRAG;
	have |= p->event_count ? GATE_NEED_EVENTS : 0;
	have |= p->vlan_count ? GATE_NEED_VLAN : 0;
	have |= p->flags & GATE_PKT_PSEUDO ? 0 : GATE_NEED_REAL;
	return have;
}

static bool addr_in(struct gate_detector *d, uint16_t num, unsigned int side)
{
	const struct gate_packet *p = d->p;
	const struct gate_addr *addr = side ? &p->dst : &p->src;
	unsigned int word = num / 32;
	uint32_t bit = 1u << num % 32;
	bool in;

	if (num == GATE_SET_ANY) {
		return true;
	}
	if (num >= CACHED_SETS) {
		return gate_addr_set_has(d->set->addr_sets[num], addr);
	}
	if (d->addr_known[side][word] & bit) {
		return d->addr_value[side][word] & bit;
	}
	in = gate_addr_set_has(d->set->addr_sets[num], addr);
	d->addr_known[side][word] |= bit;
	d->addr_value[side][word] |= in ? bit : 0;
	return in;
}

static bool port_in(const struct gate_detector *d, uint16_t num, uint16_t port)
{
	return num == GATE_SET_ANY || gate_port_set_has(d->set->port_sets[num], port);
}

static bool ends_match(struct gate_detector *d, const struct gate_sig *sig, unsigned int side)
{
	const struct gate_packet *p = d->p;
	bool ports = d->have & (GATE_NEED_TCP | GATE_NEED_UDP | GATE_NEED_SCTP) &&
		     !(p->flags & GATE_PKT_FRAGMENT);

	if (ports) {
		if (!port_in(d, sig->sport, side ? p->dport : p->sport) ||
		    !port_in(d, sig->dport, side ? p->sport : p->dport)) {
			return false;
		}
	} else if (sig->sport != GATE_SET_ANY || sig->dport != GATE_SET_ANY) {
		return false;
	}
	return addr_in(d, sig->src, side) && addr_in(d, sig->dst, !side);
}

bool gate_header_matches(struct gate_detector *d, const struct gate_sig *sig)
{
	const struct gate_flow *flow = d->p->flow;

	if ((d->have & sig->need) != sig->need) {
		return false;
	}
	if (sig->apps && (!flow || flow->app >= 32 || !(sig->apps & (1u << flow->app)))) {
		return false;
	}
	if (sig->dsize_op) {
		struct gate_test test = {.op = (enum gate_compare)(sig->dsize_op - 1),
					 .a = sig->dsize_a};

		if ((d->p->flags & GATE_PKT_PSEUDO) ||
		    !gate_test_holds(&test, gate_payload_size(d->p))) {
			return false;
		}
	}
	if (ends_match(d, sig, 0)) {
		return true;
	}
	/* A rule over both sides of a transaction names its client first. */
	return (sig->bidirectional || (sig->both_sides && d->dir == GATE_TO_CLIENT)) &&
	       ends_match(d, sig, 1);
}

bool gate_packet_matches(struct gate_detector *d, const struct gate_sig *sig)
{
	for (unsigned int i = 0; i < sig->packet_count; i++) {
		if (!gate_packet_keyword(d, sig->packet[i])) {
			return false;
		}
	}
	return true;
}
