/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations with carriers that stand for the hosts: the walk of a VM from one host to another, and
 * who is refused and why.
 */
#include "migrate_world.h"

#include "base/counter.h"

#include <errno.h>

/* ---- the walk ---- */

static void test_walk(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *places = NULL;

	ask(w, "h2");
	assert_false(w->answered);
	assert_false(has_segment(w, "h2"));
	depart(w, 10);
	assert_false(w->answered); /* not before the target has read it back */
	assert_int_equal(w->asked_count, 1);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "h1");
	assert_true(bh_hash_equal(&w->hash, bh_image_hash(host(w, "h2")->sync->installed->image)));
	assert_true(has_segment(w, "h2") && has_segment(w, "h1"));

	assert_int_equal(told(w, "h3", "installed", receipt(10)), -ENOENT);
	assert_int_equal(told(w, "h1", "installed", receipt(10)), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	expect_notice(w, "migration.allowed", "source", "h1");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0); /* a repeat */
	assert_null(take_notice(w, "migration.allowed"));

	report(w, "h2", "paused"); /* memory is copied */
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(take_notice(w, "host.conflict"));
	assert_true(has_segment(w, "h1"));
	assert_int_equal(told(w, "h2", "final", receipt(11)), 0);
	report(w, "h2", "running");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_null(vm(w)->incoming);
	assert_true(has_segment(w, "h2"));
	assert_false(has_segment(w, "h1"));
	expect_notice(w, "vm.migrated", "to", "h2");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	assert_null(w->migrate->open);
	expect_record(w, "done", "asked counted applied installed final runs moved");

	places = manager_vm_places(w->inv, vm(w));
	assert_int_equal(json_array_size(places), 2);
	assert_string_equal(bh_json_str_or(json_array_get(places, 0), "host", ""), "h2");
	assert_string_equal(bh_json_str_or(json_array_get(places, 0), "migration", ""), w->id);
	assert_string_equal(bh_json_str_or(json_array_get(places, 1), "how", ""), "start");
}

/* Cancelled while memory is copied: as if nothing had been. */
static void test_cancelled(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	flush(w);
	expect_notice(w, "migration.failed", "phase", "installed");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_null(vm(w)->incoming);
	assert_false(has_segment(w, "h2"));
	assert_true(has_segment(w, "h1"));
	expect_record(w, "failed", "asked counted applied installed failed");
}

/* ---- refusals ---- */

static void refused(struct world *w, const char *target, json_t *said, const char *words)
{
	size_t commands = w->command_count;

	ask_json(w, target, said, "live");
	assert_true(w->answered);
	assert_string_equal(w->code, "refused");
	if (!strstr(w->text, words)) {
		fail_msg("\"%s\" does not say \"%s\"", w->text, words);
	}
	expect_notice(w, "migration.refused", "reason", w->text);
	assert_int_equal(w->command_count, commands);
	flush(w);
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_int_equal(has_segment(w, target), strcmp(target, "h1") == 0);
	assert_string_equal(vm(w)->report.state, "running");
}

static json_t *with(const char *key, json_t *value)
{
	json_t *said = vm_json("paused");

	json_object_set_new(said, key, value);
	return said;
}

static json_t *with_nic(const char *key, json_t *value)
{
	json_t *said = vm_json("paused");

	json_object_set_new(json_array_get(json_object_get(said, "nics"), 0), key, value);
	return said;
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *last = NULL;

	refused(w, "h1", vm_json("paused"), "runs on host h1 already");
	refused(w, "h2", with("tenant", json_string("bank")),
		"says tenant 'bank', host h1 reports");
	refused(w, "h2", with("labels", json_pack("{s:s}", "role", "db")), "says labels");
	refused(w, "h2", with("nics", json_array()), "has 1 NICs on host h1");
	refused(w, "h2", with_nic("mac", json_string("52:54:00:00:00:99")), "has no NIC");
	refused(w, "h2", with_nic("net", json_string("bridge/br1")), "would be on bridge/br1");
	refused(w, "h2", with_nic("net", json_string("")), "can't be protected on host h2");
	refused(w, "h2", with_nic("addresses", json_pack("[s, s]", "10.0.0.1", "10.0.0.2")),
		"other addresses, VLANs or rights");
	refused(w, "h2", with_nic("flags", json_pack("[s]", "any-source")), "or rights");
	refused(w, "h2", with_nic("vlans", json_pack("[i]", 7)), "VLANs");
	last = record(w);
	assert_string_equal(bh_json_str_or(last, "state", ""), "refused");
	assert_string_equal(
		bh_json_str_or(json_array_get(json_object_get(last, "by"), 0), "user", ""), "root");
	host(w, "h1")->online = false;
	refused(w, "h2", vm_json("paused"), "h1, on which VM web runs, is not connected");
	host(w, "h1")->online = true;
	report(w, "h1", "shutoff");
	ask(w, "h2");
	assert_non_null(strstr(w->text, "host h1 says that VM web is shutoff"));
}

