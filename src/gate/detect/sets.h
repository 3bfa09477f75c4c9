/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several rule sets at once: which one inspects a flow, and what becomes of flows when rules are
 * loaded anew.
 *
 * Theory of operation
 *   Slots       A rule set has a slot, a number with a name that stays while the process runs: slot
 *               0, "default", is that of rule-files; slot i is the i-th of rule-sets. All that run
 *               at one time are a struct gate_rule_sets: immutable, counted, swapped by pointer as
 *               a whole. When one of them can't be built none is swapped.
 *   Choice      Made once, with the first packet of a flow, and kept in gate_flow.rule_set; a
 *               packet without a flow is chosen for by itself. First the hook is asked (whose vNIC
 *               is it?), then the match of rule-sets in their order, and who fits none has slot 0.
 *               What a guest can write into its own packets must not choose its rules: VLAN and VNI
 *               are those of the outermost header that has one.
 *   Reload      A flow keeps its slot; the rules in it become others. What is kept by name or rule
 *               id stays right by itself: flowbits, flowints, xbits (numbers of names only grow),
 *               thresholds (gid and sid). What is kept by number of a rule (parts of a transaction
 *               that have matched, and that it has alerted) is translated when the transaction is
 *               looked at next, for rules whose text is the same; new rules find the transaction as
 *               if it were new to them, and rules that are gone are forgotten. What is cached by
 *               number of a set of addresses is asked again. No scan has a state between packets,
 *               so there is none to translate: what is new of a stream is searched with so much
 *               before it as a pattern may reach back.
 *   Apart       Thresholds, xbits and tags of different slots are apart: those who share addresses
 *               (tenants) don't share these. Datasets are shared by name.
 *   Together    Databases and regular expressions are found by what they are made of and owned by
 *               count; rules that read the same are one struct gate_rule (rules/shared.c).
 *               So are the worker's scratch: room for the largest.
 */
#ifndef BH_GATE_DETECT_SETS_H
#define BH_GATE_DETECT_SETS_H

#include "gate/config.h"
#include "gate/detect/detect.h"

struct gate_rule_sets;
/* Takes over the references in sets[0..count), by slot; also when it fails. */
[[nodiscard]] int gate_rule_sets_new(struct gate_rule_set *const *sets, uint32_t count,
				     struct gate_rule_sets **ret, struct bh_diag *diag);
struct gate_rule_sets *gate_rule_sets_ref(struct gate_rule_sets *sets);
void gate_rule_sets_unref(struct gate_rule_sets *sets);
/* Nobody else has it any more. */
bool gate_rule_sets_is_last(const struct gate_rule_sets *sets);
uint32_t gate_rule_sets_count(const struct gate_rule_sets *sets);
/* Borrowed; of a slot that is not there slot 0. */
struct gate_rule_set *gate_rule_sets_get(const struct gate_rule_sets *sets, uint32_t slot);

/* Asked before the configuration: the slot for the flow that this packet begins, or < 0 for the
 * configuration's choice. Workers call it at the same time; it must not block. */
struct gate_selector_hook {
	int (*slot)(const struct gate_packet *p, void *arg);
	void *arg;
};
/* One per worker. Interfaces by gate_packet.source; borrowed, as config. NULL: there is but one
 * rule set, slot 0. */
struct gate_selector;
struct gate_selector *gate_selector_new(const struct gate_config *config,
					const struct gate_selector_hook *hook,
					const char *const *interfaces, size_t count);
void gate_selector_free(struct gate_selector *selector);
/* Sets p->rule_set, and its flow's when it has none yet. */
void gate_selector_choose(const struct gate_selector *selector, struct gate_packet *p);

#endif
