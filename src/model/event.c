/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>

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

void bh_event_text_begin(struct bh_wbuf *w, const char *type, enum bh_severity severity,
			 uint64_t wall_ns)
{
	char time[BH_TIME_TEXT_SIZE];

	bh_time_format(wall_ns, time);
	w->size = 0;
	w->err = 0;
	w->limit = BH_EVENT_SIZE_MAX;
	bh_jtext_add_str(w, "time", time);
	bh_jtext_add_str(w, "type", type);
	bh_jtext_add_str(w, "severity", bh_severity_name(severity));
}

int bh_event_text_write(const struct bh_event_stamp *stamp, const struct bh_wbuf *members,
			char *buf, size_t *ret_size, struct bh_diag *diag)
{
	/* all three are ours and need no escapes */
	size_t n = (size_t)snprintf(buf, BH_EVENT_SIZE_MAX,
				    "{\"v\":1,\"producer\":\"%s\",\"epoch\":\"%s\",\"seq\":%llu,",
				    stamp->producer, stamp->epoch, (unsigned long long)stamp->seq);

	if (members->err || n + members->size + 1 > BH_EVENT_SIZE_MAX) {
		return bh_diag_set(diag, -EMSGSIZE, "an event is over the limit of %d bytes",
				   BH_EVENT_SIZE_MAX);
	}
	memcpy(buf + n, members->data, members->size);
	n += members->size;
	buf[n++] = '}';
	*ret_size = n;
	return 0;
}

static int need_u64(const struct bh_jtext *j, const char *key, uint64_t *ret, struct bh_diag *diag)
{
	return bh_jtext_u64(j, key, BH_EVENT_SEQ_MAX, ret)
		       ? 0
		       : bh_diag_set(diag, -EINVAL, "\"%s\" must be a whole number", key);
}

static int read_gap(struct bh_event *event, struct bh_diag *diag)
{
	int r = need_u64(&event->j, "from", &event->gap_from, diag);

	if (!r) {
		r = need_u64(&event->j, "to", &event->gap_to, diag);
	}
	if (!r) {
		r = need_u64(&event->j, "count", &event->gap_count, diag);
	}
	if (!r && (event->gap_from > event->gap_to || event->gap_to >= event->seq)) {
		r = bh_diag_set(diag, -EINVAL, "a gap's from, to and seq must grow");
	}
	event->is_gap = true;
	return r;
}

static int read_envelope(struct bh_event *event, struct bh_diag *diag)
{
	const struct bh_jtext *j = &event->j;
	const struct bh_jtext_member *time = bh_jtext_find(j, "time");
	char severity[16];
	uint8_t uuid[16];
	uint64_t v;

	if (!bh_jtext_u64(j, "v", BH_EVENT_SEQ_MAX, &v) || v != 1) {
		return bh_diag_set(diag, -EINVAL, "\"v\" is missing or not 1");
	}
	if (!bh_jtext_str(j, "producer", event->producer, sizeof(event->producer)) ||
	    !bh_name_valid(event->producer)) {
		return bh_diag_set(diag, -EINVAL, "\"producer\" is not a name");
	}
	if (!bh_jtext_str(j, "epoch", event->epoch, sizeof(event->epoch)) ||
	    bh_uuid_parse(event->epoch, uuid)) {
		return bh_diag_set(diag, -EINVAL, "\"epoch\" is not a UUID");
	}
	if (!bh_jtext_str(j, "type", event->type, sizeof(event->type)) ||
	    !bh_event_type_valid(event->type)) {
		return bh_diag_set(diag, -EINVAL, "\"type\" is not words joined by dots");
	}
	if (!time || time->kind != BH_JTEXT_STRING ||
	    bh_time_parse(j->text + time->value, time->value_size, &event->wall_ns)) {
		return bh_diag_set(diag, -EINVAL, "\"time\" is not RFC 3339 in UTC");
	}
	if (!bh_jtext_str(j, "severity", severity, sizeof(severity)) ||
	    bh_severity_parse(severity, &event->severity)) {
		return bh_diag_set(diag, -EINVAL, "\"severity\" is not known");
	}
	if (!bh_jtext_u64(j, "seq", BH_EVENT_SEQ_MAX, &event->seq) || !event->seq) {
		return bh_diag_set(diag, -EINVAL, "\"seq\" is a whole number from 1 on");
	}
	event->is_gap = false;
	return strcmp(event->type, "gap") ? 0 : read_gap(event, diag);
}

int bh_event_parse(const char *line, size_t size, struct bh_event *ret_event, struct bh_diag *diag)
{
	int r;

	if (size > BH_EVENT_SIZE_MAX) {
		return bh_diag_set(diag, -EMSGSIZE, "an event of %zu bytes is over the limit of %d",
				   size, BH_EVENT_SIZE_MAX);
	}
	r = bh_jtext_parse(line, size, &ret_event->j, diag);
	return r ? r : read_envelope(ret_event, diag);
}
