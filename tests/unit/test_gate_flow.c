/* SPDX-License-Identifier: Apache-2.0 */
/* The flow table: keys, directions, timeouts, eviction, reuse, expectations, a million flows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate_segments.h"

#include "base/time.h"
#include "gate/flow/table.h"

#include <netinet/icmp6.h>
#include <stdlib.h>

static struct world *start(void)
{
	struct world *w = calloc(1, sizeof(*w));
	world_defaults(&w->config);
	world_open(w);
	return w;
}

static void finish(struct world *w)
{
	world_close(w);
	free(w);
}

static void set_udp(struct gate_packet *p, uint32_t src, uint16_t sport, uint32_t dst,
		    uint16_t dport)
{
	static const uint64_t header[1];
	*p = (struct gate_packet){.ip_version = 4,
				  .ip_proto = IPPROTO_UDP,
				  .src = addr4(src),
				  .dst = addr4(dst),
				  .sport = sport,
				  .dport = dport,
				  .ttl = 60,
				  .size = 100,
				  .udp = (const struct udphdr *)header,
				  .time_us = 1000000000};
}

static void test_directions(void **arg)
{
	struct world *w = start();
	struct gate_packet p;
	set_udp(&p, 1, 1000, 2, 53);
	struct gate_flow *flow = gate_flow_of(w->table, &p);
	assert_non_null(flow);
	assert_int_equal(p.dir, GATE_TO_SERVER);
	assert_false(p.flags & GATE_PKT_ESTABLISHED);
	set_udp(&p, 2, 53, 1, 1000);
	p.ttl = 50;
	assert_ptr_equal(gate_flow_of(w->table, &p), flow);
	assert_int_equal(p.dir, GATE_TO_CLIENT);
	assert_true(p.flags & GATE_PKT_ESTABLISHED);
	assert_int_equal(flow->state, GATE_FLOW_ESTABLISHED);
	assert_int_equal(flow->packets[0], 1);
	assert_int_equal(flow->bytes[1], 100);
	assert_int_equal(flow->ttl_min[1], 50);
	assert_true(flow->id && flow->id < 1ull << 53);
	/* anything else of the key makes another flow */
	set_udp(&p, 1, 1000, 2, 53);
	p.vlan_count = 1;
	p.vlan[0] = 7;
	assert_ptr_not_equal(gate_flow_of(w->table, &p), flow);
	set_udp(&p, 1, 1000, 2, 53);
	p.depth = 1;
	assert_ptr_not_equal(gate_flow_of(w->table, &p), flow);
	set_udp(&p, 1, 1000, 2, 53);
	p.source = 3;
	assert_ptr_not_equal(gate_flow_of(w->table, &p), flow);
	set_udp(&p, 1, 1000, 2, 53);
	p.ip_version = 6;
	assert_ptr_not_equal(gate_flow_of(w->table, &p), flow);
	/* none at all */
	set_udp(&p, 1, 1000, 2, 53);
	p.flags = GATE_PKT_FRAGMENT;
	assert_null(gate_flow_of(w->table, &p));
	set_udp(&p, 1, 1000, 2, 53);
	p.udp = NULL;
	assert_null(gate_flow_of(w->table, &p));
	p.ip_proto = IPPROTO_GRE;
	assert_null(gate_flow_of(w->table, &p));
	p.ip_proto = IPPROTO_ESP;
	assert_non_null(gate_flow_of(w->table, &p));
	finish(w);
}

static void test_swap(void **arg)
{
	struct world *w = start();
	struct gate_packet p;
	set_udp(&p, 1, 53, 2, 1000);
	struct gate_flow *flow = gate_flow_of(w->table, &p);
	gate_flow_swap(flow);
	assert_int_equal(flow->port[1], 53);
	assert_int_equal(flow->packets[GATE_TO_CLIENT], 1);
	assert_true(flow->flags & GATE_FLOW_SAW_CLIENT);
	assert_false(flow->flags & GATE_FLOW_SAW_SERVER);
	assert_ptr_equal(gate_flow_of(w->table, &p), flow);
	assert_int_equal(p.dir, GATE_TO_CLIENT);
	finish(w);
}

