/* SPDX-License-Identifier: Apache-2.0 */
/* What tries to hide from a stream engine: forged RST and FIN, overlaps, urgent data. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate_streams.h"

/* ---- evasion ---- */
static void test_rst_with_bad_sequence(void **arg)
{
	struct world *w = start(as_inline);
	handshake(w);
	up(w, 0, "ab");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1 + 500, .flags = RST);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	assert_false(w->passed);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .ack = S_ISN + 999999, .flags = RST | ACK);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	assert_true(has(&w->p, GATE_EVENT_STREAM_RST_INVALID_ACK));
	up(w, 2, "cd");
	assert_seen(w, GATE_TO_SERVER, "abcd");
	finish(w);
}

static void test_rst_that_was_not_taken(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "ab");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .flags = RST); /* low TTL, say */
	assert_int_equal(state(w), GATE_TCP_CLOSED);
	assert_int_equal(w->p.flow->state, GATE_FLOW_CLOSED);
	up(w, 2, "cd");
	assert_true(has(&w->p, GATE_EVENT_STREAM_SUSPECTED_RST_INJECT));
	ack_up(w, 4);
	assert_seen(w, GATE_TO_SERVER, "abcd");
	finish(w);
}

static void test_rst_with_data(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "ab");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .ack = S_ISN + 1, .flags = RST | ACK,
	     .data = "last words", .size = 10);
	assert_int_equal(state(w), GATE_TCP_CLOSED);
	gate_flow_end_all(w->table, GATE_FLOW_END_SHUTDOWN, w->time_us);
	assert_seen(w, GATE_TO_SERVER, "ablast words");
	finish(w);
}

static void test_fin_in_the_middle(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "abcdef");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .ack = S_ISN + 1, .flags = FIN | ACK);
	assert_int_equal(w->p.event_count, 0);
	assert_int_equal(state(w), GATE_TCP_ESTABLISHED);
	up(w, 6, "gh");
	ack_up(w, 8);
	assert_seen(w, GATE_TO_SERVER, "abcdefgh");
	/* before its turn: what is before it still counts, what is behind it doesn't */
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1 + 10, .ack = S_ISN + 1, .flags = FIN | ACK);
	assert_int_equal(state(w), GATE_TCP_CLOSE_WAIT);
	up(w, 8, "ijXXX");
	ack_up(w, 11);
	assert_seen(w, GATE_TO_SERVER, "abcdefghij");
	assert_true(w->seen[0].eof);
	finish(w);
}

static void test_overlap_inline_is_rewritten(void **arg)
{
	struct world *w = start(as_inline);
	handshake(w);
	up(w, 0, "innocent");
	struct gate_packet *p = up(w, 0, "malicious");
	assert_true(p->flags & GATE_PKT_MODIFIED);
	assert_true(has(p, GATE_EVENT_STREAM_REASSEMBLY_OVERLAP_DIFFERENT_DATA));
	assert_memory_equal(p->payload.data, "innocents", 9);
	assert_seen(w, GATE_TO_SERVER, "innocents");
	/* a sound checksum: the sum over all of it is 0xffff */
	uint32_t sum = IPPROTO_TCP + 20 + 9 + 0x0a00 + 0x0001 + 0x0a00 + 0x0002;
	for (unsigned int i = 0; i < 30; i += 2) {
		sum += (uint32_t)w->frame[TCP_AT + i] << 8 |
		       (i < 28 ? w->frame[TCP_AT + 1 + i] : 0);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* beside the stream as well */
	up(w, 12, "later");
	p = up(w, 11, "XYYYYYZ");
	assert_memory_equal(p->payload.data, "XlaterZ", 7);
	finish(w);
}

static void test_paws(void **arg)
{
	struct world *w = start(NULL);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN, .ts = 100);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK, .ts = 7);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK, .ts = 101);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK, .ts = 50,
	     .data = "old", .size = 3);
	assert_true(has(&w->p, GATE_EVENT_STREAM_PKT_INVALID_TIMESTAMP));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK, .ts = 102,
	     .data = "new", .size = 3);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 4, .flags = ACK, .ts = 8);
	assert_seen(w, GATE_TO_SERVER, "new");
	finish(w);
}

