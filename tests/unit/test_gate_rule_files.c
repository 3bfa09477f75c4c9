/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate/rules: what is read beside rules (threshold.config, lists of hashes), and rules that several
 * readers have: one object, and each reader's own.
 */
#include "base/buf.h"
#include "gate/rules/reading.h"
#include "gate_rule_world.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static size_t limit_count(const struct gate_rule_files *files, size_t rule)
{
	size_t count;

	(void)gate_rule_limits(files, files->rules.items[rule], &count);
	return count;
}

static const struct gate_threshold *limit_at(const struct gate_rule_files *files, size_t rule,
					     size_t index)
{
	size_t count;
	const struct gate_rule_limit *limits =
		gate_rule_limits(files, files->rules.items[rule], &count);

	assert_true(index < count);
	return &limits[index].t;
}

static void test_thresholds(void **state)
{
	char path[] = "/tmp/gate-rules-XXXXXX";
	int fd = mkstemp(path);
	struct gate_rule_files *files = read_text(
		*state, "alert tcp any any -> any any (sid:1;)\n"
			"alert tcp any any -> any any (threshold:type both, track by_src, count 1, "
			"seconds 2; sid:2;)\n");
	struct bh_diag diag;

	assert_true(fd >= 0);
	close(fd);
	write_file(path,
		   "# comment\n"
		   "suppress gen_id 1, sig_id 1, track by_src, ip [10.0.0.0/8,!10.1.1.1]\n"
		   "threshold gen_id 0, sig_id 0, type limit, track by_dst, count 5, seconds 6\n"
		   "rate_filter gen_id 1, sig_id 2, track by_rule, count 1, seconds 2, \\\n"
		   " new_action drop, timeout 9\n");
	assert_int_equal(gate_rules_read_thresholds(files, path, &diag), 0);
	assert_int_equal(limit_count(files, 1), 1);
	assert_int_equal(limit_at(files, 1, 0)->type, GATE_TH_RATE);
	assert_int_equal(limit_at(files, 1, 0)->new_action, GATE_DROP);
	assert_int_equal(limit_at(files, 1, 0)->timeout, 9);
	write_file(path,
		   "suppress gen_id 1, sig_id 1, track by_src, ip [10.0.0.0/8,!10.1.1.1]\n"
		   "suppress gen_id 1, sig_id 2\n"
		   "threshold gen_id 0, sig_id 0, type limit, track by_dst, count 5, seconds 6\n");
	gate_rules_free(files);
	files = read_text(*state,
			  "alert tcp any any -> any any (sid:1;)\n"
			  "alert tcp any any -> any any (threshold:type both, track by_src, "
			  "count 1, seconds 2; sid:2;)\n");
	assert_int_equal(gate_rules_read_thresholds(files, path, &diag), 0);
	assert_int_equal(limit_count(files, 0), 2);
	assert_int_equal(limit_at(files, 0, 0)->type, GATE_TH_SUPPRESS);
	assert_int_equal(limit_at(files, 0, 0)->track, GATE_TRACK_SRC);
	assert_int_equal(limit_at(files, 0, 0)->addrs->in.count, 2);
	assert_int_equal(limit_at(files, 0, 1)->count, 5);
	assert_int_equal(limit_count(files, 1), 1); /* keeps its own threshold */
	write_file(path, "suppress gen_id 1, sig_id 1, track by_src\n");
	assert_int_equal(gate_rules_read_thresholds(files, path, &diag), -EINVAL);
	assert_int_equal(diag.line, 1);
	gate_rules_free(files);
	unlink(path);
}

/* Lists of hashes and sets beside the rule file. */
static void test_data_files(void **state)
{
	struct world *w = *state;
	char folder[] = "/tmp/gate-rules-XXXXXX";
	struct gate_rule_files *files = gate_rules_new();
	struct bh_diag diag;

	assert_non_null(mkdtemp(folder));
	BH_FREE char *hashes = bh_asprintf("%s/h.md5", folder);
	BH_FREE char *rules = bh_asprintf("%s/t.rules", folder);

	write_file(hashes, "# hashes\nFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF  name\n"
			   "00112233445566778899aabbccddeeff\n");
	write_file(rules,
		   "alert http any any -> any any (filemd5:!h.md5; sid:1;)\n"
		   "alert http any any -> any any (http.uri; dataset:isset,x,type md5,load h.md5; "
		   "sid:2;)\n"
		   "alert http any any -> any any (filesha1:h.md5; sid:3;)\n");
	assert_int_equal(gate_rules_read(files, &w->config, w->names, rules, &diag), 0);
	assert_int_equal(files->rules.count, 2);
	const struct gate_file_match *m = &files->rules.items[0]->tx.items[0].file;

	assert_int_equal(m->what, GATE_FM_MD5);
	assert_true(m->negated);
	assert_int_equal(m->hash_count, 2);
	assert_int_equal(m->hashes[1], 0x11);
	assert_string_equal(files->rules.items[1]->lists.items[0].matches.items[0].dataset.load,
			    hashes);
	assert_non_null(strstr(files->refusals.items[0].reason, ":2 is no hash"));
	gate_rules_free(files);
	unlink(hashes);
	unlink(rules);
	rmdir(folder);
}

