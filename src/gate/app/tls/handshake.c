/* SPDX-License-Identifier: Apache-2.0 */
/* Handshake messages, whole or in pieces; see tls.h. */
#include "gate/app/tls/tls.h"
#include "gate/flow/flow.h"
#include "gate/stream/stream.h"

#include <openssl/evp.h>
#include <string.h>

enum {
	HS_CLIENT_HELLO = 1,
	HS_SERVER_HELLO = 2,
	HS_CERTIFICATE = 11,
	HS_SERVER_KEYX = 12,
	HS_SERVER_DONE = 14,
	HS_CLIENT_KEYX = 16,
};

void tls_event(struct tls_state *s, enum tls_event event)
{
	gate_tx_event(s->session, &s->tx->tx, (uint16_t)event);
}

bool tls_text_set(struct tls_state *s, struct tls_text *text, const void *data, uint32_t size)
{
	if (text->data || !size) {
		return false;
	}
	text->data = gate_session_alloc(s->session, size);
	if (!text->data) {
		return false;
	}
	memcpy(text->data, data, size);
	text->size = size;
	return true;
}

/* ---- hello ---- */

static void hello_events(struct tls_state *s, const struct gate_tls_hello *h)
{
	static const struct {
		uint16_t flag;
		enum tls_event event;
	} events[] = {
		{GATE_TLS_SNI_TYPE, TLS_EVENT_INVALID_SNI_TYPE},
		{GATE_TLS_SNI_LENGTH, TLS_EVENT_INVALID_SNI_LENGTH},
		{GATE_TLS_SNI_TWICE, TLS_EVENT_MULTIPLE_SNI_EXTENSIONS},
		{GATE_TLS_BAD_LENGTH, TLS_EVENT_HANDSHAKE_INVALID_LENGTH},
	};
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (h->flags & events[i].flag) {
			tls_event(s, events[i].event);
		}
	}
}

static void fingerprints(struct tls_state *s, struct tls_side *side, const struct gate_tls_hello *h)
{
	char text[GATE_JA3_STRING_MAX];
	uint32_t size = gate_ja3_string(h, text);
	if (size && tls_text_set(s, &side->ja3, text, size)) {
		gate_ja3_hash(text, size, side->ja3_hash);
	}
	if (h->client && !gate_ja4(h, 't', side->ja4)) {
		side->ja4[0] = '\0';
	}
}

static void hello(struct tls_state *s, enum gate_dir dir, const uint8_t *body, uint32_t size)
{
	struct tls_tx *tx = s->tx;
	struct tls_side *side = &tx->side[dir];
	struct gate_tls_hello h;
	bool client = dir == GATE_TO_SERVER;
	if (!gate_tls_hello_read(body, size, client, &h)) {
		tls_event(s, TLS_EVENT_HANDSHAKE_INVALID_LENGTH);
		return;
	}
	hello_events(s, &h);
	side->seen |= client ? TLS_SEEN_CLIENT_HELLO : TLS_SEEN_SERVER_HELLO;
	side->version = h.version;
	if (side->hello) {
		return; /* after a HelloRetryRequest, or a new negotiation */
	}
	side->hello = true;
	memcpy(side->random, h.random, GATE_TLS_RANDOM_SIZE);
	side->session_id_size = (uint8_t)(h.session_id.size <= 32 ? h.session_id.size : 0);
	if (side->session_id_size) {
		memcpy(side->session_id, h.session_id.data, side->session_id_size);
	}
	(void)tls_text_set(s, &side->alpn, h.alpn.data, h.alpn.size);
	fingerprints(s, side, &h);
	if (client) {
		tx->hello_flags = h.flags;
		(void)tls_text_set(s, &tx->sni, h.sni.data, h.sni.size);
	} else {
		const struct tls_side *other = &tx->side[GATE_TO_SERVER];
		tx->resumed = h.version < 0x0304 && side->session_id_size &&
			      side->session_id_size == other->session_id_size &&
			      !memcmp(side->session_id, other->session_id, side->session_id_size);
	}
	gate_tx_progress(s->session, &tx->tx, dir, client ? TLS_CLIENT_HELLO : TLS_SERVER_HELLO);
	struct gate_flow *flow = gate_session_flow(s->session);
	if (flow->stream) {
		gate_stream_inspect_now(flow->stream, dir);
	}
}

/* ---- certificates ---- */

