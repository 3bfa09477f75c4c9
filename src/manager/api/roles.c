/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/rights, /v1/roles, /v1/sessions and /v1/settings/accounts. */
#include "manager/api/users.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

/* ---- the table ---- */

static json_t *builtin_json(const struct manager_role *r)
{
	return json_pack("{s:s, s:b, s:s, s:o, s:o}", "name", r->name, "builtin", 1, "words",
			 r->words, "provider_verbs", manager_right_names_json(r->provider),
			 "tenant_verbs", manager_right_names_json(r->tenant));
}

static void get_rights(struct manager_request *req)
{
	json_t *rights = json_array(), *roles = json_array();

	for (unsigned int n = VERB_NONE + 1; n < VERB_COUNT; n++) {
		enum manager_verb v = (enum manager_verb)n;
		unsigned int flags = manager_right_flags(v);

		json_array_append_new(
			rights, json_pack("{s:s, s:s, s:b, s:b, s:b}", "verb",
					  manager_right_name(v), "words", manager_right_words(v),
					  "reads", (flags & MANAGER_RIGHT_READS) != 0, "factor",
					  (flags & MANAGER_RIGHT_FACTOR) != 0, "dangerous",
					  (flags & MANAGER_RIGHT_DANGEROUS) ==
						  (unsigned int)MANAGER_RIGHT_DANGEROUS));
	}
	for (size_t i = 0; i < manager_role_count; i++) {
		json_array_append_new(roles, builtin_json(&manager_roles[i]));
	}
	manager_reply(req, 200, json_pack("{s:o, s:o}", "rights", rights, "roles", roles));
}

/* ---- custom roles ---- */

struct custom {
	struct manager_request *req;
	json_t *list;
};

static int add_custom(const struct manager_store_role *row, void *arg)
{
	struct custom *c = arg;
	uint64_t rights;

	if (manager_request_holds(c->req, VERB_USER_READ, row->tenant) &&
	    manager_rights_parse(row->rights, true, &rights, NULL) == 0) {
		json_array_append_new(c->list, json_pack("{s:s, s:b, s:s, s:s, s:o}", "name",
							 row->name, "builtin", 0, "tenant",
							 manager_tenant_name(c->req, row->tenant),
							 "words", row->words, "tenant_verbs",
							 manager_right_names_json(rights)));
	}
	return 0;
}

static void list_roles(struct manager_request *req)
{
	struct custom c = {.req = req, .list = json_array()};
	struct bh_diag diag = {};

	for (size_t i = 0; i < manager_role_count; i++) {
		json_array_append_new(c.list, builtin_json(&manager_roles[i]));
	}
	if (manager_store_roles(req->parts->db, 0, NULL, add_custom, &c, &diag) < 0) {
		json_decref(c.list);
		manager_reply_failed(req, -EIO, &diag);
		return;
	}
	manager_reply(req, 200, json_pack("{s:o}", "items", c.list));
}

static bool take_rights(struct manager_request *req, const json_t *verbs, uint64_t *ret)
{
	struct bh_diag diag = {};
	const json_t *v;
	size_t i;

	*ret = 0;
	json_array_foreach (verbs, i, v) {
		enum manager_verb verb =
			json_is_string(v) ? manager_right_find(json_string_value(v)) : VERB_NONE;

		if (verb == VERB_NONE) {
			bh_diag_set(&diag, -EINVAL, "there is no right '%.40s'",
				    json_is_string(v) ? json_string_value(v) : "?");
			manager_reply_error(req, 400, "bad_request", &diag);
			return false;
		}
		*ret |= MANAGER_RIGHT(verb);
	}
	if (!*ret) {
		manager_reply_errorf(req, 400, "bad_request", "'verbs' must be a list of rights");
	}
	return *ret != 0;
}

