/* SPDX-License-Identifier: Apache-2.0 */
/* Literals by grams against a search that tries every place: random literals of few different
 * bytes (so that they are found, and share grams), planted into random buffers of every length,
 * without a byte to spare behind them. */
#include "base/util.h"
#include "gate/detect/grams.h"
#include "gate/detect/gramtable.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LITERALS  300
#define BUFFERS	  400
#define SIZE_MOST 5000

struct found {
	uint32_t count;
	uint64_t sum; /* of what each place says: order does not matter */
};

static uint64_t word_of(uint32_t literal, uint32_t end)
{
	uint64_t x = ((uint64_t)literal << 32 | end) * 0x9e3779b97f4a7c15ull;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
}

static void on_found(uint32_t literal, uint32_t end, void *arg)
{
	struct found *found = arg;

	found->count++;
	found->sum += word_of(literal, end);
}

static uint8_t lower(uint8_t c)
{
	return (uint8_t)(c - 'A') < 26 ? c | 0x20 : c;
}

static bool is_at(const struct gate_literal *l, const uint8_t *data)
{
	for (uint32_t i = 0; i < l->size; i++) {
		if (l->bytes[i] != (l->nocase ? lower(data[i]) : data[i])) {
			return false;
		}
	}
	return true;
}

static struct found slowly(const struct gate_literal *literals, uint32_t count, const uint8_t *data,
			   uint32_t size)
{
	struct found found = {};

	for (uint32_t k = 0; k < count; k++) {
		for (uint32_t at = 0; at + literals[k].size <= size; at++) {
			if (is_at(&literals[k], data + at)) {
				on_found(k, at + literals[k].size, &found);
			}
		}
	}
	return found;
}

static uint8_t random_byte(unsigned int *seed)
{
	static const uint8_t some[] = "aAbBzZ@`[{ \0\1\xff/e";

	return some[(unsigned int)rand_r(seed) % (sizeof(some) - 1)];
}

static void make_literals(struct gate_literal *ret, uint8_t (*bytes)[GATE_GRAM_LONGEST],
			  unsigned int *seed)
{
	for (uint32_t i = 0; i < LITERALS; i++) {
		uint32_t most = i % 3 ? 14 : GATE_GRAM_LONGEST;

		ret[i] = (struct gate_literal){
			.bytes = bytes[i],
			.size = (uint16_t)(3 + (uint32_t)rand_r(seed) % (most - 2)),
			.nocase = rand_r(seed) % 2};
		for (uint32_t k = 0; k < ret[i].size; k++) {
			uint8_t c = random_byte(seed);

			bytes[i][k] = ret[i].nocase ? lower(c) : c;
		}
	}
}

static void plant(const struct gate_literal *literals, uint8_t *data, uint32_t size,
		  unsigned int *seed)
{
	for (uint32_t i = 0; i < size; i++) {
		data[i] = random_byte(seed);
	}
	for (uint32_t i = 0; i < size / 24 + 1; i++) {
		const struct gate_literal *l = &literals[(unsigned int)rand_r(seed) % LITERALS];
		uint32_t at;

		if (l->size <= size) {
			at = (uint32_t)rand_r(seed) % (size - l->size + 1);
			memcpy(data + at, l->bytes, l->size);
		}
	}
}

static void assert_same(struct found a, struct found b)
{
	assert_int_equal(a.count, b.count);
	assert_true(a.sum == b.sum);
}

