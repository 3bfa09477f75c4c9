/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1: what rules see of requests and responses, in one piece and in all others. */
#include "base/util.h"
#include "gate_app_world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/time.h>
#include <time.h>

#include <brotli/encode.h>
#include <cmocka.h>
#include <zlib.h>

static char *run(const char *request, const char *response, size_t step, bool eof)
{
	struct app_world w;
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, request, strlen(request), step);
	app_world_pieces(&w, GATE_TO_CLIENT, response, strlen(response), step);
	if (eof) {
		app_world_feed(&w, GATE_TO_SERVER, "", 0, true);
		app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
	}
	char *text = app_world_dump(&w);
	app_world_close(&w);
	return text;
}

/* ---- well-formed exchanges are the same in any pieces ---- */

static const struct {
	const char *request, *response;
} exchanges[] = {
	{"GET /a/b?c=d#e HTTP/1.1\r\nHost: Example.ORG:8080\r\nUser-Agent: u\r\nCookie: c=1\r\n"
	 "\r\n",
	 "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\nSet-Cookie: x=y\r\n\r\nhello"},
	{"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\na=b&c=d",
	 "HTTP/1.1 302 Found\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"},
	{"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	 "HTTP/1.0 204 No Content\r\n\r\n"},
	{"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n"
	 "HEAD /3 HTTP/1.1\r\nHost: c\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
	 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"
	 "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
	{"GET /fold HTTP/1.1\nHost: h\nX-A: one\n two\n\tthree\nX-B: 1\nX-B: 2\nX-B: 3\n\n",
	 "HTTP/1.1 200\nX-A: one\n two\nContent-Length: 2\n\nok"},
	{"POST /u HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=\"xYz\"\r\n"
	 "Content-Length: 187\r\n\r\n--xYz\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n"
	 "text\r\n--xYz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n"
	 "Content-Type: text/plain\r\n\r\nfile\r\n--xYbody\r\n--xYz--\r\n",
	 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"POST /wait HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
	 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	{"GET http://User:pw@Www.Example.com:81/x%2fy//z/../w?q=%41+b HTTP/1.1\r\n"
	 "Host: other\r\n\r\n",
	 "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n"
	 "Content-Disposition: attachment; filename=\"r.bin\"\r\n\r\nabc"},
};

static void pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(exchanges); i++) {
		BH_FREE char *whole = run(exchanges[i].request, exchanges[i].response, 0, true);
		for (size_t step = 1; step < 40; step++) {
			BH_FREE char *split =
				run(exchanges[i].request, exchanges[i].response, step, true);
			if (strcmp(whole, split) != 0) {
				print_error("exchange %zu, pieces of %zu\n%s\n%s\n", i, step, whole,
					    split);
			}
			assert_string_equal(whole, split);
		}
	}
}

static void truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(exchanges); i++) {
		size_t size = strlen(exchanges[i].request), other = strlen(exchanges[i].response);
		for (size_t n = 0; n < size + other; n++) {
			struct app_world w;
			app_world_open(&w, 80, NULL);
			app_world_feed(&w, GATE_TO_SERVER, exchanges[i].request,
				       n < size ? n : size, n < size);
			app_world_feed(&w, GATE_TO_CLIENT, exchanges[i].response,
				       n < size ? other : n - size, true);
			app_world_close(&w);
		}
	}
}

/* ---- single buffers ---- */

