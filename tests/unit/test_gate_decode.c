/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate/decode: frames of every kind and what becomes of them (gate_frames.def), every truncation of
 * each, fragments by policy, limits. Expectations: a packet each, between bars: version/protocol
 * ports payload-size, then what is special about it, then its events.
 */
#include "gate/decode/checksum.h"
#include "gate/decode/decode.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct frames {
	const char *name;
	uint16_t link;
	const char *hex, *expected;
};

static const struct frames table[] = {
#define FRAMES(name, link, hex, expected) {name, link, hex, expected},
#include "gate_frames.def"
#undef FRAMES
};

static void config_of(struct gate_config *config)
{
	struct bh_diag diag = {};

	if (gate_config_load(NULL, config, &diag)) {
		fail_msg("%s", diag.text);
	}
	config->check_checksums = true;
}

/* Bytes that are exactly as many as there are: a checker sees a read behind them. */
static uint8_t *bytes_of(const char *hex, size_t len, uint32_t *ret_size)
{
	uint8_t *data = malloc(len / 2 ? len / 2 : 1);
	char text[65536 * 2];

	assert_non_null(data);
	assert_true(len < sizeof(text));
	memcpy(text, hex, len);
	text[len] = '\0';
	assert_int_equal(bh_hex_parse(text, data, len / 2), 0);
	*ret_size = (uint32_t)(len / 2);
	return data;
}

static void format_tcp(const struct gate_tcp_options *o, struct bh_wbuf *w)
{
	if (o->has_mss) {
		bh_wbuf_printf(w, " mss=%u", o->mss);
	}
	if (o->has_wscale) {
		bh_wbuf_printf(w, " ws=%u", o->wscale);
	}
	bh_wbuf_str(w, o->has_sack_ok ? " sackok" : "");
	if (o->has_ts) {
		bh_wbuf_printf(w, " ts=%u,%u", o->ts, o->ts_echo);
	}
	if (o->sack_count) {
		bh_wbuf_printf(w, " sacks=%u", o->sack_count);
	}
}

static void format(struct gate_packet *p, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "%s%u/%u %u>%u %u", w->size ? " | " : "", p->ip_version, p->ip_proto,
		       p->sport, p->dport, p->payload.size);
	bh_wbuf_str(w, p->flags & GATE_PKT_INVALID ? " invalid" : "");
	format_tcp(&p->tcp_opts, w);
	for (unsigned int i = 0; i < p->vlan_count; i++) {
		bh_wbuf_printf(w, "%s%u", i ? "," : " vlan=", p->vlan[i]);
	}
	bh_wbuf_str(w, p->arp ? " arp" : "");
	if (p->icmp_inner.data) {
		bh_wbuf_printf(w, " inner=%u", p->icmp_inner.size);
	}
	bh_wbuf_str(w, p->flags & GATE_PKT_BAD_CSUM ? " badcsum" : "");
	if (p->depth) {
		bh_wbuf_printf(w, " depth=%u", p->depth);
	}
	bh_wbuf_str(w, p->flags & GATE_PKT_FRAGMENT ? " fragment" : "");
	bh_wbuf_str(w, p->flags & GATE_PKT_REASSEMBLED ? " whole" : "");
	for (unsigned int i = 0; i < p->event_count; i++) {
		bh_wbuf_printf(w, " %s", gate_event_name(p->events[i]));
	}
}

/* Each frame cut to at most `most` bytes. */
static void decode_frames(const struct gate_config *config, const struct frames *f, uint32_t most,
			  gate_decoded_fn *fn, void *arg)
{
	struct gate_decoder *decoder = gate_decoder_new(config);
	struct gate_packet p = {};
	const char *at = f->hex;

	for (;;) {
		size_t len = strcspn(at, "/");
		uint8_t *data = bytes_of(at, len, &p.wire_size);

		p.size = p.wire_size < most ? p.wire_size : most;
		p.data = bh_memdup(data, p.size);
		p.link = f->link;
		p.number++;
		p.time_us += 1000;
		gate_decode(decoder, &p, fn, arg);
		free(p.data);
		free(data);
		if (!at[len]) {
			break;
		}
		at += len + 1;
	}
	gate_decoder_free(decoder);
}

