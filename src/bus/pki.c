/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/pki.h"

#include "base/file.h"
#include "base/util.h"
#include "bus/pki_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#define DAY_S	     86400ull
#define CLOCK_SKEW_S (10 * 60) /* certificates are valid from a little before now */

struct bh_pki_ca {
	X509 *cert;
	EVP_PKEY *key;
	char *pem;
	char fingerprint[BH_PKI_FINGERPRINT_SIZE];
};

int bh_pki_ssl_error(struct bh_diag *diag, int err, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return bh_diag_set(diag, err, "%s: %s", what, reason ? reason : "refused by OpenSSL");
}

/* ---- PEM ---- */
static char *bio_text(BIO *bio)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);
	char *s = bh_alloc((size_t)n + 1);

	memcpy(s, data, (size_t)n);
	return s;
}

static char *cert_pem(X509 *cert)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	return PEM_write_bio_X509(bio, cert) ? bio_text(bio) : bh_strdup("");
}

X509 *bh_pki_cert_read(const char *pem, size_t size)
{
	AUTO(BIO_free_all) BIO *bio = NULL;

	if (!size || size > BH_PKI_PEM_MAX) {
		return NULL;
	}
	bio = BIO_new_mem_buf(pem, (int)size);
	return PEM_read_bio_X509(bio, NULL, NULL, NULL);
}

/* An encrypted key must fail, not ask on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

int bh_pki_key_load(const char *file, EVP_PKEY **ret, struct bh_diag *diag)
{
	AUTO(BIO_free_all) BIO *bio = NULL;
	BH_FREE char *pem = NULL;
	size_t size;
	int r = bh_file_read(file, BH_PKI_PEM_MAX, &pem, &size, diag);

	if (r) {
		return r;
	}
	bio = BIO_new_mem_buf(pem, (int)size);
	*ret = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	OPENSSL_cleanse(pem, size);
	if (!*ret) {
		ERR_clear_error();
		return bh_diag_at(diag, -EBADMSG, file, 0, 0, "not a private key in PEM form");
	}
	return 0;
}

int bh_pki_cert_load(const char *file, X509 **ret, struct bh_diag *diag)
{
	BH_FREE char *pem = NULL;
	size_t size;
	int r = bh_file_read(file, BH_PKI_PEM_MAX, &pem, &size, diag);

	if (r) {
		return r;
	}
	*ret = bh_pki_cert_read(pem, size);
	if (!*ret) {
		ERR_clear_error();
		return bh_diag_at(diag, -EBADMSG, file, 0, 0, "not a certificate in PEM form");
	}
	return 0;
}

static int key_save(EVP_PKEY *key, const char *file, struct bh_diag *diag)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long n;
	int r;

	if (!PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		return bh_pki_ssl_error(diag, -EIO, "can't write a private key");
	}
	n = BIO_get_mem_data(bio, &data);
	r = bh_file_replace(file, data, (size_t)n, 0600, diag);
	OPENSSL_cleanse(data, (size_t)n);
	return r;
}

static int key_load_or_make(const char *key_file, EVP_PKEY **ret, struct bh_diag *diag)
{
	if (!access(key_file, F_OK)) {
		return bh_pki_key_load(key_file, ret, diag);
	}
	*ret = EVP_EC_gen("P-256");
	if (!*ret) {
		return bh_pki_ssl_error(diag, -EIO, "can't make a key");
	}
	return key_save(*ret, key_file, diag);
}

/* ---- certificates ---- */
static void fingerprint_of(X509 *cert, char ret[BH_PKI_FINGERPRINT_SIZE])
{
	unsigned char md[EVP_MAX_MD_SIZE] = {};
	unsigned int n = 0;

	X509_digest(cert, EVP_sha256(), md, &n);
	bh_hex_format(md, 32, ret);
}

