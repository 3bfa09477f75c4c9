/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side: line, headers, body, one request behind another. */
#include "gate/app/http1/http1.h"
#include "gate/config.h"
#include <string.h>

/* ---- what both sides use ---- */

bool gate_http1_find_line(struct http_machine *m, const struct http_input *in, uint32_t *ret_size)
{
	uint32_t left = in->size - in->pos;
	uint32_t from = m->scanned < left ? m->scanned : left;
	const uint8_t *lf =
		left > from ? memchr(in->data + in->pos + from, '\n', left - from) : NULL;
	if (!lf) {
		m->scanned = left;
		return false;
	}
	m->scanned = 0;
	*ret_size = (uint32_t)(lf - (in->data + in->pos)) + 1;
	return true;
}

enum http_step gate_http1_headers(struct http_tx *tx, enum gate_dir dir, struct http_input *in)
{
	uint64_t max = tx->conn->config->http_header_size_max;
	enum http_event too_long =
		dir == GATE_TO_SERVER ? HTTP_EV_REQUEST_TOO_LONG : HTTP_EV_RESPONSE_TOO_LONG;
	for (;;) {
		bool end = false;
		uint32_t left = in->size - in->pos;
		int64_t n =
			gate_http1_read_header(tx, dir, in->data + in->pos, left, in->eof, &end);
		if (n < 0) {
			return HTTP_FAIL;
		}
		in->pos += (uint32_t)n;
		if (end) {
			return HTTP_GO;
		}
		if ((uint64_t)(n ? n : left) > max) {
			gate_http1_event(tx, too_long);
			return HTTP_FAIL;
		}
		if (!n || in->pos == in->size) {
			return in->eof ? HTTP_GO : HTTP_WAIT;
		}
	}
}

struct http_tx *gate_http1_tx_new(struct http_conn *conn)
{
	struct gate_tx *tx = gate_tx_new(conn->session, sizeof(struct http_tx));
	if (!tx) {
		return NULL;
	}
	struct http_tx *http = BH_CONTAINER_OF(tx, struct http_tx, tx);
	http->session = conn->session;
	http->conn = conn;
	http->port = -1;
	return http;
}

/* ---- headers ---- */

static void check_hosts(struct http_tx *tx)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	struct gate_view uri_host = gate_http1_view(side, &tx->parts.host);
	struct gate_view host, port;
	bool valid = false;
	if (!gate_http1_has_header(side, HTTP_K_HOST)) {
		if (tx->version == HTTP_V_11) {
			gate_http1_event(tx, HTTP_EV_NO_HOST);
		}
		return;
	}
	struct gate_view value = gate_http1_header(side, HTTP_K_HOST);
	if (!gate_http1_host_port(value, &host, &port, &valid)) {
		if (tx->parts.host.is) {
			gate_http1_event(tx, HTTP_EV_TWO_HOSTS);
		}
		return;
	}
	if (!valid) {
		gate_http1_event(tx, HTTP_EV_HEADER_HOST);
	}
	int32_t number = port.size ? gate_http1_port(port) : -1;
	if (!tx->parts.host.is) {
		tx->host = side->headers[side->known[HTTP_K_HOST] - 1].value;
		tx->host.at += (uint32_t)(host.data - value.data);
		tx->host.size = host.size;
		tx->port = number;
		return;
	}
	bool same = uri_host.size == host.size;
	for (uint32_t i = 0; same && i < host.size; i++) {
		same = uri_host.data[i] == host.data[i] ||
		       ((uri_host.data[i] ^ host.data[i]) == 0x20 && (host.data[i] | 0x20) >= 'a' &&
			(host.data[i] | 0x20) <= 'z');
	}
	if (!same || (port.size && tx->port >= 0 && tx->port != number)) {
		gate_http1_event(tx, HTTP_EV_TWO_HOSTS);
	}
}

