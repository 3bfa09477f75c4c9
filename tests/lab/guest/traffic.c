/* SPDX-License-Identifier: Apache-2.0 */
/* Honest traffic through the guest's own stack: one attempt, servers, and flows that count what
 * they lose. */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct target {
	struct sockaddr_storage addr;
	socklen_t size;
	int family;
};

enum outcome { CONNECTED, REFUSED, TIMEOUT, UNREACHABLE, RESET, BROKEN };

static const char *outcome_name(enum outcome o)
{
	static const char *const names[] = {"connected",   "refused", "timeout",
					    "unreachable", "reset",   "error"};

	return names[o];
}

static enum outcome outcome_of(int error)
{
	switch (error) {
	case 0:
		return CONNECTED;
	case ECONNREFUSED:
		return REFUSED;
	case ECONNRESET:
	case EPIPE:
		return RESET;
	case ETIMEDOUT:
	case EAGAIN:
		return TIMEOUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EACCES: /* ICMP administratively prohibited */
	case EPERM:
		return UNREACHABLE;
	default:
		return BROKEN;
	}
}

static bool parse_target(const json_t *req, struct target *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->addr;
	const char *dst = str_of(req, "dst", "");
	uint16_t port = htons((uint16_t)int_of(req, "port", 0));

	*ret = (struct target){};
	if (inet_pton(AF_INET, dst, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		ret->size = sizeof(*v4);
	} else if (inet_pton(AF_INET6, dst, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port;
		v6->sin6_scope_id =
			IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) ? if_nametoindex("eth0") : 0;
		ret->size = sizeof(*v6);
	} else {
		errno = EINVAL;
		return false;
	}
	ret->family = ret->addr.ss_family;
	return true;
}

static int wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, timeout_ms);
}

static int open_socket(const json_t *req, int family, int type)
{
	const char *proto = str_of(req, "proto", "tcp");
	int number = !strcmp(proto, "sctp") ? IPPROTO_SCTP : 0;
	int sport = int_of(req, "sport", 0), on = 1;
	int fd = socket(family, type | SOCK_CLOEXEC, number);

	if (fd >= 0 && sport) {
		struct sockaddr_in6 any = {.sin6_family = (sa_family_t)family,
					   .sin6_port = htons((uint16_t)sport)};

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&any,
			 family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(any))) {
			close(fd);
			return -1;
		}
	}
	return fd;
}

/* Connects within the time given; *ret_fd is open only when the answer is CONNECTED. */
static enum outcome connect_to(const json_t *req, const struct target *to, int timeout_ms,
			       int *ret_fd)
{
	int fd = open_socket(req, to->family, SOCK_STREAM), error = 0;
	socklen_t size = sizeof(error);

	*ret_fd = -1;
	if (fd < 0) {
		return BROKEN;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, (const struct sockaddr *)&to->addr, to->size)) {
		error = errno;
		if (error == EINPROGRESS) {
			error = ETIMEDOUT;
			if (wait_for(fd, POLLOUT, timeout_ms) > 0) {
				getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
			}
		}
	}
	if (error) {
		close(fd);
		return outcome_of(error);
	}
	fcntl(fd, F_SETFL, 0);
	*ret_fd = fd;
	return CONNECTED;
}

static json_t *outcome_json(enum outcome outcome, uint64_t start_us, const char *text)
{
	return json_pack("{s:s, s:I, s:s}", "result", outcome_name(outcome), "us",
			 (json_int_t)(now_us() - start_us), "reply", text);
}

