/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/events.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

#define OWN_WAITING_MAX 100000
#define PRUNE_MAX	10000

BH_COUNTER(events_stored, "events written to the database");
BH_COUNTER(events_repeats, "events that came twice and were dropped");
BH_COUNTER(events_missing, "numbers of events that never came and nobody declared");
BH_COUNTER(events_declared_lost, "events that producers declared lost in gap events");
BH_COUNTER(events_store_failed, "batches that could not be written (they come again)");
BH_COUNTER(events_own_dropped, "own events dropped because the database fails");
BH_COUNTER(events_wrong_host, "events whose host is not who sent them");

static const char *const migrations[] = {
	"CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
	" severity INTEGER NOT NULL, type TEXT NOT NULL, host TEXT NOT NULL, vm TEXT, peer TEXT,"
	" verdict TEXT, body TEXT NOT NULL);"
	"CREATE INDEX events_vm ON events (vm) WHERE vm IS NOT NULL;"
	"CREATE INDEX events_peer ON events (peer) WHERE peer IS NOT NULL;"
	"CREATE TABLE producers (producer TEXT NOT NULL, position INTEGER NOT NULL,"
	" epoch TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (producer, position))"
	" WITHOUT ROWID;"
	"CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
};

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
	struct manager_db *writer; /* the worker's while busy */
	struct manager_db *reader;
	struct manager_names *names;
	struct producer *producers;
	struct watch *watches;
	struct rows own;  /* waiting */
	struct rows work; /* with the worker */
	bool work_is_own;
	struct bh_consumer *consumer;	      /* whose batch is in work; NULL for own ones */
	const struct bh_event_batch *waiting; /* a batch that came while the worker was busy */
	struct bh_consumer *waiting_consumer;
	uv_work_t job;
	bool busy;
	int result;
	struct bh_diag diag;
	char epoch[BH_UUID_TEXT_SIZE]; /* of our own events */
	uint64_t seq;
	uint64_t last_id, first_id;
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

/* One that was made here, of whatever: takes over json. */
static void push_json(struct manager_events *ev, struct rows *rows, json_t *json, const char *host)
{
	BH_FREE char *text = json_dumps(json, JSON_COMPACT);
	struct bh_jtext event;
	struct bh_diag diag = {};

	json_decref(json);
	if (!text || bh_jtext_parse(text, strlen(text), &event, &diag)) {
		bh_counter_add(&events_own_dropped, 1);
		bh_log_limited(BH_LOG_ERROR, "events", 3, "an own event: %s", diag.text);
		return;
	}
	(void)push(ev, rows, &event, host);
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
}

/* ---- the worker: only this touches the writer while busy ---- */

static int write_row(struct manager_db *db, const struct manager_event_row *row,
		     struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO events (time, severity, type, host, vm, peer, verdict,"
			      " body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			      "iitttttt", row->wall_ns, (int64_t)row->severity, row->type,
			      row->host, *row->vm ? row->vm : NULL, *row->peer ? row->peer : NULL,
			      *row->verdict ? row->verdict : NULL, row->body);
}

static int write_producers(struct manager_events *ev, struct bh_diag *diag)
{
	struct producer *p, *tmp;
	int r = 0;

	HASH_ITER (hh, ev->producers, p, tmp) {
		for (unsigned int i = 0; p->touched && i < p->staged.count && r == 0; i++) {
			r = manager_db_run(ev->writer, diag,
					   "INSERT OR REPLACE INTO producers VALUES"
					   " (?1, ?2, ?3, ?4)",
					   "titi", p->name, (int64_t)i, p->staged.epochs[i].epoch,
					   (int64_t)p->staged.epochs[i].last);
		}
	}
	if (r == 0) {
		r = manager_db_run(ev->writer, diag,
				   "INSERT OR REPLACE INTO totals VALUES ('missing', ?1)", "i",
				   (int64_t)ev->missing_staged);
	}
	return r;
}

static void work(uv_work_t *job)
{
	struct manager_events *ev = job->data;
	int64_t keep = (int64_t)ev->o.keep;
	int r;

	r = manager_db_begin(ev->writer, &ev->diag);
	for (size_t i = 0; i < ev->work.count && r == 0; i++) {
		r = write_row(ev->writer, &ev->work.items[i], &ev->diag);
	}
	if (r == 0 && !ev->work_is_own) {
		r = write_producers(ev, &ev->diag);
	}
	if (r == 0) {
		r = manager_db_run(ev->writer, &ev->diag,
				   "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id"
				   " <= (SELECT max(id) FROM events) - ?1 ORDER BY id LIMIT ?2)",
				   "ii", keep, (int64_t)PRUNE_MAX);
	}
	if (r == 0) {
		r = manager_db_commit(ev->writer, &ev->diag);
	} else {
		manager_db_abort(ev->writer);
	}
	ev->result = r;
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
}

