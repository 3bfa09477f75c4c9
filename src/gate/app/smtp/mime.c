/* SPDX-License-Identifier: Apache-2.0 */
/* The structure of a message: which line is a header, a boundary, a body. See mime.h. */
#include "gate/app/smtp/mime.h"

#include "base/util.h"

#define NAME_LEN_MAX  75   /* of a header: more is odd (Suricata's limits) */
#define VALUE_LEN_MAX 2000 /* of a header */
#define LINE_LEN_MAX  998  /* of any, RFC 5322 */

/* ---- the hash of the body: all that is behind the message's own headers, as it is sent ---- */

static void md5_begin(struct mime *m)
{
	m->md5 = EVP_MD_CTX_new();
	if (m->md5 && EVP_DigestInit_ex(m->md5, EVP_md5(), NULL) != 1) {
		EVP_MD_CTX_free(m->md5);
		m->md5 = NULL;
	}
}

static void md5_line(struct mime *m, const uint8_t *line, uint32_t size)
{
	if (m->md5 && m->in_body) {
		(void)EVP_DigestUpdate(m->md5, line, size);
	}
}

static void md5_end(struct mime *m)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	if (m->md5 && m->in_body && EVP_DigestFinal_ex(m->md5, sum, NULL) == 1) {
		bh_hex_format(sum, 16, m->body_md5);
	}
	EVP_MD_CTX_free(m->md5);
	m->md5 = NULL;
}

struct mime *gate_mime_new(struct gate_session *session, struct gate_tx *tx)
{
	struct mime *m = gate_session_alloc(session, sizeof(*m));
	if (m) {
		m->session = session;
		m->tx = tx;
		m->text = true;
		if (gate_file_wanted(session, GATE_FILE_MAIL_MD5)) {
			md5_begin(m);
		}
	}
	return m;
}

void gate_mime_free(struct mime *m)
{
	if (!m) {
		return;
	}
	gate_text_free(m->session, &m->kept);
	gate_text_free(m->session, &m->head);
	gate_text_free(m->session, &m->name);
	gate_text_free(m->session, &m->line);
	EVP_MD_CTX_free(m->md5);
	gate_session_release(m->session, m, sizeof(*m));
}

bool gate_mime_keep(struct mime *m, const void *data, uint32_t size, struct mime_span *ret)
{
	if (m->kept.size + size > MIME_KEPT_MAX) {
		return false;
	}
	*ret = (struct mime_span){.at = m->kept.size, .size = size};
	return gate_text_add(m->session, &m->kept, data, size, MIME_KEPT_MAX);
}

bool gate_mime_field(const struct mime *m, enum mime_field field, uint32_t index,
		     struct gate_view *ret)
{
	for (unsigned int i = 0; m && i < m->field_count; i++) {
		if (m->fields[i].field == field && !index--) {
			*ret = gate_mime_span(m, m->fields[i].span);
			return true;
		}
	}
	return false;
}

/* ---- parts ---- */

static void part_end(struct mime *m)
{
	gate_mime_body_end(m);
	if (m->file) {
		gate_file_close(m->session, m->file, GATE_FILE_CLOSED);
	}
	m->file = NULL;
	m->name.size = 0;
	m->encoding = MIME_PLAIN;
	m->attachment = m->multipart = m->message = m->broken = false;
	m->has_type = m->has_encoding = false;
	m->text = true; /* what does not say what it is */
	m->newline = m->quad_count = 0;
}

static void part_begin(struct mime *m)
{
	part_end(m);
	m->state = MIME_IN_HEADERS;
	m->nested = true;
}

static void headers_end(struct mime *m)
{
	struct mime_span span;
	if ((m->multipart || m->message) && m->encoding != MIME_PLAIN) {
		m->events |= 1u << MIME_ENCODED_MESSAGE;
	}
	m->in_body = true;
	if (m->multipart) {
		m->state = MIME_SKIP;
		return;
	}
	if (m->message && !m->attachment && m->encoding == MIME_PLAIN) {
		/* A message in the message: its headers come next. */
		m->nested = true;
		m->message = m->has_type = m->has_encoding = false;
		m->text = true;
		return;
	}
	m->state = MIME_IN_BODY;
	/* What is no text is a file also where nobody named it: clients do that themselves. */
	if (!m->attachment && m->text) {
		return;
	}
	if (m->name.size && m->name_count < MIME_NAMES_MAX &&
	    gate_mime_keep(m, m->name.data, m->name.size, &span)) {
		m->names[m->name_count++] = span;
	}
	m->file = gate_file_open(m->session, m->tx, GATE_TO_SERVER, m->name.data, m->name.size);
}