static struct gate_rule_files *read_file(struct world *w, const char *path)
{
	struct gate_rule_files *files = gate_rules_new();
	struct bh_diag diag;

	assert_int_equal(gate_rules_read(files, &w->config, w->names, path, &diag), 0);
	return files;
}

/* A list that has changed is read again, also while another reader has the rule. */
static void test_data_files_again(void **state)
{
	struct world *w = *state;
	char folder[] = "/tmp/gate-rules-XXXXXX";

	assert_non_null(mkdtemp(folder));
	BH_FREE char *hashes = bh_asprintf("%s/h.md5", folder);
	BH_FREE char *rules = bh_asprintf("%s/t.rules", folder);

	write_file(hashes, "00112233445566778899aabbccddeeff\n");
	write_file(rules, "alert http any any -> any any (filemd5:h.md5; sid:1;)\n");
	struct gate_rule_files *before = read_file(w, rules);

	write_file(hashes, "00112233445566778899aabbccddeeff\n"
			   "11112233445566778899aabbccddeeff\n");
	struct gate_rule_files *after = read_file(w, rules);

	assert_int_equal(before->rules.items[0]->tx.items[0].file.hash_count, 1);
	assert_int_equal(after->rules.items[0]->tx.items[0].file.hash_count, 2);
	gate_rules_free(before);
	gate_rules_free(after);
	unlink(hashes);
	unlink(rules);
	rmdir(folder);
}

struct data_case {
	const char *option, *reason; /* NULL: it is loaded */
};

/* DIR is a folder beside that of the rules, with the same list in it. */
static const struct data_case data_cases[] = {
	{"filemd5:h.md5", NULL},
	{"filemd5:DIR/in/h.md5", NULL}, /* by its whole name */
	{"filemd5:DIR/in/../in/h.md5", NULL},
	{"filemd5:DIR/out/h.md5", "there is no file"},
	{"filemd5:../out/h.md5", "there is no file"},
	{"filemd5:link.md5", "there is no file"},
	{"filemd5:DIR/into/h.md5", "there is no file"}, /* begins as the folder does */
	{"http.uri; dataset:isset,x,type md5,load DIR/out/h.md5", "there is no file"},
	{"http.uri; datarep:y,>,1,type md5,load ../out/h.md5", "there is no file"},
	{"http.uri; dataset:set,z,type md5,state z.lst", NULL},
	{"http.uri; dataset:set,z,type md5,state sub..folder/z.lst", NULL},
	{"http.uri; dataset:set,z,type md5,state DIR/out/z.lst", "is written into"},
	{"http.uri; dataset:set,z,type md5,save ../out/z.lst", "is written into"},
	{"http.uri; dataset:set,z,type md5,save in/..", "is written into"},
};

static char *in_dir(const char *text, const char *dir)
{
	const char *at = strstr(text, "DIR");

	return at ? bh_asprintf("%.*s%s%s", (int)(at - text), text, dir, at + 3) : bh_strdup(text);
}

static void one_data_case(struct world *w, const char *dir, const struct data_case *c, bool lifted)
{
	BH_FREE char *option = in_dir(c->option, dir), *rules = bh_asprintf("%s/in/t.rules", dir);
	BH_FREE char *text = bh_asprintf("alert http any any -> any any (%s; sid:1;)\n", option);
	struct gate_rule_files *files;

	write_file(rules, text);
	files = read_file(w, rules);
	if (!c->reason || lifted) {
		assert_int_equal(files->rules.count, 1);
	} else {
		assert_int_equal(files->rules.count, 0);
		assert_non_null(strstr(files->refusals.items[0].reason, c->reason));
	}
	gate_rules_free(files);
	unlink(rules);
}

