/* SPDX-License-Identifier: Apache-2.0 */
/* Messages; see dns.h. What is malformed and what is only odd is as Suricata has it. */
#include "gate/app/dns/dns.h"

#include <errno.h>
#include <string.h>

#define RECORD_MIN 2 /* bytes: no record can be smaller; the header's counts are held against it */

/* ---- names ---- */

struct name {
	const uint8_t *raw;
	uint32_t size, at, end; /* end: behind the name where it began; 0 not known yet */
	uint32_t first;		/* where its first label stands */
	uint16_t length, events;
	uint8_t text[GATE_DNS_NAME_MAX + 64];
};

static bool name_over(struct name *n, enum gate_dns_event event)
{
	n->events |= (uint16_t)(1u << event);
	return n->end != 0;
}

/* 1: over; 0: goes on; -1: malformed. */
static int name_step(struct name *n, bool first)
{
	uint8_t len = n->raw[n->at];
	if (!len) {
		n->at++;
		return 1;
	}
	if ((len & 0xc0) == 0xc0) {
		if (n->at + 2 > n->size) {
			return -1;
		}
		uint32_t to = gate_be16(n->raw + n->at) & 0x3fffu;
		if (to > n->size) {
			return -1;
		}
		if (to == n->at) {
			return name_over(n, GATE_DNS_INFINITE_LOOP) ? 1 : -1;
		}
		n->end = n->end ? n->end : n->at + 2;
		n->at = to;
		n->first = first ? to : n->first;
		return 0;
	}
	if (len & 0xc0 || n->at + 1 + len > n->size) {
		return -1;
	}
	if (n->length <= GATE_DNS_NAME_MAX) {
		if (n->length) {
			n->text[n->length++] = '.';
		}
		/* at most 1 + 63 bytes past the maximum: there is room */
		memcpy(n->text + n->length, n->raw + n->at + 1, len);
		n->length = (uint16_t)(n->length + len);
	}
	n->at += 1u + len;
	return 0;
}

static bool name_read(struct name *n, const uint8_t *raw, uint32_t size, uint32_t at,
		      uint32_t *left)
{
	n->raw = raw;
	n->size = size;
	n->at = n->first = at;
	n->end = 0;
	n->length = n->events = 0;
	if (at >= size) {
		return false;
	}
	for (unsigned int count = 0; n->at < size; count++) {
		if (count >= GATE_DNS_LABELS_MAX || (n->end && !*left)) {
			if (!name_over(n, GATE_DNS_TOO_MANY_LABELS)) {
				return false;
			}
			break;
		}
		*left -= n->end != 0;
		int step = name_step(n, count == 0);
		if (step < 0) {
			return false;
		}
		if (n->length > GATE_DNS_NAME_MAX) {
			n->length = GATE_DNS_NAME_MAX;
			n->events |= 1u << GATE_DNS_NAME_TOO_LONG;
			if (n->end) {
				break;
			}
		}
		if (step) {
			break;
		}
	}
	n->end = n->end ? n->end : n->at;
	return true;
}

int gate_dns_name(const struct gate_dns_message *m, uint32_t at, uint8_t *ret)
{
	uint32_t left = GATE_DNS_LABELS_MAX;
	struct name n;
	if (!name_read(&n, m->raw, m->raw_size, at, &left)) {
		return -EBADMSG;
	}
	memcpy(ret, n.text, n.length);
	return n.length;
}

/* ---- records ---- */

struct walk {
	const uint8_t *raw;
	uint32_t size, at;
	struct gate_dns_rr *rrs;
	uint8_t *names;
	uint32_t rr_capacity, names_capacity;
	uint32_t rr_count, names_size;
	uint32_t left; /* steps of names */
	uint16_t events, value_count;
};
struct place {
	uint32_t at; /* in names */
	uint16_t size, offset;
};

