/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1 and what was before it: private to app/http1. Semantics are those of libhtp as Suricata 8
 * uses it (personality IDS); the code is ours.
 *
 * Theory of operation
 *   A connection has two machines, one per side (request.c, response.c), which read lines and
 *   headers in place from the stream. What rules and records may look at later is copied once: a
 *   side's line and headers as they came stand in `raw`, one behind the other, and a header is
 *   two spans of it. Only values that are not there in one piece (folded, repeated) are written
 *   to `made`. Buffers that nobody asks for are never built (buffers.c).
 *   Bodies go through at most http_decompress_layers decoders (coding.c) into the window of a file
 *   (file.h), which is the body's buffer too; only of multipart bodies there is a buffer besides.
 *
 * Limits: a line or header http_header_size_max bytes, http_headers_max headers, FOLDS_MAX folded
 * lines, REPETITIONS_MAX repeated headers, bodies as configured; then the parser gives up.
 */
#ifndef BH_GATE_APP_HTTP1_HTTP1_H
#define BH_GATE_APP_HTTP1_HTTP1_H

#include "gate/app/app.h"
#include "base/util.h"
#include "gate/app/http1/coding.h"

#define FOLDS_MAX	    128
#define REPETITIONS_MAX	    64
#define HTTP_HEADERS_FEW    16 /* that are found without a table */
#define HTTP09_JUNK_MAX	    16
#define MULTIPART_TOKEN_MAX 256 /* a boundary */
#define MULTIPART_HEAD_MAX  4096

enum http_event {
#define EVENT(id, name, text) HTTP_EV_##id,
#include "gate/app/http1/events.def"
#undef EVENT
	HTTP_EVENTS
};

enum http_progress { HTTP_START, HTTP_LINE, HTTP_HEADERS, HTTP_BODY, HTTP_TRAILER, HTTP_COMPLETE };

enum http_method {
	HTTP_M_UNKNOWN,
	HTTP_M_HEAD,
	HTTP_M_GET,
	HTTP_M_PUT,
	HTTP_M_POST,
	HTTP_M_CONNECT,
	HTTP_M_OTHER,
};
enum http_version { HTTP_V_UNKNOWN, HTTP_V_INVALID, HTTP_V_09, HTTP_V_10, HTTP_V_11 };

/* Headers that somebody asks for by name. */
enum http_known {
	HTTP_K_NONE,
	HTTP_K_HOST,
	HTTP_K_USER_AGENT,
	HTTP_K_COOKIE,
	HTTP_K_SET_COOKIE,
	HTTP_K_REFERER,
	HTTP_K_ACCEPT,
	HTTP_K_ACCEPT_LANG,
	HTTP_K_ACCEPT_ENC,
	HTTP_K_CONNECTION,
	HTTP_K_CONTENT_TYPE,
	HTTP_K_CONTENT_LENGTH,
	HTTP_K_TRANSFER_ENCODING,
	HTTP_K_CONTENT_ENCODING,
	HTTP_K_SERVER,
	HTTP_K_LOCATION,
	HTTP_K_UPGRADE,
	HTTP_K_EXPECT,
	HTTP_K_AUTHORIZATION,
	HTTP_K_CONTENT_RANGE,
	HTTP_K_CONTENT_DISPOSITION,
	HTTP_K_XFF,
	HTTP_K_HTTP2_SETTINGS,
	HTTP_KNOWN
};

struct http_text {
	uint8_t *data;
	uint32_t size, capacity;
};
struct http_span {
	uint32_t at, size;
	bool made; /* in `made`, else in `raw` */
	bool is;   /* there is one */
};
struct http_header {
	struct http_span name, value;
	uint32_t hash;	 /* of the name in lower case */
	uint32_t one_at; /* "Name: value" in the text of HTTP_BUILT_ONE */
	uint8_t known;
	bool repeated, folded;
};

/* What a buffer callback built; valid as long as the side has as many headers. */
struct http_built {
	struct http_text text;
	uint32_t headers;
	bool done;
};
enum http_built_kind {
	HTTP_BUILT_HEADER,
	HTTP_BUILT_NAMES,
	HTTP_BUILT_START,
	HTTP_BUILT_ONE,
	HTTP_BUILTS
};

