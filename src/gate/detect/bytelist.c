/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of byte matches as inspect.c runs them: bytes in lower case where case does not matter,
 * regular expressions compiled, who counts from whom. */
#include "gate/detect/dataset.h"
#include "gate/detect/inspect.h"

#include <errno.h>

static void compile_content(struct gate_builder *b, const struct gate_content *c,
			    struct gate_dm *dm)
{
	const struct gate_operand *ops[] = {&c->offset, &c->depth, &c->distance, &c->within};
	int32_t *values[] = {&dm->content.offset, &dm->content.depth, &dm->content.distance,
			     &dm->content.within};
	uint8_t *bytes = gate_arena_alloc(b->set->arena, c->size);
	bool nocase = c->flags & GATE_CONTENT_NOCASE;

	for (uint16_t i = 0; i < c->size; i++) {
		bool upper = nocase && c->bytes[i] >= 'A' && c->bytes[i] <= 'Z';

		bytes[i] = upper ? c->bytes[i] | 0x20 : c->bytes[i];
	}
	dm->flags = c->flags;
	gate_content_prepare(dm, bytes, c->size, nocase);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(ops); i++) {
		int64_t v = ops[i]->value;

		*values[i] = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
		dm->vars |= ops[i]->is_var ? 1u << i : 0;
	}
	if ((c->flags & GATE_CONTENT_STARTSWITH) && !(c->flags & GATE_CONTENT_DEPTH)) {
		dm->flags |= GATE_CONTENT_DEPTH;
		dm->content.depth = c->size;
	}
	/* As inspect.c wants it: from the buffer's beginning, when it is not relative. */
	if ((dm->flags & GATE_CONTENT_DEPTH) && !(dm->vars & 3)) {
		if (dm->content.depth < c->size) {
			dm->content.depth = c->size;
		}
		if (__builtin_add_overflow(dm->content.depth, dm->content.offset,
					   &dm->content.depth)) {
			dm->content.depth = INT32_MAX;
		}
	}
}

static bool is_relative(const struct gate_match *m)
{
	switch (m->kind) {
	case GATE_M_CONTENT:
		return m->content.flags & (GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN);
	case GATE_M_PCRE:
		return m->pcre.flags & GATE_PCRE_RELATIVE;
	case GATE_M_BYTE_TEST:
	case GATE_M_BYTE_JUMP:
	case GATE_M_BYTE_EXTRACT:
	case GATE_M_BYTE_MATH:
		return m->byte.flags & GATE_BYTE_RELATIVE;
	case GATE_M_ISDATAAT:
		return m->isdataat.relative;
	case GATE_M_BASE64_DECODE:
		return m->base64.relative;
	default:
		return false;
	}
}

static bool is_reference(const struct gate_match *m)
{
	return m->kind == GATE_M_CONTENT || m->kind == GATE_M_PCRE;
}

/* Also one whose other places change a variable of a later match. */
static void mark_relative(const struct gate_match *matches, size_t count, struct gate_dm *dms)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = i; is_relative(&matches[i]) && k-- > 0;) {
			if (is_reference(&matches[k])) {
				dms[k].relative_next = true;
				break;
			}
		}
	}
}

static int compile_one(struct gate_builder *b, const struct gate_rule *rule,
		       const struct gate_match *m, struct gate_dm *dm, struct bh_diag *diag)
{
	dm->kind = (uint8_t)m->kind;
	dm->src = m;
	switch (m->kind) {
	case GATE_M_CONTENT:
		if (!m->content.size) {
			return bh_diag_set(diag, -EINVAL, "an empty content");
		}
		compile_content(b, &m->content, dm);
		return 0;
	case GATE_M_PCRE:
		dm->pcre.relative = m->pcre.flags & GATE_PCRE_RELATIVE;
		dm->pcre.negated = m->pcre.flags & GATE_PCRE_NEGATED;
		dm->pcre.regex = gate_builder_regex(b, m->pcre.pattern, m->pcre.options, diag);
		return dm->pcre.regex ? 0 : -EINVAL;
	case GATE_M_BASE64_DECODE:
		if (!rule->base64_data.count) {
			return 0;
		}
		return gate_compile_bytes(b, rule, rule->base64_data.items, rule->base64_data.count,
					  &dm->base64, diag);
	case GATE_M_DATASET:
		return gate_dataset_open(b->set->shared, b->config, &m->dataset, &dm->dataset,
					 diag);
	default:
		return 0;
	}
}

int gate_compile_bytes(struct gate_builder *b, const struct gate_rule *rule,
		       const struct gate_match *matches, size_t count, const struct gate_dm **ret,
		       struct bh_diag *diag)
{
	struct gate_dm *dms = gate_arena_alloc(b->set->arena, count * sizeof(*dms));
	int r;

	for (size_t i = 0; i < count; i++) {
		r = compile_one(b, rule, &matches[i], &dms[i], diag);
		if (r) {
			return r;
		}
	}
	mark_relative(matches, count, dms);
	dms[count - 1].last = true;
	*ret = dms;
	return 0;
}
