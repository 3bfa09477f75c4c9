/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bus carries on this machine, everything real: TLS, nats-server with JetStream on disk,
 * spools.
 *
 *	bench_bus [events per producer] [producers]
 *
 * Prints events per second from bh_producer_put() to the consumer's handler and the CPU they cost,
 * the spool and the parsing by themselves, and the time of a request and its reply.
 */
#include "../unit/bus_lab.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define HOSTS_MAX 16

struct bench {
	struct lab lab;
	uint64_t per_producer;
	unsigned int producers;
	uint64_t stored, repeats, batches;
	struct bh_event_track track[HOSTS_MAX];
};

static json_t *flow_event(uint64_t n)
{
	json_t *e = bh_event_new("flow.refused", BH_SEVERITY_NOTICE, bh_time_wall_ns());
	json_t *more = json_pack(
		"{s:s, s:s, s:s, s:s, s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:i, "
		"s:i, s:[i,i], s:[i,i], s:i, s:i}",
		"host", "h1", "vm", "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53", "vm_name", "shop-web-1",
		"nic", "52:54:00:00:00:01", "net", (json_int_t)7, "vlan", 0, "dir", "egress",
		"action", "deny", "reason", "policy", "proto", "tcp", "src", "10.78.0.11", "sport",
		(int)(n % 60000), "dst", "10.78.0.12", "dport", 3306, "src_identity", 300,
		"dst_identity", 301, "rule", 1, "packets", 1, 0, "bytes", 60, 0, "duration_ms", 0,
		"count", 1);

	json_object_update(e, more);
	json_decref(more);
	return e;
}

static void on_batch(struct bh_consumer *c, const struct bh_event_batch *batch, void *arg)
{
	struct bench *b = arg;
	uint64_t from;
	uint64_t to;

	b->batches++;
	for (size_t i = 0; i < batch->count; i++) {
		const struct bh_event_message *m = &batch->messages[i];
		unsigned int host = (unsigned int)(m->producer[1] - 'a') % HOSTS_MAX;

		for (size_t k = 0; k < m->count; k++) {
			if (bh_event_track(&b->track[host], &m->events[k], &from, &to) ==
			    BH_TRACK_REPEAT) {
				b->repeats++;
			} else {
				b->stored++;
			}
		}
	}
	bh_consumer_done(c, true);
}

static bool all_stored(void *arg)
{
	const struct bench *b = arg;

	return b->stored >= b->per_producer * b->producers;
}

static double seconds_since(uint64_t began)
{
	return (double)(bh_time_mono_ns() - began) / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* What a process used so far; 0 when it can't be read. */
static double cpu_of(pid_t pid)
{
	BH_FREE char *path = bh_asprintf("/proc/%d/stat", pid);
	BH_FREE char *text = NULL;
	unsigned long user = 0;
	unsigned long sys = 0;
	size_t size;

	if (bh_file_read(path, 4096, &text, &size, NULL) ||
	    sscanf(text, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		   &sys) != 2) {
		return 0;
	}
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static void bench_events(struct bench *b, const char *const *names)
{
	struct bh_consumer_options options = {
		.max_bytes = 512 << 20, .handler = on_batch, .arg = b};
	struct bh_bus *manager = lab_client_up(&b->lab, "manager");
	struct bh_bus *bus[HOSTS_MAX];
	struct bh_producer *producer[HOSTS_MAX];
	struct bh_consumer *consumer;
	uint64_t began;
	double put_s;
	double load;
	double all_s;
	double cpu = cpu_seconds();
	double cpu_server = cpu_of(bh_bus_server_pid(b->lab.server));

	for (unsigned int i = 0; i < b->producers; i++) {
		BH_FREE char *dir = bh_asprintf("%s/spool-%s", b->lab.dir, names[i]);
		BH_FREE char *who = bh_asprintf("host.%s", names[i]);
		struct bh_producer_options po = {
			.spool = {.dir = dir, .producer = names[i], .max_bytes = 1ull << 30}};

		bus[i] = lab_client_up(&b->lab, who);
		if (bh_producer_new(&b->lab.loop, bus[i], &po, &producer[i], NULL)) {
			abort();
		}
	}
	if (bh_consumer_new(&b->lab.loop, manager, &options, &consumer, NULL)) {
		abort();
	}
	lab_settle(&b->lab, 200);
	began = bh_time_mono_ns();
	/* in turns with the loop, as a program would put them */
	for (uint64_t n = 0; n < b->per_producer; n++) {
		for (unsigned int i = 0; i < b->producers; i++) {
			bh_producer_put(producer[i], flow_event(n));
		}
		if (n % 64 == 63) {
			uv_run(&b->lab.loop, UV_RUN_NOWAIT);
		}
	}
	put_s = seconds_since(began);
	if (!lab_until(&b->lab, all_stored, b)) {
		printf("only %llu events arrived\n", (unsigned long long)b->stored);
	}
	all_s = seconds_since(began);
	if (getloadavg(&load, 1) != 1) {
		load = 0;
	}
	printf("events: %llu from %u producers in %.2f s (put in %.2f s): %.0f per second, "
	       "%llu repeats, %.0f events per commit\n",
	       (unsigned long long)b->stored, b->producers, all_s, put_s, (double)b->stored / all_s,
	       (unsigned long long)b->repeats, (double)b->stored / (double)b->batches);
	printf("CPU per event: %.1f us for making it, both ends and all clients, %.1f us in "
	       "nats-server; load was %.1f on %ld cores\n",
	       (cpu_seconds() - cpu) * 1e6 / (double)b->stored,
	       (cpu_of(bh_bus_server_pid(b->lab.server)) - cpu_server) * 1e6 / (double)b->stored,
	       load, sysconf(_SC_NPROCESSORS_ONLN));
	bh_consumer_free(consumer);
	for (unsigned int i = 0; i < b->producers; i++) {
		bh_producer_free(producer[i]);
		bh_bus_free(bus[i]);
	}
	bh_bus_free(manager);
}

/* Draining what waits on disk: the consumer's side alone. */
static void bench_parse(void)
{
	enum { COUNT = 200000 };
	json_t *e = flow_event(1);
	char *line;
	size_t size;
	double cpu;

	bh_event_stamp(e, "h1", "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53", 1);
	if (bh_event_format(e, &line, &size, NULL)) {
		abort();
	}
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		struct bh_event event;

		if (bh_event_parse(line, size, &event, NULL)) {
			abort();
		}
		bh_event_done(&event);
	}
	printf("parse: %.0f events of %zu bytes per second of CPU\n", COUNT / (cpu_seconds() - cpu),
	       size);
	free(line);
	json_decref(e);
}

static void bench_spool(struct bench *b)
{
	enum { COUNT = 100000 };
	BH_FREE char *dir = bh_asprintf("%s/spool-alone", b->lab.dir);
	struct bh_spool_options options = {.dir = dir, .producer = "h1", .max_bytes = 1ull << 30};
	json_t *e = flow_event(1);
	struct bh_spool *spool;
	double cpu;
	uint64_t seq;

	if (bh_spool_open(&options, &spool, NULL)) {
		abort();
	}
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		if (bh_spool_append(spool, e, 1, &seq, NULL)) {
			abort();
		}
	}
	printf("spool: %.0f appends per second of CPU\n", COUNT / (cpu_seconds() - cpu));
	bh_spool_close(spool);
	json_decref(e);
}

