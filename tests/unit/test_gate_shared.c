/* SPDX-License-Identifier: Apache-2.0 */
/* What rules share across flows: datasets and their files, xbits, thresholds. */
#include "base/file.h"
#include "base/util.h"
#include "gate/config.h"
#include "gate/detect/dataset.h"
#include "gate/detect/shared.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define S 1000000ull

struct world {
	struct gate_config config;
	struct gate_shared *shared;
	char dir[32];
};

static void world_begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	assert_int_equal(gate_config_load(NULL, &w->config, NULL), 0);
	strcpy(w->dir, "/tmp/gate-shared-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->config.data_dir = bh_strdup(w->dir);
	w->shared = gate_shared_new(&w->config);
}

static void world_end(struct world *w)
{
	gate_shared_free(w->shared);
	gate_config_done(&w->config);
	assert_int_equal(rmdir(w->dir), 0);
}

static char *put_file(const struct world *w, const char *name, const char *text)
{
	char *path = bh_asprintf("%s/%s", w->dir, name);

	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static struct gate_dataset_ref *open_set(struct world *w, const struct gate_dataset *how)
{
	struct gate_dataset_ref *ref = NULL;
	struct bh_diag diag = {};

	if (gate_dataset_open(w->shared, &w->config, how, &ref, &diag)) {
		fail_msg("%s", diag.text);
	}
	return ref;
}

static bool has(struct gate_dataset_ref *ref, const char *text)
{
	return gate_dataset_match(ref, (const uint8_t *)text, (uint32_t)strlen(text));
}

/* ---- datasets ---- */

static void test_set_and_unset(void **state)
{
	struct gate_dataset how = {.name = (char *)"seen", .type = GATE_DATA_STRING};
	struct gate_dataset_ref *set, *unset, *is, *isnot;
	struct world w;

	world_begin(&w);
	how.cmd = GATE_DATA_SET;
	set = open_set(&w, &how);
	assert_ptr_equal(open_set(&w, &how), set);
	how.cmd = GATE_DATA_UNSET;
	unset = open_set(&w, &how);
	how.cmd = GATE_DATA_ISSET;
	is = open_set(&w, &how);
	how.cmd = GATE_DATA_ISNOTSET;
	isnot = open_set(&w, &how);
	assert_true(!has(is, "a") && has(isnot, "a") && !has(unset, "a"));
	assert_true(has(set, "a") && !has(set, "a")); /* holds when it is new */
	assert_true(has(is, "a") && !has(isnot, "a") && !has(is, "A") && !has(is, "ab"));
	assert_true(has(unset, "a") && !has(unset, "a") && !has(is, "a"));
	assert_false(has(set, "")); /* nothing is no value */
	world_end(&w);
}

static void test_memcap(void **state)
{
	struct gate_dataset how = {.name = (char *)"small",
				   .type = GATE_DATA_STRING,
				   .cmd = GATE_DATA_SET,
				   .memcap = 1000};
	struct gate_dataset_ref *set, *unset;
	unsigned int taken = 0;
	struct world w;
	char text[16];

	world_begin(&w);
	set = open_set(&w, &how);
	how.cmd = GATE_DATA_UNSET;
	unset = open_set(&w, &how);
	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "value-%03u", i);
		taken += has(set, text);
	}
	assert_in_range(taken, 10, 100);
	assert_false(has(set, "another"));
	assert_true(has(unset, "value-000"));
	assert_true(has(set, "another--"));
	world_end(&w);
}

static void test_types_and_files(void **state)
{
	static const struct {
		const char *text;
		uint8_t type;
		const char *in, *out;
		uint32_t size;
	} cases[] = {
		{"d29yZA==\n!!\n# note\n\nb3RoZXI=\r\n", GATE_DATA_STRING, "word", "worD", 4},
		{"00112233445566778899aabbccddeeff\nbad\n0011\n", GATE_DATA_MD5,
		 "\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
		 "\1\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16},
		{"10.1.2.3\n10.1.2\n", GATE_DATA_IPV4, "\x0a\1\2\3", "\x0a\1\2\4", 4},
		{"2001:db8::1\n::ffff:10.1.2.3\n", GATE_DATA_IP,
		 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2",
		 16},
		{"::ffff:10.1.2.3\n", GATE_DATA_IP, "\x0a\1\2\3", "\x0a\1\2\2", 4},
	};
	struct world w;

	world_begin(&w);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *path = put_file(&w, "values", cases[i].text);
		BH_FREE char *name = bh_asprintf("set%u", i);
		struct gate_dataset how = {.name = name, .cmd = GATE_DATA_ISSET, .load = path};
		struct gate_dataset_ref *ref;

		how.type = cases[i].type;
		ref = open_set(&w, &how);
		assert_true(gate_dataset_match(ref, (const uint8_t *)cases[i].in, cases[i].size));
		assert_false(gate_dataset_match(ref, (const uint8_t *)cases[i].out, cases[i].size));
		assert_false(gate_dataset_match(ref, (const uint8_t *)cases[i].in, 3));
		assert_int_equal(unlink(path), 0);
	}
	world_end(&w);
}

