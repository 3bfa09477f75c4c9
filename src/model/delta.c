/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deltas: what turns one image into another.
 *
 * A delta is a list of segments, each with the changes of its records in key order. An encoded
 * delta names deleted records by their key alone; the decoder can't know old values,
 * bh_delta_apply() looks them up. Wire form:
 *
 *	"BHD1" from[32] to[32] u32 segments
 *	segment: u8 name_len, name, u8 gone, u32 deletes, u32 puts, delete keys, put records
 */
#include "base/util.h"
#include "model/image.h"
#include "model/segment_internal.h"

#include <errno.h>

#define SEGMENTS_MAX 1000000u

struct change {
	struct bh_rec old, put;
	bool has_old, has_put;
};

struct part {
	char name[BH_SEGMENT_NAME_MAX];
	bool gone; /* the segment ends; changes hold its records as old ones */
	BH_VEC(struct change) changes;
};

struct bh_delta {
	struct bh_hash from, to;
	BH_VEC(struct part) parts;
	size_t count;
};

void bh_delta_free(struct bh_delta *delta)
{
	if (!delta) {
		return;
	}
	bh_vec_foreach (p, &delta->parts) {
		bh_vec_done(&p->changes);
	}
	bh_vec_done(&delta->parts);
	free(delta);
}

bool bh_delta_empty(const struct bh_delta *delta)
{
	return !delta->parts.count;
}

const struct bh_hash *bh_delta_from(const struct bh_delta *delta)
{
	return &delta->from;
}

const struct bh_hash *bh_delta_to(const struct bh_delta *delta)
{
	return &delta->to;
}

size_t bh_delta_count(const struct bh_delta *delta)
{
	return delta->count;
}

static void add_change(struct part *part, const struct bh_rec *old, const struct bh_rec *put)
{
	struct change *c = bh_vec_push(&part->changes);

	if (old) {
		c->old = *old;
		c->has_old = true;
	}
	if (put) {
		c->put = *put;
		c->has_put = true;
	}
}

static bool same_value(const struct bh_rec *a, const struct bh_rec *b)
{
	uint8_t va[BH_REC_VALUE_MAX], vb[BH_REC_VALUE_MAX];
	size_t na, nb;

	if (!memcmp(a, b, sizeof(*a))) {
		return true; /* most are; padding may differ, so else it is not yet known */
	}
	na = bh_rec_value(a, va);
	nb = bh_rec_value(b, vb);
	return na == nb && !memcmp(va, vb, na);
}

/* Both sides stand in key order, so one walk finds what differs. Either may be NULL. */
static void compare_segments(struct bh_delta *delta, struct bh_segment *from, struct bh_segment *to)
{
	size_t i = 0, j = 0, nf = from ? from->recs.count : 0, nt = to ? to->recs.count : 0;
	struct part *part = bh_vec_push(&delta->parts);

	strcpy(part->name, from ? from->name : to->name);
	part->gone = !to;
	while (i < nf || j < nt) {
		const struct bh_rec *a = i < nf ? &from->recs.items[i] : NULL;
		const struct bh_rec *b = j < nt ? &to->recs.items[j] : NULL;
		int c = !a ? 1 : !b ? -1 : bh_rec_key_compare(a, b);

		if (c < 0) {
			add_change(part, a, NULL);
			i++;
		} else if (c > 0) {
			add_change(part, NULL, b);
			j++;
		} else {
			if (!same_value(a, b)) {
				add_change(part, a, b);
			}
			i++;
			j++;
		}
	}
	delta->count += part->changes.count;
}

struct between {
	struct bh_delta *delta;
	const struct bh_image *other;
};

static void compare_with_new(struct bh_segment *seg, void *arg)
{
	struct between *b = arg;
	struct bh_segment *to = bh_image_get(b->other, seg->name);

	if (to != seg && (!to || !bh_hash_equal(&to->hash, &seg->hash))) {
		compare_segments(b->delta, seg, to);
	}
}

static void add_if_new(struct bh_segment *seg, void *arg)
{
	struct between *b = arg;

	if (!bh_image_get(b->other, seg->name)) {
		compare_segments(b->delta, NULL, seg);
	}
}

struct bh_delta *bh_delta_between(const struct bh_image *from, const struct bh_image *to)
{
	struct bh_delta *delta = bh_alloc(sizeof(*delta));
	struct between b = {.delta = delta, .other = to};

