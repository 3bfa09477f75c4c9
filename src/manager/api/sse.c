/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams (text/event-stream). A follower keeps the id it has come to and reads on from the
 * database, so its memory is one chunk however slow it is. Without anything new its connection is
 * suspended.
 */
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/log.h"

#include <utlist.h>

#define CHUNK_EVENTS 200
#define BEHIND_MAX   10000

BH_COUNTER(api_followers, "event streams opened");
BH_COUNTER(api_followers_dropped, "event streams cut off because their reader was too slow");

struct manager_follower {
	struct manager_request *req; /* NULL when it is over and only the response is left */
	struct manager_api *api;
	struct manager_events *events;
	struct MHD_Connection *connection;
	struct manager_event_filter filter; /* after: where it has come to */
	struct bh_wbuf buf;
	size_t pos;
	bool caught_up; /* was at the end once */
	bool suspended, ended;
	struct manager_follower *prev, *next;
};

size_t manager_follower_count(const struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers((struct manager_api *)api), *f;
	size_t count;

	DL_COUNT(*list, f, count);
	return count;
}

static void add_event(uint64_t id, const char *type, const char *json, void *arg)
{
	struct manager_follower *f = arg;

	bh_wbuf_printf(&f->buf, "id: %llu\nevent: %s\ndata: {\"id\":%llu%s", (unsigned long long)id,
		       type, (unsigned long long)id, json[1] == '}' ? "" : ",");
	bh_wbuf_str(&f->buf, json + 1);
	bh_wbuf_str(&f->buf, "\n\n");
}

static void refill(struct manager_follower *f)
{
	struct manager_events *ev = f->events;
	uint64_t scanned = f->filter.after;
	struct bh_diag diag = {};

	f->buf.size = 0;
	f->pos = 0;
	while (!f->buf.size && f->filter.after < manager_events_last(ev)) {
		if (manager_events_list(ev, &f->filter, add_event, f, &scanned, &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "api", 3, "event stream: %s", diag.text);
			f->ended = true;
			return;
		}
		f->filter.after = scanned;
	}
	f->caught_up = f->filter.after >= manager_events_last(ev);
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct manager_follower *f = cls;
	size_t left;

	if (f->pos == f->buf.size && !f->ended) {
		refill(f);
	}
	left = f->buf.size - f->pos;
	if (left) {
		left = left < max ? left : max;
		memcpy(buf, f->buf.data + f->pos, left);
		f->pos += left;
		return (ssize_t)left;
	}
	if (f->ended) {
		return MHD_CONTENT_READER_END_OF_STREAM;
	}
	f->suspended = true;
	MHD_suspend_connection(f->connection);
	return 0;
}

static void on_free(void *cls)
{
	struct manager_follower *f = cls;
	struct manager_follower **list = manager_api_followers(f->api);

	DL_DELETE(*list, f);
	bh_wbuf_done(&f->buf);
	if (f->req) {
		f->req->follower = NULL;
	}
	free(f);
}

static void resume(struct manager_follower *f)
{
	if (f->suspended) {
		f->suspended = false;
		MHD_resume_connection(f->connection);
		manager_api_poke(f->api);
	}
}

void manager_follower_wake_all(struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers(api), *f, *tmp;

	DL_FOREACH_SAFE(*list, f, tmp)
	{
		uint64_t last = manager_events_last(f->events);

		if (f->caught_up && last > f->filter.after + BEHIND_MAX && !f->ended) {
			bh_counter_add(&api_followers_dropped, 1);
			f->ended = true;
		}
		resume(f);
	}
}

void manager_follower_beat(struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers(api), *f, *tmp;

	DL_FOREACH_SAFE(*list, f, tmp)
	{
		if (f->suspended) {
			f->buf.size = f->pos = 0;
			bh_wbuf_str(&f->buf, ": heartbeat\n\n");
			resume(f);
		}
	}
}

void manager_follower_end(struct manager_follower *f)
{
	f->ended = true;
	resume(f);
}

void manager_follower_detach(struct manager_follower *f)
{
	f->req = NULL;
	f->ended = true;
	f->suspended = false;
}

void manager_follow(struct manager_request *req, const struct manager_event_filter *filter)
{
	struct manager_follower **list = manager_api_followers(req->api);
	struct manager_follower *f;
	struct MHD_Response *response;

	if (manager_follower_count(req->api) >= API_FOLLOWERS_MAX) {
		manager_reply_errorf(req, 429, "too_many_requests", "%d event streams are open",
				     API_FOLLOWERS_MAX);
		return;
	}
	f = bh_alloc(sizeof(*f));
	f->req = req;
	f->api = req->api;
	f->events = req->parts->events;
	f->connection = req->connection;
	f->filter = *filter;
	if (!f->filter.has_after) {
		f->filter.after = manager_events_last(req->parts->events);
	}
	f->filter.has_after = true;
	f->filter.limit = CHUNK_EVENTS;
	bh_wbuf_init(&f->buf, 0);
	bh_wbuf_str(&f->buf, ": ok\n\n");
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, f, on_free);
	if (!response) {
		bh_wbuf_done(&f->buf);
		free(f);
		manager_reply_errorf(req, 500, "internal", "no memory for an event stream");
		return;
	}
	bh_counter_add(&api_followers, 1);
	DL_APPEND(*list, f);
	req->follower = f;
	req->answered = req->queued = true;
	req->status = 200;
	MHD_add_response_header(response, "Content-Type", "text/event-stream");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_queue_response(req->connection, 200, response);
	MHD_destroy_response(response);
}
