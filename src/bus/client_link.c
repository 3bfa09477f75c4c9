/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/client_link.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#define OUT_DEFAULT    (64u << 20)
#define IN_MAX	       (32u << 20) /* bytes per subscription that wait for the loop */
#define IN_OVERHEAD    128
#define OUT_OVERHEAD   128
#define CONNECT_MS     2000
#define PING_MS	       10000
#define PINGS_OUT      2
#define WRITE_MS       10000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 2000
#define DRAIN_MS       1000
#define URLS_MAX       16

BH_COUNTER(bus_connects, "connections made to the bus");
BH_COUNTER(bus_disconnects, "connections to the bus that ended");
BH_COUNTER(bus_connect_failed, "tries to connect to the bus that failed");
BH_COUNTER(bus_out_refused, "messages refused because too many wait to be written");
BH_COUNTER(bus_out_lost, "messages dropped unwritten because the connection ended");
BH_COUNTER(bus_slow_consumer, "times libnats dropped messages because the loop was too slow");
BH_COUNTER(bus_errors, "asynchronous errors of libnats, such as refused subjects");

struct sub {
	uint64_t id;
	char *subject;
	size_t waiting;		/* bytes in the queue to the loop */
	uint64_t session;	/* in which it is subscribed; 0: none yet */
	natsSubscription *nats; /* of that session; the worker's */
	bool gone;
};

struct out {
	struct out *next;
	uint64_t session;
	size_t charge;
	char *subject;
	char *reply;
	char *msg_id;
	void *data;
	size_t size;
};

struct bh_link {
	pthread_mutex_t mutex;
	pthread_cond_t work; /* for the worker */
	pthread_cond_t room; /* for libnats' threads that wait for the loop */
	pthread_t thread;
	bool started;
	unsigned int refs; /* the owner, the connection, each libnats subscription */

	char *urls;
	char *name;
	char *ca_file;
	char *cert_file;
	char *key_file;
	char *server_name;
	size_t out_max;

	uv_async_t *wake; /* NULL once stopped */
	bool stopping;
	bool reconnect;
	bool conn_closed; /* libnats says so, of the present session */
	uint64_t session; /* grows */
	uint64_t connects;
	uint64_t next_sub;
	BH_VEC(struct sub *) subs;
	struct out *out_head, **out_tail;
	size_t out_waiting;
	struct bh_link_in *in_head, **in_tail;
	size_t in_waiting;
	char url[256];
	char last_error[BH_DIAG_TEXT_SIZE];
};

/* What a libnats callback gets. */
struct hook {
	struct bh_link *link;
	uint64_t sub;
	uint64_t session;
};

static void out_free(struct out *out)
{
	free(out->subject);
	free(out->reply);
	free(out->msg_id);
	free(out->data);
	free(out);
}

static void in_destroy(struct bh_link_in *in)
{
	natsMsg_Destroy(in->msg);
	free(in);
}

static void sub_free(struct sub *sub)
{
	free(sub->subject);
	free(sub);
}

/* Unlocks. */
static void link_unref_locked(struct bh_link *link)
{
	bool last = --link->refs == 0;

	pthread_mutex_unlock(&link->mutex);
	if (!last) {
		return;
	}
	while (link->in_head) {
		struct bh_link_in *in = link->in_head;

		link->in_head = in->next;
		in_destroy(in);
	}
	while (link->out_head) {
		struct out *out = link->out_head;

		link->out_head = out->next;
		out_free(out);
	}
	bh_vec_foreach (sub, &link->subs) {
		sub_free(*sub);
	}
	bh_vec_done(&link->subs);
	free(link->urls);
	free(link->name);
	free(link->ca_file);
	free(link->cert_file);
	free(link->key_file);
	free(link->server_name);
	pthread_cond_destroy(&link->work);
	pthread_cond_destroy(&link->room);
	pthread_mutex_destroy(&link->mutex);
	free(link);
}

