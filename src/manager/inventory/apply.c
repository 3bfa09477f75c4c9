/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts say. A host speaks of its own VMs only; it can take over a VM that nobody else reports
 * as running. VMs per host, NICs per VM, labels and addresses are bounded, so it cannot grow the
 * tables without end.
 */
#include "manager/inventory/inventory.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"

#include <errno.h>
#include <uthash.h>
#include <utlist.h>

#define CONFLICT_EVERY_NS (300 * BH_NS_PER_S)

BH_COUNTER(inventory_rejected_vms, "VMs in reports that were not valid");
BH_COUNTER(inventory_conflicts, "claims on VMs that run on another host");

/* May this host speak for the VM now? */
static bool may_claim(struct manager_inventory *inv, struct manager_vm *vm,
		      const struct manager_host *host, const struct manager_report *report,
		      uint64_t now_ns)
{
	const struct manager_host *owner = vm->host;

	if (!owner || owner == host) {
		return true;
	}
	if (!manager_report_running(report)) {
		return false; /* merely defined there too */
	}
	if (!manager_report_running(&vm->report) || manager_host_lost(owner, now_ns)) {
		return true;
	}
	bh_counter_add(&inventory_conflicts, 1);
	if (vm->conflict_ns + CONFLICT_EVERY_NS < now_ns) {
		vm->conflict_ns = now_ns;
		manager_inventory_notice(
			inv, "host.conflict", "critical",
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "host", host->name, "vm", vm->uuid,
				  "vm_name", vm->report.name, "owner", owner->name, "message",
				  "a second host claims a VM that runs on the first"));
	}
	return false;
}

struct said { /* by a host about one VM */
	struct manager_report report;
	bool listed; /* in its inventory; else a birth */
	uint64_t now_ns;
};

/* Another host has it: the word is put aside. */
static int put_aside(struct manager_host *host, struct said *said, struct manager_vm *vm,
		     struct bh_diag *diag)
{
	bool runs = manager_report_running(&said->report);

	if (said->listed) {
		manager_claim_put(vm, host, &said->report);
	}
	if (!runs) {
		return 0; /* merely defined there too */
	}
	bh_diag_set(diag, -EBUSY, "VM %s runs on host %s", vm->uuid, vm->host->name);
	return MANAGER_REPORT_CONFLICT;
}

static int upsert(struct manager_inventory *inv, struct manager_host *host, struct said *said,
		  struct manager_vm **ret, struct bh_diag *diag)
{
	struct manager_report *report = &said->report;
	uint64_t now_ns = said->now_ns;
	struct manager_vm *vm;
	int r = 0;

	HASH_FIND_STR(inv->vms, report->uuid, vm);
	if (vm && vm->incoming == host && vm->host != host) {
		manager_vm_arriving(inv, vm, report, said->listed, now_ns);
		*ret = vm;
		return 0;
	}
	if (vm && !may_claim(inv, vm, host, report, now_ns)) {
		*ret = vm;
		return put_aside(host, said, vm, diag);
	}
	if ((!vm || vm->host != host) && host->vm_count >= MANAGER_VMS_PER_HOST) {
		return bh_diag_set(diag, -ENOSPC, "more than %d VMs on one host",
				   MANAGER_VMS_PER_HOST);
	}
	if (!vm) {
		vm = manager_vm_new(inv, report->id, now_ns);
		r = -EAGAIN; /* has no report yet */
	}
	if (r == 0 && vm->host == host) {
		BH_JSON json_t *old = manager_report_dump(&vm->report);
		BH_JSON json_t *new = manager_report_dump(report);

		r = json_equal(old, new) ? 0 : -EAGAIN;
	} else {
		r = -EAGAIN;
	}
	if (r == -EAGAIN) {
		r = manager_vm_set_report(inv, vm, report, diag);
		vm->last_seen_ns = now_ns;
	}
	if (r < 0 && !vm->identity) {
		manager_vm_remove(inv, vm);
		return r;
	}
	manager_claim_drop(vm, host);
	manager_vm_attach(inv, vm, host);
	manager_vm_place(inv, vm, now_ns);
	manager_vm_settle(inv, vm, now_ns);
	*ret = vm;
	return r;
}

