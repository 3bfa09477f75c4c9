/* SPDX-License-Identifier: Apache-2.0 */
/* Commits, adoption, recovery and drift of the dataplane's maps. Real kernel maps, no traffic. */
#include "dataplane_world.h"

#include "image_put.h"

#include "base/util.h"
#include "model/id.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct world world;

static struct hostd_dp *must_open(const struct hostd_dp_options *options, bool adopted)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;
	struct bh_diag diag = {};

	if (hostd_dp_open(options, &dp, &info, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	assert_int_equal(info.adopted, adopted);
	return dp;
}

static void must_destroy(struct hostd_dp *dp)
{
	struct bh_diag diag = {};

	if (hostd_dp_destroy(dp, &diag)) {
		fail_msg("destroy: %s", diag.text);
	}
}

static int verify_whole(struct hostd_dp *dp)
{
	struct bh_diag diag = {};
	int r;

	do {
		r = hostd_dp_verify(dp, 100, &diag);
	} while (r == 1);
	return r;
}

/* Two NICs, a set with rows, prefixes and ranges; `variant` changes something of each kind. */
static struct bh_image *sample(int variant)
{
	struct bh_segment *seg = bh_segment_new("sample");
	uint32_t set = BH_SET(300, BH_DIR_INGRESS);

	add_nic(seg, 0, 300, 0);
	add_nic(seg, 1, variant == 2 ? 301 : 300, BH_NIC_LEARN_DHCP);
	add_set(seg, set, BH_ACTION_DENY, 0xffff);
	add_set(seg, BH_SET(300, BH_DIR_EGRESS), BH_ACTION_ALLOW, 0);
	for (uint32_t i = 0; i < 500; i++) {
		if (variant != 1 || i % 3) {
			add_row(seg, set, 300 + i, (uint16_t)(i + variant * (i % 7 == 0)), i + 1,
				BH_ACTION_ALLOW);
		}
	}
	add_cidr(seg, set, "10.0.0.0/8", 1);
	add_cidr(seg, set, variant ? "10.2.0.0/16" : "10.1.0.0/16", 2);
	add_cidr(seg, set, "fd00::/8", 3);
	if (variant != 2) {
		add_range(seg, set, 6, 8, 1024, 4 + (uint32_t)variant);
	}
	return image_of(seg);
}

/* The first sample and one record more. */
static struct bh_image *sample_and(const struct bh_rec *rec)
{
	struct bh_image *image = sample(0);
	struct bh_segment *seg = bh_segment_new("more");

	bh_segment_add(seg, rec);
	image_put(image, seg);
	return image;
}

static void reads_back_what_was_installed(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp *dp;
	struct bh_hash empty;

	world_options(&world, &options);
	dp = must_open(&options, false);
	empty = *hostd_dp_hash(dp);
	assert_true(bh_hash_equal(&empty, bh_image_hash(image)));
	for (int variant = 0; variant < 6; variant++) {
		image = must_apply(dp, image, sample(variant % 3));
		assert_true(hostd_dp_pending(dp));
		assert_int_equal(verify_whole(dp), 0);
		assert_false(hostd_dp_pending(dp));
	}
	/* Closing and opening again finds the same. */
	hostd_dp_close(dp);
	dp = must_open(&options, true);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	image = must_apply(dp, image, bh_image_new());
	assert_int_equal(verify_whole(dp), 0);
	for (int t = 0; t < HOSTD_DP_TABLE_COUNT; t++) {
		struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];

		hostd_dp_usage(dp, usage);
		assert_int_equal(usage[t].used, t == HOSTD_DP_NICS);
	}
	bh_image_free(image);
	must_destroy(dp);
}

