/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass, no allocation. A cursor `at` and its end go down the grammar; every function leaves the
 * cursor behind what it read and returns NULL, or says what is wrong there. Nested values are
 * checked only, the members of the outermost object are noted.
 */
#include "base/jtext.h"

#include <errno.h>
#include <string.h>

#define REAL_MAX 40 /* characters of a number that is not whole: no overflow, no underflow */

struct scan {
	const uint8_t *begin, *at, *end;
};

/* 1: stands for itself in a string. */
static const uint8_t plain[256] = {
	[0x20] = 1,
	[0x21] = 1,
	[0x23 ... 0x5b] = 1,
	[0x5d ... 0x7f] = 1,
};

/* ---- strings ---- */

static bool hex4(struct scan *s, unsigned int *ret)
{
	*ret = 0;
	if (s->end - s->at < 4) {
		return false;
	}
	for (int i = 0; i < 4; i++) {
		uint8_t c = *s->at++;

		if (c >= '0' && c <= '9') {
			*ret = *ret * 16 + c - '0';
		} else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
			*ret = *ret * 16 + (c | 0x20) - 'a' + 10;
		} else {
			return false;
		}
	}
	return true;
}

/* Behind the backslash. A surrogate needs its other half; zero would end a C string. */
static const char *escape(struct scan *s)
{
	unsigned int code;

	if (s->at == s->end) {
		return "the text ends within a string";
	}
	if (*s->at != 'u') {
		return strchr("\"\\/bfnrt", *s->at) && *s->at ? (s->at++, NULL) : "unknown escape";
	}
	s->at++;
	if (!hex4(s, &code) || !code || (code >= 0xdc00 && code <= 0xdfff)) {
		return "bad \\u escape";
	}
	if (code >= 0xd800 && code <= 0xdbff) {
		if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') {
			return "half a surrogate pair";
		}
		s->at += 2;
		if (!hex4(s, &code) || code < 0xdc00 || code > 0xdfff) {
			return "half a surrogate pair";
		}
	}
	return NULL;
}

/* RFC 3629: how many bytes the well-formed character at p has; 0 when it is none. */
static size_t utf8_size(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);
	uint8_t low = 0x80;
	uint8_t high = 0xbf;
	size_t size;

	if (p[0] < 0x80) {
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		size = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		size = 3;
		low = p[0] == 0xe0 ? 0xa0 : 0x80;
		high = p[0] == 0xed ? 0x9f : 0xbf;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		size = 4;
		low = p[0] == 0xf0 ? 0x90 : 0x80;
		high = p[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (left < size || p[1] < low || p[1] > high) {
		return 0;
	}
	for (size_t i = 2; i < size; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf) {
			return 0;
		}
	}
	return size;
}

bool bh_jtext_is_plain(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	const uint8_t *end = p + len;

	while (p < end) {
		size_t size = *p < 0x20 || *p == 0x7f ? 0 : utf8_size(p, end);

		if (!size) {
			return false;
		}
		p += size;
	}
	return true;
}

/* Behind the opening quote; stops on the closing one. */
static const char *string(struct scan *s, bool *ret_escaped)
{
	*ret_escaped = false;
	for (;;) {
		const char *wrong;
		size_t size;

		while (s->at < s->end && plain[*s->at]) {
			s->at++;
		}
		if (s->at == s->end) {
			return "the text ends within a string";
		}
		if (*s->at == '"') {
			return NULL;
		}
		if (*s->at == '\\') {
			s->at++;
			*ret_escaped = true;
			wrong = escape(s);
			if (wrong) {
				return wrong;
			}
			continue;
		}
		size = *s->at < 0x20 ? 0 : utf8_size(s->at, s->end);
		if (!size) {
			return "a string holds a control character or is not UTF-8";
		}
		s->at += size;
	}
}

