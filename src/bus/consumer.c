/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States, per connection ("session"): down -> stream asked for -> old consumer deleted -> consumer
 * made -> ready. Deleting the durable consumer of a work queue loses nothing: what was not
 * acknowledged stays, and the new consumer starts at its beginning. That is the point of it: a
 * durable consumer that lived on would go on behind the messages that were on their way when the
 * connection broke and bring those again later, out of order, and what comes out of order looks
 * like a repeat.
 *
 * Within a session the consumer's own sequence must be contiguous; when it is not, or the server's
 * heartbeat stays away, the session starts over.
 */
#include "bus/events.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/subject.h"

#include <errno.h>
#include <utlist.h>

#define API_TIMEOUT_MS	   5000
#define RETRY_MS	   1000
#define HEARTBEAT_S	   5
#define SILENCE_NS	   (4ull * HEARTBEAT_S * BH_NS_PER_S)
#define ACK_WAIT_S	   60
#define ACK_PENDING_MAX	   64		 /* messages on their way or in work; bounds our memory */
#define BATCH_BYTES	   (1024 * 1024) /* of messages, about 2000 events */
#define STREAM_BYTES	   (4ull << 30)
#define STREAM_PER_SUBJECT 100000
#define DEDUPE_S	   120
#define ERR_NAME_IN_USE	   10058 /* JetStream: the stream exists with another configuration */
#define ERR_NO_CONSUMER	   10014

BH_COUNTER(events_received, "events received from the bus");
BH_COUNTER(events_bad, "received events that could not be read");
BH_COUNTER(events_forged, "received events that named another producer than their sender");
BH_COUNTER(events_redelivered, "messages of events that the server sent again");
BH_COUNTER(events_consumer_resets, "times the events' consumer was made anew");

struct message { /* as received */
	struct message *prev, *next;
	uint64_t stream_seq;
	char *ack; /* subject for the acknowledgement */
	char producer[BH_NAME_MAX + 1];
	char *data;
	size_t size;
};

/* A batch on its way: parsed by a worker, handled on the loop, freed by a worker: the loop also
 * enforces policies. */
struct job {
	uv_work_t work;
	struct bh_consumer *consumer; /* NULL: freed meanwhile */
	struct message *messages;
	struct bh_event_batch batch;
	uint64_t session;
	bool parsed;
};

struct call { /* a request in flight; may outlive the session or the consumer */
	struct bh_consumer *consumer; /* NULL: ignore the answer */
	void (*next)(struct bh_consumer *c, const json_t *reply, int code);
};

struct bh_consumer {
	uv_loop_t *loop;
	struct bh_bus *bus;
	struct bh_consumer_options options;
	uv_timer_t *timer; /* the next try, or watching for silence */
	uv_timer_t *retry; /* the handler failed: the batch again */
	struct call *call;
	char inbox[96];
	uint64_t session;
	bool subscribed;
	bool ready;
	uint64_t heard_ns;
	uint64_t consumer_seq; /* the last one seen in this session */
	uint64_t stream_seq;   /* ... of the stream */
	uint64_t committed;    /* stream sequence, in this session */
	struct message *queue;
	struct job *job; /* NULL: nothing is being parsed or handled */
	uint64_t received;
	uint64_t events;
	uint64_t redelivered;
	uint64_t resets;
	char last_error[BH_DIAG_TEXT_SIZE];
};

static void session_begin(struct bh_consumer *c);
static void hand_over(struct bh_consumer *c);

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void messages_free(struct message **list)
{
	struct message *m;
	struct message *next;

	DL_FOREACH_SAFE(*list, m, next)
	{
		DL_DELETE(*list, m);
		free(m->ack);
		free(m->data);
		free(m);
	}
}

/* ---- session ---- */
static void on_deliver(const struct bh_bus_raw *raw, void *arg);

static void session_end(struct bh_consumer *c)
{
	if (c->call) {
		c->call->consumer = NULL;
		c->call = NULL;
	}
	if (c->subscribed) {
		bh_bus_unsubscribe(c->bus, on_deliver, c);
		c->subscribed = false;
	}
	uv_timer_stop(c->timer);
	messages_free(&c->queue);
	c->ready = false;
	c->session++;
}

