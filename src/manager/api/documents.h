/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy documents in the body of a request, and a commit on behalf of one: what apply, check, diff
 * and rollback share.
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
/* Answers what manager_commit() refused. */
void manager_commit_refuse(struct manager_request *req, int r, const struct bh_diag *diag,
			   struct manager_commit_result *result);

/* diff.c: the handler of policies:diff */
void manager_policies_diff(struct manager_request *req);

#endif
