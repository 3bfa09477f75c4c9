/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over UDP and TCP. As in Suricata 8 every message is a transaction of its own with one side:
 * a request has no side to the client and a response none to the server. What is no message at all
 * is an event of the transaction before it, when there is one.
 */
#include "gate/app/frame.h"
#include "gate/app/dns/dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

struct dns_state {
	bool gap[GATE_DIRS]; /* bytes were lost: look for a message's beginning */
};

const struct gate_app_event gate_dns_events[GATE_DNS_EVENTS] = {
	[GATE_DNS_MALFORMED_DATA] = {"malformed_data", "malformed message"},
	[GATE_DNS_NOT_REQUEST] = {"not_request", "a response from the client"},
	[GATE_DNS_NOT_RESPONSE] = {"not_response", "a request from the server"},
	[GATE_DNS_Z_FLAG_SET] = {"z_flag_set", "the reserved flag Z is set"},
	[GATE_DNS_INVALID_OPCODE] = {"invalid_opcode", "opcode of 7 or more"},
	[GATE_DNS_NAME_TOO_LONG] = {"name_too_long", "a name was too long and is cut off"},
	[GATE_DNS_INFINITE_LOOP] = {"infinite_loop", "a name that points to itself"},
	[GATE_DNS_TOO_MANY_LABELS] = {"too_many_labels", "a name of too many labels"},
	[GATE_DNS_INVALID_ADDITIONALS] = {"invalid_additionals", "malformed additional records"},
	[GATE_DNS_INVALID_AUTHORITIES] = {"invalid_authorities", "malformed authority records"},
};

static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const uint16_t ports[] = {53, 0};

/* ---- which protocol ---- */

static bool is_host_name(const uint8_t *name, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		uint8_t c = name[i];
		bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
		if (!alnum && c != '-' && c != '_' && c != '.') {
			return false;
		}
	}
	return size > 0;
}

/* On a port that is not its own: one question of the Internet class for a sound name, nothing
 * left over. Ports below 1024 belong to others (Suricata asks on 53 alone); multicast DNS and LLMNR
 * look alike and are other protocols. */
static bool may_be(const uint8_t *data, uint32_t size, uint16_t port)
{
	return port >= 1024 && port != 5353 && port != 5355 && size > GATE_DNS_HEADER_SIZE &&
	       !(data[2] & 0x78) && !data[4] && data[5] == 1;
}

static bool is_surely(const struct gate_dns_reading *r)
{
	const struct gate_dns_message *m = &r->message;
	return m->counts[GATE_DNS_QUERIES] == 1 && m->rrs[0].class == 1 && !m->events &&
	       !(m->flags & GATE_DNS_Z) && m->used == m->raw_size &&
	       gate_dns_type_name(m->rrs[0].type) && m->rrs[0].name_size > 3 &&
	       is_host_name(m->names, m->rrs[0].name_size);
}

static int answer(enum gate_dir dir, uint16_t flags)
{
	bool from_server = flags & GATE_DNS_QR;
	return from_server == (dir == GATE_TO_CLIENT) ? GATE_PROBE_YES : GATE_PROBE_REVERSED;
}

static int probe_message(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	struct gate_dns_reading r;
	if (port != 53 && !may_be(data, size, port)) {
		return GATE_PROBE_NO;
	}
	if (gate_dns_read(data, size, &r) || (port != 53 && !is_surely(&r))) {
		return GATE_PROBE_NO;
	}
	return answer(dir, r.message.flags);
}

/* Whole messages over TCP, or the beginning of one on DNS's own port. */
static int probe_tcp(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	uint32_t length = size >= 2 ? (uint32_t)data[0] << 8 | data[1] : 0;
	if (size >= 2 && length < GATE_DNS_HEADER_SIZE) {
		return GATE_PROBE_NO;
	}
	if (size >= 2 && length <= size - 2) {
		return probe_message(dir, data + 2, length, port);
	}
	if (port != 53) {
		return GATE_PROBE_NO;
	}
	if (size < 2 + GATE_DNS_HEADER_SIZE) {
		return GATE_PROBE_MORE;
	}
	bool one_question = !data[6] && data[7] == 1;
	if (!one_question || !gate_dns_header_ok(data + 2, size - 2, length)) {
		return GATE_PROBE_NO;
	}
	return answer(dir, (uint16_t)(data[4] << 8 | data[5]));
}

/* The bytes alone tell the transport: what is a message as it stands is none with a length before
 * it, whose flags would have to be a number of questions. */
static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	int rc = probe_message(dir, data, size, port);
	return rc == GATE_PROBE_NO ? probe_tcp(dir, data, size, port) : rc;
}

/* ---- messages ---- */

