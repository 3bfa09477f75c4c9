/* SPDX-License-Identifier: Apache-2.0 */
/* SMB as the engine sees it: detection, records, buffers. See smb.h. */
#include "gate/app/frame.h"
#include "gate/app/smb/smb.h"

#include <errno.h>

#define NBSS_SIZE      4
#define NBSS_MESSAGE   0x00
#define NBSS_REQUEST   0x81
#define NBSS_POSITIVE  0x82
#define NBSS_NEGATIVE  0x83
#define NBSS_RETARGET  0x84
#define NBSS_KEEPALIVE 0x85

static const struct gate_app_event events[SMB_EVENTS] = {
	[SMB_MALFORMED_DATA] = {"malformed_data", "malformed message"},
	[SMB_RECORD_OVERFLOW] = {"record_overflow", "a message is longer than its record"},
	[SMB_MALFORMED_NTLMSSP] = {"malformed_ntlmssp_request", "malformed NTLMSSP"},
	[SMB_DUPLICATE_NEGOTIATE] = {"duplicate_negotiate", "negotiated twice"},
	[SMB_NEGOTIATE_DIALECTS] = {"negotiate_malformed_dialects",
				    "the dialect that was chosen was not offered"},
	[SMB_FILE_OVERLAP] = {"file_overlap", "a part of a file came twice"},
	[SMB_REQUEST_TO_CLIENT] = {"request_to_client", "a request from the server"},
	[SMB_RESPONSE_TO_SERVER] = {"response_to_server", "a response from the client"},
	[SMB_TOO_MANY] = {"too_many_transactions", "too many requests wait for a response"},
	[SMB_INTERNAL_ERROR] = {"internal_error", "never said, as by Suricata: for its rules"},
	[SMB_MALFORMED_NTLMSSP_RESPONSE] = {"malformed_ntlmssp_response",
					    "never said, as by Suricata: for its rules"},
	[SMB_NEGOTIATE_READ_TOO_LARGE] = {"negotiate_max_read_size_too_large",
					  "the server offers reads of more than 16 MB"},
	[SMB_NEGOTIATE_WRITE_TOO_LARGE] = {"negotiate_max_write_size_too_large",
					   "the server offers writes of more than 16 MB"},
	[SMB_READ_REQUEST_TOO_LARGE] = {"read_request_too_large",
					"never said, as by Suricata: for its rules"},
	[SMB_READ_RESPONSE_TOO_LARGE] = {"read_response_too_large",
					 "more than was negotiated, or than 16 MB"},
	[SMB_READ_QUEUE_SIZE] = {"read_queue_size_exceeded",
				 "too many bytes of a file wait for what comes before them"},
	[SMB_READ_QUEUE_COUNT] = {"read_queue_cnt_exceeded",
				  "too many parts of a file wait for what comes before them"},
	[SMB_WRITE_REQUEST_TOO_LARGE] = {"write_request_too_large",
					 "more than was negotiated, or than 16 MB"},
	[SMB_WRITE_QUEUE_SIZE] = {"write_queue_size_exceeded",
				  "never said: writes don't wait for others"},
	[SMB_WRITE_QUEUE_COUNT] = {"write_queue_cnt_exceeded",
				   "never said: writes don't wait for others"},
};
static const char *const states[] = {"started", "complete", NULL};
static const uint16_t ports[] = {445, 139, 0};
static const char *const patterns[] = {
	"\\x00\\?\\?\\?\\xff\\x53\\x4d\\x42",
	"\\x00\\?\\?\\?\\xfe\\x53\\x4d\\x42",
	"\\x00\\?\\?\\?\\xfd\\x53\\x4d\\x42",
	"\\x81\\x00\\x00",
	NULL,
};

/* ---- which protocol ---- */

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	if (!size) {
		return GATE_PROBE_NO;
	}
	if (data[0] == NBSS_REQUEST || data[0] == NBSS_POSITIVE) {
		return port == 139 || port == 445 ? GATE_PROBE_YES : GATE_PROBE_NO;
	}
	if (data[0] != NBSS_MESSAGE) {
		return GATE_PROBE_NO;
	}
	if (size < 8) {
		return GATE_PROBE_MORE;
	}
	if (memcmp(data + 5, "SMB", 3) != 0 || data[4] < 0xfd) {
		return GATE_PROBE_NO;
	}
	bool reply = false;
	if (data[4] == 0xff && size > 13) {
		reply = data[13] & 0x80;
	} else if (data[4] == 0xfe && size > 20) {
		reply = data[20] & 1;
	} else {
		return GATE_PROBE_YES;
	}
	return reply == (dir == GATE_TO_CLIENT) ? GATE_PROBE_YES : GATE_PROBE_REVERSED;
}

/* ---- records ---- */

