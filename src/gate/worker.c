/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. Time is that of packets: offline it moves with them, live with the clock. */
#include "gate/worker.h"

#include "base/util.h"
#include "gate/app/app.h"
#include "gate/app/frame.h"
#include "gate/decode/decode.h"
#include "gate/flow/flow.h"
#include "gate/output/filestore.h"
#include "gate/stream/stream.h"

#define TICK_US	     100000
#define TICK_PACKETS 64	  /* at least, between two: times of a capture may leap */
#define TICK_BUDGET  4096 /* flows that end in a tick; those with transactions count for more */
#define SECOND_US    1000000
#define SECOND_TICKS 10

struct gate_worker {
	struct gate_worker_options options;
	struct gate_decoder *decoder;
	struct gate_flow_hooks hooks;
	struct gate_flow_table *flows;
	struct gate_streams *streams;
	struct gate_apps *apps;
	struct gate_detector *detector;
	struct gate_eve *eve; /* NULL: no records */

	struct gate_rule_sets *_Atomic pending; /* to be taken up; NULL: none */
	struct gate_rule_sets *sets;
	struct gate_selector *selector; /* NULL: there is but one rule set */

	struct gate_packet *current; /* on its walk */
	struct gate_packet *root;    /* as it came from the source */
	struct gate_packet pseudo;
	uint64_t now_us, next_tick_us, next_second_us;
	unsigned int since_tick, since_second; /* packets; ticks */
	struct gate_stats stats;
};

/* ---- stream to parser ---- */

static uint32_t feed(struct gate_worker *w, struct gate_flow *flow, enum gate_dir dir,
		     const struct gate_stream_view *view)
{
	const struct gate_app_input in = {
		.data = view->data,
		.size = view->data ? view->size : 0,
		.gap = view->data ? 0 : view->size,
		.offset = view->offset,
		.eof = view->eof,
		.cut = view->cut,
		.time_us = w->now_us,
		.packet = w->current,
	};

	return gate_apps_stream(w->apps, flow, dir, &in);
}

static uint32_t on_stream(struct gate_flow *flow, enum gate_dir dir,
			  const struct gate_stream_view *view, void *arg)
{
	enum gate_dir other = GATE_DIR_OTHER(dir);
	struct gate_worker *w = arg;
	uint32_t done = feed(w, flow, dir, view);

	/* This side has told the protocol: what the other one has said before comes first. */
	if (!done && flow->session && gate_session_wants(flow->session, other)) {
		gate_stream_offer(w->streams, flow, other);
		done = feed(w, flow, dir, view);
	}
	return done;
}

/* ---- the end of a flow ---- */

/* Files that rules have wanted after their end. */
static void keep_files(struct gate_worker *w, struct gate_session *session)
{
	struct gate_tx *tx = gate_news_first(session, GATE_READ_RECORDS);

	for (; tx; tx = gate_news_next(tx, GATE_READ_RECORDS)) {
		for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
			for (struct gate_file *f = tx->files[dir].first; f; f = f->next) {
				gate_filestore_look(w->options.files, f);
			}
		}
	}
}

static void session_records(struct gate_worker *w, struct gate_packet *p)
{
	struct gate_session *session = p->flow->session;
	struct gate_tx *tx;

	if (w->eve) {
		gate_eve_session(w->eve, p->flow, p);
	}
	while ((tx = gate_news_first(session, GATE_READ_RECORDS))) {
		if (w->eve) {
			gate_eve_tx(w->eve, p->flow, p, tx);
		}
		gate_news_read(session, tx, GATE_READ_RECORDS);
	}
}

static void records(struct gate_worker *w, struct gate_packet *p)
{
	bool session = p->flow && p->flow->session;

	if (w->options.files && session) {
		keep_files(w, p->flow->session);
	}
	if (w->eve) {
		gate_eve_packet(w->eve, p);
	}
	if (session) {
		session_records(w, p);
	}
	gate_detect_done(w->detector, p);
}

