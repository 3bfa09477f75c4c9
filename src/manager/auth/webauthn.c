/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/webauthn.h"

#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <fido.h>
#include <fido/eddsa.h>
#include <fido/es256.h>
#include <fido/rs256.h>
#include <sodium.h>

#define FLAG_PRESENT	0x01
#define FLAG_VERIFIED	0x04
#define FLAG_KEY	0x40 /* a new key follows */
#define FLAG_EXTENSIONS 0x80
#define AUTHDATA_MIN	37 /* hash of the relying party, flags, counter */
#define AUTHDATA_FLAGS	32 /* where they are */
#define AUTHDATA_AAGUID 16

static int refuse(struct bh_diag *diag, const char *words)
{
	return bh_diag_set(diag, -EACCES, "%s", words);
}

/* ---- what the browser says it asked the key for ---- */

static int check_client(const struct manager_webauthn_wanted *wanted, const char *type,
			struct manager_webauthn_bytes client, struct bh_diag *diag)
{
	BH_JSON json_t *json = NULL;
	const json_t *cross;
	char challenge[64];

	if (bh_json_load((const char *)client.data, client.size, WEBAUTHN_CLIENT_MAX, &json, NULL) <
		    0 ||
	    !json_is_object(json)) {
		return refuse(diag, "what the browser says is no JSON object");
	}
	sodium_bin2base64(challenge, sizeof(challenge), wanted->challenge,
			  sizeof(wanted->challenge), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	if (strcmp(bh_json_str_or(json, "type", ""), type) != 0) {
		return refuse(diag, "the key was asked for something else");
	}
	if (strcmp(bh_json_str_or(json, "challenge", ""), challenge) != 0) {
		return refuse(diag, "this is not the challenge that was given");
	}
	if (strcmp(bh_json_str_or(json, "origin", ""), wanted->origin) != 0) {
		return refuse(diag, "the page that asked the key is not the console (see the "
				    "setting console_url)");
	}
	cross = json_object_get(json, "crossOrigin");
	if (json_is_true(cross) || json_object_get(json, "topOrigin")) {
		return refuse(diag, "the console was shown inside another page");
	}
	return 0;
}

static int check_flags(const struct manager_webauthn_wanted *wanted, uint8_t flags,
		       struct bh_diag *diag)
{
	if (!(flags & FLAG_PRESENT)) {
		return refuse(diag, "nobody touched the key");
	}
	if (wanted->verify && !(flags & FLAG_VERIFIED)) {
		return refuse(diag, "the key did not ask for a PIN or a finger");
	}
	return 0;
}

static bool is_of(const char *rp_id, const uint8_t hash[crypto_hash_sha256_BYTES])
{
	uint8_t own[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(own, (const unsigned char *)rp_id, strlen(rp_id));
	return sodium_memcmp(own, hash, sizeof(own)) == 0;
}

/* ---- the envelope of an attestation: CBOR (RFC 8949) of definite lengths ---- */

enum cbor_major {
	CBOR_UINT,
	CBOR_NINT,
	CBOR_BYTES,
	CBOR_TEXT,
	CBOR_ARRAY,
	CBOR_MAP,
	CBOR_TAG,
	CBOR_SIMPLE
};

struct cbor {
	struct manager_webauthn_bytes left;
	unsigned int items;
};

/* The head of an item; its argument. */
static int cbor_head(struct cbor *c, enum cbor_major *ret_major, uint64_t *ret)
{
	uint8_t first, info;
	size_t size;

	if (!c->left.size || ++c->items > WEBAUTHN_ATTESTATION_MANY) {
		return -EBADMSG;
	}
	first = c->left.data[0];
	info = first & 0x1f;
	*ret_major = first >> 5;
	*ret = info;
	size = info < 24 ? 0 : info < 28 ? (size_t)1 << (info - 24) : SIZE_MAX;
	if (size >= c->left.size) { /* indefinite ones too */
		return -EBADMSG;
	}
	if (size) {
		*ret = 0;
		for (size_t i = 1; i <= size; i++) {
			*ret = *ret << 8 | c->left.data[i];
		}
	}
	c->left.data += 1 + size;
	c->left.size -= 1 + size;
	return 0;
}

static int cbor_pass(struct cbor *c, uint64_t size)
{
	if (size > c->left.size) {
		return -EBADMSG;
	}
	c->left.data += size;
	c->left.size -= size;
	return 0;
}

static int cbor_string(struct cbor *c, enum cbor_major wanted, struct manager_webauthn_bytes *ret)
{
	enum cbor_major major;
	uint64_t size;

	if (cbor_head(c, &major, &size) < 0 || major != wanted) {
		return -EBADMSG;
	}
	*ret = (struct manager_webauthn_bytes){c->left.data, (size_t)size};
	return cbor_pass(c, size);
}

static int cbor_skip(struct cbor *c, unsigned int depth)
{
	enum cbor_major major;
	uint64_t n;
	int r;

	r = cbor_head(c, &major, &n);
	if (r < 0 || depth > WEBAUTHN_ATTESTATION_DEEP) {
		return -EBADMSG;
	}
	switch (major) {
	case CBOR_BYTES:
	case CBOR_TEXT:
		return cbor_pass(c, n);
	case CBOR_ARRAY:
	case CBOR_MAP:
		if (n > WEBAUTHN_ATTESTATION_MANY) {
			return -EBADMSG;
		}
		n = major == CBOR_MAP ? 2 * n : n;
		for (uint64_t i = 0; i < n && r == 0; i++) {
			r = cbor_skip(c, depth + 1);
		}
		return r;
	case CBOR_TAG:
		return -EBADMSG;
	default:
		return 0;
	}
}

struct attestation {
	struct manager_webauthn_bytes format, statement, data;
};

static bool is(struct manager_webauthn_bytes text, const char *word)
{
	return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* {"fmt": text, "attStmt": map, "authData": bytes}, in any order. */
static int read_attestation(struct manager_webauthn_bytes bytes, struct attestation *ret)
{
	struct cbor c = {.left = bytes};
	struct manager_webauthn_bytes key;
	enum cbor_major major;
	uint64_t count;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (bytes.size > WEBAUTHN_ATTESTATION_MAX || cbor_head(&c, &major, &count) < 0 ||
	    major != CBOR_MAP || count != 3) {
		return -EBADMSG;
	}
	for (unsigned int i = 0; i < 3 && r == 0; i++) {
		r = cbor_string(&c, CBOR_TEXT, &key);
		if (r == 0 && is(key, "fmt") && !ret->format.data) {
			r = cbor_string(&c, CBOR_TEXT, &ret->format);
		} else if (r == 0 && is(key, "authData") && !ret->data.data) {
			r = cbor_string(&c, CBOR_BYTES, &ret->data);
		} else if (r == 0 && is(key, "attStmt") && !ret->statement.data) {
			ret->statement.data = c.left.data;
			r = cbor_skip(&c, 1);
			ret->statement.size = (size_t)(c.left.data - ret->statement.data);
		} else {
			r = -EBADMSG;
		}
	}
	return r == 0 && c.left.size == 0 ? 0 : -EBADMSG;
}

/* Authenticator data (WebAuthn level 2, 6.1), of a new key or of an answer. libcbor allocates what
 * the head of an array claims before it looks for the items: so what libfido2 gives it is held
 * against the bytes that are there. */
static int check_data(struct manager_webauthn_bytes data, bool is_new)
{
	struct cbor c = {.left = data};
	size_t id_size;
	uint8_t flags;

	if (cbor_pass(&c, AUTHDATA_MIN) < 0) {
		return -EBADMSG;
	}
	flags = data.data[AUTHDATA_FLAGS];
	if (!(flags & FLAG_KEY) == is_new) {
		return -EBADMSG;
	}
	if (is_new) {
		if (cbor_pass(&c, AUTHDATA_AAGUID + 2) < 0) {
			return -EBADMSG;
		}
		id_size = (size_t)c.left.data[-2] << 8 | c.left.data[-1];
		if (cbor_pass(&c, id_size) < 0 || cbor_skip(&c, 1) < 0) {
			return -EBADMSG;
		}
	}
	return flags & FLAG_EXTENSIONS ? cbor_skip(&c, 1) : 0;
}

/* ---- a new key ---- */

static void cred_cleanup(fido_cred_t **cred)
{
	fido_cred_free(cred);
}

/* libfido2 wants to know the algorithm before it reads the key. */
static fido_cred_t *read_credential(const struct attestation *att, int *ret_alg)
{
	static const int algorithms[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};

	for (size_t i = 0; i < BH_ARRAY_SIZE(algorithms); i++) {
		fido_cred_t *cred = fido_cred_new();

		if (cred && fido_cred_set_type(cred, algorithms[i]) == FIDO_OK &&
		    fido_cred_set_authdata_raw(cred, att->data.data, att->data.size) == FIDO_OK) {
			*ret_alg = algorithms[i];
			return cred;
		}
		fido_cred_free(&cred);
	}
	return NULL;
}

static int check_statement(const struct manager_webauthn_wanted *wanted, fido_cred_t *cred,
			   const struct attestation *att, struct manager_webauthn_bytes client,
			   struct bh_diag *diag)
{
	if (is(att->format, "none")) {
		return att->statement.size == 1 && att->statement.data[0] == 0xa0
			       ? 0
			       : refuse(diag, "an attestation of none says something");
	}
	if (!is(att->format, "packed")) {
		return refuse(diag, "the key sends an attestation that was not asked for");
	}
	if (fido_cred_set_fmt(cred, "packed") != FIDO_OK ||
	    fido_cred_set_attstmt(cred, att->statement.data, att->statement.size) != FIDO_OK ||
	    fido_cred_set_clientdata(cred, client.data, client.size) != FIDO_OK ||
	    fido_cred_set_rp(cred, wanted->rp_id, NULL) != FIDO_OK || fido_cred_x5c_ptr(cred) ||
	    fido_cred_verify_self(cred) != FIDO_OK) {
		return refuse(diag, "the key's signature over itself does not fit");
	}
	return 0;
}

int manager_webauthn_create(const struct manager_webauthn_wanted *wanted,
			    struct manager_webauthn_bytes client,
			    struct manager_webauthn_bytes attestation,
			    struct manager_webauthn_key *ret, struct bh_diag *diag)
{
	__attribute__((cleanup(cred_cleanup))) fido_cred_t *cred = NULL;
	struct attestation att;
	int r = check_client(wanted, "webauthn.create", client, diag);

	memset(ret, 0, sizeof(*ret));
	if (r < 0) {
		return r;
	}
	if (read_attestation(attestation, &att) < 0 || check_data(att.data, true) < 0) {
		return refuse(diag, "this is no attestation");
	}
	cred = read_credential(&att, &ret->alg);
	if (!cred) {
		return refuse(diag, "this is no key of ES256, EdDSA or RS256");
	}
	ret->id_size = fido_cred_id_len(cred);
	ret->public_size = fido_cred_pubkey_len(cred);
	if (!ret->id_size || ret->id_size > sizeof(ret->id) || !ret->public_size ||
	    ret->public_size > sizeof(ret->public_key)) {
		return refuse(diag, "the key or its name is too long");
	}
	if (!is_of(wanted->rp_id, att.data.data)) {
		return refuse(diag, "the key was made for another site");
	}
	r = check_flags(wanted, fido_cred_flags(cred), diag);
	r = r < 0 ? r : check_statement(wanted, cred, &att, client, diag);
	if (r < 0) {
		return r;
	}
	memcpy(ret->id, fido_cred_id_ptr(cred), ret->id_size);
	memcpy(ret->public_key, fido_cred_pubkey_ptr(cred), ret->public_size);
	ret->count = fido_cred_sigcount(cred);
	return 0;
}

/* ---- a key that signs ---- */

static void assert_cleanup(fido_assert_t **assertion)
{
	fido_assert_free(assertion);
}

static bool verify_with(const fido_assert_t *a, const struct manager_webauthn_key *key)
{
	bool good = false;

	if (key->alg == COSE_ES256) {
		es256_pk_t *pk = es256_pk_new();

		good = pk && es256_pk_from_ptr(pk, key->public_key, key->public_size) == FIDO_OK &&
		       fido_assert_verify(a, 0, key->alg, pk) == FIDO_OK;
		es256_pk_free(&pk);
	} else if (key->alg == COSE_EDDSA) {
		eddsa_pk_t *pk = eddsa_pk_new();

		good = pk && eddsa_pk_from_ptr(pk, key->public_key, key->public_size) == FIDO_OK &&
		       fido_assert_verify(a, 0, key->alg, pk) == FIDO_OK;
		eddsa_pk_free(&pk);
	} else if (key->alg == COSE_RS256) {
		rs256_pk_t *pk = rs256_pk_new();

		good = pk && rs256_pk_from_ptr(pk, key->public_key, key->public_size) == FIDO_OK &&
		       fido_assert_verify(a, 0, key->alg, pk) == FIDO_OK;
		rs256_pk_free(&pk);
	}
	return good;
}

int manager_webauthn_check(const struct manager_webauthn_wanted *wanted,
			   const struct manager_webauthn_answer *answer,
			   struct manager_webauthn_key *key, struct bh_diag *diag)
{
	__attribute__((cleanup(assert_cleanup))) fido_assert_t *a = NULL;
	uint32_t count;
	int r = check_client(wanted, "webauthn.get", answer->client, diag);

	if (r < 0) {
		return r;
	}
	if (answer->data.size > WEBAUTHN_DATA_MAX || check_data(answer->data, false) < 0 ||
	    !answer->signature.size || answer->signature.size > WEBAUTHN_SIGNATURE_MAX) {
		return refuse(diag, "this is no answer of a key");
	}
	a = fido_assert_new();
	if (!a || fido_assert_set_count(a, 1) != FIDO_OK ||
	    fido_assert_set_rp(a, wanted->rp_id) != FIDO_OK ||
	    fido_assert_set_clientdata(a, answer->client.data, answer->client.size) != FIDO_OK ||
	    fido_assert_set_authdata_raw(a, 0, answer->data.data, answer->data.size) != FIDO_OK ||
	    fido_assert_set_sig(a, 0, answer->signature.data, answer->signature.size) != FIDO_OK ||
	    fido_assert_set_up(a, FIDO_OPT_TRUE) != FIDO_OK ||
	    fido_assert_set_uv(a, wanted->verify ? FIDO_OPT_TRUE : FIDO_OPT_OMIT) != FIDO_OK) {
		return refuse(diag, "this is no answer of a key");
	}
	if (!is_of(wanted->rp_id, answer->data.data)) {
		return refuse(diag, "the key answered another site");
	}
	r = check_flags(wanted, fido_assert_flags(a, 0), diag);
	if (r < 0) {
		return r;
	}
	if (!verify_with(a, key)) {
		return refuse(diag, "the key's signature does not fit");
	}
	count = fido_assert_sigcount(a, 0);
	if ((count || key->count) && count <= key->count) {
		bh_diag_set(diag, -EACCES, "the key's counter went back from %u to %u", key->count,
			    count);
		return MANAGER_WEBAUTHN_COPIED;
	}
	key->count = count;
	return 0;
}

/* ---- the console's URL ---- */

int manager_webauthn_origin(const char *url, char ret_origin[WEBAUTHN_ORIGIN_MAX + 1],
			    char ret_rp_id[WEBAUTHN_RP_ID_MAX + 1], struct bh_diag *diag)
{
	static const char scheme[] = "https://";
	const char *host = url + sizeof(scheme) - 1, *rest;
	uint64_t port = 443;
	size_t len;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0) {
		return bh_diag_set(diag, -EINVAL, "the console's URL begins with https://");
	}
	len = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	rest = host + len;
	if (!len || len > WEBAUTHN_RP_ID_MAX || *host == '.' || *host == '-' ||
	    host[len - 1] == '.' ||
	    (*rest == ':' ? bh_parse_u64(rest + 1, 1, 65535, &port) < 0 : *rest != '\0')) {
		return bh_diag_set(
			diag, -EINVAL,
			"the console's URL is https://NAME or https://NAME:PORT in small "
			"letters, with nothing behind it");
	}
	snprintf(ret_rp_id, WEBAUTHN_RP_ID_MAX + 1, "%.*s", (int)len, host);
	if (port == 443) {
		snprintf(ret_origin, WEBAUTHN_ORIGIN_MAX + 1, "%s%s", scheme, ret_rp_id);
	} else {
		snprintf(ret_origin, WEBAUTHN_ORIGIN_MAX + 1, "%s%s:%u", scheme, ret_rp_id,
			 (unsigned int)port);
	}
	return 0;
}
