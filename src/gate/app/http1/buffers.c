/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules see of a transaction. Most of it stands in the text of a side; the rest is built when
 * it is asked for the first time and kept while the side has as many headers.
 */
#include "gate/app/http1/http1.h"

#include <string.h>

static bool give(struct gate_view v, bool is, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = v.data, .size = v.size, .complete = true};
	return is;
}

static bool is_cookie(const struct http_header *h, enum gate_dir dir)
{
	return h->known == (dir == GATE_TO_SERVER ? HTTP_K_COOKIE : HTTP_K_SET_COOKIE);
}

static bool add_header(struct http_tx *tx, struct http_side *side, struct http_text *text,
		       const struct http_header *h, bool end)
{
	struct gate_view name = gate_http1_view(side, &h->name);
	struct gate_view value = gate_http1_view(side, &h->value);
	return gate_http1_add(tx, text, name.data, name.size) &&
	       gate_http1_add(tx, text, ": ", 2) &&
	       gate_http1_add(tx, text, value.data, value.size) &&
	       (!end || gate_http1_add(tx, text, "\r\n", 2));
}

static bool build_headers(struct http_tx *tx, enum gate_dir dir, struct http_text *text)
{
	struct http_side *side = &tx->side[dir];
	for (uint32_t i = 0; i < side->count; i++) {
		if (!is_cookie(&side->headers[i], dir) &&
		    !add_header(tx, side, text, &side->headers[i], true)) {
			return false;
		}
	}
	return true;
}

static bool build_names(struct http_tx *tx, enum gate_dir dir, struct http_text *text)
{
	struct http_side *side = &tx->side[dir];
	bool ok = side->count && gate_http1_add(tx, text, "\r\n", 2);
	for (uint32_t i = 0; ok && i < side->count; i++) {
		struct gate_view name = gate_http1_view(side, &side->headers[i].name);
		ok = gate_http1_add(tx, text, name.data, name.size) &&
		     gate_http1_add(tx, text, "\r\n", 2);
	}
	return ok && gate_http1_add(tx, text, "\r\n", 2);
}

/* The first line and all headers. */
static bool build_start(struct http_tx *tx, enum gate_dir dir, struct http_text *text)
{
	struct http_side *side = &tx->side[dir];
	struct gate_view line = gate_http1_view(side, &side->line);
	bool ok = gate_http1_add(tx, text, line.data, line.size) &&
		  gate_http1_add(tx, text, "\r\n", 2);
	for (uint32_t i = 0; ok && i < side->count; i++) {
		ok = add_header(tx, side, text, &side->headers[i], true);
	}
	return ok && gate_http1_add(tx, text, "\r\n", 2);
}

/* Each header by itself, "Name: value", one behind another. */
static bool build_ones(struct http_tx *tx, enum gate_dir dir, struct http_text *text)
{
	struct http_side *side = &tx->side[dir];
	for (uint32_t i = 0; i < side->count; i++) {
		side->headers[i].one_at = text->size;
		if (!add_header(tx, side, text, &side->headers[i], false)) {
			return false;
		}
	}
	return true;
}

static const struct http_built *built(struct http_tx *tx, enum gate_dir dir,
				      enum http_built_kind kind)
{
	static bool (*const build[])(struct http_tx *, enum gate_dir, struct http_text *) = {
		[HTTP_BUILT_HEADER] = build_headers,
		[HTTP_BUILT_NAMES] = build_names,
		[HTTP_BUILT_START] = build_start,
		[HTTP_BUILT_ONE] = build_ones,
	};
	struct http_built *b = &tx->side[dir].built[kind];
	if (!b->done || b->headers != tx->side[dir].count) {
		b->text.size = 0;
		b->done = build[kind](tx, dir, &b->text);
		b->headers = tx->side[dir].count;
	}
	return b;
}

static bool give_built(struct http_tx *tx, enum gate_dir dir, enum http_built_kind kind,
		       struct gate_buffer_view *ret)
{
	const struct http_built *b = built(tx, dir, kind);
	return give((struct gate_view){b->text.data, b->text.size}, b->done && b->text.size, ret);
}

static bool one_header(struct http_tx *tx, enum gate_dir dir, uint32_t index,
		       struct gate_buffer_view *ret)
{
	const struct http_side *side = &tx->side[dir];
	if (index >= side->count) {
		return false;
	}
	const struct http_built *b = built(tx, dir, HTTP_BUILT_ONE);
	uint32_t at = side->headers[index].one_at;
	uint32_t end = index + 1 < side->count ? side->headers[index + 1].one_at : b->text.size;
	return give((struct gate_view){b->text.data + at, end - at}, b->done, ret);
}

static bool uri(struct http_tx *tx, struct gate_buffer_view *ret)
{
	gate_http1_normalise(tx);
	return give((struct gate_view){tx->normal.data, tx->normal.size}, tx->normal.size, ret);
}

