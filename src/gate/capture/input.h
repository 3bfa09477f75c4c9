/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a file or of what it holds compressed, a window of them at a time. Reads with
 * read(): a file that shrinks meanwhile is a short one and not a signal, and pipes work as well;
 * the window stays in the cache, so the copy costs less than the faults of a mapping.
 */
#ifndef BH_GATE_CAPTURE_INPUT_H
#define BH_GATE_CAPTURE_INPUT_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

struct capture_input {
	uint8_t *window;
	size_t capacity, at, end; /* of the window */
	uint64_t before;	  /* bytes of the file (unpacked) before the window */
	int fd;			  /* -1: of memory, the window holds all */
	gzFile gz;		  /* NULL: plain */
	int err;		  /* < 0: reading failed, what is here is all */
	bool eof;
};

[[nodiscard]] int capture_input_open(const char *path, struct capture_input *ret,
				     struct bh_diag *diag);
void capture_input_memory(const void *data, size_t size, struct capture_input *ret);
void capture_input_close(struct capture_input *in);
/* At least size bytes at the place, or all that are left; how many there are. Moves the window. */
size_t capture_input_fill(struct capture_input *in, size_t size);
/* Leaves bytes out; false: there were not as many. */
bool capture_input_skip(struct capture_input *in, uint64_t size);

static inline size_t capture_input_have(struct capture_input *in, size_t size)
{
	return in->end - in->at >= size ? in->end - in->at : capture_input_fill(in, size);
}
static inline const uint8_t *capture_input_at(const struct capture_input *in)
{
	return in->window + in->at;
}
/* Of the place, from the file's begin. */
static inline uint64_t capture_input_offset(const struct capture_input *in)
{
	return in->before + in->at;
}

#endif
