/* SPDX-License-Identifier: Apache-2.0 */
/* What routes of accounts share (login.h). */
#include "manager/api/login.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define PROVED_NS (600 * BH_NS_PER_S) /* how recent a proof has to be for what follows */

struct manager_agent manager_request_agent(const struct manager_request *req)
{
	return (struct manager_agent){.words = MHD_lookup_connection_value(
					      req->connection, MHD_HEADER_KIND, "User-Agent"),
				      .address = req->from};
}

int manager_request_session(struct manager_request *req, struct manager_session *ret,
			    const char **ret_secret)
{
	static const char bearer[] = "Bearer " MANAGER_BEARER_SESSION;
	const char *header =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Authorization");
	const char *cookie =
		MHD_lookup_connection_value(req->connection, MHD_COOKIE_KIND, MANAGER_COOKIE);
	struct manager_agent agent = manager_request_agent(req);
	bool by_header = header && strncmp(header, bearer, sizeof(bearer) - 1) == 0;

	if (!by_header && (header || !cookie)) {
		return -ENOENT;
	}
	*ret_secret = by_header ? header + sizeof(bearer) - 1 : cookie;
	return manager_session_find(req->parts->accounts, *ret_secret, by_header, &agent,
				    bh_time_wall_ns(), ret);
}

bool manager_request_user(struct manager_request *req, struct manager_user *ret)
{
	if (req->principal.via != MANAGER_VIA_SESSION ||
	    manager_user_get(req->parts->accounts, NULL, req->principal.user, ret) < 0) {
		manager_reply_errorf(req, 409, "conflict", "this is for people who have logged in");
		return false;
	}
	return true;
}

void manager_request_give(struct manager_request *req, const char *secret, bool bearer,
			  json_t *body)
{
	char token[sizeof(MANAGER_BEARER_SESSION) + MANAGER_SECRET_TEXT_SIZE];

	if (bearer) {
		snprintf(token, sizeof(token), MANAGER_BEARER_SESSION "%s", secret);
		json_object_set_new(body, "token", json_string(token));
		sodium_memzero(token, sizeof(token));
	} else {
		snprintf(req->set_cookie, sizeof(req->set_cookie),
			 MANAGER_COOKIE "=%s; Secure; HttpOnly; SameSite=Strict; Path=/", secret);
	}
}

bool manager_request_text(struct manager_request *req, const json_t *body, const char *key,
			  char *ret, size_t size, const char *dflt)
{
	const json_t *value = json_object_get(body, key);
	const char *s = json_is_string(value) ? json_string_value(value) : NULL;
	bool good = s || (dflt && (!value || json_is_null(value)));

	s = s ? s : dflt ? dflt : "";
	good = good && strlen(s) < size;
	for (const char *p = s; good && *p; p++) {
		good = (unsigned char)*p >= 0x20 && *p != 0x7f;
	}
	if (!good) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'%s' must be text of at most %zu bytes", key, size - 1);
		return false;
	}
	snprintf(ret, size, "%s", s);
	return true;
}

void manager_request_wipe(struct manager_request *req)
{
	if (req->body.size) {
		sodium_memzero(req->body.data, req->body.size);
	}
}

/* ---- what one is told about oneself ---- */

/* {"*": rights at every tenant but the provider, "provider": [...], "shop": [...]} */
static json_t *verbs_json(struct manager_request *req, const struct manager_principal *p)
{
	uint64_t now = bh_time_wall_ns();
	json_t *verbs = json_object();

	if (p->via == MANAGER_VIA_ROOT) {
		json_object_set_new(verbs, "*", manager_right_names_json(~0ull));
		json_object_set_new(verbs, "provider", manager_right_names_json(~0ull));
		return verbs;
	}
	bh_vec_foreach (h, &p->holdings) {
		const struct manager_tenant *t = manager_tenant_at(req->parts->inv, h->tenant);
		const char *name = h->tenant == MANAGER_EACH_TENANT ? "*" : t ? t->name : NULL;

		if (name && !*h->object && !json_object_get(verbs, name)) {
			json_object_set_new(
				verbs, name,
				manager_right_names_json(manager_rights_at(p, h->tenant, now)));
		}
	}
	return verbs;
}

static int add_role(const struct manager_store_given *row, void *arg)
{
	json_array_append_new(
		arg, json_pack("{s:s, s:I}", "role", row->role, "tenant", (json_int_t)row->tenant));
	return 0;
}

