/* SPDX-License-Identifier: Apache-2.0 */
/* FTP's control connection: commands, replies, which data connections are to come. See ftp.h. */
#include "gate/app/ftp/ftp.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

static const struct gate_app_event events[FTP_EVENTS] = {
	[FTP_REQUEST_TOO_LONG] = {"request_command_too_long", "a command of more than 4096 bytes"},
	[FTP_RESPONSE_TOO_LONG] = {"response_command_too_long", "a reply of more than 4096 bytes"},
	[FTP_TOO_MANY] = {"too_many_transactions", "too many commands wait for a reply"},
};
static const char *const states[] = {"started", "complete", NULL};
static const uint16_t ports[] = {21, 2121, 0};
static const char *const client_patterns[] = {"USER ",	  "PASS ",    "PORT ",
					      "AUTH TLS", "AUTH SSL", NULL};

static const char *const commands[] = {
	"ABOR", "ACCT", "ALLO", "APPE",	 "AUTH", "CDUP", "CHMOD", "CWD",  "DELE", "EPRT", "EPSV",
	"FEAT", "HELP", "IDLE", "LIST",	 "MAIL", "MDTM", "MKD",	  "MLFL", "MODE", "MRCP", "MRSQ",
	"MSAM", "MSND", "MSOM", "NLST",	 "NOOP", "PASS", "PASV",  "PORT", "PWD",  "QUIT", "REIN",
	"REST", "RETR", "RMD",	"RNFR",	 "RNTO", "SITE", "SIZE",  "SMNT", "STAT", "STOR", "STOU",
	"STRU", "SYST", "TYPE", "UMASK", "USER", "XCUP", "XMKD",  "XPWD", "XRMD", "PBSZ", "PROT",
	"CCC",	"MLSD", "MLST", "OPTS",	 "CLNT", "LANG", "EXIT",
};

/* ---- which protocol ---- */

static bool is_ours(uint16_t port)
{
	return port == 21 || port == 2121;
}

static bool names_ftp(const uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i + 3 <= size && i < 256 && data[i] != '\n'; i++) {
		if (!strncasecmp((const char *)data + i, "FTP", 3)) {
			return true;
		}
	}
	return false;
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	if (dir == GATE_TO_SERVER) {
		for (const char *const *p = client_patterns; *p; p++) {
			size_t len = strlen(*p);
			if (size >= len && !strncasecmp((const char *)data, *p, len)) {
				/* POP3 and IRC know USER too */
				bool others = port == 110 || (port >= 6660 && port <= 6669);
				return others ? GATE_PROBE_NO : GATE_PROBE_YES;
			}
		}
		return GATE_PROBE_NO;
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
	return is_ours(port) || names_ftp(data, size) ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- transactions ---- */

static struct ftp_tx *tx_new(struct ftp_conn *conn)
{
	struct ftp_tx *tx = (struct ftp_tx *)gate_tx_new(conn->session, sizeof(*tx));
	if (tx) {
		tx->conn = conn;
	}
	return tx;
}

static void complete(struct ftp_conn *conn, struct ftp_tx *tx)
{
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
}

/* The oldest that waits for its reply. */
static struct ftp_tx *waiting(struct ftp_conn *conn)
{
	struct gate_tx *tx =
		conn->last_reply ? conn->last_reply->next : gate_session_first(conn->session);
	while (tx && (tx->id < conn->next_reply || tx->done_dirs == GATE_BOTH_DIRS)) {
		tx = tx->next;
	}
	return (struct ftp_tx *)tx;
}

static struct gate_view argument(const struct ftp_tx *tx)
{
	struct gate_view v = gate_text_view(&tx->request);
	if (!v.size) {
		return (struct gate_view){.data = (const uint8_t *)""};
	}
	uint32_t skip = tx->command ? (uint32_t)strlen(tx->command) + 1 : v.size;
	skip = skip < v.size ? skip : v.size;
	return (struct gate_view){.data = v.data + skip, .size = v.size - skip};
}

static bool is(const struct ftp_tx *tx, const char *command)
{
	return tx->command && !strcmp(tx->command, command);
}

/* ---- commands ---- */

static const char *command_of(const uint8_t *line, uint32_t size)
{
	uint32_t len = 0;
	while (len < size && line[len] != ' ' && line[len] != '\t') {
		len++;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i]) == len &&
		    !strncasecmp((const char *)line, commands[i], len)) {
			return commands[i];
		}
	}
	return NULL;
}

