/* SPDX-License-Identifier: Apache-2.0 */
/* Making, finding, loading and saving. */
#include "manager/inventory/inventory.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/store/changes.h"

#include <errno.h>
#include <utlist.h>

void manager_inventory_notice(const struct manager_inventory *inv, const char *type,
			      const char *severity, json_t *body)
{
	if (inv->notice) {
		inv->notice(type, severity, body, inv->notice_arg);
	} else {
		json_decref(body); /* a test without events */
	}
}

/* ---- tenants ---- */

static void take_quota(const struct manager_inventory *inv, struct manager_tenant *t)
{
	t->labels_max = strcmp(t->name, BH_POLICY_PROVIDER) == 0
				? UINT64_MAX
				: manager_store_quota(inv->db, t->name, MANAGER_STORE_QUOTA_LABELS,
						      BH_LABELS_MAX);
}

struct manager_tenant *manager_tenant_add(struct manager_inventory *inv, uint32_t number,
					  const char *name, bool saved)
{
	struct manager_tenant *t = bh_alloc(sizeof(*t));

	t->number = number;
	t->saved = saved;
	snprintf(t->name, sizeof(t->name), "%s", name);
	take_quota(inv, t);
	HASH_ADD_STR(inv->tenants, name, t);
	HASH_ADD(hh_number, inv->tenants_by_number, number, sizeof(t->number), t);
	return t;
}

struct manager_tenant *manager_tenant_find(struct manager_inventory *inv, const char *name)
{
	struct manager_tenant *t;

	HASH_FIND_STR(inv->tenants, name, t);
	return t;
}

struct manager_tenant *manager_tenant_at(struct manager_inventory *inv, uint32_t number)
{
	struct manager_tenant *t;

	HASH_FIND(hh_number, inv->tenants_by_number, &number, sizeof(number), t);
	return t;
}

struct manager_tenant *manager_tenant_get(struct manager_inventory *inv, const char *name,
					  struct bh_diag *diag)
{
	struct manager_tenant *t = manager_tenant_find(inv, name);

	if (t) {
		return t;
	}
	if (!bh_name_valid(name)) {
		bh_diag_set(diag, -EINVAL, "'%.80s' can't be a tenant's name", name);
		return NULL;
	}
	if (HASH_COUNT(inv->tenants) >= MANAGER_TENANTS_MAX) {
		bh_diag_set(diag, -ENOSPC, "more than %d tenants", MANAGER_TENANTS_MAX);
		return NULL;
	}
	inv->dirty = true;
	inv->numbers_saved = false;
	return manager_tenant_add(inv, inv->next_tenant++, name, false);
}

void manager_tenant_remove(struct manager_inventory *inv, struct manager_tenant *t)
{
	HASH_DELETE(hh, inv->tenants, t);
	HASH_DELETE(hh_number, inv->tenants_by_number, t);
	free(t);
}

void manager_tenant_review_quota(struct manager_inventory *inv, struct manager_tenant *t)
{
	struct manager_vm *vm, *tmp;

	take_quota(inv, t);
	HASH_ITER (hh, inv->vms, vm, tmp) {
		if (vm->tenant == t) {
			/* Too many identities: it stays as it is, in quarantine or not. */
			(void)!manager_vm_identify(inv, vm, NULL);
		}
	}
}

const struct manager_vm *manager_tenant_most_labels(const struct manager_inventory *inv,
						    const struct manager_tenant *t)
{
	const struct manager_vm *most = NULL;
	struct manager_vm *vm, *tmp;

	HASH_ITER (hh, inv->vms, vm, tmp) {
		if (vm->tenant == t &&
		    (!most || json_object_size(vm->labels) > json_object_size(most->labels))) {
			most = vm;
		}
	}
	return most;
}

/* ---- networks ---- */

static struct manager_network *add_network(struct manager_inventory *inv, uint32_t number,
					   const char *key, bool managed, bool saved)
{
	struct manager_network *n = bh_alloc(sizeof(*n));

	n->number = number;
	n->key = bh_strdup(key);
	n->managed = managed;
	n->saved = saved;
	n->changed = true;
	HASH_ADD_KEYPTR(hh, inv->networks, n->key, strlen(n->key), n);
	HASH_ADD(hh_number, inv->networks_by_number, number, sizeof(n->number), n);
	return n;
}

struct manager_network *manager_network_get(struct manager_inventory *inv, const char *key,
					    bool managed, struct bh_diag *diag)
{
	struct manager_network *n;

	HASH_FIND_STR(inv->networks, key, n);
	if (n) {
		if (n->managed != managed) {
			n->managed = managed;
			n->saved = false;
			inv->dirty = true;
		}
		return n;
	}
	if (HASH_COUNT(inv->networks) >= MANAGER_NETWORKS_MAX) {
		bh_diag_set(diag, -ENOSPC, "more than %d networks", MANAGER_NETWORKS_MAX);
		return NULL;
	}
	inv->dirty = true;
	inv->numbers_saved = false;
	return add_network(inv, inv->next_network++, key, managed, false);
}

