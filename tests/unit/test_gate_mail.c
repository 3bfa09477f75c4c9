/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP, FTP, SMB, DCERPC, WebSocket, MySQL, PostgreSQL on conversations out of captures (the fuzz
 * targets' corpora) and on written ones: whole, in pieces of every size, cut off everywhere.
 */
#include "base/file.h"
#include "base/util.h"
#include "gate/app/dcerpc/dcerpc.h"
#include "gate_app_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>
#include <netinet/in.h>

struct talk {
	const char *name;
	enum gate_app app;
	uint16_t port;
	uint8_t skip; /* bytes before the first record */
};

static const struct talk talks[] = {
	{"gate_smtp/attachment", GATE_APP_SMTP, 25, 0},
	{"gate_smtp/mixed", GATE_APP_SMTP, 25, 0},
	{"gate_smb/andx", GATE_APP_SMB, 445, 0},
	{"gate_smb/nbss_more", GATE_APP_SMB, 445, 0},
	{"gate_smb/segments", GATE_APP_SMB, 445, 0},
	{"gate_smb/padding", GATE_APP_SMB, 445, 0},
	{"gate_smb/version", GATE_APP_SMB, 445, 0},
	{"gate_smb/named_pipe", GATE_APP_SMB, 445, 0},
	{"gate_smb/setup", GATE_APP_SMB, 445, 0},
	{"gate_dcerpc/iface_many", GATE_APP_DCERPC, 49672, 1},
	{"gate_dcerpc/no_frag_flag", GATE_APP_DCERPC, 135, 1},
	{"gate_dcerpc/iface_04", GATE_APP_DCERPC, 49302, 1},
	{"gate_smtp/document", GATE_APP_SMTP, 25, 0},
	{"gate_smtp/old", GATE_APP_SMTP, 25, 0},
	{"gate_smb/refused", GATE_APP_SMB, 445, 0},
	{"gate_smb/tree2", GATE_APP_SMB, 445, 0},
	{"gate_smb/pipes1", GATE_APP_SMB, 139, 0},
	{"gate_smb/pipe_call", GATE_APP_SMB, 445, 0},
	{"gate_ftp/s0", GATE_APP_FTP, 21, 0},
	{"gate_ftp/s1", GATE_APP_FTP, 21, 0},
	{"gate_ftp/s3", GATE_APP_FTP, 21, 0},
	{"gate_ftp/s4", GATE_APP_FTP, 21, 0},
	{"gate_mysql/login", GATE_APP_MYSQL, 3306, 0},
	{"gate_pgsql/login", GATE_APP_PGSQL, 5432, 0},
	{"gate_pgsql/refused", GATE_APP_PGSQL, 5432, 0},
};

/* ---- conversations ---- */

static uint8_t *load(const char *name, size_t *ret_size)
{
	char *data = NULL, path[512];
	struct bh_diag diag = {};
	snprintf(path, sizeof(path), "%s/%s", CORPUS_DIR, name);
	int r = bh_file_read(path, 1u << 20, &data, ret_size, &diag);
	if (r) {
		print_error("%s: %s\n", path, diag.text);
	}
	assert_int_equal(r, 0);
	return (uint8_t *)data;
}

/* Feeds the records, at most `max` bytes of them, in pieces of `step`. */
static void feed(struct app_world *w, const uint8_t *data, size_t size, size_t step, size_t max)
{
	for (size_t at = 0; at + 2 <= size && max;) {
		size_t n = data[at + 1] + (size_t)(data[at] & 7) * 256;
		enum gate_dir dir = data[at] & 0x80 ? GATE_TO_CLIENT : GATE_TO_SERVER;
		at += 2;
		size_t take = n < max ? n : max;
		app_world_pieces(w, dir, data + at, take, step);
		max -= take;
		at += n;
	}
}

/* The record of every transaction must be JSON. */
static char *records(struct app_world *w)
{
	json_t *all = json_array();
	const struct gate_app_ops *ops = w->flow.session ? gate_session_ops(w->flow.session) : NULL;
	struct gate_tx *tx = ops ? gate_session_first(w->flow.session) : NULL;
	for (; tx; tx = tx->next) {
		struct gate_jw jw;
		json_error_t error;
		gate_jw_init(&jw);
		gate_jw_object(&jw, NULL);
		gate_jw_object(&jw, ops->log);
		(void)ops->log_tx(tx, &jw);
		gate_jw_end(&jw);
		gate_jw_end(&jw);
		assert_true(jw.ok);
		json_t *one = json_loadb(jw.data, jw.size, JSON_ALLOW_NUL, &error);
		if (!one) {
			print_error("%.*s\n%s\n", (int)jw.size, jw.data, error.text);
		}
		assert_non_null(one);
		json_array_append_new(all, one);
		gate_jw_done(&jw);
	}
	char *text = json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(all);
	return text;
}

static char *run(const struct talk *talk, const uint8_t *data, size_t size, size_t step, size_t max)
{
	struct app_world w;
	app_world_open(&w, talk->port, NULL);
	w.keep_txs = true;
	gate_apps_want_files(w.apps, GATE_FILE_MD5);
	feed(&w, data + talk->skip, size - talk->skip, step, max);
	app_world_feed(&w, GATE_TO_SERVER, "", 0, true);
	app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
	if (max >= size && w.flow.app != talk->app) {
		print_error("%s: %s\n", talk->name, gate_app_name((enum gate_app)w.flow.app));
	}
	assert_true(max < size || w.flow.app == talk->app);
	BH_FREE char *dump = app_world_dump(&w);
	BH_FREE char *json = records(&w);
	char *text = bh_asprintf("%s%s", dump, json);
	app_world_close(&w);
	return text;
}

static void pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(talks); i++) {
		size_t size = 0;
		BH_FREE uint8_t *data = load(talks[i].name, &size);
		BH_FREE char *whole = run(&talks[i], data, size, 0, size);
		if (getenv("SHOW")) {
			print_message("%s\n%s\n", talks[i].name, whole);
		}
		for (size_t step = 1; step < 70; step += step < 12 ? 1 : 7) {
			BH_FREE char *split = run(&talks[i], data, size, step, size);
			if (strcmp(whole, split) != 0) {
				print_error("%s, pieces of %zu\n%s\n%s\n", talks[i].name, step,
					    whole, split);
			}
			assert_string_equal(whole, split);
		}
	}
}

