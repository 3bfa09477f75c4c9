/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From struct gate_rule to struct gate_sig: what is asked for as bits, lists as conditions in the
 * order in which a transaction makes them answerable, and what kind of rule it is.
 */
#include "gate/detect/dataset.h"
#include "gate/detect/set.h"
#include "gate/detect/transform.h"
#include "gate/rules/read.h"

#include <errno.h>

#define SLOTS_MAX 4096 /* each is looked for among the others, and searched by itself */

/* Those of `flow` that are asked of the flow: there must be one. */
#define FLOW_STATE_OPTS                                                                            \
	(GATE_FLOWOPT_ESTABLISHED | GATE_FLOWOPT_NOT_ESTABLISHED | GATE_FLOWOPT_STATELESS |        \
	 GATE_FLOWOPT_ONLY_FRAG | GATE_FLOWOPT_NO_FRAG)

static bool same_transforms(const struct gate_slot *slot, const struct gate_rule_list *list)
{
	if (slot->transform_count != list->transforms.count) {
		return false;
	}
	for (size_t i = 0; i < list->transforms.count; i++) {
		const struct gate_transform *a = &slot->transforms[i];
		const struct gate_transform *b = &list->transforms.items[i];

		if (a->kind != b->kind || a->text_size != b->text_size ||
		    memcmp(a->args, b->args, sizeof(a->args)) != 0 ||
		    (a->text_size && memcmp(a->text, b->text, a->text_size) != 0) ||
		    (a->kind == GATE_XF_PCREXFORM && strcmp(a->text, b->text) != 0)) {
			return false;
		}
	}
	return true;
}

static int slot_of(struct gate_builder *b, const struct gate_rule_list *list, uint16_t *ret,
		   struct bh_diag *diag)
{
	const struct gate_buffer_desc *desc = gate_buffer_desc(list->buffer);
	struct gate_slot *slot;
	int r;

	for (size_t i = 0; i < b->slots.count; i++) {
		if (b->slots.items[i].buffer == list->buffer &&
		    same_transforms(&b->slots.items[i], list)) {
			*ret = (uint16_t)i;
			return 0;
		}
	}
	if (b->slots.count == SLOTS_MAX) {
		return bh_diag_set(diag, -ENOSPC,
				   "the rule set has %d different buffers with transforms: no "
				   "more are possible",
				   SLOTS_MAX);
	}
	slot = bh_vec_push(&b->slots);
	slot->buffer = list->buffer;
	slot->transforms = list->transforms.items;
	slot->transform_count = (uint8_t)list->transforms.count;
	slot->flags = desc->flags;
	slot->dirs = desc->dirs;
	slot->apps = desc->apps;
	memcpy(slot->progress, desc->progress, sizeof(slot->progress));
	slot->compiled =
		gate_arena_alloc(b->set->arena, sizeof(void *) * (slot->transform_count + 1u));
	*ret = (uint16_t)(b->slots.count - 1);
	for (size_t i = 0; i < list->transforms.count; i++) {
		r = gate_xf_compile(&list->transforms.items[i], &slot->compiled[i], diag);
		if (r) {
			b->slots.count--;
			return r;
		}
	}
	return 0;
}

static bool is_packet_list(const struct gate_rule_list *list)
{
	return list->buffer == GATE_BUF_PAYLOAD ||
	       (gate_buffer_desc(list->buffer)->flags & GATE_BUFFER_PACKET);
}

/* validate.c has seen to it that all its lists are of that kind. */
static bool is_frame_rule(const struct gate_rule *rule)
{
	return rule->lists.count &&
	       gate_buffer_desc(rule->lists.items[0].buffer)->flags & GATE_BUFFER_FRAME;
}

static bool is_tx_rule(const struct gate_rule *rule)
{
	if (rule->tx.count) {
		return true;
	}
	bh_vec_foreach (list, &rule->lists) {
		if (!is_packet_list(list)) {
			return true;
		}
	}
	return false;
}

static int compile_list(struct gate_builder *b, const struct gate_rule *rule,
			const struct gate_rule_list *list, struct gate_dlist *dlist,
			struct bh_diag *diag)
{
	const struct gate_buffer_desc *desc = gate_buffer_desc(list->buffer);
	int r;

