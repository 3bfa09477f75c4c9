/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that travel, as the kernel sees them: bh_import, the journal, a NIC that arrives.
 * What user space makes of it: tests/unit/test_dataplane_moves.c and test_dataplane_journal.c. */
#include "kit.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* TCP 10.0.0.1:40000 -> 192.0.2.9:80 of NIC 1, established. */
static struct bh_import tcp(void)
{
	struct bh_import i = {.op = BH_IMPORT_PUT,
			      .nic = {1, 0},
			      .charged = 1,
			      .identity = {300, BH_IDENTITY_WORLD},
			      .timeout_s = 28800,
			      .policy_port = 80,
			      .state = BH_CT_ESTABLISHED,
			      .flags = BH_CT_EGRESS_OK | BH_CT_SEEN_REPLY,
			      .created_ns = now_ns(),
			      .last_ns = now_ns(),
			      .packets = {10, 20},
			      .bytes = {1000, 2000},
			      .own_until_ns = {~0ull, 0}};

	i.key.v4.net = KIT_NET;
	i.key.v4.lo = htonl(0x0a000001);
	i.key.v4.hi = htonl(0xc0000209);
	i.key.v4.lo_port = htons(40000);
	i.key.v4.hi_port = htons(80);
	i.key.v4.proto = KIT_TCP;
	return i;
}

/* UDP fd00::1:5000 -> fd00::50:53 of NIC 1. */
static struct bh_import udp6(uint16_t timeout_s)
{
	struct bh_import i = tcp();

	i.v6 = 1;
	i.timeout_s = timeout_s;
	i.state = BH_CT_ESTABLISHED;
	i.policy_port = 53;
	memset(&i.key, 0, sizeof(i.key));
	i.key.v6.net = KIT_NET;
	kit_ip("fd00::1", i.key.v6.lo);
	kit_ip("fd00::50", i.key.v6.hi);
	i.key.v6.lo_port = htons(5000);
	i.key.v6.hi_port = htons(53);
	i.key.v6.proto = KIT_UDP;
	return i;
}

static uint32_t import(struct kit *kit, const struct bh_import *work)
{
	static const uint8_t frame[14];
	struct __sk_buff ctx = {.cb = {1}};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	int fd = bpf_map__fd(kit->skel->maps.bh_imports);
	struct bh_import got;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(fd, &zero, work, BPF_ANY), 0);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(kit->skel->progs.bh_import), &opts),
			 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &got), 0);
	return got.result;
}

static uint32_t charged(struct kit *kit, uint32_t nic)
{
	struct bh_nic_state s;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_nic_state), &nic, &s),
			 0);
	return s.ct_count;
}

static void set_quota(struct bh_ctl *ctl, uint32_t value)
{
	ctl->ct_per_nic = value;
}

static void an_entry_is_made(void **state)
{
	struct kit *kit = *state;
	struct bh_import i = tcp();
	struct kit_frame f;
	struct bh_ct ct;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
	assert_int_equal(import(kit, &i), BH_IMPORT_ADDED);
	ct = kit_ct(kit);
	assert_int_equal(ct.flags, i.flags | BH_CT_TIMER);
	assert_int_equal(ct.state, BH_CT_ESTABLISHED);
	assert_int_equal(ct.nic[0], 1);
	assert_int_equal(ct.packets[1], 20);
	assert_int_not_equal(ct.gen, 2);
	assert_int_equal(charged(kit, 1), 1);
	/* This host's policy decides, and what it refuses ends. */
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(charged(kit, 1), 0);
	kit_allow_all(kit);
	assert_int_equal(import(kit, &i), BH_IMPORT_ADDED);
	assert_int_equal(import(kit, &i), BH_IMPORT_MERGED);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).gen, 2);
	assert_int_equal(import(kit, &i), BH_IMPORT_MERGED);
	assert_int_equal(kit_ct(kit).gen, 2);
	assert_int_equal(charged(kit, 1), 1);
	kit_ctl(kit, set_quota, 1);
	i.key.v4.lo_port++;
	assert_int_equal(import(kit, &i), BH_IMPORT_QUOTA);
	i.charged = 0;
	assert_int_equal(import(kit, &i), BH_IMPORT_NOTHING);
}

