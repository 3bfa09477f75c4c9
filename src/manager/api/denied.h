/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overreach on record: who tried what he may not becomes an event `access.denied` {user, from,
 * verb, object, method, path, rule, way, count}. At most one per user in ten seconds; the next one
 * says
 * how many were left out. The table of users is bounded, the oldest entry goes. Loop thread only.
 */
#ifndef BH_MANAGER_API_DENIED_H
#define BH_MANAGER_API_DENIED_H

#include "manager/api/request.h"

struct manager_denied;
struct manager_denied *manager_denied_new(void);
void manager_denied_free(struct manager_denied *denied);

/* object: on what; its id may be NULL. */
void manager_denied_tell(struct manager_request *req, enum manager_verb verb,
			 const struct manager_object *object, const struct manager_judgement *j);
/* A request of nobody: event `audit.denied`, one in ten seconds. */
void manager_denied_nobody(struct manager_request *req);

struct manager_denied *manager_api_denied(const struct manager_api *api);
/* What settings say about second factors and second persons. */
struct manager_auth_rules manager_api_rules(const struct manager_api *api, uint64_t now_ns);

#endif
