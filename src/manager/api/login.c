/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/login, /v1/logout, /v1/session. Who is unknown, disabled or has the wrong password is
 * answered in the same words at the same cost: the password is compared in any case.
 */
#include "manager/api/login.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define SECOND_NS_MAX (300 * BH_NS_PER_S) /* from the password to the second factor */

BH_COUNTER(auth_logins, "people who logged in");

/* ---- passwords, on a worker ---- */

struct login {
	char user[MANAGER_USER_MAX + 1];
	int64_t id; /* 0: there is none */
	bool bearer;
};

static void refuse_login(struct manager_request *req)
{
	manager_reply_errorf(req, 401, "unauthorized", "user or password is wrong");
}

static void answer_login(struct manager_request *req, const struct login *l, struct manager_user *u)
{
	struct manager_accounts *a = req->parts->accounts;
	struct manager_agent agent = manager_request_agent(req);
	uint64_t now = bh_time_wall_ns();
	struct manager_session s = {.user = u->id,
				    .open = !manager_factor_has(u),
				    .bearer = l->bearer,
				    .created_ns = now,
				    .used_ns = now,
				    .proved_ns = now};
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_principal p = {};
	struct bh_diag diag = {};
	json_t *body;
	int r = manager_session_begin(a, &s, &agent, secret, &diag);

	if (r == 0 && s.open) {
		u->login_ns = now;
		r = manager_user_put(a, u, &diag);
	}
	if (r < 0 || manager_user_principal(a, u->id, now, &p) < 0) {
		manager_reply_failed(req, r < 0 ? r : -EIO, &diag);
		return;
	}
	if (s.open) {
		manager_request_session_changed(req, u->tenant, u->id, s.id, NULL);
	}
	bh_counter_add(&auth_logins, s.open);
	p.via = MANAGER_VIA_SESSION;
	body = s.open ? json_pack("{s:o}", "session", manager_session_json(req, &p, &s, secret))
		      : json_pack("{s:o}", "need", manager_factors_json(u));
	manager_principal_done(&p);
	manager_request_give(req, secret, l->bearer, body);
	manager_reply(req, 200, body);
	sodium_memzero(secret, sizeof(secret));
}

static void on_password(bool good, const char *hash, void *arg)
{
	struct manager_request *req = arg;
	struct manager_accounts *a = req->parts->accounts;
	struct login *l = req->state;
	char key[LOCKOUT_KEY_SIZE];
	struct manager_user u;

	req->password_job = 0;
	manager_request_account_key(req, l->user, l->id, key);
	if (manager_request_waits(req, key)) {
		return; /* many at once are no more guesses than one after the other */
	}
	if (!good || !l->id || manager_user_get(a, NULL, l->id, &u) < 0 || u.disabled) {
		manager_request_failed(req, key, l->user);
		refuse_login(req);
		return;
	}
	manager_lockout_succeeded(manager_accounts_lockout(a), key);
	snprintf(req->who, sizeof(req->who), "user:%s", u.name);
	answer_login(req, l, &u);
}

/* False when it was answered. */
static bool take_login(struct manager_request *req, struct login *l,
		       char password[PASSWORD_MAX + 1])
{
	static const char *const known[] = {"user", "password", "bearer", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);

	if (!body) {
		return false;
	}
	l->bearer = json_is_true(json_object_get(body, "bearer"));
	return manager_request_text(req, body, "user", l->user, sizeof(l->user), NULL) &&
	       manager_request_text(req, body, "password", password, PASSWORD_MAX + 1, NULL);
}

static void login(struct manager_request *req)
{
	struct manager_accounts *a = req->parts->accounts;
	struct login *l = bh_alloc(sizeof(*l));
	char password[PASSWORD_MAX + 1] = "", key[LOCKOUT_KEY_SIZE];
	struct manager_user u = {};

	req->state = l;
	req->state_free = free;
	if (!take_login(req, l, password)) {
		manager_request_wipe(req);
		return;
	}
	manager_request_wipe(req);
	if (manager_user_get(a, l->user, 0, &u) == 0) {
		l->id = u.disabled ? 0 : u.id;
	}
	manager_request_account_key(req, l->user, l->id, key);
	if (!manager_request_waits(req, key)) {
		req->password_job = manager_passwords_start(
			manager_accounts_passwords(a),
			&(struct manager_password_job){.password = password,
						       .against = l->id ? u.password : "",
						       .verify = true,
						       .fn = on_password,
						       .arg = req});
		if (req->password_job) {
			manager_request_later(req);
		} else {
			req->retry_after_s = 2;
			manager_reply_errorf(req, 429, "too_many_requests",
					     "too many people are logging in just now");
		}
	}
	sodium_memzero(password, sizeof(password));
}

