/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a part: its encoding undone, into the file of an attachment or searched for URLs. */
#include "gate/app/smtp/mime.h"
#include "gate/base64.h"
#include "gate/config.h"

#include <strings.h>

#define ENCODED_LEN_MAX 76 /* of an encoded line, RFC 2045 */
#define CHUNK		512
#define TEXT_LINE_MAX	4096 /* in which URLs are looked for */
#define URL_MAX		2048

/* ---- URLs ---- */

static bool is_url(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("-_.~:/?#[]@!$&'()*+,;=%", c));
}

static void keep_url(struct mime *m, const uint8_t *data, uint32_t size)
{
	uint32_t len = 0;
	struct mime_span span;
	while (len < size && len < URL_MAX && is_url(data[len])) {
		len++;
	}
	if (memchr(data, '.', len) && m->url_count < MIME_URLS_MAX &&
	    gate_mime_keep(m, data, len, &span)) {
		m->urls[m->url_count++] = span;
	}
}

/* Is what stands before `end` one of those wanted? */
static bool is_scheme(const uint8_t *end, uint32_t before, uint8_t wanted)
{
	for (unsigned int i = 0; i < GATE_URL_SCHEMES; i++) {
		uint32_t len = (uint32_t)strlen(gate_url_schemes[i]);
		if ((wanted >> i & 1) && before >= len &&
		    !strncasecmp((const char *)end - len, gate_url_schemes[i], len)) {
			return true;
		}
	}
	return false;
}

/* As Suricata: the URL is kept without its scheme. */
static void find_urls(struct mime *m, const uint8_t *data, uint32_t size)
{
	uint8_t wanted = gate_session_config(m->session)->smtp_url_schemes;
	const uint8_t *at = data, *end = data + size;
	while (at < end && (at = memchr(at, ':', (size_t)(end - at)))) {
		uint32_t left = (uint32_t)(end - at);
		if (left > 3 && at[1] == '/' && at[2] == '/' &&
		    is_scheme(at, (uint32_t)(at - data), wanted ? wanted : 1)) {
			keep_url(m, at + 3, left - 3);
		}
		at++;
	}
}

static void text_flush(struct mime *m)
{
	if (m->line.size) {
		find_urls(m, m->line.data, m->line.size);
		m->line.size = 0;
	}
}

static void text_out(struct mime *m, const uint8_t *data, uint32_t size)
{
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		uint32_t len = end ? (uint32_t)(end - data) : size;
		(void)gate_text_add(m->session, &m->line, data, len, TEXT_LINE_MAX);
		if (end || m->line.size >= TEXT_LINE_MAX) {
			text_flush(m);
		}
		len += end ? 1 : 0;
		data += len;
		size -= len;
	}
}

static void out(struct mime *m, const void *data, uint32_t size)
{
	if (m->file) {
		gate_file_append(m->session, m->file, data, size);
	} else if (m->text) {
		text_out(m, data, size);
	}
}

/* ---- encodings ---- */

static uint32_t base64_quad(const uint8_t quad[4], uint8_t count, uint8_t *ret)
{
	uint32_t v = (uint32_t)quad[0] << 18 | (uint32_t)quad[1] << 12;
	v |= (count > 2 ? (uint32_t)quad[2] << 6 : 0) | (count > 3 ? quad[3] : 0u);
	ret[0] = (uint8_t)(v >> 16);
	ret[1] = (uint8_t)(v >> 8);
	ret[2] = (uint8_t)v;
	return count > 1 ? count - 1u : 0;
}

/* Characters that are none of the alphabet are passed over (RFC 2045, 6.8) and told. */
static void base64_line(struct mime *m, const uint8_t *line, uint32_t size)
{
	uint8_t buf[CHUNK];
	uint32_t n = 0;
	for (uint32_t i = 0; i < size; i++) {
		int v = gate_base64_value(line[i]);
		if (line[i] == '=') {
			n += base64_quad(m->quad, m->quad_count, buf + n);
			m->quad_count = 0;
		} else if (v >= 0) {
			m->quad[m->quad_count++] = (uint8_t)v;
		} else if (line[i] != ' ' && line[i] != '\t') {
			m->events |= 1u << MIME_INVALID_BASE64;
		}
		if (m->quad_count == 4) {
			n += base64_quad(m->quad, 4, buf + n);
			m->quad_count = 0;
		}
		if (n > CHUNK - 4) {
			out(m, buf, n);
			n = 0;
		}
	}
	out(m, buf, n);
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns whether the line ends with a soft break. */
static bool qp_line(struct mime *m, const uint8_t *line, uint32_t size, bool whole)
{
	uint8_t buf[CHUNK];
	uint32_t n = 0;
	while (whole && size && (line[size - 1] == ' ' || line[size - 1] == '\t')) {
		size--;
	}
	for (uint32_t i = 0; i < size; i++) {
		int high = size - i > 2 ? hex(line[i + 1]) : -1;
		int low = size - i > 2 ? hex(line[i + 2]) : -1;
		if (line[i] == '=' && i + 1 == size && whole) {
			out(m, buf, n);
			return true;
		}
		if (line[i] == '=' && high >= 0 && low >= 0) {
			buf[n++] = (uint8_t)(high << 4 | low);
			i += 2;
		} else {
			if (line[i] == '=') {
				m->events |= 1u << MIME_INVALID_QP;
			}
			buf[n++] = line[i];
		}
		if (n == CHUNK) {
			out(m, buf, n);
			n = 0;
		}
	}
	out(m, buf, n);
	return false;
}

/* ---- lines ---- */

/* "begin 644 name": clients take what follows for a file, which is not undone here. */
static bool is_uu_begin(const uint8_t *line, uint32_t size)
{
	static const char word[] = "begin ";
	uint32_t i = sizeof(word) - 1;
	if (size < i || memcmp(line, word, i) != 0) {
		return false;
	}
	while (i < size && line[i] >= '0' && line[i] <= '7') {
		i++;
	}
	return i >= sizeof(word) + 2 && i + 1 < size && line[i] == ' ';
}

void gate_mime_body(struct mime *m, const uint8_t *line, uint32_t size, uint8_t newline)
{
	if (!m->file && !m->text) {
		return;
	}
	if (!m->mid_line && m->encoding == MIME_PLAIN && is_uu_begin(line, size)) {
		m->events |= 1u << MIME_UUENCODED;
	}
	if (m->encoding != MIME_PLAIN && size > ENCODED_LEN_MAX) {
		m->events |= 1u << MIME_LONG_ENC_LINE;
	}
	/* The end of the line before a boundary belongs to the boundary. */
	if (m->newline) {
		out(m, &"\r\n"[2 - m->newline], m -> newline);
		m->newline = 0;
	}
	switch (m->encoding) {
	case MIME_BASE64:
		base64_line(m, line, size);
		break;
	case MIME_QP:
		if (!qp_line(m, line, size, newline > 0)) {
			m->newline = newline;
		}
		break;
	default:
		out(m, line, size);
		m->newline = newline;
		break;
	}
}

void gate_mime_body_end(struct mime *m)
{
	uint8_t rest[3];
	if (m->quad_count) {
		out(m, rest, base64_quad(m->quad, m->quad_count, rest));
		m->quad_count = 0;
	}
	text_flush(m);
}
