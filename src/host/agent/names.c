/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager was told about the VMs here, and what of it the manager has acknowledged. The
 * acknowledged part is kept in inventory.json: a VM that starts while the manager is away may start
 * when the manager has seen it with the same tenant and labels, because then the rules in the image
 * are its own. It also tells, after a restart of hostd, which VMs started and stopped meanwhile.
 */
#include "host/agent/agent.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#include <errno.h>

#define INVENTORY_MAX (32u << 20)

struct hostd_names {
	json_t *acked;	/* {uuid: VM} */
	json_t *last;	/* {uuid: VM} as of the last changes */
	json_t *births; /* {uuid: "open" | "closed"} set by the API; wins over metadata */
	char *path, *births_path;
};

/* An object, empty when the file is not there or damaged. */
static json_t *read_object(const char *path)
{
	BH_FREE char *data = NULL;
	struct bh_diag diag = {};
	json_t *json = NULL;
	size_t size = 0;
	int err = bh_file_read(path, INVENTORY_MAX, &data, &size, &diag);

	if (err == 0) {
		err = bh_json_load(data, size, INVENTORY_MAX, &json, &diag);
	}
	if (err < 0 && err != -ENOENT) {
		bh_log(BH_LOG_WARN, "agent", "%s: %s", path, diag.text);
	}
	if (!json_is_object(json)) {
		json_decref(json);
		json = json_object();
	}
	return json;
}

struct hostd_names *hostd_names_new(struct hostd_agent *agent)
{
	struct hostd_names *names = bh_alloc(sizeof(*names));

	names->path = bh_asprintf("%s/inventory.json", agent->config->state_dir);
	names->acked = read_object(names->path);
	names->last = json_copy(names->acked);
	names->births_path = bh_asprintf("%s/births.json", agent->config->state_dir);
	names->births = read_object(names->births_path);
	return names;
}

void hostd_names_free(struct hostd_names *names)
{
	if (!names) {
		return;
	}
	json_decref(names->acked);
	json_decref(names->last);
	json_decref(names->births);
	free(names->path);
	free(names->births_path);
	free(names);
}

static void save(const char *path, const json_t *json)
{
	BH_FREE char *text = bh_json_dump(json);
	struct bh_diag diag = {};

	if (bh_file_replace(path, text, strlen(text), 0600, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "agent", 2, "%s", diag.text);
	}
}

static json_t *nic_flags(const struct hostd_nic *nic)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} flags[] = {{BH_NIC_DHCP_SERVER, "dhcp-server"},
		     {BH_NIC_ROUTER, "router"},
		     {BH_NIC_ANY_SOURCE, "any-source"}};
	json_t *list = json_array();

	for (size_t i = 0; i < BH_ARRAY_SIZE(flags); i++) {
		if (nic->flags & flags[i].flag) {
			json_array_append_new(list, json_string(flags[i].name));
		}
	}
	if (nic->any_vlan) {
		json_array_append_new(list, json_string("any-vlan"));
	}
	return list;
}

static json_t *nic_json(struct hostd_agent *agent, const struct hostd_vm *vm,
			const struct hostd_nic *nic)
{
	struct hostd_dp_nic_status status = {};
	struct hostd_dp_nic_key key = hostd_ports_key(vm, nic);
	struct hostd_nic_place place;
	struct bh_diag diag = {};
	char mac[BH_MAC_TEXT_SIZE];
	json_t *vlans = json_array();
	bool safe = false;

	hostd_inventory_place(agent->inv, vm, nic, &place);
	if (place.protectable && place.ifindex &&
	    hostd_dp_nic_status(agent->dp, &key, &status, &diag) == 0) {
		safe = status.attached && status.fed && status.ifindex == place.ifindex;
	}
	if (place.protectable && place.ifindex && !safe) {
		snprintf(place.reason, sizeof(place.reason), "%s",
			 !agent->enrolled		       ? "this host is not enrolled"
			 : !hostd_state_told(agent)	       ? "the manager has not answered yet"
			 : status.open			       ? "open: birth=open and no rules yet"
			 : !status.ifindex || !status.attached ? "its device could not be bound"
							       : "closed: no rules for it yet");
	}
	bh_vec_foreach (v, &nic->vlans) {
		json_array_append_new(vlans, json_integer(*v));
	}
	bh_mac_format(nic->mac, mac);
	return json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:s}", "mac", mac,
			 "net", place.net, "net_managed", place.managed, "kind",
			 hostd_nic_kind_name(nic->kind), "source", nic->source, "dev",
			 vm->running ? nic->dev : "", "addresses",
			 hostd_inventory_addresses(agent->inv, nic), "flags", nic_flags(nic),
			 "vlans", vlans, "protected", safe, "reason", place.reason);
}