	if (!list->matches.count) {
		return bh_diag_set(diag, -EINVAL, "a buffer without a match");
	}
	if (list->buffer == GATE_BUF_PAYLOAD && !list->transforms.count) {
		dlist->kind = GATE_LIST_PAYLOAD;
		dlist->dirs = GATE_BOTH_DIRS;
	} else {
		dlist->kind = GATE_LIST_BUFFER;
		dlist->dirs = desc->dirs;
		dlist->apps = desc->apps;
		memcpy(dlist->progress, desc->progress, sizeof(dlist->progress));
		r = slot_of(b, list, &dlist->slot, diag);
		if (r) {
			return r;
		}
	}
	bh_vec_foreach (m, &list->matches) {
		if (m->kind == GATE_M_ABSENT) {
			dlist->absent = true;
			dlist->absent_or_else = m->other.args[0] != 0;
		}
	}
	return gate_compile_bytes(b, rule, list->matches.items, list->matches.count,
				  &dlist->matches, diag);
}

static void compile_tx_match(const struct gate_match *m, struct gate_dlist *dlist)
{
	const struct gate_buffer_desc *desc;

	dlist->src = m;
	dlist->dirs = GATE_BOTH_DIRS;
	switch (m->kind) {
	case GATE_M_NUMBER:
		desc = gate_number_desc(m->num.number);
		dlist->kind = GATE_LIST_NUMBER;
		dlist->dirs = desc->dirs;
		dlist->apps = desc->apps;
		memcpy(dlist->progress, desc->progress, sizeof(dlist->progress));
		break;
	case GATE_M_APP_EVENT:
		dlist->kind = GATE_LIST_EVENT;
		break;
	case GATE_M_FILE:
		dlist->kind = GATE_LIST_FILE;
		break;
	case GATE_M_STATE:
		dlist->kind = GATE_LIST_STATE;
		dlist->dirs = (uint8_t)m->other.args[0];
		dlist->progress[dlist->dirs == GATE_DIR_BIT(GATE_TO_CLIENT)] =
			(uint8_t)m->other.args[1];
		break;
	default:
		dlist->kind = GATE_LIST_OTHER;
		break;
	}
}

static uint8_t list_rank(const struct gate_dlist *l)
{
	uint8_t progress = l->progress[0] > l->progress[1] ? l->progress[0] : l->progress[1];

	return l->kind == GATE_LIST_PAYLOAD ? UINT8_MAX : progress;
}

static int compile_lists(struct gate_builder *b, const struct gate_rule *rule, struct gate_sig *sig,
			 struct bh_diag *diag)
{
	size_t count = rule->lists.count + rule->tx.count;
	struct gate_dlist *lists;
	uint8_t n = 0;
	int r;

	if (count > GATE_LISTS_MAX) {
		return bh_diag_set(diag, -E2BIG, "more than %d buffers", GATE_LISTS_MAX);
	}
	lists = gate_arena_alloc(b->set->arena, count * sizeof(*lists));
	bh_vec_foreach (list, &rule->lists) {
		r = compile_list(b, rule, list, &lists[n++], diag);
		if (r) {
			return r;
		}
	}
	bh_vec_foreach (m, &rule->tx) {
		sig->has_files = sig->has_files || m->kind == GATE_M_FILE;
		compile_tx_match(m, &lists[n++]);
	}
	/* Insertion sort, stable: as they can be answered. */
	for (unsigned int i = 1; i < n; i++) {
		struct gate_dlist moved = lists[i];
		unsigned int k = i;

		for (; k > 0 && list_rank(&lists[k - 1]) > list_rank(&moved); k--) {
			lists[k] = lists[k - 1];
		}
		lists[k] = moved;
	}
	for (unsigned int i = 0; i < n; i++) {
		sig->has_files =
			sig->has_files || (lists[i].kind == GATE_LIST_BUFFER &&
					   b->slots.items[lists[i].slot].flags & GATE_BUFFER_FILE);
	}
	sig->lists = lists;
	sig->list_count = n;
	sig->all_bits = n == 32 ? UINT32_MAX : (1u << n) - 1;
	return 0;
}

