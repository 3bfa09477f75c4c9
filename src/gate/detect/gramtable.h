/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first step of a search by grams: which positions of a buffer may have one. In plain C, and
 * with the processor's vectors where it has them. Internal to grams.
 * Of many grams each has its bit in a bitmap, which costs a load for each position. Few grams are
 * spread over eight classes, and a table that fits into vector registers says for each byte of a
 * gram which classes may have it there: no loads, so each position of a buffer can be looked at.
 */
#ifndef BH_GATE_DETECT_GRAMTABLE_H
#define BH_GATE_DETECT_GRAMTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define GATE_GRAM_STEP	 4
#define GATE_GRAM_UPPER	 0x40404040u
#define GATE_GRAM_FACTOR 0x9e3779b1u
#define GATE_GRAM_SECOND 0x85ebca6bu
#define GATE_GRAM_BLOCK	 1024 /* positions at a time */
#define GATE_GRAM_VECTOR 16   /* positions that may be written behind the last one */
#define GATE_GRAM_HITS	 (GATE_GRAM_BLOCK + GATE_GRAM_VECTOR)

struct gate_gram_bitmap {
	const uint32_t *words;
	uint32_t bits; /* log2 of how many it has */
	uint32_t keep; /* bits of four bytes that are the gram */
};
/* Looks at data, data + 4, .. (four bytes each, `count` of them, at most GATE_GRAM_BLOCK); writes
 * those to ret_hits whose bit is set, as 0, 1, .. and returns how many. */
typedef uint32_t gate_gram_kernel(const struct gate_gram_bitmap *bitmap, const uint8_t *data,
				  uint32_t count, uint32_t ret_hits[GATE_GRAM_HITS]);
/* The fastest that this processor has. */
gate_gram_kernel *gate_gram_kernel_choose(void);
/* What it would be if the processor lacked that: for tests. */
gate_gram_kernel *gate_gram_kernel_second(void);
gate_gram_kernel gate_gram_kernel_plain;

#define GATE_GRAM_FEW_BYTES 4

/* Of the bytes of a gram: the bits of the classes that have the byte there. Bytes that differ in
 * the highest bit only are one. */
struct gate_gram_few {
	uint8_t classes[GATE_GRAM_FEW_BYTES][128];
	uint8_t low[GATE_GRAM_FEW_BYTES][16], high[GATE_GRAM_FEW_BYTES][16]; /* by half bytes */
};
/* A gram of three bytes and, when it is not wide, of any that stands behind them; folded. */
struct gate_gram_four {
	uint32_t bytes;
	bool wide;
};
void gate_gram_few_make(struct gate_gram_few *few, const struct gate_gram_four *grams,
			uint32_t count);
/* Looks at data, data + 1, .. (`count` of them, at most GATE_GRAM_BLOCK; three bytes more must be
 * there); the rest as gate_gram_kernel. */
typedef uint32_t gate_gram_few_kernel(const struct gate_gram_few *few, const uint8_t *data,
				      uint32_t count, uint32_t ret_hits[GATE_GRAM_HITS]);
gate_gram_few_kernel *gate_gram_few_choose(void);
gate_gram_few_kernel *gate_gram_few_second(void);
gate_gram_few_kernel gate_gram_few_plain;

/* Letters in lower case; some other bytes change too, always in the same way. */
static inline uint32_t gate_gram_fold(uint32_t four)
{
	return four | (four & GATE_GRAM_UPPER) >> 1;
}

static inline uint32_t gate_gram_load(const uint8_t *at)
{
	uint32_t four;

	memcpy(&four, at, sizeof(four));
	return gate_gram_fold(four);
}

/* second: 0 when the gram is not wide. */
static inline uint32_t gate_gram_hash(uint32_t first, uint32_t second)
{
	return first * GATE_GRAM_FACTOR + second * GATE_GRAM_SECOND;
}

#endif
