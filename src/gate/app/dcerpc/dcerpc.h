/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DCE/RPC: PDUs in place (pdu.c, also for the pipes of SMB), calls over TCP and UDP (dcerpc.c), and
 * what rules ask of a call: its interface and operation. C706, [MS-RPCE].
 *
 * A transaction is a call (or a bind) with its answer; fragments are put together, at most
 * DCERPC_STUB_MAX bytes of a side. Interfaces are those that were bound (DCERPC_IFACES_MAX of a
 * connection, the oldest go); one counts for a call when the server has accepted it and the call
 * names its context.
 */
#ifndef BH_GATE_APP_DCERPC_DCERPC_H
#define BH_GATE_APP_DCERPC_DCERPC_H

#include "gate/app/text.h"

#define DCERPC_HEADER_SIZE     16
#define DCERPC_UDP_HEADER_SIZE 80
#define DCERPC_IFACES_MAX      64
#define DCERPC_STUB_MAX	       (1u << 20)

enum dcerpc_type {
	DCERPC_REQUEST,
	DCERPC_PING,
	DCERPC_RESPONSE,
	DCERPC_FAULT,
	DCERPC_WORKING,
	DCERPC_NOCALL,
	DCERPC_REJECT,
	DCERPC_ACK,
	DCERPC_CL_CANCEL,
	DCERPC_FACK,
	DCERPC_CANCEL_ACK,
	DCERPC_BIND,
	DCERPC_BIND_ACK,
	DCERPC_BIND_NAK,
	DCERPC_ALTER,
	DCERPC_ALTER_ACK,
	DCERPC_AUTH3,
	DCERPC_SHUTDOWN,
	DCERPC_CO_CANCEL,
	DCERPC_ORPHANED,
	DCERPC_TYPES,
	DCERPC_NONE = 0xff
};
enum dcerpc_flag { DCERPC_FIRST = 1, DCERPC_LAST = 2, DCERPC_OBJECT = 0x80 };

struct dcerpc_header {
	uint8_t major, minor, type, flags;
	bool little;
	uint16_t size, auth_size; /* of the fragment */
	uint32_t call_id;
};

struct gate_dcerpc_iface {
	uint8_t uuid[16]; /* as it is written */
	uint16_t major, minor, context;
	uint16_t result, reason; /* of the server */
	bool acked;		 /* it has answered */
	bool first_frag;	 /* came in a first fragment */
};
struct dcerpc_binding {
	struct gate_dcerpc_iface ifaces[DCERPC_IFACES_MAX];
	uint8_t count, pending; /* those from `pending` on wait for an answer */
};

struct dcerpc_call {
	const struct dcerpc_binding *binding;
	uint32_t id;
	uint16_t context, opnum;
	uint8_t request, response; /* enum dcerpc_type; NONE */
	uint8_t major, minor;
	uint16_t fragments[GATE_DIRS];
	struct gate_text stub[GATE_DIRS];
	bool whole[GATE_DIRS], big[GATE_DIRS]; /* big: its numbers begin with the highest byte */
};

/* ---- for detection ---- */
/* The index-th interface that the transaction's call may be of; NULL at the end. app: that of the
 * session (DCERPC, SMB). Without any_frag only those whose first_frag is set count. */
const struct gate_dcerpc_iface *gate_dcerpc_iface(const struct gate_tx *tx, enum gate_app app,
						  uint32_t index);
/* The operation of the call: false when it is none. */
bool gate_dcerpc_opnum(const struct gate_tx *tx, enum gate_app app, uint16_t *ret);
/* Whether that side's numbers begin with their highest byte. */
bool gate_dcerpc_big(const struct gate_tx *tx, enum gate_app app, enum gate_dir dir);

/* ---- pdu.c: for parsers ---- */
/* 0: sound, 1: more is needed, -EBADMSG. */
int gate_dcerpc_header(const uint8_t *data, uint32_t size, struct dcerpc_header *ret);
/* All of the fragment is at data; what it says goes to the call and the binding. */
void gate_dcerpc_fragment(struct gate_session *session, struct dcerpc_binding *binding,
			  struct dcerpc_call *call, const struct dcerpc_header *h,
			  const uint8_t *data);
bool gate_dcerpc_from_server(uint8_t type);
void gate_dcerpc_call_free(struct gate_session *session, struct dcerpc_call *call);
bool gate_dcerpc_stub(const struct dcerpc_call *call, enum gate_dir dir,
		      struct gate_buffer_view *ret);
const char *gate_dcerpc_type_name(uint8_t type);
/* Members of the record. */
void gate_dcerpc_log_call(const struct dcerpc_call *call, struct gate_jw *jw);

#endif
