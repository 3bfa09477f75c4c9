/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/client.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/util.h"
#include "bus/client_link.h"
#include "bus/subject.h"
#include "model/id.h"

#include <errno.h>
#include <stdarg.h>
#include <uthash.h>
#include <utlist.h>

#define TAKE_MAX 512 /* messages per turn of the loop */

BH_COUNTER(bus_in_messages, "messages received");
BH_COUNTER(bus_requests_timeout, "requests that got no answer in time");
BH_COUNTER(bus_requests_failed, "requests that could not be sent or lost their connection");
BH_COUNTER(bus_bad_messages, "messages that were not what this bus carries");
BH_COUNTER(bus_foreign_replies, "requests dropped because their reply would go where it must not");
BH_COUNTER(bus_replies_late, "replies that nobody waited for any more");
BH_COUNTER(bus_replies_lost, "replies that could not be sent");

struct watcher {
	bh_bus_state_fn *fn;
	void *arg;
};

struct service { /* or a plain subscription */
	uint64_t sub;
	char *subject;
	char *reply_prefix; /* NULL: raw */
	bh_bus_serve_fn *serve;
	bh_bus_raw_fn *raw;
	void *arg;
	UT_hash_handle hh;
};

struct pending {	  /* a request of ours */
	uv_timer_t timer; /* first: handle and pending are one address */
	uint64_t token;
	int err; /* what the timer says */
	bool raw;
	bh_bus_reply_fn *fn;
	bh_bus_raw_reply_fn *raw_fn;
	void *arg;
	struct bh_bus *bus;
	UT_hash_handle hh;
};

struct bh_bus_request {
	struct bh_bus *bus; /* NULL when it was freed meanwhile */
	char *subject;
	char *reply;
	char host[BH_NAME_MAX + 1];
	struct bh_bus_request *prev, *next;
};

struct bh_bus {
	uv_loop_t *loop;
	uv_async_t wake;
	struct bh_link *link; /* NULL once freed */
	bool up;
	uint64_t session;
	char *inbox; /* prefix of this client's replies, with a final dot */
	uint64_t inbox_sub;
	uint64_t next_token;
	struct service *services;
	struct pending *pending;
	struct bh_bus_request *requests;
	BH_VEC(struct watcher) watchers;
	uint64_t in_messages;
	char last_error[BH_DIAG_TEXT_SIZE];
};

/* ---- messages ---- */
int bh_bus_msg_parse(const void *data, size_t size, struct bh_bus_msg *ret, struct bh_diag *diag)
{
	const char *text = data;
	const char *end = size ? memchr(text, '\n', size) : NULL;
	size_t json_size = end ? (size_t)(end - text) : size;
	json_t *json = NULL;
	int r = bh_json_load(text, json_size, BH_BUS_MSG_MAX, &json, diag);

	if (r) {
		return r;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		return bh_diag_set(diag, -EBADMSG, "a message must start with a JSON object");
	}
	ret->json = json;
	ret->bytes = end ? end + 1 : NULL;
	ret->size = end ? size - json_size - 1 : 0;
	return 0;
}

