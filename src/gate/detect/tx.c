/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules on transactions (theory in detect.h).
 *
 * Each side of a transaction is looked at when a packet of its direction comes by, as far as the
 * parser has come. A buffer that is whole is searched once; one that grows, what is new of it.
 * Rules that are found, those without a pattern and those that hold in part already are evaluated
 * in order of their numbers: conditions as the progress of the side makes them answerable. What
 * can't be answered yet is remembered with what holds already; what can't hold any more is not
 * asked again.
 */
#include "gate/app/dcerpc/dcerpc.h"
#include "gate/app/frame.h"
#include "gate/detect/txmatch.h"

#define TXS_WAITING_MAX 64 /* of a side, that wait for bytes in any packet */

static struct gate_tx_state *find_state(struct gate_tx_side *side, uint32_t num)
{
	uint32_t low = 0, high = side ? side->count : 0;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (side->states[mid].num == num) {
			return &side->states[mid];
		}
		if (side->states[mid].num < num) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return NULL;
}

static struct gate_tx_state *add_state(struct gate_detector *d, struct gate_tx_side *side,
				       uint32_t num)
{
	uint32_t at = side->count;

	if (side->count == side->capacity) {
		if (side->count >= GATE_TX_STATES_MAX) {
			d->stats.states_full++;
			return NULL;
		}
		side->capacity = side->capacity ? (uint16_t)(side->capacity * 2) : 8;
		side->states =
			bh_realloc_array(side->states, side->capacity, sizeof(*side->states));
	}
	while (at > 0 && side->states[at - 1].num > num) {
		side->states[at] = side->states[at - 1];
		at--;
	}
	side->count++;
	side->states[at] = (struct gate_tx_state){.num = num};
	return &side->states[at];
}

/* Rules over both sides keep one state for the whole transaction. */
static struct gate_tx_side *side_of(struct gate_detector *d, const struct gate_sig *sig, bool make)
{
	struct gate_detect_tx *state = d->tx->detect;

	if (!make && (!state || state->set_id != d->set->id)) {
		return NULL;
	}
	state = gate_state_of_tx(d, d->tx);
	return &state->sides[sig->both_sides ? GATE_TO_SERVER : d->dir];
}

/* ---- one condition ---- */

static enum gate_list_result list_buffer(struct gate_detector *d, const struct gate_dlist *list)
{
	const struct gate_slot *slot = &d->set->slots[list->slot];
	bool grows = slot->flags & (GATE_BUFFER_STREAM | GATE_BUFFER_FILE);
	bool whole = d->side_over || (list->progress[d->dir] > 0 && !grows);
	struct gate_buffer_view view;
	uint32_t i;

	for (i = 0; gate_values_get(d, list->slot, i, &view); i++) {
		if (list->absent && !list->absent_or_else) {
			return GATE_LIST_NEVER;
		}
		if (gate_inspect_list(&d->in, list->matches, &view)) {
			return GATE_LIST_HOLDS;
		}
		if (!(slot->flags & GATE_BUFFER_MULTI)) {
			i++;
			break;
		}
	}
	if (list->absent && i == 0 && whole) {
		return GATE_LIST_HOLDS;
	}
	return whole ? GATE_LIST_NEVER : GATE_LIST_NOT_YET;
}

static enum gate_list_result list_here(struct gate_detector *d, const struct gate_sig *sig,
				       const struct gate_dlist *list, bool *ret_in_stream)
{
	if (list->apps && !(list->apps & (1u << d->p->flow->app))) {
		return GATE_LIST_NEVER;
	}
	if (d->tx->progress[d->dir] < list->progress[d->dir]) {
		return d->side_over ? GATE_LIST_NEVER : GATE_LIST_NOT_YET;
	}
	switch (list->kind) {
	case GATE_LIST_BUFFER:
		return list_buffer(d, list);
	case GATE_LIST_PAYLOAD:
		return gate_list_payload(d, sig, list, ret_in_stream) ? GATE_LIST_HOLDS
								      : GATE_LIST_NOT_YET;
	case GATE_LIST_NUMBER:
		return gate_list_number(d, list->src);
	case GATE_LIST_EVENT:
		return gate_list_event(d, list->src);
	case GATE_LIST_FILE:
		return gate_list_files(d, list->src);
	case GATE_LIST_STATE:
		return GATE_LIST_HOLDS;
	case GATE_LIST_OTHER:
		return gate_list_dcerpc(d, list->src);
	default:
		return GATE_LIST_NEVER;
	}
}

/* In which order the numbers of this side's calls stand, for `dce`. */
static void note_order(struct gate_detector *d)
{
	enum gate_app app = (enum gate_app)d->p->flow->app;

	d->in.dce_big = (app == GATE_APP_DCERPC || app == GATE_APP_SMB) &&
			gate_dcerpc_big(d->tx, app, (enum gate_dir)d->dir);
}

