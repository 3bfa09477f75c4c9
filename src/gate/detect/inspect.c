/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evaluation of a list of byte matches; theory in inspect.h.
 *
 * `run` takes matches one after the other. A content or pcre that a later match counts from
 * (relative_next) is tried at each of its places: the rest of the list is run from there, and when
 * it fails the next place is taken. `stop` says that the rest failed for a reason that has nothing
 * to do with the place: a content that is nowhere in the buffer.
 */
#include "gate/detect/inspect.h"

#include <math.h>

#define ENTROPY_STEP 1e-9 /* what is nearer is the same */

static bool run(struct gate_inspect *in, const struct gate_dm *m);

static int64_t var_or(const struct gate_inspect *in, const struct gate_dm *m, unsigned int bit,
		      int32_t value)
{
	if (m->vars & (1u << bit)) {
		uint64_t v = in->vars[value % GATE_VARS_MAX];

		return v > INT32_MAX ? INT32_MAX : (int64_t)v;
	}
	return value;
}

struct range {
	int64_t offset, depth; /* depth: where it ends */
};

/* Where a content that counts from the last match may be. */
static bool range_relative(const struct gate_inspect *in, const struct gate_dm *m, uint32_t prev,
			   struct range *ret)
{
	int64_t distance = var_or(in, m, 2, m->content.distance);
	int64_t offset = prev, depth = in->size;
	int64_t fixed = var_or(in, m, 0, m->content.offset), until;

	if (m->flags & GATE_CONTENT_DISTANCE) {
		offset = offset + distance < 0 ? 0 : offset + distance;
	}
	if (m->flags & GATE_CONTENT_WITHIN) {
		until = prev + var_or(in, m, 3, m->content.within) + distance;
		depth = until < depth ? until : depth;
		if (in->base && !prev && depth <= (int64_t)in->base) {
			return false;
		}
	}
	if (m->flags & GATE_CONTENT_DEPTH) {
		until = prev + var_or(in, m, 1, m->content.depth);
		depth = until < depth ? until : depth;
	}
	ret->offset = fixed > offset ? fixed : offset;
	ret->depth = depth;
	return depth > 0;
}

static bool range_fixed(const struct gate_inspect *in, const struct gate_dm *m, struct range *ret)
{
	int64_t depth = var_or(in, m, 1, m->content.depth);

	ret->offset = var_or(in, m, 0, m->content.offset);
	if (!(m->flags & GATE_CONTENT_DEPTH)) {
		ret->depth = in->size;
		return true;
	}
	/* Counts from offset; a constant had it added when it was compiled. */
	if (m->vars & 3) {
		depth += ret->offset;
	}
	if (in->base) {
		if (depth <= (int64_t)in->base) {
			return false;
		}
		depth = depth >= (int64_t)in->base + in->size ? in->size
							      : depth - (int64_t)in->base;
	}
	ret->depth = depth > in->size ? in->size : depth;
	return true;
}

static int64_t find(const struct gate_inspect *in, const struct gate_dm *m,
		    const struct range *range)
{
	int64_t at;

	if (m->flags & GATE_CONTENT_ENDSWITH) {
		/* One place only: the end. */
		at = (int64_t)in->size - m->content.size;
		if (range->depth < in->size || at < range->offset) {
			return -1;
		}
		return gate_content_search(m, in->data + at, m->content.size) ? -1 : at;
	}
	at = gate_content_search(m, in->data + range->offset,
				 (uint32_t)(range->depth - range->offset));
	return at < 0 ? -1 : at + range->offset;
}

static void note_replace(struct gate_inspect *in, const struct gate_dm *m, uint32_t at)
{
	if ((m->flags & GATE_CONTENT_REPLACE) && in->replace_count < BH_ARRAY_SIZE(in->replaces)) {
		in->replaces[in->replace_count++] =
			(struct gate_replace){.content = &m->src->content, .at = at};
	}
}

static bool next(struct gate_inspect *in, const struct gate_dm *m)
{
	return m->last || run(in, m + 1);
}

static bool content(struct gate_inspect *in, const struct gate_dm *m)
{
	bool relative = m->flags & (GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN);
	bool negated = m->flags & GATE_CONTENT_NEGATED;
	struct range range;

	if (!(relative ? range_relative(in, m, in->pos, &range) : range_fixed(in, m, &range)) ||
	    range.offset > range.depth) {
		return negated && next(in, m);
	}
	for (;;) {
		int64_t at = find(in, m, &range);

		if (at < 0) {
			if (negated) {
				return next(in, m);
			}
			in->stop = in->stop || !relative;
			return false;
		}
		if (negated) {
			in->stop = in->stop || (!relative && !m->relative_next);
			return false;
		}
		in->pos = (uint32_t)at + m->content.size;
		note_replace(in, m, (uint32_t)at);
		if (m->last) {
			return true;
		}
		if (!m->relative_next) {
			return run(in, m + 1);
		}
		if (run(in, m + 1)) {
			return true;
		}
		range.offset = at + 1;
		if (in->stop || (m->flags & GATE_CONTENT_ENDSWITH) || range.offset > range.depth) {
			return false;
		}
	}
}

static bool regex(struct gate_inspect *in, const struct gate_dm *m)
{
	uint32_t pos = in->pos;

	in->pcre_start = 0;
	for (;;) {
		uint32_t start;

		if (!gate_pcre_match(in, m)) {
			return false;
		}
		if (m->last) {
			return true;
		}
		if (!m->relative_next || m->pcre.negated) {
			return run(in, m + 1);
		}
		start = in->pcre_start;
		if (run(in, m + 1)) {
			return true;
		}
		if (in->stop) {
			return false;
		}
		in->pos = pos;
		in->pcre_start = start;
	}
}

