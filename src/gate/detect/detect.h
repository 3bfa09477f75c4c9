/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules against packets, streams and transactions.
 *
 * Theory of operation
 *   Rule set     Immutable; built beside the running one and swapped by pointer. Rules are grouped
 *                by what they can match on (protocol, direction, ports; for transactions protocol,
 *                direction and progress). Each group has one multi-pattern database per buffer with
 *                the fast pattern of each of its rules; equal databases are shared within and
 *                between rule sets (by hash), compiled in parallel and kept in a cache on disk.
 *   Prefilter    A packet, a chunk of stream or a buffer that has something new is scanned once;
 *                what comes out are candidates, in order of the rules' numbers (priority order).
 *                Rules without a pattern are candidates by protocol, flags or port.
 *   Evaluation   header, flow, then lists in order, then numbers and files, then what it sets. A
 *                list without a candidate is never looked at.
 *   State        A rule that has matched part of a transaction remembers which lists
 *                (gate_detect_tx), alerts once per transaction, and is looked at again only when
 *                the missing lists have something new.
 *   After all    pass, drop, reject, alert in the order of actions; thresholds; tags; at most
 *                packet-alert-max alerts a packet, the rest is counted.
 * Rule sets are shared by workers and read-only; gate_detector is the worker's own scratch. What
 * rules share across flows (xbits, thresholds, datasets, reputation) is in gate_shared, which
 * locks itself and outlives rule sets.
 */
#ifndef BH_GATE_DETECT_DETECT_H
#define BH_GATE_DETECT_DETECT_H

#include "base/diag.h"
#include "gate/app/app.h"
#include "gate/flow/flow.h"
#include "gate/rules/read.h"
#include "gate/stream/stream.h"

struct gate_config;
struct gate_rule_set;
struct gate_rule_sets; /* sets.h */
struct gate_detector;
struct gate_captures; /* vars.h */
struct gate_shared;

struct gate_shared *gate_shared_new(const struct gate_config *config);
void gate_shared_free(struct gate_shared *shared);
void gate_shared_tick(struct gate_shared *shared, uint64_t now_us); /* forgets what is over */
/* Writes datasets that have a state file. */
[[nodiscard]] int gate_shared_save(struct gate_shared *shared, struct bh_diag *diag);

struct gate_rule_set_stats {
	uint32_t rules, packet_rules, stream_rules, tx_rules, ip_only;
	uint32_t groups, databases, shared_databases;
	size_t bytes;
	uint64_t build_ms;
	bool from_cache;
};
/* Takes over files (also when it fails). References are counted. */
[[nodiscard]] int gate_rule_set_new(struct gate_rule_files *files, const struct gate_config *config,
				    struct gate_shared *shared, struct gate_rule_set **ret,
				    struct bh_diag *diag);
/* Before it is used: it takes the place of that one, in whose flows and transactions it goes on. */
void gate_rule_set_follow(struct gate_rule_set *set, const struct gate_rule_set *before);
struct gate_rule_set *gate_rule_set_ref(struct gate_rule_set *set);
void gate_rule_set_unref(struct gate_rule_set *set);
const struct gate_rule_files *gate_rule_set_files(const struct gate_rule_set *set);
void gate_rule_set_stats(const struct gate_rule_set *set, struct gate_rule_set_stats *ret);

struct gate_detector_stats {
	uint64_t packets, scans, scanned_bytes, candidates, evaluated, alerts, suppressed;
	uint64_t queue_full, alerts_full, recursion_limit, states_full, transform_full, pcre_limit;
	uint64_t txs, waiting_full;
};
struct gate_detector *gate_detector_new(const struct gate_config *config,
					struct gate_shared *shared);
void gate_detector_free(struct gate_detector *detector);
const struct gate_detector_stats *gate_detector_stats(const struct gate_detector *detector);
/* Between two packets: rules from here on, by p->rule_set; NULL none. */
void gate_detector_use(struct gate_detector *detector, struct gate_rule_sets *sets);
/* The packet, its stream and the transactions of its flow. Alerts stand in p->alerts (those of a
 * transaction too), GATE_PKT_DROP and the like in p->flags, GATE_FLOW_* in the flow. */
void gate_detect(struct gate_detector *detector, struct gate_packet *p);
/* Once the packet's alerts are recorded: until then the stream keeps what they were found in. */
void gate_detect_done(struct gate_detector *detector, const struct gate_packet *p);
/* Bits of rules that look at the contents of files of that protocol, for parsers' limits. */
void gate_detect_flow_free(struct gate_detect_flow *state);
void gate_detect_tx_free(struct gate_detect_tx *state);
void gate_vars_free(struct gate_vars *vars);
/* For EVE: the member `metadata` with the flow's bits, ints and texts (vars may be NULL) and what
 * was captured of the packet (NULL: it is no record of one); nothing when there is nothing. */
void gate_vars_log(const struct gate_vars *vars, const struct gate_captures *captures,
		   struct gate_names *names, struct gate_jw *jw);
/* .. and the member `context` of the rule's alert. */
void gate_captures_log(const struct gate_captures *captures, const struct gate_rule *rule,
		       struct gate_jw *jw);

#endif
