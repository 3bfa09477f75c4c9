/* SPDX-License-Identifier: Apache-2.0 */
/* Records of TLS and SSLv2, and what rules ask of a connection; see tls.h. */
#include "base/util.h"
#include "gate/app/tls/tls.h"

#include <errno.h>
#include <string.h>

enum {
	REC_CCS = 20,
	REC_ALERT = 21,
	REC_HANDSHAKE = 22,
	REC_DATA = 23,
	REC_HEARTBEAT = 24,
};
#define RECORD_HEADER	  5u
#define SSLV2		  0x0200
#define HEARTBEAT_PADDING 16u
#define EMPTY_RECORDS_MAX 256

static const struct gate_app_event events[TLS_EVENTS] = {
#define EVENT(id, label, what) [TLS_EVENT_##id] = {label, what},
#include "gate/app/tls/events.def"
#undef EVENT
};

static const char *const client_states[] = {"client_in_progress", "client_hello_done",
					    "client_cert_done",	  "client_handshake_done",
					    "client_finished",	  NULL};
static const char *const server_states[] = {"server_in_progress",
					    "server_hello",
					    "server_cert_done",
					    "server_hello_done",
					    "server_handshake_done",
					    "server_finished",
					    NULL};
static const uint16_t ports[] = {443, 0};
static const char *const client_patterns[] = {"\\x16\\x03", "\\x80\\?\\x01\\x03",
					      "\\x80\\?\\x01\\x00\\x02", NULL};
static const char *const server_patterns[] = {"\\x15\\x03", "\\x16\\x03", "\\x17\\x03", NULL};

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	if (size < 3) {
		return GATE_PROBE_MORE;
	}
	if (data[0] & 0x80) {
		bool hello = dir == GATE_TO_SERVER && data[2] == 1;
		return hello ? GATE_PROBE_YES : GATE_PROBE_NO;
	}
	bool record = data[0] >= REC_ALERT && data[0] <= REC_DATA && data[1] == 3 && data[2] <= 4;
	return record ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- the end of the readable part ---- */

/* Only what is encrypted follows, on both sides. */
static void handshake_over(struct tls_state *s)
{
	if (s->over) {
		return;
	}
	s->over = true;
	gate_tx_done(s->session, &s->tx->tx, GATE_TO_SERVER);
	gate_tx_done(s->session, &s->tx->tx, GATE_TO_CLIENT);
	gate_session_encrypted(s->session);
	for (unsigned int dir = 0; dir < GATE_DIRS && !s->frames; dir++) {
		gate_session_stop(s->session, (enum gate_dir)dir);
	}
}

static bool is_tls13(const struct tls_state *s)
{
	return s->tx->side[GATE_TO_CLIENT].version >= 0x0304;
}

static void application_data(struct tls_state *s, enum gate_dir dir)
{
	bool early = dir == GATE_TO_SERVER && (s->tx->hello_flags & GATE_TLS_EARLY_DATA);
	if (early && !s->tx->side[GATE_TO_CLIENT].hello) {
		return;
	}
	handshake_over(s);
}

static void change_cipher_spec(struct tls_state *s, enum gate_dir dir)
{
	const struct tls_side *client = &s->tx->side[GATE_TO_SERVER];
	const struct tls_side *server = &s->tx->side[GATE_TO_CLIENT];
	s->tx->side[dir].ciphered = true;
	if (dir == GATE_TO_CLIENT && server->hello && !server->cert_read && !is_tls13(s) &&
	    s->tx->hello_flags & GATE_TLS_TICKET) {
		s->tx->resumed = true;
	}
	/* TLS 1.3 sends it for middleboxes only (RFC 8446 D.4): data follows that says more. */
	if (!is_tls13(s)) {
		gate_tx_progress(s->session, &s->tx->tx, dir,
				 dir == GATE_TO_SERVER ? TLS_CLIENT_DONE : TLS_SERVER_DONE);
	}
	if (client->ciphered && server->ciphered && server->hello && !is_tls13(s)) {
		handshake_over(s);
	}
}

/* ---- records ---- */

