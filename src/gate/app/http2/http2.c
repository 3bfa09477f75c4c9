/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 frames, streams as transactions; see http2.h. */
#include "gate/app/http2/http2.h"
#include "gate/app/dns/dns.h"
#include "gate/config.h"

#include <errno.h>

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define MAGIC_SIZE (sizeof(magic) - 1)

#define EVENT(id, label, sentence) [H2_EV_##id] = {.name = (label), .text = (sentence)},
static const struct gate_app_event events[H2_EVENTS] = {
#include "gate/app/http2/events.def"
};
#undef EVENT

static const char *const states[] = {"idle", "open", "headers", "data", "trailers", "closed", NULL};
static const char *const request_patterns[] = {"\\x50\\x52\\x49\\x20*\\x20HTTP/2.0\\x0d\\x0a",
					       NULL};
static const char *const response_patterns[] = {"\\x00\\x00\\?\\x04\\x00\\x00\\x00\\x00\\x00",
						NULL};

void gate_http2_event(struct http2_tx *tx, enum http2_event event)
{
	gate_tx_event(tx->session, &tx->tx, (uint16_t)event);
}

/* ---- transactions ---- */

static struct http2_tx *tx_new(struct http2_conn *conn, uint32_t stream)
{
	struct gate_tx *tx = gate_tx_new(conn->session, sizeof(struct http2_tx));
	if (!tx) {
		return NULL;
	}
	struct http2_tx *h2 = BH_CONTAINER_OF(tx, struct http2_tx, tx);
	h2->session = conn->session;
	h2->conn = conn;
	h2->stream = stream;
	if (stream) {
		gate_tx_key(conn->session, tx, stream);
	}
	return h2;
}

static struct http2_tx *tx_find(struct http2_conn *conn, uint32_t stream)
{
	struct gate_tx *tx = stream ? gate_tx_by_key(conn->session, stream, NULL, NULL) : NULL;
	return tx ? BH_CONTAINER_OF(tx, struct http2_tx, tx) : NULL;
}

/* The transaction of a frame; NULL: none is to be had. */
static struct http2_tx *tx_of(struct http2_conn *conn, const struct http2_frame_head *head)
{
	if (!head->stream) {
		if (conn->globals >= GLOBALS_MAX) {
			return NULL;
		}
		conn->globals++;
		struct http2_tx *tx = tx_new(conn, 0);
		if (tx) {
			tx->global = true;
		}
		return tx;
	}
	struct http2_tx *tx = tx_find(conn, head->stream);
	if (!tx) {
		tx = tx_new(conn, head->stream);
	} else if (tx->tx.done_dirs == GATE_BOTH_DIRS && head->type != H2_PRIORITY &&
		   head->type != H2_WINDOW_UPDATE && head->type != H2_RST_STREAM) {
		gate_http2_event(tx, H2_EV_STREAM_REUSE);
	}
	return tx;
}

void gate_http2_close(struct http2_tx *tx, enum gate_dir dir)
{
	if (!tx->side[dir].closed) {
		tx->side[dir].closed = true;
		gate_http2_body_end(tx, dir, true);
		gate_session_inspect_now(tx->session, dir);
		gate_tx_done(tx->session, &tx->tx, dir);
	}
}

static struct http2_frame *remember(struct http2_tx *tx, enum gate_dir dir, uint8_t type)
{
	struct http2_side *side = &tx->side[dir];
	if (side->frame_count == FRAMES_MAX) {
		if (type != H2_DATA && type != H2_WINDOW_UPDATE) {
			gate_http2_event(tx, H2_EV_FRAMES);
		}
		return NULL;
	}
	struct http2_frame *frame = &side->frames[side->frame_count++];
	frame->type = type;
	return frame;
}

/* ---- frames that are here as a whole ---- */

