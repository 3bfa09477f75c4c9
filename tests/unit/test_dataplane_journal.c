/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that travel with a VM: limits, hostile sources, the journal of the source's kernel,
 * and what else of a NIC travels. */
#include "moves_world.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* ---- limits, time, hostile sources ---- */

static void small(struct hostd_dp_options *o)
{
	o->ct_per_nic = 4;
}

static void tiny(struct hostd_dp_options *o)
{
	o->size[HOSTD_DP_CT4] = 8;
}

static void room_is_limited(void **state)
{
	struct hostd_dp_import_result r;
	struct conns there;

	two_hosts();
	open_many(&src, 40);
	walk(&src, &there);
	forget_host(&dst);
	open_host(&dst, "dst", small);
	must_hold(&dst, true, false, false);
	r = import(&dst, &there);
	assert_int_equal(r.added, 4);
	assert_int_equal(r.quota, 36);
	assert_int_equal(charged(&dst, A), 4);
	r = import(&dst, &there);
	assert_int_equal(r.merged, 4);
	assert_int_equal(r.quota, 36);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_int_equal(charged(&dst, A), 0);
	forget_host(&dst);
	open_host(&dst, "dst", tiny);
	must_hold(&dst, true, false, false);
	r = import(&dst, &there);
	assert_true(r.added >= 8 && r.full >= 1);
	assert_int_equal(r.added + r.full, 40);
	assert_int_equal(charged(&dst, A), r.added);
	bh_vec_done(&there.list);
}

static void quick(struct hostd_dp_options *o)
{
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++) {
		o->timeout_s[i] = i == BH_TIMEOUT_TCP_EST ? 1000 : 3;
	}
}

/* Entries that nobody looks at any more go by themselves, also when the process is gone. */
static void timers_run(void **state)
{
	struct flow udp = {.proto = KIT_UDP, .peer = OUT, .sport = 40000},
		    udp6 = {.proto = KIT_UDP, .peer = OUT, .sport = 40001, .v6 = true},
		    tcp = {.proto = KIT_TCP, .peer = OUT, .sport = 40002};
	uint64_t until_ns;

	two_hosts();
	forget_host(&src);
	open_host(&src, "src", quick);
	must_hold(&src, true, false, false);
	plug(&src, A);
	assert_true(passes(&src, &udp, false, 0));
	assert_true(passes(&src, &udp6, false, 0));
	must_open_tcp(&src, &tcp);
	assert_int_equal(move_all(), 3);
	open_again(&dst);
	until_ns = bh_time_mono_ns() + 20000000000ull;
	while ((charged(&dst, A) > 1 || charged(&src, A) > 1) && bh_time_mono_ns() < until_ns) {
		usleep(50000); /* what is waited for is time itself */
	}
	assert_int_equal(charged(&dst, A), 1);
	assert_int_equal(count_of(&dst), 1);
	assert_int_equal(counted(&dst, A, BH_REASON_CT_EXPIRED), 2);
	assert_int_equal(charged(&src, A), 1);
}