static json_t *roles_json(struct manager_request *req, const struct manager_principal *p)
{
	json_t *list = json_array(), *item;
	size_t i;

	if (p->via == MANAGER_VIA_ROOT) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "role", "root", "tenant", "*"));
		return list;
	}
	(void)!manager_store_givens(req->parts->db, p->user, add_role, list, NULL);
	json_array_foreach (list, i, item) {
		uint32_t number = (uint32_t)bh_json_u64_or(item, "tenant", 0);
		const struct manager_tenant *t = manager_tenant_at(req->parts->inv, number);

		json_object_set_new(item, "tenant",
				    json_string(!number ? "*"
						: t	? t->name
							: "(gone)"));
	}
	return list;
}

json_t *manager_factors_json(const struct manager_user *u)
{
	json_t *list = json_array();

	if (manager_factor_has_totp(u)) {
		json_array_append_new(list, json_string("totp"));
	}
	if (u->keys) {
		json_array_append_new(list, json_string("webauthn"));
	}
	if (manager_factor_has(u)) {
		json_array_append_new(list, json_string("recovery"));
	}
	return list;
}

static json_t *factor_json(const struct manager_user *u, const struct manager_session *s,
			   uint64_t now)
{
	json_t *age = s && s->factor_ns
			      ? json_integer((json_int_t)((now - s->factor_ns) / BH_NS_PER_S))
			      : json_null();

	return json_pack("{s:o, s:o}", "methods", u ? manager_factors_json(u) : json_array(),
			 "age_s", age);
}

json_t *manager_session_json(struct manager_request *req, const struct manager_principal *p,
			     const struct manager_session *s, const char *secret)
{
	const struct manager_account_settings *settings =
		manager_accounts_settings(req->parts->accounts);
	uint64_t now = bh_time_wall_ns();
	const struct manager_tenant *t = manager_tenant_at(req->parts->inv, p->tenant);
	char csrf[MANAGER_CSRF_SIZE] = "";
	struct manager_user u;
	bool known = p->user && manager_user_get(req->parts->accounts, NULL, p->user, &u) == 0;
	json_t *obj;

	if (secret && s && !s->bearer) {
		manager_session_csrf(secret, csrf);
	}
	obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:b}", "user", p->name,
			"name", known && *u.display ? u.display : p->name, "tenant",
			t ? t->name : "", "via",
			p->via == MANAGER_VIA_ROOT    ? "root"
			: p->via == MANAGER_VIA_TOKEN ? "token"
						      : "session",
			"csrf", csrf, "roles", roles_json(req, p), "verbs", verbs_json(req, p),
			"second_factor", factor_json(known ? &u : NULL, s, now), "locale",
			known ? u.locale : "", "must_change", known && u.must_change);
	if (s) {
		uint64_t end = s->created_ns + settings->absolute_s * BH_NS_PER_S;
		uint64_t idle = s->used_ns + settings->idle_s * BH_NS_PER_S;

		json_object_set_new(obj, "expires", bh_json_time(idle < end ? idle : end));
	}
	return obj;
}

/* ---- for the record ---- */

void manager_request_user_changed(struct manager_request *req, const struct manager_user *u,
				  json_t *before, json_t *after)
{
	BH_FREE char *object = bh_asprintf("user/%s", u->name);

	manager_request_changed(req, u->tenant, object, before, after);
}

struct looked_for {
	int64_t id;
	json_t *state;
};

static int take_state(const struct manager_store_session *row, void *arg)
{
	struct looked_for *l = arg;

	if (row->id != l->id) {
		return 0;
	}
	l->state = json_pack("{s:o, s:s, s:s}", "since", bh_json_time(row->created_ns), "address",
			     row->address, "factor", row->factor);
	json_object_set_new(l->state, "agent", json_string(row->agent_words)); /* if it is text */
	if (row->factor_ns) {
		json_object_set_new(l->state, "factor_shown", bh_json_time(row->factor_ns));
	}
	return 1;
}

json_t *manager_session_state(struct manager_request *req, int64_t user, int64_t id)
{
	struct looked_for l = {.id = id};
	struct manager_user u;

	(void)!manager_store_sessions(req->parts->db, user, true, take_state, &l, NULL);
	if (l.state && manager_user_get(req->parts->accounts, NULL, user, &u) == 0) {
		json_object_set_new(l.state, "user", json_string(u.name));
	}
	return l.state;
}

void manager_request_session_changed(struct manager_request *req, uint32_t tenant, int64_t user,
				     int64_t id, json_t *before)
{
	BH_FREE char *object = bh_asprintf("session/%lld", (long long)id);

	manager_request_changed(req, tenant, object, before, manager_session_state(req, user, id));
}

