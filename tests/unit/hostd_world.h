/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for tests of the whole access engine: a bus, a manager played by this file, the
 * real kernel dataplane and a dummy platform, in network and mount namespaces of its own. br0 is
 * the bridge, dl0 its uplink, odd0 a port that nobody knows. The bus knows a host h2, too
 * (DIR/pki/h2.crt and .key), which only tests play. One world per process. Needs root, BPF
 * and nats-server.
 */
#ifndef TESTS_HOSTD_WORLD_H
#define TESTS_HOSTD_WORLD_H

#include "bus/client.h"
#include "bus/pki_sign.h"
#include "bus/server.h"
#include "host/agent/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define WORLD_VM  "00000000-0000-4000-9000-000000000001"
#define WORLD_MAC "52:54:00:00:00:01"

struct world {
	char dir[64];
	uv_loop_t loop;
	struct bh_bus_server *server;
	struct bh_bus *bus; /* the manager's */
	struct hostd_config config;
	struct hostd_agent *agent;
	/* Sees each request first; true: it has answered. NULL: none. */
	bool (*manager)(struct bh_bus_request *req, const struct bh_bus_msg *msg);
	bool manager_mute;    /* does not answer */
	bool manager_forgets; /* refuses the next inventory: it knows another session */

	unsigned int hellos, inventories, births;
	json_t *inventory;		 /* the last one */
	char hash[2 * BH_HASH_SIZE + 1]; /* of the last apply's answer */
	char code[64];
	bool answered;
	uint64_t need_rows;	/* of a refused one */
	struct bh_image *image; /* what the host should hold */
	json_t *ctl_reply;
	bool ctl_done;
};
extern struct world w;

/* Runs the tests with a world; the exit status, 77 (skipped) where it can't be had. */
int world_run(const char *name, const struct CMUnitTest *tests, size_t count);

void world_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_write(const char *path, const char *text);
typedef bool world_condition(void);
/* Runs the loop until the condition holds; fails after a while. */
void world_wait(world_condition *fn, const char *what);
bool world_session_up(void);
/* The manager comes (the world begins with it), and goes: nobody answers then. */
void world_manager_open(void);
void world_manager_close(void);

/* Host h2 on the bus: serves what h1 asks it, and has its key and certificate. The caller's. */
void world_peer_open(bh_bus_serve_fn *serve, struct bh_bus **ret_bus,
		     struct bh_pki_signer **ret_signer, char **ret_cert, size_t *ret_cert_size);

/* An image with one VM: its NIC, an address, and a set that allows everything. */
struct bh_image *world_image(uint32_t identity, bool with_vm);
/* Sends the delta from `from` (NULL: nothing) to `to`, which it takes over. */
void world_apply(const struct bh_image *from, struct bh_image *to);
/* The same in two: the answer to the last part is waited for by _end only. */
void world_apply_begin(const struct bh_image *from, const struct bh_image *to);
void world_apply_end(struct bh_image *to);

/* The VM, on tap0 and br0. Owned. */
char *world_domain(const char *birth);
void world_start(void);
void world_stop(void);
/* Takes all of Bulkhead out of the kernel; nothing runs then. */
void world_detach(void);
/* Asks the control socket as the hook does, from another thread. Borrowed until the next call. */
const json_t *world_call(json_t *request);
/* The same in two: whatever runs the loop in between goes on meanwhile. */
void world_call_begin(json_t *request);
bool world_call_done(void);
const json_t *world_call_end(void);
const json_t *world_birth(const char *how);
/* Of the VM's NIC: as the manager was told last, and as the kernel has it. */
const char *world_nic_reason(void);
bool world_nic_protected(void);
struct hostd_dp_nic_status world_nic_status(void);
bool world_nic_fed(void);

#endif
