/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that travel with a VM: what moved is judged at the target as if it had never moved,
 * neighbours on both sides go on, and nothing is left behind. */
#include "moves_world.h"

#include "base/util.h"

#include <unistd.h>

/* ---- tests ---- */

static void tcp_goes_on(void **state)
{
	struct flow out = {.proto = KIT_TCP, .peer = OUT, .sport = 40000},
		    in = {.proto = KIT_TCP, .peer = OUT, .sport = 40001, .inwards = true};

	two_hosts();
	must_open_tcp(&src, &out);
	must_open_tcp(&src, &in);
	plug(&dst, A);
	/* The target knows nothing of it ... */
	assert_false(passes(&dst, &out, false, KIT_ACK));
	assert_false(passes(&dst, &in, false, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 2);
	/* ... until it is told. */
	assert_int_equal(move_all(), 2);
	for (int i = 0; i < 4; i++) {
		assert_true(passes(&dst, &out, false, KIT_ACK));
		assert_true(passes(&dst, &out, true, KIT_ACK));
		assert_true(passes(&dst, &in, false, KIT_ACK));
		assert_true(passes(&dst, &in, true, KIT_ACK));
	}
	assert_int_equal(counted(&dst, A, BH_REASON_REJUDGED), 2);
	assert_int_equal(charged(&dst, A), 2);
}

/* ---- everything that a connection can be ---- */

static const struct flow flows[] = {
	{.proto = KIT_TCP, .peer = OUT, .sport = 41000},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41001, .inwards = true},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41002, .v6 = true},
	{.proto = KIT_TCP, .peer = OUT, .sport = 41003, .vlan = VLAN},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41004},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41005, .v6 = true, .inwards = true},
	{.proto = KIT_UDP, .peer = OUT, .sport = 41006, .vlan = VLAN, .inwards = true},
	{.proto = KIT_ICMP, .peer = OUT, .sport = 41007},
	{.proto = KIT_ICMP6, .peer = OUT, .sport = 41008, .v6 = true},
	{.proto = KIT_SCTP, .peer = OUT, .sport = 41009},
	{.proto = KIT_SCTP, .peer = OUT, .sport = 41010, .v6 = true, .inwards = true},
};
#define STAGES 5

/* Brings the flow so far at that host: opened, answered, carrying data, half closed, closed. */
static void bring(struct host *h, const struct flow *f, int stage)
{
	bool tcp = f->proto == KIT_TCP;

	assert_true(passes(h, f, false, KIT_SYN));
	if (stage >= 1) {
		assert_true(passes(h, f, true, tcp ? KIT_SYN | KIT_ACK : KIT_SYN));
	}
	for (int i = 0; stage >= 2 && i < 3; i++) {
		assert_true(passes(h, f, false, KIT_ACK));
		assert_true(passes(h, f, true, KIT_ACK));
	}
	if (stage >= 3 && tcp) {
		assert_true(passes(h, f, false, KIT_FIN | KIT_ACK));
	}
	if (stage >= 4 && tcp) {
		assert_true(passes(h, f, true, KIT_FIN | KIT_ACK));
	}
}

static struct flow at_stage(size_t i, int stage)
{
	struct flow f = flows[i];

	f.sport = (uint16_t)(f.sport + 100 * stage);
	return f;
}

static void must_be_alike(const struct conns *a, const struct conns *b)
{
	assert_int_equal(a->list.count, b->list.count);
	bh_vec_foreach (x, &a->list) {
		const struct bh_capsule_conn *y = NULL;

		bh_vec_foreach (c, &b->list) {
			y = memcmp(&c->tuple, &x->tuple, sizeof(c->tuple)) ? y : c;
		}
		assert_non_null(y);
		assert_int_equal(x->state, y->state);
		assert_int_equal(x->flags, y->flags);
		assert_int_equal(x->timeout_s, y->timeout_s);
		assert_int_equal(x->policy_port, y->policy_port);
		assert_memory_equal(x->nic, y->nic, sizeof(x->nic));
		assert_memory_equal(x->identity, y->identity, sizeof(x->identity));
		assert_memory_equal(x->rule, y->rule, sizeof(x->rule));
		assert_memory_equal(x->packets, y->packets, sizeof(x->packets));
		assert_memory_equal(x->bytes, y->bytes, sizeof(x->bytes));
		assert_true(y->age_ms + 20 >= x->age_ms && y->age_ms < x->age_ms + 5000);
		assert_true(y->idle_ms + 1000 >= x->idle_ms /* tickets */ &&
			    y->idle_ms < x->idle_ms + 5000);
	}
}

