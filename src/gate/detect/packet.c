/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules on packets and on the raw bytes of streams.
 *
 * A packet's payload is searched for what asks for packets; new bytes of the stream, when enough
 * stand ready, for what is content with the stream, unless they were searched for it with their
 * packet (found.c); a TCP payload that went into no stream for both. A rule holds on the stream's
 * bytes or, when it may, on the packet's, and alerts once.
 */
#include "gate/detect/detector.h"

void gate_stream_begin(struct gate_detector *d)
{
	struct gate_packet *p = d->p;

	d->has_stream = false;
	if (!p->flow || !p->flow->stream || (p->flags & GATE_PKT_NO_PAYLOAD)) {
		return;
	}
	d->has_stream = gate_stream_uninspected(p->flow->stream, (enum gate_dir)p->dir,
						GATE_STREAM_BACK, &d->stream, &d->stream_from) &&
			d->stream.size > 0;
	if (d->has_stream) {
		d->have |= GATE_NEED_STREAM | GATE_NEED_PAYLOAD_OR_STREAM;
	}
}

void gate_stream_end(struct gate_detector *d)
{
	if (d->has_stream) {
		gate_stream_inspected(d->p->flow->stream, (enum gate_dir)d->p->dir,
				      d->stream.offset + d->stream.size);
	}
}

static enum gate_transport transport_of(const struct gate_detector *d)
{
	return d->have & GATE_NEED_TCP	 ? GATE_TR_TCP
	       : d->have & GATE_NEED_UDP ? GATE_TR_UDP
					 : GATE_TR_OTHER;
}

/* What a packet is held against: rules by the server's port, and by the client's. */
struct held {
	const struct gate_port_group *group; /* NULL: there are none */
	const struct gate_mpm_group *searches;
};

static struct held held_of(const struct gate_detector *d, enum gate_port_side side)
{
	const struct gate_packet *p = d->p;
	enum gate_transport tr = transport_of(d);
	unsigned int dir = p->flow ? p->dir : GATE_TO_SERVER;
	unsigned int app = p->flow && p->flow->app < GATE_APP_COUNT ? p->flow->app : 0;
	const struct gate_port_groups *of = &d->set->packets.of[tr][dir][side];
	bool dst = (dir == GATE_TO_SERVER) == (side == GATE_PORT_OF_SERVER);
	uint16_t port = dst ? p->dport : p->sport;
	const struct gate_port_group *group;

	if (!of->by_port) {
		return (struct held){};
	}
	group = &of->groups[of->by_port[tr == GATE_TR_OTHER ? 0 : port]];
	return (struct held){.group = group, .searches = group->searches[of->class_of[app]]};
}

static void stream_view(const struct gate_detector *d, struct gate_buffer_view *ret)
{
	*ret = (struct gate_buffer_view){.data = d->stream.data,
					 .size = d->stream.size,
					 .offset = d->stream.offset,
					 .complete = d->stream.eof};
}

/* What of the window was looked at before, but for a pattern that may reach into what is new. */
static void scan_stream(struct gate_detector *d, const struct gate_mpm_group *group)
{
	struct gate_buffer_view view;
	uint32_t old = (uint32_t)(d->stream_from - d->stream.offset), skip;

	stream_view(d, &view);
	old = old > view.size ? view.size : old;
	skip = old >= group->longest ? old - (group->longest - 1) : 0;
	view.data += skip;
	view.size -= skip;
	view.offset += skip;
	gate_prefilter_payload(d, group, &view, old - skip, GATE_SCAN_STREAM);
}

static uint32_t first_four(const uint8_t *data, uint32_t size)
{
	uint32_t four = 0;

	if (size) {
		memcpy(&four, data, size < sizeof(four) ? size : sizeof(four));
	}
	return four;
}