/* A condition on the other side, of a rule over both: with that side's values. */
static enum gate_list_result list_there(struct gate_detector *d, const struct gate_sig *sig,
					const struct gate_dlist *list, bool *ret_in_stream)
{
	uint8_t dir = d->dir;
	bool over = d->side_over;
	enum gate_list_result r;

	d->dir = GATE_DIR_OTHER(dir);
	d->side_over = d->tx->done_dirs & GATE_DIR_BIT(d->dir);
	gate_values_forget(d);
	note_order(d);
	r = list_here(d, sig, list, ret_in_stream);
	d->dir = dir;
	d->side_over = over;
	gate_values_forget(d);
	note_order(d);
	return r;
}

/* ---- one rule ---- */

struct outcome {
	uint32_t bits;
	bool never, in_stream;
};

static void evaluate_lists(struct gate_detector *d, const struct gate_sig *sig, struct outcome *out)
{
	for (unsigned int i = 0; i < sig->list_count; i++) {
		const struct gate_dlist *list = &sig->lists[i];
		enum gate_list_result r;

		if (out->bits & (1u << i)) {
			continue;
		}
		if (list->dirs & GATE_DIR_BIT(d->dir)) {
			r = list_here(d, sig, list, &out->in_stream);
		} else if (sig->both_sides) {
			r = list_there(d, sig, list, &out->in_stream);
		} else {
			r = GATE_LIST_NEVER;
		}
		if (r == GATE_LIST_HOLDS) {
			out->bits |= 1u << i;
			continue;
		}
		out->never = r == GATE_LIST_NEVER;
		/* the transaction is ready: any packet may bring the rest */
		d->tx_waits =
			d->tx_waits || (r == GATE_LIST_NOT_YET && list->kind == GATE_LIST_PAYLOAD);
		return;
	}
}

/* The pattern was found where it is not searched again: the rest may follow. */
static bool is_found_once(const struct gate_sig *sig)
{
	return sig->fast_list != UINT16_MAX;
}

static uint16_t file_count(const struct gate_detector *d)
{
	return (uint16_t)d->tx->files[d->dir].count;
}

/* False: nothing more to do for it now. A file that has come since makes it count anew. */
static bool may_go_on(const struct gate_detector *d, const struct gate_sig *sig,
		      struct gate_tx_state *st)
{
	if (!st || !st->over) {
		return true;
	}
	if (!sig->has_files || file_count(d) == st->files) {
		return false;
	}
	st->over = false;
	st->bits = 0;
	return true;
}

static void remember(struct gate_detector *d, const struct gate_sig *sig, struct gate_tx_state *st,
		     const struct outcome *out)
{
	bool over = out->never || out->bits == sig->all_bits;

	if (!st && !over && !out->bits && !is_found_once(sig)) {
		return;
	}
	if (!st && out->never && !out->bits) {
		return;
	}
	/* What is looked at for the last time needs no memory. */
	if (!st && d->side_over && !sig->both_sides) {
		return;
	}
	st = st ? st : add_state(d, side_of(d, sig, true), sig->num);
	if (st) {
		st->bits = out->bits;
		st->over = over;
		st->files = file_count(d);
	}
}

static void evaluate(struct gate_detector *d, const struct gate_sig *sig)
{
	struct gate_tx_state *st = find_state(side_of(d, sig, false), sig->num);
	struct outcome out = {};

	d->stats.candidates++;
	if (!may_go_on(d, sig, st)) {
		return;
	}
	gate_inspect_begin(&d->in, sig->vars);
	if (st) {
		out.bits = st->bits;
	} else if (!gate_header_matches(d, sig) || !gate_packet_matches(d, sig)) {
		return;
	}
	d->stats.evaluated++;
	evaluate_lists(d, sig, &out);
	remember(d, sig, st, &out);
	if (out.bits == sig->all_bits) {
		gate_queue(d, sig, out.in_stream);
	}
}

/* ---- what is found ---- */

/* Values of files that are over and were searched need not be searched again. */
static uint32_t first_value(const struct gate_detector *d, const struct gate_engine *e)
{
	const struct gate_detect_tx *state = d->tx->detect;

	return state && state->set_id == d->set->id && !d->anew &&
			       (d->set->slots[e->slot].flags & GATE_BUFFER_FILE)
		       ? state->sides[d->dir].files_over
		       : 0;
}

static void scan_values(struct gate_detector *d, const struct gate_engine *e)
{
	struct gate_buffer_view view;

	for (uint32_t i = first_value(d, e); gate_values_get(d, e->slot, i, &view); i++) {
		gate_prefilter_scan(d, &e->search, &view, 0);
		if (!(d->set->slots[e->slot].flags & GATE_BUFFER_MULTI)) {
			break;
		}
	}
}

