/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on devices. With tcx (kernel 6.6) a pinned link holds each program: it lives as long as
 * the pin or the device, and its program is swapped in one step. Before, clsact filters at a fixed
 * place do the same. libbpf 1.1 knows neither tcx nor its numbers, so links are made by the bare
 * system call.
 */
#include "host/dataplane/internal.h"

#include "host/net/rtnl.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <sys/syscall.h>

#define TCX_INGRESS	46 /* BPF_TCX_INGRESS and _EGRESS of linux/bpf.h since 6.6 */
#define TCX_EGRESS	47
#define LINK_TYPE_TCX	11
#define ATTACH_BEFORE	(1u << 3) /* BPF_F_BEFORE: in front of programs of others */
#define FILTER_HANDLE	0xb
#define FILTER_PRIORITY 1

static const char *const side_names[DP_SIDE_COUNT] = {"in", "out"};
static const enum bpf_tc_attach_point tc_points[DP_SIDE_COUNT] = {BPF_TC_INGRESS, BPF_TC_EGRESS};

static enum dp_prog prog_of(enum bh_port_kind kind, enum dp_side side)
{
	static const enum dp_prog progs[][DP_SIDE_COUNT] = {
		[BH_PORT_NIC] = {DP_PROG_FROM_GUEST, DP_PROG_TO_GUEST},
		[BH_PORT_UPLINK] = {DP_PROG_FROM_UPLINK, DP_PROG_TO_UPLINK},
		[BH_PORT_BRIDGE] = {DP_PROG_FROM_BRIDGE, DP_PROG_TO_BRIDGE},
	};

	return progs[kind][side];
}

static int link_create(int prog_fd, uint32_t ifindex, enum dp_side side)
{
	union bpf_attr attr = {};
	long fd;

	attr.link_create.prog_fd = (uint32_t)prog_fd;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = side == DP_SIDE_IN ? TCX_INGRESS : TCX_EGRESS;
	attr.link_create.flags = ATTACH_BEFORE;
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : (int)fd;
}

bool dp_attach_probe_tcx(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	BH_CLOSE int prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bh_probe", "Dual BSD/GPL",
					     insns, BH_ARRAY_SIZE(insns), NULL);
	BH_CLOSE int link_fd = -1;

	if (prog_fd < 0) {
		return false;
	}
	/* No device has this number: kernels that know the type look for it and say so. */
	link_fd = link_create(prog_fd, INT32_MAX, DP_SIDE_IN);
	return link_fd == -ENODEV;
}

static void link_path(const struct hostd_dp *dp, uint32_t ifindex, enum dp_side side,
		      char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/links/%u-%s", PATH_MAX - 32, dp->pin_dir, ifindex,
		 side_names[side]);
}

/* The pinned link when it stands on that very device, else -ENOENT (a device that is gone takes its
 * link along, and its number may be another's now). */
static int link_open(const struct hostd_dp *dp, uint32_t ifindex, enum dp_side side,
		     uint32_t *ret_prog_id)
{
	char path[PATH_MAX];
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);
	int fd, r;

	link_path(dp, ifindex, side, path);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		return fd;
	}
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	/* struct bpf_link_info.tcx begins with ifindex as .xdp does. */
	if (r || info.type != LINK_TYPE_TCX || info.xdp.ifindex != ifindex) {
		close(fd);
		return r ? r : -ENOENT;
	}
	*ret_prog_id = info.prog_id;
	return fd;
}

static int attach_tcx(struct hostd_dp *dp, uint32_t ifindex, enum dp_side side, enum dp_prog prog)
{
	char path[PATH_MAX];
	uint32_t prog_id;
	BH_CLOSE int fd = link_open(dp, ifindex, side, &prog_id);
	int r;

	if (fd >= 0) {
		return prog_id == dp->prog_id[prog] ? 0
						    : bpf_link_update(fd, dp->prog_fd[prog], NULL);
	}
	link_path(dp, ifindex, side, path);
	unlink(path);
	fd = link_create(dp->prog_fd[prog], ifindex, side);
	if (fd < 0) {
		return fd;
	}
	r = bpf_obj_pin(fd, path);
	return r;
}

/* Not returned by value: libbpf refuses padding that is not zero. */
#define TC_HOOK(name, ifindex_, side)                                                              \
	LIBBPF_OPTS(bpf_tc_hook, name, .ifindex = (int)(ifindex_), .attach_point = tc_points[side])

/* 1 when a program of ours (of any version) stands at our place; 0; < 0. */
static int tc_find(uint32_t ifindex, enum dp_side side, uint32_t *ret_prog_id)
{
	TC_HOOK(hook, ifindex, side);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);
	BH_CLOSE int fd = -1;
	int r = bpf_tc_query(&hook, &opts);

	if (r) {
		return r == -ENOENT || r == -EINVAL || r == -ENODEV ? 0 : r;
	}
	fd = bpf_prog_get_fd_by_id(opts.prog_id);
	if (fd < 0) {
		return fd;
	}
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	*ret_prog_id = opts.prog_id;
	return r ? r : !strncmp(info.name, "bh_", 3);
}

