/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in by OpenID Connect (auth/oidc.h), stepping up and logging out by it: what the login
 * page may offer, the way to the provider and back. The browser comes back from another site, so it
 * is answered with a page of our own that leads on to the console: what that asks for is of our own
 * site again, and gets the session's cookie. For the same reason a step-up knows its session by
 * what was kept when it began, not by the cookie.
 */
#include "manager/api/login.h"
#include "manager/auth/oidc.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"

#include <curl/curl.h>
#include <errno.h>

/* Of the browser that began; Lax, since the way back is from another site. */
#define COOKIE	    "__Host-bulkhead-oidc"
#define WAY	    "/v1/login/oidc"
#define JOBS_MAX    8
#define GIVEN_BY    "oidc"
#define NAME_SHAPED "abcdefghijklmnopqrstuvwxyz0123456789._-"

BH_COUNTER(auth_oidc_logins, "people who logged in by OpenID Connect");
BH_COUNTER(auth_oidc_refused, "logins by OpenID Connect that were refused");
BH_COUNTER(auth_oidc_busy, "logins by OpenID Connect put off because too many were under way");

/* ---- pages ---- */

static void put_escaped(struct bh_wbuf *w, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (strchr("<>&\"'", *p) || (unsigned char)*p < 0x20) {
			bh_wbuf_printf(w, "&#%d;", *p);
		} else {
			bh_wbuf_u8(w, (uint8_t)*p);
		}
	}
}

/* url NULL: the words stay. */
static void reply_page(struct manager_request *req, unsigned int status, const char *words,
		       const char *url)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w,
		    "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Bulkhead</title>");
	if (url) {
		bh_wbuf_str(&w, "<meta http-equiv=\"refresh\" content=\"0;url=");
		put_escaped(&w, url);
		bh_wbuf_str(&w, "\">");
	}
	bh_wbuf_str(&w, "</head><body><p>");
	put_escaped(&w, words);
	bh_wbuf_str(&w, "</p><p><a href=\"/\">Bulkhead</a></p></body></html>");
	manager_reply_text(req, status, "text/html; charset=utf-8", bh_strdup(bh_wbuf_cstr(&w)),
			   w.size);
	bh_wbuf_done(&w);
}

/* Browsers on their way come by GET and get pages, the console's scripts by POST. */
static void refuse(struct manager_request *req, unsigned int status, const char *words)
{
	bh_counter_add(&auth_oidc_refused, 1);
	if (strcmp(req->method, "POST") == 0) {
		manager_reply_errorf(req, status,
				     status == 429 ? "too_many_requests" : "unavailable", "%s",
				     words);
		return;
	}
	free(req->error);
	req->error = bh_strdup(words); /* for the record */
	reply_page(req, status, words, NULL);
}

/* ---- work for a worker ---- */

enum purpose { THERE, BACK, OUT };

struct job {
	uv_work_t work;
	struct manager_request *req; /* NULL: nobody waits any more */
	struct manager_oidc *oidc;
	struct manager_oidc_talk talk;
	enum purpose purpose;
	char *query;	       /* of THERE and OUT: what comes behind the provider's URL */
	int64_t session, user; /* of a step-up on its way BACK; 0 */
	uint64_t begun_s;
	int r;
	struct bh_diag diag;
};

static void forget(void *arg)
{
	struct job *job = arg;

	if (job) {
		job->req = NULL;
	}
}

static void work(uv_work_t *w)
{
	struct job *job = w->data;

	job->r = job->purpose == BACK ? manager_oidc_redeem(&job->talk, &job->diag)
				      : manager_oidc_discover(&job->talk, &job->diag);
}

static void begun(struct manager_request *req, const struct job *job);
static void redeemed(struct manager_request *req, const struct job *job);
static void stepped_up(struct manager_request *req, const struct job *job);
static void left(struct manager_request *req, const struct job *job);

static void answer(struct manager_request *req, const struct job *job)
{
	if (job->purpose == OUT) {
		left(req, job);
	} else if (job->r < 0) {
		refuse(req, job->r == -EACCES ? 401 : 502, job->diag.text);
	} else if (job->purpose == THERE) {
		begun(req, job);
	} else if (job->session) {
		stepped_up(req, job);
	} else {
		redeemed(req, job);
	}
}