/* What is there of a record that is longer than is waited for (SMB_WHOLE_MAX) is the frame. */
static void put_frames(struct smb_conn *conn, enum gate_dir dir, const enum gate_buffer kinds[3],
		       struct gate_view all, uint32_t header)
{
	header = header < all.size ? header : all.size;
	gate_frame_put(conn->session, dir, kinds[0], all.data, all.size);
	gate_frame_put(conn->session, dir, kinds[1], all.data, header);
	gate_frame_put(conn->session, dir, kinds[2], all.data + header, all.size - header);
}

static void frames(struct smb_conn *conn, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	static const enum gate_buffer nbss[] = {GATE_BUF_FRAME_NBSS_PDU, GATE_BUF_FRAME_NBSS_HDR,
						GATE_BUF_FRAME_NBSS_DATA};
	static const struct {
		uint8_t first, header;
		enum gate_buffer kinds[3];
	} versions[] = {
		{0xff,
		 32,
		 {GATE_BUF_FRAME_SMB1_PDU, GATE_BUF_FRAME_SMB1_HDR, GATE_BUF_FRAME_SMB1_DATA}},
		{0xfe,
		 64,
		 {GATE_BUF_FRAME_SMB2_PDU, GATE_BUF_FRAME_SMB2_HDR, GATE_BUF_FRAME_SMB2_DATA}},
		{0xfd,
		 52,
		 {GATE_BUF_FRAME_SMB3_PDU, GATE_BUF_FRAME_SMB3_HDR, GATE_BUF_FRAME_SMB3_DATA}},
	};
	struct gate_view inner = {.data = data + NBSS_SIZE, .size = size - NBSS_SIZE};
	put_frames(conn, dir, nbss, (struct gate_view){.data = data, .size = size}, NBSS_SIZE);
	for (size_t i = 0; inner.size >= 4 && i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (inner.data[0] == versions[i].first && !memcmp(inner.data + 1, "SMB", 3)) {
			put_frames(conn, dir, versions[i].kinds, inner, versions[i].header);
		}
	}
}

static void message(struct smb_conn *conn, enum gate_dir dir, struct smb_message *m)
{
	if (m->size < 4 || memcmp(m->data + 1, "SMB", 3) != 0) {
		gate_smb_event(conn, SMB_MALFORMED_DATA);
		return;
	}
	if (m->data[0] == 0xff) {
		gate_smb1(conn, dir, m);
	} else if (m->data[0] == 0xfe) {
		gate_smb2(conn, dir, m);
	}
	/* 0xfd: encrypted, 0xfc: compressed */
}

/* The record is over, or what is left of it can't be found. */
static void no_more(struct smb_conn *conn, enum gate_dir dir)
{
	bool was_content = conn->data[dir].tx || conn->data[dir].ahead;
	conn->skip[dir] = conn->data[dir].left = 0;
	conn->data[dir].tx = NULL;
	conn->data[dir].ahead = NULL;
	if (was_content && dir == GATE_TO_CLIENT) {
		gate_smb_ahead_flush(conn, NULL, false);
	}
}

/* Bytes of a large record behind what has been looked at. */
static uint32_t skip(struct smb_conn *conn, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	uint32_t take = size < conn->skip[dir] ? size : (uint32_t)conn->skip[dir];
	struct smb_tx *tx = conn->data[dir].tx;
	uint64_t left = conn->data[dir].left;
	if (left) {
		uint32_t content = take < left ? take : (uint32_t)left;
		if (conn->data[dir].ahead) {
			gate_smb_ahead_more(conn->data[dir].ahead, data, content);
		} else if (tx && data) {
			gate_file_append(conn->session, tx->file, data, content);
		} else if (tx) {
			gate_file_gap(conn->session, tx->file, content);
		}
		if (tx) {
			gate_tx_progress(conn->session, &tx->tx, dir, 0);
		}
		conn->data[dir].left -= content;
	}
	conn->skip[dir] -= take;
	if (!conn->skip[dir]) {
		no_more(conn, dir);
	}
	return take;
}

