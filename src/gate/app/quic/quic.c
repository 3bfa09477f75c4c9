/* SPDX-License-Identifier: Apache-2.0 */
/* Packets, frames and transactions; see quic.h. */
#include "gate/app/quic/quic.h"

#include <errno.h>
#include <string.h>

enum {
	FRAME_PADDING = 0,
	FRAME_PING = 1,
	FRAME_ACK = 2,
	FRAME_ACK_ECN = 3,
	FRAME_CRYPTO = 6,
	FRAME_GOOGLE_CRYPTO = 8, /* of Q050 */
};
enum { HS_CLIENT_HELLO = 1, HS_SERVER_HELLO = 2 };
#define PARAMETER_USER_AGENT 0x3129
#define ACK_RANGES_MAX	     1024
#define SHORT_MIN	     21u /* packets with a short header (RFC 9000 10.3) */

static const struct gate_app_event events[QUIC_EVENTS] = {
	[QUIC_FAILED_DECRYPT] = {"failed_decrypt", "a packet that can't be opened"},
	[QUIC_ERROR_ON_DATA] = {"error_on_data", "frames that can't be"},
	[QUIC_ERROR_ON_HEADER] = {"error_on_header", "a header that can't be (never said)"},
	[QUIC_CRYPTO_FRAG_TOO_LONG] = {"crypto_frag_too_long", "a hello that is too long"},
};
static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const uint16_t ports[] = {443, 80, 0};

struct quic_state {
	struct quic_keys keys;
	bool hello[GATE_DIRS], retried;
	struct quic_crypto crypto[GATE_DIRS];
};

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	struct quic_header h;
	if (!quic_header_read(data, size, &h)) {
		return GATE_PROBE_NO;
	}
	if (port != 443 && port != 80) {
		/* what begins a connection fills its datagram (RFC 9000 14.1) */
		bool begins = h.kind != QUIC_NONE && h.type == QUIC_INITIAL &&
			      (h.kind == QUIC_GOOGLE || size >= 1200);
		return begins ? GATE_PROBE_YES : GATE_PROBE_NO;
	}
	bool goes_on = h.type == QUIC_SHORT && data[0] & 0x40 && size >= SHORT_MIN;
	return h.type != QUIC_SHORT || goes_on ? GATE_PROBE_YES : GATE_PROBE_NO;
}

/* ---- transactions ---- */

static struct quic_tx *new_tx(struct gate_session *session, enum gate_dir dir,
			      const struct quic_header *h)
{
	struct gate_tx *tx = gate_tx_new(session, sizeof(struct quic_tx));
	if (!tx) {
		return NULL;
	}
	struct quic_tx *t = (struct quic_tx *)tx;
	quic_version_name(h->version, t->version_text);
	for (unsigned int i = 0; i < sizeof(t->version); i++) {
		t->version[i] = (uint8_t)(h->version >> (24 - 8 * i));
	}
	t->is_long = h->is_long;
	t->client = dir == GATE_TO_SERVER;
	tx->skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	return t;
}

static void tx_done(struct gate_session *session, struct quic_tx *t, enum gate_dir dir)
{
	if (t) {
		gate_tx_done(session, &t->tx, dir);
	}
}

static void event_tx(struct gate_session *session, enum gate_dir dir, const struct quic_header *h,
		     enum quic_event event)
{
	struct quic_tx *t = new_tx(session, dir, h);
	if (t) {
		gate_tx_event(session, &t->tx, (uint16_t)event);
		tx_done(session, t, dir);
	}
}

static void keep(struct gate_session *session, struct gate_view *text, const void *data,
		 uint32_t size)
{
	uint8_t *copy = size ? gate_session_alloc(session, size) : NULL;
	if (copy) {
		memcpy(copy, data, size);
		*text = (struct gate_view){.data = copy, .size = size};
	}
}

static void keep_user_agent(struct gate_session *session, struct quic_tx *t,
			    const struct gate_view *parameters)
{
	uint64_t id = 0, size = 0;
	for (uint32_t at = 0; at < parameters->size; at += (uint32_t)size) {
		if (!quic_varint(parameters->data, parameters->size, &at, &id) ||
		    !quic_varint(parameters->data, parameters->size, &at, &size) ||
		    size > parameters->size - at) {
			return;
		}
		if (id == PARAMETER_USER_AGENT) {
			keep(session, &t->ua, parameters->data + at, (uint32_t)size);
			return;
		}
	}
}