static void test_icmp(void **arg)
{
	struct world *w = start();
	uint32_t header[2] = {};
	uint8_t *type = (uint8_t *)header;
	struct gate_packet p;
	set_udp(&p, 1, 0, 2, 0);
	p.ip_proto = IPPROTO_ICMP;
	p.udp = NULL;
	p.icmp4 = (const struct icmphdr *)header;
	type[0] = ICMP_ECHO;
	struct gate_flow *flow = gate_flow_of(w->table, &p);
	assert_int_equal(flow->port[0], ICMP_ECHO << 8);
	set_udp(&p, 2, 0, 1, 0);
	p.ip_proto = IPPROTO_ICMP;
	p.udp = NULL;
	p.icmp4 = (const struct icmphdr *)header;
	type[0] = ICMP_ECHOREPLY;
	assert_ptr_equal(gate_flow_of(w->table, &p), flow);
	assert_true(p.flags & GATE_PKT_ESTABLISHED);

	/* an error speaks of a UDP flow; its sender is a router */
	set_udp(&p, 1, 1000, 2, 53);
	flow = gate_flow_of(w->table, &p);
	static const uint8_t inner[28] = {0x45, 0,	     0, 28, 0,	       0,	   0, 0,
					  9,	IPPROTO_UDP, 0, 0,  0,	       0,	   0, 1,
					  0,	0,	     0, 2,  1000 >> 8, 1000 & 255, 0, 53};
	set_udp(&p, 77, 0, 1, 0);
	p.ip_proto = IPPROTO_ICMP;
	p.udp = NULL;
	p.icmp4 = (const struct icmphdr *)header;
	type[0] = ICMP_DEST_UNREACH;
	p.icmp_inner = (struct gate_view){inner, sizeof(inner)};
	assert_ptr_equal(gate_flow_of(w->table, &p), flow);
	assert_int_equal(p.dir, GATE_TO_CLIENT);
	assert_false(flow->flags & GATE_FLOW_SAW_CLIENT);
	/* every truncation of it: no flow, no read beyond */
	for (uint32_t size = 0; size < 24; size++) {
		uint8_t *copy = malloc(size + 1);
		memcpy(copy, inner, size);
		p.icmp_inner = (struct gate_view){copy, size};
		assert_null(gate_flow_of(w->table, &p));
		free(copy);
	}
	finish(w);
}

static void test_timeouts(void **arg)
{
	struct world *w = start();
	struct gate_packet p;
	set_udp(&p, 1, 1000, 2, 53);
	struct gate_flow *flow = gate_flow_of(w->table, &p);
	uint64_t id = flow->id;
	gate_flow_tick(w->table, p.time_us + 29000000, 100);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 0);
	set_udp(&p, 1, 1000, 2, 53);
	p.time_us += 20000000;
	assert_int_equal(gate_flow_of(w->table, &p)->id, id);
	gate_flow_tick(w->table, p.time_us + 29000000, 100);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 0);
	gate_flow_tick(w->table, p.time_us + 40000000, 100);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 1);
	/* a packet that comes too late begins another, ticks or not */
	id = gate_flow_of(w->table, &p)->id;
	p.time_us += 31000000;
	assert_int_not_equal(gate_flow_of(w->table, &p)->id, id);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 2);
	const uint64_t now_us = p.time_us + 60000000;
	/* established ones have more time; a budget is kept */
	for (uint16_t port = 1; port <= 10; port++) {
		set_udp(&p, 5, port, 6, 53);
		p.time_us = now_us;
		gate_flow_of(w->table, &p);
	}
	set_udp(&p, 6, 53, 5, 1);
	p.time_us = now_us;
	gate_flow_of(w->table, &p);
	gate_flow_tick(w->table, p.time_us + 35000000, 4);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 6);
	/* those that hold much count for more */
	w->work = 3;
	gate_flow_tick(w->table, p.time_us + 35000000, 4);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 8);
	gate_flow_tick(w->table, p.time_us + 35000000, 100);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 12);
	finish(w);
}

static void test_eviction(void **arg)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gate_packet p;
	struct gate_flow_stats stats;
	world_defaults(&w->config);
	w->config.flow_count = 16;
	world_open(w);
	for (uint16_t port = 1; port <= 16; port++) {
		set_udp(&p, 5, port, 6, 53);
		p.time_us += port * 10000000ull / 10;
		gate_flow_of(w->table, &p);
		if (port <= 2) { /* the oldest two are established */
			set_udp(&p, 6, 53, 5, port);
			p.time_us += port * 10000000ull / 10;
			gate_flow_of(w->table, &p);
		}
	}
	for (uint16_t port = 17; port <= 30; port++) {
		set_udp(&p, 5, port, 6, 53);
		p.time_us += port * 10000000ull / 10;
		assert_non_null(gate_flow_of(w->table, &p));
	}
	gate_flow_stats(w->table, &stats);
	assert_int_equal(stats.evicted_new, 14);
	assert_int_equal(stats.evicted, 0);
	assert_int_equal(stats.active, 16);
	assert_int_equal(w->ended[GATE_FLOW_END_FORCED], 14);
	/* the established ones are still there */
	set_udp(&p, 6, 53, 5, 1);
	p.time_us += 31000000;
	assert_true(gate_flow_of(w->table, &p)->packets[0]);
	finish(w);
}

