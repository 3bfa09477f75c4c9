/* SPDX-License-Identifier: Apache-2.0 */
/* QUIC made here: Initial packets of each version, hellos in pieces, Retry, what is not known. */
#include "gate/app/quic/quic.h"
#include "gate_app_world.h"

#include "base/buf.h"
#include "base/util.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define V1	 0x00000001u
#define V2	 0x6b3343cfu
#define DRAFT(v) (0xff000000u | (v))

enum { CRYPTO = 6, GOOGLE_CRYPTO = 8 };

static void put32(struct bh_wbuf *w, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++) {
		bh_wbuf_u8(w, (uint8_t)(value >> (24 - 8 * i)));
	}
}

/* RFC 9000 16, always two bytes */
static void put_varint(struct bh_wbuf *w, size_t value)
{
	bh_wbuf_u8(w, (uint8_t)(0x40 | value >> 8));
	bh_wbuf_u8(w, (uint8_t)value);
}

/* The long header (RFC 9000 17.2) up to the packet's number, and that: one byte, 0. */
static void put_head(struct bh_wbuf *w, uint32_t version, uint8_t type, const char *dcid)
{
	bh_wbuf_u8(w, (uint8_t)(0xc0 | type << 4));
	put32(w, version);
	bh_wbuf_u8(w, (uint8_t)strlen(dcid));
	bh_wbuf_str(w, dcid);
	bh_wbuf_u8(w, 0);
}

static void encrypt(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *iv,
		    const struct gate_view *head, const struct gate_view *plain, uint8_t *ret)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0;
	assert_true(EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv));
	if (head) {
		assert_true(EVP_EncryptUpdate(ctx, NULL, &n, head->data, (int)head->size));
	}
	assert_true(EVP_EncryptUpdate(ctx, ret, &n, plain->data, (int)plain->size));
	if (head) {
		assert_true(EVP_EncryptFinal_ex(ctx, ret + n, &n));
		assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, ret + plain->size));
	}
	EVP_CIPHER_CTX_free(ctx);
}

/* An Initial packet with these frames, protected (RFC 9001 5) and filled up to 1200 bytes. */
static void put_initial(struct bh_wbuf *w, uint32_t version, const char *dcid,
			const struct bh_wbuf *frames)
{
	uint8_t plain[1200] = {}, sealed[1200 + 16], mask[32];
	struct gate_view id = {.data = (const uint8_t *)dcid, .size = (uint32_t)strlen(dcid)};
	struct gate_view sample = {.size = 16};
	struct quic_keys keys;
	size_t from = w->size;
	assert_true(quic_keys_derive(&keys, version, &id));
	memcpy(plain, frames->data, frames->size);
	put_head(w, version, version == V2 ? 1 : 0, dcid);
	bh_wbuf_u8(w, 0); /* no token */
	put_varint(w, 1 + sizeof(sealed));
	size_t number = w->size - from;
	bh_wbuf_u8(w, 0);
	struct gate_view head = {.data = w->data + from, .size = (uint32_t)(w->size - from)};
	struct gate_view text = {.data = plain, .size = sizeof(plain)};
	encrypt(EVP_aes_128_gcm(), keys.side[0].key, keys.side[0].iv, &head, &text, sealed);
	sample.data = sealed + 3;
	encrypt(EVP_aes_128_ecb(), keys.side[0].hp, NULL, NULL, &sample, mask);
	w->data[from] ^= mask[0] & 0x0f;
	w->data[from + number] ^= mask[1];
	bh_wbuf_put(w, sealed, sizeof(sealed));
}

static void put_crypto(struct bh_wbuf *w, uint8_t type, size_t offset, const void *data,
		       size_t size)
{
	bh_wbuf_u8(w, type);
	put_varint(w, offset);
	put_varint(w, size);
	bh_wbuf_put(w, data, size);
}

/* A client hello of TLS: one cipher, the name of a server. */
static void put_hello(struct bh_wbuf *w)
{
	static const uint8_t name[] = "\0\0\0\x0b\0\x09\0\0\x06"
				      "a.test";
	bh_wbuf_put(w, "\1\0\0\x3a\3\3", 6);
	for (unsigned int i = 0; i < 32; i++) {
		bh_wbuf_u8(w, (uint8_t)i);
	}
	bh_wbuf_put(w, "\0\0\2\x13\1\1\0\0\x0f", 9);
	bh_wbuf_put(w, name, sizeof(name) - 1);
}

static void open_world(struct app_world *w)
{
	app_world_open(w, 443, NULL);
	w->keep_txs = true;
	w->flow.ip_proto = IPPROTO_UDP;
}

static void say(struct app_world *w, enum gate_dir dir, struct bh_wbuf *datagram)
{
	app_world_datagram(w, dir, datagram->data, datagram->size);
	bh_wbuf_done(datagram);
	bh_wbuf_init(datagram, 0);
}

static void assert_buffer(struct app_world *w, unsigned int tx, enum gate_buffer buffer,
			  const char *want)
{
	BH_FREE char *text = app_world_buffer(w, tx, GATE_TO_SERVER, buffer, 0);
	assert_string_equal(text, want);
}

