/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker needs to judge recorded flows: copies of who is there and of the policies, so that
 * it touches nothing of the loop's. Made and freed on the loop thread (documents count their
 * references without a lock); in between it belongs to one worker.
 *
 * Talks speak of identities of days ago. One that no VM has any more is looked up in the store when
 * it turns up; what nobody knows any more is counted, not judged.
 */
#ifndef BH_MANAGER_CHANGE_WORLD_H
#define BH_MANAGER_CHANGE_WORLD_H

#include "manager/distribute/distribute.h"
#include "manager/events/talks.h"
#include "policy/eval.h"

struct manager_world {
	struct bh_policy_universe *universe;
	struct bh_policy_set *sets[2]; /* before and after; the second may be NULL */
	enum bh_policy_action provider_default;
	char *db_path, *talks_path;
	/* the worker's */
	struct bh_policy_compiler *compilers[2];
	struct bh_policy_asker *askers[2];
	struct manager_db *db;
	struct manager_known *known; /* identities that were looked up */
};

struct manager_world_options {
	struct manager_distribute *dist;
	const struct bh_policy_set *before, *after; /* copied; after may be NULL */
	const char *db_path, *talks_path;	    /* ":memory:" (tests): nothing is looked up */
};
struct manager_world *manager_world_new(const struct manager_world_options *options);
void manager_world_free(struct manager_world *world); /* NULL is fine */

/* ---- in the worker ---- */
/* Compilers and askers are there afterwards; once is enough. */
void manager_world_prepare(struct manager_world *world);
/* The same for sets[1] alone, which the worker has put there: documents of its own. */
void manager_world_prepare_after(struct manager_world *world);
/* Is the identity known, now or from the store? */
bool manager_world_knows(struct manager_world *world, uint32_t identity);

/* A connection as the documents see it. */
struct manager_question {
	struct bh_policy_end src, dst;
	struct bh_policy_service service;
};
/* From a talk; false when it is not to be judged: no IP, an overflow row, or the other NIC of a
 * connection between two VMs, which is told by its sender. */
bool manager_question_of(const struct manager_talk *talk, struct manager_question *ret);
/* At both ends, whichever of them are VMs: egress at the source, then ingress at the destination;
 * *ret is of the one that decided. which: 0 before, 1 after. -ENOENT for an unknown identity. */
[[nodiscard]] int manager_world_judge(struct manager_world *world, int which,
				      const struct manager_question *question,
				      struct bh_policy_verdict *ret);

#define MANAGER_IDENTITY_FIRST 256

#endif
