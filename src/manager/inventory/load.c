/* SPDX-License-Identifier: Apache-2.0 */
/* Between the inventory and the store. */
#include "manager/inventory/inventory.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define ROW_TEXT_MAX (4u << 20)

static int load_tenant(const struct manager_store_number *row, void *arg)
{
	manager_tenant_add(arg, row->number, row->name, true);
	return 0;
}

static int load_network(const struct manager_store_number *row, void *arg)
{
	struct manager_inventory *inv = arg;
	struct manager_network *n = bh_alloc(sizeof(*n));

	n->number = row->number;
	n->key = bh_strdup(row->name);
	n->managed = row->managed;
	n->saved = true;
	n->changed = true;
	HASH_ADD_KEYPTR(hh, inv->networks, n->key, strlen(n->key), n);
	HASH_ADD(hh_number, inv->networks_by_number, number, sizeof(n->number), n);
	return 0;
}

static int load_host(const struct manager_store_host *row, void *arg)
{
	struct manager_inventory *inv = arg;
	struct manager_host *h = manager_host_add(inv, row->name, row->enrolled_ns);
	BH_JSON json_t *hello = NULL;

	if (*row->hello &&
	    bh_json_load(row->hello, strlen(row->hello), ROW_TEXT_MAX, &hello, NULL) == 0) {
		manager_host_hello(inv, h, hello, row->last_seen_ns);
	}
	manager_host_settings_load(h, row->settings);
	h->last_seen_ns = row->last_seen_ns;
	h->saved = true;
	return 0;
}

static void load_learned(struct manager_vm *vm, const json_t *all)
{
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		struct manager_nic *nic = &vm->nics[i];
		char mac[BH_MAC_TEXT_SIZE];
		size_t k;
		json_t *item;

		bh_mac_format(nic->report->mac, mac);
		json_array_foreach (json_object_get(all, mac), k, item) {
			struct manager_learned *l = &nic->learned[nic->learned_count];
			const char *text = json_string_value(json_array_get(item, 0));

			if (nic->learned_count < MANAGER_ADDRS_PER_NIC && text &&
			    bh_addr_parse(text, l->addr.bytes) == 0) {
				l->vlan = (uint32_t)json_integer_value(json_array_get(item, 1));
				l->expires_ns =
					(uint64_t)json_integer_value(json_array_get(item, 2)) *
					BH_NS_PER_S;
				nic->learned_count++;
			}
		}
	}
}

struct load_arg {
	struct manager_inventory *inv;
	struct bh_diag *diag;
};

static int load_vm(const struct manager_store_vm *row, void *arg)
{
	struct load_arg *a = arg;
	struct manager_host *host = manager_host_find(a->inv, row->host);
	BH_JSON json_t *json = NULL;
	BH_JSON json_t *api = NULL;
	struct manager_report report;
	struct manager_vm *vm;
	int r;

	r = bh_json_load(row->report, strlen(row->report), ROW_TEXT_MAX, &json, a->diag);
	if (r == 0) {
		r = bh_json_load(row->api, strlen(row->api), ROW_TEXT_MAX, &api, a->diag);
	}
	if (r == 0) {
		r = manager_report_parse(json, NULL, &report, a->diag);
	}
	if (r < 0) {
		bh_diag_prefix(a->diag, "stored VM %s", row->uuid);
		return r;
	}
	vm = manager_vm_new(a->inv, report.id, row->first_seen_ns);
	json_decref(vm->api);
	vm->api = bh_steal(&api);
	r = manager_vm_set_report(a->inv, vm, &report, a->diag);
	manager_report_done(&report);
	if (r < 0) {
		return r;
	}
	load_learned(vm, json_object_get(json, "learned"));
	manager_place_load(json_object_get(json, "place"), &vm->place);
	if (host) {
		manager_vm_attach(a->inv, vm, host);
	}
	vm->last_seen_ns = row->last_seen_ns;
	vm->saved = true;
	return 0;
}

static uint32_t next_number(struct manager_db *db, const char *name, uint32_t first)
{
	return (uint32_t)manager_db_number(db, first, "SELECT next FROM numbers WHERE name = ?1",
					   "t", name);
}

int manager_inventory_new(struct manager_db *db, const char *default_tenant,
			  struct manager_inventory **ret, struct bh_diag *diag)
{
	struct manager_inventory *inv = bh_alloc(sizeof(*inv));
	struct load_arg a = {inv, diag};
	int r;

