/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2: frames and header blocks made with nghttp2's encoder, in one piece and in all others. */
#include "base/util.h"
#include "gate_app_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct wire {
	uint8_t data[1u << 16];
	size_t size;
	nghttp2_hd_deflater *deflater;
};

static void wire_open(struct wire *w)
{
	w->size = 0;
	assert_int_equal(nghttp2_hd_deflate_new(&w->deflater, 4096), 0);
}

static void put(struct wire *w, const void *data, size_t size)
{
	assert_true(w->size + size <= sizeof(w->data));
	memcpy(w->data + w->size, data, size);
	w->size += size;
}

static void frame(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream, const void *data,
		  size_t size)
{
	uint8_t head[9] = {(uint8_t)(size >> 16),
			   (uint8_t)(size >> 8),
			   (uint8_t)size,
			   type,
			   flags,
			   (uint8_t)(stream >> 24),
			   (uint8_t)(stream >> 16),
			   (uint8_t)(stream >> 8),
			   (uint8_t)stream};
	put(w, head, sizeof(head));
	put(w, data, size);
}

/* name, value, .., NULL; split: in HEADERS and CONTINUATION of so many bytes */
static void headers(struct wire *w, uint32_t stream, bool end, size_t split,
		    const char *const *fields)
{
	nghttp2_nv nv[32];
	size_t n = 0;
	uint8_t block[8192];
	for (; fields[2 * n]; n++) {
		nv[n] = (nghttp2_nv){(uint8_t *)(uintptr_t)fields[2 * n],
				     (uint8_t *)(uintptr_t)fields[2 * n + 1], strlen(fields[2 * n]),
				     strlen(fields[2 * n + 1]), 0};
	}
	ssize_t size = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), nv, n);
	assert_true(size > 0);
	size_t at = 0, all = (size_t)size;
	do {
		size_t piece = split && all - at > split ? split : all - at;
		bool last = at + piece == all;
		frame(w, at ? 9 : 1, (uint8_t)((last ? 4 : 0) | (!at && end ? 1 : 0)), stream,
		      block + at, piece);
		at += piece;
	} while (at < all);
}

static const char *const get[] = {
	":method", "GET",    ":scheme",	   "https", ":authority", "Example.org:8443",
	":path",   "/a?b=c", "user-agent", "u",	    "cookie",	  "k=v",
	"accept",  "a",	     "accept",	   "b",	    NULL};
static const char *const ok[] = {":status", "200", "content-type", "text/plain", "server",
				 "s",	    NULL};

static void exchange(struct wire *c, struct wire *s)
{
	wire_open(c);
	wire_open(s);
	put(c, magic, strlen(magic));
	frame(c, 4, 0, 0, "\x00\x03\x00\x00\x00\x64", 6);
	headers(c, 1, true, 7, get);
	headers(c, 3, false, 0, get);
	frame(c, 0, 8, 3, "\x03half\0\0\0", 8);
	frame(c, 0, 1, 3, "body", 4);
	frame(c, 8, 0, 1, "\x00\x00\x10\x00", 4);
	frame(s, 4, 0, 0, "", 0);
	headers(s, 1, false, 0, ok);
	frame(s, 0, 0, 1, "hello ", 6);
	headers(s, 3, false, 3, ok);
	frame(s, 0, 1, 1, "world", 5);
	frame(s, 3, 0, 3, "\x00\x00\x00\x08", 4);
	nghttp2_hd_deflate_del(c->deflater);
	nghttp2_hd_deflate_del(s->deflater);
}

static char *run(const struct wire *c, const struct wire *s, size_t step)
{
	struct app_world w;
	app_world_open(&w, 8443, NULL);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, c->data, c->size, step);
	app_world_pieces(&w, GATE_TO_CLIENT, s->data, s->size, step);
	char *text = app_world_dump(&w);
	app_world_close(&w);
	return text;
}

