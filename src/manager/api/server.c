/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd on the loop, and the life of a request. */
#include "manager/api/auth.h"
#include "manager/api/listen.h"
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <utlist.h>

#define CONNECTIONS_MAX	     512
#define CONNECTIONS_PER_IP   128
#define CONNECTION_MEMORY    (64u * 1024)
#define CONNECTION_TIMEOUT_S 30
#define RUNS_AT_ONCE	     32
#define PAUSE_MAX_MS	     32
#define RETIRING_MAX	     4

BH_COUNTER(api_requests, "requests to the API");
BH_COUNTER(api_reloads, "times that a new certificate of the API was taken");
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
	struct manager_request *requests;
	struct manager_follower *followers;
	char *unix_path;
	char *cert_file, *key_file, *ca_pem;
	char *cert, *key;   /* PEM, as they are used; NULL without TCP */
	uint64_t denied_ns; /* last time that a denied request became an event */
	unsigned int port;
	bool closing;
};

struct manager_follower **manager_api_followers(struct manager_api *api)
{
	return &api->followers;
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

static enum MHD_Result send_answer(struct manager_request *req)
{
	struct MHD_Response *response;
	char number[16];
	enum MHD_Result r;

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
	if (*req->allow) {
		MHD_add_response_header(response, "Allow", req->allow);
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

/* ---- routing ---- */

static const struct manager_route *const tables[] = {
	manager_routes_status,	   manager_routes_vms,	  manager_routes_policies,
	manager_routes_events,	   manager_routes_enroll, manager_routes_names,
	manager_routes_migrations, manager_routes_hosts,
};

static bool path_fits(const struct manager_request *req, const char *pattern)
{
	unsigned int i = 0;

	for (const char *p = pattern; *p; i++) {
		size_t len = strcspn(p, "/");

		if (i >= req->segment_count || !((len == 1 && *p == '*' && *req->segments[i]) ||
						 (strlen(req->segments[i]) == len &&
						  strncmp(req->segments[i], p, len) == 0))) {
			return false;
		}
		p += len + (p[len] == '/');
	}
	return i == req->segment_count;
}

/* The route, or NULL with req->allow filled when only the method is wrong. */
static const struct manager_route *find_route(struct manager_request *req)
{
	for (size_t t = 0; t < BH_ARRAY_SIZE(tables); t++) {
		for (const struct manager_route *r = tables[t]; r->method; r++) {
			size_t len = strlen(req->allow);

			if (!path_fits(req, r->path)) {
				continue;
			}
			if (strcmp(r->method, req->method) == 0) {
				req->allow[0] = '\0';
				return r;
			}
			snprintf(req->allow + len, sizeof(req->allow) - len, "%s%s",
				 len ? ", " : "", r->method);
		}
	}
	return NULL;
}

static void split_path(struct manager_request *req)
{
	char *save = NULL;

	if (strncmp(req->path, "/v1/", 4) != 0) {
		return;
	}
	req->segment_text = bh_strdup(req->path + 4);
	for (char *s = strtok_r(req->segment_text, "/", &save);
	     s && req->segment_count <= API_SEGMENTS_MAX; s = strtok_r(NULL, "/", &save)) {
		if (req->segment_count == API_SEGMENTS_MAX) {
			req->segment_count = 0; /* deeper than any route */
			return;
		}
		req->segments[req->segment_count++] = s;
	}
}

static void deny(struct manager_request *req)
{
	uint64_t now = bh_time_mono_ns();

	if (now - req->api->denied_ns > 10 * BH_NS_PER_S || !req->api->denied_ns) {
		req->api->denied_ns = now;
		manager_events_own(req->parts->events, "audit.denied", BH_SEVERITY_WARNING,
				   json_pack("{s:s, s:s, s:s}", "from", req->from, "method",
					     req->method, "path", req->path));
	}
}

static void authorize(struct manager_request *req)
{
	struct manager_api *api = req->api;
	const char *header =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Authorization");
	uint64_t now = bh_time_mono_ns();

	if (req->local && *req->who) {
		return; /* root by SO_PEERCRED */
	}
	if (req->route && (req->route->flags & API_PUBLIC)) {
		snprintf(req->who, sizeof(req->who), "join-token");
		return;
	}
	req->retry_after_s = manager_auth_wait(api->auth, req->from, now);
	if (req->retry_after_s) {
		manager_reply_errorf(req, 429, "too_many_requests",
				     "too many wrong tokens from this address");
	} else if (manager_auth_check(api->auth, header, req->from, now)) {
		snprintf(req->who, sizeof(req->who), "token:admin");
	} else {
		deny(req);
		manager_reply_errorf(req, 401, "unauthorized",
				     header ? "this token is not valid"
					    : "a bearer token is needed (admin.token)");
	}
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p && *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strcspn(p, " ") == len && strncmp(p, word, len) == 0) {
			return true;
		}
	}
	return false;
}

struct arguments {
	const struct manager_request *req;
	const char *unknown, *twice;
};

static enum MHD_Result look_at_argument(void *cls, enum MHD_ValueKind kind, const char *key,
					const char *value)
{
	struct arguments *a = cls;

	if (!has_word(a->req->route->query, key)) {
		a->unknown = key;
	} else if (manager_request_query(a->req, key) != value) {
		a->twice = key; /* the first one is found by its name */
	}
	return a->unknown || a->twice ? MHD_NO : MHD_YES;
}

/* A parameter that means nothing here is a mistake of the caller: a filter that is misspelt would
 * give everything. */
static void check_arguments(struct manager_request *req)
{
	struct arguments a = {.req = req};

	if (req->route->flags & API_ANY_QUERY) {
		return;
	}
	MHD_get_connection_values(req->connection, MHD_GET_ARGUMENT_KIND, look_at_argument, &a);
	if (a.unknown) {
		manager_reply_errorf(req, 400, "bad_request", "unknown parameter '%.60s'%s%s",
				     a.unknown, req->route->query ? "; known are: " : "",
				     req->route->query ? req->route->query : "");
	} else if (a.twice) {
		manager_reply_errorf(req, 400, "bad_request", "parameter '%s' twice", a.twice);
	}
}

/* Once per request, when its headers are there: who, where to. */
static void check(struct manager_request *req)
{
	req->checked = true;
	split_path(req);
	req->route = find_route(req);
	authorize(req);
	if (!req->answered && req->route) {
		check_arguments(req);
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

static void describe_peer(struct manager_request *req)
{
	const union MHD_ConnectionInfo *info;

	if (req->local) {
		struct ucred cred = {.uid = (uid_t)-1};
		socklen_t size = sizeof(cred);

		info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		snprintf(req->from, sizeof(req->from), "unix");
		if (info &&
		    getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
			snprintf(req->from, sizeof(req->from), "unix:%u", cred.uid);
			if (cred.uid == 0 || cred.uid == geteuid()) {
				snprintf(req->who, sizeof(req->who), "unix:%u", cred.uid);
			}
		}
		return;
	}
	info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info && info->client_addr->sa_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)info->client_addr)->sin_addr,
			  req->from, sizeof(req->from));
	} else if (info && info->client_addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)info->client_addr)->sin6_addr,
			  req->from, sizeof(req->from));
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
	describe_peer(req);
	DL_APPEND(d->api->requests, req);
	return req;
}

