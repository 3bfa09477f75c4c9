/* SPDX-License-Identifier: Apache-2.0 */
/* SMTP's parser as the engine sees it: detection, lines, buffers. See smtp.h. */
#include "gate/app/smtp/smtp.h"

#include <strings.h>

static const struct gate_app_event events[SMTP_EVENTS] = {
	[SMTP_INVALID_REPLY] = {"invalid_reply", "a reply without a known code"},
	[SMTP_UNABLE_TO_MATCH_REPLY] = {"unable_to_match_reply_with_request",
					"a reply to no command"},
	[SMTP_MAX_COMMAND_LINE] = {"max_command_line_len_exceeded",
				   "a command of more than 510 bytes"},
	[SMTP_MAX_REPLY_LINE] = {"max_reply_line_len_exceeded", "a reply of more than 510 bytes"},
	[SMTP_INVALID_PIPELINED] = {"invalid_pipelined_sequence",
				    "a command behind one that must be the last of its group"},
	[SMTP_BDAT_CHUNK_LEN] = {"bdat_chunk_len_exceeded", "a BDAT chunk is no number"},
	[SMTP_NO_WELCOME] = {"no_server_welcome_message", "the server did not begin with 220"},
	[SMTP_TLS_REJECTED] = {"tls_rejected", "STARTTLS was rejected"},
	[SMTP_DATA_REJECTED] = {"data_command_rejected", "DATA was rejected"},
	[SMTP_FAILED_CHANGE] = {"failed_protocol_change", "TLS was not begun"},
	[SMTP_MIME + MIME_PARSE_FAILED] = {"mime_parse_failed", "the message can't be read"},
	[SMTP_MIME + MIME_MALFORMED_MSG] = {"mime_malformed_msg", "the message is malformed"},
	[SMTP_MIME + MIME_INVALID_BASE64] = {"mime_invalid_base64", "base64 with other characters"},
	[SMTP_MIME + MIME_INVALID_QP] = {"mime_invalid_qp", "invalid quoted-printable"},
	[SMTP_MIME + MIME_LONG_LINE] = {"mime_long_line", "a line of more than 998 bytes"},
	[SMTP_MIME + MIME_LONG_ENC_LINE] = {"mime_long_enc_line",
					    "an encoded line of more than 76 bytes"},
	[SMTP_MIME + MIME_LONG_HEADER_NAME] = {"mime_long_header_name",
					       "a header's name of more than 75 bytes"},
	[SMTP_MIME + MIME_LONG_HEADER_VALUE] = {"mime_long_header_value",
						"a header of more than 2000 bytes"},
	[SMTP_MIME +
		MIME_LONG_BOUNDARY] = {"mime_long_boundary", "a boundary of more than 254 bytes"},
	[SMTP_MIME + MIME_LONG_FILENAME] = {"mime_long_filename",
					    "a file's name of more than 255 bytes"},
	/* ours */
	[SMTP_MIME + MIME_NO_PART] = {"mime_no_part", "a multipart without any part"},
	[SMTP_MIME + MIME_PART_BEHIND_END] = {"mime_part_behind_end",
					      "a part behind the end of the message's parts"},
	[SMTP_MIME + MIME_FIELD_REPEATED] = {"mime_field_repeated",
					     "a second Content-Type or Content-Transfer-Encoding"},
	[SMTP_MIME + MIME_UNKNOWN_ENCODING] = {"mime_unknown_encoding",
					       "an encoding that is not undone"},
	[SMTP_MIME + MIME_ENCODED_MESSAGE] = {"mime_encoded_message",
					      "parts or a message in base64 or quoted-printable"},
	[SMTP_MIME + MIME_UUENCODED] = {"mime_uuencoded", "a uuencoded file, not undone"},
	[SMTP_MIME + MIME_BARE_CR] = {"mime_bare_cr", "a CR without LF"},
	[SMTP_MIME + MIME_NUL] = {"mime_nul", "a byte of zero in a message that is no BDAT"},
	[SMTP_DUPLICATE_FIELDS] = {"duplicate_fields", "MAIL FROM or HELO came again"},
	[SMTP_UNPARSABLE] = {"unparsable_content", "DATA in DATA"},
	[SMTP_TRUNCATED_LINE] = {"truncated_line", "a line of more than 4096 bytes"},
};

