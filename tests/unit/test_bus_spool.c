/* SPDX-License-Identifier: Apache-2.0 */
/* The spool alone: order, bounds, recovery from every kind of damage, numbers never used twice. */
#include "bus/spool.h"

#include "base/file.h"
#include "base/util.h"
#include "bus/events.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BOOT_A "11111111-1111-4111-8111-111111111111"
#define BOOT_B "22222222-2222-4222-8222-222222222222"

static char dir[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/var/tmp/bh-test-spool-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct bh_spool *open_boot(uint64_t max_bytes, const char *boot)
{
	struct bh_spool_options options = {
		.dir = dir, .producer = "h1", .max_bytes = max_bytes, .boot_id = boot};
	struct bh_spool *s = NULL;
	struct bh_diag diag = {};

	if (bh_spool_open(&options, &s, &diag)) {
		fail_msg("%s", diag.text);
	}
	return s;
}

/* As kill -9 leaves it: a copy of the folder while it is open, put back after the close. */
static void crash(struct bh_spool *s)
{
	BH_FREE char *save = bh_asprintf("cp -a %s %s.crash", dir, dir);
	BH_FREE char *restore = bh_asprintf("rm -rf %s && mv %s.crash %s", dir, dir, dir);

	assert_int_equal(system(save), 0);
	bh_spool_close(s);
	assert_int_equal(system(restore), 0);
}

static int add(struct bh_spool *s, uint64_t n, uint64_t *ret_seq)
{
	json_t *e = bh_event_new("flow.new", BH_SEVERITY_INFO, 1);
	int r;

	json_object_set_new(e, "n", json_integer((json_int_t)n));
	json_object_set_new(e, "pad", json_string("0123456789012345678901234567890123456789"));
	r = bh_spool_append(s, e, 1, ret_seq, NULL);
	json_decref(e);
	return r;
}

static void fill(struct bh_spool *s, uint64_t count)
{
	uint64_t seq;

	for (uint64_t i = 0; i < count; i++) {
		assert_int_equal(add(s, i, &seq), 0);
	}
}

struct reading {
	struct bh_event_track track;
	uint64_t events, gaps, gap_count, missing, repeats, epochs, last;
};

static void read_line(const char *line, size_t size, struct reading *r)
{
	struct bh_event e;
	uint64_t from;
	uint64_t to;

	assert_int_equal(bh_event_parse(line, size, &e, NULL), 0);
	assert_string_equal(e.producer, "h1");
	switch (bh_event_track(&r->track, &e, &from, &to)) {
	case BH_TRACK_REPEAT:
		r->repeats++;
		return;
	case BH_TRACK_EPOCH:
		r->epochs++;
		break;
	case BH_TRACK_NEXT:
	case BH_TRACK_GAP:
		break;
	}
	r->missing += from ? to - from + 1 : 0;
	r->last = e.seq;
	if (e.is_gap) {
		r->gaps++;
		r->gap_count += e.gap_count;
	} else {
		r->events++;
	}
}

/* Reads and acknowledges at most max_events. */
static void drain(struct bh_spool *s, uint64_t max_events, struct reading *r)
{
	struct bh_spool_batch batch;
	uint64_t end = r->events + max_events;

	while (r->events < end && !bh_spool_peek(s, 100, 16384, &batch, NULL)) {
		const char *p = batch.data;
		size_t lines = 0;

		assert_true(batch.size <= 16384);
		assert_true(batch.first <= batch.last);
		for (;;) {
			const char *eol = memchr(p, '\n', (size_t)(batch.data + batch.size - p));
			const char *stop = eol ? eol : batch.data + batch.size;

			read_line(p, (size_t)(stop - p), r);
			lines++;
			if (!eol) {
				break;
			}
			p = eol + 1;
		}
		assert_int_equal(lines, batch.count);
		bh_spool_ack(s, &batch, 1);
		bh_spool_batch_done(&batch);
	}
}

static void test_order(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	struct reading r = {};
	struct bh_spool_stats st;
	struct bh_spool_batch a;
	struct bh_spool_batch b;

	fill(s, 1000);
	/* the same until it is acknowledged */
	assert_int_equal(bh_spool_peek(s, 10, 1 << 20, &a, NULL), 0);
	assert_int_equal(bh_spool_peek(s, 10, 1 << 20, &b, NULL), 0);
	assert_int_equal(a.first, 1);
	assert_int_equal(a.last, 10);
	assert_int_equal(a.size, b.size);
	assert_memory_equal(a.data, b.data, a.size);
	bh_spool_batch_done(&b);
	bh_spool_ack(s, &a, 1);
	bh_spool_ack(s, &a, 1); /* twice does no harm */
	bh_spool_batch_done(&a);
	bh_spool_stats_get(s, &st);
	assert_int_equal(st.waiting, 990);
	/* at least one, however small the limit */
	assert_int_equal(bh_spool_peek(s, 10, 1, &a, NULL), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.first, 11);
	bh_spool_batch_done(&a);
	bh_event_track_load(&r.track, st.epoch, 10);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 990);
	assert_int_equal(r.missing, 0);
	assert_int_equal(bh_spool_peek(s, 10, 1 << 20, &a, NULL), BH_SPOOL_EMPTY);
	bh_spool_close(s);
}

