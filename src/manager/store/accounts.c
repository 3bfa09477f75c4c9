/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/store/accounts.h"

#include "base/util.h"

#include <errno.h>

/* 0 when something was changed, -ENOENT when nothing was there. */
static int changed(struct manager_db *db, int r, struct bh_diag *diag, const char *what)
{
	if (r == 0 && manager_db_changes(db) == 0) {
		return bh_diag_set(diag, -ENOENT, "no such %s", what);
	}
	return r;
}

static uint64_t time_of(sqlite3_stmt *row, int column)
{
	return (uint64_t)sqlite3_column_int64(row, column);
}

/* ---- users ---- */

struct user_arg {
	manager_store_user_fn *fn;
	void *arg;
	bool found;
};

static int user_row(sqlite3_stmt *row, void *arg)
{
	struct user_arg *a = arg;
	struct manager_store_user u = {
		.id = sqlite3_column_int64(row, 0),
		.name = manager_db_text(row, 1),
		.display = manager_db_text(row, 2),
		.tenant = (uint32_t)sqlite3_column_int64(row, 3),
		.maker = sqlite3_column_int64(row, 4),
		.password = manager_db_text(row, 5),
		.totp = sqlite3_column_blob(row, 6),
		.totp_size = (size_t)sqlite3_column_bytes(row, 6),
		.totp_step = time_of(row, 7),
		.locale = manager_db_text(row, 8),
		.created_ns = time_of(row, 9),
		.login_ns = time_of(row, 10),
		.disabled = sqlite3_column_int(row, 11),
		.must_change = sqlite3_column_int(row, 12),
		.keys = (uint32_t)sqlite3_column_int(row, 13),
	};

	a->found = true;
	return a->fn(&u, a->arg);
}

#define USER_COLUMNS                                                                               \
	"SELECT id, name, display, tenant, maker, password, totp, totp_step, locale, created,"     \
	" login, disabled, must_change,"                                                           \
	" (SELECT count(*) FROM security_keys k WHERE k.user = users.id) FROM users"

int manager_store_users(struct manager_db *db, manager_store_user_fn *fn, void *arg,
			struct bh_diag *diag)
{
	struct user_arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){user_row, &a}, diag,
			       USER_COLUMNS " ORDER BY name", "");
}

int manager_store_user(struct manager_db *db, const char *name, int64_t id,
		       manager_store_user_fn *fn, void *arg)
{
	struct user_arg a = {.fn = fn, .arg = arg};
	int r;

	if (name) {
		r = manager_db_each(db, (struct manager_db_each){user_row, &a}, NULL,
				    USER_COLUMNS " WHERE name = ?1", "t", name);
	} else {
		r = manager_db_each(db, (struct manager_db_each){user_row, &a}, NULL,
				    USER_COLUMNS " WHERE id = ?1", "i", id);
	}
	return r == 0 && !a.found ? -ENOENT : r;
}

int manager_store_add_user(struct manager_db *db, const struct manager_store_user *u,
			   int64_t *ret_id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT INTO users (name, display, tenant, maker, password, locale,"
			       " created, must_change) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			       "ttuittii", u->name, u->display, u->tenant, u->maker, u->password,
			       u->locale, (int64_t)u->created_ns, (int64_t)u->must_change);

	*ret_id = r == 0 ? manager_db_last_id(db) : 0;
	return r;
}

int manager_store_set_user(struct manager_db *db, const struct manager_store_user *u,
			   struct bh_diag *diag)
{
	return manager_db_run(
		db, diag,
		"UPDATE users SET display = ?2, password = ?3, totp = ?4, totp_step = ?5,"
		" locale = ?6, login = ?7, disabled = ?8, must_change = ?9 WHERE id = ?1",
		"ittbitiii", u->id, u->display, u->password, u->totp, u->totp_size,
		(int64_t)u->totp_step, u->locale, (int64_t)u->login_ns, (int64_t)u->disabled,
		(int64_t)u->must_change);
}

static int run_all(struct manager_db *db, const char *const *statements, size_t count, int64_t id,
		   struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		r = manager_db_run(db, diag, statements[i], "i", id);
	}
	return r;
}

int manager_store_leave_users(struct manager_db *db, int64_t id, struct bh_diag *diag)
{
	static const char *const statements[] = {
		"UPDATE custom_roles SET maker = (SELECT maker FROM users WHERE id = ?1)"
		" WHERE maker = ?1",
		"UPDATE users SET maker = (SELECT u.maker FROM users u WHERE u.id = ?1)"
		" WHERE maker = ?1",
	};

	return run_all(db, statements, BH_ARRAY_SIZE(statements), id, diag);
}

