/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/alerts.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/events/filter.h"
#include "manager/events/view.h"

#include <errno.h>
#include <utlist.h>

#define NEVER 100 /* no event is that grave */

BH_COUNTER(alerts_events, "events that became alerts or were counted in one");
BH_COUNTER(alerts_opened, "alerts opened");
BH_COUNTER(alerts_forgotten, "closed alerts that were forgotten because there were too many");
BH_COUNTER(alerts_without_group, "events counted in an alert per type because too many are open");
BH_COUNTER(alerts_save_failed, "times that alerts could not be written");

static const char *const migrations[] = {
	"CREATE TABLE alerts (id INTEGER PRIMARY KEY, state INTEGER NOT NULL,"
	" last INTEGER NOT NULL, body TEXT NOT NULL);"
	"CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
};

struct rule {
	char type[BH_EVENT_TYPE_MAX + 2];
	int severity;
};

struct manager_alerts {
	struct manager_db *db;
	struct manager_events *ev;
	struct manager_alert *list;   /* newest first */
	struct manager_alert *groups; /* not closed, by key */
	struct manager_alert *by_id;
	uint64_t next_id, position, saved_position;
	size_t count, closed;
	struct rule rules[MANAGER_ALERT_RULES_MAX];
	size_t rule_count;
	int severity; /* without a rule */
	bool dirty;
	char problem[BH_DIAG_TEXT_SIZE]; /* why they could not be saved; "": they could */
};

static const char *const state_names[] = {"open", "acknowledged", "closed"};

const char *manager_alert_state_name(enum manager_alert_state state)
{
	return state_names[state];
}