static struct hook *hook_new(struct bh_link *link, uint64_t sub, uint64_t session)
{
	struct hook *hook = bh_alloc(sizeof(*hook));

	hook->link = link;
	hook->sub = sub;
	hook->session = session;
	pthread_mutex_lock(&link->mutex);
	link->refs++;
	pthread_mutex_unlock(&link->mutex);
	return hook;
}

static void hook_free(struct hook *hook)
{
	pthread_mutex_lock(&hook->link->mutex);
	link_unref_locked(hook->link);
	free(hook);
}

static struct sub *sub_find(struct bh_link *link, uint64_t id)
{
	bh_vec_foreach (sub, &link->subs) {
		if ((*sub)->id == id) {
			return *sub;
		}
	}
	return NULL;
}

/* ---- in, on libnats' threads and the worker ---- */
static void in_push_locked(struct bh_link *link, struct bh_link_in *in)
{
	in->next = NULL;
	*link->in_tail = in;
	link->in_tail = &in->next;
	link->in_waiting += in->size;
	if (link->wake) {
		uv_async_send(link->wake);
	}
}

static void push_state_locked(struct bh_link *link, enum bh_link_kind kind)
{
	struct bh_link_in *in = bh_alloc(sizeof(*in));

	in->kind = kind;
	in->session = link->session;
	in_push_locked(link, in);
}

static void on_message(natsConnection *nc, natsSubscription *nats, natsMsg *msg, void *arg)
{
	struct hook *hook = arg;
	struct bh_link *link = hook->link;
	size_t size = (size_t)natsMsg_GetDataLength(msg) + IN_OVERHEAD;
	struct bh_link_in *in;
	struct sub *sub;

	pthread_mutex_lock(&link->mutex);
	sub = sub_find(link, hook->sub);
	/* Waiting here lets libnats' own bounded queue fill up, and behind it it drops and says so.
	 */
	while (sub && sub->waiting && sub->waiting + size > IN_MAX && !link->stopping &&
	       link->session == hook->session) {
		pthread_cond_wait(&link->room, &link->mutex);
		sub = sub_find(link, hook->sub);
	}
	if (!sub || sub->gone || link->stopping || link->session != hook->session) {
		pthread_mutex_unlock(&link->mutex);
		natsMsg_Destroy(msg);
		return;
	}
	in = bh_alloc(sizeof(*in));
	in->kind = BH_LINK_MESSAGE;
	in->session = hook->session;
	in->sub = hook->sub;
	in->msg = msg;
	in->size = size;
	sub->waiting += size;
	in_push_locked(link, in);
	pthread_mutex_unlock(&link->mutex);
}

static void on_sub_complete(void *arg)
{
	hook_free(arg);
}

static void on_closed(natsConnection *nc, void *arg)
{
	struct hook *hook = arg;
	struct bh_link *link = hook->link;
	const char *text = NULL;

	pthread_mutex_lock(&link->mutex);
	if (link->session == hook->session) {
		natsStatus status = natsConnection_GetLastError(nc, &text);

		link->conn_closed = true;
		snprintf(link->last_error, sizeof(link->last_error), "connection lost: %s",
			 text && *text ? text : natsStatus_GetText(status));
		pthread_cond_signal(&link->work);
	}
	pthread_mutex_unlock(&link->mutex);
	hook_free(hook);
}

static void on_error(natsConnection *nc, natsSubscription *nats, natsStatus status, void *arg)
{
	struct bh_link *link = arg;
	const char *text = NULL;

	bh_counter_add(status == NATS_SLOW_CONSUMER ? &bus_slow_consumer : &bus_errors, 1);
	natsConnection_GetLastError(nc, &text);
	pthread_mutex_lock(&link->mutex);
	snprintf(link->last_error, sizeof(link->last_error), "%s",
		 text && *text ? text : natsStatus_GetText(status));
	pthread_mutex_unlock(&link->mutex);
}

