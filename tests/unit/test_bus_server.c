/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the private nats-server: adopted, replaced, restarted, never confused with others. */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *const one_host[] = {"h1"};
static const char *const two_hosts[] = {"h1", "h2"};

static char *error_of(const struct bh_bus_server *server)
{
	BH_JSON json_t *dump = bh_bus_server_dump(server);

	return bh_strdup(bh_json_str_or(dump, "last_error", ""));
}

static bool has_error(void *arg)
{
	BH_FREE char *text = error_of(arg);

	return *text != '\0';
}

static bool adopted(const struct bh_bus_server *server)
{
	BH_JSON json_t *dump = bh_bus_server_dump(server);

	return json_is_true(json_object_get(dump, "adopted"));
}

/* As a manager that was killed leaves it, and the next one finds it. */
static void test_adopted(void **state)
{
	struct lab lab;
	struct bh_bus *h1;
	struct bh_bus *h2;
	uint64_t lost = bh_counter_get("bus_disconnects");
	pid_t pid;

	lab_init(&lab);
	lab_server_start(&lab, one_host, 1);
	pid = bh_bus_server_pid(lab.server);
	h1 = lab_client_up(&lab, "host.h1");
	bh_bus_server_free(lab.server, false);
	lab.server = NULL;
	lab_settle(&lab, 100);
	assert_int_equal(kill(pid, 0), 0);
	lab_server_start(&lab, two_hosts, 2); /* also with another list */
	assert_int_equal(bh_bus_server_pid(lab.server), pid);
	assert_true(adopted(lab.server));
	h2 = lab_client_up(&lab, "host.h2");
	assert_true(bh_bus_up(h1));
	assert_int_equal(bh_counter_get("bus_disconnects"), lost);
	/* an adopted one is watched and replaced like a child */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(lab_until(&lab, lab_is_down, h1));
	assert_true(lab_until(&lab, lab_is_up, h1));
	assert_true(bh_bus_server_pid(lab.server) != pid);
	assert_false(adopted(lab.server));
	bh_bus_free(h1);
	bh_bus_free(h2);
	pid = bh_bus_server_pid(lab.server);
	lab_done(&lab);
	assert_int_equal(kill(pid, 0), -1);
}

/* Another address needs another process. */
static void test_replaced(void **state)
{
	struct lab lab;
	struct lab other;
	struct bh_bus *h1;
	pid_t pid;

	lab_init(&lab);
	lab_server_start(&lab, one_host, 1);
	pid = bh_bus_server_pid(lab.server);
	bh_bus_server_free(lab.server, false);
	lab.server = NULL;
	lab_init(&other); /* for its free port */
	memcpy(lab.listen, other.listen, sizeof(lab.listen));
	lab_server_start(&lab, one_host, 1);
	assert_true(bh_bus_server_pid(lab.server) != pid);
	assert_int_equal(waitpid(pid, NULL, 0), pid); /* our child, reaped here */
	h1 = lab_client_up(&lab, "host.h1");
	bh_bus_free(h1);
	lab_done(&other);
	lab_done(&lab);
}

/* The pid file names a process that is not ours: it is left alone. */
static void test_stale_pid_file(void **state)
{
	struct lab lab;
	BH_FREE char *path = NULL;
	BH_FREE char *text = bh_asprintf("%d\n", getpid());

	lab_init(&lab);
	path = bh_asprintf("%s/nats.pid", lab.nats);
	assert_int_equal(bh_mkdirs(lab.nats, 0700, NULL), 0);
	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
	lab_server_start(&lab, one_host, 1);
	assert_false(adopted(lab.server));
	lab_done(&lab);
}

static struct bh_bus_server *start_raw(struct lab *lab, const char *binary)
{
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", lab->pki);
	BH_FREE char *cert = bh_asprintf("%s/bus.crt", lab->pki);
	BH_FREE char *key = bh_asprintf("%s/bus.key", lab->pki);
	struct bh_pki_subject subject = {.name = BH_BUS_SERVER_NAME, .usage = BH_PKI_SERVER};
	struct bh_bus_server_options options = {.dir = lab->nats,
						.listen = lab->listen,
						.ca_file = ca,
						.cert_file = cert,
						.key_file = key,
						.binary = binary};
	struct bh_bus_server *server = NULL;

