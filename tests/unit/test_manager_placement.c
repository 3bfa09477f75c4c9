/* SPDX-License-Identifier: Apache-2.0 */
/* Which host may run a VM: labels of hosts against placements of policies, maintenance, those that
 * run already where they may not. */
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/migrate/placement.h"
#include "manager_world.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define PCI                                                                                        \
	"---\nkind: Policy\nmetadata: {name: pci, tenant: shop}\nspec:\n"                          \
	"  selector: {matchLabels: {role: pay}}\n"                                                 \
	"  placement: {hosts: {matchLabels: {zone: pci}}}\n"
#define RACK                                                                                       \
	"---\nkind: Policy\nmetadata: {name: rack, tenant: provider}\nspec:\n"                     \
	"  tier: guardrail\n  tenants: [shop]\n"                                                   \
	"  selector: {addresses: [10.0.0.0/24]}\n"                                                 \
	"  placement: {hosts: {matchExpressions: [{key: rack, operator: NotIn, values: [r9]}]}}\n"

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct bh_policy_set *set;
	struct manager_host *h1, *h2;
	json_t *told;
};

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	if (strcmp(type, "vm.misplaced") == 0) {
		assert_string_equal(severity, "warning");
		json_array_append(w->told, body);
	}
	json_decref(body);
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	if (sodium_init() < 0 || manager_store_open(":memory:", &w->db, NULL) < 0 ||
	    manager_inventory_new(w->db, "shop", &w->inv, NULL) < 0) {
		return -1;
	}
	w->told = json_array();
	w->inv->notice = on_notice;
	w->inv->notice_arg = w;
	w->h1 = manager_host_add(w->inv, "h1", 1);
	w->h2 = manager_host_add(w->inv, "h2", 1);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	bh_policy_set_free(w->set);
	json_decref(w->told);
	free(w);
	return 0;
}

static void policies(struct world *w, const char *text)
{
	struct bh_policy_set *old = w->set;
	struct bh_diag diag = {};

	if (bh_policy_parse(text, strlen(text), NULL, &w->set, &diag)) {
		fail_msg("%s", diag.text);
	}
	manager_inventory_set_policies(w->inv, w->set);
	bh_policy_set_free(old);
}

static void label(struct world *w, struct manager_host *host, const char *key, const char *value)
{
	assert_int_equal(
		manager_host_set_labels(w->inv, host, json_pack("{s:s}", key, value), NULL), 0);
}

static struct manager_vm *report(struct world *w, struct manager_host *h, unsigned int n,
				 const char *role)
{
	BH_JSON json_t *vm = manager_world_vm(n, "running", role);
	BH_JSON json_t *list = json_pack("[O]", vm);
	BH_JSON json_t *rejected = NULL;
	struct manager_vm *found = NULL;

	assert_int_equal(
		manager_inventory_report(w->inv, h, list, bh_time_wall_ns(), &rejected, NULL), 0);
	assert_int_equal(manager_vm_find(w->inv, json_string_value(json_object_get(vm, "uuid")),
					 &found, NULL),
			 0);
	return found;
}

/* "" when it may start there. */
static const char *birth(struct world *w, struct manager_host *h, unsigned int n, const char *role,
			 struct bh_diag *diag)
{
	BH_JSON json_t *vm = manager_world_vm(n, "starting", role);

	*diag = (struct bh_diag){};
	if (manager_placement_check_birth(w->inv, vm, h, diag)) {
		assert_true(*diag->text);
		return diag->text;
	}
	return "";
}

static void starts_where_its_policies_let_it(void **state)
{
	struct world *w = *state;
	struct bh_diag diag;

	assert_string_equal(birth(w, w->h1, 1, "pay", &diag), "");
	policies(w, PCI RACK);
	assert_string_equal(birth(w, w->h1, 1, "pay", &diag),
			    "placement of policy shop/pci needs a host with zone=pci; h1 has no "
			    "zone");
	assert_string_equal(birth(w, w->h1, 1, "web", &diag), "");
	label(w, w->h1, "zone", "pci");
	label(w, w->h2, "zone", "dmz");
	assert_string_equal(birth(w, w->h1, 1, "pay", &diag), "");
	assert_string_equal(birth(w, w->h2, 1, "pay", &diag),
			    "placement of policy shop/pci needs a host with zone=pci; h2 has "
			    "zone=dmz");
	/* A policy that selects by address knows the VM before anybody else does. */
	label(w, w->h2, "rack", "r9");
	assert_string_equal(birth(w, w->h2, 1, "web", &diag),
			    "placement of policy provider/rack needs a host with rack NotIn r9; h2 "
			    "has rack=r9");
	/* What is no VM is for others to refuse. */
	assert_int_equal(manager_placement_check_birth(w->inv, w->h1->labels, w->h1, &diag), 0);
}

/* Labels of the API count, also for one that was never seen running. */
static void the_apis_labels_count(void **state)
{
	struct world *w = *state;
	struct manager_vm *vm;
	struct bh_diag diag;

	policies(w, PCI);
	vm = report(w, w->h1, 1, "web");
	assert_int_equal(manager_vm_set_api(w->inv, vm,
					    json_pack("{s:{s:s}}", "labels", "role", "pay"), NULL),
			 0);
	assert_true(*birth(w, w->h1, 1, "web", &diag));
	assert_int_equal(
		manager_vm_set_api(w->inv, vm, json_pack("{s:s}", "tenant", "rival"), NULL), 0);
	assert_string_equal(birth(w, w->h1, 1, "pay", &diag), "");
}

