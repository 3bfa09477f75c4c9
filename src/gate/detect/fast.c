/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which content of a rule the prefilter looks for: the one the rule says (fast_pattern), else the
 * strongest that must be there. Strength is length and variety of the bytes, as Suricata's
 * PatternStrength; a content of a buffer that is small or seldom counts more than one of a body,
 * and header names, which every request has, count less. One and two bytes are no pattern: rules
 * that have no more are candidates always, which costs less than finding them everywhere.
 */
#include "gate/detect/inspect.h"

#define PATTERN_MIN 3
#define WINDOW	    GATE_GRAM_LONGEST /* bytes of a longer one that are looked for */

static int strength(const uint8_t *bytes, uint16_t size)
{
	bool seen[256] = {};
	int score = 0;

	for (uint16_t i = 0; i < size && i < 64; i++) {
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
	if (sig->type == GATE_SIG_TX) {
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

static bool fill(const struct gate_dm *dm, uint16_t list, struct gate_fast *ret)
{
	const struct gate_content *src = &dm->src->content;
	bool bounded = dm->flags & GATE_CONTENT_DEPTH &&
		       !(dm->flags & (GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN)) &&
		       !(dm->vars & 3);

	*ret = (struct gate_fast){.bytes = dm->content.bytes,
				  .size = dm->content.size,
				  .list = list,
				  .nocase = dm->flags & GATE_CONTENT_NOCASE,
				  .max_end = bounded ? (uint32_t)dm->content.depth : UINT32_MAX};
	if ((src->flags & GATE_CONTENT_FAST_CHOP) && src->chop_size &&
	    (uint32_t)src->chop_offset + src->chop_size <= src->size) {
		ret->bytes += src->chop_offset;
		ret->size = src->chop_size;
	}
	cut_window(ret);
	return ret->size >= PATTERN_MIN;
}

bool gate_fast_pattern(const struct gate_builder *b, const struct gate_sig *sig,
		       struct gate_fast *ret)
{
	const struct gate_dm *best = NULL;
	uint16_t best_list = 0;
	int best_score = -1;

	for (uint16_t i = 0; i < sig->list_count; i++) {
		const struct gate_dm *dm = sig->lists[i].matches;

		if (!can_be_fast(b, sig, &sig->lists[i])) {
			continue;
		}
		for (;; dm++) {
			bool usable =
				dm->kind == GATE_M_CONTENT && !(dm->flags & GATE_CONTENT_NEGATED);
			bool asked =
				usable && (dm->flags & (GATE_CONTENT_FAST | GATE_CONTENT_FAST_ONLY |
							GATE_CONTENT_FAST_CHOP));
			int score = -1;

			if (usable) {
				score = weigh(b, &sig->lists[i],
					      strength(dm->content.bytes, dm->content.size));
			}
			if (asked && fill(dm, i, ret)) {
				return true;
			}
			if (usable && dm->content.size >= PATTERN_MIN && score > best_score) {
				best = dm;
				best_list = i;
				best_score = score;
			}
			if (dm->last) {
				break;
			}
		}
	}
	return best && fill(best, best_list, ret);
}