int manager_alert_state_parse(const char *text, enum manager_alert_state *ret)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(state_names); i++) {
		if (strcmp(text, state_names[i]) == 0) {
			*ret = (enum manager_alert_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- one alert ---- */

static void add_to_tables(struct manager_alerts *all, struct manager_alert *a)
{
	HASH_ADD(hh_by_id, all->by_id, id, sizeof(a->id), a);
	all->count++;
	if (a->state == MANAGER_ALERT_CLOSED) {
		all->closed++;
	} else {
		HASH_ADD_KEYPTR(hh, all->groups, a->key, strlen(a->key), a);
	}
}

static void set_state(struct manager_alerts *all, struct manager_alert *a,
		      enum manager_alert_state state)
{
	if (a->state == state) {
		return;
	}
	if (a->state == MANAGER_ALERT_CLOSED) {
		all->closed--;
		HASH_ADD_KEYPTR(hh, all->groups, a->key, strlen(a->key), a);
	} else if (state == MANAGER_ALERT_CLOSED) {
		HASH_DELETE(hh, all->groups, a);
		all->closed++;
	}
	a->state = state;
}

static void forget(struct manager_alerts *all, struct manager_alert *a)
{
	DL_DELETE(all->list, a);
	HASH_DELETE(hh_by_id, all->by_id, a);
	if (a->state == MANAGER_ALERT_CLOSED) {
		all->closed--;
	} else {
		HASH_DELETE(hh, all->groups, a);
	}
	all->count--;
	json_decref(a->history);
	free(a->key);
	free(a);
}

static json_t *alert_dump(const struct manager_alert *a)
{
	return json_pack("{s:I, s:i, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:O}",
			 "state", (json_int_t)a->state, "severity", (int)a->severity, "tenant",
			 (json_int_t)a->tenant, "type", a->type, "object", a->object, "name",
			 a->name, "signature", a->signature, "assignee", a->assignee, "key", a->key,
			 "first", (json_int_t)a->first_ns, "last", (json_int_t)a->last_ns, "count",
			 (json_int_t)a->count, "last_event", (json_int_t)a->last_event, "history",
			 a->history);
}

static void copy_text(char *to, size_t size, const json_t *json, const char *key)
{
	snprintf(to, size, "%s", bh_json_str_or(json, key, ""));
}

static struct manager_alert *alert_load(const json_t *json, uint64_t id)
{
	struct manager_alert *a = bh_alloc(sizeof(*a));
	json_t *history = json_object_get(json, "history");

	a->id = id;
	a->state = (enum manager_alert_state)(bh_json_u64_or(json, "state", 0) % 3);
	a->severity = (enum bh_severity)(bh_json_u64_or(json, "severity", 0) & 3);
	a->tenant = (uint32_t)bh_json_u64_or(json, "tenant", MANAGER_SCOPE_PROVIDER);
	copy_text(a->type, sizeof(a->type), json, "type");
	copy_text(a->object, sizeof(a->object), json, "object");
	copy_text(a->name, sizeof(a->name), json, "name");
	copy_text(a->signature, sizeof(a->signature), json, "signature");
	copy_text(a->assignee, sizeof(a->assignee), json, "assignee");
	a->key = bh_strdup(bh_json_str_or(json, "key", ""));
	a->first_ns = bh_json_u64_or(json, "first", 0);
	a->last_ns = bh_json_u64_or(json, "last", 0);
	a->count = bh_json_u64_or(json, "count", 0);
	a->last_event = bh_json_u64_or(json, "last_event", 0);
	a->history = json_is_array(history) ? json_incref(history) : json_array();
	return a;
}

static int save_one(struct manager_alerts *all, const struct manager_alert *a, struct bh_diag *diag)
{
	BH_JSON json_t *json = alert_dump(a);
	BH_FREE char *text = bh_json_dump(json);

	return manager_db_run(all->db, diag,
			      "INSERT OR REPLACE INTO alerts VALUES (?1, ?2, ?3, ?4)", "iiit",
			      (int64_t)a->id, (int64_t)a->state, (int64_t)a->last_ns, text);
}

/* ---- which group ---- */

struct group {
	char object[128], name[128], signature[192];
	char *key; /* owned */
};

static bool take(const struct bh_jtext *event, const char *kind, const char *key, struct group *g)
{
	char text[100];

	if (!bh_jtext_str(event, key, text, sizeof(text)) || !*text) {
		return false;
	}
	snprintf(g->object, sizeof(g->object), "%s/%s", kind, text);
	snprintf(g->name, sizeof(g->name), "%s", text);
	return true;
}

static void find_object(const struct bh_jtext *event, struct group *g)
{
	char name[100];

	if (take(event, "vm", "vm", g)) {
		if (bh_jtext_str(event, "vm_name", name, sizeof(name)) && *name) {
			snprintf(g->name, sizeof(g->name), "%s", name);
		}
		return;
	}
	(void)(take(event, "user", "user", g) || take(event, "from", "from", g) ||
	       take(event, "certificate", "of", g) || take(event, "host", "host", g) ||
	       take(event, "host", "producer", g));
}

static void find_signature(const struct bh_jtext *event, struct group *g)
{
	static const char *const texts[] = {"signature", "rule_text", "reason", "code", "verb"};
	uint64_t number = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		if (bh_jtext_str(event, texts[i], g->signature, sizeof(g->signature)) &&
		    *g->signature) {
			return;
		}
	}
	if (bh_jtext_u64(event, "sid", UINT32_MAX, &number)) {
		snprintf(g->signature, sizeof(g->signature), "%llu", (unsigned long long)number);
	}
}

static void find_group(const char *type, uint32_t tenant, const struct bh_jtext *event,
		       struct group *g)
{
	find_object(event, g);
	find_signature(event, g);
	g->key = bh_asprintf("%s\n%u\n%s\n%s", type, tenant, g->object, g->signature);
}

/* ---- events ---- */

static bool type_fits(const char *want, const char *type)
{
	size_t len = strlen(want);

	len -= len && want[len - 1] == '*';
	return strcmp(want, type) == 0 || ((want[len] == '*' || (len && want[len - 1] == '.')) &&
					   strncmp(want, type, len) == 0);
}

static bool wanted(const struct manager_alerts *all, const char *type, int severity)
{
	if (strcmp(type, "channel.test") == 0) {
		return false; /* critical, so that it passes filters, and no matter */
	}
	for (size_t i = 0; i < all->rule_count; i++) {
		if (type_fits(all->rules[i].type, type)) {
			return severity >= all->rules[i].severity;
		}
	}
	return severity >= all->severity;
}

static struct manager_alert *find_oldest_closed(struct manager_alerts *all)
{
	struct manager_alert *a =
		all->list ? all->list->prev : NULL; /* utlist: head->prev is last */

	while (a && a->state != MANAGER_ALERT_CLOSED) {
		a = a == all->list ? NULL : a->prev;
	}
	return a;
}

/* False: no room for another group. */
static bool make_room(struct manager_alerts *all)
{
	struct manager_alert *old;
	struct bh_diag diag = {};

	if (all->count < MANAGER_ALERTS_MAX) {
		return true;
	}
	old = all->closed ? find_oldest_closed(all) : NULL;
	if (!old || manager_db_run(all->db, &diag, "DELETE FROM alerts WHERE id = ?1", "i",
				   (int64_t)old->id) < 0) {
		return false;
	}
	bh_counter_add(&alerts_forgotten, 1);
	forget(all, old);
	return true;
}

static struct manager_alert *open_alert(struct manager_alerts *all, const char *type,
					uint32_t tenant, struct group *g)
{
	struct manager_alert *a = bh_alloc(sizeof(*a));

	bh_counter_add(&alerts_opened, 1);
	a->id = all->next_id++;
	a->tenant = tenant;
	snprintf(a->type, sizeof(a->type), "%s", type);
	memcpy(a->object, g->object, sizeof(a->object));
	memcpy(a->name, g->name, sizeof(a->name));
	memcpy(a->signature, g->signature, sizeof(a->signature));
	a->key = bh_steal(&g->key);
	a->history = json_array();
	add_to_tables(all, a);
	DL_PREPEND(all->list, a);
	return a;
}

static void add_history(struct manager_alert *a, const struct manager_alert_act *act)
{
	char time[BH_TIME_TEXT_SIZE];

	bh_time_format(act->now_ns, time);
	while (json_array_size(a->history) >= MANAGER_ALERT_COMMENTS) {
		json_array_remove(a->history, 0);
	}
	json_array_append_new(a->history,
			      json_pack("{s:s, s:s, s:s, s:s}", "time", time, "who", act->who,
					"what", act->what, "text", act->text ? act->text : ""));
}

/* One more of its group. */
static void count_event(struct manager_alerts *all, struct manager_alert *a, uint64_t id,
			const struct manager_row *row)
{
	uint64_t wall_ns = (uint64_t)row->wall_ns;

	a->count++;
	a->first_ns = a->first_ns && a->first_ns < wall_ns ? a->first_ns : wall_ns;
	a->last_ns = a->last_ns > wall_ns ? a->last_ns : wall_ns;
	a->last_event = id;
	if (a->state == MANAGER_ALERT_ACKNOWLEDGED && row->severity > a->severity) {
		struct manager_alert_act act = {.who = "system",
						.what = "reopen",
						.text = "it became graver",
						.now_ns = wall_ns};

		set_state(all, a, MANAGER_ALERT_OPEN);
		add_history(a, &act);
	}
	a->severity = row->severity > a->severity ? row->severity : a->severity;
	a->dirty = all->dirty = true;
	DL_DELETE(all->list, a);
	DL_PREPEND(all->list, a);
}

/* Who may not see such events must not see what is in them as an alert either. */
static uint32_t tenant_of(const struct manager_row *row)
{
	uint32_t own = row->vm_end ? row->dst_tenant : row->src_tenant;

	return own && manager_event_type_shown(row->type) ? own : MANAGER_SCOPE_PROVIDER;
}

static void take_event(struct manager_alerts *all, uint64_t id, const struct manager_row *row)
{
	uint32_t tenant = tenant_of(row);
	struct manager_alert *a = NULL;
	struct bh_jtext event;
	struct group g = {};

	all->position = id;
	if (!wanted(all, row->type, row->severity) ||
	    bh_jtext_parse(row->body, row->body_size, &event, NULL)) {
		return;
	}
	bh_counter_add(&alerts_events, 1);
	find_group(row->type, tenant, &event, &g);
	HASH_FIND_STR(all->groups, g.key, a);
	if (!a && !make_room(all)) {
		bh_counter_add(&alerts_without_group, 1);
		free(g.key);
		g = (struct group){};
		g.key = bh_asprintf("%s\n%u", row->type, tenant);
		snprintf(g.signature, sizeof(g.signature),
			 "(several: %u alerts are open, close some)", MANAGER_ALERTS_MAX);
		HASH_FIND_STR(all->groups, g.key, a);
	}
	if (!a) {
		a = open_alert(all, row->type, tenant, &g);
	}
	free(g.key);
	count_event(all, a, id, row);
}

static void on_row(uint64_t id, const struct manager_event_row *event, void *arg)
{
	struct manager_row row;

	manager_row_of(event, &row);
	take_event(arg, id, &row);
}

/* ---- on disk ---- */

static int save(struct manager_alerts *all, struct bh_diag *diag)
{
	struct bh_diag why = {};
	struct manager_alert *a;
	int r;

	diag = diag ? diag : &why;
	r = manager_db_begin(all->db, diag);
	DL_FOREACH (all->list, a) {
		if (r == 0 && a->dirty) {
			r = save_one(all, a, diag);
		}
	}
	if (r == 0) {
		r = manager_db_run(all->db, diag,
				   "INSERT OR REPLACE INTO settings VALUES ('position', ?1)", "i",
				   (int64_t)all->position);
	}
	if (r == 0) {
		r = manager_db_commit(all->db, diag);
	} else {
		manager_db_abort(all->db);
	}
	if (r < 0) {
		bh_counter_add(&alerts_save_failed, 1);
		memcpy(all->problem, diag->text, sizeof(all->problem));
		return r;
	}
	*all->problem = '\0';
	DL_FOREACH (all->list, a) {
		a->dirty = false;
	}
	all->dirty = false;
	all->saved_position = all->position;
	return 0;
}

void manager_alerts_tick(struct manager_alerts *all)
{
	struct bh_diag diag = {};

	/* Without news in alerts the position may be a little old: more is looked at, nothing
	 * twice. */
	if ((all->dirty || all->position > all->saved_position + 100000) && save(all, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "alerts", 3, "%s", diag.text);
	}
}

const char *manager_alerts_problem(const struct manager_alerts *all)
{
	return all->problem;
}

/* ---- people ---- */

int manager_alerts_act(struct manager_alerts *all, struct manager_alert *a,
		       const struct manager_alert_act *act, struct bh_diag *diag)
{
	struct manager_alert old = *a, *twin = NULL;
	json_t *history, *before = a->history;
	int r;

	HASH_FIND_STR(all->groups, a->key, twin);
	if (a->state == MANAGER_ALERT_CLOSED && twin &&
	    (strcmp(act->what, "reopen") == 0 || strcmp(act->what, "acknowledge") == 0)) {
		return bh_diag_set(diag, MANAGER_ALERT_TWIN,
				   "the same has happened again since: go on with alert %llu",
				   (unsigned long long)twin->id);
	}
	history = json_copy(a->history);
	a->history = history;
	add_history(a, act);
	if (strcmp(act->what, "acknowledge") == 0) {
		set_state(all, a, MANAGER_ALERT_ACKNOWLEDGED);
	} else if (strcmp(act->what, "close") == 0) {
		set_state(all, a, MANAGER_ALERT_CLOSED);
	} else if (strcmp(act->what, "reopen") == 0) {
		set_state(all, a, MANAGER_ALERT_OPEN);
	} else if (strcmp(act->what, "assign") == 0) {
		snprintf(a->assignee, sizeof(a->assignee), "%s", act->assignee);
	}
	a->dirty = true;
	r = save(all, diag);
	if (r < 0) { /* nothing has happened */
		set_state(all, a, old.state);
		memcpy(a->assignee, old.assignee, sizeof(a->assignee));
		a->history = before;
		json_decref(history);
		return r;
	}
	json_decref(before);
	return 0;
}

struct manager_alert *manager_alerts_first(struct manager_alerts *all)
{
	return all->list;
}

struct manager_alert *manager_alerts_find(struct manager_alerts *all, uint64_t id)
{
	struct manager_alert *a;

	HASH_FIND(hh_by_id, all->by_id, &id, sizeof(id), a);
	return a;
}

void manager_alerts_count(const struct manager_alerts *all, const struct manager_scope *scope,
			  const struct manager_scope *flows, struct manager_alert_counts *ret)
{
	const struct manager_alert *a;

	*ret = (struct manager_alert_counts){};
	DL_FOREACH (all->list, a) {
		if (!manager_scope_has(manager_type_is_flow(a->type) ? flows : scope, a->tenant)) {
			continue;
		}
		ret->open += a->state == MANAGER_ALERT_OPEN;
		ret->acknowledged += a->state == MANAGER_ALERT_ACKNOWLEDGED;
		ret->closed += a->state == MANAGER_ALERT_CLOSED;
		ret->open_critical +=
			a->state == MANAGER_ALERT_OPEN && a->severity == BH_SEVERITY_CRITICAL;
	}
}

/* ---- rules ---- */

static const char *severity_text(int severity)
{
	return severity == NEVER ? "never" : bh_severity_name((enum bh_severity)severity);
}

static int read_severity(const json_t *json, int *ret, struct bh_diag *diag)
{
	const char *text = bh_json_str_or(json, "severity", "");
	enum bh_severity severity;

	if (strcmp(text, "never") == 0) {
		*ret = NEVER;
		return 0;
	}
	if (bh_severity_parse(text, &severity) < 0) {
		return bh_diag_set(diag, -EINVAL,
				   "'severity' must be info, notice, warning, critical or never");
	}
	*ret = (int)severity;
	return 0;
}

json_t *manager_alerts_rules(const struct manager_alerts *all)
{
	json_t *list = json_array();

	for (size_t i = 0; i < all->rule_count; i++) {
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "type", all->rules[i].type,
						"severity", severity_text(all->rules[i].severity)));
	}
	return json_pack("{s:s, s:o}", "severity", severity_text(all->severity), "rules", list);
}

