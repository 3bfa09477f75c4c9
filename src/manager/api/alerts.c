/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/alerts and /v1/settings/alerts. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/events/alerts.h"
#include "manager/events/filter.h"

#include <errno.h>
#include <strings.h>

#define ALERTS_QUERY API_PAGE_QUERY " state severity tenant type vm since q assignee"

/* Where a tenant must not look: whose host it was, and texts of the provider's rules. */
static json_t *alert_json(struct manager_request *req, const struct manager_alert *a, bool whole)
{
	const struct manager_tenant *tenant = manager_tenant_at(req->parts->inv, a->tenant);
	bool provider = manager_request_holds(req, VERB_EVENT_READ, MANAGER_SCOPE_PROVIDER);
	bool hidden = !provider && strncmp(a->signature, "provider/", 9) == 0;
	char signature[sizeof(a->signature)];
	json_t *obj;

	snprintf(signature, sizeof(signature), "%s", a->signature);
	if (hidden) {
		snprintf(signature, sizeof(signature), "guard-rail %.*s",
			 (int)strcspn(a->signature + 9, " "), a->signature + 9);
	}
	obj = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id",
			(json_int_t)a->id, "state", manager_alert_state_name(a->state), "severity",
			bh_severity_name(a->severity), "type", a->type, "object", a->object, "name",
			a->name, "signature", signature, "assignee", a->assignee, "count",
			(json_int_t)a->count, "last_event", (json_int_t)a->last_event);
	if (!obj) { /* text that is not UTF-8, of an older file */
		obj = json_pack("{s:I}", "id", (json_int_t)a->id);
	}
	json_object_set_new(obj, "tenant", json_string(tenant ? tenant->name : "provider"));
	json_object_set_new(obj, "first", bh_json_time(a->first_ns));
	json_object_set_new(obj, "last", bh_json_time(a->last_ns));
	json_object_set_new(obj, "comments", json_integer((json_int_t)json_array_size(a->history)));
	if (whole) {
		json_object_set(obj, "history", a->history);
	}
	return obj;
}

/* ---- lists ---- */

struct alert_filter {
	struct manager_scope scope, flows; /* flows: of alerts of flow.* and guard.* */
	int state;			   /* -1 any, -2 not closed */
	int severity;
	uint32_t tenant;
	uint64_t since_ns;
	const char *type, *vm, *words, *assignee; /* NULL any */
};

static int take_state(struct manager_request *req, struct alert_filter *f)
{
	const char *s = manager_request_query(req, "state");
	enum manager_alert_state state;

	f->state = -2;
	if (s && strcmp(s, "any") == 0) {
		f->state = -1;
	} else if (s && strcmp(s, "active") != 0) {
		if (manager_alert_state_parse(s, &state) < 0) {
			manager_reply_errorf(req, 400, "bad_request",
					     "'state' must be open, acknowledged, closed, active "
					     "or any");
			return -EINVAL;
		}
		f->state = (int)state;
	}
	return 0;
}

static int take_filter(struct manager_request *req, struct alert_filter *f)
{
	const char *severity = manager_request_query(req, "severity");
	const char *tenant = manager_request_query(req, "tenant");
	enum bh_severity grave = BH_SEVERITY_INFO;

	if (severity && bh_severity_parse(severity, &grave) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'severity' must be info, notice, warning or critical");
		return -EINVAL;
	}
	f->severity = (int)grave;
	if (tenant) {
		f->tenant = manager_request_tenant(req, tenant);
		f->tenant = f->tenant ? f->tenant : UINT32_MAX;
	}
	f->type = manager_request_query(req, "type");
	f->vm = manager_request_query(req, "vm");
	f->words = manager_request_query(req, "q");
	f->assignee = manager_request_query(req, "assignee");
	manager_request_scope(req, VERB_EVENT_READ, &f->scope);
	manager_request_scope(req, VERB_FLOW_READ, &f->flows);
	return take_state(req, f) < 0 ? -EINVAL : manager_request_since(req, &f->since_ns);
}

