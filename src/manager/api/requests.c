/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/requests and /v1/settings/approvals: asking for rights, and a second person's yes or no. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"

#include <errno.h>

#define LIST_MAX 200

static const char *user_of(const struct manager_request *req)
{
	return req->principal.name;
}

static void add_time(json_t *obj, const char *key, uint64_t wall_ns)
{
	char text[BH_TIME_TEXT_SIZE];

	if (wall_ns) {
		bh_time_format(wall_ns, text);
		json_object_set_new(obj, key, json_string(text));
	}
}

static json_t *ask_json(const struct manager_request *req, const struct manager_ask *ask)
{
	const struct manager_tenant *t = manager_tenant_at(req->parts->inv, ask->tenant);
	json_t *obj = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "id",
				(json_int_t)ask->id, "kind", ask->form ? "vm" : "grant", "state",
				manager_ask_state_name(ask->state), "tenant", t ? t->name : "",
				"user", ask->user, "object", ask->object, "reason", ask->reason,
				"hours", (int)ask->hours);

	if (!ask->form) {
		json_object_set_new(obj, "verb", json_string(manager_right_name(ask->verb)));
	} else if (ask->what) {
		json_object_set_new(obj, "vm", json_loads(ask->what, 0, NULL));
	}
	if (*ask->decided_by) {
		json_object_set_new(obj, "decided_by", json_string(ask->decided_by));
		json_object_set_new(obj, "answer", json_string(ask->answer));
	}
	add_time(obj, "created", ask->created_ns);
	add_time(obj, "decided", ask->decided_ns);
	add_time(obj, "until", ask->until_ns);
	return obj;
}

/* His own, or where he decides. */
static bool sees(struct manager_request *req, const struct manager_ask *ask)
{
	return strcmp(ask->user, user_of(req)) == 0 || req->principal.via == MANAGER_VIA_ROOT ||
	       manager_request_holds(req, VERB_REQUEST_DECIDE, ask->tenant);
}

/* ---- the list ---- */

struct listing {
	struct manager_request *req;
	const char *state;
	json_t *items;
	int64_t last;
	bool more;
};

static int add_ask(const struct manager_ask *ask, void *arg)
{
	struct listing *l = arg;

	if ((l->state && strcmp(manager_ask_state_name(ask->state), l->state) != 0) ||
	    !sees(l->req, ask)) {
		return 0;
	}
	if (json_array_size(l->items) == LIST_MAX) {
		l->more = true;
		return 1;
	}
	json_array_append_new(l->items, ask_json(l->req, ask));
	l->last = ask->id;
	return 0;
}

static void list_requests(struct manager_request *req)
{
	struct listing l = {.req = req, .state = manager_request_query(req, "state")};
	struct bh_diag diag = {};
	uint64_t before = 0;
	json_t *body;
	int r;

	if (manager_request_number(req, "before", 1, INT64_MAX, &before) < 0) {
		return;
	}
	l.items = json_array();
	r = manager_requests_each(req->parts->requests, (int64_t)before, add_ask, &l, &diag);
	body = json_pack("{s:o}", "items", l.items);
	if (r < 0) {
		json_decref(body);
		manager_reply_failed(req, r, &diag);
		return;
	}
	if (l.more) {
		json_object_set_new(body, "next", json_integer((json_int_t)l.last));
	}
	manager_reply(req, 200, body);
}

struct one {
	int64_t id;
	struct manager_ask ask;
	bool found;
};

static int take_one(const struct manager_ask *ask, void *arg)
{
	struct one *one = arg;

	if (ask->id == one->id) {
		one->ask = *ask;
		one->ask.what = ask->what ? bh_strdup(ask->what) : NULL;
		one->found = true;
	}
	return 1;
}

/* The request of segment 1 that the caller sees; false when it was answered. one->ask.what is the
 * caller's to free. */
static bool the_request(struct manager_request *req, struct one *one)
{
	uint64_t id = 0;

	memset(one, 0, sizeof(*one));
	if (bh_parse_u64(req->segments[1], 1, INT64_MAX - 1, &id) == 0) {
		one->id = (int64_t)id;
		(void)!manager_requests_each(req->parts->requests, one->id + 1, take_one, one,
					     NULL);
	}
	if (!one->found || !sees(req, &one->ask)) {
		free(one->ask.what);
		one->ask.what = NULL;
		manager_reply_errorf(req, 404, "not_found", "no request '%.20s'", req->segments[1]);
		return false;
	}
	return true;
}

