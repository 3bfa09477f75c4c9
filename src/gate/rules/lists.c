/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where matches go. A rule has one list per buffer that it names; a buffer that is named again goes
 * on with its list unless it may hold several values (then each naming is about one value) or the
 * transforms differ. Old modifiers move a content from the payload's list to that of a buffer.
 */
#include "gate/rules/reading.h"

static const char *buffer_name(enum gate_buffer buffer)
{
	return buffer == GATE_BUF_PAYLOAD ? "payload" : gate_buffer_desc(buffer)->name;
}

static int list_new(struct gate_reading *r, enum gate_buffer buffer, int32_t *ret)
{
	struct gate_rule_list *list;

	if (r->rule->lists.count == GATE_RULE_LISTS_MAX) {
		return gate_refuse(r, "more than %d buffers", GATE_RULE_LISTS_MAX);
	}
	if (buffer == GATE_BUF_FILE_MAGIC && !gate_shared_magic(r->shared)) {
		return gate_refuse_at(r, r->option->at, "%s: libmagic finds no data base of types",
				      r->option->name);
	}
	list = bh_vec_push(&r->rule->lists);
	list->buffer = buffer;
	*bh_vec_push(&r->list_at) = r->option->at;
	*ret = (int32_t)r->rule->lists.count - 1;
	return 0;
}

/* The open list must have matches before another one is opened. */
static int leave_open(struct gate_reading *r)
{
	if (r->transforms.count) {
		return gate_refuse_at(r, r->option->at, "%s: nothing uses the transforms before it",
				      r->option->name);
	}
	if (r->list >= 0 && !r->rule->lists.items[r->list].matches.count) {
		return gate_refuse_at(r, r->option->at, "%s: nothing is asked of %s before it",
				      r->option->name,
				      buffer_name(r->rule->lists.items[r->list].buffer));
	}
	return 0;
}

/* A list of the buffer without transforms that the next naming goes on with, or NONE. */
static int32_t list_find(const struct gate_reading *r, enum gate_buffer buffer, bool sticky)
{
	if (buffer != GATE_BUF_PAYLOAD && sticky &&
	    (gate_buffer_desc(buffer)->flags & (GATE_BUFFER_MULTI | GATE_BUFFER_FILE)) ==
		    GATE_BUFFER_MULTI) {
		return GATE_LIST_NONE;
	}
	for (size_t i = 0; i < r->rule->lists.count; i++) {
		const struct gate_rule_list *list = &r->rule->lists.items[i];

		if (list->buffer == buffer && !list->transforms.count) {
			return (int32_t)i;
		}
	}
	return GATE_LIST_NONE;
}

int gate_list_open(struct gate_reading *r, enum gate_buffer buffer)
{
	int err;

	err = leave_open(r);
	if (err) {
		return err;
	}
	r->list = list_find(r, buffer, true);
	return r->list == GATE_LIST_NONE ? list_new(r, buffer, &r->list) : 0;
}

int gate_list_of(struct gate_reading *r, enum gate_buffer buffer, int32_t *ret_list)
{
	if (r->list >= 0 && r->rule->lists.items[r->list].buffer == buffer &&
	    !r->rule->lists.items[r->list].transforms.count && !r->transforms.count) {
		*ret_list = r->list;
		return 0;
	}
	*ret_list = list_find(r, buffer, false);
	return *ret_list == GATE_LIST_NONE ? list_new(r, buffer, ret_list) : 0;
}

/* Transforms that wait: the open list takes them, or a new one of the same buffer when it has
 * matches already. */
int gate_list_settle(struct gate_reading *r)
{
	struct gate_rule_list *list;
	int err;

	if (!r->transforms.count) {
		return 0;
	}
	list = &r->rule->lists.items[r->list];
	if (list->matches.count) {
		err = list_new(r, list->buffer, &r->list);
		if (err) {
			return err;
		}
		list = &r->rule->lists.items[r->list];
	}
	bh_vec_foreach (transform, &r->transforms) {
		*bh_vec_push(&list->transforms) = *transform;
	}
	bh_vec_done(&r->transforms);
	return 0;
}

int gate_list_transform(struct gate_reading *r, struct gate_transform *transform)
{
	if (r->list < 0) {
		gate_transform_done(transform);
		return gate_refuse_at(r, r->option->at, "%s: a transform follows a buffer",
				      r->option->name);
	}
	if (r->transform_count++ == GATE_RULE_TRANSFORMS_MAX) {
		gate_transform_done(transform);
		return gate_refuse(r, "more than %d transforms", GATE_RULE_TRANSFORMS_MAX);
	}
	*bh_vec_push(&r->transforms) = *transform;
	return 0;
}

int gate_list_target(struct gate_reading *r, bool relative, int32_t *ret_list)
{
	int err;

	err = gate_list_settle(r);
	if (err) {
		return err;
	}
	if (r->list != GATE_LIST_PAYLOAD) {
		*ret_list = r->list;
		return 0;
	}
	if (relative && r->last_anchor.list != GATE_LIST_NONE) {
		*ret_list = r->last_anchor.list;
		return 0;
	}
	if (r->payload == GATE_LIST_NONE) {
		err = list_new(r, GATE_BUF_PAYLOAD, &r->payload);
		if (err) {
			return err;
		}
	}
	*ret_list = r->payload;
	return 0;
}