static const char *const states[] = {"started", "complete", NULL};
static const uint16_t ports[] = {25, 465, 587, 2525, 0};
static const char *const client_patterns[] = {"EHLO", "HELO", "QUIT", NULL};

/* ---- which protocol ---- */

static bool has(const uint8_t *data, uint32_t size, const char *word)
{
	uint32_t len = (uint32_t)strlen(word);
	const uint8_t *end = memchr(data, '\n', size);
	uint32_t line = end ? (uint32_t)(end - data) : size;
	for (uint32_t i = 0; i + len <= line && i < 512; i++) {
		if (!strncasecmp((const char *)data + i, word, len)) {
			return true;
		}
	}
	return false;
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	bool ours = false;
	if (dir == GATE_TO_SERVER) {
		if (size < 4) {
			return GATE_PROBE_MORE;
		}
		return !strncasecmp((const char *)data, "EHLO", 4) ||
				       !strncasecmp((const char *)data, "HELO", 4) ||
				       (!strncasecmp((const char *)data, "QUIT", 4) && port != 21)
			       ? GATE_PROBE_YES
			       : GATE_PROBE_NO;
	}
	for (const uint16_t *p = ports; *p; p++) {
		ours |= *p == port;
	}
	if (memcmp(data, "220", size < 3 ? size : 3) != 0) {
		return GATE_PROBE_NO;
	}
	if (size < 5) {
		return GATE_PROBE_MORE;
	}
	if (data[3] != ' ' && data[3] != '-') {
		return GATE_PROBE_NO;
	}
	return ours || has(data, size, "SMTP") ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- lines ---- */

bool gate_smtp_line(struct smtp_conn *conn, enum gate_dir dir, const uint8_t *data, uint32_t size,
		    struct smtp_line *ret)
{
	uint32_t from = conn->scanned[dir] < size ? conn->scanned[dir] : 0;
	const uint8_t *end = size ? memchr(data + from, '\n', size - from) : NULL;
	conn->scanned[dir] = 0;
	if (!end && size < SMTP_LINE_MAX) {
		conn->scanned[dir] = size;
		return false;
	}
	*ret = (struct smtp_line){.data = data, .size = size};
	if (end && end - data < SMTP_LINE_MAX) {
		bool cr = end > data && end[-1] == '\r';
		ret->size = (uint32_t)(end - data) - cr;
		ret->newline = (uint8_t)(1 + cr);
	} else {
		/* The CR of a line's end must not be torn off. */
		ret->size = SMTP_LINE_MAX - 1;
	}
	return true;
}

void gate_smtp_event(struct smtp_conn *conn, uint16_t event)
{
	struct gate_tx *tx = conn->tx ? &conn->tx->tx : gate_session_last(conn->session);
	if (tx) {
		gate_tx_event(conn->session, tx, event);
	}
}

void gate_smtp_complete(struct smtp_conn *conn)
{
	struct smtp_tx *tx = conn->tx;
	if (!tx) {
		return;
	}
	if (tx->mime) {
		gate_mime_end(tx->mime);
		for (uint16_t e = 0; e < MIME_EVENTS; e++) {
			if (tx->mime->events & (1u << e)) {
				gate_tx_event(conn->session, &tx->tx, (uint16_t)(SMTP_MIME + e));
			}
		}
	}
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
	conn->tx = NULL;
}

/* ---- the session ---- */

static void *smtp_new(struct gate_session *session)
{
	struct smtp_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
	}
	return conn;
}