static void job_free(struct job *job)
{
	manager_oidc_talk_done(&job->talk);
	free(job->query);
	free(job);
}

static void worked(uv_work_t *w, int status)
{
	struct job *job = w->data;
	struct manager_request *req = job->req;

	manager_oidc_learn(job->oidc, &job->talk, bh_time_mono_ns());
	manager_oidc_worked(job->oidc);
	if (req) {
		req->state = NULL;
		answer(req, job);
	}
	job_free(job);
}

/* With what is known of the provider. */
static struct job *job_new(struct manager_request *req, enum purpose purpose)
{
	struct job *job = bh_alloc(sizeof(*job));

	job->work.data = job;
	job->req = req;
	job->oidc = manager_accounts_oidc(req->parts->accounts);
	job->purpose = purpose;
	manager_oidc_talk_init(job->oidc, bh_time_mono_ns(), &job->talk);
	return job;
}

/* Takes the job over. */
static void start(struct manager_request *req, struct job *job)
{
	if (!manager_oidc_works(job->oidc, JOBS_MAX)) {
		bh_counter_add(&auth_oidc_busy, 1);
		job->r =
			bh_diag_set(&job->diag, -EBUSY, "Too many people are logging in just now.");
		if (job->purpose == OUT) {
			left(req, job);
		} else {
			req->retry_after_s = 2;
			refuse(req, 503, job->diag.text);
		}
		job_free(job);
		return;
	}
	req->state = job;
	req->state_free = forget;
	manager_request_later(req);
	if (uv_queue_work(req->parts->loop, &job->work, work, worked) < 0) {
		abort(); /* only for a missing callback */
	}
}

/* ---- the way there ---- */

static void add_parameter(struct bh_wbuf *w, const char *key, const char *value)
{
	char *text = curl_easy_escape(NULL, value, 0);

	bh_wbuf_printf(w, "&%s=%s", key, text ? text : "");
	curl_free(text);
}

static char *way_back(const struct manager_request *req)
{
	return bh_asprintf("%s" WAY "/callback",
			   manager_accounts_settings(req->parts->accounts)->origin);
}

/* Owned. */
static char *whole_url(const char *endpoint, const struct job *job)
{
	return bh_asprintf("%s%c%s", endpoint, strchr(endpoint, '?') ? '&' : '?', job->query + 1);
}

static void begun(struct manager_request *req, const struct job *job)
{
	BH_FREE char *url =
		whole_url(bh_json_str_or(job->talk.provider, "authorization_endpoint", ""), job);

	if (strcmp(req->method, "POST") == 0) {
		manager_reply(req, 200, json_pack("{s:{s:s}}", "oidc", "url", url));
	} else {
		reply_page(req, 200, "On the way to log in ...", url);
	}
}

/* How somebody is to be asked: anew for a step-up, else not longer ago than a session of ours
 * lasts. max_age makes the provider say when that was. */
static void add_freshness(struct manager_request *req, const json_t *settings, bool anew,
			  struct bh_wbuf *w)
{
	uint64_t age_s = anew ? 0 : manager_accounts_settings(req->parts->accounts)->absolute_s;
	const json_t *acr = json_object_get(settings, "acr"), *value;
	BH_FREE char *age = bh_asprintf("%llu", (unsigned long long)age_s);
	struct bh_wbuf values;
	size_t i;

	add_parameter(w, "max_age", age);
	if (!anew) {
		return;
	}
	add_parameter(w, "prompt", "login");
	bh_wbuf_init(&values, 0);
	json_array_foreach (acr, i, value) {
		bh_wbuf_printf(&values, "%s%s", i ? " " : "", json_string_value(value));
	}
	if (values.size) {
		add_parameter(w, "acr_values", bh_wbuf_cstr(&values));
	}
	bh_wbuf_done(&values);
}

