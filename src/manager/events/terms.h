/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows have what: the index of events.db.
 *
 * Theory of operation
 *   A term is the hash of a word, of the beginning of a word, or of a thing that a filter can name
 *   (a tenant, a VM, a type, a severity). A unit is a run of rows and, for each term, the list of
 *   the rows that have it: as distances, or as a bitmap when that is shorter. Lists are sorted by
 *   hash and cut by its highest bits into chunks, so a question reads one chunk per term. A block
 *   makes a small unit when it is full; 32 of these are merged into a large one, so millions of
 *   events are some dozen units. What several terms have in common is found row by row: two words
 *   that are each common and together rare open no frame in vain.
 *
 *   A term that is not there is not in the row; one that is there may be (32 bit hashes, and which
 *   member had the word is not kept), so rows are looked at. Rows that could not be taken apart, or
 *   have too many words, are in the list MANAGER_TERM_ALWAYS.
 *
 * What is read comes from our own disk, but is checked like foreign bytes: -EBADMSG. Pure.
 */
#ifndef BH_MANAGER_EVENTS_TERMS_H
#define BH_MANAGER_EVENTS_TERMS_H

#include "manager/events/block.h"
#include "manager/events/words.h"

#define MANAGER_UNIT_BLOCKS	 32u /* that a large one is made of */
#define MANAGER_UNIT_ROWS_MAX	 (MANAGER_UNIT_BLOCKS * MANAGER_BLOCK_ROWS)
#define MANAGER_UNIT_WORDS	 (MANAGER_UNIT_ROWS_MAX / 64u)
#define MANAGER_UNIT_BITS_SMALL	 5u /* of a hash: 32 chunks */
#define MANAGER_UNIT_BITS_LARGE	 10u
#define MANAGER_TERM_ALWAYS	 0u
#define MANAGER_TERMS_SEEN	 1024u
#define MANAGER_TERMS_OF_ROW_MAX 2048u /* more words than that are not kept: ALWAYS */

/* (term, row) in any order until they are encoded. */
struct manager_terms {
	uint64_t *items; /* hash << 32 | row */
	size_t count, capacity;
	uint64_t seen[MANAGER_TERMS_SEEN]; /* some of them, not to add them twice */
};
void manager_terms_done(struct manager_terms *terms);
void manager_terms_clear(struct manager_terms *terms);
/* row: its place in the unit, smaller than MANAGER_UNIT_ROWS_MAX. */
void manager_terms_add_row(struct manager_terms *terms, uint32_t row,
			   const struct manager_row *event);

/* ---- chunks ---- */
static inline unsigned int manager_terms_chunk(uint32_t hash, unsigned int bits)
{
	return hash >> (32 - bits);
}
/* Non-zero ends it, and is returned. */
typedef int manager_chunk_fn(unsigned int chunk, const struct bh_wbuf *data, void *arg);
/* Sorts the terms, then fn for each chunk that has any. Rows of a term must have been added in
 * order. */
[[nodiscard]] int manager_terms_encode(struct manager_terms *terms, unsigned int bits,
				       manager_chunk_fn *fn, void *arg);
/* What a chunk holds, behind what is there, each row `base` higher. -EBADMSG: terms is as before.
 */
[[nodiscard]] int manager_terms_decode(const void *data, size_t size, uint32_t base,
				       struct manager_terms *terms);

/* ---- rows that have all of some terms ---- */
struct manager_rowset {
	uint64_t words[MANAGER_UNIT_WORDS];
};
/* The rows of that term, none when it is not there. -EBADMSG. */
[[nodiscard]] int manager_terms_find(const void *data, size_t size, uint32_t hash,
				     struct manager_rowset *ret);

/* ---- what filters ask for ---- */
struct manager_filter_terms {
	uint32_t hashes[MANAGER_QUERY_TERMS_MAX * MANAGER_QUERY_HASHES_MAX + 16];
	size_t count;
};
struct manager_event_filter;
/* Terms that every row which passes has. What can't be said so is left out. tenant 0: any. */
void manager_terms_of_filter(const struct manager_event_filter *filter, uint32_t tenant,
			     struct manager_filter_terms *ret);

#endif
