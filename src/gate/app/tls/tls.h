/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS and SSL over TCP: records, handshake up to the encrypted part. For tls.c, handshake.c and
 * log.c only.
 *
 * A flow has one transaction. What of it is worth keeping is copied when it is read: the hello's
 * fields, the chain of certificates (at most GATE_TLS_CHAIN_MAX bytes and GATE_TLS_CERTS_MAX). A
 * handshake message that does not stand in one record is put together first, up to
 * GATE_TLS_MESSAGE_MAX bytes; larger ones are passed over (event handshake_invalid_length).
 *
 * When application data comes after the server's hello (or both sides have changed to ciphers and
 * speak on) the handshake is over: the transaction is complete and neither side is read any more.
 */
#ifndef BH_GATE_APP_TLS_TLS_H
#define BH_GATE_APP_TLS_TLS_H

#include "gate/app/app.h"
#include "gate/app/frame.h"
#include "gate/app/tls/cert.h"
#include "gate/app/tls/hello.h"

#define GATE_TLS_RECORD_MAX  (16384u + 2048u)
#define GATE_TLS_MESSAGE_MAX (128u << 10)
#define GATE_TLS_CHAIN_MAX   (64u << 10)
#define GATE_TLS_CERTS_MAX   64
#define GATE_TLS_ALT_MAX     GATE_CERT_NAMES_MAX

enum tls_event {
#define EVENT(id, name, text) TLS_EVENT_##id,
#include "gate/app/tls/events.def"
#undef EVENT
	TLS_EVENTS
};

enum tls_client_state { TLS_CLIENT_HELLO = 1, TLS_CLIENT_CERT, TLS_CLIENT_DONE, TLS_CLIENT_END };
enum tls_server_state {
	TLS_SERVER_HELLO = 1,
	TLS_SERVER_CERT,
	TLS_SERVER_HELLO_DONE,
	TLS_SERVER_DONE,
	TLS_SERVER_END
};

/* A text that the transaction owns. */
struct tls_text {
	uint8_t *data;
	uint32_t size;
};

/* As the keyword ssl_state names them. */
enum tls_seen {
	TLS_SEEN_CLIENT_HELLO = 1 << 0,
	TLS_SEEN_SERVER_HELLO = 1 << 1,
	TLS_SEEN_CLIENT_KEYX = 1 << 2,
	TLS_SEEN_SERVER_KEYX = 1 << 3,
};

struct tls_side {
	bool hello, ciphered, cert_read;
	uint8_t seen;			  /* enum tls_seen */
	uint16_t record_version, version; /* version: of the hello; 0 none */
	uint8_t random[GATE_TLS_RANDOM_SIZE];
	uint8_t session_id[32], session_id_size;
	struct tls_text alpn; /* as it stands in the extension */
	struct tls_text ja3;
	char ja3_hash[GATE_JA3_HASH_SIZE];
	char ja4[GATE_JA4_SIZE];
	/* certificates */
	struct tls_text chain;
	uint32_t cert_at[GATE_TLS_CERTS_MAX], cert_size[GATE_TLS_CERTS_MAX];
	uint32_t cert_count;
	bool has_cert;
	int64_t not_before, not_after;
	struct tls_text subject, issuer, serial;
	char fingerprint[3 * 20];
	struct tls_text alt_names; /* one after the other */
	uint32_t alt_end[GATE_TLS_ALT_MAX];
	uint32_t alt_count;
};

struct tls_tx {
	struct gate_tx tx;
	struct tls_side side[GATE_DIRS];
	struct tls_text sni;
	uint16_t hello_flags; /* of the client's */
	uint16_t from;	      /* enum gate_app that it took over from (STARTTLS, CONNECT) */
	bool resumed;
};

/* A handshake message that is being put together. */
struct tls_part {
	uint8_t *data;
	uint32_t size, capacity, need; /* need: with its header; 0 not known yet */
	uint32_t skip;		       /* bytes of a message too large */
	uint8_t header[4];
	uint8_t header_size;
};

struct tls_state {
	struct gate_session *session;
	struct tls_tx *tx;
	struct tls_part part[GATE_DIRS];
	uint32_t skip[GATE_DIRS];      /* bytes of a record that nobody reads */
	uint32_t heartbeat[GATE_DIRS]; /* size of one that is not answered */
	bool began[GATE_DIRS], sslv2, over;
	bool frames; /* rules ask for those: records are read on behind the handshake */
};

void tls_event(struct tls_state *s, enum tls_event event);
/* One handshake message: body behind its header. */
void tls_handshake(struct tls_state *s, enum gate_dir dir, uint8_t type, const uint8_t *body,
		   uint32_t size);
/* Handshake messages or pieces of such; false: what follows is none. */
bool tls_handshake_bytes(struct tls_state *s, enum gate_dir dir, const uint8_t *data,
			 uint32_t size);
bool tls_text_set(struct tls_state *s, struct tls_text *text, const void *data, uint32_t size);
bool tls_log(const struct gate_tx *tx, struct gate_jw *jw);

#endif
