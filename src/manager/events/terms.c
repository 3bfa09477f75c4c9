/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/terms.h"

#include "base/util.h"
#include "manager/events/filter.h"

#include <errno.h>

#define WORDS_MAX   400 /* of a row */
#define RADIX_BITS  11
#define RADIX	    (1u << RADIX_BITS)
#define HEAD_SIZE   4 /* of a chunk: how many terms */
#define ENTRY_SIZE  8 /* of a term: its hash, where its rows end */
#define VARINT_MAX  5
#define KIND_DELTAS 1
#define KIND_BITMAP 2

/* ---- a list of (term, row) ---- */

void manager_terms_done(struct manager_terms *terms)
{
	free(terms->items);
	memset(terms, 0, sizeof(*terms));
}

void manager_terms_clear(struct manager_terms *terms)
{
	terms->count = 0;
	memset(terms->seen, 0, sizeof(terms->seen));
}

static void reserve(struct manager_terms *terms, size_t more)
{
	if (terms->capacity - terms->count < more) {
		terms->capacity = (terms->capacity + more) * 2;
		terms->items =
			bh_realloc_array(terms->items, terms->capacity, sizeof(*terms->items));
	}
}

static void add(struct manager_terms *terms, uint32_t hash, uint32_t row)
{
	terms->items[terms->count++] = (uint64_t)hash << 32 | row;
}

/* By hash; rows of the same hash stay in the order in which they were added. */
static void sort(struct manager_terms *terms)
{
	BH_FREE uint64_t *other = bh_realloc_array(NULL, terms->count + 1, sizeof(*other));
	uint64_t *from = terms->items, *to = other;

	for (unsigned int shift = 32; shift < 64; shift += RADIX_BITS) {
		size_t at[RADIX] = {}, sum = 0;
		uint64_t *swap = from;

		for (size_t i = 0; i < terms->count; i++) {
			at[from[i] >> shift & (RADIX - 1)]++;
		}
		for (unsigned int i = 0; i < RADIX; i++) {
			size_t count = at[i];

			at[i] = sum;
			sum += count;
		}
		for (size_t i = 0; i < terms->count; i++) {
			to[at[from[i] >> shift & (RADIX - 1)]++] = from[i];
		}
		from = to;
		to = swap;
	}
	/* Three passes: what is sorted is in `other`. */
	memcpy(terms->items, from, terms->count * sizeof(*from));
}

/* ---- chunks: terms with where their rows end, then the rows of each ---- */

struct encoder {
	struct bh_wbuf entries, rows, chunk;
	uint32_t count;
	manager_chunk_fn *fn;
	void *arg;
};

static size_t varint_size(uint32_t v)
{
	return v < 1u << 7 ? 1 : v < 1u << 14 ? 2 : v < 1u << 21 ? 3 : v < 1u << 28 ? 4 : 5;
}

static size_t put_varint(uint8_t *to, uint32_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7) {
		to[n++] = (uint8_t)(v | 0x80);
	}
	to[n++] = (uint8_t)v;
	return n;
}

/* Of up to 28 bits. NULL: it has no end. */
static const uint8_t *take_varint(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	uint32_t v = 0;

	for (unsigned int shift = 0; p < end && shift < 28; shift += 7) {
		v |= (uint32_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80)) {
			*ret = v;
			return p;
		}
	}
	return NULL;
}

static void put_deltas(struct bh_wbuf *w, const uint64_t *items, size_t count)
{
	uint32_t last = 0;
	uint8_t raw[1024];
	size_t n = 0;

	raw[n++] = KIND_DELTAS;
	for (size_t i = 0; i < count; i++) {
		if (n > sizeof(raw) - VARINT_MAX) {
			bh_wbuf_put(w, raw, n);
			n = 0;
		}
		n += put_varint(raw + n, (uint32_t)items[i] - last);
		last = (uint32_t)items[i];
	}
	bh_wbuf_put(w, raw, n);
}

/* From the byte on that the first row is in. */
static void put_bitmap(struct bh_wbuf *w, const uint64_t *items, size_t count)
{
	uint8_t map[MANAGER_UNIT_ROWS_MAX / 8] = {};
	uint32_t first = (uint32_t)items[0] / 8, last = (uint32_t)items[count - 1] / 8;

	for (size_t i = 0; i < count; i++) {
		uint32_t row = (uint32_t)items[i];

		map[row / 8] |= (uint8_t)(1u << row % 8);
	}
	bh_wbuf_u8(w, KIND_BITMAP);
	bh_wbuf_u32(w, first);
	bh_wbuf_put(w, map + first, last - first + 1);
}

