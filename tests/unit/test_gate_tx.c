/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detect as a whole, on packets that are made here: what becomes of rules that match (actions),
 * rules on the bytes of streams, rules on transactions. Records are read back as they are written.
 */
#include "base/util.h"
#include "gate/engine.h"
#include "gate/rules/read.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- a connection as a capture ---- */

struct talk {
	uint8_t capture[1 << 18];
	size_t size;
	uint32_t seq[2], packets;
	uint16_t ports[2];
};

/* One segment with its headers, in a record of a pcap file. */
static void segment(struct talk *t, int side, uint8_t flags, const char *data, size_t size)
{
	uint8_t *at = t->capture + t->size;
	uint32_t head[4] = {1700000000 + t->packets / 100, t->packets % 100 * 10000,
			    (uint32_t)(54 + size), (uint32_t)(54 + size)};

	assert_true(t->size + 16 + 54 + size < sizeof(t->capture));
	memset(at, 0, 16 + 54);
	memcpy(at, head, sizeof(head));
	at += 16;
	at[12] = 8;
	at += 14;
	at[0] = 0x45;
	gate_put16(at + 2, (uint32_t)(40 + size));
	at[8] = 64;
	at[9] = 6;
	memcpy(at + 12, (uint8_t[]){10, 0, 0, (uint8_t)(side ? 2 : 1)}, 4);
	memcpy(at + 16, (uint8_t[]){10, 0, 0, (uint8_t)(side ? 1 : 2)}, 4);
	at += 20;
	gate_put16(at, t->ports[side]);
	gate_put16(at + 2, t->ports[1 - side]);
	gate_put32(at + 4, t->seq[side]);
	gate_put32(at + 8, flags & 0x10 ? t->seq[1 - side] : 0);
	at[12] = 0x50;
	at[13] = flags;
	gate_put16(at + 14, 0xffff);
	memcpy(at + 20, data, size);
	t->size += 16 + 54 + size;
	t->seq[side] += (uint32_t)size + (flags & 3 ? 1 : 0);
	t->packets++;
}

static struct talk *talk_new(uint16_t port)
{
	static const uint32_t head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
	struct talk *t = bh_alloc(sizeof(*t));

	memcpy(t->capture, head, sizeof(head));
	t->size = sizeof(head);
	t->ports[0] = 40000;
	t->ports[1] = port;
	t->seq[0] = 1000;
	t->seq[1] = 9000;
	segment(t, 0, 0x02, "", 0);
	segment(t, 1, 0x12, "", 0);
	segment(t, 0, 0x10, "", 0);
	return t;
}

/* Sent and acknowledged. */
static void say(struct talk *t, int side, const char *text)
{
	segment(t, side, 0x18, text, strlen(text));
	segment(t, 1 - side, 0x10, "", 0);
}

static void fill(struct talk *t, int side, size_t size)
{
	BH_FREE char *text = bh_alloc(size + 1);

	memset(text, '.', size);
	for (size_t at = 0; at < size; at += 1000) {
		size_t part = size - at < 1000 ? size - at : 1000;

		segment(t, side, 0x18, text + at, part);
		segment(t, 1 - side, 0x10, "", 0);
	}
}

static void finish(struct talk *t)
{
	for (int side = 0; side < 2; side++) {
		segment(t, side, 0x11, "", 0);
		segment(t, 1 - side, 0x10, "", 0);
	}
}

/* ---- what comes of it ---- */

struct seen {
	char order[256]; /* sids of alerts, "3 1 1" */
	unsigned int alerts[32], drops;
	json_t *last; /* the last alert */
	struct gate_stats stats;
	struct gate_out_sink sink;
};

static void take(struct seen *seen, json_t *record)
{
	const char *kind = json_string_value(json_object_get(record, "event_type"));

	if (!strcmp(kind, "alert")) {
		json_t *alert = json_object_get(record, "alert");
		unsigned int sid =
			(unsigned int)json_integer_value(json_object_get(alert, "signature_id"));
		size_t len = strlen(seen->order);

		assert_true(sid < BH_ARRAY_SIZE(seen->alerts));
		seen->alerts[sid]++;
		snprintf(seen->order + len, sizeof(seen->order) - len, "%s%u", len ? " " : "", sid);
		json_decref(seen->last);
		seen->last = json_incref(record);
	}
	seen->drops += !strcmp(kind, "drop");
}

