/* SPDX-License-Identifier: Apache-2.0 */
/* The schema, and everything but revisions (revisions.c). */
#include "manager/store/store.h"

#include "base/util.h"

#include <errno.h>

static const char *const migrations[] = {
	"CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE numbers (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE tenants (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"INSERT INTO tenants VALUES (1, 'provider');"
	"CREATE TABLE networks (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
	" managed INTEGER NOT NULL);"
	"CREATE TABLE identities (number INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,"
	" labels TEXT NOT NULL, UNIQUE (tenant, labels));"
	"CREATE TABLE hosts (name TEXT PRIMARY KEY, enrolled INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL, hello TEXT NOT NULL, installed TEXT NOT NULL,"
	" installed_at INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE vms (uuid TEXT PRIMARY KEY, host TEXT NOT NULL, report TEXT NOT NULL,"
	" api TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,"
	" name TEXT, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" used INTEGER NOT NULL DEFAULT 0, used_by TEXT);"
	"CREATE TABLE revisions (number INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
	" author TEXT NOT NULL, summary TEXT NOT NULL, changes TEXT NOT NULL);"
	"CREATE TABLE policies (tenant TEXT NOT NULL, name TEXT NOT NULL,"
	" revision INTEGER NOT NULL REFERENCES revisions (number), text TEXT,"
	" source TEXT NOT NULL, PRIMARY KEY (tenant, name, revision)) WITHOUT ROWID;"
	"CREATE TABLE rules (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
	" tenant TEXT NOT NULL, policy TEXT NOT NULL, dir INTEGER NOT NULL, hash BLOB NOT NULL,"
	" text TEXT NOT NULL, UNIQUE (tenant, policy, dir, hash));",
	"CREATE TABLE certificates (host TEXT NOT NULL, fingerprint TEXT NOT NULL,"
	" issued INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0,"
	" PRIMARY KEY (host, fingerprint)) WITHOUT ROWID;",
	"CREATE TABLE migrations (id TEXT PRIMARY KEY, vm TEXT NOT NULL, state TEXT NOT NULL,"
	" begun INTEGER NOT NULL, ended INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX migrations_by_time ON migrations (begun);"
	"CREATE INDEX migrations_by_vm ON migrations (vm, begun);"
	"CREATE TABLE places (vm TEXT NOT NULL, host TEXT NOT NULL, since INTEGER NOT NULL,"
	" until INTEGER NOT NULL, how TEXT NOT NULL, migration TEXT NOT NULL,"
	" PRIMARY KEY (vm, since)) WITHOUT ROWID;",
	"ALTER TABLE hosts ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';",
	"CREATE TABLE memories (vm TEXT PRIMARY KEY, host TEXT NOT NULL,"
	" generation INTEGER NOT NULL, next INTEGER NOT NULL, saved INTEGER NOT NULL,"
	" quarantine TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;",
	"CREATE TABLE commits (revision INTEGER PRIMARY KEY REFERENCES revisions (number),"
	" state TEXT NOT NULL, until INTEGER NOT NULL, decided INTEGER NOT NULL,"
	" decided_by TEXT NOT NULL, undone_in INTEGER NOT NULL);"
	"CREATE INDEX commits_waiting ON commits (state) WHERE state = 'waiting';"
	"CREATE TABLE drafts (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,"
	" title TEXT NOT NULL, author TEXT NOT NULL, version INTEGER NOT NULL,"
	" base INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,"
	" updated_by TEXT NOT NULL, committed INTEGER NOT NULL, documents TEXT NOT NULL,"
	" removes TEXT NOT NULL, note TEXT NOT NULL);"
	"CREATE INDEX drafts_by_tenant ON drafts (tenant);"
	"CREATE TABLE rule_hits (rule INTEGER PRIMARY KEY, hits INTEGER NOT NULL,"
	" last INTEGER NOT NULL);"
	"CREATE TABLE rule_seen (host TEXT NOT NULL, rule INTEGER NOT NULL,"
	" packets INTEGER NOT NULL, PRIMARY KEY (host, rule)) WITHOUT ROWID;"
	"CREATE TABLE monitors (tenant TEXT NOT NULL, name TEXT NOT NULL, author TEXT NOT NULL,"
	" since INTEGER NOT NULL, text TEXT NOT NULL, report TEXT NOT NULL,"
	" PRIMARY KEY (tenant, name)) WITHOUT ROWID;"
	"CREATE TABLE quotas (tenant TEXT NOT NULL, what TEXT NOT NULL, value INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, what)) WITHOUT ROWID;",
	"CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" display TEXT NOT NULL, tenant INTEGER NOT NULL, maker INTEGER NOT NULL,"
	" password TEXT NOT NULL, totp BLOB, totp_step INTEGER NOT NULL DEFAULT 0,"
	" locale TEXT NOT NULL, created INTEGER NOT NULL, login INTEGER NOT NULL DEFAULT 0,"
	" disabled INTEGER NOT NULL DEFAULT 0, must_change INTEGER NOT NULL);"
	"CREATE TABLE user_roles (id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL,"
	" role TEXT NOT NULL, tenant INTEGER NOT NULL, until INTEGER NOT NULL,"
	" appointed INTEGER NOT NULL, by TEXT NOT NULL, since INTEGER NOT NULL);"
	"CREATE INDEX user_roles_by_user ON user_roles (user);"
	"CREATE TABLE custom_roles (tenant INTEGER NOT NULL, name TEXT NOT NULL,"
	" rights TEXT NOT NULL, words TEXT NOT NULL, maker INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, name)) WITHOUT ROWID;"
	"CREATE TABLE sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL,"
	" hash BLOB NOT NULL UNIQUE, open INTEGER NOT NULL, bearer INTEGER NOT NULL,"
	" created INTEGER NOT NULL, used INTEGER NOT NULL, proved INTEGER NOT NULL,"
	" factor_at INTEGER NOT NULL, factor TEXT NOT NULL, agent BLOB NOT NULL,"
	" agent_words TEXT NOT NULL, address TEXT NOT NULL);"
	"CREATE INDEX sessions_by_user ON sessions (user);"
	"CREATE TABLE recovery_codes (user INTEGER NOT NULL, hash BLOB NOT NULL,"
	" PRIMARY KEY (user, hash)) WITHOUT ROWID;"
	"CREATE TABLE api_tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL,"
	" name TEXT NOT NULL, rights TEXT NOT NULL, hash BLOB NOT NULL, tenant INTEGER NOT NULL,"
	" created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0,"
	" factor INTEGER NOT NULL);",
	"CREATE TABLE requests (id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL,"
	" form INTEGER NOT NULL, verb TEXT NOT NULL, tenant INTEGER NOT NULL, user TEXT NOT NULL,"
	" object TEXT NOT NULL, reason TEXT NOT NULL, hours INTEGER NOT NULL,"
	" created INTEGER NOT NULL, decided INTEGER NOT NULL, until INTEGER NOT NULL,"
	" decided_by TEXT NOT NULL, answer TEXT NOT NULL, what TEXT);"
	"CREATE INDEX requests_open ON requests (state) WHERE state <= 1;",
	"CREATE TABLE security_keys (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" user INTEGER NOT NULL, name TEXT NOT NULL, credential BLOB NOT NULL UNIQUE,"
	" alg INTEGER NOT NULL, public BLOB NOT NULL, count INTEGER NOT NULL,"
	" created INTEGER NOT NULL, used INTEGER NOT NULL);"
	"CREATE INDEX security_keys_by_user ON security_keys (user);",
	"CREATE TABLE oidc_links (issuer TEXT NOT NULL, subject TEXT NOT NULL,"
	" user INTEGER NOT NULL, PRIMARY KEY (issuer, subject)) WITHOUT ROWID;"
	"CREATE INDEX oidc_links_by_user ON oidc_links (user);",
	("CREATE TABLE session_tokens (session INTEGER PRIMARY KEY"
	 " REFERENCES sessions (id) ON DELETE CASCADE, sealed TEXT NOT NULL);"),
};