static void test_reputation_and_subdomain(void **state)
{
	struct world w;
	struct gate_dataset_ref *low, *high, *sub;
	struct gate_dataset how = {.name = (char *)"rep",
				   .type = GATE_DATA_STRING,
				   .cmd = GATE_DATA_REP,
				   .rep = {.op = GATE_GT, .a = 50}};
	BH_FREE char *path = NULL;

	world_begin(&w);
	/* "low", "high", "example.com", ".dotted.org" */
	path = put_file(&w, "rep",
			"bG93,10\naGlnaA==,90\nZXhhbXBsZS5jb20=\nLmRvdHRlZC5vcmc=\n"
			"aGlnaA==,70000\n");
	how.load = path;
	high = open_set(&w, &how);
	how.rep = (struct gate_test){.op = GATE_LT, .a = 50};
	low = open_set(&w, &how);
	assert_true(has(high, "high") && !has(high, "low") && !has(high, "none"));
	assert_true(has(low, "low") && !has(low, "high") && !has(low, "none"));
	how.cmd = GATE_DATA_ISSET;
	how.subdomain = true;
	sub = open_set(&w, &how);
	assert_true(has(sub, "example.com") && has(sub, "a.b.example.com"));
	assert_true(has(sub, "www.dotted.org"));
	assert_false(has(sub, "badexample.com") || has(sub, "com") || has(sub, ".") ||
		     has(sub, "..") || has(sub, "example.com."));
	assert_int_equal(unlink(path), 0);
	world_end(&w);
}

/* Tables grow with what is in them, and a name of nothing but dots is looked up once. */
static void test_many_values(void **state)
{
	struct gate_dataset how = {
		.name = (char *)"many", .type = GATE_DATA_STRING, .cmd = GATE_DATA_SET};
	struct gate_dataset_ref *put, *isset;
	char text[300];
	struct world w;

	world_begin(&w);
	put = open_set(&w, &how);
	how.cmd = GATE_DATA_ISSET;
	how.subdomain = true;
	isset = open_set(&w, &how);
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "value-%d", i);
		assert_true(has(put, text));
	}
	for (int i = 0; i < 5001; i++) {
		snprintf(text, sizeof(text), "value-%d", i);
		assert_int_equal(has(isset, text), i < 5000);
	}
	memset(text, 'a', sizeof(text));
	snprintf(text + 245, sizeof(text) - 245, ".value-7");
	assert_true(has(isset, text));
	snprintf(text + 280, sizeof(text) - 280, ".value-7"); /* longer than a name can be */
	memset(text, 'a', 280);
	assert_false(has(isset, text));
	world_end(&w);
}

static void test_json(void **state)
{
	struct gate_dataset how = {.name = (char *)"json",
				   .type = GATE_DATA_STRING,
				   .cmd = GATE_DATA_ISSET,
				   .format = GATE_DATA_JSON,
				   .array_key = (char *)"data.list",
				   .value_key = (char *)"host.name"};
	struct gate_dataset_ref *ref = NULL;
	BH_FREE char *path = NULL, *path2 = NULL;
	struct bh_diag diag = {};
	struct world w;

	world_begin(&w);
	path = put_file(&w, "a",
			"{\"data\":{\"list\":[{\"host\":{\"name\":\"one\"}},"
			"{\"host\":1},7,{\"host\":{\"name\":\"two\"}}]}}");
	how.load = path;
	ref = open_set(&w, &how);
	assert_true(has(ref, "one") && has(ref, "two") && !has(ref, "three"));
	path2 = put_file(&w, "b",
			 "{\"host\":{\"name\":\"three\"}}\nnot json\n\n"
			 "{\"host\":{\"name\":\"four\"}}");
	how.name = (char *)"lines";
	how.format = GATE_DATA_NDJSON;
	how.load = path2;
	ref = open_set(&w, &how);
	assert_true(has(ref, "three") && has(ref, "four") && !has(ref, "one"));
	how.name = (char *)"broken";
	how.format = GATE_DATA_JSON;
	assert_int_equal(gate_dataset_open(w.shared, &w.config, &how, &ref, &diag), -EBADMSG);
	assert_int_equal(unlink(path) | unlink(path2), 0);
	world_end(&w);
}

