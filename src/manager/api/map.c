/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/map: who talks to whom, folded in a worker. */
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/time.h"
#include "manager/change/change.h"
#include "manager/map/map.h"

#define BACK_NS	 (24ull * 3600 * BH_NS_PER_S)
#define LIMIT_MS 10000
#define MAPS_MAX 8 /* at a time */

BH_COUNTER(api_maps_busy, "maps refused because too many were under way");

struct job {
	uv_work_t work;
	struct manager_change *change;
	struct manager_request *req; /* NULL: nobody waits any more */
	struct manager_map *map;
	atomic_bool cancel;
	struct bh_diag diag;
	int r;
};

static void forget(void *arg)
{
	struct job *job = arg;

	job->req = NULL;
	atomic_store(&job->cancel, true);
}

static void work(uv_work_t *work)
{
	struct job *job = work->data;

	job->r = manager_map_run(job->map, &job->diag);
}

static void worked(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct manager_request *req = job->req;

	job->change->maps--;
	if (req) {
		req->state_free = NULL;
	}
	if (req && !req->answered && job->r < 0) {
		manager_reply_failed(req, job->r, &job->diag);
	} else if (req && !req->answered) {
		manager_reply(req, 200, manager_map_json(job->map));
	}
	manager_map_free(job->map);
	free(job);
}

/* "tenant", "labels", "vm", "label:KEY" */
static bool take_by(struct manager_request *req, struct manager_map_options *o)
{
	static const char *const names[] = {[MANAGER_MAP_BY_TENANT] = "tenant",
					    [MANAGER_MAP_BY_LABELS] = "labels",
					    [MANAGER_MAP_BY_VM] = "vm"};
	const char *by = manager_request_query(req, "by");

	if (by && strncmp(by, "label:", 6) == 0 && by[6]) {
		o->by = MANAGER_MAP_BY_LABEL;
		o->label = by + 6;
		return true;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (names[i] && (!by || strcmp(by, names[i]) == 0)) {
			o->by = (enum manager_map_by)i;
			return true;
		}
	}
	manager_reply_errorf(req, 400, "bad_request",
			     "'by' must be tenant, labels, vm, or label:KEY");
	return false;
}

static bool take_window(struct manager_request *req, struct manager_map_options *o)
{
	const char *until = manager_request_query(req, "until");

	o->until_ns = bh_time_wall_ns();
	if (until && bh_time_parse(until, strlen(until), &o->until_ns) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'until' must be a time like 2026-11-21T23:00:00Z");
		return false;
	}
	o->since_ns = o->until_ns > BACK_NS ? o->until_ns - BACK_NS : 0;
	return manager_request_since(req, &o->since_ns) == 0;
}

static bool take_whose(struct manager_request *req, struct manager_map_options *o)
{
	const char *tenant = manager_request_query(req, "tenant");

	manager_request_scope(req, VERB_FLOW_READ, &o->scope);
	if (!tenant) {
		return true;
	}
	o->tenant = manager_request_tenant(req, tenant);
	if (!o->tenant || !manager_scope_has(&o->scope, o->tenant)) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", tenant);
		return false;
	}
	return true;
}

static bool take_edges(struct manager_request *req, struct manager_map_options *o)
{
	static const char *const names[] = {[MANAGER_MAP_SORT_ALLOWED] = "allowed",
					    [MANAGER_MAP_SORT_REFUSED] = "refused",
					    [MANAGER_MAP_SORT_BYTES] = "bytes",
					    [MANAGER_MAP_SORT_LAST] = "last"};
	const char *sort = manager_request_query(req, "sort");

	for (size_t i = 0; sort && i < BH_ARRAY_SIZE(names); i++) {
		if (names[i] && strcmp(sort, names[i]) == 0) {
			o->sort = (enum manager_map_sort)i;
		}
	}
	if (sort && !o->sort) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'sort' must be allowed, refused, bytes or last");
		return false;
	}
	if (manager_request_number(req, "edges", 1, MANAGER_MAP_EDGES_MAX, &o->edges) < 0 ||
	    manager_request_number(req, "offset", 0, UINT32_MAX, &o->offset) < 0) {
		return false;
	}
	if (o->offset && !o->sort) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'offset' goes on in a list: it needs 'sort'");
		return false;
	}
	return true;
}

static void get_map(struct manager_request *req)
{
	const char *verdict = manager_request_query(req, "verdict");
	struct manager_map_options o = {.inv = req->parts->inv,
					.talks_path = req->parts->change->o.talks_path,
					.verdict = verdict ? verdict : "",
					.limit_ms = LIMIT_MS};
	struct job *job;

	if (!take_by(req, &o) || !take_window(req, &o) || !take_edges(req, &o) ||
	    !take_whose(req, &o)) {
		return;
	}
	if (strcmp(o.verdict, "") != 0 && strcmp(o.verdict, "allow") != 0 &&
	    strcmp(o.verdict, "deny") != 0) {
		manager_reply_errorf(req, 400, "bad_request", "'verdict' must be allow or deny");
		return;
	}
	if (req->parts->change->maps >= MAPS_MAX) {
		bh_counter_add(&api_maps_busy, 1);
		req->retry_after_s = 2;
		manager_reply_errorf(req, 503, "busy", "%d maps are under way already", MAPS_MAX);
		return;
	}
	job = bh_alloc(sizeof(*job));
	job->change = req->parts->change;
	job->change->maps++;
	job->work.data = job;
	job->req = req;
	o.cancel = &job->cancel;
	job->map = manager_map_new(&o);
	req->state = job;
	req->state_free = forget;
	manager_request_later(req);
	if (uv_queue_work(req->parts->loop, &job->work, work, worked) < 0) {
		abort(); /* only for a missing callback */
	}
}

const struct manager_route manager_routes_map[] = {
	{"GET", "map", get_map, VERB_FLOW_READ, OBJECT_LIST, 0, NULL,
	 "by tenant verdict since until edges offset sort"},
	{},
};
