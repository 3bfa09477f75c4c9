/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the bus (NATS over TLS with client certificates) for a program on a libuv loop.
 *
 * Every function is called on the loop's thread and every callback runs there. Nothing here blocks
 * the loop: connecting and writing are done by a thread of its own; what comes in is queued and
 * handed over by uv_async. It connects for ever (200 ms to 2 s between tries, with jitter), loads
 * the certificate files anew each time, and all queues are bounded. There is no hidden buffering
 * across connections: while the bus is down, requests and publishes fail at once with -ENOTCONN,
 * and requests in flight fail when it goes down. A sender repeats what must not be lost.
 *
 * A message is a JSON object, optionally followed by '\n' and bytes.
 *
 * Who may ask for replies: NATS checks the subject that is published to, but not the reply subject
 * that a message names. So a service states where its replies may go; a request that wants its
 * reply elsewhere (another host's command subject, JetStream's API) is dropped and counted.
 */
#ifndef BH_BUS_CLIENT_H
#define BH_BUS_CLIENT_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define BH_BUS_SERVER_NAME "bus.bulkhead" /* DNS name in the certificate of the private server */
#define BH_BUS_MSG_MAX	   (1024 * 1024)  /* a whole message; NATS refuses larger ones */

/* err > 0 of a reply callback. */
enum bh_bus_error {
	BH_BUS_REFUSED = 1, /* the peer answered {"ok": false, "code", "error"}; reply is there */
};

struct bh_bus;
struct bh_bus_request; /* one that came in and waits for our reply */

struct bh_bus_msg {
	json_t *json;	   /* an object */
	const void *bytes; /* NULL when there is no tail */
	size_t size;
};
/* Splits and reads foreign bytes. json is owned by the caller, bytes point into data. */
[[nodiscard]] int bh_bus_msg_parse(const void *data, size_t size, struct bh_bus_msg *ret,
				   struct bh_diag *diag);

typedef void bh_bus_state_fn(struct bh_bus *bus, bool up, void *arg);

struct bh_bus_options {
	const char *urls;  /* "tls://10.0.0.1:4222", several divided by commas */
	const char *name;  /* who we are, for the server's logs: "manager", "host.h1" */
	const char *inbox; /* prefix of our reply subjects, see subject.h */
	const char *ca_file;
	const char *cert_file;
	const char *key_file;
	const char *server_name; /* to find in the server's certificate; NULL: BH_BUS_SERVER_NAME */
	size_t out_max_bytes;	 /* messages waiting to be written; 0: 64 MiB */
	bh_bus_state_fn *on_state; /* may be NULL; starts as down */
	void *arg;
};

/* Options are copied. The first connection is made in the background: 0 does not mean connected. */
[[nodiscard]] int bh_bus_new(uv_loop_t *loop, const struct bh_bus_options *options,
			     struct bh_bus **ret, struct bh_diag *diag);
/* Requests in flight end with -ECANCELED, then no callback runs any more. Writes out what is queued
 * for at most 1 s. Handles close on the loop: run it once more before it is closed. NULL is fine.
 */
void bh_bus_free(struct bh_bus *bus);
bool bh_bus_up(const struct bh_bus *bus);
/* A further listener for the state; fn is not called at once. (fn, arg) is the key for the unwatch.
 */
void bh_bus_watch(struct bh_bus *bus, bh_bus_state_fn *fn, void *arg);
void bh_bus_unwatch(struct bh_bus *bus, bh_bus_state_fn *fn, void *arg);
/* Why it is down, for people; "" when up. Borrowed until the loop goes on. */
const char *bh_bus_last_error(const struct bh_bus *bus);
/* Drops the connection and makes a new one, with the certificate that is now in the files. */
void bh_bus_reconnect(struct bh_bus *bus);

/* ---- serving ---- */
/* Each request must get exactly one bh_bus_reply or bh_bus_reply_error, now or later. msg is
 * borrowed until the callback returns. */
