/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a packet through detection, and what a worker has for it. */
#include "gate/detect/detector.h"
#include "gate/detect/sets.h"

#include <sys/mman.h>

struct gate_detector *gate_detector_new(const struct gate_config *config,
					struct gate_shared *shared)
{
	struct gate_detector *d = bh_alloc(sizeof(*d));
	void *memory = mmap(NULL, GATE_XF_MEMORY, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	d->config = config;
	d->shared = shared;
	d->pool = gate_pool_new();
	d->generation = 1;
	d->xf = (struct gate_xf_memory){.data = memory == MAP_FAILED ? NULL : memory,
					.size = memory == MAP_FAILED ? 0 : GATE_XF_MEMORY};
	gate_inspect_init(&d->in, config);
	return d;
}

static void let_go(struct gate_detector *d)
{
	gate_rule_sets_unref(d->sets);
	hs_free_scratch(d->scratch);
	free(d->cands.nums);
	free(d->cands.seen);
	free(d->values);
	d->sets = NULL;
	d->set = NULL;
	d->scratch = NULL;
	d->cands = (struct gate_cands){};
	d->values = NULL;
	d->value_count = 0;
}

void gate_detector_free(struct gate_detector *d)
{
	if (!d) {
		return;
	}
	let_go(d);
	gate_inspect_done(&d->in);
	gate_pool_unref(d->pool);
	if (d->xf.data) {
		munmap(d->xf.data, d->xf.size);
	}
	free(d);
}

const struct gate_detector_stats *gate_detector_stats(const struct gate_detector *d)
{
	return &d->stats;
}

void gate_detector_use(struct gate_detector *d, struct gate_rule_sets *sets)
{
	if (sets == d->sets) {
		return;
	}
	let_go(d);
	if (!sets) {
		return;
	}
	d->sets = gate_rule_sets_ref(sets);
	d->set = sets->sets[0];
	d->cands.nums = bh_alloc_array(sets->sig_max + 1, sizeof(*d->cands.nums));
	d->cands.seen = bh_alloc_array(sets->sig_max / 64 + 1, sizeof(*d->cands.seen));
	d->value_count = sets->slot_max + 1;
	d->values = bh_alloc_array(d->value_count, sizeof(*d->values));
	if (sets->scratch && hs_clone_scratch(sets->scratch, &d->scratch) != HS_SUCCESS) {
		abort();
	}
}

/* Values are by slot of a set: what is at hand is of the one before. */
static void choose_set(struct gate_detector *d)
{
	struct gate_rule_set *set = gate_rule_sets_get(d->sets, d->p->rule_set);

	if (set != d->set) {
		d->set = set;
		gate_values_forget(d);
	}
}

/* What is known of the flow's addresses is the same for each of its packets, turned with them. */
static void load_addrs(struct gate_detector *d)
{
	struct gate_packet *p = d->p;
	struct gate_detect_flow *state;

	memset(d->addr_known, 0, sizeof(d->addr_known));
	memset(d->addr_value, 0, sizeof(d->addr_value));
	if (!p->flow) {
		return;
	}
	state = gate_state_of_flow(d, p->flow);
	for (unsigned int side = 0; side < 2; side++) {
		unsigned int end = p->dir == GATE_TO_SERVER ? side : !side;

		memcpy(d->addr_known[side], state->addr_known[end], sizeof(d->addr_known[side]));
		memcpy(d->addr_value[side], state->addr_value[end], sizeof(d->addr_value[side]));
	}
}

static void store_addrs(struct gate_detector *d)
{
	struct gate_packet *p = d->p;
	struct gate_detect_flow *state;

	if (!p->flow) {
		return;
	}
	state = gate_state_of_flow(d, p->flow);
	for (unsigned int side = 0; side < 2; side++) {
		unsigned int end = p->dir == GATE_TO_SERVER ? side : !side;

		memcpy(state->addr_known[end], d->addr_known[side], sizeof(d->addr_known[side]));
		memcpy(state->addr_value[end], d->addr_value[side], sizeof(d->addr_value[side]));
	}
}

static bool is_settled(const struct gate_packet *p)
{
	return (p->flags & GATE_PKT_NO_PACKET) ||
	       (p->flow && (p->flow->flags & (GATE_FLOW_DROP | GATE_FLOW_PASS)));
}

void gate_detect(struct gate_detector *d, struct gate_packet *p)
{
	d->p = p;
	d->queued = 0;
	d->stats.packets++;
	d->tx = NULL;
	d->in.replace_count = 0;
	d->captures.count = 0;
	p->captures = NULL;
	gate_tag_packet(d);
	if (d->sets) {
		choose_set(d);
	}
	d->have = gate_have_of(p);
	gate_stream_begin(d);
	d->have |= d->have & GATE_NEED_PAYLOAD_OR_STREAM ? 0 : GATE_NEED_EMPTY;
	if (!d->set || is_settled(p)) {
		gate_detect_skip_txs(d);
		gate_stream_end(d);
		return;
	}
	load_addrs(d);
	gate_detect_ip_only(d);
	gate_detect_proto(d);
	gate_detect_packet(d);
	gate_detect_frames(d);
	gate_detect_txs(d);
	if (d->queued) {
		gate_actions(d);
	}
	store_addrs(d);
	if (!p->alert_count) {
		gate_stream_end(d);
	}
}

void gate_detect_done(struct gate_detector *d, const struct gate_packet *p)
{
	if (p->alert_count) {
		gate_stream_end(d);
	}
}
