/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMB of all versions over TCP (NetBIOS session service or port 445): private to app/smb but
 * gate_smb_call. [MS-CIFS], [MS-SMB], [MS-SMB2].
 *
 * Theory of operation
 *   The stream is cut into NBSS records (smb.c); a record is looked at when it is whole. One larger
 *   than SMB_WHOLE_MAX is looked at when that much is there: what follows is data of its write or
 *   read, and goes to the file as it comes. A record holds messages of version 1 (smb1.c; and-X
 *   chains) or 2 and 3 (smb2.c; compounds). Encrypted ones (3) are passed over.
 *   Transactions are Suricata's: one per command but reads and writes; one per file and direction,
 *   open until it is closed; one per call of DCE/RPC in a pipe. A response is matched by message
 *   number (SMB1: mid, tree, user and command).
 *   A server answers reads in the order that suits it. What of a file comes before bytes that were
 *   asked for and are not answered yet waits for them (ahead.c), so that content, hashes and
 *   stored files are whole.
 *
 * Limits, the oldest entry goes: SMB_TREES_MAX trees, SMB_FILES_MAX open files, SMB_READS_MAX reads
 * without answer; SMB_NAME_MAX bytes of a name. SMB_AHEAD_MAX bytes in SMB_AHEADS_MAX answers wait;
 * over that, what is missing is a gap.
 */
#ifndef BH_GATE_APP_SMB_SMB_H
#define BH_GATE_APP_SMB_SMB_H

#include "gate/app/dcerpc/dcerpc.h"

#define SMB_PIPE_PART_MAX (128u << 10) /* of a pipe's side: a fragment has 64 KiB at most */
#define SMB_WHOLE_MAX	  (68u << 10)
#define SMB_TREES_MAX	  32
#define SMB_FILES_MAX	  64
#define SMB_READS_MAX	  64
#define SMB_NAME_MAX	  2048
#define SMB_AHEAD_MAX	  (4u << 20)
#define SMB_AHEADS_MAX	  64
#define SMB_DIALECTS_MAX  32
#define SMB_CONTENT_MAX	  (16u << 20) /* of a read or write, whatever was negotiated */
#define SMB_CHAIN_MAX	  16	      /* and-X commands, compounds: of a record */
#define SMB_COMPOUND_MAX  64

enum smb_event {
	SMB_MALFORMED_DATA,
	SMB_RECORD_OVERFLOW,
	SMB_MALFORMED_NTLMSSP,
	SMB_DUPLICATE_NEGOTIATE,
	SMB_NEGOTIATE_DIALECTS,
	SMB_FILE_OVERLAP,
	SMB_REQUEST_TO_CLIENT,
	SMB_RESPONSE_TO_SERVER,
	SMB_TOO_MANY,
	SMB_INTERNAL_ERROR,
	SMB_MALFORMED_NTLMSSP_RESPONSE,
	SMB_NEGOTIATE_READ_TOO_LARGE,
	SMB_NEGOTIATE_WRITE_TOO_LARGE,
	SMB_READ_REQUEST_TOO_LARGE,
	SMB_READ_RESPONSE_TOO_LARGE,
	SMB_READ_QUEUE_SIZE,
	SMB_READ_QUEUE_COUNT,
	SMB_WRITE_REQUEST_TOO_LARGE,
	SMB_WRITE_QUEUE_SIZE,
	SMB_WRITE_QUEUE_COUNT,
	SMB_EVENTS
};

enum smb_kind {
	SMB_GENERIC,
	SMB_NEGOTIATE,
	SMB_SETUP,
	SMB_TREE,
	SMB_CREATE,
	SMB_FILE,
	SMB_RENAME,
	SMB_PIPE /* a call of DCE/RPC */
};

struct smb_tx {
	struct gate_tx tx;
	struct smb_conn *conn;
	enum smb_kind kind;
	uint8_t version;
	uint16_t command;
	uint64_t id; /* message; SMB1: mid and user */
	uint64_t session;
	uint32_t tree, status;
	bool has_status;

	struct gate_text name;	/* of file, share, dialects, old name */
	struct gate_text other; /* new name; service asked for */
	struct gate_text share;
	struct gate_text user, domain, host;
	struct gate_text native_os, native_lm;
	uint8_t ntlm_version[4];
	bool ntlmssp, has_version;
	char service[8]; /* of the response */
	uint8_t share_type;
	uint32_t disposition;
	bool delete_on_close, directory, is_pipe;
	uint8_t file_id[16];
	bool has_file_id;
	uint64_t file_size, times[4];
	uint8_t client_guid[16], server_guid[16];
	uint32_t max_read, max_write;
	uint16_t dialect; /* of version 2 */

	enum gate_dir file_dir;
	struct gate_file *file;
	struct dcerpc_call call;
};

struct smb_tree {
	uint64_t session;
	uint32_t id;
	bool used, pipe;
	struct gate_text share;
};
struct smb_file {
	uint8_t id[16];
	bool used, pipe;
	uint32_t tree;
	struct gate_text name, share;
	struct smb_tx *tx[GATE_DIRS];	  /* that its content goes to */
	struct gate_text part[GATE_DIRS]; /* of a pipe: a call's fragment that is not whole yet */
	uint64_t at[GATE_DIRS];		  /* where that content is */
};
struct smb_read {
	uint64_t id, offset;
	uint8_t file_id[16];
	bool used;
};