/* The way to the provider, of a login or of a step-up. */
static void lead(struct manager_request *req, int64_t session, int64_t user)
{
	struct manager_oidc *oidc = manager_accounts_oidc(req->parts->accounts);
	const json_t *settings = manager_oidc_settings(oidc);
	struct manager_oidc_asker asker = {req->from, session, user};
	char state[MANAGER_SECRET_TEXT_SIZE], challenge[MANAGER_SECRET_TEXT_SIZE];
	BH_FREE char *redirect = way_back(req);
	struct manager_oidc_pending pending;
	struct bh_wbuf w;
	struct job *job;

	if (manager_oidc_begin(oidc, &asker, bh_time_mono_ns(), state, &pending) < 0) {
		req->retry_after_s = 60;
		refuse(req, 429, "Too many logins of this address are under way.");
		return;
	}
	manager_oidc_challenge(pending.verifier, challenge);
	bh_wbuf_init(&w, 0);
	add_parameter(&w, "response_type", "code");
	add_parameter(&w, "client_id", bh_json_str_or(settings, "client_id", ""));
	add_parameter(&w, "redirect_uri", redirect);
	add_parameter(&w, "scope", bh_json_str_or(settings, "scopes", "openid profile"));
	add_parameter(&w, "state", state);
	add_parameter(&w, "nonce", pending.nonce);
	add_parameter(&w, "code_challenge", challenge);
	add_parameter(&w, "code_challenge_method", "S256");
	add_freshness(req, settings, session != 0, &w);
	snprintf(req->set_cookie, sizeof(req->set_cookie),
		 COOKIE "=%s; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=%d", pending.cookie,
		 OIDC_PENDING_S);
	job = job_new(req, THERE);
	job->query = bh_strdup(bh_wbuf_cstr(&w));
	start(req, job);
	bh_wbuf_done(&w);
	sodium_memzero(&pending, sizeof(pending));
}

static void begin(struct manager_request *req)
{
	if (!manager_oidc_on(manager_accounts_oidc(req->parts->accounts))) {
		refuse(req, 404, "Logging in elsewhere is not set up.");
		return;
	}
	lead(req, 0, 0);
}

/* ---- and back ---- */

static void come_back(struct manager_request *req)
{
	struct manager_oidc *oidc = manager_accounts_oidc(req->parts->accounts);
	const char *state = manager_request_query(req, "state");
	const char *code = manager_request_query(req, "code");
	const char *issuer = manager_request_query(req, "iss");
	const char *cookie = MHD_lookup_connection_value(req->connection, MHD_COOKIE_KIND, COOKIE);
	struct manager_oidc_pending pending;
	struct job *job;

	if (!manager_oidc_on(oidc) || !state || !cookie ||
	    manager_oidc_take(oidc, state, cookie, bh_time_mono_ns(), &pending) < 0) {
		refuse(req, 401, "This login was not begun here, or too long ago: begin anew.");
		return;
	}
	if (!code || !*code || strlen(code) > OIDC_CODE_MAX) {
		refuse(req, 401, "The provider did not let you in.");
		return;
	}
	if (issuer && strcmp(issuer, bh_json_str_or(manager_oidc_settings(oidc), "issuer", "")) !=
			      0) { /* RFC 9207 */
		refuse(req, 401, "The answer is of another provider.");
		return;
	}
	job = job_new(req, BACK);
	job->talk.code = bh_strdup(code);
	job->talk.nonce = bh_strdup(pending.nonce);
	job->talk.verifier = bh_strdup(pending.verifier);
	job->talk.redirect = way_back(req);
	job->session = pending.session;
	job->user = pending.user;
	job->begun_s = pending.begun_s;
	sodium_memzero(&pending, sizeof(pending));
	start(req, job);
}

/* ---- who it is ---- */

/* What the rules give to who has these claims; the roles of the last login go. */
static int give_roles(struct manager_request *req, const json_t *settings, const json_t *claims,
		      int64_t user, struct bh_diag *diag)
{
	const char *claim = bh_json_str_or(settings, "claim", "groups");
	const json_t *rule;
	size_t i;
	int r = manager_store_drop_givens_by(req->parts->db, user, GIVEN_BY, diag);

	json_array_foreach (json_object_get(settings, "rules"), i, rule) {
		const char *at = bh_json_str_or(rule, "at", "");
		bool each = strcmp(at, "*") == 0;
		struct manager_store_given row = {
			.user = user,
			.role = bh_json_str_or(rule, "role", ""),
			.tenant = each ? MANAGER_EACH_TENANT : manager_request_tenant(req, at),
			.appointed = json_is_true(json_object_get(rule, "appointed")),
			.by = GIVEN_BY,
			.since_ns = bh_time_wall_ns()};
		int64_t id;

		if (r == 0 && (each || row.tenant) &&
		    manager_oidc_has(claims, claim, bh_json_str_or(rule, "value", ""))) {
			r = manager_store_add_given(req->parts->db, &row, &id, diag);
		}
	}
	return r;
}

