/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads rule files: lexer, variables, header, keywords. A rule that can't be loaded is left out
 * with file, line, column and reason; the others load. Reads hostile text: bounded (64 KiB a rule,
 * 256 matches, 64 transforms), fuzzed.
 */
#ifndef BH_GATE_RULES_READ_H
#define BH_GATE_RULES_READ_H

#include "base/diag.h"
#include "gate/rules/rule.h"

struct gate_config;

struct gate_rule_shared;
struct gate_rule_own;

/* Names that rules share (flowbits, flowints, xbits, datasets): text to number and back. Append
 * only; numbers stay through reloads, so state of flows keeps its meaning. Rules that several rule
 * sets have are found through it too: it outlives all files. Locks itself. */
struct gate_names;
struct gate_names *gate_names_new(void);
void gate_names_free(struct gate_names *names);
uint32_t gate_names_number(struct gate_names *names, const char *name);
const char *gate_names_text(struct gate_names *names, uint32_t number);

struct gate_rule_refusal {
	char *file;
	uint32_t line, column;
	uint32_t sid; /* 0 unknown */
	char *reason;
};

/* What a line of threshold.config says of a rule. */
struct gate_rule_limit {
	const struct gate_rule *rule;
	uint32_t number; /* in the order of lines */
	struct gate_threshold t;
};

/* Everything that was read for one rule set. */
struct gate_rule_files {
	BH_VEC(struct gate_rule *) rules; /* other sets may have the same ones */
	BH_VEC(struct gate_rule_refusal) refusals;
	BH_VEC(struct gate_rule_limit) limits; /* by rule */
	uint64_t disabled;		       /* lines that are comments on rules */
	/* SHA-256 over all that was read: rules, variables, classification, data files */
	uint8_t hash[32];
	struct gate_rule_shared *shared; /* with all files that were read under these settings */
	struct gate_rule_own *own;
	const struct gate_config *config; /* of the file that was read last */
};

struct gate_rule_files *gate_rules_new(void);
void gate_rules_free(struct gate_rule_files *files);
/* config has variables (address-groups, port-groups), paths of classification, reference,
 * threshold and the folder that relative data files are found in. 0 also when rules were refused;
 * < 0 when a file can't be read at all. */
[[nodiscard]] int gate_rules_read(struct gate_rule_files *files, const struct gate_config *config,
				  struct gate_names *names, const char *path, struct bh_diag *diag);
/* One rule from memory, for tests and the fuzzer; file and line are for messages. */
[[nodiscard]] int gate_rules_read_text(struct gate_rule_files *files,
				       const struct gate_config *config, struct gate_names *names,
				       const char *file, struct gate_view text,
				       struct bh_diag *diag);
/* threshold.config: after all rules; without any it is not looked at. */
[[nodiscard]] int gate_rules_read_thresholds(struct gate_rule_files *files, const char *path,
					     struct bh_diag *diag);
/* What it says of that rule, in the order of its lines. */
const struct gate_rule_limit *gate_rule_limits(const struct gate_rule_files *files,
					       const struct gate_rule *rule, size_t *ret_count);

/* The table of keywords, for the manual and `--list-keywords`. */
struct gate_keyword {
	const char *name, *alias;
	const char *help;
};
const struct gate_keyword *gate_keywords(size_t *ret_count);

#endif
