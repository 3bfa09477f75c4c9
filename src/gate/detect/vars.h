/* SPDX-License-Identifier: Apache-2.0 */
/* What rules keep with a flow: flowbits (also those of one transaction), flowints, session tags. */
#ifndef BH_GATE_DETECT_VARS_H
#define BH_GATE_DETECT_VARS_H

#include "gate/detect/detect.h"

#define GATE_VARS_BITS_MAX 256
#define GATE_VARS_INTS_MAX 128

struct gate_vars {
	uint64_t *bits; /* name, and transaction + 1 << 32 */
	uint16_t bit_count, bit_capacity;
	struct gate_var_int {
		uint32_t name, value;
	} * ints;
	uint16_t int_count, int_capacity;
	/* tag:session */
	uint64_t tag_until_us; /* 0: none by time */
	uint32_t tag_packets;
};

/* True when the rule's test holds. */
bool gate_vars_test_bits(const struct gate_vars *vars, const struct gate_flowbits *bits,
			 uint64_t tx);
void gate_vars_change_bits(struct gate_flow *flow, const struct gate_flowbits *bits, uint64_t tx);
bool gate_vars_test_int(const struct gate_vars *vars, const struct gate_flowint *fi);
void gate_vars_change_int(struct gate_flow *flow, const struct gate_flowint *fi);
struct gate_vars *gate_vars_of(struct gate_flow *flow); /* made when there are none */

#endif
