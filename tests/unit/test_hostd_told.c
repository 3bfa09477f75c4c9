/* SPDX-License-Identifier: Apache-2.0 */
/* Events about states come when the state changes, once, also across restarts of hostd. */
#include "base/json.h"
#include "base/time.h"
#include "hostd_world.h"

static unsigned int started, stopped, safe, unsafe, closed;

/* Every event of hostd comes by here (--wrap). */
void __real_hostd_agent_event(struct hostd_agent *agent, json_t *event);
void __wrap_hostd_agent_event(struct hostd_agent *agent, json_t *event);
void __wrap_hostd_agent_event(struct hostd_agent *agent, json_t *event)
{
	const char *type = bh_json_str_or(event, "type", "");

	started += !strcmp(type, "vm.started");
	stopped += !strcmp(type, "vm.stopped");
	safe += !strcmp(type, "nic.protected");
	unsafe += !strcmp(type, "nic.unprotected");
	closed += !strcmp(type, "nic.closed");
	__real_hostd_agent_event(agent, event);
}

/* In all since the beginning. */
static void expect(unsigned int starts, unsigned int protections, unsigned int exposures,
		   unsigned int closures)
{
	assert_int_equal(started, starts);
	assert_int_equal(safe, protections);
	assert_int_equal(unsafe, exposures);
	assert_int_equal(closed, closures);
}

static char *vm_file(void)
{
	return bh_asprintf("%s/platform/domains/web.xml", w.dir);
}

static bool port_seen(void)
{
	BH_JSON json_t *ports = hostd_ports_json(w.agent);
	BH_FREE char *text = bh_json_dump(ports);

	return strstr(text, "\"closed\"") != NULL;
}

static bool complete(void)
{
	return hostd_inventory_complete(w.agent->inv);
}

/* A start of hostd, everything that it wants to tell, its end. */
static void round_of_hostd(void)
{
	world_start();
	world_wait(complete, "the platform");
	world_wait(port_seen, "the closed port");
	hostd_agent_reconcile(w.agent);
	hostd_ports_tick(w.agent, bh_time_mono_ns() + 5 * BH_NS_PER_S);
	hostd_ports_tick(w.agent, bh_time_mono_ns() + 9 * BH_NS_PER_S);
	world_stop();
}

static void test_told_once(void **state)
{
	BH_FREE char *file = vm_file();
	BH_FREE char *xml = world_domain("closed");

	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	world_start();
	world_wait(world_session_up, "the hello");
	world_apply(NULL, world_image(300, true));
	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(world_nic_fed, "the VM's NIC");
	world_stop();
	round_of_hostd();
	expect(1, 1, 0, 1);
	round_of_hostd();
	round_of_hostd();
	expect(1, 1, 0, 1);
}

/* What changes while hostd is away is told by the next one. */
static void test_changes_meanwhile(void **state)
{
	BH_FREE char *file = vm_file();
	BH_FREE char *xml = world_domain("closed");

	unlink(file);
	world_sh("ip link set odd0 nomaster");
	world_start();
	world_wait(complete, "the platform");
	hostd_agent_reconcile(w.agent);
	world_stop();
	assert_int_equal(stopped, 1);
	expect(1, 1, 0, 1);
	world_sh("ip link set odd0 master br0");
	world_write(file, xml);
	round_of_hostd();
	expect(2, 2, 0, 2);
	round_of_hostd();
	expect(2, 2, 0, 2);
	assert_int_equal(stopped, 1);
}

/* birth="open" is told with its reason when the VM starts, and not once more because it runs. */
static void test_open_birth(void **state)
{
	BH_FREE char *file = vm_file();
	BH_FREE char *xml = world_domain("open");
	struct bh_image *had = world_image(300, true);
	const json_t *reply;

	unlink(file);
	world_start();
	world_wait(world_session_up, "the hello");
	world_apply(had, world_image(300, false));
	w.manager_mute = true;
	reply = world_birth("open");
	assert_string_equal(bh_json_str_or(reply, "how", ""), "open");
	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	hostd_agent_reconcile(w.agent);
	world_stop();
	round_of_hostd();
	expect(3, 2, 1,
	       3); /* without a VM the bridge, and so its unknown port, was of no interest */
	round_of_hostd();
	expect(3, 2, 1, 3);
	bh_image_free(had);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_once),
		cmocka_unit_test(test_changes_meanwhile),
		cmocka_unit_test(test_open_birth),
	};

	return world_run("hostd_told", tests, BH_ARRAY_SIZE(tests));
}