int manager_store_drop_user(struct manager_db *db, int64_t id, struct bh_diag *diag)
{
	static const char *const statements[] = {
		"DELETE FROM sessions WHERE user = ?1",
		"DELETE FROM user_roles WHERE user = ?1",
		"DELETE FROM recovery_codes WHERE user = ?1",
		"DELETE FROM security_keys WHERE user = ?1",
		"DELETE FROM oidc_links WHERE user = ?1",
		"DELETE FROM api_tokens WHERE user = ?1",
		"DELETE FROM users WHERE id = ?1",
	};
	int r = manager_db_begin(db, diag);

	r = r < 0 ? r : manager_store_leave_users(db, id, diag);
	r = r < 0 ? r : run_all(db, statements, BH_ARRAY_SIZE(statements), id, diag);
	if (r == 0) {
		r = manager_db_commit(db, diag);
	} else {
		manager_db_abort(db);
	}
	return r;
}

bool manager_store_has_users(struct manager_db *db, uint32_t tenant)
{
	return manager_db_number(db, 0, "SELECT 1 FROM users WHERE tenant = ?1 LIMIT 1", "u",
				 tenant) == 1;
}

/* ---- roles given ---- */

struct given_arg {
	manager_store_given_fn *fn;
	void *arg;
};

static int given_row(sqlite3_stmt *row, void *arg)
{
	struct given_arg *a = arg;
	struct manager_store_given g = {
		.id = sqlite3_column_int64(row, 0),
		.user = sqlite3_column_int64(row, 1),
		.role = manager_db_text(row, 2),
		.tenant = (uint32_t)sqlite3_column_int64(row, 3),
		.until_ns = time_of(row, 4),
		.appointed = sqlite3_column_int(row, 5),
		.by = manager_db_text(row, 6),
		.since_ns = time_of(row, 7),
	};

	return a->fn(&g, a->arg);
}

int manager_store_givens(struct manager_db *db, int64_t user, manager_store_given_fn *fn, void *arg,
			 struct bh_diag *diag)
{
	struct given_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){given_row, &a}, diag,
			       "SELECT id, user, role, tenant, until, appointed, by, since"
			       " FROM user_roles WHERE ?1 = 0 OR user = ?1 ORDER BY id",
			       "i", user);
}

int manager_store_add_given(struct manager_db *db, const struct manager_store_given *g,
			    int64_t *ret_id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT INTO user_roles (user, role, tenant, until, appointed, by,"
			       " since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
			       "ituiiti", g->user, g->role, g->tenant, (int64_t)g->until_ns,
			       (int64_t)g->appointed, g->by, (int64_t)g->since_ns);

	*ret_id = r == 0 ? manager_db_last_id(db) : 0;
	return r;
}

int manager_store_drop_given(struct manager_db *db, int64_t user, int64_t id, struct bh_diag *diag)
{
	return changed(db,
		       manager_db_run(db, diag,
				      "DELETE FROM user_roles WHERE user = ?1 AND id = ?2", "ii",
				      user, id),
		       diag, "role of this user");
}

/* ---- custom roles ---- */

struct role_arg {
	manager_store_role_fn *fn;
	void *arg;
};

static int role_row(sqlite3_stmt *row, void *arg)
{
	struct role_arg *a = arg;
	struct manager_store_role r = {
		.tenant = (uint32_t)sqlite3_column_int64(row, 0),
		.name = manager_db_text(row, 1),
		.rights = manager_db_text(row, 2),
		.words = manager_db_text(row, 3),
		.maker = sqlite3_column_int64(row, 4),
	};

	return a->fn(&r, a->arg);
}

int manager_store_roles(struct manager_db *db, uint32_t tenant, const char *name,
			manager_store_role_fn *fn, void *arg, struct bh_diag *diag)
{
	struct role_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){role_row, &a}, diag,
			       "SELECT tenant, name, rights, words, maker FROM custom_roles"
			       " WHERE ?2 = '' OR (tenant = ?1 AND name = ?2)"
			       " ORDER BY tenant, name",
			       "ut", tenant, name ? name : "");
}

int manager_store_add_role(struct manager_db *db, const struct manager_store_role *r,
			   struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO custom_roles VALUES (?1, ?2, ?3, ?4, ?5)",
			      "uttti", r->tenant, r->name, r->rights, r->words, r->maker);
}

int manager_store_drop_role(struct manager_db *db, uint32_t tenant, const char *name,
			    struct bh_diag *diag)
{
	int r = manager_db_run(db, diag, "DELETE FROM user_roles WHERE tenant = ?1 AND role = ?2",
			       "ut", tenant, name);

	if (r < 0) {
		return r;
	}
	return changed(db,
		       manager_db_run(db, diag,
				      "DELETE FROM custom_roles WHERE tenant = ?1 AND name = ?2",
				      "ut", tenant, name),
		       diag, "role");
}

