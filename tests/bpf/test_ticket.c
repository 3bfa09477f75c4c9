/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets: what passes by one, and all that must not. */
#include "kit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#define UDP_OUT(f, port)                                                                           \
	KIT_FRAME(f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_UDP, .sport = (port),     \
		  .dport = 53)

#define UDP_IN(f)                                                                                  \
	KIT_FRAME(f, .src = "192.0.2.9", .dst = "10.0.0.1", .proto = KIT_UDP, .sport = 53,         \
		  .dport = 5000)

static uint64_t counted(struct kit *kit, const struct kit_frame *f)
{
	return kit_ticket(kit, f).count >> BH_TICKET_BYTES_BITS;
}

static void assert_ended(struct kit *kit, const struct kit_frame *f)
{
	assert_int_equal(kit_ticket(kit, f).until, 0);
	assert_int_equal(counted(kit, f), 0);
}

/* Does the next packet pass, and by its ticket? */
static bool sends_by_ticket(struct kit *kit, unsigned nic, const struct kit_frame *f)
{
	for (int i = 0; i < 3; i++) { /* it may run out this very moment */
		uint64_t before = counted(kit, f);

		assert_int_equal(kit_send(kit, nic, f), KIT_PASS);
		if (counted(kit, f) == before + 1) {
			return true;
		}
	}
	return false;
}

/* TCP between 1 and 2, with tickets in both directions. */
static void establish(struct kit *kit)
{
	struct kit_frame f;

	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	TCP_21(&f, KIT_SYN | KIT_ACK);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	TCP_12(&f, KIT_ACK);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_true(sends_by_ticket(kit, 1, &f));
	TCP_21(&f, KIT_ACK);
	assert_true(sends_by_ticket(kit, 2, &f));
}

static void counts_are_moved(void **state)
{
	struct kit *kit = *state;
	struct bh_ticket ticket;
	struct kit_result r;
	struct kit_frame f;

	kit_allow_all(kit);
	establish(kit);
	TCP_12(&f, KIT_ACK);
	assert_true(sends_by_ticket(kit, 1, &f));
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.verdict, KIT_PASS);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
	assert_int_equal(kit_ct(kit).packets[0] + kit_ct(kit).packets[1],
			 kit_stat(kit, 1, BH_REASON_PASS) + kit_stat(kit, 2, BH_REASON_PASS));
	/* One that ran out is renewed, and what it counted is the connection's. */
	ticket = kit_ticket(kit, &f);
	ticket.until = ticket.since;
	kit_ticket_put(kit, &ticket);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(counted(kit, &f), 0);
	assert_true(kit_ticket(kit, &f).until);
	assert_int_equal(kit_ct(kit).packets[0] + kit_ct(kit).packets[1],
			 kit_stat(kit, 1, BH_REASON_PASS) + kit_stat(kit, 2, BH_REASON_PASS));
	assert_true(sends_by_ticket(kit, 1, &f));
	/* So it is when the connection ends. */
	TCP_12(&f, KIT_RST);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_non_null(kit_event(kit, BH_FLOW_CLOSED));
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[0] + 1,
			 kit_stat(kit, 1, BH_REASON_PASS));
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[1],
			 kit_stat(kit, 2, BH_REASON_PASS));
}

static void a_new_generation_ends_it(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	establish(kit);
	kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_DENY, 9);
	kit_set_gen(kit, 3);
	TCP_12(&f, KIT_ACK);
	assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 1, &f));
	assert_int_equal(kit_ct_count(kit), 0);
	TCP_21(&f, KIT_ACK);
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &f));
	/* Nor does it come back with the generation's number: the entry is gone. */
	kit_set_gen(kit, 2);
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &f));
	assert_ended(kit, &f);
}