/* Whoever writes rules reads and writes no other files by them. */
static void test_data_folders(void **state)
{
	static const char *const names[] = {"in", "out", "into"};
	struct world *w = *state;
	char dir[] = "/tmp/gate-rules-XXXXXX";

	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		BH_FREE char *folder = bh_asprintf("%s/%s", dir, names[i]);
		BH_FREE char *list = bh_asprintf("%s/h.md5", folder);

		assert_int_equal(mkdir(folder, 0700), 0);
		write_file(list, "00112233445566778899aabbccddeeff\n");
	}
	BH_FREE char *link = bh_asprintf("%s/in/link.md5", dir);

	assert_int_equal(symlink("../out/h.md5", link), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(data_cases); i++) {
		one_data_case(w, dir, &data_cases[i], false);
		w->config.dataset_any_path = true;
		one_data_case(w, dir, &data_cases[i], true);
		w->config.dataset_any_path = false;
	}
	w->config.dataset_writes = false;
	one_data_case(
		w, dir,
		&(struct data_case){"http.uri; dataset:set,z,type md5,state z.lst", "allow-write"},
		false);
	w->config.dataset_writes = true;
	unlink(link);
	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		BH_FREE char *folder = bh_asprintf("%s/%s", dir, names[i]);
		BH_FREE char *list = bh_asprintf("%s/h.md5", folder);

		unlink(list);
		rmdir(folder);
	}
	rmdir(dir);
}

static size_t rules_with_bits(struct world *w, unsigned int names)
{
	struct gate_rule_files *files;
	struct bh_wbuf text;
	size_t count;

	bh_wbuf_init(&text, 0);
	bh_wbuf_str(&text, "alert tcp any any -> any any (flowbits:isset,a");
	for (unsigned int i = 1; i < names; i++) {
		bh_wbuf_printf(&text, "|a%u", i);
	}
	bh_wbuf_str(&text, "; sid:1;)\n");
	bh_wbuf_cstr(&text);
	files = read_text(w, (const char *)text.data);
	count = files->rules.count;
	gate_rules_free(files);
	bh_wbuf_done(&text);
	return count;
}

static void test_many_names(void **state)
{
	assert_int_equal(rules_with_bits(*state, 100), 1);
	assert_int_equal(rules_with_bits(*state, 101), 0);
}

/* Lines for all rules take memory for each: there are so many of them, and entries, at most. */
static void test_many_thresholds(void **state)
{
	static const char line[] = "suppress gen_id 0, sig_id 0\n";
	char path[] = "/tmp/gate-rules-XXXXXX";
	int fd = mkstemp(path);
	struct gate_rule_files *files =
		read_text(*state, "alert tcp any any -> any any (sid:1;)\n"
				  "alert tcp any any -> any any (sid:2; gid:3;)\n");
	struct bh_diag diag;
	struct bh_wbuf text;

	assert_true(fd >= 0);
	close(fd);
	bh_wbuf_init(&text, 0);
	for (unsigned int i = 0; i < 20000; i++) { /* of one rule, and of one that is not there */
		bh_wbuf_printf(&text, "suppress gen_id 3, sig_id %u\n", i % 2 ? 2u : 7u);
	}
	bh_wbuf_cstr(&text);
	write_file(path, (const char *)text.data);
	assert_int_equal(gate_rules_read_thresholds(files, path, &diag), 0);
	assert_int_equal(limit_count(files, 0), 0);
	assert_int_equal(limit_count(files, 1), 10000);
	for (unsigned int i = 0; i < 5000; i++) {
		bh_wbuf_str(&text, line);
	}
	bh_wbuf_cstr(&text);
	write_file(path, (const char *)text.data);
	assert_int_equal(gate_rules_read_thresholds(files, path, &diag), -E2BIG);
	assert_non_null(strstr(diag.text, "by both numbers"));
	bh_wbuf_done(&text);
	gate_rules_free(files);
	unlink(path);
}

/* A set has so many rules at most; what is wrong with others is no way around it. */
static void test_max_rules(void **state)
{
	static const char text[] = "alert tcp any any -> any any (sid:1;)\n"
				   "alert tcp any any -> any any (bad; sid:2;)\n"
				   "alert tcp any any -> any any (sid:3;)\n"
				   "\n"
				   "alert tcp any any -> any any (sid:4;)\n"
				   "alert tcp any any -> any any (bad; sid:5;)\n";
	struct world *w = *state;
	struct gate_rule_files *files;

	w->config.rules_max = 3;
	files = read_text(w, text);
	assert_int_equal(files->rules.count, 2);
	assert_int_equal(files->refusals.count, 2);
	assert_int_equal(files->refusals.items[1].line, 5);
	assert_non_null(strstr(files->refusals.items[1].reason, "detect.max-rules"));
	gate_rules_free(files);
	w->config.rules_max = 6;
	files = read_text(w, text);
	assert_int_equal(files->rules.count, 3);
	assert_int_equal(files->refusals.count, 2);
	gate_rules_free(files);
}

