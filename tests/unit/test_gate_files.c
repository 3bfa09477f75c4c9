/* SPDX-License-Identifier: Apache-2.0 */
/* Files: what the sink is told, parts that become a whole, limits. */
#include "gate_app_world.h"

#include "base/util.h"
#include "gate/app/range.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- the seam: whoever scans files ---- */

struct scanner {
	struct gate_file_sink ops;
	unsigned int begun, ended;
	char names[256], content[256], states[32];
};

static void on_begin(struct gate_file_sink *sink, const struct gate_flow *flow,
		     struct gate_file *file)
{
	struct scanner *s = (struct scanner *)sink;
	assert_non_null(flow);
	assert_int_equal(file->state, GATE_FILE_OPEN);
	assert_int_equal(file->size, 0);
	s->begun++;
}

static void on_data(struct gate_file_sink *sink, struct gate_file *file, const void *data,
		    uint32_t size)
{
	struct scanner *s = (struct scanner *)sink;
	strncat(s->content, data, size);
}

static void on_end(struct gate_file_sink *sink, const struct gate_flow *flow,
		   struct gate_file *file)
{
	struct scanner *s = (struct scanner *)sink;
	s->ended++;
	strncat(s->names, file->name, file->name_size);
	strcat(s->names, " ");
	strcat(s->content, "|");
	strcat(s->states, file->state == GATE_FILE_CLOSED ? "c" : "t");
}

static void open_with(struct app_world *w, struct scanner *s, const char *const *set)
{
	*s = (struct scanner){.ops = {.begin = on_begin, .data = on_data, .end = on_end}};
	app_world_open(w, 80, set);
	gate_apps_free(w->apps);
	w->apps = gate_apps_new(&w->config, NULL, &s->ops);
	w->keep_txs = true;
}

static void say(struct app_world *w, enum gate_dir dir, const char *text)
{
	app_world_feed(w, dir, text, strlen(text), false);
}