static void a_change_of_state_ends_both(void **state)
{
	static const uint8_t flags[] = {KIT_FIN | KIT_ACK, KIT_RST | KIT_ACK};
	struct kit *kit = *state;
	struct kit_frame f, back;

	kit_allow_all(kit);
	TCP_21(&back, KIT_ACK);
	for (size_t i = 0; i < 2; i++) {
		establish(kit);
		TCP_12(&f, flags[i]);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		assert_ended(kit, &f);
		assert_ended(kit, &back);
		/* And there are no new ones. */
		TCP_12(&f, KIT_ACK);
		for (int j = 0; j < 3; j++) {
			assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
			assert_ended(kit, &f);
		}
	}
}

static void only_plain_packets_pass_by_it(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	establish(kit);
	TCP_12(&f, KIT_ACK);
	f.data[f.l3 + 2] = 0x7f; /* longer than the frame */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	TCP_12(&f, KIT_ACK);
	f.data[f.l4 + 12] = 0x40; /* a TCP header of 16 bytes */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	TCP_12(&f, KIT_ACK);
	f.data[f.l4 + 12] = 0xf0; /* of 60, which are not there */
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	TCP_12(&f, KIT_SYN | KIT_FIN);
	assert_reason(kit, 1, DROP_MALFORMED, kit_send(kit, 1, &f));
	TCP_12(&f, KIT_ACK);
	f.data[f.l3 + 7] = 2; /* a later fragment */
	kit_fix(&f);
	assert_reason(kit, 1, DROP_FRAGMENT, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .smac = kit_mac[3], .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP,
		  .sport = 40000, .dport = 80, .tcp_flags = KIT_ACK);
	assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
	/* The same tuple in another VLAN, by another protocol and from another tap. */
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK, .vlan = {5});
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .sport = 40000,
		  .dport = 80);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 2); /* judged: it has an entry of its own */
	TCP_12(&f, KIT_ACK);
	assert_reason(kit, 2, DROP_SPOOF_MAC, kit_send(kit, 2, &f));
	assert_true(sends_by_ticket(kit, 1, &f)); /* all the while it was there */
}

static void change_nic(struct kit *kit, uint32_t nic, void (*change)(struct bh_nic *n))
{
	int fd = bpf_map__fd(kit->skel->maps.bh_nics);
	struct bh_nic n;

	assert_int_equal(bpf_map_lookup_elem(fd, &nic, &n), 0);
	change(&n);
	assert_int_equal(bpf_map_update_elem(fd, &nic, &n, BPF_ANY), 0);
}

static void close_slots(struct bh_nic *n)
{
	memset(n->slot, 0, sizeof(n->slot));
}

static void move_to_net_8(struct bh_nic *n)
{
	n->slot[0].identity = n->slot[1].identity = 777;
	n->slot[0].net = n->slot[1].net = 8;
}

static void take_away(struct bh_nic *n)
{
	memset(n, 0, sizeof(*n));
}

static void change_mac(struct bh_nic *n)
{
	n->mac[5] ^= 0x55;
}

static void a_changed_nic_ends_it(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f, back;

	kit_allow_all(kit);
	TCP_12(&f, KIT_ACK);
	TCP_21(&back, KIT_ACK);
	establish(kit);
	change_nic(kit, 1, change_mac);
	assert_reason(kit, 1, DROP_SPOOF_MAC, kit_send(kit, 1, &f));
	change_nic(kit, 1, change_mac);
	assert_true(sends_by_ticket(kit, 1, &f));
	change_nic(kit, 1, move_to_net_8);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f)); /* no connection there */
	change_nic(kit, 1, close_slots);
	assert_reason(kit, 1, DROP_CLOSED, kit_send(kit, 1, &f));
	/* The receiver is no more: the frame must not be called judged for it. */
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[2], 0, &back);
	assert_int_not_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
	change_nic(kit, 1, take_away);
	assert_reason(kit, 1, DROP_CLOSED, kit_send(kit, 1, &f));
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[2], 0, &back);
	assert_int_not_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
}

