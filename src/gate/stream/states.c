/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection from its establishment to its end. States are named from the server's point of
 * view, as in Suricata: a FIN of the client leads to CLOSE_WAIT, one of the server to FIN_WAIT1.
 */
#include "gate/stream/tcp.h"

void tcp_sides(struct tcp_in *in)
{
	in->from = side_of(in->stream, in->p->dir);
	in->to = side_of(in->stream, GATE_DIR_OTHER(in->p->dir));
}

void tcp_set_state(struct tcp_in *in, enum gate_tcp_state state)
{
	enum gate_flow_state flow_state = GATE_FLOW_NEW;

	in->stream->state = (uint8_t)state;
	in->flow->tcp_state = (uint8_t)state;
	if (state == GATE_TCP_LAST_ACK || state == GATE_TCP_TIME_WAIT || state == GATE_TCP_CLOSED) {
		flow_state = GATE_FLOW_CLOSED;
	} else if (state >= GATE_TCP_ESTABLISHED) {
		flow_state = GATE_FLOW_ESTABLISHED;
	}
	if (in->flow->state != GATE_FLOW_BYPASSED) {
		gate_flow_set_state(gate_flow_table_of(in->flow), in->flow, flow_state);
	}
}

/* Bytes that the receiver says it holds beyond a gap: they don't count against the window. */
static uint32_t sacked_bytes(const struct tcp_in *in)
{
	const struct gate_tcp_options *o = &in->p->tcp_opts;
	uint32_t sum = 0;

	if (!(in->stream->flags & STREAM_SACK)) {
		return 0;
	}
	for (unsigned int i = 0; i < o->sack_count && i < 4; i++) {
		uint32_t edge[2];
		memcpy(edge, o->sacks + i * 8ul, sizeof(edge));
		uint32_t left = ntohl(edge[0]), right = ntohl(edge[1]);
		if (SEQ_GT(left, in->to->last_ack) && SEQ_GT(right, left) &&
		    SEQ_LEQ(right, in->to->next_seq)) {
			sum += right - left;
		}
	}
	return sum;
}

static void take_ack(struct tcp_in *in)
{
	struct side *to = in->to;

	if (!(in->flags & TCP_ACK) || SEQ_LT(in->ack, to->last_ack)) {
		return;
	}
	to->window = in->window << to->wscale;
	to->last_ack = in->ack;
	uint32_t win =
		to->last_ack + to->window + (in->p->tcp_opts.sack_count ? sacked_bytes(in) : 0);
	if (SEQ_GT(win, to->next_win)) {
		to->next_win = win;
	}
	if (SEQ_GT(in->ack, to->next_seq)) {
		to->next_seq = in->ack;
	}
	if (to->flags & SIDE_PROBE && SEQ_GEQ(in->ack, to->probe_seq)) {
		to->flags &= (uint16_t)~SIDE_PROBE;
		tcp_event(in, GATE_EVENT_STREAM_EST_ACK_ZWP_DATA);
	}
	side_acked(in->streams, in->stream, to);
}

void tcp_accept(struct tcp_in *in)
{
	tcp_take_ts(in);
	take_ack(in);
	if (SEQ_GT(in->end, in->from->next_seq)) {
		in->from->next_seq = in->end;
	}
	if (in->len) {
		side_insert(in);
	}
}

static bool est_synack(struct tcp_in *in)
{
	enum gate_event event = GATE_EVENT_STREAM_EST_SYNACK_RESEND;
	if (in->to_server) {
		event = GATE_EVENT_STREAM_EST_SYNACK_TOSERVER;
	} else if (in->ack != in->to->last_ack) {
		event = GATE_EVENT_STREAM_EST_SYNACK_RESEND_WITH_DIFFERENT_ACK;
	} else if (in->seq != in->from->isn) {
		event = GATE_EVENT_STREAM_EST_SYNACK_RESEND_WITH_DIFF_SEQ;
	} else if (!(in->stream->flags & STREAM_CONFIRMED)) {
		return true; /* the client's ACK may have been lost behind us */
	}
	tcp_event(in, event);
	return false;
}