/* RFC 6520 before encryption: a request that asks for more than it carries is Heartbleed. */
static void heartbeat(struct tls_state *s, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	enum gate_dir other = GATE_DIR_OTHER(dir);
	tls_event(s, TLS_EVENT_HEARTBEAT_MESSAGE);
	if (s->heartbeat[other] && size > s->heartbeat[other]) {
		tls_event(s, TLS_EVENT_DATALEAK_HEARTBEAT_MISMATCH);
	}
	s->heartbeat[dir] = s->heartbeat[other] ? 0 : size;
	s->heartbeat[other] = 0;
	if (s->tx->side[dir].ciphered) {
		return;
	}
	if (size < 3 || (data[0] != 1 && data[0] != 2)) {
		tls_event(s, TLS_EVENT_INVALID_HEARTBEAT_MESSAGE);
		return;
	}
	uint32_t payload = gate_be16(data + 1);
	if (data[0] == 1 && payload + 3 + HEARTBEAT_PADDING > size) {
		tls_event(s, TLS_EVENT_OVERFLOW_HEARTBEAT_MESSAGE);
	} else if (data[0] == 2 && payload + 3 > size) {
		tls_event(s, TLS_EVENT_INVALID_HEARTBEAT_MESSAGE);
	}
}

static void alert(struct tls_state *s, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	if (s->tx->side[dir].ciphered) {
		return;
	}
	if (size < 2 || data[0] < 1 || data[0] > 2) {
		tls_event(s, TLS_EVENT_INVALID_ALERT_MESSAGE);
	}
}

/* False: nothing that follows can be read. */
static bool record(struct tls_state *s, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct tls_side *side = &s->tx->side[dir];
	uint8_t type = data[0];
	data += RECORD_HEADER;
	size -= RECORD_HEADER;
	switch (type) {
	case REC_CCS:
		change_cipher_spec(s, dir);
		break;
	case REC_ALERT:
		alert(s, dir, data, size);
		break;
	case REC_HANDSHAKE:
		if (!side->ciphered || is_tls13(s)) {
			return tls_handshake_bytes(s, dir, data, size);
		}
		break;
	case REC_DATA:
		application_data(s, dir);
		break;
	default:
		heartbeat(s, dir, data, size);
		break;
	}
	return true;
}

/* False: what stands there is no record. */
static bool header_ok(struct tls_state *s, const uint8_t *p)
{
	uint32_t length = gate_be16(p + 3);
	if (p[0] < REC_CCS || p[0] > REC_HEARTBEAT) {
		tls_event(s, TLS_EVENT_INVALID_RECORD_TYPE);
		return false;
	}
	bool draft = p[1] == 0x7f || p[1] == 0xfb;
	if (!draft && (p[1] != 3 || p[2] > 4)) {
		tls_event(s, TLS_EVENT_INVALID_RECORD_VERSION);
		return false;
	}
	if (length > GATE_TLS_RECORD_MAX) {
		tls_event(s, TLS_EVENT_INVALID_RECORD_LENGTH);
		return false;
	}
	if (!length && p[0] != REC_DATA) {
		tls_event(s, TLS_EVENT_INVALID_RECORD_LENGTH);
	}
	return true;
}

/* ---- frames: only where a rule asks for them ---- */

static bool frames_wanted(const struct gate_session *session)
{
	return gate_frame_wanted(session, GATE_BUF_FRAME_TLS_PDU) ||
	       gate_frame_wanted(session, GATE_BUF_FRAME_TLS_HDR) ||
	       gate_frame_wanted(session, GATE_BUF_FRAME_TLS_DATA);
}

static void record_frames(struct tls_state *s, enum gate_dir dir, const uint8_t *p, uint32_t whole)
{
	gate_frame_put(s->session, dir, GATE_BUF_FRAME_TLS_PDU, p, whole);
	gate_frame_put(s->session, dir, GATE_BUF_FRAME_TLS_HDR, p, RECORD_HEADER);
	gate_frame_put(s->session, dir, GATE_BUF_FRAME_TLS_DATA, p + RECORD_HEADER,
		       whole - RECORD_HEADER);
	if (p[0] == REC_ALERT) {
		gate_frame_put(s->session, dir, GATE_BUF_FRAME_TLS_ALERT, p + RECORD_HEADER,
			       whole - RECORD_HEADER);
	} else if (p[0] == REC_HEARTBEAT) {
		gate_frame_put(s->session, dir, GATE_BUF_FRAME_TLS_HEARTBEAT, p + RECORD_HEADER,
			       whole - RECORD_HEADER);
	}
}