static bool any_rule(const json_t *settings, const json_t *claims)
{
	const char *claim = bh_json_str_or(settings, "claim", "groups");
	const json_t *rule;
	size_t i;

	json_array_foreach (json_object_get(settings, "rules"), i, rule) {
		if (manager_oidc_has(claims, claim, bh_json_str_or(rule, "value", ""))) {
			return true;
		}
	}
	return false;
}

/* A name for people that the provider says, when it has our form; else one of the subject. */
static void name_of(const json_t *claims, bool plain, char ret[32])
{
	const char *said = bh_json_str_or(claims, "preferred_username", "");
	size_t len = strspn(said, NAME_SHAPED);
	uint8_t hash[crypto_hash_sha256_BYTES];
	char hex[17];
	struct bh_wbuf w;

	if (plain && len && len < 31 && (!said[len] || said[len] == '@') && *said >= 'a' &&
	    *said <= 'z') {
		snprintf(ret, 32, "%.*s", (int)len, said);
		return;
	}
	bh_wbuf_init(&w, 0);
	bh_wbuf_printf(&w, "%s\n%s", bh_json_str_or(claims, "iss", ""),
		       bh_json_str_or(claims, "sub", ""));
	crypto_hash_sha256(hash, w.data, w.size);
	bh_wbuf_done(&w);
	bh_hex_format(hash, 8, hex);
	snprintf(ret, 32, "oidc-%s", hex);
}

/* Somebody new, where the settings say so. */
static int make_user(struct manager_request *req, const json_t *settings, const json_t *claims,
		     int64_t *ret, struct bh_diag *diag)
{
	const struct manager_tenant *t = manager_tenant_find(
		req->parts->inv, bh_json_str_or(settings, "tenant", "provider"));
	char display[128], own[32], name[MANAGER_USER_MAX + 1];
	struct manager_store_user row = {.name = name,
					 .display = display,
					 .password = "",
					 .locale = "",
					 .maker = (int64_t)bh_json_u64_or(settings, "maker", 0),
					 .created_ns = bh_time_wall_ns()};
	int r = -EEXIST;

	if (!t) {
		return bh_diag_set(diag, -EACCES, "The tenant for new people is not there.");
	}
	row.tenant = t->number;
	snprintf(display, sizeof(display), "%s", bh_json_str_or(claims, "name", ""));
	for (int plain = 1; plain >= 0 && r == -EEXIST; plain--) {
		name_of(claims, plain, own);
		r = manager_user_name(own, t, name, diag);
		r = r < 0 ? r : manager_store_add_user(req->parts->db, &row, ret, diag);
	}
	return r;
}

/* The user of these claims. -EACCES with words. */
static int find_user(struct manager_request *req, const json_t *settings, const json_t *claims,
		     struct manager_user *ret, struct bh_diag *diag)
{
	const char *issuer = bh_json_str_or(claims, "iss", "");
	const char *subject = bh_json_str_or(claims, "sub", "");
	int64_t id = manager_store_linked(req->parts->db, issuer, subject);
	int r = manager_db_begin(req->parts->db, diag);

	if (r == 0 && !id && json_is_true(json_object_get(settings, "create")) &&
	    any_rule(settings, claims)) {
		r = make_user(req, settings, claims, &id, diag);
		r = r < 0 ? r : manager_store_link(req->parts->db, id, issuer, subject, diag);
	}
	if (r == 0 && !id) {
		r = bh_diag_set(diag, -EACCES,
				"The provider knows you, but there is no account for you here: ask "
				"an administrator to link yours.");
	}
	r = r < 0 ? r : give_roles(req, settings, claims, id, diag);
	if (r == 0) {
		r = manager_db_commit(req->parts->db, diag);
	} else {
		manager_db_abort(req->parts->db);
	}
	r = r < 0 ? r : manager_user_get(req->parts->accounts, NULL, id, ret);
	return r == 0 && ret->disabled ? bh_diag_set(diag, -EACCES, "This account is switched off.")
				       : r;
}

