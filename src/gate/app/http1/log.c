/* SPDX-License-Identifier: Apache-2.0 */
/* The http record of EVE: members and order as Suricata's. */
#include "gate/app/http1/http1.h"
#include "gate/output/jw.h"

#include <string.h>

static void put(struct gate_jw *jw, const char *key, struct gate_view v, bool is)
{
	if (is) {
		gate_jw_bytes(jw, key, v.data, v.size);
	}
}

static void put_header(struct gate_jw *jw, const char *key, const struct http_side *side,
		       enum http_known known)
{
	put(jw, key, gate_http1_header(side, known), gate_http1_has_header(side, known));
}

static void put_host(struct gate_jw *jw, const struct http_tx *tx)
{
	struct gate_view v = gate_http1_view(&tx->side[GATE_TO_SERVER], &tx->host);
	uint8_t lower[256];
	if (!tx->host.is) {
		return;
	}
	uint32_t size = v.size < sizeof(lower) ? v.size : (uint32_t)sizeof(lower);
	for (uint32_t i = 0; i < size; i++) {
		uint8_t c = v.data[i];
		lower[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
	}
	gate_jw_bytes(jw, "hostname", lower, size);
	if (tx->port >= 0) {
		gate_jw_uint(jw, "http_port", (uint64_t)tx->port);
	}
}

static void put_range(struct gate_jw *jw, const struct http_tx *tx)
{
	const struct http_side *side = &tx->side[GATE_TO_CLIENT];
	if (!gate_http1_has_header(side, HTTP_K_CONTENT_RANGE)) {
		return;
	}
	const struct gate_file *file = side->body.file;
	gate_jw_object(jw, "content_range");
	put_header(jw, "raw", side, HTTP_K_CONTENT_RANGE);
	if (file && (file->flags & GATE_FILE_RANGE)) {
		gate_jw_uint(jw, "start", file->range_start);
		gate_jw_uint(jw, "end", file->range_end);
		if (file->range_total) {
			gate_jw_uint(jw, "size", file->range_total);
		}
	}
	gate_jw_end(jw);
}

bool gate_http1_log(const struct gate_tx *gate_tx, struct gate_jw *jw)
{
	const struct http_tx *tx =
		(const struct http_tx *)((const char *)gate_tx - offsetof(struct http_tx, tx));
	const struct http_side *request = &tx->side[GATE_TO_SERVER];
	const struct http_side *response = &tx->side[GATE_TO_CLIENT];
	put_host(jw, tx);
	put(jw, "url", gate_http1_view(request, &tx->uri), tx->uri.is);
	put_header(jw, "http_user_agent", request, HTTP_K_USER_AGENT);
	put_header(jw, "xff", request, HTTP_K_XFF);
	if (gate_http1_has_header(response, HTTP_K_CONTENT_TYPE)) {
		struct gate_view type = gate_http1_header(response, HTTP_K_CONTENT_TYPE);
		const uint8_t *end = type.size ? memchr(type.data, ';', type.size) : NULL;
		type.size = end ? (uint32_t)(end - type.data) : type.size;
		gate_jw_bytes(jw, "http_content_type", type.data, type.size);
	}
	put_range(jw, tx);
	put_header(jw, "http_refer", request, HTTP_K_REFERER);
	put(jw, "http_method", gate_http1_view(request, &tx->method), tx->method.is);
	put(jw, "protocol", gate_http1_view(request, &tx->protocol), tx->protocol.is);
	if (tx->status_number) {
		gate_jw_uint(jw, "status", tx->status_number);
	} else {
		put(jw, "status_string", gate_http1_view(response, &tx->status), tx->status.is);
	}
	put_header(jw, "redirect", response, HTTP_K_LOCATION);
	gate_jw_uint(jw, "length", response->body.message_size);
	return true;
}