	inv->db = db;
	inv->default_tenant = default_tenant;
	inv->next_tenant = next_number(db, "tenant", 2);
	inv->next_network = next_number(db, "network", 1);
	inv->next_identity = next_number(db, "identity", 256);
	inv->numbers_saved = true;
	r = manager_rollback_new(inv, diag);
	if (r == 0) {
		r = manager_store_tenants(db, load_tenant, inv, diag);
	}
	if (r == 0) {
		r = manager_store_networks(db, load_network, inv, diag);
	}
	if (r == 0) {
		r = manager_store_hosts(db, load_host, inv, diag);
	}
	if (r == 0) {
		r = manager_store_vms(db, load_vm, &a, diag);
	}
	if (r < 0) {
		manager_inventory_free(inv);
		return r;
	}
	inv->dirty = true;
	*ret = inv;
	return 0;
}

void manager_inventory_free(struct manager_inventory *inv)
{
	struct manager_vm *vm, *vm_tmp;
	struct manager_host *h, *h_tmp;
	struct manager_identity *id, *id_tmp;
	struct manager_network *n, *n_tmp;
	struct manager_tenant *t, *t_tmp;

	if (!inv) {
		return;
	}
	HASH_ITER (hh, inv->vms, vm, vm_tmp) {
		manager_vm_remove(inv, vm);
	}
	bh_vec_done(&inv->vms_by_name);
	HASH_ITER (hh, inv->hosts, h, h_tmp) {
		manager_host_remove(inv, h, 0);
	}
	HASH_ITER (hh, inv->identities, id, id_tmp) {
		manager_identity_remove(inv, id);
	}
	HASH_ITER (hh, inv->networks, n, n_tmp) {
		HASH_DELETE(hh, inv->networks, n);
		HASH_DELETE(hh_number, inv->networks_by_number, n);
		bh_segment_unref(n->segment);
		bh_vec_done(&n->conflicts);
		free(n->key);
		free(n);
	}
	HASH_ITER (hh, inv->tenants, t, t_tmp) {
		manager_tenant_remove(inv, t);
	}
	bh_vec_done(&inv->places_ended);
	manager_rollback_free(inv->rollback);
	free(inv);
}

/* ---- saving ---- */

static int save_numbers(struct manager_inventory *inv, struct bh_diag *diag)
{
	static const char sql[] = "INSERT OR REPLACE INTO numbers VALUES (?1, ?2)";
	int r = 0;

	if (inv->numbers_saved) {
		return 0;
	}
	r = manager_db_run(inv->db, diag, sql, "tu", "tenant", inv->next_tenant);
	if (r == 0) {
		r = manager_db_run(inv->db, diag, sql, "tu", "network", inv->next_network);
	}
	if (r == 0) {
		r = manager_db_run(inv->db, diag, sql, "tu", "identity", inv->next_identity);
	}
	return r;
}

static int save_names(struct manager_inventory *inv, struct bh_diag *diag)
{
	struct manager_identity *id, *id_tmp;
	struct manager_network *n, *n_tmp;
	struct manager_tenant *t, *t_tmp;
	int r = 0;

	HASH_ITER (hh, inv->tenants, t, t_tmp) {
		if (!t->saved && r == 0) {
			r = manager_store_add_tenant(inv->db, t->number, t->name, diag);
		}
	}
	HASH_ITER (hh, inv->networks, n, n_tmp) {
		if (!n->saved && r == 0) {
			r = manager_store_add_network(inv->db, n->number, n->key, n->managed, diag);
		}
	}
	HASH_ITER (hh, inv->identities, id, id_tmp) {
		if (!id->saved && r == 0) {
			struct manager_store_number row = {.number = id->number,
							   .tenant = id->tenant->number,
							   .name = strchr(id->key, '\n') + 1};

			r = manager_store_add_identity(inv->db, &row, diag);
		}
	}
	return r;
}

static int save_host(struct manager_inventory *inv, const struct manager_host *h,
		     struct bh_diag *diag)
{
	BH_FREE char *hello = h->hello ? bh_json_dump(h->hello) : bh_strdup("");
	BH_FREE char *settings = manager_host_settings_dump(h);
	struct manager_store_host row = {.name = h->name,
					 .enrolled_ns = h->enrolled_ns,
					 .last_seen_ns = h->last_seen_ns,
					 .hello = hello,
					 .installed = "",
					 .settings = settings};

