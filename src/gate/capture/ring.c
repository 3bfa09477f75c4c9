/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/ring.h"

#include "base/counter.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define V3_BLOCK      (1u << 20)
#define V3_RETIRE_MS  10
#define SLOT_SIZE     4096u
#define TX_SLOTS      2048u
#define TX_BATCH      32u
#define VLAN_SIZE     4
#define RESERVE	      (VLAN_SIZE + 12)
#define TX_DATA	      (TPACKET2_HDRLEN - sizeof(struct sockaddr_ll))
#define SOCKET_BUFFER (16 << 20)
#define MMAP_MIN_RING (1u << 20)

BH_COUNTER(gate_ring_large_lost, "offloaded frames that the socket had no room for");

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) ? -errno : 0;
}

/* ---- opening ---- */

static int interface_of(struct ring *ring, const char *name, struct bh_diag *diag)
{
	struct ifreq ifr = {};

	if (!*name || strlen(name) >= sizeof(ring->name)) {
		return bh_diag_set(diag, -EINVAL, "'%.40s' is no name of an interface", name);
	}
	memcpy(ring->name, name, strlen(name) + 1);
	memcpy(ifr.ifr_name, ring->name, sizeof(ring->name));
	if (ioctl(ring->fd, SIOCGIFINDEX, &ifr)) {
		return bh_diag_set(diag, -errno, "interface %s: %m", name);
	}
	ring->index = ifr.ifr_ifindex;
	if (ioctl(ring->fd, SIOCGIFHWADDR, &ifr)) {
		return bh_diag_set(diag, -errno, "interface %s: %m", name);
	}
	switch (ifr.ifr_hwaddr.sa_family) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		ring->link = GATE_LINK_ETHERNET;
		return 0;
	case ARPHRD_NONE:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
		ring->link = GATE_LINK_RAW;
		return 0;
	default:
		return bh_diag_set(diag, -EPROTONOSUPPORT,
				   "interface %s: a link layer (%u) that is not known", name,
				   ifr.ifr_hwaddr.sa_family);
	}
}

static int open_v3(struct ring *ring, const struct ring_options *options)
{
	struct tpacket_req3 req = {
		.tp_block_size = V3_BLOCK,
		.tp_block_nr = options->ring_mb ? options->ring_mb : 1,
		.tp_frame_size = 2048,
		.tp_retire_blk_tov = V3_RETIRE_MS,
	};
	int err = set(ring->fd, PACKET_VERSION, TPACKET_V3);

	err = err ? err : set(ring->fd, PACKET_RESERVE, RESERVE);
	req.tp_block_nr = req.tp_block_nr > 1 ? req.tp_block_nr : 2;
	req.tp_frame_nr = req.tp_block_nr * (req.tp_block_size / req.tp_frame_size);
	if (!err && setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req))) {
		err = -errno;
	}
	ring->block_size = req.tp_block_size;
	ring->block_count = req.tp_block_nr;
	ring->map_size = (size_t)req.tp_block_size * req.tp_block_nr;
	return err;
}

static int open_v2(struct ring *ring, const struct ring_options *options)
{
	uint32_t slots = (uint32_t)(((uint64_t)options->ring_mb << 20) / 2 / SLOT_SIZE);
	struct tpacket_req rx = {.tp_block_size = 16 * SLOT_SIZE, .tp_frame_size = SLOT_SIZE};
	struct tpacket_req tx = {.tp_block_size = 16 * SLOT_SIZE, .tp_frame_size = SLOT_SIZE};
	int buffer = SOCKET_BUFFER;
	int err = set(ring->fd, PACKET_VERSION, TPACKET_V2);

	slots = slots > 256 ? slots & ~15u : 256;
	rx.tp_block_nr = slots / 16;
	rx.tp_frame_nr = slots;
	tx.tp_block_nr = TX_SLOTS / 16;
	tx.tp_frame_nr = TX_SLOTS;
	err = err ? err : set(ring->fd, PACKET_VNET_HDR, 1);
	err = err ? err : set(ring->fd, PACKET_RESERVE, RESERVE);
	err = err ? err : set(ring->fd, PACKET_COPY_THRESH, 1);
	err = err ? err : set(ring->fd, PACKET_LOSS, 1); /* a frame that is refused is skipped */
	err = err ? err : set(ring->fd, PACKET_IGNORE_OUTGOING, 1);
	err = err ? err : set(ring->fd, PACKET_QDISC_BYPASS, 1);
	if (err) {
		return err;
	}
	/* for large frames; without the right to it the system's limit holds */
	if (setsockopt(ring->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) &&
	    setsockopt(ring->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer))) {
		return -errno;
	}
	if (setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &rx, sizeof(rx)) ||
	    setsockopt(ring->fd, SOL_PACKET, PACKET_TX_RING, &tx, sizeof(tx))) {
		return -errno;
	}
	ring->block_size = SLOT_SIZE;
	ring->block_count = slots;
	ring->tx_slots = TX_SLOTS;
	ring->map_size = (size_t)SLOT_SIZE * (slots + TX_SLOTS);
	ring->large = bh_alloc(RING_FRAME_MAX);
	return 0;
}

