/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of buffers, each made once: the parser's (or the packet's) bytes with the transforms of
 * the slot, kept until the next transaction, side or packet.
 *
 * A body is not looked at before it is whole or has reached the configured size
 * (inspect-min-size), and then as a window: what is new and so much of what was before it. Rules
 * with negated matches would else hold on the beginning of every body.
 */
#include "gate/app/frame.h"
#include "gate/detect/detector.h"

#define ETHER_SIZE 14 /* both addresses and the type */

void gate_values_forget(struct gate_detector *d)
{
	d->xf.used = 0;
	if (++d->generation == 0) {
		for (uint32_t i = 0; i < d->value_count; i++) {
			d->values[i].generation = 0;
		}
		d->generation = 1;
	}
}

static bool view_of(struct gate_buffer_view *ret, const void *data, uint32_t size)
{
	*ret = (struct gate_buffer_view){.data = data, .size = size, .complete = true};
	return data != NULL;
}

static bool chunk_value(const struct gate_packet *p, uint32_t index, struct gate_buffer_view *ret)
{
	struct gate_sctp_chunk chunk;
	uint32_t at = 0;

	while (p->sctp && gate_sctp_next(p, &at, &chunk)) {
		if (chunk.user.data && !index--) {
			return view_of(ret, chunk.user.data, chunk.user.size);
		}
	}
	return false;
}

static bool packet_value(const struct gate_packet *p, enum gate_buffer buffer, uint32_t index,
			 struct gate_buffer_view *ret)
{
	unsigned int skip = p->ip_version == 4 ? 12 : 0;

	switch (buffer) {
	case GATE_BUF_PAYLOAD:
		return view_of(ret, p->payload.data, p->payload.size);
	case GATE_BUF_TCP_HDR:
		return view_of(ret, p->tcp, p->l4_size);
	case GATE_BUF_UDP_HDR:
		return view_of(ret, p->udp, p->l4_size);
	case GATE_BUF_IPV4_HDR:
		return view_of(ret, p->ip4, p->l3_size);
	case GATE_BUF_IPV6_HDR:
		return view_of(ret, p->ip6, p->l3_size);
	case GATE_BUF_ICMPV4_HDR:
		return view_of(ret, p->icmp4, p->l4_size);
	case GATE_BUF_ICMPV6_HDR:
		return view_of(ret, p->icmp6, p->l4_size);
	case GATE_BUF_IGMP_HDR:
		return view_of(ret, p->igmp, p->l4_size);
	case GATE_BUF_SCTP_HDR:
		return p->sctp && view_of(ret, p->sctp, gate_sctp_bytes(p).size);
	case GATE_BUF_SCTP_CHUNK_DATA:
		return chunk_value(p, index, ret);
	case GATE_BUF_ETHER_HDR:
		return view_of(ret, p->eth, ETHER_SIZE);
	case GATE_BUF_IP_SRC:
		return p->ip_version && view_of(ret, p->src.bytes + skip, 16 - skip);
	case GATE_BUF_IP_DST:
		return p->ip_version && view_of(ret, p->dst.bytes + skip, 16 - skip);
	default:
		return false;
	}
}

uint64_t gate_values_seen(const struct gate_detector *d, uint16_t slot, uint32_t index)
{
	const struct gate_detect_tx *state = d->tx ? d->tx->detect : NULL;

	if (!state || state->set_id != d->set->id) {
		return 0;
	}
	for (unsigned int i = 0; i < GATE_TX_STREAMS; i++) {
		const struct gate_tx_stream *s = &state->sides[d->dir].streams[i];

		if (s->slot == slot && s->index == index + 1) {
			return s->until;
		}
	}
	return 0;
}

void gate_values_saw(struct gate_detector *d, struct gate_tx_side *side, uint16_t slot,
		     uint32_t index, uint64_t until)
{
	struct gate_tx_stream *s = NULL;

	for (unsigned int i = 0; i < GATE_TX_STREAMS; i++) {
		if (side->streams[i].slot == slot && side->streams[i].index == index + 1) {
			side->streams[i].until = until;
			return;
		}
		if (!s && !side->streams[i].index) {
			s = &side->streams[i];
		}
	}
	/* None is free: the one that was taken first is scanned again from its window's start. */
	if (!s) {
		s = &side->streams[side->stream_next++ % GATE_TX_STREAMS];
	}
	*s = (struct gate_tx_stream){.slot = slot, .index = index + 1, .until = until};
}

