/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/xsk.h"

#include "base/util.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define KICKS_MAX  512u /* the kernel sends up to 32 frames for each */
#define QUARTER(n) ((n) / 4)

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* ---- memory ---- */

int xsk_pool_new(struct xsk_pool *ret, uint32_t frames, struct bh_diag *diag)
{
	*ret = (struct xsk_pool){.frames = frames, .fd = -1};
	ret->memory = mmap(NULL, (size_t)frames * XSK_FRAME_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ret->memory == MAP_FAILED) {
		ret->memory = NULL;
		return bh_diag_set(diag, -errno, "memory for %u frames: %m", frames);
	}
	ret->unused = bh_alloc_array(frames, sizeof(*ret->unused));
	for (uint32_t i = 0; i < frames; i++) {
		ret->unused[i] = (uint64_t)(frames - 1 - i) * XSK_FRAME_SIZE;
	}
	ret->unused_count = frames;
	return 0;
}

void xsk_pool_free(struct xsk_pool *pool)
{
	if (pool->memory) {
		munmap(pool->memory, (size_t)pool->frames * XSK_FRAME_SIZE);
	}
	free(pool->unused);
	*pool = (struct xsk_pool){.fd = -1};
}

void xsk_release(struct xsk_pool *pool, uint64_t address)
{
	pool->unused[pool->unused_count++] = address & ~(uint64_t)(XSK_FRAME_SIZE - 1);
}

bool xsk_unused(struct xsk_pool *pool, struct xsk_frame *ret)
{
	if (!pool->unused_count) {
		return false;
	}
	ret->address = pool->unused[--pool->unused_count];
	ret->data = pool->memory + ret->address;
	ret->size = XSK_FRAME_SIZE;
	return true;
}

/* ---- opening ---- */

static int set(int fd, int option, uint32_t value)
{
	return setsockopt(fd, SOL_XDP, option, &value, sizeof(value)) ? -errno : 0;
}

static int map_ring(struct xsk_ring *ring, int fd, off_t at, const struct xdp_ring_offset *offsets,
		    size_t slot_size)
{
	uint8_t *map;

	ring->map_size = offsets->desc + ring->size * slot_size;
	map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);
	if (map == MAP_FAILED) {
		return -errno;
	}
	ring->map = map;
	ring->producer = (uint32_t *)(void *)(map + offsets->producer);
	ring->consumer = (uint32_t *)(void *)(map + offsets->consumer);
	ring->flags = (uint32_t *)(void *)(map + offsets->flags);
	ring->slots = map + offsets->desc;
	return 0;
}

static int make_rings(struct xsk *xsk, uint32_t size)
{
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);
	int err = set(xsk->fd, XDP_UMEM_FILL_RING, size);

	err = err ? err : set(xsk->fd, XDP_UMEM_COMPLETION_RING, size);
	err = err ? err : set(xsk->fd, XDP_RX_RING, size);
	err = err ? err : set(xsk->fd, XDP_TX_RING, size);
	if (!err && getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length)) {
		err = -errno;
	}
	if (err) {
		return err;
	}
	xsk->rx.size = xsk->tx.size = xsk->fill.size = xsk->done.size = size;
	err = map_ring(&xsk->rx, xsk->fd, XDP_PGOFF_RX_RING, &offsets.rx, sizeof(struct xdp_desc));
	err = err ? err
		  : map_ring(&xsk->tx, xsk->fd, XDP_PGOFF_TX_RING, &offsets.tx,
			     sizeof(struct xdp_desc));
	err = err ? err
		  : map_ring(&xsk->fill, xsk->fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr,
			     sizeof(uint64_t));
	return err ? err
		   : map_ring(&xsk->done, xsk->fd, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr,
			      sizeof(uint64_t));
}

/* The first socket brings the memory and how frames are moved, the others have both of it. */
static int bind_to(struct xsk *xsk, struct xsk_pool *pool, const struct xsk_where *where)
{
	struct sockaddr_xdp at = {
		.sxdp_family = AF_XDP, .sxdp_ifindex = where->index, .sxdp_queue_id = where->queue};

	if (pool->fd < 0) {
		at.sxdp_flags = XDP_USE_NEED_WAKEUP;
		at.sxdp_flags |= where->zero_copy ? XDP_ZEROCOPY : XDP_COPY;
	} else {
		at.sxdp_flags = XDP_SHARED_UMEM;
		at.sxdp_shared_umem_fd = (uint32_t)pool->fd;
	}
	if (bind(xsk->fd, (const struct sockaddr *)&at, sizeof(at))) {
		return -errno;
	}
	pool->fd = pool->fd < 0 ? xsk->fd : pool->fd;
	return 0;
}

