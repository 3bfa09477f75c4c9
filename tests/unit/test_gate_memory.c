/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of sessions: zeroed where it is promised, charged, bounded, and nothing lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "gate/app/session.h"
#include "gate/config.h"

struct world {
	struct gate_config config;
	struct gate_flow flow;
	struct gate_apps *apps;
	struct gate_session *session;
};

static int setup(void **arg)
{
	struct world *w = bh_alloc(sizeof(*w));

	w->apps = gate_apps_new(&w->config, NULL, NULL);
	w->session = gate_session_of(w->apps, &w->flow, 1);
	*arg = w;
	return 0;
}

static int teardown(void **arg)
{
	struct world *w = *arg;

	gate_session_free(w->apps, w->session);
	assert_int_equal(gate_apps_stats(w->apps)->memory, 0);
	assert_true(w->apps->pool.kept <= GATE_POOL_KEPT_MAX);
	gate_apps_free(w->apps);
	free(w);
	return 0;
}

static bool is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i]) {
			return false;
		}
	}
	return true;
}

static void test_zeroed(void **arg)
{
	struct world *w = *arg;

	for (size_t size = 1; size < 1000000; size += size / 3 + 1) {
		uint8_t *p = gate_session_alloc(w->session, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_true(is_zero(p, size));
		memset(p, 0xa5, size);
		gate_session_release(w->session, p, size);
		p = gate_session_alloc(w->session, size);
		assert_true(is_zero(p, size));
		gate_session_release(w->session, p, size);
	}
}

static void test_grow(void **arg)
{
	struct world *w = *arg;
	size_t size = 0;
	uint8_t *p = NULL;

	for (size_t next = 10; next < 2000000; next = next * 3 / 2) {
		p = gate_session_grow(w->session, p, size, next);
		assert_non_null(p);
		assert_true(is_zero(p + size, next - size));
		for (size_t i = 0; i < size; i++) {
			assert_int_equal(p[i], i % 251);
		}
		for (size_t i = size; i < next; i++) {
			p[i] = (uint8_t)(i % 251);
		}
		size = next;
	}
	p = gate_session_grow(w->session, p, size, 100);
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(p[i], i);
	}
}

/* What is freed serves again, whatever session asks; what is large is not kept for ever. */
static void test_kept(void **arg)
{
	struct world *w = *arg;
	struct gate_flow other = {};
	struct gate_session *session = gate_session_of(w->apps, &other, 1);
	void *p = gate_session_alloc_raw(session, 5000), *many[100];

	gate_session_free(w->apps, session);
	assert_null(other.session);
	assert_ptr_equal(gate_session_alloc_raw(w->session, 5000), p);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(many); i++) {
		many[i] = gate_session_alloc_raw(w->session, 100000);
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(many); i++) {
		gate_session_release(w->session, many[i], 100000);
	}
	assert_true(w->apps->pool.kept > GATE_POOL_KEPT_MAX / 2);
	assert_true(w->apps->pool.kept <= GATE_POOL_KEPT_MAX);
}

static void test_bounds(void **arg)
{
	struct world *w = *arg;
	void *p;

	w->config.session_memcap = 10000;
	p = gate_session_alloc(w->session, 8000);
	assert_non_null(p);
	assert_null(gate_session_alloc_raw(w->session, 3000));
	assert_null(gate_session_grow(w->session, p, 8000, 11000));
	assert_int_equal(gate_apps_stats(w->apps)->session_refused, 2);
	gate_session_release(w->session, p, 8000);
	w->config.session_memcap = 0;
	w->config.app_memcap = 10000;
	assert_null(gate_session_alloc(w->session, 10001));
	assert_int_equal(gate_apps_stats(w->apps)->memory_refused, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_zeroed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