static void inspect(struct gate_worker *w, struct gate_packet *p)
{
	if (w->sets) {
		gate_detect(w->detector, p);
		GATE_STAT_ADD(&w->stats, DETECT_ALERTS, p->alert_count);
	} else if (p->flow && p->flow->stream) {
		/* rules may come later: only what is here is let go */
		gate_stream_inspected(p->flow->stream, (enum gate_dir)p->dir, UINT64_MAX);
	}
}

/* A packet without bytes: rules see what the end of the flow has brought. */
static void make_pseudo(struct gate_worker *w, struct gate_flow *flow, enum gate_dir dir)
{
	struct gate_packet *p = &w->pseudo;
	enum gate_dir other = GATE_DIR_OTHER(dir);

	memset(p, 0, sizeof(*p));
	p->time_us = w->now_us;
	p->source = flow->source;
	p->flags = GATE_PKT_PSEUDO | GATE_PKT_STREAM_EOF |
		   (flow->state == GATE_FLOW_NEW ? 0u : GATE_PKT_ESTABLISHED);
	p->src = flow->addr[dir];
	p->dst = flow->addr[other];
	p->ip_version = flow->ip_version;
	p->ip_proto = flow->ip_proto;
	if (flow->ip_proto != IPPROTO_ICMP && flow->ip_proto != IPPROTO_ICMPV6) {
		p->sport = flow->port[dir];
		p->dport = flow->port[other];
	}
	p->vlan_count = flow->vlan_count;
	memcpy(p->vlan, flow->vlan, sizeof(p->vlan));
	p->depth = flow->depth;
	p->flow = flow;
	gate_selector_choose(w->selector, p);
	p->dir = (uint8_t)dir;
}

static bool has_open_tx(struct gate_session *session, enum gate_dir dir)
{
	for (const struct gate_tx *tx = gate_session_first(session); tx; tx = tx->next) {
		if (!(tx->inspected_dirs & GATE_DIR_BIT(dir))) {
			return true;
		}
	}
	return false;
}

/* Whether that side has something that rules have not seen; as Suricata's FlowNeedsReassembly. */
static bool needs_look(const struct gate_flow *flow, enum gate_dir dir)
{
	enum gate_tcp_state state;
	struct gate_stream_view view;
	uint64_t from;

	if (!flow->stream || flow->flags & GATE_FLOW_DROP) {
		return false;
	}
	state = gate_stream_state(flow->stream);
	return (state >= GATE_TCP_ESTABLISHED && state != GATE_TCP_CLOSED) ||
	       gate_stream_uninspected(flow->stream, dir, 0, &view, &from) ||
	       (flow->session && has_open_tx(flow->session, dir));
}

/* What was left of one side, before the other side's rest: so a rule for both sides sees what the
 * server said last once, as in Suricata. Datagrams are over with their last packet: only records
 * are due. */
static void last_look(struct gate_worker *w, struct gate_flow *flow, enum gate_dir dir)
{
	make_pseudo(w, flow, dir);
	w->current = &w->pseudo;
	gate_stream_finish(w->streams, flow, dir);
	gate_apps_end(w->apps, flow, dir, w->now_us);
	if (w->sets && needs_look(flow, dir)) {
		inspect(w, &w->pseudo);
		GATE_STAT_ADD(&w->stats, DETECT_PSEUDO, 1);
	}
	records(w, &w->pseudo);
}

/* A transaction costs as much as a flow without any, on each side. */
static unsigned int on_flow_ending(struct gate_flow *flow, enum gate_flow_reason reason,
				   uint64_t now_us, void *arg)
{
	struct gate_worker *w = arg;
	struct gate_packet *was = w->current;
	bool rest = flow->stream || flow->session;
	unsigned int txs = flow->session ? gate_session_count(flow->session) : 0;

	if (rest && flow->state != GATE_FLOW_BYPASSED) {
		last_look(w, flow, GATE_TO_SERVER);
		last_look(w, flow, GATE_TO_CLIENT);
		w->current = was;
	}
	if (w->eve) {
		gate_eve_flow(w->eve, flow, reason, now_us);
	}
	return 1 + 2 * txs;
}

