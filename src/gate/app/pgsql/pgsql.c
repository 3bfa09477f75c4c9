/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL: who logs in to which database, how, whether it works, and the queries that follow.
 * Protocol 3.0; fields of the record are Suricata's.
 *
 * The first transaction is the login: startup message and authentication, up to ReadyForQuery or an
 * error; passwords are not kept. After it a query is one, up to ReadyForQuery. A client that
 * cancels has one transaction. Limits: TEXT_MAX bytes of a text, PARAMETERS_MAX of the startup, a
 * message is looked at as far as MESSAGE_MAX bytes. TLS ends the parser's work.
 */
#include "gate/app/skip.h"
#include "gate/app/text.h"

#include <errno.h>
#include <stdio.h>

#define MESSAGE_MAX    16384u
#define TEXT_MAX       8192u
#define PARAMETERS_MAX 16
#define VERSION_3      0x00030000u
#define SSL_REQUEST    80877103u
#define GSS_REQUEST    80877104u
#define CANCEL_REQUEST 80877102u
#define AUTH_MD5       5

struct pgsql_conn;
/* Names and values, one behind the other in `text`. */
struct parameters {
	struct gate_text text;
	struct parameter {
		uint32_t name, name_size, value, value_size;
	} item[PARAMETERS_MAX];
	uint8_t count;
};
struct pgsql_tx {
	struct gate_tx tx;
	struct pgsql_conn *conn;
	bool login, tls, tls_refused, failed, ready, cancel, password;
	uint32_t version;
	int32_t authentication; /* its number; -1 none */
	uint8_t salt[4];	/* of MD5 */
	struct gate_text query, mechanism, severity, code, message, completed;
	struct parameters startup, status;
	uint16_t fields;
	uint64_t rows, row_bytes;
};

struct pgsql_conn {
	struct gate_session *session;
	bool started, tls_asked, tls;
	uint64_t skip[GATE_DIRS];
	struct pgsql_tx *tx;
};

enum {
	PGSQL_INVALID_LENGTH,
	PGSQL_MALFORMED_REQUEST,
	PGSQL_MALFORMED_RESPONSE,
	PGSQL_TOO_MANY,
	PGSQL_EVENTS
};
static const struct gate_app_event events[PGSQL_EVENTS] = {
	[PGSQL_INVALID_LENGTH] = {"invalid_length", "a message's length can't be"},
	[PGSQL_MALFORMED_REQUEST] = {"malformed_request", "a startup without parameters"},
	[PGSQL_MALFORMED_RESPONSE] = {"malformed_response", "authentication without its kind"},
	[PGSQL_TOO_MANY] = {"too_many_transactions", "too many queries wait for their answer"},
};
static const char *const states[] = {"started", "complete", NULL};
static const uint16_t ports[] = {5432, 0};
static const char *const client_patterns[] = {
	"\\x00\\x00\\?\\?\\x00\\x03\\x00\\x00",
	"\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x2f",
	"\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x30",
	"\\x00\\x00\\x00\\x10\\x04\\xd2\\x16\\x2e",
	NULL,
};

/* A text that ends with NUL; what is left behind it stays in v. */
static struct gate_view take_text(struct gate_view *v)
{
	const uint8_t *end = v->size ? memchr(v->data, 0, v->size) : NULL;
	struct gate_view text = {.data = v->data, .size = v->size};
	uint32_t used = v->size;
	if (end) {
		text.size = (uint32_t)(end - v->data);
		used = text.size + 1;
	}
	v->data += used;
	v->size -= used;
	return text;
}

