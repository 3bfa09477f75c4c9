/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of the gate's events: made of packets, queued, handed to hostd's socket, numbered by its
 * spool, read back from there as the bus would. hostd away, busy, gone in between: counted, and a
 * gap among the events.
 */
#include "base/counter.h"
#include "base/ctl.h"
#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "gate/engine.h"
#include "gate/rules/read.h"
#include "intake_world.h"

#include <arpa/inet.h>

static struct gate_out *open_out(const struct host *host, uint64_t queue)
{
	struct gate_config config = {.events_socket = host->socket, .events_queue = queue};
	struct gate_out_sink *sink = NULL;

	assert_int_equal(gate_out_events(&config, &sink, NULL), 0);
	return gate_out_new(&config, sink);
}

#define EVENT(type)                                                                                \
	"{\"time\":\"2026-11-22T10:00:00.000001Z\",\"type\":\"" type                               \
	"\",\"severity\":\"notice\",\"host\":\"h9\",\"vm\":\"x\",\"seq\":7,\"sid\":5}\n"

static void test_handed_over(void **state)
{
	uint64_t refused = bh_counter_get("gate_events_refused");
	struct bh_event *events = bh_alloc_array(2000, sizeof(*events));
	struct host *host = *state;
	BH_FREE char *text = NULL;
	struct gate_out *out;
	char name[8];
	uint64_t sid;

	host_start(host);
	out = open_out(host, 1 << 20);
	for (int i = 0; i < 1000; i++) {
		assert_true(gate_out_put(out, EVENT("gate.alert"), strlen(EVENT("gate.alert"))));
	}
	/* not the gate's to tell, and nothing at all */
	assert_true(gate_out_put(out, EVENT("vm.started"), strlen(EVENT("vm.started"))));
	assert_true(gate_out_put(out, "[1]\n", 4));
	gate_out_flush(out);
	gate_out_free(out);
	host_stop(host);
	assert_int_equal(bh_counter_get("gate_events_refused"), refused + 2);
	assert_int_equal(host_events(host, events, 2000, &text), 1000);
	assert_string_equal(events[0].type, "gate.alert");
	assert_true(bh_jtext_str(&events[0].j, "host", name, sizeof(name)));
	assert_string_equal(name, "h1");
	assert_null(bh_jtext_find(&events[0].j, "vm"));
	assert_true(bh_jtext_u64(&events[0].j, "sid", 10, &sid));
	assert_int_equal(events[0].seq, 1);
	assert_int_equal(events[0].wall_ns, 1795341600000000000);
	free(events);
}

/* hostd is away: one wait, then losses; it comes: they are a gap, and what follows is there. */
static void test_away(void **state)
{
	uint64_t before = bh_counter_get("gate_events_not_sent");
	struct bh_event *events = bh_alloc_array(16, sizeof(*events));
	struct host *host = *state;
	BH_FREE char *text = NULL;
	struct gate_out *out = open_out(host, 1 << 20);

	assert_true(gate_out_put(out, EVENT("gate.alert") EVENT("gate.drop"),
				 strlen(EVENT("gate.alert") EVENT("gate.drop"))));
	gate_out_flush(out);
	assert_int_equal(bh_counter_get("gate_events_not_sent"), before + 2);
	host_start(host);
	assert_true(gate_out_put(out, EVENT("gate.alert"), strlen(EVENT("gate.alert"))));
	gate_out_flush(out);
	gate_out_free(out);
	host_stop(host);
	assert_int_equal(host_events(host, events, 16, &text), 2);
	assert_true(events[0].is_gap);
	assert_int_equal(events[0].gap_count, 2);
	assert_string_equal(events[1].type, "gate.alert");
	free(events);
}

/* A flood: the queue is bounded, what found no room is counted and told; nobody waits for it. */
static void test_flood(void **state)
{
	static const char line[] = EVENT("gate.alert");
	uint64_t before = bh_counter_get("gate_events_no_room"), lost = 0, there = 0;
	struct bh_event *events = bh_alloc_array(30000, sizeof(*events));
	struct host *host = *state;
	BH_FREE char *text = NULL;
	struct gate_out *out;
	size_t count;

	host_start(host);
	out = open_out(host, 1 << 16);
	for (int i = 0; i < 20000; i++) {
		lost += !gate_out_put(out, line, strlen(line));
	}
	gate_out_flush(out);
	assert_true(gate_out_put(out, line, strlen(line)));
	gate_out_free(out);
	host_stop(host);
	assert_true(lost > 0);
	assert_int_equal(bh_counter_get("gate_events_no_room"), before + lost);
	count = host_events(host, events, 30000, &text);
	for (size_t i = 0; i < count; i++) {
		there += events[i].is_gap ? events[i].gap_count : 1;
	}
	assert_int_equal(there, 20001);
	free(events);
}

