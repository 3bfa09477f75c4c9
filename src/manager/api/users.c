/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/users. */
#include "manager/api/users.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

/* ---- showing ---- */

struct roles {
	struct manager_request *req;
	json_t *list;
};

static int add_role(const struct manager_store_given *g, void *arg)
{
	struct roles *r = arg;
	uint32_t at = g->tenant == MANAGER_EACH_TENANT ? MANAGER_PROVIDER : g->tenant;

	if (!manager_request_holds(r->req, VERB_USER_READ, at)) {
		return 0; /* what a user of ours is elsewhere is not ours to know */
	}
	json_array_append_new(r->list, json_pack("{s:I, s:s, s:s, s:o, s:b, s:s, s:o}", "id",
						 (json_int_t)g->id, "role", g->role, "tenant",
						 manager_tenant_name(r->req, g->tenant), "until",
						 bh_json_time_or_null(g->until_ns), "appointed",
						 g->appointed, "by", g->by, "since",
						 bh_json_time_or_null(g->since_ns)));
	return 0;
}

static json_t *user_json(struct manager_request *req, const struct manager_user *u)
{
	struct roles roles = {.req = req, .list = json_array()};
	struct manager_user maker = {};
	const char *by = "root";

	if (u->maker) {
		bool shown = manager_user_get(req->parts->accounts, NULL, u->maker, &maker) == 0 &&
			     manager_request_holds(req, VERB_USER_READ, maker.tenant);

		by = shown ? maker.name : "the provider";
	}
	(void)!manager_store_givens(req->parts->db, u->id, add_role, &roles, NULL);
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:s, s:o}", "name", u->name,
			 "display", u->display, "tenant", manager_tenant_name(req, u->tenant),
			 "locale", u->locale, "disabled", u->disabled, "must_change",
			 u->must_change, "second_factor", manager_factor_has(u), "created",
			 bh_json_time_or_null(u->created_ns), "last_login",
			 bh_json_time_or_null(u->login_ns), "made_by", by, "roles", roles.list);
}

struct ids {
	BH_VEC(int64_t) list;
};

static int add_id(const struct manager_store_user *row, void *arg)
{
	*bh_vec_push(&((struct ids *)arg)->list) = row->id;
	return 0;
}

static void list_users(struct manager_request *req)
{
	const char *tenant = manager_request_query(req, "tenant");
	struct manager_page page;
	struct bh_diag diag = {};
	struct ids ids = {};

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	if (manager_store_users(req->parts->db, add_id, &ids, &diag) < 0) {
		manager_page_drop(&page);
		bh_vec_done(&ids.list);
		manager_reply_failed(req, -EIO, &diag);
		return;
	}
	bh_vec_foreach (id, &ids.list) {
		struct manager_user u;

		if (manager_user_get(req->parts->accounts, NULL, *id, &u) == 0 &&
		    manager_request_sees(req, u.tenant) &&
		    (!tenant || strcmp(tenant, manager_tenant_name(req, u.tenant)) == 0) &&
		    manager_page_takes(&page)) {
			manager_page_put(&page, user_json(req, &u));
		}
	}
	bh_vec_done(&ids.list);
	manager_page_reply(req, &page, NULL);
}

static void get_user(struct manager_request *req)
{
	struct manager_user u;

	if (manager_request_other(req, &u)) {
		manager_reply(req, 200, user_json(req, &u));
	}
}

/* ---- for the record ---- */

/* What is his own, and nothing of what he is elsewhere: his tenant reads this. */
static json_t *record_json(const struct manager_user *u)
{
	return json_pack("{s:s, s:s, s:b}", "display", u->display, "locale", u->locale, "disabled",
			 u->disabled);
}

/* A role stands in the record of the tenant where it is held. */
static void record_role(struct manager_request *req, const char *user, const char *role,
			uint32_t at, bool given)
{
	BH_FREE char *object = bh_asprintf("user/%s", user);
	json_t *what = json_pack("{s:s, s:s}", "role", role, "at",
				 at == MANAGER_EACH_TENANT ? "*" : manager_tenant_name(req, at));

	manager_request_changed(req, at == MANAGER_EACH_TENANT ? MANAGER_PROVIDER : at, object,
				given ? NULL : what, given ? what : NULL);
}

