/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/vms. */
#include "manager/api/shown.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/quota.h"
#include "manager/migrate/placement.h"

#include <errno.h>

static json_t *labels_api(const struct manager_vm *vm)
{
	json_t *labels = json_object_get(vm->api, "labels");

	return labels ? json_incref(labels) : json_object();
}

static json_t *string_or_null(const char *s)
{
	return *s ? json_string(s) : json_null();
}

static json_t *nic_json(const struct manager_nic *nic)
{
	const struct manager_report_nic *r = nic->report;
	struct manager_addrs all = {};
	json_t *learned = json_array();
	char mac[BH_MAC_TEXT_SIZE];
	json_t *obj;

	bh_mac_format(r->mac, mac);
	for (size_t i = 0; i < nic->learned_count; i++) {
		char text[BH_ADDR_TEXT_SIZE];

		bh_addr_format(nic->learned[i].addr.bytes, text);
		json_array_append_new(learned, json_string(text));
	}
	manager_nic_addresses(nic, true, &all);
	obj = json_pack("{s:s, s:s, s:i, s:b, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:s}",
			"mac", mac, "network", r->net, "net", nic->net ? (int)nic->net->number : 0,
			"net_managed", r->managed, "kind", r->kind, "source", r->source, "dev",
			r->dev, "addresses", manager_addrs_dump(&all), "addresses_api",
			manager_addrs_dump(&nic->api), "addresses_learned", learned, "flags",
			manager_report_flags_dump(r), "vlans", manager_report_vlans_dump(r),
			"protected", r->is_protected, "reason", r->reason);
	bh_vec_done(&all);
	return obj;
}

json_t *manager_vm_json(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	json_t *nics = json_array();
	char seen[BH_TIME_TEXT_SIZE];
	json_t *obj = json_object();
	uint64_t seen_ns = vm->host ? vm->host->report_ns : 0;

	for (size_t i = 0; i < vm->report.nic_count; i++) {
		json_array_append_new(nics, nic_json(&vm->nics[i]));
	}
	bh_time_format(seen_ns > vm->last_seen_ns ? seen_ns : vm->last_seen_ns, seen);
	json_object_set_new(obj, "uuid", json_string(vm->uuid));
	json_object_set_new(obj, "name", json_string(vm->report.name));
	json_object_set_new(obj, "type", json_string(vm->report.type));
	json_object_set_new(obj, "state", json_string(vm->host ? vm->report.state : "gone"));
	json_object_set_new(obj, "host", vm->host ? json_string(vm->host->name) : json_null());
	json_object_set_new(obj, "moving_to",
			    vm->incoming ? json_string(vm->incoming->name) : json_null());
	json_object_set_new(obj, "tenant", json_string(vm->tenant->name));
	json_object_set_new(obj, "tenant_api",
			    string_or_null(bh_json_str_or(vm->api, "tenant", "")));
	json_object_set_new(obj, "identity", json_integer(vm->identity->number));
	json_object_set_new(obj, "birth", json_string(manager_vm_birth(vm)));
	json_object_set_new(obj, "birth_api", string_or_null(bh_json_str_or(vm->api, "birth", "")));
	json_object_set(obj, "labels", vm->labels);
	json_object_set_new(obj, "labels_api", labels_api(vm));
	json_object_set(obj, "labels_metadata", vm->report.labels);
	json_object_set_new(obj, "last_seen", json_string(seen));
	json_object_set_new(obj, "nics", nics);
	json_object_set_new(obj, "quarantine",
			    manager_quarantine_json(manager_quarantine_of(inv, vm->uuid)));
	json_object_set_new(obj, "over_quota", manager_vm_over_quota_json(vm));
	json_object_set_new(obj, "misplaced",
			    vm->misplaced ? json_string(vm->misplaced) : json_null());
	json_object_set_new(obj, "address_conflicts", manager_conflicts_of(inv, vm));
	return obj;
}

static void get_vm(struct manager_request *req)
{
	const struct manager_vm *vm = manager_request_vm(req);

	json_t *obj;

	if (vm) {
		obj = manager_vm_shown(req, vm);
		if (manager_request_sees_hosts(req)) {
			json_object_set_new(obj, "history", manager_vm_places(req->parts->inv, vm));
		}
		manager_reply(req, 200, obj);
	}
}

