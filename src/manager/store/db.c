/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/store/db.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <uthash.h>

#define STEPS_BETWEEN_LOOKS 5000 /* of SQLite's machine */

struct stmt {
	char *sql;
	sqlite3_stmt *handle;
	UT_hash_handle hh;
};

struct manager_db {
	sqlite3 *handle;
	char *path;
	struct stmt *stmts; /* by text */
	uint64_t until_ns;  /* 0: no end */
	const atomic_bool *cancel;
};

static int fail(struct manager_db *db, int rc, struct bh_diag *diag)
{
	int err = -EIO;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		err = -ENOSPC;
		break;
	case SQLITE_CONSTRAINT:
		err = -EEXIST;
		break;
	case SQLITE_NOMEM:
		err = -ENOMEM;
		break;
	case SQLITE_INTERRUPT:
		return db->cancel && atomic_load(db->cancel)
			       ? bh_diag_set(diag, -ECANCELED, "given up")
			       : bh_diag_set(diag, -ETIME, "it takes too long");
	case SQLITE_IOERR:
		/* A full disk shows up here too, when the log could not be extended or synced. */
		err = sqlite3_system_errno(db->handle) == ENOSPC ? -ENOSPC : -EIO;
		break;
	default:
		break;
	}
	return bh_diag_set(diag, err, "%s: %s", db->path, sqlite3_errmsg(db->handle));
}

static int exec(struct manager_db *db, const char *sql, struct bh_diag *diag)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(db, rc, diag);
}

static int prepare(struct manager_db *db, const char *sql, sqlite3_stmt **ret, struct bh_diag *diag)
{
	struct stmt *s;
	int rc;

	HASH_FIND_STR(db->stmts, sql, s);
	if (s) {
		*ret = s->handle;
		return 0;
	}
	s = bh_alloc(sizeof(*s));
	rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->handle, NULL);
	if (rc != SQLITE_OK) {
		free(s);
		return fail(db, rc, diag);
	}
	s->sql = bh_strdup(sql);
	HASH_ADD_KEYPTR(hh, db->stmts, s->sql, strlen(s->sql), s);
	*ret = s->handle;
	return 0;
}

static int bind(sqlite3_stmt *st, const char *format, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *format && rc == SQLITE_OK; format++, i++) {
		switch (*format) {
		case 'i':
			rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
			break;
		case 'u':
			rc = sqlite3_bind_int64(st, i, va_arg(ap, uint32_t));
			break;
		case 't':
			rc = sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
			break;
		case 'b': {
			const void *data = va_arg(ap, const void *);

			rc = sqlite3_bind_blob64(st, i, data, va_arg(ap, size_t), SQLITE_STATIC);
			break;
		}
		default:
			rc = SQLITE_MISUSE;
		}
	}
	return rc;
}

static int run(struct manager_db *db, struct manager_db_each each, struct bh_diag *diag,
	       const char *sql, const char *format, va_list ap)
{
	sqlite3_stmt *st = NULL;
	int r, rc;

	r = prepare(db, sql, &st, diag);
	if (r < 0) {
		return r;
	}
	rc = bind(st, format, ap);
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			r = each.fn ? each.fn(st, each.arg) : 0;
			if (r) {
				break;
			}
		}
	}
	if (!r && rc != SQLITE_DONE && rc != SQLITE_ROW) {
		r = fail(db, rc, diag);
	}
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return r;
}

int manager_db_run(struct manager_db *db, struct bh_diag *diag, const char *sql, const char *format,
		   ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = run(db, (struct manager_db_each){}, diag, sql, format, ap);
	va_end(ap);
	return r;
}

int manager_db_each(struct manager_db *db, struct manager_db_each each, struct bh_diag *diag,
		    const char *sql, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = run(db, each, diag, sql, format, ap);
	va_end(ap);
	return r;
}

static int take_number(sqlite3_stmt *row, void *arg)
{
	if (sqlite3_column_type(row, 0) != SQLITE_NULL) {
		*(int64_t *)arg = sqlite3_column_int64(row, 0);
	}
	return 1;
}

int64_t manager_db_number(struct manager_db *db, int64_t dflt, const char *sql, const char *format,
			  ...)
{
	int64_t value = dflt;
	va_list ap;

	va_start(ap, format);
	(void)!run(db, (struct manager_db_each){take_number, &value}, NULL, sql, format, ap);
	va_end(ap);
	return value;
}