static void look_ids(struct manager_events *ev)
{
	ev->last_id = (uint64_t)manager_db_number(ev->reader, (int64_t)ev->last_id,
						  "SELECT max(id) FROM events", "");
	ev->first_id = (uint64_t)manager_db_number(ev->reader, (int64_t)ev->first_id,
						   "SELECT min(id) FROM events", "");
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
	if (ok) {
		bh_counter_add(&events_stored, ev->work.count);
		rows_clear(&ev->work);
		look_ids(ev);
	} else {
		bh_counter_add(&events_store_failed, 1);
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

static void start(struct manager_events *ev)
{
	if (ev->busy) {
		return;
	}
	if (ev->own.count) {
		struct rows swap = ev->work;

		ev->work = ev->own;
		ev->own = swap;
		ev->own.count = 0;
		ev->work_is_own = true;
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

	json_object_update_missing(event, body);
	json_decref(body);
	if (ev->own.count >= OWN_WAITING_MAX) {
		bh_counter_add(&events_own_dropped, 1);
		json_decref(event);
		return;
	}
	bh_event_stamp(event, "manager", ev->epoch, ++ev->seq);
	push_json(ev, &ev->own, event, NULL);
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

struct list_arg {
	manager_event_fn *fn;
	void *arg;
	uint64_t last;
	uint32_t count;
};

static int list_row(sqlite3_stmt *row, void *arg)
{
	struct list_arg *a = arg;

	a->last = (uint64_t)sqlite3_column_int64(row, 0);
	a->count++;
	a->fn(a->last, manager_db_text(row, 1), manager_db_text(row, 2), a->arg);
	return 0;
}

#define WHERE                                                                                      \
	" FROM events WHERE id > ?1 AND time >= ?2 AND severity >= ?3 AND (?4 = '' OR host = ?4)"  \
	" AND (?5 = '' OR vm = ?5 OR peer = ?5) AND (?6 = '' OR verdict = ?6)"                     \
	" AND (?7 = '' OR type = ?7 OR (?8 AND substr(type, 1, length(?7)) = ?7))"                 \
	" AND (NOT ?9 OR substr(type, 1, 5) = 'flow.' OR substr(type, 1, 6) = 'guard.')"

int manager_events_list(struct manager_events *ev, const struct manager_event_filter *f,
			manager_event_fn *fn, void *arg, uint64_t *ret_scanned,
			struct bh_diag *diag)
{
	static const char first[] = "SELECT id, type, body" WHERE " ORDER BY id LIMIT ?10";
	static const char newest[] = "SELECT * FROM (SELECT id, type, body" WHERE
				     " ORDER BY id DESC LIMIT ?10) ORDER BY id";
	struct list_arg a = {.fn = fn, .arg = arg};
	char type[sizeof(f->type)];
	size_t len;
	bool prefix = false;
	uint64_t last = ev->last_id;
	int r;

	snprintf(type, sizeof(type), "%s", f->type);
	len = strlen(type);
	if (len && type[len - 1] == '*') {
		type[--len] = '\0';
		prefix = true;
	}
	prefix = prefix || (len && type[len - 1] == '.');
	r = manager_db_each(ev->reader, (struct manager_db_each){list_row, &a}, diag,
			    f->has_after ? first : newest, "iiittttiii", (int64_t)f->after,
			    (int64_t)f->since_ns, (int64_t)f->severity, f->host, f->vm, f->verdict,
			    type, (int64_t)prefix, (int64_t)f->flows, (int64_t)f->limit);
	if (ret_scanned) {
		*ret_scanned = a.count == f->limit ? a.last : last;
	}
	return r;
}

uint64_t manager_events_last(const struct manager_events *ev)
{
	return ev->last_id;
}

json_t *manager_events_stats(const struct manager_events *ev)
{
	return json_pack("{s:I, s:I, s:I}", "stored",
			 (json_int_t)(ev->last_id ? ev->last_id - ev->first_id + 1 : 0), "last_id",
			 (json_int_t)ev->last_id, "missing", (json_int_t)ev->missing);
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

int manager_events_new(const struct manager_events_options *options, struct manager_events **ret,
		       struct bh_diag *diag)
{
	struct manager_events *ev = bh_alloc(sizeof(*ev));
	uint8_t epoch[16];
	int r;

	ev->o = *options;
	bh_uuid_random(epoch);
	bh_uuid_format(epoch, ev->epoch);
	ev->names = manager_names_new(options->inv, options->book);
	r = manager_db_open(options->path, migrations, BH_ARRAY_SIZE(migrations), &ev->writer,
			    diag);
	if (r == 0) {
		r = manager_db_open(options->path, migrations, BH_ARRAY_SIZE(migrations),
				    &ev->reader, diag);
	}
	if (r == 0) {
		r = manager_db_each(ev->reader, (struct manager_db_each){load_producer, ev}, diag,
				    "SELECT producer, epoch, last FROM producers"
				    " ORDER BY producer, position DESC",
				    "");
	}
	if (r < 0) {
		manager_events_free(ev);
		return r;
	}
	ev->missing = (uint64_t)manager_db_number(
		ev->reader, 0, "SELECT value FROM totals WHERE name = 'missing'", "");
	look_ids(ev);
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
	DL_FOREACH_SAFE(ev->watches, w, w_tmp)
	{
		DL_DELETE(ev->watches, w);
		free(w);
	}
	while (ev->busy) {
		uv_run(ev->o.loop, UV_RUN_ONCE);
	}
	rows_clear(&ev->own);
	rows_clear(&ev->work);
	bh_vec_done(&ev->own);
	bh_vec_done(&ev->work);
	HASH_ITER (hh, ev->producers, p, p_tmp) {
		HASH_DEL(ev->producers, p);
		free(p);
	}
	manager_names_free(ev->names);
	manager_db_close(ev->writer);
	manager_db_close(ev->reader);
	free(ev);
}
