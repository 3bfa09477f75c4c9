/* SPDX-License-Identifier: Apache-2.0 */
/* Which protocol it is: both sides, the wrong one first, what follows STARTTLS, CONNECT and
 * Upgrade; and the events of that. */
#include "gate_app_world.h"

#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HELLO	     "\x16\3\1\0\x2d\1\0\0\x29\3\1................................\0\0\2\0\x2f\1\0"
#define EVENT(which) (1u << GATE_SESSION_##which)

static const struct {
	const char *what;
	uint16_t port;
	struct say says[10];
	unsigned int events;
	enum gate_app app, original;
} talks[] = {
	{"a request and its answer",
	 80,
	 {CLIENT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), SERVER("HTTP/1.1 200 OK\r\n\r\n")},
	 0,
	 GATE_APP_HTTP1,
	 GATE_APP_UNKNOWN},
	{"an answer to nothing",
	 80,
	 {SERVER("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
	 EVENT(WRONG_DIRECTION),
	 GATE_APP_HTTP1,
	 GATE_APP_UNKNOWN},
	{"a server that greets",
	 25,
	 {SERVER("220 mail ESMTP\r\n"), CLIENT("EHLO a\r\n")},
	 0,
	 GATE_APP_SMTP,
	 GATE_APP_UNKNOWN},
	{"two protocols",
	 80,
	 {CLIENT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), SERVER("SSH-2.0-OpenSSH_9.2\r\n")},
	 EVENT(MISMATCH),
	 GATE_APP_HTTP1,
	 GATE_APP_UNKNOWN},
	{"STARTTLS of mail",
	 25,
	 {SERVER("220 mail ESMTP\r\n"), CLIENT("EHLO a\r\n"),
	  SERVER("250-mail\r\n250 STARTTLS\r\n"), CLIENT("STARTTLS\r\n"), SERVER("220 go on\r\n"),
	  CLIENT(HELLO)},
	 0,
	 GATE_APP_TLS,
	 GATE_APP_SMTP},
	{"STARTTLS without TLS",
	 25,
	 {SERVER("220 mail ESMTP\r\n"), CLIENT("EHLO a\r\n"),
	  SERVER("250-mail\r\n250 STARTTLS\r\n"), CLIENT("STARTTLS\r\n"), SERVER("220 go on\r\n"),
	  CLIENT("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
	 EVENT(NO_TLS),
	 GATE_APP_HTTP1,
	 GATE_APP_SMTP},
	{"AUTH TLS of FTP",
	 21,
	 {SERVER("220 files\r\n"), CLIENT("AUTH TLS\r\n"), SERVER("234 go on\r\n"), CLIENT(HELLO)},
	 0,
	 GATE_APP_TLS,
	 GATE_APP_FTP},
	{"CONNECT",
	 3128,
	 {CLIENT("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
	  SERVER("HTTP/1.1 200 OK\r\n\r\n"), CLIENT(HELLO)},
	 0,
	 GATE_APP_TLS,
	 GATE_APP_HTTP1},
	{"upgrade to websocket",
	 80,
	 {CLIENT("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
		 "Connection: Upgrade\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		 "Sec-WebSocket-Version: 13\r\n\r\n"),
	  SERVER("HTTP/1.1 101 Switching Protocols\r\n"
		 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
	  CLIENT("\x81\x82\1\2\3\4\x69\x6b")},
	 0,
	 GATE_APP_WEBSOCKET,
	 GATE_APP_HTTP1},
	{"upgrade to websocket, and TLS",
	 80,
	 {CLIENT("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
		 "Connection: Upgrade\r\n\r\n"),
	  SERVER("HTTP/1.1 101 Switching Protocols\r\n"
		 "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
	  CLIENT(HELLO)},
	 EVENT(UNEXPECTED),
	 GATE_APP_WEBSOCKET,
	 GATE_APP_HTTP1},
	{"upgrade to h2c",
	 80,
	 {CLIENT("GET / HTTP/1.1\r\nHost: a\r\n"
		 "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
		 "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
	  SERVER("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
	  CLIENT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")},
	 0,
	 GATE_APP_HTTP2,
	 GATE_APP_HTTP1},
};

static void conversations(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(talks); i++) {
		struct app_world w;
		app_world_open(&w, talks[i].port, NULL);
		for (size_t k = 0; k < BH_ARRAY_SIZE(talks[i].says) && talks[i].says[k].size; k++) {
			const struct say *say = &talks[i].says[k];
			app_world_feed(&w, say->dir, say->bytes, say->size, false);
		}
		unsigned int events = gate_session_events(w.flow.session);
		if (events != talks[i].events || w.flow.app != talks[i].app ||
		    gate_session_original(w.flow.session) != talks[i].original) {
			fail_msg("%s: events %x, %s after %s", talks[i].what, events,
				 gate_app_name((enum gate_app)w.flow.app),
				 gate_app_name(gate_session_original(w.flow.session)));
		}
		app_world_close(&w);
	}
}

/* The server's side stays silent, or says what nobody knows. */
static void one_side(void **state)
{
	static const uint8_t noise[64] = {0xfe, 0xfd, 0xfc};
	struct app_world w;
	app_world_open(&w, 8080, NULL);
	app_world_feed(&w, GATE_TO_SERVER, "GET / HTTP/1.1\r\n\r\n", 18, false);
	app_world_feed(&w, GATE_TO_CLIENT, noise, sizeof(noise), true);
	assert_int_equal(gate_session_events(w.flow.session), EVENT(ONE_DIRECTION));
	app_world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversations),
		cmocka_unit_test(one_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