/* ---- the worker ---- */
static natsStatus set_urls(natsOptions *opts, const char *urls)
{
	BH_FREE char *copy = bh_strdup(urls);
	const char *list[URLS_MAX];
	int count = 0;
	char *save = NULL;

	for (char *u = strtok_r(copy, ", ", &save); u && count < URLS_MAX;
	     u = strtok_r(NULL, ", ", &save)) {
		list[count++] = u;
	}
	return natsOptions_SetServers(opts, list, count);
}

#define TRY(call)                                                                                  \
	do {                                                                                       \
		if (s == NATS_OK) {                                                                \
			s = (call);                                                                \
		}                                                                                  \
	} while (0)

/* hook: for on_closed. The error handler gets the link itself: the connection's reference keeps it.
 */
static natsStatus connect_once(struct bh_link *link, struct hook *hook, natsConnection **ret)
{
	natsOptions *opts = NULL;
	natsStatus s = natsOptions_Create(&opts);

	TRY(set_urls(opts, link->urls));
	TRY(natsOptions_SetName(opts, link->name));
	TRY(natsOptions_SetTimeout(opts, CONNECT_MS));
	TRY(natsOptions_SetAllowReconnect(opts, false));
	TRY(natsOptions_SetPingInterval(opts, PING_MS));
	TRY(natsOptions_SetMaxPingsOut(opts, PINGS_OUT));
	TRY(natsOptions_SetWriteDeadline(opts, WRITE_MS));
	TRY(natsOptions_SetSendAsap(opts, true));
	TRY(natsOptions_SetNoEcho(opts, true));
	TRY(natsOptions_SetErrorHandler(opts, on_error, link));
	TRY(natsOptions_SetClosedCB(opts, on_closed, hook));
	TRY(natsOptions_SetSecure(opts, true));
	TRY(natsOptions_LoadCATrustedCertificates(opts, link->ca_file));
	TRY(natsOptions_LoadCertificatesChain(opts, link->cert_file, link->key_file));
	TRY(natsOptions_SetExpectedHostname(opts, link->server_name));
	TRY(natsConnection_Connect(ret, opts));
	natsOptions_Destroy(opts);
	return s;
}

static void note_failure(struct bh_link *link, natsStatus status)
{
	const char *text = nats_GetLastError(NULL);

	bh_counter_add(&bus_connect_failed, 1);
	pthread_mutex_lock(&link->mutex);
	snprintf(link->last_error, sizeof(link->last_error), "can't connect to %s: %s%s%s",
		 link->urls, natsStatus_GetText(status), text && *text ? ": " : "",
		 text ? text : "");
	pthread_mutex_unlock(&link->mutex);
}

static void deadline_in(struct timespec *ts, unsigned int ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000;
	}
}

/* Half of the time is random, so that a thousand hosts don't come back at one moment. */
static void backoff(struct bh_link *link, unsigned int ms)
{
	struct timespec ts;
	uint32_t dice = 0;

	if (getrandom(&dice, sizeof(dice), 0) != sizeof(dice)) {
		dice = 0;
	}
	deadline_in(&ts, ms / 2 + dice % (ms / 2 + 1));
	pthread_mutex_lock(&link->mutex);
	while (!link->stopping && !link->reconnect &&
	       pthread_cond_timedwait(&link->work, &link->mutex, &ts) != ETIMEDOUT) {
	}
	link->reconnect = false;
	pthread_mutex_unlock(&link->mutex);
}

static bool nats_subscribe(struct bh_link *link, natsConnection *nc, uint64_t id,
			   const char *subject, uint64_t session, natsSubscription **ret)
{
	struct hook *hook = hook_new(link, id, session);

	if (natsConnection_Subscribe(ret, nc, subject, on_message, hook) != NATS_OK) {
		hook_free(hook);
		return false;
	}
	/* fails only when the session is over already; then the hook is left behind, some bytes */
	return natsSubscription_SetOnCompleteCB(*ret, on_sub_complete, hook) == NATS_OK;
}

