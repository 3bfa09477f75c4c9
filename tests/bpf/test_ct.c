/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: opening, both taps, replies, states, quotas, timers, a new generation, ICMP errors.
 */
#include "kit.h"

#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#define UDP_OUT(f, port)                                                                           \
	KIT_FRAME(f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_UDP, .sport = 5000,       \
		  .dport = (port))
#define UDP_IN(f, port)                                                                            \
	KIT_FRAME(f, .src = "192.0.2.9", .dst = "10.0.0.1", .proto = KIT_UDP, .sport = (port),     \
		  .dport = 5000)

static void allow(struct kit *kit, unsigned nic, uint32_t dir, uint8_t proto, uint16_t port)
{
	KIT_ROW(kit, .identity = KIT_ID(nic), .dir = dir, .service_kind = BH_SERVICE_PORT,
		.proto = proto, .port = port, .rank = 10, .rule = 100 + dir,
		.action = BH_ACTION_ALLOW);
}

static void set_quota(struct bh_ctl *ctl, uint32_t value)
{
	ctl->ct_per_nic = value;
}

static void set_timeouts(struct bh_ctl *ctl, uint32_t value)
{
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++) {
		ctl->timeout_s[i] = value;
	}
}

static void both_taps_are_judged_where_the_frame_enters(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;
	struct bh_ct ct;

	TCP_12(&f, KIT_SYN);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	allow(kit, 1, BH_DIR_EGRESS, KIT_TCP, 80);
	assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 1, &f)); /* the receiver refuses */
	assert_int_equal(kit_ct_count(kit), 0);
	allow(kit, 2, BH_DIR_INGRESS, KIT_TCP, 80);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.verdict, KIT_PASS);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_JUDGED);
	ct = kit_ct(kit);
	assert_int_equal(ct.flags, BH_CT_EGRESS_OK | BH_CT_INGRESS_OK | BH_CT_TIMER);
	assert_int_equal(ct.nic[0], 1);
	assert_int_equal(ct.nic[1], 2);
	assert_int_equal(ct.identity[0], 300);
	assert_int_equal(ct.identity[1], 301);
	assert_int_equal(ct.rule[0], 100);
	assert_int_equal(ct.rule[1], 101);
	assert_int_equal(ct.state, BH_CT_NEW);
	assert_int_equal(ct.packets[0], 1);
	assert_int_equal(ct.bytes[0], f.size);
	assert_int_equal(kit_event_count(kit, BH_FLOW_NEW), 1);
	assert_int_equal(kit_event_count(kit, BH_FLOW_REFUSED), 2);
	assert_int_equal(kit_event(kit, BH_FLOW_NEW)->rule, 100);
	assert_int_equal(kit_event(kit, BH_FLOW_NEW)->other_rule, 101);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->nic, 2);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->dir, BH_DIR_INGRESS);
	assert_int_equal(kit_rule_stat(kit, 100, 1, BH_DIR_EGRESS), 2);
	assert_int_equal(kit_rule_stat(kit, 101, 2, BH_DIR_INGRESS), 1);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_JUDGED, &f), KIT_PASS);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_event_count(kit, BH_FLOW_NEW), 1);
}

static void replies_pass_and_states_follow(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_TCP, 80);
	allow(kit, 2, BH_DIR_INGRESS, KIT_TCP, 80);
	TCP_21(&f, KIT_SYN | KIT_ACK);
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &f));
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	TCP_21(&f, KIT_SYN | KIT_ACK);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_TCP_SYN_RECV);
	TCP_12(&f, KIT_ACK);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_ESTABLISHED);
	assert_int_equal(kit_ct(kit).timeout_s, 28800);
	TCP_12(&f, KIT_ACK | KIT_FIN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_FIN);
	TCP_21(&f, KIT_ACK | KIT_FIN);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_CLOSED);
	assert_int_equal(kit_ct(kit).timeout_s, 10);
	TCP_12(&f, KIT_ACK);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	/* The tuple is used again: a connection of its own. */
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_NEW);
	assert_int_equal(kit_ct(kit).packets[0], 1);
	assert_int_equal(kit_event_count(kit, BH_FLOW_NEW), 2);
	assert_int_equal(kit_event_count(kit, BH_FLOW_CLOSED), 1);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[0], 4);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[1], 2);
}

static void rst_closes(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	TCP_12(&f, KIT_RST);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	TCP_21(&f, KIT_RST | KIT_ACK);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_CLOSED);
}

