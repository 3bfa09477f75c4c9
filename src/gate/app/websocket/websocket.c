/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455) after HTTP's upgrade, with permessage-deflate (RFC 7692).
 *
 * A transaction is a frame of one side. The last frame of a fragmented message has the whole
 * message as its payload; control frames between the fragments are their own. A compressed message
 * is inflated with what came before (a sender that forgets its context refers to nothing older, so
 * that this is right for both). Limits: max-payload-size bytes of a frame, of a message and of what
 * is inflated of it; what is longer is cut off (events).
 */
#include "gate/app/frame.h"
#include "gate/app/text.h"

#include "gate/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define PAYLOAD_MAX   65535u /* without a setting */
#define FLAG_FIN      0x80
#define FLAG_COMPRESS 0x40
#define CONTROL	      8
#define INFLATE_STEP  4096

enum ws_event { WS_SKIP_END_OF_PAYLOAD, WS_REASSEMBLY_LIMIT, WS_EVENTS };

struct ws_tx {
	struct gate_tx tx;
	enum gate_dir dir;
	uint8_t head; /* flags and operation */
	bool masked;
	uint32_t mask;
	struct gate_text payload;
};

struct ws_side {
	uint64_t skip; /* bytes of a frame's end that nobody looks at */
	struct gate_text message;
	bool in_message, compressed, cut, gap;
	z_stream *inflate;
};
struct ws_conn {
	struct gate_session *session;
	uint32_t payload_max;
	struct ws_side side[GATE_DIRS];
};

static const struct gate_app_event events[WS_EVENTS] = {
	[WS_SKIP_END_OF_PAYLOAD] = {"skip_end_of_payload", "the end of a long payload is left out"},
	[WS_REASSEMBLY_LIMIT] = {"reassembly_limit_reached",
				 "a message is longer than max-payload-size"},
};
static const char *const states[] = {"started", "complete", NULL};

/* ---- inflating ---- */

#define ZALLOC_HEAD 16

static void *ws_zalloc(void *opaque, unsigned int items, unsigned int size)
{
	size_t all = (size_t)items * size + ZALLOC_HEAD;
	uint8_t *p = gate_session_alloc(opaque, all);
	if (!p) {
		return NULL;
	}
	memcpy(p, &all, sizeof(all));
	return p + ZALLOC_HEAD;
}

static void ws_zfree(void *opaque, void *address)
{
	uint8_t *p = (uint8_t *)address - ZALLOC_HEAD;
	size_t all;
	memcpy(&all, p, sizeof(all));
	gate_session_release(opaque, p, all);
}

static void inflate_free(struct ws_conn *conn, struct ws_side *side)
{
	if (side->inflate) {
		(void)inflateEnd(side->inflate);
		gate_session_release(conn->session, side->inflate, sizeof(*side->inflate));
		side->inflate = NULL;
	}
}

static bool inflate_begin(struct ws_conn *conn, struct ws_side *side)
{
	if (side->inflate) {
		return true;
	}
	side->inflate = gate_session_alloc(conn->session, sizeof(*side->inflate));
	if (!side->inflate) {
		return false;
	}
	side->inflate->zalloc = ws_zalloc;
	side->inflate->zfree = ws_zfree;
	side->inflate->opaque = conn->session;
	if (inflateInit2(side->inflate, -15) != Z_OK) {
		gate_session_release(conn->session, side->inflate, sizeof(*side->inflate));
		side->inflate = NULL;
		return false;
	}
	return true;
}

/* Instead of the payload: what it inflates to, if that is anything. */
static void inflate_payload(struct ws_conn *conn, struct ws_side *side, struct ws_tx *tx)
{
	static const uint8_t tail[] = {0, 0, 0xff, 0xff};
	struct gate_text out = {};
	uint8_t step[INFLATE_STEP];
	if (!inflate_begin(conn, side)) {
		return;
	}
	z_stream *z = side->inflate;
	bool sound = true;
	for (unsigned int part = 0; part < 2 && sound; part++) {
		z->next_in = part ? (uint8_t *)(uintptr_t)tail : tx->payload.data;
		z->avail_in = part ? sizeof(tail) : tx->payload.size;
		while (sound && z->avail_in) {
			z->next_out = step;
			z->avail_out = sizeof(step);
			int rc = inflate(z, Z_SYNC_FLUSH);
			uint32_t n = (uint32_t)(sizeof(step) - z->avail_out);
			sound = rc == Z_OK && (n || !z->avail_in);
			if (!gate_text_add(conn->session, &out, step, n, conn->payload_max)) {
				gate_tx_event(conn->session, &tx->tx, WS_REASSEMBLY_LIMIT);
				sound = false;
			}
		}
	}
	if (!sound) {
		/* what follows refers to what we have not: begin anew */
		inflate_free(conn, side);
	}
	gate_text_free(conn->session, out.size ? &tx->payload : &out);
	tx->payload = out.size ? out : tx->payload;
}