/* Called and returns locked. Brings the subscriptions in line; false when the session is lost. */
static bool sync_subs_locked(struct bh_link *link, natsConnection *nc)
{
	for (size_t i = 0; i < link->subs.count; i++) {
		struct sub *sub = link->subs.items[i];
		natsSubscription *nats = NULL;
		BH_FREE char *subject = NULL;
		uint64_t id = sub->id;
		bool ok;

		if (sub->gone) {
			nats = sub->nats;
			link->subs.items[i--] = link->subs.items[--link->subs.count];
			sub_free(sub);
			pthread_mutex_unlock(&link->mutex);
			natsSubscription_Destroy(nats);
			pthread_mutex_lock(&link->mutex);
			continue;
		}
		if (sub->session == link->session) {
			continue;
		}
		sub->session = link->session;
		subject = bh_strdup(sub->subject);
		pthread_mutex_unlock(&link->mutex);
		ok = nats_subscribe(link, nc, id, subject, link->session, &nats);
		pthread_mutex_lock(&link->mutex);
		/* only this thread removes, so the pointer is still good */
		sub->nats = nats;
		if (!ok) {
			return false;
		}
	}
	return true;
}

static natsStatus write_one(natsConnection *nc, const struct out *out)
{
	natsMsg *msg = NULL;
	natsStatus s;

	if (!out->msg_id) {
		return out->reply ? natsConnection_PublishRequest(nc, out->subject, out->reply,
								  out->data, (int)out->size)
				  : natsConnection_Publish(nc, out->subject, out->data,
							   (int)out->size);
	}
	s = natsMsg_Create(&msg, out->subject, out->reply, out->data, (int)out->size);
	TRY(natsMsgHeader_Set(msg, "Nats-Msg-Id", out->msg_id));
	TRY(natsConnection_PublishMsg(nc, msg));
	natsMsg_Destroy(msg);
	return s;
}

/* Called and returns locked. */
static bool write_all_locked(struct bh_link *link, natsConnection *nc)
{
	struct out *list = link->out_head;
	natsStatus s = NATS_OK;
	size_t written = 0;

	link->out_head = NULL;
	link->out_tail = &link->out_head;
	pthread_mutex_unlock(&link->mutex);
	while (list) {
		struct out *out = list;

		list = out->next;
		if (nc && s == NATS_OK && out->session == link->session) {
			s = write_one(nc, out);
		} else {
			bh_counter_add(&bus_out_lost, 1);
		}
		written += out->charge;
		out_free(out);
	}
	pthread_mutex_lock(&link->mutex);
	link->out_waiting -= written;
	if (s != NATS_OK) {
		snprintf(link->last_error, sizeof(link->last_error), "can't write: %s",
			 natsStatus_GetText(s));
	}
	return s == NATS_OK;
}

static void session_begin(struct bh_link *link, natsConnection *nc)
{
	char url[256] = "";

	(void)natsConnection_GetConnectedUrl(nc, url, sizeof(url));
	bh_counter_add(&bus_connects, 1);
	pthread_mutex_lock(&link->mutex);
	link->connects++;
	link->last_error[0] = '\0';
	snprintf(link->url, sizeof(link->url), "%s", url);
	push_state_locked(link, BH_LINK_UP);
	pthread_mutex_unlock(&link->mutex);
}

static void session_run(struct bh_link *link, natsConnection *nc)
{
	bool ok = true;

	session_begin(link, nc);
	pthread_mutex_lock(&link->mutex);
	while (ok && !link->conn_closed && !link->reconnect) {
		ok = sync_subs_locked(link, nc);
		if (ok && link->out_head) {
			ok = write_all_locked(link, nc);
			continue; /* more may have come meanwhile */
		}
		if (link->stopping) {
			break;
		}
		if (ok) {
			pthread_cond_wait(&link->work, &link->mutex);
		}
	}
	link->reconnect = false;
	if (link->stopping && ok && !link->conn_closed) {
		pthread_mutex_unlock(&link->mutex);
		(void)natsConnection_FlushTimeout(nc, DRAIN_MS);
		pthread_mutex_lock(&link->mutex);
	}
	pthread_mutex_unlock(&link->mutex);
}

