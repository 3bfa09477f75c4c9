/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces by packet sockets: one as a sensor, or two with everything that passes between them.
 * Each worker has a source with rings of its own; the kernel shares flows out among them
 * (fanout.c). Inline the two legs take turns; what goes on is queued at the other leg and sent
 * in batches, at the latest after RING_BATCH frames of either leg or before waiting. When a leg has
 * fallen behind by three quarters of its ring, fail-open passes frames on without inspection
 * (counted) until it has caught up; fail-closed lets the ring run over, and the kernel counts.
 *
 * An interface that is down may come up again: its ring stays. One that is taken away (a VM's tap)
 * is waited for by its name, and opened anew as what it is then; meanwhile what was to leave by it
 * is dropped and counted.
 */
#include "gate/capture/group.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>

#define LOOK_US	   100000 /* at the interfaces */
#define PENDING_MS 1	  /* until what had no room is tried again */

BH_COUNTER(gate_interface_gone, "interfaces that were taken away while a worker read them");
BH_COUNTER(gate_interface_back, "interfaces that a worker has opened anew");

struct leg {
	struct ring ring;
	struct ring_options options;
	struct ring_counts counts;
	int said; /* why it can't be opened anew */
};

struct af_source {
	struct gate_source source;
	struct leg legs[2];
	unsigned int count, turn, since_flush;
	bool fail_open, pass_link;
	struct ring_links links;
	struct ring_frame frame; /* the one that was handed out */
	uint64_t number, looked_us;
};

static bool queue(struct leg *leg, const struct virtio_net_hdr *vnet, const void *data,
		  uint32_t size)
{
	return ring_send(&leg->ring, vnet, data, size, &leg->counts);
}

static void flush(struct af_source *a)
{
	for (unsigned int i = 0; i < a->count; i++) {
		ring_flush(&a->legs[i].ring, &a->legs[i].counts);
	}
	a->since_flush = 0;
}

/* A frame of either leg. */
static bool take(struct af_source *a, unsigned int *ret_leg)
{
	for (unsigned int i = 0; i < a->count; i++) {
		unsigned int number = (a->turn + i) % a->count;
		struct leg *leg = &a->legs[number];

		while (ring_next(&leg->ring, &a->frame, &leg->counts)) {
			if (!a->fail_open || a->count != 2 || !ring_is_crowded(&leg->ring)) {
				a->turn = number + 1;
				*ret_leg = number;
				return true;
			}
			(void)queue(&a->legs[1 - number], &a->frame.vnet, a->frame.data,
				    a->frame.size);
			ring_count_fail_open();
		}
	}
	return false;
}

/* ---- interfaces that come and go ---- */

static void reopen(struct leg *leg)
{
	struct bh_diag diag = {};
	int err = ring_open(&leg->options, &leg->ring, &diag);

	if (!err) {
		bh_counter_add(&gate_interface_back, 1);
		bh_log(BH_LOG_INFO, "capture", "worker %u: interface %s is back",
		       leg->options.worker, leg->options.interface);
	} else if (err != -ENODEV && err != -EAGAIN && err != leg->said) {
		bh_log(BH_LOG_ERROR, "capture", "worker %u: %s", leg->options.worker, diag.text);
	}
	leg->said = err;
}

static void look(struct af_source *a, uint64_t now_us)
{
	a->looked_us = now_us;
	for (unsigned int i = 0; i < a->count; i++) {
		struct leg *leg = &a->legs[i];

		if (leg->ring.fd < 0) {
			reopen(leg);
		} else if (ring_is_gone(&leg->ring)) {
			ring_count(&leg->ring, &leg->counts);
			ring_close(&leg->ring);
			bh_counter_add(&gate_interface_gone, 1);
			bh_log(BH_LOG_WARN, "capture", "worker %u: interface %s is gone; waiting",
			       leg->options.worker, leg->options.interface);
		} else {
			ring_look(&leg->ring);
		}
	}
	if (a->pass_link) {
		ring_links_look(&a->links);
	}
}

static int wait_for(struct af_source *a, int wait_ms, struct bh_diag *diag)
{
	struct pollfd fds[2];

	for (unsigned int i = 0; i < a->count; i++) {
		fds[i] = (struct pollfd){.fd = a->legs[i].ring.fd, .events = POLLIN};
		wait_ms = a->legs[i].ring.tx_queued ? PENDING_MS : wait_ms;
	}
	if (poll(fds, a->count, wait_ms) < 0) {
		return errno == EINTR ? 0 : bh_diag_set(diag, -errno, "poll: %m");
	}
	for (unsigned int i = 0; i < a->count; i++) {
		socklen_t size = sizeof(int);
		int err = 0;

		if (fds[i].revents & (POLLERR | POLLHUP)) { /* down or gone: said once */
			(void)getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &err, &size);
		}
	}
	return 0;
}

