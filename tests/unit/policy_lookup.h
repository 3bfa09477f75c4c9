/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: asks a compiled segment as the kernel does (bpf/abi.h, "Lookup"): mask of the set, one
 * key per shape that exists, longest prefix for CIDR and range classes, the row of the lowest rank.
 */
#ifndef BH_TESTS_POLICY_LOOKUP_H
#define BH_TESTS_POLICY_LOOKUP_H

#include "model/image.h"

#include <string.h>

struct lookup_packet {
	uint32_t identity; /* of the remote */
	uint32_t tenant;   /* of the remote, 0 for reserved identities */
	uint8_t addr[16];
	uint8_t proto;
	uint16_t port;
};
struct lookup_result {
	uint8_t action;
	uint8_t flags;
	uint32_t rule;
};

static inline bool lookup_bits_match(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	for (unsigned int i = 0; i < bits; i++) {
		uint8_t mask = (uint8_t)(0x80u >> (i % 8));

		if ((a[i / 8] ^ b[i / 8]) & mask) {
			return false;
		}
	}
	return true;
}

/* 0 when no prefix holds the address. */
static inline uint32_t lookup_cidr(const struct bh_segment *seg, const uint8_t addr[16])
{
	uint32_t class_id = 0;
	int best = -1;

	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		const struct bh_rec *r = bh_segment_at(seg, i);

		if (r->type == BH_REC_CIDR && r->cidr.prefix_bits > best &&
		    lookup_bits_match(r->cidr.addr, addr, r->cidr.prefix_bits)) {
			best = r->cidr.prefix_bits;
			class_id = r->cidr.class_id;
		}
	}
	return class_id;
}

static inline uint32_t lookup_range(const struct bh_segment *seg, uint8_t proto, uint16_t port)
{
	uint32_t class_id = 0;
	int best = -1;

	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		const struct bh_rec *r = bh_segment_at(seg, i);

		if (r->type == BH_REC_RANGE && r->range.proto == proto &&
		    r->range.prefix_bits > best &&
		    (uint32_t)port >> (16 - r->range.prefix_bits) ==
			    (uint32_t)r->range.port >> (16 - r->range.prefix_bits)) {
			best = r->range.prefix_bits;
			class_id = r->range.class_id;
		}
	}
	return class_id;
}

static inline const struct bh_rec_row *lookup_row(const struct bh_segment *seg, uint32_t remote,
						  uint16_t port, uint8_t proto, uint8_t shape)
{
	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		const struct bh_rec *r = bh_segment_at(seg, i);

		if (r->type == BH_REC_ROW && r->row.remote == remote && r->row.port == port &&
		    r->row.proto == proto && r->row.shape == shape) {
			return &r->row;
		}
	}
	return NULL;
}

static inline const struct bh_rec_set *lookup_set(const struct bh_segment *seg)
{
	for (size_t i = 0; i < bh_segment_count(seg); i++) {
		if (bh_segment_at(seg, i)->type == BH_REC_SET) {
			return &bh_segment_at(seg, i)->set;
		}
	}
	return NULL;
}

static inline struct lookup_result lookup(const struct bh_segment *seg,
					  const struct lookup_packet *p)
{
	const struct bh_rec_set *set = lookup_set(seg);
	const struct bh_rec_row *best = NULL;
	uint32_t remotes[4] = {0, p->identity, lookup_cidr(seg, p->addr), p->tenant};
	uint32_t range = lookup_range(seg, p->proto, p->port);

	for (int shape = 0; shape < 16; shape++) {
		int service = shape & 3;
		uint32_t ports[4] = {0, 0, p->port, range};
		const struct bh_rec_row *row;

		if (!(set->mask & 1u << shape) || (shape >> 2 && !remotes[shape >> 2]) ||
		    (service == 3 && !range)) {
			continue;
		}
		row = lookup_row(seg, remotes[shape >> 2], (uint16_t)ports[service],
				 service ? p->proto : 0, (uint8_t)shape);
		if (row && (!best || row->rank < best->rank)) {
			best = row;
		}
	}
	if (best) {
		return (struct lookup_result){best->action, best->flags, best->rule};
	}
	return (struct lookup_result){set->default_action, set->default_flags, set->default_rule};
}

#endif
