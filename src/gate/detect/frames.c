/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules on frames (app/frame.h): each frame that is whole is searched for the patterns of the rules
 * on its kind, and these are evaluated, once. A rule alerts for each frame that it holds on.
 */
#include "gate/app/frame.h"
#include "gate/detect/detector.h"

static bool lists_hold(struct gate_detector *d, const struct gate_sig *sig)
{
	struct gate_buffer_view view;

	for (unsigned int i = 0; i < sig->list_count; i++) {
		const struct gate_dlist *list = &sig->lists[i];

		if (!gate_values_get(d, list->slot, 0, &view) ||
		    !gate_inspect_list(&d->in, list->matches, &view)) {
			return false;
		}
	}
	return true;
}

static void evaluate(struct gate_detector *d, const struct gate_sig *sig)
{
	d->stats.candidates++;
	if (!gate_header_matches(d, sig)) {
		return;
	}
	d->stats.evaluated++;
	gate_inspect_begin(&d->in, sig->vars);
	if (gate_packet_matches(d, sig) && lists_hold(d, sig)) {
		gate_queue(d, sig, true);
	}
}

static void look(struct gate_detector *d, const struct gate_app_group *group)
{
	struct gate_buffer_view view;

	gate_values_forget(d);
	for (uint32_t i = 0; i < group->engine_count; i++) {
		if (gate_values_get(d, group->engines[i].slot, 0, &view)) {
			gate_prefilter_scan(d, &group->engines[i].search, &view, 0);
		}
	}
	for (uint32_t i = 0; i < group->always_count; i++) {
		gate_cands_add(&d->cands, group->always[i]);
	}
	gate_cands_sort(&d->cands);
	for (uint32_t i = 0; i < d->cands.count; i++) {
		evaluate(d, &d->set->sigs[d->cands.nums[i]]);
	}
	gate_cands_clear(&d->cands);
}

void gate_detect_frames(struct gate_detector *d)
{
	struct gate_session *session = d->p->flow ? d->p->flow->session : NULL;
	enum gate_dir dir = (enum gate_dir)d->p->dir;

	if (!session) {
		return;
	}
	if (d->p->flags & (GATE_PKT_STREAM_EOF | GATE_PKT_PSEUDO)) {
		gate_frames_end(session, dir);
	}
	d->tx = NULL;
	d->dir = d->p->dir;
	while ((d->frame = gate_frame_next(session, dir))) {
		look(d, &d->set->frames[d->frame->kind - GATE_BUF_FRAME_FIRST][dir]);
		gate_frame_seen(session, dir, (struct gate_frame *)(uintptr_t)d->frame);
	}
	gate_values_forget(d);
}