static void test_reopen(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	struct reading r = {};
	struct bh_spool_stats st;

	fill(s, 100);
	drain(s, 40, &r);
	bh_spool_close(s);
	/* clean: goes on, also in another boot */
	s = open_boot(0, BOOT_B);
	bh_spool_stats_get(s, &st);
	assert_false(st.new_epoch);
	assert_int_equal(st.next_seq, 101);
	fill(s, 10);
	crash(s);
	/* killed: goes on in the same boot */
	s = open_boot(0, BOOT_B);
	bh_spool_stats_get(s, &st);
	assert_false(st.new_epoch);
	assert_int_equal(st.next_seq, 111);
	assert_int_equal(st.truncated, 0);
	fill(s, 10);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 120);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.epochs, 1);
	crash(s);
	/* power lost: a new epoch, and numbers from 1 */
	s = open_boot(0, BOOT_A);
	bh_spool_stats_get(s, &st);
	assert_true(st.new_epoch);
	assert_int_equal(st.next_seq, 1);
	fill(s, 5);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 125);
	assert_int_equal(r.epochs, 2);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.repeats, 0);
	bh_spool_close(s);
}

static void test_power_loss_keeps_old(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	struct reading r = {};

	fill(s, 300);
	crash(s);
	s = open_boot(0, BOOT_B);
	fill(s, 200);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 500);
	assert_int_equal(r.epochs, 2);
	assert_int_equal(r.missing, 0);
	bh_spool_close(s);
}

static void test_locked(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	struct bh_spool_options options = {.dir = dir, .producer = "h1"};
	struct bh_spool *second;
	struct bh_diag diag;

	assert_int_equal(bh_spool_open(&options, &second, &diag), -EBUSY);
	bh_spool_close(s);
}

static void test_full(void **state)
{
	struct bh_spool *s = open_boot(256 << 10, BOOT_A);
	struct reading r = {};
	struct bh_spool_stats st;
	uint64_t fitted = 0;
	uint64_t seq;

	while (!add(s, fitted, &seq)) {
		fitted++;
	}
	for (int i = 0; i < 499; i++) {
		assert_int_equal(add(s, 0, &seq), BH_SPOOL_FULL);
	}
	bh_spool_stats_get(s, &st);
	assert_int_equal(st.lost, 500);
	assert_true(st.bytes <= 256 << 10);
	assert_true(st.bytes > 240 << 10);
	/* a kill while it is full forgets nothing */
	crash(s);
	s = open_boot(256 << 10, BOOT_A);
	bh_spool_stats_get(s, &st);
	assert_false(st.new_epoch);
	assert_int_equal(st.next_seq, fitted + 501);
	assert_int_equal(add(s, 0, &seq), BH_SPOOL_FULL);
	/* exactly one gap event, also when nothing is appended any more */
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, fitted);
	assert_int_equal(r.gaps, 1);
	assert_int_equal(r.gap_count, 501);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.last, fitted + 502);
	/* and on; a second run has its own */
	fill(s, 10);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, fitted + 10);
	while (!add(s, 0, &seq)) {
		fitted++;
	}
	drain(s, UINT64_MAX / 2, &r);
	fill(s, 1);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.gaps, 2);
	assert_int_equal(r.gap_count, 502);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.epochs, 1);
	bh_spool_close(s);
}

static void test_lose(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	struct reading r = {};

	fill(s, 3);
	bh_spool_lose(s, 17, "kernel-buffer", 1);
	bh_spool_lose(s, 0, "nothing", 1);
	fill(s, 2);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 5);
	assert_int_equal(r.gaps, 1);
	assert_int_equal(r.gap_count, 17);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.last, 3 + 17 + 1 + 2);
	bh_spool_close(s);
}

static char *segment_path(bool newest)
{
	char best[32] = "";
	DIR *d = opendir(dir);
	struct dirent *e;

	while ((e = readdir(d))) {
		if (strstr(e->d_name, ".seg") &&
		    (!*best || (newest == (strcmp(e->d_name, best) > 0)))) {
			snprintf(best, sizeof(best), "%.20s", e->d_name);
		}
	}
	closedir(d);
	return bh_asprintf("%s/%s", dir, best);
}

