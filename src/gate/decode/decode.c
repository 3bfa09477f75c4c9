/* SPDX-License-Identifier: Apache-2.0 */
/* See decode.h, decoder.h. */
#include "gate/decode/decoder.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

BH_COUNTER(gate_decode_too_deep, "packets in more tunnels than are looked into");

/* What decoding sets begins with flags and ends before the alerts, which have their own count. */
#define RESET_FROM offsetof(struct gate_packet, flags)
#define RESET_TO   offsetof(struct gate_packet, alerts)

static void reset(struct gate_packet *p)
{
	memset((uint8_t *)p + RESET_FROM, 0, RESET_TO - RESET_FROM);
	p->drop_reason = 0;
	p->flags = p->size < p->wire_size ? GATE_PKT_TRUNCATED : 0;
}

bool decode_layer(struct gate_decoder *d, struct gate_packet *p)
{
	if (++d->layers > LAYERS_MAX) {
		decode_invalid(p, GATE_EVENT_TOO_MANY_LAYERS);
		return false;
	}
	return true;
}

static struct gate_packet *next_packet(struct gate_decoder *d, struct gate_packet *p,
				       const uint8_t *data, uint32_t size)
{
	struct gate_packet *inner;

	if (d->inner_count == INNER_MAX || d->next) {
		gate_packet_event(p, GATE_EVENT_TOO_MANY_LAYERS);
		bh_counter_add(&gate_decode_too_deep, 1);
		return NULL;
	}
	inner = &d->inner[d->inner_count++];
	/* the bytes are p's, which may be written to (replace) */
	inner->data = (uint8_t *)(uintptr_t)data;
	inner->size = inner->wire_size = size;
	inner->time_us = p->time_us;
	inner->number = p->number;
	inner->source = p->source;
	inner->link = GATE_LINK_RAW;
	inner->unsummed = p->unsummed;
	inner->partial = p->partial;
	reset(inner);
	d->next = inner;
	return inner;
}

struct gate_packet *decode_spawn(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
				 uint32_t size, unsigned int link)
{
	struct gate_packet *inner;

	if (p->depth == GATE_TUNNEL_DEPTH_MAX) {
		gate_packet_event(p, GATE_EVENT_TOO_MANY_LAYERS);
		bh_counter_add(&gate_decode_too_deep, 1);
		return NULL;
	}
	inner = next_packet(d, p, data, size);
	if (inner) {
		inner->link = (uint16_t)link;
		inner->flags |= GATE_PKT_TUNNELED;
		inner->outer = p;
		inner->depth = p->depth + 1;
		inner->vni = p->vni;
	}
	return inner;
}

void decode_fragment(struct gate_decoder *d, struct gate_packet *p, const struct defrag_part *part)
{
	struct gate_packet *whole;
	uint8_t *datagram;
	uint32_t size;

	p->flags |= GATE_PKT_FRAGMENT;
	if (d->reassemblies == REASSEMBLIES_MAX) {
		gate_packet_event(p, p->ip_version == 4 ? GATE_EVENT_IPV4_FRAG_IGNORED
							: GATE_EVENT_IPV6_FRAG_IGNORED);
		return;
	}
	datagram = d->datagrams[d->reassemblies];
	size = defrag_add(d->defrag, p, part, datagram);
	whole = size ? next_packet(d, p, datagram, size) : NULL;
	if (!whole) {
		return;
	}
	d->reassemblies++;
	whole->flags |= GATE_PKT_REASSEMBLED | (p->flags & GATE_PKT_TUNNELED);
	whole->outer = p->outer;
	whole->depth = p->depth;
	whole->vni = p->vni;
	whole->eth = p->eth;
	whole->ethertype = p->ethertype;
	whole->vlan_count = p->vlan_count;
	memcpy(whole->vlan, p->vlan, sizeof(whole->vlan));
}

void gate_decode(struct gate_decoder *decoder, struct gate_packet *p, gate_decoded_fn *fn,
		 void *arg)
{
	struct gate_decoder *d = decoder;

	d->inner_count = d->reassemblies = 0;
	reset(p);
	p->outer = NULL;
	p->depth = 0;
	while (p) {
		d->layers = 0;
		d->next = NULL;
		decode_link(d, p);
		fn(p, arg);
		p = d->next;
	}
}

void gate_decoder_tick(struct gate_decoder *decoder, uint64_t now_us)
{
	defrag_tick(decoder->defrag, now_us);
}

struct gate_decoder *gate_decoder_new(const struct gate_config *config)
{
	struct gate_decoder *d = bh_alloc(sizeof(*d));

	d->config = config;
	d->check_tcp = config->check_checksums;
	decode_ports_parse(config->vxlan_ports, config->vxlan_enabled, &d->vxlan);
	decode_ports_parse(config->geneve_ports, config->geneve_enabled, &d->geneve);
	decode_ports_parse(config->teredo_ports, config->teredo_enabled, &d->teredo);
	d->defrag = defrag_new(config);
	for (unsigned int i = 0; i < REASSEMBLIES_MAX; i++) {
		d->datagrams[i] = bh_alloc(DATAGRAM_ROOM);
	}
	return d;
}

void gate_decoder_free(struct gate_decoder *decoder)
{
	if (!decoder) {
		return;
	}
	defrag_free(decoder->defrag);
	for (unsigned int i = 0; i < REASSEMBLIES_MAX; i++) {
		free(decoder->datagrams[i]);
	}
	free(decoder);
}