static void test_frames(void **state)
{
	struct gate_config config;

	config_of(&config);
	for (size_t i = 0; i < BH_ARRAY_SIZE(table); i++) {
		struct bh_wbuf w;

		bh_wbuf_init(&w, 0);
		decode_frames(&config, &table[i], UINT32_MAX, format, &w);
		if (strcmp(bh_wbuf_cstr(&w), table[i].expected) != 0) {
			fail_msg("%s:\n%s\nexpected\n%s", table[i].name, bh_wbuf_cstr(&w),
				 table[i].expected);
		}
		bh_wbuf_done(&w);
	}
	gate_config_done(&config);
}

static bool within(const struct gate_packet *p, const void *data, uint32_t size)
{
	const uint8_t *at = data;

	return !data || (at >= p->data && at + size <= p->data + p->size);
}

static void check_bounds(struct gate_packet *p, void *arg)
{
	assert_true(within(p, p->l3.data, p->l3.size));
	assert_true(within(p, p->payload.data, p->payload.size));
	assert_true(within(p, p->icmp_inner.data, p->icmp_inner.size));
	assert_true(within(p, p->tcp, sizeof(*p->tcp)));
	assert_true(within(p, p->udp, sizeof(*p->udp)));
	assert_true(within(p, p->arp, 28));
	if (!p->depth && !(p->flags & GATE_PKT_REASSEMBLED)) {
		assert_int_equal(!!(p->flags & GATE_PKT_TRUNCATED), p->size < p->wire_size);
	}
}

static void test_truncations(void **state)
{
	struct gate_config config;

	config_of(&config);
	config.defrag_memcap = 1 << 16;
	for (size_t i = 0; i < BH_ARRAY_SIZE(table); i++) {
		for (uint32_t most = 0; most < strlen(table[i].hex) / 2; most++) {
			decode_frames(&config, &table[i], most, check_bounds, NULL);
		}
	}
	gate_config_done(&config);
}

/* ---- fragments ---- */

struct piece {
	unsigned int offset, size;
};

/* Novak, Sturges: "Target-Based Fragmentation Reassembly"; A to Q. */
static const struct piece novak[] = {
	{0, 24}, {32, 16}, {48, 24}, {80, 8},  {104, 16}, {120, 24}, {144, 16}, {160, 16}, {176, 8},
	{8, 32}, {48, 24}, {72, 24}, {96, 24}, {128, 8},  {152, 8},  {160, 8},	{176, 16},
};

struct policy_case {
	const char *policy, *expected; /* a letter each 8 bytes */
};

static const struct policy_case policy_cases[] = {
	{NULL, "AAAJJBCCCLLLMMMFFFGGHHIQ"},	   {"bsd", "AAAJJBCCCLLLMMMFFFGGHHIQ"},
	{"bsd-right", "AJJJBBKKKLDLMEEFNFGOPHQQ"}, {"linux", "AAAJJBKKKLLLMMMFFFGGPHQQ"},
	{"windows", "AAAJBBCCCLLLMEEFFFGGHHIQ"},   {"solaris", "AAAJBBCCCLLLMMMFFFGGHHIQ"},
	{"macos", "AAAJBBCCCLDLMEEFFFGGHHIQ"},	   {"last", "AJJJJBKKKLLLMMMFNFGOPHQQ"},
};

static uint32_t fragment4(uint8_t *at, unsigned int id, struct piece piece, bool more, uint8_t fill)
{
	static const uint8_t header[20] = {0x45, 0, 0,	0, 0, 0, 0,  0, 64, 253,
					   0,	 0, 10, 0, 0, 1, 10, 0, 0,  2};
	uint32_t size = 20 + piece.size;

	memcpy(at, header, 20);
	at[2] = (uint8_t)(size >> 8);
	at[3] = (uint8_t)size;
	at[4] = (uint8_t)(id >> 8);
	at[5] = (uint8_t)id;
	at[6] = (uint8_t)(piece.offset / 8 >> 8 | (more ? 0x20 : 0));
	at[7] = (uint8_t)(piece.offset / 8);
	memset(at + 20, fill, piece.size);
	return size;
}

