/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one side in order.
 *
 * Theory of operation
 *   In order    A payload that comes when it is expected is copied once, behind what is there: one
 *               memcpy, no allocation while the block has room, and not even that when neither
 *               parser nor detection wants this side. The front slides by moving a pointer; bytes
 *               are moved only when the block's end is reached and at least half of it is free, or
 *               into a block twice as large.
 *   Out of order  Segments wait in a list (overlap.c) and are copied when the hole before them
 *               closes.
 *   Lost        What is acknowledged and was never seen, or found no memory, is a gap: the parser
 *               sees what is before it, is told of it, and goes on behind it. What detection has
 *               not seen before a gap is set aside (`tail`) until it has.
 *   Out of band  A byte of urgent data which the receiver's system takes out of the stream is taken
 *               out here too (stream.reassembly.urgent.policy oob): sequence numbers go on,
 *               offsets don't.
 */
#include "gate/stream/tcp.h"

#define FIRST_BLOCK	  2048u
#define OOB_MAX		  0xffffu
#define FINAL(side, flag) (((side)->flags & (flag)) == (flag))

static void event_now(struct gate_streams *streams, enum gate_event event)
{
	if (streams->p) {
		gate_packet_event(streams->p, event);
	}
}

static bool nobody_wants(const struct side *side)
{
	return side->flags & SIDE_DEPTH || FINAL(side, SIDE_NO_APP | SIDE_NO_RAW);
}

static void drop_segments(struct gate_streams *streams, struct side *side)
{
	while (side->first) {
		overlap_put(streams, overlap_take_first(side));
	}
}

static void drop_block(struct gate_streams *streams, struct side *side)
{
	stream_block_put(streams, side->block);
	side->block = NULL;
	side->data = NULL;
	side->size = 0;
	side->base = side->in_off;
}

static void drop_tail(struct gate_streams *streams, struct side *side)
{
	stream_block_put(streams, side->tail);
	side->tail = NULL;
	side->tail_size = 0;
}

void side_done(struct gate_streams *streams, struct side *side)
{
	drop_segments(streams, side);
	drop_block(streams, side);
	drop_tail(streams, side);
}

void side_begin(struct gate_streams *streams, struct side *side, uint32_t isn)
{
	side_done(streams, side);
	side->isn = isn;
	side->in_seq = side->last_ack = isn + 1;
	side->in_off = side->base = side->app = side->app_seen = side->raw = side->gap_off = 0;
	side->raw_end = 0;
	side->changes++;
	side->flags &= (uint16_t)(SIDE_NO_APP | SIDE_NO_RAW | SIDE_TS_ZERO);
}

/* Room for `len` bytes behind what is there. */
static bool reserve(struct gate_streams *streams, struct side *side, uint32_t len)
{
	struct block *block = side->block;
	if (!block) {
		block = stream_block_get(streams, len > FIRST_BLOCK ? len : FIRST_BLOCK);
		if (!block) {
			return false;
		}
		side->block = block;
		side->data = block->data;
		return true;
	}
	uint32_t start = (uint32_t)(side->data - block->data);
	if (len <= block->size - start - side->size) {
		return true;
	}
	if (side->size <= block->size / 2 && side->size + len <= block->size) {
		memmove(block->data, side->data, side->size);
		side->data = block->data;
		return true;
	}
	uint32_t want = side->size + len;
	struct block *larger =
		stream_block_get(streams, want > 2 * block->size ? want : 2 * block->size);
	if (!larger) {
		return false;
	}
	memcpy(larger->data, side->data, side->size);
	memcpy(larger->marks, block->marks, sizeof(larger->marks));
	larger->mark_count = block->mark_count;
	stream_block_put(streams, block);
	side->block = larger;
	side->data = larger->data;
	return true;
}

/* Where the segments that are not acknowledged end: overlaps are read by that. The oldest are
 * merged. */
static void mark_end(struct side *side, uint32_t end)
{
	struct block *block = side->block;
	const unsigned int max = sizeof(block->marks) / sizeof(block->marks[0]);
	unsigned int old = 0;

	if (block->mark_count == max) {
		while (old < max && SEQ_LEQ(block->marks[old], side->last_ack)) {
			old++;
		}
		old = old ? old : 1;
		memmove(block->marks, block->marks + old, (max - old) * sizeof(block->marks[0]));
		block->mark_count = (uint8_t)(max - old);
	}
	block->marks[block->mark_count++] = end;
}