/* ---- which protocol ---- */

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	if (dir == GATE_TO_CLIENT) {
		return GATE_PROBE_NO; /* servers never speak first */
	}
	if (size < 8) {
		return port == 5432 ? GATE_PROBE_MORE : GATE_PROBE_NO;
	}
	uint32_t length = gate_be32(data), code = gate_be32(data + 4);
	bool other = (code == SSL_REQUEST || code == GSS_REQUEST) ? length == 8
		     : code == CANCEL_REQUEST			  ? length == 16
								  : false;
	if (other) {
		return GATE_PROBE_YES;
	}
	if (code != VERSION_3 || length < 9 || length > 10000) {
		return GATE_PROBE_NO;
	}
	/* parameters, the first of which has a name */
	if (size == 8) {
		return GATE_PROBE_MORE;
	}
	return data[8] >= 'a' && data[8] <= 'z' ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- transactions ---- */

static struct pgsql_tx *tx_begin(struct pgsql_conn *conn)
{
	if (!conn->tx) {
		conn->tx = (struct pgsql_tx *)gate_tx_new(conn->session, sizeof(*conn->tx));
		if (conn->tx) {
			conn->tx->conn = conn;
			conn->tx->authentication = -1;
		}
	}
	return conn->tx;
}

static void event(struct pgsql_conn *conn, uint16_t event)
{
	struct pgsql_tx *tx = tx_begin(conn);
	if (tx) {
		gate_tx_event(conn->session, &tx->tx, event);
	}
}

static void tx_end(struct pgsql_conn *conn)
{
	if (conn->tx) {
		gate_tx_done(conn->session, &conn->tx->tx, GATE_TO_SERVER);
		gate_tx_done(conn->session, &conn->tx->tx, GATE_TO_CLIENT);
		conn->tx = NULL;
	}
}

static void set(struct pgsql_conn *conn, struct gate_text *text, struct gate_view v)
{
	gate_text_set(conn->session, text, v.data, v.size, TEXT_MAX);
}

/* The next name and value of v; false: none, or there are too many. */
static bool add_parameter(struct pgsql_conn *conn, struct parameters *list, struct gate_view *v)
{
	struct gate_view name = take_text(v), value = take_text(v);
	struct parameter *p = &list->item[list->count];
	if (!name.size || list->count == PARAMETERS_MAX) {
		return false;
	}
	*p = (struct parameter){.name = list->text.size,
				.name_size = name.size,
				.value = list->text.size + name.size,
				.value_size = value.size};
	if (!gate_text_add(conn->session, &list->text, name.data, name.size, TEXT_MAX) ||
	    !gate_text_add(conn->session, &list->text, value.data, value.size, TEXT_MAX)) {
		return false;
	}
	list->count++;
	return true;
}

/* ---- the client's ---- */

static void startup(struct pgsql_conn *conn, struct gate_view v)
{
	struct pgsql_tx *tx = tx_begin(conn);
	uint32_t code = gate_be32(v.data);
	v.data += 4;
	v.size -= 4;
	if (!tx) {
		return;
	}
	tx->login = true;
	if (code == SSL_REQUEST || code == GSS_REQUEST) {
		conn->tls_asked = true;
		return;
	}
	if (code == CANCEL_REQUEST) {
		tx->cancel = true;
		tx_end(conn);
		return;
	}
	tx->version = code;
	conn->started = true;
	while (v.size > 1 && add_parameter(conn, &tx->startup, &v)) {
	}
	if (!tx->startup.count) {
		event(conn, PGSQL_MALFORMED_REQUEST);
	}
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_SERVER, 0);
}

static void request(struct pgsql_conn *conn, uint8_t type, struct gate_view v)
{
	struct pgsql_tx *tx = conn->tx;
	switch (type) {
	case 'p': /* password, or what SASL says: not kept */
		if (tx) {
			tx->password = true;
			(void)take_text(&v);
		}
		break;
	case 'P':
		(void)take_text(&v); /* the statement's name */
		tx = tx_begin(conn);
		if (tx) {
			set(conn, &tx->query, take_text(&v));
			gate_tx_progress(conn->session, &tx->tx, GATE_TO_SERVER, 1);
		}
		break;
	case 'Q':
		tx_end(conn);
		tx = tx_begin(conn);
		if (tx) {
			set(conn, &tx->query, take_text(&v));
			gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
		}
		break;
	case 'X':
		tx_end(conn);
		break;
	default:
		break;
	}
}