struct http_body {
	struct gate_file *file;
	struct http_text own; /* when it is not the file's window (multipart) */
	uint64_t own_offset;
	bool is_own, over, began; /* over: past the limit */
	bool lost;		  /* what comes now can't be decoded: there was a hole before it */
	uint64_t size;		  /* decoded so far, within the limit */
	uint64_t message_size;	  /* as it came */
	uint64_t entity_size;	  /* decoded, beyond the limit too */
	uint64_t seen, from;	  /* for the window of inspection, see gate_http1_body_view */
	struct http_coding *coding;
	struct http_multipart *multipart;
};

enum http_eol { HTTP_EOL_LF = 1, HTTP_EOL_CRLF = 2, HTTP_EOL_CR = 4 };

struct http_side {
	struct http_text raw, made;
	struct http_span line;
	uint32_t headers_at, headers_end; /* in raw */
	struct http_header *headers;
	uint32_t count, capacity;
	uint32_t *slots; /* by hash of the name: index + 1; NULL: there are few */
	uint32_t slot_count;
	uint16_t known[HTTP_KNOWN]; /* index + 1 */
	uint16_t repetitions;
	bool chunked, trailer;
	uint8_t eols; /* enum http_eol: how its headers' lines end */
	struct http_body body;
	struct http_built built[HTTP_BUILTS];
};

struct http_uri {
	struct http_span path, query, fragment, host, port; /* of the raw request line */
};

struct http_tx {
	struct gate_tx tx;
	struct gate_session *session;
	struct http_conn *conn;
	struct http_side side[GATE_DIRS];

	struct http_span method, uri, protocol;
	struct http_uri parts;
	struct http_text normal; /* the normalised URI; path_size of it at path_at is the path */
	uint32_t path_at, path_size;
	struct http_span host; /* lower case, without port; side to server */
	int32_t port;	       /* -1 none */
	uint8_t method_number, version;
	bool is_09, unseen, normalised;

	struct http_span response_protocol, status, message;
	uint16_t status_number; /* 0: none */
	uint8_t response_version;
	bool seen_continue;
};

enum http_state {
	HTTP_IDLE,
	HTTP_IN_LINE,
	HTTP_IN_PROTOCOL,
	HTTP_IN_HEADERS,
	HTTP_DETERMINE,
	HTTP_CONNECT_WAIT,
	HTTP_CONNECT_PROBE,
	HTTP_IDENTITY,
	HTTP_UNTIL_CLOSE,
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_DATA,
	HTTP_CHUNK_END,
	HTTP_FINALIZE,
	HTTP_IGNORE,
};
struct http_machine {
	enum http_state state;
	struct http_tx *tx;
	uint64_t left, length; /* of the body or chunk */
	bool has_length;
	uint32_t scanned; /* bytes of the unconsumed in which there is no line feed */
};
struct http_conn {
	struct gate_session *session;
	const struct gate_config *config;
	struct http_machine side[GATE_DIRS];
	uint64_t next_response;	       /* id of the transaction that it belongs to */
	struct gate_tx *last_response; /* the one before; NULL: it has gone */
	bool tunnel;
};

/* The bytes of one call. */
struct http_input {
	const uint8_t *data;
	uint32_t size, pos;
	bool eof, cut;
};
enum http_step { HTTP_GO, HTTP_WAIT, HTTP_STOP, HTTP_FAIL };

/* text.c */
static inline bool http_is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}
bool gate_http1_add(struct http_tx *tx, struct http_text *text, const void *data, uint32_t size);
void gate_http1_text_free(struct http_tx *tx, struct http_text *text);
struct gate_view gate_http1_view(const struct http_side *side, const struct http_span *span);
bool gate_http1_equals(struct gate_view a, const char *lower); /* any case */
/* Those two leave NULs out of a, as libhtp does where a value decides how the message is read. */
bool gate_http1_is(struct gate_view a, const char *lower);
bool gate_http1_has(struct gate_view a, const char *lower);
void gate_http1_event(struct http_tx *tx, enum http_event event);
struct gate_view gate_http1_trim(struct gate_view v);
struct gate_view gate_http1_header(const struct http_side *side, enum http_known known);
bool gate_http1_has_header(const struct http_side *side, enum http_known known);

/* header.c: one header. 0: more is needed; > 0: so many bytes; the header is in the side, or
 * *ret_end says that it was the end of them. -EMSGSIZE: too many, -ENOMEM. */
