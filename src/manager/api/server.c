/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd on the loop, and the life of a request. */
#include "manager/api/auth.h"
#include "manager/api/batch.h"
#include "manager/api/console.h"
#include "manager/api/denied.h"
#include "manager/api/framing.h"
#include "manager/api/listen.h"
#include "manager/api/patience.h"
#include "manager/api/record.h"
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <utlist.h>

#define CONNECTIONS_MAX	     1200
#define CONNECTION_MEMORY    (64u * 1024)
#define CONNECTION_TIMEOUT_S 30
#define RUNS_AT_ONCE	     32
#define PAUSE_MAX_MS	     32
#define RETIRING_MAX	     4
/* Ciphers that prove what they hide, keys that are forgotten afterwards. */
#define TLS_PRIORITIES                                                                             \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:"  \
	"+AES-128-GCM:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-GROUP-FFDHE2048:%SERVER_PRECEDENCE"
#define CONSOLE_BYTES_SURE (1u << 20)

BH_COUNTER(api_requests, "requests to the API");
BH_COUNTER(api_reloads, "times that a new certificate of the API was taken");
BH_COUNTER(api_doubtful, "requests refused because it was not clear where they end");
BH_COUNTER(api_unchanged, "answers of the API that the caller had already (304)");
BH_COUNTER(api_too_large, "requests whose body was over the limit");

struct daemon {
	struct manager_api *api;
	struct MHD_Daemon *mhd;
	int fd;
	bool local;
	uv_poll_t poll;
	uv_timer_t timer;
	uint64_t pause_ms;	    /* before the next run that libmicrohttpd wants at once */
	unsigned int handles;	    /* that are still being closed */
	struct daemon *prev, *next; /* retiring */
};

struct manager_api {
	struct manager_parts parts;
	struct daemon *tcp, *local; /* NULL: does not listen there */
	struct daemon *retiring;    /* with older certificates, for the connections they have */
	struct manager_auth *auth;
	struct manager_console *console; /* NULL: none is installed */
	struct manager_request *requests;
	struct manager_follower *followers;
	struct manager_follow_group *groups; /* of followers */
	char *unix_path;
	char *cert_file, *key_file, *ca_pem;
	char *cert, *key; /* PEM, as they are used; NULL without TCP */
	struct manager_denied *denied;
	struct manager_batch *batch;
	struct manager_crowd *crowd;
	const struct manager_proxies *proxies;
	struct manager_patience *patience;
	uint8_t etag_key[crypto_generichash_KEYBYTES]; /* new with each run */
	unsigned int port;
	bool closing;
};

struct manager_follower **manager_api_followers(struct manager_api *api)
{
	return &api->followers;
}

struct manager_follow_group **manager_api_groups(struct manager_api *api)
{
	return &api->groups;
}

struct manager_auth *manager_api_auth(const struct manager_api *api)
{
	return api->auth;
}

const uint8_t *manager_api_etag_key(const struct manager_api *api)
{
	return api->etag_key;
}

struct manager_denied *manager_api_denied(const struct manager_api *api)
{
	return api->denied;
}

const struct manager_proxies *manager_api_proxies(const struct manager_api *api)
{
	return api->proxies;
}

struct manager_batch *manager_api_batch(const struct manager_api *api)
{
	return api->batch;
}

struct manager_auth_rules manager_api_rules(const struct manager_api *api, uint64_t now_ns)
{
	const struct manager_requests *reqs = api->parts.requests;
	uint64_t fresh_s = manager_accounts_settings(api->parts.accounts)->fresh_s;

	return (struct manager_auth_rules){.now_ns = now_ns,
					   .fresh_ns = fresh_s * BH_NS_PER_S,
					   .approval = reqs ? manager_requests_approval(reqs) : 0};
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

/* libmicrohttpd 0.9.75 says "at once" for as long as a TLS handshake is unfinished, so what it says
 * can't be followed as it is: one silent client would take the loop. A few runs at once serve a
 * real burst; then there is a pause that grows until its descriptor reports something new. */
static void run(struct daemon *d, bool fresh)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	if (!d) {
		return;
	}
	for (int i = 0; i < RUNS_AT_ONCE && timeout_ms == 0; i++) {
		MHD_run(d->mhd);
		if (MHD_get_timeout(d->mhd, &timeout_ms) != MHD_YES) {
			uv_timer_stop(&d->timer);
			return;
		}
	}
	if (timeout_ms == 0) {
		d->pause_ms = fresh || !d->pause_ms ? 1 : d->pause_ms * 2;
		d->pause_ms = d->pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : d->pause_ms;
		timeout_ms = d->pause_ms;
	}
	uv_timer_start(&d->timer, on_timer, timeout_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data, false);
}