static void on_again(uv_timer_t *timer)
{
	struct bh_consumer *c = timer->data;

	session_begin(c);
}

static void session_failed(struct bh_consumer *c, const char *why)
{
	snprintf(c->last_error, sizeof(c->last_error), "%s", why);
	bh_counter_add(&events_consumer_resets, 1);
	c->resets++;
	session_end(c);
	if (bh_bus_up(c->bus)) {
		uv_timer_start(c->timer, on_again, RETRY_MS, 0);
	}
}

static void on_answer(int err, const struct bh_bus_raw *raw, void *arg)
{
	struct call *call = arg;
	struct bh_consumer *c = call->consumer;
	BH_JSON json_t *reply = NULL;
	const json_t *error;

	if (!c) {
		free(call);
		return;
	}
	c->call = NULL;
	if (err || bh_json_load(raw->data, raw->size, BH_BUS_MSG_MAX, &reply, NULL)) {
		free(call);
		session_failed(c, bh_bus_reply_text(err ? err : -EBADMSG, NULL));
		return;
	}
	error = json_object_get(reply, "error");
	call->next(c, reply, error ? (int)bh_json_u64_or(error, "err_code", 1) : 0);
	free(call);
}

static void api(struct bh_consumer *c, const char *subject, const json_t *body,
		void (*next)(struct bh_consumer *, const json_t *, int))
{
	BH_FREE char *text = body ? bh_json_dump(body) : NULL;
	struct bh_bus_raw msg = {.subject = subject, .data = text, .size = text ? strlen(text) : 0};

	c->call = bh_alloc(sizeof(*c->call));
	c->call->consumer = c;
	c->call->next = next;
	bh_bus_request_raw(c->bus, &msg, API_TIMEOUT_MS, on_answer, c->call);
}

static void api_failed(struct bh_consumer *c, const char *what, const json_t *reply)
{
	struct bh_diag diag;

	bh_diag_set(&diag, 0, "%s: %s", what,
		    bh_json_str_or(json_object_get(reply, "error"), "description", "refused"));
	session_failed(c, diag.text);
}

static void on_watch(uv_timer_t *timer)
{
	struct bh_consumer *c = timer->data;

	if (bh_time_mono_ns() - c->heard_ns > SILENCE_NS) {
		session_failed(c, "the events' consumer fell silent");
	}
}

static void on_consumer_made(struct bh_consumer *c, const json_t *reply, int code)
{
	if (code) {
		api_failed(c, "can't make the events' consumer", reply);
		return;
	}
	c->ready = true;
	c->last_error[0] = '\0';
	c->heard_ns = bh_time_mono_ns();
	uv_timer_start(c->timer, on_watch, HEARTBEAT_S * 1000, HEARTBEAT_S * 1000);
}

static void on_consumer_deleted(struct bh_consumer *c, const json_t *reply, int code)
{
	BH_JSON json_t *body = NULL;
	BH_FREE char *deliver = bh_asprintf("%s.%llu", c->inbox, (unsigned long long)c->session);

	if (code && code != ERR_NO_CONSUMER) {
		api_failed(c, "can't renew the events' consumer", reply);
		return;
	}
	bh_bus_subscribe(c->bus, deliver, on_deliver, c);
	c->subscribed = true;
	body = json_pack("{s:s, s:{s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:I}}", "stream_name",
			 BH_EVENTS_STREAM, "config", "durable_name", BH_EVENTS_CONSUMER,
			 "deliver_subject", deliver, "deliver_policy", "all", "ack_policy",
			 "explicit", "replay_policy", "instant", "ack_wait",
			 (json_int_t)(ACK_WAIT_S * BH_NS_PER_S), "max_deliver", -1,
			 "max_ack_pending", ACK_PENDING_MAX, "idle_heartbeat",
			 (json_int_t)(HEARTBEAT_S * BH_NS_PER_S));
	api(c, "$JS.API.CONSUMER.DURABLE.CREATE." BH_EVENTS_STREAM "." BH_EVENTS_CONSUMER, body,
	    on_consumer_made);
}

