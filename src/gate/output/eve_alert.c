/* SPDX-License-Identifier: Apache-2.0 */
/* The `alert` record: the rule, what it was seen in, the flow, and the bytes if wanted. */
#include "gate/output/eve.h"

#define BLOCKING (GATE_DROP | GATE_REJECT | GATE_REJECT_DST | GATE_REJECT_BOTH)

static void put_rule_metadata(struct gate_jw *jw, const struct gate_rule *rule)
{
	bool open = false;

	for (size_t i = 0; i < rule->metadata.count; i++) {
		const char *key = rule->metadata.items[i].key;
		bool told = false;

		for (size_t k = 0; k < i && !told; k++) {
			told = !strcmp(rule->metadata.items[k].key, key);
		}
		if (told) {
			continue;
		}
		if (!open) {
			gate_jw_object(jw, "metadata");
			open = true;
		}
		gate_jw_array(jw, key);
		for (size_t k = i; k < rule->metadata.count; k++) {
			if (!strcmp(rule->metadata.items[k].key, key)) {
				gate_jw_text(jw, NULL, rule->metadata.items[k].value);
			}
		}
		gate_jw_end(jw);
	}
	if (open) {
		gate_jw_end(jw);
	}
}

static void put_end(struct gate_jw *jw, const char *key, const struct gate_packet *p, bool src)
{
	gate_jw_object(jw, key);
	gate_eve_addr(jw, "ip", src ? &p->src : &p->dst);
	if (p->tcp || p->udp || p->sctp) {
		gate_jw_uint(jw, "port", src ? p->sport : p->dport);
	}
	gate_jw_end(jw);
}

bool gate_eve_blocked(const struct gate_eve *eve, const struct gate_packet_alert *alert)
{
	bool drops = eve->config->inline_mode || eve->config->simulate_ips;

	return alert->action & BLOCKING & ~(drops ? 0u : GATE_DROP);
}

static void put_rule(struct gate_eve *eve, const struct gate_packet *p,
		     const struct gate_packet_alert *alert)
{
	const struct gate_rule *rule = alert->rule;
	struct gate_jw *jw = &eve->jw;

	gate_jw_object(jw, "alert");
	gate_jw_text(jw, "action", gate_eve_blocked(eve, alert) ? "blocked" : "allowed");
	gate_jw_uint(jw, "gid", rule->gid);
	gate_jw_uint(jw, "signature_id", rule->sid);
	gate_jw_uint(jw, "rev", rule->rev);
	gate_jw_text(jw, "signature", rule->msg ? rule->msg : "");
	gate_jw_text(jw, "category", rule->class_text ? rule->class_text : "");
	gate_jw_uint(jw, "severity", rule->priority);
	if (rule->flags & (GATE_RULE_TARGET_SRC | GATE_RULE_TARGET_DST)) {
		bool target_is_src = rule->flags & GATE_RULE_TARGET_SRC;

		put_end(jw, "source", p, !target_is_src);
		put_end(jw, "target", p, target_is_src);
	}
	if (eve->config->eve_metadata) {
		put_rule_metadata(jw, rule);
	}
	gate_jw_end(jw);
}

static struct gate_tx *find_tx(const struct gate_flow *flow, uint64_t id)
{
	struct gate_tx *tx = flow->session ? gate_session_first(flow->session) : NULL;

	while (tx && tx->id != id) {
		tx = tx->next;
	}
	return tx;
}

static void put_tx(struct gate_eve *eve, const struct gate_packet *p,
		   const struct gate_packet_alert *alert)
{
	const struct gate_app_ops *ops = gate_session_ops(p->flow->session);
	const struct gate_tx *tx = find_tx(p->flow, alert->tx_id);
	struct gate_jw *jw = &eve->jw;

	if (!tx || !ops) {
		return;
	}
	gate_eve_tx(jw, ops, tx);
	gate_eve_files_of(jw, tx);
}

