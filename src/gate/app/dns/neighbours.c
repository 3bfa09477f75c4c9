/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names among neighbours: multicast DNS (RFC 6762) and LLMNR (RFC 4795), messages of DNS on UDP
 * ports of their own. Every message is a transaction of one side. Who asks and who answers shows
 * in the message; with mDNS both may come from either side of a flow, and stay where they are.
 */
#include "gate/app/dns/dns.h"

#define MDNS_PORT  5353
#define LLMNR_PORT 5355

static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const uint16_t mdns_ports[] = {MDNS_PORT, 0};
static const uint16_t llmnr_ports[] = {LLMNR_PORT, 0};

static int mdns_probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	return port == MDNS_PORT && gate_dns_header_ok(data, size, size) ? GATE_PROBE_YES
									 : GATE_PROBE_NO;
}

static int llmnr_probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	if (port != LLMNR_PORT || !gate_dns_header_ok(data, size, size)) {
		return GATE_PROBE_NO;
	}
	bool response = gate_be16(data + 2) & GATE_DNS_QR;
	return response == (dir == GATE_TO_CLIENT) ? GATE_PROBE_YES : GATE_PROBE_REVERSED;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct gate_dns_reading r;
	if (gate_dns_header_ok(in->data, in->size, in->size)) {
		if (gate_dns_read(in->data, in->size, &r)) {
			gate_dns_event_before(session, GATE_DNS_MALFORMED_DATA);
		} else {
			(void)gate_dns_take(session, dir, &r);
		}
	}
	return in->size;
}

#define SAME_ORDER(app)                                                                            \
	_Static_assert(GATE_BUF_##app##_RESPONSE_RRNAME - GATE_BUF_##app##_QUERIES_RRNAME ==       \
			       GATE_BUF_DNS_RESPONSE_RRNAME - GATE_BUF_DNS_QUERIES_RRNAME,         \
		       "buffers.def has them in the order of those of DNS")
SAME_ORDER(MDNS);
SAME_ORDER(LLMNR);

/* That of DNS, which the five of a protocol stand in the order of. */
static enum gate_buffer of_dns(enum gate_buffer which, enum gate_buffer first)
{
	if (which < first ||
	    which > first + (GATE_BUF_DNS_RESPONSE_RRNAME - GATE_BUF_DNS_QUERIES_RRNAME)) {
		return GATE_BUF_PAYLOAD;
	}
	return GATE_BUF_DNS_QUERIES_RRNAME + (which - first);
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct gate_dns_tx *d = (const struct gate_dns_tx *)tx;
	enum gate_buffer mdns = of_dns(which, GATE_BUF_MDNS_QUERIES_RRNAME);
	enum gate_buffer llmnr = of_dns(which, GATE_BUF_LLMNR_QUERIES_RRNAME);
	return !(tx->skip_dirs & GATE_DIR_BIT(dir)) &&
	       gate_dns_buffer(&d->message, mdns != GATE_BUF_PAYLOAD ? mdns : llmnr, index, ret);
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	gate_dns_log(&((const struct gate_dns_tx *)tx)->message, tx->id, jw);
	return true;
}

const struct gate_app_ops gate_mdns_ops = {
	.app = GATE_APP_MDNS,
	.name = "mdns",
	.log = "mdns",
	.transports = 2,
	.states = {request_states, response_states},
	.events = gate_dns_events,
	.event_count = GATE_DNS_EVENTS,
	.ports = mdns_ports,
	.probe = mdns_probe,
	.parse = parse,
	.buffer = buffer,
	.log_tx = log_tx,
};

const struct gate_app_ops gate_llmnr_ops = {
	.app = GATE_APP_LLMNR,
	.name = "llmnr",
	.log = "llmnr",
	.transports = 2,
	.states = {request_states, response_states},
	.events = gate_dns_events,
	.event_count = GATE_DNS_EVENTS,
	.ports = llmnr_ports,
	.probe = llmnr_probe,
	.parse = parse,
	.buffer = buffer,
	.log_tx = log_tx,
};