static void on_poke(uv_timer_t *timer)
{
	run(timer->data, true);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	run(poll->data, true);
}

static void poke(struct daemon *d)
{
	if (d) {
		uv_timer_start(&d->timer, on_poke, 0, 0);
	}
}

void manager_api_poke(struct manager_api *api)
{
	struct daemon *d;

	poke(api->tcp);
	poke(api->local);
	DL_FOREACH (api->retiring, d) {
		poke(d);
	}
}

/* ---- answers ---- */

/* To who has the answer already: that it is as before. */
static void leave_out_known(struct manager_request *req)
{
	if (req->status == 200 && *req->etag &&
	    manager_console_known(MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND,
							      MHD_HTTP_HEADER_IF_NONE_MATCH),
				  req->etag)) {
		req->status = MHD_HTTP_NOT_MODIFIED;
		req->out_size = 0;
		req->content_type = NULL;
		bh_counter_add(&api_unchanged, 1);
	}
}

static enum MHD_Result send_answer(struct manager_request *req)
{
	struct MHD_Response *response;
	char number[16];
	enum MHD_Result r;

	leave_out_known(req);
	/* What a handler sends by itself may have no end; the console's files have. */
	manager_patience_turn(req->connection, req->ready && req->route ? PHASE_WORK : PHASE_ANSWER,
			      req->ready ? CONSOLE_BYTES_SURE : req->out_size);
	if (req->ready) {
		req->queued = true;
		return MHD_queue_response(req->connection, req->status, req->ready);
	}
	response = MHD_create_response_from_buffer(req->out_size, req->out, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		return MHD_NO;
	}
	req->out = NULL;
	req->queued = true;
	if (req->content_type) {
		MHD_add_response_header(response, "Content-Type", req->content_type);
	}
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	/* No answer is a page that loads anything; those on the way of a login lead on. */
	MHD_add_response_header(response, "Content-Security-Policy",
				"default-src 'none'; frame-ancestors 'none'");
	if (req->close) {
		MHD_add_response_header(response, "Connection", "close");
	}
	if (*req->allow) {
		MHD_add_response_header(response, "Allow", req->allow);
	}
	if (*req->etag) {
		char weak[API_ETAG_SIZE + 2];

		snprintf(weak, sizeof(weak), "W/%s", req->etag);
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, weak);
	}
	if (*req->set_cookie) {
		MHD_add_response_header(response, "Set-Cookie", req->set_cookie);
		sodium_memzero(req->set_cookie, sizeof(req->set_cookie));
	}
	if (req->retry_after_s) {
		snprintf(number, sizeof(number), "%u", req->retry_after_s);
		MHD_add_response_header(response, "Retry-After", number);
	}
	if (req->status == 401) {
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	}
	r = MHD_queue_response(req->connection, req->status, response);
	MHD_destroy_response(response);
	return r;
}

/* ---- who, where to ---- */

/* Once per request, when its headers are there: who, where to, and whether he may. */
static void check(struct manager_request *req)
{
	req->checked = true;
	if (req->api->console && manager_console_owns(req->path)) {
		req->ready = manager_console_answer(req->api->console, req->connection, req->method,
						    req->path, !req->local, &req->status);
		req->answered = true;
		return;
	}
	if (!manager_route_check_path(req)) {
		return;
	}
	manager_route_split(req);
	req->route = manager_route_find(req);
	manager_request_identify(req);
	if (!req->answered && req->route) {
		manager_route_check_arguments(req);
	}
	if (!req->answered && req->route) {
		manager_request_authorize(req);
	}
	if (req->answered || req->route) {
		return;
	}
	if (*req->allow) {
		manager_reply_errorf(req, 405, "method_not_allowed", "%s is not for this path",
				     req->method);
	} else {
		manager_reply_errorf(req, 404, "not_found", "there is no %.200s", req->path);
	}
}

static struct manager_request *begin(struct daemon *d, struct MHD_Connection *connection,
				     const char *url, const char *method)
{
	struct manager_request *req = bh_alloc(sizeof(*req));

	bh_counter_add(&api_requests, 1);
	req->api = d->api;
	req->parts = &d->api->parts;
	req->connection = connection;
	req->method = method;
	req->path = bh_strdup(url);
	req->local = d->local;
	bh_wbuf_init(&req->body, API_BODY_MAX);
	manager_request_peer(req);
	req->crowded = req->proxied && !manager_crowd_enter(d->api->crowd, req->from);
	DL_APPEND(d->api->requests, req);
	return req;
}