static void pieces(void **state)
{
	(void)state;
	static struct wire c, s;
	exchange(&c, &s);
	BH_FREE char *whole = run(&c, &s, 0);
	for (size_t step = 1; step < 64; step++) {
		BH_FREE char *split = run(&c, &s, step);
		assert_string_equal(whole, split);
	}
	static const char *const expected[] = {
		"app http2",
		"http.uri[0] 0 \"/a?b=c\"",
		"http.host[0] 0 \"example.org\"",
		"http.host.raw[0] 0 \"Example.org:8443\"",
		"http.method[0] 0 \"GET\"",
		"http.accept[0] 0 \"a, b\"",
		"http.cookie[0] 0 \"k=v\"",
		"http.request_header[2] 0 \"::authority: Example.org::8443\"",
		"http.request_line[0] 0 \"GET /a?b=c HTTP/2\\x0d\\x0a\"",
		"http.stat_code[0] 0 \"200\"",
		"file.data[0] 0 \"hello world\"",
		"file.data[0] 0 \"halfbody\"",
		"http2.errorcode[0] 8",
		"http2.window[0] 4096",
		"http2.frametype[0] 4",
		"http.header_names[0] 0 \"\\x0d\\x0a:status\\x0d\\x0acontent-type\\x0d\\x0aserver"};
	for (size_t i = 0; i < BH_ARRAY_SIZE(expected); i++) {
		if (!strstr(whole, expected[i])) {
			print_error("%s\nis not in\n%s", expected[i], whole);
		}
		assert_non_null(strstr(whole, expected[i]));
	}
}

static void truncations(void **state)
{
	(void)state;
	static struct wire c, s;
	exchange(&c, &s);
	for (size_t n = 0; n < c.size + s.size; n++) {
		struct app_world w;
		app_world_open(&w, 8443, NULL);
		app_world_feed(&w, GATE_TO_SERVER, c.data, n < c.size ? n : c.size, n < c.size);
		app_world_feed(&w, GATE_TO_CLIENT, s.data, n < c.size ? s.size : n - c.size, true);
		app_world_close(&w);
	}
}

static bool has(const struct wire *c, const char *event)
{
	struct app_world w;
	app_world_open(&w, 8443, NULL);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, c->data, c->size, 0);
	bool found = false;
	for (unsigned int i = 0; i < 10; i++) {
		found = found || app_world_has_event(&w, i, event);
	}
	app_world_close(&w);
	return found;
}

static void hosts(void **state)
{
	static const char *const cases[][2] = {
		{"A.example", "a.example"},
		{"a.example:443", "a.example"},
		{":443", ""},
		{"u:p@[::A]:443", "[::a]"},
		{"[::a]", "[::a]"},
		{"[a:443", "[a"},
		{"[::a]:4]43:44", "[::a]:4]43"},
		{"a[:443]", "a["},
	};
	static struct wire c, s;

	(void)state;
	wire_open(&s);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		const char *const fields[] = {":method", "GET", ":authority", cases[i][0], NULL};
		char expected[64];

		wire_open(&c);
		put(&c, magic, strlen(magic));
		headers(&c, 1, true, 0, fields);
		nghttp2_hd_deflate_del(c.deflater);
		BH_FREE char *text = run(&c, &s, 0);
		(void)snprintf(expected, sizeof(expected), "http.host[0] 0 \"%s\"", cases[i][1]);
		if (*cases[i][1] ? !strstr(text, expected) : strstr(text, "http.host[0]") != NULL) {
			fail_msg("%s: %s", cases[i][0], text);
		}
	}
	nghttp2_hd_deflate_del(s.deflater);
}

/* Nothing can be decoded behind a hole, and the file is not whole. */
static void hole(void **state)
{
	static const char *const gzip[] = {":status", "200", "content-encoding", "gzip", NULL};
	static struct wire c, s;
	const struct gate_file *file;
	struct app_world w;

	(void)state;
	for (unsigned int coded = 0; coded < 2; coded++) {
		wire_open(&c);
		put(&c, magic, strlen(magic));
		headers(&c, 1, true, 0, get);
		wire_open(&s);
		headers(&s, 1, false, 0, coded ? gzip : ok);
		frame(&s, 0, 1, 1, "abcdefghij0123456789", 20);
		app_world_open(&w, 8443, NULL);
		w.keep_txs = true;
		app_world_pieces(&w, GATE_TO_SERVER, c.data, c.size, 0);
		app_world_pieces(&w, GATE_TO_CLIENT, s.data, s.size - 20, 0);
		app_world_gap(&w, GATE_TO_CLIENT, 12);
		app_world_pieces(&w, GATE_TO_CLIENT, s.data + s.size - 8, 8, 0);
		file = gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
		assert_int_equal(file->size, coded ? 0 : 20);
		assert_int_equal(file->state, GATE_FILE_TRUNCATED);
		assert_true(file->flags & GATE_FILE_GAPS);
		app_world_close(&w);
		nghttp2_hd_deflate_del(c.deflater);
		nghttp2_hd_deflate_del(s.deflater);
	}
}

