/* SPDX-License-Identifier: Apache-2.0 */
/* Orders about VMs: given once, asked about until they end, whatever gets lost on the way. */
#include "manager/orders/orders.h"

#include "base/json.h"
#include "base/time.h"
#include "manager_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NS	  ((uint64_t)1000000000)
#define PARTS_MAX 16

/* The host: what it was sent, and how it answers. */
static struct {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_vm *vm;
	struct manager_orders *orders;
	json_t *sent[PARTS_MAX];
	unsigned int count;
	bh_bus_reply_fn *fn;
	void *arg;
	unsigned int ended, watched;
	enum manager_order_state watched_state;
} w;

static void command(const char *host, json_t *body, uint64_t timeout_ms, bh_bus_reply_fn *fn,
		    void *arg, void *command_arg)
{
	assert_string_equal(host, "h1");
	assert_true(w.count < PARTS_MAX);
	w.sent[w.count++] = body;
	if (fn) {
		w.fn = fn;
		w.arg = arg;
	}
}

static void answer(int err, json_t *json)
{
	struct bh_bus_msg msg = {.json = json};
	bh_bus_reply_fn *fn = w.fn;

	assert_non_null(fn);
	w.fn = NULL;
	fn(err, json ? &msg : NULL, w.arg);
	json_decref(json);
}

static void on_ended(struct manager_order *order, void *arg)
{
	w.ended++;
}

static void on_watched(struct manager_order *order, void *arg)
{
	w.watched++;
	w.watched_state = order->state;
}

static int setup(void **state)
{
	struct manager_orders_options options = {.command = command, .ended = on_ended};
	BH_JSON json_t *vms = json_pack("[o]", manager_world_vm(1, "running", "web"));
	struct manager_host *host;
	json_t *rejected = NULL;

	memset(&w, 0, sizeof(w));
	manager_world_open(":memory:", &w.db, &w.inv, &w.book);
	host = manager_host_add(w.inv, "h1", 1);
	assert_int_equal(
		manager_inventory_report(w.inv, host, vms, bh_time_wall_ns(), &rejected, NULL), 0);
	json_decref(rejected);
	w.vm = host->vms;
	assert_non_null(w.vm);
	w.orders = manager_orders_new(&options);
	return 0;
}

static int teardown(void **state)
{
	manager_orders_free(w.orders);
	for (unsigned int i = 0; i < w.count; i++) {
		json_decref(w.sent[i]);
	}
	manager_rulebook_free(w.book);
	manager_inventory_free(w.inv);
	manager_db_close(w.db);
	return 0;
}

static int begin(const char *act, const char *request, struct manager_order **ret)
{
	struct manager_order_what what = {.act = act,
					  .by = "user:op@shop",
					  .request = request,
					  .name = "",
					  .description = "",
					  .to = "",
					  .reason = ""};
	struct bh_diag diag = {};

	return manager_orders_begin(w.orders, w.vm, &what, ret, &diag);
}

static json_t *running(int percent)
{
	return json_pack("{s:s, s:i}", "state", "running", "percent", percent);
}

static json_t *done(void)
{
	return json_pack("{s:s, s:b, s:s, s:s}", "state", "done", "changed", 1, "vm_state",
			 "paused", "error", "");
}

static const json_t *last(void)
{
	return w.sent[w.count - 1];
}

static bool looks(void)
{
	return json_is_true(json_object_get(last(), "look"));
}

static void test_done(void **state)
{
	struct manager_order *o = NULL;

	assert_int_equal(begin("suspend", "", &o), 0);
	assert_string_equal(bh_json_str_or(last(), "act", ""), "suspend");
	assert_string_equal(bh_json_str_or(last(), "vm", ""), w.vm->uuid);
	assert_false(looks());
	manager_orders_watch(o, 60000, on_watched, NULL);
	answer(0, running(40));
	assert_true(looks()); /* asked again at once: the host waits for the end */
	assert_int_equal(o->percent, 40);
	assert_int_equal(w.watched, 0);
	answer(0, done());
	assert_int_equal(o->state, MANAGER_ORDER_DONE);
	assert_string_equal(o->vm_state, "paused");
	assert_string_equal(o->before, "running");
	assert_int_equal(w.watched, 1);
	assert_int_equal(w.ended, 1);
}