/* Records behind the handshake, for their frames alone. */
static uint32_t only_frames(struct tls_state *s, enum gate_dir dir, const struct gate_app_input *in)
{
	uint32_t at = 0;
	bool lost = in->gap;
	while (s->frames && !lost && in->size - at >= RECORD_HEADER) {
		const uint8_t *p = in->data + at;
		uint32_t whole = RECORD_HEADER + gate_be16(p + 3);
		lost = p[0] < REC_CCS || p[0] > REC_HEARTBEAT || p[1] != 3 ||
		       whole > RECORD_HEADER + GATE_TLS_RECORD_MAX;
		if (lost || whole > in->size - at) {
			break;
		}
		record_frames(s, dir, p, whole);
		at += whole;
	}
	if (lost) {
		s->frames = false;
		gate_session_stop(s->session, GATE_TO_SERVER);
		gate_session_stop(s->session, GATE_TO_CLIENT);
	}
	return s->frames ? at : in->size;
}

/* ---- SSLv2 (draft-hickman-netscape-ssl-00; RFC 5246 E.2: a hello for later versions) ---- */

static uint32_t sslv2_head(const uint8_t *p)
{
	return p[0] & 0x80 ? 2 : 3;
}

static uint32_t sslv2_length(const uint8_t *p)
{
	uint32_t length = gate_be16(p);
	return p[0] & 0x80 ? length & 0x7fff : length & 0x3fff;
}

static bool sslv2_message(struct tls_state *s, enum gate_dir dir, const uint8_t *data,
			  uint32_t size)
{
	struct tls_side *side = &s->tx->side[dir];
	if (!size) {
		tls_event(s, TLS_EVENT_INVALID_SSLV2_HEADER);
		return false;
	}
	if (!data[0]) {
		tls_event(s, TLS_EVENT_ERROR_MESSAGE_ENCOUNTERED);
	} else if (data[0] == 1 && dir == GATE_TO_SERVER && size >= 3) {
		uint16_t version = gate_be16(data + 1);
		side->hello = true;
		side->version = version == 2 ? SSLV2 : version;
		s->sslv2 = version == 2;
		gate_tx_progress(s->session, &s->tx->tx, dir, TLS_CLIENT_HELLO);
	} else if (data[0] == 4 && dir == GATE_TO_CLIENT && size >= 5) {
		side->hello = true;
		side->version = SSLV2;
		gate_tx_progress(s->session, &s->tx->tx, dir, TLS_SERVER_HELLO);
	} else if (side->hello && s->tx->side[GATE_DIR_OTHER(dir)].hello && data[0] > 2) {
		/* verified, finished or encrypted */
		handshake_over(s);
	}
	return true;
}

/* The next message is SSLv2's: its size with the header, 0 unknown, -1 none. */
static int64_t sslv2_size(const struct tls_state *s, enum gate_dir dir, const uint8_t *p,
			  uint32_t size)
{
	bool first = dir == GATE_TO_SERVER && !s->began[dir] && (p[0] & 0x80);
	if (!first && !s->sslv2) {
		return -1;
	}
	if (size < 3) {
		return 0;
	}
	return (int64_t)sslv2_head(p) + sslv2_length(p);
}

/* ---- bytes ---- */

/* How many bytes the record at p takes, 0 when more must come, -1 when it is none. */
static int64_t one(struct tls_state *s, enum gate_dir dir, const uint8_t *p, uint32_t size)
{
	int64_t old = sslv2_size(s, dir, p, size);
	if (old >= 0) {
		if (!old || old > size) {
			return 0;
		}
		s->began[dir] = true;
		uint32_t head = sslv2_head(p);
		gate_frame_put(s->session, dir, GATE_BUF_FRAME_SSL2_PDU, p, (uint32_t)old);
		gate_frame_put(s->session, dir, GATE_BUF_FRAME_SSL2_HDR, p, head);
		return sslv2_message(s, dir, p + head, (uint32_t)old - head) ? old : -1;
	}
	if (size < RECORD_HEADER) {
		return 0;
	}
	if (!header_ok(s, p)) {
		return -1;
	}
	uint32_t whole = RECORD_HEADER + gate_be16(p + 3);
	s->began[dir] = true;
	s->tx->side[dir].record_version = gate_be16(p + 1);
	if (p[0] == REC_DATA && !s->frames) {
		application_data(s, dir);
		s->skip[dir] = whole - (whole < size ? whole : size);
		return whole < size ? whole : size;
	}
	if (whole > size) {
		return 0;
	}
	record_frames(s, dir, p, whole);
	return record(s, dir, p, whole) ? (int64_t)whole : -1;
}

