/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side: commands, DATA, BDAT. */
#include "gate/app/frame.h"
#include "gate/app/smtp/smtp.h"
#include "gate/config.h"

#include <strings.h>

static bool begins(const struct smtp_line *line, const char *word)
{
	uint32_t len = (uint32_t)strlen(word);
	return line->size >= len && !strncasecmp((const char *)line->data, word, len);
}

static enum smtp_command command_of(const struct smtp_line *line)
{
	static const struct {
		const char *word;
		enum smtp_command command;
	} words[] = {
		{"starttls", SMTP_C_STARTTLS}, {"data", SMTP_C_DATA}, {"bdat", SMTP_C_BDAT},
		{"helo", SMTP_C_HELO},	       {"ehlo", SMTP_C_HELO}, {"mail from", SMTP_C_MAIL},
		{"rcpt to", SMTP_C_RCPT},      {"rset", SMTP_C_RSET}, {"quit", SMTP_C_QUIT},
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (begins(line, words[i].word)) {
			return words[i].command;
		}
	}
	return SMTP_C_OTHER;
}

static void pending_add(struct smtp_conn *conn, enum smtp_command command)
{
	if (conn->count == SMTP_PENDING_MAX) {
		/* Nobody replies: the oldest is forgotten. */
		conn->first = (uint8_t)((conn->first + 1) % SMTP_PENDING_MAX);
		conn->count--;
	}
	conn->pending[(conn->first + conn->count) % SMTP_PENDING_MAX] = (uint8_t)command;
	conn->count++;
}

/* The last of those that wait for a reply; OTHER when there is none. */
static enum smtp_command pending_last(const struct smtp_conn *conn)
{
	if (!conn->count) {
		return SMTP_C_OTHER;
	}
	return (enum smtp_command)conn->pending[(conn->first + conn->count - 1) % SMTP_PENDING_MAX];
}

/* ---- parameters ---- */

static struct gate_view skip_spaces(struct gate_view v)
{
	while (v.size && (v.data[0] == ' ' || v.data[0] == '\t')) {
		v.data++;
		v.size--;
	}
	return v;
}

/* The word behind `from` bytes of the line. */
static struct gate_view word_behind(const struct smtp_line *line, uint32_t from)
{
	struct gate_view v = {.data = line->data + from, .size = line->size - from};
	uint32_t len = 0;
	v = skip_spaces(v);
	while (len < v.size && v.data[len] != ' ' && v.data[len] != '\t') {
		len++;
	}
	v.size = len;
	return v;
}

static void helo(struct smtp_conn *conn, const struct smtp_line *line)
{
	struct gate_view v = word_behind(line, 4);
	if (conn->helo.size) {
		gate_smtp_event(conn, SMTP_DUPLICATE_FIELDS);
		return;
	}
	gate_text_set(conn->session, &conn->helo, v.data, v.size, SMTP_ADDRESS_MAX);
}

static void mail_from(struct smtp_conn *conn, const struct smtp_line *line)
{
	const uint8_t *colon = memchr(line->data, ':', line->size);
	struct gate_view v = {};
	if (conn->tx->mail_from.size) {
		gate_smtp_event(conn, SMTP_DUPLICATE_FIELDS);
		return;
	}
	if (colon) {
		v = word_behind(line, (uint32_t)(colon - line->data) + 1);
	}
	gate_text_set(conn->session, &conn->tx->mail_from, v.data, v.size, SMTP_ADDRESS_MAX);
}

static void rcpt_to(struct smtp_conn *conn, const struct smtp_line *line)
{
	const uint8_t *colon = memchr(line->data, ':', line->size);
	struct smtp_tx *tx = conn->tx;
	if (!colon || tx->rcpt_count == SMTP_RCPTS_MAX) {
		return;
	}
	struct gate_view v = word_behind(line, (uint32_t)(colon - line->data) + 1);
	uint32_t at = tx->rcpts.size;
	if (gate_text_add(conn->session, &tx->rcpts, v.data, v.size,
			  SMTP_RCPTS_MAX * SMTP_ADDRESS_MAX)) {
		tx->rcpt[tx->rcpt_count++] = (struct mime_span){.at = at, .size = v.size};
	}
}

static void mime_begin(struct smtp_conn *conn)
{
	struct smtp_tx *tx = conn->tx;
	if (!tx->mime && gate_session_config(conn->session)->smtp_decode_mime) {
		tx->mime = gate_mime_new(conn->session, &tx->tx);
	}
}

static void data(struct smtp_conn *conn)
{
	if (conn->tx->data) {
		gate_smtp_event(conn, SMTP_UNPARSABLE);
		return;
	}
	conn->tx->data = true;
	mime_begin(conn);
	/* else the reply says whether it begins */
	conn->in_data = conn->pipelining;
}

static void bdat(struct smtp_conn *conn, const struct smtp_line *line)
{
	struct gate_view v = word_behind(line, 4);
	uint64_t size = 0;
	uint32_t i = 0;
	for (; i < v.size && v.data[i] >= '0' && v.data[i] <= '9' && size < UINT32_MAX; i++) {
		size = size * 10 + (uint64_t)(v.data[i] - '0');
	}
	if (!i || i < v.size || size > UINT32_MAX) {
		gate_smtp_event(conn, SMTP_BDAT_CHUNK_LEN);
		return;
	}
	uint32_t behind = (uint32_t)(v.data - line->data) + v.size;
	struct gate_view last = word_behind(line, behind);
	conn->bdat_last = last.size == 4 && !strncasecmp((const char *)last.data, "last", 4);
	conn->bdat_left = size;
	conn->bdat_mid = false;
	conn->tx->data = true;
	mime_begin(conn);
	if (conn->tx->mime) {
		conn->tx->mime->binary = true;
	}
	if (!size && conn->bdat_last) {
		gate_smtp_complete(conn);
	}
}