static void test_lost_answers(void **state)
{
	uint64_t now = bh_time_mono_ns();
	struct manager_order *o = NULL;

	assert_int_equal(begin("reset", "", &o), 0);
	answer(-ETIMEDOUT, NULL);
	assert_int_equal(o->state, MANAGER_ORDER_RUNNING);
	manager_orders_tick(w.orders, now);
	assert_int_equal(w.count, 2);
	assert_true(looks()); /* never the order itself again */
	answer(-ENOTCONN, NULL);
	manager_orders_tick(w.orders, now + NS);
	manager_orders_tick(w.orders, now + 2 * NS); /* one question at a time */
	assert_int_equal(w.count, 3);
	assert_true(looks());
	answer(0, done());
	assert_int_equal(o->state, MANAGER_ORDER_DONE);
}

static json_t *refusal(const char *code)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", "no");
}

static void test_never_arrived(void **state)
{
	struct manager_order *o = NULL;

	assert_int_equal(begin("reset", "", &o), 0);
	answer(-ETIMEDOUT, NULL);
	manager_orders_tick(w.orders, bh_time_mono_ns());
	answer(BH_BUS_REFUSED, refusal("unknown"));
	assert_int_equal(o->state, MANAGER_ORDER_FAILED);
	assert_non_null(strstr(o->error, "never got it"));
	assert_int_equal(begin("reset", "", &o), 0);
	answer(-EHOSTUNREACH, NULL);
	assert_int_equal(o->state, MANAGER_ORDER_FAILED);
	assert_non_null(strstr(o->error, "nothing was done"));
	assert_int_equal(begin("reset", "", &o), 0);
	answer(BH_BUS_REFUSED, refusal("no_vm"));
	assert_int_equal(o->state, MANAGER_ORDER_FAILED);
	assert_int_equal(w.ended, 3);
}

static void test_unknown(void **state)
{
	uint64_t now = bh_time_mono_ns();
	struct manager_order *o = NULL;

	assert_int_equal(begin("reset", "", &o), 0);
	answer(0, running(0));
	answer(BH_BUS_REFUSED, refusal("unknown")); /* it had it, and lost it */
	assert_int_equal(o->state, MANAGER_ORDER_UNKNOWN);
	assert_int_equal(begin("migrate", "", &o), 0);
	answer(-ETIMEDOUT, NULL);
	manager_orders_tick(w.orders, now + 3500 * NS);
	answer(-ETIMEDOUT, NULL);
	assert_int_equal(o->state, MANAGER_ORDER_RUNNING);
	manager_orders_tick(w.orders, now + 3700 * NS);
	assert_int_equal(o->state, MANAGER_ORDER_UNKNOWN);
}

static void test_once(void **state)
{
	struct manager_order *first = NULL, *o = NULL;
	char id[MANAGER_ORDER_ID_SIZE];

	assert_int_equal(begin("reboot", "monday", &first), 0);
	memcpy(id, first->id, sizeof(id));
	assert_int_equal(begin("reboot", "monday", &o), MANAGER_ORDER_AGAIN);
	assert_ptr_equal(o, first);
	assert_int_equal(w.count, 1);
	assert_int_equal(begin("suspend", "", &o), MANAGER_ORDER_BUSY);
	assert_int_equal(begin("destroy", "", &o), 0); /* goes past the other */
	answer(0, done());
	manager_orders_tick(w.orders, bh_time_mono_ns()); /* the fake host has one caller only */
	/* Another manager gives it the same number: the host knows it. */
	teardown(NULL);
	setup(NULL);
	assert_int_equal(begin("reboot", "monday", &o), 0);
	assert_string_equal(o->id, id);
}

static void test_watch_ends(void **state)
{
	uint64_t now = bh_time_mono_ns();
	struct manager_order *o = NULL;
	struct manager_order_watch *gone;

	assert_int_equal(begin("shutdown", "", &o), 0);
	manager_orders_watch(o, 1000, on_watched, NULL);
	gone = manager_orders_watch(o, 1000, on_watched, NULL);
	manager_orders_unwatch(gone);
	manager_orders_tick(w.orders, now);
	assert_int_equal(w.watched, 0);
	manager_orders_tick(w.orders, now + 2 * NS);
	assert_int_equal(w.watched, 1);
	assert_int_equal(w.watched_state, MANAGER_ORDER_RUNNING);
	manager_orders_close(w.orders);
	answer(-ECANCELED, NULL);
	assert_int_equal(w.ended, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_arrived, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_ends, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
