/* SPDX-License-Identifier: Apache-2.0 */
/* The `flow` record: one for each flow, when it ends. */
#include "gate/output/eve.h"
#include "gate/stream/stream.h"

static const char *state_name(const struct gate_flow *flow)
{
	static const char *const names[] = {
		[GATE_FLOW_NEW] = "new",
		[GATE_FLOW_ESTABLISHED] = "established",
		[GATE_FLOW_CLOSED] = "closed",
		[GATE_FLOW_BYPASSED] = "bypassed",
	};

	return names[flow->state & 3];
}

static void put_tcp(struct gate_jw *jw, const struct gate_stream *stream)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} flags[] = {{TH_SYN, "syn"}, {TH_FIN, "fin"}, {TH_RST, "rst"}, {TH_PUSH, "psh"},
		     {TH_ACK, "ack"}, {TH_URG, "urg"}, {0x40, "ecn"},	{0x80, "cwr"}};
	uint8_t to_server = gate_stream_flags(stream, GATE_TO_SERVER);
	uint8_t to_client = gate_stream_flags(stream, GATE_TO_CLIENT);
	uint8_t both = to_server | to_client;

	gate_jw_object(jw, "tcp");
	gate_jw_hex(jw, "tcp_flags", &both, 1);
	gate_jw_hex(jw, "tcp_flags_ts", &to_server, 1);
	gate_jw_hex(jw, "tcp_flags_tc", &to_client, 1);
	for (size_t i = 0; i < BH_ARRAY_SIZE(flags); i++) {
		if (both & flags[i].bit) {
			gate_jw_bool(jw, flags[i].name, true);
		}
	}
	gate_jw_text(jw, "state", gate_tcp_state_name(gate_stream_state(stream)));
	gate_jw_end(jw);
}

/* What the other side answers such messages with, once it has said something. */
static void put_icmp_response(struct gate_jw *jw, const struct gate_flow *flow)
{
	bool icmp = flow->ip_proto == IPPROTO_ICMP || flow->ip_proto == IPPROTO_ICMPV6;

	if (icmp && flow->packets[GATE_TO_CLIENT]) {
		gate_jw_uint(jw, "response_icmp_type", flow->port[1] >> 8);
		gate_jw_uint(jw, "response_icmp_code", flow->port[1] & 255);
	}
}

void gate_eve_flow(struct gate_eve *eve, const struct gate_flow *flow, enum gate_flow_reason reason,
		   uint64_t now_us)
{
	static const char *const reasons[] = {
		[GATE_FLOW_END_TIMEOUT] = "timeout",
		[GATE_FLOW_END_FORCED] = "forced",
		[GATE_FLOW_END_SHUTDOWN] = "shutdown",
		[GATE_FLOW_END_REUSE] = "tcp_reuse",
	};
	struct gate_jw *jw = &eve->jw;

	if (!gate_eve_wants(eve, GATE_EVE_FLOW)) {
		return;
	}
	gate_eve_begin(eve, "flow", flow, NULL, now_us, GATE_EVE_OF_FLOW);
	put_icmp_response(jw, flow);
	gate_eve_app_proto(jw, flow);
	gate_jw_object(jw, "flow");
	gate_eve_flow_counts(eve, flow);
	gate_eve_time(eve, "end", flow->last_us);
	gate_jw_uint(jw, "age",
		     flow->last_us > flow->first_us ? (flow->last_us - flow->first_us) / 1000000
						    : 0);
	gate_jw_text(jw, "state", state_name(flow));
	gate_jw_text(jw, "reason", reasons[reason]);
	gate_jw_bool(jw, "alerted", flow->flags & GATE_FLOW_ALERTED);
	if (flow->flags & (GATE_FLOW_DROP | GATE_FLOW_PASS)) {
		gate_jw_text(jw, "action", flow->flags & GATE_FLOW_DROP ? "drop" : "pass");
	}
	gate_jw_end(jw);
	if (flow->vars && eve->config->eve_metadata) {
		gate_vars_log(flow->vars, NULL, eve->names, jw);
	}
	if (flow->ip_proto == IPPROTO_TCP && flow->stream) {
		put_tcp(jw, flow->stream);
	}
	gate_eve_commit(eve);
}
