/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: taken from the bus, given names, kept in events.db, told to followers.
 *
 * Theory of operation
 *   What producers sent (bus/events.h) comes in batches. Each event is judged by its producer's
 *   numbers (repeats are dropped, numbers that never came become a `gap` event), gets names, and is
 *   written together with the numbers in one transaction by a worker thread with a connection of
 *   its own; the batch is acknowledged to the bus after that. If it can't be written the batch
 *   comes again: nothing is lost, pressure goes back to the producers. The manager's own events go
 *   the same way without the bus. Followers read from the database by id, so a slow one costs
 *   nothing but its own delay. At most `keep` events are kept; the oldest go.
 *
 * Loop thread only, but for the worker inside.
 */
#ifndef BH_MANAGER_EVENTS_EVENTS_H
#define BH_MANAGER_EVENTS_EVENTS_H

#include "base/buf.h"
#include "bus/events.h"
#include "manager/inventory/inventory.h"
#include "manager/rulebook/rulebook.h"

#include <uv.h>

struct manager_events;

struct manager_events_options {
	uv_loop_t *loop;
	const char *path; /* of events.db */
	uint64_t keep;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
};
[[nodiscard]] int manager_events_new(const struct manager_events_options *options,
				     struct manager_events **ret, struct bh_diag *diag);
/* Waits for the worker; afterwards nothing of it runs. */
void manager_events_free(struct manager_events *ev);

/* The handler of the bus's consumer; arg is the struct manager_events. */
void manager_events_batch(struct bh_consumer *consumer, const struct bh_event_batch *batch,
			  void *arg);
/* The consumer is gone: a batch in work is not acknowledged. */
void manager_events_detach(struct manager_events *ev);

/* Tries again what could not be written; call it now and then. */
void manager_events_poke(struct manager_events *ev);

/* One of the manager's own. body (an object) is owned by the callee. */
void manager_events_own(struct manager_events *ev, const char *type, enum bh_severity severity,
			json_t *body);
/* A manager_notice_fn; arg is the struct manager_events. */
void manager_events_notice(const char *type, const char *severity, json_t *body, void *arg);

struct manager_event_filter {
	char type[BH_EVENT_TYPE_MAX + 2]; /* "" any; "flow." and "flow.*" are prefixes */
	bool flows;			  /* flow.* and guard.* only */
	char vm[BH_UUID_TEXT_SIZE];	  /* either end */
	char host[BH_NAME_MAX + 1];
	char verdict[8];
	int severity; /* enum bh_severity or graver */
	uint64_t since_ns;
	bool has_after;
	uint64_t after;
	uint32_t limit;
};
/* Calls fn with id, type and JSON text per event, oldest first: the newest `limit` that match, or
 * with has_after the first ones behind `after`. *ret_scanned: up to which id everything was looked
 * at. */
typedef void manager_event_fn(uint64_t id, const char *type, const char *json, void *arg);
[[nodiscard]] int manager_events_list(struct manager_events *ev,
				      const struct manager_event_filter *filter,
				      manager_event_fn *fn, void *arg, uint64_t *ret_scanned,
				      struct bh_diag *diag);
uint64_t manager_events_last(const struct manager_events *ev);

/* fn is called after each commit; (fn, arg) is the key. */
typedef void manager_events_watch_fn(void *arg);
void manager_events_watch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg);
void manager_events_unwatch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg);
/* {"stored", "last_id", "missing"}; owned. */
json_t *manager_events_stats(const struct manager_events *ev);

/* ---- internal to events/ ---- */
struct manager_event_row {
	char *body; /* owned; one JSON object */
	int64_t wall_ns;
	int severity;
	char type[BH_EVENT_TYPE_MAX + 1];
	char host[BH_NAME_MAX + 1];
	char vm[BH_UUID_TEXT_SIZE], peer[BH_UUID_TEXT_SIZE];
	char verdict[8];
};
struct manager_names;
struct manager_names *manager_names_new(struct manager_inventory *inv,
					struct manager_rulebook *book);
void manager_names_free(struct manager_names *names);
/* Fills host, vm, peer, verdict and body of row from the event, names added. host: who sent it,
 * which is then who it is about, and what only the manager may say is left out; NULL for the
 * manager's own. */
void manager_names_add(struct manager_names *names, const struct bh_jtext *event, const char *host,
		       struct manager_event_row *row, uint64_t mono_ns);

#endif
