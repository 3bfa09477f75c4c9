/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the CLI takes for the manager on HTTPS: a certificate that leads to one given CA (from a
 * file, or the one among the presented certificates with a known fingerprint) and that names either
 * the host asked for or "manager". A host's certificate comes from the same CA, so the name
 * matters.
 */
#ifndef BH_CLI_TRUST_H
#define BH_CLI_TRUST_H

#include "base/diag.h"

#include <openssl/ssl.h>
#include <stdint.h>

#define CLI_FINGERPRINT_SIZE 32

struct cli_trust {
	X509 *ca; /* owned; NULL: found by fingerprint */
	uint8_t fingerprint[CLI_FINGERPRINT_SIZE];
	char *host;    /* owned; as in the URL, without brackets */
	char why[160]; /* why the last check failed */
};

/* ca_file may be NULL, then fingerprint (hex, colons allowed) is used. */
[[nodiscard]] int cli_trust_init(struct cli_trust *trust, const char *ca_file,
				 const char *fingerprint, const char *host, struct bh_diag *diag);
void cli_trust_done(struct cli_trust *trust);

/* For SSL_CTX_set_cert_verify_callback; arg is the struct cli_trust. */
int cli_trust_verify(X509_STORE_CTX *ctx, void *arg);

#endif
