/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States: nothing runs (pid 0; the restart timer may be armed) -> runs (pid and pidfd; probed until
 * it answers) -> up -> its end is seen through the pidfd -> nothing runs. A process that was
 * adopted is no child of ours, so the pidfd is what both kinds have in common; signals go through
 * it too, which cannot hit a stranger that got the same number.
 */
#include "bus/server.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/server_config.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CONFIG_MAX     (16u << 20)
#define STORE_DEFAULT  (8ull << 30)
#define PROBE_MS       50
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 2000
#define LIVED_WELL_NS  (3 * BH_NS_PER_S) /* then the backoff starts over */
#define STOP_MS	       5000

BH_COUNTER(bus_server_starts, "starts of the private nats-server");
BH_COUNTER(bus_server_deaths, "ends of the private nats-server that nobody asked for");

struct probe {
	uv_tcp_t tcp; /* first: handle and probe are one address */
	uv_connect_t req;
	struct bh_bus_server *server; /* NULL: given up */
	char text[4096];
	size_t size;
};

struct bh_bus_server {
	uv_loop_t *loop;
	struct bh_bus_server_options options; /* owned copies */
	char *config_file;
	char *pid_file;
	char *url;
	char name[64]; /* in the configuration and in the server's greeting */
	char **hosts;
	size_t host_count;

	pid_t pid; /* 0: nothing runs */
	int pidfd;
	bool adopted;
	bool up;
	bool replace; /* it runs with an older configuration: end it, then start */
	bool reload;  /* once it is up: before it has its signal handler SIGHUP would end it */
	uint64_t started_ns;
	uint64_t starts;
	unsigned int backoff_ms;
	char last_error[BH_DIAG_TEXT_SIZE];

	uv_process_t *child; /* NULL when adopted */
	uv_poll_t *watch;    /* of pidfd */
	uv_timer_t *timer;   /* next probe or next start */
	struct probe *probe;
	bool closing;
};

static void on_timer(uv_timer_t *timer);

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_handle(void *handle)
{
	if (handle) {
		uv_close(handle, on_closed);
	}
}

static void set_up(struct bh_bus_server *s, bool up)
{
	if (s->up == up) {
		return;
	}
	s->up = up;
	if (up) {
		s->last_error[0] = '\0';
	}
	if (s->options.on_state && !s->closing) {
		s->options.on_state(s, up, s->options.arg);
	}
}

static int process_signal(struct bh_bus_server *s, int sig)
{
	if (s->pid && syscall(SYS_pidfd_send_signal, s->pidfd, sig, NULL, 0)) {
		return -errno;
	}
	return 0;
}

/* ---- probing: does it answer, and is it ours? ---- */
static void probe_end(struct bh_bus_server *s)
{
	if (s->probe) {
		s->probe->server = NULL;
		close_handle(s->probe);
		s->probe = NULL;
	}
}

static void probe_failed(struct bh_bus_server *s, const char *why)
{
	probe_end(s);
	if (why) {
		snprintf(s->last_error, sizeof(s->last_error), "%s", why);
	}
	uv_timer_start(s->timer, on_timer, PROBE_MS, 0);
}

static void on_probe_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct probe *probe = (struct probe *)handle;

	*buf = uv_buf_init(probe->text + probe->size,
			   (unsigned int)(sizeof(probe->text) - 1 - probe->size));
}

static void on_probe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct probe *probe = (struct probe *)stream;
	struct bh_bus_server *s = probe->server;
	char want[96];

	if (!s) {
		return;
	}
	if (n < 0) {
		probe_failed(s, NULL);
		return;
	}
	probe->size += (size_t)n;
	probe->text[probe->size] = '\0';
	if (!strchr(probe->text, '\n')) {
		return;
	}
	snprintf(want, sizeof(want), "\"server_name\":\"%s\"", s->name);
	if (strncmp(probe->text, "INFO ", 5) || !strstr(probe->text, want)) {
		probe_failed(s, "another program answers at the address of our nats-server");
		return;
	}
	probe_end(s);
	if (s->reload) {
		s->reload = false;
		(void)!process_signal(s, SIGHUP);
	}
	set_up(s, true);
}

static void on_probe_connect(uv_connect_t *req, int status)
{
	struct probe *probe = BH_CONTAINER_OF(req, struct probe, req);

	if (!probe->server) {
		return;
	}
	if (status || uv_read_start((uv_stream_t *)&probe->tcp, on_probe_alloc, on_probe_read)) {
		probe_failed(probe->server, NULL);
	}
}

