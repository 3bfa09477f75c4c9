/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/monitor.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/change/whatif.h"
#include "manager/store/changes.h"

#include <errno.h>

#define JOBS_MAX     2 /* of people, above which no look begins */
#define EXAMPLE_SIZE 320
#define END_SIZE     128

BH_COUNTER(monitor_looks, "looks at what watched policies would do");
BH_COUNTER(monitor_failed, "of these, those that failed (the next round looks again)");
BH_COUNTER(monitor_told, "events about what watched policies would do");

struct look {
	uv_work_t work;
	struct manager_monitors *monitors;
	struct manager_whatif_options o;
	char *tenant, *name, *author;
	uint64_t since_ns; /* wall clock */
	uint64_t asked_ns; /* monotonic, as the tick said */
	uint64_t begun_ns;
	bool removes;
	struct manager_monitor_report report;
	atomic_bool cancel;
	json_t *json;
	int r;
	struct bh_diag diag;
};

struct manager_monitors {
	struct manager_change *change;
	struct look *look; /* under way; NULL: none */
	/* Of this round, the last one that was looked at. */
	char tenant[BH_NAME_MAX + 1], name[BH_NAME_MAX + 1];
	uint64_t now_ns;   /* monotonic, of this tick */
	uint64_t round_ns; /* when the round began */
	uint64_t quiet_ns; /* no look before that */
};

/* ---- reports ---- */

void manager_monitor_report_read(const char *text, struct manager_monitor_report *ret)
{
	BH_JSON json_t *json = *text ? json_loads(text, 0, NULL) : NULL;

	*ret = (struct manager_monitor_report){
		.found_ns = bh_json_u64_or(json, "found_ns", 0),
		.deny = bh_json_u64_or(json, "deny", 0),
		.allow = bh_json_u64_or(json, "allow", 0),
		.complete = json_is_true(json_object_get(json, "complete")),
		.told_ns = bh_json_u64_or(json, "told_ns", 0),
		.told_deny = bh_json_u64_or(json, "told_deny", 0),
		.told_allow = bh_json_u64_or(json, "told_allow", 0),
	};
}

static char *report_write(const struct manager_monitor_report *r)
{
	BH_JSON json_t *json = json_pack(
		"{s:I, s:I, s:I, s:b, s:I, s:I, s:I}", "found_ns", (json_int_t)r->found_ns, "deny",
		(json_int_t)r->deny, "allow", (json_int_t)r->allow, "complete", r->complete,
		"told_ns", (json_int_t)r->told_ns, "told_deny", (json_int_t)r->told_deny,
		"told_allow", (json_int_t)r->told_allow);

	return json_dumps(json, JSON_COMPACT);
}

bool manager_monitor_report_due(struct manager_monitor_report *r, uint64_t wall_ns)
{
	if (r->deny == r->told_deny && r->allow == r->told_allow) {
		return false;
	}
	r->told_ns = r->told_ns > wall_ns ? wall_ns : r->told_ns;
	return !r->told_ns || wall_ns >= r->told_ns + MANAGER_MONITOR_TELL_S * BH_NS_PER_S;
}

/* ---- telling ---- */

/* "shop app=web,zone=a", "world". */
static void end_text(const json_t *end, char text[END_SIZE])
{
	const char *entity = bh_json_str_or(end, "entity", NULL);
	const char *key;
	json_t *value;
	size_t n;

	n = (size_t)snprintf(text, END_SIZE, "%s",
			     entity ? entity : bh_json_str_or(end, "tenant", ""));
	json_object_foreach (json_object_get(end, "labels"), key, value) {
		if (n < END_SIZE) {
			n += (size_t)snprintf(text + n, END_SIZE - n, " %s=%s", key,
					      json_string_value(value));
		}
	}
}

