/* SPDX-License-Identifier: Apache-2.0 */
/* PDUs of connection-oriented DCE/RPC. See dcerpc.h. */
#include "gate/app/dcerpc/dcerpc.h"

#include <errno.h>
#include <stdio.h>

#define UUID_SIZE 16

static uint16_t get16(const uint8_t *p, bool little)
{
	return (uint16_t)(little ? p[1] << 8 | p[0] : p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p, bool little)
{
	return little ? (uint32_t)get16(p + 2, true) << 16 | get16(p, true)
		      : (uint32_t)get16(p, false) << 16 | get16(p + 2, false);
}

int gate_dcerpc_header(const uint8_t *data, uint32_t size, struct dcerpc_header *ret)
{
	if ((size > 0 && data[0] != 5) || (size > 1 && data[1] > 1) ||
	    (size > 2 && data[2] >= DCERPC_TYPES)) {
		return -EBADMSG;
	}
	if (size < DCERPC_HEADER_SIZE) {
		return 1;
	}
	*ret = (struct dcerpc_header){.major = data[0],
				      .minor = data[1],
				      .type = data[2],
				      .flags = data[3],
				      .little = (data[4] & 0xf0) != 0};
	ret->size = get16(data + 8, ret->little);
	ret->auth_size = get16(data + 10, ret->little);
	ret->call_id = get32(data + 12, ret->little);
	return ret->size >= DCERPC_HEADER_SIZE ? 0 : -EBADMSG;
}

bool gate_dcerpc_from_server(uint8_t type)
{
	static const uint32_t server =
		1u << DCERPC_RESPONSE | 1u << DCERPC_FAULT | 1u << DCERPC_WORKING |
		1u << DCERPC_NOCALL | 1u << DCERPC_REJECT | 1u << DCERPC_BIND_ACK |
		1u << DCERPC_BIND_NAK | 1u << DCERPC_ALTER_ACK | 1u << DCERPC_SHUTDOWN;
	return type < DCERPC_TYPES && (server >> type & 1);
}

/* ---- binds ---- */

static struct gate_dcerpc_iface *iface_new(struct dcerpc_binding *b)
{
	if (b->count == DCERPC_IFACES_MAX) {
		memmove(b->ifaces, b->ifaces + 1, sizeof(b->ifaces) - sizeof(b->ifaces[0]));
		b->count--;
		b->pending -= b->pending > 0;
	}
	struct gate_dcerpc_iface *iface = &b->ifaces[b->count++];
	*iface = (struct gate_dcerpc_iface){};
	return iface;
}

/* The bytes of a UUID in the order in which it is written. */
static void uuid_read(const uint8_t *p, bool little, uint8_t *ret)
{
	static const uint8_t order[UUID_SIZE] = {3, 2, 1,  0,  5,  4,  7,  6,
						 8, 9, 10, 11, 12, 13, 14, 15};
	for (unsigned int i = 0; i < UUID_SIZE; i++) {
		ret[i] = p[little ? order[i] : i];
	}
}

/* Behind the header: sizes of fragments, association group, and the contexts. */
static void bind_request(struct dcerpc_binding *b, const struct dcerpc_header *h,
			 const uint8_t *data)
{
	uint32_t at = DCERPC_HEADER_SIZE + 12;
	if (h->size < at) {
		return;
	}
	unsigned int count = data[at - 4];
	if (h->type == DCERPC_BIND) {
		b->count = 0;
	}
	b->pending = b->count;
	for (unsigned int i = 0; i < count && h->size - at >= 4 + UUID_SIZE + 4; i++) {
		struct gate_dcerpc_iface *iface = iface_new(b);
		iface->context = get16(data + at, h->little);
		uint32_t transfers = data[at + 2];
		uuid_read(data + at + 4, h->little, iface->uuid);
		iface->major = get16(data + at + 20, h->little);
		iface->minor = get16(data + at + 22, h->little);
		iface->first_frag = h->flags & DCERPC_FIRST;
		at += 24;
		if (transfers > (h->size - at) / 20) {
			break;
		}
		at += transfers * 20;
	}
}

static void bind_ack(struct dcerpc_binding *b, const struct dcerpc_header *h, const uint8_t *data)
{
	uint32_t at = DCERPC_HEADER_SIZE + 8;
	if (h->size < at + 2) {
		return;
	}
	/* the secondary address, and what fills up to four bytes */
	at += 2u + get16(data + at, h->little);
	at = (at + 3) & ~3u;
	if (at + 4 > h->size) {
		return;
	}
	unsigned int count = data[at];
	at += 4;
	for (unsigned int i = b->pending; i < b->count && count && h->size - at >= 4; i++) {
		b->ifaces[i].result = get16(data + at, h->little);
		b->ifaces[i].reason = get16(data + at + 2, h->little);
		b->ifaces[i].acked = true;
		count--;
		if (h->size - at < 24) {
			break;
		}
		at += 24;
	}
	b->pending = b->count;
}

/* ---- calls ---- */

static void stub_add(struct gate_session *session, struct dcerpc_call *call,
		     const struct dcerpc_header *h, const uint8_t *data, uint32_t from)
{
	enum gate_dir dir = gate_dcerpc_from_server(h->type) ? GATE_TO_CLIENT : GATE_TO_SERVER;
	if (from > h->size) {
		return;
	}
	(void)gate_text_add(session, &call->stub[dir], data + from, h->size - from,
			    DCERPC_STUB_MAX);
}

/* A first fragment behind others of that number: those lead nowhere, the server forgets them. */
static void begin_anew(struct gate_session *session, struct dcerpc_call *call, enum gate_dir dir)
{
	gate_text_free(session, &call->stub[dir]);
	call->fragments[dir] = 1;
}

void gate_dcerpc_fragment(struct gate_session *session, struct dcerpc_binding *binding,
			  struct dcerpc_call *call, const struct dcerpc_header *h,
			  const uint8_t *data)
{
	bool server = gate_dcerpc_from_server(h->type);
	enum gate_dir dir = server ? GATE_TO_CLIENT : GATE_TO_SERVER;
	*(server ? &call->response : &call->request) = h->type;
	call->binding = binding;
	call->id = h->call_id;
	call->major = h->major;
	call->minor = h->minor;
	call->fragments[dir]++;
	call->big[dir] = !h->little;
	if (h->flags & DCERPC_FIRST) {
		begin_anew(session, call, dir);
	}
	switch (h->type) {
	case DCERPC_BIND:
	case DCERPC_ALTER:
		bind_request(binding, h, data);
		break;
	case DCERPC_BIND_ACK:
	case DCERPC_ALTER_ACK:
		bind_ack(binding, h, data);
		break;
	case DCERPC_REQUEST:
		/* what later fragments say of it counts for nothing */
		if (h->size >= DCERPC_HEADER_SIZE + 8 && call->fragments[dir] == 1) {
			call->context = get16(data + DCERPC_HEADER_SIZE + 4, h->little);
			call->opnum = get16(data + DCERPC_HEADER_SIZE + 6, h->little);
		}
		stub_add(session, call, h, data,
			 DCERPC_HEADER_SIZE + 8u + (h->flags & DCERPC_OBJECT ? UUID_SIZE : 0));
		break;
	case DCERPC_RESPONSE:
		stub_add(session, call, h, data, DCERPC_HEADER_SIZE + 8);
		break;
	default:
		break;
	}
	call->whole[dir] = (h->flags & DCERPC_LAST) ||
			   (h->type != DCERPC_REQUEST && h->type != DCERPC_RESPONSE);
}

void gate_dcerpc_call_free(struct gate_session *session, struct dcerpc_call *call)
{
	gate_text_free(session, &call->stub[GATE_TO_SERVER]);
	gate_text_free(session, &call->stub[GATE_TO_CLIENT]);
}

bool gate_dcerpc_stub(const struct dcerpc_call *call, enum gate_dir dir,
		      struct gate_buffer_view *ret)
{
	return call->whole[dir] && gate_text_buffer(&call->stub[dir], ret);
}

/* ---- records ---- */

const char *gate_dcerpc_type_name(uint8_t type)
{
	static const char *const names[DCERPC_TYPES] = {
		"REQUEST",   "PING",	 "RESPONSE",	  "FAULT",
		"WORKING",   "NOCALL",	 "REJECT",	  "ACK",
		"CL_CANCEL", "FACK",	 "CANCEL_ACK",	  "BIND",
		"BINDACK",   "BINDNAK",	 "ALTER_CONTEXT", "ALTER_CONTEXT_RESP",
		"AUTH3",     "SHUTDOWN", "CO_CANCEL",	  "ORPHANED",
	};
	return type < DCERPC_TYPES ? names[type] : "UNKNOWN";
}

static void log_side(const struct dcerpc_call *call, enum gate_dir dir, const char *key,
		     struct gate_jw *jw)
{
	gate_jw_object(jw, key);
	if (dir == GATE_TO_SERVER) {
		gate_jw_uint(jw, "opnum", call->opnum);
	}
	gate_jw_uint(jw, "frag_cnt", call->fragments[dir]);
	gate_jw_uint(jw, "stub_data_size", call->stub[dir].size);
	gate_jw_end(jw);
}

static void log_ifaces(const struct dcerpc_binding *b, struct gate_jw *jw)
{
	if (!b || !b->count) {
		return;
	}
	gate_jw_array(jw, "interfaces");
	for (unsigned int i = 0; i < b->count; i++) {
		const uint8_t *u = b->ifaces[i].uuid;
		char uuid[40], version[16];
		snprintf(uuid, sizeof(uuid),
			 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
			 u[12], u[13], u[14], u[15]);
		snprintf(version, sizeof(version), "%u.%u", b->ifaces[i].major, b->ifaces[i].minor);
		gate_jw_object(jw, NULL);
		gate_jw_text(jw, "uuid", uuid);
		gate_jw_text(jw, "version", version);
		if (b->ifaces[i].acked) {
			gate_jw_uint(jw, "ack_result", b->ifaces[i].result);
			gate_jw_uint(jw, "ack_reason", b->ifaces[i].reason);
		}
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}

void gate_dcerpc_log_call(const struct dcerpc_call *call, struct gate_jw *jw)
{
	if (call->request == DCERPC_NONE) {
		gate_jw_text(jw, "request", "REQUEST_LOST");
	} else {
		gate_jw_text(jw, "request", gate_dcerpc_type_name(call->request));
	}
	if (call->request == DCERPC_REQUEST) {
		gate_jw_uint(jw, "opnum", call->opnum);
		log_side(call, GATE_TO_SERVER, "req", jw);
	} else if (call->request == DCERPC_BIND || call->request == DCERPC_ALTER) {
		log_ifaces(call->binding, jw);
	}
	if (call->response == DCERPC_NONE) {
		gate_jw_text(jw, "response", "UNREPLIED");
	} else {
		gate_jw_text(jw, "response", gate_dcerpc_type_name(call->response));
	}
	if (call->response == DCERPC_RESPONSE) {
		log_side(call, GATE_TO_CLIENT, "res", jw);
	}
	gate_jw_uint(jw, "call_id", call->id);
}