static void truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < BH_ARRAY_SIZE(talks); i++) {
		size_t size = 0;
		BH_FREE uint8_t *data = load(talks[i].name, &size);
		for (size_t max = 0; max<size; max += size> 4000 ? 13 : 1) {
			BH_FREE char *text = run(&talks[i], data, size, 0, max);
			assert_non_null(text);
		}
	}
}

/* ---- written ones ---- */

struct said {
	struct app_world w;
};

static void begin(struct said *s, uint16_t port)
{
	app_world_open(&s->w, port, NULL);
	s->w.keep_txs = true;
	gate_apps_want_files(s->w.apps, GATE_FILE_MD5);
}

static void client(struct said *s, const char *text)
{
	app_world_feed(&s->w, GATE_TO_SERVER, text, strlen(text), false);
}

static void server(struct said *s, const char *text)
{
	app_world_feed(&s->w, GATE_TO_CLIENT, text, strlen(text), false);
}

#define assert_buffer(s, tx, dir, id, index, text)                                                 \
	do {                                                                                       \
		BH_FREE char *got_ = app_world_buffer(&(s)->w, tx, dir, GATE_BUF_##id, index);     \
		assert_string_equal(got_, text);                                                   \
	} while (0)

static void mail_begin(struct said *s)
{
	begin(s, 25);
	server(s, "220 mail ESMTP\r\n");
	client(s, "EHLO me\r\n");
	server(s, "250 mail\r\n");
	client(s, "MAIL FROM:<a@b.c> SIZE=1\r\n");
	server(s, "250 ok\r\n");
	client(s, "RCPT TO:<d@e.f>\r\nRCPT TO: <g@h.i>\r\n");
	server(s, "250 ok\r\n250 ok\r\n");
	client(s, "DATA\r\n");
	server(s, "354 go\r\n");
}

static void smtp_message(void **state)
{
	struct said s;
	(void)state;
	mail_begin(&s);
	client(&s,
	       "From: a@b.c\r\nTo: d@e.f,\r\n \"x, y\" <g@h.i>\r\nSubject: hi\r\n"
	       "Content-Type: multipart/mixed;\r\n boundary=\"out er\"\r\n\r\npreamble\r\n"
	       "--out er\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n"
	       "--inner\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
	       "quoted-printable\r\n\r\nsee http://www.ex=\r\nample.org/=3Fa now\r\n--inner--\r\n"
	       "--out er\r\nContent-Disposition: attachment; filename*0*=utf-8''a%20b;\r\n"
	       " filename*1=\"c.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	       "aGVs\r\nbG8=\r\n--out er\r\nContent-Type: application/x; name=\"n\\\"1\"\r\n\r\n"
	       "..dot\r\n\r\n--out er--\r\nepilogue\r\n.\r\nQUIT\r\n");
	assert_buffer(&s, 0, GATE_TO_SERVER, SMTP_HELO, 0, "me");
	assert_buffer(&s, 0, GATE_TO_SERVER, SMTP_MAIL_FROM, 0, "<a@b.c>");
	assert_buffer(&s, 0, GATE_TO_SERVER, SMTP_RCPT_TO, 0, "<d@e.f>");
	assert_buffer(&s, 0, GATE_TO_SERVER, SMTP_RCPT_TO, 1, "<g@h.i>");
	assert_buffer(&s, 0, GATE_TO_SERVER, EMAIL_SUBJECT, 0, "hi");
	assert_buffer(&s, 0, GATE_TO_SERVER, EMAIL_URL, 0, "www.example.org/?a");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_NAME, 0, "a bc.bin");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_DATA, 0, "hello");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_NAME, 1, "n\"1");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_DATA, 1, ".dot\r\n");
	assert_buffer(&s, 1, GATE_TO_SERVER, SMTP_HELO, 0, "(none)");
	BH_FREE char *json = records(&s.w);
	assert_non_null(strstr(json, "\"\\\"x, y\\\" <g@h.i>\""));
	assert_non_null(strstr(json, "PARSE_DONE"));
	app_world_close(&s.w);
}

