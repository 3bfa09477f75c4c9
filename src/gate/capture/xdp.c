/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces by AF_XDP: one as a sensor, or two with everything that passes between them. A worker
 * reads the queues whose number modulo the workers is its own, of both legs alike, and has their
 * frames in one memory: what goes on is sent from where it lies. Fail-open as in afpacket.c.
 *
 * Frames come as the driver has them, without a virtio_net header: what the other end's offloads
 * have left undone (checksums, segments) does not cross whole. So this is for cards, and for
 * virtual interfaces whose ends have their offloads off. An interface that is taken away ends the
 * gate: what it takes to read it anew, the process has no right to any more.
 */
#include "gate/capture/group.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH	   64
#define LOOK_US	   100000 /* at the interfaces */
#define PENDING_MS 1	  /* until what had no room is tried again */
#define RING_MIN   256u
#define RING_MAX   16384u
#define NOTHING	   UINT64_MAX

struct xdp_side {
	struct ring about; /* not a ring: the interface's name, MTU and state */
	struct xdp_leg *leg;
	struct xsk *socks;
	unsigned int count, first; /* first: that is asked next */
	bool down;		   /* what was queued before that is sent when it is up again */
	struct ring_counts counts;
};

struct xdp_source {
	struct gate_source source;
	struct gate_live_options options;
	struct gate_capture_group *own_group;
	struct xdp_side sides[2];
	unsigned int count, turn, since_flush;
	struct xsk_pool pool;
	struct pollfd *fds; /* of all sockets */
	nfds_t fd_count;
	struct ring_links links;
	bool pass_link, pending;
	uint64_t current;   /* the frame that was handed out; NOTHING */
	unsigned int queue; /* which of its side's sockets it came by */
	uint64_t now_us, number, looked_us;
};

static uint64_t clock_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* ---- frames ---- */

/* Takes the frame, sent or not. By the queue of the number that it came by, so that a flow's frames
 * stay in order. */
static bool send_frame(struct xdp_source *x, unsigned int side, uint64_t address, uint32_t size)
{
	static const struct virtio_net_hdr plain;
	struct xdp_side *to = &x->sides[side];
	struct xsk *sock = &to->socks[x->queue % to->count];

	if (to->down) {
		ring_count_down();
	}
	if (to->down || !ring_fits(&to->about, &plain, x->pool.memory + address, size) ||
	    !xsk_send(sock, address, size)) {
		xsk_release(&x->pool, address);
		to->counts.send_failed++;
		return false;
	}
	return true;
}

static void flush(struct xdp_source *x)
{
	x->pending = false;
	for (unsigned int i = 0; i < x->count; i++) {
		struct xdp_side *side = &x->sides[i];

		side->down = false;
		for (unsigned int k = 0; k < side->count; k++) {
			int err = xsk_flush(&side->socks[k], &x->pool, &side->counts.sent);

			side->down = side->down || err == -ENETDOWN || err == -ENXIO;
			x->pending = x->pending || side->socks[k].sending;
		}
	}
	x->since_flush = 0;
	x->now_us = clock_us();
}

static bool take_from(struct xdp_source *x, unsigned int number, struct xsk_frame *ret)
{
	struct xdp_side *side = &x->sides[number];

	for (unsigned int i = 0; i < side->count; i++) {
		struct xsk *sock;

		x->queue = side->first++ % side->count;
		sock = &side->socks[x->queue];
		while (xsk_take(sock, &x->pool, ret)) {
			side->counts.received++;
			side->counts.bytes += ret->size;
			if (!x->options.fail_open || x->count != 2 || !xsk_is_crowded(sock)) {
				return true;
			}
			(void)send_frame(x, 1 - number, ret->address, ret->size);
			ring_count_fail_open();
		}
	}
	return false;
}

static bool take(struct xdp_source *x, struct xsk_frame *ret, unsigned int *ret_side)
{
	x->turn++;
	for (unsigned int i = 0; i < x->count; i++) {
		*ret_side = (x->turn + i) % x->count;
		if (take_from(x, *ret_side, ret)) {
			return true;
		}
	}
	return false;
}

/* ---- waiting ---- */

static bool is_gone(const struct xdp_side *side)
{
	struct ifreq ifr = {};

	memcpy(ifr.ifr_name, side->about.name, sizeof(side->about.name));
	return ioctl(side->about.fd, SIOCGIFINDEX, &ifr) || ifr.ifr_ifindex != side->about.index;
}

static int look(struct xdp_source *x, struct bh_diag *diag)
{
	x->looked_us = x->now_us;
	for (unsigned int i = 0; i < x->count; i++) {
		struct xdp_side *side = &x->sides[i];

		if (is_gone(side)) {
			return bh_diag_set(diag, -ENODEV,
					   "interface %s is gone, which capture.mode af-xdp can't "
					   "wait for",
					   side->about.name);
		}
		ring_look(&side->about);
	}
	if (x->pass_link) {
		ring_links_look(&x->links);
	}
	return 0;
}