static void on_settings(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir,
			const uint8_t *p, uint32_t size)
{
	if (size % 6 && tx) {
		gate_http2_event(tx, H2_EV_FRAME_LENGTH);
	}
	for (uint32_t at = 0; at + 6 <= size; at += 6) {
		uint16_t id = (uint16_t)(p[at] << 8 | p[at + 1]);
		uint32_t value = gate_be32(p + at + 2);
		if (id == 1) {
			/* how large a table this side keeps for what the other one sends */
			gate_http2_table_size(conn, GATE_DIR_OTHER(dir), value);
		}
		if (tx && tx->setting_count < BH_ARRAY_SIZE(tx->settings)) {
			tx->settings[tx->setting_count].id = id;
			tx->settings[tx->setting_count++].value = value;
		}
	}
}

/* Takes padding and what else stands before a header block off. False: it can't be. */
static bool strip(const struct http2_frame_head *head, const uint8_t **p, uint32_t *size,
		  struct http2_frame *frame)
{
	uint32_t pad = 0;
	if (head->flags & H2_PADDED) {
		if (!*size) {
			return false;
		}
		pad = **p;
		++*p;
		--*size;
	}
	uint32_t front = head->type == H2_PUSH_PROMISE ? 4 : 0;
	if (head->type == H2_HEADERS_FRAME && (head->flags & H2_HAS_PRIORITY)) {
		front = 5;
	}
	if (pad + front > *size) {
		return false;
	}
	if (front == 5 && frame) {
		frame->has_priority = true;
		frame->priority = (*p)[4];
	}
	*p += front;
	*size -= front + pad;
	return true;
}

/* RFC 7541 6.3: 001, and a number with a prefix of 5 bits (5.1). */
static void note_updates(struct http2_frame *frame, const uint8_t *p, uint32_t size)
{
	uint32_t at = 0;
	while (at < size && (p[at] & 0xe0) == 0x20 &&
	       frame->update_count < BH_ARRAY_SIZE(frame->updates)) {
		uint64_t value = p[at] & 0x1f;
		bool more = value == 0x1f;
		at++;
		for (unsigned int shift = 0; more; shift += 7) {
			if (at == size || shift > 28) {
				return;
			}
			value += (uint64_t)(p[at] & 0x7f) << shift;
			more = p[at++] & 0x80;
		}
		frame->updates[frame->update_count++] = value;
	}
}

static void on_block(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir,
		     const struct http2_frame_head *head, struct gate_view payload)
{
	struct http2_machine *m = &conn->side[dir];
	struct http2_frame *frame = tx ? remember(tx, dir, head->type) : NULL;
	const uint8_t *p = payload.data;
	uint32_t size = payload.size;
	if (head->type != H2_CONTINUATION) {
		if (!strip(head, &p, &size, frame)) {
			if (tx) {
				gate_http2_event(tx, H2_EV_FRAME_DATA);
			}
			return;
		}
		gate_http2_block_begin(conn, tx, dir);
		if (frame) {
			note_updates(frame, p, size);
		}
		m->block_ends_stream =
			head->type == H2_HEADERS_FRAME && (head->flags & H2_END_STREAM);
		m->block_stream = head->stream;
	}
	bool last = head->flags & H2_END_HEADERS;
	m->in_block = !last;
	gate_http2_block(conn, tx, dir, p, size, last);
	if (last && m->block_ends_stream && tx) {
		gate_http2_close(tx, dir);
	}
}

/* A frame with one number in it. */
static void on_number(struct http2_tx *tx, enum gate_dir dir, const struct http2_frame_head *head,
		      struct gate_view payload)
{
	static const uint8_t sizes[] = {
		[H2_PRIORITY] = 5, [H2_RST_STREAM] = 4, [H2_GOAWAY] = 8, [H2_WINDOW_UPDATE] = 4};
	struct http2_frame *frame = remember(tx, dir, head->type);
	if (payload.size < sizes[head->type]) {
		gate_http2_event(tx, H2_EV_FRAME_LENGTH);
		return;
	}
	if (!frame) {
		return;
	}
	switch (head->type) {
	case H2_PRIORITY:
		frame->has_priority = true;
		frame->priority = payload.data[4];
		break;
	case H2_GOAWAY:
		frame->has_error = true;
		frame->error = gate_be32(payload.data + 4);
		break;
	case H2_RST_STREAM:
		frame->has_error = true;
		frame->error = gate_be32(payload.data);
		break;
	default:
		frame->has_window = true;
		frame->window = gate_be32(payload.data) & 0x7fffffff;
		break;
	}
}