static void on_flow_freeing(struct gate_flow *flow, void *arg)
{
	struct gate_worker *w = arg;

	if (flow->session) {
		gate_session_free(w->apps, flow->session);
	}
	if (flow->stream) {
		gate_stream_free(w->streams, flow->stream);
	}
	if (flow->detect) {
		gate_detect_flow_free(flow->detect);
	}
	if (flow->vars) {
		gate_vars_free(flow->vars);
	}
	flow->session = NULL;
	flow->stream = NULL;
	flow->detect = NULL;
	flow->vars = NULL;
}

/* ---- counters ---- */

static void count_packet(struct gate_stats *s, const struct gate_packet *p)
{
	GATE_STAT_ADD(s, DECODER_PKTS, 1);
	GATE_STAT_ADD(s, DECODER_BYTES, p->size);
	GATE_STAT_ADD(s, DECODER_INVALID, !!(p->flags & GATE_PKT_INVALID));
	GATE_STAT_ADD(s, DECODER_TRUNCATED, !!(p->flags & GATE_PKT_TRUNCATED));
	GATE_STAT_ADD(s, DECODER_BAD_CSUM, !!(p->flags & GATE_PKT_BAD_CSUM));
	GATE_STAT_ADD(s, DECODER_TUNNELED, !!(p->flags & GATE_PKT_TUNNELED));
	GATE_STAT_ADD(s, DECODER_FRAGMENTS, !!(p->flags & GATE_PKT_FRAGMENT));
	GATE_STAT_ADD(s, DECODER_REASSEMBLED, !!(p->flags & GATE_PKT_REASSEMBLED));
	GATE_STAT_ADD(s, DECODER_VLAN, p->vlan_count > 0);
	GATE_STAT_ADD(s, DECODER_ARP, p->arp != NULL);
	GATE_STAT_ADD(s, DECODER_IPV4, p->ip4 != NULL);
	GATE_STAT_ADD(s, DECODER_IPV6, p->ip6 != NULL);
	GATE_STAT_ADD(s, DECODER_TCP, p->tcp != NULL);
	GATE_STAT_ADD(s, DECODER_UDP, p->udp != NULL);
	GATE_STAT_ADD(s, DECODER_SCTP, p->sctp != NULL);
	GATE_STAT_ADD(s, DECODER_ICMPV4, p->icmp4 != NULL);
	GATE_STAT_ADD(s, DECODER_ICMPV6, p->icmp6 != NULL);
}

static void count_verdict(struct gate_stats *s, const struct gate_packet *p)
{
	bool rejected =
		p->flags & (GATE_PKT_REJECT_SRC | GATE_PKT_REJECT_DST | GATE_PKT_INNER_REJECTED);
	bool replaced = p->flags & (GATE_PKT_MODIFIED | GATE_PKT_INNER_MODIFIED);

	GATE_STAT_ADD(s, IPS_ACCEPTED, !(p->flags & GATE_PKT_DROP));
	GATE_STAT_ADD(s, IPS_BLOCKED, !!(p->flags & GATE_PKT_DROP));
	GATE_STAT_ADD(s, IPS_REJECTED, rejected);
	GATE_STAT_ADD(s, IPS_REPLACED, replaced);
}

static void set_stat(struct gate_stats *s, enum gate_stat stat, uint64_t value)
{
	atomic_store_explicit(&s->value[stat], value, memory_order_relaxed);
}

