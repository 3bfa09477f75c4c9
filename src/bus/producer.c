/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/events.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/subject.h"

#include <errno.h>

#define LINGER_MS      5
#define SYNC_MS	       100
#define SYNC_FDS       16
#define ACK_TIMEOUT_MS 5000
#define RETRY_MIN_MS   100
#define RETRY_MAX_MS   5000

BH_COUNTER(events_put, "events given to the producer");
BH_COUNTER(events_sent, "events that JetStream has stored");
BH_COUNTER(events_retries, "batches of events sent again");
BH_COUNTER(events_lost, "events that could not be kept; a gap event tells how many");
BH_COUNTER(events_oversize, "events refused because they are too large");
BH_COUNTER(events_sync_failed, "syncs of the event spool that failed");

/* What a request in flight and a sync in work point to: they may outlive the producer. */
struct flight {
	struct bh_producer *producer; /* NULL: freed meanwhile */
};

struct sync_job {
	uv_work_t work;
	struct bh_producer *producer;
	int fds[SYNC_FDS];
	size_t count;
	int failed;
};

struct bh_producer {
	uv_loop_t *loop;
	struct bh_bus *bus;
	struct bh_spool *spool;
	char subject[BH_SUBJECT_SIZE];
	char name[BH_NAME_MAX + 1];
	unsigned int linger_ms;
	uv_timer_t *send_timer;
	uv_timer_t *sync_timer;
	struct sync_job *sync;
	struct flight *flight; /* NULL: nothing is on its way */
	struct bh_spool_batch
		batch; /* count > 0: not acknowledged yet; a repeat sends it unchanged */
	unsigned int retry_ms;
	uint64_t sent;
	uint64_t retries;
	char last_error[BH_DIAG_TEXT_SIZE];
};

static void send_batch(struct bh_producer *p);

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static uv_timer_t *timer_new(struct bh_producer *p)
{
	uv_timer_t *timer = bh_alloc(sizeof(*timer));

	uv_timer_init(p->loop, timer);
	timer->data = p;
	return timer;
}

/* ---- sending ---- */
static void on_send_timer(uv_timer_t *timer)
{
	send_batch(timer->data);
}

static void send_later(struct bh_producer *p, uint64_t ms)
{
	if (p->bus && bh_bus_up(p->bus) && !p->flight &&
	    !uv_is_active((uv_handle_t *)p->send_timer)) {
		uv_timer_start(p->send_timer, on_send_timer, ms, 0);
	}
}

static void stored(struct bh_producer *p)
{
	p->sent += p->batch.count;
	bh_counter_add(&events_sent, p->batch.count);
	bh_spool_ack(p->spool, &p->batch, bh_time_wall_ns());
	bh_spool_batch_done(&p->batch);
	p->retry_ms = 0;
	p->last_error[0] = '\0';
	send_batch(p);
}

static void failed(struct bh_producer *p, const char *why)
{
	snprintf(p->last_error, sizeof(p->last_error), "%s", why);
	p->retries++;
	bh_counter_add(&events_retries, 1);
	p->retry_ms = p->retry_ms ? 2 * p->retry_ms : RETRY_MIN_MS;
	p->retry_ms = p->retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : p->retry_ms;
	send_later(p, p->retry_ms);
}

/* JetStream's answer: {"stream": "BH_EVENTS", "seq": n} or {"error": {"description"}}. */
static void on_stored(int err, const struct bh_bus_raw *reply, void *arg)
{
	struct flight *flight = arg;
	struct bh_producer *p = flight->producer;
	BH_JSON json_t *json = NULL;
	const json_t *error;

	free(flight);
	if (!p) {
		return;
	}
	p->flight = NULL;
	if (err) {
		failed(p, bh_bus_reply_text(err, NULL));
		return;
	}
	if (bh_json_load(reply->data, reply->size, 65536, &json, NULL)) {
		failed(p, "the server's answer was not JSON");
		return;
	}
	error = json_object_get(json, "error");
	if (error || strcmp(bh_json_str_or(json, "stream", ""), BH_EVENTS_STREAM)) {
		failed(p, bh_json_str_or(error, "description", "not stored by the events' stream"));
		return;
	}
	stored(p);
}

static void send_batch(struct bh_producer *p)
{
	BH_FREE char *id = NULL;
	struct bh_bus_raw msg = {.subject = p->subject};
	struct bh_diag diag = {};
	int r = 0;

	if (!p->bus || !bh_bus_up(p->bus) || p->flight) {
		return;
	}
	if (!p->batch.count) {
		r = bh_spool_peek(p->spool, BH_EVENTS_BATCH_MAX, BH_EVENTS_BATCH_BYTES, &p->batch,
				  &diag);
	}
	if (r == BH_SPOOL_EMPTY) {
		return;
	}
	if (r) {
		failed(p, diag.text);
		return;
	}
	id = bh_asprintf("%s/%s/%llu-%llu", p->name, p->batch.epoch,
			 (unsigned long long)p->batch.first, (unsigned long long)p->batch.last);
	msg.msg_id = id;
	msg.data = p->batch.data;
	msg.size = p->batch.size;
	uv_timer_stop(p->send_timer);
	p->flight = bh_alloc(sizeof(*p->flight));
	p->flight->producer = p;
	bh_bus_request_raw(p->bus, &msg, ACK_TIMEOUT_MS, on_stored, p->flight);
}

static void on_bus(struct bh_bus *bus, bool up, void *arg)
{
	struct bh_producer *p = arg;

	if (up) {
		p->retry_ms = 0;
		uv_timer_stop(p->send_timer);
		send_later(p, 0);
	}
}