/* The place of a name that was read before, false when there is none. */
static bool find_name(const struct walk *w, uint32_t first, struct place *place)
{
	uint32_t count = w->rr_count < w->rr_capacity ? w->rr_count : w->rr_capacity;
	uint32_t look = count < 8 ? count : 8;
	for (uint32_t i = 0; i < look; i++) {
		/* the first one, mostly the question, then those just before */
		const struct gate_dns_rr *old = i ? &w->rrs[count - i] : &w->rrs[0];
		if (old->name_offset == first && old->name_size) {
			*place = (struct place){old->name_at, old->name_size, (uint16_t)first};
			return true;
		}
		if (old->value_offset == first && old->value_size) {
			*place = (struct place){old->value_at, old->value_size, (uint16_t)first};
			return true;
		}
	}
	return false;
}

static struct place keep_name(struct walk *w, const struct name *n)
{
	struct place place = {.offset = (uint16_t)n->first};
	if (!n->length || find_name(w, n->first, &place)) {
		return place;
	}
	if (w->names_size + n->length > GATE_DNS_NAMES_MAX) {
		w->events |= 1u << GATE_DNS_NAME_TOO_LONG;
		return place;
	}
	place.at = w->names_size;
	place.size = n->length;
	if (w->names_size + n->length <= w->names_capacity) {
		memcpy(w->names + w->names_size, n->text, n->length);
	}
	w->names_size += n->length;
	return place;
}

/* Data that must have the form of its type. value: the name in it. */
static bool data_ok(struct walk *w, const struct gate_dns_rr *rr, struct name *value)
{
	static const struct {
		uint16_t type, name_at;
	} named[] = {
		{GATE_DNS_NS, 0},  {GATE_DNS_CNAME, 0}, {GATE_DNS_PTR, 0},
		{GATE_DNS_SOA, 0}, {GATE_DNS_MX, 2},	{GATE_DNS_SRV, 6},
	};
	value->length = 0;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (named[i].type == rr->type) {
			return rr->data_size >= named[i].name_at &&
			       (!rr->data_size ||
				name_read(value, w->raw, w->size,
					  (uint32_t)rr->data_at + named[i].name_at, &w->left));
		}
	}
	return true;
}

static void keep_value(struct walk *w, struct gate_dns_rr *rr, const struct name *value)
{
	struct place place = {};
	if (value->length && rr->type != GATE_DNS_SRV &&
	    w->names_size + value->length <= GATE_DNS_NAMES_MAX) {
		place = keep_name(w, value);
	}
	rr->value_at = place.at;
	rr->value_size = place.size;
	rr->value_offset = place.offset;
	if (!place.size) {
		return;
	}
	/* there are never more values than records up to this one */
	if (w->value_count == w->rr_count) {
		rr->value_owner = (uint16_t)w->rr_count;
	} else if (w->value_count < w->rr_capacity) {
		w->rrs[w->value_count].value_owner = (uint16_t)w->rr_count;
	}
	w->value_count++;
}

static bool read_rr(struct walk *w, bool query)
{
	struct gate_dns_rr rr = {};
	struct name n, value;
	uint32_t fixed = query ? 4 : 10;
	value.length = 0;
	if (!name_read(&n, w->raw, w->size, w->at, &w->left) || n.end + fixed > w->size) {
		w->events |= n.events;
		return false;
	}
	const uint8_t *p = w->raw + n.end;
	rr.type = gate_be16(p);
	rr.class = gate_be16(p + 2);
	uint32_t next = n.end + fixed;
	if (!query) {
		rr.ttl = gate_be32(p + 4);
		rr.data_size = gate_be16(p + 8);
		rr.data_at = (uint16_t)next;
		if (rr.data_size > w->size - next || !data_ok(w, &rr, &value)) {
			return false;
		}
		next += rr.data_size;
	}
	w->events |= n.events;
	struct place place = keep_name(w, &n);
	rr.name_at = place.at;
	rr.name_size = place.size;
	rr.name_offset = place.offset;
	keep_value(w, &rr, &value);
	if (w->rr_count < w->rr_capacity) {
		w->rrs[w->rr_count] = rr;
	}
	w->rr_count++;
	w->at = next;
	return true;
}

