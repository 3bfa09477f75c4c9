/* SPDX-License-Identifier: Apache-2.0 */
/* What rules see of a stream: the buffers of HTTP, made of headers, and the numbers of its
 * frames. */
#include "gate/app/dns/dns.h"
#include "gate/app/http2/http2.h"

#define BUILT_SIZE_MAX (2 * HEADER_TEXT_MAX)

static bool give(struct gate_view v, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = v.data, .size = v.size, .complete = true};
	return true;
}

static bool add(struct http2_tx *tx, struct gate_text *text, const void *data, uint32_t size)
{
	return gate_text_add(tx->session, text, data, size, BUILT_SIZE_MAX);
}

static bool add_view(struct http2_tx *tx, struct gate_text *text, struct gate_view v)
{
	return add(tx, text, v.data, v.size);
}

/* All values of a name, joined with ", ". */
static bool build_values(struct http2_tx *tx, enum gate_dir dir, const char *name,
			 struct gate_text *text)
{
	struct gate_view v;
	bool ok = true;
	for (uint32_t i = 0; ok && gate_http2_header(&tx->side[dir], name, i, &v); i++) {
		ok = (!i || add(tx, text, ", ", 2)) && add_view(tx, text, v);
	}
	return ok;
}

static bool build_names(struct http2_tx *tx, enum gate_dir dir, struct gate_text *text)
{
	const struct http2_side *side = &tx->side[dir];
	bool ok = side->count && add(tx, text, "\r\n", 2);
	for (uint32_t i = 0; ok && i < side->count; i++) {
		ok = add_view(tx, text, gate_http2_name(side, &side->headers[i])) &&
		     add(tx, text, "\r\n", 2);
	}
	return ok && add(tx, text, "\r\n", 2);
}

/* All but cookies, as they stand in the text. */
static bool build_headers(struct http2_tx *tx, enum gate_dir dir, struct gate_text *text)
{
	const struct http2_side *side = &tx->side[dir];
	const char *cookie = dir == GATE_TO_SERVER ? "cookie" : "set-cookie";
	bool ok = true;
	for (uint32_t i = 0; ok && i < side->count; i++) {
		const struct http2_header *h = &side->headers[i];
		ok = gate_http2_name_is(side, h, cookie) ||
		     add(tx, text, side->text.data + h->name_at, h->name_size + h->value_size + 4);
	}
	return ok;
}

static bool add_escaped(struct http2_tx *tx, struct gate_text *text, struct gate_view v)
{
	for (uint32_t i = 0; i < v.size; i++) {
		if (!add(tx, text, v.data + i, 1) || (v.data[i] == ':' && !add(tx, text, ":", 1))) {
			return false;
		}
	}
	return true;
}

/* Each by itself, "name: value", colons doubled as Suricata does; one behind another. */
static bool build_ones(struct http2_tx *tx, enum gate_dir dir, struct gate_text *text)
{
	struct http2_side *side = &tx->side[dir];
	bool ok = true;
	for (uint32_t i = 0; ok && i < side->count; i++) {
		struct http2_header *h = &side->headers[i];
		h->one_at = text->size;
		ok = add_escaped(tx, text, gate_http2_name(side, h)) && add(tx, text, ": ", 2) &&
		     add_escaped(tx, text, gate_http2_value(side, h));
	}
	return ok;
}

static bool host_value(const struct http2_tx *tx, struct gate_view *ret)
{
	const struct http2_side *side = &tx->side[GATE_TO_SERVER];
	return gate_http2_header(side, ":authority", 0, ret) ||
	       gate_http2_header(side, "host", 0, ret);
}

/* Lower case, without user and port. */
static bool build_host(struct http2_tx *tx, struct gate_text *text)
{
	struct gate_view v;
	if (!host_value(tx, &v)) {
		return false;
	}
	const uint8_t *at = v.size ? memchr(v.data, '@', v.size) : NULL;
	if (at) {
		v.size -= (uint32_t)(at + 1 - v.data);
		v.data = at + 1;
	}
	/* colons of an IPv6 address are no port's */
	const uint8_t *end = v.size && v.data[0] == '[' ? memrchr(v.data, ']', v.size) : NULL;
	for (uint32_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];
		if (c == ':' && (!end || v.data + i > end)) {
			break;
		}
		c = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
		if (!add(tx, text, &c, 1)) {
			return false;
		}
	}
	return true;
}

static bool build_line(struct http2_tx *tx, enum gate_dir dir, struct gate_text *text)
{
	const struct http2_side *side = &tx->side[dir];
	struct gate_view a = {}, b = {};
	if (dir == GATE_TO_CLIENT) {
		return gate_http2_header(side, ":status", 0, &a) && add(tx, text, "HTTP/2 ", 7) &&
		       add_view(tx, text, a) && add(tx, text, "\r\n", 2);
	}
	if (!gate_http2_header(side, ":method", 0, &a)) {
		return false;
	}
	(void)gate_http2_header(side, ":path", 0, &b);
	return add_view(tx, text, a) && add(tx, text, " ", 1) && add_view(tx, text, b) &&
	       add(tx, text, " HTTP/2\r\n", 9);
}