/* Bodies: what is new, and so much before it as a pattern may reach back. */
static void scan_body(struct gate_detector *d, const struct gate_engine *e)
{
	struct gate_buffer_view view;

	for (uint32_t i = first_value(d, e); gate_values_get(d, e->slot, i, &view); i++) {
		uint64_t seen = gate_values_seen(d, e->slot, i);
		uint32_t old = seen > view.offset ? (uint32_t)(seen - view.offset) : 0, skip;

		old = old > view.size ? view.size : old;
		skip = old >= e->mpm->longest ? old - (e->mpm->longest - 1) : 0;
		if (old < view.size) {
			view.data += skip;
			view.size -= skip;
			view.offset += skip;
			gate_prefilter_scan(d, &e->search, &view, old - skip);
		}
		if (!(d->set->slots[e->slot].flags & GATE_BUFFER_MULTI)) {
			break;
		}
	}
}

static void find_candidates(struct gate_detector *d, const struct gate_app_group *group)
{
	const struct gate_detect_tx *state = d->tx->detect;
	bool known = state && state->set_id == d->set->id;
	uint8_t scanned = known ? state->sides[d->dir].scanned : 0;
	uint8_t progress = d->tx->progress[d->dir];

	for (uint32_t i = 0; i < group->engine_count; i++) {
		const struct gate_engine *e = &group->engines[i];

		if (e->progress > progress) {
			break;
		}
		if (e->once) {
			if (e->progress >= scanned) {
				scan_values(d, e);
			}
		} else if (e->stream) {
			scan_body(d, e);
		} else {
			scan_values(d, e);
		}
	}
	for (uint32_t i = 0; i < group->always_count; i++) {
		const struct gate_sig *sig = &d->set->sigs[group->always[i]];

		if ((d->have & sig->need) == sig->need) {
			gate_cands_add(&d->cands, group->always[i]);
		}
	}
	for (int s = 0; known && s < GATE_DIRS; s++) {
		const struct gate_tx_side *side = &state->sides[s];

		for (uint16_t k = 0; k < side->count; k++) {
			const struct gate_sig *sig = &d->set->sigs[side->states[k].num];

			if (s == d->dir ? !side->states[k].over || sig->has_files
					: sig->both_sides && !side->states[k].over) {
				gate_cands_add(&d->cands, side->states[k].num);
			}
		}
	}
}

/* Bodies have been looked at as far as they are there. */
static void note_bodies(struct gate_detector *d, const struct gate_app_group *group)
{
	struct gate_tx_side *side = NULL;

	for (uint32_t i = 0; i < group->engine_count; i++) {
		const struct gate_engine *e = &group->engines[i];
		struct gate_buffer_view view;

		if (!e->stream || e->progress > d->tx->progress[d->dir]) {
			continue;
		}
		for (uint32_t k = first_value(d, e); gate_values_get(d, e->slot, k, &view); k++) {
			if (!side) {
				side = &gate_state_of_tx(d, d->tx)->sides[d->dir];
			}
			gate_values_saw(d, side, e->slot, k, view.offset + view.size);
			if (!(d->set->slots[e->slot].flags & GATE_BUFFER_MULTI)) {
				break;
			}
		}
	}
}

/* All engines have searched them: files have names and bytes from their first state on. */
static void note_files(struct gate_detector *d)
{
	struct gate_file *f = d->tx->files[d->dir].first;
	uint16_t over = 0;

	for (; f && f->state != GATE_FILE_OPEN; f = f->next) {
		over++;
	}
	if (over) {
		gate_state_of_tx(d, d->tx)->sides[d->dir].files_over = over;
	}
}

static void release_files(struct gate_detector *d)
{
	uint64_t min = d->dir == GATE_TO_SERVER ? d->config->http_request_inspect_min
						: d->config->http_response_inspect_min;

	for (struct gate_file *f = d->tx->files[d->dir].first; f; f = f->next) {
		if (f->size >= min || f->state != GATE_FILE_OPEN || d->side_over) {
			gate_file_inspected(d->session, f, f->size);
		}
	}
}

static void inspect_tx(struct gate_detector *d, const struct gate_app_group *group)
{
	gate_values_forget(d);
	note_order(d);
	if (d->tx->detect && d->tx->detect->set_id != d->set->id) {
		(void)gate_state_of_tx(d, d->tx); /* rules were loaded since */
	}
	find_candidates(d, group);
	gate_cands_sort(&d->cands);
	for (uint32_t i = 0; i < d->cands.count; i++) {
		evaluate(d, &d->set->sigs[d->cands.nums[i]]);
	}
	gate_cands_clear(&d->cands);
	if (d->tx->done_dirs & GATE_DIR_BIT(d->dir)) {
		return;
	}
	note_bodies(d, group);
	note_files(d);
	if (d->tx->progress[d->dir] > 0 && group->engine_count) {
		gate_state_of_tx(d, d->tx)->sides[d->dir].scanned =
			(uint8_t)(d->tx->progress[d->dir] + 1);
	}
}

