/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's loop: reads requests, starts a child for each, keeps the table of jobs. */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX     64
#define REQUEST_MAX  (256 * 1024)
#define OUTPUT_MAX   24000
#define LINE_MAX_OUT 32000 /* one write to a virtio port of up to 32 KiB is not interleaved */

struct job {
	char name[48];
	pid_t pid;
	struct job_stats *stats;
};

struct agent {
	int port;
	struct job job[JOBS_MAX];
	size_t used;
	char *request;
};

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const char *str_of(const json_t *req, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(req, key));

	return s ? s : otherwise;
}

int int_of(const json_t *req, const char *key, int otherwise)
{
	const json_t *v = json_object_get(req, key);

	return json_is_integer(v) ? (int)json_integer_value(v) : otherwise;
}

json_t *failed(const char *what)
{
	return json_pack("{s:b, s:o}", "ok", 0, "error",
			 json_sprintf("%s: %s", what, strerror(errno)));
}

static void reply(int port, const json_t *req, json_t *body)
{
	char *text;
	size_t len;

	if (!body) {
		body = json_object();
	}
	if (!json_object_get(body, "ok")) {
		json_object_set_new(body, "ok", json_true());
	}
	json_object_set(body, "id", json_object_get(req, "id"));
	text = json_dumps(body, JSON_COMPACT);
	len = text ? strlen(text) : 0;
	if (len && len < LINE_MAX_OUT) {
		text[len] = '\n';
		(void)!write(port, text, len + 1);
	} else {
		dprintf(port, "{\"id\":%d,\"ok\":false,\"error\":\"reply too long\"}\n",
			int_of(req, "id", 0));
	}
	free(text);
	json_decref(body);
}

static json_t *run_shell(const json_t *req, struct job_stats *stats)
{
	static char out[OUTPUT_MAX + 1];
	size_t used = 0, n;
	char rest[1024];
	int status;
	FILE *p;

	(void)stats;
	alarm((unsigned int)int_of(req, "timeout_s", 60));
	p = popen(str_of(req, "cmd", "true"), "r");
	if (!p) {
		return failed("popen");
	}
	while ((n = fread(out + used, 1, OUTPUT_MAX - used, p)) > 0) {
		used += n;
	}
	while (fread(rest, 1, sizeof(rest), p) > 0) {
	}
	status = pclose(p);
	for (size_t i = 0; i < used; i++) { /* JSON wants UTF-8 */
		if ((unsigned char)out[i] >= 0x80 || !out[i]) {
			out[i] = '?';
		}
	}
	out[used] = '\0';
	return json_pack("{s:i, s:s}", "rc", WIFEXITED(status) ? WEXITSTATUS(status) : -1, "out",
			 out);
}

static const struct op shell_ops[] = {{"sh", run_shell, false}, {NULL, NULL, false}};

static const struct op *find_op(const char *name)
{
	const struct op *const tables[] = {shell_ops, traffic_ops, swarm_ops, raw_ops};

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct op *op = tables[t]; op->name; op++) {
			if (!strcmp(op->name, name)) {
				return op;
			}
		}
	}
	return NULL;
}

static struct job *find_job(struct agent *agent, const char *name)
{
	for (size_t i = 0; i < JOBS_MAX; i++) {
		if (agent->job[i].stats && !strcmp(agent->job[i].name, name)) {
			return &agent->job[i];
		}
	}
	return NULL;
}

static void end_job(struct job *job)
{
	kill(-job->pid, SIGKILL);
	kill(job->pid, SIGKILL);
	munmap(job->stats, sizeof(*job->stats));
	*job = (struct job){};
}

static json_t *stats_json(const struct job_stats *s)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:b,s:s}", "sent",
			 (json_int_t)s->sent, "received", (json_int_t)s->received, "connects",
			 (json_int_t)s->connects, "refused", (json_int_t)s->refused, "timeouts",
			 (json_int_t)s->timeouts, "errors", (json_int_t)s->errors, "bytes",
			 (json_int_t)s->bytes, "frames", (json_int_t)s->frames, "matched",
			 (json_int_t)s->matched, "foreign", (json_int_t)s->foreign, "max_rtt_us",
			 (json_int_t)s->max_rtt_us, "ran_us",
			 (json_int_t)(now_us() - s->started_us), "ready", s->ready, "done", s->done,
			 "error", s->error);
}

static json_t *frames_json(const struct job_stats *s, uint32_t first)
{
	json_t *list = json_array();
	char hex[FRAME_MAX_BYTES * 2 + 1];
	uint32_t end = first + 40 < s->kept ? first + 40 : s->kept;

	for (uint32_t i = first; i < end; i++) {
		const struct frame *f = &s->frame[i];
		size_t n = f->size < FRAME_MAX_BYTES ? f->size : FRAME_MAX_BYTES;

		hex[0] = '\0';
		for (size_t k = 0; k < n; k++) {
			snprintf(hex + 2 * k, 3, "%02x", f->data[k]);
		}
		json_array_append_new(list, json_string(hex));
	}
	return json_pack("{s:o, s:i}", "frames", list, "kept", (int)s->kept);
}

