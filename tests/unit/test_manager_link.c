/* SPDX-License-Identifier: Apache-2.0 */
/* A host that lies or repeats itself, over a real nats-server, and what the manager makes of it. */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "manager/link/link.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const hosts[] = {"h1", "h2"};
#define VM   "00000000-0000-4000-8000-000000000001"
#define ONE  "first-session"
#define TWO  "second-session"
#define FROM "session-of-h2"

static struct world {
	struct lab lab;
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_link *link;
	struct bh_bus *manager, *h1, *h2;
} w;

static int setup(void **state)
{
	struct manager_distribute_options dist = {.loop = &w.lab.loop};
	struct bh_diag diag = {};

	memset(&w, 0, sizeof(w));
	lab_init(&w.lab);
	if (manager_store_open(":memory:", &w.db, &diag) < 0 ||
	    manager_inventory_new(w.db, "default", &w.inv, &diag) < 0 ||
	    manager_rulebook_new(w.db, &w.book, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_inventory_set_policies(w.inv, manager_rulebook_set(w.book));
	assert_non_null(manager_host_add(w.inv, "h1", 1));
	assert_non_null(manager_host_add(w.inv, "h2", 1));
	lab_server_start(&w.lab, hosts, BH_ARRAY_SIZE(hosts));
	w.manager = lab_client_up(&w.lab, "manager");
	w.h1 = lab_client_up(&w.lab, "host.h1");
	w.h2 = lab_client_up(&w.lab, "host.h2");
	w.link = manager_link_new(w.manager, w.inv);
	dist.inv = w.inv;
	dist.book = w.book;
	dist.carrier = manager_link_carrier(w.link);
	w.dist = manager_distribute_new(&dist);
	manager_link_serve(w.link, w.dist);
	lab_settle(&w.lab, 100);
	return 0;
}

static int teardown(void **state)
{
	bh_bus_free(w.h1);
	bh_bus_free(w.h2);
	manager_distribute_close(w.dist);
	bh_bus_free(w.manager);
	lab_settle(&w.lab, 50);
	manager_distribute_free(w.dist);
	manager_link_free(w.link);
	manager_rulebook_free(w.book);
	manager_inventory_free(w.inv);
	manager_db_close(w.db);
	lab_done(&w.lab);
	return 0;
}

struct answer {
	bool there;
	char code[32];
};

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct answer *a = arg;

	a->there = true;
	snprintf(a->code, sizeof(a->code), "%s", err ? bh_bus_reply_code(err, reply) : "ok");
}

static bool answered(void *arg)
{
	return ((struct answer *)arg)->there;
}

/* Sends `body` as a request of that type and expects an answer with this code. */
static void ask(struct bh_bus *bus, const char *session, int64_t n, const char *type, json_t *body,
		const char *want)
{
	struct bh_bus_msg msg = {.json = body ? body : json_object()};
	struct answer a = {};

	json_object_set_new(msg.json, "type", json_string(type));
	json_object_set_new(msg.json, "session", json_string(session));
	if (n >= 0) {
		json_object_set_new(msg.json, "n", json_integer(n));
	}
	bh_bus_request(bus, bus == w.h1 ? "bh.host.h1.req" : "bh.host.h2.req", &msg, 5000,
		       on_answer, &a);
	json_decref(msg.json);
	assert_true(lab_until(&w.lab, answered, &a));
	if (strcmp(a.code, want) != 0) {
		fail_msg("%s %s %lld: \"%s\", expected \"%s\"", session, type, (long long)n, a.code,
			 want);
	}
}

static json_t *inventory(const char *state)
{
	json_t *nic = json_pack("{s:s, s:s, s:[s]}", "mac", "52:54:00:00:00:01", "net",
				"bridge/br0", "addresses", "10.0.0.1");

	return json_pack("{s:[{s:s, s:s, s:s, s:s, s:{s:s}, s:[o]}]}", "vms", "uuid", VM, "name",
			 "one", "state", state, "tenant", "shop", "labels", "role", "web", "nics",
			 nic);
}

static const struct manager_vm *vm(void)
{
	struct manager_vm *found;

	HASH_FIND_STR(w.inv->vms, VM, found);
	return found;
}

static void repeats_are_refused(void **state)
{
	uint64_t replays = bh_counter_get("link_replays");

	ask(w.h1, ONE, 1, "hello", NULL, "ok");
	ask(w.h1, ONE, 1, "hello", NULL, "replay");
	ask(w.h1, ONE, 3, "inventory", inventory("running"), "ok");
	assert_string_equal(vm()->report.state, "running");
	/* The same message again, an older one, one without a number, one of another session. */
	ask(w.h1, ONE, 3, "inventory", inventory("shutoff"), "session");
	ask(w.h1, ONE, 2, "inventory", inventory("shutoff"), "session");
	ask(w.h1, ONE, -1, "inventory", inventory("shutoff"), "session");
	ask(w.h1, TWO, 99, "inventory", inventory("shutoff"), "session");
	assert_string_equal(vm()->report.state, "running");
	assert_int_equal(bh_counter_get("link_replays"), replays + 5);
	/* A new session begins with hello, and ends the old one. */
	ask(w.h1, TWO, 1, "hello", NULL, "ok");
	ask(w.h1, ONE, 4, "inventory", inventory("shutoff"), "session");
	ask(w.h1, TWO, 2, "inventory", inventory("shutoff"), "ok");
	assert_string_equal(vm()->report.state, "shutoff");
	/* Whoever spends all numbers has to begin anew, and can. */
	ask(w.h1, TWO, INT64_MAX, "inventory", inventory("running"), "ok");
	ask(w.h1, TWO, INT64_MAX, "inventory", inventory("shutoff"), "session");
	ask(w.h1, ONE, 1, "hello", NULL, "ok");
}

/* Who speaks is known from the subject; what a host says of others' VMs changes nothing. */
static void lies_about_others_change_nothing(void **state)
{
	const struct manager_host *h1 = manager_host_find(w.inv, "h1");

	ask(w.h1, ONE, 1, "hello", NULL, "ok");
	ask(w.h2, FROM, 1, "hello", json_pack("{s:s}", "host", "h1"), "ok");
	assert_string_equal(h1->session, ONE);
	ask(w.h1, ONE, 2, "inventory", inventory("running"), "ok");
	ask(w.h2, FROM, 2, "inventory", inventory("running"), "ok"); /* with it rejected in it */
	assert_ptr_equal(vm()->host, h1);
	ask(w.h2, FROM, 3, "learned",
	    json_pack("{s:s, s:s, s:s, s:s, s:i}", "host", "h1", "vm", VM, "mac",
		      "52:54:00:00:00:01", "address", "10.0.0.66", "lease_s", 60),
	    "bad");
	assert_int_equal(vm()->nics[0].learned_count, 0);
	ask(w.h2, FROM, 4, "inventory", json_pack("{s:[]}", "vms"), "ok");
	assert_ptr_equal(vm()->host, h1); /* it can't make it go either */
}

static void nonsense_changes_nothing(void **state)
{
	ask(w.h1, "short", 1, "hello", NULL, "bad");
	ask(w.h1, ONE, -1, "hello", NULL, "bad");
	ask(w.h1, ONE, 1, "hello", NULL, "ok");
	ask(w.h1, ONE, 2, "inventory", inventory("running"), "ok");
	ask(w.h1, ONE, 3, "inventory", json_pack("{s:s}", "vms", "all"), "bad");
	ask(w.h1, ONE, 4, "inventory", NULL, "bad");
	ask(w.h1, ONE, 5, "rule the world", NULL, "unknown");
	ask(w.h1, ONE, 6, "learned", json_pack("{s:s}", "vm", VM), "bad");
	ask(w.h1, ONE, 7, "learned",
	    json_pack("{s:s, s:s, s:s}", "vm", VM, "mac", "52:54:00:00:00:01", "address",
		      "224.0.0.1"),
	    "bad");
	assert_string_equal(vm()->report.state, "running");
	assert_int_equal(vm()->nics[0].learned_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(repeats_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(lies_about_others_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_changes_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