/* A source may speak of its VM and of nobody else. */
static void a_source_that_lies(void **state)
{
	struct bh_capsule_conn good, bad;
	struct hostd_dp_move_nics of_b = {.keys = {world_key(B)}, .count = 1},
				  of_nobody = {.keys = {world_key(6)}, .count = 1};
	struct hostd_dp_import_result r;
	struct conns there;

	two_hosts();
	must_hold(&dst, true, true, false);
	plug(&dst, B);
	open_many(&src, 1);
	walk(&src, &there);
	good = there.list.items[0];
	for (int i = 0; i < 8; i++) {
		bad = good;
		switch (i) {
		case 0: /* of nobody */
			bad.nic[0] = bad.nic[1] = 0;
			break;
		case 1: /* of a NIC that the VM has not */
			bad.nic[0] = 2;
			break;
		case 2:
			bad.charged = 2;
			break;
		case 3: /* of a network where the VM is not */
			bad.tuple.net++;
			break;
		case 4:
			bad.state = BH_CT_CLOSED + 1;
			break;
		case 5: /* one that no packet would find */
			memcpy(bad.tuple.lo, good.tuple.hi, 16);
			memcpy(bad.tuple.hi, good.tuple.lo, 16);
			break;
		case 6:
			memset(bad.tuple.lo, 0, 16);
			break;
		default:
			bad.nic[0] = bad.nic[1] = 255;
			break;
		}
		*bh_vec_push(&there.list) = bad;
		assert_int_equal(hostd_dp_import(dst.dp, &nics, there.list.items, 2, &r, NULL),
				 -EINVAL);
		there.list.count = 1;
		assert_int_equal(count_of(&dst), 0); /* not even the good one */
	}
	assert_int_equal(hostd_dp_import(dst.dp, &of_nobody, &good, 1, &r, NULL), -ENOENT);
	/* It can't end what is not its VM's. */
	assert_int_equal(import(&dst, &there).added, 1);
	assert_int_equal(hostd_dp_import_gone(dst.dp, &of_b, &good.tuple, 1, NULL), 0);
	assert_int_equal(hostd_dp_import_gone(dst.dp, &of_nobody, &good.tuple, 1, NULL), 0);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &of_b, NULL), 0);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &of_nobody, NULL), 0);
	assert_int_equal(count_of(&dst), 1);
	assert_int_equal(hostd_dp_import_gone(dst.dp, &nics, &good.tuple, 1, NULL), 0);
	assert_int_equal(count_of(&dst), 0);
	assert_int_equal(charged(&dst, A), 0);
	assert_int_equal(hostd_dp_import_gone(dst.dp, &nics, &good.tuple, 1, NULL), 0);
	bh_vec_done(&there.list);
}

/* Undone, nothing of it is left: no entry, no quota, no ticket. */
static void undone_is_gone(void **state)
{
	struct flow f = {.proto = KIT_TCP, .peer = OUT, .sport = 43000};

	two_hosts();
	open_many(&src, 600); /* more than one batch */
	plug(&dst, A);
	assert_int_equal(move_all(), 600);
	for (int i = 0; i < 4; i++) {
		assert_true(passes(&dst, &f, false, KIT_ACK));
		assert_true(passes(&dst, &f, true, KIT_ACK));
	}
	assert_true(tickets_that_run(&dst) >= 1);
	assert_int_equal(hostd_dp_import_undo(dst.dp, &nics, NULL), 0);
	assert_int_equal(tickets_that_run(&dst), 0);
	assert_int_equal(count_of(&dst), 0);
	assert_int_equal(charged(&dst, A), 0);
	assert_false(passes(&dst, &f, false, KIT_ACK));
	/* The source has not noticed. */
	assert_true(passes(&src, &f, false, KIT_ACK));
	assert_int_equal(charged(&src, A), 600);
}

/* ---- journal ---- */

struct told {
	struct conns conns;
	BH_VEC(struct bh_capsule_tuple) gone;
};

static const struct hostd_dp_move_nics *told_nics(const struct hostd_dp_nic_key *key, void *arg)
{
	struct hostd_dp_nic_key mover = world_key(A);

	return memcmp(key, &mover, sizeof(mover)) ? NULL : &nics;
}

static void told_conn(const struct hostd_dp_nic_key *key, const struct bh_capsule_conn *conn,
		      void *arg)
{
	struct told *told = arg;

	*bh_vec_push(&told->conns.list) = *conn;
}

static void told_gone(const struct hostd_dp_nic_key *key, const struct bh_capsule_tuple *tuple,
		      void *arg)
{
	struct told *told = arg;

	*bh_vec_push(&told->gone) = *tuple;
}

static void told_done(struct told *told)
{
	bh_vec_done(&told->conns.list);
	bh_vec_done(&told->gone);
}

