/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: who talks to whom. Each worker has a table of its own, allocated once (flow.memcap /
 * size of an entry); capture hands both directions of a flow to one worker.
 *
 * Who: addresses and ports (ICMP: types) of both sides, protocol, VLANs, depth and VNI of tunnels,
 * and the interface it came in by (inline: both legs are one). TCP, UDP, SCTP, ICMP queries and
 * every other protocol above IP but tunnels, whose inner packets have flows of their own.
 *
 * Timeouts per protocol and state (config; bypassed: 100 s). When the table is full the entry that
 * has been silent longest of those that are not established goes first, then the longest silent
 * one; both are counted and the flow is logged with its reason. Keys are hashed with SipHash under
 * a key of the process.
 */
#ifndef BH_GATE_FLOW_FLOW_H
#define BH_GATE_FLOW_FLOW_H

#include "gate/decode/packet.h"
#include "gate/gate.h"

struct gate_config;
struct gate_flow_table;
struct gate_stream;	 /* stream/stream.h */
struct gate_session;	 /* app/app.h */
struct gate_vars;	 /* detect/vars.h: flowbits, flowints of a flow */
struct gate_detect_flow; /* detect: what of a flow has been inspected */

enum gate_flow_state { GATE_FLOW_NEW, GATE_FLOW_ESTABLISHED, GATE_FLOW_CLOSED, GATE_FLOW_BYPASSED };
/* In this order: from TIME_WAIT on a connection is over (stream/stream.h). */
enum gate_tcp_state {
	GATE_TCP_NONE,
	GATE_TCP_SYN_SENT,
	GATE_TCP_SYN_RECV,
	GATE_TCP_ESTABLISHED,
	GATE_TCP_FIN_WAIT1,
	GATE_TCP_FIN_WAIT2,
	GATE_TCP_TIME_WAIT,
	GATE_TCP_LAST_ACK,
	GATE_TCP_CLOSE_WAIT,
	GATE_TCP_CLOSING,
	GATE_TCP_CLOSED,
};
enum gate_flow_reason {
	GATE_FLOW_END_TIMEOUT,
	GATE_FLOW_END_FORCED,	/* evicted */
	GATE_FLOW_END_SHUTDOWN, /* ours, or the end of the file */
	GATE_FLOW_END_REUSE,	/* another connection from the same ports */
};
enum gate_flow_flag {
	GATE_FLOW_DROP = 1u << 0,	/* every packet of it */
	GATE_FLOW_PASS = 1u << 1,	/* a pass rule took it: no more inspection */
	GATE_FLOW_NO_PAYLOAD = 1u << 2, /* bypass by decrypted end, stream depth, .. */
	GATE_FLOW_ALERTED = 1u << 3,
	GATE_FLOW_SWAPPED =
		1u << 4, /* the first packet came from the server; gate_flow_swap() turns it over */
	GATE_FLOW_SAW_SERVER = 1u << 5, /* a packet to the server has been seen */
	GATE_FLOW_SAW_CLIENT = 1u << 6,
};

struct gate_flow {
	/* who: nothing of this changes but by gate_flow_swap() */
	struct gate_addr addr[2]; /* client, server */
	uint16_t port[2];	  /* ICMP: type << 8 | code of the query; type of its answer << 8 */
	uint8_t ip_proto, ip_version;
	uint8_t vlan_count, depth;
	uint16_t vlan[GATE_VLANS_MAX];
	uint16_t source;
	struct {
		uint32_t hash, next, lru_prev, lru_next;
	} table; /* flow.c's own, as lru_s */

	uint64_t last_us;
	uint64_t packets[GATE_DIRS], bytes[GATE_DIRS];
	uint32_t flags; /* enum gate_flow_flag */
	uint32_t lru_s;
	uint8_t state;	   /* enum gate_flow_state */
	uint8_t tcp_state; /* enum gate_tcp_state, kept by stream: when ports are used anew */
	uint8_t ttl_min[GATE_DIRS], ttl_max[GATE_DIRS];
	uint16_t rule_set; /* slot + 1 of the rules that inspect it; 0: not chosen yet (sets.h) */
	uint32_t tcp_isn;  /* of who began it */
	uint32_t vni;	   /* of gate_packet; part of who, but seldom there */

