/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a request is behind proxies: what they said, and what somebody only pretends. */
#include "manager/api/crowd.h"
#include "manager/api/proxy.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PROXY "10.0.0.1"

static struct manager_proxies proxies(bool forwarded)
{
	struct manager_proxies p = {.forwarded = forwarded};

	assert_int_equal(manager_proxies_add(&p, "10.0.0.0/8", NULL), 0);
	assert_int_equal(manager_proxies_add(&p, "2001:db8:1::5", NULL), 0);
	return p;
}

struct look {
	const char *peer, *header, *client;
	bool unclear;
};

static void look_at(bool forwarded, const struct look *looks, size_t count)
{
	struct manager_proxies p = proxies(forwarded);

	for (size_t i = 0; i < count; i++) {
		const struct look *l = &looks[i];
		char client[BH_ADDR_TEXT_SIZE];
		bool clear = manager_proxies_client(&p, l->peer, l->header, client);

		if (strcmp(client, l->client) != 0 || clear == l->unclear) {
			fail_msg("%s, '%s': %s, %sclear", l->peer, l->header ? l->header : "-",
				 client, clear ? "" : "not ");
		}
	}
}

static void test_plain(void **state)
{
	static const struct look looks[] = {
		{PROXY, "198.51.100.7", "198.51.100.7", false},
		{PROXY, "198.51.100.7, 10.1.2.3, 10.1.2.4", "198.51.100.7", false},
		{PROXY, "2001:db8::9", "2001:db8::9", false},
		{PROXY, "[2001:db8::9]:443", "2001:db8::9", false},
		{PROXY, "198.51.100.7:5000", "198.51.100.7", false},
		{PROXY, "::ffff:198.51.100.7", "198.51.100.7", false},
		{"2001:db8:1::5", "198.51.100.7", "198.51.100.7", false},
		{"::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7", false},
		{PROXY, NULL, PROXY, false},		/* it asks for itself */
		{PROXY, "10.9.9.9", "10.9.9.9", false}, /* so does that one */
	};

	look_at(false, looks, BH_ARRAY_SIZE(looks));
}

/* What the client wrote himself stands before what the proxy appended. */
static void test_pretended(void **state)
{
	static const struct look looks[] = {
		{PROXY, "127.0.0.1, 198.51.100.7", "198.51.100.7", false},
		{PROXY, "10.1.1.1, 198.51.100.7", "198.51.100.7", false},
		{PROXY, "evil, 203.0.113.4, 198.51.100.7, 10.1.1.1", "198.51.100.7", false},
		{PROXY, ",,,, 198.51.100.7", "198.51.100.7", false},
		{"198.51.100.7", "192.0.2.1", "198.51.100.7", false}, /* no proxy of ours */
		{"11.0.0.1", "192.0.2.1", "11.0.0.1", false},
		{"2001:db8:1::6", "192.0.2.1", "2001:db8:1::6", false},
		{"", "192.0.2.1", "", false},
	};

	look_at(false, looks, BH_ARRAY_SIZE(looks));
}

static void test_junk(void **state)
{
	static const struct look looks[] = {
		{PROXY, "", PROXY, true},
		{PROXY, "unknown", PROXY, true},
		{PROXY, "198.51.100.7, unknown", PROXY, true},
		{PROXY, "198.51.100.7,", PROXY, true},
		{PROXY, "198.51.100.7, _hidden, 10.1.2.3", "10.1.2.3", true},
		{PROXY, "198.51.100.7:99999", PROXY, true},
		{PROXY, "198.51.100.7:", PROXY, true},
		{PROXY, "[198.51.100.7]", PROXY, true},
		{PROXY, "[2001:db8::9", PROXY, true},
		{PROXY, "198.51.100.7/8", PROXY, true},
		{PROXY, "198.51.100.007", PROXY, true},
		{PROXY, "0x7f.1", PROXY, true},
		{PROXY, "1", PROXY, true},
		{PROXY, "for=198.51.100.7", PROXY, true},
		{PROXY, "198.51.100.7 192.0.2.1", PROXY, true},
		{PROXY, "198.51.100.7%eth0", PROXY, true},
	};

	look_at(false, looks, BH_ARRAY_SIZE(looks));
}

