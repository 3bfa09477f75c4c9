/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifies an exported audit log line by line, in bounded memory: no line over
 * BH_AUDIT_VERIFY_LINE_MAX, at most BH_AUDIT_VERIFY_TENANTS tenants. Foreign bytes; nothing in the
 * file is trusted but through a signature.
 *
 * The first thing that is wrong ends it, with its line and words that say what it is: an entry that
 * was changed, entries that are missing, entries out of order, an end or a beginning that was cut
 * off, a seal that is not the manager's. Which of two neighbours was changed is known one line
 * later; so a broken link is told with the line after it.
 */
#ifndef BH_MODEL_AUDIT_VERIFY_H
#define BH_MODEL_AUDIT_VERIFY_H

#include "model/audit.h"

#define BH_AUDIT_VERIFY_LINE_MAX 65535
#define BH_AUDIT_VERIFY_TENANTS	 65536
#define BH_AUDIT_VERIFY_KEYS	 16

enum bh_audit_wrong {
	BH_AUDIT_UNREADABLE = 1, /* a line is no part of such a file */
	BH_AUDIT_CHANGED,	 /* an entry is not what the next one was chained to */
	BH_AUDIT_MISSING,	 /* entries were taken out */
	BH_AUDIT_ORDER,		 /* an entry comes a second time or too late */
	BH_AUDIT_END_CUT,	 /* the end, or the statement, is missing */
	BH_AUDIT_BEGIN_CUT,	 /* the beginning is missing */
	BH_AUDIT_SEAL,		 /* a signature is not good, or it speaks of something else */
	BH_AUDIT_KEY,		 /* signed by a key that is not trusted */
};
const char *bh_audit_wrong_name(enum bh_audit_wrong wrong); /* "changed", ... */

struct bh_audit_report {
	char log[BH_AUDIT_LOG_SIZE];
	uint32_t tenant; /* 0: everything */
	char name[64];
	uint64_t from, to, count; /* entries, by their numbers */
	uint64_t checkpoints, tenants, lines;
	char begun[40], ended[40]; /* times of the first and the last entry */
	char signer[BH_AUDIT_KEY_ID_SIZE];
	bool trusted; /* by keys that the caller gave, not by those that the file names */
	uint64_t wrong_line;
};

struct bh_audit_verifier;
/* keys: those that the caller trusts, borrowed; with none, those that the file names are taken and
 * *ret says so: then it is only shown that the file was not changed since somebody signed it. */
struct bh_audit_verifier *bh_audit_verifier_new(struct bh_audit_key *const *keys, size_t count);
void bh_audit_verifier_free(struct bh_audit_verifier *v); /* NULL is fine */
/* The next line, without its end. 0, or an enum bh_audit_wrong with words in diag; then it is over.
 */
[[nodiscard]] int bh_audit_verify_line(struct bh_audit_verifier *v, const char *line, size_t size,
				       struct bh_diag *diag);
/* After the last line. *ret is filled in any case. */
[[nodiscard]] int bh_audit_verify_end(struct bh_audit_verifier *v, struct bh_audit_report *ret,
				      struct bh_diag *diag);
const struct bh_audit_report *bh_audit_verify_report(struct bh_audit_verifier *v);

/* As much as comes, cut into lines in here. */
[[nodiscard]] int bh_audit_verify_bytes(struct bh_audit_verifier *v, const char *data, size_t size,
					struct bh_diag *diag);

#endif
