/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a move on one host: h1 is the real engine on the real kernel dataplane, the rest is
 * played by capsule_world.c.
 */
#include "base/json.h"
#include "base/time.h"
#include "bus/subject.h"
#include "capsule_world.h"
#include "host/capsule/internal.h"
#include "host/capsule/who.h"

static bool started(void)
{
	return h2.starts > 0;
}
static bool failed_told(void)
{
	return boss.faileds > 0;
}
static bool final_told(void)
{
	return boss.finals > 0;
}
static bool cut_told(void)
{
	return boss.cuts > 0;
}

/* ---- as target, in this order ---- */

static void test_without_manager(void **state)
{
	assert_int_equal(bh_uuid_parse(WORLD_VM, capsule_vm), 0);
	w.manager = capsule_manager;
	world_start();
	capsule_migrate_begin("live");
	assert_non_null(strstr(capsule_migrate_error(), "the manager is not reachable"));
	assert_int_equal(capsule_events("migration.refused"), 1);
	world_wait(world_session_up, "the hello");
	capsule_peer_open();
}

static void test_refused(void **state)
{
	boss.refuses = "VM web may not run on host h1";
	capsule_migrate_begin("live");
	assert_string_equal(capsule_migrate_error(), boss.refuses);
	boss.refuses = NULL;
	assert_string_equal(hostd_capsule_kind(w.agent, capsule_vm), "");
}

static void test_alone(void **state)
{
	boss.alone = true;
	capsule_migrate_begin("restore");
	capsule_migrate_allowed();
	boss.alone = false;
	assert_string_equal(hostd_capsule_kind(w.agent, capsule_vm), "restore");
	capsule_hook_ended();
	assert_string_equal(hostd_capsule_kind(w.agent, capsule_vm), "");
	assert_int_equal(h2.starts, 0);
}

static void test_deadline(void **state)
{
	uint64_t timeout_s = w.config.migrate_timeout_s;

	world_apply(NULL, world_image(300, true));
	w.config.migrate_timeout_s = 1;
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	assert_non_null(strstr(capsule_migrate_error(), "its source has not sent all"));
	world_wait(failed_told, "the manager to hear of it");
	w.config.migrate_timeout_s = timeout_s;
}

/* Whoever wants the move is told at once, not when the time is over. */
static void test_source_holds_nothing(void **state)
{
	h2.gone = true;
	capsule_migrate_begin("live");
	assert_non_null(strstr(capsule_migrate_error(), "host h2 holds nothing of it any more"));
	h2.gone = false;
}

/* What ran out on the way stands between nobody. */
static void test_installed(void **state)
{
	struct bh_capsule_conn ripe = capsule_conn_at(CONNS + 100);
	struct capsule_part part;

	capsule_forget();
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	h2.ripe = true;
	capsule_send_whole(0);
	h2.ripe = false;
	assert_string_equal(h2.code, "");
	capsule_migrate_allowed();
	assert_int_equal(boss.installed, 1);
	assert_int_equal(bh_json_u64_or(boss.receipt, "expired", 0), 1);
	assert_int_equal(bh_json_u64_or(boss.receipt, "connections", 0), CONNS);
	assert_int_equal(bh_json_u64_or(json_object_get(boss.receipt, "mark"), "connections", 0),
			 CONNS);
	assert_string_equal(bh_json_str_or(boss.receipt, "hash", "a"),
			    bh_json_str_or(json_object_get(boss.receipt, "mark"), "hash", "b"));
	part = capsule_part_new(h2.seq++);
	assert_true(bh_capsule_put_gone(part.writer, &ripe.tuple));
	capsule_part_send(&part, 0);
	assert_int_equal(capsule_connections(), CONNS);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	assert_string_equal(hostd_capsule_kind(w.agent, capsule_vm), "migration");
}

