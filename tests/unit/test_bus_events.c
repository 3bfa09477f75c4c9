/* SPDX-License-Identifier: Apache-2.0 */
/* Producer -> spool -> JetStream -> consumer, with a real nats-server that gets killed. */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *const two_hosts[] = {"h1", "h2"};

/* ---- a consumer that keeps what a manager would ---- */
struct book {
	struct bh_event_track track;
	uint64_t stored; /* events that the tracker let through, gaps not counted */
	uint64_t repeats;
	uint64_t missing;  /* numbers that nobody declared */
	uint64_t declared; /* numbers covered by gap events */
	uint64_t gap_events;
	uint64_t gap_count; /* their "count" */
	uint64_t next_n;    /* the events carry n = 0, 1, 2, ... */
	uint64_t disorder;
};

struct sink {
	struct book h1, h2;
	bool fail_next;
	bool hold; /* done later */
	unsigned int failed, batches;
};

static void keep(struct book *b, const struct bh_event *e)
{
	uint64_t from;
	uint64_t to;
	uint64_t n;

	switch (bh_event_track(&b->track, e, &from, &to)) {
	case BH_TRACK_REPEAT:
		b->repeats++;
		return;
	case BH_TRACK_GAP:
	case BH_TRACK_EPOCH:
		b->missing += from ? to - from + 1 : 0;
		break;
	case BH_TRACK_NEXT:
		break;
	}
	if (e->is_gap) {
		b->gap_events++;
		b->gap_count += e->gap_count;
		b->declared += e->gap_to - e->gap_from + 1;
		b->next_n += e->gap_count;
		return;
	}
	if (!bh_jtext_u64(&e->j, "n", INT64_MAX, &n)) {
		n = UINT64_MAX;
	}
	b->disorder += n != b->next_n;
	b->next_n = n + 1;
	b->stored++;
}

static void on_batch(struct bh_consumer *c, const struct bh_event_batch *batch, void *arg)
{
	struct sink *sink = arg;

	sink->batches++;
	if (sink->fail_next) {
		sink->fail_next = false;
		sink->failed++;
		bh_consumer_done(c, false);
		return;
	}
	for (size_t i = 0; i < batch->count; i++) {
		const struct bh_event_message *m = &batch->messages[i];

		for (size_t k = 0; k < m->count; k++) {
			keep(!strcmp(m->producer, "h1") ? &sink->h1 : &sink->h2, &m->events[k]);
		}
	}
	if (!sink->hold) {
		bh_consumer_done(c, true);
	}
}

static struct bh_consumer *consumer_new(struct lab *lab, struct bh_bus *bus, struct sink *sink)
{
	struct bh_consumer_options options = {
		.max_bytes = 64 << 20, .handler = on_batch, .arg = sink};
	struct bh_consumer *c;

	assert_int_equal(bh_consumer_new(&lab->loop, bus, &options, &c, NULL), 0);
	return c;
}

static struct bh_producer *producer_new(struct lab *lab, struct bh_bus *bus, const char *name,
					uint64_t max_bytes)
{
	BH_FREE char *dir = bh_asprintf("%s/spool-%s", lab->dir, name);
	struct bh_producer_options options = {
		.spool = {.dir = dir, .producer = name, .max_bytes = max_bytes}};
	struct bh_producer *p;
	struct bh_diag diag = {};

	if (bh_producer_new(&lab->loop, bus, &options, &p, &diag)) {
		fail_msg("%s", diag.text);
	}
	return p;
}

static json_t *event_of(uint64_t n)
{
	json_t *e = bh_event_new("flow.new", BH_SEVERITY_INFO, bh_time_wall_ns());

	json_object_set_new(e, "n", json_integer((json_int_t)n));
	return e;
}

static void put(struct bh_producer *p, uint64_t from, uint64_t count)
{
	for (uint64_t n = from; n < from + count; n++) {
		bh_producer_put(p, event_of(n));
	}
}

struct target {
	struct book *book;
	uint64_t n;
};