static void smtp_bdat(void **state)
{
	struct said s;
	(void)state;
	begin(&s, 25);
	server(&s, "220 mail\r\n");
	client(&s, "EHLO me\r\nMAIL FROM:<a@b.c>\r\nBDAT 58\r\n"
		   "Content-Disposition: attachment; filename=x\r\nA: b\r\n\r\none\nt"
		   "BDAT 6 LAST\r\nwo\r\n.\nMAIL FROM:<z@b.c>\r\n");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_NAME, 0, "x");
	assert_buffer(&s, 0, GATE_TO_SERVER, FILE_DATA, 0, "one\ntwo\r\n.");
	assert_buffer(&s, 1, GATE_TO_SERVER, SMTP_MAIL_FROM, 0, "<z@b.c>");
	client(&s, "BDAT x\r\n");
	assert_true(app_world_has_event(&s.w, 1, "bdat_chunk_len_exceeded"));
	app_world_close(&s.w);
}

static void smtp_events(void **state)
{
	struct said s;
	(void)state;
	begin(&s, 25);
	client(&s, "HELO me\r\n");
	server(&s, "500 go away\r\n250 ok\r\n");
	assert_true(app_world_has_event(&s.w, 0, "no_server_welcome_message"));
	server(&s, "xyz\r\n");
	assert_true(app_world_has_event(&s.w, 0, "invalid_reply"));
	client(&s, "HELO again\r\nSTARTTLS\r\n");
	assert_true(app_world_has_event(&s.w, 0, "duplicate_fields"));
	server(&s, "250 ok\r\n250 ok\r\n454 no\r\n");
	assert_true(app_world_has_event(&s.w, 0, "tls_rejected") ||
		    app_world_has_event(&s.w, 0, "unable_to_match_reply_with_request"));
	client(&s, "DATA\r\n");
	server(&s, "503 no\r\n");
	assert_true(app_world_has_event(&s.w, 0, "data_command_rejected"));
	app_world_close(&s.w);
	mail_begin(&s);
	client(&s,
	       "Content-Transfer-Encoding: base64\r\nContent-Type: x/y; name=a\r\nnothing\r\n\r\n"
	       "a!==\r\n.\r\n");
	assert_true(app_world_has_event(&s.w, 0, "mime_invalid_base64"));
	assert_true(app_world_has_event(&s.w, 0, "mime_malformed_msg"));
	app_world_close(&s.w);
}