void gate_dns_event_before(struct gate_session *session, enum gate_dns_event event)
{
	struct gate_tx *last = gate_session_last(session);
	if (last) {
		gate_tx_event(session, last, (uint16_t)event);
	}
}

static void message_events(struct gate_session *session, struct gate_tx *tx,
			   const struct gate_dns_message *m)
{
	for (uint16_t e = 0; e < GATE_DNS_EVENTS; e++) {
		if (m->events & (1u << e)) {
			gate_tx_event(session, tx, e);
		}
	}
	if (m->flags & GATE_DNS_Z) {
		gate_tx_event(session, tx, GATE_DNS_Z_FLAG_SET);
	}
	if ((m->flags >> 11 & 0xf) >= 7) {
		gate_tx_event(session, tx, GATE_DNS_INVALID_OPCODE);
	}
}

struct gate_dns_tx *gate_dns_take(struct gate_session *session, enum gate_dir dir,
				  const struct gate_dns_reading *reading)
{
	struct gate_tx *tx =
		gate_tx_new(session, sizeof(struct gate_dns_tx) + gate_dns_need(reading));
	if (!tx) {
		return NULL;
	}
	struct gate_dns_tx *d = (struct gate_dns_tx *)tx;
	gate_dns_keep(reading, d->memory, &d->message);
	message_events(session, tx, &d->message);
	tx->skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	gate_tx_done(session, tx, dir);
	return d;
}

/* False: it is no message. */
static bool message(struct gate_session *session, enum gate_dir dir, const uint8_t *data,
		    uint32_t size)
{
	struct gate_dns_reading r;
	if (!gate_dns_header_ok(data, size, size)) {
		return false;
	}
	if (gate_dns_read(data, size, &r)) {
		gate_dns_event_before(session, GATE_DNS_MALFORMED_DATA);
		return false;
	}
	gate_frame_put(session, dir, GATE_BUF_FRAME_DNS_PDU, data, size);
	bool response = r.message.flags & GATE_DNS_QR;
	if (response != (dir == GATE_TO_CLIENT)) {
		gate_dns_event_before(session,
				      response ? GATE_DNS_NOT_REQUEST : GATE_DNS_NOT_RESPONSE);
		return false;
	}
	(void)gate_dns_take(session, dir, &r); /* without memory it is lost to rules */
	return true;
}

static int64_t stream(struct gate_session *session, struct dns_state *state, enum gate_dir dir,
		      const struct gate_app_input *in)
{
	uint32_t at = 0;
	if (in->gap) {
		state->gap[dir] = true;
		return 0;
	}
	while (in->size - at >= 2) {
		const uint8_t *p = in->data + at;
		uint32_t length = (uint32_t)p[0] << 8 | p[1];
		if (state->gap[dir]) {
			int rc = probe_tcp(dir, p, in->size - at, 53);
			if (rc != GATE_PROBE_YES) {
				return rc == GATE_PROBE_MORE ? (int64_t)at : (int64_t)in->size;
			}
			state->gap[dir] = false;
		}
		if (length > in->size - at - 2) {
			break;
		}
		if (length && !message(session, dir, p + 2, length)) {
			return -EBADMSG;
		}
		at += 2 + length;
	}
	return at;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	if (gate_session_flow(session)->ip_proto != IPPROTO_UDP) {
		return stream(session, state, dir, in);
	}
	/* A datagram that is none of DNS says nothing of those that follow. */
	(void)message(session, dir, in->data, in->size);
	return in->size;
}

static void *dns_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct dns_state));
}

static void dns_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct dns_state));
}

/* ---- what rules and records ask ---- */

static bool is_side(const struct gate_tx *tx, enum gate_dir dir)
{
	return !(tx->skip_dirs & GATE_DIR_BIT(dir));
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct gate_dns_tx *d = (const struct gate_dns_tx *)tx;
	return is_side(tx, dir) && gate_dns_buffer(&d->message, which, index, ret);
}

static bool number(struct gate_tx *tx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	const struct gate_dns_tx *d = (const struct gate_dns_tx *)tx;
	return is_side(tx, dir) && gate_dns_number(&d->message, which, index, ret);
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	gate_dns_log(&((const struct gate_dns_tx *)tx)->message, tx->id, jw);
	return true;
}

const struct gate_app_ops gate_dns_ops = {
	.app = GATE_APP_DNS,
	.name = "dns",
	.log = "dns",
	.transports = 1 | 2,
	.states = {request_states, response_states},
	.events = gate_dns_events,
	.event_count = GATE_DNS_EVENTS,
	.ports = ports,
	.probe = probe,
	.new = dns_new,
	.free = dns_free,
	.parse = parse,
	.buffer = buffer,
	.number = number,
	.log_tx = log_tx,
};
