/* SPDX-License-Identifier: Apache-2.0 */
/* One header of a message or part: what it says about the part, what rules ask for. */
#include "gate/app/smtp/mime.h"

#include <strings.h>

#define TOKENS_MAX 64 /* parameters that are looked at */

static const char *const fields[MIME_F_COUNT] = {
	[MIME_F_FROM] = "from",
	[MIME_F_TO] = "to",
	[MIME_F_CC] = "cc",
	[MIME_F_SUBJECT] = "subject",
	[MIME_F_DATE] = "date",
	[MIME_F_MESSAGE_ID] = "message-id",
	[MIME_F_X_MAILER] = "x-mailer",
	[MIME_F_RECEIVED] = "received",
};

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct gate_view trim(struct gate_view v)
{
	while (v.size && is_space(v.data[0])) {
		v.data++;
		v.size--;
	}
	while (v.size && is_space(v.data[v.size - 1])) {
		v.size--;
	}
	return v;
}

static bool is(struct gate_view v, const char *lower)
{
	return v.size == strlen(lower) && !strncasecmp((const char *)v.data, lower, v.size);
}

static bool begins(struct gate_view v, const char *lower)
{
	size_t len = strlen(lower);
	return v.size >= len && !strncasecmp((const char *)v.data, lower, len);
}

/* ---- parameters ---- */

