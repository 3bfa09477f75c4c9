/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a program: a unix stream socket on which the CLI asks what is going on
 * inside. One request per line, `{"op": "name", ...}`; one line back, `{"ok": true, ...}` or
 * `{"ok": false, "error": "..."}`. Handlers run on the loop and may answer later. Built in: "ping",
 * "version", "counters", "log" (level, module), "ops". Access: the mode of the socket and, when
 * asked for, root only by SO_PEERCRED.
 *
 * A client may be hostile. Bounded: 64 KiB per request, 10 s from a line's first byte to its last,
 * 30 s until an answer has been read, and the next request is not looked at before; 64 clients, of
 * which users besides root and our own hold 48 at most, one of them 16; 8 new ones per
 * millisecond. Counted: ctl_refused, ctl_cut_off.
 */
#ifndef BH_BASE_CTL_H
#define BH_BASE_CTL_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

struct bh_ctl_server;
struct bh_ctl_request;

/* request: the parsed object, borrowed until the reply. Every request must get exactly one reply.
 */
typedef void bh_ctl_op_fn(struct bh_ctl_request *req, const json_t *request, void *arg);

struct bh_ctl_options {
	const char *path;
	const char *program;	   /* for "version" */
	unsigned int mode;	   /* of the socket, e.g. 0600 */
	bool root_only;		   /* refuse peers that are neither root nor our own user */
	bool bare;		   /* of what is built in only "ping" */
	const unsigned int *users; /* root_only: these user ids too; borrowed */
	size_t user_count;
	unsigned int line_timeout_ms, answer_timeout_ms; /* 0: as above */
};

/* Replaces a stale socket; -EADDRINUSE when somebody answers on it. */
[[nodiscard]] int bh_ctl_server_new(uv_loop_t *loop, const struct bh_ctl_options *options,
				    struct bh_ctl_server **ret, struct bh_diag *diag);
void bh_ctl_server_free(struct bh_ctl_server *server);
/* op is borrowed for ever. */
void bh_ctl_server_add(struct bh_ctl_server *server, const char *op, bh_ctl_op_fn *fn, void *arg);

/* Takes over `body` (an object; "ok" is added). The request is gone afterwards. */
void bh_ctl_reply(struct bh_ctl_request *req, json_t *body);
void bh_ctl_reply_error(struct bh_ctl_request *req, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Blocking client for CLI and hook: sends, waits at most timeout_ms, returns the whole reply
 * (owned). -ECONNREFUSED / -ENOENT when nobody listens, -ETIMEDOUT, -EREMOTEIO with the program's
 * own words in diag when the reply is not ok. */
[[nodiscard]] int bh_ctl_call(const char *path, const json_t *request, int timeout_ms,
			      json_t **ret_reply, struct bh_diag *diag);

#endif
