/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MySQL and MariaDB: who logs in, with what, whether it works, and the commands that follow.
 *
 * The first transaction is the login: greeting, the client's answer, what is asked back and forth,
 * up to OK or error. After it each command is one, complete with the first packet of its answer.
 * Limits: TEXT_MAX bytes of a text; a packet is looked at as far as PACKET_MAX bytes, the rest of
 * it is passed over. TLS ends the parser's work.
 */
#include "gate/app/skip.h"
#include "gate/app/text.h"

#include <errno.h>
#include <stdio.h>

#define PACKET_MAX 16384u
#define TEXT_MAX   8192u
#define HEAD	   4

#define CAP_WITH_DB	 0x00000008u
#define CAP_SSL		 0x00000800u
#define CAP_SECURE	 0x00008000u
#define CAP_PLUGIN	 0x00080000u
#define CAP_LENENC	 0x00200000u
#define CAP_ATTRIBUTES	 0x08000000u
#define CAP_41		 0x00000200u
#define SSL_REQUEST_SIZE 32
#define ERROR_PACKET	 0xff
#define SWITCH_PACKET	 0xfe
#define COM_QUIT	 0x01
#define COM_INIT_DB	 0x02
#define COM_QUERY	 0x03
#define COM_STMT_PREPARE 0x16
#define COM_STMT_SEND	 0x18
#define COM_STMT_CLOSE	 0x19

struct mysql_conn;
struct mysql_tx {
	struct gate_tx tx;
	struct mysql_conn *conn;
	bool login, tls, failed, ok;
	uint8_t command;
	uint16_t error;
	struct gate_text version, user, database, plugin, text, message;
};

enum phase { GREETING, ANSWER, AUTHENTICATION, COMMANDS };
struct mysql_conn {
	struct gate_session *session;
	enum phase phase;
	uint32_t capabilities; /* of the client */
	uint64_t skip[GATE_DIRS];
	bool tls;
	struct mysql_tx *tx; /* that waits for its answer */
};

static const char *const states[] = {"started", "complete", NULL};
static const uint16_t ports[] = {3306, 0};

/* ---- reading: what is behind the end is empty ---- */

struct reading {
	const uint8_t *data;
	uint32_t size, at;
	bool bad;
};

static uint64_t take(struct reading *r, unsigned int size)
{
	uint64_t v = 0;
	if (size > r->size - r->at) {
		r->bad = true;
		r->at = r->size;
		return 0;
	}
	for (unsigned int i = size; i-- > 0;) {
		v = v << 8 | r->data[r->at + i];
	}
	r->at += size;
	return v;
}

static struct gate_view take_bytes(struct reading *r, uint64_t size)
{
	struct gate_view v = {.data = r->data + r->at};
	if (size > r->size - r->at) {
		r->bad = true;
		size = r->size - r->at;
	}
	v.size = (uint32_t)size;
	r->at += v.size;
	return v;
}

/* Up to its NUL. */
static struct gate_view take_text(struct reading *r)
{
	const uint8_t *end = memchr(r->data + r->at, 0, r->size - r->at);
	struct gate_view v = {.data = r->data + r->at};
	v.size = end ? (uint32_t)(end - v.data) : r->size - r->at;
	r->at += v.size + (end ? 1 : 0);
	return v;
}

static uint64_t take_length(struct reading *r)
{
	uint8_t first = (uint8_t)take(r, 1);
	switch (first) {
	case 0xfc:
		return take(r, 2);
	case 0xfd:
		return take(r, 3);
	case 0xfe:
		return take(r, 8);
	default:
		return first;
	}
}

/* ---- which protocol ---- */

/* The greeting: version 10, a text that begins with a digit, and the packet is whole. */
static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	bool other = port != 3306;
	if (dir == GATE_TO_SERVER || (size && other && size < HEAD + 2)) {
		return GATE_PROBE_NO;
	}
	if (size < HEAD + 2) {
		return GATE_PROBE_MORE;
	}
	uint32_t packet = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;
	if (data[3] || packet > 4096 || packet < 3) {
		return GATE_PROBE_NO;
	}
	if (data[4] == ERROR_PACKET) {
		return other ? GATE_PROBE_NO : GATE_PROBE_YES; /* "Host is not allowed" */
	}
	if (data[4] != 10 || data[5] < '0' || data[5] > '9') {
		return GATE_PROBE_NO;
	}
	if (size < HEAD + packet) {
		return other ? GATE_PROBE_NO : GATE_PROBE_MORE;
	}
	return memchr(data + 5, 0, packet - 1) && packet >= 40 ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- login ---- */

static void set(struct mysql_conn *conn, struct gate_text *text, struct gate_view v)
{
	gate_text_set(conn->session, text, v.data, v.size, TEXT_MAX);
}