/* hostd's spool keeps half of its room for hostd. */
static void test_busy(void **state)
{
	struct bh_event *events = bh_alloc_array(30000, sizeof(*events));
	uint64_t busy = bh_counter_get("intake_busy");
	static const char line[] = EVENT("gate.alert");
	struct host *host = *state;
	BH_FREE char *text = NULL;
	struct bh_spool_stats stats;
	struct gate_out *out;

	host->max_bytes = 1 << 18;
	host_start(host);
	out = open_out(host, 1 << 20);
	for (int i = 0; i < 2500; i++) {
		assert_true(gate_out_put(out, line, strlen(line)));
	}
	gate_out_flush(out);
	gate_out_free(out);
	bh_producer_stats_get(host->producer, &stats);
	host_stop(host);
	assert_true(bh_counter_get("intake_busy") > busy);
	assert_true(stats.bytes > 1 << 17);
	assert_true(stats.bytes < (1 << 17) + (1 << 16));
	assert_int_equal(stats.lost, 0);
	(void)host_events(host, events, 30000, &text);
	free(events);
}

/* An answer that was lost: the request comes again, and is taken once. Another run's number of the
 * same value is another request, and so is the next number of this one. */
static void test_repeated(void **state)
{
	static const char *const runs[] = {"run-a", "run-a", "run-b", "run-a", NULL};
	static const json_int_t numbers[] = {1, 1, 1, 2, 2};
	uint64_t before = bh_counter_get("intake_repeated");
	struct bh_event *events = bh_alloc_array(100, sizeof(*events));
	struct host *host = *state;
	BH_FREE char *text = NULL;

	host_start(host);
	for (size_t i = 0; i < BH_ARRAY_SIZE(runs); i++) {
		BH_JSON json_t *request = json_pack(
			"{s:s,s:s?,s:I,s:I,s:[o]}", "op", "events", "run", runs[i], "n", numbers[i],
			"lost", (json_int_t)1, "events", json_loads(EVENT("gate.alert"), 0, NULL));
		BH_JSON json_t *reply = NULL;
		int err = bh_ctl_call(host->socket, request, 2000, &reply, NULL);

		/* a number of nobody is refused */
		assert_int_equal(err, runs[i] ? 0 : -EREMOTEIO);
		if (!err) {
			assert_int_equal(json_integer_value(json_object_get(reply, "taken")), 1);
		}
	}
	host_stop(host);
	assert_int_equal(bh_counter_get("intake_repeated"), before + 1);
	assert_int_equal(host_events(host, events, 100, &text), 6); /* three gaps, three events */
	free(events);
}

static void test_users(void **state)
{
	static const char *const users[] = {"no-such-user-here"};
	struct hostd_intake *intake = NULL;
	struct host *host = *state;
	struct hostd_intake_options options = {
		.path = host->socket, .host = "h1", .users = users, .user_count = 1};
	struct bh_diag diag = {};
	BH_JSON json_t *request = json_pack("{s:s}", "op", "log");
	BH_JSON json_t *reply = NULL;

	assert_int_equal(hostd_intake_new(NULL, &options, &intake, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "no-such-user-here"));
	/* who may hand in events may not turn hostd's log */
	host_start(host);
	assert_int_equal(bh_ctl_call(host->socket, request, 2000, &reply, NULL), -EREMOTEIO);
	host_stop(host);
}

/* ---- from a packet ---- */

