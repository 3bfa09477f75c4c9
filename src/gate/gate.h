/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every room of bulkhead-gated speaks of: directions, views, actions, identifiers. Pure.
 *
 * Threads: a worker owns its packets, flows, sessions and transactions; nothing of them is seen by
 * another thread. What workers share is read-only (configuration, rule sets) or says how it is
 * shared in its own header.
 */
#ifndef BH_GATE_GATE_H
#define BH_GATE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a flow: to the server is the way its first packet took (or what `flow swap` made of it). */
enum gate_dir { GATE_TO_SERVER, GATE_TO_CLIENT, GATE_DIRS };
#define GATE_DIR_BIT(dir) (1u << (dir))
#define GATE_DIR_OTHER(d) ((enum gate_dir)(1 - (d)))
#define GATE_BOTH_DIRS	  3u

/* Borrowed bytes. */
struct gate_view {
	const uint8_t *data;
	uint32_t size;
};

/* Numbers on the wire. */
static inline uint16_t gate_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t gate_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void gate_put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline void gate_put32(uint8_t *p, uint32_t value)
{
	gate_put16(p, value >> 16);
	gate_put16(p + 2, value & 0xffff);
}

/* What a rule says, in the order in which Suricata applies it: pass before drop before reject
 * before alert. */
enum gate_action {
	GATE_PASS = 1 << 0,
	GATE_DROP = 1 << 1,
	GATE_REJECT = 1 << 2,	   /* to the sender */
	GATE_REJECT_DST = 1 << 3,  /* to the receiver */
	GATE_REJECT_BOTH = 1 << 4, /* to both */
	GATE_ALERT = 1 << 5,
};

/* What becomes of packets that rules can't judge (Suricata's exception policies). */
enum gate_exception {
	GATE_EXCEPTION_IGNORE,
	GATE_EXCEPTION_DROP_FLOW,
	GATE_EXCEPTION_DROP_PACKET,
	GATE_EXCEPTION_REJECT, /* the flow, with an answer */
	GATE_EXCEPTION_BYPASS,
	GATE_EXCEPTION_PASS_FLOW, /* parsed, not inspected */
	GATE_EXCEPTION_PASS_PACKET,
};

/* Protocols above the transport. Names as in EVE and in rules (names.c). */
enum gate_app {
	GATE_APP_UNKNOWN, /* not known yet */
	GATE_APP_FAILED,  /* looked at enough of it: none of ours */
	GATE_APP_HTTP1,
	GATE_APP_HTTP2,
	GATE_APP_TLS,
	GATE_APP_QUIC,
	GATE_APP_DNS,
	GATE_APP_SMTP,
	GATE_APP_FTP,
	GATE_APP_FTP_DATA,
	GATE_APP_SMB,
	GATE_APP_DCERPC,
	GATE_APP_SSH,
	GATE_APP_DHCP,
	GATE_APP_SIP,
	GATE_APP_SNMP,
	GATE_APP_MYSQL,
	GATE_APP_PGSQL,
	GATE_APP_WEBSOCKET,
	GATE_APP_DOH2,
	GATE_APP_MDNS,
	GATE_APP_LLMNR,
	GATE_APP_COUNT
};

const char *gate_app_name(enum gate_app app);  /* "http", "tls", .. */
enum gate_app gate_app_find(const char *name); /* UNKNOWN when there is no such name */

#endif
