/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data (RFC 7578) as it streams by: parts that have a file name become files.
 * What could be the beginning of a boundary is held back, no more; headers of a part are collected
 * up to MULTIPART_HEAD_MAX bytes.
 */
#include "gate/app/http1/http1.h"

#include <string.h>

enum multipart_state { MP_PREAMBLE, MP_AFTER, MP_HEAD, MP_CONTENT, MP_EPILOGUE };

struct http_multipart {
	enum multipart_state state;
	uint8_t token[MULTIPART_TOKEN_MAX + 4]; /* CR LF -- boundary */
	uint32_t token_size;
	uint8_t head[MULTIPART_HEAD_MAX]; /* bytes that are not through yet */
	uint32_t head_size;
	struct gate_file *file;
	bool named; /* the part is a file */
};

bool gate_http1_parameter(struct gate_view header, const char *name, struct gate_view *ret)
{
	uint32_t size = (uint32_t)strlen(name);
	for (uint32_t i = 0; i + size < header.size; i++) {
		struct gate_view at = {.data = header.data + i, .size = size};
		bool begins = !i || header.data[i - 1] == ';' || http_is_space(header.data[i - 1]);
		if (!begins || header.data[i + size] != '=' || !gate_http1_equals(at, name)) {
			continue;
		}
		uint32_t from = i + size + 1, end = from;
		if (from < header.size && (header.data[from] == '"' || header.data[from] == '\'')) {
			uint8_t quote = header.data[from];
			end = ++from;
			while (end < header.size && header.data[end] != quote) {
				end += header.data[end] == '\\' && end + 1 < header.size ? 2 : 1;
			}
		} else {
			while (end < header.size && header.data[end] != ';' &&
			       !http_is_space(header.data[end])) {
				end++;
			}
		}
		end = end > header.size ? header.size : end;
		*ret = (struct gate_view){.data = header.data + from, .size = end - from};
		return true;
	}
	return false;
}

struct http_multipart *gate_http1_multipart_new(struct http_tx *tx, struct gate_view content_type)
{
	struct gate_view boundary;
	if (!gate_http1_parameter(content_type, "boundary", &boundary) || !boundary.size ||
	    boundary.size > MULTIPART_TOKEN_MAX - 4) {
		gate_http1_event(tx, HTTP_EV_MULTIPART);
		return NULL;
	}
	struct http_multipart *m = gate_session_alloc(tx->session, sizeof(*m));
	if (!m) {
		return NULL;
	}
	memcpy(m->token, "\r\n--", 4);
	memcpy(m->token + 4, boundary.data, boundary.size);
	m->token_size = boundary.size + 4;
	/* the first boundary may stand at the very beginning */
	memcpy(m->head, "\r\n", 2);
	m->head_size = 2;
	return m;
}

void gate_http1_multipart_free(struct http_tx *tx, struct http_multipart *m)
{
	if (m) {
		gate_session_release(tx->session, m, sizeof(*m));
	}
}

static void part_end(struct http_tx *tx, struct http_multipart *m, bool whole)
{
	if (m->named && m->file && !m->file->size) {
		gate_http1_event(tx, HTTP_EV_MULTIPART_NO_FILE);
	}
	gate_file_close(tx->session, m->file, whole ? GATE_FILE_CLOSED : GATE_FILE_TRUNCATED);
	m->file = NULL;
	m->named = false;
}

/* The headers of a part, without the empty line. */
static void part_begin(struct http_tx *tx, struct http_multipart *m, struct gate_view head)
{
	struct gate_view name;
	bool has_disposition = false;
	for (uint32_t at = 0; at < head.size;) {
		const uint8_t *lf = memchr(head.data + at, '\n', head.size - at);
		uint32_t end = lf ? (uint32_t)(lf - head.data) : head.size;
		struct gate_view line = {.data = head.data + at, .size = end - at};
		at = end + 1;
		line = gate_http1_trim(line);
		struct gate_view key = {.data = line.data, .size = line.size < 19 ? 0 : 19};
		if (line.size && !memchr(line.data, ':', line.size)) {
			gate_http1_event(tx, HTTP_EV_MULTIPART_HEADER);
		}
		if (!key.size || !gate_http1_equals(key, "content-disposition")) {
			continue;
		}
		has_disposition = true;
		if (gate_http1_parameter(line, "filename", &name) && name.size) {
			m->named = true;
			m->file = gate_file_open(tx->session, &tx->tx, GATE_TO_SERVER, name.data,
						 name.size);
		}
	}
	if (!has_disposition) {
		gate_http1_event(tx, HTTP_EV_MULTIPART_HEADER);
	}
	m->state = MP_CONTENT;
}