static bool reached(void *arg)
{
	const struct target *t = arg;

	return t->book->next_n >= t->n;
}

static void wait_for(struct lab *lab, struct book *book, uint64_t n)
{
	struct target t = {book, n};

	if (!lab_until(lab, reached, &t)) {
		fail_msg("only %llu of %llu events arrived", (unsigned long long)book->next_n,
			 (unsigned long long)n);
	}
}

static void assert_whole(const struct book *b, uint64_t n)
{
	assert_int_equal(b->stored, n);
	assert_int_equal(b->next_n, n);
	assert_int_equal(b->missing, 0);
	assert_int_equal(b->disorder, 0);
	assert_int_equal(b->gap_events, 0);
}

/* ---- the stage: a server, a manager that keeps, two hosts ---- */
struct stage {
	struct lab lab;
	struct sink sink;
	struct bh_bus *manager, *h1, *h2;
	struct bh_consumer *c;
	struct bh_producer *p1, *p2;
};

static void stage_server(struct stage *st)
{
	lab_server_start(&st->lab, two_hosts, 2);
	st->manager = lab_client_up(&st->lab, "manager");
}

/* The manager listens, h1 is up, and speaks if `speaks`. */
static void stage_new(struct stage *st, bool speaks)
{
	memset(st, 0, sizeof(*st));
	lab_init(&st->lab);
	stage_server(st);
	st->h1 = lab_client_up(&st->lab, "host.h1");
	st->c = consumer_new(&st->lab, st->manager, &st->sink);
	if (speaks) {
		st->p1 = producer_new(&st->lab, st->h1, "h1", 0);
	}
}

/* Whatever there is of it; those who were never there are NULL. */
static void stage_done(struct stage *st)
{
	bh_consumer_free(st->c);
	bh_producer_free(st->p1);
	bh_producer_free(st->p2);
	bh_bus_free(st->h1);
	bh_bus_free(st->h2);
	bh_bus_free(st->manager);
	lab_done(&st->lab);
}

/* ---- tests ---- */
static void test_flow(void **state)
{
	struct stage st;

	memset(&st, 0, sizeof(st));
	lab_init(&st.lab);
	stage_server(&st);
	st.h1 = lab_client(&st.lab, "host.h1");
	st.h2 = lab_client(&st.lab, "host.h2");
	st.p1 = producer_new(&st.lab, st.h1, "h1", 0);
	put(st.p1, 0, 500); /* before anybody is there */
	st.c = consumer_new(&st.lab, st.manager, &st.sink);
	st.p2 = producer_new(&st.lab, st.h2, "h2", 0);
	put(st.p1, 500, 1500);
	put(st.p2, 0, 10);
	wait_for(&st.lab, &st.sink.h1, 2000);
	wait_for(&st.lab, &st.sink.h2, 10);
	assert_whole(&st.sink.h1, 2000);
	assert_whole(&st.sink.h2, 10);
	/* a handler that fails gets the same batch again */
	st.sink.fail_next = true;
	put(st.p2, 10, 5);
	wait_for(&st.lab, &st.sink.h2, 15);
	assert_int_equal(st.sink.failed, 1);
	assert_whole(&st.sink.h2, 15);
	assert_int_equal(st.sink.h2.repeats, 0);
	/* another manager takes over where the last one stopped */
	bh_consumer_free(st.c);
	put(st.p2, 15, 300);
	lab_settle(&st.lab, 100);
	st.c = consumer_new(&st.lab, st.manager, &st.sink);
	put(st.p2, 315, 5);
	wait_for(&st.lab, &st.sink.h2, 320);
	assert_whole(&st.sink.h2, 320);
	stage_done(&st);
}

/* What was handed over but not committed comes again, to a tracker that knows it. */
static void test_consumer_dies_uncommitted(void **state)
{
	struct stage st;
	struct sink after = {};

	stage_new(&st, true);
	st.sink.hold = true;
	put(st.p1, 0, 700);
	wait_for(&st.lab, &st.sink.h1, 1);
	bh_consumer_free(st.c);
	bh_bus_free(st.manager);
	st.manager = lab_client_up(&st.lab, "manager");
	st.c = consumer_new(&st.lab, st.manager, &after);
	wait_for(&st.lab, &after.h1, 700);
	assert_whole(&after.h1, 700);
	stage_done(&st);
}