static enum MHD_Result send_crowded(struct manager_request *req)
{
	req->checked = req->close = true;
	req->retry_after_s = 5;
	manager_reply_errorf(req, 429, "too_many_requests",
			     "%d requests of this address are open already", MANAGER_CROWD_MAX);
	return send_answer(req);
}

/* Of a request that is answered already it is only read. */
static void take_body(struct manager_request *req, const char *data, size_t size)
{
	req->body_size += size;
	if (req->body_size > API_BODY_MAX) {
		req->too_large = true;
		bh_wbuf_done(&req->body);
	} else if (!req->answered) {
		bh_wbuf_put(&req->body, data, size);
	}
}

/* Over the limit by its own word: answered before it is sent. */
static bool announces_too_much(struct manager_request *req)
{
	const char *s =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Content-Length");
	uint64_t v;

	return s && bh_parse_u64(s, 0, UINT64_MAX, &v) == 0 && v > API_BODY_MAX;
}

static enum MHD_Result send_too_large(struct manager_request *req)
{
	bh_counter_add(&api_too_large, 1);
	if (!req->answered) {
		manager_reply_errorf(req, 413, "too_large", "a body may have %u bytes",
				     API_BODY_MAX);
	}
	return send_answer(req);
}

/* Before anything is done for it. Nothing that follows on the connection is read. */
static enum MHD_Result send_doubtful(struct manager_request *req, const char *doubt)
{
	bh_counter_add(&api_doubtful, 1);
	req->checked = req->close = true;
	manager_reply_errorf(req, 400, "bad_request", "%s", doubt);
	return send_answer(req);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct daemon *d = cls;
	struct manager_request *req = *state;
	const char *doubt;

	if (!req) {
		*state = begin(d, connection, url, method);
		req = *state;
		doubt = manager_framing_doubt(connection, version);
		if (doubt) {
			return send_doubtful(req, doubt);
		}
		if (req->crowded) {
			return send_crowded(req);
		}
		check(req);
		manager_patience_turn(connection, PHASE_BODY, 0);
		req->too_large = announces_too_much(req);
		/* An answer before the body ends the connection, often before the answer is read:
		 * only where the body is too much to be read. */
		return req->too_large ? send_too_large(req) : MHD_YES;
	}
	if (req->queued) {
		*size = 0;
		return MHD_YES;
	}
	if (*size) {
		take_body(req, data, *size);
		manager_patience_more(connection, *size);
		*size = 0;
		return req->body_size > API_BODY_READ_MAX ? MHD_NO : MHD_YES;
	}
	if (req->too_large) {
		return send_too_large(req);
	}
	if (!req->answered && !req->suspended && !req->follower) {
		manager_patience_turn(connection, PHASE_WORK, 0);
		if (manager_record_begins(req)) {
			manager_batch_join(req);
		} else {
			req->route->fn(req);
		}
	}
	if (req->answered && !req->follower && !manager_batch_holds(req)) {
		return send_answer(req);
	}
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct manager_request *req = *state;

	if (!req) {
		return;
	}
	*state = NULL;
	manager_patience_turn(connection, PHASE_ASK, 0);
	if (req->follower) {
		manager_follower_detach(req->follower,
					why == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED);
	}
	if (req->wait) {
		manager_wait_cancel(req->parts->dist, req->wait);
	}
	if (req->password_job) {
		manager_passwords_cancel(manager_accounts_passwords(req->parts->accounts),
					 req->password_job);
	}
	if (req->state_free) {
		req->state_free(req->state);
	}
	if (req->proxied && !req->crowded) {
		manager_crowd_leave(req->api->crowd, req->from);
	}
	manager_batch_leave(req);
	manager_record_done(req);
	DL_DELETE(req->api->requests, req);
	bh_wbuf_done(&req->body);
	manager_principal_done(&req->principal);
	free(req->audit_detail);
	free(req->error);
	free(req->segment_text);
	free(req->path);
	free(req->out);
	if (req->ready) {
		MHD_destroy_response(req->ready);
	}
	free(req);
}

/* ---- listening ---- */

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	bh_log_limited(BH_LOG_DEBUG, "api", 5, "%s", text);
}

