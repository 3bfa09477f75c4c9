/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which content of a rule the prefilter looks for: the one the rule says (fast_pattern), else the
 * strongest that must be there. Strength is length and variety of the bytes, as Suricata's
 * PatternStrength; a content of a buffer that is small or seldom counts more than one of a body,
 * and header names, which every request has, count less. One and two bytes are no pattern: rules
 * that have no more are candidates always, which costs less than finding them everywhere; those
 * that want them first of all, only when they are there.
 */
#include "gate/detect/inspect.h"

#include <limits.h>

#define PATTERN_MIN 3
#define WINDOW	    GATE_GRAM_LONGEST /* bytes of a longer one that are looked for */

static int strength_of(const struct gate_dm *dm)
{
	const uint8_t *bytes = dm->content.bytes;
	bool seen[256] = {};
	int score = 0;

	for (uint16_t i = 0; i < dm->content.size && i < 64; i++) {
		uint8_t c = bytes[i];
		bool letter = (uint8_t)((c | 0x20) - 'a') < 26;

		if (seen[c]) {
			score += 1;
			continue;
		}
		seen[c] = true;
		score += letter				 ? 3
			 : c >= 0x20 && c < 0x7f	 ? 4
			 : c == 0 || c == 1 || c == 0xff ? 4
							 : 6;
	}
	return score;
}

static int weigh(const struct gate_builder *b, const struct gate_dlist *list, int score)
{
	const struct gate_slot *slot;

	if (list->kind == GATE_LIST_PAYLOAD) {
		return score;
	}
	slot = &b->slots.items[list->slot];
	switch (slot->buffer) {
	case GATE_BUF_HTTP_METHOD:
	case GATE_BUF_HTTP_PROTOCOL:
	case GATE_BUF_HTTP_STAT_CODE:
	case GATE_BUF_HTTP_STAT_MSG:
		return score / 4;
	case GATE_BUF_HTTP_HEADER_NAMES:
	case GATE_BUF_HTTP_ACCEPT:
	case GATE_BUF_HTTP_CONNECTION:
	case GATE_BUF_HTTP_CONTENT_TYPE:
	case GATE_BUF_HTTP_CONTENT_LEN:
		return score / 2;
	default:
		return slot->flags & GATE_BUFFER_STREAM ? score : score * 3 / 2;
	}
}

static bool can_be_fast(const struct gate_builder *b, const struct gate_sig *sig,
			const struct gate_dlist *list)
{
	if (list->absent || list->kind == GATE_LIST_NUMBER || !list->matches) {
		return false;
	}
	if (sig->type == GATE_SIG_TX || sig->type == GATE_SIG_FRAME) {
		return list->kind == GATE_LIST_BUFFER &&
		       !(b->slots.items[list->slot].flags & GATE_BUFFER_PACKET);
	}
	return list->kind == GATE_LIST_PAYLOAD;
}

/* The seldom part of a long content. */
static void cut_window(struct gate_fast *fast)
{
	uint16_t best = 0;
	int best_score = INT32_MAX;

	for (uint16_t at = 0; at + WINDOW <= fast->size; at++) {
		int score = 0;

		for (uint16_t i = 0; i < WINDOW; i++) {
			score += gate_byte_commonness(fast->bytes[at + i]);
		}
		if (score < best_score) {
			best_score = score;
			best = at;
		}
	}
	if (best_score != INT32_MAX) {
		fast->bytes += best;
		fast->size = WINDOW;
	}
}

/* Behind which byte of the buffer a content can't end; before: that of what it counts from, 0 at
 * the list's beginning. UINT32_MAX: it may end anywhere. */
static uint32_t content_end(const struct gate_dm *dm, uint32_t before)
{
	int64_t end = dm->content.depth;

	if (!(dm->flags & (GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN))) {
		return dm->flags & GATE_CONTENT_DEPTH && !(dm->vars & 3) ? (uint32_t)end
									 : UINT32_MAX;
	}
	if (before == UINT32_MAX || !(dm->flags & GATE_CONTENT_WITHIN) || dm->vars) {
		return UINT32_MAX;
	}
	end = (int64_t)before + dm->content.within + dm->content.distance;
	/* At the beginning it counts from that of a window, which may stand as far in again. */
	end = before ? end : end * 2;
	return end < dm->content.size ? dm->content.size
	       : end > INT32_MAX      ? UINT32_MAX
				      : (uint32_t)end;
}

