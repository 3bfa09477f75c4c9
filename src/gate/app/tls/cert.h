/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules and records ask of a certificate (RFC 5280), read from its DER in place. Our own
 * reader instead of libcrypto's d2i_X509, which builds the whole tree with many allocations for
 * each certificate of each connection, refuses what Suricata's reader takes (an empty issuer, NUL
 * in names), and prints names in another spelling. This one makes nothing, follows at most
 * GATE_CERT_RDNS_MAX attributes and GATE_CERT_NAMES_MAX names, and nests four deep. Pure.
 */
#ifndef BH_GATE_APP_TLS_CERT_H
#define BH_GATE_APP_TLS_CERT_H

#include "gate/gate.h"

#define GATE_CERT_RDNS_MAX  64
#define GATE_CERT_NAMES_MAX 128
#define GATE_CERT_TEXT_MAX  4096 /* of a name as text: cut off there */

enum gate_cert_error {
	GATE_CERT_OK,
	GATE_CERT_BAD, /* lengths that no certificate has */
	GATE_CERT_BAD_DER,
	GATE_CERT_BAD_LENGTH, /* more than there is */
	GATE_CERT_BAD_VERSION,
	GATE_CERT_BAD_SERIAL,
	GATE_CERT_BAD_ALGORITHM,
	GATE_CERT_BAD_NAME,
	GATE_CERT_BAD_DATE,
	GATE_CERT_BAD_EXTENSIONS,
};

struct gate_cert {
	struct gate_view serial;	  /* as it stands, a leading zero too */
	struct gate_view issuer, subject; /* content of the names' sequences */
	struct gate_view alt_names;	  /* content of GeneralNames */
	int64_t not_before, not_after;	  /* seconds since 1970 */
};

/* GATE_CERT_OK, or what was wrong first: what was read before it stands. */
enum gate_cert_error gate_cert_read(const uint8_t *der, uint32_t size, struct gate_cert *ret);
/* "C=US, O=Example, CN=a": its length, at most GATE_CERT_TEXT_MAX; 0: empty. */
uint32_t gate_cert_name(const struct gate_view *name, uint8_t ret[GATE_CERT_TEXT_MAX]);
/* "0A:1B": upper case, with colons; its length. */
uint32_t gate_cert_serial(const struct gate_view *serial, uint8_t ret[GATE_CERT_TEXT_MAX]);
/* Names of hosts and mail, URIs and addresses as text; *at from 0. False: no more. */
bool gate_cert_alt_name(const struct gate_view *names, uint32_t *at,
			uint8_t ret[GATE_CERT_TEXT_MAX], uint32_t *ret_size);

#endif
