/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for the rest of Bulkhead: an alert, a drop or an anomaly as one event (model/event.h,
 * kinds and fields in docs/operations.md). Producer and number are given by bulkhead-hostd, whose
 * reader is stricter than JSON: compact, no fractions with exponents, few members.
 */
#include "gate/output/eve.h"

#include "base/time.h"
#include "model/event.h"

#define TEXT_MAX 512 /* of a signature's name */

static void begin(struct gate_eve *eve, const char *type, enum bh_severity severity,
		  uint64_t time_us)
{
	char time[BH_TIME_TEXT_SIZE];
	struct gate_jw *jw = &eve->jw;

	bh_time_format(time_us * 1000, time);
	gate_jw_reset(jw);
	gate_jw_object(jw, NULL);
	gate_jw_text(jw, "time", time);
	gate_jw_text(jw, "type", type);
	gate_jw_text(jw, "severity", bh_severity_name(severity));
}

static void put_addr(struct gate_jw *jw, const char *key, const struct gate_addr *addr)
{
	char text[BH_ADDR_TEXT_SIZE];

	bh_addr_format(addr->bytes, text);
	gate_jw_text(jw, key, text);
}

static void put_ends(struct gate_jw *jw, const struct gate_addr *const addr[2],
		     const uint16_t port[2], uint8_t proto)
{
	char text[8];
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;

	bh_proto_format(proto, text);
	gate_jw_text(jw, "proto", text);
	put_addr(jw, "src", addr[0]);
	put_addr(jw, "dst", addr[1]);
	if (icmp || port[0] || port[1]) {
		gate_jw_uint(jw, icmp ? "icmp_type" : "sport", port[0]);
		gate_jw_uint(jw, icmp ? "icmp_code" : "dport", port[1]);
	}
}

static void put_place(struct gate_eve *eve, const uint16_t *vlan, uint8_t count, uint16_t source)
{
	if (count) {
		gate_jw_uint(&eve->jw, "vlan", vlan[0]);
	}
	if (source < eve->interface_count) {
		gate_jw_text(&eve->jw, "device", eve->interfaces[source]);
	}
}

static void put_flow(struct gate_jw *jw, const struct gate_flow *flow)
{
	gate_jw_uint(jw, "flow", flow->id);
	if (flow->app > GATE_APP_FAILED) {
		gate_jw_text(jw, "app", gate_app_name(flow->app));
	}
}

static void put_packet(struct gate_eve *eve, const struct gate_packet *p)
{
	const struct gate_addr *const addr[2] = {&p->src, &p->dst};
	uint16_t port[2];

	gate_eve_packet_ports(p, port);
	if (p->ip_version) {
		put_ends(&eve->jw, addr, port, p->ip_proto);
	}
	put_place(eve, p->vlan, p->vlan_count, p->source);
	if (p->flow) {
		put_flow(&eve->jw, p->flow);
	}
}

static enum bh_severity severity_of(uint32_t priority)
{
	return priority <= 1   ? BH_SEVERITY_CRITICAL
	       : priority == 2 ? BH_SEVERITY_WARNING
	       : priority == 3 ? BH_SEVERITY_NOTICE
			       : BH_SEVERITY_INFO;
}

static void put_text(struct gate_jw *jw, const char *key, const char *text)
{
	size_t size = text ? strlen(text) : 0;

	gate_jw_bytes(jw, key, text ? text : "", size < TEXT_MAX ? size : TEXT_MAX);
}

static void alert(struct gate_eve *eve, const struct gate_packet *p,
		  const struct gate_packet_alert *a)
{
	struct gate_jw *jw = &eve->jw;

	begin(eve, "gate.alert", severity_of(a->rule->priority), p->time_us);
	gate_jw_uint(jw, "gid", a->rule->gid);
	gate_jw_uint(jw, "sid", a->rule->sid);
	gate_jw_uint(jw, "rev", a->rule->rev);
	put_text(jw, "signature", a->rule->msg);
	put_text(jw, "category", a->rule->class_text);
	gate_jw_uint(jw, "priority", a->rule->priority);
	gate_jw_text(jw, "action", gate_eve_blocked(eve, a) ? "blocked" : "allowed");
	put_packet(eve, p);
	gate_eve_commit_event(eve);
}

void gate_eve_event_anomaly(struct gate_eve *eve, const struct gate_flow *flow, const char *app,
			    const char *event, uint64_t time_us)
{
	const struct gate_addr *const addr[2] = {&flow->addr[0], &flow->addr[1]};
	struct gate_jw *jw = &eve->jw;

	begin(eve, "gate.anomaly", BH_SEVERITY_NOTICE, time_us);
	gate_jw_text(jw, "layer", app);
	gate_jw_text(jw, "event", event);
	put_ends(jw, addr, flow->port, flow->ip_proto);
	put_place(eve, flow->vlan, flow->vlan_count, flow->source);
	put_flow(jw, flow);
	gate_eve_commit_event(eve);
}

static void anomalies(struct gate_eve *eve, const struct gate_packet *p)
{
	for (unsigned int i = 0; i < p->event_count; i++) {
		const char *name = gate_event_name(p->events[i]);
		bool stream = strncmp(name, "stream.", 7) == 0;

		begin(eve, "gate.anomaly", BH_SEVERITY_NOTICE, p->time_us);
		gate_jw_text(&eve->jw, "layer", stream ? "stream" : "decode");
		gate_jw_text(&eve->jw, "event", name);
		put_packet(eve, p);
		gate_eve_commit_event(eve);
	}
}

void gate_eve_event_packet(struct gate_eve *eve, const struct gate_packet *p)
{
	for (unsigned int i = 0; i < p->alert_count && gate_eve_tells(eve, GATE_EVE_ALERT); i++) {
		alert(eve, p, &p->alerts[i]);
	}
	if (gate_eve_tells(eve, GATE_EVE_ANOMALY)) {
		anomalies(eve, p);
	}
	if (gate_eve_shows_drop(p) && gate_eve_tells(eve, GATE_EVE_DROP)) {
		begin(eve, "gate.drop", BH_SEVERITY_NOTICE, p->time_us);
		gate_jw_text(&eve->jw, "reason", gate_drop_reason_name(p->drop_reason));
		put_packet(eve, p);
		gate_eve_commit_event(eve);
	}
}