/* kill -9 of nats-server, again and again, under a stream of events. */
static void test_server_killed(void **state)
{
	struct stage st;
	enum { ROUNDS = 12, PER_ROUND = 4000 };
	uint64_t n = 0;
	uint64_t away_ns = 0;
	uint64_t began;

	stage_new(&st, true);
	for (int i = 0; i < ROUNDS; i++) {
		put(st.p1, n, PER_ROUND);
		n += PER_ROUND;
		/* somewhere in the middle of it */
		wait_for(&st.lab, &st.sink.h1,
			 n - PER_ROUND + (uint64_t)(i * PER_ROUND / ROUNDS) / 2);
		assert_int_equal(kill(bh_bus_server_pid(st.lab.server), SIGKILL), 0);
		began = bh_time_mono_ns();
		assert_true(lab_until(&st.lab, lab_is_down, st.h1));
		put(st.p1, n, 100);
		n += 100;
		assert_true(lab_until(&st.lab, lab_is_up, st.h1));
		away_ns += bh_time_mono_ns() - began;
	}
	wait_for(&st.lab, &st.sink.h1, n);
	assert_whole(&st.sink.h1, n);
	print_message("%llu events over %d kills, %llu repeats dropped, away %llu ms on average\n",
		      (unsigned long long)n, ROUNDS, (unsigned long long)st.sink.h1.repeats,
		      (unsigned long long)(away_ns / ROUNDS / BH_NS_PER_MS));
	stage_done(&st);
}

/* The bus is away for longer than the spool lasts. */
static void test_spool_full(void **state)
{
	struct stage st;
	enum { COUNT = 5000 };
	struct bh_spool_stats stats;

	memset(&st, 0, sizeof(st));
	lab_init(&st.lab);
	st.p1 = producer_new(&st.lab, NULL, "h1", 256 << 10);
	put(st.p1, 0, COUNT);
	bh_producer_stats_get(st.p1, &stats);
	assert_true(stats.lost > 0);
	assert_true(stats.bytes <= stats.max_bytes);
	assert_int_equal(stats.next_seq, COUNT + 1);
	stage_server(&st);
	st.c = consumer_new(&st.lab, st.manager, &st.sink);
	st.h1 = lab_client_up(&st.lab, "host.h1");
	bh_producer_attach(st.p1, st.h1);
	wait_for(&st.lab, &st.sink.h1, COUNT);
	assert_int_equal(st.sink.h1.gap_events, 1);
	assert_int_equal(st.sink.h1.gap_count, stats.lost);
	assert_int_equal(st.sink.h1.declared, stats.lost);
	assert_int_equal(st.sink.h1.stored, COUNT - stats.lost);
	assert_int_equal(st.sink.h1.missing, 0);
	put(st.p1, COUNT, 3); /* and on it goes */
	wait_for(&st.lab, &st.sink.h1, COUNT + 3);
	assert_int_equal(st.sink.h1.disorder, 0);
	stage_done(&st);
}