static void test_state_file(void **state)
{
	struct gate_dataset how = {.name = (char *)"kept",
				   .type = GATE_DATA_STRING,
				   .cmd = GATE_DATA_SET,
				   .state = (char *)"kept.lst"};
	BH_FREE char *path = NULL;
	struct world w;

	world_begin(&w);
	assert_true(has(open_set(&w, &how), "remember \1 me"));
	assert_int_equal(gate_shared_save(w.shared, NULL), 0);
	gate_shared_free(w.shared);
	w.shared = gate_shared_new(&w.config);
	how.cmd = GATE_DATA_ISSET;
	assert_true(has(open_set(&w, &how), "remember \1 me"));
	path = bh_asprintf("%s/kept.lst", w.dir);
	assert_int_equal(unlink(path), 0);
	world_end(&w);
}

/* Rules are loaded anew: a file that has changed is read, one that can't be leaves what is there */
static void test_load_again(void **state)
{
	struct gate_dataset how = {
		.name = (char *)"feed", .type = GATE_DATA_IPV4, .cmd = GATE_DATA_ISSET};
	struct gate_dataset_ref *before, *ref = NULL;
	BH_FREE char *path = NULL, *path2 = NULL;
	struct bh_diag diag = {};
	struct world w;

	world_begin(&w);
	path = put_file(&w, "feed", "10.0.0.1\n");
	how.load = path;
	before = open_set(&w, &how);
	path2 = put_file(&w, "feed", "10.0.0.2\n10.0.0.3\n");
	assert_true(has(before, "\x0a\1\1\1") == false);
	assert_ptr_equal(open_set(&w, &how), before);
	assert_true(gate_dataset_match(before, (const uint8_t *)"\x0a\0\0\2", 4));
	assert_false(gate_dataset_match(before, (const uint8_t *)"\x0a\0\0\1", 4));
	assert_int_equal(unlink(path), 0);
	assert_ptr_equal(open_set(&w, &how), before);
	assert_true(gate_dataset_match(before, (const uint8_t *)"\x0a\0\0\3", 4));
	how.type = GATE_DATA_STRING;
	assert_int_equal(gate_dataset_open(w.shared, &w.config, &how, &ref, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "another type"));
	how.name = (char *)"missing";
	assert_int_equal(gate_dataset_open(w.shared, &w.config, &how, &ref, &diag), -ENOENT);
	world_end(&w);
}

struct writer {
	struct gate_dataset_ref *set;
	_Atomic bool stop;
};

static void *put_values(void *arg)
{
	struct writer *writer = arg;
	char text[16];

	for (unsigned int i = 0; !writer->stop; i++) {
		snprintf(text, sizeof(text), "%u", i % 200000);
		(void)has(writer->set, text);
	}
	return NULL;
}

/* Workers go on to put values into a set while its file is read again. */
static void test_load_again_in_use(void **state)
{
	struct gate_dataset how = {
		.name = (char *)"busy", .type = GATE_DATA_STRING, .cmd = GATE_DATA_SET};
	struct writer writer = {};
	BH_FREE char *path = NULL;
	pthread_t thread;
	struct world w;

	world_begin(&w);
	path = put_file(&w, "busy", "YQ==\n");
	how.load = path;
	writer.set = open_set(&w, &how);
	assert_int_equal(pthread_create(&thread, NULL, put_values, &writer), 0);
	for (unsigned int i = 0; i < 50; i++) {
		free(put_file(&w, "busy", i % 2 ? "YQ==\nYg==\n" : "Yw==\n"));
		assert_ptr_equal(open_set(&w, &how), writer.set);
		usleep(2000); /* it grows: more turns, not a wait */
	}
	writer.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(unlink(path), 0);
	world_end(&w);
}