/* "host:port" or "[host]:port" -> where programs on this machine connect to. */
static int parse_listen(const char *listen, char *ret_host, size_t size, unsigned int *ret_port)
{
	const char *colon = strrchr(listen, ':');
	uint64_t port;
	size_t len;

	if (!colon || bh_parse_u64(colon + 1, 1, 65535, &port)) {
		return -EINVAL;
	}
	len = (size_t)(colon - listen);
	if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']') {
		listen++;
		len -= 2;
	}
	if (len >= size) {
		return -EINVAL;
	}
	snprintf(ret_host, size, "%.*s", (int)len, listen);
	if (!*ret_host || !strcmp(ret_host, "0.0.0.0")) {
		snprintf(ret_host, size, "127.0.0.1");
	} else if (!strcmp(ret_host, "::")) {
		snprintf(ret_host, size, "::1");
	}
	*ret_port = (unsigned int)port;
	return 0;
}

static void probe_begin(struct bh_bus_server *s)
{
	struct sockaddr_storage addr = {};
	char host[256] = "";
	unsigned int port = 0;
	struct probe *probe;

	if (parse_listen(s->options.listen, host, sizeof(host), &port) ||
	    (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&addr) &&
	     uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&addr))) {
		return; /* bh_bus_server_new checked it */
	}
	probe_end(s);
	probe = bh_alloc(sizeof(*probe));
	probe->server = s;
	s->probe = probe;
	if (uv_tcp_init(s->loop, &probe->tcp)) {
		free(bh_steal(&s->probe));
		uv_timer_start(s->timer, on_timer, PROBE_MS, 0);
		return;
	}
	/* again later if this one hangs; a new probe ends the old one */
	uv_timer_start(s->timer, on_timer, 2000, 0);
	if (uv_tcp_connect(&probe->req, &probe->tcp, (struct sockaddr *)&addr, on_probe_connect)) {
		probe_failed(s, NULL);
	}
}

/* ---- the process ---- */
static char *last_line_of(const char *path)
{
	BH_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char tail[1024];
	ssize_t n;

	if (fd < 0 || fstat(fd, &st)) {
		return NULL;
	}
	n = pread(fd, tail, sizeof(tail) - 1, st.st_size > 1023 ? st.st_size - 1023 : 0);
	while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == '\r')) {
		n--;
	}
	if (n <= 0) {
		return NULL;
	}
	tail[n] = '\0';
	return bh_strdup(strrchr(tail, '\n') ? strrchr(tail, '\n') + 1 : tail);
}

static void explain_end(struct bh_bus_server *s)
{
	BH_FREE char *err_file = bh_asprintf("%s/nats.err", s->options.dir);
	BH_FREE char *log_file = bh_asprintf("%s/nats.log", s->options.dir);
	BH_FREE char *line = last_line_of(err_file);

	if (!line) {
		line = last_line_of(log_file);
	}
	snprintf(s->last_error, sizeof(s->last_error), "nats-server ended; its last words: %s",
		 line ? line : "none");
}

static void process_gone(struct bh_bus_server *s)
{
	probe_end(s);
	close_handle(bh_steal(&s->watch));
	close(s->pidfd);
	s->pidfd = -1;
	s->pid = 0;
	s->adopted = false;
	s->reload = false;
	if (s->child) {
		s->child->data = NULL; /* it closes itself when libuv has reaped it */
		s->child = NULL;
	}
	if (s->replace) {
		s->replace = false;
		s->backoff_ms = 0;
	} else {
		bh_counter_add(&bus_server_deaths, 1);
		explain_end(s);
	}
	set_up(s, false);
	if (bh_time_mono_ns() - s->started_ns > LIVED_WELL_NS) {
		s->backoff_ms = 0;
	}
	if (!s->closing) {
		uv_timer_start(s->timer, on_timer, s->backoff_ms, 0);
		s->backoff_ms = s->backoff_ms ? 2 * s->backoff_ms : BACKOFF_MIN_MS;
		s->backoff_ms = s->backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff_ms;
	}
}

static void on_pidfd(uv_poll_t *watch, int status, int events)
{
	process_gone(watch->data);
}

