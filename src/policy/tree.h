/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text as a tree whose every node knows its line and column. A small, strict part of YAML:
 * mappings with text keys, sequences, scalars; no aliases (so no bombs), no tags, no key twice,
 * bounded depth and size. The tree lives in an arena of the caller. Inside of src/policy only.
 */
#ifndef BH_POLICY_TREE_H
#define BH_POLICY_TREE_H

#include "policy/doc.h"

enum yaml_kind { YAML_TEXT, YAML_MAP, YAML_LIST };
struct yaml_tree_node {
	enum yaml_kind kind;
	bool quoted; /* a scalar that is not plain: never null, never a boolean */
	unsigned int line;
	unsigned int column;
	size_t count; /* children */
	const char *text;
	struct yaml_tree_node *key; /* of a member of a mapping */
	struct yaml_tree_node *first, *last, *next;
};

struct yaml_reader;
/* text is borrowed until free. */
struct yaml_reader *yaml_reader_new(const char *text, size_t size, const char *file,
				    unsigned int first_line);
void yaml_reader_free(struct yaml_reader *reader);
/* The next document, NULL at the end. The tree is in arena. */
[[nodiscard]] int yaml_reader_next(struct yaml_reader *reader, struct policy_arena *arena,
				   struct yaml_tree_node **ret_root, struct bh_diag *diag);
const char *yaml_reader_file(const struct yaml_reader *reader);

#endif