static void applies_twice_is_nothing(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = sample(0), *empty = bh_image_new();
	struct bh_delta *delta = bh_delta_between(empty, image);
	struct hostd_dp_report report;
	struct hostd_dp *dp;
	uint32_t gen;

	world_options(&world, &options);
	dp = must_open(&options, false);
	assert_int_equal(hostd_dp_apply(dp, delta, &report, NULL), 0);
	gen = hostd_dp_gen(dp);
	assert_int_equal(report.gen, gen);
	assert_int_equal(report.changed, bh_delta_count(delta));
	assert_int_equal(hostd_dp_apply(dp, delta, &report, NULL), 0);
	assert_int_equal(report.changed, 0);
	assert_int_equal(report.gen, gen);
	assert_false(hostd_dp_pending(dp));
	assert_true(bh_hash_equal(&report.hash, bh_image_hash(image)));
	bh_delta_free(delta);
	bh_image_free(image);
	bh_image_free(empty);
	must_destroy(dp);
}

static void only_one_may_hold_it(void **state)
{
	struct hostd_dp_options options;
	struct hostd_dp *dp, *other;
	struct bh_diag diag = {};

	world_options(&world, &options);
	dp = must_open(&options, false);
	assert_int_equal(hostd_dp_open(&options, &other, NULL, &diag), HOSTD_DP_BUSY);
	assert_non_null(strstr(diag.text, "another process"));
	must_destroy(dp);
}

static void too_much_changes_nothing(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new(), *big;
	struct bh_segment *seg = bh_segment_new("sample");
	struct hostd_dp_report report;
	struct bh_delta *delta;
	struct bh_diag diag = {};
	struct bh_hash before;
	struct hostd_dp *dp;
	uint32_t gen;

	world_options(&world, &options);
	options.size[HOSTD_DP_ROWS] = 1000;
	options.size[HOSTD_DP_NICS] = 4;
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	before = *hostd_dp_hash(dp);
	gen = hostd_dp_gen(dp);

	add_set(seg, BH_SET(400, 0), BH_ACTION_DENY, 0xffff);
	for (uint32_t i = 0; i < 900; i++) {
		add_row(seg, BH_SET(400, 0), 1000 + i, 0, i + 1, BH_ACTION_DENY);
	}
	big = image_of(seg);
	delta = bh_delta_between(image, big);
	assert_int_equal(hostd_dp_apply(dp, delta, &report, &diag), HOSTD_DP_FULL);
	assert_int_equal(report.need[HOSTD_DP_ROWS], 1400);
	assert_non_null(strstr(diag.text, "rows: 1400 needed, 1000 are there"));
	bh_delta_free(delta);
	bh_image_free(big);

	seg = bh_segment_new("nics");
	for (int i = 0; i < 4; i++) {
		add_nic(seg, i, 300, 0);
	}
	big = image_of(seg);
	delta = bh_delta_between(image, big);
	assert_int_equal(hostd_dp_apply(dp, delta, &report, &diag), HOSTD_DP_FULL);
	assert_int_equal(report.need[HOSTD_DP_NICS], 5);
	bh_delta_free(delta);
	bh_image_free(big);

	assert_true(bh_hash_equal(&before, hostd_dp_hash(dp)));
	assert_int_equal(gen, hostd_dp_gen(dp));
	assert_int_equal(verify_whole(dp), 0);
	bh_image_free(image);
	must_destroy(dp);
}

static void contradictions_change_nothing(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new(), *bad;
	struct bh_segment *seg = bh_segment_new("bad");
	struct bh_delta *delta;
	struct bh_diag diag = {};
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, false);
	add_cidr(seg, BH_SET(300, 0), "10.0.0.0/8", 1);
	bad = image_of(seg);
	delta = bh_delta_between(image, bad);
	assert_int_equal(hostd_dp_apply(dp, delta, NULL, &diag), HOSTD_DP_INVALID);
	bh_delta_free(delta);
	bh_image_free(bad);
	seg = bh_segment_new("bad");
	add_nic(seg, 0, 300, BH_NIC_OPEN);
	bad = image_of(seg);
	delta = bh_delta_between(image, bad);
	assert_int_equal(hostd_dp_apply(dp, delta, NULL, &diag), HOSTD_DP_INVALID);
	bh_delta_free(delta);
	bh_image_free(bad);
	assert_int_equal(verify_whole(dp), 0);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	bh_image_free(image);
	must_destroy(dp);
}