/* The same of any match: where the next one counts from. */
static uint32_t match_end(const struct gate_dm *dm, uint32_t before)
{
	switch (dm->kind) {
	case GATE_M_CONTENT:
		return dm->flags & GATE_CONTENT_NEGATED ? before : content_end(dm, before);
	case GATE_M_BYTE_TEST:
	case GATE_M_ISDATAAT:
	case GATE_M_BSIZE:
	case GATE_M_DATASET:
		return before;
	default:
		return UINT32_MAX;
	}
}

/* A packet of so many bytes at most is all that the rule looks at. */
static uint32_t size_limit(const struct gate_sig *sig, const struct gate_dlist *list)
{
	bool limited = sig->dsize_op == GATE_EQ + 1 || sig->dsize_op == GATE_LT + 1 ||
		       sig->dsize_op == GATE_LE + 1;

	return limited && list->kind == GATE_LIST_PAYLOAD && !sig->require_stream ? sig->dsize_a
										  : UINT32_MAX;
}

static bool fill(const struct gate_dm *dm, uint16_t list, uint32_t max_end, struct gate_fast *ret)
{
	const struct gate_content *src = &dm->src->content;

	*ret = (struct gate_fast){.bytes = dm->content.bytes,
				  .size = dm->content.size,
				  .list = list,
				  .nocase = dm->flags & GATE_CONTENT_NOCASE,
				  .max_end = max_end};
	if ((src->flags & GATE_CONTENT_FAST_CHOP) && src->chop_size &&
	    (uint32_t)src->chop_offset + src->chop_size <= src->size) {
		ret->bytes += src->chop_offset;
		ret->size = src->chop_size;
	}
	cut_window(ret);
	return ret->size >= PATTERN_MIN;
}

static bool is_asked(const struct gate_dm *dm)
{
	return dm->flags & (GATE_CONTENT_FAST | GATE_CONTENT_FAST_ONLY | GATE_CONTENT_FAST_CHOP);
}

/* The best so far. */
struct choice {
	struct gate_fast fast;
	int score; /* INT_MAX: the rule asks for it */
};

static void choose_from(const struct gate_builder *b, const struct gate_sig *sig, uint16_t num,
			struct choice *best)
{
	const struct gate_dlist *list = &sig->lists[num];
	uint32_t limit = size_limit(sig, list), end = 0;

	for (const struct gate_dm *dm = list->matches;; dm++) {
		struct gate_fast fast;
		int score = -1;

		end = match_end(dm, end);
		if (dm->kind == GATE_M_CONTENT && !(dm->flags & GATE_CONTENT_NEGATED)) {
			score = is_asked(dm) ? INT_MAX : weigh(b, list, strength_of(dm));
		}
		if (score > best->score && fill(dm, num, end < limit ? end : limit, &fast)) {
			best->fast = fast;
			best->score = score;
		}
		if (dm->last) {
			return;
		}
	}
}

bool gate_fast_pattern(const struct gate_builder *b, const struct gate_sig *sig,
		       struct gate_fast *ret)
{
	struct choice best = {.score = -1};

	for (uint16_t i = 0; i < sig->list_count; i++) {
		if (can_be_fast(b, sig, &sig->lists[i])) {
			choose_from(b, sig, i, &best);
		}
	}
	*ret = best.fast;
	return best.score >= 0;
}

/* A content that stands at the very beginning or nowhere. */
static bool is_first(const struct gate_dm *dm)
{
	return dm->kind == GATE_M_CONTENT &&
	       !(dm->flags & (GATE_CONTENT_NEGATED | GATE_CONTENT_NOCASE)) &&
	       content_end(dm, UINT32_MAX) == dm->content.size;
}

void gate_fast_none(const struct gate_sig *sig, struct gate_always *ret)
{
	*ret = (struct gate_always){.num = sig->num, .need = sig->need};
	for (unsigned int i = 0; i < sig->list_count; i++) {
		const struct gate_dlist *list = &sig->lists[i];
		const struct gate_dm *dm = list->matches;

		if (list->kind == GATE_LIST_PAYLOAD && !list->absent && dm && is_first(dm)) {
			size_t size = dm->content.size < 4 ? dm->content.size : 4;

			memset(&ret->mask, 0xff, size);
			memcpy(&ret->bytes, dm->content.bytes, size);
			return;
		}
	}
}