static void on_frame(struct http2_conn *conn, enum gate_dir dir,
		     const struct http2_frame_head *head, struct gate_view payload)
{
	struct http2_frame_head of = *head;
	if (head->type == H2_PUSH_PROMISE && payload.size >= 5) {
		/* what is promised is another stream, which the server begins */
		uint32_t at = head->flags & H2_PADDED ? 1 : 0;
		of.stream = gate_be32(payload.data + at) & 0x7fffffff;
	}
	struct http2_tx *tx = tx_of(conn, &of);
	switch (head->type) {
	case H2_HEADERS_FRAME:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		/* the decoder's table must see every block, also of those that nobody keeps */
		on_block(conn, tx, dir, &of, payload);
		break;
	case H2_SETTINGS:
		if (tx) {
			(void)remember(tx, dir, head->type);
		}
		if (!(head->flags & H2_ACK)) {
			on_settings(conn, tx, dir, payload.data, payload.size);
		}
		break;
	case H2_PRIORITY:
	case H2_RST_STREAM:
	case H2_GOAWAY:
	case H2_WINDOW_UPDATE:
		if (tx) {
			on_number(tx, dir, head, payload);
		}
		break;
	default:
		if (tx) {
			(void)remember(tx, dir, head->type);
		}
		break;
	}
	if (!tx) {
		return;
	}
	if (tx->global || head->type == H2_RST_STREAM) {
		gate_http2_close(tx, GATE_TO_SERVER);
		gate_http2_close(tx, GATE_TO_CLIENT);
	}
}

/* ---- the row of frames ---- */

static uint32_t data_bytes(struct http2_conn *conn, enum gate_dir dir, const uint8_t *p,
			   uint32_t size)
{
	struct http2_machine *m = &conn->side[dir];
	struct http2_tx *tx = tx_find(conn, m->data_stream);
	uint32_t n = m->data_left < size ? m->data_left : size;
	if (n && tx) {
		gate_http2_body(tx, dir, p, n);
	}
	m->data_left -= n;
	uint32_t pad = m->pad_left < size - n ? m->pad_left : size - n;
	m->pad_left -= pad;
	if (!m->data_left && !m->pad_left) {
		m->in_data = false;
		if (m->data_ends_stream && tx) {
			gate_http2_close(tx, dir);
		}
	}
	return n + pad;
}

/* The head of a DATA frame, with its pad length. 0: more is needed. */
static uint32_t data_begin(struct http2_conn *conn, enum gate_dir dir,
			   const struct http2_frame_head *head, const uint8_t *p, uint32_t size)
{
	struct http2_machine *m = &conn->side[dir];
	bool padded = (head->flags & H2_PADDED) && head->size;
	if (padded && size < FRAME_HEAD_SIZE + 1) {
		return 0;
	}
	struct http2_tx *tx = tx_of(conn, head);
	uint32_t pad = padded ? p[FRAME_HEAD_SIZE] : 0;
	uint32_t left = head->size - (padded ? 1 : 0);
	if (tx) {
		(void)remember(tx, dir, H2_DATA);
		if (!head->stream) {
			gate_http2_event(tx, H2_EV_DATA_STREAM_ZERO);
			gate_http2_close(tx, GATE_TO_SERVER);
			gate_http2_close(tx, GATE_TO_CLIENT);
		}
		if (pad > left) {
			gate_http2_event(tx, H2_EV_FRAME_DATA);
		}
	}
	pad = pad > left ? left : pad;
	m->in_data = true;
	m->data_left = left - pad;
	m->pad_left = pad;
	m->data_stream = head->stream;
	m->data_ends_stream = head->flags & H2_END_STREAM;
	uint32_t used = FRAME_HEAD_SIZE + (padded ? 1 : 0);
	/* an empty one is over here */
	(void)data_bytes(conn, dir, p + used, 0);
	return used;
}

