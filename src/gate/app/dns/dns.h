/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035, 2136, 2782, 4255, 6891) for the parser of UDP and TCP here, and for
 * whoever carries them otherwise (HTTP/2). Reading makes no memory of its own: gate_dns_read looks
 * a message through and says how much is needed to keep it, gate_dns_keep puts it there.
 *
 * Limits: a name is cut at GATE_DNS_NAME_MAX bytes and followed over at most GATE_DNS_LABELS_MAX
 * labels and pointers; all names of a message together take GATE_DNS_NAMES_MAX (past it a name is
 * empty and the event name_too_long is set). A name that is a pointer to one that was read already
 * costs nothing. Behind pointers GATE_DNS_STEPS_MAX labels and pointers of a message are followed
 * (past it a name ends with its first pointer: too_many_labels).
 */
#ifndef BH_GATE_APP_DNS_DNS_H
#define BH_GATE_APP_DNS_DNS_H

#include "gate/app/app.h"

#define GATE_DNS_HEADER_SIZE 12u
#define GATE_DNS_NAME_MAX    1025u
#define GATE_DNS_LABELS_MAX  255u
#define GATE_DNS_STEPS_MAX   (64u << 10)
#define GATE_DNS_NAMES_MAX   (64u << 10)

enum gate_dns_event {
	GATE_DNS_MALFORMED_DATA,
	GATE_DNS_NOT_REQUEST,
	GATE_DNS_NOT_RESPONSE,
	GATE_DNS_Z_FLAG_SET,
	GATE_DNS_INVALID_OPCODE,
	GATE_DNS_NAME_TOO_LONG,
	GATE_DNS_INFINITE_LOOP,
	GATE_DNS_TOO_MANY_LABELS,
	GATE_DNS_INVALID_ADDITIONALS,
	GATE_DNS_INVALID_AUTHORITIES,
	GATE_DNS_EVENTS
};
extern const struct gate_app_event gate_dns_events[GATE_DNS_EVENTS];

enum gate_dns_section {
	GATE_DNS_QUERIES,
	GATE_DNS_ANSWERS,
	GATE_DNS_AUTHORITIES,
	GATE_DNS_ADDITIONALS,
	GATE_DNS_SECTIONS
};
enum gate_dns_flag {
	GATE_DNS_QR = 0x8000,
	GATE_DNS_AA = 0x0400,
	GATE_DNS_TC = 0x0200,
	GATE_DNS_RD = 0x0100,
	GATE_DNS_RA = 0x0080,
	GATE_DNS_Z = 0x0040,
};
enum gate_dns_type {
	GATE_DNS_A = 1,
	GATE_DNS_NS = 2,
	GATE_DNS_CNAME = 5,
	GATE_DNS_SOA = 6,
	GATE_DNS_NULL = 10,
	GATE_DNS_PTR = 12,
	GATE_DNS_MX = 15,
	GATE_DNS_TXT = 16,
	GATE_DNS_AAAA = 28,
	GATE_DNS_SRV = 33,
	GATE_DNS_OPT = 41,
	GATE_DNS_SSHFP = 44,
};

struct gate_dns_rr {
	uint32_t name_at; /* in names */
	uint16_t name_size;
	uint16_t name_offset; /* in the message, where its first label stands */
	uint16_t type, class;
	uint16_t data_at, data_size; /* in raw; none of a query */
	uint32_t ttl;
	uint32_t value_at; /* in names: what data name; of CNAME, PTR, MX, NS, SOA */
	uint16_t value_size, value_offset;
	uint16_t value_owner; /* which record has the value with this one's index among values */
};

struct gate_dns_message {
	uint16_t id, flags;
	uint16_t counts[GATE_DNS_SECTIONS]; /* as read, not as the header says */
	uint16_t events;		    /* bits of enum gate_dns_event */
	uint32_t raw_size, used;	    /* used: bytes up to the end of the last record */
	const struct gate_dns_rr *rrs;	    /* the sections one after the other */
	uint16_t value_count;		    /* of those that have a value */
	const uint8_t *names;
	const uint8_t *raw;
};

#define GATE_DNS_READ_RRS   64
#define GATE_DNS_READ_NAMES 4096
struct gate_dns_reading {
	struct gate_dns_message message; /* raw is the caller's; rrs and names are below */
	uint32_t rr_count, names_size;	 /* needed */
	bool fits;			 /* all are below */
	struct gate_dns_rr rrs[GATE_DNS_READ_RRS];
	uint8_t names[GATE_DNS_READ_NAMES];
};
/* 0, or -EBADMSG: no header that could be one (then message.id is not set), or malformed. */
[[nodiscard]] int gate_dns_read(const uint8_t *data, size_t size, struct gate_dns_reading *ret);
bool gate_dns_header_ok(const uint8_t *data, size_t size, size_t message_size);
size_t gate_dns_need(const struct gate_dns_reading *reading);
/* memory: gate_dns_need() bytes, aligned; borrowed by *ret. */
void gate_dns_keep(const struct gate_dns_reading *reading, void *memory,
		   struct gate_dns_message *ret);

/* A message as a transaction of one side, with its events. NULL: no memory (counted). */
struct gate_dns_tx {
	struct gate_tx tx;
	struct gate_dns_message message;
	uint8_t memory[];
};
struct gate_dns_tx *gate_dns_take(struct gate_session *session, enum gate_dir dir,
				  const struct gate_dns_reading *reading);
/* Told to the transaction before: there is none of its own. */
void gate_dns_event_before(struct gate_session *session, enum gate_dns_event event);

/* A name that stands in raw (data of a record): its size, at most GATE_DNS_NAME_MAX; -EBADMSG. */
int gate_dns_name(const struct gate_dns_message *m, uint32_t at, uint8_t *ret);
/* As gate_app_ops.buffer and .number. `dir` is the message's own: the caller has looked. */
bool gate_dns_buffer(const struct gate_dns_message *m, enum gate_buffer buffer, uint32_t index,
		     struct gate_buffer_view *ret);
bool gate_dns_number(const struct gate_dns_message *m, enum gate_number number, uint32_t index,
		     uint64_t *ret);
/* Members of the record, EVE's version 3. */
void gate_dns_log(const struct gate_dns_message *m, uint64_t tx_id, struct gate_jw *jw);
const char *gate_dns_type_name(uint16_t type); /* NULL: by number */
const char *gate_dns_rcode_name(uint16_t rcode);

#endif
