/* SPDX-License-Identifier: Apache-2.0 */
/* The record `ftp`. */
#include "gate/app/ftp/ftp.h"

#include <stdio.h>

bool gate_ftp_log(const struct gate_tx *gtx, struct gate_jw *jw)
{
	const struct ftp_tx *tx = (const struct ftp_tx *)gtx;
	if (tx->command) {
		uint32_t skip = (uint32_t)strlen(tx->command) + 1;
		gate_jw_text(jw, "command", tx->command);
		if (tx->request.size > skip) {
			gate_jw_bytes(jw, "command_data", tx->request.data + skip,
				      tx->request.size - skip);
		}
		gate_jw_bool(jw, "command_truncated", tx->request_cut);
	}
	bool open = false;
	for (unsigned int i = 0; i < tx->reply_count; i++) {
		if (tx->reply[i].code[0]) {
			if (!open) {
				gate_jw_array(jw, "completion_code");
				open = true;
			}
			gate_jw_text(jw, NULL, tx->reply[i].code);
		}
	}
	if (open) {
		gate_jw_end(jw);
	}
	if (tx->reply_count) {
		gate_jw_array(jw, "reply");
		for (unsigned int i = 0; i < tx->reply_count; i++) {
			const struct ftp_line *r = &tx->reply[i];
			const uint8_t *reply = r->size ? tx->replies.data + r->at : NULL;
			gate_jw_bytes(jw, NULL, reply, r->size);
		}
		gate_jw_end(jw);
	}
	if (tx->port) {
		gate_jw_uint(jw, "dynamic_port", tx->port);
		gate_jw_text(jw, "mode", tx->active ? "active" : "passive");
	}
	gate_jw_text(jw, "reply_received", tx->reply_count ? "yes" : "no");
	gate_jw_bool(jw, "reply_truncated", tx->reply_cut);
	return true;
}