/* Everything that waits. Returns how many records were lost. */
static uint64_t poll_journal(struct host *h, struct told *told)
{
	struct hostd_dp_journal_handlers handlers = {
		.nics_of = told_nics, .conn = told_conn, .gone = told_gone, .arg = told};
	uint64_t lost, sum = 0;
	int n;

	memset(told, 0, sizeof(*told));
	do {
		n = hostd_dp_journal_poll(h->dp, 1000, &handlers, &lost, NULL);
		assert_true(n >= 0);
		sum += lost;
	} while (n > 0);
	return sum;
}

static bool readable(struct host *h)
{
	struct pollfd p = {.fd = hostd_dp_journal_fd(h->dp), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* As if each had come to its end. */
static void end_all(struct host *h)
{
	struct conns all;

	walk(h, &all);
	bh_vec_foreach (c, &all.list) {
		assert_int_equal(hostd_dp_import_gone(h->dp, &nics, &c->tuple, 1, NULL), 0);
	}
	bh_vec_done(&all.list);
}

static void the_journal_tells_changes(void **state)
{
	struct flow before = {.proto = KIT_TCP, .peer = OUT, .sport = 40000},
		    tcp = {.proto = KIT_TCP, .peer = OUT, .sport = 40001},
		    udp6 = {.proto = KIT_UDP, .peer = OUT, .sport = 40002, .v6 = true};
	struct told told;

	two_hosts();
	must_open_tcp(&src, &before);
	assert_false(readable(&src));
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	/* What was open already and only goes on is the walk's. */
	for (int i = 0; i < 5; i++) {
		assert_true(passes(&src, &before, false, KIT_ACK));
		assert_true(passes(&src, &before, true, KIT_ACK));
	}
	assert_false(readable(&src));
	assert_true(passes(&src, &tcp, false, KIT_SYN));
	assert_true(readable(&src));
	poll_journal(&src, &told);
	assert_int_equal(told.conns.list.count, 1);
	assert_int_equal(told.conns.list.items[0].state, BH_CT_NEW);
	assert_int_equal(told.conns.list.items[0].nic[0], 1);
	assert_int_equal(told.gone.count, 0);
	told_done(&told);
	/* Several changes of one are told once, as it stands. The next process tells them. */
	assert_true(passes(&src, &tcp, true, KIT_SYN | KIT_ACK));
	assert_true(passes(&src, &tcp, false, KIT_ACK));
	assert_true(passes(&src, &udp6, false, 0));
	assert_true(passes(&src, &udp6, true, 0));
	assert_true(passes(&src, &before, false, KIT_FIN | KIT_ACK));
	open_again(&src);
	poll_journal(&src, &told);
	assert_int_equal(told.conns.list.count, 3);
	assert_int_equal(conn_of_port(&told.conns, 40000)->state, BH_CT_FIN);
	assert_int_equal(conn_of_port(&told.conns, 40001)->state, BH_CT_ESTABLISHED);
	assert_int_equal(conn_of_port(&told.conns, 40002)->state, BH_CT_ESTABLISHED);
	assert_int_equal(import(&dst, &told.conns).added, 3);
	told_done(&told);
	/* Refused by a commit: it ends here, so it ends there. */
	must_hold(&src, true, true, true);
	assert_true(passes(&src, &tcp, false, KIT_RST | KIT_ACK));
	poll_journal(&src, &told);
	assert_int_equal(told.conns.list.count, 1);
	assert_int_equal(told.conns.list.items[0].state, BH_CT_CLOSED);
	told_done(&told);
	end_all(&src);
	poll_journal(&src, &told);
	assert_int_equal(told.conns.list.count, 0);
	assert_int_equal(told.gone.count, 3);
	assert_int_equal(
		hostd_dp_import_gone(dst.dp, &nics, told.gone.items, told.gone.count, NULL), 0);
	assert_int_equal(count_of(&dst), 0);
	told_done(&told);
	/* What is forgotten here because it goes on over there has not ended. */
	must_open_tcp(&src, &tcp);
	poll_journal(&src, &told);
	told_done(&told);
	assert_int_equal(hostd_dp_import_undo(src.dp, &nics, NULL), 0);
	assert_false(readable(&src));
	/* Switched off, nothing is written. */
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, false, NULL), 0);
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, false, NULL), 0);
	must_open_tcp(&src, &before);
	assert_false(readable(&src));
}