static bool est_syn(struct tcp_in *in)
{
	enum gate_event event = GATE_EVENT_STREAM_EST_SYN_RESEND;
	if (!in->to_server) {
		event = GATE_EVENT_STREAM_EST_SYN_TOCLIENT;
	} else if (in->seq != in->from->isn) {
		event = GATE_EVENT_STREAM_EST_SYN_RESEND_DIFF_SEQ;
	}
	tcp_event(in, event);
	return false;
}

/* Data sent again. True: all of it is acknowledged, there is nothing to do with it. */
static bool sent_again(struct tcp_in *in)
{
	const struct side *from = in->from;
	if (!in->len || SEQ_GEQ(in->seq, from->next_seq) || in->stream->flags & STREAM_ASYNC) {
		return false;
	}
	in->streams->stats.retransmissions++;
	if (SEQ_LEQ(in->end, from->last_ack)) {
		tcp_event(in, GATE_EVENT_STREAM_PKT_SPURIOUS_RETRANSMISSION);
		return true;
	}
	tcp_event(in, GATE_EVENT_STREAM_PKT_RETRANSMISSION);
	return false;
}

static bool beyond_window(struct tcp_in *in)
{
	struct side *from = in->from;
	if (SEQ_LEQ(in->end, from->next_win) || in->stream->flags & STREAM_ASYNC) {
		return false;
	}
	if (in->seq != from->next_seq || in->len > 1) {
		return true;
	}
	/* an ACK behind a full window, a FIN, or the probe of a closed one */
	if (in->len == 1 && !from->window) {
		from->flags |= SIDE_PROBE;
		from->probe_seq = in->end;
	}
	return in->len == 1 && from->window;
}

static bool est_data(struct tcp_in *in)
{
	if (!tcp_valid_ts(in)) {
		return false;
	}
	in->stream->flags |= in->to_server ? 0 : STREAM_CONFIRMED;
	if (!tcp_valid_ack(in)) {
		tcp_event(in, GATE_EVENT_STREAM_EST_INVALID_ACK);
		return false;
	}
	if (sent_again(in)) {
		take_ack(in);
		return true;
	}
	if (SEQ_LT(in->end, in->from->last_ack) && !(in->stream->flags & STREAM_ASYNC)) {
		tcp_event(in, GATE_EVENT_STREAM_EST_PKT_BEFORE_LAST_ACK);
		return false;
	}
	if (beyond_window(in)) {
		tcp_event(in, GATE_EVENT_STREAM_EST_PACKET_OUT_OF_WINDOW);
		return false;
	}
	tcp_accept(in);
	return true;
}

bool tcp_established(struct tcp_in *in)
{
	if (in->flags & TCP_RST) {
		return tcp_reset(in);
	}
	if (in->flags & TCP_FIN) {
		return tcp_fin(in);
	}
	if (in->flags & TCP_SYN) {
		return in->flags & TCP_ACK ? est_synack(in) : est_syn(in);
	}
	/* without an ACK no system takes it */
	return in->flags & TCP_ACK ? est_data(in) : true;
}

bool tcp_reset(struct tcp_in *in)
{
	if (!tcp_valid_rst(in)) {
		return false;
	}
	in->streams->stats.rst++;
	in->stream->before_rst = in->stream->state;
	in->from->flags |= SIDE_RST_SENT;
	tcp_set_state(in, GATE_TCP_CLOSED);
	tcp_accept(in);
	in->p->flags |= GATE_PKT_STREAM_EOF;
	return true;
}

static void take_fin(struct tcp_in *in)
{
	struct side *from = in->from;

	from->flags |= SIDE_FIN;
	from->fin_seq = in->end;
	tcp_accept(in);
	if (SEQ_GT(in->end + 1, from->next_seq)) {
		from->next_seq = in->end + 1;
	}
}