/* {"op":"tcp", "dst", "port", "send":"text", "timeout_ms"}: the reply says how the attempt ended */
static json_t *op_tcp(const json_t *req, struct job_stats *stats)
{
	int timeout_ms = int_of(req, "timeout_ms", 12000), fd;
	const char *text = str_of(req, "send", NULL);
	uint64_t start = now_us();
	char got[2048] = "";
	enum outcome outcome;
	struct target to;
	ssize_t n;

	(void)stats;
	if (!parse_target(req, &to)) {
		return failed("dst");
	}
	outcome = connect_to(req, &to, timeout_ms, &fd);
	if (outcome == CONNECTED && text) {
		n = send(fd, text, strlen(text), MSG_NOSIGNAL);
		if (n >= 0 && wait_for(fd, POLLIN, timeout_ms) > 0) {
			n = recv(fd, got, sizeof(got) - 1, 0);
		} else if (n >= 0) {
			outcome = TIMEOUT;
		}
		if (n < 0) {
			outcome = outcome_of(errno);
		}
	}
	if (fd >= 0) {
		close(fd);
	}
	return outcome_json(outcome, start, got);
}

static enum outcome udp_exchange(int fd, const char *text, size_t size, int timeout_ms, char *got,
				 size_t got_size)
{
	ssize_t n;

	if (send(fd, text, size, MSG_NOSIGNAL) < 0) {
		return outcome_of(errno);
	}
	if (wait_for(fd, POLLIN, timeout_ms) <= 0) {
		return TIMEOUT;
	}
	n = recv(fd, got, got_size - 1, 0);
	if (n < 0) {
		return outcome_of(errno);
	}
	got[n] = '\0';
	return CONNECTED;
}

/* {"op":"udp", "dst", "port", "send":"text", "size", "timeout_ms"}; size pads the datagram */
static json_t *op_udp(const json_t *req, struct job_stats *stats)
{
	static char buf[65536], got[65536];
	const char *text = str_of(req, "send", "ping");
	size_t size = (size_t)int_of(req, "size", (int)strlen(text));
	uint64_t start = now_us();
	enum outcome outcome;
	struct target to;
	int fd, on = 0;

	(void)stats;
	if (!parse_target(req, &to) || size > 60000) {
		return failed("dst");
	}
	fd = open_socket(req, to.family, SOCK_DGRAM);
	/* without path MTU discovery a large datagram goes out in fragments */
	setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &on, sizeof(on));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to.addr, to.size)) {
		return failed("udp");
	}
	memset(buf, '.', sizeof(buf));
	memcpy(buf, text, strlen(text) < size ? strlen(text) : size);
	outcome = udp_exchange(fd, buf, size, int_of(req, "timeout_ms", 8000), got, sizeof(got));
	close(fd);
	got[512] = '\0';
	return outcome_json(outcome, start, got);
}