int manager_store_open(const char *path, struct manager_db **ret, struct bh_diag *diag)
{
	return manager_db_open(path, migrations, BH_ARRAY_SIZE(migrations), ret, diag);
}

int manager_store_take_numbers(struct manager_db *db, const char *name, uint32_t first,
			       uint32_t count, uint32_t *ret, struct bh_diag *diag)
{
	int64_t next =
		manager_db_number(db, first, "SELECT next FROM numbers WHERE name = ?1", "t", name);
	int r;

	if (next + count > UINT32_MAX) {
		return bh_diag_set(diag, -ENOSPC, "no number left for a new %s", name);
	}
	r = manager_db_run(db, diag,
			   "INSERT INTO numbers VALUES (?1, ?2)"
			   " ON CONFLICT (name) DO UPDATE SET next = ?2",
			   "ti", name, next + count);
	*ret = (uint32_t)next;
	return r;
}

/* ---- numbered names ---- */

struct number_arg {
	manager_store_number_fn *fn;
	void *arg;
};

static int number_row(sqlite3_stmt *row, void *arg)
{
	struct number_arg *a = arg;
	struct manager_store_number n = {
		.number = (uint32_t)sqlite3_column_int64(row, 0),
		.name = manager_db_text(row, 1),
		.tenant = (uint32_t)sqlite3_column_int64(row, 2),
		.managed = sqlite3_column_int(row, 3),
	};

	return a->fn(&n, a->arg);
}