static bool begin(struct gate_session *session, struct tls_state *s)
{
	if (!s->tx) {
		s->session = session;
		s->frames = frames_wanted(session);
		s->tx = (struct tls_tx *)gate_tx_new(session, sizeof(struct tls_tx));
		if (s->tx) {
			s->tx->from = (uint16_t)gate_session_original(session);
		}
	}
	return s->tx != NULL;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct tls_state *s = state;
	unsigned int empty = 0;
	uint32_t at = 0;
	if (s->over) {
		return only_frames(s, dir, in);
	}
	if (in->gap || !begin(session, s)) {
		return -EBADMSG;
	}
	if (s->skip[dir]) {
		at = s->skip[dir] < in->size ? s->skip[dir] : in->size;
		s->skip[dir] -= at;
	}
	while (at < in->size && !s->over) {
		int64_t n = one(s, dir, in->data + at, in->size - at);
		if (n < 0) {
			return -EBADMSG;
		}
		if (!n) {
			break;
		}
		empty += n == RECORD_HEADER;
		if (empty > EMPTY_RECORDS_MAX) {
			tls_event(s, TLS_EVENT_TOO_MANY_RECORDS_IN_PACKET);
			return -EBADMSG;
		}
		at += (uint32_t)n;
	}
	return s->over && !s->frames ? in->size : at;
}

static void *tls_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct tls_state));
}

static void tls_free(struct gate_session *session, void *state)
{
	struct tls_state *s = state;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		gate_session_release(session, s->part[dir].data, s->part[dir].capacity);
	}
	gate_session_release(session, s, sizeof(*s));
}

static void text_free(struct gate_session *session, struct tls_text *text)
{
	gate_session_release(session, text->data, text->size);
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	struct tls_tx *t = (struct tls_tx *)tx;
	text_free(session, &t->sni);
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		struct tls_side *side = &t->side[dir];
		text_free(session, &side->alpn);
		text_free(session, &side->ja3);
		text_free(session, &side->chain);
		text_free(session, &side->subject);
		text_free(session, &side->issuer);
		text_free(session, &side->serial);
		text_free(session, &side->alt_names);
	}
}

/* ---- what rules ask ---- */

static bool view(struct gate_buffer_view *ret, const void *data, size_t size)
{
	*ret = (struct gate_buffer_view){.data = data, .size = (uint32_t)size, .complete = true};
	return data && size;
}

static bool alpn(const struct tls_side *side, uint32_t index, struct gate_buffer_view *ret)
{
	struct gate_view all = {.data = side->alpn.data, .size = side->alpn.size}, item = {};
	return gate_tls_hello_alpn(&all, index, &item) && view(ret, item.data, item.size);
}

static bool alt_name(const struct tls_side *side, uint32_t index, struct gate_buffer_view *ret)
{
	if (index >= side->alt_count) {
		return false;
	}
	uint32_t from = index ? side->alt_end[index - 1] : 0;
	return view(ret, side->alt_names.data + from, side->alt_end[index] - from);
}

static bool certificate(const struct tls_side *side, uint32_t index, struct gate_buffer_view *ret)
{
	return index < side->cert_count &&
	       view(ret, side->chain.data + side->cert_at[index], side->cert_size[index]);
}