/* ---- making, and other people's passwords ---- */

struct making {
	struct manager_user user; /* id 0: a new one */
	struct manager_gift gift;
	char password[PASSWORD_MAX + 1];
	bool made; /* the password is ours, and is shown */
};

static void making_free(void *arg)
{
	sodium_memzero(arg, sizeof(struct making));
	free(arg);
}

static int add_user(struct manager_request *req, struct making *m, struct bh_diag *diag)
{
	struct manager_store_user row = {.name = m->user.name,
					 .display = m->user.display,
					 .tenant = m->user.tenant,
					 .maker = req->principal.user,
					 .password = m->user.password,
					 .locale = m->user.locale,
					 .created_ns = bh_time_wall_ns(),
					 .must_change = true};
	int64_t given;
	int r = manager_db_begin(req->parts->db, diag);

	if (r == 0) {
		r = manager_store_add_user(req->parts->db, &row, &m->user.id, diag);
	}
	if (r == 0 && *m->gift.role) {
		r = manager_gift_give(req, &m->gift, m->user.id, &given, diag);
	}
	if (r == 0) {
		return manager_db_commit(req->parts->db, diag);
	}
	manager_db_abort(req->parts->db);
	return r;
}

static int change_password(struct manager_request *req, struct making *m, const char *hash,
			   struct bh_diag *diag)
{
	struct manager_user u;
	int r = manager_user_get(req->parts->accounts, NULL, m->user.id, &u);

	if (r == 0) {
		snprintf(u.password, sizeof(u.password), "%s", hash);
		u.must_change = true;
		r = manager_user_put(req->parts->accounts, &u, diag);
	}
	return r == 0 ? manager_store_drop_sessions(req->parts->db, u.id, 0, diag) : r;
}

static void on_hashed(bool good, const char *hash, void *arg)
{
	struct manager_request *req = arg;
	struct making *m = req->state;
	bool new = m->user.id == 0;
	struct bh_diag diag = {};
	struct manager_user u;
	json_t *body;
	int r = -ENOMEM;

	req->password_job = 0;
	if (good) {
		snprintf(m->user.password, sizeof(m->user.password), "%s", hash);
		r = new ? add_user(req, m, &diag) : change_password(req, m, hash, &diag);
	}
	if (r == -EEXIST) {
		manager_reply_errorf(req, 409, "conflict", "user '%s' exists", m->user.name);
		return;
	}
	if (r < 0 || manager_user_get(req->parts->accounts, NULL, m->user.id, &u) < 0) {
		manager_reply_failed(req, r < 0 ? r : -EIO, &diag);
		return;
	}
	manager_request_user_changed(req, &u, NULL,
				     new ? record_json(&u)
					 : json_pack("{s:s}", "password", "another one"));
	if (new && * m->gift.role) {
		record_role(req, u.name, m->gift.role, m->gift.tenant, true);
	}
	body = user_json(req, &u);
	if (m->made) {
		json_object_set_new(body, "password", json_string(m->password));
	}
	manager_reply(req, new ? 201 : 200, body);
}