/* When somebody was asked. What does not say counts as longer ago than anything lasts. */
static uint64_t asked_ns(struct manager_request *req, const json_t *claims, uint64_t now)
{
	const struct manager_account_settings *s = manager_accounts_settings(req->parts->accounts);
	uint64_t asked_s = manager_oidc_asked(claims);

	if (!asked_s || asked_s > UINT32_MAX) {
		return now - (s->absolute_s + s->fresh_s) * BH_NS_PER_S;
	}
	return asked_s * BH_NS_PER_S < now ? asked_s * BH_NS_PER_S : now;
}

static void redeemed(struct manager_request *req, const struct job *job)
{
	const json_t *settings = job->talk.settings, *claims = job->talk.claims;
	struct manager_agent agent = manager_request_agent(req);
	bool factor = manager_oidc_factor(settings, claims);
	uint64_t now = bh_time_wall_ns();
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s = {.created_ns = now, .used_ns = now, .proved_ns = now};
	struct bh_diag diag = {};
	struct manager_user u;
	int r = find_user(req, settings, claims, &u, &diag);

	if (r < 0) {
		refuse(req, r == -EACCES ? 403 : 500, diag.text);
		return;
	}
	snprintf(req->who, sizeof(req->who), "user:%s", u.name);
	s.user = u.id;
	s.open = factor || !manager_factor_has(&u);
	if (factor) {
		s.factor_ns = asked_ns(req, claims, now);
		snprintf(s.factor, sizeof(s.factor), "oidc");
	}
	r = manager_session_begin(req->parts->accounts, &s, &agent, secret, &diag);
	r = r < 0 ? r : manager_oidc_keep_token(job->oidc, s.id, job->talk.token, &diag);
	if (r == 0 && s.open) {
		u.login_ns = now;
		r = manager_user_put(req->parts->accounts, &u, &diag);
	}
	if (r < 0) {
		refuse(req, 500, diag.text);
		return;
	}
	if (s.open) {
		manager_request_session_changed(req, u.tenant, u.id, s.id, NULL);
	}
	bh_counter_add(&auth_oidc_logins, 1);
	manager_request_give(req, secret, false, NULL);
	reply_page(req, 200, "Logged in.", "/");
	sodium_memzero(secret, sizeof(secret));
}

/* ---- stepping up ---- */

static int is_issuer(const char *issuer, const char *subject, void *arg)
{
	return strcmp(issuer, arg) == 0;
}

bool manager_request_steps_by_oidc(struct manager_request *req, bool as_factor)
{
	const struct manager_oidc *oidc = manager_accounts_oidc(req->parts->accounts);
	const json_t *settings = manager_oidc_settings(oidc);

	/* A cookie can be given to a browser that comes back, a program's secret to nobody. */
	return req->principal.via == MANAGER_VIA_SESSION && !req->session.bearer &&
	       manager_oidc_on(oidc) && (!as_factor || manager_oidc_may_count(settings)) &&
	       manager_store_links(req->parts->db, req->principal.user, is_issuer,
				   (char *)bh_json_str_or(settings, "issuer", "")) == 1;
}

void manager_request_step_by_oidc(struct manager_request *req)
{
	if (manager_request_steps_by_oidc(req, false)) {
		lead(req, req->session.id, req->principal.user);
	} else {
		manager_reply_errorf(req, 409, "conflict",
				     "this session can't be shown anew at a provider: it is no "
				     "browser's, or its user is linked with none");
	}
}