/* fd is taken over. cert NULL: plain HTTP. NULL with diag when it can't be. */
static struct daemon *start_daemon(struct manager_api *api, int fd, char *cert, char *key,
				   struct bh_diag *diag)
{
	bool tls = cert != NULL;
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct daemon *d = bh_alloc(sizeof(*d));
	const union MHD_DaemonInfo *info;
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
		{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
		{MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
		{tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL},
	};

	d->api = api;
	d->local = !tls;
	d->mhd = MHD_start_daemon(flags | (tls ? MHD_USE_TLS : 0), 0, manager_patience_accepts,
				  api->patience, on_request, d, MHD_OPTION_EXTERNAL_LOGGER,
				  on_mhd_log, NULL, MHD_OPTION_UNESCAPE_CALLBACK,
				  manager_route_unescape, NULL, MHD_OPTION_NOTIFY_CONNECTION,
				  manager_patience_notify, api->patience,
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_ARRAY,
				  options, MHD_OPTION_END);
	if (!d->mhd) { /* it has closed fd in most cases: better left open in the others */
		free(d);
		bh_diag_set(diag, -EIO, "cannot start the HTTP server (%s)",
			    tls ? "TCP" : "unix socket");
		return NULL;
	}
	info = MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_init(api->parts.loop, &d->poll, info->epoll_fd);
	uv_timer_init(api->parts.loop, &d->timer);
	d->poll.data = d->timer.data = d;
	uv_poll_start(&d->poll, UV_READABLE, on_poll);
	uv_timer_start(&d->timer, on_timer, 0, 0);
	return d;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct daemon *d = handle->data;

	if (--d->handles == 0) {
		free(d);
	}
}

static void close_daemon(struct daemon *d)
{
	if (d) {
		d->handles = 2;
		uv_close((uv_handle_t *)&d->poll, on_handle_closed);
		uv_close((uv_handle_t *)&d->timer, on_handle_closed);
		MHD_stop_daemon(d->mhd);
	}
}

/* ---- certificates ---- */

static bool pair_fits(const char *cert, const char *key)
{
	BIO *cert_bio = BIO_new_mem_buf(cert, -1), *key_bio = BIO_new_mem_buf(key, -1);
	X509 *x = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	bool fits = x && k && X509_check_private_key(x, k) == 1;

	EVP_PKEY_free(k);
	X509_free(x);
	BIO_free(key_bio);
	BIO_free(cert_bio);
	return fits;
}

/* Owned texts. */
static int load_keys(const struct manager_api *api, char **ret_cert, char **ret_key,
		     struct bh_diag *diag)
{
	BH_FREE char *cert = NULL;
	BH_FREE char *key = NULL;
	size_t size;
	int r;

	r = bh_file_read(api->cert_file, BH_PKI_PEM_MAX, &cert, &size, diag);
	if (r == 0) {
		r = bh_file_read(api->key_file, BH_PKI_PEM_MAX, &key, &size, diag);
	}
	if (r == 0 && !pair_fits(cert, key)) {
		r = bh_diag_set(diag, -EBADMSG, "%s and %s are no certificate and its key",
				api->cert_file, api->key_file);
	}
	if (r == 0) {
		*ret_cert = bh_asprintf("%s\n%s", cert, api->ca_pem);
		*ret_key = bh_steal(&key);
	}
	return r;
}

/* libmicrohttpd reads a certificate only when it starts. So another daemon takes the listening
 * socket over, and the old one lives until its last connection ends. */
static int replace_tcp(struct manager_api *api, char *cert, char *key, struct bh_diag *diag)
{
	int fd = fcntl(api->tcp->fd, F_DUPFD_CLOEXEC, 0);
	struct daemon *d;

	if (fd < 0) {
		return bh_diag_set(diag, -errno, "the listening socket: %s", strerror(errno));
	}
	d = start_daemon(api, fd, cert, key, diag);
	if (!d) {
		return -EIO;
	}
	close(MHD_quiesce_daemon(api->tcp->mhd));
	d->fd = fd;
	DL_APPEND(api->retiring, api->tcp);
	api->tcp = d;
	return 0;
}

int manager_api_reload(struct manager_api *api, struct bh_diag *diag)
{
	BH_FREE char *cert = NULL;
	BH_FREE char *key = NULL;
	struct daemon *old;
	size_t retiring;
	int r;

	if (!api || !api->tcp) {
		return 0;
	}
	r = load_keys(api, &cert, &key, diag);
	if (r < 0 || (strcmp(cert, api->cert) == 0 && strcmp(key, api->key) == 0)) {
		return r;
	}
	DL_COUNT(api->retiring, old, retiring);
	if (retiring >= RETIRING_MAX) {
		return bh_diag_set(diag, -EBUSY,
				   "connections of %d older certificates are still open",
				   RETIRING_MAX);
	}
	r = replace_tcp(api, cert, key, diag);
	if (r < 0) {
		return r;
	}
	free(api->cert);
	free(api->key);
	api->cert = bh_steal(&cert);
	api->key = bh_steal(&key);
	bh_counter_add(&api_reloads, 1);
	bh_log(BH_LOG_INFO, "api", "%s has changed and is used from now on", api->cert_file);
	return 0;
}

/* Daemons whose last connection has ended. Never from within one of their runs. */
static void reap_retired(struct manager_api *api)
{
	struct daemon *d, *tmp;

	DL_FOREACH_SAFE(api->retiring, d, tmp)
	{
		const union MHD_DaemonInfo *info =
			MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

		if (info && info->num_connections == 0) {
			DL_DELETE(api->retiring, d);
			close_daemon(d);
		}
	}
}

static void on_events(void *arg)
{
	manager_follower_wake_all(arg);
}

static int listen_on_tcp(struct manager_api *api, const struct manager_api_options *o,
			 struct bh_diag *diag)
{
	int fd, r;

