/* SPDX-License-Identifier: Apache-2.0 */
#include "bus_lab.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

unsigned int lab_free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &size), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void lab_remove_tree(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void lab_init(struct lab *lab)
{
	struct bh_diag diag = {};

	memset(lab, 0, sizeof(*lab));
	snprintf(lab->dir, sizeof(lab->dir), "/var/tmp/bh-test-bus-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	snprintf(lab->pki, sizeof(lab->pki), "%s/pki", lab->dir);
	snprintf(lab->nats, sizeof(lab->nats), "%s/nats", lab->dir);
	snprintf(lab->listen, sizeof(lab->listen), "127.0.0.1:%u", lab_free_port());
	assert_int_equal(uv_loop_init(&lab->loop), 0);
	if (bh_pki_ca_open(lab->pki, &lab->ca, &diag)) {
		fail_msg("%s", diag.text);
	}
}

void lab_done(struct lab *lab)
{
	uint64_t end = bh_time_mono_ns() + 5 * BH_NS_PER_S;
	int r;

	bh_bus_server_free(lab->server, true);
	/* after a test that failed there are handles that nobody closes any more */
	while ((r = uv_loop_close(&lab->loop)) == UV_EBUSY && bh_time_mono_ns() < end) {
		uv_run(&lab->loop, UV_RUN_NOWAIT);
	}
	bh_pki_ca_free(lab->ca);
	lab_remove_tree(lab->dir);
	assert_int_equal(r, 0);
}

static bool server_is_up(void *arg)
{
	return bh_bus_server_up(arg);
}

/* The server is made to outlive who starts it; that of a test that fails or is killed must not. */
static char *mortal_server(const struct lab *lab)
{
	static const char script[] =
		"#!/bin/sh\n"
		"PATH=$PATH:/usr/sbin exec setpriv --pdeathsig KILL nats-server \"$@\"\n";
	char *path = bh_asprintf("%s/nats-server", lab->dir);

	assert_int_equal(bh_file_replace(path, script, strlen(script), 0700, NULL), 0);
	return path;
}

void lab_server_start(struct lab *lab, const char *const *hosts, size_t count)
{
	static const char *const alts[] = {"127.0.0.1"};
	struct bh_pki_subject subject = {
		.name = BH_BUS_SERVER_NAME, .alts = alts, .alt_count = 1, .usage = BH_PKI_SERVER};
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", lab->pki);
	BH_FREE char *cert = bh_asprintf("%s/bus.crt", lab->pki);
	BH_FREE char *key = bh_asprintf("%s/bus.key", lab->pki);
	BH_FREE char *binary = mortal_server(lab);
	struct bh_bus_server_options options = {.dir = lab->nats,
						.listen = lab->listen,
						.ca_file = ca,
						.cert_file = cert,
						.key_file = key,
						.binary = binary,
						.store_max_bytes = 1ull << 30};
	struct bh_diag diag = {};

	if (bh_pki_ensure(lab->ca, lab->pki, "bus", &subject, NULL, &diag) ||
	    bh_bus_server_new(&lab->loop, &options, hosts, count, &lab->server, &diag)) {
		fail_msg("%s", diag.text);
	}
	if (!lab_until(lab, server_is_up, lab->server)) {
		BH_JSON json_t *dump = bh_bus_server_dump(lab->server);
		BH_FREE char *text = json_dumps(dump, 0);

		fail_msg("nats-server does not come up: %s", text);
	}
}

struct bh_bus *lab_client(struct lab *lab, const char *who)
{
	struct bh_pki_subject subject = {.name = who, .usage = BH_PKI_CLIENT};
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", lab->pki);
	BH_FREE char *cert = bh_asprintf("%s/%s.crt", lab->pki, who);
	BH_FREE char *key = bh_asprintf("%s/%s.key", lab->pki, who);
	BH_FREE char *url = lab->urls ? bh_strdup(lab->urls) : bh_asprintf("tls://%s", lab->listen);
	char inbox[BH_SUBJECT_SIZE];
	struct bh_bus_options options = {
		.urls = url, .name = who, .ca_file = ca, .cert_file = cert, .key_file = key};
	struct bh_bus *bus = NULL;
	struct bh_diag diag = {};

	options.inbox = strncmp(who, "host.", 5) ? BH_SUBJECT_MANAGER_INBOX
						 : bh_subject_inbox(who + 5, inbox);
	if (bh_pki_ensure(lab->ca, lab->pki, who, &subject, NULL, &diag) ||
	    bh_bus_new(&lab->loop, &options, &bus, &diag)) {
		fail_msg("%s", diag.text);
	}
	return bus;
}

struct bh_bus *lab_client_up(struct lab *lab, const char *who)
{
	struct bh_bus *bus = lab_client(lab, who);

	if (!lab_until(lab, lab_is_up, bus)) {
		fail_msg("%s does not come up: %s", who, bh_bus_last_error(bus));
	}
	return bus;
}

bool lab_is_up(void *bus)
{
	return bh_bus_up(bus);
}

bool lab_is_down(void *bus)
{
	return !bh_bus_up(bus);
}

static void on_tick(uv_timer_t *timer)
{
}

bool lab_until(struct lab *lab, lab_condition *condition, void *arg)
{
	uint64_t end = bh_time_mono_ns() + LAB_WAIT_MS * BH_NS_PER_MS;
	uv_timer_t tick;

	/* so that a turn of the loop ends and the limit is seen; conditions are looked at after
	 * each */
	uv_timer_init(&lab->loop, &tick);
	uv_timer_start(&tick, on_tick, 20, 20);
	while (!condition(arg) && bh_time_mono_ns() < end) {
		uv_run(&lab->loop, UV_RUN_ONCE);
	}
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&lab->loop, UV_RUN_NOWAIT);
	return condition(arg);
}

static bool never(void *arg)
{
	return bh_time_mono_ns() >= *(uint64_t *)arg;
}

void lab_settle(struct lab *lab, unsigned int ms)
{
	uint64_t end = bh_time_mono_ns() + ms * BH_NS_PER_MS;

	(void)lab_until(lab, never, &end);
}
