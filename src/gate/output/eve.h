/* SPDX-License-Identifier: Apache-2.0 */
/* EVE inside its room: one writer per worker, its buffers, and what every record begins with. */
#ifndef BH_GATE_OUTPUT_EVE_H
#define BH_GATE_OUTPUT_EVE_H

#include "gate/config.h"
#include "gate/output/output.h"
#include "gate/verdict/verdict.h"

#define GATE_EVE_BATCH (64u << 10)

/* Lines that are handed over together. */
struct gate_eve_batch {
	struct gate_out *out;
	char *data;
	size_t size;
};

struct gate_eve {
	const struct gate_config *config;
	struct gate_eve_batch records;
	struct gate_eve_batch events; /* out NULL: none */
	struct gate_names *names;
	unsigned int worker;
	uint32_t types;	   /* bit per enum gate_eve_type */
	uint32_t app_logs; /* bit per enum gate_app: its record is wanted */
	const char *const *interfaces;
	size_t interface_count;

	struct gate_jw jw;

	uint64_t second, day; /* that `second_text` is of */
	char second_text[20];
};

/* Whose addresses stand in front. */
enum gate_eve_side {
	GATE_EVE_OF_PACKET,
	GATE_EVE_OF_FLOW,   /* the client's */
	GATE_EVE_OF_SERVER, /* what the server sent */
};

/* type: the event_type; flow or p may be NULL, not both. Leaves the record open. */
void gate_eve_begin(struct gate_eve *eve, const char *type, const struct gate_flow *flow,
		    const struct gate_packet *p, uint64_t time_us, enum gate_eve_side side);
/* Closes it and puts it into the batch. */
void gate_eve_commit(struct gate_eve *eve);
/* The same for an event. */
void gate_eve_commit_event(struct gate_eve *eve);

void gate_eve_time(struct gate_eve *eve, const char *key, uint64_t time_us);
void gate_eve_addr(struct gate_jw *jw, const char *key, const struct gate_addr *addr);
/* Source and destination, or type and code of ICMP. */
void gate_eve_packet_ports(const struct gate_packet *p, uint16_t ret[2]);
/* Packets, bytes and the beginning of a flow, into an open object. */
void gate_eve_flow_counts(struct gate_eve *eve, const struct gate_flow *flow);
void gate_eve_app_proto(struct gate_jw *jw, const struct gate_flow *flow);
/* The transaction's own record as a member, still open. False: it has none. */
bool gate_eve_tx_open(struct gate_jw *jw, const struct gate_app_ops *ops, const struct gate_tx *tx);
void gate_eve_files_of(struct gate_jw *jw, const struct gate_tx *tx);
void gate_eve_file_members(struct gate_jw *jw, const struct gate_tx *tx,
			   const struct gate_file *file);
static inline bool gate_eve_wants(const struct gate_eve *eve, enum gate_eve_type type)
{
	return eve->types >> type & 1;
}

/* eve_alert.c, eve_packet.c */
void gate_eve_raw_packet(struct gate_jw *jw, const struct gate_packet *p);
void gate_eve_tagged(struct gate_eve *eve, const struct gate_packet *p);
void gate_eve_alerts(struct gate_eve *eve, const struct gate_packet *p);
void gate_eve_anomaly_packet(struct gate_eve *eve, const struct gate_packet *p);
/* What the rule says became of it: in a sensor a rule that drops has dropped nothing. */
bool gate_eve_blocked(const struct gate_eve *eve, const struct gate_packet_alert *alert);
/* The rest of a flow that was dropped is counted; a record each would be a flood. */
static inline bool gate_eve_shows_drop(const struct gate_packet *p)
{
	return p->flags & GATE_PKT_DROP && !(p->flags & GATE_PKT_PSEUDO) &&
	       p->drop_reason != GATE_DROP_FLOW;
}
/* The members `alert` and `verdict`. */
void gate_eve_rule(struct gate_eve *eve, const struct gate_packet *p,
		   const struct gate_packet_alert *alert);
void gate_eve_verdict(struct gate_jw *jw, const struct gate_packet *p);
/* eve_event.c: events of the packet, and of one anomaly of a protocol */
void gate_eve_event_packet(struct gate_eve *eve, const struct gate_packet *p);
void gate_eve_event_anomaly(struct gate_eve *eve, const struct gate_flow *flow, const char *app,
			    const char *event, uint64_t time_us);
static inline bool gate_eve_tells(const struct gate_eve *eve, enum gate_eve_type type)
{
	uint32_t kinds = eve->config->events_kinds;

	return eve->events.out && (kinds ? kinds : 1u << GATE_EVE_ALERT) >> type & 1;
}

#endif