/* Rules without a pattern: those that what the bytes begin with does not exclude. */
static void add_always(struct gate_detector *d, const struct gate_port_group *group)
{
	const struct gate_packet *p = d->p;
	bool begins = d->has_stream && !d->stream.offset;
	uint32_t packet = first_four(p->payload.data, p->payload.size);
	uint32_t stream = begins ? first_four(d->stream.data, d->stream.size) : packet;

	for (uint32_t i = 0; i < group->always_count; i++) {
		const struct gate_always *a = &group->always[i];

		if ((d->have & a->need) == a->need &&
		    ((packet & a->mask) == a->bytes || (stream & a->mask) == a->bytes)) {
			gate_cands_add(&d->cands, a->num);
		}
	}
}

/* both: as part of the stream too. */
static void scan_packet(struct gate_detector *d, const struct held *held, bool both)
{
	const struct gate_packet *p = d->p;
	struct gate_buffer_view payload = {
		.data = p->payload.data, .size = p->payload.size, .complete = true};
	enum gate_scan_for what = p->flags & GATE_PKT_STREAM_ADD ? GATE_SCAN_PACKET : GATE_SCAN_ALL;

	gate_prefilter_payload(d, &held->searches[GATE_SEARCH_BEGIN], &payload, 0, what);
	if (both) {
		gate_prefilter_payload(d, &held->searches[GATE_SEARCH_WHOLE], &d->newest,
				       d->newest_old, GATE_SCAN_BOTH);
	} else {
		gate_prefilter_payload(d, &held->searches[GATE_SEARCH_WHOLE], &payload, 0, what);
	}
}

static void find_candidates(struct gate_detector *d)
{
	bool payload = d->have & GATE_NEED_PAYLOAD, both = payload && gate_found_begin(d), found;
	struct held held[GATE_PORT_SIDES];

	for (int side = 0; side < GATE_PORT_SIDES; side++) {
		held[side] = held_of(d, (enum gate_port_side)side);
		if (held[side].group && payload) {
			scan_packet(d, &held[side], both);
		}
	}
	found = d->has_stream && gate_found_take(d);
	for (int side = 0; side < GATE_PORT_SIDES; side++) {
		const struct gate_mpm_group *searches = held[side].searches;

		if (!held[side].group) {
			continue;
		}
		if (d->has_stream && searches[GATE_SEARCH_BEGIN].parts[0]) {
			scan_stream(d, &searches[GATE_SEARCH_BEGIN]);
		}
		if (d->has_stream && !found && searches[GATE_SEARCH_WHOLE].parts[0]) {
			scan_stream(d, &searches[GATE_SEARCH_WHOLE]);
		}
		add_always(d, held[side].group);
	}
}

bool gate_list_payload(struct gate_detector *d, const struct gate_sig *sig,
		       const struct gate_dlist *list, bool *ret_in_stream)
{
	const struct gate_packet *p = d->p;
	struct gate_buffer_view view;

	if (d->has_stream && (sig->require_stream || sig->type == GATE_SIG_TX)) {
		stream_view(d, &view);
		if (gate_inspect_list(&d->in, list->matches, &view)) {
			*ret_in_stream = true;
			return true;
		}
	}
	if (!(d->have & GATE_NEED_PAYLOAD) || sig->stream_only ||
	    ((p->flags & GATE_PKT_STREAM_ADD) && !sig->require_packet)) {
		return false;
	}
	view = (struct gate_buffer_view){
		.data = p->payload.data, .size = p->payload.size, .complete = true};
	return gate_inspect_list(&d->in, list->matches, &view);
}

/* On any of its values. */
static bool list_of_packet(struct gate_detector *d, const struct gate_dlist *list)
{
	struct gate_buffer_view view;

	for (uint32_t i = 0; gate_values_get(d, list->slot, i, &view); i++) {
		if (gate_inspect_list(&d->in, list->matches, &view)) {
			return true;
		}
	}
	return false;
}

