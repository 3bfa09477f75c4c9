/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes all of Bulkhead off a host without knowing the layout of what is there: links and maps are
 * found by their pins, filters by the maps that their programs use. So it works for what any
 * version left, and for what is half made.
 */
#include "host/dataplane/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>

/* Numbers of the maps that are pinned there. */
static uint32_t *map_ids(const char *pin_dir, size_t *ret_count)
{
	BH_VEC(uint32_t) ids = {};
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir = opendir(pin_dir);

	while (dir && (e = readdir(dir))) {
		struct bpf_map_info info = {};
		uint32_t size = sizeof(info);
		BH_CLOSE int fd = -1;

		if (e->d_type != DT_REG) {
			continue;
		}
		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - NAME_MAX - 2, pin_dir,
			 e->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size)) {
			*bh_vec_push(&ids) = info.id;
		}
	}
	if (dir) {
		closedir(dir);
	}
	*ret_count = ids.count;
	return ids.items;
}

int dp_purge_pins(const char *pin_dir, struct bh_diag *diag)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir = opendir(pin_dir);
	int r = 0;

	while (dir && (e = readdir(dir))) {
		if (e->d_type != DT_REG) {
			continue;
		}
		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - NAME_MAX - 2, pin_dir,
			 e->d_name);
		if (unlink(path) && !r) {
			r = bh_diag_set(diag, -errno, "cannot remove %s: %s", path,
					strerror(errno));
		}
	}
	if (dir) {
		closedir(dir);
	}
	return r;
}

int dp_purge(const char *pin_dir, struct bh_diag *diag)
{
	char links[PATH_MAX];
	size_t count;
	BH_FREE uint32_t *ids = map_ids(pin_dir, &count);
	int r = dp_attach_purge(pin_dir, ids, count, diag);

	/* What still stands must stay found by its maps. */
	r = r ? r : dp_purge_pins(pin_dir, diag);
	snprintf(links, sizeof(links), "%.*s/links", PATH_MAX - 32, pin_dir);
	rmdir(links);
	return r;
}

void dp_purge_dir(const char *pin_dir)
{
	if (rmdir(pin_dir) && errno == EBUSY &&
	    !umount(pin_dir)) { /* mounted by us for want of another */
		rmdir(pin_dir);
	}
}

int dp_lock(const char *pin_dir, int *ret_fd, struct bh_diag *diag)
{
	int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (fd < 0) {
		r = -errno;
		return bh_diag_set(diag, r, "cannot open %s: %s", pin_dir, strerror(-r));
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		r = errno == EWOULDBLOCK ? HOSTD_DP_BUSY : -errno;
		close(fd);
		return bh_diag_set(diag, r, "another process works on %s", pin_dir);
	}
	*ret_fd = fd;
	return 0;
}

static int remove_one(const char *pin_dir, struct bh_diag *diag)
{
	int fd, r = dp_lock(pin_dir, &fd, diag);

	if (r) {
		return r == -ENOENT ? 0 : r;
	}
	r = dp_purge(pin_dir, diag);
	close(fd);
	if (!r) {
		dp_purge_dir(pin_dir);
	}
	return r;
}

int hostd_dp_remove(const char *pin_dir, struct bh_diag *diag)
{
	char other[PATH_MAX];
	int r;

	libbpf_set_print(NULL); /* we return errors, it prints them */
	r = remove_one(pin_dir, diag);
	while (!r && dp_upgrade_find(pin_dir, other)) {
		r = remove_one(other, diag);
	}
	return r;
}
