/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/migrate/placement.h"

#include "base/counter.h"
#include "base/json.h"

#include <errno.h>

#define PREVIEW_MAX 200

BH_COUNTER(placement_refused, "starts and migrations refused because of where");
BH_COUNTER(placement_misplaced, "VMs found running where their policies don't allow it");

/* Owned list, borrowed texts. */
static struct bh_policy_label *labels_of(const json_t *labels, size_t *ret_count)
{
	struct bh_policy_label *list = bh_alloc_array(json_object_size(labels) + 1, sizeof(*list));
	const char *key;
	json_t *value;

	*ret_count = 0;
	json_object_foreach ((json_t *)labels, key, value) {
		list[(*ret_count)++] = (struct bh_policy_label){key, json_string_value(value)};
	}
	return list;
}

static int check_labels(const struct bh_policy_set *set, const char *tenant,
			const json_t *vm_labels, const struct manager_host *host,
			struct bh_diag *diag)
{
	struct bh_policy_subject subject = {.tenant = tenant};
	BH_FREE struct bh_policy_label *mine = NULL;
	BH_FREE struct bh_policy_label *its = NULL;
	const struct bh_policy *policy;
	struct bh_wbuf needs, has;
	size_t count;

	if (!set || !bh_policy_set_has_placement(set)) {
		return 0;
	}
	mine = labels_of(vm_labels, &subject.label_count);
	its = labels_of(host->labels, &count);
	subject.labels = mine;
	if (bh_policy_placement_ok(set, &subject, its, count, &policy)) {
		return 0;
	}
	bh_wbuf_init(&needs, 0);
	bh_wbuf_init(&has, 0);
	bh_policy_placement_describe(policy, &needs);
	bh_policy_placement_compare(policy, its, count, &has);
	bh_diag_set(diag, -EPERM, "placement of policy %s/%s needs a host with %s; %s has %s",
		    bh_policy_tenant(policy), bh_policy_name(policy), bh_wbuf_cstr(&needs),
		    host->name, bh_wbuf_cstr(&has));
	bh_wbuf_done(&needs);
	bh_wbuf_done(&has);
	return -EPERM;
}

bool manager_placement_takes(const struct manager_inventory *inv,
			     const struct bh_policy_subject *vm, const struct manager_host *host)
{
	BH_FREE struct bh_policy_label *its = NULL;
	const struct bh_policy *policy;
	size_t count;

	if (!bh_policy_set_has_placement(inv->policies)) {
		return true;
	}
	its = labels_of(host->labels, &count);
	return bh_policy_placement_ok(inv->policies, vm, its, count, &policy);
}

/* vm: NULL, or as it is known: one that is here, or on its way here, is not new. */
static int check_maintenance(const struct manager_vm *vm, const struct manager_host *host,
			     struct bh_diag *diag)
{
	const struct manager_maintenance *m = &host->maintenance;

	if (!m->on || (vm && (vm->host == host || vm->incoming == host))) {
		return 0;
	}
	return bh_diag_set(diag, -EPERM,
			   "host %s is in maintenance%s%s%s and takes no VM that is new to it; "
			   "`bulkhead host maintenance %s off` ends it",
			   host->name, *m->reason ? " (" : "", m->reason, *m->reason ? ")" : "",
			   host->name);
}

int manager_placement_check(const struct manager_inventory *inv, const struct manager_vm *vm,
			    const struct manager_host *host, struct bh_diag *diag)
{
	int r = check_maintenance(vm, host, diag);

	if (r == 0 && vm->tenant && vm->identity) {
		r = check_labels(inv->policies, vm->tenant->name, vm->identity->labels, host, diag);
	}
	if (r < 0) {
		bh_counter_add(&placement_refused, 1);
	}
	return r;
}

static void add_class(const char *key, const char *value, void *arg)
{
	json_object_set_new(arg, key, json_string(value));
}

