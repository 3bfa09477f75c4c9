/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments that wait for what is before them, and what lies on bytes that are there already.
 *
 * A sensor reads an overlap as the receiver's system would (policy.c), as long as the bytes are
 * not acknowledged. Inline nothing is left to chance: what came first holds, and a packet that
 * says something else is rewritten to say the same. The list is sorted and without overlaps: a new
 * segment is cut into what fills holes; on the rest it wins or not.
 */
#include "base/util.h"
#include "gate/stream/tcp.h"

#define MANY_SEGMENTS 64u    /* from here on neighbours are put together .. */
#define LARGE_SEGMENT 16384u /* .. up to this size */

static struct block *block_of(struct segment *segment)
{
	return BH_CONTAINER_OF((uint8_t *)segment, struct block, data);
}

static uint32_t end_of(const struct segment *segment)
{
	return segment->seq + segment->len;
}

struct segment *overlap_take_first(struct side *side)
{
	struct segment *segment = side->first;

	side->first = segment->next;
	if (!side->first) {
		side->last = NULL;
	}
	side->segments--;
	return segment;
}

void overlap_put(struct gate_streams *streams, struct segment *segment)
{
	stream_block_put(streams, block_of(segment));
}

/* The packet says what was there first. */
static void rewrite(struct tcp_in *in, const uint8_t *at, const uint8_t *with, uint32_t len)
{
	struct gate_packet *p = in->p;
	uint8_t *bytes = p->data;

	in->streams->stats.rewritten++;
	if (p->flags & GATE_PKT_REASSEMBLED || !bytes || at < bytes || at + len > bytes + p->size) {
		in->drop = true; /* those bytes are not what is sent on */
		return;
	}
	memcpy(bytes + (at - bytes), with, len);
	p->flags |= GATE_PKT_MODIFIED;
	in->stream->flags |= STREAM_REWRITTEN;
}

static void differs(struct tcp_in *in)
{
	in->streams->stats.different++;
	tcp_event(in, GATE_EVENT_STREAM_REASSEMBLY_OVERLAP_DIFFERENT_DATA);
}

void overlap_in_order(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len)
{
	struct side *side = in->from;
	uint32_t old = side->in_seq - seq; /* so far back it begins */
	uint32_t end = seq + len, packet_end = end;

	if (SEQ_GT(in->end, packet_end)) {
		packet_end = in->end;
	}
	if (len && old > side->size && SEQ_LEQ(end, side->in_seq - side->size)) {
		tcp_event(in, GATE_EVENT_STREAM_REASSEMBLY_SEGMENT_BEFORE_BASE_SEQ);
		return;
	}
	if (side->flags & SIDE_DEPTH || (side->oob_count && SEQ_LT(seq, side->oob_seq))) {
		return; /* sequence numbers and offsets are not in step there */
	}
	if (old > side->size) {
		uint32_t cut = old - side->size;
		seq += cut;
		data += cut;
		len -= cut;
		old = side->size;
	}
	uint8_t *there = side->data + (side->size - old);
	if (!len || !memcmp(there, data, len)) {
		return;
	}
	differs(in);
	if (in->streams->inline_mode) {
		rewrite(in, data, there, len);
		return;
	}
	uint32_t from = side->in_seq - side->size;
	for (unsigned int i = 0; i < side->block->mark_count; i++) {
		uint32_t until = side->block->marks[i];
		uint32_t a = SEQ_GT(from, seq) ? from : seq, b = SEQ_LT(until, end) ? until : end;
		if (SEQ_LT(a, side->last_ack)) {
			a = side->last_ack; /* the receiver has handed that out */
		}
		if (SEQ_LT(a, b) &&
		    stream_new_wins(side->policy, in->seq, packet_end, from, until)) {
			memcpy(there + (a - seq), data + (a - seq), b - a);
			side->changes++;
		}
		from = until;
	}
}

static uint32_t oob_in(uint32_t oob, uint32_t skip, uint32_t len)
{
	return oob != NO_OOB && oob >= skip && oob - skip < len ? oob - skip : NO_OOB;
}

static bool put_between(struct tcp_in *in, struct segment **link, const struct segment *piece,
			const uint8_t *data)
{
	struct gate_streams *streams = in->streams;
	struct side *side = in->from;
	uint32_t size = piece->len;

	if (side->segments >= GATE_STREAM_SEGMENTS_MAX) {
		streams->stats.segments_full++;
		tcp_event(in, GATE_EVENT_STREAM_REASSEMBLY_INSERT_LIMIT);
		return false;
	}
	if (side->segments >= MANY_SEGMENTS && size < LARGE_SEGMENT) {
		size = LARGE_SEGMENT - (uint32_t)sizeof(*piece);
	}
	struct block *block = stream_block_get(streams, (uint32_t)sizeof(*piece) + size);
	if (!block) {
		tcp_event(in, GATE_EVENT_STREAM_REASSEMBLY_NO_SEGMENT);
		return false;
	}
	struct segment *segment = (struct segment *)block->data;
	*segment = *piece;
	memcpy(segment->data, data, piece->len);
	segment->next = *link;
	*link = segment;
	if (!segment->next) {
		side->last = segment;
	}
	side->segments++;
	return true;
}

/* Behind the last one, if there is room in its block. */
static bool put_together(struct side *side, const struct segment *piece, const uint8_t *data)
{
	struct segment *last = side->last;
	if (side->segments < MANY_SEGMENTS || end_of(last) != piece->seq || last->oob != NO_OOB ||
	    piece->oob != NO_OOB || sizeof(*last) + last->len + piece->len > block_of(last)->size) {
		return false;
	}
	memcpy(last->data + last->len, data, piece->len);
	last->len += piece->len;
	return true;
}

static void lie_on(struct tcp_in *in, struct segment *old, uint32_t seq, const uint8_t *data,
		   uint32_t len)
{
	uint8_t *there = old->data + (seq - old->seq);

	in->streams->stats.overlaps++;
	if (!memcmp(there, data, len)) {
		return;
	}
	differs(in);
	if (in->streams->inline_mode) {
		rewrite(in, data, there, len);
	} else if (stream_new_wins(in->from->policy, in->seq, in->end, old->seq, end_of(old))) {
		memcpy(there, data, len);
	}
}

bool overlap_insert(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len,
		    uint32_t oob)
{
	struct side *side = in->from;
	struct segment **link = &side->first;
	uint32_t done = 0;

	if (side->last && SEQ_GEQ(seq, end_of(side->last))) {
		const struct segment piece = {.seq = seq, .len = len, .oob = oob};
		return put_together(side, &piece, data) ||
		       put_between(in, &side->last->next, &piece, data);
	}
	while (done < len) {
		struct segment *old = *link;
		uint32_t at = seq + done, left = len - done;
		if (old && SEQ_GEQ(at, end_of(old))) {
			link = &old->next;
			continue;
		}
		if (old && SEQ_LEQ(old->seq, at)) {
			uint32_t n = end_of(old) - at < left ? end_of(old) - at : left;
			lie_on(in, old, at, data + done, n);
			done += n;
			continue;
		}
		uint32_t n = old && old->seq - at < left ? old->seq - at : left;
		const struct segment piece = {.seq = at, .len = n, .oob = oob_in(oob, done, n)};
		if (!put_between(in, link, &piece, data + done)) {
			return false;
		}
		done += n;
	}
	return true;
}
