/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ctl.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "version.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uthash.h>
#include <utlist.h>

#define CLIENTS_MAX	  64
#define OTHERS_MAX	  48 /* of users besides root and our own: these always get in */
#define USER_MAX	  16 /* of one such user */
#define ACCEPTS_MAX	  8  /* at once, then the rest of the loop has its turn */
#define ACCEPT_PAUSE_MS	  1
#define REQUEST_MAX	  65536
#define REPLY_MAX	  (64u << 20)
#define LINE_TIMEOUT_MS	  10000
#define ANSWER_TIMEOUT_MS 30000

BH_COUNTER(ctl_refused, "clients of control sockets that were refused: too many, or not allowed");
BH_COUNTER(ctl_cut_off,
	   "clients of control sockets that were cut off: too slow, or a line too long");

struct op {
	const char *name;
	bh_ctl_op_fn *fn;
	void *arg;
	UT_hash_handle hh;
};

struct bh_ctl_server {
	uv_pipe_t pipe;
	uv_timer_t pause; /* since the first of `accepted`; then one may wait to be accepted */
	unsigned int accepted, open_handles;
	struct op *ops;
	struct client *clients;
	unsigned int client_count;
	struct bh_ctl_options options;
	char *path, *program;
};

struct client {
	uv_pipe_t pipe;
	uv_timer_t timer;
	struct bh_ctl_server *server; /* NULL once the server is gone */
	struct client *prev, *next;
	struct bh_ctl_request *pending; /* one at a time */
	struct bh_wbuf in;
	char chunk[4096];
	uid_t user;
	unsigned int open_handles;
	bool answering; /* not before the answer is taken comes the next request */
	bool reading, closing;
};

struct bh_ctl_request {
	struct client *client; /* NULL when it left before the answer */
	json_t *body;
};

struct reply {
	uv_write_t write;
	char *text;
};

static void on_client_handle_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	if (--c->open_handles) {
		return;
	}
	bh_wbuf_done(&c->in);
	free(c);
}

static void client_close(struct client *c)
{
	if (c->closing) {
		return;
	}
	c->closing = true;
	if (c->pending) {
		c->pending->client = NULL;
		c->pending = NULL;
	}
	if (c->server) {
		DL_DELETE(c->server->clients, c);
		c->server->client_count--;
		c->server = NULL;
	}
	uv_close((uv_handle_t *)&c->timer, on_client_handle_closed);
	uv_close((uv_handle_t *)&c->pipe, on_client_handle_closed);
}

static void cut_off(struct client *c)
{
	bh_counter_add(&ctl_cut_off, 1);
	client_close(c);
}

static void on_timeout(uv_timer_t *timer)
{
	cut_off(timer->data);
}