int xsk_open(struct xsk *ret, struct xsk_pool *pool, const struct xsk_where *where,
	     uint32_t ring_size, struct bh_diag *diag)
{
	const struct xdp_umem_reg reg = {.addr = (uintptr_t)pool->memory,
					 .len = (uint64_t)pool->frames * XSK_FRAME_SIZE,
					 .chunk_size = XSK_FRAME_SIZE};
	int err;

	*ret = (struct xsk){.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
	if (ret->fd < 0) {
		return bh_diag_set(diag, -errno, "socket of AF_XDP: %m");
	}
	if (pool->fd < 0 && setsockopt(ret->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg))) {
		err = -errno;
		xsk_close(ret);
		return bh_diag_set(diag, err, "%u MB for AF_XDP: %s%s",
				   (unsigned int)(reg.len >> 20), strerror(-err),
				   err == -ENOBUFS ? " (ulimit -l, LimitMEMLOCK of the unit)" : "");
	}
	err = make_rings(ret, ring_size);
	err = err ? err : bind_to(ret, pool, where);
	if (err) {
		xsk_close(ret);
		return bh_diag_set(diag, err, "interface %s, queue %u: AF_XDP: %s", where->name,
				   where->queue, strerror(-err));
	}
	return 0;
}

static void unmap_ring(struct xsk_ring *ring)
{
	if (ring->map) {
		munmap(ring->map, ring->map_size);
	}
}

void xsk_close(struct xsk *xsk)
{
	unmap_ring(&xsk->rx);
	unmap_ring(&xsk->tx);
	unmap_ring(&xsk->fill);
	unmap_ring(&xsk->done);
	if (xsk->fd >= 0) {
		close(xsk->fd);
	}
	*xsk = (struct xsk){.fd = -1};
}

/* ---- frames ---- */

/* Rings that we read: published when what we knew of is used up, or by xsk_flush. */
static bool more_to_read(struct xsk_ring *ring)
{
	if (!ring->free) {
		store(ring->consumer, ring->at);
		ring->free = load(ring->producer) - ring->at;
	}
	return ring->free != 0;
}

static bool room_to_write(struct xsk_ring *ring)
{
	if (!ring->free) {
		ring->free = ring->size - (ring->at - load(ring->consumer));
	}
	return ring->free != 0;
}

static uint32_t use_slot(struct xsk_ring *ring)
{
	ring->free--;
	return ring->at++ & (ring->size - 1);
}

bool xsk_take(struct xsk *xsk, const struct xsk_pool *pool, struct xsk_frame *ret)
{
	const struct xdp_desc *slots = xsk->rx.slots;
	struct xdp_desc slot;

	if (xsk->fd < 0 || !more_to_read(&xsk->rx)) {
		return false;
	}
	slot = slots[use_slot(&xsk->rx)];
	*ret = (struct xsk_frame){
		.data = pool->memory + slot.addr, .size = slot.len, .address = slot.addr};
	return true;
}

bool xsk_send(struct xsk *xsk, uint64_t address, uint32_t size)
{
	struct xdp_desc *slots = xsk->tx.slots;

	if (xsk->fd < 0 || !room_to_write(&xsk->tx) || xsk->sending == xsk->done.size) {
		return false;
	}
	slots[use_slot(&xsk->tx)] = (struct xdp_desc){.addr = address, .len = size};
	xsk->sending++;
	return true;
}

static void take_back(struct xsk *xsk, struct xsk_pool *pool, uint64_t *sent)
{
	const uint64_t *slots = xsk->done.slots;

	while (xsk->sending && more_to_read(&xsk->done)) {
		xsk_release(pool, slots[use_slot(&xsk->done)]);
		xsk->sending--;
		++*sent;
	}
	store(xsk->done.consumer, xsk->done.at);
}

/* What is free, up to the ring: the memory has room for all rings at once. */
static void fill(struct xsk *xsk, struct xsk_pool *pool)
{
	uint64_t *slots = xsk->fill.slots;

	while (pool->unused_count && room_to_write(&xsk->fill)) {
		slots[use_slot(&xsk->fill)] = pool->unused[--pool->unused_count];
	}
	store(xsk->fill.producer, xsk->fill.at);
}

static int kick(struct xsk *xsk)
{
	for (unsigned int i = 0; i < KICKS_MAX; i++) {
		uint32_t before = load(xsk->tx.consumer);

		if (before == xsk->tx.at || !(load(xsk->tx.flags) & XDP_RING_NEED_WAKEUP)) {
			return 0;
		}
		if (sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS) {
			return -errno;
		}
		if (load(xsk->tx.consumer) == before) {
			return 0; /* no room just now: they stay queued */
		}
	}
	return 0;
}

int xsk_flush(struct xsk *xsk, struct xsk_pool *pool, uint64_t *sent)
{
	int err;

	if (xsk->fd < 0) {
		return 0;
	}
	store(xsk->rx.consumer, xsk->rx.at);
	store(xsk->tx.producer, xsk->tx.at);
	err = kick(xsk);
	take_back(xsk, pool, sent);
	fill(xsk, pool);
	return err;
}

bool xsk_is_crowded(const struct xsk *xsk)
{
	return load(xsk->rx.producer) - xsk->rx.at > xsk->rx.size - QUARTER(xsk->rx.size);
}

uint64_t xsk_dropped(const struct xsk *xsk)
{
	struct xdp_statistics stats = {};
	socklen_t size = sizeof(stats);

	if (xsk->fd < 0 || getsockopt(xsk->fd, SOL_XDP, XDP_STATISTICS, &stats, &size)) {
		return 0;
	}
	return stats.rx_dropped + stats.rx_ring_full;
}
