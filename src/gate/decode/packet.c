/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/decode/packet.h"

#include "base/counter.h"

#include <string.h>

BH_COUNTER(gate_events_unrecorded, "events of packets that had 16 others already");

bool gate_addr_is_v4(const struct gate_addr *addr)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(addr->bytes, prefix, sizeof(prefix));
}

bool gate_packet_has_event(const struct gate_packet *p, enum gate_event event)
{
	for (unsigned int i = 0; i < p->event_count; i++) {
		if (p->events[i] == event) {
			return true;
		}
	}
	return false;
}

void gate_packet_event(struct gate_packet *p, enum gate_event event)
{
	if (gate_packet_has_event(p, event)) {
		return;
	}
	if (p->event_count == GATE_PACKET_EVENTS_MAX) {
		bh_counter_add(&gate_events_unrecorded, 1);
		return;
	}
	p->events[p->event_count++] = (uint16_t)event;
}