static bool is_busy(const struct client *c)
{
	return c->pending || c->answering;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct client *c = handle->data;

	*buf = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void dispatch(struct client *c, const char *line, size_t len);

/* Who is busy is read from as far as a request goes, so that it is seen to leave. */
static void client_read(struct client *c)
{
	uv_stream_t *stream = (uv_stream_t *)&c->pipe;
	bool wanted = !is_busy(c) || c->in.size <= REQUEST_MAX;

	if (c->reading && !wanted) {
		uv_read_stop(stream);
	} else if (!c->reading && wanted && uv_read_start(stream, on_alloc, on_read)) {
		client_close(c);
		return;
	}
	c->reading = wanted;
}

/* Takes one whole line out of the buffer, if there is one and the client's turn has come. */
static void client_next_line(struct client *c)
{
	BH_FREE char *line = NULL;
	char *end;
	size_t len;

	if (c->closing || is_busy(c)) {
		return;
	}
	end = c->in.size ? memchr(c->in.data, '\n', c->in.size) : NULL;
	len = end ? (size_t)(end - (char *)c->in.data) : c->in.size;
	if (len > REQUEST_MAX) {
		cut_off(c);
		return;
	}
	if (!end) {
		/* from its first byte on: drops of it are no reprieve */
		if (len && !uv_is_active((uv_handle_t *)&c->timer)) {
			uv_timer_start(&c->timer, on_timeout, c->server->options.line_timeout_ms,
				       0);
		}
		return;
	}
	line = bh_memdup(c->in.data, len + 1);
	c->in.size -= len + 1;
	memmove(c->in.data, end + 1, c->in.size);
	uv_timer_stop(&c->timer);
	dispatch(c, line, len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = stream->data;

	if (n < 0) {
		client_close(c);
		return;
	}
	bh_wbuf_put(&c->in, buf->base, (size_t)n);
	client_next_line(c);
	if (!c->closing) {
		client_read(c);
	}
}

static void on_written(uv_write_t *write, int status)
{
	struct reply *r = BH_CONTAINER_OF(write, struct reply, write);
	struct client *c = write->data;

	free(r->text);
	free(r);
	if (c->closing) {
		return;
	}
	if (status) {
		client_close(c);
		return;
	}
	c->answering = false;
	uv_timer_stop(&c->timer);
	client_next_line(c);
	if (!c->closing) {
		client_read(c);
	}
}

static void client_answer(struct client *c, const json_t *body)
{
	struct reply *r = bh_alloc(sizeof(*r));
	BH_FREE char *text = bh_json_dump(body);
	uv_buf_t buf;

	r->text = bh_asprintf("%s\n", text);
	r->write.data = c;
	buf = uv_buf_init(r->text, (unsigned int)strlen(r->text));
	c->pending = NULL;
	c->answering = true;
	uv_timer_start(&c->timer, on_timeout, c->server->options.answer_timeout_ms, 0);
	if (uv_write(&r->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written)) {
		free(r->text);
		free(r);
		client_close(c);
	}
}

void bh_ctl_reply(struct bh_ctl_request *req, json_t *body)
{
	if (!body) { /* json_pack() takes no text that is not UTF-8 */
		body = json_pack("{s:b, s:s}", "ok", 0, "error", "the answer can't be written");
	} else if (!json_object_get(body, "ok")) {
		json_object_set_new(body, "ok", json_true());
	}
	if (req->client) {
		client_answer(req->client, body);
	}
	json_decref(body);
	json_decref(req->body);
	free(req);
}

void bh_ctl_reply_error(struct bh_ctl_request *req, const char *fmt, ...)
{
	char text[BH_DIAG_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_ctl_reply(req, json_pack("{s:b, s:s}", "ok", 0, "error", text));
}

static void dispatch(struct client *c, const char *line, size_t len)
{
	struct bh_ctl_request *req = bh_alloc(sizeof(*req));
	struct bh_diag diag = {};
	const char *name = NULL;
	struct op *op;

	req->client = c;
	c->pending = req;
	if (bh_json_load(line, len, REQUEST_MAX, &req->body, &diag) ||
	    bh_json_str(req->body, "op", &name, &diag)) {
		bh_ctl_reply_error(req, "%s", diag.text);
		return;
	}
	HASH_FIND_STR(c->server->ops, name, op);
	if (!op) {
		bh_ctl_reply_error(req, "unknown op \"%s\"; \"ops\" lists them", name);
		return;
	}
	op->fn(req, req->body, op->arg);
}

static bool user_allowed(const struct bh_ctl_options *options, uid_t user)
{
	for (size_t i = 0; i < options->user_count; i++) {
		if (options->users[i] == user) {
			return true;
		}
	}
	return user == 0 || user == geteuid();
}

static bool is_other(uid_t user)
{
	return user != 0 && user != geteuid();
}

/* Whose it is, and whether it may stay: by right, and by how many there are. */
static bool peer_allowed(const struct bh_ctl_server *s, struct client *c)
{
	unsigned int others = 0, same = 0;
	struct ucred cred;
	socklen_t size = sizeof(cred);
	const struct client *each;
	uv_os_fd_t fd;

	if (uv_fileno((const uv_handle_t *)&c->pipe, &fd) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size)) {
		return false;
	}
	c->user = cred.uid;
	DL_FOREACH (s->clients, each) {
		others += is_other(each->user);
		same += each->user == c->user;
	}
	return s->client_count <= CLIENTS_MAX &&
	       (!s->options.root_only || user_allowed(&s->options, c->user)) &&
	       (!is_other(c->user) || (others <= OTHERS_MAX && same <= USER_MAX));
}

static void accept_one(struct bh_ctl_server *s)
{
	struct client *c = bh_alloc(sizeof(*c));

	uv_pipe_init(s->pipe.loop, &c->pipe, 0);
	uv_timer_init(s->pipe.loop, &c->timer);
	c->pipe.data = c->timer.data = c;
	c->open_handles = 2;
	c->server = s;
	bh_wbuf_init(&c->in, REQUEST_MAX + 2 * sizeof(c->chunk));
	DL_APPEND(s->clients, c);
	s->client_count++;
	if (uv_accept((uv_stream_t *)&s->pipe, (uv_stream_t *)&c->pipe)) {
		client_close(c);
	} else if (!peer_allowed(s, c)) {
		bh_counter_add(&ctl_refused, 1);
		client_close(c);
	} else {
		client_read(c);
	}
}

static void on_pause_over(uv_timer_t *timer)
{
	struct bh_ctl_server *s = timer->data;
	bool waits = s->accepted > ACCEPTS_MAX;

	s->accepted = waits;
	if (waits) {
		uv_timer_start(timer, on_pause_over, ACCEPT_PAUSE_MS, 0);
		accept_one(s);
	}
}

/* libuv accepts for as long as somebody connects: who does so without end would have the loop for
 * himself. It stops where a connection is left for later. */
static void on_connection(uv_stream_t *stream, int status)
{
	struct bh_ctl_server *s = stream->data;

	if (status) {
		return;
	}
	if (!s->accepted++) {
		uv_timer_start(&s->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
	}
	if (s->accepted <= ACCEPTS_MAX) {
		accept_one(s);
	}
}

/* ---- built-in ops ---- */

static void op_ping(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_object());
}

static void op_version(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_ctl_server *s = arg;

	bh_ctl_reply(req, json_pack("{s:s, s:s, s:i}", "program", s->program, "version", BH_VERSION,
				    "pid", (int)getpid()));
}

static void op_counters(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_pack("{s:o}", "counters", bh_counter_dump()));
}

static void op_log(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	const char *module = json_string_value(json_object_get(request, "module"));
	enum bh_log_level level;

	if (bh_log_level_parse(bh_json_str_or(request, "level", ""), &level)) {
		bh_ctl_reply_error(req, "\"level\" must be error, warn, info or debug");
		return;
	}
	bh_log_set_level(module, level);
	bh_ctl_reply(req, json_object());
}

static void op_ops(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct bh_ctl_server *s = arg;
	json_t *names = json_array();
	struct op *op, *next;

	HASH_ITER (hh, s->ops, op, next) {
		json_array_append_new(names, json_string(op->name));
	}
	bh_ctl_reply(req, json_pack("{s:o}", "ops", names));
}

void bh_ctl_server_add(struct bh_ctl_server *server, const char *name, bh_ctl_op_fn *fn, void *arg)
{
	struct op *op = bh_alloc(sizeof(*op));

	op->name = name;
	op->fn = fn;
	op->arg = arg;
	HASH_ADD_KEYPTR(hh, server->ops, op->name, strlen(op->name), op);
}

/* ---- life ---- */

static int connect_to(const char *path, struct bh_diag *diag)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		return bh_diag_set(diag, -ENAMETOOLONG, "the socket path %s is too long", path);
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		r = -errno;
		if (fd >= 0) {
			close(fd);
		}
		return bh_diag_set(diag, r, "can't reach the control socket %s: %s", path,
				   strerror(-r));
	}
	return fd;
}

