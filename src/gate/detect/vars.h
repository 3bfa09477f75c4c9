/* SPDX-License-Identifier: Apache-2.0 */
/* What rules keep with a flow: flowbits (also those of one transaction), flowints, session tags. */
#ifndef BH_GATE_DETECT_VARS_H
#define BH_GATE_DETECT_VARS_H

#include "gate/detect/detect.h"

#define GATE_VARS_BITS_MAX  256
#define GATE_VARS_INTS_MAX  128
#define GATE_VARS_TEXTS_MAX 32
#define GATE_CAPTURES_MAX   16	/* of a packet; and of a rule that is evaluated */
#define GATE_CAPTURE_MAX    256 /* bytes of one that are kept */

/* What the groups of an expression took. */
struct gate_capture {
	const struct gate_pcre *pcre;
	const struct gate_pcre_capture *what;
	const struct gate_rule *rule; /* once it has matched */
	uint16_t size;
	uint8_t bytes[GATE_CAPTURE_MAX];
};
struct gate_captures {
	uint32_t count;
	struct gate_capture items[GATE_CAPTURES_MAX];
};

struct gate_vars {
	uint64_t *bits; /* name, and transaction + 1 << 32 */
	uint16_t bit_count, bit_capacity;
	struct gate_var_int {
		uint32_t name, value;
	} * ints;
	uint16_t int_count, int_capacity;
	struct gate_var_text {
		uint32_t name;
		uint16_t size;
		uint8_t bytes[GATE_CAPTURE_MAX];
	} * texts; /* of pcre with flow: */
	uint16_t text_count, text_capacity;
	/* tag:session */
	uint64_t tag_until_us;		 /* 0: none by time */
	uint32_t tag_packets, tag_bytes; /* that are left */
};

/* True when the rule's test holds. */
bool gate_vars_test_bits(const struct gate_vars *vars, const struct gate_flowbits *bits,
			 uint64_t tx);
void gate_vars_change_bits(struct gate_flow *flow, const struct gate_flowbits *bits, uint64_t tx);
bool gate_vars_test_int(const struct gate_vars *vars, const struct gate_flowint *fi);
void gate_vars_change_int(struct gate_flow *flow, const struct gate_flowint *fi);
/* A group's bytes; one of the same expression and group is replaced. */
void gate_captures_put(struct gate_captures *captures, const struct gate_pcre *pcre,
		       const struct gate_pcre_capture *what, const uint8_t *bytes, uint32_t size);
/* A rule has matched: its captures become the flow's (flow may be NULL) and the packet's. */
void gate_captures_keep(const struct gate_captures *taken, const struct gate_rule *rule,
			struct gate_flow *flow, struct gate_captures *packet);
bool gate_vars_test_text(const struct gate_vars *vars, const struct gate_captures *packet,
			 const struct gate_textvar *var);
struct gate_vars *gate_vars_of(struct gate_flow *flow); /* made when there are none */

#endif
