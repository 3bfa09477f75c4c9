/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing of ring.h; what goes through it is in ring.c. */
#include "gate/capture/ring.h"

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

#define V3_BLOCK      (1u << 20)
#define V3_RETIRE_MS  10
#define BLOCK_SLOTS   16u
#define SLOT_MIN      2048u
#define SLOT_MAX      16384u
#define SLOT_REST     256u /* of a slot: its header, the reserve, headers before the datagram */
#define SLOTS_MIN     256u
#define SOCKET_BUFFER (16 << 20)

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) ? -errno : 0;
}

/* Without the right to it the system's limit holds. */
static int set_buffer(int fd, int force, int option)
{
	int size = SOCKET_BUFFER;

	return setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) &&
			       setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size))
		       ? -errno
		       : 0;
}

/* All or nothing of what comes: `snaplen` 0 is nothing. */
static int set_filter(int fd, uint32_t snaplen)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, snaplen);
	struct sock_fprog program = {.len = 1, .filter = &code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

void ring_look(struct ring *ring)
{
	struct ifreq ifr = {};

	memcpy(ifr.ifr_name, ring->name, sizeof(ring->name));
	if (!ioctl(ring->fd, SIOCGIFMTU, &ifr)) {
		ring->mtu = (uint32_t)ifr.ifr_mtu;
	}
}

bool ring_is_gone(const struct ring *ring)
{
	struct sockaddr_ll addr = {};
	socklen_t size = sizeof(addr);

	return getsockname(ring->fd, (struct sockaddr *)&addr, &size) == 0 &&
	       addr.sll_ifindex != ring->index;
}

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

	err = err ? err : set(ring->fd, PACKET_RESERVE, RING_RESERVE);
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

static uint32_t slot_size(uint32_t mtu)
{
	uint32_t size = SLOT_MIN;

	while (size < mtu + SLOT_REST && size < SLOT_MAX) {
		size *= 2;
	}
	return size;
}

static struct ring_tx *new_tx(uint32_t room)
{
	struct ring_tx *tx = bh_alloc(sizeof(*tx) + (size_t)RING_BATCH * room);

	tx->room = room;
	for (unsigned int i = 0; i < RING_BATCH; i++) {
		tx->parts[i].iov_base = tx->data + (size_t)i * room;
		tx->msgs[i].msg_hdr.msg_iov = &tx->parts[i];
		tx->msgs[i].msg_hdr.msg_iovlen = 1;
	}
	return tx;
}

static int open_v2(struct ring *ring, const struct ring_options *options)
{
	uint32_t size = slot_size(ring->mtu);
	uint32_t slots = (uint32_t)(((uint64_t)options->ring_mb << 20) / 2 / size);
	struct tpacket_req rx = {.tp_block_size = BLOCK_SLOTS * size, .tp_frame_size = size};
	int err = set(ring->fd, PACKET_VERSION, TPACKET_V2);

	slots = slots > SLOTS_MIN ? slots - slots % BLOCK_SLOTS : SLOTS_MIN;
	rx.tp_block_nr = slots / BLOCK_SLOTS;
	rx.tp_frame_nr = slots;
	err = err ? err : set(ring->fd, PACKET_VNET_HDR, 1);
	err = err ? err : set(ring->fd, PACKET_RESERVE, RING_RESERVE);
	err = err ? err : set(ring->fd, PACKET_COPY_THRESH, 1);
	err = err ? err : set(ring->fd, PACKET_IGNORE_OUTGOING, 1);
	err = err ? err : set(ring->fd, PACKET_QDISC_BYPASS, 1);
	err = err ? err : set_buffer(ring->fd, SO_RCVBUFFORCE, SO_RCVBUF); /* large frames */
	err = err ? err : set_buffer(ring->fd, SO_SNDBUFFORCE, SO_SNDBUF);
	if (err) {
		return err;
	}
	if (setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &rx, sizeof(rx))) {
		return -errno;
	}
	ring->block_size = size;
	ring->block_count = slots;
	ring->map_size = (size_t)size * slots;
	ring->large = bh_alloc(RING_FRAME_MAX);
	ring->tx = new_tx(size);
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
	return 0;
}

/* Bound only now: before that the ring would get frames of every interface. Until it has joined the
 * others it gets nothing, or frames would come twice. */
static int attach(struct ring *ring, const struct ring_options *options)
{
	const struct sockaddr_ll addr = {.sll_family = AF_PACKET,
					 .sll_protocol = htons(ETH_P_ALL),
					 .sll_ifindex = ring->index};
	struct packet_mreq mreq = {.mr_ifindex = ring->index, .mr_type = PACKET_MR_PROMISC};
	uint32_t snaplen = options->snaplen;
	int err = set_filter(ring->fd, 0);

	if (err) {
		return err;
	}
	if (bind(ring->fd, (const struct sockaddr *)&addr, sizeof(addr)) ||
	    (options->promiscuous &&
	     setsockopt(ring->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)))) {
		return -errno;
	}
	err = options->workers > 1 ? ring_group_join(options->group, options, ring) : 0;
	if (err) {
		return err;
	}
	/* inline a frame is whole or it can't go on */
	snaplen = ring->inline_mode || !snaplen || snaplen > RING_FRAME_MAX ? RING_FRAME_MAX
									    : snaplen;
	return set_filter(ring->fd, snaplen);
}

int ring_about(struct ring *ret, const char *name, struct bh_diag *diag)
{
	int err;

	*ret = (struct ring){.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
	if (ret->fd < 0) {
		return bh_diag_set(diag, -errno, "packet socket: %m");
	}
	err = interface_of(ret, name, diag);
	if (err) {
		ring_close(ret);
		return err;
	}
	ring_look(ret);
	return 0;
}

int ring_open(const struct ring_options *options, struct ring *ret, struct bh_diag *diag)
{
	int err;

	*ret = (struct ring){.inline_mode = options->inline_mode};
	ret->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ret->fd < 0) {
		return bh_diag_set(diag, -errno, "packet socket: %m");
	}
	err = interface_of(ret, options->interface, diag);
	if (!err && options->workers > 1 &&
	    !ring_group_is_turn(options->group, options, ret->index)) {
		err = -EAGAIN;
	}
	if (err) {
		ring_close(ret);
		return err;
	}
	ring_look(ret);
	err = options->inline_mode ? open_v2(ret, options) : open_v3(ret, options);
	err = err ? err : map_rings(ret);
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
	free(ring->large);
	free(ring->tx);
	*ring = (struct ring){.fd = -1};
}
