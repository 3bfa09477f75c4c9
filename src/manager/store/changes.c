/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/store/changes.h"

#include <errno.h>

struct arg {
	void *fn;
	void *arg;
	size_t count;
};

/* ---- commits ---- */

static int commit_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_commit_fn *fn = a->fn;
	struct manager_store_commit c = {
		.revision = (uint32_t)sqlite3_column_int64(row, 0),
		.state = manager_db_text(row, 1),
		.until_ns = (uint64_t)sqlite3_column_int64(row, 2),
		.decided_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.decided_by = manager_db_text(row, 4),
		.undone_in = (uint32_t)sqlite3_column_int64(row, 5),
		.time_ns = (uint64_t)sqlite3_column_int64(row, 6),
		.author = manager_db_text(row, 7),
		.summary = manager_db_text(row, 8),
		.changes = manager_db_text(row, 9),
	};

	return fn(&c, a->arg);
}

int manager_store_commits(struct manager_db *db, const struct manager_store_commit_filter *f,
			  manager_store_commit_fn *fn, void *arg, struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){commit_row, &a}, diag,
			       "SELECT c.revision, c.state, c.until, c.decided, c.decided_by,"
			       " c.undone_in, r.time, r.author, r.summary, r.changes"
			       " FROM commits AS c JOIN revisions AS r ON r.number = c.revision"
			       " WHERE (?1 = '' OR c.state = ?1) AND (?2 = 0 OR c.revision = ?2)"
			       " AND (?3 = 0 OR c.revision < ?3)"
			       " ORDER BY c.revision DESC LIMIT ?4",
			       "tuuu", f->state ? f->state : "", f->revision, f->before, f->limit);
}

int manager_store_add_commit(struct manager_db *db, uint32_t revision, uint64_t until_ns,
			     struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO commits VALUES (?1, 'waiting', ?2, 0, '', 0)",
			      "ui", revision, (int64_t)until_ns);
}

int manager_store_decide_commit(struct manager_db *db, const struct manager_store_commit *row,
				struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "UPDATE commits SET state = ?2, decided = ?3, decided_by = ?4,"
			       " undone_in = ?5 WHERE revision = ?1 AND state = 'waiting'",
			       "utitu", row->revision, row->state, (int64_t)row->decided_ns,
			       row->decided_by, row->undone_in);

	if (r == 0 && manager_db_changes(db) != 1) {
		return bh_diag_set(diag, -ENOENT, "revision %u waits for nobody", row->revision);
	}
	return r;
}

/* ---- drafts ---- */

#define DRAFT_COLUMNS                                                                              \
	"id, tenant, title, note, author, version, base, created, updated, updated_by, committed"

static int draft_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_draft_fn *fn = a->fn;
	struct manager_store_draft d = {
		.id = sqlite3_column_int64(row, 0),
		.tenant = manager_db_text(row, 1),
		.title = manager_db_text(row, 2),
		.note = manager_db_text(row, 3),
		.author = manager_db_text(row, 4),
		.version = (uint64_t)sqlite3_column_int64(row, 5),
		.base = (uint32_t)sqlite3_column_int64(row, 6),
		.created_ns = (uint64_t)sqlite3_column_int64(row, 7),
		.updated_ns = (uint64_t)sqlite3_column_int64(row, 8),
		.updated_by = manager_db_text(row, 9),
		.committed = (uint32_t)sqlite3_column_int64(row, 10),
		.documents = manager_db_text(row, 11),
		.removes = manager_db_text(row, 12),
	};

	a->count++;
	return fn(&d, a->arg);
}

int manager_store_drafts(struct manager_db *db, const char *tenant, manager_store_draft_fn *fn,
			 void *arg, struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){draft_row, &a}, diag,
			       "SELECT " DRAFT_COLUMNS ", '', '' FROM drafts"
			       " WHERE ?1 = '' OR tenant = ?1 ORDER BY updated DESC, id DESC",
			       "t", tenant ? tenant : "");
}