static void take_letters(struct gate_packet *p, void *arg)
{
	char *letters = arg;

	if (p->flags & GATE_PKT_REASSEMBLED) {
		for (uint32_t i = 0; i < p->payload.size; i += 8) {
			letters[i / 8] = (char)p->payload.data[i];
			assert_memory_equal(p->payload.data + i, p->payload.data + i + 1, 7);
		}
		letters[p->payload.size / 8] = '\0';
		assert_true(gate_checksum_ip4_ok(p));
		assert_int_equal(p->src.bytes[15], 1);
	}
}

static void test_policies(void **state)
{
	for (size_t c = 0; c < BH_ARRAY_SIZE(policy_cases); c++) {
		const struct policy_case *want = &policy_cases[c];
		struct gate_config config;
		struct gate_decoder *decoder;
		char letters[64] = "";

		config_of(&config);
		if (want->policy) {
			*bh_vec_push(&config.os_policies) =
				(struct gate_os_policy){bh_strdup("linux"), bh_strdup("0.0.0.0/0")};
			*bh_vec_push(&config.os_policies) = (struct gate_os_policy){
				bh_strdup(want->policy), bh_strdup("10.0.0.0/24")};
		}
		decoder = gate_decoder_new(&config);
		for (size_t i = 0; i < BH_ARRAY_SIZE(novak); i++) {
			uint8_t data[64];
			struct gate_packet p = {.link = GATE_LINK_RAW, .time_us = i};

			p.data = data;
			p.size = p.wire_size =
				fragment4(data, 1, novak[i], i + 1 < BH_ARRAY_SIZE(novak),
					  (uint8_t)('A' + i));
			gate_decode(decoder, &p, take_letters, letters);
		}
		assert_string_equal(letters, want->expected);
		gate_decoder_free(decoder);
		gate_config_done(&config);
	}
}

static void count_whole(struct gate_packet *p, void *arg)
{
	*(unsigned int *)arg += !!(p->flags & GATE_PKT_REASSEMBLED);
}

static unsigned int feed(struct gate_decoder *decoder, unsigned int id, struct piece piece,
			 bool more, uint64_t time_us)
{
	static uint8_t data[70000];
	struct gate_packet p = {.link = GATE_LINK_RAW, .time_us = time_us, .data = data};
	unsigned int whole = 0;

	p.size = p.wire_size = fragment4(data, id, piece, more, 'x');
	gate_decode(decoder, &p, count_whole, &whole);
	return whole;
}

static void test_timeout(void **state)
{
	struct gate_config config;
	struct gate_decoder *decoder;

	config_of(&config);
	decoder = gate_decoder_new(&config);
	assert_int_equal(feed(decoder, 1, (struct piece){0, 8}, true, 0), 0);
	assert_int_equal(feed(decoder, 1, (struct piece){8, 8}, false, 59000000), 1);
	assert_int_equal(feed(decoder, 2, (struct piece){0, 8}, true, 0), 0);
	assert_int_equal(feed(decoder, 2, (struct piece){8, 8}, false, 61000000), 0);
	/* each fragment gives it the time anew */
	assert_int_equal(feed(decoder, 4, (struct piece){0, 8}, true, 0), 0);
	assert_int_equal(feed(decoder, 5, (struct piece){0, 8}, true, 1), 0);
	assert_int_equal(feed(decoder, 4, (struct piece){8, 8}, true, 50000000), 0);
	gate_decoder_tick(decoder, 61000000);
	assert_int_equal(feed(decoder, 4, (struct piece){16, 8}, false, 100000000), 1);
	assert_int_equal(feed(decoder, 5, (struct piece){8, 8}, false, 100000001), 0);
	gate_decoder_free(decoder);
	decoder = gate_decoder_new(&config);
	assert_int_equal(feed(decoder, 3, (struct piece){0, 8}, true, 0), 0);
	gate_decoder_tick(decoder, 61000000);
	assert_int_equal(feed(decoder, 3, (struct piece){8, 8}, false, 1000), 0);
	gate_decoder_free(decoder);
	gate_config_done(&config);
}

