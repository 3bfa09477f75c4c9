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

static void add_addr(struct bh_wbuf *event, const char *key, const uint8_t addr[16])
{
	static const uint8_t zero[16];
	char text[BH_ADDR_TEXT_SIZE];

	if (memcmp(addr, zero, 16) != 0) {
		bh_addr_format(addr, text);
		bh_jtext_add_str(event, key, text);
	}
}

static void add_nic(struct hostd_agent *agent, struct bh_wbuf *event, uint32_t index)
{
	char uuid[BH_UUID_TEXT_SIZE], mac[BH_MAC_TEXT_SIZE];
	struct hostd_dp_nic_key key;
	const struct hostd_vm *vm;

	if (!hostd_dp_nic_of_index(agent->dp, index, &key)) {
		return;
	}
	vm = hostd_inventory_find(agent->inv, key.vm);
	bh_uuid_format(key.vm, uuid);
	bh_jtext_add_str(event, "vm", uuid);
	if (vm) {
		bh_jtext_add_str(event, "vm_name", vm->name);
	}
	bh_mac_format(key.mac, mac);
	bh_jtext_add_str(event, "nic", mac);
}

static void add_flow(struct bh_wbuf *event, const struct bh_flow_event *e)
{
	char proto[8], mac[BH_MAC_TEXT_SIZE];

	bh_jtext_add_str(event, "dir", e->dir == BH_DIR_EGRESS ? "egress" : "ingress");
	bh_jtext_add_str(event, "action", action_name(e->action));
	bh_jtext_add_str(event, "reason", hostd_dp_reason_name(e->reason));
	if (e->ethertype == 0x0800 || e->ethertype == 0x86dd) {
		bh_proto_format(e->proto, proto);
		bh_jtext_add_str(event, "proto", proto);
	} else {
		bh_jtext_add_u64(event, "ethertype", e->ethertype);
	}
	add_addr(event, "src", e->src);
	add_addr(event, "dst", e->dst);
	if (e->proto == 1 || e->proto == 58) {
		const uint8_t *type_code = (const uint8_t *)&e->sport;

		bh_jtext_add_u64(event, "icmp_type", type_code[0]);
		bh_jtext_add_u64(event, "icmp_code", type_code[1]);
	} else if (e->sport || e->dport) {
		bh_jtext_add_u64(event, "sport", ntohs(e->sport));
		bh_jtext_add_u64(event, "dport", ntohs(e->dport));
	}
	bh_mac_format(e->src_mac, mac);
	bh_jtext_add_str(event, "src_mac", mac);
	bh_mac_format(e->dst_mac, mac);
	bh_jtext_add_str(event, "dst_mac", mac);
	bh_jtext_add_u64(event, "src_identity", e->src_identity);
	bh_jtext_add_u64(event, "dst_identity", e->dst_identity);
	bh_jtext_add_u64(event, "rule", e->rule);
	bh_jtext_add_u64(event, "other_rule", e->other_rule);
	bh_jtext_add_pair(event, "packets", e->packets[0], e->packets[1]);
	bh_jtext_add_pair(event, "bytes", e->bytes[0], e->bytes[1]);
}

static void begin_guard(struct bh_wbuf *event, const char *reason, uint64_t wall_ns)
{
	char type[BH_EVENT_TYPE_MAX + 1];

	snprintf(type, sizeof(type), "guard.%s", strncmp(reason, "drop_", 5) ? reason : reason + 5);
	for (char *p = type; *p; p++) {
		*p = *p == '_' ? '-' : *p; /* event types have no underscore */
	}
	bh_event_text_begin(event, type, BH_SEVERITY_WARNING, wall_ns);
}

static void begin_dhcp(struct bh_wbuf *event, const struct bh_flow_event *e, uint64_t wall_ns)
{
	if (e->action != BH_ACTION_ALLOW) {
		bh_event_text_begin(event, "dhcp.refused", BH_SEVERITY_WARNING, wall_ns);
	} else {
		bh_event_text_begin(event, e->duration_ns ? "dhcp.learned" : "dhcp.released",
				    BH_SEVERITY_INFO, wall_ns);
	}
}

static bool begin(struct bh_wbuf *event, const struct bh_flow_event *e)
{
	uint64_t now = bh_time_wall_ns();

	switch (e->type) {
	case BH_FLOW_NEW:
		bh_event_text_begin(event, "flow.new", BH_SEVERITY_INFO, now);
		return true;
	case BH_FLOW_REFUSED:
		bh_event_text_begin(event, "flow.refused", BH_SEVERITY_NOTICE, now);
		return true;
	case BH_FLOW_CLOSED:
		bh_event_text_begin(event, "flow.closed", BH_SEVERITY_INFO, now);
		return true;
	case BH_FLOW_DHCP:
		begin_dhcp(event, e, now);
		return true;
	case BH_FLOW_GUARD:
		begin_guard(event, hostd_dp_reason_name(e->reason), now);
		return true;
	default:
		return false;
	}
}

/* One poll of the kernel's ring. */
struct polling {
	struct hostd_agent *agent;
	struct bh_wbuf event; /* used again and again */
};

static void on_record(const struct bh_flow_event *e, void *arg)
{
	struct polling *polling = arg;
	struct hostd_agent *agent = polling->agent;
	struct bh_wbuf *event = &polling->event;

	if (!begin(event, e)) {
		bh_counter_add(&flows_unknown, 1);
		return;
	}
	bh_counter_add(&flows_events, 1);
	bh_jtext_add_str(event, "host", agent->name);
	add_nic(agent, event, e->nic);
	bh_jtext_add_u64(event, "net", e->net);
	bh_jtext_add_u64(event, "vlan", e->vlan);
	if (e->type == BH_FLOW_DHCP) {
		add_addr(event, "address", e->dst);
		bh_jtext_add_u64(event, "lease_s", e->duration_ns / BH_NS_PER_S);
		if (e->action == BH_ACTION_ALLOW) { /* else another holds it: not even asked for */
			hostd_session_learned(agent, e);
		}
	} else {
		add_flow(event, e);
	}
	if (e->type == BH_FLOW_CLOSED) {
		bh_jtext_add_u64(event, "duration_ms", e->duration_ns / BH_NS_PER_MS);
	}
	bh_jtext_add_u64(event, "count", 1 + (uint64_t)e->suppressed);
	bh_producer_put_text(agent->producer, event);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hostd_agent *agent = poll->data;
	struct polling polling = {.agent = agent};
	struct bh_diag diag = {};

	/* bounded, so that a flood of records can't keep the loop from everything else */
	if (hostd_dp_events_poll(agent->dp, POLL_MAX, on_record, &polling, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "flows", 2, "%s", diag.text);
	}
	bh_wbuf_done(&polling.event);
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