static void check_authorization(struct http_tx *tx)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	static const char *const kinds[] = {"basic", "digest", "bearer"};
	if (!gate_http1_has_header(side, HTTP_K_AUTHORIZATION)) {
		return;
	}
	struct gate_view v = gate_http1_header(side, HTTP_K_AUTHORIZATION);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint32_t size = (uint32_t)strlen(kinds[i]);
		struct gate_view word = {.data = v.data, .size = v.size < size ? v.size : size};
		if (gate_http1_equals(word, kinds[i])) {
			return;
		}
	}
	gate_http1_event(tx, HTTP_EV_AUTH);
}

/* How the body is framed. False: it can't be told. */
static bool process_headers(struct http_tx *tx, struct http_machine *m)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	bool ok = true;
	m->has_length = false;
	m->length = m->left = 0;
	side->chunked = false;
	if (gate_http1_has_header(side, HTTP_K_TRANSFER_ENCODING)) {
		struct gate_view te = gate_http1_header(side, HTTP_K_TRANSFER_ENCODING);
		side->chunked = gate_http1_has(te, "chunked");
		ok = side->chunked;
		if (!ok || tx->version != HTTP_V_11) {
			gate_http1_event(tx, HTTP_EV_REQUEST_TE);
		}
	} else if (gate_http1_has_header(side, HTTP_K_CONTENT_LENGTH)) {
		struct gate_view cl = gate_http1_header(side, HTTP_K_CONTENT_LENGTH);
		ok = gate_http1_length(tx, cl, &m->length);
		m->has_length = ok;
		m->left = m->length;
		if (!ok) {
			gate_http1_event(tx, HTTP_EV_REQUEST_CL);
		}
	}
	if (tx->parts.host.is) {
		tx->host = tx->parts.host;
		tx->port = gate_http1_port(gate_http1_view(side, &tx->parts.port));
	}
	check_hosts(tx);
	check_authorization(tx);
	gate_http1_body_begin(tx, GATE_TO_SERVER);
	return ok;
}

/* ---- states ---- */

static enum http_step complete(struct http_conn *conn)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	struct http_tx *tx = m->tx;
	gate_http1_body_end(tx, GATE_TO_SERVER, true);
	m->state = tx->is_09 ? HTTP_IGNORE : HTTP_IDLE;
	m->tx = NULL;
	gate_session_inspect_now(conn->session, GATE_TO_SERVER);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	return HTTP_GO;
}

static enum http_step in_line(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	uint64_t max = tx->conn->config->http_header_size_max;
	uint32_t size = 0;
	const uint8_t *line = in->data + in->pos;
	if (!gate_http1_find_line(m, in, &size)) {
		if (in->size - in->pos > max) {
			gate_http1_event(tx, HTTP_EV_REQUEST_TOO_LONG);
			return HTTP_FAIL;
		}
		if (!in->eof || in->pos == in->size) {
			return HTTP_WAIT;
		}
		size = in->size - in->pos;
	}
	if (size > max) {
		gate_http1_event(tx, HTTP_EV_REQUEST_TOO_LONG);
		return HTTP_FAIL;
	}
	in->pos += size;
	if (gate_http1_ignorable(line, size)) {
		return HTTP_GO;
	}
	while (size && (line[size - 1] == '\n' || line[size - 1] == '\r')) {
		size--;
	}
	gate_http1_request_line(tx, line, size);
	gate_http1_split_uri(tx);
	struct gate_view host = gate_http1_view(&tx->side[GATE_TO_SERVER], &tx->parts.host);
	if (tx->parts.host.is && !gate_http1_valid_host(host)) {
		gate_http1_event(tx, HTTP_EV_URI_HOST);
	}
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_SERVER, HTTP_LINE);
	m->state = HTTP_IN_PROTOCOL;
	return HTTP_GO;
}

