/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of audit/ share. */
#ifndef BH_MANAGER_AUDIT_INTERNAL_H
#define BH_MANAGER_AUDIT_INTERNAL_H

#include "base/util.h"
#include "manager/audit/audit.h"
#include "manager/store/db.h"

#include <uthash.h>

#define AUDIT_LIMITS_MAX  1024
#define AUDIT_LIMIT_PASS  10
#define AUDIT_LIMIT_NS	  (60 * BH_NS_PER_S)
#define AUDIT_EXPORTS_MAX 4    /* at once */
#define AUDIT_LATE_MAX	  1000 /* entries that wait for a full disk, but for ends of acts */
#define AUDIT_LATE_PASS	  100  /* of them, written at once */
#define AUDIT_SOON_MAX	  4096

/* 0 is the chain of everything. */
struct audit_chain {
	uint32_t tenant;
	uint64_t seq, sealed; /* the last one, the last that a seal covers; 0: none */
	struct bh_audit_hash head, sealed_head;
	UT_hash_handle hh;
};

/* A note with texts of its own. */
struct audit_late {
	struct manager_audit_note note;
	char *texts;
	json_t *before, *after;
	uint64_t wall_ns;
	int64_t open;
	struct audit_late *prev, *next;
};

struct audit_limit {
	char *key; /* "user\nfrom\nact" */
	uint64_t since_ns;
	unsigned int passed;
	uint64_t left_out;
	struct audit_late *last; /* the last that was left out */
	UT_hash_handle hh;
};

struct manager_audit {
	struct manager_db *db;
	char log[BH_AUDIT_LOG_SIZE];
	struct bh_audit_key *key;
	struct audit_chain *chains, *all; /* all is the one of 0 */
	char *head_file;
	struct audit_late *soon; /* ends that wait for the next transaction */
	size_t soon_count;
	struct audit_late *late; /* what could not be written; older than those */
	size_t late_count;
	struct audit_limit *limits;
	char *reserve_path;
	uint64_t reserve_bytes;
	bool reserve;
	uint64_t unsealed_ns; /* when the first unsealed entry came; 0: none */
	unsigned int exports;
	manager_audit_notice_fn *notice;
	void *notice_arg;
};

/* audit.c */
struct audit_chain *audit_chain_of(struct manager_audit *audit, uint32_t tenant);
[[nodiscard]] int audit_chains_load(struct manager_audit *audit, struct bh_diag *diag);
void audit_tell(struct manager_audit *audit, const char *type, const char *severity, json_t *body);
struct audit_late *audit_late_new(const struct manager_audit_note *note, uint64_t wall_ns);
void audit_late_free(struct audit_late *late);
/* list.c: the number, in the tenant's chain, of its first entry with that number of all or a later
 * one; of the next one to come when there is none. */
uint64_t audit_tseq_at(struct manager_audit *audit, uint32_t tenant, int64_t seq);
/* limit.c */
void audit_limits_tick(struct manager_audit *audit, uint64_t wall_ns);
void audit_limits_done(struct manager_audit *audit);
/* seal.c */
[[nodiscard]] int audit_key_open(struct manager_audit *audit, const char *file, uint64_t wall_ns,
				 struct bh_diag *diag);
[[nodiscard]] int audit_seal(struct manager_audit *audit, uint64_t wall_ns, struct bh_diag *diag);
/* 0, or -EBADMSG with what does not fit. */
[[nodiscard]] int audit_check(struct manager_audit *audit, struct bh_diag *diag);
/* open.c: acts that nobody ended */
[[nodiscard]] int audit_end_open(struct manager_audit *audit, uint64_t wall_ns,
				 struct bh_diag *diag);

static inline struct bh_audit_hash audit_hash_column(sqlite3_stmt *row, int column)
{
	struct bh_audit_hash hash = {};
	const void *data = sqlite3_column_blob(row, column);

	if (data && sqlite3_column_bytes(row, column) == sizeof(hash.bytes)) {
		memcpy(hash.bytes, data, sizeof(hash.bytes));
	}
	return hash;
}

#endif
