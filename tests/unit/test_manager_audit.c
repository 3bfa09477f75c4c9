/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's audit log: what is written, that it can be verified, what it does with a full disk,
 * a crash, and a database that was changed behind its back. */
#include "manager/audit/internal.h"
#include "manager/store/db.h"
#include "model/audit_verify.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NOW 1790000000000000000ull

struct world {
	char dir[32];
	char *path, *key, *head;
	struct manager_audit *audit;
	json_t *told;
};

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:o}", "type", type, "body", body));
}

static struct manager_audit *reopen(struct world *w)
{
	struct manager_audit_options o = {.path = w->path,
					  .key_file = w->key,
					  .head_file = w->head,
					  .reserve_bytes = 65536,
					  .notice = on_notice,
					  .notice_arg = w->told,
					  .wall_ns = NOW};
	struct bh_diag diag = {};

	w->audit = NULL;
	if (manager_audit_open(&o, &w->audit, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	return w->audit;
}

static int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/bh-audit-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->path = bh_asprintf("%s/audit.db", w->dir);
	w->key = bh_asprintf("%s/audit.key", w->dir);
	w->head = bh_asprintf("%s/audit.head", w->dir);
	w->told = json_array();
	reopen(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	BH_FREE char *command = bh_asprintf("rm -rf %s", w->dir);

	manager_audit_close(w->audit);
	json_decref(w->told);
	free(w->path);
	free(w->key);
	free(w->head);
	free(w);
	*state = NULL;
	return system(command) == 0 ? 0 : -1;
}

static const char *const names[] = {"", "provider", "shop", "bank"};

static struct manager_audit_note note(uint32_t tenant, const char *user, const char *object)
{
	return (struct manager_audit_note){.tenant = tenant,
					   .tenant_name = names[tenant],
					   .user = user,
					   .role = "tenant-admin",
					   .factor = "totp",
					   .from = "192.0.2.1",
					   .via = "session",
					   .act = "vm.labels",
					   .object = object,
					   .state = "done",
					   .result = "done",
					   .code = 200,
					   .request = "00"};
}

/* An act with its two entries. */
static void act(struct manager_audit *audit, uint32_t tenant, const char *user, uint64_t now)
{
	struct manager_audit_note n = note(tenant, user, "vm/1");
	struct bh_diag diag = {};
	int64_t open = 0;

	if (manager_audit_begin(audit, &n, now, &open, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_audit_end(audit, open, &n, 1, now);
}

static char *export(struct manager_audit *audit, uint32_t tenant, uint64_t since, uint64_t until)
{
	struct manager_audit_export_options o = {.tenant = tenant,
						 .tenant_name = names[tenant],
						 .since_ns = since,
						 .until_ns = until,
						 .wall_ns = NOW};
	struct manager_audit_export *x = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf w;
	char *text;
	int r;

	bh_wbuf_init(&w, 0);
	assert_int_equal(manager_audit_export_new(audit, &o, &x, &diag), 0);
	while ((r = manager_audit_export_read(x, &w, &diag)) > 0) {
	}
	if (r < 0) {
		fail_msg("%s", diag.text);
	}
	manager_audit_export_free(x);
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

static int verify(struct manager_audit *audit, const char *text, struct bh_audit_report *ret)
{
	BH_FREE char *pem = bh_audit_key_pem(manager_audit_key(audit), false);
	struct bh_audit_key *key = NULL;
	struct bh_audit_verifier *v;
	struct bh_diag diag = {};
	int r;

	assert_int_equal(bh_audit_key_read(pem, strlen(pem), &key, &diag), 0);
	v = bh_audit_verifier_new(&key, 1);
	r = bh_audit_verify_bytes(v, text, strlen(text), &diag);
	r = r ? r : bh_audit_verify_end(v, ret, &diag);
	if (r) {
		*ret = *bh_audit_verify_report(v);
		print_message("    %s: %s\n", bh_audit_wrong_name((enum bh_audit_wrong)r),
			      diag.text);
	}
	bh_audit_verifier_free(v);
	bh_audit_key_free(key);
	return r;
}

static void expect_good(struct manager_audit *audit, uint32_t tenant, uint64_t count)
{
	struct bh_audit_report report;
	BH_FREE char *text = export(audit, tenant, 0, 0);

	assert_int_equal(verify(audit, text, &report), 0);
	assert_int_equal(report.count, count);
}

/* ---- written and read ---- */

static void test_export(void **state)
{
	struct world *w = *state;
	struct bh_audit_report report;
	BH_FREE char *part = NULL, *later = NULL;

	for (unsigned int i = 0; i < 700; i++) {
		act(w->audit, 1 + i % 3, "anna", NOW + i * BH_NS_PER_S);
		manager_audit_tick(w->audit, NOW + i * BH_NS_PER_S);
	}
	expect_good(w->audit, 0, 1400);
	expect_good(w->audit, 2, 466);
	part = export(w->audit, 2, 0, 0);
	assert_null(strstr(part, "\"tenant\":1,"));
	assert_null(strstr(part, "bank"));
	assert_null(strstr(part, "\"seq\""));
	later = export(w->audit, 0, NOW + 100 * BH_NS_PER_S, NOW + 200 * BH_NS_PER_S);
	assert_int_equal(verify(w->audit, later, &report), 0);
	assert_int_equal(report.from, 201);
	assert_int_equal(report.to, 400);
	later[strlen(later) - 300] = '\0';
	assert_int_not_equal(verify(w->audit, later, &report), 0);
	/* again after a restart: the same chain goes on */
	manager_audit_close(w->audit);
	act(reopen(w), 2, "bert", NOW + 800 * BH_NS_PER_S);
	expect_good(w->audit, 0, 1402);
	expect_good(w->audit, 3, 466);
	assert_int_equal(json_array_size(w->told), 0);
}

static void test_empty(void **state)
{
	struct world *w = *state;

	expect_good(w->audit, 0, 0);
	expect_good(w->audit, 2, 0);
}

static void test_seals(void **state)
{
	struct world *w = *state;
	struct bh_audit_report report;
	BH_FREE char *text = NULL;
	BH_JSON json_t *stats = NULL;

	act(w->audit, 2, "anna", NOW);
	manager_audit_tick(w->audit, NOW + 599 * BH_NS_PER_S);
	stats = manager_audit_stats(w->audit);
	assert_int_equal(bh_json_u64_or(stats, "sealed", 9), 0);
	manager_audit_tick(w->audit, NOW + 600 * BH_NS_PER_S);
	json_decref(stats);
	stats = manager_audit_stats(w->audit);
	assert_int_equal(bh_json_u64_or(stats, "sealed", 9), 2);
	for (int i = 0; i < 500; i++) {
		act(w->audit, 2, "anna", NOW + 601 * BH_NS_PER_S);
	}
	manager_audit_tick(w->audit, NOW + 601 * BH_NS_PER_S); /* a thousand: at once */
	text = export(w->audit, 2, 0, 0);
	assert_int_equal(verify(w->audit, text, &report), 0);
	assert_int_equal(report.checkpoints, 2);
}

struct listing {
	char ids[64][MANAGER_AUDIT_ID_SIZE];
	size_t count;
	bool numbers;
	const char *never; /* must not be in any line */
};

static void take(uint64_t seq, const char *id, const char *line, void *arg)
{
	struct listing *l = arg;

	assert_true(l->count < 64);
	snprintf(l->ids[l->count++], MANAGER_AUDIT_ID_SIZE, "%s", id);
	l->numbers |= seq != 0;
	assert_true(!l->never || !strstr(line, l->never));
}

/* All pages; the number of entries. */
static size_t list_all(struct manager_audit *audit, struct manager_audit_filter f,
		       struct listing *l)
{
	char next[MANAGER_AUDIT_ID_SIZE];
	struct bh_diag diag = {};

	do {
		size_t before = l->count;

		assert_int_equal(manager_audit_list(audit, &f, take, l, next, &diag), 0);
		assert_true(l->count - before <= f.limit);
		f.has_before = *next != '\0';
		assert_true(!*next ||
			    manager_audit_id_parse(next, &f.before_tenant, &f.before_tseq) == 0);
	} while (*next);
	return l->count;
}

static void test_list(void **state)
{
	struct world *w = *state;
	struct manager_audit_filter all = {.scope = {.all = true}, .limit = 7};
	struct manager_audit_filter two = {.scope = {.tenants = {2, 3}, .count = 2}, .limit = 5};
	struct listing l = {};
	char next[MANAGER_AUDIT_ID_SIZE];

	for (unsigned int i = 0; i < 12; i++) {
		act(w->audit, 1 + i % 3, i % 2 ? "anna" : "bert", NOW + i * BH_NS_PER_S);
	}
	assert_int_equal(list_all(w->audit, all, &l), 24);
	assert_true(l.numbers);
	l = (struct listing){.never = "provider"};
	assert_int_equal(list_all(w->audit, two, &l), 16);
	assert_false(l.numbers);
	assert_string_equal(l.ids[0], "3.8");
	assert_string_equal(l.ids[2], "2.8");
	all.user = "anna";
	l = (struct listing){.never = "bert"};
	assert_int_equal(list_all(w->audit, all, &l), 12);
	all.user = NULL;
	all.act = "vm.*";
	all.q = "BERT";
	l = (struct listing){.never = "anna"};
	assert_int_equal(list_all(w->audit, all, &l), 12);
	all.act = "policy.*";
	l = (struct listing){};
	assert_int_equal(list_all(w->audit, all, &l), 0);
	all = (struct manager_audit_filter){
		.scope = {.all = true}, .since_ns = NOW + 10 * BH_NS_PER_S, .limit = 50};
	assert_int_equal(list_all(w->audit, all, &l), 4);
	/* an entry of somebody else is no cursor */
	two.has_before = true;
	two.before_tenant = 1;
	two.before_tseq = 2;
	assert_int_equal(manager_audit_list(w->audit, &two, take, &l, next, NULL), -ENOENT);
}

/* Whatever acts come in whatever order, a tenant's export and list hold nothing of another. */
static void test_tenants_apart(void **state)
{
	struct world *w = *state;
	BH_FREE char *part = NULL;
	struct listing l = {.never = "SECRET"};
	struct manager_audit_filter f = {.scope = {.tenants = {2}, .count = 1}, .limit = 64};
	BH_JSON json_t *state_json = json_pack("{s:s}", "label", "SECRET");
	unsigned int random = 12345, mine = 0;
	char next[MANAGER_AUDIT_ID_SIZE];
	struct bh_audit_report report;

	for (unsigned int i = 0; i < 200; i++) {
		struct manager_audit_note notes[3];
		size_t count = 0;
		int64_t open = 0;

		random = random * 1103515245u + 12345u;
		for (uint32_t t = 1; t <= 3; t++) {
			if ((random >> (8 + t)) & 1) {
				notes[count] = note(t, t == 2 ? "mine" : "SECRET-user",
						    t == 2 ? "vm/mine" : "vm/SECRET");
				notes[count].after = t == 2 ? NULL : state_json;
				notes[count++].reason = t == 2 ? NULL : "SECRET";
				mine += t == 2;
			}
		}
		if (!count) {
			continue;
		}
		if (random & (1u << 20)) {
			mine += notes[0].tenant == 2;
			assert_int_equal(manager_audit_begin(w->audit, &notes[0], NOW, &open, NULL),
					 0);
		}
		manager_audit_end(w->audit, open, notes, count, NOW);
		if (i % 37 == 0) {
			manager_audit_tick(w->audit, NOW + i * 700 * BH_NS_PER_S);
		}
	}
	part = export(w->audit, 2, 0, 0);
	assert_int_equal(verify(w->audit, part, &report), 0);
	assert_int_equal(report.count, mine);
	assert_null(strstr(part, "SECRET"));
	assert_null(strstr(part, "bank"));
	assert_null(strstr(part, "provider"));
	f.limit = 60;
	assert_int_equal(manager_audit_list(w->audit, &f, take, &l, next, NULL), 0);
	assert_int_equal(l.count, 60);
}

static void test_limited(void **state)
{
	struct world *w = *state;
	struct manager_audit_note n = note(1, "mallory", "vm/9");
	struct listing l = {};
	struct manager_audit_filter f = {.scope = {.all = true}, .limit = 64};
	BH_FREE char *text = NULL;
	int passed = 0;

	for (int i = 0; i < 500; i++) {
		passed += manager_audit_denied(w->audit, &n, NOW);
	}
	assert_int_equal(passed, 10);
	manager_audit_tick(w->audit, NOW + 61 * BH_NS_PER_S);
	assert_int_equal(list_all(w->audit, f, &l), 11);
	text = export(w->audit, 0, 0, 0);
	assert_non_null(strstr(text, "\"left_out\":489"));
	/* many users do not make the table grow without end */
	for (int i = 0; i < 3000; i++) {
		char user[16];

		snprintf(user, sizeof(user), "u%d", i);
		n.user = user;
		passed += manager_audit_denied(w->audit, &n, NOW + 62 * BH_NS_PER_S);
	}
	assert_int_equal(passed, 10 + 1024 + 10);
}

/* ---- a crash ---- */

static void test_unknown(void **state)
{
	struct world *w = *state;
	struct manager_audit_note n = note(2, "anna", "vm/7");
	BH_FREE char *text = NULL;
	int64_t open = 0;
	pid_t pid;
	int status;

	manager_audit_close(w->audit);
	pid = fork();
	if (pid == 0) {
		reopen(w);
		if (manager_audit_begin(w->audit, &n, NOW, &open, NULL) == 0) {
			kill(getpid(), SIGKILL);
		}
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	reopen(w);
	text = export(w->audit, 2, 0, 0);
	assert_non_null(strstr(text, "\"state\":\"unknown\",\"user\":\"anna\""));
	assert_non_null(strstr(text, "\"result\":\"unknown\""));
	expect_good(w->audit, 2, 2);
	manager_audit_close(w->audit);
	reopen(w); /* once */
	expect_good(w->audit, 0, 2);
}

/* ---- acts that share a wait for the disk ---- */

enum { TOGETHER = 3 };

static void begin_together(struct manager_audit *audit, struct manager_audit_note notes[TOGETHER],
			   int64_t open[TOGETHER])
{
	static const char *const objects[TOGETHER] = {"vm/0", "vm/1", "vm/2"};
	struct bh_diag diag = {};

	for (int i = 0; i < TOGETHER; i++) {
		notes[i] = note(2, "anna", objects[i]);
	}
	if (manager_audit_begin_all(audit, notes, TOGETHER, NOW, open, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
}

static unsigned int count_of(const char *text, const char *words)
{
	unsigned int count = 0;

	for (const char *p = text; (p = strstr(p, words)); p++) {
		count++;
	}
	return count;
}

static void test_together(void **state)
{
	struct world *w = *state;
	struct manager_audit_note notes[TOGETHER];
	BH_FREE char *text = NULL;
	int64_t open[TOGETHER];

	begin_together(w->audit, notes, open);
	assert_true(open[0] < open[1] && open[1] < open[2]);
	assert_false(manager_audit_waits(w->audit));
	for (int i = 0; i < TOGETHER; i++) {
		manager_audit_end_soon(w->audit, open[i], &notes[i], 1, NOW);
	}
	assert_true(manager_audit_waits(w->audit));
	manager_audit_flush(w->audit);
	assert_false(manager_audit_waits(w->audit));
	/* whatever is written at once takes along what waits, in front of it */
	begin_together(w->audit, notes, open);
	manager_audit_end_soon(w->audit, open[0], &notes[0], 1, NOW);
	manager_audit_end(w->audit, open[1], &notes[1], 1, NOW);
	assert_false(manager_audit_waits(w->audit));
	/* who reads sees it */
	manager_audit_end_soon(w->audit, open[2], &notes[2], 1, NOW);
	text = export(w->audit, 2, 0, 0);
	assert_int_equal(count_of(text, "\"state\":\"done\""), 2 * TOGETHER);
	expect_good(w->audit, 2, 4 * TOGETHER);
	manager_audit_close(w->audit);
	reopen(w);
	expect_good(w->audit, 0, 4 * TOGETHER); /* nothing was left open */
}

enum crash { CRASH_BEGUN, CRASH_WAITS, CRASH_TAKEN_ALONG, CRASH_FLUSHED, CRASH_COUNT };

/* Three acts have begun, two have ended, and the third is under way. */
static void crash_at(struct world *w, enum crash where)
{
	struct manager_audit_note notes[TOGETHER], other = note(2, "berta", "vm/9");
	int64_t open[TOGETHER], another;

	reopen(w);
	begin_together(w->audit, notes, open);
	if (where == CRASH_BEGUN) {
		return;
	}
	manager_audit_end_soon(w->audit, open[0], &notes[0], 1, NOW);
	manager_audit_end_soon(w->audit, open[1], &notes[1], 1, NOW);
	if (where == CRASH_TAKEN_ALONG) {
		(void)!manager_audit_begin(w->audit, &other, NOW, &another, NULL);
	} else if (where == CRASH_FLUSHED) {
		manager_audit_flush(w->audit);
	}
}

/* An end that nobody was told of is unknown, one that was let go is there; never both. */
static void test_crashes(void **state)
{
	static const struct {
		unsigned int done, unknown;
	} expected[] = {[CRASH_BEGUN] = {0, 3},
			[CRASH_WAITS] = {0, 3},
			[CRASH_TAKEN_ALONG] = {2, 2},
			[CRASH_FLUSHED] = {2, 1}};
	struct world *w = *state;
	unsigned int done = 0, unknown = 0;
	int status;

	manager_audit_close(w->audit);
	for (int where = 0; where < CRASH_COUNT; where++) {
		BH_FREE char *text = NULL;
		pid_t pid = fork();

		if (pid == 0) {
			crash_at(w, (enum crash)where);
			kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		reopen(w);
		text = export(w->audit, 2, 0, 0);
		done += expected[where].done;
		unknown += expected[where].unknown;
		assert_int_equal(count_of(text, "\"state\":\"done\""), done);
		assert_int_equal(count_of(text, "\"state\":\"unknown\""), unknown);
		assert_int_equal(count_of(text, "\"state\":\"begun\""), done + unknown);
		expect_good(w->audit, 2, 2 * (uint64_t)(done + unknown));
		manager_audit_close(w->audit);
	}
	reopen(w);
}

/* ---- a full disk ---- */

/* No file may grow beyond `size`. SQLite takes that for a full disk; nothing is signalled. */
static void limit_files(rlim_t size)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full(void **state)
{
	struct world *w = *state;
	struct manager_audit_note n = note(2, "anna", "vm/7");
	struct listing l = {};
	struct manager_audit_filter f = {.scope = {.all = true}, .limit = 64};
	struct bh_diag diag = {};
	int64_t open = 0, other = 0;

	act(w->audit, 2, "anna", NOW);
	assert_int_equal(manager_audit_begin(w->audit, &n, NOW, &open, NULL), 0);
	limit_files(1);
	assert_true(manager_audit_begin(w->audit, &n, NOW, &other, &diag) < 0);
	assert_true(*diag.text);
	/* an act that runs ends; its entry waits */
	manager_audit_end(w->audit, open, &n, 1, NOW);
	assert_false(manager_audit_ready(w->audit));
	assert_int_equal(list_all(w->audit, f, &l), 3); /* reading goes on */
	limit_files(RLIM_INFINITY);
	/* no new act before the end of the old one is written */
	assert_true(manager_audit_begin(w->audit, &n, NOW, &other, &diag) < 0);
	manager_audit_tick(w->audit, NOW);
	assert_true(manager_audit_ready(w->audit));
	act(w->audit, 2, "anna", NOW);
	expect_good(w->audit, 0, 6);
}

/* Of acts that would begin together none does; the ends of others are kept and written later. */
static void test_full_together(void **state)
{
	struct world *w = *state;
	struct manager_audit_note notes[TOGETHER], others[2];
	int64_t open[TOGETHER], refused[2] = {-1, -1};
	struct bh_diag diag = {};

	begin_together(w->audit, notes, open);
	others[0] = others[1] = notes[0];
	manager_audit_end_soon(w->audit, open[0], &notes[0], 1, NOW);
	limit_files(1);
	assert_true(manager_audit_begin_all(w->audit, others, 2, NOW, refused, &diag) < 0);
	assert_true(*diag.text && refused[0] == 0 && refused[1] == 0);
	assert_true(manager_audit_waits(w->audit)); /* it is not lost with them */
	manager_audit_flush(w->audit);
	assert_false(manager_audit_waits(w->audit));
	assert_false(manager_audit_ready(w->audit));
	manager_audit_end_soon(w->audit, open[1], &notes[1], 1, NOW);
	manager_audit_end(w->audit, open[2], &notes[2], 1, NOW);
	limit_files(RLIM_INFINITY);
	assert_true(manager_audit_begin_all(w->audit, others, 2, NOW, refused, &diag) < 0);
	manager_audit_tick(w->audit, NOW);
	assert_true(manager_audit_ready(w->audit));
	expect_good(w->audit, 0, 2 * TOGETHER);
}

/* While the disk is full for long, what people are denied is counted and not piled up in memory. */
static void test_full_for_long(void **state)
{
	struct world *w = *state;
	struct manager_audit_note n = note(2, "anna", "vm/7");
	int64_t open = 0;

	assert_int_equal(manager_audit_begin(w->audit, &n, NOW, &open, NULL), 0);
	limit_files(1);
	for (unsigned int i = 0; i < AUDIT_LATE_MAX + 7; i++) {
		manager_audit_add(w->audit, &n, NOW);
	}
	manager_audit_end(w->audit, open, &n, 1, NOW); /* an act that runs has its entry */
	limit_files(RLIM_INFINITY);
	while (!manager_audit_ready(w->audit)) {
		manager_audit_tick(w->audit, NOW);
	}
	expect_good(w->audit, 0, AUDIT_LATE_MAX + 2);
	BH_FREE char *text = export(w->audit, 0, 0, 0);
	assert_non_null(strstr(text, "\"left_out\":7"));
}

/* On a file system that is full the reserve lets the end of an act through. */
static void test_reserve(void **state)
{
	struct world *w = *state;
	BH_FREE char *reserve = bh_asprintf("%s.reserve", w->path);
	struct stat st;

	assert_true(manager_audit_ready(w->audit));
	assert_int_equal(stat(reserve, &st), 0);
	assert_int_equal(st.st_size, 65536);
	assert_true(st.st_blocks * 512 >= 65536);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* ---- changed behind its back ---- */

static void run_sql(struct world *w, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_changed(void **state)
{
	static const char *const changes[] = {
		"UPDATE entries SET line = replace(line, 'anna', 'bert') WHERE seq = 3",
		"UPDATE entries SET line = replace(line, 'anna', 'bert') WHERE seq = 10",
		"UPDATE entries SET prev = x'00' WHERE seq = 8",
		"DELETE FROM entries WHERE seq = 8",
		"DELETE FROM entries WHERE seq = 10",
		"DELETE FROM entries WHERE seq > 7; UPDATE chains SET seq = 7 WHERE tenant = 0",
		"UPDATE seals SET line = replace(line, '\"to\":3', '\"to\":4')",
		"DELETE FROM seals",
	};
	struct world *w = *state;

	for (size_t i = 0; i < BH_ARRAY_SIZE(changes); i++) {
		struct manager_audit_note n = note(2, "anna", "vm/1");
		struct manager_audit *first;

		for (int k = 0; k < 3; k++) {
			manager_audit_add(w->audit, &n, NOW);
		}
		manager_audit_tick(w->audit, NOW + 3600 * BH_NS_PER_S);
		for (int k = 0; k < 7; k++) {
			manager_audit_add(w->audit, &n, NOW);
		}
		first = w->audit; /* stays open, as after a crash: closing would seal */
		run_sql(w, changes[i]);
		reopen(w);
		assert_int_equal(json_array_size(w->told), 1);
		assert_string_equal(bh_json_str_or(json_array_get(w->told, 0), "type", ""),
				    "audit.broken");
		json_array_clear(w->told);
		manager_audit_close(first);
		teardown(state);
		setup(state);
		w = *state;
	}
}

/* An older copy of the database, whole and signed; and a new one in its place. */
static void test_older_copy(void **state)
{
	struct world *w = *state;
	BH_FREE char *copy = bh_asprintf("cp %s %s.old", w->path, w->path);
	BH_FREE char *back = bh_asprintf("rm -f %s-wal %s-shm; mv %s.old %s", w->path, w->path,
					 w->path, w->path);
	BH_FREE char *away = bh_asprintf("rm -f %s*", w->path);

	act(w->audit, 2, "anna", NOW);
	manager_audit_close(w->audit);
	assert_int_equal(system(copy), 0);
	act(reopen(w), 2, "bert", NOW);
	manager_audit_close(w->audit);
	reopen(w);
	assert_int_equal(json_array_size(w->told), 0);
	manager_audit_close(w->audit);
	assert_int_equal(system(back), 0);
	reopen(w);
	assert_int_equal(json_array_size(w->told), 1);
	json_array_clear(w->told);
	manager_audit_close(w->audit);
	assert_int_equal(system(away), 0);
	reopen(w);
	assert_int_equal(json_array_size(w->told), 1);
	json_array_clear(w->told);
	manager_audit_close(w->audit);
	reopen(w); /* told once: from then on it is this log */
	assert_int_equal(json_array_size(w->told), 0);
}

static void test_newer_key(void **state)
{
	struct world *w = *state;
	struct bh_audit_verifier *v = bh_audit_verifier_new(NULL, 0);
	struct bh_audit_report report;
	BH_FREE char *text = NULL;

	act(w->audit, 2, "anna", NOW);
	manager_audit_close(w->audit); /* seals with the first key */
	assert_int_equal(unlink(w->key), 0);
	reopen(w);
	act(w->audit, 2, "anna", NOW);
	text = export(w->audit, 0, 0, 0);
	/* the new key alone does not vouch for the old checkpoint: both have to be trusted */
	assert_int_equal(verify(w->audit, text, &report), BH_AUDIT_KEY);
	assert_int_equal(report.wrong_line, 4);
	assert_int_equal(bh_audit_verify_bytes(v, text, strlen(text), NULL), 0);
	assert_int_equal(bh_audit_verify_end(v, &report, NULL), 0);
	assert_false(report.trusted);
	bh_audit_verifier_free(v);
}

/* ---- pruning ---- */

static void test_prune(void **state)
{
	struct world *w = *state;
	struct bh_audit_report report;
	struct bh_audit_hash head = {};
	BH_FREE char *archive = NULL, *text = NULL, *rest = NULL;
	struct bh_diag diag = {};
	char *at;

	for (int i = 0; i < 10; i++) {
		act(w->audit, 1 + (uint32_t)i % 3, "anna", NOW);
	}
	assert_int_equal(manager_audit_prune(w->audit, 20, &head, &diag),
			 MANAGER_AUDIT_NO_STATEMENT);
	archive = export(w->audit, 0, 0, 0);
	at = strstr(archive, "\"statement\"");
	assert_non_null(at);
	at = strstr(at, "\"head\":\"");
	assert_non_null(at);
	text = strndup(at + 8, 64);
	assert_int_equal(bh_hex_parse(text, head.bytes, 32), 0);
	act(w->audit, 2, "bert", NOW);
	assert_int_equal(manager_audit_prune(w->audit, 22, &head, &diag),
			 MANAGER_AUDIT_NO_STATEMENT);
	assert_int_equal(manager_audit_prune(w->audit, 20, &head, &diag), 0);
	rest = export(w->audit, 0, 0, 0);
	assert_int_equal(verify(w->audit, rest, &report), 0);
	assert_int_equal(report.from, 21);
	assert_int_equal(report.to, 22);
	assert_int_equal(verify(w->audit, archive, &report), 0);
	manager_audit_close(w->audit);
	act(reopen(w), 2, "bert", NOW);
	assert_int_equal(json_array_size(w->told), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_export),	  TEST(test_empty),	    TEST(test_seals),
		TEST(test_list),	  TEST(test_tenants_apart), TEST(test_limited),
		TEST(test_unknown),	  TEST(test_full),	    TEST(test_full_for_long),
		TEST(test_reserve),	  TEST(test_together),	    TEST(test_crashes),
		TEST(test_full_together), TEST(test_changed),	    TEST(test_newer_key),
		TEST(test_older_copy),	  TEST(test_prune),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
