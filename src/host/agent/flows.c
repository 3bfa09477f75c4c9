/* SPDX-License-Identifier: Apache-2.0 */
/* Flow records of the kernel become events with names in them. The kernel's ring holds them
 * meanwhile. */
#include "host/agent/agent.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <arpa/inet.h>

#define POLL_MAX 2048

BH_COUNTER(flows_events, "flow records of the kernel that became events");
BH_COUNTER(flows_unknown, "flow records of an unknown kind");

static const char *action_name(uint8_t action)
{
	switch (action) {
	case BH_ACTION_ALLOW:
		return "allow";
	case BH_ACTION_DENY:
		return "deny";
	case BH_ACTION_REJECT:
		return "reject";
	default:
		return "none";
	}
}

static void set_addr(json_t *event, const char *key, const uint8_t addr[16])
{
	static const uint8_t zero[16];
	char text[BH_ADDR_TEXT_SIZE];

	if (memcmp(addr, zero, 16) != 0) {
		bh_addr_format(addr, text);
		json_object_set_new(event, key, json_string(text));
	}
}

static void set_int(json_t *event, const char *key, uint64_t value)
{
	json_object_set_new(event, key, json_integer((json_int_t)value));
}

static void set_nic(struct hostd_agent *agent, json_t *event, uint32_t index)
{
	struct hostd_dp_nic_key key;
	const struct hostd_vm *vm;

	if (!hostd_dp_nic_of_index(agent->dp, index, &key)) {
		return;
	}
	vm = hostd_inventory_find(agent->inv, key.vm);
	hostd_agent_event_vm(event, key.vm, vm ? vm->name : NULL, key.mac);
}

static void set_flow(json_t *event, const struct bh_flow_event *e)
{
	char proto[8], mac[BH_MAC_TEXT_SIZE];

	bh_proto_format(e->proto, proto);
	json_object_set_new(event, "dir",
			    json_string(e->dir == BH_DIR_EGRESS ? "egress" : "ingress"));
	json_object_set_new(event, "action", json_string(action_name(e->action)));
	json_object_set_new(event, "reason", json_string(hostd_dp_reason_name(e->reason)));
	if (e->ethertype == 0x0800 || e->ethertype == 0x86dd) {
		json_object_set_new(event, "proto", json_string(proto));
	} else {
		set_int(event, "ethertype", e->ethertype);
	}
	set_addr(event, "src", e->src);
	set_addr(event, "dst", e->dst);
	if (e->proto == 1 || e->proto == 58) {
		const uint8_t *type_code = (const uint8_t *)&e->sport;

		set_int(event, "icmp_type", type_code[0]);
		set_int(event, "icmp_code", type_code[1]);
	} else if (e->sport || e->dport) {
		set_int(event, "sport", ntohs(e->sport));
		set_int(event, "dport", ntohs(e->dport));
	}
	bh_mac_format(e->src_mac, mac);
	json_object_set_new(event, "src_mac", json_string(mac));
	bh_mac_format(e->dst_mac, mac);
	json_object_set_new(event, "dst_mac", json_string(mac));
	set_int(event, "src_identity", e->src_identity);
	set_int(event, "dst_identity", e->dst_identity);
	set_int(event, "rule", e->rule);
	set_int(event, "other_rule", e->other_rule);
}

static json_t *event_of(const struct bh_flow_event *e)
{
	BH_FREE char *guard = NULL;
	const char *reason = hostd_dp_reason_name(e->reason);

	switch (e->type) {
	case BH_FLOW_NEW:
		return hostd_agent_event_new("flow.new", BH_SEVERITY_INFO);
	case BH_FLOW_REFUSED:
		return hostd_agent_event_new("flow.refused", BH_SEVERITY_NOTICE);
	case BH_FLOW_CLOSED:
		return hostd_agent_event_new("flow.closed", BH_SEVERITY_INFO);
	case BH_FLOW_DHCP:
		if (e->action != BH_ACTION_ALLOW) {
			return hostd_agent_event_new("dhcp.refused", BH_SEVERITY_WARNING);
		}
		return hostd_agent_event_new(e->duration_ns ? "dhcp.learned" : "dhcp.released",
					     BH_SEVERITY_INFO);
	case BH_FLOW_GUARD:
		guard = bh_asprintf("guard.%s", strncmp(reason, "drop_", 5) ? reason : reason + 5);
		for (char *p = guard; *p; p++) {
			*p = *p == '_' ? '-' : *p; /* event types have no underscore */
		}
		return hostd_agent_event_new(guard, BH_SEVERITY_WARNING);
	default:
		return NULL;
	}
}

static void on_record(const struct bh_flow_event *e, void *arg)
{
	struct hostd_agent *agent = arg;
	json_t *event = event_of(e);

	if (!event) {
		bh_counter_add(&flows_unknown, 1);
		return;
	}
	bh_counter_add(&flows_events, 1);
	set_nic(agent, event, e->nic);
	set_int(event, "net", e->net);
	set_int(event, "vlan", e->vlan);
	if (e->type == BH_FLOW_DHCP) {
		set_addr(event, "address", e->dst);
		set_int(event, "lease_s", e->duration_ns / BH_NS_PER_S);
		if (e->action == BH_ACTION_ALLOW) { /* else another holds it: not even asked for */
			hostd_session_learned(agent, e);
		}
	} else {
		set_flow(event, e);
		json_object_set_new(
			event, "packets",
			json_pack("[I, I]", (json_int_t)e->packets[0], (json_int_t)e->packets[1]));
		json_object_set_new(
			event, "bytes",
			json_pack("[I, I]", (json_int_t)e->bytes[0], (json_int_t)e->bytes[1]));
	}
	if (e->type == BH_FLOW_CLOSED) {
		set_int(event, "duration_ms", e->duration_ns / BH_NS_PER_MS);
	}
	set_int(event, "count", 1 + (uint64_t)e->suppressed);
	hostd_agent_event(agent, event);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hostd_agent *agent = poll->data;
	struct bh_diag diag = {};

	/* bounded, so that a flood of records can't keep the loop from everything else */
	if (hostd_dp_events_poll(agent->dp, POLL_MAX, on_record, agent, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "flows", 2, "%s", diag.text);
	}
}

int hostd_flows_start(struct hostd_agent *agent, struct bh_diag *diag)
{
	int err = uv_poll_init(agent->loop, &agent->records, hostd_dp_events_fd(agent->dp));

	if (err) {
		return bh_diag_set(diag, err, "flow records: %s", uv_strerror(err));
	}
	agent->records_open = true;
	agent->records.data = agent;
	err = uv_poll_start(&agent->records, UV_READABLE, on_readable);
	return err ? bh_diag_set(diag, err, "flow records: %s", uv_strerror(err)) : 0;
}