static void test_forwarded(void **state)
{
	static const struct look looks[] = {
		{PROXY, "for=198.51.100.7", "198.51.100.7", false},
		{PROXY, "For=\"[2001:db8::9]:4711\"", "2001:db8::9", false},
		{PROXY, "for=198.51.100.7;proto=https;by=203.0.113.43", "198.51.100.7", false},
		{PROXY, "proto=https; for=198.51.100.7", "198.51.100.7", false},
		{PROXY, "for=1.1.1.1, for=198.51.100.7, for=10.1.1.1", "198.51.100.7", false},
		{PROXY, "for=\"evil, for=1.1.1.1\", for=198.51.100.7", "198.51.100.7", false},
		{PROXY, "for=_hidden", PROXY, true},
		{PROXY, "for=unknown", PROXY, true},
		{PROXY, "proto=https", PROXY, true},
		/* a quote that the client leaves open swallows what the proxy says */
		{PROXY, "for=\"1.1.1.1, for=198.51.100.7", PROXY, true},
		{PROXY, "for=1.1.1.1;for=198.51.100.7", PROXY, true},
		{PROXY, "for=\"198.51.100.7\\\"", PROXY, true},
		{PROXY, "for", PROXY, true},
		{PROXY, "for=", PROXY, true},
		{PROXY, "=198.51.100.7", PROXY, true},
		{PROXY, "for=198.51.100.7,", PROXY, true},
		{PROXY, "for=198.51.100.7 for=1.1.1.1", PROXY, true},
		{PROXY, "198.51.100.7", PROXY, true},
		{"198.51.100.9", "for=1.1.1.1", "198.51.100.9", false},
	};

	look_at(true, looks, BH_ARRAY_SIZE(looks));
}

static void test_many_hops(void **state)
{
	struct manager_proxies p = proxies(false);
	char text[MANAGER_PROXY_BYTES_MAX + 64] = "198.51.100.7", client[BH_ADDR_TEXT_SIZE];

	for (int i = 1; i < MANAGER_PROXY_HOPS_MAX; i++) {
		strcat(text, ", 10.1.1.1");
	}
	assert_true(manager_proxies_client(&p, PROXY, text, client));
	assert_string_equal(client, "198.51.100.7");
	strcat(text, ", 10.1.1.1"); /* one more than we follow */
	assert_false(manager_proxies_client(&p, PROXY, text, client));
	assert_string_equal(client, "10.1.1.1");
	/* however much stands before it */
	strcat(text, ", 192.0.2.9");
	assert_true(manager_proxies_client(&p, PROXY, text, client));
	assert_string_equal(client, "192.0.2.9");
	memset(text, ' ', sizeof(text) - 1);
	memcpy(text + sizeof(text) - 12, "192.0.2.9", 10);
	assert_false(manager_proxies_client(&p, PROXY, text, client));
	assert_string_equal(client, PROXY);
}

static void test_settings(void **state)
{
	static const char *const bad[] = {"",	       "proxy.example", "10.0.0.1/8",
					  "0.0.0.0/0", "::/0",		"10.0.0.0/33",
					  "10.0.0",    "::ffff:0:0/96", "10.0.0.1 "};
	struct manager_proxies p = {};

	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		struct bh_diag diag = {};

		if (manager_proxies_add(&p, bad[i], &diag) == 0) {
			fail_msg("'%s' was taken", bad[i]);
		}
		assert_true(*diag.text);
	}
	for (int i = 0; i < MANAGER_PROXIES_MAX; i++) {
		assert_int_equal(manager_proxies_add(&p, "10.0.0.1", NULL), 0);
	}
	assert_true(manager_proxies_add(&p, "10.0.0.1", NULL) < 0);
	assert_false(manager_proxies_trust(&(struct manager_proxies){}, "10.0.0.1"));
}

static void test_crowd(void **state)
{
	struct manager_crowd *crowd = manager_crowd_new();

	for (int i = 0; i < MANAGER_CROWD_MAX; i++) {
		assert_true(manager_crowd_enter(crowd, "192.0.2.1"));
	}
	assert_false(manager_crowd_has_room(crowd, "192.0.2.1"));
	assert_false(manager_crowd_enter(crowd, "192.0.2.1"));
	assert_true(manager_crowd_enter(crowd, "192.0.2.2"));
	manager_crowd_leave(crowd, "192.0.2.1");
	assert_true(manager_crowd_enter(crowd, "192.0.2.1"));
	manager_crowd_leave(crowd, "192.0.2.2");
	manager_crowd_leave(crowd, "192.0.2.2"); /* was not there: nothing */
	manager_crowd_free(crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),	  cmocka_unit_test(test_pretended),
		cmocka_unit_test(test_junk),	  cmocka_unit_test(test_forwarded),
		cmocka_unit_test(test_many_hops), cmocka_unit_test(test_settings),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