void manager_vm_drop_gone(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns)
{
	manager_vm_settle(inv, vm, now_ns);
	/* A row that stays behind would come back at the next start. */
	if (!vm->host && !vm->incoming && json_object_size(vm->api) == 0 &&
	    manager_store_drop_vm(inv->db, vm->uuid, NULL) == 0) {
		manager_vm_remove(inv, vm);
	}
}

/* Nobody reports it any more. */
static void vanish(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns)
{
	manager_vm_detach(inv, vm);
	manager_vm_place(inv, vm, now_ns);
	vm->last_seen_ns = now_ns;
	vm->saved = false;
	manager_vm_drop_gone(inv, vm, now_ns);
}

struct seen {
	char uuid[BH_UUID_TEXT_SIZE];
	UT_hash_handle hh;
};

static void reject(json_t *rejected, const json_t *item, const struct bh_diag *diag)
{
	bh_counter_add(&inventory_rejected_vms, 1);
	if (json_array_size(rejected) < 32) {
		json_array_append_new(rejected, json_pack("{s:s, s:s}", "uuid",
							  bh_json_str_or(item, "uuid", ""), "error",
							  diag->text));
	}
}

static void report_one(struct manager_inventory *inv, struct manager_host *host, const json_t *item,
		       uint64_t now_ns, struct seen **seen, json_t *rejected)
{
	struct said said = {.listed = true, .now_ns = now_ns};
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	struct seen *s;

	if (manager_report_parse(item, host->name, &said.report, &diag) < 0) {
		reject(rejected, item, &diag);
		return;
	}
	HASH_FIND_STR(*seen, said.report.uuid, s);
	if (s) {
		bh_diag_set(&diag, -EINVAL, "one VM twice in an inventory");
		reject(rejected, item, &diag);
	} else {
		s = bh_alloc(sizeof(*s));
		memcpy(s->uuid, said.report.uuid, sizeof(s->uuid));
		HASH_ADD_STR(*seen, uuid, s);
		if (upsert(inv, host, &said, &vm, &diag) != 0) {
			reject(rejected, item, &diag);
		}
	}
	manager_report_done(&said.report);
}

int manager_inventory_report(struct manager_inventory *inv, struct manager_host *host,
			     const json_t *vms, uint64_t now_ns, json_t **ret_rejected,
			     struct bh_diag *diag)
{
	struct seen *seen = NULL, *s, *s_tmp;
	struct manager_claim *claim, *claim_tmp;
	struct manager_vm *vm, *tmp;
	size_t i;
	json_t *item;

	*ret_rejected = NULL;
	if (!json_is_array(vms) || json_array_size(vms) > MANAGER_VMS_PER_HOST) {
		return bh_diag_set(diag, -EINVAL, "'vms' must be a list of at most %d",
				   MANAGER_VMS_PER_HOST);
	}
	*ret_rejected = json_array();
	json_array_foreach (vms, i, item) {
		report_one(inv, host, item, now_ns, &seen, *ret_rejected);
	}
	DL_FOREACH_SAFE2(host->claims, claim, claim_tmp, host_next)
	{
		HASH_FIND_STR(seen, claim->vm->uuid, s);
		if (!s) {
			manager_claim_drop(claim->vm, host);
		}
	}
	DL_FOREACH_SAFE(host->vms, vm, tmp)
	{
		HASH_FIND_STR(seen, vm->uuid, s);
		if (!s) {
			vanish(inv, vm, now_ns);
		}
	}
	DL_FOREACH2(host->incoming, vm, in_next)
	{
		HASH_FIND_STR(seen, vm->uuid, s);
		if (!s) {
			manager_vm_arriving(inv, vm, NULL, true, now_ns);
		}
	}
	HASH_ITER (hh, seen, s, s_tmp) {
		HASH_DEL(seen, s);
		free(s);
	}
	host->report_ns = now_ns;
	return 0;
}

int manager_inventory_birth(struct manager_inventory *inv, struct manager_host *host,
			    const json_t *json, uint64_t now_ns, struct manager_vm **ret_vm,
			    struct bh_diag *diag)
{
	struct said said = {.now_ns = now_ns};
	int r;

