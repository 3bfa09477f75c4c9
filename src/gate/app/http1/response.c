/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side. A response belongs to the first request that has none yet. */
#include "gate/app/http1/http1.h"
#include "gate/config.h"
#include <string.h>

static const char not_seen[] = "/libhtp::request_uri_not_seen";

static enum http_step complete(struct http_conn *conn, bool whole)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	struct http_tx *tx = m->tx;
	gate_http1_body_end(tx, GATE_TO_CLIENT, whole);
	m->state = HTTP_IDLE;
	m->tx = NULL;
	bool tunnel = tx->method_number == HTTP_M_CONNECT && tx->status_number >= 200 &&
		      tx->status_number < 300;
	gate_session_inspect_now(conn->session, GATE_TO_CLIENT);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
	if (tunnel) {
		gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
		gate_session_become(conn->session, GATE_APP_UNKNOWN);
		return HTTP_STOP;
	}
	return HTTP_GO;
}

/* A transaction whose request nobody saw. */
static struct http_tx *tx_without_request(struct http_conn *conn)
{
	struct http_tx *tx = gate_http1_tx_new(conn);
	if (!tx) {
		return NULL;
	}
	tx->unseen = true;
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	if (gate_http1_add(tx, &side->raw, not_seen, sizeof(not_seen) - 1)) {
		tx->uri = (struct http_span){.size = side->raw.size, .is = true};
		tx->parts.path = tx->uri;
		side->headers_at = side->headers_end = side->raw.size;
	}
	gate_http1_event(tx, HTTP_EV_NO_REQUEST);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	return tx;
}

static struct http_tx *first_waiting(struct http_conn *conn)
{
	struct gate_tx *tx =
		conn->last_response ? conn->last_response->next : gate_session_first(conn->session);
	while (tx &&
	       (tx->id < conn->next_response || (tx->done_dirs & GATE_DIR_BIT(GATE_TO_CLIENT)))) {
		tx = tx->next;
	}
	return tx ? BH_CONTAINER_OF(tx, struct http_tx, tx) : NULL;
}

static enum http_step idle(struct http_conn *conn, const struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	if (in->pos == in->size) {
		return HTTP_WAIT;
	}
	m->tx = first_waiting(conn);
	if (!m->tx) {
		m->tx = tx_without_request(conn);
	}
	if (!m->tx) {
		return HTTP_FAIL;
	}
	gate_tx_news(conn->session, &m->tx->tx);
	conn->next_response = m->tx->tx.id + 1;
	conn->last_response = &m->tx->tx;
	m->left = m->length = 0;
	m->scanned = 0;
	m->state = HTTP_IN_LINE;
	if (m->tx->is_09) {
		gate_tx_progress(conn->session, &m->tx->tx, GATE_TO_CLIENT, HTTP_BODY);
		m->state = HTTP_UNTIL_CLOSE;
	}
	return HTTP_GO;
}

/* A line ends with LF, CR or CR LF. */
static bool find_end(struct http_machine *m, const struct http_input *in, uint32_t *ret_size)
{
	const uint8_t *begin = in->data + in->pos;
	uint32_t left = in->size - in->pos;
	uint32_t from = m->scanned < left ? m->scanned : left;
	const uint8_t *lf = left > from ? memchr(begin + from, '\n', left - from) : NULL;
	uint32_t until = lf ? (uint32_t)(lf - begin) : left;
	const uint8_t *cr = until > from ? memchr(begin + from, '\r', until - from) : NULL;
	if (cr && (uint32_t)(cr - begin) + 1 == left && !in->eof) {
		m->scanned = left - 1;
		return false;
	}
	if (!cr && !lf) {
		m->scanned = left;
		return false;
	}
	m->scanned = 0;
	*ret_size = (uint32_t)((cr ? cr : lf) - begin) + 1;
	if (cr && *ret_size < left && cr[1] == '\n') {
		++*ret_size;
	}
	return true;
}

/* No status line: browsers take it for a body. */
static enum http_step line_is_body(struct http_machine *m, const struct http_input *in,
				   const uint8_t *line, uint32_t size)
{
	struct http_tx *tx = m->tx;
	uint32_t bare = size;
	while (bare && (line[bare - 1] == '\n' || line[bare - 1] == '\r')) {
		bare--;
	}
	uint32_t left = in->size - in->pos;
	if (left > 1 && (in->data[in->pos] == 'H' || bare <= 2)) {
		return HTTP_GO;
	}
	gate_http1_body_data(tx, GATE_TO_CLIENT, line, size);
	if (!left) {
		gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_BODY);
		m->state = HTTP_FINALIZE;
	}
	return HTTP_GO;
}