static const struct {
	const char *request, *response;
	enum gate_dir dir;
	enum gate_buffer buffer;
	uint32_t index;
	const char *value;
} values[] = {
	{"GET /a%2fb\\c/./d/../e//f?x=%41%u0042&y=a+b HTTP/1.1\r\nHost: h\r\n\r\n", "", 0,
	 GATE_BUF_HTTP_URI, 0, "/a/b/c/e/f?x=AB&y=a+b"},
	{"GET /a%2fb\\c/./d/../e//f?x=%41 HTTP/1.1\r\nHost: h\r\n\r\n", "", 0,
	 GATE_BUF_HTTP_URI_RAW, 0, "/a%2fb\\c/./d/../e//f?x=%41"},
	{"GET /%zz%4 HTTP/1.1\r\nHost: h\r\n\r\n", "", 0, GATE_BUF_HTTP_URI, 0, "/%zz%4"},
	{"GET /a b c HTTP/1.1\r\nHost: h\r\n\r\n", "", 0, GATE_BUF_HTTP_URI, 0, "/a b c"},
	{"GET ../../x HTTP/1.1\r\nHost: h\r\n\r\n", "", 0, GATE_BUF_HTTP_URI, 0, "x"},
	{"GET /../../x/.. HTTP/1.1\r\nHost: h\r\n\r\n", "", 0, GATE_BUF_HTTP_URI, 0, "/"},
	{"GET / HTTP/1.1\r\nHost: Ex.Org:80\r\n\r\n", "", 0, GATE_BUF_HTTP_HOST, 0, "ex.org"},
	{"GET / HTTP/1.1\r\nHost: Ex.Org:80\r\n\r\n", "", 0, GATE_BUF_HTTP_HOST_RAW, 0,
	 "Ex.Org:80"},
	{"GET http://U.org/ HTTP/1.1\r\nHost: Ex.Org\r\n\r\n", "", 0, GATE_BUF_HTTP_HOST, 0,
	 "u.org"},
	{"GET / HTTP/1.1\r\nA: 1\r\nCookie: c\r\nB:2 \r\n\r\n", "", 0, GATE_BUF_HTTP_HEADER, 0,
	 "A: 1\r\nB: 2\r\n"},
	{"GET / HTTP/1.1\r\nA: 1\r\nCookie: c\r\nB:2 \r\n\r\n", "", 0, GATE_BUF_HTTP_HEADER_RAW, 0,
	 "A: 1\r\nCookie: c\r\nB:2 \r\n\r\n"},
	{"GET / HTTP/1.1\r\nA: 1\r\nCookie: c\r\nB:2\r\n\r\n", "", 0, GATE_BUF_HTTP_HEADER_NAMES, 0,
	 "\r\nA\r\nCookie\r\nB\r\n\r\n"},
	{"GET / HTTP/1.1\r\nA: 1\r\nCookie: c\r\n\r\n", "", 0, GATE_BUF_HTTP_START, 0,
	 "GET / HTTP/1.1\r\nA: 1\r\nCookie: c\r\n\r\n"},
	{"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n", "", 0, GATE_BUF_HTTP_REQUEST_HEADER, 1, "B: 2"},
	{"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n", "", 0, GATE_BUF_HTTP_REQUEST_HEADER, 0,
	 "A: 1, 3"},
	{"GET / HTTP/1.1\r\nA: 1\r\n\r\n", "", 0, GATE_BUF_HTTP_REQUEST_LINE, 0, "GET / HTTP/1.1"},
	{"  GET\t/x  HTTP/1.1\r\n\r\n", "", 0, GATE_BUF_HTTP_METHOD, 0, "(none)"},
	{"GET /x\r\nHost: h\r\n\r\n", "", 0, GATE_BUF_HTTP_HOST, 0, "h"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
	 1, GATE_BUF_HTTP_STAT_MSG, 0, "Not Found"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
	 1, GATE_BUF_HTTP_RESPONSE_LINE, 0, "HTTP/1.1 404 Not Found"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot chunked at all\r\n", 1,
	 GATE_BUF_FILE_DATA, 0, "not chunked at all\r\n"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\rA: b\rContent-Length: 2\r\rok", 1,
	 GATE_BUF_HTTP_RESPONSE_BODY, 0, "ok"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "just a body\n", 1, GATE_BUF_HTTP_RESPONSE_BODY, 0,
	 "just a body\n"},
	{"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, GATE_BUF_HTTP_URI, 0,
	 "/libhtp::request_uri_not_seen"},
};

static void buffers(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(values); i++) {
		struct app_world w;
		app_world_open(&w, 80, NULL);
		w.keep_txs = true;
		app_world_pieces(&w, GATE_TO_SERVER, values[i].request, strlen(values[i].request),
				 0);
		app_world_pieces(&w, GATE_TO_CLIENT, values[i].response, strlen(values[i].response),
				 0);
		app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
		BH_FREE char *value =
			app_world_buffer(&w, 0, values[i].dir, values[i].buffer, values[i].index);
		if (strcmp(value, values[i].value) != 0) {
			BH_FREE char *all = app_world_dump(&w);
			print_error("value %zu\n%s", i, all);
		}
		assert_string_equal(value, values[i].value);
		app_world_close(&w);
	}
}

