/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/agent.h"

#include "base/json.h"
#include "base/time.h"
#include "host/capsule/alone.h"
#include "host/capsule/capsule.h"
#include "version.h"

#include <errno.h>
#include <malloc.h>

#define CONNECTIONS_MAX 2000
#define COUNTERS_MAX	20000

static uint64_t resident_bytes(void)
{
	unsigned long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &pages, &resident) != 2) {
		resident = 0;
	}
	bh_cleanup_fclosep(&f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

json_t *hostd_answers_capacity(struct hostd_agent *agent)
{
	struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];
	json_t *out = json_object();
	uint32_t cts = 0;

	hostd_dp_usage(agent->dp, usage);
	for (unsigned int i = 0; i < HOSTD_DP_TABLE_COUNT; i++) {
		json_object_set_new(out, hostd_dp_table_name(i), json_integer(usage[i].size));
	}
	cts = usage[HOSTD_DP_CT4].size + usage[HOSTD_DP_CT6].size;
	json_object_set_new(out, "cts", json_integer(cts));
	return out;
}

static json_t *usage_json(struct hostd_agent *agent)
{
	struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];
	json_t *out = json_object();

	hostd_dp_usage(agent->dp, usage);
	for (unsigned int i = 0; i < HOSTD_DP_TABLE_COUNT; i++) {
		json_object_set_new(out, hostd_dp_table_name(i),
				    json_pack("{s:I, s:I}", "used", (json_int_t)usage[i].used,
					      "size", (json_int_t)usage[i].size));
	}
	return out;
}

static json_t *sources_json(struct hostd_agent *agent)
{
	json_t *list = json_array();
	uint64_t now = bh_time_mono_ns();

	for (int i = 0; i < agent->source_count; i++) {
		struct hostd_source *s = &agent->sources[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:b, s:s, s:I}", "uri", s->platform->uri, "up", s->up,
				  "text", s->text, "listed_ms_ago",
				  s->vms_at_ns ? (json_int_t)((now - s->vms_at_ns) / BH_NS_PER_MS)
					       : (json_int_t)-1));
	}
	return list;
}

/* What a person wants to know first, as one word. */
static const char *mode(struct hostd_agent *agent)
{
	if (hostd_state_told(agent)) {
		return "enforcing";
	}
	if (!agent->enrolled) {
		return "not enrolled";
	}
	return hostd_session_up(agent) ? "nothing to enforce yet" : "waiting for the manager";
}

json_t *hostd_answers_status(struct hostd_agent *agent)
{
	char hash[2 * BH_HASH_SIZE + 1], want[2 * BH_HASH_SIZE + 1];
	struct mallinfo2 heap = mallinfo2();
	uint64_t now = bh_time_mono_ns();

	bh_hash_format(hostd_dp_hash(agent->dp), hash);
	bh_hash_format(bh_image_hash(hostd_state_image(agent)), want);
	return json_pack(
		"{s:o, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:o, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I, s:b}}",
		"without_manager", hostd_alone_json(agent), "host", agent->name, "version",
		BH_VERSION, "mode", mode(agent), "uptime_s",
		(json_int_t)((now - agent->started_ns) / BH_NS_PER_S), "hash", hash, "image_hash",
		want, "gen", (json_int_t)hostd_dp_gen(agent->dp), "adopted", agent->dp_info.adopted,
		"attach", agent->dp_info.tcx ? "tcx" : "clsact", "manager",
		hostd_session_json(agent), "libvirt", sources_json(agent), "events",
		bh_producer_dump(agent->producer), "births", hostd_births_json(agent), "migrations",
		hostd_moves_json(agent), "tables", usage_json(agent), "ports",
		hostd_ports_json(agent), "memory", "resident_bytes", (json_int_t)resident_bytes(),
		"heap_bytes", (json_int_t)(heap.uordblks + heap.hblkhd), "loop", "lag_us",
		(json_int_t)(agent->lag_last_ns / 1000), "lag_max_us",
		(json_int_t)(agent->lag_max_ns / 1000), "verify", "rounds",
		(json_int_t)agent->verify_rounds, "drift", (json_int_t)agent->drift_found,
		"running", agent->verifying);
}

json_t *hostd_answers_vms(struct hostd_agent *agent)
{
	return json_pack("{s:o}", "vms", hostd_report_inventory(agent));
}

