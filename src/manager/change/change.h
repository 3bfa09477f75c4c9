/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room for changes of policies without fear: what a change would do (whatif.h), drafts
 * (drafts.h), commits that must be confirmed (confirm.h), which rules are hit (hits.h), what flows
 * suggest (suggest.h), policies that are watched before they are in force (monitor.h), and how much
 * a tenant may have (quota.h). This header puts them together; each lives behind its own.
 *
 * Loop thread only, but for what the headers say runs in a worker.
 */
#ifndef BH_MANAGER_CHANGE_CHANGE_H
#define BH_MANAGER_CHANGE_CHANGE_H

#include "manager/distribute/distribute.h"

struct manager_audit;
struct manager_confirm;
struct manager_hits;
struct manager_link;
struct manager_monitors;
struct manager_world;

/* The parts that it works on; all borrowed. */
struct manager_change_options {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_link *link;   /* NULL (tests): hosts are not asked */
	struct manager_audit *audit; /* NULL (tests): nothing is on record */
	const char *talks_path;	     /* of recorded flows; copied */
	uv_loop_t *loop;	     /* NULL (tests): watched policies do not tell by themselves */
};

struct manager_change {
	struct manager_change_options o;
	struct manager_confirm *confirm;
	struct manager_hits *hits;
	struct manager_monitors *monitors;
	unsigned int jobs; /* of workers, under way; api/'s and the monitors' */
	unsigned int maps; /* maps under way, in workers too */
};
/* Loads what the store has. Everything that is in force must be flushed to dist. */
[[nodiscard]] int manager_change_new(const struct manager_change_options *options, uint64_t wall_ns,
				     uint64_t mono_ns, struct manager_change **ret,
				     struct bh_diag *diag);
/* What runs in a worker ends soon; NULL is fine. */
void manager_change_stop(struct manager_change *change);
void manager_change_free(struct manager_change *change); /* NULL is fine */
/* Every second. */
void manager_change_tick(struct manager_change *change, uint64_t wall_ns, uint64_t mono_ns);
/* For a worker: copies of what is in force, and of `after` (may be NULL). Owned. */
struct manager_world *manager_change_world(const struct manager_change *change,
					   const struct bh_policy_set *after);

#endif