/* Whoever writes rules can't have more memory than all datasets have, by many or by one. */
static void test_memory_of_all(void **state)
{
	struct gate_dataset how = {.type = GATE_DATA_STRING, .cmd = GATE_DATA_SET};
	struct gate_dataset_ref *refs[64], *set = NULL;
	unsigned int opened = 0, taken = 0;
	struct bh_diag diag = {};
	struct world w;
	char name[16];

	world_begin(&w);
	w.config.datasets_memcap = 200000;
	w.config.dataset_memcap = 100000;
	how.name = name;
	strcpy(name, "large");
	how.memcap = 100001;
	assert_int_equal(gate_dataset_open(w.shared, &w.config, &how, &set, &diag), -E2BIG);
	how.memcap = 0;
	for (; opened < BH_ARRAY_SIZE(refs); opened++) {
		snprintf(name, sizeof(name), "set%u", opened);
		if (gate_dataset_open(w.shared, &w.config, &how, &refs[opened], &diag)) {
			break;
		}
		for (unsigned int i = 0; i < 100; i++) {
			char text[16];

			snprintf(text, sizeof(text), "%u", i);
			taken += has(refs[opened], text);
		}
	}
	assert_in_range(opened, 5, 30);
	assert_non_null(strstr(diag.text, "datasets.memcap"));
	assert_in_range(taken, 500, 3000);
	world_end(&w);
}

/* ---- the table ---- */

static void test_xbits(void **state)
{
	struct gate_key key = {.kind = GATE_KEY_XBIT, .a = 7}, other = key, tenant = key;
	struct world w;

	world_begin(&w);
	other.addrs[0].bytes[15] = 1;
	tenant.set = 1;
	gate_xbit_set(w.shared, &key, 100 * S, 10);
	assert_true(gate_xbit_isset(w.shared, &key, 105 * S));
	assert_false(gate_xbit_isset(w.shared, &other, 105 * S));
	assert_false(gate_xbit_isset(w.shared, &tenant, 105 * S));
	gate_shared_tick(w.shared, 109 * S);
	assert_true(gate_xbit_isset(w.shared, &key, 109 * S));
	assert_false(gate_xbit_isset(w.shared, &key, 111 * S));
	gate_xbit_set(w.shared, &key, 100 * S, 0);
	gate_shared_tick(w.shared, 1000000 * S);
	assert_true(gate_xbit_isset(w.shared, &key, 1000000 * S));
	gate_xbit_unset(w.shared, &key);
	assert_false(gate_xbit_isset(w.shared, &key, 100 * S));
	world_end(&w);
}

/* A letter for each of the counts, one a second: Alert, Quiet, . as if it had not matched, New. */
static void expect(struct world *w, struct gate_threshold th, const char *letters)
{
	static const char of[] = {
		[GATE_TH_ALERT] = 'A',
		[GATE_TH_QUIET] = 'Q',
		[GATE_TH_NOT] = '.',
		[GATE_TH_NEW_ACTION] = 'N',
	};
	struct gate_key key = {.kind = GATE_KEY_THRESHOLD, .a = (uint32_t)th.type};
	char got[64] = {};

	for (size_t i = 0; letters[i]; i++) {
		got[i] = of[gate_threshold_count(w->shared, &key, &th, (uint16_t)(i / 2),
						 (1000 + i) * S)];
	}
	assert_string_equal(got, letters);
}

static void test_thresholds(void **state)
{
	struct world w;

	world_begin(&w);
	expect(&w, (struct gate_threshold){.type = GATE_TH_LIMIT, .count = 2, .seconds = 5},
	       "AAQQQAAQ");
	expect(&w, (struct gate_threshold){.type = GATE_TH_THRESHOLD, .count = 3, .seconds = 60},
	       "..A..A.");
	expect(&w, (struct gate_threshold){.type = GATE_TH_BOTH, .count = 2, .seconds = 5},
	       ".AQQQ.AQ");
	expect(&w, (struct gate_threshold){.type = GATE_TH_DETECTION, .count = 3, .seconds = 60},
	       "...AAA");
	expect(&w,
	       (struct gate_threshold){
		       .type = GATE_TH_RATE, .count = 2, .seconds = 60, .timeout = 3},
	       "AANNNAAN");
	expect(&w, (struct gate_threshold){.type = GATE_TH_BACKOFF, .count = 1, .multiplier = 2},
	       "AAQAQQQAQ");
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_unset),
		cmocka_unit_test(test_memcap),
		cmocka_unit_test(test_memory_of_all),
		cmocka_unit_test(test_load_again_in_use),
		cmocka_unit_test(test_types_and_files),
		cmocka_unit_test(test_reputation_and_subdomain),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_state_file),
		cmocka_unit_test(test_load_again),
		cmocka_unit_test(test_xbits),
		cmocka_unit_test(test_thresholds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
