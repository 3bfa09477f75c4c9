/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive of events: what is written is found, in order, by any filter, as a model that looks
 * at everything finds it; nothing of others is seen; kills, old files, full disks.
 */
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/archive.h"
#include "manager/events/view.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define VM_A "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f01"
#define VM_B "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f02"

struct world {
	char dir[64];
	char *path;
	struct manager_archive_options options;
	struct manager_archive *archive;
	struct manager_reader *reader;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void open_archive(struct world *w)
{
	struct bh_diag diag = {};

	w->options.path = w->path;
	if (manager_archive_open(&w->options, &w->archive, &diag) < 0 ||
	    manager_reader_open(w->path, &w->reader, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
}

static void close_archive(struct world *w)
{
	manager_reader_close(bh_steal(&w->reader));
	manager_archive_close(bh_steal(&w->archive));
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/var/tmp/bh-test-archive-XXXXXX");
	if (!mkdtemp(w->dir)) {
		return -1;
	}
	w->path = bh_asprintf("%s/events.db", w->dir);
	w->options.keep = 1000000;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	close_archive(w);
	free(w->path);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

/* ---- events that are made of their number, so that a model knows them ---- */

static const char *const types[] = {"flow.new",	  "flow.refused", "guard.spoof-mac",
				    "vm.started", "audit.denied", "gate.alert"};

struct made {
	char body[1024];
	char vm[BH_UUID_TEXT_SIZE];
	struct manager_row row;
};

static uint32_t mix(uint64_t n, uint32_t salt)
{
	uint64_t h = (n + 1) * 0x9e3779b97f4a7c15ull ^ salt * 0xbf58476d1ce4e5b9ull;

	h ^= h >> 31;
	return (uint32_t)((h * 0x94d049bb133111ebull) >> 40);
}

static void make(uint64_t n, struct made *m)
{
	unsigned int vm = mix(n, 1) % 50;
	unsigned int severity = mix(n, 2) % 500 == 0 ? 3 : mix(n, 2) % 20 == 0 ? 2 : n & 1;
	const char *type = types[mix(n, 3) % BH_ARRAY_SIZE(types)];

	snprintf(m->vm, sizeof(m->vm), "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f%02u", vm);
	snprintf(m->body, sizeof(m->body),
		 "{\"v\":1,\"type\":\"%s\",\"time\":\"2026-11-22T00:00:00.000Z\",\"severity\":"
		 "\"info\",\"host\":\"h%u\",\"producer\":\"h%u\",\"seq\":%llu,\"vm\":\"%s\","
		 "\"vm_name\":\"shop-web-%u\",\"tenant\":\"t%u\",\"dir\":\"egress\",\"action\":"
		 "\"deny\",\"src\":\"10.0.%u.%u\",\"dst\":\"10.9.%u.%u\",\"sport\":%u,\"dport\":%u,"
		 "\"dst_vm\":\"db-%u\",\"note\":\"x%u here\"}",
		 type, mix(n, 4) % 8, mix(n, 4) % 8, (unsigned long long)n, m->vm, vm, vm % 10 + 2,
		 vm, 1u, mix(n, 5) % 200, mix(n, 6) % 200, 1024 + mix(n, 7) % 60000,
		 mix(n, 8) % 100, mix(n, 5) % 200, mix(n, 9) % 1000);
	m->row = (struct manager_row){
		.wall_ns = (int64_t)(1700000000 * BH_NS_PER_S + n * BH_NS_PER_MS),
		.src_tenant = vm % 10 + 2,
		.dst_tenant = mix(n, 5) % 3 ? 0 : mix(n, 5) % 10 + 2,
		.severity = (uint8_t)severity,
		.type = type,
		.host = "",
		.vm = m->vm,
		.peer = mix(n, 5) % 3 ? "" : VM_B,
		.verdict = mix(n, 3) % 2 ? "deny" : "",
		.body = m->body,
		.body_size = strlen(m->body),
	};
}

static void add_some(struct world *w, uint64_t from, uint64_t count)
{
	struct bh_diag diag = {};
	struct made m;

	assert_int_equal(manager_archive_begin(w->archive, &diag), 0);
	for (uint64_t i = 0; i < count; i++) {
		make(from + i, &m);
		assert_int_equal(manager_archive_add(w->archive, &m.row, &diag), 0);
	}
	assert_int_equal(manager_archive_end(w->archive, 0, &diag), 0);
}

struct found {
	uint64_t *items;
	size_t count, capacity;
	bool check_scope;
	const struct manager_scope *scope;
};

static int take(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	struct found *f = arg;

	*bh_vec_push(f) = id;
	assert_non_null(json);
	return 0;
}

static struct manager_event_filter everything(void)
{
	return (struct manager_event_filter){
		.scope.all = true, .flow_scope.all = true, .limit = 1000000};
}

static struct manager_listed list(struct world *w, const struct manager_event_filter *f,
				  struct found *found)
{
	struct manager_listed listed;
	struct bh_diag diag = {};

	found->count = 0;
	if (manager_reader_list(w->reader, f, take, found, &listed, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(listed.count, found->count);
	return listed;
}

/* ---- what is there is found ---- */

static void test_order_and_restart(void **state)
{
	struct world *w = *state;
	struct manager_event_filter f = everything();
	struct manager_archive_stats stats;
	struct found found = {};
	uint64_t total = 0;

	open_archive(w);
	for (unsigned int i = 0; i < 60; i++) { /* over frames and blocks, in pieces of all sizes */
		uint64_t count = mix(i, 40) % 400 + (i == 30 ? 5000 : 0);

		add_some(w, total, count);
		total += count;
		if (i % 17 == 5) {
			close_archive(w);
			open_archive(w);
		}
	}
	manager_archive_stats(w->archive, &stats);
	assert_int_equal(stats.first_id, 1);
	assert_int_equal(stats.last_id, total);
	assert_int_equal(stats.blocks, total / MANAGER_BLOCK_ROWS);
	assert_true(list(w, &f, &found).complete);
	assert_int_equal(found.count, total);
	for (size_t i = 0; i < found.count; i++) {
		assert_int_equal(found.items[i], total - i);
	}
	f.has_after = true;
	f.after = 4090;
	list(w, &f, &found);
	assert_int_equal(found.count, total - 4090);
	assert_int_equal(found.items[0], 4091);
	bh_vec_done(&found);
}

static bool model(const struct manager_event_filter *f, uint64_t id)
{
	struct manager_row *row;
	struct bh_wbuf view;
	struct bh_jtext event;
	const char *text;
	struct made m;
	bool passes;

	make(id - 1, &m);
	row = &m.row;
	bh_wbuf_init(&view, 0);
	text = manager_event_view(manager_filter_scope_of(f, row), row, &view);
	passes = manager_filter_passes(f, row) && text &&
		 !bh_jtext_parse(text, strlen(text), &event, NULL) &&
		 manager_query_matches(&f->query, &event);
	bh_wbuf_done(&view);
	return passes;
}

static void random_filter(unsigned int n, struct manager_event_filter *f)
{
	static const char *const words[] = {"x17",	  "x1*",       "dport:22", "\"x5 here\"",
					    "shop-web-7", "10.9.1.7",  "h3",	   "here -x3",
					    "web",	  "shop-web*", "db-9 deny"};
	struct bh_diag diag = {};

	*f = everything();
	if (mix(n, 20) % 3 == 0) {
		snprintf(f->type, sizeof(f->type), "%s",
			 mix(n, 21) % 2 ? "flow." : types[mix(n, 21) % BH_ARRAY_SIZE(types)]);
	}
	if (mix(n, 22) % 3 == 0) {
		f->severity = (int)(mix(n, 22) % 4);
	}
	if (mix(n, 23) % 4 == 0) {
		snprintf(f->vm, sizeof(f->vm), "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f%02u",
			 mix(n, 23) % 50);
	}
	f->flows = mix(n, 24) % 7 == 0;
	if (mix(n, 25) % 4 == 0) {
		snprintf(f->verdict, sizeof(f->verdict), "deny");
	}
	if (mix(n, 26) % 2) {
		struct manager_scope scope = {.count = 1 + mix(n, 27) % 3};

		for (size_t i = 0; i < scope.count; i++) {
			scope.tenants[i] = mix(n * 3 + i, 28) % 12 + 1;
		}
		manager_filter_scope(f, &scope);
		f->flow_scope.all = mix(n, 33) % 5 == 0;
	}
	if (mix(n, 29) % 2 &&
	    manager_query_parse(words[mix(n, 30) % BH_ARRAY_SIZE(words)], &f->query, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	f->tenant = mix(n, 31) % 6 == 0 ? mix(n, 31) % 12 : 0;
	if (mix(n, 32) % 5 == 0) {
		f->since_ns = 1700000000 * BH_NS_PER_S + mix(n, 32) % 9000 * BH_NS_PER_MS;
		f->until_ns = f->since_ns + 3000 * BH_NS_PER_MS;
	}
}

/* Any filter, by terms and blocks, finds what looking at everything finds; in pages too, while more
 * comes in. */
static void test_filters_property(void **state)
{
	enum { TOTAL = 9500 };
	struct world *w = *state;
	struct found found = {}, whole = {};
	uint64_t total = TOTAL;

	w->options.merge = 2; /* so a part of it lies in a large unit */
	open_archive(w);
	add_some(w, 0, TOTAL);
	for (unsigned int n = 0; n < 300; n++) {
		struct manager_event_filter f;
		struct manager_listed listed = {};
		uint64_t top = total;

		random_filter(n, &f);
		whole.count = 0;
		for (uint64_t id = top; id; id--) {
			if (model(&f, id)) {
				*bh_vec_push(&whole) = id;
			}
		}
		f.limit = 1 + mix(n, 34) % 200;
		for (size_t at = 0; !listed.complete;) {
			listed = list(w, &f, &found);
			for (size_t i = 0; i < found.count; i++, at++) {
				assert_true(at < whole.count);
				assert_int_equal(found.items[i], whole.items[at]);
			}
			f.before = listed.scanned;
			if (listed.complete) {
				assert_int_equal(at, whole.count);
			}
			if (n % 10 == 0 && total < TOTAL + 2000) {
				add_some(w, total, 20); /* newer than the first page */
				total += 20;
			}
		}
	}
	bh_vec_done(&found);
	bh_vec_done(&whole);
}

/* ---- nothing of others ---- */

static void no_word(const char *json, const char *word)
{
	if (strstr(json, word)) {
		fail_msg("'%s' is in %s", word, json);
	}
}

static void test_view(void **state)
{
	static const char body[] =
		"{\"v\":1,\"producer\":\"h1\",\"epoch\":\"e\",\"seq\":7,\"time\":\"2026-11-22T00"
		":00:"
		"00.000Z\",\"type\":\"flow.refused\",\"severity\":\"notice\",\"host\":\"h1\",\"v"
		"m\":"
		"\"" VM_A
		"\",\"vm_name\":\"bank-1\",\"tenant\":\"bank\",\"nic\":\"52:54:00:00:00:01\","
		"\"dir\":\"egress\",\"action\":\"deny\",\"src\":\"10.0.0.1\",\"dst\":\"10.0.0.2\","
		"\"src_mac\":\"52:54:00:00:00:01\",\"dst_mac\":\"52:54:00:00:00:02\",\"src_vm\":"
		"\"bank-1\",\"dst_vm\":\"shop-1\",\"rule\":17,\"rule_text\":\"bank/web egress[1]"
		": deny "
		"any\",\"other_rule_text\":\"provider/no-smb ingress[2] (secret.yaml:3): deny "
		"tcp/445\",\"future\":\"secret\"}";
	struct manager_row row = {.type = "flow.refused",
				  .host = "h1",
				  .vm = VM_A,
				  .peer = VM_B,
				  .verdict = "deny",
				  .src_tenant = 2,
				  .dst_tenant = 3,
				  .body = body,
				  .body_size = sizeof(body) - 1};
	struct manager_scope bank = {.tenants = {2}, .count = 1},
			     shop = {.tenants = {3}, .count = 1};
	struct manager_scope other = {.tenants = {4}, .count = 1}, all = {.all = true};
	struct bh_wbuf buf;
	const char *json;

	bh_wbuf_init(&buf, 0);
	assert_string_equal(manager_event_view(&all, &row, &buf), body);
	assert_null(manager_event_view(&other, &row, &buf));
	json = manager_event_view(&bank, &row, &buf);
	assert_non_null(strstr(json, "bank/web egress[1]"));
	assert_non_null(strstr(json, "\"src_of\":\"own\",\"dst_of\":\"other\""));
	for (size_t i = 0; i < 2; i++) {
		static const char *const secrets[] = {"h1",	 "shop-1", "secret",
						      "dst_mac", "epoch",  "no-smb"};
		static const char *const of_bank[] = {"h1", "bank", "secret", "52:54", VM_A, "seq"};

		json = manager_event_view(i ? &shop : &bank, &row, &buf);
		for (size_t k = 0; k < 6; k++) {
			no_word(json, i ? of_bank[k] : secrets[k]);
		}
	}
	json = manager_event_view(&shop, &row, &buf);
	assert_non_null(strstr(json, "\"other_rule_text\":\"guard-rail no-smb\""));
	assert_non_null(strstr(json, "10.0.0.1"));
	row.type = "migration.refused";
	assert_null(manager_event_view(&bank, &row, &buf));
	bh_wbuf_done(&buf);
}

/* Who may not see a thing does not find it by asking for it either. */
static void test_oracles(void **state)
{
	struct world *w = *state;
	struct manager_scope mine = {.tenants = {2}, .count = 1};
	struct found found = {};
	struct manager_event_filter f = everything();
	struct made m;
	struct bh_diag diag = {};

	open_archive(w);
	make(1, &m);
	m.row.src_tenant = 3;
	m.row.dst_tenant = 2;
	m.row.type = "flow.new";
	m.row.host = "h7";
	m.row.vm = VM_A; /* of tenant 3 */
	m.row.peer = VM_B;
	assert_int_equal(manager_archive_begin(w->archive, &diag), 0);
	assert_int_equal(manager_archive_add(w->archive, &m.row, &diag), 0);
	assert_int_equal(manager_archive_end(w->archive, 0, &diag), 0);
	manager_filter_scope(&f, &mine);
	list(w, &f, &found);
	assert_int_equal(found.count, 1); /* it is theirs too */
	snprintf(f.vm, sizeof(f.vm), VM_A);
	list(w, &f, &found);
	assert_int_equal(found.count, 0);
	snprintf(f.vm, sizeof(f.vm), VM_B);
	list(w, &f, &found);
	assert_int_equal(found.count, 1);
	snprintf(f.host, sizeof(f.host), "h7");
	list(w, &f, &found);
	assert_int_equal(found.count, 0);
	*f.host = *f.vm = '\0';
	f.tenant = 3;
	list(w, &f, &found);
	assert_int_equal(found.count, 0);
	f.tenant = 0;
	assert_int_equal(manager_query_parse("shop-web*", &f.query, &diag), 0);
	list(w, &f, &found);
	assert_int_equal(found.count, 0);
	memset(&f.scope, 0, sizeof(f.scope));
	memset(&f.flow_scope, 0, sizeof(f.flow_scope));
	f.query.count = 0;
	list(w, &f, &found);
	assert_int_equal(found.count, 0);
	bh_vec_done(&found);
}

/* ---- limits ---- */

static void test_retention(void **state)
{
	struct world *w = *state;
	struct manager_archive_stats stats;
	struct manager_event_filter f = everything();
	struct found found = {};
	struct bh_diag diag = {};

	w->options.keep = 12000;
	open_archive(w);
	for (uint64_t i = 0; i < 20; i++) {
		add_some(w, i * 1000, 1000);
	}
	manager_archive_stats(w->archive, &stats);
	assert_int_equal(stats.last_id, 20000);
	assert_in_range(stats.last_id - stats.first_id + 1, 12000, 12000 + MANAGER_BLOCK_ROWS);
	list(w, &f, &found);
	assert_int_equal(found.count, stats.last_id - stats.first_id + 1);
	assert_int_equal(found.items[found.count - 1], stats.first_id);
	close_archive(w);
	/* By size: of those blocks one is too much for 1 byte less than they have. */
	w->options.keep_bytes = stats.bytes - 1;
	open_archive(w);
	add_some(w, 20000, 1);
	manager_archive_stats(w->archive, &stats);
	assert_true(stats.bytes <= w->options.keep_bytes);
	/* By age: all but the newest block. */
	w->options.keep_days = 1;
	close_archive(w);
	open_archive(w);
	assert_int_equal(manager_archive_begin(w->archive, &diag), 0);
	assert_int_equal(manager_archive_end(w->archive, 1800000000 * BH_NS_PER_S, &diag), 0);
	manager_archive_stats(w->archive, &stats);
	assert_int_equal(stats.blocks, 1);
	assert_int_equal(stats.last_id, 20001);
	bh_vec_done(&found);
}

static void test_abort(void **state)
{
	struct world *w = *state;
	struct manager_archive_stats stats;
	struct manager_event_filter f = everything();
	struct found found = {};
	struct bh_diag diag = {};
	struct made m;

	open_archive(w);
	add_some(w, 0, 4000);
	assert_int_equal(manager_archive_begin(w->archive, &diag), 0);
	for (uint64_t i = 0; i < 500; i++) { /* over the end of the block */
		make(9000 + i, &m);
		assert_int_equal(manager_archive_add(w->archive, &m.row, &diag), 0);
	}
	manager_archive_abort(w->archive);
	manager_archive_stats(w->archive, &stats);
	assert_int_equal(stats.last_id, 4000);
	add_some(w, 4000, 5000);
	for (uint64_t id = 1; id <= 9000; id += 611) {
		struct made want;
		char word[32];

		make(id - 1, &want);
		snprintf(word, sizeof(word), "sport:%u", 1024 + mix(id - 1, 7) % 60000);
		assert_int_equal(manager_query_parse(word, &f.query, &diag), 0);
		list(w, &f, &found);
		assert_true(found.count > 0);
		for (size_t i = 0; i < found.count; i++) {
			assert_true(model(&f, found.items[i]));
		}
	}
	bh_vec_done(&found);
}

static void test_old_file(void **state)
{
	struct world *w = *state;
	struct manager_event_filter f = everything();
	struct found found = {};
	sqlite3 *db = NULL;
	BH_FREE char *aside = bh_asprintf("%s.old", w->path);

	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(
			db,
			"PRAGMA journal_mode=WAL; CREATE TABLE schema_version (version INTEGER);"
			"INSERT INTO schema_version VALUES (1);"
			"CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER,"
			" severity INTEGER, type TEXT, host TEXT, vm TEXT, peer TEXT, verdict TEXT,"
			" body TEXT);"
			"CREATE TABLE producers (producer TEXT, position INTEGER, epoch TEXT, last"
			" INTEGER, PRIMARY KEY (producer, position)) WITHOUT ROWID;"
			"CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
			"INSERT INTO producers VALUES ('h1', 0, 'e', 42);"
			"INSERT INTO totals VALUES ('missing', 3);"
			"WITH RECURSIVE n (i) AS (SELECT 101 UNION ALL SELECT i + 1 FROM n LIMIT"
			" 5000)"
			" INSERT INTO events SELECT i, i * 1000, 1, 'flow.new', 'h1', NULL, NULL,"
			" 'deny', '{\"type\":\"flow.new\",\"dport\":' || i || '}' FROM n;"
			"DELETE FROM events WHERE id = 200;",
			NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	open_archive(w);
	assert_int_not_equal(access(aside, F_OK), 0);
	list(w, &f, &found);
	assert_int_equal(found.count, 4999);
	assert_int_equal(found.items[0], 5100); /* the newest keeps its id */
	assert_int_equal(manager_db_number(manager_archive_db(w->archive), 0,
					   "SELECT last FROM producers WHERE producer = 'h1'", ""),
			 42);
	assert_int_equal(manager_db_number(manager_archive_db(w->archive), 0,
					   "SELECT value FROM totals", ""),
			 3);
	assert_int_equal(manager_query_parse("dport:4321", &f.query, NULL), 0);
	list(w, &f, &found);
	assert_int_equal(found.count, 1);
	bh_vec_done(&found);
}

/* A frame that is damaged costs what is in it and nothing else. */
static void test_damage(void **state)
{
	struct world *w = *state;
	struct manager_event_filter f = everything();
	struct found found = {};

	open_archive(w);
	add_some(w, 0, 5000);
	assert_int_equal(
		manager_db_run(manager_archive_db(w->archive), NULL,
			       "UPDATE frames SET data = substr(data, 1, 900) WHERE id = 257", ""),
		0);
	list(w, &f, &found);
	assert_int_equal(found.count, 5000 - MANAGER_FRAME_ROWS);
	bh_vec_done(&found);
}

static void change(struct world *w, const char *sql)
{
	assert_int_equal(manager_db_run(manager_archive_db(w->archive), NULL, sql, ""), 0);
}

/* An index that is damaged costs time and nothing else, before it is merged and after. */
static void test_damaged_index(void **state)
{
	struct world *w = *state;
	struct manager_event_filter f = everything();
	struct found found = {}, whole = {};

	w->options.merge = 2;
	open_archive(w);
	add_some(w, 0, 4096);
	assert_int_equal(manager_query_parse("here dport:22", &f.query, NULL), 0);
	list(w, &f, &whole);
	change(w, "UPDATE terms SET data = substr(data, 1, length(data) / 2)");
	list(w, &f, &found);
	assert_int_equal(found.count, whole.count);
	add_some(w, 4096, 5000); /* merges */
	assert_int_equal(manager_db_number(manager_archive_db(w->archive), 0,
					   "SELECT count(*) FROM units", ""),
			 1);
	for (int i = 0; i < 2; i++) {
		whole.count = 0;
		for (uint64_t id = 9096; id; id--) {
			if (model(&f, id)) {
				*bh_vec_push(&whole) = id;
			}
		}
		assert_true(whole.count > 0);
		list(w, &f, &found);
		assert_int_equal(found.count, whole.count);
		assert_memory_equal(found.items, whole.items, found.count * sizeof(uint64_t));
		change(w, "DELETE FROM units"); /* as if nobody had indexed anything */
	}
	bh_vec_done(&found);
	bh_vec_done(&whole);
}

/* Frames of the layout before units are indexed again, once. */
static void test_layout_before(void **state)
{
	struct world *w = *state;
	struct manager_archive_stats before, after;
	struct manager_event_filter f = everything();
	struct found found = {};

	open_archive(w);
	add_some(w, 0, 9500);
	manager_archive_stats(w->archive, &before);
	change(w, "DROP TABLE units");
	change(w, "DROP TABLE left_out");
	change(w, "ALTER TABLE blocks ADD COLUMN terms INTEGER");
	change(w, "UPDATE schema_version SET version = 1");
	close_archive(w);
	for (int i = 0; i < 2; i++) {
		open_archive(w);
		manager_archive_stats(w->archive, &after);
		assert_int_equal(after.last_id, 9500);
		assert_int_equal(after.first_id, 1);
		assert_int_equal(after.blocks, before.blocks);
		assert_int_equal(after.bytes, before.bytes);
		list(w, &f, &found);
		assert_int_equal(found.count, 9500);
		close_archive(w);
	}
	bh_vec_done(&found);
}

static void test_time_is_over(void **state)
{
	struct world *w = *state;
	struct manager_event_filter f = everything();
	struct found found = {};
	struct manager_listed listed = {};
	size_t rounds = 0;

	open_archive(w);
	add_some(w, 0, 40000);
	f.budget_ms = 1;
	assert_int_equal(manager_query_parse("-nothing \"x7 h\"", &f.query, NULL), 0);
	/* It ends early, and goes on from there until all is seen. */
	for (uint64_t before = UINT64_MAX; !listed.complete; before = listed.scanned) {
		listed = list(w, &f, &found);
		assert_true(listed.complete || listed.scanned < before);
		f.before = listed.scanned;
		rounds++;
	}
	assert_true(rounds > 1);
	bh_vec_done(&found);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_order_and_restart), T(test_filters_property), T(test_view),
		T(test_oracles),	   T(test_retention),	     T(test_abort),
		T(test_old_file),	   T(test_damage),	     T(test_time_is_over),
		T(test_damaged_index),	   T(test_layout_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
