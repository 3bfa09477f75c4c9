/* SPDX-License-Identifier: Apache-2.0 */
/* Positions that may have one of few grams, see gramtable.h: a gram of a class must have one of the
 * class's bytes at each place. Grams that have bytes in common go into one class, so that little
 * else fits. */
#include "gate/detect/gramtable.h"

#include "gate/detect/inspect.h"

#include <immintrin.h>

#define INLINE	static inline __attribute__((always_inline))
#define CLASSES 8

/* ---- classes ---- */

/* Whether `c` may stand at place k of the gram. */
static bool may_be(const struct gate_gram_four *gram, unsigned int k, uint32_t c)
{
	uint32_t want = gram->bytes >> 8 * k & 0xff;

	return (k == 3 && !gram->wide) || (gate_gram_fold(c * 0x01010101u) & 0x7f) == (want & 0x7f);
}

/* How common a class's positions are, by its bytes as if they were independent. */
static double commonness_of(const struct gate_gram_few *few, uint8_t class,
			    const struct gate_gram_four *more)
{
	double product = 1;

	for (unsigned int k = 0; k < GATE_GRAM_FEW_BYTES; k++) {
		double sum = 0;

		for (unsigned int c = 0; c < 128; c++) {
			if ((few->classes[k][c] & class) || (more && may_be(more, k, c))) {
				sum += 1u << (gate_byte_commonness((uint8_t)c) >> 5);
			}
		}
		product *= sum;
	}
	return product;
}

static uint8_t best_class(const struct gate_gram_few *few, const struct gate_gram_four *gram)
{
	double least = 0;
	uint8_t best = 0;

	for (unsigned int i = 0; i < CLASSES; i++) {
		uint8_t class = (uint8_t)(1u << i);
		double more = commonness_of(few, class, gram) - commonness_of(few, class, NULL);

		if (!best || more < least) {
			best = class;
			least = more;
		}
	}
	return best;
}

void gate_gram_few_make(struct gate_gram_few *few, const struct gate_gram_four *grams,
			uint32_t count)
{
	memset(few, 0, sizeof(*few));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t class = best_class(few, &grams[i]);

		for (unsigned int k = 0; k < GATE_GRAM_FEW_BYTES; k++) {
			for (unsigned int c = 0; c < 128; c++) {
				few->classes[k][c] |= may_be(&grams[i], k, c) ? class : 0;
			}
		}
	}
	for (unsigned int k = 0; k < GATE_GRAM_FEW_BYTES; k++) {
		for (unsigned int c = 0; c < 256; c++) {
			few->low[k][c & 15] |= few->classes[k][c & 127];
			few->high[k][c >> 4] |= few->classes[k][c & 127];
		}
	}
}

/* ---- kernels ---- */

uint32_t gate_gram_few_plain(const struct gate_gram_few *few, const uint8_t *data, uint32_t count,
			     uint32_t ret_hits[GATE_GRAM_HITS])
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < count; i++, data++) {
		ret_hits[hits] = i;
		hits += (few->classes[0][data[0] & 127] & few->classes[1][data[1] & 127] &
			 few->classes[2][data[2] & 127] & few->classes[3][data[3] & 127]) != 0;
	}
	return hits;
}

/* The bits of `mask`. */
INLINE uint32_t put_hits(uint64_t mask, uint32_t base, uint32_t *ret_hits)
{
	uint32_t hits = 0;

	for (; mask; mask &= mask - 1) {
		ret_hits[hits++] = base + (uint32_t)__builtin_ctzll(mask);
	}
	return hits;
}

/* The rest that vectors do not reach. */
static uint32_t rest_plain(const struct gate_gram_few *few, const uint8_t *data, uint32_t from,
			   uint32_t count, uint32_t *ret_hits)
{
	uint32_t hits = gate_gram_few_plain(few, data + from, count - from, ret_hits);

	for (uint32_t i = 0; i < hits; i++) {
		ret_hits[i] += from;
	}
	return hits;
}

__attribute__((target("avx2"))) INLINE __m256i classes_avx2(const struct gate_gram_few *few,
							    unsigned int k, const uint8_t *data)
{
	const __m256i half = _mm256_set1_epi8(15);
	__m256i v = _mm256_loadu_si256((const __m256i *)(data + k));
	__m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)few->low[k]));
	__m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)few->high[k]));

	low = _mm256_shuffle_epi8(low, _mm256_and_si256(v, half));
	high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
	return _mm256_and_si256(low, high);
}

/* 32 positions at a time. */
__attribute__((target("avx2"))) static uint32_t few_avx2(const struct gate_gram_few *few,
							 const uint8_t *data, uint32_t count,
							 uint32_t ret_hits[GATE_GRAM_HITS])
{
	uint32_t hits = 0, i = 0;

	for (; i + 32 <= count; i += 32) {
		__m256i a = _mm256_and_si256(classes_avx2(few, 0, data + i),
					     classes_avx2(few, 1, data + i));
		__m256i b = _mm256_and_si256(classes_avx2(few, 2, data + i),
					     classes_avx2(few, 3, data + i));
		__m256i none = _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());

		hits += put_hits(~(uint32_t)_mm256_movemask_epi8(none), i, ret_hits + hits);
	}
	return hits + rest_plain(few, data, i, count, ret_hits + hits);
}

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) INLINE __m512i
classes_avx512(const struct gate_gram_few *few, unsigned int k, const uint8_t *data, __mmask64 here)
{
	const __m512i low = _mm512_loadu_si512(few->classes[k]);
	const __m512i high = _mm512_loadu_si512(few->classes[k] + 64);

	return _mm512_permutex2var_epi8(low, _mm512_maskz_loadu_epi8(here, data + k), high);
}

/* 64; at the end of the buffer, as many as there are. */
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static uint32_t
few_avx512(const struct gate_gram_few *few, const uint8_t *data, uint32_t count,
	   uint32_t ret_hits[GATE_GRAM_HITS])
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < count; i += 64) {
		const uint8_t *at = data + i;
		__mmask64 here = count - i >= 64 ? UINT64_MAX : (1ull << (count - i)) - 1;
		__m512i a = _mm512_and_si512(classes_avx512(few, 0, at, here),
					     classes_avx512(few, 1, at, here));
		__m512i b = _mm512_and_si512(classes_avx512(few, 2, at, here),
					     classes_avx512(few, 3, at, here));
		__mmask64 mask = _mm512_mask_test_epi8_mask(here, a, b);

		hits += put_hits(mask, i, ret_hits + hits);
	}
	return hits;
}

gate_gram_few_kernel *gate_gram_few_choose(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512vbmi") ? few_avx512 : gate_gram_few_second();
}

gate_gram_few_kernel *gate_gram_few_second(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") ? few_avx2 : gate_gram_few_plain;
}
