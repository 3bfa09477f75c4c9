/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of SMB 2 and 3. Places are those of [MS-SMB2] 2.2, from the header's beginning. */
#include "gate/app/smb/smb.h"

#define HEADER		 64
#define STATUS_PENDING	 0x103u
#define STATUS_OVERFLOW	 0x80000005u /* buffer too small: the answer is there, as far as it fits */
#define FLAG_RESPONSE	 1u
#define FLAG_ASYNC	 2u
#define PIPE_TRANSCEIVE	 0x0011c017u
#define SHARE_PIPE	 2
#define INFO_RENAME	 0x0a
#define INFO_DISPOSITION 0x0d

enum smb2_command {
	C_NEGOTIATE,
	C_SETUP,
	C_LOGOFF,
	C_TREE,
	C_TREE_END,
	C_CREATE,
	C_CLOSE,
	C_FLUSH,
	C_READ,
	C_WRITE,
	C_LOCK,
	C_IOCTL,
	C_CANCEL,
	C_ECHO,
	C_QUERY_DIRECTORY,
	C_CHANGE_NOTIFY,
	C_QUERY_INFO,
	C_SET_INFO,
	C_OPLOCK_BREAK,
	C_COUNT
};

struct head {
	struct smb_conn *conn;
	struct smb_message *m;
	uint16_t command;
	uint32_t status, flags, tree;
	uint64_t id, session;
};

static uint64_t get(const struct head *h, uint32_t at, unsigned int size)
{
	return smb_get(h->m, HEADER + at, size);
}

/* Offsets count from the header. */
static struct gate_view bytes(const struct head *h, uint64_t at, uint64_t size)
{
	return smb_bytes(h->m, at, size);
}

static bool guid(const struct head *h, uint32_t at, uint8_t ret[16])
{
	struct gate_view v = bytes(h, HEADER + at, 16);
	if (v.size != 16) {
		return false;
	}
	memcpy(ret, v.data, 16);
	return true;
}

static struct smb_tx *tx_new(const struct head *h, enum smb_kind kind)
{
	struct smb_tx *tx = gate_smb_tx_new(h->conn, kind, 2, h->command);
	if (tx) {
		gate_smb_tx_number(h->conn, tx, h->id);
		tx->session = h->session;
		tx->tree = h->tree;
		/* what a tree is the response says: rules look at it then */
		if (kind != SMB_TREE) {
			gate_tx_done(h->conn->session, &tx->tx, GATE_TO_SERVER);
		}
	}
	return tx;
}

static struct smb_content content_of(const struct head *h, const uint8_t *file_id, uint64_t size)
{
	return (struct smb_content){.version = 2,
				    .command = h->command,
				    .id = h->id,
				    .session = h->session,
				    .tree = h->tree,
				    .size = size,
				    .file_id = file_id};
}

static bool too_large(uint64_t size, uint32_t negotiated)
{
	return size > SMB_CONTENT_MAX || (negotiated && size > negotiated);
}

/* ---- requests ---- */

static void negotiate_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_NEGOTIATE);
	uint64_t count = get(h, 2, 2);
	if (!tx) {
		return;
	}
	if (h->conn->negotiated && h->conn->dialect != 0x2ff) {
		gate_tx_event(h->conn->session, &tx->tx, SMB_DUPLICATE_NEGOTIATE);
	}
	struct gate_view v =
		bytes(h, HEADER + 36, 2 * (count < SMB_DIALECTS_MAX ? count : SMB_DIALECTS_MAX));
	(void)guid(h, 12, tx->client_guid);
	gate_text_set(h->conn->session, &tx->name, v.data, v.size & ~1u, SMB_NAME_MAX);
}

static void setup_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_SETUP);
	if (tx) {
		gate_smb_security(h->conn, tx, bytes(h, get(h, 12, 2), get(h, 14, 2)));
	}
}

static void tree_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_TREE);
	if (!tx) {
		return;
	}
	gate_smb_name(h->conn, &tx->name, bytes(h, get(h, 4, 2), get(h, 6, 2)));
	/* as Suricata: without the first of the two backslashes */
	if (tx->name.size > 1) {
		memmove(tx->name.data, tx->name.data + 1, --tx->name.size);
	}
}

static void create_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_CREATE);
	if (!tx) {
		return;
	}
	uint32_t options = (uint32_t)get(h, 40, 4);
	tx->disposition = (uint32_t)get(h, 36, 4);
	tx->delete_on_close = options & 0x1000;
	tx->directory = options & 1;
	gate_smb_name(h->conn, &tx->name, bytes(h, get(h, 44, 2), get(h, 46, 2)));
}

