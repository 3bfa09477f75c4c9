/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of AF_XDP (Documentation/networking/af_xdp.rst, kernel 5.11): one for each receive queue
 * of an interface that a worker reads. All sockets of a worker share one memory, so a frame
 * that came by one leaves by another where it lies. One thread.
 *
 * A frame of the memory is at any time with one of: the free list, a socket's fill ring (the kernel
 * may write it), its receive ring, the caller (between xsk_take and xsk_send or xsk_release), a
 * send ring, a completion ring.
 */
#ifndef BH_GATE_CAPTURE_XSK_H
#define BH_GATE_CAPTURE_XSK_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XSK_FRAME_SIZE 4096u /* with 256 bytes before it for the driver */

/* Seen from here: one end is ours, the other the kernel's. */
struct xsk_ring {
	uint32_t *producer, *consumer, *flags;
	void *slots;
	uint32_t size;	   /* a power of two */
	uint32_t at, free; /* our end, not published yet; slots that we may use up to there */
	void *map;
	size_t map_size;
};

struct xsk_pool {
	uint8_t *memory;
	uint32_t frames;
	uint64_t *unused; /* addresses in the memory */
	uint32_t unused_count;
	int fd; /* of the first socket, which the memory is registered with; -1: none yet */
};

struct xsk {
	int fd; /* -1: not open */
	struct xsk_ring rx, tx, fill, done;
	uint32_t sending; /* frames that are the send or the completion ring's */
};

struct xsk_frame {
	uint8_t *data;
	uint32_t size;
	uint64_t address; /* in the memory */
};

struct xsk_where {
	const char *name; /* of the interface */
	unsigned int index, queue;
	bool zero_copy; /* asked for: refused where the driver can't */
};

[[nodiscard]] int xsk_pool_new(struct xsk_pool *ret, uint32_t frames, struct bh_diag *diag);
void xsk_pool_free(struct xsk_pool *pool);
/* Nothing comes until the interface's program hands frames to it (xdp_group_join). */
[[nodiscard]] int xsk_open(struct xsk *ret, struct xsk_pool *pool, const struct xsk_where *where,
			   uint32_t ring_size, struct bh_diag *diag);
void xsk_close(struct xsk *xsk);

/* false: nothing there. The frame is the caller's. */
bool xsk_take(struct xsk *xsk, const struct xsk_pool *pool, struct xsk_frame *ret);
void xsk_release(struct xsk_pool *pool, uint64_t address);
/* A frame to be filled; false: all are in use. */
bool xsk_unused(struct xsk_pool *pool, struct xsk_frame *ret);
/* Queued; the frame is the socket's if that is true. false: no room. */
bool xsk_send(struct xsk *xsk, uint64_t address, uint32_t size);
/* Tells the kernel of what was queued and has it sent; takes back what is through, gives it room to
 * receive. *sent grows by what has left. 0, or -errno of the interface. */
int xsk_flush(struct xsk *xsk, struct xsk_pool *pool, uint64_t *sent);
/* More than three quarters of the receive ring are waiting. */
bool xsk_is_crowded(const struct xsk *xsk);
/* Frames that the kernel had no room for, since the beginning. */
uint64_t xsk_dropped(const struct xsk *xsk);

#endif