json_t *hostd_answers_nics(struct hostd_agent *agent)
{
	BH_JSON json_t *vms = hostd_report_inventory(agent);
	json_t *list = json_array();
	size_t i, k;
	json_t *vm, *nic;

	json_array_foreach (vms, i, vm) {
		json_array_foreach (json_object_get(vm, "nics"), k, nic) {
			struct hostd_dp_nic_status status = {};
			struct hostd_dp_nic_key key = {};
			json_t *item = json_copy(nic);

			json_object_set(item, "vm", json_object_get(vm, "uuid"));
			json_object_set(item, "vm_name", json_object_get(vm, "name"));
			json_object_set(item, "state", json_object_get(vm, "state"));
			if (bh_uuid_parse(bh_json_str_or(vm, "uuid", ""), key.vm) == 0 &&
			    bh_mac_parse(bh_json_str_or(nic, "mac", ""), key.mac) == 0 &&
			    hostd_dp_nic_status(agent->dp, &key, &status, NULL) == 0) {
				json_object_set_new(item, "index", json_integer(status.index));
				json_object_set_new(item, "identity",
						    json_integer(status.identity));
				json_object_set_new(item, "net_number", json_integer(status.net));
				json_object_set_new(item, "fed", json_boolean(status.fed));
				json_object_set_new(item, "attached",
						    json_boolean(status.attached));
				json_object_set_new(item, "open", json_boolean(status.open));
				json_object_set_new(item, "pickup",
						    json_boolean(status.flags & BH_NIC_PICKUP));
			}
			json_array_append_new(list, item);
		}
	}
	return json_pack("{s:o, s:o}", "nics", list, "ports", hostd_ports_json(agent));
}

/* Adds vm, vm_name and nic (MAC) for a NIC index; nothing for index 0. */
static void add_nic(struct hostd_agent *agent, json_t *item, uint32_t index)
{
	struct hostd_dp_nic_key key;
	const struct hostd_vm *vm;

	if (index && hostd_dp_nic_of_index(agent->dp, index, &key)) {
		vm = hostd_inventory_find(agent->inv, key.vm);
		hostd_agent_event_vm(item, key.vm, vm ? vm->name : NULL, key.mac);
	}
}

struct answer {
	struct hostd_agent *agent;
	json_t *list;
	uint64_t totals[BH_REASON_COUNT][2];
	const char *vm; /* NULL or "": all */
};

static bool wanted(struct answer *a, uint32_t index)
{
	struct hostd_dp_nic_key key;
	const struct hostd_vm *vm;
	char uuid[BH_UUID_TEXT_SIZE];

	if (!a->vm || !*a->vm) {
		return true;
	}
	if (!hostd_dp_nic_of_index(a->agent->dp, index, &key)) {
		return false;
	}
	bh_uuid_format(key.vm, uuid);
	vm = hostd_inventory_find(a->agent->inv, key.vm);
	return !strcmp(uuid, a->vm) || (vm && !strcmp(vm->name, a->vm));
}

static void on_counter(const struct hostd_dp_counter *c, void *arg)
{
	struct answer *a = arg;
	json_t *item;

	if (!c->value.packets || !wanted(a, c->nic)) {
		return;
	}
	if ((unsigned int)c->reason < BH_REASON_COUNT) {
		a->totals[c->reason][0] += c->value.packets;
		a->totals[c->reason][1] += c->value.bytes;
	}
	if (json_array_size(a->list) >= COUNTERS_MAX) {
		return;
	}
	item = json_pack("{s:s, s:I, s:I, s:i}", "reason", hostd_dp_reason_name(c->reason),
			 "packets", (json_int_t)c->value.packets, "bytes",
			 (json_int_t)c->value.bytes, "index", (int)c->nic);
	add_nic(a->agent, item, c->nic);
	json_array_append_new(a->list, item);
}

json_t *hostd_answers_counters(struct hostd_agent *agent, const json_t *request,
			       struct bh_diag *diag)
{
	BH_FREE struct answer *a = bh_alloc(sizeof(*a));
	json_t *totals;

	a->agent = agent;
	a->list = json_array();
	a->vm = bh_json_str_or(request, "vm", "");
	if (hostd_dp_counters(agent->dp, on_counter, a, diag) < 0) {
		json_decref(a->list);
		return NULL;
	}
	totals = json_object();
	for (unsigned int i = 0; i < BH_REASON_COUNT; i++) {
		if (a->totals[i][0]) {
			json_object_set_new(totals, hostd_dp_reason_name(i),
					    json_pack("{s:I, s:I}", "packets",
						      (json_int_t)a->totals[i][0], "bytes",
						      (json_int_t)a->totals[i][1]));
		}
	}
	return json_pack("{s:o, s:o}", "totals", totals, "nics", a->list);
}

static void on_rule(const struct bh_rule_stat_key *key, const struct bh_counter *value, void *arg)
{
	struct answer *a = arg;
	json_t *item;

	if (!wanted(a, key->nic) || json_array_size(a->list) >= COUNTERS_MAX) {
		return;
	}
	item = json_pack("{s:I, s:s, s:I, s:I}", "rule", (json_int_t)key->rule, "dir",
			 key->dir == BH_DIR_EGRESS ? "egress" : "ingress", "packets",
			 (json_int_t)value->packets, "bytes", (json_int_t)value->bytes);
	add_nic(a->agent, item, key->nic);
	json_array_append_new(a->list, item);
}

json_t *hostd_answers_rules(struct hostd_agent *agent, const json_t *request, struct bh_diag *diag)
{
	struct answer a = {.agent = agent, .list = json_array()};

	a.vm = bh_json_str_or(request, "vm", "");
	if (hostd_dp_rule_counters(agent->dp, on_rule, &a, diag) < 0) {
		json_decref(a.list);
		return NULL;
	}
	return json_pack("{s:o}", "rules", a.list);
}

