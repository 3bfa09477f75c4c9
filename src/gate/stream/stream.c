/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream engine's door: a packet goes to its state, then its bytes to the parser; detection
 * and others ask here. handshake.c and states.c say what a packet means, valid.c whether it can
 * be, bytes.c and overlap.c keep the bytes.
 */
#include "base/util.h"
#include "gate/config.h"
#include "gate/stream/tcp.h"

#include <arpa/inet.h>

#define SMALL_WINDOW 1024u /* a window above it may be smaller by .. */
#define WINDOW_SLACK 32u   /* .. than what is acknowledged accounts for */

const char *gate_tcp_state_name(enum gate_tcp_state state)
{
	static const char *const names[] = {
		[GATE_TCP_NONE] = "none",
		[GATE_TCP_SYN_SENT] = "syn_sent",
		[GATE_TCP_SYN_RECV] = "syn_recv",
		[GATE_TCP_ESTABLISHED] = "established",
		[GATE_TCP_FIN_WAIT1] = "fin_wait1",
		[GATE_TCP_FIN_WAIT2] = "fin_wait2",
		[GATE_TCP_TIME_WAIT] = "time_wait",
		[GATE_TCP_LAST_ACK] = "last_ack",
		[GATE_TCP_CLOSE_WAIT] = "close_wait",
		[GATE_TCP_CLOSING] = "closing",
		[GATE_TCP_CLOSED] = "closed",
	};
	return (size_t)state < BH_ARRAY_SIZE(names) ? names[state] : "none";
}

static enum urgent urgent_of(const char *name)
{
	if (!name || !strcmp(name, "oob")) {
		return URGENT_OOB;
	}
	if (!strcmp(name, "drop")) {
		return URGENT_DROP;
	}
	return !strcmp(name, "gap") ? URGENT_GAP : URGENT_INLINE;
}

struct gate_streams *gate_streams_new(const struct gate_config *config, gate_stream_data_fn *fn,
				      void *arg)
{
	struct gate_streams *streams = bh_alloc(sizeof(*streams));

	streams->fn = fn;
	streams->arg = arg;
	streams->depth = config->stream_depth;
	streams->chunk[GATE_TO_SERVER] = (uint32_t)config->stream_chunk_to_server;
	streams->chunk[GATE_TO_CLIENT] = (uint32_t)config->stream_chunk_to_client;
	streams->inline_mode = config->stream_inline;
	streams->drop_invalid = config->stream_drop_invalid;
	streams->fail_open = config->fail_open;
	streams->midstream = config->stream_midstream;
	streams->on_midstream = config->on_midstream;
	streams->async = config->stream_async;
	streams->urgent = urgent_of(config->urgent_policy);
	streams->stats.memory_max = config->stream_memcap / (config->workers ? config->workers : 1);
	streams->cached_max = streams->stats.memory_max / 8;
	stream_policy_load(streams, config);
	return streams;
}

void gate_streams_free(struct gate_streams *streams)
{
	if (streams) {
		stream_pool_done(streams);
		free(streams->networks);
		free(streams);
	}
}

/* A probe whether the other side is still there (RFC 9293 3.8.4): one byte, or none, before the
 * next. A byte that may not have arrived is no probe: it could be another one now. */
static bool is_keepalive(const struct tcp_in *in)
{
	return in->len <= 1 && in->seq + 1 == in->from->next_seq &&
	       !(in->flags & (TCP_SYN | TCP_FIN | TCP_RST)) && in->flags & TCP_ACK &&
	       in->ack == in->to->last_ack &&
	       (!in->len || SEQ_GEQ(in->from->last_ack, in->from->next_seq));
}

/* A smaller window from a place where neither side is yet: it would hide what follows. What is
 * acknowledged may make a window smaller by as much, and after losses by a little more. */
static bool is_bad_window_update(const struct tcp_in *in)
{
	uint32_t window = in->window << in->to->wscale;
	uint32_t allowed = in->ack - in->to->last_ack + (window > SMALL_WINDOW ? WINDOW_SLACK : 0);
	uint32_t less = in->to->window - window;

	return in->stream->state != GATE_TCP_CLOSED &&
	       !(in->flags & (TCP_SYN | TCP_FIN | TCP_RST)) && window < in->to->window &&
	       less > in->len && less > allowed && SEQ_GT(in->ack, in->to->next_seq) &&
	       SEQ_GT(in->seq, in->from->next_seq);
}

