/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes over from another version of Bulkhead, whose pins stand beside ours under its ABI number.
 *
 * Maps whose layout is the same are shared: the programs of both versions work on the same entries
 * until the last one is replaced. Where it differs, a new map gets a copy of every entry, member by
 * member by name; what is new is zero. Then the pins of links move over, and from there on it is an
 * ordinary adoption, which swaps each program in one step. Connections that opened between copy and
 * swap are copied afterwards. bh_ctl is pinned last: without it, whatever else stands there is half
 * made and made anew.
 */
#include "host/dataplane/internal.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>

struct dp_upgrade {
	char dir[PATH_MAX]; /* the other version's */
	int lock_fd;
	bool carry; /* maps are to be taken over; else only what a killed process left is moved */
	struct {
		int fd; /* of the map there, -1 none */
		struct btf *btf;
		struct bpf_map_info info;
		bool convert;
	} map[DP_MAP_COUNT];
};

/* N of v<N>, 0 for anything else. */
static unsigned long version_of(const char *name)
{
	char *end;
	unsigned long n = *name == 'v' ? strtoul(name + 1, &end, 10) : 0;

	return n && !*end ? n : 0;
}

bool dp_upgrade_find(const char *pin_dir, char ret_dir[PATH_MAX])
{
	const char *slash = strrchr(pin_dir, '/');
	unsigned long own = slash ? version_of(slash + 1) : 0, best = 0;
	char parent[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	if (!own) {
		return false;
	}
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - pin_dir), pin_dir);
	dir = opendir(parent);
	while (dir && (e = readdir(dir))) {
		unsigned long n = e->d_type == DT_DIR ? version_of(e->d_name) : 0;

		best = n != own && n > best ? n : best;
	}
	if (dir) {
		closedir(dir);
	}
	snprintf(ret_dir, PATH_MAX, "%.*s/v%lu", PATH_MAX - 32, parent, best);
	return best != 0;
}

static void pin_path(const char *dir, const char *name, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/%s", PATH_MAX - NAME_MAX - 2, dir, name);
}

int dp_upgrade_begin(struct hostd_dp *dp, struct bh_diag *diag)
{
	char path[PATH_MAX];
	struct dp_upgrade *up;
	int r;

	if (!dp_upgrade_find(dp->pin_dir, path)) {
		return 0;
	}
	up = dp->upgrade = bh_alloc(sizeof(*up));
	up->lock_fd = -1;
	memcpy(up->dir, path, sizeof(path));
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		up->map[m].fd = -1;
	}
	r = dp_lock(up->dir, &up->lock_fd, diag);
	if (r) {
		return r;
	}
	pin_path(dp->pin_dir, dp_map_descs[DP_MAP_CTL].name, path);
	if (access(path, F_OK)) {
		pin_path(up->dir, dp_map_descs[DP_MAP_CTL].name, path);
		up->carry = !access(path, F_OK);
		r = dp_purge_pins(dp->pin_dir, diag);
	}
	return r;
}

void dp_upgrade_done(struct hostd_dp *dp)
{
	struct dp_upgrade *up = dp->upgrade;

	if (!up) {
		return;
	}
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		btf__free(up->map[m].btf);
		if (up->map[m].fd >= 0) {
			close(up->map[m].fd);
		}
	}
	if (up->lock_fd >= 0) {
		close(up->lock_fd);
	}
	free(up);
	dp->upgrade = NULL;
}

bool dp_upgrade_carries(const struct hostd_dp *dp)
{
	return dp->upgrade && dp->upgrade->carry;
}

const char *dp_upgrade_dir(const struct hostd_dp *dp)
{
	return dp->upgrade ? dp->upgrade->dir : "";
}

/* ---- maps ---- */

static bool same_text(const struct btf *a, uint32_t a_id, const struct btf *b, uint32_t b_id)
{
	BH_FREE char *ta = dp_layout_text(a, a_id);
	BH_FREE char *tb = dp_layout_text(b, b_id);

	return !strcmp(ta, tb);
}

int dp_upgrade_map(struct hostd_dp *dp, enum dp_map m, struct bpf_map *map, uint32_t *want,
		   struct bh_diag *diag)
{
	struct dp_upgrade *up = dp->upgrade;
	struct bpf_map_info *have = &up->map[m].info;
	const struct btf *btf = bpf_object__btf(dp->obj);
	uint32_t size = sizeof(*have);
	char path[PATH_MAX];
	bool typed, same;

	pin_path(up->dir, dp_map_descs[m].name, path);
	/* records have no layout */
	up->map[m].fd = m == DP_MAP_EVENTS || m == DP_MAP_MOVES ? -1 : bpf_obj_get(path);
	if (up->map[m].fd < 0) {
		return 0;
	}
	if (bpf_obj_get_info_by_fd(up->map[m].fd, have, &size)) {
		return bh_diag_set(diag, -errno, "cannot ask for %s: %s", path, strerror(errno));
	}
	up->map[m].btf = have->btf_id ? btf__load_from_kernel_by_id(have->btf_id) : NULL;
	typed = up->map[m].btf && have->btf_value_type_id && bpf_map__btf_value_type_id(map);
	same = have->type == bpf_map__type(map) && have->key_size == bpf_map__key_size(map) &&
	       have->value_size == bpf_map__value_size(map) &&
	       have->map_flags == bpf_map__map_flags(map);
	if (same && typed) {
		same = same_text(up->map[m].btf, have->btf_key_type_id, btf,
				 bpf_map__btf_key_type_id(map)) &&
		       same_text(up->map[m].btf, have->btf_value_type_id, btf,
				 bpf_map__btf_value_type_id(map));
	}
	if (!same && !typed) {
		return bh_diag_set(diag, -EINVAL,
				   "%s looks otherwise and does not say how. The version that made "
				   "it still enforces: start it again, or take everything out with "
				   "`bulkhead-hostd --detach --yes` (VMs are open until the next "
				   "start)",
				   path);
	}
	up->map[m].convert = !same;
	if (!same) {
		*want = *want && have->max_entries > *want ? have->max_entries : *want;
		return 0;
	}
	*want = 0;
	return bpf_map__reuse_fd(map, up->map[m].fd);
}