/* "refused: shop app=web -> shop app=db tcp/22, 12 flows". Owned. */
static json_t *example(const json_t *entry)
{
	const char *after = bh_json_str_or(json_object_get(entry, "after"), "action", "");
	char src[END_SIZE], dst[END_SIZE], text[EXAMPLE_SIZE];

	end_text(json_object_get(entry, "src"), src);
	end_text(json_object_get(entry, "dst"), dst);
	snprintf(text, sizeof(text), "%s: %s -> %s %s, %llu flows",
		 strcmp(after, "allow") == 0 ? "allowed" : "refused", src, dst,
		 bh_json_str_or(entry, "service", ""),
		 (unsigned long long)bh_json_u64_or(entry, "flows", 0));
	return json_string(text);
}

static void tell(struct look *look)
{
	json_t *examples = json_array();
	char since[BH_TIME_TEXT_SIZE];
	json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(look->json, "entries"), i, entry) {
		if (i == MANAGER_MONITOR_EXAMPLES) {
			break;
		}
		json_array_append_new(examples, example(entry));
	}
	bh_time_format(look->since_ns, since);
	bh_counter_add(&monitor_told, 1);
	manager_inventory_notice(look->monitors->change->o.inv, "policy.monitor", "notice",
				 json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:b, s:o}",
					   "tenant", look->tenant, "policy", look->name, "author",
					   look->author, "since", since, "removes", look->removes,
					   "deny", (json_int_t)look->report.deny, "allow",
					   (json_int_t)look->report.allow, "complete",
					   look->report.complete, "examples", examples));
}

/* ---- a look ---- */

static void look_free(struct look *look)
{
	manager_world_free(look->o.world);
	json_decref(look->json);
	free(look->tenant);
	free(look->name);
	free(look->author);
	free(look);
}

static void work(uv_work_t *work)
{
	struct look *look = work->data;

	look->r = manager_whatif_run(&look->o, &look->json, &look->diag);
}

/* The report is written before anybody is told: what can't be kept would be told again and again.
 * -ENOENT: the watch ended, or began anew, meanwhile. */
static int keep(struct look *look)
{
	struct manager_monitor_report old = look->report, *r = &look->report;
	uint64_t now_ns = bh_time_wall_ns();
	BH_FREE char *text = NULL;
	bool due;
	int err;

	r->deny = bh_json_u64_or(look->json, "would_deny", 0);
	r->allow = bh_json_u64_or(look->json, "would_allow", 0);
	r->complete = json_is_true(json_object_get(look->json, "complete"));
	if (!r->found_ns || r->deny != old.deny || r->allow != old.allow ||
	    r->complete != old.complete) {
		r->found_ns = now_ns;
	}
	due = manager_monitor_report_due(r, now_ns);
	if (due) {
		r->told_ns = now_ns;
		r->told_deny = r->deny;
		r->told_allow = r->allow;
	}
	if (memcmp(r, &old, sizeof(old)) == 0) {
		return 0;
	}
	text = report_write(r);
	err = manager_store_report_monitor(
		look->monitors->change->o.db,
		&(struct manager_store_monitor){.tenant = look->tenant,
						.name = look->name,
						.since_ns = look->since_ns,
						.report = text},
		&look->diag);
	return err == 0 && due ? 1 : err;
}

static void looked(uv_work_t *work, int status)
{
	struct look *look = work->data;
	struct manager_monitors *m = look->monitors;
	int r = look->r < 0 ? look->r : keep(look);

	m->look = NULL;
	m->change->jobs--;
	m->quiet_ns = look->asked_ns + (bh_time_mono_ns() - look->begun_ns) * MANAGER_MONITOR_SHARE;
	bh_counter_add(&monitor_looks, 1);
	if (r > 0) {
		tell(look);
	} else if (r < 0 && r != -ECANCELED && r != -ENOENT) {
		bh_counter_add(&monitor_failed, 1);
		bh_log_limited(BH_LOG_WARN, "change", 3, "watched policy %s/%s: %s", look->tenant,
			       look->name, look->diag.text);
	}
	look_free(look);
}

static void scope_of(const struct manager_change *change, const char *tenant,
		     struct manager_scope *ret)
{
	const struct manager_tenant *t = manager_tenant_find(change->o.inv, tenant);