struct ping {
	struct bh_bus *bus;
	unsigned int count;
	uint64_t began;
	uint64_t ns[1000];
};

static void on_pong(int err, const struct bh_bus_msg *reply, void *arg);

static void ping(struct ping *p)
{
	struct bh_bus_msg msg = {.json = json_pack("{s:s}", "op", "ping")};

	p->began = bh_time_mono_ns();
	bh_bus_request(p->bus, "bh.host.ha.cmd", &msg, 2000, on_pong, p);
	json_decref(msg.json);
}

static void on_pong(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct ping *p = arg;

	p->ns[p->count++] = bh_time_mono_ns() - p->began;
	if (p->count < BH_ARRAY_SIZE(p->ns)) {
		ping(p);
	}
}

static bool pings_done(void *arg)
{
	const struct ping *p = arg;

	return p->count == BH_ARRAY_SIZE(p->ns);
}

static void on_request(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	bh_bus_reply(req, NULL);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void bench_request(struct bench *b)
{
	struct ping p = {.bus = lab_client_up(&b->lab, "manager")};
	struct bh_bus *host = lab_client_up(&b->lab, "host.ha");

	bh_bus_serve(host, "bh.host.ha.cmd", BH_SUBJECT_MANAGER_INBOX ".", on_request, NULL);
	lab_settle(&b->lab, 100);
	ping(&p);
	if (lab_until(&b->lab, pings_done, &p)) {
		qsort(p.ns, p.count, sizeof(p.ns[0]), compare);
		printf("request and reply: median %.0f us, p99 %.0f us\n",
		       (double)p.ns[p.count / 2] / 1e3, (double)p.ns[p.count * 99 / 100] / 1e3);
	}
	bh_bus_free(host);
	bh_bus_free(p.bus);
}

int main(int argc, char **argv)
{
	static const char *const names[HOSTS_MAX] = {"ha", "hb", "hc", "hd", "he", "hf",
						     "hg", "hh", "hi", "hj", "hk", "hl",
						     "hm", "hn", "ho", "hp"};
	struct bench b = {.per_producer = 50000, .producers = 4};
	uint64_t v;

	if (argc > 1 && !bh_parse_u64(argv[1], 1, 10000000, &v)) {
		b.per_producer = v;
	}
	if (argc > 2 && !bh_parse_u64(argv[2], 1, HOSTS_MAX, &v)) {
		b.producers = (unsigned int)v;
	}
	lab_init(&b.lab);
	lab_server_start(&b.lab, names, HOSTS_MAX);
	bench_parse();
	bench_spool(&b);
	bench_request(&b);
	bench_events(&b, names);
	lab_done(&b.lab);
	return 0;
}