static void tcp_in_the_middle_needs_pickup(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	TCP_12(&f, KIT_ACK);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
	kit_nic_flags(kit, 1, BH_NIC_PICKUP);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_ESTABLISHED);
}

static void uplink_sees_one_side(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;

	UDP_IN(&f, 53);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	allow(kit, 1, BH_DIR_EGRESS, KIT_UDP, 53);
	UDP_OUT(&f, 53);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.verdict, KIT_PASS);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_NIC);
	assert_int_equal(kit_ct(kit).state, BH_CT_NEW);
	UDP_IN(&f, 53);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_ESTABLISHED);
	assert_int_equal(kit_ct(kit).timeout_s, 180);
	assert_int_equal(kit_ct(kit).flags & BH_CT_INGRESS_OK, 0);
	assert_int_equal(kit_ct(kit).identity[0], 300);
	assert_int_equal(kit_ct(kit).identity[1], BH_IDENTITY_WORLD);
	UDP_IN(&f, 54);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
}

static void ingress_opens_for_the_answer(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_INGRESS, KIT_UDP, 5000);
	UDP_IN(&f, 9999);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).flags & ~BH_CT_ORIG_HI, BH_CT_INGRESS_OK | BH_CT_TIMER);
	UDP_OUT(&f, 9999);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_event(kit, BH_FLOW_NEW)->dir, BH_DIR_INGRESS);
}

static void ipv6_and_sctp(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_SCTP, 2905);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_SCTP, .sport = 1,
		  .dport = 2905);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).timeout_s, 60);
	KIT_FRAME(&f, .src = "fd00::50", .dst = "fd00::1", .proto = KIT_SCTP, .sport = 2905,
		  .dport = 1);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).timeout_s, 3600);
	assert_int_equal(kit_ct(kit).identity[1], KIT_ID_FAR);
}

static void sctp_associations_begin_and_end(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_SCTP, 2905);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_SCTP, .sport = 1,
		  .dport = 2905, .body = "\1\0\0\4", .body_size = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_SCTP, .sport = 2905,
		  .dport = 1, .body = "\1\0\0\4", .body_size = 4);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_SCTP, .sport = 2905,
		  .dport = 1, .body = "\6\0\0\4", .body_size = 4);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_CLOSED);
	assert_int_equal(kit_ct(kit).timeout_s, 10);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_SCTP, .sport = 1,
		  .dport = 2905, .body = "\1\0\0\4", .body_size = 4);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).state, BH_CT_NEW);
}

static void other_protocols_have_connections_by_number(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PROTO,
		.proto = 47, .rank = 1, .rule = 99, .action = BH_ACTION_ALLOW);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = 47, .body_size = 20);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).timeout_s, 600);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = 47, .body_size = 20);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = 4, .body_size = 20);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
}

static void echo_is_followed_by_identifier(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_ICMP, 8 << 8);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_ICMP, .icmp_type = 8,
		  .icmp_id = 77);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 0,
		  .icmp_id = 77);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 0,
		  .icmp_id = 78);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	/* A request with the same identifier is no answer. */
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 8,
		  .icmp_id = 77);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	assert_int_equal(kit_ct_count(kit), 1);
}

static void other_icmp_is_judged_each_time(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_ICMP, .icmp_type = 13);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
	allow(kit, 1, BH_DIR_EGRESS, KIT_ICMP, 13 << 8);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 0);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_ICMP, .icmp_type = 17);
	assert_reason(kit, 1, DROP_POLICY, kit_send(kit, 1, &f));
}

static void a_syn_from_the_other_side_is_no_answer(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_TCP, 80);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = KIT_TCP, .sport = 1000,
		  .dport = 80, .tcp_flags = KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.50", .dst = "10.0.0.1", .proto = KIT_TCP, .sport = 80,
		  .dport = 1000, .tcp_flags = KIT_SYN);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	assert_int_equal(kit_ct_count(kit), 1);
	allow(kit, 1, BH_DIR_INGRESS, KIT_TCP, 1000);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 1);
}

/* Flips the word with the new generation's verdict in its slot. */
static void deny_in_slot(struct kit *kit, unsigned nic, uint32_t dir, uint8_t proto, uint16_t port,
			 int slot)
{
	KIT_ROW(kit, .identity = KIT_ID(nic), .dir = dir, .service_kind = BH_SERVICE_PORT,
		.proto = proto, .port = port, .rank = 10, .rule = 200, .action = BH_ACTION_DENY,
		.slots = 1 << slot);
}

