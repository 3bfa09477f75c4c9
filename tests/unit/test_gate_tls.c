/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: events, each by the bytes that bring it; fingerprints against the examples of their
 * specifications; hellos over many records; what the record says. */
#include "gate_app_world.h"

#include "base/buf.h"
#include "base/util.h"
#include "gate/app/tls/hello.h"
#include "gate/output/jw.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void put16(struct bh_wbuf *b, unsigned int value)
{
	bh_wbuf_u8(b, (uint8_t)(value >> 8));
	bh_wbuf_u8(b, (uint8_t)value);
}

static void put_list(struct bh_wbuf *b, const uint16_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		put16(b, values[i]);
	}
}

/* A client's hello: `ext` are its extensions. */
static void put_hello(struct bh_wbuf *b, const uint16_t *ciphers, size_t count, const void *ext,
		      size_t ext_size)
{
	static const uint8_t random[32];
	put16(b, 0x0301);
	bh_wbuf_put(b, random, sizeof(random));
	bh_wbuf_u8(b, 0);
	put16(b, (unsigned int)(2 * count));
	put_list(b, ciphers, count);
	put16(b, 0x0100);
	if (ext_size) {
		put16(b, (unsigned int)ext_size);
		bh_wbuf_put(b, ext, ext_size);
	}
}

/* In handshake records of `step` bytes. */
static void put_records(struct bh_wbuf *b, uint8_t type, const void *body, size_t size, size_t step)
{
	BH_FREE uint8_t *message = bh_alloc(size + 4);
	message[0] = type;
	message[1] = (uint8_t)(size >> 16);
	message[2] = (uint8_t)(size >> 8);
	message[3] = (uint8_t)size;
	memcpy(message + 4, body, size);
	for (size_t at = 0; at < size + 4; at += step) {
		size_t n = size + 4 - at < step ? size + 4 - at : step;
		bh_wbuf_u8(b, 22);
		put16(b, 0x0301);
		put16(b, (unsigned int)n);
		bh_wbuf_put(b, message + at, n);
	}
}

/* ---- fingerprints ---- */

/* github.com/salesforce/ja3, README: both examples of a client; a server by the same rule. */
static void ja3(void **state)
{
	static const uint16_t first[] = {47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4};
	static const uint16_t second[] = {4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99};
	static const uint8_t ext[] = "\0\0\0\0"
				     "\0\x0a\0\x08\0\x06\0\x17\0\x18\0\x19"
				     "\0\x0b\0\x02\x01\0";
	static const uint8_t server[] =
		"\x03\x01"
		"................................"
		"\0\0\x2f\0\0\x18\xff\x01\0\0\0\0\0\0\0\x0b\0\0\0\x23\0\0\0\5\0\0\0\x10\0\0";
	static const struct {
		const char *text, *hash;
	} want[] = {
		{"769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0",
		 "ada70206e40642a3e4461f35503241d5"},
		{"769,4-5-10-9-100-98-3-6-19-18-99,,,", "de350869b8c85de67a350c8d186f11e6"},
		{"769,47,65281-0-11-35-5-16", NULL},
	};
	for (size_t i = 0; i < BH_ARRAY_SIZE(want); i++) {
		struct bh_wbuf b;
		struct gate_tls_hello hello;
		char text[GATE_JA3_STRING_MAX + 1], hash[GATE_JA3_HASH_SIZE];
		bh_wbuf_init(&b, 0);
		if (i == 0) {
			put_hello(&b, first, BH_ARRAY_SIZE(first), ext, sizeof(ext) - 1);
		} else if (i == 1) {
			put_hello(&b, second, BH_ARRAY_SIZE(second), NULL, 0);
		} else {
			bh_wbuf_put(&b, server, sizeof(server) - 1);
		}
		assert_true(gate_tls_hello_read(b.data, (uint32_t)b.size, i < 2, &hello));
		uint32_t size = gate_ja3_string(&hello, text);
		text[size] = '\0';
		assert_string_equal(text, want[i].text);
		gate_ja3_hash(text, size, hash);
		if (want[i].hash) {
			assert_string_equal(hash, want[i].hash);
		}
		bh_wbuf_done(&b);
	}
}

/* ---- events ---- */

#define RANDOM "................................"
#define HELLO_HEAD(record, message)                                                                \
	"\x16\3\1\0" record "\1\0\0" message "\3\1" RANDOM "\0\0\2\0\x2f\1\0"
