/* SPDX-License-Identifier: Apache-2.0 */
/* See verdict.h. */
#include "gate/verdict/verdict.h"

#include "base/counter.h"
#include "gate/decode/checksum.h"
#include "gate/flow/flow.h"

BH_COUNTER(gate_drop_rule, "packets dropped by a rule");
BH_COUNTER(gate_drop_flow, "packets dropped with their flow");
BH_COUNTER(gate_drop_stream, "packets dropped by the stream: they can't be");
BH_COUNTER(gate_drop_decode, "packets dropped by the decoder");
BH_COUNTER(gate_drop_defrag, "fragments dropped");
BH_COUNTER(gate_drop_memcap, "packets dropped for want of memory");
BH_COUNTER(gate_drop_midstream, "packets dropped: of a connection without handshake");
BH_COUNTER(gate_drop_app, "packets dropped: their flow's parser has given up");
BH_COUNTER(gate_reject_sent, "answers to rejected packets");
BH_COUNTER(gate_reject_limited, "answers that were not sent: too many a second");
BH_COUNTER(gate_reject_unanswerable, "rejected packets that nothing can be answered to");
BH_COUNTER(gate_reject_failed, "answers that could not be sent");
BH_COUNTER(gate_replace_lost, "replacements that are in no frame: the datagram came in fragments");
BH_COUNTER(gate_flow_bypassed, "flows that the fast path has taken over");

struct reason {
	const char *name; /* as Suricata's drop reasons */
	struct bh_prog_counter *counter;
};

static const struct reason reasons[GATE_DROP_REASONS] = {
	[GATE_DROP_NONE] = {"not dropped", NULL},
	[GATE_DROP_RULE] = {"rules", &gate_drop_rule},
	[GATE_DROP_FLOW] = {"flow drop", &gate_drop_flow},
	[GATE_DROP_STREAM] = {"stream error", &gate_drop_stream},
	[GATE_DROP_DECODE] = {"decode error", &gate_drop_decode},
	[GATE_DROP_DEFRAG] = {"defrag error", &gate_drop_defrag},
	[GATE_DROP_MEMCAP] = {"memcap", &gate_drop_memcap},
	[GATE_DROP_MIDSTREAM] = {"stream midstream", &gate_drop_midstream},
	[GATE_DROP_APP] = {"applayer error", &gate_drop_app},
};

const char *gate_drop_reason_name(enum gate_drop_reason reason)
{
	return reason < GATE_DROP_REASONS ? reasons[reason].name : "unknown";
}

/* A token a time; the bucket holds a tenth of a second's. */
static bool may_answer(struct gate_verdict *v, uint64_t now_us)
{
	const uint64_t each = 1000000 / GATE_REJECTS_PER_S, most = GATE_REJECTS_PER_S / 10;
	uint64_t passed = now_us > v->reject.last_us ? now_us - v->reject.last_us : 0;

	if (passed >= each) {
		uint64_t tokens = v->reject.tokens + passed / each;

		v->reject.tokens = tokens < most ? tokens : most;
		v->reject.last_us = now_us;
	} else if (now_us < v->reject.last_us) {
		v->reject.last_us = now_us;
	}
	if (!v->reject.tokens) {
		bh_counter_add(&gate_reject_limited, 1);
		return false;
	}
	v->reject.tokens--;
	return true;
}

static void answer(struct gate_verdict *v, const struct gate_packet *p, bool to_sender)
{
	uint8_t frame[GATE_REJECT_SIZE_MAX];
	size_t size;

	if (!v->source || !v->source->ops->inject) {
		return;
	}
	size = gate_reject_frame(p, to_sender, frame, sizeof(frame));
	if (!size) {
		bh_counter_add(&gate_reject_unanswerable, 1);
		return;
	}
	if (!may_answer(v, p->time_us)) {
		return;
	}
	if (v->source->ops->inject(v->source, p, !to_sender, frame, size)) {
		bh_counter_add(&gate_reject_failed, 1);
	} else {
		bh_counter_add(&gate_reject_sent, 1);
	}
}

static void answer_both(struct gate_verdict *v, const struct gate_packet *p)
{
	if (p->flags & GATE_PKT_REJECT_SRC) {
		answer(v, p, true);
	}
	if (p->flags & GATE_PKT_REJECT_DST) {
		answer(v, p, false);
	}
}

void gate_verdict_inner(struct gate_verdict *verdict, struct gate_packet *p,
			struct gate_packet *root)
{
	if (p->flags & (GATE_PKT_REJECT_SRC | GATE_PKT_REJECT_DST)) {
		answer_both(verdict, p);
		root->flags |= GATE_PKT_INNER_REJECTED;
	}
	if (!(p->flags & GATE_PKT_MODIFIED)) {
		return;
	}
	if (p->flags & GATE_PKT_REASSEMBLED || p->data < root->data ||
	    p->data >= root->data + root->size) {
		bh_counter_add(&gate_replace_lost, 1);
		return;
	}
	for (struct gate_packet *q = p; q; q = (struct gate_packet *)(uintptr_t)q->outer) {
		gate_checksum_redo(q);
	}
	root->flags |= GATE_PKT_INNER_MODIFIED;
}

void gate_verdict_packet(struct gate_verdict *verdict, struct gate_packet *p)
{
	struct gate_verdict *v = verdict;

	answer_both(v, p);
	if (p->flags & GATE_PKT_DROP) {
		if (p->drop_reason < GATE_DROP_REASONS && reasons[p->drop_reason].counter) {
			bh_counter_add(reasons[p->drop_reason].counter, 1);
		}
		return;
	}
	if (p->flow && p->flow->state == GATE_FLOW_BYPASSED && v->bypass &&
	    v->bypass->add(v->bypass, p->flow)) {
		bh_counter_add(&gate_flow_bypassed, 1);
	}
	if (p->flags & GATE_PKT_MODIFIED) {
		gate_checksum_redo(p);
	}
	if (v->inline_mode && v->source && v->source->ops->forward) {
		/* the source counts what could not be sent */
		(void)v->source->ops->forward(v->source, p);
	}
}