static int serial_set(X509 *cert)
{
	AUTO(BN_free) BIGNUM *bn = BN_new();

	return BN_rand(bn, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
	       BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
}

static int extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext) {
		return 0;
	}
	ok = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

/* A CN is for people and holds at most 64 characters; longer names stand in the SAN alone. */
static int cn_set(X509_NAME *name, const char *cn)
{
	if (strlen(cn) > 64) {
		return 1;
	}
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0);
}

static GENERAL_NAME *san_new(const char *text)
{
	unsigned char addr[16];
	GENERAL_NAME *san = GENERAL_NAME_new();
	int addr_size = inet_pton(AF_INET, text, addr) == 1    ? 4
			: inet_pton(AF_INET6, text, addr) == 1 ? 16
							       : 0;

	if (addr_size) {
		ASN1_OCTET_STRING *ip = ASN1_OCTET_STRING_new();

		ASN1_OCTET_STRING_set(ip, addr, addr_size);
		GENERAL_NAME_set0_value(san, GEN_IPADD, ip);
	} else {
		ASN1_IA5STRING *dns = ASN1_IA5STRING_new();

		ASN1_STRING_set(dns, text, -1);
		GENERAL_NAME_set0_value(san, GEN_DNS, dns);
	}
	return san;
}

/* Not through the configuration syntax of X509V3_EXT_conf: a name there could add names of its own.
 */
static int sans_add(X509 *cert, const struct bh_pki_subject *subject)
{
	AUTO(GENERAL_NAMES_free) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

	sk_GENERAL_NAME_push(names, san_new(subject->name));
	for (size_t i = 0; i < subject->alt_count; i++) {
		sk_GENERAL_NAME_push(names, san_new(subject->alts[i]));
	}
	return X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
}

static int times_set(X509 *cert, const struct bh_pki_ca *ca, uint64_t life_s)
{
	time_t now = time(NULL);
	ASN1_TIME *end;

	if (!X509_time_adj_ex(X509_getm_notBefore(cert), 0, -CLOCK_SKEW_S, &now) ||
	    !X509_time_adj_ex(X509_getm_notAfter(cert), (int)(life_s / DAY_S),
			      (long)(life_s % DAY_S), &now)) {
		return 0;
	}
	if (!ca) {
		return 1;
	}
	end = X509_getm_notAfter(ca->cert);
	if (ASN1_TIME_compare(X509_get0_notAfter(cert), end) > 0) {
		return X509_set1_notAfter(cert, end);
	}
	return 1;
}

static const char *usage_text(unsigned int usage)
{
	switch (usage & (BH_PKI_CLIENT | BH_PKI_SERVER)) {
	case BH_PKI_CLIENT:
		return "clientAuth";
	case BH_PKI_SERVER:
		return "serverAuth";
	default:
		return "clientAuth,serverAuth";
	}
}

static bool subject_valid(const struct bh_pki_subject *subject, struct bh_diag *diag)
{
	if (!*subject->name || strlen(subject->name) > 253 || !(subject->usage & 3)) {
		bh_diag_set(diag, -EINVAL,
			    "a certificate needs a name of 1 to 253 characters and a usage");
		return false;
	}
	for (size_t i = 0; i < subject->alt_count; i++) {
		if (!*subject->alts[i] || strlen(subject->alts[i]) > 253) {
			bh_diag_set(diag, -EINVAL, "\"%s\" is no name for a certificate",
				    subject->alts[i]);
			return false;
		}
	}
	return true;
}

