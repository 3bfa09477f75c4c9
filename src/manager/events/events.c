/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/events.h"
#include "manager/events/own.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

#define OWN_WAITING_MAX 100000
#define TALKS_AT_ONCE	4096 /* events read again at the start */

BH_COUNTER(events_stored, "events written to the database");
BH_COUNTER(events_repeats, "events that came twice and were dropped");
BH_COUNTER(events_missing, "numbers of events that never came and nobody declared");
BH_COUNTER(events_declared_lost, "events that producers declared lost in gap events");
BH_COUNTER(events_store_failed, "batches that could not be written (they come again)");
BH_COUNTER(events_own_dropped, "own events dropped because the database fails");
BH_COUNTER(events_talks_failed, "times that talks could not be kept (a restart mends it)");
BH_COUNTER(events_wrong_host, "events whose host is not who sent them");

struct producer {
	char name[BH_NAME_MAX + 1];
	struct bh_event_track track;  /* as committed */
	struct bh_event_track staged; /* with the batch in work */
	bool touched;
	UT_hash_handle hh;
};

struct watch {
	manager_events_watch_fn *fn;
	void *arg;
	struct watch *prev, *next;
};

struct rows {
	struct manager_event_row *items;
	size_t count;
	size_t capacity;
};

struct manager_events {
	struct manager_events_options o;
	char *path, *talks_path;
	struct manager_archive *archive; /* the worker's while busy, as talks */
	struct manager_talks *talks;
	bool talks_broken; /* something is not in them; the next start reads it again */
	struct manager_archive_stats stats;
	struct manager_reader *reader; /* of manager_events_list(); NULL until it is asked */
	struct manager_searches *searches;
	struct manager_tail tail;
	struct manager_names *names;
	struct producer *producers;
	struct watch *watches;
	manager_events_row_fn *each_new;
	void *each_new_arg;
	struct rows own;	  /* waiting */
	struct manager_own *kept; /* the same, should we be killed */
	uint64_t work_last;	  /* the last own one that is with the worker or stored */
	struct rows work;	  /* with the worker */
	BH_VEC(struct manager_talk) left_out; /* of work, what is not kept; all but their sums */
	struct manager_ration *ration;	      /* NULL: everything is kept */
	bool work_is_own;
	struct bh_consumer *consumer;	      /* whose batch is in work; NULL for own ones */
	const struct bh_event_batch *waiting; /* a batch that came while the worker was busy */
	struct bh_consumer *waiting_consumer;
	uv_work_t job;
	bool busy;
	int result;
	struct bh_diag diag;
	char problem[BH_DIAG_TEXT_SIZE];
	char epoch[BH_UUID_TEXT_SIZE]; /* of our own events */
	uint64_t seq;
	uint64_t missing, missing_staged;
};

/* ---- rows ---- */

static void rows_clear(struct rows *rows)
{
	bh_vec_foreach (row, rows) {
		free(row->body);
	}
	rows->count = 0;
}

static void stamp_talk(struct manager_event_row *row)
{
	row->talk.first_s = row->talk.last_s = (uint32_t)((uint64_t)row->wall_ns / BH_NS_PER_S);
}

/* host: who sent it; NULL: the manager. */
static struct manager_event_row *push(struct manager_events *ev, struct rows *rows,
				      const struct bh_jtext *event, const char *host)
{
	struct manager_event_row *row = bh_vec_push(rows);
	enum bh_severity severity = BH_SEVERITY_INFO;
	char text[16];

	(void)bh_jtext_str(event, "type", row->type, sizeof(row->type));
	if (!bh_jtext_str(event, "severity", text, sizeof(text)) ||
	    bh_severity_parse(text, &severity) < 0) {
		severity = BH_SEVERITY_INFO;
	}
	row->severity = (int)severity;
	if (host && bh_jtext_find(event, "host")) {
		/* Who sent it is who it is about: nobody speaks for another host. */
		char says[BH_NAME_MAX + 1];

		(void)bh_jtext_str(event, "host", says, sizeof(says));
		bh_counter_add(&events_wrong_host, strcmp(says, host) != 0);
	}
	row->wall_ns = (int64_t)bh_time_wall_ns();
	manager_names_add(ev->names, event, host, row, bh_time_mono_ns());
	return row;
}