/* Of neighbours only what they have with the VM. */
static void the_journal_is_about_the_vm(void **state)
{
	struct flow alone = {.proto = KIT_UDP, .peer = A, .sport = 40000};
	struct kit_frame f;
	struct told told;

	two_hosts();
	plug(&src, B);
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	kit_build(&(struct kit_spec){.smac = macs[B],
				     .dmac = macs[OUT],
				     .src = addrs4[B],
				     .dst = addrs4[OUT],
				     .proto = KIT_UDP,
				     .sport = alone.sport,
				     .dport = PORT},
		  &f);
	assert_true(sends(&src, B, &f, NULL));
	assert_false(readable(&src));
	must_open_pair(&src, &pair_back); /* the neighbour opens it, its quota holds it */
	poll_journal(&src, &told);
	assert_int_equal(told.conns.list.count, 1);
	assert_int_equal(told.conns.list.items[0].charged, 0);
	assert_int_equal(told.conns.list.items[0].nic[0], 1);
	assert_int_equal(told.conns.list.items[0].nic[1], 0);
	/* At the target it is the VM's. */
	assert_int_equal(import(&dst, &told.conns).added, 1);
	assert_int_equal(charged(&dst, A), 1);
	told_done(&told);
}

static void expired(struct hostd_dp_options *o)
{
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++) {
		o->timeout_s[i] = 1;
	}
}

/* Ended and begun anew from the other side before anybody looked: what the target has of it is
 * another connection. */
static void the_journal_tells_that_a_name_is_used_again(void **state)
{
	struct flow udp = {.proto = KIT_UDP, .peer = OUT, .sport = 40000, .inwards = true};
	struct conns there, here;
	struct told told;

	two_hosts();
	assert_true(passes(&src, &udp, false, 0));
	assert_true(passes(&src, &udp, true, 0));
	assert_int_equal(move_all(), 1);
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	must_hold(&src, true, true, true);
	assert_false(passes(&src, &udp, false, 0)); /* ends it */
	assert_true(passes(&src, &udp, true, 0));   /* is the VM's own now */
	poll_journal(&src, &told);
	assert_int_equal(told.gone.count, 1);
	assert_int_equal(told.conns.list.count, 1);
	assert_int_equal(
		hostd_dp_import_gone(dst.dp, &nics, told.gone.items, told.gone.count, NULL), 0);
	assert_int_equal(import(&dst, &told.conns).added, 1);
	walk(&src, &there);
	walk(&dst, &here);
	assert_int_equal(there.list.items[0].flags, here.list.items[0].flags);
	assert_int_equal(here.list.items[0].state, BH_CT_NEW);
	bh_vec_done(&there.list);
	bh_vec_done(&here.list);
	told_done(&told);
}

static void note_order(const struct hostd_dp_nic_key *key, const struct bh_capsule_conn *conn,
		       void *arg)
{
	strcat(arg, "+");
}

static void note_gone(const struct hostd_dp_nic_key *key, const struct bh_capsule_tuple *tuple,
		      void *arg)
{
	strcat(arg, "-");
}

/* A NIC at its quota opens what it opens because something ended: so ends are told first, whatever
 * the names. */
