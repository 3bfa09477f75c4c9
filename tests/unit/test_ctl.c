/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a server on a loop of its own thread, blocking clients against it, hostile
 * ones among them. */
#include "base/counter.h"
#include "base/ctl.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SHORT_MS   200 /* timeouts of the server that hostile clients meet */
#define BIG	   (4u << 20)
#define LINES	   60000u
#define USER_MAX   16 /* as ctl.h says */
#define A_STRANGER 65533

struct fixture {
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct bh_ctl_server *server;
	char folder[32];
	char path[64];
	_Atomic unsigned int asked;
};

static void on_echo(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_pack("{s:O}", "said", json_object_get(request, "say")));
}

static void on_big(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct fixture *f = arg;
	BH_FREE char *text = bh_alloc(BIG + 1);

	f->asked++;
	memset(text, 'x', BIG);
	bh_ctl_reply(req, json_pack("{s:s}", "text", text));
}

static void on_no_text(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_pack("{s:s}", "text", "\xff"));
}

static void on_stop(uv_async_t *async)
{
	struct fixture *f = async->data;

	bh_ctl_server_free(f->server);
	uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *arg)
{
	struct fixture *f = arg;

	uv_run(&f->loop, UV_RUN_DEFAULT);
	return NULL;
}

static int setup_with(void **state, unsigned int timeout_ms, bool root_only)
{
	struct fixture *f = bh_alloc(sizeof(*f));
	struct bh_ctl_options o = {.program = "test",
				   .mode = 0666,
				   .root_only = root_only,
				   .line_timeout_ms = timeout_ms,
				   .answer_timeout_ms = timeout_ms};

	strcpy(f->folder, "/tmp/bh-ctl-XXXXXX");
	if (!mkdtemp(f->folder)) {
		return -1;
	}
	snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	o.path = f->path;
	uv_loop_init(&f->loop);
	uv_async_init(&f->loop, &f->stop, on_stop);
	f->stop.data = f;
	if (bh_ctl_server_new(&f->loop, &o, &f->server, NULL)) {
		return -1;
	}
	bh_ctl_server_add(f->server, "echo", on_echo, NULL);
	bh_ctl_server_add(f->server, "big", on_big, f);
	bh_ctl_server_add(f->server, "no-text", on_no_text, f);
	pthread_create(&f->thread, NULL, run, f);
	*state = f;
	return chmod(f->folder, 0755);
}

static int setup(void **state)
{
	return setup_with(state, 0, true);
}

static int setup_short(void **state)
{
	return setup_with(state, SHORT_MS, true);
}

static int setup_open(void **state)
{
	return setup_with(state, 0, false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uv_async_send(&f->stop);
	pthread_join(f->thread, NULL);
	uv_loop_close(&f->loop);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void answers_a_call(void **state)
{
	struct fixture *f = *state;
	BH_JSON json_t *request = json_pack("{s:s, s:s}", "op", "echo", "say", "hi");
	BH_JSON json_t *reply = NULL;

	assert_int_equal(bh_ctl_call(f->path, request, 5000, &reply, NULL), 0);
	assert_string_equal(bh_json_str_or(reply, "said", ""), "hi");
}

static void says_what_it_does_not_know(void **state)
{
	struct fixture *f = *state;
	BH_JSON json_t *request = json_pack("{s:s}", "op", "nope");
	BH_JSON json_t *reply = NULL;
	struct bh_diag diag = {};

	assert_int_equal(bh_ctl_call(f->path, request, 5000, &reply, &diag), -EREMOTEIO);
	assert_non_null(strstr(diag.text, "unknown op \"nope\""));
}

static int client_of(const struct fixture *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		abort();
	}
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until so many lines have come; how many bytes that were. */
static size_t read_lines(int fd, size_t count)
{
	BH_FREE char *chunk = bh_alloc(1 << 16);
	size_t bytes = 0;

	while (count) {
		ssize_t n = recv(fd, chunk, 1 << 16, 0);

		if (n <= 0) {
			fail_msg("%zu answers are missing", count);
		}
		for (ssize_t i = 0; i < n; i++) {
			count -= chunk[i] == '\n';
		}
		bytes += (size_t)n;
	}
	return bytes;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) <= 0;
}

static void drops_who_sends_too_much(void **state)
{
	struct fixture *f = *state;
	BH_CLOSE int fd = client_of(f);
	char junk[4096];

	memset(junk, 'x', sizeof(junk));
	for (int i = 0; i < 1000; i++) {
		if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0) {
			return; /* closed on us, as it should be */
		}
	}
	fail_msg("the server took 4 MB without a newline");
}

/* ---- hostile clients ---- */

static void *say_lines(void *arg)
{
	BH_FREE char *text = bh_alloc(LINES);

	memset(text, '\n', LINES);
	for (size_t done = 0; done < LINES;) {
		ssize_t n = send(*(int *)arg, text + done, LINES - done, MSG_NOSIGNAL);

		if (n <= 0) {
			abort();
		}
		done += (size_t)n;
	}
	return NULL;
}

/* Each is answered, and no answer stands on the stack of the one before. */
static void many_lines_at_once(void **state)
{
	struct fixture *f = *state;
	BH_CLOSE int fd = client_of(f);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, say_lines, &fd), 0);
	assert_true(read_lines(fd, LINES) > LINES);
	pthread_join(thread, NULL);
}