static void seam(void **state)
{
	struct scanner s;
	struct app_world w;
	open_with(&w, &s, NULL);
	say(&w, GATE_TO_SERVER, "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
	say(&w, GATE_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
	assert_int_equal(s.begun, 1);
	assert_int_equal(s.ended, 0);
	assert_string_equal(s.content, "abc");
	say(&w, GATE_TO_CLIENT, "def");
	assert_string_equal(s.content, "abcdef|");
	say(&w, GATE_TO_SERVER, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
	say(&w, GATE_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nxy");
	app_world_feed(&w, GATE_TO_CLIENT, "", 0, true);
	assert_int_equal(s.ended, 2);
	assert_string_equal(s.names, "/a.txt /cut ");
	assert_string_equal(s.content, "abcdef|xy|");
	assert_string_equal(s.states, "ct");
	app_world_close(&w);
}

/* What is to be stored ends at the limit; it is cut off there, not at the next record. */
static void limit(void **state)
{
	static const char *const set[] = {"file-store.stream-depth=4", "file-store.enabled=yes",
					  NULL};
	struct scanner s;
	struct app_world w;
	open_with(&w, &s, set);
	gate_apps_want_files(w.apps, GATE_FILE_STORE | GATE_FILE_SHA256);
	say(&w, GATE_TO_SERVER, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	say(&w, GATE_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef");
	assert_string_equal(s.content, "abcd|");
	assert_string_equal(s.states, "t");
	const struct gate_file *f = gate_session_first(w.flow.session)->files[GATE_TO_CLIENT].first;
	/* of what was stored */
	static const uint8_t sum[4] = {0x88, 0xd4, 0x26, 0x6f};
	assert_memory_equal(f->sha256, sum, sizeof(sum));
	app_world_close(&w);
}

/* ---- parts ---- */

static struct gate_view key_of(const char *name)
{
	return (struct gate_view){.data = (const uint8_t *)name, .size = (uint32_t)strlen(name)};
}

static struct gate_range_part *begin(struct gate_ranges *r, const char *name, uint64_t from,
				     uint64_t to, uint64_t total)
{
	const uint64_t span[2] = {from, to};
	struct gate_view key = key_of(name);
	return gate_range_begin(r, &key, span, total, 1000000);
}

static struct gate_range_file *part(struct gate_ranges *r, const char *name, uint64_t from,
				    const char *data, uint64_t total)
{
	struct gate_range_part *p = begin(r, name, from, from + strlen(data) - 1, total);
	assert_non_null(p);
	assert_true(gate_range_add(p, data, (uint32_t)strlen(data)));
	return gate_range_end(p, 1000000);
}

static void add(void *arg, const uint8_t *data, uint32_t size)
{
	strncat(arg, (const char *)data, size);
}

static struct gate_ranges *open_ranges(struct gate_config *config, const char *memcap)
{
	struct bh_diag diag = {};
	BH_FREE char *set = bh_asprintf("app-layer.protocols.http.byterange.memcap=%s", memcap);
	assert_int_equal(gate_config_load(NULL, config, &diag), 0);
	assert_int_equal(gate_config_set(config, set, &diag), 0);
	return gate_ranges_new(config);
}

static void parts(void **state)
{
	struct gate_config config;
	struct gate_ranges *r = open_ranges(&config, "1mb");
	char text[64] = "";
	assert_null(part(r, "a", 4, "efgh", 10));
	assert_null(part(r, "a", 0, "abc", 10));
	assert_null(part(r, "b", 0, "abcdefgh", 10)); /* of another file */
	assert_null(part(r, "a", 5, "fg", 10));	      /* is there */
	assert_null(part(r, "a", 6, "ghij", 10));     /* over another */
	struct gate_range_file *whole = part(r, "a", 2, "cde", 10);
	assert_non_null(whole);
	gate_range_file_walk(whole, add, text);
	assert_string_equal(text, "abcdefghij");
	gate_range_file_free(whole);
	/* it begins anew */
	assert_null(part(r, "a", 2, "cde", 10));
	gate_ranges_free(r);
	gate_config_done(&config);
}

/* Two at once: the one that ends last finds it whole, whichever that is. */
static void at_once(void **state)
{
	struct gate_config config;
	struct gate_ranges *r = open_ranges(&config, "1mb");
	struct gate_range_part *a = begin(r, "x", 0, 2, 6), *b = begin(r, "x", 3, 5, 6);
	assert_true(gate_range_add(a, "abc-more than it promised", 25));
	assert_true(gate_range_add(b, "def", 3));
	assert_null(gate_range_end(b, 1));
	struct gate_range_file *whole = gate_range_end(a, 1);
	char text[64] = "";
	assert_non_null(whole);
	gate_range_file_walk(whole, add, text);
	assert_string_equal(text, "abcdef");
	gate_range_file_free(whole);
	gate_ranges_free(r);
	gate_config_done(&config);
}

/* Lies, memory, number of files. */
static void bounds(void **state)
{
	static const uint8_t block[4096];
	struct gate_config config;
	struct gate_ranges *r = open_ranges(&config, "64kb");
	assert_null(begin(r, "a", 5, 4, 10));
	assert_null(begin(r, "a", 0, 10, 10));
	assert_null(begin(r, "a", 0, 9, 10)); /* the whole is no part */
	struct gate_range_part *big = begin(r, "a", 0, UINT64_MAX - 3, UINT64_MAX);
	unsigned int taken = 0;
	while (gate_range_add(big, block, sizeof(block))) {
		taken++;
		assert_true(taken < 17);
	}
	assert_null(gate_range_end(big, 1));
	unsigned int files = 0;
	for (unsigned int i = 0; i < 4 * GATE_RANGE_FILES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", i);
		struct gate_range_part *p = begin(r, name, 0, 0, 2);
		if (p) {
			files++;
			assert_null(gate_range_end(p, 1));
		}
	}
	assert_in_range(files, 100, GATE_RANGE_FILES_MAX);
	/* after the timeout there is room again */
	const uint64_t span[2] = {0, 0};
	struct gate_view key = key_of("late");
	struct gate_range_part *p = gate_range_begin(r, &key, span, 2, 1000000000);
	assert_non_null(p);
	assert_null(gate_range_end(p, 1000000000));
	gate_ranges_free(r);
	gate_config_done(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seam),	   cmocka_unit_test(limit),  cmocka_unit_test(parts),
		cmocka_unit_test(at_once), cmocka_unit_test(bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
