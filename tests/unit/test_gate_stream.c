/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes, ends, data in and out of order, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate_streams.h"

static void test_sensor_waits_for_ack(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	assert_false(w->p.flags & GATE_PKT_ESTABLISHED);
	struct gate_packet *p = up(w, 0, "GET / HTTP/1.0\r\n\r\n");
	assert_true(p->flags & GATE_PKT_ESTABLISHED);
	assert_true(p->flags & GATE_PKT_STREAM_ADD);
	assert_int_equal(w->seen[0].size, 0);
	ack_up(w, 5);
	assert_seen(w, GATE_TO_SERVER, "GET /");
	ack_up(w, 18);
	assert_seen(w, GATE_TO_SERVER, "GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(gate_stream_size(stream_of(w), GATE_TO_SERVER), 19);
	finish(w);
}

static void test_inline_at_once(void **arg)
{
	struct world *w = start(as_inline);
	handshake(w);
	up(w, 0, "abc");
	assert_seen(w, GATE_TO_SERVER, "abc");
	up(w, 5, "fg");
	assert_seen(w, GATE_TO_SERVER, "abc");
	up(w, 3, "de");
	assert_seen(w, GATE_TO_SERVER, "abcdefg");
	assert_true(w->passed);
	finish(w);
}

static void test_flush_counts_all(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "one");
	up(w, 5, "two");
	gate_flow_end_all(w->table, GATE_FLOW_END_SHUTDOWN, w->time_us);
	assert_seen(w, GATE_TO_SERVER, "onetwo");
	assert_int_equal(w->seen[0].gaps, 1);
	assert_int_equal(w->seen[0].gap_bytes, 2);
	assert_true(w->seen[0].eof);
	finish(w);
}

static void test_slow_parser(void **arg)
{
	struct world *w = start(NULL);
	char text[200];
	memset(text, 'x', sizeof(text));
	text[199] = 0;
	w->consume_max = 7;
	handshake(w);
	for (uint32_t i = 0; i < 300; i++) {
		up(w, i * 199, text);
		ack_up(w, (i + 1) * 199);
	}
	assert_int_equal(w->seen[0].calls, 300);
	assert_int_equal(w->seen[0].size, 2100);
	assert_int_equal(gate_stream_in_order(stream_of(w), GATE_TO_SERVER), 300 * 199);
	finish(w);
}

static void test_close(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "req");
	down(w, 0, "resp");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 4, .ack = S_ISN + 5, .flags = ACK);
	assert_seen(w, GATE_TO_CLIENT, "resp");
	/* the server ends first */
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 5, .ack = C_ISN + 4, .flags = FIN | ACK);
	assert_int_equal(state(w), GATE_TCP_FIN_WAIT1);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 4, .ack = S_ISN + 6, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_FIN_WAIT2);
	assert_true(w->seen[GATE_TO_CLIENT].eof);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 4, .ack = S_ISN + 6, .flags = FIN | ACK);
	assert_int_equal(state(w), GATE_TCP_TIME_WAIT);
	assert_int_equal(w->p.flow->state, GATE_FLOW_CLOSED);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 6, .ack = C_ISN + 5, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_CLOSED);
	assert_int_equal(w->p.event_count, 0);
	assert_true(w->seen[GATE_TO_SERVER].eof);
	finish(w);
}

static void test_close_by_client(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = FIN | ACK,
	     .data = "bye", .size = 3);
	assert_int_equal(state(w), GATE_TCP_CLOSE_WAIT);
	down(w, 0, "x"); /* acknowledges nothing */
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 2, .ack = C_ISN + 5, .flags = FIN | ACK);
	assert_int_equal(state(w), GATE_TCP_LAST_ACK);
	assert_seen(w, GATE_TO_SERVER, "bye");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 5, .ack = S_ISN + 3, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_CLOSED);
	assert_seen(w, GATE_TO_CLIENT, "x");
	finish(w);
}