static void publish_apps(struct gate_worker *w)
{
	const struct gate_apps_stats *apps = gate_apps_stats(w->apps);
	struct gate_stats *s = &w->stats;

	set_stat(s, GATE_STAT_APP_MEMORY, apps->memory);
	set_stat(s, GATE_STAT_APP_MEMORY_REFUSED, apps->memory_refused);
	set_stat(s, GATE_STAT_APP_SESSION_REFUSED, apps->session_refused);
	set_stat(s, GATE_STAT_APP_TXS_FORCED, apps->txs_forced);
	set_stat(s, GATE_STAT_APP_TXS_REFUSED, apps->txs_refused);
	set_stat(s, GATE_STAT_APP_GAPS, apps->gaps);
	set_stat(s, GATE_STAT_APP_FILES, apps->files);
	set_stat(s, GATE_STAT_APP_FILES_REFUSED, apps->files_refused);
	for (unsigned int app = 0; app < GATE_APP_STATS; app++) {
		atomic_store_explicit(&s->app_flows[app], apps->flows[app], memory_order_relaxed);
		atomic_store_explicit(&s->app_txs[app], apps->txs[app], memory_order_relaxed);
		atomic_store_explicit(&s->app_errors[app], apps->errors[app], memory_order_relaxed);
	}
}

static void publish_detection(struct gate_worker *w)
{
	const struct gate_detector_stats *d = gate_detector_stats(w->detector);
	struct gate_stats *s = &w->stats;

	set_stat(s, GATE_STAT_DETECT_ALERTS_FULL, d->alerts_full + d->queue_full);
	set_stat(s, GATE_STAT_DETECT_SUPPRESSED, d->suppressed);
	set_stat(s, GATE_STAT_DETECT_SEARCHED, d->scanned_bytes);
	set_stat(s, GATE_STAT_DETECT_TXS, d->txs);
	set_stat(s, GATE_STAT_DETECT_STATES_FULL, d->states_full);
	set_stat(s, GATE_STAT_DETECT_WAITING_FULL, d->waiting_full);
	set_stat(s, GATE_STAT_DETECT_TRANSFORM_FULL, d->transform_full);
}

static void publish_streams(struct gate_worker *w)
{
	struct gate_stats *s = &w->stats;
	struct gate_stream_stats t;

	gate_streams_stats(w->streams, &t);
	set_stat(s, GATE_STAT_TCP_SESSIONS, t.sessions);
	set_stat(s, GATE_STAT_TCP_ACTIVE, t.active);
	set_stat(s, GATE_STAT_TCP_MIDSTREAM, t.midstream);
	set_stat(s, GATE_STAT_TCP_NO_MEMORY, t.no_memory);
	set_stat(s, GATE_STAT_TCP_INVALID_CHECKSUM, t.invalid_checksum);
	set_stat(s, GATE_STAT_TCP_INVALID, t.invalid);
	set_stat(s, GATE_STAT_TCP_RST, t.rst);
	set_stat(s, GATE_STAT_TCP_SYN, t.syn);
	set_stat(s, GATE_STAT_TCP_SYNACK, t.synack);
	set_stat(s, GATE_STAT_TCP_GAPS, t.gaps);
	set_stat(s, GATE_STAT_TCP_GAP_BYTES, t.gap_bytes);
	set_stat(s, GATE_STAT_TCP_OVERLAPS, t.overlaps);
	set_stat(s, GATE_STAT_TCP_DIFFERENT, t.different);
	set_stat(s, GATE_STAT_TCP_DEPTH_REACHED, t.depth_reached);
	set_stat(s, GATE_STAT_TCP_SEGMENTS_FULL, t.segments_full);
	set_stat(s, GATE_STAT_TCP_URGENT, t.urgent);
	set_stat(s, GATE_STAT_TCP_REWRITTEN, t.rewritten);
	set_stat(s, GATE_STAT_TCP_RETRANSMISSIONS, t.retransmissions);
	set_stat(s, GATE_STAT_TCP_MEMORY, t.memory);
}

