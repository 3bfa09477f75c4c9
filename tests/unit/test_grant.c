/* SPDX-License-Identifier: Apache-2.0 */
/* What a host may do while the manager is away. */
#include "model/grant.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define VM    "11111111-2222-4333-8444-555555555555"
#define OTHER "11111111-2222-4333-8444-666666666666"
#define HASH  "00000000000000000000000000000000000000000000000000000000000000ff"
#define HEAD                                                                                       \
	"\"hash\":\"" HASH "\",\"host\":\"h1\",\"issued\":1000000,\"revision\":5,"                 \
	"\"segments\":{\"net:7\":\"" HASH "\"},\"sources\":[\"h1\",\"h3\"],\"until\":1086400,"     \
	"\"v\":1"
#define GOOD                                                                                       \
	"{\"groups\":[[\"h2\"],[\"h3\"]]," HEAD ",\"vms\":{\"" VM                                  \
	"\":{\"group\":1,\"segments\":[\"net:7\"]}}}"

static struct bh_grant *read_good(void)
{
	struct bh_grant *g = NULL;
	struct bh_diag diag = {};

	if (bh_grant_read(GOOD, strlen(GOOD), &g, &diag)) {
		fail_msg("%s", diag.text);
	}
	return g;
}

static void test_read(void **state)
{
	struct bh_grant *g = read_good();
	uint8_t digest[BH_GRANT_DIGEST_SIZE];

	assert_string_equal(bh_grant_host(g), "h1");
	assert_int_equal(bh_grant_revision(g), 5);
	assert_int_equal(bh_grant_issued_s(g), 1000000);
	assert_int_equal(bh_grant_until_s(g), 1086400);
	assert_string_equal(bh_grant_source(g, 1), "h3");
	assert_null(bh_grant_source(g, 2));
	assert_true(bh_grant_has_vm(g, VM));
	assert_true(bh_grant_allows(g, VM, "h3"));
	assert_false(bh_grant_allows(g, VM, "h2"));
	assert_false(bh_grant_allows(g, VM, "h1"));
	assert_false(bh_grant_has_vm(g, OTHER));
	assert_false(bh_grant_allows(g, OTHER, "h3"));
	assert_string_equal(bh_grant_segment(g, VM, 0, digest), "net:7");
	assert_int_equal(digest[31], 0xff);
	assert_null(bh_grant_segment(g, VM, 1, digest));
	assert_null(bh_grant_segment(g, OTHER, 0, digest));
	bh_grant_free(g);
}

static void test_check(void **state)
{
	struct bh_grant *g = read_good();
	struct bh_hash hash = *bh_grant_hash(g);
	struct bh_diag diag = {};

	assert_int_equal(bh_grant_check(g, "h1", 1000000, &hash, &diag), 0);
	assert_int_equal(bh_grant_check(g, "h1", 1086400, &hash, &diag), 0);
	assert_int_equal(bh_grant_check(g, "h1", 1000000 - BH_GRANT_SKEW_S, &hash, &diag), 0);
	assert_int_equal(bh_grant_check(g, "h2", 1000000, &hash, &diag), -EPERM);
	assert_non_null(strstr(diag.text, "signed for host h1"));
	assert_int_equal(bh_grant_check(g, "h1", 1086401, &hash, &diag), -EPERM);
	assert_non_null(strstr(diag.text, "run out"));
	assert_int_equal(bh_grant_check(g, "h1", 999999 - BH_GRANT_SKEW_S, &hash, &diag), -EPERM);
	assert_non_null(strstr(diag.text, "clocks"));
	hash.bytes[0]++;
	assert_int_equal(bh_grant_check(g, "h1", 1000000, &hash, &diag), -EPERM);
	assert_non_null(strstr(diag.text, "another state"));
	bh_grant_free(g);
}

static void test_bad(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"v\":1}",
		"{\"groups\":[[\"H 2\"]]," HEAD ",\"vms\":{}}",
		"{\"groups\":[7]," HEAD ",\"vms\":{}}",
		"{\"groups\":[]," HEAD ",\"vms\":[]}",
		"{\"groups\":[]," HEAD ",\"vms\":{},\"more\":1}",
		"{\"groups\":[]," HEAD ",\"vms\":{\"" VM "\":{\"group\":0,\"segments\":[]}}}",
		"{\"groups\":[[]]," HEAD ",\"vms\":{\"x\":{\"group\":0,\"segments\":[]}}}",
		"{\"groups\":[[]]," HEAD ",\"vms\":{\"" VM
		"\":{\"group\":0,\"segments\":[\"net:8\"]}}}",
		"{\"groups\":[[]]," HEAD ",\"vms\":{\"" VM "\":{\"segments\":[]}}}",
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		struct bh_grant *g = NULL;
		struct bh_diag diag = {};

		assert_int_equal(bh_grant_read(texts[i], strlen(texts[i]), &g, &diag), -EBADMSG);
		assert_true(*diag.text);
	}
	for (size_t n = 0; n < strlen(GOOD); n++) {
		struct bh_grant *g = NULL;

		assert_int_equal(bh_grant_read(GOOD, n, &g, NULL), -EBADMSG);
	}
}

static void test_digest(void **state)
{
	struct bh_rec a = {.type = BH_REC_ADDR, .addr = {.net = 7, .identity = 300}};
	struct bh_rec b = {.type = BH_REC_ADDR, .addr = {.net = 7, .vlan = 5, .identity = 300}};
	uint8_t one[BH_GRANT_DIGEST_SIZE], two[BH_GRANT_DIGEST_SIZE];
	struct bh_segment *seg = bh_segment_new("net:7");
	struct bh_segment *back = bh_segment_new("net:7");
	struct bh_segment *named = bh_segment_new("net:8");

	bh_segment_add(seg, &a);
	bh_segment_add(seg, &b);
	bh_segment_add(back, &b);
	bh_segment_add(back, &a);
	bh_segment_add(named, &a);
	bh_segment_add(named, &b);
	assert_int_equal(bh_segment_seal(seg, NULL), 0);
	assert_int_equal(bh_segment_seal(back, NULL), 0);
	assert_int_equal(bh_segment_seal(named, NULL), 0);
	bh_segment_digest(seg, one);
	bh_segment_digest(back, two);
	assert_memory_equal(one, two, sizeof(one));
	bh_segment_digest(named, two);
	assert_memory_not_equal(one, two, sizeof(one));
	bh_segment_unref(named);
	named = bh_segment_new("net:7");
	b.addr.identity++;
	bh_segment_add(named, &a);
	bh_segment_add(named, &b);
	assert_int_equal(bh_segment_seal(named, NULL), 0);
	bh_segment_digest(named, two);
	assert_memory_not_equal(one, two, sizeof(one));
	bh_segment_unref(seg);
	bh_segment_unref(back);
	bh_segment_unref(named);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_digest),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