/* Beyond the limit of bodies a file goes on when a rule has it stored. */
static void stored(void **state)
{
	static struct wire c, s;
	const struct gate_file *file;
	struct app_world w;

	(void)state;
	for (unsigned int store = 0; store < 2; store++) {
		wire_open(&c);
		put(&c, magic, strlen(magic));
		headers(&c, 1, true, 0, get);
		wire_open(&s);
		headers(&s, 1, false, 0, ok);
		frame(&s, 0, 0, 1, "0123456789", 10);
		app_world_open(&w, 8443, NULL);
		w.keep_txs = true;
		w.config.http_response_body_limit = 16;
		app_world_pieces(&w, GATE_TO_SERVER, c.data, c.size, 0);
		app_world_pieces(&w, GATE_TO_CLIENT, s.data, s.size, 0);
		if (store) {
			gate_file_store_all(w.flow.session, gate_session_first(w.flow.session),
					    GATE_BOTH_DIRS, 1);
		}
		s.size = 0;
		frame(&s, 0, 0, 1, "0123456789", 10);
		frame(&s, 0, 1, 1, "0123456789", 10);
		app_world_pieces(&w, GATE_TO_CLIENT, s.data, s.size, 0);
		file = gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
		assert_int_equal(file->size, store ? 30 : 16);
		assert_int_equal(file->state, store ? GATE_FILE_CLOSED : GATE_FILE_TRUNCATED);
		app_world_close(&w);
		nghttp2_hd_deflate_del(c.deflater);
		nghttp2_hd_deflate_del(s.deflater);
	}
}

static void events(void **state)
{
	(void)state;
	static struct wire c;
	static const char *const mismatch[] = {":method", "GET", ":authority", "a",
					       "host",	  "b",	 NULL};
	static const char *const user[] = {":method", "GET", ":authority", "me@a", NULL};
	wire_open(&c);
	put(&c, magic, strlen(magic));
	headers(&c, 1, true, 0, mismatch);
	assert_true(has(&c, "authority_host_mismatch"));
	headers(&c, 3, true, 0, user);
	assert_true(has(&c, "userinfo_in_uri"));
	frame(&c, 1, 4, 5, "\xff\xff\xff\xff\xff\xff", 6);
	assert_true(has(&c, "invalid_header"));
	frame(&c, 0, 0, 0, "x", 1);
	assert_true(has(&c, "data_stream_zero"));
	nghttp2_hd_deflate_del(c.deflater);
}

