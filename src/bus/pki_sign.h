/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of hosts and of the manager over what they send each other past the bus's word:
 * ECDSA P-256 with SHA-256, DER form, by the key of the certificate that they have anyway. A signer
 * and a verifier keep the loaded key, because parts of capsules are signed many times a second.
 * Each object belongs to one thread at a time.
 */
#ifndef BH_BUS_PKI_SIGN_H
#define BH_BUS_PKI_SIGN_H

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

#define BH_PKI_SIG_MAX 80 /* a P-256 signature in DER form has at most 72 bytes */

struct bh_pki_signer;
/* -EBADMSG when key_file holds no EC P-256 key. */
[[nodiscard]] int bh_pki_signer_open(const char *key_file, struct bh_pki_signer **ret,
				     struct bh_diag *diag);
void bh_pki_signer_free(struct bh_pki_signer *signer); /* NULL is fine */
/* Fills sig (BH_PKI_SIG_MAX bytes) and *ret_size. signer comes as void *, so that this is a
 * bh_capsule_sign_fn. */
[[nodiscard]] int bh_pki_sign(const void *data, size_t size, uint8_t *sig, size_t *ret_size,
			      void *signer, struct bh_diag *diag);

struct bh_pki_verifier;
/* Takes the certificate of somebody who says that he is `name` ("host.h1", "manager"): it must be
 * issued by the CA in ca_file, be valid now, hold an EC P-256 key, and name him and nobody else
 * first. -EBADMSG with the reason. */
[[nodiscard]] int bh_pki_verifier_open(const char *ca_file, const char *cert, size_t cert_size,
				       const char *name, struct bh_pki_verifier **ret,
				       struct bh_diag *diag);
void bh_pki_verifier_free(struct bh_pki_verifier *verifier); /* NULL is fine */
/* 0 when sig is that of the certificate's key over data and the certificate has not run out since;
 * else -EKEYREJECTED. */
[[nodiscard]] int bh_pki_verify(const struct bh_pki_verifier *verifier, const void *data,
				size_t size, const void *sig, size_t sig_size,
				struct bh_diag *diag);

#endif
