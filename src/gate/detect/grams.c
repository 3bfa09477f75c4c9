/* SPDX-License-Identifier: Apache-2.0 */
/* Literals by their grams; theory in grams.h. */
#include "gate/detect/grams.h"

#include "base/util.h"
#include "gate/detect/gramtable.h"
#include "gate/detect/inspect.h"

#define STEP	      GATE_GRAM_STEP
#define TRIGRAM	      0x00ffffffu
#define BITS_MIN      10
#define BITS_MAX      18 /* of a bitmap: 32 kilobytes */
#define BITS_PER      32 /* of it for each gram */
#define TAGS	      8	 /* bits of an index that say what its bucket can't hold */
#define COUNTS_BITS   14
#define COUNTS	      (1u << COUNTS_BITS)
#define COUNT_WEIGHT  1024
#define COUNT_MAX     16384
#define CROWDED	      (1u << 28) /* more than any cost, four of which fit */
#define COMMON_WEIGHT 64	 /* literals: a gram of common text */

/* The three kinds of literals. */
enum { WIDE, MIDDLE, SHORT, KINDS };
static const struct kind {
	uint8_t from; /* bytes of a literal */
	uint8_t gram; /* bytes of a gram */
	uint8_t grams;
} kinds[KINDS] = {
	[WIDE] = {.from = 11, .gram = 8, .grams = STEP},
	[MIDDLE] = {.from = GATE_GRAM_LONG, .gram = 4, .grams = STEP},
	[SHORT] = {.from = GATE_GRAM_SHORTEST, .gram = 3, .grams = 1},
};

/* A gram of a literal. */
struct entry {
	uint32_t gram;	/* its first four bytes, folded */
	uint32_t check; /* four other bytes of the literal, folded; the rest of a wide gram */
	uint32_t literal;
	uint8_t delta; /* where in the literal the gram stands */
	uint8_t check_at;
	uint8_t size;
};

/* What a literal is compared with: bytes, then as many masks of the bits that count. */
struct text {
	uint32_t at; /* in the pool */
	uint8_t size;
};

struct table {
	uint32_t *index; /* per bucket: its first entry, and tags of those that it has */
	struct entry *entries;
	uint32_t count, index_bits;
};

struct bitmap {
	uint32_t *words;
	uint32_t bits;
};

struct gate_grams {
	gate_gram_kernel *kernel;
	struct bitmap longs, shorts;
	struct table tables[KINDS];
	struct gate_gram_few *few; /* of the short ones; NULL: they are too many */
	gate_gram_few_kernel *few_kernel;
	struct text *texts;
	uint8_t *pool;
	size_t bytes;
};

struct gate_gram_union {
	struct bitmap longs;
};

static uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t load24(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
}

struct gram {
	uint32_t first, hash;
};

static uint32_t first_of(const uint8_t *bytes, int kind)
{
	return kind == SHORT ? gate_gram_fold(load24(bytes)) : gate_gram_load(bytes);
}

static struct gram gram_of(const uint8_t *bytes, int kind)
{
	struct gram gram;

	gram.first = first_of(bytes, kind);
	gram.hash = gate_gram_hash(gram.first, kind == WIDE ? gate_gram_load(bytes + 4) : 0);
	return gram;
}

static uint32_t tag_of(uint32_t hash)
{
	return 1u << (hash >> 5) % TAGS;
}

/* ---- search ---- */

static bool same64(const uint8_t *data, const uint8_t *bytes, const uint8_t *mask)
{
	return !((load64(data) ^ load64(bytes)) & load64(mask));
}

static bool same32(const uint8_t *data, const uint8_t *bytes, const uint8_t *mask)
{
	return !((load32(data) ^ load32(bytes)) & load32(mask));
}

static bool is_same(const uint8_t *data, const uint8_t *bytes, uint32_t size)
{
	const uint8_t *mask = bytes + size;

	if (size >= 8) {
		/* From the end: grams are often of the beginning, and so are runs of one byte. */
		if (!same64(data + size - 8, bytes + size - 8, mask + size - 8)) {
			return false;
		}
		for (uint32_t i = 0; i + 8 < size; i += 8) {
			if (!same64(data + i, bytes + i, mask + i)) {
				return false;
			}
		}
		return true;
	}
	if (size >= 4) {
		return same32(data, bytes, mask) &&
		       same32(data + size - 4, bytes + size - 4, mask + size - 4);
	}
	return !((load24(data) ^ load24(bytes)) & load24(mask));
}