static struct mysql_tx *tx_begin(struct mysql_conn *conn)
{
	conn->tx = (struct mysql_tx *)gate_tx_new(conn->session, sizeof(*conn->tx));
	if (conn->tx) {
		conn->tx->conn = conn;
	}
	return conn->tx;
}

static void tx_end(struct mysql_conn *conn)
{
	if (conn->tx) {
		gate_tx_done(conn->session, &conn->tx->tx, GATE_TO_SERVER);
		gate_tx_done(conn->session, &conn->tx->tx, GATE_TO_CLIENT);
		conn->tx = NULL;
	}
}

static void greeting(struct mysql_conn *conn, struct reading *r)
{
	struct mysql_tx *tx = conn->tx ? conn->tx : tx_begin(conn);
	conn->phase = ANSWER;
	if (!tx) {
		return;
	}
	tx->login = true;
	(void)take(r, 1);
	set(conn, &tx->version, take_text(r));
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_CLIENT, 0);
}

static void starts_tls(struct mysql_conn *conn)
{
	conn->tls = true;
	if (conn->tx) {
		conn->tx->tls = true;
	}
	tx_end(conn);
	gate_session_become(conn->session, GATE_APP_TLS);
}

static void answer(struct mysql_conn *conn, struct reading *r)
{
	struct mysql_tx *tx = conn->tx ? conn->tx : tx_begin(conn);
	uint32_t caps = (uint32_t)take(r, 2);
	if (!tx) {
		return;
	}
	tx->login = true;
	conn->phase = AUTHENTICATION;
	if (!(caps & CAP_41)) {
		/* of old clients: two bytes of capabilities, three of a size */
		(void)take(r, 3);
		set(conn, &tx->user, take_text(r));
		return;
	}
	caps |= (uint32_t)take(r, 2) << 16;
	conn->capabilities = caps;
	if ((caps & CAP_SSL) && r->size == SSL_REQUEST_SIZE) {
		starts_tls(conn);
		return;
	}
	(void)take_bytes(r, 4 + 1 + 23);
	set(conn, &tx->user, take_text(r));
	if (caps & CAP_LENENC) {
		(void)take_bytes(r, take_length(r));
	} else if (caps & CAP_SECURE) {
		(void)take_bytes(r, take(r, 1));
	} else {
		(void)take_text(r);
	}
	if (caps & CAP_WITH_DB) {
		set(conn, &tx->database, take_text(r));
	}
	if (caps & CAP_PLUGIN) {
		set(conn, &tx->plugin, take_text(r));
	}
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_SERVER, 0);
}

static void error(struct mysql_conn *conn, struct mysql_tx *tx, struct reading *r)
{
	tx->failed = true;
	tx->error = (uint16_t)take(r, 2);
	if (r->size - r->at >= 6 && r->data[r->at] == '#') {
		(void)take_bytes(r, 6);
	}
	set(conn, &tx->message, take_bytes(r, r->size - r->at));
}

static void authentication(struct mysql_conn *conn, struct reading *r)
{
	struct mysql_tx *tx = conn->tx;
	uint8_t kind = (uint8_t)take(r, 1);
	if (!tx) {
		return;
	}
	if (kind == ERROR_PACKET) {
		error(conn, tx, r);
		tx_end(conn);
	} else if (kind == 0) {
		tx->ok = true;
		conn->phase = COMMANDS;
		tx_end(conn);
	} else if (kind == SWITCH_PACKET && r->size > 1) {
		set(conn, &tx->plugin, take_text(r));
	}
}

/* ---- commands ---- */

static void command(struct mysql_conn *conn, struct reading *r)
{
	uint8_t code = (uint8_t)take(r, 1);
	tx_end(conn);
	struct mysql_tx *tx = tx_begin(conn);
	if (!tx) {
		return;
	}
	tx->command = code;
	if (code == COM_QUERY && (conn->capabilities & CAP_ATTRIBUTES) && r->size > 3 &&
	    !r->data[1] && r->data[2] == 1) {
		(void)take_bytes(r, 2); /* no parameters, one set of them */
	}
	if (code == COM_QUERY || code == COM_STMT_PREPARE || code == COM_INIT_DB) {
		set(conn, &tx->text, take_bytes(r, r->size - r->at));
	}
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_SERVER, 1);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	if (code == COM_QUIT || code == COM_STMT_CLOSE || code == COM_STMT_SEND) {
		tx_end(conn); /* those are not answered */
	}
}

static void command_answer(struct mysql_conn *conn, struct reading *r)
{
	struct mysql_tx *tx = conn->tx;
	if (!tx) {
		return;
	}
	if (take(r, 1) == ERROR_PACKET) {
		error(conn, tx, r);
	} else {
		tx->ok = true;
	}
	tx_end(conn);
}