int manager_store_draft(struct manager_db *db, int64_t id, manager_store_draft_fn *fn, void *arg,
			struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};
	int r = manager_db_each(db, (struct manager_db_each){draft_row, &a}, diag,
				"SELECT " DRAFT_COLUMNS ", documents, removes FROM drafts"
				" WHERE id = ?1",
				"i", id);

	if (r == 0 && !a.count) {
		return bh_diag_set(diag, -ENOENT, "no draft %lld", (long long)id);
	}
	return r;
}

int manager_store_add_draft(struct manager_db *db, const struct manager_store_draft *row,
			    int64_t *ret_id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "INSERT INTO drafts (tenant, title, note, author, version, base,"
			       " created, updated, updated_by, committed, documents, removes)"
			       " VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?6, ?4, 0, ?7, ?8)",
			       "ttttuitt", row->tenant, row->title, row->note, row->author,
			       row->base, (int64_t)row->created_ns, row->documents, row->removes);

	*ret_id = manager_db_last_id(db);
	return r;
}

int manager_store_put_draft(struct manager_db *db, const struct manager_store_draft *row,
			    struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "UPDATE drafts SET title = ?2, note = ?3, version = version + 1,"
			       " base = ?4, updated = ?5, updated_by = ?6, committed = ?7,"
			       " documents = ?8, removes = ?9 WHERE id = ?1 AND version = ?10",
			       "ittuitutti", row->id, row->title, row->note, row->base,
			       (int64_t)row->updated_ns, row->updated_by, row->committed,
			       row->documents, row->removes, (int64_t)row->version);

	if (r == 0 && manager_db_changes(db) != 1) {
		return bh_diag_set(diag, -ESTALE,
				   "somebody else has saved draft %lld meanwhile: read it again",
				   (long long)row->id);
	}
	return r;
}

int manager_store_drop_draft(struct manager_db *db, int64_t id, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag, "DELETE FROM drafts WHERE id = ?1", "i", id);

	if (r == 0 && manager_db_changes(db) != 1) {
		return bh_diag_set(diag, -ENOENT, "no draft %lld", (long long)id);
	}
	return r;
}

uint64_t manager_store_count_drafts(struct manager_db *db, const char *tenant)
{
	return (uint64_t)manager_db_number(
		db, 0, "SELECT count(*) FROM drafts WHERE tenant = ?1 AND committed = 0", "t",
		tenant);
}

int manager_store_trim_drafts(struct manager_db *db, const char *tenant, uint32_t keep,
			      struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "DELETE FROM drafts WHERE id IN (SELECT id FROM drafts WHERE"
			      " tenant = ?1 AND committed != 0 ORDER BY id DESC LIMIT -1"
			      " OFFSET ?2)",
			      "tu", tenant, keep);
}

/* ---- hits of rules ---- */

static int hit_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_hit_fn *fn = a->fn;

	fn((uint32_t)sqlite3_column_int64(row, 0), (uint64_t)sqlite3_column_int64(row, 1),
	   (uint64_t)sqlite3_column_int64(row, 2), a->arg);
	return 0;
}

int manager_store_hits(struct manager_db *db, manager_store_hit_fn *fn, void *arg,
		       struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){hit_row, &a}, diag,
			       "SELECT rule, hits, last FROM rule_hits", "");
}

int manager_store_add_hits(struct manager_db *db, uint32_t rule, uint64_t more, uint64_t last_ns,
			   struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO rule_hits VALUES (?1, ?2, ?3) ON CONFLICT (rule) DO"
			      " UPDATE SET hits = hits + ?2, last = max(last, ?3)",
			      "uii", rule, (int64_t)more, (int64_t)last_ns);
}

static int seen_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_seen_fn *fn = a->fn;

	fn(manager_db_text(row, 0), (uint32_t)sqlite3_column_int64(row, 1),
	   (uint64_t)sqlite3_column_int64(row, 2), a->arg);
	return 0;
}

