/* SPDX-License-Identifier: Apache-2.0 */
/* Raw deflate of all kinds, whole, torn, broken off and changed: as zlib has it. */
#include "gate_inflate_twins.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TEXT_SIZE 200000

static uint32_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

enum look { LOOK_ZEROS, LOOK_NOISE, LOOK_WORDS, LOOK_FAR, LOOKS };

static void write_text(enum look look, uint8_t *text, size_t size)
{
	static const char *const words[] = {"<div class=\"", "function ", "\">", "the ", "\n",
					    "return ",	     "42",	  "};",	 "e",	 "var "};

	for (size_t at = 0; at < size; at++) {
		text[at] = look == LOOK_ZEROS ? 0 : (uint8_t)rnd(256);
	}
	for (size_t at = 0; look == LOOK_WORDS && at + 16 < size;) {
		const char *word = words[rnd(BH_ARRAY_SIZE(words))];

		memcpy(text + at, word, strlen(word));
		at += strlen(word);
	}
	/* The farthest that a match may reach. */
	for (size_t at = 32768; look == LOOK_FAR && at < size; at++) {
		text[at] = rnd(50) ? text[at - 32768] : text[at];
	}
}

static size_t pack(const uint8_t *text, size_t size, int level, int strategy, uint8_t *ret,
		   size_t room)
{
	z_stream z = {};
	size_t n;

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -MAX_WBITS, 9, strategy), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)text;
	z.avail_in = (uInt)size;
	z.next_out = ret;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = room - z.avail_out;
	deflateEnd(&z);
	return n;
}

static void agree(const uint8_t *data, size_t size, size_t step, uint32_t room)
{
	const char *what = twins_differ(data, size, step, room);

	if (what) {
		fail_msg("%s: %zu bytes in pieces of %zu, room for %u", what, size, step, room);
	}
}

static void all_ways(const uint8_t *packed, size_t n)
{
	static const size_t steps[] = {1, 7, 1448, SIZE_MAX / 2};
	static const uint32_t rooms[] = {8192, 100, 40000};
	uint8_t *other = bh_memdup(packed, n);

	for (size_t s = 0; s < BH_ARRAY_SIZE(steps); s++) {
		for (size_t r = 0; r < BH_ARRAY_SIZE(rooms); r++) {
			agree(packed, n, steps[s], rooms[r]);
		}
	}
	for (int i = 0; i < 10; i++) {
		agree(packed, rnd((uint32_t)n) + 1, 1448, 8192);
	}
	for (int i = 0; i < 30; i++) {
		size_t at = rnd(i % 2 ? (uint32_t)n : n < 200 ? (uint32_t)n : 200);
		uint8_t old = other[at];

		other[at] ^= (uint8_t)(1u << rnd(8));
		agree(other, n, 1448, 8192);
		other[at] = old;
	}
	free(other);
}

static void kinds(void **state)
{
	static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
	const size_t room = TEXT_SIZE + 1000;
	uint8_t *text = bh_alloc(TEXT_SIZE), *packed = bh_alloc(room);

	(void)state;
	for (enum look look = LOOK_ZEROS; look < LOOKS; look++) {
		write_text(look, text, TEXT_SIZE);
		for (size_t s = 0; s < BH_ARRAY_SIZE(strategies); s++) {
			size_t size = s % 2 ? TEXT_SIZE / 20 : TEXT_SIZE;

			all_ways(packed,
				 pack(text, size, s == 3 ? 1 : 6, strategies[s], packed, room));
		}
		all_ways(packed, pack(text, TEXT_SIZE, 0, Z_DEFAULT_STRATEGY, packed, room));
	}
	free(text);
	free(packed);
}

/* Bytes of all values, as if they were deflate. */
static void noise(void **state)
{
	uint8_t data[400];

	(void)state;
	for (int i = 0; i < 4000; i++) {
		size_t n = rnd(sizeof(data)) + 1;

		for (size_t k = 0; k < n; k++) {
			data[k] = (uint8_t)rnd(256);
		}
		agree(data, n, rnd(40) + 1, 8192);
	}
}

/* What was decoded ahead of an error comes out, and nothing behind it. */
static void error_after_much(void **state)
{
	uint8_t *text = bh_alloc(60000), *packed = bh_alloc(70000), *out = bh_alloc(70000);
	struct gate_inflate *z = bh_alloc(sizeof(*z));
	uint32_t n, sum = 0, calls = 0;
	enum gate_inflate_result r;
	size_t size;

	(void)state;
	size = pack(text, 60000, 0, Z_DEFAULT_STRATEGY, packed, 70000);
	assert_true(size > 60000);
	packed[0] = 0;	  /* the block is not the last: */
	packed[size] = 7; /* one of a type that there is not */
	gate_inflate_init(z);
	gate_inflate_in(z, packed, (uint32_t)size + 1);
	do {
		r = gate_inflate_out(z, out, 8192, &n);
		sum += n;
		calls++;
	} while (r == GATE_INFLATE_ROOM);
	assert_int_equal(r, GATE_INFLATE_BAD);
	assert_int_equal(sum, 60000);
	assert_int_equal(calls, 8);
	free(text);
	free(packed);
	free(out);
	free(z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(noise),
		cmocka_unit_test(error_after_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