/* ---- sessions ---- */

struct session_arg {
	manager_store_session_fn *fn;
	void *arg;
	bool found;
};

static int session_row(sqlite3_stmt *row, void *arg)
{
	struct session_arg *a = arg;
	struct manager_store_session s = {
		.id = sqlite3_column_int64(row, 0),
		.user = sqlite3_column_int64(row, 1),
		.open = sqlite3_column_int(row, 2),
		.bearer = sqlite3_column_int(row, 3),
		.created_ns = time_of(row, 4),
		.used_ns = time_of(row, 5),
		.proved_ns = time_of(row, 6),
		.factor_ns = time_of(row, 7),
		.factor = manager_db_text(row, 8),
		.agent = sqlite3_column_blob(row, 9),
		.agent_words = manager_db_text(row, 10),
		.address = manager_db_text(row, 11),
	};

	a->found = true;
	if (sqlite3_column_bytes(row, 9) != MANAGER_SECRET_HASH_SIZE) {
		return -EIO;
	}
	return a->fn(&s, a->arg);
}

#define SESSION_COLUMNS                                                                            \
	"SELECT id, user, open, bearer, created, used, proved, factor_at, factor, agent,"          \
	" agent_words, address FROM sessions"

int manager_store_session(struct manager_db *db, const void *hash, manager_store_session_fn *fn,
			  void *arg)
{
	struct session_arg a = {.fn = fn, .arg = arg};
	int r = manager_db_each(db, (struct manager_db_each){session_row, &a}, NULL,
				SESSION_COLUMNS " WHERE hash = ?1", "b", hash,
				(size_t)MANAGER_SECRET_HASH_SIZE);

	return r == 0 && !a.found ? -ENOENT : r;
}

int manager_store_sessions(struct manager_db *db, int64_t user, bool open,
			   manager_store_session_fn *fn, void *arg, struct bh_diag *diag)
{
	struct session_arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){session_row, &a}, diag,
			       SESSION_COLUMNS
			       " WHERE open = ?2 AND (?1 = 0 OR user = ?1) ORDER BY id DESC",
			       "ii", user, (int64_t)open);
}

int manager_store_add_session(struct manager_db *db, const struct manager_store_session *s,
			      int64_t *ret_id, struct bh_diag *diag)
{
	int r = manager_db_run(
		db, diag,
		"INSERT INTO sessions (user, hash, open, bearer, created, used, proved,"
		" factor_at, factor, agent, agent_words, address)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
		"ibiiiiiitbtt", s->user, s->hash, (size_t)MANAGER_SECRET_HASH_SIZE,
		(int64_t)s->open, (int64_t)s->bearer, (int64_t)s->created_ns, (int64_t)s->used_ns,
		(int64_t)s->proved_ns, (int64_t)s->factor_ns, s->factor, s->agent,
		(size_t)MANAGER_SECRET_HASH_SIZE, s->agent_words, s->address);

	*ret_id = r == 0 ? manager_db_last_id(db) : 0;
	return r;
}

int manager_store_set_session(struct manager_db *db, const struct manager_store_session *s,
			      struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "UPDATE sessions SET hash = ?2, open = ?3, used = ?4, proved = ?5,"
			      " factor_at = ?6, factor = ?7 WHERE id = ?1",
			      "ibiiiit", s->id, s->hash, (size_t)MANAGER_SECRET_HASH_SIZE,
			      (int64_t)s->open, (int64_t)s->used_ns, (int64_t)s->proved_ns,
			      (int64_t)s->factor_ns, s->factor);
}

int manager_store_drop_session(struct manager_db *db, int64_t id, struct bh_diag *diag)
{
	return changed(db, manager_db_run(db, diag, "DELETE FROM sessions WHERE id = ?1", "i", id),
		       diag, "session");
}

int manager_store_drop_sessions(struct manager_db *db, int64_t user, int64_t keep,
				struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM sessions WHERE user = ?1 AND id != ?2", "ii",
			      user, keep);
}

int manager_store_trim_sessions(struct manager_db *db, uint64_t used_ns, uint64_t created_ns,
				struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM sessions WHERE used < ?1 OR created < ?2",
			      "ii", (int64_t)used_ns, (int64_t)created_ns);
}

bool manager_store_knows_address(struct manager_db *db, int64_t user, const char *address)
{
	return manager_db_number(db, 0,
				 "SELECT 1 FROM sessions WHERE user = ?1 AND address = ?2"
				 " AND open = 1 LIMIT 1",
				 "it", user, address) == 1;
}

/* ---- recovery codes ---- */

