/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/sandbox.h"

#include "base/log.h"
#include "base/util.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Since ABI 3, which the headers of Debian 12 do not know. */
#define ACCESS_REFER	(1ull << 13)
#define ACCESS_TRUNCATE (1ull << 14)

#define WRITES                                                                                     \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_EXECUTE)
#define OF_FOLDER (WRITES & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE)

/* ---- user and capabilities ---- */

/* Who was started as another user with rights (ambient ones, of a unit): what only opening took. */
static int keep_capture_only(const struct gate_sandbox *sandbox, struct bh_diag *diag)
{
	static const unsigned int rights[] = {CAP_NET_RAW, CAP_NET_ADMIN};
	bool has[BH_ARRAY_SIZE(rights)];

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(rights); i++) {
		has[i] = sandbox->capture && capng_have_capability(CAPNG_PERMITTED, rights[i]);
	}
	capng_clear(CAPNG_SELECT_CAPS);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(rights); i++) {
		if (has[i]) {
			(void)capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, rights[i]);
		}
	}
	return capng_apply(CAPNG_SELECT_CAPS)
		       ? bh_diag_set(diag, -EPERM, "rights can't be given up: %m")
		       : 0;
}

static int change_user(const struct gate_sandbox *sandbox, struct bh_diag *diag)
{
	const char *name = sandbox->user ? sandbox->user : "nobody";
	const struct passwd *user;
	int err;

	if (geteuid() != 0) {
		return sandbox->user
			       ? bh_diag_set(diag, -EPERM, "only root can become the user %s", name)
			       : keep_capture_only(sandbox, diag);
	}
	user = getpwnam(name);
	if (!user) {
		return bh_diag_set(diag, -ENOENT, "there is no user '%s'", name);
	}
	capng_clear(CAPNG_SELECT_BOTH);
	if (sandbox->capture) {
		(void)capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_RAW,
				    CAP_NET_ADMIN, -1);
	}
	err = capng_change_id((int)user->pw_uid, (int)user->pw_gid,
			      CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
	if (err) {
		return bh_diag_set(diag, -EPERM, "the rights of root can't be given up (%d)", err);
	}
	return 0;
}

int gate_sandbox_give(const char *user, const char *path, struct bh_diag *diag)
{
	const struct passwd *who;

	if (geteuid() != 0) {
		return 0;
	}
	who = getpwnam(user ? user : "nobody");
	if (!who || chown(path, who->pw_uid, who->pw_gid) < 0) {
		return bh_diag_set(diag, -EPERM, "%s can't be given to %s", path,
				   user ? user : "nobody");
	}
	return 0;
}

/* ---- Landlock ---- */

static int allow_folder(int ruleset, const char *folder, uint64_t access, struct bh_diag *diag)
{
	BH_CLOSE int fd = open(folder, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr attr = {.allowed_access = access, .parent_fd = fd};

	if (fd < 0) {
		return bh_diag_set(diag, -errno, "%s: %s", folder, strerror(errno));
	}
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0) {
		return bh_diag_set(diag, -errno, "Landlock: %s: %s", folder, strerror(errno));
	}
	return 0;
}

static int lock_files(const struct gate_sandbox *sandbox, struct bh_diag *diag)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {.handled_access_fs = WRITES};
	uint64_t access = OF_FOLDER;
	BH_CLOSE int ruleset = -1;

	if (abi <= 0) {
		bh_log(BH_LOG_WARN, "sandbox", "the kernel has no Landlock");
		return 0;
	}
	attr.handled_access_fs |= abi >= 3 ? ACCESS_TRUNCATE | ACCESS_REFER : 0;
	access |= abi >= 3 ? ACCESS_TRUNCATE | ACCESS_REFER : 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0) {
		return bh_diag_set(diag, -errno, "Landlock: %s", strerror(errno));
	}
	for (size_t i = 0; i < sandbox->folder_count; i++) {
		int err = sandbox->folders[i]
				  ? allow_folder(ruleset, sandbox->folders[i], access, diag)
				  : 0;

		if (err) {
			return err;
		}
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) {
		return bh_diag_set(diag, -errno, "Landlock: %s", strerror(errno));
	}
	return 0;
}

/* ---- seccomp ---- */

