/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet socket with its rings (packet(7), Documentation/networking/packet_mmap.rst).
 *
 * A sensor reads TPACKET_V3: blocks of frames as long as they are, handed over when they are
 * full or after a few milliseconds. Inline that delay would be latency, so there it is
 * TPACKET_V2: a slot per frame, seen at once; frames that do not fit into a slot (receive
 * offload) come through the socket, in order, announced by their slot. Frames are sent in batches
 * by sendmmsg(): a ring to send by gives the kernel pages instead of a copy, which it then copies
 * itself for whoever is on this host (6.18: veth, tap), and only 14 bytes of them are linear. Both
 * ways carry the virtio_net header, so that offloaded frames cross as they are: with a checksum
 * that is still to be made, and as one frame that somebody else cuts into segments.
 */
#ifndef BH_GATE_CAPTURE_RING_H
#define BH_GATE_CAPTURE_RING_H

#include "gate/capture/capture.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define RING_FRAME_MAX (65536 + 256) /* an offloaded frame with its headers */
#define RING_VLAN_SIZE 4
#define RING_BATCH     32
#define RING_RESERVE   (RING_VLAN_SIZE + 12) /* before a frame: for a tag that is put back */

/*
 * The workers' sockets of a leg share its packets out among them (fanout.c). The number of a worker
 * is the place in which it joined, so they join in order; again when the interface has come back as
 * another one. Any thread.
 */
struct ring_leg {
	int index;	     /* of the interface that they joined for */
	unsigned int joined; /* so many workers, from the first on */
	uint16_t id;	     /* the kernel's */
	int type;
};
struct ring_group {
	pthread_mutex_t lock;
	struct ring_leg legs[2];
};
void ring_group_init(struct ring_group *group);
void ring_group_done(struct ring_group *group);

struct ring_options {
	const char *interface;
	bool inline_mode, promiscuous, by_flow;
	unsigned int worker, workers, leg;
	struct ring_group *group; /* NULL with one worker */
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

/* Frames that wait to be sent, each behind its virtio_net header. */
struct ring_tx {
	struct mmsghdr msgs[RING_BATCH];
	struct iovec parts[RING_BATCH];
	uint32_t room; /* of each */
	uint8_t data[];
};

struct ring {
	int fd, index; /* of the interface; fd -1: not open */
	char name[16];
	uint16_t link;
	uint32_t mtu;
	bool inline_mode;
	uint8_t *map;
	size_t map_size;
	/* receiving */
	uint32_t block_size, block_count, block; /* V3: blocks; V2: slots */
	struct tpacket3_hdr *frame;		 /* V3: in the open block */
	uint32_t frames_left;
	bool held; /* the block or slot is ours until the next call */
	uint8_t *large;
	/* sending; NULL: not inline */
	struct ring_tx *tx;
	uint32_t tx_queued;
};

/* Kept over the life of several rings of a leg. */
struct ring_counts {
	uint64_t received, bytes, dropped, sent, send_failed;
};

/* -EAGAIN: another worker has to join before. */
[[nodiscard]] int ring_open(const struct ring_options *options, struct ring *ret,
			    struct bh_diag *diag);
void ring_close(struct ring *ring);
/* The interface has been taken away: this ring gets nothing any more. */
bool ring_is_gone(const struct ring *ring);
/* The MTU may have been changed. */
void ring_look(struct ring *ring);
/* 1 with a frame, 0 nothing there. */
int ring_next(struct ring *ring, struct ring_frame *ret, struct ring_counts *counts);
/* More than three quarters of the slots are waiting. */
bool ring_is_crowded(const struct ring *ring);
/* Queued; ring_flush() sends. false: no room, refused, or larger than the interface takes. */
bool ring_send(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
	       uint32_t size, struct ring_counts *counts);
/* What the interface has no room for stays queued (tx_queued). */
void ring_flush(struct ring *ring, struct ring_counts *counts);
/* A frame, or each that it will be cut into, is of a size that the interface takes; counted when
 * not. With virtio_net headers the kernel does not look (6.1). */
bool ring_fits(const struct ring *ring, const struct virtio_net_hdr *vnet, const uint8_t *data,
	       uint32_t size);
/* A frame that was passed on without inspection; one that found its interface down. */
void ring_count_fail_open(void);
void ring_count_down(void);
/* Only what the interface is, by a socket that gets nothing: no ring. */
[[nodiscard]] int ring_about(struct ring *ret, const char *name, struct bh_diag *diag);
/* Takes up the kernel's counts. */
void ring_count(const struct ring *ring, struct ring_counts *counts);

/* link.c: the state of each leg shown on the other; `held`: it was set down for that. */
struct ring_links {
	const struct ring *legs[2];
	bool held[2];
};
void ring_links_begin(struct ring_links *links);
void ring_links_look(struct ring_links *links);
/* Up again what was set down. */
void ring_links_end(struct ring_links *links);

/* fanout.c: whether it is this worker's turn; joins. */
bool ring_group_is_turn(struct ring_group *group, const struct ring_options *options, int index);
[[nodiscard]] int ring_group_join(struct ring_group *group, const struct ring_options *options,
				  struct ring *ring);

#endif