static void test_simultaneous_close(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 1, .flags = FIN | ACK);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = FIN | ACK);
	assert_int_equal(state(w), GATE_TCP_CLOSING);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 2, .ack = S_ISN + 2, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_TIME_WAIT);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 2, .ack = C_ISN + 2, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_CLOSED);
	finish(w);
}

static void test_split_handshake(void **arg)
{
	struct world *w = start(NULL);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = 1, .ack = C_ISN + 1, .flags = ACK);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .ack = S_ISN + 1, .flags = SYN | ACK);
	assert_int_equal(state(w), GATE_TCP_SYN_RECV);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 1, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	up(w, 0, "EVIL");
	ack_up(w, 4);
	assert_seen(w, GATE_TO_SERVER, "EVIL");
	finish(w);
}

static void test_syns_that_differ(void **arg)
{
	struct world *w = start(NULL);
	SEND(w, .dir = GATE_TO_SERVER, .seq = 77, .flags = SYN);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_SERVER, .seq = 99, .flags = SYN);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	assert_int_equal(state(w), GATE_TCP_SYN_RECV);
	/* SYN/ACKs too: the one that is answered counts */
	SEND(w, .dir = GATE_TO_CLIENT, .seq = 9000, .ack = C_ISN + 1, .flags = SYN | ACK);
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_SYNACK_RESEND_WITH_DIFF_SEQ));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = 9001, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = 9001, .ack = C_ISN + 1, .flags = ACK, .data = "hi",
	     .size = 2);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = 9003, .flags = ACK);
	assert_seen(w, GATE_TO_CLIENT, "hi");
	finish(w);
}

static void test_floods(void **arg)
{
	struct world *w = start(NULL);
	for (uint32_t i = 0; i < 12; i++) {
		SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + i * 100, .flags = SYN);
	}
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_SYN_FLOOD));
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	for (uint32_t i = 1; i < 8; i++) {
		SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + i, .ack = C_ISN + 1,
		     .flags = SYN | ACK);
	}
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_SYNACK_FLOOD));
	finish(w);
}

static void test_fast_open(void **arg)
{
	struct world *w = start(NULL);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN, .tfo = true, .data = "hello",
	     .size = 5);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 6, .flags = SYN | ACK);
	assert_seen(w, GATE_TO_SERVER, "hello");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 6, .ack = S_ISN + 1, .flags = ACK);
	up(w, 5, " you");
	ack_up(w, 9);
	assert_seen(w, GATE_TO_SERVER, "hello you");
	finish(w);
	/* the server takes the SYN only */
	w = start(as_inline);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN, .tfo = true, .data = "evil!",
	     .size = 5);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_SYNACK_TFO_DATA_IGNORED));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK);
	up(w, 0, "good");
	assert_seen(w, GATE_TO_SERVER, "good");
	finish(w);
}

static void allow_midstream(struct gate_config *c)
{
	c->stream_midstream = true;
}

static void test_midstream(void **arg)
{
	struct world *w = start(NULL);
	up(w, 0, "abc");
	assert_null(stream_of(w));
	finish(w);
	w = start(allow_midstream);
	up(w, 0, "abc");
	assert_true(gate_stream_is_midstream(stream_of(w)));
	ack_up(w, 3);
	assert_seen(w, GATE_TO_SERVER, "abc");
	finish(w);
	/* a SYN/ACK first: its sender is the server */
	w = start(allow_midstream);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	assert_int_equal(w->p.dir, GATE_TO_CLIENT);
	assert_int_equal(w->p.flow->port[1], 80);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK);
	assert_int_equal(w->p.dir, GATE_TO_SERVER);
	up(w, 0, "abc");
	ack_up(w, 3);
	assert_seen(w, GATE_TO_SERVER, "abc");
	finish(w);
}

static void allow_async(struct gate_config *c)
{
	c->stream_async = true;
}

static void test_async(void **arg)
{
	struct world *w = start(allow_async);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	up(w, 0, "one");
	up(w, 3, "two");
	assert_seen(w, GATE_TO_SERVER, "onetwo");
	finish(w);
}

