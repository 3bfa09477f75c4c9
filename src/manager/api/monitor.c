/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies under watch: a new version (or none) of a policy is kept beside the one in force and
 * enforces nothing; what it would do to the flows that were recorded since is told. And GET
 * /v1/policies:suggest, which reads the same flows.
 */
#include "manager/api/documents.h"
#include "manager/api/job.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/monitor.h"
#include "manager/change/quota.h"
#include "manager/change/suggest.h"
#include "manager/change/whatif.h"
#include "manager/store/changes.h"

#include <errno.h>

#define SUGGEST_DAYS 7

/* ---- watched policies ---- */

struct watched {
	char *tenant, *name, *author, *text;
	uint64_t since_ns;
};

static void watched_free(void *arg)
{
	struct watched *w = arg;

	if (w) {
		free(w->tenant);
		free(w->name);
		free(w->author);
		free(w->text);
		free(w);
	}
}

struct look {
	const char *tenant, *name;
	struct watched *found;
};

static int look_at(const struct manager_store_monitor *row, void *arg)
{
	struct look *look = arg;

	if (strcmp(row->tenant, look->tenant) != 0 || strcmp(row->name, look->name) != 0) {
		return 0;
	}
	look->found = bh_alloc(sizeof(*look->found));
	look->found->tenant = bh_strdup(row->tenant);
	look->found->name = bh_strdup(row->name);
	look->found->author = bh_strdup(row->author);
	look->found->text = bh_strdup(row->text);
	look->found->since_ns = row->since_ns;
	return 1;
}

static int find_watched(struct manager_request *req, struct look *ret, struct bh_diag *diag)
{
	*ret = (struct look){.tenant = req->segments[1], .name = req->segments[2]};
	return manager_store_monitors(req->parts->db, look_at, ret, diag);
}

/* That of segments 1 and 2; NULL when it was answered with an error. */
static struct watched *the_watched(struct manager_request *req)
{
	struct look look;
	struct bh_diag diag = {};

	if (find_watched(req, &look, &diag) < 0) {
		manager_reply_error(req, 500, "internal", &diag);
	} else if (!look.found) {
		manager_reply_errorf(req, 404, "not_found", "policy %.64s/%.64s is not watched",
				     req->segments[1], req->segments[2]);
	}
	return look.found;
}

static json_t *watched_json(const struct watched *w)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:b}", "tenant", w->tenant, "policy", w->name,
			 "author", w->author, "since", bh_json_time(w->since_ns), "text", w->text,
			 "removes", !*w->text);
}

/* For the record: the version of segments 1 and 2 that is watched; NULL when none is. Owned. */
static json_t *watch_state(struct manager_request *req)
{
	struct look look;
	json_t *state = NULL;

	if (find_watched(req, &look, NULL) >= 0 && look.found) {
		state = json_pack("{s:o}", "watched", watched_json(look.found));
	}
	watched_free(look.found);
	return state;
}

static int run_watch(struct manager_world *world, const atomic_bool *cancel, void *arg,
		     json_t **ret_json, struct bh_diag *diag)
{
	struct manager_whatif_options *o = arg;

	o->world = world;
	o->cancel = cancel;
	return manager_whatif_run(o, ret_json, diag);
}

struct watching {
	struct manager_whatif_options flows; /* first: it is run_watch()'s arg */
	struct watched *watched;
};

static void watching_free(void *arg)
{
	struct watching *w = arg;

	watched_free(w->watched);
	free(w);
}

static void tell_watch(struct manager_request *req, json_t *json, void *arg)
{
	const struct watching *w = arg;
	json_t *body = watched_json(w->watched);

	json_object_set_new(body, "flows", json);
	manager_reply(req, 200, body);
}

static void get_monitor(struct manager_request *req)
{
	struct manager_job_how how = {
		.run = run_watch, .done = tell_watch, .arg_free = watching_free};
	struct watched *w = the_watched(req);
	struct bh_policy_set *set;
	struct watching *watching;
	struct bh_diag diag = {};

	if (!w || manager_job_busy(req)) {
		watched_free(w);
		return;
	}
	set = manager_monitor_set(req->parts->change, w->tenant, w->name, w->text, &diag);
	if (!set) {
		manager_reply_error(req, 500, "internal", &diag);
		watched_free(w);
		return;
	}
	watching = bh_alloc(sizeof(*watching));
	watching->watched = w;
	watching->flows =
		(struct manager_whatif_options){.since_ns = w->since_ns, .limit_ms = API_JOB_MS};
	manager_request_scope(req, VERB_FLOW_READ, &watching->flows.scope);
	manager_request_scope(req, VERB_POLICY_READ, &watching->flows.policies);
	how.world = manager_change_world(req->parts->change, set);
	how.arg = watching;
	bh_policy_set_free(set);
	manager_job_start(req, &how);
}