/* The stream is full because the manager is away: nothing is dropped, the spool keeps it. */
static void test_stream_full(void **state)
{
	struct stage st;
	struct bh_consumer_options options = {
		.max_bytes = 64 << 20, .max_per_producer = 4, .handler = on_batch, .arg = &st.sink};
	enum { COUNT = 3000 };
	struct bh_spool_stats stats;

	memset(&st, 0, sizeof(st));
	lab_init(&st.lab);
	stage_server(&st);
	st.h1 = lab_client_up(&st.lab, "host.h1");
	st.h2 = lab_client_up(&st.lab, "host.h2");
	assert_int_equal(bh_consumer_new(&st.lab.loop, st.manager, &options, &st.c, NULL), 0);
	st.p1 = producer_new(&st.lab, st.h1, "h1", 0);
	st.p2 = producer_new(&st.lab, st.h2, "h2", 0);
	put(st.p1, 0, 1);
	wait_for(&st.lab, &st.sink.h1, 1);
	bh_consumer_free(st.c);
	put(st.p1, 1, COUNT);
	lab_settle(&st.lab, 500);
	bh_producer_stats_get(st.p1, &stats);
	assert_true(stats.waiting > COUNT - 5 * BH_EVENTS_BATCH_MAX - 1);
	put(st.p2, 0, 10); /* one producer's full share does not stop another */
	lab_settle(&st.lab, 200);
	bh_producer_stats_get(st.p2, &stats);
	assert_int_equal(stats.waiting, 0);
	assert_int_equal(bh_consumer_new(&st.lab.loop, st.manager, &options, &st.c, NULL), 0);
	wait_for(&st.lab, &st.sink.h1, COUNT + 1);
	assert_whole(&st.sink.h1, COUNT + 1);
	wait_for(&st.lab, &st.sink.h2, 10);
	stage_done(&st);
}

/* kill -9 of a producer while it appends: what append returned for is there. */
static void test_producer_killed(void **state)
{
	struct stage st;
	struct bh_spool_stats stats;
	uint64_t told = 0;

	memset(&st, 0, sizeof(st));
	lab_init(&st.lab);
	for (int round = 0; round < 5; round++) {
		BH_FREE char *dir = bh_asprintf("%s/spool-h1", st.lab.dir);
		struct bh_spool_options options = {.dir = dir, .producer = "h1"};
		uint64_t n = told;
		int fds[2];
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			struct bh_spool *spool;
			uint64_t seq;

			close(fds[0]);
			if (bh_spool_open(&options, &spool, NULL)) {
				_exit(1);
			}
			for (;; n++) {
				json_t *e = event_of(n);

				if (bh_spool_append(spool, e, 1, &seq, NULL) ||
				    write(fds[1], &n, sizeof(n)) != sizeof(n)) {
					_exit(2);
				}
				json_decref(e);
			}
		}
		close(fds[1]);
		for (int i = 0; i < 1000 + 77 * round; i++) {
			assert_int_equal(read(fds[0], &told, sizeof(told)), sizeof(told));
		}
		kill(pid, SIGKILL);
		while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
			told = n;
		}
		close(fds[0]);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		told++;
		/* One more may have been appended that nobody was told of: whole or, where
		 * the write crosses a page, torn; then it is cut off, and nothing else is. */
		st.p1 = producer_new(&st.lab, NULL, "h1", 0);
		bh_producer_stats_get(st.p1, &stats);
		assert_in_range(stats.waiting, told, stats.truncated ? told : told + 1);
		assert_in_range(stats.truncated, 0, 1024);
		assert_int_equal(stats.new_epoch, stats.truncated != 0);
		told = stats.waiting;
		bh_producer_free(st.p1);
	}
	stage_server(&st);
	st.h1 = lab_client_up(&st.lab, "host.h1");
	st.c = consumer_new(&st.lab, st.manager, &st.sink);
	st.p1 = producer_new(&st.lab, st.h1, "h1", 0);
	wait_for(&st.lab, &st.sink.h1, told);
	assert_whole(&st.sink.h1, told);
	stage_done(&st);
}

static void on_nothing(int err, const struct bh_bus_raw *reply, void *arg)
{
}

static bool flag_set(void *arg)
{
	return *(bool *)arg;
}

static void on_info(int err, const struct bh_bus_raw *reply, void *arg)
{
	*(bool *)arg = true;
	assert_int_equal(err, 0);
}

/* A host's publishes name reply subjects of the JetStream API and of other hosts: the server's
 * acknowledgements go there with the server's rights, and must do no harm. */
