/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, replies and who may do what, against a real nats-server. */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lab lab;

static const char *const two_hosts[] = {"h1", "h2"};

static int setup(void **state)
{
	lab_init(&lab);
	lab_server_start(&lab, two_hosts, 2);
	return 0;
}

static int teardown(void **state)
{
	lab_done(&lab);
	return 0;
}

/* ---- request and reply ---- */
struct answer {
	unsigned int count;
	int err;
	char code[32];
	char text[256];
	char host[64];
	size_t size;
};

static bool answered(void *arg)
{
	const struct answer *a = arg;

	return a->count > 0;
}

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct answer *a = arg;

	a->count++;
	a->err = err;
	snprintf(a->code, sizeof(a->code), "%s", bh_bus_reply_code(err, reply));
	snprintf(a->text, sizeof(a->text), "%s", bh_bus_reply_text(err, reply));
	if (reply) {
		a->size = reply->size;
		snprintf(a->host, sizeof(a->host), "%s", bh_json_str_or(reply->json, "host", ""));
	}
}

static void ask(struct bh_bus *bus, const char *subject, const char *op, uint64_t timeout_ms,
		struct answer *a)
{
	struct bh_bus_msg msg = {.json = json_pack("{s:s}", "op", op)};

	memset(a, 0, sizeof(*a));
	bh_bus_request(bus, subject, &msg, timeout_ms, on_answer, a);
	json_decref(msg.json);
	assert_int_equal(a->count, 0); /* never before it returned */
	assert_true(lab_until(&lab, answered, a));
	assert_int_equal(a->count, 1);
}

struct served {
	unsigned int count;
	char last_subject[BH_SUBJECT_SIZE];
	size_t last_size;
	uint8_t last_byte;
	struct bh_bus_request *held;
};

static void serve(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	struct served *served = arg;
	const char *op = bh_json_str_or(msg->json, "op", "");

	served->count++;
	served->last_size = msg->size;
	served->last_byte = msg->size ? ((const uint8_t *)msg->bytes)[msg->size - 1] : 0;
	snprintf(served->last_subject, sizeof(served->last_subject), "%s",
		 bh_bus_request_subject(req));
	if (!strcmp(op, "refuse")) {
		bh_bus_reply_error(req, "no", "not %s", "today");
	} else if (!strcmp(op, "echo")) {
		bh_bus_reply_bytes(req, NULL, msg->bytes, msg->size);
	} else if (!strcmp(op, "hold")) {
		served->held = req;
	} else {
		bh_bus_reply(req, json_pack("{s:s}", "host", bh_bus_request_host(req)));
	}
}

static void test_request_reply(void **state)
{
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct served served = {};
	struct served at_host = {};
	struct answer a;
	uint8_t bytes[512 * 1024];
	struct bh_bus_msg big = {.bytes = bytes, .size = sizeof(bytes)};

	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &served);
	bh_bus_serve(h1, "bh.host.h1.cmd", BH_SUBJECT_MANAGER_INBOX ".", serve, &at_host);
	lab_settle(&lab, 100);
	ask(h1, "bh.host.h1.req", "hello", 5000, &a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.host, "h1");
	ask(h1, "bh.host.h1.req", "refuse", 5000, &a);
	assert_int_equal(a.err, BH_BUS_REFUSED);
	assert_string_equal(a.code, "no");
	assert_string_equal(a.text, "not today");

	/* the other way, with half a megabyte behind the JSON */
	memset(bytes, 0x5a, sizeof(bytes));
	big.json = json_pack("{s:s}", "op", "apply");
	memset(&a, 0, sizeof(a));
	bh_bus_request(manager, "bh.host.h1.cmd", &big, 5000, on_answer, &a);
	json_decref(big.json);
	assert_true(lab_until(&lab, answered, &a));
	assert_int_equal(a.err, 0);
	assert_int_equal(at_host.last_size, sizeof(bytes));
	assert_int_equal(at_host.last_byte, 0x5a);

	/* and bytes in the answer */
	big.json = json_pack("{s:s}", "op", "echo");
	memset(&a, 0, sizeof(a));
	bh_bus_request(manager, "bh.host.h1.cmd", &big, 5000, on_answer, &a);
	json_decref(big.json);
	assert_true(lab_until(&lab, answered, &a));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.size, sizeof(bytes));

	/* nobody serves h2 */
	ask(manager, "bh.host.h2.cmd", "ping", 5000, &a);
	assert_int_equal(a.err, -EHOSTUNREACH);
	/* no answer in time, then a late one that nobody minds */
	ask(h1, "bh.host.h1.req", "hold", 100, &a);
	assert_int_equal(a.err, -ETIMEDOUT);
	bh_bus_reply(served.held, NULL);
	lab_settle(&lab, 50);
	bh_bus_free(h1);
	bh_bus_free(manager);
}

