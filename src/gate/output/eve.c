/* SPDX-License-Identifier: Apache-2.0 */
/* What all records share: head, batch, times, addresses. The kinds of records have a file each. */
#include "gate/output/eve.h"

#include "base/counter.h"
#include "base/util.h"

#include <time.h>

#define DAY_S 86400u

BH_COUNTER(gate_eve_records, "records that were made");
BH_COUNTER(gate_eve_events_made, "events for bulkhead-hostd that were made");
BH_COUNTER(gate_eve_too_large, "records that were over the size of a record");

/* Which protocols' records are wanted. */
static uint32_t wanted_apps(uint32_t types)
{
	uint32_t apps = 0;

	for (unsigned int app = 0; app < GATE_APP_COUNT; app++) {
		const struct gate_app_ops *ops = gate_app_ops_of(app);
		int type = ops && ops->log ? gate_eve_type_find(ops->log) : -1;

		apps |= type >= 0 && types >> type & 1 ? 1u << app : 0;
	}
	return apps;
}

struct gate_eve *gate_eve_new(const struct gate_config *config, struct gate_out *out,
			      struct gate_names *names, unsigned int worker)
{
	struct gate_eve *eve = bh_alloc(sizeof(*eve));

	eve->config = config;
	eve->records.out = out;
	eve->names = names;
	eve->worker = worker;
	eve->types = config->eve_types ? config->eve_types : UINT32_MAX;
	eve->app_logs = wanted_apps(eve->types);
	eve->records.data = bh_alloc(GATE_EVE_BATCH);
	eve->second = eve->day = UINT64_MAX;
	gate_jw_init(&eve->jw);
	return eve;
}

void gate_eve_free(struct gate_eve *eve)
{
	if (!eve) {
		return;
	}
	gate_eve_flush(eve);
	gate_jw_done(&eve->jw);
	free(eve->records.data);
	free(eve->events.data);
	free(eve);
}

void gate_eve_interfaces(struct gate_eve *eve, const char *const *names, size_t count)
{
	eve->interfaces = names;
	eve->interface_count = names ? count : 0;
}

void gate_eve_events(struct gate_eve *eve, struct gate_out *events)
{
	if (events) {
		eve->events.out = events;
		eve->events.data = bh_alloc(GATE_EVE_BATCH);
	}
}

static void flush(struct gate_eve_batch *batch)
{
	if (batch->size) {
		gate_out_put(batch->out, batch->data, batch->size);
		batch->size = 0;
	}
}

void gate_eve_flush(struct gate_eve *eve)
{
	flush(&eve->records);
	flush(&eve->events);
}

static void commit(struct gate_eve *eve, struct gate_eve_batch *batch)
{
	struct gate_jw *jw = &eve->jw;

	gate_jw_end(jw);
	jw->comma = false;
	gate_jw_raw(jw, NULL, "\n", 1);
	if (!jw->ok || jw->depth) {
		bh_counter_add(&gate_eve_too_large, 1);
		return;
	}
	if (jw->size > GATE_EVE_BATCH - batch->size) {
		flush(batch);
	}
	if (jw->size > GATE_EVE_BATCH) {
		gate_out_put(batch->out, jw->data, jw->size);
		return;
	}
	memcpy(batch->data + batch->size, jw->data, jw->size);
	batch->size += jw->size;
}

void gate_eve_commit(struct gate_eve *eve)
{
	bh_counter_add(&gate_eve_records, 1);
	commit(eve, &eve->records);
}

void gate_eve_commit_event(struct gate_eve *eve)
{
	bh_counter_add(&gate_eve_events_made, 1);
	commit(eve, &eve->events);
}

static void two(char *at, unsigned int value)
{
	at[0] = (char)('0' + value / 10 % 10);
	at[1] = (char)('0' + value % 10);
}

static void new_day(struct gate_eve *eve, uint64_t day)
{
	time_t t = (time_t)(day * DAY_S);
	struct tm tm = {};

	gmtime_r(&t, &tm);
	memcpy(eve->second_text, "0000-00-00T00:00:00", sizeof("0000-00-00T00:00:00"));
	two(eve->second_text, (unsigned int)(tm.tm_year + 1900) / 100);
	two(eve->second_text + 2, (unsigned int)(tm.tm_year + 1900));
	two(eve->second_text + 5, (unsigned int)tm.tm_mon + 1);
	two(eve->second_text + 8, (unsigned int)tm.tm_mday);
	eve->day = day;
}

static void new_second(struct gate_eve *eve, uint64_t second)
{
	unsigned int rest = (unsigned int)(second % DAY_S);

	if (eve->day != second / DAY_S) {
		new_day(eve, second / DAY_S);
	}
	two(eve->second_text + 11, rest / 3600);
	two(eve->second_text + 14, rest / 60 % 60);
	two(eve->second_text + 17, rest % 60);
	eve->second = second;
}