static bool has_prefix(const char *want, const char *type)
{
	size_t len = strlen(want);

	len -= len && want[len - 1] == '*';
	return strcmp(want, type) == 0 ||
	       ((want[len] || (len && want[len - 1] == '.')) && strncmp(want, type, len) == 0);
}

static bool passes(const struct alert_filter *f, const struct manager_alert *a)
{
	const struct manager_scope *scope = manager_type_is_flow(a->type) ? &f->flows : &f->scope;

	if (!manager_scope_has(scope, a->tenant) || (f->tenant && f->tenant != a->tenant) ||
	    (int)a->severity < f->severity || a->last_ns < f->since_ns) {
		return false;
	}
	if ((f->state == -2 && a->state == MANAGER_ALERT_CLOSED) ||
	    (f->state >= 0 && (int)a->state != f->state)) {
		return false;
	}
	if ((f->type && !has_prefix(f->type, a->type)) ||
	    (f->assignee && strcmp(f->assignee, a->assignee) != 0) ||
	    (f->vm && strcmp(f->vm, a->name) != 0 &&
	     (strncmp(a->object, "vm/", 3) != 0 || strcmp(f->vm, a->object + 3) != 0))) {
		return false;
	}
	return !f->words || strcasestr(a->name, f->words) || strcasestr(a->type, f->words) ||
	       (strncmp(a->signature, "provider/", 9) != 0 && strcasestr(a->signature, f->words));
}

static void list_alerts(struct manager_request *req)
{
	struct alert_filter filter = {};
	struct manager_alert_counts counts;
	struct manager_page page;
	struct manager_alert *a;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	if (take_filter(req, &filter) < 0) {
		manager_page_drop(&page);
		return;
	}
	for (a = manager_alerts_first(req->parts->alerts); a; a = a->next) {
		if (passes(&filter, a) && manager_page_takes(&page)) {
			manager_page_put(&page, alert_json(req, a, false));
		}
	}
	manager_alerts_count(req->parts->alerts, &filter.scope, &filter.flows, &counts);
	manager_page_reply(req, &page,
			   json_pack("{s:{s:I, s:I, s:I, s:I}}", "counts", "open",
				     (json_int_t)counts.open, "acknowledged",
				     (json_int_t)counts.acknowledged, "closed",
				     (json_int_t)counts.closed, "open_critical",
				     (json_int_t)counts.open_critical));
}

/* ---- one ---- */

static struct manager_alert *find(struct manager_request *req)
{
	struct manager_alert *a = NULL;
	uint64_t id;

	if (bh_parse_u64(req->segments[1], 1, INT64_MAX, &id) == 0) {
		a = manager_alerts_find(req->parts->alerts, id);
	}
	if (a && manager_request_holds(
			 req, manager_type_is_flow(a->type) ? VERB_FLOW_READ : VERB_EVENT_READ,
			 a->tenant)) {
		return a;
	}
	manager_reply_errorf(req, 404, "not_found", "there is no alert '%.20s'", req->segments[1]);
	return NULL;
}

static void get_alert(struct manager_request *req)
{
	const struct manager_alert *a = find(req);

	if (a) {
		manager_reply(req, 200, alert_json(req, a, true));
	}
}

static int take_act(struct manager_request *req, const json_t *body, struct manager_alert_act *act)
{
	bool comment = strcmp(act->what, "comment") == 0, assign = strcmp(act->what, "assign") == 0;

	act->text = bh_json_str_or(body, "text", "");
	act->assignee = bh_json_str_or(body, "assignee", "");
	if (strlen(act->text) > MANAGER_ALERT_COMMENT_BYTES || (comment && !*act->text)) {
		manager_reply_errorf(req, 400, "bad_request", "'text' has 1 to %u bytes",
				     MANAGER_ALERT_COMMENT_BYTES);
		return -EINVAL;
	}
	if (strlen(act->assignee) > 63 ||
	    (assign && !json_is_string(json_object_get(body, "assignee")))) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'assignee' is a user's name, or empty for nobody");
		return -EINVAL;
	}
	return 0;
}