static void test_free_with_requests(void **state)
{
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus_msg msg = {.json = json_pack("{s:s}", "op", "hold")};
	struct served served = {};
	struct answer a = {};

	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &served);
	lab_settle(&lab, 100);
	bh_bus_request(h1, "bh.host.h1.req", &msg, 5000, on_answer, &a);
	json_decref(msg.json);
	lab_settle(&lab, 100);
	assert_int_equal(served.count, 1);
	bh_bus_free(h1);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.err, -ECANCELED);
	bh_bus_free(manager);
	bh_bus_reply(served.held, NULL); /* the bus is gone: no harm */
}

/* ---- isolation ---- */
struct heard {
	unsigned int count;
	char last[BH_SUBJECT_SIZE];
};

static void on_raw(const struct bh_bus_raw *msg, void *arg)
{
	struct heard *heard = arg;

	heard->count++;
	snprintf(heard->last, sizeof(heard->last), "%s", msg->subject);
}

static void publish(struct bh_bus *bus, const char *subject, const char *reply, const char *text)
{
	struct bh_bus_raw msg = {
		.subject = subject, .reply = reply, .data = text, .size = strlen(text)};

	assert_int_equal(bh_bus_publish(bus, &msg), 0);
}

/* h1 listens to everything it can think of; h2 and the manager talk; h1 must hear nothing. */
static void test_host_hears_nothing(void **state)
{
	static const char *const tries[] = {
		">",
		"*",
		"bh.>",
		"bh.*.*.*",
		"bh.host.*.cmd",
		"bh.host.*.req",
		"bh.host.h2.cmd",
		"bh.host.h2.req",
		"bh.host.h2.>",
		"bh.peer.>",
		"bh.peer.*.*",
		"bh.peer.*.h1",
		"bh.peer.h2.*",
		"bh.peer.h2.h1",
		"bh.peer.h2.h3",
		"bh.ev.>",
		"bh.ev.h2",
		"bh.ev.h1",
		"_INBOX.>",
		"_INBOX.*.>",
		"_INBOX.host.>",
		"_INBOX.host.*.>",
		"_INBOX.host.h2.>",
		"_INBOX.manager.>",
		"$JS.API.>",
		"$JS.>",
		"$JS.EVENT.>",
		"$SYS.>",
		"$JS.ACK.>",
		"_R_.>",
		"$KV.>",
		"bh.host.h1.req",
	};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus *h2 = lab_client_up(&lab, "host.h2");
	struct heard heard = {};
	struct served at_manager = {};
	struct served at_h2 = {};
	struct answer a;

	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &at_manager);
	bh_bus_serve(h2, "bh.host.h2.cmd", BH_SUBJECT_MANAGER_INBOX ".", serve, &at_h2);
	for (size_t i = 0; i < BH_ARRAY_SIZE(tries); i++) {
		bh_bus_subscribe(h1, tries[i], on_raw, &heard);
	}
	lab_settle(&lab, 200);
	ask(h2, "bh.host.h2.req", "hello", 5000, &a);
	assert_int_equal(a.err, 0);
	ask(manager, "bh.host.h2.cmd", "ping", 5000, &a);
	assert_int_equal(a.err, 0);
	publish(h2, "bh.ev.h2", NULL, "{}");
	publish(h2, "bh.peer.h3.h2", NULL, "{}");
	publish(manager, "$JS.API.INFO", "_INBOX.manager.x", "");
	ask(h1, "bh.host.h1.req", "hello", 5000, &a); /* and itself is still served */
	assert_int_equal(a.err, 0);
	lab_settle(&lab, 200);
	if (heard.count) {
		fail_msg("h1 heard %u messages, the last one on %s", heard.count, heard.last);
	}
	assert_true(bh_counter_get("bus_errors") >= BH_ARRAY_SIZE(tries));
	bh_bus_free(h1);
	bh_bus_free(h2);
	bh_bus_free(manager);
}

