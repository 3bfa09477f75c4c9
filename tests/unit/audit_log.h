/* SPDX-License-Identifier: Apache-2.0 */
/* A log of the test's own making, as the lines of an exported file. */
#ifndef BH_TESTS_UNIT_AUDIT_LOG_H
#define BH_TESTS_UNIT_AUDIT_LOG_H

#include "model/audit_verify.h"

#define AUDIT_LOG_TENANTS 4
#define AUDIT_LOG_TIME	  1790000000000000000ull

struct audit_log {
	struct bh_audit_key *key;
	char id[BH_AUDIT_LOG_SIZE];
	uint64_t seq, tseq[AUDIT_LOG_TENANTS];
	struct bh_audit_hash head, thead[AUDIT_LOG_TENANTS];
	uint32_t only; /* tenant of the file; 0: everything */
	char **lines;
	size_t count, capacity;
};

void audit_log_init(struct audit_log *log, const char *id, uint32_t only);
void audit_log_done(struct audit_log *log);
/* The next entry, of tenant 1 to 3. */
void audit_log_add(struct audit_log *log, uint32_t tenant, const char *object);
/* Of what is in the file's chain so far, signed with key. */
void audit_log_seal(struct audit_log *log, bool statement, const struct bh_audit_key *key);
/* Head, n entries of changing tenants with a checkpoint after each tenth, statement. */
void audit_log_fill(struct audit_log *log, unsigned int n);
/* All lines as a file; owned. */
char *audit_log_text(const struct audit_log *log);

#endif