/* A network that exists on one host only can't be on the other one. */
static void test_network_of_one_host(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *said = with_nic("net", json_string("host/h1/net/default"));
	BH_JSON json_t *vms = json_pack("[O]", said);
	BH_JSON json_t *rejected = NULL;

	json_object_set_new(said, "state", json_string("running"));
	assert_int_equal(manager_inventory_report(w->inv, host(w, "h1"), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	flush(w);
	refused(w, "h2", with_nic("net", json_string("host/h2/net/default")),
		"which exists on host h1 only");
	ask_json(w, "h2", with_nic("net", json_string("host/h1/net/default")), "live");
	assert_string_equal(w->code, "bad"); /* h2 can't speak of networks of h1 */
}

static void test_nonsense(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *body = json_pack("{s:s}", "migration", "../../etc");

	w->id[0] = '\0';
	ask_json(w, "h2", json_string("everything"), "live");
	assert_string_equal(w->code, "bad");
	assert_int_equal(manager_migrate_told(w->migrate, host(w, "h2"), body, NULL), -ENOENT);
	get_ready(w);
	assert_int_equal(told(w, "h2", "", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "final", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", NULL), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", json_pack("{s:i}", "connections", 1)), -EINVAL);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
}

/* Names of people come from hosts and end in events and on terminals. */
static void test_people_are_harmless(void **state)
{
	BH_FREE char *shown = NULL;
	BH_JSON json_t *by = json_pack("[{s:s, s:i, s:s, s:{}}, s, {s:n}]", "user", "root", "uid",
				       0, "tty", "\x1b[2J", "deep", "not an object", "none");
	BH_JSON json_t *people = NULL;
	BH_JSON json_t *many = json_array();

	people = manager_migration_people(by);
	shown = bh_json_dump(people);
	assert_string_equal(shown, "[{\"uid\":0,\"user\":\"root\"},{}]");
	json_decref(people);
	for (int i = 0; i < 100; i++) {
		json_array_append_new(many, json_pack("{s:i}", "uid", i));
	}
	people = manager_migration_people(many);
	assert_int_equal(json_array_size(people), 8);
	json_decref(people);
	people = manager_migration_people(json_null());
	assert_int_equal(json_array_size(people), 0);
}

/* A host that asks on and on: the first ones are written down and told. */
static void test_refusals_are_limited(void **state)
{
	struct world *w = *state;
	uint64_t untold = bh_counter_get("migrate_refused_untold");

	json_array_clear(w->noticed);
	for (int i = 0; i < 100; i++) {
		ask(w, "h1");
		assert_string_equal(w->code, "refused");
	}
	assert_int_equal(json_array_size(w->noticed), 30);
	assert_int_equal(bh_counter_get("migrate_refused_untold"), untold + 70);
}

static void test_two_at_once(void **state)
{
	struct world *w = *state;

	get_ready(w);
	refused(w, "h3", vm_json("paused"), "on its way to host h2 already");
	/* The same target again: libvirt there has given the first one up. */
	ask(w, "h2");
	assert_false(w->answered);
	expect_notice(w, "migration.failed", "reason", "the target began anew");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	depart(w, 10);
	flush(w);
	answer_all(w);
	assert_string_equal(w->code, "ok");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
}

/* ---- room ---- */

static void test_connections_need_room(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 1001);
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "has room for 1000 more connections, VM web has 1001"));
	answer_command(w, "h1", "depart-end", json_object(), "");
	assert_null(w->migrate->open);
}

