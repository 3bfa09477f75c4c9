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
	unsigned int count, depth;
};

static void on_packet(struct gate_packet *p, void *arg)
{
	struct look *look = arg;

	if (p->depth == look->depth && !look->count++) {
		look->fn(p, look->arg);
	}
}

/* Decodes hex and hands the packet to fn, that in so many tunnels. */
static void with_inner(const char *hex, unsigned int link, unsigned int depth,
		       void (*fn)(struct gate_packet *, void *), void *arg)
{
	uint8_t data[GATE_REJECT_SIZE_MAX];
	struct look look = {.fn = fn, .arg = arg, .depth = depth};
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

static void with_packet(const char *hex, unsigned int link,
			void (*fn)(struct gate_packet *, void *), void *arg)
{
	with_inner(hex, link, 0, fn, arg);
}

static const struct gate_packet *root_of(const struct gate_packet *p)
{
	return p->outer ? root_of(p->outer) : p;
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
	with_inner(hex, root_of(p)->link, p->depth, fn, arg);
}

/* ---- RST ---- */

static void check_sound(struct gate_packet *p)
{
	assert_int_equal(p->event_count, 0);
	assert_false(p->flags & (GATE_PKT_INVALID | GATE_PKT_BAD_CSUM));
	assert_true(gate_checksum_ip4_ok(p));
	assert_true(gate_checksum_l4_ok(p));
}

/* The layers around it, turned round or as they were. */
static void check_around(struct gate_packet *p, const struct gate_packet *was, bool turned)
{
	p = (struct gate_packet *)(uintptr_t)p->outer;
	for (was = was->outer; was; was = was->outer) {
		assert_non_null(p);
		check_sound(p);
		assert_memory_equal(&p->src, turned ? &was->dst : &was->src, sizeof(p->src));
		assert_memory_equal(&p->dst, turned ? &was->src : &was->dst, sizeof(p->src));
		assert_int_equal(p->vni, was->vni);
		if (was->eth) {
			assert_memory_equal(p->eth + (turned ? 6 : 0), was->eth, 6);
		}
		p = (struct gate_packet *)(uintptr_t)p->outer;
	}
	assert_null(p);
}

static void check_to_sender(struct gate_packet *p, void *arg)
{
	const struct gate_packet *was = arg;

	check_sound(p);
	check_around(p, was, true);
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
	check_around(p, was, false);
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
	/* PPPoE, with PPP's protocol in two bytes and in one, and behind a tag */
	with_packet(MACS "886411000077002b0021" TCP4 TCP_HEAD("18") "61", GATE_LINK_ETHERNET,
		    both_ways, &count);
	with_packet(MACS "886411000077002a21" TCP4 TCP_HEAD("18") "61", GATE_LINK_ETHERNET,
		    both_ways, &count);
	with_packet(MACS "81000005886411000077002b0021" TCP4 TCP_HEAD("18") "61",
		    GATE_LINK_ETHERNET, both_ways, &count);
	assert_int_equal(count, 7);
}

#define INNER	TCP4 TCP_HEAD("18") "61"
#define OF_A	"0a0101010a010102"
#define VXLAN	"c00012b5004700000800000000007700"
#define GENEVE	"c00017c1004f0000024065580000770000010100aabbccdd"
#define IP6_OUT "20010db800000000000000000000000320010db8000000000000000000000004"

static const char *const tunneled[] = {
	/* VXLAN with a tag outside, Geneve with an option, GRE, GRE with sum and key, IP in IP,
	 * Ethernet in GRE with sum and key */
	MACS "8100000508004500005b000100004011648d" OF_A VXLAN MACS "0800" INNER,
	MACS "08004500006300010000401164850a0101010a010102" GENEVE MACS "0800" INNER,
	MACS "08004500004100010000402f6489" OF_A "00000800" INNER,
	MACS "08004500004900010000402f6481" OF_A "a00008000000000000000009" INNER,
	MACS "08004500003d00010000400464b8" OF_A INNER,
	MACS "08004500005700010000402f6473" OF_A "a00065580000000000000009"
	     "fe00000000020200000000010800" INNER,
	/* IPv4 in IPv6, and twice: VXLAN in GRE */
	MACS "86dd6000000000290440" IP6_OUT INNER,
	MACS "08004500007300010000402f6457" OF_A "000008004500005b000100004011648d" OF_A VXLAN MACS
	     "0800" INNER,
};
static const unsigned int depths[] = {1, 1, 1, 1, 1, 1, 1, 2};

static void test_reset_in_tunnels(void **state)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(tunneled); i++) {
		unsigned int count = 0;

		with_inner(tunneled[i], GATE_LINK_ETHERNET, depths[i], both_ways, &count);
		assert_int_equal(count, 1);
	}
}

/* What leads one way only, the sender can't be told by. */
static void check_one_way(struct gate_packet *p, void *arg)
{
	const uint8_t *gre = p->outer ? p->outer->payload.data - p->outer->l4_size : NULL;

	check_to_receiver(p, arg);
	if (gre && gre[1] & 1) { /* of PPTP */
		assert_int_equal(gate_be16(gre + 4), p->size);
		assert_int_equal(gate_be16(gre + 6), 7);
	}
}

