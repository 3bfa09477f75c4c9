/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection of SMB remembers: transactions, trees, files, reads. All bounded (smb.h). */
#include "gate/app/smb/smb.h"

struct smb_tx *gate_smb_tx_new(struct smb_conn *conn, enum smb_kind kind, uint8_t version,
			       uint16_t command)
{
	struct smb_tx *tx = (struct smb_tx *)gate_tx_new(conn->session, sizeof(*tx));
	if (tx) {
		tx->conn = conn;
		tx->kind = kind;
		tx->version = version;
		tx->command = command;
		tx->call.request = tx->call.response = DCERPC_NONE;
	}
	return tx;
}

void gate_smb_tx_number(struct smb_conn *conn, struct smb_tx *tx, uint64_t id)
{
	tx->id = id;
	gate_tx_key(conn->session, &tx->tx, id);
}

static bool is_waiting(const struct gate_tx *tx, const void *arg)
{
	const struct smb_tx *s = (const struct smb_tx *)tx, *like = arg;
	return s->id == like->id && s->command == like->command && s->version == like->version &&
	       s->kind != SMB_PIPE && !(tx->done_dirs & GATE_DIR_BIT(GATE_TO_CLIENT));
}

struct smb_tx *gate_smb_tx_waiting(struct smb_conn *conn, uint8_t version, uint16_t command,
				   uint64_t id)
{
	const struct smb_tx like = {.id = id, .command = command, .version = version};
	return (struct smb_tx *)gate_tx_by_key(conn->session, id, is_waiting, &like);
}

void gate_smb_event(struct smb_conn *conn, enum smb_event event)
{
	struct gate_tx *tx = gate_session_last(conn->session);
	if (tx) {
		gate_tx_event(conn->session, tx, (uint16_t)event);
	}
}

void gate_smb_answered(struct smb_conn *conn, struct smb_tx *tx, uint32_t status)
{
	tx->status = status;
	tx->has_status = true;
	gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
	gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
}

void gate_smb_name(struct smb_conn *conn, struct gate_text *text, struct gate_view v)
{
	text->size = 0;
	for (uint32_t i = 0; i < v.size;) {
		uint32_t n = 0;
		while (i + n < v.size && v.data[i + n]) {
			n++;
		}
		if (n && !gate_text_add(conn->session, text, v.data + i, n, SMB_NAME_MAX)) {
			return;
		}
		i += n + 1;
	}
}

/* ---- trees ---- */

struct smb_tree *gate_smb_tree(struct smb_conn *conn, uint64_t session, uint32_t id)
{
	for (unsigned int i = 0; i < SMB_TREES_MAX; i++) {
		struct smb_tree *t = &conn->trees[i];
		if (t->used && t->id == id && t->session == session) {
			return t;
		}
	}
	return NULL;
}

void gate_smb_tree_add(struct smb_conn *conn, const struct smb_tx *tx, uint32_t id, bool pipe)
{
	struct smb_tree *t = gate_smb_tree(conn, tx->session, id);
	if (!t) {
		t = &conn->trees[conn->next_tree++ % SMB_TREES_MAX];
	}
	t->used = true;
	t->pipe = pipe;
	t->session = tx->session;
	t->id = id;
	gate_text_set(conn->session, &t->share, tx->name.data, tx->name.size, SMB_NAME_MAX);
}

/* ---- files ---- */

struct smb_file *gate_smb_file(struct smb_conn *conn, const uint8_t id[16])
{
	for (unsigned int i = 0; i < SMB_FILES_MAX; i++) {
		struct smb_file *f = &conn->files[i];
		if (f->used && !memcmp(f->id, id, 16)) {
			return f;
		}
	}
	return NULL;
}

static void file_done(struct smb_conn *conn, struct smb_file *f)
{
	gate_smb_ahead_flush(conn, f->id, true);
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		struct smb_tx *tx = f->tx[dir];
		f->tx[dir] = NULL;
		f->at[dir] = 0;
		gate_text_free(conn->session, &f->part[dir]);
		if (tx) {
			gate_file_close(conn->session, tx->file, GATE_FILE_CLOSED);
			gate_tx_done(conn->session, &tx->tx, GATE_TO_SERVER);
			gate_tx_done(conn->session, &tx->tx, GATE_TO_CLIENT);
		}
	}
	f->used = false;
}

void gate_smb_file_add(struct smb_conn *conn, const struct smb_tx *tx, const uint8_t id[16])
{
	const struct smb_tree *tree = gate_smb_tree(conn, tx->session, tx->tree);
	struct smb_file *f = gate_smb_file(conn, id);
	if (!f) {
		f = &conn->files[conn->next_file++ % SMB_FILES_MAX];
	}
	if (f->used) {
		file_done(conn, f);
	}
	memcpy(f->id, id, 16);
	f->used = true;
	f->pipe = tree && tree->pipe;
	f->tree = tx->tree;
	gate_text_set(conn->session, &f->name, tx->name.data, tx->name.size, SMB_NAME_MAX);
	gate_text_set(conn->session, &f->share, tree ? tree->share.data : NULL,
		      tree ? tree->share.size : 0, SMB_NAME_MAX);
}

void gate_smb_file_close(struct smb_conn *conn, const uint8_t id[16])
{
	struct smb_file *f = gate_smb_file(conn, id);
	if (f) {
		file_done(conn, f);
	}
}

/* ---- reads ---- */

void gate_smb_read_add(struct smb_conn *conn, uint64_t id, const uint8_t file[16], uint64_t offset)
{
	struct smb_read *r = &conn->reads[conn->next_read++ % SMB_READS_MAX];
	*r = (struct smb_read){.id = id, .offset = offset, .used = true};
	memcpy(r->file_id, file, 16);
}

bool gate_smb_read_take(struct smb_conn *conn, uint64_t id, struct smb_read *ret)
{
	for (unsigned int i = 0; i < SMB_READS_MAX; i++) {
		if (conn->reads[i].used && conn->reads[i].id == id) {
			*ret = conn->reads[i];
			conn->reads[i].used = false;
			return true;
		}
	}
	return false;
}