/* What stands at the same place with the same text is one rule, whoever reads it, until nobody has
 * it; what threshold.config says of it is each reader's own. */
static void test_shared(void **state)
{
	static const char text[] = "alert tcp any any -> any any (content:\"a\"; sid:1; rev:1;)\n"
				   "alert tcp any any -> any any (content:\"b\"; sid:2;)\n"
				   "alert tcp any any -> any any (content:\"c\"; sid:1; rev:2;)\n"
				   "alert tcp any any -> any any (content:\"a\"; sid:1; rev:1;)\n";
	char path[] = "/tmp/gate-rules-XXXXXX";
	int fd = mkstemp(path);
	struct gate_rule_files *one = read_text(*state, text), *two = read_text(*state, text);
	struct gate_rule_files *moved =
		read_text(*state, "\n\nalert tcp any any -> any any (content:\"b\"; sid:2;)\n");
	struct bh_diag diag;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(one->rules.count, 2);
	assert_int_equal(two->rules.count, 2);
	assert_int_equal(two->refusals.count, 1);
	assert_ptr_equal(one->rules.items[0], two->rules.items[0]);
	assert_ptr_equal(one->rules.items[1], two->rules.items[1]);
	assert_int_equal(one->rules.items[0]->rev, 2);
	assert_ptr_not_equal(one->rules.items[1], moved->rules.items[0]);
	write_file(path, "suppress gen_id 1, sig_id 1\n");
	assert_int_equal(gate_rules_read_thresholds(two, path, &diag), 0);
	assert_int_equal(limit_count(two, 0), 1);
	assert_int_equal(limit_count(two, 1), 0);
	assert_int_equal(limit_count(one, 0), 0);
	gate_rules_free(one);
	assert_int_equal(two->rules.items[0]->sid, 1);
	one = read_text(*state, text);
	assert_ptr_equal(one->rules.items[1], two->rules.items[1]);
	gate_rules_free(two);
	gate_rules_free(one);
	gate_rules_free(moved);
	unlink(path);
}

/* Texts of rules that are gone pile up; what has too many of them is used no more. */
static void test_shared_is_full(void **state)
{
	struct world *w = *state;
	struct gate_shared_pool *pool = gate_names_pool(w->names);
	struct gate_rule_shared *one, *two, *three, *four;
	char text[1 << 16];
	struct bh_diag diag;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(gate_shared_take(pool, &w->config, &one, &diag), 0);
	for (unsigned int i = 0; i < 255; i++) {
		text[0] = (char)(1 + i);
		assert_ptr_equal(gate_shared_text(one, text), gate_shared_text(one, text));
	}
	assert_int_equal(gate_shared_take(pool, &w->config, &two, &diag), 0);
	assert_ptr_equal(two, one);
	memcpy(text, "zz", 2);
	(void)gate_shared_text(one, text);
	assert_int_equal(gate_shared_take(pool, &w->config, &three, &diag), 0);
	assert_ptr_not_equal(three, one);
	gate_shared_release(one);
	gate_shared_release(two);
	assert_int_equal(gate_shared_take(pool, &w->config, &four, &diag), 0);
	assert_ptr_equal(four, three);
	gate_shared_release(three);
	gate_shared_release(four);
}

static void test_hash(void **state)
{
	struct gate_rule_files *one = read_text(*state, "alert tcp any any -> any any (sid:1;)");
	struct gate_rule_files *same = read_text(*state, "alert tcp any any -> any any (sid:1;)");
	struct gate_rule_files *other = read_text(*state, "alert tcp any any -> any any (sid:2;)");

	assert_memory_equal(one->hash, same->hash, sizeof(one->hash));
	assert_memory_not_equal(one->hash, other->hash, sizeof(one->hash));
	gate_rules_free(one);
	gate_rules_free(same);
	gate_rules_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thresholds),	 cmocka_unit_test(test_data_files),
		cmocka_unit_test(test_data_files_again), cmocka_unit_test(test_data_folders),
		cmocka_unit_test(test_max_rules),	 cmocka_unit_test(test_many_thresholds),
		cmocka_unit_test(test_many_names),	 cmocka_unit_test(test_shared),
		cmocka_unit_test(test_shared_is_full),	 cmocka_unit_test(test_hash),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
