/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces by packet sockets: one as a sensor, or two with everything that passes between them.
 * Each worker has a source with rings of its own; the kernel shares flows out among them (ring.c).
 * Inline the two legs take turns; what goes on is queued in the other leg's ring and sent in
 * batches, at the latest before waiting. When a leg has fallen behind by three quarters of its
 * ring, fail-open passes frames on without inspection (counted) until it has caught up; fail-closed
 * lets the ring run over, and the kernel counts.
 */
#include "gate/capture/ring.h"

#include "base/counter.h"
#include "base/util.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>

BH_COUNTER(gate_fail_open, "frames passed on without inspection: too far behind");

struct af_source {
	struct gate_source source;
	struct ring rings[2];
	unsigned int count, turn;
	bool fail_open;
	struct ring_frame frame; /* the one that was handed out */
	uint64_t number;
};

static void pass_uninspected(struct af_source *a, unsigned int leg, const struct ring_frame *frame)
{
	(void)ring_send(&a->rings[1 - leg], &frame->vnet, frame->data, frame->size);
	bh_counter_add(&gate_fail_open, 1);
}

/* A frame of either leg. */
static bool take(struct af_source *a, unsigned int *ret_leg)
{
	for (unsigned int i = 0; i < a->count; i++) {
		unsigned int leg = (a->turn + i) % a->count;

		while (ring_next(&a->rings[leg], &a->frame)) {
			if (a->fail_open && a->count == 2 && ring_is_crowded(&a->rings[leg])) {
				pass_uninspected(a, leg, &a->frame);
				continue;
			}
			a->turn = leg + 1;
			*ret_leg = leg;
			return true;
		}
	}
	return false;
}

static void flush(struct af_source *a)
{
	for (unsigned int i = 0; i < a->count; i++) {
		ring_flush(&a->rings[i]);
	}
}

/* An interface that is down may come up again; one that is gone does not. */
static int wait_for(struct af_source *a, int wait_ms, struct bh_diag *diag)
{
	struct pollfd fds[2];

	for (unsigned int i = 0; i < a->count; i++) {
		fds[i] = (struct pollfd){.fd = a->rings[i].fd, .events = POLLIN};
	}
	if (poll(fds, a->count, wait_ms) < 0) {
		return errno == EINTR ? 0 : bh_diag_set(diag, -errno, "poll: %m");
	}
	for (unsigned int i = 0; i < a->count; i++) {
		struct ring *ring = &a->rings[i];
		socklen_t size = sizeof(int);
		int err = 0;

		if (!(fds[i].revents & (POLLERR | POLLHUP))) {
			continue;
		}
		(void)getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &err, &size);
		if (if_nametoindex(ring->name) != (unsigned int)ring->index) {
			return bh_diag_set(diag, -ENODEV, "interface %s is gone", ring->name);
		}
	}
	return 0;
}

static int af_next(struct gate_source *source, struct gate_packet *p, int wait_ms,
		   struct bh_diag *diag)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);
	unsigned int leg;

	if (!take(a, &leg)) {
		int err;

		flush(a);
		err = wait_for(a, wait_ms, diag);
		if (err || !take(a, &leg)) {
			return err;
		}
	}
	p->data = a->frame.data;
	p->size = a->frame.size;
	p->wire_size = a->frame.wire_size;
	p->time_us = a->frame.time_us;
	p->number = ++a->number;
	p->link = a->rings[leg].link;
	p->source = (uint16_t)leg;
	p->unsummed = a->frame.unsummed;
	return 1;
}

static int af_forward(struct gate_source *source, const struct gate_packet *p)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	if (a->count != 2) {
		return 0;
	}
	return ring_send(&a->rings[1 - p->source], &a->frame.vnet, p->data, p->size) ? 0 : -EAGAIN;
}

static int af_inject(struct gate_source *source, const struct gate_packet *p, bool other_side,
		     const void *frame, size_t size)
{
	static const struct virtio_net_hdr plain;
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);
	unsigned int leg = a->count == 2 && other_side ? 1u - p->source : p->source;

	return ring_send(&a->rings[leg], &plain, frame, (uint32_t)size) ? 0 : -EAGAIN;
}

static void af_stats(const struct gate_source *source, struct gate_source_stats *ret)
{
	/* the kernel's counts are taken up when they are asked for */
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	*ret = (struct gate_source_stats){};
	for (unsigned int i = 0; i < a->count; i++) {
		ring_count(&a->rings[i]);
		ret->packets += a->rings[i].received;
		ret->bytes += a->rings[i].bytes;
		ret->kernel_drops += a->rings[i].dropped;
		ret->sent += a->rings[i].sent;
		ret->send_failed += a->rings[i].send_failed;
	}
}

static void af_free(struct gate_source *source)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	flush(a);
	for (unsigned int i = 0; i < a->count; i++) {
		ring_close(&a->rings[i]);
	}
	free(a);
}

static const struct gate_source_ops af_ops = {
	.next = af_next,
	.forward = af_forward,
	.inject = af_inject,
	.stats = af_stats,
	.free = af_free,
};

int gate_source_afpacket(const struct gate_live_options *options, struct gate_source **ret,
			 struct bh_diag *diag)
{
	const char *names[] = {options->in, options->out};
	struct af_source *a = bh_alloc(sizeof(*a));

	a->source.ops = &af_ops;
	a->fail_open = options->fail_open;
	for (unsigned int i = 0; i < 2 && names[i]; i++) {
		const struct ring_options ring = {
			.interface = names[i],
			.inline_mode = options->out != NULL,
			.promiscuous = options->promiscuous,
			.worker = options->worker,
			.workers = options->workers,
			/* of this process and this leg */
			.group = ((unsigned int)getpid() << 1 | i) & 0xffff,
			.ring_mb = options->ring_mb,
			.snaplen = options->snaplen,
		};
		int err = ring_open(&ring, &a->rings[i], diag);

		if (err) {
			af_free(&a->source);
			return err;
		}
		a->count++;
	}
	*ret = &a->source;
	return 0;
}
