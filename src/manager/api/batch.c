/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/batch.h"

#include "manager/api/record.h"

#include "base/counter.h"
#include "manager/audit/audit.h"

#include <utlist.h>

BH_COUNTER(api_batches, "turns in which acts began or ended");
BH_COUNTER(api_batched, "acts that began together with others");

struct manager_batch {
	struct manager_audit *audit; /* NULL: nothing is recorded */
	uv_idle_t idle;		     /* runs after timers, before the next look at descriptors */
	struct manager_request *joined, *held;
	bool closing;
};

/* ---- answers ---- */

static void let_go(struct manager_request **held)
{
	struct manager_request *req, *tmp;

	DL_FOREACH_SAFE2(*held, req, tmp, batch_next)
	{
		DL_DELETE2(*held, req, batch_prev, batch_next);
		req->batched = BATCH_PASSED;
		manager_request_resume(req);
	}
}

bool manager_batch_holds(struct manager_request *req)
{
	struct manager_batch *b = manager_api_batch(req->api);

	if (req->batched == BATCH_HELD) {
		return true;
	}
	if (b->closing) {
		manager_audit_flush(b->audit);
	}
	if (req->batched == BATCH_PASSED || !manager_audit_waits(b->audit)) {
		return false;
	}
	req->batched = BATCH_HELD;
	DL_APPEND2(b->held, req, batch_prev, batch_next);
	manager_request_suspend(req);
	manager_batch_wake(req->api);
	return true;
}

/* ---- turns ---- */

static size_t take_joined(struct manager_batch *b, struct manager_request **ret)
{
	size_t count = 0;

	while (b->joined && count < MANAGER_BATCH_MAX) {
		struct manager_request *req = b->joined;

		DL_DELETE2(b->joined, req, batch_prev, batch_next);
		req->batched = BATCH_NONE;
		ret[count++] = req;
	}
	return count;
}

static void turn(struct manager_batch *b)
{
	struct manager_request *reqs[MANAGER_BATCH_MAX];
	size_t count = take_joined(b, reqs);

	bh_counter_add(&api_batches, 1);
	bh_counter_add(&api_batched, count > 1 ? count : 0);
	manager_record_begin(reqs, count);
	manager_audit_flush(b->audit); /* of what they could not take along */
	let_go(&b->held);
	for (size_t i = 0; i < count; i++) {
		if (!reqs[i]->answered) {
			reqs[i]->route->fn(reqs[i]);
		}
	}
}

static void on_idle(uv_idle_t *idle)
{
	struct manager_batch *b = idle->data;

	turn(b);
	if (!b->joined && !b->held && !manager_audit_waits(b->audit)) {
		uv_idle_stop(idle);
	}
}

void manager_batch_wake(struct manager_api *api)
{
	struct manager_batch *b = manager_api_batch(api);

	if (!b->closing) {
		uv_idle_start(&b->idle, on_idle);
	}
}

static void refuse(struct manager_request *req)
{
	manager_reply_errorf(req, 503, "unavailable", "the manager is ending");
}

void manager_batch_join(struct manager_request *req)
{
	struct manager_batch *b = manager_api_batch(req->api);

	if (b->closing) {
		refuse(req);
		return;
	}
	req->batched = BATCH_JOINED;
	DL_APPEND2(b->joined, req, batch_prev, batch_next);
	manager_request_suspend(req);
	manager_batch_wake(req->api);
}

void manager_batch_leave(struct manager_request *req)
{
	struct manager_batch *b = manager_api_batch(req->api);

	if (req->batched == BATCH_JOINED) {
		DL_DELETE2(b->joined, req, batch_prev, batch_next);
	} else if (req->batched == BATCH_HELD) {
		DL_DELETE2(b->held, req, batch_prev, batch_next);
	}
	req->batched = BATCH_NONE;
}

/* ---- beginning and end ---- */

struct manager_batch *manager_batch_new(const struct manager_parts *parts)
{
	struct manager_batch *b = bh_alloc(sizeof(*b));

	b->audit = parts->audit;
	uv_idle_init(parts->loop, &b->idle);
	b->idle.data = b;
	return b;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void manager_batch_close(struct manager_batch *b)
{
	b->closing = true;
	while (b->joined) {
		struct manager_request *req = b->joined;

		manager_batch_leave(req);
		refuse(req);
	}
	manager_audit_flush(b->audit);
	let_go(&b->held);
	uv_close((uv_handle_t *)&b->idle, on_closed);
}