static int issue(const struct bh_pki_ca *ca, EVP_PKEY *key, const struct bh_pki_subject *subject,
		 X509 **ret, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *cert = X509_new();
	uint64_t life_s = subject->life_s ? subject->life_s : BH_PKI_DAYS_CERT * DAY_S;

	if (!subject_valid(subject, diag)) {
		return -EINVAL;
	}
	if (!X509_set_version(cert, X509_VERSION_3) || !serial_set(cert) ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) ||
	    !cn_set(X509_get_subject_name(cert), subject->name) || !times_set(cert, ca, life_s) ||
	    !X509_set_pubkey(cert, key) ||
	    !extension_add(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") ||
	    !extension_add(cert, ca->cert, NID_key_usage, "critical,digitalSignature") ||
	    !extension_add(cert, ca->cert, NID_ext_key_usage, usage_text(subject->usage)) ||
	    !extension_add(cert, ca->cert, NID_subject_key_identifier, "hash") ||
	    !extension_add(cert, ca->cert, NID_authority_key_identifier, "keyid:always") ||
	    !sans_add(cert, subject) || !X509_sign(cert, ca->key, EVP_sha256())) {
		return bh_pki_ssl_error(diag, -EIO, "can't issue a certificate");
	}
	*ret = bh_steal(&cert);
	return 0;
}

/* ---- the CA ---- */
/* The name comes from the key, so that a certificate that was lost can be made again and what it
 * issued stays valid. */
static int ca_name_set(X509 *cert, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int size = i2d_PUBKEY(key, &der);
	unsigned char md[EVP_MAX_MD_SIZE];
	char hex[9];
	char name[32];
	int ok = size > 0 && EVP_Digest(der, (size_t)size, md, NULL, EVP_sha256(), NULL);

	OPENSSL_free(der);
	if (!ok) {
		return 0;
	}
	bh_hex_format(md, 4, hex);
	snprintf(name, sizeof(name), "Bulkhead CA %s", hex);
	return cn_set(X509_get_subject_name(cert), name);
}

static int ca_make(const char *key_file, const char *cert_file, struct bh_diag *diag)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	AUTO(X509_free) X509 *cert = X509_new();
	BH_FREE char *pem = NULL;
	int r = key_load_or_make(key_file, &key, diag);

	if (r) {
		return r;
	}
	if (!X509_set_version(cert, X509_VERSION_3) || !serial_set(cert) ||
	    !ca_name_set(cert, key) || !X509_set_issuer_name(cert, X509_get_subject_name(cert)) ||
	    !times_set(cert, NULL, BH_PKI_DAYS_CA * DAY_S) || !X509_set_pubkey(cert, key) ||
	    !extension_add(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !extension_add(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !extension_add(cert, cert, NID_subject_key_identifier, "hash") ||
	    !X509_sign(cert, key, EVP_sha256())) {
		return bh_pki_ssl_error(diag, -EIO, "can't make the CA's certificate");
	}
	pem = cert_pem(cert);
	return bh_file_replace(cert_file, pem, strlen(pem), 0644, diag);
}

static int ca_load(const char *key_file, const char *cert_file, struct bh_pki_ca *ca,
		   struct bh_diag *diag)
{
	int r = bh_pki_key_load(key_file, &ca->key, diag);

	if (!r) {
		r = bh_pki_cert_load(cert_file, &ca->cert, diag);
	}
	if (r) {
		return r;
	}
	if (X509_check_private_key(ca->cert, ca->key) != 1 || X509_check_ca(ca->cert) != 1) {
		ERR_clear_error();
		return bh_diag_at(diag, -EBADMSG, cert_file, 0, 0,
				  "not the certificate of the CA whose key is beside it");
	}
	ca->pem = cert_pem(ca->cert);
	fingerprint_of(ca->cert, ca->fingerprint);
	return 0;
}

int bh_pki_ca_open(const char *dir, struct bh_pki_ca **ret, struct bh_diag *diag)
{
	BH_FREE char *key_file = bh_asprintf("%s/ca.key", dir);
	BH_FREE char *cert_file = bh_asprintf("%s/ca.crt", dir);
	bool have_key = !access(key_file, F_OK);
	bool have_cert = !access(cert_file, F_OK);
	struct bh_pki_ca *ca;
	int r;

	if (!have_key && have_cert) {
		return bh_diag_at(diag, -ENOENT, key_file, 0, 0,
				  "missing though ca.crt is there: put the key back, or remove "
				  "ca.crt to start a new CA (every host must join again)");
	}
	if (!have_cert) {
		r = bh_mkdirs(dir, 0700, diag);
		if (!r) {
			r = ca_make(key_file, cert_file, diag);
		}
		if (r) {
			return r;
		}
	}
	ca = bh_alloc(sizeof(*ca));
	r = ca_load(key_file, cert_file, ca, diag);
	if (r) {
		bh_pki_ca_free(ca);
		return r;
	}
	*ret = ca;
	return 0;
}

void bh_pki_ca_free(struct bh_pki_ca *ca)
{
	if (!ca) {
		return;
	}
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	free(ca->pem);
	free(ca);
}

const char *bh_pki_ca_pem(const struct bh_pki_ca *ca)
{
	return ca->pem;
}

const char *bh_pki_ca_fingerprint(const struct bh_pki_ca *ca)
{
	return ca->fingerprint;
}

/* ---- looking ---- */
static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm = {};

	return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static void info_of(X509 *cert, struct bh_pki_info *ret)
{
	AUTO(GENERAL_NAMES_free)
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	memset(ret, 0, sizeof(*ret));
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !*ret->name; i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(names, i);

		if (san->type == GEN_DNS) {
			snprintf(ret->name, sizeof(ret->name), "%.*s",
				 ASN1_STRING_length(san->d.dNSName),
				 (const char *)ASN1_STRING_get0_data(san->d.dNSName));
		}
	}
	fingerprint_of(cert, ret->fingerprint);
	ret->not_before_s = seconds_of(X509_get0_notBefore(cert));
	ret->not_after_s = seconds_of(X509_get0_notAfter(cert));
}

