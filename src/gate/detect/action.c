/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of rules that matched: what they set, at once, so that rules behind them see it;
 * when all of the packet have been asked, in order: thresholds, then pass, drop, reject, alert.
 * A pass ends it. A drop or pass that was found in the stream or in a transaction takes the flow.
 */
#include "gate/detect/detector.h"

/* ---- what a rule sets ---- */

static void set_xbit(struct gate_detector *d, const struct gate_flowbits *bits,
		     const struct gate_key *key)
{
	bool unset = bits->cmd == GATE_BITS_UNSET;

	if (bits->cmd == GATE_BITS_TOGGLE) {
		unset = gate_xbit_isset(d->shared, key, d->p->time_us);
	}
	if (unset) {
		gate_xbit_unset(d->shared, key);
	} else {
		gate_xbit_set(d->shared, key, d->p->time_us, bits->expire_s);
	}
}

static void set_xbits(struct gate_detector *d, const struct gate_flowbits *bits)
{
	struct gate_key key;

	bh_vec_foreach (name, &bits->names) {
		for (unsigned int i = 0; gate_key_of_bits(d->p, bits, *name, i, &key); i++) {
			set_xbit(d, bits, &key);
		}
	}
}

/* `filestore`: the files of the side that matched, unless it names a side or more than the file. */
static void want_files(struct gate_detector *d, const struct gate_match *m, uint32_t sid)
{
	uint8_t dirs = m->num.dir ? m->num.dir : (uint8_t)GATE_DIR_BIT(d->dir);

	if (!d->tx) {
		return;
	}
	if (m->num.number == GATE_STORE_FILE && dirs == GATE_DIR_BIT(d->dir)) {
		for (struct gate_file *f = d->tx->files[d->dir].first; f; f = f->next) {
			gate_file_store(d->session, f, sid);
		}
	} else {
		gate_file_store_all(d->session, m->num.number == GATE_STORE_FLOW ? NULL : d->tx,
				    dirs, sid);
	}
}

static void apply_post(struct gate_detector *d, const struct gate_sig *sig,
		       const struct gate_match *m)
{
	struct gate_flow *flow = d->p->flow;

	switch (m->kind) {
	case GATE_M_FLOWBITS:
		if (m->bits.track != GATE_BITS_FLOW && m->bits.track != GATE_BITS_TX) {
			set_xbits(d, &m->bits);
		} else if (flow) {
			gate_vars_change_bits(flow, &m->bits, d->tx ? d->tx->id : 0);
		}
		break;
	case GATE_M_FLOWINT:
		if (flow) {
			gate_vars_change_int(flow, &m->flowint);
		}
		break;
	case GATE_M_FILESTORE:
		want_files(d, m, sig->rule->sid);
		break;
	case GATE_M_CONFIG:
		if (d->tx) {
			d->tx->no_record = true;
		}
		break;
	case GATE_M_BYPASS:
		if (flow) {
			flow->flags |= GATE_FLOW_NO_PAYLOAD;
			gate_flow_set_state(gate_flow_table_of(flow), flow, GATE_FLOW_BYPASSED);
		}
		break;
	default:
		break;
	}
}

/* `replace`: in the packet itself; checksums are the verdict's work. */
static void apply_replace(struct gate_detector *d)
{
	struct gate_packet *p = d->p;

	if (!d->config->inline_mode || d->in.data != p->payload.data) {
		return;
	}
	for (uint8_t i = 0; i < d->in.replace_count; i++) {
		const struct gate_replace *r = &d->in.replaces[i];

		if (r->at + r->content->size <= p->payload.size) {
			memcpy((uint8_t *)p->payload.data + r->at, r->content->replace,
			       r->content->size);
			p->flags |= GATE_PKT_MODIFIED;
		}
	}
}

void gate_queue(struct gate_detector *d, const struct gate_sig *sig, bool in_stream)
{
	for (unsigned int i = 0; i < sig->post_count; i++) {
		apply_post(d, sig, sig->post[i]);
	}
	if (d->in.replace_count) {
		apply_replace(d);
	}
	if (d->in.taken.count) {
		gate_captures_keep(&d->in.taken, sig->rule, d->p->flow, &d->captures);
		d->p->captures = &d->captures;
	}
	if (d->queued == GATE_QUEUE_MAX) {
		d->stats.queue_full++;
		return;
	}
	d->queue[d->queued++] = (struct gate_queued){.num = sig->num,
						     .in_tx = d->tx != NULL,
						     .in_stream = in_stream,
						     .tx_id = d->tx ? d->tx->id : 0};
}

/* ---- thresholds ---- */

/* What stands for all: the worst that one of the rule's thresholds says. */
static enum gate_threshold_result threshold(struct gate_detector *d, const struct gate_sig *sig,
					    const struct gate_threshold *th, uint8_t index)
{
	const struct gate_packet *p = d->p;
	struct gate_key key;

	if (th->type == GATE_TH_SUPPRESS) {
		bool src = !th->addrs || gate_addr_set_has(th->addrs, &p->src);
		bool dst = !th->addrs || gate_addr_set_has(th->addrs, &p->dst);
		bool here = th->track == GATE_TRACK_DST	     ? dst
			    : th->track == GATE_TRACK_EITHER ? src || dst
							     : src;

		return here ? GATE_TH_QUIET : GATE_TH_ALERT;
	}
	if (!gate_key_of_threshold(p, sig->rule, th, index, &key)) {
		return GATE_TH_ALERT;
	}
	return gate_threshold_count(d->shared, &key, th, th->unique == 2 ? p->dport : p->sport,
				    p->time_us);
}