	delta->from = *bh_image_hash(from);
	delta->to = *bh_image_hash(to);
	bh_image_each(from, compare_with_new, &b);
	b.other = from;
	bh_image_each(to, add_if_new, &b);
	return delta;
}

void bh_delta_each(const struct bh_delta *delta, bh_delta_each_fn *fn, void *arg)
{
	/* Deletes go first: a record may move from one segment to another. */
	for (int puts = 0; puts <= 1; puts++) {
		bh_vec_foreach (part, &delta->parts) {
			bh_vec_foreach (c, &part->changes) {
				if (c->has_put == (bool)puts) {
					fn(c->has_old ? &c->old : NULL, puts ? &c->put : NULL, arg);
				}
			}
		}
	}
}

/* ---- wire ---- */

void bh_delta_encode(const struct bh_delta *delta, struct bh_wbuf *w)
{
	bh_wbuf_str(w, "BHD1");
	bh_wbuf_put(w, delta->from.bytes, BH_HASH_SIZE);
	bh_wbuf_put(w, delta->to.bytes, BH_HASH_SIZE);
	bh_wbuf_u32(w, (uint32_t)delta->parts.count);
	bh_vec_foreach (part, &delta->parts) {
		uint32_t deletes = 0, puts = 0;
		uint8_t key[BH_REC_KEY_MAX];

		bh_vec_foreach (c, &part->changes) {
			puts += c->has_put;
			deletes += !c->has_put;
		}
		deletes = part->gone ? 0 : deletes;
		bh_wbuf_u8(w, (uint8_t)strlen(part->name));
		bh_wbuf_str(w, part->name);
		bh_wbuf_u8(w, part->gone);
		bh_wbuf_u32(w, deletes);
		bh_wbuf_u32(w, puts);
		bh_vec_foreach (d, &part->changes) {
			if (!d->has_put && !part->gone) {
				bh_wbuf_put(w, key, bh_rec_key(&d->old, key));
			}
		}
		bh_vec_foreach (p, &part->changes) {
			if (p->has_put) {
				bh_rec_write(w, &p->put);
			}
		}
	}
}

static void read_part(struct bh_rbuf *r, struct part *part)
{
	size_t name_len = bh_rbuf_u8(r);
	uint32_t deletes, puts;
	struct bh_rec rec;

	if (!name_len || name_len >= sizeof(part->name)) {
		r->err = -EBADMSG;
		return;
	}
	bh_rbuf_copy(r, part->name, name_len);
	part->gone = bh_rbuf_u8(r) != 0;
	deletes = bh_rbuf_u32(r);
	puts = bh_rbuf_u32(r);
	if (memchr(part->name, '\0', name_len) || (part->gone && (deletes || puts))) {
		r->err = -EBADMSG;
	}
	/* Each turn eats at least one byte or fails, so the counts can't make this loop long. */
	for (; deletes && !r->err; deletes--) {
		bh_rec_read_key(r, &rec);
		add_change(part, &rec, NULL);
	}
	for (; puts && !r->err; puts--) {
		bh_rec_read(r, &rec);
		add_change(part, NULL, &rec);
	}
}

/* Where the key of a change is: deletes name it in old, puts in put. */
static const struct bh_rec *change_key(const struct change *c)
{
	return c->has_put ? &c->put : &c->old;
}

static int compare_changes(const void *a, const void *b)
{
	return bh_rec_key_compare(change_key(a), change_key(b));
}

static bool in_order(const struct part *part)
{
	for (size_t i = 1; i < part->changes.count; i++) {
		if (compare_changes(&part->changes.items[i - 1], &part->changes.items[i]) >= 0) {
			return false;
		}
	}
	return true;
}

