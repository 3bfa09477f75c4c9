/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text: whatever bytes at whatever place, against a reader of JSON and byte by byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gate/output/jw.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void assert_text(const struct gate_jw *jw, const char *text)
{
	assert_true(jw->ok);
	assert_int_equal(jw->size, strlen(text));
	assert_memory_equal(jw->data, text, jw->size);
}

/* A value without bytes may have no address. */
static void test_nothing(void **arg)
{
	struct gate_jw jw;

	(void)arg;
	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	gate_jw_bytes(&jw, "a", NULL, 0);
	gate_jw_hex(&jw, "b", NULL, 0);
	gate_jw_base64(&jw, "c", NULL, 0);
	gate_jw_text(&jw, "", "");
	gate_jw_end(&jw);
	assert_text(&jw, "{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"\":\"\"}");
	gate_jw_reset(&jw);
	gate_jw_raw(&jw, NULL, NULL, 0);
	assert_text(&jw, "");
	gate_jw_done(&jw);
}

/* As the comment of jw.h says, one byte after another. */
static size_t expect(char *to, const uint8_t *data, size_t size)
{
	static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";
	size_t n = 0;

	to[n++] = '"';
	for (size_t i = 0; i < size; i++) {
		const char *s = data[i] ? strchr(shorts, data[i]) : NULL;

		if (s && (s - shorts) % 2 == 0) {
			to[n++] = '\\';
			to[n++] = s[1];
		} else if (data[i] < 0x20 || data[i] == 0x7f) {
			n += (size_t)sprintf(to + n, "\\u00%02x", data[i]);
		} else if (data[i] >= 0x80) {
			n += (size_t)sprintf(to + n, "\\\\x%02x", data[i]);
		} else {
			to[n++] = (char)data[i];
		}
	}
	to[n++] = '"';
	return n;
}

/* Every byte at every place of values of every small size. */
static void test_every_byte(void **arg)
{
	uint8_t data[40];
	char text[8 * sizeof(data)];
	struct gate_jw jw;

	(void)arg;
	gate_jw_init(&jw);
	for (size_t size = 1; size <= sizeof(data); size += size < 18 ? 1 : 7) {
		for (size_t at = 0; at < size; at++) {
			for (unsigned int c = 0; c < 256; c++) {
				size_t want;

				memset(data, 'a' + (int)(size % 26), sizeof(data));
				data[at] = (uint8_t)c;
				want = expect(text, data, size);
				gate_jw_reset(&jw);
				gate_jw_bytes(&jw, NULL, data, size);
				assert_true(jw.ok);
				assert_int_equal(jw.size, want);
				assert_memory_equal(jw.data, text, want);
			}
		}
	}
	gate_jw_done(&jw);
}

/* Keys of every length, those that need escaping too. */
static void test_keys(void **arg)
{
	char key[64], long_key[300];
	struct gate_jw jw;

	(void)arg;
	gate_jw_init(&jw);
	for (size_t size = 0; size < sizeof(key); size++) {
		for (unsigned int odd = 0; odd < 2; odd++) {
			memset(key, 'k', sizeof(key));
			key[size] = '\0';
			if (odd && size) {
				key[size - 1] = '"';
			}
			gate_jw_reset(&jw);
			gate_jw_object(&jw, NULL);
			gate_jw_uint(&jw, key, 7);
			gate_jw_bool(&jw, "b", true);
			gate_jw_end(&jw);
			json_t *json = json_loadb(jw.data, jw.size, 0, NULL);
			assert_non_null(json);
			assert_int_equal(json_integer_value(json_object_get(json, key)), 7);
			json_decref(json);
		}
	}
	memset(long_key, 'x', sizeof(long_key));
	long_key[sizeof(long_key) - 1] = '\0';
	gate_jw_reset(&jw);
	gate_jw_object(&jw, long_key);
	assert_true(jw.ok);
	gate_jw_done(&jw);
}

static void test_numbers(void **arg)
{
	char text[32];
	struct gate_jw jw;

	(void)arg;
	gate_jw_init(&jw);
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (int step = -2; step <= 2; step++) {
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)step;

			gate_jw_reset(&jw);
			gate_jw_uint(&jw, NULL, value);
			snprintf(text, sizeof(text), "%" PRIu64, value);
			assert_text(&jw, text);
			gate_jw_reset(&jw);
			gate_jw_int(&jw, NULL, (int64_t)value);
			snprintf(text, sizeof(text), "%" PRId64, (int64_t)value);
			assert_text(&jw, text);
		}
	}
	for (uint64_t value = 1; value < UINT64_MAX / 10; value *= 10) {
		gate_jw_reset(&jw);
		gate_jw_uint(&jw, NULL, value - 1);
		snprintf(text, sizeof(text), "%" PRIu64, value - 1);
		assert_text(&jw, text);
	}
	gate_jw_done(&jw);
}

/* Up to its limit and not beyond: what does not fit makes the record bad. */
static void test_limit(void **arg)
{
	static char big[GATE_JW_SIZE_MAX];
	struct gate_jw jw;

	(void)arg;
	gate_jw_init(&jw);
	memset(big, 'x', sizeof(big));
	gate_jw_bytes(&jw, NULL, big, sizeof(big) - 16);
	assert_true(jw.ok);
	gate_jw_reset(&jw);
	gate_jw_bytes(&jw, NULL, big, sizeof(big));
	assert_false(jw.ok);
	gate_jw_uint(&jw, "a", 1);
	assert_false(jw.ok);
	memset(big, 1, sizeof(big));
	gate_jw_reset(&jw);
	gate_jw_bytes(&jw, NULL, big, sizeof(big) / 2);
	assert_false(jw.ok);
	assert_true(jw.size <= GATE_JW_SIZE_MAX);
	gate_jw_done(&jw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_keys),	cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
