/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows headers: bodies as files, decoded; and DNS messages, as a body of type
 * application/dns-message or in the query of a GET (?dns=, base64url).
 */
#include "gate/app/dns/dns.h"
#include "gate/app/http2/http2.h"
#include "gate/base64.h"
#include "gate/config.h"

static bool is_text(struct gate_view v, const char *text)
{
	return v.size == strlen(text) && !memcmp(v.data, text, v.size);
}

/* ---- DNS ---- */

static void keep_dns(struct http2_tx *tx, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_dns_reading *reading = gate_session_alloc(tx->session, sizeof(*reading));
	if (!reading) {
		return;
	}
	if (!gate_dns_read(data, size, reading) && !side->dns) {
		size_t head = (sizeof(*side->dns) + 15) & ~(size_t)15;
		size_t need = head + gate_dns_need(reading);
		uint8_t *memory = gate_session_alloc(tx->session, need);
		if (memory) {
			side->dns = (struct gate_dns_message *)(void *)memory;
			side->dns_size = need;
			gate_dns_keep(reading, memory + head, side->dns);
			gate_session_rename(tx->session, GATE_APP_DOH2);
		}
	}
	gate_session_release(tx->session, reading, sizeof(*reading));
}

/* With the letters for URLs (RFC 4648, 5). */
static int base64_value(uint8_t c)
{
	return c == '-' ? 62 : c == '_' ? 63 : gate_base64_value(c);
}

/* ?dns= of the path */
static void dns_of_path(struct http2_tx *tx, struct gate_view path)
{
	const uint8_t *at = path.size ? memmem(path.data, path.size, "dns=", 4) : NULL;
	if (!at || at == path.data || (at[-1] != '?' && at[-1] != '&')) {
		return;
	}
	const uint8_t *end = path.data + path.size;
	if ((size_t)(end - at) > DNS_SIZE_MAX) {
		gate_http2_event(tx, H2_EV_DNS_REQUEST_LONG);
		return;
	}
	uint32_t size = (uint32_t)(end - at);
	uint8_t *out = gate_session_alloc(tx->session, size);
	if (!out) {
		return;
	}
	uint32_t bits = 0, have = 0, n = 0;
	for (at += 4; at < end && base64_value(*at) >= 0; at++) {
		bits = bits << 6 | (uint32_t)base64_value(*at);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	keep_dns(tx, GATE_TO_SERVER, out, n);
	gate_session_release(tx->session, out, size);
}

/* ---- headers are complete ---- */

static void begin_coding(struct http2_tx *tx, enum gate_dir dir)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_view v;
	if (side->body.coding || !tx->conn->config->http_decompress_layers ||
	    !gate_http2_header(side, "content-encoding", 0, &v)) {
		return;
	}
	uint8_t kind = is_text(v, "gzip")      ? HTTP_CODING_GZIP
		       : is_text(v, "deflate") ? HTTP_CODING_DEFLATE
		       : is_text(v, "br")      ? HTTP_CODING_BROTLI
					       : HTTP_CODING_NONE;
	if (kind != HTTP_CODING_NONE) {
		side->body.coding = gate_coding_new(tx->session, &kind, 1);
	}
}

void gate_http2_headers_done(struct http2_tx *tx, enum gate_dir dir)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_view type, method, path;
	bool again = tx->tx.progress[dir] >= H2_HEADERS;
	gate_tx_progress(tx->session, &tx->tx, dir, again ? H2_TRAILER : H2_HEADERS);
	if (again) {
		return;
	}
	begin_coding(tx, dir);
	if (gate_http2_header(side, "content-type", 0, &type) &&
	    is_text(type, "application/dns-message")) {
		side->body.dns = true;
		gate_session_rename(tx->session, GATE_APP_DOH2);
	}
	if (dir == GATE_TO_SERVER && gate_http2_header(side, ":method", 0, &method) &&
	    is_text(method, "GET") && gate_http2_header(side, ":path", 0, &path)) {
		dns_of_path(tx, path);
	}
}

/* ---- bodies ---- */

static void read_range(struct http2_tx *tx, struct gate_file *file)
{
	struct gate_view v;
	unsigned long long start = 0, end = 0, total = 0;
	char text[80];
	if (!gate_http2_header(&tx->side[GATE_TO_CLIENT], "content-range", 0, &v)) {
		return;
	}
	snprintf(text, sizeof(text), "%.*s", v.size < 79 ? (int)v.size : 79, (const char *)v.data);
	int n = sscanf(text, "bytes %18llu-%18llu/%18llu", &start, &end, &total);
	if (n < 2 || start > end || (n == 3 && end >= total)) {
		gate_http2_event(tx, H2_EV_RANGE);
		return;
	}
	const uint64_t span[2] = {start, end};
	struct gate_view host = {};
	(void)gate_http2_header(&tx->side[GATE_TO_SERVER], ":authority", 0, &host);
	gate_file_range(tx->session, file, span, n == 3 ? total : 0, host);
}