static void a_new_generation_judges_anew(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_TCP, 80);
	allow(kit, 2, BH_DIR_INGRESS, KIT_TCP, 80);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	deny_in_slot(kit, 2, BH_DIR_INGRESS, KIT_TCP, 80, 0);
	kit_set_gen(kit, 3); /* slot 1: still allowed */
	TCP_21(&f, KIT_SYN | KIT_ACK);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS);
	assert_int_equal(kit_stat(kit, 2, BH_REASON_REJUDGED), 1);
	assert_int_equal(kit_ct(kit).gen, 3);
	assert_int_equal(kit_ct(kit).state, BH_CT_TCP_SYN_RECV);
	kit_set_gen(kit, 4); /* slot 0: the receiver refuses now, also what it sends itself */
	assert_reason(kit, 2, DROP_POLICY, kit_send(kit, 2, &f));
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(kit_event(kit, BH_FLOW_REFUSED)->rule, 200);
	assert_int_equal(kit_event_count(kit, BH_FLOW_CLOSED), 1);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->reason, BH_REASON_DROP_POLICY);
	assert_reason(kit, 2, DROP_CT_INVALID, kit_send(kit, 2, &f));
	TCP_12(&f, KIT_ACK);
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
}

static void rejudging_keeps_the_question(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	allow(kit, 1, BH_DIR_EGRESS, KIT_ICMP6, 128 << 8);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_ICMP6, .icmp_type = 128,
		  .icmp_id = 5);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	kit_set_gen(kit, 3);
	KIT_FRAME(&f, .src = "fd00::50", .dst = "fd00::1", .proto = KIT_ICMP6, .icmp_type = 129,
		  .icmp_id = 5);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	deny_in_slot(kit, 1, BH_DIR_EGRESS, KIT_ICMP6, 128 << 8, 0);
	kit_set_gen(kit, 4);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	assert_int_equal(kit_ct_count(kit), 0);
}

/* Timeouts by protocol and state: those that no other test looks at. */
static void every_state_has_its_timeout(void **state)
{
	static const struct {
		uint8_t proto, type;
		unsigned timeout_s;
	} cases[] = {{KIT_ICMP, 8, 30}, {KIT_UDP, 0, 30}, {KIT_SCTP, 0, 60}, {89, 0, 600}};
	static const struct {
		unsigned nic;
		uint8_t flags;
		unsigned timeout_s;
	} tcp[] = {{1, KIT_SYN, 60},
		   {2, KIT_SYN | KIT_ACK, 60},
		   {1, KIT_ACK, 28800},
		   {2, KIT_ACK | KIT_FIN, 60},
		   {1, KIT_RST, 10}};
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	for (size_t i = 0; i < sizeof(tcp) / sizeof(tcp[0]); i++) {
		if (tcp[i].nic == 1) {
			TCP_12(&f, tcp[i].flags);
		} else {
			TCP_21(&f, tcp[i].flags);
		}
		assert_int_equal(kit_send(kit, tcp[i].nic, &f), KIT_PASS);
		assert_int_equal(kit_ct(kit).timeout_s, tcp[i].timeout_s);
	}
	for (size_t i = 0; i < 4; i++) {
		kit_teardown((void **)&kit);
		kit_setup((void **)&kit);
		*state = kit;
		kit_allow_all(kit);
		KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.50", .proto = cases[i].proto,
			  .icmp_type = cases[i].type, .sport = 1, .dport = 2, .body_size = 8);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
		assert_int_equal(kit_ct(kit).timeout_s, cases[i].timeout_s);
	}
}

static void quota_and_table_are_limits(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	int passed = 0;

	kit_allow_all(kit);
	kit_ctl(kit, set_quota, 2);
	for (int i = 0; i < 2; i++) {
		UDP_OUT(&f, 100 + i);
		assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	}
	UDP_OUT(&f, 102);
	assert_reason(kit, 1, DROP_CT_QUOTA, kit_send(kit, 1, &f));
	KIT_FRAME(&f, .src = "10.0.0.2", .dst = "192.0.2.9", .proto = KIT_UDP, .dport = 7);
	assert_int_equal(kit_send(kit, 2, &f), KIT_PASS); /* another's quota */
	kit_ctl(kit, set_quota, 0);
	for (int i = 0; i < 80; i++) {
		UDP_OUT(&f, 200 + i);
		passed += kit_send(kit, 1, &f) == KIT_PASS;
	}
	assert_int_equal(passed, 64 - 3);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_DROP_CT_FULL), 80 - passed);
	UDP_OUT(&f, 100);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS); /* what exists goes on */
}