json_t *hostd_names_vm(struct hostd_agent *agent, const struct hostd_vm *vm)
{
	char uuid[BH_UUID_TEXT_SIZE];
	json_t *labels = json_object();
	json_t *nics = json_array();

	bh_uuid_format(vm->uuid, uuid);
	bh_vec_foreach (l, &vm->labels) {
		json_object_set_new(labels, l->key, json_string(l->value));
	}
	bh_vec_foreach (nic, &vm->nics) {
		json_array_append_new(nics, nic_json(agent, vm, nic));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "uuid", uuid, "name",
			 vm->name, "type", vm->type, "state", vm->state, "tenant", vm->tenant,
			 "birth", vm->birth_open ? "open" : "closed", "labels", labels, "nics",
			 nics, "problem", vm->problem);
}

struct collect {
	struct hostd_agent *agent;
	json_t *list;
};

static void collect_vm(const struct hostd_vm *vm, void *arg)
{
	struct collect *c = arg;

	json_array_append_new(c->list, hostd_names_vm(c->agent, vm));
}

static int by_uuid(const void *a, const void *b)
{
	return strcmp(bh_json_str_or(*(json_t *const *)a, "uuid", ""),
		      bh_json_str_or(*(json_t *const *)b, "uuid", ""));
}

json_t *hostd_names_inventory(struct hostd_agent *agent)
{
	struct collect c = {.agent = agent, .list = json_array()};
	BH_JSON json_t *unsorted = c.list;
	size_t n;
	BH_FREE json_t **vms = NULL;
	json_t *sorted = json_array();

	hostd_inventory_each(agent->inv, collect_vm, &c);
	n = json_array_size(c.list);
	vms = bh_alloc_array(n + 1, sizeof(json_t *));
	for (size_t i = 0; i < n; i++) {
		vms[i] = json_array_get(unsorted, i);
	}
	qsort(vms, n, sizeof(json_t *), by_uuid); /* equal states give equal text */
	for (size_t i = 0; i < n; i++) {
		json_array_append(sorted, vms[i]);
	}
	return sorted;
}

static bool is_running(const json_t *vm)
{
	const char *state = bh_json_str_or(vm, "state", "");

	return vm && strcmp(state, "shutoff") != 0 && strcmp(state, "crashed") != 0 &&
	       strcmp(state, "starting") != 0;
}

static void vm_event(struct hostd_agent *agent, const json_t *vm, const char *type)
{
	json_t *event = hostd_agent_event_new(type, BH_SEVERITY_INFO);

	json_object_set(event, "vm", json_object_get(vm, "uuid"));
	json_object_set(event, "vm_name", json_object_get(vm, "name"));
	hostd_agent_event(agent, event);
}

static const json_t *find_nic(const json_t *vm, const char *mac)
{
	size_t i;
	json_t *nic;

	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		if (!strcmp(bh_json_str_or(nic, "mac", ""), mac)) {
			return nic;
		}
	}
	return NULL;
}