	if (strcmp(tenant, BH_POLICY_PROVIDER) == 0) {
		ret->all = true;
	} else if (t) {
		ret->tenants[ret->count++] = t->number;
	}
}

static int start(const struct manager_store_monitor *row, void *arg)
{
	struct manager_monitors *m = arg;
	struct bh_diag diag = {};
	struct bh_policy_set *set =
		manager_monitor_set(m->change, row->tenant, row->name, row->text, &diag);
	struct look *look;

	snprintf(m->tenant, sizeof(m->tenant), "%s", row->tenant);
	snprintf(m->name, sizeof(m->name), "%s", row->name);
	if (!set) {
		bh_counter_add(&monitor_failed, 1);
		bh_log_limited(BH_LOG_WARN, "change", 3, "watched policy %s/%s: %s", row->tenant,
			       row->name, diag.text);
		return 1;
	}
	look = m->look = bh_alloc(sizeof(*look));
	look->work.data = look;
	look->monitors = m;
	look->asked_ns = m->now_ns;
	look->begun_ns = bh_time_mono_ns();
	look->tenant = bh_strdup(row->tenant);
	look->name = bh_strdup(row->name);
	look->author = bh_strdup(row->author);
	look->since_ns = row->since_ns;
	look->removes = !*row->text;
	manager_monitor_report_read(row->report, &look->report);
	look->o = (struct manager_whatif_options){.world = manager_change_world(m->change, set),
						  .since_ns = row->since_ns,
						  .entries = MANAGER_MONITOR_EXAMPLES,
						  .limit_ms = MANAGER_MONITOR_LIMIT_MS,
						  .cancel = &look->cancel};
	scope_of(m->change, row->tenant, &look->o.scope);
	look->o.policies = look->o.scope;
	bh_policy_set_free(set);
	m->change->jobs++;
	if (uv_queue_work(m->change->o.loop, &look->work, work, looked) < 0) {
		abort(); /* only for a missing callback */
	}
	return 1;
}

void manager_monitors_tick(struct manager_monitors *m, uint64_t mono_ns)
{
	struct bh_diag diag = {};
	int r;

	if (!m->change->o.loop || m->look || mono_ns < m->quiet_ns || m->change->jobs >= JOBS_MAX) {
		return;
	}
	m->now_ns = mono_ns;
	if (!*m->tenant) {
		m->round_ns = mono_ns;
	}
	r = manager_store_next_monitor(m->change->o.db, m->tenant, m->name, start, m, &diag);
	if (r < 0) {
		bh_log_limited(BH_LOG_WARN, "change", 1, "watched policies: %s", diag.text);
	}
	if (r != 1 && *m->tenant) {
		*m->tenant = *m->name = '\0';
		m->quiet_ns = m->round_ns + MANAGER_MONITOR_EVERY_S * BH_NS_PER_S;
	}
}

/* ---- life ---- */

struct bh_policy_set *manager_monitor_set(const struct manager_change *change, const char *tenant,
					  const char *name, const char *text, struct bh_diag *diag)
{
	struct bh_policy_set *set = bh_policy_set_copy(manager_rulebook_set(change->o.book));
	struct bh_policy_set *one = NULL;

	if (!*text) {
		bh_policy_set_drop(set, tenant, name);
		return set;
	}
	if (bh_policy_parse(text, strlen(text), NULL, &one, diag) < 0) {
		bh_policy_set_free(set);
		return NULL;
	}
	bh_policy_set_put(set, bh_policy_set_at(one, 0));
	bh_policy_set_free(one);
	return set;
}

struct manager_monitors *manager_monitors_new(struct manager_change *change)
{
	struct manager_monitors *m = bh_alloc(sizeof(*m));

	m->change = change;
	return m;
}

void manager_monitors_stop(struct manager_monitors *m)
{
	if (m->look) {
		atomic_store(&m->look->cancel, true);
	}
}

void manager_monitors_free(struct manager_monitors *m)
{
	if (m) {
		manager_monitors_stop(m);
		while (m->look) {
			uv_run(m->change->o.loop, UV_RUN_ONCE);
		}
		free(m);
	}
}
