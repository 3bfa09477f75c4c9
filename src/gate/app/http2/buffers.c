/* SPDX-License-Identifier: Apache-2.0 */
/* What rules see of a stream: the buffers of HTTP, made of headers, and the numbers of its
 * frames. */
#include "gate/app/dns/dns.h"
#include "gate/app/http2/http2.h"

#define BUILT_MAX (2 * HEADER_TEXT_MAX)

static bool give(struct gate_view v, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = v.data, .size = v.size, .complete = true};
	return true;
}

static bool add(struct http2_tx *tx, struct http2_side *side, const void *data, uint32_t size)
{
	return gate_text_add(tx->session, &side->built, data, size, BUILT_MAX);
}

static bool give_built(const struct http2_side *side, struct gate_buffer_view *ret)
{
	return give(gate_text_view(&side->built), ret);
}

/* All values of a name, joined with ", ". */
static bool by_name(struct http2_tx *tx, enum gate_dir dir, const char *name,
		    struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_view v, next;
	if (!gate_http2_header(side, name, 0, &v)) {
		return false;
	}
	if (!gate_http2_header(side, name, 1, &next)) {
		return give(v, ret);
	}
	side->built.size = 0;
	for (uint32_t i = 0; gate_http2_header(side, name, i, &v); i++) {
		if ((i && !add(tx, side, ", ", 2)) || !add(tx, side, v.data, v.size)) {
			break;
		}
	}
	return give_built(side, ret);
}

static bool names(struct http2_tx *tx, enum gate_dir dir, struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[dir];
	side->built.size = 0;
	bool ok = side->count && add(tx, side, "\r\n", 2);
	for (uint32_t i = 0; ok && i < side->count; i++) {
		struct gate_view name = gate_http2_name(side, &side->headers[i]);
		ok = add(tx, side, name.data, name.size) && add(tx, side, "\r\n", 2);
	}
	return ok && add(tx, side, "\r\n", 2) && give_built(side, ret);
}

/* All but cookies, as they stand in the text. */
static bool headers(struct http2_tx *tx, enum gate_dir dir, struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[dir];
	const char *cookie = dir == GATE_TO_SERVER ? "cookie" : "set-cookie";
	struct gate_view v;
	if (!side->count) {
		return false;
	}
	if (!gate_http2_header(side, cookie, 0, &v)) {
		return give(gate_text_view(&side->text), ret);
	}
	side->built.size = 0;
	for (uint32_t i = 0; i < side->count; i++) {
		const struct http2_header *h = &side->headers[i];
		if (!gate_http2_name_is(side, h, cookie) &&
		    !add(tx, side, side->text.data + h->name_at,
			 h->name_size + h->value_size + 4)) {
			break;
		}
	}
	return give_built(side, ret);
}

static bool add_escaped(struct http2_tx *tx, struct http2_side *side, struct gate_view v)
{
	for (uint32_t i = 0; i < v.size; i++) {
		if (!add(tx, side, v.data + i, 1) || (v.data[i] == ':' && !add(tx, side, ":", 1))) {
			return false;
		}
	}
	return true;
}

/* One by itself, "name: value", colons doubled as Suricata does. */
static bool one(struct http2_tx *tx, enum gate_dir dir, uint32_t index,
		struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[dir];
	if (index >= side->count) {
		return false;
	}
	const struct http2_header *h = &side->headers[index];
	side->built.size = 0;
	return add_escaped(tx, side, gate_http2_name(side, h)) && add(tx, side, ": ", 2) &&
	       add_escaped(tx, side, gate_http2_value(side, h)) && give_built(side, ret);
}

static bool host(struct http2_tx *tx, bool raw, struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[GATE_TO_SERVER];
	struct gate_view v;
	if (!gate_http2_header(side, ":authority", 0, &v) &&
	    !gate_http2_header(side, "host", 0, &v)) {
		return false;
	}
	if (raw) {
		return give(v, ret);
	}
	const uint8_t *at = v.size ? memchr(v.data, '@', v.size) : NULL;
	if (at) {
		v.size -= (uint32_t)(at + 1 - v.data);
		v.data = at + 1;
	}
	side->built.size = 0;
	for (uint32_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];
		if (c == ':' && !(v.data[0] == '[' && memchr(v.data + i, ']', v.size - i))) {
			break;
		}
		c = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
		if (!add(tx, side, &c, 1)) {
			break;
		}
	}
	return give_built(side, ret);
}

static bool first_line(struct http2_tx *tx, enum gate_dir dir, bool with_headers,
		       struct gate_buffer_view *ret)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_view a = {}, b = {};
	side->built.size = 0;
	bool ok = true;
	if (dir == GATE_TO_SERVER) {
		if (!gate_http2_header(side, ":method", 0, &a)) {
			return false;
		}
		(void)gate_http2_header(side, ":path", 0, &b);
		ok = add(tx, side, a.data, a.size) && add(tx, side, " ", 1) &&
		     add(tx, side, b.data, b.size) && add(tx, side, " HTTP/2\r\n", 9);
	} else {
		if (!gate_http2_header(side, ":status", 0, &a)) {
			return false;
		}
		ok = add(tx, side, "HTTP/2 ", 7) && add(tx, side, a.data, a.size) &&
		     add(tx, side, "\r\n", 2);
	}
	if (ok && with_headers) {
		ok = add(tx, side, side->text.data, side->text.size) && add(tx, side, "\r\n", 2);
	}
	return ok && give_built(side, ret);
}