static void push_text(struct manager_events *ev, struct rows *rows, const char *text,
		      const char *host)
{
	struct bh_jtext event;
	struct bh_diag diag = {};

	if (!text || bh_jtext_parse(text, strlen(text), &event, &diag)) {
		bh_counter_add(&events_own_dropped, 1);
		bh_log_limited(BH_LOG_ERROR, "events", 3, "an own event: %s", diag.text);
		return;
	}
	(void)push(ev, rows, &event, host);
}

/* One that was made here, of whatever: takes over json. */
static void push_json(struct manager_events *ev, struct rows *rows, json_t *json, const char *host)
{
	BH_FREE char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	push_text(ev, rows, text, host);
}

static struct producer *producer_of(struct manager_events *ev, const char *name)
{
	struct producer *p;

	HASH_FIND_STR(ev->producers, name, p);
	if (!p) {
		p = bh_alloc(sizeof(*p));
		snprintf(p->name, sizeof(p->name), "%s", name);
		HASH_ADD_STR(ev->producers, name, p);
	}
	if (!p->touched) {
		p->staged = p->track;
		p->touched = true;
	}
	return p;
}

static void take_gap(struct manager_events *ev, const char *producer, uint64_t from, uint64_t to)
{
	uint64_t count = to - from + 1;
	json_t *gap = bh_event_new_gap(from, to, count, "never arrived", bh_time_wall_ns());

	bh_counter_add(&events_missing, count);
	ev->missing_staged += count;
	json_object_set_new(gap, "producer", json_string(producer));
	push_json(ev, &ev->work, gap, producer);
}

/* Is the last row of the batch beyond its tenant's quota? It goes, but for what talks need. */
static void hold_to_quota(struct manager_events *ev)
{
	struct manager_event_row *row = &ev->work.items[ev->work.count - 1];
	struct manager_ration_flow flow = {.src = row->src_tenant,
					   .dst = row->dst_tenant,
					   .wall_ns = (uint64_t)row->wall_ns,
					   .mono_ns = bh_time_mono_ns()};

	if (!ev->ration || strncmp(row->type, "flow.", 5) != 0 ||
	    manager_ration_take(ev->ration, &flow)) {
		return;
	}
	if (row->is_talk) {
		stamp_talk(row);
		*bh_vec_push(&ev->left_out) = row->talk;
	}
	free(row->body);
	ev->work.count--;
}

static void take_event(struct manager_events *ev, struct producer *p, const struct bh_event *event)
{
	uint64_t from = 0, to = 0;
	enum bh_event_track_result r = bh_event_track(&p->staged, event, &from, &to);

	if (r == BH_TRACK_REPEAT) {
		bh_counter_add(&events_repeats, 1);
		return;
	}
	if ((r == BH_TRACK_GAP || r == BH_TRACK_EPOCH) && from) {
		take_gap(ev, p->name, from, to);
	}
	if (event->is_gap) {
		bh_counter_add(&events_declared_lost, event->gap_count);
		ev->missing_staged += event->gap_count;
	}
	push(ev, &ev->work, &event->j, p->name)->wall_ns = (int64_t)event->wall_ns;
	hold_to_quota(ev);
}

/* ---- the worker: only this touches the writer while busy ---- */

static int write_producers(struct manager_events *ev, struct bh_diag *diag)
{
	struct producer *p, *tmp;
	int r = 0;

	HASH_ITER (hh, ev->producers, p, tmp) {
		for (unsigned int i = 0; p->touched && i < p->staged.count && r == 0; i++) {
			r = manager_db_run(manager_archive_db(ev->archive), diag,
					   "INSERT OR REPLACE INTO producers VALUES"
					   " (?1, ?2, ?3, ?4)",
					   "titi", p->name, (int64_t)i, p->staged.epochs[i].epoch,
					   (int64_t)p->staged.epochs[i].last);
		}
	}
	if (r == 0) {
		r = manager_db_run(manager_archive_db(ev->archive), diag,
				   "INSERT OR REPLACE INTO totals VALUES ('missing', ?1)", "i",
				   (int64_t)ev->missing_staged);
	}
	return r;
}

