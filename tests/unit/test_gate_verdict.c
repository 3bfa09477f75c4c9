/* SPDX-License-Identifier: Apache-2.0 */
/* gate/verdict: what goes on, what does not, and the frames that answer; these are decoded
 * again. */
#include "gate/decode/checksum.h"
#include "gate/decode/decode.h"
#include "gate/verdict/verdict.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MACS "020000000002020000000001"
#define TCP4 "45000029000100004006660d0a0000010a000002"

struct world {
	struct gate_source source;
	struct gate_verdict verdict;
	unsigned int forwarded, injected, other_side;
	bool refuse;
	uint8_t frame[GATE_REJECT_SIZE_MAX];
	size_t frame_size;
};

static int forward(struct gate_source *source, const struct gate_packet *p)
{
	BH_CONTAINER_OF(source, struct world, source)->forwarded++;
	return 0;
}

static int inject(struct gate_source *source, const struct gate_packet *p, bool other_side,
		  const void *frame, size_t size)
{
	struct world *w = BH_CONTAINER_OF(source, struct world, source);

	if (w->refuse) {
		return -EAGAIN;
	}
	w->injected++;
	w->other_side += other_side;
	memcpy(w->frame, frame, size);
	w->frame_size = size;
	return 0;
}

static const struct gate_source_ops ops = {.forward = forward, .inject = inject};

static void world_of(struct world *w)
{
	*w = (struct world){.source.ops = &ops};
	w->verdict = (struct gate_verdict){.source = &w->source, .inline_mode = true};
}

struct look {
	void (*fn)(struct gate_packet *p, void *arg);
	void *arg;
	unsigned int count;
};

static void on_packet(struct gate_packet *p, void *arg)
{
	struct look *look = arg;

	if (!look->count++) {
		look->fn(p, look->arg);
	}
}

/* Decodes hex and hands the packet to fn. */
static void with_packet(const char *hex, unsigned int link,
			void (*fn)(struct gate_packet *, void *), void *arg)
{
	uint8_t data[256];
	struct look look = {.fn = fn, .arg = arg};
	struct gate_packet p = {.data = data, .link = (uint16_t)link, .time_us = 5000000};
	struct gate_config config;
	struct gate_decoder *decoder;

	assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
	p.size = p.wire_size = (uint32_t)strlen(hex) / 2;
	assert_int_equal(bh_hex_parse(hex, data, p.size), 0);
	decoder = gate_decoder_new(&config);
	gate_decode(decoder, &p, on_packet, &look);
	assert_true(look.count);
	gate_decoder_free(decoder);
	gate_config_done(&config);
}

static void answer_of(struct gate_packet *p, bool to_sender,
		      void (*fn)(struct gate_packet *, void *), void *arg)
{
	uint8_t frame[GATE_REJECT_SIZE_MAX];
	char hex[2 * GATE_REJECT_SIZE_MAX + 1];
	size_t size = gate_reject_frame(p, to_sender, frame, sizeof(frame));

	assert_true(size);
	for (size_t less = 0; less < size; less++) {
		assert_int_equal(gate_reject_frame(p, to_sender, frame, less), 0);
	}
	size = gate_reject_frame(p, to_sender, frame, sizeof(frame));
	bh_hex_format(frame, size, hex);
	with_packet(hex, p->link, fn, arg);
}

/* ---- RST ---- */

static void check_sound(struct gate_packet *p)
{
	assert_int_equal(p->event_count, 0);
	assert_false(p->flags & (GATE_PKT_INVALID | GATE_PKT_BAD_CSUM));
	assert_true(gate_checksum_ip4_ok(p));
	assert_true(gate_checksum_l4_ok(p));
}

static void check_to_sender(struct gate_packet *p, void *arg)
{
	const struct gate_packet *was = arg;

	check_sound(p);
	assert_non_null(p->tcp);
	assert_int_equal(p->tcp->th_flags, TH_RST | TH_ACK);
	assert_int_equal(ntohl(p->tcp->th_seq), 0x22222222);
	assert_int_equal(ntohl(p->tcp->th_ack), 0x11111111 + was->payload.size);
	assert_int_equal(p->sport, was->dport);
	assert_int_equal(p->dport, was->sport);
	assert_memory_equal(&p->src, &was->dst, sizeof(p->src));
	assert_memory_equal(&p->dst, &was->src, sizeof(p->src));
	assert_int_equal(p->vlan_count, was->vlan_count);
	assert_memory_equal(p->vlan, was->vlan, sizeof(p->vlan));
	if (was->eth) {
		assert_memory_equal(p->eth, was->eth + 6, 6);
		assert_memory_equal(p->eth + 6, was->eth, 6);
	}
}