struct smb_conn {
	struct gate_session *session;
	bool gap[GATE_DIRS];
	uint64_t skip[GATE_DIRS]; /* bytes of a record that need not be looked at */
	struct {
		struct smb_tx *tx;	 /* whose file gets `left` of the bytes to skip */
		struct smb_ahead *ahead; /* or what waits */
		uint64_t left;
	} data[GATE_DIRS];
	struct smb_tree trees[SMB_TREES_MAX];
	struct smb_file files[SMB_FILES_MAX];
	struct smb_read reads[SMB_READS_MAX];
	uint8_t next_tree, next_file, next_read;
	struct smb_ahead *aheads; /* by offset */
	uint32_t ahead_bytes, ahead_count;
	struct dcerpc_binding binding;
	uint16_t dialect;
	char dialect_name[24]; /* of version 1 */
	bool negotiated;
	uint32_t max_read, max_write; /* of version 2, as the server says; 0: not known */
};

/* One message: what is there of it, and how long it is (more when a large record is cut). Numbers
 * behind the end are 0 and make it bad. */
struct smb_message {
	const uint8_t *data;
	uint32_t size;
	uint64_t whole;
	bool bad;
};
static inline uint64_t smb_get(struct smb_message *m, uint32_t at, unsigned int size)
{
	uint64_t v = 0;
	if (at > m->size || size > m->size - at) {
		m->bad = true;
		return 0;
	}
	for (unsigned int i = size; i-- > 0;) {
		v = v << 8 | m->data[at + i];
	}
	return v;
}
/* Bytes of the message: what is not there is left out. */
static inline struct gate_view smb_bytes(struct smb_message *m, uint64_t at, uint64_t size)
{
	if (at > m->size) {
		m->bad = m->bad || size;
		return (struct gate_view){.data = m->data};
	}
	uint64_t left = m->size - at;
	return (struct gate_view){.data = m->data + at,
				  .size = (uint32_t)(size < left ? size : left)};
}

/* tables.c */
struct smb_tx *gate_smb_tx_new(struct smb_conn *conn, enum smb_kind kind, uint8_t version,
			       uint16_t command);
/* The number that its response will have. */
void gate_smb_tx_number(struct smb_conn *conn, struct smb_tx *tx, uint64_t id);
/* That waits for its response; NULL none. */
struct smb_tx *gate_smb_tx_waiting(struct smb_conn *conn, uint8_t version, uint16_t command,
				   uint64_t id);
void gate_smb_event(struct smb_conn *conn, enum smb_event event);
/* Response is there: both sides are through. */
void gate_smb_answered(struct smb_conn *conn, struct smb_tx *tx, uint32_t status);
struct smb_tree *gate_smb_tree(struct smb_conn *conn, uint64_t session, uint32_t id);
void gate_smb_tree_add(struct smb_conn *conn, const struct smb_tx *tx, uint32_t id, bool pipe);
struct smb_file *gate_smb_file(struct smb_conn *conn, const uint8_t id[16]);
void gate_smb_file_add(struct smb_conn *conn, const struct smb_tx *tx, const uint8_t id[16]);
void gate_smb_file_close(struct smb_conn *conn, const uint8_t id[16]);
void gate_smb_read_add(struct smb_conn *conn, uint64_t id, const uint8_t file[16], uint64_t offset);
bool gate_smb_read_take(struct smb_conn *conn, uint64_t id, struct smb_read *ret);
/* The text without its zeros: what rules are written against. */
void gate_smb_name(struct smb_conn *conn, struct gate_text *text, struct gate_view v);

/* content.c */
struct smb_content {
	uint8_t version;
	uint16_t command;
	uint64_t id, session, offset;
	uint32_t tree;
	uint64_t size; /* all of it; more than is there when the record is cut */
	const uint8_t *file_id;
};
/* Data of a write or a read: into the file or the calls of a pipe. */
void gate_smb_content(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		      struct gate_view data);
/* All of it that will come is there: the file at the place where its content goes. */
void gate_smb_place(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		    struct gate_view data);
/* Writes and reads of a pipe cut fragments where they like: the rest is waited for. */
void gate_smb_pipe(struct smb_conn *conn, enum gate_dir dir, const struct smb_content *c,
		   struct gate_view data);
void gate_smb_security(struct smb_conn *conn, struct smb_tx *tx, struct gate_view blob);

/* ahead.c: answers to reads that wait for others */
/* True: it waits, with what of it comes later. Else it is to be placed now. */
bool gate_smb_ahead_hold(struct smb_conn *conn, const struct smb_content *c, struct gate_view data);
/* More of it; data NULL: bytes that are lost. */
void gate_smb_ahead_more(struct smb_ahead *ahead, const uint8_t *data, uint32_t size);
/* Places what of that file (NULL: of any) need not wait any longer; all: whatever is there. */
void gate_smb_ahead_flush(struct smb_conn *conn, const uint8_t file_id[16], bool all);
void gate_smb_ahead_free(struct smb_conn *conn);

/* smb1.c, smb2.c: one record's message(s) */
void gate_smb1(struct smb_conn *conn, enum gate_dir dir, struct smb_message *m);
void gate_smb2(struct smb_conn *conn, enum gate_dir dir, struct smb_message *m);

/* log.c, names.c */
bool gate_smb_log(const struct gate_tx *tx, struct gate_jw *jw);
const char *gate_smb1_command_name(uint16_t command);
const char *gate_smb2_command_name(uint16_t command);
const char *gate_smb_status_name(uint32_t status); /* NULL unknown */
const char *gate_smb2_dialect_name(uint16_t dialect);

/* For dcerpc.c: NULL when the transaction is none. */
const struct dcerpc_call *gate_smb_call(const struct gate_tx *tx);

#endif