/* Who does not read is not asked for more, and what waits for him is one answer. */
static void answers_wait_for_their_reader(void **state)
{
	struct fixture *f = *state;
	BH_CLOSE int fd = client_of(f), other = client_of(f);

	for (int i = 0; i < 20; i++) {
		say(fd, "{\"op\":\"big\"}\n");
	}
	say(other, "{\"op\":\"ping\"}\n");
	read_lines(other, 1);
	assert_in_range(f->asked, 1, 2);
	assert_true(read_lines(fd, 20) > 20 * (size_t)BIG);
	assert_int_equal(f->asked, 20);
}

static void cuts_off_who_never_reads(void **state)
{
	uint64_t before = bh_counter_get("ctl_cut_off");
	struct fixture *f = *state;
	BH_CLOSE int fd = client_of(f), idle = client_of(f);

	say(fd, "{\"op\":\"big\"}\n");
	while (bh_counter_get("ctl_cut_off") == before) {
		usleep(1000);
	}
	/* who says nothing costs nothing */
	say(idle, "{\"op\":\"ping\"}\n");
	read_lines(idle, 1);
}

/* A letter now and then is no line. */
static void cuts_off_who_drips(void **state)
{
	struct fixture *f = *state;
	BH_CLOSE int fd = client_of(f);
	char said[2 * SHORT_MS];
	int letters = 0;

	while (letters < (int)sizeof(said) && send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
		letters++;
		usleep(5000);
	}
	assert_in_range(letters, 1, sizeof(said) - 1);
	assert_true(is_closed(fd));
}

/* In a process of a user who is nobody here: how many connections he can hold. */
static void hold_many(const struct fixture *f)
{
	int fds[2 * USER_MAX], held = 0;

	if (setgid(A_STRANGER) || setuid(A_STRANGER)) {
		_exit(99);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(fds); i++) {
		fds[i] = client_of(f);
		(void)!send(fds[i], "{\"op\":\"ping\"}\n", 14, MSG_NOSIGNAL);
		held += !is_closed(fds[i]);
	}
	_exit(held);
}

static void a_user_has_his_share(void **state)
{
	uint64_t before = bh_counter_get("ctl_refused");
	struct fixture *f = *state;
	int status;
	pid_t child;

	if (geteuid() != 0) {
		printf("skip: only root can be somebody else\n");
		skip();
	}
	child = fork();
	if (!child) {
		hold_many(f);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), USER_MAX);
	assert_int_equal(bh_counter_get("ctl_refused"), before + USER_MAX);
}

struct knock {
	const struct fixture *f;
	_Atomic bool stop;
	_Atomic unsigned int times;
};

static void *knock(void *arg)
{
	struct knock *k = arg;

	while (!k->stop) {
		close(client_of(k->f));
		k->times++;
	}
	return NULL;
}

/* Who connects without end does not have the loop for himself. */
static void knocking_is_no_lock(void **state)
{
	struct fixture *f = *state;
	struct knock k = {.f = f};
	pthread_t threads[4];

	for (size_t i = 0; i < BH_ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, knock, &k), 0);
	}
	for (int i = 0; i < 20; i++) {
		BH_JSON json_t *request = json_pack("{s:s, s:i}", "op", "echo", "say", i);
		BH_JSON json_t *reply = NULL;

		assert_int_equal(bh_ctl_call(f->path, request, 20000, &reply, NULL), 0);
	}
	k.stop = true;
	for (size_t i = 0; i < BH_ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	assert_true(k.times > 0);
}

static void an_answer_that_is_no_text(void **state)
{
	struct fixture *f = *state;
	BH_JSON json_t *request = json_pack("{s:s}", "op", "no-text");
	BH_JSON json_t *reply = NULL;
	struct bh_diag diag = {};

	assert_int_equal(bh_ctl_call(f->path, request, 5000, &reply, &diag), -EREMOTEIO);
	assert_non_null(strstr(diag.text, "can't be written"));
}

static void a_second_server_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bh_ctl_options o = {.path = f->path, .program = "test", .mode = 0600};
	struct bh_ctl_server *second = NULL;
	struct bh_diag diag = {};
	uv_loop_t loop;

	uv_loop_init(&loop);
	assert_int_equal(bh_ctl_server_new(&loop, &o, &second, &diag), -EADDRINUSE);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
}

static void nobody_there(void **state)
{
	BH_JSON json_t *request = json_pack("{s:s}", "op", "ping");
	BH_JSON json_t *reply = NULL;

	assert_int_equal(bh_ctl_call("/nonexistent/s", request, 100, &reply, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_a_call, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_it_does_not_know, setup, teardown),
		cmocka_unit_test_setup_teardown(drops_who_sends_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_server_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(many_lines_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_wait_for_their_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts_off_who_never_reads, setup_short, teardown),
		cmocka_unit_test_setup_teardown(cuts_off_who_drips, setup_short, teardown),
		cmocka_unit_test_setup_teardown(a_user_has_his_share, setup_open, teardown),
		cmocka_unit_test_setup_teardown(knocking_is_no_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_that_is_no_text, setup, teardown),
		cmocka_unit_test(nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
