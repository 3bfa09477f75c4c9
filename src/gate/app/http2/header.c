/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks (RFC 7541) by nghttp2's decoder, and the headers that came out of them. */
#include "gate/app/http2/http2.h"
#include "base/counter.h"
#include "gate/config.h"

BH_COUNTER(gate_http2_headers_cut,
	   "sides of HTTP/2 streams without the rest of their headers: too many bytes");

static bool inflater_new(struct http2_conn *conn, enum gate_dir dir)
{
	struct http2_machine *m = &conn->side[dir];
	if (!m->inflater && nghttp2_hd_inflate_new2(&m->inflater, &conn->mem)) {
		m->inflater = NULL;
	}
	return m->inflater != NULL;
}

void gate_http2_table_size(struct http2_conn *conn, enum gate_dir dir, uint32_t size)
{
	size = size > TABLE_SIZE_MAX ? TABLE_SIZE_MAX : size;
	/* Only upwards: the other side may use what it had until it has heard of less. */
	if (inflater_new(conn, dir) &&
	    size > nghttp2_hd_inflate_get_max_dynamic_table_size(conn->side[dir].inflater)) {
		(void)nghttp2_hd_inflate_change_table_size(conn->side[dir].inflater, size);
	}
}

/* ---- keeping them ---- */

static bool room_for_header(struct http2_tx *tx, struct http2_side *side)
{
	if (side->count < side->capacity) {
		return true;
	}
	uint32_t capacity = side->capacity ? side->capacity * 2 : 16;
	void *grown = gate_session_grow(tx->session, side->headers,
					side->capacity * sizeof(*side->headers),
					capacity * sizeof(*side->headers));
	if (!grown) {
		return false;
	}
	side->headers = grown;
	side->capacity = capacity;
	return true;
}

bool gate_http2_add_header(struct http2_tx *tx, enum gate_dir dir, struct gate_view name,
			   struct gate_view value)
{
	struct http2_side *side = &tx->side[dir];
	struct gate_text *text = &side->text;
	uint32_t at = text->size;
	uint64_t need = (uint64_t)name.size + value.size + 4;
	if (side->too_large || side->count > tx->conn->config->http_headers_max ||
	    at + need > HEADER_TEXT_MAX || tx->conn->header_bytes + need > BLOCKS_TEXT_MAX ||
	    !room_for_header(tx, side)) {
		bh_counter_add(&gate_http2_headers_cut, !side->too_large);
		side->too_large = true;
		gate_http2_event(tx, H2_EV_REASSEMBLY);
		return false;
	}
	tx->conn->header_bytes += need;
	if (!gate_text_add(tx->session, text, name.data, name.size, HEADER_TEXT_MAX) ||
	    !gate_text_add(tx->session, text, ": ", 2, HEADER_TEXT_MAX) ||
	    !gate_text_add(tx->session, text, value.data, value.size, HEADER_TEXT_MAX) ||
	    !gate_text_add(tx->session, text, "\r\n", 2, HEADER_TEXT_MAX)) {
		text->size = at;
		return false;
	}
	side->headers[side->count++] = (struct http2_header){.name_at = at,
							     .name_size = name.size,
							     .value_at = at + name.size + 2,
							     .value_size = value.size};
	return true;
}

struct gate_view gate_http2_name(const struct http2_side *side, const struct http2_header *h)
{
	return (struct gate_view){.data = side->text.data + h->name_at, .size = h->name_size};
}

struct gate_view gate_http2_value(const struct http2_side *side, const struct http2_header *h)
{
	return (struct gate_view){.data = side->text.data + h->value_at, .size = h->value_size};
}

bool gate_http2_name_is(const struct http2_side *side, const struct http2_header *h,
			const char *name)
{
	struct gate_view v = gate_http2_name(side, h);
	uint32_t i = 0;
	for (; i < v.size && name[i]; i++) {
		uint8_t c = v.data[i];
		c = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
		if (c != (uint8_t)name[i]) {
			return false;
		}
	}
	return i == v.size && !name[i];
}

bool gate_http2_header(const struct http2_side *side, const char *name, uint32_t index,
		       struct gate_view *ret)
{
	for (uint32_t i = 0; i < side->count; i++) {
		if (gate_http2_name_is(side, &side->headers[i], name) && !index--) {
			*ret = gate_http2_value(side, &side->headers[i]);
			return true;
		}
	}
	return false;
}

/* ---- blocks ---- */

static void check_authority(struct http2_tx *tx)
{
	const struct http2_side *side = &tx->side[GATE_TO_SERVER];
	struct gate_view authority, host;
	if (!gate_http2_header(side, ":authority", 0, &authority)) {
		return;
	}
	const uint8_t *at = authority.size ? memchr(authority.data, '@', authority.size) : NULL;
	if (at) {
		gate_http2_event(tx, H2_EV_USERINFO);
		authority.size -= (uint32_t)(at + 1 - authority.data);
		authority.data = at + 1;
	}
	if (!gate_http2_header(side, "host", 0, &host)) {
		return;
	}
	bool same = authority.size == host.size;
	for (uint32_t i = 0; same && i < host.size; i++) {
		uint8_t a = authority.data[i], b = host.data[i];
		same = a == b || ((a ^ b) == 0x20 && (a | 0x20) >= 'a' && (a | 0x20) <= 'z');
	}
	if (!same) {
		gate_http2_event(tx, H2_EV_AUTHORITY);
	}
}

void gate_http2_block_begin(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir)
{
	(void)inflater_new(conn, dir);
	if (tx) {
		tx->side[dir].has_headers = true;
	}
}

static void block_end(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir)
{
	if (conn->side[dir].inflater) {
		(void)nghttp2_hd_inflate_end_headers(conn->side[dir].inflater);
	}
	if (!tx) {
		return;
	}
	if (dir == GATE_TO_SERVER) {
		check_authority(tx);
	}
	gate_http2_headers_done(tx, dir);
}

/* The table of this side is lost: begin anew, later blocks may do without it. */
static void block_bad(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir)
{
	nghttp2_hd_inflate_del(conn->side[dir].inflater);
	conn->side[dir].inflater = NULL;
	if (tx) {
		gate_http2_event(tx, H2_EV_HEADER);
	}
}

void gate_http2_block(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir,
		      const uint8_t *data, size_t size, bool last)
{
	struct http2_machine *m = &conn->side[dir];
	while (m->inflater) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(m->inflater, &nv, &flags, data, size, last);
		if (n < 0) {
			block_bad(conn, tx, dir);
			break;
		}
		data += n;
		size -= (size_t)n;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) && tx && nv.namelen < HEADER_TEXT_MAX &&
		    nv.valuelen < HEADER_TEXT_MAX) {
			struct gate_view name = {.data = nv.name, .size = (uint32_t)nv.namelen};
			struct gate_view value = {.data = nv.value, .size = (uint32_t)nv.valuelen};
			(void)gate_http2_add_header(tx, dir, name, value);
		}
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) ||
		    (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !size)) {
			break;
		}
	}
	if (last) {
		block_end(conn, tx, dir);
	}
}
