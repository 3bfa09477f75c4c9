/* SPDX-License-Identifier: Apache-2.0 */
/* Words of events, queries for them, and how frames and terms lie on disk. */
#include "base/util.h"
#include "manager/events/terms.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void note(const char *word, size_t size, void *arg)
{
	char *all = arg;

	snprintf(all + strlen(all), 400 - strlen(all), "%.*s|", (int)size, word);
}

static const char *words_of(const char *text)
{
	static char all[400];

	*all = '\0';
	manager_words_each(text, strlen(text), note, all);
	return all;
}

static void test_words(void **state)
{
	assert_string_equal(words_of("Shop-Web-1 said no"), "shop|web|1|shop-web-1|said|no|");
	assert_string_equal(words_of("10.0.0.1"), "10.0.0.1|");
	assert_string_equal(words_of("(fd00::1)"), "fd00|1|fd00::1|");
	assert_string_equal(words_of("/v1/hosts"), "v1|hosts|v1/hosts|");
	assert_string_equal(words_of("end."), "end|");
	assert_string_equal(words_of("a\\nb\\u2028c"), "a|b|c|");
	assert_string_equal(words_of("虚拟机x"), "虚|拟|机|x|");
	assert_string_equal(words_of("-- .. //"), "");
	assert_string_equal(words_of(""), "");
}

static bool matches(const char *query, const char *json)
{
	struct manager_query q;
	struct bh_jtext event;
	struct bh_diag diag = {};

	if (manager_query_parse(query, &q, &diag) < 0) {
		fail_msg("%s: %s", query, diag.text);
	}
	assert_int_equal(bh_jtext_parse(json, strlen(json), &event, NULL), 0);
	return manager_query_matches(&q, &event);
}

static void test_queries(void **state)
{
	static const char json[] =
		"{\"type\":\"flow.refused\",\"src\":\"10.78.0.11\",\"dport\":3306,"
		"\"seq\":77,\"vm_name\":\"shop-web-1\",\"why\":\"No answer from "
		"the 虚拟机\"}";
	static const char *const good[] = {"",
					   "shop-web-1",
					   "SHOP",
					   "10.78.*",
					   "10.78.0.11",
					   "3306",
					   "dport:3306",
					   "src:10.78.*",
					   "\"no answer\"",
					   "-nothing",
					   "web 3306 -db",
					   "vm_name:shop-w*",
					   "虚拟",
					   "type:flow.*",
					   "flow.refused",
					   "answer虚拟机"};
	static const char *const bad[] = {
		"shop-web", "77",     "10.78.0.1", "dport:11", "src:3306", "\"answer no\"",
		"-shop",    "web db", "机虚",	   "seq",      "type:shop"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(good) - 1; i++) {
		if (!matches(good[i], json)) {
			fail_msg("%s", good[i]);
		}
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		if (matches(bad[i], json)) {
			fail_msg("%s", bad[i]);
		}
	}
}

static void test_bad_queries(void **state)
{
	struct manager_query q;
	struct bh_diag diag;
	char text[MANAGER_QUERY_SIZE_MAX + 2];

	assert_int_equal(manager_query_parse("\"open", &q, &diag), -EINVAL);
	assert_int_equal(manager_query_parse("...", &q, &diag), -EINVAL);
	assert_int_equal(manager_query_parse("*", &q, &diag), -EINVAL);
	assert_int_equal(manager_query_parse("a b c d e f g h i j k l m n o p q", &q, &diag),
			 -EINVAL);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(manager_query_parse(text, &q, &diag), -EINVAL);
	text[MANAGER_QUERY_SIZE_MAX] = '\0';
	assert_int_equal(manager_query_parse(text, &q, &diag), 0);
}

/* Every truncation and many a flipped bit of a frame: an error or rows, never outside of it. */
static void test_frames(void **state)
{
	struct manager_row row = {.wall_ns = 7,
				  .severity = 2,
				  .vm_end = 1,
				  .src_tenant = 5,
				  .type = "a.b",
				  .host = "h1",
				  .vm = "v",
				  .peer = "",
				  .verdict = "ok",
				  .body = "{\"a\":1}",
				  .body_size = 7};
	struct manager_row rows[MANAGER_FRAME_ROWS];
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();
	struct bh_wbuf payload = {}, packed = {}, back = {};

	for (unsigned int i = 0; i < 3; i++) {
		manager_frame_add(&payload, &row);
	}
	assert_int_equal(manager_frame_pack(c, &payload, &packed, NULL), 0);
	assert_int_equal(manager_frame_unpack(d, packed.data, packed.size, &back, NULL), 0);
	assert_int_equal(manager_frame_rows(&back, rows), 3);
	assert_string_equal(rows[2].body, "{\"a\":1}");
	assert_int_equal(rows[2].vm_end, 1);
	assert_int_equal(rows[2].src_tenant, 5);
	for (size_t i = 0; i < packed.size; i++) {
		BH_FREE uint8_t *copy = bh_memdup(packed.data, packed.size);

		assert_int_equal(manager_frame_unpack(d, copy, i, &back, NULL), -EBADMSG);
		copy[i] ^= 0x41;
		if (manager_frame_unpack(d, copy, packed.size, &back, NULL) == 0) {
			(void)!manager_frame_rows(&back, rows);
		}
	}
	for (size_t i = 1; i < payload.size; i++) {
		struct bh_wbuf part = {.data = bh_memdup(payload.data, i), .size = i};
		int n = manager_frame_rows(&part, rows);

		assert_true(n == -EBADMSG || (i - 1) % ((payload.size - 1) / 3) == 0);
		free(part.data);
	}
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	bh_wbuf_done(&payload);
	bh_wbuf_done(&packed);
	bh_wbuf_done(&back);
}

