/* SPDX-License-Identifier: Apache-2.0 */
/* A spool in memory, between spool.c (writing and reading) and spool_open.c (taking up what is on
 * disk). */
#ifndef BH_BUS_SPOOL_INTERNAL_H
#define BH_BUS_SPOOL_INTERNAL_H

#include "base/util.h"
#include "bus/spool.h"
#include "bus/spool_format.h"

struct bh_spool_segment {
	uint64_t index;
	uint64_t size; /* of whole records, header included */
	uint64_t left; /* records that are not acknowledged */
	struct bh_spool_header header;
};

struct bh_spool {
	char *dir;
	char *producer;
	char boot_id[40];
	uint64_t max_bytes;
	uint64_t segment_bytes;
	int dir_fd; /* also the lock */
	int state_fd;
	int head_fd; /* -1: the next append makes a segment */
	int tail_fd; /* of the first segment, for reading; -1: not open */
	bool head_dirty;
	bool dir_dirty;
	BH_VEC(int) unsynced;			  /* former heads */
	BH_VEC(struct bh_spool_segment) segments; /* oldest first, the head last */
	struct bh_spool_state state;
	char epoch_text[BH_UUID_TEXT_SIZE];
	uint64_t next_seq;
	uint8_t scratch[BH_SPOOL_RECORD_HEAD + BH_EVENT_SIZE_MAX];
	uint64_t bytes;
	uint64_t lost;
	uint64_t truncated;
	bool new_epoch;
};

void bh_spool_segment_name(uint64_t index, char ret[32]);
struct bh_spool_segment *bh_spool_head(struct bh_spool *s); /* there must be one */
[[nodiscard]] int bh_spool_state_write(struct bh_spool *s);
/* Makes a new head, of the state's epoch. */
[[nodiscard]] int bh_spool_head_make(struct bh_spool *s);
/* Removes the oldest segment. */
void bh_spool_first_remove(struct bh_spool *s);
/* Removes whole segments that are acknowledged, but never the head. */
void bh_spool_drop_acked(struct bh_spool *s);
/* Counts bytes that were there and could not be used. */
void bh_spool_note_cut(struct bh_spool *s, uint64_t bytes);

#endif
