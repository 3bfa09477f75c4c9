/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers count. Each worker has one; it alone adds, others read with relaxed order whenever
 * they like: a sum may be a packet old, never torn.
 */
#ifndef BH_GATE_OUTPUT_STATS_H
#define BH_GATE_OUTPUT_STATS_H

#include "gate/app/app.h"
#include "gate/decode/events.h"
#include "gate/gate.h"

#include <stdatomic.h>

enum gate_stat {
#define STAT(id, group, name, text) GATE_STAT_##id,
#include "gate/output/stats.def"
#undef STAT
	GATE_STAT_COUNT
};

struct gate_stats {
	_Atomic uint64_t value[GATE_STAT_COUNT];
	_Atomic uint64_t app_flows[GATE_APP_STATS], app_txs[GATE_APP_STATS];
	_Atomic uint64_t app_errors[GATE_APP_STATS];
	_Atomic uint64_t events[GATE_EVENT_COUNT]; /* of packets and streams */
	/* set by who asks */
	uint64_t start_us, rules_loaded_us;
	uint64_t rules_loaded, rules_failed;
};

/* One writer: no locked instruction is needed. */
static inline void gate_stat_bump(_Atomic uint64_t *value, uint64_t n)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}
#define GATE_STAT_ADD(stats, id, n) gate_stat_bump(&(stats)->value[GATE_STAT_##id], n)

static inline void gate_stats_events(struct gate_stats *stats, const uint16_t *events,
				     unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		gate_stat_bump(&stats->events[events[i]], 1);
	}
	GATE_STAT_ADD(stats, DECODER_EVENTS, count);
}

void gate_stats_sum(struct gate_stats *sum, const struct gate_stats *one);

/* All that is counted: those of workers, of parsers, of events, of the whole program, and what is
 * derived from them, each by its place in the `stats` record. */
#define GATE_STATS_PATH_MAX 96
struct gate_stats_item {
	char path[GATE_STATS_PATH_MAX]; /* "decoder.event.ipv4.pkt_too_small" */
	char text[160];
	uint64_t value;
};
/* Sorted by path; owned. Never fails. */
size_t gate_stats_items(const struct gate_stats *stats, struct gate_stats_item **ret);

struct gate_jw;
/* The members of the `stats` object, but for what is no number. */
void gate_stats_write(const struct gate_stats *stats, struct gate_jw *jw);

#endif
