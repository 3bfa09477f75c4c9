/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet's walk: decode, flow, stream, app, detect, records, verdict. A worker owns all of it
 * and shares nothing but the rule set, which it takes up between two packets. Also what the fuzz
 * targets and the tests drive: no I/O of its own but through source and eve.
 */
#ifndef BH_GATE_WORKER_H
#define BH_GATE_WORKER_H

#include "gate/capture/capture.h"
#include "gate/config.h"
#include "gate/detect/sets.h"
#include "gate/output/output.h"
#include "gate/verdict/verdict.h"

struct gate_worker;
struct gate_worker_options {
	const struct gate_config *config;
	struct gate_shared *shared;
	struct gate_out *out;	 /* NULL: no records */
	struct gate_out *events; /* for bulkhead-hostd; NULL: none */
	struct gate_names *names;
	struct gate_verdict verdict;
	struct gate_source *source;   /* whose counters go with the worker's; NULL: none */
	struct gate_file_sink *files; /* of filestore.h, NULL: none */
	struct gate_ranges *ranges;   /* of range.h, NULL: none */
	struct gate_selector_hook select;
	const char *const *interfaces; /* by gate_packet.source, NULL: a file */
	size_t interface_count;
	unsigned int number;
};
struct gate_worker *gate_worker_new(const struct gate_worker_options *options);
void gate_worker_free(struct gate_worker *worker);
/* The next packet sees these; the former are let go when no packet of this worker uses them. Any
 * thread. */
void gate_worker_use(struct gate_worker *worker, struct gate_rule_sets *sets);
void gate_worker_packet(struct gate_worker *worker, struct gate_packet *p);
/* Timeouts, and records that wait are handed over; when there are no packets. */
void gate_worker_tick(struct gate_worker *worker, uint64_t now_us);
/* All flows end. */
void gate_worker_finish(struct gate_worker *worker, enum gate_flow_reason reason);
/* Any thread: adds this worker's counters. Those of flows, parsers and capture are as of its last
 * second. */
void gate_worker_stats(const struct gate_worker *worker, struct gate_stats *sum);

#endif
