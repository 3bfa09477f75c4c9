/* SPDX-License-Identifier: Apache-2.0 */
/* Open, adopt, close, destroy. Everything of ours under pin_dir: one pin per map,
 * links/<ifindex>-<side>. */
#include "host/dataplane/internal.h"

#include "base/file.h"
#include "dataplane.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define DEFAULT_BPFFS	"/sys/fs/bpf"
#define KERNEL_LOG_SIZE (256 * 1024)

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(const char *path, struct bh_diag *diag)
{
	int r;

	if (!mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")) {
		return 0;
	}
	r = -errno;
	return bh_diag_set(diag, r, "cannot mount a BPF file system on %s: %s", path, strerror(-r));
}

static int prepare_pin_dir(struct hostd_dp *dp, struct bh_diag *diag)
{
	char links[PATH_MAX];
	int r = 0;

	/* Folders can't be made in sysfs, so its own mount point comes first. */
	if (!strncmp(dp->pin_dir, DEFAULT_BPFFS "/", strlen(DEFAULT_BPFFS) + 1) &&
	    !is_bpffs(DEFAULT_BPFFS)) {
		r = mount_bpffs(DEFAULT_BPFFS, diag);
	}
	r = r ? r : bh_mkdirs(dp->pin_dir, 0700, diag);
	if (!r && !is_bpffs(dp->pin_dir)) {
		r = mount_bpffs(dp->pin_dir, diag);
	}
	snprintf(links, sizeof(links), "%.*s/links", PATH_MAX - 32, dp->pin_dir);
	r = r ? r : bh_mkdirs(links, 0700, diag);
	if (r) {
		return r;
	}
	return dp_lock(dp->pin_dir, &dp->dir_fd, diag);
}

static void map_path(const struct hostd_dp *dp, enum dp_map map, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/%s", PATH_MAX - 32, dp->pin_dir, dp_map_descs[map].name);
}

/* Size and pin of one map. An existing pin decides the size; another shape under our version is not
 * ours. */
static int prepare_map(struct hostd_dp *dp, enum dp_map m, const struct hostd_dp_options *options,
		       struct hostd_dp_open_info *info, struct bh_diag *diag)
{
	const struct dp_map_desc *d = &dp_map_descs[m];
	struct bpf_map *map = bpf_object__find_map_by_name(dp->obj, d->name);
	uint32_t want = d->table >= 0 ? options->size[d->table] : 0;
	struct bpf_map_info have = {};
	uint32_t size = sizeof(have);
	char path[PATH_MAX];
	BH_CLOSE int fd = -1;
	int r;

	if (!map || (d->key_size && (bpf_map__key_size(map) != d->key_size ||
				     bpf_map__value_size(map) != d->value_size))) {
		return bh_diag_set(diag, -EINVAL, "the BPF object has no map %s of our shape",
				   d->name);
	}
	if (dp_upgrade_carries(dp)) {
		r = dp_upgrade_map(dp, m, map, &want, diag);
		return r || !want ? r : bpf_map__set_max_entries(map, want);
	}
	map_path(dp, m, path);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		r = bpf_obj_get_info_by_fd(fd, &have, &size);
		if (r || have.key_size != d->key_size || have.value_size != d->value_size) {
			return bh_diag_set(
				diag, r ? r : -EINVAL,
				"%s was made by another version of Bulkhead, whose tables look "
				"otherwise. That version still enforces: start it again, or take "
				"everything out with `bulkhead-hostd --detach --yes` (VMs are open "
				"until the next start)",
				path);
		}
		if (want && have.max_entries != want) {
			size_t len = strlen(info->notice);

			snprintf(info->notice + len, sizeof(info->notice) - len,
				 "%s%s keeps its size %u (configured: %u)", len ? "; " : "",
				 hostd_dp_table_name((enum hostd_dp_table)d->table),
				 have.max_entries, want);
		}
		want = have.max_entries;
		info->adopted = true;
	}
	r = want ? bpf_map__set_max_entries(map, want) : 0;
	r = r ? r : bpf_map__set_pin_path(map, path);
	return r ? bh_diag_set(diag, r, "cannot prepare map %s: %s", d->name, strerror(-r)) : 0;
}

/* The last lines of the verifier's log say what it did not like. */
static int refuse_load(int r, const char *log, struct bh_diag *diag)
{
	size_t len = strlen(log);
	const char *tail = log + (len > 300 ? len - 300 : 0);

	return bh_diag_set(diag, r, "the kernel does not take the BPF programs: %s%s%s",
			   strerror(-r), len ? ": ..." : "", tail);
}