static bool lists_match(struct gate_detector *d, const struct gate_sig *sig, bool *ret_in_stream)
{

	for (unsigned int i = 0; i < sig->list_count; i++) {
		const struct gate_dlist *list = &sig->lists[i];

		if (list->kind == GATE_LIST_PAYLOAD) {
			if (!gate_list_payload(d, sig, list, ret_in_stream)) {
				return false;
			}
		} else if (!list_of_packet(d, list)) {
			return false;
		}
	}
	return true;
}

/* Asks for what both sides have in common only. */
static bool is_of_flow(const struct gate_sig *sig)
{
	for (unsigned int i = 0; i < sig->packet_count; i++) {
		const struct gate_match *m = sig->packet[i];

		if (m->kind == GATE_M_APP_PROTO && m->app_proto.dir != GATE_APP_FINAL &&
		    m->app_proto.dir != GATE_APP_ORIGINAL) {
			return false;
		}
	}
	return true;
}

static void evaluate(struct gate_detector *d, const struct gate_sig *sig)
{
	bool in_stream = false;

	d->stats.candidates++;
	if (!gate_header_matches(d, sig)) {
		return;
	}
	d->stats.evaluated++;
	gate_inspect_begin(&d->in, sig->vars);
	if (gate_packet_matches(d, sig) && lists_match(d, sig, &in_stream)) {
		gate_queue(d, sig, in_stream);
	}
}

void gate_detect_packet(struct gate_detector *d)
{
	d->tx = NULL;
	d->dir = d->p->dir;
	gate_values_forget(d);
	find_candidates(d);
	gate_cands_sort(&d->cands);
	for (uint32_t i = 0; i < d->cands.count; i++) {
		evaluate(d, &d->set->sigs[d->cands.nums[i]]);
	}
	gate_cands_clear(&d->cands);
}

/* It was asked for this flow before rules were loaded anew. */
static bool is_carried(const uint64_t *carried, uint32_t num)
{
	return carried && (carried[num / 64] >> num % 64 & 1);
}

void gate_detect_ip_only(struct gate_detector *d)
{
	const uint64_t *carried = NULL;
	struct gate_packet *p = d->p;

	if (!d->set->ip_only_count) {
		return;
	}
	if (p->flow) {
		struct gate_detect_flow *state = gate_state_of_flow(d, p->flow);

		if (state->ip_only_dirs & GATE_DIR_BIT(p->dir)) {
			return;
		}
		state->ip_only_dirs |= GATE_DIR_BIT(p->dir);
		carried = state->before_ip_only & GATE_DIR_BIT(p->dir)
				  ? gate_carried(d->set, state->before_id)
				  : NULL;
	}
	d->tx = NULL;
	for (uint32_t i = 0; i < d->set->ip_only_count; i++) {
		if (!is_carried(carried, d->set->ip_only[i])) {
			evaluate(d, &d->set->sigs[d->set->ip_only[i]]);
		}
	}
}

void gate_detect_proto(struct gate_detector *d)
{
	struct gate_packet *p = d->p;
	const uint64_t *carried;
	struct gate_detect_flow *state;
	bool again;

	if (!d->set->proto_detected_count || !p->flow ||
	    p->flow->app_to[p->dir] == GATE_APP_UNKNOWN) {
		return;
	}
	/* Also when it becomes another one (STARTTLS, Upgrade). */
	state = gate_state_of_flow(d, p->flow);
	if (state->proto_seen[p->dir] == p->flow->app + 1) {
		return;
	}
	state->proto_seen[p->dir] = p->flow->app + 1;
	carried = state->before_proto[p->dir] == p->flow->app + 1
			  ? gate_carried(d->set, state->before_id)
			  : NULL;
	again = state->proto_seen[GATE_DIR_OTHER(p->dir)] == p->flow->app + 1;
	d->tx = NULL;
	for (uint32_t i = 0; i < d->set->proto_detected_count; i++) {
		const struct gate_sig *sig = &d->set->sigs[d->set->proto_detected[i]];

		if ((!again || !is_of_flow(sig)) && !is_carried(carried, sig->num)) {
			evaluate(d, sig);
		}
	}
}