/* ---- frames ---- */

struct frame {
	uint8_t head;
	bool masked;
	uint8_t mask[4];
	uint64_t size; /* of the payload */
	uint32_t before;
};

/* 0: more is needed, < 0 none. */
static int64_t read_head(const uint8_t *data, uint32_t size, struct frame *f)
{
	if (size < 2) {
		return 0;
	}
	uint32_t at = 2;
	uint8_t len = data[1] & 0x7f;
	unsigned int bytes = len == 126 ? 2 : len == 127 ? 8 : 0;
	f->head = data[0];
	f->masked = data[1] & 0x80;
	if (size < at + bytes + (f->masked ? 4 : 0)) {
		return 0;
	}
	f->size = bytes ? 0 : len;
	for (unsigned int i = 0; i < bytes; i++) {
		f->size = f->size << 8 | data[at++];
	}
	if (f->size >> 63) {
		return -EBADMSG;
	}
	if (f->masked) {
		memcpy(f->mask, data + at, 4);
		at += 4;
	}
	f->before = at;
	return at;
}

static void payload(struct ws_conn *conn, struct ws_tx *tx, const struct frame *f,
		    const uint8_t *data, uint32_t size)
{
	if (!gate_text_add(conn->session, &tx->payload, data, size, conn->payload_max)) {
		return;
	}
	for (uint32_t i = 0; f->masked && i < size; i++) {
		tx->payload.data[i] ^= f->mask[i & 3];
	}
	tx->masked = f->masked;
	tx->mask = (uint32_t)f->mask[0] << 24 | (uint32_t)f->mask[1] << 16 |
		   (uint32_t)f->mask[2] << 8 | f->mask[3];
}

/* Fragments of a message are put together in its last frame. */
static void message(struct ws_conn *conn, struct ws_side *side, struct ws_tx *tx)
{
	bool fin = tx->head & FLAG_FIN;
	bool compressed = tx->head & FLAG_COMPRESS;
	if (side->in_message && (tx->head & 0xf)) {
		side->in_message = false; /* the last one was never finished */
		side->message.size = 0;
	}
	if (!side->in_message && !fin) {
		side->in_message = true;
		side->compressed = compressed;
		side->cut = false;
	}
	if (side->in_message) {
		if (!gate_text_add(conn->session, &side->message, tx->payload.data,
				   tx->payload.size, conn->payload_max) &&
		    !side->cut) {
			side->cut = true;
			gate_tx_event(conn->session, &tx->tx, WS_REASSEMBLY_LIMIT);
		}
		if (!fin) {
			return;
		}
		struct gate_text whole = side->message;
		side->message = tx->payload;
		side->message.size = 0;
		tx->payload = whole;
		compressed = side->compressed;
		side->in_message = false;
	}
	if (compressed) {
		inflate_payload(conn, side, tx);
	}
}

static void frame(struct ws_conn *conn, enum gate_dir dir, const struct frame *f,
		  const uint8_t *data, uint32_t size)
{
	struct ws_tx *tx = (struct ws_tx *)gate_tx_new(conn->session, sizeof(*tx));
	if (!tx) {
		return;
	}
	tx->dir = dir;
	tx->head = f->head;
	tx->tx.skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	payload(conn, tx, f, data, size);
	if (size < f->size) {
		gate_tx_event(conn->session, &tx->tx, WS_SKIP_END_OF_PAYLOAD);
	}
	if ((f->head & 0xf) < CONTROL) {
		message(conn, &conn->side[dir], tx);
	}
	gate_tx_done(conn->session, &tx->tx, dir);
}