/* False when one is malformed: then the section has none. */
static bool read_section(struct walk *w, uint16_t count, bool query)
{
	struct walk before = *w;
	for (uint16_t i = 0; i < count; i++) {
		if (!read_rr(w, query)) {
			before.events |= w->events;
			*w = before;
			return false;
		}
	}
	return true;
}

static int walk_message(struct walk *w, struct gate_dns_message *m)
{
	const uint8_t *raw = w->raw;
	w->at = GATE_DNS_HEADER_SIZE;
	w->rr_count = w->names_size = 0;
	w->left = GATE_DNS_STEPS_MAX;
	w->events = w->value_count = 0;
	memset(m->counts, 0, sizeof(m->counts));
	for (unsigned int s = 0; s < GATE_DNS_SECTIONS; s++) {
		uint16_t count = gate_be16(raw + 4 + 2 * (size_t)s);
		if (read_section(w, count, s == GATE_DNS_QUERIES)) {
			m->counts[s] = count;
		} else if (s == GATE_DNS_AUTHORITIES) {
			w->events |= 1u << GATE_DNS_INVALID_AUTHORITIES;
			break;
		} else if (s == GATE_DNS_ADDITIONALS) {
			w->events |= 1u << GATE_DNS_INVALID_ADDITIONALS;
		} else {
			return -EBADMSG;
		}
	}
	m->events = w->events;
	m->value_count = w->value_count;
	m->used = w->at;
	return 0;
}

bool gate_dns_header_ok(const uint8_t *data, size_t size, size_t message_size)
{
	if (size < GATE_DNS_HEADER_SIZE) {
		return false;
	}
	size_t records = 0;
	for (unsigned int s = 0; s < GATE_DNS_SECTIONS; s++) {
		records += gate_be16(data + 4 + 2 * (size_t)s);
	}
	return RECORD_MIN * records <= message_size;
}

int gate_dns_read(const uint8_t *data, size_t size, struct gate_dns_reading *r)
{
	struct gate_dns_message *m = &r->message;
	memset(m, 0, sizeof(*m));
	size = size > UINT16_MAX ? UINT16_MAX : size;
	m->raw = data;
	m->raw_size = (uint32_t)size;
	if (!gate_dns_header_ok(data, size, size)) {
		return -EBADMSG;
	}
	struct walk w = {.raw = data,
			 .size = (uint32_t)size,
			 .rrs = r->rrs,
			 .names = r->names,
			 .rr_capacity = GATE_DNS_READ_RRS,
			 .names_capacity = GATE_DNS_READ_NAMES};
	m->id = gate_be16(data);
	m->flags = gate_be16(data + 2);
	m->rrs = r->rrs;
	m->names = r->names;
	int rc = walk_message(&w, m);
	r->rr_count = w.rr_count;
	r->names_size = w.names_size;
	r->fits = w.rr_count <= GATE_DNS_READ_RRS && w.names_size <= GATE_DNS_READ_NAMES;
	return rc;
}

size_t gate_dns_need(const struct gate_dns_reading *r)
{
	/* How names are shared can differ with more room: never more than without sharing. */
	size_t names = r->fits ? r->names_size : GATE_DNS_NAMES_MAX;
	return r->rr_count * sizeof(struct gate_dns_rr) + names + r->message.raw_size;
}

