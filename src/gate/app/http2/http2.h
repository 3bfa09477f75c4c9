/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) and DNS over HTTPS (RFC 8484): private to app/http2.
 *
 * Theory of operation
 *   Each side is a row of frames. A frame is read when it is here as a whole, but DATA, which
 *   streams by. Header blocks go through nghttp2's HPACK decoder in pieces, one decoder per side;
 *   when a block can't be decoded (we came late and miss its table) the decoder begins anew.
 *   A stream is a transaction; a frame of stream 0 is one by itself and over at once.
 *   Names and values of a side stand in one text, the same for a header's bytes as they go into
 * http.header.
 *
 * Limits: frames of FRAME_SIZE_MAX bytes (longer ones are skipped), HEADER_TEXT_MAX bytes and
 * http_headers_max headers of a side, BLOCKS_TEXT_MAX bytes of headers of all streams in one call
 * (a byte in a block can stand for TABLE_SIZE_MAX of them), FRAMES_MAX remembered frames,
 * GLOBALS_MAX transactions for frames of stream 0 in one call, DNS messages of DNS_SIZE_MAX bytes.
 */
#ifndef BH_GATE_APP_HTTP2_HTTP2_H
#define BH_GATE_APP_HTTP2_HTTP2_H

#include "base/util.h"
#include "gate/app/app.h"
#include "gate/app/http1/coding.h"
#include "gate/app/text.h"

#include <nghttp2/nghttp2.h>

#define FRAME_HEAD_SIZE 9u
#define FRAME_SIZE_MAX	(64u << 10)
#define HEADER_TEXT_MAX (128u << 10)
#define BLOCKS_TEXT_MAX (256u << 10)
#define TABLE_SIZE_MAX	(64u << 10)
#define FRAMES_MAX	16u
#define GLOBALS_MAX	64u
#define BUILT_MAX	16u
#define DNS_SIZE_MAX	(16u << 10)

enum http2_event {
#define EVENT(id, name, text) H2_EV_##id,
#include "gate/app/http2/events.def"
#undef EVENT
	H2_EVENTS
};

enum http2_progress { H2_START, H2_LINE, H2_HEADERS, H2_BODY, H2_TRAILER, H2_COMPLETE };

enum http2_frame_type {
	H2_DATA,
	H2_HEADERS_FRAME,
	H2_PRIORITY,
	H2_RST_STREAM,
	H2_SETTINGS,
	H2_PUSH_PROMISE,
	H2_PING,
	H2_GOAWAY,
	H2_WINDOW_UPDATE,
	H2_CONTINUATION,
};
enum http2_flag {
	H2_END_STREAM = 1,
	H2_ACK = 1,
	H2_END_HEADERS = 4,
	H2_PADDED = 8,
	H2_HAS_PRIORITY = 32
};

struct http2_header {
	uint32_t name_at, value_at; /* in the side's text: name ": " value CR LF */
	uint32_t name_size, value_size;
	uint32_t one_at; /* "name: value" with doubled colons, in the text built for it */
};

/* A buffer that was made up, as long as the side has as many headers. */
struct http2_built {
	uint16_t buffer; /* enum gate_buffer; 0: free */
	uint32_t headers;
	struct gate_text text;
};

/* What is remembered of a frame, for rules and records. */
struct http2_frame {
	uint8_t type;
	bool has_error, has_priority, has_window;
	uint8_t priority;
	uint32_t error, window;
	uint8_t update_count; /* of the size of the table, at the beginning of a block */
	uint64_t updates[2];
};

struct http2_body {
	struct gate_file *file;
	struct http_coding *coding;
	uint64_t size;
	bool began, over, dns;
	struct gate_text dns_text; /* a DNS message that comes as body */
};

struct http2_side {
	struct gate_text text;
	struct http2_header *headers;
	uint32_t count, capacity;
	struct http2_frame frames[FRAMES_MAX];
	uint8_t frame_count;
	bool closed, has_headers, too_large;
	struct http2_built *built; /* BUILT_MAX of them, once one is asked for */
	struct http2_body body;
	struct gate_dns_message *dns;
	size_t dns_size;
};

struct http2_tx {
	struct gate_tx tx;
	struct gate_session *session;
	struct http2_conn *conn;
	uint32_t stream;
	bool global;
	struct http2_side side[GATE_DIRS];
	/* SETTINGS of a global one: identifiers and values */
	struct {
		uint16_t id;
		uint32_t value;
	} settings[8];
	uint8_t setting_count;
};

struct http2_machine {
	nghttp2_hd_inflater *inflater;
	bool magic_done, in_block;
	uint32_t block_stream; /* that CONTINUATION goes on with */
	bool block_ends_stream;
	/* in a DATA frame */
	bool in_data, data_ends_stream;
	uint32_t data_left, pad_left, data_stream;
	uint32_t skip;
};
struct http2_conn {
	struct gate_session *session;
	const struct gate_config *config;
	nghttp2_mem mem;
	struct http2_machine side[GATE_DIRS];
	unsigned int globals;  /* in this call */
	uint64_t header_bytes; /* out of blocks, in this call */
};

struct http2_frame_head {
	uint32_t size, stream;
	uint8_t type, flags;
};

/* http2.c */
void gate_http2_event(struct http2_tx *tx, enum http2_event event);
void gate_http2_close(struct http2_tx *tx, enum gate_dir dir);

/* header.c */
void gate_http2_block_begin(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir);
/* A piece of a header block; tx NULL: only the table is kept up. */
void gate_http2_block(struct http2_conn *conn, struct http2_tx *tx, enum gate_dir dir,
		      const uint8_t *data, size_t size, bool last);
void gate_http2_table_size(struct http2_conn *conn, enum gate_dir dir, uint32_t size);
bool gate_http2_add_header(struct http2_tx *tx, enum gate_dir dir, struct gate_view name,
			   struct gate_view value);
/* The index-th header of that name. */
bool gate_http2_header(const struct http2_side *side, const char *name, uint32_t index,
		       struct gate_view *ret);
bool gate_http2_name_is(const struct http2_side *side, const struct http2_header *h,
			const char *name);
struct gate_view gate_http2_name(const struct http2_side *side, const struct http2_header *h);
struct gate_view gate_http2_value(const struct http2_side *side, const struct http2_header *h);

/* body.c */
void gate_http2_headers_done(struct http2_tx *tx, enum gate_dir dir);
void gate_http2_body(struct http2_tx *tx, enum gate_dir dir, const uint8_t *data, uint32_t size);
void gate_http2_body_gap(struct http2_tx *tx, enum gate_dir dir, uint32_t size);
void gate_http2_body_end(struct http2_tx *tx, enum gate_dir dir, bool whole);

/* buffers.c, log.c */
bool gate_http2_buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		       uint32_t index, struct gate_buffer_view *ret);
bool gate_http2_number(struct gate_tx *tx, enum gate_dir dir, enum gate_number number,
		       uint32_t index, uint64_t *ret);
bool gate_http2_log(const struct gate_tx *tx, struct gate_jw *jw);

#endif