static void get_request(struct manager_request *req)
{
	struct one one;

	if (the_request(req, &one)) {
		manager_reply(req, 200, ask_json(req, &one.ask));
		free(one.ask.what);
	}
}

/* ---- asking ---- */

static int take_reason(const json_t *body, char ret[MANAGER_ASK_REASON_MAX + 1],
		       struct bh_diag *diag)
{
	char reason[MANAGER_REASON_MAX + 1];

	if (manager_request_reason(body, reason, diag) < 0) {
		return -EINVAL;
	}
	if (!*reason) {
		return bh_diag_set(diag, -EINVAL, "'reason' is needed");
	}
	snprintf(ret, MANAGER_ASK_REASON_MAX + 1, "%s", reason);
	return 0;
}

/* "vm/NAME" becomes "vm/UUID" of a VM that he sees; the rest is taken as it is. */
static int take_object(struct manager_request *req, const json_t *body, struct manager_ask *ask,
		       struct bh_diag *diag)
{
	const char *object = bh_json_str_or(body, "object", "");
	struct manager_vm *vm = NULL;

	if (strlen(object) > MANAGER_OBJECT_MAX) {
		return bh_diag_set(diag, -EINVAL, "'object' is too long");
	}
	snprintf(ask->object, sizeof(ask->object), "%s", object);
	if (strncmp(object, "vm/", 3) != 0) {
		return 0;
	}
	if (manager_request_find_vm(req, object + 3, &vm, diag) != 0) {
		return -ENOENT;
	}
	if (vm->tenant->number != ask->tenant) {
		return bh_diag_set(diag, -ENOENT, "no VM '%.80s' of this tenant", object + 3);
	}
	snprintf(ask->object, sizeof(ask->object), "vm/%s", vm->uuid);
	return 0;
}

static int take_grant(struct manager_request *req, const json_t *body, struct manager_ask *ask,
		      struct bh_diag *diag)
{
	const char *verb = bh_json_str_or(body, "verb", "");
	uint64_t hours = 1;

	ask->verb = manager_right_find(verb);
	if (!ask->verb) {
		return bh_diag_set(diag, -EINVAL, "there is no right '%.40s'", verb);
	}
	if (json_object_get(body, "hours") &&
	    (bh_json_u64(body, "hours", MANAGER_ASK_HOURS_MAX, &hours, diag) < 0 || !hours)) {
		return bh_diag_set(diag, -EINVAL, "'hours' must be from 1 to %d",
				   MANAGER_ASK_HOURS_MAX);
	}
	ask->hours = (uint32_t)hours;
	return take_object(req, body, ask, diag);
}

/* A form: name, size, image, labels. */
static int take_form(const json_t *body, struct manager_ask *ask, struct bh_diag *diag)
{
	static const char *const known[] = {"name",  "cpus",   "memory_mib", "disk_gib",
					    "image", "labels", NULL};
	json_t *vm = NULL;

	if (bh_json_object(body, "vm", &vm, diag) < 0 || bh_json_known(vm, known, diag) < 0) {
		return -EINVAL;
	}
	ask->form = true;
	ask->what = json_dumps(vm, JSON_COMPACT | JSON_SORT_KEYS);
	if (!ask->what || strlen(ask->what) > MANAGER_ASK_FORM_MAX) {
		return bh_diag_set(diag, -EINVAL, "'vm' is too large");
	}
	return 0;
}

static bool take_tenant(struct manager_request *req, const json_t *body, struct manager_ask *ask)
{
	const char *name = bh_json_str_or(body, "tenant", "");

	ask->tenant = *name ? manager_request_tenant(req, name) : req->principal.tenant;
	if (!ask->tenant || !manager_request_sees(req, ask->tenant)) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", name);
		return false;
	}
	return true;
}

