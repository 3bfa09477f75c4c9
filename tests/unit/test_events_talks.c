/* SPDX-License-Identifier: Apache-2.0 */
/* Talks: folding, limits, who sees what, kills between events and talks. */
#include "base/time.h"
#include "base/util.h"
#include "manager/events/talks.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOW 1795608000ull /* a whole hour */

struct world {
	char dir[64];
	char *path;
	struct manager_talks *talks;
};

struct sum {
	uint64_t rows, count, bytes, overflow, folded;
	uint32_t last_hour;
	bool ordered;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void open_talks(struct world *w, size_t per_hour)
{
	struct manager_talks_options o = {.path = w->path, .days = 2, .per_hour = per_hour};

	assert_int_equal(manager_talks_open(&o, &w->talks, NULL), 0);
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/var/tmp/bh-test-talks-XXXXXX");
	if (!mkdtemp(w->dir)) {
		return -1;
	}
	w->path = bh_asprintf("%s/talks.db", w->dir);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	manager_talks_close(w->talks);
	free(w->path);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static int add_up(const struct manager_talk *t, void *arg)
{
	struct sum *s = arg;

	s->rows++;
	s->count += t->count;
	s->bytes += t->bytes;
	s->overflow += (t->flags & MANAGER_TALK_OVERFLOW) != 0;
	s->folded += (t->flags & MANAGER_TALK_FOLDED) != 0;
	s->ordered = s->ordered && t->hour >= s->last_hour;
	s->last_hour = t->hour;
	return 0;
}

static struct sum read_all(struct world *w, const struct manager_scope *scope, uint64_t since_s)
{
	struct manager_talks_query q = {.path = w->path,
					.since_ns = since_s * BH_NS_PER_S,
					.scope = scope ? *scope
						       : (struct manager_scope){.all = true}};
	struct sum s = {.ordered = true};

	assert_int_equal(manager_talks_each(&q, add_up, &s, NULL), 0);
	assert_true(s.ordered);
	return s;
}

static void add(struct world *w, unsigned int n, uint64_t at_s, uint64_t count)
{
	struct manager_talk t = {.src_identity = 300,
				 .dst_identity = 2,
				 .src_tenant = 2 + n % 3,
				 .port = 443,
				 .proto = 6,
				 .verdict = 1,
				 .count = count,
				 .bytes = 100,
				 .first_s = (uint32_t)at_s,
				 .last_s = (uint32_t)at_s};

	memcpy(t.dst, &n, sizeof(n));
	t.src[15] = (uint8_t)(n % 200);
	assert_int_equal(manager_talks_add(w->talks, &t, NOW, NULL), 0);
}

static void flush(struct world *w, uint64_t position)
{
	assert_int_equal(manager_talks_flush(w->talks, position, NOW, true, NULL), 0);
}

static void test_fold(void **state)
{
	struct world *w = *state;
	struct manager_scope mine = {.tenants = {3}, .count = 1}, nobody = {};
	struct sum s;

	open_talks(w, 0);
	for (unsigned int i = 0; i < 3000; i++) {
		add(w, i % 30, NOW - (i % 2) * 3600, 2);
	}
	flush(w, 10);
	s = read_all(w, NULL, 0);
	assert_int_equal(s.rows, 30);
	assert_int_equal(s.count, 6000);
	assert_int_equal(s.bytes, 300000);
	assert_int_equal(read_all(w, NULL, NOW).rows, 15);
	assert_int_equal(read_all(w, &mine, 0).count, 2000);
	assert_int_equal(read_all(w, &nobody, 0).rows, 0);
	/* Another run goes on in the same rows. */
	manager_talks_close(w->talks);
	open_talks(w, 0);
	assert_int_equal(manager_talks_position(w->talks), 10);
	add(w, 0, NOW, 1);
	flush(w, 11);
	s = read_all(w, NULL, 0);
	assert_int_equal(s.rows, 30);
	assert_int_equal(s.count, 6001);
}

static void test_none_yet(void **state)
{
	struct world *w = *state;

	assert_int_equal(read_all(w, NULL, 0).rows, 0); /* no file */
	open_talks(w, 0);
	assert_int_equal(read_all(w, NULL, 0).rows, 0);
}

static void test_kill(void **state)
{
	struct world *w = *state;

	open_talks(w, 0);
	add(w, 1, NOW, 1);
	flush(w, 5);
	add(w, 1, NOW, 1);
	manager_talks_close(w->talks); /* without a flush, as a kill does */
	open_talks(w, 0);
	assert_int_equal(manager_talks_position(w->talks), 5);
	assert_int_equal(read_all(w, NULL, 0).count, 1);
}

static void test_limit(void **state)
{
	struct world *w = *state;
	struct sum s;

	open_talks(w, 1000);
	for (unsigned int i = 0; i < 5000; i++) {
		add(w, i, NOW, 1);
	}
	flush(w, 1);
	s = read_all(w, NULL, 0);
	assert_int_equal(s.count, 5000); /* nothing is lost but what it was */
	assert_in_range(s.rows, 1000, 1010);
	assert_int_equal(s.overflow, 3); /* one per tenant */
	assert_true(s.folded > 0);
}

static void test_wrong_times(void **state)
{
	struct world *w = *state;

	open_talks(w, 0);
	add(w, 1, 0, 1);
	add(w, 1, NOW + 86400 * 400, 1);
	add(w, 1, NOW - 86400 * 30, 1);
	flush(w, 1);
	assert_int_equal(read_all(w, NULL, NOW).count, 3); /* all in this hour */
}

static void test_old_ones_go(void **state)
{
	struct world *w = *state;

	open_talks(w, 0);
	add(w, 1, NOW, 1);
	flush(w, 1);
	add(w, 2, NOW, 1);
	assert_int_equal(manager_talks_flush(w->talks, 2, NOW + 3 * 86400, true, NULL), 0);
	assert_int_equal(read_all(w, NULL, 0).rows, 0);
}

static void test_cancel(void **state)
{
	struct world *w = *state;
	atomic_bool cancel = true;
	struct manager_talks_query q = {.path = w->path, .scope.all = true, .cancel = &cancel};
	struct sum s = {};

	open_talks(w, 0);
	for (unsigned int i = 0; i < 20000; i++) {
		add(w, i, NOW, 1);
	}
	flush(w, 1);
	assert_int_equal(manager_talks_each(&q, add_up, &s, NULL), -ECANCELED);
	assert_true(s.rows < 20000);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_fold),	     T(test_kill),   T(test_limit),    T(test_wrong_times),
		T(test_old_ones_go), T(test_cancel), T(test_none_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
