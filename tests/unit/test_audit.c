/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log's text and its verifier: each attack on an exported log is found, and its place
 * named. */
#include "audit_log.h"

#include "base/json.h"
#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LOG_A "00112233445566778899aabbccddeeff"
#define LOG_B "ffeeddccbbaa99887766554433221100"

/* 25 entries: head, then line n + 1 + (n - 1) / 10 is entry n; checkpoints at lines 12 and 23. */
static size_t line_of(unsigned int entry)
{
	return entry + (entry - 1) / 10; /* index into lines */
}

struct verdict {
	int r;
	struct bh_audit_report report;
	struct bh_diag diag;
};

static struct verdict verify(const struct audit_log *log, struct bh_audit_key *trusted)
{
	BH_FREE char *text = audit_log_text(log);
	struct bh_audit_verifier *v = bh_audit_verifier_new(&trusted, trusted ? 1 : 0);
	struct verdict out = {};

	out.r = bh_audit_verify_bytes(v, text, strlen(text), &out.diag);
	if (out.r == 0) {
		out.r = bh_audit_verify_end(v, &out.report, &out.diag);
	}
	out.report = *bh_audit_verify_report(v);
	bh_audit_verifier_free(v);
	return out;
}

static void expect(const struct audit_log *log, enum bh_audit_wrong wrong, uint64_t line)
{
	struct verdict v = verify(log, log->key);

	if (v.r != (int)wrong || v.report.wrong_line != line) {
		fail_msg("%s at line %llu (%s), expected %s at line %llu",
			 bh_audit_wrong_name((enum bh_audit_wrong)v.r),
			 (unsigned long long)v.report.wrong_line, v.diag.text,
			 bh_audit_wrong_name(wrong), (unsigned long long)line);
	}
	assert_true(*v.diag.text);
}

static void drop(struct audit_log *log, size_t index)
{
	free(log->lines[index]);
	memmove(log->lines + index, log->lines + index + 1,
		(log->count - index - 1) * sizeof(*log->lines));
	log->count--;
}

static void swap(struct audit_log *log, size_t a, size_t b)
{
	char *line = log->lines[a];

	log->lines[a] = log->lines[b];
	log->lines[b] = line;
}

/* The first `from` of a line becomes `to`. */
static void edit(struct audit_log *log, size_t index, const char *from, const char *to)
{
	char *line = log->lines[index];
	char *at = strstr(line, from);

	assert_non_null(at);
	log->lines[index] = bh_asprintf("%.*s%s%s", (int)(at - line), line, to, at + strlen(from));
	free(line);
}

/* ---- what is good ---- */

static void test_good(void **state)
{
	struct audit_log log;

	for (uint32_t only = 0; only < 3; only += 2) {
		struct verdict v;

		audit_log_init(&log, LOG_A, only);
		audit_log_fill(&log, 25);
		v = verify(&log, log.key);
		if (v.r) {
			fail_msg("%s", v.diag.text);
		}
		assert_true(v.report.trusted);
		assert_int_equal(v.report.count, only ? 9 : 25);
		assert_int_equal(v.report.checkpoints, 2);
		assert_int_equal(v.report.tenants, only ? 0 : 3);
		assert_string_equal(v.report.signer, bh_audit_key_id(log.key));
		assert_string_equal(v.report.begun, only ? "2026-09-21T14:13:20.000000000Z"
							 : "2026-09-21T14:13:20.000000000Z");
		v = verify(&log, NULL);
		assert_int_equal(v.r, 0);
		assert_false(v.report.trusted);
		audit_log_done(&log);
	}
}

static void test_empty(void **state)
{
	struct audit_log log;
	struct verdict v;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 0);
	v = verify(&log, log.key);
	assert_int_equal(v.r, 0);
	assert_int_equal(v.report.count, 0);
	drop(&log, 1);
	expect(&log, BH_AUDIT_END_CUT, 1);
	drop(&log, 0);
	expect(&log, BH_AUDIT_BEGIN_CUT, 1);
	audit_log_done(&log);
}

/* A tenant's entries are the same text in both kinds of file, and nothing in them counts what
 * others do. */