/* ---- the second factor ---- */

/* What the body of a second factor may have. */
static const char *const factor_members[] = {
	"method", "code", "password", "id", "client_data", "authenticator_data", "signature", NULL};

/* Who wants to use a security key gets a challenge first; that was answered, as was what is wrong.
 */
static bool prove(struct manager_request *req, struct manager_session *s, struct manager_user *u,
		  const json_t *body)
{
	struct manager_accounts *a = req->parts->accounts;
	char method[MANAGER_FACTOR_MAX + 1], code[64], key[LOCKOUT_KEY_SIZE];
	bool by_key;

	if (!manager_request_text(req, body, "method", method, sizeof(method), NULL)) {
		return false;
	}
	by_key = strcmp(method, "webauthn") == 0;
	manager_request_code_key(u->name, key);
	if (manager_request_waits(req, key)) {
		return false;
	}
	if (by_key && !json_object_get(body, "id")) {
		manager_request_ask_key(req, s->id, u->id);
		return false;
	}
	if (by_key && !manager_request_check_key(req, s->id, u, body, key)) {
		return false;
	}
	if (!by_key && !manager_request_text(req, body, "code", code, sizeof(code), NULL)) {
		return false;
	}
	if (!by_key && manager_factor_check(a, u, method, code, bh_time_wall_ns()) < 0) {
		manager_request_failed(req, key, u->name);
		manager_reply_errorf(req, 401, "unauthorized", "this code is not valid");
		return false;
	}
	manager_lockout_succeeded(manager_accounts_lockout(a), key);
	snprintf(s->factor, sizeof(s->factor), "%s", method);
	return true;
}

/* What was proved counts, under a new secret. */
static void answer_proved(struct manager_request *req, struct manager_session *s,
			  const char *factor)
{
	struct manager_accounts *a = req->parts->accounts;
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_principal p = {};
	struct bh_diag diag = {};
	uint64_t now = bh_time_wall_ns();
	BH_JSON json_t *before = manager_session_state(req, s->user, s->id);
	json_t *body;
	int r = manager_session_prove(a, s, factor, now, secret, &diag);

	if (r < 0 || manager_user_principal(a, s->user, now, &p) < 0) {
		manager_reply_failed(req, r < 0 ? r : -EIO, &diag);
		return;
	}
	p.via = MANAGER_VIA_SESSION;
	body = json_pack("{s:o}", "session", manager_session_json(req, &p, s, secret));
	snprintf(req->who, sizeof(req->who), "user:%s", p.name);
	manager_request_session_changed(req, p.tenant, s->user, s->id, json_incref(before));
	manager_principal_done(&p);
	manager_request_give(req, secret, s->bearer, body);
	manager_reply(req, 200, body);
	sodium_memzero(secret, sizeof(secret));
}

static void login_second(struct manager_request *req)
{
	BH_JSON json_t *body = manager_request_json(req, factor_members, false);
	struct manager_accounts *a = req->parts->accounts;
	uint64_t now = bh_time_wall_ns();
	struct manager_session s;
	struct manager_user u;
	const char *secret;

	if (!body) {
		return;
	}
	if (manager_request_session(req, &s, &secret) < 0 || s.open ||
	    now - s.created_ns > SECOND_NS_MAX || manager_user_get(a, NULL, s.user, &u) < 0 ||
	    u.disabled) {
		manager_reply_errorf(req, 401, "unauthorized", "log in with the password first");
		return;
	}
	snprintf(req->who, sizeof(req->who), "user:%s", u.name);
	if (prove(req, &s, &u, body)) {
		u.login_ns = now;
		bh_counter_add(&auth_logins, manager_user_put(a, &u, NULL) == 0);
		answer_proved(req, &s, s.factor);
	}
}

