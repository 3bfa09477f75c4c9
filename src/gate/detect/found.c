/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet's bytes are searched for, they are searched for once: as the packet, and as the
 * part of the stream that they became.
 *
 * Theory of operation
 *   When a packet's payload stands at the end of its stream as it came (its bytes are compared),
 *   one search over it, with as much before it as a pattern may reach back, is for packet and
 *   stream. Rules on the stream that it brings up are kept with the flow until these bytes are due,
 *   which is when they are acknowledged and enough of them are there: their patterns end in this
 *   packet's part of the stream. What is due is not searched again when it was searched without
 *   a hole, for the same protocol's rules, and has not been changed since.
 *   What does not fit into that is searched when it is due: segments out of order, overlaps that
 *   changed bytes, the bytes before the protocol was known, a packet that is due in part, and what
 *   is behind more than GATE_FOUND_MAX finds.
 */
#include "gate/detect/detector.h"

void gate_found_forget(struct gate_pool *pool, struct gate_found *found)
{
	if (found->hits) {
		gate_found_hits_put(pool, found->hits);
	}
	*found = (struct gate_found){};
}

bool gate_found_begin(struct gate_detector *d)
{
	const struct gate_packet *p = d->p;
	uint32_t size = p->payload.size;
	struct gate_detect_flow *state;
	struct gate_stream_view view;
	struct gate_found *f;
	uint64_t from;

	if (!(p->flags & GATE_PKT_STREAM_ADD) ||
	    !gate_stream_newest(p->flow->stream, (enum gate_dir)p->dir, size, GATE_GRAM_LONGEST - 1,
				&view) ||
	    memcmp(view.data + (view.size - size), p->payload.data, size) != 0) {
		return false;
	}
	state = gate_state_of_flow(d, p->flow);
	f = &state->found[p->dir];
	from = view.offset + view.size - size;
	if (from < f->from || from > f->until || f->changes != view.changes ||
	    f->app != p->flow->app) {
		gate_found_forget(state->pool, f);
		f->from = from;
		f->changes = view.changes;
		f->app = p->flow->app;
	}
	f->until = view.offset + view.size;
	d->found = f;
	d->newest = (struct gate_buffer_view){
		.data = view.data, .size = view.size, .offset = view.offset};
	d->newest_old = view.size - size;
	return true;
}

void gate_found_add(struct gate_detector *d, uint32_t num)
{
	struct gate_found *f = d->found;
	struct gate_found_hits *hits = f->hits;
	uint64_t from = d->newest.offset + d->newest_old;

	if (f->from == f->until) {
		return; /* it is to be searched again */
	}
	if (!hits) {
		hits = f->hits = gate_found_hits_get(d->pool);
	}
	if (hits->count == GATE_FOUND_MAX) {
		gate_found_hits_put(d->pool, hits);
		f->hits = NULL;
		f->from = f->until;
		return;
	}
	hits->items[hits->count++] =
		(struct gate_found_hit){.num = num, .size = d->p->payload.size, .from = from};
}

/* The finds of packets that are due as a whole become candidates; none may be due in part. */
static bool take_hits(struct gate_detector *d, struct gate_found_hits *hits, uint64_t until)
{
	bool whole = true;

	for (uint32_t i = 0; i < hits->count; i++) {
		const struct gate_found_hit *hit = &hits->items[i];

		if (hit->from + hit->size > d->stream_from && hit->from < until) {
			whole = whole && hit->from >= d->stream_from &&
				hit->from + hit->size <= until;
		}
	}
	for (uint32_t i = 0; whole && i < hits->count; i++) {
		const struct gate_found_hit *hit = &hits->items[i];

		if (hit->from >= d->stream_from && hit->from < until) {
			gate_cands_add(&d->cands, hit->num);
		}
	}
	return whole;
}

/* Those that lie before `until` were due. */
static void drop_hits(struct gate_detector *d, struct gate_found *f, uint64_t until)
{
	struct gate_found_hits *hits = f->hits;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < hits->count; i++) {
		if (hits->items[i].from + hits->items[i].size > until) {
			hits->items[kept++] = hits->items[i];
		}
	}
	hits->count = kept;
	if (!kept) {
		gate_found_hits_put(d->pool, hits);
		f->hits = NULL;
	}
}

bool gate_found_take(struct gate_detector *d)
{
	struct gate_found *f = &gate_state_of_flow(d, d->p->flow)->found[d->p->dir];
	uint64_t until = d->stream.offset + d->stream.size;
	bool taken = d->stream_from >= f->from && until <= f->until &&
		     f->changes == d->stream.changes && f->app == d->p->flow->app;

	if (f->hits) {
		taken = taken && take_hits(d, f->hits, until);
		drop_hits(d, f, until);
	}
	return taken;
}
