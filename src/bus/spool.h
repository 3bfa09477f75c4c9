/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event spool of a producer: a bounded log on disk between whoever makes events and the bus.
 *
 * bh_spool_append() numbers an event and writes it before it returns, so a kill -9 loses nothing
 * that was appended. Disk syncs are for the caller's schedule (bh_spool_sync_take); a power loss
 * costs what was appended since the last sync, 100 ms in the programs. Numbers are never used
 * twice: after a power loss, a damaged tail or the loss of the folder the spool starts a new epoch
 * (a UUID, numbers from 1); what the old epoch left is sent first.
 *
 * When the spool is full the newest events are refused, so that order stays. Their numbers are used
 * up and one `gap` event stands in for each run of them as soon as there is room; that run's size
 * survives a kill too.
 *
 * Not thread-safe; one process at a time (locked). Files are read as foreign bytes.
 */
#ifndef BH_BUS_SPOOL_H
#define BH_BUS_SPOOL_H

#include "base/buf.h"
#include "base/diag.h"
#include "model/id.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bh_spool;

struct bh_spool_options {
	const char *dir;      /* made if missing */
	const char *producer; /* name that events are stamped with */
	uint64_t max_bytes;   /* on disk; 0: 256 MiB; at least 256 KiB */
	const char *boot_id;  /* which run of the kernel this is; NULL: the kernel's own */
};

/* -EBUSY when another process has it. */
[[nodiscard]] int bh_spool_open(const struct bh_spool_options *options, struct bh_spool **ret,
				struct bh_diag *diag);
/* Syncs. NULL is fine. */
void bh_spool_close(struct bh_spool *spool);

enum bh_spool_error {
	BH_SPOOL_FULL = 1,  /* refused and counted as part of a gap */
	BH_SPOOL_EMPTY = 2, /* nothing to read */
};

/* Stamps producer, epoch and seq into event (not taken over) and appends it. 0, BH_SPOOL_FULL, or
 * -EMSGSIZE when the event is larger than BH_EVENT_SIZE_MAX (nothing is numbered then). */
[[nodiscard]] int bh_spool_append(struct bh_spool *spool, json_t *event, uint64_t wall_ns,
				  uint64_t *ret_seq, struct bh_diag *diag);
/* The same for an event as text (bh_event_text_begin). */
[[nodiscard]] int bh_spool_append_text(struct bh_spool *spool, const struct bh_wbuf *members,
				       uint64_t wall_ns, uint64_t *ret_seq, struct bh_diag *diag);
/* count events were lost before they reached the spool (a kernel buffer ran over): uses up that
 * many numbers and puts a gap event with that reason. */
void bh_spool_lose(struct bh_spool *spool, uint64_t count, const char *reason, uint64_t wall_ns);

struct bh_spool_batch {
	char epoch[BH_UUID_TEXT_SIZE];
	uint64_t first, last; /* sequence numbers of the first and last event */
	size_t count;
	char *data; /* the events, one a line, the last one without line feed; owned */
	size_t size;
	uint64_t segment; /* where it ends: for bh_spool_ack */
	uint64_t offset;
};
/* The oldest events that are not acknowledged, all of one epoch, at most max_count and max_bytes
 * (but at least one). Again the same until they are acknowledged, with more behind when more came.
 * 0 or BH_SPOOL_EMPTY. */
[[nodiscard]] int bh_spool_peek(struct bh_spool *spool, size_t max_count, size_t max_bytes,
				struct bh_spool_batch *ret, struct bh_diag *diag);
void bh_spool_batch_done(struct bh_spool_batch *batch);
/* Everything up to the end of batch need not be kept. */
void bh_spool_ack(struct bh_spool *spool, const struct bh_spool_batch *batch, uint64_t wall_ns);

/* Descriptors whose data is not on the disk yet, to be given to fdatasync() and close() by any
 * thread. Returns how many were stored; 0: all is synced or handed out. */
size_t bh_spool_sync_take(struct bh_spool *spool, int *ret_fds, size_t max);

struct bh_spool_stats {
	char epoch[BH_UUID_TEXT_SIZE];
	uint64_t next_seq;
	uint64_t waiting; /* events not acknowledged (gaps count as one) */
	uint64_t bytes;	  /* on disk */
	uint64_t max_bytes;
	uint64_t lost;	    /* refused since open */
	uint64_t truncated; /* bytes cut off by the recovery at open */
	bool new_epoch;	    /* open started one */
};
void bh_spool_stats_get(const struct bh_spool *spool, struct bh_spool_stats *ret);

#endif
