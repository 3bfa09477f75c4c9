/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/keys.h"
#include "manager/auth/oidc.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>

#define MAKERS_MAX    64 /* users that somebody's rights may hang on */
#define NAME_MAX_LEN  31
#define TOTP_PENDING  UINT64_MAX /* in the place of the step */
#define SETTINGS_NAME "accounts"
#define BY_REQUEST    "self-service"

BH_COUNTER(auth_makers_many, "users that were left without rights which hang on too many others");

struct manager_accounts {
	struct manager_accounts_options o;
	struct manager_account_settings settings;
	struct manager_lockout *lockout;
	struct manager_passwords *passwords;
	struct manager_challenges *challenges;
	struct manager_oidc *oidc;
	BH_VEC(uint32_t) by_request; /* tenants without self-service */
	uint8_t key[crypto_secretbox_KEYBYTES];
};

/* ---- life ---- */

static int load_key(struct manager_accounts *a, struct bh_diag *diag)
{
	char *data = NULL;
	size_t size = 0;
	int r;

	if (!a->o.key_file) {
		crypto_secretbox_keygen(a->key);
		return 0;
	}
	r = bh_file_read(a->o.key_file, 4096, &data, &size, diag);
	if (r == -ENOENT) {
		crypto_secretbox_keygen(a->key);
		return bh_file_replace(a->o.key_file, a->key, sizeof(a->key), 0600, diag);
	}
	if (r == 0 && size != sizeof(a->key)) {
		r = bh_diag_set(diag, -EBADMSG, "%s is no key of accounts", a->o.key_file);
	}
	if (r == 0) {
		memcpy(a->key, data, size);
	}
	if (data) {
		sodium_memzero(data, size);
	}
	free(data);
	return r;
}

static void load_settings(struct manager_accounts *a)
{
	BH_FREE char *text = manager_store_setting(a->o.db, SETTINGS_NAME);
	BH_JSON json_t *json = text ? json_loads(text, 0, NULL) : NULL;
	const json_t *bind = json_object_get(json, "bind_address");
	const json_t *token = json_object_get(json, "admin_token");
	const char *url = bh_json_str_or(json, "console_url", "");

	a->settings = (struct manager_account_settings){
		.fresh_s = bh_json_u64_or(json, "fresh_s", 300),
		.idle_s = bh_json_u64_or(json, "idle_s", 1800),
		.absolute_s = bh_json_u64_or(json, "absolute_s", 43200),
		.bind_address = json_is_true(bind),
		.admin_token = !json_is_false(token),
		.key_verify = json_is_true(json_object_get(json, "key_verify")),
	};
	if (*url && manager_webauthn_origin(url, a->settings.origin, a->settings.rp_id, NULL) < 0) {
		*a->settings.origin = '\0';
	}
}

/* ---- self-service: {"off": [numbers of tenants]} ---- */

static void load_self_service(struct manager_accounts *a)
{
	BH_FREE char *text = manager_store_setting(a->o.db, BY_REQUEST);
	BH_JSON json_t *json = text ? json_loads(text, 0, NULL) : NULL;
	json_t *number;
	size_t i;

	json_array_foreach (json_object_get(json, "off"), i, number) {
		*bh_vec_push(&a->by_request) = (uint32_t)json_integer_value(number);
	}
}

bool manager_self_service(const struct manager_accounts *a, uint32_t tenant)
{
	bh_vec_foreach (off, &a->by_request) {
		if (*off == tenant) {
			return false;
		}
	}
	return true;
}

int manager_self_service_set(struct manager_accounts *a, uint32_t tenant, bool on,
			     struct bh_diag *diag)
{
	BH_JSON json_t *json = json_pack("{s:[]}", "off");
	json_t *list = json_object_get(json, "off");
	BH_FREE char *text = NULL;
	int r;

	bh_vec_foreach (off, &a->by_request) {
		/* Numbers are not used again: those of tenants that are gone may go. */
		if (*off != tenant && manager_tenant_at(a->o.inv, *off)) {
			json_array_append_new(list, json_integer(*off));
		}
	}
	if (!on) {
		json_array_append_new(list, json_integer(tenant));
	}
	text = bh_json_dump(json);
	r = manager_store_set_setting(a->o.db, BY_REQUEST, text, diag);
	if (r == 0) {
		bh_vec_done(&a->by_request);
		load_self_service(a);
	}
	return r;
}

int manager_accounts_new(const struct manager_accounts_options *options,
			 struct manager_accounts **ret, struct bh_diag *diag)
{
	struct manager_accounts *a = bh_alloc(sizeof(*a));
	int r;