static enum tls_event cert_event(enum gate_cert_error error)
{
	switch (error) {
	case GATE_CERT_BAD:
		return TLS_EVENT_INVALID_CERTIFICATE;
	case GATE_CERT_BAD_LENGTH:
		return TLS_EVENT_CERTIFICATE_INVALID_LENGTH;
	case GATE_CERT_BAD_VERSION:
		return TLS_EVENT_CERTIFICATE_INVALID_VERSION;
	case GATE_CERT_BAD_SERIAL:
		return TLS_EVENT_CERTIFICATE_INVALID_SERIAL;
	case GATE_CERT_BAD_ALGORITHM:
		return TLS_EVENT_CERTIFICATE_INVALID_ALGORITHMIDENTIFIER;
	case GATE_CERT_BAD_NAME:
		return TLS_EVENT_CERTIFICATE_INVALID_X509NAME;
	case GATE_CERT_BAD_DATE:
		return TLS_EVENT_CERTIFICATE_INVALID_DATE;
	case GATE_CERT_BAD_EXTENSIONS:
		return TLS_EVENT_CERTIFICATE_INVALID_EXTENSIONS;
	default:
		return TLS_EVENT_CERTIFICATE_INVALID_DER;
	}
}

static void fingerprint(struct tls_side *side)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum[EVP_MAX_MD_SIZE];
	const uint8_t *der = side->chain.data + side->cert_at[0];
	if (!EVP_Digest(der, side->cert_size[0], sum, NULL, EVP_sha1(), NULL)) {
		return;
	}
	for (unsigned int i = 0; i < 20; i++) {
		side->fingerprint[3 * i] = digits[sum[i] >> 4];
		side->fingerprint[3 * i + 1] = digits[sum[i] & 15];
		side->fingerprint[3 * i + 2] = i < 19 ? ':' : '\0';
	}
}

static void alt_names(struct tls_state *s, struct tls_side *side, const struct gate_view *names)
{
	uint8_t text[GATE_CERT_TEXT_MAX];
	/* as text an address takes at most three bytes for each of its own, names one */
	uint32_t capacity = 3 * names->size, size = 0, at = 0, one = 0;
	if (!names->size || side->alt_names.data) {
		return;
	}
	uint8_t *all = gate_session_alloc(s->session, capacity);
	while (all && side->alt_count < GATE_TLS_ALT_MAX &&
	       gate_cert_alt_name(names, &at, text, &one) && size + one <= capacity) {
		memcpy(all + size, text, one);
		size += one;
		side->alt_end[side->alt_count++] = size;
	}
	side->alt_names = (struct tls_text){.data = all, .size = capacity};
}

static void read_first(struct tls_state *s, struct tls_side *side)
{
	uint8_t text[GATE_CERT_TEXT_MAX];
	struct gate_cert cert;
	enum gate_cert_error error =
		gate_cert_read(side->chain.data + side->cert_at[0], side->cert_size[0], &cert);
	if (error) {
		tls_event(s, cert_event(error));
	}
	side->not_before = cert.not_before;
	side->not_after = cert.not_after;
	side->has_cert = !error;
	(void)tls_text_set(s, &side->subject, text, gate_cert_name(&cert.subject, text));
	(void)tls_text_set(s, &side->issuer, text, gate_cert_name(&cert.issuer, text));
	(void)tls_text_set(s, &side->serial, text, gate_cert_serial(&cert.serial, text));
	alt_names(s, side, &cert.alt_names);
	fingerprint(side);
}

static uint32_t be24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* RFC 5246 7.4.2: certificates with three bytes of length each, behind three for all. */
static void certificates(struct tls_state *s, enum gate_dir dir, const uint8_t *body, uint32_t size)
{
	struct tls_side *side = &s->tx->side[dir];
	if (size < 3 || be24(body) > size - 3) {
		tls_event(s, TLS_EVENT_HANDSHAKE_INVALID_LENGTH);
		return;
	}
	size = be24(body);
	size = size < GATE_TLS_CHAIN_MAX ? size : GATE_TLS_CHAIN_MAX;
	if (side->cert_read || !tls_text_set(s, &side->chain, body + 3, size)) {
		return;
	}
	side->cert_read = true;
	for (uint32_t at = 0; at + 3 <= size && side->cert_count < GATE_TLS_CERTS_MAX;) {
		uint32_t one = be24(side->chain.data + at);
		at += 3;
		if (!one || one > size - at) {
			tls_event(s, TLS_EVENT_INVALID_CERTIFICATE);
			break;
		}
		side->cert_at[side->cert_count] = at;
		side->cert_size[side->cert_count++] = one;
		at += one;
	}
	if (side->cert_count) {
		read_first(s, side);
	}
	gate_tx_progress(s->session, &s->tx->tx, dir,
			 dir == GATE_TO_SERVER ? TLS_CLIENT_CERT : TLS_SERVER_CERT);
}

/* ---- messages ---- */

