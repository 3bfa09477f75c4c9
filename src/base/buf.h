/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursors over bytes. Foreign bytes are read only through bh_rbuf: it never reads past its end,
 * keeps its first error (sticky) and returns zeros after it, so a parser checks once, at the end.
 * bh_wbuf writes the same shapes into memory that grows up to a limit. Integers are little-endian
 * on the wire.
 */
#ifndef BH_BASE_BUF_H
#define BH_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bh_rbuf {
	const uint8_t *data; /* borrowed */
	size_t size;
	size_t pos;
	int err; /* 0 or -EBADMSG */
};

void bh_rbuf_init(struct bh_rbuf *r, const void *data, size_t size);
uint8_t bh_rbuf_u8(struct bh_rbuf *r);
uint16_t bh_rbuf_u16(struct bh_rbuf *r);
uint32_t bh_rbuf_u32(struct bh_rbuf *r);
uint64_t bh_rbuf_u64(struct bh_rbuf *r);
/* Copies size bytes, or zeros after an error. */
void bh_rbuf_copy(struct bh_rbuf *r, void *ret_data, size_t size);
/* Borrows size bytes; NULL after an error. */
const void *bh_rbuf_take(struct bh_rbuf *r, size_t size);
size_t bh_rbuf_left(const struct bh_rbuf *r);
/* 0 when no error happened and every byte was read, else -EBADMSG. */
[[nodiscard]] int bh_rbuf_finish(const struct bh_rbuf *r);

struct bh_wbuf {
	uint8_t *data; /* owned; free with bh_wbuf_done */
	size_t size;
	size_t capacity;
	size_t limit; /* 0: none */
	int err;      /* 0 or -EMSGSIZE, sticky */
};

void bh_wbuf_init(struct bh_wbuf *w, size_t limit);
void bh_wbuf_done(struct bh_wbuf *w);
void bh_wbuf_u8(struct bh_wbuf *w, uint8_t v);
void bh_wbuf_u16(struct bh_wbuf *w, uint16_t v);
void bh_wbuf_u32(struct bh_wbuf *w, uint32_t v);
void bh_wbuf_u64(struct bh_wbuf *w, uint64_t v);
void bh_wbuf_put(struct bh_wbuf *w, const void *data, size_t size);
void bh_wbuf_str(struct bh_wbuf *w, const char *s); /* without the final NUL */
void bh_wbuf_printf(struct bh_wbuf *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The bytes with a NUL behind them (not counted in size), for text. Borrowed until the next write.
 */
const char *bh_wbuf_cstr(struct bh_wbuf *w);

#endif
