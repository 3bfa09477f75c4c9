/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates: the manager's CA, the certificates it issues, and a host's key and
 * request. Everything is EC P-256 and SHA-256. Keys have mode 0600, certificates 0644; files are
 * replaced as a whole. The name of a certificate is its first DNS SAN (and its CN): "manager",
 * "host.<name>", "bus.bulkhead". Blocking; all functions are independent of any loop.
 */
#ifndef BH_BUS_PKI_H
#define BH_BUS_PKI_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_PKI_FINGERPRINT_SIZE 65 /* lower-case hex of SHA-256 over the DER form, and NUL */
#define BH_PKI_PEM_MAX		65536
#define BH_PKI_DAYS_CA		3650
#define BH_PKI_DAYS_CERT	365

struct bh_pki_ca;

/* Opens dir/ca.crt and dir/ca.key; makes dir and both when neither is there. A certificate without
 * its key is -ENOENT with words: a CA is never replaced silently. A key alone gets a new
 * certificate of the same name, under which everything it issued stays valid. */
[[nodiscard]] int bh_pki_ca_open(const char *dir, struct bh_pki_ca **ret, struct bh_diag *diag);
void bh_pki_ca_free(struct bh_pki_ca *ca);		       /* NULL is fine */
const char *bh_pki_ca_pem(const struct bh_pki_ca *ca);	       /* the certificate, borrowed */
const char *bh_pki_ca_fingerprint(const struct bh_pki_ca *ca); /* for join tokens, borrowed */

enum bh_pki_usage { BH_PKI_CLIENT = 1, BH_PKI_SERVER = 2 };

struct bh_pki_subject {
	const char *name;	 /* CN and first DNS SAN */
	const char *const *alts; /* further SANs: IP addresses or DNS names */
	size_t alt_count;
	unsigned int usage;  /* enum bh_pki_usage, or-ed */
	unsigned int life_s; /* 0: BH_PKI_DAYS_CERT; never beyond the CA's own end */
};

/* Sees to it that dir/<file>.crt and dir/<file>.key are there, belong together, are of this CA and
 * name all of subject, and that at least a third of their time is left; else issues them anew (new
 * key). *ret_changed (may be NULL) tells whether. Call it at start and once a day: that is the
 * renewal. */
[[nodiscard]] int bh_pki_ensure(const struct bh_pki_ca *ca, const char *dir, const char *file,
				const struct bh_pki_subject *subject, bool *ret_changed,
				struct bh_diag *diag);

/* ---- a host ---- */
/* A request (PEM, owned) signed with the key in key_file, which is made when it is missing. */
[[nodiscard]] int bh_pki_csr_make(const char *key_file, const char *name, char **ret_csr,
				  struct bh_diag *diag);
/* The CA signs the request's public key for `subject`. Nothing else of the request counts: names
 * and extensions in it are ignored. -EBADMSG when it is no request, is not signed by its own key,
 * or has another kind of key than EC P-256. *ret_cert is PEM, owned. */
[[nodiscard]] int bh_pki_csr_sign(const struct bh_pki_ca *ca, const char *csr, size_t size,
				  const struct bh_pki_subject *subject, char **ret_cert,
				  struct bh_diag *diag);
/* Checks that cert is signed by the CA in ca (PEM), belongs to key_file and is for `name`; then
 * replaces ca_file and cert_file. */
[[nodiscard]] int bh_pki_install(const char *ca, const char *cert, const char *key_file,
				 const char *name, const char *ca_file, const char *cert_file,
				 struct bh_diag *diag);

/* The name that a request asks for (its CN, "" when it has none: names over 64 characters don't fit
 * into one). -EBADMSG when it is no request. */
[[nodiscard]] int bh_pki_csr_name(const char *csr, size_t size, char *ret_name, size_t name_size,
				  struct bh_diag *diag);

/* ---- renewing a host's pair, dir/key.pem and dir/cert.pem (pki_renew.c) ----
 * The new key waits in key.next.pem until its certificate is there, so a request that is repeated
 * after a crash or a lost answer asks for the same key again. Swapping is two renames; whoever dies
 * between them leaves what bh_pki_renew_settle() finishes. A reader that comes in between finds a
 * pair that does not fit and tries again. */
/* A request for a new key. Owned text. */
[[nodiscard]] int bh_pki_renew_csr(const char *dir, const char *name, char **ret_csr,
				   struct bh_diag *diag);
/* Checks and swaps. ca may be another certificate than that in dir/ca.pem only if it has the same
 * key: then it replaces it, which is how a CA's certificate is rolled. */
[[nodiscard]] int bh_pki_renew_install(const char *dir, const char *name, const char *ca,
				       const char *cert, struct bh_diag *diag);
/* Call it before the pair is used. -EBADMSG when key.pem and cert.pem do not belong together and
 * nothing beside them mends that; -ENOENT when there is none. */
[[nodiscard]] int bh_pki_renew_settle(const char *dir, struct bh_diag *diag);

/* ---- looking ---- */
struct bh_pki_info {
	char name[256]; /* first DNS SAN */
	char fingerprint[BH_PKI_FINGERPRINT_SIZE];
	int64_t not_before_s, not_after_s; /* since 1970 UTC */
};
[[nodiscard]] int bh_pki_info_pem(const char *pem, size_t size, struct bh_pki_info *ret,
				  struct bh_diag *diag);
[[nodiscard]] int bh_pki_info_file(const char *file, struct bh_pki_info *ret, struct bh_diag *diag);
/* Both files can be read and belong together. */
bool bh_pki_pair_fits(const char *cert_file, const char *key_file);
/* new_ca (PEM) is a CA's certificate with the same key as that in ca_file, signed by itself. */
bool bh_pki_same_ca(const char *ca_file, const char *new_ca);
/* Less than a third of its time is left at now_s. */
bool bh_pki_due(const struct bh_pki_info *info, int64_t now_s);

#endif