static bool dispatch(struct tcp_in *in)
{
	if (!in->stream || in->stream->state == GATE_TCP_NONE) {
		return tcp_none(in);
	}
	if (in->stream->state >= GATE_TCP_ESTABLISHED) {
		if (is_keepalive(in)) {
			return true;
		}
		if (is_bad_window_update(in)) {
			tcp_event(in, GATE_EVENT_STREAM_PKT_BAD_WINDOW_UPDATE);
			return true;
		}
	}
	switch (in->stream->state) {
	case GATE_TCP_SYN_SENT:
		return tcp_syn_sent(in);
	case GATE_TCP_SYN_RECV:
		return tcp_syn_recv(in);
	case GATE_TCP_ESTABLISHED:
		return tcp_established(in);
	case GATE_TCP_CLOSED:
		return tcp_closed(in);
	default:
		return tcp_closing(in);
	}
}

static uint32_t sum_bytes(const uint8_t *data, uint32_t size, uint32_t sum)
{
	for (; size > 1; size -= 2, data += 2) {
		sum += (uint32_t)data[0] << 8 | data[1];
	}
	sum += size ? (uint32_t)data[0] << 8 : 0;
	return sum;
}

/* After bytes of the payload were changed (RFC 9293 3.1). */
static void redo_checksum(struct gate_packet *p)
{
	uint8_t *header = p->data + ((const uint8_t *)p->tcp - p->data);
	uint32_t size = p->l4_size + p->payload.size;
	size_t skip = p->ip_version == 4 ? 12 : 0;
	uint32_t sum = IPPROTO_TCP + size;

	header[16] = header[17] = 0;
	sum = sum_bytes(p->src.bytes + skip, (uint32_t)(16 - skip), sum);
	sum = sum_bytes(p->dst.bytes + skip, (uint32_t)(16 - skip), sum);
	sum = sum_bytes(header, size, sum);
	while (sum >> 16) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	header[16] = (uint8_t)(~sum >> 8);
	header[17] = (uint8_t)~sum;
}

static bool refuse(struct gate_streams *streams, struct gate_packet *p)
{
	if (!streams->inline_mode || !streams->drop_invalid) {
		return true;
	}
	p->flags |= GATE_PKT_NO_PAYLOAD;
	return false;
}

/* The flow is encrypted from some byte on: is this packet behind it? */
static void no_payload(struct gate_stream *stream, struct gate_packet *p)
{
	struct side *side = side_of(stream, (enum gate_dir)p->dir);
	if (side->raw_end && !(side->flags & SIDE_NO_RAW)) {
		gate_stream_stop_raw(stream, (enum gate_dir)p->dir);
	}
	if (side->flags & SIDE_NO_RAW) {
		p->flags |= GATE_PKT_NO_PAYLOAD;
	}
}

bool gate_stream_packet(struct gate_streams *streams, struct gate_flow *flow, struct gate_packet *p)
{
	const uint8_t *header = (const uint8_t *)p->tcp;
	if (!header) {
		return true;
	}
	if (flow->flags & GATE_FLOW_NO_PAYLOAD && flow->stream) {
		no_payload(flow->stream, p);
	}
	if (p->flags & GATE_PKT_BAD_CSUM) {
		streams->stats.invalid_checksum++;
		return refuse(streams, p);
	}
	struct tcp_in in = {
		.streams = streams,
		.stream = flow->stream,
		.flow = flow,
		.p = p,
		.seq = gate_be32(header + 4),
		.ack = gate_be32(header + 8),
		.len = p->payload.size,
		.window = (uint32_t)header[14] << 8 | header[15],
		.urgent = (uint32_t)header[18] << 8 | header[19],
		.flags = header[13],
		.to_server = p->dir == GATE_TO_SERVER,
	};
	in.end = in.seq + in.len;
	streams->p = p;
	if (in.flags & TCP_SYN) {
		streams->stats.syn += !(in.flags & TCP_ACK);
		streams->stats.synack += !!(in.flags & TCP_ACK);
	}
	if (in.ack && !(in.flags & TCP_ACK)) {
		tcp_event(&in, GATE_EVENT_STREAM_PKT_BROKEN_ACK);
	}
	if (in.stream) {
		tcp_sides(&in);
	}
	bool valid = dispatch(&in);
	if (in.stream) {
		in.from->tcp_flags |= in.flags;
		if (in.stream->flags & STREAM_REWRITTEN) {
			in.stream->flags &= (uint16_t)~STREAM_REWRITTEN;
			redo_checksum(p);
		}
	}
	streams->p = NULL;
	if (!valid) {
		streams->stats.invalid++;
		return refuse(streams, p);
	}
	return !in.drop;
}