	uint64_t id; /* EVE flow_id: 53 bits */
	uint64_t first_us;
	uint16_t app, app_to[GATE_DIRS]; /* enum gate_app; app_to: what each side looked like */
	uint16_t app_expected;		 /* by another flow (FTP data) */
	struct gate_stream *stream;	 /* TCP */
	struct gate_session *session;	 /* once it carries anything */
	struct gate_vars *vars;
	struct gate_detect_flow *detect;
	struct gate_flow_hooks *hooks; /* of the table */
};

/* What hangs on a flow goes with it: called in this order when it ends. */
struct gate_flow_hooks {
	/* last look: inspect and log what is open (pseudo packets, both directions); returns how
	 * many ends of ordinary flows it was worth */
	unsigned int (*ending)(struct gate_flow *flow, enum gate_flow_reason reason,
			       uint64_t now_us, void *arg);
	/* stream, session, vars, detect are to be freed */
	void (*freeing)(struct gate_flow *flow, void *arg);
	void *arg;
};

struct gate_flow_table *gate_flow_table_new(const struct gate_config *config,
					    const struct gate_flow_hooks *hooks);
void gate_flow_table_free(struct gate_flow_table *table);
/* Finds or makes the flow of a packet, sets p->flow, p->dir and counts it. NULL: it has none (no
 * IP, a fragment), or the table is full of flows that can't go (counted). ICMP errors belong to
 * the flow they speak of when it is there. TCP ports that are used anew begin another flow. Sets
 * GATE_PKT_ESTABLISHED as Suricata: TCP by the state before this packet, else both sides were
 * seen. */
struct gate_flow *gate_flow_of(struct gate_flow_table *table, struct gate_packet *p);
/* Ends what has been silent for too long; at most `budget` entries are looked at. */
void gate_flow_tick(struct gate_flow_table *table, uint64_t now_us, unsigned int budget);
/* Ends them all. */
void gate_flow_end_all(struct gate_flow_table *table, enum gate_flow_reason reason,
		       uint64_t now_us);
/* Something happened that rules can't judge: what the configuration wants of such packets. */
void gate_flow_except(struct gate_flow *flow, struct gate_packet *p, enum gate_exception policy,
		      enum gate_drop_reason reason);
void gate_flow_set_state(struct gate_flow_table *table, struct gate_flow *flow,
			 enum gate_flow_state state);
struct gate_flow_table *gate_flow_table_of(const struct gate_flow *flow); /* NULL: of a test */
/* A flow that is to come (FTP data): from any port when sport is 0. Bounded, 30 s. */
void gate_flow_expect(struct gate_flow_table *table, const struct gate_flow *parent,
		      const struct gate_addr *server, uint16_t port, enum gate_app app,
		      uint64_t now_us);
/* Looks again: the connection may be older than what announces it (FTP: PASV, SYN, RETR, data). */
void gate_flow_expected(struct gate_flow *flow);
/* Both sides swapped: the server spoke first (midstream, or the detection says so). Whoever does
 * it while a packet is on its way turns p->dir over too. */
void gate_flow_swap(struct gate_flow *flow);
/* Community flow id v1, "1:base64", seed 0 (corelight). */
#define GATE_COMMUNITY_ID_SIZE 33
void gate_flow_community_id(const struct gate_flow *flow, char ret[GATE_COMMUNITY_ID_SIZE]);

#define GATE_FLOW_EXPECT_MAX 1024
struct gate_flow_stats {
	uint64_t active, total, tcp, udp, icmp4, icmp6, other, evicted_new, evicted, no_room;
	uint64_t timeouts, reused, expectations, expectations_met, expectations_full;
	size_t bytes_each, capacity;
};
void gate_flow_stats(const struct gate_flow_table *table, struct gate_flow_stats *ret);

#endif