static enum http_step in_line(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	uint64_t max = tx->conn->config->http_header_size_max;
	uint32_t size = 0;
	const uint8_t *line = in->data + in->pos;
	if (!find_end(m, in, &size)) {
		if (in->size - in->pos > max) {
			gate_http1_event(tx, HTTP_EV_RESPONSE_TOO_LONG);
			return HTTP_FAIL;
		}
		if (!in->eof || in->pos == in->size) {
			return HTTP_WAIT;
		}
		size = in->size - in->pos;
	}
	if (size > max) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_TOO_LONG);
		return HTTP_FAIL;
	}
	in->pos += size;
	if (gate_http1_ignorable(line, size)) {
		m->state = in->eof ? HTTP_FINALIZE : m->state;
		return HTTP_GO;
	}
	if (gate_http1_looks_like_body(line, size)) {
		return line_is_body(m, in, line, size);
	}
	while (size && (line[size - 1] == '\n' || line[size - 1] == '\r')) {
		size--;
	}
	gate_http1_response_line(tx, line, size);
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_LINE);
	m->state = HTTP_IN_HEADERS;
	return HTTP_GO;
}

static enum http_step in_headers(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	struct http_side *side = &tx->side[GATE_TO_CLIENT];
	uint32_t before = side->raw.size;
	enum http_step step = gate_http1_headers(tx, GATE_TO_CLIENT, in);
	if (step != HTTP_GO) {
		return step;
	}
	/* closed before the empty line */
	bool cut = in->eof && in->pos == in->size &&
		   (side->raw.size == before || (side->raw.data[side->raw.size - 1] != '\n' &&
						 side->raw.data[side->raw.size - 1] != '\r'));
	if (side->trailer || cut) {
		gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_TRAILER);
		m->state = HTTP_FINALIZE;
		return HTTP_GO;
	}
	m->state = HTTP_DETERMINE;
	return HTTP_GO;
}

/* ---- how the body is framed ---- */

static enum http_step no_body(struct http_machine *m)
{
	gate_tx_progress(m->tx->session, &m->tx->tx, GATE_TO_CLIENT, HTTP_HEADERS);
	m->state = HTTP_FINALIZE;
	return HTTP_GO;
}

/* The request as HTTP/2 has it, for the parser that follows: sizes of name and value, and both. */
static bool hand_one(struct http_tx *tx, struct http_text *text, struct gate_view name,
		     struct gate_view value)
{
	uint32_t sizes[2] = {name.size, value.size};
	return gate_http1_add(tx, text, sizes, sizeof(sizes)) &&
	       gate_http1_add(tx, text, name.data, name.size) &&
	       gate_http1_add(tx, text, value.data, value.size);
}

static void hand_over(struct http_tx *tx)
{
	const struct http_side *side = &tx->side[GATE_TO_SERVER];
	struct http_text text = {};
	bool ok = hand_one(tx, &text, (struct gate_view){(const uint8_t *)":method", 7},
			   gate_http1_view(side, &tx->method)) &&
		  hand_one(tx, &text, (struct gate_view){(const uint8_t *)":path", 5},
			   gate_http1_view(side, &tx->uri));
	for (uint32_t i = 0; ok && i < side->count; i++) {
		struct gate_view name = gate_http1_view(side, &side->headers[i].name);
		if (side->headers[i].known == HTTP_K_HOST) {
			name = (struct gate_view){(const uint8_t *)":authority", 10};
		}
		ok = hand_one(tx, &text, name, gate_http1_view(side, &side->headers[i].value));
	}
	gate_session_hand(tx->session, text.data, text.size);
	gate_http1_text_free(tx, &text);
}

/* 101: from here on it is something else. */
static enum http_step switched(struct http_conn *conn)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	struct http_tx *tx = m->tx;
	struct gate_view upgrade = gate_http1_header(&tx->side[GATE_TO_CLIENT], HTTP_K_UPGRADE);
	enum gate_app app = GATE_APP_FAILED;
	if (gate_http1_has(upgrade, "h2c")) {
		app = GATE_APP_HTTP2;
	} else if (gate_http1_has(upgrade, "websocket")) {
		app = GATE_APP_WEBSOCKET;
	}
	(void)no_body(m);
	(void)complete(conn, true);
	if (gate_app_ops_of(app)) {
		if (app == GATE_APP_HTTP2) {
			hand_over(tx);
		}
		gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
		gate_session_become(conn->session, app);
		return HTTP_STOP;
	}
	conn->tunnel = true;
	m->state = conn->side[GATE_TO_SERVER].state = HTTP_IGNORE;
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	return HTTP_GO;
}

