/* SPDX-License-Identifier: Apache-2.0 */
/* Records of transactions: that of the protocol, its files, its anomalies. */
#include "gate/output/eve.h"

static bool is_over(const struct gate_tx *tx)
{
	return ((tx->done_dirs | tx->skip_dirs) & GATE_BOTH_DIRS) == GATE_BOTH_DIRS;
}

static void transaction(struct gate_eve *eve, const struct gate_flow *flow,
			const struct gate_packet *p, const struct gate_app_ops *ops,
			const struct gate_tx *tx)
{
	struct gate_jw *jw = &eve->jw;

	gate_eve_begin(eve, ops->log, flow, p, p ? p->time_us : flow->last_us, GATE_EVE_OF_FLOW);
	gate_jw_uint(jw, "tx_id", tx->id);
	gate_jw_object(jw, ops->log);
	if (!ops->log_tx(tx, jw)) {
		return; /* not worth a record: the next one begins anew */
	}
	gate_jw_end(jw);
	gate_eve_commit(eve);
}

static const char *file_state(const struct gate_file *file)
{
	static const char *const names[] = {"UNKNOWN", "CLOSED", "TRUNCATED", "ERROR"};

	return names[file->state & 3];
}

void gate_eve_file_members(struct gate_jw *jw, const struct gate_tx *tx,
			   const struct gate_file *file)
{
	gate_jw_bytes(jw, "filename", file->name ? file->name : "", file->name_size);
	if (file->sid_count) {
		gate_jw_array(jw, "sid");
		for (uint8_t i = 0; i < file->sid_count; i++) {
			gate_jw_uint(jw, NULL, file->sids[i]);
		}
		gate_jw_end(jw);
	}
	if (file->magic) {
		gate_jw_text(jw, "magic", file->magic);
	}
	gate_jw_bool(jw, "gaps", file->flags & GATE_FILE_GAPS);
	gate_jw_text(jw, "state", file_state(file));
	if (file->state == GATE_FILE_CLOSED && file->flags & GATE_FILE_MD5) {
		gate_jw_hex(jw, "md5", file->md5, sizeof(file->md5));
	}
	if (file->state == GATE_FILE_CLOSED && file->flags & GATE_FILE_SHA1) {
		gate_jw_hex(jw, "sha1", file->sha1, sizeof(file->sha1));
	}
	if ((file->state == GATE_FILE_CLOSED || file->flags & GATE_FILE_STORED) &&
	    file->flags & GATE_FILE_SHA256) {
		gate_jw_hex(jw, "sha256", file->sha256, sizeof(file->sha256));
	}
	gate_jw_bool(jw, "stored", file->flags & GATE_FILE_STORED);
	if (file->flags & GATE_FILE_STORED) {
		gate_jw_uint(jw, "file_id", file->id);
	}
	gate_jw_uint(jw, "size", file->size);
	if (file->flags & GATE_FILE_RANGE) {
		gate_jw_uint(jw, "start", file->range_start);
		gate_jw_uint(jw, "end", file->range_end);
	}
	gate_jw_uint(jw, "tx_id", tx->id);
}

void gate_eve_files_of(struct gate_jw *jw, const struct gate_tx *tx)
{
	bool open = false;

	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		for (const struct gate_file *f = tx->files[dir].first; f; f = f->next) {
			if (!open) {
				gate_jw_array(jw, "files");
				open = true;
			}
			gate_jw_object(jw, NULL);
			gate_eve_file_members(jw, tx, f);
			gate_jw_end(jw);
		}
	}
	if (open) {
		gate_jw_end(jw);
	}
}

bool gate_eve_tx_open(struct gate_jw *jw, const struct gate_app_ops *ops, const struct gate_tx *tx)
{
	struct gate_jw before = *jw;

	if (!ops->log || !ops->log_tx) {
		return false;
	}
	gate_jw_object(jw, ops->log);
	if (ops->log_tx(tx, jw)) {
		return true;
	}
	/* the buffer may have moved, what was written before stays */
	before.data = jw->data;
	before.capacity = jw->capacity;
	*jw = before;
	return false;
}

static void fileinfo(struct gate_eve *eve, const struct gate_flow *flow,
		     const struct gate_packet *p, const struct gate_app_ops *ops,
		     const struct gate_tx *tx, const struct gate_file *file)
{
	struct gate_jw *jw = &eve->jw;

	gate_eve_begin(eve, "fileinfo", flow, p, p ? p->time_us : flow->last_us,
		       file->dir == GATE_TO_SERVER ? GATE_EVE_OF_FLOW : GATE_EVE_OF_SERVER);
	if (gate_eve_tx_open(jw, ops, tx)) {
		gate_jw_end(jw);
	}
	gate_eve_app_proto(jw, flow);
	gate_jw_object(jw, "fileinfo");
	gate_eve_file_members(jw, tx, file);
	gate_jw_end(jw);
	gate_eve_commit(eve);
}