/* Counters that others keep without atomics are copied here, where no other thread may look. */
static void publish(struct gate_worker *w)
{
	struct gate_stats *s = &w->stats;
	struct gate_source_stats source = {};
	struct gate_flow_stats flow;

	gate_flow_stats(w->flows, &flow);
	set_stat(s, GATE_STAT_FLOW_ACTIVE, flow.active);
	set_stat(s, GATE_STAT_FLOW_TOTAL, flow.total);
	set_stat(s, GATE_STAT_FLOW_TCP, flow.tcp);
	set_stat(s, GATE_STAT_FLOW_UDP, flow.udp);
	set_stat(s, GATE_STAT_FLOW_ICMPV4, flow.icmp4);
	set_stat(s, GATE_STAT_FLOW_ICMPV6, flow.icmp6);
	set_stat(s, GATE_STAT_FLOW_OTHER, flow.other);
	set_stat(s, GATE_STAT_FLOW_EVICTED_NEW, flow.evicted_new);
	set_stat(s, GATE_STAT_FLOW_EVICTED, flow.evicted);
	set_stat(s, GATE_STAT_FLOW_NO_ROOM, flow.no_room);
	set_stat(s, GATE_STAT_FLOW_EXPECTATIONS_FULL, flow.expectations_full);
	set_stat(s, GATE_STAT_FLOW_TIMEOUTS, flow.timeouts);
	set_stat(s, GATE_STAT_FLOW_REUSED, flow.reused);
	set_stat(s, GATE_STAT_FLOW_EXPECTATIONS, flow.expectations);
	set_stat(s, GATE_STAT_FLOW_EXPECTATIONS_MET, flow.expectations_met);
	publish_streams(w);
	publish_apps(w);
	publish_detection(w);
	if (w->options.source) {
		w->options.source->ops->stats(w->options.source, &source);
		set_stat(s, GATE_STAT_CAPTURE_PACKETS, source.packets);
		set_stat(s, GATE_STAT_CAPTURE_DROPS, source.kernel_drops);
		set_stat(s, GATE_STAT_CAPTURE_SENT, source.sent);
		set_stat(s, GATE_STAT_CAPTURE_SEND_FAILED, source.send_failed);
		set_stat(s, GATE_STAT_CAPTURE_BAD, source.bad);
	}
}

void gate_worker_stats(const struct gate_worker *worker, struct gate_stats *sum)
{
	gate_stats_sum(sum, &worker->stats);
}

/* ---- the walk ---- */

static void drop(struct gate_packet *p, enum gate_drop_reason reason)
{
	p->flags |= GATE_PKT_DROP;
	p->drop_reason = (uint16_t)reason;
}

static void transport(struct gate_worker *w, struct gate_packet *p)
{
	if (p->tcp) {
		if (!gate_stream_packet(w->streams, p->flow, p) && !(p->flags & GATE_PKT_DROP)) {
			drop(p, GATE_DROP_STREAM);
		}
	} else if (p->udp && p->payload.size) {
		gate_apps_datagram(w->apps, p->flow, p);
	}
}

/* What becomes of a packet inside another becomes of the outer one. */
static void tell_root(struct gate_worker *w, struct gate_packet *p)
{
	struct gate_packet *root = w->root;

	if (p == root) {
		return;
	}
	gate_verdict_inner(&w->options.verdict, p, root);
	if (!(p->flags & GATE_PKT_DROP)) {
		return;
	}
	root->flags |= GATE_PKT_DROP;
	root->drop_reason = p->drop_reason;
}

/* TCP or UDP that found no room in the table: it can't be inspected as it should. */
static bool is_lost(const struct gate_packet *p)
{
	return !p->flow && (p->tcp || p->udp) &&
	       !(p->flags & (GATE_PKT_FRAGMENT | GATE_PKT_INVALID));
}

/* A fragment that defrag had no room for: what it completes elsewhere is never seen whole here. */
static bool is_lost_fragment(const struct gate_packet *p)
{
	return p->flags & GATE_PKT_FRAGMENT &&
	       (gate_packet_has_event(p, GATE_EVENT_IPV4_FRAG_IGNORED) ||
		gate_packet_has_event(p, GATE_EVENT_IPV6_FRAG_IGNORED));
}