static void keep_extensions(struct gate_session *session, struct quic_tx *t,
			    const struct gate_view *extensions)
{
	uint8_t types[2 * QUIC_EXTENSIONS_MAX];
	uint32_t size = 0;
	uint16_t type = 0;
	for (uint32_t at = 0; size < sizeof(types) && extensions->size &&
			      gate_tls_hello_extension(extensions, &at, &type);
	     size += 2) {
		types[size] = (uint8_t)(type >> 8);
		types[size + 1] = (uint8_t)type;
	}
	keep(session, &t->extensions, types, size);
}

/* A whole handshake message of TLS; false: it is no hello. */
static bool hello(struct gate_session *session, struct quic_tx *t, const uint8_t *message,
		  uint32_t size)
{
	struct gate_tls_hello h;
	char text[GATE_JA3_STRING_MAX];
	bool client = message[0] == HS_CLIENT_HELLO;
	if (client != t->client || (!client && message[0] != HS_SERVER_HELLO) ||
	    !gate_tls_hello_read(message + 4, size - 4, client, &h)) {
		return false;
	}
	uint32_t length = gate_ja3_string(&h, text);
	keep(session, &t->ja3, text, length);
	if (length) {
		gate_ja3_hash(text, length, t->ja3_hash);
	}
	keep(session, &t->alpn, h.alpn.data, h.alpn.size);
	keep_extensions(session, t, &h.extensions);
	if (client) {
		keep(session, &t->sni, h.sni.data, h.sni.size);
		keep_user_agent(session, t, &h.quic_parameters);
		if (!gate_ja4(&h, 'q', t->ja4)) {
			t->ja4[0] = '\0';
		}
	}
	return true;
}

static void google_hello(struct gate_session *session, struct quic_tx *t, const struct quic_chlo *c)
{
	keep(session, &t->sni, c->sni.data, c->sni.size);
	keep(session, &t->ua, c->ua.data, c->ua.size);
	if (t->version[2] < '5') { /* CYU is of Q039 to Q046 */
		keep(session, &t->cyu, c->cyu, c->cyu_size);
		gate_ja3_hash(c->cyu, c->cyu_size, t->cyu_hash);
	}
}

/* ---- frames ---- */

/* Puts a piece where it belongs and joins ranges; false: there are too many. */
static bool crypto_add(struct quic_crypto *c, uint32_t from, uint32_t to)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->ranges[i].to < from || c->ranges[i].from > to) {
			c->ranges[kept++] = c->ranges[i];
			continue;
		}
		from = c->ranges[i].from < from ? c->ranges[i].from : from;
		to = c->ranges[i].to > to ? c->ranges[i].to : to;
	}
	c->count = kept;
	if (kept == QUIC_RANGES_MAX) {
		return false;
	}
	c->ranges[c->count].from = from;
	c->ranges[c->count++].to = to;
	return true;
}

static bool crypto_put(struct gate_session *session, struct quic_crypto *c, uint64_t offset,
		       const uint8_t *data, uint32_t size)
{
	if (offset > QUIC_CRYPTO_MAX || size > QUIC_CRYPTO_MAX - offset) {
		return false;
	}
	if (!c->data) {
		c->data = gate_session_alloc(session, QUIC_CRYPTO_MAX);
		if (!c->data) {
			return false;
		}
	}
	memcpy(c->data + offset, data, size);
	return crypto_add(c, (uint32_t)offset, (uint32_t)offset + size);
}

/* The first message, once it is whole: its size with the header, else 0. */
static uint32_t crypto_whole(const struct quic_crypto *c)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->ranges[i].from != 0 || c->ranges[i].to < 4) {
			continue;
		}
		uint32_t size =
			4 + ((uint32_t)c->data[1] << 16 | (uint32_t)c->data[2] << 8 | c->data[3]);
		return size <= c->ranges[i].to ? size : 0;
	}
	return 0;
}

static void crypto_reset(struct gate_session *session, struct quic_crypto *c)
{
	gate_session_release(session, c->data, QUIC_CRYPTO_MAX);
	memset(c, 0, sizeof(*c));
}

struct frames {
	const uint8_t *data;
	uint32_t size, at;
	struct gate_view google; /* the last FRAME_GOOGLE_CRYPTO */
};

