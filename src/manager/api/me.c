/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/me: what people do about their own account: password, second factor, API tokens. */
#include "manager/api/login.h"

#include "base/json.h"
#include "base/qr.h"
#include "base/time.h"

#include <errno.h>

#define TOKEN_DAYS     90
#define TOKEN_DAYS_MAX 3660

/* ---- the password ---- */

struct change {
	char password[PASSWORD_MAX + 1];
	struct manager_user user;
};

static void change_free(void *arg)
{
	sodium_memzero(arg, sizeof(struct change));
	free(arg);
}

static void on_hashed(bool good, const char *hash, void *arg)
{
	struct manager_request *req = arg;
	struct manager_accounts *a = req->parts->accounts;
	struct change *c = req->state;
	struct bh_diag diag = {};
	int r = -ENOMEM;

	req->password_job = 0;
	if (good && manager_user_get(a, NULL, c->user.id, &c->user) == 0) {
		snprintf(c->user.password, sizeof(c->user.password), "%s", hash);
		c->user.must_change = false;
		r = manager_user_put(a, &c->user, &diag);
	}
	if (r == 0) { /* whoever else is logged in as him is so no more */
		r = manager_store_drop_sessions(req->parts->db, c->user.id, req->session.id, &diag);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &c->user, NULL,
					     json_pack("{s:s}", "password", "another one"));
		manager_reply_nothing(req);
	}
}

static void start(struct manager_request *req, const char *password, bool verify,
		  manager_password_fn *fn)
{
	struct change *c = req->state;

	req->password_job =
		manager_passwords_start(manager_accounts_passwords(req->parts->accounts),
					&(struct manager_password_job){.password = password,
								       .against = c->user.password,
								       .verify = verify,
								       .fn = fn,
								       .arg = req});
	if (!req->password_job) {
		manager_reply_errorf(req, 429, "too_many_requests", "try again in a moment");
	} else {
		manager_request_later(req);
	}
}

static void on_old(bool good, const char *hash, void *arg)
{
	struct manager_request *req = arg;
	struct change *c = req->state;
	char key[LOCKOUT_KEY_SIZE];

	req->password_job = 0;
	manager_request_account_key(req, c->user.name, c->user.id, key);
	if (manager_request_waits(req, key)) {
		return;
	}
	if (!good) {
		manager_request_failed(req, key, c->user.name);
		manager_reply_errorf(req, 401, "unauthorized", "the password is wrong");
		return;
	}
	start(req, c->password, false, on_hashed);
}