static int numbers(struct manager_db *db, const char *sql, manager_store_number_fn *fn, void *arg,
		   struct bh_diag *diag)
{
	struct number_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){number_row, &a}, diag, sql, "");
}

int manager_store_tenants(struct manager_db *db, manager_store_number_fn *fn, void *arg,
			  struct bh_diag *diag)
{
	return numbers(db, "SELECT number, name, 0, 0 FROM tenants ORDER BY number", fn, arg, diag);
}

int manager_store_networks(struct manager_db *db, manager_store_number_fn *fn, void *arg,
			   struct bh_diag *diag)
{
	return numbers(db, "SELECT number, key, 0, managed FROM networks ORDER BY number", fn, arg,
		       diag);
}

int manager_store_identities(struct manager_db *db, manager_store_number_fn *fn, void *arg,
			     struct bh_diag *diag)
{
	return numbers(db, "SELECT number, labels, tenant, 0 FROM identities ORDER BY number", fn,
		       arg, diag);
}

int manager_store_add_tenant(struct manager_db *db, uint32_t number, const char *name,
			     struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO tenants VALUES (?1, ?2)", "ut", number, name);
}

int manager_store_drop_tenant(struct manager_db *db, uint32_t number, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM tenants WHERE number = ?1", "u", number);
}

int manager_store_add_network(struct manager_db *db, uint32_t number, const char *key, bool managed,
			      struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO networks VALUES (?1, ?2, ?3)"
			      " ON CONFLICT (number) DO UPDATE SET managed = ?3",
			      "uti", number, key, (int64_t)managed);
}

int manager_store_add_identity(struct manager_db *db, const struct manager_store_number *row,
			       struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO identities VALUES (?1, ?2, ?3)", "uut",
			      row->number, row->tenant, row->name);
}

uint32_t manager_store_find_identity(struct manager_db *db, uint32_t tenant, const char *labels)
{
	return (uint32_t)manager_db_number(
		db, 0, "SELECT number FROM identities WHERE tenant = ?1 AND labels = ?2", "ut",
		tenant, labels);
}

/* ---- hosts ---- */

struct host_arg {
	manager_store_host_fn *fn;
	void *arg;
};

static int host_row(sqlite3_stmt *row, void *arg)
{
	struct host_arg *a = arg;
	struct manager_store_host h = {
		.name = manager_db_text(row, 0),
		.enrolled_ns = (uint64_t)sqlite3_column_int64(row, 1),
		.last_seen_ns = (uint64_t)sqlite3_column_int64(row, 2),
		.hello = manager_db_text(row, 3),
		.installed = manager_db_text(row, 4),
		.installed_ns = (uint64_t)sqlite3_column_int64(row, 5),
		.revision = (uint32_t)sqlite3_column_int64(row, 6),
		.settings = manager_db_text(row, 7),
	};

	return a->fn(&h, a->arg);
}

int manager_store_hosts(struct manager_db *db, manager_store_host_fn *fn, void *arg,
			struct bh_diag *diag)
{
	struct host_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){host_row, &a}, diag,
			       "SELECT name, enrolled, last_seen, hello, installed, installed_at,"
			       " revision, settings FROM hosts ORDER BY name",
			       "");
}

int manager_store_put_host(struct manager_db *db, const struct manager_store_host *row,
			   struct bh_diag *diag)
{
	return manager_db_run(
		db, diag, "INSERT OR REPLACE INTO hosts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		"tiittiut", row->name, (int64_t)row->enrolled_ns, (int64_t)row->last_seen_ns,
		row->hello, row->installed, (int64_t)row->installed_ns, row->revision,
		row->settings);
}

