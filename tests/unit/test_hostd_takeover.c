/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that ran before the host protected them, and those that did not. */
#include "base/json.h"
#include "base/time.h"
#include "hostd_world.h"

static bool picks_up(void)
{
	return world_nic_fed() && (world_nic_status().flags & BH_NIC_PICKUP);
}

static bool picks_up_no_more(void)
{
	return world_nic_fed() && !(world_nic_status().flags & BH_NIC_PICKUP);
}

static void test_rules_come(void **state)
{
	world_start();
	world_wait(world_session_up, "the hello");
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	world_apply(NULL, world_image(300, true));
}

/* For a minute, and not again by a restart of hostd. */
static void test_running_vm_is_taken_over(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");

	world_stop();
	world_detach();
	world_write(file, xml);
	world_start();
	world_wait(picks_up, "a NIC that picks up TCP");
	hostd_takeover_tick(w.agent, bh_time_mono_ns() + 59 * BH_NS_PER_S);
	hostd_agent_reconcile(w.agent);
	assert_true(picks_up());
	hostd_takeover_tick(w.agent, bh_time_mono_ns() + 61 * BH_NS_PER_S);
	world_wait(picks_up_no_more, "the end of the minute");
	world_stop();
	world_detach();
	world_start();
	world_wait(picks_up, "a NIC that picks up TCP, again");
	world_stop();
	world_start();
	assert_true(w.agent->dp_info.adopted);
	world_wait(picks_up_no_more, "the end of the minute by a restart");
}

/* A VM that starts under the hook had no connections before. */
static void test_born_vm_is_not_taken_over(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	const json_t *reply;

	unlink(file);
	world_stop();
	world_detach();
	world_start();
	world_wait(world_session_up, "the hello");
	reply = world_birth("closed");
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_true(picks_up_no_more());
	/* nor one that was noted as running, when it starts anew */
	world_stop();
	world_detach();
	BH_FREE char *xml = world_domain("closed");

	world_write(file, xml);
	world_start();
	world_wait(picks_up, "a NIC that picks up TCP");
	world_wait(world_session_up, "the hello");
	reply = world_birth("closed");
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_true(picks_up_no_more());
	hostd_platform_refresh(w.agent->sources[0].platform);
	unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_come),
		cmocka_unit_test(test_running_vm_is_taken_over),
		cmocka_unit_test(test_born_vm_is_not_taken_over),
	};

	return world_run("hostd_takeover", tests, BH_ARRAY_SIZE(tests));
}
