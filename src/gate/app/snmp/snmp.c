/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SNMP (RFC 1157, 3416, 3412, 3414) over UDP: version, community or user, kind of request, names of
 * variables. Each datagram is a transaction with one side. Bounded by the datagram; VARS_MAX names
 * are shown in the record.
 */
#include "gate/app/app.h"
#include "gate/app/ber.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define VARS_MAX 64
#define OID_TEXT 512

enum {
	TAG_INTEGER = 0x02,
	TAG_OCTETS = 0x04,
	TAG_OID = 0x06,
	TAG_SEQUENCE = 0x30,
	TAG_IP_ADDRESS = 0x40,
};
enum { PDU_TRAP_V1 = 4, PDU_GET_BULK = 5, PDU_KINDS = 9 };

enum snmp_event {
	SNMP_MALFORMED_DATA,
	SNMP_UNKNOWN_SECURITY_MODEL,
	SNMP_VERSION_MISMATCH,
	SNMP_EVENTS
};
static const struct gate_app_event events[SNMP_EVENTS] = {
	[SNMP_MALFORMED_DATA] = {"malformed_data", "malformed message"},
	[SNMP_UNKNOWN_SECURITY_MODEL] = {"unknown_security_model",
					 "security model that is not USM"},
	[SNMP_VERSION_MISMATCH] = {"version_mismatch", "another version than the flow's first"},
};
static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const uint16_t ports[] = {161, 162, 0};
static const char *const pdu_names[PDU_KINDS + 1] = {
	"get_request",	    "get_next_request", "response", "set_request", "trap_v1",
	"get_bulk_request", "inform_request",	"trap_v2",  "report",	   NULL};

struct message {
	uint8_t version; /* 1, 2, 3 */
	int16_t pdu;	 /* -1: not known (encrypted) */
	bool encrypted, unknown_model;
	uint32_t error;
	struct gate_view community, user, vars, trap_oid, trap_address;
	uint32_t trap_type;
};

struct snmp_tx {
	struct gate_tx tx;
	struct message m; /* views into raw */
	uint8_t raw[];
};

struct snmp_state {
	uint8_t version;
};

/* ---- BER ---- */

static bool next_is(struct gate_ber *b, uint8_t tag, struct gate_view *ret)
{
	uint8_t found = 0;
	return gate_ber_next(b, &found, ret) && found == tag;
}

static bool next_number(struct gate_ber *b, uint32_t *ret)
{
	struct gate_view v;
	if (!next_is(b, TAG_INTEGER, &v) || !v.size || v.size > 5) {
		return false;
	}
	*ret = 0;
	for (uint32_t i = 0; i < v.size; i++) {
		*ret = *ret << 8 | v.data[i];
	}
	return true;
}

/* ---- messages ---- */

static bool read_trap(struct gate_ber *b, struct message *m)
{
	uint32_t skip = 0;
	struct gate_view time;
	uint8_t tag = 0;
	return next_is(b, TAG_OID, &m->trap_oid) && next_is(b, TAG_IP_ADDRESS, &m->trap_address) &&
	       next_number(b, &m->trap_type) && next_number(b, &skip) &&
	       gate_ber_next(b, &tag, &time);
}

static bool read_pdu(struct gate_ber *b, struct message *m)
{
	uint8_t tag = 0;
	uint32_t id = 0, index = 0;
	struct gate_view pdu;
	if (!gate_ber_next(b, &tag, &pdu) || (tag & 0xe0) != 0xa0 || (tag & 0x1f) >= PDU_KINDS) {
		return false;
	}
	m->pdu = (int16_t)(tag & 0x1f);
	struct gate_ber p = gate_ber_inside(&pdu);
	bool head = m->pdu == PDU_TRAP_V1 ? read_trap(&p, m)
					  : next_number(&p, &id) && next_number(&p, &m->error) &&
						    next_number(&p, &index);
	return head && next_is(&p, TAG_SEQUENCE, &m->vars);
}

/* RFC 3414 2.4 */
static bool read_usm(const struct gate_view *parameters, struct message *m)
{
	struct gate_ber b = gate_ber_inside(parameters);
	struct gate_view all, engine;
	uint32_t boots = 0, time = 0;
	if (!next_is(&b, TAG_SEQUENCE, &all)) {
		return false;
	}
	b = gate_ber_inside(&all);
	return next_is(&b, TAG_OCTETS, &engine) && next_number(&b, &boots) &&
	       next_number(&b, &time) && next_is(&b, TAG_OCTETS, &m->user);
}

