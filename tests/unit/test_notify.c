/* SPDX-License-Identifier: Apache-2.0 */
/* Words to the service manager, with a socket of the test's own in its place. */
#include "base/notify.h"
#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

static char dir[] = "/tmp/test_notify.XXXXXX";

/* A bound datagram socket; abstract when `name` begins with @. */
static int listen_at(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && strlen(name) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, name, strlen(name));
	if (*name == '@') {
		addr.sun_path[0] = '\0';
	}
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void expect(int fd, const char *word)
{
	char text[64] = {};

	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, word);
}

static void expect_silence(int fd)
{
	char text[64];

	assert_true(recv(fd, text, sizeof(text), MSG_DONTWAIT) < 0);
}

static void test_ready_and_beats(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/socket", dir);
	struct bh_notify notify;
	uv_loop_t loop;
	int fd = listen_at(path);

	setenv("NOTIFY_SOCKET", path, 1);
	setenv("WATCHDOG_USEC", "20000", 1);
	assert_int_equal(uv_loop_init(&loop), 0);
	bh_notify_ready(&notify, &loop);
	expect(fd, "READY=1");
	expect_silence(fd);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* the timer alone keeps no loop */
	uv_ref((uv_handle_t *)&notify.beat);
	uv_run(&loop, UV_RUN_ONCE);
	expect(fd, "WATCHDOG=1");
	uv_run(&loop, UV_RUN_ONCE);
	expect(fd, "WATCHDOG=1");
	bh_notify_send("STOPPING=1");
	expect(fd, "STOPPING=1");
	uv_close((uv_handle_t *)&notify.beat, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(fd);
	unlink(path);
}

/* A watchdog that is meant for another process, or none at all, gets no beats. */
static void test_no_beats(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/socket", dir);
	int fd = listen_at(path);

	setenv("NOTIFY_SOCKET", path, 1);
	for (int other = 0; other < 2; other++) {
		struct bh_notify notify;
		uv_loop_t loop;

		setenv("WATCHDOG_USEC", "2000", 1);
		other ? setenv("WATCHDOG_PID", "1", 1) : unsetenv("WATCHDOG_USEC");
		assert_int_equal(uv_loop_init(&loop), 0);
		bh_notify_ready(&notify, &loop);
		expect(fd, "READY=1");
		assert_false(uv_is_active((uv_handle_t *)&notify.beat));
		uv_close((uv_handle_t *)&notify.beat, NULL);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&loop), 0);
	}
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	close(fd);
	unlink(path);
}

static void test_abstract(void **state)
{
	BH_FREE char *name = bh_asprintf("@bulkhead-test-notify-%d", (int)getpid());
	int fd = listen_at(name);

	setenv("NOTIFY_SOCKET", name, 1);
	bh_notify_send("READY=1");
	expect(fd, "READY=1");
	close(fd);
}

static void test_nobody_listens(void **state)
{
	static const char *const names[] = {
		"", "/", "relative", "/nowhere/socket", "@", "@bulkhead-nobody"};
	char long_name[200];

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		bh_notify_send("READY=1");
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[0] = '/';
	long_name[sizeof(long_name) - 1] = '\0';
	setenv("NOTIFY_SOCKET", long_name, 1);
	bh_notify_send("READY=1");
	unsetenv("NOTIFY_SOCKET");
	bh_notify_send("READY=1");
}

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int cleanup(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ready_and_beats),
		cmocka_unit_test(test_no_beats),
		cmocka_unit_test(test_abstract),
		cmocka_unit_test(test_nobody_listens),
	};

	return cmocka_run_group_tests(tests, setup, cleanup);
}
