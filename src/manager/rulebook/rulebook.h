/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies in force, their revisions, and the numbers of their rules.
 *
 * A rule keeps its number as long as a policy of that tenant and name holds a rule that says the
 * same in the same direction, wherever it stands, so its counters survive edits elsewhere. (Of
 * equal rules the first keeps the first number.) Numbers are never used for another rule.
 *
 * A commit goes: manager_rulebook_stage() numbers the rules of the new set in memory, the caller
 * stages the hosts, manager_rulebook_write() writes revision, documents and rules within the
 * caller's transaction, manager_rulebook_adopt() makes it the set in force; or
 * manager_rulebook_abandon(). Loop thread only.
 */
#ifndef BH_MANAGER_RULEBOOK_RULEBOOK_H
#define BH_MANAGER_RULEBOOK_RULEBOOK_H

#include "manager/store/store.h"
#include "policy/policy.h"

struct manager_rulebook;

[[nodiscard]] int manager_rulebook_new(struct manager_db *db, struct manager_rulebook **ret,
				       struct bh_diag *diag);
void manager_rulebook_free(struct manager_rulebook *book);

const struct bh_policy_set *manager_rulebook_set(const struct manager_rulebook *book);
uint32_t manager_rulebook_revision(const struct manager_rulebook *book);
/* Revision in which a policy in force changed last; 0 when there is none. */
uint32_t manager_rulebook_policy_revision(const struct manager_rulebook *book, const char *tenant,
					  const char *name);
size_t manager_rulebook_rule_count(const struct manager_rulebook *book); /* in force */

/* A bh_policy_rule_fn with the rulebook as arg. Knows policies in force and staged ones. */
uint32_t manager_rulebook_number(const struct bh_policy *policy, enum bh_policy_dir dir,
				 size_t index, void *book);
/* "shop/db ingress[1] (shop.yaml:41): allow tcp/3306 from role=web", "implicit deny: ...", or "".
 */
const char *manager_rulebook_text(const struct manager_rulebook *book, uint32_t number);

/* The policies as of a revision, from the store; 0 gives none. */
[[nodiscard]] int manager_rulebook_at(struct manager_rulebook *book, uint32_t revision,
				      struct bh_policy_set **ret, struct bh_diag *diag);

/* [{"tenant", "name", "change": "added"|"removed"|"changed"}] from the set in force to `set`;
 * owned. */
json_t *manager_rulebook_changes(const struct manager_rulebook *book,
				 const struct bh_policy_set *set);

/* The canonical text of a policy of a set, as JSON; NULL when it has none of that name. Owned. */
json_t *manager_policy_text(const struct bh_policy_set *set, const char *tenant, const char *name);

void manager_rulebook_stage(struct manager_rulebook *book, const struct bh_policy_set *set);
struct manager_commit {
	const char *author;
	const char *summary;
	uint64_t now_ns;
	const json_t *changes;
};
[[nodiscard]] int manager_rulebook_write(struct manager_rulebook *book,
					 const struct bh_policy_set *set,
					 const struct manager_commit *commit, struct bh_diag *diag);
/* Takes over set; the revision is the next one. */
void manager_rulebook_adopt(struct manager_rulebook *book, struct bh_policy_set *set);
void manager_rulebook_abandon(struct manager_rulebook *book);

#endif