static bool is_anchor(enum gate_match_kind kind)
{
	switch (kind) {
	case GATE_M_CONTENT:
	case GATE_M_PCRE:
	case GATE_M_BYTE_TEST:
	case GATE_M_BYTE_JUMP:
	case GATE_M_BYTE_EXTRACT:
	case GATE_M_BYTE_MATH:
	case GATE_M_ISDATAAT:
		return true;
	default:
		return false;
	}
}

static bool count_match(struct gate_reading *r)
{
	if (r->match_count++ < GATE_RULE_MATCHES_MAX) {
		return true;
	}
	(void)gate_refuse(r, "more than %d matches", GATE_RULE_MATCHES_MAX);
	return false;
}

struct gate_match *gate_list_add(struct gate_reading *r, int32_t list, enum gate_match_kind kind)
{
	struct gate_match_ref ref = {.list = list};
	struct gate_match *match;

	if (!count_match(r)) {
		return NULL;
	}
	if (list == GATE_LIST_BASE64) {
		match = bh_vec_push(&r->rule->base64_data);
		ref.index = (uint32_t)r->rule->base64_data.count - 1;
	} else {
		match = bh_vec_push(&r->rule->lists.items[list].matches);
		ref.index = (uint32_t)r->rule->lists.items[list].matches.count - 1;
	}
	match->kind = kind;
	r->last_match = ref;
	if (kind == GATE_M_CONTENT) {
		r->last_content = ref;
	}
	if (is_anchor(kind)) {
		r->last_anchor = ref;
	}
	return match;
}

struct gate_match *gate_match_at(struct gate_reading *r, struct gate_match_ref ref)
{
	if (ref.list == GATE_LIST_NONE) {
		return NULL;
	}
	if (ref.list == GATE_LIST_BASE64) {
		return &r->rule->base64_data.items[ref.index];
	}
	return &r->rule->lists.items[ref.list].matches.items[ref.index];
}

#define NEW_MATCH(r, v, k)                                                                         \
	({                                                                                         \
		struct gate_match *new_ = count_match(r) ? bh_vec_push(v) : NULL;                  \
		if (new_) {                                                                        \
			new_->kind = (k);                                                          \
		}                                                                                  \
		new_;                                                                              \
	})

struct gate_match *gate_packet_match(struct gate_reading *r, enum gate_match_kind kind)
{
	return NEW_MATCH(r, &r->rule->packet, kind);
}

struct gate_match *gate_tx_match(struct gate_reading *r, enum gate_match_kind kind)
{
	return NEW_MATCH(r, &r->rule->tx, kind);
}

struct gate_match *gate_post_match(struct gate_reading *r, enum gate_match_kind kind)
{
	return NEW_MATCH(r, &r->rule->post, kind);
}

/* The match leaves its list; what stood behind it moves up. */
static void take_out(struct gate_reading *r, struct gate_match_ref ref)
{
	struct gate_rule_list *list = &r->rule->lists.items[ref.list];
	struct gate_match_ref *refs[] = {&r->last_anchor, &r->last_match};

	list->matches.count--;
	memmove(&list->matches.items[ref.index], &list->matches.items[ref.index + 1],
		(list->matches.count - ref.index) * sizeof(*list->matches.items));
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(refs); i++) {
		if (refs[i]->list == ref.list && refs[i]->index > ref.index) {
			refs[i]->index--;
		}
	}
}

int gate_list_move_last(struct gate_reading *r, enum gate_buffer buffer)
{
	struct gate_match moved;
	int32_t to;
	int err;

	if (r->list != GATE_LIST_PAYLOAD) {
		return gate_refuse_at(r, r->option->at,
				      "%s: a buffer is open; pkt_data closes it, or use its name",
				      r->option->name);
	}
	if (r->last_content.list == GATE_LIST_NONE || r->last_content.list != r->payload) {
		return gate_refuse_at(r, r->option->at, "%s: a content is expected before it",
				      r->option->name);
	}
	moved = *gate_match_at(r, r->last_content);
	if (moved.content.flags & GATE_CONTENT_REPLACE) {
		return gate_refuse_at(r, r->option->at,
				      "%s: the content is replaced; only "
				      "payload can be",
				      r->option->name);
	}
	if (moved.content.flags & GATE_CONTENT_RAWBYTES) {
		return gate_refuse_at(r, r->option->at, "%s: the content has rawbytes",
				      r->option->name);
	}
	err = gate_list_of(r, buffer, &to);
	if (err) {
		return err;
	}
	take_out(r, r->last_content);
	r->match_count--;
	*gate_list_add(r, to, GATE_M_CONTENT) = moved;
	return 0;
}

/* Lists that nothing is asked of any more (their contents were moved) go. */
void gate_lists_compact(struct gate_reading *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->rule->lists.count; i++) {
		struct gate_rule_list *list = &r->rule->lists.items[i];

		if (!list->matches.count && !list->transforms.count) {
			bh_vec_done(&list->matches);
			continue;
		}
		r->list_at.items[kept] = r->list_at.items[i];
		r->rule->lists.items[kept++] = *list;
	}
	r->rule->lists.count = kept;
}