static int tc_remove(uint32_t ifindex, enum dp_side side)
{
	TC_HOOK(hook, ifindex, side);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	uint32_t prog_id;
	int r = tc_find(ifindex, side, &prog_id);

	return r > 0 ? bpf_tc_detach(&hook, &opts) : r;
}

/* The qdisc goes when it was made by us and nobody has put anything into it since. */
static void tc_let_go(const char *pin_dir, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (dp_mark_take(pin_dir, ifindex, DP_MARK_CLSACT) && hostd_rtnl_filters(ifindex) == 0) {
		(void)!bpf_tc_hook_destroy(&hook);
	}
}

static int attach_tc(struct hostd_dp *dp, uint32_t ifindex, enum dp_side side, enum dp_prog prog)
{
	TC_HOOK(hook, ifindex, side);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = dp->prog_fd[prog], .flags = BPF_TC_F_REPLACE);
	uint32_t prog_id = 0;
	int r = tc_find(ifindex, side, &prog_id);

	if (r > 0 && prog_id == dp->prog_id[prog]) {
		return 0;
	}
	r = bpf_tc_hook_create(&hook);
	if (!r) {
		r = dp_mark_set(dp->pin_dir, ifindex, DP_MARK_CLSACT);
	}
	return r && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

/* What the other way of attaching left, e.g. after the option changed. The new one stands already.
 */
static void remove_other_way(struct hostd_dp *dp, uint32_t ifindex, enum dp_side side)
{
	char path[PATH_MAX];

	if (dp->tcx) {
		(void)!tc_remove(ifindex, side);
	} else {
		link_path(dp, ifindex, side, path);
		unlink(path);
	}
}

int dp_attach(struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind, struct bh_diag *diag)
{
	/* What came before us nobody has judged, and QEMU would still find it when the VM runs. */
	bool empty = kind == BH_PORT_NIC && !dp_attached_any(dp, ifindex);
	char name[IF_NAMESIZE] = "?";
	int r;

	/* Egress first: from the moment that ingress lets something in, everything else is in
	 * place. */
	for (int side = DP_SIDE_OUT; side >= DP_SIDE_IN; side--) {
		enum dp_prog prog = prog_of(kind, (enum dp_side)side);

		r = dp->tcx ? attach_tcx(dp, ifindex, (enum dp_side)side, prog)
			    : attach_tc(dp, ifindex, (enum dp_side)side, prog);

		if (r) {
			if_indextoname(ifindex, name);
			return bh_diag_set(diag, r, "cannot attach %s to device %u (%s): %s",
					   dp_prog_names[prog], ifindex, name, strerror(-r));
		}
		remove_other_way(dp, ifindex, (enum dp_side)side);
	}
	if (dp->tcx) {
		tc_let_go(dp->pin_dir, ifindex);
	}
	r = empty ? hostd_rtnl_empty_tap(ifindex) : 0;
	return r ? bh_diag_set(diag, r, "cannot empty the queue of device %u: %s", ifindex,
			       strerror(-r))
		 : 0;
}

/* A link whose pin goes is detached some time later by a worker; so say it first. */
static int detach_side(struct hostd_dp *dp, uint32_t ifindex, enum dp_side side)
{
	char path[PATH_MAX];
	uint32_t prog_id;
	BH_CLOSE int fd = link_open(dp, ifindex, side, &prog_id);
	int r;

	if (fd >= 0) {
		r = bpf_link_detach(fd);
		if (r) {
			return r;
		}
	}
	link_path(dp, ifindex, side, path);
	if (unlink(path) && errno != ENOENT) {
		return -errno;
	}
	r = tc_remove(ifindex, side);
	return r == -ENODEV || r == -ENOENT ? 0 : r;
}

int dp_detach(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag)
{
	/* Who sends first, who checks the sender's mark last: nothing gets through meanwhile. */
	for (int side = DP_SIDE_IN; side < DP_SIDE_COUNT; side++) {
		int r = detach_side(dp, ifindex, (enum dp_side)side);

		if (r) {
			return bh_diag_set(diag, r, "cannot detach from device %u: %s", ifindex,
					   strerror(-r));
		}
	}
	tc_let_go(dp->pin_dir, ifindex);
	return 0;
}

int dp_attached(const struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind)
{
	for (int side = DP_SIDE_IN; side < DP_SIDE_COUNT; side++) {
		uint32_t prog_id = 0;
		int r;

		if (dp->tcx) {
			BH_CLOSE int fd = link_open(dp, ifindex, (enum dp_side)side, &prog_id);

			r = fd >= 0 ? 1 : fd == -ENOENT ? 0 : fd;
		} else {
			r = tc_find(ifindex, (enum dp_side)side, &prog_id);
		}
		if (r <= 0 || prog_id != dp->prog_id[prog_of(kind, (enum dp_side)side)]) {
			return r < 0 ? r : 0;
		}
	}
	return 1;
}