/* Runs fn in a process that ends without closing anything, as kill -9 would end it. */
static void in_dying_process(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void die_after_flip(void)
{
	struct hostd_dp_options options;
	struct bh_image *a = bh_image_new();
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, true);
	bh_image_free(a);
	a = sample(0);
	a = must_apply(dp, a, sample(1));
	bh_image_free(a);
	_exit(hostd_dp_pending(dp) ? 0 : 1);
}

static int pinned(const char *map)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", world.pin_dir, map);
	return bpf_obj_get(path);
}

static void recovers_after_flip(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	hostd_dp_close(dp);
	in_dying_process(die_after_flip);
	assert_int_equal(hostd_dp_open(&options, &dp, &info, NULL), 0);
	assert_true(info.recovered);
	bh_image_free(image);
	image = sample(1);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	image = must_apply(dp, image, sample(2));
	assert_int_equal(verify_whole(dp), 0);
	bh_image_free(image);
	must_destroy(dp);
}

/* What a commit has written when it dies before the flip: other slots, new keys, lists nobody
 * names. */
static void half_a_commit(void)
{
	BH_CLOSE int ctl_fd = pinned("bh_ctl"), rows = pinned("bh_rows"),
		     cidrs = pinned("bh_cidrs");
	struct bh_row_key key = {.set = BH_SET(300, BH_DIR_INGRESS), .remote = 77, .port = 1};
	struct bh_cidr_key cidr = {.prefixlen = 64, .scope = 4242};
	struct bh_row row = {};
	struct bh_ctl ctl;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(ctl_fd, &zero, &ctl), 0);
	row.slot[(ctl.gen + 1) & 1] = (struct bh_row_slot){.rule = 9, .rank = 9, .action = 1};
	assert_int_equal(bpf_map_update_elem(rows, &key, &row, 0), 0);
	assert_int_equal(bpf_map_update_elem(cidrs, &cidr, &zero, 0), 0);
	/* ... and the other slot of one that lives. */
	assert_int_equal(bpf_map_get_next_key(rows, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(rows, &key, &row), 0);
	if (key.remote == 77) {
		assert_int_equal(bpf_map_get_next_key(rows, &key, &key), 0);
		assert_int_equal(bpf_map_lookup_elem(rows, &key, &row), 0);
	}
	row.slot[(ctl.gen + 1) & 1].action = 2;
	assert_int_equal(bpf_map_update_elem(rows, &key, &row, BPF_F_LOCK), 0);
}

static void recovers_before_flip(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp_open_info info;
	struct hostd_dp_usage before[HOSTD_DP_TABLE_COUNT], after[HOSTD_DP_TABLE_COUNT];
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	hostd_dp_usage(dp, before);
	hostd_dp_close(dp);
	half_a_commit();
	assert_int_equal(hostd_dp_open(&options, &dp, &info, NULL), 0);
	assert_true(info.recovered);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	hostd_dp_usage(dp, after);
	assert_memory_equal(before, after, sizeof(before));
	bh_image_free(image);
	must_destroy(dp);
}

struct drifts {
	int kinds[HOSTD_DP_DRIFT_CTL + 1];
};

static void count_drift(const struct hostd_dp_drift *drift, void *arg)
{
	struct drifts *d = arg;

	d->kinds[drift->kind]++;
}

