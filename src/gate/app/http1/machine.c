/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides' machines do alike: the loop, bodies of a known length, ends of chunks. */
#include "gate/app/frame.h"
#include "gate/app/http1/http1.h"

#include <errno.h>

enum http_step gate_http1_identity(struct http_machine *m, enum gate_dir dir, struct http_input *in)
{
	uint32_t left = in->size - in->pos;
	uint32_t n = m->left < left ? (uint32_t)m->left : left;
	if (n) {
		gate_http1_body_data(m->tx, dir, in->data + in->pos, n);
		in->pos += n;
		m->left -= n;
	}
	if (m->left) {
		return HTTP_WAIT;
	}
	m->state = m->state == HTTP_CHUNK_DATA ? HTTP_CHUNK_END : HTTP_FINALIZE;
	return HTTP_GO;
}

/* A client may take what stands there for more of the body. */
static void tell_chunk_end(struct http_machine *m, enum gate_dir dir, const uint8_t *p,
			   uint32_t size)
{
	static const enum http_event events[GATE_DIRS] = {
		[GATE_TO_SERVER] = HTTP_EV_REQUEST_CHUNK_END,
		[GATE_TO_CLIENT] = HTTP_EV_RESPONSE_CHUNK_END,
	};
	for (uint32_t i = 0; i < size; i++) {
		if (p[i] != '\r' && p[i] != '\n') {
			gate_http1_event(m->tx, events[dir]);
			return;
		}
	}
}

enum http_step gate_http1_chunk_end(struct http_machine *m, enum gate_dir dir,
				    struct http_input *in)
{
	uint32_t size = 0;
	bool found = gate_http1_find_line(m, in, &size);
	tell_chunk_end(m, dir, in->data + in->pos, found ? size : in->size - in->pos);
	if (!found) {
		in->pos = in->size;
		m->scanned = 0;
		return HTTP_WAIT;
	}
	in->pos += size;
	m->state = HTTP_CHUNK_SIZE;
	return HTTP_GO;
}

/* Bytes that a step has gone through are of the message that it is at, or has ended. */
static void note_frame(struct http_conn *conn, enum gate_dir dir, enum http_state was,
		       const struct http_input *in, uint32_t from)
{
	enum gate_buffer kind = dir == GATE_TO_SERVER ? GATE_BUF_FRAME_HTTP1_REQUEST
						      : GATE_BUF_FRAME_HTTP1_RESPONSE;
	enum http_state state = conn->side[dir].state;
	if (!gate_frame_wanted(conn->session, kind)) {
		return;
	}
	if (in->pos > from && state != HTTP_IGNORE && (was != HTTP_IDLE || state != HTTP_IDLE)) {
		gate_frame_add(conn->session, dir, kind, in->data + from, in->pos - from);
	}
	if ((state == HTTP_IDLE || state == HTTP_IGNORE) && state != was) {
		gate_frame_end(conn->session, dir, kind);
	}
}

/* It was closed in the middle, by whoever spoke: a client may make do with what there is. */
static void tell_cut(const struct http_machine *m, enum gate_dir dir, const struct http_input *in)
{
	bool within = m->state == HTTP_IDENTITY || m->state == HTTP_CHUNK_SIZE ||
		      m->state == HTTP_CHUNK_DATA || m->state == HTTP_CHUNK_END;
	if (within && !in->cut) {
		gate_http1_event(m->tx, dir == GATE_TO_SERVER ? HTTP_EV_REQUEST_CUT
							      : HTTP_EV_RESPONSE_CUT);
	}
}

int64_t gate_http1_walk(struct http_conn *conn, enum gate_dir dir, const struct http_walk *walk,
			const struct gate_app_input *app_in)
{
	struct http_machine *m = &conn->side[dir];
	struct http_input in = {
		.data = app_in->data, .size = app_in->size, .eof = app_in->eof, .cut = app_in->cut};
	enum http_step r = HTTP_GO;
	if (m->tx) {
		gate_tx_news(conn->session, &m->tx->tx);
	}
	if (app_in->gap) {
		walk->gap(conn, app_in->gap);
		return 0;
	}
	while (r == HTTP_GO) {
		/* Its transaction was completed by force. */
		if (!m->tx && m->state != HTTP_IDLE && m->state != HTTP_IGNORE) {
			m->tx = walk->begin(conn);
			if (!m->tx) {
				return -EBADMSG;
			}
		}
		uint32_t before = in.pos;
		enum http_state state = m->state;
		r = walk->step(conn, &in);
		note_frame(conn, dir, state, &in, before);
		if (r == HTTP_GO && before == in.pos && state == m->state) {
			break;
		}
	}
	if (r == HTTP_FAIL) {
		return -EBADMSG;
	}
	if (in.eof && m->tx) {
		tell_cut(m, dir, &in);
		gate_http1_body_end(m->tx, dir, m->state == HTTP_UNTIL_CLOSE);
	}
	return in.pos;
}
