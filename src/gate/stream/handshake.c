/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection begins: three-way handshake, with retransmitted and differing SYNs and SYN/ACKs
 * (the one that is answered counts), TCP Fast Open (RFC 7413), simultaneous and split handshakes
 * (four and five packets), one side only, and pick-up of what began before us.
 */
#include "gate/stream/tcp.h"

#include <arpa/inet.h>

#define OPTION_TFO	  34
#define OPTION_EXPERIMENT 254
#define TFO_MAGIC	  0xf989
#define MIDSTREAM_WINDOW  0x3fffffff
#define SYN_FLAGS(in)	  ((in)->flags & (TCP_SYN | TCP_ACK))

static struct hello hello_of(const struct tcp_in *in)
{
	const struct gate_tcp_options *o = &in->p->tcp_opts;
	return (struct hello){
		.seq = in->seq,
		.ack = in->ack,
		.ts = o->ts,
		.window = in->window,
		.wscale = o->wscale > WSCALE_MAX ? WSCALE_MAX : o->wscale,
		.has_ts = o->has_ts,
		.has_wscale = o->has_wscale,
		.has_sack = o->has_sack_ok,
	};
}

static struct hellos *hellos_of(const struct gate_stream *stream)
{
	return stream->hellos ? (struct hellos *)stream->hellos->data : NULL;
}

static void forget_hellos(struct tcp_in *in)
{
	stream_block_put(in->streams, in->stream->hellos);
	in->stream->hellos = NULL;
}

/* Keeps a SYN or SYN/ACK that differs from the one that counts so far. False: too many. */
static bool remember_hello(struct tcp_in *in, unsigned int max, enum gate_event flood)
{
	struct hello hello = hello_of(in);
	if (!in->stream->hellos) {
		in->stream->hellos = stream_block_get(in->streams, sizeof(struct hellos));
		if (!in->stream->hellos) {
			return false;
		}
		memset(in->stream->hellos->data, 0, sizeof(struct hellos));
	}
	struct hellos *all = hellos_of(in->stream);
	for (unsigned int i = 0; i < all->count; i++) {
		if (all->v[i].seq == hello.seq && all->v[i].ack == hello.ack) {
			all->v[i] = hello;
			return true;
		}
	}
	if (all->count >= max) {
		tcp_event(in, flood);
		return false;
	}
	all->v[all->count++] = hello;
	return true;
}

static bool is_fast_open(const struct gate_packet *p)
{
	const uint8_t *o = (const uint8_t *)p->tcp + sizeof(struct tcphdr);
	uint32_t fixed = sizeof(struct tcphdr), size = p->l4_size > fixed ? p->l4_size - fixed : 0;
	for (uint32_t i = 0; i < size && o[i] != 0;) {
		uint32_t len = o[i] == 1 ? 1 : (i + 1 < size ? o[i + 1] : 0);
		if (len == 0 || i + len > size || (o[i] != 1 && len < 2)) {
			return false;
		}
		if (o[i] == OPTION_TFO) {
			return true;
		}
		if (o[i] == OPTION_EXPERIMENT && len >= 4 &&
		    (o[i + 2] << 8 | o[i + 3]) == TFO_MAGIC) {
			return true;
		}
		i += len;
	}
	return false;
}

/* The SYN of side `from`: also called again when another SYN is the one that is answered. */
static void take_syn(struct tcp_in *in, struct side *from, struct side *to,
		     const struct hello *hello)
{
	struct gate_stream *stream = in->stream;

	side_begin(in->streams, from, hello->seq);
	from->next_seq = hello->seq + 1;
	from->last_ts = hello->has_ts ? hello->ts : 0;
	from->last_ts_s = (uint32_t)(in->p->time_us / 1000000);
	from->flags = (uint16_t)(hello->has_ts && !hello->ts ? from->flags | SIDE_TS_ZERO
							     : from->flags & ~SIDE_TS_ZERO);
	to->window = hello->window;
	to->wscale = hello->has_wscale ? hello->wscale : 0;
	stream->flags &= (uint16_t) ~(STREAM_TS | STREAM_WSCALE | STREAM_SACK_SYN);
	stream->flags |= (hello->has_ts ? STREAM_TS : 0) | (hello->has_wscale ? STREAM_WSCALE : 0) |
			 (hello->has_sack ? STREAM_SACK_SYN : 0);
	in->flow->tcp_isn = hello->seq;
}

