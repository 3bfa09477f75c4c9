/* SPDX-License-Identifier: Apache-2.0 */
/* From tenant, labels and policy classes to the identity of a VM. */
#include "manager/inventory/inventory.h"

#include "base/counter.h"
#include "base/json.h"

#include <errno.h>

BH_COUNTER(inventory_over_quota,
	   "VMs put in quarantine because libvirt's metadata gave them too many labels");

void manager_nic_addresses(const struct manager_nic *nic, bool learned, struct manager_addrs *ret)
{
	ret->count = 0;
	for (size_t i = 0; i < nic->report->addresses.count; i++) {
		*bh_vec_push(ret) = nic->report->addresses.items[i];
	}
	for (size_t i = 0; i < nic->api.count; i++) {
		if (!manager_addrs_has(ret, nic->api.items[i].bytes)) {
			*bh_vec_push(ret) = nic->api.items[i];
		}
	}
	for (size_t i = 0; learned && i < nic->learned_count; i++) {
		if (!manager_addrs_has(ret, nic->learned[i].addr.bytes)) {
			*bh_vec_push(ret) = nic->learned[i].addr;
		}
	}
}

size_t manager_identity_labels(const struct manager_identity *identity,
			       struct bh_policy_label **ret)
{
	size_t count = 0;
	const char *key;
	json_t *value;

	*ret = bh_alloc_array(json_object_size(identity->labels) + 1, sizeof(**ret));
	json_object_foreach (identity->labels, key, value) {
		(*ret)[count++] = (struct bh_policy_label){key, json_string_value(value)};
	}
	return count;
}

static void add_class(const char *key, const char *value, void *arg)
{
	json_object_set_new(arg, key, json_string(value));
}

static void add_classes(const struct manager_vm *vm, const struct bh_policy_set *policies,
			json_t *labels)
{
	struct manager_addrs all = {}, one = {};
	struct bh_policy_vm pvm = {
		.tenant = vm->tenant->name,
		.name = vm->report.name,
		.uuid = vm->uuid,
	};

	if (!policies || !bh_policy_set_has_classes(policies)) {
		return;
	}
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		manager_nic_addresses(&vm->nics[i], true, &one);
		bh_vec_foreach (a, &one) {
			*bh_vec_push(&all) = *a;
		}
	}
	pvm.addresses = (const uint8_t(*)[16])all.items;
	pvm.address_count = all.count;
	bh_policy_vm_classes(policies, &pvm, add_class, labels);
	bh_vec_done(&all);
	bh_vec_done(&one);
}

struct manager_identity *manager_identity_for(struct manager_inventory *inv,
					      const struct manager_vm *vm,
					      const struct bh_policy_set *policies,
					      struct bh_diag *diag)
{
	BH_JSON json_t *labels = json_deep_copy(vm->labels);
	BH_FREE char *text = NULL;
	BH_FREE char *key = NULL;
	struct manager_identity *id;

	add_classes(vm, policies, labels);
	if (vm->over_quota || manager_quarantine_of(inv, vm->uuid)) {
		json_object_set_new(labels, BH_POLICY_QUARANTINE, json_string(""));
	}
	text = bh_json_dump(labels);
	key = bh_asprintf("%u\n%s", vm->tenant->number, text);
	HASH_FIND(hh, inv->identities, key, strlen(key), id);
	if (id) {
		return id;
	}
	if (HASH_COUNT(inv->identities) >= MANAGER_IDENTITIES_MAX) {
		bh_diag_set(diag, -ENOSPC, "more than %d identities", MANAGER_IDENTITIES_MAX);
		return NULL;
	}
	id = bh_alloc(sizeof(*id));
	id->tenant = vm->tenant;
	id->labels = bh_steal(&labels);
	id->key = bh_steal(&key);
	/* One that was there before keeps its number: its connections and events still make sense.
	 */
	id->number = manager_store_find_identity(inv->db, vm->tenant->number, text);
	id->saved = id->number != 0;
	if (!id->saved) {
		id->number = inv->next_identity++;
		inv->numbers_saved = false;
	}
	inv->dirty = true;
	HASH_ADD_KEYPTR(hh, inv->identities, id->key, strlen(id->key), id);
	HASH_ADD(hh_number, inv->identities_by_number, number, sizeof(id->number), id);
	return id;
}

void manager_identity_remove(struct manager_inventory *inv, struct manager_identity *id)
{
	HASH_DELETE(hh, inv->identities, id);
	HASH_DELETE(hh_number, inv->identities_by_number, id);
	bh_segment_unref(id->sets[0]);
	bh_segment_unref(id->sets[1]);
	json_decref(id->labels);
	free(id->key);
	free(id);
}

void manager_vm_touch(struct manager_inventory *inv, struct manager_vm *vm)
{
	vm->changed = true;
	inv->dirty = true;
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (vm->nics[i].net) {
			vm->nics[i].net->changed = true;
		}
	}
	if (vm->host) {
		vm->host->changed = true;
	}
	if (vm->incoming) {
		vm->incoming->changed = true;
	}
}

