/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/words.h"

#include "base/util.h"

#include <errno.h>

#define JOINING	     ".:-/@+"
#define PARTS_MAX    16
#define NUMBER_PARTS 4
#define JOINED_MAX   255 /* bytes of a run with joining signs that are looked at as one */

/* Members that only count, or that all events have. */
static const char *const unsearched[] = {
	"v",	 "time",       "seq",	      "epoch",	 "producer",	 "severity",	 "id",
	"bytes", "packets",    "net",	      "vlan",	 "src_identity", "dst_identity", "rule",
	"count", "other_rule", "duration_ms", "lease_s", "install_us",	 "elapsed_us",
};

/* Members that a query can name. */
static const char *const fields[] = {
	"action",    "address", "app",	 "by",	    "category", "device",    "dport",
	"dst",	     "dst_vm",	"from",	 "host",    "hosts",	"icmp_type", "layer",
	"nic",	     "path",	"proto", "reason",  "result",	"rule_text", "sid",
	"signature", "sport",	"src",	 "src_vm",  "tenant",	"type",	     "user",
	"verb",	     "verdict", "vm",	 "vm_name", "who",	"why",
};

bool manager_words_searched(const struct bh_jtext *event, const struct bh_jtext_member *m)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(unsearched); i++) {
		if (m->key_size && event->text[m->key] == *unsearched[i] &&
		    bh_jtext_key_is(event, m, unsearched[i])) {
			return false;
		}
	}
	return m->kind <= BH_JTEXT_INTEGER || m->kind == BH_JTEXT_ARRAY ||
	       m->kind == BH_JTEXT_OBJECT;
}

/* ---- characters ---- */

enum { OTHER, PART, JOIN, ALONE };

static int kind_of(const unsigned char *p, size_t left, size_t *ret_size)
{
	unsigned char c = *p;

	*ret_size = 1;
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '_') {
		return PART;
	}
	if (c < 0x80) {
		return c && strchr(JOINING, c) ? JOIN : OTHER;
	}
	*ret_size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
	*ret_size = *ret_size > left ? left : *ret_size;
	/* From U+2E80 on: Han, kana, hangul, and what is beyond. */
	return c >= 0xe3 || (c == 0xe2 && left > 1 && p[1] >= 0xba) ? ALONE : PART;
}

struct run {
	char text[JOINED_MAX + 1]; /* lower case, as far as it fits */
	size_t size;
	size_t part; /* where the part in work begins */
	struct {
		size_t from, to;
	} parts[PARTS_MAX];
	size_t count;
	bool names; /* something in it is no hex digit */
	manager_word_fn *fn;
	void *arg;
};

static void emit(const struct run *r, size_t from, size_t to)
{
	r->fn(r->text + from, to - from > MANAGER_WORD_MAX ? MANAGER_WORD_MAX : to - from, r->arg);
}

static void end_part(struct run *r)
{
	if (r->size > r->part && r->count < PARTS_MAX) {
		r->parts[r->count].from = r->part;
		r->parts[r->count++].to = r->size;
	}
	r->part = r->size;
}

/* Addresses, UUIDs and MACs are words as a whole only: nobody looks for a byte of them. */
static void end_run(struct run *r)
{
	bool number;

	end_part(r);
	number = !r->names && r->count >= NUMBER_PARTS;
	for (size_t i = 0; i < r->count && !number; i++) {
		emit(r, r->parts[i].from, r->parts[i].to);
	}
	if (r->count > 1) {
		emit(r, r->parts[0].from, r->parts[r->count - 1].to);
	}
	r->size = r->part = r->count = 0;
	r->names = false;
}

static void put(struct run *r, const unsigned char *p, size_t size)
{
	if (r->size + size > JOINED_MAX) {
		return; /* far longer than what is kept of a word */
	}
	for (size_t i = 0; i < size; i++) {
		unsigned char c = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];

		r->names |= !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f');
		r->text[r->size++] = (char)c;
	}
}