typedef void bh_bus_serve_fn(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg);
/* reply_prefix: where replies may go, ending in a dot; a `*` in it stands for what the `*` in
 * subject matched. A message without reply subject or with another one is dropped. For the bus's
 * lifetime. */
void bh_bus_serve(struct bh_bus *bus, const char *subject, const char *reply_prefix,
		  bh_bus_serve_fn *fn, void *arg);
const char *bh_bus_request_subject(const struct bh_bus_request *req);
/* The host's name out of the subject: the only name of the sender to trust. "" when it holds none.
 * (Of a command, bh.host.<name>.cmd, it is our own: the manager sent it.) */
const char *bh_bus_request_host(const struct bh_bus_request *req);
/* Takes over body (an object; NULL for an empty one) and adds "ok": true unless body has an "ok" (a
 * failure that says more than code and error). The request is gone. */
void bh_bus_reply(struct bh_bus_request *req, json_t *body);
/* The same with bytes behind it; NULL: none. */
void bh_bus_reply_bytes(struct bh_bus_request *req, json_t *body, const void *bytes, size_t size);
void bh_bus_reply_error(struct bh_bus_request *req, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- asking ---- */
/* Called exactly once. err: 0 (reply has "ok": true), BH_BUS_REFUSED, -ETIMEDOUT, -ENOTCONN (bus
 * down), -EHOSTUNREACH (nobody serves that subject), -EBADMSG, -ENOBUFS (too much waits to be
 * written), -EMSGSIZE, -ECANCELED. reply is NULL unless err is 0 or BH_BUS_REFUSED; borrowed. */
typedef void bh_bus_reply_fn(int err, const struct bh_bus_msg *reply, void *arg);
/* Never calls back before it returned. msg is copied (msg->json is not taken over). */
void bh_bus_request(struct bh_bus *bus, const char *subject, const struct bh_bus_msg *msg,
		    uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg);
/* "code" and "error" of a refused reply, or words for err. Borrowed from reply. */
const char *bh_bus_reply_code(int err, const struct bh_bus_msg *reply);
const char *bh_bus_reply_text(int err, const struct bh_bus_msg *reply);

/* ---- raw messages, for JetStream ---- */
struct bh_bus_raw {
	const char *subject;
	const char *reply;  /* NULL: none */
	const char *msg_id; /* header Nats-Msg-Id; NULL: none. Not filled for what comes in. */
	const void *data;
	size_t size;
};
typedef void bh_bus_raw_fn(const struct bh_bus_raw *msg, void *arg);
/* Hands over every message of a subject as it is. */
void bh_bus_subscribe(struct bh_bus *bus, const char *subject, bh_bus_raw_fn *fn, void *arg);
void bh_bus_unsubscribe(struct bh_bus *bus, bh_bus_raw_fn *fn, void *arg);
/* 0, -ENOTCONN, -ENOBUFS, -EMSGSIZE. 0 means queued. */
[[nodiscard]] int bh_bus_publish(struct bh_bus *bus, const struct bh_bus_raw *msg);
/* As bh_bus_request; reply is NULL unless err is 0. */
typedef void bh_bus_raw_reply_fn(int err, const struct bh_bus_raw *reply, void *arg);
void bh_bus_request_raw(struct bh_bus *bus, const struct bh_bus_raw *msg, uint64_t timeout_ms,
			bh_bus_raw_reply_fn *fn, void *arg);

/* {"up", "last_error", "url", "connects", "in_messages", "in_waiting", "out_waiting", "requests"};
 * owned. Counters of the program (base/counter.h): bus_connects, bus_disconnects,
 * bus_requests_timeout, bus_requests_failed, bus_in_dropped, bus_out_refused, bus_bad_messages,
 * bus_foreign_replies, bus_slow_consumer. */
json_t *bh_bus_dump(const struct bh_bus *bus);

#endif
