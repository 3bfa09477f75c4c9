/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's own events between the moment when they happen and the one when events.db has them:
 * a file that each is appended to at once, so that a manager that is killed meanwhile tells them
 * when it is back. It is not synced: a machine that loses power can lose the last ones (the audit
 * log does not). Each has a number; events.db keeps the last one that it has, in the same
 * transaction. Loop thread only.
 */
#ifndef BH_MANAGER_EVENTS_OWN_H
#define BH_MANAGER_EVENTS_OWN_H

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

#define MANAGER_OWN_BYTES_MAX (16u << 20) /* what does not fit is in memory only */

struct manager_own;

/* JSON of an event that was not stored. */
typedef void manager_own_fn(const char *text, size_t len, void *arg);

/* stored: the last number that events.db has. What is there behind it is given to fn, in its order,
 * and stays until manager_own_stored(). */
[[nodiscard]] int manager_own_open(const char *path, uint64_t stored, manager_own_fn *fn, void *arg,
				   struct manager_own **ret, struct bh_diag *diag);
void manager_own_close(struct manager_own *own);
/* text: one line. */
void manager_own_add(struct manager_own *own, const char *text, size_t len);
/* The number of the last one. */
uint64_t manager_own_last(const struct manager_own *own);
/* events.db has everything up to this number. */
void manager_own_stored(struct manager_own *own, uint64_t number);

#endif
