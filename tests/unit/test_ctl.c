/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a server on a loop of its own thread, blocking clients against it. */
#include "base/ctl.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

struct fixture {
	uv_loop_t loop;
	uv_async_t stop;
	pthread_t thread;
	struct bh_ctl_server *server;
	char folder[32];
	char path[64];
};

static void on_echo(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_pack("{s:O}", "said", json_object_get(request, "say")));
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

static int setup(void **state)
{
	struct fixture *f = bh_alloc(sizeof(*f));
	struct bh_ctl_options o = {.program = "test", .mode = 0600, .root_only = true};

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
	pthread_create(&f->thread, NULL, run, f);
	*state = f;
	return 0;
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

static void drops_who_sends_too_much(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	BH_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char junk[4096];

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	memset(junk, 'x', sizeof(junk));
	for (int i = 0; i < 1000; i++) {
		if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0) {
			return; /* closed on us, as it should be */
		}
	}
	fail_msg("the server took 4 MB without a newline");
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
		cmocka_unit_test(nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