/* All of one; then split into two and searched at once, or one after the other. */
static void finds_what_is_there(void **state)
{
	static uint8_t bytes[LITERALS][GATE_GRAM_LONGEST];
	static struct gate_literal literals[LITERALS];
	unsigned int seed = 7;
	struct gate_grams *all, *halves[2];
	bool crowded[LITERALS] = {};
	struct gate_gram_union *both;

	make_literals(literals, bytes, &seed);
	all = gate_grams_new(literals, LITERALS, crowded);
	halves[0] = gate_grams_new(literals, LITERALS / 2, crowded);
	halves[1] = gate_grams_new(literals + LITERALS / 2, LITERALS / 2, crowded);
	for (uint32_t i = 0; i < LITERALS; i++) {
		assert_false(crowded[i]);
	}
	both = gate_gram_union_new((const struct gate_grams *const *)halves, 2);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		uint32_t size = i < 200 ? i : (uint32_t)rand_r(&seed) % SIZE_MOST;
		BH_FREE uint8_t *data = bh_alloc(size + !size);
		struct found fast = {}, split[2] = {};
		struct gate_gram_want want = {.grams = all, .fn = on_found, .arg = &fast};
		struct gate_gram_want wants[2];

		plant(literals, data, size, &seed);
		gate_grams_search_long(NULL, &want, 1, data, size);
		gate_grams_search_short(&want, data, size);
		assert_same(fast, slowly(literals, LITERALS, data, size));
		for (int k = 0; k < 2; k++) {
			wants[k] = (struct gate_gram_want){
				.grams = halves[k], .fn = on_found, .arg = &split[k]};
			gate_grams_search_short(&wants[k], data, size);
		}
		gate_grams_search_long(i % 2 ? both : NULL, wants, 2, data, size);
		assert_same(split[0], slowly(literals, LITERALS / 2, data, size));
		assert_same(split[1], slowly(literals + LITERALS / 2, LITERALS / 2, data, size));
	}
	gate_gram_union_free(both);
	gate_grams_free(halves[0]);
	gate_grams_free(halves[1]);
	gate_grams_free(all);
}

#define FROM 63 /* what ends before it was looked at already */

/* Per literal: where its first place behind FROM ends. */
static void on_first(uint32_t literal, uint32_t end, void *arg)
{
	uint32_t *first = arg;

	if (end > FROM && end < first[literal]) {
		first[literal] = end;
	}
}

static uint32_t first_of(const struct gate_literal *l, const uint8_t *data, uint32_t size)
{
	for (uint32_t at = 0; at + l->size <= size; at++) {
		if (at + l->size > FROM && is_at(l, data + at)) {
			return at + l->size;
		}
	}
	return UINT32_MAX;
}

/* Long runs of one, two, three and four bytes between others: each literal is told of, and where it
 * ends first, as if each place had been looked at. */
static void find_repeated(uint32_t count)
{
	static uint8_t bytes[LITERALS][GATE_GRAM_LONGEST];
	static struct gate_literal literals[LITERALS];
	unsigned int seed = 11;
	bool crowded[LITERALS] = {};
	struct gate_grams *grams;

	make_literals(literals, bytes, &seed);
	for (uint32_t i = 0; i < count / 2; i++) {
		for (uint32_t k = 0, period = i % 4 + 1; k < literals[i].size; k++) {
			bytes[i][k] = k < period ? bytes[i][k] : bytes[i][k - period];
		}
	}
	grams = gate_grams_new(literals, count, crowded);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		uint8_t data[2000];
		uint32_t first[LITERALS], begin = (uint32_t)rand_r(&seed) % 300;
		const struct gate_literal *l = &literals[i % count];
		struct gate_gram_want want = {.grams = grams, .fn = on_first, .arg = first};

		memset(first, 0xff, sizeof(first));
		plant(literals, data, sizeof(data), &seed);
		for (uint32_t k = begin; k < begin + 300 + i * 3; k++) {
			data[k] = l->bytes[(k - begin) % (i % 4 + 1)];
		}
		gate_grams_search_long(NULL, &want, 1, data, sizeof(data));
		gate_grams_search_short(&want, data, sizeof(data));
		for (uint32_t k = 0; k < count; k++) {
			uint32_t right = first_of(&literals[k], data, sizeof(data));

			assert_true(crowded[k] || first[k] == right);
		}
	}
	gate_grams_free(grams);
}

static void repetitions(void **state)
{
	find_repeated(LITERALS);
	find_repeated(LITERALS / 2); /* with few short ones */
}

/* What vectors find is what plain C finds, for every count of positions. */
static void kernels_agree(void **state)
{
	static uint32_t plain[GATE_GRAM_HITS], fast[GATE_GRAM_HITS];
	uint32_t words[1u << 5] = {};
	struct gate_gram_bitmap bitmap = {.words = words, .bits = 10, .keep = UINT32_MAX};
	gate_gram_kernel *const kernels[] = {gate_gram_kernel_choose(), gate_gram_kernel_second()};
	unsigned int seed = 3;

	for (uint32_t i = 0; i < 32; i++) {
		words[i] = (uint32_t)rand_r(&seed) & (uint32_t)rand_r(&seed);
	}
	for (uint32_t count = 0; count <= GATE_GRAM_BLOCK; count += count < 70 ? 1 : 53) {
		BH_FREE uint8_t *data = bh_alloc((size_t)count * 4 + 1);
		uint32_t n;

		for (uint32_t i = 0; i < count * 4; i++) {
			data[i] = (uint8_t)rand_r(&seed);
		}
		bitmap.keep = count % 2 ? UINT32_MAX : 0x00ffffff;
		n = gate_gram_kernel_plain(&bitmap, data, count, plain);
		for (size_t k = 0; k < BH_ARRAY_SIZE(kernels); k++) {
			assert_int_equal(kernels[k](&bitmap, data, count, fast), n);
			assert_memory_equal(fast, plain, n * sizeof(*fast));
		}
	}
}

