/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of all workers added up, and all that is counted as one list. Off the hot path. */
#include "gate/output/stats.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/output/jw.h"

#include <stdarg.h>
#include <string.h>

#define DEPTH_MAX 8

static const struct {
	const char *group, *name, *text;
} descs[GATE_STAT_COUNT] = {
#define STAT(id, group, name, text) {group, name, text},
#include "gate/output/stats.def"
#undef STAT
};

static void add(_Atomic uint64_t *sum, const _Atomic uint64_t *one, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		gate_stat_bump(&sum[i], atomic_load_explicit(&one[i], memory_order_relaxed));
	}
}

void gate_stats_sum(struct gate_stats *sum, const struct gate_stats *one)
{
	add(sum->value, one->value, GATE_STAT_COUNT);
	add(sum->app_flows, one->app_flows, GATE_APP_STATS);
	add(sum->app_txs, one->app_txs, GATE_APP_STATS);
	add(sum->app_errors, one->app_errors, GATE_APP_STATS);
	add(sum->events, one->events, GATE_EVENT_COUNT);
}

/* ---- the list ---- */

struct items {
	BH_VEC(struct gate_stats_item) list;
};

static void put(struct items *items, uint64_t value, const char *text, const char *path, ...)
	__attribute__((format(printf, 4, 5)));

static void put(struct items *items, uint64_t value, const char *text, const char *path, ...)
{
	struct gate_stats_item *item = bh_vec_push(&items->list);
	va_list ap;

	va_start(ap, path);
	vsnprintf(item->path, sizeof(item->path), path, ap);
	va_end(ap);
	snprintf(item->text, sizeof(item->text), "%s", text);
	item->value = value;
}

/* One that TCP and UDP carry has counters of each, "dns_tcp" and "dns_udp". */
static bool has_both(enum gate_app app)
{
	const struct gate_app_ops *ops = gate_app_ops_of(app);

	return app == GATE_APP_FAILED || (ops && (ops->transports & 3) == 3);
}

/* Of one transport, from the index `at` of the tables; of both when there is no word for it. */
static void put_app(struct items *items, const struct gate_stats *stats, enum gate_app app,
		    unsigned int at, const char *word)
{
	const char *name = gate_app_name(app);
	unsigned int udp = app + GATE_APP_COUNT;
	bool both = !*word;

	put(items, stats->app_flows[at] + (both ? stats->app_flows[udp] : 0),
	    "flows of the protocol", "app_layer.flow.%s%s", name, word);
	if (app == GATE_APP_FAILED) {
		return;
	}
	put(items, stats->app_txs[at] + (both ? stats->app_txs[udp] : 0),
	    "transactions of the protocol", "app_layer.tx.%s%s", name, word);
	put(items, stats->app_errors[at] + (both ? stats->app_errors[udp] : 0),
	    "flows that the parser gave up", "app_layer.error.%s%s.parser", name, word);
}

static void put_apps(struct items *items, const struct gate_stats *stats)
{
	for (unsigned int i = GATE_APP_FAILED; i < GATE_APP_COUNT; i++) {
		enum gate_app app = (enum gate_app)i;

		put_app(items, stats, app, i, has_both(app) ? "_tcp" : "");
		if (has_both(app)) {
			put_app(items, stats, app, i + GATE_APP_COUNT, "_udp");
		}
	}
}

static void put_events(struct items *items, const struct gate_stats *stats)
{
	for (enum gate_event event = 1; event < GATE_EVENT_COUNT; event++) {
		const char *name = gate_event_name(event);
		bool stream = !strncmp(name, "stream.", 7);

		put(items, stats->events[event], gate_event_text(event), "%s.%s",
		    stream ? "stream.event" : "decoder.event", stream ? name + 7 : name);
	}
}

/* Where Suricata has them; the counters of the program hold them. */
static void put_drops(struct items *items)
{
	static const char *const names[][3] = {
		{"gate_drop_rule", "rules", "packets that a rule dropped"},
		{"gate_drop_flow", "flow_drop", "packets of a flow that was dropped"},
		{"gate_drop_stream", "stream_error", "segments that can't be"},
		{"gate_drop_decode", "decode_error", "packets that can't be read"},
		{"gate_drop_defrag", "defrag_error", "fragments that can't be"},
		{"gate_drop_memcap", "flow_memcap", "packets without a flow for want of room"},
		{"gate_drop_midstream", "stream_midstream", "of connections without handshake"},
		{"gate_drop_app", "applayer_error", "packets of what a parser has given up"},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		put(items, bh_counter_get(names[i][0]), names[i][2], "ips.drop_reason.%s",
		    names[i][1]);
	}
}

static void put_derived(struct items *items, const struct gate_stats *stats)
{
	uint64_t packets = stats->value[GATE_STAT_DECODER_PKTS];
	uint64_t bytes = stats->value[GATE_STAT_DECODER_BYTES];

	put(items, packets ? bytes / packets : 0, "bytes of a packet, the mean",
	    "decoder.avg_pkt_size");
	put(items, stats->rules_loaded, "rules that are loaded", "detect.rules_loaded");
	put(items, stats->rules_failed, "rules that were refused", "detect.rules_failed");
}

static void put_counters(struct items *items)
{
	json_t *all = bh_counter_dump();
	const char *name;
	json_t *one;

	json_object_foreach (all, name, one) {
		put(items, (uint64_t)json_integer_value(json_object_get(one, "value")),
		    json_string_value(json_object_get(one, "help")), "counters.%s", name);
	}
	json_decref(all);
}

static int by_path(const void *a, const void *b)
{
	const struct gate_stats_item *x = a, *y = b;

	return strcmp(x->path, y->path);
}

size_t gate_stats_items(const struct gate_stats *stats, struct gate_stats_item **ret)
{
	struct items items = {};

	for (unsigned int i = 0; i < GATE_STAT_COUNT; i++) {
		put(&items, stats->value[i], descs[i].text, "%s.%s", descs[i].group, descs[i].name);
	}
	put_apps(&items, stats);
	put_events(&items, stats);
	put_drops(&items);
	put_derived(&items, stats);
	put_counters(&items);
	qsort(items.list.items, items.list.count, sizeof(*items.list.items), by_path);
	*ret = items.list.items;
	return items.list.count;
}

/* ---- as objects in objects ---- */

/* How many parts both begin with, the last one of each left out. */
static unsigned int common_depth(const char *a, const char *b, size_t *ret_size)
{
	unsigned int depth = 0;

	*ret_size = 0;
	for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '.') {
			depth++;
			*ret_size = i + 1;
		}
	}
	return depth;
}

void gate_stats_write(const struct gate_stats *stats, struct gate_jw *jw)
{
	struct gate_stats_item *items = NULL;
	size_t count = gate_stats_items(stats, &items);
	const char *before = "";
	unsigned int depth = 0;

	for (size_t i = 0; i < count; i++) {
		char path[GATE_STATS_PATH_MAX], *part, *dot;
		size_t same;
		unsigned int keep = common_depth(before, items[i].path, &same);

		for (; depth > keep; depth--) {
			gate_jw_end(jw);
		}
		memcpy(path, items[i].path, sizeof(path));
		for (part = path + same; (dot = strchr(part, '.')); part = dot + 1, depth++) {
			*dot = '\0';
			gate_jw_object(jw, part);
		}
		gate_jw_uint(jw, part, items[i].value);
		before = items[i].path;
	}
	for (; depth; depth--) {
		gate_jw_end(jw);
	}
	free(items);
}