static void smtp_free(struct gate_session *session, void *state)
{
	struct smtp_conn *conn = state;
	gate_text_free(session, &conn->helo);
	gate_session_release(session, conn, sizeof(*conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gtx)
{
	struct smtp_tx *tx = (struct smtp_tx *)gtx;
	if (tx->conn->tx == tx) {
		tx->conn->tx = NULL;
	}
	gate_mime_free(tx->mime);
	gate_text_free(session, &tx->mail_from);
	gate_text_free(session, &tx->rcpts);
}

/* After a gap nothing counts up to the next line's end. */
static uint32_t after_gap(struct smtp_conn *conn, enum gate_dir dir,
			  const struct gate_app_input *in)
{
	const uint8_t *end = memchr(in->data, '\n', in->size);
	if (!end) {
		return in->size;
	}
	conn->gap[dir] = false;
	return (uint32_t)(end - in->data) + 1;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct smtp_conn *conn = state;
	if (in->gap) {
		conn->scanned[dir] = 0;
		conn->gap[dir] = true;
		if (dir == GATE_TO_SERVER) {
			if (conn->tx && conn->tx->mime) {
				gate_file_gap(session, conn->tx->mime->file, in->gap);
			}
			conn->bdat_left -= conn->bdat_left < in->gap ? conn->bdat_left : in->gap;
			conn->gap[dir] = !conn->bdat_left;
		}
		return 0;
	}
	if (!in->size) {
		return 0;
	}
	if (conn->tls) {
		return in->size; /* until the change takes effect */
	}
	if (conn->gap[dir]) {
		return after_gap(conn, dir, in);
	}
	return dir == GATE_TO_SERVER ? gate_smtp_request(conn, in) : gate_smtp_reply(conn, in);
}

/* ---- what rules ask ---- */

static bool email(const struct smtp_tx *tx, enum mime_field field, uint32_t index,
		  struct gate_buffer_view *ret)
{
	struct gate_view v;
	if (!gate_mime_field(tx->mime, field, index, &v)) {
		return false;
	}
	*ret = (struct gate_buffer_view){.data = v.data, .size = v.size, .complete = true};
	return true;
}

static bool span(const uint8_t *data, struct mime_span s, struct gate_buffer_view *ret)
{
	/* Nothing was said yet: nothing to stand in. */
	*ret = (struct gate_buffer_view){
		.data = data ? data + s.at : NULL, .size = s.size, .complete = true};
	return true;
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	static const struct {
		enum gate_buffer buffer;
		enum mime_field field;
	} fields[] = {
		{GATE_BUF_EMAIL_FROM, MIME_F_FROM},
		{GATE_BUF_EMAIL_TO, MIME_F_TO},
		{GATE_BUF_EMAIL_CC, MIME_F_CC},
		{GATE_BUF_EMAIL_SUBJECT, MIME_F_SUBJECT},
		{GATE_BUF_EMAIL_DATE, MIME_F_DATE},
		{GATE_BUF_EMAIL_RECEIVED, MIME_F_RECEIVED},
		{GATE_BUF_EMAIL_MESSAGE_ID, MIME_F_MESSAGE_ID},
		{GATE_BUF_EMAIL_X_MAILER, MIME_F_X_MAILER},
	};
	const struct smtp_tx *tx = (const struct smtp_tx *)gtx;
	if (dir != GATE_TO_SERVER) {
		return false;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].buffer == which) {
			return email(tx, fields[i].field, index, ret);
		}
	}
	switch (which) {
	case GATE_BUF_SMTP_HELO:
		return gate_text_buffer(&tx->conn->helo, ret);
	case GATE_BUF_SMTP_MAIL_FROM:
		return gate_text_buffer(&tx->mail_from, ret);
	case GATE_BUF_SMTP_RCPT_TO:
		return index < tx->rcpt_count && span(tx->rcpts.data, tx->rcpt[index], ret);
	case GATE_BUF_EMAIL_BODY_MD5:
		*ret = (struct gate_buffer_view){.complete = true};
		ret->data = tx->mime ? (const uint8_t *)tx->mime->body_md5 : NULL;
		ret->size = tx->mime ? (uint32_t)strlen(tx->mime->body_md5) : 0;
		return ret->size;
	case GATE_BUF_EMAIL_URL:
		return tx->mime && index < tx->mime->url_count &&
		       span(tx->mime->kept.data, tx->mime->urls[index], ret);
	default:
		return false;
	}
}

const struct gate_app_ops gate_smtp_ops = {
	.app = GATE_APP_SMTP,
	.name = "smtp",
	.log = "smtp",
	.transports = 1,
	.states = {states, states},
	.events = events,
	.event_count = SMTP_EVENTS,
	.ports = ports,
	.patterns = {client_patterns, NULL},
	.probe = probe,
	.new = smtp_new,
	.free = smtp_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = gate_smtp_log,
};
