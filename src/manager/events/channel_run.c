/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a channel: reads a batch behind its cursor, sends it, moves the cursor on. */
#include "manager/events/channel_run.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>

#define REFUSALS_MAX   5   /* times that a batch may be refused for good before it is given up */
#define READ_BUDGET_MS 500 /* of one look for the next batch */

BH_COUNTER(channels_delivered, "events that receivers of channels have taken");
BH_COUNTER(channels_retries, "batches of channels that have to be sent again");
BH_COUNTER(channels_gave_up,
	   "events that a channel gave up: refused for good, or dropped here first");

const char *const manager_channels_migrations[MANAGER_CHANNELS_SCHEMA] = {
	"CREATE TABLE channels (name TEXT PRIMARY KEY, settings TEXT NOT NULL,"
	" cursor INTEGER NOT NULL, delivered INTEGER NOT NULL, gave_up INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
};

/* ---- the thread ---- */

static int add_message(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	struct channel_run *run = arg;
	struct manager_message m = {.instance = run->instance, .id = id, .row = row};
	bool syslog = run->settings.kind == MANAGER_CHANNEL_SYSLOG;
	struct bh_wbuf *to = syslog ? &run->text : &run->batch;

	run->text.size = 0;
	switch (run->settings.format) {
	case MANAGER_FORMAT_CEF:
		manager_format_cef(&m, to);
		break;
	case MANAGER_FORMAT_RAW:
		manager_format_raw(&m, to);
		break;
	default:
		manager_format_ecs(&m, to);
	}
	if (syslog) {
		manager_format_syslog(&m, run->hostname, &run->text, &run->batch);
	} else {
		bh_wbuf_u8(&run->batch, '\n');
	}
	run->batch_first = run->batch_count ? run->batch_first : id;
	run->batch_last = id;
	run->batch_count++;
	return run->batch.size > MANAGER_CHANNEL_BYTES;
}

static int keep_cursor(struct channel_run *run, const struct channel_report *report,
		       struct bh_diag *diag)
{
	return manager_db_run(run->db, diag,
			      "UPDATE channels SET cursor = ?2, delivered = ?3, gave_up = ?4"
			      " WHERE name = ?1",
			      "tiii", run->settings.name, (int64_t)report->cursor,
			      (int64_t)report->delivered, (int64_t)report->gave_up);
}

/* Moves on: in the database, then for all to see. */
static int move_on(struct channel_run *run, uint64_t cursor, uint64_t delivered, uint64_t gave_up,
		   struct bh_diag *diag)
{
	struct channel_report next;
	int r;

	pthread_mutex_lock(&run->lock);
	next = run->report;
	pthread_mutex_unlock(&run->lock);
	next.cursor = cursor;
	next.delivered += delivered;
	next.gave_up += gave_up;
	r = atomic_load(&run->stop) ? -ECANCELED : keep_cursor(run, &next, diag);
	if (r < 0) {
		return r;
	}
	bh_counter_add(&channels_delivered, delivered);
	bh_counter_add(&channels_gave_up, gave_up);
	pthread_mutex_lock(&run->lock);
	run->report.cursor = next.cursor;
	run->report.delivered = next.delivered;
	run->report.gave_up = next.gave_up;
	if (delivered) {
		run->report.last_delivery_ns = bh_time_wall_ns();
	}
	pthread_mutex_unlock(&run->lock);
	return 0;
}

static int send_batch(struct channel_run *run, struct bh_diag *diag)
{
	int r = run->settings.kind == MANAGER_CHANNEL_SYSLOG
			? manager_syslog_send(&run->transport, &run->batch, diag)
			: manager_webhook_send(&run->transport, &run->batch, run->batch_first,
					       run->batch_last, diag);

	if (r == MANAGER_REFUSED) {
		return ++run->refusals < REFUSALS_MAX ? -EIO : MANAGER_REFUSED;
	}
	return r;
}

static int open_files(struct channel_run *run, struct bh_diag *diag)
{
	int r = 0;

	if (!run->db) {
		r = manager_db_open(run->db_path, manager_channels_migrations,
				    MANAGER_CHANNELS_SCHEMA, &run->db, diag);
	}
	if (r == 0 && !run->reader) {
		r = manager_reader_open(run->events_path, &run->reader, diag);
	}
	return r;
}

/* Events that were dropped here before the receiver took them. */
static int see_gap(struct channel_run *run, uint64_t *cursor, struct bh_diag *diag)
{
	uint64_t first = manager_reader_first(run->reader);

	if (!first || first <= *cursor + 1) {
		return 0;
	}
	bh_log_limited(BH_LOG_WARN, "channels", 3,
		       "%s: %llu events were gone before they were sent", run->settings.name,
		       (unsigned long long)(first - *cursor - 1));
	if (move_on(run, first - 1, 0, first - *cursor - 1, diag) < 0) {
		return -EIO;
	}
	*cursor = first - 1;
	return 0;
}

/* Behind a batch that was sent. When the cursor can't be kept (a full disk) only that is tried
 * again: the receiver has the batch, and gets nothing more until it is, so that a kill repeats no
 * more than one. */
static int keep_sent(struct channel_run *run, struct bh_diag *diag)
{
	int r = 0;

	if (run->unkept.there) {
		r = move_on(run, run->unkept.cursor, run->unkept.delivered, run->unkept.gave_up,
			    diag);
		run->unkept.there = r < 0;
	}
	return r;
}