/* Deeper ones are over with a line of an outer one. */
static void leave(struct mime *m, uint8_t depth)
{
	while (m->depth > depth) {
		if (!m->boundaries[--m->depth].found) {
			m->events |= 1u << MIME_NO_PART;
		}
	}
}

static bool is_behind_end(const struct mime *m, const uint8_t *line, uint32_t size)
{
	uint32_t len = m->boundaries[0].size;
	return !m->depth && m->state == MIME_SKIP && len && size >= len + 2 && line[0] == '-' &&
	       line[1] == '-' && !memcmp(line + 2, m->boundaries[0].text, len);
}

/* Does the line end a part? Deeper parts end with it. */
static bool boundary(struct mime *m, const uint8_t *line, uint32_t size)
{
	if (size < 2 || line[0] != '-' || line[1] != '-') {
		return false;
	}
	for (unsigned int i = m->depth; i-- > 0;) {
		uint32_t len = m->boundaries[i].size;
		if (size - 2 < len || memcmp(line + 2, m->boundaries[i].text, len) != 0) {
			continue;
		}
		const uint8_t *rest = line + 2 + len;
		uint32_t left = size - 2 - len;
		if (left >= 2 && rest[0] == '-' && rest[1] == '-') {
			part_end(m);
			leave(m, (uint8_t)i);
			m->state = MIME_SKIP;
			return true;
		}
		if (left && rest[0] != ' ' && rest[0] != '\t') {
			continue; /* another, longer one */
		}
		m->boundaries[i].found = true;
		leave(m, (uint8_t)(i + 1));
		part_begin(m);
		return true;
	}
	return false;
}

/* ---- lines ---- */

static void header_line(struct mime *m, const uint8_t *line, uint32_t size, uint8_t newline)
{
	if (m->mid_line) {
		(void)gate_text_add(m->session, &m->head, line, size, MIME_HEADER_MAX);
		return;
	}
	bool folded = size && (line[0] == ' ' || line[0] == '\t') && m->head.size;
	if (folded) {
		(void)gate_text_add(m->session, &m->head, line, size, MIME_HEADER_MAX);
		return;
	}
	if (m->head.size) {
		gate_mime_header(m);
		m->head.size = 0;
	}
	if (!size && newline) {
		headers_end(m);
		return;
	}
	const uint8_t *colon = memchr(line, ':', size);
	if (!colon) {
		m->events |= 1u << MIME_MALFORMED_MSG;
		m->drop_line = true;
		return;
	}
	if (colon - line > NAME_LEN_MAX) {
		m->events |= 1u << MIME_LONG_HEADER_NAME;
	}
	if (size > VALUE_LEN_MAX) {
		m->events |= 1u << MIME_LONG_HEADER_VALUE;
	}
	(void)gate_text_add(m->session, &m->head, line, size, MIME_HEADER_MAX);
}

void gate_mime_line(struct mime *m, const uint8_t *line, uint32_t size, uint8_t newline)
{
	if (m->ended) {
		return;
	}
	md5_line(m, line, size + newline);
	if (size > LINE_LEN_MAX) {
		m->events |= 1u << MIME_LONG_LINE;
	}
	if (!m->binary && memchr(line, '\r', size)) {
		m->events |= 1u << MIME_BARE_CR;
	}
	if (!m->binary && memchr(line, 0, size)) {
		m->events |= 1u << MIME_NUL;
	}
	if (!m->mid_line) {
		m->drop_line = false;
		if (is_behind_end(m, line, size)) {
			m->events |= 1u << MIME_PART_BEHIND_END;
		}
		if (m->depth && boundary(m, line, size)) {
			m->head.size = 0;
			m->drop_line = true;
		}
	}
	if (!m->drop_line) {
		if (m->state == MIME_IN_HEADERS) {
			header_line(m, line, size, newline);
		} else if (m->state == MIME_IN_BODY) {
			gate_mime_body(m, line, size, newline);
		}
	}
	m->mid_line = !newline;
}

void gate_mime_end(struct mime *m)
{
	if (m->ended) {
		return;
	}
	if (m->state == MIME_IN_HEADERS && m->head.size) {
		gate_mime_header(m);
	}
	part_end(m);
	leave(m, 0);
	md5_end(m);
	m->ended = true;
}