/* The SYN/ACK of side `from` that answers the SYN of `to`. */
static void take_synack(struct tcp_in *in, struct side *from, struct side *to,
			const struct hello *hello)
{
	struct gate_stream *stream = in->stream;

	side_begin(in->streams, from, hello->seq);
	from->next_seq = hello->seq + 1;
	from->last_ack = hello->seq + 1;
	to->window = hello->window; /* never scaled in a SYN */
	to->last_ack = hello->ack;
	if (stream->flags & STREAM_TS && hello->has_ts) {
		from->last_ts = hello->ts;
		from->last_ts_s = (uint32_t)(in->p->time_us / 1000000);
	} else {
		stream->flags &= (uint16_t)~STREAM_TS;
		from->last_ts = to->last_ts = 0;
	}
	if (stream->flags & STREAM_WSCALE && hello->has_wscale) {
		to->wscale = hello->wscale;
	} else {
		to->wscale = from->wscale = 0;
	}
	if (stream->flags & STREAM_SACK_SYN && hello->has_sack) {
		stream->flags |= STREAM_SACK;
	}
	from->next_win = from->last_ack + from->window;
	to->next_win = to->last_ack + to->window;
	tcp_set_state(in, GATE_TCP_SYN_RECV);
}

static bool new_stream(struct tcp_in *in)
{
	if (!in->stream) {
		in->stream = stream_new(in->streams, in->flow);
	}
	if (!in->stream) {
		in->drop = in->streams->inline_mode && !in->streams->fail_open;
		return false;
	}
	tcp_sides(in);
	return true;
}

static void begin(struct tcp_in *in)
{
	struct hello hello = hello_of(in);
	if (!new_stream(in)) {
		return;
	}
	take_syn(in, in->from, in->to, &hello);
	tcp_set_state(in, GATE_TCP_SYN_SENT);
	if (in->len && is_fast_open(in->p)) {
		in->stream->flags |= STREAM_TFO;
		in->seq++;
		in->from->next_seq += in->len;
		side_insert(in);
	}
}

/* The first packet is a SYN/ACK: its sender is the server. */
static void pick_up_synack(struct tcp_in *in)
{
	struct hello hello = hello_of(in);

	if (in->to_server) {
		gate_flow_swap(in->flow);
		in->p->dir = GATE_TO_CLIENT;
		in->to_server = false;
	}
	if (!new_stream(in)) {
		return;
	}
	in->stream->flags |= STREAM_MIDSTREAM | STREAM_MIDSTREAM_SYNACK;
	in->streams->stats.midstream++;
	side_begin(in->streams, in->to, in->ack - 1);
	in->to->next_seq = in->ack;
	in->flow->tcp_isn = in->ack - 1;
	in->from->window = MIDSTREAM_WINDOW;
	take_synack(in, in->from, in->to, &hello);
	in->to->wscale = hello.has_wscale ? hello.wscale : 0;
	in->from->wscale = hello.has_wscale ? WSCALE_MAX : 0;
	in->stream->flags |= (hello.has_ts ? STREAM_TS : 0) | (hello.has_sack ? STREAM_SACK : 0);
	in->from->last_ts = hello.has_ts ? hello.ts : 0;
}