static bool skip_numbers(struct frames *f, unsigned int count)
{
	uint64_t value = 0;
	while (count) {
		if (!quic_varint(f->data, f->size, &f->at, &value)) {
			return false;
		}
		count--;
	}
	return true;
}

static bool skip_ack(struct frames *f, bool ecn)
{
	uint64_t ranges = 0;
	if (!skip_numbers(f, 2) || !quic_varint(f->data, f->size, &f->at, &ranges) ||
	    ranges > ACK_RANGES_MAX || !skip_numbers(f, 1 + 2 * (unsigned int)ranges)) {
		return false;
	}
	return skip_numbers(f, ecn ? 3 : 0);
}

/* Offset and bytes of a CRYPTO frame. */
static bool crypto_frame(struct frames *f, uint64_t *ret_offset, struct gate_view *ret)
{
	uint64_t size = 0;
	if (!quic_varint(f->data, f->size, &f->at, ret_offset) ||
	    !quic_varint(f->data, f->size, &f->at, &size) || size > f->size - f->at) {
		return false;
	}
	*ret = (struct gate_view){.data = f->data + f->at, .size = (uint32_t)size};
	f->at += (uint32_t)size;
	return true;
}

/* 0; 1: nothing of interest follows; -EBADMSG; -EMSGSIZE: a hello too long. */
static int frame(struct gate_session *session, struct quic_crypto *c, struct frames *f)
{
	struct gate_view bytes;
	uint64_t offset = 0;
	uint8_t type = f->data[f->at++];
	switch (type) {
	case FRAME_PADDING:
	case FRAME_PING:
		return 0;
	case FRAME_ACK:
	case FRAME_ACK_ECN:
		return skip_ack(f, type == FRAME_ACK_ECN) ? 0 : -EBADMSG;
	case FRAME_CRYPTO:
		if (!crypto_frame(f, &offset, &bytes)) {
			return -EBADMSG;
		}
		return crypto_put(session, c, offset, bytes.data, bytes.size) ? 0 : -EMSGSIZE;
	case FRAME_GOOGLE_CRYPTO:
		return crypto_frame(f, &offset, &f->google) ? 0 : -EBADMSG;
	default:
		return 1;
	}
}

static bool initial(struct gate_session *session, struct quic_state *s, enum gate_dir dir,
		    const struct quic_header *h, struct frames *f)
{
	struct quic_crypto *c = &s->crypto[dir];
	int rc = 0;
	while (f->at < f->size && !rc) {
		rc = frame(session, c, f);
	}
	if (rc < 0) {
		event_tx(session, dir, h,
			 rc == -EMSGSIZE ? QUIC_CRYPTO_FRAG_TOO_LONG : QUIC_ERROR_ON_DATA);
		return false;
	}
	struct quic_tx *t = new_tx(session, dir, h);
	uint32_t size = t ? crypto_whole(c) : 0;
	struct quic_chlo chlo;
	if (size) {
		s->hello[dir] = hello(session, t, c->data, size);
		crypto_reset(session, c);
		if (!s->hello[dir]) {
			gate_tx_event(session, &t->tx, QUIC_ERROR_ON_DATA);
		}
	} else if (t && h->version == QUIC_Q050 && quic_chlo_read(&f->google, h->version, &chlo)) {
		google_hello(session, t, &chlo);
	}
	tx_done(session, t, dir);
	return true;
}

/* ---- packets ---- */

static bool ietf(struct gate_session *session, struct quic_state *s, enum gate_dir dir,
		 const uint8_t *data, const struct quic_header *h)
{
	uint8_t open[QUIC_PACKET_MAX];
	if (h->type == QUIC_RETRY && dir == GATE_TO_CLIENT && s->keys.known && !s->retried) {
		/* the client says hello once more, with another identifier; RFC 9000 17.2.5.2 */
		s->retried = true;
		s->keys.known = s->hello[GATE_TO_SERVER] = false;
		crypto_reset(session, &s->crypto[GATE_TO_SERVER]);
	}
	if (h->type != QUIC_INITIAL) {
		tx_done(session, new_tx(session, dir, h), dir);
		return true;
	}
	bool fresh = !s->keys.known && dir == GATE_TO_SERVER;
	if (fresh && !quic_keys_derive(&s->keys, h->version, &h->dcid)) {
		return false;
	}
	int size = s->keys.known ? quic_open(&s->keys, dir, data, h, open) : -EBADMSG;
	if (size < 0 && dir == GATE_TO_SERVER && !fresh &&
	    quic_keys_derive(&s->keys, h->version, &h->dcid)) {
		size = quic_open(&s->keys, dir, data, h, open);
	}
	if (size < 0) {
		event_tx(session, dir, h, QUIC_FAILED_DECRYPT);
		return false;
	}
	struct frames f = {.data = open, .size = (uint32_t)size};
	return initial(session, s, dir, h, &f);
}

