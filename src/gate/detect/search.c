/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One literal in a buffer. memchr (vectors in libc) looks for the literal's rarest byte, in either
 * case when the case does not matter; the rest is compared there. No tables but one of how common
 * bytes are in traffic, so a rule costs no memory and a short buffer no preparation.
 */
#include "gate/detect/inspect.h"

#include <string.h>

/* How common a byte is, 0 rare: text first, then zeros and what binary protocols are full of. */
uint8_t gate_byte_commonness(uint8_t c)
{
	static const char order[] = " etaoinsrhldcumfpgwybvk/-.=:;,&_<>()\"'[]{}0123456789";
	const char *at;

	if (c == 0) {
		return 255;
	}
	if (c == 0xff || c == 1 || c == '\n' || c == '\r') {
		return 120;
	}
	if (c >= 'A' && c <= 'Z') {
		c |= 0x20;
		at = memchr(order, c, sizeof(order) - 1);
		return at ? (uint8_t)(130 - (at - order)) : 60;
	}
	at = memchr(order, c, sizeof(order) - 1);
	return at ? (uint8_t)(250 - 2 * (at - order)) : 40;
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

static uint8_t lower(uint8_t c)
{
	return (uint8_t)(c - 'A') < 26 ? c | 0x20 : c;
}

void gate_content_prepare(struct gate_dm *m, const uint8_t *bytes, uint16_t size, bool nocase)
{
	uint16_t best = 0;
	int best_score = 1000;

	for (uint16_t i = 0; i < size; i++) {
		/* A letter in either case is two searches. */
		int score =
			gate_byte_commonness(bytes[i]) + (nocase && is_letter(bytes[i]) ? 60 : 0);

		if (score < best_score) {
			best_score = score;
			best = i;
		}
	}
	m->content.bytes = bytes;
	m->content.size = size;
	m->content.anchor = best;
	m->content.lo = size ? bytes[best] : 0;
	m->content.hi =
		nocase && size && is_letter(bytes[best]) ? bytes[best] & ~0x20 : m->content.lo;
}

static bool same_nocase(const uint8_t *data, const uint8_t *low, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (lower(data[i]) != low[i]) {
			return false;
		}
	}
	return true;
}

static bool same_at(const struct gate_dm *m, const uint8_t *data)
{
	if (m->flags & GATE_CONTENT_NOCASE) {
		return same_nocase(data, m->content.bytes, m->content.size);
	}
	return memcmp(data, m->content.bytes, m->content.size) == 0;
}

static int64_t search_one(const struct gate_dm *m, const uint8_t *data, uint32_t last)
{
	const uint8_t *at = data + m->content.anchor, *end = at + last + 1;

	while ((at = memchr(at, m->content.lo, (size_t)(end - at)))) {
		if (same_at(m, at - m->content.anchor)) {
			return at - m->content.anchor - data;
		}
		if (++at == end) {
			break;
		}
	}
	return -1;
}

/* The next of two bytes: each memchr goes on only when its own find is used up. */
static int64_t search_two(const struct gate_dm *m, const uint8_t *data, uint32_t last)
{
	const uint8_t *begin = data + m->content.anchor, *end = begin + last + 1;
	const uint8_t *lo = memchr(begin, m->content.lo, (size_t)(end - begin));
	const uint8_t *hi = memchr(begin, m->content.hi, (size_t)((lo ? lo : end) - begin));

	while (lo || hi) {
		const uint8_t *at = hi ? hi : lo; /* hi is looked for before lo only */
		const uint8_t *limit;

		if (same_at(m, at - m->content.anchor)) {
			return at - m->content.anchor - data;
		}
		if (!hi) {
			lo = memchr(at + 1, m->content.lo, (size_t)(end - at - 1));
		}
		limit = lo ? lo : end;
		hi = memchr(at + 1, m->content.hi, (size_t)(limit - at - 1));
	}
	return -1;
}

int64_t gate_content_search(const struct gate_dm *m, const uint8_t *data, uint32_t size)
{
	if (m->content.size > size) {
		return -1;
	}
	if (m->content.size == size) {
		return same_at(m, data) ? 0 : -1;
	}
	if (m->content.lo == m->content.hi) {
		return search_one(m, data, size - m->content.size);
	}
	return search_two(m, data, size - m->content.size);
}