/* Keywords that speak of one packet: its payload is looked at, not only the stream. */
static bool needs_packet(const struct gate_match *m)
{
	switch (m->kind) {
	case GATE_M_IP_PROTO:
	case GATE_M_GEOIP:
		return false;
	case GATE_M_STREAM_EVENT:
	case GATE_M_DECODE_EVENT:
		return true;
	case GATE_M_FLOW_AGE ... GATE_M_FLOW_BYTES:
		return true;
	default:
		return m->kind >= GATE_M_DSIZE && m->kind <= GATE_M_RPC;
	}
}

static bool has_bounds(const struct gate_rule *rule)
{
	bh_vec_foreach (list, &rule->lists) {
		bh_vec_foreach (m, &list->matches) {
			if (list->buffer == GATE_BUF_PAYLOAD && m->kind == GATE_M_CONTENT &&
			    (m->content.flags & (GATE_CONTENT_DEPTH | GATE_CONTENT_OFFSET |
						 GATE_CONTENT_STARTSWITH))) {
				return true;
			}
		}
	}
	return false;
}

/* Only what is in a packet can be changed. */
static bool has_replace(const struct gate_rule_list *list)
{
	bh_vec_foreach (m, &list->matches) {
		if (m->kind == GATE_M_CONTENT && m->content.flags & GATE_CONTENT_REPLACE) {
			return true;
		}
	}
	return false;
}

/* Packet or stream, as Suricata's SigValidate decides. */
static void choose_payload(const struct gate_rule *rule, struct gate_sig *sig)
{
	bool sized = false;

	sig->require_packet =
		rule->proto == GATE_RULE_TCP_PKT || (rule->flow_opts & GATE_FLOWOPT_NO_STREAM);
	sig->stream_only = rule->flow_opts & GATE_FLOWOPT_ONLY_STREAM;
	sig->require_stream = rule->proto == GATE_RULE_TCP_STREAM || sig->stream_only;
	bh_vec_foreach (m, &rule->packet) {
		sig->require_packet = sig->require_packet || needs_packet(m);
		sized = sized || m->kind == GATE_M_STREAM_SIZE;
	}
	bh_vec_foreach (list, &rule->lists) {
		sig->require_packet = sig->require_packet ||
				      (list->buffer != GATE_BUF_PAYLOAD && is_packet_list(list)) ||
				      has_replace(list);
	}
	if (!sig->require_packet && !sig->require_stream) {
		sig->require_stream = true;
		sig->require_packet = has_bounds(rule) || sized;
	}
}

static uint32_t need_of_proto(enum gate_rule_proto proto)
{
	switch (proto) {
	case GATE_RULE_IP:
		return GATE_NEED_IP;
	case GATE_RULE_IPV4:
		return GATE_NEED_IP4;
	case GATE_RULE_IPV6:
		return GATE_NEED_IP6;
	case GATE_RULE_TCP:
	case GATE_RULE_TCP_PKT:
	case GATE_RULE_TCP_STREAM:
		return GATE_NEED_TCP;
	case GATE_RULE_UDP:
		return GATE_NEED_UDP;
	case GATE_RULE_ICMP:
		return GATE_NEED_ICMP;
	case GATE_RULE_ICMPV4:
		return GATE_NEED_ICMP4;
	case GATE_RULE_ICMPV6:
		return GATE_NEED_ICMP6;
	case GATE_RULE_IGMP:
		return GATE_NEED_IGMP;
	case GATE_RULE_SCTP:
		return GATE_NEED_SCTP;
	case GATE_RULE_ARP:
		return GATE_NEED_ARP;
	case GATE_RULE_ETHER:
		return GATE_NEED_ETHER;
	case GATE_RULE_APP:
		return GATE_NEED_FLOW;
	default:
		return 0;
	}
}

/* Bytes of a stream may be what such a rule looks at. */
static bool may_be_tcp(enum gate_rule_proto proto)
{
	return proto <= GATE_RULE_TCP_STREAM || proto == GATE_RULE_APP;
}