static void test_follows(void **state)
{
	struct capsule_part part = capsule_part_new(h2.seq++);
	struct bh_capsule_conn more = capsule_conn_at(CONNS), gone = capsule_conn_at(0);

	assert_true(bh_capsule_put_conn(part.writer, &more));
	assert_true(bh_capsule_put_gone(part.writer, &gone.tuple));
	capsule_part_send(&part, 0);
	part = capsule_part_new(h2.seq++);
	gone = capsule_conn_at(1);
	assert_true(bh_capsule_put_gone(part.writer, &gone.tuple));
	capsule_part_send(&part, 0);
	assert_string_equal(h2.code, "");
	assert_int_equal(capsule_connections(), CONNS - 1);
}

static void test_bad_parts(void **state)
{
	struct bh_capsule_conn c = capsule_conn_at(500);
	struct capsule_part part = capsule_part_new(h2.seq);

	assert_true(bh_capsule_put_conn(part.writer, &c));
	capsule_part_send(&part, 20); /* the signature */
	assert_string_equal(h2.code, "bad");
	part = capsule_part_new(h2.seq);
	assert_true(bh_capsule_put_conn(part.writer, &c));
	capsule_part_send(&part, 150); /* what is signed */
	assert_string_equal(h2.code, "bad");
	part = capsule_part_new(h2.seq + 1); /* a hole */
	assert_true(bh_capsule_put_conn(part.writer, &c));
	capsule_part_send(&part, 0);
	assert_string_equal(h2.code, "bad");
	assert_int_equal(capsule_connections(), CONNS - 1);
	capsule_send_whole(1); /* a mark that promises more than came */
	assert_string_equal(h2.code, "bad");
	capsule_send_whole(0);
	assert_string_equal(h2.code, "");
	assert_int_equal(boss.installed, 1);
}

static bool arriving_over(void)
{
	return !(world_nic_status().flags & BH_NIC_ARRIVING);
}

static bool as_many_as_came(void)
{
	return capsule_connections() == CONNS;
}

static void test_final(void **state)
{
	BH_JSON json_t *list = NULL;

	world_wait(as_many_as_came, "what the source does not have to go");
	capsule_send_final();
	world_wait(final_told, "the manager to hear of the end");
	assert_true(arriving_over());
	assert_int_equal(capsule_connections(), CONNS);
	boss.finals = 0; /* a manager that was away then hears of it after the next hello */
	list = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", MOVE, "vm", WORLD_VM, "role",
			 "target", "peer", "h2", "phase", "installed");
	hostd_moves_listed(w.agent, list);
	world_wait(final_told, "the manager to hear of the end again");
	capsule_vm_is_here(true);
	world_wait(capsule_vm_known, "the VM");
	capsule_dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_MIGRATED);
	/* its source's engine starts anew and sends all of it again: that opens no window */
	capsule_send_whole(0);
	assert_false(world_nic_status().flags & BH_NIC_ARRIVING);
	capsule_send_final();
	capsule_end("arrive-end", "done");
	assert_int_equal(capsule_connections(), CONNS);
	assert_int_equal(boss.cuts, 0);
}

/* The last changes do not come. */
static void test_cut(void **state)
{
	capsule_vm_is_here(false);
	world_wait(capsule_vm_unknown, "the VM to go");
	capsule_forget();
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	capsule_send_whole(0);
	capsule_migrate_allowed();
	capsule_vm_is_here(true);
	world_wait(capsule_vm_known, "the VM");
	capsule_dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_MIGRATED);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	world_wait(cut_told, "the manager to hear of the cut");
	assert_false(world_nic_status().flags & BH_NIC_ARRIVING);
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
	assert_int_equal(capsule_events("migration.cut"), 0); /* the manager says it */
	hostd_agent_reconcile(w.agent);
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
	capsule_send_final(); /* late, but all of it: the minute ends */
	world_wait(final_told, "the manager to hear of the end");
	hostd_agent_reconcile(w.agent);
	assert_false(world_nic_status().flags & BH_NIC_PICKUP);
	capsule_end("arrive-end", "done");
	capsule_vm_is_here(false);
	world_wait(capsule_vm_unknown, "the VM to go");
}