/* Copies all entries, with BPF_NOEXIST only those that are missing. */
static int copy_entries(struct hostd_dp *dp, enum dp_map m, uint64_t flags)
{
	struct dp_upgrade *up = dp->upgrade;
	const struct bpf_map *map = bpf_object__find_map_by_name(dp->obj, dp_map_descs[m].name);
	const struct btf *to = bpf_object__btf(dp->obj), *from = up->map[m].btf;
	const struct bpf_map_info *have = &up->map[m].info;
	uint32_t new_size = dp_map_descs[m].value_size;
	unsigned int cpus = dp_map_per_cpu(m) ? (unsigned int)libbpf_num_possible_cpus() : 1;
	uint32_t old_step = cpus > 1 ? (have->value_size + 7) & ~7u : have->value_size;
	uint32_t new_step = cpus > 1 ? (new_size + 7) & ~7u : new_size;
	BH_FREE uint8_t *value = bh_alloc_array(cpus, new_step);
	uint8_t key[DP_KEY_MAX * 2];
	struct dp_iter it;
	int n, r = 0;

	dp_iter_init_fd(&it, up->map[m].fd, have->key_size, old_step * cpus);
	while (!r && (n = dp_iter_next(&it)) > 0) {
		for (int i = 0; !r && i < n; i++) {
			const uint8_t *old = dp_iter_value(&it, i);

			memset(key, 0, sizeof(key));
			memset(value, 0, (size_t)cpus * new_step);
			dp_layout_copy(from, have->btf_key_type_id, dp_iter_key(&it, i), to,
				       bpf_map__btf_key_type_id(map), key);
			for (unsigned int c = 0; c < cpus; c++) {
				dp_layout_copy(from, have->btf_value_type_id, old + c * old_step,
					       to, bpf_map__btf_value_type_id(map),
					       value + c * new_step);
			}
			if (m == DP_MAP_CT4 || m == DP_MAP_CT6) {
				struct bh_ct *ct = (void *)value;

				/* the next packet starts it */
				ct->flags &= (uint8_t)~BH_CT_TIMER;
			}
			r = bpf_map_update_elem(bpf_map__fd(map), key, value, flags);
			r = r == -EEXIST ? 0 : r;
		}
	}
	dp_iter_done(&it);
	return r ? r : n;
}

static int pin_all(struct hostd_dp *dp)
{
	char path[PATH_MAX];
	int r = 0;

	for (int m = DP_MAP_COUNT - 1; !r && m >= 0; m--) { /* bh_ctl is the first */
		pin_path(dp->pin_dir, dp_map_descs[m].name, path);
		r = bpf_obj_pin(dp->map_fd[m], path);
	}
	return r;
}

int dp_upgrade_fill(struct hostd_dp *dp, struct bh_diag *diag)
{
	int r = 0;

	if (!dp_upgrade_carries(dp)) {
		return 0;
	}
	for (int m = 0; !r && m < DP_MAP_COUNT; m++) {
		/* Tickets rest on what programs do from now on; the next packet makes new ones. */
		if (!dp->upgrade->map[m].convert || m == DP_MAP_TICKETS) {
			continue;
		}
		r = copy_entries(dp, (enum dp_map)m, BPF_ANY);
		if (r) {
			return bh_diag_set(diag, r, "cannot carry %s over from %s: %s",
					   dp_map_descs[m].name, dp->upgrade->dir, strerror(-r));
		}
	}
	r = pin_all(dp);
	return r ? bh_diag_set(diag, r, "cannot pin maps under %s: %s", dp->pin_dir, strerror(-r))
		 : 0;
}

/* ---- links ---- */

int dp_upgrade_links(struct hostd_dp *dp, struct bh_diag *diag)
{
	char from[PATH_MAX], to[PATH_MAX], links[PATH_MAX];
	struct dirent *e;
	DIR *dir;
	int r = 0;

	if (!dp->upgrade) {
		return 0;
	}
	pin_path(dp->upgrade->dir, "links", links);
	dir = opendir(links);
	while (dir && (e = readdir(dir))) {
		if (*e->d_name == '.') {
			continue;
		}
		pin_path(links, e->d_name, from);
		pin_path(dp->pin_dir, "links", to);
		snprintf(to + strlen(to), sizeof(to) - strlen(to), "/%.*s", NAME_MAX / 2,
			 e->d_name);
		if (rename(from, to) && !r) {
			r = bh_diag_set(diag, -errno, "cannot move %s: %s", from, strerror(errno));
		}
	}
	if (dir) {
		closedir(dir);
	}
	return r;
}

int dp_upgrade_end(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_upgrade *up = dp->upgrade;
	char links[PATH_MAX];
	int r;

	if (!up) {
		return 0;
	}
	for (int m = DP_MAP_CT4; up->carry && m <= DP_MAP_CT6; m++) {
		/* What does not fit any more is judged as new. */
		(void)!(up->map[m].convert ? copy_entries(dp, (enum dp_map)m, BPF_NOEXIST) : 0);
	}
	/* Only pins: what they pinned may be shared. All links have moved. */
	r = dp_purge_pins(up->dir, diag);
	pin_path(up->dir, "links", links);
	rmdir(links);
	close(up->lock_fd);
	up->lock_fd = -1;
	dp_purge_dir(up->dir);
	dp_upgrade_done(dp);
	return r;
}