static void nic_event(struct hostd_agent *agent, const json_t *vm, const json_t *nic, bool safe)
{
	json_t *event = hostd_agent_event_new(safe ? "nic.protected" : "nic.unprotected",
					      safe ? BH_SEVERITY_INFO : BH_SEVERITY_WARNING);

	json_object_set(event, "vm", json_object_get(vm, "uuid"));
	json_object_set(event, "vm_name", json_object_get(vm, "name"));
	json_object_set(event, "nic", json_object_get(nic, "mac"));
	json_object_set(event, "dev", json_object_get(nic, "dev"));
	if (!safe) {
		json_object_set(event, "reason", json_object_get(nic, "reason"));
	}
	hostd_agent_event(agent, event);
}

static void compare_nics(struct hostd_agent *agent, const json_t *before, const json_t *now)
{
	size_t i;
	json_t *nic;

	if (!is_running(now)) {
		return;
	}
	json_array_foreach (json_object_get(now, "nics"), i, nic) {
		const json_t *old = find_nic(before, bh_json_str_or(nic, "mac", ""));
		bool safe = json_is_true(json_object_get(nic, "protected"));
		bool was = json_is_true(json_object_get(old, "protected"));

		if (safe != was || (!safe && (!old || !is_running(before)))) {
			nic_event(agent, now, nic, safe);
		}
	}
}

void hostd_names_changes(struct hostd_agent *agent, const json_t *vms)
{
	struct hostd_names *names = agent->names;
	json_t *next = json_object();
	const char *uuid;
	size_t i;
	json_t *vm;

	json_array_foreach (vms, i, vm) {
		json_object_set(next, bh_json_str_or(vm, "uuid", "?"), vm);
	}
	json_object_foreach (next, uuid, vm) {
		const json_t *before = json_object_get(names->last, uuid);

		if (is_running(vm) && !is_running(before)) {
			vm_event(agent, vm, "vm.started");
		} else if (!is_running(vm) && is_running(before)) {
			vm_event(agent, vm, "vm.stopped");
		}
		compare_nics(agent, before, vm);
	}
	json_object_foreach (names->last, uuid, vm) {
		if (is_running(vm) && !json_object_get(next, uuid)) {
			vm_event(agent, vm, "vm.stopped");
		}
	}
	json_decref(names->last);
	names->last = next;
}

void hostd_names_acked(struct hostd_agent *agent, const json_t *vms)
{
	struct hostd_names *names = agent->names;
	json_t *next = json_object();
	size_t i;
	json_t *vm;

	json_array_foreach (vms, i, vm) {
		json_object_set(next, bh_json_str_or(vm, "uuid", "?"), vm);
	}
	if (!json_equal(next, names->acked)) {
		json_decref(names->acked);
		names->acked = next;
		save(names->path, names->acked);
	} else {
		json_decref(next);
	}
}

void hostd_names_acked_vm(struct hostd_agent *agent, const json_t *vm)
{
	json_object_set(agent->names->acked, bh_json_str_or(vm, "uuid", "?"), (json_t *)vm);
	save(agent->names->path, agent->names->acked);
}

bool hostd_names_known(struct hostd_agent *agent, const json_t *vm)
{
	const json_t *seen = json_object_get(agent->names->acked, bh_json_str_or(vm, "uuid", "?"));

	return seen && json_equal(json_object_get(seen, "tenant"), json_object_get(vm, "tenant")) &&
	       json_equal(json_object_get(seen, "labels"), json_object_get(vm, "labels"));
}

void hostd_names_births(struct hostd_agent *agent, const json_t *births)
{
	struct hostd_names *names = agent->names;

	if (json_is_object(births) && !json_equal(births, names->births)) {
		json_decref(names->births);
		names->births = json_deep_copy(births);
		save(names->births_path, names->births);
		hostd_agent_dirty(agent);
	}
}

bool hostd_names_open(const struct hostd_agent *agent, const struct hostd_vm *vm)
{
	char uuid[BH_UUID_TEXT_SIZE];
	const char *birth;

	bh_uuid_format(vm->uuid, uuid);
	birth = bh_json_str_or(agent->names->births, uuid, "");
	return *birth ? !strcmp(birth, "open") : vm->birth_open;
}