static void google(struct gate_session *session, enum gate_dir dir, const uint8_t *payload,
		   const struct quic_header *h)
{
	struct quic_chlo c;
	struct quic_tx *t = new_tx(session, dir, h);
	if (t && dir == GATE_TO_SERVER && quic_chlo_find(payload, h->payload, h->version, &c)) {
		google_hello(session, t, &c);
	}
	tx_done(session, t, dir);
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct quic_state *s = state;
	uint32_t at = 0;
	while (at < in->size && !s->hello[dir]) {
		const uint8_t *data = in->data + at;
		struct quic_header h;
		if (!quic_header_read(data, in->size - at, &h) || h.type == QUIC_SHORT) {
			break;
		}
		if (h.kind == QUIC_GOOGLE) {
			google(session, dir, data + h.size, &h);
		} else if (!ietf(session, s, dir, data, &h)) {
			break;
		}
		at += h.size + h.payload;
	}
	return in->size;
}

static void *quic_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct quic_state));
}

static void quic_free(struct gate_session *session, void *state)
{
	struct quic_state *s = state;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		gate_session_release(session, s->crypto[dir].data, QUIC_CRYPTO_MAX);
	}
	gate_session_release(session, s, sizeof(*s));
}

static void release(struct gate_session *session, struct gate_view *text)
{
	gate_session_release(session, (void *)(uintptr_t)text->data, text->size);
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	struct quic_tx *t = (struct quic_tx *)tx;
	release(session, &t->sni);
	release(session, &t->ua);
	release(session, &t->ja3);
	release(session, &t->cyu);
	release(session, &t->alpn);
	release(session, &t->extensions);
}

/* ---- what rules and records ask ---- */

static bool view(struct gate_buffer_view *ret, const void *data, size_t size)
{
	*ret = (struct gate_buffer_view){.data = data, .size = (uint32_t)size, .complete = true};
	return data && size;
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	struct quic_tx *t = (struct quic_tx *)tx;
	if (index || (tx->skip_dirs & GATE_DIR_BIT(dir))) {
		return false;
	}
	switch (which) {
	case GATE_BUF_QUIC_VERSION:
		return t->is_long && view(ret, t->version, sizeof(t->version));
	case GATE_BUF_QUIC_SNI:
		return view(ret, t->sni.data, t->sni.size);
	case GATE_BUF_QUIC_UA:
		return view(ret, t->ua.data, t->ua.size);
	case GATE_BUF_QUIC_CYU_HASH:
		return view(ret, t->cyu_hash, strlen(t->cyu_hash));
	case GATE_BUF_QUIC_CYU_STRING:
		return view(ret, t->cyu.data, t->cyu.size);
	case GATE_BUF_JA3_HASH:
	case GATE_BUF_JA3S_HASH:
		return t->client == (which == GATE_BUF_JA3_HASH) &&
		       view(ret, t->ja3_hash, strlen(t->ja3_hash));
	case GATE_BUF_JA3_STRING:
	case GATE_BUF_JA3S_STRING:
		return t->client == (which == GATE_BUF_JA3_STRING) &&
		       view(ret, t->ja3.data, t->ja3.size);
	case GATE_BUF_JA4_HASH:
		return view(ret, t->ja4, strlen(t->ja4));
	default:
		return false;
	}
}

const struct gate_app_ops gate_quic_ops = {
	.app = GATE_APP_QUIC,
	.name = "quic",
	.log = "quic",
	.transports = 2,
	.states = {request_states, response_states},
	.events = events,
	.event_count = QUIC_EVENTS,
	.ports = ports,
	.probe = probe,
	.new = quic_new,
	.free = quic_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = quic_log,
};