static uint16_t checksum(const void *data, size_t size)
{
	const uint16_t *p = data;
	uint32_t sum = 0;

	for (; size > 1; size -= 2) {
		sum += *p++;
	}
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* One echo request and its reply. ICMP errors about it come back as UNREACHABLE. */
static enum outcome ping_once(int fd, const struct target *to, uint16_t seq, int timeout_ms)
{
	uint16_t id = (uint16_t)getpid();
	struct icmphdr req = {.type = to->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	uint64_t deadline = now_us() + (uint64_t)timeout_ms * 1000;
	uint8_t buf[2048];

	req.un.echo.id = id;
	req.un.echo.sequence = htons(seq);
	req.checksum = to->family == AF_INET ? checksum(&req, sizeof(req)) : 0;
	if (sendto(fd, &req, sizeof(req), 0, (const struct sockaddr *)&to->addr, to->size) < 0) {
		return outcome_of(errno);
	}
	while (now_us() < deadline) {
		const struct icmphdr *icmp = (const struct icmphdr *)buf;
		ssize_t n;

		if (wait_for(fd, POLLIN, (int)((deadline - now_us()) / 1000)) <= 0) {
			break;
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (to->family == AF_INET && n > 20) {
			icmp = (const struct icmphdr *)(buf + (buf[0] & 15) * 4);
		}
		if (n < 8 || (icmp->type != ICMP_ECHOREPLY && icmp->type != ICMP6_ECHO_REPLY)) {
			if (n < 0) {
				return outcome_of(errno);
			}
			continue;
		}
		if (icmp->un.echo.id == id && icmp->un.echo.sequence == htons(seq)) {
			return CONNECTED;
		}
	}
	return TIMEOUT;
}

static int open_ping(const struct target *to)
{
	return socket(to->family, SOCK_RAW | SOCK_CLOEXEC,
		      to->family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
}

/* {"op":"ping", "dst", "count", "interval_ms", "timeout_ms"} */
static json_t *op_ping(const json_t *req, struct job_stats *stats)
{
	int count = int_of(req, "count", 1);
	enum outcome last = BROKEN;
	struct target to;
	int fd;

	if (!parse_target(req, &to)) {
		return failed("dst");
	}
	fd = open_ping(&to);
	for (int i = 0; i < count; i++) {
		last = ping_once(fd, &to, (uint16_t)(i + 1), int_of(req, "timeout_ms", 4000));
		stats->sent++;
		stats->received += last == CONNECTED;
		if (i + 1 < count) {
			usleep((unsigned int)int_of(req, "interval_ms", 50) * 1000);
		}
	}
	close(fd);
	return json_pack("{s:I, s:I, s:s}", "sent", (json_int_t)stats->sent, "received",
			 (json_int_t)stats->received, "result",
			 stats->received ? "connected" : outcome_name(last));
}

static void answer(int fd, const json_t *req, struct job_stats *stats)
{
	const char *mode = str_of(req, "mode", "echo");
	char buf[4096], host[64] = "";
	ssize_t n;

	gethostname(host, sizeof(host) - 1);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		__atomic_add_fetch(&stats->received, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&stats->bytes, (uint64_t)n, __ATOMIC_RELAXED);
		if (!strcmp(mode, "echo")) {
			(void)!send(fd, buf, (size_t)n, MSG_NOSIGNAL);
		} else {
			dprintf(fd, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s\n",
				host);
			return;
		}
	}
}

_Noreturn static void serve_datagrams(int fd, struct job_stats *stats)
{
	static char buf[65536];

	for (;;) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size);

		if (n >= 0) {
			stats->received++;
			stats->bytes += (uint64_t)n;
			(void)!sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, size);
		}
	}
}

/* {"op":"serve", "name", "proto":"tcp|udp|sctp", "port", "mode":"echo|http"}: IPv4 and IPv6 */
static json_t *op_serve(const json_t *req, struct job_stats *stats)
{
	bool datagram = !strcmp(str_of(req, "proto", "tcp"), "udp");
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)int_of(req, "port", 0))};
	int on = 1, off = 0, fd = open_socket(req, AF_INET6, datagram ? SOCK_DGRAM : SOCK_STREAM);

	signal(SIGCHLD, SIG_IGN);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any))) {
		return failed("bind");
	}
	if (datagram) {
		stats->ready = true;
		serve_datagrams(fd, stats);
	}
	if (listen(fd, 64)) {
		return failed("listen");
	}
	stats->ready = true;
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0) {
			continue;
		}
		stats->connects++;
		if (fork() == 0) {
			answer(client, req, stats);
			_exit(0);
		}
		close(client);
	}
}

static void note_rtt(struct job_stats *stats, uint64_t start_us)
{
	uint64_t rtt = now_us() - start_us;

	stats->received++;
	if (rtt > stats->max_rtt_us) {
		stats->max_rtt_us = rtt;
	}
}

