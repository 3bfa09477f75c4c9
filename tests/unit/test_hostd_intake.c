/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local program that means ill, against hostd's events.sock: half lines, giant lines, wrong
 * types, floods, answers that are never read, more connections than its share. What it may not tell
 * is in no spool, and the gate beside it is served meanwhile.
 */
#include "base/counter.h"
#include "base/ctl.h"
#include "base/json.h"
#include "base/util.h"
#include "intake_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ANSWER_MS    20000
#define EVENTS	     100
#define MEMBERS_MAX  56 /* of an event: intake.h */
#define SHARE	     16 /* of connections, of a user besides root: base/ctl.h */
#define USER	     "nobody"
#define TIME	     "\"time\":\"2026-11-22T10:00:00.000001Z\""
#define EVENT	     "{" TIME ",\"type\":\"gate.alert\",\"severity\":\"notice\",\"sid\":1}"
#define FORGED	     "{" TIME ",\"type\":\"gate.forged\",\"severity\":\"notice\"}"
#define HAND_IN	     "{\"op\":\"events\",\"events\":[" FORGED "]}\n"
#define ONE(members) "{\"op\":\"events\",\"events\":[{" members "}]}\n"

static int client_of(const struct host *host)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, host->socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		abort();
	}
	return fd;
}

/* One request of so many events, as the gate asks it; how many were taken, < 0 none answered. */
static json_int_t hand_in(const struct host *host, const char *event, unsigned int count)
{
	BH_JSON json_t *request = json_pack("{s:s,s:[]}", "op", "events", "events");
	BH_JSON json_t *reply = NULL;

	for (unsigned int i = 0; i < count; i++) {
		json_array_append_new(json_object_get(request, "events"),
				      json_loads(event, 0, NULL));
	}
	if (bh_ctl_call(host->socket, request, ANSWER_MS, &reply, NULL)) {
		return -1;
	}
	return json_integer_value(json_object_get(reply, "taken"));
}

/* Only what the gate handed in is in the spool. */
static void expect_only_ours(const struct host *host, size_t count)
{
	struct bh_event *events = bh_alloc_array(count + 1, sizeof(*events));
	BH_FREE char *text = NULL;

	assert_int_equal(host_events(host, events, count + 1, &text), count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(events[i].type, "gate.alert");
	}
	free(events);
}

static void test_no_requests(void **state)
{
	static const char *const said[] = {
		"",
		"\n",
		"{",
		"{\"op\":\"events\"",
		"{\"op\":\"events\"}\n",
		"{\"op\":\"events\",\"events\":{\"a\":" FORGED "}}\n",
		"{\"op\":\"events\",\"events\":" FORGED "}\n",
		"{\"op\":\"events\",\"lost\":\"5\",\"events\":[]}\n",
		"{\"op\":\"events\",\"lost\":-1,\"events\":[]}\n",
		"{\"op\":\"events\",\"lost\":2000000000,\"events\":[" FORGED "]}\n",
		"{\"op\":\"events\",\"lost\":1e3,\"events\":[]}\n",
		"{\"op\":\"events\",\"op\":\"ping\",\"events\":[" FORGED "]}\n",
		"{\"op\":[\"events\"],\"events\":[" FORGED "]}\n",
		"[\"events\"]\n",
		"{\"op\":\"events\",\"events\":[1,null,[],\"x\",{}]}\n",
		ONE(TIME ",\"type\":\"vm.started\",\"severity\":\"info\""),
		ONE(TIME ",\"type\":\"gap\",\"severity\":\"info\""),
		ONE(TIME ",\"type\":\"gate.forged\",\"severity\":7"),
		ONE("\"time\":1,\"type\":\"gate.forged\",\"severity\":\"info\""),
		"\xff\xfe\n",
		"GET / HTTP/1.1\r\n\r\n",
	};
	struct host *host = *state;

	host_start(host);
	for (size_t i = 0; i < BH_ARRAY_SIZE(said); i++) {
		int fd = client_of(host);

		assert_int_equal(send(fd, said[i], strlen(said[i]), MSG_NOSIGNAL), strlen(said[i]));
		if (strchr(said[i], '\n')) {
			struct pollfd p = {.fd = fd, .events = POLLIN};

			assert_int_equal(poll(&p, 1, ANSWER_MS), 1);
		}
		close(fd);
	}
	assert_int_equal(hand_in(host, EVENT, EVENTS), EVENTS);
	host_stop(host);
	expect_only_ours(host, EVENTS);
}

/* As large as a request can be, as an event can be, with as many members: what is taken can be read
 * by the manager, what can't is refused and not numbered. */