void manager_words_each(const char *text, size_t size, manager_word_fn *fn, void *arg)
{
	struct run r = {.fn = fn, .arg = arg};

	for (size_t i = 0, n; i < size; i += n) {
		const unsigned char *p = (const unsigned char *)text + i;

		switch (kind_of(p, size - i, &n)) {
		case PART:
			put(&r, p, n);
			break;
		case JOIN:
			end_part(&r);
			if (r.count == PARTS_MAX) {
				end_run(&r);
			} else if (r.count && r.size < JOINED_MAX) {
				r.text[r.size++] = (char)*p;
			}
			r.part = r.size;
			break;
		case ALONE:
			end_run(&r);
			fn((const char *)p, n, arg);
			break;
		default:
			end_run(&r);
			/* An escape of JSON is no word: \n, \u2028. */
			n += *p == '\\' && i + 1 < size ? (p[1] == 'u' ? 5 : 1) : 0;
		}
	}
	end_run(&r);
}

uint32_t manager_word_hash(const char *word, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ull;

	size = size > MANAGER_WORD_MAX ? MANAGER_WORD_MAX : size;
	for (size_t i = 0; i < size; i++) {
		h = (h ^ (unsigned char)word[i]) * 0x100000001b3ull;
	}
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(h >> 32);
}

uint32_t manager_word_prefix_hash(const char *word, size_t size)
{
	size = size > MANAGER_PREFIX_MAX ? MANAGER_PREFIX_MAX : size;
	size -= size % MANAGER_PREFIX_CHARS;
	return size ? ~manager_word_hash(word, size) * 0x9e3779b1u : 0;
}

/* ---- queries ---- */

struct words {
	size_t count, last_size;
};

static void add_word(const char *word, size_t size, void *arg)
{
	struct words *w = arg;

	w->count++;
	w->last_size = size;
}

/* "src:10.0.0.1": the field is taken off. */
static void take_field(const char **s, const char *end, struct manager_query_term *term)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(fields); i++) {
		size_t len = strlen(fields[i]);

		if ((size_t)(end - *s) > len + 1 && (*s)[len] == ':' &&
		    strncmp(*s, fields[i], len) == 0) {
			snprintf(term->field, sizeof(term->field), "%s", fields[i]);
			*s += len + 1;
			return;
		}
	}
}

static void add_hash(struct manager_query_term *term, uint32_t hash)
{
	if (hash && term->hash_count < MANAGER_QUERY_HASHES_MAX) {
		term->hashes[term->hash_count++] = hash;
	}
}

/* Words of a phrase that an event with it has for sure: those with spaces around them. What stands
 * at its ends, or is joined to something, may be part of a longer one. */
static void hash_phrase(struct manager_query_term *term)
{
	size_t begin = 0;
	int before = JOIN, kind;

	for (size_t i = 0, n; i < term->size; i += n, before = kind) {
		kind = kind_of((const unsigned char *)term->text + i, term->size - i, &n);
		if (kind == ALONE) {
			add_hash(term, manager_word_hash(term->text + i, n));
		} else if (kind == PART && before != PART) {
			begin = before == OTHER ? i : 0;
		} else if (kind == OTHER && before == PART && begin) {
			add_hash(term, manager_word_hash(term->text + begin, i - begin));
		}
	}
}

