/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP (RFC 3261) over UDP and TCP: request and response lines, headers with their compact forms. As
 * in Suricata every message is a transaction with one side: requests come from the client,
 * responses from the server, anything else is an event of the transaction before. A message's head
 * takes at most HEAD_MAX bytes and HEADERS_MAX headers that rules ask for; more are not kept. A
 * body is kept when it is a session description of at most SDP_MAX bytes; over TCP such a message
 * is one when its body is there.
 */
#include "gate/app/app.h"
#include "gate/app/frame.h"
#include "gate/app/sip/sdp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX    16384u
#define HEADERS_MAX 256u
#define BODY_MAX    (1u << 24)

enum sip_event { SIP_INCOMPLETE_DATA, SIP_INVALID_DATA, SIP_EVENTS };
static const struct gate_app_event events[SIP_EVENTS] = {
	[SIP_INCOMPLETE_DATA] = {"incomplete_data", "a message without its end"},
	[SIP_INVALID_DATA] = {"invalid_data", "no message of this side"},
};

/* In the order of `headers` below. */
enum sip_header { SIP_FROM, SIP_TO, SIP_VIA, SIP_AGENT, SIP_TYPE, SIP_LENGTH, SIP_HEADERS };

static const struct {
	const char *name, *compact;
} headers[SIP_HEADERS] = {
	[SIP_FROM] = {"from", "f"},	    [SIP_TO] = {"to", "t"},
	[SIP_VIA] = {"via", "v"},	    [SIP_AGENT] = {"user-agent", NULL},
	[SIP_TYPE] = {"content-type", "c"}, [SIP_LENGTH] = {"content-length", "l"},
};

struct part {
	uint16_t at, size;
};
struct field {
	uint8_t header;
	struct part value;
};

/* What is found in a head; positions are in it. */
struct head {
	bool request;
	struct part line, words[3];
	uint32_t size, body; /* body: as Content-Length says */
	uint32_t line_end;   /* behind it */
	bool sdp;	     /* is what the body is */
	uint16_t field_count;
	struct field fields[HEADERS_MAX];
};

struct sip_tx {
	struct gate_tx tx;
	bool request;
	struct part line, words[3];
	uint16_t field_count;
	struct field *fields; /* in memory, before the text */
	uint8_t *text;
	struct gate_view sdp; /* behind the text */
	uint64_t memory[];
};

struct sip_state {
	uint32_t skip[GATE_DIRS]; /* of a body, or of its rest */
};

static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const char *const client_patterns[] = {
	"REGISTER ",  "INVITE ", "ACK ",     "BYE ",	 "CANCEL ", "UPDATE ",	"REFER ", "PRACK ",
	"SUBSCRIBE ", "NOTIFY ", "PUBLISH ", "MESSAGE ", "INFO ",   "OPTIONS ", NULL};
static const char *const server_patterns[] = {"SIP/2.0", NULL};
static const uint16_t ports[] = {5060, 5061, 0};

/* ---- reading ---- */

/* Where the line at `at` ends (its CR or LF) and the next begins; false: it has no end. */
static bool line_end(const uint8_t *data, uint32_t size, uint32_t at, uint32_t *ret_end,
		     uint32_t *ret_next)
{
	const uint8_t *lf = memchr(data + at, '\n', size - at);
	if (!lf) {
		return false;
	}
	uint32_t end = (uint32_t)(lf - data);
	*ret_next = end + 1;
	*ret_end = end > at && data[end - 1] == '\r' ? end - 1 : end;
	return true;
}

static bool split_words(const uint8_t *data, struct head *h)
{
	uint32_t at = h->line.at, end = at + h->line.size;
	for (unsigned int i = 0; i < 3; i++) {
		uint32_t from = at;
		while (at < end && (i == 2 || data[at] != ' ')) {
			at++;
		}
		h->words[i] = (struct part){.at = (uint16_t)from, .size = (uint16_t)(at - from)};
		if (at == end && i < 2) {
			/* a reason may be left out, with its space */
			return i == 1 && !h->request && h->words[1].size;
		}
		if (!h->words[i].size && !(i == 2 && !h->request)) {
			return false;
		}
		at++;
	}
	return true;
}

static bool is_version(const uint8_t *data, const struct part *p)
{
	return p->size >= 5 && !memcmp(data + p->at, "SIP/", 4);
}