/* The password that was said, or one of ours; then on_hashed(). */
static void hash_password(struct manager_request *req, struct making *m, const json_t *body)
{
	struct bh_diag diag = {};

	if (!manager_request_text(req, body, "password", m->password, sizeof(m->password), "")) {
		return;
	}
	if (!*m->password) {
		m->made = true;
		manager_password_make(m->password);
	} else if (manager_password_check(m->password, m->user.name, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	req->password_job = manager_passwords_start(
		manager_accounts_passwords(req->parts->accounts),
		&(struct manager_password_job){
			.password = m->password, .fn = on_hashed, .arg = req});
	if (req->password_job) {
		manager_request_later(req);
	} else {
		req->retry_after_s = 2;
		manager_reply_errorf(req, 429, "too_many_requests", "try again in a moment");
	}
}

static bool take_user(struct manager_request *req, const json_t *body, struct making *m)
{
	char name[MANAGER_USER_MAX + 1], tenant[BH_NAME_MAX + 1];
	const struct manager_tenant *t;
	struct bh_diag diag = {};

	if (!manager_request_text(req, body, "name", name, sizeof(name), NULL) ||
	    !manager_request_text(req, body, "tenant", tenant, sizeof(tenant), "provider") ||
	    !manager_request_text(req, body, "display", m->user.display, sizeof(m->user.display),
				  "") ||
	    !manager_request_text(req, body, "locale", m->user.locale, sizeof(m->user.locale),
				  "")) {
		return false;
	}
	t = manager_tenant_find(req->parts->inv, tenant);
	if (!t || !manager_request_holds(req, VERB_TENANT_READ, t->number)) {
		req->asked = true;
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", tenant);
		return false;
	}
	m->user.tenant = t->number;
	if (manager_user_name(name, t, m->user.name, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return false;
	}
	return manager_gift_take(req, body, t->name, &m->gift);
}

static void create_user(struct manager_request *req)
{
	static const char *const known[] = {"name", "tenant", "display", "locale", "password",
					    "role", "at",     "hours",	 NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct making *m = bh_alloc(sizeof(*m));
	bool appoints;

	req->state = m;
	req->state_free = making_free;
	manager_request_wipe(req);
	if (!body || !take_user(req, body, m) ||
	    (*m->gift.role && !manager_gift_may(req, &m->gift, 0))) {
		return;
	}
	/* Who may appoint somebody may make him for it. */
	appoints = *m->gift.role && m->gift.appointed && m->gift.tenant == m->user.tenant;
	if (!appoints && !manager_request_may(req, VERB_USER_WRITE, m->user.tenant, m->user.name)) {
		return;
	}
	manager_request_detail(req, "user %s%s%s", m->user.name, *m->gift.role ? ", " : "",
			       m->gift.role);
	hash_password(req, m, body);
}

static void put_password(struct manager_request *req)
{
	static const char *const known[] = {"password", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, true);
	struct making *m = bh_alloc(sizeof(*m));

	req->state = m;
	req->state_free = making_free;
	manager_request_wipe(req);
	if (body && manager_request_other(req, &m->user) &&
	    manager_request_manages(req, &m->user)) {
		hash_password(req, m, body);
	}
}

/* ---- changing ---- */

static void patch_user(struct manager_request *req)
{
	static const char *const known[] = {"display", "locale", "disabled", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	const json_t *disabled = json_object_get(body, "disabled");
	struct manager_user u, was;
	struct bh_diag diag = {};
	json_t *before = NULL;
	int r;

	if (!body || !manager_request_other(req, &u) || !manager_request_manages(req, &u) ||
	    !manager_request_text(req, body, "display", u.display, sizeof(u.display), u.display) ||
	    !manager_request_text(req, body, "locale", u.locale, sizeof(u.locale), u.locale)) {
		return;
	}
	if (disabled && !json_is_boolean(disabled)) {
		manager_reply_errorf(req, 400, "bad_request", "'disabled' must be true or false");
		return;
	}
	u.disabled = disabled ? json_is_true(disabled) : u.disabled;
	if (manager_user_get(req->parts->accounts, NULL, u.id, &was) == 0) {
		before = record_json(&was);
	}
	r = manager_user_put(req->parts->accounts, &u, &diag);
	if (r == 0 && u.disabled) {
		r = manager_store_drop_sessions(req->parts->db, u.id, 0, &diag);
	}
	if (r < 0) {
		json_decref(before);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_user_changed(req, &u, before, record_json(&u));
	manager_request_detail(req, "user %s%s", u.name, u.disabled ? ", disabled" : "");
	manager_reply(req, 200, user_json(req, &u));
}

static void delete_user(struct manager_request *req)
{
	struct bh_diag diag = {};
	struct manager_user u;
	int r;

	if (!manager_request_other(req, &u) || !manager_request_manages(req, &u)) {
		return;
	}
	r = manager_user_may_leave(req->parts->accounts, u.id, bh_time_wall_ns(), &diag);
	if (r == -EBUSY) {
		manager_reply_error(req, 409, "conflict", &diag);
		return;
	}
	/* What he asked for and was given goes by his name, which somebody else may have later. */
	r = r == 0 && req->parts->requests
		    ? manager_requests_forget(req->parts->requests, u.name, req->principal.name,
					      bh_time_wall_ns(), &diag)
		    : r;
	r = r < 0 ? r : manager_store_drop_user(req->parts->db, u.id, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &u, record_json(&u), NULL);
		manager_reply_nothing(req);
	}
}

/* His authenticator or keys are lost, and the codes too: he is back at the password. */
static void delete_factor(struct manager_request *req)
{
	struct bh_diag diag = {};
	BH_JSON json_t *before = NULL;
	struct manager_user u;
	int r;

	if (!manager_request_other(req, &u) || !manager_request_manages(req, &u)) {
		return;
	}
	before = manager_factors_state(req, u.id);
	r = manager_factor_reset(req->parts->accounts, &u, &diag);
	if (r == 0) {
		r = manager_store_drop_sessions(req->parts->db, u.id, 0, &diag);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &u, json_incref(before),
					     manager_factors_state(req, u.id));
		manager_reply_nothing(req);
	}
}

/* ---- roles ---- */

static void give_role(struct manager_request *req)
{
	static const char *const known[] = {"role", "at", "hours", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_gift gift;
	struct bh_diag diag = {};
	struct manager_user u;
	int64_t id;
	int r;

	if (!body || !manager_request_other(req, &u) ||
	    !manager_gift_take(req, body, manager_tenant_name(req, u.tenant), &gift) ||
	    !manager_gift_may(req, &gift, u.id)) {
		return;
	}
	r = manager_gift_give(req, &gift, u.id, &id, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	record_role(req, u.name, gift.role, gift.tenant, true);
	manager_request_detail(req, "%s: %s at %s", u.name, gift.role,
			       manager_tenant_name(req, gift.tenant));
	manager_reply(req, 201, user_json(req, &u));
}

struct wanted {
	int64_t id;
	bool found, appointed;
	uint32_t tenant;
	char role[BH_NAME_MAX + 1];
};

static int find_given(const struct manager_store_given *g, void *arg)
{
	struct wanted *w = arg;

	if (g->id == w->id) {
		w->found = true;
		w->appointed = g->appointed;
		w->tenant = g->tenant;
		snprintf(w->role, sizeof(w->role), "%s", g->role);
	}
	return 0;
}

static void take_role(struct manager_request *req)
{
	struct wanted w = {};
	struct bh_diag diag = {};
	struct manager_user u;
	uint64_t id = 0;
	uint32_t at;
	int r;

	if (!manager_request_other(req, &u)) {
		return;
	}
	(void)!bh_parse_u64(req->segments[3], 1, INT64_MAX, &id);
	w.id = (int64_t)id;
	(void)!manager_store_givens(req->parts->db, u.id, find_given, &w, NULL);
	at = w.tenant == MANAGER_EACH_TENANT ? MANAGER_PROVIDER : w.tenant;
	if (!w.found || !manager_request_holds(req, VERB_USER_READ, at)) {
		manager_reply_errorf(req, 404, "not_found", "no such role of this user");
		return;
	}
	if (!manager_request_may(req, w.appointed ? VERB_ROLE_APPOINT : VERB_ROLE_WRITE, at,
				 u.name)) {
		return;
	}
	r = manager_store_drop_given(req->parts->db, u.id, w.id, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	record_role(req, u.name, w.role, w.tenant, false);
	manager_request_detail(req, "%s: no more %s at %s", u.name, w.role,
			       manager_tenant_name(req, w.tenant));
	manager_reply_nothing(req);
}

const struct manager_route manager_routes_users[] = {
	{"GET", "users", list_users, VERB_USER_READ, OBJECT_LIST, 0, NULL,
	 "tenant " API_PAGE_QUERY},
	{"POST", "users", create_user, VERB_USER_READ, OBJECT_BODY, API_AUDIT, "user.create"},
	{"GET", "users/*", get_user, VERB_USER_READ, OBJECT_BODY, 0, NULL},
	{"PATCH", "users/*", patch_user, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT, "user.change"},
	{"DELETE", "users/*", delete_user, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT, "user.delete"},
	{"PUT", "users/*/password", put_password, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT,
	 "user.password"},
	{"DELETE", "users/*/totp", delete_factor, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT,
	 "user.totp-remove"},
	{"POST", "users/*/roles", give_role, VERB_USER_READ, OBJECT_BODY, API_AUDIT, "role.give"},
	{"DELETE", "users/*/roles/*", take_role, VERB_USER_READ, OBJECT_BODY, API_AUDIT,
	 "role.take"},
	{},
};
