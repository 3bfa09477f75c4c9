/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet's bytes are searched once, for packet and stream: what is found is there when the stream
 * is due, however it was cut, changed and acknowledged in between.
 */
#include "gate/detect/sets.h"
#include "gate/worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SYN    0x02
#define ACK    0x10
#define FILLER 3000 /* more than a chunk: what is before it is due when it is acknowledged */
#define CHUNK  1000

struct world {
	struct gate_config config;
	struct gate_names *names;
	struct gate_shared *shared;
	struct gate_worker *worker;
	uint64_t time_us;
	uint32_t sent; /* by the client */
};

static void segment(struct world *w, enum gate_dir dir, uint8_t flags, uint32_t seq, uint32_t ack,
		    struct gate_view data)
{
	uint8_t frame[54 + CHUNK] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = 6};
	struct gate_packet p = {.data = frame,
				.size = 54 + data.size,
				.wire_size = 54 + data.size,
				.link = GATE_LINK_ETHERNET};

	assert_true(data.size <= CHUNK);
	gate_put16(frame + 16, 40 + data.size);
	frame[26] = frame[30] = 10;
	frame[29] = dir == GATE_TO_SERVER ? 1 : 2;
	frame[33] = dir == GATE_TO_SERVER ? 2 : 1;
	gate_put16(frame + 34, dir == GATE_TO_SERVER ? 1234 : 80);
	gate_put16(frame + 36, dir == GATE_TO_SERVER ? 80 : 1234);
	gate_put32(frame + 38, seq);
	gate_put32(frame + 42, flags & ACK ? ack : 0);
	frame[46] = 0x50;
	frame[47] = flags;
	gate_put16(frame + 48, 0xffff);
	if (data.size) {
		memcpy(frame + 54, data.data, data.size);
	}
	p.time_us = w->time_us += 1000;
	gate_worker_packet(w->worker, &p);
}

/* The client's bytes at that place of its stream. */
static void up_at(struct world *w, uint32_t at, const char *data, uint32_t size)
{
	segment(w, GATE_TO_SERVER, ACK, 101 + at, 501,
		(struct gate_view){(const uint8_t *)data, size});
	w->sent = at + size > w->sent ? at + size : w->sent;
}

static void up(struct world *w, const char *text)
{
	up_at(w, w->sent, text, (uint32_t)strlen(text));
}

static void fill(struct world *w)
{
	char bytes[CHUNK];

	memset(bytes, '.', sizeof(bytes));
	for (uint32_t i = 0; i < FILLER; i += CHUNK) {
		up_at(w, w->sent, bytes, CHUNK);
	}
}

/* The server has that much. */
static void ack(struct world *w, uint32_t until)
{
	segment(w, GATE_TO_CLIENT, ACK, 501, 101 + until, (struct gate_view){});
}

static struct gate_rule_sets *build(struct world *w, const char *text)
{
	struct gate_rule_files *files = gate_rules_new();
	struct gate_view view = {(const uint8_t *)text, (uint32_t)strlen(text)};
	struct gate_rule_set *set = NULL;
	struct gate_rule_sets *sets = NULL;
	struct bh_diag diag = {};

	assert_int_equal(gate_rules_read_text(files, &w->config, w->names, "test", view, &diag), 0);
	if (files->refusals.count) {
		fail_msg("%s", files->refusals.items[0].reason);
	}
	assert_int_equal(gate_rule_set_new(files, &w->config, w->shared, &set, &diag), 0);
	assert_int_equal(gate_rule_sets_new(&set, 1, &sets, &diag), 0);
	return sets;
}

static void begin(struct world *w, const char *rules)
{
	struct gate_worker_options options = {.config = &w->config};
	struct gate_rule_sets *sets;
	struct bh_diag diag = {};

	memset(w, 0, sizeof(*w));
	assert_int_equal(gate_config_load(NULL, &w->config, &diag), 0);
	w->config.check_checksums = false;
	w->config.flow_count = 64;
	options.shared = w->shared = gate_shared_new(&w->config);
	options.names = w->names = gate_names_new();
	w->time_us = 1700000000ull * 1000000;
	w->worker = gate_worker_new(&options);
	sets = build(w, rules);
	gate_worker_use(w->worker, sets);
	gate_rule_sets_unref(sets);
	segment(w, GATE_TO_SERVER, SYN, 100, 0, (struct gate_view){});
	segment(w, GATE_TO_CLIENT, SYN | ACK, 500, 101, (struct gate_view){});
	segment(w, GATE_TO_SERVER, ACK, 101, 501, (struct gate_view){});
}

static uint64_t alerts(const struct world *w)
{
	struct gate_stats stats = {};

	gate_worker_stats(w->worker, &stats);
	return stats.value[GATE_STAT_DETECT_ALERTS];
}