static struct job *new_job(struct agent *agent, const char *name)
{
	struct job *job = find_job(agent, name);

	if (job) {
		end_job(job);
	}
	for (size_t i = 0; i < JOBS_MAX; i++) {
		if (!agent->job[i].stats) {
			job = &agent->job[i];
			job->stats = mmap(NULL, sizeof(*job->stats), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
			if (job->stats == MAP_FAILED) {
				job->stats = NULL;
				return NULL;
			}
			snprintf(job->name, sizeof(job->name), "%s", name);
			job->stats->started_us = now_us();
			return job;
		}
	}
	return NULL;
}

static void start_background(struct agent *agent, const struct op *op, const json_t *req)
{
	struct job *job = new_job(agent, str_of(req, "name", op->name));

	if (!job) {
		errno = ENOSPC;
		reply(agent->port, req, failed("job"));
		return;
	}
	job->pid = fork();
	if (job->pid == 0) {
		json_t *body;

		setpgid(0, 0);
		body = op->run(req, job->stats);
		if (body && json_is_false(json_object_get(body, "ok"))) {
			snprintf(job->stats->error, sizeof(job->stats->error), "%s",
				 str_of(body, "error", ""));
		}
		job->stats->done = true;
		_exit(0);
	}
	setpgid(job->pid, job->pid);
	reply(agent->port, req, json_pack("{s:i}", "pid", (int)job->pid));
}

static void start_foreground(struct agent *agent, const struct op *op, const json_t *req)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct job_stats *stats = calloc(1, sizeof(*stats));

		reply(agent->port, req, op->run(req, stats));
		_exit(0);
	}
	if (pid < 0) {
		reply(agent->port, req, failed("fork"));
	}
}

static void hello(struct agent *agent, const json_t *req)
{
	struct utsname u;

	uname(&u);
	reply(agent->port, req,
	      json_pack("{s:s, s:s, s:I}", "name", u.nodename, "kernel", u.release, "up_us",
			(json_int_t)now_us()));
}

static void handle(struct agent *agent, const json_t *req)
{
	const char *name = str_of(req, "op", "");
	const struct op *op = find_op(name);
	struct job *job = find_job(agent, str_of(req, "name", ""));

	if (op) {
		(op->background ? start_background : start_foreground)(agent, op, req);
	} else if (!strcmp(name, "hello")) {
		hello(agent, req);
	} else if (!strcmp(name, "off")) {
		sync();
		reboot(RB_POWER_OFF);
	} else if (!job) {
		errno = ENOENT;
		reply(agent->port, req, failed("no such operation or job"));
	} else if (!strcmp(name, "stat")) {
		reply(agent->port, req, stats_json(job->stats));
	} else if (!strcmp(name, "frames")) {
		reply(agent->port, req, frames_json(job->stats, (uint32_t)int_of(req, "first", 0)));
	} else if (!strcmp(name, "stop")) {
		json_t *body = stats_json(job->stats);

		end_job(job);
		reply(agent->port, req, body);
	} else {
		errno = EINVAL;
		reply(agent->port, req, failed("operation"));
	}
}

static size_t take_lines(struct agent *agent, size_t used)
{
	char *end;

	while ((end = memchr(agent->request, '\n', used))) {
		size_t line = (size_t)(end - agent->request) + 1;
		json_error_t error;
		json_t *req = json_loadb(agent->request, line, 0, &error);

		if (req) {
			handle(agent, req);
			json_decref(req);
		} else {
			dprintf(agent->port, "{\"ok\":false,\"error\":\"not JSON\"}\n");
		}
		memmove(agent->request, end + 1, used - line);
		used -= line;
	}
	return used == REQUEST_MAX ? 0 : used;
}

void agent_loop(int port)
{
	struct agent agent = {.port = port, .request = malloc(REQUEST_MAX)};

	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct pollfd p = {.fd = port, .events = POLLIN};
		ssize_t n;

		poll(&p, 1, 500);
		while (waitpid(-1, NULL, WNOHANG) > 0) {
		}
		if (!(p.revents & POLLIN)) {
			if (p.revents & POLLHUP) { /* nobody on the host's side */
				usleep(20000);
			}
			continue;
		}
		n = read(port, agent.request + agent.used, REQUEST_MAX - agent.used);
		if (n > 0) {
			agent.used = take_lines(&agent, agent.used + (size_t)n);
		} else {
			usleep(20000);
		}
	}
}
