/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many flow events of a tenant are kept: one tenant must not push everybody's events out.
 *
 * Theory of operation
 *   A tenant has a bucket for as many events as its quota for an hour is, which fills up within an
 *   hour. Each `flow.*` event takes one out of the bucket of whoever began the flow: the tenant of
 *   its source, of its destination when the source is nobody's VM. When the bucket is empty the
 *   event is not kept; it is counted here by who paid for it and who is at the other end, and
 *   written with the batch in one transaction (table left_out), so a kill forgets none of them and
 *   counts none twice. Once in MANAGER_RATION_TELL_S each tenant concerned is told by an event
 *   `quota.events` how many were left out, and the counts go in the transaction that has it.
 *   The provider has no quota. What is staged by a batch that could not be written is taken back.
 *
 * Loop thread; the worker while a batch is written (manager_ration_write()).
 */
#ifndef BH_MANAGER_EVENTS_RATION_H
#define BH_MANAGER_EVENTS_RATION_H

#include "manager/store/db.h"

#include <jansson.h>

#define MANAGER_RATION_TELL_S	 60
#define MANAGER_RATION_WINDOW_S	 3600
#define MANAGER_RATION_PAIRS_MAX 1000 /* more: who is at the other end is not kept */

/* Events in an hour that this tenant may have. */
typedef uint64_t manager_ration_fn(uint32_t tenant, void *arg);

struct manager_ration;
struct manager_ration *manager_ration_new(manager_ration_fn *quota, void *arg);
void manager_ration_free(struct manager_ration *ration); /* NULL is fine */
/* What was left out before the manager ended, and not told. */
[[nodiscard]] int manager_ration_load(struct manager_ration *ration, struct manager_db *db,
				      struct bh_diag *diag);

struct manager_ration_flow {
	uint32_t src, dst; /* tenants of the ends; 0: none */
	uint64_t wall_ns, mono_ns;
};
/* Is there room? If not it is counted. In the batch that is begun. */
bool manager_ration_take(struct manager_ration *ration, const struct manager_ration_flow *flow);

/* One for each tenant concerned. own: by its own quota, which is `limit`; else by that of whoever
 * was at the other end. */
struct manager_ration_left {
	uint32_t tenant;
	bool own;
	uint64_t count, limit;
	uint64_t since_ns; /* wall clock */
};
typedef void manager_ration_tell_fn(const struct manager_ration_left *left, void *arg);
/* The event about it; tenant: its name, NULL when it is gone. Owned. */
json_t *manager_ration_event(const struct manager_ration_left *left, const char *tenant);
/* When it is time, and none was told that is not written yet: tells. They are written by the next
 * batch with manager_ration_write(). */
void manager_ration_tell(struct manager_ration *ration, uint64_t mono_ns,
			 manager_ration_tell_fn *fn, void *arg);

/* In the transaction of the batch, by the worker. */
[[nodiscard]] int manager_ration_write(struct manager_ration *ration, struct manager_db *db,
				       struct bh_diag *diag);
/* The batch is written, or not. */
void manager_ration_settle(struct manager_ration *ration, bool ok);

#endif