/* Owned. */
static char *msg_format(const json_t *json, const void *bytes, size_t size, size_t *ret_size)
{
	char *text = bh_json_dump(json);
	size_t n = strlen(text);

	if (bytes) {
		text = bh_realloc_array(text, n + 1 + size, 1);
		text[n] = '\n';
		memcpy(text + n + 1, bytes, size);
		n += 1 + size;
	}
	*ret_size = n;
	return text;
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* ---- our requests ---- */
static void pending_end(struct pending *p, int err, const struct bh_bus_raw *raw)
{
	struct bh_bus_msg msg = {};
	bool have = false;

	if (p->bus) {
		HASH_DEL(p->bus->pending, p);
	}
	uv_close((uv_handle_t *)&p->timer, free_handle);
	if (err == -ETIMEDOUT) {
		bh_counter_add(&bus_requests_timeout, 1);
	} else if (err < 0) {
		bh_counter_add(&bus_requests_failed, 1);
	}
	if (p->raw) {
		p->raw_fn(err, err ? NULL : raw, p->arg);
		return;
	}
	if (!err && bh_bus_msg_parse(raw->data, raw->size, &msg, NULL)) {
		bh_counter_add(&bus_bad_messages, 1);
		err = -EBADMSG;
	} else if (!err) {
		have = true;
		err = json_is_true(json_object_get(msg.json, "ok")) ? 0 : BH_BUS_REFUSED;
	}
	p->fn(err, have ? &msg : NULL, p->arg);
	json_decref(msg.json);
}

static void on_pending_timer(uv_timer_t *timer)
{
	struct pending *p = (struct pending *)timer;

	pending_end(p, p->err, NULL);
}

static struct pending *pending_new(struct bh_bus *bus, void *arg)
{
	struct pending *p = bh_alloc(sizeof(*p));

	p->arg = arg;
	uv_timer_init(bus->loop, &p->timer);
	if (bus->link) { /* else a callback asks again while the bus is being freed */
		p->bus = bus;
		p->token = ++bus->next_token;
		HASH_ADD(hh, bus->pending, token, sizeof(p->token), p);
	}
	return p;
}

/* Sends, and arms the timer for the answer or, when it can't be sent, for saying so. */
static void pending_send(struct pending *p, const char *subject, const char *msg_id,
			 const void *data, size_t size, uint64_t timeout_ms)
{
	struct bh_bus *bus = p->bus;
	BH_FREE char *reply = NULL;
	struct bh_bus_raw out = {.subject = subject, .msg_id = msg_id, .data = data, .size = size};
	int r = bus ? -ENOTCONN : -ECANCELED;

	if (bus && bus->up) {
		reply = bh_asprintf("%s%llu", bus->inbox, (unsigned long long)p->token);
		out.reply = reply;
		r = bh_link_publish(bus->link, bus->session, &out);
	}
	p->err = r ? r : -ETIMEDOUT;
	uv_timer_start(&p->timer, on_pending_timer, r ? 0 : timeout_ms, 0);
}

void bh_bus_request(struct bh_bus *bus, const char *subject, const struct bh_bus_msg *msg,
		    uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg)
{
	struct pending *p = pending_new(bus, arg);
	size_t size;
	BH_FREE char *data = msg_format(msg->json, msg->bytes, msg->size, &size);

	p->fn = fn;
	pending_send(p, subject, NULL, data, size, timeout_ms);
}

void bh_bus_request_raw(struct bh_bus *bus, const struct bh_bus_raw *msg, uint64_t timeout_ms,
			bh_bus_raw_reply_fn *fn, void *arg)
{
	struct pending *p = pending_new(bus, arg);

	p->raw = true;
	p->raw_fn = fn;
	pending_send(p, msg->subject, msg->msg_id, msg->data, msg->size, timeout_ms);
}

int bh_bus_publish(struct bh_bus *bus, const struct bh_bus_raw *msg)
{
	return bus->up ? bh_link_publish(bus->link, bus->session, msg) : -ENOTCONN;
}

/* A snapshot: a callback may make new requests, which must not end here. */
static void fail_all(struct bh_bus *bus, int err)
{
	uint64_t upto = bus->next_token;
	struct pending *p;
	struct pending *next;

	HASH_ITER (hh, bus->pending, p, next) {
		if (p->token <= upto) {
			p->err = err;
			uv_timer_start(&p->timer, on_pending_timer, 0, 0);
		}
	}
}

static void on_reply(struct bh_bus *bus, natsMsg *nats)
{
	const char *subject = natsMsg_GetSubject(nats);
	struct bh_bus_raw raw = {.subject = subject,
				 .data = natsMsg_GetData(nats),
				 .size = (size_t)natsMsg_GetDataLength(nats)};
	struct pending *p = NULL;
	uint64_t token;

	if (!bh_parse_u64(subject + strlen(bus->inbox), 1, UINT64_MAX, &token)) {
		HASH_FIND(hh, bus->pending, &token, sizeof(token), p);
	}
	if (!p) {
		bh_counter_add(&bus_replies_late, 1);
		return;
	}
	pending_end(p, natsMsg_IsNoResponders(nats) ? -EHOSTUNREACH : 0, &raw);
}

const char *bh_bus_reply_code(int err, const struct bh_bus_msg *reply)
{
	if (err == BH_BUS_REFUSED && reply) {
		return bh_json_str_or(reply->json, "code", "");
	}
	switch (err) {
	case 0:
		return "";
	case -ETIMEDOUT:
		return "timeout";
	case -ENOTCONN:
		return "bus-down";
	case -EHOSTUNREACH:
		return "not-there";
	default:
		return "failed";
	}
}

const char *bh_bus_reply_text(int err, const struct bh_bus_msg *reply)
{
	if (err == BH_BUS_REFUSED && reply) {
		return bh_json_str_or(reply->json, "error", "refused without a reason");
	}
	switch (err) {
	case 0:
		return "";
	case -ETIMEDOUT:
		return "no answer in time";
	case -ENOTCONN:
		return "the bus is down";
	case -EHOSTUNREACH:
		return "nobody there to answer";
	case -EBADMSG:
		return "the answer was no valid message";
	case -ECANCELED:
		return "given up because the program ends";
	default:
		return strerror(-err);
	}
}

/* ---- requests of others ---- */
static void request_end(struct bh_bus_request *req)
{
	if (req->bus) {
		DL_DELETE(req->bus->requests, req);
	}
	free(req->subject);
	free(req->reply);
	free(req);
}

const char *bh_bus_request_subject(const struct bh_bus_request *req)
{
	return req->subject;
}

const char *bh_bus_request_host(const struct bh_bus_request *req)
{
	return req->host;
}

static void reply_send(struct bh_bus_request *req, json_t *body, const void *bytes, size_t count)
{
	size_t size;
	BH_FREE char *data = msg_format(body, bytes, count, &size);
	struct bh_bus_raw out = {.subject = req->reply, .data = data, .size = size};

	if (!req->bus || bh_bus_publish(req->bus, &out)) {
		bh_counter_add(&bus_replies_lost, 1);
	}
	json_decref(body);
	request_end(req);
}

void bh_bus_reply_bytes(struct bh_bus_request *req, json_t *body, const void *bytes, size_t size)
{
	if (!body) {
		body = json_object();
	}
	if (!json_object_get(body, "ok")) {
		json_object_set_new(body, "ok", json_true());
	}
	reply_send(req, body, bytes, size);
}

void bh_bus_reply(struct bh_bus_request *req, json_t *body)
{
	bh_bus_reply_bytes(req, body, NULL, 0);
}

void bh_bus_reply_error(struct bh_bus_request *req, const char *code, const char *fmt, ...)
{
	struct bh_diag text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text.text, sizeof(text.text), fmt, ap);
	va_end(ap);
	reply_send(req,
		   json_pack("{s:b, s:s, s:s%}", "ok", 0, "code", code, "error", text.text,
			     strlen(text.text)),
		   NULL, 0);
}