static void test_acknowledgement_as_weapon(void **state)
{
	struct stage st;
	static const char *const aims[] = {
		"$JS.API.STREAM.PURGE.BH_EVENTS",
		"$JS.API.STREAM.DELETE.BH_EVENTS",
		"$JS.API.STREAM.MSG.DELETE.BH_EVENTS",
		"$JS.API.CONSUMER.DELETE.BH_EVENTS.manager",
		"$JS.API.STREAM.UPDATE.BH_EVENTS",
		"$JS.API.STREAM.RESTORE.BH_EVENTS",
		"$JS.API.SERVER.REMOVE",
		"$JS.API.STREAM.CREATE.BH_EVENTS",
		"$JS.API.CONSUMER.DURABLE.CREATE.BH_EVENTS.manager",
		"$JS.API.STREAM.SNAPSHOT.BH_EVENTS",
		"$JS.API.STREAM.LEADER.STEPDOWN.BH_EVENTS",
		"$JS.ACK.BH_EVENTS.manager.1.2.2.1700000000000000000.0",
		"bh.ev.h2",
		"bh.host.h2.cmd",
	};
	bool done = false;

	stage_new(&st, false);
	st.h2 = lab_client_up(&st.lab, "host.h2");
	st.p2 = producer_new(&st.lab, st.h2, "h2", 0);
	put(st.p2, 0, 1);
	wait_for(&st.lab, &st.sink.h2, 1);
	bh_consumer_free(st.c);
	put(st.p2, 1, 600); /* wait in the stream, nobody takes them */
	lab_settle(&st.lab, 200);
	for (size_t i = 0; i < BH_ARRAY_SIZE(aims); i++) {
		struct bh_bus_raw msg = {
			.subject = "bh.ev.h1", .reply = aims[i], .data = "{}", .size = 2};

		assert_int_equal(bh_bus_publish(st.h1, &msg), 0);
	}
	lab_settle(&st.lab, 300);
	st.c = consumer_new(&st.lab, st.manager, &st.sink);
	wait_for(&st.lab, &st.sink.h2, 601);
	assert_whole(&st.sink.h2, 601);
	{
		struct bh_bus_raw info = {.subject = "$JS.API.STREAM.INFO.BH_EVENTS"};

		bh_bus_request_raw(st.manager, &info, 2000, on_info, &done);
		assert_true(lab_until(&st.lab, flag_set, &done));
		bh_bus_request_raw(st.manager, &info, 2000, on_nothing, NULL);
	}
	stage_done(&st);
}

/* Events that name another producer, and garbage, are dropped and counted; the rest goes through.
 */
static void test_forged(void **state)
{
	struct stage st;
	static const char good[] =
		"{\"v\":1,\"producer\":\"h1\",\"epoch\":\"6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53\","
		"\"seq\":1,\"time\":\"2026-11-22T00:00:00Z\",\"type\":\"flow.new\","
		"\"severity\":\"info\",\"n\":0}";
	BH_FREE char *forged = bh_strdup(good);
	BH_FREE char *data = NULL;
	struct bh_bus_raw msg = {.subject = "bh.ev.h1"};
	uint64_t bad = bh_counter_get("events_bad");
	uint64_t lies = bh_counter_get("events_forged");

	memcpy(strstr(forged, "h1"), "h2", 2);
	data = bh_asprintf("nonsense\n%s\n%s\n{}", forged, good);
	msg.data = data;
	msg.size = strlen(data);
	stage_new(&st, false);
	lab_settle(&st.lab, 300);
	assert_int_equal(bh_bus_publish(st.h1, &msg), 0);
	wait_for(&st.lab, &st.sink.h1, 1);
	assert_int_equal(st.sink.h1.stored, 1);
	assert_int_equal(st.sink.h2.stored, 0);
	assert_int_equal(bh_counter_get("events_forged") - lies, 1);
	assert_int_equal(bh_counter_get("events_bad") - bad, 2);
	stage_done(&st);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_producer_killed), /* forks: before libnats has threads */
		cmocka_unit_test(test_flow),
		cmocka_unit_test(test_consumer_dies_uncommitted),
		cmocka_unit_test(test_spool_full),
		cmocka_unit_test(test_stream_full),
		cmocka_unit_test(test_acknowledgement_as_weapon),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_server_killed),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
