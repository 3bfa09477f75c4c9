/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of BER and DER (ITU-T X.690): tag, length, value. Bounded by what is there; tags of one
 * byte, definite lengths. */
#ifndef BH_GATE_APP_BER_H
#define BH_GATE_APP_BER_H

#include "gate/gate.h"

struct gate_ber {
	const uint8_t *data; /* borrowed */
	uint32_t size, at;
};

static inline struct gate_ber gate_ber_inside(const struct gate_view *v)
{
	return (struct gate_ber){.data = v->data, .size = v->size};
}

/* The next element; false: nothing sound stands there. */
static inline bool gate_ber_next(struct gate_ber *b, uint8_t *ret_tag, struct gate_view *ret)
{
	uint32_t left = b->size - b->at, head = 2;
	const uint8_t *p = b->data + b->at;

	if (left < 2) {
		return false;
	}
	uint32_t size = p[1];
	if (size & 0x80) {
		unsigned int bytes = size & 0x7f;

		if (!bytes || bytes > 4 || left < 2 + bytes) {
			return false;
		}
		size = 0;
		for (unsigned int i = 0; i < bytes; i++) {
			size = size << 8 | p[2 + i];
		}
		head += bytes;
	}
	if (size > left - head) {
		return false;
	}
	*ret_tag = p[0];
	*ret = (struct gate_view){.data = p + head, .size = size};
	b->at += head + size;
	return true;
}

#endif
