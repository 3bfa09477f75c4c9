/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever is removed leaves the users and roles that he made to his own maker, who may hold more
 * than he does by now: then people would get back what was taken from them with him. Found out by
 * doing it, in a transaction that comes to nothing.
 */
#include "manager/auth/accounts.h"

#include "base/time.h"

#include <errno.h>

struct child {
	int64_t id;
	char name[MANAGER_USER_MAX + 1];
	struct manager_principal before;
};

struct leaving {
	int64_t user;
	const struct manager_principal *holds;
	BH_VEC(struct child) children;
	char who[MANAGER_USER_MAX + 1]; /* gets something; "": nobody yet */
};

static int add_child(const struct manager_store_user *row, void *arg)
{
	struct leaving *l = arg;

	if (row->maker == l->user) {
		struct child *c = bh_vec_push(&l->children);

		c->id = row->id;
		snprintf(c->name, sizeof(c->name), "%s", row->name);
	}
	return 0;
}

/* Whoever has this role has no more of it than its maker holds. */
static int look_at_role(const struct manager_store_role *row, void *arg)
{
	struct leaving *l = arg;
	uint64_t rights = 0;

	if (row->maker == l->user && manager_rights_parse(row->rights, true, &rights, NULL) == 0 &&
	    !manager_may_delegate(l->holds, rights, row->tenant, UINT64_MAX - 1)) {
		snprintf(l->who, sizeof(l->who), "who has role %s", row->name);
	}
	return 0;
}

static bool gains(const struct manager_principal *before, const struct manager_principal *after)
{
	bh_vec_foreach (h, &after->holdings) {
		uint64_t end = h->until_ns ? h->until_ns - 1 : UINT64_MAX - 1;

		if (!manager_may_delegate(before, h->rights, h->tenant, end)) {
			return true;
		}
	}
	return false;
}

static int look_at_children(struct manager_accounts *a, struct leaving *l, uint64_t now_ns)
{
	int r = 0;

	bh_vec_foreach (c, &l->children) {
		struct manager_principal after = {};

		r = r < 0 ? r : manager_user_holdings(a, c->id, now_ns, &after);
		if (r == 0 && gains(&c->before, &after)) {
			snprintf(l->who, sizeof(l->who), "%s", c->name);
		}
		manager_principal_done(&after);
	}
	return r;
}

static int try(struct manager_accounts *a, struct leaving *l, uint64_t now_ns, struct bh_diag *diag)
{
	struct manager_db *db = manager_accounts_db(a);
	int r = 0;

	bh_vec_foreach (c, &l->children) {
		r = r < 0 ? r : manager_user_holdings(a, c->id, now_ns, &c->before);
	}
	r = r < 0 ? r : manager_store_roles(db, 0, NULL, look_at_role, l, diag);
	r = r < 0 ? r : manager_db_begin(db, diag);
	if (r < 0) {
		return r;
	}
	r = manager_store_leave_users(db, l->user, diag);
	r = r < 0 ? r : look_at_children(a, l, now_ns);
	manager_db_abort(db);
	return r;
}

int manager_user_may_leave(struct manager_accounts *a, int64_t user, uint64_t now_ns,
			   struct bh_diag *diag)
{
	struct manager_principal holds = {};
	struct leaving l = {.user = user, .holds = &holds};
	int r = manager_user_holdings(a, user, now_ns, &holds);

	r = r < 0 ? r : manager_store_users(manager_accounts_db(a), add_child, &l, diag);
	r = r < 0 ? r : try(a, &l, now_ns, diag);
	if (r == 0 && *l.who) {
		r = bh_diag_set(diag, -EBUSY,
				"%s would get rights that were lost with this user, or would be: "
				"take these roles first",
				l.who);
	}
	bh_vec_foreach (c, &l.children) {
		manager_principal_done(&c->before);
	}
	bh_vec_done(&l.children);
	manager_principal_done(&holds);
	return r;
}