static void transfer(struct ftp_conn *conn, struct ftp_tx *tx)
{
	char note[128];
	struct gate_view name = argument(tx);
	const struct gate_flow *flow = gate_session_flow(conn->session);
	if (!conn->port) {
		return;
	}
	snprintf(note, sizeof(note), "%s %.*s", tx->command,
		 (int)(name.size < 256 ? name.size : 256), (const char *)name.data);
	gate_session_expect(conn->session, &flow->addr[conn->active ? 0 : 1], conn->port,
			    GATE_APP_FTP_DATA, note);
	tx->port = conn->port;
	tx->active = conn->active;
	conn->port = 0;
}

static void request(struct ftp_conn *conn, const uint8_t *line, uint32_t size, bool cut)
{
	struct ftp_tx *tx = tx_new(conn);
	if (!tx) {
		return;
	}
	gate_text_set(conn->session, &tx->request, line, size, FTP_LINE_MAX);
	tx->command = command_of(line, size);
	tx->request_cut = cut;
	if (cut) {
		gate_tx_event(conn->session, &tx->tx, FTP_REQUEST_TOO_LONG);
	}
	if (is(tx, "PORT") || is(tx, "EPRT")) {
		struct gate_view v = argument(tx);
		conn->port = is(tx, "PORT") ? gate_ftp_port_list(v) : gate_ftp_port_extended(v);
		conn->active = tx->active = true;
		tx->port = conn->port;
	} else if (is(tx, "RETR") || is(tx, "STOR") || is(tx, "APPE")) {
		transfer(conn, tx);
	}
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_SERVER, 0);
}

/* ---- replies ---- */

static bool is_code(const uint8_t *line, uint32_t size)
{
	return size >= 3 && line[0] >= '1' && line[0] <= '6' && line[1] >= '0' && line[1] <= '9' &&
	       line[2] >= '0' && line[2] <= '9';
}

static void keep_reply(struct ftp_conn *conn, struct ftp_tx *tx, const uint8_t *line, uint32_t size)
{
	if (tx->reply_count == FTP_REPLIES_MAX) {
		tx->reply_cut = true;
		return;
	}
	struct ftp_line *r = &tx->reply[tx->reply_count];
	bool coded = is_code(line, size);
	if (coded) {
		memcpy(r->code, line, 3);
		uint32_t skip = size > 3 ? 4 : 3;
		line += skip;
		size -= skip;
	}
	r->at = tx->replies.size;
	r->size = size;
	if (!gate_text_add(conn->session, &tx->replies, line, size, FTP_REPLY_MAX)) {
		r->size = tx->replies.size - r->at;
		tx->reply_cut = true;
	}
	tx->reply_count++;
}

static void passive(struct ftp_conn *conn, struct ftp_tx *tx, const uint8_t *line, uint32_t size)
{
	struct gate_view v = {.data = line + 3, .size = size - 3};
	uint16_t port = 0;
	if (is(tx, "PASV") && !memcmp(line, "227", 3)) {
		const uint8_t *open = memchr(v.data, '(', v.size);
		if (open) {
			v.size -= (uint32_t)(open - v.data);
			v.data = open;
		}
		port = gate_ftp_port_list(v);
	} else if (is(tx, "EPSV") && !memcmp(line, "229", 3)) {
		port = gate_ftp_port_extended(v);
	}
	if (port) {
		conn->port = tx->port = port;
		conn->active = tx->active = false;
	}
}

static void reply_over(struct ftp_conn *conn, struct ftp_tx *tx, const uint8_t *line, uint32_t size)
{
	tx->replied = true;
	passive(conn, tx, line, size);
	if ((is(tx, "PORT") || is(tx, "EPRT")) && line[0] >= '4') {
		conn->port = 0;
	}
	if (is(tx, "AUTH") && !memcmp(line, "234", 3)) {
		conn->tls = true;
		gate_session_become(conn->session, GATE_APP_TLS);
	}
	complete(conn, tx);
	conn->next_reply = tx->tx.id + 1;
	conn->last_reply = &tx->tx;
}