/* Takes pidfd. */
static int process_watch(struct bh_bus_server *s, pid_t pid, int pidfd)
{
	uv_poll_t *watch = bh_alloc(sizeof(*watch));

	if (uv_poll_init(s->loop, watch, pidfd)) {
		free(watch);
		close(pidfd);
		return -EIO;
	}
	watch->data = s;
	uv_poll_start(watch, UV_READABLE, on_pidfd);
	s->watch = watch;
	s->pid = pid;
	s->pidfd = pidfd;
	s->started_ns = bh_time_mono_ns();
	return 0;
}

static int pidfd_open_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void on_child_exit(uv_process_t *child, int64_t status, int sig)
{
	struct bh_bus_server *s = child->data;

	if (s) {
		s->child = NULL;
	}
	uv_close((uv_handle_t *)child, on_closed);
}

static int process_spawn(struct bh_bus_server *s)
{
	BH_FREE char *err_file = bh_asprintf("%s/nats.err", s->options.dir);
	BH_CLOSE int err_fd =
		open(err_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	uv_process_t *child = bh_alloc(sizeof(*child));
	char binary[] = "nats-server";
	char flag[] = "-c";
	char *args[] = {binary, flag, s->config_file, NULL};
	uv_stdio_container_t stdio[3] = {
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = err_fd},
		{.flags = UV_INHERIT_FD, .data.fd = err_fd},
	};
	uv_process_options_t options = {
		.exit_cb = on_child_exit,
		.file = s->options.binary,
		.args = args,
		.flags = UV_PROCESS_DETACHED,
		.stdio_count = err_fd < 0 ? 1 : 3,
		.stdio = stdio,
	};
	int pidfd;
	int r = uv_spawn(s->loop, child, &options);

	if (r) {
		snprintf(s->last_error, sizeof(s->last_error), "can't start %s: %s",
			 s->options.binary, uv_strerror(r));
		uv_close((uv_handle_t *)child, on_closed);
		return r;
	}
	uv_unref((uv_handle_t *)child);
	bh_counter_add(&bus_server_starts, 1);
	s->starts++;
	pidfd = pidfd_open_of(child->pid);
	if (pidfd < 0 || process_watch(s, child->pid, pidfd)) {
		uv_process_kill(child, SIGKILL);
		return -EIO;
	}
	child->data = s;
	s->child = child;
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct bh_bus_server *s = timer->data;

	if (s->pid && !s->replace) {
		probe_begin(s);
	} else if (!s->pid && process_spawn(s)) {
		uv_timer_start(s->timer, on_timer, BACKOFF_MAX_MS, 0);
	} else if (s->pid && !s->replace) {
		uv_timer_start(s->timer, on_timer, PROBE_MS, 0);
	} else if (s->replace) {
		(void)!process_signal(s, SIGKILL); /* did not end in time */
	}
}

/* The process that the pid file names, if it is a nats-server with our configuration. */
static pid_t find_running(struct bh_bus_server *s, int *ret_pidfd)
{
	BH_FREE char *text = NULL;
	BH_FREE char *cmdline = NULL;
	BH_FREE char *path = NULL;
	size_t size;
	uint64_t pid;
	bool ours = false;

	if (bh_file_read(s->pid_file, 32, &text, &size, NULL)) {
		return 0;
	}
	text[strcspn(text, "\r\n ")] = '\0';
	if (bh_parse_u64(text, 2, INT32_MAX, &pid)) {
		return 0;
	}
	*ret_pidfd = pidfd_open_of((pid_t)pid); /* before looking: now the number can't be reused */
	if (*ret_pidfd < 0) {
		return 0;
	}
	path = bh_asprintf("/proc/%llu/cmdline", (unsigned long long)pid);
	if (!bh_file_read(path, 65536, &cmdline, &size, NULL)) {
		const char *arg = memchr(cmdline, '\0', size);

		ours = arg && !strcmp(cmdline, "nats-server") && !strcmp(arg + 1, "-c") &&
		       (size_t)(arg + 4 - cmdline) < size && !strcmp(arg + 4, s->config_file);
	}
	if (!ours) {
		close(*ret_pidfd);
		return 0;
	}
	return (pid_t)pid;
}

/* ---- configuration ---- */
static int config_write(struct bh_bus_server *s, bool *ret_same_static, bool *ret_same,
			struct bh_diag *diag)
{
	BH_FREE char *old = NULL;
	struct bh_wbuf w;
	size_t old_size = 0;
	size_t static_size;
	int r = 0;