struct search {
	const uint8_t *data;
	uint32_t size;
	const struct bitmap *bitmap;
	const struct gate_gram_want *wants;
	uint32_t count;
};

/* Those of a bucket that are at `at`. */
static void look_into(const struct search *s, const struct gate_gram_want *want,
		      const struct table *t, const uint32_t *index, uint32_t first, uint32_t at)
{
	uint32_t end = index[1] >> TAGS;

	for (uint32_t i = index[0] >> TAGS; i < end; i++) {
		const struct entry *e = &t->entries[i];
		uint32_t begin = at - e->delta;
		const struct text *text;

		if (e->gram != first || at < e->delta || e->size > s->size - begin ||
		    (e->size >= 4 && gate_gram_load(s->data + begin + e->check_at) != e->check)) {
			continue;
		}
		text = &want->grams->texts[e->literal];
		if (is_same(s->data + begin, want->grams->pool + text->at, text->size)) {
			want->fn(e->literal, begin + text->size, want->arg);
		}
	}
}

/* What of one kind may be at `at`: nearly always nothing, which costs one load to see. */
static inline __attribute__((always_inline)) void look(const struct search *s,
						       const struct gate_gram_want *want, int kind,
						       const struct gram *gram, uint32_t at)
{
	const struct table *t = &want->grams->tables[kind];
	const uint32_t *index;

	if (t->count) {
		index = &t->index[gram->hash >> (32 - t->index_bits)];
		if (index[0] & tag_of(gram->hash)) {
			look_into(s, want, t, index, gram->first, at);
		}
	}
}

static inline __attribute__((always_inline)) void look_long(const struct search *s, uint32_t at)
{
	const uint32_t first = gate_gram_load(s->data + at);
	const bool wide = s->size - at >= 8;
	const struct gram four = {.first = first, .hash = gate_gram_hash(first, 0)};
	const struct gram eight = {
		.first = first,
		.hash = wide ? gate_gram_hash(first, gate_gram_load(s->data + at + 4)) : 0};

	for (uint32_t i = 0; i < s->count; i++) {
		if (wide) {
			look(s, &s->wants[i], WIDE, &eight, at);
		}
		look(s, &s->wants[i], MIDDLE, &four, at);
	}
}

static void look_short(const struct search *s, uint32_t at)
{
	struct gram gram = gram_of(s->data + at, SHORT);

	look(s, s->wants, SHORT, &gram, at);
}

/* Four bytes that stand again and again: [from, until) is as it was STEP before. */
struct repeat {
	uint32_t from, until;
};

/* Everything that may be found at `at` has been found before: as far as a literal reaches from
 * there, and twice as far back, the same four bytes are repeated. */
static bool is_told(const struct search *s, struct repeat *r, uint32_t at)
{
	uint32_t end = at;

	if (at < r->until) {
		return at - r->from >= 2 * GATE_GRAM_LONGEST && r->until - at >= GATE_GRAM_LONGEST;
	}
	if (at < STEP || load32(s->data + at) != load32(s->data + at - STEP)) {
		return false;
	}
	while (s->size - end >= 8 && load64(s->data + end) == load64(s->data + end - STEP)) {
		end += 8;
	}
	*r = (struct repeat){.from = at, .until = end};
	return false;
}

/* Positions `first`, first + 4, .. that four bytes stand at. */
static void search_lane(const struct search *s, uint32_t first, bool is_short)
{
	struct gate_gram_bitmap bitmap = {.words = s->bitmap->words,
					  .bits = s->bitmap->bits,
					  .keep = is_short ? TRIGRAM : UINT32_MAX};
	uint32_t hits[GATE_GRAM_HITS], count = s->size >= first + 4 ? (s->size - first) / STEP : 0;
	struct repeat repeat = {};

	for (uint32_t done = 0; done < count; done += GATE_GRAM_BLOCK) {
		uint32_t n = count - done < GATE_GRAM_BLOCK ? count - done : GATE_GRAM_BLOCK;
		uint32_t begin = first + done * STEP;

		n = s->wants->grams->kernel(&bitmap, s->data + begin, n, hits);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t at = begin + hits[i] * STEP;

			if (is_told(s, &repeat, at)) {
				continue;
			}
			if (is_short) {
				look_short(s, at);
			} else {
				look_long(s, at);
			}
		}
	}
}