static void wait_for_no_ct(struct kit *kit)
{
	const struct timespec step = {.tv_nsec = 20000000};

	for (int i = 0; i < 500 && kit_ct_count(kit); i++) {
		(void)nanosleep(&step, NULL);
	}
}

static void the_kernel_expires_entries(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct bh_nic_state s;
	uint32_t one = 1;

	kit_allow_all(kit);
	kit_ctl(kit, set_timeouts, 1);
	UDP_OUT(&f, 53);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_UDP, .dport = 53);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct_count(kit), 2);
	wait_for_no_ct(kit);
	assert_int_equal(kit_ct_count(kit), 0);
	assert_int_equal(kit_event_count(kit, BH_FLOW_CLOSED), 2);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->packets[0], 1);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->nic, 1);
	assert_int_equal(kit_event(kit, BH_FLOW_CLOSED)->reason, BH_REASON_CT_EXPIRED);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(kit->skel->maps.bh_nic_state), &one, &s),
			 0);
	assert_int_equal(s.ct_count, 0);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_CT_EXPIRED), 2);
}

/* User space puts back what it saved: no timer runs for it until its first packet. */
static void entries_of_user_space_get_a_timer(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;
	struct bh_ct ct;

	kit_allow_all(kit);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	ct = kit_ct(kit);
	assert_int_equal(ct.flags & BH_CT_TIMER, BH_CT_TIMER);
	ct.flags &= ~BH_CT_TIMER;
	ct.timeout_s = 1;
	kit_ct_put(kit, &ct);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	assert_int_equal(kit_ct(kit).flags & BH_CT_TIMER, BH_CT_TIMER);
	wait_for_no_ct(kit);
	assert_int_equal(kit_ct_count(kit), 0);
}

static void icmp_errors_belong_to_a_connection(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, q;

	allow(kit, 1, BH_DIR_EGRESS, KIT_UDP, 53);
	UDP_OUT(&q, 53);
	KIT_FRAME(&f, .src = "198.51.100.1", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 3,
		  .icmp_code = 3, .body = q.data + q.l3, .body_size = 28);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	assert_int_equal(kit_send(kit, 1, &q), KIT_PASS);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_reason(kit, 2, DROP_NOT_MINE, kit_receive(kit, 2, BH_MARK_UPLINK, &f));
	/* Cut short within the quote. */
	KIT_FRAME(&f, .src = "198.51.100.1", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 3,
		  .icmp_code = 3, .body = q.data + q.l3, .body_size = 27);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	/* A quote that somebody else sent. */
	UDP_IN(&q, 53);
	KIT_FRAME(&f, .src = "198.51.100.1", .dst = "10.0.0.1", .proto = KIT_ICMP, .icmp_type = 3,
		  .icmp_code = 3, .body = q.data + q.l3, .body_size = 28);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
	/* The other side reports about what it got: only what it did get. */
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_ICMP, .icmp_type = 3,
		  .icmp_code = 3, .body = q.data + q.l3, .body_size = 28);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	UDP_IN(&q, 55);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_ICMP, .icmp_type = 3,
		  .icmp_code = 3, .body = q.data + q.l3, .body_size = 28);
	assert_reason(kit, 1, DROP_ICMP_UNRELATED, kit_send(kit, 1, &f));
}

static void icmp6_errors_and_a_new_generation(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f, q;

	allow(kit, 1, BH_DIR_EGRESS, KIT_TCP, 443);
	KIT_FRAME(&q, .src = "fd00::1", .dst = "fd00::50", .proto = KIT_TCP, .sport = 9,
		  .dport = 443, .tcp_flags = KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &q), KIT_PASS);
	KIT_FRAME(&f, .src = "2001:db8::1", .dst = "fd00::1", .proto = KIT_ICMP6, .icmp_type = 2,
		  .body = q.data + q.l3, .body_size = 60);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	kit_set_gen(kit, 3);
	assert_int_equal(kit_receive(kit, 1, BH_MARK_UPLINK, &f), KIT_PASS);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_REJUDGED), 1);
	deny_in_slot(kit, 1, BH_DIR_EGRESS, KIT_TCP, 443, 0);
	kit_set_gen(kit, 4);
	assert_reason(kit, 1, DROP_POLICY, kit_receive(kit, 1, BH_MARK_UPLINK, &f));
}