static void take_body(struct manager_request *req, const char *data, size_t size)
{
	if (req->answered || req->too_large) {
		return;
	}
	if (req->body.size + size > API_BODY_MAX) {
		req->too_large = true;
		bh_wbuf_done(&req->body);
		return;
	}
	bh_wbuf_put(&req->body, data, size);
}

/* Over the limit by its own word: answered before it is sent. */
static bool announces_too_much(struct manager_request *req)
{
	const char *s =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Content-Length");
	uint64_t v;

	return s && bh_parse_u64(s, 0, UINT64_MAX, &v) == 0 && v > API_BODY_MAX;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct daemon *d = cls;
	struct manager_request *req = *state;

	if (!req) {
		*state = begin(d, connection, url, method);
		req = *state;
		check(req);
		if (!req->answered && announces_too_much(req)) {
			req->too_large = true;
		}
		/* An answer before the body saves reading it. */
		if (req->too_large && !req->answered) {
			bh_counter_add(&api_too_large, 1);
			manager_reply_errorf(req, 413, "too_large", "a body may have %u bytes",
					     API_BODY_MAX);
		}
		return req->answered ? send_answer(req) : MHD_YES;
	}
	if (req->queued) {
		*size = 0;
		return MHD_YES;
	}
	if (*size) {
		take_body(req, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (req->too_large && !req->answered) {
		bh_counter_add(&api_too_large, 1);
		manager_reply_errorf(req, 413, "too_large", "a body may have %u bytes",
				     API_BODY_MAX);
	}
	if (!req->answered && !req->suspended && !req->follower) {
		req->route->fn(req);
	}
	if (req->answered && !req->follower) {
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
	if (req->follower) {
		manager_follower_detach(req->follower);
	}
	if (req->wait) {
		manager_wait_cancel(req->parts->dist, req->wait);
	}
	if (req->state_free) {
		req->state_free(req->state);
	}
	DL_DELETE(req->api->requests, req);
	bh_wbuf_done(&req->body);
	free(req->audit_detail);
	free(req->segment_text);
	free(req->path);
	free(req->out);
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
		{MHD_OPTION_PER_IP_CONNECTION_LIMIT, tls ? CONNECTIONS_PER_IP : 0, NULL},
		{tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0,
		 (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_END, 0, NULL},
	};

	d->api = api;
	d->local = !tls;
	d->mhd = MHD_start_daemon(flags | (tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, d,
				  MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
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
	int r = 0;

	api->parts = *parts;
	api->auth = manager_auth_new(options->token_hash);
	*ret = api;
	if (*options->listen) {
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
	free(api->unix_path);
	free(api->cert_file);
	free(api->key_file);
	free(api->ca_pem);
	free(api->cert);
	free(api->key);
	free(api);
}
