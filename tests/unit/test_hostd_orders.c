/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of the manager in the whole access engine: done once, for VMs of this host, and told. The
 * dummy platform lets libvirt's own test driver do them. */
#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "bus/subject.h"
#include "host/agent/orders.h"
#include "hostd_world.h"

#include <libvirt/libvirt.h>

#define DRIVEN	  "6695eb01-f6a4-8304-79aa-97f2502e193f" /* the test driver's only VM, running */
#define ANSWER_MS 8000

static struct {
	bool done;
	int err;
	json_t *json; /* of the answer */
} got;

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	got.done = true;
	got.err = err;
	json_decref(got.json);
	got.json = reply ? json_incref(reply->json) : NULL;
}

static bool is_answered(void)
{
	return got.done;
}

static void ask_begin(json_t *body)
{
	BH_JSON json_t *owned = body;
	struct bh_bus_msg msg = {.json = owned};
	char subject[BH_SUBJECT_SIZE];

	got.done = false;
	bh_bus_request(w.bus, bh_subject_cmd("h1", subject), &msg, ANSWER_MS, on_answer, NULL);
}

static const char *member(const char *key)
{
	return bh_json_str_or(got.json, key, "");
}

static json_t *order_json(const char *id, const char *vm, const char *act)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "type", "order", "id", id, "vm", vm, "act", act);
}

/* The answer that ends it: a slow machine is asked again, as the manager does. */
static void ask(json_t *body)
{
	BH_JSON json_t *again = json_pack("{s:s, s:s, s:b}", "type", "order", "id",
					  bh_json_str_or(body, "id", ""), "look", 1);

	ask_begin(body);
	world_wait(is_answered, "an answer");
	while (got.err == 0 && !strcmp(member("state"), "running")) {
		ask_begin(json_incref(again));
		world_wait(is_answered, "an answer");
	}
}

static void refused(json_t *body, const char *code)
{
	ask(body);
	assert_int_equal(got.err, BH_BUS_REFUSED);
	assert_string_equal(member("code"), code);
}

static void done(json_t *body, bool changed, const char *vm_state)
{
	ask(body);
	if (got.err) {
		fail_msg("%d: %s %s", got.err, member("code"), member("error"));
	}
	if (strcmp(member("state"), "done") != 0) {
		fail_msg("%s: %s", member("state"), member("error"));
	}
	assert_int_equal(json_is_true(json_object_get(got.json, "changed")), changed);
	assert_string_equal(member("vm_state"), vm_state);
}

#define ID(digit) "0000000000000000000000000000000" digit

static bool vm_known(void)
{
	uint8_t uuid[16];

	return bh_uuid_parse(DRIVEN, uuid) == 0 && hostd_inventory_find(w.agent->inv, uuid);
}

static void start(void)
{
	BH_FREE char *path = bh_asprintf("%s/platform/domains/test.xml", w.dir);

	world_write(path, "<domain type='test'><name>test</name><uuid>" DRIVEN
			  "</uuid><devices/></domain>");
	world_start();
	world_wait(world_session_up, "the session");
	world_wait(vm_known, "the VM");
}

static void test_acts(void **state)
{
	start();
	done(order_json(ID("1"), DRIVEN, "start"), false, "running");
	done(order_json(ID("2"), DRIVEN, "suspend"), true, "paused");
	done(order_json(ID("3"), DRIVEN, "suspend"), false, "paused");
	done(order_json(ID("4"), DRIVEN, "resume"), true, "running");
	done(order_json(ID("2"), DRIVEN, "suspend"), true, "paused"); /* what it was then: */
	done(order_json(ID("5"), DRIVEN, "start"), false, "running"); /* nothing was done */
	world_stop();
}

static void test_refused(void **state)
{
	start();
	refused(order_json(ID("a"), WORLD_VM, "start"), "no_vm");
	refused(order_json(ID("b"), DRIVEN, "format"), "bad");
	refused(order_json("b", DRIVEN, "start"), "bad");
	refused(json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "order", "id", ID("c"), "vm", DRIVEN,
			  "act", "migrate", "to", "a b"),
		"bad");
	refused(json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "order", "id", ID("c"), "vm", DRIVEN,
			  "act", "migrate", "to", "h1"),
		"bad");
	refused(json_pack("{s:s, s:s, s:b}", "type", "order", "id", ID("d"), "look", 1), "unknown");
	refused(json_pack("{s:s, s:s}", "type", "order-cancel", "id", ID("d")), "unknown");
	ask(order_json(ID("e"), DRIVEN, "revert"));
	assert_int_equal(got.err, 0);
	assert_string_equal(member("state"), "failed"); /* there is no snapshot of no name */
	assert_true(*member("error"));
	world_stop();
}

/* Ends are kept; what was under way when hostd ended has none. */
static void test_restart(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/orders.json", w.config.state_dir);
	BH_JSON json_t *kept = NULL;
	BH_FREE char *text = NULL;

	start();
	done(order_json(ID("6"), DRIVEN, "suspend"), true, "paused");
	world_stop();
	kept = hostd_agent_load(path);
	assert_non_null(json_object_get(kept, ID("6")));
	json_object_set_new(kept, ID("7"),
			    json_pack("{s:s, s:s, s:s, s:I}", "vm", DRIVEN, "act", "reset", "state",
				      "running", "at", (json_int_t)1));
	text = bh_json_dump(kept);
	world_write(path, text);
	start();
	done(order_json(ID("6"), DRIVEN, "suspend"), true, "paused");
	ask(order_json(ID("7"), DRIVEN, "reset"));
	assert_string_equal(member("state"), "unknown");
	done(order_json(ID("8"), DRIVEN, "resume"), true, "running");
	world_stop();
}

static void test_snapshots(void **state)
{
	json_t *body = order_json(ID("9"), DRIVEN, "snapshot");

	start();
	json_object_set_new(body, "name", json_string("was"));
	json_object_set_new(body, "description", json_string("a < b & c"));
	done(body, true, "running");
	ask(order_json(ID("f"), DRIVEN, "snapshots"));
	assert_int_equal(json_array_size(json_object_get(got.json, "list")), 1);
	body = json_array_get(json_object_get(got.json, "list"), 0);
	assert_string_equal(bh_json_str_or(body, "name", ""), "was");
	assert_string_equal(bh_json_str_or(body, "description", ""), "a < b & c");
	assert_true(json_is_true(json_object_get(body, "current")));
	body = order_json("11111111111111111111111111111111", DRIVEN, "snapshot-delete");
	json_object_set_new(body, "name", json_string("was"));
	done(body, true, "running");
	json_decref(bh_steal(&got.json));
	world_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_snapshots),
	};

	/* Its VMs begin anew when nobody is connected. */
	virConnectPtr conn = virConnectOpen("test:///default");
	int r = world_run("hostd_orders", tests, BH_ARRAY_SIZE(tests));

	virConnectClose(conn);
	return r;
}