/* Takes up to the next ';' that is not quoted. */
static struct gate_view take_token(struct gate_view *rest)
{
	bool quoted = false;
	uint32_t i = 0;
	for (; i < rest->size; i++) {
		uint8_t c = rest->data[i];
		if (c == '\\' && quoted && i + 1 < rest->size) {
			i++;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (c == ';' && !quoted) {
			break;
		}
	}
	struct gate_view token = {.data = rest->data, .size = i};
	uint32_t skip = i < rest->size ? i + 1 : i;
	rest->data += skip;
	rest->size -= skip;
	return trim(token);
}

struct out {
	uint8_t *data;
	uint32_t room, size;
};

static void put(struct out *out, uint8_t c)
{
	if (out->size < out->room) {
		out->data[out->size++] = c;
	}
}

static void put_quoted(struct out *out, struct gate_view v)
{
	if (!v.size || v.data[0] != '"') {
		for (uint32_t i = 0; i < v.size; i++) {
			put(out, v.data[i]);
		}
		return;
	}
	for (uint32_t i = 1; i < v.size && v.data[i] != '"'; i++) {
		if (v.data[i] == '\\' && i + 1 < v.size) {
			i++;
		}
		put(out, v.data[i]);
	}
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* charset'language'percent-encoded; only the first piece has the first two. */
static void put_extended(struct out *out, struct gate_view v, bool first)
{
	uint32_t i = 0;
	if (v.size >= 2 && v.data[0] == '"' && v.data[v.size - 1] == '"') {
		v.data++;
		v.size -= 2;
	}
	for (unsigned int quotes = 0; first && quotes < 2 && i < v.size; i++) {
		quotes += v.data[i] == '\'';
	}
	if (first && i == v.size) {
		i = 0; /* there is no charset: the value as it stands */
	}
	for (; i < v.size; i++) {
		int high = v.size - i > 2 ? hex(v.data[i + 1]) : -1;
		int low = v.size - i > 2 ? hex(v.data[i + 2]) : -1;
		if (v.data[i] == '%' && high >= 0 && low >= 0) {
			put(out, (uint8_t)(high << 4 | low));
			i += 2;
		} else {
			put(out, v.data[i]);
		}
	}
}

/* "name", "name*", "name*3", "name*3*": which piece it is (-1: none of ours). */
static int piece_of(struct gate_view key, const char *name, bool *ret_extended)
{
	size_t len = strlen(name);
	int number = 0;
	*ret_extended = false;
	if (!begins(key, name)) {
		return -1;
	}
	if (key.size == len) {
		return 0;
	}
	if (key.data[len] != '*') {
		return -1;
	}
	uint32_t i = (uint32_t)len + 1;
	for (; i < key.size && key.data[i] >= '0' && key.data[i] <= '9' && number < 1000; i++) {
		number = number * 10 + (key.data[i] - '0');
	}
	if (key.size == len + 1 || (i + 1 == key.size && key.data[i] == '*')) {
		*ret_extended = true;
		return number;
	}
	return i == key.size ? number : -1;
}

bool gate_mime_parameter(struct gate_view value, const char *name, uint8_t *ret, uint32_t room,
			 uint32_t *ret_size)
{
	struct out out = {.data = ret, .room = room};
	bool found = false;
	/* Pieces may stand in any order: look for the next number each time. */
	for (int next = 0; next < TOKENS_MAX; next++) {
		struct gate_view rest = value;
		bool here = false;
		(void)take_token(&rest);
		for (unsigned int i = 0; rest.size && i < TOKENS_MAX && !here; i++) {
			struct gate_view token = take_token(&rest);
			const uint8_t *eq = memchr(token.data, '=', token.size);
			bool extended;
			if (!eq) {
				continue;
			}
			uint32_t at = (uint32_t)(eq - token.data);
			struct gate_view key = trim((struct gate_view){token.data, at});
			if (piece_of(key, name, &extended) != next) {
				continue;
			}
			struct gate_view v = trim((struct gate_view){eq + 1, token.size - at - 1});
			here = found = true;
			if (extended) {
				put_extended(&out, v, !next);
			} else {
				put_quoted(&out, v);
			}
		}
		if (!here) {
			break;
		}
	}
	*ret_size = out.size;
	return found;
}

/* ---- headers ---- */

static void take_name(struct mime *m, struct gate_view value, const char *parameter)
{
	uint8_t name[MIME_NAME_MAX + 1];
	uint32_t size;
	if (gate_mime_parameter(value, parameter, name, sizeof(name), &size) && size) {
		if (size > MIME_NAME_MAX) {
			m->events |= 1u << MIME_LONG_FILENAME;
		}
		gate_text_set(m->session, &m->name, name, size, MIME_NAME_MAX);
		m->attachment = true;
	}
}

static void take_boundary(struct mime *m, struct gate_view value)
{
	uint8_t text[MIME_BOUNDARY_MAX + 1];
	uint32_t size;
	if (!gate_mime_parameter(value, "boundary", text, sizeof(text), &size) || !size) {
		m->events |= 1u << MIME_MALFORMED_MSG;
		return;
	}
	if (size > MIME_BOUNDARY_MAX || m->depth == MIME_DEPTH_MAX) {
		m->events |=
			1u << (size > MIME_BOUNDARY_MAX ? MIME_LONG_BOUNDARY : MIME_MALFORMED_MSG);
		return;
	}
	m->boundaries[m->depth].size = (uint8_t)size;
	m->boundaries[m->depth].found = false;
	memcpy(m->boundaries[m->depth].text, text, size);
	m->depth++;
	m->multipart = true;
}

static void content_type(struct mime *m, struct gate_view value)
{
	struct gate_view rest = value;
	struct gate_view type = take_token(&rest);
	m->text = is(type, "text/plain") || is(type, "text/html");
	m->message = is(type, "message/rfc822");
	if ((begins(type, "multipart/") || is(type, "multipart")) && !m->multipart) {
		take_boundary(m, value);
	} else if (!m->name.size) {
		take_name(m, value, "name");
	}
}

static void content_disposition(struct mime *m, struct gate_view value)
{
	struct gate_view rest = value;
	if (is(take_token(&rest), "attachment")) {
		m->attachment = true;
	}
	take_name(m, value, "filename");
}

/* Without comments before it, or the quote that some put there. */
static struct gate_view bare(struct gate_view v)
{
	while (v.size && v.data[0] == '(') {
		const uint8_t *end = memchr(v.data, ')', v.size);
		uint32_t skip = end ? (uint32_t)(end - v.data) + 1 : v.size;
		v = trim((struct gate_view){v.data + skip, v.size - skip});
	}
	if (v.size && v.data[0] == '"') {
		v.data++;
		v.size--;
	}
	return v;
}

static void content_encoding(struct mime *m, struct gate_view value)
{
	struct gate_view word = bare(value);
	if (begins(word, "base64")) {
		m->encoding = MIME_BASE64;
	} else if (begins(word, "quoted-printable")) {
		m->encoding = MIME_QP;
	} else if (!is(word, "7bit") && !is(word, "8bit") && !is(word, "binary")) {
		m->events |= 1u << MIME_UNKNOWN_ENCODING;
	}
}

/* Of two that say it clients take the first or the last. */
static void tell_repeated(struct mime *m, bool *seen)
{
	if (*seen) {
		m->events |= 1u << MIME_FIELD_REPEATED;
	}
	*seen = true;
}

void gate_mime_header(struct mime *m)
{
	const uint8_t *colon = memchr(m->head.data, ':', m->head.size);
	if (!colon) {
		return;
	}
	uint32_t len = (uint32_t)(colon - m->head.data);
	struct gate_view name = trim((struct gate_view){m->head.data, len});
	struct gate_view value = trim((struct gate_view){colon + 1, m->head.size - len - 1});
	if (is(name, "content-type")) {
		tell_repeated(m, &m->has_type);
		content_type(m, value);
	} else if (is(name, "content-disposition")) {
		content_disposition(m, value);
	} else if (is(name, "content-transfer-encoding")) {
		tell_repeated(m, &m->has_encoding);
		content_encoding(m, value);
	}
	for (uint8_t f = 0; !m->nested && f < MIME_F_COUNT; f++) {
		struct mime_span span;
		if (is(name, fields[f]) && m->field_count < MIME_FIELDS_MAX &&
		    gate_mime_keep(m, value.data, value.size, &span)) {
			m->fields[m->field_count].span = span;
			m->fields[m->field_count++].field = f;
		}
	}
}
