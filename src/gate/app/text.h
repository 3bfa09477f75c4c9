/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a session that grow up to a limit: lines, names and values that parsers keep. */
#ifndef BH_GATE_APP_TEXT_H
#define BH_GATE_APP_TEXT_H

#include "gate/app/app.h"

#include <string.h>

struct gate_text {
	uint8_t *data; /* of the session's memory */
	uint32_t size, capacity;
};

/* What does not fit below max (or finds no memory) is left out: false then. */
static inline bool gate_text_add(struct gate_session *session, struct gate_text *text,
				 const void *data, uint32_t size, uint32_t max)
{
	uint32_t room = text->size < max ? max - text->size : 0;
	uint32_t take = size < room ? size : room;
	if (text->size + take > text->capacity) {
		uint32_t capacity = text->capacity ? text->capacity * 2 : 32;
		while (capacity < text->size + take) {
			capacity *= 2;
		}
		uint8_t *grown = gate_session_grow(session, text->data, text->capacity, capacity);
		if (!grown) {
			return false;
		}
		text->data = grown;
		text->capacity = capacity;
	}
	if (take) {
		memcpy(text->data + text->size, data, take);
		text->size += take;
	}
	return take == size;
}

static inline void gate_text_free(struct gate_session *session, struct gate_text *text)
{
	gate_session_release(session, text->data, text->capacity);
	*text = (struct gate_text){};
}

static inline void gate_text_set(struct gate_session *session, struct gate_text *text,
				 const void *data, uint32_t size, uint32_t max)
{
	text->size = 0;
	(void)gate_text_add(session, text, data, size, max);
}

static inline struct gate_view gate_text_view(const struct gate_text *text)
{
	return (struct gate_view){.data = text->data, .size = text->size};
}

/* The value of a buffer: true when there is one. */
static inline bool gate_text_buffer(const struct gate_text *text, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = text->data, .size = text->size, .complete = true};
	return text->size > 0;
}

#endif