/* For the record: what acts change of it, and the words of the last one. */
static json_t *alert_state(const struct manager_alert *a)
{
	size_t count = json_array_size(a->history);
	const json_t *last = count ? json_array_get(a->history, count - 1) : NULL;

	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", a->type, "state",
			 manager_alert_state_name(a->state), "assignee", a->assignee, "last",
			 bh_json_str_or(last, "what", ""), "text",
			 bh_json_str_or(last, "text", ""));
}

static void act_on(struct manager_request *req, const char *what)
{
	static const char *const known[] = {"text", "assignee", NULL};
	struct manager_alert_act act = {.who = req->who, .what = what, .now_ns = bh_time_wall_ns()};
	struct manager_alert *a = find(req);
	struct bh_diag diag = {};
	BH_JSON json_t *body = NULL, *before = NULL;
	BH_FREE char *object = NULL;
	int r;

	if (!a || !manager_request_may(req, VERB_ALERT_WRITE, a->tenant, req->segments[1])) {
		return;
	}
	body = manager_request_json(req, known, true);
	if (!body || take_act(req, body, &act) < 0) {
		return;
	}
	before = alert_state(a);
	r = manager_alerts_act(req->parts->alerts, a, &act, &diag);
	if (r == MANAGER_ALERT_TWIN) {
		manager_reply_error(req, 409, "conflict", &diag);
		return;
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	object = bh_asprintf("alert/%llu", (unsigned long long)a->id);
	manager_request_changed(req, a->tenant, object, json_incref(before), alert_state(a));
	manager_reply(req, 200, alert_json(req, a, true));
}

static void acknowledge(struct manager_request *req)
{
	act_on(req, "acknowledge");
}

static void close_alert(struct manager_request *req)
{
	act_on(req, "close");
}

static void reopen(struct manager_request *req)
{
	act_on(req, "reopen");
}

static void comment(struct manager_request *req)
{
	act_on(req, "comment");
}

static void assign(struct manager_request *req)
{
	act_on(req, "assign");
}

/* ---- rules ---- */

static void get_rules(struct manager_request *req)
{
	manager_reply(req, 200, manager_alerts_rules(req->parts->alerts));
}

static void put_rules(struct manager_request *req)
{
	static const char *const known[] = {"severity", "rules", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_JSON json_t *before = manager_alerts_rules(req->parts->alerts);
	struct bh_diag diag = {};
	int r;

	if (!body) {
		return;
	}
	r = manager_alerts_set_rules(req->parts->alerts, body, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, "settings/alerts", json_incref(before),
				manager_alerts_rules(req->parts->alerts));
	get_rules(req);
}

const struct manager_route manager_routes_alerts[] = {
	{"GET", "alerts", list_alerts, VERB_EVENT_READ, OBJECT_LIST, 0, NULL, ALERTS_QUERY},
	{"GET", "alerts/*", get_alert, VERB_EVENT_READ, OBJECT_BODY, 0, NULL, NULL},
	{"POST", "alerts/*:acknowledge", acknowledge, VERB_ALERT_WRITE, OBJECT_BODY, API_AUDIT,
	 "alert.acknowledge", NULL},
	{"POST", "alerts/*:close", close_alert, VERB_ALERT_WRITE, OBJECT_BODY, API_AUDIT,
	 "alert.close", NULL},
	{"POST", "alerts/*:reopen", reopen, VERB_ALERT_WRITE, OBJECT_BODY, API_AUDIT,
	 "alert.reopen", NULL},
	{"POST", "alerts/*:comment", comment, VERB_ALERT_WRITE, OBJECT_BODY, API_AUDIT,
	 "alert.comment", NULL},
	{"POST", "alerts/*:assign", assign, VERB_ALERT_WRITE, OBJECT_BODY, API_AUDIT,
	 "alert.assign", NULL},
	{"GET", "settings/alerts", get_rules, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL, NULL},
	{"PUT", "settings/alerts", put_rules, VERB_SETTINGS_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "settings.alerts", NULL},
	{},
};
