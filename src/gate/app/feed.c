/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to parsers: the first ones of each side to detection (detect.c), the rest to the parser
 * that
 * was found.
 *
 * While a flow's protocol is not known its bytes stay in the stream, at most GATE_DETECT_BYTES_MAX
 * of a side; a gap among them ends it. When one side is known the other side's kept bytes go
 * first if it spoke first (gate_session_wants). Both sides are looked at, also when one has
 * told already:
 * what each looked like stands in flow->app_to.
 */
#include "gate/app/app.h"
#include "gate/app/session.h"
#include "gate/config.h"
#include "gate/stream/stream.h"

#include <netinet/in.h>

static void session_event(struct gate_session *session, enum gate_session_event event)
{
	session->events |= (uint16_t)(1u << event);
}

/* The protocol that the flow had is over; what was not inspected of it goes. */
static void change_over(struct gate_session *session)
{
	struct gate_flow *flow = session->flow;
	session->becoming = false;
	if (!session->original) {
		session->original = flow->app;
	}
	gate_session_close(session);
	flow->app = GATE_APP_UNKNOWN;
	flow->app_expected = GATE_APP_UNKNOWN;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		flow->app_to[dir] = GATE_APP_UNKNOWN;
		session->detect[dir] = GATE_DETECT_OPEN;
	}
	session->stopped_dirs = session->eof_dirs;
	session->spoke_dirs = session->kept_dirs = session->wants_dirs = 0;
	const struct gate_app_ops *ops = gate_app_ops_of((enum gate_app)session->becomes);
	session->promised = ops ? (uint16_t)ops->app : GATE_APP_UNKNOWN;
	if (ops && ops->app != GATE_APP_TLS) {
		flow->app_to[GATE_TO_SERVER] = flow->app_to[GATE_TO_CLIENT] = (uint16_t)ops->app;
		session->detect[GATE_TO_SERVER] = session->detect[GATE_TO_CLIENT] =
			GATE_DETECT_KNOWN;
		(void)gate_session_open(session, ops);
	}
	gate_session_hand(session, NULL, 0);
}

/* Something else than what the sides had agreed upon; ops NULL: nothing known. */
static void hold_to_promise(struct gate_session *session, const struct gate_app_ops *ops)
{
	if (session->promised && (!ops || ops->app != session->promised)) {
		session_event(session, session->promised == GATE_APP_TLS ? GATE_SESSION_NO_TLS
									 : GATE_SESSION_UNEXPECTED);
	}
	session->promised = GATE_APP_UNKNOWN;
}

/* What was agreed upon is spoken without being looked for (an upgrade of HTTP): do the first bytes
 * look like something else? */
static void look_at_promise(struct gate_session *session, enum gate_dir dir,
			    const struct gate_app_input *in)
{
	struct gate_view data = {.data = in->data, .size = in->size};
	struct gate_detected d;
	if (!in->size || session->promised == GATE_APP_UNKNOWN ||
	    session->promised == GATE_APP_TLS) {
		return;
	}
	d = gate_detect_app(&session->apps->matcher, session->apps->config, session->flow, dir,
			    &data);
	if (d.ops) {
		hold_to_promise(session, d.ops);
	}
	session->promised = GATE_APP_UNKNOWN;
}

/* Protocols whose client speaks first. */
static bool is_client_first(const struct gate_app_ops *ops)
{
	switch (ops->app) {
	case GATE_APP_HTTP1:
	case GATE_APP_TLS:
	case GATE_APP_DNS:
	case GATE_APP_DCERPC:
		return true;
	default:
		return false;
	}
}

/* The server began, which was to answer: nothing it says can be trusted to be an answer. */
static bool is_wrong_way(const struct gate_session *session, enum gate_dir dir,
			 const struct gate_app_ops *ops)
{
	const struct gate_flow *flow = session->flow;
	return dir == GATE_TO_CLIENT && !session->original && !session->ops &&
	       session->spoke_dirs == GATE_DIR_BIT(GATE_TO_CLIENT) && is_client_first(ops) &&
	       !(flow->stream && gate_stream_is_midstream(flow->stream));
}

static void found(struct gate_session *session, enum gate_dir dir, const struct gate_app_ops *ops)
{
	struct gate_flow *flow = session->flow;
	hold_to_promise(session, ops);
	session->detect[dir] = GATE_DETECT_KNOWN;
	flow->app_to[dir] = (uint16_t)ops->app;
	if (!session->ops) {
		(void)gate_session_open(session, ops);
	} else if (session->ops != ops && session->ops->app != GATE_APP_DOH2) {
		session_event(session, GATE_SESSION_MISMATCH);
	}
}

