/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way into the database and out of it as a page: what a host says stays what that
 * host says, whatever it says, and every page is JSON.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/events.h"
#include "manager_world.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define EPOCH "6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53"

struct world {
	uv_loop_t loop;
	char dir[64];
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_events *ev;
	json_t *page;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* Of any tenant. */
static uint64_t quota_of(uint32_t tenant, void *arg)
{
	return 2;
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct manager_events_options options = {.loop = &w->loop, .keep = 1000};
	BH_FREE char *path = NULL;

	snprintf(w->dir, sizeof(w->dir), "/var/tmp/bh-test-events-XXXXXX");
	if (!mkdtemp(w->dir) || uv_loop_init(&w->loop)) {
		return -1;
	}
	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	path = bh_asprintf("%s/events.db", w->dir);
	options.path = path;
	options.inv = w->inv;
	options.book = w->book;
	options.quota = quota_of;
	*state = w;
	return manager_events_new(&options, &w->ev, NULL);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	json_decref(w->page);
	manager_events_free(w->ev);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	uv_loop_close(&w->loop);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

/* As the API does it: the id in front of what is stored. */
static void add_item(uint64_t id, const char *type, const char *json, void *arg)
{
	struct world *w = arg;
	BH_FREE char *text = bh_asprintf("{\"id\":%llu,%s", (unsigned long long)id, json + 1);
	json_t *item = NULL;
	struct bh_diag diag = {};

	assert_null(strpbrk(json, "\r\n"));
	if (bh_json_load(text, strlen(text), 0, &item, &diag)) {
		fail_msg("%s: %s", diag.text, text);
	}
	json_array_append_new(w->page, item);
}

static void read_page(struct world *w)
{
	struct manager_event_filter filter = {
		.limit = 1000, .scope.all = true, .flow_scope.all = true};

	json_decref(w->page);
	w->page = json_array();
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(manager_events_list(w->ev, &filter, add_item, w, NULL, NULL), 0);
}

/* One event of host h1 with these members; how many events are stored afterwards. */
static size_t send_one(struct world *w, uint64_t seq, const char *type, const char *members)
{
	BH_FREE char *line = bh_asprintf(
		"{\"v\":1,\"producer\":\"h1\",\"epoch\":\"" EPOCH "\",\"seq\":%llu,\"time\":"
		"\"2026-11-22T00:00:00.123Z\",\"type\":\"%s\",\"severity\":\"notice\"%s}",
		(unsigned long long)seq, type, members);
	struct bh_event event;
	struct bh_event_message message = {.producer = "h1", .stream_seq = seq, .events = &event};
	struct bh_event_batch batch = {.messages = &message, .count = 1};
	struct bh_diag diag = {};

	message.count = !bh_event_parse(line, strlen(line), &event, &diag);
	batch.event_count = message.count;
	manager_events_batch(NULL, &batch, w->ev);
	read_page(w);
	return json_array_size(w->page);
}

static const char *last(const struct world *w, const char *key)
{
	return bh_json_str_or(json_array_get(w->page, json_array_size(w->page) - 1), key, "");
}

static void test_lies(void **state)
{
	struct world *w = *state;

	assert_int_equal(send_one(w, 1, "flow.refused",
				  ",\"host\":\"h2\",\"id\":7,\"action\":\"deny\",\"verdict\":"
				  "\"allow\",\"rule\":0,\"rule_text\":\"allow all\",\"src_vm\":"
				  "\"bank\",\"note\":\"a\\\"b\\u2028\""),
			 1);
	assert_string_equal(last(w, "host"), "h1");
	assert_string_equal(last(w, "verdict"), "deny");
	assert_string_equal(last(w, "rule_text"), "");
	assert_string_equal(last(w, "src_vm"), "");
	assert_string_equal(last(w, "note"), "a\"b\xe2\x80\xa8");
	assert_string_equal(last(w, "producer"), "h1");
	/* of the wrong kinds */
	assert_int_equal(send_one(w, 2, "flow.new",
				  ",\"host\":[1],\"vm\":{\"a\":null},\"action\":7,\"net\":-1,"
				  "\"src\":\"10.0.0.1\",\"dst\":true,\"rule\":99999999999"),
			 2);
	assert_string_equal(last(w, "host"), "h1");
	/* no line end gets in, however it is written */
	assert_int_equal(send_one(w, 3, "x", ",\"a\":\r\n1"), 2);
	assert_int_equal(send_one(w, 3, "x", ",\"a\":\"\r\""), 2);
	assert_int_equal(send_one(w, 3, "x", ",\"a\":\"\\r\\n\""), 3);
	/* nothing behind it */
	assert_int_equal(send_one(w, 4, "x", "}{"), 3);
	assert_int_equal(send_one(w, 4, "x", ",\"a\":1,\"a\":2"), 3);
}

static void test_numbers(void **state)
{
	struct world *w = *state;

	assert_int_equal(send_one(w, 1, "x", ""), 1);
	assert_int_equal(send_one(w, 1, "x", ""), 1); /* a repeat */
	assert_int_equal(send_one(w, 5, "x", ""), 3); /* 2 to 4 never came */
	assert_string_equal(bh_json_str_or(json_array_get(w->page, 1), "type", ""), "gap");
	assert_int_equal(bh_json_u64_or(json_array_get(w->page, 1), "from", 0), 2);
	assert_int_equal(bh_json_u64_or(json_array_get(w->page, 1), "to", 0), 4);
}

static void test_own(void **state)
{
	struct world *w = *state;

	manager_events_own(w->ev, "audit.test", BH_SEVERITY_WARNING,
			   json_pack("{s:s, s:s, s:f, s:[b]}", "tenant", "shop", "rule_text",
				     "mine", "x", 0.5, "y", 1));
	read_page(w);
	assert_int_equal(json_array_size(w->page), 1);
	assert_string_equal(last(w, "type"), "audit.test");
	assert_string_equal(last(w, "tenant"), "shop");
	assert_string_equal(last(w, "rule_text"), "mine");
	assert_string_equal(last(w, "severity"), "warning");
}

static size_t send_flow(struct world *w, uint64_t seq, const char *type, const char *more)
{
	BH_FREE char *members =
		bh_asprintf(",\"action\":\"deny\",\"dir\":\"egress\",\"vm\":"
			    "\"00000000-0000-4000-8000-000000000001\",\"dport\":%llu%s",
			    (unsigned long long)seq, more);

	return send_one(w, seq, type, members);
}

static int add_up(const struct manager_talk *talk, void *arg)
{
	*(uint64_t *)arg += talk->count;
	return 0;
}

/* Flows beyond the quota are counted, and told once; guards and what is nobody's are kept; talks
 * have all of them. */
static void test_quota(void **state)
{
	struct world *w = *state;
	struct manager_host *host = manager_host_add(w->inv, "h1", 1);
	BH_JSON json_t *vms = json_pack("[o]", manager_world_vm(1, "running", "web"));
	struct manager_events_options options = {
		.loop = &w->loop, .keep = 1000, .inv = w->inv, .book = w->book, .quota = quota_of};
	BH_FREE char *events = bh_strdup(manager_events_path(w->ev));
	BH_FREE char *path = bh_strdup(manager_events_talks_path(w->ev));
	struct manager_talks_query talks = {.scope.all = true};
	const json_t *told;
	json_t *rejected;
	uint64_t count = 0;

	assert_int_equal(manager_inventory_report(w->inv, host, vms, 1, &rejected, NULL), 0);
	json_decref(rejected);
	assert_int_equal(send_flow(w, 1, "flow.refused", ""), 1);
	assert_int_equal(send_flow(w, 2, "flow.new", ""), 2);
	assert_int_equal(send_flow(w, 3, "flow.refused", ""), 3);
	told = json_array_get(w->page, 2);
	assert_string_equal(last(w, "type"), "quota.events");
	assert_string_equal(last(w, "tenant"), "shop");
	assert_string_equal(last(w, "severity"), "warning");
	assert_string_equal(last(w, "reason"), "quota");
	assert_int_equal(bh_json_u64_or(told, "left_out", 0), 1);
	assert_int_equal(bh_json_u64_or(told, "limit", 0), 2);
	for (uint64_t seq = 4; seq < 13; seq++) { /* told in a minute */
		assert_int_equal(send_flow(w, seq, "flow.refused", ""), 3);
	}
	assert_int_equal(send_flow(w, 12, "flow.refused", ""), 3); /* it was counted already */
	assert_int_equal(send_flow(w, 13, "guard.spoof-mac", ""), 4);
	assert_int_equal(send_one(w, 14, "flow.refused", ",\"action\":\"deny\""), 5);
	talks.path = path;
	manager_events_free(bh_steal(&w->ev)); /* writes talks */
	assert_int_equal(manager_talks_each(&talks, add_up, &count, NULL), 0);
	assert_int_equal(count, 13);
	/* The next manager tells the rest. */
	options.path = events;
	assert_int_equal(manager_events_new(&options, &w->ev, NULL), 0);
	manager_events_poke(w->ev);
	read_page(w);
	assert_int_equal(json_array_size(w->page), 6);
	assert_int_equal(bh_json_u64_or(json_array_get(w->page, 5), "left_out", 0), 9);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_lies),
		T(test_numbers),
		T(test_own),
		T(test_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