static int sink_write(struct gate_out_sink *sink, const char *lines, size_t size)
{
	struct seen *seen = BH_CONTAINER_OF(sink, struct seen, sink);

	for (size_t at = 0; at < size;) {
		const char *end = memchr(lines + at, '\n', size - at);
		size_t len = (size_t)(end - lines) - at;
		json_t *record = json_loadb(lines + at, len, 0, NULL);

		assert_non_null(record);
		take(seen, record);
		json_decref(record);
		at += len + 1;
	}
	return 0;
}

static void sink_nothing(struct gate_out_sink *sink)
{
}

static void seen_done(struct seen *seen)
{
	json_decref(seen->last);
}

static void walk(struct gate_engine *engine, const struct talk *t, struct seen *seen)
{
	struct gate_source *source = NULL;
	struct gate_packet p = {};
	struct gate_worker *w = gate_worker_new(
		&(struct gate_worker_options){.config = engine->config,
					      .shared = engine->shared,
					      .out = engine->out,
					      .names = engine->names,
					      .verdict.inline_mode = engine->config->simulate_ips});

	assert_int_equal(gate_source_memory("t", t->capture, t->size, &source, NULL), 0);
	gate_worker_use(w, engine->sets);
	while (source->ops->next(source, &p, 0, NULL) > 0) {
		gate_worker_packet(w, &p);
	}
	gate_worker_finish(w, GATE_FLOW_END_SHUTDOWN);
	gate_worker_stats(w, &seen->stats);
	gate_worker_free(w);
	source->ops->free(source);
}

/* Takes over the talk. settings: "a=b c=d", NULL none. */
static void run(const char *rules, struct talk *t, bool ips, const char *settings, struct seen *ret)
{
	const struct gate_view text = {(const uint8_t *)rules, (uint32_t)strlen(rules)};
	struct gate_rule_files *files = gate_rules_new();
	BH_FREE char *words = bh_strdup(settings ? settings : "");
	struct gate_rule_set *set = NULL;
	struct gate_config config;
	struct gate_engine engine;
	struct bh_diag diag = {};
	char *rest = NULL;

	memset(ret, 0, sizeof(*ret));
	ret->sink = (struct gate_out_sink){
		.write = sink_write, .reopen = sink_nothing, .free = sink_nothing};
	assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		assert_int_equal(gate_config_set(&config, word, NULL), 0);
	}
	config.check_checksums = false;
	config.simulate_ips = ips;
	gate_config_settle(&config);
	gate_engine_init(&engine, &config, NULL, 0, true);
	assert_int_equal(gate_rules_read_text(files, &config, engine.names, "t", text, NULL), 0);
	bh_vec_foreach (refusal, &files->refusals) {
		fail_msg("%s", refusal->reason);
	}
	assert_int_equal(gate_rule_set_new(files, &config, engine.shared, &set, &diag), 0);
	assert_int_equal(gate_rule_sets_new(&set, 1, &engine.sets, &diag), 0);
	engine.out = gate_out_new(&config, &ret->sink);
	gate_out_patient(engine.out);
	walk(&engine, t, ret);
	gate_engine_done(&engine);
	gate_config_done(&config);
	free(t);
}

static uint64_t stat_of(const struct seen *seen, enum gate_stat stat)
{
	return seen->stats.value[stat];
}

#define ANY_TCP	    " tcp any any -> any any ("
#define PACKETS	    "flow:to_server,no_stream; "
#define TO_SERVER   "flow:established,to_server; "
#define NO_STREAM   "flow:established,to_server,no_stream; "
#define ONLY_STREAM "flow:established,to_server,only_stream; "

/* ---- actions ---- */

