/* SPDX-License-Identifier: Apache-2.0 */
/* The record `smb`. */
#include "gate/app/smb/smb.h"

#include <stdio.h>

#define FILETIME_1970 11644473600u

static void log_text(struct gate_jw *jw, const char *key, const struct gate_text *text)
{
	if (text->size) {
		gate_jw_bytes(jw, key, text->data, text->size);
	}
}

/* Also when it is empty. */
static void log_always(struct gate_jw *jw, const char *key, struct gate_view v)
{
	gate_jw_bytes(jw, key, v.size ? v.data : (const uint8_t *)"", v.size);
}

static void log_uuid(struct gate_jw *jw, const char *key, const uint8_t *u)
{
	char text[40];
	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[3], u[2],
		 u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	gate_jw_text(jw, key, text);
}

static void log_command(const struct smb_tx *tx, struct gate_jw *jw)
{
	const char *name = tx->version == 1 ? gate_smb1_command_name(tx->command)
					    : gate_smb2_command_name(tx->command);
	char text[16];
	if (!name) {
		snprintf(text, sizeof(text), "%u", tx->command);
		name = text;
	}
	gate_jw_text(jw, "command", name);
}

static void log_status(const struct smb_tx *tx, struct gate_jw *jw)
{
	const char *name = gate_smb_status_name(tx->status);
	char text[32];
	if (!tx->has_status) {
		return;
	}
	if (!name) {
		snprintf(text, sizeof(text), "UNKNOWN_%08X", tx->status);
		name = text;
	}
	gate_jw_text(jw, "status", name);
	snprintf(text, sizeof(text), "0x%x", tx->status);
	gate_jw_text(jw, "status_code", text);
}

static void log_negotiate(const struct smb_tx *tx, struct gate_jw *jw)
{
	gate_jw_array(jw, "client_dialects");
	if (tx->version == 1) {
		for (uint32_t at = 0; at < tx->name.size;) {
			const uint8_t *d = tx->name.data + at;
			const uint8_t *end = memchr(d, 0, tx->name.size - at);
			uint32_t len = end ? (uint32_t)(end - d) : tx->name.size - at;
			if (len > 1) {
				gate_jw_bytes(jw, NULL, d + 1, len - 1);
			}
			at += len + 1;
		}
	} else {
		for (uint32_t at = 0; at + 1 < tx->name.size; at += 2) {
			uint16_t n = (uint16_t)(tx->name.data[at] | tx->name.data[at + 1] << 8);
			const char *name = gate_smb2_dialect_name(n);
			char text[16];
			snprintf(text, sizeof(text), "0x%04x", n);
			gate_jw_text(jw, NULL, name ? name : text);
		}
	}
	gate_jw_end(jw);
	if (tx->version == 2) {
		log_uuid(jw, "client_guid", tx->client_guid);
	}
	if (tx->has_status) {
		log_uuid(jw, "server_guid", tx->server_guid);
	}
	if (tx->max_read) {
		gate_jw_uint(jw, "max_read_size", tx->max_read);
		gate_jw_uint(jw, "max_write_size", tx->max_write);
	}
}

/* What the request said stands before a NUL, the response's behind it. */
static struct gate_view half(const struct gate_text *text, bool second)
{
	const uint8_t *nul = text->size ? memchr(text->data, 0, text->size) : NULL;
	uint32_t first = nul ? (uint32_t)(nul - text->data) : text->size;
	if (!second) {
		return (struct gate_view){.data = text->data, .size = first};
	}
	return nul ? (struct gate_view){.data = nul + 1, .size = text->size - first - 1}
		   : (struct gate_view){};
}

static void log_native(const struct smb_tx *tx, bool second, const char *key, struct gate_jw *jw)
{
	struct gate_view os = half(&tx->native_os, second), lm = half(&tx->native_lm, second);
	if (!os.size && !lm.size) {
		return;
	}
	gate_jw_object(jw, key);
	log_always(jw, "native_os", os);
	log_always(jw, "native_lm", lm);
	gate_jw_end(jw);
}

