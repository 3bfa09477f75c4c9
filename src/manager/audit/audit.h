/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log of the manager: who did what, in audit.db, which is only ever added to.
 *
 * Theory of operation
 *   An act has two entries: `begun` is durable before anything is changed, the end (`done`, refused
 *   or failed) before the answer goes out. If `begun` can't be written the act is refused. So that
 *   an act that began can always be ended, a file of 1 MiB lies beside the database: on a full disk
 *   it is given up for the ends of acts that run, and no act begins until it is there again. An end
 *   that can't be written even so is kept in memory and tried again. Acts that were open when the
 *   manager died get an entry `unknown` at the next start.
 *
 *   Acts that come together share their waits for the disk: the beginnings of many are one
 *   transaction, and ends wait in memory for the next one, whatever it is for. Whoever ends acts so
 *   (manager_audit_end_soon()) lets no answer out while manager_audit_waits(). An end that was lost
 *   in memory is that of an act that nobody was told of: it gets its `unknown`.
 *
 *   The text, the two chains and the seals are model/audit.h's; the database holds the lines as
 *   they are, with columns to find them by. Every 1,000 entries, or ten minutes after the first
 *   that is not sealed, the head of each chain is signed with pki/audit.key, and which one it was
 *   is noted in pki/audit.head. At start what came after the last seal is verified, and that the
 *   database is not an older or another one than that file says.
 *
 *   What anybody can cause without an account (denials, wrong passwords) is limited per user and
 *   address: ten a minute, the rest is counted in the next entry (`left_out`). While the disk is
 *   full a thousand of them wait in memory, and the rest is counted in the last.
 *
 * Loop thread only. Blocks for as long as the disk takes to sync.
 */
#ifndef BH_MANAGER_AUDIT_AUDIT_H
#define BH_MANAGER_AUDIT_AUDIT_H

#include "manager/events/scope.h"
#include "model/audit.h"

#define MANAGER_AUDIT_SEAL_EVERY   1000
#define MANAGER_AUDIT_SEAL_S	   600
#define MANAGER_AUDIT_NOTES_MAX	   1024 /* entries of one act */
#define MANAGER_AUDIT_REQUEST_SIZE 17	/* 16 hex digits and NUL */
#define MANAGER_AUDIT_ID_SIZE	   33	/* "TENANT.TSEQ" and NUL */

struct manager_audit;

/* Tells people: a manager_events_notice() or NULL. body is owned by the callee. */
typedef void manager_audit_notice_fn(const char *type, const char *severity, json_t *body,
				     void *arg);
struct manager_audit_options {
	const char *path;      /* of audit.db; the reserve is path + ".reserve" */
	const char *key_file;  /* made when there is none */
	const char *head_file; /* what was sealed last, apart from the database; NULL: none */
	uint64_t reserve_bytes;
	manager_audit_notice_fn *notice;
	void *notice_arg;
	uint64_t wall_ns;
};
/* Also ends what was open and looks at what came after the last seal. A log that was changed is
 * told (event audit.broken, an entry), and goes on: what is written from now on is evidence too. */
[[nodiscard]] int manager_audit_open(const struct manager_audit_options *options,
				     struct manager_audit **ret, struct bh_diag *diag);
/* Seals what is not sealed. NULL is fine. */
void manager_audit_close(struct manager_audit *audit);

/* ---- writing ---- */
/* Texts are borrowed and may be NULL. */
struct manager_audit_note {
	uint32_t tenant;
	const char *tenant_name;
	const char *user, *role, *factor, *from, *via;
	const char *act, *object;
	const json_t *before, *after; /* NULL: nothing there */
	const char *state;	      /* NULL: "note" */
	const char *result;
	unsigned int code;
	const char *reason, *approval, *request;
	uint64_t left_out;
};
/* The entry `begun`, durable. *ret_open is for manager_audit_end(). -ENOSPC or -EIO: it was not
 * written, and the act must not be done. */
[[nodiscard]] int manager_audit_begin(struct manager_audit *audit,
				      const struct manager_audit_note *note, uint64_t wall_ns,
				      int64_t *ret_open, struct bh_diag *diag);
/* As that for several acts, with one wait for the disk: all of them or none. */
[[nodiscard]] int manager_audit_begin_all(struct manager_audit *audit,
					  const struct manager_audit_note *notes, size_t count,
					  uint64_t wall_ns, int64_t *ret_open,
					  struct bh_diag *diag);
