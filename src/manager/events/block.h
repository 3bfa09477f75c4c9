/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How events lie in events.db: frames of rows, blocks of frames.
 *
 * A frame is up to 64 rows with consecutive ids, compressed with zstd. A block is 64 full frames;
 * which rows of it have which words is in terms.h.
 *
 * What is read comes from our own disk, but is checked like foreign bytes: a bad frame is -EBADMSG.
 * Pure.
 */
#ifndef BH_MANAGER_EVENTS_BLOCK_H
#define BH_MANAGER_EVENTS_BLOCK_H

#include "base/buf.h"
#include "base/diag.h"
#include "model/event.h"

#include <zstd.h>

#define MANAGER_FRAME_ROWS   64u
#define MANAGER_BLOCK_FRAMES 64u
#define MANAGER_BLOCK_ROWS   (MANAGER_FRAME_ROWS * MANAGER_BLOCK_FRAMES)
#define MANAGER_ROW_BODY_MAX 65535u
#define MANAGER_FRAME_MAX    (MANAGER_FRAME_ROWS * (MANAGER_ROW_BODY_MAX + 512u)) /* unpacked */

/* What is kept of an event beside its text. Strings are borrowed and never NULL. */
struct manager_row {
	int64_t wall_ns;
	uint32_t src_tenant, dst_tenant; /* 0: none */
	uint8_t severity;
	uint8_t vm_end; /* which end `vm` is: 0 src, 1 dst */
	const char *type, *host, *vm, *peer, *verdict;
	const char *body; /* one JSON object */
	size_t body_size;
};

/* ---- frames ---- */
/* Behind what is in payload. */
void manager_frame_add(struct bh_wbuf *payload, const struct manager_row *row);
/* Packs the payload into ret, which is emptied before. */
[[nodiscard]] int manager_frame_pack(ZSTD_CCtx *zstd, const struct bh_wbuf *payload,
				     struct bh_wbuf *ret, struct bh_diag *diag);
[[nodiscard]] int manager_frame_unpack(ZSTD_DCtx *zstd, const void *data, size_t size,
				       struct bh_wbuf *ret_payload, struct bh_diag *diag);
/* The rows of a payload, which must live as long; their number, or -EBADMSG. */
[[nodiscard]] int manager_frame_rows(const struct bh_wbuf *payload,
				     struct manager_row ret[MANAGER_FRAME_ROWS]);

#endif