static void log_setup(const struct smb_tx *tx, struct gate_jw *jw)
{
	log_native(tx, false, "request", jw);
	log_native(tx, true, "response", jw);
	if (!tx->ntlmssp && !tx->user.size) {
		return;
	}
	gate_jw_object(jw, "ntlmssp");
	log_always(jw, "domain", gate_text_view(&tx->domain));
	log_always(jw, "user", gate_text_view(&tx->user));
	log_always(jw, "host", gate_text_view(&tx->host));
	if (tx->has_version) {
		char text[64];
		const uint8_t *v = tx->ntlm_version;
		snprintf(text, sizeof(text), "%u.%u build %u rev 15", v[0], v[1], v[2] | v[3] << 8);
		gate_jw_text(jw, "version", text);
	}
	gate_jw_end(jw);
}

static void log_tree(const struct smb_tx *tx, struct gate_jw *jw)
{
	static const char *const types[] = {"UNKNOWN", "FILE", "PIPE", "PRINT"};
	log_text(jw, tx->is_pipe ? "named_pipe" : "share", &tx->name);
	if (tx->version == 1) {
		gate_jw_object(jw, "service");
		log_text(jw, "request", &tx->other);
		if (tx->service[0]) {
			gate_jw_text(jw, "response", tx->service);
		}
		gate_jw_end(jw);
	} else if (tx->has_status && !tx->status) {
		gate_jw_text(jw, "share_type", types[tx->share_type < 4 ? tx->share_type : 0]);
	}
}

static void log_file_id(const struct smb_tx *tx, struct gate_jw *jw)
{
	if (tx->has_file_id) {
		log_uuid(jw, "fuid", tx->file_id);
	}
}

static void log_create(const struct smb_tx *tx, struct gate_jw *jw)
{
	static const char *const dispositions[] = {
		"FILE_SUPERSEDE", "FILE_OPEN",	    "FILE_CREATE",
		"FILE_OPEN_IF",	  "FILE_OVERWRITE", "FILE_OVERWRITE_IF",
	};
	static const char *const times[] = {"created", "accessed", "modified", "changed"};
	const char *what = tx->directory ? "directory" : "filename";
	if (tx->name.size) {
		log_text(jw, what, &tx->name);
	} else {
		gate_jw_text(jw, what, "<share_root>");
	}
	gate_jw_text(jw, "disposition",
		     tx->disposition < 6 ? dispositions[tx->disposition] : "UNKNOWN");
	gate_jw_text(jw, "access", tx->delete_on_close ? "delete on close" : "normal");
	for (unsigned int i = 0; tx->has_file_id && i < 4; i++) {
		uint64_t s = tx->times[i] / 10000000u;
		gate_jw_uint(jw, times[i], s > FILETIME_1970 ? s - FILETIME_1970 : 0);
	}
	if (tx->has_file_id) {
		gate_jw_uint(jw, "size", tx->file_size);
	}
	log_file_id(tx, jw);
}

static void log_kind(const struct smb_tx *tx, struct gate_jw *jw)
{
	switch (tx->kind) {
	case SMB_NEGOTIATE:
		log_negotiate(tx, jw);
		break;
	case SMB_SETUP:
		log_setup(tx, jw);
		break;
	case SMB_TREE:
		log_tree(tx, jw);
		break;
	case SMB_CREATE:
		log_create(tx, jw);
		break;
	case SMB_FILE:
		log_text(jw, "filename", &tx->name);
		log_text(jw, "share", &tx->share);
		log_file_id(tx, jw);
		break;
	case SMB_RENAME:
		gate_jw_object(jw, "rename");
		log_text(jw, "from", &tx->name);
		log_text(jw, "to", &tx->other);
		gate_jw_end(jw);
		break;
	case SMB_PIPE:
		gate_jw_object(jw, "dcerpc");
		gate_dcerpc_log_call(&tx->call, jw);
		gate_jw_end(jw);
		break;
	default:
		log_text(jw, "filename", &tx->name);
		break;
	}
}

bool gate_smb_log(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct smb_tx *tx = (const struct smb_tx *)gtx;
	const char *dialect = gate_smb2_dialect_name(tx->conn->dialect);
	gate_jw_uint(jw, "id", tx->tx.id + 1);
	if (tx->conn->dialect) {
		gate_jw_text(jw, "dialect", dialect ? dialect : "unknown");
	} else {
		const char *old = tx->conn->dialect_name;
		gate_jw_text(jw, "dialect", old[0] ? old : "unknown");
	}
	log_command(tx, jw);
	log_status(tx, jw);
	gate_jw_uint(jw, "session_id", tx->session);
	gate_jw_uint(jw, "tree_id", tx->tree);
	log_kind(tx, jw);
	return true;
}