/* Lower case, without port: written to `made` once, if it is not so already. */
static bool host(struct http_tx *tx, struct gate_buffer_view *ret)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	struct gate_view v = gate_http1_view(side, &tx->host);
	bool upper = false;
	for (uint32_t i = 0; i < v.size; i++) {
		upper = upper || (v.data[i] >= 'A' && v.data[i] <= 'Z');
	}
	if (upper) {
		/* room first: v may stand in the very text that grows */
		uint32_t at = side->made.size;
		uint8_t lower[256];
		if (v.size > sizeof(lower)) {
			return give(v, tx->host.is, ret);
		}
		for (uint32_t i = 0; i < v.size; i++) {
			uint8_t c = v.data[i];
			lower[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
		}
		if (gate_http1_add(tx, &side->made, lower, v.size)) {
			tx->host = (struct http_span){
				.at = at, .size = v.size, .made = true, .is = true};
			v = gate_http1_view(side, &tx->host);
		}
	}
	return give(v, tx->host.is && v.size, ret);
}

static bool host_raw(struct http_tx *tx, struct gate_buffer_view *ret)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	if (tx->parts.host.is) {
		return give(gate_http1_view(side, &tx->parts.host), true, ret);
	}
	return give(gate_http1_header(side, HTTP_K_HOST), gate_http1_has_header(side, HTTP_K_HOST),
		    ret);
}

static enum http_known known_of(enum gate_buffer buffer, enum gate_dir dir)
{
	switch (buffer) {
	case GATE_BUF_HTTP_COOKIE:
		return dir == GATE_TO_SERVER ? HTTP_K_COOKIE : HTTP_K_SET_COOKIE;
	case GATE_BUF_HTTP_USER_AGENT:
		return HTTP_K_USER_AGENT;
	case GATE_BUF_HTTP_REFERER:
		return HTTP_K_REFERER;
	case GATE_BUF_HTTP_ACCEPT:
		return HTTP_K_ACCEPT;
	case GATE_BUF_HTTP_ACCEPT_LANG:
		return HTTP_K_ACCEPT_LANG;
	case GATE_BUF_HTTP_ACCEPT_ENC:
		return HTTP_K_ACCEPT_ENC;
	case GATE_BUF_HTTP_CONNECTION:
		return HTTP_K_CONNECTION;
	case GATE_BUF_HTTP_CONTENT_TYPE:
		return HTTP_K_CONTENT_TYPE;
	case GATE_BUF_HTTP_CONTENT_LEN:
		return HTTP_K_CONTENT_LENGTH;
	case GATE_BUF_HTTP_SERVER:
		return HTTP_K_SERVER;
	case GATE_BUF_HTTP_LOCATION:
		return HTTP_K_LOCATION;
	default:
		return HTTP_K_NONE;
	}
}

static bool of_line(struct http_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		    struct gate_buffer_view *ret)
{
	const struct http_side *side = &tx->side[dir];
	const struct http_span *span = NULL;
	switch (buffer) {
	case GATE_BUF_HTTP_URI_RAW:
		span = &tx->uri;
		break;
	case GATE_BUF_HTTP_METHOD:
		span = &tx->method;
		break;
	case GATE_BUF_HTTP_PROTOCOL:
		span = dir == GATE_TO_SERVER ? &tx->protocol : &tx->response_protocol;
		break;
	case GATE_BUF_HTTP_REQUEST_LINE:
	case GATE_BUF_HTTP_RESPONSE_LINE:
		span = &side->line;
		break;
	case GATE_BUF_HTTP_STAT_CODE:
		span = &tx->status;
		break;
	case GATE_BUF_HTTP_STAT_MSG:
		span = &tx->message;
		break;
	default:
		return false;
	}
	return give(gate_http1_view(side, span), span->is, ret);
}

bool gate_http1_buffer(struct gate_tx *gate_tx, enum gate_dir dir, enum gate_buffer buffer,
		       uint32_t index, struct gate_buffer_view *ret)
{
	struct http_tx *tx = BH_CONTAINER_OF(gate_tx, struct http_tx, tx);
	struct http_side *side = &tx->side[dir];
	switch (buffer) {
	case GATE_BUF_HTTP_URI:
		return uri(tx, ret);
	case GATE_BUF_HTTP_HEADER:
		return give_built(tx, dir, HTTP_BUILT_HEADER, ret);
	case GATE_BUF_HTTP_HEADER_NAMES:
		return give_built(tx, dir, HTTP_BUILT_NAMES, ret);
	case GATE_BUF_HTTP_START:
		return give_built(tx, dir, HTTP_BUILT_START, ret);
	case GATE_BUF_HTTP_HEADER_RAW: {
		struct http_span raw = {.at = side->headers_at,
					.size = side->headers_end - side->headers_at,
					.is = side->headers_end > side->headers_at};
		return give(gate_http1_view(side, &raw), raw.is, ret);
	}
	case GATE_BUF_HTTP_REQUEST_HEADER:
	case GATE_BUF_HTTP_RESPONSE_HEADER:
		return one_header(tx, dir, index, ret);
	case GATE_BUF_HTTP_HOST:
		return host(tx, ret);
	case GATE_BUF_HTTP_HOST_RAW:
		return host_raw(tx, ret);
	case GATE_BUF_HTTP_REQUEST_BODY:
	case GATE_BUF_HTTP_RESPONSE_BODY:
		return gate_http1_body_view(tx, dir, ret);
	case GATE_BUF_FILE_DATA:
		return dir == GATE_TO_CLIENT && !index && gate_http1_body_view(tx, dir, ret);
	default:
		break;
	}
	enum http_known known = known_of(buffer, dir);
	if (known) {
		return give(gate_http1_header(side, known), gate_http1_has_header(side, known),
			    ret);
	}
	return of_line(tx, dir, buffer, ret);
}