static struct talk *shouts(unsigned int count)
{
	struct talk *t = talk_new(4444);

	for (unsigned int i = 0; i < count; i++) {
		say(t, 0, "SHOUT");
	}
	finish(t);
	return t;
}

static void test_order(void **state)
{
	static const char rules[] = "alert" ANY_TCP PACKETS "content:\"SHOUT\"; sid:1;)\n"
				    "reject" ANY_TCP PACKETS "content:\"SHOUT\"; sid:2;)\n"
				    "drop" ANY_TCP PACKETS "content:\"SHOUT\"; sid:3;)\n"
				    "alert" ANY_TCP PACKETS "content:\"SHOUT\"; "
				    "priority:1; sid:4;)\n";
	struct seen seen;

	run(rules, shouts(1), true, NULL, &seen);
	assert_string_equal(seen.order, "3 2 4 1");
	assert_int_equal(seen.drops, 1);
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_REJECTED), 1);
	seen_done(&seen);
	run(rules, shouts(1), true, "action-order.0=alert action-order.1=reject", &seen);
	assert_string_equal(seen.order, "4 1 2 3");
	seen_done(&seen);
}

static void test_pass(void **state)
{
	static const char rules[] = "alert" ANY_TCP PACKETS "content:\"SHOUT\"; sid:1;)\n"
				    "pass" ANY_TCP PACKETS "content:\"SHOUT\"; dsize:5; "
				    "sid:2;)\n";
	struct talk *t = shouts(2);
	struct seen seen;

	run(rules, t, false, NULL, &seen);
	assert_string_equal(seen.order, "");
	seen_done(&seen);
	/* a packet's pass is of that packet */
	t = talk_new(4444);
	say(t, 0, "SHOUT");
	say(t, 0, "SHOUT louder");
	run(rules, t, false, NULL, &seen);
	assert_string_equal(seen.order, "1");
	seen_done(&seen);
	/* whoever comes first */
	run(rules, shouts(2), false, "action-order.0=alert action-order.1=pass", &seen);
	assert_string_equal(seen.order, "1 1");
	seen_done(&seen);
	/* found in the stream it takes the flow */
	t = talk_new(4444);
	say(t, 0, "LET ME");
	say(t, 0, "SHOUT");
	run("pass" ANY_TCP TO_SERVER "content:\"LET ME\"; sid:3;)\n"
	    "alert" ANY_TCP TO_SERVER "content:\"SHOUT\"; sid:1;)\n",
	    t, true, NULL, &seen);
	assert_string_equal(seen.order, "");
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_BLOCKED), 0);
	seen_done(&seen);
}

static void test_drop_takes_flow(void **state)
{
	static const char rules[] = "drop" ANY_TCP TO_SERVER "content:\"SHOUT\"; sid:1;)\n"
				    "alert" ANY_TCP TO_SERVER "content:\"after\"; sid:2;)\n";
	struct talk *t = talk_new(4444);
	struct seen seen;

	say(t, 0, "SHOUT");
	say(t, 0, "after");
	say(t, 1, "answer");
	run(rules, t, true, NULL, &seen);
	assert_string_equal(seen.order, "1");
	assert_int_equal(seen.drops, 1); /* the rest is counted */
	/* the segment itself and all that follows, of both sides */
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_BLOCKED), 6);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(seen.last, "alert"), "action")),
		"blocked");
	seen_done(&seen);
}

static void test_noalert(void **state)
{
	struct talk *t = talk_new(4444);
	struct seen seen;

	say(t, 0, "one");
	say(t, 0, "two");
	run("alert" ANY_TCP TO_SERVER "content:\"one\"; flowbits:set,a; noalert; sid:1;)\n"
	    "alert" ANY_TCP TO_SERVER "content:\"one\"; flowbits:set,b; flowbits:noalert; sid:2;)\n"
	    "alert" ANY_TCP TO_SERVER
	    "content:\"two\"; flowbits:isset,a; flowbits:isset,b; sid:3;)\n"
	    "alert" ANY_TCP TO_SERVER "content:\"two\"; flowbits:isset,c; sid:4;)\n",
	    t, false, NULL, &seen);
	assert_string_equal(seen.order, "3");
	seen_done(&seen);
}

