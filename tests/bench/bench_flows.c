/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate's flow table filled for real: bench_flows [FLOWS]. One worker without rules and records
 * gets one datagram of each of FLOWS (1,000,000) flows, then one more of each in another order,
 * then those of a tenth more flows, for which others must go. Then a worker with a quarter as many
 * TCP connections, each with a handshake and a request that waits for its answer. Prints rates and
 * the resident memory that a flow has cost.
 */
#include "base/util.h"
#include "gate/worker.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <time.h>

#define FLOWS	1000000
#define HEADERS (14 + 20)
#define REQUEST                                                                                    \
	"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\n"                                    \
	"User-Agent: bench\r\nAccept: */*\r\n\r\n"

struct bench {
	struct gate_config config;
	struct gate_shared *shared;
	struct gate_worker *worker;
	uint64_t time_us;
	size_t rss_before;
};

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t resident(void)
{
	BH_FCLOSE FILE *file = fopen("/proc/self/statm", "re");
	unsigned long all = 0, pages = 0;

	if (!file || fscanf(file, "%lu %lu", &all, &pages) != 2) {
		return 0;
	}
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void begin(struct bench *b, uint64_t flows)
{
	struct gate_worker_options options = {.config = &b->config};
	struct bh_diag diag = {};

	memset(b, 0, sizeof(*b));
	if (gate_config_load(NULL, &b->config, &diag)) {
		fprintf(stderr, "bench_flows: %s\n", diag.text);
		exit(1);
	}
	b->config.flow_count = flows;
	b->config.check_checksums = false;
	b->config.stream_memcap = UINT64_C(16) << 30;
	b->config.app_memcap = UINT64_C(16) << 30;
	b->time_us = 1700000000000000;
	b->rss_before = resident();
	b->shared = gate_shared_new(&b->config);
	options.shared = b->shared;
	b->worker = gate_worker_new(&options);
}

static void end(struct bench *b)
{
	gate_worker_free(b->worker);
	gate_shared_free(b->shared);
	gate_config_done(&b->config);
}

/* size: of what follows the network header, which stands behind HEADERS already. All of it happens
 * within a few seconds of packet time, so that none is over for its age. */
static void put(struct bench *b, uint8_t *frame, size_t size, uint32_t flow, bool back)
{
	struct gate_packet p = {.data = frame, .size = (uint32_t)(HEADERS + size), .link = 1};
	uint32_t client = htonl(0x0a000000u + (flow >> 10)), server = htonl(0xc0a80001u);
	uint16_t port = htons((uint16_t)(1024 + (flow & 1023))),
		 total = htons((uint16_t)(20 + size));
	uint16_t known = htons(80);

	frame[12] = 8;
	frame[14] = 0x45;
	memcpy(frame + 16, &total, 2);
	frame[22] = 64;
	memcpy(frame + (back ? 30 : 26), &client, 4);
	memcpy(frame + (back ? 26 : 30), &server, 4);
	memcpy(frame + HEADERS + (back ? 2 : 0), &port, 2);
	memcpy(frame + HEADERS + (back ? 0 : 2), &known, 2);
	p.wire_size = p.size;
	p.time_us = b->time_us += !(flow & 7);
	gate_worker_packet(b->worker, &p);
}

static void datagram(struct bench *b, uint32_t flow)
{
	uint8_t frame[HEADERS + 8] = {[23] = IPPROTO_UDP, [HEADERS + 5] = 8};

	put(b, frame, 8, flow, false);
}

static void segment(struct bench *b, uint32_t flow, bool back, uint8_t flags, const char *text)
{
	uint8_t frame[HEADERS + 20 + sizeof(REQUEST)] = {[23] = IPPROTO_TCP};
	uint32_t begun = flags & TH_SYN ? 0 : 1, sent = begun && back ? sizeof(REQUEST) - 1 : 0;
	uint32_t seq = htonl(1000 + begun), ack = htonl(1001 + sent);
	size_t size = strlen(text);

	memcpy(frame + HEADERS + 4, &seq, 4);
	if (flags & TH_ACK) {
		memcpy(frame + HEADERS + 8, &ack, 4);
	}
	frame[HEADERS + 12] = 0x50;
	frame[HEADERS + 13] = flags;
	frame[HEADERS + 14] = 0xff;
	memcpy(frame + HEADERS + 20, text, size);
	put(b, frame, 20 + size, flow, back);
}

static void connection(struct bench *b, uint32_t flow)
{
	segment(b, flow, false, TH_SYN, "");
	segment(b, flow, true, TH_SYN | TH_ACK, "");
	segment(b, flow, false, TH_ACK, "");
	segment(b, flow, false, TH_ACK | TH_PUSH, REQUEST);
	segment(b, flow, true, TH_ACK, "");
}

static uint64_t stat_of(struct bench *b, enum gate_stat stat)
{
	struct gate_stats sum = {};

	for (unsigned int i = 0; i < 12; i++) { /* a second, after which counters are published */
		gate_worker_tick(b->worker, b->time_us += 100000);
	}
	gate_worker_stats(b->worker, &sum);
	return sum.value[stat];
}

static void say(struct bench *b, const char *what, uint64_t count, double took)
{
	uint64_t active = stat_of(b, GATE_STAT_FLOW_ACTIVE);
	double grown = (double)(resident() - b->rss_before);

	printf("%-34s %8.0f k/s  %9llu flows  %6.0f bytes each  %6.0f MB  evicted %llu\n", what,
	       (double)count / took / 1000, (unsigned long long)active, grown / (double)active,
	       grown / 1e6,
	       (unsigned long long)(stat_of(b, GATE_STAT_FLOW_EVICTED) +
				    stat_of(b, GATE_STAT_FLOW_EVICTED_NEW)));
}

static void datagrams(uint32_t flows)
{
	/* coprime to any count that is not its multiple: visits all, never neighbours */
	const uint64_t stride = 7368787;
	struct bench b;
	double start;

	begin(&b, flows);
	start = seconds();
	for (uint32_t i = 0; i < flows; i++) {
		datagram(&b, i);
	}
	say(&b, "new flows, a datagram each", flows, seconds() - start);
	start = seconds();
	for (uint64_t i = 0; i < flows; i++) {
		datagram(&b, (uint32_t)(i * stride % flows));
	}
	say(&b, "once more, in another order", flows, seconds() - start);
	start = seconds();
	for (uint32_t i = 0; i < flows / 10; i++) {
		datagram(&b, flows + i);
	}
	say(&b, "a tenth more: others are evicted", flows / 10, seconds() - start);
	end(&b);
}

static void connections(uint32_t flows)
{
	struct bench b;
	double start;

	begin(&b, flows);
	start = seconds();
	for (uint32_t i = 0; i < flows; i++) {
		connection(&b, i);
	}
	say(&b, "TCP, request without its answer", flows, seconds() - start);
	end(&b);
}

int main(int argc, char **argv)
{
	long flows = argc > 1 ? strtol(argv[1], NULL, 10) : FLOWS;

	if (flows < 1000 || flows > 100000000) {
		fprintf(stderr, "usage: bench_flows [FLOWS], 1000 to 100,000,000\n");
		return 2;
	}
	datagrams((uint32_t)flows);
	connections((uint32_t)flows / 4);
	return 0;
}