/* libvirt gives it up. */
static void test_undone(void **state)
{
	capsule_forget();
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	capsule_send_whole(0);
	capsule_migrate_allowed();
	capsule_hook_ended();
	world_wait(failed_told, "the manager to hear of it");
	assert_int_equal(capsule_connections(), 0);
	assert_true(arriving_over());
	assert_string_equal(hostd_capsule_kind(w.agent, capsule_vm), "");
	capsule_send_final();
	assert_string_equal(h2.code, "unknown");
}

static void test_receipt_is_refused(void **state)
{
	capsule_forget();
	boss.refuses_receipt = true;
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	capsule_send_whole(0);
	assert_non_null(
		strstr(capsule_migrate_error(), "the manager refuses it: the test says no"));
	boss.refuses_receipt = false;
	world_wait(failed_told, "the manager to hear of it");
	assert_int_equal(capsule_connections(), 0);
}

/* More than one NIC may hold: nothing comes rather than a part. */
static void test_no_room(void **state)
{
	capsule_forget();
	world_stop();
	w.config.ct_per_nic = 100;
	world_start();
	world_wait(world_session_up, "the hello");
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	{
		struct bh_capsule_nic nic = capsule_nic_record();
		struct capsule_part part = capsule_part_new(0);

		assert_true(bh_capsule_put_nic(part.writer, &nic));
		for (unsigned int i = 0; i < CONNS; i++) {
			struct bh_capsule_conn c = capsule_conn_at(i);

			c.charged = 1;
			assert_true(bh_capsule_put_conn(part.writer, &c));
		}
		capsule_part_send(&part, 0);
	}
	assert_string_equal(h2.code, "full");
	assert_non_null(strstr(capsule_migrate_error(), "more connections than one NIC may have"));
	assert_int_equal(capsule_connections(), 0);
	world_stop();
	w.config.ct_per_nic = 0;
	world_start();
	world_wait(world_session_up, "the hello");
}

/* This host's engine ends in the middle: the next one asks for all of it again. */
static void test_target_restarts(void **state)
{
	capsule_forget();
	capsule_migrate_begin("live");
	world_wait(started, "the source to be asked");
	capsule_send_whole(0);
	capsule_migrate_allowed();
	capsule_vm_is_here(true);
	world_wait(capsule_vm_known, "the VM");
	boss.list = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", MOVE, "vm", WORLD_VM,
			      "role", "target", "peer", "h2", "phase", "installed");
	world_stop();
	capsule_forget();
	world_start();
	world_wait(started, "the source to be asked again");
	assert_int_equal(capsule_connections(), CONNS);
	assert_true(world_nic_status().flags & BH_NIC_ARRIVING);
	capsule_send_whole(0);
	assert_string_equal(h2.code, "");
	capsule_send_final();
	world_wait(final_told, "the manager to hear of the end");
	assert_int_equal(boss.installed, 0);
	assert_int_equal(capsule_connections(), CONNS);
}

/* What the manager does not know of any more is over. */
static void test_not_listed(void **state)
{
	json_decref(boss.list);
	boss.list = json_array();
	world_stop();
	w.hellos = 0;
	world_start();
	world_wait(world_session_up, "the hello");
	capsule_send_final();
	assert_string_equal(h2.code, "unknown");
	assert_int_equal(capsule_connections(), CONNS); /* the VM is here: they are its own */
}

/* Its memory comes from where nobody knows its connections. */
static void test_alone_is_taken_over(void **state)
{
	capsule_hook_ended();
	capsule_vm_is_here(false);
	world_wait(capsule_vm_unknown, "the VM to go");
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	boss.alone = true;
	capsule_migrate_begin("restore");
	capsule_migrate_allowed();
	boss.alone = false;
	assert_true(json_is_true(json_object_get(world_birth("closed"), "ok")));
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
	capsule_hook_ended();
	world_sh("ip link del tap0");
	capsule_vm_is_here(true);
	world_wait(capsule_vm_known, "the VM");
}

static bool marks_are_gone(void)
{
	return !(world_nic_status().flags & (BH_NIC_ARRIVING | BH_NIC_DEPARTING));
}