static int load_object(struct hostd_dp *dp, const struct hostd_dp_options *options,
		       struct hostd_dp_open_info *info, struct bh_diag *diag)
{
	BH_FREE char *log = bh_alloc(KERNEL_LOG_SIZE);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log,
		    .kernel_log_size = KERNEL_LOG_SIZE);
	const void *elf;
	size_t size;
	int r = 0;

	libbpf_set_print(NULL); /* we return errors, it prints them */
	opts.object_name = "dataplane";
	elf = dataplane__elf_bytes(&size);
	dp->obj = bpf_object__open_mem(elf, size, &opts);
	if (!dp->obj) {
		return bh_diag_set(diag, -errno, "cannot read the BPF object: %s", strerror(errno));
	}
	for (int m = 0; !r && m < DP_MAP_COUNT; m++) {
		r = prepare_map(dp, (enum dp_map)m, options, info, diag);
	}
	if (r) {
		return r;
	}
	r = bpf_object__load(dp->obj);
	return r ? refuse_load(r, log, diag) : 0;
}

static int find_parts(struct hostd_dp *dp, struct bh_diag *diag)
{
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		struct bpf_map *map = bpf_object__find_map_by_name(dp->obj, dp_map_descs[m].name);

		dp->map_fd[m] = bpf_map__fd(map);
		dp->map_size[m] = bpf_map__max_entries(map);
	}
	for (int p = 0; p < DP_PROG_COUNT; p++) {
		struct bpf_program *prog =
			bpf_object__find_program_by_name(dp->obj, dp_prog_names[p]);
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);
		int r;

		if (!prog) {
			return bh_diag_set(diag, -EINVAL, "the BPF object has no program %s",
					   dp_prog_names[p]);
		}
		dp->prog_fd[p] = bpf_program__fd(prog);
		r = bpf_obj_get_info_by_fd(dp->prog_fd[p], &info, &size);
		if (r) {
			return bh_diag_set(diag, r, "cannot ask for program %s: %s",
					   dp_prog_names[p], strerror(-r));
		}
		dp->prog_id[p] = info.id;
	}
	return 0;
}

/* ---- control word ---- */

bool dp_ctl_drifted(const struct hostd_dp *dp)
{
	return memcmp(dp->ctl, &dp->ctl_want, sizeof(dp->ctl_want)) != 0;
}

/* Members one by one: programs read them at any moment. gen and nonce are written by nobody else.
 */
void dp_ctl_write(struct hostd_dp *dp)
{
	const struct bh_ctl *want = &dp->ctl_want;
	struct bh_ctl *ctl = dp->ctl;

	for (int i = 0; i < 16; i++) {
		__atomic_store_n(&ctl->timeout_s[i], want->timeout_s[i], __ATOMIC_RELAXED);
	}
	__atomic_store_n(&ctl->reject_pps, want->reject_pps, __ATOMIC_RELAXED);
	__atomic_store_n(&ctl->event_pps, want->event_pps, __ATOMIC_RELAXED);
	__atomic_store_n(&ctl->ct_per_nic, want->ct_per_nic, __ATOMIC_RELAXED);
	__atomic_store_n(&ctl->flags, want->flags, __ATOMIC_RELAXED);
	__atomic_store_n(&ctl->mark_nonce, want->mark_nonce, __ATOMIC_RELAXED);
	__atomic_store_n(&ctl->gen, want->gen, __ATOMIC_SEQ_CST);
}

static int map_ctl(struct hostd_dp *dp, const struct hostd_dp_options *options,
		   struct bh_diag *diag)
{
	void *p = mmap(NULL, sizeof(*dp->ctl), PROT_READ | PROT_WRITE, MAP_SHARED,
		       dp->map_fd[DP_MAP_CTL], 0);
	int r;

	if (p == MAP_FAILED) {
		r = -errno;
		return bh_diag_set(diag, r, "cannot map bh_ctl: %s", strerror(-r));
	}
	dp->ctl = p;
	dp->ctl_want = *dp->ctl;
	while (!(dp->ctl_want.mark_nonce & 0xffffff00u)) {
		if (getrandom(&dp->ctl_want.mark_nonce, sizeof(uint32_t), 0) != sizeof(uint32_t)) {
			return bh_diag_set(diag, -EIO, "cannot get random bytes");
		}
		dp->ctl_want.mark_nonce &= 0xffffff00u;
		dp->ctl_want.gen = 1;
	}
	memcpy(dp->ctl_want.timeout_s, options->timeout_s, sizeof(options->timeout_s));
	dp->ctl_want.ct_per_nic = options->ct_per_nic;
	dp->ctl_want.reject_pps = options->reject_pps;
	dp->ctl_want.event_pps = options->event_pps;
	dp->ctl_want.flags = options->fastpath ? BH_CTL_FASTPATH : 0;
	dp_ctl_write(dp);
	return 0;
}