static void submit(struct manager_request *req)
{
	static const char *const known[] = {"kind",  "verb",   "tenant", "object",
					    "hours", "reason", "vm",	 NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_ask ask = {};
	struct bh_diag diag = {};
	const char *kind;
	int r = -EINVAL;

	if (!body || !take_tenant(req, body, &ask)) {
		return;
	}
	kind = bh_json_str_or(body, "kind", "");
	snprintf(ask.user, sizeof(ask.user), "%s", user_of(req));
	if (take_reason(body, ask.reason, &diag) < 0) {
		r = -EINVAL;
	} else if (strcmp(kind, "grant") == 0) {
		r = take_grant(req, body, &ask, &diag);
	} else if (strcmp(kind, "vm") == 0) {
		r = take_form(body, &ask, &diag);
	} else {
		bh_diag_set(&diag, -EINVAL, "'kind' must be grant or vm");
	}
	if (r == 0) {
		r = manager_requests_submit(req->parts->requests, &ask, bh_time_wall_ns(), &diag);
	}
	if (r == -EDQUOT) {
		manager_reply_error(req, 429, "too_many_requests", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		BH_FREE char *object = bh_asprintf("request/%lld", (long long)ask.id);

		manager_request_changed(req, ask.tenant, object, NULL, ask_json(req, &ask));
		manager_reply(req, 201, ask_json(req, &ask));
	}
	free(ask.what);
}

/* ---- deciding ---- */

/* Who says yes must hold what he gives for as long as he gives it, or would but for self-service
 * being off: a grant is not handed on beyond its end. False when it was answered. */
static bool may_give(struct manager_request *req, const struct manager_ask *ask, uint64_t hours)
{
	uint64_t end = bh_time_wall_ns() +
		       (hours && hours < ask->hours ? hours : ask->hours) * 3600 * BH_NS_PER_S;
	uint64_t held = manager_rights_at(&req->principal, ask->tenant, end - 1) |
			manager_rights_by_request(&req->principal, ask->tenant, end - 1);

	if (ask->form || (held & MANAGER_RIGHT(ask->verb))) {
		return true;
	}
	manager_reply_errorf(req, 403, "forbidden",
			     "nobody gives what he does not hold, nor for longer: %s",
			     manager_right_name(ask->verb));
	return false;
}

static void decide(struct manager_request *req, enum manager_ask_state state)
{
	static const char *const known[] = {"reason", "hours", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_ask decision = {.state = state};
	struct bh_diag diag = {};
	uint64_t hours = 0;
	struct one one;
	int r;

	if (!body || !the_request(req, &one)) {
		return;
	}
	free(bh_steal(&one.ask.what));
	if (!manager_request_may(req, VERB_REQUEST_DECIDE, one.ask.tenant, "request")) {
		return;
	}
	if (take_reason(body, decision.answer, &diag) < 0 ||
	    (json_object_get(body, "hours") &&
	     bh_json_u64(body, "hours", MANAGER_ASK_HOURS_MAX, &hours, &diag) < 0)) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (state == MANAGER_ASK_APPROVED &&
	    (!may_give(req, &one.ask, hours) ||
	     (!one.ask.form &&
	      !manager_request_factor(req, one.ask.verb, one.ask.tenant, "request")))) {
		return;
	}
	decision.hours = (uint32_t)hours;
	snprintf(decision.decided_by, sizeof(decision.decided_by), "%s", user_of(req));
	manager_request_detail(req, "%s", decision.answer);
	r = manager_requests_decide(req->parts->requests, one.id, &decision, bh_time_wall_ns(),
				    &diag);
	if (r == -EPERM) {
		manager_reply_error(req, 403, "forbidden", &diag);
	} else if (r == -EALREADY) {
		manager_reply_error(req, 409, "conflict", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		json_t *was = ask_json(req, &one.ask);

		if (the_request(req, &one)) {
			BH_FREE char *object = bh_asprintf("request/%lld", (long long)one.id);

			manager_request_changed(req, one.ask.tenant, object, was,
						ask_json(req, &one.ask));
			manager_reply(req, 200, ask_json(req, &one.ask));
			free(one.ask.what);
			return;
		}
		json_decref(was);
	}
}

static void approve(struct manager_request *req)
{
	decide(req, MANAGER_ASK_APPROVED);
}

static void refuse(struct manager_request *req)
{
	decide(req, MANAGER_ASK_REFUSED);
}

/* Given back by who has it, or taken by who decides. */
static void end(struct manager_request *req)
{
	struct bh_diag diag = {};
	struct one one;
	int r;

	if (!the_request(req, &one)) {
		return;
	}
	free(bh_steal(&one.ask.what));
	r = manager_requests_end(req->parts->requests, one.id, user_of(req), bh_time_wall_ns(),
				 &diag);
	if (r == -EALREADY) {
		manager_reply_error(req, 409, "conflict", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		BH_FREE char *object = bh_asprintf("request/%lld", (long long)one.id);

		manager_request_changed(req, one.ask.tenant, object, ask_json(req, &one.ask), NULL);
		manager_reply_nothing(req);
	}
}

/* ---- the setting ---- */

static json_t *approvals_json(uint64_t rights)
{
	json_t *list = json_array();

	for (int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		if (rights & MANAGER_RIGHT(v)) {
			json_array_append_new(
				list, json_string(manager_right_name((enum manager_verb)v)));
		}
	}
	return json_pack("{s:o}", "verbs", list);
}

static void get_approvals(struct manager_request *req)
{
	manager_reply(req, 200, approvals_json(manager_requests_approval(req->parts->requests)));
}

static void put_approvals(struct manager_request *req)
{
	static const char *const known[] = {"verbs", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	uint64_t rights = 0, was = manager_requests_approval(req->parts->requests);
	struct bh_diag diag = {};
	json_t *list, *item;
	size_t i;
	int r;

	if (!body) {
		return;
	}
	if (bh_json_array(body, "verbs", &list, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	json_array_foreach (list, i, item) {
		enum manager_verb verb =
			manager_right_find(json_is_string(item) ? json_string_value(item) : "");

		if (!verb || verb == VERB_REQUEST_SUBMIT || verb == VERB_REQUEST_DECIDE) {
			manager_reply_errorf(req, 400, "bad_request",
					     "member %zu of 'verbs' is no right that can need a "
					     "second person",
					     i);
			return;
		}
		rights |= MANAGER_RIGHT(verb);
	}
	r = manager_requests_set_approval(req->parts->requests, rights, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, "settings/approvals", approvals_json(was),
				approvals_json(rights));
	manager_reply(req, 200, approvals_json(rights));
}

/* ---- who has to know ---- */

/* What ends by itself is nobody's request: it is recorded here. */
static void record_end(const struct manager_parts *parts, const struct manager_ask *ask,
		       const char *tenant)
{
	BH_FREE char *object = bh_asprintf("request/%lld", (long long)ask->id);
	BH_FREE char *reason = bh_asprintf("%s of %s", manager_right_name(ask->verb), ask->user);
	struct manager_audit_note note = {.tenant = ask->tenant,
					  .tenant_name = tenant,
					  .user = "bulkheadd",
					  .via = "system",
					  .act = "request.end",
					  .object = object,
					  .result = "done",
					  .reason = reason};

	if (parts->audit) {
		manager_audit_add(parts->audit, &note, bh_time_wall_ns());
	}
}

void manager_api_asked(const struct manager_ask *ask, const char *event, void *arg)
{
	const struct manager_parts *parts = arg;
	const struct manager_tenant *t = manager_tenant_at(parts->inv, ask->tenant);
	BH_FREE char *type = bh_asprintf("request.%s", event);

	if (strcmp(event, "expired") == 0 || strcmp(event, "over") == 0) {
		record_end(parts, ask, t ? t->name : "");
	}
	manager_events_own(parts->events, type, BH_SEVERITY_NOTICE,
			   json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "request",
				     (json_int_t)ask->id, "tenant", t ? t->name : "", "user",
				     ask->user, "verb", manager_right_name(ask->verb), "object",
				     ask->object, "state", manager_ask_state_name(ask->state), "by",
				     ask->decided_by));
}

const struct manager_route manager_routes_requests[] = {
	{"GET", "requests", list_requests, VERB_NONE, OBJECT_SELF, 0, NULL, "state before"},
	{"POST", "requests", submit, VERB_REQUEST_SUBMIT, OBJECT_BODY, API_AUDIT, "request.submit"},
	{"GET", "requests/*", get_request, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "requests/*:approve", approve, VERB_REQUEST_DECIDE, OBJECT_BODY, API_AUDIT,
	 "request.approve"},
	{"POST", "requests/*:refuse", refuse, VERB_REQUEST_DECIDE, OBJECT_BODY, API_AUDIT,
	 "request.refuse"},
	{"POST", "requests/*:end", end, VERB_NONE, OBJECT_SELF, API_AUDIT, "request.end"},
	{"GET", "settings/approvals", get_approvals, VERB_SETTINGS_READ, OBJECT_SYSTEM, 0, NULL},
	{"PUT", "settings/approvals", put_approvals, VERB_SETTINGS_WRITE, OBJECT_SYSTEM, API_AUDIT,
	 "settings.approvals"},
	{},
};
