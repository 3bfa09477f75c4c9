/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FTP and its data connections, private to app/ftp. RFC 959, 2428 (EPRT, EPSV), 4217 (AUTH TLS).
 *
 * A transaction is a command with its reply: that of one line or of many ("220-" .. "220 "), after
 * what was preliminary (1xx). The greeting is a transaction without command. A transfer tells the
 * flow table which connection is to come, with its command and name; that one's bytes are a file.
 * Limits: FTP_LINE_MAX bytes of a line, FTP_REPLIES_MAX lines and FTP_REPLY_MAX bytes of a reply
 * are kept, FTP_PENDING_MAX commands wait for one (the oldest is given up).
 */
#ifndef BH_GATE_APP_FTP_FTP_H
#define BH_GATE_APP_FTP_FTP_H

#include "gate/app/text.h"

#define FTP_LINE_MAX	4096
#define FTP_REPLIES_MAX 32
#define FTP_REPLY_MAX	8192
#define FTP_PENDING_MAX 256

enum ftp_event { FTP_REQUEST_TOO_LONG, FTP_RESPONSE_TOO_LONG, FTP_TOO_MANY, FTP_EVENTS };

struct ftp_line {
	uint32_t at, size; /* in `replies`: behind the code */
	char code[4];
};
struct ftp_tx {
	struct gate_tx tx;
	struct ftp_conn *conn;
	const char *command;	  /* of the table; NULL: none of ours, or none */
	struct gate_text request; /* the whole line */
	struct gate_text replies;
	struct ftp_line reply[FTP_REPLIES_MAX];
	uint8_t reply_count;
	bool request_cut, reply_cut, replied;
	bool active; /* the port is the client's */
	uint16_t port;
};

struct ftp_conn {
	struct gate_session *session;
	uint32_t scanned[GATE_DIRS];
	bool cut[GATE_DIRS], gap[GATE_DIRS]; /* the rest of this line is of no use */
	uint64_t next_reply;		     /* id of the transaction that it belongs to */
	struct gate_tx *last_reply;	     /* the one before; NULL: it has gone */
	char multi[4];			     /* code of a reply of many lines */
	uint16_t port;			     /* of the connection to come; 0 none */
	bool active, tls;
};

bool gate_ftp_log(const struct gate_tx *tx, struct gate_jw *jw);
/* address.c: the port in "h1,h2,h3,h4,p1,p2" and "|2|addr|port|" or "(|||port|)"; 0: none. */
uint16_t gate_ftp_port_list(struct gate_view v);
uint16_t gate_ftp_port_extended(struct gate_view v);

#endif
