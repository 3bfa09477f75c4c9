/* SPDX-License-Identifier: Apache-2.0 */
/* MAC addresses behind a port that nobody feeds: a bridge that learned them would send frames that
 * are another guest's there. */
#include "dataplane_world.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define ALLOWED 2000

static struct world world;

static struct hostd_dp *open_world(void)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};
	struct hostd_dp *dp;

	world_options(&world, &options);
	if (hostd_dp_open(&options, &dp, NULL, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	return dp;
}

/* Guest 3 takes this MAC and needs to ask nobody for the others'. */
static void be(const char *mac)
{
	world_sh("nsenter -t %d -n sh -c 'ip link set eth0 address %s;"
		 "ip neigh replace 10.77.0.2 lladdr 02:77:00:00:00:02 dev eth0;"
		 "ip neigh replace 10.77.0.200 lladdr 02:77:00:00:00:c8 dev eth0'",
		 (int)world.guest_pid[3], mac);
}

/* Sends from guest 3 without address resolution; guest 0 sends a marker behind it. */
static bool stranger_reaches(int to)
{
	BH_CLOSE int out = world_udp(&world, 3, 0), marker = world_udp(&world, 0, 0);
	BH_CLOSE int in = world_udp(&world, to, ALLOWED);
	uint64_t got = 0;
	bool reached = false;

	be("02:77:00:00:00:04");
	world_send(marker, to, ALLOWED, 1);
	assert_int_equal(world_recv(in), 1);
	world_send(out, to, ALLOWED, 2);
	world_send(marker, to, ALLOWED, 3);
	while (got != 3) {
		got = world_recv(in);
		assert_int_not_equal(got, 0);
		reached = reached || got == 2;
	}
	return reached;
}

/* Guest 3 says that it is guest 1; the forwarding table tells whether the bridge believed it. */
static bool stranger_draws_frames(void)
{
	BH_CLOSE int out = world_udp(&world, 3, 0), in = world_udp(&world, 1, ALLOWED);
	BH_CLOSE int marker = world_udp(&world, 0, 0);
	bool drawn;

	world_send(marker, 1, ALLOWED, 1); /* the bridge knows where guest 1 is */
	assert_int_equal(world_recv(in), 1);
	world_send(in, 0, 9, 1);
	be("02:77:00:00:00:02");
	world_send(out, WORLD_OUTSIDE, ALLOWED, 2);
	drawn = !system("bridge fdb show br br0 | grep -q '^02:77:00:00:00:02 dev tap3'");
	be("02:77:00:00:00:04");
	world_send(in, 0, 9, 1); /* guest 1 is where it was */
	return drawn;
}

static bool learns(const char *dev)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "bridge -d link show dev %s | grep -q ' learning on'", dev);
	return !system(cmd);
}

static void nothing_is_learned_behind_a_held_port(void **state)
{
	struct hostd_dp *dp = open_world();
	struct hostd_dp_nic_key key = world_key(3);
	struct hostd_dp_device device = {.ifindex = world.tap[3], .bridge = world.bridge};

	assert_true(stranger_reaches(1));
	assert_true(stranger_draws_frames());
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], false, NULL), 0);
	assert_false(learns("tap3"));
	assert_false(stranger_draws_frames());
	/* It outlives the process, and being done twice. */
	hostd_dp_close(dp);
	dp = open_world();
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], true, NULL), 0);
	assert_false(stranger_draws_frames());
	/* Bound, but not fed: the programs see to it. */
	assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), 0);
	assert_true(learns("tap3"));
	assert_false(stranger_draws_frames());
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], true, NULL), -EBUSY);
	assert_int_equal(hostd_dp_unbind(dp, &key, NULL), 0);
	/* With programs nothing comes out of the port, not even to one that is open. */
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], true, NULL), 0);
	assert_false(stranger_reaches(1));
	assert_int_equal(hostd_dp_unhold(dp, world.tap[3], NULL), 0);
	assert_true(learns("tap3"));
	assert_true(stranger_reaches(1));
	/* Off by somebody else stays off. */
	world_sh("bridge link set dev tap3 learning off");
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], false, NULL), 0);
	assert_int_equal(hostd_dp_unhold(dp, world.tap[3], NULL), 0);
	assert_false(learns("tap3"));
	world_sh("bridge link set dev tap3 learning on");
	/* Taking everything out restores it. */
	assert_int_equal(hostd_dp_hold(dp, world.tap[3], true, NULL), 0);
	assert_int_equal(hostd_dp_hold(dp, world.bridge, true, NULL), -ENODEV);
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
	assert_true(learns("tap3"));
	assert_true(stranger_reaches(1));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(nothing_is_learned_behind_a_held_port, world_clean_up),
	};

	return world_run(&world, 4, true, tests);
}
