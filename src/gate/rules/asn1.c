/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keyword asn1 asks of bytes: objects of BER (X.690) whose length, bit string or real
 * number overran decoders of old. Foreign bytes: never read past their end, at most FRAMES_MAX
 * objects, DEPTH_MAX in one another; what is behind that is not looked at.
 */
#include "gate/rules/rule.h"

#define FRAMES_MAX 256 /* as Suricata's asn1-max-frames */
#define DEPTH_MAX  16

enum { TAG_BITSTRING = 3, TAG_REAL = 9, CONSTRUCTED = 0x20, CLASS = 0xc0 };

struct reader {
	const uint32_t *args;
	const uint8_t *data;
	uint32_t frames;
};

struct object {
	uint8_t id;
	uint32_t tag;
	bool indefinite;
	uint64_t length;
	uint32_t content; /* where it begins */
};

/* The header at `at`; false when it is not whole. */
static bool header_read(const struct reader *r, uint32_t at, uint32_t end, struct object *o)
{
	uint8_t first;

	if (at >= end) {
		return false;
	}
	o->id = r->data[at++];
	o->tag = o->id & 0x1f;
	if (o->tag == 0x1f) {
		o->tag = 0;
		do {
			if (at >= end || o->tag > UINT32_MAX >> 7) {
				return false;
			}
			o->tag = o->tag << 7 | (r->data[at] & 0x7f);
		} while (r->data[at++] & 0x80);
	}
	if (at >= end) {
		return false;
	}
	first = r->data[at++];
	o->indefinite = first == 0x80;
	o->length = first & 0x7f;
	if (first > 0x80) {
		unsigned int bytes = first & 0x7f;

		if (bytes > 8 || bytes > end - at) {
			return false;
		}
		for (o->length = 0; bytes; bytes--) {
			o->length = o->length << 8 | r->data[at++];
		}
	}
	o->content = at;
	return true;
}

static bool object_overflows(const struct reader *r, const struct object *o, uint32_t left)
{
	bool plain = !(o->id & (CLASS | CONSTRUCTED)) && left && o->length;
	uint8_t first = plain ? r->data[o->content] : 0;

	if ((r->args[0] & GATE_ASN1_OVERSIZE) && o->length > r->args[1]) {
		return true;
	}
	/* more unused bits than the string has bytes for */
	if ((r->args[0] & GATE_ASN1_BITSTRING) && plain && o->tag == TAG_BITSTRING &&
	    first >> 3 > o->length) {
		return true;
	}
	/* a real number in characters, longer than any */
	return (r->args[0] & GATE_ASN1_DOUBLE) && plain && o->tag == TAG_REAL && !(first & 0xc0) &&
	       o->length > 256;
}

static bool any_overflows(struct reader *r, uint32_t at, uint32_t end, unsigned int depth)
{
	struct object o;

	while (r->frames < FRAMES_MAX && header_read(r, at, end, &o)) {
		uint32_t left = end - o.content;
		uint32_t inside = o.indefinite || o.length > left ? left : (uint32_t)o.length;

		r->frames++;
		if (object_overflows(r, &o, left)) {
			return true;
		}
		if ((o.id & CONSTRUCTED) && depth < DEPTH_MAX &&
		    any_overflows(r, o.content, o.content + inside, depth + 1)) {
			return true;
		}
		at = o.content + inside;
	}
	return false;
}

bool gate_asn1_matches(const uint32_t args[4], const uint8_t *data, uint32_t size, uint32_t last)
{
	struct reader r = {.args = args, .data = data};
	int64_t at = 0;

	if (args[0] & GATE_ASN1_ABSOLUTE) {
		at = args[2];
	} else if (args[0] & GATE_ASN1_RELATIVE) {
		at = (int64_t)last + (int32_t)args[2];
	}
	return at >= 0 && at < size && any_overflows(&r, (uint32_t)at, size, 0);
}
