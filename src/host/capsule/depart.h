/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM that leaves: its life is in depart.c, what it sends in push.c. Loop only.
 *
 * Theory of operation
 *   Push    Everything that the kernel has of the VM is walked in slices and sent in parts, at most
 *           PUSH_WINDOW unanswered. Whatever goes wrong on the way (a lost part, a target that
 *           starts anew) begins another push with part 0; parts are never sent twice.
 *   Sent    What the target should hold is remembered by tuple. So a walk sends only what is
 *           another than before, and what it does not meet any more is told as gone; a walk mends
 *           whatever the journal lost.
 *   Follow  The kernel's journal names what changes. One part is under way at a time and takes
 *           what came meanwhile: the round trip sets the pace.
 *   End     When the VM is suspended for the move, or does not run here (any more), the journal is
 *           emptied, one more walk brings counters, and the end mark follows. The guest stands
 *           still meanwhile, so that walk looks only at what was sent, unless the journal has lost
 *           something or nearly everything here is this VM's.
 */
#ifndef BH_HOST_CAPSULE_DEPART_H
#define BH_HOST_CAPSULE_DEPART_H

#include "host/capsule/internal.h"

#define PUSH_WINDOW 4

enum depart_phase {
	DEPART_READY,  /* may leave; the target has not asked */
	DEPART_WHOLE,  /* everything is on its way */
	DEPART_FOLLOW, /* what changes goes at once */
	DEPART_LAST,   /* suspended: the last changes and counters */
	DEPART_FINAL,  /* the end mark is sent */
};

/* A connection as the target was told of it. */
struct move_sent {
	struct move_key key;
	struct bh_hash hash;
	uint64_t print; /* of what may change */
	uint32_t walk;	/* that met it last */
	UT_hash_handle hh;
};

struct depart_part {
	struct bh_capsule_writer *writer;
	const void *data;
	size_t size;
	uint32_t seq;
};

struct departure {
	struct hostd_moves *moves; /* NULL when it is over; lives on for the bus */
	unsigned int refs;	   /* requests on their way */
	uint8_t id[16], uuid[16];
	char id_text[MOVE_ID_SIZE];
	char target[BH_NAME_MAX + 1];
	uint64_t begun_ns;
	enum depart_phase phase;
	bool asked;  /* the target has said `start` */
	bool gone;   /* the VM does not run here: what is there is the end */
	bool again;  /* something was missed: walk once more */
	bool lost;   /* by the journal, since the last walk of everything began */
	bool broken; /* push anew at retry_ns */
	uint64_t retry_ns;
	struct hostd_dp_move_nics nics;

	/* push.c */
	uint32_t push; /* number of it: answers to older ones mean nothing */
	uint32_t seq;
	uint32_t walk_no;
	bool walk_last; /* it began when the VM was gone: the end mark may follow */
	bool drain;	/* the journal is empty but for what this walk brought */
	struct hostd_dp_walk *walk;
	struct bh_capsule_writer *writer; /* the part that is being filled */
	BH_VEC(struct depart_part) ready;
	unsigned int unanswered;
	struct move_sent *sent;
	struct bh_hash sum;
	struct bh_hasher *hasher;
	struct bh_pki_signer *signer;
	char *cert;
	size_t cert_size;

	uint64_t parts, bytes, conns, gones, walks, pushes;
	uint64_t whole_ns, final_ns; /* how long from the beginning, 0 not yet */
	struct departure *prev, *next;
};

/* ---- push.c ---- */
void push_begin(struct departure *d);
/* Drops what is half sent; nothing goes out until the next push_begin. */
void push_stop(struct departure *d);
void push_slice(struct departure *d);
bool push_working(const struct departure *d);
/* The journal has said these. */
void push_conn(struct departure *d, const struct bh_capsule_conn *conn);
void push_gone(struct departure *d, const struct bh_capsule_tuple *tuple);
/* The journal has been read to its end. */
void push_flush(struct departure *d);
/* Another walk: records were lost, or the VM is gone. */
void push_walk(struct departure *d);

/* ---- depart.c ---- */
void departure_unref(struct departure *d);

#endif