static void packet(struct mysql_conn *conn, enum gate_dir dir, uint8_t sequence, struct reading *r)
{
	if (!r->size) {
		return;
	}
	if (dir == GATE_TO_SERVER) {
		if (conn->phase == COMMANDS && !sequence) {
			command(conn, r);
		} else if (conn->phase <= ANSWER) {
			answer(conn, r);
		}
		return;
	}
	if (conn->phase == GREETING) {
		if (r->data[0] == ERROR_PACKET && tx_begin(conn)) {
			conn->tx->login = true;
			(void)take(r, 1);
			error(conn, conn->tx, r);
			tx_end(conn);
		} else {
			greeting(conn, r);
		}
	} else if (conn->phase == AUTHENTICATION) {
		authentication(conn, r);
	} else if (conn->phase == COMMANDS) {
		command_answer(conn, r);
	}
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct mysql_conn *conn = state;
	uint32_t at = 0;
	(void)session;
	if (in->gap) {
		return gate_skip_gap(&conn->skip[dir], in->gap) ? 0 : -EBADMSG;
	}
	while (at < in->size && !conn->tls) {
		const uint8_t *p = in->data + at;
		uint32_t left = in->size - at;
		if (conn->skip[dir]) {
			at += gate_skip(&conn->skip[dir], left);
			continue;
		}
		if (left < HEAD) {
			break;
		}
		uint32_t size = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
		uint32_t want = size < PACKET_MAX ? size : PACKET_MAX;
		if (left - HEAD < want) {
			break;
		}
		struct reading r = {.data = p + HEAD, .size = want};
		packet(conn, dir, p[3], &r);
		at += HEAD + want;
		conn->skip[dir] = size - want;
	}
	return at;
}

/* ---- the session ---- */

static void *mysql_new(struct gate_session *session)
{
	struct mysql_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
	}
	return conn;
}

static void mysql_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct mysql_conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gtx)
{
	struct mysql_tx *tx = (struct mysql_tx *)gtx;
	if (tx->conn->tx == tx) {
		tx->conn->tx = NULL;
	}
	struct gate_text *texts[] = {&tx->version, &tx->user, &tx->database,
				     &tx->plugin,  &tx->text, &tx->message};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		gate_text_free(session, texts[i]);
	}
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct mysql_tx *tx = (const struct mysql_tx *)gtx;
	return which == GATE_BUF_MYSQL_COMMAND && !index && dir == GATE_TO_SERVER &&
	       gate_text_buffer(&tx->text, ret);
}

static void log_text(struct gate_jw *jw, const char *key, const struct gate_text *text)
{
	if (text->size) {
		gate_jw_bytes(jw, key, text->data, text->size);
	}
}

static const char *command_name(uint8_t code)
{
	static const char *const names[] = {
		"sleep",
		"quit",
		"init_db",
		"query",
		"field_list",
		"create_db",
		"drop_db",
		"refresh",
		"shutdown",
		"statistics",
		"process_info",
		"connect",
		"process_kill",
		"debug",
		"ping",
		"time",
		"delayed_insert",
		"change_user",
		"binlog_dump",
		"table_dump",
		"connect_out",
		"register_slave",
		"stmt_prepare",
		"stmt_execute",
		"stmt_send_long_data",
		"stmt_close",
		"stmt_reset",
		"set_option",
		"stmt_fetch",
		"daemon",
		"binlog_dump_gtid",
		"reset_connection",
	};
	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "unknown";
}

static bool log_tx(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct mysql_tx *tx = (const struct mysql_tx *)gtx;
	gate_jw_uint(jw, "tx_id", gtx->id);
	if (tx->login) {
		log_text(jw, "version", &tx->version);
		gate_jw_bool(jw, "tls", tx->tls);
		log_text(jw, "user", &tx->user);
		log_text(jw, "database", &tx->database);
		log_text(jw, "auth_plugin", &tx->plugin);
		if (tx->ok || tx->failed) {
			gate_jw_text(jw, "login", tx->ok ? "success" : "failure");
		}
	} else {
		gate_jw_text(jw, "command_name", command_name(tx->command));
		log_text(jw, "command", &tx->text);
	}
	if (tx->failed) {
		gate_jw_uint(jw, "error_code", tx->error);
		log_text(jw, "error_message", &tx->message);
	}
	return true;
}

const struct gate_app_ops gate_mysql_ops = {
	.app = GATE_APP_MYSQL,
	.name = "mysql",
	.log = "mysql",
	.transports = 1,
	.states = {states, states},
	.ports = ports,
	.probe = probe,
	.new = mysql_new,
	.free = mysql_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = log_tx,
};
