/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/ring.h"

#include "base/counter.h"
#include "base/util.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define TAGS_MAX   2u
#define TCP_OFF_AT 12u /* of the size in a TCP header */
#define UDP_SIZE   8u

BH_COUNTER(gate_fail_open, "frames passed on without inspection: too far behind");
BH_COUNTER(gate_ring_large_lost, "offloaded frames that the socket had no room for");
BH_COUNTER(gate_ring_too_large, "frames not sent: larger than the MTU of the other interface");
BH_COUNTER(gate_ring_down, "frames not sent: the other interface is down or gone");

void ring_count_fail_open(void)
{
	bh_counter_add(&gate_fail_open, 1);
}

void ring_count_down(void)
{
	bh_counter_add(&gate_ring_down, 1);
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
	uint8_t *at = f->data - RING_VLAN_SIZE;

	memmove(at, f->data, 12);
	at[12] = (uint8_t)(tpid >> 8);
	at[13] = (uint8_t)tpid;
	at[14] = (uint8_t)(tci >> 8);
	at[15] = (uint8_t)tci;
	f->data = at;
	f->size += RING_VLAN_SIZE;
	f->wire_size += RING_VLAN_SIZE;
	if (f->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		f->vnet.csum_start += RING_VLAN_SIZE;
	}
	if (f->vnet.hdr_len) {
		f->vnet.hdr_len += RING_VLAN_SIZE;
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
				{ring->large + RING_RESERVE, RING_FRAME_MAX - RING_RESERVE}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t n = recvmsg(ring->fd, &msg, MSG_DONTWAIT | MSG_TRUNC);

	if (n < (ssize_t)sizeof(f->vnet) || (size_t)n > sizeof(f->vnet) + parts[1].iov_len) {
		bh_counter_add(&gate_ring_large_lost, 1);
		return false;
	}
	f->data = ring->large + RING_RESERVE;
	f->size = f->wire_size = (uint32_t)(n - (ssize_t)sizeof(f->vnet));
	return true;
}

static struct tpacket2_hdr *slot_at(const struct ring *ring)
{
	return (void *)(ring->map + (size_t)ring->block_size * ring->block);
}

static int next_v2(struct ring *ring, struct ring_frame *ret, struct ring_counts *counts)
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
			counts->dropped++;
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

int ring_next(struct ring *ring, struct ring_frame *ret, struct ring_counts *counts)
{
	int got;

	if (ring->fd < 0) {
		return 0;
	}
	got = ring->inline_mode ? next_v2(ring, ret, counts) : next_v3(ring, ret);
	if (got) {
		counts->received++;
		counts->bytes += ret->size;
	}
	return got;
}

bool ring_is_crowded(const struct ring *ring)
{
	uint32_t ahead = (ring->block + ring->block_count / 4 * 3) % ring->block_count;
	const uint8_t *slot = ring->map + (size_t)ring->block_size * ahead;

	return ring->inline_mode && status_of(slot) & TP_STATUS_USER;
}

/* ---- sending ---- */

static void refused(struct ring_counts *counts)
{
	counts->send_failed++;
	if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV) {
		bh_counter_add(&gate_ring_down, 1);
	}
}

/* Those before `done` are over; the places of the others become the first. */
static void keep_rest(struct ring *ring, uint32_t done)
{
	struct ring_tx *tx = ring->tx;

	for (uint32_t i = done; done && i < ring->tx_queued; i++) {
		struct iovec part = tx->parts[i - done];

		tx->parts[i - done] = tx->parts[i];
		tx->parts[i] = part;
	}
	ring->tx_queued -= done;
}

void ring_flush(struct ring *ring, struct ring_counts *counts)
{
	uint32_t done = 0;

	while (ring->fd >= 0 && done < ring->tx_queued) {
		int n = sendmmsg(ring->fd, ring->tx->msgs + done, ring->tx_queued - done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			counts->sent += (uint64_t)n;
			done += (uint32_t)n;
		} else if (errno == EAGAIN) {
			break; /* no room just now: they stay queued */
		} else {
			refused(counts);
			done++;
		}
	}
	keep_rest(ring, done);
}

static bool send_now(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
		     uint32_t size, struct ring_counts *counts)
{
	struct iovec parts[] = {{(void *)(uintptr_t)vnet, sizeof(*vnet)},
				{(void *)(uintptr_t)data, size}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	ring_flush(ring, counts);
	if (!ring->inline_mode) {
		msg.msg_iov++;
		msg.msg_iovlen--;
	}
	if (sendmsg(ring->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		refused(counts);
		return false;
	}
	counts->sent++;
	return true;
}

static uint32_t link_size(const struct ring *ring, const uint8_t *data, uint32_t size)
{
	uint32_t at = ETH_HLEN;

	if (ring->link != GATE_LINK_ETHERNET) {
		return 0;
	}
	for (unsigned int i = 0; i < TAGS_MAX && at <= size; i++) {
		unsigned int type = (unsigned int)data[at - 2] << 8 | data[at - 1];

		if (type != ETH_P_8021Q && type != ETH_P_8021AD) {
			break;
		}
		at += RING_VLAN_SIZE;
	}
	return at;
}

static bool fits(const struct ring *ring, const struct virtio_net_hdr *vnet, const uint8_t *data,
		 uint32_t size)
{
	uint32_t most = ring->mtu + link_size(ring, data, size);

	if (size <= most) {
		return true;
	}
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE || vnet->csum_start + TCP_OFF_AT >= size) {
		return false;
	}
	size = vnet->csum_start;
	if ((vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4 ||
	    (vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6) {
		size += (uint32_t)data[vnet->csum_start + TCP_OFF_AT] >> 4 << 2;
	} else {
		size += UDP_SIZE;
	}
	return size + vnet->gso_size <= most;
}

bool ring_fits(const struct ring *ring, const struct virtio_net_hdr *vnet, const uint8_t *data,
	       uint32_t size)
{
	bool ok = fits(ring, vnet, data, size);

	bh_counter_add(&gate_ring_too_large, !ok);
	return ok;
}

bool ring_send(struct ring *ring, const struct virtio_net_hdr *vnet, const void *data,
	       uint32_t size, struct ring_counts *counts)
{
	struct iovec *part;

	if (ring->fd < 0) {
		bh_counter_add(&gate_ring_down, 1);
	}
	if (ring->fd < 0 || !ring_fits(ring, vnet, data, size)) {
		counts->send_failed++;
		return false;
	}
	if (!ring->tx || size + sizeof(*vnet) > ring->tx->room) {
		return send_now(ring, vnet, data, size, counts);
	}
	if (ring->tx_queued == RING_BATCH) {
		ring_flush(ring, counts);
		if (ring->tx_queued == RING_BATCH) {
			counts->send_failed++;
			return false;
		}
	}
	part = &ring->tx->parts[ring->tx_queued++];
	memcpy(part->iov_base, vnet, sizeof(*vnet));
	memcpy((uint8_t *)part->iov_base + sizeof(*vnet), data, size);
	part->iov_len = size + sizeof(*vnet);
	if (ring->tx_queued == RING_BATCH) {
		ring_flush(ring, counts);
	}
	return true;
}

void ring_count(const struct ring *ring, struct ring_counts *counts)
{
	struct tpacket_stats_v3 stats = {};
	socklen_t size = sizeof(stats);

	/* reading them sets them back */
	if (ring->fd >= 0 && !getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size)) {
		counts->dropped += stats.tp_drops;
	}
}
