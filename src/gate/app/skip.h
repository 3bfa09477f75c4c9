/* SPDX-License-Identifier: Apache-2.0 */
/* The rest of a long message that nobody reads: so many bytes of a side are passed over. */
#ifndef BH_GATE_APP_SKIP_H
#define BH_GATE_APP_SKIP_H

#include "gate/gate.h"

/* How many of `size` bytes are part of it. */
static inline uint32_t gate_skip(uint64_t *left, uint32_t size)
{
	uint32_t n = size < *left ? size : (uint32_t)*left;

	*left -= n;
	return n;
}

/* False: the gap goes beyond it, so where the next message begins is not known. */
static inline bool gate_skip_gap(uint64_t *left, uint32_t gap)
{
	return gate_skip(left, gap) == gap;
}

#endif