static void walk(struct gate_packet *p, void *arg)
{
	struct gate_worker *w = arg;
	bool closed = w->options.verdict.inline_mode && !w->options.config->fail_open;
	struct gate_flow *flow;

	w->current = p;
	count_packet(&w->stats, p);
	flow = gate_flow_of(w->flows, p);
	gate_selector_choose(w->selector, p);
	if (flow && flow->state == GATE_FLOW_BYPASSED) {
		return;
	}
	if (flow && flow->flags & GATE_FLOW_DROP) {
		drop(p, GATE_DROP_FLOW);
	} else if (closed && is_lost(p)) {
		drop(p, GATE_DROP_MEMCAP);
	} else {
		if (closed && is_lost_fragment(p)) {
			drop(p, GATE_DROP_DEFRAG); /* rules are told of its event */
		}
		if (flow) {
			transport(w, p);
		}
		/* also what the stream has refused: rules tell of its events */
		inspect(w, p);
		GATE_STAT_ADD(&w->stats, DETECT_PACKETS, 1);
	}
	gate_stats_events(&w->stats, p->events, p->event_count);
	records(w, p);
	tell_root(w, p);
	if (flow && flow->session) {
		gate_apps_sweep(w->apps, flow, w->sets != NULL);
	}
}

/* What the configuration wants of every file. */
static uint16_t config_wants(const struct gate_config *config)
{
	static const uint16_t hashes[] = {GATE_FILE_MD5, GATE_FILE_SHA1, GATE_FILE_SHA256};
	uint16_t wants = config->file_store ? GATE_FILE_STORE | GATE_FILE_SHA256 : 0;

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(hashes); i++) {
		wants |= config->file_hashes[i] ? hashes[i] : 0;
	}
	return wants | (config->file_types ? GATE_FILE_MAGIC : 0);
}

/* What the rules want to know of files, from their first byte. */
static uint16_t file_wants(const struct gate_rule_files *files)
{
	static const uint16_t hashes[] = {
		[GATE_FM_MD5] = GATE_FILE_MD5,
		[GATE_FM_SHA1] = GATE_FILE_SHA1,
		[GATE_FM_SHA256] = GATE_FILE_SHA256,
		[GATE_FM_ANY] = 0,
	};
	uint16_t wants = 0;

	for (size_t i = 0; i < files->rules.count; i++) {
		const struct gate_rule *rule = files->rules.items[i];

		bh_vec_foreach (match, &rule->tx) {
			if (match->kind == GATE_M_FILE &&
			    (size_t)match->file.what < BH_ARRAY_SIZE(hashes)) {
				wants |= hashes[match->file.what];
			}
		}
		bh_vec_foreach (match, &rule->post) {
			wants |= match->kind == GATE_M_FILESTORE ? GATE_FILE_SHA256 : 0;
		}
		bh_vec_foreach (list, &rule->lists) {
			wants |= list->buffer == GATE_BUF_FILE_MAGIC	   ? GATE_FILE_MAGIC
				 : list->buffer == GATE_BUF_EMAIL_BODY_MD5 ? GATE_FILE_MAIL_MD5
									   : 0;
		}
	}
	return wants;
}

/* Frames that rules ask for. */
static uint64_t frame_wants(const struct gate_rule_files *files)
{
	uint64_t wants = 0;

	bh_vec_foreach (rule, &files->rules) {
		bh_vec_foreach (list, &(*rule)->lists) {
			if (gate_buffer_desc(list->buffer)->flags & GATE_BUFFER_FRAME) {
				wants |= UINT64_C(1) << (list->buffer - GATE_BUF_FRAME_FIRST);
			}
		}
	}
	return wants;
}

static void take_up(struct gate_worker *w)
{
	struct gate_rule_sets *sets =
		atomic_exchange_explicit(&w->pending, NULL, memory_order_acq_rel);
	uint16_t wants = config_wants(w->options.config);
	uint64_t frames = 0;

	if (!sets) {
		return;
	}
	gate_detector_use(w->detector, sets);
	for (uint32_t i = 0; i < gate_rule_sets_count(sets); i++) {
		const struct gate_rule_files *files =
			gate_rule_set_files(gate_rule_sets_get(sets, i));

		wants |= file_wants(files);
		frames |= frame_wants(files);
	}
	gate_frames_want(w->apps, frames);
	gate_apps_want_files(w->apps, wants);
	gate_rule_sets_unref(w->sets);
	w->sets = sets;
}