	assert_int_equal(bh_pki_ensure(lab->ca, lab->pki, "bus", &subject, NULL, NULL), 0);
	assert_int_equal(bh_bus_server_new(&lab->loop, &options, one_host, 1, &server, NULL), 0);
	return server;
}

static void test_address_taken(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	BH_FREE char *text = NULL;
	uint64_t port;
	struct lab lab;

	lab_init(&lab);
	assert_int_equal(bh_parse_u64(strchr(lab.listen, ':') + 1, 1, 65535, &port), 0);
	addr.sin_port = htons((uint16_t)port);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	lab.server = start_raw(&lab, NULL);
	assert_true(lab_until(&lab, has_error, lab.server));
	assert_false(bh_bus_server_up(lab.server));
	text = error_of(lab.server);
	assert_non_null(strstr(text, "address already in use"));
	close(fd); /* and once it is free it comes up by itself */
	bh_bus_server_free(lab.server, true);
	lab.server = NULL;
	lab_server_start(&lab, one_host, 1);
	lab_done(&lab);
}

static void test_no_binary(void **state)
{
	struct lab lab;
	BH_FREE char *text = NULL;

	lab_init(&lab);
	lab.server = start_raw(&lab, "/nonexistent/nats-server");
	assert_true(lab_until(&lab, has_error, lab.server));
	text = error_of(lab.server);
	assert_non_null(strstr(text, "no such file"));
	lab_done(&lab);
}

static void test_bad_options(void **state)
{
	static const char *const listens[] = {
		"", "4222", "localhost:4222", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:x"};
	struct lab lab;
	BH_FREE char *ca = NULL;

	lab_init(&lab);
	ca = bh_asprintf("%s/ca.crt", lab.pki);
	for (size_t i = 0; i < BH_ARRAY_SIZE(listens); i++) {
		struct bh_bus_server_options options = {.dir = lab.nats,
							.listen = listens[i],
							.ca_file = ca,
							.cert_file = ca,
							.key_file = ca};
		struct bh_diag diag = {};
		struct bh_bus_server *server;

		assert_int_equal(bh_bus_server_new(&lab.loop, &options, NULL, 0, &server, &diag),
				 -EINVAL);
		assert_true(*diag.text);
	}
	lab_done(&lab);
}

static void test_fragment(void **state)
{
	BH_FREE char *text = NULL;
	struct bh_diag diag = {};

	assert_int_equal(bh_bus_server_fragment(two_hosts, 2, &text, &diag), 0);
	assert_non_null(strstr(text, "host.h2"));
	assert_non_null(strstr(text, "bh.host.h1.req"));
	assert_non_null(strstr(text, "\"bh.peer.*.h1\"]}, subscribe"));
	assert_non_null(strstr(text, "subscribe: {allow: [\"bh.host.h1.cmd\", \"bh.peer.h1.*\""));
	assert_non_null(strstr(text, "verify_and_map"));
}

/* Certificates are read anew after a reload; clients stay. */
static void test_certificate_renewed(void **state)
{
	static const char *const alts[] = {"127.0.0.1", "10.99.0.1"};
	struct bh_pki_subject subject = {
		.name = BH_BUS_SERVER_NAME, .alts = alts, .alt_count = 2, .usage = BH_PKI_SERVER};
	struct lab lab;
	struct bh_bus *h1;
	bool changed;

	lab_init(&lab);
	lab_server_start(&lab, one_host, 1);
	h1 = lab_client_up(&lab, "host.h1");
	assert_int_equal(bh_pki_ensure(lab.ca, lab.pki, "bus", &subject, &changed, NULL), 0);
	assert_true(changed);
	assert_int_equal(bh_bus_server_reload(lab.server, NULL), 0);
	lab_settle(&lab, 200);
	bh_bus_reconnect(h1);
	assert_true(lab_until(&lab, lab_is_down, h1));
	assert_true(lab_until(&lab, lab_is_up, h1));
	bh_bus_free(h1);
	lab_done(&lab);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adopted),	       cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_stale_pid_file), cmocka_unit_test(test_address_taken),
		cmocka_unit_test(test_no_binary),      cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_fragment),       cmocka_unit_test(test_certificate_renewed),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