static enum gate_threshold_result thresholds(struct gate_detector *d, const struct gate_sig *sig,
					     uint8_t *action)
{
	enum gate_threshold_result result = GATE_TH_ALERT, r;
	const struct gate_rule *rule = sig->rule;

	for (uint32_t i = 0; i < sig->limit_count; i++) {
		if (sig->limits[i].t.type == GATE_TH_SUPPRESS &&
		    threshold(d, sig, &sig->limits[i].t, 0) == GATE_TH_QUIET) {
			return GATE_TH_QUIET;
		}
	}
	if (rule->threshold.type != GATE_TH_NONE) {
		result = threshold(d, sig, &rule->threshold, 0);
	}
	for (uint32_t i = 0; i < sig->limit_count; i++) {
		const struct gate_threshold *th = &sig->limits[i].t;

		if (th->type == GATE_TH_SUPPRESS) {
			continue;
		}
		r = threshold(d, sig, th, (uint8_t)(i + 1));
		if (r == GATE_TH_NEW_ACTION) {
			*action = th->new_action;
		} else if (r != GATE_TH_ALERT) {
			result = r;
		}
	}
	return result;
}

/* ---- actions ---- */

static bool takes_flow(const struct gate_sig *sig, const struct gate_queued *q)
{
	switch (sig->type) {
	case GATE_SIG_IP_ONLY:
	case GATE_SIG_LIKE_IP_ONLY:
	case GATE_SIG_PROTO_DETECTED:
	case GATE_SIG_APP:
	case GATE_SIG_TX:
	case GATE_SIG_FRAME:
		return true;
	case GATE_SIG_STREAM:
	case GATE_SIG_PACKET_STREAM:
		return q->in_stream;
	default:
		return false;
	}
}

static void drop(struct gate_detector *d, uint8_t action)
{
	struct gate_packet *p = d->p;

	if (!d->config->inline_mode && !d->config->simulate_ips && action == GATE_DROP) {
		return;
	}
	if (action & (GATE_REJECT | GATE_REJECT_BOTH)) {
		p->flags |= GATE_PKT_REJECT_SRC;
	}
	if (action & (GATE_REJECT_DST | GATE_REJECT_BOTH)) {
		p->flags |= GATE_PKT_REJECT_DST;
	}
	if ((d->config->inline_mode || d->config->simulate_ips) && !(p->flags & GATE_PKT_DROP)) {
		p->flags |= GATE_PKT_DROP;
		p->drop_reason = GATE_DROP_RULE;
	}
}

/* The first that says what becomes of the flow holds. */
static void act_on_flow(struct gate_detector *d, uint8_t action)
{
	struct gate_flow *flow = d->p->flow;

	if (!flow || (flow->flags & (GATE_FLOW_DROP | GATE_FLOW_PASS))) {
		return;
	}
	if (action & GATE_PASS) {
		flow->flags |= GATE_FLOW_PASS;
	} else {
		flow->flags |= GATE_FLOW_DROP;
		d->p->flags |= d->p->flags & GATE_PKT_DROP ? GATE_PKT_DROP_FLOW : 0;
	}
}

#define DROPS (GATE_DROP | GATE_REJECT | GATE_REJECT_DST | GATE_REJECT_BOTH)

static void note_alert(struct gate_detector *d, const struct gate_sig *sig,
		       const struct gate_queued *q, uint8_t action)
{
	struct gate_packet *p = d->p;

	if (p->alert_count >= d->config->packet_alerts) {
		d->stats.alerts_full++;
		return;
	}
	p->alerts[p->alert_count++] = (struct gate_packet_alert){.rule = sig->rule,
								 .action = action,
								 .dir = p->dir,
								 .in_tx = q->in_tx,
								 .in_stream = q->in_stream,
								 .tx_id = q->tx_id};
	d->stats.alerts++;
	if (p->flow) {
		p->flow->flags |= GATE_FLOW_ALERTED;
	}
}

/* False: a pass, nothing behind it counts. */
static bool act(struct gate_detector *d, const struct gate_queued *q)
{
	const struct gate_sig *sig = &d->set->sigs[q->num];
	enum gate_threshold_result result = GATE_TH_ALERT;
	uint8_t action = sig->action;

	if (sig->thresholds) {
		result = thresholds(d, sig, &action);
	}
	if (result == GATE_TH_NOT) {
		d->stats.suppressed++;
		return true;
	}
	for (unsigned int i = 0; i < sig->post_count; i++) {
		if (sig->post[i]->kind == GATE_M_TAG) {
			gate_tag_begin(d, sig->post[i]);
		}
	}
	if (action & DROPS) {
		drop(d, action);
	}
	if ((action & (DROPS | GATE_PASS)) && takes_flow(sig, q)) {
		act_on_flow(d, action);
	}
	if (result == GATE_TH_QUIET || sig->noalert) {
		d->stats.suppressed++;
	} else if (!(action & GATE_PASS) || (sig->rule->flags & GATE_RULE_ALERT)) {
		note_alert(d, sig, q, action);
	}
	return !(action & GATE_PASS);
}

void gate_actions(struct gate_detector *d)
{
	/* By number, and in the order in which they were found: transactions of one rule. */
	for (uint32_t i = 1; i < d->queued; i++) {
		struct gate_queued moved = d->queue[i];
		uint32_t k = i;

		for (; k > 0 && d->queue[k - 1].num > moved.num; k--) {
			d->queue[k] = d->queue[k - 1];
		}
		d->queue[k] = moved;
	}
	for (uint32_t i = 0; i < d->queued; i++) {
		if (!act(d, &d->queue[i])) {
			break;
		}
	}
	d->queued = 0;
}