static json_t *stream_flow(const json_t *req, const struct target *to, struct job_stats *stats)
{
	int patience_ms = int_of(req, "timeout_ms", 5000), fd;
	enum outcome outcome = connect_to(req, to, patience_ms, &fd);
	char message[64], got[64];

	if (outcome != CONNECTED) {
		snprintf(stats->error, sizeof(stats->error), "%s", outcome_name(outcome));
		return NULL;
	}
	stats->connects++;
	stats->ready = true;
	for (;;) {
		uint64_t start = now_us();
		ssize_t n;

		snprintf(message, sizeof(message), "%063u", (unsigned int)stats->sent);
		n = send(fd, message, sizeof(message), MSG_NOSIGNAL);
		stats->sent++;
		if (n > 0 && wait_for(fd, POLLIN, patience_ms) <= 0) {
			snprintf(stats->error, sizeof(stats->error), "timeout");
			return NULL;
		}
		n = n > 0 ? recv(fd, got, sizeof(got), MSG_WAITALL) : n;
		if (n != (ssize_t)sizeof(got)) {
			snprintf(stats->error, sizeof(stats->error), "%s",
				 n < 0 ? outcome_name(outcome_of(errno)) : "closed");
			return NULL;
		}
		note_rtt(stats, start);
		usleep((unsigned int)int_of(req, "interval_ms", 20) * 1000);
	}
}

static json_t *datagram_flow(const json_t *req, const struct target *to, struct job_stats *stats)
{
	bool ping = !strcmp(str_of(req, "proto", ""), "icmp");
	int fd = ping ? open_ping(to) : open_socket(req, to->family, SOCK_DGRAM);
	int patience_ms = int_of(req, "timeout_ms", 1000);
	char message[64], got[64];

	if (fd < 0 || (!ping && connect(fd, (const struct sockaddr *)&to->addr, to->size))) {
		return failed("flow");
	}
	stats->ready = true;
	for (;;) {
		uint64_t start = now_us();
		enum outcome outcome;

		snprintf(message, sizeof(message), "%063u", (unsigned int)stats->sent);
		outcome = ping ? ping_once(fd, to, (uint16_t)stats->sent, patience_ms)
			       : udp_exchange(fd, message, sizeof(message), patience_ms, got,
					      sizeof(got));
		stats->sent++;
		if (outcome == CONNECTED) {
			note_rtt(stats, start);
		} else {
			stats->timeouts += outcome == TIMEOUT;
			stats->refused += outcome == REFUSED || outcome == UNREACHABLE;
		}
		usleep((unsigned int)int_of(req, "interval_ms", 20) * 1000);
	}
}

/* {"op":"flow", "name", "proto":"tcp|udp|sctp|icmp", "dst", "port", "interval_ms", "timeout_ms"}:
 * one connection for as long as it lives; sent == received (+1 under way) means that nothing was
 * lost */
static json_t *op_flow(const json_t *req, struct job_stats *stats)
{
	const char *proto = str_of(req, "proto", "tcp");
	struct target to;

	if (!parse_target(req, &to)) {
		return failed("dst");
	}
	if (!strcmp(proto, "udp") || !strcmp(proto, "icmp")) {
		return datagram_flow(req, &to, stats);
	}
	return stream_flow(req, &to, stats);
}

/* {"op":"knock", "name", "dst", "port", "interval_ms", "timeout_ms"}: new connections again and
 * again */
static json_t *op_knock(const json_t *req, struct job_stats *stats)
{
	struct target to;

	if (!parse_target(req, &to)) {
		return failed("dst");
	}
	stats->ready = true;
	for (;;) {
		int fd;
		enum outcome outcome = connect_to(req, &to, int_of(req, "timeout_ms", 300), &fd);

		stats->sent++;
		stats->connects += outcome == CONNECTED;
		stats->refused += outcome == REFUSED || outcome == UNREACHABLE || outcome == RESET;
		stats->timeouts += outcome == TIMEOUT;
		stats->errors += outcome == BROKEN;
		if (fd >= 0) {
			close(fd);
		}
		usleep((unsigned int)int_of(req, "interval_ms", 20) * 1000);
	}
}

const struct op traffic_ops[] = {
	{"tcp", op_tcp, false},	   {"udp", op_udp, false},  {"ping", op_ping, false},
	{"serve", op_serve, true}, {"flow", op_flow, true}, {"knock", op_knock, true},
	{NULL, NULL, false},
};