static void write_request(const struct head *h)
{
	uint8_t id[16];
	uint64_t at = get(h, 2, 2), size = get(h, 4, 4);
	if (!guid(h, 16, id)) {
		return;
	}
	if (too_large(size, h->conn->max_write)) {
		gate_smb_event(h->conn, SMB_WRITE_REQUEST_TOO_LARGE);
		return;
	}
	struct smb_content c = content_of(h, id, size);
	c.offset = get(h, 8, 8);
	if (at + size > h->m->whole) {
		gate_smb_event(h->conn, SMB_RECORD_OVERFLOW);
		c.size = at < h->m->whole ? h->m->whole - at : 0;
	}
	gate_smb_content(h->conn, GATE_TO_SERVER, &c, bytes(h, at, size));
}

static void read_request(const struct head *h)
{
	uint8_t id[16];
	if (guid(h, 16, id)) {
		gate_smb_read_add(h->conn, h->id, id, get(h, 8, 8));
	}
}

static void close_request(const struct head *h)
{
	uint8_t id[16];
	if (guid(h, 8, id)) {
		gate_smb_file_close(h->conn, id);
	}
}

static void ioctl_request(const struct head *h)
{
	uint8_t id[16];
	if (get(h, 4, 4) != PIPE_TRANSCEIVE || !guid(h, 8, id)) {
		(void)tx_new(h, SMB_GENERIC);
		return;
	}
	struct smb_content c = content_of(h, id, 0);
	gate_smb_pipe(h->conn, GATE_TO_SERVER, &c, bytes(h, get(h, 24, 4), get(h, 28, 4)));
}

static void set_info_request(const struct head *h)
{
	uint8_t type = (uint8_t)get(h, 2, 1), class = (uint8_t)get(h, 3, 1), id[16];
	uint64_t size = get(h, 4, 4), at = get(h, 8, 2);
	if (type != 1 || (class != INFO_RENAME && class != INFO_DISPOSITION) || !guid(h, 16, id)) {
		return;
	}
	struct smb_tx *tx = tx_new(h, class == INFO_RENAME ? SMB_RENAME : SMB_GENERIC);
	const struct smb_file *f = gate_smb_file(h->conn, id);
	if (!tx) {
		return;
	}
	if (f) {
		gate_text_set(h->conn->session, &tx->name, f->name.data, f->name.size,
			      SMB_NAME_MAX);
	}
	if (class == INFO_DISPOSITION) {
		tx->delete_on_close = bytes(h, at, 1).size && h->m->data[at];
	} else if (size >= 20) {
		gate_smb_name(h->conn, &tx->other,
			      bytes(h, at + 20, smb_get(h->m, (uint32_t)at + 16, 4)));
	}
}

static void request(const struct head *h)
{
	switch (h->command) {
	case C_NEGOTIATE:
		negotiate_request(h);
		break;
	case C_SETUP:
		setup_request(h);
		break;
	case C_TREE:
		tree_request(h);
		break;
	case C_CREATE:
		create_request(h);
		break;
	case C_READ:
		read_request(h);
		break;
	case C_WRITE:
		write_request(h);
		break;
	case C_IOCTL:
		ioctl_request(h);
		break;
	case C_SET_INFO:
		set_info_request(h);
		break;
	case C_QUERY_INFO:
	case C_CANCEL:
		break;
	case C_CLOSE:
		close_request(h);
		(void)tx_new(h, SMB_GENERIC);
		break;
	default:
		(void)tx_new(h, SMB_GENERIC);
		break;
	}
}

/* ---- responses ---- */

static void negotiate_response(const struct head *h, struct smb_tx *tx)
{
	uint16_t dialect = (uint16_t)get(h, 4, 2);
	h->conn->dialect = dialect;
	h->conn->negotiated = true;
	h->conn->max_read = (uint32_t)get(h, 32, 4);
	h->conn->max_write = (uint32_t)get(h, 36, 4);
	if (h->conn->max_read > SMB_CONTENT_MAX) {
		gate_smb_event(h->conn, SMB_NEGOTIATE_READ_TOO_LARGE);
	}
	if (h->conn->max_write > SMB_CONTENT_MAX) {
		gate_smb_event(h->conn, SMB_NEGOTIATE_WRITE_TOO_LARGE);
	}
	if (!tx) {
		return;
	}
	tx->dialect = dialect;
	(void)guid(h, 8, tx->server_guid);
	tx->max_read = h->conn->max_read;
	tx->max_write = h->conn->max_write;
	bool offered = tx->version == 1;
	for (uint32_t i = 0; i + 1 < tx->name.size && !offered; i += 2) {
		offered = tx->name.data[i] == (dialect & 0xff) &&
			  tx->name.data[i + 1] == dialect >> 8;
	}
	if (!offered && !h->m->bad) {
		gate_tx_event(h->conn->session, &tx->tx, SMB_NEGOTIATE_DIALECTS);
	}
}

static void create_response(const struct head *h, struct smb_tx *tx)
{
	uint8_t id[16];
	if (!guid(h, 64, id)) {
		return;
	}
	memcpy(tx->file_id, id, 16);
	tx->has_file_id = true;
	for (unsigned int i = 0; i < 4; i++) {
		tx->times[i] = get(h, 8 + 8 * i, 8);
	}
	tx->file_size = get(h, 48, 8);
	gate_smb_file_add(h->conn, tx, id);
}

