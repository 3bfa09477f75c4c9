/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trust.h"

#include "base/util.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

#define MANAGER_NAME "manager"

static int parse_fingerprint(const char *text, uint8_t ret[CLI_FINGERPRINT_SIZE])
{
	char hex[2 * CLI_FINGERPRINT_SIZE + 1] = "";
	size_t len = 0;

	for (; *text; text++) {
		if (*text == ':') {
			continue;
		}
		if (len + 1 >= sizeof(hex)) {
			return -EINVAL;
		}
		hex[len++] = (char)(*text >= 'A' && *text <= 'F' ? *text + 32 : *text);
	}
	return bh_hex_parse(hex, ret, CLI_FINGERPRINT_SIZE);
}

int cli_trust_init(struct cli_trust *trust, const char *ca_file, const char *fingerprint,
		   const char *host, struct bh_diag *diag)
{
	*trust = (struct cli_trust){};
	if (ca_file) {
		BH_FCLOSE FILE *f = fopen(ca_file, "re");

		if (!f) {
			return bh_diag_set(diag, -errno, "cannot read the CA certificate %s: %s",
					   ca_file, strerror(errno));
		}
		trust->ca = PEM_read_X509(f, NULL, NULL, NULL);
		if (!trust->ca) {
			return bh_diag_set(diag, -EINVAL, "%s holds no certificate in PEM form",
					   ca_file);
		}
	} else if (parse_fingerprint(fingerprint, trust->fingerprint)) {
		return bh_diag_set(
			diag, -EINVAL,
			"a fingerprint is the SHA-256 of the CA certificate, 64 hex digits");
	}
	trust->host = bh_strdup(host);
	return 0;
}

void cli_trust_done(struct cli_trust *trust)
{
	X509_free(trust->ca);
	free(trust->host);
	*trust = (struct cli_trust){};
}

/* The CA to trust: the given one, or a presented one with the right fingerprint. Borrowed. */
static X509 *find_ca(const struct cli_trust *trust, STACK_OF(X509) * presented)
{
	if (trust->ca) {
		return trust->ca;
	}
	for (int i = 0; i < sk_X509_num(presented); i++) {
		X509 *cert = sk_X509_value(presented, i);
		uint8_t digest[EVP_MAX_MD_SIZE];
		unsigned int size = 0;

		if (X509_digest(cert, EVP_sha256(), digest, &size) &&
		    size == CLI_FINGERPRINT_SIZE &&
		    !memcmp(digest, trust->fingerprint, CLI_FINGERPRINT_SIZE) &&
		    X509_check_ca(cert)) {
			return cert;
		}
	}
	return NULL;
}

static bool names_match(X509 *leaf, const char *host)
{
	return X509_check_host(leaf, MANAGER_NAME, 0, 0, NULL) == 1 ||
	       X509_check_ip_asc(leaf, host, 0) == 1 ||
	       X509_check_host(leaf, host, 0, 0, NULL) == 1;
}

static int verify_chain(X509 *ca, X509 *leaf, STACK_OF(X509) * presented)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	if (store && ctx && X509_STORE_add_cert(store, ca) &&
	    X509_STORE_CTX_init(ctx, store, leaf, presented) &&
	    X509_STORE_CTX_set_default(ctx, "ssl_server")) {
		err = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return err;
}

int cli_trust_verify(X509_STORE_CTX *ctx, void *arg)
{
	struct cli_trust *trust = arg;
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
	STACK_OF(X509) *presented = X509_STORE_CTX_get0_untrusted(ctx);
	X509 *ca = find_ca(trust, presented);
	int err;

	if (!leaf || !ca) {
		snprintf(trust->why, sizeof(trust->why),
			 "it shows no CA with the fingerprint that was given");
		err = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
	} else if ((err = verify_chain(ca, leaf, presented)) != X509_V_OK) {
		snprintf(trust->why, sizeof(trust->why), "its certificate does not hold: %s",
			 X509_verify_cert_error_string(err));
	} else if (!names_match(leaf, trust->host)) {
		snprintf(trust->why, sizeof(trust->why),
			 "its certificate names neither %.64s nor \"" MANAGER_NAME "\"",
			 trust->host);
		err = X509_V_ERR_HOSTNAME_MISMATCH;
	}
	X509_STORE_CTX_set_error(ctx, err);
	return err == X509_V_OK;
}