static void open_body(struct http2_tx *tx, enum gate_dir dir)
{
	struct http2_body *body = &tx->side[dir].body;
	struct gate_view name = {.data = (const uint8_t *)""};
	body->began = true;
	if (gate_http2_header(&tx->side[GATE_TO_SERVER], ":path", 0, &name)) {
		const uint8_t *query = name.size ? memchr(name.data, '?', name.size) : NULL;
		name.size = query ? (uint32_t)(query - name.data) : name.size;
	}
	body->file = gate_file_open(tx->session, &tx->tx, dir, name.data, name.size);
	if (body->file && dir == GATE_TO_CLIENT) {
		read_range(tx, body->file);
	}
}

struct target {
	struct http2_tx *tx;
	enum gate_dir dir;
};

static bool decoded(void *arg, const uint8_t *data, uint32_t size)
{
	const struct target *target = arg;
	struct http2_tx *tx = target->tx;
	struct http2_body *body = &tx->side[target->dir].body;
	const struct gate_config *config = tx->conn->config;
	uint64_t limit = target->dir == GATE_TO_SERVER ? config->http_request_body_limit
						       : config->http_response_body_limit;
	if (body->dns && !gate_text_add(tx->session, &body->dns_text, data, size, DNS_SIZE_MAX)) {
		gate_http2_event(tx, target->dir == GATE_TO_SERVER ? H2_EV_DNS_REQUEST_LONG
								   : H2_EV_DNS_RESPONSE_LONG);
		body->dns = false;
	}
	if (body->over) {
		return false;
	}
	if (!body->began) {
		open_body(tx, target->dir);
	}
	bool store = config->file_store || (body->file && body->file->flags & GATE_FILE_STORE);
	if (limit && !store && body->size + size > limit) {
		size = limit > body->size ? (uint32_t)(limit - body->size) : 0;
		body->over = true;
	}
	body->size += size;
	gate_file_append(tx->session, body->file, data, size);
	if (body->over) {
		gate_file_close(tx->session, body->file, GATE_FILE_TRUNCATED);
	}
	return !body->over;
}

static void tell(struct http2_tx *tx, enum http_coding_result result)
{
	static const enum http2_event events[] = {
		[HTTP_CODING_FAILED] = H2_EV_DECOMPRESSION,
		[HTTP_CODING_BOMB] = H2_EV_DECOMPRESSION,
		[HTTP_CODING_EXTRA] = H2_EV_COMPRESSED_EXTRA,
		[HTTP_CODING_CUT] = H2_EV_COMPRESSED_CUT,
	};
	if (result != HTTP_CODING_OK) {
		gate_http2_event(tx, events[result]);
	}
}

void gate_http2_body(struct http2_tx *tx, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct http2_body *body = &tx->side[dir].body;
	struct target target = {.tx = tx, .dir = dir};
	if (!size) {
		return;
	}
	gate_tx_progress(tx->session, &tx->tx, dir, H2_BODY);
	if (body->coding) {
		tell(tx, gate_coding_data(body->coding, data, size, decoded, &target));
	} else {
		(void)decoded(&target, data, size);
	}
}

void gate_http2_body_gap(struct http2_tx *tx, enum gate_dir dir, uint32_t size)
{
	struct http2_body *body = &tx->side[dir].body;

	gate_tx_progress(tx->session, &tx->tx, dir, H2_BODY);
	if (!body->began) {
		open_body(tx, dir);
	}
	if (body->coding) {
		/* behind a hole nothing can be decoded */
		gate_coding_free(body->coding);
		body->coding = NULL;
		body->over = true;
		size = 0;
	}
	body->dns = false;
	gate_file_gap(tx->session, body->file, size);
}

void gate_http2_body_end(struct http2_tx *tx, enum gate_dir dir, bool whole)
{
	struct http2_body *body = &tx->side[dir].body;
	struct target target = {.tx = tx, .dir = dir};
	if (body->coding) {
		enum http_coding_result result = gate_coding_end(body->coding, decoded, &target);
		if (whole || result != HTTP_CODING_CUT) {
			tell(tx, result);
		}
		gate_coding_free(body->coding);
		body->coding = NULL;
	}
	if (body->dns && body->dns_text.size) {
		keep_dns(tx, dir, body->dns_text.data, body->dns_text.size);
		body->dns = false;
	}
	gate_file_close(tx->session, body->file, whole ? GATE_FILE_CLOSED : GATE_FILE_TRUNCATED);
}
