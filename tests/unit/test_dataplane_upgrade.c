/* SPDX-License-Identifier: Apache-2.0 */
/* What another version left under the pin folder: taking it out, and taking it over. */
#include "dataplane_world.h"

#include "base/util.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
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

/* ---- taking over ---- */

/* The type of the map's values with one member more at its beginning. */
static uint32_t add_wider(struct btf *btf, uint32_t type_id)
{
	const struct btf_type *t = btf__type_by_id(btf, type_id);
	uint32_t count = btf_vlen(t), size = t->size;
	int u64 = btf__add_int(btf, "unsigned long long", 8, 0);
	int id = btf__add_struct(btf, "wider", size + 8);

	assert_true(u64 > 0 && id > 0);
	assert_int_equal(btf__add_field(btf, "fresh", u64, 0, 0), 0);
	for (uint32_t i = 0; i < count; i++) {
		const struct btf_member m = btf_members(btf__type_by_id(btf, type_id))[i];
		const char *name = btf__name_by_offset(btf, m.name_off);

		assert_int_equal(btf__add_field(btf, name, (int)m.type, m.offset + 64, 0), 0);
	}
	return (uint32_t)id;
}

/* Puts in the place of a pinned map one with the same entries in another layout. */
static void widen(const char *name)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info), id;
	uint8_t key[64], next[64], value[256];
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	struct btf *btf;
	char path[256];
	bool more;
	int old, fd;

	snprintf(path, sizeof(path), "%s/%s", world.pin_dir, name);
	old = bpf_obj_get(path);
	assert_true(old >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(old, &info, &size), 0);
	btf = btf__load_from_kernel_by_id(info.btf_id);
	assert_non_null(btf);
	id = add_wider(btf, info.btf_value_type_id);
	assert_int_equal(btf__load_into_kernel(btf), 0);
	opts.map_flags = info.map_flags;
	opts.btf_fd = (uint32_t)btf__fd(btf);
	opts.btf_key_type_id = info.btf_key_type_id;
	opts.btf_value_type_id = id;
	fd = bpf_map_create(info.type, name, info.key_size, info.value_size + 8, info.max_entries,
			    &opts);
	assert_true(fd >= 0);
	for (more = !bpf_map_get_next_key(old, NULL, key); more; memcpy(key, next, sizeof(key))) {
		memset(value, 0x5a, 8);
		if (!bpf_map_lookup_elem(old, key, value + 8)) {
			assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
		}
		more = !bpf_map_get_next_key(old, key, next);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	close(old);
	btf__free(btf);
}

/* Another version's pins: all maps of the same layout, or those that matter of another one. */
static void takes_over(enum hostd_dp_attach attach, bool other_layout)
{
	static const char *const names[] = {"bh_ctl",	    "bh_ports", "bh_nics", "bh_nic_state",
					    "bh_nic_addrs", "bh_addrs", "bh_sets", "bh_rows",
					    "bh_ct4",	    "bh_stats"};
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;
	struct bh_image *want = policy();
	struct bh_diag diag = {};
	int tcp[2];
	char c = 0;

	protect(attach);
	world_tcp(&world, 0, 1, ALLOWED, tcp);
	for (size_t i = 0; other_layout && i < BH_ARRAY_SIZE(names); i++) {
		widen(names[i]);
	}
	world_sh("mv %s %s/v7", world.pin_dir, world.dir);
	dp = open_world(attach, &info);
	assert_true(info.adopted);
	assert_int_equal(info.replaced, 4);
	assert_int_equal(info.gone, 0);
	assert_non_null(strstr(info.notice, "/v7"));
	world_sh("! test -e %s/v7", world.dir);
	/* What the policy says, and what was open. */
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(want)));
	assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, &diag), 0);
	assert_int_equal(send(tcp[0], "a", 1, 0), 1);
	assert_int_equal(recv(tcp[1], &c, 1, 0), 1);
	assert_int_equal(send(tcp[1], "b", 1, 0), 1);
	assert_int_equal(recv(tcp[0], &c, 1, 0), 1);
	assert_int_equal(c, 'b');
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
	close(tcp[0]);
	close(tcp[1]);
	bh_image_free(want);
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
	must_be_gone();
}

/* Says something and gets an answer until `stop` is readable; exits with 1 when one is missing. */
static pid_t talk(const int tcp[2], int stop)
{
	pid_t pid = fork();

	if (pid) {
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t n = 1;; n++) {
		struct pollfd p = {.fd = stop, .events = POLLIN};
		uint64_t got = 0;

		for (int from = 0; from < 2; from++) {
			if (send(tcp[from], &n, sizeof(n), 0) != sizeof(n) ||
			    recv(tcp[!from], &got, sizeof(got), MSG_WAITALL) != sizeof(got) ||
			    got != n) {
				_exit(1);
			}
		}
		if (poll(&p, 1, 0) == 1) {
			_exit(0);
		}
	}
}

/* ABI 2 has the journal of connections that move more than ABI 1 (tests/unit/abi). Connections talk
 * on while it is taken over, nothing else passes, and what they are can move. */