int manager_store_drop_host(struct manager_db *db, const char *name, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM hosts WHERE name = ?1", "t", name);
}

/* ---- VMs ---- */

struct vm_arg {
	manager_store_vm_fn *fn;
	void *arg;
};

static int vm_row(sqlite3_stmt *row, void *arg)
{
	struct vm_arg *a = arg;
	struct manager_store_vm v = {
		.uuid = manager_db_text(row, 0),
		.host = manager_db_text(row, 1),
		.report = manager_db_text(row, 2),
		.api = manager_db_text(row, 3),
		.first_seen_ns = (uint64_t)sqlite3_column_int64(row, 4),
		.last_seen_ns = (uint64_t)sqlite3_column_int64(row, 5),
	};

	return a->fn(&v, a->arg);
}

int manager_store_vms(struct manager_db *db, manager_store_vm_fn *fn, void *arg,
		      struct bh_diag *diag)
{
	struct vm_arg a = {fn, arg};

	return manager_db_each(
		db, (struct manager_db_each){vm_row, &a}, diag,
		"SELECT uuid, host, report, api, first_seen, last_seen FROM vms ORDER BY uuid", "");
}

int manager_store_put_vm(struct manager_db *db, const struct manager_store_vm *row,
			 struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT OR REPLACE INTO vms VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			      "ttttii", row->uuid, row->host, row->report, row->api,
			      (int64_t)row->first_seen_ns, (int64_t)row->last_seen_ns);
}

int manager_store_drop_vm(struct manager_db *db, const char *uuid, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM vms WHERE uuid = ?1", "t", uuid);
}

/* ---- join tokens ---- */

struct token_arg {
	manager_store_token_fn *fn;
	void *arg;
};

static int token_row(sqlite3_stmt *row, void *arg)
{
	struct token_arg *a = arg;
	struct manager_store_token t = {
		.id = sqlite3_column_int64(row, 0),
		.name = (const char *)sqlite3_column_text(row, 1),
		.created_ns = (uint64_t)sqlite3_column_int64(row, 2),
		.expires_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.used_ns = (uint64_t)sqlite3_column_int64(row, 4),
		.used_by = (const char *)sqlite3_column_text(row, 5),
	};

	return a->fn(&t, a->arg);
}

int manager_store_tokens(struct manager_db *db, manager_store_token_fn *fn, void *arg,
			 struct bh_diag *diag)
{
	struct token_arg a = {fn, arg};

	return manager_db_each(
		db, (struct manager_db_each){token_row, &a}, diag,
		"SELECT id, name, created, expires, used, used_by FROM tokens ORDER BY id", "");
}

int manager_store_add_token(struct manager_db *db, const struct manager_store_token *row,
			    int64_t *ret_id, struct bh_diag *diag)
{
	int r;

	/* Old ones go, so that the table does not grow for ever. */
	r = manager_db_run(db, diag, "DELETE FROM tokens WHERE expires < ?1", "i",
			   (int64_t)row->created_ns - (int64_t)86400 * 30 * 1000000000);
	if (r == 0) {
		r = manager_db_run(db, diag,
				   "INSERT INTO tokens (hash, name, created, expires)"
				   " VALUES (?1, ?2, ?3, ?4)",
				   "btii", row->hash, (size_t)32, row->name,
				   (int64_t)row->created_ns, (int64_t)row->expires_ns);
	}
	*ret_id = manager_db_last_id(db);
	return r;
}

int manager_store_use_token(struct manager_db *db, const void *hash, const char *name,
			    uint64_t now_ns, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "UPDATE tokens SET used = ?2, used_by = ?3 WHERE hash = ?1 AND"
			       " used = 0 AND expires > ?2 AND (name IS NULL OR name = ?3)",
			       "bit", hash, (size_t)32, (int64_t)now_ns, name);

	if (r < 0) {
		return r;
	}
	if (manager_db_changes(db) != 1) {
		return bh_diag_set(diag, -EACCES,
				   "this join token is unknown, used, expired or meant for another "
				   "host");
	}
	return 0;
}

int manager_store_drop_token(struct manager_db *db, int64_t id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag, "DELETE FROM tokens WHERE id = ?1", "i", id);

	if (r == 0 && manager_db_changes(db) == 0) {
		return bh_diag_set(diag, -ENOENT, "no join token %lld", (long long)id);
	}
	return r;
}