/* Whether it is to be looked at again, whatever comes. */
static bool see_tx(struct gate_detector *d, const struct gate_app_group *group)
{
	struct gate_tx *tx = d->tx;
	uint8_t bit = GATE_DIR_BIT(d->dir);

	d->side_over = (tx->done_dirs & bit) || (d->p->flags & GATE_PKT_STREAM_EOF);
	d->tx_waits = false;
	if (group && !(tx->skip_dirs & bit)) {
		d->stats.txs++;
		inspect_tx(d, group);
	}
	release_files(d);
	if ((tx->done_dirs & bit) || (tx->skip_dirs & bit)) {
		gate_tx_inspected(d->session, tx, (enum gate_dir)d->dir);
		return false;
	}
	return d->tx_waits;
}

/* Which of the rules that ask for something of the packet it suits: bits by their place. */
static uint64_t suited(struct gate_detector *d, const struct gate_app_group *group)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < group->fickle_count; i++) {
		const struct gate_sig *sig = &d->set->sigs[group->fickle[i]];

		if (gate_header_matches(d, sig) && gate_packet_matches(d, sig)) {
			bits |= 1ull << i;
		}
	}
	return bits;
}

/* What but the transactions themselves may make rules hold, since that side's were looked at: then
 * all that are open are looked at once more. */
static bool is_all_news(struct gate_detector *d, const struct gate_app_group *group)
{
	const struct gate_packet *p = d->p;
	struct gate_detect_flow *state = gate_state_of_flow(d, p->flow);
	struct gate_seen_txs *seen = &state->txs[d->dir];
	struct gate_seen_txs now = {
		.set_id = d->set->id,
		.app = p->flow->app,
		.events = gate_session_events(d->session),
		.established = p->flags & GATE_PKT_ESTABLISHED,
		.over = seen->over || (p->flags & GATE_PKT_STREAM_EOF),
	};
	bool news = now.set_id != seen->set_id || now.app != seen->app ||
		    now.events != seen->events || now.established != seen->established ||
		    now.over != seen->over;

	if (!gate_news_is_of_all(d->session, (enum gate_reader)d->dir)) {
		bool many = group->fickle_count > 64;

		now.suited = many ? 0 : suited(d, group);
		news = news || many || (now.suited & ~seen->suited);
	}
	*seen = now;
	return news;
}

/* Nothing is found in this packet; what it brought may yet be, unless the flow is settled. */
static void skip_txs(struct gate_detector *d)
{
	struct gate_flow *flow = d->p->flow;

	gate_frames_drop(d->session, (enum gate_dir)d->dir);
	if (flow->detect) {
		flow->detect->txs[d->dir].set_id = 0;
	}
}

static void see_news(struct gate_detector *d, const struct gate_app_group *group)
{
	enum gate_reader reader = (enum gate_reader)d->dir;
	unsigned int waiting = 0;
	struct gate_tx *next;

	for (d->tx = gate_news_first(d->session, reader); d->tx; d->tx = next) {
		bool again = !(d->tx->inspected_dirs & GATE_DIR_BIT(d->dir)) && see_tx(d, group);

		next = gate_news_next(d->tx, reader);
		if (again && waiting == TXS_WAITING_MAX) {
			d->stats.waiting_full++;
			again = false;
		}
		waiting += again;
		if (!again) {
			gate_news_read(d->session, d->tx, reader);
		}
	}
	d->in.dce_big = false;
}

static void see_txs(struct gate_detector *d, bool skip)
{
	struct gate_packet *p = d->p;
	const struct gate_app_group *group = NULL;

	if (!p->flow || !p->flow->session) {
		return;
	}
	d->session = p->flow->session;
	d->dir = p->dir;
	if (skip) {
		skip_txs(d);
	} else if (p->flow->app < GATE_APP_COUNT) {
		group = &d->set->apps[p->flow->app][p->dir];
		group = group->engine_count || group->always_count ? group : NULL;
	}
	d->tx = NULL;
	d->anew = group && is_all_news(d, group);
	if (d->anew) {
		gate_news_again(d->session, (enum gate_reader)d->dir);
	}
	see_news(d, group);
}

void gate_detect_txs(struct gate_detector *d)
{
	see_txs(d, false);
}

void gate_detect_skip_txs(struct gate_detector *d)
{
	see_txs(d, true);
}
