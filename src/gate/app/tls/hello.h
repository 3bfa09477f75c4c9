/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello messages of TLS (RFC 5246, 8446) read in place, and what is made of them: JA3 and JA3S
 * (salesforce/ja3), JA4 (FoxIO, the TLS client part, which is free). For TLS records and for QUIC.
 * Pure.
 */
#ifndef BH_GATE_APP_TLS_HELLO_H
#define BH_GATE_APP_TLS_HELLO_H

#include "gate/gate.h"

#define GATE_TLS_ALPN_MAX    32	  /* protocols that are shown */
#define GATE_JA3_STRING_MAX  4096 /* longer ones have none */
#define GATE_JA3_HASH_SIZE   33
#define GATE_JA4_SIZE	     37
#define GATE_TLS_JA4_CODES   256 /* ciphers, extensions: more have no JA4 */
#define GATE_TLS_RANDOM_SIZE 32u

enum gate_tls_hello_flag {
	GATE_TLS_SNI_TYPE = 1 << 0,   /* names of another type than host name */
	GATE_TLS_SNI_LENGTH = 1 << 1, /* lengths that do not fit */
	GATE_TLS_SNI_TWICE = 1 << 2,
	GATE_TLS_BAD_LENGTH = 1 << 3, /* the message or an extension ends early */
	GATE_TLS_EARLY_DATA = 1 << 4,
	GATE_TLS_TICKET = 1 << 5, /* a session ticket that is not empty */
	GATE_TLS_NO_EXTENSIONS = 1 << 6,
	GATE_TLS_HAS_SNI = 1 << 7,
};

/* Views into the message. */
struct gate_tls_hello {
	bool client;
	uint16_t flags;
	uint16_t legacy_version; /* the message's own field */
	uint16_t version;	 /* what it comes to: supported_versions, or the field */
	uint16_t cipher;	 /* the server's choice */
	const uint8_t *random;
	struct gate_view session_id, ciphers, extensions;
	struct gate_view sni, alpn, groups, point_formats, signatures, versions;
	struct gate_view quic_parameters;
};

/* body: behind the four bytes of the handshake header. False: too short to be one. */
bool gate_tls_hello_read(const uint8_t *body, uint32_t size, bool client,
			 struct gate_tls_hello *ret);
/* The type of the next extension; *at is 0 before the first. False at the end. */
bool gate_tls_hello_extension(const struct gate_view *extensions, uint32_t *at, uint16_t *ret);
/* The index-th protocol that is offered or chosen. */
bool gate_tls_hello_alpn(const struct gate_view *alpn, uint32_t index, struct gate_view *ret);
/* Length of the text, without a NUL; 0: it has none. */
uint32_t gate_ja3_string(const struct gate_tls_hello *hello, char ret[GATE_JA3_STRING_MAX]);
void gate_ja3_hash(const char *text, uint32_t size, char ret[GATE_JA3_HASH_SIZE]);
/* False: it has none. `transport`: 't' TCP, 'q' QUIC. */
bool gate_ja4(const struct gate_tls_hello *hello, char transport, char ret[GATE_JA4_SIZE]);
const char *gate_tls_version_name(uint16_t version, char ret[24]);
bool gate_tls_is_grease(uint16_t value); /* RFC 8701 */

#endif
