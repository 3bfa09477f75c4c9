/* SPDX-License-Identifier: Apache-2.0 */
/* DCE/RPC over TCP and UDP as the engine sees it. See dcerpc.h. */
#include "gate/app/dcerpc/dcerpc.h"
#include "gate/app/smb/smb.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

struct dcerpc_tx {
	struct gate_tx tx;
	struct dcerpc_call call;
	struct gate_dcerpc_iface udp_iface; /* of the call itself, without a connection */
	uint8_t activity[16];
	bool udp;
};

struct dcerpc_conn {
	struct dcerpc_binding binding;
	bool gap[GATE_DIRS];
};

static const char *const states[] = {"started", "complete", NULL};
static const char *const patterns[] = {"\\x05\\x00", "\\x05\\x01", "\\x04\\x00", NULL};

/* ---- which protocol ---- */

static int probe_udp(enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	if (size < DCERPC_UDP_HEADER_SIZE || data[1] > 19 || (data[3] & 0xfc) || (data[4] & 0xee) ||
	    data[5] > 3) {
		return GATE_PROBE_NO;
	}
	bool server = gate_dcerpc_from_server(data[1]);
	return server == (dir == GATE_TO_CLIENT) ? GATE_PROBE_YES : GATE_PROBE_REVERSED;
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	struct dcerpc_header h;
	(void)port;
	if (!size) {
		return GATE_PROBE_NO;
	}
	if (data[0] == 4) {
		return probe_udp(dir, data, size);
	}
	int rc = gate_dcerpc_header(data, size, &h);
	if (rc) {
		return rc > 0 ? GATE_PROBE_MORE : GATE_PROBE_NO;
	}
	/* integers are big or little, characters ASCII or EBCDIC, floats one of four */
	if ((data[4] & 0xee) || data[5] > 3) {
		return GATE_PROBE_NO;
	}
	bool server = gate_dcerpc_from_server(h.type);
	return server == (dir == GATE_TO_CLIENT) ? GATE_PROBE_YES : GATE_PROBE_REVERSED;
}

/* ---- TCP ---- */

static struct dcerpc_tx *tx_new(struct gate_session *session, uint32_t call_id)
{
	struct dcerpc_tx *tx = (struct dcerpc_tx *)gate_tx_new(session, sizeof(*tx));
	if (tx) {
		tx->call.id = call_id;
		gate_tx_key(session, &tx->tx, call_id);
		tx->call.request = tx->call.response = DCERPC_NONE;
	}
	return tx;
}

static bool is_open(const struct gate_tx *tx, const void *arg)
{
	const enum gate_dir *dir = arg;
	return !(tx->done_dirs & GATE_DIR_BIT(*dir));
}

/* The call that the fragment belongs to: the youngest of that number whose side is open. */
static struct dcerpc_tx *tx_of(struct gate_session *session, const struct dcerpc_header *h,
			       enum gate_dir dir)
{
	struct gate_tx *tx = gate_tx_by_key(session, h->call_id, is_open, &dir);
	return tx ? (struct dcerpc_tx *)tx : tx_new(session, h->call_id);
}

static void fragment(struct gate_session *session, struct dcerpc_conn *conn,
		     const struct dcerpc_header *h, const uint8_t *data)
{
	bool server = gate_dcerpc_from_server(h->type);
	enum gate_dir dir = server ? GATE_TO_CLIENT : GATE_TO_SERVER;
	if (h->type == DCERPC_AUTH3 || h->type == DCERPC_SHUTDOWN || h->type == DCERPC_CO_CANCEL ||
	    h->type == DCERPC_ORPHANED) {
		return; /* nobody answers those */
	}
	struct dcerpc_tx *tx = tx_of(session, h, dir);
	if (!tx) {
		return;
	}
	gate_dcerpc_fragment(session, &conn->binding, &tx->call, h, data);
	gate_tx_progress(session, &tx->tx, dir, 0);
	if (tx->call.whole[dir]) {
		gate_tx_done(session, &tx->tx, dir);
		if (server) {
			gate_tx_done(session, &tx->tx, GATE_TO_SERVER);
		}
	}
}