static void reply(struct ftp_conn *conn, const uint8_t *line, uint32_t size, bool cut)
{
	struct ftp_tx *tx = waiting(conn);
	bool coded = is_code(line, size);
	if (!tx) {
		tx = tx_new(conn);
		if (!tx) {
			return;
		}
		tx->tx.skip_dirs = 0;
	}
	keep_reply(conn, tx, line, size);
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_CLIENT, 0);
	if (cut) {
		tx->reply_cut = true;
		gate_tx_event(conn->session, &tx->tx, FTP_RESPONSE_TOO_LONG);
	}
	if (conn->multi[0]) {
		/* up to the line that has the same code and no dash */
		if (!coded || memcmp(line, conn->multi, 3) || (size > 3 && line[3] == '-')) {
			return;
		}
		conn->multi[0] = '\0';
	} else if (coded && size > 3 && line[3] == '-') {
		memcpy(conn->multi, line, 3);
		return;
	}
	if (coded && line[0] != '1') {
		reply_over(conn, tx, line, size);
	}
}

/* ---- lines ---- */

static int64_t lines(struct ftp_conn *conn, enum gate_dir dir, const struct gate_app_input *in)
{
	uint32_t at = 0;
	while (at < in->size && !conn->tls) {
		const uint8_t *line = in->data + at;
		uint32_t left = in->size - at, from = conn->scanned[dir];
		from = from < left ? from : 0;
		const uint8_t *end = memchr(line + from, '\n', left - from);
		conn->scanned[dir] = 0;
		if (!end && left < FTP_LINE_MAX) {
			conn->scanned[dir] = left;
			break;
		}
		bool cut = !end || end - line >= FTP_LINE_MAX;
		uint32_t used = cut ? FTP_LINE_MAX : (uint32_t)(end - line) + 1;
		uint32_t size = cut ? used : used - 1;
		size -= !cut && size && line[size - 1] == '\r';
		if (!conn->cut[dir] && !conn->gap[dir] && size) {
			if (dir == GATE_TO_SERVER) {
				request(conn, line, size, cut);
			} else {
				reply(conn, line, size, cut);
			}
		}
		conn->cut[dir] = cut;
		conn->gap[dir] = false;
		at += used;
	}
	return at;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct ftp_conn *conn = state;
	(void)session;
	if (in->gap) {
		conn->gap[dir] = true;
		conn->scanned[dir] = 0;
		return 0;
	}
	return conn->tls ? in->size : lines(conn, dir, in);
}

static void *ftp_new(struct gate_session *session)
{
	struct ftp_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
	}
	return conn;
}

static void ftp_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct ftp_conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gtx)
{
	struct ftp_tx *tx = (struct ftp_tx *)gtx;
	gate_text_free(session, &tx->request);
	gate_text_free(session, &tx->replies);
	if (tx->conn->last_reply == gtx) {
		tx->conn->last_reply = NULL;
	}
}

/* ---- what rules ask ---- */

static bool view(const void *data, uint32_t size, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = data, .size = size, .complete = true};
	return size > 0;
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct ftp_tx *tx = (const struct ftp_tx *)gtx;
	const struct ftp_line *r = index < tx->reply_count ? &tx->reply[index] : NULL;
	struct gate_view v;
	switch (which) {
	case GATE_BUF_FTP_COMMAND:
		return tx->command && view(tx->command, (uint32_t)strlen(tx->command), ret);
	case GATE_BUF_FTP_COMMAND_DATA:
		v = argument(tx);
		return view(v.data, v.size, ret);
	case GATE_BUF_FTP_REPLY:
		return r && (view(r->size ? tx->replies.data + r->at : NULL, r->size, ret) || true);
	case GATE_BUF_FTP_COMPLETION_CODE:
		return r && (view(r->code, r->code[0] ? 3 : 0, ret) || true);
	default:
		return false;
	}
}

static bool number(struct gate_tx *gtx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	const struct ftp_tx *tx = (const struct ftp_tx *)gtx;
	if (index) {
		return false;
	}
	switch (which) {
	case GATE_NUM_FTP_DYNAMIC_PORT:
		*ret = tx->port;
		return tx->port;
	case GATE_NUM_FTP_MODE:
		*ret = tx->active;
		return tx->port;
	case GATE_NUM_FTP_REPLY_RECEIVED:
		*ret = tx->replied;
		return true;
	default:
		return false;
	}
}

const struct gate_app_ops gate_ftp_ops = {
	.app = GATE_APP_FTP,
	.name = "ftp",
	.log = "ftp",
	.transports = 1,
	.states = {states, states},
	.events = events,
	.event_count = FTP_EVENTS,
	.too_many = FTP_TOO_MANY + 1,
	.ports = ports,
	.patterns = {client_patterns, NULL},
	.probe = probe,
	.new = ftp_new,
	.free = ftp_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.number = number,
	.log_tx = gate_ftp_log,
};