static enum http_step in_protocol(struct http_machine *m, const struct http_input *in)
{
	struct http_tx *tx = m->tx;
	m->state = HTTP_IN_HEADERS;
	if (!tx->is_09) {
		return HTTP_GO;
	}
	uint32_t i = in->pos;
	while (i < in->size && http_is_space(in->data[i])) {
		i++;
	}
	if (i < in->size || i - in->pos > HTTP09_JUNK_MAX) {
		/* that is more than HTTP/0.9 has */
		tx->is_09 = false;
		gate_http1_event(tx, HTTP_EV_NO_PROTOCOL);
		return HTTP_GO;
	}
	m->state = HTTP_FINALIZE;
	return HTTP_GO;
}

static enum http_step in_headers(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	bool all = in->eof;
	enum http_step step = gate_http1_headers(tx, GATE_TO_SERVER, in);
	if (step != HTTP_GO) {
		return step;
	}
	if (side->trailer || (all && in->pos == in->size && !side->count)) {
		gate_tx_progress(tx->session, &tx->tx, GATE_TO_SERVER, HTTP_TRAILER);
		m->state = HTTP_FINALIZE;
		return HTTP_GO;
	}
	gate_tx_progress(tx->session, &tx->tx, GATE_TO_SERVER, HTTP_HEADERS);
	bool ok = process_headers(tx, m);
	if (tx->method_number == HTTP_M_CONNECT) {
		m->state = HTTP_CONNECT_WAIT;
	} else if (!ok) {
		return HTTP_FAIL;
	} else if (side->chunked) {
		m->state = HTTP_CHUNK_SIZE;
	} else {
		m->state = m->left ? HTTP_IDENTITY : HTTP_FINALIZE;
	}
	if (m->state == HTTP_CHUNK_SIZE || m->state == HTTP_IDENTITY) {
		gate_tx_progress(tx->session, &tx->tx, GATE_TO_SERVER, HTTP_BODY);
	}
	return HTTP_GO;
}

static enum http_step connect_wait(struct http_machine *m)
{
	struct http_tx *tx = m->tx;
	if (tx->tx.progress[GATE_TO_CLIENT] < HTTP_LINE) {
		return HTTP_WAIT;
	}
	bool tunnel = tx->status_number >= 200 && tx->status_number < 300;
	m->state = tunnel ? HTTP_CONNECT_PROBE : HTTP_FINALIZE;
	return HTTP_GO;
}

static enum http_step chunk_size(struct http_machine *m, struct http_input *in)
{
	struct http_tx *tx = m->tx;
	uint32_t size = 0;
	const uint8_t *line = in->data + in->pos;
	if (!gate_http1_find_line(m, in, &size)) {
		uint32_t left = in->size - in->pos;
		uint64_t n = 0;
		bool ext = false;
		if (left > tx->conn->config->http_header_size_max) {
			gate_http1_event(tx, HTTP_EV_REQUEST_TOO_LONG);
			return HTTP_FAIL;
		}
		if (left && gate_http1_chunk_size(line, left, &n, &ext) < 0) {
			gate_http1_event(tx, HTTP_EV_REQUEST_CHUNK_LEN);
			return HTTP_FAIL;
		}
		return HTTP_WAIT;
	}
	bool ext = false;
	int r = gate_http1_chunk_size(line, size, &m->left, &ext);
	in->pos += size;
	if (r < 0 || r == 2) {
		gate_http1_event(tx, HTTP_EV_REQUEST_CHUNK_LEN);
		return HTTP_FAIL;
	}
	if (ext) {
		gate_http1_event(tx, HTTP_EV_REQUEST_CHUNK_EXT);
	}
	if (r > 0) {
		m->state = m->left ? HTTP_CHUNK_DATA : HTTP_IN_HEADERS;
		tx->side[GATE_TO_SERVER].trailer = !m->left;
	}
	return HTTP_GO;
}

/* What stands behind a request: the next one, or something that belongs to nobody and counts as
 * its body. */