static void test_tenants_part(void **state)
{
	struct audit_log all, part;

	audit_log_init(&all, LOG_A, 0);
	audit_log_init(&part, LOG_A, 2);
	audit_log_fill(&all, 25);
	audit_log_fill(&part, 25);
	for (size_t i = 1; i < part.count; i++) {
		bool found = strstr(part.lines[i], "\"seal\"") != NULL;

		assert_null(strstr(part.lines[i], "\"seq\""));
		assert_null(strstr(part.lines[i], "bank"));
		for (size_t k = 0; k < all.count; k++) {
			found |= strstr(all.lines[k], part.lines[i]) != NULL;
		}
		assert_true(found);
	}
	audit_log_done(&all);
	audit_log_done(&part);
}

/* ---- attacks ---- */

/* Each member of an entry in the middle, of the last one, and the link itself. */
static void test_edit(void **state)
{
	static const char *const edits[][2] = {
		{"\"v\":1", "\"v\":2"},
		{"\"tenant\":2", "\"tenant\":3"},
		{"\"name\":\"shop\"", "\"name\":\"shap\""},
		{"\"tseq\":", "\"tseq\":1"},
		{"\"tprev\":\"", "\"tprev\":\"f"},
		{"\"time\":\"2026", "\"time\":\"2025"},
		{"\"state\":\"done\"", "\"state\":\"begun\""},
		{"\"user\":\"anna\"", "\"user\":\"bert\""},
		{"\"role\":\"tenant-admin", "\"role\":\"tenant-viewer"},
		{"\"factor\":\"totp\"", "\"factor\":\"none\""},
		{"192.0.2.7", "192.0.2.8"},
		{"\"via\":\"session\"", "\"via\":\"token\""},
		{"\"act\":\"vm.labels\"", "\"act\":\"vm.power\""},
		{"\"object\":\"vm:1\"", "\"object\":\"vm:2\""},
		{"{\"app\":\"web\"}", "{\"app\":\"wec\"}"},
		{"{\"app\":\"db\"}", "{\"app\":\"dc\"}"},
		{"\"result\":\"done\"", "\"result\":\"failed\""},
		{"\"code\":200", "\"code\":403"},
		{"\"reason\":\"moved\"", "\"reason\":\"stolen\""},
		{"\"approval\":\"r-17\"", "\"approval\":\"r-18\""},
		{"0011223344556677\"}", "0011223344556678\"}"},
		{"\"reason\":\"moved\",", ""},
	};
	struct audit_log log;

	for (size_t i = 0; i < BH_ARRAY_SIZE(edits); i++) {
		for (unsigned int entry = 7; entry <= 25; entry += 18) { /* 7, 25: of tenant 2 */
			for (uint32_t only = 0; only < 3; only += 2) {
				size_t index = only ? (entry == 7 ? 3 : 11) : line_of(entry);
				struct verdict v;

				audit_log_init(&log, LOG_A, only);
				audit_log_fill(&log, 25);
				edit(&log, index, edits[i][0], edits[i][1]);
				v = verify(&log, log.key);
				if (v.r <= 0 || v.report.wrong_line != index + 1) {
					fail_msg("%s, entry %u of file %u: %s at line %llu",
						 edits[i][0], entry, only, v.diag.text,
						 (unsigned long long)v.report.wrong_line);
				}
				audit_log_done(&log);
			}
		}
	}
}

static void test_edit_is_named(void **state)
{
	struct audit_log log;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	edit(&log, line_of(7), "anna", "bert");
	expect(&log, BH_AUDIT_CHANGED, line_of(7) + 1);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	edit(&log, line_of(7), "\"prev\":\"", "\"prev\":\"0");
	expect(&log, BH_AUDIT_UNREADABLE, line_of(7) + 1);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0); /* the link alone: of that entry, not the one before */
	audit_log_fill(&log, 25);
	log.lines[line_of(7)][strlen("{\"seq\":7,\"prev\":\"")] ^= 1;
	expect(&log, BH_AUDIT_CHANGED, line_of(7) + 1);
	audit_log_done(&log);
}

static void test_deletion(void **state)
{
	struct audit_log log;

	for (unsigned int entry = 2; entry < 25; entry++) {
		audit_log_init(&log, LOG_A, 0);
		audit_log_fill(&log, 25);
		drop(&log, line_of(entry));
		/* seen with the next line, which is a checkpoint behind each tenth */
		expect(&log, BH_AUDIT_MISSING, line_of(entry) + 1);
		audit_log_done(&log);
	}
}

/* Who numbers what is left anew breaks the chain. */
static void test_deletion_hidden(void **state)
{
	struct audit_log log;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	drop(&log, line_of(5));
	for (unsigned int entry = 6; entry <= 25; entry++) {
		char from[32], to[32];

		snprintf(from, sizeof(from), "\"seq\":%u,", entry);
		snprintf(to, sizeof(to), "\"seq\":%u,", entry - 1);
		edit(&log, line_of(entry) - 1, from, to);
	}
	expect(&log, BH_AUDIT_CHANGED, line_of(6));
	audit_log_done(&log);
}