/* All that plain C finds, vectors find; by half bytes they may find more. */
static void assert_found(gate_gram_few_kernel *kernel, const struct gate_gram_few *few,
			 const uint8_t *data, uint32_t count)
{
	static uint32_t plain[GATE_GRAM_HITS], fast[GATE_GRAM_HITS];
	uint32_t n = gate_gram_few_plain(few, data, count, plain);
	uint32_t m = kernel(few, data, count, fast), k = 0;

	for (uint32_t i = 0; i < n; i++) {
		for (; k < m && fast[k] < plain[i]; k++) {
		}
		assert_true(k < m && fast[k] == plain[i]);
	}
}

static void few_are_found(void **state)
{
	static uint32_t plain[GATE_GRAM_HITS];
	struct gate_gram_four grams[GATE_GRAM_FEW];
	struct gate_gram_few few;
	unsigned int seed = 5;

	for (uint32_t i = 0; i < GATE_GRAM_FEW; i++) {
		grams[i] = (struct gate_gram_four){
			.bytes = gate_gram_fold((uint32_t)rand_r(&seed) * 5), .wide = i % 2};
	}
	for (uint32_t count = 1; count <= GATE_GRAM_BLOCK; count += count < 200 ? 1 : 53) {
		BH_FREE uint8_t *data = bh_alloc(count + 3);
		uint32_t have = count % GATE_GRAM_FEW + 1, at = count / 2, k = 0;
		const struct gate_gram_four *gram = &grams[count % have];

		for (uint32_t i = 0; i < count + 3; i++) {
			data[i] = (uint8_t)rand_r(&seed);
		}
		memcpy(data + at, &gram->bytes, gram->wide ? 4 : 3);
		gate_gram_few_make(&few, grams, have);
		for (uint32_t n = gate_gram_few_plain(&few, data, count, plain); plain[k] != at;
		     k++) {
			assert_true(k + 1 < n);
		}
		assert_found(gate_gram_few_choose(), &few, data, count);
		assert_found(gate_gram_few_second(), &few, data, count);
	}
}

/* Literals that are the same but for their ends: so many as a gram may have are searched for. */
static void crowds_are_told(void **state)
{
	static char texts[100][16];
	struct gate_literal literals[100];
	bool crowded[100] = {};
	struct gate_grams *grams;
	uint32_t out = 0;

	for (uint32_t i = 0; i < 100; i++) {
		snprintf(texts[i], sizeof(texts[i]), "xyzzyq%c", ' ' + i % 90);
		literals[i] = (struct gate_literal){.bytes = (const uint8_t *)texts[i], .size = 7};
	}
	grams = gate_grams_new(literals, 100, crowded);
	for (uint32_t i = 0; i < 100; i++) {
		struct found found = {};
		struct gate_gram_want want = {.grams = grams, .fn = on_found, .arg = &found};

		gate_grams_search_long(NULL, &want, 1, literals[i].bytes, 7);
		assert_int_equal(found.count > 0, !crowded[i] || (i >= 90 && !crowded[i - 90]));
		out += crowded[i];
	}
	assert_int_equal(out, 100 - GATE_GRAM_CROWD);
	gate_grams_free(grams);
}

static void nothing_to_look_for(void **state)
{
	struct gate_grams *grams = gate_grams_new(NULL, 0, NULL);
	struct found found = {};
	struct gate_gram_want want = {.grams = grams, .fn = on_found, .arg = &found};

	gate_grams_search_long(NULL, &want, 1, (const uint8_t *)"something else", 14);
	gate_grams_search_short(&want, (const uint8_t *)"something else", 14);
	assert_int_equal(found.count, 0);
	gate_grams_free(grams);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_is_there), cmocka_unit_test(repetitions),
		cmocka_unit_test(kernels_agree),       cmocka_unit_test(few_are_found),
		cmocka_unit_test(crowds_are_told),     cmocka_unit_test(nothing_to_look_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