static void all_protocols_and_states_go_on(void **state)
{
	struct conns there, here;

	two_hosts();
	for (int stage = 0; stage < STAGES; stage++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(flows); i++) {
			struct flow f = at_stage(i, stage);

			bring(&src, &f, stage);
		}
	}
	assert_int_equal(move_all(), STAGES * BH_ARRAY_SIZE(flows));
	walk(&src, &there);
	walk(&dst, &here);
	must_be_alike(&there, &here);
	bh_vec_done(&here.list);
	plug(&dst, A);
	for (int stage = 0; stage < STAGES; stage++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(flows); i++) {
			struct flow f = at_stage(i, stage);
			uint8_t next = stage ? KIT_ACK : KIT_SYN | KIT_ACK;

			/* What comes next passes on both, and means the same. */
			assert_true(passes(&src, &f, true, next));
			assert_true(passes(&dst, &f, true, next));
			assert_true(passes(&src, &f, false, KIT_ACK));
			assert_true(passes(&dst, &f, false, KIT_ACK));
		}
	}
	bh_vec_done(&there.list);
	walk(&src, &there);
	walk(&dst, &here);
	must_be_alike(&there, &here);
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	assert_int_equal(charged(&dst, A), STAGES * BH_ARRAY_SIZE(flows));
	assert_int_equal(charged(&src, A), STAGES * BH_ARRAY_SIZE(flows));
}

/* Whatever comes and however often, nothing goes back. */
static void later_parts_go_forward_only(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct hostd_dp_import_result r;
	struct conns early, late, here;

	two_hosts();
	bring(&src, &f, 1);
	walk(&src, &early);
	r = import(&dst, &early);
	assert_int_equal(r.added, 1);
	assert_true(passes(&src, &f, false, KIT_ACK));
	assert_true(passes(&src, &f, true, KIT_ACK));
	walk(&src, &late);
	for (int i = 0; i < 3; i++) {
		r = import(&dst, &late);
		assert_int_equal(r.merged, 1);
		r = import(&dst, &early);
		assert_int_equal(r.merged, 1);
	}
	walk(&dst, &here);
	must_be_alike(&late, &here);
	assert_int_equal(here.list.items[0].state, BH_CT_ESTABLISHED);
	assert_int_equal(charged(&dst, A), 1);
	bh_vec_done(&early.list);
	bh_vec_done(&late.list);
	bh_vec_done(&here.list);
}

/* A repeat does not have the target judge again what it has judged. */
static void a_repeat_changes_nothing(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct conns there;

	two_hosts();
	must_open_tcp(&src, &f);
	plug(&dst, A);
	assert_int_equal(move_all(), 1);
	walk(&src, &there);
	for (int i = 0; i < 3; i++) {
		assert_true(passes(&dst, &f, false, KIT_ACK));
		import(&dst, &there);
	}
	assert_int_equal(counted(&dst, A, BH_REASON_REJUDGED), 1);
	bh_vec_done(&there.list);
}

/* The tuple is used again, and nobody told that the first one ended. */
static void another_connection_of_the_same_name(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 40000};
	struct conns here;

	two_hosts();
	bring(&src, &f, 4);
	assert_int_equal(move_all(), 1);
	usleep(20000); /* the coarse clock ticks */
	assert_true(passes(&src, &f, false, KIT_SYN));
	assert_int_equal(move_all(), 1);
	walk(&dst, &here);
	assert_int_equal(here.list.items[0].state, BH_CT_NEW);
	assert_int_equal(here.list.items[0].timeout_s, 60);
	assert_int_equal(here.list.items[0].packets[0] + here.list.items[0].packets[1], 1);
	bh_vec_done(&here.list);
}

/* ---- judging ---- */

static void the_target_judges(void **state)
{
	struct flow in = {.proto = KIT_TCP, .peer = OUT, .sport = 40000, .inwards = true},
		    out = {.proto = KIT_TCP, .peer = OUT, .sport = 40001};

	two_hosts();
	must_open_tcp(&src, &in);
	must_open_tcp(&src, &out);
	must_hold(&dst, true, false, true); /* the VM receives nothing that it did not ask for */
	plug(&dst, A);
	assert_int_equal(move_all(), 2);
	assert_true(passes(&dst, &out, true, KIT_ACK));
	assert_false(passes(&dst, &in, false, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_POLICY), 1);
	assert_int_equal(charged(&dst, A), 1);
}

