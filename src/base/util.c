/* SPDX-License-Identifier: Apache-2.0 */
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>

static void *must(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *bh_alloc(size_t size)
{
	return must(calloc(1, size ? size : 1));
}

void *bh_alloc_array(size_t count, size_t size)
{
	return must(calloc(count ? count : 1, size ? size : 1));
}

void *bh_realloc_array(void *old, size_t count, size_t size)
{
	return must(reallocarray(old, count ? count : 1, size ? size : 1));
}

void *bh_memdup(const void *data, size_t size)
{
	void *p = bh_alloc(size);

	if (size) {
		memcpy(p, data, size);
	}
	return p;
}

uint64_t bh_fnv1a(const void *data, size_t size)
{
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < size; i++) {
		h = (h ^ ((const uint8_t *)data)[i]) * 1099511628211ull;
	}
	return h ^ h >> 32;
}

char *bh_strdup(const char *s)
{
	return must(strdup(s));
}

char *bh_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0) {
		s = NULL;
	}
	va_end(ap);
	return must(s);
}

void bh_vec_grow(void **items, size_t *capacity, size_t need, size_t item_size)
{
	size_t want = *capacity ? *capacity : 8;

	if (need <= *capacity) {
		return;
	}
	while (want < need) {
		want *= 2;
	}
	*items = bh_realloc_array(*items, want, item_size);
	*capacity = want;
}

int bh_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t v = 0;

	if (!s || !*s) {
		return -EINVAL;
	}
	for (; *s; s++) {
		if (*s < '0' || *s > '9') {
			return -EINVAL;
		}
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v)) {
			return -ERANGE;
		}
	}
	if (v < min || v > max) {
		return -ERANGE;
	}
	*ret_value = v;
	return 0;
}

void bh_hex_format(const void *data, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * size] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

int bh_hex_parse(const char *s, void *ret_data, size_t size)
{
	uint8_t *out = ret_data;

	if (!s || strlen(s) != 2 * size) {
		return -EINVAL;
	}
	for (size_t i = 0; i < size; i++) {
		int hi = hex_digit(s[2 * i]);
		int lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0) {
			return -EINVAL;
		}
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}
