/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <time.h>

static const char *const severity_names[] = {
	[BH_SEVERITY_INFO] = "info",
	[BH_SEVERITY_NOTICE] = "notice",
	[BH_SEVERITY_WARNING] = "warning",
	[BH_SEVERITY_CRITICAL] = "critical",
};

const char *bh_severity_name(enum bh_severity severity)
{
	return (size_t)severity < BH_ARRAY_SIZE(severity_names) ? severity_names[severity] : "info";
}

int bh_severity_parse(const char *s, enum bh_severity *ret_severity)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(severity_names); i++) {
		if (!strcmp(s, severity_names[i])) {
			*ret_severity = (enum bh_severity)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool bh_event_type_valid(const char *type)
{
	char before = '.';
	size_t n = 0;

	for (; type[n]; n++) {
		char c = type[n];
		bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';

		if (n >= BH_EVENT_TYPE_MAX || (!word && (c != '.' || before == '.'))) {
			return false;
		}
		before = c;
	}
	return before != '.';
}

json_t *bh_event_new(const char *type, enum bh_severity severity, uint64_t wall_ns)
{
	char time[BH_TIME_TEXT_SIZE];
	json_t *event = json_object();

	bh_time_format(wall_ns, time);
	json_object_set_new(event, "v", json_integer(1));
	json_object_set_new(event, "time", json_string(time));
	json_object_set_new(event, "type", json_string(type));
	json_object_set_new(event, "severity", json_string(bh_severity_name(severity)));
	return event;
}

json_t *bh_event_new_gap(uint64_t from, uint64_t to, uint64_t count, const char *reason,
			 uint64_t wall_ns)
{
	json_t *event = bh_event_new("gap", BH_SEVERITY_WARNING, wall_ns);

	json_object_set_new(event, "from", json_integer((json_int_t)from));
	json_object_set_new(event, "to", json_integer((json_int_t)to));
	json_object_set_new(event, "count", json_integer((json_int_t)count));
	json_object_set_new(event, "reason", json_string(reason));
	return event;
}

void bh_event_stamp(json_t *event, const char *producer, const char *epoch, uint64_t seq)
{
	json_object_set_new(event, "producer", json_string(producer));
	json_object_set_new(event, "epoch", json_string(epoch));
	json_object_set_new(event, "seq", json_integer((json_int_t)seq));
}

int bh_event_write(const json_t *event, char *buf, size_t *ret_size, struct bh_diag *diag)
{
	size_t size = json_dumpb(event, buf, BH_EVENT_SIZE_MAX, JSON_COMPACT);

	if (!size || size > BH_EVENT_SIZE_MAX) {
		return bh_diag_set(diag, -EMSGSIZE, "an event of %zu bytes is over the limit of %d",
				   size, BH_EVENT_SIZE_MAX);
	}
	*ret_size = size;
	return 0;
}

int bh_event_format(const json_t *event, char **ret_line, size_t *ret_size, struct bh_diag *diag)
{
	BH_FREE char *line = bh_alloc(BH_EVENT_SIZE_MAX + 1);
	int r = bh_event_write(event, line, ret_size, diag);

	if (!r) {
		*ret_line = bh_steal(&line);
	}
	return r;
}

/* RFC 3339 in UTC, fractions of up to nine digits. */
static int time_parse(const char *s, uint64_t *ret_ns)
{
	struct tm tm = {};
	uint64_t ns = 0;
	uint64_t unit = BH_NS_PER_S;
	const char *p;
	time_t t;

	if (strlen(s) < 20 || !isdigit((unsigned char)s[0])) {
		return -EINVAL;
	}
	p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!p || p - s != 19) {
		return -EINVAL;
	}
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9' && unit > 1; p++) {
			unit /= 10;
			ns += (uint64_t)(*p - '0') * unit;
		}
	}
	t = timegm(&tm);
	if (strcmp(p, "Z") || t < 0 || (uint64_t)t > UINT64_MAX / BH_NS_PER_S - 1) {
		return -EINVAL;
	}
	*ret_ns = (uint64_t)t * BH_NS_PER_S + ns;
	return 0;
}

static int read_gap(struct bh_event *event, struct bh_diag *diag)
{
	int r = bh_json_u64(event->json, "from", BH_EVENT_SEQ_MAX, &event->gap_from, diag);

	if (!r) {
		r = bh_json_u64(event->json, "to", BH_EVENT_SEQ_MAX, &event->gap_to, diag);
	}
	if (!r) {
		r = bh_json_u64(event->json, "count", BH_EVENT_SEQ_MAX, &event->gap_count, diag);
	}
	if (!r && (event->gap_from > event->gap_to || event->gap_to >= event->seq)) {
		r = bh_diag_set(diag, -EINVAL, "a gap's from, to and seq must grow");
	}
	event->is_gap = true;
	return r;
}

static int read_envelope(struct bh_event *event, struct bh_diag *diag)
{
	const char *severity;
	uint8_t uuid[16];
	uint64_t v;
	int r = bh_json_u64(event->json, "v", BH_EVENT_SEQ_MAX, &v, diag);

	if (!r && v != 1) {
		r = bh_diag_set(diag, -EINVAL, "event version %llu is not known",
				(unsigned long long)v);
	}
	if (r || (r = bh_json_str(event->json, "producer", &event->producer, diag)) ||
	    (r = bh_json_str(event->json, "epoch", &event->epoch, diag)) ||
	    (r = bh_json_str(event->json, "type", &event->type, diag)) ||
	    (r = bh_json_str(event->json, "time", &event->time, diag)) ||
	    (r = bh_json_str(event->json, "severity", &severity, diag)) ||
	    (r = bh_json_u64(event->json, "seq", BH_EVENT_SEQ_MAX, &event->seq, diag))) {
		return r;
	}
	if (!bh_name_valid(event->producer)) {
		return bh_diag_set(diag, -EINVAL, "\"producer\" is not a name");
	}
	if (bh_uuid_parse(event->epoch, uuid)) {
		return bh_diag_set(diag, -EINVAL, "\"epoch\" is not a UUID");
	}
	if (!bh_event_type_valid(event->type)) {
		return bh_diag_set(diag, -EINVAL, "\"type\" is not words joined by dots");
	}
	if (time_parse(event->time, &event->wall_ns)) {
		return bh_diag_set(diag, -EINVAL, "\"time\" is not RFC 3339 in UTC");
	}
	if (bh_severity_parse(severity, &event->severity)) {
		return bh_diag_set(diag, -EINVAL, "\"severity\" is not known");
	}
	if (!event->seq) {
		return bh_diag_set(diag, -EINVAL, "\"seq\" starts at 1");
	}
	return strcmp(event->type, "gap") ? 0 : read_gap(event, diag);
}

int bh_event_parse(const char *line, size_t size, struct bh_event *ret_event, struct bh_diag *diag)
{
	struct bh_event event = {};
	int r = bh_json_load(line, size, BH_EVENT_SIZE_MAX, &event.json, diag);

	if (r) {
		return r;
	}
	r = json_is_object(event.json) ? read_envelope(&event, diag)
				       : bh_diag_set(diag, -EINVAL, "an event must be an object");
	if (r) {
		bh_event_done(&event);
		return r;
	}
	*ret_event = event;
	return 0;
}

void bh_event_done(struct bh_event *event)
{
	json_decref(event->json);
	memset(event, 0, sizeof(*event));
}