static bool read_v3(struct gate_ber *b, struct message *m)
{
	struct gate_view head, flags, parameters, scoped, skip;
	uint32_t id = 0, size = 0, model = 0;
	if (!next_is(b, TAG_SEQUENCE, &head)) {
		return false;
	}
	struct gate_ber h = gate_ber_inside(&head);
	if (!next_number(&h, &id) || !next_number(&h, &size) || !next_is(&h, TAG_OCTETS, &flags) ||
	    !next_number(&h, &model) || !flags.size) {
		return false;
	}
	m->encrypted = flags.data[0] & 2;
	m->unknown_model = model != 3;
	if (!next_is(b, TAG_OCTETS, &parameters)) {
		return false;
	}
	if (!m->unknown_model && !read_usm(&parameters, m)) {
		return false;
	}
	if (m->encrypted) {
		return true;
	}
	if (!next_is(b, TAG_SEQUENCE, &scoped)) {
		return false;
	}
	struct gate_ber s = gate_ber_inside(&scoped);
	return next_is(&s, TAG_OCTETS, &skip) && next_is(&s, TAG_OCTETS, &skip) && read_pdu(&s, m);
}

/* 1: whole; 0: a message of a known version that is malformed; -1: none. */
static int message_read(const uint8_t *data, uint32_t size, struct message *m)
{
	struct gate_ber b = {.data = data, .size = size};
	struct gate_view all;
	uint32_t version = 0;
	memset(m, 0, sizeof(*m));
	m->pdu = -1;
	if (!next_is(&b, TAG_SEQUENCE, &all)) {
		return -1;
	}
	b = gate_ber_inside(&all);
	if (!next_number(&b, &version) || (version > 1 && version != 3)) {
		return -1;
	}
	m->version = (uint8_t)(version < 3 ? version + 1 : 3);
	if (m->version == 3) {
		return read_v3(&b, m);
	}
	return next_is(&b, TAG_OCTETS, &m->community) && read_pdu(&b, m);
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	struct message m;
	int rc = message_read(data, size, &m);
	bool own = port == 161 || port == 162;
	return rc > 0 || (own && rc == 0) ? GATE_PROBE_YES : GATE_PROBE_NO;
}

static void event_before(struct gate_session *session, enum snmp_event event)
{
	struct gate_tx *last = gate_session_last(session);
	if (last) {
		gate_tx_event(session, last, (uint16_t)event);
	}
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct snmp_state *s = state;
	struct message m;
	if (message_read(in->data, in->size, &m) <= 0) {
		event_before(session, SNMP_MALFORMED_DATA);
		return in->size;
	}
	struct gate_tx *tx = gate_tx_new(session, sizeof(struct snmp_tx) + in->size);
	if (!tx) {
		return in->size;
	}
	struct snmp_tx *t = (struct snmp_tx *)tx;
	memcpy(t->raw, in->data, in->size);
	/* the same bytes once more: views into what is kept */
	(void)message_read(t->raw, in->size, &t->m);
	if (m.unknown_model) {
		gate_tx_event(session, tx, SNMP_UNKNOWN_SECURITY_MODEL);
	}
	s->version = s->version ? s->version : m.version;
	if (s->version != m.version) {
		gate_tx_event(session, tx, SNMP_VERSION_MISMATCH);
	}
	tx->skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	gate_tx_done(session, tx, dir);
	return in->size;
}

static void *snmp_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct snmp_state));
}

static void snmp_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct snmp_state));
}

/* ---- what rules and records ask ---- */

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct message *m = &((const struct snmp_tx *)tx)->m;
	const struct gate_view *v = which == GATE_BUF_SNMP_COMMUNITY ? &m->community
				    : which == GATE_BUF_SNMP_USM     ? &m->user
								     : NULL;
	if (!v || !v->data || index || (tx->skip_dirs & GATE_DIR_BIT(dir))) {
		return false;
	}
	*ret = (struct gate_buffer_view){.data = v->data, .size = v->size, .complete = true};
	return true;
}

static bool number(struct gate_tx *tx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	const struct message *m = &((const struct snmp_tx *)tx)->m;
	if (index || (tx->skip_dirs & GATE_DIR_BIT(dir))) {
		return false;
	}
	if (which == GATE_NUM_SNMP_VERSION) {
		*ret = m->version;
		return true;
	}
	*ret = (uint64_t)m->pdu;
	return which == GATE_NUM_SNMP_PDU_TYPE && m->pdu >= 0;
}