/* The first packet is in the middle: scales are not known, so the largest is taken. */
static void pick_up(struct tcp_in *in)
{
	if (!new_stream(in)) {
		return;
	}
	struct side *from = in->from, *to = in->to;

	in->stream->flags |= STREAM_MIDSTREAM | STREAM_SACK;
	in->streams->stats.midstream++;
	in->flow->tcp_isn = in->seq - 1;
	side_begin(in->streams, from, in->seq - 1);
	from->next_seq = in->seq + in->len;
	from->last_ack = in->seq;
	from->window = MIDSTREAM_WINDOW;
	from->next_win = from->last_ack + from->window;
	side_begin(in->streams, to, in->ack - 1);
	to->next_seq = to->last_ack = in->ack;
	to->window = in->window << WSCALE_MAX;
	to->next_win = to->last_ack + to->window;
	from->wscale = to->wscale = WSCALE_MAX;
	if (in->p->tcp_opts.has_ts) {
		in->stream->flags |= STREAM_TS;
		from->last_ts = in->p->tcp_opts.ts;
		to->last_ts = in->p->tcp_opts.ts_echo;
		from->last_ts_s = to->last_ts_s = (uint32_t)(in->p->time_us / 1000000);
	}
	if (in->streams->async) {
		in->stream->flags |= STREAM_ASYNC;
	}
	tcp_set_state(in, GATE_TCP_ESTABLISHED);
	side_insert(in);
}

/* The last data of a connection, and that it is the last. */
static void pick_up_fin(struct tcp_in *in)
{
	pick_up(in);
	if (in->stream) {
		in->from->flags |= SIDE_FIN;
		in->from->fin_seq = in->end;
		in->from->next_seq = in->end + 1;
		tcp_set_state(in, in->to_server ? GATE_TCP_CLOSE_WAIT : GATE_TCP_FIN_WAIT1);
	}
}

/* A connection whose beginning was not seen: may it be taken up? */
static bool is_let_in(struct tcp_in *in)
{
	enum gate_exception policy = in->streams->on_midstream;

	gate_flow_except(in->flow, in->p, policy, GATE_DROP_MIDSTREAM);
	return policy == GATE_EXCEPTION_IGNORE || policy == GATE_EXCEPTION_PASS_FLOW;
}

bool tcp_none(struct tcp_in *in)
{
	bool late = in->streams->midstream || in->streams->async;
	bool let_in = true;

	if (in->flags & TCP_RST) {
		tcp_event(in, GATE_EVENT_STREAM_RST_BUT_NO_SESSION);
		return false;
	}
	if (SYN_FLAGS(in) != TCP_SYN && in->flags & (TCP_ACK | TCP_FIN)) {
		let_in = is_let_in(in);
	}
	if (in->flags & TCP_FIN) {
		if (in->streams->midstream && in->len) {
			if (let_in) {
				pick_up_fin(in);
			}
			return let_in;
		}
		tcp_event(in, GATE_EVENT_STREAM_FIN_BUT_NO_SESSION);
		return false;
	}
	if (SYN_FLAGS(in) == TCP_SYN) {
		begin(in);
	} else if (SYN_FLAGS(in) == (TCP_SYN | TCP_ACK) && late && let_in) {
		pick_up_synack(in);
	} else if (SYN_FLAGS(in) == TCP_ACK && in->streams->midstream && let_in) {
		pick_up(in);
	}
	return true;
}

/* Another SYN than the first is acknowledged: that one counts. */
static bool use_other_syn(struct tcp_in *in)
{
	struct hellos *all = hellos_of(in->stream);
	for (unsigned int i = 0; all && i < all->count; i++) {
		if (all->v[i].seq + 1 == in->ack) {
			take_syn(in, in->to, in->from, &all->v[i]);
			return true;
		}
	}
	return false;
}

/* The client's answer to the server's SYN, after both have sent one. */
static bool split_synack(struct tcp_in *in)
{
	struct hello hello = hello_of(in);
	if (in->ack != in->to->isn + 1) {
		tcp_event(in, GATE_EVENT_STREAM_4WHS_SYNACK_WITH_WRONG_ACK);
		return false;
	}
	if (in->seq != in->from->isn) {
		tcp_event(in, GATE_EVENT_STREAM_4WHS_SYNACK_WITH_WRONG_SYN);
		return false;
	}
	take_synack(in, in->from, in->to, &hello);
	return true;
}