static int write_rows(struct manager_events *ev)
{
	int r;

	if (ev->work_is_own && !ev->work.count) {
		return 0;
	}
	r = manager_archive_begin(ev->archive, &ev->diag);
	for (size_t i = 0; i < ev->work.count && r == 0; i++) {
		struct manager_row row;

		manager_row_of(&ev->work.items[i], &row);
		r = manager_archive_add(ev->archive, &row, &ev->diag);
	}
	if (r == 0 && !ev->work_is_own) {
		r = write_producers(ev, &ev->diag);
	} else if (r == 0) {
		r = manager_db_run(manager_archive_db(ev->archive), &ev->diag,
				   "INSERT OR REPLACE INTO totals VALUES ('own', ?1)", "i",
				   (int64_t)ev->work_last);
	}
	if (r == 0 && ev->ration) {
		r = manager_ration_write(ev->ration, manager_archive_db(ev->archive), &ev->diag);
	}
	if (r == 0) {
		r = manager_archive_end(ev->archive, bh_time_wall_ns(), &ev->diag);
	}
	if (r < 0) {
		manager_archive_abort(ev->archive);
	}
	return r;
}

static void talks_failed(struct manager_events *ev, const struct bh_diag *diag)
{
	ev->talks_broken = true;
	bh_counter_add(&events_talks_failed, 1);
	bh_log_limited(BH_LOG_ERROR, "events", 3, "talks: %s", diag->text);
}

/* What is on disk now. What fails here is read again at the next start. */
static void fold(struct manager_events *ev)
{
	uint64_t now_s = bh_time_wall_ns() / BH_NS_PER_S;
	struct manager_archive_stats stats;
	struct bh_diag diag = {};
	int r = 0;

	for (size_t i = 0; i < ev->work.count && !ev->talks_broken && r == 0; i++) {
		struct manager_event_row *row = &ev->work.items[i];

		stamp_talk(row);
		r = row->is_talk ? manager_talks_add(ev->talks, &row->talk, now_s, &diag) : 0;
	}
	for (size_t i = 0; i < ev->left_out.count && !ev->talks_broken && r == 0; i++) {
		r = manager_talks_add(ev->talks, &ev->left_out.items[i], now_s, &diag);
	}
	if (r < 0) {
		talks_failed(ev, &diag);
	}
	manager_archive_stats(ev->archive, &stats);
	if (!ev->talks_broken &&
	    manager_talks_flush(ev->talks, stats.last_id, now_s, false, &diag) < 0) {
		/* Stays in memory; the next one writes it. */
		bh_log_limited(BH_LOG_ERROR, "events", 3, "talks: %s", diag.text);
	}
}

static void work(uv_work_t *job)
{
	struct manager_events *ev = job->data;

	ev->result = write_rows(ev);
	if (ev->result == 0) {
		fold(ev);
	}
}

static void start(struct manager_events *ev);

static void settle(struct manager_events *ev, bool ok)
{
	struct producer *p, *tmp;

	if (!ev->work_is_own) {
		HASH_ITER (hh, ev->producers, p, tmp) {
			if (p->touched && ok) {
				p->track = p->staged;
			}
			p->touched = false;
		}
		ev->missing = ok ? ev->missing_staged : ev->missing;
		ev->missing_staged = ev->missing;
	}
	if (ev->ration && (!ev->work_is_own || ev->work.count)) {
		manager_ration_settle(ev->ration, ok);
	}
}

static void keep_tail(struct manager_events *ev)
{
	uint64_t id;

	manager_archive_stats(ev->archive, &ev->stats);
	id = ev->stats.last_id - ev->work.count;
	bh_vec_foreach (row, &ev->work) {
		id++;
		if (ev->each_new) {
			ev->each_new(id, row, ev->each_new_arg);
		}
		manager_tail_put(&ev->tail, id, row);
	}
	ev->work.count = 0;
}

