/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a transaction: growing pieces, spans of them, comparisons in either case. */
#include "gate/app/http1/http1.h"

#include <string.h>

bool gate_http1_add(struct http_tx *tx, struct http_text *text, const void *data, uint32_t size)
{
	if (!size) {
		return true;
	}
	if (size > UINT32_MAX / 4 - text->size) {
		return false;
	}
	if (text->size + size > text->capacity) {
		uint32_t capacity = text->capacity ? text->capacity * 2 : 256;
		while (capacity < text->size + size) {
			capacity *= 2;
		}
		uint8_t *grown =
			gate_session_grow_raw(tx->session, text->data, text->capacity, capacity);
		if (!grown) {
			return false;
		}
		text->data = grown;
		text->capacity = capacity;
	}
	memcpy(text->data + text->size, data, size);
	text->size += size;
	return true;
}

void gate_http1_text_free(struct http_tx *tx, struct http_text *text)
{
	gate_session_release(tx->session, text->data, text->capacity);
	memset(text, 0, sizeof(*text));
}

struct gate_view gate_http1_view(const struct http_side *side, const struct http_span *span)
{
	const struct http_text *text = span->made ? &side->made : &side->raw;
	if (!span->is || span->at > text->size || span->size > text->size - span->at) {
		return (struct gate_view){.data = (const uint8_t *)""};
	}
	if (!span->size) {
		return (struct gate_view){.data = (const uint8_t *)""};
	}
	return (struct gate_view){.data = text->data + span->at, .size = span->size};
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool gate_http1_equals(struct gate_view a, const char *b)
{
	uint32_t i = 0;
	while (i < a.size && b[i] && lower(a.data[i]) == (uint8_t)b[i]) {
		i++;
	}
	return i == a.size && !b[i];
}

/* Behind what of a is b, NULs left out; NULL: a is something else. */
static const uint8_t *behind(struct gate_view a, const char *b)
{
	uint32_t i = 0;
	for (; i < a.size && *b; i++) {
		if (a.data[i] && lower(a.data[i]) != (uint8_t)*b) {
			return NULL;
		}
		b += a.data[i] != 0;
	}
	return *b ? NULL : a.data + i;
}

bool gate_http1_is(struct gate_view a, const char *b)
{
	const uint8_t *end = behind(a, b);
	while (end && end < a.data + a.size && !*end) {
		end++;
	}
	return end == a.data + a.size;
}

bool gate_http1_has(struct gate_view a, const char *b)
{
	for (; a.size; a.data++, a.size--) {
		if (behind(a, b)) {
			return true;
		}
	}
	return false;
}

void gate_http1_event(struct http_tx *tx, enum http_event event)
{
	gate_tx_event(tx->session, &tx->tx, (uint16_t)event);
}

struct gate_view gate_http1_trim(struct gate_view v)
{
	while (v.size && http_is_space(v.data[0])) {
		v.data++;
		v.size--;
	}
	while (v.size && http_is_space(v.data[v.size - 1])) {
		v.size--;
	}
	return v;
}

bool gate_http1_has_header(const struct http_side *side, enum http_known known)
{
	return side->known[known] != 0;
}

struct gate_view gate_http1_header(const struct http_side *side, enum http_known known)
{
	if (!side->known[known]) {
		return (struct gate_view){.data = (const uint8_t *)""};
	}
	return gate_http1_view(side, &side->headers[side->known[known] - 1].value);
}