static void put_flow(struct gate_eve *eve, const struct gate_flow *flow)
{
	struct gate_jw *jw = &eve->jw;

	gate_jw_object(jw, "flow");
	gate_eve_flow_counts(eve, flow);
	gate_eve_addr(jw, "src_ip", &flow->addr[0]);
	gate_eve_addr(jw, "dest_ip", &flow->addr[1]);
	if (flow->ip_proto == IPPROTO_TCP || flow->ip_proto == IPPROTO_UDP ||
	    flow->ip_proto == IPPROTO_SCTP) {
		gate_jw_uint(jw, "src_port", flow->port[0]);
		gate_jw_uint(jw, "dest_port", flow->port[1]);
	}
	gate_jw_end(jw);
}

static void put_payload(struct gate_eve *eve, const struct gate_packet *p)
{
	const struct gate_config *config = eve->config;
	size_t size = p->payload.size;
	char text[1 << 16];

	size = size < config->eve_payload_size ? size : config->eve_payload_size;
	if (config->eve_payload && size) {
		gate_jw_base64(&eve->jw, "payload", p->payload.data, size);
	}
	if (config->eve_payload_printable && size) {
		for (size_t i = 0; i < size; i++) {
			uint8_t c = p->payload.data[i];

			text[i] =
				(char)((c >= ' ' && c < 0x7f) || c == '\n' || c == '\r' || c == '\t'
					       ? c
					       : '.');
		}
		gate_jw_bytes(&eve->jw, "payload_printable", text, size);
	}
	if (config->eve_packet && p->size) {
		gate_jw_base64(&eve->jw, "packet", p->data, p->size < 65535 ? p->size : 65535);
		gate_jw_object(&eve->jw, "packet_info");
		gate_jw_uint(&eve->jw, "linktype", p->link);
		gate_jw_end(&eve->jw);
	}
}

static void put_tunnel(struct gate_jw *jw, const struct gate_packet *p)
{
	const struct gate_packet *outer = p->outer;

	if (!(p->flags & GATE_PKT_TUNNELED) || !outer || !outer->ip_version) {
		return;
	}
	gate_jw_object(jw, "tunnel");
	gate_eve_addr(jw, "src_ip", &outer->src);
	gate_eve_addr(jw, "dest_ip", &outer->dst);
	if (outer->udp) {
		gate_jw_uint(jw, "src_port", outer->sport);
		gate_jw_uint(jw, "dest_port", outer->dport);
	}
	gate_jw_uint(jw, "depth", p->depth);
	gate_jw_end(jw);
}

static void one(struct gate_eve *eve, const struct gate_packet *p,
		const struct gate_packet_alert *alert)
{
	struct gate_jw *jw = &eve->jw;

	gate_eve_begin(eve, "alert", p->flow, p, p->time_us, GATE_EVE_OF_PACKET);
	if (alert->in_tx) {
		gate_jw_uint(jw, "tx_id", alert->tx_id);
	}
	put_rule(eve, p, alert);
	put_tunnel(jw, p);
	if (p->flow) {
		if (alert->in_tx && p->flow->session) {
			put_tx(eve, p, alert);
		}
		gate_eve_app_proto(jw, p->flow);
		gate_jw_text(jw, "direction", p->dir == GATE_TO_SERVER ? "to_server" : "to_client");
		put_flow(eve, p->flow);
		if (p->flow->vars && eve->config->eve_metadata) {
			gate_jw_object(jw, "metadata");
			gate_vars_log(p->flow->vars, eve->names, jw);
			gate_jw_end(jw);
		}
	}
	put_payload(eve, p);
	gate_jw_uint(jw, "stream", alert->in_stream);
	gate_eve_commit(eve);
}

void gate_eve_alerts(struct gate_eve *eve, const struct gate_packet *p)
{
	if (!gate_eve_wants(eve, GATE_EVE_ALERT)) {
		return;
	}
	for (unsigned int i = 0; i < p->alert_count; i++) {
		one(eve, p, &p->alerts[i]);
	}
}
