/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What detection keeps with flows and transactions: taken from lists of a worker and put back, so
 * that a packet costs no allocation once the worker has seen as many at a time. The pool lives as
 * long as one of them does.
 */
#include "gate/detect/detector.h"

#define STATES_KEPT 64 /* a longer list of rules is freed with its transaction */

struct gate_pool {
	uint32_t refs; /* the detector's and one per state in use */
	struct gate_detect_flow *flows;
	struct gate_detect_tx *txs;
	struct gate_found_hits *hits;
};

struct gate_pool *gate_pool_new(void)
{
	struct gate_pool *pool = bh_alloc(sizeof(*pool));

	pool->refs = 1;
	return pool;
}

static void free_tx(struct gate_detect_tx *state)
{
	free(state->sides[0].states);
	free(state->sides[1].states);
	free(state);
}

void gate_pool_unref(struct gate_pool *pool)
{
	if (--pool->refs) {
		return;
	}
	while (pool->flows) {
		struct gate_detect_flow *next = pool->flows->next_free;

		free(pool->flows);
		pool->flows = next;
	}
	while (pool->txs) {
		struct gate_detect_tx *next = pool->txs->next_free;

		free_tx(pool->txs);
		pool->txs = next;
	}
	while (pool->hits) {
		struct gate_found_hits *next = pool->hits->next_free;

		free(pool->hits);
		pool->hits = next;
	}
	free(pool);
}

struct gate_detect_flow *gate_state_of_flow(struct gate_detector *d, struct gate_flow *flow)
{
	struct gate_detect_flow *state = flow->detect;
	struct gate_pool *pool = d->pool;

	if (!state) {
		state = pool->flows;
		if (state) {
			pool->flows = state->next_free;
			memset(state, 0, sizeof(*state));
		} else {
			state = bh_alloc(sizeof(*state));
		}
		state->pool = pool;
		state->set_id = d->set->id;
		pool->refs++;
		flow->detect = state;
	} else if (state->set_id != d->set->id) {
		gate_follow_flow(state, d->set);
	}
	return state;
}

void gate_detect_flow_free(struct gate_detect_flow *state)
{
	struct gate_pool *pool;

	if (!state) {
		return;
	}
	pool = state->pool;
	for (int dir = 0; dir < GATE_DIRS; dir++) {
		gate_found_forget(pool, &state->found[dir]);
	}
	state->next_free = pool->flows;
	pool->flows = state;
	gate_pool_unref(pool);
}

struct gate_found_hits *gate_found_hits_get(struct gate_pool *pool)
{
	struct gate_found_hits *hits = pool->hits;

	if (hits) {
		pool->hits = hits->next_free;
	} else {
		hits = bh_alloc(sizeof(*hits));
	}
	hits->count = 0;
	return hits;
}

void gate_found_hits_put(struct gate_pool *pool, struct gate_found_hits *hits)
{
	hits->next_free = pool->hits;
	pool->hits = hits;
}

static void reset_tx(struct gate_detect_tx *state)
{
	for (int dir = 0; dir < GATE_DIRS; dir++) {
		struct gate_tx_side *side = &state->sides[dir];
		struct gate_tx_state *states = side->states;
		uint16_t capacity = side->capacity;

		if (capacity > STATES_KEPT) {
			free(states);
			states = NULL;
			capacity = 0;
		}
		*side = (struct gate_tx_side){.states = states, .capacity = capacity};
	}
}

struct gate_detect_tx *gate_state_of_tx(struct gate_detector *d, struct gate_tx *tx)
{
	struct gate_detect_tx *state = tx->detect;
	struct gate_pool *pool = d->pool;

	if (!state) {
		state = pool->txs;
		if (state) {
			pool->txs = state->next_free;
		} else {
			state = bh_alloc(sizeof(*state));
		}
		reset_tx(state);
		state->pool = pool;
		state->set_id = d->set->id;
		pool->refs++;
		tx->detect = state;
	} else if (state->set_id != d->set->id && !gate_follow_tx(state, d->set)) {
		reset_tx(state);
		state->set_id = d->set->id;
	}
	return state;
}

void gate_detect_tx_free(struct gate_detect_tx *state)
{
	struct gate_pool *pool;

	if (!state) {
		return;
	}
	pool = state->pool;
	state->next_free = pool->txs;
	pool->txs = state;
	gate_pool_unref(pool);
}