/* 100: the real response is to come. */
static enum http_step go_on(struct http_machine *m)
{
	struct http_tx *tx = m->tx;
	struct http_side *side = &tx->side[GATE_TO_CLIENT];
	if (tx->seen_continue) {
		gate_http1_event(tx, HTTP_EV_CONTINUE_AGAIN);
	}
	tx->seen_continue = true;
	side->count = 0;
	gate_http1_slots_free(tx->session, side);
	side->repetitions = 0;
	side->eols = 0;
	memset(side->known, 0, sizeof(side->known));
	m->state = HTTP_IN_LINE;
	return HTTP_GO;
}

/* The client waited for leave to send its body, and got none. */
static void refuse_body(struct http_conn *conn)
{
	struct http_machine *request = &conn->side[GATE_TO_SERVER];
	struct http_tx *tx = conn->side[GATE_TO_CLIENT].tx;
	struct gate_view expect = gate_http1_header(&tx->side[GATE_TO_SERVER], HTTP_K_EXPECT);
	if (request->tx == tx && request->state == HTTP_IDENTITY && request->length &&
	    request->left == request->length && gate_http1_equals(expect, "100-continue")) {
		request->state = HTTP_FINALIZE;
	}
}

static enum http_step chunked(struct http_machine *m, struct gate_view te)
{
	struct http_tx *tx = m->tx;
	if (!gate_http1_equals(te, "chunked")) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_ABNORMAL_TE);
	}
	if (tx->response_version != HTTP_V_11) {
		gate_http1_event(tx, HTTP_EV_CHUNKED_OLD);
	}
	tx->side[GATE_TO_CLIENT].chunked = true;
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_BODY);
	m->state = HTTP_CHUNK_SIZE;
	return HTTP_GO;
}

static enum http_step with_body(struct http_machine *m)
{
	struct http_tx *tx = m->tx;
	struct http_side *side = &tx->side[GATE_TO_CLIENT];
	bool has_length = gate_http1_has_header(side, HTTP_K_CONTENT_LENGTH);
	struct gate_view te = gate_http1_header(side, HTTP_K_TRANSFER_ENCODING);
	gate_http1_body_begin(tx, GATE_TO_CLIENT);
	if (gate_http1_has(te, "chunked")) {
		return chunked(m, te);
	}
	if (te.size) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_TE);
	}
	if (has_length) {
		struct gate_view cl = gate_http1_header(side, HTTP_K_CONTENT_LENGTH);
		if (!gate_http1_length(tx, cl, &m->length)) {
			gate_http1_event(tx, HTTP_EV_RESPONSE_CL);
			return HTTP_FAIL;
		}
		m->left = m->length;
		if (!m->left) {
			return no_body(m);
		}
		m->state = HTTP_IDENTITY;
	} else {
		if (gate_http1_has(gate_http1_header(side, HTTP_K_CONTENT_TYPE),
				   "multipart/byteranges")) {
			gate_http1_event(tx, HTTP_EV_BYTERANGES);
			return HTTP_FAIL;
		}
		m->state = HTTP_UNTIL_CLOSE;
	}
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_BODY);
	return HTTP_GO;
}

static enum http_step determine(struct http_conn *conn)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	struct http_tx *tx = m->tx;
	struct http_side *side = &tx->side[GATE_TO_CLIENT];
	uint16_t status = tx->status_number;
	bool framed = gate_http1_has_header(side, HTTP_K_CONTENT_LENGTH) ||
		      gate_http1_has_header(side, HTTP_K_TRANSFER_ENCODING);
	uint64_t length = 0;
	if (tx->method_number == HTTP_M_CONNECT && status >= 200 && status < 300) {
		return no_body(m);
	}
	if (status == 101 && !framed) {
		return switched(conn);
	}
	if (status == 101) {
		gate_http1_event(tx, HTTP_EV_SWITCHING_CL);
	} else if (status == 100 && !gate_http1_has_header(side, HTTP_K_TRANSFER_ENCODING) &&
		   (!gate_http1_length(NULL, gate_http1_header(side, HTTP_K_CONTENT_LENGTH),
				       &length) ||
		    !length)) {
		return go_on(m);
	} else if (status >= 400 && status < 500) {
		refuse_body(conn);
	}
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_CLIENT, HTTP_HEADERS);
	if (tx->method_number == HTTP_M_HEAD) {
		return no_body(m);
	}
	if ((status >= 100 && status < 200) || status == 204 || status == 304) {
		if (!framed) {
			return no_body(m);
		}
		gate_http1_event(tx, HTTP_EV_RESPONSE_BODY);
	}
	return with_body(m);
}

/* ---- bodies ---- */