static bool hello_buffer(const struct tls_side *side, enum gate_buffer which,
			 struct gate_buffer_view *ret)
{
	if (!side->hello) {
		return false;
	}
	switch (which) {
	case GATE_BUF_TLS_RANDOM:
		return view(ret, side->random, GATE_TLS_RANDOM_SIZE);
	case GATE_BUF_TLS_RANDOM_TIME:
		return view(ret, side->random, 4);
	case GATE_BUF_TLS_RANDOM_BYTES:
		return view(ret, side->random + 4, GATE_TLS_RANDOM_SIZE - 4);
	case GATE_BUF_JA3_HASH:
	case GATE_BUF_JA3S_HASH:
		return view(ret, side->ja3_hash, strlen(side->ja3_hash));
	case GATE_BUF_JA3_STRING:
	case GATE_BUF_JA3S_STRING:
		return view(ret, side->ja3.data, side->ja3.size);
	case GATE_BUF_JA4_HASH:
		return view(ret, side->ja4, strlen(side->ja4));
	default:
		return false;
	}
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct tls_tx *t = (const struct tls_tx *)tx;
	const struct tls_side *side = &t->side[dir];
	switch (which) {
	case GATE_BUF_TLS_ALPN:
		return alpn(side, index, ret);
	case GATE_BUF_TLS_SUBJECTALTNAME:
		return alt_name(side, index, ret);
	case GATE_BUF_TLS_CERTS:
		return certificate(side, index, ret);
	default:
		break;
	}
	if (index) {
		return false;
	}
	switch (which) {
	case GATE_BUF_TLS_SNI:
		return view(ret, t->sni.data, t->sni.size);
	case GATE_BUF_TLS_CERT_SUBJECT:
		return view(ret, side->subject.data, side->subject.size);
	case GATE_BUF_TLS_CERT_ISSUER:
		return view(ret, side->issuer.data, side->issuer.size);
	case GATE_BUF_TLS_CERT_SERIAL:
		return view(ret, side->serial.data, side->serial.size);
	case GATE_BUF_TLS_CERT_FINGERPRINT:
		return view(ret, side->fingerprint, strlen(side->fingerprint));
	default:
		return hello_buffer(side, which, ret);
	}
}

/* The index-th bit of what was seen. */
static bool seen(const struct tls_side *side, uint32_t index, uint64_t *ret)
{
	for (uint8_t bit = 1; bit <= TLS_SEEN_SERVER_KEYX; bit = (uint8_t)(bit << 1)) {
		if ((side->seen & bit) && !index--) {
			*ret = bit;
			return true;
		}
	}
	return false;
}

/* From SSLv2 to TLS 1.3, one each; 0: another. */
static uint64_t version_bit(uint16_t version)
{
	static const uint16_t versions[] = {0x0200, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(versions); i++) {
		if (versions[i] == version) {
			return 1u << i;
		}
	}
	return 0;
}

static bool number(struct gate_tx *tx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	const struct tls_tx *t = (const struct tls_tx *)tx;
	const struct tls_side *side = &t->side[dir];
	if (which == GATE_NUM_TLS_STATE) {
		return seen(side, index, ret);
	}
	if (index) {
		return false;
	}
	switch (which) {
	case GATE_NUM_TLS_VERSION:
		*ret = side->version;
		return side->version != 0;
	case GATE_NUM_TLS_VERSION_BIT:
		*ret = version_bit(side->version);
		return side->version != 0;
	case GATE_NUM_TLS_CERT_CHAIN_LEN:
		*ret = side->cert_count;
		return side->cert_read;
	case GATE_NUM_TLS_CERT_NOTBEFORE:
		*ret = (uint64_t)side->not_before;
		return side->has_cert && side->not_before >= 0;
	case GATE_NUM_TLS_CERT_NOTAFTER:
		*ret = (uint64_t)side->not_after;
		return side->has_cert && side->not_after >= 0;
	case GATE_NUM_TLS_CERT_EXPIRED:
		*ret = side->not_after < (int64_t)(tx->last_us / 1000000);
		return side->has_cert;
	default:
		return false;
	}
}

const struct gate_app_ops gate_tls_ops = {
	.app = GATE_APP_TLS,
	.name = "tls",
	.log = "tls",
	.transports = 1,
	.states = {client_states, server_states},
	.events = events,
	.event_count = TLS_EVENTS,
	.ports = ports,
	.patterns = {client_patterns, server_patterns},
	.probe = probe,
	.new = tls_new,
	.free = tls_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.number = number,
	.log_tx = tls_log,
};
