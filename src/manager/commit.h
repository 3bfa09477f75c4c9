/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy commit: check against quotas, commits that wait, and the hosts; one transaction; then in
 * force. All or nothing. Each tenant concerned is told by an event `policy.committed`. Loop thread
 * only.
 */
#ifndef BH_MANAGER_COMMIT_H
#define BH_MANAGER_COMMIT_H

#include "manager/distribute/distribute.h"

#define MANAGER_COMMIT_CAPACITY	   1  /* some hosts are too small: see overflow */
#define MANAGER_COMMIT_UNCONFIRMED 2  /* what it changes waits to be confirmed */
#define MANAGER_COMMIT_QUOTA	   3  /* a tenant would have more than it may */
#define MANAGER_COMMIT_TOLD_MAX	   50 /* policies that an event names */

struct manager_change;

struct manager_commit_request {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_change *change; /* NULL (tests): nothing waits, no quotas */
	const char *author, *summary;
	bool preview;	    /* look at what would change, and leave it */
	uint32_t confirm_s; /* to be confirmed within so long; 0: for good */
	uint32_t undo_of;   /* change/confirm.c's: the revision that it rolls back */
};
struct manager_commit_result {
	bool changed;
	uint32_t revision; /* in force now */
	json_t *changes;   /* owned */
	json_t *overflow;  /* owned; with MANAGER_COMMIT_CAPACITY */
	json_t *hosts;	   /* owned; with preview: what would change there */
};
/* set is taken over. -ENOSPC / -EIO: the store did not take it; -E2BIG: over a limit of the
 * compiler. */
[[nodiscard]] int manager_commit(const struct manager_commit_request *request,
				 struct bh_policy_set *set, struct manager_commit_result *ret,
				 struct bh_diag *diag);
void manager_commit_result_done(struct manager_commit_result *result);

/* Are all changes of one tenant? Then the words of the commit name nobody else. */
bool manager_commit_of_one_tenant(const json_t *changes);

/* The set in force with the documents put in; prune: what else their tenants have goes. Owned. */
struct bh_policy_set *manager_commit_merge(const struct bh_policy_set *current,
					   const struct bh_policy_set *documents, bool prune);

#endif
