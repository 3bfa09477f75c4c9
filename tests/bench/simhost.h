/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated hosts: each joins the manager over its API with keys of its own, connects to the real
 * bus, says hello and its inventory, and really decodes and applies what it is sent
 * (bh_delta_apply) and answers with the hash of what it then holds. There is no kernel and
 * no libvirt behind it: power and snapshots are what orders made of them (simorders.h). Many share
 * one loop.
 */
#ifndef BH_TESTS_SIMHOST_H
#define BH_TESTS_SIMHOST_H

#include "base/diag.h"

#include <jansson.h>
#include <uv.h>

struct simhosts;

struct simhosts_options {
	uv_loop_t *loop;
	const char *api;    /* unix socket of the manager's API */
	const char *dir;    /* keys and certificates, one folder per host */
	unsigned int first; /* number of the first host */
	unsigned int count;
	unsigned int vms; /* per host */
	unsigned int tenants;
	uint64_t capacity_rows; /* 0: large */
};
/* Joins (once per folder) and connects; blocking for the joins. */
[[nodiscard]] int simhosts_new(const struct simhosts_options *options, struct simhosts **ret,
			       struct bh_diag *diag);
void simhosts_free(struct simhosts *sim);
/* Host `host` (a number from first on) tells an event; members: what it says beyond what every
 * event does, with "type", "severity" and "ago_s" (0 when absent). -ENOENT: no such host; -EINVAL.
 */
[[nodiscard]] int simhosts_tell(struct simhosts *sim, unsigned int host, const json_t *members,
				struct bh_diag *diag);
/* VM `vm` of that host says these members instead of those of the simulated world (simworld.h): its
 * inventory is told anew. -ENOENT. */
[[nodiscard]] int simhosts_change_vm(struct simhosts *sim, unsigned int host, unsigned int vm,
				     const json_t *members, struct bh_diag *diag);
/* What orders of the manager come to on that host from now on (simorders.h). -ENOENT. */
[[nodiscard]] int simhosts_behave(struct simhosts *sim, unsigned int host, const json_t *how,
				  struct bh_diag *diag);
/* VM `vm` of host `from` comes to host `to`, which asks the manager as a host does
 * (docs/migration.md). how: "done"; "copying": its memory never comes to an end; "failed": the
 * target gives up. The manager may refuse all of them. Orders for a VM that has moved are answered,
 * and change nothing. -ENOENT. */
[[nodiscard]] int simhosts_move(struct simhosts *sim, unsigned int from, unsigned int vm,
				unsigned int to, const char *how, struct bh_diag *diag);
/* {"hosts", "connected", "greeted", "applied", "failed", "records"} */
json_t *simhosts_stats(const struct simhosts *sim);

/* One request to the API over the unix socket; *ret_status is the HTTP status. Owned JSON or NULL.
 */
[[nodiscard]] int sim_api(const char *socket, const char *method, const char *path,
			  const char *type, const char *body, long *ret_status, json_t **ret_json);

#endif