static void read_response(const struct head *h)
{
	struct smb_read read;
	if (!gate_smb_read_take(h->conn, h->id, &read)) {
		return;
	}
	if (h->status && h->status != STATUS_OVERFLOW) {
		gate_smb_ahead_flush(h->conn, read.file_id, false);
		return;
	}
	uint64_t at = get(h, 2, 1), size = get(h, 4, 4);
	if (too_large(size, h->conn->max_read)) {
		gate_smb_event(h->conn, SMB_READ_RESPONSE_TOO_LARGE);
		gate_smb_ahead_flush(h->conn, read.file_id, false);
		return;
	}
	struct smb_content c = content_of(h, read.file_id, size);
	const struct smb_file *f = gate_smb_file(h->conn, read.file_id);
	c.offset = read.offset;
	c.tree = f ? f->tree : h->tree;
	if (at + size > h->m->whole) {
		gate_smb_event(h->conn, SMB_RECORD_OVERFLOW);
		c.size = at < h->m->whole ? h->m->whole - at : 0;
	}
	gate_smb_content(h->conn, GATE_TO_CLIENT, &c, bytes(h, at, size));
}

static void ioctl_response(const struct head *h)
{
	uint8_t id[16];
	if (get(h, 4, 4) == PIPE_TRANSCEIVE && guid(h, 8, id) &&
	    (!h->status || h->status == STATUS_OVERFLOW)) {
		struct smb_content c = content_of(h, id, 0);
		gate_smb_pipe(h->conn, GATE_TO_CLIENT, &c, bytes(h, get(h, 32, 4), get(h, 36, 4)));
	}
}

static void response(const struct head *h)
{
	if (h->status == STATUS_PENDING && (h->flags & FLAG_ASYNC)) {
		return; /* the answer comes later */
	}
	struct smb_tx *tx = gate_smb_tx_waiting(h->conn, 2, h->command, h->id);
	if (h->command == C_NEGOTIATE && !tx) {
		/* the answer to a negotiation that SMB1 began */
		tx = gate_smb_tx_waiting(h->conn, 1, 0x72, 0);
	}
	if (h->command == C_READ) {
		read_response(h);
	} else if (h->command == C_IOCTL) {
		ioctl_response(h);
	} else if (h->command == C_NEGOTIATE && !h->status) {
		negotiate_response(h, tx);
	}
	if (!tx) {
		return;
	}
	if (h->command == C_TREE && !h->status) {
		tx->share_type = (uint8_t)get(h, 2, 1);
		tx->is_pipe = tx->share_type == SHARE_PIPE;
		tx->tree = h->tree;
		tx->session = h->session;
		gate_smb_tree_add(h->conn, tx, h->tree, tx->is_pipe);
	} else if (h->command == C_CREATE && !h->status) {
		create_response(h, tx);
	}
	if (h->command == C_SETUP && !tx->session) {
		tx->session = h->session;
	}
	gate_smb_answered(h->conn, tx, h->status);
}

/* ---- compounds ---- */

void gate_smb2(struct smb_conn *conn, enum gate_dir dir, struct smb_message *m)
{
	for (unsigned int i = 0; i < SMB_COMPOUND_MAX; i++) {
		struct head h = {.conn = conn, .m = m};
		uint32_t next = (uint32_t)smb_get(m, 20, 4);
		h.status = (uint32_t)smb_get(m, 8, 4);
		h.command = (uint16_t)smb_get(m, 12, 2);
		h.flags = (uint32_t)smb_get(m, 16, 4);
		h.id = smb_get(m, 24, 8);
		h.tree = h.flags & FLAG_ASYNC ? 0 : (uint32_t)smb_get(m, 36, 4);
		h.session = smb_get(m, 40, 8);
		if (m->size < HEADER || smb_get(m, 4, 2) != HEADER || h.command >= C_COUNT ||
		    memcmp(m->data, "\xfeSMB", 4) != 0) {
			gate_smb_event(conn, SMB_MALFORMED_DATA);
			return;
		}
		struct smb_message one = *m;
		if (next >= HEADER && next <= m->size) {
			one.size = next;
			one.whole = next;
		}
		h.m = &one;
		bool is_response = h.flags & FLAG_RESPONSE;
		if (is_response != (dir == GATE_TO_CLIENT)) {
			gate_smb_event(conn, is_response ? SMB_RESPONSE_TO_SERVER
							 : SMB_REQUEST_TO_CLIENT);
			return;
		}
		if (is_response) {
			response(&h);
		} else {
			request(&h);
		}
		if (one.bad && !h.status) {
			gate_smb_event(conn, SMB_MALFORMED_DATA);
		}
		if (next < HEADER || next >= m->size) {
			return;
		}
		m->data += next;
		m->size -= next;
		m->whole -= next;
	}
}
