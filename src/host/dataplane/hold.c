/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of protected bridges that nobody feeds yet, and what we changed on devices.
 *
 * What such a port sends is dropped at every other port, but the bridge would still learn MAC
 * addresses behind it, and a guest that is being plugged in could draw the frames of another one to
 * itself. So learning is off there until programs that know the NIC stand on the device: these drop
 * what is not fed before the bridge sees it. A mark remembers that learning was on.
 */
#include "host/dataplane/internal.h"

#include "host/net/rtnl.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

/* ---- marks ---- */

static const char *const mark_names[DP_MARK_COUNT] = {"clsact", "learning"};

/* A file system of BPF holds no files, so an empty folder remembers. */
static void mark_path(const char *pin_dir, uint32_t ifindex, enum dp_mark mark,
		      char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/links/%u-%s", PATH_MAX - 32, pin_dir, ifindex,
		 mark_names[mark]);
}

int dp_mark_set(const char *pin_dir, uint32_t ifindex, enum dp_mark mark)
{
	char path[PATH_MAX];

	mark_path(pin_dir, ifindex, mark, path);
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

bool dp_mark_take(const char *pin_dir, uint32_t ifindex, enum dp_mark mark)
{
	char path[PATH_MAX];

	mark_path(pin_dir, ifindex, mark, path);
	return !rmdir(path);
}

/* ---- learning ---- */

void dp_learning_restore(const char *pin_dir, uint32_t ifindex)
{
	if (dp_mark_take(pin_dir, ifindex, DP_MARK_LEARNING)) {
		/* Fails on what is no port any more, and then there is nothing to restore. */
		(void)!hostd_rtnl_set_learning(ifindex, true);
	}
}

static int learning_off(struct hostd_dp *dp, uint32_t ifindex)
{
	int r = hostd_rtnl_learning(ifindex);

	if (r <= 0) { /* off already, by whoever: not ours to turn on */
		return r;
	}
	r = dp_mark_set(dp->pin_dir, ifindex, DP_MARK_LEARNING);
	return r ? r : hostd_rtnl_set_learning(ifindex, false);
}

/* ---- holding ---- */

static struct dp_held *held_find(const struct hostd_dp *dp, uint32_t ifindex)
{
	struct dp_held *held;

	HASH_FIND(hh, dp->held, &ifindex, sizeof(ifindex), held);
	return held;
}

static void held_add(struct hostd_dp *dp, uint32_t ifindex)
{
	struct dp_held *held = held_find(dp, ifindex);

	if (!held) {
		held = bh_alloc(sizeof(*held));
		held->ifindex = ifindex;
		HASH_ADD(hh, dp->held, ifindex, sizeof(held->ifindex), held);
	}
}

void dp_held_forget(struct hostd_dp *dp, uint32_t ifindex)
{
	struct dp_held *held = held_find(dp, ifindex);

	if (held) {
		HASH_DEL(dp->held, held);
		free(held);
	}
	dp_learning_restore(dp->pin_dir, ifindex);
}

void dp_held_scan(struct hostd_dp *dp)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%.*s/links", PATH_MAX - 32, dp->pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		char *end;
		unsigned long ifindex = strtoul(e->d_name, &end, 10);

		if (ifindex && ifindex <= INT32_MAX && *end == '-' &&
		    !strcmp(end + 1, mark_names[DP_MARK_LEARNING])) {
			held_add(dp, (uint32_t)ifindex);
		}
	}
	if (dir) {
		closedir(dir);
	}
}

void dp_held_done(struct hostd_dp *dp)
{
	struct dp_held *held, *tmp;

	HASH_ITER (hh, dp->held, held, tmp) {
		HASH_DEL(dp->held, held);
		free(held);
	}
}

int hostd_dp_hold(struct hostd_dp *dp, uint32_t ifindex, bool programs, struct bh_diag *diag)
{
	int r;

	if (hostd_dp_port_get(dp, ifindex, NULL)) {
		return bh_diag_set(diag, -EBUSY, "device %u is bound", ifindex);
	}
	held_add(dp, ifindex);
	r = learning_off(dp, ifindex);
	if (r && r != -ENODEV) {
		return bh_diag_set(diag, r, "cannot keep the bridge from learning behind %u: %s",
				   ifindex, strerror(-r));
	}
	if (r) {
		dp_held_forget(dp, ifindex);
		return bh_diag_set(diag, r, "device %u is no port of a bridge", ifindex);
	}
	if (programs && dp_attached(dp, ifindex, BH_PORT_NIC) != 1) {
		/* Without an entry in bh_ports they drop everything. */
		r = dp_attach(dp, ifindex, BH_PORT_NIC, diag);
	}
	return r;
}

int hostd_dp_unhold(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag)
{
	if (!held_find(dp, ifindex)) {
		return 0;
	}
	dp_held_forget(dp, ifindex);
	return hostd_dp_port_get(dp, ifindex, NULL) ? 0 : dp_detach(dp, ifindex, diag);
}

void hostd_dp_each_held(const struct hostd_dp *dp, hostd_dp_held_fn *fn, void *arg)
{
	struct dp_held *held, *tmp;

	HASH_ITER (hh, dp->held, held, tmp) {
		fn(held->ifindex, arg);
	}
}