static bool read_line(const uint8_t *data, struct head *h)
{
	h->request = h->line.size < 4 || memcmp(data + h->line.at, "SIP/", 4) != 0;
	if (!split_words(data, h)) {
		return false;
	}
	if (h->request) {
		return is_version(data, &h->words[2]);
	}
	for (uint16_t i = 0; i < h->words[1].size; i++) {
		uint8_t c = data[h->words[1].at + i];
		if (c < '0' || c > '9') {
			return false;
		}
	}
	return is_version(data, &h->words[0]);
}

static int header_find(const uint8_t *name, uint32_t size)
{
	for (int i = 0; i < SIP_HEADERS; i++) {
		const char *full = headers[i].name, *compact = headers[i].compact;
		if ((size == strlen(full) && !strncasecmp((const char *)name, full, size)) ||
		    (compact && size == 1 && (name[0] | 0x20) == compact[0])) {
			return i;
		}
	}
	return -1;
}

static uint32_t read_number(const uint8_t *data, const struct part *p)
{
	uint32_t value = 0;
	for (uint16_t i = 0; i < p->size && data[p->at + i] >= '0' && data[p->at + i] <= '9'; i++) {
		value = value * 10 + (uint32_t)(data[p->at + i] - '0');
		value = value < BODY_MAX ? value : BODY_MAX;
	}
	return value;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static bool is_sdp(const uint8_t *data, const struct part *type)
{
	static const char sdp[] = "application/sdp";

	return type->size >= sizeof(sdp) - 1 &&
	       !strncasecmp((const char *)data + type->at, sdp, sizeof(sdp) - 1);
}

/* A header from `at` to `end`; false: none. */
static bool read_header(const uint8_t *data, uint32_t at, uint32_t end, struct head *h)
{
	const uint8_t *colon = memchr(data + at, ':', end - at);
	if (!colon) {
		return false;
	}
	uint32_t value = (uint32_t)(colon - data) + 1, name_end = value - 1;
	while (name_end > at && is_blank(data[name_end - 1])) {
		name_end--;
	}
	while (value < end && is_blank(data[value])) {
		value++;
	}
	while (end > value && is_blank(data[end - 1])) {
		end--;
	}
	int header = header_find(data + at, name_end - at);
	if (header >= 0 && h->field_count < HEADERS_MAX) {
		struct field *f = &h->fields[h->field_count++];
		f->header = (uint8_t)header;
		f->value = (struct part){.at = (uint16_t)value, .size = (uint16_t)(end - value)};
		h->body = header == SIP_LENGTH ? read_number(data, &f->value) : h->body;
		h->sdp = header == SIP_TYPE ? is_sdp(data, &f->value) : h->sdp;
	}
	return true;
}

/* 1: read; 0: its end is not there yet; -1: no message. */
static int head_read(const uint8_t *data, uint32_t size, struct head *h)
{
	uint32_t at = 0, end = 0, next = 0;
	memset(h, 0, offsetof(struct head, fields));
	size = size < HEAD_MAX ? size : HEAD_MAX;
	if (!size || !line_end(data, size, 0, &end, &next)) {
		return size == HEAD_MAX ? -1 : 0;
	}
	h->line.size = (uint16_t)end;
	h->line_end = next;
	if (!read_line(data, h)) {
		return -1;
	}
	for (at = next;; at = next) {
		if (at >= size || !line_end(data, size, at, &end, &next)) {
			return size == HEAD_MAX ? -1 : 0;
		}
		if (end == at) {
			h->size = next;
			return 1;
		}
		/* folded lines belong to their header */
		while (next < size && is_blank(data[next]) &&
		       line_end(data, size, next, &end, &next)) {
		}
		if (!read_header(data, at, end, h)) {
			return -1;
		}
	}
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	struct head h;
	uint32_t end = 0, next = 0;
	if (!line_end(data, size, 0, &end, &next)) {
		return size < 2048 ? GATE_PROBE_MORE : GATE_PROBE_NO;
	}
	if (end > UINT16_MAX) {
		return GATE_PROBE_NO;
	}
	memset(&h, 0, offsetof(struct head, fields));
	h.line.size = (uint16_t)end;
	bool fits = read_line(data, &h) && h.request == (dir == GATE_TO_SERVER);
	return fits ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- messages ---- */

static void event_before(struct gate_session *session, enum sip_event event)
{
	struct gate_tx *last = gate_session_last(session);
	if (last) {
		gate_tx_event(session, last, (uint16_t)event);
	}
}

/* body: what is there of it. */
static void message(struct gate_session *session, enum gate_dir dir, const uint8_t *data,
		    const struct head *h, uint32_t body)
{
	size_t fields = h->field_count * sizeof(struct field);
	uint32_t sdp = h->sdp && body <= SDP_MAX ? body : 0;
	struct gate_tx *tx = gate_tx_new(session, sizeof(struct sip_tx) + fields + h->size + sdp);
	if (!tx) {
		return;
	}
	struct sip_tx *t = (struct sip_tx *)tx;
	t->request = h->request;
	t->line = h->line;
	memcpy(t->words, h->words, sizeof(t->words));
	t->field_count = h->field_count;
	t->fields = (struct field *)t->memory;
	t->text = (uint8_t *)t->memory + fields;
	memcpy(t->fields, h->fields, fields);
	memcpy(t->text, data, h->size + sdp);
	t->sdp = (struct gate_view){t->text + h->size, sdp};
	tx->skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	gate_tx_done(session, tx, dir);
}

/* ---- frames ---- */

/* Of a head; that of the headers ends before the empty line. */
static void head_frames(struct gate_session *session, enum gate_dir dir, const uint8_t *data,
			const struct head *h)
{
	uint32_t end = h->size - 1;
	if (end > h->line_end && data[end - 1] == '\r') {
		end--;
	}
	gate_frame_put(session, dir,
		       h->request ? GATE_BUF_FRAME_SIP_REQUEST_LINE
				  : GATE_BUF_FRAME_SIP_RESPONSE_LINE,
		       data, h->line_end);
	gate_frame_put(session, dir,
		       h->request ? GATE_BUF_FRAME_SIP_REQUEST_HEADERS
				  : GATE_BUF_FRAME_SIP_RESPONSE_HEADERS,
		       data + h->line_end, end - h->line_end);
}

static enum gate_buffer body_frame(enum gate_dir dir)
{
	return dir == GATE_TO_SERVER ? GATE_BUF_FRAME_SIP_REQUEST_BODY
				     : GATE_BUF_FRAME_SIP_RESPONSE_BODY;
}

/* A piece of a body over TCP, which ends with it when nothing is left. */
static void body_frames(struct gate_session *session, enum gate_dir dir, const uint8_t *data,
			uint32_t size, uint32_t left)
{
	if (size) {
		gate_frame_add(session, dir, GATE_BUF_FRAME_SIP_PDU, data, size);
		gate_frame_add(session, dir, body_frame(dir), data, size);
	}
	if (!left) {
		gate_frame_end(session, dir, GATE_BUF_FRAME_SIP_PDU);
		gate_frame_end(session, dir, body_frame(dir));
	}
}

/* ---- packets and streams ---- */

static void datagram(struct gate_session *session, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct head h;
	int rc = head_read(in->data, in->size, &h);
	gate_frame_put(session, dir, GATE_BUF_FRAME_SIP_PDU, in->data, in->size);
	if (rc <= 0 || h.request != (dir == GATE_TO_SERVER)) {
		event_before(session, rc == 0 ? SIP_INCOMPLETE_DATA : SIP_INVALID_DATA);
		return;
	}
	head_frames(session, dir, in->data, &h);
	if (in->size > h.size) {
		gate_frame_put(session, dir, body_frame(dir), in->data + h.size, in->size - h.size);
	}
	message(session, dir, in->data, &h, in->size - h.size);
}

/* What was used of a message at `data`; 0: more is needed, < 0: it is none. */
static int64_t stream_message(struct gate_session *session, struct sip_state *state,
			      enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct head h;
	int rc = head_read(data, size, &h);
	uint32_t body = 0;
	if (!rc) {
		return 0;
	}
	if (rc < 0 || h.request != (dir == GATE_TO_SERVER)) {
		event_before(session, SIP_INVALID_DATA);
		return -EBADMSG;
	}
	if (h.sdp && h.body <= SDP_MAX) {
		body = h.body;
		if (size - h.size < body) {
			return 0;
		}
	}
	head_frames(session, dir, data, &h);
	gate_frame_add(session, dir, GATE_BUF_FRAME_SIP_PDU, data, h.size);
	message(session, dir, data, &h, body);
	state->skip[dir] = h.body - body;
	body_frames(session, dir, data + h.size, body, state->skip[dir]);
	return h.size + body;
}

static int64_t stream(struct gate_session *session, struct sip_state *state, enum gate_dir dir,
		      const struct gate_app_input *in)
{
	uint32_t at = 0;
	if (in->gap) {
		return -EBADMSG;
	}
	while (at < in->size) {
		uint32_t n = state->skip[dir] < in->size - at ? state->skip[dir] : in->size - at;
		if (n) {
			state->skip[dir] -= n;
			body_frames(session, dir, in->data + at, n, state->skip[dir]);
			at += n;
			continue;
		}
		if (in->data[at] == '\r' || in->data[at] == '\n') {
			at++; /* empty lines of keep-alive */
			continue;
		}
		int64_t used = stream_message(session, state, dir, in->data + at, in->size - at);
		if (used <= 0) {
			return used < 0 ? used : at;
		}
		at += (uint32_t)used;
	}
	return at;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	if (gate_session_flow(session)->ip_proto != IPPROTO_UDP) {
		return stream(session, state, dir, in);
	}
	datagram(session, dir, in);
	return in->size;
}

static void *sip_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct sip_state));
}