static void on_stream_ready(struct bh_consumer *c, const json_t *reply, int code)
{
	if (code) {
		api_failed(c, "can't set up the stream of events", reply);
		return;
	}
	api(c, "$JS.API.CONSUMER.DELETE." BH_EVENTS_STREAM "." BH_EVENTS_CONSUMER, NULL,
	    on_consumer_deleted);
}

/*
 * Two hardenings besides the limits. A host may name any reply subject in what it publishes, and
 * the server sends its acknowledgement {"stream", "seq"} there with rights of its own: named
 * `$JS.API.STREAM.PURGE.BH_EVENTS` that would empty the stream. deny_purge and deny_delete stop it.
 */
static json_t *stream_config(const struct bh_consumer *c)
{
	const struct bh_consumer_options *o = &c->options;

	return json_pack("{s:s, s:[s], s:s, s:s, s:s, s:I, s:i, s:i, s:I, s:b, s:i, s:i, s:i, s:I, "
			 "s:b, s:b}",
			 "name", BH_EVENTS_STREAM, "subjects", "bh.ev.>", "retention", "workqueue",
			 "storage", "file", "discard", "new", "max_bytes", (json_int_t)o->max_bytes,
			 "max_msgs", -1, "max_age", 0, "max_msgs_per_subject",
			 (json_int_t)o->max_per_producer, "discard_new_per_subject", true,
			 "max_msg_size", BH_BUS_MSG_MAX, "max_consumers", -1, "num_replicas",
			 (int)o->replicas, "duplicate_window",
			 (json_int_t)(o->dedupe_s * BH_NS_PER_S), "deny_delete", true, "deny_purge",
			 true);
}

static void on_stream_made(struct bh_consumer *c, const json_t *reply, int code)
{
	BH_JSON json_t *config = NULL;

	if (code != ERR_NAME_IN_USE) {
		on_stream_ready(c, reply, code);
		return;
	}
	config = stream_config(c);
	api(c, "$JS.API.STREAM.UPDATE." BH_EVENTS_STREAM, config, on_stream_ready);
}

static void session_begin(struct bh_consumer *c)
{
	BH_JSON json_t *config = stream_config(c);

	session_end(c);
	if (!bh_bus_up(c->bus)) {
		return;
	}
	c->consumer_seq = 0;
	c->stream_seq = 0;
	c->committed = 0;
	api(c, "$JS.API.STREAM.CREATE." BH_EVENTS_STREAM, config, on_stream_made);
}

static void on_bus(struct bh_bus *bus, bool up, void *arg)
{
	struct bh_consumer *c = arg;

	if (up) {
		session_begin(c);
	} else {
		session_end(c);
	}
}

/* ---- receiving ---- */
static void ack(struct bh_consumer *c, const char *subject)
{
	struct bh_bus_raw msg = {.subject = subject, .data = "+ACK", .size = 4};

	/* when it can't be sent the message comes again and is found to be a repeat */
	(void)!bh_bus_publish(c->bus, &msg);
}

/* "$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>"; servers
 * may put two more tokens (domain, account) before the stream and more at the end. */
static int ack_parse(const char *subject, uint64_t ret[3])
{
	BH_FREE char *copy = bh_strdup(subject);
	char *tokens[16];
	size_t n = 0;
	char *save = NULL;
	size_t at;

	for (char *t = strtok_r(copy, ".", &save); t && n < BH_ARRAY_SIZE(tokens);
	     t = strtok_r(NULL, ".", &save)) {
		tokens[n++] = t;
	}
	at = n == 9 ? 4 : 6;
	if (n < 9 || n == 10 || strcmp(tokens[0], "$JS") || strcmp(tokens[1], "ACK")) {
		return -EBADMSG;
	}
	for (size_t i = 0; i < 3; i++) {
		if (bh_parse_u64(tokens[at + i], 1, UINT64_MAX, &ret[i])) {
			return -EBADMSG;
		}
	}
	return 0;
}

