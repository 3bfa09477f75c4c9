/* SPDX-License-Identifier: Apache-2.0 */
/* The Internet checksum (RFC 1071) over what a decoded packet holds; for -k, csum keywords,
 * replace. */
#ifndef BH_GATE_DECODE_CHECKSUM_H
#define BH_GATE_DECODE_CHECKSUM_H

#include "gate/decode/packet.h"

/* Adds data to a sum that is not folded yet; data begins at an even place. */
uint64_t gate_checksum_add(uint64_t sum, const void *data, uint32_t size);
/* In network order: to be stored as it is. */
uint16_t gate_checksum_fold(uint64_t sum);

/* The IPv4 header's checksum is right; true when there is none. */
bool gate_checksum_ip4_ok(const struct gate_packet *p);
/* That of the transport (TCP, UDP, ICMP, ICMPv6); true when there is none, when UDP has none (0),
 * and for fragments. */
bool gate_checksum_l4_ok(const struct gate_packet *p);
/* After bytes of p changed: redoes those of the IPv4 header and of the transport. */
void gate_checksum_redo(struct gate_packet *p);

#endif