void manager_vm_set_identity(struct manager_inventory *inv, struct manager_vm *vm,
			     struct manager_identity *identity)
{
	if (vm->identity == identity) {
		return;
	}
	if (vm->identity) {
		vm->identity->vms--;
	}
	vm->identity = identity;
	if (identity) {
		identity->vms++;
	}
	manager_vm_touch(inv, vm);
}

static struct manager_tenant *tenant_of(struct manager_inventory *inv, const struct manager_vm *vm,
					struct bh_diag *diag)
{
	const char *name = bh_json_str_or(vm->api, "tenant", "");

	if (!*name) {
		name = vm->report.tenant;
	}
	return manager_tenant_get(inv, *name ? name : inv->default_tenant, diag);
}

static const char over_quota[] =
	"out of quota: the VM has more labels than its tenant may give one, and is in quarantine "
	"until libvirt's metadata has fewer or the quota is raised";

json_t *manager_vm_over_quota_json(const struct manager_vm *vm)
{
	if (!vm->over_quota) {
		return json_null();
	}
	return json_pack("{s:I, s:I, s:s}", "labels", (json_int_t)json_object_size(vm->labels),
			 "limit", (json_int_t)vm->tenant->labels_max, "message", over_quota);
}

/* Labels of the API were refused before they came here; those of libvirt's metadata are there
 * whatever we say. None is left out: with fewer labels fewer policies would refuse something to the
 * VM. It is put in quarantine instead, where it keeps what is refused and loses what is allowed. */
static void hold_to_quota(const struct manager_inventory *inv, struct manager_vm *vm)
{
	bool over = json_object_size(vm->labels) > vm->tenant->labels_max;
	json_t *body;

	if (over == vm->over_quota) {
		return;
	}
	vm->over_quota = over;
	bh_counter_add(&inventory_over_quota, over);
	body = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s*}", "vm", vm->uuid, "vm_name",
			 vm->report.name, "tenant", vm->tenant->name, "labels",
			 (json_int_t)json_object_size(vm->labels), "limit",
			 (json_int_t)vm->tenant->labels_max, "message", over ? over_quota : NULL);
	if (vm->host) {
		json_object_set_new(body, "host", json_string(vm->host->name));
	}
	manager_inventory_notice(inv, over ? "vm.over-quota" : "vm.within-quota",
				 over ? "warning" : "notice", body);
}

int manager_vm_identify(struct manager_inventory *inv, struct manager_vm *vm, struct bh_diag *diag)
{
	struct manager_tenant *tenant = tenant_of(inv, vm, diag);
	struct manager_identity *identity;
	json_t *labels;

	if (!tenant) {
		return -ENOSPC;
	}
	if (tenant != vm->tenant) {
		if (vm->tenant) {
			vm->tenant->vms--;
		}
		vm->tenant = tenant;
		tenant->vms++;
	}
	labels = json_deep_copy(vm->report.labels);
	json_object_update(labels, json_object_get(vm->api, "labels"));
	json_decref(vm->labels);
	vm->labels = labels;
	hold_to_quota(inv, vm);
	identity = manager_identity_for(inv, vm, inv->policies, diag);
	if (!identity) {
		return -ENOSPC;
	}
	manager_vm_set_identity(inv, vm, identity);
	return 0;
}

void manager_inventory_set_policies(struct manager_inventory *inv,
				    const struct bh_policy_set *policies)
{
	struct manager_vm *vm, *tmp;

	inv->policies = policies;
	HASH_ITER (hh, inv->vms, vm, tmp) {
		/* Too many identities can't be: each VM had one when it was stored. */
		(void)!manager_vm_identify(inv, vm, NULL);
	}
}

/* Addresses of the API per NIC, as api says. */
static void retake_addresses(struct manager_vm *vm)
{
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		struct manager_nic *nic = &vm->nics[i];
		char mac[BH_MAC_TEXT_SIZE];
		const json_t *list;

		bh_mac_format(nic->report->mac, mac);
		list = json_object_get(json_object_get(vm->api, "addresses"), mac);
		nic->api.count = 0;
		if (list && manager_addrs_parse(list, &nic->api, NULL) < 0) {
			nic->api.count = 0;
		}
	}
}

int manager_vm_set_api(struct manager_inventory *inv, struct manager_vm *vm, json_t *api,
		       struct bh_diag *diag)
{
	json_t *old = vm->api;
	int r;

	vm->api = api;
	retake_addresses(vm);
	vm->saved = false;
	manager_vm_touch(inv, vm);
	r = manager_vm_identify(inv, vm, diag);
	if (r == 0) {
		r = manager_inventory_save(inv, false, diag);
	}
	if (r < 0) {
		/* The store did not take it: as before. */
		vm->api = old;
		json_decref(api);
		retake_addresses(vm);
		(void)!manager_vm_identify(inv, vm, NULL);
		return r;
	}
	json_decref(old);
	return 0;
}