static void one_way(struct gate_packet *p, void *arg)
{
	uint8_t frame[GATE_REJECT_SIZE_MAX];

	assert_non_null(p->tcp);
	assert_int_equal(gate_reject_frame(p, true, frame, sizeof(frame)), 0);
	answer_of(p, false, check_one_way, p);
	++*(unsigned int *)arg;
}

#define PPTP "3081880b002d00070000000900000003ff030021"
#define PSEUDOWIRE                                                                                 \
	"8847"                                                                                     \
	"0006414000000000" MACS

/* MPLS with one label and with two, an Ethernet pseudowire, PPPoE in one, VXLAN behind a label;
 * PPTP. */
static void test_reset_one_way(void **state)
{
	unsigned int count = 0;

	with_packet(MACS "884700064140" INNER, GATE_LINK_ETHERNET, one_way, &count);
	with_packet(MACS "81000005"
			 "88470006504000064140" INNER,
		    GATE_LINK_ETHERNET, one_way, &count);
	with_packet(MACS PSEUDOWIRE "0800" INNER, GATE_LINK_ETHERNET, one_way, &count);
	with_packet(MACS PSEUDOWIRE "886411000077002b0021" INNER, GATE_LINK_ETHERNET, one_way,
		    &count);
	with_inner(MACS "884700064140"
			"4500005b000100004011648d" OF_A VXLAN MACS "0800" INNER,
		   GATE_LINK_ETHERNET, 1, one_way, &count);
	with_inner(MACS "08004500005100010000402f6479" OF_A PPTP INNER, GATE_LINK_ETHERNET, 1,
		   one_way, &count);
	assert_int_equal(count, 6);
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

/* `replace` inside: the sums of every layer around it are right again. */
static void on_inner_change(struct gate_packet *p, void *arg)
{
	struct gate_packet *root = (struct gate_packet *)(uintptr_t)root_of(p);
	uint64_t lost = bh_counter_get("gate_replace_lost");
	struct world *w = arg;
	const uint8_t *gre = p->outer->payload.data - p->outer->l4_size;
	uint8_t head[8]; /* of what it carries */

	memcpy(head, p->outer->payload.data, sizeof(head));
	if (p->outer->udp) { /* one that covers what changes */
		((struct udphdr *)(uintptr_t)p->outer->udp)->uh_sum = 1;
	}
	*(uint8_t *)(uintptr_t)p->payload.data ^= 0x20;
	p->flags |= GATE_PKT_MODIFIED;
	gate_verdict_inner(&w->verdict, p, root);
	for (const struct gate_packet *q = p; q; q = q->outer) {
		assert_true(gate_checksum_l4_ok(q));
		assert_true(gate_checksum_ip4_ok(q));
	}
	if (p->outer->ip_proto == IPPROTO_GRE && gre[0] & 0x80) {
		size_t size = p->outer->l4_size + p->outer->payload.size;

		assert_int_equal(gate_checksum_fold(gate_checksum_add(0, gre, (uint32_t)size)), 0);
		assert_memory_equal(head, p->outer->payload.data, sizeof(head));
	}
	assert_true(root->flags & GATE_PKT_INNER_MODIFIED);
	/* a sum that the sender completes stays as it is, and so does one around it */
	for (struct gate_packet *q = p; q; q = (struct gate_packet *)(uintptr_t)q->outer) {
		q->partial = (const uint8_t *)&p->tcp->th_sum;
	}
	*(uint8_t *)(uintptr_t)p->payload.data ^= 0x20;
	gate_verdict_inner(&w->verdict, p, root);
	assert_false(gate_checksum_l4_ok(p));
	assert_int_equal(p->outer->udp ? gate_checksum_l4_ok(p->outer) : false, false);
	assert_int_equal(bh_counter_get("gate_replace_lost"), lost);
	p->flags |= GATE_PKT_REASSEMBLED;
	gate_verdict_inner(&w->verdict, p, root);
	assert_int_equal(bh_counter_get("gate_replace_lost"), lost + 1);
	w->forwarded++;
}

static void test_change_in_tunnels(void **state)
{
	struct world w;

	world_of(&w);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(tunneled); i++) {
		with_inner(tunneled[i], GATE_LINK_ETHERNET, depths[i], on_inner_change, &w);
	}
	assert_int_equal(w.forwarded, BH_ARRAY_SIZE(tunneled));
}

static void on_inner_reject(struct gate_packet *p, void *arg)
{
	struct gate_packet *root = (struct gate_packet *)(uintptr_t)root_of(p);
	struct world *w = arg;

	p->flags |= GATE_PKT_DROP | GATE_PKT_REJECT_SRC | GATE_PKT_REJECT_DST;
	gate_verdict_inner(&w->verdict, p, root);
	assert_int_equal(w->injected, 2);
	assert_int_equal(w->other_side, 1);
	assert_true(root->flags & GATE_PKT_INNER_REJECTED);
	gate_verdict_packet(&w->verdict, root); /* answered once */
	assert_int_equal(w->injected, 2);
}

static void test_reject_in_tunnels(void **state)
{
	struct world w;

	world_of(&w);
	with_inner(tunneled[0], GATE_LINK_ETHERNET, 1, on_inner_reject, &w);
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
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_syn_and_rst),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_reset_in_tunnels),
		cmocka_unit_test(test_reset_one_way),
		cmocka_unit_test(test_change_in_tunnels),
		cmocka_unit_test(test_reject_in_tunnels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