static void message_add(struct bh_consumer *c, const struct bh_bus_raw *raw, const char *producer,
			uint64_t stream_seq)
{
	struct message *m = bh_alloc(sizeof(*m));

	m->stream_seq = stream_seq;
	m->ack = bh_strdup(raw->reply);
	snprintf(m->producer, sizeof(m->producer), "%s", producer);
	m->data = bh_memdup(raw->data, raw->size);
	m->size = raw->size;
	DL_APPEND(c->queue, m);
	c->received++;
}

static void on_deliver(const struct bh_bus_raw *raw, void *arg)
{
	struct bh_consumer *c = arg;
	char producer[BH_NAME_MAX + 1];
	uint64_t seq[3]; /* delivered, stream, consumer */

	c->heard_ns = bh_time_mono_ns();
	if (!raw->reply || ack_parse(raw->reply, seq)) {
		return; /* a heartbeat */
	}
	if (seq[2] != ++c->consumer_seq) {
		session_failed(c, "a message of events went missing on its way");
		return;
	}
	if (seq[0] > 1) {
		c->redelivered++;
		bh_counter_add(&events_redelivered, 1);
	}
	if (seq[1] <= c->stream_seq) {
		if (seq[1] <= c->committed) {
			ack(c, raw->reply);
		}
		return;
	}
	c->stream_seq = seq[1];
	if (bh_subject_name(raw->subject, producer, sizeof(producer))) {
		bh_counter_add(&events_bad, 1);
		ack(c, raw->reply);
		return;
	}
	message_add(c, raw, producer, seq[1]);
	hand_over(c);
}

/* ---- to the handler ---- */
/* Runs on a worker. */
static void message_parse(const struct message *m, struct bh_event_message *ret)
{
	const char *p = m->data;
	const char *end = m->data + m->size;
	BH_VEC(struct bh_event) events = {};
	size_t lines = 0;

	while (p < end) {
		const char *line = p;
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t size = (size_t)((eol ? eol : end) - p);
		struct bh_event *event;

		p = eol ? eol + 1 : end;
		if (lines++ >= BH_EVENTS_BATCH_MAX) {
			bh_counter_add(&events_bad, 1);
			continue;
		}
		event = bh_vec_push(&events);
		if (bh_event_parse(line, size, event, NULL)) {
			bh_counter_add(&events_bad, 1);
			events.count--;
		} else if (strcmp(event->producer, m->producer)) {
			bh_counter_add(&events_forged, 1);
			events.count--;
		}
	}
	snprintf(ret->producer, sizeof(ret->producer), "%s", m->producer);
	ret->stream_seq = m->stream_seq;
	ret->events = events.items;
	ret->count = events.count;
	bh_counter_add(&events_received, ret->count);
}

static void parse_work(uv_work_t *work)
{
	struct job *job = BH_CONTAINER_OF(work, struct job, work);
	struct message *m;

	DL_FOREACH (job->messages, m) {
		struct bh_event_message *em = &job->batch.messages[job->batch.count++];

		message_parse(m, em);
		job->batch.event_count += em->count;
	}
}

static void free_work(uv_work_t *work)
{
	struct job *job = BH_CONTAINER_OF(work, struct job, work);

	for (size_t i = 0; i < job->batch.count; i++) {
		free(job->batch.messages[i].events);
	}
	free(job->batch.messages);
	messages_free(&job->messages);
}

static void on_freed(uv_work_t *work, int status)
{
	free(BH_CONTAINER_OF(work, struct job, work));
}

static void job_free(uv_loop_t *loop, struct job *job)
{
	if (uv_queue_work(loop, &job->work, free_work, on_freed)) {
		free_work(&job->work);
		free(job);
	}
}

static void on_parsed(uv_work_t *work, int status)
{
	struct job *job = BH_CONTAINER_OF(work, struct job, work);
	struct bh_consumer *c = job->consumer;

	if (!c) {
		job_free(work->loop, job);
		return;
	}
	job->parsed = true;
	c->options.handler(c, &job->batch, c->options.arg);
}