	return manager_store_put_host(inv->db, &row, diag);
}

/* Learned addresses stand beside the report: {"<mac>": [["<address>", vlan, expires_s]]}. */
static json_t *dump_learned(const struct manager_vm *vm)
{
	json_t *all = json_object();

	for (size_t i = 0; i < vm->report.nic_count; i++) {
		const struct manager_nic *nic = &vm->nics[i];
		char mac[BH_MAC_TEXT_SIZE], addr[BH_ADDR_TEXT_SIZE];
		json_t *list;

		if (!nic->learned_count) {
			continue;
		}
		list = json_array();
		bh_mac_format(nic->report->mac, mac);
		for (size_t k = 0; k < nic->learned_count; k++) {
			bh_addr_format(nic->learned[k].addr.bytes, addr);
			json_array_append_new(
				list,
				json_pack("[s, I, I]", addr, (json_int_t)nic->learned[k].vlan,
					  (json_int_t)(nic->learned[k].expires_ns / BH_NS_PER_S)));
		}
		json_object_set_new(all, mac, list);
	}
	return all;
}

static int save_vm(struct manager_inventory *inv, const struct manager_vm *vm, struct bh_diag *diag)
{
	BH_JSON json_t *json = manager_report_dump(&vm->report);
	BH_JSON json_t *learned = dump_learned(vm);
	BH_FREE char *api = bh_json_dump(vm->api);
	BH_FREE char *report = NULL;
	struct manager_store_vm row = {.uuid = vm->uuid,
				       .host = vm->host ? vm->host->name : "",
				       .api = api,
				       .first_seen_ns = vm->first_seen_ns,
				       .last_seen_ns = vm->last_seen_ns};

	json_object_set(json, "learned", learned);
	if (*vm->place.host) {
		json_object_set_new(json, "place", manager_place_dump(&vm->place));
	}
	report = bh_json_dump(json);
	row.report = report;
	return manager_store_put_vm(inv->db, &row, diag);
}

static int save_all(struct manager_inventory *inv, struct bh_diag *diag)
{
	struct manager_host *h, *h_tmp;
	struct manager_vm *vm, *vm_tmp;
	int r;

	r = save_numbers(inv, diag);
	if (r == 0) {
		r = save_names(inv, diag);
	}
	HASH_ITER (hh, inv->hosts, h, h_tmp) {
		if (!h->saved && r == 0) {
			r = save_host(inv, h, diag);
		}
	}
	HASH_ITER (hh, inv->vms, vm, vm_tmp) {
		if (!vm->saved && r == 0) {
			r = save_vm(inv, vm, diag);
		}
	}
	if (r == 0) {
		r = manager_places_save(inv, diag);
	}
	return r;
}

void manager_inventory_saved(struct manager_inventory *inv)
{
	struct manager_identity *id, *id_tmp;
	struct manager_network *n, *n_tmp;
	struct manager_tenant *t, *t_tmp;
	struct manager_host *h, *h_tmp;
	struct manager_vm *vm, *vm_tmp;

	inv->numbers_saved = true;
	inv->places_ended.count = 0;
	HASH_ITER (hh, inv->tenants, t, t_tmp) {
		t->saved = true;
	}
	HASH_ITER (hh, inv->networks, n, n_tmp) {
		n->saved = true;
	}
	HASH_ITER (hh, inv->identities, id, id_tmp) {
		id->saved = true;
	}
	HASH_ITER (hh, inv->hosts, h, h_tmp) {
		h->saved = true;
	}
	HASH_ITER (hh, inv->vms, vm, vm_tmp) {
		vm->saved = true;
	}
}

int manager_inventory_save(struct manager_inventory *inv, bool in_tx, struct bh_diag *diag)
{
	int r;

	if (in_tx) {
		return save_all(inv, diag);
	}
	r = manager_db_begin(inv->db, diag);
	if (r == 0) {
		r = save_all(inv, diag);
	}
	if (r == 0) {
		r = manager_db_commit(inv->db, diag);
	}
	if (r < 0) {
		manager_db_abort(inv->db);
		return r;
	}
	manager_inventory_saved(inv);
	return 0;
}