static void test_reorder(void **state)
{
	struct audit_log log;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	swap(&log, line_of(7), line_of(8));
	expect(&log, BH_AUDIT_MISSING, line_of(7) + 1); /* 8 where 7 should be */
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	free(log.lines[line_of(8)]);
	log.lines[line_of(8)] = bh_strdup(log.lines[line_of(7)]);
	expect(&log, BH_AUDIT_ORDER, line_of(8) + 1); /* 7 twice */
	audit_log_done(&log);
}

static void test_truncation(void **state)
{
	struct audit_log log;
	struct verdict v;

	for (unsigned int keep = 1; keep < 28; keep++) {
		audit_log_init(&log, LOG_A, 0);
		audit_log_fill(&log, 25);
		assert_int_equal(log.count, 29);
		while (log.count > keep) {
			drop(&log, log.count - 1);
		}
		expect(&log, BH_AUDIT_END_CUT, keep);
		audit_log_done(&log);
	}
	/* the last entries without the statement: it counts them */
	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	drop(&log, 27);
	drop(&log, 26);
	expect(&log, BH_AUDIT_END_CUT, 27);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0); /* within a line */
	audit_log_fill(&log, 25);
	log.lines[28][20] = '\0';
	v = verify(&log, log.key);
	assert_int_equal(v.r, BH_AUDIT_UNREADABLE);
	audit_log_done(&log);
}

static void test_beginning(void **state)
{
	struct audit_log log;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	drop(&log, 0);
	expect(&log, BH_AUDIT_BEGIN_CUT, 1);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 2); /* a tenant's: the chain of others hides nothing */
	audit_log_fill(&log, 9);
	drop(&log, 1);
	expect(&log, BH_AUDIT_BEGIN_CUT, 2);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 9);
	drop(&log, 1);
	/* tenants' chains would have to begin with 1 only if the file did: the statement tells */
	expect(&log, BH_AUDIT_BEGIN_CUT, 2);
	audit_log_done(&log);
}

/* The head says whose log it is: no other name than its entries have. */
static void test_head(void **state)
{
	struct audit_log log;

	audit_log_init(&log, LOG_A, 2);
	audit_log_fill(&log, 9);
	edit(&log, 0, "\"name\":\"shop\"", "\"name\":\"bank\"");
	expect(&log, BH_AUDIT_CHANGED, 1);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 9);
	edit(&log, 0, "\"tenant\":0", "\"tenant\":0,\"name\":\"bank\"");
	expect(&log, BH_AUDIT_CHANGED, 1);
	audit_log_done(&log);
}

/* A log that begins after what was archived is good, and says from where. */
static void test_later_beginning(void **state)
{
	struct bh_audit_seal seal = {.statement = true, .from = 6, .to = 9};
	struct audit_log log;
	struct bh_wbuf w;
	struct verdict v;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 5);
	seal.prev = log.head;
	for (int i = 0; i < 4; i++) {
		audit_log_add(&log, 1 + (uint32_t)i % 3, "vm:9");
	}
	seal.head = log.head;
	memcpy(seal.log, LOG_A, sizeof(seal.log));
	bh_wbuf_init(&w, 0);
	assert_int_equal(bh_audit_seal_write(&w, &seal, log.key), 0);
	for (int i = 0; i < 6; i++) {
		drop(&log, 1);
	}
	audit_log_seal(&log, true, log.key);
	free(log.lines[log.count - 1]);
	log.lines[log.count - 1] = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	v = verify(&log, log.key);
	if (v.r) {
		fail_msg("%s", v.diag.text);
	}
	assert_int_equal(v.report.from, 6);
	assert_int_equal(v.report.to, 9);
	drop(&log, 1);
	expect(&log, BH_AUDIT_BEGIN_CUT, 2);
	audit_log_done(&log);
}