/* ---- hosts ---- */

struct manager_host *manager_host_find(struct manager_inventory *inv, const char *name)
{
	struct manager_host *h;

	HASH_FIND_STR(inv->hosts, name, h);
	return h;
}

bool manager_host_lost(const struct manager_host *host, uint64_t now_ns)
{
	return host->last_seen_ns + MANAGER_SILENT_NS < now_ns;
}

static int by_name(const struct manager_host *a, const struct manager_host *b)
{
	return strverscmp(a->name, b->name);
}

struct manager_host *manager_host_add(struct manager_inventory *inv, const char *name,
				      uint64_t now_ns)
{
	struct manager_host *h = manager_host_find(inv, name);

	if (!h) {
		h = bh_alloc(sizeof(*h));
		snprintf(h->name, sizeof(h->name), "%s", name);
		h->labels = json_object();
		HASH_ADD_INORDER(hh, inv->hosts, name[0], strlen(h->name), h, by_name);
	}
	h->enrolled_ns = now_ns;
	h->changed = true;
	h->saved = false;
	inv->dirty = true;
	return h;
}

void manager_host_remove(struct manager_inventory *inv, struct manager_host *h, uint64_t now_ns)
{
	struct manager_vm *vm, *tmp;

	DL_FOREACH_SAFE2(h->incoming, vm, tmp, in_next)
	{
		manager_vm_unexpect(inv, vm);
	}
	manager_host_drop_claims(h);
	DL_FOREACH_SAFE(h->vms, vm, tmp)
	{
		manager_vm_detach(inv, vm);
		manager_vm_place(inv, vm, now_ns);
		vm->last_seen_ns = now_ns;
		vm->saved = false;
		manager_vm_settle(inv, vm, now_ns);
	}
	HASH_DELETE(hh, inv->hosts, h);
	json_decref(h->hello);
	json_decref(h->labels);
	free(h);
	inv->dirty = true;
}

static void take_hello(struct manager_host *h, const json_t *hello)
{
	static const char *const names[] = {"nics", "addrs", "sets", "rows", "cidrs", "ranges"};
	const json_t *capacity = json_object_get(hello, "capacity");

	for (size_t i = 0; i < MANAGER_TABLE_COUNT; i++) {
		h->capacity[i] = bh_json_u64_or(capacity, names[i], 0);
	}
	json_decref(h->hello);
	h->hello = json_deep_copy(hello);
}

void manager_host_hello(struct manager_inventory *inv, struct manager_host *h, const json_t *hello,
			uint64_t now_ns)
{
	take_hello(h, hello);
	h->last_seen_ns = now_ns;
	h->saved = false;
	inv->dirty = true;
}

/* ---- VMs ---- */

struct manager_vm *manager_vm_new(struct manager_inventory *inv, const uint8_t id[16],
				  uint64_t now_ns)
{
	struct manager_vm *vm = bh_alloc(sizeof(*vm));

	memcpy(vm->id, id, 16);
	bh_uuid_format(id, vm->uuid);
	vm->api = json_object();
	vm->first_seen_ns = now_ns;
	HASH_ADD_STR(inv->vms, uuid, vm);
	inv->vms_in_order = false;
	inv->dirty = true;
	return vm;
}

static void drop_nics(struct manager_vm *vm)
{
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (vm->nics[i].net) {
			vm->nics[i].net->nics--;
			vm->nics[i].net->changed = true;
		}
		bh_vec_done(&vm->nics[i].api);
	}
	free(vm->nics);
	vm->nics = NULL;
}

static void take_learned(struct manager_nic *nic, const struct manager_vm *old)
{
	for (size_t i = 0; i < old->report.nic_count; i++) {
		const struct manager_nic *o = &old->nics[i];

		if (memcmp(o->report->mac, nic->report->mac, 6) == 0 && o->net == nic->net) {
			memcpy(nic->learned, o->learned, sizeof(nic->learned));
			nic->learned_count = o->learned_count;
		}
	}
}

/* Addresses that the API gave to this MAC. */
static void take_api(struct manager_nic *nic, const json_t *api)
{
	char mac[BH_MAC_TEXT_SIZE];
	const json_t *list;

	bh_mac_format(nic->report->mac, mac);
	list = json_object_get(json_object_get(api, "addresses"), mac);
	if (list && manager_addrs_parse(list, &nic->api, NULL) < 0) {
		nic->api.count = 0;
	}
}

int manager_vm_set_report(struct manager_inventory *inv, struct manager_vm *vm,
			  struct manager_report *report, struct bh_diag *diag)
{
	struct manager_nic *nics = bh_alloc_array(report->nic_count + 1, sizeof(*nics));