static void change_password(struct manager_request *req)
{
	static const char *const known[] = {"old", "new", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	char old[PASSWORD_MAX + 1], key[LOCKOUT_KEY_SIZE];
	struct change *c = bh_alloc(sizeof(*c));
	struct bh_diag diag = {};

	req->state = c;
	req->state_free = change_free;
	manager_request_wipe(req);
	if (!body || !manager_request_user(req, &c->user) ||
	    !manager_request_text(req, body, "old", old, sizeof(old), NULL) ||
	    !manager_request_text(req, body, "new", c->password, sizeof(c->password), NULL)) {
		return;
	}
	manager_request_account_key(req, c->user.name, c->user.id, key);
	if (manager_request_waits(req, key)) {
		return;
	}
	if (manager_password_check(c->password, c->user.name, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
	} else if (strcmp(old, c->password) == 0) {
		manager_reply_errorf(req, 400, "bad_request", "the new password is the old one");
	} else {
		start(req, old, true, on_old);
	}
	sodium_memzero(old, sizeof(old));
}

/* ---- the account ---- */

static json_t *words_json(const struct manager_user *u)
{
	return json_pack("{s:s, s:s}", "display", u->display, "locale", u->locale);
}

static void change_me(struct manager_request *req)
{
	static const char *const known[] = {"display", "locale", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_JSON json_t *before = NULL;
	struct manager_user u;
	struct bh_diag diag = {};
	int r;

	if (!body || !manager_request_user(req, &u)) {
		return;
	}
	before = words_json(&u);
	if (!manager_request_text(req, body, "display", u.display, sizeof(u.display), u.display) ||
	    !manager_request_text(req, body, "locale", u.locale, sizeof(u.locale), u.locale)) {
		return;
	}
	r = manager_user_put(req->parts->accounts, &u, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &u, json_incref(before), words_json(&u));
		manager_reply_nothing(req);
	}
}

/* ---- the second factor ---- */

static void begin_totp(struct manager_request *req)
{
	char base32[MANAGER_TOTP_BASE32_SIZE];
	BH_FREE char *uri = NULL;
	struct manager_user u;
	struct bh_diag diag = {};
	struct bh_wbuf qr;
	int r;

	if (!manager_request_user(req, &u) || !manager_request_proved(req, &u)) {
		return;
	}
	if (manager_factor_has_totp(&u)) {
		manager_reply_errorf(req, 409, "conflict",
				     "there is an authenticator: remove it first");
		return;
	}
	r = manager_factor_begin(req->parts->accounts, &u, base32, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	uri = manager_totp_uri(u.name, base32);
	bh_wbuf_init(&qr, 0);
	r = bh_qr_svg(uri, &qr);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_reply(req, 200,
			      json_pack("{s:s, s:s, s:s}", "secret", base32, "uri", uri, "qr",
					bh_wbuf_cstr(&qr)));
	}
	sodium_memzero(base32, sizeof(base32));
	sodium_memzero(uri, strlen(uri));
	sodium_memzero(qr.data, qr.size);
	bh_wbuf_done(&qr);
}

/* The first code shows that it works, and counts as the factor of this session. */
static void confirm_totp(struct manager_request *req)
{
	static const char *const known[] = {"code", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_accounts *a = req->parts->accounts;
	char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE];
	char code[64], key[LOCKOUT_KEY_SIZE];
	BH_JSON json_t *before = NULL;
	struct manager_user u;

	if (!body || !manager_request_user(req, &u) ||
	    !manager_request_text(req, body, "code", code, sizeof(code), NULL)) {
		return;
	}
	manager_request_code_key(u.name, key);
	if (manager_request_waits(req, key)) {
		return;
	}
	before = manager_factors_state(req, u.id);
	if (manager_factor_confirm(a, &u, code, bh_time_wall_ns(), codes) < 0) {
		manager_request_failed(req, key, u.name);
		manager_reply_errorf(req, 401, "unauthorized", "this code is not valid");
		return;
	}
	manager_request_user_changed(req, &u, json_incref(before),
				     manager_factors_state(req, u.id));
	manager_request_renew(req, "totp", 200,
			      json_pack("{s:o}", "recovery", manager_recovery_json(codes)));
}

static void remove_totp(struct manager_request *req)
{
	BH_JSON json_t *before = NULL;
	struct manager_user u;
	struct bh_diag diag = {};
	int r;

	if (!manager_request_user(req, &u) || !manager_request_proved(req, &u)) {
		return;
	}
	before = manager_factors_state(req, u.id);
	r = manager_factor_remove(req->parts->accounts, &u, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &u, json_incref(before),
					     manager_factors_state(req, u.id));
		manager_reply_nothing(req);
	}
}

static void new_recovery(struct manager_request *req)
{
	char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE];
	BH_JSON json_t *before = NULL;
	struct manager_user u;
	struct bh_diag diag = {};
	int r;

	if (!manager_request_user(req, &u) || !manager_request_proved(req, &u)) {
		return;
	}
	if (!manager_factor_has(&u)) {
		manager_reply_errorf(req, 409, "conflict", "there is no second factor");
		return;
	}
	before = manager_factors_state(req, u.id);
	r = manager_factor_recovery(req->parts->accounts, u.id, codes, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_user_changed(req, &u, json_incref(before),
					     manager_factors_state(req, u.id));
		manager_reply(req, 200,
			      json_pack("{s:o}", "recovery", manager_recovery_json(codes)));
	}
}

static void get_factors(struct manager_request *req)
{
	struct manager_user u;

	if (manager_request_user(req, &u)) {
		manager_reply(req, 200, manager_factors_state(req, u.id));
	}
}

/* ---- API tokens ---- */

static json_t *rights_json(const char *text)
{
	json_t *list = json_array();

	for (const char *p = text; *p; p += *p == ' ') {
		size_t len = strcspn(p, " ");

		json_array_append_new(list, json_stringn(p, len));
		p += len;
	}
	return list;
}