/* Header blocks that evaders write (noxxi.de/research/http-evader.html) and browsers understand:
 * the body is chunked or of a known size. */
#define EICAR	 "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
#define EV_LINE	 "HTTP/1.1 200 ok\r\nConnection: close\r\n"
#define EV_CHUNK "44\r\n" EICAR "\r\n0\r\n\r\n"
static const struct {
	const char *head;
	size_t size;
} evasions[] = {
#define EV(text)                                                                                   \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
	EV(EV_LINE "Transfer-Encoding: chunked\r\n \r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding:\r\n \r\n chunked\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding:\r\n \r\n chunked\r\n \r\n\r\n" EV_CHUNK),
	EV(EV_LINE "X-Foo: bar\r\n Transfer-Encoding: chunked\r\nY: z\r\n\r\n" EV_CHUNK),
	EV("HTTP/1.1 200 ok\r\nConnection: close\n\rTransfer-Encoding: chunked\r\n\r\n" EV_CHUNK),
	EV("HTTP/1.1 200 ok\r\nConnection: close\rTransfer-Encoding: chunked\r\n\r\n" EV_CHUNK),
	EV("HTTP/1.1 200 ok\r\nConnection: close\r Transfer-Encoding: chunked\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding\r :chunked\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding\r\n \r\n :\r\n chunked\r\nY: z\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding:\0chunked\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding:\n\0chunked\r\n\r\n" EV_CHUNK),
	EV("\0" EV_LINE "Transfer-Encoding: chunked\r\n\r\n" EV_CHUNK),
	EV("HTTP/1.1 200 ok\rA: b\rTransfer-Encoding: chunked\r\n\n" EV_CHUNK),
	EV("HTTP/1.1 200 ok\n\rA: b\n\rTransfer-Encoding: chunked\r\n\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding: chunked\n\r\r\n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding: chunked\n \n" EV_CHUNK),
	EV(EV_LINE "Transfer-Encoding: chunked\n \n\n" EV_CHUNK),
	EV(EV_LINE "Content-length: 68\n \n" EICAR),
	EV(EV_LINE "Transfer-Encoding: chunked\r\n\r\n\r44\r\n" EICAR "\r\n0\r\n\r\n"),
	EV(EV_LINE "Transfer-Encoding: chunked\r\n\r\n\n44\r\n" EICAR "\r\n0\r\n\r\n"),
	EV("HTTP/1.0 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n" EICAR),
	EV(EICAR),
};

static void evaders(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(evasions); i++) {
		for (size_t step = 0; step < 2; step++) {
			struct app_world w;
			app_world_open(&w, 80, NULL);
			w.keep_txs = true;
			app_world_feed(&w, GATE_TO_SERVER, "GET /e HTTP/1.1\r\nHost: h\r\n\r\n", 28,
				       false);
			app_world_pieces(&w, GATE_TO_CLIENT, evasions[i].head, evasions[i].size,
					 step * 1);
			app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
			BH_FREE char *body = app_world_buffer(&w, 0, GATE_TO_CLIENT,
							      GATE_BUF_HTTP_RESPONSE_BODY, 0);
			if (strncmp(body, EICAR, 68) != 0) {
				BH_FREE char *all = app_world_dump(&w);
				print_error("evasion %zu step %zu\n%s", i, step, all);
			}
			assert_int_equal(strncmp(body, EICAR, 68), 0);
			app_world_close(&w);
		}
	}
}