static void test_tables_need_room(void **state)
{
	struct world *w = *state;

	host(w, "h2")->capacity[MANAGER_TABLE_ADDRS] = 0; /* not told */
	host(w, "h2")->capacity[MANAGER_TABLE_NICS] = 1;
	report(w, "h2", NULL);
	ask(w, "h2");
	depart(w, 1);
	flush(w);
	assert_string_equal(w->code, "ok"); /* one NIC fits */
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	flush(w);
	drop_commands(w);
	host(w, "h2")->capacity[MANAGER_TABLE_ADDRS] = 1;
	report(w, "h2", NULL);
	{
		BH_JSON json_t *two = vm_json("running");
		BH_JSON json_t *vms = json_pack("[O]", two);
		BH_JSON json_t *rejected = NULL;

		json_object_set_new(json_array_get(json_object_get(two, "nics"), 0), "addresses",
				    json_pack("[s, s]", "10.0.0.1", "10.0.0.2"));
		assert_int_equal(manager_inventory_report(w->inv, host(w, "h1"), vms,
							  bh_time_wall_ns(), &rejected, NULL),
				 0);
		flush(w);
		ask_json(w, "h2", json_incref(two), "live");
	}
	depart(w, 1);
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "addrs would be 2 of 1"));
	flush(w);
	assert_false(has_segment(w, "h2"));
}

/* The host itself says that it is full, or can't. */
static void test_apply_fails(void **state)
{
	struct world *w = *state;
	struct manager_answer a = {.err = BH_BUS_REFUSED, .code = "full", .text = "no room"};

	ask(w, "h2");
	depart(w, 1);
	assert_int_equal(w->asked_count, 1);
	a.attempt = w->asked[0]->attempt;
	w->asked_count = 0;
	manager_sync_answer(host(w, "h2")->sync, &a);
	manager_migrate_tick(w->migrate, bh_time_wall_ns(), bh_time_mono_ns());
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "full: no room"));
	flush(w);
	assert_null(vm(w)->incoming);
}

/* A target that does not hold what it should takes nothing more. */
static void test_target_is_not_in_sync(void **state)
{
	struct world *w = *state;
	struct manager_answer a = {.err = BH_BUS_REFUSED, .code = "full", .text = "no room"};
	json_t *other = vm_json("running");
	BH_JSON json_t *vms = json_pack("[o]", other);
	BH_JSON json_t *rejected = NULL;

	json_object_set_new(other, "uuid", json_string("00000000-0000-4000-8000-000000000002"));
	json_object_set_new(json_array_get(json_object_get(other, "nics"), 0), "addresses",
			    json_pack("[s]", "10.0.0.2"));
	assert_int_equal(manager_inventory_report(w->inv, host(w, "h2"), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	while (w->asked_count) { /* h1 has the network too */
		a.attempt = w->asked[--w->asked_count]->attempt;
		manager_sync_answer(w->asked[w->asked_count], &a);
	}
	ask(w, "h2");
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "host h2 is not in sync (full: no room)"));
}

/* ---- the source ---- */

static void test_source_says_no(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	answer_command(w, "h1", "depart", NULL, "gone");
	assert_non_null(strstr(w->text, "host h1 says that VM web does not run there"));
	drop_commands(w);
	ask(w, "h2");
	answer_command(w, "h1", "depart", NULL, "");
	assert_string_equal(w->code, "refused");
	assert_non_null(strstr(w->text, "can't let it go"));
	drop_commands(w);
	ask(w, "h2"); /* no answer at all */
	manager_migrate_tick(w->migrate, bh_time_wall_ns(), bh_time_mono_ns() + 16 * BH_NS_PER_S);
	assert_non_null(strstr(w->text, "host h1 did not answer in time"));
	answer_command(w, "h1", "depart", json_pack("{s:i}", "connections", 1), ""); /* too late */
	assert_null(w->migrate->open);
}

/* ---- receipts ---- */