/* What a size says of whether there is a payload; as in Suricata none is not "another size". */
static uint32_t need_of_size(const struct gate_test *test)
{
	switch (test->op) {
	case GATE_EQ:
		return test->a ? GATE_NEED_PAYLOAD_OR_STREAM : GATE_NEED_EMPTY;
	case GATE_NE:
	case GATE_GT:
	case GATE_GE:
	case GATE_RANGE:
		return GATE_NEED_PAYLOAD_OR_STREAM;
	default:
		return 0;
	}
}

static uint32_t need_of(const struct gate_rule *rule, const struct gate_sig *sig)
{
	static const struct {
		uint16_t opt;
		uint32_t need;
	} opts[] = {
		{GATE_FLOWOPT_TO_SERVER, GATE_NEED_TO_SERVER},
		{GATE_FLOWOPT_TO_CLIENT, GATE_NEED_TO_CLIENT},
		{GATE_FLOWOPT_ESTABLISHED, GATE_NEED_ESTABLISHED},
		{GATE_FLOWOPT_NOT_ESTABLISHED, GATE_NEED_NOT_ESTABLISHED},
		{FLOW_STATE_OPTS, GATE_NEED_FLOW},
		{GATE_FLOWOPT_ONLY_FRAG, GATE_NEED_FRAG},
		{GATE_FLOWOPT_NO_FRAG, GATE_NEED_NO_FRAG},
	};
	uint32_t need = need_of_proto(rule->proto);

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(opts); i++) {
		need |= rule->flow_opts & opts[i].opt ? opts[i].need : 0;
	}
	bh_vec_foreach (m, &rule->packet) {
		if (m->kind == GATE_M_DECODE_EVENT || m->kind == GATE_M_STREAM_EVENT) {
			need |= GATE_NEED_EVENTS;
		}
		if (m->kind == GATE_M_FLOWBITS && m->bits.track == GATE_BITS_FLOW) {
			need |= GATE_NEED_FLOW;
		}
		need |= m->kind == GATE_M_DSIZE ? need_of_size(&m->num.test) : 0;
	}
	need |= sig->require_packet && !sig->require_stream ? GATE_NEED_REAL : 0;
	if (sig->type == GATE_SIG_TX || sig->type == GATE_SIG_FRAME) {
		return need | GATE_NEED_FLOW;
	}
	for (unsigned int i = 0; i < sig->list_count; i++) {
		if (sig->lists[i].kind == GATE_LIST_PAYLOAD) {
			need |= sig->require_stream && may_be_tcp(rule->proto)
					? GATE_NEED_PAYLOAD_OR_STREAM
					: GATE_NEED_PAYLOAD;
		}
	}
	return need;
}

static bool only_kind(const struct gate_rule *rule, enum gate_match_kind kind)
{
	bh_vec_foreach (m, &rule->packet) {
		if (m->kind != kind) {
			return false;
		}
	}
	return rule->packet.count > 0 && !rule->lists.count;
}

static enum gate_sig_type type_of(const struct gate_rule *rule, const struct gate_sig *sig)
{
	bool payload = false;

	if (is_frame_rule(rule)) {
		return GATE_SIG_FRAME;
	}
	if (is_tx_rule(rule)) {
		return GATE_SIG_TX;
	}
	if (rule->flags & GATE_RULE_IP_ONLY) {
		return GATE_SIG_IP_ONLY;
	}
	if (rule->flags & GATE_RULE_LIKE_IP_ONLY) {
		return GATE_SIG_LIKE_IP_ONLY;
	}
	if (!rule->apps && only_kind(rule, GATE_M_APP_PROTO) &&
	    !(rule->flow_opts & FLOW_STATE_OPTS)) {
		return GATE_SIG_PROTO_DETECTED;
	}
	if (only_kind(rule, GATE_M_DECODE_EVENT)) {
		return GATE_SIG_EVENT;
	}
	bh_vec_foreach (list, &rule->lists) {
		payload = payload || list->buffer == GATE_BUF_PAYLOAD;
	}
	if (payload && sig->require_stream) {
		return sig->require_packet ? GATE_SIG_PACKET_STREAM : GATE_SIG_STREAM;
	}
	if (rule->apps && !payload && !rule->packet.count && !(rule->flow_opts & FLOW_STATE_OPTS)) {
		return GATE_SIG_APP;
	}
	return GATE_SIG_PACKET;
}

