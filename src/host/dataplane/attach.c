/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on devices. With tcx (kernel 6.6) a pinned link holds each program: it lives as long as
 * the pin or the device, and its program is swapped in one step. Before, clsact filters at a fixed
 * place do the same. libbpf 1.1 knows neither tcx nor its numbers, so links are made by the bare
 * system call.
 */
#include "host/dataplane/internal.h"

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

enum side { SIDE_IN, SIDE_OUT, SIDE_COUNT };

static const char *const side_names[SIDE_COUNT] = {"in", "out"};
static const enum bpf_tc_attach_point tc_points[SIDE_COUNT] = {BPF_TC_INGRESS, BPF_TC_EGRESS};

static enum dp_prog prog_of(enum bh_port_kind kind, enum side side)
{
	static const enum dp_prog progs[][SIDE_COUNT] = {
		[BH_PORT_NIC] = {DP_PROG_FROM_GUEST, DP_PROG_TO_GUEST},
		[BH_PORT_UPLINK] = {DP_PROG_FROM_UPLINK, DP_PROG_TO_UPLINK},
		[BH_PORT_BRIDGE] = {DP_PROG_FROM_BRIDGE, DP_PROG_TO_BRIDGE},
	};

	return progs[kind][side];
}

static int link_create(int prog_fd, uint32_t ifindex, enum side side)
{
	union bpf_attr attr = {};
	long fd;

	attr.link_create.prog_fd = (uint32_t)prog_fd;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = side == SIDE_IN ? TCX_INGRESS : TCX_EGRESS;
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
	link_fd = link_create(prog_fd, INT32_MAX, SIDE_IN);
	return link_fd == -ENODEV;
}

static void link_path(const struct hostd_dp *dp, uint32_t ifindex, enum side side,
		      char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/links/%u-%s", PATH_MAX - 32, dp->pin_dir, ifindex,
		 side_names[side]);
}

/* The pinned link when it stands on that very device, else -ENOENT (a device that is gone takes its
 * link along, and its number may be another's now). */
static int link_open(const struct hostd_dp *dp, uint32_t ifindex, enum side side,
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

static int attach_tcx(struct hostd_dp *dp, uint32_t ifindex, enum side side, enum dp_prog prog)
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
static int tc_find(uint32_t ifindex, enum side side, uint32_t *ret_prog_id)
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

static int tc_remove(uint32_t ifindex, enum side side)
{
	TC_HOOK(hook, ifindex, side);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	uint32_t prog_id;
	int r = tc_find(ifindex, side, &prog_id);

	return r > 0 ? bpf_tc_detach(&hook, &opts) : r;
}

static int attach_tc(struct hostd_dp *dp, uint32_t ifindex, enum side side, enum dp_prog prog)
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
	if (r && r != -EEXIST) {
		return r;
	}
	return bpf_tc_attach(&hook, &opts);
}

/* What the other way of attaching left, e.g. after the option changed. The new one stands already.
 */
static void remove_other_way(struct hostd_dp *dp, uint32_t ifindex, enum side side)
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
	char name[IF_NAMESIZE] = "?";

	/* Egress first: from the moment that ingress lets something in, everything else is in
	 * place. */
	for (int side = SIDE_OUT; side >= SIDE_IN; side--) {
		enum dp_prog prog = prog_of(kind, (enum side)side);
		int r = dp->tcx ? attach_tcx(dp, ifindex, (enum side)side, prog)
				: attach_tc(dp, ifindex, (enum side)side, prog);

		if (r) {
			if_indextoname(ifindex, name);
			return bh_diag_set(diag, r, "cannot attach %s to device %u (%s): %s",
					   dp_prog_names[prog], ifindex, name, strerror(-r));
		}
		remove_other_way(dp, ifindex, (enum side)side);
	}
	return 0;
}

/* A link whose pin goes is detached some time later by a worker; so say it first. */
static int detach_side(struct hostd_dp *dp, uint32_t ifindex, enum side side)
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
	for (int side = SIDE_IN; side < SIDE_COUNT; side++) {
		int r = detach_side(dp, ifindex, (enum side)side);

		if (r) {
			return bh_diag_set(diag, r, "cannot detach from device %u: %s", ifindex,
					   strerror(-r));
		}
	}
	return 0;
}

int dp_detach_all(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_port *port, *tmp;
	int r = 0;

	/* The other way round: who checks goes first, or what is allowed would be dropped
	 * meanwhile. */
	for (int side = SIDE_OUT; side >= SIDE_IN; side--) {
		HASH_ITER (hh, dp->ports, port, tmp) {
			int e = detach_side(dp, port->ifindex, (enum side)side);

			if (e && !r) {
				r = bh_diag_set(diag, e, "cannot detach from device %u: %s",
						port->ifindex, strerror(-e));
			}
		}
	}
	return r;
}

int dp_attached(const struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind)
{
	for (int side = SIDE_IN; side < SIDE_COUNT; side++) {
		uint32_t prog_id = 0;
		int r;

		if (dp->tcx) {
			BH_CLOSE int fd = link_open(dp, ifindex, (enum side)side, &prog_id);

			r = fd >= 0 ? 1 : fd == -ENOENT ? 0 : fd;
		} else {
			r = tc_find(ifindex, (enum side)side, &prog_id);
		}
		if (r <= 0 || prog_id != dp->prog_id[prog_of(kind, (enum side)side)]) {
			return r < 0 ? r : 0;
		}
	}
	return 1;
}

bool dp_attached_any(const struct hostd_dp *dp, uint32_t ifindex)
{
	uint32_t prog_id;
	BH_CLOSE int fd = link_open(dp, ifindex, SIDE_IN, &prog_id);

	return fd >= 0 || tc_find(ifindex, SIDE_IN, &prog_id) > 0;
}

void dp_attach_sweep(struct hostd_dp *dp)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%.*s/links", PATH_MAX - 32, dp->pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		unsigned long ifindex = strtoul(e->d_name, NULL, 10);
		uint32_t prog_id, key = (uint32_t)ifindex;
		struct dp_port *port;
		enum side side = strstr(e->d_name, "-out") ? SIDE_OUT : SIDE_IN;
		BH_CLOSE int fd = -1;

		if (!ifindex) {
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