/* The token of subject where pattern has its `*`; length 0 when there is none. */
static const char *wildcard_token(const char *pattern, const char *subject, size_t *ret_len)
{
	const char *star = strchr(pattern, '*');
	size_t at = star ? (size_t)(star - pattern) : 0;

	*ret_len = 0;
	if (!star || strlen(subject) < at) {
		return subject;
	}
	*ret_len = strcspn(subject + at, ".");
	return subject + at;
}

static bool reply_allowed(const struct service *service, const char *subject, const char *reply)
{
	char want[2 * BH_SUBJECT_SIZE];
	const char *star = strchr(service->reply_prefix, '*');
	size_t token_len;
	const char *token = wildcard_token(service->subject, subject, &token_len);

	if (star) {
		snprintf(want, sizeof(want), "%.*s%.*s%s", (int)(star - service->reply_prefix),
			 service->reply_prefix, (int)token_len, token, star + 1);
	} else {
		snprintf(want, sizeof(want), "%s", service->reply_prefix);
	}
	return reply && !strncmp(reply, want, strlen(want));
}

static void on_request(struct bh_bus *bus, const struct service *service, natsMsg *nats)
{
	const char *subject = natsMsg_GetSubject(nats);
	const char *reply = natsMsg_GetReply(nats);
	struct bh_bus_request *req;
	struct bh_bus_msg msg = {};
	struct bh_diag diag;

	if (!reply_allowed(service, subject, reply)) {
		bh_counter_add(&bus_foreign_replies, 1);
		return;
	}
	req = bh_alloc(sizeof(*req));
	req->bus = bus;
	req->subject = bh_strdup(subject);
	req->reply = bh_strdup(reply);
	if (bh_subject_name(subject, req->host, sizeof(req->host))) {
		req->host[0] = '\0';
	}
	DL_APPEND(bus->requests, req);
	if (bh_bus_msg_parse(natsMsg_GetData(nats), (size_t)natsMsg_GetDataLength(nats), &msg,
			     &diag)) {
		bh_counter_add(&bus_bad_messages, 1);
		bh_bus_reply_error(req, "bad-message", "%s", diag.text);
		return;
	}
	service->serve(req, &msg, service->arg);
	json_decref(msg.json);
}

