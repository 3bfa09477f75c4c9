/* SPDX-License-Identifier: Apache-2.0 */
/* The VMs of this host as the manager is told of them (docs/architecture.md, "Bus"). */
#include "host/agent/agent.h"

#include "base/json.h"

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
	if (*nic->problem && place.protectable) {
		/* it is judged by the rest of them, which is not what somebody wanted */
		safe = false;
		snprintf(place.reason, sizeof(place.reason), "its settings are wrong: %.160s",
			 nic->problem);
		hostd_text_mend(place.reason);
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

json_t *hostd_report_vm(struct hostd_agent *agent, const struct hostd_vm *vm)
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

	json_array_append_new(c->list, hostd_report_vm(c->agent, vm));
}

static int by_uuid(const void *a, const void *b)
{
	return strcmp(bh_json_str_or(*(json_t *const *)a, "uuid", ""),
		      bh_json_str_or(*(json_t *const *)b, "uuid", ""));
}

json_t *hostd_report_inventory(struct hostd_agent *agent)
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
