/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks: flow records folded by hour. One row says that two ends talked (or tried to) by one
 * protocol and port under one rule in one hour: how often, how much, when first and last. The map,
 * what-if, suggestions and hits of rules read talks instead of millions of events.
 *
 * Theory of operation
 *   `flow.new` and `flow.refused` count; `flow.closed` adds packets and bytes (a row with count 0
 *   is a connection that ended in a later hour than it began). A connection between two VMs is told
 *   by the NIC of each, so it has a row per direction. The hours in work are kept in memory by the
 *   events' worker and written to talks.db every few seconds together with the id of the last event
 *   that is in them; what comes after that id is folded anew at the next start, so a kill loses and
 *   doubles nothing. An hour has a limit of rows. From half of it on new rows leave out addresses
 *   of VMs (MANAGER_TALK_FOLDED: the identities stay), above it they go into one row per tenant and
 *   verdict that says so (MANAGER_TALK_OVERFLOW: no ends, no port).
 *
 * Readers: any thread, with a connection of their own; they see what was written, which is at most
 * MANAGER_TALKS_FLUSH_S seconds old. The struct is stored as it is in memory.
 */
#ifndef BH_MANAGER_EVENTS_TALKS_H
#define BH_MANAGER_EVENTS_TALKS_H

#include "base/diag.h"
#include "manager/events/scope.h"

#include <stdatomic.h>

#define MANAGER_TALKS_FLUSH_S  5
#define MANAGER_TALKS_PER_HOUR 262144 /* by default */

enum {
	MANAGER_TALK_FOLDED = 1,   /* addresses of VMs are left out */
	MANAGER_TALK_OVERFLOW = 2, /* stands for what had no room */
};

struct manager_talk {
	/* what makes a row: */
	uint8_t src[16], dst[16]; /* zeros: left out, or none (ARP) */
	uint32_t hour;		  /* since 1970 UTC */
	uint32_t net;
	uint32_t src_identity, dst_identity; /* as in flow events: 1 host, 2 world, 3 multicast */
	uint32_t src_tenant, dst_tenant;     /* 0: that end is none of our VMs */
	uint32_t rule, other_rule;	     /* as in flow events; 0: none */
	uint16_t port;			     /* of the destination; ICMP: type << 8 | code */
	uint8_t proto;
	uint8_t dir;	 /* enum bh_policy_dir, of the NIC that told */
	uint8_t verdict; /* enum bh_policy_action */
	uint8_t flags;
	uint16_t unused; /* 0 */
	/* what is added up: */
	uint64_t count; /* attempts */
	uint64_t packets, bytes;
	uint32_t first_s, last_s; /* wall clock */
};
#define MANAGER_TALK_KEY_SIZE offsetof(struct manager_talk, count)

struct manager_talks_query {
	const char *path;	     /* manager_events_talks_path() */
	uint64_t since_ns, until_ns; /* whole hours that touch this window; until 0: no end */
	struct manager_scope scope;
	uint64_t limit_ms;	   /* 0: none; -ETIME when it is over */
	const atomic_bool *cancel; /* NULL: none; -ECANCELED when it becomes true */
};
/* talk lives until the call returns. Non-zero ends the iteration and is returned. */
typedef int manager_talk_fn(const struct manager_talk *talk, void *arg);
/* Oldest hour first. Any thread; blocking. None, before anything was ever written: the writer makes
 * the file with the first events. */
[[nodiscard]] int manager_talks_each(const struct manager_talks_query *query, manager_talk_fn *fn,
				     void *arg, struct bh_diag *diag);

/* ---- writing: the events' worker only ---- */
struct manager_talks;

struct manager_talks_options {
	const char *path;
	uint64_t days;	   /* kept; 0: 30 */
	uint64_t rows_max; /* of all hours; 0: 20 millions */
	size_t per_hour;   /* 0: MANAGER_TALKS_PER_HOUR */
};
[[nodiscard]] int manager_talks_open(const struct manager_talks_options *options,
				     struct manager_talks **ret, struct bh_diag *diag);
/* Does not write: flush before. NULL is fine. */
void manager_talks_close(struct manager_talks *talks);
/* The last event that is in what was written; 0 none. */
uint64_t manager_talks_position(const struct manager_talks *talks);
/* Adds a record. Its hour is found from last_s, which a host said: what is more than a day old or
 * an hour ahead of now_s counts as of now. -EIO and others when an old hour can't be read. */
[[nodiscard]] int manager_talks_add(struct manager_talks *talks, const struct manager_talk *record,
				    uint64_t now_s, struct bh_diag *diag);
/* Everything up to the event `position` has been added: writes when it is time (or `now`), and
 * forgets old hours. On failure all stays to be written. */
[[nodiscard]] int manager_talks_flush(struct manager_talks *talks, uint64_t position,
				      uint64_t now_s, bool now, struct bh_diag *diag);

#endif