static void session_end(struct bh_link *link, natsConnection *nc)
{
	BH_VEC(natsSubscription *) old = {};

	pthread_mutex_lock(&link->mutex);
	push_state_locked(link, BH_LINK_DOWN);
	link->session++; /* whoever waits for room in the old one gives up */
	pthread_cond_broadcast(&link->room);
	bh_vec_foreach (sub, &link->subs) {
		if ((*sub)->nats) {
			*bh_vec_push(&old) = (*sub)->nats;
			(*sub)->nats = NULL;
		}
	}
	(void)write_all_locked(link, NULL);
	pthread_mutex_unlock(&link->mutex);
	natsConnection_Close(nc);
	bh_vec_foreach (nats, &old) {
		natsSubscription_Destroy(*nats);
	}
	bh_vec_done(&old);
	natsConnection_Destroy(nc);
	bh_counter_add(&bus_disconnects, 1);
}

static bool stopping(struct bh_link *link)
{
	bool yes;

	pthread_mutex_lock(&link->mutex);
	yes = link->stopping;
	pthread_mutex_unlock(&link->mutex);
	return yes;
}

static void *worker(void *arg)
{
	struct bh_link *link = arg;
	unsigned int wait_ms = BACKOFF_MIN_MS;

	while (!stopping(link)) {
		natsConnection *nc = NULL;
		uint64_t began = bh_time_mono_ns();
		struct hook *hook;
		natsStatus s;

		pthread_mutex_lock(&link->mutex);
		link->session++;
		link->conn_closed = false;
		pthread_mutex_unlock(&link->mutex);
		hook = hook_new(link, 0, link->session);
		s = connect_once(link, hook, &nc);
		if (s == NATS_OK) {
			session_run(link, nc);
			session_end(link, nc);
		} else {
			hook_free(hook);
			note_failure(link, s);
		}
		if (s == NATS_OK && bh_time_mono_ns() - began > BH_NS_PER_S) {
			wait_ms = BACKOFF_MIN_MS;
		}
		backoff(link, wait_ms);
		wait_ms = wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait_ms * 2;
	}
	nats_ReleaseThreadMemory();
	return NULL;
}

/* ---- from the loop ---- */
struct bh_link *bh_link_new(const struct bh_bus_options *options, uv_async_t *wake)
{
	struct bh_link *link = bh_alloc(sizeof(*link));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&link->mutex, NULL);
	pthread_cond_init(&link->work, &attr);
	pthread_cond_init(&link->room, &attr);
	pthread_condattr_destroy(&attr);
	link->refs = 1;
	link->wake = wake;
	link->urls = bh_strdup(options->urls);
	link->name = bh_strdup(options->name);
	link->ca_file = bh_strdup(options->ca_file);
	link->cert_file = bh_strdup(options->cert_file);
	link->key_file = bh_strdup(options->key_file);
	link->server_name =
		bh_strdup(options->server_name ? options->server_name : BH_BUS_SERVER_NAME);
	link->out_max = options->out_max_bytes ? options->out_max_bytes : OUT_DEFAULT;
	link->out_tail = &link->out_head;
	link->in_tail = &link->in_head;
	return link;
}

int bh_link_start(struct bh_link *link, struct bh_diag *diag)
{
	int r = pthread_create(&link->thread, NULL, worker, link);

	if (r) {
		return bh_diag_set(diag, -r, "can't start a thread: %s", strerror(r));
	}
	link->started = true;
	return 0;
}