static void its_timer_runs(void **state)
{
	struct kit *kit = *state;
	struct bh_import i = udp6(1);
	struct bh_import j = tcp();

	i.last_ns -= 10000000000ull; /* over already: it stays long enough to be read back */
	j.timeout_s = 1;
	assert_int_equal(import(kit, &i), BH_IMPORT_ADDED);
	assert_int_equal(import(kit, &j), BH_IMPORT_ADDED);
	assert_int_equal(kit_ct_count(kit), 2);
	for (int n = 0; n < 400 && kit_ct_count(kit); n++) {
		usleep(50000); /* what is waited for is time itself */
	}
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(charged(kit, 1), 0);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_CT_EXPIRED), 2);
}

static void an_entry_is_taken_out(void **state)
{
	struct kit *kit = *state;
	struct bh_import i = udp6(100), out = i;

	out.op = BH_IMPORT_GONE;
	assert_int_equal(import(kit, &out), BH_IMPORT_NOTHING);
	assert_int_equal(import(kit, &i), BH_IMPORT_ADDED);
	out.nic[0] = 2;
	out.charged = 2;
	assert_int_equal(import(kit, &out), BH_IMPORT_NOTHING);
	out.op = BH_IMPORT_LEAVE;
	assert_int_equal(import(kit, &out), BH_IMPORT_NOTHING);
	assert_int_equal(kit_ct_count(kit), 1);
	out.nic[0] = out.charged = 1;
	assert_int_equal(import(kit, &out), BH_IMPORT_DONE);
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(charged(kit, 1), 0);
	out.op = BH_IMPORT_STATE;
	out.bucket = (struct bh_nic_state){.answer_tokens = 5, .ct_count = 77};
	assert_int_equal(import(kit, &out), BH_IMPORT_DONE);
	assert_int_equal(charged(kit, 1), 0);
}

static void half_of_it_stays(void **state)
{
	struct kit *kit = *state;
	struct bh_import out = {.op = BH_IMPORT_LEAVE, .nic = {1, 0}, .charged = 1};
	struct kit_frame f, back;
	struct bh_ct ct;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 5000,
		  .dport = 53);
	KIT_FRAME(&back, .src = "10.0.0.2", .dst = "10.0.0.1", .proto = KIT_UDP, .sport = 53,
		  .dport = 5000);
	for (int n = 0; n < 4; n++) {
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		assert_int_equal(kit_send(kit, 2, &back), KIT_PASS);
	}
	assert_int_not_equal(kit_ticket(kit, &f).until, 0);
	assert_int_not_equal(kit_ticket(kit, &back).until, 0);
	out.key.v4.net = KIT_NET;
	out.key.v4.lo = htonl(0x0a000001);
	out.key.v4.hi = htonl(0x0a000002);
	out.key.v4.lo_port = htons(5000);
	out.key.v4.hi_port = htons(53);
	out.key.v4.proto = KIT_UDP;
	assert_int_equal(import(kit, &out), BH_IMPORT_DONE);
	assert_int_equal(kit_ticket(kit, &f).until, 0);
	assert_int_equal(kit_ticket(kit, &back).until, 0);
	ct = kit_ct(kit);
	assert_int_equal(ct.nic[0], 0);
	assert_int_equal(ct.nic[1], 2);
	assert_int_equal(ct.charged, 2);
	assert_int_equal(ct.packets[0], 4);
	assert_int_equal(charged(kit, 1), 0);
	assert_int_equal(charged(kit, 2), 1);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_UPLINK, &f), KIT_PASS);
}

