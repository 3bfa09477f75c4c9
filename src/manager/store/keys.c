/* SPDX-License-Identifier: Apache-2.0 */
/* Security keys of users (accounts.h). */
#include "manager/store/accounts.h"

#include <errno.h>

struct key_arg {
	manager_store_key_fn *fn;
	void *arg;
};

static int key_row(sqlite3_stmt *row, void *arg)
{
	struct key_arg *a = arg;
	struct manager_store_key k = {
		.id = sqlite3_column_int64(row, 0),
		.user = sqlite3_column_int64(row, 1),
		.name = manager_db_text(row, 2),
		.credential = sqlite3_column_blob(row, 3),
		.credential_size = (size_t)sqlite3_column_bytes(row, 3),
		.alg = sqlite3_column_int(row, 4),
		.public_key = sqlite3_column_blob(row, 5),
		.public_size = (size_t)sqlite3_column_bytes(row, 5),
		.count = (uint32_t)sqlite3_column_int64(row, 6),
		.created_ns = (uint64_t)sqlite3_column_int64(row, 7),
		.used_ns = (uint64_t)sqlite3_column_int64(row, 8),
	};

	return a->fn(&k, a->arg);
}

int manager_store_keys(struct manager_db *db, int64_t user, manager_store_key_fn *fn, void *arg,
		       struct bh_diag *diag)
{
	struct key_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){key_row, &a}, diag,
			       "SELECT id, user, name, credential, alg, public, count, created,"
			       " used FROM security_keys WHERE user = ?1 ORDER BY id",
			       "i", user);
}

int manager_store_add_key(struct manager_db *db, const struct manager_store_key *k, int64_t *ret_id,
			  struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT INTO security_keys (user, name, credential, alg, public,"
			       " count, created, used) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
			       "itbibui", k->user, k->name, k->credential, k->credential_size,
			       (int64_t)k->alg, k->public_key, k->public_size, k->count,
			       (int64_t)k->created_ns);

	*ret_id = r == 0 ? manager_db_last_id(db) : 0;
	return r;
}

static int changed_one(struct manager_db *db, int r, struct bh_diag *diag)
{
	return r == 0 && manager_db_changes(db) == 0
		       ? bh_diag_set(diag, -ENOENT, "no such security key")
		       : r;
}

int manager_store_use_key(struct manager_db *db, int64_t id, uint32_t count, uint64_t now_ns,
			  struct bh_diag *diag)
{
	return changed_one(
		db,
		manager_db_run(db, diag,
			       "UPDATE security_keys SET count = ?2, used = ?3 WHERE id = ?1",
			       "iui", id, count, (int64_t)now_ns),
		diag);
}

int manager_store_name_key(struct manager_db *db, int64_t id, int64_t user, const char *name,
			   struct bh_diag *diag)
{
	return changed_one(
		db,
		manager_db_run(db, diag,
			       "UPDATE security_keys SET name = ?3 WHERE id = ?1 AND user = ?2",
			       "iit", id, user, name),
		diag);
}

int manager_store_drop_key(struct manager_db *db, int64_t id, int64_t user, struct bh_diag *diag)
{
	return changed_one(
		db,
		manager_db_run(db, diag,
			       "DELETE FROM security_keys WHERE (?1 = 0 OR id = ?1) AND user = ?2",
			       "ii", id, user),
		diag);
}
