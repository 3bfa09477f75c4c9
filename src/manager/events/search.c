/* SPDX-License-Identifier: Apache-2.0 */
/* Searches in worker threads. A few run at once, so that they never take the whole thread pool; the
 * others wait in line. */
#include "manager/events/events.h"

#include "base/counter.h"

#include <errno.h>
#include <utlist.h>

BH_COUNTER(events_searches, "searches in the events");
BH_COUNTER(events_searches_cut, "searches that ended before they had looked at everything");
BH_COUNTER(events_searches_refused, "searches refused because too many were waiting");

struct manager_search {
	struct manager_searches *owner;
	struct manager_event_filter filter;
	manager_event_fn *format;
	manager_search_fn *done; /* NULL: cancelled */
	void *arg;
	struct manager_search_result result;
	struct manager_reader *reader;
	uv_work_t job;
	struct manager_search *prev, *next; /* waiting */
};

struct manager_searches {
	uv_loop_t *loop;
	char *path;
	struct manager_search *waiting;
	unsigned int waiting_count, running;
	struct manager_reader *idle[MANAGER_SEARCHES_AT_ONCE];
	size_t idle_count;
	bool closing;
};

static int take_row(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	struct manager_search *s = arg;

	s->format(id, row->type, json, &s->result.text);
	*bh_vec_push(&s->result.ends) = s->result.text.size;
	return s->result.text.size > MANAGER_SEARCH_BYTES_MAX;
}

static void work(uv_work_t *job)
{
	struct manager_search *s = job->data;

	if (!s->reader) {
		s->result.err = manager_reader_open(s->owner->path, &s->reader, &s->result.diag);
	}
	if (!s->result.err) {
		s->result.err = manager_reader_list(s->reader, &s->filter, take_row, s,
						    &s->result.listed, &s->result.diag);
	}
}

static void search_free(struct manager_search *s)
{
	bh_wbuf_done(&s->result.text);
	bh_vec_done(&s->result.ends);
	free(s);
}

static void run_next(struct manager_searches *all);

static void done(uv_work_t *job, int status)
{
	struct manager_search *s = job->data;
	struct manager_searches *all = s->owner;

	all->running--;
	if (s->reader && !s->result.err && all->idle_count < MANAGER_SEARCHES_AT_ONCE) {
		all->idle[all->idle_count++] = s->reader;
	} else {
		manager_reader_close(s->reader);
	}
	bh_counter_add(&events_searches_cut,
		       !s->result.listed.complete && s->result.listed.count < s->filter.limit);
	if (s->done) {
		s->done(&s->result, s->arg);
	}
	search_free(s);
	run_next(all);
}

static void run_next(struct manager_searches *all)
{
	struct manager_search *s = all->waiting;

	if (!s || all->running == MANAGER_SEARCHES_AT_ONCE || all->closing) {
		return;
	}
	DL_DELETE(all->waiting, s);
	all->waiting_count--;
	all->running++;
	s->reader = all->idle_count ? all->idle[--all->idle_count] : NULL;
	s->job.data = s;
	if (uv_queue_work(all->loop, &s->job, work, done) < 0) {
		abort(); /* only for a missing callback */
	}
}

struct manager_search *manager_events_search(struct manager_events *ev,
					     const struct manager_event_filter *filter,
					     manager_event_fn *format, manager_search_fn *fn,
					     void *arg)
{
	struct manager_searches *all = manager_events_searches(ev);
	struct manager_search *s;

	if (all->waiting_count >= MANAGER_SEARCHES_WAITING) {
		bh_counter_add(&events_searches_refused, 1);
		return NULL;
	}
	bh_counter_add(&events_searches, 1);
	s = bh_alloc(sizeof(*s));
	s->owner = all;
	s->filter = *filter;
	s->format = format;
	s->done = fn;
	s->arg = arg;
	bh_wbuf_init(&s->result.text, 0);
	DL_APPEND(all->waiting, s);
	all->waiting_count++;
	run_next(all);
	return s;
}

void manager_search_cancel(struct manager_search *search)
{
	struct manager_searches *all = search->owner;
	struct manager_search *s;

	search->done = NULL;
	DL_FOREACH (all->waiting, s) {
		if (s == search) {
			DL_DELETE(all->waiting, s);
			all->waiting_count--;
			search_free(s);
			return;
		}
	}
}

struct manager_searches *manager_searches_new(uv_loop_t *loop, const char *path)
{
	struct manager_searches *all = bh_alloc(sizeof(*all));

	all->loop = loop;
	all->path = bh_strdup(path);
	return all;
}

void manager_searches_free(struct manager_searches *all)
{
	struct manager_search *s, *tmp;

	if (!all) {
		return;
	}
	all->closing = true;
	while (all->running) {
		uv_run(all->loop, UV_RUN_ONCE);
	}
	DL_FOREACH_SAFE(all->waiting, s, tmp)
	{
		DL_DELETE(all->waiting, s);
		search_free(s);
	}
	for (size_t i = 0; i < all->idle_count; i++) {
		manager_reader_close(all->idle[i]);
	}
	free(all->path);
	free(all);
}