/* What an engine before us has marked and nobody claims ends soon after the start. */
static void test_marks_of_nobody(void **state)
{
	struct hostd_dp_move_nics nics = {};

	move_nics(w.agent, capsule_vm, &nics);
	assert_int_equal(nics.count, 1);
	assert_int_equal(hostd_dp_nic_set_flags(w.agent->dp, &nics.keys[0], BH_NIC_ARRIVING,
						BH_NIC_ARRIVING, NULL),
			 0);
	assert_int_equal(hostd_dp_journal_set(w.agent->dp, &nics, true, NULL), 0);
	world_stop();
	world_start();
	assert_false(marks_are_gone());
	world_wait(marks_are_gone, "the marks to end");
	assert_true(world_nic_status().flags & BH_NIC_PICKUP);
}

/* ---- as source: the VM runs here, with the capsule_connections that came ---- */

static void depart(void)
{
	capsule_command(json_pack("{s:s, s:s, s:s, s:s}", "type", "depart", "migration", MOVE, "vm",
				  WORLD_VM, "target", "h2"));
}

static void ask_start(const char *id)
{
	char subject[BH_SUBJECT_SIZE];

	capsule_ask(h2.bus, bh_subject_peer("h1", "h2", subject),
		    json_pack("{s:s, s:s}", "type", "start", "migration", id));
}

static bool whole_came(void)
{
	return h2.wholes > 0;
}
static bool final_came(void)
{
	return h2.finals > 0;
}

static void test_start_is_for_those_who_are_told_of(void **state)
{
	ask_start(MOVE);
	assert_string_equal(w.code, "unknown");
	depart();
	assert_string_equal(w.code, "");
	ask_start("ffffffffffffffffffffffffffffffff");
	assert_string_equal(w.code, "unknown");
	assert_int_equal(h2.parts, 0);
}

static void test_sends(void **state)
{
	world_wait(capsule_vm_known, "the VM");
	ask_start(MOVE);
	assert_string_equal(w.code, "");
	world_wait(whole_came, "all of it");
	assert_false(h2.forged);
	assert_false(h2.out_of_order);
	assert_int_equal(h2.nics, 1);
	assert_int_equal(h2.segments, 3); /* its own, and the sets of both directions */
	assert_int_equal(h2.mark.connections, CONNS);
	assert_true(bh_hash_equal(&h2.mark.hash, &h2.sum));
	assert_int_equal(h2.finals, 0);
	assert_true(world_nic_status().flags & BH_NIC_DEPARTING);
}

/* A part that is not taken begins all of it anew. */
static void test_sends_anew(void **state)
{
	h2.wholes = 0;
	h2.refuse = 1;
	ask_start(MOVE);
	world_wait(whole_came, "all of it, after a part that was not taken");
	assert_false(h2.out_of_order);
	assert_int_equal(h2.mark.connections, CONNS);
}

static void test_source_restarts(void **state)
{
	h2.wholes = 0;
	json_decref(boss.list);
	boss.list = json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "migration", MOVE, "vm", WORLD_VM,
			      "role", "source", "peer", "h2", "phase", "installed");
	world_stop();
	world_start();
	world_wait(whole_came, "all of it, by the next engine");
	assert_int_equal(h2.mark.connections, CONNS);
	world_wait(capsule_vm_known, "the VM");
}

static void test_end_mark(void **state)
{
	h2.conns = 0;
	capsule_dummy_event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED);
	world_wait(final_came, "the end mark");
	assert_int_equal(h2.conns, 0); /* nothing has changed: nothing is sent twice */
	assert_int_equal(capsule_connections(), CONNS);
}

static bool device_unknown(void)
{
	return !world_nic_status().ifindex;
}

/* The tap goes a moment before libvirt says that the VM has left: that is no alarm. */
static void test_leaving_is_no_alarm(void **state)
{
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(world_nic_protected, "the NIC to be protected");
	capsule_forget();
	world_sh("ip link del tap0");
	world_wait(device_unknown, "the tap to be gone");
	hostd_agent_reconcile(w.agent);
	assert_int_equal(capsule_events("nic.unprotected"), 0);
}