static const char *ct_state(uint8_t state)
{
	static const char *const names[] = {[BH_CT_NEW] = "new",
					    [BH_CT_TCP_SYN_RECV] = "syn-received",
					    [BH_CT_ESTABLISHED] = "established",
					    [BH_CT_FIN] = "closing",
					    [BH_CT_CLOSED] = "closed"};

	return state < BH_ARRAY_SIZE(names) ? names[state] : "unknown";
}

static json_t *side_json(struct hostd_agent *agent, const uint8_t addr[16], uint16_t port,
			 uint32_t identity, uint32_t nic)
{
	char text[BH_ADDR_TEXT_SIZE];
	json_t *side;

	bh_addr_format(addr, text);
	side = json_pack("{s:s, s:i, s:I}", "address", text, "port", (int)port, "identity",
			 (json_int_t)identity);
	add_nic(agent, side, nic);
	return side;
}

static void on_connection(const struct hostd_dp_connection *c, void *arg)
{
	struct answer *a = arg;
	char proto[8];

	bh_proto_format(c->proto, proto);
	json_array_append_new(
		a->list,
		json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:[I, I], s:[I, I], s:[I, I], s:I, s:I, "
			  "s:I}",
			  "proto", proto, "state", ct_state(c->state), "net", (json_int_t)c->net,
			  "vlan", (json_int_t)c->vlan, "src",
			  side_json(a->agent, c->src, c->sport, c->src_identity, c->src_nic), "dst",
			  side_json(a->agent, c->dst, c->dport, c->dst_identity, c->dst_nic),
			  "packets", (json_int_t)c->packets[0], (json_int_t)c->packets[1], "bytes",
			  (json_int_t)c->bytes[0], (json_int_t)c->bytes[1], "rules",
			  (json_int_t)c->rule[0], (json_int_t)c->rule[1], "age_ms",
			  (json_int_t)(c->age_ns / BH_NS_PER_MS), "idle_ms",
			  (json_int_t)(c->idle_ns / BH_NS_PER_MS), "timeout_s",
			  (json_int_t)c->timeout_s));
}

struct find_vm {
	const char *text;
	struct hostd_dp_nic_key key;
	bool found;
};

static void find_vm(const struct hostd_vm *vm, void *arg)
{
	struct find_vm *f = arg;
	char uuid[BH_UUID_TEXT_SIZE];

	bh_uuid_format(vm->uuid, uuid);
	if (!strcmp(vm->name, f->text) || !strcmp(uuid, f->text)) {
		memcpy(f->key.vm, vm->uuid, sizeof(f->key.vm));
		f->found = true;
	}
}

struct vm_nics {
	struct hostd_agent *agent;
	const uint8_t *uuid;
	struct hostd_dp_connection_filter filter;
	struct answer *answer;
	struct bh_diag *diag;
	int err;
};

static void connections_of_nic(const struct hostd_dp_nic_key *key,
			       const struct hostd_dp_nic_status *status, void *arg)
{
	struct vm_nics *v = arg;

	if (!memcmp(key->vm, v->uuid, 16) && v->err >= 0) {
		v->filter.nic = status->index;
		v->err = hostd_dp_connections(v->agent->dp, &v->filter, on_connection, v->answer,
					      v->diag);
	}
}

/* Members: vm (name or UUID), address, port, proto, limit. */
json_t *hostd_answers_connections(struct hostd_agent *agent, const json_t *request,
				  struct bh_diag *diag)
{
	struct answer a = {.agent = agent, .list = json_array()};
	struct find_vm vm = {.text = bh_json_str_or(request, "vm", "")};
	struct vm_nics v = {.agent = agent, .uuid = vm.key.vm, .answer = &a, .diag = diag};
	const char *addr = bh_json_str_or(request, "address", "");
	const char *proto = bh_json_str_or(request, "proto", "");
	uint64_t limit = bh_json_u64_or(request, "limit", CONNECTIONS_MAX);

	v.filter.limit = limit && limit < CONNECTIONS_MAX ? limit : CONNECTIONS_MAX;
	v.filter.port = (uint16_t)bh_json_u64_or(request, "port", 0);
	if ((*addr && bh_addr_parse(addr, v.filter.addr) < 0) ||
	    (*proto && bh_proto_parse(proto, &v.filter.proto) < 0)) {
		v.err = bh_diag_set(diag, -EINVAL, "'%.60s' is no %s", *addr ? addr : proto,
				    *addr ? "address" : "protocol");
	} else if (*vm.text) {
		hostd_inventory_each(agent->inv, find_vm, &vm);
		if (vm.found) {
			hostd_dp_each_nic(agent->dp, connections_of_nic, &v);
		} else {
			v.err = bh_diag_set(diag, -ENOENT, "no VM '%.80s' on this host", vm.text);
		}
	} else {
		v.err = hostd_dp_connections(agent->dp, &v.filter, on_connection, &a, diag);
	}
	if (v.err < 0) {
		json_decref(a.list);
		return NULL;
	}
	return json_pack("{s:o, s:b}", "connections", a.list, "cut",
			 json_array_size(a.list) >= v.filter.limit);
}