/* Every position that four bytes stand at. */
static void search_few(const struct search *s)
{
	const struct gate_grams *grams = s->wants->grams;
	uint32_t hits[GATE_GRAM_HITS], count = s->size >= 4 ? s->size - 3 : 0;
	struct repeat repeat = {};

	for (uint32_t begin = 0; begin < count; begin += GATE_GRAM_BLOCK) {
		uint32_t n = count - begin < GATE_GRAM_BLOCK ? count - begin : GATE_GRAM_BLOCK;

		n = grams->few_kernel(grams->few, s->data + begin, n, hits);
		for (uint32_t i = 0; i < n; i++) {
			if (!is_told(s, &repeat, begin + hits[i])) {
				look_short(s, begin + hits[i]);
			}
		}
	}
}

void gate_grams_search_long(const struct gate_gram_union *both, const struct gate_gram_want *wants,
			    uint32_t count, const uint8_t *data, uint32_t size)
{
	struct search s = {.data = data, .size = size, .wants = wants, .count = count};

	for (; !both && count > 1; count--) {
		gate_grams_search_long(NULL, &wants[count - 1], 1, data, size);
		s.count = 1;
	}
	s.bitmap = both ? &both->longs : &wants->grams->longs;
	if (s.bitmap->words && size >= GATE_GRAM_LONG) {
		search_lane(&s, 0, false);
	}
}

void gate_grams_search_short(const struct gate_gram_want *want, const uint8_t *data, uint32_t size)
{
	struct search s = {.data = data,
			   .size = size,
			   .bitmap = &want->grams->shorts,
			   .wants = want,
			   .count = 1};

	if (!want->grams->tables[SHORT].count || size < GATE_GRAM_SHORTEST) {
		return;
	}
	if (want->grams->few) {
		search_few(&s);
	} else {
		for (uint32_t first = 0; first < STEP; first++) {
			search_lane(&s, first, true);
		}
	}
	look_short(&s, size - GATE_GRAM_SHORTEST);
}

/* ---- build ---- */

static int kind_of(const struct gate_literal *literal)
{
	int kind = WIDE;

	while (literal->size < kinds[kind].from) {
		kind++;
	}
	return kind;
}

/* What is known of grams while a table is made. */
struct counts {
	uint16_t grams[COUNTS]; /* by hash: of literals, and of what traffic is full of */
	uint8_t used[COUNTS];	/* by hash: of literals that were given the gram */
	uint8_t common[256];
};

static uint16_t *count_of(struct counts *counts, const uint8_t *bytes, int kind)
{
	uint32_t gram = first_of(bytes, kind);

	return &counts->grams[gate_gram_hash(gram, 0) >> (32 - COUNTS_BITS)];
}

static uint8_t *used_of(struct counts *counts, const uint8_t *bytes, int kind)
{
	return &counts->used[gram_of(bytes, kind).hash >> (32 - COUNTS_BITS)];
}