static int read_rules(const json_t *json, struct rule *rules, size_t *ret_count,
		      struct bh_diag *diag)
{
	const json_t *list = json_object_get(json, "rules");

	if (list && (!json_is_array(list) || json_array_size(list) > MANAGER_ALERT_RULES_MAX)) {
		return bh_diag_set(diag, -EINVAL, "'rules' must be a list of at most %u",
				   MANAGER_ALERT_RULES_MAX);
	}
	*ret_count = json_array_size(list);
	for (size_t i = 0; i < *ret_count; i++) {
		const json_t *item = json_array_get(list, i);
		const char *type = bh_json_str_or(item, "type", "");
		int r;

		if (!*type || strlen(type) >= sizeof(rules[i].type)) {
			return bh_diag_set(diag, -EINVAL, "rule %zu has no good 'type'", i + 1);
		}
		snprintf(rules[i].type, sizeof(rules[i].type), "%s", type);
		r = read_severity(item, &rules[i].severity, diag);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int apply_rules(struct manager_alerts *all, const json_t *json, struct bh_diag *diag)
{
	BH_FREE struct rule *rules = bh_alloc_array(MANAGER_ALERT_RULES_MAX, sizeof(*rules));
	size_t count = 0;
	int severity = BH_SEVERITY_WARNING;
	int r = read_rules(json, rules, &count, diag);

	if (r == 0 && json_object_get(json, "severity")) {
		r = read_severity(json, &severity, diag);
	}
	if (r == 0) {
		all->severity = severity;
		all->rule_count = count;
		memcpy(all->rules, rules, sizeof(all->rules));
	}
	return r;
}

int manager_alerts_set_rules(struct manager_alerts *all, const json_t *rules, struct bh_diag *diag)
{
	BH_JSON json_t *old = manager_alerts_rules(all);
	BH_FREE char *text = NULL;
	int r = apply_rules(all, rules, diag);

	if (r < 0) {
		return r;
	}
	text = bh_json_dump(rules);
	r = manager_db_run(all->db, diag, "INSERT OR REPLACE INTO settings VALUES ('rules', ?1)",
			   "t", text);
	return r < 0 && apply_rules(all, old, NULL) < 0 ? -EIO : r;
}

/* ---- life ---- */

static int load_alert(sqlite3_stmt *row, void *arg)
{
	struct manager_alerts *all = arg;
	const char *text = manager_db_text(row, 1);
	BH_JSON json_t *json = NULL;
	struct manager_alert *a, *twin = NULL;

	if (bh_json_load(text, strlen(text), 0, &json, NULL) < 0) {
		return 0;
	}
	a = alert_load(json, (uint64_t)sqlite3_column_int64(row, 0));
	HASH_FIND_STR(all->groups, a->key, twin);
	if (twin && a->state != MANAGER_ALERT_CLOSED) {
		a->state = MANAGER_ALERT_CLOSED; /* a group has one that is open */
	}
	add_to_tables(all, a);
	DL_PREPEND(all->list, a);
	all->next_id = a->id >= all->next_id ? a->id + 1 : all->next_id;
	return 0;
}

static int load_rules(sqlite3_stmt *row, void *arg)
{
	const char *text = manager_db_text(row, 0);
	BH_JSON json_t *json = NULL;

	if (bh_json_load(text, strlen(text), 0, &json, NULL) == 0 &&
	    apply_rules(arg, json, NULL) < 0) {
		bh_log(BH_LOG_WARN, "alerts", "the rules for alerts can't be read");
	}
	return 1;
}

static int again(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	take_event(arg, id, row);
	return 0;
}

/* What was written after the last counts were. */
static int catch_up(struct manager_alerts *all, struct bh_diag *diag)
{
	struct manager_event_filter filter = {
		.scope.all = true, .flow_scope.all = true, .has_after = true};
	struct manager_reader *reader = NULL;
	struct manager_listed listed;
	uint64_t last = manager_events_last(all->ev);
	int r = 0;

	filter.after = all->position;
	if (all->position && all->position < last) {
		r = manager_reader_open(manager_events_path(all->ev), &reader, diag);
	}
	if (r == 0 && reader) {
		r = manager_reader_list(reader, &filter, again, all, &listed, diag);
	}
	manager_reader_close(reader);
	all->position = last;
	return r;
}

int manager_alerts_open(const char *path, struct manager_events *ev, struct manager_alerts **ret,
			struct bh_diag *diag)
{
	struct manager_alerts *all = bh_alloc(sizeof(*all));
	int r;

	all->ev = ev;
	all->next_id = 1;
	all->severity = BH_SEVERITY_WARNING;
	r = manager_db_open(path, migrations, BH_ARRAY_SIZE(migrations), &all->db, diag);
	if (r == 0) {
		r = manager_db_each(all->db, (struct manager_db_each){load_alert, all}, diag,
				    "SELECT id, body FROM alerts ORDER BY last, id", "");
	}
	if (r == 0) {
		r = manager_db_each(all->db, (struct manager_db_each){load_rules, all}, diag,
				    "SELECT value FROM settings WHERE name = 'rules'", "");
		r = r > 0 ? 0 : r;
	}
	if (r == 0) {
		all->position = (uint64_t)manager_db_number(
			all->db, 0, "SELECT value FROM settings WHERE name = 'position'", "");
		r = catch_up(all, diag);
	}
	if (r < 0) {
		manager_alerts_close(all);
		return r;
	}
	manager_events_each_new(ev, on_row, all);
	*ret = all;
	return 0;
}

void manager_alerts_close(struct manager_alerts *all)
{
	struct bh_diag diag = {};

	if (!all) {
		return;
	}
	manager_events_each_new(all->ev, NULL, NULL);
	if (all->db && all->position != all->saved_position && save(all, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "alerts", "%s", diag.text);
	}
	while (all->list) {
		forget(all, all->list);
	}
	manager_db_close(all->db);
	free(all);
}
