/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of all workers added up, and the `stats` record. Off the hot path. */
#include "gate/output/eve.h"

#include "base/counter.h"

#include <time.h>

static const struct {
	const char *group, *name, *text;
} descs[GATE_STAT_COUNT] = {
#define STAT(id, group, name, text) {group, name, text},
#include "gate/output/stats.def"
#undef STAT
};

const char *gate_stat_group(enum gate_stat stat)
{
	return descs[stat].group;
}

const char *gate_stat_name(enum gate_stat stat)
{
	return descs[stat].name;
}

const char *gate_stat_text(enum gate_stat stat)
{
	return descs[stat].text;
}

static void add(_Atomic uint64_t *sum, const _Atomic uint64_t *one, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		gate_stat_bump(&sum[i], atomic_load_explicit(&one[i], memory_order_relaxed));
	}
}

void gate_stats_sum(struct gate_stats *sum, const struct gate_stats *one)
{
	add(sum->value, one->value, GATE_STAT_COUNT);
	add(sum->app_flows, one->app_flows, GATE_APP_COUNT);
	add(sum->app_txs, one->app_txs, GATE_APP_COUNT);
	add(sum->app_errors, one->app_errors, GATE_APP_COUNT);
}

static void put_apps(struct gate_jw *jw, const char *key, const _Atomic uint64_t *values)
{
	gate_jw_object(jw, key);
	for (unsigned int app = GATE_APP_FAILED; app < GATE_APP_COUNT; app++) {
		gate_jw_uint(jw, gate_app_name(app), values[app]);
	}
	gate_jw_end(jw);
}

/* The counters of the whole program: events that have a name of their own, rare ones. */
static void put_counters(struct gate_jw *jw)
{
	json_t *all = bh_counter_dump();
	const char *name;
	json_t *one;

	gate_jw_object(jw, "counters");
	json_object_foreach (all, name, one) {
		gate_jw_uint(jw, name, (uint64_t)json_integer_value(json_object_get(one, "value")));
	}
	gate_jw_end(jw);
	json_decref(all);
}

static void put_time(struct gate_jw *jw, uint64_t now_us)
{
	time_t second = (time_t)(now_us / 1000000);
	struct tm tm = {};
	char text[64];
	size_t size;

	gmtime_r(&second, &tm);
	size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + size, sizeof(text) - size, ".%06u+0000", (unsigned int)(now_us % 1000000));
	gate_jw_text(jw, "timestamp", text);
}

void gate_eve_stats(struct gate_out *out, const struct gate_stats *stats, uint64_t now_us)
{
	struct gate_jw jw;

	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	put_time(&jw, now_us);
	gate_jw_text(&jw, "event_type", "stats");
	gate_jw_object(&jw, "stats");
	gate_jw_uint(&jw, "uptime",
		     now_us > stats->start_us ? (now_us - stats->start_us) / 1000000 : 0);
	for (unsigned int i = 0; i < GATE_STAT_COUNT; i++) {
		if (!i || strcmp(descs[i].group, descs[i - 1].group) != 0) {
			gate_jw_object(&jw, descs[i].group);
		}
		gate_jw_uint(&jw, descs[i].name, stats->value[i]);
		if (!strcmp(descs[i].group, "app_layer") &&
		    (i + 1 == GATE_STAT_COUNT || strcmp(descs[i + 1].group, "app_layer") != 0)) {
			put_apps(&jw, "flow", stats->app_flows);
			put_apps(&jw, "tx", stats->app_txs);
			put_apps(&jw, "error", stats->app_errors);
		}
		if (i + 1 == GATE_STAT_COUNT || strcmp(descs[i].group, descs[i + 1].group) != 0) {
			gate_jw_end(&jw);
		}
	}
	put_counters(&jw);
	gate_jw_end(&jw);
	gate_jw_end(&jw);
	if (jw.ok) {
		jw.comma = false;
		gate_jw_raw(&jw, NULL, "\n", 1);
		gate_out_put(out, jw.data, jw.size);
	}
	gate_jw_done(&jw);
}