/* It comes back: nothing came of the move. */
static void test_comes_back(void **state)
{
	h2.finals = 0;
	capsule_dummy_event(HOSTD_VM_RESUMED, HOSTD_DETAIL_OTHER);
	capsule_end("depart-end", "failed");
	assert_false(world_nic_status().flags & BH_NIC_DEPARTING);
	assert_int_equal(capsule_connections(), CONNS);
}

static void test_withdraws(void **state)
{
	h2.wholes = h2.finals = 0;
	depart();
	ask_start(MOVE);
	world_wait(whole_came, "all of it");
	capsule_dummy_event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED);
	world_wait(final_came, "the end mark");
	capsule_hook_ended();
	capsule_vm_is_here(false);
	world_wait(capsule_vm_unknown, "the VM to go");
	assert_int_equal(capsule_connections(), CONNS); /* nobody has said that it arrived */
	capsule_end("depart-end", "done");
	assert_int_equal(capsule_connections(), 0);
	capsule_end("depart-end", "done");
	assert_string_equal(w.code, "");
}

static bool kernel_has_no_nic(void)
{
	return !world_nic_status().index;
}

/* There is nothing to send of it, and that is what is said. */
static void test_without_nics(void **state)
{
	world_apply(w.image, world_image(300, false));
	capsule_vm_is_here(true);
	world_wait(capsule_vm_known, "the VM");
	world_wait(kernel_has_no_nic, "its NIC to be unknown");
	h2.wholes = h2.finals = h2.nics = 0;
	h2.next = 0;
	memset(&h2.sum, 0, sizeof(h2.sum));
	depart();
	ask_start(MOVE);
	assert_string_equal(w.code, "");
	world_wait(whole_came, "all of nothing");
	assert_int_equal(h2.nics, 0);
	assert_int_equal(h2.mark.connections, 0);
	capsule_dummy_event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED);
	world_wait(final_came, "the end mark");
	capsule_end("depart-end", "failed");
}

static void test_end(void **state)
{
	capsule_peer_close();
}

static json_t *named;

static void on_named(int err, const struct bh_bus_msg *reply, void *arg)
{
	assert_int_equal(err, 0);
	named = json_deep_copy(reply->json);
}
static bool was_named(void)
{
	return named;
}

/* A program looks, and hostd answers other things meanwhile. */
static void test_who(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/who", w.dir);
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};

	world_write(path, "#!/bin/sh\nsleep 0.2; echo '[{\"user\": \"anna\"}]'\n");
	world_sh("chmod 700 %s", path);
	hostd_who_free(w.agent->who);
	w.agent->who = hostd_who_new(&w.loop, path);
	msg.json = json_pack("{s:s}", "type", "who");
	bh_bus_request(w.bus, bh_subject_cmd("h1", subject), &msg, 5000, on_named, NULL);
	capsule_command(json_pack("{s:s}", "type", "ping"));
	assert_null(named);
	world_wait(was_named, "who it is");
	assert_string_equal(
		bh_json_str_or(json_array_get(json_object_get(named, "by"), 0), "user", ""),
		"anna");
	json_decref(named);
	json_decref(msg.json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_manager),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_source_holds_nothing),
		cmocka_unit_test(test_installed),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_bad_parts),
		cmocka_unit_test(test_final),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_undone),
		cmocka_unit_test(test_receipt_is_refused),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_target_restarts),
		cmocka_unit_test(test_not_listed),
		cmocka_unit_test(test_alone_is_taken_over),
		cmocka_unit_test(test_marks_of_nobody),
		cmocka_unit_test(test_start_is_for_those_who_are_told_of),
		cmocka_unit_test(test_sends),
		cmocka_unit_test(test_sends_anew),
		cmocka_unit_test(test_source_restarts),
		cmocka_unit_test(test_end_mark),
		cmocka_unit_test(test_leaving_is_no_alarm),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_withdraws),
		cmocka_unit_test(test_without_nics),
		cmocka_unit_test(test_who),
		cmocka_unit_test(test_end),
	};

	return world_run("hostd_capsule", tests, BH_ARRAY_SIZE(tests));
}