bool dp_attached_any(const struct hostd_dp *dp, uint32_t ifindex)
{
	uint32_t prog_id;
	BH_CLOSE int fd = link_open(dp, ifindex, DP_SIDE_IN, &prog_id);

	return fd >= 0 || tc_find(ifindex, DP_SIDE_IN, &prog_id) > 0;
}

/* "<ifindex>-<side>", as opposed to marks. */
static bool link_name(const char *name, uint32_t *ret_ifindex, enum dp_side *ret_side)
{
	char *end;
	unsigned long ifindex = strtoul(name, &end, 10);

	*ret_ifindex = (uint32_t)ifindex;
	*ret_side = strcmp(end, "-out") ? DP_SIDE_IN : DP_SIDE_OUT;
	return ifindex && ifindex <= INT32_MAX && (!strcmp(end, "-out") || !strcmp(end, "-in"));
}

void dp_attach_sweep(struct hostd_dp *dp)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%.*s/links", PATH_MAX - 32, dp->pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		uint32_t prog_id, key;
		struct dp_port *port;
		enum dp_side side;
		BH_CLOSE int fd = -1;

		if (!link_name(e->d_name, &key, &side)) {
			continue;
		}
		HASH_FIND(hh, dp->ports, &key, sizeof(key), port);
		fd = link_open(dp, key, side, &prog_id);
		/* A bind that was cut short: nothing stands in bh_ports, so its programs drop
		 * everything. */
		if (!port || fd < 0) {
			link_path(dp, key, side, path);
			unlink(path);
		}
	}
	if (dir) {
		closedir(dir);
	}
}

/* ---- taking out, whatever it is ---- */

/* Does the program at our place use one of these maps? Its layout doesn't matter. */
static bool uses_map(uint32_t prog_id, const uint32_t *map_ids, size_t count)
{
	uint32_t used[64];
	struct bpf_prog_info info = {.nr_map_ids = BH_ARRAY_SIZE(used),
				     .map_ids = (uint64_t)(uintptr_t)used};
	uint32_t size = sizeof(info);
	BH_CLOSE int fd = bpf_prog_get_fd_by_id(prog_id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size)) {
		return false;
	}
	for (size_t i = 0; i < info.nr_map_ids && i < BH_ARRAY_SIZE(used); i++) {
		for (size_t j = 0; j < count; j++) {
			if (used[i] == map_ids[j]) {
				return true;
			}
		}
	}
	return false;
}

static int purge_links(const char *pin_dir, enum dp_side side)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;
	int r = 0;

	snprintf(path, sizeof(path), "%.*s/links", PATH_MAX - 32, pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		enum dp_side is;
		uint32_t ifindex;
		BH_CLOSE int fd = -1;

		if (!link_name(e->d_name, &ifindex, &is) || is != side) {
			continue;
		}
		snprintf(path, sizeof(path), "%.*s/links/%u-%s", PATH_MAX - 32, pin_dir, ifindex,
			 side_names[side]);
		fd = bpf_obj_get(path);
		/* What can't be detached at once is detached when its last pin goes. */
		if (fd >= 0) {
			(void)!bpf_link_detach(fd);
		}
		r = unlink(path) && !r ? -errno : r;
	}
	if (dir) {
		closedir(dir);
	}
	return r;
}

static int purge_tc(enum dp_side side, const uint32_t *map_ids, size_t count)
{
	struct if_nameindex *all = if_nameindex();
	int r = all ? 0 : -errno;

	for (struct if_nameindex *i = all; i && i->if_index; i++) {
		uint32_t prog_id = 0;

		if (tc_find(i->if_index, side, &prog_id) > 0 && uses_map(prog_id, map_ids, count)) {
			int e = tc_remove(i->if_index, side);

			r = e && e != -ENODEV && e != -ENOENT && !r ? e : r;
		}
	}
	if_freenameindex(all);
	return r;
}

static void purge_marks(const char *pin_dir)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%.*s/links", PATH_MAX - 32, pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		unsigned long ifindex = strtoul(e->d_name, NULL, 10);

		if (ifindex && ifindex <= INT32_MAX) {
			tc_let_go(pin_dir, (uint32_t)ifindex);
			dp_learning_restore(pin_dir, (uint32_t)ifindex);
		}
	}
	if (dir) {
		closedir(dir);
	}
}

int dp_attach_purge(const char *pin_dir, const uint32_t *map_ids, size_t count,
		    struct bh_diag *diag)
{
	int r = 0;

	/* The other way round than dp_detach: who checks goes first, or what is allowed would be
	 * dropped meanwhile. */
	for (int side = DP_SIDE_OUT; side >= DP_SIDE_IN; side--) {
		int e = purge_links(pin_dir, (enum dp_side)side);

		r = r ? r : e;
		e = count ? purge_tc((enum dp_side)side, map_ids, count) : 0;
		r = r ? r : e;
	}
	purge_marks(pin_dir);
	return r ? bh_diag_set(diag, r, "cannot detach all programs under %s: %s", pin_dir,
			       strerror(-r))
		 : 0;
}
