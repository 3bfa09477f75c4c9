/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the readers of both forms of the language (parse.c, flat.c). Inside of src/policy only.
 */
#ifndef BH_POLICY_PARSE_H
#define BH_POLICY_PARSE_H

#include "policy/doc.h"
#include "policy/tree.h"

struct policy_reading {
	const char *file;
	const char *default_tenant; /* NULL: documents must name theirs */
	struct bh_policy_set *set;
	struct policy_arena *arena; /* of the document that is being made */
	struct bh_diag *diag;
};

/* Sets the diag at the place of node and returns -EINVAL. */
[[nodiscard]] int policy_fail(const struct policy_reading *rd, const struct yaml_tree_node *node,
			      const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* node must be a mapping with no other keys than those of the NULL-terminated list; `what` names
 * it. */
[[nodiscard]] int policy_need_map(const struct policy_reading *rd,
				  const struct yaml_tree_node *node, const char *what,
				  const char *const *keys);
/* node must be a list with at least `min` items. */
[[nodiscard]] int policy_need_list(const struct policy_reading *rd,
				   const struct yaml_tree_node *node, const char *what, size_t min);
/* A text of one line; the arena's. */
[[nodiscard]] int policy_read_rule_name(const struct policy_reading *rd,
					const struct yaml_tree_node *node, const char **ret_name);
/* node must be text; a plain null is none. */
[[nodiscard]] int policy_need_text(const struct policy_reading *rd,
				   const struct yaml_tree_node *node, const char *what);
/* The value of a member, NULL when absent. */
const struct yaml_tree_node *policy_member(const struct yaml_tree_node *map, const char *key);

/* Parts that both forms have. Strings are copied into the arena. */
[[nodiscard]] int policy_read_name(const struct policy_reading *rd,
				   const struct yaml_tree_node *node, const char *what,
				   const char **ret_name);
[[nodiscard]] int policy_read_bool(const struct policy_reading *rd,
				   const struct yaml_tree_node *node, const char *what, bool *ret);
[[nodiscard]] int policy_read_cidr(const struct policy_reading *rd,
				   const struct yaml_tree_node *node, struct policy_cidr *ret);
/* "443" or "8000-8100" of a protocol that has ports. */
[[nodiscard]] int policy_read_port_range(const struct policy_reading *rd,
					 const struct yaml_tree_node *node, const char *text,
					 struct policy_port *port);
/* The tenant that metadata or the caller gives. */
[[nodiscard]] int policy_read_tenant(const struct policy_reading *rd,
				     const struct yaml_tree_node *metadata,
				     const struct yaml_tree_node *root, const char **ret_tenant);

struct policy_choice {
	const char *word;
	int value;
};
/* The value of a word out of a table that ends with {}. */
[[nodiscard]] int policy_read_choice(const struct policy_reading *rd,
				     const struct yaml_tree_node *node, const char *what,
				     const struct policy_choice *choices, int *ret_value);
[[nodiscard]] int policy_read_labels(const struct policy_reading *rd,
				     const struct yaml_tree_node *map, const char *what,
				     struct bh_policy_label **ret_labels, size_t *ret_count);
/* subject: of the policy itself, else of a peer. */
[[nodiscard]] int policy_read_selector(const struct policy_reading *rd,
				       const struct yaml_tree_node *node, bool subject,
				       struct policy_selector **ret_selector);
/* A list of texts, sorted, each once. */
[[nodiscard]] int policy_read_texts(const struct policy_reading *rd,
				    const struct yaml_tree_node *list, const char *what,
				    const char ***ret_texts, size_t *ret_count);
/* Fills policy->rules[dir]; the policy's tenant must be known. */
[[nodiscard]] int policy_read_rules(const struct policy_reading *rd,
				    const struct yaml_tree_node *list, enum bh_policy_dir dir,
				    struct bh_policy *policy);

/* Members of a spec that are not about packets (travel.c). */
[[nodiscard]] int policy_read_placement(const struct policy_reading *rd,
					const struct yaml_tree_node *node,
					struct bh_policy *policy);
[[nodiscard]] int policy_read_migration(const struct policy_reading *rd,
					const struct yaml_tree_node *node,
					struct bh_policy *policy);
[[nodiscard]] int policy_read_rollback(const struct policy_reading *rd,
				       const struct yaml_tree_node *node, struct bh_policy *policy);

/* A document whose root has `firewall_rules:`. */
[[nodiscard]] int policy_read_flat(struct policy_reading *rd, const struct yaml_tree_node *root);

/* What to write instead of an unknown word: by a table of what users of other systems know, then by
 * likeness. NULL when nothing is near. Result may be in buf. */
const char *policy_suggest(const char *word, const char *const *known, char *buf, size_t size);

#endif
