/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/store/store.h"

struct arg {
	void *fn;
	void *arg;
};

static int revision_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_revision_fn *fn = a->fn;
	struct manager_store_revision r = {
		.number = (uint32_t)sqlite3_column_int64(row, 0),
		.time_ns = (uint64_t)sqlite3_column_int64(row, 1),
		.author = manager_db_text(row, 2),
		.summary = manager_db_text(row, 3),
		.changes = manager_db_text(row, 4),
	};

	return fn(&r, a->arg);
}

int manager_store_revisions(struct manager_db *db, uint32_t upto, uint32_t limit,
			    manager_store_revision_fn *fn, void *arg, struct bh_diag *diag)
{
	struct arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){revision_row, &a}, diag,
			       "SELECT number, time, author, summary, changes FROM revisions"
			       " WHERE number <= ?1 ORDER BY number DESC LIMIT ?2",
			       "uu", upto, limit);
}

int manager_store_add_revision(struct manager_db *db, const struct manager_store_revision *row,
			       struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5)",
			      "uittt", row->number, (int64_t)row->time_ns, row->author,
			      row->summary, row->changes);
}

uint32_t manager_store_last_revision(struct manager_db *db)
{
	return (uint32_t)manager_db_number(db, 0, "SELECT max(number) FROM revisions", "");
}

static int policy_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_policy_fn *fn = a->fn;
	struct manager_store_policy p = {
		.revision = (uint32_t)sqlite3_column_int64(row, 0),
		.tenant = manager_db_text(row, 1),
		.name = manager_db_text(row, 2),
		.text = manager_db_text(row, 3),
		.source = manager_db_text(row, 4),
	};

	return fn(&p, a->arg);
}

int manager_store_policies(struct manager_db *db, uint32_t revision, manager_store_policy_fn *fn,
			   void *arg, struct bh_diag *diag)
{
	struct arg a = {fn, arg};

	return manager_db_each(
		db, (struct manager_db_each){policy_row, &a}, diag,
		"SELECT revision, tenant, name, text, source FROM policies AS p WHERE text IS NOT"
		" NULL AND revision = (SELECT max(revision) FROM policies WHERE tenant = p.tenant"
		" AND name = p.name AND revision <= ?1) ORDER BY tenant, name",
		"u", revision);
}

uint32_t manager_store_policy_touched(struct manager_db *db, const char *tenant, const char *name)
{
	return (uint32_t)manager_db_number(
		db, 0, "SELECT max(revision) FROM policies WHERE tenant = ?1 AND name = ?2", "tt",
		tenant, name);
}

int manager_store_add_policy(struct manager_db *db, const struct manager_store_policy *row,
			     struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO policies (tenant, name, revision, text, source)"
			      " VALUES (?1, ?2, ?3, ?4, ?5)",
			      "ttutt", row->tenant, row->name, row->revision, row->text,
			      row->source);
}

static int rule_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_rule_fn *fn = a->fn;
	struct manager_store_rule r = {
		.number = (uint32_t)sqlite3_column_int64(row, 0),
		.revision = (uint32_t)sqlite3_column_int64(row, 1),
		.tenant = manager_db_text(row, 2),
		.policy = manager_db_text(row, 3),
		.dir = (uint32_t)sqlite3_column_int64(row, 4),
		.hash = sqlite3_column_blob(row, 5),
		.text = manager_db_text(row, 6),
	};

	if (sqlite3_column_bytes(row, 5) != 32) {
		return 0;
	}
	return fn(&r, a->arg);
}

int manager_store_rules(struct manager_db *db, manager_store_rule_fn *fn, void *arg,
			struct bh_diag *diag)
{
	struct arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){rule_row, &a}, diag,
			       "SELECT number, revision, tenant, policy, dir, hash, text FROM rules"
			       " ORDER BY number",
			       "");
}

int manager_store_add_rule(struct manager_db *db, const struct manager_store_rule *row,
			   struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO rules VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
			      "uuttubt", row->number, row->revision, row->tenant, row->policy,
			      row->dir, row->hash, (size_t)32, row->text);
}