/* Pages, scripts, headers, mail and what people write. */
static const char common_text[] =
	"http://www. https://www. .com/ .org/ .net/ .html .htm\" .php? .aspx .jpg .png .css "
	".js\" GET / POST / HTTP/1.1\r\nHost: User-Agent: Mozilla/5.0 (Windows NT 10.0; "
	"Win64; compatible; MSIE Gecko/ AppleWebKit/ Chrome/ Safari/ Linux x86_64) "
	"Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US "
	"Connection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\n"
	"Content-Length: Set-Cookie: expires= path=/ domain= Cache-Control: no-cache "
	"Server: Apache/2 nginx Date: GMT\r\n\r\n application/x-www-form-urlencoded "
	"image/ javascript json <!DOCTYPE html> <html> <head> <title> <meta name=\" "
	"content=\" <link rel=\"stylesheet\" href=\" type=\"text/css\" <script src=\" "
	"type=\"text/javascript\"> </script> <body> <div class=\" id=\" </div> <span "
	"style=\" <a href=\"/ </a> <p> <br /> <table width=\"100%\" border=\"0\" "
	"cellpadding=\"0\" cellspacing=\" align=\"center\" <tr> <td </td> <img src=\" alt "
	"height=\" <input type=\"hidden\" name=\" value=\" <form action=\" method=\"post "
	"<button <select <option <label function() { return this. var = new document."
	"getElementById(' createElement window.location .length if (typeof == undefined) "
	"else for (i = 0; i++) while true false null switch case prototype object string "
	"array number eval( unescape( replace( split( push( ); }); } } catch (e) try "
	"color: #ffffff; margin: 0 padding: 10px; font-size: background: display: none; "
	"position: the and ing tion of to in is it that for with are was his have from this "
	"not but had her she they which you all their there been one our out about would "
	"page news login account price user users password pass username email admin search "
	"index download update version system windows file files data name text link image "
	"container header footer content service server client session request response "
	"message error info time date version=\"1.0\" encoding=\"UTF-8\"?> xmlns=\" "
	"schemas microsoft google facebook 00000000 11111111 20202020 AAAAAAAA --------";

static void count_common(int kind, struct counts *counts)
{
	const uint8_t *bytes = (const uint8_t *)common_text;

	for (uint32_t at = 0; at + 4 <= sizeof(common_text) - 1; at++) {
		uint16_t *c = count_of(counts, bytes + at, kind);

		*c = *c < COUNT_MAX - COMMON_WEIGHT ? (uint16_t)(*c + COMMON_WEIGHT) : COUNT_MAX;
	}
}

static void count_grams(const struct gate_literal *literals, uint32_t count, int kind,
			struct counts *counts)
{
	for (unsigned int c = 0; c < 256; c++) {
		counts->common[c] = gate_byte_commonness((uint8_t)c);
	}
	count_common(kind, counts);
	for (uint32_t i = 0; i < count; i++) {
		if (kind_of(&literals[i]) != kind) {
			continue;
		}
		for (uint32_t at = 0; at + kinds[kind].gram <= literals[i].size; at++) {
			uint16_t *c = count_of(counts, literals[i].bytes + at, kind);

			*c += *c < COUNT_MAX;
		}
	}
}

/* How often a gram may be met: by its bytes as if they were independent, more for runs of one
 * byte, and for each literal that has it. */
static uint32_t cost_of(const struct gate_literal *literal, uint32_t at, int kind,
			struct counts *counts)
{
	const uint8_t *bytes = literal->bytes + at;
	uint32_t sum = 0, cost;
	bool run = true;

	for (uint32_t i = 0; i < (kind == SHORT ? 3 : 4); i++) {
		sum += counts->common[bytes[i]];
		run = run && bytes[i] == bytes[0];
	}
	cost = (1u << (sum >> 6)) + (run ? 1u << 20 : 0);
	cost += *used_of(counts, literal->bytes + at, kind) >= GATE_GRAM_CROWD ? CROWDED : 0;
	return cost + COUNT_WEIGHT * (uint32_t)*count_of(counts, literal->bytes + at, kind);
}

/* Where the grams of a literal are best taken; false: they are crowded everywhere. */
static bool best_window(const struct gate_literal *literal, int kind, struct counts *counts,
			uint32_t *ret_at)
{
	uint32_t best = 0, best_cost = UINT32_MAX, costs[GATE_GRAM_LONGEST];
	uint32_t places = literal->size - kinds[kind].gram + 1u;

	for (uint32_t at = 0; at < places; at++) {
		costs[at] = cost_of(literal, at, kind, counts);
	}
	for (uint32_t at = 0; at + kinds[kind].grams <= places; at++) {
		uint32_t cost = 0;

		for (uint32_t i = 0; i < kinds[kind].grams; i++) {
			cost += costs[at + i];
		}
		if (cost < best_cost) {
			best = at;
			best_cost = cost;
		}
	}
	*ret_at = best;
	return best_cost < CROWDED;
}

/* What is compared first: the rest of the gram, or the end of the literal that is further off. */
static uint8_t check_of(const struct gate_literal *literal, uint32_t delta, int kind)
{
	uint32_t last = literal->size < 4 ? 0 : literal->size - 4u;

	return (uint8_t)(kind == WIDE ? delta + 4 : delta * 2 >= last ? 0 : last);
}