static void test_ports_used_anew(void **arg)
{
	struct world *w = start();
	handshake(w);
	uint64_t id = w->p.flow->id;
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN); /* sent again */
	assert_int_equal(w->p.flow->id, id);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .flags = RST);
	SEND(w, .dir = GATE_TO_SERVER, .seq = 4242, .flags = SYN);
	assert_int_not_equal(w->p.flow->id, id);
	assert_int_equal(w->ended[GATE_FLOW_END_REUSE], 1);
	finish(w);
}

static void test_expectations(void **arg)
{
	struct world *w = start();
	struct gate_flow_stats stats;
	handshake(w);
	const struct gate_flow *parent = w->p.flow;
	struct gate_addr server = addr4(0x0a000002);
	for (uint32_t i = 0; i < GATE_FLOW_EXPECT_MAX + 5; i++) {
		gate_flow_expect(w->table, parent, &server, (uint16_t)(1000 + i), GATE_APP_FTP_DATA,
				 w->time_us);
	}
	gate_flow_stats(w->table, &stats);
	assert_int_equal(stats.expectations, GATE_FLOW_EXPECT_MAX);
	assert_int_equal(stats.expectations_full, 5);
	make_packet(w, &(struct send){.seq = 1, .flags = SYN});
	w->p.dport = 1003;
	struct gate_flow *flow = gate_flow_of(w->table, &w->p);
	assert_int_equal(flow->app_expected, GATE_APP_FTP_DATA);
	/* once */
	make_packet(w, &(struct send){.seq = 1, .flags = SYN});
	w->p.sport = 3;
	w->p.dport = 1003;
	assert_int_equal(gate_flow_of(w->table, &w->p)->app_expected, GATE_APP_UNKNOWN);
	/* not from a third, not too late */
	make_packet(w, &(struct send){.seq = 1, .flags = SYN});
	w->p.dport = 1004;
	w->p.src = addr4(9);
	assert_int_equal(gate_flow_of(w->table, &w->p)->app_expected, GATE_APP_UNKNOWN);
	make_packet(w, &(struct send){.seq = 1, .flags = SYN});
	w->p.dport = 1005;
	w->p.time_us += 31000000;
	assert_int_equal(gate_flow_of(w->table, &w->p)->app_expected, GATE_APP_UNKNOWN);
	gate_flow_stats(w->table, &stats);
	assert_int_equal(stats.expectations_met, 1);
	finish(w);
}

static struct gate_flow flow4(uint8_t proto, const uint8_t src[4], uint16_t sport,
			      const uint8_t dst[4], uint16_t dport)
{
	struct gate_flow flow = {.ip_version = 4, .ip_proto = proto, .port = {sport, dport}};
	flow.addr[0] = addr4(0);
	flow.addr[1] = addr4(0);
	memcpy(flow.addr[0].bytes + 12, src, 4);
	memcpy(flow.addr[1].bytes + 12, dst, 4);
	return flow;
}

