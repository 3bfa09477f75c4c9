/* SPDX-License-Identifier: Apache-2.0 */
/* Two hosts that list one VM: it moved while no hostd watched, it is defined at both, a migration
 * of it was given up although it runs at the target. */
#include "migrate_world.h"

static void expect_at(struct world *w, const char *name)
{
	assert_non_null(vm(w));
	assert_ptr_equal(vm(w)->host, host(w, name));
	assert_null(vm(w)->claims);
	assert_true(has_segment(w, name));
	assert_string_equal(vm(w)->place.host, name);
}

/* Moved by libvirt alone while both hostds were away; whose hostd is back first is chance. */
static void test_moved_unseen_target_first(void **state)
{
	struct world *w = *state;

	report(w, "h2", "running");
	assert_int_equal(w->rejected, 1);
	expect_notice(w, "host.conflict", "host", "h2");
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_false(has_segment(w, "h2"));
	report(w, "h1", NULL);
	expect_at(w, "h2");
	assert_false(has_segment(w, "h1"));
	report(w, "h2", "running");
	assert_int_equal(w->rejected, 0);
	expect_at(w, "h2");
}

static void test_moved_unseen_source_first(void **state)
{
	struct world *w = *state;

	report(w, "h1", NULL);
	assert_null(vm(w));
	report(w, "h2", "running");
	assert_int_equal(w->rejected, 0);
	expect_at(w, "h2");
}

/* The old one stays defined where it was. */
static void test_moved_unseen_stays_defined(void **state)
{
	struct world *w = *state;

	report(w, "h2", "running");
	report(w, "h1", "shutoff");
	expect_at(w, "h2");
	report(w, "h1", "shutoff");
	assert_int_equal(w->rejected, 0);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_string_equal(vm(w)->report.state, "running");
}

/* As after `virsh migrate --persistent` without --undefinesource: nothing is wrong with it. */
static void test_defined_at_both(void **state)
{
	struct world *w = *state;

	report(w, "h2", "shutoff");
	assert_int_equal(w->rejected, 0);
	assert_null(take_notice(w, "host.conflict"));
	assert_string_equal(vm(w)->report.state, "running");
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	assert_string_equal(vm(w)->report.state, "shutoff");
	assert_string_equal(vm(w)->place.host, "");
}

/* Who runs it comes before who said it first. */
static void test_several(void **state)
{
	struct world *w = *state;

	report(w, "h2", "shutoff");
	report(w, "h3", "running");
	report(w, "h1", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h3"));
	report(w, "h3", NULL);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
}

static void test_claim_ends(void **state)
{
	struct world *w = *state;

	report(w, "h2", "running");
	report(w, "h2", NULL);
	assert_null(vm(w)->claims);
	assert_null(host(w, "h2")->claims);
	report(w, "h3", "running");
	host(w, "h3")->last_seen_ns = 1; /* lost meanwhile, and its VMs with it */
	report(w, "h1", NULL);
	assert_null(vm(w));
	assert_null(host(w, "h3")->claims);
}

static void remove_host(struct world *w, const char *name)
{
	manager_distribute_forget(w->dist, host(w, name));
	manager_host_remove(w->inv, host(w, name), bh_time_wall_ns());
}

static void test_hosts_are_removed(void **state)
{
	struct world *w = *state;

	report(w, "h3", "running");
	report(w, "h2", "running");
	remove_host(w, "h3");
	assert_null(vm(w)->claims->next);
	remove_host(w, "h1");
	flush(w);
	expect_at(w, "h2");
}

/* Given up while the target has it: what runs there is not lost when the source lets it go. */
static void test_given_up_but_there(void **state)
{
	struct world *w = *state;

	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h2", "failed", NULL), 0);
	flush(w);
	assert_ptr_equal(vm(w)->host, host(w, "h1"));
	assert_false(has_segment(w, "h2"));
	report(w, "h1", NULL);
	expect_at(w, "h2");
	drop_commands(w);
}

/* A claim from before does not outlive the arrival. */
static void test_arrives_where_it_was_defined(void **state)
{
	struct world *w = *state;

	report(w, "h2", "shutoff");
	get_installed(w);
	report(w, "h2", "running");
	assert_int_equal(told(w, "h2", "final", NULL), 0);
	report(w, "h1", NULL);
	expect_at(w, "h2");
	drop_commands(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_moved_unseen_target_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_moved_unseen_source_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_moved_unseen_stays_defined, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_defined_at_both, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_several, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_claim_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hosts_are_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given_up_but_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_arrives_where_it_was_defined, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
