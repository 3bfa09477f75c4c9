/* SPDX-License-Identifier: Apache-2.0 */
/* The records `smtp` and, when there is a message, `email` beside it. */
#include "gate/app/smtp/smtp.h"

static void log_field(const struct mime *m, enum mime_field field, const char *key,
		      struct gate_jw *jw)
{
	struct gate_view v;
	if (gate_mime_field(m, field, 0, &v)) {
		gate_jw_bytes(jw, key, v.data, v.size);
	}
}

/* Addresses of a list: commas in quotes and comments don't part them. */
static void log_addresses(const struct mime *m, enum mime_field field, const char *key,
			  struct gate_jw *jw)
{
	struct gate_view v;
	bool quoted = false, angle = false;
	if (!gate_mime_field(m, field, 0, &v)) {
		return;
	}
	gate_jw_array(jw, key);
	uint32_t begin = 0;
	for (uint32_t i = 0; i <= v.size; i++) {
		uint8_t c = i < v.size ? v.data[i] : ',';
		quoted ^= c == '"';
		angle = c == '<' || (angle && c != '>');
		if (i < v.size && (c != ',' || quoted || angle)) {
			continue;
		}
		while (begin < i && (v.data[begin] <= ' ')) {
			begin++;
		}
		uint32_t end = i;
		while (end > begin && v.data[end - 1] <= ' ') {
			end--;
		}
		if (end > begin) {
			gate_jw_bytes(jw, NULL, v.data + begin, end - begin);
		}
		begin = i + 1;
	}
	gate_jw_end(jw);
}

static void log_spans(const struct mime *m, const struct mime_span *spans, uint8_t count,
		      const char *key, struct gate_jw *jw)
{
	if (!count) {
		return;
	}
	gate_jw_array(jw, key);
	for (unsigned int i = 0; i < count; i++) {
		struct gate_view v = gate_mime_span(m, spans[i]);
		gate_jw_bytes(jw, NULL, v.data, v.size);
	}
	gate_jw_end(jw);
}

static void log_received(const struct mime *m, struct gate_jw *jw)
{
	struct gate_view v;
	if (!gate_mime_field(m, MIME_F_RECEIVED, 0, &v)) {
		return;
	}
	gate_jw_array(jw, "received");
	for (uint32_t i = 0; gate_mime_field(m, MIME_F_RECEIVED, i, &v); i++) {
		gate_jw_bytes(jw, NULL, v.data, v.size);
	}
	gate_jw_end(jw);
}

static void log_email(const struct mime *m, struct gate_jw *jw)
{
	gate_jw_text(jw, "status", m->ended ? "PARSE_DONE" : "BODY_STARTED");
	log_field(m, MIME_F_FROM, "from", jw);
	log_addresses(m, MIME_F_TO, "to", jw);
	log_addresses(m, MIME_F_CC, "cc", jw);
	log_field(m, MIME_F_SUBJECT, "subject", jw);
	log_field(m, MIME_F_DATE, "date", jw);
	log_field(m, MIME_F_MESSAGE_ID, "message_id", jw);
	log_field(m, MIME_F_X_MAILER, "x_mailer", jw);
	log_received(m, jw);
	log_spans(m, m->names, m->name_count, "attachment", jw);
	log_spans(m, m->urls, m->url_count, "url", jw);
}

bool gate_smtp_log(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct smtp_tx *tx = (const struct smtp_tx *)gtx;
	if (tx->conn->helo.size) {
		gate_jw_bytes(jw, "helo", tx->conn->helo.data, tx->conn->helo.size);
	}
	if (tx->mail_from.size) {
		gate_jw_bytes(jw, "mail_from", tx->mail_from.data, tx->mail_from.size);
	}
	if (tx->rcpt_count) {
		gate_jw_array(jw, "rcpt_to");
		for (unsigned int i = 0; i < tx->rcpt_count; i++) {
			const uint8_t *rcpt =
				tx->rcpts.data ? tx->rcpts.data + tx->rcpt[i].at : NULL;
			gate_jw_bytes(jw, NULL, rcpt, tx->rcpt[i].size);
		}
		gate_jw_end(jw);
	}
	if (tx->mime) {
		/* `email` stands beside `smtp`: the caller closes what is open last. */
		gate_jw_end(jw);
		gate_jw_object(jw, "email");
		log_email(tx->mime, jw);
	}
	return true;
}
