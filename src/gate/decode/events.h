/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything about packets and streams that should not be: one list (events.def) gives number, the
 * name that rules use behind `decode-event:` and `stream-event:` (Suricata's), and a sentence
 * for the manual. Events of protocols live with their parsers (app.h).
 */
#ifndef BH_GATE_DECODE_EVENTS_H
#define BH_GATE_DECODE_EVENTS_H

#include <stdint.h>

enum gate_event {
	GATE_EVENT_NONE,
#define EVENT(id, name, text) GATE_EVENT_##id,
#include "gate/decode/events.def"
#undef EVENT
	GATE_EVENT_COUNT
};

const char *gate_event_name(enum gate_event event); /* "ipv4.pkt_too_small" */
const char *gate_event_text(enum gate_event event);
/* 0 unknown. Accepts "stream.x" and "x" for those of streams, "decoder.x" as well. */
enum gate_event gate_event_find(const char *name);

#endif