static size_t put_packet(uint8_t *to, const char *payload)
{
	const size_t size = strlen(payload), whole = 14 + 20 + 8 + size;
	uint32_t head[4] = {1700000000, 5, (uint32_t)whole, (uint32_t)whole};
	static const uint8_t eth[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	uint8_t ip[20] = {
		0x45, 0, 0, (uint8_t)(28 + size), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10,
		0,    0, 2};
	uint8_t udp[8] = {0x30, 0x39, 0, 53, 0, (uint8_t)(8 + size), 0, 0};

	memcpy(to, head, 16);
	memcpy(to + 16, eth, 14);
	memcpy(to + 30, ip, 20);
	memcpy(to + 50, udp, 8);
	memcpy(to + 58, payload, size);
	return 16 + whole;
}

static void walk(const struct host *host, const char *rules)
{
	static const uint32_t head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
	const struct gate_view text = {(const uint8_t *)rules, (uint32_t)strlen(rules)};
	struct gate_rule_files *files = gate_rules_new();
	struct gate_source *source = NULL;
	struct gate_rule_set *set = NULL;
	struct gate_config config;
	struct gate_engine engine;
	struct gate_worker *w;
	struct gate_packet p = {};
	uint8_t capture[1024];
	size_t size = sizeof(head);

	assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
	config.check_checksums = false;
	config.simulate_ips = true;
	config.events_kinds = 1u << GATE_EVE_ALERT | 1u << GATE_EVE_DROP;
	gate_config_settle(&config);
	gate_engine_init(&engine, &config, NULL, 0, true);
	assert_int_equal(gate_rules_read_text(files, &config, engine.names, "t.rules", text, NULL),
			 0);
	assert_int_equal(files->refusals.count, 0);
	assert_int_equal(gate_rule_set_new(files, &config, engine.shared, &set, NULL), 0);
	assert_int_equal(gate_rule_sets_new(&set, 1, &engine.sets, NULL), 0);
	engine.events = open_out(host, 1 << 20);
	assert_int_equal(gate_out_file("/dev/null", 0, &engine.sink, NULL), 0);
	engine.out = gate_out_new(&config, bh_steal(&engine.sink));
	memcpy(capture, head, sizeof(head));
	size += put_packet(capture + size, "an evil \"word\" \xff");
	size += put_packet(capture + size, "nothing");
	assert_int_equal(gate_source_memory("t", capture, size, &source, NULL), 0);
	w = gate_worker_new(&(struct gate_worker_options){.config = &config,
							  .shared = engine.shared,
							  .out = engine.out,
							  .events = engine.events,
							  .names = engine.names,
							  .verdict.inline_mode = true});
	gate_worker_use(w, engine.sets);
	while (source->ops->next(source, &p, 0, NULL) > 0) {
		gate_worker_packet(w, &p);
	}
	gate_worker_finish(w, GATE_FLOW_END_SHUTDOWN);
	gate_worker_free(w);
	source->ops->free(source);
	gate_engine_done(&engine);
	gate_config_done(&config);
}

static void expect_text(const struct bh_event *event, const char *key, const char *want)
{
	char got[128];

	if (!bh_jtext_str(&event->j, key, got, sizeof(got)) || strcmp(got, want) != 0) {
		fail_msg("%s: %.*s", key, (int)event->j.size, event->j.text);
	}
}

static void test_from_packets(void **state)
{
	struct bh_event *events = bh_alloc_array(16, sizeof(*events));
	struct host *host = *state;
	BH_FREE char *text = NULL;
	uint64_t value;

	host_start(host);
	walk(host, "drop udp any any -> any 53 (msg:\"Evil \\\"word\\\"\"; content:\"evil\"; "
		   "priority:2; sid:12; rev:3;)\n");
	host_stop(host);
	assert_int_equal(host_events(host, events, 16, &text), 2);
	assert_string_equal(events[0].type, "gate.alert");
	assert_int_equal(events[0].severity, BH_SEVERITY_WARNING);
	assert_int_equal(events[0].wall_ns, 1700000000000000000);
	expect_text(&events[0], "src", "10.0.0.1");
	expect_text(&events[0], "dst", "10.0.0.2");
	expect_text(&events[0], "proto", "udp");
	expect_text(&events[0], "action", "blocked");
	assert_true(bh_jtext_u64(&events[0].j, "sid", 100, &value) && value == 12);
	assert_true(bh_jtext_u64(&events[0].j, "rev", 100, &value) && value == 3);
	assert_true(bh_jtext_u64(&events[0].j, "dport", 100, &value) && value == 53);
	assert_string_equal(events[1].type, "gate.drop");
	expect_text(&events[1], "reason", "rules");
	free(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_handed_over, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_away, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_flood, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_busy, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_repeated, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_users, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_from_packets, intake_world_setup,
						intake_world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