static void test_windows(void **arg)
{
	struct world *w = start(as_inline);
	/* scaled by 2^4: 100 becomes 1600 */
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN, .wscale = 8);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK,
	     .wscale = 5, .window = 100);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 1, .flags = ACK,
	     .window = 100);
	char text[1602];
	memset(text, 'w', sizeof(text));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK,
	     .data = text, .size = 1601);
	assert_true(has(&w->p, GATE_EVENT_STREAM_EST_PACKET_OUT_OF_WINDOW));
	assert_false(w->passed);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK,
	     .data = text, .size = 1600);
	assert_true(w->passed);
	assert_int_equal(w->seen[0].size, 1600);
	finish(w);
}

static void test_zero_window_and_keepalive(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 0, "abc");
	w->p = (struct gate_packet){};
	make_packet(w, &(struct send){.dir = GATE_TO_CLIENT,
				      .seq = S_ISN + 1,
				      .ack = C_ISN + 4,
				      .flags = ACK});
	((struct tcphdr *)(w->frame + TCP_AT))->window = 0;
	struct gate_flow *flow = gate_flow_of(w->table, &w->p);
	assert_true(gate_stream_packet(w->streams, flow, &w->p));
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .ack = S_ISN + 1, .flags = ACK,
	     .data = "?", .size = 1); /* keepalive */
	assert_int_equal(w->p.event_count, 0);
	up(w, 3, "d"); /* probe */
	ack_up(w, 4);
	assert_seen(w, GATE_TO_SERVER, "abcd");
	finish(w);
}

/* ---- urgent ---- */
static void urgent_gap(struct gate_config *c)
{
	c->urgent_policy = (char *)"gap";
}
static void urgent_inline(struct gate_config *c)
{
	c->urgent_policy = (char *)"inline";
}
static void urgent_drop(struct gate_config *c)
{
	c->urgent_policy = (char *)"drop";
	c->stream_inline = true;
}

static struct world *send_urgent(void (*change)(struct gate_config *))
{
	struct world *w = start(change);
	handshake(w);
	up(w, 0, "GET /malic");
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 11, .ack = S_ISN + 1, .flags = ACK | URG,
	     .urg = 2, .data = "XYZ", .size = 3);
	return w;
}

static void test_urgent(void **arg)
{
	struct world *w = send_urgent(NULL);
	up(w, 13, "ious");
	ack_up(w, 17);
	assert_seen(w, GATE_TO_SERVER, "GET /malicXZious");
	finish(w);
	w = send_urgent(urgent_inline);
	up(w, 13, "ious");
	ack_up(w, 17);
	assert_seen(w, GATE_TO_SERVER, "GET /malicXYZious");
	finish(w);
	w = send_urgent(urgent_gap);
	up(w, 13, "ious");
	ack_up(w, 17);
	assert_seen(w, GATE_TO_SERVER, "GET /malicXZious");
	assert_int_equal(w->seen[0].gap_bytes, 1);
	finish(w);
	w = send_urgent(urgent_drop);
	assert_false(w->passed);
	finish(w);
	/* out of order */
	w = start(NULL);
	handshake(w);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 3, .ack = S_ISN + 1, .flags = ACK | URG,
	     .urg = 2, .data = "cXd", .size = 3);
	up(w, 0, "ab");
	up(w, 5, "e");
	ack_up(w, 6);
	assert_seen(w, GATE_TO_SERVER, "abcde");
	finish(w);
}

/* A segment whose first byte is the urgent one, of bytes that nobody keeps any more. */
static void test_urgent_byte_again(void **arg)
{
	struct world *w = start(urgent_gap);
	handshake(w);
	up(w, 0, "abc");
	ack_up(w, 3);
	gate_stream_inspected(stream_of(w), GATE_TO_SERVER, 3);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 2, .ack = S_ISN + 1, .flags = ACK | URG,
	     .urg = 1, .data = "bcd", .size = 3);
	ack_up(w, 4);
	assert_seen(w, GATE_TO_SERVER, "abcd");
	finish(w);
}