/* Bytes up to what may be a header again. */
static uint32_t after_gap(struct dcerpc_conn *conn, enum gate_dir dir, const uint8_t *data,
			  uint32_t size)
{
	struct dcerpc_header h;
	for (uint32_t at = 0; at < size; at++) {
		if (data[at] == 5 && size - at >= DCERPC_HEADER_SIZE &&
		    !gate_dcerpc_header(data + at, size - at, &h) && !(data[at + 4] & 0xee)) {
			conn->gap[dir] = false;
			return at;
		}
	}
	return size;
}

static int64_t stream(struct gate_session *session, struct dcerpc_conn *conn, enum gate_dir dir,
		      const struct gate_app_input *in)
{
	uint32_t at = 0;
	if (in->gap) {
		conn->gap[dir] = true;
		return 0;
	}
	if (conn->gap[dir]) {
		at = after_gap(conn, dir, in->data, in->size);
	}
	while (at < in->size) {
		struct dcerpc_header h;
		int rc = gate_dcerpc_header(in->data + at, in->size - at, &h);
		if (rc < 0) {
			return -EBADMSG;
		}
		if (rc || h.size > in->size - at) {
			break;
		}
		fragment(session, conn, &h, in->data + at);
		at += h.size;
	}
	return at;
}

/* ---- UDP ---- */

static uint32_t udp_number(const uint8_t *p, unsigned int size, bool little)
{
	uint32_t v = 0;
	for (unsigned int i = 0; i < size; i++) {
		v = v << 8 | p[little ? size - 1 - i : i];
	}
	return v;
}

static void udp_uuid(const uint8_t *p, bool little, uint8_t *ret)
{
	static const uint8_t order[] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	for (unsigned int i = 0; i < sizeof(order); i++) {
		ret[i] = p[little ? order[i] : i];
	}
}

struct udp_call {
	const uint8_t *activity;
	enum gate_dir dir;
};

static bool is_of_activity(const struct gate_tx *tx, const void *arg)
{
	const struct udp_call *call = arg;
	return !memcmp(((const struct dcerpc_tx *)tx)->activity, call->activity, 16) &&
	       is_open(tx, &call->dir);
}

static struct dcerpc_tx *udp_tx(struct gate_session *session, const uint8_t *data, uint32_t seq,
				enum gate_dir dir)
{
	const struct udp_call call = {.activity = data + 40, .dir = dir};
	struct dcerpc_tx *d =
		(struct dcerpc_tx *)gate_tx_by_key(session, seq, is_of_activity, &call);
	if (d) {
		return d;
	}
	d = tx_new(session, seq);
	if (d) {
		memcpy(d->activity, data + 40, 16);
	}
	return d;
}

/* Header of 80 bytes: 8 object, 24 interface, 40 activity, 60 version, 64 sequence, 68 operation,
 * 74 size, 76 number of the fragment. */
static void datagram(struct gate_session *session, const uint8_t *data, uint32_t size)
{
	bool server = gate_dcerpc_from_server(data[1]), little = (data[4] & 0xf0) != 0;
	enum gate_dir dir = server ? GATE_TO_CLIENT : GATE_TO_SERVER;
	uint32_t stub = udp_number(data + 74, 2, little);
	struct dcerpc_tx *tx = udp_tx(session, data, udp_number(data + 64, 4, little), dir);
	if (!tx) {
		return;
	}
	bool fragmented = data[2] & 4, last = data[2] & 2;
	stub = stub < size - DCERPC_UDP_HEADER_SIZE ? stub : size - DCERPC_UDP_HEADER_SIZE;
	*(server ? &tx->call.response : &tx->call.request) = data[1];
	tx->udp = true;
	tx->call.major = 4;
	tx->call.fragments[dir]++;
	tx->call.big[dir] = !little;
	if (!server) {
		tx->call.opnum = (uint16_t)udp_number(data + 68, 2, little);
		udp_uuid(data + 24, little, tx->udp_iface.uuid);
		tx->udp_iface.major = (uint16_t)udp_number(data + 60, 4, little);
		tx->udp_iface.minor = (uint16_t)(udp_number(data + 60, 4, little) >> 16);
		tx->udp_iface.acked = tx->udp_iface.first_frag = true;
	}
	(void)gate_text_add(session, &tx->call.stub[dir], data + DCERPC_UDP_HEADER_SIZE, stub,
			    DCERPC_STUB_MAX);
	gate_tx_progress(session, &tx->tx, dir, 0);
	tx->call.whole[dir] = !fragmented || last;
	if (tx->call.whole[dir]) {
		gate_tx_done(session, &tx->tx, dir);
		if (server) {
			gate_tx_done(session, &tx->tx, GATE_TO_SERVER);
		}
	}
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	if (gate_session_flow(session)->ip_proto != IPPROTO_UDP) {
		return stream(session, state, dir, in);
	}
	if (in->size >= DCERPC_UDP_HEADER_SIZE && in->data[0] == 4 && in->data[1] <= 19) {
		datagram(session, in->data, in->size);
	}
	return in->size;
}