	a->o = *options;
	r = load_key(a, diag);
	if (r < 0) {
		free(a);
		return r;
	}
	load_settings(a);
	load_self_service(a);
	a->lockout = manager_lockout_new();
	a->passwords = manager_passwords_new(options->loop);
	a->challenges = manager_challenges_new();
	a->oidc = manager_oidc_new(a);
	*ret = a;
	return 0;
}

void manager_accounts_free(struct manager_accounts *a)
{
	if (!a) {
		return;
	}
	manager_passwords_free(a->passwords);
	manager_lockout_free(a->lockout);
	manager_challenges_free(a->challenges);
	manager_oidc_free(a->oidc);
	bh_vec_done(&a->by_request);
	sodium_memzero(a->key, sizeof(a->key));
	free(a);
}

static uint64_t before(uint64_t now_ns, uint64_t seconds)
{
	uint64_t ns = seconds * BH_NS_PER_S;

	return now_ns > ns ? now_ns - ns : 0;
}

void manager_accounts_tick(struct manager_accounts *a, uint64_t now_ns)
{
	struct bh_diag diag = {};

	if (manager_store_trim_sessions(a->o.db, before(now_ns, a->settings.idle_s),
					before(now_ns, a->settings.absolute_s), &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "auth", 1, "sessions: %s", diag.text);
	}
}

struct manager_db *manager_accounts_db(const struct manager_accounts *a)
{
	return a->o.db;
}

struct manager_lockout *manager_accounts_lockout(const struct manager_accounts *a)
{
	return a->lockout;
}

struct manager_passwords *manager_accounts_passwords(const struct manager_accounts *a)
{
	return a->passwords;
}

struct manager_challenges *manager_accounts_challenges(const struct manager_accounts *a)
{
	return a->challenges;
}

struct manager_oidc *manager_accounts_oidc(const struct manager_accounts *a)
{
	return a->oidc;
}

const struct manager_account_settings *manager_accounts_settings(const struct manager_accounts *a)
{
	return &a->settings;
}

const uint8_t *manager_accounts_key(const struct manager_accounts *a)
{
	return a->key;
}

json_t *manager_account_settings_json(const struct manager_account_settings *s)
{
	return json_pack("{s:I, s:I, s:I, s:b, s:b, s:b, s:s}", "fresh_s", (json_int_t)s->fresh_s,
			 "idle_s", (json_int_t)s->idle_s, "absolute_s", (json_int_t)s->absolute_s,
			 "bind_address", s->bind_address, "admin_token", s->admin_token,
			 "key_verify", s->key_verify, "console_url", s->origin);
}

int manager_accounts_set_settings(struct manager_accounts *a,
				  const struct manager_account_settings *s, struct bh_diag *diag)
{
	BH_JSON json_t *json = manager_account_settings_json(s);
	BH_FREE char *text = bh_json_dump(json);
	int r = manager_store_set_setting(a->o.db, SETTINGS_NAME, text, diag);

	if (r == 0) {
		a->settings = *s;
	}
	return r;
}

/* ---- users ---- */

static int keep_user(const struct manager_store_user *row, void *arg)
{
	struct manager_user *u = arg;

	memset(u, 0, sizeof(*u));
	u->id = row->id;
	u->maker = row->maker;
	u->tenant = row->tenant;
	snprintf(u->name, sizeof(u->name), "%s", row->name);
	snprintf(u->display, sizeof(u->display), "%s", row->display);
	snprintf(u->locale, sizeof(u->locale), "%s", row->locale);
	snprintf(u->password, sizeof(u->password), "%s", row->password);
	if (row->totp && row->totp_size <= sizeof(u->totp)) {
		memcpy(u->totp, row->totp, row->totp_size);
		u->totp_size = row->totp_size;
	}
	u->totp_pending = row->totp_step == TOTP_PENDING;
	u->totp_step = u->totp_pending ? 0 : row->totp_step;
	u->created_ns = row->created_ns;
	u->login_ns = row->login_ns;
	u->disabled = row->disabled;
	u->must_change = row->must_change;
	u->keys = row->keys;
	return 0;
}

int manager_user_get(struct manager_accounts *a, const char *name, int64_t id,
		     struct manager_user *ret)
{
	return manager_store_user(a->o.db, name, id, keep_user, ret);
}