	for (size_t i = 0; i < report->nic_count; i++) {
		const struct manager_report_nic *r = &report->nics[i];

		nics[i].report = r;
		if (*r->net) {
			nics[i].net = manager_network_get(inv, r->net, r->managed, diag);
			if (!nics[i].net) {
				free(nics);
				return -ENOSPC;
			}
		}
	}
	for (size_t i = 0; i < report->nic_count; i++) {
		take_learned(&nics[i], vm);
		take_api(&nics[i], vm->api);
		if (nics[i].net) {
			nics[i].net->nics++;
		}
	}
	drop_nics(vm);
	inv->vms_in_order &= vm->report.name && strcmp(vm->report.name, report->name) == 0;
	manager_report_done(&vm->report);
	vm->report = *report;
	memset(report, 0, sizeof(*report));
	vm->nics = nics;
	vm->saved = false;
	manager_vm_touch(inv, vm);
	return manager_vm_identify(inv, vm, diag);
}

void manager_vm_attach(struct manager_inventory *inv, struct manager_vm *vm,
		       struct manager_host *host)
{
	if (vm->host == host) {
		return;
	}
	manager_vm_detach(inv, vm);
	vm->host = host;
	DL_APPEND(host->vms, vm);
	host->vm_count++;
	vm->saved = false;
	manager_vm_touch(inv, vm);
}

void manager_vm_detach(struct manager_inventory *inv, struct manager_vm *vm)
{
	if (!vm->host) {
		return;
	}
	manager_vm_touch(inv, vm);
	DL_DELETE(vm->host->vms, vm);
	vm->host->vm_count--;
	vm->host = NULL;
	vm->saved = false;
}

void manager_vm_remove(struct manager_inventory *inv, struct manager_vm *vm)
{
	manager_vm_unexpect(inv, vm);
	manager_vm_drop_claims(vm);
	manager_vm_detach(inv, vm);
	drop_nics(vm);
	if (vm->identity) {
		vm->identity->vms--;
	}
	if (vm->tenant) {
		vm->tenant->vms--;
	}
	HASH_DELETE(hh, inv->vms, vm);
	inv->vms_in_order = false;
	manager_report_done(&vm->report);
	bh_segment_unref(vm->segment);
	json_decref(vm->api);
	json_decref(vm->labels);
	free(vm->misplaced);
	free(vm);
	inv->dirty = true;
}

int manager_vm_compare(const struct manager_vm *a, const struct manager_vm *b)
{
	int r = strverscmp(a->report.name, b->report.name);

	return r ? r : strcmp(a->uuid, b->uuid);
}

static int vm_by_name(const void *a, const void *b)
{
	return manager_vm_compare(*(struct manager_vm *const *)a, *(struct manager_vm *const *)b);
}

struct manager_vm *const *manager_vms_by_name(struct manager_inventory *inv, size_t *ret_count)
{
	struct manager_vm *vm, *tmp;

	if (!inv->vms_in_order) {
		inv->vms_by_name.count = 0;
		HASH_ITER (hh, inv->vms, vm, tmp) {
			*bh_vec_push(&inv->vms_by_name) = vm;
		}
		qsort(inv->vms_by_name.items, inv->vms_by_name.count, sizeof(vm), vm_by_name);
		inv->vms_in_order = true;
	}
	*ret_count = inv->vms_by_name.count;
	return inv->vms_by_name.items;
}

const char *manager_vm_birth(const struct manager_vm *vm)
{
	const char *birth = bh_json_str_or(vm->api, "birth", "");

	if (!*birth) {
		birth = vm->report.birth;
	}
	return strcmp(birth, "open") == 0 ? "open" : "closed";
}

int manager_vm_find(struct manager_inventory *inv, const char *id, struct manager_vm **ret,
		    struct bh_diag *diag)
{
	struct manager_vm *vm, *tmp, *found = NULL;

	HASH_FIND_STR(inv->vms, id, vm);
	if (vm) {
		*ret = vm;
		return 0;
	}
	HASH_ITER (hh, inv->vms, vm, tmp) {
		if (strcmp(vm->report.name, id) == 0) {
			if (found) {
				bh_diag_set(diag, -EINVAL, "several VMs have the name '%.80s'", id);
				return MANAGER_VM_AMBIGUOUS;
			}
			found = vm;
		}
	}
	if (!found) {
		return bh_diag_set(diag, -ENOENT, "no VM '%.80s'", id);
	}
	*ret = found;
	return 0;
}

struct manager_vm *manager_vm_by_address(struct manager_inventory *inv, uint32_t net,
					 const uint8_t addr[16])
{
	struct manager_vm *vm, *tmp;

	HASH_ITER (hh, inv->vms, vm, tmp) {
		for (size_t i = 0; i < vm->report.nic_count; i++) {
			const struct manager_nic *nic = &vm->nics[i];
			bool has = manager_addrs_has(&nic->report->addresses, addr) ||
				   manager_addrs_has(&nic->api, addr);

			for (size_t k = 0; k < nic->learned_count && !has; k++) {
				has = memcmp(nic->learned[k].addr.bytes, addr, 16) == 0;
			}
			if (has && nic->net && (!net || nic->net->number == net)) {
				return vm;
			}
		}
	}
	return NULL;
}

struct manager_identity *manager_identity_at(struct manager_inventory *inv, uint32_t number)
{
	struct manager_identity *id;

	HASH_FIND(hh_number, inv->identities_by_number, &number, sizeof(number), id);
	return id;
}
