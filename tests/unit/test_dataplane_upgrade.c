/* SPDX-License-Identifier: Apache-2.0 */
/* What another version left under the pin folder: taking it out, and taking it over. */
#include "dataplane_world.h"

#include "base/util.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define ALLOWED 2000
#define REFUSED 2001
#define CLIENT	300u
#define SERVER	301u

static struct world world;

static struct hostd_dp *open_world(enum hostd_dp_attach attach, struct hostd_dp_open_info *ret_info)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};
	struct hostd_dp *dp;

	world_options(&world, &options);
	options.attach = attach;
	if (hostd_dp_open(&options, &dp, ret_info, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	return dp;
}

static struct bh_image *policy(void)
{
	struct bh_segment *seg = bh_segment_new("world");
	uint32_t in = BH_SET(SERVER, BH_DIR_INGRESS);

	add_nic(seg, 0, CLIENT, 0);
	add_nic(seg, 1, SERVER, 0);
	add_set(seg, BH_SET(CLIENT, BH_DIR_EGRESS), BH_ACTION_ALLOW, 0);
	add_set(seg, BH_SET(CLIENT, BH_DIR_INGRESS), BH_ACTION_DENY, 0);
	add_set(seg, BH_SET(SERVER, BH_DIR_EGRESS), BH_ACTION_DENY, 0);
	add_set(seg, in, BH_ACTION_DENY, row_mask(CLIENT, ALLOWED));
	add_row(seg, in, CLIENT, ALLOWED, 1, BH_ACTION_ALLOW);
	add_proto_row(seg, in, CLIENT, IPPROTO_TCP, ALLOWED, 2);
	return image_of(seg);
}

/* A protected world, as a process that is gone by now left it. */
static void protect(enum hostd_dp_attach attach)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(attach, &info);

	world_bind(&world, dp);
	bh_image_free(must_apply(dp, bh_image_new(), policy()));
	hostd_dp_close(dp);
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
}

/* Another map in the place of one of ours, as another version might have pinned it. */
static void repin(const char *name, uint32_t value_size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", world.pin_dir, name);
	assert_int_equal(unlink(path), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, name, 4, value_size, 16, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
}

/* ---- taking out ---- */

static void must_be_gone(void)
{
	assert_true(world_passes(&world, 0, 1, REFUSED, ALLOWED));
	world_sh("! test -e %s", world.pin_dir);
}

static void takes_out_any_layout(void **state)
{
	static const enum hostd_dp_attach ways[] = {HOSTD_DP_ATTACH_AUTO, HOSTD_DP_ATTACH_CLSACT};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ways); i++) {
		struct bh_diag diag = {};

		protect(ways[i]);
		repin("bh_sets", 7);
		repin("bh_ports", 99);
		world_sh("rm %s/bh_nics", world.pin_dir);
		if (hostd_dp_remove(world.pin_dir, &diag)) {
			fail_msg("remove: %s", diag.text);
		}
		must_be_gone();
		world_sh("! tc qdisc show dev tap0 | grep -q clsact");
		/* Nothing there is nothing to do. */
		assert_int_equal(hostd_dp_remove(world.pin_dir, &diag), 0);
	}
}

/* Tables that look otherwise are no reason to touch anything: what runs goes on. */
static void says_what_to_do_about_another_layout(void **state)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};
	struct hostd_dp *dp;

	protect(HOSTD_DP_ATTACH_AUTO);
	repin("bh_sets", 7);
	world_options(&world, &options);
	assert_int_equal(hostd_dp_open(&options, &dp, NULL, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--detach --yes"));
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
}

static void leaves_it_to_who_works_on_it(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, &info);
	struct bh_diag diag = {};

	assert_int_equal(hostd_dp_remove(world.pin_dir, &diag), HOSTD_DP_BUSY);
	assert_int_equal(hostd_dp_destroy(dp, &diag), 0);
	world_sh("! test -e %s", world.pin_dir);
}

/* ---- clsact ---- */

/* A filter of somebody else's, which lets everything through. */
static void add_filter(uint32_t ifindex)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 7);
	BH_CLOSE int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "others", "Dual BSD/GPL", insns,
					BH_ARRAY_SIZE(insns), NULL);

	opts.prog_fd = fd;
	assert_true(fd >= 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void removes_only_its_own_qdisc(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp_nic_key key = world_key(0);
	struct hostd_dp *dp;

	world_sh("tc qdisc add dev tap1 clsact"); /* somebody's, empty */
	dp = open_world(HOSTD_DP_ATTACH_CLSACT, &info);
	world_bind(&world, dp);
	world_sh("tc qdisc show dev tap0 | grep -q clsact");
	/* Somebody uses what we made. */
	add_filter(world.uplink);
	assert_int_equal(hostd_dp_unbind(dp, &key, NULL), 0);
	world_sh("! tc qdisc show dev tap0 | grep -q clsact");
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
	world_sh("tc qdisc show dev tap1 | grep -q clsact");
	world_sh("tc filter show dev up0 egress | grep -q others");
	world_sh("! tc qdisc show dev br0 | grep -q clsact");
	world_sh("tc qdisc del dev tap1 clsact && tc qdisc del dev up0 clsact");
}

static void removes_it_when_tcx_takes_over(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;

	protect(HOSTD_DP_ATTACH_CLSACT);
	world_sh("tc qdisc show dev tap0 | grep -q clsact");
	dp = open_world(HOSTD_DP_ATTACH_AUTO, &info);
	if (info.tcx) {
		world_sh("! tc qdisc show dev tap0 | grep -q clsact");
	}
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
	if (!info.tcx) {
		print_message("this kernel has no tcx (it came with 6.6)\n");
		skip();
	}
}

static int clean_up(void **state)
{
	(void)!hostd_dp_remove(world.pin_dir, NULL); /* what a failed test left */
	return 0;
}

static int setup(void **state)
{
	world_init(&world, 2, true);
	return 0;
}

static int teardown(void **state)
{
	world_done(&world);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(takes_out_any_layout, clean_up),
		cmocka_unit_test_teardown(says_what_to_do_about_another_layout, clean_up),
		cmocka_unit_test_teardown(leaves_it_to_who_works_on_it, clean_up),
		cmocka_unit_test_teardown(removes_only_its_own_qdisc, clean_up),
		cmocka_unit_test_teardown(removes_it_when_tcx_takes_over, clean_up),
	};

	world_require_root();
	return cmocka_run_group_tests(tests, setup, teardown);
}
