/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's private nats-server: writes its configuration, starts it, watches it, tells it
 * about new hosts. It runs detached and is adopted again after a crash of the manager (pid file,
 * executable and command line are compared), so a restart of the manager does not cut the bus. It
 * ends with bh_bus_server_free(server, true).
 *
 * Rights: user `host.<name>` (from the DNS name in its certificate) may publish to
 * `bh.host.<name>.req` and `bh.ev.<name>` and answer what it was asked, and subscribe to
 * `bh.host.<name>.cmd` and
 * `_INBOX.host.<name>.>`; nothing else. User `manager` has what the manager does.
 *
 * Called on the loop's thread; callbacks run there.
 */
#ifndef BH_BUS_SERVER_H
#define BH_BUS_SERVER_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct bh_bus_server;

typedef void bh_bus_server_fn(struct bh_bus_server *server, bool up, void *arg);

struct bh_bus_server_options {
	const char *dir;     /* made if missing; holds nats.conf, nats.pid, nats.log, jetstream/ */
	const char *listen;  /* "0.0.0.0:4222" or "[::]:4222" */
	const char *ca_file; /* signs the clients' certificates */
	const char *cert_file; /* of the server; must hold BH_BUS_SERVER_NAME (client.h) */
	const char *key_file;
	const char *binary;	    /* NULL: nats-server from PATH */
	uint64_t store_max_bytes;   /* of JetStream on disk; 0: 8 GiB */
	bh_bus_server_fn *on_state; /* may be NULL; up: it answers */
	void *arg;
};

/* Starts or adopts, in the background; on_state tells when it answers. Options are copied. hosts:
 * names that may connect. */
[[nodiscard]] int bh_bus_server_new(uv_loop_t *loop, const struct bh_bus_server_options *options,
				    const char *const *hosts, size_t count,
				    struct bh_bus_server **ret, struct bh_diag *diag);
/* Replaces the list and lets the server reload. Who is connected and still listed stays connected,
 * who is no longer listed is cut off. Effective some milliseconds later. */
[[nodiscard]] int bh_bus_server_set_hosts(struct bh_bus_server *server, const char *const *hosts,
					  size_t count, struct bh_diag *diag);
/* The server reads its certificate anew. */
[[nodiscard]] int bh_bus_server_reload(struct bh_bus_server *server, struct bh_diag *diag);
/* stop: end the process (SIGTERM, after 5 s SIGKILL; waits for it); else leave it running to be
 * adopted. Handles close on the loop: run it once more. NULL is fine. */
void bh_bus_server_free(struct bh_bus_server *server, bool stop);
bool bh_bus_server_up(const struct bh_bus_server *server);
pid_t bh_bus_server_pid(const struct bh_bus_server *server); /* 0: not running */
/* How programs on this machine reach it: "tls://127.0.0.1:4222". Borrowed. */
const char *bh_bus_server_url(const struct bh_bus_server *server);
/* {"up", "pid", "adopted", "starts", "last_error", "listen", "hosts"}; owned. */
json_t *bh_bus_server_dump(const struct bh_bus_server *server);

/* What the nodes of an external cluster include in their configuration: an account with the rights
 * of manager and hosts. Owned text. */
[[nodiscard]] int bh_bus_server_fragment(const char *const *hosts, size_t count, char **ret_text,
					 struct bh_diag *diag);

#endif
