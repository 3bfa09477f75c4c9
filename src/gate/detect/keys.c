/* SPDX-License-Identifier: Apache-2.0 */
/* For whom a value is kept: keys of gate_shared; and tags, which use them. */
#include "gate/detect/detector.h"

static int addr_order(const struct gate_addr *a, const struct gate_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* Both addresses, the same key from either side. */
static void key_pair(const struct gate_packet *p, struct gate_key *key)
{
	bool swap = addr_order(&p->src, &p->dst) > 0;

	key->addrs[0] = swap ? p->dst : p->src;
	key->addrs[1] = swap ? p->src : p->dst;
}

bool gate_key_of_bits(const struct gate_packet *p, const struct gate_flowbits *bits, uint32_t name,
		      unsigned int index, struct gate_key *ret)
{
	if (!p->ip_version || index > (bits->track == GATE_BITS_HOSTS)) {
		return false;
	}
	*ret = (struct gate_key){.kind = GATE_KEY_XBIT, .set = p->rule_set, .a = name};
	switch (bits->track) {
	case GATE_BITS_SRC:
		ret->addrs[0] = p->src;
		break;
	case GATE_BITS_DST:
		ret->addrs[0] = p->dst;
		break;
	case GATE_BITS_HOSTS:
		ret->addrs[0] = index ? p->dst : p->src;
		break;
	default:
		ret->sub = 1;
		key_pair(p, ret);
		break;
	}
	return true;
}

bool gate_key_of_threshold(const struct gate_packet *p, const struct gate_rule *rule,
			   const struct gate_threshold *th, uint8_t index, struct gate_key *ret)
{
	*ret = (struct gate_key){.kind = GATE_KEY_THRESHOLD,
				 .sub = index,
				 .set = p->rule_set,
				 .a = rule->sid,
				 .b = rule->gid};
	switch (th->track) {
	case GATE_TRACK_SRC:
		ret->addrs[0] = p->src;
		return p->ip_version;
	case GATE_TRACK_DST:
		ret->addrs[0] = p->dst;
		return p->ip_version;
	case GATE_TRACK_BOTH:
	case GATE_TRACK_EITHER:
		key_pair(p, ret);
		return p->ip_version;
	case GATE_TRACK_FLOW:
		if (!p->flow) {
			return false;
		}
		memcpy(ret->addrs[0].bytes, &p->flow->id, sizeof(p->flow->id));
		return true;
	default:
		return true;
	}
}

/* ---- tags ---- */

void gate_tag_begin(struct gate_detector *d, const struct gate_match *m)
{
	struct gate_packet *p = d->p;
	struct gate_key key = {.kind = GATE_KEY_TAG, .set = p->rule_set};
	struct gate_vars *vars;

	if (m->tag.host) {
		if (p->ip_version) {
			key.addrs[0] = m->tag.src ? p->src : p->dst;
			gate_tag_host(d->shared, &key, p->time_us, m);
		}
		return;
	}
	if (!p->flow) {
		return;
	}
	vars = gate_vars_of(p->flow);
	if (m->tag.packets && vars->tag_packets < m->tag.count) {
		vars->tag_packets = m->tag.count;
	} else if (m->tag.seconds) {
		vars->tag_until_us = p->time_us + m->tag.count * 1000000ull;
	} else if (!m->tag.packets && vars->tag_bytes < m->tag.count) {
		vars->tag_bytes = m->tag.count;
	}
}

static bool session_tagged(const struct gate_packet *p)
{
	struct gate_vars *vars = p->flow ? p->flow->vars : NULL;
	bool tagged;

	if (!vars) {
		return false;
	}
	tagged = vars->tag_packets || vars->tag_bytes || p->time_us < vars->tag_until_us;
	vars->tag_packets -= vars->tag_packets > 0;
	vars->tag_bytes -= vars->tag_bytes < p->wire_size ? vars->tag_bytes : p->wire_size;
	return tagged;
}

void gate_tag_packet(struct gate_detector *d)
{
	struct gate_packet *p = d->p;
	struct gate_key key = {.kind = GATE_KEY_TAG, .set = p->rule_set};
	bool tagged;

	if (p->flags & GATE_PKT_PSEUDO) {
		return;
	}
	tagged = session_tagged(p);
	if (p->ip_version && gate_tag_hosts(d->shared)) {
		key.addrs[0] = p->src;
		tagged |= gate_tag_host_packet(d->shared, &key, p->time_us, p->wire_size);
		key.addrs[0] = p->dst;
		tagged |= gate_tag_host_packet(d->shared, &key, p->time_us, p->wire_size);
	}
	p->flags |= tagged ? GATE_PKT_TAGGED : 0;
}
