/* SPDX-License-Identifier: Apache-2.0 */
/* A transfer that waits for a server that says nothing ends when it is told to. */
#include "base/util.h"
#include "manager/https.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FOR_EVER_MS 600000L

/* Takes connections and says nothing. */
static int silent_server(char url[64])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	snprintf(url, 64, "https://127.0.0.1:%u/", ntohs(at.sin_port));
	return fd;
}

struct ender {
	int server, stop;
};

/* Once the client is there. */
static void *end_it(void *arg)
{
	const struct ender *e = arg;
	int client = accept(e->server, NULL, NULL);

	assert_true(client >= 0);
	assert_int_equal(eventfd_write(e->stop, 1), 0);
	return (void *)(intptr_t)client;
}

static void test_told_to_end(void **state)
{
	struct ender e = {.stop = eventfd(0, EFD_CLOEXEC)};
	char url[64];
	pthread_t thread;
	void *client;
	CURL *curl;

	e.server = silent_server(url);
	curl = manager_https_new(url, "", FOR_EVER_MS, FOR_EVER_MS);
	assert_non_null(curl);
	assert_int_equal(pthread_create(&thread, NULL, end_it, &e), 0);
	assert_int_equal(manager_https_perform(curl, e.stop), CURLE_ABORTED_BY_CALLBACK);
	pthread_join(thread, &client);
	curl_easy_cleanup(curl);
	/* It stays told: the next one does not begin to wait. */
	curl = manager_https_new(url, "", FOR_EVER_MS, FOR_EVER_MS);
	assert_int_equal(manager_https_perform(curl, e.stop), CURLE_ABORTED_BY_CALLBACK);
	curl_easy_cleanup(curl);
	close((int)(intptr_t)client);
	close(e.server);
	close(e.stop);
}

static void test_what_fails_by_itself(void **state)
{
	int stop = eventfd(0, EFD_CLOEXEC);
	char url[64];
	int server = silent_server(url);
	CURL *curl = manager_https_new(url, "", FOR_EVER_MS, FOR_EVER_MS);

	close(server);
	assert_int_equal(manager_https_perform(curl, stop), CURLE_COULDNT_CONNECT);
	curl_easy_cleanup(curl);
	curl = manager_https_new("http://127.0.0.1/", "", FOR_EVER_MS, FOR_EVER_MS);
	assert_int_equal(manager_https_perform(curl, stop), CURLE_UNSUPPORTED_PROTOCOL);
	curl_easy_cleanup(curl);
	close(stop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_to_end),
		cmocka_unit_test(test_what_fails_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
