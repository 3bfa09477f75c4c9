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

/* Digits at s, all of them. */
static bool digits(const char *s, size_t count, unsigned int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < count; i++) {
		if (s[i] < '0' || s[i] > '9') {
			return false;
		}
		*ret = *ret * 10 + (unsigned int)(s[i] - '0');
	}
	return true;
}

static unsigned int days_in(unsigned int year, unsigned int month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Of the Gregorian calendar since 1970-01-01, for years from 1970 on. Years begin in March, so that
 * the odd day comes last (Hinnant, chrono-compatible low-level date algorithms). */
static uint64_t days_since_1970(unsigned int year, unsigned int month, unsigned int day)
{
	unsigned int y = year - (month <= 2);
	unsigned int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return 365ull * y + y / 4 - y / 100 + y / 400 + of_year - 719468;
}

/* "2026-11-22T00:00:00" at s, which has 19 characters. */
static bool second_parse(const char *s, uint64_t *ret_s)
{
	static const char between[] = "--T::";
	unsigned int part[6]; /* year, month, day, hour, minute, second */
	size_t at = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(part); i++) {
		size_t count = i ? 2 : 4;

		if (!digits(s + at, count, &part[i])) {
			return false;
		}
		at += count;
		if (at < 19 && s[at++] != between[i]) {
			return false;
		}
	}
	/* up to where nanoseconds fit into 63 bits */
	if (part[0] < 1970 || part[0] > 2261 || part[1] < 1 || part[1] > 12 || part[2] < 1 ||
	    part[2] > days_in(part[0], part[1]) || part[3] > 23 || part[4] > 59 || part[5] > 60) {
		return false;
	}
	*ret_s = ((days_since_1970(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4]) * 60 +
		 part[5];
	return true;
}

/* RFC 3339 in UTC, fractions of up to nine digits. */
static int time_parse(const char *s, size_t size, uint64_t *ret_ns)
{
	uint64_t unit = BH_NS_PER_S;
	uint64_t seconds = 0;
	uint64_t ns = 0;
	size_t at = 19;

	if (size < 20 || !second_parse(s, &seconds)) {
		return -EINVAL;
	}
	if (s[at] == '.') {
		for (at++; at < size && s[at] >= '0' && s[at] <= '9' && unit > 1; at++) {
			unit /= 10;
			ns += (uint64_t)(s[at] - '0') * unit;
		}
	}
	if (at + 1 != size || s[at] != 'Z') {
		return -EINVAL;
	}
	*ret_ns = seconds * BH_NS_PER_S + ns;
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
	    time_parse(j->text + time->value, time->value_size, &event->wall_ns)) {
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