/* h1 publishes everywhere; whoever listens must hear nothing of it. */
static void test_host_says_nothing(void **state)
{
	static const char *const tries[] = {
		"bh.host.h2.cmd",
		"bh.host.h2.req",
		"bh.ev.h2",
		"bh.ev.manager",
		"bh.ev.h1.x",
		"bh.host.h1.cmd",
		"bh.host.h1.req.x",
		"bh.peer.h2.h3",
		"bh.peer.h2.h2",
		"bh.peer.h2.manager",
		"bh.peer.h2",
		"bh.peer.h2.h1.x",
		"bh.peer.h1.h2",
		"_INBOX.host.h2.x",
		"_INBOX.manager.x",
		"_INBOX.host.h1.x",
		"x",
		"bh.x",
	};
	static const char *const api_tries[] = {
		"$JS.API.INFO",
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.CREATE.X",
		"$JS.API.STREAM.DELETE.BH_EVENTS",
		"$JS.API.STREAM.PURGE.BH_EVENTS",
		"$JS.API.CONSUMER.DELETE.BH_EVENTS.manager",
		"$JS.API.CONSUMER.MSG.NEXT.BH_EVENTS.manager",
		"$JS.API.STREAM.MSG.GET.BH_EVENTS",
		"$JS.ACK.BH_EVENTS.manager.1.1.1.1.1",
		"$SYS.REQ.SERVER.PING",
	};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus *h2 = lab_client_up(&lab, "host.h2");
	struct heard heard = {};
	struct answer a;

	bh_bus_subscribe(manager, "bh.>", on_raw, &heard);
	bh_bus_subscribe(manager, "_INBOX.manager.x", on_raw, &heard);
	bh_bus_subscribe(h2, "bh.host.h2.cmd", on_raw, &heard);
	bh_bus_subscribe(h2, "_INBOX.host.h2.x", on_raw, &heard);
	bh_bus_subscribe(h2, "bh.peer.h2.*", on_raw, &heard);
	lab_settle(&lab, 100);
	for (size_t i = 0; i < BH_ARRAY_SIZE(tries); i++) {
		publish(h1, tries[i], NULL, "{\"op\":\"evil\"}");
	}
	lab_settle(&lab, 200);
	if (heard.count) {
		fail_msg("%u messages of h1 came through, the last one on %s", heard.count,
			 heard.last);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(api_tries); i++) {
		ask(h1, api_tries[i], "x", 150, &a);
		assert_int_equal(a.err, -ETIMEDOUT);
	}
	publish(h1, "bh.ev.h1", NULL, "{}");
	lab_settle(&lab, 100);
	assert_int_equal(heard.count, 1); /* what it may say is heard */
	bh_bus_free(h1);
	bh_bus_free(h2);
	bh_bus_free(manager);
}

/* A request that names another host's command subject for its reply must not make the manager speak
 * there. */
