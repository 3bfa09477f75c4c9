/* SPDX-License-Identifier: Apache-2.0 */
/* The gate's inflate beside zlib's, on the same bytes: for the unit test and the fuzz target. */
#ifndef BH_TESTS_GATE_INFLATE_TWINS_H
#define BH_TESTS_GATE_INFLATE_TWINS_H

#include "base/util.h"
#include "gate/app/inflate.h"

#include <zlib.h>

#define TWINS_MAX (1u << 20) /* of what comes out */

struct twin {
	uint8_t *out;
	uint32_t size;
	enum gate_inflate_result end; /* MORE, END or BAD; ROOM: there was too much */
};

static inline void twin_ours(const uint8_t *data, size_t size, size_t step, uint32_t room,
			     struct twin *ret)
{
	struct gate_inflate *z = bh_alloc_array(1, sizeof(*z));

	gate_inflate_init(z);
	ret->end = GATE_INFLATE_MORE;
	for (size_t at = 0; at < size && ret->end == GATE_INFLATE_MORE; at += step) {
		gate_inflate_in(z, data + at, (uint32_t)(size - at < step ? size - at : step));
		do {
			uint32_t left = TWINS_MAX - ret->size, n;

			ret->end = gate_inflate_out(z, ret->out + ret->size,
						    left < room ? left : room, &n);
			ret->size += n;
		} while (ret->end == GATE_INFLATE_ROOM && ret->size < TWINS_MAX);
	}
	free(z);
}

static inline void twin_zlib(const uint8_t *data, size_t size, struct twin *ret)
{
	z_stream z = {};
	int r;

	if (inflateInit2(&z, -MAX_WBITS) != Z_OK) {
		abort();
	}
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)size;
	z.next_out = ret->out;
	z.avail_out = TWINS_MAX;
	r = inflate(&z, Z_SYNC_FLUSH);
	ret->size = TWINS_MAX - z.avail_out;
	ret->end = r == Z_STREAM_END		   ? GATE_INFLATE_END
		   : r != Z_OK && r != Z_BUF_ERROR ? GATE_INFLATE_BAD
		   : z.avail_out		   ? GATE_INFLATE_MORE
						   : GATE_INFLATE_ROOM;
	(void)inflateEnd(&z);
}

/* zlib says MORE, but whatever follows it will refuse. */
static inline bool twin_hopeless(const uint8_t *data, size_t size)
{
	static const uint8_t fillers[] = {0x00, 0xff, 0xaa, 0x55, 0x13};
	struct twin twin = {.out = bh_alloc(TWINS_MAX)};
	uint8_t *longer = bh_alloc(size + 400);
	bool refused = true;

	memcpy(longer, data, size);
	for (size_t i = 0; i < sizeof(fillers) && refused; i++) {
		memset(longer + size, fillers[i], 400);
		twin.size = 0;
		twin_zlib(longer, size + 400, &twin);
		refused = twin.end == GATE_INFLATE_BAD;
	}
	free(longer);
	free(twin.out);
	return refused;
}

static inline bool twin_ends_alike(const uint8_t *data, size_t size, const struct twin *ours,
				   const struct twin *theirs)
{
	switch (theirs->end) {
	case GATE_INFLATE_END:
		return ours->end == GATE_INFLATE_END && ours->size == theirs->size;
	case GATE_INFLATE_MORE:
		if (ours->end == GATE_INFLATE_BAD) {
			return twin_hopeless(data, size);
		}
		return ours->end == GATE_INFLATE_MORE && ours->size <= theirs->size &&
		       theirs->size - ours->size <= GATE_INFLATE_LATE;
	default:
		return true;
	}
}

/* What zlib takes comes out alike, to the last byte; of what it refuses, what was before that.
 * NULL: they agree. */
static inline const char *twins_differ(const uint8_t *data, size_t size, size_t step, uint32_t room)
{
	struct twin ours = {.out = bh_alloc(TWINS_MAX)}, theirs = {.out = bh_alloc(TWINS_MAX)};
	const char *what = NULL;

	twin_ours(data, size, step, room, &ours);
	twin_zlib(data, size, &theirs);
	if (memcmp(ours.out, theirs.out, ours.size < theirs.size ? ours.size : theirs.size)) {
		what = "other bytes";
	} else if (!twin_ends_alike(data, size, &ours, &theirs)) {
		what = "another end";
	}
	free(ours.out);
	free(theirs.out);
	return what;
}

#endif
