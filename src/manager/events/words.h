/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of events and queries for them.
 *
 * A word is a run of letters, digits and '_', in lower case; signs that join words (`. : - / @ +`)
 * make a joined word of them besides: `shop-web-1` has the words `shop`, `web`, `1` and
 * `shop-web-1`. Addresses, MACs and UUIDs are one word as a whole. Han, kana and hangul characters
 * are a word each.
 * What is only there to count (sequence numbers, bytes, identities) is not searched.
 *
 * A query is words with spaces between, all of which an event must have:
 *
 *	web-1  "no answer"  10.78.*  dport:3306  -guard.spoof-mac
 *
 * `*` at the end stands for any end, quotes for words in this order, `member:` for one member of
 * the event (those that it knows), `-` for events without it. Foreign bytes: at most
 * MANAGER_QUERY_SIZE_MAX of them and MANAGER_QUERY_TERMS_MAX words. Pure.
 */
#ifndef BH_MANAGER_EVENTS_WORDS_H
#define BH_MANAGER_EVENTS_WORDS_H

#include "base/diag.h"
#include "base/jtext.h"

#define MANAGER_WORD_MAX	 63 /* what is longer is cut */
#define MANAGER_QUERY_SIZE_MAX	 256
#define MANAGER_QUERY_TERMS_MAX	 16
#define MANAGER_QUERY_HASHES_MAX 32 /* of a term */
#define MANAGER_PREFIX_CHARS	 3  /* the first 3, 6 and 9 bytes of a word are in the index too */
#define MANAGER_PREFIX_MAX	 9

/* word: lower case, no NUL behind it. */
typedef void manager_word_fn(const char *word, size_t size, void *arg);
/* Words of the value of a JSON string (without quotes) or of any text. */
void manager_words_each(const char *text, size_t size, manager_word_fn *fn, void *arg);
/* Is this member of an event searched? */
bool manager_words_searched(const struct bh_jtext *event, const struct bh_jtext_member *m);

uint32_t manager_word_hash(const char *word, size_t size);
/* Of the beginning of a word, MANAGER_PREFIX_MAX bytes at most, cut to a multiple of
 * MANAGER_PREFIX_CHARS; 0 when nothing is left. */
uint32_t manager_word_prefix_hash(const char *word, size_t size);

struct manager_query_term {
	char text[MANAGER_QUERY_SIZE_MAX + 1]; /* lower case */
	size_t size;
	char field[24]; /* "" any */
	bool prefix, phrase, without;
	uint32_t hashes[MANAGER_QUERY_HASHES_MAX]; /* all are in an event that has it */
	size_t hash_count;
};
struct manager_query {
	struct manager_query_term terms[MANAGER_QUERY_TERMS_MAX];
	size_t count;
};
/* -EINVAL with words. An empty text is a query that everything matches. */
[[nodiscard]] int manager_query_parse(const char *text, struct manager_query *ret,
				      struct bh_diag *diag);
bool manager_query_matches(const struct manager_query *query, const struct bh_jtext *event);

#endif
