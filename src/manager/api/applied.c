/* SPDX-License-Identifier: Apache-2.0 */
/* A commit on behalf of a request, and its answer: at once, or when its hosts enforce it. */
#include "manager/api/documents.h"
#include "manager/api/record.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/change.h"
#include "manager/change/confirm.h"

#include <errno.h>

/* A commit that waits for its hosts. */
struct waiting {
	struct manager_commit_result result;
	struct manager_host **hosts;
	char (*names)[BH_NAME_MAX + 1];
	size_t count;
	uint64_t begun_ns;
};

static void waiting_free(void *arg)
{
	struct waiting *w = arg;

	manager_commit_result_done(&w->result);
	free(w->hosts);
	free(w->names);
	free(w);
}

static json_t *scope_json(struct manager_request *req, const struct waiting *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->count && manager_sees_hosts(req); i++) {
		static const char *const members[] = {"online",	   "in_sync",	 "intended",
						      "installed", "install_us", "sync_us",
						      "problem",   "state"};
		struct manager_host *h = manager_host_find(req->parts->inv, w->names[i]);
		BH_JSON json_t *all = h ? manager_api_host(h) : json_object();
		json_t *one = json_pack("{s:s, s:b}", "host", w->names[i], "in_sync", 0);

		for (size_t k = 0; k < BH_ARRAY_SIZE(members); k++) {
			if (json_object_get(all, members[k])) {
				json_object_set(one, members[k], json_object_get(all, members[k]));
			}
		}
		json_array_append_new(list, one);
	}
	return list;
}

static void answer_applied(struct manager_request *req, const struct waiting *w, bool complete)
{
	json_t *body = json_pack("{s:I, s:b, s:o, s:o, s:b, s:I}", "revision",
				 (json_int_t)w->result.revision, "changed", w->result.changed,
				 "changes", manager_changes_seen(req, w->result.changes, NULL),
				 "hosts", scope_json(req, w), "complete", complete, "elapsed_us",
				 (json_int_t)((bh_time_mono_ns() - w->begun_ns) / 1000));
	const struct manager_waiting *waits =
		req->parts->change && w->result.changed
			? manager_confirm_find(req->parts->change->confirm, w->result.revision)
			: NULL;

	if (waits) {
		char until[BH_TIME_TEXT_SIZE];

		bh_time_format(waits->until_ns, until);
		json_object_set_new(body, "confirm_until", json_string(until));
	}
	manager_reply(req, 200, body);
}

static void on_in_place(bool all, void *arg)
{
	struct manager_request *req = arg;

	req->wait = NULL;
	answer_applied(req, req->state, all);
}

static struct waiting *begin(struct manager_request *req)
{
	struct waiting *w = bh_alloc(sizeof(*w));

	if (req->state_free) {
		req->state_free(req->state);
	}
	req->state = w;
	req->state_free = waiting_free;
	w->begun_ns = bh_time_mono_ns();
	return w;
}

static void wait_and_answer(struct manager_request *req, struct waiting *w, uint64_t wait_ms)
{
	if (w->result.changed) {
		w->hosts = manager_distribute_in_scope(req->parts->dist, &w->count);
		w->names = bh_alloc_array(w->count + 1, sizeof(*w->names));
		for (size_t i = 0; i < w->count; i++) {
			memcpy(w->names[i], w->hosts[i]->name, sizeof(w->names[i]));
		}
	}
	if (w->count && wait_ms) {
		manager_request_later(req);
		req->wait = manager_distribute_wait(req->parts->dist, w->hosts, w->count, wait_ms,
						    on_in_place, req);
		return;
	}
	answer_applied(req, w, w->count == 0);
}

int manager_commit_how_take(struct manager_request *req, struct manager_commit_how *ret)
{
	uint64_t confirm_s = 0;

	if (manager_request_wait(req, &ret->wait_ms) < 0 ||
	    manager_request_duration(req, "confirm", MANAGER_CONFIRM_S_MAX, &confirm_s) < 0) {
		return -EINVAL;
	}
	ret->confirm_s = (uint32_t)confirm_s;
	return 0;
}

bool manager_commit_answer(struct manager_request *req, struct bh_policy_set *set,
			   const struct manager_commit_how *how)
{
	struct manager_commit_request request = manager_commit_of(req, how->summary, false);
	struct bh_policy_set *was = bh_policy_set_copy(manager_rulebook_set(req->parts->book));
	struct waiting *w = begin(req);
	struct bh_diag diag = {};
	int r;

	request.confirm_s = how->confirm_s;
	r = manager_commit(&request, set, &w->result, &diag);
	if (r == 0) {
		manager_record_policies(req, w->result.changes, was);
	}
	bh_policy_set_free(was);
	if (r != 0) {
		manager_commit_refuse(req, r, &diag, &w->result);
		return false;
	}
	manager_request_detail(req, "revision %u: %s", w->result.revision, how->summary);
	wait_and_answer(req, w, how->wait_ms);
	return true;
}

void manager_commit_undo_answer(struct manager_request *req, uint32_t revision, uint64_t wait_ms)
{
	struct bh_policy_set *was = bh_policy_set_copy(manager_rulebook_set(req->parts->book));
	struct waiting *w = begin(req);
	struct bh_diag diag = {};
	int r = manager_confirm_undo(req->parts->change->confirm, revision, req->who, &w->result,
				     &diag);

	if (r == 0) {
		manager_record_policies(req, w->result.changes, was);
	}
	bh_policy_set_free(was);
	if (r != 0) {
		manager_commit_refuse(req, r, &diag, &w->result);
		return;
	}
	manager_request_detail(req, "revision %u: rollback of %u", w->result.revision, revision);
	wait_and_answer(req, w, wait_ms);
}
