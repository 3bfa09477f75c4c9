/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bus carries on this machine, everything real: TLS, nats-server with JetStream on disk,
 * spools.
 *
 *	bench_bus [events per producer] [producers]
 *
 * Prints events per second from the producers to the consumer's handler and the CPU they cost, made
 * as trees and as text; making, spooling and reading by themselves in both ways; and the time of a
 * request and its reply.
 */
#include "../unit/bus_lab.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/events.h"

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
	bool as_text;
	struct manager_events *store; /* NULL: the handler only looks at them */
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

/* The same as text. */
static void flow_text(struct bh_wbuf *w, uint64_t n)
{
	bh_event_text_begin(w, "flow.refused", BH_SEVERITY_NOTICE, bh_time_wall_ns());
	bh_jtext_add_str(w, "host", "h1");
	bh_jtext_add_str(w, "vm", "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53");
	bh_jtext_add_str(w, "vm_name", "shop-web-1");
	bh_jtext_add_str(w, "nic", "52:54:00:00:00:01");
	bh_jtext_add_u64(w, "net", 7);
	bh_jtext_add_u64(w, "vlan", 0);
	bh_jtext_add_str(w, "dir", "egress");
	bh_jtext_add_str(w, "action", "deny");
	bh_jtext_add_str(w, "reason", "policy");
	bh_jtext_add_str(w, "proto", "tcp");
	bh_jtext_add_str(w, "src", "10.78.0.11");
	bh_jtext_add_u64(w, "sport", n % 60000);
	bh_jtext_add_str(w, "dst", "10.78.0.12");
	bh_jtext_add_u64(w, "dport", 3306);
	bh_jtext_add_u64(w, "src_identity", 300);
	bh_jtext_add_u64(w, "dst_identity", 301);
	bh_jtext_add_u64(w, "rule", 1);
	bh_jtext_add_pair(w, "packets", 1, 0);
	bh_jtext_add_pair(w, "bytes", 60, 0);
	bh_jtext_add_u64(w, "duration_ms", 0);
	bh_jtext_add_u64(w, "count", 1);
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
	struct bench *b = arg;

	if (b->store) {
		b->stored = manager_events_last(b->store);
	}
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

static void put_round(struct bench *b, struct bh_producer **producer, struct bh_wbuf *text,
		      uint64_t n)
{
	for (unsigned int i = 0; i < b->producers; i++) {
		if (b->as_text) {
			flow_text(text, n);
			bh_producer_put_text(producer[i], text);
		} else {
			bh_producer_put(producer[i], flow_event(n));
		}
	}
}

static void bench_events(struct bench *b, const char *const *names)
{
	struct bh_consumer_options options = {.max_bytes = 512 << 20,
					      .handler = b->store ? manager_events_batch : on_batch,
					      .arg = b->store ? (void *)b->store : b};
	struct bh_bus *manager = lab_client_up(&b->lab, "manager");
	struct bh_bus *bus[HOSTS_MAX];
	struct bh_producer *producer[HOSTS_MAX];
	struct bh_consumer *consumer;
	uint64_t began;
	double put_s;
	double load;
	double all_s;
	struct bh_wbuf text = {};
	double cpu = cpu_seconds();
	double cpu_server = cpu_of(bh_bus_server_pid(b->lab.server));

	for (unsigned int i = 0; i < b->producers; i++) {
		BH_FREE char *dir = bh_asprintf("%s/spool-%s-%d%d", b->lab.dir, names[i],
						b->as_text, b->store != NULL);
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
		put_round(b, producer, &text, n);
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
	printf("events as %s%s: %llu from %u producers in %.2f s (put in %.2f s): %.0f per second, "
	       "%llu repeats, %llu commits\n",
	       b->as_text ? "text" : "trees", b->store ? ", into the manager's database" : "",
	       (unsigned long long)b->stored, b->producers, all_s, put_s, (double)b->stored / all_s,
	       (unsigned long long)b->repeats, (unsigned long long)b->batches);
	printf("CPU per event: %.1f us for making it, both ends and all clients, %.1f us in "
	       "nats-server; load was %.1f on %ld cores\n",
	       (cpu_seconds() - cpu) * 1e6 / (double)b->stored,
	       (cpu_of(bh_bus_server_pid(b->lab.server)) - cpu_server) * 1e6 / (double)b->stored,
	       load, sysconf(_SC_NPROCESSORS_ONLN));
	bh_wbuf_done(&text);
	bh_consumer_free(consumer);
	if (b->store) {
		manager_events_detach(b->store);
	}
	for (unsigned int i = 0; i < b->producers; i++) {
		bh_producer_free(producer[i]);
		bh_bus_free(bus[i]);
	}
	bh_bus_free(manager);
	lab_settle(&b->lab, 50);
}

static void say_rate(const char *what, int count, double began)
{
	printf("%s: %.0f per second of CPU\n", what, count / (cpu_seconds() - began));
}

/* What the other end does with a line: as a tree, and by one pass over it. */
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
	printf("an event has %zu bytes\n", size);
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		json_t *tree = NULL;

		if (bh_json_load(line, size, BH_EVENT_SIZE_MAX, &tree, NULL)) {
			abort();
		}
		json_decref(tree);
	}
	say_rate("read as a tree (jansson)", COUNT, cpu);
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		struct bh_event event;

		if (bh_event_parse(line, size, &event, NULL)) {
			abort();
		}
	}
	say_rate("read as text", COUNT, cpu);
	free(line);
	json_decref(e);
}