static void test_at_the_limits(void **state)
{
	BH_FREE char *large = bh_asprintf("%.*s,\"text\":\"%0*d\"}", (int)strlen(EVENT) - 1, EVENT,
					  BH_EVENT_SIZE_MAX, 0);
	struct host *host = *state;
	struct bh_wbuf many;

	host_start(host);
	for (size_t size = BH_EVENT_SIZE_MAX - 600; size < BH_EVENT_SIZE_MAX; size += 16) {
		BH_FREE char *event = bh_asprintf("%.*s,\"text\":\"%0*d\"}", (int)strlen(EVENT) - 1,
						  EVENT, (int)size, 0);

		assert_in_range(hand_in(host, event, 1), 0, 1);
	}
	assert_int_equal(hand_in(host, large, 1), 0);
	for (unsigned int members = 4; members < BH_JTEXT_MEMBERS_MAX + 4; members++) {
		bh_wbuf_init(&many, 0);
		bh_wbuf_put(&many, EVENT, strlen(EVENT) - 1);
		for (unsigned int i = 4; i < members; i++) {
			bh_wbuf_printf(&many, ",\"m%u\":%u", i, i);
		}
		bh_wbuf_str(&many, "}");
		assert_int_equal(hand_in(host, bh_wbuf_cstr(&many), 1), members <= MEMBERS_MAX);
		bh_wbuf_done(&many);
	}
	host_stop(host);
	{
		struct bh_event *events = bh_alloc_array(200, sizeof(*events));
		BH_FREE char *text = NULL;

		assert_in_range(host_events(host, events, 200, &text), 46, 200);
		free(events);
	}
}

/* ---- as a user who may hand in events, in a process of his own ---- */

static void become_user(void)
{
	const struct passwd *user = getpwnam(USER);

	if (!user || setgid(user->pw_gid) || setuid(user->pw_uid)) {
		_exit(1);
	}
}

/* Connections without end; over each that holds, requests whose answers nobody reads, and lines
 * that never end. */
static void attack(const struct host *host)
{
	static char line[8192];
	int fds[4 * SHARE];

	become_user();
	(void)signal(SIGPIPE, SIG_IGN);
	memset(line, 'x', sizeof(line));
	for (size_t i = 0; i < BH_ARRAY_SIZE(fds); i++) {
		fds[i] = client_of(host);
		(void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
	}
	for (unsigned int turn = 0;; turn++) {
		size_t i = turn % BH_ARRAY_SIZE(fds);
		ssize_t n = i % 2 ? send(fds[i], line, sizeof(line), MSG_NOSIGNAL)
				  : send(fds[i], HAND_IN, strlen(HAND_IN), MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN) {
			close(fds[i]);
			fds[i] = client_of(host);
			(void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
		}
	}
}

static pid_t start_attack(const struct host *host)
{
	pid_t pid = fork();

	if (!pid) {
		attack(host);
	}
	return pid;
}

static void end_attack(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status)); /* it was at it until then */
}

static void await(const char *counter, uint64_t more_than)
{
	while (bh_counter_get(counter) <= more_than) {
		usleep(1000);
	}
}

static bool is_root(void)
{
	if (geteuid() == 0 && getpwnam(USER)) {
		return true;
	}
	printf("skip: only root can be %s\n", USER);
	skip();
	return false;
}

/* He is listed: what he tells is taken, but his share is all he has, and the gate is served. */
static void test_attacked_by_a_user(void **state)
{
	uint64_t refused = bh_counter_get("ctl_refused"), cut_off = bh_counter_get("ctl_cut_off");
	uint64_t taken = bh_counter_get("intake_events");
	struct host *host = *state;
	pid_t pids[2];

	if (!is_root()) {
		return;
	}
	host->users[0] = USER;
	host_start(host);
	for (size_t i = 0; i < BH_ARRAY_SIZE(pids); i++) {
		pids[i] = start_attack(host);
	}
	await("ctl_refused", refused + SHARE);
	await("ctl_cut_off", cut_off);
	await("intake_events", taken);
	for (unsigned int i = 0; i < EVENTS; i++) {
		assert_int_equal(hand_in(host, EVENT, 1), 1);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(pids); i++) {
		end_attack(pids[i]);
	}
	host_stop(host);
}

/* He is not listed: nothing of his is even read. */
static void test_attacked_by_a_stranger(void **state)
{
	uint64_t refused = bh_counter_get("ctl_refused"), taken = bh_counter_get("intake_events");
	struct host *host = *state;
	pid_t pid;

	if (!is_root()) {
		return;
	}
	host->users[0] = "daemon";
	host_start(host);
	pid = start_attack(host);
	await("ctl_refused", refused + 100);
	for (unsigned int i = 0; i < EVENTS; i++) {
		assert_int_equal(hand_in(host, EVENT, 1), 1);
	}
	end_attack(pid);
	host_stop(host);
	assert_int_equal(bh_counter_get("intake_events"), taken + EVENTS);
	expect_only_ours(host, EVENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_requests, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_at_the_limits, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_attacked_by_a_user, intake_world_setup,
						intake_world_teardown),
		cmocka_unit_test_setup_teardown(test_attacked_by_a_stranger, intake_world_setup,
						intake_world_teardown),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as hostd does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
