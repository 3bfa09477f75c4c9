/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drafts: a tenant's documents that are not in force yet, kept with who wrote them and against
 * which revision. A draft is text as it was written, so it may hold mistakes until it is committed.
 * What it makes of the policies in force: its documents take the place of those of their names, the
 * names in `removes` go. When a policy that it touches was changed after the draft's base, that is
 * a conflict: somebody looks at it and moves the base, or the draft is not committed. Loop thread
 * only.
 */
#ifndef BH_MANAGER_CHANGE_DRAFTS_H
#define BH_MANAGER_CHANGE_DRAFTS_H

#include "manager/rulebook/rulebook.h"
#include "manager/store/changes.h"

#define MANAGER_DRAFT_SIZE_MAX	  (2u << 20) /* of documents */
#define MANAGER_DRAFT_TEXT_MAX	  2000	     /* of title and note */
#define MANAGER_DRAFT_REMOVES_MAX 1000
#define MANAGER_DRAFTS_MAX	  200 /* open ones of a tenant */
#define MANAGER_DRAFTS_KEPT	  200 /* committed ones of a tenant */

struct manager_draft {
	int64_t id;
	char *tenant, *title, *note, *author, *updated_by, *documents;
	json_t *removes; /* names */
	uint64_t version;
	uint32_t base, committed;
	uint64_t created_ns, updated_ns;
};
/* -ENOENT when there is none. */
[[nodiscard]] int manager_draft_load(struct manager_db *db, int64_t id, struct manager_draft *ret,
				     struct bh_diag *diag);
void manager_draft_done(struct manager_draft *draft);
/* Writes it in place of the version that was loaded; -ESTALE when there is a newer one. */
[[nodiscard]] int manager_draft_save(struct manager_db *db, const struct manager_draft *draft,
				     struct bh_diag *diag);

/* Its documents; -EINVAL or -EMSGSIZE with the place of the first mistake. All are of its tenant.
 * Owned. */
[[nodiscard]] int manager_draft_parse(const struct manager_draft *draft, struct bh_policy_set **ret,
				      struct bh_diag *diag);
/* The policies in force as they would be. Owned. */
struct bh_policy_set *manager_draft_merge(const struct manager_draft *draft,
					  const struct bh_policy_set *documents,
					  const struct bh_policy_set *current);
/* [{"policy", "revision"}]: what was changed in force after the draft's base. Owned. */
json_t *manager_draft_conflicts(struct manager_db *db, const struct manager_draft *draft,
				const struct bh_policy_set *documents);

#endif