/* ---- overlaps by policy ---- */
static char policy_name[16];
static void with_policy(struct gate_config *c)
{
	c->os_policies.items = calloc(1, sizeof(*c->os_policies.items));
	c->os_policies.count = 1;
	c->os_policies.items[0].policy = policy_name;
	c->os_policies.items[0].network = (char *)"10.0.0.0/8";
}

struct part {
	uint32_t off;
	const char *text;
};

/* What the stream says of these, all acknowledged at the end; aside: behind a hole. */
static void overlap(const char *policy, bool aside, const struct part *parts, char ret[32])
{
	strcpy(policy_name, policy);
	struct world *w = start(with_policy);
	uint32_t off = aside ? 1 : 0;
	free(w->config.os_policies.items);
	handshake(w);
	for (; parts->text; parts++) {
		up(w, off + parts->off, parts->text);
	}
	if (aside) {
		up(w, 0, "_");
	}
	ack_up(w, off + 11);
	memcpy(ret, w->seen[0].bytes + off, w->seen[0].size - off);
	ret[w->seen[0].size - off] = 0;
	finish(w);
}

static void test_policies(void **arg)
{
	static const struct part many[] = {{0, "aaa"},	   {3, "bbb"},
					   {6, "ccc"},	   {3, "BBB"}, /* again */
					   {2, "1234567"},	/* from before b to the end of c */
					   {8, "CDE"},	   {}}; /* from within c to behind it */
	static const struct part again[] = {{0, "aaaaaaa"}, {7, "bbbb"}, {0, "AAAAAAA"}, {}};
	static const struct part longer[] = {{0, "aaaaaaa"}, {0, "AAAAAAAAAAA"}, {}};
	static const struct part within[] = {{0, "aaaaaaaaaaa"}, {2, "XXX"}, {8, "YYY"}, {}};
	static const struct {
		const char *policy, *many, *again, *longer, *within;
	} cases[] = {
		{"first", "aaabbbcccDE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"vista", "aaabbbcccDE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"old-solaris", "aaabbbcccDE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"bsd", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"irix", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"windows", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"windows2k3", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"macos", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"hpux10", "aaa234567DE", "aaaaaaabbbb", "aaaaaaaAAAA", "aaaaaaaaaaa"},
		{"linux", "aaa234567DE", "aaaaaaabbbb", "AAAAAAAAAAA", "aaaaaaaaaaa"},
		{"old-linux", "aaa234567DE", "AAAAAAAbbbb", "AAAAAAAAAAA", "aaaaaaaaaaa"},
		{"solaris", "aa123456CDE", "AAAAAAAbbbb", "AAAAAAAAAAA", "aaaaaaaaaaa"},
		{"hpux11", "aa123456CDE", "AAAAAAAbbbb", "AAAAAAAAAAA", "aaaaaaaaaaa"},
		{"last", "aa123456CDE", "AAAAAAAbbbb", "AAAAAAAAAAA", "aaXXXaaaYYY"},
	};
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		const char *policy = cases[i / 2].policy;
		char got[32];
		overlap(policy, i % 2, many, got);
		assert_string_equal(got, cases[i / 2].many);
		overlap(policy, i % 2, again, got);
		assert_string_equal(got, cases[i / 2].again);
		overlap(policy, i % 2, longer, got);
		assert_string_equal(got, cases[i / 2].longer);
		overlap(policy, i % 2, within, got);
		assert_string_equal(got, cases[i / 2].within);
	}
}

static void test_policy_by_network(void **arg)
{
	struct world *w = start(NULL);
	handshake(w);
	up(w, 3, "new"); /* windows: what begins before wins */
	up(w, 2, "XNEW");
	up(w, 0, "ab");
	ack_up(w, 6);
	assert_seen(w, GATE_TO_SERVER, "abXNEW");
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rst_with_bad_sequence),
		cmocka_unit_test(test_rst_that_was_not_taken),
		cmocka_unit_test(test_rst_with_data),
		cmocka_unit_test(test_fin_in_the_middle),
		cmocka_unit_test(test_overlap_inline_is_rewritten),
		cmocka_unit_test(test_paws),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_zero_window_and_keepalive),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_urgent_byte_again),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_policy_by_network),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
