/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transforms of buffers: bytes in, other bytes out, in memory that the caller hands over. Pure but
 * for the counters; every output is bounded by the size of the memory.
 */
#ifndef BH_GATE_DETECT_TRANSFORM_H
#define BH_GATE_DETECT_TRANSFORM_H

#include "gate/detect/inspect.h"

struct gate_xf_memory {
	uint8_t *data; /* owned by the caller */
	uint32_t size, used;
};

/* What a transform needs beyond its arguments (a regular expression); NULL nothing. < 0: it can't
 * be done here. */
[[nodiscard]] int gate_xf_compile(const struct gate_transform *t, void **ret, struct bh_diag *diag);
void gate_xf_done(const struct gate_transform *t, void *compiled);
/* Replaces *view. False: no room is left, the value can't be had. */
bool gate_xf_apply(const struct gate_transform *t, void *compiled, struct gate_inspect *in,
		   struct gate_xf_memory *memory, struct gate_buffer_view *view);

#endif