static int listen_on(struct bh_ctl_server *s, struct bh_diag *diag)
{
	int fd = connect_to(s->path, NULL);
	int r;

	if (fd >= 0) {
		close(fd);
		return bh_diag_set(diag, -EADDRINUSE,
				   "another %s already answers on the control socket %s",
				   s->program, s->path);
	}
	unlink(s->path);
	r = uv_pipe_bind(&s->pipe, s->path);
	if (!r && chmod(s->path, s->options.mode)) {
		r = -errno;
	}
	if (!r) {
		r = uv_listen((uv_stream_t *)&s->pipe, CLIENTS_MAX, on_connection);
	}
	return r ? bh_diag_set(diag, r, "can't listen on the control socket %s: %s", s->path,
			       uv_strerror(r))
		 : 0;
}

int bh_ctl_server_new(uv_loop_t *loop, const struct bh_ctl_options *options,
		      struct bh_ctl_server **ret, struct bh_diag *diag)
{
	struct bh_ctl_server *s = bh_alloc(sizeof(*s));
	int r;

	s->options = *options;
	s->options.line_timeout_ms =
		options->line_timeout_ms ? options->line_timeout_ms : LINE_TIMEOUT_MS;
	s->options.answer_timeout_ms =
		options->answer_timeout_ms ? options->answer_timeout_ms : ANSWER_TIMEOUT_MS;
	s->path = bh_strdup(options->path);
	s->program = bh_strdup(options->program);
	uv_pipe_init(loop, &s->pipe, 0);
	uv_timer_init(loop, &s->pause);
	s->pipe.data = s->pause.data = s;
	s->open_handles = 2;
	r = listen_on(s, diag);
	if (r) {
		bh_ctl_server_free(s);
		return r;
	}
	*ret = s;
	bh_ctl_server_add(s, "ping", op_ping, s);
	if (options->bare) {
		return 0;
	}
	bh_ctl_server_add(s, "version", op_version, s);
	bh_ctl_server_add(s, "counters", op_counters, s);
	bh_ctl_server_add(s, "log", op_log, s);
	bh_ctl_server_add(s, "ops", op_ops, s);
	return 0;
}

