/* SPDX-License-Identifier: Apache-2.0 */
/* The walk without rules: nobody inspects, so nothing may be kept for whoever would. And a rule
 * that bypasses a flow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate/worker.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>

#define SEGMENT 1000

struct world {
	struct gate_config config;
	struct gate_worker *worker;
	uint64_t time_us;
	uint32_t seq[GATE_DIRS];
	uint16_t port; /* the client's */
};

static void segment(struct world *w, enum gate_dir dir, uint8_t flags, size_t size)
{
	uint8_t frame[14 + 20 + 20 + SEGMENT] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = 6};
	uint16_t ports[GATE_DIRS] = {htons(w->port), htons(40001)}, total = htons(40 + size);
	uint32_t seq = htonl(w->seq[dir]), ack = htonl(w->seq[GATE_DIR_OTHER(dir)]);
	struct gate_packet p = {.data = frame, .size = (uint32_t)(54 + size), .link = 1};

	memcpy(frame + 16, &total, 2);
	frame[29] = (uint8_t)(1 + dir);
	frame[33] = (uint8_t)(2 - dir);
	memcpy(frame + 34, &ports[dir], 2);
	memcpy(frame + 36, &ports[GATE_DIR_OTHER(dir)], 2);
	memcpy(frame + 38, &seq, 4);
	memcpy(frame + 42, flags & TH_ACK ? &ack : &(uint32_t){0}, 4);
	frame[46] = 0x50;
	frame[47] = flags;
	frame[48] = 0xff;
	memset(frame + 54, 0xee, size);
	p.wire_size = p.size;
	p.time_us = w->time_us += 100;
	gate_worker_packet(w->worker, &p);
	w->seq[dir] += (uint32_t)size + !!(flags & (TH_SYN | TH_FIN));
}

static uint64_t stat_of(struct world *w, enum gate_stat stat)
{
	struct gate_stats sum = {};

	for (unsigned int i = 0; i < 20; i++) { /* a second: counters are published */
		gate_worker_tick(w->worker, w->time_us += 100000);
	}
	gate_worker_stats(w->worker, &sum);
	return sum.value[stat];
}

