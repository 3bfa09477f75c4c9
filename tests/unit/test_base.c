/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers, numbers, names, addresses, files and JSON: what everything else stands on. */
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"
#include "model/id.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static void rbuf_is_sticky_and_gives_zeros(void **state)
{
	const uint8_t data[] = {1, 2, 3};
	struct bh_rbuf r;

	bh_rbuf_init(&r, data, sizeof(data));
	assert_int_equal(bh_rbuf_u16(&r), 0x0201);
	assert_int_equal(bh_rbuf_u16(&r), 0);
	assert_int_equal(bh_rbuf_u8(&r), 0);
	assert_int_equal(bh_rbuf_finish(&r), -EBADMSG);
	assert_int_equal(bh_rbuf_left(&r), 0);
}

static void wbuf_keeps_its_limit(void **state)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 4);
	bh_wbuf_u32(&w, 0x01020304);
	assert_int_equal(w.err, 0);
	bh_wbuf_u8(&w, 1);
	assert_int_equal(w.err, -EMSGSIZE);
	assert_int_equal(w.size, 4);
	bh_wbuf_done(&w);
}

static void numbers_are_read_whole(void **state)
{
	uint64_t v = 0;

	assert_int_equal(bh_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(bh_parse_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(bh_parse_u64("", 0, 9, &v), -EINVAL);
	assert_int_equal(bh_parse_u64("1 ", 0, 9, &v), -EINVAL);
	assert_int_equal(bh_parse_u64("-1", 0, 9, &v), -EINVAL);
	assert_int_equal(bh_parse_u64("10", 0, 9, &v), -ERANGE);
}

static void cidrs_have_one_form(void **state)
{
	static const struct {
		const char *in;
		int r;
		const char *out;
	} cases[] = {
		{"10.0.0.0/8", 0, "10.0.0.0/8"},
		{"10.1.2.3", 0, "10.1.2.3/32"},
		{"10.0.0.1/8", -ERANGE, NULL},
		{"fd00::/8", 0, "fd00::/8"},
		{"::/0", 0, "::/0"},
		{"0.0.0.0/0", 0, "0.0.0.0/0"},
		{"10.0.0.0/33", -EINVAL, NULL},
		{"10.0.0.0/", -EINVAL, NULL},
		{"10.0.0/8", -EINVAL, NULL},
		{"", -EINVAL, NULL},
		{"::1/129", -EINVAL, NULL},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		char text[BH_CIDR_TEXT_SIZE];
		uint8_t addr[16], bits = 0;

		assert_int_equal(bh_cidr_parse(cases[i].in, addr, &bits), cases[i].r);
		if (!cases[i].r) {
			bh_cidr_format(addr, bits, text);
			assert_string_equal(text, cases[i].out);
		}
	}
}

static void cidr_contains(void **state)
{
	uint8_t net[16], addr[16], bits;

	assert_int_equal(bh_cidr_parse("10.1.128.0/17", net, &bits), 0);
	assert_int_equal(bh_addr_parse("10.1.200.3", addr), 0);
	assert_true(bh_cidr_contains(net, bits, addr));
	assert_int_equal(bh_addr_parse("10.1.127.3", addr), 0);
	assert_false(bh_cidr_contains(net, bits, addr));
}

static void names_and_macs(void **state)
{
	uint8_t mac[6], uuid[16];
	char text[BH_UUID_TEXT_SIZE];

	assert_true(bh_name_valid("shop-1.prod"));
	assert_false(bh_name_valid("-shop"));
	assert_false(bh_name_valid("Shop"));
	assert_false(bh_name_valid("a/b"));
	assert_true(bh_label_value_valid(""));
	assert_true(bh_label_key_valid("app.kubernetes.io/name"));
	assert_int_equal(bh_mac_parse("52:54:00:00:00:0g", mac), -EINVAL);
	assert_int_equal(bh_mac_parse("52:54:00:00:00:0a", mac), 0);
	bh_uuid_random(uuid);
	bh_uuid_format(uuid, text);
	assert_int_equal(bh_uuid_parse(text, uuid), 0);
	assert_int_equal(bh_uuid_parse("00000000-0000-0000-0000-00000000000", uuid), -EINVAL);
}

static void files_are_replaced_whole(void **state)
{
	char folder[] = "/tmp/bh-test-XXXXXX";
	BH_FREE char *path = NULL, *data = NULL;
	size_t size;
	struct stat st;

	assert_non_null(mkdtemp(folder));
	path = bh_asprintf("%s/f", folder);
	assert_int_equal(bh_file_replace(path, "one", 3, 0600, NULL), 0);
	assert_int_equal(bh_file_replace(path, "two!", 4, 0640, NULL), 0);
	assert_int_equal(bh_file_read(path, 4, &data, &size, NULL), 0);
	assert_string_equal(data, "two!");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	free(data);
	data = NULL;
	assert_int_equal(bh_file_read(path, 3, &data, &size, NULL), -EFBIG);
	unlink(path);
	rmdir(folder);
}

static void json_says_what_is_wrong(void **state)
{
	static const char *const known[] = {"a", NULL};
	struct bh_diag diag = {};
	BH_JSON json_t *json = NULL;
	const char *s;
	uint64_t v;

	assert_int_equal(bh_json_load("{\"a\": 1,}", 9, 100, &json, &diag), -EBADMSG);
	assert_int_equal(bh_json_load("{\"a\":1,\"a\":2}", 13, 100, &json, &diag), -EBADMSG);
	assert_int_equal(bh_json_load("{\"a\":1}", 7, 6, &json, &diag), -EMSGSIZE);
	assert_int_equal(bh_json_load("{\"a\":1,\"b\":-1}", 14, 100, &json, &diag), 0);
	assert_int_equal(bh_json_str(json, "a", &s, &diag), -EINVAL);
	assert_string_equal(diag.text, "\"a\" must be a string");
	assert_int_equal(bh_json_str(json, "c", &s, &diag), -ENOENT);
	assert_int_equal(bh_json_u64(json, "b", 9, &v, &diag), -EINVAL);
	assert_int_equal(bh_json_known(json, known, &diag), -EINVAL);
	assert_string_equal(diag.text, "unknown member \"b\"");
}

static void json_is_put_as_it_was_read(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"b\":1,\"a\":[true,false,null,{}],\"c\":{\"d\":[[],[0]]}}",
		"[-9223372036854775808,-1,0,9223372036854775807,1.5,-0.25]",
		"[\"\",\"\\\"\\\\\",\"\\u000a\\u0001\",\"\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80\"]",
		"{\"a \\\"key\\\"\":\"\"}",
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		BH_JSON json_t *json = NULL;
		struct bh_wbuf w;

		assert_int_equal(bh_json_load(texts[i], strlen(texts[i]), 0, &json, NULL), 0);
		bh_wbuf_init(&w, 0);
		bh_json_put(&w, json);
		assert_string_equal(bh_wbuf_cstr(&w), texts[i]);
		bh_wbuf_done(&w);
	}
}

static void plain_text_is_utf8_without_controls(void **state)
{
	static const char *const good[] = {"",	     "a b/c:%00",  "\u4e2d\u6587",
					   "\u00e9", "\U0001f600", "\uffff"};
	static const char *const bad[] = {
		"a\nb",		"\x1b[0m",	    "\x7f",	"\xc0\xaf",
		"\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80",
		"\xff",		"\xf0\x82\x82\xac"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(good); i++) {
		assert_true(bh_jtext_is_plain(good[i], strlen(good[i])));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_false(bh_jtext_is_plain(bad[i], strlen(bad[i])));
	}
	assert_false(bh_jtext_is_plain("a\0b", 3));
}

/* Formatting asks the C library, reading does not. */
static void times_are_read_as_they_are_written(void **state)
{
	for (uint64_t s = 0; s < 9190000000ull; s += 86400ull * 7 + 4321) {
		char text[BH_TIME_TEXT_SIZE];
		uint64_t ns;

		bh_time_format(s * BH_NS_PER_S + 5 * BH_NS_PER_MS, text);
		assert_int_equal(bh_time_parse(text, strlen(text), &ns), 0);
		assert_int_equal(ns, s * BH_NS_PER_S + 5 * BH_NS_PER_MS);
	}
}

static void times_are_whole_or_refused(void **state)
{
	static const char text[] = "2026-11-22T00:00:00.123456789Z";
	static const char *const bad[] = {
		"1969-12-31T23:59:59Z",
		"2026-02-29T00:00:00Z",
		"2026-11-22T24:00:00Z",
		"2026-11-22T00:00:00.123+01:00",
		"2026-11-22 00:00:00Z",
		"2262-01-01T00:00:00Z",
		"2026-11-22T00:00:00.1234567890Z",
		" 026-11-22T00:00:00Z",
	};
	uint64_t ns;

	assert_int_equal(bh_time_parse(text, strlen(text), &ns), 0);
	assert_int_equal(ns, 1795305600ull * BH_NS_PER_S + 123456789);
	for (size_t n = 0; n < strlen(text); n++) {
		assert_int_equal(bh_time_parse(text, n, &ns), -EINVAL);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(bh_time_parse(bad[i], strlen(bad[i]), &ns), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rbuf_is_sticky_and_gives_zeros),
		cmocka_unit_test(wbuf_keeps_its_limit),
		cmocka_unit_test(numbers_are_read_whole),
		cmocka_unit_test(cidrs_have_one_form),
		cmocka_unit_test(cidr_contains),
		cmocka_unit_test(names_and_macs),
		cmocka_unit_test(files_are_replaced_whole),
		cmocka_unit_test(json_says_what_is_wrong),
		cmocka_unit_test(json_is_put_as_it_was_read),
		cmocka_unit_test(plain_text_is_utf8_without_controls),
		cmocka_unit_test(times_are_read_as_they_are_written),
		cmocka_unit_test(times_are_whole_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