/* A flood of first fragments: the oldest go, memory stays, later ones are still made whole. */
static void test_flood(void **state)
{
	struct gate_config config;
	struct gate_decoder *decoder;
	uint64_t evicted = bh_counter_get("gate_defrag_evicted");

	config_of(&config);
	config.defrag_memcap = 1 << 18;
	decoder = gate_decoder_new(&config);
	for (unsigned int id = 0; id < 50000; id++) {
		assert_int_equal(feed(decoder, id, (struct piece){0, 1480}, true, id), 0);
	}
	assert_true(bh_counter_get("gate_defrag_evicted") > evicted + 49000);
	assert_int_equal(feed(decoder, 49999, (struct piece){1480, 8}, false, 50000), 1);
	gate_decoder_free(decoder);
	gate_config_done(&config);
}

/* The same bytes again and again: what is kept of one datagram is bounded. */
static void test_overlap_flood(void **state)
{
	struct gate_config config;
	struct gate_decoder *decoder;
	uint64_t refused = bh_counter_get("gate_defrag_refused");

	config_of(&config);
	decoder = gate_decoder_new(&config);
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(feed(decoder, 1, (struct piece){8, 1480}, true, i), 0);
	}
	assert_true(bh_counter_get("gate_defrag_refused") > refused + 800);
	gate_decoder_free(decoder);
	gate_config_done(&config);
}

static void test_largest(void **state)
{
	struct gate_config config;
	struct gate_decoder *decoder;
	unsigned int whole = 0;

	config_of(&config);
	decoder = gate_decoder_new(&config);
	for (unsigned int offset = 0; offset < 65512; offset += 8) {
		whole += feed(decoder, 1, (struct piece){offset, 8}, true, 0);
	}
	whole += feed(decoder, 1, (struct piece){65512, 3}, false, 0);
	assert_int_equal(whole, 1);
	gate_decoder_free(decoder);
	gate_config_done(&config);
}

/* ---- the rest ---- */

static void test_event_names(void **state)
{
	for (int i = 1; i < GATE_EVENT_COUNT; i++) {
		char name[128];

		assert_int_equal(gate_event_find(gate_event_name(i)), i);
		snprintf(name, sizeof(name), "decoder.%s", gate_event_name(i));
		assert_int_equal(gate_event_find(name), i);
		assert_true(*gate_event_text(i));
	}
	assert_int_equal(gate_event_find("pkt_invalid_ack"), GATE_EVENT_STREAM_PKT_INVALID_ACK);
	assert_int_equal(gate_event_find("udp.hlen_invalid"), GATE_EVENT_UDP_LEN_INVALID);
	assert_int_equal(gate_event_find("ipv4.no_such_event"), 0);
	assert_int_equal(gate_event_find(""), 0);
}

static void test_event_limit(void **state)
{
	struct gate_packet p = {};
	uint64_t lost = bh_counter_get("gate_events_unrecorded");

	for (int i = 1; i < 30; i++) {
		gate_packet_event(&p, i);
		gate_packet_event(&p, i);
	}
	assert_int_equal(p.event_count, GATE_PACKET_EVENTS_MAX);
	assert_true(bh_counter_get("gate_events_unrecorded") > lost);
	assert_true(gate_packet_has_event(&p, 1));
	assert_false(gate_packet_has_event(&p, 29));
}

static void change(struct gate_packet *p, void *arg)
{
	if (!p->payload.size || p->flags & (GATE_PKT_FRAGMENT | GATE_PKT_INVALID) ||
	    !(p->tcp || p->udp || p->icmp4 || p->icmp6)) {
		return;
	}
	((uint8_t *)(uintptr_t)p->payload.data)[0] ^= 0x55;
	assert_true(gate_checksum_ip4_ok(p));
	if (!p->icmp_inner.data && !p->vlan_count && p->l4_size) {
		gate_checksum_redo(p);
		assert_true(gate_checksum_l4_ok(p));
		assert_true(gate_checksum_ip4_ok(p));
		++*(unsigned int *)arg;
	}
}

static void test_checksums(void **state)
{
	struct gate_config config;
	unsigned int changed = 0;

	config_of(&config);
	for (size_t i = 0; i < BH_ARRAY_SIZE(table); i++) {
		decode_frames(&config, &table[i], UINT32_MAX, change, &changed);
	}
	assert_true(changed > 50);
	gate_config_done(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),	    cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_policies),    cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_flood),	    cmocka_unit_test(test_overlap_flood),
		cmocka_unit_test(test_largest),	    cmocka_unit_test(test_event_names),
		cmocka_unit_test(test_event_limit), cmocka_unit_test(test_checksums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