/* The parser's turn with what is visible up to `end`. */
static void show(struct gate_streams *streams, struct gate_stream *stream, struct side *side,
		 uint64_t end, bool eof)
{
	enum gate_dir dir = dir_of(stream, side);
	struct gate_stream_view view = {
		.data = side->data ? side->data + (side->app - side->base) : NULL,
		.size = (uint32_t)(end - side->app),
		.offset = side->app,
		.gap = side->flags & SIDE_GAP && side->gap_off == side->app,
		.eof = eof,
		.cut = eof && side->flags & SIDE_DEPTH,
	};
	side->flags |= SIDE_BUSY | (eof ? SIDE_EOF_TOLD : 0);
	side->app_seen = end;
	uint32_t used = streams->fn(stream->flow, dir, &view, streams->arg);
	side->flags &= (uint16_t)~SIDE_BUSY;
	side->app += used < view.size ? used : view.size;
}

/* `len` bytes at in_seq will never come. */
static void lose(struct gate_streams *streams, struct gate_stream *stream, struct side *side,
		 uint32_t len)
{
	if (nobody_wants(side)) {
		side->in_seq += len;
		if (!(side->flags & SIDE_DEPTH)) {
			side->in_off += len;
			drop_block(streams, side);
		}
		return;
	}
	streams->stats.gaps++;
	streams->stats.gap_bytes += len;
	event_now(streams, GATE_EVENT_STREAM_REASSEMBLY_SEQ_GAP);
	if (!(side->flags & (SIDE_NO_APP | SIDE_BUSY)) && side->in_off > side->app_seen) {
		show(streams, stream, side, side->in_off, false);
	}
	if (side->block && !(side->flags & SIDE_NO_RAW) && side->raw < side->in_off) {
		drop_tail(streams, side);
		side->tail = side->block;
		side->tail_off = side->raw > side->base ? side->raw : side->base;
		side->tail_data = side->data + (side->tail_off - side->base);
		side->tail_size = (uint32_t)(side->in_off - side->tail_off);
		side->block = NULL;
	}
	side->in_seq += len;
	side->in_off += len;
	drop_block(streams, side);
	side->gap_off = side->raw = side->in_off;
	side->flags |= SIDE_GAP;
	if (!(side->flags & (SIDE_NO_APP | SIDE_BUSY))) {
		const struct gate_stream_view gap = {
			.size = len, .offset = side->in_off - len, .gap = true};
		side->flags |= SIDE_BUSY;
		(void)streams->fn(stream->flow, dir_of(stream, side), &gap, streams->arg);
		side->flags &= (uint16_t)~SIDE_BUSY;
	}
	side->app = side->app_seen = side->in_off;
}

static void skip_unwanted(struct gate_streams *streams, struct side *side, uint32_t len)
{
	side->in_seq += len;
	if (!(side->flags & SIDE_DEPTH)) {
		side->in_off += len;
		drop_block(streams, side);
	}
}

static void reach_depth(struct gate_streams *streams, struct side *side)
{
	side->flags |= SIDE_DEPTH;
	side->depth_seq = side->isn + 1 + (uint32_t)side->in_off + side->oob_count;
	streams->stats.depth_reached++;
	event_now(streams, GATE_EVENT_STREAM_REASSEMBLY_DEPTH_REACHED);
	drop_segments(streams, side);
}

bool side_append(struct gate_streams *streams, struct gate_stream *stream, struct side *side,
		 const uint8_t *data, uint32_t len)
{
	uint32_t take = len;

	if (nobody_wants(side)) {
		skip_unwanted(streams, side, len);
		return true;
	}
	if (side->depth && side->in_off + len >= side->depth) {
		take = side->in_off < side->depth ? (uint32_t)(side->depth - side->in_off) : 0;
	}
	if (take && !reserve(streams, side, take)) {
		event_now(streams, GATE_EVENT_STREAM_REASSEMBLY_INSERT_MEMCAP);
		if (streams->inline_mode && !streams->fail_open) {
			return false; /* dropped: it will be sent again */
		}
		lose(streams, stream, side, len);
		return true;
	}
	if (take) {
		memcpy(side->data + side->size, data, take);
		side->size += take;
		side->in_off += take;
	}
	side->in_seq += len;
	if (side->depth && side->in_off >= side->depth) {
		reach_depth(streams, side);
	} else if (!streams->inline_mode) {
		mark_end(side, side->in_seq);
	}
	return true;
}

/* Bytes around an out-of-band one. */
static bool append_split(struct gate_streams *streams, struct gate_stream *stream,
			 struct side *side, const struct gate_view *bytes, uint32_t oob)
{
	if (oob && !side_append(streams, stream, side, bytes->data, oob)) {
		return false;
	}
	side->oob_seq = ++side->in_seq;
	return oob + 1 == bytes->size ||
	       side_append(streams, stream, side, bytes->data + oob + 1, bytes->size - oob - 1);
}