/* This side is none of ours. */
static void not_found(struct gate_session *session, enum gate_dir dir)
{
	struct gate_flow *flow = session->flow;
	session->detect[dir] = GATE_DETECT_NONE;
	if (session->ops) {
		flow->app_to[dir] = flow->app;
		session_event(session, GATE_SESSION_ONE_DIRECTION);
		return;
	}
	flow->app_to[dir] = GATE_APP_FAILED;
	bool midstream = flow->stream && gate_stream_is_midstream(flow->stream);
	if (session->detect[GATE_DIR_OTHER(dir)] == GATE_DETECT_NONE ||
	    (midstream && dir == GATE_TO_SERVER)) {
		hold_to_promise(session, NULL);
		gate_session_fail(session);
	}
}

static uint8_t swap_bits(uint8_t dirs)
{
	return (uint8_t)((dirs & 1) << 1 | (dirs & 2) >> 1);
}

/* The server was heard first: both sides change places. */
static void reverse(struct gate_session *session, const struct gate_app_input *in)
{
	uint8_t detect = session->detect[GATE_TO_SERVER];
	gate_flow_swap(session->flow);
	session->detect[GATE_TO_SERVER] = session->detect[GATE_TO_CLIENT];
	session->detect[GATE_TO_CLIENT] = detect;
	session->spoke_dirs = swap_bits(session->spoke_dirs);
	session->kept_dirs = swap_bits(session->kept_dirs);
	session->stopped_dirs = swap_bits(session->stopped_dirs);
	session->eof_dirs = swap_bits(session->eof_dirs);
	if (in->packet && in->packet->flow == session->flow) {
		in->packet->dir = (uint8_t)GATE_DIR_OTHER(in->packet->dir);
	}
}

/* Returns the side that these bytes belong to. */
static enum gate_dir detect_stream(struct gate_session *session, enum gate_dir dir,
				   const struct gate_app_input *in)
{
	struct gate_apps *apps = session->apps;
	struct gate_flow *flow = session->flow;
	if (!session->ops) {
		gate_flow_expected(flow);
	}
	const struct gate_app_ops *expected = gate_app_ops_of((enum gate_app)flow->app_expected);
	if (expected && !session->ops) {
		found(session, dir, expected);
		session->detect[GATE_DIR_OTHER(dir)] = GATE_DETECT_KNOWN;
		flow->app_to[GATE_DIR_OTHER(dir)] = flow->app;
		return dir;
	}
	if (session->detect[dir] == GATE_DETECT_OPEN && in->size) {
		struct gate_view data = {.data = in->data, .size = in->size};
		struct gate_detected d =
			gate_detect_app(&apps->matcher, apps->config, flow, dir, &data);
		if (d.ops && d.reversed && !session->ops) {
			reverse(session, in);
			dir = GATE_DIR_OTHER(dir);
		}
		if (d.ops) {
			bool wrong = is_wrong_way(session, dir, d.ops);
			found(session, dir, d.ops);
			if (wrong) {
				session_event(session, GATE_SESSION_WRONG_DIRECTION);
				gate_session_fail(session);
			}
		} else if (!d.more || in->eof || in->size >= GATE_DETECT_BYTES_MAX) {
			not_found(session, dir);
		}
	}
	if (!session->ops && in->size >= GATE_DETECT_BYTES_MAX && flow->app != GATE_APP_FAILED) {
		session_event(session, GATE_SESSION_SKIPPED);
		gate_session_fail(session);
	}
	return dir;
}

/* The parser has given up: what the configuration wants of such flows. */
static void on_error(struct gate_session *session, const struct gate_app_input *in)
{
	if (in->packet && in->packet->flow == session->flow) {
		gate_flow_except(session->flow, in->packet, session->apps->config->on_app_error,
				 GATE_DROP_APP);
	}
	gate_session_fail(session);
}

/* Returns how many bytes the parser is through with. */
static uint32_t feed(struct gate_session *session, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct gate_app_input rest = *in;
	if (!rest.data) {
		rest.data = (const uint8_t *)""; /* the end of a stream: parsers count from it */
	}
	for (;;) {
		int64_t n = session->ops->parse(session, session->state, dir, &rest);
		if (n < 0) {
			gate_session_news(session);
			on_error(session, in);
			return in->size;
		}
		n = n > rest.size ? rest.size : n;
		rest.data += n;
		rest.size -= (uint32_t)n;
		rest.offset += (uint64_t)n;
		if (!n || !rest.size || session->becoming ||
		    (session->stopped_dirs & GATE_DIR_BIT(dir))) {
			break;
		}
	}
	gate_session_news(session);
	return in->size - rest.size;
}

static void at_eof(struct gate_session *session, enum gate_dir dir)
{
	session->eof_dirs |= (uint8_t)GATE_DIR_BIT(dir);
	session->stopped_dirs |= (uint8_t)GATE_DIR_BIT(dir);
	gate_session_finish(session, dir);
}