/* How many bytes are through; 0: more are needed. */
static uint32_t frame(struct http2_conn *conn, enum gate_dir dir, const uint8_t *p, uint32_t size)
{
	struct http2_machine *m = &conn->side[dir];
	if (size < FRAME_HEAD_SIZE) {
		return 0;
	}
	struct http2_frame_head head = {.size = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2],
					.type = p[3],
					.flags = p[4],
					.stream = gate_be32(p + 5) & 0x7fffffff};
	if (head.type == H2_DATA) {
		return data_begin(conn, dir, &head, p, size);
	}
	if (head.size > FRAME_SIZE_MAX) {
		struct http2_tx *tx = tx_of(conn, &head);
		if (tx) {
			gate_http2_event(tx, H2_EV_LONG_FRAME);
		}
		m->skip = head.size;
		return FRAME_HEAD_SIZE;
	}
	if (size < FRAME_HEAD_SIZE + head.size) {
		return 0;
	}
	on_frame(conn, dir, &head, (struct gate_view){p + FRAME_HEAD_SIZE, head.size});
	return FRAME_HEAD_SIZE + head.size;
}

/* The client's preface. 0: more is needed; -1: there is none. */
static int64_t preface(struct http2_conn *conn, const struct gate_app_input *in)
{
	uint32_t n = in->size < MAGIC_SIZE ? in->size : (uint32_t)MAGIC_SIZE;
	if (memcmp(in->data, magic, n) != 0) {
		conn->side[GATE_TO_SERVER].magic_done = true;
		return -1;
	}
	if (n < MAGIC_SIZE) {
		return 0;
	}
	conn->side[GATE_TO_SERVER].magic_done = true;
	return (int64_t)MAGIC_SIZE;
}

static void gap(struct http2_conn *conn, enum gate_dir dir, uint32_t size)
{
	struct http2_machine *m = &conn->side[dir];
	struct http2_tx *tx = m->in_data ? tx_find(conn, m->data_stream) : NULL;
	uint32_t n = m->data_left < size ? m->data_left : size;
	if (m->in_data && size <= m->data_left + m->pad_left) {
		m->data_left -= n;
		m->pad_left -= size - n;
		if (tx && n) {
			gate_http2_body_gap(tx, dir, n);
		}
		(void)data_bytes(conn, dir, (const uint8_t *)"", 0);
		return;
	}
	if (size <= m->skip) {
		m->skip -= size;
		return;
	}
	/* Where the next frame begins nobody knows. */
	gate_session_stop(conn->session, dir);
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct http2_conn *conn = state;
	struct http2_machine *m = &conn->side[dir];
	uint32_t at = 0;
	(void)session;
	conn->globals = 0;
	conn->header_bytes = 0;
	if (in->gap) {
		gap(conn, dir, in->gap);
		return 0;
	}
	if (!m->magic_done && dir == GATE_TO_SERVER && in->size) {
		int64_t n = preface(conn, in);
		if (!n) {
			return 0;
		}
		if (n < 0) {
			struct http2_tx *tx = tx_new(conn, 0);
			if (tx) {
				tx->global = true;
				gate_http2_event(tx, H2_EV_CLIENT_MAGIC);
				gate_http2_close(tx, GATE_TO_SERVER);
				gate_http2_close(tx, GATE_TO_CLIENT);
			}
		}
		at = n > 0 ? (uint32_t)n : 0;
	}
	while (at < in->size) {
		uint32_t left = in->size - at, n = 0;
		if (m->skip) {
			n = m->skip < left ? m->skip : left;
			m->skip -= n;
		} else if (m->in_data) {
			n = data_bytes(conn, dir, in->data + at, left);
		} else {
			n = frame(conn, dir, in->data + at, left);
		}
		if (!n) {
			break;
		}
		at += n;
	}
	return at;
}

/* ---- what app.c calls ---- */

static void *mem_malloc(size_t size, void *arg)
{
	size_t *p = gate_session_alloc(arg, size + 16);
	if (p) {
		*p = size + 16;
	}
	return p ? (char *)p + 16 : NULL;
}

static void mem_free(void *p, void *arg)
{
	if (p) {
		size_t *head = (size_t *)(void *)((char *)p - 16);
		gate_session_release(arg, head, *head);
	}
}

static void *mem_calloc(size_t count, size_t size, void *arg)
{
	size_t all = 0;
	return __builtin_mul_overflow(count, size, &all) ? NULL : mem_malloc(all, arg);
}

