/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threaded half of bus/client.h, inside the room: one worker thread that connects, subscribes
 * and writes, libnats' own threads that deliver, and two bounded queues between them and the loop.
 *
 * A session is one connection. libnats' own reconnecting is off: it would send what was queued for
 * the last connection, and gives up for ever after two refused logins. Each session has a number;
 * what was queued for an older one is dropped.
 */
#ifndef BH_BUS_CLIENT_LINK_H
#define BH_BUS_CLIENT_LINK_H

#include "bus/client.h"

#include <nats/nats.h>

struct bh_link;

enum bh_link_kind { BH_LINK_UP, BH_LINK_DOWN, BH_LINK_MESSAGE };

struct bh_link_in {
	enum bh_link_kind kind;
	uint64_t session;
	uint64_t sub; /* BH_LINK_MESSAGE: which subscription */
	natsMsg *msg; /* owned */
	size_t size;  /* charged to the subscription */
	struct bh_link_in *next;
};

/* wake is borrowed until bh_link_stop(); it is sent when something came in. */
struct bh_link *bh_link_new(const struct bh_bus_options *options, uv_async_t *wake);
[[nodiscard]] int bh_link_start(struct bh_link *link, struct bh_diag *diag);
/* Writes what is queued (at most 1 s), ends the session, joins the worker. The link frees itself
 * when libnats' last callback is through. */
void bh_link_stop(struct bh_link *link);
void bh_link_reconnect(struct bh_link *link);

uint64_t bh_link_subscribe(struct bh_link *link, const char *subject);
void bh_link_unsubscribe(struct bh_link *link, uint64_t sub);
/* 0, -ENOBUFS, -EMSGSIZE. Copies. */
[[nodiscard]] int bh_link_publish(struct bh_link *link, uint64_t session,
				  const struct bh_bus_raw *msg);
/* The oldest of what came in, or NULL. Owned: bh_link_in_free(). */
struct bh_link_in *bh_link_take(struct bh_link *link);
void bh_link_in_free(struct bh_link *link, struct bh_link_in *in);

struct bh_link_stats {
	size_t in_waiting, out_waiting; /* bytes */
	uint64_t connects;
	char url[256];
	char last_error[BH_DIAG_TEXT_SIZE];
};
void bh_link_stats_get(struct bh_link *link, struct bh_link_stats *ret);

#endif