static void done(uv_work_t *job, int status)
{
	struct manager_events *ev = job->data;
	struct bh_consumer *consumer = ev->consumer;
	bool ok = ev->result == 0 && status == 0;
	struct watch *w, *tmp;

	ev->busy = false;
	ev->consumer = NULL;
	settle(ev, ok);
	ev->left_out.count = 0;
	if (ok) {
		bh_counter_add(&events_stored, ev->work.count);
		*ev->problem = '\0';
		keep_tail(ev);
		if (ev->work_is_own) {
			manager_own_stored(ev->kept, ev->work_last);
		}
	} else {
		bh_counter_add(&events_store_failed, 1);
		memcpy(ev->problem, ev->diag.text, sizeof(ev->problem));
		bh_log_limited(BH_LOG_ERROR, "events", 3, "%s", ev->diag.text);
		if (ev->work_is_own) {
			/* They wait in memory, before what came after them. */
			struct rows later = ev->own;

			ev->own = ev->work;
			ev->work = (struct rows){};
			bh_vec_foreach (row, &later) {
				*bh_vec_push(&ev->own) = *row;
			}
			bh_vec_done(&later);
		} else {
			rows_clear(&ev->work);
		}
	}
	if (consumer) {
		bh_consumer_done(consumer, ok);
	}
	if (ok) {
		DL_FOREACH_SAFE(ev->watches, w, tmp)
		{
			w->fn(w->arg);
		}
		start(ev);
	}
}

static void queue(struct manager_events *ev)
{
	ev->busy = true;
	ev->job.data = ev;
	if (uv_queue_work(ev->o.loop, &ev->job, work, done) < 0) {
		abort(); /* only for a missing callback */
	}
}

static void start_batch(struct manager_events *ev)
{
	const struct bh_event_batch *batch = bh_steal(&ev->waiting);

	ev->consumer = bh_steal(&ev->waiting_consumer);
	ev->work_is_own = false;
	ev->missing_staged = ev->missing;
	for (size_t i = 0; i < batch->count; i++) {
		const struct bh_event_message *msg = &batch->messages[i];
		struct producer *p = producer_of(ev, msg->producer);

		for (size_t k = 0; k < msg->count; k++) {
			take_event(ev, p, &msg->events[k]);
		}
	}
	queue(ev);
}

/* Not kept in a file until it is stored, as other own events are: the store has the count. */
static void tell_left_out(const struct manager_ration_left *left, void *arg)
{
	struct manager_events *ev = arg;
	const struct manager_tenant *tenant = manager_tenant_at(ev->o.inv, left->tenant);
	json_t *event = manager_ration_event(left, tenant ? tenant->name : NULL);
	BH_FREE char *text = NULL;

	bh_event_stamp(event, "manager", ev->epoch, ++ev->seq);
	text = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	push_text(ev, &ev->own, text, NULL);
}

static void start(struct manager_events *ev)
{
	if (ev->busy) {
		return;
	}
	if (ev->ration) {
		manager_ration_tell(ev->ration, bh_time_mono_ns(), tell_left_out, ev);
	}
	if (ev->own.count) {
		struct rows swap = ev->work;

		ev->work = ev->own;
		ev->own = swap;
		ev->own.count = 0;
		ev->work_is_own = true;
		ev->work_last = manager_own_last(ev->kept);
		queue(ev);
	} else if (ev->waiting) {
		start_batch(ev);
	}
}

void manager_events_batch(struct bh_consumer *consumer, const struct bh_event_batch *batch,
			  void *arg)
{
	struct manager_events *ev = arg;

	ev->waiting = batch;
	ev->waiting_consumer = consumer;
	start(ev);
}

void manager_events_poke(struct manager_events *ev)
{
	start(ev);
	if (!ev->busy && !ev->talks_broken &&
	    manager_talks_position(ev->talks) != ev->stats.last_id) {
		/* Nothing more comes: what is folded is written all the same. */
		ev->work_is_own = true;
		queue(ev);
	}
}

void manager_events_detach(struct manager_events *ev)
{
	ev->consumer = NULL;
	ev->waiting = NULL;
	ev->waiting_consumer = NULL;
}

void manager_events_own(struct manager_events *ev, const char *type, enum bh_severity severity,
			json_t *body)
{
	json_t *event = bh_event_new(type, severity, bh_time_wall_ns());
	BH_FREE char *text = NULL;

	json_object_update_missing(event, body);
	json_decref(body);
	if (ev->own.count >= OWN_WAITING_MAX) {
		bh_counter_add(&events_own_dropped, 1);
		json_decref(event);
		return;
	}
	bh_event_stamp(event, "manager", ev->epoch, ++ev->seq);
	text = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	if (text) {
		manager_own_add(ev->kept, text, strlen(text));
	}
	push_text(ev, &ev->own, text, NULL);
	start(ev);
}