/* The first FIN. One in the middle of what has been sent is no FIN to a receiver that has it. */
bool tcp_fin(struct tcp_in *in)
{
	if (!tcp_valid_ts(in)) {
		return false;
	}
	if (!tcp_valid_ack(in)) {
		tcp_event(in, GATE_EVENT_STREAM_FIN_INVALID_ACK);
		return false;
	}
	if (SEQ_LT(in->seq, in->from->last_ack) ||
	    (SEQ_GT(in->end, in->from->next_win) && !(in->stream->flags & STREAM_ASYNC))) {
		tcp_event(in, GATE_EVENT_STREAM_FIN_OUT_OF_WINDOW);
		return false;
	}
	if (in->flags & TCP_SYN) {
		tcp_event(in, GATE_EVENT_STREAM_FIN_SYN);
		return false;
	}
	if (SEQ_LT(in->end, in->from->next_seq)) {
		return true;
	}
	tcp_set_state(in, in->to_server ? GATE_TCP_CLOSE_WAIT : GATE_TCP_FIN_WAIT1);
	take_fin(in);
	return true;
}

struct closing_events {
	enum gate_event fin, ack, invalid, before;
};
static const struct closing_events closing_events[] = {
	[GATE_TCP_FIN_WAIT1] = {GATE_EVENT_STREAM_FIN1_FIN_WRONG_SEQ,
				GATE_EVENT_STREAM_FIN1_ACK_WRONG_SEQ,
				GATE_EVENT_STREAM_FIN1_INVALID_ACK,
				GATE_EVENT_STREAM_FIN1_ACK_WRONG_SEQ},
	[GATE_TCP_FIN_WAIT2] = {GATE_EVENT_STREAM_FIN2_FIN_WRONG_SEQ,
				GATE_EVENT_STREAM_FIN2_ACK_WRONG_SEQ,
				GATE_EVENT_STREAM_FIN2_INVALID_ACK,
				GATE_EVENT_STREAM_FIN2_ACK_WRONG_SEQ},
	[GATE_TCP_TIME_WAIT] = {GATE_EVENT_STREAM_TIMEWAIT_ACK_WRONG_SEQ,
				GATE_EVENT_STREAM_TIMEWAIT_ACK_WRONG_SEQ,
				GATE_EVENT_STREAM_TIMEWAIT_INVALID_ACK,
				GATE_EVENT_STREAM_TIMEWAIT_ACK_WRONG_SEQ},
	[GATE_TCP_LAST_ACK] = {GATE_EVENT_STREAM_LASTACK_ACK_WRONG_SEQ,
			       GATE_EVENT_STREAM_LASTACK_ACK_WRONG_SEQ,
			       GATE_EVENT_STREAM_LASTACK_INVALID_ACK,
			       GATE_EVENT_STREAM_LASTACK_ACK_WRONG_SEQ},
	[GATE_TCP_CLOSE_WAIT] = {GATE_EVENT_STREAM_CLOSEWAIT_FIN_OUT_OF_WINDOW,
				 GATE_EVENT_STREAM_CLOSEWAIT_ACK_OUT_OF_WINDOW,
				 GATE_EVENT_STREAM_CLOSEWAIT_INVALID_ACK,
				 GATE_EVENT_STREAM_CLOSEWAIT_PKT_BEFORE_LAST_ACK},
	[GATE_TCP_CLOSING] = {GATE_EVENT_STREAM_CLOSING_ACK_WRONG_SEQ,
			      GATE_EVENT_STREAM_CLOSING_ACK_WRONG_SEQ,
			      GATE_EVENT_STREAM_CLOSING_INVALID_ACK,
			      GATE_EVENT_STREAM_CLOSING_ACK_WRONG_SEQ},
};

static bool fin_acked(const struct side *side)
{
	return side->flags & SIDE_FIN && SEQ_GT(side->last_ack, side->fin_seq);
}