static void test_splice(void **state)
{
	struct audit_log a, b;

	audit_log_init(&a, LOG_A, 0);
	audit_log_init(&b, LOG_B, 0);
	audit_log_fill(&a, 25);
	audit_log_add(&b, 1, "host:h1"); /* so that the two differ from the start */
	b.seq = 0;
	free(b.lines[0]);
	b.count = 0;
	audit_log_fill(&b, 25);
	for (unsigned int entry = 15; entry <= 25; entry++) {
		free(a.lines[line_of(entry)]);
		a.lines[line_of(entry)] = bh_strdup(b.lines[line_of(entry)]);
	}
	expect(&a, BH_AUDIT_CHANGED, line_of(14) + 1);
	audit_log_done(&a);

	audit_log_init(&a, LOG_A, 0); /* a seal of the other log, by the same key */
	bh_audit_key_free(b.key);
	b.key = NULL;
	audit_log_fill(&a, 25);
	memcpy(a.id, LOG_B, sizeof(a.id));
	audit_log_seal(&a, true, a.key);
	swap(&a, 28, 29);
	drop(&a, 29);
	expect(&a, BH_AUDIT_SEAL, 29);
	audit_log_done(&a);
	audit_log_done(&b);
}

static void test_wrong_key(void **state)
{
	struct bh_audit_key *other = bh_audit_key_new();
	struct audit_log log;
	struct verdict v;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	v = verify(&log, other); /* who made a log with his own key is not the manager */
	assert_int_equal(v.r, BH_AUDIT_KEY);
	assert_int_equal(v.report.wrong_line, 12);

	drop(&log, 28); /* a statement by another, in the file of the manager */
	audit_log_seal(&log, true, other);
	expect(&log, BH_AUDIT_KEY, 29);
	v = verify(&log, NULL);
	assert_int_equal(v.r, BH_AUDIT_KEY);
	audit_log_done(&log);
	bh_audit_key_free(other);
}

static void test_forged_checkpoint(void **state)
{
	struct bh_audit_key *other = bh_audit_key_new();
	struct audit_log log;
	char id[BH_AUDIT_KEY_ID_SIZE];

	/* its text changed, its signature changed, signed by another with the manager's id */
	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	edit(&log, 11, "\"time\":\"2026", "\"time\":\"2027");
	expect(&log, BH_AUDIT_SEAL, 12);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	edit(&log, 11, "\"sig\":\"", "\"sig\":\"A");
	expect(&log, BH_AUDIT_SEAL, 12);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 9);
	memcpy(id, bh_audit_key_id(log.key), sizeof(id));
	audit_log_seal(&log, false, other);
	edit(&log, log.count - 1, bh_audit_key_id(other), id);
	swap(&log, log.count - 1, log.count - 2);
	expect(&log, BH_AUDIT_SEAL, 11);
	audit_log_done(&log);

	/* a good one at another place: moved up it speaks of what is not there yet */
	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	swap(&log, 10, 11);
	expect(&log, BH_AUDIT_MISSING, 11);
	audit_log_done(&log);

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	swap(&log, 11, 12);
	expect(&log, BH_AUDIT_SEAL, 13);
	audit_log_done(&log);

	/* behind the statement comes nothing */
	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 25);
	audit_log_add(&log, 1, "vm:3");
	expect(&log, BH_AUDIT_UNREADABLE, 30);
	audit_log_done(&log);
	bh_audit_key_free(other);
}

static void test_mixed_files(void **state)
{
	struct audit_log all, part;

	audit_log_init(&all, LOG_A, 0);
	audit_log_init(&part, LOG_A, 2);
	audit_log_fill(&all, 25);
	audit_log_fill(&part, 25);
	free(part.lines[2]);
	part.lines[2] = bh_strdup(all.lines[4]);
	expect(&part, BH_AUDIT_UNREADABLE, 3);
	free(all.lines[4]);
	all.lines[4] = bh_strdup(part.lines[1]);
	expect(&all, BH_AUDIT_UNREADABLE, 5);
	audit_log_done(&all);
	audit_log_done(&part);
}

/* Every byte of a short file, changed: nothing passes. */
static void test_every_byte(void **state)
{
	BH_FREE char *text = NULL;
	struct audit_log log;
	size_t size, passed = 0;

	audit_log_init(&log, LOG_A, 0);
	audit_log_fill(&log, 4);
	text = audit_log_text(&log);
	size = strlen(text);
	for (size_t i = strlen(log.lines[0]) + 1; i < size; i++) {
		struct bh_audit_verifier *v = bh_audit_verifier_new(&log.key, 1);
		struct bh_audit_report report;
		int r;

		text[i] ^= 1;
		r = bh_audit_verify_bytes(v, text, size, NULL);
		r = r ? r : bh_audit_verify_end(v, &report, NULL);
		passed += r == 0;
		text[i] ^= 1;
		bh_audit_verifier_free(v);
	}
	assert_int_equal(passed, 0);
	audit_log_done(&log);
}