static bool is_data_at(const struct gate_inspect *in, const struct gate_isdataat *is)
{
	int64_t at = (int64_t)gate_operand(in, &is->offset);
	bool there = is->relative ? in->pos + at <= in->size : at < in->size;

	return there != is->negated;
}

static bool base64(struct gate_inspect *in, const struct gate_dm *m, bool *ret_final)
{
	const struct gate_base64 *how = &m->src->base64;
	uint64_t from = how->offset + (how->relative ? (uint64_t)in->pos : 0);
	struct gate_inspect outer;
	uint32_t size;
	bool matches;

	if (from >= in->size) {
		return false;
	}
	size = in->size - (uint32_t)from;
	size = how->bytes && how->bytes < size ? how->bytes : size;
	size = gate_base64_decode(in->data + from, size, in->base64, GATE_BASE64_MAX, 0);
	if (!size || !m->base64) {
		return size != 0;
	}
	/* The decoded bytes are the buffer for what stands behind base64_data, the rule's end. */
	outer.data = in->data;
	outer.size = in->size;
	outer.base = in->base;
	outer.pos = in->pos;
	outer.complete = in->complete;
	in->complete = true;
	in->data = in->base64;
	in->size = size;
	in->base = 0;
	in->pos = 0;
	matches = run(in, m->base64);
	in->data = outer.data;
	in->size = outer.size;
	in->base = outer.base;
	in->pos = outer.pos;
	in->complete = outer.complete;
	in->stop = false;
	*ret_final = matches;
	return matches;
}

static bool size_holds(const struct gate_inspect *in, const struct gate_dm *m)
{
	const struct gate_test *test = &m->src->num.test;

	/* A window of what still grows is larger in the end. */
	if (!in->complete && test->op != GATE_GT && test->op != GATE_GE) {
		return false;
	}
	return gate_test_holds(test, in->size + in->base) != m->src->num.negated;
}

/* Shannon's, in bits per byte. */
static double entropy_of(const uint8_t *data, uint32_t size)
{
	uint32_t counts[256] = {};
	double sum = 0;

	for (uint32_t i = 0; i < size; i++) {
		counts[data[i]]++;
	}
	for (unsigned int i = 0; i < 256; i++) {
		if (counts[i]) {
			double share = (double)counts[i] / size;

			sum -= share * log2(share);
		}
	}
	return sum;
}

static bool entropy_holds(const struct gate_inspect *in, const struct gate_entropy *e)
{
	uint32_t size = in->size > e->offset ? in->size - e->offset : 0;
	double is;

	size = e->bytes && e->bytes < size ? e->bytes : size;
	if (!size) {
		return false;
	}
	is = entropy_of(in->data + e->offset, size);
	switch (e->op) {
	case GATE_EQ:
		return fabs(is - e->a) < ENTROPY_STEP;
	case GATE_NE:
		return fabs(is - e->a) >= ENTROPY_STEP;
	case GATE_LT:
		return is < e->a;
	case GATE_LE:
		return is <= e->a;
	case GATE_GT:
		return is > e->a;
	case GATE_GE:
		return is >= e->a;
	default:
		return (is > e->a && is < e->b) == (e->op == GATE_RANGE);
	}
}

static bool one(struct gate_inspect *in, const struct gate_dm *m, bool *ret_final)
{
	switch (m->kind) {
	case GATE_M_BYTE_TEST:
	case GATE_M_BYTE_JUMP:
	case GATE_M_BYTE_EXTRACT:
	case GATE_M_BYTE_MATH:
		return gate_byte_match(in, m);
	case GATE_M_ISDATAAT:
		return is_data_at(in, &m->src->isdataat);
	case GATE_M_BSIZE:
		return size_holds(in, m);
	case GATE_M_BASE64_DECODE:
		return base64(in, m, ret_final);
	case GATE_M_DATASET:
		return gate_dataset_match(m->dataset, in->data, in->size);
	case GATE_M_ASN1:
		return gate_asn1_matches(m->src->other.args, in->data, in->size, in->pos);
	case GATE_M_ENTROPY:
		return entropy_holds(in, &m->src->entropy);
	case GATE_M_ABSENT:
		/* The buffer is here: tx.c has looked at what that means. */
		return true;
	default:
		return false;
	}
}

static bool run(struct gate_inspect *in, const struct gate_dm *m)
{
	for (;; m++) {
		bool final = false;

		if (++in->steps >= GATE_RECURSION_MAX) {
			in->recursion_limit++;
			in->stop = true;
			return false;
		}
		if (m->kind == GATE_M_CONTENT) {
			return content(in, m);
		}
		if (m->kind == GATE_M_PCRE) {
			return regex(in, m);
		}
		if (!one(in, m, &final)) {
			return false;
		}
		if (m->last || final) {
			return true;
		}
	}
}

bool gate_inspect_list(struct gate_inspect *in, const struct gate_dm *matches,
		       const struct gate_buffer_view *view)
{
	static const uint8_t nothing[1];

	in->data = view->data ? view->data : nothing;
	in->size = view->size;
	in->base = view->offset;
	in->complete = view->complete;
	in->pos = 0;
	in->pcre_start = 0;
	in->steps = 0;
	in->stop = false;
	return run(in, matches);
}

void gate_inspect_begin(struct gate_inspect *in, unsigned int vars)
{
	in->replace_count = 0;
	in->taken.count = 0;
	memset(in->vars, 0, (vars < GATE_VARS_MAX ? vars : GATE_VARS_MAX) * sizeof(*in->vars));
}