static void test_foreign_reply_subject(void **state)
{
	static const char *const replies[] = {
		"bh.host.h2.cmd",	"bh.host.h1.cmd", "_INBOX.host.h2.x",
		"$JS.API.STREAM.NAMES", "_INBOX.host.h1",
	};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus *h2 = lab_client_up(&lab, "host.h2");
	uint64_t before = bh_counter_get("bus_foreign_replies");
	struct served served = {};
	struct heard heard = {};

	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &served);
	bh_bus_subscribe(h2, "bh.host.h2.cmd", on_raw, &heard);
	bh_bus_subscribe(h2, "_INBOX.host.h2.x", on_raw, &heard);
	lab_settle(&lab, 100);
	for (size_t i = 0; i < BH_ARRAY_SIZE(replies); i++) {
		publish(h1, "bh.host.h1.req", replies[i], "{\"op\":\"hello\"}");
	}
	publish(h1, "bh.host.h1.req", NULL, "{\"op\":\"hello\"}");
	lab_settle(&lab, 200);
	assert_int_equal(served.count, 0);
	assert_int_equal(heard.count, 0);
	assert_int_equal(bh_counter_get("bus_foreign_replies") - before,
			 BH_ARRAY_SIZE(replies) + 1);
	bh_bus_free(h1);
	bh_bus_free(h2);
	bh_bus_free(manager);
}

/* ---- peers ---- */
static void serve_peers(struct bh_bus *bus, const char *name, struct served *served)
{
	char subject[BH_SUBJECT_SIZE];

	bh_bus_serve(bus, bh_subject_peers(name, subject), BH_SUBJECT_PEER_REPLY, serve, served);
}

/* Hosts talk to each other; who asks is who the bus says, and only he gets the answer. */
static void test_peers(void **state)
{
	static const char *const replies[] = {
		"bh.host.h1.cmd",   "bh.peer.h1.h2",	 "bh.peer.h2.h1", "_INBOX.host.h2.x",
		"_INBOX.manager.x", "$JS.API.INFO",	 "bh.ev.h2",	  "_INBOX.host.a.b.x",
		"_INBOX.host.h1",   "_INBOX.host.h1_x.",
	};
	static const char *const hosts[] = {"h1", "h2", "a", "a.b"};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus *h2 = lab_client_up(&lab, "host.h2");
	struct bh_bus *ab;
	struct served at_h2 = {};
	struct served at_ab = {};
	struct heard heard = {};
	struct answer a;
	char subject[BH_SUBJECT_SIZE];
	uint64_t before;

	assert_int_equal(bh_bus_server_set_hosts(lab.server, hosts, 4, NULL), 0);
	ab = lab_client_up(&lab, "host.a.b");
	assert_true(lab_until(&lab, lab_is_up, h1));
	assert_true(lab_until(&lab, lab_is_up, h2));
	serve_peers(h2, "h2", &at_h2);
	serve_peers(ab, "a.b", &at_ab);
	bh_bus_subscribe(manager, "_INBOX.manager.x", on_raw, &heard);
	bh_bus_subscribe(manager, "bh.host.*.cmd", on_raw, &heard);
	bh_bus_subscribe(manager, "bh.ev.h2", on_raw, &heard);
	bh_bus_subscribe(h2, "_INBOX.host.h2.x", on_raw, &heard);
	lab_settle(&lab, 300);
	ask(h1, bh_subject_peer("h2", "h1", subject), "start", 5000, &a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.host, "h1");
	ask(h2, bh_subject_peer("a.b", "h2", subject), "start", 5000, &a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.host, "h2");
	ask(ab, bh_subject_peer("h2", "a.b", subject), "start", 5000, &a);
	assert_int_equal(a.err, 0);
	assert_string_equal(a.host, "a.b");
	assert_int_equal(at_h2.count, 2);
	/* nobody serves a's, and nobody but a may */
	bh_bus_subscribe(ab, "bh.peer.a.*", on_raw, &heard);
	lab_settle(&lab, 100);
	ask(h1, "bh.peer.a.h1", "start", 5000, &a);
	assert_int_equal(a.err, -EHOSTUNREACH);
	/* as somebody else: the server does not pass it on */
	ask(h1, "bh.peer.h2.a_b", "start", 200, &a);
	assert_int_equal(a.err, -ETIMEDOUT);
	assert_int_equal(at_h2.count, 2);
	/* an answer wanted elsewhere is not given */
	before = bh_counter_get("bus_foreign_replies");
	for (size_t i = 0; i < BH_ARRAY_SIZE(replies); i++) {
		publish(h1, "bh.peer.h2.h1", replies[i], "{\"op\":\"start\"}");
	}
	lab_settle(&lab, 200);
	assert_int_equal(at_h2.count, 2);
	assert_int_equal(heard.count, 0);
	assert_int_equal(bh_counter_get("bus_foreign_replies") - before, BH_ARRAY_SIZE(replies));
	bh_bus_free(ab);
	bh_bus_free(h1);
	bh_bus_free(h2);
	bh_bus_free(manager);
	assert_int_equal(bh_bus_server_set_hosts(lab.server, two_hosts, 2, NULL), 0);
}

