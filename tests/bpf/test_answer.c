/* SPDX-License-Identifier: Apache-2.0 */
/* What is rejected is answered: RST and ICMP byte by byte, back where it came from, within a limit.
 */
#include "kit.h"

#include <arpa/inet.h>
#include <string.h>

#define QUOTE_MAX 128

static int setup(void **state)
{
	struct kit *kit;

	(void)kit_setup(state);
	kit = *state;
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_REJECT, 1);
	kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_REJECT, 1);
	return 0;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static struct kit_result reject(struct kit *kit, const struct kit_frame *f)
{
	struct kit_result r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, f);

	assert_int_equal(r.verdict, KIT_REDIRECT);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_ANSWER);
	assert_memory_equal(r.out.data, f->data + 6, 6);
	assert_memory_equal(r.out.data + 6, f->data, 6);
	assert_memory_equal(r.out.data + 12, f->data + 12, f->l3 - 12);
	assert_true(kit_is_valid(&r.out));
	return r;
}

static void a_syn_gets_a_reset(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, want;
	struct kit_result r;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_TCP, .sport = 1000,
		  .dport = 80, .tcp_flags = KIT_SYN, .seq = 0xfffffffe, .body_size = 5);
	r = reject(kit, &f);
	KIT_FRAME(&want, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_TCP, .sport = 80,
		  .dport = 1000, .tcp_flags = KIT_RST | KIT_ACK, .ack = 4);
	want.data[want.l3 + 6] = 0x40;		/* don't fragment */
	memset(want.data + want.l4 + 14, 0, 2); /* no window */
	kit_fix(&want);
	assert_int_equal(r.out.size, want.size);
	assert_memory_equal(r.out.data, want.data, want.size);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_DROP_REJECT), 1);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_ANSWER_SENT), 1);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->action, BH_ACTION_REJECT);
}

static void a_reset_of_what_was_acknowledged_takes_its_number(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct kit_result r;

	kit_nic_flags(kit, 1, BH_NIC_PICKUP);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_TCP, .sport = 1000,
		  .dport = 80, .tcp_flags = KIT_ACK, .seq = 5, .ack = 777, .body_size = 100);
	r = reject(kit, &f);
	assert_int_equal(r.out.size, 14 + 40 + 20);
	assert_int_equal(be32(r.out.data + 14 + 40 + 4), 777);
	assert_int_equal(be32(r.out.data + 14 + 40 + 8), 0);
	assert_int_equal(r.out.data[14 + 40 + 13], KIT_RST);
	assert_memory_equal(r.out.data + 14 + 8, f.data + 14 + 24, 16);
	assert_memory_equal(r.out.data + 14 + 24, f.data + 14 + 8, 16);
}

static void anything_else_gets_icmp(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct kit_result r;

	for (size_t size = 0; size < 180; size += 2) { /* within the limit of 100 a second */
		size_t quote = 28 + size < QUOTE_MAX ? 28 + size : QUOTE_MAX;

		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP,
			  .sport = 1000, .dport = 9, .body_size = size + (size / 2) % 2,
			  .body = kit->events);
		quote += quote < QUOTE_MAX ? (size / 2) % 2 : 0;
		r = reject(kit, &f);
		assert_int_equal(r.out.size, 14 + 20 + 8 + quote);
		assert_int_equal(r.out.data[14 + 9], KIT_ICMP);
		assert_memory_equal(r.out.data + 34, "\3\15", 2);
		assert_int_equal(be32(r.out.data + 38), 0);
		assert_memory_equal(r.out.data + 42, f.data + 14, quote);
	}
}

static void and_over_ipv6_icmpv6(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct kit_result r;

	for (size_t size = 0; size < 90; size++) {
		size_t quote = 48 + size < QUOTE_MAX ? 48 + size : QUOTE_MAX;

		KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_UDP, .sport = 1000,
			  .dport = 9, .body_size = size);
		r = reject(kit, &f);
		assert_int_equal(r.out.size, 14 + 40 + 8 + quote);
		assert_int_equal(r.out.data[14 + 6], KIT_ICMP6);
		assert_memory_equal(r.out.data + 54, "\1\1", 2);
		assert_memory_equal(r.out.data + 62, f.data + 14, quote);
	}
}

static void tags_and_options_do_not_matter(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct kit_result r;

	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_TCP, .tcp_flags = KIT_SYN,
		  .vlan = {5, 6}, .ext = "\1\1\1\1", .ext_size = 4);
	r = reject(kit, &f);
	assert_int_equal(r.out.size, 22 + 40);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_ICMP, .icmp_type = 8,
		  .vlan = {5});
	r = reject(kit, &f);
	assert_int_equal(r.out.size, 18 + 28 + 28);
}