/* Ten thousand streams, a hundred thousand settings, a header block that unfolds to much. */
static void floods(void **state)
{
	(void)state;
	static struct wire c;
	struct app_world w;
	app_world_open(&w, 8443, NULL);
	app_world_feed(&w, GATE_TO_SERVER, magic, strlen(magic), false);
	for (uint32_t i = 0; i < 10000; i++) {
		wire_open(&c);
		headers(&c, 2 * i + 1, true, 0, get);
		nghttp2_hd_deflate_del(c.deflater);
		app_world_feed(&w, GATE_TO_SERVER, c.data, c.size, false);
	}
	assert_true(gate_apps_stats(w.apps)->memory < 24u << 20);
	app_world_close(&w);
	app_world_open(&w, 8443, NULL);
	app_world_feed(&w, GATE_TO_SERVER, magic, strlen(magic), false);
	uint8_t *many = bh_alloc(100000 * 9);
	for (size_t i = 0; i < 100000; i++) {
		memcpy(many + 9 * i, "\0\0\0\4\1\0\0\0\0", 9);
	}
	app_world_feed(&w, GATE_TO_SERVER, many, 100000 * 9, false);
	free(many);
	assert_true(gate_apps_stats(w.apps)->memory < 2u << 20);
	/* one large entry of the table, named over and over */
	char value[4001];
	memset(value, 'v', 4000);
	value[4000] = 0;
	const char *const large[] = {"x-large", value, NULL};
	wire_open(&c);
	headers(&c, 1, false, 0, large);
	app_world_feed(&w, GATE_TO_SERVER, c.data, c.size, false);
	nghttp2_hd_deflate_del(c.deflater);
	uint8_t *bomb = bh_alloc(16000);
	memset(bomb, 0x80 | 62, 16000);
	c.size = 0;
	frame(&c, 1, 4, 3, bomb, 16000);
	free(bomb);
	app_world_feed(&w, GATE_TO_SERVER, c.data, c.size, false);
	assert_true(gate_apps_stats(w.apps)->memory < 2u << 20);
	app_world_close(&w);
}

static void upgrade(void **state)
{
	(void)state;
	static struct wire s;
	struct app_world w;
	static const char request[] =
		"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
	static const char answer[] =
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
	app_world_open(&w, 80, NULL);
	app_world_feed(&w, GATE_TO_SERVER, request, strlen(request), false);
	assert_int_equal(w.flow.app, GATE_APP_HTTP1);
	app_world_feed(&w, GATE_TO_CLIENT, answer, strlen(answer), false);
	w.keep_txs = true;
	app_world_feed(&w, GATE_TO_SERVER, magic, strlen(magic), false);
	assert_int_equal(w.flow.app, GATE_APP_HTTP2);
	assert_int_equal(gate_session_original(w.flow.session), GATE_APP_HTTP1);
	wire_open(&s);
	frame(&s, 4, 0, 0, "", 0);
	headers(&s, 1, true, 0, ok);
	nghttp2_hd_deflate_del(s.deflater);
	app_world_feed(&w, GATE_TO_CLIENT, s.data, s.size, false);
	BH_FREE char *uri = app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_HTTP_URI, 0);
	assert_string_equal(uri, "/up");
	BH_FREE char *code = app_world_buffer(&w, 0, GATE_TO_CLIENT, GATE_BUF_HTTP_STAT_CODE, 0);
	assert_string_equal(code, "200");
	app_world_close(&w);
}

static void doh(void **state)
{
	(void)state;
	static struct wire c;
	struct app_world w;
	static const char *const post[] = {
		":method",    "POST",	     ":path",	     "/dns-query",
		":authority", "dns.example", "content-type", "application/dns-message",
		NULL};
	static const char *const query[] = {
		":method", "GET", ":path",
		"/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB", NULL};
	static const char message[] = "\0\0\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1";
	wire_open(&c);
	put(&c, magic, strlen(magic));
	headers(&c, 1, false, 0, post);
	frame(&c, 0, 1, 1, message, sizeof(message) - 1);
	headers(&c, 3, true, 0, query);
	nghttp2_hd_deflate_del(c.deflater);
	app_world_open(&w, 443, NULL);
	w.keep_txs = true;
	app_world_pieces(&w, GATE_TO_SERVER, c.data, c.size, 0);
	assert_int_equal(w.flow.app, GATE_APP_DOH2);
	BH_FREE char *name = app_world_buffer(&w, 0, GATE_TO_SERVER, GATE_BUF_DNS_QUERY, 0);
	assert_string_equal(name, "example.org");
	BH_FREE char *other = app_world_buffer(&w, 1, GATE_TO_SERVER, GATE_BUF_DNS_QUERY, 0);
	assert_string_equal(other, "www.example.com");
	app_world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces), cmocka_unit_test(truncations), cmocka_unit_test(hosts),
		cmocka_unit_test(hole),	  cmocka_unit_test(stored),	 cmocka_unit_test(events),
		cmocka_unit_test(floods), cmocka_unit_test(upgrade),	 cmocka_unit_test(doh),
	};
	return cmocka_run_group_tests_name("gate_http2", tests, NULL, NULL);
}