static void set_nonce(struct bh_ctl *ctl, uint32_t value)
{
	ctl->mark_nonce = value;
}

static void marks_are_those_of_now(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;

	kit_allow_all(kit);
	kit_fastpath(kit);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	TCP_21(&f, KIT_SYN | KIT_ACK);
	(void)kit_send(kit, 2, &f);
	TCP_12(&f, KIT_ACK);
	for (int i = 0; i < 4; i++) {
		r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
		assert_int_equal(r.verdict, KIT_REDIRECT);
		assert_int_equal(r.mark, KIT_NONCE | BH_MARK_HANDED);
	}
	assert_int_equal(counted(kit, &f), 2); /* of the four: judged, granted, passed, passed */
	assert_int_equal(kit_stat(kit, 1, BH_REASON_PASS_FAST), 4);
	kit_ctl_flags(kit, 0);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
	kit_ctl_flags(kit, BH_CTL_FASTPATH);
	kit_nic_flags(kit, 2, 0);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
	kit_ctl(kit, set_nonce, 0x12345600);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.mark, 0x12345600 | BH_MARK_JUDGED);
	kit_ctl(kit, set_nonce, 0);
	assert_int_equal(kit_send(kit, 1, &f), KIT_DROP);
}

/* What comes from an uplink has a ticket at the receiver's tap, for its mark. */
static void a_receiver_has_them_too(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, back;
	uint64_t before;

	kit_allow_all(kit);
	UDP_OUT(&f, 5000);
	UDP_IN(&back);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &back), KIT_PASS);
	}
	before = counted(kit, &back);
	assert_true(before > 0);
	assert_reason(kit, 1, DROP_UNMARKED, kit_receive(kit, 1, 0, &back));
	assert_int_equal(
		kit_run(kit, KIT_TO_GUEST, kit->ifindex[1], 0x99999900 | BH_MARK_UPLINK, &back)
			.verdict,
		KIT_DROP);
	assert_reason(kit, 2, DROP_NOT_MINE, kit_receive(kit, 2, BH_MARK_UPLINK, &back));
	assert_int_equal(kit_send(kit, 1, &back), KIT_DROP); /* it is no ticket for sending */
	assert_int_equal(counted(kit, &back), before);
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 9);
	kit_set_gen(kit, 3);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &back), KIT_DROP);
	assert_ended(kit, &back);
}

/* Two connections with one slot: the second goes the longer way while the first is at it. */
static void a_slot_has_one_at_a_time(void **state)
{
	struct kit *kit = *state;
	struct kit_frame a, b;
	uint32_t slot, ports;
	struct bh_ticket t;
	uint64_t addrs;
	uint16_t port;

	kit_allow_all(kit);
	UDP_OUT(&a, 5000);
	memcpy(&addrs, a.data + 26, sizeof(addrs));
	memcpy(&ports, a.data + 34, sizeof(ports));
	slot = bh_ticket_slot(addrs, ports);
	for (unsigned net = 0;; net++) {
		char dst[24];

		assert_true(net < 256);
		snprintf(dst, sizeof(dst), "198.51.100.%u", net);
		for (port = 1024; port < 65000; port++) {
			KIT_FRAME(&b, .src = "10.0.0.1", .dst = dst, .proto = KIT_UDP,
				  .sport = port, .dport = 53);
			memcpy(&addrs, b.data + 26, sizeof(addrs));
			memcpy(&ports, b.data + 34, sizeof(ports));
			if (bh_ticket_slot(addrs, ports) == slot) {
				break;
			}
		}
		if (port < 65000) {
			break;
		}
	}
	assert_int_equal(kit_send(kit, 1, &a), KIT_PASS);
	assert_true(sends_by_ticket(kit, 1, &a));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kit_send(kit, 1, &b), KIT_PASS);
	}
	t = kit_ticket(kit, &a);
	assert_memory_equal(&t.dst, a.data + 30, 4); /* still the first one's */
	t.until = t.since;
	kit_ticket_put(kit, &t);
	assert_int_equal(kit_send(kit, 1, &b), KIT_PASS);
	t = kit_ticket(kit, &b);
	assert_memory_equal(&t.dst, b.data + 30, 4);
	assert_int_equal(counted(kit, &b), 0); /* what was the first one's went there */
	assert_true(sends_by_ticket(kit, 1, &b));
	kit_default(kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 9);
	kit_set_gen(kit, 3);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &a));
	assert_non_null(kit_event(kit, BH_FLOW_CLOSED));
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[0] + counted(kit, &b) +
				 4 /* long or granting */,
			 kit_stat(kit, 1, BH_REASON_PASS));
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &b));
	assert_int_equal(kit_ct_count(kit), 0);
}