/* A socket that has a ring to send by sends nothing else: large frames go through another one,
 * which receives nothing (protocol 0). */
static int open_large(struct ring *ring)
{
	const struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_ifindex = ring->index};
	int buffer = SOCKET_BUFFER;

	if (!ring->inline_mode) {
		return 0;
	}
	ring->large_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ring->large_fd < 0 || set(ring->large_fd, PACKET_VNET_HDR, 1) ||
	    set(ring->large_fd, PACKET_QDISC_BYPASS, 1) ||
	    bind(ring->large_fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		return -errno;
	}
	if (setsockopt(ring->large_fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) &&
	    setsockopt(ring->large_fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer))) {
		return -errno;
	}
	return 0;
}

static int map_rings(struct ring *ring)
{
	ring->map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			 ring->fd, 0);
	if (ring->map == MAP_FAILED) {
		ring->map = NULL;
		return -errno;
	}
	if (ring->inline_mode) {
		ring->tx = ring->map + (size_t)SLOT_SIZE * ring->block_count;
	}
	return 0;
}

static int limit_snaplen(struct ring *ring, uint32_t snaplen)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, snaplen);
	struct sock_fprog program = {.len = 1, .filter = &code};

	if (ring->inline_mode || !snaplen || snaplen >= 65535) {
		return 0; /* inline a frame is whole or it can't go on */
	}
	return setsockopt(ring->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program))
		       ? -errno
		       : 0;
}

/* Bound only now: before that the ring would get frames of every interface. */
static int attach(struct ring *ring, const struct ring_options *options)
{
	const struct sockaddr_ll addr = {.sll_family = AF_PACKET,
					 .sll_protocol = htons(ETH_P_ALL),
					 .sll_ifindex = ring->index};
	struct packet_mreq mreq = {.mr_ifindex = ring->index, .mr_type = PACKET_MR_PROMISC};

	if (bind(ring->fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		return -errno;
	}
	if (options->promiscuous &&
	    setsockopt(ring->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq))) {
		return -errno;
	}
	/* The kernel's hash is symmetric and members join in the same order on both legs: both
	 * directions of a flow come to the same worker, from whichever side. */
	return options->workers > 1 ? set(ring->fd, PACKET_FANOUT,
					  (int)(options->group | PACKET_FANOUT_HASH << 16))
				    : 0;
}

int ring_open(const struct ring_options *options, struct ring *ret, struct bh_diag *diag)
{
	int err;

	*ret = (struct ring){.inline_mode = options->inline_mode, .large_fd = -1};
	ret->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ret->fd < 0) {
		return bh_diag_set(diag, -errno, "packet socket: %m");
	}
	err = interface_of(ret, options->interface, diag);
	if (err) {
		ring_close(ret);
		return err;
	}
	err = options->inline_mode ? open_v2(ret, options) : open_v3(ret, options);
	err = err ? err : map_rings(ret);
	err = err ? err : limit_snaplen(ret, options->snaplen);
	err = err ? err : open_large(ret);
	err = err ? err : attach(ret, options);
	if (err) {
		ring_close(ret);
		return bh_diag_set(diag, err, "interface %s: packet ring: %s", options->interface,
				   strerror(-err));
	}
	return 0;
}