/* ---- syncing ---- */
static void on_sync_timer(uv_timer_t *timer);

static void sync_work(uv_work_t *work)
{
	struct sync_job *job = BH_CONTAINER_OF(work, struct sync_job, work);

	for (size_t i = 0; i < job->count; i++) {
		job->failed += fdatasync(job->fds[i]) != 0;
		close(job->fds[i]);
	}
}

static void on_synced(uv_work_t *work, int status)
{
	struct sync_job *job = BH_CONTAINER_OF(work, struct sync_job, work);

	bh_counter_add(&events_sync_failed, (uint64_t)job->failed);
	if (job->producer) {
		job->producer->sync = NULL;
	}
	free(job);
}

static void sync_soon(struct bh_producer *p)
{
	if (!uv_is_active((uv_handle_t *)p->sync_timer)) {
		uv_timer_start(p->sync_timer, on_sync_timer, SYNC_MS, 0);
	}
}

static void on_sync_timer(uv_timer_t *timer)
{
	struct bh_producer *p = timer->data;
	struct sync_job *job;

	if (p->sync) {
		sync_soon(p);
		return;
	}
	job = bh_alloc(sizeof(*job));
	job->count = bh_spool_sync_take(p->spool, job->fds, SYNC_FDS);
	job->producer = p;
	if (!job->count) {
		free(job);
		return;
	}
	if (uv_queue_work(p->loop, &job->work, sync_work, on_synced)) {
		sync_work(&job->work);
		on_synced(&job->work, 0);
		return;
	}
	p->sync = job;
	if (job->count == SYNC_FDS) {
		sync_soon(p);
	}
}

/* ---- from the program ---- */
int bh_producer_new(uv_loop_t *loop, struct bh_bus *bus, const struct bh_producer_options *options,
		    struct bh_producer **ret, struct bh_diag *diag)
{
	struct bh_producer *p;
	struct bh_spool *spool;
	int r;

	if (!bh_name_valid(options->spool.producer)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" can't be the name of a producer",
				   options->spool.producer);
	}
	r = bh_spool_open(&options->spool, &spool, diag);
	if (r) {
		return r;
	}
	p = bh_alloc(sizeof(*p));
	p->loop = loop;
	p->spool = spool;
	snprintf(p->name, sizeof(p->name), "%s", options->spool.producer);
	bh_subject_ev(p->name, p->subject);
	p->linger_ms = options->linger_ms ? options->linger_ms : LINGER_MS;
	p->send_timer = timer_new(p);
	p->sync_timer = timer_new(p);
	bh_producer_attach(p, bus);
	*ret = p;
	return 0;
}

void bh_producer_attach(struct bh_producer *producer, struct bh_bus *bus)
{
	if (producer->bus) {
		bh_bus_unwatch(producer->bus, on_bus, producer);
	}
	if (producer->flight) {
		producer->flight->producer = NULL;
		producer->flight = NULL;
	}
	uv_timer_stop(producer->send_timer);
	producer->bus = bus;
	if (bus) {
		bh_bus_watch(bus, on_bus, producer);
		send_later(producer, 0);
	}
}

void bh_producer_free(struct bh_producer *producer)
{
	if (!producer) {
		return;
	}
	bh_producer_attach(producer, NULL);
	uv_close((uv_handle_t *)producer->send_timer, free_handle);
	uv_close((uv_handle_t *)producer->sync_timer, free_handle);
	if (producer->sync) {
		producer->sync->producer = NULL;
	}
	bh_spool_batch_done(&producer->batch);
	bh_spool_close(producer->spool);
	free(producer);
}

/* r: what the spool said. */
static void put_done(struct bh_producer *producer, int r)
{
	bh_counter_add(&events_put, 1);
	if (r == -EMSGSIZE) {
		bh_counter_add(&events_oversize, 1);
		bh_producer_lose(producer, 1, "event-too-large");
		return;
	}
	if (r) {
		bh_counter_add(&events_lost, 1);
	}
	sync_soon(producer);
	send_later(producer, producer->linger_ms);
}

void bh_producer_put(struct bh_producer *producer, json_t *event)
{
	uint64_t seq;
	int r = bh_spool_append(producer->spool, event, bh_time_wall_ns(), &seq, NULL);

	json_decref(event);
	put_done(producer, r);
}

void bh_producer_put_text(struct bh_producer *producer, const struct bh_wbuf *members)
{
	uint64_t seq;

	put_done(producer,
		 bh_spool_append_text(producer->spool, members, bh_time_wall_ns(), &seq, NULL));
}

void bh_producer_lose(struct bh_producer *producer, uint64_t count, const char *reason)
{
	bh_spool_lose(producer->spool, count, reason, bh_time_wall_ns());
	bh_counter_add(&events_lost, count);
	sync_soon(producer);
	send_later(producer, producer->linger_ms);
}

void bh_producer_stats_get(const struct bh_producer *producer, struct bh_spool_stats *ret)
{
	bh_spool_stats_get(producer->spool, ret);
}

json_t *bh_producer_dump(const struct bh_producer *producer)
{
	struct bh_spool_stats st;

	bh_spool_stats_get(producer->spool, &st);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "epoch", st.epoch,
			 "next_seq", (json_int_t)st.next_seq, "waiting", (json_int_t)st.waiting,
			 "bytes", (json_int_t)st.bytes, "max_bytes", (json_int_t)st.max_bytes,
			 "lost", (json_int_t)st.lost, "sent", (json_int_t)producer->sent, "retries",
			 (json_int_t)producer->retries, "last_error", producer->last_error);
}
