/* SPDX-License-Identifier: Apache-2.0 */
/* How migrations end when something breaks, what comes without one, and what a restart of the
 * manager finds. */
#include "migrate_world.h"

#include <errno.h>

/* ---- how it ends ---- */

static void later(struct world *w, uint64_t seconds)
{
	manager_migrate_tick(w->migrate, bh_time_wall_ns() + seconds * BH_NS_PER_S,
			     bh_time_mono_ns() + seconds * BH_NS_PER_S);
	flush(w);
}

static void expect_failed(struct world *w, const char *reason)
{
	expect_notice(w, "migration.failed", "reason", reason);
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(vm(w)->incoming);
	assert_false(has_segment(w, "h2"));
	assert_true(has_segment(w, "h1"));
	drop_commands(w);
}

static void test_nobody_ends_it(void **state)
{
	struct world *w = *state;

	get_ready(w);
	later(w, 30);
	assert_non_null(w->migrate->open);
	later(w, 70);
	expect_failed(w, "the target did not say that it holds the VM's connections");

	get_installed(w);
	later(w, 100);
	assert_non_null(w->migrate->open);
	later(w, 160);
	expect_failed(w, "the VM did not appear at the target");

	get_installed(w);
	report(w, "h2", "paused");
	later(w, 170); /* memory may take long */
	assert_non_null(w->migrate->open);
	report(w, "h2", NULL);
	assert_non_null(w->migrate->open); /* an older inventory may come late */
	report(w, "h2", "paused");
	later(w, 4);
	assert_non_null(w->migrate->open);
	report(w, "h2", "shutoff");
	later(w, 4);
	expect_failed(w, "the VM is gone at the target");

	get_installed(w);
	report(w, "h2", "paused");
	host(w, "h2")->last_seen_ns = w->migrate->begun_ns = 1;
	later(w, 0);
	expect_failed(w, "the target has been silent for 180 s");
}

/* Without the last word the VM has moved all the same, a little later. */
static void test_cut(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	report(w, "h1", "shutoff");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_int_equal(told(w, "h2", "cut", NULL), 0);
	expect_notice(w, "migration.cut", "target", "h2");
	flush(w);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	expect_record(w, "done", "asked counted applied installed runs cut moved");
	drop_commands(w);
	report(w, "h1", "shutoff"); /* it is merely defined there */
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(take_notice(w, "host.conflict"));
}

static void test_no_last_word(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	report(w, "h1", NULL);
	assert_non_null(vm(w)); /* nobody has it for this moment, but it is not forgotten */
	later(w, 1);
	assert_non_null(w->migrate->open);
	later(w, 6);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	/* It comes too late, but it is noted; nobody else can say it, and only once. */
	assert_int_equal(told(w, "h3", "final", NULL), -ENOENT);
	assert_int_equal(told(w, "h2", "failed", NULL), -ENOENT);
	assert_int_equal(told(w, "h2", "final", receipt(10)), 0);
	assert_int_equal(told(w, "h2", "cut", receipt(10)), 0);
	expect_record(w, "done", "asked counted applied installed runs moved final");
}

/* A source that is lost can't say that it has stopped the VM. */
static void test_source_is_lost(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	host(w, "h1")->last_seen_ns = w->migrate->begun_ns = 1;
	later(w, 6);
	later(w, 12);
	assert_ptr_equal(vm(w)->host, host(w, "h1")); /* it may run there: memory is on the way */
	report(w, "h2", "running");
	later(w, 6);
	later(w, 12);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
}

static void test_source_can_end_it_only_before(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h1", "failed", NULL), 0);
	assert_non_null(w->migrate->open);
	assert_int_equal(told(w, "h3", "failed", NULL), -ENOENT);
}

/* ---- starts on the way ---- */

static void test_start_needs_no_question(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = vm_json("shutoff");
	struct manager_vm *found = NULL;

	get_ready(w);
	assert_false(manager_migrate_may_start(w->migrate, vm(w), host(w, "h2")));
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	assert_true(manager_migrate_may_start(w->migrate, vm(w), host(w, "h2")));
	assert_false(manager_migrate_may_start(w->migrate, vm(w), host(w, "h3")));
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h2"), said, 1, &found, NULL), 0);
	assert_ptr_equal(found, vm(w));
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_string_equal(vm(w)->report.state, "running");
	assert_false(vm(w)->arrival.there); /* a start is no proof */
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h3"), said, 1, &found, NULL),
			 MANAGER_REPORT_CONFLICT);
}

