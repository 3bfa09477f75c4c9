/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that sign the audit log, and its seals. */
#include "model/audit.h"

#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define SIG_SIZE      64
#define SIG_TEXT_SIZE 88 /* in base64 */
#define DER_SIZE      44 /* SubjectPublicKeyInfo of an Ed25519 key, RFC 8410 */

struct bh_audit_key {
	EVP_PKEY *pkey;
	char id[BH_AUDIT_KEY_ID_SIZE];
	char public[BH_AUDIT_KEY_PUBLIC_SIZE];
};

/* Takes pkey over, also on failure. */
static struct bh_audit_key *wrap(EVP_PKEY *pkey)
{
	struct bh_audit_key *key;
	struct bh_audit_hash hash;
	uint8_t *der = NULL;
	int size = pkey && EVP_PKEY_id(pkey) == EVP_PKEY_ED25519 ? i2d_PUBKEY(pkey, &der) : -1;

	ERR_clear_error();
	if (size != DER_SIZE) {
		OPENSSL_free(der);
		EVP_PKEY_free(pkey);
		return NULL;
	}
	key = bh_alloc(sizeof(*key));
	key->pkey = pkey;
	hash = bh_audit_hash_of(der, DER_SIZE);
	bh_hex_format(hash.bytes, (sizeof(key->id) - 1) / 2, key->id);
	EVP_EncodeBlock((uint8_t *)key->public, der, DER_SIZE);
	OPENSSL_free(der);
	return key;
}

struct bh_audit_key *bh_audit_key_new(void)
{
	struct bh_audit_key *key = wrap(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));

	if (!key) {
		abort(); /* out of memory, or OpenSSL without its own algorithms */
	}
	return key;
}

void bh_audit_key_free(struct bh_audit_key *key)
{
	if (key) {
		EVP_PKEY_free(key->pkey);
		free(key);
	}
}

int bh_audit_key_read(const char *pem, size_t size, struct bh_audit_key **ret, struct bh_diag *diag)
{
	BIO *bio = size <= INT32_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;

	if (bio && !pkey) {
		(void)!BIO_reset(bio);
		pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"");
	}
	BIO_free_all(bio);
	*ret = wrap(pkey);
	return *ret ? 0 : bh_diag_set(diag, -EBADMSG, "no Ed25519 key in PEM form");
}

int bh_audit_key_parse(const char *text, size_t size, struct bh_audit_key **ret,
		       struct bh_diag *diag)
{
	uint8_t der[DER_SIZE + 4];
	const uint8_t *p = der;
	int n = -1;

	*ret = NULL;
	if (size == BH_AUDIT_KEY_PUBLIC_SIZE - 4) {
		n = EVP_DecodeBlock(der, (const uint8_t *)text, (int)size);
	}
	if (n >= DER_SIZE) {
		*ret = wrap(d2i_PUBKEY(NULL, &p, DER_SIZE));
	}
	ERR_clear_error();
	if (*ret && strncmp((*ret)->public, text, size) != 0) { /* another text of the same key */
		bh_audit_key_free(*ret);
		*ret = NULL;
	}
	return *ret ? 0 : bh_diag_set(diag, -EBADMSG, "no Ed25519 key in base64");
}

const char *bh_audit_key_id(const struct bh_audit_key *key)
{
	return key->id;
}

const char *bh_audit_key_public(const struct bh_audit_key *key)
{
	return key->public;
}

char *bh_audit_key_pem(const struct bh_audit_key *key, bool priv)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *ret;
	long size;

	if (!bio || (priv ? PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL)
			  : PEM_write_bio_PUBKEY(bio, key->pkey)) != 1) {
		abort(); /* out of memory, or a private key of a public one */
	}
	size = BIO_get_mem_data(bio, &data);
	ret = bh_alloc((size_t)size + 1);
	memcpy(ret, data, (size_t)size);
	BIO_free_all(bio);
	return ret;
}

int bh_audit_key_verify(const struct bh_audit_key *key, const void *data, size_t size,
			const char *sig, size_t sig_size)
{
	uint8_t bytes[SIG_SIZE + 4], again[SIG_TEXT_SIZE + 4];
	EVP_MD_CTX *ctx;
	bool good;

	if (sig_size != SIG_TEXT_SIZE ||
	    EVP_DecodeBlock(bytes, (const uint8_t *)sig, SIG_TEXT_SIZE) < SIG_SIZE) {
		return -EKEYREJECTED;
	}
	EVP_EncodeBlock(again, bytes, SIG_SIZE);
	if (memcmp(again, sig, SIG_TEXT_SIZE) != 0) { /* bits that mean nothing are 0 */
		return -EKEYREJECTED;
	}
	ctx = EVP_MD_CTX_new();
	good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
	       EVP_DigestVerify(ctx, bytes, SIG_SIZE, data, size) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return good ? 0 : -EKEYREJECTED;
}

/* ---- seals ---- */

static void add_hash(struct bh_wbuf *w, const char *key, const struct bh_audit_hash *hash)
{
	char text[BH_AUDIT_HASH_TEXT_SIZE];

	bh_hex_format(hash->bytes, sizeof(hash->bytes), text);
	bh_jtext_add_str(w, key, text);
}

static void seal_text(struct bh_wbuf *w, const struct bh_audit_seal *seal)
{
	char time[BH_TIME_TEXT_SIZE];

	bh_time_format(seal->time_ns, time);
	bh_wbuf_u8(w, '{');
	bh_jtext_add_str(w, "kind", seal->statement ? "statement" : "checkpoint");
	bh_jtext_add_str(w, "log", seal->log);
	bh_jtext_add_u64(w, "tenant", seal->tenant);
	bh_jtext_add_u64(w, "from", seal->from);
	add_hash(w, "prev", &seal->prev);
	bh_jtext_add_u64(w, "to", seal->to);
	add_hash(w, "head", &seal->head);
	bh_jtext_add_u64(w, "count", seal->to + 1 - seal->from);
	bh_jtext_add_str(w, "time", time);
	bh_jtext_add_str(w, "key", seal->key);
	bh_wbuf_u8(w, '}');
}

int bh_audit_seal_write(struct bh_wbuf *w, struct bh_audit_seal *seal,
			const struct bh_audit_key *key)
{
	uint8_t sig[SIG_SIZE], text[SIG_TEXT_SIZE + 4];
	size_t size = sizeof(sig);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct bh_wbuf body;
	int r = -EIO;

	snprintf(seal->key, sizeof(seal->key), "%s", key->id);
	bh_wbuf_init(&body, 0);
	seal_text(&body, seal);
	if (ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
	    EVP_DigestSign(ctx, sig, &size, body.data, body.size) == 1 && size == SIG_SIZE) {
		EVP_EncodeBlock(text, sig, SIG_SIZE);
		bh_wbuf_str(w, "{\"seal\":");
		bh_wbuf_put(w, body.data, body.size);
		bh_wbuf_printf(w, ",\"sig\":\"%s\"}", (const char *)text);
		r = w->err;
	}
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	bh_wbuf_done(&body);
	return r;
}