bool bh_pki_cert_is_for(X509 *cert, const char *name)
{
	AUTO(GENERAL_NAMES_free)
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *san = sk_GENERAL_NAME_value(names, i);

		if (san->type == GEN_DNS) { /* lengths compared: a name may hold a zero */
			return (size_t)ASN1_STRING_length(san->d.dNSName) == strlen(name) &&
			       !memcmp(ASN1_STRING_get0_data(san->d.dNSName), name, strlen(name));
		}
	}
	return false;
}

int bh_pki_info_pem(const char *pem, size_t size, struct bh_pki_info *ret, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *cert = bh_pki_cert_read(pem, size);

	if (!cert) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "not a certificate in PEM form");
	}
	info_of(cert, ret);
	return 0;
}

int bh_pki_info_file(const char *file, struct bh_pki_info *ret, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *cert = NULL;
	int r = bh_pki_cert_load(file, &cert, diag);

	if (!r) {
		info_of(cert, ret);
	}
	return r;
}

bool bh_pki_pair_fits(const char *cert_file, const char *key_file)
{
	AUTO(X509_free) X509 *cert = NULL;
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	bool fits = !bh_pki_cert_load(cert_file, &cert, NULL) &&
		    !bh_pki_key_load(key_file, &key, NULL) &&
		    X509_check_private_key(cert, key) == 1;

	ERR_clear_error();
	return fits;
}

bool bh_pki_same_ca(const char *ca_file, const char *new_ca)
{
	AUTO(X509_free) X509 *old = NULL;
	AUTO(X509_free) X509 *cert = bh_pki_cert_read(new_ca, strlen(new_ca));
	bool same = cert && !bh_pki_cert_load(ca_file, &old, NULL) && X509_check_ca(cert) == 1 &&
		    X509_verify(cert, X509_get0_pubkey(old)) == 1 &&
		    EVP_PKEY_eq(X509_get0_pubkey(old), X509_get0_pubkey(cert)) == 1;

	ERR_clear_error();
	return same;
}

bool bh_pki_due(const struct bh_pki_info *info, int64_t now_s)
{
	return now_s >= info->not_after_s - (info->not_after_s - info->not_before_s) / 3;
}