void gate_eve_time(struct gate_eve *eve, const char *key, uint64_t time_us)
{
	char text[] = "0000-00-00T00:00:00.000000+0000";
	unsigned int us = (unsigned int)(time_us % 1000000);

	if (eve->second != time_us / 1000000) {
		new_second(eve, time_us / 1000000);
	}
	memcpy(text, eve->second_text, 19);
	two(text + 20, us / 10000);
	two(text + 22, us / 100);
	two(text + 24, us);
	gate_jw_bytes(&eve->jw, key, text, sizeof(text) - 1);
}

/* IPv6 in full, as Suricata writes it. */
void gate_eve_addr(struct gate_jw *jw, const char *key, const struct gate_addr *addr)
{
	char text[40];
	size_t size = 0;

	if (gate_addr_is_v4(addr)) {
		for (unsigned int i = 12; i < 16; i++) {
			unsigned int part = addr->bytes[i];

			if (part >= 100) {
				text[size++] = (char)('0' + part / 100);
			}
			if (part >= 10) {
				text[size++] = (char)('0' + part / 10 % 10);
			}
			text[size++] = (char)('0' + part % 10);
			text[size++] = '.';
		}
	} else {
		for (unsigned int i = 0; i < 16; i += 2) {
			bh_hex_format(&addr->bytes[i], 2, text + size);
			size += 4;
			text[size++] = ':';
		}
	}
	gate_jw_bytes(jw, key, text, size - 1);
}

static void put_proto(struct gate_jw *jw, uint8_t proto)
{
	static const struct {
		uint8_t number;
		const char *name;
	} names[] = {
		{IPPROTO_TCP, "TCP"},	       {IPPROTO_UDP, "UDP"},   {IPPROTO_ICMP, "ICMP"},
		{IPPROTO_ICMPV6, "IPv6-ICMP"}, {IPPROTO_SCTP, "SCTP"}, {IPPROTO_GRE, "GRE"},
		{IPPROTO_ESP, "ESP"},	       {IPPROTO_AH, "AH"},     {IPPROTO_IPIP, "IP-ENCAP"},
		{IPPROTO_IPV6, "IPv6"},	       {IPPROTO_IGMP, "IGMP"}};
	char text[8];

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (names[i].number == proto) {
			gate_jw_text(jw, "proto", names[i].name);
			return;
		}
	}
	snprintf(text, sizeof(text), "%03u", proto);
	gate_jw_text(jw, "proto", text);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

static void put_ends(struct gate_jw *jw, const struct gate_addr *const addr[2],
		     const uint16_t port[2], uint8_t proto, uint8_t version)
{
	bool ports = has_ports(proto);

	gate_eve_addr(jw, "src_ip", addr[0]);
	if (ports) {
		gate_jw_uint(jw, "src_port", port[0]);
	}
	gate_eve_addr(jw, "dest_ip", addr[1]);
	if (ports) {
		gate_jw_uint(jw, "dest_port", port[1]);
	}
	put_proto(jw, proto);
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		gate_jw_uint(jw, "icmp_type", port[0]);
		gate_jw_uint(jw, "icmp_code", port[1]);
	}
	gate_jw_uint(jw, "ip_v", version);
}

void gate_eve_packet_ports(const struct gate_packet *p, uint16_t ret[2])
{
	ret[0] = p->icmp4 ? p->icmp4->type : p->icmp6 ? p->icmp6->icmp6_type : p->sport;
	ret[1] = p->icmp4 ? p->icmp4->code : p->icmp6 ? p->icmp6->icmp6_code : p->dport;
}

static void put_packet_ends(struct gate_jw *jw, const struct gate_packet *p)
{
	const struct gate_addr *const addr[2] = {&p->src, &p->dst};
	uint16_t port[2];

	gate_eve_packet_ports(p, port);
	put_ends(jw, addr, port, p->ip_proto, p->ip_version);
}

static void put_flow_ends(struct gate_jw *jw, const struct gate_flow *flow, enum gate_dir from)
{
	const struct gate_addr *const addr[2] = {&flow->addr[from], &flow->addr[1 - from]};
	uint16_t port[2] = {flow->port[from], flow->port[1 - from]};

	if (!has_ports(flow->ip_proto)) {
		port[0] = flow->port[0] >> 8;
		port[1] = flow->port[0] & 255;
	}
	put_ends(jw, addr, port, flow->ip_proto, flow->ip_version);
}

static void put_vlans(struct gate_jw *jw, const uint16_t *vlan, uint8_t count)
{
	if (!count) {
		return;
	}
	gate_jw_array(jw, "vlan");
	for (unsigned int i = 0; i < count && i < GATE_VLANS_MAX; i++) {
		gate_jw_uint(jw, NULL, vlan[i]);
	}
	gate_jw_end(jw);
}