	bh_wbuf_init(&w, CONFIG_MAX);
	bh_bus_config_static(&w, &s->options, s->name);
	static_size = w.size;
	bh_bus_config_users(&w, (const char *const *)s->hosts, s->host_count);
	if (w.err) {
		bh_wbuf_done(&w);
		return bh_diag_set(diag, w.err, "too many hosts for nats-server's configuration");
	}
	if (bh_file_read(s->config_file, CONFIG_MAX, &old, &old_size, NULL)) {
		old_size = 0;
	}
	*ret_same_static =
		old_size > static_size && !memcmp(old, w.data, static_size) &&
		!strncmp(old + static_size, BH_BUS_CONFIG_USERS, strlen(BH_BUS_CONFIG_USERS));
	*ret_same = old_size == w.size && !memcmp(old, w.data, w.size);
	if (!*ret_same) {
		r = bh_file_replace(s->config_file, w.data, w.size, 0600, diag);
	}
	bh_wbuf_done(&w);
	return r;
}

static void hosts_free(struct bh_bus_server *s)
{
	for (size_t i = 0; i < s->host_count; i++) {
		free(s->hosts[i]);
	}
	free(s->hosts);
	s->hosts = NULL;
	s->host_count = 0;
}

static void hosts_set(struct bh_bus_server *s, const char *const *hosts, size_t count)
{
	hosts_free(s);
	s->hosts = bh_alloc_array(count, sizeof(*s->hosts));
	s->host_count = count;
	for (size_t i = 0; i < count; i++) {
		s->hosts[i] = bh_strdup(hosts[i]);
	}
}

static int options_copy(struct bh_bus_server *s, const struct bh_bus_server_options *o,
			struct bh_diag *diag)
{
	char *dir;
	int r = bh_mkdirs(o->dir, 0700, diag);

	if (r) {
		return r;
	}
	dir = realpath(o->dir, NULL);
	if (!dir) {
		r = -errno;
		return bh_diag_at(diag, r, o->dir, 0, 0, "can't be resolved: %s", strerror(-r));
	}
	s->options = *o;
	s->options.dir = dir;
	s->options.listen = bh_strdup(o->listen);
	s->options.ca_file = bh_strdup(o->ca_file);
	s->options.cert_file = bh_strdup(o->cert_file);
	s->options.key_file = bh_strdup(o->key_file);
	if (o->binary) {
		s->options.binary = bh_strdup(o->binary);
	} else {
		/* Debian's place is not in every PATH */
		s->options.binary =
			bh_strdup(access("/usr/sbin/nats-server", X_OK) ? "nats-server"
									: "/usr/sbin/nats-server");
	}
	if (!s->options.store_max_bytes) {
		s->options.store_max_bytes = STORE_DEFAULT;
	}
	s->config_file = bh_asprintf("%s/nats.conf", dir);
	s->pid_file = bh_asprintf("%s/nats.pid", dir);
	return 0;
}

/* The same for one CA through all restarts, another one for each CA. */
static int name_set(struct bh_bus_server *s, struct bh_diag *diag)
{
	BH_FREE char *pem = NULL;
	unsigned char md[EVP_MAX_MD_SIZE];
	char hex[17];
	size_t size;
	int r = bh_file_read(s->options.ca_file, 65536, &pem, &size, diag);

	if (r) {
		return r;
	}
	EVP_Digest(pem, size, md, NULL, EVP_sha256(), NULL);
	bh_hex_format(md, 8, hex);
	snprintf(s->name, sizeof(s->name), "bulkhead-%s", hex);
	return 0;
}

static int url_set(struct bh_bus_server *s, struct bh_diag *diag)
{
	char host[256] = "";
	unsigned int port = 0;
	struct sockaddr_in6 a6;
	struct sockaddr_in a4;
	bool v6;

	if (parse_listen(s->options.listen, host, sizeof(host), &port)) {
		return bh_diag_set(diag, -EINVAL,
				   "\"%s\" is no address to listen at: expected ADDRESS:PORT",
				   s->options.listen);
	}
	v6 = !uv_ip6_addr(host, (int)port, &a6);
	if (!v6 && uv_ip4_addr(host, (int)port, &a4)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" is no IP address to listen at", host);
	}
	s->url = bh_asprintf(v6 ? "tls://[%s]:%u" : "tls://%s:%u", host, port);
	return 0;
}