int bh_delta_decode(const void *data, size_t size, struct bh_delta **ret, struct bh_diag *diag)
{
	struct bh_delta *delta = bh_alloc(sizeof(*delta));
	struct bh_rbuf r;
	char magic[4];
	uint32_t parts;

	bh_rbuf_init(&r, data, size);
	bh_rbuf_copy(&r, magic, sizeof(magic));
	bh_rbuf_copy(&r, delta->from.bytes, BH_HASH_SIZE);
	bh_rbuf_copy(&r, delta->to.bytes, BH_HASH_SIZE);
	parts = bh_rbuf_u32(&r);
	if (memcmp(magic, "BHD1", 4) || parts > SEGMENTS_MAX) {
		r.err = -EBADMSG;
	}
	for (; parts && !r.err; parts--) {
		struct part *part = bh_vec_push(&delta->parts);

		read_part(&r, part);
		/* Deletes and puts come each in order; a key that is still not in its place stands
		 * there twice. */
		if (!in_order(part)) {
			qsort(part->changes.items, part->changes.count,
			      sizeof(*part->changes.items), compare_changes);
			r.err = in_order(part) ? r.err : -EBADMSG;
		}
		delta->count += part->changes.count;
	}
	if (bh_rbuf_finish(&r)) {
		bh_delta_free(delta);
		return bh_diag_set(diag, -EBADMSG, "not a valid delta (wrong at byte %zu of %zu)",
				   r.pos, size);
	}
	*ret = delta;
	return 0;
}

/* ---- apply ---- */

/* Merges a segment's records with the changes of one part, both in key order, and lets the changes
 * learn the old values. A delete of what is not there is an error: the hashes would not agree
 * anyway. */
static int merge(struct part *part, struct bh_segment *from, struct bh_segment *to)
{
	size_t i = 0, j = 0, nf = from ? from->recs.count : 0, nc = part->changes.count;

	while (i < nf || j < nc) {
		const struct bh_rec *a = i < nf ? &from->recs.items[i] : NULL;
		struct change *c = j < nc ? &part->changes.items[j] : NULL;
		int order = !a ? 1 : !c ? -1 : bh_rec_key_compare(a, change_key(c));

		if (order < 0) {
			bh_segment_add(to, a);
			i++;
			continue;
		}
		if (order == 0) {
			c->old = *a;
			c->has_old = true;
			i++;
		} else if (!c->has_put) {
			return -EBADMSG;
		} else {
			c->has_old = false;
		}
		if (c->has_put) {
			bh_segment_add(to, &c->put);
		}
		j++;
	}
	return 0;
}

/* A segment that ends is named without its records; whoever looks at the changes needs them. */
static void learn_gone(struct bh_delta *delta, struct part *part, const struct bh_segment *from)
{
	delta->count -= part->changes.count;
	part->changes.count = 0;
	for (size_t i = 0; from && i < from->recs.count; i++) {
		add_change(part, &from->recs.items[i], NULL);
	}
	delta->count += part->changes.count;
}

static int apply_part(struct bh_delta *delta, struct part *part, struct bh_image *image,
		      struct bh_diag *diag)
{
	struct bh_segment *from = bh_image_get(image, part->name);
	struct bh_segment *to;
	int r;

	if (part->gone) {
		learn_gone(delta, part, from);
		bh_image_drop(image, part->name);
		return 0;
	}
	to = bh_segment_new(part->name);
	r = merge(part, from, to);
	if (r) {
		bh_diag_set(diag, r, "segment %s: the delta deletes a record that is not there",
			    part->name);
	} else {
		r = bh_segment_seal(to, diag);
	}
	if (!r) {
		bh_image_set(image, to);
	}
	bh_segment_unref(to);
	return r;
}

static void copy_segment(struct bh_segment *seg, void *arg)
{
	bh_image_set(arg, seg);
}

int bh_delta_apply(struct bh_delta *delta, const struct bh_image *image,
		   struct bh_image **ret_image, struct bh_diag *diag)
{
	struct bh_image *next;
	int r = 0;

	if (!bh_hash_equal(&delta->from, bh_image_hash(image))) {
		return bh_diag_set(diag, BH_IMAGE_STALE,
				   "the delta starts from another state than the one here");
	}
	next = bh_image_new();
	bh_image_each(image, copy_segment, next);
	for (size_t i = 0; !r && i < delta->parts.count; i++) {
		r = apply_part(delta, &delta->parts.items[i], next, diag);
	}
	if (!r && !bh_hash_equal(&delta->to, bh_image_hash(next))) {
		r = bh_diag_set(diag, -EBADMSG, "the delta does not lead to the hash it promises");
	}
	if (r) {
		bh_image_free(next);
		return r;
	}
	*ret_image = next;
	return 0;
}