/* The document of the body; NULL when it was answered with an error. It is of this policy, or none
 * at all with `remove`. Owned. */
static char *take_version(struct manager_request *req)
{
	struct bh_policy_parse_options options = {.file = "monitor",
						  .default_tenant = req->segments[1]};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	char *text = NULL;
	bool removes;
	int r;

	if (manager_request_flag(req, "remove", &removes) < 0) {
		return NULL;
	}
	if (removes) {
		return bh_strdup("");
	}
	r = bh_policy_parse(req->body.size ? (const char *)req->body.data : "", req->body.size,
			    &options, &set, &diag);
	if (r < 0) {
		manager_reply_error(req, r == -EMSGSIZE ? 413 : 422,
				    r == -EMSGSIZE ? "too_large" : "bad_document", &diag);
		return NULL;
	}
	if (bh_policy_set_count(set) != 1 || bh_policy_set_tenant_count(set) ||
	    !bh_policy_set_get(set, req->segments[1], req->segments[2])) {
		manager_reply_errorf(req, 422, "bad_document",
				     "the body must hold policy %.64s/%.64s and nothing else",
				     req->segments[1], req->segments[2]);
	} else {
		text = bh_strdup(bh_policy_canonical(bh_policy_set_at(set, 0)));
	}
	bh_policy_set_free(set);
	return text;
}

struct counting {
	const char *tenant;
	uint64_t count;
};

static int count_one(const struct manager_store_monitor *row, void *arg)
{
	struct counting *c = arg;

	c->count += strcmp(row->tenant, c->tenant) == 0;
	return 0;
}

static void put_monitor(struct manager_request *req)
{
	BH_FREE char *text = take_version(req);
	struct manager_store_monitor row = {.tenant = req->segments[1],
					    .name = req->segments[2],
					    .author = req->who,
					    .since_ns = bh_time_wall_ns(),
					    .text = text,
					    .report = ""};
	struct counting count = {.tenant = req->segments[1]};
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	int r;

	if (!text) {
		return;
	}
	r = manager_store_monitors(req->parts->db, count_one, &count, &diag);
	if (r == 0 && count.count >= MANAGER_MONITORS_MAX) {
		manager_reply_errorf(req, 409, "quota", "tenant %.64s watches %d policies already",
				     req->segments[1], MANAGER_MONITORS_MAX);
		return;
	}
	if (r == 0) {
		before = watch_state(req);
		r = manager_store_put_monitor(req->parts->db, &row, &diag);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, manager_request_tenant(req, row.tenant), NULL,
				json_incref(before), watch_state(req));
	manager_reply_nothing(req);
}

static void delete_monitor(struct manager_request *req)
{
	BH_JSON json_t *before = watch_state(req);
	struct bh_diag diag = {};
	int r = manager_store_drop_monitor(req->parts->db, req->segments[1], req->segments[2],
					   &diag);

	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_changed(req, manager_request_tenant(req, req->segments[1]), NULL,
					json_incref(before), NULL);
		manager_reply_nothing(req);
	}
}

struct listing {
	struct manager_request *req;
	struct manager_scope flows; /* whose flows the caller may see */
	struct manager_page page;
};

/* What the manager's own looks found last; null before the first, or when the caller may not see
 * flows. */
static json_t *found_json(const struct listing *l, const struct manager_store_monitor *row)
{
	const struct manager_tenant *t = manager_tenant_find(l->req->parts->inv, row->tenant);
	struct manager_monitor_report r;

	manager_monitor_report_read(row->report, &r);
	if (!r.found_ns || !t || !manager_scope_has(&l->flows, t->number)) {
		return json_null();
	}
	return json_pack("{s:I, s:I, s:b, s:o}", "would_deny", (json_int_t)r.deny, "would_allow",
			 (json_int_t)r.allow, "complete", r.complete, "time",
			 bh_json_time(r.found_ns));
}

static int add_monitor(const struct manager_store_monitor *row, void *arg)
{
	struct listing *l = arg;

	if (manager_seen_tenant(l->req, row->tenant) && manager_page_takes(&l->page)) {
		manager_page_put(&l->page,
				 json_pack("{s:s, s:s, s:s, s:o, s:b, s:o}", "tenant", row->tenant,
					   "policy", row->name, "author", row->author, "since",
					   bh_json_time(row->since_ns), "removes", !*row->text,
					   "found", found_json(l, row)));
	}
	return 0;
}

