/* SPDX-License-Identifier: Apache-2.0 */
/* Which VMs come back older than they were, their quarantine, and what a restart keeps of it. */
#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/inventory/inventory.h"
#include "policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <cmocka.h>

#define VM    "00000000-0000-4000-8000-000000000001"
#define OTHER "00000000-0000-4000-8000-000000000002"

struct world {
	char path[64];
	struct manager_db *db;
	struct manager_inventory *inv;
	struct bh_policy_set *policies;
	json_t *noticed;
};

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	json_object_set_new(body, "type", json_string(type));
	json_array_append_new(w->noticed, body);
}

static const char *last_notice(const struct world *w, const char *key)
{
	return bh_json_str_or(json_array_get(w->noticed, json_array_size(w->noticed) - 1), key, "");
}

static void start(struct world *w)
{
	struct bh_diag diag = {};

	if (manager_store_open(w->path, &w->db, &diag) < 0 ||
	    manager_inventory_new(w->db, "default", &w->inv, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	w->inv->notice = on_notice;
	w->inv->notice_arg = w;
	manager_inventory_set_policies(w->inv, w->policies);
}

static void stop(struct world *w)
{
	assert_int_equal(manager_inventory_save(w->inv, false, NULL), 0);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
}

static int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));
	int fd;

	*state = w;
	snprintf(w->path, sizeof(w->path), "/tmp/test_manager_rollback.XXXXXX");
	fd = mkstemp(w->path);
	close(fd);
	w->policies = bh_policy_set_new();
	w->noticed = json_array();
	start(w);
	manager_host_add(w->inv, "h1", 1);
	manager_host_add(w->inv, "h2", 1);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	BH_FREE char *cmd = bh_asprintf("rm -f %s*", w->path);

	stop(w);
	bh_policy_set_free(w->policies);
	json_decref(w->noticed);
	free(w);
	return system(cmd);
}

static void set_policy(struct world *w, const char *text)
{
	static const struct bh_policy_parse_options options = {.default_tenant = "shop"};
	struct bh_policy_set *old = w->policies;
	struct bh_diag diag = {};

	if (bh_policy_parse(text, strlen(text), &options, &w->policies, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_inventory_set_policies(w->inv, w->policies);
	bh_policy_set_free(old);
}

static json_t *described(const char *uuid, const char *state)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}, s:[]}", "uuid", uuid, "name", "web",
			 "type", "kvm", "state", state, "tenant", "shop", "labels", "role", "web",
			 "nics");
}

static struct manager_vm *vm_of(const struct world *w)
{
	struct manager_vm *vm;

	HASH_FIND_STR(w->inv->vms, VM, vm);
	return vm;
}

/* A birth; the generation of the run that begins. */
static uint64_t born(struct world *w, const char *host, const char *from, uint64_t generation)
{
	BH_JSON json_t *json = described(VM, "starting");
	BH_JSON json_t *state =
		json_pack("{s:s, s:I, s:[{s:s, s:s}]}", "from", from, "generation",
			  (json_int_t)generation, "by", "user", "root", "transport", "unix");
	struct manager_host *h = manager_host_find(w->inv, host);
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	uint64_t next = 0;

	if (manager_inventory_birth(w->inv, h, json, bh_time_wall_ns(), &vm, &diag) != 0 ||
	    manager_rollback_birth(w->inv, vm, h, state, &next, &diag) != 0) {
		fail_msg("%s", diag.text);
	}
	return next;
}

static bool told(struct world *w, const char *host, uint64_t generation, uint64_t next, bool saved)
{
	BH_JSON json_t *vms =
		json_pack("{s:{s:I, s:I, s:b}}", VM, "generation", (json_int_t)generation, "next",
			  (json_int_t)next, "saved", saved);

	return manager_rollback_told(w->inv, manager_host_find(w->inv, host), vms);
}

/* Whole inventory of the host: the VM in this state, or nothing. */
static void lists(struct world *w, const char *host, const char *state)
{
	BH_JSON json_t *vms = json_array();
	json_t *rejected = NULL;

	if (state) {
		json_array_append_new(vms, described(VM, state));
	}
	assert_int_equal(manager_inventory_report(w->inv, manager_host_find(w->inv, host), vms,
						  bh_time_wall_ns(), &rejected, NULL),
			 0);
	assert_int_equal(json_array_size(rejected), 0);
	json_decref(rejected);
}