static int add_token(const struct manager_store_api_token *t, void *arg)
{
	json_array_append_new(arg,
			      json_pack("{s:I, s:s, s:o, s:I, s:o, s:o, s:o}", "id",
					(json_int_t)t->id, "name", t->name, "verbs",
					rights_json(t->rights), "tenant", (json_int_t)t->tenant,
					"created", bh_json_time_or_null(t->created_ns), "expires",
					bh_json_time_or_null(t->expires_ns), "used",
					bh_json_time_or_null(t->used_ns)));
	return 0;
}

/* All tokens of a user, or with an id the one; NULL when they can't be read. Owned. */
static json_t *tokens_json(struct manager_request *req, int64_t user, int64_t id)
{
	json_t *list = json_array(), *item;
	size_t i;

	if (manager_store_api_tokens(req->parts->db, id, user, add_token, list, NULL) < 0) {
		json_decref(list);
		return NULL;
	}
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

static void list_tokens(struct manager_request *req)
{
	struct manager_user u;
	json_t *list;

	if (!manager_request_user(req, &u)) {
		return;
	}
	list = tokens_json(req, u.id, 0);
	if (list) {
		manager_reply(req, 200, json_pack("{s:o}", "items", list));
	} else {
		manager_reply_errorf(req, 500, "internal", "cannot read tokens");
	}
}

/* For the record: a token as its user is shown it; NULL when he has none of that id. Owned. */
static json_t *token_state(struct manager_request *req, const struct manager_user *u, int64_t id)
{
	BH_JSON json_t *list = tokens_json(req, u->id, id);

	return json_incref(json_array_get(list, 0));
}

static void token_changed(struct manager_request *req, const struct manager_user *u, int64_t id,
			  json_t *before)
{
	BH_FREE char *object = bh_asprintf("token/%lld", (long long)id);

	manager_request_changed(req, u->tenant, object, before, token_state(req, u, id));
}

static int count_token(const struct manager_store_api_token *t, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

struct wish {
	char name[64], tenant[BH_NAME_MAX + 1];
	uint64_t rights, days;
	uint32_t number;
};

/* "verbs": an array or a text with spaces. False when it was answered. */
static bool take_verbs(struct manager_request *req, const json_t *verbs, uint64_t *ret)
{
	struct bh_diag diag = {};
	struct bh_wbuf w;
	const json_t *v;
	size_t i;
	int r;

	bh_wbuf_init(&w, 8192);
	json_array_foreach (verbs, i, v) {
		bh_wbuf_printf(&w, "%s ", json_is_string(v) ? json_string_value(v) : "?");
	}
	if (json_is_string(verbs)) {
		bh_wbuf_str(&w, json_string_value(verbs));
	}
	r = manager_rights_parse(bh_wbuf_cstr(&w), false, ret, &diag);
	bh_wbuf_done(&w);
	if (r == 0 && !*ret) {
		r = bh_diag_set(&diag, -EINVAL, "'verbs' must name rights");
	}
	if (r == 0 && (*ret & manager_rights_with(MANAGER_RIGHT_DANGEROUS))) {
		uint64_t dangerous = *ret & manager_rights_with(MANAGER_RIGHT_DANGEROUS);

		for (unsigned int n = 1; n < VERB_COUNT && r == 0; n++) {
			if (dangerous & MANAGER_RIGHT(n)) {
				r = bh_diag_set(&diag, -EINVAL,
						"%s is dangerous: no token carries it",
						manager_right_name((enum manager_verb)n));
			}
		}
	}
	if (r < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
	}
	return r == 0;
}

static bool take_wish(struct manager_request *req, const json_t *body, struct wish *w)
{
	struct bh_diag diag = {};

	w->days = TOKEN_DAYS;
	if (!manager_request_text(req, body, "name", w->name, sizeof(w->name), NULL) ||
	    !manager_request_text(req, body, "tenant", w->tenant, sizeof(w->tenant), "*") ||
	    !take_verbs(req, json_object_get(body, "verbs"), &w->rights)) {
		return false;
	}
	if (json_object_get(body, "days") &&
	    (bh_json_u64(body, "days", TOKEN_DAYS_MAX, &w->days, &diag) < 0 || !w->days)) {
		manager_reply_errorf(req, 400, "bad_request", "'days' must be from 1 to %d",
				     TOKEN_DAYS_MAX);
		return false;
	}
	w->number = strcmp(w->tenant, "*") == 0 ? MANAGER_EACH_TENANT
						: manager_request_tenant(req, w->tenant);
	if ((strcmp(w->tenant, "*") != 0 && !w->number) ||
	    (w->number &&
	     (w->rights & ~manager_rights_at(&req->principal, w->number, bh_time_wall_ns()))) ||
	    (w->rights & ~manager_rights_anywhere(&req->principal, bh_time_wall_ns()))) {
		manager_reply_errorf(req, 403, "forbidden",
				     "a token has no rights that you don't have yourself there");
		return false;
	}
	return true;
}

static void create_token(struct manager_request *req)
{
	static const char *const known[] = {"name", "verbs", "tenant", "days", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	char secret[MANAGER_SECRET_TEXT_SIZE], text[MANAGER_TOKEN_TEXT_SIZE];
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
	uint64_t now = bh_time_wall_ns();
	struct wish wish = {};
	struct manager_user u;
	struct bh_wbuf rights;
	struct manager_store_api_token row;
	struct bh_diag diag = {};
	size_t count = 0;
	int64_t id;
	int r;

	if (!body || !manager_request_user(req, &u) || !take_wish(req, body, &wish)) {
		return;
	}
	r = manager_store_api_tokens(req->parts->db, 0, u.id, count_token, &count, &diag);
	if (r == 0 && count >= MANAGER_TOKENS_MAX) {
		manager_reply_errorf(req, 409, "conflict", "a user has at most %d tokens",
				     MANAGER_TOKENS_MAX);
		return;
	}
	manager_secret_make(secret, hash);
	bh_wbuf_init(&rights, 0);
	manager_rights_format(wish.rights, &rights);
	row = (struct manager_store_api_token){.user = u.id,
					       .name = wish.name,
					       .rights = bh_wbuf_cstr(&rights),
					       .hash = hash,
					       .tenant = wish.number,
					       .created_ns = now,
					       .expires_ns = now + wish.days * 86400 * BH_NS_PER_S,
					       .factor = req->session.factor_ns != 0};
	r = r == 0 ? manager_store_add_api_token(req->parts->db, &row, &id, &diag) : r;
	bh_wbuf_done(&rights);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_api_token_text(id, secret, text);
	token_changed(req, &u, id, NULL);
	manager_request_detail(req, "token %lld '%s'", (long long)id, wish.name);
	manager_reply(req, 201,
		      json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)id, "name", wish.name,
				"token", text, "expires", bh_json_time_or_null(row.expires_ns)));
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(text, sizeof(text));
}

static void delete_token(struct manager_request *req)
{
	struct manager_user u;
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	uint64_t id = 0; /* no token has it */
	int r;

	if (!manager_request_user(req, &u)) {
		return;
	}
	(void)!bh_parse_u64(req->segments[2], 1, INT64_MAX, &id);
	before = id ? token_state(req, &u, (int64_t)id) : NULL;
	r = before ? manager_store_drop_api_token(req->parts->db, (int64_t)id, u.id, &diag)
		   : bh_diag_set(&diag, -ENOENT, "no such token");
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		token_changed(req, &u, (int64_t)id, json_incref(before));
		manager_reply_nothing(req);
	}
}

const struct manager_route manager_routes_me[] = {
	{"PATCH", "me", change_me, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.change"},
	{"POST", "me/password", change_password, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.password"},
	{"GET", "me/factors", get_factors, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "me/totp", begin_totp, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.totp-begin"},
	{"POST", "me/totp:confirm", confirm_totp, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.totp"},
	{"DELETE", "me/totp", remove_totp, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.totp-remove"},
	{"POST", "me/recovery", new_recovery, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.recovery"},
	{"GET", "me/tokens", list_tokens, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "me/tokens", create_token, VERB_TOKEN_WRITE, OBJECT_SELF, API_AUDIT,
	 "me.token-create"},
	{"DELETE", "me/tokens/*", delete_token, VERB_NONE, OBJECT_SELF, API_AUDIT,
	 "me.token-delete"},
	{},
};