int manager_user_put(struct manager_accounts *a, const struct manager_user *u, struct bh_diag *diag)
{
	struct manager_store_user row = {
		.id = u->id,
		.display = u->display,
		.password = u->password,
		.totp = u->totp_size ? u->totp : NULL,
		.totp_size = u->totp_size,
		.totp_step = u->totp_pending ? TOTP_PENDING : u->totp_step,
		.locale = u->locale,
		.login_ns = u->login_ns,
		.disabled = u->disabled,
		.must_change = u->must_change,
	};

	return manager_store_set_user(a->o.db, &row, diag);
}

int manager_user_name(const char *text, const struct manager_tenant *tenant,
		      char ret[MANAGER_USER_MAX + 1], struct bh_diag *diag)
{
	size_t len = strcspn(text, "@");
	bool good = len >= 1 && len <= NAME_MAX_LEN && text[0] >= 'a' && text[0] <= 'z' &&
		    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") >= len;

	if (!good) {
		return bh_diag_set(
			diag, -EINVAL,
			"a user's name has 1 to %d of a-z, 0-9, '.', '_', '-' and begins "
			"with a letter",
			NAME_MAX_LEN);
	}
	if (tenant->number == MANAGER_PROVIDER &&
	    (strcmp(text, "root") == 0 || strcmp(text, "bulkheadd") == 0)) {
		return bh_diag_set(diag, -EINVAL,
				   "'%s' is what the record calls somebody else: take another name",
				   text);
	}
	if (text[len] &&
	    (tenant->number == MANAGER_PROVIDER || strcmp(text + len + 1, tenant->name) != 0)) {
		return bh_diag_set(diag, -EINVAL,
				   "the part behind '@' must be the tenant of the user, and users "
				   "of the provider have none");
	}
	if (tenant->number == MANAGER_PROVIDER) {
		snprintf(ret, MANAGER_USER_MAX + 1, "%.*s", (int)len, text);
	} else {
		snprintf(ret, MANAGER_USER_MAX + 1, "%.*s@%s", (int)len, text, tenant->name);
	}
	return 0;
}

/* ---- what users hold ---- */

struct given {
	char role[BH_NAME_MAX + 1];
	uint32_t tenant;
	uint64_t until_ns;
	bool appointed;
};
struct givens {
	BH_VEC(struct given) list;
};

static int keep_given(const struct manager_store_given *row, void *arg)
{
	struct givens *all = arg;
	struct given *g;

	if (all->list.count >= MANAGER_GIVEN_MAX) {
		return 0;
	}
	g = bh_vec_push(&all->list);
	snprintf(g->role, sizeof(g->role), "%s", row->role);
	g->tenant = row->tenant;
	g->until_ns = row->until_ns;
	g->appointed = row->appointed;
	return 0;
}

struct custom {
	bool found;
	uint64_t rights;
	int64_t maker;
};

static int keep_custom(const struct manager_store_role *row, void *arg)
{
	struct custom *c = arg;

	c->found = manager_rights_parse(row->rights, true, &c->rights, NULL) == 0;
	c->maker = row->maker;
	return 0;
}

/* Rights hang on those of who made the user, of who made his roles, and so on. Each of these is
 * looked at once: people who hand each other many roles would cost more with each hand. */
struct holder {
	int64_t user;
	struct manager_principal holds; /* nothing while it is being found out */
};
struct resolving {
	struct manager_accounts *a;
	uint64_t now_ns;
	BH_VEC(struct holder *) known;
};

static void resolving_done(struct resolving *w)
{
	bh_vec_foreach (h, &w->known) {
		manager_principal_done(&(*h)->holds);
		free(*h);
	}
	bh_vec_done(&w->known);
}

static int principal_of(struct resolving *w, int64_t user, struct manager_principal *ret);

/* *ret is w's. -ENOENT when there is no such user. */
static int resolve(struct resolving *w, int64_t user, struct manager_principal **ret)
{
	struct manager_principal found = {};
	struct holder *holder;
	int r;

	bh_vec_foreach (h, &w->known) {
		if ((*h)->user == user) {
			*ret = &(*h)->holds;
			return 0;
		}
	}
	if (w->known.count >= MAKERS_MAX) {
		bh_counter_add(&auth_makers_many, 1);
		return -ENOENT;
	}
	holder = bh_alloc(sizeof(*holder));
	holder->user = user;
	*bh_vec_push(&w->known) = holder;
	r = principal_of(w, user, &found);
	if (r < 0) {
		manager_principal_done(&found);
		return r;
	}
	holder->holds = found;
	*ret = &holder->holds;
	return 0;
}