static bool syn_sent_synack(struct tcp_in *in)
{
	struct gate_stream *stream = in->stream;
	struct hello hello = hello_of(in);

	if (in->to_server) {
		if (stream->flags & STREAM_4WHS) {
			return split_synack(in);
		}
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_IN_WRONG_DIRECTION);
		return false;
	}
	if (stream->flags & STREAM_TFO && in->ack == in->to->isn + 1 &&
	    in->to->next_seq != in->ack) {
		/* the server wants the data of the SYN again */
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_TFO_DATA_IGNORED);
		side_begin(in->streams, in->to, in->to->isn);
		in->to->next_seq = in->ack;
	} else if (in->ack != in->to->next_seq && in->ack != in->to->isn + 1 &&
		   !use_other_syn(in)) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_WITH_WRONG_ACK);
		return false;
	}
	forget_hellos(in);
	stream->flags &= (uint16_t)~STREAM_4WHS;
	take_synack(in, in->from, in->to, &hello);
	side_acked(in->streams, stream, in->to);
	return true;
}

static bool syn_sent_syn(struct tcp_in *in)
{
	if (!in->to_server) {
		struct hello hello = hello_of(in);
		uint32_t isn = in->flow->tcp_isn;
		uint16_t kept = in->stream->flags & (STREAM_WSCALE | STREAM_SACK_SYN | STREAM_TS);
		in->stream->flags |= STREAM_4WHS;
		take_syn(in, in->from, in->to, &hello);
		/* both must have said so */
		in->stream->flags &=
			(uint16_t) ~(STREAM_WSCALE | STREAM_SACK_SYN | STREAM_TS) | kept;
		in->flow->tcp_isn = isn;
		return true;
	}
	if (in->seq == in->from->isn) {
		return true;
	}
	return remember_hello(in, GATE_STREAM_SYNS_MAX, GATE_EVENT_STREAM_3WHS_SYN_FLOOD);
}

/* One side only: the SYN/ACK goes another way. */
static bool syn_sent_ack(struct tcp_in *in)
{
	if (!in->streams->async || !in->to_server) {
		return true;
	}
	if (in->seq != in->from->next_seq) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_ASYNC_WRONG_SEQ);
		return false;
	}
	in->stream->flags |= STREAM_ASYNC;
	in->from->window = in->from->window ? in->from->window : in->window;
	in->from->last_ack = in->seq;
	in->from->next_win = in->seq + in->from->window;
	side_begin(in->streams, in->to, in->ack - 1);
	in->to->next_seq = in->to->last_ack = in->ack;
	in->to->next_win = in->ack + in->to->window;
	tcp_set_state(in, GATE_TCP_ESTABLISHED);
	tcp_accept(in);
	return true;
}

bool tcp_syn_sent(struct tcp_in *in)
{
	if (in->flags & TCP_RST) {
		bool refused = !in->to_server && in->flags & TCP_ACK && in->ack == in->to->next_seq;
		if (refused || (in->to_server && in->seq == in->from->next_seq)) {
			in->streams->stats.rst++;
			tcp_set_state(in, GATE_TCP_CLOSED);
			return true;
		}
		if (in->flags & TCP_ACK) {
			tcp_event(in, GATE_EVENT_STREAM_RST_INVALID_ACK);
		}
		return false;
	}
	if (in->flags & TCP_FIN) {
		return true;
	}
	switch (SYN_FLAGS(in)) {
	case TCP_SYN | TCP_ACK:
		return syn_sent_synack(in);
	case TCP_SYN:
		return syn_sent_syn(in);
	case TCP_ACK:
		return syn_sent_ack(in);
	default:
		return true;
	}
}

static bool syn_recv_synack(struct tcp_in *in)
{
	if (in->to_server) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_TOSERVER_ON_SYN_RECV);
		return false;
	}
	if (in->ack != in->to->last_ack) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_RESEND_WITH_DIFFERENT_ACK);
		return false;
	}
	if (in->seq == in->from->isn) {
		return true;
	}
	tcp_event(in, GATE_EVENT_STREAM_3WHS_SYNACK_RESEND_WITH_DIFF_SEQ);
	return remember_hello(in, GATE_STREAM_SYNACKS_MAX, GATE_EVENT_STREAM_3WHS_SYNACK_FLOOD);
}