static enum http_step until_close(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	if (in->pos < in->size) {
		gate_http1_body_data(m->tx, GATE_TO_CLIENT, in->data + in->pos, in->size - in->pos);
		in->pos = in->size;
	}
	return in->eof ? complete(conn, !in->cut) : HTTP_WAIT;
}

/* What claims to be chunked is not: all of it is the body. */
static enum http_step not_chunked(struct http_machine *m)
{
	gate_http1_event(m->tx, HTTP_EV_RESPONSE_CHUNK_LEN);
	m->state = HTTP_UNTIL_CLOSE;
	return HTTP_GO;
}

static enum http_step chunk_size(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	uint32_t size = 0, left = in->size - in->pos;
	const uint8_t *line = in->data + in->pos;
	uint64_t n = 0;
	bool ext = false;
	if (!gate_http1_find_line(m, in, &size)) {
		if (left && gate_http1_chunk_size(line, left, &n, &ext) < 0) {
			m->scanned = 0;
			return not_chunked(m);
		}
		if (left > tx->conn->config->http_header_size_max) {
			gate_http1_event(tx, HTTP_EV_RESPONSE_TOO_LONG);
			return HTTP_FAIL;
		}
		return HTTP_WAIT;
	}
	int r = gate_http1_chunk_size(line, size, &n, &ext);
	if (r < 0) {
		return not_chunked(m);
	}
	in->pos += size;
	if (ext) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_CHUNK_EXT);
	}
	if (r == 1) {
		m->left = n;
		m->state = n ? HTTP_CHUNK_DATA : HTTP_IN_HEADERS;
		tx->side[GATE_TO_CLIENT].trailer = !n;
	}
	return HTTP_GO;
}

/* What stands behind a response: the next one, or more than it said it has. */
static enum http_step finalize(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	struct http_tx *tx = m->tx;
	uint32_t left = in->size - in->pos, size = left;
	const uint8_t *line = in->data + in->pos;
	if (!left) {
		return complete(conn, true);
	}
	if (line[0] != '\n' && !gate_http1_find_line(m, in, &size)) {
		if (left > conn->config->http_header_size_max) {
			gate_http1_event(tx, HTTP_EV_RESPONSE_TOO_LONG);
			return HTTP_FAIL;
		}
		if (!in->eof) {
			return HTTP_WAIT;
		}
		size = left;
	}
	if (!gate_http1_looks_like_body(line, size)) {
		m->scanned = 0;
		return complete(conn, true);
	}
	gate_http1_event(tx, HTTP_EV_RESPONSE_BODY);
	gate_http1_body_data(tx, GATE_TO_CLIENT, line, size);
	in->pos += size;
	m->scanned = 0;
	return HTTP_GO;
}

static enum http_step step(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	switch (m->state) {
	case HTTP_IDLE:
		return idle(conn, in);
	case HTTP_IN_LINE:
		return in_line(m, in);
	case HTTP_IN_HEADERS:
		return in_headers(m, in);
	case HTTP_DETERMINE:
		return determine(conn);
	case HTTP_IDENTITY:
	case HTTP_CHUNK_DATA:
		return gate_http1_identity(m, GATE_TO_CLIENT, in);
	case HTTP_UNTIL_CLOSE:
		return until_close(conn, in);
	case HTTP_CHUNK_SIZE:
		return chunk_size(m, in);
	case HTTP_CHUNK_END:
		return gate_http1_chunk_end(m, GATE_TO_CLIENT, in);
	case HTTP_FINALIZE:
		return finalize(conn, in);
	default:
		in->pos = in->size;
		return HTTP_WAIT;
	}
}

static void gap(struct http_conn *conn, uint32_t size)
{
	struct http_machine *m = &conn->side[GATE_TO_CLIENT];
	m->scanned = 0;
	if (!m->tx) {
		return;
	}
	if (m->state == HTTP_FINALIZE) {
		(void)complete(conn, true);
	} else if (m->state == HTTP_UNTIL_CLOSE) {
		gate_http1_body_gap(m->tx, GATE_TO_CLIENT, size);
	} else if (m->state == HTTP_IDENTITY || m->state == HTTP_CHUNK_DATA) {
		uint32_t n = m->left < size ? (uint32_t)m->left : size;
		gate_http1_body_gap(m->tx, GATE_TO_CLIENT, n);
		m->left -= n;
		if (!m->left && m->state == HTTP_CHUNK_DATA) {
			m->state = HTTP_CHUNK_END;
		} else if (!m->left) {
			(void)complete(conn, true);
		}
	}
}

int64_t gate_http1_response(struct http_conn *conn, const struct gate_app_input *in)
{
	static const struct http_walk walk = {
		.gap = gap, .step = step, .begin = tx_without_request};
	return gate_http1_walk(conn, GATE_TO_CLIENT, &walk, in);
}