static void drift_is_found_and_repaired(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct bh_row_key key, extra = {.set = 1, .remote = 2};
	struct bh_row row = {
		.slot = {{.rule = 1, .rank = 1, .action = 1}, {.rule = 1, .rank = 1, .action = 1}}};
	struct hostd_dp_report report;
	struct drifts drifts = {};
	struct hostd_dp *dp;
	int rows, addrs;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(verify_whole(dp), 0);
	rows = pinned("bh_rows");
	addrs = pinned("bh_addrs");
	assert_int_equal(bpf_map_get_next_key(rows, NULL, &key), 0);
	assert_int_equal(bpf_map_delete_elem(rows, &key), 0);
	assert_int_equal(bpf_map_update_elem(rows, &extra, &row, 0), 0);
	assert_int_equal(verify_whole(dp), 2);
	assert_int_equal(hostd_dp_compare(dp, image, count_drift, &drifts, NULL), 2);
	assert_int_equal(drifts.kinds[HOSTD_DP_DRIFT_MISSING], 1);
	assert_int_equal(drifts.kinds[HOSTD_DP_DRIFT_EXTRA], 1);
	assert_int_equal(hostd_dp_sync(dp, image, &report, NULL), 0);
	assert_int_equal(report.changed, 2);
	assert_true(bh_hash_equal(&report.hash, bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	/* A commit after foreign writes still ends where it should, by way of sync. */
	assert_int_equal(bpf_map_update_elem(rows, &extra, &row, 0), 0);
	bh_image_free(image);
	image = sample(2);
	assert_int_equal(hostd_dp_sync(dp, image, &report, NULL), 0);
	assert_true(bh_hash_equal(&report.hash, bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	close(rows);
	close(addrs);
	bh_image_free(image);
	must_destroy(dp);
}

/* ---- in steps ---- */

/* A delta of sample(0) that is begun in a dataplane that holds nothing. */
static struct hostd_dp *begin_sample(struct bh_image *image)
{
	struct hostd_dp_options options;
	struct bh_image *empty = bh_image_new();
	struct bh_delta *delta = bh_delta_between(empty, image);
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, false);
	assert_false(hostd_dp_working(dp));
	assert_int_equal(hostd_dp_apply_step(dp, 1, NULL, NULL), -ENOENT);
	assert_int_equal(hostd_dp_apply_begin(dp, delta, NULL), 0);
	assert_int_equal(hostd_dp_apply_begin(dp, delta, NULL), -EBUSY);
	assert_true(hostd_dp_working(dp));
	bh_delta_free(delta); /* begin has copied it */
	bh_image_free(empty);
	return dp;
}

static void must_hold_nothing(struct hostd_dp *dp, uint32_t gen)
{
	struct bh_hash zero = {};

	assert_true(bh_hash_equal(hostd_dp_hash(dp), &zero));
	assert_int_equal(hostd_dp_gen(dp), gen);
}

static void installs_in_steps(void **state)
{
	struct bh_image *image = sample(0);
	struct hostd_dp *dp = begin_sample(image);
	struct hostd_dp_nic_key key = world_key(0);
	struct hostd_dp_nic_status status;
	struct hostd_dp_report report;
	uint32_t gen = hostd_dp_gen(dp);
	int steps = 0, r;

	while ((r = hostd_dp_apply_step(dp, 50, &report, NULL)) == HOSTD_DP_MORE) {
		steps++;
		must_hold_nothing(dp, gen);
		/* Who only looks is answered, settling has nothing to do, verify waits. */
		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_false(status.fed);
		assert_int_equal(hostd_dp_settle(dp, NULL), 0);
		assert_int_equal(hostd_dp_reap(dp, NULL), 0);
		assert_int_equal(hostd_dp_verify(dp, 1000000, NULL), 1);
		assert_true(hostd_dp_working(dp));
	}
	assert_int_equal(r, 0);
	assert_true(steps > 10);
	assert_int_equal(report.gen, gen + 1);
	assert_true(bh_hash_equal(&report.hash, bh_image_hash(image)));
	assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
	assert_true(status.fed);
	assert_int_equal(verify_whole(dp), 0);
	bh_image_free(image);
	must_destroy(dp);
}

/* Whoever changes something in the middle has the commit done first; its result is not lost. */
static void a_change_lets_the_steps_finish(void **state)
{
	struct bh_image *image = sample(0), *next = sample(1);
	struct bh_delta *delta = bh_delta_between(image, next);
	struct hostd_dp *dp = begin_sample(image);
	struct hostd_dp_nic_key key = world_key(5);
	struct hostd_dp_report first, second;

	assert_int_equal(hostd_dp_apply_step(dp, 50, NULL, NULL), HOSTD_DP_MORE);
	assert_int_equal(hostd_dp_set_open(dp, &key, true, NULL), 0);
	assert_false(hostd_dp_working(dp));
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	/* A newer delta too. */
	assert_int_equal(hostd_dp_apply(dp, delta, &second, NULL), 0);
	assert_int_equal(hostd_dp_apply_step(dp, 50, &first, NULL), 0);
	assert_true(bh_hash_equal(&first.hash, bh_image_hash(image)));
	assert_true(bh_hash_equal(&second.hash, bh_image_hash(next)));
	assert_int_equal(verify_whole(dp), 0);
	assert_int_equal(hostd_dp_apply_step(dp, 50, &first, NULL), -ENOENT);
	bh_delta_free(delta);
	bh_image_free(image);
	bh_image_free(next);
	must_destroy(dp);
}

static void a_stop_takes_the_steps_back(void **state)
{
	for (int steps = 0; steps < 60; steps += 7) { /* planning, writing, reading back */
		struct bh_image *image = sample(0);
		struct hostd_dp *dp = begin_sample(image);
		struct hostd_dp_options options;
		uint32_t gen = hostd_dp_gen(dp);

		for (int i = 0; i < steps && hostd_dp_working(dp); i++) {
			assert_true(hostd_dp_apply_step(dp, 25, NULL, NULL) == HOSTD_DP_MORE);
		}
		assert_true(hostd_dp_working(dp));
		world_options(&world, &options);
		hostd_dp_close(dp);
		dp = must_open(&options, true);
		must_hold_nothing(dp, gen);
		assert_int_equal(verify_whole(dp), 0);
		bh_image_free(image);
		must_destroy(dp);
	}
}

static void host_address_hides_a_record(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	uint8_t addrs[2][16];
	struct hostd_dp *dp;

	world_options(&world, &options);
	dp = must_open(&options, false);
	world_addr(0, addrs[0]);
	world_addr(WORLD_HOST, addrs[1]);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_set_host_addrs(dp, WORLD_NET, addrs, 2, NULL), 0);
	assert_int_equal(verify_whole(dp), 0);
	image = must_apply(dp, image, sample(1));
	assert_int_equal(verify_whole(dp), 0);
	assert_int_equal(hostd_dp_set_host_addrs(dp, WORLD_NET, addrs + 1, 1, NULL), 0);
	assert_int_equal(verify_whole(dp), 0);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	/* The next process finds the host's address as the host's. */
	hostd_dp_close(dp);
	dp = must_open(&options, true);
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	assert_int_equal(hostd_dp_set_host_addrs(dp, WORLD_NET, addrs, 0, NULL), 0);
	assert_int_equal(verify_whole(dp), 0);
	bh_image_free(image);
	must_destroy(dp);
}

/* Whose address it is that the kernel learned: the same, and the hash is that of the image. */
static void learned_identities_are_local(void **state)
{
	struct bh_addr_key key = {.net = 7, .addr = {0xfd, 1}};
	struct bh_addr value = {
		.slot = {{300, 9}, {300, 9}}, .flags = BH_ADDR_LEARNED, .expires_ns = 1};
	struct bh_rec rec = {.type = BH_REC_ADDR, .addr = {.net = 7, .identity = 300, .tenant = 9}};
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp *dp;
	int fd;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	fd = pinned("bh_addrs");
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, 0), 0);
	assert_int_equal(verify_whole(dp), 0);
	memcpy(rec.addr.addr, key.addr, 16);
	image = must_apply(dp, image, sample_and(&rec));
	assert_true(bh_hash_equal(hostd_dp_hash(dp), bh_image_hash(image)));
	assert_int_equal(verify_whole(dp), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	assert_int_equal(value.flags, 0);
	assert_int_equal(value.expires_ns, 0);
	assert_int_equal(value.slot[1].identity, 300);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), -ENOENT);
	close(fd);
	bh_image_free(image);
	must_destroy(dp);
}

