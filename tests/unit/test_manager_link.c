/* SPDX-License-Identifier: Apache-2.0 */
/* A host that lies or repeats itself, over a real nats-server, and what the manager makes of it. */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "manager/link/link.h"
#include "manager_world.h"

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
	struct manager_migrate *migrate;
	struct bh_bus *manager, *h1, *h2;
	char heard[8][32]; /* commands but apply and ping, as "host type" */
	size_t heard_count;
	bool gone; /* the source does not know the VM */
} w;

/* What a good host answers. */
static void on_command(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	bool last =
		bh_json_u64_or(msg->json, "part", 0) + 1 == bh_json_u64_or(msg->json, "parts", 1);

	if (strcmp(type, "apply") == 0) {
		bh_bus_reply(req,
			     last ? json_pack("{s:s}", "hash", bh_json_str_or(msg->json, "to", ""))
				  : NULL);
		return;
	}
	if (strcmp(type, "ping") != 0 && w.heard_count < BH_ARRAY_SIZE(w.heard)) {
		snprintf(w.heard[w.heard_count++], sizeof(w.heard[0]), "%s %.20s",
			 (const char *)arg, type);
	}
	if (strcmp(type, "depart") == 0 && w.gone) {
		bh_bus_reply_error(req, "gone", "it does not run here");
	} else if (strcmp(type, "depart") == 0) {
		bh_bus_reply(req, json_pack("{s:i, s:[]}", "connections", 3, "by"));
	} else {
		bh_bus_reply(req, NULL);
	}
}

static int setup(void **state)
{
	struct manager_distribute_options dist = {.loop = &w.lab.loop};
	struct manager_migrate_options migrate = {.command = manager_link_command};
	struct bh_diag diag = {};

	memset(&w, 0, sizeof(w));
	lab_init(&w.lab);
	manager_world_open(":memory:", &w.db, &w.inv, &w.book);
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
	migrate.inv = w.inv;
	migrate.dist = w.dist;
	migrate.command_arg = w.link;
	assert_int_equal(manager_migrate_new(&migrate, &w.migrate, &diag), 0);
	manager_link_set_migrate(w.link, w.migrate);
	manager_link_serve(w.link, w.dist);
	bh_bus_serve(w.h1, "bh.host.h1.cmd", "_INBOX.manager.", on_command, (void *)"h1");
	bh_bus_serve(w.h2, "bh.host.h2.cmd", "_INBOX.manager.", on_command, (void *)"h2");
	lab_settle(&w.lab, 100);
	return 0;
}

static int teardown(void **state)
{
	bh_bus_free(w.h1);
	bh_bus_free(w.h2);
	manager_migrate_close(w.migrate);
	manager_distribute_close(w.dist);
	bh_bus_free(w.manager);
	lab_settle(&w.lab, 50);
	manager_migrate_free(w.migrate);
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
	json_t **keep; /* NULL: not wanted */
};

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct answer *a = arg;

	a->there = true;
	snprintf(a->code, sizeof(a->code), "%s", err ? bh_bus_reply_code(err, reply) : "ok");
	if (a->keep && reply) {
		*a->keep = json_incref(reply->json);
	}
}

static bool answered(void *arg)
{
	return ((struct answer *)arg)->there;
}

struct asked {
	const char *session;
	int64_t n;
	json_t **ret_reply; /* owned */
};