static bool add_entries(struct table *t, const struct gate_literal *literal, uint32_t num,
			struct counts *counts)
{
	int kind = kind_of(literal);
	uint32_t window;

	if (!best_window(literal, kind, counts, &window)) {
		return false;
	}
	for (uint32_t at = window; at < window + kinds[kind].grams; at++) {
		struct entry *e = &t->entries[t->count++];

		*e = (struct entry){.gram = gram_of(literal->bytes + at, kind).first,
				    .literal = num,
				    .delta = (uint8_t)at,
				    .check_at = check_of(literal, at, kind),
				    .size = (uint8_t)literal->size};
		e->check = literal->size >= 4 ? gate_gram_load(literal->bytes + e->check_at) : 0;
		++*used_of(counts, literal->bytes + at, kind);
	}
	return true;
}

static uint32_t hash_of(const struct entry *e, int kind)
{
	return gate_gram_hash(e->gram, kind == WIDE ? e->check : 0);
}

/* Entries by bucket, in order of literals in each: counted, then put where they belong. */
static void sort_entries(struct table *t, int kind)
{
	BH_FREE struct entry *old = t->entries;
	uint32_t buckets = 1u << t->index_bits, shift = 32 - t->index_bits, at = 0;
	BH_FREE uint32_t *begins = bh_alloc_array(buckets + 1, sizeof(*begins));

	t->entries = bh_alloc_array(t->count, sizeof(*t->entries));
	for (uint32_t i = 0; i < t->count; i++) {
		begins[hash_of(&old[i], kind) >> shift]++;
	}
	for (uint32_t b = 0; b <= buckets; b++) {
		uint32_t n = begins[b];

		t->index[b] = at << TAGS;
		begins[b] = at;
		at += n;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t hash = hash_of(&old[i], kind);

		t->index[hash >> shift] |= tag_of(hash);
		t->entries[begins[hash >> shift]++] = old[i];
	}
}

static size_t finish_table(struct table *t, int kind)
{
	uint32_t buckets;

	t->index_bits = 4;
	while (1u << t->index_bits < t->count) {
		t->index_bits++;
	}
	buckets = 1u << t->index_bits;
	t->index = bh_alloc_array(buckets + 1, sizeof(*t->index));
	sort_entries(t, kind);
	return (buckets + 1) * sizeof(*t->index) + t->count * sizeof(*t->entries);
}

