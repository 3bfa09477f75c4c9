/* SPDX-License-Identifier: Apache-2.0 */
/* Searches in events as a user types them: first line the query, second an event. What a query says
 * is in an event (its terms) must be there when it matches. */
#include "manager/events/words.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct words {
	uint32_t hashes[4096];
	size_t count;
};

static void note(const char *word, size_t size, void *arg)
{
	struct words *w = arg;

	if (w->count + 4 >= 4096) {
		return;
	}
	w->hashes[w->count++] = manager_word_hash(word, size);
	for (size_t n = MANAGER_PREFIX_CHARS; n <= size && n <= MANAGER_PREFIX_MAX;
	     n += MANAGER_PREFIX_CHARS) {
		w->hashes[w->count++] = manager_word_prefix_hash(word, n);
	}
}

static void check_terms(const struct manager_query_term *term, const struct words *words)
{
	for (size_t i = 0; i < term->hash_count; i++) {
		bool found = words->count + 4 >= 4096;

		for (size_t k = 0; k < words->count && !found; k++) {
			found = words->hashes[k] == term->hashes[i];
		}
		if (!found) {
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	char text[MANAGER_QUERY_SIZE_MAX + 2] = "";
	size_t len = end ? (size_t)(end - data) : size;
	struct manager_query query;
	struct words words = {};
	struct bh_jtext event;

	memcpy(text, data, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
	if (manager_query_parse(text, &query, NULL) || !end ||
	    bh_jtext_parse((const char *)end + 1, size - len - 1, &event, NULL) ||
	    !manager_query_matches(&query, &event)) {
		return 0;
	}
	for (unsigned int i = 0; i < event.count; i++) {
		if (manager_words_searched(&event, &event.members[i])) {
			manager_words_each(event.text + event.members[i].value,
					   event.members[i].value_size, note, &words);
		}
	}
	for (size_t i = 0; i < query.count; i++) {
		if (!query.terms[i].without && !*query.terms[i].field) {
			check_terms(&query.terms[i], &words);
		}
	}
	return 0;
}
