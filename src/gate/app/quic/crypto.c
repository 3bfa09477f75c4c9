/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of Initial packets and their opening (RFC 9001 5); see quic.h. */
#include "gate/app/quic/quic.h"

#include "base/util.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define SECRET_SIZE 32u
#define TAG_SIZE    16u
#define SAMPLE_SIZE 16u
#define V2	    0x6b3343cfu
#define MVFST	    0xfaceb002u /* Facebook's, before the standard */
#define DRAFT(v)    (0xff000000u | (v))

static const uint8_t *salt(uint32_t version)
{
	static const uint8_t v1[20] = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
				       0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
	static const uint8_t v2[20] = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
				       0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};
	static const uint8_t q050[20] = {0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe,
					 0x2f, 0x9d, 0x94, 0x5c, 0xfc, 0xdb, 0xd3,
					 0xa7, 0xf0, 0xd3, 0xb5, 0x6b, 0x45};
	static const uint8_t draft23[20] = {0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb,
					    0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4,
					    0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02};
	static const uint8_t draft29[20] = {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2,
					    0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61,
					    0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99};
	if (version == V2) {
		return v2;
	}
	if (version == QUIC_Q050) {
		return q050;
	}
	if (version == MVFST || (version >= DRAFT(23) && version <= DRAFT(28))) {
		return draft23;
	}
	return version >= DRAFT(29) && version <= DRAFT(32) ? draft29 : v1;
}

/* HKDF-Expand-Label of TLS 1.3 with an empty context; at most 32 bytes: one block. */
static bool expand(const uint8_t secret[SECRET_SIZE], const char *label, uint8_t *ret, uint8_t size)
{
	uint8_t info[64] = {0, size}, block[EVP_MAX_MD_SIZE];
	size_t length = strlen(label), at = 3;
	info[2] = (uint8_t)(6 + length);
	memcpy(info + at, "tls13 ", 6);
	memcpy(info + at + 6, label, length);
	at += 6 + length;
	info[at++] = 0;
	info[at++] = 1; /* HKDF's counter */
	if (!HMAC(EVP_sha256(), secret, SECRET_SIZE, info, at, block, NULL)) {
		return false;
	}
	memcpy(ret, block, size);
	return true;
}

bool quic_keys_derive(struct quic_keys *keys, uint32_t version, const struct gate_view *dcid)
{
	static const char *const sides[GATE_DIRS] = {"client in", "server in"};
	bool v2 = version == V2;
	uint8_t initial[EVP_MAX_MD_SIZE], secret[SECRET_SIZE];
	memset(keys, 0, sizeof(*keys));
	if (!HMAC(EVP_sha256(), salt(version), 20, dcid->data, dcid->size, initial, NULL)) {
		return false;
	}
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		if (!expand(initial, sides[dir], secret, SECRET_SIZE) ||
		    !expand(secret, v2 ? "quicv2 key" : "quic key", keys->side[dir].key, 16) ||
		    !expand(secret, v2 ? "quicv2 iv" : "quic iv", keys->side[dir].iv, 12) ||
		    !expand(secret, v2 ? "quicv2 hp" : "quic hp", keys->side[dir].hp, 16)) {
			return false;
		}
	}
	keys->known = true;
	return true;
}

static void ctx_free(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

static bool mask_of(EVP_CIPHER_CTX *ctx, const uint8_t *hp, const uint8_t *sample,
		    uint8_t ret[SAMPLE_SIZE + 16])
{
	int n = 0;
	return EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, hp, NULL) &&
	       EVP_CIPHER_CTX_set_padding(ctx, 0) &&
	       EVP_EncryptUpdate(ctx, ret, &n, sample, SAMPLE_SIZE);
}

static int aead_open(EVP_CIPHER_CTX *ctx, const uint8_t *key, const uint8_t *nonce,
		     const struct gate_view *head, const struct gate_view *sealed, uint8_t *ret)
{
	int n = 0, rest = 0;
	int size = (int)(sealed->size - TAG_SIZE);
	uint8_t tag[TAG_SIZE];
	memcpy(tag, sealed->data + size, TAG_SIZE);
	if (!EVP_CIPHER_CTX_reset(ctx) ||
	    !EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) ||
	    !EVP_DecryptUpdate(ctx, NULL, &n, head->data, (int)head->size) ||
	    !EVP_DecryptUpdate(ctx, ret, &n, sealed->data, size) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) ||
	    EVP_DecryptFinal_ex(ctx, ret + n, &rest) <= 0) {
		return -EBADMSG;
	}
	return n;
}

int quic_open(const struct quic_keys *keys, enum gate_dir dir, const uint8_t *data,
	      const struct quic_header *header, uint8_t ret[QUIC_PACKET_MAX])
{
	uint8_t head[1024], mask[SAMPLE_SIZE + 16], nonce[12];
	uint32_t number = header->size;
	if (header->payload < 4 + SAMPLE_SIZE || header->payload > QUIC_PACKET_MAX ||
	    number + 4 > sizeof(head)) {
		return -EBADMSG;
	}
	BH_CLEANUP(ctx_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	if (!ctx || !mask_of(ctx, keys->side[dir].hp, data + number + 4, mask)) {
		return -EBADMSG;
	}
	memcpy(head, data, number + 4);
	head[0] ^= mask[0] & 0x0f;
	uint32_t number_size = (head[0] & 3u) + 1;
	memcpy(nonce, keys->side[dir].iv, sizeof(nonce));
	for (uint32_t i = 0; i < number_size; i++) {
		head[number + i] ^= mask[1 + i];
		nonce[12 - number_size + i] ^= head[number + i];
	}
	struct gate_view open = {.data = head, .size = number + number_size};
	struct gate_view sealed = {.data = data + number + number_size,
				   .size = header->payload - number_size};
	if (sealed.size < TAG_SIZE) {
		return -EBADMSG;
	}
	return aead_open(ctx, keys->side[dir].key, nonce, &open, &sealed, ret);
}