void bh_link_stop(struct bh_link *link)
{
	pthread_mutex_lock(&link->mutex);
	link->stopping = true;
	link->wake = NULL;
	pthread_cond_signal(&link->work);
	pthread_cond_broadcast(&link->room);
	pthread_mutex_unlock(&link->mutex);
	if (link->started) {
		pthread_join(link->thread, NULL);
	}
	pthread_mutex_lock(&link->mutex);
	link_unref_locked(link);
}

void bh_link_reconnect(struct bh_link *link)
{
	pthread_mutex_lock(&link->mutex);
	link->reconnect = true;
	pthread_cond_signal(&link->work);
	pthread_mutex_unlock(&link->mutex);
}

uint64_t bh_link_subscribe(struct bh_link *link, const char *subject)
{
	struct sub *sub = bh_alloc(sizeof(*sub));
	uint64_t id;

	sub->subject = bh_strdup(subject);
	pthread_mutex_lock(&link->mutex);
	id = ++link->next_sub;
	sub->id = id;
	*bh_vec_push(&link->subs) = sub;
	pthread_cond_signal(&link->work);
	pthread_mutex_unlock(&link->mutex);
	return id;
}

void bh_link_unsubscribe(struct bh_link *link, uint64_t id)
{
	struct sub *sub;

	pthread_mutex_lock(&link->mutex);
	sub = sub_find(link, id);
	if (sub) {
		sub->gone = true;
		pthread_cond_signal(&link->work);
		pthread_cond_broadcast(&link->room);
	}
	pthread_mutex_unlock(&link->mutex);
}

int bh_link_publish(struct bh_link *link, uint64_t session, const struct bh_bus_raw *msg)
{
	size_t charge = msg->size + OUT_OVERHEAD;
	struct out *out;

	if (msg->size > BH_BUS_MSG_MAX) {
		return -EMSGSIZE;
	}
	out = bh_alloc(sizeof(*out));
	out->session = session;
	out->charge = charge;
	out->subject = bh_strdup(msg->subject);
	out->reply = msg->reply ? bh_strdup(msg->reply) : NULL;
	out->msg_id = msg->msg_id ? bh_strdup(msg->msg_id) : NULL;
	out->data = bh_memdup(msg->data, msg->size);
	out->size = msg->size;
	pthread_mutex_lock(&link->mutex);
	if (link->out_waiting + charge > link->out_max) {
		pthread_mutex_unlock(&link->mutex);
		out_free(out);
		bh_counter_add(&bus_out_refused, 1);
		return -ENOBUFS;
	}
	link->out_waiting += charge;
	*link->out_tail = out;
	link->out_tail = &out->next;
	pthread_cond_signal(&link->work);
	pthread_mutex_unlock(&link->mutex);
	return 0;
}

struct bh_link_in *bh_link_take(struct bh_link *link)
{
	struct bh_link_in *in;

	pthread_mutex_lock(&link->mutex);
	in = link->in_head;
	if (in) {
		link->in_head = in->next;
		if (!link->in_head) {
			link->in_tail = &link->in_head;
		}
	}
	pthread_mutex_unlock(&link->mutex);
	return in;
}

void bh_link_in_free(struct bh_link *link, struct bh_link_in *in)
{
	struct sub *sub;

	pthread_mutex_lock(&link->mutex);
	link->in_waiting -= in->size;
	sub = in->kind == BH_LINK_MESSAGE ? sub_find(link, in->sub) : NULL;
	if (sub) {
		sub->waiting -= in->size;
		pthread_cond_broadcast(&link->room);
	}
	pthread_mutex_unlock(&link->mutex);
	in_destroy(in);
}

void bh_link_stats_get(struct bh_link *link, struct bh_link_stats *ret)
{
	pthread_mutex_lock(&link->mutex);
	ret->in_waiting = link->in_waiting;
	ret->out_waiting = link->out_waiting;
	ret->connects = link->connects;
	snprintf(ret->url, sizeof(ret->url), "%s", link->url);
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", link->last_error);
	pthread_mutex_unlock(&link->mutex);
}