/* Rows of one term, each once. */
static void put_term(struct encoder *e, const uint64_t *items, size_t count)
{
	size_t deltas = 0, bitmap = (uint32_t)items[count - 1] / 8 - (uint32_t)items[0] / 8 + 5;
	uint32_t last = 0;

	for (size_t i = 0; i < count; i++) {
		deltas += varint_size((uint32_t)items[i] - last);
		last = (uint32_t)items[i];
	}
	if (bitmap < deltas) {
		put_bitmap(&e->rows, items, count);
	} else {
		put_deltas(&e->rows, items, count);
	}
	bh_wbuf_u32(&e->entries, (uint32_t)(items[0] >> 32));
	bh_wbuf_u32(&e->entries, (uint32_t)e->rows.size);
	e->count++;
}

static int end_chunk(struct encoder *e, unsigned int chunk)
{
	e->chunk.size = 0;
	bh_wbuf_u32(&e->chunk, e->count);
	bh_wbuf_put(&e->chunk, e->entries.data, e->entries.size);
	bh_wbuf_put(&e->chunk, e->rows.data, e->rows.size);
	e->count = 0;
	e->entries.size = e->rows.size = 0;
	return e->fn(chunk, &e->chunk, e->arg);
}

static void drop_repeats(struct manager_terms *terms)
{
	size_t kept = 0;

	for (size_t i = 0; i < terms->count; i++) {
		if (!kept || terms->items[i] != terms->items[kept - 1]) {
			terms->items[kept++] = terms->items[i];
		}
	}
	terms->count = kept;
}

int manager_terms_encode(struct manager_terms *terms, unsigned int bits, manager_chunk_fn *fn,
			 void *arg)
{
	struct encoder e = {.fn = fn, .arg = arg};
	int r = 0;

	sort(terms);
	drop_repeats(terms);
	for (size_t i = 0, n; i < terms->count && r == 0; i += n) {
		uint32_t hash = (uint32_t)(terms->items[i] >> 32);
		unsigned int chunk = manager_terms_chunk(hash, bits);

		for (n = 1; i + n < terms->count && terms->items[i + n] >> 32 == hash;) {
			n++;
		}
		put_term(&e, terms->items + i, n);
		if (i + n == terms->count ||
		    manager_terms_chunk((uint32_t)(terms->items[i + n] >> 32), bits) != chunk) {
			r = end_chunk(&e, chunk);
		}
	}
	bh_wbuf_done(&e.entries);
	bh_wbuf_done(&e.rows);
	bh_wbuf_done(&e.chunk);
	return r;
}