static void files(struct gate_eve *eve, const struct gate_flow *flow, const struct gate_packet *p,
		  const struct gate_app_ops *ops, struct gate_tx *tx)
{
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		for (struct gate_file *f = tx->files[dir].first; f; f = f->next) {
			if (f->flags & GATE_FILE_LOGGED ||
			    (f->state == GATE_FILE_OPEN && !is_over(tx))) {
				continue;
			}
			f->flags |= GATE_FILE_LOGGED;
			if (gate_eve_wants(eve, GATE_EVE_FILEINFO)) {
				fileinfo(eve, flow, p, ops, tx, f);
			}
		}
	}
}

static void anomaly(struct gate_eve *eve, const struct gate_flow *flow, const struct gate_packet *p,
		    const struct gate_app_ops *ops, const struct gate_tx *tx)
{
	struct gate_jw *jw = &eve->jw;

	for (unsigned int i = 0; i < tx->event_count && i < GATE_TX_EVENTS_MAX; i++) {
		uint16_t event = tx->events[i];

		if (event >= ops->event_count) {
			continue;
		}
		if (gate_eve_tells(eve, GATE_EVE_ANOMALY)) {
			gate_eve_event_anomaly(eve, flow, ops->name, ops->events[event].name,
					       p ? p->time_us : flow->last_us);
		}
		if (!gate_eve_wants(eve, GATE_EVE_ANOMALY)) {
			continue;
		}
		gate_eve_begin(eve, "anomaly", flow, p, p ? p->time_us : flow->last_us,
			       GATE_EVE_OF_FLOW);
		gate_jw_uint(jw, "tx_id", tx->id);
		gate_jw_object(jw, "anomaly");
		gate_jw_text(jw, "app_proto", ops->name);
		gate_jw_text(jw, "type", "applayer");
		gate_jw_text(jw, "event", ops->events[event].name);
		gate_jw_text(jw, "layer", "proto_parser");
		gate_jw_end(jw);
		gate_eve_commit(eve);
	}
}

/* Of finding out which protocol it is: they belong to no transaction. */
static void detection_anomalies(struct gate_eve *eve, const struct gate_flow *flow,
				const struct gate_packet *p, uint16_t events)
{
	uint64_t when = p ? p->time_us : flow->last_us;

	for (unsigned int i = 0; i < GATE_SESSION_EVENTS; i++) {
		const char *name = gate_session_event_name((enum gate_session_event)i);
		const char *app = gate_app_name((enum gate_app)flow->app);

		if (!(events >> i & 1)) {
			continue;
		}
		if (gate_eve_tells(eve, GATE_EVE_ANOMALY)) {
			gate_eve_event_anomaly(eve, flow, app, name, when);
		}
		if (gate_eve_wants(eve, GATE_EVE_ANOMALY)) {
			gate_eve_begin(eve, "anomaly", flow, p, when, GATE_EVE_OF_FLOW);
			gate_jw_object(&eve->jw, "anomaly");
			gate_jw_text(&eve->jw, "app_proto", app);
			gate_jw_text(&eve->jw, "type", "applayer");
			gate_jw_text(&eve->jw, "event", name);
			gate_jw_text(&eve->jw, "layer", "proto_detect");
			gate_jw_end(&eve->jw);
			gate_eve_commit(eve);
		}
	}
}

void gate_eve_session(struct gate_eve *eve, struct gate_flow *flow, const struct gate_packet *p)
{
	uint16_t events = gate_session_events_take(flow->session);

	if (events) {
		detection_anomalies(eve, flow, p, events);
	}
}

void gate_eve_tx(struct gate_eve *eve, struct gate_flow *flow, const struct gate_packet *p,
		 struct gate_tx *tx)
{
	const struct gate_app_ops *ops = gate_session_ops(flow->session);

	if (!ops) {
		return;
	}
	if (tx->files[0].first || tx->files[1].first) {
		files(eve, flow, p, ops, tx);
	}
	if (tx->logged || !is_over(tx)) {
		return;
	}
	gate_tx_logged(flow->session, tx);
	if (tx->event_count) {
		anomaly(eve, flow, p, ops, tx);
	}
	if (ops->log && ops->log_tx && eve->app_logs >> ops->app & 1 && !tx->no_record) {
		transaction(eve, flow, p, ops, tx);
	}
}