static int finish(struct manager_query_term *term, struct bh_diag *diag)
{
	struct words words = {};

	for (size_t i = 0; i < term->size; i++) {
		char c = term->text[i];

		term->text[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	manager_words_each(term->text, term->size, add_word, &words);
	if (!words.count) {
		return bh_diag_set(diag, -EINVAL, "'%.*s' has no word to look for", (int)term->size,
				   term->text);
	}
	if (term->prefix) {
		add_hash(term, manager_word_prefix_hash(term->text, term->size));
		return 0;
	}
	/* One word, alone or joined, is the last one that was said; else it is a phrase. */
	if (!term->phrase &&
	    words.last_size == (term->size > MANAGER_WORD_MAX ? MANAGER_WORD_MAX : term->size)) {
		add_hash(term, manager_word_hash(term->text, term->size));
		return 0;
	}
	term->phrase = true;
	hash_phrase(term);
	return 0;
}

/* One term from *s on, which is no space. */
static int take_term(const char **s, struct manager_query_term *term, struct bh_diag *diag)
{
	const char *begin = *s, *end;

	term->without = *begin == '-';
	begin += term->without;
	end = begin + strcspn(begin, " \t\"");
	take_field(&begin, *end == '"' ? end + 1 : end, term);
	if (*begin == '"') {
		end = strchr(++begin, '"');
		if (!end) {
			return bh_diag_set(diag, -EINVAL, "a quote is not closed");
		}
		*s = end + 1;
		term->phrase = true;
	} else {
		end = begin + strcspn(begin, " \t\"");
		*s = end;
	}
	if (end > begin && end[-1] == '*' && !term->phrase) {
		term->prefix = true;
		end--;
	}
	term->size = (size_t)(end - begin);
	memcpy(term->text, begin, term->size);
	return finish(term, diag);
}

int manager_query_parse(const char *text, struct manager_query *ret, struct bh_diag *diag)
{
	const char *s = text;
	int r;

	ret->count = 0;
	if (strlen(text) > MANAGER_QUERY_SIZE_MAX) {
		return bh_diag_set(diag, -EINVAL, "a search has at most %d bytes",
				   MANAGER_QUERY_SIZE_MAX);
	}
	/* Half a character is a part of words that the index has whole only. */
	if (!bh_jtext_is_plain(text, strlen(text))) {
		return bh_diag_set(diag, -EINVAL, "a search is UTF-8 without control characters");
	}
	for (;;) {
		s += strspn(s, " ");
		if (!*s) {
			return 0;
		}
		if (ret->count == MANAGER_QUERY_TERMS_MAX) {
			return bh_diag_set(diag, -EINVAL, "a search has at most %d words",
					   MANAGER_QUERY_TERMS_MAX);
		}
		memset(&ret->terms[ret->count], 0, sizeof(ret->terms[0]));
		r = take_term(&s, &ret->terms[ret->count], diag);
		if (r < 0) {
			return r;
		}
		ret->count++;
	}
}

/* ---- matching ---- */

struct looking {
	const struct manager_query_term *term;
	bool found;
};

static void look(const char *word, size_t size, void *arg)
{
	struct looking *l = arg;
	size_t want = l->term->size;

	want = want > MANAGER_WORD_MAX ? MANAGER_WORD_MAX : want;
	l->found |= (size == want || (l->term->prefix && size > want)) &&
		    memcmp(word, l->term->text, want) == 0;
}

static bool has_phrase(const char *s, size_t size, const struct manager_query_term *term)
{
	for (size_t i = 0; i + term->size <= size; i++) {
		size_t k = 0;

		while (k < term->size) {
			char c = s[i + k];

			c = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
			if (c != term->text[k]) {
				break;
			}
			k++;
		}
		if (k == term->size) {
			return true;
		}
	}
	return false;
}

static bool has_term(const struct manager_query_term *term, const struct bh_jtext *event)
{
	struct looking l = {.term = term};

	for (unsigned int i = 0; i < event->count && !l.found; i++) {
		const struct bh_jtext_member *m = &event->members[i];

		if ((*term->field ? !bh_jtext_key_is(event, m, term->field)
				  : !manager_words_searched(event, m))) {
			continue;
		}
		if (term->phrase) {
			l.found = has_phrase(event->text + m->value, m->value_size, term);
		} else {
			manager_words_each(event->text + m->value, m->value_size, look, &l);
		}
	}
	return l.found;
}

bool manager_query_matches(const struct manager_query *query, const struct bh_jtext *event)
{
	for (size_t i = 0; i < query->count; i++) {
		if (has_term(&query->terms[i], event) == query->terms[i].without) {
			return false;
		}
	}
	return true;
}
