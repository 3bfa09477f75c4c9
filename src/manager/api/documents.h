/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy documents in the body of a request, and a commit on behalf of one: what apply, check,
 * diff, rollback and drafts share.
 */
#ifndef BH_MANAGER_API_DOCUMENTS_H
#define BH_MANAGER_API_DOCUMENTS_H

#include "manager/api/request.h"
#include "manager/commit.h"

struct manager_documents {
	json_t *owner; /* when they came in JSON */
	const char *text;
	size_t size;
	const char *file, *tenant;
	bool prune;
};
/* Body and parameters; false when it was answered with an error. owner is the caller's in any case.
 */
bool manager_documents_take(struct manager_request *req, struct manager_documents *d);
/* NULL when it was answered with an error. Owned. */
struct bh_policy_set *manager_documents_parse(struct manager_request *req,
					      const struct manager_documents *d);

struct manager_commit_request manager_commit_of(struct manager_request *req, const char *summary,
						bool preview);
/* How a request wants its commit: parameters `wait` and `confirm`. */
struct manager_commit_how {
	const char *summary;
	uint64_t wait_ms;
	uint32_t confirm_s;
};
/* Both parameters; -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_commit_how_take(struct manager_request *req,
					  struct manager_commit_how *ret);
/* applied.c: commits set (taken over) and answers; false when it was refused. */
bool manager_commit_answer(struct manager_request *req, struct bh_policy_set *set,
			   const struct manager_commit_how *how);
/* Rolls back the commit of that revision, which waits to be confirmed, and answers. */
void manager_commit_undo_answer(struct manager_request *req, uint32_t revision, uint64_t wait_ms);
/* Answers what manager_commit() refused. */
void manager_commit_refuse(struct manager_request *req, int r, const struct bh_diag *diag,
			   struct manager_commit_result *result);

/* ---- whose policies a caller sees and may change ---- */
/* Does the caller hold the route's verb at the tenant of this name? */
bool manager_seen_tenant(struct manager_request *req, const char *tenant);
/* Those changes of tenants that the caller sees; *ret_all (may be NULL): that is every one. Owned.
 */
json_t *manager_changes_seen(struct manager_request *req, const json_t *changes, bool *ret_all);
/* manager_request_may() for each tenant of the changes; false: it was answered. */
bool manager_changes_may(struct manager_request *req, enum manager_verb verb,
			 const json_t *changes);
/* The same for each tenant that documents are about. */
bool manager_documents_may(struct manager_request *req, enum manager_verb verb,
			   const struct bh_policy_set *documents);
/* A copy of set with the policies of tenants that the caller sees. Owned. */
struct bh_policy_set *manager_set_seen(struct manager_request *req,
				       const struct bh_policy_set *set);
/* May the caller know hosts by name? */
bool manager_sees_hosts(struct manager_request *req);

/* Puts the lines that differ into each change as `text`. */
void manager_changes_add_texts(json_t *changes, const struct bh_policy_set *from,
			       const struct bh_policy_set *to);

/* diff.c: what set (taken over) in place of the policies in force would do; answers Diff. */
struct manager_preview_how {
	uint64_t days; /* of recorded flows; 0: none are looked at */
};
/* Parameter `days`, over what is there; -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_preview_how_take(struct manager_request *req,
					   struct manager_preview_how *ret);
void manager_preview_answer(struct manager_request *req, struct bh_policy_set *set,
			    const struct manager_preview_how *how);
/* rules.c: puts `hits` and `last_hit` of a rule. */
struct manager_hit;
void manager_hit_put(json_t *obj, const struct manager_hit *hit);
/* The handlers of policies:diff and (explain.c) policies:explain. */
void manager_policies_diff(struct manager_request *req);
void manager_policies_explain(struct manager_request *req);

#endif