/* ---- limits ---- */
static void small_depth(struct gate_config *c)
{
	c->stream_depth = 10;
}

static void test_depth(void **arg)
{
	struct world *w = start(small_depth);
	handshake(w);
	up(w, 0, "0123456");
	struct gate_packet *p = up(w, 7, "789ABC");
	assert_true(has(p, GATE_EVENT_STREAM_REASSEMBLY_DEPTH_REACHED));
	ack_up(w, 13);
	assert_seen(w, GATE_TO_SERVER, "0123456789");
	assert_true(w->seen[0].eof);
	p = up(w, 13, "more");
	assert_false(p->flags & GATE_PKT_STREAM_ADD);
	assert_int_equal(p->event_count, 0);
	ack_up(w, 17);
	assert_int_equal(w->seen[0].size, 10);
	assert_int_equal(w->raw[0], 10);
	finish(w);
}

static void small_memory(struct gate_config *c)
{
	c->stream_memcap = 1 << 17;
	c->stream_depth = 0;
}

static void test_memcap(void **arg)
{
	struct world *w = start(small_memory);
	struct gate_stream_stats stats;
	char text[1001];
	memset(text, 'm', 1000);
	text[1000] = 0;
	handshake(w);
	for (uint32_t i = 0; i < 400; i++) { /* with holes, never filled */
		up(w, i * 110 + 1, text + 900);
	}
	gate_streams_stats(w->streams, &stats);
	assert_true(stats.memory <= stats.memory_max && stats.memory_peak <= 1 << 17);
	assert_true(stats.no_memory > 0);
	finish(w);
}

static void test_many_segments(void **arg)
{
	struct world *w = start(NULL);
	struct gate_stream_stats stats;
	handshake(w);
	for (uint32_t i = 0; i < 3000; i++) {
		up(w, i * 2 + 1, "x");
	}
	gate_streams_stats(w->streams, &stats);
	assert_int_equal(stats.segments_full, 3000 - GATE_STREAM_SEGMENTS_MAX);
	assert_true(has(&w->p, GATE_EVENT_STREAM_REASSEMBLY_INSERT_LIMIT));
	finish(w);
	/* neighbours are put together: one hole, and a lot behind it */
	w = start(NULL);
	handshake(w);
	for (uint32_t i = 1; i < 30000; i += 10) {
		up(w, i, "0123456789");
	}
	gate_streams_stats(w->streams, &stats);
	assert_int_equal(stats.segments_full, 0);
	up(w, 0, "_");
	ack_up(w, 30001);
	assert_int_equal(w->seen[0].size, 30001);
	finish(w);
}

static void test_gap(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "abc");
	up(w, 6, "ghi");
	struct gate_packet *p = ack_up(w, 9);
	assert_true(has(p, GATE_EVENT_STREAM_REASSEMBLY_SEQ_GAP));
	assert_seen(w, GATE_TO_SERVER, "abcghi");
	assert_int_equal(w->seen[0].gap_bytes, 3);
	assert_true(gate_stream_has_gap(stream_of(w), GATE_TO_SERVER));
	gate_flow_end_all(w->table, GATE_FLOW_END_SHUTDOWN, w->time_us);
	finish(w);
}