/* What is only quiet is dropped all the same; what does not count yet is not. */
static void test_thresholds(void **state)
{
	static const struct {
		const char *words, *order;
		unsigned int dropped;
	} cases[] = {
		{"threshold:type limit, track by_src, count 1, seconds 60;", "1", 5},
		{"threshold:type threshold, track by_src, count 2, seconds 60;", "1 1", 2},
		{"threshold:type both, track by_src, count 2, seconds 60;", "1", 4},
		{"detection_filter:track by_src, count 3, seconds 60;", "1 1", 2},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *rule = bh_asprintf("drop" ANY_TCP PACKETS "content:\"SHOUT\"; "
						 "%s sid:1;)\n",
						 cases[i].words);
		struct seen seen;

		run(rule, shouts(5), true, NULL, &seen);
		if (strcmp(seen.order, cases[i].order) != 0 ||
		    stat_of(&seen, GATE_STAT_IPS_BLOCKED) != cases[i].dropped) {
			fail_msg("%s: alerts %s, %llu dropped", cases[i].words, seen.order,
				 (unsigned long long)stat_of(&seen, GATE_STAT_IPS_BLOCKED));
		}
		seen_done(&seen);
	}
}

static void test_reject_as_sensor(void **state)
{
	struct seen seen;

	run("reject" ANY_TCP PACKETS "content:\"SHOUT\"; sid:1;)\n", shouts(1), false, NULL, &seen);
	assert_string_equal(seen.order, "1");
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_REJECTED), 1);
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_BLOCKED), 0);
	seen_done(&seen);
}

/* ---- streams ---- */

static void test_stream_pieces(void **state)
{
	static const char rules[] =
		"alert" ANY_TCP TO_SERVER "content:\"over segments\"; sid:1;)\n"
		"alert" ANY_TCP "flow:to_client; content:\"over segments\"; sid:2;)\n"
		"alert" ANY_TCP NO_STREAM "content:\"over segments\"; sid:3;)\n"
		"alert" ANY_TCP ONLY_STREAM
		"content:\"over\"; content:\"segments\"; distance:1; within:8; "
		"sid:4;)\n";
	struct talk *t = talk_new(4444);
	struct seen seen;

	say(t, 0, "ov");
	say(t, 0, "er segm");
	say(t, 0, "ents");
	finish(t);
	run(rules, t, false, NULL, &seen);
	assert_int_equal(seen.alerts[1], 1);
	assert_int_equal(seen.alerts[2], 0);
	assert_int_equal(seen.alerts[3], 0);
	assert_int_equal(seen.alerts[4], 1);
	seen_done(&seen);
}

/* Chunk after chunk: what was inspected raises no second alert, what lies over two is found, places
 * count from the beginning of the stream. */
static void test_stream_chunks(void **state)
{
	static const char rules[] =
		"alert" ANY_TCP TO_SERVER "content:\"FIRST\"; sid:1;)\n"
		"alert" ANY_TCP TO_SERVER "content:\"LATER\"; sid:2;)\n"
		"alert" ANY_TCP TO_SERVER "content:\"LATER\"; startswith; sid:3;)\n"
		"alert" ANY_TCP TO_SERVER "content:\"FIRST\"; startswith; sid:4;)\n"
		"alert" ANY_TCP TO_SERVER "content:\"LATER\"; depth:100; sid:5;)\n";
	struct talk *t = talk_new(4444);
	struct seen seen;

	say(t, 0, "FIRST");
	fill(t, 0, 12000);
	say(t, 0, "LAT");
	say(t, 0, "ER");
	fill(t, 0, 12000);
	finish(t);
	run(rules, t, false, NULL, &seen);
	assert_int_equal(seen.alerts[1], 1);
	assert_int_equal(seen.alerts[2], 1);
	assert_int_equal(seen.alerts[3], 0);
	/* what names a place is asked of the segment, and of the stream when that is due */
	assert_int_equal(seen.alerts[4], 2);
	assert_int_equal(seen.alerts[5], 0);
	seen_done(&seen);
}