int manager_db_begin(struct manager_db *db, struct bh_diag *diag)
{
	return exec(db, "BEGIN IMMEDIATE", diag);
}

int manager_db_commit(struct manager_db *db, struct bh_diag *diag)
{
	int r = exec(db, "COMMIT", diag);

	if (r < 0) {
		manager_db_abort(db);
	}
	return r;
}

void manager_db_abort(struct manager_db *db)
{
	if (!sqlite3_get_autocommit(db->handle)) {
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	}
}

int64_t manager_db_last_id(struct manager_db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

int manager_db_changes(struct manager_db *db)
{
	return sqlite3_changes(db->handle);
}

const char *manager_db_path(const struct manager_db *db)
{
	return db->path;
}

const char *manager_db_text(sqlite3_stmt *row, int column)
{
	const unsigned char *s = sqlite3_column_text(row, column);

	return s ? (const char *)s : "";
}

static int migrate(struct manager_db *db, const char *const *migrations, size_t count,
		   struct bh_diag *diag)
{
	int64_t version = manager_db_number(db, -1, "SELECT version FROM schema_version", "");
	int r;

	if (version < 0) {
		r = exec(db,
			 "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);"
			 "INSERT INTO schema_version SELECT 0 WHERE NOT EXISTS "
			 "(SELECT 1 FROM schema_version)",
			 diag);
		if (r < 0) {
			return r;
		}
		version = 0;
	}
	if ((size_t)version > count) {
		return bh_diag_set(diag, -EPROTO,
				   "%s was written by a newer version (schema %lld, here %zu)",
				   db->path, (long long)version, count);
	}
	for (size_t i = (size_t)version; i < count; i++) {
		r = manager_db_begin(db, diag);
		if (r == 0) {
			r = exec(db, migrations[i], diag);
		}
		if (r == 0) {
			r = manager_db_run(db, diag, "UPDATE schema_version SET version = ?1", "i",
					   (int64_t)i + 1);
		}
		if (r == 0) {
			r = manager_db_commit(db, diag);
		}
		if (r < 0) {
			manager_db_abort(db);
			bh_diag_prefix(diag, "migration to schema %zu", i + 1);
			return r;
		}
	}
	return 0;
}

int manager_db_open(const char *path, const char *const *migrations, size_t count,
		    struct manager_db **ret, struct bh_diag *diag)
{
	struct manager_db *db = bh_alloc(sizeof(*db));
	int rc, r;

	db->path = bh_strdup(path);
	rc = sqlite3_open_v2(path, &db->handle,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     NULL);
	if (rc != SQLITE_OK) {
		r = fail(db, rc, diag);
		manager_db_close(db);
		return r;
	}
	sqlite3_busy_timeout(db->handle, 5000);
	r = exec(db,
		 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
		 "PRAGMA journal_size_limit=67108864; PRAGMA trusted_schema=OFF",
		 diag);
	if (r == 0) {
		r = migrate(db, migrations, count, diag);
	}
	if (r < 0) {
		manager_db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

int manager_db_open_reader(const char *path, struct manager_db **ret, struct bh_diag *diag)
{
	struct manager_db *db = bh_alloc(sizeof(*db));
	int rc;

	db->path = bh_strdup(path);
	rc = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		int r = fail(db, rc, diag);

		manager_db_close(db);
		return r;
	}
	sqlite3_busy_timeout(db->handle, 5000);
	*ret = db;
	return 0;
}

static int over(void *arg)
{
	const struct manager_db *db = arg;

	return (db->until_ns && bh_time_mono_ns() > db->until_ns) ||
	       (db->cancel && atomic_load(db->cancel));
}

void manager_db_limit(struct manager_db *db, uint64_t until_ns, const atomic_bool *cancel)
{
	db->until_ns = until_ns;
	db->cancel = cancel;
	sqlite3_progress_handler(db->handle, until_ns || cancel ? STEPS_BETWEEN_LOOKS : 0, over,
				 db);
}

void manager_db_close(struct manager_db *db)
{
	struct stmt *s, *tmp;

	if (!db) {
		return;
	}
	HASH_ITER (hh, db->stmts, s, tmp) {
		HASH_DEL(db->stmts, s);
		sqlite3_finalize(s->handle);
		free(s->sql);
		free(s);
	}
	sqlite3_close(db->handle);
	free(db->path);
	free(db);
}