/* The file cut at every length: what is whole before it is kept, numbers are not used twice. */
static void test_torn_everywhere(void **state)
{
	enum { COUNT = 4 };
	struct bh_spool *s = open_boot(0, BOOT_A);
	BH_FREE char *file = NULL;
	BH_FREE char *data = NULL;
	BH_FREE char *save = bh_asprintf("cp -a %s %s.whole", dir, dir);
	BH_FREE char *restore = bh_asprintf("rm -rf %s && cp -a %s.whole %s", dir, dir, dir);
	BH_FREE char *clean = bh_asprintf("rm -rf %s.whole", dir);
	size_t size;

	fill(s, COUNT);
	crash(s);
	file = segment_path(true);
	assert_int_equal(bh_file_read(file, 1 << 20, &data, &size, NULL), 0);
	assert_int_equal(system(save), 0);
	for (size_t cut = 0; cut <= size; cut += cut + 8 < size ? 7 : 1) {
		struct reading r = {};
		struct bh_spool_stats st;

		assert_int_equal(system(restore), 0);
		assert_int_equal(truncate(file, (off_t)cut), 0);
		s = open_boot(0, BOOT_A);
		bh_spool_stats_get(s, &st);
		fill(s, 2);
		drain(s, UINT64_MAX / 2, &r);
		assert_true(r.events >= 2 && r.events <= COUNT + 2);
		assert_int_equal(r.missing, 0);
		assert_int_equal(r.repeats, 0);
		if (cut == size) {
			assert_false(st.new_epoch);
			assert_int_equal(r.events, COUNT + 2);
		} else if (st.truncated) {
			assert_true(st.new_epoch);
		}
		bh_spool_close(s);
	}
	assert_int_equal(system(clean), 0);
}

/* One byte changed anywhere: nothing before it is lost, the damage never goes unnoticed. */
static void test_rotten_byte(void **state)
{
	enum { COUNT = 6 };
	struct bh_spool *s = open_boot(0, BOOT_A);
	BH_FREE char *file = NULL;
	BH_FREE char *save = bh_asprintf("cp -a %s %s.whole", dir, dir);
	BH_FREE char *restore = bh_asprintf("rm -rf %s && cp -a %s.whole %s", dir, dir, dir);
	BH_FREE char *clean = bh_asprintf("rm -rf %s.whole", dir);
	struct stat st;

	fill(s, COUNT);
	crash(s);
	file = segment_path(true);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(system(save), 0);
	for (off_t at = 0; at < st.st_size; at += 11) {
		struct reading r = {};
		struct bh_spool_stats stats;
		int fd;
		char c;

		assert_int_equal(system(restore), 0);
		fd = open(file, O_RDWR | O_CLOEXEC);
		assert_int_equal(pread(fd, &c, 1, at), 1);
		c = (char)(c ^ 0x40);
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
		close(fd);
		s = open_boot(0, BOOT_A);
		bh_spool_stats_get(s, &stats);
		assert_true(stats.truncated > 0);
		assert_true(stats.new_epoch);
		drain(s, UINT64_MAX / 2, &r);
		assert_true(r.events < COUNT);
		if (at > 64 + (st.st_size - 64) / COUNT) {
			assert_true(r.events >= 1);
		}
		bh_spool_close(s);
	}
	assert_int_equal(system(clean), 0);
}

static void test_segment_lost(void **state)
{
	struct bh_spool *s = open_boot(256 << 10, BOOT_A);
	struct reading r = {};
	struct bh_spool_stats st;
	BH_FREE char *file = NULL;

	fill(s, 600); /* several segments */
	crash(s);
	file = segment_path(true);
	assert_int_equal(unlink(file), 0);
	s = open_boot(256 << 10, BOOT_A);
	bh_spool_stats_get(s, &st);
	assert_true(st.new_epoch); /* the numbers in it were used */
	fill(s, 2);
	drain(s, UINT64_MAX / 2, &r);
	assert_true(r.events > 100 && r.events < 602);
	assert_int_equal(r.epochs, 2);
	crash(s);
	/* the oldest one damaged: what comes behind is still read, and the hole is seen */
	s = open_boot(256 << 10, BOOT_A);
	fill(s, 600);
	crash(s);
	free(file);
	file = segment_path(false);
	assert_int_equal(truncate(file, 1000), 0);
	s = open_boot(256 << 10, BOOT_A);
	bh_spool_stats_get(s, &st);
	assert_false(st.new_epoch);
	memset(&r, 0, sizeof(r));
	drain(s, UINT64_MAX / 2, &r);
	assert_true(r.events > 100);
	assert_true(r.missing > 10);
	assert_int_equal(r.epochs, 1);
	bh_spool_close(s);
}