/* What the target learns while the VM arrives is the VM's. */
static void test_learned_on_the_way(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *body = json_pack("{s:s, s:s, s:s, s:i}", "vm", VM, "mac", MAC, "address",
					 "10.0.0.77", "lease_s", 600);

	assert_int_equal(
		manager_inventory_learned(w->inv, host(w, "h2"), body, bh_time_wall_ns(), NULL),
		-ENOENT);
	get_installed(w);
	assert_int_equal(
		manager_inventory_learned(w->inv, host(w, "h2"), body, bh_time_wall_ns(), NULL), 0);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h2", "final", NULL), 0);
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_int_equal(vm(w)->nics[0].learned_count, 1);
}

/* One claim, wherever it stands: no conflict with itself. */
static void test_one_claim(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(manager_conflict_count(w->inv), 0);
	report(w, "h1", "shutoff");
	assert_int_equal(manager_conflict_count(w->inv), 0);
	assert_null(take_notice(w, "address.conflict"));
}

/* ---- what comes from elsewhere, or out of a file ---- */

static void test_from_nobody_of_ours(void **state)
{
	struct world *w = *state;
	json_t *said = vm_json("paused");

	json_object_set_new(said, "uuid", json_string("00000000-0000-4000-8000-000000000002"));
	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), "mac",
			    json_string("52:54:00:00:00:02"));
	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), "addresses",
			    json_pack("[s]", "10.0.0.2"));
	ask_json(w, "h2", json_incref(said), "live");
	assert_false(w->answered);
	assert_int_equal(w->command_count, 0);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "");
	expect_notice(w, "migration.allowed", "source", "");
	{
		BH_JSON json_t *vms = json_pack("[o]", said);
		BH_JSON json_t *rejected = NULL;

		json_object_set_new(said, "state", json_string("running"));
		assert_int_equal(manager_inventory_report(w->inv, host(w, "h2"), vms,
							  bh_time_wall_ns(), &rejected, NULL),
				 0);
		manager_migrate_look(w->migrate, host(w, "h2"));
	}
	expect_notice(w, "vm.migrated", "to", "h2");
	assert_null(w->migrate->open);
}

/* Saved on h1, restored on h2: its connections come along when h1 still has them. */
static void test_restore(void **state)
{
	struct world *w = *state;

	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	depart(w, 4);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "h1");
	assert_int_equal(told(w, "h2", "installed", receipt(4)), 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_string_equal(manager_place_how_name(vm(w)->place.how), "restore");
}

static void test_restore_without_source(void **state)
{
	struct world *w = *state;

	ask_json(w, "h2", vm_json("paused"), "restore");
	assert_non_null(strstr(w->text, "stop it there before it is restored"));
	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	answer_command(w, "h1", "depart", NULL, "gone");
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "");
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(w->migrate->open);
}

/* Undefined here, defined and started there. */
static void test_cold(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = vm_json("shutoff");
	BH_JSON json_t *places = NULL;
	struct manager_vm *found = NULL;

	report(w, "h1", "shutoff");
	report(w, "h1", NULL);
	assert_null(vm(w));
	assert_int_equal(manager_inventory_birth(w->inv, host(w, "h2"), said, bh_time_wall_ns(),
						 &found, NULL),
			 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	places = manager_vm_places(w->inv, vm(w));
	assert_int_equal(json_array_size(places), 2); /* known by its UUID */
	assert_string_equal(bh_json_str_or(json_array_get(places, 1), "host", ""), "h1");
}

/* ---- the manager starts anew ---- */

static void restart(struct world *w)
{
	struct bh_hash images[2];
	static const char *const names[] = {"h1", "h2"};

	for (size_t i = 0; i < 2; i++) {
		images[i] = *bh_image_hash(host(w, names[i])->sync->installed->image);
	}
	stop_manager(w);
	start_manager(w);
	for (size_t i = 0; i < 2; i++) {
		manager_distribute_hello(w->dist, host(w, names[i]), &images[i]);
	}
	assert_int_equal(w->asked_count, 0); /* no host sees a change */
}

static void expect_listed(struct world *w, const char *name, const char *role, const char *phase)
{
	BH_JSON json_t *list = manager_migrate_of_host(w->migrate, host(w, name));

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "migration", ""), w->id);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "role", ""), role);
	assert_string_equal(bh_json_str_or(json_array_get(list, 0), "phase", ""), phase);
}