/* Behind the depth no stream is put together: only what one segment holds would be seen. */
static void test_stream_depth(void **state)
{
	struct talk *t = talk_new(4444);
	struct seen seen;

	say(t, 0, "WIT");
	say(t, 0, "HIN");
	fill(t, 0, 9000);
	say(t, 0, "BEY");
	say(t, 0, "OND");
	finish(t);
	run("alert" ANY_TCP TO_SERVER "content:\"BEYOND\"; sid:1;)\n"
	    "alert" ANY_TCP TO_SERVER "content:\"WITHIN\"; sid:2;)\n",
	    t, false, "stream.reassembly.depth=8kb", &seen);
	assert_string_equal(seen.order, "2");
	assert_int_equal(stat_of(&seen, GATE_STAT_TCP_DEPTH_REACHED), 1);
	seen_done(&seen);
}

/* ---- transactions ---- */

#define ANY_HTTP " http any any -> any any ("
#define HTTP	 "alert" ANY_HTTP

static struct talk *browsing(void)
{
	struct talk *t = talk_new(80);

	say(t, 0,
	    "GET /one HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n"
	    "GET /two HTTP/1.1\r\nHost: b\r\n\r\n");
	say(t, 1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome ev");
	say(t, 1, "il");
	say(t, 1, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
	finish(t);
	return t;
}

static void test_tx(void **state)
{
	struct seen seen;

	run(HTTP "http.uri; content:\"/one\"; sid:1;)\n" HTTP
		 "http.uri; content:\"/one\"; http.host; content:\"b\"; sid:2;)\n" HTTP
		 "http.uri; content:\"/two\"; http.host; content:\"b\"; sid:3;)\n" HTTP
		 "http.method; content:\"GET\"; sid:4;)\n" HTTP
		 "flow:to_client; file.data; content:\"some evil\"; sid:5;)\n" HTTP
		 "flow:to_client; http.stat_code; content:\"404\"; sid:6;)\n" HTTP
		 "http.user_agent; absent; sid:7;)\n" HTTP
		 "flow:to_server; http.uri; content:\"/\"; content:!\"one\"; sid:8;)\n",
	    browsing(), false, NULL, &seen);
	assert_int_equal(seen.alerts[1], 1);
	assert_int_equal(seen.alerts[2], 0); /* not of one transaction */
	assert_int_equal(seen.alerts[3], 1);
	assert_int_equal(seen.alerts[4], 2); /* each by itself */
	assert_int_equal(seen.alerts[5], 1); /* over two segments, once */
	assert_int_equal(seen.alerts[6], 1);
	assert_int_equal(seen.alerts[7], 1);
	assert_int_equal(seen.alerts[8], 1);
	seen_done(&seen);
}

/* Which transaction it was stands in the record. */
static void test_tx_id(void **state)
{
	struct seen seen;

	run(HTTP "http.uri; content:\"/two\"; sid:1;)\n", browsing(), false, NULL, &seen);
	assert_int_equal(json_integer_value(json_object_get(seen.last, "tx_id")), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(seen.last, "http"), "url")),
		"/two");
	seen_done(&seen);
	run(HTTP "flow:to_client; http.stat_code; content:\"200\"; sid:1;)\n", browsing(), false,
	    NULL, &seen);
	assert_int_equal(json_integer_value(json_object_get(seen.last, "tx_id")), 0);
	seen_done(&seen);
}

/* A request that nobody has answered, and one that was never complete. */
static void test_tx_open(void **state)
{
	struct talk *t = talk_new(80);
	struct seen seen;

	say(t, 0, "GET /alone HTTP/1.1\r\nHost: a\r\n\r\n");
	say(t, 0, "POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of ");
	say(t, 0, "a body");
	run(HTTP "http.uri; content:\"/alone\"; sid:1;)\n" HTTP
		 "flow:to_server; http.request_body; content:\"of a\"; sid:2;)\n" HTTP
		 "flow:to_client; http.stat_code; content:\"2\"; sid:3;)\n",
	    t, false, NULL, &seen);
	assert_int_equal(seen.alerts[1], 1);
	assert_int_equal(seen.alerts[2], 1);
	assert_int_equal(seen.alerts[3], 0);
	seen_done(&seen);
}