/* The ends of an act, one for each tenant that it concerns, in one transaction. Never fails for the
 * caller: what can't be written now is kept. open 0: the act had no beginning. */
void manager_audit_end(struct manager_audit *audit, int64_t open,
		       const struct manager_audit_note *notes, size_t count, uint64_t wall_ns);
/* As that, but durable only with the next entries that are written at once, or the next flush. */
void manager_audit_end_soon(struct manager_audit *audit, int64_t open,
			    const struct manager_audit_note *notes, size_t count, uint64_t wall_ns);
/* Does any end wait? NULL: none. */
bool manager_audit_waits(const struct manager_audit *audit);
/* None waits after it: each is durable, or kept because it can't be written. NULL is fine. */
void manager_audit_flush(struct manager_audit *audit);
/* One entry by itself: logins, system acts, reads. As manager_audit_end() with open 0. */
void manager_audit_add(struct manager_audit *audit, const struct manager_audit_note *note,
		       uint64_t wall_ns);
/* As manager_audit_add(), within the limit of its user and address. False: only counted. */
bool manager_audit_limited(struct manager_audit *audit, const struct manager_audit_note *note,
			   uint64_t wall_ns);
/* Somebody tried what he may not: an entry `denied` of the tenant whose thing it is. rule: what
 * denied it. Limited. */
bool manager_audit_denied(struct manager_audit *audit, const struct manager_audit_note *note,
			  uint64_t wall_ns);
/* Seals, tries what is kept, ends windows; every second. */
void manager_audit_tick(struct manager_audit *audit, uint64_t wall_ns);
/* A new id that binds the entries of one act. */
void manager_audit_request(char ret[MANAGER_AUDIT_REQUEST_SIZE]);
/* False while no act may begin. */
bool manager_audit_ready(struct manager_audit *audit);

/* ---- reading ---- */
struct manager_audit_filter {
	struct manager_scope scope;		      /* whose entries the reader may see */
	const char *user, *act, *object, *result, *q; /* NULL: any. act "vm.*": those of VMs */
	uint64_t since_ns, until_ns;		      /* until 0: now */
	bool has_before;
	uint32_t before_tenant; /* before this entry: "TENANT.TSEQ" */
	uint64_t before_tseq;
	uint32_t limit;
};
/* Newest first. seq 0: the reader sees not everything, so not the number either. */
typedef void manager_audit_entry_fn(uint64_t seq, const char *id, const char *line, void *arg);
/* At most `limit` entries, and at most so many looked at that the loop goes on; ret_next is the id
 * behind which there may be more, or "". -ENOENT: `before` is nothing that the reader sees. */
[[nodiscard]] int manager_audit_list(struct manager_audit *audit,
				     const struct manager_audit_filter *filter,
				     manager_audit_entry_fn *fn, void *arg,
				     char ret_next[MANAGER_AUDIT_ID_SIZE], struct bh_diag *diag);
[[nodiscard]] int manager_audit_id_parse(const char *id, uint32_t *ret_tenant, uint64_t *ret_tseq);

/* An export, piece by piece. tenant 0: everything. What comes while it runs is not in it. */
struct manager_audit_export;
struct manager_audit_export_options {
	uint32_t tenant;
	const char *tenant_name;
	uint64_t since_ns, until_ns; /* until 0: now */
	uint64_t wall_ns;
};
[[nodiscard]] int manager_audit_export_new(struct manager_audit *audit,
					   const struct manager_audit_export_options *options,
					   struct manager_audit_export **ret, struct bh_diag *diag);
/* Appends the next piece. 1 when there was one, 0 at the end, or a negative errno. */
[[nodiscard]] int manager_audit_export_read(struct manager_audit_export *x, struct bh_wbuf *w,
					    struct bh_diag *diag);
void manager_audit_export_free(struct manager_audit_export *x);

/* Takes away everything up to entry `to` of all. Only what was exported whole counts: head must be
 * the hash in the statement of such an export. MANAGER_AUDIT_NO_STATEMENT with words. */
#define MANAGER_AUDIT_NO_STATEMENT 1
[[nodiscard]] int manager_audit_prune(struct manager_audit *audit, uint64_t to,
				      const struct bh_audit_hash *head, struct bh_diag *diag);

const struct bh_audit_key *manager_audit_key(const struct manager_audit *audit);
/* {"log", "key", "entries", "sealed", "late", "ready"}; owned. */
json_t *manager_audit_stats(struct manager_audit *audit);

#endif