/* What the kernel learned stays outside the hash, and becomes configured without a gap when a
 * record says so. */
static void learned_addresses_are_local(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_key nic = world_key(1);
	struct bh_nic_addr_key key = {};
	struct bh_nic_addr value = {.present = {1, 1}, .flags = BH_ADDR_LEARNED, .expires_ns = 1};
	struct hostd_dp_nic_status status;
	struct bh_rec rec = {.type = BH_REC_NIC_ADDR};
	struct hostd_dp *dp;
	int fd;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_nic_status(dp, &nic, &status, NULL), 0);
	assert_true(status.fed);
	assert_false(status.attached);
	fd = pinned("bh_nic_addrs");
	key.nic = status.index;
	world_addr(5, key.addr);
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, 0), 0);
	assert_int_equal(verify_whole(dp), 0);

	memcpy(rec.nic_addr.vm, nic.vm, 16);
	memcpy(rec.nic_addr.mac, nic.mac, 6);
	memcpy(rec.nic_addr.addr, key.addr, 16);
	image = must_apply(dp, image, sample_and(&rec));
	assert_int_equal(verify_whole(dp), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	assert_int_equal(value.flags, 0);
	assert_int_equal(value.expires_ns, 0);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), -ENOENT);
	close(fd);
	bh_image_free(image);
	must_destroy(dp);
}

