/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits that roll back by themselves unless somebody confirms them.
 *
 * Theory of operation
 *   A commit that is to be confirmed is an ordinary revision with a row beside it, written in the
 *   same transaction: until when it waits. It is confirmed, rolled back by somebody, or rolled back
 *   when its time is over; whichever it is goes into that row, so a manager that was killed at any
 *   moment finds after its start what still waits, with the time that is left (none: it is rolled
 *   back before the first host is answered).
 *   Rolling back is a new revision in which the policies that the commit changed are as they were
 *   before it, and all others as they are now: what other tenants committed meanwhile stays. That
 *   is exact because a policy of a commit that waits can't be changed by anything else
 *   (MANAGER_COMMIT_UNCONFIRMED). A roll-back that can't be done now (the tables of a host became
 *   too small, the disk is full) is told once and tried again until it is done.
 *   Time is counted on the monotonic clock; the wall clock only says what is left after a start.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_CHANGE_CONFIRM_H
#define BH_MANAGER_CHANGE_CONFIRM_H

#include "manager/distribute/distribute.h"
#include "manager/store/changes.h"

#define MANAGER_CONFIRM_S_MAX (7 * 86400)
#define MANAGER_WAITING_MAX   100 /* commits that wait at a time, of a tenant */

struct manager_change;
struct manager_commit_request;
struct manager_commit_result;

struct manager_waiting {
	uint32_t revision;
	uint64_t made_ns, until_ns; /* wall clock */
	uint64_t due_ns;	    /* monotonic: rolled back then, or tried again */
	char *author, *summary;
	json_t *changes;		 /* as manager_rulebook_changes() */
	char problem[BH_DIAG_TEXT_SIZE]; /* why it could not be rolled back; "": not tried */
	struct manager_waiting *prev, *next;
};

struct manager_confirm;
[[nodiscard]] int manager_confirm_new(struct manager_change *change, uint64_t wall_ns,
				      uint64_t mono_ns, struct manager_confirm **ret,
				      struct bh_diag *diag);
void manager_confirm_free(struct manager_confirm *confirm);

/* The commit of that revision when it waits, else NULL. Borrowed until the next call. */
const struct manager_waiting *manager_confirm_find(const struct manager_confirm *confirm,
						   uint32_t revision);
/* The commit that waits and changed this policy; NULL when none does. */
const struct manager_waiting *manager_confirm_of(const struct manager_confirm *confirm,
						 const char *tenant, const char *name);

/* It stays. -ENOENT when it does not wait, or what the store says. */
[[nodiscard]] int manager_confirm_accept(struct manager_confirm *confirm, uint32_t revision,
					 const char *who, struct bh_diag *diag);
/* Rolls it back now, as manager_commit(); -ENOENT when it does not wait. */
[[nodiscard]] int manager_confirm_undo(struct manager_confirm *confirm, uint32_t revision,
				       const char *who, struct manager_commit_result *ret,
				       struct bh_diag *diag);
/* Rolls back what is due; every second. */
void manager_confirm_tick(struct manager_confirm *confirm, uint64_t mono_ns);

/* ---- for manager_commit() ---- */
/* May these policies be changed? MANAGER_COMMIT_UNCONFIRMED with words when one of them waits. */
[[nodiscard]] int manager_confirm_check(const struct manager_confirm *confirm,
					const struct manager_commit_request *request,
					const json_t *changes, struct bh_diag *diag);
/* In the transaction of the revision. */
[[nodiscard]] int manager_confirm_write(struct manager_confirm *confirm,
					const struct manager_commit_request *request,
					uint32_t revision, struct bh_diag *diag);
/* After it. */
void manager_confirm_written(struct manager_confirm *confirm,
			     const struct manager_commit_request *request,
			     const struct manager_commit_result *result);

#endif