/* Longest end of data that can be the beginning of the token. */
static uint32_t held_back(const struct http_multipart *m, const uint8_t *data, uint32_t size)
{
	uint32_t n = size < m->token_size - 1 ? size : m->token_size - 1;
	for (; n; n--) {
		if (!memcmp(data + size - n, m->token, n)) {
			return n;
		}
	}
	return 0;
}

/* Content up to the next boundary: how many bytes are through. */
static uint32_t content(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
			uint32_t size)
{
	const uint8_t *token = memmem(data, size, m->token, m->token_size);
	uint32_t end = token ? (uint32_t)(token - data) : size - held_back(m, data, size);
	if (m->file && end) {
		gate_file_append(tx->session, m->file, data, end);
	}
	if (!token) {
		return end;
	}
	if (m->state == MP_CONTENT) {
		part_end(tx, m, true);
	}
	m->state = MP_AFTER;
	return end + m->token_size;
}

/* Behind a boundary: "--" ends it all, else the line ends and headers follow. */
static uint32_t after(struct http_multipart *m, const uint8_t *data, uint32_t size)
{
	if (size < 2) {
		return 0;
	}
	if (data[0] == '-' && data[1] == '-') {
		m->state = MP_EPILOGUE;
		return size;
	}
	const uint8_t *lf = memchr(data, '\n', size);
	if (!lf) {
		return size > 64 ? size : 0;
	}
	m->state = MP_HEAD;
	return (uint32_t)(lf - data) + 1;
}

static uint32_t head(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
		     uint32_t size)
{
	if (size >= 2 && data[0] == '\r' && data[1] == '\n') {
		gate_http1_event(tx, HTTP_EV_MULTIPART_HEADER);
		m->state = MP_CONTENT;
		return 2;
	}
	const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
	if (end) {
		part_begin(tx, m, (struct gate_view){data, (uint32_t)(end - data)});
		return (uint32_t)(end - data) + 4;
	}
	if (size >= MULTIPART_HEAD_MAX) {
		gate_http1_event(tx, HTTP_EV_MULTIPART_HEADER);
		m->state = MP_CONTENT;
	}
	return 0;
}

static uint32_t step(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
		     uint32_t size)
{
	switch (m->state) {
	case MP_PREAMBLE:
	case MP_CONTENT:
		return content(tx, m, data, size);
	case MP_AFTER:
		return after(m, data, size);
	case MP_HEAD:
		return head(tx, m, data, size);
	default:
		return size;
	}
}

/* Runs over data as far as it goes; returns what is through. */
static uint32_t run(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
		    uint32_t size)
{
	uint32_t at = 0;
	while (at < size) {
		enum multipart_state before = m->state;
		uint32_t n = step(tx, m, data + at, size - at);
		at += n;
		if (!n && before == m->state) {
			break;
		}
	}
	return at;
}

void gate_http1_multipart_data(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
			       uint32_t size)
{
	/* What was held back first, with as much behind it as there is room. */
	while (m->head_size && size) {
		uint32_t room = MULTIPART_HEAD_MAX - m->head_size;
		uint32_t n = size < room ? size : room;
		uint32_t held = m->head_size;
		memcpy(m->head + held, data, n);
		uint32_t at = run(tx, m, m->head, held + n);
		if (at >= held) {
			/* the rest of it is still in data */
			m->head_size = 0;
			data += at - held;
			size -= at - held;
			break;
		}
		m->head_size = held + n - at;
		memmove(m->head, m->head + at, m->head_size);
		data += n;
		size -= n;
		if (m->head_size == MULTIPART_HEAD_MAX && !at) {
			/* can't be: no state holds back that much without end */
			m->head_size = 0;
		}
	}
	uint32_t at = size ? run(tx, m, data, size) : 0;
	uint32_t left = size - at;
	if (left && !m->head_size) {
		left = left > MULTIPART_HEAD_MAX ? MULTIPART_HEAD_MAX : left;
		memcpy(m->head, data + at, left);
		m->head_size = left;
	}
}

/* Bytes that are missing: whether a boundary was among them nobody knows. */
void gate_http1_multipart_gap(struct http_tx *tx, struct http_multipart *m, uint32_t size)
{
	if (m->file && m->head_size) {
		gate_file_append(tx->session, m->file, m->head, m->head_size);
	}
	m->head_size = 0;
	gate_file_gap(tx->session, m->file, size);
	if (m->state == MP_AFTER || m->state == MP_HEAD) {
		m->state = MP_CONTENT; /* of a part whose headers are not known */
	}
}

void gate_http1_multipart_end(struct http_tx *tx, struct http_multipart *m)
{
	if (m->state == MP_CONTENT && m->file && m->head_size) {
		gate_file_append(tx->session, m->file, m->head, m->head_size);
	}
	m->head_size = 0;
	part_end(tx, m, m->state == MP_EPILOGUE || m->state == MP_AFTER);
}