/* Labels and classes of a VM as it is described; the API's word comes first. Owned. */
static json_t *described(const struct manager_inventory *inv, const struct manager_report *report,
			 const struct manager_vm *known, const char **ret_tenant)
{
	json_t *labels = json_deep_copy(report->labels);
	const json_t *api = known ? known->api : NULL;
	const char *tenant = bh_json_str_or(api, "tenant", "");
	struct manager_addrs all = {};
	struct bh_policy_vm vm = {.name = report->name, .uuid = report->uuid};

	tenant = *tenant ? tenant : *report->tenant ? report->tenant : inv->default_tenant;
	json_object_update(labels, json_object_get(api, "labels"));
	for (size_t i = 0; i < report->nic_count; i++) {
		bh_vec_foreach (a, &report->nics[i].addresses) {
			*bh_vec_push(&all) = *a;
		}
	}
	for (size_t i = 0; known && i < known->report.nic_count; i++) {
		struct manager_addrs more = {};

		manager_nic_addresses(&known->nics[i], true, &more);
		bh_vec_foreach (a, &more) {
			*bh_vec_push(&all) = *a;
		}
		bh_vec_done(&more);
	}
	vm.tenant = tenant;
	vm.addresses = (const uint8_t(*)[16])all.items;
	vm.address_count = all.count;
	bh_policy_vm_classes(inv->policies, &vm, add_class, labels);
	bh_vec_done(&all);
	*ret_tenant = tenant;
	return labels;
}

int manager_placement_check_birth(const struct manager_inventory *inv, const json_t *json,
				  const struct manager_host *host, struct bh_diag *diag)
{
	BH_JSON json_t *labels = NULL;
	struct manager_report report;
	struct manager_vm *known;
	const char *tenant = "";
	int r;

	if (manager_report_parse(json, host->name, &report, NULL) < 0) {
		return 0;
	}
	HASH_FIND_STR(inv->vms, report.uuid, known);
	r = check_maintenance(known, host, diag);
	if (r == 0 && inv->policies && bh_policy_set_has_placement(inv->policies)) {
		labels = described(inv, &report, known, &tenant);
		r = check_labels(inv->policies, tenant, labels, host, diag);
	}
	if (r < 0) {
		bh_counter_add(&placement_refused, 1);
	}
	manager_report_done(&report);
	return r;
}

/* ---- those that run already ---- */

static void misplaced(struct manager_inventory *inv, struct manager_vm *vm, const char *why)
{
	bool same = vm->misplaced && why && !strcmp(vm->misplaced, why);

	if (same) {
		return;
	}
	free(vm->misplaced);
	vm->misplaced = why ? bh_strdup(why) : NULL;
	if (!why) {
		return;
	}
	bh_counter_add(&placement_misplaced, 1);
	manager_inventory_notice(inv, "vm.misplaced", "warning",
				 json_pack("{s:s, s:s, s:s, s:s, s:s}", "host", vm->host->name,
					   "vm", vm->uuid, "vm_name", vm->report.name, "tenant",
					   vm->tenant->name, "message", why));
}

/* Runs where these policies don't let it. */
static bool runs_wrong(const struct manager_vm *vm, const struct bh_policy_set *set,
		       struct bh_diag *diag)
{
	return vm->host && vm->tenant && vm->identity && manager_report_running(&vm->report) &&
	       check_labels(set, vm->tenant->name, vm->identity->labels, vm->host, diag) < 0;
}

void manager_placement_review(struct manager_inventory *inv)
{
	struct manager_vm *vm, *tmp;

	HASH_ITER (hh, inv->vms, vm, tmp) {
		struct bh_diag diag = {};

		misplaced(inv, vm, runs_wrong(vm, inv->policies, &diag) ? diag.text : NULL);
	}
}

json_t *manager_placement_preview(const struct manager_inventory *inv,
				  const struct bh_policy_set *set)
{
	json_t *vms = json_array();
	struct manager_vm *vm, *tmp;
	json_int_t total = 0;

	HASH_ITER (hh, inv->vms, vm, tmp) {
		struct bh_diag diag = {};

		if (runs_wrong(vm, inv->policies, &diag) || !runs_wrong(vm, set, &diag)) {
			continue;
		}
		if (total++ < PREVIEW_MAX) {
			json_array_append_new(vms, json_pack("{s:s, s:s, s:s, s:s, s:s}", "vm",
							     vm->uuid, "name", vm->report.name,
							     "tenant", vm->tenant->name, "host",
							     vm->host->name, "why", diag.text));
		}
	}
	return json_pack("{s:o, s:I}", "vms", vms, "total", total);
}