/* One batch. 1: there may be more; 0 all is sent; < 0. */
static int step(struct channel_run *run, struct bh_diag *diag)
{
	struct manager_event_filter filter = {.scope.all = true,
					      .flow_scope.all = true,
					      .severity = run->settings.severity,
					      .has_after = true,
					      .limit = MANAGER_CHANNEL_BATCH,
					      .budget_ms = READ_BUDGET_MS};
	struct manager_listed listed = {};
	int r = open_files(run, diag);

	if (r == 0) {
		r = keep_sent(run, diag);
	}
	if (r < 0) {
		return r;
	}
	pthread_mutex_lock(&run->lock);
	filter.after = run->report.cursor;
	pthread_mutex_unlock(&run->lock);
	r = see_gap(run, &filter.after, diag);
	filter.query = run->query;
	memcpy(filter.type, run->settings.type, sizeof(filter.type));
	run->batch.size = 0;
	run->batch_count = 0;
	if (r == 0) {
		r = manager_reader_list(run->reader, &filter, add_message, run, &listed, diag);
	}
	if (r < 0) {
		return r;
	}
	r = run->batch_count ? send_batch(run, diag) : MANAGER_SENT;
	if (r < 0) {
		return r;
	}
	run->refusals = 0;
	if (listed.scanned > filter.after) {
		run->unkept.there = true;
		run->unkept.cursor = listed.scanned;
		run->unkept.delivered = r == MANAGER_SENT ? run->batch_count : 0;
		run->unkept.gave_up = r == MANAGER_SENT ? 0 : run->batch_count;
		r = keep_sent(run, diag);
		if (r < 0) {
			return r;
		}
	}
	return listed.complete ? 0 : 1;
}

static void wait_until(struct channel_run *run, uint64_t mono_ns)
{
	struct timespec t = {.tv_sec = (time_t)(mono_ns / BH_NS_PER_S),
			     .tv_nsec = (long)(mono_ns % BH_NS_PER_S)};

	while (!atomic_load(&run->stop) && !run->poked &&
	       pthread_cond_timedwait(&run->wake, &run->lock, &t) == 0) {
		/* new events are no reason to try sooner */
	}
	run->poked = false;
}

static void note_failure(struct channel_run *run, const struct bh_diag *diag)
{
	uint64_t wait_ms = run->retry_ms;

	bh_counter_add(&channels_retries, 1);
	bh_log_limited(BH_LOG_WARN, "channels", 3, "%s: %s", run->settings.name, diag->text);
	run->retry_ms = wait_ms * 2 > MANAGER_CHANNEL_RETRY_MAX_S * 1000
				? MANAGER_CHANNEL_RETRY_MAX_S * 1000
				: (unsigned int)wait_ms * 2;
	pthread_mutex_lock(&run->lock);
	run->report.retries++;
	memcpy(run->report.last_error, diag->text, sizeof(run->report.last_error));
	run->report.next_try_ns = bh_time_wall_ns() + wait_ms * BH_NS_PER_MS;
	wait_until(run, bh_time_mono_ns() + wait_ms * BH_NS_PER_MS);
	run->report.next_try_ns = 0;
	pthread_mutex_unlock(&run->lock);
}

static void note_success(struct channel_run *run, bool more)
{
	run->retry_ms = run->retry_first_ms;
	pthread_mutex_lock(&run->lock);
	*run->report.last_error = '\0';
	while (!more && !atomic_load(&run->stop) && run->last <= run->report.cursor) {
		pthread_cond_wait(&run->wake, &run->lock);
	}
	run->poked = false;
	pthread_mutex_unlock(&run->lock);
}

static void *channel_thread(void *arg)
{
	struct channel_run *run = arg;

	while (!atomic_load(&run->stop)) {
		struct bh_diag diag = {};
		int r = step(run, &diag);

		if (r == -ECANCELED) {
			break;
		}
		if (r < 0) {
			note_failure(run, &diag);
		} else {
			note_success(run, r > 0);
		}
	}
	if (run->settings.kind == MANAGER_CHANNEL_SYSLOG) {
		manager_syslog_drop(&run->transport);
	} else {
		manager_webhook_drop(&run->transport);
	}
	manager_reader_close(run->reader);
	manager_db_close(run->db);
	atomic_store(&run->ended, true);
	return NULL;
}

/* ---- life ---- */

void manager_channel_free(struct channel_run *run)
{
	pthread_join(run->thread, NULL);
	manager_channel_settings_done(&run->settings);
	pthread_mutex_destroy(&run->lock);
	pthread_cond_destroy(&run->wake);
	bh_wbuf_done(&run->batch);
	bh_wbuf_done(&run->text);
	free(run->db_path);
	free(run->events_path);
	free(run);
}

int manager_channel_start(struct channel_run *run, struct bh_diag *diag)
{
	pthread_condattr_t attr;
	int r;

	bh_wbuf_init(&run->batch, 0);
	bh_wbuf_init(&run->text, 0);
	run->retry_ms = run->retry_first_ms;
	run->transport = (struct manager_transport){
		.settings = &run->settings, .instance = run->instance, .stop = &run->stop};
	r = manager_query_parse(run->settings.query, &run->query, diag);
	if (r < 0) {
		return r;
	}
	pthread_mutex_init(&run->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&run->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&run->thread, NULL, channel_thread, run);
	return r ? bh_diag_set(diag, -r, "no thread for a channel: %s", strerror(r)) : 0;
}

void manager_channel_stop(struct channel_run *run)
{
	atomic_store(&run->stop, true);
	pthread_mutex_lock(&run->lock);
	pthread_cond_signal(&run->wake);
	pthread_mutex_unlock(&run->lock);
}

void manager_channel_wake(struct channel_run *run, uint64_t last, bool now)
{
	pthread_mutex_lock(&run->lock);
	run->last = last;
	run->poked |= now;
	pthread_cond_signal(&run->wake);
	pthread_mutex_unlock(&run->lock);
}