static uint32_t stream_data(struct gate_session *session, enum gate_dir *io_dir,
			    const struct gate_app_input *in)
{
	enum gate_dir dir = *io_dir;
	uint8_t bit = (uint8_t)GATE_DIR_BIT(dir);
	if (in->gap) {
		session->apps->stats.gaps++;
	}
	if (session->flow->app == GATE_APP_FAILED || (session->stopped_dirs & bit)) {
		return in->size;
	}
	if (!session->ops && in->gap) {
		gate_session_fail(session);
		return in->size;
	}
	if (session->detect[dir] == GATE_DETECT_OPEN) {
		*io_dir = dir = detect_stream(session, dir, in);
		bit = (uint8_t)GATE_DIR_BIT(dir);
	} else if (!session->ops && in->size >= GATE_DETECT_BYTES_MAX) {
		session_event(session, GATE_SESSION_SKIPPED);
		gate_session_fail(session);
	}
	if (session->flow->app == GATE_APP_FAILED) {
		return in->size;
	}
	if (!session->ops) {
		session->kept_dirs |= in->size ? bit : 0;
		return 0;
	}
	look_at_promise(session, dir, in);
	uint8_t other = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	if ((session->kept_dirs & other) && !in->eof) {
		session->kept_dirs = 0;
		session->wants_dirs = other;
		return 0;
	}
	session->kept_dirs = 0;
	return feed(session, dir, in);
}

uint32_t gate_apps_stream(struct gate_apps *apps, struct gate_flow *flow, enum gate_dir dir,
			  const struct gate_app_input *in)
{
	struct gate_session *session = gate_session_of(apps, flow, in->time_us);
	if (!session) {
		return in->size;
	}
	session->spoke_dirs |= (uint8_t)(in->size ? GATE_DIR_BIT(dir) : 0);
	if (session->becoming) {
		change_over(session);
	}
	uint32_t done = stream_data(session, &dir, in);
	if (!in->eof) {
		return done;
	}
	if (session->becoming && done < in->size) {
		/* Nothing comes any more that could bring the rest. */
		change_over(session);
		struct gate_app_input rest = *in;
		rest.data += done;
		rest.size -= done;
		rest.offset += done;
		(void)stream_data(session, &dir, &rest);
	}
	at_eof(session, dir);
	return in->size;
}

bool gate_session_wants(struct gate_session *session, enum gate_dir dir)
{
	bool wants = session && (session->wants_dirs & GATE_DIR_BIT(dir));
	if (wants) {
		session->wants_dirs = 0;
	}
	return wants;
}

/* ---- datagrams ---- */

static enum gate_dir detect_datagram(struct gate_session *session, enum gate_dir dir,
				     const struct gate_view *payload, struct gate_packet *p)
{
	struct gate_apps *apps = session->apps;
	struct gate_detected d =
		gate_detect_app(&apps->matcher, apps->config, session->flow, dir, payload);
	if (d.ops) {
		if (d.reversed && !session->ops) {
			gate_flow_swap(session->flow);
			dir = GATE_DIR_OTHER(dir);
			p->dir = (uint8_t)dir;
		}
		found(session, dir, d.ops);
	} else if (++session->datagrams[dir] >= GATE_DETECT_DATAGRAMS_MAX) {
		not_found(session, dir);
	}
	return dir;
}

void gate_apps_datagram(struct gate_apps *apps, struct gate_flow *flow, struct gate_packet *p)
{
	if (!p->payload.size || flow->app == GATE_APP_FAILED) {
		return;
	}
	struct gate_session *session = gate_session_of(apps, flow, p->time_us);
	if (!session) {
		return;
	}
	enum gate_dir dir = (enum gate_dir)p->dir;
	if (session->becoming) {
		change_over(session);
	}
	if (session->detect[dir] == GATE_DETECT_OPEN) {
		dir = detect_datagram(session, dir, &p->payload, p);
	}
	if (!session->ops || flow->app == GATE_APP_FAILED ||
	    (session->stopped_dirs & GATE_DIR_BIT(dir))) {
		return;
	}
	struct gate_app_input in = {.data = p->payload.data,
				    .size = p->payload.size,
				    .time_us = p->time_us,
				    .packet = p};
	if (session->ops->parse(session, session->state, dir, &in) < 0) {
		on_error(session, &in);
	}
	gate_session_news(session);
}

void gate_apps_end(struct gate_apps *apps, struct gate_flow *flow, enum gate_dir dir,
		   uint64_t now_us)
{
	struct gate_session *session = flow->session;
	if (session && !(session->eof_dirs & GATE_DIR_BIT(dir))) {
		struct gate_app_input in = {.data = (const uint8_t *)"", .eof = true};
		in.time_us = now_us;
		(void)gate_apps_stream(apps, flow, dir, &in);
	}
}
