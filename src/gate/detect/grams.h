/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of literals at once, by grams: for what is a table lookup and no automaton.
 *
 * Theory of operation
 *   A literal of 7 bytes and more has, wherever it stands, one of four consecutive 4-byte grams at
 *   a position that is a multiple of four. So only those positions are looked at: the gram,
 *   without case, is hashed into a bitmap that stays in the processor's first cache, and where its
 *   bit is set a table says which literals it may be part of. The four grams of a literal are
 *   taken where they are least common, in traffic and among the other literals; in the table, those
 *   of 11 bytes and more stand by the eight bytes from there. Short literals (3 to 6 bytes) have
 *   one 3-byte gram, which is looked for at every position: GATE_GRAM_FEW of them and fewer by
 *   vectors that hold all of them (gramtable.h).
 *   Several sets of literals are searched for in the time of one, when the bitmap is of all
 *   (gate_gram_union).
 *   What a gram finds is compared as a whole, so what is reported is there.
 *   A gram stands for GATE_GRAM_CROWD literals at most, so that nobody who sends it again and again
 *   makes a position cost more than that many comparisons. A literal all of whose grams are taken
 *   is told to be crowded, and left to another way of searching. Where the same four bytes are
 *   repeated (zeros, padding, a sled) nothing new can be found, so there no position costs more
 *   than its hash.
 * Read-only after gate_grams_new(): any number of threads may search. Nothing is kept between two
 * searches and no byte outside of [data, data + size) is read.
 */
#ifndef BH_GATE_DETECT_GRAMS_H
#define BH_GATE_DETECT_GRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_GRAM_SHORTEST 3
#define GATE_GRAM_LONG	   7  /* what is shorter is a short literal */
#define GATE_GRAM_LONGEST  64 /* bytes of a literal */
#define GATE_GRAM_CROWD	   16 /* literals that share a gram */
#define GATE_GRAM_FEW	   48 /* short literals that need no bitmap */

struct gate_grams;
struct gate_literal {
	const uint8_t *bytes; /* lower case when nocase; need not outlive gate_grams_new() */
	uint16_t size;	      /* GATE_GRAM_SHORTEST to GATE_GRAM_LONGEST */
	bool nocase;
};
/* ret_crowded, per literal: it is not searched for. */
struct gate_grams *gate_grams_new(const struct gate_literal *literals, uint32_t count,
				  bool *ret_crowded);
void gate_grams_free(struct gate_grams *grams);
size_t gate_grams_bytes(const struct gate_grams *grams);
/* The short ones are few, and searched for by vectors: fast in large buffers too. */
bool gate_grams_are_few(const struct gate_grams *grams);

/* For several at once, which must outlive it. */
struct gate_gram_union;
struct gate_gram_union *gate_gram_union_new(const struct gate_grams *const *grams, uint32_t count);
void gate_gram_union_free(struct gate_gram_union *both);
size_t gate_gram_union_bytes(const struct gate_gram_union *both);

/* Each place of each literal, in no particular order: its number and where it ends. Of places
 * inside of a repetition of four bytes or fewer, those that lie more than 128 bytes behind its
 * beginning may be left out. */
typedef void gate_gram_fn(uint32_t literal, uint32_t end, void *arg);
struct gate_gram_want {
	const struct gate_grams *grams;
	gate_gram_fn *fn;
	void *arg;
};
/* Literals of GATE_GRAM_LONG bytes and more; both: of all that is wanted, NULL when that is one, or
 * when they are to be searched one after the other. */
void gate_grams_search_long(const struct gate_gram_union *both, const struct gate_gram_want *wants,
			    uint32_t count, const uint8_t *data, uint32_t size);
/* The others. */
void gate_grams_search_short(const struct gate_gram_want *want, const uint8_t *data, uint32_t size);

#endif