static void test_subject_names(void **state)
{
	static const struct {
		const char *subject, *name;
	} cases[] = {
		{"bh.peer.h2.h1", "h1"},    {"bh.peer.h2.a_b", "a.b"},	  {"bh.peer.a_b.h1", "h1"},
		{"bh.host.a_b.cmd", "a.b"}, {"bh.host.h1.req", "h1"},	  {"bh.ev.a_b", "a.b"},
		{"bh.peer.h2.", NULL},	    {"bh.peer.h2", NULL},	  {"bh.peer..h1", NULL},
		{"bh.peer.h2.h1.x", NULL},  {"bh.peer.h2.H1", NULL},	  {"bh.peer.h2.*", NULL},
		{"bh.host.h1.req.x", NULL}, {"bh.host.h1", NULL},	  {"bh.ev.h1.x", NULL},
		{"bh.ev.", NULL},	    {"_INBOX.host.h1.1.2", NULL}, {"", NULL},
	};
	char longest[BH_NAME_MAX + 1];
	char subject[BH_SUBJECT_SIZE];
	char name[BH_NAME_MAX + 1];

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		int r = bh_subject_name(cases[i].subject, name, sizeof(name));

		assert_int_equal(r, cases[i].name ? 0 : -EINVAL);
		if (!r) {
			assert_string_equal(name, cases[i].name);
		}
	}
	memset(longest, 'a', BH_NAME_MAX);
	longest[BH_NAME_MAX] = '\0';
	bh_subject_peer(longest, longest, subject);
	assert_int_equal(strlen(subject), 8 + BH_NAME_MAX + 1 + BH_NAME_MAX);
	assert_int_equal(bh_subject_name(subject, name, sizeof(name)), 0);
	assert_string_equal(name, longest);
}

/* Names with dots: "a" must not reach what belongs to "a.b". */
static void test_dotted_names(void **state)
{
	static const char *const hosts[] = {"h1", "h2", "a", "a.b"};
	struct bh_diag diag = {};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *a;
	struct bh_bus *ab;
	struct served served = {};
	struct heard heard = {};
	struct answer answer;

	assert_int_equal(bh_bus_server_set_hosts(lab.server, hosts, 4, &diag), 0);
	a = lab_client_up(&lab, "host.a");
	ab = lab_client_up(&lab, "host.a.b");
	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &served);
	bh_bus_subscribe(a, "_INBOX.host.a.>", on_raw, &heard);
	bh_bus_subscribe(a, "_INBOX.host.a_b.>", on_raw, &heard);
	lab_settle(&lab, 200);
	ask(ab, "bh.host.a_b.req", "hello", 5000, &answer);
	assert_int_equal(answer.err, 0);
	assert_string_equal(answer.host, "a.b");
	assert_int_equal(heard.count, 0);
	bh_bus_free(a);
	bh_bus_free(ab);
	bh_bus_free(manager);
}

/* ---- who may connect ---- */
static bool has_error(void *bus)
{
	return *bh_bus_last_error(bus) != '\0';
}