	r = manager_report_parse(json, host->name, &said.report, diag);
	if (r < 0) {
		return r;
	}
	if (!manager_report_running(&said.report)) {
		free(said.report.state);
		said.report.state = bh_strdup("starting");
	}
	r = upsert(inv, host, &said, ret_vm, diag);
	manager_report_done(&said.report);
	return r;
}

/* ---- learned addresses ---- */

static int learn(struct manager_nic *nic, const struct manager_learned *new)
{
	size_t oldest = 0;

	for (size_t i = 0; i < nic->learned_count; i++) {
		struct manager_learned *l = &nic->learned[i];

		if (memcmp(l->addr.bytes, new->addr.bytes, 16) == 0 && l->vlan == new->vlan) {
			l->expires_ns = new->expires_ns;
			return 0;
		}
		if (l->expires_ns < nic->learned[oldest].expires_ns) {
			oldest = i;
		}
	}
	if (nic->learned_count < BH_ARRAY_SIZE(nic->learned)) {
		oldest = nic->learned_count++;
	}
	nic->learned[oldest] = *new;
	return 1;
}

int manager_inventory_learned(struct manager_inventory *inv, struct manager_host *host,
			      const json_t *body, uint64_t now_ns, struct bh_diag *diag)
{
	const char *uuid = NULL, *mac_text = NULL, *addr_text = NULL;
	struct manager_addrs addr = {};
	struct manager_learned learned = {};
	BH_JSON json_t *list = NULL;
	uint64_t vlan, lease_s;
	struct manager_vm *vm;
	uint8_t mac[6];

	if (bh_json_str(body, "vm", &uuid, diag) < 0 ||
	    bh_json_str(body, "mac", &mac_text, diag) < 0 ||
	    bh_json_str(body, "address", &addr_text, diag) < 0) {
		return -EINVAL;
	}
	HASH_FIND_STR(inv->vms, uuid, vm);
	if (!vm || (vm->host != host && vm->incoming != host)) {
		return bh_diag_set(diag, -ENOENT, "this host has no VM %.60s", uuid);
	}
	list = json_pack("[s]", addr_text);
	if (bh_mac_parse(mac_text, mac) < 0 || manager_addrs_parse(list, &addr, diag) < 0 ||
	    addr.count != 1) {
		bh_vec_done(&addr);
		return bh_diag_set(diag, -EINVAL, "not an address that a NIC can have");
	}
	learned.addr = addr.items[0];
	bh_vec_done(&addr);
	vlan = bh_json_u64_or(body, "vlan", 0);
	lease_s = bh_json_u64_or(body, "lease_s", 3600);
	learned.vlan = vlan <= UINT32_MAX ? (uint32_t)vlan : 0;
	learned.expires_ns = now_ns + (lease_s > 86400 * 365 ? 86400 * 365 : lease_s) * BH_NS_PER_S;
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (memcmp(vm->report.nics[i].mac, mac, 6) != 0) {
			continue;
		}
		vm->saved = false;
		inv->dirty = true;
		if (learn(&vm->nics[i], &learned)) {
			manager_vm_touch(inv, vm);
			return manager_vm_identify(inv, vm, diag);
		}
		return 0;
	}
	return bh_diag_set(diag, -ENOENT, "VM %s has no NIC %.20s", vm->uuid, mac_text);
}

void manager_inventory_expire(struct manager_inventory *inv, uint64_t now_ns)
{
	struct manager_vm *vm, *tmp;

	manager_rollback_tick(inv, now_ns);
	HASH_ITER (hh, inv->vms, vm, tmp) {
		bool gone = false;

		for (size_t i = 0; i < vm->report.nic_count; i++) {
			struct manager_nic *nic = &vm->nics[i];

			for (size_t k = nic->learned_count; k-- > 0;) {
				if (nic->learned[k].expires_ns < now_ns) {
					nic->learned[k] = nic->learned[--nic->learned_count];
					gone = true;
				}
			}
		}
		if (gone) {
			manager_vm_touch(inv, vm);
			(void)!manager_vm_identify(inv, vm, NULL);
		}
	}
}