/* How much of it is done; 0: more is needed, -EBADMSG. */
static int64_t record(struct smb_conn *conn, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	if (size < NBSS_SIZE) {
		return 0;
	}
	uint32_t whole = (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
	if (data[0] != NBSS_MESSAGE) {
		if (data[0] < NBSS_REQUEST || data[0] > NBSS_KEEPALIVE) {
			return -EBADMSG;
		}
		whole &= 0x1ffff;
		conn->skip[dir] = whole;
		return NBSS_SIZE;
	}
	uint32_t want = whole < SMB_WHOLE_MAX ? whole : SMB_WHOLE_MAX;
	if (size - NBSS_SIZE < want) {
		/* what is none of SMB need not be waited for */
		if (size >= 8 && memcmp(data + 5, "SMB", 3) != 0) {
			gate_smb_event(conn, SMB_MALFORMED_DATA);
			return -EBADMSG;
		}
		return 0;
	}
	struct smb_message m = {.data = data + NBSS_SIZE, .size = want, .whole = whole};
	conn->skip[dir] = whole - want;
	conn->data[dir].tx = NULL;
	conn->data[dir].ahead = NULL;
	conn->data[dir].left = 0;
	frames(conn, dir, data, NBSS_SIZE + want);
	message(conn, dir, &m);
	return NBSS_SIZE + want;
}

/* Looks for the beginning of a record. */
static uint32_t after_gap(struct smb_conn *conn, enum gate_dir dir, const uint8_t *data,
			  uint32_t size)
{
	for (uint32_t at = 0; at + 8 <= size; at++) {
		if (!data[at] && data[at + 4] >= 0xfd && !memcmp(data + at + 5, "SMB", 3)) {
			conn->gap[dir] = false;
			return at;
		}
	}
	return size > 7 ? size - 7 : 0;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct smb_conn *conn = state;
	uint32_t at = 0;
	(void)session;
	if (in->gap) {
		uint64_t lost = in->gap;
		if (conn->skip[dir] >= lost) {
			(void)skip(conn, dir, NULL, in->gap);
			return 0;
		}
		no_more(conn, dir);
		conn->gap[dir] = true;
		return 0;
	}
	while (at < in->size) {
		if (conn->skip[dir]) {
			at += skip(conn, dir, in->data + at, in->size - at);
			continue;
		}
		if (conn->gap[dir]) {
			uint32_t n = after_gap(conn, dir, in->data + at, in->size - at);
			at += n;
			if (conn->gap[dir]) {
				return at;
			}
		}
		int64_t n = record(conn, dir, in->data + at, in->size - at);
		if (n < 0) {
			return n;
		}
		if (!n) {
			break;
		}
		at += (uint32_t)n;
	}
	return at;
}

/* ---- the session ---- */

static void *smb_new(struct gate_session *session)
{
	struct smb_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
	}
	return conn;
}

static void smb_free(struct gate_session *session, void *state)
{
	struct smb_conn *conn = state;
	gate_smb_ahead_free(conn);
	for (unsigned int i = 0; i < SMB_TREES_MAX; i++) {
		gate_text_free(session, &conn->trees[i].share);
	}
	for (unsigned int i = 0; i < SMB_FILES_MAX; i++) {
		gate_text_free(session, &conn->files[i].name);
		gate_text_free(session, &conn->files[i].share);
		gate_text_free(session, &conn->files[i].part[GATE_TO_SERVER]);
		gate_text_free(session, &conn->files[i].part[GATE_TO_CLIENT]);
	}
	gate_session_release(session, conn, sizeof(*conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *gtx)
{
	struct smb_tx *tx = (struct smb_tx *)gtx;
	struct smb_conn *conn = tx->conn;
	struct gate_text *texts[] = {&tx->name,	  &tx->other, &tx->share,     &tx->user,
				     &tx->domain, &tx->host,  &tx->native_os, &tx->native_lm};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		gate_text_free(session, texts[i]);
	}
	gate_dcerpc_call_free(session, &tx->call);
	for (unsigned int i = 0; tx->kind == SMB_FILE && i < SMB_FILES_MAX; i++) {
		if (conn->files[i].tx[tx->file_dir] == tx) {
			conn->files[i].tx[tx->file_dir] = NULL;
		}
	}
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		if (conn->data[dir].tx == tx) {
			conn->data[dir].tx = NULL;
		}
	}
}

/* ---- what rules ask ---- */

const struct dcerpc_call *gate_smb_call(const struct gate_tx *tx)
{
	const struct smb_tx *s = (const struct smb_tx *)tx;
	return s->kind == SMB_PIPE ? &s->call : NULL;
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct smb_tx *tx = (const struct smb_tx *)gtx;
	if (index) {
		return false;
	}
	switch (which) {
	case GATE_BUF_SMB_NAMED_PIPE:
		return tx->kind == SMB_TREE && tx->is_pipe && gate_text_buffer(&tx->name, ret);
	case GATE_BUF_SMB_SHARE:
		return tx->kind == SMB_TREE && !tx->is_pipe && gate_text_buffer(&tx->name, ret);
	case GATE_BUF_SMB_NTLMSSP_USER:
		return gate_text_buffer(&tx->user, ret);
	case GATE_BUF_SMB_NTLMSSP_DOMAIN:
		return gate_text_buffer(&tx->domain, ret);
	case GATE_BUF_DCE_STUB_DATA:
		return tx->kind == SMB_PIPE && gate_dcerpc_stub(&tx->call, dir, ret);
	default:
		return false;
	}
}

static bool number(struct gate_tx *gtx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	*ret = ((const struct smb_tx *)gtx)->version;
	return which == GATE_NUM_SMB_VERSION && !index;
}

const struct gate_app_ops gate_smb_ops = {
	.app = GATE_APP_SMB,
	.name = "smb",
	.log = "smb",
	.transports = 1,
	.states = {states, states},
	.events = events,
	.event_count = SMB_EVENTS,
	.too_many = SMB_TOO_MANY + 1,
	.ports = ports,
	.patterns = {patterns, patterns},
	.probe = probe,
	.new = smb_new,
	.free = smb_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.number = number,
	.log_tx = gate_smb_log,
};