static void smtp_tls(void **state)
{
	struct said s;
	(void)state;
	begin(&s, 25);
	server(&s, "220 mail\r\n");
	client(&s, "EHLO me\r\n");
	server(&s, "250 ok\r\n");
	client(&s, "STARTTLS\r\n");
	server(&s, "220 go\r\n");
	assert_int_equal(s.w.flow.app, GATE_APP_SMTP);
	client(&s, "\x16\x03");
	assert_int_equal(gate_session_original(s.w.flow.session), GATE_APP_SMTP);
	assert_int_not_equal(s.w.flow.app, GATE_APP_SMTP);
	app_world_close(&s.w);
}

/* ---- FTP ---- */

static void ftp_commands(void **state)
{
	struct said s;
	(void)state;
	begin(&s, 21);
	server(&s, "220-Welcome\r\n 220 not yet\r\n220 ready\r\n");
	client(&s, "user me\r\nPASV\r\n");
	server(&s, "331 password\r\n227 Entering Passive Mode (10,0,0,1,200,21).\r\n");
	client(&s, "RETR a file.txt\r\nXYZZY 1\r\n");
	server(&s, "150 here\r\n226 done\r\n500 what\r\n");
	assert_buffer(&s, 0, GATE_TO_CLIENT, FTP_REPLY, 1, " 220 not yet");
	assert_buffer(&s, 0, GATE_TO_CLIENT, FTP_COMPLETION_CODE, 2, "220");
	assert_buffer(&s, 1, GATE_TO_SERVER, FTP_COMMAND, 0, "USER");
	assert_buffer(&s, 1, GATE_TO_SERVER, FTP_COMMAND_DATA, 0, "me");
	assert_buffer(&s, 3, GATE_TO_SERVER, FTP_COMMAND_DATA, 0, "a file.txt");
	assert_buffer(&s, 3, GATE_TO_CLIENT, FTP_REPLY, 1, "done");
	assert_buffer(&s, 4, GATE_TO_SERVER, FTP_COMMAND, 0, "(none)");
	assert_buffer(&s, 4, GATE_TO_CLIENT, FTP_COMPLETION_CODE, 0, "500");
	uint64_t port = 0;
	struct gate_tx *tx = gate_session_first(s.w.flow.session)->next->next;
	assert_true(gate_session_ops(s.w.flow.session)
			    ->number(tx, GATE_TO_SERVER, GATE_NUM_FTP_DYNAMIC_PORT, 0, &port));
	assert_int_equal(port, 200 * 256 + 21);
	app_world_close(&s.w);
}

static void ftp_long(void **state)
{
	struct said s;
	char line[5003];
	(void)state;
	memset(line, 'a', sizeof(line));
	memcpy(line, "CWD ", 4);
	memcpy(line + 5000, "\r\n", 3);
	begin(&s, 21);
	server(&s, "220 FTP\r\n");
	client(&s, line);
	client(&s, "QUIT\r\n");
	assert_true(app_world_has_event(&s.w, 1, "request_command_too_long"));
	assert_buffer(&s, 2, GATE_TO_SERVER, FTP_COMMAND, 0, "QUIT");
	app_world_close(&s.w);
}

