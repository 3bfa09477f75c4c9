/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of hello messages; see hello.h. */
#include "gate/app/tls/hello.h"

#include "base/util.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct text {
	char *data;
	uint32_t size, capacity;
	bool full;
};

static void put(struct text *t, char c)
{
	if (t->size < t->capacity) {
		t->data[t->size++] = c;
	} else {
		t->full = true;
	}
}

static void put_number(struct text *t, unsigned int value)
{
	char digits[8];
	unsigned int n = 0;
	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n) {
		put(t, digits[--n]);
	}
}

/* Numbers of `width` bytes, joined by '-'; GREASE is left out. */
static void put_list(struct text *t, const struct gate_view *v, unsigned int width)
{
	bool first = true;
	for (uint32_t i = 0; i + width <= v->size; i += width) {
		uint16_t n = width == 1 ? v->data[i] : (uint16_t)(v->data[i] << 8 | v->data[i + 1]);
		if (width == 2 && gate_tls_is_grease(n)) {
			continue;
		}
		if (!first) {
			put(t, '-');
		}
		put_number(t, n);
		first = false;
	}
}

static void put_extensions(struct text *t, const struct gate_view *v)
{
	bool first = true;
	uint16_t type = 0;
	for (uint32_t at = 0; v->size && gate_tls_hello_extension(v, &at, &type);) {
		if (gate_tls_is_grease(type)) {
			continue;
		}
		if (!first) {
			put(t, '-');
		}
		put_number(t, type);
		first = false;
	}
}

uint32_t gate_ja3_string(const struct gate_tls_hello *hello, char ret[GATE_JA3_STRING_MAX])
{
	struct text t = {.data = ret, .capacity = GATE_JA3_STRING_MAX};
	put_number(&t, hello->legacy_version);
	put(&t, ',');
	if (hello->client) {
		put_list(&t, &hello->ciphers, 2);
	} else {
		put_number(&t, hello->cipher);
	}
	put(&t, ',');
	put_extensions(&t, &hello->extensions);
	if (hello->client) {
		put(&t, ',');
		put_list(&t, &hello->groups, 2);
		put(&t, ',');
		put_list(&t, &hello->point_formats, 1);
	}
	return t.full ? 0 : t.size;
}

static bool digest(const EVP_MD *md, const void *data, size_t size, uint8_t ret[EVP_MAX_MD_SIZE])
{
	return md && EVP_Digest(data, size, ret, NULL, md, NULL);
}

void gate_ja3_hash(const char *text, uint32_t size, char ret[GATE_JA3_HASH_SIZE])
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	ret[0] = '\0';
	if (digest(EVP_md5(), text, size, sum)) {
		bh_hex_format(sum, 16, ret);
	}
}

/* ---- JA4 ---- */

struct codes {
	uint16_t values[GATE_TLS_JA4_CODES];
	unsigned int count;
	bool full;
};

static void add_code(struct codes *c, uint16_t value)
{
	if (c->count < GATE_TLS_JA4_CODES) {
		c->values[c->count++] = value;
	} else {
		c->full = true;
	}
}

static void add_list(struct codes *c, const struct gate_view *v)
{
	for (uint32_t i = 0; i + 2 <= v->size; i += 2) {
		uint16_t n = (uint16_t)(v->data[i] << 8 | v->data[i + 1]);
		if (!gate_tls_is_grease(n)) {
			add_code(c, n);
		}
	}
}

static int compare(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void put_codes(struct text *t, const struct codes *c)
{
	static const char hex[] = "0123456789abcdef";
	for (unsigned int i = 0; i < c->count; i++) {
		if (i) {
			put(t, ',');
		}
		for (int shift = 12; shift >= 0; shift -= 4) {
			put(t, hex[c->values[i] >> shift & 15]);
		}
	}
}

static void put_sum(char *ret, const struct text *t)
{
	uint8_t sum[EVP_MAX_MD_SIZE] = {};
	if (t->size && digest(EVP_sha256(), t->data, t->size, sum)) {
		bh_hex_format(sum, 6, ret);
	} else {
		memcpy(ret, "000000000000", 13);
	}
}

static const char *version_code(const struct gate_tls_hello *h)
{
	uint16_t best = 0;
	for (uint32_t i = 0; i + 2 <= h->versions.size; i += 2) {
		uint16_t v = (uint16_t)(h->versions.data[i] << 8 | h->versions.data[i + 1]);
		if (!gate_tls_is_grease(v) && v > best && v >> 8 == 3) {
			best = v;
		}
	}
	switch (best ? best : h->legacy_version) {
	case 0x0304:
		return "13";
	case 0x0303:
		return "12";
	case 0x0302:
		return "11";
	case 0x0301:
		return "10";
	case 0x0300:
		return "s3";
	case 0x0002:
		return "s2";
	default:
		return "00";
	}
}

static bool is_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static void put_alpn(struct text *t, const struct gate_tls_hello *h)
{
	static const char hex[] = "0123456789abcdef";
	struct gate_view first;
	if (!gate_tls_hello_alpn(&h->alpn, 0, &first) || !first.size) {
		put(t, '0');
		put(t, '0');
		return;
	}
	uint8_t a = first.data[0], b = first.data[first.size - 1];
	bool plain = is_alnum(a) && is_alnum(b);
	put(t, plain ? (char)a : hex[a >> 4]);
	put(t, plain ? (char)b : hex[b & 15]);
}

static void put_count(struct text *t, unsigned int count)
{
	count = count < 99 ? count : 99;
	put(t, (char)('0' + count / 10));
	put(t, (char)('0' + count % 10));
}

/* All extensions but names and ALPN into c; returns how many there are with them. */
static unsigned int add_extensions(struct codes *c, const struct gate_view *v)
{
	unsigned int all = 0;
	uint16_t type = 0;
	for (uint32_t at = 0; v->size && gate_tls_hello_extension(v, &at, &type);) {
		if (gate_tls_is_grease(type)) {
			continue;
		}
		all++;
		if (type != 0 && type != 16) {
			add_code(c, type);
		}
	}
	return all;
}

bool gate_ja4(const struct gate_tls_hello *hello, char transport, char ret[GATE_JA4_SIZE])
{
	struct codes ciphers = {}, extensions = {}, signatures = {};
	char lists[2 * GATE_TLS_JA4_CODES * 5 + 8];
	add_list(&ciphers, &hello->ciphers);
	add_list(&signatures, &hello->signatures);
	unsigned int count = add_extensions(&extensions, &hello->extensions);
	if (ciphers.full || extensions.full || signatures.full) {
		return false;
	}
	struct text t = {.data = ret, .capacity = GATE_JA4_SIZE - 1};
	const char *version = version_code(hello);
	put(&t, transport);
	put(&t, version[0]);
	put(&t, version[1]);
	put(&t, hello->flags & GATE_TLS_HAS_SNI ? 'd' : 'i');
	put_count(&t, ciphers.count);
	put_count(&t, count);
	put_alpn(&t, hello);
	ret[10] = '_';
	qsort(ciphers.values, ciphers.count, sizeof(ciphers.values[0]), compare);
	qsort(extensions.values, extensions.count, sizeof(extensions.values[0]), compare);
	struct text list = {.data = lists, .capacity = sizeof(lists)};
	put_codes(&list, &ciphers);
	put_sum(ret + 11, &list);
	ret[23] = '_';
	list.size = 0;
	put_codes(&list, &extensions);
	if (extensions.count && signatures.count) {
		put(&list, '_');
		put_codes(&list, &signatures);
	}
	put_sum(ret + 24, &list);
	return true;
}