static void bench_spool(struct bench *b)
{
	enum { COUNT = 100000 };
	BH_FREE char *dir = bh_asprintf("%s/spool-alone", b->lab.dir);
	struct bh_spool_options options = {.dir = dir, .producer = "h1", .max_bytes = 1ull << 30};
	struct bh_wbuf text = {};
	struct bh_spool *spool;
	double cpu;
	uint64_t seq;

	if (bh_spool_open(&options, &spool, NULL)) {
		abort();
	}
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		json_t *e = flow_event((uint64_t)i);

		if (bh_spool_append(spool, e, 1, &seq, NULL)) {
			abort();
		}
		json_decref(e);
	}
	say_rate("made as a tree and spooled", COUNT, cpu);
	cpu = cpu_seconds();
	for (int i = 0; i < COUNT; i++) {
		flow_text(&text, (uint64_t)i);
		if (bh_spool_append_text(spool, &text, 1, &seq, NULL)) {
			abort();
		}
	}
	say_rate("made as text and spooled", COUNT, cpu);
	bh_spool_close(spool);
	bh_wbuf_done(&text);
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

static void on_commit(void *arg)
{
	struct bench *b = arg;

	b->batches++;
}

/* All the way: numbers, names, SQLite with a sync for each commit. */
static void bench_stored(struct bench *b, const char *const *names)
{
	BH_FREE char *path = bh_asprintf("%s/events.db", b->lab.dir);
	struct manager_db *db = NULL;
	struct manager_inventory *inv = NULL;
	struct manager_rulebook *book = NULL;
	struct manager_events_options options = {
		.loop = &b->lab.loop, .path = path, .keep = 100000000};

	if (manager_store_open(":memory:", &db, NULL) ||
	    manager_inventory_new(db, "default", &inv, NULL) ||
	    manager_rulebook_new(db, &book, NULL)) {
		abort();
	}
	manager_inventory_set_policies(inv, manager_rulebook_set(book));
	options.inv = inv;
	options.book = book;
	if (manager_events_new(&options, &b->store, NULL)) {
		abort();
	}
	manager_events_watch(b->store, on_commit, b);
	b->stored = b->repeats = b->batches = 0;
	bench_events(b, names);
	manager_events_free(b->store);
	manager_rulebook_free(book);
	manager_inventory_free(inv);
	manager_db_close(db);
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
	b.stored = b.repeats = b.batches = 0;
	b.as_text = true;
	bench_events(&b, names);
	bench_stored(&b, names);
	lab_done(&b.lab);
	return 0;
}
