/* SPDX-License-Identifier: Apache-2.0 */
/* Records of packets: `anomaly` (what should not be), `drop`, and `packet` of those tagged. */
#include "gate/output/eve.h"

#include <arpa/inet.h>

static void anomaly(struct gate_eve *eve, const struct gate_packet *p, enum gate_event event)
{
	const char *name = gate_event_name(event);
	bool stream = strncmp(name, "stream.", 7) == 0;
	struct gate_jw *jw = &eve->jw;
	char text[96];

	gate_eve_begin(eve, "anomaly", p->flow, p, p->time_us, GATE_EVE_OF_PACKET);
	gate_jw_object(jw, "anomaly");
	gate_jw_text(jw, "type", stream ? "stream" : "decode");
	snprintf(text, sizeof(text), "%s%s", stream ? "" : "decoder.", name);
	gate_jw_text(jw, "event", text);
	gate_jw_end(jw);
	gate_eve_commit(eve);
}

/* The bytes themselves, as members. */
void gate_eve_raw_packet(struct gate_jw *jw, const struct gate_packet *p)
{
	gate_jw_base64(jw, "packet", p->data, p->size < UINT16_MAX ? p->size : UINT16_MAX);
	gate_jw_object(jw, "packet_info");
	gate_jw_uint(jw, "linktype", p->link);
	gate_jw_end(jw);
}

/* A packet that a rule with `tag` asked for. */
void gate_eve_tagged(struct gate_eve *eve, const struct gate_packet *p)
{
	if (eve->config->eve_tagged_packets && gate_eve_wants(eve, GATE_EVE_ALERT)) {
		gate_eve_begin(eve, "packet", p->flow, p, p->time_us, GATE_EVE_OF_PACKET);
		gate_eve_raw_packet(&eve->jw, p);
		gate_eve_commit(eve);
	}
}

static void put_tcp(struct gate_jw *jw, const gate_tcphdr *tcp)
{
	gate_jw_uint(jw, "tcpseq", ntohl(tcp->th_seq));
	gate_jw_uint(jw, "tcpack", ntohl(tcp->th_ack));
	gate_jw_uint(jw, "tcpwin", ntohs(tcp->th_win));
	gate_jw_bool(jw, "syn", tcp->th_flags & TH_SYN);
	gate_jw_bool(jw, "ack", tcp->th_flags & TH_ACK);
	gate_jw_bool(jw, "psh", tcp->th_flags & TH_PUSH);
	gate_jw_bool(jw, "rst", tcp->th_flags & TH_RST);
	gate_jw_bool(jw, "urg", tcp->th_flags & TH_URG);
	gate_jw_bool(jw, "fin", tcp->th_flags & TH_FIN);
	gate_jw_uint(jw, "tcpres", tcp->th_x2);
	gate_jw_uint(jw, "tcpurgp", ntohs(tcp->th_urp));
}

static void put_ip6(struct gate_jw *jw, const struct gate_packet *p)
{
	uint32_t first = ntohl(p->ip6->ip6_flow);

	gate_jw_uint(jw, "tc", first >> 20 & 0xff);
	gate_jw_uint(jw, "hoplimit", p->ttl);
	gate_jw_uint(jw, "flowlbl", first & 0xfffff);
}

/* The rule that did it, if it may tell. */
static void put_dropper(struct gate_eve *eve, const struct gate_packet *p)
{
	for (unsigned int i = 0; i < p->alert_count; i++) {
		if (gate_eve_blocked(eve, &p->alerts[i])) {
			gate_eve_rule(eve, p, &p->alerts[i]);
			return;
		}
	}
}

static void drop(struct gate_eve *eve, const struct gate_packet *p)
{
	struct gate_jw *jw = &eve->jw;

	gate_eve_begin(eve, "drop", p->flow, p, p->time_us, GATE_EVE_OF_PACKET);
	gate_jw_object(jw, "drop");
	gate_jw_uint(jw, "len", p->l3.size);
	if (p->ip4) {
		gate_jw_uint(jw, "tos", p->ip4->tos);
		gate_jw_uint(jw, "ttl", p->ip4->ttl);
		gate_jw_uint(jw, "ipid", ntohs(p->ip4->id));
	} else if (p->ip6) {
		put_ip6(jw, p);
	}
	if (p->tcp) {
		put_tcp(jw, p->tcp);
	} else if (p->udp) {
		gate_jw_uint(jw, "udplen", ntohs(p->udp->len));
	} else if (p->icmp4) {
		gate_jw_uint(jw, "icmp_id", ntohs(p->icmp4->un.echo.id));
		gate_jw_uint(jw, "icmp_seq", ntohs(p->icmp4->un.echo.sequence));
	} else if (p->icmp6) {
		gate_jw_uint(jw, "icmp_id", ntohs(p->icmp6->icmp6_id));
		gate_jw_uint(jw, "icmp_seq", ntohs(p->icmp6->icmp6_seq));
	}
	gate_jw_text(jw, "reason", gate_drop_reason_name(p->drop_reason));
	gate_jw_end(jw);
	if (p->flow) {
		gate_jw_text(jw, "direction", p->dir == GATE_TO_SERVER ? "to_server" : "to_client");
	}
	if (p->drop_reason == GATE_DROP_RULE) {
		put_dropper(eve, p);
	}
	if (eve->config->eve_verdict) {
		gate_eve_verdict(jw, p);
	}
	gate_eve_commit(eve);
}

void gate_eve_anomaly_packet(struct gate_eve *eve, const struct gate_packet *p)
{
	if (eve->config->eve_packet_anomalies && gate_eve_wants(eve, GATE_EVE_ANOMALY)) {
		for (unsigned int i = 0; i < p->event_count; i++) {
			anomaly(eve, p, p->events[i]);
		}
	}
	if (gate_eve_shows_drop(p) && gate_eve_wants(eve, GATE_EVE_DROP)) {
		drop(eve, p);
	}
}
