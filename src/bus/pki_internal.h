/* SPDX-License-Identifier: Apache-2.0 */
/* What pki.c and pki_sign.c share of OpenSSL's objects; inside the room. */
#ifndef BH_BUS_PKI_INTERNAL_H
#define BH_BUS_PKI_INTERNAL_H

#include "base/diag.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>

#define BH_PKI_CLEANUP_OF(type, free_fn)                                                           \
	static inline void cleanup_##free_fn(type **p)                                             \
	{                                                                                          \
		free_fn(*p);                                                                       \
	}                                                                                          \
	struct bh_diag /* the semicolon of the user */
BH_PKI_CLEANUP_OF(X509, X509_free);
BH_PKI_CLEANUP_OF(X509_REQ, X509_REQ_free);
BH_PKI_CLEANUP_OF(EVP_PKEY, EVP_PKEY_free);
BH_PKI_CLEANUP_OF(EVP_MD_CTX, EVP_MD_CTX_free);
BH_PKI_CLEANUP_OF(BIGNUM, BN_free);
BH_PKI_CLEANUP_OF(BIO, BIO_free_all);
BH_PKI_CLEANUP_OF(X509_STORE, X509_STORE_free);
BH_PKI_CLEANUP_OF(X509_STORE_CTX, X509_STORE_CTX_free);
BH_PKI_CLEANUP_OF(GENERAL_NAMES, GENERAL_NAMES_free);
#define AUTO(free_fn) __attribute__((cleanup(cleanup_##free_fn)))

/* err, with what and OpenSSL's own reason in diag; its queue of errors is empty afterwards. */
int bh_pki_ssl_error(struct bh_diag *diag, int err, const char *what);
X509 *bh_pki_cert_read(const char *pem, size_t size); /* NULL when it is none; owned */
[[nodiscard]] int bh_pki_cert_load(const char *file, X509 **ret, struct bh_diag *diag);
[[nodiscard]] int bh_pki_key_load(const char *file, EVP_PKEY **ret, struct bh_diag *diag);
bool bh_pki_key_is_p256(EVP_PKEY *key);
/* cert is issued by ca and valid now; -EBADMSG. */
[[nodiscard]] int bh_pki_check_chain(X509 *ca, X509 *cert, struct bh_diag *diag);
/* The first DNS SAN of cert is exactly `name`. */
bool bh_pki_cert_is_for(X509 *cert, const char *name);

#endif