/* The cursor is on the opening quote, and then behind the colon. */
static const char *key(struct scan *s, struct bh_jtext_member *ret)
{
	const uint8_t *from;

	if (s->at == s->end || *s->at != '"') {
		return "a key is expected";
	}
	from = ++s->at;
	while (s->at < s->end && plain[*s->at] && *s->at != 0x7f) {
		s->at++;
	}
	if (s->end - s->at < 2 || s->at[0] != '"' || s->at[1] != ':') {
		return "a key must be plain, and a colon behind it";
	}
	if (s->at == from || s->at - from > UINT8_MAX) {
		return "a key must have 1 to 255 characters";
	}
	ret->key = (uint16_t)(from - s->begin);
	ret->key_size = (uint8_t)(s->at - from);
	s->at += 2;
	return NULL;
}

/* ---- numbers ---- */

static bool is_digit(const struct scan *s)
{
	return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static const char *number(struct scan *s, enum bh_jtext_kind *ret_kind)
{
	const uint8_t *from = s->at;
	bool minus = *s->at == '-';
	int64_t v = 0;
	bool over = false;

	s->at += minus;
	if (!is_digit(s)) {
		return "a value is expected";
	}
	if (*s->at == '0') {
		s->at++;
	} else {
		while (is_digit(s)) {
			over |= __builtin_mul_overflow(v, 10, &v) ||
				__builtin_sub_overflow(v, *s->at - '0', &v);
			s->at++;
		}
	}
	if (s->at < s->end && *s->at == '.') {
		*ret_kind = BH_JTEXT_REAL;
		s->at++;
		if (!is_digit(s)) {
			return "digits are expected";
		}
		while (is_digit(s)) {
			s->at++;
		}
		over = s->at - from > REAL_MAX;
	} else {
		*ret_kind = BH_JTEXT_INTEGER;
		over |= !minus && v == INT64_MIN; /* v counts below zero, where one more fits */
	}
	return over ? "the number is too large" : NULL;
}

/* ---- values ---- */

static const char *value(struct scan *s, unsigned int depth, struct bh_jtext_member *ret);

static const char *word(struct scan *s, const char *what, size_t size)
{
	if ((size_t)(s->end - s->at) < size || memcmp(s->at, what, size) != 0) {
		return "a value is expected";
	}
	s->at += size;
	return NULL;
}

/* Behind the bracket. */
static const char *array(struct scan *s, unsigned int depth)
{
	struct bh_jtext_member ignored;
	const char *wrong;

	if (s->at < s->end && *s->at == ']') {
		s->at++;
		return NULL;
	}
	for (;;) {
		wrong = value(s, depth, &ignored);
		if (wrong) {
			return wrong;
		}
		if (s->at == s->end || (*s->at != ',' && *s->at != ']')) {
			return "a comma or ] is expected";
		}
		if (*s->at++ == ']') {
			return NULL;
		}
	}
}

/* One word holds a bit per kind of key, so that most keys need no comparing. */
static bool twice(const uint8_t *text, const struct bh_jtext_member *members, unsigned int count,
		  uint64_t *seen)
{
	const struct bh_jtext_member *m = &members[count];
	const uint8_t *k = text + m->key;
	uint64_t bit = 1ull << ((m->key_size * 7u + k[0] + 5u * k[m->key_size - 1u] +
				 3u * k[m->key_size / 2u]) &
				63);
	bool maybe = *seen & bit;

	*seen |= bit;
	for (unsigned int i = 0; maybe && i < count; i++) {
		if (members[i].key_size == m->key_size &&
		    !memcmp(text + members[i].key, k, m->key_size)) {
			return true;
		}
	}
	return false;
}

/* Behind the brace. members has room for BH_JTEXT_MEMBERS_MAX. */
static const char *object(struct scan *s, unsigned int depth, struct bh_jtext_member *members,
			  uint16_t *ret_count)
{
	uint16_t count = 0;
	uint64_t seen = 0;
	const char *wrong;

	*ret_count = 0;
	if (s->at < s->end && *s->at == '}') {
		s->at++;
		return NULL;
	}
	for (;;) {
		if (count == BH_JTEXT_MEMBERS_MAX) {
			return "too many members";
		}
		wrong = key(s, &members[count]);
		if (!wrong && twice(s->begin, members, count, &seen)) {
			wrong = "the same key twice";
		}
		if (!wrong) {
			wrong = value(s, depth, &members[count]);
		}
		if (wrong) {
			return wrong;
		}
		count++;
		if (s->at == s->end || (*s->at != ',' && *s->at != '}')) {
			return "a comma or } is expected";
		}
		if (*s->at++ == '}') {
			*ret_count = count;
			return NULL;
		}
	}
}

static const char *inner_object(struct scan *s, unsigned int depth)
{
	struct bh_jtext_member members[BH_JTEXT_MEMBERS_MAX];
	uint16_t count;

	return object(s, depth, members, &count);
}

static const char *value(struct scan *s, unsigned int depth, struct bh_jtext_member *ret)
{
	const uint8_t *from = s->at;
	enum bh_jtext_kind kind = BH_JTEXT_NULL;
	const char *wrong;
	bool escaped;

	if (s->at == s->end) {
		return "the text ends too early";
	}
	switch (*s->at) {
	case '"':
		from = ++s->at;
		wrong = string(s, &escaped);
		ret->value = (uint16_t)(from - s->begin);
		ret->value_size = (uint16_t)(s->at - from);
		ret->kind = escaped ? BH_JTEXT_ESCAPED : BH_JTEXT_STRING;
		s->at += !wrong;
		return wrong;
	case '{':
	case '[':
		if (depth >= BH_JTEXT_DEPTH_MAX) {
			return "too deep";
		}
		kind = *s->at == '{' ? BH_JTEXT_OBJECT : BH_JTEXT_ARRAY;
		s->at++;
		wrong = kind == BH_JTEXT_OBJECT ? inner_object(s, depth + 1) : array(s, depth + 1);
		break;
	case 't':
		kind = BH_JTEXT_TRUE;
		wrong = word(s, "true", 4);
		break;
	case 'f':
		kind = BH_JTEXT_FALSE;
		wrong = word(s, "false", 5);
		break;
	case 'n':
		wrong = word(s, "null", 4);
		break;
	default:
		wrong = number(s, &kind);
	}
	ret->value = (uint16_t)(from - s->begin);
	ret->value_size = (uint16_t)(s->at - from);
	ret->kind = (uint8_t)kind;
	return wrong;
}

int bh_jtext_parse(const char *text, size_t size, struct bh_jtext *ret, struct bh_diag *diag)
{
	struct scan s = {.begin = (const uint8_t *)text};
	const char *wrong = "an object is expected";

	if (size > BH_JTEXT_SIZE_MAX) {
		return bh_diag_set(diag, -EMSGSIZE, "JSON of %zu bytes is over the limit of %d",
				   size, BH_JTEXT_SIZE_MAX);
	}
	s.at = s.begin;
	s.end = s.begin + size;
	ret->text = text;
	ret->size = (uint16_t)size;
	if (size && *s.at == '{') {
		s.at++;
		wrong = object(&s, 1, ret->members, &ret->count);
	}
	if (!wrong && s.at != s.end) {
		wrong = "something stands behind the object";
	}
	if (wrong) {
		return bh_diag_at(diag, -EBADMSG, NULL, 1, (unsigned int)(s.at - s.begin) + 1,
				  "not valid JSON (column %zu): %s", (size_t)(s.at - s.begin) + 1,
				  wrong);
	}
	return 0;
}

/* ---- looking ---- */

static bool named(const struct bh_jtext *j, const struct bh_jtext_member *m, const char *key,
		  size_t size)
{
	return m->key_size == size && !memcmp(j->text + m->key, key, size);
}

bool bh_jtext_key_is(const struct bh_jtext *j, const struct bh_jtext_member *m, const char *key)
{
	return named(j, m, key, strlen(key));
}

const struct bh_jtext_member *bh_jtext_find(const struct bh_jtext *j, const char *key)
{
	size_t size = strlen(key);

	for (unsigned int i = 0; i < j->count; i++) {
		if (named(j, &j->members[i], key, size)) {
			return &j->members[i];
		}
	}
	return NULL;
}

bool bh_jtext_str(const struct bh_jtext *j, const char *key, char *ret, size_t size)
{
	const struct bh_jtext_member *m = bh_jtext_find(j, key);

	ret[0] = '\0';
	if (!m || m->kind != BH_JTEXT_STRING || m->value_size >= size) {
		return false;
	}
	memcpy(ret, j->text + m->value, m->value_size);
	ret[m->value_size] = '\0';
	return true;
}

bool bh_jtext_u64(const struct bh_jtext *j, const char *key, uint64_t max, uint64_t *ret)
{
	const struct bh_jtext_member *m = bh_jtext_find(j, key);
	uint64_t v = 0;

	if (!m || m->kind != BH_JTEXT_INTEGER || j->text[m->value] == '-') {
		return false;
	}
	for (unsigned int i = 0; i < m->value_size; i++) { /* it fits: bh_jtext_parse looked */
		v = v * 10 + (uint64_t)(j->text[m->value + i] - '0');
	}
	*ret = v;
	return v <= max;
}

/* ---- writing ---- */

static void put_odd(struct bh_wbuf *w, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	if (c == '"' || c == '\\') {
		text[1] = (char)c;
		bh_wbuf_put(w, text, 2);
	} else {
		bh_wbuf_put(w, text, sizeof(text));
	}
}

void bh_jtext_put_str(struct bh_wbuf *w, const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	const uint8_t *end = p + strlen(s);

	bh_wbuf_u8(w, '"');
	while (p < end) {
		const uint8_t *from = p;
		size_t size;

		while (p < end && plain[*p]) {
			p++;
		}
		bh_wbuf_put(w, from, (size_t)(p - from));
		if (p == end) {
			break;
		}
		size = utf8_size(p, end);
		if (size > 1) {
			bh_wbuf_put(w, p, size);
		} else if (size) {
			put_odd(w, *p);
		} else {
			bh_wbuf_u8(w, '?');
		}
		p += size ? size : 1;
	}
	bh_wbuf_u8(w, '"');
}

void bh_jtext_put_u64(struct bh_wbuf *w, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	bh_wbuf_put(w, text + at, sizeof(text) - at);
}

static void put_key(struct bh_wbuf *w, const char *k, size_t size)
{
	char text[UINT8_MAX + 4];
	size_t n = 0;

	if (w->size && w->data[w->size - 1] != '{') {
		text[n++] = ',';
	}
	text[n++] = '"';
	size = size > UINT8_MAX ? UINT8_MAX : size;
	memcpy(text + n, k, size);
	n += size;
	text[n++] = '"';
	text[n++] = ':';
	bh_wbuf_put(w, text, n);
}

void bh_jtext_add_key(struct bh_wbuf *w, const char *k)
{
	put_key(w, k, strlen(k));
}

void bh_jtext_add_str(struct bh_wbuf *w, const char *k, const char *v)
{
	put_key(w, k, strlen(k));
	bh_jtext_put_str(w, v);
}

void bh_jtext_add_u64(struct bh_wbuf *w, const char *k, uint64_t v)
{
	put_key(w, k, strlen(k));
	bh_jtext_put_u64(w, v);
}

void bh_jtext_add_pair(struct bh_wbuf *w, const char *k, uint64_t a, uint64_t b)
{
	put_key(w, k, strlen(k));
	bh_wbuf_u8(w, '[');
	bh_jtext_put_u64(w, a);
	bh_wbuf_u8(w, ',');
	bh_jtext_put_u64(w, b);
	bh_wbuf_u8(w, ']');
}

void bh_jtext_add_member(struct bh_wbuf *w, const struct bh_jtext *j,
			 const struct bh_jtext_member *m)
{
	bool quoted = m->kind == BH_JTEXT_STRING || m->kind == BH_JTEXT_ESCAPED;

	put_key(w, j->text + m->key, m->key_size);
	bh_wbuf_put(w, j->text + m->value - quoted, (size_t)m->value_size + 2 * quoted);
}
