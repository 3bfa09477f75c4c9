/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/commits: those that are, or were, to be confirmed. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/confirm.h"

#include <errno.h>

#define COMMITS_LOOKED_AT 20000

struct list {
	struct manager_request *req;
	json_t *items;
	uint64_t limit;
};

static int add_commit(const struct manager_store_commit *row, void *arg)
{
	struct list *list = arg;
	const struct manager_waiting *w =
		manager_confirm_find(list->req->parts->change->confirm, row->revision);
	BH_JSON json_t *changes = json_loads(row->changes, 0, NULL);
	bool all;
	json_t *seen = manager_changes_seen(list->req, changes, &all);
	json_t *item;

	if (json_array_size(seen) == 0) {
		json_decref(seen);
		return 0;
	}
	item = json_pack("{s:I, s:s, s:o, s:o, s:s, s:s, s:o}", "revision",
			 (json_int_t)row->revision, "state", row->state, "time",
			 bh_json_time(row->time_ns), "until", bh_json_time(row->until_ns), "author",
			 row->author, "summary", all ? row->summary : "", "changes", seen);
	if (row->decided_ns) {
		json_object_set_new(item, "decided", bh_json_time(row->decided_ns));
		json_object_set_new(item, "decided_by", json_string(row->decided_by));
	}
	if (row->undone_in) {
		json_object_set_new(item, "undone_in", json_integer(row->undone_in));
	}
	if (w) {
		uint64_t now = bh_time_mono_ns();

		json_object_set_new(
			item, "seconds_left",
			json_integer(w->due_ns > now ? (json_int_t)((w->due_ns - now) / BH_NS_PER_S)
						     : 0));
		if (*w->problem && manager_sees_hosts(list->req)) {
			json_object_set_new(item, "problem", json_string(w->problem));
		}
	}
	json_array_append_new(list->items, item);
	return json_array_size(list->items) >= list->limit;
}

static void list_commits(struct manager_request *req)
{
	static const char *const states[] = {"waiting", "confirmed", "rolled-back"};
	struct manager_store_commit_filter filter = {.state = manager_request_query(req, "state")};
	struct list list = {.req = req, .limit = 100};
	uint64_t before = 0;
	bool known = !filter.state;
	struct bh_diag diag = {};

	for (size_t i = 0; i < BH_ARRAY_SIZE(states); i++) {
		known = known || strcmp(filter.state, states[i]) == 0;
	}
	if (!known) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'state' must be waiting, confirmed or rolled-back");
		return;
	}
	if (manager_request_number(req, "limit", 1, 1000, &list.limit) < 0 ||
	    manager_request_number(req, "before", 1, UINT32_MAX, &before) < 0) {
		return;
	}
	filter.limit = COMMITS_LOOKED_AT;
	filter.before = (uint32_t)before;
	list.items = json_array();
	if (manager_store_commits(req->parts->db, &filter, add_commit, &list, &diag) < 0) {
		json_decref(list.items);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	req->asked = true; /* also when there are none at all */
	manager_reply(req, 200, json_pack("{s:o}", "items", list.items));
}

/* Segment 1 as a revision; false when it was answered with an error. */
static bool take_revision(struct manager_request *req, uint32_t *ret)
{
	uint64_t n;

	if (bh_parse_u64(req->segments[1], 1, UINT32_MAX, &n) < 0) {
		manager_reply_errorf(req, 404, "not_found", "no commit '%.20s'", req->segments[1]);
		return false;
	}
	*ret = (uint32_t)n;
	return true;
}

static void get_commit(struct manager_request *req)
{
	struct manager_store_commit_filter filter = {.limit = 1};
	struct list list = {.req = req, .limit = 1};
	struct bh_diag diag = {};

	if (!take_revision(req, &filter.revision)) {
		return;
	}
	list.items = json_array();
	if (manager_store_commits(req->parts->db, &filter, add_commit, &list, &diag) < 0) {
		manager_reply_error(req, 500, "internal", &diag);
	} else if (json_array_size(list.items) == 0) {
		manager_reply_errorf(req, 404, "not_found",
				     "revision %u was not to be confirmed, or there is none",
				     filter.revision);
	} else {
		manager_reply(req, 200, json_incref(json_array_get(list.items, 0)));
	}
	json_decref(list.items);
}

/* May the caller decide about it? Who sees nothing of it is told what everybody is told of one that
 * does not wait. */
static bool may_decide(struct manager_request *req, uint32_t revision)
{
	const struct manager_waiting *w =
		manager_confirm_find(req->parts->change->confirm, revision);
	BH_JSON json_t *seen = w ? manager_changes_seen(req, w->changes, NULL) : NULL;

	if (json_array_size(seen) == 0) {
		manager_reply_errorf(req, 404, "not_found", "no commit %u waits to be confirmed",
				     revision);
		return false;
	}
	return manager_changes_may(req, req->route->verb, w->changes);
}

/* For the record, policy by policy. */
static void record_confirmed(struct manager_request *req, uint32_t revision, const json_t *changes)
{
	const json_t *change;
	size_t i;

	json_array_foreach ((json_t *)changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");
		BH_FREE char *object =
			bh_asprintf("policy/%s/%s", tenant, bh_json_str_or(change, "name", ""));

		manager_request_changed(
			req, manager_request_tenant(req, tenant), object,
			json_pack("{s:i, s:s}", "revision", (int)revision, "state", "waiting"),
			json_pack("{s:i, s:s}", "revision", (int)revision, "state", "confirmed"));
	}
}

static void confirm(struct manager_request *req)
{
	BH_JSON json_t *changes = NULL;
	struct bh_diag diag = {};
	uint32_t revision;
	int r;

	if (!take_revision(req, &revision) || !may_decide(req, revision)) {
		return;
	}
	changes = json_incref(manager_confirm_find(req->parts->change->confirm, revision)->changes);
	r = manager_confirm_accept(req->parts->change->confirm, revision, req->who, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	record_confirmed(req, revision, changes);
	manager_request_detail(req, "revision %u", revision);
	manager_reply_nothing(req);
}

static void undo(struct manager_request *req)
{
	uint64_t wait_ms;
	uint32_t revision;

	if (take_revision(req, &revision) && manager_request_wait(req, &wait_ms) == 0 &&
	    may_decide(req, revision)) {
		manager_commit_undo_answer(req, revision, wait_ms);
	}
}

const struct manager_route manager_routes_commits[] = {
	{"GET", "commits", list_commits, VERB_POLICY_READ, OBJECT_LIST, 0, NULL,
	 "state limit before"},
	{"GET", "commits/*", get_commit, VERB_POLICY_READ, OBJECT_BODY, 0, NULL},
	{"POST", "commits/*:confirm", confirm, VERB_POLICY_COMMIT, OBJECT_BODY, API_AUDIT,
	 "policy.confirm"},
	{"POST", "commits/*:rollback", undo, VERB_POLICY_ROLLBACK, OBJECT_BODY, API_AUDIT,
	 "policy.rollback", "wait"},
	{},
};