/* ---- step up ---- */

static void on_step_password(bool good, const char *hash, void *arg)
{
	struct manager_request *req = arg;
	char key[LOCKOUT_KEY_SIZE];

	req->password_job = 0;
	manager_request_account_key(req, req->principal.name, req->principal.user, key);
	if (manager_request_waits(req, key)) {
		return;
	}
	if (!good) {
		manager_request_failed(req, key, req->principal.name);
		manager_reply_errorf(req, 401, "unauthorized", "the password is wrong");
		return;
	}
	answer_proved(req, &req->session, "");
}

static void step_by_password(struct manager_request *req, const struct manager_user *u,
			     const json_t *body)
{
	char password[PASSWORD_MAX + 1], key[LOCKOUT_KEY_SIZE];

	manager_request_account_key(req, u->name, u->id, key);
	if (!manager_request_text(req, body, "password", password, sizeof(password), NULL) ||
	    manager_request_waits(req, key)) {
		return;
	}
	req->password_job =
		manager_passwords_start(manager_accounts_passwords(req->parts->accounts),
					&(struct manager_password_job){.password = password,
								       .against = u->password,
								       .verify = true,
								       .fn = on_step_password,
								       .arg = req});
	sodium_memzero(password, sizeof(password));
	if (req->password_job) {
		manager_request_later(req);
	} else {
		manager_reply_errorf(req, 429, "too_many_requests", "try again in a moment");
	}
}

static void step_up(struct manager_request *req)
{
	BH_JSON json_t *body = manager_request_json(req, factor_members, false);
	struct manager_user u;

	manager_request_wipe(req);
	if (!body || !manager_request_user(req, &u)) {
		return;
	}
	if (strcmp(bh_json_str_or(body, "method", ""), "password") == 0) {
		step_by_password(req, &u, body);
	} else if (strcmp(bh_json_str_or(body, "method", ""), "oidc") == 0) {
		manager_request_step_by_oidc(req);
	} else if (prove(req, &req->session, &u, body)) {
		answer_proved(req, &req->session, req->session.factor);
	}
}

/* ---- looking and leaving ---- */

static void get_session(struct manager_request *req)
{
	const char *secret = NULL;
	struct manager_session s;

	if (req->principal.via != MANAGER_VIA_SESSION ||
	    manager_request_session(req, &s, &secret) < 0) {
		secret = NULL;
	}
	manager_reply(req, 200,
		      manager_session_json(req, &req->principal,
					   req->session.id ? &req->session : NULL, secret));
}

static void logout(struct manager_request *req)
{
	BH_JSON json_t *before = manager_session_state(req, req->session.user, req->session.id);
	struct bh_diag diag = {};
	char *token;
	int r;

	if (req->principal.via != MANAGER_VIA_SESSION) {
		manager_reply_errorf(req, 409, "conflict", "this is no session");
		return;
	}
	token = manager_request_leaves(req);
	r = manager_store_drop_session(req->parts->db, req->session.id, &diag);
	if (r < 0 && r != -ENOENT) {
		free(token);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_session_changed(req, req->principal.tenant, req->session.user,
					req->session.id, json_incref(before));
	if (!req->session.bearer) {
		snprintf(req->set_cookie, sizeof(req->set_cookie),
			 MANAGER_COOKIE "=; Secure; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
	}
	if (token) {
		manager_request_leave(req, token);
	} else {
		manager_reply_nothing(req);
	}
}

const struct manager_route manager_routes_login[] = {
	{"POST", "login", login, VERB_NONE, OBJECT_PUBLIC, API_AUDIT_AFTER, "login"},
	{"POST", "login/second", login_second, VERB_NONE, OBJECT_PUBLIC, API_AUDIT_AFTER,
	 "login.second"},
	{"POST", "logout", logout, VERB_NONE, OBJECT_SELF, API_AUDIT, "logout"},
	{"GET", "session", get_session, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "session/step-up", step_up, VERB_NONE, OBJECT_SELF, API_AUDIT, "session.step-up"},
	{},
};