/* What the program, glibc, libuv and the kernel's rings need. */
static const unsigned int allowed[] = {
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_pread64,
	SYS_pwrite64,
	SYS_open,
	SYS_openat,
	SYS_close,
	SYS_fstat,
	SYS_stat,
	SYS_lstat,
	SYS_newfstatat,
	SYS_statx,
	SYS_lseek,
	SYS_access,
	SYS_faccessat,
	SYS_faccessat2,
	SYS_readlink,
	SYS_readlinkat,
	SYS_getdents64,
	SYS_getcwd,
	SYS_fcntl,
	SYS_flock,
	SYS_fsync,
	SYS_fdatasync,
	SYS_ftruncate,
	SYS_rename,
	SYS_renameat,
	SYS_renameat2,
	SYS_unlink,
	SYS_unlinkat,
	SYS_mkdir,
	SYS_mkdirat,
	SYS_fchmod,
	SYS_umask,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_brk,
	SYS_mlock,
	SYS_munlock,
	SYS_mlock2,
	SYS_membarrier,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_rt_sigpending,
	SYS_rt_sigtimedwait,
	SYS_sigaltstack,
	SYS_futex,
	SYS_clone,
	SYS_clone3,
	SYS_set_robust_list,
	SYS_get_robust_list,
	SYS_rseq,
	SYS_exit,
	SYS_exit_group,
	SYS_sched_yield,
	SYS_sched_getaffinity,
	SYS_sched_setaffinity,
	SYS_sched_getscheduler,
	SYS_sched_getparam,
	SYS_setpriority,
	SYS_getpid,
	SYS_gettid,
	SYS_getuid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getegid,
	SYS_tgkill,
	SYS_uname,
	SYS_sysinfo,
	SYS_getrusage,
	SYS_prlimit64,
	SYS_getrandom,
	SYS_clock_gettime,
	SYS_clock_getres,
	SYS_gettimeofday,
	SYS_time,
	SYS_nanosleep,
	SYS_clock_nanosleep,
	SYS_getcpu,
	SYS_poll,
	SYS_ppoll,
	SYS_select,
	SYS_pselect6,
	SYS_epoll_create1,
	SYS_epoll_ctl,
	SYS_epoll_wait,
	SYS_epoll_pwait,
	SYS_eventfd2,
	SYS_pipe2,
	SYS_dup,
	SYS_dup3,
	SYS_timerfd_create,
	SYS_timerfd_settime,
	SYS_signalfd4,
	SYS_ioctl,
	SYS_socket,
	SYS_socketpair,
	SYS_connect,
	SYS_bind,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_getsockname,
	SYS_getpeername,
	SYS_setsockopt,
	SYS_getsockopt,
	SYS_shutdown,
	SYS_sendto,
	SYS_sendmsg,
	SYS_sendmmsg,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_recvmmsg,
	SYS_prctl,
	SYS_arch_prctl,
	SYS_restart_syscall,
};

/* Nothing of ours ever calls these: who does is not ours any more. */
static const unsigned int deadly[] = {
	SYS_execve,
	SYS_execveat,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kexec_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_setns,
	SYS_unshare,
	SYS_userfaultfd,
	SYS_add_key,
	SYS_keyctl,
	SYS_reboot,
	SYS_swapon,
	SYS_fork,
	SYS_vfork,
};

static size_t put_calls(struct sock_filter *code, const unsigned int *calls, size_t count,
			uint32_t verdict)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		code[at++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
	}
	return at;
}

static int filter_calls(struct bh_diag *diag)
{
	struct sock_filter code[2 * (BH_ARRAY_SIZE(allowed) + BH_ARRAY_SIZE(deadly)) + 8];
	struct sock_fprog program = {.filter = code};
	size_t at = 0;

	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						  offsetof(struct seccomp_data, arch));
	code[at++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						  offsetof(struct seccomp_data, nr));
	at += put_calls(code + at, allowed, BH_ARRAY_SIZE(allowed), SECCOMP_RET_ALLOW);
	at += put_calls(code + at, deadly, BH_ARRAY_SIZE(deadly), SECCOMP_RET_KILL_PROCESS);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	program.len = (unsigned short)at;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		return bh_diag_set(diag, -errno, "seccomp: %s", strerror(errno));
	}
	return 0;
}

int gate_sandbox_enter(const struct gate_sandbox *sandbox, struct bh_diag *diag)
{
	int err = change_user(sandbox, diag);

	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		err = bh_diag_set(diag, -errno, "no_new_privs: %s", strerror(errno));
	}
	if (!err) {
		err = lock_files(sandbox, diag);
	}
	if (!err) {
		err = filter_calls(diag);
	}
	return err;
}
