/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker that somebody has taken over can still do: a child gives up its rights by
 * gate_sandbox_enter() and then tries. Needs root; without, what needs it is skipped.
 */
#include "base/util.h"
#include "gate/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct place {
	char inside[64], outside[64]; /* both may be written by anybody */
	bool capture;
};

/* In the child; 0, or the line of what was not as it should be. */
typedef int attempt_fn(const struct place *place);
#define HOLDS(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			return __LINE__;                                                           \
		}                                                                                  \
	} while (0)

static void place_make(struct place *place, bool capture)
{
	*place = (struct place){.inside = "/tmp/gate-inside.XXXXXX",
				.outside = "/tmp/gate-outside.XXXXXX",
				.capture = capture};
	assert_non_null(mkdtemp(place->inside));
	assert_non_null(mkdtemp(place->outside));
	assert_int_equal(chmod(place->inside, 0777), 0);
	assert_int_equal(chmod(place->outside, 0777), 0);
}

static void place_clear(const struct place *place)
{
	for (int i = 0; i < 2; i++) {
		const char *folder = i ? place->outside : place->inside;
		BH_FREE char *file = bh_asprintf("%s/file", folder);

		unlink(file);
		assert_int_equal(rmdir(folder), 0);
	}
}

/* As a service manager starts it, which gives a user more than is needed. */
static bool be_somebody_with_rights(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	return !capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE,
			      CAP_NET_RAW, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, -1) &&
	       !capng_change_id(65534, 65534, CAPNG_DROP_SUPP_GRP);
}

/* How the child ended: its line, or the signal as a negative number. */
static int try_as(bool root, bool capture, attempt_fn *attempt)
{
	struct place place;
	int status = 0;
	pid_t pid;

	place_make(&place, capture);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		const char *folders[] = {place.inside, NULL};
		struct gate_sandbox sandbox = {
			.capture = capture, .folders = folders, .folder_count = 2};
		struct bh_diag diag = {};

		if (!root && !be_somebody_with_rights()) {
			_exit(254);
		}
		if (gate_sandbox_enter(&sandbox, &diag) < 0) {
			fprintf(stderr, "%s\n", diag.text);
			_exit(255);
		}
		_exit(attempt(&place) & 0xff);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	place_clear(&place);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int try_in_sandbox(bool capture, attempt_fn *attempt)
{
	return try_as(true, capture, attempt);
}

static bool can_create(const char *folder)
{
	BH_FREE char *path = bh_asprintf("%s/file", folder);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0) {
		return false;
	}
	close(fd);
	return true;
}

/* ---- files ---- */

static int write_files(const struct place *place)
{
	BH_FREE char *inside = bh_asprintf("%s/file", place->inside);
	BH_FREE char *outside = bh_asprintf("%s/file", place->outside);
	BH_FREE char *folder = bh_asprintf("%s/folder", place->outside);

	HOLDS(can_create(place->inside));
	HOLDS(!can_create(place->outside) && errno == EACCES);
	HOLDS(mkdir(folder, 0700) < 0 && errno == EACCES);
	HOLDS(rename(inside, outside) < 0);
	HOLDS(access("/etc/passwd", R_OK) == 0); /* rules may be anywhere */
	HOLDS(open("/etc/passwd", O_WRONLY | O_CLOEXEC) < 0);
	HOLDS(open("/proc/self/mem", O_RDWR | O_CLOEXEC) < 0);
	HOLDS(unlink(inside) == 0);
	return 0;
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static void test_writes_only_in_its_folders(void **state)
{
	if (!has_landlock()) {
		skip(); /* Linux before 5.13 */
	}
	assert_int_equal(try_in_sandbox(false, write_files), 0);
}

/* ---- who it is ---- */

/* A number of /proc/self/status; UINT64_MAX when it is not there. */
static uint64_t status_of(const char *key, int base)
{
	char line[256];
	uint64_t value = UINT64_MAX;
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':') {
			value = strtoull(line + strlen(key) + 1, NULL, base);
		}
	}
	if (file) {
		(void)!fclose(file);
	}
	return value;
}