int manager_store_seen(struct manager_db *db, manager_store_seen_fn *fn, void *arg,
		       struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){seen_row, &a}, diag,
			       "SELECT host, rule, packets FROM rule_seen", "");
}

int manager_store_put_seen(struct manager_db *db, const char *host, uint32_t rule, uint64_t packets,
			   struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT OR REPLACE INTO rule_seen VALUES (?1, ?2, ?3)",
			      "tui", host, rule, (int64_t)packets);
}

int manager_store_drop_seen(struct manager_db *db, const char *host, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM rule_seen WHERE host = ?1", "t", host);
}

/* ---- policies under watch ---- */

#define MONITOR_COLUMNS "tenant, name, author, since, text, report"

static int monitor_row(sqlite3_stmt *row, void *arg)
{
	struct arg *a = arg;
	manager_store_monitor_fn *fn = a->fn;
	struct manager_store_monitor m = {
		.tenant = manager_db_text(row, 0),
		.name = manager_db_text(row, 1),
		.author = manager_db_text(row, 2),
		.since_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.text = manager_db_text(row, 4),
		.report = manager_db_text(row, 5),
	};

	return fn(&m, a->arg);
}

int manager_store_monitors(struct manager_db *db, manager_store_monitor_fn *fn, void *arg,
			   struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){monitor_row, &a}, diag,
			       "SELECT " MONITOR_COLUMNS " FROM monitors ORDER BY tenant, name",
			       "");
}

int manager_store_next_monitor(struct manager_db *db, const char *tenant, const char *name,
			       manager_store_monitor_fn *fn, void *arg, struct bh_diag *diag)
{
	struct arg a = {.fn = fn, .arg = arg};

	return manager_db_each(db, (struct manager_db_each){monitor_row, &a}, diag,
			       "SELECT " MONITOR_COLUMNS " FROM monitors"
			       " WHERE (tenant, name) > (?1, ?2) ORDER BY tenant, name LIMIT 1",
			       "tt", tenant, name);
}

int manager_store_report_monitor(struct manager_db *db, const struct manager_store_monitor *row,
				 struct bh_diag *diag)
{
	int r = manager_db_run(db, diag,
			       "UPDATE monitors SET report = ?4"
			       " WHERE tenant = ?1 AND name = ?2 AND since = ?3",
			       "ttit", row->tenant, row->name, (int64_t)row->since_ns, row->report);

	return r == 0 && manager_db_changes(db) != 1 ? -ENOENT : r;
}

int manager_store_put_monitor(struct manager_db *db, const struct manager_store_monitor *row,
			      struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT OR REPLACE INTO monitors VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			      "tttitt", row->tenant, row->name, row->author, (int64_t)row->since_ns,
			      row->text, row->report);
}

int manager_store_drop_monitor(struct manager_db *db, const char *tenant, const char *name,
			       struct bh_diag *diag)
{
	int r = manager_db_run(db, diag, "DELETE FROM monitors WHERE tenant = ?1 AND name = ?2",
			       "tt", tenant, name);

	if (r == 0 && manager_db_changes(db) != 1) {
		return bh_diag_set(diag, -ENOENT, "policy %.64s/%.64s is not watched", tenant,
				   name);
	}
	return r;
}

/* ---- quotas ---- */

uint64_t manager_store_quota(struct manager_db *db, const char *tenant, const char *what,
			     uint64_t dflt)
{
	return (uint64_t)manager_db_number(
		db, (int64_t)dflt, "SELECT value FROM quotas WHERE tenant = ?1 AND what = ?2", "tt",
		tenant, what);
}

int manager_store_put_quota(struct manager_db *db, const char *tenant, const char *what,
			    uint64_t value, struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT OR REPLACE INTO quotas VALUES (?1, ?2, ?3)", "tti",
			      tenant, what, (int64_t)value);
}

int manager_store_drop_quota(struct manager_db *db, const char *tenant, const char *what,
			     struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM quotas WHERE tenant = ?1 AND what = ?2", "tt",
			      tenant, what);
}