/* The hello in the middle of an Initial packet; rules see the version as it was sent. */
static void versions(void **state)
{
	static const struct {
		uint32_t version;
		const char *record;
	} cases[] = {{V1, "\"version\":\"1\""},
		     {V2, "\"version\":\"6b3343cf\""},
		     {DRAFT(29), "\"version\":\"ff00001d\""},
		     {DRAFT(27), "\"version\":\"ff00001b\""}};
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		struct bh_wbuf hello, frames, datagram;
		struct app_world w;
		struct gate_buffer_view v;
		uint32_t raw = htonl(cases[i].version);
		bh_wbuf_init(&hello, 0);
		bh_wbuf_init(&frames, 0);
		bh_wbuf_init(&datagram, 0);
		open_world(&w);
		put_hello(&hello);
		bh_wbuf_put(&frames, "\0\1", 2); /* PADDING, PING */
		put_crypto(&frames, CRYPTO, 0, hello.data, hello.size);
		put_initial(&datagram, cases[i].version, "01234567", &frames);
		say(&w, GATE_TO_SERVER, &datagram);
		assert_buffer(&w, 0, GATE_BUF_QUIC_SNI, "a.test");
		assert_true(gate_tx_buffer(w.flow.session, gate_session_first(w.flow.session),
					   GATE_TO_SERVER, GATE_BUF_QUIC_VERSION, 0, &v));
		assert_int_equal(v.size, 4);
		assert_memory_equal(v.data, &raw, 4);
		BH_FREE char *text = app_world_record(&w, 0);
		assert_non_null(strstr(text, cases[i].record));
		app_world_close(&w);
		bh_wbuf_done(&datagram);
		bh_wbuf_done(&frames);
		bh_wbuf_done(&hello);
	}
}

/* In pieces, the last one first, over two packets: each is a transaction, the second has the hello.
 * After a Retry it is said once more, under keys of another identifier. */
static void pieces_and_retry(void **state)
{
	struct bh_wbuf hello, frames, datagram;
	struct app_world w;
	bh_wbuf_init(&hello, 0);
	bh_wbuf_init(&frames, 0);
	bh_wbuf_init(&datagram, 0);
	open_world(&w);
	put_hello(&hello);
	put_crypto(&frames, CRYPTO, 20, hello.data + 20, hello.size - 20);
	put_initial(&datagram, V1, "01234567", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_buffer(&w, 0, GATE_BUF_QUIC_SNI, "(none)");
	bh_wbuf_done(&frames);
	bh_wbuf_init(&frames, 0);
	put_crypto(&frames, CRYPTO, 0, hello.data, 20);
	put_initial(&datagram, V1, "01234567", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_buffer(&w, 1, GATE_BUF_QUIC_SNI, "a.test");

	put_head(&datagram, V1, 3, "89abcdef");
	bh_wbuf_str(&datagram, "a token, and 16 bytes of its tag");
	say(&w, GATE_TO_CLIENT, &datagram);
	bh_wbuf_done(&frames);
	bh_wbuf_init(&frames, 0);
	put_crypto(&frames, CRYPTO, 0, hello.data, hello.size);
	put_initial(&datagram, V1, "89abcdef", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_buffer(&w, 3, GATE_BUF_QUIC_SNI, "a.test");
	assert_false(app_world_has_event(&w, 3, "failed_decrypt"));
	app_world_close(&w);
	bh_wbuf_done(&datagram);
	bh_wbuf_done(&frames);
	bh_wbuf_done(&hello);
}

/* Google's hello in a packet of the IETF's form. */
static void q050(void **state)
{
	static const uint8_t chlo[] = "CHLO\2\0\0\0"
				      "SNI\0\6\0\0\0UAID\x0a\0\0\0"
				      "a.testsome";
	struct bh_wbuf frames, datagram;
	struct app_world w;
	bh_wbuf_init(&frames, 0);
	bh_wbuf_init(&datagram, 0);
	open_world(&w);
	put_crypto(&frames, GOOGLE_CRYPTO, 0, chlo, sizeof(chlo) - 1);
	put_initial(&datagram, QUIC_Q050, "01234567", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_buffer(&w, 0, GATE_BUF_QUIC_VERSION, "Q050");
	assert_buffer(&w, 0, GATE_BUF_QUIC_SNI, "a.test");
	assert_buffer(&w, 0, GATE_BUF_QUIC_UA, "some");
	assert_buffer(&w, 0, GATE_BUF_QUIC_CYU_STRING, "(none)");
	app_world_close(&w);
	bh_wbuf_done(&datagram);
	bh_wbuf_done(&frames);
}

/* A version that nobody knows, at QUIC's port; frames that nobody knows; a hello that is none. */
static void unknown(void **state)
{
	struct bh_wbuf frames, datagram;
	struct app_world w;
	bh_wbuf_init(&frames, 0);
	bh_wbuf_init(&datagram, 0);
	open_world(&w);
	put_head(&datagram, 0x5a5a5a5a, 0, "01234567");
	bh_wbuf_str(&datagram, "whatever follows is of that version");
	say(&w, GATE_TO_SERVER, &datagram);
	assert_int_equal(w.flow.app, GATE_APP_QUIC);
	assert_buffer(&w, 0, GATE_BUF_QUIC_VERSION, "ZZZZ");
	bh_wbuf_u8(&frames, 0x3f);
	put_initial(&datagram, V1, "01234567", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_false(app_world_has_event(&w, 1, "error_on_data"));
	bh_wbuf_done(&frames);
	bh_wbuf_init(&frames, 0);
	put_crypto(&frames, CRYPTO, 0, "\x0b\0\0\1x", 5);
	put_initial(&datagram, V1, "01234567", &frames);
	say(&w, GATE_TO_SERVER, &datagram);
	assert_true(app_world_has_event(&w, 2, "error_on_data"));
	app_world_close(&w);
	bh_wbuf_done(&datagram);
	bh_wbuf_done(&frames);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions),
		cmocka_unit_test(pieces_and_retry),
		cmocka_unit_test(q050),
		cmocka_unit_test(unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
