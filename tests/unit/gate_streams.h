/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of streams share; behind cmocka.h. */
#ifndef TESTS_GATE_STREAMS_H
#define TESTS_GATE_STREAMS_H

#include "gate_segments.h"

#include <stdlib.h>

static inline struct world *start(void (*change)(struct gate_config *))
{
	struct world *w = calloc(1, sizeof(*w));
	world_defaults(&w->config);
	if (change) {
		change(&w->config);
	}
	world_open(w);
	return w;
}

static inline void finish(struct world *w)
{
	struct gate_stream_stats stats;
	gate_flow_end_all(w->table, GATE_FLOW_END_SHUTDOWN, w->time_us);
	gate_streams_stats(w->streams, &stats);
	assert_int_equal(stats.active, 0);
	world_close(w);
	free(w);
}

static inline void as_inline(struct gate_config *c)
{
	c->stream_inline = true;
}

static inline struct gate_stream *stream_of(struct world *w)
{
	return w->p.flow ? w->p.flow->stream : NULL;
}

static inline int state(struct world *w)
{
	return (int)gate_stream_state(stream_of(w));
}

#define assert_seen(w, dir, text)                                                                  \
	do {                                                                                       \
		assert_int_equal((w)->seen[dir].size, strlen(text));                               \
		assert_memory_equal((w)->seen[dir].bytes, text, strlen(text));                     \
	} while (0)

#endif