/* ---- issuing into files ---- */
static bool names_held(X509 *cert, const struct bh_pki_subject *subject)
{
	AUTO(GENERAL_NAMES_free)
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (size_t i = 0; i < subject->alt_count + 1; i++) {
		GENERAL_NAME *want = san_new(i ? subject->alts[i - 1] : subject->name);
		bool found = false;

		for (int k = 0; k < sk_GENERAL_NAME_num(names) && !found; k++) {
			found = !GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, k), want);
		}
		GENERAL_NAME_free(want);
		if (!found) {
			return false;
		}
	}
	return true;
}

static bool still_good(const struct bh_pki_ca *ca, const char *cert_file, const char *key_file,
		       const struct bh_pki_subject *subject)
{
	AUTO(X509_free) X509 *cert = NULL;
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	struct bh_pki_info info;
	bool good;

	if (bh_pki_cert_load(cert_file, &cert, NULL) || bh_pki_key_load(key_file, &key, NULL)) {
		return false;
	}
	info_of(cert, &info);
	good = X509_check_private_key(cert, key) == 1 && X509_verify(cert, ca->key) == 1 &&
	       !strcmp(info.name, subject->name) && names_held(cert, subject) &&
	       !bh_pki_due(&info, (int64_t)time(NULL));
	ERR_clear_error();
	return good;
}

int bh_pki_ensure(const struct bh_pki_ca *ca, const char *dir, const char *file,
		  const struct bh_pki_subject *subject, bool *ret_changed, struct bh_diag *diag)
{
	BH_FREE char *cert_file = bh_asprintf("%s/%s.crt", dir, file);
	BH_FREE char *key_file = bh_asprintf("%s/%s.key", dir, file);
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	AUTO(X509_free) X509 *cert = NULL;
	BH_FREE char *pem = NULL;
	int r;

	if (ret_changed) {
		*ret_changed = false;
	}
	if (still_good(ca, cert_file, key_file, subject)) {
		return 0;
	}
	key = EVP_EC_gen("P-256");
	if (!key) {
		return bh_pki_ssl_error(diag, -EIO, "can't make a key");
	}
	r = issue(ca, key, subject, &cert, diag);
	if (!r) {
		r = bh_mkdirs(dir, 0700, diag);
	}
	if (!r) {
		r = key_save(key, key_file, diag);
	}
	if (!r) {
		pem = cert_pem(cert);
		r = bh_file_replace(cert_file, pem, strlen(pem), 0644, diag);
	}
	if (!r && ret_changed) {
		*ret_changed = true;
	}
	return r;
}

/* ---- a host ---- */
int bh_pki_csr_make(const char *key_file, const char *name, char **ret_csr, struct bh_diag *diag)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	AUTO(X509_REQ_free) X509_REQ *req = X509_REQ_new();
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
	int r = key_load_or_make(key_file, &key, diag);

	if (r) {
		return r;
	}
	if (!X509_REQ_set_version(req, X509_REQ_VERSION_1) ||
	    !cn_set(X509_REQ_get_subject_name(req), name) || !X509_REQ_set_pubkey(req, key) ||
	    !X509_REQ_sign(req, key, EVP_sha256()) || !PEM_write_bio_X509_REQ(bio, req)) {
		return bh_pki_ssl_error(diag, -EIO, "can't make a certificate request");
	}
	*ret_csr = bio_text(bio);
	return 0;
}

bool bh_pki_key_is_p256(EVP_PKEY *key)
{
	char group[32] = "";
	size_t n = 0;

	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
	       !strcmp(group, "prime256v1");
}

