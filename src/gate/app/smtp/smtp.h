/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP, private to app/smtp. RFC 5321, 3030 (BDAT), 3207 (STARTTLS); transactions and events as
 * Suricata has them: one per message, which ends with its DATA (or the last BDAT).
 *
 * Theory of operation
 *   Both sides are lines. Commands are queued (SMTP_PENDING_MAX) and matched with replies, which
 *   say whether DATA begins (354) and whether TLS does (220). A server that announced PIPELINING
 *   may get the message before its 354. Lines in DATA go to mime.c, in pieces when they are
 *   longer than SMTP_LINE_MAX; other lines that long are cut off (truncated_line).
 */
#ifndef BH_GATE_APP_SMTP_SMTP_H
#define BH_GATE_APP_SMTP_SMTP_H

#include "gate/app/smtp/mime.h"

#define SMTP_LINE_MAX	 4096
#define SMTP_COMMAND_MAX 510
#define SMTP_PENDING_MAX 128
#define SMTP_RCPTS_MAX	 128
#define SMTP_ADDRESS_MAX 1024

enum smtp_event {
	SMTP_INVALID_REPLY,
	SMTP_UNABLE_TO_MATCH_REPLY,
	SMTP_MAX_COMMAND_LINE,
	SMTP_MAX_REPLY_LINE,
	SMTP_INVALID_PIPELINED,
	SMTP_BDAT_CHUNK_LEN,
	SMTP_NO_WELCOME,
	SMTP_TLS_REJECTED,
	SMTP_DATA_REJECTED,
	SMTP_FAILED_CHANGE,
	SMTP_MIME, /* enum mime_event follow */
	SMTP_DUPLICATE_FIELDS = SMTP_MIME + MIME_EVENTS,
	SMTP_UNPARSABLE,
	SMTP_TRUNCATED_LINE,
	SMTP_EVENTS
};

enum smtp_command {
	SMTP_C_OTHER,
	SMTP_C_HELO,
	SMTP_C_MAIL,
	SMTP_C_RCPT,
	SMTP_C_DATA,
	SMTP_C_BDAT,
	SMTP_C_STARTTLS,
	SMTP_C_RSET,
	SMTP_C_QUIT,
	SMTP_C_MESSAGE, /* the end of DATA, which is replied to */
};

struct smtp_tx {
	struct gate_tx tx;
	struct smtp_conn *conn;
	struct gate_text mail_from;
	struct gate_text rcpts; /* one behind the other */
	struct mime_span rcpt[SMTP_RCPTS_MAX];
	uint8_t rcpt_count;
	bool data; /* DATA was said */
	struct mime *mime;
};

struct smtp_conn {
	struct gate_session *session;
	struct smtp_tx *tx; /* the current one; NULL none */
	struct gate_text helo;
	bool welcome;	 /* the server's first reply was seen */
	bool pipelining; /* announced */
	bool in_data, tls;
	bool mid_line[GATE_DIRS]; /* a line is in pieces, its rest follows */
	bool gap[GATE_DIRS];	  /* bytes were lost: up to the next line's end nothing counts */
	uint32_t scanned[GATE_DIRS];
	uint64_t bdat_left;
	bool bdat_last, bdat_mid;
	uint8_t pending[SMTP_PENDING_MAX]; /* enum smtp_command, a ring */
	uint8_t first, count;
};

/* A line of the input: its size without the end, and of the end (0: a piece of a long one). */
struct smtp_line {
	const uint8_t *data;
	uint32_t size;
	uint8_t newline;
};
/* False: none yet. */
bool gate_smtp_line(struct smtp_conn *conn, enum gate_dir dir, const uint8_t *data, uint32_t size,
		    struct smtp_line *ret);
void gate_smtp_event(struct smtp_conn *conn, uint16_t event);
/* The transaction is through. */
void gate_smtp_complete(struct smtp_conn *conn);

/* request.c */
int64_t gate_smtp_request(struct smtp_conn *conn, const struct gate_app_input *in);
/* reply.c */
int64_t gate_smtp_reply(struct smtp_conn *conn, const struct gate_app_input *in);
bool gate_smtp_is_reply(const uint8_t *data, uint32_t size); /* a known code stands there */
/* log.c */
bool gate_smtp_log(const struct gate_tx *tx, struct gate_jw *jw);

#endif