static void append_around(struct gate_streams *streams, struct gate_stream *stream,
			  struct side *side, const struct segment *segment, uint32_t skip)
{
	const struct gate_view rest = {segment->data + skip, segment->len - skip};
	bool kept = segment->oob == NO_OOB || segment->oob < skip
			    ? side_append(streams, stream, side, rest.data, rest.size)
			    : append_split(streams, stream, side, &rest, segment->oob - skip);
	if (!kept) { /* it has passed long ago: not to be had again */
		lose(streams, stream, side, segment->seq + segment->len - side->in_seq);
	}
}

/* Segments whose turn it is. */
static void pull(struct gate_streams *streams, struct gate_stream *stream, struct side *side)
{
	while (side->first && SEQ_LEQ(side->first->seq, side->in_seq)) {
		/* out of the list first: what follows may empty it */
		struct segment *segment = overlap_take_first(side);
		uint32_t skip = side->in_seq - segment->seq;
		if (skip < segment->len) {
			append_around(streams, stream, side, segment, skip);
		}
		overlap_put(streams, segment);
	}
}

void side_acked(struct gate_streams *streams, struct gate_stream *stream, struct side *side)
{
	uint32_t acked = side->last_ack;

	if (side->flags & SIDE_FIN && SEQ_GT(acked, side->fin_seq)) {
		acked = side->fin_seq;
	} else if (acked - side->in_seq == 1 && stream->state > GATE_TCP_ESTABLISHED &&
		   !side->first) {
		return; /* a FIN that was not seen */
	}
	while (SEQ_GT(acked, side->in_seq)) {
		uint32_t until = acked;
		if (side->first && SEQ_LT(side->first->seq, acked)) {
			until = side->first->seq;
		}
		lose(streams, stream, side, until - side->in_seq);
		pull(streams, stream, side);
	}
	side_deliver(streams, stream, side);
}

void side_finish(struct gate_streams *streams, struct gate_stream *stream, struct side *side)
{
	side->flags |= SIDE_ALL;
	pull(streams, stream, side);
	while (side->first) {
		lose(streams, stream, side, side->first->seq - side->in_seq);
		pull(streams, stream, side);
	}
	side_deliver(streams, stream, side);
}

uint64_t side_visible(const struct gate_stream *stream, const struct side *side)
{
	uint32_t last = side->flags & SIDE_DEPTH ? side->depth_seq : side->in_seq;
	int32_t waiting = SEQ_DIFF(last, side->last_ack);

	if (side->flags & SIDE_ALL) {
		return side->in_off;
	}
	if (stream->state < GATE_TCP_SYN_RECV) {
		return 0;
	}
	if (stream->streams->inline_mode || stream->flags & STREAM_ASYNC || waiting <= 0) {
		return side->in_off;
	}
	return (uint64_t)waiting >= side->in_off ? 0 : side->in_off - (uint64_t)waiting;
}

void side_deliver(struct gate_streams *streams, struct gate_stream *stream, struct side *side)
{
	if (side->flags & (SIDE_NO_APP | SIDE_BUSY)) {
		side_slide(streams, stream, side);
		return;
	}
	uint64_t end = side_visible(stream, side);
	bool over = side->flags & (SIDE_ALL | SIDE_DEPTH) ||
		    (side->flags & SIDE_FIN && side->in_seq == side->fin_seq);
	bool eof = over && end == side->in_off;
	if (end > side->app_seen || (eof && !(side->flags & SIDE_EOF_TOLD))) {
		show(streams, stream, side, end > side->app ? end : side->app, eof);
		if (eof && streams->p) {
			streams->p->flags |= GATE_PKT_STREAM_EOF;
		}
	}
	side_slide(streams, stream, side);
}

void side_slide(struct gate_streams *streams, struct gate_stream *stream, struct side *side)
{
	uint64_t keep = side->in_off;

	if (side->flags & SIDE_BUSY || !side->block) {
		return;
	}
	if (!(side->flags & SIDE_NO_APP) && side->app < keep) {
		keep = side->app;
	}
	if (!(side->flags & SIDE_NO_RAW)) {
		uint32_t back = streams->inline_mode ? streams->chunk[dir_of(stream, side)] : 0;
		uint64_t raw = side->raw > back ? side->raw - back : 0;
		keep = raw < keep ? raw : keep;
	}
	if (streams->inline_mode && !nobody_wants(side)) {
		int32_t waiting = SEQ_DIFF(side->in_seq, side->last_ack);
		if (waiting > 0 && side->in_off - keep < (uint64_t)waiting) {
			keep = (uint64_t)waiting > side->in_off ? 0
								: side->in_off - (uint64_t)waiting;
		}
	}
	if (keep <= side->base) {
		return;
	}
	uint64_t gone = keep - side->base;
	if (gone >= side->size) {
		drop_block(streams, side);
		return;
	}
	side->data += gone;
	side->size -= (uint32_t)gone;
	side->base = keep;
}

