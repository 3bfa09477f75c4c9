/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations, and where VMs ran. */
#include "manager/store/store.h"

#include "base/util.h"

/* ---- migrations ---- */

struct migration_arg {
	manager_store_migration_fn *fn;
	void *arg;
};

static int migration_row(sqlite3_stmt *row, void *arg)
{
	struct migration_arg *a = arg;
	struct manager_store_migration m = {
		.id = manager_db_text(row, 0),
		.vm = manager_db_text(row, 1),
		.state = manager_db_text(row, 2),
		.begun_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.ended_ns = (uint64_t)sqlite3_column_int64(row, 4),
		.body = manager_db_text(row, 5),
	};

	return a->fn(&m, a->arg);
}

int manager_store_put_migration(struct manager_db *db, const struct manager_store_migration *row,
				struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT OR REPLACE INTO migrations VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			      "tttiit", row->id, row->vm, row->state, (int64_t)row->begun_ns,
			      (int64_t)row->ended_ns, row->body);
}

int manager_store_trim_migrations(struct manager_db *db, uint32_t keep_refused, uint32_t keep,
				  struct bh_diag *diag)
{
	int r;

	r = manager_db_run(db, diag,
			   "DELETE FROM migrations WHERE id IN (SELECT id FROM migrations"
			   " WHERE state = 'refused' ORDER BY begun DESC LIMIT -1 OFFSET ?1)",
			   "u", keep_refused);
	if (r < 0) {
		return r;
	}
	return manager_db_run(db, diag,
			      "DELETE FROM migrations WHERE id IN (SELECT id FROM migrations"
			      " WHERE state != 'refused' AND ended != 0"
			      " ORDER BY begun DESC LIMIT -1 OFFSET ?1)",
			      "u", keep);
}

int manager_store_migrations(struct manager_db *db, const struct manager_store_migration_filter *f,
			     manager_store_migration_fn *fn, void *arg, struct bh_diag *diag)
{
	struct migration_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){migration_row, &a}, diag,
			       "SELECT id, vm, state, begun, ended, body FROM migrations"
			       " WHERE begun >= ?1 AND (?2 = '' OR vm = ?2)"
			       " AND (?3 = 0 OR ended = 0) AND (?4 = '' OR substr(id, 1, "
			       "length(?4)) = ?4) ORDER BY begun DESC, id",
			       "itit", (int64_t)f->since_ns, f->vm ? f->vm : "", (int64_t)f->open,
			       f->id ? f->id : "");
}

/* ---- places ---- */

struct place_arg {
	manager_store_place_fn *fn;
	void *arg;
};

static int place_row(sqlite3_stmt *row, void *arg)
{
	struct place_arg *a = arg;
	struct manager_store_place p = {
		.vm = manager_db_text(row, 0),
		.host = manager_db_text(row, 1),
		.since_ns = (uint64_t)sqlite3_column_int64(row, 2),
		.until_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.how = manager_db_text(row, 4),
		.migration = manager_db_text(row, 5),
	};

	return a->fn(&p, a->arg);
}

int manager_store_add_place(struct manager_db *db, const struct manager_store_place *row,
			    uint32_t keep, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT OR REPLACE INTO places VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			       "ttiitt", row->vm, row->host, (int64_t)row->since_ns,
			       (int64_t)row->until_ns, row->how, row->migration);

	if (r < 0) {
		return r;
	}
	return manager_db_run(db, diag,
			      "DELETE FROM places WHERE vm = ?1 AND since IN (SELECT since FROM"
			      " places WHERE vm = ?1 ORDER BY since DESC LIMIT -1 OFFSET ?2)",
			      "tu", row->vm, keep);
}

int manager_store_places(struct manager_db *db, const char *vm, manager_store_place_fn *fn,
			 void *arg, struct bh_diag *diag)
{
	struct place_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){place_row, &a}, diag,
			       "SELECT vm, host, since, until, how, migration FROM places"
			       " WHERE vm = ?1 ORDER BY since DESC",
			       "t", vm);
}

int manager_store_trim_places(struct manager_db *db, uint64_t before_ns, uint32_t keep,
			      struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "DELETE FROM places WHERE until < ?1 AND vm NOT IN"
			       " (SELECT uuid FROM vms)",
			       "i", (int64_t)before_ns);

	if (r < 0) {
		return r;
	}
	return manager_db_run(db, diag,
			      "DELETE FROM places WHERE (vm, since) IN (SELECT vm, since"
			      " FROM places ORDER BY until DESC LIMIT -1 OFFSET ?1)",
			      "u", keep);
}