static void check_to_receiver(struct gate_packet *p, void *arg)
{
	const struct gate_packet *was = arg;

	check_sound(p);
	assert_int_equal(p->tcp->th_flags, TH_RST | TH_ACK);
	assert_int_equal(ntohl(p->tcp->th_seq), 0x11111111);
	assert_int_equal(p->sport, was->sport);
	assert_int_equal(p->dport, was->dport);
	assert_memory_equal(&p->src, &was->src, sizeof(p->src));
	if (was->eth) {
		assert_memory_equal(p->eth, was->eth, 12);
	}
}

static void both_ways(struct gate_packet *p, void *arg)
{
	assert_non_null(p->tcp);
	answer_of(p, true, check_to_sender, p);
	answer_of(p, false, check_to_receiver, p);
	++*(unsigned int *)arg;
}

#define TCP_HEAD(flags)                                                                            \
	"03e8005011111111222222225"                                                                \
	"0" flags "03e800000000"
#define IP6_TCP "600000000015064020010db800000000000000000000000120010db8000000000000000000000002"

static void test_reset(void **state)
{
	unsigned int count = 0;

	with_packet(MACS "0800" TCP4 TCP_HEAD("18") "61", GATE_LINK_ETHERNET, both_ways, &count);
	with_packet(MACS "88a800078100000508"
			 "00" TCP4 TCP_HEAD("18") "61",
		    GATE_LINK_ETHERNET, both_ways, &count);
	with_packet(TCP4 TCP_HEAD("18") "61", GATE_LINK_RAW, both_ways, &count);
	with_packet(MACS "86dd" IP6_TCP TCP_HEAD("18") "61", GATE_LINK_ETHERNET, both_ways, &count);
	assert_int_equal(count, 4);
}

static void check_syn(struct gate_packet *p, void *arg)
{
	check_sound(p);
	assert_int_equal(ntohl(p->tcp->th_seq), 0);
	assert_int_equal(ntohl(p->tcp->th_ack), 0x11111111 + 2);
	assert_int_equal(p->tcp->th_flags, TH_RST | TH_ACK);
}

static void on_syn(struct gate_packet *p, void *arg)
{
	answer_of(p, true, check_syn, NULL);
}

static void no_answer(struct gate_packet *p, void *arg)
{
	uint8_t frame[GATE_REJECT_SIZE_MAX];

	assert_int_equal(gate_reject_frame(p, true, frame, sizeof(frame)), 0);
	assert_int_equal(gate_reject_frame(p, false, frame, sizeof(frame)), 0);
}

static void test_syn_and_rst(void **state)
{
	with_packet(TCP4 TCP_HEAD("02") "61", GATE_LINK_RAW, on_syn, NULL);
	with_packet(TCP4 TCP_HEAD("04") "61", GATE_LINK_RAW, no_answer, NULL);
}

/* ---- ICMP ---- */

static void check_unreachable(struct gate_packet *p, void *arg)
{
	const struct gate_packet *was = arg;

	check_sound(p);
	if (was->ip_version == 4) {
		assert_int_equal(p->icmp4->type, 3);
		assert_int_equal(p->icmp4->code, 13);
		assert_int_equal(p->icmp_inner.size, 28);
	} else {
		assert_int_equal(p->icmp6->icmp6_type, 1);
		assert_int_equal(p->icmp6->icmp6_code, 1);
	}
	assert_memory_equal(p->icmp_inner.data, was->l3.data, p->icmp_inner.size);
}

static void on_datagram(struct gate_packet *p, void *arg)
{
	uint8_t frame[GATE_REJECT_SIZE_MAX];

	answer_of(p, true, check_unreachable, p);
	assert_int_equal(gate_reject_frame(p, false, frame, sizeof(frame)), 0);
}

#define UDP4                                                                                       \
	"45000021000100004011"                                                                     \
	"66c90a0000010a000002"                                                                     \
	"03e80035000d0000"                                                                         \
	"68656c6c6f"
#define UDP4_ALL                                                                                   \
	"45000021000100004011"                                                                     \
	"66c90a000001ffffffff"                                                                     \
	"03e80035000d0000"                                                                         \
	"68656c6c6f"