void manager_events_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	enum bh_severity s = BH_SEVERITY_WARNING;

	if (bh_severity_parse(severity, &s) < 0) {
		s = BH_SEVERITY_WARNING;
	}
	manager_events_own(arg, type, s, body);
}

/* ---- watching ---- */

void manager_events_watch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg)
{
	struct watch *w = bh_alloc(sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	DL_APPEND(ev->watches, w);
}

void manager_events_unwatch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg)
{
	struct watch *w, *tmp;

	DL_FOREACH_SAFE(ev->watches, w, tmp)
	{
		if (w->fn == fn && w->arg == arg) {
			DL_DELETE(ev->watches, w);
			free(w);
			return;
		}
	}
}

/* ---- reading ---- */

struct listing {
	struct listed {
		uint64_t id;
		char *type, *json;
	} * items;
	size_t count, capacity;
};

static int list_row(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	struct listing *l = arg;
	struct listed *item = bh_vec_push(l);

	item->id = id;
	item->type = bh_strdup(row->type);
	item->json = bh_strdup(json);
	return 0;
}

int manager_events_list(struct manager_events *ev, const struct manager_event_filter *f,
			manager_event_fn *fn, void *arg, uint64_t *ret_scanned,
			struct bh_diag *diag)
{
	struct manager_listed listed = {};
	struct listing l = {};
	uint64_t last = ev->stats.last_id;
	int r = ev->reader ? 0 : manager_reader_open(ev->path, &ev->reader, diag);

	if (r == 0) {
		r = manager_reader_list(ev->reader, f, list_row, &l, &listed, diag);
	}
	for (size_t i = 0; i < l.count; i++) {
		struct listed *item = &l.items[f->has_after ? i : l.count - 1 - i];

		fn(item->id, item->type, item->json, arg);
		free(item->type);
		free(item->json);
	}
	bh_vec_done(&l);
	if (ret_scanned) {
		*ret_scanned = listed.complete ? last : listed.scanned;
	}
	return r;
}

uint64_t manager_events_last(const struct manager_events *ev)
{
	return ev->stats.last_id;
}

bool manager_events_tail(struct manager_events *ev, const struct manager_event_filter *filter,
			 manager_event_fn *fn, void *arg, uint64_t *ret_scanned)
{
	return manager_tail_list(&ev->tail, filter, fn, arg, ret_scanned);
}

struct manager_searches *manager_events_searches(struct manager_events *ev)
{
	return ev->searches;
}

const char *manager_events_path(const struct manager_events *ev)
{
	return ev->path;
}

const char *manager_events_talks_path(const struct manager_events *ev)
{
	return ev->talks_path;
}

const char *manager_events_problem(const struct manager_events *ev)
{
	return ev->problem;
}

void manager_events_each_new(struct manager_events *ev, manager_events_row_fn *fn, void *arg)
{
	ev->each_new = fn;
	ev->each_new_arg = arg;
}

json_t *manager_events_stats(const struct manager_events *ev)
{
	const struct manager_archive_stats *s = &ev->stats;

	return json_pack("{s:I, s:I, s:I, s:I}", "stored",
			 (json_int_t)(s->last_id ? s->last_id - s->first_id + 1 : 0), "last_id",
			 (json_int_t)s->last_id, "missing", (json_int_t)ev->missing, "bytes",
			 (json_int_t)s->bytes);
}

/* ---- life ---- */

static int load_producer(sqlite3_stmt *row, void *arg)
{
	struct manager_events *ev = arg;
	struct producer *p = producer_of(ev, manager_db_text(row, 0));

	p->touched = false;
	bh_event_track_load(&p->track, manager_db_text(row, 1),
			    (uint64_t)sqlite3_column_int64(row, 2));
	return 0;
}

