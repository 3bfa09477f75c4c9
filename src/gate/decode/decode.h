/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to layers. One decoder per worker: it owns the fragments that wait and a pool of
 * packets for what tunnels and fragments bring to light. Reads foreign bytes only within
 * [data, data + size). Limits: GATE_TUNNEL_DEPTH_MAX tunnels in one another, 20 extension headers,
 * 8 MPLS labels; past them an event, and the packet is not looked into further.
 */
#ifndef BH_GATE_DECODE_DECODE_H
#define BH_GATE_DECODE_DECODE_H

#include "base/diag.h"
#include "gate/decode/packet.h"

struct gate_config;
struct gate_decoder;

struct gate_decoder *gate_decoder_new(const struct gate_config *config);
void gate_decoder_free(struct gate_decoder *decoder);

/* Called for the packet itself and then for each that it carried or completed, in order; they are
 * gone after the call returns. */
typedef void gate_decoded_fn(struct gate_packet *p, void *arg);
/* p holds data, size, wire_size, time_us, number, link, source, unsummed; all else is set here. */
void gate_decode(struct gate_decoder *decoder, struct gate_packet *p, gate_decoded_fn *fn,
		 void *arg);
/* Forgets fragments that are too old. */
void gate_decoder_tick(struct gate_decoder *decoder, uint64_t now_us);

#endif