	api->cert_file = bh_strdup(o->cert_file);
	api->key_file = bh_strdup(o->key_file);
	api->ca_pem = bh_strdup(o->ca_pem);
	r = load_keys(api, &api->cert, &api->key, diag);
	if (r < 0) {
		return r;
	}
	fd = manager_listen_tcp(o->listen, &api->port, diag);
	if (fd < 0) {
		return fd;
	}
	api->tcp = start_daemon(api, fd, api->cert, api->key, diag);
	if (!api->tcp) {
		return -EIO;
	}
	api->tcp->fd = fd;
	return 0;
}

int manager_api_new(const struct manager_parts *parts, const struct manager_api_options *options,
		    struct manager_api **ret, struct bh_diag *diag)
{
	struct manager_api *api = bh_alloc(sizeof(*api));
	int r = manager_routes_check(diag);

	api->parts = *parts;
	api->auth = manager_auth_new(options->token_hash);
	api->denied = manager_denied_new();
	api->batch = manager_batch_new(parts);
	api->crowd = manager_crowd_new();
	api->proxies = options->proxies;
	api->patience = manager_patience_new(options->patience_s, api->crowd, api->proxies);
	randombytes_buf(api->etag_key, sizeof(api->etag_key));
	api->console = manager_console_load(options->console_dir);
	*ret = api;
	if (r == 0 && *options->listen) {
		r = listen_on_tcp(api, options, diag);
	}
	if (r >= 0 && options->unix_path) {
		r = manager_listen_unix(options->unix_path, diag);
		if (r >= 0) {
			api->unix_path = bh_strdup(options->unix_path);
			api->local = start_daemon(api, r, NULL, NULL, diag);
			r = api->local ? 0 : -EIO;
		}
	}
	manager_events_watch(parts->events, on_events, api);
	return r < 0 ? r : 0;
}

void manager_api_beat(struct manager_api *api)
{
	manager_follower_beat(api);
	manager_patience_look(api->patience, bh_time_mono_ns());
	reap_retired(api);
}

unsigned int manager_api_port(const struct manager_api *api)
{
	return api->port;
}

void manager_api_close(struct manager_api *api)
{
	struct manager_request *req, *tmp;
	struct daemon *d, *d_tmp;

	if (!api) {
		return;
	}
	api->closing = true;
	manager_batch_close(api->batch);
	manager_events_unwatch(api->parts.events, on_events, api);
	DL_FOREACH_SAFE(api->requests, req, tmp)
	{
		if (req->follower) {
			manager_follower_end(req->follower);
		} else if (req->suspended) {
			manager_reply_errorf(req, 503, "unavailable", "the manager is ending");
		}
	}
	manager_follower_wake_all(api);
	for (int i = 0; i < 3; i++) {
		run(api->tcp, true);
		run(api->local, true);
		DL_FOREACH (api->retiring, d) {
			run(d, true);
		}
	}
	DL_FOREACH_SAFE(api->retiring, d, d_tmp)
	{
		DL_DELETE(api->retiring, d);
		close_daemon(d);
	}
	close_daemon(bh_steal(&api->tcp));
	close_daemon(bh_steal(&api->local));
	if (api->unix_path) {
		unlink(api->unix_path);
	}
}

void manager_api_free(struct manager_api *api)
{
	if (!api) {
		return;
	}
	manager_auth_free(api->auth);
	manager_denied_free(api->denied);
	manager_patience_free(api->patience);
	manager_crowd_free(api->crowd);
	manager_console_free(api->console);
	free(api->unix_path);
	free(api->cert_file);
	free(api->key_file);
	free(api->ca_pem);
	free(api->cert);
	free(api->key);
	free(api);
}