static const struct {
	const char *request, *response, *event;
} anomalies[] = {
	{"GET / HTTP/1.1\r\n\r\n", "", "missing_host_header"},
	{"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "", "host_header_ambiguous"},
	{"GET / HTTP/1.1\r\nHost: h\r\nbad\r\n\r\n", "", "request_field_missing_colon"},
	{"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "", "request_header_invalid"},
	{"GET / HTTP/1.1\r\nHost: h..x\r\n\r\n", "", "request_header_host_invalid"},
	{"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM x\r\n\r\n", "",
	 "request_auth_unrecognized"},
	{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "",
	 "duplicate_content_length_field_in_request"},
	{"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "",
	 "invalid_transfer_encoding_value_in_request"},
	{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\n\r\n", "",
	 "invalid_transfer_encoding_value_in_request"},
	{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "",
	 "invalid_request_chunk_len"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\nwhat is this\r\n", "", "request_body_unexpected"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/9 200 OK\r\n\r\n", "response_invalid_protocol"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "response_invalid_status"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
	 "invalid_content_length_field_in_response"},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	 "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	 "100_continue_already_seen"},
};

static void events(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(anomalies); i++) {
		struct app_world w;
		enum gate_app app = GATE_APP_UNKNOWN;
		uint16_t number = 0;
		char name[128];
		app_world_open(&w, 80, NULL);
		w.keep_txs = true;
		app_world_pieces(&w, GATE_TO_SERVER, anomalies[i].request,
				 strlen(anomalies[i].request), 0);
		app_world_pieces(&w, GATE_TO_CLIENT, anomalies[i].response,
				 strlen(anomalies[i].response), 0);
		if (!app_world_has_event(&w, 0, anomalies[i].event)) {
			BH_FREE char *all = app_world_dump(&w);
			print_error("anomaly %zu %s\n%s", i, anomalies[i].event, all);
		}
		assert_true(app_world_has_event(&w, 0, anomalies[i].event));
		app_world_close(&w);
		snprintf(name, sizeof(name), "http.%s", anomalies[i].event);
		assert_int_equal(gate_app_event_find(name, &app, &number), 0);
		assert_int_equal(app, GATE_APP_HTTP1);
	}
}

/* ---- encoded bodies ---- */

static size_t deflate_with(int window_bits, const void *data, size_t size, uint8_t *out,
			   size_t room)
{
	z_stream z = {};
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, 0), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)size;
	z.next_out = out;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t n = z.total_out;
	deflateEnd(&z);
	return n;
}

static void check_encoded(const char *encoding, const uint8_t *body, size_t size,
			  const char *expected)
{
	for (size_t step = 0; step < 5; step++) {
		struct app_world w;
		char head[256];
		app_world_open(&w, 80, NULL);
		w.keep_txs = true;
		app_world_pieces(&w, GATE_TO_SERVER, "GET /z HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0);
		int n = snprintf(
			head, sizeof(head),
			"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
			encoding, size);
		app_world_pieces(&w, GATE_TO_CLIENT, head, (size_t)n, step);
		app_world_pieces(&w, GATE_TO_CLIENT, body, size, step);
		app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
		BH_FREE char *value =
			app_world_buffer(&w, 0, GATE_TO_CLIENT, GATE_BUF_HTTP_RESPONSE_BODY, 0);
		assert_string_equal(value, expected);
		app_world_close(&w);
	}
}

static void encodings(void **state)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog, again and again.";
	uint8_t once[512], twice[512];
	(void)state;
	size_t n = deflate_with(31, text, strlen(text), once, sizeof(once));
	check_encoded("gzip", once, n, text);
	check_encoded("x-gzip", once, n, text);
	check_encoded("deflate", once, n, text);
	size_t m = deflate_with(31, once, n, twice, sizeof(twice));
	check_encoded("gzip, gzip", twice, m, text);
	n = deflate_with(15, text, strlen(text), once, sizeof(once));
	check_encoded("deflate", once, n, text);
	n = deflate_with(-15, text, strlen(text), once, sizeof(once));
	check_encoded("deflate", once, n, text);
	check_encoded("gzip", once, n, text);
	n = sizeof(once);
	assert_true(BrotliEncoderCompress(5, 16, BROTLI_MODE_TEXT, strlen(text),
					  (const uint8_t *)text, &n, once));
	check_encoded("br", once, n, text);
	check_encoded("gzip", (const uint8_t *)"{\"plain\":true}", 14, "{\"plain\":true}");
	check_encoded("identity-of-some-kind", (const uint8_t *)text, strlen(text), text);
}

/* ---- attacks ---- */

