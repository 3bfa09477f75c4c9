/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the audit log when a commit that nobody confirmed is rolled back: act
 * `policy.undo` of the manager itself, an entry for each policy with its text before and after.
 * It begins and ends as an act over the API does, with one difference: that a disk is full does not
 * keep a rollback from being done, since its commit is on record with what was agreed. Loop thread
 * only.
 */
#ifndef BH_MANAGER_CHANGE_UNCONFIRMED_H
#define BH_MANAGER_CHANGE_UNCONFIRMED_H

#include "manager/change/change.h"
#include "manager/change/confirm.h"

struct manager_unconfirmed;

/* Before it is rolled back. again: it could not be before, and that is on record: only a success is
 * recorded now. NULL when there is no log (tests). */
struct manager_unconfirmed *manager_unconfirmed_begin(const struct manager_change *change,
						      const struct manager_waiting *waiting,
						      bool again);
/* After it; frees it. problem: why it could not be done, or NULL. NULL is fine. */
void manager_unconfirmed_end(struct manager_unconfirmed *unconfirmed, const char *problem);

#endif