/* Kinds of messages (IANA, TLS HandshakeType). */
static bool is_known(uint8_t type)
{
	static const uint8_t kinds[] = {
		HS_CLIENT_HELLO,
		HS_SERVER_HELLO,
		HS_CERTIFICATE,
		HS_SERVER_KEYX,
		HS_SERVER_DONE,
		HS_CLIENT_KEYX,
		0 /* HelloRequest */,
		3 /* HelloVerifyRequest */,
		4 /* NewSessionTicket */,
		5 /* EndOfEarlyData */,
		6 /* HelloRetryRequest */,
		8 /* EncryptedExtensions */,
		13 /* CertificateRequest */,
		15 /* CertificateVerify */,
		20 /* Finished */,
		21 /* CertificateURL */,
		22 /* CertificateStatus */,
		23 /* SupplementalData */,
		24 /* KeyUpdate */,
		25 /* CompressedCertificate */,
		67 /* NextProtocol */,
		254,
	};
	return memchr(kinds, type, sizeof(kinds)) != NULL;
}

void tls_handshake(struct tls_state *s, enum gate_dir dir, uint8_t type, const uint8_t *body,
		   uint32_t size)
{
	bool client = dir == GATE_TO_SERVER;
	switch (type) {
	case HS_CLIENT_HELLO:
	case HS_SERVER_HELLO:
		if (client != (type == HS_CLIENT_HELLO)) {
			tls_event(s, TLS_EVENT_INVALID_SSL_RECORD);
			break;
		}
		hello(s, dir, body, size);
		break;
	case HS_CERTIFICATE:
		certificates(s, dir, body, size);
		break;
	case HS_SERVER_DONE:
		if (!client) {
			gate_tx_progress(s->session, &s->tx->tx, dir, TLS_SERVER_HELLO_DONE);
		}
		break;
	case HS_SERVER_KEYX:
	case HS_CLIENT_KEYX:
		s->tx->side[dir].seen |= client ? TLS_SEEN_CLIENT_KEYX : TLS_SEEN_SERVER_KEYX;
		gate_tx_progress(s->session, &s->tx->tx, dir, 0);
		break;
	default:
		break;
	}
}

/* Begins a message that goes on in the next record: its four bytes are in part->header. */
static void part_begin(struct tls_state *s, struct tls_part *part)
{
	uint32_t body = be24(part->header + 1);
	if (body > GATE_TLS_MESSAGE_MAX) {
		tls_event(s, TLS_EVENT_HANDSHAKE_INVALID_LENGTH);
		part->skip = body;
		part->header_size = 0;
		return;
	}
	if (part->capacity < body) {
		uint8_t *data = gate_session_grow(s->session, part->data, part->capacity, body);
		if (!data) {
			part->skip = body;
			part->header_size = 0;
			return;
		}
		part->data = data;
		part->capacity = body;
	}
	part->need = body;
	part->size = 0;
}

static uint32_t part_skip(struct tls_part *part, uint32_t size)
{
	uint32_t n = part->skip < size ? part->skip : size;
	part->skip -= n;
	return n;
}

static uint32_t part_header(struct tls_state *s, struct tls_part *part, const uint8_t *data,
			    uint32_t size)
{
	uint32_t n = 4u - part->header_size;
	n = n < size ? n : size;
	memcpy(part->header + part->header_size, data, n);
	part->header_size = (uint8_t)(part->header_size + n);
	if (part->header_size == 4) {
		part_begin(s, part);
	}
	return n;
}

static uint32_t part_body(struct tls_state *s, enum gate_dir dir, struct tls_part *part,
			  const uint8_t *data, uint32_t size)
{
	uint32_t n = part->need - part->size;
	n = n < size ? n : size;
	if (n) {
		memcpy(part->data + part->size, data, n);
		part->size += n;
	}
	if (part->size == part->need) {
		part->header_size = 0;
		tls_handshake(s, dir, part->header[0], part->data, part->size);
	}
	return n;
}

bool tls_handshake_bytes(struct tls_state *s, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct tls_part *part = &s->part[dir];
	for (uint32_t at = 0; at < size;) {
		uint32_t left = size - at;
		if (part->skip) {
			at += part_skip(part, left);
		} else if (!part->header_size && !is_known(data[at])) {
			tls_event(s, TLS_EVENT_INVALID_HANDSHAKE_MESSAGE);
			return false;
		} else if (!part->header_size && left >= 4 && be24(data + at + 1) <= left - 4) {
			/* the whole message stands here */
			uint32_t body = be24(data + at + 1);
			tls_handshake(s, dir, data[at], data + at + 4, body);
			at += 4 + body;
		} else if (part->header_size < 4) {
			at += part_header(s, part, data + at, left);
			if (part->header_size == 4 && !part->need) {
				(void)part_body(s, dir, part, data, 0);
			}
		} else {
			at += part_body(s, dir, part, data + at, left);
		}
	}
	return true;
}