/* The index of its headers goes; they are found without it. */
void gate_http1_slots_free(struct gate_session *session, struct http_side *side);
int64_t gate_http1_read_header(struct http_tx *tx, enum gate_dir dir, const uint8_t *data,
			       uint32_t size, bool complete, bool *ret_end);

/* line.c */
void gate_http1_request_line(struct http_tx *tx, const uint8_t *line, uint32_t size);
void gate_http1_response_line(struct http_tx *tx, const uint8_t *line, uint32_t size);
enum http_method gate_http1_method(const uint8_t *name, uint32_t size);
bool gate_http1_looks_like_body(const uint8_t *line, uint32_t size);
bool gate_http1_ignorable(const uint8_t *line, uint32_t size);
/* Decimal digits somewhere in v; false: none. Events when tx is not NULL. */
bool gate_http1_length(struct http_tx *tx, struct gate_view v, uint64_t *ret);
/* A chunk's size. 1: read, 0: an empty line, 2: too large, -1: none. */
int gate_http1_chunk_size(const uint8_t *line, uint32_t size, uint64_t *ret, bool *ret_ext);

/* uri.c */
void gate_http1_split_uri(struct http_tx *tx);
void gate_http1_normalise(struct http_tx *tx); /* once; when somebody asks */
bool gate_http1_host_port(struct gate_view v, struct gate_view *ret_host,
			  struct gate_view *ret_port, bool *ret_valid);
bool gate_http1_valid_host(struct gate_view host);
int32_t gate_http1_port(struct gate_view v); /* -1: none */

/* body.c */
void gate_http1_body_begin(struct http_tx *tx, enum gate_dir dir);
void gate_http1_body_data(struct http_tx *tx, enum gate_dir dir, const uint8_t *data,
			  uint32_t size);
void gate_http1_body_gap(struct http_tx *tx, enum gate_dir dir, uint32_t size);
void gate_http1_body_end(struct http_tx *tx, enum gate_dir dir, bool whole);
void gate_http1_body_free(struct http_tx *tx, enum gate_dir dir);
bool gate_http1_body_view(struct http_tx *tx, enum gate_dir dir, struct gate_buffer_view *ret);

/* multipart.c */
struct http_multipart *gate_http1_multipart_new(struct http_tx *tx, struct gate_view content_type);
void gate_http1_multipart_data(struct http_tx *tx, struct http_multipart *m, const uint8_t *data,
			       uint32_t size);
void gate_http1_multipart_gap(struct http_tx *tx, struct http_multipart *m, uint32_t size);
void gate_http1_multipart_end(struct http_tx *tx, struct http_multipart *m);
void gate_http1_multipart_free(struct http_tx *tx, struct http_multipart *m);
/* name="value" of a header: false when it is not there. */
bool gate_http1_parameter(struct gate_view header, const char *name, struct gate_view *ret);

/* machine.c */
struct http_walk {
	void (*gap)(struct http_conn *conn, uint32_t size);
	enum http_step (*step)(struct http_conn *conn, struct http_input *in);
	struct http_tx *(*begin)(struct http_conn *conn); /* where a transaction is missing */
};
int64_t gate_http1_walk(struct http_conn *conn, enum gate_dir dir, const struct http_walk *walk,
			const struct gate_app_input *app_in);
enum http_step gate_http1_identity(struct http_machine *m, enum gate_dir dir,
				   struct http_input *in); /* a chunk's data too */
enum http_step gate_http1_chunk_end(struct http_machine *m, enum gate_dir dir,
				    struct http_input *in);

/* request.c, response.c */
int64_t gate_http1_request(struct http_conn *conn, const struct gate_app_input *in);
int64_t gate_http1_response(struct http_conn *conn, const struct gate_app_input *in);
/* Reads headers up to their end. GO: it is reached. */
enum http_step gate_http1_headers(struct http_tx *tx, enum gate_dir dir, struct http_input *in);
/* A line with its end: NULL when there is none yet (or -: too long). */
bool gate_http1_find_line(struct http_machine *m, const struct http_input *in, uint32_t *ret_size);
struct http_tx *gate_http1_tx_new(struct http_conn *conn);

/* buffers.c, log.c */
bool gate_http1_buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		       uint32_t index, struct gate_buffer_view *ret);
bool gate_http1_log(const struct gate_tx *tx, struct gate_jw *jw);

#endif
