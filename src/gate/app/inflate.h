/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw deflate (RFC 1951) in pieces, as streams bring it: igzip of libisal, which takes a third of
 * zlib's time for the same bytes. Gives all that can be decoded of what it has got, also of what
 * is torn or breaks off; nothing behind the last block. No allocation: the caller has the memory,
 * 88 kilobytes that need not be zeroed, of which half is the window. One thread.
 * It decodes ahead: at most 64 kilobytes more than it was asked for. Of what breaks off, the last
 * two bytes may stay in: literals are decoded up to three at a time.
 */
#ifndef BH_GATE_APP_INFLATE_H
#define BH_GATE_APP_INFLATE_H

#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdint.h>

#define GATE_INFLATE_LATE 2

struct gate_inflate {
	bool bad;
	struct inflate_state state;
};

enum gate_inflate_result {
	GATE_INFLATE_MORE, /* all that was given is used up */
	GATE_INFLATE_ROOM, /* the room is: there may be more to come out */
	GATE_INFLATE_END,
	GATE_INFLATE_BAD, /* what came out is right, nothing follows */
};

void gate_inflate_init(struct gate_inflate *z);
/* The next bytes, borrowed until gate_inflate_out says MORE. */
void gate_inflate_in(struct gate_inflate *z, const uint8_t *data, uint32_t size);
/* Until it says something else than ROOM. */
enum gate_inflate_result gate_inflate_out(struct gate_inflate *z, uint8_t *out, uint32_t room,
					  uint32_t *ret_size);
/* After END: how many bytes of the last input stand behind it. *ret_held: how many more, 8 at most,
 * are in the decoder; those come first. */
uint32_t gate_inflate_left(const struct gate_inflate *z, uint32_t *ret_held);

#endif