/* Which byte of the payload is out of band; NO_OOB when none, or none is taken out. */
static uint32_t urgent_byte(struct tcp_in *in)
{
	uint32_t pointer = in->urgent;

	if (!(in->flags & TCP_URG) || pointer == 0 || pointer > in->len) {
		return NO_OOB;
	}
	in->streams->stats.urgent++;
	if (in->streams->urgent != URGENT_OOB) {
		return NO_OOB;
	}
	if (in->from->oob_count == OOB_MAX) {
		tcp_event(in, GATE_EVENT_STREAM_REASSEMBLY_URGENT_OOB_LIMIT_REACHED);
		return NO_OOB;
	}
	in->from->oob_count++;
	return pointer - 1;
}

static void insert_new(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len,
		       uint32_t oob)
{
	struct gate_streams *streams = in->streams;
	struct side *side = in->from;
	bool next = seq == side->in_seq && (!side->first || SEQ_GEQ(side->first->seq, seq + len));

	bool kept;
	if (!next) {
		kept = overlap_insert(in, seq, data, len, oob);
	} else if (oob == NO_OOB) {
		kept = side_append(streams, in->stream, side, data, len);
	} else {
		const struct gate_view bytes = {data, len};
		kept = append_split(streams, in->stream, side, &bytes, oob);
	}
	in->drop |= !kept && streams->inline_mode && !streams->fail_open;
	pull(streams, in->stream, side);
}

static void insert_range(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len,
			 uint32_t oob)
{
	struct side *side = in->from;
	int32_t before = SEQ_DIFF(side->in_seq, seq);

	if (side->flags & SIDE_FIN && SEQ_GT(seq + len, side->fin_seq)) {
		len = SEQ_LT(seq, side->fin_seq) ? side->fin_seq - seq : 0;
	}
	if (before > 0 && len) {
		uint32_t old = (uint32_t)before < len ? (uint32_t)before : len;
		in->streams->stats.overlaps++;
		overlap_in_order(in, seq, data, old);
		seq += old;
		data += old;
		len -= old;
		oob = oob == NO_OOB || oob < old ? NO_OOB : oob - old;
	}
	if (!len) {
		return;
	}
	if (!(side->flags & SIDE_NO_RAW)) {
		in->p->flags |= GATE_PKT_STREAM_ADD;
	}
	insert_new(in, seq, data, len, oob == NO_OOB || oob >= len ? NO_OOB : oob);
}

/* Urgent data by stream.reassembly.urgent.policy. */
static void insert_urgent(struct tcp_in *in)
{
	const uint8_t *data = in->p->payload.data;
	uint32_t pointer = in->urgent;

	if (pointer == 0 || pointer > in->len || in->streams->urgent != URGENT_GAP) {
		if (in->streams->urgent == URGENT_DROP && pointer) {
			in->streams->stats.urgent++;
			in->drop = in->streams->inline_mode;
			return;
		}
		insert_range(in, in->seq, data, in->len, urgent_byte(in));
		return;
	}
	/* the urgent byte stays missing: a gap once it is acknowledged */
	in->streams->stats.urgent++;
	insert_range(in, in->seq, data, pointer - 1, NO_OOB);
	insert_range(in, in->seq + pointer, data + pointer, in->len - pointer, NO_OOB);
}

void side_insert(struct tcp_in *in)
{
	struct gate_streams *streams = in->streams;
	struct side *side = in->from;

	if (nobody_wants(side)) {
		if (SEQ_GT(in->seq + in->len, side->in_seq)) {
			skip_unwanted(streams, side, in->seq + in->len - side->in_seq);
		}
		return;
	}
	if (in->flags & TCP_URG) {
		insert_urgent(in);
	} else {
		insert_range(in, in->seq, in->p->payload.data, in->len, NO_OOB);
	}
	if (side->flags & (SIDE_FIN | SIDE_DEPTH) || streams->inline_mode ||
	    in->stream->flags & STREAM_ASYNC) {
		side_deliver(streams, in->stream, side);
	}
}
