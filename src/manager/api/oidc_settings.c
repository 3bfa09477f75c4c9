/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/settings/oidc, and which user a provider's subject is: /v1/users/{name}/oidc. */
#include "manager/api/users.h"
#include "manager/auth/oidc.h"

#include "base/json.h"

#include <errno.h>

/* ---- settings ---- */

/* Without the secret, and what nobody asked to be shown. */
static json_t *shown(struct manager_request *req)
{
	static const struct {
		const char *key, *dflt;
	} texts[] = {{"name", ""},	 {"issuer", ""},
		     {"client_id", ""},	 {"scopes", "openid profile"},
		     {"ca", ""},	 {"tenant", "provider"},
		     {"claim", "groups"}};
	static const char *const lists[] = {"amr", "acr", "rules"};
	const json_t *s = manager_oidc_settings(manager_accounts_oidc(req->parts->accounts));
	const char *origin = manager_accounts_settings(req->parts->accounts)->origin;
	json_t *obj = json_pack("{s:b, s:b, s:b, s:b}", "enabled",
				json_is_true(json_object_get(s, "enabled")), "create",
				json_is_true(json_object_get(s, "create")), "logout",
				json_is_true(json_object_get(s, "logout")), "client_secret_set",
				*bh_json_str_or(s, "client_secret", "") != '\0');

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		json_object_set_new(obj, texts[i].key,
				    json_string(bh_json_str_or(s, texts[i].key, texts[i].dflt)));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(lists); i++) {
		const json_t *list = json_object_get(s, lists[i]);

		json_object_set_new(obj, lists[i], list ? json_deep_copy(list) : json_array());
	}
	json_object_set_new(obj, "redirect_uri", json_sprintf("%s/v1/login/oidc/callback", origin));
	json_object_set_new(obj, "post_logout_redirect_uri", json_sprintf("%s/", origin));
	return obj;
}

static void get_settings(struct manager_request *req)
{
	manager_reply(req, 200, shown(req));
}

/* Who sets rules gives roles by them: only those that he could give by hand. */
static bool may_rules(struct manager_request *req, json_t *rules)
{
	struct manager_gift gift;
	json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule) {
		if (!manager_gift_take(req, rule, "provider", &gift) ||
		    !manager_gift_may(req, &gift, 0)) {
			return false;
		}
		json_object_set_new(rule, "appointed", json_boolean(gift.appointed));
	}
	return true;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	return strcmp(bh_json_str_or(a, key, ""), bh_json_str_or(b, key, "")) == 0;
}

static void put_settings(struct manager_request *req)
{
	static const char *const known[] = {"enabled",	     "name",   "issuer", "client_id",
					    "client_secret", "scopes", "ca",	 "tenant",
					    "create",	     "claim",  "rules",	 "amr",
					    "acr",	     "logout", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_accounts *a = req->parts->accounts;
	struct manager_oidc *oidc = manager_accounts_oidc(a);
	const json_t *old = manager_oidc_settings(oidc);
	BH_JSON json_t *before = shown(req);
	struct bh_diag diag = {};
	int r;

	manager_request_wipe(req);
	if (!body) {
		return;
	}
	if (manager_oidc_check_settings(body, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (json_is_true(json_object_get(body, "enabled")) &&
	    !*manager_accounts_settings(a)->origin) {
		manager_reply_errorf(req, 409, "conflict",
				     "the provider has to know the console's URL: set console_url "
				     "of settings/accounts");
		return;
	}
	if (!manager_request_tenant(req, bh_json_str_or(body, "tenant", "provider"))) {
		manager_reply_errorf(req, 400, "bad_request", "there is no tenant '%.80s'",
				     bh_json_str_or(body, "tenant", ""));
		return;
	}
	if (!may_rules(req, json_object_get(body, "rules"))) {
		return;
	}
	/* The secret is not shown, so it stays when it is not said, but not for another one. */
	if (!json_object_get(body, "client_secret") && old && same(old, body, "issuer") &&
	    same(old, body, "client_id")) {
		json_object_set_new(body, "client_secret",
				    json_string(bh_json_str_or(old, "client_secret", "")));
	}
	json_object_set_new(body, "maker", json_integer(req->principal.user));
	r = manager_oidc_set_settings(oidc, body, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_changed(req, MANAGER_PROVIDER, "settings/oidc", json_incref(before),
					shown(req));
		manager_reply(req, 200, shown(req));
	}
}

/* ---- links ---- */

static int add_link(const char *issuer, const char *subject, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "issuer", issuer, "subject", subject));
	return 0;
}

static json_t *links_json(struct manager_request *req, const struct manager_user *u)
{
	json_t *list = json_array();

	(void)!manager_store_links(req->parts->db, u->id, add_link, list);
	return list;
}

static void get_links(struct manager_request *req)
{
	struct manager_user u;

	if (manager_request_other(req, &u)) {
		manager_reply(req, 200, json_pack("{s:o}", "items", links_json(req, &u)));
	}
}

static void links_changed(struct manager_request *req, const struct manager_user *u, json_t *before)
{
	manager_request_user_changed(req, u, json_pack("{s:o}", "links", before),
				     json_pack("{s:o}", "links", links_json(req, u)));
}

static void put_link(struct manager_request *req)
{
	static const char *const known[] = {"subject", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	const json_t *settings = manager_oidc_settings(manager_accounts_oidc(req->parts->accounts));
	const char *issuer = bh_json_str_or(settings, "issuer", "");
	char subject[OIDC_SUBJECT_MAX + 1];
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	struct manager_user u;
	int r;

	if (!body || !manager_request_other(req, &u) || !manager_request_manages(req, &u) ||
	    !manager_request_text(req, body, "subject", subject, sizeof(subject), NULL)) {
		return;
	}
	if (!*issuer || !*subject) {
		manager_reply_errorf(req, 409, "conflict", "there is no provider, or no subject");
		return;
	}
	before = links_json(req, &u);
	r = manager_store_link(req->parts->db, u.id, issuer, subject, &diag);
	if (r == -EEXIST) {
		manager_reply_errorf(req, 409, "conflict", "this subject is linked already");
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		links_changed(req, &u, json_incref(before));
		manager_request_detail(req, "subject '%s' of %s", subject, issuer);
		manager_reply_nothing(req);
	}
}

static void delete_links(struct manager_request *req)
{
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	struct manager_user u;
	int r;

	if (!manager_request_other(req, &u) || !manager_request_manages(req, &u)) {
		return;
	}
	before = links_json(req, &u);
	r = manager_store_unlink(req->parts->db, u.id, &diag);
	r = r < 0 ? r : manager_store_drop_sessions(req->parts->db, u.id, 0, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		links_changed(req, &u, json_incref(before));
		manager_reply_nothing(req);
	}
}

const struct manager_route manager_routes_oidc_settings[] = {
	{"GET", "settings/oidc", get_settings, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL},
	{"PUT", "settings/oidc", put_settings, VERB_SETTINGS_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "settings.oidc"},
	{"GET", "users/*/oidc", get_links, VERB_USER_READ, OBJECT_BODY, 0, NULL},
	{"PUT", "users/*/oidc", put_link, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT, "user.link"},
	{"DELETE", "users/*/oidc", delete_links, VERB_USER_WRITE, OBJECT_BODY, API_AUDIT,
	 "user.unlink"},
	{},
};