/* Cut down to what the user `maker` holds; nothing is left when he is not there. */
static int limit_to(struct resolving *w, struct manager_principal *p, int64_t maker)
{
	struct manager_principal nobody = {}, *m = &nobody;
	int r;

	if (!maker) {
		return 0; /* root made him */
	}
	r = resolve(w, maker, &m);
	if (r == 0 || r == -ENOENT) {
		manager_holdings_limit(p, m, w->now_ns);
		r = 0;
	}
	return r;
}

/* Adds what the role gives to p. A role that is there no more gives nothing. */
static int add_given(struct resolving *w, const struct given *g, struct manager_principal *p)
{
	const struct manager_role *role = manager_role_find(g->role);
	struct manager_principal custom = {};
	struct custom c = {};
	int r;

	if (role) {
		manager_holdings_add_role(p, role->provider, role->tenant, g->tenant, g->until_ns);
		return 0;
	}
	r = manager_store_roles(w->a->o.db, g->tenant, g->role, keep_custom, &c, NULL);
	if (r < 0 || !c.found || g->tenant == MANAGER_EACH_TENANT) {
		return r < 0 ? r : 0;
	}
	manager_holdings_add_role(&custom, c.rights, c.rights, g->tenant, g->until_ns);
	r = limit_to(w, &custom, c.maker);
	manager_holdings_join(p, &custom);
	manager_principal_done(&custom);
	return r;
}

static void describe_roles(struct manager_accounts *a, const struct givens *all, uint64_t now_ns,
			   struct manager_principal *p)
{
	size_t at = 0;

	bh_vec_foreach (g, &all->list) {
		const struct manager_tenant *t = manager_tenant_at(a->o.inv, g->tenant);

		if ((g->until_ns && g->until_ns <= now_ns) || at >= sizeof(p->roles)) {
			continue;
		}
		at += (size_t)snprintf(p->roles + at, sizeof(p->roles) - at, "%s%s at %s",
				       at ? ", " : "", g->role,
				       g->tenant == MANAGER_EACH_TENANT ? "*"
				       : t				? t->name
									: "?");
	}
}

static int principal_of(struct resolving *w, int64_t user, struct manager_principal *ret)
{
	struct manager_principal appointed = {};
	struct givens all = {};
	struct manager_user u;
	int r = manager_user_get(w->a, NULL, user, &u);

	if (r == 0) {
		r = manager_store_givens(w->a->o.db, user, keep_given, &all, NULL);
	}
	bh_vec_foreach (g, &all.list) {
		if (r == 0) {
			r = add_given(w, g, g->appointed ? &appointed : ret);
		}
	}
	if (r == 0) {
		r = limit_to(w, ret, u.maker);
	}
	if (r == 0) {
		manager_holdings_join(ret, &appointed);
		ret->user = u.id;
		ret->tenant = u.tenant;
		snprintf(ret->name, sizeof(ret->name), "%s", u.name);
		describe_roles(w->a, &all, w->now_ns, ret);
	}
	manager_principal_done(&appointed);
	bh_vec_done(&all.list);
	return r;
}

int manager_user_holdings(struct manager_accounts *a, int64_t user, uint64_t now_ns,
			  struct manager_principal *ret)
{
	struct resolving w = {.a = a, .now_ns = now_ns};
	struct manager_principal *found;
	int r = resolve(&w, user, &found);

	memset(ret, 0, sizeof(*ret));
	if (r == 0) {
		*ret = *found;
		memset(found, 0, sizeof(*found));
	}
	resolving_done(&w);
	return r;
}

int manager_user_principal(struct manager_accounts *a, int64_t user, uint64_t now_ns,
			   struct manager_principal *ret)
{
	struct manager_user u;
	int r = manager_user_get(a, NULL, user, &u);

	memset(ret, 0, sizeof(*ret));
	if (r == 0 && u.disabled) {
		r = -EACCES;
	}
	r = r < 0 ? r : manager_user_holdings(a, user, now_ns, ret);
	bh_vec_foreach (off, &a->by_request) {
		manager_holdings_by_request(ret, *off); /* of one who is not there: nothing */
	}
	return r;
}

int manager_role_rights(struct manager_accounts *a, const char *name, uint32_t tenant,
			uint64_t now_ns, uint64_t *ret_provider, uint64_t *ret_tenant)
{
	const struct manager_role *role = manager_role_find(name);
	struct custom c = {};
	int r = 0;

	if (role) {
		*ret_provider = role->provider;
		*ret_tenant = role->tenant;
		return 0;
	}
	if (tenant != MANAGER_EACH_TENANT) {
		r = manager_store_roles(a->o.db, tenant, name, keep_custom, &c, NULL);
	}
	*ret_provider = *ret_tenant = c.rights;
	return r < 0 ? r : c.found ? 0 : -ENOENT;
}