static void ftp_data(void **state)
{
	struct said s;
	(void)state;
	begin(&s, 5001);
	s.w.flow.app_expected = GATE_APP_FTP_DATA;
	server(&s, "content");
	app_world_feed(&s.w, GATE_TO_CLIENT, " more", 5, true);
	assert_buffer(&s, 0, GATE_TO_CLIENT, FILE_DATA, 0, "content more");
	app_world_close(&s.w);
}

/* ---- WebSocket: HTTP's upgrade is not needed here ---- */

static struct app_world *websocket(struct said *s, const char *name)
{
	size_t size = 0;
	BH_FREE uint8_t *data = load(name, &size);
	begin(s, 80);
	s->w.flow.app_expected = GATE_APP_WEBSOCKET;
	feed(&s->w, data, size, 1, size);
	return &s->w;
}

static void websocket_frames(void **state)
{
	struct said s;
	(void)state;
	websocket(&s, "gate_websocket/control_frag");
	assert_buffer(&s, 1, GATE_TO_SERVER, WEBSOCKET_PAYLOAD, 0, "ping");
	assert_buffer(&s, 2, GATE_TO_SERVER, WEBSOCKET_PAYLOAD, 0,
		      "MALWARE_DOWNLOAD cmd.exe /c powershell -enc AAAA");
	app_world_close(&s.w);
	websocket(&s, "gate_websocket/deflate");
	assert_buffer(&s, 0, GATE_TO_CLIENT, WEBSOCKET_PAYLOAD, 0, "hello hello hello websocket");
	assert_buffer(&s, 2, GATE_TO_CLIENT, WEBSOCKET_PAYLOAD, 0,
		      "hello hello hello websocket again");
	assert_buffer(&s, 3, GATE_TO_SERVER, WEBSOCKET_PAYLOAD, 0, "hi");
	app_world_close(&s.w);
}

/* A limit of its own: frames are cut, what follows is still found. */
static void websocket_limit(void **state)
{
	static const char *const set[] = {"app-layer.protocols.websocket.max-payload-size=4", NULL};
	static const char frames[] = "\x81\x06SECRET\x81\x02OK\x8b\x01x";
	struct app_world w;
	(void)state;
	app_world_open(&w, 80, set);
	w.keep_txs = true;
	w.flow.app_expected = GATE_APP_WEBSOCKET;
	app_world_feed(&w, GATE_TO_CLIENT, frames, sizeof(frames) - 1, false);
	BH_FREE char *cut = app_world_buffer(&w, 0, GATE_TO_CLIENT, GATE_BUF_WEBSOCKET_PAYLOAD, 0);
	BH_FREE char *next = app_world_buffer(&w, 1, GATE_TO_CLIENT, GATE_BUF_WEBSOCKET_PAYLOAD, 0);
	BH_FREE char *record = app_world_record(&w, 2);
	assert_string_equal(cut, "SECR");
	assert_string_equal(next, "OK");
	assert_true(app_world_has_event(&w, 0, "skip_end_of_payload"));
	assert_string_equal(record, "{\"fin\":true,\"opcode\":\"unknown-11\"}");
	app_world_close(&w);
}

/* ---- logins ---- */

static char *records_of(const char *name, enum gate_app app, uint16_t port)
{
	struct app_world w;
	size_t size = 0;
	BH_FREE uint8_t *data = load(name, &size);
	app_world_open(&w, port, NULL);
	w.keep_txs = true;
	feed(&w, data, size, 0, size);
	assert_int_equal(w.flow.app, app);
	char *json = records(&w);
	app_world_close(&w);
	return json;
}