static X509_REQ *csr_read(const char *csr, size_t size, struct bh_diag *diag)
{
	AUTO(BIO_free_all) BIO *bio = NULL;
	X509_REQ *req;

	if (!size || size > BH_PKI_PEM_MAX) {
		bh_diag_set(diag, -EBADMSG, "a certificate request must have 1 to %d bytes",
			    BH_PKI_PEM_MAX);
		return NULL;
	}
	bio = BIO_new_mem_buf(csr, (int)size);
	req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	if (!req) {
		ERR_clear_error();
		bh_diag_set(diag, -EBADMSG, "not a certificate request in PEM form");
	}
	return req;
}

int bh_pki_csr_name(const char *csr, size_t size, char *ret_name, size_t name_size,
		    struct bh_diag *diag)
{
	AUTO(X509_REQ_free) X509_REQ *req = csr_read(csr, size, diag);
	int len;

	if (!req) {
		return -EBADMSG;
	}
	len = X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(req), NID_commonName, ret_name,
					(int)name_size);
	ERR_clear_error();
	if (len < 0) {
		*ret_name = '\0';
	} else if ((size_t)len != strlen(ret_name)) {
		return bh_diag_set(diag, -EBADMSG, "the name in the request holds a zero");
	}
	return 0;
}

int bh_pki_csr_sign(const struct bh_pki_ca *ca, const char *csr, size_t size,
		    const struct bh_pki_subject *subject, char **ret_cert, struct bh_diag *diag)
{
	AUTO(X509_REQ_free) X509_REQ *req = csr_read(csr, size, diag);
	AUTO(X509_free) X509 *cert = NULL;
	EVP_PKEY *key; /* of req */
	int r;

	if (!req) {
		return -EBADMSG;
	}
	key = X509_REQ_get0_pubkey(req);
	if (!key) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "not a certificate request in PEM form");
	}
	if (!bh_pki_key_is_p256(key)) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "the request's key must be EC P-256");
	}
	if (X509_REQ_verify(req, key) != 1) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "the request is not signed by its own key");
	}
	r = issue(ca, key, subject, &cert, diag);
	if (!r) {
		*ret_cert = cert_pem(cert);
	}
	return r;
}

int bh_pki_check_chain(X509 *ca, X509 *cert, struct bh_diag *diag)
{
	AUTO(X509_STORE_free) X509_STORE *store = X509_STORE_new();
	AUTO(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int r = 0;

	if (!X509_STORE_add_cert(store, ca) || !X509_STORE_CTX_init(ctx, store, cert, NULL)) {
		return bh_pki_ssl_error(diag, -EIO, "can't check a certificate");
	}
	if (X509_verify_cert(ctx) != 1) {
		r = bh_diag_set(diag, -EBADMSG, "the certificate is not good: %s",
				X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	ERR_clear_error();
	return r;
}

int bh_pki_install(const char *ca, const char *cert, const char *key_file, const char *name,
		   const char *ca_file, const char *cert_file, struct bh_diag *diag)
{
	AUTO(X509_free) X509 *ca_cert = bh_pki_cert_read(ca, strlen(ca));
	AUTO(X509_free) X509 *new_cert = bh_pki_cert_read(cert, strlen(cert));
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
	struct bh_pki_info info;
	int r;

	if (!ca_cert || !new_cert) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "not certificates in PEM form");
	}
	r = bh_pki_check_chain(ca_cert, new_cert, diag);
	if (!r) {
		r = bh_pki_key_load(key_file, &key, diag);
	}
	if (r) {
		return r;
	}
	info_of(new_cert, &info);
	if (strcmp(info.name, name)) {
		return bh_diag_set(diag, -EBADMSG, "the certificate is for \"%s\", not \"%s\"",
				   info.name, name);
	}
	if (X509_check_private_key(new_cert, key) != 1) {
		ERR_clear_error();
		return bh_diag_set(diag, -EBADMSG, "the certificate is for another key");
	}
	r = bh_file_replace(ca_file, ca, strlen(ca), 0644, diag);
	return r ? r : bh_file_replace(cert_file, cert, strlen(cert), 0644, diag);
}