static void bomb(void **state)
{
	(void)state;
	const size_t size = 64u << 20;
	uint8_t *zeros = bh_alloc(size), *packed = bh_alloc(1u << 20);
	size_t n = deflate_with(31, zeros, size, packed, 1u << 20);
	free(zeros);
	static const char *const set[] = {
		"app-layer.protocols.http.libhtp.default-config.response-body-limit=0",
		"app-layer.protocols.http.libhtp.default-config.decompression-time-limit=0", NULL};
	struct app_world w;
	app_world_open(&w, 80, set);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, "GET /z HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0);
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\n";
	uint8_t *twice = bh_alloc(1u << 20);
	size_t m = deflate_with(31, packed, n, twice, 1u << 20);
	app_world_pieces(&w, GATE_TO_CLIENT, head, strlen(head), 0);
	app_world_pieces(&w, GATE_TO_CLIENT, twice, m, 1400);
	assert_true(app_world_has_event(&w, 0, "compression_bomb"));
	assert_true(gate_apps_stats(w.apps)->memory < 2u << 20);
	free(packed);
	free(twice);
	app_world_close(&w);
}

/* Nothing comes out of the last decoder: endless empty blocks, from one that makes them of nothing.
 */
static void silent_bomb(void **state)
{
	static const char *const set[] = {
		"app-layer.protocols.http.libhtp.default-config.decompression-time-limit=0", NULL};
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: deflate, br\r\n\r\n";
	static const uint8_t empty_block[] = {0, 0, 0, 0xff, 0xff};
	const size_t size = 16u << 20;
	uint8_t *blocks = bh_alloc(size), packed[4096];
	size_t n = sizeof(packed);
	struct app_world w;

	(void)state;
	for (size_t i = 0; i < size; i++) {
		blocks[i] = empty_block[i % sizeof(empty_block)];
	}
	assert_true(BrotliEncoderCompress(5, 20, BROTLI_MODE_GENERIC, size, blocks, &n, packed));
	free(blocks);
	app_world_open(&w, 80, set);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, "GET /z HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0);
	app_world_pieces(&w, GATE_TO_CLIENT, head, strlen(head), 0);
	app_world_pieces(&w, GATE_TO_CLIENT, packed, n, 1400);
	assert_true(app_world_has_event(&w, 0, "compression_bomb"));
	app_world_close(&w);
}

static void take_long(int sig)
{
	struct timespec ts = {.tv_nsec = 300000000};
	(void)sig;
	(void)nanosleep(&ts, NULL);
}

/* Eight megabytes of zeros, of which nobody wants more than a part; true: they took too long. */
static bool took_too_long(const char *limit, bool interrupted)
{
	const size_t size = 8u << 20;
	uint8_t *zeros = bh_alloc(size), *packed = bh_alloc(1u << 20);
	size_t n = deflate_with(31, zeros, size, packed, 1u << 20);
	const char *const set[] = {
		"app-layer.protocols.http.libhtp.default-config.response-body-limit=0", limit,
		NULL};
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
	struct itimerval once = {.it_value.tv_usec = 2000}, never = {};
	struct app_world w;
	app_world_open(&w, 80, set);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, "GET /z HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0);
	app_world_pieces(&w, GATE_TO_CLIENT, head, strlen(head), 0);
	assert_int_equal(setitimer(ITIMER_REAL, interrupted ? &once : &never, NULL), 0);
	app_world_pieces(&w, GATE_TO_CLIENT, packed, n, 1400);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	bool bomb = app_world_has_event(&w, 0, "compression_bomb");
	free(zeros);
	free(packed);
	app_world_close(&w);
	return bomb;
}

/* What counts is work, not that somebody else had the processor. */
static void slow_body(void **state)
{
	struct sigaction action = {.sa_handler = take_long, .sa_flags = SA_RESTART}, before;
	(void)state;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_true(took_too_long("app-layer.protocols.http.libhtp.default-config."
				  "decompression-time-limit=1",
				  false));
	assert_false(took_too_long("app-layer.protocols.http.libhtp.default-config."
				   "decompression-time-limit=250000",
				   true));
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
}

static void many_headers(void **state)
{
	(void)state;
	struct app_world w;
	char line[64];
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, "GET / HTTP/1.1\r\n", 16, false);
	for (unsigned int i = 0; i < 10000; i++) {
		int n = snprintf(line, sizeof(line), "X-%u: %u\r\n", i, i);
		app_world_feed(&w, GATE_TO_SERVER, line, (size_t)n, false);
	}
	assert_true(app_world_has_event(&w, 0, "request_too_many_headers"));
	assert_true(gate_apps_stats(w.apps)->memory < 1u << 20);
	app_world_close(&w);
}

