/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers count. Each worker has one; it alone adds, others read with relaxed order whenever
 * they like: a sum may be a packet old, never torn.
 */
#ifndef BH_GATE_OUTPUT_STATS_H
#define BH_GATE_OUTPUT_STATS_H

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
	_Atomic uint64_t app_flows[GATE_APP_COUNT], app_txs[GATE_APP_COUNT];
	_Atomic uint64_t app_errors[GATE_APP_COUNT];
	uint64_t start_us;
};

/* One writer: no locked instruction is needed. */
static inline void gate_stat_bump(_Atomic uint64_t *value, uint64_t n)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}
#define GATE_STAT_ADD(stats, id, n) gate_stat_bump(&(stats)->value[GATE_STAT_##id], n)

void gate_stats_sum(struct gate_stats *sum, const struct gate_stats *one);
const char *gate_stat_group(enum gate_stat stat);
const char *gate_stat_name(enum gate_stat stat);
const char *gate_stat_text(enum gate_stat stat);

#endif
