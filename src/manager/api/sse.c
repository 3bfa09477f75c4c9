/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams (text/event-stream). A follower keeps the id it has come to and reads on from
 * there: from the tail in memory when it keeps up, else by a search in a worker, so its memory is
 * one chunk however slow it is. Without anything new, and while it waits for a search, its
 * connection is suspended.
 *
 * Hundreds of consoles ask for the same: followers with the same filter and scope are a group, and
 * what is new is looked at and written down once for the group, however many read it. Who has
 * nothing new for him is not woken.
 *
 * An export is a follower that has an end, reads from the disk only, and has a text of its own.
 */
#include "manager/api/patience.h"
#include "manager/api/record.h"

#include "base/counter.h"
#include "base/log.h"

#include <utlist.h>

#define CHUNK_EVENTS  200
#define BEHIND_MAX    10000
#define EXPORT_EVENTS 1000 /* at a time: what is in memory of an export */
#define EXPORT_MS     500  /* of a searching thread at a time */

BH_COUNTER(api_followers, "event streams opened");
BH_COUNTER(api_followers_dropped, "event streams cut off because their reader was too slow");
BH_COUNTER(api_followers_revoked,
	   "event streams cut off because their reader may not read on, or something else by now");
BH_COUNTER(api_followers_chunks, "pieces of event streams that were made for a group of readers");
BH_COUNTER(api_followers_shared, "pieces that a reader took because another had made them");
BH_COUNTER(api_exports, "exports of events begun");
BH_COUNTER(api_exports_failed, "exports of events that were cut off by an error");

/* Text of the events from behind `from` up to `to`: immutable, shared by a group. */
struct chunk {
	unsigned int refs;
	uint64_t from, to;
	struct bh_wbuf text;
};

struct manager_follow_group {
	struct manager_event_filter filter; /* after: 0 */
	struct chunk *newest;		    /* NULL: none yet */
	unsigned int refs;
	struct manager_follow_group *prev, *next;
};

struct manager_follower {
	struct manager_request *req; /* NULL when it is over and only the response is left */
	struct manager_api *api;
	struct manager_events *events;
	struct MHD_Connection *connection;
	struct manager_event_filter filter; /* after: where it has come to */
	struct manager_search *search;	    /* NULL: none runs */
	struct manager_follow_group *group; /* NULL: an export */
	struct chunk *chunk;		    /* in work; NULL: what is in buf */
	struct bh_wbuf buf;
	size_t pos;
	uint64_t upto;	/* of the search */
	bool caught_up; /* was at the end once */
	bool suspended, ended;
	/* Of an export. */
	manager_event_fn *format;
	uint64_t until; /* the last id */
	bool failed;	/* ended, and not as it should */
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
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "id: %llu\nevent: %s\ndata: {\"id\":%llu%s", (unsigned long long)id, type,
		       (unsigned long long)id, json[1] == '}' ? "" : ",");
	bh_wbuf_str(w, json + 1);
	bh_wbuf_str(w, "\n\n");
}

static void resume(struct manager_follower *f)
{
	if (f->suspended) {
		f->suspended = false;
		MHD_resume_connection(f->connection);
		manager_api_poke(f->api);
	}
}

/* ---- what a group shares ---- */

static void chunk_unref(struct chunk *c)
{
	if (c && --c->refs == 0) {
		bh_wbuf_done(&c->text);
		free(c);
	}
}

static struct manager_follow_group *group_join(struct manager_api *api,
					       const struct manager_event_filter *filter)
{
	struct manager_follow_group **list = manager_api_groups(api), *g;
	BH_FREE struct manager_event_filter *want = bh_memdup(filter, sizeof(*filter));

	want->after = 0;
	DL_FOREACH (*list, g) {
		if (memcmp(&g->filter, want, sizeof(*want)) == 0) {
			g->refs++;
			return g;
		}
	}
	g = bh_alloc(sizeof(*g));
	memcpy(&g->filter, want, sizeof(*want));
	g->refs = 1;
	DL_APPEND(*list, g);
	return g;
}

static void group_leave(struct manager_api *api, struct manager_follow_group *g)
{
	struct manager_follow_group **list = manager_api_groups(api);

	if (g && --g->refs == 0) {
		DL_DELETE(*list, g);
		chunk_unref(g->newest);
		free(g);
	}
}