static void test_folder_lost(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	BH_FREE char *remove_cmd = bh_asprintf("rm -rf %s", dir);
	struct bh_spool_stats first;
	struct bh_spool_stats second;

	fill(s, 10);
	bh_spool_stats_get(s, &first);
	bh_spool_close(s);
	assert_int_equal(system(remove_cmd), 0);
	s = open_boot(0, BOOT_A);
	bh_spool_stats_get(s, &second);
	assert_true(second.new_epoch);
	assert_string_not_equal(first.epoch, second.epoch);
	assert_int_equal(second.next_seq, 1);
	bh_spool_close(s);
}

static void test_state_lost(void **state)
{
	struct bh_spool *s = open_boot(0, BOOT_A);
	BH_FREE char *file = bh_asprintf("%s/state", dir);
	struct reading r = {};
	struct bh_spool_stats st;

	fill(s, 10);
	crash(s);
	assert_int_equal(truncate(file, 100), 0);
	s = open_boot(0, BOOT_A);
	bh_spool_stats_get(s, &st);
	assert_true(st.new_epoch);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, 10);
	bh_spool_close(s);
}

/* A write that the disk cuts short: refused, counted, a gap; and it goes on when there is room. */
static void test_disk_full(void **state)
{
	struct bh_spool *s = open_boot(1 << 20, BOOT_A);
	struct reading r = {};
	struct rlimit old;
	struct rlimit small;
	uint64_t fitted = 0;
	uint64_t seq;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 10001;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	while (!add(s, fitted, &seq)) {
		fitted++;
	}
	assert_int_equal(add(s, 0, &seq), BH_SPOOL_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_in_range(fitted, 20, 60);
	crash(s);
	s = open_boot(1 << 20, BOOT_A);
	fill(s, 5);
	drain(s, UINT64_MAX / 2, &r);
	assert_int_equal(r.events, fitted + 5);
	assert_int_equal(r.gaps, 1);
	assert_int_equal(r.gap_count, 2);
	assert_int_equal(r.missing, 0);
	assert_int_equal(r.epochs, 1);
	bh_spool_close(s);
}

static void test_sync_take(void **state)
{
	struct bh_spool *s = open_boot(256 << 10, BOOT_A);
	int fds[32];
	size_t n;

	fill(s, 600);
	n = bh_spool_sync_take(s, fds, 32);
	assert_true(n >= 3);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(fdatasync(fds[i]), 0);
		close(fds[i]);
	}
	assert_int_equal(bh_spool_sync_take(s, fds, 32), 0);
	fill(s, 1);
	assert_int_equal(bh_spool_sync_take(s, fds, 32), 1);
	close(fds[0]);
	bh_spool_close(s);
}

static void test_track(void **state)
{
	struct bh_event_track t = {};
	struct bh_event e = {.epoch = BOOT_A, .seq = 1};
	uint64_t from;
	uint64_t to;

	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_EPOCH);
	assert_int_equal(from, 0);
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_REPEAT);
	e.seq = 2;
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_NEXT);
	e.seq = 5;
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_GAP);
	assert_int_equal(from, 3);
	assert_int_equal(to, 4);
	/* declared, and declared in part */
	e = (struct bh_event){
		.epoch = BOOT_A, .seq = 9, .is_gap = true, .gap_from = 6, .gap_to = 8};
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_NEXT);
	e = (struct bh_event){
		.epoch = BOOT_A, .seq = 20, .is_gap = true, .gap_from = 15, .gap_to = 19};
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_GAP);
	assert_int_equal(from, 10);
	assert_int_equal(to, 14);
	/* a new epoch that starts late; the old one is remembered */
	e = (struct bh_event){.epoch = BOOT_B, .seq = 3};
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_EPOCH);
	assert_int_equal(from, 1);
	assert_int_equal(to, 2);
	e = (struct bh_event){.epoch = BOOT_A, .seq = 20};
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_REPEAT);
	e.seq = 21;
	assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_NEXT);
	/* only so many epochs are kept */
	for (int i = 0; i < 10; i++) {
		e = (struct bh_event){.seq = 1};
		snprintf(e.epoch, sizeof(e.epoch), "%08d-1111-4111-8111-111111111111", i);
		assert_int_equal(bh_event_track(&t, &e, &from, &to), BH_TRACK_EPOCH);
	}
	assert_int_equal(t.count, BH_EVENT_TRACK_EPOCHS);
}

int main(int argc, char **argv)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_order),
		T(test_reopen),
		T(test_power_loss_keeps_old),
		T(test_locked),
		T(test_full),
		T(test_lose),
		T(test_torn_everywhere),
		T(test_rotten_byte),
		T(test_segment_lost),
		T(test_folder_lost),
		T(test_state_lost),
		T(test_disk_full),
		T(test_sync_take),
		cmocka_unit_test(test_track),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