/* Whose rules they were; with but one rule set there is nothing to tell. */
static void put_rule_set(struct gate_eve *eve, const struct gate_flow *flow,
			 const struct gate_packet *p)
{
	unsigned int slot = p ? p->rule_set : flow->rule_set ? flow->rule_set - 1u : 0;

	if (eve->config->rule_sets.count) {
		gate_jw_text(&eve->jw, "rule_set", gate_config_set_name(eve->config, slot));
	}
}

/* Where Suricata has a word for the tunnel of its own, that. */
static const char *tunnel_name(const struct gate_packet *outer)
{
	switch (outer ? outer->ip_proto : 0) {
	case IPPROTO_GRE:
		return "gre tunnel";
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return outer->ip_version == 4 ? "ipv4 tunnel" : "ipv6 tunnel";
	default:
		return "tunnel";
	}
}

static const char *packet_source(const struct gate_packet *p)
{
	if (p->flags & GATE_PKT_PSEUDO) {
		return "stream (flow timeout)";
	}
	if (p->flags & GATE_PKT_REASSEMBLED) {
		return "defrag";
	}
	return p->flags & GATE_PKT_TUNNELED ? tunnel_name(p->outer) : "wire/pcap";
}

void gate_eve_begin(struct gate_eve *eve, const char *type, const struct gate_flow *flow,
		    const struct gate_packet *p, uint64_t time_us, enum gate_eve_side side)
{
	struct gate_jw *jw = &eve->jw;
	uint16_t source = p ? p->source : flow->source;

	gate_jw_reset(jw);
	gate_jw_object(jw, NULL);
	gate_eve_time(eve, "timestamp", time_us);
	if (flow) {
		gate_jw_uint(jw, "flow_id", flow->id);
	}
	if (source < eve->interface_count) {
		gate_jw_text(jw, "in_iface", eve->interfaces[source]);
	}
	if (p && p->number) {
		gate_jw_uint(jw, "pcap_cnt", p->number);
	}
	gate_jw_text(jw, "event_type", type);
	put_vlans(jw, p ? p->vlan : flow->vlan, p ? p->vlan_count : flow->vlan_count);
	put_rule_set(eve, flow, p);
	if (flow && (side != GATE_EVE_OF_PACKET || !p)) {
		put_flow_ends(jw, flow,
			      side == GATE_EVE_OF_SERVER ? GATE_TO_CLIENT : GATE_TO_SERVER);
	} else if (p->ip_version) {
		put_packet_ends(jw, p);
	}
	if (p) {
		gate_jw_text(jw, "pkt_src", packet_source(p));
	}
	if (flow && eve->config->eve_community_id) {
		char id[GATE_COMMUNITY_ID_SIZE];

		gate_flow_community_id(flow, id);
		gate_jw_text(jw, "community_id", id);
	}
}

void gate_eve_flow_counts(struct gate_eve *eve, const struct gate_flow *flow)
{
	struct gate_jw *jw = &eve->jw;

	gate_jw_uint(jw, "pkts_toserver", flow->packets[GATE_TO_SERVER]);
	gate_jw_uint(jw, "pkts_toclient", flow->packets[GATE_TO_CLIENT]);
	gate_jw_uint(jw, "bytes_toserver", flow->bytes[GATE_TO_SERVER]);
	gate_jw_uint(jw, "bytes_toclient", flow->bytes[GATE_TO_CLIENT]);
	gate_eve_time(eve, "start", flow->first_us);
}

void gate_eve_app_proto(struct gate_jw *jw, const struct gate_flow *flow)
{
	static const char *const keys[GATE_DIRS] = {"app_proto_ts", "app_proto_tc"};
	enum gate_app original;

	if (flow->app == GATE_APP_UNKNOWN) {
		return;
	}
	gate_jw_text(jw, "app_proto", gate_app_name(flow->app));
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		if (flow->app_to[dir] != flow->app && flow->app_to[dir] != GATE_APP_UNKNOWN) {
			gate_jw_text(jw, keys[dir], gate_app_name(flow->app_to[dir]));
		}
	}
	original = flow->session ? gate_session_original(flow->session) : GATE_APP_UNKNOWN;
	if (original != GATE_APP_UNKNOWN && original != flow->app) {
		gate_jw_text(jw, "app_proto_orig", gate_app_name(original));
	}
	if (flow->app_expected != GATE_APP_UNKNOWN && flow->app_expected != flow->app) {
		gate_jw_text(jw, "app_proto_expected", gate_app_name(flow->app_expected));
	}
}

void gate_eve_packet(struct gate_eve *eve, const struct gate_packet *p)
{
	if (p->alert_count) {
		gate_eve_alerts(eve, p);
	}
	if (p->event_count || p->flags & GATE_PKT_DROP) {
		gate_eve_anomaly_packet(eve, p);
	}
	if (p->flags & GATE_PKT_TAGGED && !p->alert_count) {
		gate_eve_tagged(eve, p);
	}
	if (eve->events.out && (p->alert_count || p->event_count || p->flags & GATE_PKT_DROP)) {
		gate_eve_event_packet(eve, p);
	}
}