/* A slot that is being written says nothing. */
static void a_half_written_one_is_none(void **state)
{
	struct kit *kit = *state;
	struct bh_ticket t;
	struct kit_frame f;

	kit_allow_all(kit);
	UDP_OUT(&f, 5000);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_true(sends_by_ticket(kit, 1, &f));
	t = kit_ticket(kit, &f);
	t.seq++;
	t.mark = 0x666; /* would be seen */
	kit_ticket_put(kit, &t);
	assert_int_equal(kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f).mark,
			 KIT_NONCE | BH_MARK_NIC);
}

/* An address that is the NIC's for a moment only gets none: a ticket would outlive it. */
static void a_short_lived_address_gets_none(void **state)
{
	struct bh_nic_addr value = {.present = {1, 1}, .flags = BH_ADDR_LEARNED};
	struct bh_nic_addr_key key = {.nic = 1};
	struct kit *kit = *state;
	struct timespec now;
	struct kit_frame f;

	kit_allow_all(kit);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	kit_ip("10.0.0.1", key.addr);
	value.expires_ns = now.tv_sec * 1000000000ull + now.tv_nsec + 600000000;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_nic_addrs), &key,
					     &value, BPF_ANY),
			 0);
	UDP_OUT(&f, 5000);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		assert_int_equal(kit_ticket(kit, &f).until, 0);
	}
}

static void set_timeouts(struct bh_ctl *ctl, uint32_t value)
{
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++) {
		ctl->timeout_s[i] = value;
	}
}

/* The timer knows of what passed by tickets, and when. */
static void the_timer_looks_at_them(void **state)
{
	const struct timespec step = {.tv_nsec = 20000000};
	struct kit *kit = *state;
	struct kit_frame f;
	unsigned sent = 0;

	kit_allow_all(kit);
	kit_ctl(kit, set_timeouts, 1);
	UDP_OUT(&f, 5000);
	for (; sent < 100; sent++) { /* two seconds: longer than the timeout */
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		(void)nanosleep(&step, NULL);
	}
	assert_int_equal(kit_event_count(kit, BH_FLOW_CLOSED), 0);
	for (int i = 0; i < 200 && kit_ct_count(kit); i++) {
		(void)nanosleep(&step, NULL);
	}
	assert_int_equal(kit_event_count(kit, BH_FLOW_CLOSED), 1);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[0], sent);
	assert_in_range(kit_event(kit, BH_FLOW_CLOSED)->duration_ns, 1900000000, 10000000000);
	assert_ended(kit, &f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(counts_are_moved),
		TEST(a_new_generation_ends_it),
		TEST(a_change_of_state_ends_both),
		TEST(only_plain_packets_pass_by_it),
		TEST(a_changed_nic_ends_it),
		TEST(marks_are_those_of_now),
		TEST(a_receiver_has_them_too),
		TEST(a_slot_has_one_at_a_time),
		TEST(a_half_written_one_is_none),
		TEST(a_short_lived_address_gets_none),
		TEST(the_timer_looks_at_them),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