static void test_raw_chunks(void **arg)
{
	struct world *w = start(NULL);
	struct gate_stream_view view;
	uint64_t from;
	char text[1001];
	memset(text, 'r', 1000);
	text[1000] = 0;
	w->no_raw = true;
	handshake(w);
	for (uint32_t i = 0; i < 3; i++) {
		up(w, i * 1000, text);
		assert_false(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
		ack_up(w, (i + 1) * 1000);
		assert_int_equal(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from), i == 2);
	}
	assert_int_equal(view.size, 3000);
	gate_stream_inspected(stream_of(w), 0, 3000);
	up(w, 3000, "trigger");
	ack_up(w, 3007);
	assert_false(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
	gate_stream_inspect_now(stream_of(w), 0);
	assert_true(gate_stream_uninspected(stream_of(w), 0, 100, &view, &from));
	assert_int_equal(from, 3000);
	assert_memory_equal(view.data + (from - view.offset), "trigger", 7);
	/* what is not inspected when a gap comes is kept */
	up(w, 3010, "behind");
	ack_up(w, 3016);
	assert_true(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
	assert_int_equal(view.size, 7);
	gate_stream_inspected(stream_of(w), 0, view.offset + view.size);
	gate_stream_inspect_now(stream_of(w), 0);
	assert_true(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
	assert_int_equal(view.size, 6);
	assert_true(view.gap);
	gate_stream_stop_app(stream_of(w), 0);
	gate_stream_stop_raw(stream_of(w), 0);
	/* what is there is looked at once more */
	assert_true(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
	gate_stream_inspected(stream_of(w), 0, view.offset + view.size);
	assert_false(gate_stream_uninspected(stream_of(w), 0, 0, &view, &from));
	up(w, 3016, "unread");
	assert_int_equal(gate_stream_in_order(stream_of(w), 0), 3022);
	finish(w);
}

static void test_wrap_of_sequence(void **arg)
{
	struct world *w = start(NULL);
	const uint32_t isn = 0xfffffffau;
	SEND(w, .dir = GATE_TO_SERVER, .seq = isn, .flags = SYN);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = isn + 1, .flags = SYN | ACK);
	SEND(w, .dir = GATE_TO_SERVER, .seq = isn + 1, .ack = S_ISN + 1, .flags = ACK);
	SEND(w, .dir = GATE_TO_SERVER, .seq = isn + 11, .ack = S_ISN + 1, .flags = ACK,
	     .data = "second", .size = 6);
	SEND(w, .dir = GATE_TO_SERVER, .seq = isn + 1, .ack = S_ISN + 1, .flags = ACK,
	     .data = "0123456789", .size = 10);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = isn + 17, .flags = ACK);
	assert_seen(w, GATE_TO_SERVER, "0123456789second");
	finish(w);
}

static void test_no_session(void **arg)
{
	struct world *w = start(as_inline);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = 1, .flags = RST);
	assert_true(has(&w->p, GATE_EVENT_STREAM_RST_BUT_NO_SESSION));
	assert_false(w->passed);
	SEND(w, .dir = GATE_TO_SERVER, .seq = 1, .ack = 3, .flags = FIN | ACK);
	assert_true(has(&w->p, GATE_EVENT_STREAM_FIN_BUT_NO_SESSION));
	SEND(w, .dir = GATE_TO_SERVER, .seq = 1, .ack = 1, .flags = SYN | FIN);
	assert_true(has(&w->p, GATE_EVENT_STREAM_FIN_BUT_NO_SESSION));
	assert_true(has(&w->p, GATE_EVENT_STREAM_PKT_BROKEN_ACK));
	handshake(w);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 77, .flags = ACK,
	     .window = 1);
	finish(w);
}

static void test_data_inject(void **arg)
{
	struct world *w = start(as_inline);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	down(w, 0, "injected");
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_ACK_DATA_INJECT));
	assert_false(w->passed);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 999999, .flags = ACK);
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_RIGHT_SEQ_WRONG_ACK_EVASION));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 9999, .ack = S_ISN + 999999, .flags = ACK);
	assert_true(has(&w->p, GATE_EVENT_STREAM_3WHS_WRONG_SEQ_WRONG_ACK));
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sensor_waits_for_ack),
		cmocka_unit_test(test_inline_at_once),
		cmocka_unit_test(test_flush_counts_all),
		cmocka_unit_test(test_slow_parser),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_close_by_client),
		cmocka_unit_test(test_simultaneous_close),
		cmocka_unit_test(test_split_handshake),
		cmocka_unit_test(test_syns_that_differ),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_fast_open),
		cmocka_unit_test(test_midstream),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_memcap),
		cmocka_unit_test(test_many_segments),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_raw_chunks),
		cmocka_unit_test(test_wrap_of_sequence),
		cmocka_unit_test(test_no_session),
		cmocka_unit_test(test_data_inject),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