static void log_oid(struct gate_jw *jw, const char *key, const struct gate_view *oid)
{
	char text[OID_TEXT];
	size_t n = 0;
	uint64_t value = 0;
	for (uint32_t i = 0; i < oid->size && n + 24 < sizeof(text); i++) {
		value = value << 7 | (oid->data[i] & 0x7f);
		if (oid->data[i] & 0x80) {
			continue;
		}
		if (!n) {
			unsigned int root = value < 80 ? (unsigned int)(value / 40) : 2;
			n += (size_t)snprintf(text, sizeof(text), "%u", root);
			value -= root * 40ull;
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, ".%lu", (unsigned long)value);
		value = 0;
	}
	gate_jw_bytes(jw, key, text, n);
}

static void log_vars(struct gate_jw *jw, const struct gate_view *vars)
{
	struct gate_ber b = gate_ber_inside(vars);
	struct gate_view one, oid;
	if (!vars->size) {
		return;
	}
	gate_jw_array(jw, "vars");
	for (unsigned int i = 0; i < VARS_MAX && next_is(&b, TAG_SEQUENCE, &one); i++) {
		struct gate_ber v = gate_ber_inside(&one);
		if (!next_is(&v, TAG_OID, &oid)) {
			break;
		}
		log_oid(jw, NULL, &oid);
	}
	gate_jw_end(jw);
}

static void log_trap(struct gate_jw *jw, const struct message *m)
{
	static const char *const types[] = {"ColdStart",
					    "WarmStart",
					    "LinkDown",
					    "LinkUp",
					    "AuthenticationFailure",
					    "EgpNeighborLoss",
					    "EnterpriseSpecific"};
	char text[INET_ADDRSTRLEN];
	if (m->trap_type < sizeof(types) / sizeof(types[0])) {
		gate_jw_text(jw, "trap_type", types[m->trap_type]);
	}
	log_oid(jw, "trap_oid", &m->trap_oid);
	if (m->trap_address.size == 4 &&
	    inet_ntop(AF_INET, m->trap_address.data, text, sizeof(text))) {
		gate_jw_text(jw, "trap_address", text);
	}
}

/* RFC 1157 and 3416, under the names that Suricata's records have. */
static void log_error(struct gate_jw *jw, uint32_t error)
{
	static const char *const names[] = {"NoError",
					    "TooBig",
					    "NoSuchName",
					    "BadValue",
					    "ReadOnly",
					    "GenErr",
					    "NoAccess",
					    "WrongType",
					    "WrongLength",
					    "WrongEncoding",
					    "WrongValue",
					    "NoCreation",
					    "InconsistentValue",
					    "ResourceUnavailable",
					    "CommitFailed",
					    "UndoFailed",
					    "AuthorizationError",
					    "NotWritable",
					    "InconsistentName"};
	char text[16];
	if (error < BH_ARRAY_SIZE(names)) {
		gate_jw_text(jw, "error", names[error]);
		return;
	}
	snprintf(text, sizeof(text), "%u", error);
	gate_jw_text(jw, "error", text);
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct message *m = &((const struct snmp_tx *)tx)->m;
	gate_jw_uint(jw, "version", m->version);
	if (m->encrypted) {
		gate_jw_text(jw, "pdu_type", "encrypted");
	}
	if (m->pdu >= 0) {
		gate_jw_text(jw, "pdu_type", pdu_names[m->pdu]);
		if (m->error && m->pdu != PDU_GET_BULK) {
			log_error(jw, m->error);
		}
		if (m->pdu == PDU_TRAP_V1) {
			log_trap(jw, m);
		}
		log_vars(jw, &m->vars);
	}
	if (m->community.data) {
		gate_jw_bytes(jw, "community", m->community.data, m->community.size);
	}
	if (m->user.data) {
		gate_jw_bytes(jw, "usm", m->user.data, m->user.size);
	}
	return true;
}

const struct gate_app_ops gate_snmp_ops = {
	.app = GATE_APP_SNMP,
	.name = "snmp",
	.log = "snmp",
	.transports = 2,
	.states = {request_states, response_states},
	.events = events,
	.event_count = SNMP_EVENTS,
	.ports = ports,
	.probe = probe,
	.new = snmp_new,
	.free = snmp_free,
	.parse = parse,
	.buffer = buffer,
	.number = number,
	.log_tx = log_tx,
};