static void test_restart(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *of_h3 = NULL;

	get_ready(w);
	restart(w);
	expect_listed(w, "h1", "source", "ready");
	expect_listed(w, "h2", "target", "ready");
	of_h3 = manager_migrate_of_host(w->migrate, host(w, "h3"));
	assert_int_equal(json_array_size(of_h3), 0);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	restart(w);
	expect_listed(w, "h2", "target", "installed");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	report(w, "h2", "paused");
	assert_int_equal(told(w, "h2", "final", NULL), 0);
	restart(w);
	report(w, "h1", NULL);
	restart(w); /* no host has said that it has it */
	assert_non_null(vm(w));
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	drop_commands(w);
	restart(w);
	assert_null(w->migrate->open);
	expect_record(w, "done", "asked counted applied installed final runs moved");
	assert_string_equal(vm(w)->place.migration, w->id);
}

/* The source's inventory and the last word may be faster than the target's inventory: the VM has
 * moved, and its run is noted when it is told. */
static void test_seen_running_late(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	report(w, "h1", NULL);
	assert_int_equal(told(w, "h2", "final", receipt(10)), 0);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	expect_record(w, "done", "asked counted applied installed final moved");
	report(w, "h2", "paused");
	report(w, "h1", NULL); /* whose VMs say nothing of it */
	expect_record(w, "done", "asked counted applied installed final moved");
	drop_commands(w);
	restart(w);
	report(w, "h2", "running");
	expect_record(w, "done", "asked counted applied installed final moved runs");
	report(w, "h2", "paused");
	report(w, "h2", "running"); /* somebody's pause is no matter of the move */
	expect_record(w, "done", "asked counted applied installed final moved runs");
}

/* Both are late: neither takes the other out of the record. */
static void test_all_late(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	report(w, "h1", NULL);
	later(w, 6);
	expect_record(w, "done", "asked counted applied installed moved");
	assert_int_equal(told(w, "h2", "final", receipt(10)), 0);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h2", "final", receipt(10)), 0);
	expect_record(w, "done", "asked counted applied installed moved final runs");
	drop_commands(w);
}

/* A run that is not of this move: too late, or on another host. */
static void test_not_its_run(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	report(w, "h1", NULL);
	assert_int_equal(told(w, "h2", "final", receipt(10)), 0);
	report(w, "h2", "shutoff");
	report(w, "h1", "running");
	report(w, "h2", NULL);
	report(w, "h2", "running");
	expect_record(w, "done", "asked counted applied installed final moved");
	assert_null(w->migrate->landed);
	drop_commands(w);
}

/* Before it was decided nothing was changed. */
static void test_restart_before(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 10);
	w->asked_count = 0;
	w->answered = false;
	stop_manager(w);
	start_manager(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "late");
	assert_null(w->migrate->open);
	assert_null(vm(w)->incoming);
}

/* It died on the way: nobody keeps what nobody has. */
static void test_nobody_has_it(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	report(w, "h2", NULL);
	report(w, "h1", NULL);
	assert_non_null(vm(w));
	later(w, 4);
	expect_notice(w, "migration.failed", "reason", "no host runs the VM");
	assert_null(vm(w));
	drop_commands(w);
	restart(w);
	assert_null(vm(w));
}

/* A host that is removed takes its migrations with it. */
static void test_removed(void **state)
{
	struct world *w = *state;

	get_installed(w);
	manager_migrate_forget(w->migrate, host(w, "h2"));
	expect_notice(w, "migration.failed", "reason", "the target was removed");
	drop_commands(w);
	assert_null(vm(w)->incoming);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_last_word, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_is_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_can_end_it_only_before, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_start_needs_no_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_learned_on_the_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_claim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_from_nobody_of_ours, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restore, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restore_without_source, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_seen_running_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_its_run, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobody_has_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
