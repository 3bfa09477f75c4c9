/* SPDX-License-Identifier: Apache-2.0 */
/* Flow events beyond a tenant's quota: which are left out, that each of them is counted once, over
 * failures and restarts too, and who is told. */
#include "base/time.h"
#include "base/util.h"
#include "manager/events/ration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH  "ration.db"
#define QUOTA 100
#define WALL  (1800000000 * BH_NS_PER_S)

static const char *const schema[] = {
	"CREATE TABLE left_out (payer INTEGER NOT NULL, other INTEGER NOT NULL,"
	" count INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (payer, other))"
	" WITHOUT ROWID;"};

struct world {
	struct manager_db *db;
	struct manager_ration *ration;
	uint64_t quota, mono_ns;
	struct manager_ration_left told[16];
	size_t told_count;
};

static uint64_t quota_of(uint32_t tenant, void *arg)
{
	const struct world *w = arg;

	return w->quota;
}

static void open_ration(struct world *w)
{
	struct bh_diag diag = {};

	assert_int_equal(manager_db_open(PATH, schema, BH_ARRAY_SIZE(schema), &w->db, &diag), 0);
	w->ration = manager_ration_new(quota_of, w);
	assert_int_equal(manager_ration_load(w->ration, w->db, &diag), 0);
}

static void close_ration(struct world *w)
{
	manager_ration_free(w->ration);
	manager_db_close(w->db);
}

static void remove_files(void)
{
	unlink(PATH);
	unlink(PATH "-wal");
	unlink(PATH "-shm");
}

static void begin(struct world *w)
{
	*w = (struct world){.quota = QUOTA, .mono_ns = 1000000 * BH_NS_PER_S};
	remove_files();
	open_ration(w);
}

static void end(struct world *w)
{
	close_ration(w);
	remove_files();
}

/* So many flows; how many of them are kept. */
static unsigned int flows(struct world *w, uint32_t src, uint32_t dst, unsigned int count)
{
	struct manager_ration_flow flow = {
		.src = src, .dst = dst, .wall_ns = WALL, .mono_ns = w->mono_ns};
	unsigned int kept = 0;

	for (unsigned int i = 0; i < count; i++) {
		kept += manager_ration_take(w->ration, &flow);
	}
	return kept;
}

static void written(struct world *w, bool ok)
{
	if (ok) {
		assert_int_equal(manager_ration_write(w->ration, w->db, NULL), 0);
	}
	manager_ration_settle(w->ration, ok);
}

static void take_told(const struct manager_ration_left *left, void *arg)
{
	struct world *w = arg;

	assert_true(w->told_count < BH_ARRAY_SIZE(w->told));
	w->told[w->told_count++] = *left;
}

static void tell(struct world *w)
{
	w->told_count = 0;
	manager_ration_tell(w->ration, w->mono_ns, take_told, w);
}

static const struct manager_ration_left *told_to(const struct world *w, uint32_t tenant, bool own)
{
	for (size_t i = 0; i < w->told_count; i++) {
		if (w->told[i].tenant == tenant && w->told[i].own == own) {
			return &w->told[i];
		}
	}
	fail_msg("tenant %u was not told", tenant);
	return NULL;
}

/* A bucket of an hour that fills up within one; each tenant has its own. */
static void test_bucket(void **state)
{
	struct world w;

	begin(&w);
	assert_int_equal(flows(&w, 2, 0, QUOTA), QUOTA);
	assert_int_equal(flows(&w, 2, 0, 50), 0);
	assert_int_equal(flows(&w, 3, 0, 10), 10);
	assert_int_equal(flows(&w, 0, 2, 10), 0);      /* whoever begins it is nobody's */
	assert_int_equal(flows(&w, 3, 2, 10), 10);     /* 3 begins it, and has room */
	assert_int_equal(flows(&w, 1, 0, 1000), 1000); /* the provider */
	assert_int_equal(flows(&w, 0, 0, 1000), 1000);
	w.mono_ns += 1800 * BH_NS_PER_S;
	assert_int_equal(flows(&w, 2, 0, QUOTA), QUOTA / 2);
	w.mono_ns += 100 * 3600 * BH_NS_PER_S;
	assert_int_equal(flows(&w, 2, 0, 2 * QUOTA), QUOTA); /* nothing is saved up */
	w.quota = 0;
	w.mono_ns += 3600 * BH_NS_PER_S;
	assert_int_equal(flows(&w, 2, 0, 10), 0);
	w.quota = 1000000000;
	w.mono_ns += 3600 * BH_NS_PER_S;
	assert_int_equal(flows(&w, 2, 0, 100000), 100000);
	end(&w);
}