void ring_close(struct ring *ring)
{
	if (ring->map) {
		munmap(ring->map, ring->map_size);
	}
	if (ring->fd >= 0) {
		close(ring->fd);
	}
	if (ring->large_fd >= 0) {
		close(ring->large_fd);
	}
	free(ring->large);
	*ring = (struct ring){.fd = -1, .large_fd = -1};
}

/* ---- receiving ---- */

static uint32_t status_of(const void *at)
{
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
}

static void give_back(void *at)
{
	__atomic_store_n((uint32_t *)at, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* The kernel takes the tag out of the frame: it is put back into the room before it. */
static void restore_vlan(struct ring_frame *f, unsigned int tpid, unsigned int tci)
{
	uint8_t *at = f->data - VLAN_SIZE;

	memmove(at, f->data, 12);
	at[12] = (uint8_t)(tpid >> 8);
	at[13] = (uint8_t)tpid;
	at[14] = (uint8_t)(tci >> 8);
	at[15] = (uint8_t)tci;
	f->data = at;
	f->size += VLAN_SIZE;
	f->wire_size += VLAN_SIZE;
	if (f->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		f->vnet.csum_start += VLAN_SIZE;
	}
	if (f->vnet.hdr_len) {
		f->vnet.hdr_len += VLAN_SIZE;
	}
}

static struct tpacket_block_desc *block_at(const struct ring *ring)
{
	return (void *)(ring->map + (size_t)ring->block_size * ring->block);
}

static int next_v3(struct ring *ring, struct ring_frame *ret)
{
	struct tpacket_block_desc *block = block_at(ring);
	struct tpacket3_hdr *frame;

	while (!ring->frames_left) {
		if (ring->held) {
			give_back(&block->hdr.bh1.block_status);
			ring->held = false;
			ring->block = (ring->block + 1) % ring->block_count;
			block = block_at(ring);
		}
		if (!(status_of(&block->hdr.bh1.block_status) & TP_STATUS_USER)) {
			return 0;
		}
		ring->held = true;
		ring->frames_left = block->hdr.bh1.num_pkts;
		ring->frame = (void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
	}
	frame = ring->frame;
	ring->frames_left--;
	ring->frame = (void *)((uint8_t *)frame + frame->tp_next_offset);
	*ret = (struct ring_frame){
		.data = (uint8_t *)frame + frame->tp_mac,
		.size = frame->tp_snaplen,
		.wire_size = frame->tp_len,
		.time_us = frame->tp_sec * 1000000ull + frame->tp_nsec / 1000,
		.unsummed = frame->tp_status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID),
	};
	if (frame->tp_status & TP_STATUS_VLAN_VALID && ret->size >= 12) {
		restore_vlan(ret,
			     frame->tp_status & TP_STATUS_VLAN_TPID_VALID ? frame->hv1.tp_vlan_tpid
									  : ETH_P_8021Q,
			     frame->hv1.tp_vlan_tci);
	}
	return 1;
}

/* The frame whose slot was too small, out of the socket. */
static bool take_large(struct ring *ring, struct ring_frame *f)
{
	struct iovec parts[] = {{&f->vnet, sizeof(f->vnet)},
				{ring->large + RESERVE, RING_FRAME_MAX - RESERVE}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t n = recvmsg(ring->fd, &msg, MSG_DONTWAIT | MSG_TRUNC);

	if (n < (ssize_t)sizeof(f->vnet) || (size_t)n > sizeof(f->vnet) + parts[1].iov_len) {
		bh_counter_add(&gate_ring_large_lost, 1);
		return false;
	}
	f->data = ring->large + RESERVE;
	f->size = f->wire_size = (uint32_t)(n - (ssize_t)sizeof(f->vnet));
	return true;
}

static struct tpacket2_hdr *slot_at(const struct ring *ring)
{
	return (void *)(ring->map + (size_t)SLOT_SIZE * ring->block);
}

static int next_v2(struct ring *ring, struct ring_frame *ret)
{
	for (;;) {
		struct tpacket2_hdr *slot = slot_at(ring);
		bool whole = true;
		uint32_t status;

		if (ring->held) {
			give_back(&slot->tp_status);
			ring->held = false;
			ring->block = (ring->block + 1) % ring->block_count;
			slot = slot_at(ring);
		}
		status = status_of(&slot->tp_status);
		if (!(status & TP_STATUS_USER)) {
			return 0;
		}
		ring->held = true;
		*ret = (struct ring_frame){
			.data = (uint8_t *)slot + slot->tp_mac,
			.size = slot->tp_snaplen,
			.wire_size = slot->tp_len,
			.time_us = slot->tp_sec * 1000000ull + slot->tp_nsec / 1000,
		};
		memcpy(&ret->vnet, ret->data - sizeof(ret->vnet), sizeof(ret->vnet));
		if (status & TP_STATUS_COPY) {
			whole = take_large(ring, ret);
		} else if (ret->size < ret->wire_size) {
			bh_counter_add(&gate_ring_large_lost, 1);
			whole = false;
		}
		if (!whole) {
			ring->dropped++;
			continue;
		}
		ret->unsummed = ret->vnet.flags &
				(VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID);
		if (status & TP_STATUS_VLAN_VALID && ret->size >= 12) {
			restore_vlan(ret,
				     status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid
									: ETH_P_8021Q,
				     slot->tp_vlan_tci);
		}
		return 1;
	}
}

int ring_next(struct ring *ring, struct ring_frame *ret)
{
	int got = ring->inline_mode ? next_v2(ring, ret) : next_v3(ring, ret);

	if (got) {
		ring->received++;
		ring->bytes += ret->size;
	}
	return got;
}

bool ring_is_crowded(const struct ring *ring)
{
	uint32_t ahead = (ring->block + ring->block_count / 4 * 3) % ring->block_count;
	const uint8_t *slot = ring->map + (size_t)SLOT_SIZE * ahead;

	return ring->inline_mode && status_of(slot) & TP_STATUS_USER;
}

/* ---- sending ---- */

void ring_flush(struct ring *ring)
{
	if (!ring->tx_queued) {
		return;
	}
	/* what the kernel refuses it marks and skips: seen when its slot is used again */
	(void)send(ring->fd, NULL, 0, MSG_DONTWAIT);
	ring->tx_queued = 0;
}

static bool send_now(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
		     uint32_t size)
{
	struct iovec parts[] = {{(void *)(uintptr_t)vnet, sizeof(*vnet)},
				{(void *)(uintptr_t)data, size}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	ring_flush(ring);
	if (!ring->inline_mode) {
		msg.msg_iov++;
		msg.msg_iovlen--;
	}
	if (sendmsg(ring->inline_mode ? ring->large_fd : ring->fd, &msg,
		    MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		ring->send_failed++;
		return false;
	}
	ring->sent++;
	return true;
}

bool ring_send(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
	       uint32_t size)
{
	struct tpacket2_hdr *slot;
	uint8_t *at;

	if (!ring->tx || size + sizeof(*vnet) > SLOT_SIZE - TX_DATA) {
		return send_now(ring, vnet, data, size);
	}
	slot = (void *)(ring->tx + (size_t)SLOT_SIZE * ring->tx_at);
	if (status_of(&slot->tp_status) & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING)) {
		ring->tx_queued = 1;
		ring_flush(ring);
		if (status_of(&slot->tp_status) & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING)) {
			ring->send_failed++;
			return false;
		}
	}
	at = (uint8_t *)slot + TX_DATA;
	memcpy(at, vnet, sizeof(*vnet));
	memcpy(at + sizeof(*vnet), data, size);
	slot->tp_len = size + sizeof(*vnet);
	__atomic_store_n(&slot->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	ring->tx_at = (ring->tx_at + 1) % ring->tx_slots;
	ring->sent++;
	if (++ring->tx_queued >= TX_BATCH) {
		ring_flush(ring);
	}
	return true;
}

void ring_count(struct ring *ring)
{
	struct tpacket_stats_v3 stats = {};
	socklen_t size = sizeof(stats);

	/* reading them sets them back */
	if (!getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size)) {
		ring->dropped += stats.tp_drops;
	}
}