static void h2(struct talk *t, int side, uint8_t kind, uint8_t stream, const char *data,
	       size_t size)
{
	char frame[64] = {0, 0, (char)size, (char)kind, kind == 1 ? 4 : 0, 0, 0, 0, (char)stream};

	memcpy(frame + 9, data, size);
	segment(t, side, 0x18, frame, 9 + size);
	segment(t, 1 - side, 0x10, "", 0);
}

/* Two streams of HTTP/2 stay open while other packets come by: rules that ask for these too hold
 * as soon as one suits them, and the streams are not looked at for each. */
static void test_tx_without_news(void **state)
{
	struct talk *t = talk_new(80);
	struct seen seen;

	say(t, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	h2(t, 0, 4, 0, "", 0);
	h2(t, 1, 4, 0, "", 0);
	h2(t, 0, 1, 1, "\x82\x84\x86", 3);
	h2(t, 0, 1, 3, "\x82\x84\x86", 3);
	for (unsigned int i = 0; i < 100; i++) {
		h2(t, 0, 6, 0, "12345678", 8);
	}
	h2(t, 0, 6, 0, "LATE5678", 8);
	h2(t, 0, 6, 0, "NEEDLE78", 8);
	h2(t, 0, 8, 0, "\0\0\0\1", 4);
	finish(t);
	run("alert" ANY_TCP "content:\"LATE5678\"; flowbits:set,late; noalert; sid:1;)\n"
	    "alert" ANY_HTTP "flowbits:isset,late; http.method; pcre:\"/^GET/\"; sid:2;)\n"
	    "alert" ANY_HTTP
	    "content:\"NEEDLE78\"; http.method; content:\"GET\"; fast_pattern; sid:3;)\n",
	    t, false, NULL, &seen);
	assert_string_equal(seen.order, "2 2 3 3");
	/* sid 3 waits in both streams, else they would be looked at once more, for sid 2 */
	assert_true(stat_of(&seen, GATE_STAT_DETECT_TXS) < 1000);
	seen_done(&seen);
}

/* A drop in a transaction takes the flow: what comes behind is not seen. */
static void test_tx_drop(void **state)
{
	struct seen seen;

	run("drop" ANY_HTTP "flow:to_server; http.uri; content:\"/one\"; sid:1;)\n" HTTP
	    "flow:to_client; http.stat_code; content:\"404\"; sid:2;)\n",
	    browsing(), true, NULL, &seen);
	assert_string_equal(seen.order, "1");
	assert_true(stat_of(&seen, GATE_STAT_IPS_BLOCKED) >= 8);
	seen_done(&seen);
	/* and a pass ends it for all others */
	run("pass" ANY_HTTP "flow:to_server; http.uri; content:\"/one\"; sid:1;)\n" HTTP
	    "flow:to_client; http.stat_code; content:\"404\"; sid:2;)\n",
	    browsing(), true, NULL, &seen);
	assert_string_equal(seen.order, "");
	assert_int_equal(stat_of(&seen, GATE_STAT_IPS_BLOCKED), 0);
	seen_done(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),		cmocka_unit_test(test_pass),
		cmocka_unit_test(test_drop_takes_flow), cmocka_unit_test(test_noalert),
		cmocka_unit_test(test_thresholds),	cmocka_unit_test(test_reject_as_sensor),
		cmocka_unit_test(test_stream_pieces),	cmocka_unit_test(test_stream_chunks),
		cmocka_unit_test(test_stream_depth),	cmocka_unit_test(test_tx),
		cmocka_unit_test(test_tx_id),		cmocka_unit_test(test_tx_open),
		cmocka_unit_test(test_tx_drop),		cmocka_unit_test(test_tx_without_news),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