void gate_dns_keep(const struct gate_dns_reading *r, void *memory, struct gate_dns_message *ret)
{
	struct gate_dns_rr *rrs = memory;
	uint8_t *names = (uint8_t *)(rrs + r->rr_count);
	uint32_t names_size = r->fits ? r->names_size : GATE_DNS_NAMES_MAX;
	uint8_t *raw = names + names_size;
	*ret = r->message;
	ret->rrs = rrs;
	ret->names = names;
	ret->raw = raw;
	memcpy(raw, r->message.raw, r->message.raw_size);
	if (r->fits) {
		memcpy(rrs, r->rrs, r->rr_count * sizeof(*rrs));
		memcpy(names, r->names, r->names_size);
		return;
	}
	struct walk w = {.raw = raw,
			 .size = r->message.raw_size,
			 .rrs = rrs,
			 .names = names,
			 .rr_capacity = r->rr_count,
			 .names_capacity = names_size};
	if (walk_message(&w, ret) || w.rr_count != r->rr_count) {
		/* It was sound when it was counted; keep to what both agree on. */
		memset(ret->counts, 0, sizeof(ret->counts));
		ret->value_count = 0;
	}
}

/* ---- what rules ask ---- */

static bool view_name(const struct gate_dns_message *m, unsigned int first, unsigned int count,
		      uint32_t index, struct gate_buffer_view *ret)
{
	if (index >= count) {
		return false;
	}
	const struct gate_dns_rr *rr = &m->rrs[first + index];
	*ret = (struct gate_buffer_view){
		.data = m->names + rr->name_at, .size = rr->name_size, .complete = true};
	return true;
}

/* All names of the message, then those in its data. */
static bool view_any(const struct gate_dns_message *m, unsigned int count, uint32_t index,
		     struct gate_buffer_view *ret)
{
	if (index < count) {
		return view_name(m, 0, count, index, ret);
	}
	index -= count;
	if (index >= m->value_count || index >= count) {
		return false;
	}
	const struct gate_dns_rr *rr = &m->rrs[m->rrs[index].value_owner];
	*ret = (struct gate_buffer_view){
		.data = m->names + rr->value_at, .size = rr->value_size, .complete = true};
	return true;
}

bool gate_dns_buffer(const struct gate_dns_message *m, enum gate_buffer buffer, uint32_t index,
		     struct gate_buffer_view *ret)
{
	unsigned int queries = m->counts[GATE_DNS_QUERIES], answers = m->counts[GATE_DNS_ANSWERS];
	unsigned int authorities = m->counts[GATE_DNS_AUTHORITIES];
	unsigned int additionals = m->counts[GATE_DNS_ADDITIONALS];
	switch (buffer) {
	case GATE_BUF_DNS_QUERY:
	case GATE_BUF_DNS_QUERY_NAME:
	case GATE_BUF_DNS_QUERIES_RRNAME:
		return view_name(m, 0, queries, index, ret);
	case GATE_BUF_DNS_ANSWERS_RRNAME:
		return view_name(m, queries, answers, index, ret);
	case GATE_BUF_DNS_AUTHORITIES_RRNAME:
		return view_name(m, queries + answers, authorities, index, ret);
	case GATE_BUF_DNS_ADDITIONALS_RRNAME:
		return view_name(m, queries + answers + authorities, additionals, index, ret);
	case GATE_BUF_DNS_RESPONSE_RRNAME:
		return (m->flags & GATE_DNS_QR) &&
		       view_any(m, queries + answers + authorities + additionals, index, ret);
	default:
		return false;
	}
}

bool gate_dns_number(const struct gate_dns_message *m, enum gate_number number, uint32_t index,
		     uint64_t *ret)
{
	bool response = m->flags & GATE_DNS_QR;
	unsigned int first = response ? m->counts[GATE_DNS_QUERIES] : 0;
	unsigned int count = m->counts[response ? GATE_DNS_ANSWERS : GATE_DNS_QUERIES];
	switch (number) {
	case GATE_NUM_DNS_OPCODE:
		*ret = m->flags >> 11 & 0xf;
		return index == 0;
	case GATE_NUM_DNS_RCODE:
		*ret = m->flags & 0xf;
		return index == 0;
	case GATE_NUM_DNS_RRTYPE:
		if (index >= count) {
			return false;
		}
		*ret = m->rrs[first + index].type;
		return true;
	default:
		return false;
	}
}