static const struct {
	enum gate_buffer buffer;
	const char *request, *response; /* NULL: the other side's */
} by_names[] = {
	{GATE_BUF_HTTP_URI, ":path", NULL},
	{GATE_BUF_HTTP_URI_RAW, ":path", NULL},
	{GATE_BUF_HTTP_METHOD, ":method", NULL},
	{GATE_BUF_HTTP_STAT_CODE, NULL, ":status"},
	{GATE_BUF_HTTP_COOKIE, "cookie", "set-cookie"},
	{GATE_BUF_HTTP_USER_AGENT, "user-agent", NULL},
	{GATE_BUF_HTTP_REFERER, "referer", NULL},
	{GATE_BUF_HTTP_ACCEPT, "accept", NULL},
	{GATE_BUF_HTTP_ACCEPT_LANG, "accept-language", NULL},
	{GATE_BUF_HTTP_ACCEPT_ENC, "accept-encoding", NULL},
	{GATE_BUF_HTTP_CONNECTION, "connection", "connection"},
	{GATE_BUF_HTTP_CONTENT_TYPE, "content-type", "content-type"},
	{GATE_BUF_HTTP_CONTENT_LEN, "content-length", "content-length"},
	{GATE_BUF_HTTP_SERVER, NULL, "server"},
	{GATE_BUF_HTTP_LOCATION, NULL, "location"},
};

static bool body(struct http2_tx *tx, enum gate_dir dir, struct gate_buffer_view *ret)
{
	const struct http2_body *b = &tx->side[dir].body;
	if (!b->file || !b->file->window_size) {
		return false;
	}
	*ret = (struct gate_buffer_view){.data = b->file->window,
					 .size = b->file->window_size,
					 .offset = b->file->window_offset,
					 .complete = b->file->state != GATE_FILE_OPEN};
	return true;
}

bool gate_http2_buffer(struct gate_tx *gate_tx, enum gate_dir dir, enum gate_buffer buffer,
		       uint32_t index, struct gate_buffer_view *ret)
{
	struct http2_tx *tx = BH_CONTAINER_OF(gate_tx, struct http2_tx, tx);
	struct http2_side *side = &tx->side[dir];
	switch (buffer) {
	case GATE_BUF_HTTP_PROTOCOL:
		return side->has_headers &&
		       give((struct gate_view){(const uint8_t *)"HTTP/2", 6}, ret);
	case GATE_BUF_HTTP_REQUEST_LINE:
	case GATE_BUF_HTTP_RESPONSE_LINE:
		return first_line(tx, dir, false, ret);
	case GATE_BUF_HTTP_START:
		return first_line(tx, dir, true, ret);
	case GATE_BUF_HTTP_HEADER:
		return headers(tx, dir, ret);
	case GATE_BUF_HTTP_HEADER_RAW:
		return side->count && give(gate_text_view(&side->text), ret);
	case GATE_BUF_HTTP_HEADER_NAMES:
		return names(tx, dir, ret);
	case GATE_BUF_HTTP_REQUEST_HEADER:
	case GATE_BUF_HTTP_RESPONSE_HEADER:
		return one(tx, dir, index, ret);
	case GATE_BUF_HTTP2_HEADER_NAME:
		return index < side->count &&
		       give(gate_http2_name(side, &side->headers[index]), ret);
	case GATE_BUF_HTTP_HOST:
	case GATE_BUF_HTTP_HOST_RAW:
		return host(tx, buffer == GATE_BUF_HTTP_HOST_RAW, ret);
	case GATE_BUF_HTTP_REQUEST_BODY:
	case GATE_BUF_HTTP_RESPONSE_BODY:
		return body(tx, dir, ret);
	default:
		break;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(by_names); i++) {
		const char *name =
			dir == GATE_TO_SERVER ? by_names[i].request : by_names[i].response;
		if (by_names[i].buffer == buffer && name) {
			return by_name(tx, dir, name, ret);
		}
	}
	return side->dns && gate_dns_buffer(side->dns, buffer, index, ret);
}

bool gate_http2_number(struct gate_tx *gate_tx, enum gate_dir dir, enum gate_number number,
		       uint32_t index, uint64_t *ret)
{
	const struct http2_tx *tx = BH_CONTAINER_OF(gate_tx, struct http2_tx, tx);
	const struct http2_side *side = &tx->side[dir];
	for (uint8_t i = 0; i < side->frame_count; i++) {
		const struct http2_frame *f = &side->frames[i];
		bool has = false;
		if (number == GATE_NUM_HTTP2_FRAMETYPE) {
			has = true;
			*ret = f->type;
		} else if (number == GATE_NUM_HTTP2_ERRORCODE) {
			has = f->has_error;
			*ret = f->error;
		} else if (number == GATE_NUM_HTTP2_PRIORITY) {
			has = f->has_priority;
			*ret = f->priority;
		} else if (number == GATE_NUM_HTTP2_WINDOW) {
			has = f->has_window;
			*ret = f->window;
		}
		if (has && !index--) {
			return true;
		}
	}
	return side->dns && gate_dns_number(side->dns, number, index, ret);
}