static void *mem_realloc(void *p, size_t size, void *arg)
{
	if (!p) {
		return mem_malloc(size, arg);
	}
	size_t *head = (size_t *)(void *)((char *)p - 16);
	size_t *grown = gate_session_grow(arg, head, *head, size + 16);
	if (!grown) {
		return NULL;
	}
	*grown = size + 16;
	return (char *)grown + 16;
}

/* What an HTTP/1 request that asked for the upgrade was: stream 1, its side is over. */
static void take_over(struct http2_conn *conn)
{
	size_t size = 0;
	const uint8_t *p = gate_session_handed(conn->session, &size);
	struct http2_tx *tx = p ? tx_new(conn, 1) : NULL;
	size_t at = 0;
	while (tx && at + 8 <= size) {
		uint32_t name = 0, value = 0;
		memcpy(&name, p + at, 4);
		memcpy(&value, p + at + 4, 4);
		at += 8;
		if (name > size - at || value > size - at - name) {
			break;
		}
		(void)gate_http2_add_header(tx, GATE_TO_SERVER, (struct gate_view){p + at, name},
					    (struct gate_view){p + at + name, value});
		at += name + value;
	}
	if (tx) {
		(void)remember(tx, GATE_TO_SERVER, H2_HEADERS_FRAME);
		gate_http2_headers_done(tx, GATE_TO_SERVER);
		/* rules have seen that side in HTTP/1 */
		tx->tx.skip_dirs = GATE_DIR_BIT(GATE_TO_SERVER);
		tx->side[GATE_TO_SERVER].closed = true;
	}
}

static void *conn_new(struct gate_session *session)
{
	struct http2_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (!conn) {
		return NULL;
	}
	conn->session = session;
	conn->config = gate_session_config(session);
	conn->mem = (nghttp2_mem){session, mem_malloc, mem_free, mem_calloc, mem_realloc};
	take_over(conn);
	return conn;
}

static void conn_free(struct gate_session *session, void *state)
{
	struct http2_conn *conn = state;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		if (conn->side[dir].inflater) {
			nghttp2_hd_inflate_del(conn->side[dir].inflater);
		}
	}
	gate_session_release(session, conn, sizeof(*conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gate_tx)
{
	struct http2_tx *tx = BH_CONTAINER_OF(gate_tx, struct http2_tx, tx);
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		struct http2_side *side = &tx->side[dir];
		gate_coding_free(side->body.coding);
		gate_text_free(session, &side->body.dns_text);
		gate_text_free(session, &side->text);
		for (unsigned int i = 0; side->built && i < BUILT_MAX; i++) {
			gate_text_free(session, &side->built[i].text);
		}
		gate_session_release(session, side->built, BUILT_MAX * sizeof(*side->built));
		gate_session_release(session, side->dns, side->dns_size);
		gate_session_release(session, side->headers,
				     side->capacity * sizeof(*side->headers));
	}
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	(void)port;
	if (dir == GATE_TO_SERVER) {
		return GATE_PROBE_YES; /* the pattern said so */
	}
	return size >= 3 && data[2] % 6 == 0 ? GATE_PROBE_YES : GATE_PROBE_NO;
}

static const char *const no_patterns[] = {NULL};

#define COMMON                                                                                     \
	.transports = 1, .states = {states, states}, .events = events, .event_count = H2_EVENTS,   \
	.too_many = H2_EV_STREAMS + 1, .new = conn_new, .free = conn_free, .parse = parse,         \
	.tx_free = tx_free, .buffer = gate_http2_buffer, .number = gate_http2_number,              \
	.log_tx = gate_http2_log

const struct gate_app_ops gate_http2_ops = {
	COMMON,
	.app = GATE_APP_HTTP2,
	.name = "http2",
	.log = "http",
	.patterns = {request_patterns, response_patterns},
	.probe = probe,
};

/* The same parser under another name: a connection is called so from its first DNS message on. */
const struct gate_app_ops gate_doh2_ops = {
	COMMON,
	.app = GATE_APP_DOH2,
	.name = "doh2",
	.log = "doh2",
	.patterns = {no_patterns, no_patterns},
};