static void delete_vm(struct manager_request *req)
{
	struct manager_vm *vm = manager_request_vm(req);
	struct bh_diag diag = {};
	int r;

	if (!vm) {
		return;
	}
	if (vm->host) {
		manager_reply_errorf(req, 409, "conflict", "host %s reports this VM",
				     vm->host->name);
		return;
	}
	if (vm->incoming) {
		manager_reply_errorf(req, 409, "conflict", "this VM is on its way to host %s",
				     vm->incoming->name);
		return;
	}
	r = manager_store_drop_vm(req->parts->db, vm->uuid, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(
		req, vm->tenant->number, NULL,
		json_pack("{s:s, s:O}", "name", vm->report.name, "labels", vm->labels), NULL);
	manager_vm_remove(req->parts->inv, vm);
	manager_distribute_schedule(req->parts->dist);
	manager_reply_nothing(req);
}

/* Sets a member of the VM's api, or takes it away for null; false when it was answered. */
static bool set_api(struct manager_request *req, struct manager_vm *vm, json_t *api)
{
	json_t *was = json_deep_copy(vm->api);
	uint32_t tenant = vm->tenant->number;
	struct bh_diag diag = {};
	int r = manager_vm_set_api(req->parts->inv, vm, api, &diag);

	if (r < 0) {
		json_decref(was);
		manager_reply_failed(req, r, &diag);
		return false;
	}
	if (vm->tenant->number != tenant) { /* who gets it */
		manager_request_changed(req, vm->tenant->number, NULL, NULL,
					json_deep_copy(vm->api));
	}
	manager_request_changed(req, tenant, NULL, was, json_deep_copy(vm->api));
	(void)!manager_distribute_flush(req->parts->dist, NULL);
	return true;
}

static int take_member(json_t *api, const char *key, const json_t *value, struct bh_diag *diag)
{
	const char *s = json_string_value(value);

	if (!value) {
		return 0;
	}
	if (json_is_null(value)) {
		json_object_del(api, key);
		return 0;
	}
	if (!s || (strcmp(key, "tenant") == 0 && !bh_name_valid(s)) ||
	    (strcmp(key, "birth") == 0 && strcmp(s, "open") != 0 && strcmp(s, "closed") != 0)) {
		return bh_diag_set(diag, -EINVAL, "'%s' has no valid value", key);
	}
	json_object_set_new(api, key, json_string(s));
	return 0;
}

/* Another tenant: a right at both. Without protection is dangerous, with it is not. False when it
 * was answered. */
static bool may_patch(struct manager_request *req, const struct manager_vm *vm, const json_t *body)
{
	const json_t *tenant = json_object_get(body, "tenant");
	const json_t *birth = json_object_get(body, "birth");
	const char *to = json_is_string(tenant) ? json_string_value(tenant)
						: bh_json_str_or(vm->api, "tenant", "");
	bool closed = birth && strcmp(bh_json_str_or(body, "birth", ""), "closed") == 0;

	if (tenant && (!manager_request_may(req, VERB_VM_ASSIGN, vm->tenant->number, vm->uuid) ||
		       !manager_request_may(req, VERB_VM_ASSIGN, manager_request_tenant(req, to),
					    vm->uuid))) {
		return false;
	}
	return !birth || manager_request_may(req, closed ? VERB_VM_LABELS : VERB_VM_UNPROTECT,
					     vm->tenant->number, vm->uuid);
}

static void patch_vm(struct manager_request *req)
{
	static const char *const known[] = {"tenant", "birth", NULL};
	struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	struct bh_diag diag = {};
	json_t *api;

	if (!body || !may_patch(req, vm, body)) {
		return;
	}
	api = json_deep_copy(vm->api);
	if (take_member(api, "tenant", json_object_get(body, "tenant"), &diag) < 0 ||
	    take_member(api, "birth", json_object_get(body, "birth"), &diag) < 0) {
		json_decref(api);
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (set_api(req, vm, api)) {
		manager_reply(req, 200, manager_vm_shown(req, vm));
	}
}

/* ---- labels ---- */

static json_t *labels_of(const struct manager_vm *vm)
{
	return json_pack("{s:s, s:i, s:O, s:o, s:O}", "uuid", vm->uuid, "identity",
			 (int)vm->identity->number, "labels", vm->labels, "labels_api",
			 labels_api(vm), "labels_metadata", vm->report.labels);
}

static void get_labels(struct manager_request *req)
{
	const struct manager_vm *vm = manager_request_vm(req);

	if (vm) {
		manager_reply(req, 200, labels_of(vm));
	}
}

static void on_labels_in_place(bool all, void *arg)
{
	struct manager_request *req = arg;
	struct manager_vm *vm = NULL;

	req->wait = NULL;
	if (manager_request_find_vm(req, req->state, &vm, NULL) == 0) {
		manager_reply(req, 200, labels_of(vm));
	} else {
		manager_reply_errorf(req, 404, "not_found", "the VM is gone meanwhile");
	}
}

static void answer_labels(struct manager_request *req, struct manager_vm *vm, uint64_t wait_ms)
{
	BH_FREE struct manager_host **hosts = NULL;
	size_t count;

	if (wait_ms) {
		hosts = manager_distribute_in_scope(req->parts->dist, &count);
		if (count) {
			req->state =
				bh_strdup(vm->uuid); /* its name may be another one's by then */
			req->state_free = free;
			manager_request_later(req);
			req->wait = manager_distribute_wait(req->parts->dist, hosts, count, wait_ms,
							    on_labels_in_place, req);
			return;
		}
	}
	manager_reply(req, 200, labels_of(vm));
}

static void change_labels(struct manager_request *req, bool merge)
{
	static const char *const known[] = {"labels", NULL};
	struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	BH_JSON json_t *all = NULL;
	struct bh_diag diag = {};
	uint64_t wait_ms;
	json_t *labels, *api;

	if (!body || manager_request_wait(req, &wait_ms) < 0) {
		return;
	}
	labels = json_object_get(body, "labels");
	if (manager_labels_check(labels, merge, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	api = json_deep_copy(vm->api);
	json_object_set_new(
		api, "labels",
		manager_labels_changed(merge ? json_object_get(api, "labels") : NULL, labels));
	all = json_deep_copy(vm->report.labels);
	json_object_update(all, json_object_get(api, "labels"));
	if (json_object_size(json_object_get(api, "labels")) == 0) {
		json_object_del(api, "labels");
	}
	if (json_object_size(all) > BH_LABELS_MAX) {
		json_decref(api);
		manager_reply_errorf(req, 400, "bad_request", "a VM may have %d labels",
				     BH_LABELS_MAX);
		return;
	}
	if (json_object_size(all) > json_object_size(vm->labels) &&
	    manager_quota_labels(req->parts->change, vm->tenant->name, json_object_size(all),
				 &diag) != 0) {
		json_decref(api);
		manager_reply_error(req, 409, "quota", &diag);
		return;
	}
	if (set_api(req, vm, api)) {
		manager_placement_review(req->parts->inv);
		answer_labels(req, vm, wait_ms);
	}
}

static void put_labels(struct manager_request *req)
{
	change_labels(req, false);
}

static void patch_labels(struct manager_request *req)
{
	change_labels(req, true);
}

/* ---- addresses ---- */

static struct manager_nic *find_nic(struct manager_vm *vm, const char *text)
{
	uint8_t mac[6];

	if (bh_mac_parse(text, mac) < 0) {
		return NULL;
	}
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (memcmp(vm->report.nics[i].mac, mac, 6) == 0) {
			return &vm->nics[i];
		}
	}
	return NULL;
}

static void put_addresses(struct manager_request *req)
{
	static const char *const known[] = {"addresses", NULL};
	struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	struct manager_addrs addrs = {};
	struct bh_diag diag = {};
	char mac[BH_MAC_TEXT_SIZE];
	json_t *api, *all;

	if (!body) {
		return;
	}
	if (!find_nic(vm, req->segments[3])) {
		manager_reply_errorf(req, 404, "not_found", "the VM has no NIC %.40s",
				     req->segments[3]);
		return;
	}
	if (manager_addrs_parse(json_object_get(body, "addresses"), &addrs, &diag) < 0) {
		bh_vec_done(&addrs);
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	bh_mac_format(find_nic(vm, req->segments[3])->report->mac, mac);
	api = json_deep_copy(vm->api);
	all = json_object_get(api, "addresses");
	if (!all) {
		all = json_object();
		json_object_set_new(api, "addresses", all);
	}
	if (addrs.count) {
		json_object_set_new(all, mac, manager_addrs_dump(&addrs));
	} else {
		json_object_del(all, mac);
	}
	if (json_object_size(all) == 0) {
		json_object_del(api, "addresses");
	}
	bh_vec_done(&addrs);
	if (set_api(req, vm, api)) {
		manager_reply(req, 200, manager_nic_shown(req, nic_json(find_nic(vm, mac))));
	}
}

/* ---- quarantine ---- */

static void put_quarantine(struct manager_request *req)
{
	static const char *const known[] = {"on", "reason", NULL};
	struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	const json_t *on = json_object_get(body, "on");
	char reason[MANAGER_REASON_MAX + 1];
	struct bh_diag diag = {};
	bool changed = false;
	json_t *was;
	int r;

	if (!body) {
		return;
	}
	if (!json_is_boolean(on)) {
		manager_reply_errorf(req, 400, "bad_request", "'on' must be true or false");
		return;
	}
	if (!manager_request_may(req, json_is_true(on) ? VERB_VM_QUARANTINE : VERB_VM_RELEASE,
				 vm->tenant->number, vm->uuid)) {
		return;
	}
	if (manager_request_reason(body, reason, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	manager_request_detail(req, "%s%s%s", json_is_true(on) ? "on" : "off", *reason ? ": " : "",
			       reason);
	was = manager_quarantine_json(manager_quarantine_of(req->parts->inv, vm->uuid));
	r = json_is_true(on) ? manager_quarantine_begin(req->parts->inv, vm, req->who, reason,
							&changed, &diag)
			     : manager_quarantine_end(req->parts->inv, vm, req->who, reason,
						      &changed, &diag);
	if (r < 0) {
		json_decref(was);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(
		req, vm->tenant->number, NULL, was,
		manager_quarantine_json(manager_quarantine_of(req->parts->inv, vm->uuid)));
	if (changed) {
		(void)!manager_distribute_flush(req->parts->dist, NULL); /* tried again by itself */
	}
	manager_reply(req, 200, manager_vm_shown(req, vm));
}

const struct manager_route manager_routes_vms[] = {
	{"GET", "vms", manager_list_vms, VERB_VM_READ, OBJECT_LIST, 0, NULL,
	 "tenant host label state protection q sort groups " API_PAGE_QUERY},
	{"GET", "vms/*", get_vm, VERB_VM_READ, OBJECT_VM, 0, NULL},
	{"PATCH", "vms/*", patch_vm, VERB_VM_READ, OBJECT_VM, API_AUDIT, "vm.change"},
	{"DELETE", "vms/*", delete_vm, VERB_VM_FORGET, OBJECT_VM, API_AUDIT, "vm.delete"},
	{"GET", "vms/*/labels", get_labels, VERB_VM_READ, OBJECT_VM, 0, NULL},
	{"PUT", "vms/*/labels", put_labels, VERB_VM_LABELS, OBJECT_VM, API_AUDIT, "vm.labels",
	 "wait"},
	{"PATCH", "vms/*/labels", patch_labels, VERB_VM_LABELS, OBJECT_VM, API_AUDIT, "vm.labels",
	 "wait"},
	{"PUT", "vms/*/quarantine", put_quarantine, VERB_VM_READ, OBJECT_VM, API_AUDIT,
	 "vm.quarantine"},
	{"PUT", "vms/*/nics/*/addresses", put_addresses, VERB_VM_ADDRESSES, OBJECT_VM, API_AUDIT,
	 "vm.addresses"},
	{},
};