static enum http_step finalize(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	struct http_tx *tx = m->tx;
	if (in->pos == in->size) {
		return complete(conn);
	}
	uint32_t size = 0;
	const uint8_t *line = in->data + in->pos;
	if (!gate_http1_find_line(m, in, &size)) {
		if (in->size - in->pos > conn->config->http_header_size_max) {
			gate_http1_event(tx, HTTP_EV_REQUEST_TOO_LONG);
			return HTTP_FAIL;
		}
		if (!in->eof) {
			return HTTP_WAIT;
		}
		size = in->size - in->pos;
	}
	uint32_t i = 0;
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	uint32_t from = i;
	while (i < size && !http_is_space(line[i])) {
		i++;
	}
	if (i > from && gate_http1_method(line + from, i - from) != HTTP_M_UNKNOWN) {
		return complete(conn);
	}
	if (i > from && !m->left) {
		gate_http1_event(tx, HTTP_EV_REQUEST_BODY);
	}
	gate_http1_body_data(tx, GATE_TO_SERVER, line, size);
	in->pos += size;
	return HTTP_GO;
}

static enum http_step connect_probe(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	uint32_t size = in->size - in->pos, i = 0;
	const uint8_t *line = in->data + in->pos;
	if (!size) {
		return in->eof ? complete(conn) : HTTP_WAIT;
	}
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	uint32_t from = i;
	while (i < size && !http_is_space(line[i]) && line[i]) {
		i++;
	}
	if (i == size && size < 64 && !in->eof) {
		return HTTP_WAIT;
	}
	if (gate_http1_method(line + from, i - from) != HTTP_M_UNKNOWN) {
		return complete(conn);
	}
	(void)complete(conn);
	m->state = HTTP_IGNORE;
	return HTTP_GO;
}

static enum http_step idle(struct http_conn *conn, const struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	if (in->pos == in->size) {
		return HTTP_WAIT;
	}
	m->tx = gate_http1_tx_new(conn);
	m->scanned = 0;
	m->left = 0;
	m->state = HTTP_IN_LINE;
	return m->tx ? HTTP_GO : HTTP_FAIL;
}

static enum http_step step(struct http_conn *conn, struct http_input *in)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	switch (m->state) {
	case HTTP_IDLE:
		return idle(conn, in);
	case HTTP_IN_LINE:
		return in_line(m, in);
	case HTTP_IN_PROTOCOL:
		return in_protocol(m, in);
	case HTTP_IN_HEADERS:
		return in_headers(m, in);
	case HTTP_CONNECT_WAIT:
		return connect_wait(m);
	case HTTP_CONNECT_PROBE:
		return connect_probe(conn, in);
	case HTTP_IDENTITY:
		return gate_http1_identity(m, GATE_TO_SERVER, in);
	case HTTP_CHUNK_SIZE:
		return chunk_size(m, in);
	case HTTP_CHUNK_DATA:
		return gate_http1_identity(m, GATE_TO_SERVER, in);
	case HTTP_CHUNK_END:
		return gate_http1_chunk_end(m, GATE_TO_SERVER, in);
	case HTTP_FINALIZE:
		return finalize(conn, in);
	default:
		in->pos = in->size;
		return HTTP_WAIT;
	}
}

/* A hole: in a body it is part of it; elsewhere what follows is read as if nothing were missing. */
static void gap(struct http_conn *conn, uint32_t size)
{
	struct http_machine *m = &conn->side[GATE_TO_SERVER];
	m->scanned = 0;
	if (m->state == HTTP_FINALIZE && m->tx) {
		(void)complete(conn);
	}
	if ((m->state != HTTP_IDENTITY && m->state != HTTP_CHUNK_DATA) || !m->tx) {
		return;
	}
	uint32_t n = m->left < size ? (uint32_t)m->left : size;
	gate_http1_body_gap(m->tx, GATE_TO_SERVER, n);
	m->left -= n;
	if (!m->left && m->state == HTTP_CHUNK_DATA) {
		m->state = HTTP_CHUNK_END;
	} else if (!m->left) {
		(void)complete(conn);
	}
}

int64_t gate_http1_request(struct http_conn *conn, const struct gate_app_input *in)
{
	static const struct http_walk walk = {.gap = gap, .step = step, .begin = gate_http1_tx_new};
	return gate_http1_walk(conn, GATE_TO_SERVER, &walk, in);
}