static size_t make_table(struct table *t, const struct gate_literal *literals, uint32_t count,
			 int kind, bool *ret_crowded)
{
	BH_FREE struct counts *counts = NULL;
	uint32_t entries = 0;

	for (uint32_t i = 0; i < count; i++) {
		entries += kind_of(&literals[i]) == kind ? kinds[kind].grams : 0;
	}
	if (!entries) {
		return 0;
	}
	counts = bh_alloc(sizeof(*counts));
	count_grams(literals, count, kind, counts);
	t->entries = bh_alloc_array(entries, sizeof(*t->entries));
	for (uint32_t i = 0; i < count; i++) {
		if (kind_of(&literals[i]) == kind) {
			ret_crowded[i] = !add_entries(t, &literals[i], i, counts);
		}
	}
	return finish_table(t, kind);
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

static size_t fill_texts(struct gate_grams *grams, const struct gate_literal *literals,
			 uint32_t count)
{
	size_t size = 0, at = 0;

	for (uint32_t i = 0; i < count; i++) {
		size += 2u * literals[i].size;
	}
	grams->texts = bh_alloc_array(count + 1, sizeof(*grams->texts));
	grams->pool = bh_alloc(size + 1);
	for (uint32_t i = 0; i < count; i++) {
		const struct gate_literal *l = &literals[i];

		grams->texts[i] = (struct text){.at = (uint32_t)at, .size = (uint8_t)l->size};
		memcpy(grams->pool + at, l->bytes, l->size);
		at += l->size;
		for (uint16_t k = 0; k < l->size; k++) {
			grams->pool[at++] = l->nocase && is_letter(l->bytes[k]) ? 0xdf : 0xff;
		}
	}
	return size + count * sizeof(*grams->texts);
}

/* Bits of the grams of tables `from` to `to`. */
static void add_bits(struct bitmap *bitmap, const struct gate_grams *grams, int from, int to)
{
	for (int kind = from; kind <= to; kind++) {
		const struct table *t = &grams->tables[kind];

		for (uint32_t i = 0; i < t->count; i++) {
			uint32_t bit = gate_gram_hash(t->entries[i].gram, 0) >> (32 - bitmap->bits);

			bitmap->words[bit / 32] |= 1u << bit % 32;
		}
	}
}

static size_t make_bitmap(struct bitmap *bitmap, uint32_t grams)
{
	size_t size;

	if (!grams) {
		return 0;
	}
	bitmap->bits = BITS_MIN;
	while (bitmap->bits < BITS_MAX && 1u << bitmap->bits < grams * BITS_PER) {
		bitmap->bits++;
	}
	size = (1u << bitmap->bits) / 8;
	bitmap->words = bh_alloc(size);
	return size;
}

static size_t make_few(struct gate_grams *grams, const struct gate_literal *literals)
{
	const struct table *t = &grams->tables[SHORT];
	struct gate_gram_four fours[GATE_GRAM_FEW];

	if (!t->count) {
		return 0;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		const struct entry *e = &t->entries[i];
		bool wide = e->delta + 4u <= e->size;

		fours[i] = (struct gate_gram_four){.bytes = e->gram, .wide = wide};
		if (wide) {
			fours[i].bytes = gate_gram_load(literals[e->literal].bytes + e->delta);
		}
	}
	grams->few = bh_alloc(sizeof(*grams->few));
	grams->few_kernel = gate_gram_few_choose();
	gate_gram_few_make(grams->few, fours, t->count);
	return sizeof(*grams->few);
}

static uint32_t count_long(const struct gate_grams *grams)
{
	return grams->tables[WIDE].count + grams->tables[MIDDLE].count;
}

struct gate_grams *gate_grams_new(const struct gate_literal *literals, uint32_t count,
				  bool *ret_crowded)
{
	struct gate_grams *grams = bh_alloc(sizeof(*grams));

	grams->kernel = gate_gram_kernel_choose();
	grams->bytes = sizeof(*grams) + fill_texts(grams, literals, count);
	for (int kind = 0; kind < KINDS; kind++) {
		grams->bytes +=
			make_table(&grams->tables[kind], literals, count, kind, ret_crowded);
	}
	grams->bytes += make_bitmap(&grams->longs, count_long(grams));
	add_bits(&grams->longs, grams, WIDE, MIDDLE);
	if (grams->tables[SHORT].count <= GATE_GRAM_FEW) {
		grams->bytes += make_few(grams, literals);
	} else {
		grams->bytes += make_bitmap(&grams->shorts, grams->tables[SHORT].count);
		add_bits(&grams->shorts, grams, SHORT, SHORT);
	}
	return grams;
}

void gate_grams_free(struct gate_grams *grams)
{
	if (!grams) {
		return;
	}
	for (int kind = 0; kind < KINDS; kind++) {
		free(grams->tables[kind].index);
		free(grams->tables[kind].entries);
	}
	free(grams->longs.words);
	free(grams->shorts.words);
	free(grams->few);
	free(grams->texts);
	free(grams->pool);
	free(grams);
}

size_t gate_grams_bytes(const struct gate_grams *grams)
{
	return grams->bytes;
}

bool gate_grams_are_few(const struct gate_grams *grams)
{
	return grams->few && grams->few_kernel != gate_gram_few_plain;
}

struct gate_gram_union *gate_gram_union_new(const struct gate_grams *const *grams, uint32_t count)
{
	struct gate_gram_union *both = bh_alloc(sizeof(*both));
	uint32_t all = 0;

	for (uint32_t i = 0; i < count; i++) {
		all += count_long(grams[i]);
	}
	make_bitmap(&both->longs, all);
	for (uint32_t i = 0; i < count; i++) {
		add_bits(&both->longs, grams[i], WIDE, MIDDLE);
	}
	return both;
}

void gate_gram_union_free(struct gate_gram_union *both)
{
	if (both) {
		free(both->longs.words);
		free(both);
	}
}

size_t gate_gram_union_bytes(const struct gate_gram_union *both)
{
	return sizeof(*both) + (both->longs.words ? (1u << both->longs.bits) / 8 : 0);
}
