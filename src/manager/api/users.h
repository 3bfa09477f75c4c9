/* SPDX-License-Identifier: Apache-2.0 */
/* Giving roles and changing other people's accounts: who may, in one place (give.c). */
#ifndef BH_MANAGER_API_USERS_H
#define BH_MANAGER_API_USERS_H

#include "manager/api/login.h"

/* A role that somebody is to get. */
struct manager_gift {
	char role[BH_NAME_MAX + 1]; /* "": none */
	uint32_t tenant;	    /* MANAGER_EACH_TENANT: all */
	uint64_t until_ns;	    /* 0: no end */
	bool appointed;		    /* filled by manager_gift_may() */
};
/* "role", "at" (a tenant, "*" for all; default dflt), "hours" of a body; false when it was
 * answered. */
bool manager_gift_take(struct manager_request *req, const json_t *body, const char *dflt,
		       struct manager_gift *ret);
/* Who has role.write there gives what he holds himself, no longer than he holds it; who has
 * role.appoint gives provider roles and tenant-admin. Nobody gives himself anything. user: who gets
 * it. False when it was answered. */
bool manager_gift_may(struct manager_request *req, struct manager_gift *gift, int64_t user);
[[nodiscard]] int manager_gift_give(struct manager_request *req, const struct manager_gift *gift,
				    int64_t user, int64_t *ret_id, struct bh_diag *diag);

/* The user of segment 1 as far as the caller sees him; false when it was answered. */
bool manager_request_other(struct manager_request *req, struct manager_user *ret);
/* May the caller change this account? user.write where it belongs to, it is not his own, and it
 * holds nothing that he does not hold: else its password would be a way to more. False when it was
 * answered. */
bool manager_request_manages(struct manager_request *req, const struct manager_user *u);
/* Name of a tenant's number; "*" for all. */
const char *manager_tenant_name(const struct manager_request *req, uint32_t tenant);

#endif