/* The VM boots for the first time and gets its mark; its generation. */
static uint64_t runs(struct world *w)
{
	uint64_t g = born(w, "h1", "boot", 0);

	lists(w, "h1", "running");
	told(w, "h1", g, g, false);
	return g;
}

static const char *why(const struct world *w)
{
	const struct manager_quarantine *q = manager_quarantine_of(w->inv, VM);

	assert_int_equal(q != NULL,
			 json_object_get(vm_of(w)->identity->labels, BH_POLICY_QUARANTINE) != NULL);
	return q ? q->why : "";
}

static void test_boots(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	assert_int_equal(g, 1);
	lists(w, "h1", "shutoff");
	assert_int_equal(born(w, "h1", "boot", g), 2);
	assert_string_equal(why(w), "");
	told(w, "h1", 2, 2, false);
	/* defined anew without a mark: no state comes with that */
	assert_int_equal(born(w, "h1", "boot", 0), 3);
	assert_string_equal(why(w), "");
	/* it ended before its mark was there: the one of before is the newest */
	assert_int_equal(born(w, "h1", "boot", 2), 3);
	assert_string_equal(why(w), "");
	assert_int_equal(json_array_size(w->noticed), 0);
}

static void test_set_back_while_off(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	told(w, "h1", g + 1, g + 1, false);
	lists(w, "h1", "shutoff");
	assert_int_equal(born(w, "h1", "boot", g), g + 2);
	assert_non_null(strstr(why(w), "set back to an older state"));
	assert_string_equal(last_notice(w, "type"), "vm.quarantined");
	assert_string_equal(last_notice(w, "vm"), VM);
}

static void test_newest_save(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	told(w, "h1", g, g, true);
	lists(w, "h1", NULL); /* libvirt forgets a transient VM, and so does the inventory */
	assert_null(vm_of(w));
	assert_int_equal(born(w, "h1", "restore", g), g + 1);
	assert_string_equal(why(w), "");
	/* it did not come up: the same file again */
	assert_int_equal(born(w, "h1", "restore", g), g + 1);
	assert_string_equal(why(w), "");
	/* now it ran: the file is old, and its mark says so, or the host */
	told(w, "h1", g, g + 1, false);
	born(w, "h1", "restore", g);
	assert_non_null(strstr(why(w), "not its newest save"));
}

/* A file that was written before the mark of the run was seen holds the one of before. */
static void test_saved_at_once(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	told(w, "h1", g, g + 1, true);
	born(w, "h1", "restore", g);
	assert_string_equal(why(w), "");
	born(w, "h1", "restore", g + 1);
	assert_string_equal(why(w), "");
	born(w, "h1", "restore", g + 2); /* a host that was alone for a while knows more */
	assert_string_equal(why(w), "");
}

static void test_memory_of_a_running_one(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	lists(w, "h1", "shutoff");
	born(w, "h1", "restore", g);
	assert_non_null(strstr(why(w), "not its newest save"));
	assert_string_equal(bh_json_str_or(json_array_get(manager_quarantine_of(w->inv, VM)->by, 0),
					   "user", ""),
			    "root");
}

static void test_snapshot(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);
	uint32_t before = vm_of(w)->identity->number;

	born(w, "h1", "snapshot", g);
	assert_non_null(strstr(why(w), "went back to a snapshot"));
	assert_int_not_equal(vm_of(w)->identity->number, before);
	/* a boot does not end it, nor does a move or a restart of the manager */
	lists(w, "h1", "shutoff");
	told(w, "h1", g + 1, g + 1, false);
	born(w, "h1", "boot", g + 1);
	assert_non_null(strstr(why(w), "went back to a snapshot"));
	stop(w);
	start(w);
	assert_non_null(strstr(why(w), "went back to a snapshot"));
	lists(w, "h1", "shutoff");
	born(w, "h2", "migration", g + 1);
	assert_non_null(strstr(why(w), "went back to a snapshot"));
	assert_int_equal(json_array_size(w->noticed), 1);
}