/* What a batch that could not be written took comes again. */
static void test_failed_batch(void **state)
{
	struct world w;

	begin(&w);
	assert_int_equal(flows(&w, 2, 0, QUOTA + 20), QUOTA);
	written(&w, false);
	tell(&w);
	assert_int_equal(w.told_count, 0);
	assert_int_equal(flows(&w, 2, 0, QUOTA + 20), QUOTA);
	written(&w, true);
	tell(&w);
	assert_int_equal(told_to(&w, 2, true)->count, 20);
	end(&w);
}

/* Both ends are told: whose quota it is, and whose flows are missing because of it. */
static void test_told(void **state)
{
	struct world w;

	begin(&w);
	assert_int_equal(flows(&w, 2, 3, QUOTA + 7), QUOTA);
	assert_int_equal(flows(&w, 2, 2, 5), 0);
	assert_int_equal(flows(&w, 2, 0, 3), 0);
	assert_int_equal(flows(&w, 4, 3, QUOTA + 1), QUOTA);
	written(&w, true);
	tell(&w);
	assert_int_equal(w.told_count, 3);
	assert_int_equal(told_to(&w, 2, true)->count, 15);
	assert_int_equal(told_to(&w, 2, true)->limit, QUOTA);
	assert_int_equal(told_to(&w, 2, true)->since_ns, WALL);
	assert_int_equal(told_to(&w, 4, true)->count, 1);
	assert_int_equal(told_to(&w, 3, false)->count, 8);
	assert_int_equal(told_to(&w, 3, false)->limit, 0); /* not its business */
	/* Not again while that is not written, nor after it; what is new waits for its minute. */
	tell(&w);
	assert_int_equal(w.told_count, 0);
	written(&w, true);
	tell(&w);
	assert_int_equal(w.told_count, 0);
	assert_int_equal(flows(&w, 2, 0, 4), 0);
	written(&w, true);
	tell(&w);
	assert_int_equal(w.told_count, 0);
	w.mono_ns += MANAGER_RATION_TELL_S * BH_NS_PER_S;
	tell(&w);
	assert_int_equal(told_to(&w, 2, true)->count, 4);
	end(&w);
}

/* A manager that is killed forgets none and counts none twice. */
static void test_restarts(void **state)
{
	struct world w;

	begin(&w);
	assert_int_equal(flows(&w, 2, 3, QUOTA + 7), QUOTA);
	written(&w, true);
	flows(&w, 2, 3, 100); /* of a batch that is never written */
	close_ration(&w);
	open_ration(&w);
	tell(&w);
	assert_int_equal(told_to(&w, 2, true)->count, 7);
	assert_int_equal(told_to(&w, 3, false)->count, 7);
	close_ration(&w); /* told, but not written */
	open_ration(&w);
	tell(&w);
	assert_int_equal(told_to(&w, 2, true)->count, 7);
	written(&w, false);
	written(&w, true);
	close_ration(&w);
	open_ration(&w);
	w.mono_ns += MANAGER_RATION_TELL_S * BH_NS_PER_S;
	tell(&w);
	assert_int_equal(w.told_count, 0);
	end(&w);
}

/* Very many tenants at the other ends: what does not fit is counted without them. */
static void test_many_pairs(void **state)
{
	struct world w;

	begin(&w);
	w.quota = 0;
	for (uint32_t other = 3; other < 3 + 2 * MANAGER_RATION_PAIRS_MAX; other++) {
		assert_int_equal(flows(&w, 2, other, 1), 0);
	}
	written(&w, true);
	assert_int_equal(manager_db_number(w.db, 0, "SELECT sum(count) FROM left_out", ""),
			 2 * MANAGER_RATION_PAIRS_MAX);
	assert_in_range(manager_db_number(w.db, 0, "SELECT count(*) FROM left_out", ""), 1,
			MANAGER_RATION_PAIRS_MAX + 1);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),	   cmocka_unit_test(test_failed_batch),
		cmocka_unit_test(test_told),	   cmocka_unit_test(test_restarts),
		cmocka_unit_test(test_many_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