static void takes_over_from_version_1(void **state)
{
	struct hostd_dp_move_nics nics = {.keys = {world_key(0)}, .count = 1};
	struct bh_image *want = policy();
	struct hostd_dp_open_info info;
	int tcp[2], stop[2], status;
	struct hostd_dp *dp;
	pid_t pid;

	protect(HOSTD_DP_ATTACH_AUTO);
	world_tcp(&world, 0, 1, ALLOWED, tcp);
	world_sh("rm %s/bh_moves", world.pin_dir);
	world_sh("mv %s %s/v1", world.pin_dir, world.dir);
	assert_int_equal(pipe(stop), 0);
	pid = talk(tcp, stop[0]);
	dp = open_world(HOSTD_DP_ATTACH_AUTO, &info);
	assert_true(info.adopted);
	assert_int_equal(info.replaced, 4);
	assert_non_null(strstr(info.notice, "/v1"));
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
	assert_int_equal(write(stop[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(want)));
	assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 0);
	world_sh("! test -e %s/v1 && test -e %s/bh_moves", world.dir, world.pin_dir);
	/* What was open before is in the journal when it changes. */
	assert_int_equal(hostd_dp_journal_set(dp, &nics, true, NULL), 0);
	shutdown(tcp[0], SHUT_RDWR);
	{
		struct pollfd p = {.fd = hostd_dp_journal_fd(dp), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 5000), 1);
	}
	close(tcp[0]);
	close(tcp[1]);
	close(stop[0]);
	close(stop[1]);
	bh_image_free(want);
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
}

static void takes_over_the_same_layout(void **state)
{
	takes_over(HOSTD_DP_ATTACH_AUTO, false);
	takes_over(HOSTD_DP_ATTACH_CLSACT, false);
}

static void takes_over_another_layout(void **state)
{
	takes_over(HOSTD_DP_ATTACH_AUTO, true);
	takes_over(HOSTD_DP_ATTACH_CLSACT, true);
}

/* Killed anywhere in between, the next one finds its way. */
static void takes_over_after_a_kill(void **state)
{
	for (int i = 0; i < 12; i++) {
		struct timespec moment = {.tv_nsec = i * 12000000L};
		struct hostd_dp_options options;
		struct hostd_dp_open_info info;
		struct hostd_dp *dp;
		pid_t pid;

		protect(HOSTD_DP_ATTACH_AUTO);
		if (i % 2) {
			widen("bh_ports");
			widen("bh_ct4");
		}
		world_sh("mv %s %s/v7", world.pin_dir, world.dir);
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			world_options(&world, &options);
			_exit(hostd_dp_open(&options, &dp, NULL, NULL) ? 1 : 0);
		}
		nanosleep(&moment, NULL); /* the moment itself, not a wait for something */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
		dp = open_world(HOSTD_DP_ATTACH_AUTO, &info);
		assert_true(info.adopted);
		assert_int_equal(info.replaced, 4);
		assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 0);
		assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
		world_sh("! test -e %s/v7", world.dir);
		assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
	}
}

static void takes_out_other_versions_too(void **state)
{
	struct bh_diag diag = {};

	protect(HOSTD_DP_ATTACH_AUTO);
	world_sh("mv %s %s/v7", world.pin_dir, world.dir);
	assert_int_equal(hostd_dp_remove(world.pin_dir, &diag), 0);
	world_sh("! test -e %s/v7", world.dir);
	must_be_gone();
}

/* Maps that don't say what they hold can't be carried over; what runs goes on. */
static void leaves_what_it_cannot_read(void **state)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};
	struct hostd_dp *dp;

	protect(HOSTD_DP_ATTACH_AUTO);
	repin("bh_sets", 7);
	world_sh("mv %s %s/v7", world.pin_dir, world.dir);
	world_options(&world, &options);
	assert_int_equal(hostd_dp_open(&options, &dp, NULL, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--detach --yes"));
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(takes_out_any_layout, world_clean_up),
		cmocka_unit_test_teardown(says_what_to_do_about_another_layout, world_clean_up),
		cmocka_unit_test_teardown(leaves_it_to_who_works_on_it, world_clean_up),
		cmocka_unit_test_teardown(takes_over_from_version_1, world_clean_up),
		cmocka_unit_test_teardown(takes_over_the_same_layout, world_clean_up),
		cmocka_unit_test_teardown(takes_over_another_layout, world_clean_up),
		cmocka_unit_test_teardown(takes_over_after_a_kill, world_clean_up),
		cmocka_unit_test_teardown(takes_out_other_versions_too, world_clean_up),
		cmocka_unit_test_teardown(leaves_what_it_cannot_read, world_clean_up),
		cmocka_unit_test_teardown(removes_only_its_own_qdisc, world_clean_up),
		cmocka_unit_test_teardown(removes_it_when_tcx_takes_over, world_clean_up),
	};

	return world_run(&world, 2, true, tests);
}