static void sip_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct sip_state));
}

/* ---- what rules and records ask ---- */

static bool part_view(const struct sip_tx *t, const struct part *p, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){
		.data = t->text + p->at, .size = p->size, .complete = true};
	return p->size > 0;
}

static bool field_view(const struct sip_tx *t, enum sip_header header, uint32_t index,
		       struct gate_buffer_view *ret)
{
	for (uint16_t i = 0; i < t->field_count; i++) {
		if (t->fields[i].header != header) {
			continue;
		}
		if (!index) {
			(void)part_view(t, &t->fields[i].value, ret);
			return true;
		}
		index--;
	}
	return false;
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct sip_tx *t = (const struct sip_tx *)tx;
	if (tx->skip_dirs & GATE_DIR_BIT(dir)) {
		return false;
	}
	switch (which) {
	case GATE_BUF_SIP_METHOD:
		return t->request && part_view(t, &t->words[0], ret);
	case GATE_BUF_SIP_URI:
		return t->request && part_view(t, &t->words[1], ret);
	case GATE_BUF_SIP_PROTOCOL:
		return part_view(t, &t->words[t->request ? 2 : 0], ret);
	case GATE_BUF_SIP_REQUEST_LINE:
		return t->request && part_view(t, &t->line, ret);
	case GATE_BUF_SIP_RESPONSE_LINE:
		return !t->request && part_view(t, &t->line, ret);
	case GATE_BUF_SIP_STAT_CODE:
		return !t->request && part_view(t, &t->words[1], ret);
	case GATE_BUF_SIP_STAT_MSG:
		return !t->request && part_view(t, &t->words[2], ret);
	case GATE_BUF_SIP_FROM:
		return field_view(t, SIP_FROM, index, ret);
	case GATE_BUF_SIP_TO:
		return field_view(t, SIP_TO, index, ret);
	case GATE_BUF_SIP_VIA:
		return field_view(t, SIP_VIA, index, ret);
	case GATE_BUF_SIP_USER_AGENT:
		return field_view(t, SIP_AGENT, index, ret);
	case GATE_BUF_SIP_CONTENT_TYPE:
		return field_view(t, SIP_TYPE, index, ret);
	case GATE_BUF_SIP_CONTENT_LENGTH:
		return field_view(t, SIP_LENGTH, index, ret);
	default:
		return t->sdp.size && gate_sdp_value(&t->sdp, which, index, ret);
	}
}

static void log_part(struct gate_jw *jw, const struct sip_tx *t, const char *key,
		     const struct part *p)
{
	gate_jw_bytes(jw, key, t->text + p->at, p->size);
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct sip_tx *t = (const struct sip_tx *)tx;
	if (t->request) {
		log_part(jw, t, "method", &t->words[0]);
		log_part(jw, t, "uri", &t->words[1]);
		log_part(jw, t, "version", &t->words[2]);
		log_part(jw, t, "request_line", &t->line);
	} else {
		log_part(jw, t, "version", &t->words[0]);
		log_part(jw, t, "code", &t->words[1]);
		log_part(jw, t, "reason", &t->words[2]);
		log_part(jw, t, "response_line", &t->line);
	}
	return true;
}

const struct gate_app_ops gate_sip_ops = {
	.app = GATE_APP_SIP,
	.name = "sip",
	.log = "sip",
	.transports = 1 | 2,
	.states = {request_states, response_states},
	.events = events,
	.event_count = SIP_EVENTS,
	.ports = ports,
	.patterns = {client_patterns, server_patterns},
	.probe = probe,
	.new = sip_new,
	.free = sip_free,
	.parse = parse,
	.buffer = buffer,
	.log_tx = log_tx,
};
