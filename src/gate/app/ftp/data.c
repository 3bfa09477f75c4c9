/* SPDX-License-Identifier: Apache-2.0 */
/* A data connection of FTP: one transaction with one file, its name by the transfer's command. */
#include "gate/app/ftp/ftp.h"

struct data_conn;
struct data_tx {
	struct gate_tx tx;
	char command[5];  /* "" unknown */
	const char *name; /* of the session's memory */
	struct gate_file *file;
	struct data_conn *conn;
};
struct data_conn {
	struct data_tx *tx;
};

static const char *const states[] = {"started", "complete", NULL};

static void *data_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct data_conn));
}

static void data_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct data_conn));
}

static struct data_tx *tx_begin(struct gate_session *session, struct data_conn *conn,
				enum gate_dir dir)
{
	struct data_tx *tx = (struct data_tx *)gate_tx_new(session, sizeof(*tx));
	const char *note = gate_session_note(session);
	if (!tx) {
		return NULL;
	}
	tx->name = "";
	tx->conn = conn;
	if (note && strlen(note) > 4 && note[4] == ' ') {
		memcpy(tx->command, note, 4);
		tx->name = note + 5;
	}
	tx->file = gate_file_open(session, &tx->tx, dir, tx->name, strlen(tx->name));
	return tx;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct data_conn *conn = state;
	if (in->size && !conn->tx) {
		conn->tx = tx_begin(session, conn, dir);
	}
	struct data_tx *tx = conn->tx;
	if (!tx || !tx->file || tx->file->dir != dir) {
		return in->size; /* a transfer has one direction */
	}
	if (in->gap) {
		gate_file_gap(session, tx->file, in->gap);
	}
	if (in->size) {
		gate_file_append(session, tx->file, in->data, in->size);
	}
	gate_tx_progress(session, &tx->tx, dir, 0);
	if (in->eof) {
		gate_file_close(session, tx->file,
				in->cut ? GATE_FILE_TRUNCATED : GATE_FILE_CLOSED);
		gate_tx_done(session, &tx->tx, GATE_TO_SERVER);
		gate_tx_done(session, &tx->tx, GATE_TO_CLIENT);
		gate_session_stop(session, GATE_DIR_OTHER(dir));
	}
	return in->size;
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	(void)session;
	((struct data_tx *)tx)->conn->tx = NULL;
}

static bool buffer(struct gate_tx *gtx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct data_tx *tx = (const struct data_tx *)gtx;
	static const uint8_t *const words[] = {(const uint8_t *)"retr", (const uint8_t *)"stor"};
	bool store = !strcmp(tx->command, "STOR") || !strcmp(tx->command, "APPE");
	if (which != GATE_BUF_FTPDATA_COMMAND || !tx->command[0]) {
		return false;
	}
	*ret = (struct gate_buffer_view){.data = words[store], .size = 4, .complete = true};
	return true;
}

static bool log_tx(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct data_tx *tx = (const struct data_tx *)gtx;
	if (tx->name && tx->name[0]) {
		gate_jw_bytes(jw, "filename", tx->name, strlen(tx->name));
	}
	if (tx->command[0]) {
		gate_jw_text(jw, "command", tx->command);
	}
	return true;
}

const struct gate_app_ops gate_ftp_data_ops = {
	.app = GATE_APP_FTP_DATA,
	.name = "ftp-data",
	.log = "ftp_data",
	.transports = 1,
	.states = {states, states},
	.new = data_new,
	.free = data_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = log_tx,
};
