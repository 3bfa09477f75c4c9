/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a security key says (WebAuthn level 2, https://www.w3.org/TR/webauthn-2/ sections 7.1 and
 * 7.2), checked. Everything comes from whoever holds the browser, so all of it is foreign bytes,
 * with the limits below; the attestation object's envelope is read here, authenticator data, COSE
 * keys and signatures by libfido2. Attestation is not asked for: `none`, or `packed` signed by the
 * key itself, which is then checked. Pure.
 */
#ifndef BH_MANAGER_AUTH_WEBAUTHN_H
#define BH_MANAGER_AUTH_WEBAUTHN_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBAUTHN_CHALLENGE_SIZE	  32
#define WEBAUTHN_ID_MAX		  1023 /* bytes of a credential's id: the standard's limit */
#define WEBAUTHN_CLIENT_MAX	  4096
#define WEBAUTHN_ATTESTATION_MAX  8192
#define WEBAUTHN_DATA_MAX	  4096 /* authenticator data of an assertion */
#define WEBAUTHN_SIGNATURE_MAX	  1024
#define WEBAUTHN_KEY_MAX	  600 /* a public key as libfido2 has it: RSA of 2048 bits is 259 */
#define WEBAUTHN_ATTESTATION_DEEP 4   /* nesting of an attestation statement */
#define WEBAUTHN_ATTESTATION_MANY 64  /* and its items */

struct manager_webauthn_bytes {
	const uint8_t *data; /* borrowed */
	size_t size;
};

/* What has to be there. */
struct manager_webauthn_wanted {
	const char *origin; /* "https://bulkhead.example:7443" */
	const char *rp_id;  /* "bulkhead.example" */
	uint8_t challenge[WEBAUTHN_CHALLENGE_SIZE];
	bool verify; /* a PIN or a finger, not only a touch */
};

struct manager_webauthn_key {
	uint8_t id[WEBAUTHN_ID_MAX];
	size_t id_size;
	int alg; /* COSE: -7 ES256, -8 EdDSA, -257 RS256 */
	uint8_t public_key[WEBAUTHN_KEY_MAX];
	size_t public_size;
	uint32_t count; /* of signatures, as the key said last; 0: it does not count */
};

enum manager_webauthn_error {
	MANAGER_WEBAUTHN_COPIED = 1, /* its counter went back: there are two of it */
};

/* A new key. -EACCES with words when something is not as wanted. */
[[nodiscard]] int manager_webauthn_create(const struct manager_webauthn_wanted *wanted,
					  struct manager_webauthn_bytes client,
					  struct manager_webauthn_bytes attestation,
					  struct manager_webauthn_key *ret, struct bh_diag *diag);

struct manager_webauthn_answer {
	struct manager_webauthn_bytes client, data, signature;
};
/* Has the key signed? Then its count is that of now. -EACCES with words; MANAGER_WEBAUTHN_COPIED.
 */
[[nodiscard]] int manager_webauthn_check(const struct manager_webauthn_wanted *wanted,
					 const struct manager_webauthn_answer *answer,
					 struct manager_webauthn_key *key, struct bh_diag *diag);

/* Origin and relying party of a console's URL: "https://name" or "https://name:port", nothing
 * behind it. -EINVAL with words. ret_origin without the port when it is 443. */
#define WEBAUTHN_ORIGIN_MAX 272
#define WEBAUTHN_RP_ID_MAX  253
[[nodiscard]] int manager_webauthn_origin(const char *url, char ret_origin[WEBAUTHN_ORIGIN_MAX + 1],
					  char ret_rp_id[WEBAUTHN_RP_ID_MAX + 1],
					  struct bh_diag *diag);

#endif
