/* SPDX-License-Identifier: Apache-2.0 */
/* The `alert` record: the rule, what it was seen in, the flow, and the bytes if wanted. */
#include "gate/output/eve.h"
#include "gate/stream/stream.h"

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

static void put_references(struct gate_jw *jw, const struct gate_rule *rule)
{
	if (!rule->references.count) {
		return;
	}
	gate_jw_array(jw, "references");
	bh_vec_foreach (reference, &rule->references) {
		char text[512];

		snprintf(text, sizeof(text), "%s%s", reference->prefix ? reference->prefix : "",
			 reference->value);
		gate_jw_text(jw, NULL, text);
	}
	gate_jw_end(jw);
}

void gate_eve_rule(struct gate_eve *eve, const struct gate_packet *p,
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
		put_references(jw, rule);
		put_rule_metadata(jw, rule);
	}
	gate_captures_log(p->captures, rule, jw);
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

/* At most 64 KiB. */
static void put_printable(struct gate_jw *jw, const char *key, const uint8_t *data, uint32_t size)
{
	char text[1 << 16];

	for (size_t i = 0; i < size; i++) {
		uint8_t c = data[i];

		text[i] =
			(char)((c >= ' ' && c < 0x7f) || c == '\n' || c == '\r' || c == '\t' ? c
											     : '.');
	}
	gate_jw_bytes(jw, key, text, size);
}

/* What rules see of the body of a side: of a long one the newest bytes. */
static void put_body(struct gate_eve *eve, struct gate_session *session, struct gate_tx *tx,
		     enum gate_dir dir)
{
	static const struct {
		enum gate_buffer buffer;
		const char *name, *printable;
	} bodies[GATE_DIRS] = {
		{GATE_BUF_HTTP_REQUEST_BODY, "http_request_body", "http_request_body_printable"},
		{GATE_BUF_HTTP_RESPONSE_BODY, "http_response_body", "http_response_body_printable"},
	};
	uint64_t most = eve->config->eve_payload_size;
	struct gate_buffer_view view = {};

	if (!gate_tx_buffer(session, tx, dir, bodies[dir].buffer, 0, &view) || !view.size) {
		return;
	}
	if (view.size > most) {
		view.data += view.size - most;
		view.size = (uint32_t)most;
	}
	if (eve->config->eve_http_body_printable) {
		put_printable(&eve->jw, bodies[dir].printable, view.data, view.size);
	}
	if (eve->config->eve_http_body) {
		gate_jw_base64(&eve->jw, bodies[dir].name, view.data, view.size);
	}
}

static void put_tx(struct gate_eve *eve, const struct gate_packet *p,
		   const struct gate_packet_alert *alert)
{
	const struct gate_app_ops *ops = gate_session_ops(p->flow->session);
	struct gate_tx *tx = find_tx(p->flow, alert->tx_id);
	struct gate_jw *jw = &eve->jw;

	if (!tx || !ops) {
		return;
	}
	if (gate_eve_tx_open(jw, ops, tx)) {
		if (eve->config->eve_http_body || eve->config->eve_http_body_printable) {
			put_body(eve, p->flow->session, tx, GATE_TO_SERVER);
			put_body(eve, p->flow->session, tx, GATE_TO_CLIENT);
		}
		gate_jw_end(jw);
	}
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

static bool is_of_stream(const struct gate_packet *p, const struct gate_packet_alert *alert)
{
	return (alert->in_stream || alert->in_tx) && p->flow && p->flow->stream;
}

/* Of a match in a stream or a transaction: the newest bytes of that side that are still there. */
static struct gate_view payload_of(const struct gate_eve *eve, const struct gate_packet *p,
				   const struct gate_packet_alert *alert)
{
	uint64_t most = eve->config->eve_payload_size;
	struct gate_view payload = p->payload;
	struct gate_stream_view held;

	if (is_of_stream(p, alert) && gate_stream_held(p->flow->stream, p->dir, &held)) {
		uint32_t size = held.size < most ? held.size : (uint32_t)most;

		return (struct gate_view){held.data + (held.size - size), size};
	}
	payload.size = payload.size < most ? payload.size : (uint32_t)most;
	return payload;
}

static void put_payload(struct gate_eve *eve, const struct gate_packet *p,
			const struct gate_packet_alert *alert)
{
	const struct gate_config *config = eve->config;
	struct gate_view payload;

	if (!config->eve_payload && !config->eve_payload_printable) {
		return;
	}
	payload = payload_of(eve, p, alert);
	if (config->eve_payload && payload.size) {
		gate_jw_base64(&eve->jw, "payload", payload.data, payload.size);
	}
	if (config->eve_payload_printable && payload.size) {
		put_printable(&eve->jw, "payload_printable", payload.data, payload.size);
	}
}

static void put_packet(struct gate_eve *eve, const struct gate_packet *p)
{
	const struct gate_config *config = eve->config;

	if (config->eve_packet && p->size) {
		gate_eve_raw_packet(&eve->jw, p);
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
	gate_eve_rule(eve, p, alert);
	put_tunnel(jw, p);
	if (p->flow) {
		if (alert->in_tx && p->flow->session) {
			put_tx(eve, p, alert);
		}
		gate_eve_app_proto(jw, p->flow);
		gate_jw_text(jw, "direction", p->dir == GATE_TO_SERVER ? "to_server" : "to_client");
		put_flow(eve, p->flow);
	}
	if (eve->config->eve_metadata) {
		gate_vars_log(p->flow ? p->flow->vars : NULL, p->captures, eve->names, jw);
	}
	put_payload(eve, p, alert);
	put_packet(eve, p);
	gate_jw_uint(jw, "stream", is_of_stream(p, alert));
	if (eve->config->eve_verdict) {
		gate_eve_verdict(jw, p);
	}
	gate_eve_commit(eve);
}

/* What became of the packet, whichever rule or limit said so. */
void gate_eve_verdict(struct gate_jw *jw, const struct gate_packet *p)
{
	bool passed = p->flow && p->flow->flags & GATE_FLOW_PASS;
	bool to_server =
		p->flags & (p->dir == GATE_TO_SERVER ? GATE_PKT_REJECT_DST : GATE_PKT_REJECT_SRC);
	bool to_client =
		p->flags & (p->dir == GATE_TO_SERVER ? GATE_PKT_REJECT_SRC : GATE_PKT_REJECT_DST);

	gate_jw_object(jw, "verdict");
	gate_jw_text(jw, "action", p->flags & GATE_PKT_DROP ? "drop" : passed ? "pass" : "alert");
	if (to_server || to_client) {
		gate_jw_text(jw, "reject-target",
			     !to_client	  ? "to_server"
			     : !to_server ? "to_client"
					  : "both");
		gate_jw_array(jw, "reject");
		gate_jw_text(jw, NULL, p->tcp ? "tcp-reset" : "icmp-prohib");
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
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