static struct service *service_new(struct bh_bus *bus, const char *subject, void *arg)
{
	struct service *service = bh_alloc(sizeof(*service));

	service->subject = bh_strdup(subject);
	service->arg = arg;
	service->sub = bh_link_subscribe(bus->link, subject);
	HASH_ADD(hh, bus->services, sub, sizeof(service->sub), service);
	return service;
}

static void service_free(struct bh_bus *bus, struct service *service)
{
	HASH_DEL(bus->services, service);
	free(service->subject);
	free(service->reply_prefix);
	free(service);
}

void bh_bus_serve(struct bh_bus *bus, const char *subject, const char *reply_prefix,
		  bh_bus_serve_fn *fn, void *arg)
{
	struct service *service = service_new(bus, subject, arg);

	service->reply_prefix = bh_strdup(reply_prefix);
	service->serve = fn;
}

void bh_bus_subscribe(struct bh_bus *bus, const char *subject, bh_bus_raw_fn *fn, void *arg)
{
	service_new(bus, subject, arg)->raw = fn;
}

void bh_bus_unsubscribe(struct bh_bus *bus, bh_bus_raw_fn *fn, void *arg)
{
	struct service *service;
	struct service *next;

	HASH_ITER (hh, bus->services, service, next) {
		if (service->raw == fn && service->arg == arg) {
			bh_link_unsubscribe(bus->link, service->sub);
			service_free(bus, service);
		}
	}
}

/* ---- what comes in ---- */
static void on_message(struct bh_bus *bus, const struct bh_link_in *in)
{
	struct service *service = NULL;

	bus->in_messages++;
	bh_counter_add(&bus_in_messages, 1);
	if (in->sub == bus->inbox_sub) {
		on_reply(bus, in->msg);
		return;
	}
	HASH_FIND(hh, bus->services, &in->sub, sizeof(in->sub), service);
	if (!service) {
		return;
	}
	if (service->serve) {
		on_request(bus, service, in->msg);
	} else {
		struct bh_bus_raw raw = {.subject = natsMsg_GetSubject(in->msg),
					 .reply = natsMsg_GetReply(in->msg),
					 .data = natsMsg_GetData(in->msg),
					 .size = (size_t)natsMsg_GetDataLength(in->msg)};

		service->raw(&raw, service->arg);
	}
}

static void on_state(struct bh_bus *bus, bool up, uint64_t session)
{
	bus->up = up;
	bus->session = session;
	if (!up) {
		fail_all(bus, -ENOTCONN);
	}
	/* by index: a listener may add or remove listeners */
	for (size_t i = 0; i < bus->watchers.count && bus->link; i++) {
		struct watcher w = bus->watchers.items[i];

		w.fn(bus, up, w.arg);
	}
}

static void on_wake(uv_async_t *wake)
{
	struct bh_bus *bus = wake->data;

	for (unsigned int i = 0; bus->link && i < TAKE_MAX; i++) {
		struct bh_link *link = bus->link;
		struct bh_link_in *in = bh_link_take(link);

		if (!in) {
			return;
		}
		if (in->kind == BH_LINK_MESSAGE) {
			on_message(bus, in);
		} else {
			on_state(bus, in->kind == BH_LINK_UP, in->session);
		}
		if (!bus->link) { /* a callback freed the bus: the link may be gone */
			natsMsg_Destroy(in->msg);
			free(in);
			return;
		}
		bh_link_in_free(link, in);
	}
	if (bus->link) {
		uv_async_send(&bus->wake);
	}
}