static void server_free(struct bh_bus_server *s)
{
	hosts_free(s);
	free((char *)s->options.dir);
	free((char *)s->options.listen);
	free((char *)s->options.ca_file);
	free((char *)s->options.cert_file);
	free((char *)s->options.key_file);
	free((char *)s->options.binary);
	free(s->config_file);
	free(s->pid_file);
	free(s->url);
	free(s);
}

static int begin(struct bh_bus_server *s, struct bh_diag *diag)
{
	bool same_static;
	bool same;
	int pidfd = -1;
	pid_t pid = find_running(s, &pidfd);
	int r = config_write(s, &same_static, &same, diag);

	if (r || (pid && process_watch(s, pid, pidfd))) {
		return r ? r : bh_diag_set(diag, -EIO, "can't watch nats-server");
	}
	s->timer = bh_alloc(sizeof(*s->timer));
	uv_timer_init(s->loop, s->timer);
	s->timer->data = s;
	if (!pid) {
		uv_timer_start(s->timer, on_timer, 0, 0);
		return 0;
	}
	s->adopted = true;
	if (!same_static) {
		s->replace = true;
		(void)!process_signal(s, SIGTERM);
		uv_timer_start(s->timer, on_timer, STOP_MS, 0);
		return 0;
	}
	s->reload = !same;
	uv_timer_start(s->timer, on_timer, 0, 0);
	return 0;
}

int bh_bus_server_new(uv_loop_t *loop, const struct bh_bus_server_options *options,
		      const char *const *hosts, size_t count, struct bh_bus_server **ret,
		      struct bh_diag *diag)
{
	struct bh_bus_server *s;
	int r = bh_bus_config_check(hosts, count, diag);

	if (r) {
		return r;
	}
	s = bh_alloc(sizeof(*s));
	s->loop = loop;
	s->pidfd = -1;
	hosts_set(s, hosts, count);
	r = options_copy(s, options, diag);
	if (!r) {
		r = name_set(s, diag);
	}
	if (!r) {
		r = url_set(s, diag);
	}
	if (!r) {
		r = begin(s, diag);
	}
	if (r) {
		server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int bh_bus_server_set_hosts(struct bh_bus_server *server, const char *const *hosts, size_t count,
			    struct bh_diag *diag)
{
	bool same_static;
	bool same;
	int r = bh_bus_config_check(hosts, count, diag);

	if (r) {
		return r;
	}
	hosts_set(server, hosts, count);
	r = config_write(server, &same_static, &same, diag);
	if (r || same) {
		return r;
	}
	return bh_bus_server_reload(server, diag);
}

int bh_bus_server_reload(struct bh_bus_server *server, struct bh_diag *diag)
{
	int r;

	if (!server->up) {
		server->reload = server->pid != 0;
		return 0;
	}
	r = process_signal(server, SIGHUP);
	/* -ESRCH: it just ended, and the next one reads the new configuration anyway */
	return r && r != -ESRCH
		       ? bh_diag_set(diag, r, "can't make nats-server reload: %s", strerror(-r))
		       : 0;
}

static void stop_process(struct bh_bus_server *s)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

	(void)!process_signal(s, SIGTERM);
	if (poll(&p, 1, STOP_MS) <= 0) {
		(void)!process_signal(s, SIGKILL);
		poll(&p, 1, STOP_MS);
	}
	if (s->child) {
		waitpid(s->pid, NULL, WNOHANG); /* its handle is closed: libuv won't reap it */
	}
}

void bh_bus_server_free(struct bh_bus_server *server, bool stop)
{
	if (!server) {
		return;
	}
	server->closing = true;
	probe_end(server);
	close_handle(server->watch);
	close_handle(server->timer);
	if (server->pid && stop) {
		stop_process(server);
	}
	close_handle(server->child);
	if (server->pidfd >= 0) {
		close(server->pidfd);
	}
	server_free(server);
}

bool bh_bus_server_up(const struct bh_bus_server *server)
{
	return server->up;
}

pid_t bh_bus_server_pid(const struct bh_bus_server *server)
{
	return server->pid;
}

const char *bh_bus_server_url(const struct bh_bus_server *server)
{
	return server->url;
}

json_t *bh_bus_server_dump(const struct bh_bus_server *server)
{
	return json_pack("{s:b, s:i, s:b, s:I, s:s, s:s, s:I}", "up", server->up, "pid",
			 (int)server->pid, "adopted", server->adopted, "starts",
			 (json_int_t)server->starts, "last_error", server->last_error, "listen",
			 server->options.listen, "hosts", (json_int_t)server->host_count);
}