static void list_monitors(struct manager_request *req)
{
	struct listing l = {.req = req};
	struct bh_diag diag = {};

	if (manager_page_begin(req, &l.page) < 0) {
		return;
	}
	manager_request_scope(req, VERB_FLOW_READ, &l.flows);
	if (manager_store_monitors(req->parts->db, add_monitor, &l, &diag) < 0) {
		manager_page_drop(&l.page);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	manager_page_reply(req, &l.page, NULL);
}

/* ---- suggestions ---- */

struct suggesting {
	struct manager_suggest_options o;
	struct bh_policy_label labels[MANAGER_SUGGEST_LABELS_MAX];
	char *text; /* that labels point into */
	char tenant[BH_NAME_MAX + 1];
};

static void suggesting_free(void *arg)
{
	struct suggesting *s = arg;

	free(s->text);
	free(s);
}

/* "app=web,zone=a". */
static int take_labels(struct suggesting *s, const char *selector, struct bh_diag *diag)
{
	char *save = NULL;

	s->text = bh_strdup(selector);
	for (char *one = strtok_r(s->text, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		char *value = strchr(one, '=');

		if (s->o.label_count == MANAGER_SUGGEST_LABELS_MAX || !value) {
			return bh_diag_set(diag, -EINVAL,
					   "'selector' must be up to %d labels like app=web,zone=a",
					   MANAGER_SUGGEST_LABELS_MAX);
		}
		*value++ = '\0';
		if (!bh_label_key_valid(one) || !bh_label_value_valid(value)) {
			return bh_diag_set(diag, -EINVAL, "%.64s=%.64s is no label", one, value);
		}
		s->labels[s->o.label_count++] = (struct bh_policy_label){one, value};
	}
	return s->o.label_count ? 0 : bh_diag_set(diag, -EINVAL, "'selector' is empty");
}

static int run_suggest(struct manager_world *world, const atomic_bool *cancel, void *arg,
		       json_t **ret_json, struct bh_diag *diag)
{
	struct suggesting *s = arg;

	s->o.world = world;
	s->o.cancel = cancel;
	return manager_suggest_run(&s->o, ret_json, diag);
}

static void tell_suggest(struct manager_request *req, json_t *json, void *arg)
{
	manager_reply(req, 200, json);
}

/* False when it was answered with an error. */
static bool take_suggest(struct manager_request *req, struct suggesting *s)
{
	const char *tenant = manager_request_query(req, "tenant");
	const char *selector = manager_request_query(req, "selector");
	uint64_t days = SUGGEST_DAYS, now = bh_time_wall_ns();
	struct bh_diag diag = {};

	tenant = tenant ? tenant : req->parts->default_tenant;
	req->asked = true;
	if (!selector || take_labels(s, selector, &diag) < 0) {
		manager_reply_errorf(req, 400, "bad_request", "%s",
				     selector ? diag.text : "'selector' is needed, like app=web");
		return false;
	}
	if (manager_request_number(req, "days", 1, MANAGER_WHATIF_DAYS_MAX, &days) < 0 ||
	    manager_request_flag(req, "refused", &s->o.refused) < 0) {
		return false;
	}
	if (!manager_tenant_find(req->parts->inv, tenant) ||
	    !manager_request_sees(req, manager_request_tenant(req, tenant))) {
		manager_reply_errorf(req, 404, "not_found", "no tenant %.64s", tenant);
		return false;
	}
	snprintf(s->tenant, sizeof(s->tenant), "%s", tenant);
	s->o.tenant = s->tenant;
	s->o.labels = s->labels;
	s->o.since_ns = now - days * 86400 * BH_NS_PER_S;
	s->o.limit_ms = API_JOB_MS;
	manager_request_scope(req, VERB_FLOW_READ, &s->o.scope);
	return true;
}

static void suggest(struct manager_request *req)
{
	struct manager_job_how how = {
		.run = run_suggest, .done = tell_suggest, .arg_free = suggesting_free};
	struct suggesting *s = bh_alloc(sizeof(*s));

	if (!take_suggest(req, s) || manager_job_busy(req)) {
		suggesting_free(s);
		return;
	}
	how.arg = s;
	how.world = manager_change_world(req->parts->change, NULL);
	manager_job_start(req, &how);
}

const struct manager_route manager_routes_monitor[] = {
	{"GET", "monitors", list_monitors, VERB_POLICY_READ, OBJECT_LIST, 0, NULL, API_PAGE_QUERY},
	{"GET", "policies/*/*/monitor", get_monitor, VERB_POLICY_READ, OBJECT_POLICY, 0, NULL},
	{"PUT", "policies/*/*/monitor", put_monitor, VERB_POLICY_WRITE, OBJECT_POLICY, API_AUDIT,
	 "policy.monitor", "remove"},
	{"DELETE", "policies/*/*/monitor", delete_monitor, VERB_POLICY_WRITE, OBJECT_POLICY,
	 API_AUDIT, "policy.monitor-end"},
	{"GET", "policies:suggest", suggest, VERB_FLOW_READ, OBJECT_BODY, 0, NULL,
	 "tenant selector days refused"},
	{},
};