json_t *manager_factors_state(struct manager_request *req, int64_t user)
{
	struct manager_user u = {};
	bool known = manager_user_get(req->parts->accounts, NULL, user, &u) == 0;

	return json_pack("{s:b, s:i, s:o}", "totp", known && manager_factor_has_totp(&u),
			 "recovery_left", (int)manager_store_recovery_left(req->parts->db, user),
			 "webauthn", manager_keys_json(req, user));
}

/* ---- proofs ---- */

bool manager_request_proved(struct manager_request *req, const struct manager_user *u)
{
	bool factor = manager_factor_has(u);
	uint64_t shown = factor ? req->session.factor_ns : req->session.proved_ns;
	json_t *methods;

	if (shown && bh_time_wall_ns() - shown <= PROVED_NS) {
		return true;
	}
	methods = factor ? manager_factors_json(u) : json_pack("[s]", "password");
	if (manager_request_steps_by_oidc(req, factor)) {
		json_array_append_new(methods, json_string("oidc"));
	}
	manager_reply(req, 403,
		      json_pack("{s:{s:s, s:s, s:o, s:s}}", "error", "code", "step_up", "message",
				"not allowed: show who you are once more", "methods", methods,
				"way", "POST /v1/session/step-up"));
	return false;
}

void manager_request_renew(struct manager_request *req, const char *factor, unsigned int status,
			   json_t *answer)
{
	char secret[MANAGER_SECRET_TEXT_SIZE], csrf[MANAGER_CSRF_SIZE];
	struct bh_diag diag = {};
	int r = manager_session_prove(req->parts->accounts, &req->session, factor,
				      bh_time_wall_ns(), secret, &diag);

	if (r < 0) {
		json_decref(answer);
		manager_reply_failed(req, r, &diag);
		return;
	}
	if (!req->session.bearer) {
		manager_session_csrf(secret, csrf);
		json_object_set_new(answer, "csrf", json_string(csrf));
	}
	manager_request_give(req, secret, req->session.bearer, answer);
	manager_reply(req, status, answer);
	sodium_memzero(secret, sizeof(secret));
}

json_t *manager_recovery_json(char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE])
{
	json_t *list = json_array();

	for (size_t i = 0; i < MANAGER_RECOVERY_COUNT; i++) {
		json_array_append_new(list, json_string(codes[i]));
	}
	sodium_memzero(codes, (size_t)MANAGER_RECOVERY_COUNT * MANAGER_RECOVERY_SIZE);
	return list;
}

/* ---- who guesses waits ---- */

bool manager_request_waits(struct manager_request *req, const char *key)
{
	struct manager_lockout *l = manager_accounts_lockout(req->parts->accounts);
	uint64_t now = bh_time_mono_ns();
	char address[LOCKOUT_KEY_SIZE];
	unsigned int a, b;

	manager_lockout_address_key(req->from, address);
	a = manager_lockout_wait(l, address, now);
	b = manager_lockout_wait(l, key, now);
	req->retry_after_s = a > b ? a : b;
	if (!req->retry_after_s) {
		return false;
	}
	manager_reply_errorf(req, 429, "too_many_requests",
			     "too many wrong passwords or codes: wait %u seconds",
			     req->retry_after_s);
	return true;
}

void manager_request_failed(struct manager_request *req, const char *account_key, const char *user)
{
	struct manager_lockout *l = manager_accounts_lockout(req->parts->accounts);
	uint64_t now = bh_time_mono_ns();
	char address[LOCKOUT_KEY_SIZE];
	unsigned int a, b;

	manager_lockout_address_key(req->from, address);
	a = manager_lockout_failed(l, address, now);
	b = manager_lockout_failed(l, account_key, now);
	if (a || b) {
		manager_events_own(req->parts->events, "access.locked", BH_SEVERITY_WARNING,
				   json_pack("{s:s, s:s, s:I}", "user", user, "from", req->from,
					     "seconds", (json_int_t)(a > b ? a : b)));
	}
}

void manager_request_account_key(struct manager_request *req, const char *name, int64_t user,
				 char ret[LOCKOUT_KEY_SIZE])
{
	if (user && manager_store_knows_address(req->parts->db, user, req->from)) {
		snprintf(ret, LOCKOUT_KEY_SIZE, "user %s from %s", name, req->from);
	} else {
		snprintf(ret, LOCKOUT_KEY_SIZE, "user %s", name);
	}
}

void manager_request_code_key(const char *name, char ret[LOCKOUT_KEY_SIZE])
{
	snprintf(ret, LOCKOUT_KEY_SIZE, "codes of %s", name);
}
