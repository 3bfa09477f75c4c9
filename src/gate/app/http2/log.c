/* SPDX-License-Identifier: Apache-2.0 */
/* The http record of EVE for a stream: members as Suricata's, frames in an object "http2". */
#include "gate/app/dns/dns.h"
#include "gate/app/http2/http2.h"
#include "gate/output/jw.h"

static const char *const errors[] = {"NO_ERROR",
				     "PROTOCOL_ERROR",
				     "INTERNAL_ERROR",
				     "FLOW_CONTROL_ERROR",
				     "SETTINGS_TIMEOUT",
				     "STREAM_CLOSED",
				     "FRAME_SIZE_ERROR",
				     "REFUSED_STREAM",
				     "CANCEL",
				     "COMPRESSION_ERROR",
				     "CONNECT_ERROR",
				     "ENHANCE_YOUR_CALM",
				     "INADEQUATE_SECURITY",
				     "HTTP_1_1_REQUIRED"};

static const char *const setting_names[] = {
	"SETTINGSUNASSIGNED",		"SETTINGSHEADERTABLESIZE",   "SETTINGSENABLEPUSH",
	"SETTINGSMAXCONCURRENTSTREAMS", "SETTINGSINITIALWINDOWSIZE", "SETTINGSMAXFRAMESIZE",
	"SETTINGSMAXHEADERLISTSIZE"};

static bool put_headers(struct gate_jw *jw, const char *key, const struct http2_side *side)
{
	if (!side->count) {
		return false;
	}
	gate_jw_array(jw, key);
	for (uint32_t i = 0; i < side->count; i++) {
		struct gate_view name = gate_http2_name(side, &side->headers[i]);
		struct gate_view value = gate_http2_value(side, &side->headers[i]);
		gate_jw_object(jw, NULL);
		gate_jw_bytes(jw, "name", name.data, name.size);
		gate_jw_bytes(jw, "value", value.data, value.size);
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
	return true;
}

static void put(struct gate_jw *jw, const char *key, const struct http2_side *side,
		const char *name)
{
	struct gate_view v;
	if (gate_http2_header(side, name, 0, &v)) {
		gate_jw_bytes(jw, key, v.data, v.size);
	}
}

static void put_number(struct gate_jw *jw, const char *key, const struct http2_side *side,
		       const char *name)
{
	struct gate_view v;
	uint64_t n = 0;
	if (!gate_http2_header(side, name, 0, &v) || !v.size || v.size > 18) {
		return;
	}
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i] < '0' || v.data[i] > '9') {
			return;
		}
		n = n * 10 + (v.data[i] - '0');
	}
	gate_jw_uint(jw, key, n);
}

static bool put_frames(struct gate_jw *jw, const char *key, const struct http2_tx *tx,
		       enum gate_dir dir)
{
	const struct http2_side *side = &tx->side[dir];
	bool error = false, priority = false, any = false;
	gate_jw_object(jw, key);
	if (tx->setting_count && side->frame_count) {
		any = true;
		gate_jw_array(jw, "settings");
		for (uint8_t i = 0; i < tx->setting_count; i++) {
			uint16_t id = tx->settings[i].id;
			gate_jw_object(jw, NULL);
			gate_jw_text(jw, "settings_id",
				     setting_names[id < BH_ARRAY_SIZE(setting_names) ? id : 0]);
			gate_jw_uint(jw, "settings_value", tx->settings[i].value);
			gate_jw_end(jw);
		}
		gate_jw_end(jw);
	}
	for (uint8_t i = 0; i < side->frame_count; i++) {
		const struct http2_frame *f = &side->frames[i];
		if (f->has_error && !error) {
			error = true;
			gate_jw_text(jw, "error_code",
				     f->error < BH_ARRAY_SIZE(errors) ? errors[f->error]
								      : "UNKNOWN");
		}
		if (f->has_priority && !priority) {
			priority = true;
			gate_jw_uint(jw, "priority", f->priority);
		}
	}
	gate_jw_end(jw);
	return any || error || priority;
}

bool gate_http2_log(const struct gate_tx *gate_tx, struct gate_jw *jw)
{
	const struct http2_tx *tx =
		(const struct http2_tx *)(const void *)((const char *)gate_tx -
							offsetof(struct http2_tx, tx));
	const struct http2_side *request = &tx->side[GATE_TO_SERVER];
	const struct http2_side *response = &tx->side[GATE_TO_CLIENT];
	gate_jw_text(jw, "version", "2");
	bool any = put_headers(jw, "request_headers", request);
	any = put_headers(jw, "response_headers", response) || any;
	put(jw, "http_method", request, ":method");
	put(jw, "url", request, ":path");
	struct gate_view v;
	put(jw, "hostname", request,
	    gate_http2_header(request, ":authority", 0, &v) ? ":authority" : "host");
	put(jw, "http_user_agent", request, "user-agent");
	put_number(jw, "status", response, ":status");
	put_number(jw, "length", response, "content-length");
	gate_jw_object(jw, "http2");
	gate_jw_uint(jw, "stream_id", tx->stream);
	any = put_frames(jw, "request", tx, GATE_TO_SERVER) || any;
	any = put_frames(jw, "response", tx, GATE_TO_CLIENT) || any;
	gate_jw_end(jw);
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		if (tx->side[dir].dns) {
			gate_jw_object(jw, dir == GATE_TO_SERVER ? "dns_query" : "dns");
			gate_dns_log(tx->side[dir].dns, tx->tx.id, jw);
			gate_jw_end(jw);
		}
	}
	return any;
}