static int is_nobody(const struct place *place)
{
	uint64_t wanted = place->capture ? 1u << CAP_NET_RAW | 1u << CAP_NET_ADMIN : 0;

	HOLDS(getuid() != 0 && geteuid() != 0 && getgid() != 0);
	HOLDS(syscall(SYS_setuid, 0) < 0 && syscall(SYS_setgid, 0) < 0);
	HOLDS(status_of("CapEff", 16) == wanted && status_of("CapPrm", 16) == wanted);
	HOLDS(status_of("CapBnd", 16) == 0); /* nothing that it starts has any */
	HOLDS(status_of("CapInh", 16) == 0 && status_of("CapAmb", 16) == 0);
	HOLDS(status_of("NoNewPrivs", 10) == 1 && status_of("Seccomp", 10) == 2);
	return 0;
}

/* The bounding set is whose who started it: nothing can be started any more. */
static int has_no_more_rights(const struct place *place)
{
	uint64_t wanted = place->capture ? 1u << CAP_NET_RAW | 1u << CAP_NET_ADMIN : 0;

	HOLDS(status_of("CapEff", 16) == wanted && status_of("CapPrm", 16) == wanted);
	HOLDS(status_of("CapInh", 16) == 0 && status_of("CapAmb", 16) == 0);
	HOLDS(status_of("NoNewPrivs", 10) == 1 && status_of("Seccomp", 10) == 2);
	return 0;
}

static int opens_packet_socket(const struct place *place)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	HOLDS((fd >= 0) == place->capture);
	return 0;
}

static void test_is_nobody(void **state)
{
	if (geteuid() != 0) {
		skip();
	}
	assert_int_equal(try_in_sandbox(false, is_nobody), 0);
	assert_int_equal(try_in_sandbox(true, is_nobody), 0);
	assert_int_equal(try_in_sandbox(false, opens_packet_socket), 0);
	assert_int_equal(try_in_sandbox(true, opens_packet_socket), 0);
	assert_int_equal(try_as(false, false, has_no_more_rights), 0);
	assert_int_equal(try_as(false, true, has_no_more_rights), 0);
	assert_int_equal(try_as(false, true, opens_packet_socket), 0);
}

/* ---- system calls ---- */

static int starts_a_program(const struct place *place)
{
	char *const argv[] = {(char *)"true", NULL};

	execve("/bin/true", argv, NULL);
	return 0;
}

static int looks_into_others(const struct place *place)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0 ? 0 : __LINE__;
}

static int mounts(const struct place *place)
{
	return mount("none", place->inside, "tmpfs", 0, NULL) < 0 ? 0 : __LINE__;
}

static int loads_bpf(const struct place *place)
{
	return syscall(SYS_bpf, 0, NULL, 0) < 0 ? 0 : __LINE__;
}

static int calls_unknown(const struct place *place)
{
	HOLDS(syscall(SYS_acct, NULL) < 0 && errno == EPERM);
	HOLDS(syscall(SYS_kill, getppid(), 0) < 0 && errno == EPERM);
	return 0;
}

static void test_calls(void **state)
{
	assert_int_equal(try_in_sandbox(false, starts_a_program), -SIGSYS);
	assert_int_equal(try_in_sandbox(false, looks_into_others), -SIGSYS);
	assert_int_equal(try_in_sandbox(false, mounts), -SIGSYS);
	assert_int_equal(try_in_sandbox(true, loads_bpf), -SIGSYS);
	assert_int_equal(try_in_sandbox(false, calls_unknown), 0);
}

/* ---- what can't be ---- */

static void test_refusals(void **state)
{
	struct gate_sandbox sandbox = {.user = "no-such-user"};
	struct bh_diag diag = {};

	assert_true(gate_sandbox_enter(&sandbox, &diag) < 0);
	assert_non_null(strstr(diag.text, "no-such-user"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_only_in_its_folders),
		cmocka_unit_test(test_is_nobody),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
