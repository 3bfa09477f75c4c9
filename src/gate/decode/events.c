/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/decode/events.h"

#include "base/util.h"

struct event_text {
	const char *name, *text;
};

static const struct event_text events[GATE_EVENT_COUNT] = {
	[GATE_EVENT_NONE] = {"", ""},
#define EVENT(id, event_name, event_text) [GATE_EVENT_##id] = {event_name, event_text},
#include "gate/decode/events.def"
#undef EVENT
};

/* Names that rule sets of older days use. */
struct event_alias {
	const char *name;
	enum gate_event event;
};

static const struct event_alias aliases[] = {
	{"udp.hlen_invalid", GATE_EVENT_UDP_LEN_INVALID},
	{"arp.invalid_pkt", GATE_EVENT_ARP_UNSUPPORTED_PKT},
	{"afp.trunc_pkt", GATE_EVENT_AFPACKET_TRUNC_PKT},
	{"ipv4.frag_too_large", GATE_EVENT_IPV4_FRAG_PKT_TOO_LARGE},
	{"ipv6.frag_too_large", GATE_EVENT_IPV6_FRAG_PKT_TOO_LARGE},
	{"stream.3whs_synack_resend_with_diff_ack",
	 GATE_EVENT_STREAM_3WHS_SYNACK_RESEND_WITH_DIFFERENT_ACK},
	{"stream.est_synack_resend_with_diff_ack",
	 GATE_EVENT_STREAM_EST_SYNACK_RESEND_WITH_DIFFERENT_ACK},
};

const char *gate_event_name(enum gate_event event)
{
	return event < GATE_EVENT_COUNT ? events[event].name : "";
}

const char *gate_event_text(enum gate_event event)
{
	return event < GATE_EVENT_COUNT ? events[event].text : "";
}

static enum gate_event find(const char *name)
{
	for (int i = 1; i < GATE_EVENT_COUNT; i++) {
		if (!strcmp(events[i].name, name)) {
			return i;
		}
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(aliases); i++) {
		if (!strcmp(aliases[i].name, name)) {
			return aliases[i].event;
		}
	}
	return GATE_EVENT_NONE;
}

enum gate_event gate_event_find(const char *name)
{
	static const char decoder[] = "decoder.";
	char full[96];
	enum gate_event event;

	if (!strncmp(name, decoder, sizeof(decoder) - 1)) {
		name += sizeof(decoder) - 1;
	}
	event = *name ? find(name) : GATE_EVENT_NONE;
	if (!event && strlen(name) < sizeof(full) - sizeof("stream.")) {
		snprintf(full, sizeof(full), "stream.%s", name);
		event = find(full);
	}
	return event;
}