/* ---- the source ---- */

static const uint8_t *partial_of(const struct ring_frame *frame)
{
	uint32_t at = frame->vnet.csum_start + frame->vnet.csum_offset;

	return frame->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && at < frame->size
		       ? frame->data + at
		       : NULL;
}

static int af_next(struct gate_source *source, struct gate_packet *p, int wait_ms,
		   struct bh_diag *diag)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);
	unsigned int leg;

	if (++a->since_flush >= RING_BATCH) {
		flush(a);
	}
	/* only here: the frame that was handed out before is a ring's */
	if (a->frame.time_us - a->looked_us > LOOK_US) {
		look(a, a->frame.time_us);
	}
	if (!take(a, &leg)) {
		int err;

		flush(a);
		err = wait_for(a, wait_ms, diag);
		if (err) {
			return err;
		}
		if (!take(a, &leg)) {
			look(a, a->looked_us);
			return 0;
		}
	}
	p->data = a->frame.data;
	p->size = a->frame.size;
	p->wire_size = a->frame.wire_size;
	p->time_us = a->frame.time_us;
	p->number = ++a->number;
	p->link = a->legs[leg].ring.link;
	p->source = (uint16_t)leg;
	p->unsummed = a->frame.unsummed;
	p->partial = partial_of(&a->frame);
	return 1;
}

static int af_forward(struct gate_source *source, const struct gate_packet *p)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	if (a->count != 2) {
		return 0;
	}
	return queue(&a->legs[1 - p->source], &a->frame.vnet, p->data, p->size) ? 0 : -EAGAIN;
}

static int af_inject(struct gate_source *source, const struct gate_packet *p, bool other_side,
		     const void *frame, size_t size)
{
	static const struct virtio_net_hdr plain;
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);
	unsigned int leg = a->count == 2 && other_side ? 1u - p->source : p->source;

	return queue(&a->legs[leg], &plain, frame, (uint32_t)size) ? 0 : -EAGAIN;
}

static void af_stats(const struct gate_source *source, struct gate_source_stats *ret)
{
	/* the kernel's counts are taken up when they are asked for */
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	*ret = (struct gate_source_stats){};
	for (unsigned int i = 0; i < a->count; i++) {
		struct leg *leg = &a->legs[i];

		ring_count(&leg->ring, &leg->counts);
		ret->packets += leg->counts.received;
		ret->bytes += leg->counts.bytes;
		ret->kernel_drops += leg->counts.dropped;
		ret->sent += leg->counts.sent;
		ret->send_failed += leg->counts.send_failed;
	}
}

static void af_free(struct gate_source *source)
{
	struct af_source *a = BH_CONTAINER_OF(source, struct af_source, source);

	flush(a);
	if (a->pass_link) {
		ring_links_end(&a->links);
	}
	for (unsigned int i = 0; i < a->count; i++) {
		ring_close(&a->legs[i].ring);
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

static void warn_of_mtu(const struct af_source *a)
{
	const struct ring *in = &a->legs[0].ring, *out = &a->legs[1].ring;

	if (a->count == 2 && in->mtu != out->mtu) {
		bh_log(BH_LOG_WARN, "capture",
		       "%s has an MTU of %u, %s of %u: larger frames do not pass", in->name,
		       in->mtu, out->name, out->mtu);
	}
}

int gate_source_afpacket(const struct gate_live_options *options, struct gate_source **ret,
			 struct bh_diag *diag)
{
	const char *names[] = {options->in, options->out};
	struct af_source *a = bh_alloc(sizeof(*a));

	a->source.ops = &af_ops;
	a->fail_open = options->fail_open;
	for (unsigned int i = 0; i < 2 && names[i]; i++) {
		struct leg *leg = &a->legs[i];
		int err;

		leg->options = (struct ring_options){
			.interface = names[i],
			.inline_mode = options->out != NULL,
			.promiscuous = options->promiscuous,
			.by_flow = options->by_flow,
			.worker = options->worker,
			.workers = options->workers,
			.leg = i,
			.group = options->group ? &options->group->rings : NULL,
			.ring_mb = options->ring_mb,
			.snaplen = options->snaplen,
		};
		err = ring_open(&leg->options, &leg->ring, diag);
		if (err) {
			af_free(&a->source);
			return err;
		}
		a->count++;
	}
	if (!options->worker) {
		warn_of_mtu(a);
	}
	/* one of the workers is enough */
	a->pass_link = options->pass_link && a->count == 2 && !options->worker;
	if (a->pass_link) {
		a->links = (struct ring_links){.legs = {&a->legs[0].ring, &a->legs[1].ring}};
		ring_links_begin(&a->links);
	}
	*ret = &a->source;
	return 0;
}
