/* SPDX-License-Identifier: Apache-2.0 */
/* What goes through SMB: files, calls of DCE/RPC, who logs in (NTLMSSP). */
#include "gate/app/smb/smb.h"

#define NTLMSSP_AUTHENTICATE 3
#define NTLMSSP_VERSION	     0x02000000u

/* ---- files ---- */

/* Also of one that was opened before we came, or is forgotten: it has no name. */
static struct smb_file *file_of(struct smb_conn *conn, const struct smb_content *c)
{
	struct smb_file *f = gate_smb_file(conn, c->file_id);
	if (!f) {
		struct smb_tx none = {.session = c->session, .tree = c->tree};
		gate_smb_file_add(conn, &none, c->file_id);
		f = gate_smb_file(conn, c->file_id);
	}
	return f;
}

static struct smb_tx *file_tx(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c)
{
	struct smb_file *f = file_of(conn, c);
	if (f->tx[dir]) {
		return f->tx[dir];
	}
	struct smb_tx *tx = gate_smb_tx_new(conn, SMB_FILE, c->version, c->command);
	if (!tx) {
		return NULL;
	}
	tx->id = c->id;
	tx->session = c->session;
	tx->tree = c->tree;
	tx->file_dir = dir;
	memcpy(tx->file_id, c->file_id, 16);
	tx->has_file_id = true;
	gate_text_set(conn->session, &tx->name, f->name.data, f->name.size, SMB_NAME_MAX);
	gate_text_set(conn->session, &tx->share, f->share.data, f->share.size, SMB_NAME_MAX);
	tx->file = gate_file_open(conn->session, &tx->tx, dir, tx->name.data, tx->name.size);
	f->tx[dir] = tx;
	f->at[dir] = 0;
	return tx;
}

/* A file that is read or written from its middle is taken from there; what is there already is not
 * looked at twice, and what is left out is a gap. */
static struct gate_view place(struct smb_conn *conn, struct smb_tx *tx, struct smb_file *f,
			      const struct smb_content *c, struct gate_view data)
{
	enum gate_dir dir = tx->file_dir;
	if (!tx->file || !tx->file->size) {
		f->at[dir] = c->offset;
	}
	if (c->offset > f->at[dir]) {
		uint64_t lost = c->offset - f->at[dir];
		gate_file_gap(conn->session, tx->file,
			      lost > UINT32_MAX ? UINT32_MAX : (uint32_t)lost);
		f->at[dir] = c->offset;
	} else if (c->offset < f->at[dir]) {
		uint64_t twice = f->at[dir] - c->offset;
		gate_tx_event(conn->session, &tx->tx, SMB_FILE_OVERLAP);
		twice = twice < data.size ? twice : data.size;
		data.data += twice;
		data.size -= (uint32_t)twice;
	}
	return data;
}

void gate_smb_place(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		    struct gate_view data)
{
	uint64_t missing = c->size > data.size ? c->size - data.size : 0;
	struct smb_tx *tx = file_tx(conn, dir, c);
	struct smb_file *f = gate_smb_file(conn, c->file_id);
	if (!tx || !f) {
		return;
	}
	data = place(conn, tx, f, c, data);
	gate_file_append(conn->session, tx->file, data.data, data.size);
	f->at[dir] += data.size;
	gate_tx_progress(conn->session, &tx->tx, dir, 0);
	if (missing) {
		f->at[dir] += missing;
		conn->data[dir].tx = tx;
		conn->data[dir].left = missing;
	}
}

void gate_smb_content(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		      struct gate_view data)
{
	const struct smb_file *known = gate_smb_file(conn, c->file_id);
	const struct smb_tree *tree = gate_smb_tree(conn, c->session, c->tree);
	uint64_t missing = c->size > data.size ? c->size - data.size : 0;
	if ((known && known->pipe) || (!known && tree && tree->pipe)) {
		gate_smb_pipe(conn, dir, c, data);
		return;
	}
	if (!data.size) {
		return;
	}
	if (dir == GATE_TO_CLIENT && gate_smb_ahead_hold(conn, c, data)) {
		return;
	}
	gate_smb_place(conn, dir, c, data);
	if (dir == GATE_TO_CLIENT && !missing) {
		gate_smb_ahead_flush(conn, c->file_id, false);
	}
}

/* ---- pipes ---- */

#define PIPE_KEY (1ull << 63) /* calls and messages are numbered apart */

static bool is_open_call(const struct gate_tx *tx, const void *arg)
{
	const enum gate_dir *dir = arg;
	return ((const struct smb_tx *)tx)->kind == SMB_PIPE &&
	       !(tx->done_dirs & GATE_DIR_BIT(*dir));
}

