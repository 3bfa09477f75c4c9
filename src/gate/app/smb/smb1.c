/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of SMB 1. A command's words stand behind the header (32 bytes and their count), its
 * bytes behind them; and-X commands follow one another in a message. [MS-CIFS] 2.2.4. */
#include "gate/app/smb/smb.h"

#include <stdio.h>
#include <strings.h>

#define HEADER		32
#define FLAG_REPLY	0x80
#define FLAG2_UNICODE	0x8000
#define FLAG2_EXTENDED	0x0800
#define NO_ANDX		0xff
#define PIPE_TRANSACT	0x26
#define STATUS_OVERFLOW 0x80000005u
#define STATUS_MORE	0xc0000016u

enum smb1_command {
	C_CLOSE = 0x04,
	C_WRITE = 0x0b,
	C_LOCKING = 0x24,
	C_TRANS = 0x25,
	C_ECHO = 0x2b,
	C_WRITE_CLOSE = 0x2c,
	C_OPEN = 0x2d,
	C_READ = 0x2e,
	C_WRITE_ANDX = 0x2f,
	C_TRANS2 = 0x32,
	C_NEGOTIATE = 0x72,
	C_SETUP = 0x73,
	C_LOGOFF = 0x74,
	C_TREE = 0x75,
	C_CREATE = 0xa2,
};

struct head {
	struct smb_conn *conn;
	struct smb_message *m;
	uint8_t command;
	uint32_t status;
	uint16_t flags2, tree, user, mid;
	uint64_t id;
	uint32_t words; /* where they are */
	uint32_t count; /* bytes of them */
	uint32_t bytes; /* where those are */
	uint32_t byte_count;
};

static uint64_t word(const struct head *h, uint32_t at, unsigned int size)
{
	if (at + size > h->count) {
		h->m->bad = true;
		return 0;
	}
	return smb_get(h->m, h->words + at, size);
}

static bool is_andx(uint8_t command)
{
	switch (command) {
	case C_LOCKING:
	case C_OPEN:
	case C_READ:
	case C_WRITE_ANDX:
	case C_SETUP:
	case C_LOGOFF:
	case C_TREE:
	case C_CREATE:
		return true;
	default:
		return false;
	}
}

static void file_id(const struct head *h, uint16_t fid, uint8_t ret[16])
{
	memset(ret, 0, 16);
	ret[0] = (uint8_t)fid;
	ret[1] = (uint8_t)(fid >> 8);
	ret[4] = (uint8_t)h->tree;
	ret[5] = (uint8_t)(h->tree >> 8);
}

static struct smb_content content_of(const struct head *h, const uint8_t *id, uint64_t size)
{
	return (struct smb_content){.version = 1,
				    .command = h->command,
				    .id = h->id,
				    .session = h->user,
				    .tree = h->tree,
				    .size = size,
				    .file_id = id};
}

static struct smb_tx *tx_new(const struct head *h, enum smb_kind kind)
{
	struct smb_tx *tx = gate_smb_tx_new(h->conn, kind, 1, h->command);
	if (tx) {
		/* the answer to a negotiation may be one of SMB2, which knows no mid */
		gate_smb_tx_number(h->conn, tx, kind == SMB_NEGOTIATE ? 0 : h->id);
		tx->session = h->user;
		tx->tree = h->tree;
		if (kind != SMB_TREE) {
			gate_tx_done(h->conn->session, &tx->tx, GATE_TO_SERVER);
		}
	}
	return tx;
}

/* A text that ends with NUL at `at`; of two-byte characters when the message has them (then it is
 * aligned). Returns what is behind it. */
static uint32_t text_at(const struct head *h, uint32_t at, bool unicode, struct gate_view *ret)
{
	uint32_t step = unicode ? 2 : 1, begin = at + (unicode ? at & 1 : 0), end = begin;
	const uint8_t *d = h->m->data;
	*ret = (struct gate_view){.data = d};
	if (begin >= h->m->size) {
		return h->m->size;
	}
	while (h->m->size - end >= step && (d[end] || (unicode && d[end + 1]))) {
		end += step;
	}
	*ret = (struct gate_view){.data = d + begin, .size = end - begin};
	return h->m->size - end >= step ? end + step : h->m->size;
}

static bool is_unicode(const struct head *h)
{
	return h->flags2 & FLAG2_UNICODE;
}