static void arriving_is_counted_apart(void **state)
{
	struct flow tcp = {.proto = KIT_TCP, .peer = OUT, .sport = 40000, .inwards = true},
		    fresh = {.proto = KIT_TCP, .peer = OUT, .sport = 40001},
		    udp = {.proto = KIT_UDP, .peer = OUT, .sport = 40002};
	struct hostd_dp_nic_key key = world_key(A), stranger = world_key(5);
	struct hostd_dp_nic_status status;
	struct conns there;

	two_hosts();
	must_open_tcp(&src, &tcp);
	assert_int_equal(
		hostd_dp_nic_set_flags(dst.dp, &stranger, BH_NIC_ARRIVING, BH_NIC_ARRIVING, NULL),
		-ENOENT);
	/* Before there is a device, and kept when there is one, and by the next process. */
	assert_int_equal(
		hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_ARRIVING, BH_NIC_ARRIVING, NULL), 0);
	plug(&dst, A);
	open_again(&dst);
	assert_int_equal(hostd_dp_nic_status(dst.dp, &key, &status, NULL), 0);
	assert_int_equal(status.flags & BH_NIC_ARRIVING, BH_NIC_ARRIVING);
	assert_false(passes(&dst, &tcp, false, KIT_ACK));
	assert_false(passes(&dst, &tcp, true, KIT_ACK));
	assert_false(passes(&dst, &tcp, true, KIT_RST | KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_ARRIVING), 3);
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 0);
	must_open_tcp(&dst, &fresh);
	assert_true(passes(&dst, &udp, false, 0));
	walk(&src, &there);
	assert_int_equal(import(&dst, &there).added, 1);
	bh_vec_done(&there.list);
	assert_true(passes(&dst, &tcp, true, KIT_ACK));
	/* It came; from now on TCP from nowhere is what it always was. */
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_ARRIVING, 0, NULL), 0);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_false(passes(&dst, &tcp, true, KIT_ACK));
	assert_int_equal(counted(&dst, A, BH_REASON_DROP_CT_INVALID), 1);
	/* The last way out: judged as if it opened. The bind that follows keeps it, whoever binds
	 * once more decides anew. */
	for (int bound = 0; bound < 2; bound++) {
		assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
		if (!bound) {
			unplug(&dst, A);
		}
		assert_int_equal(
			hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_PICKUP, BH_NIC_PICKUP, NULL),
			0);
		if (!bound) {
			plug(&dst, A);
		}
		assert_true(passes(&dst, &tcp, true, KIT_ACK));
		plug(&dst, A);
		assert_int_equal(hostd_dp_nic_status(dst.dp, &key, &status, NULL), 0);
		assert_int_equal(status.flags & BH_NIC_PICKUP, 0);
	}
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_PICKUP, BH_NIC_PICKUP, NULL),
			 0);
	assert_int_equal(hostd_dp_nic_set_flags(dst.dp, &key, BH_NIC_PICKUP, 0, NULL), 0);
	assert_int_equal(hostd_dp_nic_status(dst.dp, &key, &status, NULL), 0);
	assert_int_equal(status.flags & BH_NIC_PICKUP, 0);
}

/* ---- neighbours on one host ---- */

/* The VM moves away: its neighbour goes on talking with it, now by the uplink. */
static void the_neighbour_stays(void **state)
{
	static const struct flow *const all[] = {&pair, &pair_udp, &pair_back};
	struct hostd_dp_nic_key key = world_key(A);
	uint32_t kind;

	two_hosts();
	plug(&src, B);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		must_open_pair(&src, all[i]);
	}
	assert_true(tickets_that_run(&src) >= 4);
	assert_int_equal(charged(&src, A), 2);
	assert_int_equal(charged(&src, B), 1);
	assert_int_equal(move_all(), 3);
	unplug(&src, A);
	assert_int_equal(hostd_dp_import_undo(src.dp, &nics, NULL), 0);
	assert_int_equal(tickets_that_run(&src), 0);
	assert_int_equal(charged(&src, A), 0);
	assert_int_equal(charged(&src, B), 3);
	must_hold(&src, false, true, false);
	assert_null(dp_nic_find(src.dp, key.vm, key.mac));
	plug(&dst, A);
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
			for (int reply = 0; reply < 2; reply++) {
				assert_true(at_sender(all[i]->inwards != reply ? &src : &dst,
						      all[i], reply, KIT_ACK, &kind));
				assert_int_equal(kind, BH_MARK_NIC); /* judged for the sender */
				assert_true(at_receiver(all[i]->inwards != reply ? &dst : &src,
							all[i], reply, KIT_ACK));
			}
		}
	}
	/* Still the same ones, followed on both hosts. */
	assert_int_equal(counted(&src, B, BH_REASON_CT_NEW), 1);
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	assert_int_equal(charged(&src, B), 3);
	assert_int_equal(charged(&dst, A), 3);
	/* And they end. */
	assert_true(at_sender(&dst, &pair, false, KIT_RST | KIT_ACK, NULL));
	assert_true(at_receiver(&src, &pair, false, KIT_RST | KIT_ACK));
}