/* ---- the session ---- */

static void *dcerpc_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct dcerpc_conn));
}

static void dcerpc_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct dcerpc_conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	gate_dcerpc_call_free(session, &((struct dcerpc_tx *)tx)->call);
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	return which == GATE_BUF_DCE_STUB_DATA && !index &&
	       gate_dcerpc_stub(&((struct dcerpc_tx *)tx)->call, dir, ret);
}

static bool log_tx(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct dcerpc_tx *tx = (const struct dcerpc_tx *)gtx;
	char version[8];
	gate_dcerpc_log_call(&tx->call, jw);
	snprintf(version, sizeof(version), "%u.%u", tx->call.major, tx->call.minor);
	if (tx->udp) {
		gate_jw_hex(jw, "activityuuid", tx->activity, sizeof(tx->activity));
		gate_jw_uint(jw, "seqnum", tx->call.id);
	}
	gate_jw_text(jw, "rpc_version", version);
	return true;
}

/* ---- what rules ask ---- */

static const struct dcerpc_call *call_of(const struct gate_tx *tx, enum gate_app app)
{
	if (app == GATE_APP_SMB) {
		return gate_smb_call(tx);
	}
	return app == GATE_APP_DCERPC ? &((const struct dcerpc_tx *)tx)->call : NULL;
}

const struct gate_dcerpc_iface *gate_dcerpc_iface(const struct gate_tx *tx, enum gate_app app,
						  uint32_t index)
{
	const struct dcerpc_call *call = call_of(tx, app);
	if (!call || (call->request != DCERPC_REQUEST && call->response != DCERPC_RESPONSE)) {
		return NULL;
	}
	if (app == GATE_APP_DCERPC && ((const struct dcerpc_tx *)tx)->udp) {
		return index ? NULL : &((const struct dcerpc_tx *)tx)->udp_iface;
	}
	for (unsigned int i = 0; call->binding && i < call->binding->count; i++) {
		const struct gate_dcerpc_iface *iface = &call->binding->ifaces[i];
		if (iface->acked && !iface->result &&
		    (call->request != DCERPC_REQUEST || iface->context == call->context) &&
		    !index--) {
			return iface;
		}
	}
	return NULL;
}

bool gate_dcerpc_opnum(const struct gate_tx *tx, enum gate_app app, uint16_t *ret)
{
	const struct dcerpc_call *call = call_of(tx, app);
	if (!call || call->request != DCERPC_REQUEST) {
		return false;
	}
	*ret = call->opnum;
	return true;
}

bool gate_dcerpc_big(const struct gate_tx *tx, enum gate_app app, enum gate_dir dir)
{
	const struct dcerpc_call *call = call_of(tx, app);

	return call && call->big[dir];
}

const struct gate_app_ops gate_dcerpc_ops = {
	.app = GATE_APP_DCERPC,
	.name = "dcerpc",
	.log = "dcerpc",
	.transports = 1 | 2,
	.states = {states, states},
	.patterns = {patterns, patterns},
	.probe = probe,
	.new = dcerpc_new,
	.free = dcerpc_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = log_tx,
};