static void the_journal_tells_ends_first(void **state)
{
	struct hostd_dp_journal_handlers handlers = {
		.nics_of = told_nics, .conn = note_order, .gone = note_gone};
	struct flow early = {.proto = KIT_UDP, .peer = OUT, .sport = 40005},
		    late = {.proto = KIT_UDP, .peer = OUT, .sport = 40001};
	char order[16] = "";
	uint64_t lost;

	two_hosts();
	assert_true(passes(&src, &early, false, 0));
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	end_all(&src);
	assert_true(passes(&src, &late, false, 0));
	handlers.arg = order;
	assert_int_equal(hostd_dp_journal_poll(src.dp, 100, &handlers, &lost, NULL), 2);
	assert_string_equal(order, "-+");
}

static void the_journal_tells_what_expired(void **state)
{
	struct flow udp = {.proto = KIT_UDP, .peer = OUT, .sport = 40000},
		    udp6 = {.proto = KIT_UDP, .peer = OUT, .sport = 40001, .v6 = true};
	struct pollfd p = {.events = POLLIN};
	struct told told;

	two_hosts();
	forget_host(&src);
	open_host(&src, "src", expired);
	must_hold(&src, true, false, false);
	plug(&src, A);
	assert_true(passes(&src, &udp, false, 0));
	assert_true(passes(&src, &udp6, false, 0));
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	for (size_t gone = 0; gone < 2;) {
		p.fd = hostd_dp_journal_fd(src.dp);
		assert_int_equal(poll(&p, 1, 20000), 1);
		poll_journal(&src, &told);
		assert_int_equal(told.conns.list.count, 0);
		gone += told.gone.count;
		told_done(&told);
	}
}

/* More than fits: it says that something is missing, and only then. */
static void the_journal_says_what_it_lost(void **state)
{
	struct told told;
	uint64_t lost;
	uint32_t room;

	two_hosts();
	assert_int_equal(hostd_dp_journal_set(src.dp, &nics, true, NULL), 0);
	room = src.dp->map_size[DP_MAP_MOVES] / (uint32_t)(sizeof(struct bh_move) + 8);
	open_many(&src, room / 3 + 200); /* three records each */
	lost = poll_journal(&src, &told);
	assert_true(lost >= 500 && lost <= 700);
	assert_true(told.conns.list.count >= room / 3 - 1);
	told_done(&told);
	open_many(&src, 3);
	assert_int_equal(poll_journal(&src, &told), 0);
	told_done(&told);
}

/* ---- what else of a NIC travels ---- */

static void learn(struct host *h, const char *text, uint32_t vlan, uint64_t for_ns)
{
	struct bh_nic_addr_key nkey = {.nic = index_of(h, A)};
	struct bh_addr_key akey = {.net = WORLD_NET, .vlan = vlan};
	struct bh_nic_addr own = {.present = {1, 1}, .flags = BH_ADDR_LEARNED};
	struct bh_addr addr = {.slot = {{MOVER, WORLD_TENANT}, {MOVER, WORLD_TENANT}},
			       .flags = BH_ADDR_LEARNED};

	own.expires_ns = addr.expires_ns = for_ns ? bh_time_mono_ns() + for_ns : 0;
	kit_ip(text, nkey.addr);
	kit_ip(text, akey.addr);
	assert_int_equal(dp_map_put(h->dp, DP_MAP_NIC_ADDRS, &nkey, &own), 0);
	assert_int_equal(dp_map_put(h->dp, DP_MAP_ADDRS, &akey, &addr), 0);
}

static bool sends_from(struct host *h, const char *addr, uint16_t vlan)
{
	struct kit_frame f;

	kit_build(&(struct kit_spec){.smac = macs[A],
				     .dmac = macs[OUT],
				     .src = addr,
				     .dst = addrs4[OUT],
				     .proto = KIT_UDP,
				     .sport = 1,
				     .dport = PORT,
				     .vlan = {vlan}},
		  &f);
	return sends(h, A, &f, NULL);
}

