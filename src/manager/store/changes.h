/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager keeps about changes of policies (change/): commits that wait to be confirmed and
 * what became of them, drafts, hits of rules, policies under watch, quotas. As in store.h: rows go
 * out through callbacks, pointers in them are borrowed for the call, times are nanoseconds since
 * 1970, several writes that must hold together are in a transaction of the caller. Loop thread
 * only.
 */
#ifndef BH_MANAGER_STORE_CHANGES_H
#define BH_MANAGER_STORE_CHANGES_H

#include "manager/store/db.h"

/* ---- commits that were to be confirmed ---- */
struct manager_store_commit {
	uint32_t revision;
	const char *state; /* "waiting", "confirmed", "rolled-back" */
	uint64_t until_ns;
	uint64_t decided_ns; /* 0: not yet */
	const char *decided_by;
	uint32_t undone_in; /* revision that rolled it back; 0 none */
	/* of its revision; not written */
	uint64_t time_ns;
	const char *author, *summary;
	const char *changes; /* JSON array */
};
typedef int manager_store_commit_fn(const struct manager_store_commit *row, void *arg);
struct manager_store_commit_filter {
	const char *state; /* NULL: any */
	uint32_t revision; /* 0: any */
	uint32_t before;   /* revisions below this; 0: all */
	uint32_t limit;
};
/* Newest first. */
[[nodiscard]] int manager_store_commits(struct manager_db *db,
					const struct manager_store_commit_filter *filter,
					manager_store_commit_fn *fn, void *arg,
					struct bh_diag *diag);
[[nodiscard]] int manager_store_add_commit(struct manager_db *db, uint32_t revision,
					   uint64_t until_ns, struct bh_diag *diag);
/* What became of one that waits; -ENOENT when none does. */
[[nodiscard]] int manager_store_decide_commit(struct manager_db *db,
					      const struct manager_store_commit *row,
					      struct bh_diag *diag);

/* ---- drafts ---- */
struct manager_store_draft {
	int64_t id;
	const char *tenant, *title, *note, *author;
	uint64_t version; /* grows with each save */
	uint32_t base;	  /* revision that it was written against */
	uint64_t created_ns, updated_ns;
	const char *updated_by;
	uint32_t committed;    /* revision that it became; 0: open */
	const char *documents; /* as written; "" in lists */
	const char *removes;   /* JSON array of names of policies that go; "" in lists */
};
typedef int manager_store_draft_fn(const struct manager_store_draft *row, void *arg);
/* Newest first, without documents. tenant NULL: of all. */
[[nodiscard]] int manager_store_drafts(struct manager_db *db, const char *tenant,
				       manager_store_draft_fn *fn, void *arg, struct bh_diag *diag);
/* One with its documents; -ENOENT when there is none. */
[[nodiscard]] int manager_store_draft(struct manager_db *db, int64_t id, manager_store_draft_fn *fn,
				      void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_add_draft(struct manager_db *db,
					  const struct manager_store_draft *row, int64_t *ret_id,
					  struct bh_diag *diag);
/* All but id, tenant, author, created. row->version is the one that it replaces; -ESTALE when
 * somebody else saved it meanwhile. */
[[nodiscard]] int manager_store_put_draft(struct manager_db *db,
					  const struct manager_store_draft *row,
					  struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_draft(struct manager_db *db, int64_t id, struct bh_diag *diag);
uint64_t manager_store_count_drafts(struct manager_db *db, const char *tenant);
/* Of those that became a revision only the newest of each tenant are kept. */
[[nodiscard]] int manager_store_trim_drafts(struct manager_db *db, const char *tenant,
					    uint32_t keep, struct bh_diag *diag);

/* ---- hits of rules ---- */
typedef void manager_store_hit_fn(uint32_t rule, uint64_t hits, uint64_t last_ns, void *arg);
[[nodiscard]] int manager_store_hits(struct manager_db *db, manager_store_hit_fn *fn, void *arg,
				     struct bh_diag *diag);
/* Adds to what the rule has. */
[[nodiscard]] int manager_store_add_hits(struct manager_db *db, uint32_t rule, uint64_t more,
					 uint64_t last_ns, struct bh_diag *diag);
/* What a host's kernel had counted for a rule when its hits were taken over last. */
typedef void manager_store_seen_fn(const char *host, uint32_t rule, uint64_t packets, void *arg);
[[nodiscard]] int manager_store_seen(struct manager_db *db, manager_store_seen_fn *fn, void *arg,
				     struct bh_diag *diag);
[[nodiscard]] int manager_store_put_seen(struct manager_db *db, const char *host, uint32_t rule,
					 uint64_t packets, struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_seen(struct manager_db *db, const char *host,
					  struct bh_diag *diag);

/* ---- policies under watch ---- */
struct manager_store_monitor {
	const char *tenant, *name, *author;
	uint64_t since_ns;
	const char *text;   /* canonical YAML; "": would go */
	const char *report; /* JSON: what was found so far */
};
typedef int manager_store_monitor_fn(const struct manager_store_monitor *row, void *arg);
[[nodiscard]] int manager_store_monitors(struct manager_db *db, manager_store_monitor_fn *fn,
					 void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_put_monitor(struct manager_db *db,
					    const struct manager_store_monitor *row,
					    struct bh_diag *diag);
/* The first one behind this, by tenant and name; what fn returns, 0 when there is none. */
[[nodiscard]] int manager_store_next_monitor(struct manager_db *db, const char *tenant,
					     const char *name, manager_store_monitor_fn *fn,
					     void *arg, struct bh_diag *diag);
/* Another report; -ENOENT when that watch (tenant, name, since) is over. */
[[nodiscard]] int manager_store_report_monitor(struct manager_db *db,
					       const struct manager_store_monitor *row,
					       struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_monitor(struct manager_db *db, const char *tenant,
					     const char *name, struct bh_diag *diag);

/* ---- quotas ---- */
#define MANAGER_STORE_QUOTA_LABELS "labels"
/* dflt when the tenant has none of its own. */
uint64_t manager_store_quota(struct manager_db *db, const char *tenant, const char *what,
			     uint64_t dflt);
[[nodiscard]] int manager_store_put_quota(struct manager_db *db, const char *tenant,
					  const char *what, uint64_t value, struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_quota(struct manager_db *db, const char *tenant,
					   const char *what, struct bh_diag *diag);

#endif
