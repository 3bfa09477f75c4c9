/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of rules, as Suricata's manual has it: by action (action-order); what sets flowbits,
 * flowints and xbits before what only tests them, and those before rules that have none; priority;
 * id.
 */
#include "gate/detect/set.h"

enum { RANK_SETS, RANK_SETS_AND_TESTS, RANK_TESTS, RANK_NONE };

static bool is_kind(const struct gate_match *m, enum gate_match_kind kind, bool shared)
{
	return m->kind == kind &&
	       (kind != GATE_M_FLOWBITS || (m->bits.track != GATE_BITS_FLOW) == shared);
}

static int variable_rank(const struct gate_rule *rule, enum gate_match_kind kind, bool shared)
{
	bool sets = false, tests = false;

	bh_vec_foreach (m, &rule->post) {
		sets = sets || is_kind(m, kind, shared);
	}
	bh_vec_foreach (m, &rule->packet) {
		tests = tests || is_kind(m, kind, shared);
	}
	if (sets) {
		return tests ? RANK_SETS_AND_TESTS : RANK_SETS;
	}
	return tests ? RANK_TESTS : RANK_NONE;
}

static bool captures_for_flow(const struct gate_rule *rule)
{
	bh_vec_foreach (list, &rule->lists) {
		bh_vec_foreach (m, &list->matches) {
			for (size_t i = 0; m->kind == GATE_M_PCRE && i < m->pcre.captures.count;
			     i++) {
				if (m->pcre.captures.items[i].name &&
				    m->pcre.captures.items[i].scope == GATE_CAPTURE_FLOW) {
					return true;
				}
			}
		}
	}
	return false;
}

/* Texts are captured before they are asked for. */
static int text_rank(const struct gate_rule *rule)
{
	bool sets = captures_for_flow(rule), tests = false;

	bh_vec_foreach (m, &rule->packet) {
		tests = tests || m->kind == GATE_M_FLOWVAR;
	}
	if (sets) {
		return tests ? RANK_SETS_AND_TESTS : RANK_SETS;
	}
	return tests ? RANK_TESTS : RANK_NONE;
}

static int compare(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

int gate_rule_order(const struct gate_rule *a, const struct gate_rule *b)
{
	int r = compare(a->rank, b->rank);

	if (!r) {
		r = compare(variable_rank(a, GATE_M_FLOWBITS, false),
			    variable_rank(b, GATE_M_FLOWBITS, false));
	}
	if (!r) {
		r = compare(variable_rank(a, GATE_M_FLOWINT, false),
			    variable_rank(b, GATE_M_FLOWINT, false));
	}
	if (!r) {
		r = compare(text_rank(a), text_rank(b));
	}
	if (!r) {
		r = compare(variable_rank(a, GATE_M_FLOWBITS, true),
			    variable_rank(b, GATE_M_FLOWBITS, true));
	}
	if (!r) {
		r = compare(a->priority, b->priority);
	}
	if (!r) {
		r = compare(a->gid, b->gid);
	}
	return r ? r : compare(a->sid, b->sid);
}
