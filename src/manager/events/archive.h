/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on disk: events.db, one writer, any number of readers.
 *
 * Theory of operation
 *   Ids are given in the order of arrival and have no holes. The newest frame (block.h) is written
 *   anew with each commit until it is full; 64 full ones are sealed as a block, whose terms are a
 *   unit of the index (terms.h). A reader walks from the newest to the oldest (or forward from an
 *   id): the frames that are not sealed yet, then block by block, where the terms say which rows
 *   are worth a look. So a search costs what it finds, not what there is, and an event costs a few
 *   hundred bytes less on disk than its text. Old blocks go when there are too many events, too
 *   many bytes, or when their last event is too old.
 *
 *   What versions before this one wrote (a row per event) is turned into blocks when it is opened;
 *   the old file stays beside as events.db.old until all of it is in.
 */
#ifndef BH_MANAGER_EVENTS_ARCHIVE_H
#define BH_MANAGER_EVENTS_ARCHIVE_H

#include "manager/events/filter.h"
#include "manager/store/db.h"

struct manager_archive; /* the writer: one thread at a time */

struct manager_archive_options {
	const char *path;
	uint64_t keep;	     /* events; the last block more may be there */
	uint64_t keep_bytes; /* of blocks; 0: no limit */
	uint64_t keep_days;  /* 0: no limit */
	unsigned int merge;  /* small units (terms.h) at once; 0: MANAGER_UNIT_BLOCKS */
};
struct manager_archive_stats {
	uint64_t first_id, last_id; /* 0: nothing */
	uint64_t bytes;		    /* of blocks */
	uint64_t blocks;
};
[[nodiscard]] int manager_archive_open(const struct manager_archive_options *options,
				       struct manager_archive **ret, struct bh_diag *diag);
void manager_archive_close(struct manager_archive *archive); /* NULL is fine */
/* One transaction: begin, add rows, anything else in manager_archive_db(), end. A failure of any of
 * them calls for manager_archive_abort(): nothing of it has happened then. */
[[nodiscard]] int manager_archive_begin(struct manager_archive *archive, struct bh_diag *diag);
[[nodiscard]] int manager_archive_add(struct manager_archive *archive,
				      const struct manager_row *row, struct bh_diag *diag);
[[nodiscard]] int manager_archive_end(struct manager_archive *archive, uint64_t now_ns,
				      struct bh_diag *diag);
void manager_archive_abort(struct manager_archive *archive);
struct manager_db *manager_archive_db(struct manager_archive *archive);
/* As committed. */
void manager_archive_stats(const struct manager_archive *archive,
			   struct manager_archive_stats *ret);

/* ---- reading: a connection per thread ---- */
struct manager_reader;

[[nodiscard]] int manager_reader_open(const char *path, struct manager_reader **ret,
				      struct bh_diag *diag);
void manager_reader_close(struct manager_reader *reader);     /* NULL is fine */
uint64_t manager_reader_first(struct manager_reader *reader); /* the oldest id; 0 nothing there */

/* json: the text that the scope of the filter sees (view.h). */
typedef void manager_event_fn(uint64_t id, const char *type, const char *json, void *arg);
/* The same with what is beside the text; non-zero ends it. */
typedef int manager_row_fn(uint64_t id, const struct manager_row *row, const char *json, void *arg);
struct manager_listed {
	uint64_t scanned; /* everything up to here was looked at (down to here when newest first) */
	bool complete;	  /* nothing is left to look at */
	uint32_t count;
};
/* Newest first, or with has_after oldest first. -ENOENT and others of the store. A damaged frame is
 * left out and counted. When budget_ms is over it ends early: complete is false, and a next call
 * from `scanned` on goes on. */
[[nodiscard]] int manager_reader_list(struct manager_reader *reader,
				      const struct manager_event_filter *filter, manager_row_fn *fn,
				      void *arg, struct manager_listed *ret, struct bh_diag *diag);

#endif