/* ---- the server's ---- */

static void error(struct pgsql_conn *conn, struct pgsql_tx *tx, struct gate_view v)
{
	while (v.size && v.data[0]) {
		uint8_t kind = v.data[0];
		v.data++;
		v.size--;
		struct gate_view text = take_text(&v);
		if (kind == 'S') {
			set(conn, &tx->severity, text);
		} else if (kind == 'C') {
			set(conn, &tx->code, text);
		} else if (kind == 'M') {
			set(conn, &tx->message, text);
		}
	}
	tx->failed = true;
}

static void authentication(struct pgsql_conn *conn, struct pgsql_tx *tx, struct gate_view v)
{
	if (v.size < 4) {
		event(conn, PGSQL_MALFORMED_RESPONSE);
		return;
	}
	uint32_t kind = gate_be32(v.data);
	v.data += 4;
	v.size -= 4;
	/* 11 and 12 are steps of 10 (SASL), 8 of 7 (GSSAPI); 0 says that it worked */
	if (kind && kind != 8 && kind != 11 && kind != 12) {
		tx->authentication = (int32_t)(kind & 0xff);
	}
	if (kind == 10) {
		set(conn, &tx->mechanism, take_text(&v));
	} else if (kind == AUTH_MD5 && v.size >= sizeof(tx->salt)) {
		memcpy(tx->salt, v.data, sizeof(tx->salt));
	} else if (!kind) {
		tx->ready = true;
	}
}

static void response(struct pgsql_conn *conn, uint8_t type, struct gate_view v, uint32_t whole)
{
	struct pgsql_tx *tx = conn->tx;
	if (!tx) {
		return;
	}
	gate_tx_progress(conn->session, &tx->tx, GATE_TO_CLIENT, 0);
	switch (type) {
	case 'R':
		authentication(conn, tx, v);
		break;
	case 'S':
		(void)add_parameter(conn, &tx->status, &v);
		break;
	case 'E':
		error(conn, tx, v);
		if (tx->login) {
			tx_end(conn);
		}
		break;
	case 'T':
		tx->fields = v.size >= 2 ? (uint16_t)(v.data[0] << 8 | v.data[1]) : 0;
		break;
	case 'D':
		tx->rows++;
		tx->row_bytes += whole;
		break;
	case 'C':
		set(conn, &tx->completed, take_text(&v));
		break;
	case 'Z':
		tx_end(conn);
		break;
	default:
		break;
	}
}

/* ---- messages ---- */

/* The server's one byte to a request for TLS. */
static void tls_answer(struct pgsql_conn *conn, uint8_t answer)
{
	conn->tls_asked = false;
	if (answer == 'S' || answer == 'G') {
		conn->tls = true;
		if (conn->tx) {
			conn->tx->tls = true;
		}
		tx_end(conn);
		gate_session_become(conn->session, GATE_APP_TLS);
	} else if (conn->tx) {
		conn->tx->tls_refused = true;
		tx_end(conn); /* the client goes on without, or not at all */
	}
}