static int open_files(struct manager_events *ev, struct bh_diag *diag)
{
	struct manager_archive_options archive = {.path = ev->path,
						  .keep = ev->o.keep,
						  .keep_bytes = ev->o.keep_bytes,
						  .keep_days = ev->o.keep_days};
	struct manager_talks_options talks = {.path = ev->talks_path, .days = ev->o.talks_days};
	int r = manager_archive_open(&archive, &ev->archive, diag);

	if (r == 0) {
		manager_archive_stats(ev->archive, &ev->stats);
		r = manager_talks_open(&talks, &ev->talks, diag);
	}
	if (r == 0) {
		r = manager_talks_catch_up(ev->talks, ev->path, ev->stats.last_id, diag);
	}
	if (r == 0) {
		r = manager_db_each(manager_archive_db(ev->archive),
				    (struct manager_db_each){load_producer, ev}, diag,
				    "SELECT producer, epoch, last FROM producers"
				    " ORDER BY producer, position DESC",
				    "");
	}
	if (r == 0 && ev->ration) {
		r = manager_ration_load(ev->ration, manager_archive_db(ev->archive), diag);
	}
	return r;
}

/* Of before a kill. They are told like new ones; manager_events_poke() begins with them. */
static void take_kept(const char *text, size_t len, void *arg)
{
	struct manager_events *ev = arg;

	push_text(ev, &ev->own, text, NULL);
}

static int open_kept(struct manager_events *ev, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s.own", ev->path);
	int64_t stored = manager_db_number(manager_archive_db(ev->archive), 0,
					   "SELECT value FROM totals WHERE name = 'own'", "");

	return manager_own_open(path, (uint64_t)stored, take_kept, ev, &ev->kept, diag);
}

int manager_events_new(const struct manager_events_options *options, struct manager_events **ret,
		       struct bh_diag *diag)
{
	struct manager_events *ev = bh_alloc(sizeof(*ev));
	const char *slash = strrchr(options->path, '/');
	uint8_t epoch[16];
	int r;

	ev->o = *options;
	ev->path = bh_strdup(options->path);
	ev->talks_path = bh_asprintf("%.*stalks.db", slash ? (int)(slash - options->path) + 1 : 0,
				     options->path);
	bh_uuid_random(epoch);
	bh_uuid_format(epoch, ev->epoch);
	ev->names = manager_names_new(options->inv, options->book);
	ev->searches = manager_searches_new(options->loop, ev->path);
	ev->ration = options->quota ? manager_ration_new(options->quota, options->quota_arg) : NULL;
	r = open_files(ev, diag);
	if (r == 0) {
		r = open_kept(ev, diag);
	}
	if (r < 0) {
		manager_events_free(ev);
		return r;
	}
	ev->missing =
		(uint64_t)manager_db_number(manager_archive_db(ev->archive), 0,
					    "SELECT value FROM totals WHERE name = 'missing'", "");
	*ret = ev;
	return 0;
}

void manager_events_free(struct manager_events *ev)
{
	struct producer *p, *p_tmp;
	struct watch *w, *w_tmp;

	if (!ev) {
		return;
	}
	manager_events_detach(ev);
	ev->each_new = NULL;
	DL_FOREACH_SAFE(ev->watches, w, w_tmp)
	{
		DL_DELETE(ev->watches, w);
		free(w);
	}
	while (ev->busy) {
		uv_run(ev->o.loop, UV_RUN_ONCE);
	}
	manager_searches_free(ev->searches);
	if (ev->talks && !ev->talks_broken &&
	    manager_talks_flush(ev->talks, ev->stats.last_id, bh_time_wall_ns() / BH_NS_PER_S, true,
				NULL) < 0) {
		bh_log(BH_LOG_WARN, "events", "talks: not written; the next start does it");
	}
	rows_clear(&ev->own);
	rows_clear(&ev->work);
	bh_vec_done(&ev->own);
	bh_vec_done(&ev->work);
	bh_vec_done(&ev->left_out);
	manager_ration_free(ev->ration);
	manager_tail_done(&ev->tail);
	HASH_ITER (hh, ev->producers, p, p_tmp) {
		HASH_DEL(ev->producers, p);
		free(p);
	}
	manager_own_close(ev->kept);
	manager_names_free(ev->names);
	manager_talks_close(ev->talks);
	manager_archive_close(ev->archive);
	manager_reader_close(ev->reader);
	free(ev->path);
	free(ev->talks_path);
	free(ev);
}