/* What comes next for who is at `after`; NULL when it is not in memory any more. Borrowed. */
static struct chunk *group_chunk(struct manager_follow_group *g, struct manager_events *events,
				 uint64_t after)
{
	struct chunk *c = g->newest;
	uint64_t to;

	if (c && c->from == after && c->to > after) {
		bh_counter_add(&api_followers_shared, 1);
		return c;
	}
	c = bh_alloc(sizeof(*c));
	c->refs = 1;
	c->from = after;
	bh_wbuf_init(&c->text, 0);
	g->filter.after = after;
	if (!manager_events_tail(events, &g->filter, add_event, &c->text, &to)) {
		chunk_unref(c);
		c = NULL;
	} else {
		bh_counter_add(&api_followers_chunks, 1);
		c->to = to;
		chunk_unref(g->newest);
		g->newest = c;
	}
	g->filter.after = 0;
	return c;
}

/* ---- one reader ---- */

static void drop_text(struct manager_follower *f)
{
	chunk_unref(bh_steal(&f->chunk));
	f->buf.size = 0;
	f->pos = 0;
}

static const struct bh_wbuf *text_of(const struct manager_follower *f)
{
	return f->chunk ? &f->chunk->text : &f->buf;
}

static void fail(struct manager_follower *f)
{
	f->ended = true;
	if (f->format && !f->failed) {
		bh_counter_add(&api_exports_failed, 1);
		f->failed = true;
	}
}

static void on_found(struct manager_search_result *result, void *arg)
{
	struct manager_follower *f = arg;

	f->search = NULL;
	if (result->err) {
		bh_log_limited(BH_LOG_ERROR, "api", 3, "event stream: %s", result->diag.text);
		fail(f);
	} else {
		drop_text(f);
		bh_wbuf_done(&f->buf);
		f->buf = result->text;
		bh_wbuf_init(&result->text, 0);
		f->filter.after = result->listed.complete && f->upto > result->listed.scanned
					  ? f->upto
					  : result->listed.scanned;
	}
	resume(f);
}

static void read_behind(struct manager_follower *f)
{
	/* What is there when the search begins is looked at by it. */
	f->upto = f->format ? f->until : manager_events_last(f->events);
	f->search = manager_events_search(f->events, &f->filter, f->format ? f->format : add_event,
					  on_found, f);
	if (!f->search) {
		fail(f);
	}
}

static void refill_export(struct manager_follower *f)
{
	drop_text(f);
	if (f->filter.after >= f->until) {
		f->ended = true;
	} else {
		read_behind(f);
	}
}