/* ---- requests ---- */

static void negotiate_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_NEGOTIATE);
	if (!tx) {
		return;
	}
	if (h->conn->negotiated) {
		gate_tx_event(h->conn->session, &tx->tx, SMB_DUPLICATE_NEGOTIATE);
	}
	/* dialects, each as 0x02 and a text: kept as they stand */
	struct gate_view v = smb_bytes(h->m, h->bytes, h->byte_count);
	gate_text_set(h->conn->session, &tx->name, v.data, v.size, SMB_NAME_MAX);
}

static void setup_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_SETUP);
	uint32_t blob = 0;
	struct gate_view v;
	if (!tx) {
		return;
	}
	if (h->count == 24) {
		blob = (uint32_t)word(h, 14, 2);
		gate_smb_security(h->conn, tx, smb_bytes(h->m, h->bytes, blob));
	} else if (h->count >= 26) {
		/* passwords, then account and domain */
		blob = (uint32_t)(word(h, 14, 2) + word(h, 16, 2));
	}
	uint32_t at = h->bytes + blob;
	if (h->count >= 26) {
		at = text_at(h, at, is_unicode(h), &v);
		gate_smb_name(h->conn, &tx->user, v);
		at = text_at(h, at, is_unicode(h), &v);
		gate_smb_name(h->conn, &tx->domain, v);
	}
	at = text_at(h, at, is_unicode(h), &v);
	gate_smb_name(h->conn, &tx->native_os, v);
	(void)text_at(h, at, is_unicode(h), &v);
	gate_smb_name(h->conn, &tx->native_lm, v);
}

static void tree_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_TREE);
	struct gate_view v;
	if (!tx) {
		return;
	}
	uint32_t at = text_at(h, h->bytes + (uint32_t)word(h, 6, 2), is_unicode(h), &v);
	gate_smb_name(h->conn, &tx->name, v);
	if (tx->name.size > 1) {
		memmove(tx->name.data, tx->name.data + 1, --tx->name.size);
	}
	(void)text_at(h, at, false, &v);
	gate_smb_name(h->conn, &tx->other, v);
}

static void create_request(const struct head *h)
{
	struct smb_tx *tx = tx_new(h, SMB_CREATE);
	if (!tx) {
		return;
	}
	uint32_t at = h->bytes;
	if (h->command == C_CREATE) {
		uint32_t size = (uint32_t)word(h, 5, 2), options = (uint32_t)word(h, 39, 4);
		tx->disposition = (uint32_t)word(h, 35, 4);
		tx->delete_on_close = options & 0x1000;
		tx->directory = options & 1;
		at += is_unicode(h) ? at & 1 : 0;
		gate_smb_name(h->conn, &tx->name, smb_bytes(h->m, at, size));
	} else {
		struct gate_view v;
		(void)text_at(h, at, is_unicode(h), &v);
		gate_smb_name(h->conn, &tx->name, v);
	}
}

static void write_request(const struct head *h)
{
	uint8_t id[16];
	uint64_t at, size, offset;
	if (h->command == C_WRITE_ANDX) {
		file_id(h, (uint16_t)word(h, 4, 2), id);
		size = word(h, 18, 2) << 16 | word(h, 20, 2);
		at = word(h, 22, 2);
		offset = word(h, 6, 4) | (h->count >= 28 ? word(h, 24, 4) << 32 : 0);
		/* what is there may be more than two bytes can say */
		if (!(size >> 16) && h->byte_count < size) {
			size = h->byte_count;
		}
	} else {
		file_id(h, (uint16_t)word(h, 0, 2), id);
		size = word(h, 2, 2);
		offset = word(h, 4, 4);
		at = h->bytes + (h->command == C_WRITE ? 3u : 1u);
	}
	struct smb_content c = content_of(h, id, size);
	c.offset = offset;
	if (at + size > h->m->whole) {
		gate_smb_event(h->conn, SMB_RECORD_OVERFLOW);
		c.size = at < h->m->whole ? h->m->whole - at : 0;
	}
	gate_smb_content(h->conn, GATE_TO_SERVER, &c, smb_bytes(h->m, at, size));
	if (h->command == C_WRITE_CLOSE) {
		gate_smb_file_close(h->conn, id);
	}
}