void gate_stream_finish(struct gate_streams *streams, struct gate_flow *flow, enum gate_dir dir)
{
	if (flow->stream) {
		side_finish(streams, flow->stream, side_of(flow->stream, dir));
	}
}

void gate_stream_flush(struct gate_streams *streams, struct gate_flow *flow)
{
	gate_stream_finish(streams, flow, GATE_TO_SERVER);
	gate_stream_finish(streams, flow, GATE_TO_CLIENT);
}

void gate_stream_offer(struct gate_streams *streams, struct gate_flow *flow, enum gate_dir dir)
{
	if (flow->stream) {
		struct side *side = side_of(flow->stream, dir);
		if (!(side->flags & SIDE_BUSY)) {
			side->app_seen = side->app;
			side_deliver(streams, flow->stream, side);
		}
	}
}

static bool ready(const struct gate_stream *stream, const struct side *side, uint64_t end,
		  uint32_t chunk)
{
	return stream->streams->inline_mode || end - side->raw >= chunk ||
	       side->flags & (SIDE_NOW | SIDE_ALL | SIDE_DEPTH | SIDE_EOF_TOLD) ||
	       stream->state == GATE_TCP_CLOSED;
}

bool gate_stream_uninspected(const struct gate_stream *stream, enum gate_dir dir, uint32_t back,
			     struct gate_stream_view *ret, uint64_t *ret_new_from)
{
	const struct side *side = side_of(stream, dir);
	if (side->flags & SIDE_NO_RAW) {
		return false;
	}
	if (side->tail) {
		*ret = (struct gate_stream_view){.data = side->tail_data,
						 .size = side->tail_size,
						 .offset = side->tail_off,
						 .changes = side->changes};
		*ret_new_from = side->tail_off;
		return true;
	}
	uint64_t end = side_visible(stream, side);
	if (side->raw_end && end > side->raw_end) {
		end = side->raw_end;
	}
	if (end <= side->raw || !side->data ||
	    !ready(stream, side, end, stream->streams->chunk[dir])) {
		return false;
	}
	uint64_t start = side->raw > back ? side->raw - back : 0;
	start = start < side->base ? side->base : start;
	*ret = (struct gate_stream_view){
		.data = side->data + (start - side->base),
		.size = (uint32_t)(end - start),
		.offset = start,
		.gap = side->flags & SIDE_GAP && side->gap_off == start,
		.eof = side->flags & SIDE_EOF_TOLD,
		.changes = side->changes,
	};
	*ret_new_from = side->raw;
	return true;
}

bool gate_stream_newest(const struct gate_stream *stream, enum gate_dir dir, uint32_t size,
			uint32_t back, struct gate_stream_view *ret)
{
	const struct side *side = side_of(stream, dir);
	uint32_t all = side->size - size < back ? side->size : size + back;

	if (side->flags & SIDE_NO_RAW || !side->data || side->size < size) {
		return false;
	}
	*ret = (struct gate_stream_view){.data = side->data + (side->size - all),
					 .size = all,
					 .offset = side->in_off - all,
					 .changes = side->changes};
	return true;
}

bool gate_stream_held(const struct gate_stream *stream, enum gate_dir dir,
		      struct gate_stream_view *ret)
{
	const struct side *side = side_of(stream, dir);
	uint64_t end = side_visible(stream, side);

	if (!side->data || end <= side->base) {
		return false;
	}
	*ret = (struct gate_stream_view){
		.data = side->data, .size = (uint32_t)(end - side->base), .offset = side->base};
	return true;
}

