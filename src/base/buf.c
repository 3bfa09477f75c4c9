/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/util.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>

void bh_rbuf_init(struct bh_rbuf *r, const void *data, size_t size)
{
	*r = (struct bh_rbuf){.data = data, .size = size};
}

const void *bh_rbuf_take(struct bh_rbuf *r, size_t size)
{
	const void *p;

	if (r->err || size > r->size - r->pos) {
		r->err = -EBADMSG;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += size;
	return p;
}

void bh_rbuf_copy(struct bh_rbuf *r, void *ret_data, size_t size)
{
	const void *p = bh_rbuf_take(r, size);

	if (p && size) {
		memcpy(ret_data, p, size);
	} else if (size) {
		memset(ret_data, 0, size);
	}
}

uint8_t bh_rbuf_u8(struct bh_rbuf *r)
{
	uint8_t v;

	bh_rbuf_copy(r, &v, sizeof(v));
	return v;
}

uint16_t bh_rbuf_u16(struct bh_rbuf *r)
{
	uint16_t v;

	bh_rbuf_copy(r, &v, sizeof(v));
	return le16toh(v);
}

uint32_t bh_rbuf_u32(struct bh_rbuf *r)
{
	uint32_t v;

	bh_rbuf_copy(r, &v, sizeof(v));
	return le32toh(v);
}

uint64_t bh_rbuf_u64(struct bh_rbuf *r)
{
	uint64_t v;

	bh_rbuf_copy(r, &v, sizeof(v));
	return le64toh(v);
}

size_t bh_rbuf_left(const struct bh_rbuf *r)
{
	return r->err ? 0 : r->size - r->pos;
}

int bh_rbuf_finish(const struct bh_rbuf *r)
{
	return r->err || r->pos != r->size ? -EBADMSG : 0;
}

void bh_wbuf_init(struct bh_wbuf *w, size_t limit)
{
	*w = (struct bh_wbuf){.limit = limit};
}

void bh_wbuf_done(struct bh_wbuf *w)
{
	free(w->data);
	*w = (struct bh_wbuf){};
}

void bh_wbuf_put(struct bh_wbuf *w, const void *data, size_t size)
{
	size_t need;

	if (w->err) {
		return;
	}
	if (__builtin_add_overflow(w->size, size, &need) || (w->limit && need > w->limit)) {
		w->err = -EMSGSIZE;
		return;
	}
	bh_vec_grow((void **)&w->data, &w->capacity, need, 1);
	if (size) {
		memcpy(w->data + w->size, data, size);
	}
	w->size = need;
}

void bh_wbuf_u8(struct bh_wbuf *w, uint8_t v)
{
	bh_wbuf_put(w, &v, sizeof(v));
}

void bh_wbuf_u16(struct bh_wbuf *w, uint16_t v)
{
	v = htole16(v);
	bh_wbuf_put(w, &v, sizeof(v));
}

void bh_wbuf_u32(struct bh_wbuf *w, uint32_t v)
{
	v = htole32(v);
	bh_wbuf_put(w, &v, sizeof(v));
}

void bh_wbuf_u64(struct bh_wbuf *w, uint64_t v)
{
	v = htole64(v);
	bh_wbuf_put(w, &v, sizeof(v));
}

void bh_wbuf_str(struct bh_wbuf *w, const char *s)
{
	bh_wbuf_put(w, s, strlen(s));
}

void bh_wbuf_printf(struct bh_wbuf *w, const char *fmt, ...)
{
	BH_FREE char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) {
		abort();
	}
	bh_wbuf_put(w, s, (size_t)n);
}

const char *bh_wbuf_cstr(struct bh_wbuf *w)
{
	bh_vec_grow((void **)&w->data, &w->capacity, w->size + 1, 1);
	w->data[w->size] = '\0';
	return (const char *)w->data;
}