static int wait_for(const struct xdp_source *x, int wait_ms, struct bh_diag *diag)
{
	if (poll(x->fds, x->fd_count, x->pending ? PENDING_MS : wait_ms) < 0 && errno != EINTR) {
		return bh_diag_set(diag, -errno, "poll: %m");
	}
	return 0;
}

/* ---- the source ---- */

static int xdp_next(struct gate_source *source, struct gate_packet *p, int wait_ms,
		    struct bh_diag *diag)
{
	struct xdp_source *x = BH_CONTAINER_OF(source, struct xdp_source, source);
	struct xsk_frame frame;
	unsigned int side;
	int err = 0;

	if (x->current != NOTHING) {
		xsk_release(&x->pool, x->current);
		x->current = NOTHING;
	}
	if (++x->since_flush >= BATCH) {
		flush(x);
	}
	if (x->now_us - x->looked_us > LOOK_US) {
		err = look(x, diag);
	}
	if (!err && !take(x, &frame, &side)) {
		flush(x);
		err = wait_for(x, wait_ms, diag);
		x->now_us = clock_us();
		if (!err && !take(x, &frame, &side)) {
			flush(x);
			return look(x, diag);
		}
	}
	if (err) {
		return err;
	}
	x->current = frame.address;
	p->data = frame.data;
	p->size = p->wire_size = frame.size;
	p->time_us = x->now_us;
	p->number = ++x->number;
	p->link = x->sides[side].about.link;
	p->source = (uint16_t)side;
	p->unsummed = false;
	p->partial = NULL;
	return 1;
}

static int xdp_forward(struct gate_source *source, const struct gate_packet *p)
{
	struct xdp_source *x = BH_CONTAINER_OF(source, struct xdp_source, source);
	uint64_t address = x->current;

	if (x->count != 2 || address == NOTHING) {
		return 0;
	}
	x->current = NOTHING;
	return send_frame(x, 1u - p->source, address, p->size) ? 0 : -EAGAIN;
}

static int xdp_inject(struct gate_source *source, const struct gate_packet *p, bool other_side,
		      const void *data, size_t size)
{
	struct xdp_source *x = BH_CONTAINER_OF(source, struct xdp_source, source);
	unsigned int side = x->count == 2 && other_side ? 1u - p->source : p->source;
	struct xsk_frame frame;

	if (size > XSK_FRAME_SIZE || !xsk_unused(&x->pool, &frame)) {
		x->sides[side].counts.send_failed++;
		return -EAGAIN;
	}
	memcpy(frame.data, data, size);
	return send_frame(x, side, frame.address, (uint32_t)size) ? 0 : -EAGAIN;
}

static void xdp_stats(const struct gate_source *source, struct gate_source_stats *ret)
{
	const struct xdp_source *x = BH_CONTAINER_OF(source, struct xdp_source, source);

	*ret = (struct gate_source_stats){};
	for (unsigned int i = 0; i < x->count; i++) {
		const struct xdp_side *side = &x->sides[i];

		for (unsigned int k = 0; k < side->count; k++) {
			ret->kernel_drops += xsk_dropped(&side->socks[k]);
		}
		ret->packets += side->counts.received;
		ret->bytes += side->counts.bytes;
		ret->sent += side->counts.sent;
		ret->send_failed += side->counts.send_failed;
	}
}

/* ---- opening ---- */

static void close_socks(struct xdp_source *x)
{
	for (unsigned int i = 0; i < x->count; i++) {
		struct xdp_side *side = &x->sides[i];

		for (unsigned int k = 0; k < side->count; k++) {
			xsk_close(&side->socks[k]);
		}
		free(side->socks);
		side->socks = NULL;
		side->count = 0;
	}
	free(x->fds);
	x->fds = NULL;
	x->fd_count = 0;
	xsk_pool_free(&x->pool);
}

static void xdp_free(struct gate_source *source)
{
	struct xdp_source *x = BH_CONTAINER_OF(source, struct xdp_source, source);

	if (x->pool.memory) {
		flush(x);
	}
	if (x->pass_link) {
		ring_links_end(&x->links);
	}
	close_socks(x);
	for (unsigned int i = 0; i < x->count; i++) {
		ring_close(&x->sides[i].about);
	}
	gate_capture_group_free(x->own_group);
	free(x);
}

static const struct gate_source_ops xdp_ops = {
	.next = xdp_next,
	.forward = xdp_forward,
	.inject = xdp_inject,
	.stats = xdp_stats,
	.free = xdp_free,
};

/* Both directions of a flow must come to one worker: only the cards can see to that. */
static int check_workers(const struct xdp_source *x, struct bh_diag *diag)
{
	const struct gate_live_options *o = &x->options;

	if (o->workers < 2) {
		return 0;
	}
	if (!o->xdp_symmetric) {
		return bh_diag_set(diag, -EINVAL,
				   "capture.mode af-xdp with %u workers takes cards that give both "
				   "directions of a flow to the queue of the same number; where "
				   "they do, set capture.xdp-symmetric yes, else workers 1",
				   o->workers);
	}
	for (unsigned int i = 0; i < x->count; i++) {
		unsigned int queues = x->sides[i].leg->queues;

		if (queues != x->sides[0].leg->queues || queues < o->workers) {
			return bh_diag_set(
				diag, -EINVAL,
				"interface %s has %u queues: %u workers need as many, and "
				"the same number on both sides (ethtool -L)",
				x->sides[i].about.name, queues, o->workers);
		}
	}
	return 0;
}