/* ---- journal ---- */
struct journal {
	struct bh_move moves[64];
	unsigned count;
};

static int on_move(void *arg, void *data, size_t size)
{
	struct journal *j = arg;

	assert_int_equal(size, sizeof(struct bh_move));
	assert_true(j->count < 64);
	memcpy(&j->moves[j->count++], data, size);
	return 0;
}

static void must_say(struct kit *kit, struct ring_buffer *ring, struct journal *j, unsigned count,
		     uint8_t op)
{
	j->count = 0;
	assert_true(ring_buffer__consume(ring) >= 0);
	assert_int_equal(j->count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(j->moves[i].op, op);
	}
}

static void the_journal_has_changes_only(void **state)
{
	struct kit *kit = *state;
	struct journal j = {};
	struct ring_buffer *ring =
		ring_buffer__new(bpf_map__fd(kit->skel->maps.bh_moves), on_move, &j, NULL);
	struct kit_frame syn, answer, ack;

	assert_non_null(ring);
	kit_allow_all(kit);
	KIT_FRAME(&syn, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_SYN);
	KIT_FRAME(&answer, .src = "fd00::50", .dst = "fd00::1", .proto = KIT_TCP, .sport = 80,
		  .dport = 40000, .tcp_flags = KIT_SYN | KIT_ACK);
	KIT_FRAME(&ack, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK);
	assert_int_equal(kit_send(kit, 1, &syn), KIT_PASS);
	must_say(kit, ring, &j, 0, 0); /* it does not depart */
	kit_nic_flags(kit, 1, BH_NIC_DEPARTING);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &answer), KIT_PASS);
	must_say(kit, ring, &j, 1, BH_MOVE_CHANGED);
	assert_int_equal(j.moves[0].v6, 1);
	assert_int_equal(j.moves[0].nic[0], 1);
	assert_int_equal(j.moves[0].key.v6.proto, KIT_TCP);
	assert_int_equal(kit_send(kit, 1, &ack), KIT_PASS);
	must_say(kit, ring, &j, 1, BH_MOVE_CHANGED);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(kit_send(kit, 1, &ack), KIT_PASS);
	}
	must_say(kit, ring, &j, 0, 0);
	KIT_FRAME(&ack, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_RST);
	assert_int_equal(kit_send(kit, 1, &ack), KIT_PASS);
	must_say(kit, ring, &j, 1, BH_MOVE_CHANGED);
	/* The tuple again: one ends, one comes. */
	assert_int_equal(kit_send(kit, 1, &syn), KIT_PASS);
	j.count = 0;
	assert_true(ring_buffer__consume(ring) >= 0);
	assert_int_equal(j.count, 2);
	assert_int_equal(j.moves[0].op, BH_MOVE_GONE);
	assert_int_equal(j.moves[1].op, BH_MOVE_CHANGED);
	ring_buffer__free(ring);
}

/* ---- arriving ---- */
static void arriving_drops_without_a_record(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	kit_nic_flags(kit, 1, BH_NIC_ARRIVING);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK);
	assert_reason(kit, 1, DROP_ARRIVING, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "192.0.2.9", .dst = "10.0.0.1", .proto = KIT_TCP, .sport = 80,
		  .dport = 40000, .tcp_flags = KIT_ACK);
	assert_reason(kit, 1, DROP_ARRIVING, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	/* Another NIC's packets are none of it. */
	KIT_FRAME(&f, .src = "10.0.0.2", .dst = "192.0.2.9", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK);
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &f));
	assert_int_equal(kit_event_count(kit, BH_FLOW_REFUSED), 0);
	assert_int_equal(kit_event_count(kit, BH_FLOW_GUARD), 0);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_entry_is_made),
		TEST(its_timer_runs),
		TEST(an_entry_is_taken_out),
		TEST(half_of_it_stays),
		TEST(the_journal_has_changes_only),
		TEST(arriving_drops_without_a_record),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
