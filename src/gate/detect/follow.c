/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set that takes the place of another (sets.h, "Reload"): which of its rules were there
 * before under which number, and what flows and transactions keep by number made right. A rule is
 * the same when its gid, sid and text are: the configuration does not change while the process
 * runs, so its lists are the same too.
 */
#include "gate/detect/detector.h"

#include <stdlib.h>

struct index_entry {
	uint32_t gid, sid, num; /* num + 1; 0: free */
};
struct rule_index {
	struct index_entry *items;
	size_t mask;
};

static struct index_entry *slot_of(const struct rule_index *index, uint32_t gid, uint32_t sid)
{
	size_t i = (sid * 2654435761u ^ gid * 40503u) & index->mask;

	while (index->items[i].num && (index->items[i].gid != gid || index->items[i].sid != sid)) {
		i = (i + 1) & index->mask;
	}
	return &index->items[i];
}

static void index_rules(const struct gate_rule_set *set, struct rule_index *ret)
{
	size_t capacity = 16;

	while (capacity < set->sig_count * 2ull) {
		capacity *= 2;
	}
	ret->mask = capacity - 1;
	ret->items = bh_alloc_array(capacity, sizeof(*ret->items));
	for (uint32_t i = 0; i < set->sig_count; i++) {
		const struct gate_rule *rule = set->sigs[i].rule;

		*slot_of(ret, rule->gid, rule->sid) =
			(struct index_entry){rule->gid, rule->sid, i + 1};
	}
}

static bool is_same(const struct gate_rule *a, const struct gate_rule *b)
{
	return a == b || (a->text && b->text && !strcmp(a->text, b->text));
}

static void add_was(struct gate_rule_set *set, uint32_t id, uint32_t *nums, uint32_t count)
{
	struct gate_rule_was *was = &set->was[set->was_count++];
	size_t words = set->sig_count / 64 + 1;

	*was = (struct gate_rule_was){
		.id = id, .count = count, .nums = nums, .carried = bh_alloc_array(words, 8)};
	for (uint32_t i = 0; i < count; i++) {
		if (nums[i] != GATE_NUM_NONE_SIG) {
			was->carried[nums[i] / 64] |= 1ull << nums[i] % 64;
		}
	}
	set->stats.bytes += words * 8 + count * sizeof(*nums);
}

void gate_rule_set_follow(struct gate_rule_set *set, const struct gate_rule_set *before)
{
	struct rule_index index;
	uint32_t *nums;

	index_rules(set, &index);
	nums = bh_alloc_array(before->sig_count + 1, sizeof(*nums));
	for (uint32_t i = 0; i < before->sig_count; i++) {
		const struct gate_rule *rule = before->sigs[i].rule;
		const struct index_entry *e = slot_of(&index, rule->gid, rule->sid);

		nums[i] = e->num && is_same(rule, set->sigs[e->num - 1].rule) ? e->num - 1
									      : GATE_NUM_NONE_SIG;
	}
	free(index.items);
	add_was(set, before->id, nums, before->sig_count);
	for (unsigned int k = 0; k < before->was_count && set->was_count < GATE_WAS_MAX; k++) {
		const struct gate_rule_was *was = &before->was[k];
		uint32_t *older = bh_alloc_array(was->count + 1, sizeof(*older));

		for (uint32_t i = 0; i < was->count; i++) {
			older[i] = was->nums[i] == GATE_NUM_NONE_SIG ? GATE_NUM_NONE_SIG
								     : nums[was->nums[i]];
		}
		add_was(set, was->id, older, was->count);
	}
}

void gate_rule_set_forget(struct gate_rule_set *set)
{
	while (set->was_count) {
		struct gate_rule_was *was = &set->was[--set->was_count];

		free(was->nums);
		free(was->carried);
	}
}

static const struct gate_rule_was *was_of(const struct gate_rule_set *set, uint32_t id)
{
	for (unsigned int i = 0; i < set->was_count; i++) {
		if (set->was[i].id == id) {
			return &set->was[i];
		}
	}
	return NULL;
}

const uint64_t *gate_carried(const struct gate_rule_set *set, uint32_t id)
{
	const struct gate_rule_was *was = id ? was_of(set, id) : NULL;

	return was ? was->carried : NULL;
}

static void follow_side(struct gate_tx_side *side, const struct gate_rule_was *was)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < side->count; i++) {
		struct gate_tx_state state = side->states[i];
		uint16_t at = kept;

		state.num = state.num < was->count ? was->nums[state.num] : GATE_NUM_NONE_SIG;
		if (state.num == GATE_NUM_NONE_SIG) {
			continue;
		}
		for (; at > 0 && side->states[at - 1].num > state.num; at--) {
			side->states[at] = side->states[at - 1];
		}
		side->states[at] = state;
		kept++;
	}
	side->count = kept;
	/* New rules have seen nothing of it: all that is there is searched again. */
	side->scanned = 0;
	side->files_over = 0;
	memset(side->streams, 0, sizeof(side->streams));
	side->stream_next = 0;
}

bool gate_follow_tx(struct gate_detect_tx *state, const struct gate_rule_set *set)
{
	const struct gate_rule_was *was = was_of(set, state->set_id);

	if (!was) {
		return false;
	}
	for (int dir = 0; dir < GATE_DIRS; dir++) {
		follow_side(&state->sides[dir], was);
	}
	state->set_id = set->id;
	return true;
}

void gate_follow_flow(struct gate_detect_flow *state, const struct gate_rule_set *set)
{
	memset(state->addr_known, 0, sizeof(state->addr_known));
	memset(state->addr_value, 0, sizeof(state->addr_value));
	/* What rules that stayed were asked for counts; a set without a packet asked nothing. */
	if (state->ip_only_dirs || state->proto_seen[0] || state->proto_seen[1]) {
		state->before_id = state->set_id;
		state->before_ip_only = state->ip_only_dirs;
		memcpy(state->before_proto, state->proto_seen, sizeof(state->before_proto));
	}
	for (int dir = 0; dir < GATE_DIRS; dir++) {
		gate_found_forget(state->pool, &state->found[dir]);
	}
	state->ip_only_dirs = 0;
	memset(state->proto_seen, 0, sizeof(state->proto_seen));
	state->set_id = set->id;
}
