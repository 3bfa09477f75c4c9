/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of streams: blocks of powers of two, charged to stream.reassembly.memcap (each worker its
 * part). Blocks that come back are kept up to an eighth of it, so that the ordinary path allocates
 * nothing.
 */
#include "base/counter.h"
#include "base/util.h"
#include "gate/stream/tcp.h"

#include <stdlib.h>

#define SLAB_STREAMS 64

BH_COUNTER(gate_stream_memcap, "streams or bytes of streams not kept: stream.reassembly.memcap");

struct stream_slab {
	struct slab head;
	struct gate_stream streams[SLAB_STREAMS];
};

static unsigned int class_of(uint32_t size)
{
	unsigned int class = 0;
	while (class < POOL_CLASSES && POOL_MIN << class < size) {
		class ++;
	}
	return class;
}

static bool charge(struct gate_streams *streams, uint64_t bytes)
{
	struct gate_stream_stats *stats = &streams->stats;
	if (stats->memory + bytes > stats->memory_max) {
		stats->no_memory++;
		bh_counter_add(&gate_stream_memcap, 1);
		return false;
	}
	stats->memory += bytes;
	if (stats->memory > stats->memory_peak) {
		stats->memory_peak = stats->memory;
	}
	return true;
}

static size_t block_bytes(const struct block *block)
{
	return sizeof(*block) + block->size;
}

struct block *stream_block_get(struct gate_streams *streams, uint32_t size)
{
	unsigned int class = class_of(size);
	uint64_t bytes = sizeof(struct block) + ((uint64_t)POOL_MIN << class);
	if (class >= POOL_CLASSES || !charge(streams, bytes)) {
		return NULL;
	}
	struct block *block = streams->pool[class];
	if (block) {
		streams->pool[class] = block->next;
		streams->cached -= bytes;
	} else {
		block = malloc(bytes);
		if (!block) {
			streams->stats.memory -= bytes;
			streams->stats.no_memory++;
			return NULL;
		}
		block->class = (uint8_t) class;
		block->size = POOL_MIN << class;
	}
	block->next = NULL;
	block->mark_count = 0;
	return block;
}

void stream_block_put(struct gate_streams *streams, struct block *block)
{
	uint64_t bytes;
	if (!block) {
		return;
	}
	bytes = block_bytes(block);
	streams->stats.memory -= bytes;
	if (streams->cached + bytes > streams->cached_max) {
		free(block);
		return;
	}
	streams->cached += bytes;
	block->next = streams->pool[block->class];
	streams->pool[block->class] = block;
}

static bool more_streams(struct gate_streams *streams)
{
	if (!charge(streams, sizeof(struct stream_slab))) {
		return false;
	}
	struct stream_slab *slab = bh_alloc(sizeof(*slab));
	slab->head.next = streams->slabs;
	streams->slabs = &slab->head;
	for (unsigned int i = 0; i < SLAB_STREAMS; i++) {
		slab->streams[i].next_free = streams->free;
		streams->free = &slab->streams[i];
	}
	return true;
}

struct gate_stream *stream_new(struct gate_streams *streams, struct gate_flow *flow)
{
	if (!streams->free && !more_streams(streams)) {
		return NULL;
	}
	struct gate_stream *stream = streams->free;
	streams->free = stream->next_free;
	memset(stream, 0, sizeof(*stream));
	stream->streams = streams;
	stream->flow = flow;
	stream->flags = flow->flags & GATE_FLOW_SWAPPED ? STREAM_SWAPPED : 0;
	for (unsigned int i = 0; i < 2; i++) {
		stream->sides[i].depth = streams->depth;
		/* the receiver's way of reading overlaps */
		stream->sides[i].policy = (uint8_t)stream_policy_of(streams, &flow->addr[!i]);
	}
	streams->stats.sessions++;
	streams->stats.active++;
	flow->stream = stream;
	return stream;
}

void gate_stream_free(struct gate_streams *streams, struct gate_stream *stream)
{
	if (!stream) {
		return;
	}
	side_done(streams, &stream->sides[0]);
	side_done(streams, &stream->sides[1]);
	stream_block_put(streams, stream->hellos);
	stream->next_free = streams->free;
	streams->free = stream;
	streams->stats.active--;
}

void stream_pool_done(struct gate_streams *streams)
{
	for (unsigned int i = 0; i < POOL_CLASSES; i++) {
		while (streams->pool[i]) {
			struct block *block = streams->pool[i];
			streams->pool[i] = block->next;
			free(block);
		}
	}
	while (streams->slabs) {
		struct slab *slab = streams->slabs;
		streams->slabs = slab->next;
		free(BH_CONTAINER_OF(slab, struct stream_slab, head));
	}
}
