/* SPDX-License-Identifier: Apache-2.0 */
/* Many TCP connections of one process: opened one after the other, all of them kept and used. */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SWARM_MAX 1000
#define MESSAGE	  16

enum member_state { FREE, OPENING, ASKED, ANSWERED, LOST };

struct member {
	int fd;
	enum member_state state;
	uint64_t since_us;
	size_t got;
};

struct swarm {
	struct sockaddr_storage addr;
	socklen_t size;
	struct member member[SWARM_MAX];
	size_t used, open;
	uint64_t patience_us, beat_us, next_round_us;
	struct job_stats *stats;
};

static void lose(struct swarm *s, struct member *m, int error)
{
	bool was_open = m->state != OPENING;

	close(m->fd);
	m->fd = -1;
	m->state = LOST;
	s->open -= was_open;
	if (was_open) {
		s->stats->errors++;
		snprintf(s->stats->error, sizeof(s->stats->error), "connection %zu: %s",
			 (size_t)(m - s->member), error ? strerror(error) : "closed");
	} else if (error == ETIMEDOUT) {
		s->stats->timeouts++;
	} else {
		s->stats->refused++;
	}
}

static void ask(struct swarm *s, struct member *m)
{
	static const char message[MESSAGE] = "swarm";

	if (send(m->fd, message, sizeof(message), MSG_NOSIGNAL) != (ssize_t)sizeof(message)) {
		lose(s, m, errno);
		return;
	}
	s->stats->sent++;
	m->state = ASKED;
	m->got = 0;
	m->since_us = now_us();
}

static void open_one(struct swarm *s)
{
	struct member *m = &s->member[s->used++];

	m->fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	m->state = OPENING;
	m->since_us = now_us();
	if (connect(m->fd, (struct sockaddr *)&s->addr, s->size) && errno != EINPROGRESS) {
		lose(s, m, errno);
	}
}

static void opened(struct swarm *s, struct member *m)
{
	socklen_t size = sizeof(int);
	int error = 0;

	getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		lose(s, m, error);
		return;
	}
	s->stats->connects++;
	s->open++;
	m->state = ANSWERED;
	ask(s, m);
}

static void answered(struct swarm *s, struct member *m)
{
	char buf[MESSAGE];
	ssize_t n = recv(m->fd, buf, sizeof(buf) - m->got, 0);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN) {
			lose(s, m, n ? errno : 0);
		}
		return;
	}
	m->got += (size_t)n;
	if (m->got == sizeof(buf)) {
		uint64_t rtt = now_us() - m->since_us;

		s->stats->received++;
		if (rtt > s->stats->max_rtt_us) {
			s->stats->max_rtt_us = rtt;
		}
		m->state = ANSWERED;
	}
}

/* All that are open have answered: the next round, when it is time. */
static void next_round(struct swarm *s)
{
	uint64_t now = now_us();
	bool complete = s->open > 0;

	for (size_t i = 0; i < s->used; i++) {
		struct member *m = &s->member[i];

		if ((m->state == OPENING || m->state == ASKED) &&
		    now - m->since_us > s->patience_us) {
			lose(s, m, ETIMEDOUT);
		}
		complete &= m->state != ASKED;
	}
	if (!complete || now < s->next_round_us) {
		return;
	}
	s->stats->frames++;
	s->next_round_us = now + s->beat_us;
	for (size_t i = 0; i < s->used; i++) {
		if (s->member[i].state == ANSWERED) {
			ask(s, &s->member[i]);
		}
	}
}

static void wait_and_read(struct swarm *s)
{
	static struct pollfd poll_fd[SWARM_MAX];
	static struct member *at[SWARM_MAX];
	nfds_t n = 0;

	for (size_t i = 0; i < s->used; i++) {
		struct member *m = &s->member[i];

		if (m->state == OPENING || m->state == ASKED || m->state == ANSWERED) {
			poll_fd[n] = (struct pollfd){
				.fd = m->fd, .events = m->state == OPENING ? POLLOUT : POLLIN};
			at[n++] = m;
		}
	}
	if (poll(poll_fd, n, 10) <= 0) {
		return;
	}
	for (nfds_t i = 0; i < n; i++) {
		if (poll_fd[i].revents && at[i]->state == OPENING) {
			opened(s, at[i]);
		} else if (poll_fd[i].revents) {
			answered(s, at[i]);
		}
	}
}

static bool read_target(const json_t *req, struct swarm *s)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->addr;
	const char *dst = str_of(req, "dst", "");
	uint16_t port = htons((uint16_t)int_of(req, "port", 0));

	if (inet_pton(AF_INET, dst, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		s->size = sizeof(*v4);
		return true;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = port;
	s->size = sizeof(*v6);
	return inet_pton(AF_INET6, dst, &v6->sin6_addr) == 1;
}

/* {"op":"swarm", "name", "dst", "port", "count", "interval_ms", "beat_ms", "timeout_ms"}:
 * `connects` have been opened, `errors` were lost after that, `refused` and `timeouts` never came
 * to be, `frames` counts rounds in which all that are open have answered */
static json_t *op_swarm(const json_t *req, struct job_stats *stats)
{
	static struct swarm s;
	size_t count = (size_t)int_of(req, "count", 50);
	uint64_t interval_us = (uint64_t)int_of(req, "interval_ms", 50) * 1000, next_us = 0;

	s.stats = stats;
	s.patience_us = (uint64_t)int_of(req, "timeout_ms", 8000) * 1000;
	s.beat_us = (uint64_t)int_of(req, "beat_ms", 200) * 1000;
	if (!read_target(req, &s) || count > SWARM_MAX) {
		errno = EINVAL;
		return failed("swarm");
	}
	stats->ready = true;
	for (;;) {
		if (s.used < count && now_us() >= next_us) {
			next_us = now_us() + interval_us;
			open_one(&s);
		}
		wait_and_read(&s);
		next_round(&s);
	}
}

const struct op swarm_ops[] = {
	{"swarm", op_swarm, true},
	{NULL, NULL, false},
};