/* ---- life ---- */
int bh_bus_new(uv_loop_t *loop, const struct bh_bus_options *options, struct bh_bus **ret,
	       struct bh_diag *diag)
{
	struct bh_bus *bus = bh_alloc(sizeof(*bus));
	BH_FREE char *subject = NULL;
	uint8_t id[16];
	char hex[33];
	int r = uv_async_init(loop, &bus->wake, on_wake);

	if (r) {
		free(bus);
		return bh_diag_set(diag, r, "can't prepare the loop: %s", uv_strerror(r));
	}
	bus->loop = loop;
	bus->wake.data = bus;
	bh_uuid_random(id);
	bh_hex_format(id, sizeof(id), hex);
	bus->inbox = bh_asprintf("%s.%s.", options->inbox, hex);
	bus->link = bh_link_new(options, &bus->wake);
	subject = bh_asprintf("%s*", bus->inbox);
	bus->inbox_sub = bh_link_subscribe(bus->link, subject);
	if (options->on_state) {
		bh_bus_watch(bus, options->on_state, options->arg);
	}
	r = bh_link_start(bus->link, diag);
	if (r) {
		bh_bus_free(bus);
		return r;
	}
	*ret = bus;
	return 0;
}

static void on_bus_closed(uv_handle_t *handle)
{
	struct bh_bus *bus = BH_CONTAINER_OF(handle, struct bh_bus, wake);

	free(bus->inbox);
	bh_vec_done(&bus->watchers);
	free(bus);
}

void bh_bus_free(struct bh_bus *bus)
{
	struct service *service;
	struct service *next_service;
	struct pending *p;
	struct pending *next;
	struct bh_bus_request *req;

	if (!bus) {
		return;
	}
	bh_link_stop(bh_steal(&bus->link));
	bus->up = false;
	HASH_ITER (hh, bus->pending, p, next) {
		pending_end(p, -ECANCELED, NULL);
	}
	HASH_ITER (hh, bus->services, service, next_service) {
		service_free(bus, service);
	}
	DL_FOREACH (bus->requests, req) {
		req->bus = NULL;
	}
	uv_close((uv_handle_t *)&bus->wake, on_bus_closed);
}

bool bh_bus_up(const struct bh_bus *bus)
{
	return bus->up;
}

const char *bh_bus_last_error(const struct bh_bus *bus)
{
	struct bh_bus *b = (struct bh_bus *)(uintptr_t)bus; /* only the text kept for the caller */
	struct bh_link_stats stats;

	if (bus->up) {
		return "";
	}
	bh_link_stats_get(bus->link, &stats);
	snprintf(b->last_error, sizeof(b->last_error), "%s", stats.last_error);
	return b->last_error;
}

void bh_bus_reconnect(struct bh_bus *bus)
{
	bh_link_reconnect(bus->link);
}

void bh_bus_watch(struct bh_bus *bus, bh_bus_state_fn *fn, void *arg)
{
	*bh_vec_push(&bus->watchers) = (struct watcher){.fn = fn, .arg = arg};
}

void bh_bus_unwatch(struct bh_bus *bus, bh_bus_state_fn *fn, void *arg)
{
	for (size_t i = 0; i < bus->watchers.count; i++) {
		struct watcher *w = &bus->watchers.items[i];

		if (w->fn == fn && w->arg == arg) {
			memmove(w, w + 1, (--bus->watchers.count - i) * sizeof(*w));
			return;
		}
	}
}

json_t *bh_bus_dump(const struct bh_bus *bus)
{
	struct bh_link_stats stats;

	bh_link_stats_get(bus->link, &stats);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "up", bus->up, "last_error",
			 stats.last_error, "url", stats.url, "connects", (json_int_t)stats.connects,
			 "in_messages", (json_int_t)bus->in_messages, "in_waiting",
			 (json_int_t)stats.in_waiting, "out_waiting", (json_int_t)stats.out_waiting,
			 "requests", (json_int_t)HASH_COUNT(bus->pending));
}
