/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics for Prometheus (text format 0.0.4), /v1/health, /healthz. Numbers that say something
 * about one tenant are not among the metrics. /healthz is for load balancers: 200 or 503 without a
 * word why.
 */
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"
#include "manager/events/alerts.h"
#include "manager/events/channels.h"

#include <sys/statvfs.h>

#define FREE_LEAST (256ull << 20) /* bytes; with less the disk is called full */

/* ---- health ---- */

static void reason(json_t *list, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void reason(json_t *list, const char *what, const char *fmt, ...)
{
	char text[BH_DIAG_TEXT_SIZE];
	json_t *item;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	item = json_pack("{s:s, s:s}", "what", what, "why", text);
	json_array_append_new(list, item ? item : json_pack("{s:s}", "what", what));
}

static void look_at_hosts(const struct manager_parts *parts, json_t *list)
{
	struct manager_host *h, *tmp;
	unsigned int away = 0, behind = 0;

	HASH_ITER (hh, parts->inv->hosts, h, tmp) {
		away += !h->online;
		behind += h->online && (!h->sync || !manager_sync_in_sync(h->sync));
	}
	if (away) {
		reason(list, "hosts", "%u of %u hosts are away", away,
		       HASH_COUNT(parts->inv->hosts));
	}
	if (behind) {
		reason(list, "sync", "%u hosts do not have what they should", behind);
	}
}

static void look_at_disk(const struct manager_parts *parts, json_t *list)
{
	struct statvfs fs = {};
	unsigned long long left;

	if (statvfs(manager_events_path(parts->events), &fs) < 0) {
		return;
	}
	left = (unsigned long long)fs.f_bavail * fs.f_frsize;
	if (left < FREE_LEAST) {
		reason(list, "disk", "%llu MiB are left", left >> 20);
	}
}

static void look_at_channels(const struct manager_parts *parts, json_t *list)
{
	BH_JSON json_t *channels = parts->channels ? manager_channels_list(parts->channels) : NULL;

	for (size_t i = 0; i < json_array_size(channels); i++) {
		const json_t *c = json_array_get(channels, i);

		if (strcmp(bh_json_str_or(c, "state", ""), "failing") == 0) {
			reason(list, "channel", "%s: %s", bh_json_str_or(c, "name", ""),
			       bh_json_str_or(c, "last_error", ""));
		}
	}
}

/* What is degraded; owned. */
static json_t *reasons_of(const struct manager_parts *parts)
{
	json_t *list = json_array();
	const char *problem = manager_events_problem(parts->events);

	if (parts->bus && !bh_bus_up(parts->bus)) {
		reason(list, "bus", "%s", bh_bus_last_error(parts->bus));
	}
	if (*problem) {
		reason(list, "events", "%s", problem);
	}
	if (parts->dist && parts->dist->save_retry_ns) {
		reason(list, "store", "the database can't be written");
	}
	if (parts->alerts && *manager_alerts_problem(parts->alerts)) {
		reason(list, "alerts", "%s", manager_alerts_problem(parts->alerts));
	}
	if (parts->audit && !manager_audit_ready(parts->audit)) {
		reason(list, "audit", "acts are refused: what must be recorded can't be");
	}
	look_at_disk(parts, list);
	look_at_hosts(parts, list);
	look_at_channels(parts, list);
	return list;
}

static void get_health(struct manager_request *req)
{
	json_t *list = reasons_of(req->parts);

	manager_reply(req, 200,
		      json_pack("{s:s, s:o}", "status", json_array_size(list) ? "degraded" : "ok",
				"reasons", list));
}

/* Alive, and what it takes can be kept. */
static void get_healthz(struct manager_request *req)
{
	bool ok = !*manager_events_problem(req->parts->events) &&
		  (!req->parts->dist || !req->parts->dist->save_retry_ns);

	manager_reply_text(req, ok ? 200 : 503, "text/plain; charset=utf-8",
			   bh_strdup(ok ? "ok\n" : "degraded\n"), ok ? 3 : 9);
}

/* ---- metrics ---- */

static void gauge(struct bh_wbuf *w, const char *name, const char *help, uint64_t value)
{
	bh_wbuf_printf(w, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s gauge\nbulkhead_%s %llu\n",
		       name, help, name, name, (unsigned long long)value);
}

static void add_counters(struct bh_wbuf *w)
{
	BH_JSON json_t *counters = bh_counter_dump();
	const char *name;
	const json_t *c;

	json_object_foreach ((json_t *)counters, name, c) {
		bh_wbuf_printf(w,
			       "# HELP bulkhead_%s_total %s\n# TYPE bulkhead_%s_total counter\n"
			       "bulkhead_%s_total %llu\n",
			       name, bh_json_str_or(c, "help", ""), name, name,
			       (unsigned long long)bh_json_u64_or(c, "value", 0));
	}
}

static void add_inventory(struct bh_wbuf *w, const struct manager_parts *parts)
{
	struct manager_host *h, *tmp;
	unsigned int online = 0, in_sync = 0;

	HASH_ITER (hh, parts->inv->hosts, h, tmp) {
		online += h->online;
		in_sync += h->online && h->sync && manager_sync_in_sync(h->sync);
	}
	gauge(w, "hosts", "hosts that are enrolled", HASH_COUNT(parts->inv->hosts));
	gauge(w, "hosts_online", "hosts that are heard of", online);
	gauge(w, "hosts_in_sync", "hosts that have what they should", in_sync);
	gauge(w, "vms", "virtual machines that are known", HASH_COUNT(parts->inv->vms));
	gauge(w, "tenants", "tenants", HASH_COUNT(parts->inv->tenants));
	gauge(w, "revision", "revision of the policies in force",
	      manager_rulebook_revision(parts->book));
}

static void add_alerts(struct bh_wbuf *w, const struct manager_parts *parts)
{
	static const struct manager_scope all = {.all = true};
	struct manager_alert_counts counts = {};

	if (parts->alerts) {
		manager_alerts_count(parts->alerts, &all, &all, &counts);
	}
	gauge(w, "alerts_open", "alerts that nobody has acknowledged", counts.open);
	gauge(w, "alerts_open_critical", "critical ones of them", counts.open_critical);
}

static void add_channels(struct bh_wbuf *w, const struct manager_parts *parts)
{
	static const struct {
		const char *name, *type, *member, *help;
	} rows[] = {
		{"channel_delivered_total", "counter", "delivered", "events that were taken"},
		{"channel_queued", "gauge", "queued", "events behind the cursor"},
		{"channel_gave_up_total", "counter", "gave_up", "events that were given up"},
		{"channel_retries_total", "counter", "retries", "batches sent again"},
	};
	BH_JSON json_t *list = parts->channels ? manager_channels_list(parts->channels) : NULL;

	for (size_t i = 0; i < BH_ARRAY_SIZE(rows) && json_array_size(list); i++) {
		bh_wbuf_printf(w, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s %s\n", rows[i].name,
			       rows[i].help, rows[i].name, rows[i].type);
		for (size_t k = 0; k < json_array_size(list); k++) {
			const json_t *c = json_array_get(list, k);

			bh_wbuf_printf(w, "bulkhead_%s{channel=\"%s\"} %llu\n", rows[i].name,
				       bh_json_str_or(c, "name", ""),
				       (unsigned long long)bh_json_u64_or(c, rows[i].member, 0));
		}
	}
}

static void get_metrics(struct manager_request *req)
{
	const struct manager_parts *parts = req->parts;
	BH_JSON json_t *events = manager_events_stats(parts->events);
	BH_JSON json_t *reasons = reasons_of(parts);
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	gauge(&w, "up_seconds", "since the manager was started",
	      (bh_time_wall_ns() - parts->started_ns) / BH_NS_PER_S);
	gauge(&w, "degraded", "what /v1/health has to say", json_array_size(reasons));
	gauge(&w, "bus_up", "the bus is connected", parts->bus && bh_bus_up(parts->bus));
	gauge(&w, "events_kept", "events in the archive", bh_json_u64_or(events, "stored", 0));
	gauge(&w, "events_bytes", "what they take on disk", bh_json_u64_or(events, "bytes", 0));
	gauge(&w, "event_followers", "live streams of events", manager_follower_count(req->api));
	add_inventory(&w, parts);
	add_alerts(&w, parts);
	add_channels(&w, parts);
	add_counters(&w);
	manager_reply_text(req, 200, "text/plain; version=0.0.4; charset=utf-8", (char *)w.data,
			   w.size);
}

/* The first two are also found at /metrics and /healthz (route.c). */
const struct manager_route manager_routes_metrics[] = {
	{"GET", "metrics", get_metrics, VERB_HOST_READ, OBJECT_SYSTEM, 0, NULL, NULL},
	{"GET", "healthz", get_healthz, VERB_NONE, OBJECT_PUBLIC, 0, NULL, NULL},
	{"GET", "health", get_health, VERB_HOST_READ, OBJECT_SYSTEM, 0, NULL, NULL},
	{},
};