/* ---- life ---- */

static int open_parts(struct hostd_dp *dp, const struct hostd_dp_options *options,
		      struct hostd_dp_open_info *info, struct bh_diag *diag)
{
	int r = prepare_pin_dir(dp, diag);

	r = r ? r : dp_upgrade_begin(dp, diag);
	r = r ? r : load_object(dp, options, info, diag);
	r = r ? r : find_parts(dp, diag);
	r = r ? r : dp_upgrade_fill(dp, diag);
	if (!r && dp_upgrade_carries(dp)) {
		info->adopted = true;
		snprintf(info->notice, sizeof(info->notice), "taken over from %.400s",
			 dp_upgrade_dir(dp));
	}
	r = r ? r : dp_upgrade_links(dp, diag);
	r = r ? r : map_ctl(dp, options, diag);
	r = r ? r : dp_grace_init(dp, diag);
	if (r) {
		return r;
	}
	dp->by_index = bh_alloc_array(dp->map_size[DP_MAP_NICS], sizeof(struct dp_nic *));
	dp->stale = bh_alloc_array(dp->map_size[DP_MAP_NICS], 1);
	r = dp_scan_adopt(dp, &info->recovered, diag);
	if (info->adopted) {
		dp_nics_distrust(dp);
	}
	dp_held_scan(dp);
	r = r ? r : dp_ports_adopt(dp, info, diag);
	r = r ? r : dp_upgrade_end(dp, diag);
	r = r ? r : dp_events_open(dp, diag);
	return r ? r : dp_walk_open(dp, diag);
}

static void release(struct hostd_dp *dp)
{
	dp_upgrade_done(dp);
	dp_events_close(dp);
	dp_walk_close(dp);
	dp_imports_unmap(dp);
	hostd_dp_apply_abort(dp);
	dp_commit_drop(dp);
	dp_verify_done(dp);
	dp_lists_done(dp);
	dp_ports_done(dp);
	dp_held_done(dp);
	dp_nics_done(dp);
	if (dp->ctl) {
		munmap(dp->ctl, sizeof(*dp->ctl));
	}
	bpf_object__close(dp->obj);
	bh_hasher_free(dp->hasher);
	if (dp->grace_outer_fd >= 0) {
		close(dp->grace_outer_fd);
	}
	if (dp->grace_inner_fd >= 0) {
		close(dp->grace_inner_fd);
	}
	if (dp->dir_fd >= 0) {
		close(dp->dir_fd);
	}
	free(dp);
}

int hostd_dp_open(const struct hostd_dp_options *options, struct hostd_dp **ret_dp,
		  struct hostd_dp_open_info *ret_info, struct bh_diag *diag)
{
	struct hostd_dp *dp = bh_alloc(sizeof(*dp));
	struct hostd_dp_open_info info = {};
	int r = 0;

	dp->hasher = bh_hasher_new();
	dp->dir_fd = dp->grace_outer_fd = dp->grace_inner_fd = -1;
	if (snprintf(dp->pin_dir, sizeof(dp->pin_dir), "%s", options->pin_dir) > PATH_MAX - 64) {
		r = bh_diag_set(diag, -ENAMETOOLONG, "pin_dir is too long");
	}
	dp->tcx = options->attach == HOSTD_DP_ATTACH_TCX ||
		  (options->attach == HOSTD_DP_ATTACH_AUTO && dp_attach_probe_tcx());
	info.tcx = dp->tcx;
	r = r ? r : open_parts(dp, options, &info, diag);
	if (r) {
		release(dp);
		return r;
	}
	if (ret_info) {
		*ret_info = info;
	}
	*ret_dp = dp;
	return 0;
}

void hostd_dp_close(struct hostd_dp *dp)
{
	if (dp) {
		hostd_dp_apply_abort(dp);
		(void)!hostd_dp_settle(dp, NULL); /* else the next open does it */
		release(dp);
	}
}

int hostd_dp_destroy(struct hostd_dp *dp, struct bh_diag *diag)
{
	char path[PATH_MAX];
	int r;

	hostd_dp_apply_abort(dp);
	r = dp_purge(dp->pin_dir, diag);
	snprintf(path, sizeof(path), "%s", dp->pin_dir);
	release(dp);
	if (!r) {
		dp_purge_dir(path);
	}
	return r;
}

const struct bh_hash *hostd_dp_hash(const struct hostd_dp *dp)
{
	return &dp->hash;
}

uint32_t hostd_dp_gen(const struct hostd_dp *dp)
{
	return dp->ctl->gen;
}