#define HELLO	     HELLO_HEAD("\x2d", "\x29")
#define SERVER_HELLO "\x16\3\1\0\x2a\2\0\0\x26\3\1" RANDOM "\0\0\x2f\0"
/* a list of one certificate of `size` bytes in a message of its own */
#define CERT(record, message, list, size, der)                                                     \
	"\x16\3\1\0" record "\x0b\0\0" message "\0\0" list "\0\0" size der

static const struct {
	const char *event;
	struct say says[3];
} by_event[] = {
	{"invalid_record_type", {CLIENT(HELLO), CLIENT("\x30\3\1\0\1x")}},
	{"invalid_record_version", {CLIENT(HELLO), CLIENT("\x16\7\1\0\1x")}},
	{"invalid_record_length", {CLIENT(HELLO), CLIENT("\x16\3\1\x7f\xffx")}},
	{"invalid_handshake_message", {CLIENT(HELLO), CLIENT("\x16\3\1\0\4\x84\xff\xff\xff")}},
	{"handshake_invalid_length", {CLIENT(HELLO), SERVER("\x16\3\1\0\6\2\0\0\2\3\1")}},
	{"invalid_ssl_record", {CLIENT(HELLO), SERVER(HELLO)}},
	{"invalid_sslv2_header",
	 {CLIENT("\x80\x2e\1\0\2\0\x15\0\0\0\x10"
		 "\1\0\x80\2\0\x80\3\0\x80\4\0\x80\5\0\x80\6\0\x40\7\0\xc0"
		 "................"),
	  SERVER("\x80\0\0")}},
	{"error_message_encountered",
	 {CLIENT("\x80\x2e\1\0\2\0\x15\0\0\0\x10"
		 "\1\0\x80\2\0\x80\3\0\x80\4\0\x80\5\0\x80\6\0\x40\7\0\xc0"
		 "................"),
	  SERVER("\x80\3\0\0\1")}},
	{"heartbeat_message", {CLIENT(HELLO), CLIENT("\x18\3\1\0\x14\1\0\1x................")}},
	{"invalid_heartbeat_message", {CLIENT(HELLO), CLIENT("\x18\3\1\0\3\7\0\0")}},
	{"overflow_heartbeat_message", {CLIENT(HELLO), CLIENT("\x18\3\1\0\3\1\x40\0")}},
	{"dataleak_heartbeat_mismatch",
	 {CLIENT(HELLO), CLIENT("\x18\3\1\0\3\1\x40\0"), SERVER("\x18\3\1\0\x08\2\0\5leaks")}},
	{"invalid_alert_message", {CLIENT(HELLO), SERVER("\x15\3\1\0\2\7\0")}},
	{"multiple_sni_extensions",
	 {CLIENT(HELLO_HEAD("\x43", "\x3f") "\0\x14\0\0\0\6\0\4\0\0\1a\0\0\0\6\0\4\0\0\1b")}},
	{"invalid_sni_type", {CLIENT(HELLO_HEAD("\x39", "\x35") "\0\x0a\0\0\0\6\0\4\7\0\1a")}},
	{"invalid_sni_length",
	 {CLIENT(HELLO_HEAD("\x39", "\x35") "\0\x0a\0\0\0\6\0\4\0\0\x99"
					    "a")}},
	{"certificate_invalid_length",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x13", "\x0f", "\x0c", "\x09", "\x30\5\x30\x84\xff\xff\xff\xfa\4"))}},
	{"invalid_certificate",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x13", "\x0f", "\x0c", "\x09", "\x30\6\x30\x84\xff\xff\xff\xfa\4"))}},
	{"certificate_invalid_der",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x0e", "\x0a", "\x07", "\x04", "\4\2xx"))}},
	{"certificate_invalid_serial",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x10", "\x0c", "\x09", "\x06", "\x30\4\x30\2\4\0"))}},
	{"certificate_invalid_algorithmidentifier",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x11", "\x0d", "\x0a", "\x07", "\x30\5\x30\3\2\1\1"))}},
	{"certificate_invalid_x509name",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x13", "\x0f", "\x0c", "\x09", "\x30\7\x30\5\2\1\1\x30\0"))}},
	{"certificate_invalid_date",
	 {CLIENT(HELLO), SERVER(SERVER_HELLO),
	  SERVER(CERT("\x15", "\x11", "\x0e", "\x0b", "\x30\x09\x30\7\2\1\1\x30\0\x30\0"))}},
};

static void events(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(by_event); i++) {
		struct app_world w;
		app_world_open(&w, 443, NULL);
		w.keep_txs = true;
		for (size_t k = 0; k < 3 && by_event[i].says[k].size; k++) {
			const struct say *say = &by_event[i].says[k];
			app_world_feed(&w, say->dir, say->bytes, say->size, false);
		}
		if (!app_world_has_event(&w, 0, by_event[i].event)) {
			BH_FREE char *dump = app_world_dump(&w);
			fail_msg("%s: %s", by_event[i].event, dump);
		}
		app_world_close(&w);
	}
}

/* One that answers with as much as was sent is no leak. */
static void heartbeat_in_order(void **state)
{
	struct app_world w;
	app_world_open(&w, 443, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, HELLO, sizeof(HELLO) - 1, false);
	app_world_feed(&w, GATE_TO_SERVER, "\x18\3\1\0\x14\1\0\1x................", 25, false);
	app_world_feed(&w, GATE_TO_CLIENT, "\x18\3\1\0\x14\2\0\1x................", 25, false);
	assert_true(app_world_has_event(&w, 0, "heartbeat_message"));
	assert_false(app_world_has_event(&w, 0, "dataleak_heartbeat_mismatch"));
	assert_false(app_world_has_event(&w, 0, "overflow_heartbeat_message"));
	app_world_close(&w);
}

/* ---- pieces ---- */

/* A long hello over records of every small size, and segments of one byte. */
static void split(void **state)
{
	static const uint16_t ciphers[] = {0x1301, 0x1302};
	static const uint8_t sni[] =
		"\0\0\0\x12\0\x10\0\0\x0dwww.a.example\0\x10\0\x05\0\x03\x02h2";
	static const size_t steps[] = {1, 2, 3, 4, 5, 7, 64, 16384};
	struct bh_wbuf body;
	bh_wbuf_init(&body, 0);
	put_hello(&body, ciphers, BH_ARRAY_SIZE(ciphers), sni, sizeof(sni) - 1);
	for (size_t i = 0; i < BH_ARRAY_SIZE(steps); i++) {
		struct app_world w;
		struct bh_wbuf b;
		bh_wbuf_init(&b, 0);
		put_records(&b, 1, body.data, body.size, steps[i]);
		app_world_open(&w, 443, NULL);
		w.keep_txs = true;
		app_world_pieces(&w, GATE_TO_SERVER, b.data, b.size, i & 1);
		BH_FREE char *name = app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_TLS_SNI, 0);
		assert_string_equal(name, "www.a.example");
		BH_FREE char *alpn = app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_TLS_ALPN, 0);
		assert_string_equal(alpn, "h2");
		app_world_close(&w);
		bh_wbuf_done(&b);
	}
	bh_wbuf_done(&body);
}

/* ---- the record ---- */

static char *record(struct app_world *w)
{
	struct gate_jw jw;
	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	const struct gate_app_ops *ops = gate_session_ops(w->flow.session);
	assert_true(ops->log_tx(gate_session_first(w->flow.session), &jw));
	gate_jw_end(&jw);
	char *text = bh_asprintf("%.*s", (int)jw.size, jw.data);
	gate_jw_done(&jw);
	return text;
}

/* With a session's number that the server repeats; with a ticket and no certificate. */
static void resumed(void **state)
{
	static const char *const hellos[][2] = {
		{"\x16\3\1\0\x31\1\0\0\x2d\3\1" RANDOM "\4abcd\0\2\0\x2f\1\0",
		 "\x16\3\1\0\x2e\2\0\0\x2a\3\1" RANDOM "\4abcd\0\x2f\0"},
		{"\x16\3\1\0\x39\1\0\0\x35\3\1" RANDOM "\0\0\2\0\x2f\1\0\0\x0a\0\x23\0\6ticket",
		 SERVER_HELLO},
		{HELLO, SERVER_HELLO},
	};
	static const size_t sizes[][2] = {{54, 51}, {62, 47}, {50, 47}};
	for (size_t i = 0; i < 3; i++) {
		struct app_world w;
		app_world_open(&w, 443, NULL);
		w.keep_txs = true;
		app_world_feed(&w, GATE_TO_SERVER, hellos[i][0], sizes[i][0], false);
		app_world_feed(&w, GATE_TO_CLIENT, hellos[i][1], sizes[i][1], false);
		app_world_feed(&w, GATE_TO_CLIENT, "\x14\3\1\0\1\1", 6, false);
		BH_FREE char *text = record(&w);
		assert_true(strstr(text, "\"version\":\"TLSv1\""));
		assert_int_equal(strstr(text, "\"session_resumed\":true") != NULL, i < 2);
		app_world_close(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ja3),
		cmocka_unit_test(events),
		cmocka_unit_test(heartbeat_in_order),
		cmocka_unit_test(split),
		cmocka_unit_test(resumed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