static void stop(struct gate_stream *stream, enum gate_dir dir, uint16_t flag)
{
	struct side *side = side_of(stream, dir);
	const uint16_t both = SIDE_NO_APP | SIDE_NO_RAW;

	side->flags |= flag;
	if (flag == SIDE_NO_RAW) {
		stream_block_put(stream->streams, side->tail);
		side->tail = NULL;
		side->tail_size = 0;
	}
	if ((side->flags & both) == both && !(side->flags & SIDE_BUSY)) {
		/* nobody reads what waits: only the sequence numbers count */
		if (side->last) {
			uint32_t end = side->last->seq + side->last->len;
			side->in_off += end - side->in_seq;
			side->in_seq = end;
		}
		side_done(stream->streams, side);
	}
	side_slide(stream->streams, stream, side);
}

void gate_stream_inspected(struct gate_stream *stream, enum gate_dir dir, uint64_t until)
{
	struct side *side = side_of(stream, dir);
	struct gate_streams *streams = stream->streams;

	if (side->tail) {
		uint64_t end = side->tail_off + side->tail_size;
		uint64_t seen = until > side->tail_off ? until - side->tail_off : 0;
		if (until >= end) {
			stream_block_put(streams, side->tail);
			side->tail = NULL;
			side->tail_size = 0;
		} else {
			side->tail_data += seen;
			side->tail_size -= (uint32_t)seen;
			side->tail_off += seen;
		}
		return;
	}
	if (until > side->raw) {
		side->raw = until < side->in_off ? until : side->in_off;
	}
	if (side->raw_end && side->raw >= side->raw_end) {
		stop(stream, dir, SIDE_NO_RAW);
		return;
	}
	side->flags &= (uint16_t)~SIDE_NOW;
	side_slide(streams, stream, side);
}

void gate_stream_inspect_now(struct gate_stream *stream, enum gate_dir dir)
{
	side_of(stream, dir)->flags |= SIDE_NOW;
}

void gate_stream_stop_app(struct gate_stream *stream, enum gate_dir dir)
{
	stop(stream, dir, SIDE_NO_APP);
}

void gate_stream_stop_raw(struct gate_stream *stream, enum gate_dir dir)
{
	struct side *side = side_of(stream, dir);
	uint64_t end = side->raw_end ? side->raw_end : side->in_off;

	if (side->flags & SIDE_NO_RAW || (!side->tail && side->raw >= end)) {
		stop(stream, dir, SIDE_NO_RAW);
		return;
	}
	/* what is here is still looked at, with the next packet of that side */
	side->raw_end = end;
	side->flags |= SIDE_NOW;
}

void gate_stream_keep(struct gate_stream *stream, enum gate_dir dir, uint64_t more)
{
	struct side *side = side_of(stream, dir);
	uint64_t depth = more ? side->app + more : 0;
	if (side->depth && (!depth || depth > side->depth)) {
		side->depth = depth;
	}
}

enum gate_tcp_state gate_stream_state(const struct gate_stream *stream)
{
	return stream->state;
}

uint64_t gate_stream_size(const struct gate_stream *stream, enum gate_dir dir)
{
	const struct side *side = side_of(stream, dir);
	return side->next_seq - side->isn;
}

uint64_t gate_stream_in_order(const struct gate_stream *stream, enum gate_dir dir)
{
	return side_of(stream, dir)->in_off;
}

uint32_t gate_stream_next_seq(const struct gate_stream *stream, enum gate_dir dir)
{
	return side_of(stream, dir)->next_seq;
}

bool gate_stream_is_midstream(const struct gate_stream *stream)
{
	return stream->flags & STREAM_MIDSTREAM;
}

uint8_t gate_stream_flags(const struct gate_stream *stream, enum gate_dir dir)
{
	return side_of(stream, dir)->tcp_flags;
}

bool gate_stream_has_gap(const struct gate_stream *stream, enum gate_dir dir)
{
	return side_of(stream, dir)->flags & SIDE_GAP;
}

void gate_streams_stats(const struct gate_streams *streams, struct gate_stream_stats *ret)
{
	*ret = streams->stats;
}
