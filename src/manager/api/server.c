/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd on the loop, and the life of a request. */
#include "manager/api/auth.h"
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utlist.h>

#define CONNECTIONS_MAX	     512
#define CONNECTIONS_PER_IP   128
#define CONNECTION_MEMORY    (64u * 1024)
#define CONNECTION_TIMEOUT_S 30
#define RUNS_AT_ONCE	     32
#define PAUSE_MAX_MS	     32

BH_COUNTER(api_requests, "requests to the API");
BH_COUNTER(api_too_large, "requests whose body was over the limit");

struct daemon {
	struct manager_api *api;
	struct MHD_Daemon *mhd;
	int fd;
	bool local;
	uv_poll_t poll;
	uv_timer_t timer;
	uint64_t pause_ms; /* before the next run that libmicrohttpd wants at once */
};

struct manager_api {
	struct manager_parts parts;
	struct daemon tcp, local;
	struct manager_auth *auth;
	struct manager_request *requests;
	struct manager_follower *followers;
	char *unix_path;
	char *cert, *key;
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

	if (!d->mhd) {
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

void manager_api_poke(struct manager_api *api)
{
	struct daemon *all[] = {&api->tcp, &api->local};

	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		if (all[i]->mhd) {
			uv_timer_start(&all[i]->timer, on_poke, 0, 0);
		}
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
	manager_routes_status, manager_routes_vms,    manager_routes_policies,
	manager_routes_events, manager_routes_enroll, manager_routes_names,
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

static int listen_unix(const char *path, struct bh_diag *diag)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	BH_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int probe;
	mode_t old;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		return bh_diag_set(diag, -ENAMETOOLONG, "%s is too long for a socket", path);
	}
	memcpy(sa.sun_path, path, strlen(path));
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || probe < 0) {
		return bh_diag_set(diag, -errno, "socket: %s", strerror(errno));
	}
	r = connect(probe, (struct sockaddr *)&sa, sizeof(sa));
	close(probe);
	if (r == 0) {
		return bh_diag_set(diag, -EADDRINUSE, "another program answers on %s", path);
	}
	unlink(path);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (r < 0 || listen(fd, 64) < 0) {
		return bh_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	}
	r = fd;
	fd = -1;
	return r;
}

static int parse_listen(const char *s, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(s, ':');
	char host[64] = "";
	uint64_t port;

	memset(ret, 0, sizeof(*ret));
	if (!colon || bh_parse_u64(colon + 1, 0, 65535, &port) < 0 ||
	    (size_t)(colon - s) >= sizeof(host)) {
		return -EINVAL;
	}
	memcpy(host, s, (size_t)(colon - s));
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_size = sizeof(*v6);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_size = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static int listen_tcp(const char *where, unsigned int *ret_port, struct bh_diag *diag)
{
	struct sockaddr_storage sa;
	socklen_t size;
	BH_CLOSE int fd = -1;
	int one = 1, r;

	if (parse_listen(where, &sa, &size) < 0) {
		return bh_diag_set(diag, -EINVAL,
				   "'%s' is no address:port like 0.0.0.0:7443 or [::]:7443", where);
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return bh_diag_set(diag, -errno, "socket: %s", strerror(errno));
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, size) < 0 || listen(fd, 256) < 0) {
		return bh_diag_set(diag, -errno, "cannot listen on %s: %s", where, strerror(errno));
	}
	getsockname(fd, (struct sockaddr *)&sa, &size);
	*ret_port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	r = fd;
	fd = -1;
	return r;
}

static int start_daemon(struct manager_api *api, struct daemon *d, bool tls, struct bh_diag *diag)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	const union MHD_DaemonInfo *info;
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
		{MHD_OPTION_LISTEN_SOCKET, d->fd, NULL},
		{MHD_OPTION_PER_IP_CONNECTION_LIMIT, tls ? CONNECTIONS_PER_IP : 0, NULL},
		{tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, api->cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, api->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0,
		 (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_END, 0, NULL},
	};

	d->api = api;
	d->mhd = MHD_start_daemon(flags | (tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, d,
				  MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_ARRAY,
				  options, MHD_OPTION_END);
	if (!d->mhd) {
		close(d->fd);
		return bh_diag_set(diag, -EIO, "cannot start the HTTP server (%s)",
				   tls ? "TCP" : "unix socket");
	}
	info = MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_init(api->parts.loop, &d->poll, info->epoll_fd);
	uv_timer_init(api->parts.loop, &d->timer);
	d->poll.data = d->timer.data = d;
	uv_poll_start(&d->poll, UV_READABLE, on_poll);
	uv_timer_start(&d->timer, on_timer, 0, 0);
	return 0;
}

static int load_keys(struct manager_api *api, const struct manager_api_options *o,
		     struct bh_diag *diag)
{
	BH_FREE char *cert = NULL;
	size_t size;
	int r;

	r = bh_file_read(o->cert_file, BH_PKI_PEM_MAX, &cert, &size, diag);
	if (r == 0) {
		r = bh_file_read(o->key_file, BH_PKI_PEM_MAX, &api->key, &size, diag);
	}
	if (r == 0) {
		api->cert = bh_asprintf("%s\n%s", cert, o->ca_pem);
	}
	return r;
}

static void on_events(void *arg)
{
	manager_follower_wake_all(arg);
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
		r = load_keys(api, options, diag);
		if (r == 0) {
			api->tcp.fd = r = listen_tcp(options->listen, &api->port, diag);
		}
		if (r >= 0) {
			r = start_daemon(api, &api->tcp, true, diag);
		}
	}
	if (r >= 0 && options->unix_path) {
		api->local.local = true;
		api->local.fd = r = listen_unix(options->unix_path, diag);
		if (r >= 0) {
			api->unix_path = bh_strdup(options->unix_path);
			r = start_daemon(api, &api->local, false, diag);
		}
	}
	manager_events_watch(parts->events, on_events, api);
	return r < 0 ? r : 0;
}

void manager_api_beat(struct manager_api *api)
{
	manager_follower_beat(api);
}

unsigned int manager_api_port(const struct manager_api *api)
{
	return api->port;
}

static void close_daemon(struct daemon *d)
{
	if (!d->mhd) {
		return;
	}
	uv_close((uv_handle_t *)&d->poll, NULL);
	uv_close((uv_handle_t *)&d->timer, NULL);
	MHD_stop_daemon(d->mhd);
	d->mhd = NULL;
}

void manager_api_close(struct manager_api *api)
{
	struct manager_request *req, *tmp;

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
		run(&api->tcp, true);
		run(&api->local, true);
	}
	close_daemon(&api->tcp);
	close_daemon(&api->local);
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
	free(api->cert);
	free(api->key);
	free(api);
}