/* A piece of the frame, `left` bytes of it will come: for rules as it is on the wire, masked. */
static void wire_frames(struct ws_conn *conn, enum gate_dir dir, const struct gate_view *piece,
			uint32_t header, uint64_t left)
{
	if (header) {
		gate_frame_put(conn->session, dir, GATE_BUF_FRAME_WEBSOCKET_HEADER, piece->data,
			       header);
	}
	gate_frame_add(conn->session, dir, GATE_BUF_FRAME_WEBSOCKET_PDU, piece->data, piece->size);
	if (piece->size > header) {
		gate_frame_add(conn->session, dir, GATE_BUF_FRAME_WEBSOCKET_DATA,
			       piece->data + header, piece->size - header);
	}
	if (!left) {
		gate_frame_end(conn->session, dir, GATE_BUF_FRAME_WEBSOCKET_PDU);
		gate_frame_end(conn->session, dir, GATE_BUF_FRAME_WEBSOCKET_DATA);
	}
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct ws_conn *conn = state;
	struct ws_side *side = &conn->side[dir];
	uint32_t at = 0;
	(void)session;
	if (in->gap) {
		/* only within what is skipped is it known where the next frame begins */
		side->gap = side->skip < in->gap;
		side->skip -= side->gap ? 0 : in->gap;
		return side->gap ? -EBADMSG : 0;
	}
	while (at < in->size) {
		struct frame f = {};
		uint32_t left = in->size - at;
		if (side->skip) {
			uint32_t n = left < side->skip ? left : (uint32_t)side->skip;
			side->skip -= n;
			wire_frames(conn, dir, &(struct gate_view){in->data + at, n}, 0,
				    side->skip);
			at += n;
			continue;
		}
		int64_t rc = read_head(in->data + at, left, &f);
		uint32_t want = f.size < conn->payload_max ? (uint32_t)f.size : conn->payload_max;
		if (rc < 0) {
			return rc;
		}
		if (!rc || left - f.before < want) {
			break;
		}
		frame(conn, dir, &f, in->data + at + f.before, want);
		side->skip = f.size - want;
		wire_frames(conn, dir, &(struct gate_view){in->data + at, f.before + want},
			    f.before, side->skip);
		at += f.before + want;
	}
	return at;
}

/* ---- the session ---- */

static void *ws_new(struct gate_session *session)
{
	struct ws_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		uint64_t max = gate_session_config(session)->websocket_payload_max;
		conn->session = session;
		conn->payload_max = max ? (uint32_t)max : PAYLOAD_MAX;
	}
	return conn;
}

static void ws_free(struct gate_session *session, void *state)
{
	struct ws_conn *conn = state;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		gate_text_free(session, &conn->side[dir].message);
		inflate_free(conn, &conn->side[dir]);
	}
	gate_session_release(session, conn, sizeof(*conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	gate_text_free(session, &((struct ws_tx *)tx)->payload);
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct ws_tx *tx = (const struct ws_tx *)gtx;
	return which == GATE_BUF_WEBSOCKET_PAYLOAD && !index && dir == tx->dir &&
	       gate_text_buffer(&tx->payload, ret);
}

static bool number(struct gate_tx *gtx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	const struct ws_tx *tx = (const struct ws_tx *)gtx;
	if (index || dir != tx->dir) {
		return false;
	}
	switch (which) {
	case GATE_NUM_WEBSOCKET_OPCODE:
		*ret = tx->head & 0xf;
		return true;
	case GATE_NUM_WEBSOCKET_FLAGS:
		*ret = tx->head & 0xf0;
		return true;
	case GATE_NUM_WEBSOCKET_MASK:
		*ret = tx->mask;
		return tx->masked;
	default:
		return false;
	}
}

static bool log_tx(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct ws_tx *tx = (const struct ws_tx *)gtx;
	static const char *const names[16] = {
		[0] = "continuation",	  [1] = "text", [2] = "binary",
		[8] = "connection_close", [9] = "ping", [10] = "pong",
	};
	const char *name = names[tx->head & 0xf];
	char unknown[16];
	gate_jw_bool(jw, "fin", tx->head & FLAG_FIN);
	if (tx->masked) {
		gate_jw_uint(jw, "mask", tx->mask);
	}
	snprintf(unknown, sizeof(unknown), "unknown-%u", tx->head & 0xfu);
	gate_jw_text(jw, "opcode", name ? name : unknown);
	return true;
}

const struct gate_app_ops gate_websocket_ops = {
	.app = GATE_APP_WEBSOCKET,
	.name = "websocket",
	.log = "websocket",
	.transports = 1,
	.states = {states, states},
	.events = events,
	.event_count = WS_EVENTS,
	.new = ws_new,
	.free = ws_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.number = number,
	.log_tx = log_tx,
};