static void many_requests(void **state)
{
	(void)state;
	struct app_world w;
	app_world_open(&w, 80, NULL);
	for (unsigned int i = 0; i < 100000; i++) {
		app_world_feed(&w, GATE_TO_SERVER, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27, false);
	}
	assert_true(gate_apps_stats(w.apps)->memory < 16u << 20);
	assert_true(gate_apps_stats(w.apps)->txs_forced > 0);
	app_world_close(&w);
	app_world_open(&w, 80, NULL);
	char *flood = bh_alloc(100000 * 18);
	for (size_t i = 0; i < 100000; i++) {
		memcpy(flood + i * 18, "GET / HTTP/1.1\r\n\r\n", 18);
	}
	app_world_feed(&w, GATE_TO_SERVER, flood, 100000 * 18, false);
	free(flood);
	assert_true(gate_apps_stats(w.apps)->memory < 16u << 20);
	assert_true(gate_apps_stats(w.apps)->txs_refused > 0);
	app_world_close(&w);
}

static void holes(void **state)
{
	(void)state;
	struct app_world w;
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, "GET /g HTTP/1.1\r\nHost: h\r\n\r\n", 28, false);
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
	app_world_feed(&w, GATE_TO_CLIENT, head, strlen(head), false);
	app_world_gap(&w, GATE_TO_CLIENT, 90);
	app_world_feed(&w, GATE_TO_CLIENT, "1234567HTTP/1.1 200 OK\r\n", 24, false);
	struct gate_tx *tx = gate_session_first(w.flow.session);
	assert_true(tx->done_dirs & GATE_DIR_BIT(GATE_TO_CLIENT));
	assert_int_equal(tx->files[GATE_TO_CLIENT].first->size, 100);
	assert_int_equal(tx->files[GATE_TO_CLIENT].first->state, GATE_FILE_TRUNCATED);
	app_world_close(&w);
}

/* Nothing can be decoded behind a hole; it is not kept as it is, either. */
static void hole_in_coded(void **state)
{
	static const char *const set[] = {"file-store.enabled=yes", NULL};
	static const char text[] = "text that is longer than what is packed of it, than that, that";
	char head[128];
	uint8_t packed[256];
	size_t n = deflate_with(31, text, strlen(text), packed, sizeof(packed));
	struct app_world w;
	const struct gate_file *file;

	(void)state;
	app_world_open(&w, 80, set);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, "GET /g HTTP/1.1\r\nHost: h\r\n\r\n", 28, false);
	(void)snprintf(head, sizeof(head),
		       "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
		       n + 100);
	app_world_feed(&w, GATE_TO_CLIENT, head, strlen(head), false);
	app_world_feed(&w, GATE_TO_CLIENT, packed, n, false);
	app_world_gap(&w, GATE_TO_CLIENT, 50);
	app_world_feed(&w, GATE_TO_CLIENT, packed, 20, false);
	app_world_gap(&w, GATE_TO_CLIENT, 20);
	app_world_feed(&w, GATE_TO_CLIENT, packed, 10, true);
	file = gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
	assert_int_equal(file->size, strlen(text));
	assert_int_equal(file->state, GATE_FILE_TRUNCATED);
	app_world_close(&w);
}

/* What a hole took away from a part of a form is missing from its file, too. */
static void hole_in_part(void **state)
{
	static const char before[] =
		"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 87\r\n"
		"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
		"--b\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\nabc\r\n-";
	static const char behind[] = "def\r\n--b--\r\n";
	struct app_world w;
	const struct gate_file *file;

	(void)state;
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, before, strlen(before), false);
	app_world_gap(&w, GATE_TO_SERVER, 10);
	app_world_feed(&w, GATE_TO_SERVER, behind, strlen(behind), true);
	file = gate_session_first(w.flow.session)->files[GATE_TO_SERVER].first;
	assert_int_equal(file->size, 6 + 10 + 3);
	assert_int_equal(file->state, GATE_FILE_TRUNCATED);
	assert_true(file->flags & GATE_FILE_GAPS);
	app_world_close(&w);
}