static void stepped_up(struct manager_request *req, const struct job *job)
{
	const json_t *claims = job->talk.claims;
	struct manager_agent agent = manager_request_agent(req);
	struct manager_accounts *a = req->parts->accounts;
	bool factor = manager_oidc_factor(job->talk.settings, claims);
	uint64_t now = bh_time_wall_ns();
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct bh_diag diag = {};
	BH_JSON json_t *before = NULL;
	struct manager_session s;
	struct manager_user u;

	if (manager_oidc_fresh(claims, job->begun_s, &diag) < 0) {
		refuse(req, 401, diag.text);
		return;
	}
	if (manager_store_linked(req->parts->db, bh_json_str_or(claims, "iss", ""),
				 bh_json_str_or(claims, "sub", "")) != job->user) {
		refuse(req, 403, "The provider asked somebody else.");
		return;
	}
	if (manager_user_get(a, NULL, job->user, &u) < 0 || u.disabled ||
	    manager_session_find_id(a, job->session, job->user, &agent, now, &s) < 0) {
		refuse(req, 401, "The session has ended meanwhile: log in anew.");
		return;
	}
	snprintf(req->who, sizeof(req->who), "user:%s", u.name);
	manager_request_detail(req, "step-up as a %s", factor ? "second factor" : "password");
	before = manager_session_state(req, u.id, s.id);
	if (manager_session_prove(a, &s, factor ? "oidc" : "", asked_ns(req, claims, now), secret,
				  &diag) < 0) {
		refuse(req, 500, diag.text);
		return;
	}
	manager_request_session_changed(req, u.tenant, u.id, s.id, json_incref(before));
	manager_request_give(req, secret, false, NULL);
	reply_page(req, 200,
		   factor ? "Done."
			  : "Done, as your password: the provider asked for no second factor.",
		   factor ? "/" : NULL);
	sodium_memzero(secret, sizeof(secret));
}

/* ---- logging out ---- */

/* Ours is over in any case. */
static void left(struct manager_request *req, const struct job *job)
{
	const char *endpoint = job->r < 0 ? NULL : manager_oidc_end_session(job->talk.provider);
	BH_FREE char *url = endpoint ? whole_url(endpoint, job) : NULL;

	manager_reply(req, 200,
		      json_pack("{s:s?, s:s?}", "url", url, "message",
				url	     ? NULL
				: job->r < 0 ? job->diag.text
					     : "The provider does not say where to log out."));
}

char *manager_request_leaves(struct manager_request *req)
{
	struct manager_oidc *oidc = manager_accounts_oidc(req->parts->accounts);
	bool wanted = json_is_true(json_object_get(manager_oidc_settings(oidc), "logout"));

	return wanted && manager_oidc_on(oidc) ? manager_oidc_kept_token(oidc, req->session.id)
					       : NULL;
}

void manager_request_leave(struct manager_request *req, char *token)
{
	struct manager_accounts *a = req->parts->accounts;
	const json_t *settings = manager_oidc_settings(manager_accounts_oidc(a));
	BH_FREE char *back = bh_asprintf("%s/", manager_accounts_settings(a)->origin);
	struct job *job = job_new(req, OUT);
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	add_parameter(&w, "client_id", bh_json_str_or(settings, "client_id", ""));
	add_parameter(&w, "post_logout_redirect_uri", back);
	if (*token) {
		add_parameter(&w, "id_token_hint", token);
	}
	job->query = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	sodium_memzero(token, strlen(token));
	free(token);
	start(req, job);
}

/* ---- what the login page may offer ---- */

static void get_ways(struct manager_request *req)
{
	struct manager_oidc *oidc = manager_accounts_oidc(req->parts->accounts);
	const char *name = bh_json_str_or(manager_oidc_settings(oidc), "name", "");
	json_t *answer =
		json_pack("{s:o}", "oidc",
			  manager_oidc_on(oidc) ? json_pack("{s:s, s:s}", "name", name, "url", WAY)
						: json_null());
	struct manager_session s;
	struct manager_user u;
	const char *secret;

	if (manager_request_session(req, &s, &secret) == 0 && !s.open &&
	    manager_user_get(req->parts->accounts, NULL, s.user, &u) == 0) {
		json_object_set_new(answer, "need", manager_factors_json(&u));
	}
	manager_reply(req, 200, answer);
}

const struct manager_route manager_routes_oidc[] = {
	{"GET", "login", get_ways, VERB_NONE, OBJECT_PUBLIC, 0, NULL},
	{"GET", "login/oidc", begin, VERB_NONE, OBJECT_PUBLIC, 0, NULL},
	{"GET", "login/oidc/callback", come_back, VERB_NONE, OBJECT_PUBLIC,
	 API_AUDIT_AFTER | API_ANY_QUERY, "login.oidc"},
	{},
};
