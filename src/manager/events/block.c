/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/block.h"

#include "base/util.h"

#include <errno.h>

#define FRAME_VERSION 1
#define ZSTD_LEVEL    1

/* ---- frames ---- */

static void put_text(struct bh_wbuf *w, const char *s)
{
	bh_wbuf_put(w, s, strlen(s) + 1);
}

void manager_frame_add(struct bh_wbuf *payload, const struct manager_row *row)
{
	if (!payload->size) {
		bh_wbuf_u8(payload, FRAME_VERSION);
	}
	bh_wbuf_u64(payload, (uint64_t)row->wall_ns);
	bh_wbuf_u32(payload, row->src_tenant);
	bh_wbuf_u32(payload, row->dst_tenant);
	bh_wbuf_u8(payload, (uint8_t)(row->severity | row->vm_end << 4));
	put_text(payload, row->type);
	put_text(payload, row->host);
	put_text(payload, row->vm);
	put_text(payload, row->peer);
	put_text(payload, row->verdict);
	bh_wbuf_u16(payload, (uint16_t)row->body_size);
	bh_wbuf_put(payload, row->body, (uint16_t)row->body_size);
	bh_wbuf_u8(payload, 0);
}

/* Empties w and gives it room. */
static void reserve(struct bh_wbuf *w, size_t size)
{
	if (w->capacity < size) {
		bh_wbuf_done(w);
		bh_wbuf_init(w, 0);
		w->data = bh_alloc(size);
		w->capacity = size;
	}
	w->size = 0;
}

int manager_frame_pack(ZSTD_CCtx *zstd, const struct bh_wbuf *payload, struct bh_wbuf *ret,
		       struct bh_diag *diag)
{
	size_t n;

	reserve(ret, ZSTD_compressBound(payload->size));
	n = ZSTD_compressCCtx(zstd, ret->data, ret->capacity, payload->data, payload->size,
			      ZSTD_LEVEL);
	if (ZSTD_isError(n)) {
		return bh_diag_set(diag, -EIO, "packing events: %s", ZSTD_getErrorName(n));
	}
	ret->size = n;
	return 0;
}

int manager_frame_unpack(ZSTD_DCtx *zstd, const void *data, size_t size,
			 struct bh_wbuf *ret_payload, struct bh_diag *diag)
{
	unsigned long long full = ZSTD_getFrameContentSize(data, size);
	size_t n;

	if (full == ZSTD_CONTENTSIZE_ERROR || full == ZSTD_CONTENTSIZE_UNKNOWN ||
	    full > MANAGER_FRAME_MAX) {
		return bh_diag_set(diag, -EBADMSG, "events are damaged on disk");
	}
	reserve(ret_payload, full + 1);
	n = ZSTD_decompressDCtx(zstd, ret_payload->data, ret_payload->capacity, data, size);
	if (ZSTD_isError(n) || n != full) {
		return bh_diag_set(diag, -EBADMSG, "events are damaged on disk: %s",
				   ZSTD_isError(n) ? ZSTD_getErrorName(n) : "size");
	}
	ret_payload->size = n;
	return 0;
}

static const char *take_text(struct bh_rbuf *r)
{
	const char *s = (const char *)r->data + r->pos;
	const char *end = bh_rbuf_left(r) ? memchr(s, 0, bh_rbuf_left(r)) : NULL;

	if (r->err || !end) {
		r->err = -EBADMSG;
		return "";
	}
	r->pos += (size_t)(end - s) + 1;
	return s;
}

int manager_frame_rows(const struct bh_wbuf *payload, struct manager_row ret[MANAGER_FRAME_ROWS])
{
	struct bh_rbuf r;
	unsigned int count = 0;
	const char *body;

	bh_rbuf_init(&r, payload->data, payload->size);
	if (payload->size && bh_rbuf_u8(&r) != FRAME_VERSION) {
		return -EBADMSG;
	}
	while (bh_rbuf_left(&r) && !r.err) {
		struct manager_row *row = &ret[count];
		uint8_t packed;

		if (count++ == MANAGER_FRAME_ROWS) {
			return -EBADMSG;
		}
		row->wall_ns = (int64_t)bh_rbuf_u64(&r);
		row->src_tenant = bh_rbuf_u32(&r);
		row->dst_tenant = bh_rbuf_u32(&r);
		packed = bh_rbuf_u8(&r);
		row->severity = packed & 0xf;
		row->vm_end = packed >> 4 & 1;
		row->type = take_text(&r);
		row->host = take_text(&r);
		row->vm = take_text(&r);
		row->peer = take_text(&r);
		row->verdict = take_text(&r);
		row->body_size = bh_rbuf_u16(&r);
		body = bh_rbuf_take(&r, row->body_size + 1);
		if (!body || body[row->body_size] || strlen(body) != row->body_size) {
			return -EBADMSG;
		}
		row->body = body;
	}
	return r.err ? -EBADMSG : (int)count;
}
