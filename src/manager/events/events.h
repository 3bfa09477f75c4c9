/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: taken from the bus, given names, kept in events.db, told to followers.
 *
 * Theory of operation
 *   What producers sent (bus/events.h) comes in batches. Each event is judged by its producer's
 *   numbers (repeats are dropped, numbers that never came become a `gap` event), gets names and the
 *   tenants of its ends, and is written together with the numbers in one transaction by a worker
 *   thread with a connection of its own (archive.h); the batch is acknowledged to the bus after
 *   that. If it can't be written the batch comes again: nothing is lost, pressure goes back to the
 *   producers. Flow events of a tenant beyond its quota are counted and told of instead of kept
 *   (ration.h); talks have them all the same. The manager's own events go the same way without the
 *   bus. What is written goes into talks (talks.h), alerts (alerts.h) and the tail: the newest ones
 *   in memory, for followers that keep up. Everything else is read by searches, which are worker
 *   threads with connections of their own and an end in time; the loop never reads the database.
 *
 * Loop thread only, but for the worker inside.
 */
#ifndef BH_MANAGER_EVENTS_EVENTS_H
#define BH_MANAGER_EVENTS_EVENTS_H

#include "base/buf.h"
#include "bus/events.h"
#include "manager/events/archive.h"
#include "manager/events/ration.h"
#include "manager/events/talks.h"
#include "manager/inventory/inventory.h"
#include "manager/rulebook/rulebook.h"

#include <uv.h>

struct manager_events;

struct manager_events_options {
	uv_loop_t *loop;
	const char *path; /* of events.db; talks.db lies beside it */
	uint64_t keep;
	uint64_t keep_bytes, keep_days; /* 0: no limit */
	uint64_t talks_days;		/* 0: 30 */
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	manager_ration_fn *quota; /* of flow events; NULL: nobody has one */
	void *quota_arg;
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

/* ---- reading ---- */
/* On this thread, for tests and tools: oldest first, the newest `limit` that match, or with
 * has_after the first ones behind `after`. *ret_scanned: up to which id everything was looked at.
 */
[[nodiscard]] int manager_events_list(struct manager_events *ev,
				      const struct manager_event_filter *filter,
				      manager_event_fn *fn, void *arg, uint64_t *ret_scanned,
				      struct bh_diag *diag);

/* The same in a worker. format: runs there, and puts an item into arg, a struct bh_wbuf. */
#define MANAGER_SEARCHES_AT_ONCE 3
#define MANAGER_SEARCHES_WAITING 256
#define MANAGER_SEARCH_BYTES_MAX (16u << 20) /* of a result; it ends early then */
struct manager_search;
struct manager_search_result {
	int err; /* with words in diag; else 0 */
	struct bh_wbuf text;
	BH_VEC(size_t) ends; /* of the items in text; newest first, or oldest with has_after */
	struct manager_listed listed;
	struct bh_diag diag;
};
/* On the loop, once, later. result is the search's. */
typedef void manager_search_fn(struct manager_search_result *result, void *arg);
/* NULL: too many are waiting. */
struct manager_search *manager_events_search(struct manager_events *ev,
					     const struct manager_event_filter *filter,
					     manager_event_fn *format, manager_search_fn *done,
					     void *arg);
/* done is not called any more. */
void manager_search_cancel(struct manager_search *search);
/* The newest events from memory, oldest first: false when those behind filter->after are not there
 * (any more); at most filter->limit. */
bool manager_events_tail(struct manager_events *ev, const struct manager_event_filter *filter,
			 manager_event_fn *fn, void *arg, uint64_t *ret_scanned);
const char *manager_events_path(const struct manager_events *ev);
const char *manager_events_talks_path(const struct manager_events *ev);
uint64_t manager_events_last(const struct manager_events *ev);

/* fn is called after each commit; (fn, arg) is the key. */
typedef void manager_events_watch_fn(void *arg);
void manager_events_watch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg);
void manager_events_unwatch(struct manager_events *ev, manager_events_watch_fn *fn, void *arg);
/* As watch, with every row as it was committed, before the watchers; there is one at most. */
struct manager_event_row;
typedef void manager_events_row_fn(uint64_t id, const struct manager_event_row *row, void *arg);
void manager_events_each_new(struct manager_events *ev, manager_events_row_fn *fn, void *arg);
/* {"stored", "last_id", "missing", "bytes"}; owned. */
json_t *manager_events_stats(const struct manager_events *ev);
/* The last write failed: why; "" all is well. */
const char *manager_events_problem(const struct manager_events *ev);

/* ---- internal to events/ ---- */
struct manager_event_row {
	char *body; /* owned; one JSON object */
	int64_t wall_ns;
	int severity;
	uint32_t src_tenant, dst_tenant; /* 0: none */
	uint8_t vm_end;			 /* which end `vm` is: 0 src, 1 dst */
	bool is_talk;
	char type[BH_EVENT_TYPE_MAX + 1];
	char host[BH_NAME_MAX + 1];
	char vm[BH_UUID_TEXT_SIZE], peer[BH_UUID_TEXT_SIZE];
	char verdict[8];
	struct manager_talk talk; /* but for its times */
};
/* Borrows. */
void manager_row_of(const struct manager_event_row *event, struct manager_row *ret);
struct manager_names;
struct manager_names *manager_names_new(struct manager_inventory *inv,
					struct manager_rulebook *book);
void manager_names_free(struct manager_names *names);
/* Fills host, vm, peer, verdict, tenants, talk and body of row from the event, names added. host:
 * who sent it, which is then who it is about, and what only the manager may say is left out; NULL
 * for the manager's own. */
void manager_names_add(struct manager_names *names, const struct bh_jtext *event, const char *host,
		       struct manager_event_row *row, uint64_t mono_ns);
/* What a flow event says, but for tenants and times. False: it is no talk. */
bool manager_talk_of(const char *type, const struct bh_jtext *event, struct manager_talk *ret);

/* At the start, events that were written and are not in the talks that were: a kill came between.
 * path: of events.db. */
[[nodiscard]] int manager_talks_catch_up(struct manager_talks *talks, const char *path,
					 uint64_t last_id, struct bh_diag *diag);

/* search.c */
struct manager_searches;
struct manager_searches *manager_searches_new(uv_loop_t *loop, const char *path);
/* Waits for those that run. */
void manager_searches_free(struct manager_searches *searches);
struct manager_searches *manager_events_searches(struct manager_events *ev);

/* tail.c: the newest events in memory */
#define MANAGER_TAIL_ROWS  8192u
#define MANAGER_TAIL_BYTES (16u << 20)
struct manager_tail {
	struct manager_event_row *rows; /* a ring */
	uint64_t first_id;
	size_t head, count, bytes;
};
void manager_tail_put(struct manager_tail *tail, uint64_t id, struct manager_event_row *row);
void manager_tail_done(struct manager_tail *tail);
bool manager_tail_list(const struct manager_tail *tail, const struct manager_event_filter *filter,
		       manager_event_fn *fn, void *arg, uint64_t *ret_scanned);

#endif
