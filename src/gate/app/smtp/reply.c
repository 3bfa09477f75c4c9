/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side: replies, and what they allow. */
#include "gate/app/frame.h"
#include "gate/app/smtp/smtp.h"

#include <strings.h>

#define REPLY_MAX 510

static const uint16_t codes[] = {
	211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 401, 402, 421, 432,
	435, 450, 451, 452, 454, 455, 500, 501, 502, 503, 504, 511, 521, 522,
	524, 525, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555,
};

static unsigned int code_of(const uint8_t *data, uint32_t size)
{
	unsigned int code = 0;
	for (unsigned int i = 0; i < 3; i++) {
		if (i >= size || data[i] < '0' || data[i] > '9') {
			return 0;
		}
		code = code * 10 + (unsigned int)(data[i] - '0');
	}
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i] == code) {
			return code;
		}
	}
	return 0;
}

bool gate_smtp_is_reply(const uint8_t *data, uint32_t size)
{
	return code_of(data, size) != 0;
}

static bool announces_pipelining(const struct smtp_line *line)
{
	static const char word[] = "PIPELINING";
	return line->size >= 4 + sizeof(word) - 1 &&
	       !strncasecmp((const char *)line->data + 4, word, sizeof(word) - 1);
}

static enum smtp_command pending_take(struct smtp_conn *conn)
{
	enum smtp_command command = (enum smtp_command)conn->pending[conn->first];
	conn->first = (uint8_t)((conn->first + 1) % SMTP_PENDING_MAX);
	conn->count--;
	return command;
}

static void start_tls(struct smtp_conn *conn)
{
	conn->tls = true;
	gate_smtp_complete(conn);
	gate_session_become(conn->session, GATE_APP_TLS);
}

static void reply_to(struct smtp_conn *conn, enum smtp_command command, unsigned int code)
{
	switch (command) {
	case SMTP_C_STARTTLS:
		if (code == 220) {
			start_tls(conn);
		} else {
			gate_smtp_event(conn, SMTP_TLS_REJECTED);
		}
		break;
	case SMTP_C_DATA:
		if (code == 354) {
			conn->in_data = conn->tx && conn->tx->data;
			break;
		}
		gate_smtp_event(conn, SMTP_DATA_REJECTED);
		if (conn->tx) {
			conn->tx->data = false;
		}
		/* a client that has not waited goes on with its message all the same */
		conn->in_data = conn->in_data && conn->pipelining;
		break;
	default:
		break;
	}
}

static void reply_line(struct smtp_conn *conn, const struct smtp_line *line)
{
	unsigned int code = code_of(line->data, line->size);
	if (line->size > REPLY_MAX) {
		gate_smtp_event(conn, SMTP_MAX_REPLY_LINE);
	}
	if (!code) {
		gate_smtp_event(conn, SMTP_INVALID_REPLY);
		return;
	}
	if (code == 250 && announces_pipelining(line)) {
		conn->pipelining = true;
	}
	if (line->size > 3 && line->data[3] == '-') {
		return; /* more lines of it follow */
	}
	if (!conn->welcome) {
		conn->welcome = true;
		if (code != 220) {
			gate_smtp_event(conn, SMTP_NO_WELCOME);
		} else {
			return;
		}
	}
	if (!conn->count) {
		gate_smtp_event(conn, SMTP_UNABLE_TO_MATCH_REPLY);
		return;
	}
	reply_to(conn, pending_take(conn), code);
}

int64_t gate_smtp_reply(struct smtp_conn *conn, const struct gate_app_input *in)
{
	uint32_t at = 0;
	while (at < in->size && !conn->tls) {
		struct smtp_line line;
		if (!gate_smtp_line(conn, GATE_TO_CLIENT, in->data + at, in->size - at, &line)) {
			break;
		}
		at += line.size + line.newline;
		if (!conn->mid_line[GATE_TO_CLIENT]) {
			gate_frame_put(conn->session, GATE_TO_CLIENT,
				       GATE_BUF_FRAME_SMTP_RESPONSE_LINE, line.data,
				       line.size + line.newline);
			reply_line(conn, &line);
			if (!line.newline) {
				gate_smtp_event(conn, SMTP_TRUNCATED_LINE);
			}
		}
		conn->mid_line[GATE_TO_CLIENT] = !line.newline;
	}
	return at;
}