static void logins(void **state)
{
	(void)state;
	BH_FREE char *pg = records_of("gate_pgsql/login", GATE_APP_PGSQL, 5432);
	assert_non_null(strstr(pg, "\"user\": \"alice\""));
	assert_non_null(strstr(pg, "\"database\": \"shop\""));
	assert_non_null(strstr(pg, "\"login\": \"success\""));
	assert_non_null(strstr(pg, "SCRAM-SHA-256"));
	assert_non_null(strstr(pg, "\"data_rows\": 2"));
	assert_null(strstr(pg, "zzz"));
	BH_FREE char *refused = records_of("gate_pgsql/refused", GATE_APP_PGSQL, 5432);
	assert_non_null(strstr(refused, "\"login\": \"failure\""));
	assert_non_null(strstr(refused, "28P01"));
	BH_FREE char *my = records_of("gate_mysql/login", GATE_APP_MYSQL, 3306);
	assert_non_null(strstr(my, "\"user\": \"admin\""));
	assert_non_null(strstr(my, "\"login\": \"success\""));
	assert_non_null(strstr(my, "select @@version_comment"));
}

/* ---- DCERPC over UDP ---- */

static void dcerpc_udp(void **state)
{
	struct app_world w;
	size_t size = 0;
	BH_FREE uint8_t *data = load("gate_dcerpc/udp", &size);
	(void)state;
	app_world_open(&w, 34964, NULL);
	w.keep_txs = true;
	w.flow.ip_proto = IPPROTO_UDP;
	uint8_t *request = data + 3;
	app_world_datagram(&w, GATE_TO_SERVER, request, size - 3);
	request[1] = 2; /* the same as its answer */
	app_world_datagram(&w, GATE_TO_CLIENT, request, size - 3);
	assert_int_equal(w.flow.app, GATE_APP_DCERPC);
	BH_FREE char *json = records(&w);
	assert_non_null(strstr(json, "\"rpc_version\": \"4.0\""));
	assert_non_null(strstr(json, "\"response\": \"RESPONSE\""));
	app_world_close(&w);
}

/* A call's interface must be bound, accepted and of a first fragment. */
static void dcerpc_ifaces(void **state)
{
	static const uint8_t netlogon[16] = {0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0xab, 0xcd,
					     0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0xcf, 0xfb};
	struct app_world w;
	size_t size = 0;
	unsigned int calls = 0;
	BH_FREE uint8_t *data = load("gate_dcerpc/iface_many", &size);
	(void)state;
	app_world_open(&w, 49672, NULL);
	w.keep_txs = true;
	feed(&w, data + 1, size - 1, 0, size);
	for (struct gate_tx *tx = gate_session_first(w.flow.session); tx; tx = tx->next) {
		const struct gate_dcerpc_iface *f = gate_dcerpc_iface(tx, GATE_APP_DCERPC, 0);
		uint16_t opnum = 0;
		if (!f) {
			continue;
		}
		assert_memory_equal(f->uuid, netlogon, 16);
		assert_true(f->first_frag);
		assert_true(gate_dcerpc_opnum(tx, GATE_APP_DCERPC, &opnum));
		assert_true(opnum == 4 || opnum == 15);
		calls++;
	}
	assert_int_equal(calls, 6);
	app_world_close(&w);
	BH_FREE uint8_t *half = load("gate_dcerpc/no_frag_flag", &size);
	app_world_open(&w, 135, NULL);
	w.keep_txs = true;
	feed(&w, half + 1, size - 1, 0, size);
	const struct gate_tx *call = gate_session_last(w.flow.session);
	assert_non_null(gate_dcerpc_iface(call, GATE_APP_DCERPC, 0));
	assert_false(gate_dcerpc_iface(call, GATE_APP_DCERPC, 0)->first_frag);
	app_world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),	   cmocka_unit_test(truncations),
		cmocka_unit_test(smtp_message),	   cmocka_unit_test(smtp_bdat),
		cmocka_unit_test(smtp_events),	   cmocka_unit_test(smtp_tls),
		cmocka_unit_test(ftp_commands),	   cmocka_unit_test(ftp_long),
		cmocka_unit_test(ftp_data),	   cmocka_unit_test(websocket_frames),
		cmocka_unit_test(websocket_limit), cmocka_unit_test(logins),
		cmocka_unit_test(dcerpc_udp),	   cmocka_unit_test(dcerpc_ifaces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
