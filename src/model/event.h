/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event: something that happened, told by one producer (a host, the manager), numbered by it
 * without gaps. On disk and on the bus an event is one line of JSON (docs/architecture.md lists
 * types and fields):
 *
 *	{"v":1,"producer":"h1","epoch":"<uuid>","seq":7,"time":"...","type":"flow.new",...}
 *
 * Who makes an event builds the JSON object (bh_event_new, then its own members); the spool stamps
 * producer, epoch and seq. Numbers of an epoch start at 1. Numbers whose events could not be kept
 * are covered by the next event of the stream: a `gap` with `to` equal to its own seq less one.
 *
 * Reading is for foreign bytes: one line, bounded, every member of the envelope checked.
 * Everything here is pure; a struct bh_event is plain memory.
 */
#ifndef BH_MODEL_EVENT_H
#define BH_MODEL_EVENT_H

#include "base/diag.h"
#include "base/jtext.h"
#include "model/id.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_EVENT_SIZE_MAX 16384 /* one line, without the line feed */
#define BH_EVENT_TYPE_MAX 63
#define BH_EVENT_SEQ_MAX  ((uint64_t)INT64_MAX)

enum bh_severity {
	BH_SEVERITY_INFO,
	BH_SEVERITY_NOTICE,
	BH_SEVERITY_WARNING,
	BH_SEVERITY_CRITICAL
};
const char *
bh_severity_name(enum bh_severity severity); /* "info", "notice", "warning", "critical" */
[[nodiscard]] int bh_severity_parse(const char *s, enum bh_severity *ret_severity);

/* Words of [a-z0-9-] joined by dots: "flow.new". */
bool bh_event_type_valid(const char *type);

/* A new object with v, time, type and severity; add members with json_object_set_new(). Owned. */
json_t *bh_event_new(const char *type, enum bh_severity severity, uint64_t wall_ns);
/* A gap: numbers from..to are missing. count may be smaller or larger than the span when the
 * numbers are not known one by one (kernel buffers). Owned. */
json_t *bh_event_new_gap(uint64_t from, uint64_t to, uint64_t count, const char *reason,
			 uint64_t wall_ns);
/* Sets producer, epoch (text) and seq. */
void bh_event_stamp(json_t *event, const char *producer, const char *epoch, uint64_t seq);
/* One line without line feed into buf, which has room for BH_EVENT_SIZE_MAX; no NUL. -EMSGSIZE. */
[[nodiscard]] int bh_event_write(const json_t *event, char *buf, size_t *ret_size,
				 struct bh_diag *diag);
/* The same into memory of its own, with a NUL behind it; owned. */
[[nodiscard]] int bh_event_format(const json_t *event, char **ret_line, size_t *ret_size,
				  struct bh_diag *diag);

/* ---- as text: for those of which thousands come each second ----
 * The members of the object, one after the other, without braces; what the spool stamps comes
 * before them. Begin, then add more with bh_jtext_add_*(); the same buffer serves again and
 * again. */
void bh_event_text_begin(struct bh_wbuf *w, const char *type, enum bh_severity severity,
			 uint64_t wall_ns);
struct bh_event_stamp {
	const char *producer, *epoch;
	uint64_t seq;
};
/* The whole line into buf, which has room for BH_EVENT_SIZE_MAX; no NUL. -EMSGSIZE. */
[[nodiscard]] int bh_event_text_write(const struct bh_event_stamp *stamp,
				      const struct bh_wbuf *members, char *buf, size_t *ret_size,
				      struct bh_diag *diag);

struct bh_event {
	struct bh_jtext j; /* the whole event; its text is the caller's line */
	char producer[BH_NAME_MAX + 1];
	char epoch[BH_UUID_TEXT_SIZE];
	char type[BH_EVENT_TYPE_MAX + 1];
	enum bh_severity severity;
	uint64_t seq;	  /* from 1 */
	uint64_t wall_ns; /* time as a number */
	bool is_gap;	  /* then: */
	uint64_t gap_from, gap_to, gap_count;
};
/* Reads one stamped event; line must live as long as *ret_event is used. Stricter than JSON, see
 * base/jtext.h. -EBADMSG / -EINVAL / -EMSGSIZE with words. */
[[nodiscard]] int bh_event_parse(const char *line, size_t size, struct bh_event *ret_event,
				 struct bh_diag *diag);

#endif