/* All alerts there were. */
static uint64_t end(struct world *w)
{
	uint64_t count;

	gate_worker_finish(w->worker, GATE_FLOW_END_SHUTDOWN);
	count = alerts(w);
	gate_worker_free(w->worker);
	gate_shared_free(w->shared);
	gate_names_free(w->names);
	gate_config_done(&w->config);
	return count;
}

#define ONE "alert tcp any any -> any any (content:\"needleneedle\"; sid:1;)\n"

static void test_cut_anywhere(void **arg)
{
	static const char text[] = "....needleneedle....";
	struct world w;

	(void)arg;
	for (uint32_t cut = 1; cut < sizeof(text) - 1; cut++) {
		begin(&w, ONE);
		up_at(&w, 0, text, cut);
		up_at(&w, cut, text + cut, (uint32_t)sizeof(text) - 1 - cut);
		fill(&w);
		assert_int_equal(alerts(&w), 0); /* nothing of it counts yet */
		ack(&w, w.sent);
		up(&w, ".");
		assert_int_equal(alerts(&w), 1);
		assert_int_equal(end(&w), 1);
	}
}

/* BSD: a segment that begins before another one has the last word on its bytes. */
static void test_changed_before_it_counts(void **arg)
{
	struct world w;

	(void)arg;
	begin(&w, ONE);
	up(&w, "..........");
	up(&w, "needleneedle");
	up_at(&w, 5, ".....xxxxxxneedle", 17);
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), 0);
	begin(&w, ONE);
	up(&w, "..........");
	up(&w, "xxxxxxneedle");
	up_at(&w, 5, ".....needleneedle", 17);
	assert_int_equal(alerts(&w), 1); /* the packet, which adds nothing to the stream */
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), 2);
}

static void test_late_segment(void **arg)
{
	struct world w;

	(void)arg;
	begin(&w, ONE);
	up_at(&w, 6, "needle", 6);
	up_at(&w, 0, "needle", 6);
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), 1);
}

/* A packet whose parts are due one after the other: an alert for each part that has it. */
static void due_in_part(bool twice)
{
	char bytes[CHUNK];
	struct world w;

	begin(&w, ONE);
	fill(&w);
	memset(bytes, '.', sizeof(bytes));
	memcpy(bytes + 10, "needleneedle", 12);
	if (twice) {
		memcpy(bytes + 910, "needleneedle", 12);
	}
	up_at(&w, w.sent, bytes, CHUNK);
	ack(&w, FILLER + 100);
	up(&w, ".");
	assert_int_equal(alerts(&w), 1);
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), twice ? 2 : 1);
}

static void test_due_in_part(void **arg)
{
	(void)arg;
	due_in_part(false);
	due_in_part(true);
}

static void test_more_than_is_kept(void **arg)
{
	char rules[8192] = "", text[CHUNK] = "";
	struct world w;

	(void)arg;
	for (unsigned int i = 0; i < 40; i++) {
		size_t used = strlen(rules);

		snprintf(rules + used, sizeof(rules) - used,
			 "alert tcp any any -> any any (content:\"word%u%u%u\"; %ssid:%u;)\n",
			 i + 10, i + 10, i + 10, i > 0 ? "content:\"elsewhere\"; " : "", i + 1);
		used = strlen(text);
		snprintf(text + used, sizeof(text) - used, ".word%u%u%u", i + 10, i + 10, i + 10);
	}
	begin(&w, rules);
	up(&w, text);
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), 1);
}

/* A rule of a protocol on payload holds in its flows, also on what came before it was known; a
 * depth counts in packets and in the stream. */
static void test_protocols(void **arg)
{
	static const char rules[] =
		"alert http any any -> any any (content:\"needleneedle\"; sid:1;)\n"
		"alert tls any any -> any any (content:\"needleneedle\"; sid:2;)\n"
		"alert tcp any any -> any any (content:\"needleneedle\"; depth:400; sid:3;)\n"
		"alert tcp any any -> any any (content:\"needleneedle\"; depth:20; sid:4;)\n";
	struct world w;

	(void)arg;
	begin(&w, rules);
	up(&w, "GET /needle");
	up(&w, "needle HTTP/1.1\r\nHost: a\r\nA: ");
	up(&w, "needleneedle\r\n\r\n");
	ack(&w, w.sent);
	up(&w, "GET / HTTP/1.1\r\n");
	/* 1, 3 and 4 on the stream; 3 and 4 on the packet that has it whole */
	assert_int_equal(end(&w), 5);
	begin(&w, rules);
	up(&w, "something else, needleneedle, that has no protocol\r\n");
	fill(&w);
	ack(&w, w.sent);
	up(&w, ".");
	assert_int_equal(end(&w), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_changed_before_it_counts),
		cmocka_unit_test(test_late_segment),
		cmocka_unit_test(test_due_in_part),
		cmocka_unit_test(test_more_than_is_kept),
		cmocka_unit_test(test_protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