/* The VM's NICs come and go; an index that is free again carries nothing of its last owner. */
static void nic_indexes_are_freed_clean(void **state)
{
	struct hostd_dp_options options;
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_status status;
	struct hostd_dp_nic_key nic = world_key(1), found;
	struct bh_nic_addr_key key = {}, next;
	struct bh_nic_addr value = {.present = {1, 1}, .flags = BH_ADDR_LEARNED};
	struct hostd_dp *dp;
	int fd;

	world_options(&world, &options);
	dp = must_open(&options, false);
	image = must_apply(dp, image, sample(0));
	assert_int_equal(hostd_dp_nic_status(dp, &nic, &status, NULL), 0);
	assert_true(hostd_dp_nic_of_index(dp, status.index, &found));
	assert_memory_equal(&found, &nic, sizeof(nic));
	fd = pinned("bh_nic_addrs");
	key.nic = status.index;
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, 0), 0);
	image = must_apply(dp, image, bh_image_new());
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	assert_false(hostd_dp_nic_of_index(dp, status.index, &found));
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &next), -ENOENT);
	close(fd);
	bh_image_free(image);
	must_destroy(dp);
}

static void pinned_sizes_win(void **state)
{
	struct hostd_dp_options options;
	struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;

	world_options(&world, &options);
	options.size[HOSTD_DP_ROWS] = 5000;
	dp = must_open(&options, false);
	hostd_dp_close(dp);
	options.size[HOSTD_DP_ROWS] = 9000;
	assert_int_equal(hostd_dp_open(&options, &dp, &info, NULL), 0);
	assert_non_null(strstr(info.notice, "rows keeps its size 5000 (configured: 9000)"));
	hostd_dp_usage(dp, usage);
	assert_int_equal(usage[HOSTD_DP_ROWS].size, 5000);
	must_destroy(dp);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_back_what_was_installed),
		cmocka_unit_test(applies_twice_is_nothing),
		cmocka_unit_test(only_one_may_hold_it),
		cmocka_unit_test(too_much_changes_nothing),
		cmocka_unit_test(contradictions_change_nothing),
		cmocka_unit_test(recovers_after_flip),
		cmocka_unit_test(recovers_before_flip),
		cmocka_unit_test(drift_is_found_and_repaired),
		cmocka_unit_test(installs_in_steps),
		cmocka_unit_test(a_change_lets_the_steps_finish),
		cmocka_unit_test(a_stop_takes_the_steps_back),
		cmocka_unit_test(host_address_hides_a_record),
		cmocka_unit_test(learned_addresses_are_local),
		cmocka_unit_test(learned_identities_are_local),
		cmocka_unit_test(nic_indexes_are_freed_clean),
		cmocka_unit_test(pinned_sizes_win),
	};

	return world_run(&world, 0, false, tests);
}