/* How much is done; 0: more is needed, -EBADMSG. */
static int64_t message(struct pgsql_conn *conn, enum gate_dir dir, const uint8_t *p, uint32_t size)
{
	bool plain = dir == GATE_TO_SERVER && !conn->started; /* no type in front */
	uint32_t head = plain ? 4 : 5;
	if (dir == GATE_TO_CLIENT && conn->tls_asked && size && p[0] != 'E') {
		tls_answer(conn, p[0]);
		return 1;
	}
	if (size < head) {
		return 0;
	}
	uint32_t length = gate_be32(p + head - 4);
	if (length < (plain ? 8u : 4u) || length > INT32_MAX) {
		event(conn, PGSQL_INVALID_LENGTH);
		return -EBADMSG;
	}
	uint32_t body = length - 4, want = body < MESSAGE_MAX ? body : MESSAGE_MAX;
	/* of rows only their number and size count */
	if (dir == GATE_TO_CLIENT && p[0] == 'D') {
		want = 0;
	}
	if (size - head < want) {
		return 0;
	}
	struct gate_view v = {.data = p + head, .size = want};
	if (plain) {
		startup(conn, v);
	} else if (dir == GATE_TO_SERVER) {
		request(conn, p[0], v);
	} else {
		response(conn, p[0], v, body);
	}
	conn->skip[dir] = body - want;
	return head + want;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct pgsql_conn *conn = state;
	uint32_t at = 0;
	(void)session;
	if (in->gap) {
		return gate_skip_gap(&conn->skip[dir], in->gap) ? 0 : -EBADMSG;
	}
	while (at < in->size && !conn->tls) {
		uint32_t left = in->size - at;
		if (conn->skip[dir]) {
			at += gate_skip(&conn->skip[dir], left);
			continue;
		}
		int64_t n = message(conn, dir, in->data + at, left);
		if (n < 0) {
			return n;
		}
		if (!n) {
			break;
		}
		at += (uint32_t)n;
	}
	return at;
}

/* ---- the session ---- */

static void *pgsql_new(struct gate_session *session)
{
	struct pgsql_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
	}
	return conn;
}

static void pgsql_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct pgsql_conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gtx)
{
	struct pgsql_tx *tx = (struct pgsql_tx *)gtx;
	struct gate_text *texts[] = {&tx->startup.text, &tx->status.text, &tx->query,
				     &tx->mechanism,	&tx->severity,	  &tx->code,
				     &tx->message,	&tx->completed};
	if (tx->conn->tx == tx) {
		tx->conn->tx = NULL;
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		gate_text_free(session, texts[i]);
	}
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct pgsql_tx *tx = (const struct pgsql_tx *)gtx;
	return which == GATE_BUF_PGSQL_QUERY && !index && dir == GATE_TO_SERVER &&
	       gate_text_buffer(&tx->query, ret);
}

/* ---- records ---- */

static void log_text(struct gate_jw *jw, const char *key, const struct gate_text *text)
{
	if (text->size) {
		gate_jw_bytes(jw, key, text->data, text->size);
	}
}

static bool is_named(const struct parameters *list, const struct parameter *p, const char *name)
{
	return p->name_size == strlen(name) &&
	       !memcmp(list->text.data + p->name, name, p->name_size);
}

/* {"name": "value"}; names that JSON would have to escape are left out. */
static void log_pair(const struct parameters *list, const struct parameter *p, struct gate_jw *jw)
{
	const uint8_t *name = list->text.data + p->name;
	char key[64];
	bool plain = p->name_size < sizeof(key);
	for (uint32_t k = 0; plain && k < p->name_size; k++) {
		plain = name[k] > ' ' && name[k] < 0x7f && name[k] != '"' && name[k] != '\\';
		key[k] = (char)name[k];
	}
	if (!plain) {
		return;
	}
	key[p->name_size] = '\0';
	gate_jw_object(jw, NULL);
	gate_jw_bytes(jw, key, list->text.data + p->value, p->value_size);
	gate_jw_end(jw);
}

