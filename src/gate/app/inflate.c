/* SPDX-License-Identifier: Apache-2.0 */
/* Raw deflate by igzip; see inflate.h. */
#include "gate/app/inflate.h"

#include <string.h>

void gate_inflate_init(struct gate_inflate *z)
{
	z->bad = false;
	isal_inflate_init(&z->state);
	z->state.crc_flag = ISAL_DEFLATE;
}

void gate_inflate_in(struct gate_inflate *z, const uint8_t *data, uint32_t size)
{
	z->state.next_in = (uint8_t *)(uintptr_t)data;
	z->state.avail_in = size;
}

/* Decoded ahead of what was wrong. igzip would try to go on behind that if it were asked. */
static enum gate_inflate_result take_rest(struct gate_inflate *z, uint8_t *out, uint32_t room,
					  uint32_t *ret_size)
{
	struct inflate_state *s = &z->state;
	uint32_t left = (uint32_t)(s->tmp_out_valid - s->tmp_out_processed);
	uint32_t n = left < room ? left : room;

	memcpy(out, s->tmp_out_buffer + s->tmp_out_processed, n);
	s->tmp_out_processed += (int32_t)n;
	*ret_size = n;
	return n < left ? GATE_INFLATE_ROOM : GATE_INFLATE_BAD;
}

enum gate_inflate_result gate_inflate_out(struct gate_inflate *z, uint8_t *out, uint32_t room,
					  uint32_t *ret_size)
{
	struct inflate_state *s = &z->state;

	if (z->bad) {
		return take_rest(z, out, room, ret_size);
	}
	s->next_out = out;
	s->avail_out = room;
	z->bad = isal_inflate(s) < 0;
	*ret_size = room - s->avail_out;
	if (z->bad) {
		return s->tmp_out_valid > s->tmp_out_processed ? GATE_INFLATE_ROOM
							       : GATE_INFLATE_BAD;
	}
	if (s->block_state == ISAL_BLOCK_FINISH) {
		return GATE_INFLATE_END;
	}
	return s->avail_out ? GATE_INFLATE_MORE : GATE_INFLATE_ROOM;
}

uint32_t gate_inflate_left(const struct gate_inflate *z, uint32_t *ret_held)
{
	*ret_held = z->state.read_in_length > 0 ? (uint32_t)z->state.read_in_length / 8 : 0;
	return z->state.avail_in;
}
