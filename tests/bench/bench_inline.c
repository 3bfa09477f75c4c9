/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench_inline.py runs inside its namespaces: senders and receivers that are faster than what
 * they measure. One word of what to do, then numbers:
 *   flood ADDRESS PPS SECONDS SIZE FLOWS   datagrams at a rate (0: as fast as it goes) from 8
 *                                          addresses of the network; prints sent, seconds
 *   sink ADDRESS                           counts datagrams; prints how many per line read
 *   echo ADDRESS                           sends every datagram back
 *   ping COUNT GAP_US ADDRESS..            round trips, one way after the other in turn; prints
 *                                          `address p50 p99 lost` (us) for each
 *   stream ADDRESS SECONDS                 TCP, as fast as it goes; prints bytes that were taken
 *   drain ADDRESS                          reads what streams bring
 */
#include "base/time.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT	   9000
#define BATCH	   32
#define FLOWS_MAX  1024
#define HOSTS	   8
#define HOST_FIRST 10
#define SIZE_MAX_B 1472
#define BUFFER	   (32 << 20)
#define PING_MS	   200
#define PINGS_MAX  200000
#define WAYS_MAX   4

static int fail(const char *what)
{
	fprintf(stderr, "bench_inline: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Its own address is that of the network with this last part; 0: whichever. */
static int open_socket(int type, const char *address, bool listening, unsigned int host)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), size = BUFFER, on = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1) {
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (type == SOCK_DGRAM) {
		(void)setsockopt(fd, SOL_SOCKET, listening ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, &size,
				 sizeof(size));
	}
	if (host) {
		struct sockaddr_in from = {.sin_family = AF_INET};

		from.sin_addr.s_addr = htonl((ntohl(at.sin_addr.s_addr) & ~0xffu) | host);
		if (bind(fd, (struct sockaddr *)&from, sizeof(from))) {
			close(fd);
			return -1;
		}
	}
	if (listening ? bind(fd, (struct sockaddr *)&at, sizeof(at))
		      : connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- datagrams at a rate ---- */

/* One batch goes out of one socket; the next of the next. */
static unsigned int send_batch(int fd, uint8_t *data, size_t size, uint64_t *number)
{
	struct mmsghdr msgs[BATCH] = {};
	struct iovec parts[BATCH];
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		memcpy(data + i * size, number, sizeof(*number));
		(*number)++;
		parts[i] = (struct iovec){data + i * size, size};
		msgs[i].msg_hdr.msg_iov = &parts[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = sendmmsg(fd, msgs, BATCH, 0);
	return n > 0 ? (unsigned int)n : 0;
}

static void wait_until(uint64_t at_ns)
{
	struct timespec at = {.tv_sec = (time_t)(at_ns / BH_NS_PER_S),
			      .tv_nsec = (long)(at_ns % BH_NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
	}
}

static int flood(const char *address, uint64_t pps, uint64_t seconds, size_t size,
		 unsigned int flows)
{
	static uint8_t data[BATCH * SIZE_MAX_B];
	int fds[FLOWS_MAX];
	uint64_t sent = 0, number = 0, began, now;

	size = size < sizeof(number) ? sizeof(number) : size > SIZE_MAX_B ? SIZE_MAX_B : size;
	flows = flows < 1 ? 1 : flows > FLOWS_MAX ? FLOWS_MAX : flows;
	for (unsigned int i = 0; i < flows; i++) {
		fds[i] = open_socket(SOCK_DGRAM, address, false, HOST_FIRST + i % HOSTS);
		if (fds[i] < 0) {
			return fail(address);
		}
	}
	began = bh_time_mono_ns();
	for (unsigned int turn = 0; (now = bh_time_mono_ns()) - began < seconds * BH_NS_PER_S;
	     turn++) {
		if (pps && sent * BH_NS_PER_S / pps > now - began) {
			wait_until(began + sent * BH_NS_PER_S / pps);
		}
		sent += send_batch(fds[turn % flows], data, size, &number);
	}
	printf("%llu %.3f\n", (unsigned long long)sent,
	       (double)(bh_time_mono_ns() - began) / (double)BH_NS_PER_S);
	return 0;
}

struct sink {
	int fd;
	_Atomic uint64_t received;
};

static void *count(void *arg)
{
	static uint8_t data[BATCH][64];
	struct mmsghdr msgs[BATCH] = {};
	struct iovec parts[BATCH];
	struct sink *sink = arg;

	for (unsigned int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){data[i], sizeof(data[i])};
		msgs[i].msg_hdr.msg_iov = &parts[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		int n = recvmmsg(sink->fd, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (n > 0) {
			atomic_fetch_add_explicit(&sink->received, (uint64_t)n,
						  memory_order_relaxed);
		}
	}
	return NULL;
}

static int sink(const char *address)
{
	static struct sink here;
	char line[16];
	pthread_t thread;

	here.fd = open_socket(SOCK_DGRAM, address, true, 0);
	if (here.fd < 0 || pthread_create(&thread, NULL, count, &here)) {
		return fail(address);
	}
	puts("ready");
	while (fflush(stdout) == 0 && fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)atomic_load(&here.received));
	}
	return 0;
}

/* ---- round trips ---- */

static int echo(const char *address)
{
	int fd = open_socket(SOCK_DGRAM, address, true, 0);
	uint8_t data[SIZE_MAX_B];

	if (fd < 0) {
		return fail(address);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);

		if (n > 0) {
			(void)sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, size);
		}
	}
}

struct way {
	const char *address;
	int fd;
	uint32_t *took_ns;
	unsigned int count, lost;
};

static bool ping_once(struct way *way, uint64_t number)
{
	uint64_t began = bh_time_mono_ns(), got = 0;
	struct pollfd pollfd = {.fd = way->fd, .events = POLLIN};

	if (send(way->fd, &number, sizeof(number), 0) < 0) {
		return false;
	}
	/* the answer to an earlier one, which came too late, is not ours */
	while (poll(&pollfd, 1, PING_MS) == 1) {
		if (recv(way->fd, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) &&
		    got == number) {
			way->took_ns[way->count++] = (uint32_t)(bh_time_mono_ns() - began);
			return true;
		}
	}
	return false;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int ping(unsigned int times, unsigned int gap_us, char **addresses, unsigned int count)
{
	struct way ways[WAYS_MAX] = {};

	times = times > PINGS_MAX ? PINGS_MAX : times;
	for (unsigned int i = 0; i < count; i++) {
		ways[i].address = addresses[i];
		ways[i].took_ns = bh_alloc_array(times, sizeof(*ways[i].took_ns));
		ways[i].fd = open_socket(SOCK_DGRAM, addresses[i], false, 0);
		if (ways[i].fd < 0) {
			return fail(addresses[i]);
		}
	}
	for (uint64_t i = 0; i < (uint64_t)times * count; i++) {
		wait_until(bh_time_mono_ns() + gap_us * 1000ull);
		ways[i % count].lost += !ping_once(&ways[i % count], i);
	}
	for (unsigned int i = 0; i < count; i++) {
		struct way *w = &ways[i];

		qsort(w->took_ns, w->count, sizeof(*w->took_ns), by_size);
		printf("%s %.1f %.1f %u\n", w->address,
		       w->count ? w->took_ns[w->count / 2] / 1000.0 : 0,
		       w->count ? w->took_ns[w->count * 99ull / 100] / 1000.0 : 0, w->lost);
		free(w->took_ns);
	}
	return 0;
}

/* ---- bulk ---- */

static int stream(const char *address, uint64_t seconds)
{
	static uint8_t data[128 << 10];
	int fd = open_socket(SOCK_STREAM, address, false, 0);
	uint64_t began = bh_time_mono_ns(), bytes = 0, seed = 1;

	if (fd < 0) {
		return fail(address);
	}
	/* as what is encrypted: zeros are what many rules look for */
	for (size_t i = 0; i < sizeof(data); i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		data[i] = (uint8_t)(seed >> 56);
	}
	while (bh_time_mono_ns() - began < seconds * BH_NS_PER_S) {
		ssize_t n = send(fd, data, sizeof(data), MSG_NOSIGNAL);

		if (n < 0) {
			return fail(address);
		}
		bytes += (uint64_t)n;
	}
	shutdown(fd, SHUT_WR);
	/* the other side closes when it has everything */
	if (recv(fd, data, 1, 0) != 0) {
		return fail(address);
	}
	printf("%llu %.3f\n", (unsigned long long)bytes,
	       (double)(bh_time_mono_ns() - began) / (double)BH_NS_PER_S);
	return 0;
}

static int drain(const char *address)
{
	static uint8_t data[256 << 10];
	int listener = open_socket(SOCK_STREAM, address, true, 0);

	if (listener < 0 || listen(listener, 8)) {
		return fail(address);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		while (fd >= 0 && recv(fd, data, sizeof(data), 0) > 0) {
		}
		close(fd);
	}
}

int main(int argc, char **argv)
{
	const char *word = argc > 2 ? argv[1] : "";

	if (strcmp(word, "flood") == 0 && argc == 7) {
		return flood(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
			     strtoull(argv[5], NULL, 10), (unsigned int)atoi(argv[6]));
	}
	if (strcmp(word, "sink") == 0) {
		return sink(argv[2]);
	}
	if (strcmp(word, "echo") == 0) {
		return echo(argv[2]);
	}
	if (strcmp(word, "ping") == 0 && argc > 4 && argc <= 4 + WAYS_MAX) {
		return ping((unsigned int)atoi(argv[2]), (unsigned int)atoi(argv[3]), argv + 4,
			    (unsigned int)argc - 4);
	}
	if (strcmp(word, "stream") == 0 && argc == 4) {
		return stream(argv[2], strtoull(argv[3], NULL, 10));
	}
	if (strcmp(word, "drain") == 0) {
		return drain(argv[2]);
	}
	fputs("usage: see the head of bench_inline.c\n", stderr);
	return 2;
}