int manager_store_set_recovery(struct manager_db *db, int64_t user,
			       const uint8_t (*hashes)[MANAGER_SECRET_HASH_SIZE], size_t count,
			       struct bh_diag *diag)
{
	int r = manager_db_begin(db, diag);

	if (r == 0) {
		r = manager_db_run(db, diag, "DELETE FROM recovery_codes WHERE user = ?1", "i",
				   user);
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = manager_db_run(db, diag, "INSERT INTO recovery_codes VALUES (?1, ?2)", "ib",
				   user, hashes[i], (size_t)MANAGER_SECRET_HASH_SIZE);
	}
	if (r == 0) {
		return manager_db_commit(db, diag);
	}
	manager_db_abort(db);
	return r;
}

int manager_store_use_recovery(struct manager_db *db, int64_t user, const void *hash,
			       struct bh_diag *diag)
{
	return changed(db,
		       manager_db_run(db, diag,
				      "DELETE FROM recovery_codes WHERE user = ?1 AND hash = ?2",
				      "ib", user, hash, (size_t)MANAGER_SECRET_HASH_SIZE),
		       diag, "code");
}

unsigned int manager_store_recovery_left(struct manager_db *db, int64_t user)
{
	return (unsigned int)manager_db_number(
		db, 0, "SELECT count(*) FROM recovery_codes WHERE user = ?1", "i", user);
}

/* ---- API tokens ---- */

struct api_token_arg {
	manager_store_api_token_fn *fn;
	void *arg;
};

static int api_token_row(sqlite3_stmt *row, void *arg)
{
	struct api_token_arg *a = arg;
	struct manager_store_api_token t = {
		.id = sqlite3_column_int64(row, 0),
		.user = sqlite3_column_int64(row, 1),
		.name = manager_db_text(row, 2),
		.rights = manager_db_text(row, 3),
		.hash = sqlite3_column_blob(row, 4),
		.tenant = (uint32_t)sqlite3_column_int64(row, 5),
		.created_ns = time_of(row, 6),
		.expires_ns = time_of(row, 7),
		.used_ns = time_of(row, 8),
		.factor = sqlite3_column_int(row, 9),
	};

	if (sqlite3_column_bytes(row, 4) != MANAGER_SECRET_HASH_SIZE) {
		return -EIO;
	}
	return a->fn(&t, a->arg);
}

int manager_store_api_tokens(struct manager_db *db, int64_t id, int64_t user,
			     manager_store_api_token_fn *fn, void *arg, struct bh_diag *diag)
{
	struct api_token_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){api_token_row, &a}, diag,
			       "SELECT id, user, name, rights, hash, tenant, created, expires,"
			       " used, factor FROM api_tokens WHERE (?1 = 0 OR id = ?1)"
			       " AND (?2 = 0 OR user = ?2) ORDER BY id",
			       "ii", id, user);
}

int manager_store_add_api_token(struct manager_db *db, const struct manager_store_api_token *t,
				int64_t *ret_id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT INTO api_tokens (user, name, rights, hash, tenant, created,"
			       " expires, factor) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			       "ittbuiii", t->user, t->name, t->rights, t->hash,
			       (size_t)MANAGER_SECRET_HASH_SIZE, t->tenant, (int64_t)t->created_ns,
			       (int64_t)t->expires_ns, (int64_t)t->factor);

	*ret_id = r == 0 ? manager_db_last_id(db) : 0;
	return r;
}

int manager_store_touch_api_token(struct manager_db *db, int64_t id, uint64_t now_ns)
{
	return manager_db_run(db, NULL, "UPDATE api_tokens SET used = ?2 WHERE id = ?1", "ii", id,
			      (int64_t)now_ns);
}

int manager_store_drop_api_token(struct manager_db *db, int64_t id, int64_t user,
				 struct bh_diag *diag)
{
	return changed(db,
		       manager_db_run(db, diag,
				      "DELETE FROM api_tokens WHERE id = ?1 AND user = ?2", "ii",
				      id, user),
		       diag, "token");
}

/* ---- settings ---- */

static int take_text(sqlite3_stmt *row, void *arg)
{
	*(char **)arg = bh_strdup(manager_db_text(row, 0));
	return 0;
}

char *manager_store_setting(struct manager_db *db, const char *name)
{
	char *text = NULL;

	(void)!manager_db_each(db, (struct manager_db_each){take_text, &text}, NULL,
			       "SELECT value FROM settings WHERE name = ?1", "t", name);
	return text;
}

int manager_store_set_setting(struct manager_db *db, const char *name, const char *text,
			      struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO settings VALUES (?1, ?2)"
			      " ON CONFLICT (name) DO UPDATE SET value = ?2",
			      "tt", name, text);
}