static void networks_are_apart(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	kit_nic_flags(kit, 1, BH_NIC_ANY_VLAN);
	kit_nic_flags(kit, 2, BH_NIC_ANY_VLAN);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 40000,
		  .dport = 80, .tcp_flags = KIT_ACK, .vlan = {5});
	assert_reason(kit, 1, DROP_CT_INVALID, kit_send(kit, 1, &f));
}

/* What a routed NIC sends goes to the host's routing, where a mark would mean something else. */
static void a_routed_nic_sends_without_a_mark(void **state)
{
	struct kit *kit = *state;
	struct kit_frame f;

	kit_allow_all(kit);
	KIT_FRAME(&f, .src = "10.0.0.3", .dst = "192.0.2.9", .proto = KIT_UDP, .dport = 9);
	for (int i = 0; i < 3; i++) {
		struct kit_result r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[3], 0, &f);

		assert_int_equal(r.verdict, KIT_PASS);
		assert_int_equal(r.mark, 0);
	}
	assert_int_equal(kit_ct(kit).packets[0], 3);
	assert_int_equal(kit_stat(kit, 3, BH_REASON_PASS), 3);
}

/* The short way looks again when a lease may have ended. */
static void a_lease_ends_for_connections_too(void **state)
{
	struct bh_nic_addr value = {.present = {1, 1}, .flags = BH_ADDR_LEARNED};
	struct bh_nic_addr_key key = {.nic = 1};
	struct kit *kit = *state;
	int fd = bpf_map__fd(kit->skel->maps.bh_nic_addrs);
	struct timespec now;
	struct kit_frame f;

	kit_allow_all(kit);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	kit_ip("10.0.0.1", key.addr);
	value.expires_ns = now.tv_sec * 1000000000ull + now.tv_nsec + 200000000;
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	UDP_OUT(&f, 53);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
	for (int i = 0; i < 1000 && kit_send(kit, 1, &f) == KIT_PASS; i++) {
		const struct timespec step = {.tv_nsec = 5000000};

		(void)nanosleep(&step, NULL);
	}
	assert_reason(kit, 1, DROP_SPOOF_IP4, kit_send(kit, 1, &f));
}

static void frames_go_from_tap_to_tap(void **state)
{
	struct kit *kit = *state;
	struct kit_result r;
	struct kit_frame f;

	kit_allow_all(kit);
	kit_fastpath(kit);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS); /* keeps the bridge's table warm */
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.verdict, KIT_REDIRECT);
	assert_int_equal(r.mark, KIT_NONCE | BH_MARK_HANDED);
	assert_int_equal(kit_receive(kit, 2, BH_MARK_HANDED, &f), KIT_PASS);
	assert_int_equal(kit_stat(kit, 1, BH_REASON_PASS_FAST), 1);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.3", .proto = KIT_UDP, .dport = 9);
	r = kit_run(kit, KIT_FROM_GUEST, kit->ifindex[1], 0, &f);
	assert_int_equal(r.verdict, KIT_PASS); /* not on that bridge */
	kit_nic_flags(kit, 2, 0);
	TCP_12(&f, KIT_SYN);
	assert_int_equal(kit_send(kit, 1, &f), KIT_PASS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_taps_are_judged_where_the_frame_enters),
		TEST(replies_pass_and_states_follow),
		TEST(rst_closes),
		TEST(tcp_in_the_middle_needs_pickup),
		TEST(uplink_sees_one_side),
		TEST(ingress_opens_for_the_answer),
		TEST(ipv6_and_sctp),
		TEST(sctp_associations_begin_and_end),
		TEST(other_protocols_have_connections_by_number),
		TEST(echo_is_followed_by_identifier),
		TEST(other_icmp_is_judged_each_time),
		TEST(a_syn_from_the_other_side_is_no_answer),
		TEST(a_new_generation_judges_anew),
		TEST(rejudging_keeps_the_question),
		TEST(every_state_has_its_timeout),
		TEST(quota_and_table_are_limits),
		TEST(the_kernel_expires_entries),
		TEST(entries_of_user_space_get_a_timer),
		TEST(icmp_errors_belong_to_a_connection),
		TEST(icmp6_errors_and_a_new_generation),
		TEST(networks_are_apart),
		TEST(a_routed_nic_sends_without_a_mark),
		TEST(a_lease_ends_for_connections_too),
		TEST(frames_go_from_tap_to_tap),
	};

	kit_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