/* False: not yet. */
static bool cut_window(struct gate_detector *d, uint16_t slot, uint32_t index,
		       struct gate_buffer_view *view)
{
	bool request = d->dir == GATE_TO_SERVER;
	uint64_t min = request ? d->config->http_request_inspect_min
			       : d->config->http_response_inspect_min;
	uint64_t window = request ? d->config->http_request_inspect_window
				  : d->config->http_response_inspect_window;
	uint64_t end = view->offset + view->size, seen, from;

	view->complete = view->complete || d->side_over;
	/* Inline what is not stopped now is through. */
	if (!view->complete && end < min && !d->config->http_inline) {
		return false;
	}
	seen = gate_values_seen(d, slot, index);
	from = seen > window ? seen - window : 0;
	if (from > view->offset) {
		from = from > end ? end : from;
		view->data += from - view->offset;
		view->size = (uint32_t)(end - from);
		view->offset = from;
	}
	return true;
}

static bool fetch(struct gate_detector *d, uint16_t num, uint32_t index,
		  struct gate_buffer_view *ret)
{
	const struct gate_slot *slot = &d->set->slots[num];

	if (slot->flags & GATE_BUFFER_FRAME) {
		if (index || !d->frame || d->frame->kind != slot->buffer) {
			return false;
		}
		(void)view_of(ret, d->frame->data, d->frame->size);
		ret->complete = !d->frame->cut;
	} else if (slot->buffer == GATE_BUF_PAYLOAD || (slot->flags & GATE_BUFFER_PACKET)) {
		if ((index && !(slot->flags & GATE_BUFFER_MULTI)) ||
		    !packet_value(d->p, slot->buffer, index, ret)) {
			return false;
		}
	} else {
		memset(ret, 0, sizeof(*ret));
		if (!d->tx || (index && !(slot->flags & GATE_BUFFER_MULTI)) ||
		    !gate_tx_buffer(d->session, d->tx, (enum gate_dir)d->dir, slot->buffer, index,
				    ret)) {
			return false;
		}
		if (!(slot->flags & GATE_BUFFER_STREAM)) {
			ret->complete = true;
		} else if (!cut_window(d, num, index, ret)) {
			return false;
		}
	}
	for (uint8_t i = 0; i < slot->transform_count; i++) {
		if (!gate_xf_apply(&slot->transforms[i], slot->compiled[i], &d->in, &d->xf, ret)) {
			d->stats.transform_full++;
			return false;
		}
	}
	return true;
}

/* A parser may make each of several values in the same place: the one before is copied first. */
static bool keep_last(struct gate_detector *d, const struct gate_slot *slot, struct gate_values *v)
{
	struct gate_buffer_view *last = &v->views[v->known - 1];
	uint8_t *copy = d->xf.data + d->xf.used;

	if (slot->transform_count || (slot->flags & GATE_BUFFER_FILE)) {
		return true;
	}
	if (last->size > d->xf.size - d->xf.used) {
		d->stats.transform_full++;
		return false;
	}
	memcpy(copy, last->data, last->size);
	d->xf.used += last->size;
	last->data = copy;
	return true;
}

bool gate_values_get(struct gate_detector *d, uint16_t slot, uint32_t index,
		     struct gate_buffer_view *ret)
{
	struct gate_values *v = &d->values[slot];
	bool multi = d->set->slots[slot].flags & GATE_BUFFER_MULTI;

	if (v->generation != d->generation) {
		v->generation = d->generation;
		v->known = 0;
		v->end = false;
	}
	if (index < v->known) {
		*ret = v->views[index];
		return true;
	}
	if ((v->end && index >= v->known) || (index && !multi)) {
		return false;
	}
	if (v->known && !keep_last(d, &d->set->slots[slot], v)) {
		v->end = true;
		return false;
	}
	if (!fetch(d, slot, index, ret)) {
		v->end = v->known == index;
		return false;
	}
	if (index == v->known && index < GATE_VALUES_MAX) {
		v->views[v->known++] = *ret;
	}
	return true;
}
