/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts that come together wait for the disk together.
 *
 * Theory of operation
 *   An act whose body has come joins the next batch and its connection sleeps. Once per turn of the
 *   loop, when all that was readable has been read, the beginnings of all that have joined and the
 *   ends of the turn before are written in one transaction of the audit log. Then the answers that
 *   waited for those ends go out, and the handlers of the new acts run; their ends wait for the
 *   next turn. So n acts at once cost two waits for the log, not 2 n, and one alone costs what it
 *   did. Handlers still commit bulkhead.db one by one.
 *
 *   No answer goes out while any end waits, also one of a request that only read: it could tell of
 *   what is not on record yet. Whoever dies in between has told nobody.
 *
 * Who may is asked when the headers of a request are there, as for every request; the turn that an
 * act waits is no longer than its body could have taken. Loop thread only.
 */
#ifndef BH_MANAGER_API_BATCH_H
#define BH_MANAGER_API_BATCH_H

#include "manager/api/request.h"

#define MANAGER_BATCH_MAX 64 /* acts of a turn: the loop has other work too */

struct manager_batch;

struct manager_batch *manager_batch_new(const struct manager_parts *parts);
/* Lets every answer out that waits; nothing joins any more. Its handle closes on the loop. */
void manager_batch_close(struct manager_batch *batch);
struct manager_batch *manager_api_batch(const struct manager_api *api);

/* Its handler runs in the next turn. */
void manager_batch_join(struct manager_request *req);
/* Its answer is there. True: it goes out later. */
bool manager_batch_holds(struct manager_request *req);
/* The request is over. */
void manager_batch_leave(struct manager_request *req);
/* An end waits. */
void manager_batch_wake(struct manager_api *api);

#endif
