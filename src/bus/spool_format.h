/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a spool's files, inside the room. Pure; readers take foreign bytes. Checks are SipHash
 * with the epoch as key: they find torn and rotten bytes and records of another spool, they do not
 * authenticate.
 */
#ifndef BH_BUS_SPOOL_FORMAT_H
#define BH_BUS_SPOOL_FORMAT_H

#include "base/buf.h"
#include "model/event.h"

#include <stdbool.h>
#include <stdint.h>

#define BH_SPOOL_SLOT_SIZE   512
#define BH_SPOOL_HEADER_SIZE 64
#define BH_SPOOL_RECORD_HEAD 20 /* check u64, size u32, seq u64; check covers what is behind it */

struct bh_spool_state {
	uint64_t generation;
	uint8_t epoch[16];		/* of what is appended now */
	uint64_t head_index;		/* the newest segment */
	uint64_t ack_index, ack_offset; /* everything before is acknowledged */
	uint64_t lost_from, lost_to;	/* refused numbers that no gap event covers yet; 0: none */
	uint8_t lost_reason;		/* enum bh_spool_reason */
	bool clean;			/* closed and synced */
	char boot_id[40];
};
enum bh_spool_reason { BH_SPOOL_REASON_FULL, BH_SPOOL_REASON_DISK };

void bh_spool_state_encode(const struct bh_spool_state *state, uint8_t slot[BH_SPOOL_SLOT_SIZE]);
/* The newer good one of up to two slots. -EBADMSG when there is none. */
[[nodiscard]] int bh_spool_state_decode(const void *slots, size_t size,
					struct bh_spool_state *ret_state);

struct bh_spool_header {
	uint64_t index;
	uint64_t first_seq; /* the next number when the segment was made */
	uint8_t epoch[16];
};
void bh_spool_header_encode(const struct bh_spool_header *header,
			    uint8_t buf[BH_SPOOL_HEADER_SIZE]);
[[nodiscard]] int bh_spool_header_read(struct bh_rbuf *r, struct bh_spool_header *ret_header);

struct bh_spool_record {
	uint64_t seq;
	const char *data; /* borrowed */
	uint32_t size;
};
/* Puts the head before `size` bytes that stand at record + BH_SPOOL_RECORD_HEAD already. */
void bh_spool_record_seal(uint8_t *record, const uint8_t epoch[16], uint64_t seq, uint32_t size);
/* The next whole record with a number above `after`. -EBADMSG at the end and at anything else;
 * r->pos then stands where the last whole record ended. */
[[nodiscard]] int bh_spool_record_read(struct bh_rbuf *r, const uint8_t epoch[16], uint64_t after,
				       struct bh_spool_record *ret_record);

#endif