static void talk(bool as_inline)
{
	struct world w = {.time_us = 1000000000, .seq = {1, 1000000}, .port = 40000};
	struct gate_worker_options options = {.config = &w.config};
	struct bh_diag diag = {};
	uint64_t before;

	assert_int_equal(gate_config_load(NULL, &w.config, &diag), 0);
	w.config.check_checksums = false;
	w.config.flow_count = 64;
	w.config.stream_inline = as_inline;
	options.shared = gate_shared_new(&w.config);
	w.worker = gate_worker_new(&options);
	segment(&w, GATE_TO_SERVER, TH_SYN, 0);
	segment(&w, GATE_TO_CLIENT, TH_SYN | TH_ACK, 0);
	segment(&w, GATE_TO_SERVER, TH_ACK, 0);
	before = stat_of(&w, GATE_STAT_TCP_MEMORY);
	for (unsigned int i = 0; i < 500; i++) {
		segment(&w, GATE_TO_SERVER, TH_ACK | TH_PUSH, SEGMENT);
		segment(&w, GATE_TO_CLIENT, TH_ACK | TH_PUSH, SEGMENT);
	}
	assert_int_equal(stat_of(&w, GATE_STAT_TCP_SESSIONS), 1);
	assert_true(stat_of(&w, GATE_STAT_TCP_MEMORY) - before < 2 * 16 * SEGMENT);
	gate_worker_finish(w.worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_free(w.worker);
	gate_shared_free(options.shared);
	gate_config_done(&w.config);
}

static void test_sensor_lets_go(void **arg)
{
	(void)arg;
	talk(false);
}

static void test_inline_lets_go(void **arg)
{
	(void)arg;
	talk(true);
}

static struct gate_rule_sets *one_rule(struct world *w, struct gate_worker_options *options,
				       const char *text)
{
	const struct gate_view view = {(const uint8_t *)text, (uint32_t)strlen(text)};
	struct gate_rule_files *files = gate_rules_new();
	struct gate_rule_sets *sets = NULL;
	struct gate_rule_set *set = NULL;
	struct bh_diag diag = {};

	assert_int_equal(
		gate_rules_read_text(files, &w->config, options->names, "test", view, &diag), 0);
	assert_int_equal(files->refusals.count, 0);
	assert_int_equal(gate_rule_set_new(files, &w->config, options->shared, &set, &diag), 0);
	assert_int_equal(gate_rule_sets_new(&set, 1, &sets, &diag), 0);
	return sets;
}

/* It waits among the bypassed ones, and those that came after it don't wait for it. */
static void test_bypassed_by_rule(void **arg)
{
	struct world w = {.time_us = 1000000000};
	struct gate_worker_options options = {.config = &w.config, .names = gate_names_new()};
	struct gate_rule_sets *sets;
	struct bh_diag diag = {};

	(void)arg;
	assert_int_equal(gate_config_load(NULL, &w.config, &diag), 0);
	w.config.check_checksums = false;
	w.config.flow_count = 64;
	options.shared = gate_shared_new(&w.config);
	sets = one_rule(&w, &options, "alert tcp any 40000 -> any any (bypass; sid:1;)\n");
	w.worker = gate_worker_new(&options);
	gate_worker_use(w.worker, sets);
	gate_rule_sets_unref(sets);
	for (w.port = 40000; w.port < 40003; w.port++) {
		segment(&w, GATE_TO_SERVER, TH_SYN, 0);
	}
	assert_int_equal(stat_of(&w, GATE_STAT_FLOW_ACTIVE), 3);
	w.time_us += 65000000; /* new: 60 s */
	assert_int_equal(stat_of(&w, GATE_STAT_FLOW_ACTIVE), 1);
	w.time_us += 40000000; /* bypassed: 100 s */
	assert_int_equal(stat_of(&w, GATE_STAT_FLOW_ACTIVE), 0);
	gate_worker_finish(w.worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_free(w.worker);
	gate_shared_free(options.shared);
	gate_names_free(options.names);
	gate_config_done(&w.config);
}

/* The same middle of a datagram: it is kept until there is four times the largest of it. */
static bool fragment_is_dropped(struct world *w)
{
	uint8_t frame[14 + 20 + 1480] = {
		[12] = 8,  [14] = 0x45, [16] = 1500 >> 8, [17] = 1500 & 0xff,
		[19] = 7,  [20] = 0x20, [21] = 185,	  [22] = 64,
		[23] = 17, [29] = 1,	[33] = 2};
	struct gate_packet p = {
		.data = frame, .size = sizeof(frame), .wire_size = sizeof(frame), .link = 1};

	p.time_us = w->time_us += 100;
	gate_worker_packet(w->worker, &p);
	return p.flags & GATE_PKT_DROP;
}

/* A fragment that is not kept is in no datagram that is looked at, and still in the receiver's. */
static void fragments_without_room(bool inline_mode, bool fail_open, unsigned int expected)
{
	struct world w = {.time_us = 1000000000};
	struct gate_worker_options options = {.config = &w.config,
					      .verdict = {.inline_mode = inline_mode}};
	struct bh_diag diag = {};
	unsigned int dropped = 0;

	assert_int_equal(gate_config_load(NULL, &w.config, &diag), 0);
	w.config.flow_count = 64;
	w.config.fail_open = fail_open;
	options.shared = gate_shared_new(&w.config);
	w.worker = gate_worker_new(&options);
	for (unsigned int i = 0; i < 200; i++) {
		dropped += fragment_is_dropped(&w);
	}
	assert_int_equal(dropped, expected);
	gate_worker_finish(w.worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_free(w.worker);
	gate_shared_free(options.shared);
	gate_config_done(&w.config);
}

static void test_fragments_without_room(void **arg)
{
	(void)arg;
	fragments_without_room(true, false, 200 - 4 * 65536 / 1480);
	fragments_without_room(true, true, 0);
	fragments_without_room(false, false, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sensor_lets_go),
		cmocka_unit_test(test_inline_lets_go),
		cmocka_unit_test(test_bypassed_by_rule),
		cmocka_unit_test(test_fragments_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