static void maintenance_takes_nobody_new(void **state)
{
	struct manager_maintenance m = {.on = true, .reason = "new disks", .by = "unix:0"};
	struct world *w = *state;
	struct manager_vm *vm = report(w, w->h1, 1, "web");
	struct bh_diag diag = {};

	assert_int_equal(manager_host_set_maintenance(w->inv, w->h1, &m, NULL), 0);
	assert_int_equal(manager_host_set_maintenance(w->inv, w->h2, &m, NULL), 0);
	assert_string_equal(birth(w, w->h1, 2, "web", &diag),
			    "host h1 is in maintenance (new disks) and takes no VM that is new to "
			    "it; `bulkhead host maintenance h1 off` ends it");
	assert_string_equal(birth(w, w->h1, 1, "web", &diag), ""); /* its own starts again */
	assert_int_equal(manager_placement_check(w->inv, vm, w->h1, &diag), 0);
	assert_int_equal(manager_placement_check(w->inv, vm, w->h2, &diag), -EPERM);
	manager_vm_expect(w->inv, vm, w->h2); /* on its way already */
	assert_int_equal(manager_placement_check(w->inv, vm, w->h2, &diag), 0);
	assert_int_equal(
		manager_host_set_maintenance(w->inv, w->h1, &(struct manager_maintenance){}, NULL),
		0);
	assert_string_equal(birth(w, w->h1, 2, "web", &diag), "");
}

static size_t told(struct world *w)
{
	size_t count;

	manager_placement_review(w->inv);
	count = json_array_size(w->told);
	json_array_clear(w->told);
	return count;
}

static void who_runs_elsewhere_is_told_once(void **state)
{
	struct world *w = *state;
	struct manager_vm *vm = report(w, w->h1, 1, "pay");
	struct bh_diag diag = {};

	assert_int_equal(told(w), 0);
	policies(w, PCI);
	assert_int_equal(told(w), 1);
	assert_int_equal(told(w), 0);
	assert_non_null(vm->misplaced);
	assert_int_equal(manager_placement_check(w->inv, vm, w->h1, &diag), -EPERM);
	label(w, w->h1, "zone", "dmz");
	assert_int_equal(told(w), 1); /* for another reason */
	label(w, w->h1, "zone", "pci");
	assert_int_equal(told(w), 0);
	assert_null(vm->misplaced);
	label(w, w->h1, "zone", "dmz");
	assert_int_equal(told(w), 1);
	policies(w, "");
	assert_int_equal(told(w), 0);
	assert_null(vm->misplaced);
	assert_int_equal(manager_placement_check(w->inv, vm, w->h2, &diag), 0);
}

static size_t would_be_wrong(struct world *w, const char *text)
{
	struct bh_policy_set *set = NULL;
	BH_JSON json_t *said = NULL;
	size_t count;

	assert_int_equal(bh_policy_parse(text, strlen(text), NULL, &set, NULL), 0);
	said = manager_placement_preview(w->inv, set);
	count = json_array_size(json_object_get(said, "vms"));
	assert_int_equal(bh_json_u64_or(said, "total", 99), count);
	if (count) {
		assert_string_equal(
			bh_json_str_or(json_array_get(json_object_get(said, "vms"), 0), "why", ""),
			"placement of policy shop/pci needs a host with zone=pci; h1 has no zone");
	}
	bh_policy_set_free(set);
	return count;
}

/* Before it is in force; what is wrong already is nothing new. */
static void preview(void **state)
{
	struct world *w = *state;

	report(w, w->h1, 1, "pay");
	report(w, w->h2, 2, "web");
	assert_int_equal(would_be_wrong(w, PCI), 1);
	assert_int_equal(would_be_wrong(w, RACK), 0);
	assert_int_equal(would_be_wrong(w, ""), 0);
	assert_int_equal(told(w), 0);
	policies(w, PCI);
	assert_int_equal(would_be_wrong(w, PCI), 0);
	policies(w, "");
	label(w, w->h1, "zone", "pci");
	assert_int_equal(would_be_wrong(w, PCI), 0);
}

static void hosts_keep_what_was_said(void **state)
{
	struct manager_maintenance m = {.on = true, .reason = "r", .by = "b", .since_ns = 5};
	struct manager_inventory *again = NULL;
	const struct manager_host *h;
	struct world *w = *state;

	label(w, w->h1, "zone", "pci");
	assert_int_equal(manager_host_set_maintenance(w->inv, w->h1, &m, NULL), 0);
	assert_int_equal(manager_inventory_new(w->db, "shop", &again, NULL), 0);
	h = manager_host_find(again, "h1");
	assert_string_equal(bh_json_str_or(h->labels, "zone", ""), "pci");
	assert_true(h->maintenance.on);
	assert_string_equal(h->maintenance.reason, "r");
	assert_string_equal(h->maintenance.by, "b");
	assert_int_equal(h->maintenance.since_ns, 5);
	h = manager_host_find(again, "h2");
	assert_int_equal(json_object_size(h->labels), 0);
	assert_false(h->maintenance.on);
	manager_inventory_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(starts_where_its_policies_let_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_apis_labels_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(maintenance_takes_nobody_new, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_runs_elsewhere_is_told_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(preview, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hosts_keep_what_was_said, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