static void test_receipt_must_fit(void **state)
{
	struct world *w = *state;
	json_t *wrong = receipt(10);

	get_ready(w);
	json_object_set_new(wrong, "mark",
			    json_pack("{s:i, s:s}", "connections", 11, "hash", HASH));
	assert_int_equal(told(w, "h2", "installed", wrong), -EPERM);
	expect_notice(w, "migration.failed", "phase", "ready");
	assert_null(take_notice(w, "migration.allowed"));
	flush(w);
	assert_null(vm(w)->incoming);
	drop_commands(w);

	get_ready(w); /* nothing to hold it against */
	wrong = receipt(10);
	json_object_del(wrong, "mark");
	assert_int_equal(told(w, "h2", "installed", wrong), -EPERM);
	drop_commands(w);

	get_ready(w); /* the same number, but others */
	wrong = receipt(10);
	json_object_set_new(wrong, "mark", json_pack("{s:i, s:s}", "connections", 10, "hash", ""));
	json_object_set_new(wrong, "expired", json_integer(1));
	assert_int_equal(told(w, "h2", "installed", wrong), -EPERM);
	drop_commands(w);

	get_ready(w); /* one ran out meanwhile: the mark is what is left without it */
	wrong = receipt(10);
	json_object_set_new(wrong, "mark",
			    json_pack("{s:i, s:s}", "connections", 10, "hash", HASH));
	json_object_set_new(wrong, "expired", json_integer(1));
	assert_int_equal(told(w, "h2", "installed", wrong), 0);
}

static void test_receipt_must_be_near(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	depart(w, 500);
	answer_all(w);
	assert_int_equal(told(w, "h2", "installed", receipt(3)), -EPERM);
	expect_notice(w, "migration.failed", "phase", "ready");
}

/* hello tells the target of a migration before it is decided; its word on it counts later. */
static void test_installed_before_it_was_decided(void **state)
{
	struct world *w = *state;

	ask(w, "h2");
	snprintf(w->id, sizeof(w->id), "%s", w->migrate->open->id);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), -EINVAL);
	assert_int_equal(w->migrate->open->state, MANAGER_MIGRATION_ASKED);
	depart(w, 10);
	assert_int_equal(told(w, "h2", "installed", receipt(10)), -EINVAL);
	assert_int_equal(w->migrate->open->state, MANAGER_MIGRATION_APPLYING);
	answer_all(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "ok");
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
}

/* What ends thereby may have been all that was known of the VM. */
static void test_begins_anew_when_nobody_has_it(void **state)
{
	struct world *w = *state;

	get_ready(w);
	report(w, "h1", NULL);
	assert_non_null(vm(w));
	assert_null(vm(w)->host);
	ask(w, "h2");
	answer_all(w);
	assert_true(w->answered);
	assert_string_equal(w->code, "ok");
	assert_string_equal(w->source, "");
	drop_commands(w);
}

/* ---- what comes after it ---- */

static void expect_place(struct world *w, const char *host_name, const char *how)
{
	assert_string_equal(vm(w)->place.host, host_name);
	assert_string_equal(manager_place_how_name(vm(w)->place.how), how);
}

/* How a VM came here is said of this run only. */
static void test_next_start_is_a_start(void **state)
{
	struct world *w = *state;

	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	answer_command(w, "h1", "depart", NULL, "gone");
	answer_all(w);
	report(w, "h2", "running");
	expect_place(w, "h2", "restore");
	assert_null(w->migrate->open);
	report(w, "h2", "shutoff");
	report(w, "h2", "running");
	expect_place(w, "h2", "start");
	assert_string_equal(vm(w)->place.migration, "");
}

static void test_start_after_one_that_failed(void **state)
{
	struct world *w = *state;

	report(w, "h1", "shutoff");
	ask_json(w, "h2", vm_json("paused"), "restore");
	answer_command(w, "h1", "depart", NULL, "gone");
	answer_all(w);
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	assert_null(w->migrate->open);
	report(w, "h2", "running");
	expect_place(w, "h2", "start");
}

/* The wait for the last word begins when the source lets go for good. */
static void test_source_goes_on(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "paused");
	report(w, "h1", "shutoff");
	assert_int_not_equal(w->migrate->open->left_ns, 0);
	report(w, "h1", "running");
	assert_int_equal(w->migrate->open->left_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_walk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_network_of_one_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
		cmocka_unit_test(test_people_are_harmless),
		cmocka_unit_test_setup_teardown(test_refusals_are_limited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_need_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tables_need_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_apply_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_target_is_not_in_sync, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_source_says_no, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receipt_must_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receipt_must_be_near, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_installed_before_it_was_decided, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_begins_anew_when_nobody_has_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_next_start_is_a_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_start_after_one_that_failed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_source_goes_on, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