static void learned_addresses_travel(void **state)
{
	struct hostd_dp_nic_key key = world_key(A), other = world_key(6);
	struct bh_addr taken = {.slot = {{OTHER, WORLD_TENANT}, {OTHER, WORLD_TENANT}}};
	struct bh_addr_key akey = {.net = WORLD_NET};
	struct bh_capsule_nic nic, again;
	struct bh_nic_state bucket;
	uint32_t index;

	two_hosts();
	learn(&src, "10.77.0.60", 0, 60000000000ull);
	learn(&src, "10.77.0.61", VLAN << 16, 0);
	learn(&src, "10.77.0.62", 0, 1); /* over */
	learn(&src, "10.77.0.63", 0, 60000000000ull);
	index = index_of(&src, A);
	assert_int_equal(dp_map_get(src.dp, DP_MAP_NIC_STATE, &index, &bucket), 0);
	bucket.answer_tokens = 7;
	bucket.event_tokens = 1000000; /* more than this host may give */
	bucket.suppressed = 9;
	bucket.bucket_ns = bh_time_mono_ns();
	assert_int_equal(dp_map_put(src.dp, DP_MAP_NIC_STATE, &index, &bucket), 0);
	assert_int_equal(hostd_dp_nic_export(src.dp, &other, &nic, NULL), -ENOENT);
	assert_int_equal(hostd_dp_nic_export(src.dp, &key, &nic, NULL), 0);
	assert_memory_equal(nic.mac, macs[A], 6);
	assert_int_equal(nic.identity, MOVER);
	assert_int_equal(nic.net, WORLD_NET);
	assert_int_equal(nic.learned_count, 3);
	/* One of them is somebody else's over there. */
	kit_ip("10.77.0.63", akey.addr);
	assert_int_equal(dp_map_put(dst.dp, DP_MAP_ADDRS, &akey, &taken), 0);
	plug(&dst, A);
	assert_false(sends_from(&dst, "10.77.0.60", 0));
	open_many(&src, 3);
	assert_int_equal(move_all(), 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(hostd_dp_nic_import(dst.dp, &key, &nic, NULL), 0);
	}
	assert_true(sends_from(&dst, "10.77.0.60", 0));
	assert_true(sends_from(&dst, "10.77.0.61", VLAN));
	assert_false(sends_from(&dst, "10.77.0.62", 0));
	assert_false(sends_from(&dst, "10.77.0.63", 0));
	assert_int_equal(hostd_dp_nic_export(dst.dp, &key, &again, NULL), 0);
	assert_int_equal(again.learned_count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool ever = again.learned[i].left_ms == BH_CAPSULE_MS_MAX;

		assert_int_equal(again.learned[i].vlan, ever ? VLAN << 16 : 0);
		assert_true(ever || (again.learned[i].left_ms > 50000 &&
				     again.learned[i].left_ms <= 60000));
	}
	index = index_of(&dst, A);
	assert_int_equal(dp_map_get(dst.dp, DP_MAP_NIC_STATE, &index, &bucket), 0);
	assert_true(bucket.event_tokens <= 1000);
	assert_true(bucket.ct_count >= 3); /* what connections count is not touched */
	assert_int_equal(hostd_dp_nic_import(dst.dp, &other, &nic, NULL), -ENOENT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(room_is_limited, clean_up),
		cmocka_unit_test_teardown(timers_run, clean_up),
		cmocka_unit_test_teardown(a_source_that_lies, clean_up),
		cmocka_unit_test_teardown(undone_is_gone, clean_up),
		cmocka_unit_test_teardown(the_journal_tells_changes, clean_up),
		cmocka_unit_test_teardown(the_journal_is_about_the_vm, clean_up),
		cmocka_unit_test_teardown(the_journal_tells_that_a_name_is_used_again, clean_up),
		cmocka_unit_test_teardown(the_journal_tells_ends_first, clean_up),
		cmocka_unit_test_teardown(the_journal_tells_what_expired, clean_up),
		cmocka_unit_test_teardown(the_journal_says_what_it_lost, clean_up),
		cmocka_unit_test_teardown(learned_addresses_travel, clean_up),
	};

	world_require_root();
	return cmocka_run_group_tests(tests, setup, teardown);
}