static bool syn_recv_syn(struct tcp_in *in)
{
	if (!in->to_server) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYN_TOCLIENT_ON_SYN_RECV);
		return false;
	}
	if (in->seq != in->from->isn) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_SYN_RESEND_DIFF_SEQ_ON_SYN_RECV);
		return false;
	}
	return true;
}

/* The client answers a SYN/ACK that came after the first: that one counts. */
static void use_other_synack(struct tcp_in *in)
{
	struct hellos *all = hellos_of(in->stream);
	for (unsigned int i = 0; all && in->to_server && i < all->count; i++) {
		if (all->v[i].seq + 1 == in->ack && all->v[i].ack == in->seq) {
			take_synack(in, in->to, in->from, &all->v[i]);
			break;
		}
	}
}

/* Data of the server before the client's ACK: only when that ACK must have been there. */
static bool ack_of_server(struct tcp_in *in)
{
	const uint16_t early = STREAM_TFO | STREAM_MIDSTREAM_SYNACK;
	bool missed = !in->streams->inline_mode && SEQ_GT(in->ack, in->to->isn + 1) &&
		      in->seq == in->from->next_seq;
	if (in->stream->flags & early || missed) {
		return true;
	}
	if (in->streams->inline_mode && in->len) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_ACK_DATA_INJECT);
	} else {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_ACK_IN_WRONG_DIR);
	}
	return false;
}

static bool syn_recv_ack(struct tcp_in *in)
{
	use_other_synack(in);
	if (in->stream->flags & STREAM_4WHS && !in->to_server) {
		if (in->seq != in->from->next_seq) {
			tcp_event(in, GATE_EVENT_STREAM_4WHS_WRONG_SEQ);
			return false;
		}
		if (!tcp_valid_ack(in)) {
			tcp_event(in, GATE_EVENT_STREAM_4WHS_INVALID_ACK);
			return false;
		}
	} else if (!tcp_valid_ts(in) || (!in->to_server && !ack_of_server(in))) {
		return false;
	}
	bool right_ack = SEQ_GEQ(in->ack, in->to->isn + 1) && SEQ_LEQ(in->ack, in->to->next_win);
	bool later = in->ack == in->to->next_seq && SEQ_GT(in->seq, in->from->next_seq) &&
		     SEQ_LEQ(in->end, in->from->next_win);
	if (in->seq == in->from->next_seq && !right_ack) {
		tcp_event(in, GATE_EVENT_STREAM_3WHS_RIGHT_SEQ_WRONG_ACK_EVASION);
		return false;
	}
	if (in->seq != in->from->next_seq && !later) {
		/* TFO: data of the SYN that is sent again */
		if (in->len && SEQ_LEQ(in->end, in->from->next_seq) && right_ack) {
			tcp_accept(in);
			return true;
		}
		if (!in->len && in->seq == in->from->next_seq - 1 && in->ack == in->to->next_seq) {
			return true; /* keepalive of an idle handshake */
		}
		tcp_event(in, GATE_EVENT_STREAM_3WHS_WRONG_SEQ_WRONG_ACK);
		return false;
	}
	forget_hellos(in);
	tcp_set_state(in, GATE_TCP_ESTABLISHED);
	tcp_accept(in);
	return true;
}

bool tcp_syn_recv(struct tcp_in *in)
{
	if (in->flags & TCP_RST) {
		return tcp_reset(in);
	}
	if (in->flags & TCP_FIN) {
		return tcp_fin(in);
	}
	switch (SYN_FLAGS(in)) {
	case TCP_SYN | TCP_ACK:
		return syn_recv_synack(in);
	case TCP_SYN:
		return syn_recv_syn(in);
	case TCP_ACK:
		return syn_recv_ack(in);
	default:
		return true;
	}
}