static void refill(struct manager_follower *f)
{
	uint64_t last = manager_events_last(f->events);

	drop_text(f);
	while (!text_of(f)->size && f->filter.after < last) {
		struct chunk *c = group_chunk(f->group, f->events, f->filter.after);

		if (!c) {
			read_behind(f);
			return;
		}
		f->filter.after = c->to;
		if (c->text.size) {
			c->refs++;
			f->chunk = c;
		}
	}
	f->caught_up = f->caught_up || f->filter.after >= last;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct manager_follower *f = cls;
	size_t left;

	if (f->pos == text_of(f)->size && !f->ended && !f->search) {
		if (f->format) {
			refill_export(f);
		} else {
			refill(f);
		}
	}
	left = text_of(f)->size - f->pos;
	if (left) {
		left = left < max ? left : max;
		memcpy(buf, text_of(f)->data + f->pos, left);
		f->pos += left;
		return (ssize_t)left;
	}
	if (f->ended) {
		return f->failed ? MHD_CONTENT_READER_END_WITH_ERROR
				 : MHD_CONTENT_READER_END_OF_STREAM;
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
	if (f->search) {
		manager_search_cancel(f->search);
	}
	drop_text(f);
	bh_wbuf_done(&f->buf);
	group_leave(f->api, f->group);
	if (f->req) {
		f->req->follower = NULL;
	}
	free(f);
}

/* Only who has something to read is woken. */
static void wake(struct manager_follower *f)
{
	uint64_t last = manager_events_last(f->events);

	if (f->caught_up && last > f->filter.after + BEHIND_MAX && !f->ended) {
		bh_counter_add(&api_followers_dropped, 1);
		f->ended = true;
		if (!f->suspended) {
			/* It has bytes to take and may never take them. */
			manager_patience_end(f->connection);
		}
	}
	if (!f->suspended || f->search) {
		return;
	}
	if (!f->ended) {
		refill(f);
	}
	if (f->ended || text_of(f)->size) {
		resume(f);
	}
}

void manager_follower_wake_all(struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers(api), *f, *tmp;

	DL_FOREACH_SAFE(*list, f, tmp)
	{
		if (!f->format) {
			wake(f);
		}
	}
}

/* Sessions end and rights change while a stream goes on. An export has its end, so only who he is
 * counts. */
static bool may_go_on(struct manager_follower *f)
{
	BH_FREE struct manager_event_filter *now = bh_memdup(&f->filter, sizeof(f->filter));

	if (!manager_request_still(f->req)) {
		return false;
	}
	if (!f->format) {
		manager_request_events_scope(f->req, now);
	}
	return memcmp(&now->scope, &f->filter.scope, sizeof(now->scope)) == 0 &&
	       memcmp(&now->flow_scope, &f->filter.flow_scope, sizeof(now->flow_scope)) == 0;
}

/* At once, with what was about to be sent. Who may read something else now comes back for it. */
static void cut_off(struct manager_follower *f)
{
	bh_counter_add(&api_followers_revoked, 1);
	if (f->search) {
		manager_search_cancel(bh_steal(&f->search));
	}
	drop_text(f);
	if (!f->suspended) {
		manager_patience_end(f->connection);
	}
	manager_follower_end(f);
}

void manager_follower_beat(struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers(api), *f, *tmp;

	DL_FOREACH_SAFE(*list, f, tmp)
	{
		if (f->req && !f->ended && !may_go_on(f)) {
			cut_off(f);
			continue;
		}
		if (f->suspended && !f->search && !f->format) {
			drop_text(f);
			bh_wbuf_str(&f->buf, ": heartbeat\n\n");
			resume(f);
		}
	}
}

void manager_follower_end(struct manager_follower *f)
{
	fail(f);
	resume(f);
}

void manager_follower_detach(struct manager_follower *f, bool timed_out)
{
	if (timed_out && !f->ended) { /* it took nothing of what there was */
		if (f->format) {
			fail(f);
		} else {
			bh_counter_add(&api_followers_dropped, 1);
		}
	}
	f->req = NULL;
	f->ended = true;
	f->suspended = false;
}

/* NULL when it was answered. */
static struct manager_follower *begin(struct manager_request *req,
				      const struct manager_event_filter *filter)
{
	struct manager_follower *f;

	if (manager_follower_count(req->api) >= API_FOLLOWERS_MAX) {
		manager_reply_errorf(req, 429, "too_many_requests", "%d event streams are open",
				     API_FOLLOWERS_MAX);
		return NULL;
	}
	f = bh_alloc(sizeof(*f));
	f->req = req;
	f->api = req->api;
	f->events = req->parts->events;
	f->connection = req->connection;
	memcpy(&f->filter, filter, sizeof(f->filter));
	f->filter.has_after = true;
	f->filter.before = 0;
	bh_wbuf_init(&f->buf, 0);
	return f;
}

static void answer(struct manager_follower *f, const char *type, const char *disposition)
{
	struct manager_follower **list = manager_api_followers(f->api);
	struct manager_request *req = f->req;
	struct MHD_Response *response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, f, on_free);

	if (!response) {
		bh_wbuf_done(&f->buf);
		free(f);
		manager_reply_errorf(req, 500, "internal", "no memory for a stream");
		return;
	}
	if (!f->format) {
		f->group = group_join(f->api, &f->filter);
	}
	DL_APPEND(*list, f);
	req->follower = f;
	req->answered = req->queued = true;
	req->status = 200;
	MHD_add_response_header(response, "Content-Type", type);
	if (disposition) {
		MHD_add_response_header(response, "Content-Disposition", disposition);
		MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	}
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx gathers else */
	MHD_queue_response(req->connection, 200, response);
	MHD_destroy_response(response);
}

void manager_follow(struct manager_request *req, const struct manager_event_filter *filter)
{
	struct manager_follower *f = begin(req, filter);

	if (!f) {
		return;
	}
	if (!filter->has_after) {
		f->filter.after = manager_events_last(f->events);
	}
	f->filter.limit = CHUNK_EVENTS;
	bh_wbuf_str(&f->buf, ": ok\n\n");
	bh_counter_add(&api_followers, 1);
	answer(f, "text/event-stream", NULL);
}

static size_t count_exports(struct manager_api *api)
{
	struct manager_follower **list = manager_api_followers(api), *f;
	size_t count = 0;

	DL_FOREACH (*list, f) {
		count += f->format != NULL;
	}
	return count;
}

void manager_export(struct manager_request *req, const struct manager_event_filter *filter,
		    const struct manager_export *export)
{
	struct manager_follower *f;

	if (count_exports(req->api) >= API_EXPORTS_MAX) {
		req->retry_after_s = 10;
		manager_reply_errorf(req, 429, "too_many_requests", "%d exports are going on",
				     API_EXPORTS_MAX);
		return;
	}
	f = begin(req, filter);
	if (!f) {
		return;
	}
	f->format = export->format;
	f->until = manager_events_last(f->events);
	f->filter.limit = EXPORT_EVENTS;
	f->filter.budget_ms = EXPORT_MS;
	bh_wbuf_str(&f->buf, export->head);
	bh_counter_add(&api_exports, 1);
	manager_record_end(req, 200, NULL); /* before the first byte of it */
	answer(f, export->type, export->disposition);
}
