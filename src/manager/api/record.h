/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request leaves in the audit log. A route with API_AUDIT has an entry `begun` before its
 * handler runs and its end before the answer goes out (batch.h); with API_AUDIT_AFTER only the end,
 * limited when it failed (logins: anybody can make them fail); with API_AUDIT_READ an end that is
 * limited and does not keep a reader from reading. Handlers say what they changed with
 * manager_request_changed(); with several tenants each gets its own entry.
 */
#ifndef BH_MANAGER_API_RECORD_H
#define BH_MANAGER_API_RECORD_H

#include "manager/api/request.h"

/* Before the handler: does the act need an entry `begun`? Then it joins a batch (batch.h). */
bool manager_record_begins(struct manager_request *req);
/* These begin, with one wait for the disk. Answers all of them when they can't: none is done. */
void manager_record_begin(struct manager_request *const *reqs, size_t count);
/* With the answer. It goes out when the entry is on disk (batch.h). error: what it says when it is
 * one, may be NULL. */
void manager_record_end(struct manager_request *req, unsigned int status, const char *error);
/* What a commit changed, policy by policy: each in its tenant's chain, with its text before and
 * after. changes: of struct manager_commit_result; was: the set before. */
void manager_record_policies(struct manager_request *req, const json_t *changes,
			     const struct bh_policy_set *was);
/* The request is over; an act without an answer gets its end here. */
void manager_record_done(struct manager_request *req);
/* The caller may not: stands in the chain of his own tenant and of the one whose thing it is, as
 * far as he sees it; what is hidden from him in the provider's only. object: its id may be NULL. */
void manager_record_denied(struct manager_request *req, enum manager_verb verb,
			   const struct manager_object *object, const struct manager_judgement *j);

#endif