static void on_server_closed(uv_handle_t *handle)
{
	struct bh_ctl_server *s = handle->data;

	if (--s->open_handles) {
		return;
	}
	free(s->path);
	free(s->program);
	free(s);
}

void bh_ctl_server_free(struct bh_ctl_server *s)
{
	struct op *op, *next;

	if (!s) {
		return;
	}
	while (s->clients) {
		client_close(s->clients);
	}
	HASH_ITER (hh, s->ops, op, next) {
		HASH_DEL(s->ops, op);
		free(op);
	}
	uv_close((uv_handle_t *)&s->pause, on_server_closed);
	uv_close((uv_handle_t *)&s->pipe, on_server_closed);
}

/* ---- client ---- */

static int send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int receive_line(int fd, int timeout_ms, struct bh_wbuf *in)
{
	uint64_t end = bh_time_mono_ns() + (uint64_t)timeout_ms * BH_NS_PER_MS;
	char chunk[16384];

	while (!in->size || in->data[in->size - 1] != '\n') {
		uint64_t now = bh_time_mono_ns();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (now >= end || poll(&p, 1, (int)((end - now) / BH_NS_PER_MS) + 1) == 0) {
			return -ETIMEDOUT;
		}
		n = recv(fd, chunk, sizeof(chunk), 0);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n ? -errno : -ECONNRESET;
		}
		bh_wbuf_put(in, chunk, (size_t)n);
		if (in->err) {
			return in->err;
		}
	}
	return 0;
}

int bh_ctl_call(const char *path, const json_t *request, int timeout_ms, json_t **ret_reply,
		struct bh_diag *diag)
{
	BH_FREE char *text = bh_json_dump(request);
	BH_FREE char *line = bh_asprintf("%s\n", text);
	BH_JSON json_t *reply = NULL;
	struct bh_wbuf in;
	int fd = connect_to(path, diag);
	int r;

	if (fd < 0) {
		return fd;
	}
	bh_wbuf_init(&in, REPLY_MAX);
	r = send_all(fd, line, strlen(line));
	if (!r) {
		r = receive_line(fd, timeout_ms, &in);
	}
	close(fd);
	if (r) {
		bh_diag_set(diag, r, "no answer on the control socket %s: %s", path, strerror(-r));
	} else {
		r = bh_json_load((const char *)in.data, in.size, REPLY_MAX, &reply, diag);
	}
	bh_wbuf_done(&in);
	if (r) {
		return r;
	}
	if (!json_is_true(json_object_get(reply, "ok"))) {
		return bh_diag_set(diag, -EREMOTEIO, "%s",
				   bh_json_str_or(reply, "error", "the program gave no reason"));
	}
	*ret_reply = bh_steal(&reply);
	return 0;
}