static void read_request(const struct head *h)
{
	uint8_t id[16];
	uint64_t offset = word(h, 6, 4) | (h->count >= 24 ? word(h, 20, 4) << 32 : 0);
	file_id(h, (uint16_t)word(h, 4, 2), id);
	gate_smb_read_add(h->conn, h->id, id, offset);
}

static void trans_request(const struct head *h)
{
	uint8_t id[16];
	struct gate_view name;
	if (h->count < 32 || word(h, 28, 2) != PIPE_TRANSACT) {
		return;
	}
	file_id(h, (uint16_t)word(h, 30, 2), id);
	(void)text_at(h, h->bytes, is_unicode(h), &name);
	struct smb_content c = content_of(h, id, 0);
	gate_smb_pipe(h->conn, GATE_TO_SERVER, &c, smb_bytes(h->m, word(h, 24, 2), word(h, 22, 2)));
}

static void request(const struct head *h)
{
	uint8_t id[16];
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
	case C_OPEN:
		create_request(h);
		break;
	case C_WRITE:
	case C_WRITE_CLOSE:
	case C_WRITE_ANDX:
		write_request(h);
		break;
	case C_READ:
		read_request(h);
		break;
	case C_TRANS:
		trans_request(h);
		break;
	case C_TRANS2:
		break;
	case C_CLOSE:
		file_id(h, (uint16_t)word(h, 0, 2), id);
		gate_smb_file_close(h->conn, id);
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
	uint16_t index = (uint16_t)word(h, 0, 2);
	uint32_t at = 0;
	h->conn->negotiated = true;
	if (!tx || index == 0xffff) {
		return;
	}
	for (uint16_t i = 0; i < index && at < tx->name.size; i++) {
		const uint8_t *end = memchr(tx->name.data + at, 0, tx->name.size - at);
		at = end ? (uint32_t)(end - tx->name.data) + 1 : tx->name.size;
	}
	if (at + 1 >= tx->name.size) {
		gate_tx_event(h->conn->session, &tx->tx, SMB_NEGOTIATE_DIALECTS);
		return;
	}
	uint32_t left = tx->name.size - at - 1;
	snprintf(h->conn->dialect_name, sizeof(h->conn->dialect_name), "%.*s",
		 (int)(left < 23 ? left : 23), (const char *)tx->name.data + at + 1);
	if (h->count >= 34 && (h->flags2 & FLAG2_EXTENDED)) {
		struct gate_view v = smb_bytes(h->m, h->bytes, 16);
		memcpy(tx->server_guid, v.data, v.size);
	}
}

static void setup_response(const struct head *h, struct smb_tx *tx)
{
	struct gate_view v;
	uint32_t at = h->bytes + (h->count >= 8 ? (uint32_t)word(h, 6, 2) : 0);
	at = text_at(h, at, is_unicode(h), &v);
	/* the request's stand in front: "os" NUL "os of the server" */
	(void)gate_text_add(h->conn->session, &tx->native_os, "", 1, SMB_NAME_MAX);
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i]) {
			(void)gate_text_add(h->conn->session, &tx->native_os, v.data + i, 1,
					    SMB_NAME_MAX);
		}
	}
	(void)text_at(h, at, is_unicode(h), &v);
	(void)gate_text_add(h->conn->session, &tx->native_lm, "", 1, SMB_NAME_MAX);
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i]) {
			(void)gate_text_add(h->conn->session, &tx->native_lm, v.data + i, 1,
					    SMB_NAME_MAX);
		}
	}
}

static void tree_response(const struct head *h, struct smb_tx *tx)
{
	struct gate_view v;
	(void)text_at(h, h->bytes, false, &v);
	snprintf(tx->service, sizeof(tx->service), "%.*s", (int)(v.size < 7 ? v.size : 7),
		 (const char *)v.data);
	tx->is_pipe = !strcmp(tx->service, "IPC");
	tx->tree = h->tree;
	tx->session = h->user;
	gate_smb_tree_add(h->conn, tx, h->tree, tx->is_pipe);
}

