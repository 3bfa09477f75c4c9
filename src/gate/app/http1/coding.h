/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content codings: gzip, deflate (raw or zlib, whatever it is), br, one in another. Shared by
 * HTTP/1 and HTTP/2. Memory is the session's. Bounded: `limit` bytes come out when that is more
 * than 2048 times what went in, time_us of the processor's time (at most as much again of the
 * clock's); then it is a bomb and nothing more comes out.
 * What turns out not to be encoded comes out as it is.
 */
#ifndef BH_GATE_APP_HTTP1_CODING_H
#define BH_GATE_APP_HTTP1_CODING_H

#include "gate/gate.h"

struct gate_session;
struct http_coding;

enum http_coding_kind {
	HTTP_CODING_NONE,
	HTTP_CODING_GZIP,
	HTTP_CODING_DEFLATE,
	HTTP_CODING_BROTLI
};
#define HTTP_CODINGS_MAX 16

enum http_coding_result {
	HTTP_CODING_OK,
	HTTP_CODING_FAILED,
	HTTP_CODING_BOMB,
	HTTP_CODING_EXTRA, /* bytes behind the end of what is encoded: they are lost */
	HTTP_CODING_CUT,   /* it breaks off; only gate_coding_end says so */
};

/* Returns false when no more is wanted: decoding ends. */
typedef bool http_coding_fn(void *arg, const uint8_t *data, uint32_t size);

/* kinds as Content-Encoding lists them: the last was applied last. NULL: no memory. */
struct http_coding *gate_coding_new(struct gate_session *session, const uint8_t *kinds,
				    unsigned int count);
void gate_coding_free(struct http_coding *coding);
enum http_coding_result gate_coding_data(struct http_coding *coding, const uint8_t *data,
					 uint32_t size, http_coding_fn *fn, void *arg);
/* Nothing follows: what was held back comes out. */
enum http_coding_result gate_coding_end(struct http_coding *coding, http_coding_fn *fn, void *arg);

#endif