/* Nobody says anything: the VM's device and records just go. */
static void a_neighbour_that_vanishes(void **state)
{
	struct hostd_dp_nic_key key = world_key(A);
	uint32_t kind;

	two_hosts();
	plug(&src, B);
	must_open_pair(&src, &pair);
	unplug(&src, A);
	must_hold(&src, false, true, false);
	assert_null(dp_nic_find(src.dp, key.vm, key.mac));
	for (int i = 0; i < 4; i++) {
		assert_true(at_sender(&src, &pair, true, KIT_ACK, &kind));
		assert_int_equal(kind, BH_MARK_NIC);
		assert_true(at_receiver(&src, &pair, false, KIT_ACK));
	}
}

/* The VM moves to where its neighbour is already. */
static void two_taps_of(struct host *h, const struct flow *f)
{
	uint32_t kind;

	for (int i = 0; i < 4; i++) {
		for (int reply = 0; reply < 2; reply++) {
			assert_true(at_sender(h, f, reply, KIT_ACK, &kind));
			assert_true(kind == BH_MARK_JUDGED || kind == BH_MARK_HANDED);
		}
	}
}

static void open_across(const struct flow *f)
{
	static const uint8_t steps[3][2] = {{0, KIT_SYN}, {1, KIT_SYN | KIT_ACK}, {0, KIT_ACK}};

	for (int i = 0; i < 3; i++) {
		bool from_b = f->inwards != steps[i][0];

		assert_true(at_sender(from_b ? &dst : &src, f, steps[i][0], steps[i][1], NULL));
		assert_true(at_receiver(from_b ? &src : &dst, f, steps[i][0], steps[i][1]));
	}
}

static void the_neighbour_is_there(void **state)
{
	static const struct flow *const all[] = {&pair, &pair_udp, &pair_back};
	struct hostd_dp_import_result r;
	struct conns there, again;

	two_hosts();
	must_hold(&src, true, false, false);
	must_hold(&dst, false, true, false);
	plug(&dst, B);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		open_across(all[i]);
	}
	must_hold(&dst, true, true, false); /* it is told of the VM */
	walk(&src, &there);
	r = import(&dst, &there);
	assert_int_equal(r.merged, 3);
	assert_int_equal(charged(&dst, B), 3);
	assert_int_equal(charged(&dst, A), 0);
	/* While memory is copied the VM still talks from over there. */
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		for (int round = 0; round < 3; round++) {
			bool b_first = all[i]->inwards;

			assert_true(at_sender(b_first ? &dst : &src, all[i], false, KIT_ACK, NULL));
			assert_true(at_receiver(b_first ? &src : &dst, all[i], false, KIT_ACK));
			assert_true(at_sender(b_first ? &src : &dst, all[i], true, KIT_ACK, NULL));
			assert_true(at_receiver(b_first ? &dst : &src, all[i], true, KIT_ACK));
		}
	}
	walk(&src, &again);
	assert_int_equal(import(&dst, &again).merged, 3);
	unplug(&src, A);
	plug(&dst, A);
	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		two_taps_of(&dst, all[i]);
	}
	assert_int_equal(counted(&dst, A, BH_REASON_CT_NEW), 0);
	bh_vec_done(&there.list);
	bh_vec_done(&again.list);
}