static void create_response(const struct head *h, struct smb_tx *tx)
{
	uint32_t at = h->command == C_CREATE ? 5 : 4;
	tx->tree = h->tree;
	tx->session = h->user;
	file_id(h, (uint16_t)word(h, at, 2), tx->file_id);
	tx->has_file_id = true;
	if (h->command == C_CREATE) {
		for (unsigned int i = 0; i < 4; i++) {
			tx->times[i] = word(h, 11 + 8 * i, 8);
		}
		tx->file_size = word(h, 55, 8);
	}
	gate_smb_file_add(h->conn, tx, tx->file_id);
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
	uint64_t size = word(h, 10, 2) | word(h, 14, 4) << 16, at = word(h, 12, 2);
	struct smb_content c = content_of(h, read.file_id, size);
	c.offset = read.offset;
	if (at + size > h->m->whole) {
		gate_smb_event(h->conn, SMB_RECORD_OVERFLOW);
		c.size = at < h->m->whole ? h->m->whole - at : 0;
	}
	gate_smb_content(h->conn, GATE_TO_CLIENT, &c, smb_bytes(h->m, at, size));
}

static void trans_response(const struct head *h)
{
	if (h->count >= 20 && (!h->status || h->status == STATUS_OVERFLOW)) {
		struct smb_content c = content_of(h, NULL, 0);
		gate_smb_pipe(h->conn, GATE_TO_CLIENT, &c,
			      smb_bytes(h->m, word(h, 14, 2), word(h, 12, 2)));
	}
}

static void response(const struct head *h)
{
	uint64_t id = h->command == C_NEGOTIATE ? 0 : h->id;
	struct smb_tx *tx = gate_smb_tx_waiting(h->conn, 1, h->command, id);
	if (h->command == C_READ) {
		read_response(h);
	} else if (h->command == C_TRANS) {
		trans_response(h);
	} else if (h->command == C_NEGOTIATE && !h->status) {
		negotiate_response(h, tx);
	}
	if (!tx) {
		return;
	}
	if (h->command == C_SETUP && (!h->status || h->status == STATUS_MORE)) {
		setup_response(h, tx);
	} else if (h->command == C_TREE && !h->status) {
		tree_response(h, tx);
	} else if ((h->command == C_CREATE || h->command == C_OPEN) && !h->status) {
		create_response(h, tx);
	}
	gate_smb_answered(h->conn, tx, h->status);
}

/* ---- and-X ---- */

static bool command_at(struct head *h, uint32_t at)
{
	if (at + 3 > h->m->size) {
		return false;
	}
	h->words = at + 1;
	h->count = 2u * h->m->data[at];
	h->bytes = h->words + h->count + 2;
	h->byte_count = (uint32_t)smb_get(h->m, h->words + h->count, 2);
	return true;
}

void gate_smb1(struct smb_conn *conn, enum gate_dir dir, struct smb_message *m)
{
	struct head h = {.conn = conn, .m = m};
	uint32_t at = HEADER;
	h.command = (uint8_t)smb_get(m, 4, 1);
	h.status = (uint32_t)smb_get(m, 5, 4);
	uint8_t flags = (uint8_t)smb_get(m, 9, 1);
	h.flags2 = (uint16_t)smb_get(m, 10, 2);
	h.tree = (uint16_t)smb_get(m, 24, 2);
	h.user = (uint16_t)smb_get(m, 28, 2);
	h.mid = (uint16_t)smb_get(m, 30, 2);
	/* the user is not known yet when a session is set up */
	h.id = (uint64_t)smb_get(m, 26, 2) << 16 | h.mid;
	bool is_response = flags & FLAG_REPLY;
	if (m->bad || (is_response && dir == GATE_TO_SERVER)) {
		gate_smb_event(conn, m->bad ? SMB_MALFORMED_DATA : SMB_RESPONSE_TO_SERVER);
		return;
	}
	/* servers that forget the flag answer all the same */
	is_response = dir == GATE_TO_CLIENT;
	for (unsigned int i = 0; i < SMB_CHAIN_MAX && command_at(&h, at); i++) {
		if (is_response) {
			response(&h);
		} else {
			request(&h);
		}
		uint8_t next = NO_ANDX;
		uint32_t offset = 0;
		if (is_andx(h.command) && h.count >= 4) {
			next = (uint8_t)word(&h, 0, 1);
			offset = (uint32_t)word(&h, 2, 2);
		}
		if (next == NO_ANDX || offset <= at) {
			break;
		}
		h.command = next;
		at = offset;
	}
	if (m->bad && !h.status) {
		gate_smb_event(conn, SMB_MALFORMED_DATA);
	}
}