static bool build(struct http2_tx *tx, enum gate_dir dir, enum gate_buffer buffer, const char *name,
		  struct gate_text *text)
{
	const struct http2_side *side = &tx->side[dir];
	switch (buffer) {
	case GATE_BUF_HTTP_REQUEST_LINE:
	case GATE_BUF_HTTP_RESPONSE_LINE:
		return build_line(tx, dir, text);
	case GATE_BUF_HTTP_START:
		return build_line(tx, dir, text) &&
		       add_view(tx, text, gate_text_view(&side->text)) && add(tx, text, "\r\n", 2);
	case GATE_BUF_HTTP_HEADER:
		return build_headers(tx, dir, text);
	case GATE_BUF_HTTP_HEADER_NAMES:
		return build_names(tx, dir, text);
	case GATE_BUF_HTTP_HOST:
		return build_host(tx, text);
	case GATE_BUF_HTTP_REQUEST_HEADER:
	case GATE_BUF_HTTP_RESPONSE_HEADER:
		return build_ones(tx, dir, text);
	default:
		return build_values(tx, dir, name, text);
	}
}

/* NULL: there is none, or no room. */
static const struct gate_text *built(struct http2_tx *tx, enum gate_dir dir,
				     enum gate_buffer buffer, const char *name)
{
	struct http2_side *side = &tx->side[dir];
	if (!side->built) {
		side->built = gate_session_alloc(tx->session, BUILT_MAX * sizeof(*side->built));
	}
	struct http2_built *b = NULL;
	for (unsigned int i = 0; side->built && !b && i < BUILT_MAX; i++) {
		if (!side->built[i].buffer || side->built[i].buffer == buffer) {
			b = &side->built[i];
		}
	}
	if (!b) {
		return NULL;
	}
	if (!b->buffer || b->headers != side->count) {
		b->buffer = (uint16_t)buffer;
		b->headers = side->count;
		b->text.size = 0;
		if (!build(tx, dir, buffer, name, &b->text)) {
			b->text.size = 0;
		}
	}
	return b->text.size ? &b->text : NULL;
}

static bool give_built(struct http2_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		       const char *name, struct gate_buffer_view *ret)
{
	const struct gate_text *text = built(tx, dir, buffer, name);
	return text && give(gate_text_view(text), ret);
}

static bool one(struct http2_tx *tx, enum gate_dir dir, enum gate_buffer buffer, uint32_t index,
		struct gate_buffer_view *ret)
{
	const struct http2_side *side = &tx->side[dir];
	const struct gate_text *text = index < side->count ? built(tx, dir, buffer, NULL) : NULL;
	if (!text) {
		return false;
	}
	uint32_t at = side->headers[index].one_at;
	uint32_t end = index + 1 < side->count ? side->headers[index + 1].one_at : text->size;
	return give((struct gate_view){text->data + at, end - at}, ret);
}

static bool by_name(struct http2_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		    const char *name, struct gate_buffer_view *ret)
{
	struct gate_view v, next;
	if (!gate_http2_header(&tx->side[dir], name, 0, &v)) {
		return false;
	}
	if (!gate_http2_header(&tx->side[dir], name, 1, &next)) {
		return give(v, ret);
	}
	return give_built(tx, dir, buffer, name, ret);
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
	case GATE_BUF_HTTP_START:
	case GATE_BUF_HTTP_HEADER:
	case GATE_BUF_HTTP_HEADER_NAMES:
	case GATE_BUF_HTTP_HOST:
		return give_built(tx, dir, buffer, NULL, ret);
	case GATE_BUF_HTTP_HEADER_RAW:
		return side->count && give(gate_text_view(&side->text), ret);
	case GATE_BUF_HTTP_REQUEST_HEADER:
	case GATE_BUF_HTTP_RESPONSE_HEADER:
		return one(tx, dir, buffer, index, ret);
	case GATE_BUF_HTTP_HOST_RAW: {
		struct gate_view v;
		return host_value(tx, &v) && give(v, ret);
	}
	case GATE_BUF_HTTP2_HEADER_NAME:
		return index < side->count &&
		       give(gate_http2_name(side, &side->headers[index]), ret);
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
			return by_name(tx, dir, buffer, name, ret);
		}
	}
	return side->dns && gate_dns_buffer(side->dns, buffer, index, ret);
}

/* The number of a frame, if it has it; the size of the table may change twice in one. */
static bool frame_number(const struct http2_frame *f, enum gate_number number, uint32_t *index,
			 uint64_t *ret)
{
	bool has = false;
	switch (number) {
	case GATE_NUM_HTTP2_FRAMETYPE:
		has = true;
		*ret = f->type;
		break;
	case GATE_NUM_HTTP2_ERRORCODE:
		has = f->has_error;
		*ret = f->error;
		break;
	case GATE_NUM_HTTP2_PRIORITY:
		has = f->has_priority;
		*ret = f->priority;
		break;
	case GATE_NUM_HTTP2_WINDOW:
		has = f->has_window;
		*ret = f->window;
		break;
	case GATE_NUM_HTTP2_SIZE_UPDATE:
		if (*index >= f->update_count) {
			*index -= f->update_count;
			return false;
		}
		*ret = f->updates[*index];
		return true;
	default:
		return false;
	}
	return has && !(*index)--;
}

bool gate_http2_number(struct gate_tx *gate_tx, enum gate_dir dir, enum gate_number number,
		       uint32_t index, uint64_t *ret)
{
	const struct http2_tx *tx = BH_CONTAINER_OF(gate_tx, struct http2_tx, tx);
	const struct http2_side *side = &tx->side[dir];
	if (number == GATE_NUM_HTTP2_SETTINGS) {
		if (!side->frame_count || index >= tx->setting_count) {
			return false;
		}
		*ret = (uint64_t)tx->settings[index].id << 32 | tx->settings[index].value;
		return true;
	}
	for (uint8_t i = 0; i < side->frame_count; i++) {
		if (frame_number(&side->frames[i], number, &index, ret)) {
			return true;
		}
	}
	return side->dns && gate_dns_number(side->dns, number, index, ret);
}
