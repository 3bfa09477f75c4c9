/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of VMs, and their quarantine. */
#include "manager/store/store.h"

struct memory_arg {
	manager_store_memory_fn *fn;
	void *arg;
};

static int memory_row(sqlite3_stmt *row, void *arg)
{
	struct memory_arg *a = arg;
	struct manager_store_memory m = {
		.vm = manager_db_text(row, 0),
		.host = manager_db_text(row, 1),
		.generation = (uint64_t)sqlite3_column_int64(row, 2),
		.next = (uint64_t)sqlite3_column_int64(row, 3),
		.saved = sqlite3_column_int(row, 4),
		.quarantine = manager_db_text(row, 5),
		.seen_ns = (uint64_t)sqlite3_column_int64(row, 6),
	};

	return a->fn(&m, a->arg);
}

int manager_store_memories(struct manager_db *db, manager_store_memory_fn *fn, void *arg,
			   struct bh_diag *diag)
{
	struct memory_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){memory_row, &a}, diag,
			       "SELECT vm, host, generation, next, saved, quarantine, seen"
			       " FROM memories",
			       "");
}

int manager_store_put_memory(struct manager_db *db, const struct manager_store_memory *row,
			     struct bh_diag *diag)
{
	return manager_db_run(
		db, diag, "INSERT OR REPLACE INTO memories VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		"ttiiiti", row->vm, row->host, (int64_t)row->generation, (int64_t)row->next,
		(int64_t)row->saved, row->quarantine, (int64_t)row->seen_ns);
}

int manager_store_drop_memory(struct manager_db *db, const char *vm, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM memories WHERE vm = ?1", "t", vm);
}