/* Pointer to pointer: sets are shared by the reader, so equal ones are the same. */
static uint16_t addr_set_of(struct gate_builder *b, const struct gate_addr_set *set)
{
	if (!set || set->any) {
		return GATE_SET_ANY;
	}
	for (size_t i = b->addr_sets.count; i-- > 0;) {
		if (b->addr_sets.items[i] == set) {
			return (uint16_t)i;
		}
	}
	*bh_vec_push(&b->addr_sets) = set;
	return (uint16_t)(b->addr_sets.count - 1);
}

static uint16_t port_set_of(struct gate_builder *b, const struct gate_port_set *set)
{
	if (!set || set->any) {
		return GATE_SET_ANY;
	}
	for (size_t i = b->port_sets.count; i-- > 0;) {
		if (b->port_sets.items[i] == set) {
			return (uint16_t)i;
		}
	}
	*bh_vec_push(&b->port_sets) = set;
	return (uint16_t)(b->port_sets.count - 1);
}

static int compile_packet(struct gate_builder *b, const struct gate_rule *rule,
			  struct gate_sig *sig, struct bh_diag *diag)
{
	if (rule->packet.count > UINT8_MAX || rule->post.count > UINT8_MAX) {
		return bh_diag_set(diag, -E2BIG, "more than %d keywords", UINT8_MAX);
	}
	sig->packet = gate_arena_alloc(b->set->arena, rule->packet.count * sizeof(*sig->packet));
	sig->post = gate_arena_alloc(b->set->arena, rule->post.count * sizeof(*sig->post));
	bh_vec_foreach (m, &rule->packet) {
		if (m->kind == GATE_M_GEOIP) {
			return bh_diag_set(diag, -ENOTSUP, "this keyword is not evaluated");
		}
		if (m->kind == GATE_M_DSIZE && !sig->dsize_op && m->num.test.op <= GATE_GE &&
		    !m->num.negated) {
			sig->dsize_op = (uint8_t)(m->num.test.op + 1);
			sig->dsize_a = (uint32_t)m->num.test.a;
			continue;
		}
		sig->packet[sig->packet_count++] = m;
	}
	bh_vec_foreach (m, &rule->post) {
		sig->post[sig->post_count++] = m;
	}
	return 0;
}

int gate_compile_rule(struct gate_builder *b, const struct gate_rule *rule, struct gate_sig *sig,
		      struct bh_diag *diag)
{
	size_t limits;
	int r;

	if (b->addr_sets.count >= UINT16_MAX - 2 || b->port_sets.count >= UINT16_MAX - 2) {
		return bh_diag_set(diag, -ENOSPC, "too many different addresses or ports");
	}
	memset(sig, 0, sizeof(*sig));
	sig->rule = rule;
	sig->apps = rule->apps;
	sig->dirs = rule->dirs ? rule->dirs : GATE_BOTH_DIRS;
	sig->action = rule->action;
	sig->vars = rule->var_count < GATE_VARS_MAX ? (uint8_t)rule->var_count : GATE_VARS_MAX;
	sig->bidirectional = rule->flags & GATE_RULE_BIDIRECTIONAL;
	sig->both_sides = rule->flags & GATE_RULE_BOTH_SIDES;
	sig->noalert = rule->flags & GATE_RULE_NOALERT;
	sig->limits = gate_rule_limits(b->set->files, rule, &limits);
	sig->limit_count = (uint32_t)limits;
	sig->thresholds = rule->threshold.type != GATE_TH_NONE || limits;
	sig->fast_list = UINT16_MAX;
	choose_payload(rule, sig);
	sig->type = (uint8_t)type_of(rule, sig);
	r = compile_lists(b, rule, sig, diag);
	if (r) {
		return r;
	}
	r = compile_packet(b, rule, sig, diag);
	if (r) {
		return r;
	}
	sig->need = need_of(rule, sig);
	sig->src = addr_set_of(b, rule->src);
	sig->dst = addr_set_of(b, rule->dst);
	sig->sport = port_set_of(b, rule->sport);
	sig->dport = port_set_of(b, rule->dport);
	return 0;
}
