/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet socket with its rings (packet(7), Documentation/networking/packet_mmap.rst).
 *
 * A sensor reads TPACKET_V3: blocks of frames as long as they are, handed over when they are
 * full or after a few milliseconds. Inline that delay would be latency, so there it is
 * TPACKET_V2: a slot per frame, seen at once; frames that do not fit into a slot (receive
 * offload) come through the socket, in order, announced by their slot. Inline also has a ring to
 * send by, and both carry the virtio_net header, so that offloaded frames cross as they are.
 */
#ifndef BH_GATE_CAPTURE_RING_H
#define BH_GATE_CAPTURE_RING_H

#include "gate/capture/capture.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#define RING_FRAME_MAX (65536 + 256) /* an offloaded frame with its headers */

struct ring_options {
	const char *interface;
	bool inline_mode, promiscuous;
	unsigned int worker, workers;
	unsigned int group; /* of the fanout */
	uint32_t ring_mb, snaplen;
};

/* What came; valid until the next call. */
struct ring_frame {
	uint8_t *data;
	uint32_t size, wire_size;
	uint64_t time_us;
	bool unsummed; /* the checksum of the transport is not made yet, or is known to be right */
	struct virtio_net_hdr vnet;
};

struct ring {
	int fd, index; /* of the interface */
	int large_fd;  /* inline: sends what is too large for a slot; -1 */
	char name[16];
	uint16_t link;
	bool inline_mode;
	uint8_t *map;
	size_t map_size;
	/* receiving */
	uint32_t block_size, block_count, block; /* V3: blocks; V2: slots */
	struct tpacket3_hdr *frame;		 /* V3: in the open block */
	uint32_t frames_left;
	bool held; /* the block or slot is ours until the next call */
	uint8_t *large;
	/* sending */
	uint8_t *tx;
	uint32_t tx_slots, tx_at, tx_queued;
	uint64_t received, bytes, dropped, sent, send_failed;
};

[[nodiscard]] int ring_open(const struct ring_options *options, struct ring *ret,
			    struct bh_diag *diag);
void ring_close(struct ring *ring);
/* 1 with a frame, 0 nothing there. */
int ring_next(struct ring *ring, struct ring_frame *ret);
/* More than three quarters of the slots are waiting. */
bool ring_is_crowded(const struct ring *ring);
/* Queued; ring_flush() sends. false: no room, or refused. */
bool ring_send(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
	       uint32_t size);
void ring_flush(struct ring *ring);
/* Takes up the kernel's counts. */
void ring_count(struct ring *ring);

#endif