/* ---- writing ---- */

static void test_states(void **state)
{
	BH_JSON json_t *small = json_pack("{s:s, s:{s:i}}", "b", "x", "a", "n", 1);
	BH_JSON json_t *large = json_object();
	BH_JSON json_t *deep = json_array();
	BH_FREE char *big = bh_alloc(40001);
	BH_FREE char *s = NULL, *l = NULL, *d = NULL, *o = NULL;
	BH_JSON json_t *odd = json_pack("{s:f}", "x", 1e300);

	memset(big, 'x', 40000);
	json_object_set_new(large, "text", json_string(big));
	for (int i = 0; i < 20; i++) {
		json_t *outer = json_array();

		json_array_append_new(outer, deep);
		deep = outer;
	}
	s = bh_audit_state_text(small);
	assert_string_equal(s, "{\"a\":{\"n\":1},\"b\":\"x\"}");
	l = bh_audit_state_text(large);
	assert_true(strlen(l) < 3000);
	assert_non_null(strstr(l, "{\"bytes\":40011,\"sha256\":\""));
	d = bh_audit_state_text(deep);
	assert_non_null(strstr(d, "\"sha256\""));
	o = bh_audit_state_text(odd); /* a number that a reader of lines does not take */
	assert_non_null(strstr(o, "\"sha256\""));
}

/* Whatever is said in texts, the line stays one object on one line that readers take. */
static void test_hostile_texts(void **state)
{
	char longer[3000];
	struct bh_audit_entry e = {.tenant = 2,
				   .tenant_name = "shop",
				   .tseq = 1,
				   .time_ns = 5,
				   .state = "done",
				   .user = "a\"},\"user\":\"root\n\x01\xff\xc3",
				   .object = longer,
				   .reason = "\xf0\x9f\x94\x92 \xe4\xb8\xad\\u0000"};
	BH_FREE struct bh_jtext *j = bh_alloc(sizeof(*j));
	struct bh_wbuf w;

	for (size_t i = 0; i + 3 < sizeof(longer); i += 3) {
		memcpy(longer + i, "\xe4\xb8\xad", 3);
	}
	longer[2997] = '\0';
	bh_wbuf_init(&w, 0);
	assert_int_equal(bh_audit_entry_write(&w, &e), 0);
	assert_null(memchr(w.data, '\n', w.size));
	assert_int_equal(bh_jtext_parse((const char *)w.data, w.size, j, NULL), 0);
	assert_int_equal(bh_jtext_find(j, "object")->value_size, 510);
	assert_non_null(strstr(bh_wbuf_cstr(&w), "1970-01-01T00:00:00.000000005Z"));
	bh_wbuf_done(&w);
}

static void test_keys(void **state)
{
	struct bh_audit_key *a = bh_audit_key_new(), *b = NULL, *c = NULL;
	BH_FREE char *priv = bh_audit_key_pem(a, true);
	BH_FREE char *pub = bh_audit_key_pem(a, false);
	struct bh_diag diag = {};

	assert_int_equal(bh_audit_key_read(priv, strlen(priv), &b, &diag), 0);
	assert_int_equal(bh_audit_key_read(pub, strlen(pub), &c, &diag), 0);
	assert_string_equal(bh_audit_key_id(a), bh_audit_key_id(b));
	assert_string_equal(bh_audit_key_id(a), bh_audit_key_id(c));
	bh_audit_key_free(b);
	bh_audit_key_free(c);
	assert_int_equal(bh_audit_key_parse(bh_audit_key_public(a), 60, &b, &diag), 0);
	bh_audit_key_free(b);
	for (size_t n = 0; n < 60; n++) {
		assert_int_equal(bh_audit_key_parse(bh_audit_key_public(a), n, &b, &diag),
				 -EBADMSG);
	}
	assert_int_equal(bh_audit_key_read("x", 1, &b, &diag), -EBADMSG);
	bh_audit_key_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_tenants_part),
		cmocka_unit_test(test_edit),
		cmocka_unit_test(test_edit_is_named),
		cmocka_unit_test(test_deletion),
		cmocka_unit_test(test_deletion_hidden),
		cmocka_unit_test(test_reorder),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_beginning),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_later_beginning),
		cmocka_unit_test(test_splice),
		cmocka_unit_test(test_wrong_key),
		cmocka_unit_test(test_forged_checkpoint),
		cmocka_unit_test(test_mixed_files),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_hostile_texts),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