static void test_reload_keeps_connections(void **state)
{
	static const char *const three[] = {"h1", "h2", "h3"};
	static const char *const without_h1[] = {"h2", "h3"};
	struct bh_bus *manager = lab_client_up(&lab, "manager");
	struct bh_bus *h1 = lab_client_up(&lab, "host.h1");
	struct bh_bus *h3;
	struct served served = {};
	struct bh_diag diag = {};
	struct answer a;
	uint64_t lost;

	assert_int_equal(bh_bus_server_set_hosts(lab.server, two_hosts, 2, &diag), 0);
	lab_settle(&lab, 300);
	assert_true(lab_until(&lab, lab_is_up, manager));
	assert_true(lab_until(&lab, lab_is_up, h1));
	lost = bh_counter_get("bus_disconnects");
	bh_bus_serve(manager, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, serve, &served);
	h3 = lab_client(&lab, "host.h3");
	assert_true(lab_until(&lab, has_error, h3));
	assert_false(bh_bus_up(h3));
	assert_int_equal(bh_bus_server_set_hosts(lab.server, three, 3, &diag), 0);
	assert_true(lab_until(&lab, lab_is_up, h3));
	ask(h3, "bh.host.h3.req", "hello", 5000, &a);
	assert_int_equal(a.err, 0);
	ask(h1, "bh.host.h1.req", "hello", 5000, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(bh_counter_get("bus_disconnects"), lost);

	/* taken off the list: cut off, and stays out */
	assert_int_equal(bh_bus_server_set_hosts(lab.server, without_h1, 2, &diag), 0);
	assert_true(lab_until(&lab, lab_is_down, h1));
	lab_settle(&lab, 800);
	assert_false(bh_bus_up(h1));
	assert_true(bh_bus_up(h3));
	assert_true(bh_bus_up(manager));
	bh_bus_free(h1);
	bh_bus_free(h3);
	bh_bus_free(manager);
	assert_int_equal(bh_bus_server_set_hosts(lab.server, two_hosts, 2, &diag), 0);
}

static void test_bad_hosts_refused(void **state)
{
	static const char *const bad[][1] = {{"manager"}, {"a\"b"}, {"*"}, {">"}, {"A"}, {""}};
	struct bh_diag diag;

	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(bh_bus_server_set_hosts(lab.server, bad[i], 1, &diag), -EINVAL);
	}
}

/* Certificates of another CA, and a host's own certificate used as a server. */
static void test_foreign_ca(void **state)
{
	BH_FREE char *dir = bh_asprintf("%s/other", lab.dir);
	BH_FREE char *our_ca = bh_asprintf("%s/ca.crt", lab.pki);
	BH_FREE char *cert = bh_asprintf("%s/manager.crt", dir);
	BH_FREE char *key = bh_asprintf("%s/manager.key", dir);
	BH_FREE char *url = bh_asprintf("tls://%s", lab.listen);
	struct bh_pki_subject subject = {.name = "manager", .usage = BH_PKI_CLIENT};
	struct bh_bus_options options = {.urls = url,
					 .name = "manager",
					 .inbox = BH_SUBJECT_MANAGER_INBOX,
					 .ca_file = our_ca,
					 .cert_file = cert,
					 .key_file = key};
	struct bh_pki_ca *other;
	struct bh_bus *bus;
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_ca_open(dir, &other, &diag), 0);
	assert_int_equal(bh_pki_ensure(other, dir, "manager", &subject, NULL, &diag), 0);
	assert_int_equal(bh_bus_new(&lab.loop, &options, &bus, &diag), 0);
	assert_true(lab_until(&lab, has_error, bus));
	assert_false(bh_bus_up(bus));
	bh_bus_free(bus);
	/* our own certificate, but the server must be called something else */
	free(cert);
	free(key);
	cert = bh_asprintf("%s/manager.crt", lab.pki);
	key = bh_asprintf("%s/manager.key", lab.pki);
	options.cert_file = cert;
	options.key_file = key;
	options.server_name = "bus.elsewhere";
	assert_int_equal(bh_bus_new(&lab.loop, &options, &bus, &diag), 0);
	assert_true(lab_until(&lab, has_error, bus));
	assert_false(bh_bus_up(bus));
	bh_bus_free(bus);
	bh_pki_ca_free(other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_reply),
		cmocka_unit_test(test_free_with_requests),
		cmocka_unit_test(test_host_hears_nothing),
		cmocka_unit_test(test_host_says_nothing),
		cmocka_unit_test(test_foreign_reply_subject),
		cmocka_unit_test(test_dotted_names),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_subject_names),
		cmocka_unit_test(test_reload_keeps_connections),
		cmocka_unit_test(test_bad_hosts_refused),
		cmocka_unit_test(test_foreign_ca),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