static void create_role(struct manager_request *req)
{
	static const char *const known[] = {"tenant", "name", "verbs", "words", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	char tenant[BH_NAME_MAX + 1], name[BH_NAME_MAX + 1], words[200];
	BH_FREE char *object = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf text;
	struct manager_store_role row;
	uint64_t rights;
	uint32_t number;
	int r;

	if (!body || !manager_request_text(req, body, "tenant", tenant, sizeof(tenant), NULL) ||
	    !manager_request_text(req, body, "name", name, sizeof(name), NULL) ||
	    !manager_request_text(req, body, "words", words, sizeof(words), "") ||
	    !take_rights(req, json_object_get(body, "verbs"), &rights)) {
		return;
	}
	number = manager_request_tenant(req, tenant);
	if (!manager_request_may(req, VERB_ROLE_WRITE, number, tenant)) {
		return;
	}
	if (!number || !bh_name_valid(name) || manager_role_find(name)) {
		manager_reply_errorf(req, 400, "bad_request", "'%.80s' can't be a role's name",
				     name);
		return;
	}
	if (!manager_may_delegate(&req->principal, rights, number, bh_time_wall_ns())) {
		manager_reply_errorf(req, 403, "forbidden",
				     "a role has no rights that its maker does not hold there");
		return;
	}
	bh_wbuf_init(&text, 0);
	manager_rights_format(rights, &text);
	row = (struct manager_store_role){.tenant = number,
					  .name = name,
					  .rights = bh_wbuf_cstr(&text),
					  .words = words,
					  .maker = req->principal.user};
	r = manager_store_add_role(req->parts->db, &row, &diag);
	bh_wbuf_done(&text);
	if (r == -EEXIST) {
		manager_reply_errorf(req, 409, "conflict", "role '%s' exists", name);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		object = bh_asprintf("role/%s/%s", tenant, name);
		manager_request_changed(
			req, number, object, NULL,
			json_pack("{s:o}", "verbs", manager_right_names_json(rights)));
		manager_request_detail(req, "role %s at %s", name, tenant);
		manager_reply(req, 201,
			      json_pack("{s:s, s:s, s:o}", "name", name, "tenant", tenant,
					"tenant_verbs", manager_right_names_json(rights)));
	}
}

static void delete_role(struct manager_request *req)
{
	uint32_t number = manager_request_tenant(req, req->segments[1]);
	struct bh_diag diag = {};
	int r;

	if (!manager_request_may(req, VERB_ROLE_WRITE, number, req->segments[2])) {
		return;
	}
	r = manager_store_drop_role(req->parts->db, number, req->segments[2], &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		BH_FREE char *object =
			bh_asprintf("role/%s/%s", req->segments[1], req->segments[2]);

		manager_request_changed(req, number, object, json_object(), NULL);
		manager_reply_nothing(req);
	}
}

/* ---- sessions ---- */

struct kept {
	int64_t id, user;
	uint64_t created_ns, used_ns;
	char factor[MANAGER_FACTOR_MAX + 1], agent[200], address[64];
};
struct sessions {
	BH_VEC(struct kept) list;
};

static int keep_session(const struct manager_store_session *row, void *arg)
{
	struct kept *k = bh_vec_push(&((struct sessions *)arg)->list);

	k->id = row->id;
	k->user = row->user;
	k->created_ns = row->created_ns;
	k->used_ns = row->used_ns;
	snprintf(k->factor, sizeof(k->factor), "%s", row->factor);
	snprintf(k->agent, sizeof(k->agent), "%s", row->agent_words);
	snprintf(k->address, sizeof(k->address), "%s", row->address);
	return 0;
}

/* One's own, and those of users that one may end. */
static bool may_see(struct manager_request *req, const struct manager_user *u)
{
	return (u->id && u->id == req->principal.user) ||
	       manager_request_holds(req, VERB_SESSION_REVOKE, u->tenant);
}

static void list_sessions(struct manager_request *req)
{
	struct sessions all = {};
	struct manager_page page;
	struct bh_diag diag = {};

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	if (manager_store_sessions(req->parts->db, 0, true, keep_session, &all, &diag) < 0) {
		manager_page_drop(&page);
		bh_vec_done(&all.list);
		manager_reply_failed(req, -EIO, &diag);
		return;
	}
	bh_vec_foreach (k, &all.list) {
		json_t *agent = json_string(k->agent);
		struct manager_user u;

		if (manager_user_get(req->parts->accounts, NULL, k->user, &u) == 0 &&
		    may_see(req, &u) && manager_page_takes(&page)) {
			manager_page_put(&page,
					 json_pack("{s:I, s:s, s:o, s:o, s:s, s:O, s:s, s:b}", "id",
						   (json_int_t)k->id, "user", u.name, "created",
						   bh_json_time(k->created_ns), "used",
						   bh_json_time(k->used_ns), "factor", k->factor,
						   "agent", agent ? agent : json_null(), "address",
						   k->address, "current",
						   k->id == req->principal.session));
		}
		json_decref(agent);
	}
	bh_vec_done(&all.list);
	manager_page_reply(req, &page, NULL);
}

static void delete_session(struct manager_request *req)
{
	struct sessions all = {};
	struct bh_diag diag = {};
	struct manager_user u = {};
	json_t *before;
	uint64_t id = 0;
	bool found = false;
	int r;

	(void)!bh_parse_u64(req->segments[1], 1, INT64_MAX, &id);
	(void)!manager_store_sessions(req->parts->db, 0, true, keep_session, &all, NULL);
	bh_vec_foreach (k, &all.list) {
		found |= (uint64_t)k->id == id &&
			 manager_user_get(req->parts->accounts, NULL, k->user, &u) == 0 &&
			 may_see(req, &u);
	}
	bh_vec_done(&all.list);
	if (!found) {
		manager_reply_errorf(req, 404, "not_found", "no session '%.20s'", req->segments[1]);
		return;
	}
	if (u.id != req->principal.user &&
	    !manager_request_may(req, VERB_SESSION_REVOKE, u.tenant, u.name)) {
		return;
	}
	before = manager_session_state(req, u.id, (int64_t)id);
	r = manager_store_drop_session(req->parts->db, (int64_t)id, &diag);
	if (r < 0) {
		json_decref(before);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_session_changed(req, u.tenant, u.id, (int64_t)id, before);
	manager_request_detail(req, "session %llu of %s", (unsigned long long)id, u.name);
	manager_reply_nothing(req);
}

/* ---- settings ---- */

static void get_settings(struct manager_request *req)
{
	manager_reply(
		req, 200,
		manager_account_settings_json(manager_accounts_settings(req->parts->accounts)));
}

static bool take_seconds(struct manager_request *req, const json_t *body, const char *key,
			 uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = *ret;
	struct bh_diag diag = {};

	if (json_object_get(body, key) && (bh_json_u64(body, key, max, &v, &diag) < 0 || v < min)) {
		manager_reply_errorf(req, 400, "bad_request", "'%s' must be from %llu to %llu", key,
				     (unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*ret = v;
	return true;
}

static bool take_switch(struct manager_request *req, const json_t *body, const char *key, bool *ret)
{
	const json_t *v = json_object_get(body, key);

	if (v && !json_is_boolean(v)) {
		manager_reply_errorf(req, 400, "bad_request", "'%s' must be true or false", key);
		return false;
	}
	*ret = v ? json_is_true(v) : *ret;
	return true;
}

static bool take_url(struct manager_request *req, const json_t *body,
		     struct manager_account_settings *s)
{
	char url[WEBAUTHN_ORIGIN_MAX + 8];
	struct bh_diag diag = {};

	if (!manager_request_text(req, body, "console_url", url, sizeof(url), s->origin)) {
		return false;
	}
	if (!*url) {
		*s->origin = *s->rp_id = '\0';
	} else if (manager_webauthn_origin(url, s->origin, s->rp_id, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return false;
	}
	return true;
}

static void patch_settings(struct manager_request *req)
{
	static const char *const known[] = {"fresh_s",	    "idle_s",	   "absolute_s",
					    "bind_address", "admin_token", "key_verify",
					    "console_url",  NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_account_settings s = *manager_accounts_settings(req->parts->accounts);
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	int r;

	if (!body || !take_seconds(req, body, "fresh_s", 30, 3600, &s.fresh_s) ||
	    !take_seconds(req, body, "idle_s", 60, 86400, &s.idle_s) ||
	    !take_seconds(req, body, "absolute_s", 300, 7 * 86400, &s.absolute_s) ||
	    !take_switch(req, body, "bind_address", &s.bind_address) ||
	    !take_switch(req, body, "admin_token", &s.admin_token) ||
	    !take_switch(req, body, "key_verify", &s.key_verify) || !take_url(req, body, &s)) {
		return;
	}
	before = manager_account_settings_json(manager_accounts_settings(req->parts->accounts));
	r = manager_accounts_set_settings(req->parts->accounts, &s, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, "settings/accounts", json_incref(before),
				manager_account_settings_json(&s));
	manager_reply(req, 200, manager_account_settings_json(&s));
}

const struct manager_route manager_routes_roles[] = {
	{"GET", "rights", get_rights, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"GET", "roles", list_roles, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "roles", create_role, VERB_ROLE_WRITE, OBJECT_BODY, API_AUDIT, "role.create"},
	{"DELETE", "roles/*/*", delete_role, VERB_ROLE_WRITE, OBJECT_BODY, API_AUDIT,
	 "role.delete"},
	{"GET", "sessions", list_sessions, VERB_NONE, OBJECT_SELF, 0, NULL, API_PAGE_QUERY},
	{"DELETE", "sessions/*", delete_session, VERB_NONE, OBJECT_SELF, API_AUDIT,
	 "session.revoke"},
	{"GET", "settings/accounts", get_settings, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL},
	{"PATCH", "settings/accounts", patch_settings, VERB_SETTINGS_WRITE, OBJECT_SYSTEM,
	 API_AUDIT, "settings.accounts"},
	{},
};