/* The receiver refuses: the answer goes the way that the packet came. */
static void ingress_is_answered_toward_the_source(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct kit_result r, back;

	KIT_FRAME(&f, .src = "192.0.2.9", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 1,
		  .dport = 22, .tcp_flags = KIT_SYN);
	r = kit_run(kit, KIT_TO_GUEST, kit->ifindex[2], KIT_NONCE | BH_MARK_UPLINK, &f);
	assert_int_equal(r.verdict, KIT_REDIRECT);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_ANSWER);
	assert_true(kit_is_valid(&r.out));
	/* It comes in at the same port, and from_guest knows it. */
	back = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[2], r.mark, &r.out);
	assert_int_equal(back.verdict, KIT_PASS);
	assert_int_equal(back.mark, KIT_NONCE | BH_MARK_ANSWER);
	/* Without that mark it is a reset out of nowhere. */
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &r.out));
	back = kit_run(kit, KIT_TO_UPLINK, kit->ifindex[0], r.mark, &r.out);
	assert_int_equal(back.verdict, KIT_PASS);
	assert_int_equal(back.mark, 0);
	/* Both on this host: known at the sender's tap, and answered there. */
	kit_allow_all(kit);
	kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_REJECT, 1);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .tcp_flags = KIT_SYN);
	r = reject(kit, &f);
	back = kit_run(kit, KIT_TO_GUEST, kit->ifindex[1], r.mark, &r.out);
	assert_int_equal(back.verdict, KIT_PASS);
}

static void some_things_are_never_answered(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, q;

	kit_nic_flags(kit, 1, BH_NIC_PICKUP);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "224.0.0.251", .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_REJECT, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .dmac = kit_mac_all, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP);
	assert_reason(kit, 1, DROP_REJECT, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_UDP, .frag_more = true,
		  .body_size = 8, .frag_id = 1);
	assert_reason(kit, 1, DROP_REJECT, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_TCP,
		  .tcp_flags = KIT_RST);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
	KIT_FRAME(&q, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_UDP);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_ICMP, .icmp_type = 3,
		  .body = q.data + 14, .body_size = 28);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_send(kit, 1, &f));
	assert_int_equal(kit_stat(kit, 1, BH_REASON_ANSWER_SENT), 0);
}

static void set_reject_pps(struct bh_ctl *ctl, uint32_t value)
{
	ctl->reject_pps = value;
}

static void answers_are_limited(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_ctl(kit, set_reject_pps, 2);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_TCP,
		  .tcp_flags = KIT_SYN);
	(void)reject(kit, &f);
	(void)reject(kit, &f);
	assert_reason(kit, 1, DROP_REJECT, kit_send(kit, 1, &f));
	assert_int_equal(kit_stat(kit, 1, BH_REASON_ANSWER_LIMITED), 1);
}

/* Adds up what lies behind the transport header's start into the field, as a network card would. */
static void offload(struct kit_frame *f, size_t start, size_t field)
{
	uint16_t sum = htons(kit_checksum(f->data + start, f->size - start, 0));

	memcpy(f->data + start + field, &sum, 2);
}

/* Guests leave the checksum to the card: the field holds the pseudo header's sum only. */
static void leave_to_the_card(struct kit_frame *f, size_t field, uint8_t proto)
{
	bool v6 = f->data[f->l3] >> 4 == 6;
	uint16_t sum = htons(~kit_checksum(f->data + f->l3 + (v6 ? 8 : 12), v6 ? 32 : 8,
					   proto + f->size - f->l4));

	memcpy(f->data + f->l4 + field, &sum, 2);
}

static void answers_survive_checksum_offload(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		const char *src = v6 ? "fd00::1" : "10.0.0.1", *dst = v6 ? "fd00::50" : "10.0.0.50";
		size_t l4 = v6 ? 54 : 34;

		KIT_FRAME(&f, .src = src, .dst = dst, .proto = KIT_TCP, .sport = 3, .dport = 80,
			  .tcp_flags = KIT_SYN);
		leave_to_the_card(&f, 16, KIT_TCP);
		r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
		assert_int_equal(r.verdict, KIT_REDIRECT);
		offload(&r.out, l4, 16);
		assert_true(kit_is_valid(&r.out));
		KIT_FRAME(&f, .src = src, .dst = dst, .proto = KIT_UDP, .sport = 3, .dport = 80,
			  .body_size = 11);
		leave_to_the_card(&f, 6, KIT_UDP);
		r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
		assert_int_equal(r.verdict, KIT_REDIRECT);
		offload(&r.out, l4, 6);
		/* The message adds up, whatever field made it so. */
		assert_int_equal(kit_checksum(r.out.data + l4, r.out.size - l4,
					      v6 ? (uint16_t)~kit_checksum(r.out.data + 22, 32, 0) +
							      KIT_ICMP6 + r.out.size - l4
						 : 0),
				 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_syn_gets_a_reset),
		TEST(a_reset_of_what_was_acknowledged_takes_its_number),
		TEST(anything_else_gets_icmp),
		TEST(and_over_ipv6_icmpv6),
		TEST(tags_and_options_do_not_matter),
		TEST(ingress_is_answered_toward_the_source),
		TEST(some_things_are_never_answered),
		TEST(answers_are_limited),
		TEST(answers_survive_checksum_offload),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