/* From the specification's baseline (community-id-spec/baseline). */
static void test_community_id(void **arg)
{
	char id[GATE_COMMUNITY_ID_SIZE];
	static const uint8_t a[] = {128, 232, 110, 120}, b[] = {66, 35, 250, 204};
	struct gate_flow flow = flow4(IPPROTO_TCP, a, 34855, b, 80);
	gate_flow_community_id(&flow, id);
	assert_string_equal(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
	flow = flow4(IPPROTO_TCP, b, 80, a, 34855);
	gate_flow_community_id(&flow, id);
	assert_string_equal(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
	static const uint8_t c[] = {192, 168, 1, 52}, d[] = {8, 8, 8, 8};
	flow = flow4(IPPROTO_UDP, c, 54585, d, 53);
	gate_flow_community_id(&flow, id);
	assert_string_equal(id, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
	static const uint8_t e[] = {192, 168, 0, 89}, f[] = {192, 168, 0, 1};
	flow = flow4(IPPROTO_ICMP, e, ICMP_ECHO << 8, f, 0);
	gate_flow_community_id(&flow, id);
	assert_string_equal(id, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
}

static void test_million(void **arg)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gate_flow_stats stats;
	struct gate_packet p;
	const uint32_t count = 1000000;
	world_defaults(&w->config);
	w->config.flow_count = count;
	world_open(w);
	uint64_t begin = bh_time_mono_ns();
	for (uint32_t i = 0; i < count; i++) {
		set_udp(&p, 0x0a000000 + i, (uint16_t)(i * 7), 0xc0a80001, 53);
		gate_flow_of(w->table, &p);
	}
	uint64_t made = bh_time_mono_ns();
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = (uint32_t)((uint64_t)i * 7919 % count);
		set_udp(&p, 0xc0a80001, 53, 0x0a000000 + n, (uint16_t)(n * 7));
		assert_int_equal(gate_flow_of(w->table, &p)->packets[GATE_TO_SERVER], 1);
	}
	uint64_t found = bh_time_mono_ns();
	gate_flow_stats(w->table, &stats);
	assert_int_equal(stats.active, count);
	assert_int_equal(stats.evicted + stats.evicted_new, 0);
	assert_true(stats.bytes_each <= 256);
	print_message("flows %zu, %zu bytes each (struct %zu), %llu ns to make, %llu ns to find\n",
		      stats.capacity, stats.bytes_each, sizeof(struct gate_flow),
		      (unsigned long long)((made - begin) / count),
		      (unsigned long long)((found - made) / count));
	finish(w);
}

/* All in one bucket: slow, and right. */
static void test_one_bucket(void **arg)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gate_packet p;
	world_defaults(&w->config);
	w->config.flow_count = 65536;
	w->config.flow_hash_size = 1;
	world_open(w);
	for (uint32_t i = 0; i < 300; i++) {
		set_udp(&p, i, 1, i + 1000, 2);
		gate_flow_of(w->table, &p);
	}
	for (uint32_t i = 0; i < 300; i++) {
		set_udp(&p, i + 1000, 2, i, 1);
		assert_int_equal(gate_flow_of(w->table, &p)->packets[0], 1);
	}
	gate_flow_tick(w->table, p.time_us + 1000000000, 1000);
	assert_int_equal(w->ended[GATE_FLOW_END_TIMEOUT], 300);
	finish(w);
}

/* Guests can't make chains: addresses and ports that differ little spread evenly. */
static void test_spread(void **arg)
{
	for (unsigned int shift = 0; shift < 4; shift++) {
		struct world *w = calloc(1, sizeof(*w));
		struct gate_packet p;
		uint32_t longest = 0;
		world_defaults(&w->config);
		w->config.flow_count = 65536;
		world_open(w);
		for (uint32_t i = 0; i < 65536; i++) {
			uint32_t source = shift < 3 ? i << (shift * 8) : 7;
			set_udp(&p, source, shift < 3 ? 9 : (uint16_t)i, 5, 6);
			gate_flow_of(w->table, &p);
		}
		for (uint32_t i = 0; i <= w->table->bucket_mask; i++) {
			uint32_t length = 0, number = w->table->buckets[i];
			for (; number; number = w->table->entries[number].table.next) {
				length++;
			}
			longest = length > longest ? length : longest;
		}
		assert_in_range(longest, 2, 14); /* of even throws: 8 or 9 */
		finish(w);
	}
}

/* Many more connections than there is room: old half-open ones go, memory stays where it is. */
static void test_syn_flood(void **arg)
{
	struct world *w = calloc(1, sizeof(*w));
	struct gate_flow_stats flows;
	struct gate_stream_stats streams;
	world_defaults(&w->config);
	w->config.flow_count = 4096;
	w->config.stream_memcap = 2 << 20;
	world_open(w);
	handshake(w);
	for (uint32_t i = 0; i < 200000; i++) {
		make_packet(w, &(struct send){.seq = i, .flags = SYN});
		w->p.src = addr4(0x14000000 + i);
		struct gate_flow *flow = gate_flow_of(w->table, &w->p);
		assert_non_null(flow);
		assert_true(gate_stream_packet(w->streams, flow, &w->p));
	}
	gate_flow_stats(w->table, &flows);
	gate_streams_stats(w->streams, &streams);
	assert_int_equal(flows.active, 4096);
	assert_int_equal(flows.evicted, 0);
	assert_true(streams.memory_peak <= 2 << 20);
	/* who was established before still is */
	up(w, 0, "still");
	ack_up(w, 5);
	assert_int_equal(w->seen[GATE_TO_SERVER].size, 5);
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directions),   cmocka_unit_test(test_swap),
		cmocka_unit_test(test_icmp),	     cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_eviction),     cmocka_unit_test(test_ports_used_anew),
		cmocka_unit_test(test_expectations), cmocka_unit_test(test_community_id),
		cmocka_unit_test(test_million),	     cmocka_unit_test(test_one_bucket),
		cmocka_unit_test(test_spread),	     cmocka_unit_test(test_syn_flood),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
