/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a packet can be what it says: timestamps (PAWS, RFC 7323 5), acknowledgment numbers and
 * resets, each as the receiver's system looks at them.
 */
#include "gate/stream/tcp.h"

#define PAWS_IDLE_S (24u * 24 * 3600)

void tcp_event(const struct tcp_in *in, enum gate_event event)
{
	gate_packet_event(in->p, event);
}

static uint32_t now_s(const struct tcp_in *in)
{
	return (uint32_t)(in->p->time_us / 1000000);
}

/* Systems that take a timestamp of 0 for none. */
static bool takes_zero_ts(enum os_policy policy)
{
	return policy == OS_OLD_LINUX || policy == OS_WINDOWS || policy == OS_WINDOWS2K3 ||
	       policy == OS_VISTA;
}

/* By how much the timestamp is younger than the last one of that side; < 0: older. */
static int32_t ts_age(const struct tcp_in *in)
{
	int32_t age = (int32_t)(in->p->tcp_opts.ts - in->from->last_ts);
	bool linux_way = in->from->policy == OS_LINUX; /* one tick of slack */
	return linux_way && age < 0 ? age + 1 : age;
}

static bool ts_matters(const struct tcp_in *in)
{
	return in->stream->flags & STREAM_TS && in->p->tcp_opts.has_ts &&
	       in->from->policy != OS_HPUX11;
}

bool tcp_valid_ts(struct tcp_in *in)
{
	if (!ts_matters(in) || in->from->last_ts == 0) {
		return true;
	}
	if (in->p->tcp_opts.ts == 0 && (takes_zero_ts(in->from->policy) || in->flags & TCP_RST)) {
		return true;
	}
	if (ts_age(in) >= 0 || now_s(in) - in->from->last_ts_s > PAWS_IDLE_S) {
		return true;
	}
	tcp_event(in, GATE_EVENT_STREAM_PKT_INVALID_TIMESTAMP);
	return false;
}

void tcp_take_ts(struct tcp_in *in)
{
	if (!ts_matters(in) || SEQ_GT(in->seq, in->from->next_seq)) {
		return;
	}
	if (in->from->last_ts == 0 || ts_age(in) >= 0 ||
	    now_s(in) - in->from->last_ts_s > PAWS_IDLE_S) {
		in->from->last_ts = in->p->tcp_opts.ts;
		in->from->last_ts_s = now_s(in);
	}
}

bool tcp_valid_ack(struct tcp_in *in)
{
	const struct side *to = in->to;
	int32_t beyond = SEQ_DIFF(in->ack, to->last_ack);

	if (!(in->flags & TCP_ACK) || beyond == 0) {
		return true;
	}
	if (beyond < 0) {
		/* an old one: not older than a window */
		if (to->window == 0 || SEQ_GEQ(in->ack, to->last_ack - to->window)) {
			return true;
		}
	} else if (SEQ_LEQ(in->ack, to->next_win) || in->stream->flags & STREAM_ASYNC) {
		return true;
	} else if (SEQ_LEQ(in->ack, to->next_seq)) {
		return true; /* what was sent: a FIN or a probe beyond the window */
	} else if (in->stream->state == GATE_TCP_SYN_SENT && in->flags & TCP_RST &&
		   in->ack == to->isn + 1) {
		return true;
	}
	tcp_event(in, GATE_EVENT_STREAM_PKT_INVALID_ACK);
	return false;
}

static bool rst_in_window(const struct tcp_in *in)
{
	const struct side *from = in->from;
	switch (from->policy) {
	case OS_HPUX11:
		return SEQ_GEQ(in->seq, from->next_seq);
	case OS_OLD_LINUX:
	case OS_LINUX:
	case OS_SOLARIS:
		return SEQ_GEQ(in->seq + in->len, from->last_ack) &&
		       SEQ_LT(in->seq, from->next_seq + from->window);
	default:
		return in->seq == from->next_seq;
	}
}

bool tcp_valid_rst(struct tcp_in *in)
{
	if (!tcp_valid_ts(in)) {
		return false;
	}
	if (in->len) {
		tcp_event(in, GATE_EVENT_STREAM_RST_WITH_DATA);
	}
	if (in->flags & TCP_ACK && in->ack && !tcp_valid_ack(in)) {
		tcp_event(in, GATE_EVENT_STREAM_RST_INVALID_ACK);
		return false;
	}
	if (in->stream->flags & STREAM_ASYNC) {
		return SEQ_GEQ(in->seq, in->from->next_seq);
	}
	return rst_in_window(in);
}
