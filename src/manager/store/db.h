/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite as the manager uses it: one connection, statements prepared once, migrations by version,
 * and errors in our two tiers. A connection belongs to one thread at a time. Values are bound by a
 * small format: 'i' int64_t, 'u' uint32_t, 't' const char * (NULL binds NULL), 'b' const void *,
 * size_t. Text and blobs must live until the call returns.
 */
#ifndef BH_MANAGER_STORE_DB_H
#define BH_MANAGER_STORE_DB_H

#include "base/diag.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manager_db;

/* Opens or creates, sets WAL and synchronous=FULL, and brings the schema to version `count`:
 * migration i turns version i into i + 1, each in a transaction of its own. A newer schema is
 * -EPROTO. */
[[nodiscard]] int manager_db_open(const char *path, const char *const *migrations, size_t count,
				  struct manager_db **ret, struct bh_diag *diag);
/* Opens what is there for reading only; for a worker thread with a connection of its own. */
[[nodiscard]] int manager_db_open_reader(const char *path, struct manager_db **ret,
					 struct bh_diag *diag);
/* From here on a statement ends with -ETIME after until_ns (monotonic; 0: never), with -ECANCELED
 * when *cancel (NULL: none) is true. */
void manager_db_limit(struct manager_db *db, uint64_t until_ns, const atomic_bool *cancel);
void manager_db_close(struct manager_db *db); /* NULL is fine */
const char *manager_db_path(const struct manager_db *db);

/* Runs one statement. 0, -ENOSPC when the disk is full, -EEXIST for a unique constraint, else -EIO.
 */
[[nodiscard]] int manager_db_run(struct manager_db *db, struct bh_diag *diag, const char *sql,
				 const char *format, ...);

/* Calls fn per row until it returns non-zero, which is then returned. */
typedef int manager_db_row_fn(sqlite3_stmt *row, void *arg);
struct manager_db_each {
	manager_db_row_fn *fn;
	void *arg;
};
[[nodiscard]] int manager_db_each(struct manager_db *db, struct manager_db_each each,
				  struct bh_diag *diag, const char *sql, const char *format, ...);

/* One number of one row; dflt without a row or on an error. */
int64_t manager_db_number(struct manager_db *db, int64_t dflt, const char *sql, const char *format,
			  ...);

/* Transactions do not nest. A failed commit is rolled back: all or nothing. */
[[nodiscard]] int manager_db_begin(struct manager_db *db, struct bh_diag *diag);
[[nodiscard]] int manager_db_commit(struct manager_db *db, struct bh_diag *diag);
void manager_db_abort(struct manager_db *db); /* without a transaction: nothing */

int64_t manager_db_last_id(struct manager_db *db);
int manager_db_changes(struct manager_db *db);
/* "" instead of NULL. */
const char *manager_db_text(sqlite3_stmt *row, int column);

#endif