/* ---- lines ---- */

static bool tx_begin(struct smtp_conn *conn, enum smtp_command command)
{
	if (conn->tx) {
		return true;
	}
	/* What only ends is no message of its own; the last transaction has it. */
	if ((command == SMTP_C_QUIT || command == SMTP_C_RSET) &&
	    gate_session_last(conn->session)) {
		return false;
	}
	conn->tx = (struct smtp_tx *)gate_tx_new(conn->session, sizeof(*conn->tx));
	if (conn->tx) {
		conn->tx->conn = conn;
	}
	return conn->tx;
}

static void command_line(struct smtp_conn *conn, const struct smtp_line *line)
{
	enum smtp_command command = command_of(line);
	enum smtp_command before = pending_last(conn);
	bool have = tx_begin(conn, command);
	if (line->size > SMTP_COMMAND_MAX) {
		gate_smtp_event(conn, SMTP_MAX_COMMAND_LINE);
	}
	/* These must be the last of a group (RFC 2920): STARTTLS above all. */
	if (before == SMTP_C_STARTTLS || (before == SMTP_C_DATA && !conn->in_data)) {
		gate_smtp_event(conn, SMTP_INVALID_PIPELINED);
	}
	pending_add(conn, command);
	if (!have) {
		return;
	}
	switch (command) {
	case SMTP_C_HELO:
		helo(conn, line);
		break;
	case SMTP_C_MAIL:
		mail_from(conn, line);
		break;
	case SMTP_C_RCPT:
		rcpt_to(conn, line);
		break;
	case SMTP_C_DATA:
		data(conn);
		break;
	case SMTP_C_BDAT:
		bdat(conn, line);
		break;
	case SMTP_C_RSET:
		gate_smtp_complete(conn);
		break;
	default:
		break;
	}
	if (conn->tx) {
		gate_tx_progress(conn->session, &conn->tx->tx, GATE_TO_SERVER, 0);
	}
}

static void data_line(struct smtp_conn *conn, const struct smtp_line *line)
{
	struct smtp_line l = *line;
	bool begin = !conn->mid_line[GATE_TO_SERVER];
	if (begin && l.newline && l.size == 1 && l.data[0] == '.') {
		conn->in_data = false;
		gate_frame_end(conn->session, GATE_TO_SERVER, GATE_BUF_FRAME_SMTP_DATA);
		pending_add(conn, SMTP_C_MESSAGE);
		gate_smtp_complete(conn);
		return;
	}
	gate_frame_add(conn->session, GATE_TO_SERVER, GATE_BUF_FRAME_SMTP_DATA, l.data,
		       l.size + l.newline);
	if (begin && l.size && l.data[0] == '.') {
		l.data++;
		l.size--;
	}
	if (conn->tx && conn->tx->mime) {
		gate_mime_line(conn->tx->mime, l.data, l.size, l.newline);
	}
}

/* A chunk's bytes; it knows nothing of lines' ends at its own end. */
static uint32_t bdat_data(struct smtp_conn *conn, const uint8_t *bytes, uint32_t size)
{
	uint32_t take = size < conn->bdat_left ? size : (uint32_t)conn->bdat_left;
	const uint8_t *end = memchr(bytes, '\n', take);
	struct smtp_line line = {.data = bytes};
	uint32_t used;
	if (end) {
		bool cr = end > bytes && end[-1] == '\r';
		line.newline = (uint8_t)(1 + cr);
		used = (uint32_t)(end - bytes) + 1;
		line.size = used - line.newline;
	} else if (take == conn->bdat_left || take >= SMTP_LINE_MAX) {
		used = line.size = take == conn->bdat_left ? take : SMTP_LINE_MAX - 1;
		/* a chunk that is not the last may end within a line */
		line.newline = 0;
	} else {
		return 0;
	}
	if (conn->tx && conn->tx->mime) {
		gate_mime_line(conn->tx->mime, line.data, line.size, line.newline);
	}
	conn->bdat_left -= used;
	if (!conn->bdat_left && conn->bdat_last) {
		gate_smtp_complete(conn);
	}
	return used;
}

int64_t gate_smtp_request(struct smtp_conn *conn, const struct gate_app_input *in)
{
	uint32_t at = 0;
	while (at < in->size) {
		struct smtp_line line;
		if (conn->bdat_left) {
			uint32_t n = bdat_data(conn, in->data + at, in->size - at);
			if (!n) {
				break;
			}
			at += n;
			continue;
		}
		/* DATA of which it is not known yet whether it is accepted is not waited for */
		if (!gate_smtp_line(conn, GATE_TO_SERVER, in->data + at, in->size - at, &line)) {
			break;
		}
		at += line.size + line.newline;
		if (conn->in_data) {
			data_line(conn, &line);
		} else if (!conn->mid_line[GATE_TO_SERVER]) {
			gate_frame_put(conn->session, GATE_TO_SERVER,
				       GATE_BUF_FRAME_SMTP_COMMAND_LINE, line.data,
				       line.size + line.newline);
			command_line(conn, &line);
			if (!line.newline) {
				gate_smtp_event(conn, SMTP_TRUNCATED_LINE);
			}
		}
		conn->mid_line[GATE_TO_SERVER] = !line.newline;
	}
	return at;
}