static int let_out(struct world *w, bool *ret_changed)
{
	return manager_quarantine_end(w->inv, vm_of(w), "unix:0", "", ret_changed, NULL);
}

static void test_by_hand(void **state)
{
	struct world *w = *state;
	struct bh_diag diag = {};
	bool changed;
	uint32_t before;

	runs(w);
	before = vm_of(w)->identity->number;
	assert_int_equal(
		manager_quarantine_begin(w->inv, vm_of(w), "token:admin", "odd", &changed, &diag),
		0);
	assert_true(changed);
	assert_string_equal(why(w), "odd");
	assert_int_equal(manager_quarantine_begin(w->inv, vm_of(w), "unix:0", "", &changed, &diag),
			 0);
	assert_false(changed);
	assert_string_equal(why(w), "odd");
	assert_int_equal(let_out(w, &changed), 0);
	assert_true(changed);
	assert_string_equal(why(w), "");
	assert_int_equal(vm_of(w)->identity->number, before);
	assert_string_equal(last_notice(w, "type"), "vm.released");
	assert_int_equal(let_out(w, &changed), 0);
	assert_false(changed);
	assert_int_equal(json_array_size(w->noticed), 2);
}

static void test_release_after(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);
	uint64_t now = bh_time_wall_ns();

	set_policy(w, "kind: Policy\nmetadata: {name: p}\nspec: {selector: {}, directions: "
		      "[ingress], rollback: {quarantine: true, releaseAfter: 1h}}\n");
	born(w, "h1", "snapshot", g);
	assert_string_not_equal(why(w), "");
	stop(w);
	start(w);
	manager_inventory_expire(w->inv, now + 3599 * BH_NS_PER_S);
	assert_string_not_equal(why(w), "");
	manager_inventory_expire(w->inv, now + 3660 * BH_NS_PER_S);
	assert_string_equal(why(w), "");
	assert_string_equal(last_notice(w, "type"), "vm.released");
	assert_non_null(strstr(last_notice(w, "reason"), "releaseAfter"));
}

static void test_policy_wants_none(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);

	set_policy(w, "kind: Policy\nmetadata: {name: p}\nspec: {selector: {}, directions: "
		      "[ingress], rollback: {quarantine: false}}\n");
	born(w, "h1", "snapshot", g);
	assert_string_equal(why(w), "");
	assert_string_equal(last_notice(w, "type"), "vm.rolled-back");
}

/* A host speaks of its own VMs only, and numbers do not fall. */
static void test_hosts_lie(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);
	BH_JSON json_t *junk =
		json_pack("{s:{s:I}, s:i, s:{s:s}, s:{s:I, s:I}}", "nonsense", "generation",
			  (json_int_t)1, VM, 7, OTHER, "generation", "x", OTHER "0", "generation",
			  (json_int_t)9, "next", (json_int_t)1);

	told(w, "h2", g + 50, g + 50, true); /* not its VM */
	assert_false(manager_rollback_told(w->inv, manager_host_find(w->inv, "h1"), junk));
	assert_false(manager_rollback_told(w->inv, manager_host_find(w->inv, "h1"), NULL));
	lists(w, "h1", "shutoff");
	assert_int_equal(born(w, "h1", "boot", g), g + 1);
	assert_string_equal(why(w), "");
	told(w, "h1", g + 5, g + 5, false);
	told(w, "h1", g, g, true); /* an older telling */
	born(w, "h1", "restore", g);
	assert_string_not_equal(why(w), "");
}

/* One that went back while no hook of ours was called. */
static void test_behind(void **state)
{
	struct world *w = *state;
	uint64_t g = runs(w);
	BH_JSON json_t *vms = json_pack("{s:{s:I, s:I, s:b, s:b}}", VM, "generation", (json_int_t)g,
					"next", (json_int_t)g + 1, "saved", 0, "behind", 1);

	assert_true(manager_rollback_told(w->inv, manager_host_find(w->inv, "h1"), vms));
	assert_non_null(strstr(why(w), "older state than its newest"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_boots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_back_while_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newest_save, setup, teardown),
		cmocka_unit_test_setup_teardown(test_saved_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_a_running_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_by_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_release_after, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy_wants_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hosts_lie, setup, teardown),
		cmocka_unit_test_setup_teardown(test_behind, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