static struct smb_tx *call_tx(struct smb_conn *conn, const struct smb_content *c,
			      const struct dcerpc_header *h, enum gate_dir dir)
{
	struct smb_tx *tx = (struct smb_tx *)gate_tx_by_key(conn->session, PIPE_KEY | h->call_id,
							    is_open_call, &dir);
	if (tx) {
		return tx;
	}
	tx = gate_smb_tx_new(conn, SMB_PIPE, c->version, c->command);
	if (tx) {
		gate_tx_key(conn->session, &tx->tx, PIPE_KEY | h->call_id);
		const struct smb_file *f = c->file_id ? gate_smb_file(conn, c->file_id) : NULL;
		tx->call.id = h->call_id;
		tx->id = c->id;
		tx->session = c->session;
		tx->tree = c->tree;
		if (f) {
			gate_text_set(conn->session, &tx->name, f->name.data, f->name.size,
				      SMB_NAME_MAX);
		}
	}
	return tx;
}

/* One whole fragment; false: no room for its call. */
static bool fragment(struct smb_conn *conn, const struct smb_content *c,
		     const struct dcerpc_header *h, const uint8_t *data)
{
	bool server = gate_dcerpc_from_server(h->type);
	enum gate_dir dir = server ? GATE_TO_CLIENT : GATE_TO_SERVER;
	struct smb_tx *tx = call_tx(conn, c, h, dir);
	if (!tx) {
		return false;
	}
	gate_dcerpc_fragment(conn->session, &conn->binding, &tx->call, h, data);
	gate_tx_progress(conn->session, &tx->tx, dir, 0);
	if (tx->call.whole[dir]) {
		gate_tx_done(conn->session, &tx->tx, dir);
		if (server || h->type == DCERPC_AUTH3) {
			gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
			gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
		}
	}
	return true;
}

/* How many of the bytes it is through with: what is left begins a fragment that is not whole. With
 * `all` nothing more comes of that one, and what is there of it counts. */
static uint32_t fragments(struct smb_conn *conn, const struct smb_content *c, struct gate_view data,
			  bool all)
{
	uint32_t at = 0;
	while (at < data.size) {
		struct dcerpc_header h;
		uint32_t left = data.size - at;
		int rc = gate_dcerpc_header(data.data + at, left, &h);
		if (rc < 0) {
			return data.size; /* none, or no longer */
		}
		if (rc > 0 || h.size > left) {
			if (!all || rc > 0) {
				return at;
			}
			h.size = (uint16_t)left;
		}
		if (!fragment(conn, c, &h, data.data + at)) {
			return data.size;
		}
		at += h.size;
	}
	return at;
}

void gate_smb_pipe(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		   struct gate_view data)
{
	struct smb_file *f = c->file_id ? file_of(conn, c) : NULL;
	struct gate_text *part = f ? &f->part[dir] : NULL;
	uint32_t done;
	if (!part) {
		(void)fragments(conn, c, data, true);
		return;
	}
	if (part->size) {
		bool fits =
			gate_text_add(conn->session, part, data.data, data.size, SMB_PIPE_PART_MAX);
		data = gate_text_view(part);
		if (!fits) {
			(void)fragments(conn, c, data, true);
			gate_text_free(conn->session, part);
			return;
		}
	}
	done = fragments(conn, c, data, false);
	if (done == data.size) {
		part->size = 0;
	} else if (part->size) {
		memmove(part->data, part->data + done, data.size - done);
		part->size = data.size - done;
	} else {
		gate_text_set(conn->session, part, data.data + done, data.size - done,
			      SMB_PIPE_PART_MAX);
	}
}

/* ---- logins ---- */

/* A field of NTLMSSP: size, room, offset. */
static void ntlm_field(struct smb_conn *conn, struct smb_message *m, uint32_t at,
		       struct gate_text *text)
{
	uint64_t size = smb_get(m, at, 2), offset = smb_get(m, at + 4, 4);
	if (offset + size > m->size) {
		m->bad = true;
		return;
	}
	gate_smb_name(conn, text, smb_bytes(m, offset, size));
}

void gate_smb_security(struct smb_conn *conn, struct smb_tx *tx, struct gate_view blob)
{
	static const char magic[8] = "NTLMSSP";
	const uint8_t *at = blob.size ? memmem(blob.data, blob.size, magic, sizeof(magic)) : NULL;
	if (!at) {
		return;
	}
	struct smb_message m = {.data = at, .size = blob.size - (uint32_t)(at - blob.data)};
	if (smb_get(&m, 8, 4) != NTLMSSP_AUTHENTICATE) {
		return;
	}
	uint32_t flags = (uint32_t)smb_get(&m, 60, 4);
	ntlm_field(conn, &m, 28, &tx->domain);
	ntlm_field(conn, &m, 36, &tx->user);
	ntlm_field(conn, &m, 44, &tx->host);
	if (m.bad) {
		gate_tx_event(conn->session, &tx->tx, SMB_MALFORMED_NTLMSSP);
		return;
	}
	tx->ntlmssp = true;
	if ((flags & NTLMSSP_VERSION) && m.size >= 72) {
		memcpy(tx->ntlm_version, at + 64, 4);
		tx->has_version = true;
	}
}