static void ask_full(struct bh_bus *bus, const struct asked *asked, const char *type, json_t *body,
		     const char *want)
{
	struct bh_bus_msg msg = {.json = body ? body : json_object()};
	struct answer a = {.keep = asked->ret_reply};
	const char *session = asked->session;
	int64_t n = asked->n;

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

/* Sends `body` as a request of that type and expects an answer with this code. */
static void ask(struct bh_bus *bus, const char *session, int64_t n, const char *type, json_t *body,
		const char *want)
{
	ask_full(bus, &(struct asked){session, n, NULL}, type, body, want);
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

/* ---- a VM that travels ---- */

static json_t *migrate(const char *state)
{
	BH_JSON json_t *all = inventory(state);

	return json_pack("{s:O, s:s, s:[{s:s}]}", "vm",
			 json_array_get(json_object_get(all, "vms"), 0), "why", "live", "by",
			 "user", "root");
}

static json_t *migrated(const char *id, const char *phase)
{
	const char *hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

	return json_pack("{s:s, s:s, s:{s:i, s:s, s:{s:i, s:s}}}", "migration", id, "phase", phase,
			 "receipt", "connections", 3, "hash", hash, "mark", "connections", 3,
			 "hash", hash);
}

static void meet(void)
{
	ask(w.h1, ONE, 1, "hello", NULL, "ok");
	ask(w.h2, FROM, 1, "hello", NULL, "ok");
	ask(w.h1, ONE, 2, "inventory", inventory("running"), "ok");
	ask(w.h2, FROM, 2, "inventory", json_pack("{s:[]}", "vms"), "ok");
	lab_settle(&w.lab, 100);
}

static bool both_heard(void *arg)
{
	return w.heard_count >= 3;
}

static void a_vm_travels(void **state)
{
	BH_JSON json_t *reply = NULL;
	BH_JSON json_t *again = NULL;
	const json_t *listed;
	const char *id;

	meet();
	ask_full(w.h2, &(struct asked){FROM, 3, &reply}, "migrate", migrate("paused"), "ok");
	id = bh_json_str_or(reply, "migration", "");
	assert_int_equal(strlen(id), 32);
	assert_string_equal(bh_json_str_or(reply, "source", ""), "h1");
	assert_int_equal(strlen(bh_json_str_or(reply, "hash", "")), 2 * BH_HASH_SIZE);
	assert_string_equal(w.heard[0], "h1 depart");
	/* Only the target can say what it holds, and hello tells both what is open. */
	ask(w.h1, ONE, 3, "migrated", migrated(id, "installed"), "bad");
	ask(w.h2, FROM, 4, "migrated", migrated(id, "installed"), "ok");
	ask_full(w.h2, &(struct asked){"third-session", 1, &again}, "hello", NULL, "ok");
	listed = json_array_get(json_object_get(again, "migrations"), 0);
	assert_string_equal(bh_json_str_or(listed, "migration", ""), id);
	assert_string_equal(bh_json_str_or(listed, "role", ""), "target");
	assert_string_equal(bh_json_str_or(listed, "phase", ""), "installed");
	/* Its start needs nobody; then it runs there, and here no more. */
	ask(w.h2, "third-session", 2, "birth", migrate("shutoff"), "ok");
	ask(w.h2, "third-session", 3, "inventory", inventory("running"), "ok");
	assert_string_equal(vm()->host->name, "h1");
	ask(w.h2, "third-session", 4, "migrated", migrated(id, "final"), "ok");
	ask(w.h1, ONE, 4, "inventory", json_pack("{s:[]}", "vms"), "ok");
	assert_string_equal(vm()->host->name, "h2");
	assert_true(lab_until(&w.lab, both_heard, NULL));
	assert_true(
		(!strcmp(w.heard[1], "h1 depart-end") && !strcmp(w.heard[2], "h2 arrive-end")) ||
		(!strcmp(w.heard[2], "h1 depart-end") && !strcmp(w.heard[1], "h2 arrive-end")));
}

static void travel_is_refused(void **state)
{
	meet();
	w.gone = true;
	ask(w.h2, FROM, 3, "migrate", migrate("paused"), "refused");
	ask(w.h2, FROM, 4, "migrate", json_pack("{s:s}", "vm", "all"), "bad");
	ask(w.h2, FROM, 5, "migrated", migrated("nonsense", "installed"), "unknown");
	ask(w.h1, ONE, 3, "migrate", migrate("paused"), "refused");
	assert_string_equal(vm()->host->name, "h1");
	assert_null(vm()->incoming);
	assert_null(w.migrate->open);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(repeats_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(lies_about_others_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_vm_travels, setup, teardown),
		cmocka_unit_test_setup_teardown(travel_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
