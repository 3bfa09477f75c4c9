/* SPDX-License-Identifier: Apache-2.0 */
/* Who guesses waits, with a clock of our own. */
#include "manager/auth/lockout.h"

#include "base/time.h"
#include "base/util.h"

#include <setjmp.h> /* cmocka needs these before it */
#include <stdarg.h>

#include <cmocka.h>

static void waits_double_and_forget(void **state)
{
	struct manager_lockout *l = manager_lockout_new();
	uint64_t now = 5 * BH_NS_PER_S, wanted = 1;

	for (unsigned int i = 0; i < LOCKOUT_FREE; i++) {
		assert_int_equal(manager_lockout_failed(l, "user a", now), 0);
		assert_int_equal(manager_lockout_wait(l, "user a", now), 0);
	}
	for (unsigned int i = 0; i < 14; i++) {
		assert_int_equal(manager_lockout_failed(l, "user a", now), wanted);
		assert_int_equal(manager_lockout_wait(l, "user a", now), wanted);
		assert_int_equal(manager_lockout_wait(l, "user b", now), 0);
		now += wanted * BH_NS_PER_S;
		assert_int_equal(manager_lockout_wait(l, "user a", now), 0);
		wanted = wanted * 2 > LOCKOUT_WAIT_MAX_S ? LOCKOUT_WAIT_MAX_S : wanted * 2;
	}
	now += LOCKOUT_FORGET_S * BH_NS_PER_S;
	assert_int_equal(manager_lockout_failed(l, "user a", now), 0);
	for (unsigned int i = 0; i < LOCKOUT_FREE; i++) {
		(void)manager_lockout_failed(l, "user a", now);
	}
	assert_int_not_equal(manager_lockout_wait(l, "user a", now), 0);
	manager_lockout_succeeded(l, "user a");
	assert_int_equal(manager_lockout_wait(l, "user a", now), 0);
	manager_lockout_free(l);
}

static void the_table_of_guessers_is_bounded(void **state)
{
	struct manager_lockout *l = manager_lockout_new();
	char key[LOCKOUT_KEY_SIZE];

	for (unsigned int i = 0; i <= LOCKOUT_FREE; i++) {
		(void)manager_lockout_failed(l, "old", 1);
	}
	for (unsigned int i = 0; i < LOCKOUT_KEYS_MAX - 1; i++) {
		snprintf(key, sizeof(key), "user %u", i);
		(void)manager_lockout_failed(l, key, 2);
	}
	assert_int_not_equal(manager_lockout_wait(l, "old", 2), 0);
	(void)manager_lockout_failed(l, "one more", 2);
	assert_int_equal(manager_lockout_wait(l, "old", 2), 0);
	manager_lockout_address_key("2001:db8::1", key);
	assert_string_equal(key, "address 2001:db8::/64");
	manager_lockout_address_key("192.0.2.7", key);
	assert_string_equal(key, "address 192.0.2.7");
	manager_lockout_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_double_and_forget),
		cmocka_unit_test(the_table_of_guessers_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