/* A hole reaches over the limit of bodies: the body is over there, whatever comes behind it. */
static void hole_over_limit(void **state)
{
	(void)state;
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\nabc";
	struct app_world w;
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, "GET /g HTTP/1.1\r\nHost: h\r\n\r\n", 28, false);
	app_world_feed(&w, GATE_TO_CLIENT, head, strlen(head), false);
	app_world_gap(&w, GATE_TO_CLIENT, (uint32_t)w.config.http_response_body_limit);
	app_world_feed(&w, GATE_TO_CLIENT, "behind", 6, false);
	app_world_gap(&w, GATE_TO_CLIENT, 10);
	app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
	const struct gate_file *file =
		gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
	assert_int_equal(file->size, w.config.http_response_body_limit);
	assert_int_equal(file->state, GATE_FILE_TRUNCATED);
	app_world_close(&w);
}

static void hashes(void **state)
{
	(void)state;
	struct app_world w;
	char hex[65];
	app_world_open(&w, 80, NULL);
	w.keep_txs = true;
	gate_apps_want_files(w.apps, GATE_FILE_MD5 | GATE_FILE_SHA1 | GATE_FILE_SHA256);
	app_world_feed(&w, GATE_TO_SERVER, "GET /f HTTP/1.1\r\nHost: h\r\n\r\n", 28, false);
	static const char all[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
	app_world_pieces(&w, GATE_TO_CLIENT, all, strlen(all), 1);
	const struct gate_file *file =
		gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
	assert_int_equal(file->state, GATE_FILE_CLOSED);
	bh_hex_format(file->md5, 16, hex);
	assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
	bh_hex_format(file->sha1, 20, hex);
	assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	bh_hex_format(file->sha256, 32, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	app_world_close(&w);
}

/* The server is heard first (an answer that was under way): both sides find each other. */
static void order(void **state)
{
	(void)state;
	struct app_world w;
	app_world_open(&w, 12345, NULL);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_CLIENT, "H", 1, false);
	assert_int_equal(w.flow.app, GATE_APP_UNKNOWN);
	app_world_feed(&w, GATE_TO_SERVER, "G", 1, false);
	app_world_feed(&w, GATE_TO_SERVER, "ET / HTTP/1.1\r\nHost: h\r\n\r\n", 26, false);
	assert_int_equal(w.flow.app, GATE_APP_HTTP1);
	app_world_close(&w);
	app_world_open(&w, 80, NULL);
	app_world_feed(&w, GATE_TO_SERVER, "\x01\x02\x03", 3, false);
	app_world_feed(&w, GATE_TO_CLIENT, "\x01\x02\x03", 3, false);
	assert_int_equal(w.flow.app, GATE_APP_FAILED);
	app_world_close(&w);
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(gate_app_find("http1"), GATE_APP_HTTP1);
	assert_int_equal(gate_app_find("http"), GATE_APP_HTTP1);
	assert_int_equal(gate_app_find("nothing"), GATE_APP_UNKNOWN);
	assert_int_equal(gate_buffer_find("http.uri"), GATE_BUF_HTTP_URI);
	assert_int_equal(gate_buffer_find("x"), GATE_BUF_PAYLOAD);
	assert_int_equal(gate_number_find("tls.version"), GATE_NUM_TLS_VERSION);
	assert_int_equal(gate_buffer_desc(GATE_BUF_HTTP_URI)->dirs, GATE_DIR_BIT(GATE_TO_SERVER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(truncations),
		cmocka_unit_test(buffers),
		cmocka_unit_test(events),
		cmocka_unit_test(evaders),
		cmocka_unit_test(encodings),
		cmocka_unit_test(bomb),
		cmocka_unit_test(silent_bomb),
		cmocka_unit_test(slow_body),
		cmocka_unit_test(many_headers),
		cmocka_unit_test(many_requests),
		cmocka_unit_test(holes),
		cmocka_unit_test(hole_in_coded),
		cmocka_unit_test(hole_in_part),
		cmocka_unit_test(hole_over_limit),
		cmocka_unit_test(hashes),
		cmocka_unit_test(order),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests_name("gate_http1", tests, NULL, NULL);
}