struct chunks {
	struct bh_wbuf all[1u << MANAGER_UNIT_BITS_SMALL];
};

static int keep_chunk(unsigned int chunk, const struct bh_wbuf *data, void *arg)
{
	struct chunks *c = arg;

	assert_int_equal(c->all[chunk].size, 0);
	bh_wbuf_put(&c->all[chunk], data->data, data->size);
	return 0;
}

static void drop_chunks(struct chunks *c)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(c->all); i++) {
		bh_wbuf_done(&c->all[i]);
	}
}

static const struct bh_wbuf *chunk_of(const struct chunks *c, uint32_t hash)
{
	return &c->all[manager_terms_chunk(hash, MANAGER_UNIT_BITS_SMALL)];
}

static void index_rows(struct chunks *ret, unsigned int rows)
{
	struct manager_terms terms = {};
	char body[96];

	for (unsigned int i = 0; i < rows; i++) {
		struct manager_row row = {
			.type = "t", .host = "", .vm = "", .peer = "", .verdict = "", .body = body};

		row.body_size = (size_t)snprintf(
			body, sizeof(body), "{\"a\":\"word%u\",\"b\":\"third%u all\"}", i, i % 3);
		manager_terms_add_row(&terms, i, &row);
	}
	assert_int_equal(manager_terms_encode(&terms, MANAGER_UNIT_BITS_SMALL, keep_chunk, ret), 0);
	manager_terms_done(&terms);
}

static uint32_t count_rows(const struct manager_rowset *rows)
{
	uint32_t count = 0;

	for (size_t i = 0; i < MANAGER_UNIT_WORDS; i++) {
		count += (uint32_t)__builtin_popcountll(rows->words[i]);
	}
	return count;
}

static struct manager_rowset *rows_of(const struct chunks *c, const char *word)
{
	struct manager_rowset *rows = bh_alloc(sizeof(*rows));
	uint32_t hash = manager_word_hash(word, strlen(word));
	const struct bh_wbuf *chunk = chunk_of(c, hash);

	assert_int_equal(manager_terms_find(chunk->data, chunk->size, hash, rows), 0);
	return rows;
}

/* Rare words are lists, common ones bitmaps: both say their rows and no others. */
static void test_terms(void **state)
{
	struct chunks chunks = {};
	char word[16];

	index_rows(&chunks, 4000);
	for (unsigned int i = 0; i < 4000; i += 7) {
		BH_FREE struct manager_rowset *rows = NULL;

		snprintf(word, sizeof(word), "word%u", i);
		rows = rows_of(&chunks, word);
		assert_true(rows->words[i / 64] >> i % 64 & 1);
		assert_in_range(count_rows(rows), 1, 2); /* a hash may be that of another word */
	}
	for (unsigned int i = 0; i < 4; i++) {
		BH_FREE struct manager_rowset *rows = NULL;

		snprintf(word, sizeof(word), "third%u", i);
		rows = rows_of(&chunks, word);
		assert_int_equal(count_rows(rows), i == 3 ? 0 : i ? 1333 : 1334);
		assert_true(i == 3 || (rows->words[0] & 7) == 1u << i);
	}
	drop_chunks(&chunks);
}

/* A chunk that is cut or changed is an error or another answer, and touches nothing else. */
static void test_bad_terms(void **state)
{
	BH_FREE struct manager_rowset *rows = bh_alloc(sizeof(*rows));
	struct manager_terms terms = {};
	struct chunks chunks = {};
	const struct bh_wbuf *c = chunk_of(&chunks, manager_word_hash("all", 3));
	uint32_t first = manager_word_hash("all", 3) >> 27 << 27;

	index_rows(&chunks, 300);
	assert_true(c->size > 100);
	for (size_t size = 0; size < c->size; size++) {
		BH_FREE uint8_t *cut = bh_memdup(c->data, size ? size : 1);

		manager_terms_clear(&terms);
		if (manager_terms_decode(cut, size, 0, &terms) < 0) {
			assert_int_equal(terms.count, 0);
		}
		(void)!manager_terms_find(cut, size, manager_word_hash("all", 3), rows);
	}
	for (size_t i = 0; i < c->size; i++) {
		BH_FREE uint8_t *bad = bh_memdup(c->data, c->size);

		bad[i] ^= 0x81;
		manager_terms_clear(&terms);
		(void)!manager_terms_decode(bad, c->size, MANAGER_UNIT_ROWS_MAX - 100, &terms);
		for (size_t k = 0; k < terms.count; k++) {
			assert_true((uint32_t)terms.items[k] < MANAGER_UNIT_ROWS_MAX);
		}
		for (uint32_t k = 0; k < 16; k++) {
			(void)!manager_terms_find(bad, c->size, first + (k << 23), rows);
		}
	}
	assert_int_equal(manager_terms_decode(c->data, c->size, MANAGER_UNIT_ROWS_MAX, &terms),
			 -EBADMSG);
	manager_terms_done(&terms);
	drop_chunks(&chunks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),	    cmocka_unit_test(test_queries),
		cmocka_unit_test(test_bad_queries), cmocka_unit_test(test_frames),
		cmocka_unit_test(test_terms),	    cmocka_unit_test(test_bad_terms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