/* Starts the next batch when none is in work. */
static void hand_over(struct bh_consumer *c)
{
	struct job *job;
	size_t count = 0;
	size_t size = 0;

	if (c->job || !c->queue) {
		return;
	}
	job = bh_alloc(sizeof(*job));
	job->consumer = c;
	job->session = c->session;
	while (c->queue && size < BATCH_BYTES) {
		struct message *m = c->queue;

		DL_DELETE(c->queue, m);
		DL_APPEND(job->messages, m);
		size += m->size;
		count++;
	}
	job->batch.messages = bh_alloc_array(count, sizeof(*job->batch.messages));
	c->job = job;
	if (uv_queue_work(c->loop, &job->work, parse_work, on_parsed)) {
		parse_work(&job->work);
		on_parsed(&job->work, 0);
	}
}

static void on_retry(uv_timer_t *timer)
{
	struct bh_consumer *c = timer->data;

	c->options.handler(c, &c->job->batch, c->options.arg);
}

void bh_consumer_done(struct bh_consumer *consumer, bool ok)
{
	struct job *job = consumer->job;
	struct message *m;

	if (!job || !job->parsed) {
		return;
	}
	if (!ok) {
		uv_timer_start(consumer->retry, on_retry, RETRY_MS, 0);
		return;
	}
	consumer->events += job->batch.event_count;
	if (job->session == consumer->session) {
		DL_FOREACH (job->messages, m) {
			ack(consumer, m->ack);
			consumer->committed = m->stream_seq;
		}
	}
	consumer->job = NULL;
	job_free(consumer->loop, job);
	hand_over(consumer);
}

/* ---- life ---- */
static uv_timer_t *timer_new(struct bh_consumer *c)
{
	uv_timer_t *timer = bh_alloc(sizeof(*timer));

	uv_timer_init(c->loop, timer);
	timer->data = c;
	return timer;
}

int bh_consumer_new(uv_loop_t *loop, struct bh_bus *bus, const struct bh_consumer_options *options,
		    struct bh_consumer **ret, struct bh_diag *diag)
{
	struct bh_consumer *c;
	uint8_t id[16];
	char hex[33];

	if (!options->handler) {
		return bh_diag_set(diag, -EINVAL, "a consumer of events needs a handler");
	}
	c = bh_alloc(sizeof(*c));
	c->loop = loop;
	c->bus = bus;
	c->options = *options;
	c->options.max_bytes = options->max_bytes ? options->max_bytes : STREAM_BYTES;
	c->options.max_per_producer =
		options->max_per_producer ? options->max_per_producer : STREAM_PER_SUBJECT;
	c->options.dedupe_s = options->dedupe_s ? options->dedupe_s : DEDUPE_S;
	c->options.replicas = options->replicas ? options->replicas : 1;
	bh_uuid_random(id);
	bh_hex_format(id, sizeof(id), hex);
	snprintf(c->inbox, sizeof(c->inbox), BH_SUBJECT_MANAGER_INBOX ".events.%s", hex);
	c->timer = timer_new(c);
	c->retry = timer_new(c);
	bh_bus_watch(bus, on_bus, c);
	session_begin(c);
	*ret = c;
	return 0;
}

void bh_consumer_free(struct bh_consumer *consumer)
{
	if (!consumer) {
		return;
	}
	bh_bus_unwatch(consumer->bus, on_bus, consumer);
	session_end(consumer);
	if (consumer->job && consumer->job->parsed) {
		job_free(consumer->loop, consumer->job);
	} else if (consumer->job) {
		consumer->job->consumer = NULL;
	}
	uv_close((uv_handle_t *)consumer->timer, free_handle);
	uv_close((uv_handle_t *)consumer->retry, free_handle);
	free(consumer);
}

json_t *bh_consumer_dump(const struct bh_consumer *consumer)
{
	const struct message *m;
	json_int_t waiting = 0;

	DL_FOREACH (consumer->queue, m) {
		waiting++;
	}
	return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I}", "ready", consumer->ready,
			 "last_error", consumer->last_error, "waiting", waiting, "received",
			 (json_int_t)consumer->received, "events", (json_int_t)consumer->events,
			 "redelivered", (json_int_t)consumer->redelivered, "resets",
			 (json_int_t)consumer->resets);
}
