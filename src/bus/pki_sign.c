/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/pki_sign.h"

#include "base/util.h"
#include "bus/pki_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <time.h>

struct bh_pki_signer {
	EVP_PKEY *key;
	EVP_MD_CTX *ctx;
};

struct bh_pki_verifier {
	X509 *cert;
	EVP_MD_CTX *ctx;
};

/* ---- signing ---- */
int bh_pki_signer_open(const char *key_file, struct bh_pki_signer **ret, struct bh_diag *diag)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	struct bh_pki_signer *signer;
	int r = bh_pki_key_load(key_file, &key, diag);

	if (r) {
		return r;
	}
	if (!bh_pki_key_is_p256(key)) {
		ERR_clear_error();
		return bh_diag_at(diag, -EBADMSG, key_file, 0, 0, "not an EC P-256 key");
	}
	signer = bh_alloc(sizeof(*signer));
	signer->key = bh_steal(&key);
	signer->ctx = EVP_MD_CTX_new();
	*ret = signer;
	return 0;
}

void bh_pki_signer_free(struct bh_pki_signer *signer)
{
	if (signer) {
		EVP_MD_CTX_free(signer->ctx);
		EVP_PKEY_free(signer->key);
		free(signer);
	}
}

int bh_pki_sign(const void *data, size_t size, uint8_t *sig, size_t *ret_size, void *signer,
		struct bh_diag *diag)
{
	struct bh_pki_signer *s = signer;

	*ret_size = BH_PKI_SIG_MAX;
	if (!EVP_MD_CTX_reset(s->ctx) ||
	    EVP_DigestSignInit(s->ctx, NULL, EVP_sha256(), NULL, s->key) != 1 ||
	    EVP_DigestSign(s->ctx, sig, ret_size, data, size) != 1) {
		return bh_pki_ssl_error(diag, -EIO, "can't sign");
	}
	return 0;
}

/* ---- checking ---- */
static int cert_check(const char *ca_file, X509 *cert, const char *name, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *ca = NULL;
	int r = bh_pki_cert_load(ca_file, &ca, diag);

	if (!r) {
		r = bh_pki_check_chain(ca, cert, diag);
	}
	if (r) {
		return r;
	}
	if (!bh_pki_cert_is_for(cert, name)) {
		return bh_diag_set(diag, -EBADMSG, "the certificate is not for \"%s\"", name);
	}
	if (!bh_pki_key_is_p256(X509_get0_pubkey(cert))) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "the certificate's key is not EC P-256");
	}
	return 0;
}

int bh_pki_verifier_open(const char *ca_file, const char *cert, size_t cert_size, const char *name,
			 struct bh_pki_verifier **ret, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *x = bh_pki_cert_read(cert, cert_size);
	struct bh_pki_verifier *verifier;
	int r;

	if (!x) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "not a certificate in PEM form");
	}
	r = cert_check(ca_file, x, name, diag);
	if (r) {
		return r;
	}
	verifier = bh_alloc(sizeof(*verifier));
	verifier->cert = bh_steal(&x);
	verifier->ctx = EVP_MD_CTX_new();
	*ret = verifier;
	return 0;
}

void bh_pki_verifier_free(struct bh_pki_verifier *verifier)
{
	if (verifier) {
		EVP_MD_CTX_free(verifier->ctx);
		X509_free(verifier->cert);
		free(verifier);
	}
}

int bh_pki_verify(const struct bh_pki_verifier *verifier, const void *data, size_t size,
		  const void *sig, size_t sig_size, struct bh_diag *diag)
{
	time_t now = time(NULL);
	bool good;

	if (X509_cmp_time(X509_get0_notAfter(verifier->cert), &now) < 0) {
		return bh_diag_set(diag, -EKEYREJECTED, "the signer's certificate has run out");
	}
	good = EVP_MD_CTX_reset(verifier->ctx) &&
	       EVP_DigestVerifyInit(verifier->ctx, NULL, EVP_sha256(), NULL,
				    X509_get0_pubkey(verifier->cert)) == 1 &&
	       EVP_DigestVerify(verifier->ctx, sig, sig_size, data, size) == 1;
	ERR_clear_error();
	return good ? 0 : bh_diag_set(diag, -EKEYREJECTED, "the signature is not good");
}