void gate_worker_use(struct gate_worker *worker, struct gate_rule_sets *sets)
{
	struct gate_rule_sets *was = atomic_exchange_explicit(
		&worker->pending, gate_rule_sets_ref(sets), memory_order_acq_rel);

	gate_rule_sets_unref(was);
}

static void tick(struct gate_worker *w, uint64_t now_us)
{
	w->now_us = now_us;
	w->next_tick_us = now_us + TICK_US;
	w->since_tick = 0;
	gate_flow_tick(w->flows, now_us, TICK_BUDGET);
	if (++w->since_second < SECOND_TICKS ||
	    (now_us < w->next_second_us && w->next_second_us - now_us <= SECOND_US)) {
		return;
	}
	w->next_second_us = now_us + SECOND_US;
	w->since_second = 0;
	gate_decoder_tick(w->decoder, now_us);
	if (!w->options.number) {
		gate_shared_tick(w->options.shared, now_us);
	}
	publish(w);
}

void gate_worker_packet(struct gate_worker *worker, struct gate_packet *p)
{
	struct gate_worker *w = worker;

	if (atomic_load_explicit(&w->pending, memory_order_relaxed)) {
		take_up(w);
	}
	/* a capture whose times go back begins its ticks anew */
	if (++w->since_tick >= TICK_PACKETS &&
	    (p->time_us >= w->next_tick_us || w->next_tick_us - p->time_us > TICK_US)) {
		tick(w, p->time_us);
	}
	w->now_us = p->time_us;
	w->root = p;
	gate_decode(w->decoder, p, walk, w);
	count_verdict(&w->stats, p);
	gate_verdict_packet(&w->options.verdict, p);
	w->current = NULL;
	w->root = NULL;
}

void gate_worker_tick(struct gate_worker *worker, uint64_t now_us)
{
	take_up(worker);
	tick(worker, now_us);
	if (worker->eve) {
		gate_eve_flush(worker->eve);
	}
}

void gate_worker_finish(struct gate_worker *worker, enum gate_flow_reason reason)
{
	take_up(worker);
	gate_flow_end_all(worker->flows, reason, worker->now_us);
	publish(worker);
	if (worker->eve) {
		gate_eve_flush(worker->eve);
	}
}

struct gate_worker *gate_worker_new(const struct gate_worker_options *options)
{
	struct gate_worker *w = bh_alloc(sizeof(*w));
	const struct gate_config *config = options->config;

	w->options = *options;
	w->hooks = (struct gate_flow_hooks){
		.ending = on_flow_ending, .freeing = on_flow_freeing, .arg = w};
	w->decoder = gate_decoder_new(config);
	w->flows = gate_flow_table_new(config, &w->hooks);
	w->streams = gate_streams_new(config, on_stream, w);
	w->apps = gate_apps_new(config, w->flows, options->files);
	gate_apps_join_parts(w->apps, options->ranges);
	gate_apps_on_tx_free(w->apps, gate_detect_tx_free);
	w->detector = gate_detector_new(config, options->shared);
	w->selector = gate_selector_new(config, &w->options.select, options->interfaces,
					options->interface_count);
	if (options->out) {
		w->eve = gate_eve_new(config, options->out, options->names, options->number);
		gate_eve_events(w->eve, options->events);
		gate_eve_interfaces(w->eve, options->interfaces, options->interface_count);
	} else {
		gate_apps_no_log(w->apps);
	}
	return w;
}

void gate_worker_free(struct gate_worker *worker)
{
	if (!worker) {
		return;
	}
	gate_flow_table_free(worker->flows);
	gate_apps_free(worker->apps);
	gate_streams_free(worker->streams);
	gate_detector_free(worker->detector);
	gate_decoder_free(worker->decoder);
	gate_eve_free(worker->eve);
	gate_rule_sets_unref(worker->sets);
	gate_rule_sets_unref(worker->pending);
	gate_selector_free(worker->selector);
	free(worker);
}
