/* SPDX-License-Identifier: Apache-2.0 */
/* Reads each frame that can be looked at to its last byte, as detection does: for tests and fuzz
 * targets of parsers, with all kinds wanted (gate_frames_want). */
#ifndef BH_TESTS_GATE_FRAME_LOOK_H
#define BH_TESTS_GATE_FRAME_LOOK_H

#include "gate/app/frame.h"

#include <stdlib.h>

static inline void gate_frame_look(struct gate_session *session)
{
	for (int dir = 0; session && dir < GATE_DIRS; dir++) {
		struct gate_frame *f;

		while ((f = gate_frame_next(session, (enum gate_dir)dir))) {
			volatile uint8_t sum = 0;

			if (f->size > GATE_FRAME_MAX || f->kind < GATE_BUF_FRAME_FIRST) {
				abort();
			}
			for (uint32_t i = 0; i < f->size; i++) {
				sum ^= f->data[i];
			}
			(void)sum;
			gate_frame_seen(session, (enum gate_dir)dir, f);
		}
	}
}

#endif