/* Which FINs are there and which are acknowledged says the state. */
static void move_on(struct tcp_in *in)
{
	/* a parser may have swapped the flow meanwhile */
	const struct side *client = side_of(in->stream, GATE_TO_SERVER);
	const struct side *server = side_of(in->stream, GATE_TO_CLIENT);
	enum gate_tcp_state was = in->stream->state, state = was;
	bool client_first = was == GATE_TCP_CLOSE_WAIT || was == GATE_TCP_LAST_ACK;

	if (!(server->flags & SIDE_FIN)) {
		state = GATE_TCP_CLOSE_WAIT;
	} else if (!(client->flags & SIDE_FIN)) {
		state = fin_acked(server) ? GATE_TCP_FIN_WAIT2 : GATE_TCP_FIN_WAIT1;
	} else if (client_first) {
		state = fin_acked(server) ? GATE_TCP_CLOSED : GATE_TCP_LAST_ACK;
	} else if (!fin_acked(server)) {
		state = GATE_TCP_CLOSING;
	} else {
		state = fin_acked(client) ? GATE_TCP_CLOSED : GATE_TCP_TIME_WAIT;
	}
	if (state != was) {
		tcp_set_state(in, state);
	}
}

static bool fin_is_sound(const struct tcp_in *in)
{
	if (in->from->flags & SIDE_FIN) {
		return in->end == in->from->fin_seq;
	}
	return SEQ_GEQ(in->end, in->from->next_seq);
}

bool tcp_closing(struct tcp_in *in)
{
	const struct closing_events *events = &closing_events[in->stream->state];
	bool fin = in->flags & TCP_FIN;

	if (in->flags & TCP_RST) {
		return tcp_reset(in);
	}
	if (in->flags & TCP_SYN) {
		tcp_event(in,
			  fin ? GATE_EVENT_STREAM_FIN_SYN : GATE_EVENT_STREAM_SHUTDOWN_SYN_RESEND);
		return false;
	}
	if (!tcp_valid_ts(in)) {
		return false;
	}
	if (!tcp_valid_ack(in)) {
		tcp_event(in, events->invalid);
		return false;
	}
	if (!(in->flags & TCP_ACK)) {
		return true;
	}
	if (!fin && sent_again(in)) {
		take_ack(in);
		return true;
	}
	if (SEQ_LT(in->end + fin, in->from->last_ack)) {
		tcp_event(in, events->before);
		return false;
	}
	if (beyond_window(in) || (fin && !fin_is_sound(in))) {
		tcp_event(in, fin ? events->fin : events->ack);
		return false;
	}
	if (fin) {
		take_fin(in);
	} else {
		tcp_accept(in);
	}
	move_on(in);
	return true;
}

/* After an RST nothing more should come. Who sent it and goes on as before shows that it was not
 * his, or not for its target (bad checksum, low TTL), and is looked into as before; what its target
 * sends was on its way. */
bool tcp_closed(struct tcp_in *in)
{
	struct gate_stream *stream = in->stream;
	bool reset = (in->from->flags | in->to->flags) & SIDE_RST_SENT;

	if (in->flags & TCP_RST) {
		in->from->flags |= reset ? SIDE_RST_SENT : 0;
		return true;
	}
	if (in->flags & TCP_SYN || !(in->flags & TCP_ACK) ||
	    stream->before_rst < GATE_TCP_ESTABLISHED || stream->before_rst == GATE_TCP_CLOSED) {
		return true;
	}
	if (!(in->from->flags & SIDE_RST_SENT) || in->to->flags & SIDE_RST_SENT) {
		return true;
	}
	tcp_event(in, GATE_EVENT_STREAM_SUSPECTED_RST_INJECT);
	in->from->flags &= (uint16_t)~SIDE_RST_SENT;
	tcp_set_state(in, stream->before_rst);
	return stream->before_rst == GATE_TCP_ESTABLISHED ? tcp_established(in) : tcp_closing(in);
}