/* Looked up by name: what is there as it is now, and neither what has gone nor another VM's. */
static void only_these(void **state)
{
	const struct flow v6 = {.v6 = true, .proto = KIT_TCP, .peer = OUT, .sport = 43900};
	struct bh_capsule_tuple *wanted;
	struct conns all, found = {};
	struct hostd_dp_walk *w;

	two_hosts();
	open_many(&src, 20);
	must_open_tcp(&src, &v6);
	walk(&src, &all);
	assert_int_equal(all.list.count, 21);
	wanted = bh_alloc_array(all.list.count, sizeof(*wanted));
	for (size_t i = 0; i < all.list.count; i++) {
		wanted[i] = all.list.items[i].tuple;
		wanted[i].net += i == 3; /* nobody's */
	}
	assert_int_equal(hostd_dp_import_gone(src.dp, &nics, &wanted[7], 1, NULL), 0);
	w = hostd_dp_walk_of(src.dp, &nics, wanted, all.list.count);
	assert_int_equal(hostd_dp_walk_step(w, 20, collect, &found, NULL), HOSTD_DP_MORE);
	assert_int_equal(hostd_dp_walk_step(w, 20, collect, &found, NULL), 0);
	hostd_dp_walk_free(w);
	assert_int_equal(found.list.count, 19);
	for (size_t i = 0, n = 0; i < all.list.count; i++) {
		if (i != 3 && i != 7) {
			assert_memory_equal(&found.list.items[n++].tuple, &all.list.items[i].tuple,
					    sizeof(wanted[i]));
		}
	}
	assert_true(hostd_dp_walk_is_short(src.dp, 1));
	assert_false(hostd_dp_walk_is_short(src.dp, 1u << 30));
	bh_vec_done(&all.list);
	bh_vec_done(&found.list);
}

/* The same, but it does not come: what the neighbour has with it stays as it was. */
static void the_neighbour_waits_in_vain(void **state)
{
	struct conns there, here;

	two_hosts();
	must_hold(&dst, false, true, false);
	plug(&dst, B);
	open_across(&pair);
	open_across(&pair_back);
	must_hold(&dst, true, true, false);
	walk(&src, &there);
	import(&dst, &there);
	assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
	assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_int_equal(tickets_that_run(&dst), 0);
	must_hold(&dst, false, true, false);
	walk(&dst, &here);
	assert_int_equal(here.list.count, 0);
	assert_int_equal(charged(&dst, B), 2);
	for (int i = 0; i < 3; i++) {
		assert_true(at_sender(&dst, &pair, true, KIT_ACK, NULL));
		assert_true(at_receiver(&src, &pair, true, KIT_ACK));
		assert_true(at_sender(&src, &pair_back, true, KIT_ACK, NULL));
		assert_true(at_receiver(&dst, &pair_back, true, KIT_ACK));
	}
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
}

/* An index that was another VM's: what that one had is not judged by the newcomer's policy. */
static void an_index_is_not_inherited(void **state)
{
	for (int again = 0; again < 2; again++) {
		static const uint8_t mac[6] = {2, 0x77, 0, 0, 0, 0x77}, vm[16] = {0x77};
		uint32_t was, kind;

		two_hosts();
		plug(&src, B);
		must_open_pair(&src, &pair);
		was = index_of(&src, A);
		unplug(&src, A);
		must_hold(&src, false, true, false);
		if (again) {
			open_again(&src);
		}
		src.dp->nic_next = was; /* all the others came and went */
		src.newcomer = true;
		must_hold(&src, false, true, false);
		assert_int_equal(dp_nic_find(src.dp, vm, mac)->index, was);
		assert_true(at_sender(&src, &pair, true, KIT_ACK, &kind));
		assert_int_equal(kind, BH_MARK_NIC);
		assert_true(at_receiver(&src, &pair, false, KIT_ACK));
		assert_int_equal(charged(&src, B), 1);
		clean_up(NULL);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(tcp_goes_on, clean_up),
		cmocka_unit_test_teardown(all_protocols_and_states_go_on, clean_up),
		cmocka_unit_test_teardown(later_parts_go_forward_only, clean_up),
		cmocka_unit_test_teardown(a_repeat_changes_nothing, clean_up),
		cmocka_unit_test_teardown(another_connection_of_the_same_name, clean_up),
		cmocka_unit_test_teardown(the_target_judges, clean_up),
		cmocka_unit_test_teardown(arriving_is_counted_apart, clean_up),
		cmocka_unit_test_teardown(the_neighbour_stays, clean_up),
		cmocka_unit_test_teardown(a_neighbour_that_vanishes, clean_up),
		cmocka_unit_test_teardown(the_neighbour_is_there, clean_up),
		cmocka_unit_test_teardown(the_neighbour_waits_in_vain, clean_up),
		cmocka_unit_test_teardown(only_these, clean_up),
		cmocka_unit_test_teardown(an_index_is_not_inherited, clean_up),
	};

	world_require_root();
	return cmocka_run_group_tests(tests, setup, teardown);
}