static unsigned int share_of(const struct xdp_source *x, unsigned int queues)
{
	return (queues - x->options.worker + x->options.workers - 1) / x->options.workers;
}

/* A power of two of which the memory of a side has two for each socket. */
static uint32_t ring_size(const struct xdp_source *x, unsigned int socks)
{
	uint64_t frames = ((uint64_t)x->options.ring_mb << 20) / XSK_FRAME_SIZE / socks;
	uint32_t size = RING_MIN;

	while (size < RING_MAX && (uint64_t)size * 4 <= frames) {
		size *= 2;
	}
	return size;
}

static int open_sock(struct xdp_source *x, struct xdp_side *side, bool zero_copy,
		     uint32_t ring_size, struct bh_diag *diag)
{
	const struct xsk_where where = {.name = side->about.name,
					.index = side->leg->index,
					.queue = x->options.worker +
						 side->count * x->options.workers,
					.zero_copy = zero_copy};
	struct xsk *sock = &side->socks[side->count];
	int err = xsk_open(sock, &x->pool, &where, ring_size, diag);

	if (err) {
		return err;
	}
	side->count++;
	x->fds[x->fd_count++] = (struct pollfd){.fd = sock->fd, .events = POLLIN};
	return xdp_leg_join(side->leg, where.name, where.queue, sock->fd, diag);
}

static int open_socks(struct xdp_source *x, bool zero_copy, struct bh_diag *diag)
{
	unsigned int socks[2] = {}, total = 0;
	uint32_t size, most = 1;
	int err;

	for (unsigned int i = 0; i < x->count; i++) {
		socks[i] = share_of(x, x->sides[i].leg->queues);
		total += socks[i];
		most = socks[i] > most ? socks[i] : most;
	}
	size = ring_size(x, most);
	x->fds = bh_alloc_array(total, sizeof(*x->fds));
	err = xsk_pool_new(&x->pool, 2 * size * total, diag);
	for (unsigned int i = 0; i < x->count && !err; i++) {
		struct xdp_side *side = &x->sides[i];

		side->socks = bh_alloc_array(socks[i], sizeof(*side->socks));
		while (side->count < socks[i] && !err) {
			err = open_sock(x, side, zero_copy, size, diag);
		}
	}
	if (err) {
		close_socks(x);
	}
	return err;
}

static int open_sides(struct xdp_source *x, struct bh_diag *diag)
{
	const char *names[] = {x->options.in, x->options.out};
	struct gate_capture_group *group = x->options.group ? x->options.group : x->own_group;
	int err = 0;

	for (unsigned int i = 0; i < 2 && names[i] && !err; i++) {
		struct xdp_side *side = &x->sides[i];

		side->leg = &group->xdp.legs[i];
		side->about = (struct ring){.fd = -1};
		if (!x->options.worker) {
			err = xdp_leg_open(side->leg, names[i], x->options.out != NULL, diag);
		}
		err = err ? err : ring_about(&side->about, names[i], diag);
		x->count += !err;
	}
	return err;
}

/* Zero copy where the driver of every leg has it. */
static int open_all(struct xdp_source *x, struct bh_diag *diag)
{
	struct bh_diag first = {};
	bool zero_copy = true;
	int err = open_sides(x, diag);

	err = err ? err : check_workers(x, diag);
	if (err) {
		return err;
	}
	if (open_socks(x, true, &first)) {
		zero_copy = false;
		err = open_socks(x, false, diag);
	}
	for (unsigned int i = 0; i < x->count && !x->options.worker && !err; i++) {
		err = xdp_leg_attach(x->sides[i].leg, x->sides[i].about.name, diag);
	}
	if (!err) {
		bh_log(BH_LOG_INFO, "capture", "worker %u: AF_XDP, %s", x->options.worker,
		       zero_copy ? "zero copy" : "frames are copied once");
	}
	return err;
}

int gate_source_xdp(const struct gate_live_options *options, struct gate_source **ret,
		    struct bh_diag *diag)
{
	struct xdp_source *x = bh_alloc(sizeof(*x));
	int err;

	x->source.ops = &xdp_ops;
	x->options = *options;
	x->current = NOTHING;
	x->pool.fd = -1;
	x->own_group = options->group ? NULL : gate_capture_group_new();
	err = open_all(x, diag);
	if (err) {
		xdp_free(&x->source);
		return err;
	}
	flush(x);
	/* one of the workers is enough */
	x->pass_link = options->pass_link && x->count == 2 && !options->worker;
	if (x->pass_link) {
		x->links = (struct ring_links){.legs = {&x->sides[0].about, &x->sides[1].about}};
		ring_links_begin(&x->links);
	}
	*ret = &x->source;
	return 0;
}