static uint32_t little(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

struct chunk {
	const uint8_t *entries, *rows;
	uint32_t count;
	size_t size; /* of rows */
};

static int open_chunk(const void *data, size_t size, struct chunk *ret)
{
	if (size < HEAD_SIZE) {
		return -EBADMSG;
	}
	ret->count = little(data);
	if (ret->count > (size - HEAD_SIZE) / ENTRY_SIZE) {
		return -EBADMSG;
	}
	ret->entries = (const uint8_t *)data + HEAD_SIZE;
	ret->rows = ret->entries + (size_t)ret->count * ENTRY_SIZE;
	ret->size = size - HEAD_SIZE - (size_t)ret->count * ENTRY_SIZE;
	return 0;
}

static uint32_t hash_at(const struct chunk *c, uint32_t i)
{
	return little(c->entries + (size_t)i * ENTRY_SIZE);
}

/* Where the rows of a term lie, without the byte that says how; -EBADMSG. */
static int rows_of(const struct chunk *c, uint32_t i, const uint8_t **ret_from,
		   const uint8_t **ret_end)
{
	uint32_t from = i ? little(c->entries + (size_t)(i - 1) * ENTRY_SIZE + 4) : 0;
	uint32_t end = little(c->entries + (size_t)i * ENTRY_SIZE + 4);

	if (end > c->size || from >= end) {
		return -EBADMSG;
	}
	*ret_from = c->rows + from + 1;
	*ret_end = c->rows + end;
	return c->rows[from];
}

typedef void row_fn(uint32_t row, void *arg);

static int each_delta(const uint8_t *p, const uint8_t *end, row_fn *fn, void *arg)
{
	uint32_t row = 0, delta = 0;

	while (p < end) {
		p = take_varint(p, end, &delta);
		if (!p || delta >= MANAGER_UNIT_ROWS_MAX - row) {
			return -EBADMSG;
		}
		row += delta;
		fn(row, arg);
	}
	return 0;
}

static int open_bitmap(const uint8_t **p, const uint8_t *end, uint32_t *ret_first)
{
	if (end - *p < 4) {
		return -EBADMSG;
	}
	*ret_first = little(*p);
	*p += 4;
	return *ret_first <= MANAGER_UNIT_ROWS_MAX / 8 &&
			       (size_t)(end - *p) <= MANAGER_UNIT_ROWS_MAX / 8 - *ret_first
		       ? 0
		       : -EBADMSG;
}

static int each_bit(const uint8_t *p, const uint8_t *end, row_fn *fn, void *arg)
{
	uint32_t at = 0;

	if (open_bitmap(&p, end, &at) < 0) {
		return -EBADMSG;
	}
	for (; p < end; p++, at++) {
		for (unsigned int bits = *p; bits; bits &= bits - 1) {
			fn(at * 8 + (uint32_t)__builtin_ctz(bits), arg);
		}
	}
	return 0;
}

static int each_row(const struct chunk *c, uint32_t i, row_fn *fn, void *arg)
{
	const uint8_t *p, *end;

	switch (rows_of(c, i, &p, &end)) {
	case KIND_DELTAS:
		return each_delta(p, end, fn, arg);
	case KIND_BITMAP:
		return each_bit(p, end, fn, arg);
	default:
		return -EBADMSG;
	}
}

struct decoding {
	struct manager_terms *terms;
	uint32_t hash, base;
	bool beyond;
};

static void take_row(uint32_t row, void *arg)
{
	struct decoding *d = arg;

	if (row >= MANAGER_UNIT_ROWS_MAX - d->base) {
		d->beyond = true;
		return;
	}
	reserve(d->terms, 1);
	add(d->terms, d->hash, d->base + row);
}

int manager_terms_decode(const void *data, size_t size, uint32_t base, struct manager_terms *terms)
{
	struct decoding d = {.terms = terms, .base = base};
	size_t before = terms->count;
	struct chunk c;
	int r = base < MANAGER_UNIT_ROWS_MAX ? open_chunk(data, size, &c) : -EBADMSG;

	for (uint32_t i = 0; r == 0 && i < c.count; i++) {
		d.hash = hash_at(&c, i);
		r = each_row(&c, i, take_row, &d);
		r = d.beyond ? -EBADMSG : r;
	}
	if (r < 0) {
		terms->count = before;
	}
	return r;
}

static void set_row(uint32_t row, void *arg)
{
	struct manager_rowset *set = arg;

	set->words[row / 64] |= 1ull << row % 64;
}

int manager_terms_find(const void *data, size_t size, uint32_t hash, struct manager_rowset *ret)
{
	uint32_t low = 0, high;
	struct chunk c;

	memset(ret, 0, sizeof(*ret));
	if (open_chunk(data, size, &c) < 0) {
		return -EBADMSG;
	}
	for (high = c.count; low < high;) {
		uint32_t middle = low + (high - low) / 2;

		if (hash_at(&c, middle) < hash) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low < c.count && hash_at(&c, low) == hash ? each_row(&c, low, set_row, ret) : 0;
}

/* ---- terms of rows and filters ---- */

enum { KIND_TENANT = 1, KIND_VM, KIND_HOST, KIND_TYPE, KIND_FLOWS, KIND_SEVERITY, KIND_VERDICT };

typedef void term_fn(uint32_t hash, void *arg);

struct saying {
	term_fn *fn;
	void *arg;
};

static void say(const struct saying *s, int kind, const void *data, size_t size)
{
	uint32_t hash = manager_word_hash(data, size) * 0x85ebca6bu + (uint32_t)kind * 0xc2b2ae35u;

	s->fn(hash, s->arg);
}

static void say_text(const struct saying *s, int kind, const char *text)
{
	if (*text) {
		say(s, kind, text, strlen(text));
	}
}

static void say_tenant(const struct saying *s, uint32_t tenant)
{
	if (tenant) {
		say(s, KIND_TENANT, &tenant, sizeof(tenant));
	}
}

static void say_row(const struct saying *s, const struct manager_row *row)
{
	say_tenant(s, row->src_tenant);
	say_tenant(s, row->dst_tenant);
	say_text(s, KIND_VM, row->vm);
	say_text(s, KIND_VM, row->peer);
	say_text(s, KIND_HOST, row->host);
	for (const char *p = strchr(row->type, '.'); p; p = strchr(p + 1, '.')) {
		say(s, KIND_TYPE, row->type, (size_t)(p - row->type) + 1);
	}
	say(s, KIND_TYPE, row->type, strlen(row->type));
	if (manager_type_is_flow(row->type)) {
		say(s, KIND_FLOWS, "", 0);
	}
	for (uint8_t i = 1; i <= row->severity && i <= BH_SEVERITY_CRITICAL; i++) {
		say(s, KIND_SEVERITY, &i, 1);
	}
	say_text(s, KIND_VERDICT, row->verdict);
}

struct adding {
	struct manager_terms *terms;
	size_t end; /* no more than that */
	uint32_t row;
	unsigned int words;
	bool too_many;
};

static void add_thing(uint32_t hash, void *arg)
{
	struct adding *a = arg;

	uint64_t item = (uint64_t)(hash ? hash : 1) << 32 | a->row;
	uint64_t *seen = &a->terms->seen[hash % MANAGER_TERMS_SEEN];

	if (*seen == item) {
		return; /* addresses of a flow begin alike, names come twice */
	}
	if (a->terms->count == a->end) {
		a->too_many = true;
		return;
	}
	*seen = item;
	a->terms->items[a->terms->count++] = item;
}

static void add_word(const char *word, size_t size, void *arg)
{
	struct adding *a = arg;

	if (a->words++ >= WORDS_MAX) {
		a->too_many = true;
		return;
	}
	add_thing(manager_word_hash(word, size), a);
	for (size_t n = MANAGER_PREFIX_CHARS; n <= size && n <= MANAGER_PREFIX_MAX;
	     n += MANAGER_PREFIX_CHARS) {
		add_thing(manager_word_prefix_hash(word, n), a);
	}
}

void manager_terms_add_row(struct manager_terms *terms, uint32_t row,
			   const struct manager_row *event)
{
	struct adding a = {.terms = terms, .row = row};
	struct bh_jtext text;

	reserve(terms, MANAGER_TERMS_OF_ROW_MAX + 1);
	a.end = terms->count + MANAGER_TERMS_OF_ROW_MAX;
	say_row(&(struct saying){add_thing, &a}, event);
	a.too_many |= bh_jtext_parse(event->body, event->body_size, &text, NULL) != 0;
	for (unsigned int i = 0; !a.too_many && i < text.count; i++) {
		const struct bh_jtext_member *m = &text.members[i];

		if (manager_words_searched(&text, m)) {
			manager_words_each(text.text + m->value, m->value_size, add_word, &a);
		}
	}
	if (a.too_many) {
		add(terms, MANAGER_TERM_ALWAYS, row);
	}
}

static void ask(uint32_t hash, void *arg)
{
	struct manager_filter_terms *ret = arg;

	if (ret->count < BH_ARRAY_SIZE(ret->hashes)) {
		ret->hashes[ret->count++] = hash ? hash : 1;
	}
}

void manager_terms_of_filter(const struct manager_event_filter *f, uint32_t tenant,
			     struct manager_filter_terms *ret)
{
	struct saying s = {ask, ret};
	uint8_t severity = (uint8_t)f->severity;
	size_t len = strlen(f->type);

	ret->count = 0;
	say_tenant(&s, tenant);
	say_text(&s, KIND_VM, f->vm);
	say_text(&s, KIND_HOST, f->host);
	len -= len && f->type[len - 1] == '*';
	if (len && (f->type[len] != '*' || f->type[len - 1] == '.')) {
		say(&s, KIND_TYPE, f->type, len);
	}
	if (f->flows) {
		say(&s, KIND_FLOWS, "", 0);
	}
	if (f->severity > 0) {
		say(&s, KIND_SEVERITY, &severity, 1);
	}
	say_text(&s, KIND_VERDICT, f->verdict);
	for (size_t i = 0; i < f->query.count; i++) {
		const struct manager_query_term *term = &f->query.terms[i];

		for (size_t k = 0; k < term->hash_count && !term->without; k++) {
			ask(term->hashes[k], ret);
		}
	}
}
