/* SPDX-License-Identifier: Apache-2.0 */
/* Positions with a gram that is looked for; see gramtable.h. */
#include "gate/detect/gramtable.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

uint32_t gate_gram_kernel_plain(const struct gate_gram_bitmap *bitmap, const uint8_t *data,
				uint32_t count, uint32_t ret_hits[GATE_GRAM_HITS])
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < count; i++, data += GATE_GRAM_STEP) {
		uint32_t first = gate_gram_load(data) & bitmap->keep;
		uint32_t bit = gate_gram_hash(first, 0) >> (32 - bitmap->bits);

		ret_hits[hits] = i;
		hits += bitmap->words[bit / 32] >> (bit % 32) & 1;
	}
	return hits;
}

__attribute__((target("avx2"))) INLINE __m256i fold_avx2(const uint8_t *data)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)data);
	__m256i upper = _mm256_and_si256(v, _mm256_set1_epi32(GATE_GRAM_UPPER));

	return _mm256_or_si256(v, _mm256_srli_epi32(upper, 1));
}

/* Eight positions at a time. */
__attribute__((target("avx2"))) static uint32_t kernel_avx2(const struct gate_gram_bitmap *bitmap,
							    const uint8_t *data, uint32_t count,
							    uint32_t ret_hits[GATE_GRAM_HITS])
{
	const __m256i keep = _mm256_set1_epi32((int)bitmap->keep);
	const __m256i factor = _mm256_set1_epi32((int)GATE_GRAM_FACTOR);
	const __m256i one = _mm256_set1_epi32(1), low = _mm256_set1_epi32(31);
	const __m128i shift = _mm_cvtsi32_si128((int)(32 - bitmap->bits));
	uint32_t hits = 0, i = 0, rest;

	for (; i + 8 <= count; i += 8) {
		const uint8_t *at = data + (size_t)i * GATE_GRAM_STEP;
		__m256i v, words;
		uint32_t mask;

		v = _mm256_mullo_epi32(_mm256_and_si256(fold_avx2(at), keep), factor);
		v = _mm256_srl_epi32(v, shift);
		words = _mm256_i32gather_epi32((const int *)bitmap->words, _mm256_srli_epi32(v, 5),
					       4);
		words = _mm256_and_si256(_mm256_srlv_epi32(words, _mm256_and_si256(v, low)), one);
		mask = (uint32_t)_mm256_movemask_ps(
			_mm256_castsi256_ps(_mm256_cmpeq_epi32(words, one)));
		for (; mask; mask &= mask - 1) {
			ret_hits[hits++] = i + (uint32_t)__builtin_ctz(mask);
		}
	}
	rest = gate_gram_kernel_plain(bitmap, data + (size_t)i * GATE_GRAM_STEP, count - i,
				      ret_hits + hits);
	for (uint32_t k = 0; k < rest; k++) {
		ret_hits[hits + k] += i;
	}
	return hits + rest;
}

__attribute__((target("avx512f,popcnt"))) INLINE __m512i fold_avx512(const uint8_t *data,
								     __mmask16 here)
{
	__m512i v = _mm512_maskz_loadu_epi32(here, data);
	__m512i upper = _mm512_and_si512(v, _mm512_set1_epi32(GATE_GRAM_UPPER));

	return _mm512_or_si512(v, _mm512_srli_epi32(upper, 1));
}

/* Sixteen; at the end of the buffer, as many as there are. */
__attribute__((target("avx512f,popcnt"))) static uint32_t
kernel_avx512(const struct gate_gram_bitmap *bitmap, const uint8_t *data, uint32_t count,
	      uint32_t ret_hits[GATE_GRAM_HITS])
{
	const __m512i keep = _mm512_set1_epi32((int)bitmap->keep);
	const __m512i factor = _mm512_set1_epi32((int)GATE_GRAM_FACTOR);
	const __m512i one = _mm512_set1_epi32(1), low = _mm512_set1_epi32(31);
	const __m128i shift = _mm_cvtsi32_si128((int)(32 - bitmap->bits));
	__m512i at = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	uint32_t hits = 0;

	for (uint32_t i = 0; i < count; i += 16, data += 16 * GATE_GRAM_STEP) {
		__mmask16 here = (__mmask16)(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1);
		__m512i v, words;
		__mmask16 mask;

		v = _mm512_mullo_epi32(_mm512_and_si512(fold_avx512(data, here), keep), factor);
		v = _mm512_srl_epi32(v, shift);
		words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), here,
						    _mm512_srli_epi32(v, 5), bitmap->words, 4);
		words = _mm512_srlv_epi32(words, _mm512_and_si512(v, low));
		mask = _mm512_test_epi32_mask(words, one);
		_mm512_storeu_si512(ret_hits + hits, _mm512_maskz_compress_epi32(mask, at));
		hits += (uint32_t)__builtin_popcount(mask);
		at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
	}
	return hits;
}

gate_gram_kernel *gate_gram_kernel_choose(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") ? kernel_avx512 : gate_gram_kernel_second();
}

gate_gram_kernel *gate_gram_kernel_second(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") ? kernel_avx2 : gate_gram_kernel_plain;
}