static void log_startup(const struct pgsql_tx *tx, struct gate_jw *jw)
{
	static const char *const own[] = {"user", "database"};
	const struct parameters *list = &tx->startup;
	char text[24];
	snprintf(text, sizeof(text), "%u.%u", tx->version >> 16, tx->version & 0xffff);
	gate_jw_text(jw, "protocol_version", text);
	gate_jw_object(jw, "startup_parameters");
	for (unsigned int i = 0; i < list->count * 2u; i++) {
		const struct parameter *p = &list->item[i % list->count];
		const char *name = own[i / list->count];
		if (is_named(list, p, name)) {
			gate_jw_bytes(jw, name, list->text.data + p->value, p->value_size);
		}
	}
	gate_jw_array(jw, "optional_parameters");
	for (unsigned int i = 0; i < list->count; i++) {
		const struct parameter *p = &list->item[i];
		if (!is_named(list, p, own[0]) && !is_named(list, p, own[1])) {
			log_pair(list, p, jw);
		}
	}
	gate_jw_end(jw);
	gate_jw_end(jw);
}

static void log_request(const struct pgsql_tx *tx, struct gate_jw *jw)
{
	gate_jw_object(jw, "request");
	if (tx->cancel) {
		gate_jw_text(jw, "message", "cancel_request");
	} else if (tx->login && tx->version) {
		log_startup(tx, jw);
		if (tx->password) {
			gate_jw_bool(jw, "password_redacted", true);
		}
	} else if (tx->login) {
		gate_jw_text(jw, "message", "SSL Request");
	} else {
		log_text(jw, "simple_query", &tx->query);
	}
	gate_jw_end(jw);
}

static const char *authentication_name(int32_t kind)
{
	switch (kind) {
	case 2:
		return "authentication_kerberos";
	case 3:
		return "authentication_cleartext_password";
	case 7:
		return "authentication_gss";
	case 9:
		return "authentication_sspi";
	case 10:
		return "authentication_sasl";
	default:
		return "authentication_unknown";
	}
}

static void log_response(const struct pgsql_tx *tx, struct gate_jw *jw)
{
	gate_jw_object(jw, "response");
	if (tx->tls || tx->tls_refused) {
		gate_jw_bool(jw, "ssl_accepted", tx->tls);
	}
	if (tx->authentication == AUTH_MD5) {
		gate_jw_bytes(jw, "authentication_md5_password", tx->salt, sizeof(tx->salt));
	} else if (tx->authentication >= 0) {
		gate_jw_text(jw, "message", authentication_name(tx->authentication));
		log_text(jw, "authentication_sasl_mechanism", &tx->mechanism);
	}
	if (tx->login && (tx->ready || tx->failed)) {
		gate_jw_text(jw, "login", tx->ready ? "success" : "failure");
	}
	if (tx->status.count) {
		gate_jw_array(jw, "parameter_status");
		for (unsigned int i = 0; i < tx->status.count; i++) {
			log_pair(&tx->status, &tx->status.item[i], jw);
		}
		gate_jw_end(jw);
	}
	if (tx->failed) {
		log_text(jw, "severity_non_localizable", &tx->severity);
		log_text(jw, "code", &tx->code);
		log_text(jw, "error_message", &tx->message);
	}
	if (tx->fields) {
		gate_jw_uint(jw, "field_count", tx->fields);
		gate_jw_uint(jw, "data_rows", tx->rows);
		gate_jw_uint(jw, "data_size", tx->row_bytes);
	}
	log_text(jw, "command_completed", &tx->completed);
	gate_jw_end(jw);
}

static bool log_tx(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct pgsql_tx *tx = (const struct pgsql_tx *)gtx;
	gate_jw_uint(jw, "tx_id", gtx->id);
	log_request(tx, jw);
	log_response(tx, jw);
	return true;
}

const struct gate_app_ops gate_pgsql_ops = {
	.app = GATE_APP_PGSQL,
	.name = "pgsql",
	.log = "pgsql",
	.transports = 1,
	.states = {states, states},
	.events = events,
	.event_count = PGSQL_EVENTS,
	.too_many = PGSQL_TOO_MANY + 1,
	.ports = ports,
	.patterns = {client_patterns, NULL},
	.probe = probe,
	.new = pgsql_new,
	.free = pgsql_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = log_tx,
};