static void test_unreachable(void **state)
{
	with_packet(UDP4, GATE_LINK_RAW, on_datagram, NULL);
	with_packet(MACS "8100000c0800" UDP4, GATE_LINK_ETHERNET, on_datagram, NULL);
	with_packet("60000000000d114020010db800000000000000000000000120010db800000000000000000000"
		    "000203e80035000d5c7068656c6c6f",
		    GATE_LINK_RAW, on_datagram, NULL);
	/* broadcast, an error, a later fragment, a pseudowire */
	with_packet(UDP4_ALL, GATE_LINK_RAW, no_answer, NULL);
	with_packet("450000240001000040010000"
		    "0a0000010a000002"
		    "0303000000000000"
		    "4500000000000000",
		    GATE_LINK_RAW, no_answer, NULL);
	with_packet("450000210001000540110000"
		    "0a0000010a000002"
		    "03e80035000d0000"
		    "68656c6c6f",
		    GATE_LINK_RAW, no_answer, NULL);
	with_packet(MACS "8847"
			 "00064140" UDP4,
		    GATE_LINK_ETHERNET, no_answer, NULL);
}

/* ---- the verdict ---- */

static void on_drop(struct gate_packet *p, void *arg)
{
	struct world *w = arg;
	uint64_t dropped = bh_counter_get("gate_drop_rule");

	gate_verdict_packet(&w->verdict, p);
	assert_int_equal(w->forwarded, 1);
	p->flags |= GATE_PKT_DROP;
	p->drop_reason = GATE_DROP_RULE;
	gate_verdict_packet(&w->verdict, p);
	assert_int_equal(w->forwarded, 1);
	assert_int_equal(bh_counter_get("gate_drop_rule"), dropped + 1);
	p->flags |= GATE_PKT_REJECT_SRC | GATE_PKT_REJECT_DST;
	gate_verdict_packet(&w->verdict, p);
	assert_int_equal(w->injected, 2);
	assert_int_equal(w->other_side, 1);
	w->refuse = true;
	dropped = bh_counter_get("gate_reject_failed");
	gate_verdict_packet(&w->verdict, p);
	assert_int_equal(bh_counter_get("gate_reject_failed"), dropped + 2);
}

static void test_drop(void **state)
{
	struct world w;

	world_of(&w);
	with_packet(TCP4 TCP_HEAD("18") "61", GATE_LINK_RAW, on_drop, &w);
}

/* A storm is answered a thousand times a second and no more. */
static void on_storm(struct gate_packet *p, void *arg)
{
	struct world *w = arg;

	p->flags |= GATE_PKT_DROP | GATE_PKT_REJECT_SRC;
	for (unsigned int i = 0; i < 2000000; i++) {
		p->time_us++;
		gate_verdict_packet(&w->verdict, p);
	}
	assert_in_range(w->injected, 1990, 2110);
	p->time_us -= 1000000; /* a clock that is set back does not stop it */
	for (unsigned int i = 0; i < 100000; i++) {
		p->time_us++;
		gate_verdict_packet(&w->verdict, p);
	}
	assert_in_range(w->injected, 2080, 2220);
}

static void test_storm(void **state)
{
	struct world w;

	world_of(&w);
	with_packet(TCP4 TCP_HEAD("18") "61", GATE_LINK_RAW, on_storm, &w);
}

static void on_change(struct gate_packet *p, void *arg)
{
	struct world *w = arg;

	p->data[40] ^= 0x20;
	p->flags |= GATE_PKT_MODIFIED;
	gate_verdict_packet(&w->verdict, p);
	assert_true(gate_checksum_l4_ok(p));
	assert_true(gate_checksum_ip4_ok(p));
	assert_int_equal(w->forwarded, 1);
}

static void test_change(void **state)
{
	struct world w;

	world_of(&w);
	with_packet(TCP4 TCP_HEAD("18") "61", GATE_LINK_RAW, on_change, &w);
}

static void test_reasons(void **state)
{
	for (int i = 0; i < GATE_DROP_REASONS; i++) {
		assert_true(*gate_drop_reason_name(i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset),	    cmocka_unit_test(test_syn_and_rst),
		cmocka_unit_test(test_unreachable), cmocka_unit_test(test_drop),
		cmocka_unit_test(test_storm),	    cmocka_unit_test(test_change),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
