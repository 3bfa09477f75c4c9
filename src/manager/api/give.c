/* SPDX-License-Identifier: Apache-2.0 */
/* Who may give which role to whom, and who may change whose account (users.h). */
#include "manager/api/users.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define HOURS_MAX (24 * 3660)

const char *manager_tenant_name(const struct manager_request *req, uint32_t tenant)
{
	const struct manager_tenant *t = manager_tenant_at(req->parts->inv, tenant);

	return tenant == MANAGER_EACH_TENANT ? "*" : t ? t->name : "(gone)";
}

bool manager_gift_take(struct manager_request *req, const json_t *body, const char *dflt,
		       struct manager_gift *ret)
{
	char at[BH_NAME_MAX + 1];
	struct bh_diag diag = {};
	uint64_t hours = 0;

	memset(ret, 0, sizeof(*ret));
	if (!manager_request_text(req, body, "role", ret->role, sizeof(ret->role), "") ||
	    !manager_request_text(req, body, "at", at, sizeof(at), dflt)) {
		return false;
	}
	if (json_object_get(body, "hours") &&
	    (bh_json_u64(body, "hours", HOURS_MAX, &hours, &diag) < 0 || !hours)) {
		manager_reply_errorf(req, 400, "bad_request", "'hours' must be from 1 to %d",
				     HOURS_MAX);
		return false;
	}
	ret->until_ns = hours ? bh_time_wall_ns() + hours * 3600 * BH_NS_PER_S : 0;
	if (strcmp(at, "*") == 0) {
		ret->tenant = MANAGER_EACH_TENANT;
		return true;
	}
	ret->tenant = manager_request_tenant(req, at);
	if (!ret->tenant || !manager_request_holds(req, VERB_TENANT_READ, ret->tenant)) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", at);
		return false;
	}
	return true;
}

/* Are these held at all that the role reaches, until it ends? */
static bool holds_all_of(struct manager_request *req, const struct manager_gift *g,
			 uint64_t at_provider, uint64_t at_tenant)
{
	const struct manager_principal *p = &req->principal;
	uint64_t end = g->until_ns ? g->until_ns - 1 : UINT64_MAX - 1;
	bool good = true;

	if (g->tenant == MANAGER_EACH_TENANT || g->tenant == MANAGER_PROVIDER) {
		good = manager_may_delegate(p, at_provider, MANAGER_PROVIDER, end);
	}
	if (g->tenant != MANAGER_PROVIDER) {
		good = good && manager_may_delegate(p, at_tenant, g->tenant, end);
	}
	return good;
}

/* A right that is used on all that a role reaches. */
static bool may_there(struct manager_request *req, enum manager_verb verb, uint32_t tenant)
{
	if (tenant == MANAGER_EACH_TENANT &&
	    !manager_request_may(req, verb, MANAGER_PROVIDER, NULL)) {
		return false;
	}
	return manager_request_may(req, verb, tenant, NULL);
}

bool manager_gift_may(struct manager_request *req, struct manager_gift *g, int64_t user)
{
	const struct manager_role *role = manager_role_find(g->role);
	uint64_t at_provider = 0, at_tenant = 0, now = bh_time_wall_ns();
	bool appoints;

	if (manager_role_rights(req->parts->accounts, g->role, g->tenant, now, &at_provider,
				&at_tenant) < 0) {
		manager_reply_errorf(req, 400, "bad_request", "there is no role '%.64s' there",
				     g->role);
		return false;
	}
	if (role && !role->provider && g->tenant == MANAGER_EACH_TENANT) {
		manager_reply_errorf(req, 400, "bad_request",
				     "%s is given at one tenant, not at all", g->role);
		return false;
	}
	if (req->principal.via == MANAGER_VIA_ROOT) {
		req->asked = true;
		g->appointed = true;
		return true;
	}
	if (user && user == req->principal.user) {
		manager_reply_errorf(req, 403, "forbidden", "nobody gives himself a role");
		return false;
	}
	if (holds_all_of(req, g, at_provider, at_tenant) &&
	    holds_all_of(req, g, MANAGER_RIGHT(VERB_ROLE_WRITE), MANAGER_RIGHT(VERB_ROLE_WRITE))) {
		return may_there(req, VERB_ROLE_WRITE, g->tenant);
	}
	appoints = role && manager_role_appointed(role) &&
		   holds_all_of(req, g, MANAGER_RIGHT(VERB_ROLE_APPOINT),
				MANAGER_RIGHT(VERB_ROLE_APPOINT));
	if (!appoints) {
		manager_reply_errorf(req, 403, "forbidden",
				     "you can't give %s there: nobody hands on what he does not "
				     "hold (role.write), and role.appoint is for provider roles "
				     "and tenant-admin",
				     g->role);
		return false;
	}
	g->appointed = true;
	return may_there(req, VERB_ROLE_APPOINT, g->tenant);
}

int manager_gift_give(struct manager_request *req, const struct manager_gift *g, int64_t user,
		      int64_t *ret_id, struct bh_diag *diag)
{
	struct manager_store_given row = {.user = user,
					  .role = g->role,
					  .tenant = g->tenant,
					  .until_ns = g->until_ns,
					  .appointed = g->appointed,
					  .by = req->who,
					  .since_ns = bh_time_wall_ns()};

	return manager_store_add_given(req->parts->db, &row, ret_id, diag);
}

/* ---- other people's accounts ---- */

bool manager_request_other(struct manager_request *req, struct manager_user *ret)
{
	if (manager_user_get(req->parts->accounts, req->segments[1], 0, ret) == 0 &&
	    manager_request_holds(req, VERB_USER_READ, ret->tenant)) {
		return true;
	}
	req->asked = true;
	manager_reply_errorf(req, 404, "not_found", "no user '%.100s'", req->segments[1]);
	return false;
}

bool manager_request_manages(struct manager_request *req, const struct manager_user *u)
{
	struct manager_principal target = {};
	uint64_t now = bh_time_wall_ns();
	bool more = false;
	int r;

	if (!manager_request_may(req, VERB_USER_WRITE, u->tenant, u->name)) {
		return false;
	}
	if (req->principal.via == MANAGER_VIA_ROOT) {
		return true;
	}
	if (u->id == req->principal.user) {
		manager_reply_errorf(req, 403, "forbidden", "your own account is at /v1/me");
		return false;
	}
	/* One who is disabled holds nothing now, and may hold it again later. */
	r = manager_user_holdings(req->parts->accounts, u->id, now, &target);
	bh_vec_foreach (h, &target.holdings) {
		more |= !manager_may_delegate(&req->principal, h->rights, h->tenant, now);
	}
	manager_principal_done(&target);
	if (r < 0 || more) {
		manager_reply_errorf(req, 403, "forbidden",
				     "%.100s holds what you don't: another administrator of his "
				     "has to do this",
				     u->name);
		return false;
	}
	return true;
}
