/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules into groups, and a database of patterns for each.
 *
 * Payload rules: per transport and direction the 65536 ports of the server's side fall into ranges
 * with the same rules; each such range is a group. A packet is searched for the patterns of rules
 * of any port (one database for all groups) and for those of its port only: some few, which is
 * fast. One database of both for each group would be a single search, and minutes to compile.
 * Transaction rules: per protocol and direction one database for each buffer.
 */
#include "gate/detect/set.h"

#define PORTS 65536

/* ---- payload ---- */

struct group_input {
	struct gate_mpm_input packet[GATE_PORT_KINDS], stream[GATE_PORT_KINDS];
	BH_VEC(uint32_t) always;
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static bool in_transport(const struct gate_sig *sig, enum gate_transport tr)
{
	const uint32_t tcp = GATE_NEED_TCP, udp = GATE_NEED_UDP;
	const uint32_t other =
		GATE_NEED_ICMP | GATE_NEED_ICMP4 | GATE_NEED_ICMP6 | GATE_NEED_SCTP | GATE_NEED_ARP;

	if (sig->type == GATE_SIG_TX || sig->type == GATE_SIG_IP_ONLY ||
	    sig->type == GATE_SIG_PROTO_DETECTED) {
		return false;
	}
	if (sig->need & (tcp | udp | other)) {
		return sig->need & (tr == GATE_TR_TCP ? tcp : tr == GATE_TR_UDP ? udp : other);
	}
	return sig->rule->proto != GATE_RULE_APP || tr != GATE_TR_OTHER;
}

static bool in_direction(const struct gate_sig *sig, enum gate_dir dir)
{
	uint32_t other = dir == GATE_TO_SERVER ? GATE_NEED_TO_CLIENT : GATE_NEED_TO_SERVER;

	return !(sig->need & other);
}

/* The rule's ports of the side that the group is by; NULL any. */
static const struct gate_port_set *key_ports(const struct gate_sig *sig, enum gate_dir dir,
					     bool other)
{
	bool dst = (dir == GATE_TO_SERVER) != other;
	const struct gate_port_set *set = dst ? sig->rule->dport : sig->rule->sport;

	return set && !set->any ? set : NULL;
}

static bool is_any_port(const struct gate_sig *sig, enum gate_dir dir)
{
	return !key_ports(sig, dir, false) || (sig->bidirectional && !key_ports(sig, dir, true));
}

static bool has_port(const struct gate_sig *sig, enum gate_dir dir, uint16_t port)
{
	return is_any_port(sig, dir) || gate_port_set_has(key_ports(sig, dir, false), port) ||
	       (sig->bidirectional && gate_port_set_has(key_ports(sig, dir, true), port));
}

static void add_literal(struct gate_mpm_input *input, const struct gate_fast *fast, uint32_t num)
{
	*bh_vec_push(&input->literals) = (struct gate_mpm_literal){.bytes = fast->bytes,
								   .size = fast->size,
								   .nocase = fast->nocase,
								   .max_end = fast->max_end,
								   .sig = num};
}

static void add_to_group(const struct gate_builder *b, const struct gate_sig *sig, bool tcp,
			 bool any, struct group_input *in)
{
	const struct gate_fast *fast = &b->fasts.items[sig->num];
	int kind = any ? GATE_PORT_ANY : GATE_PORT_OWN;

	if (!fast->size) {
		*bh_vec_push(&in->always) = sig->num;
		return;
	}
	if (fast->max_end <= GATE_BEGIN_MAX) {
		kind = any ? GATE_PORT_ANY_BEGIN : GATE_PORT_OWN_BEGIN;
	}
	/* Streams are TCP's; there is but the packet elsewhere. */
	if (!tcp || sig->require_packet) {
		add_literal(&in->packet[kind], fast, sig->num);
	}
	if (tcp && sig->require_stream) {
		add_literal(&in->stream[kind], fast, sig->num);
	}
}

static struct gate_mpm *take_mpm(struct gate_builder *b, struct gate_mpm_input *input)
{
	struct gate_mpm *mpm = gate_mpm_jobs_add(b->jobs, input);

	if (mpm) {
		*bh_vec_push(&b->set->mpms) = mpm;
	}
	bh_vec_done(&input->literals);
	return mpm;
}

static void fill_group(struct gate_builder *b, enum gate_transport tr, enum gate_dir dir,
		       uint16_t port, struct gate_port_group *group)
{
	struct gate_rule_set *set = b->set;
	struct gate_port_group *first = set->packets.groups[tr][dir];
	struct group_input in = {};

	for (uint32_t i = 0; i < set->sig_count; i++) {
		const struct gate_sig *sig = &set->sigs[i];
		bool any;

		if (!in_transport(sig, tr) || !in_direction(sig, dir)) {
			continue;
		}
		any = tr == GATE_TR_OTHER || is_any_port(sig, dir);
		if (any || has_port(sig, dir, port)) {
			add_to_group(b, sig, tr == GATE_TR_TCP, any, &in);
		}
	}
	for (int kind = 0; kind < GATE_PORT_KINDS; kind++) {
		if (kind <= GATE_PORT_ANY_BEGIN && group != first) {
			bh_vec_done(&in.packet[kind].literals);
			bh_vec_done(&in.stream[kind].literals);
			group->packet[kind] = first->packet[kind];
			group->stream[kind] = first->stream[kind];
			continue;
		}
		in.packet[kind].large = in.stream[kind].large =
			kind == GATE_PORT_ANY || kind == GATE_PORT_OWN;
		group->packet[kind] = take_mpm(b, &in.packet[kind]);
		group->stream[kind] = take_mpm(b, &in.stream[kind]);
	}
	if (in.always.count) {
		size_t size = in.always.count * sizeof(uint32_t);
		uint32_t *always = gate_arena_alloc(set->arena, size);

		memcpy(always, in.always.items, size);
		group->always = always;
		group->always_count = (uint32_t)in.always.count;
	}
	bh_vec_done(&in.always);
}

static void mark_ports(const struct gate_port_set *ports, uint64_t id, uint64_t *edges)
{
	bh_vec_foreach (range, &ports->in) {
		edges[range->first] ^= id;
		edges[(uint32_t)range->last + 1] ^= id;
	}
}

/* What rules a port has, as a number each: equal numbers, equal rules. */
static void port_hashes(const struct gate_rule_set *set, enum gate_transport tr, enum gate_dir dir,
			uint64_t *edges)
{
	for (uint32_t i = 0; i < set->sig_count; i++) {
		const struct gate_sig *sig = &set->sigs[i];

		if (!in_transport(sig, tr) || !in_direction(sig, dir) || is_any_port(sig, dir)) {
			continue;
		}
		mark_ports(key_ports(sig, dir, false), mix(i), edges);
		if (sig->bidirectional) {
			mark_ports(key_ports(sig, dir, true), mix(i + (1ull << 32)), edges);
		}
	}
	for (uint32_t p = 1; p < PORTS; p++) {
		edges[p] ^= edges[p - 1];
	}
}

static void group_ports(struct gate_builder *b, enum gate_transport tr, enum gate_dir dir)
{
	struct gate_packet_groups *groups = &b->set->packets;
	BH_FREE uint64_t *hashes = bh_alloc_array(PORTS + 1, sizeof(*hashes));
	BH_VEC(struct {
		uint64_t hash;
		uint16_t port;
	})
	distinct = {};
	uint16_t *by_port = bh_alloc_array(PORTS, sizeof(*by_port));

	if (tr != GATE_TR_OTHER) {
		port_hashes(b->set, tr, dir, hashes);
	}
	for (uint32_t p = 0; p < PORTS; p++) {
		size_t g = 0;

		if (p && hashes[p] == hashes[p - 1]) {
			by_port[p] = by_port[p - 1];
			continue;
		}
		while (g < distinct.count && distinct.items[g].hash != hashes[p]) {
			g++;
		}
		if (g == distinct.count) {
			*bh_vec_push(&distinct) = (typeof(*distinct.items)){hashes[p], (uint16_t)p};
		}
		by_port[p] = (uint16_t)g;
	}
	groups->by_port[tr][dir] = by_port;
	groups->counts[tr][dir] = (uint32_t)distinct.count;
	groups->groups[tr][dir] =
		gate_arena_alloc(b->set->arena, distinct.count * sizeof(*groups->groups[tr][dir]));
	for (size_t g = 0; g < distinct.count; g++) {
		fill_group(b, tr, dir, distinct.items[g].port, &groups->groups[tr][dir][g]);
	}
	b->set->stats.groups += (uint32_t)distinct.count;
	bh_vec_done(&distinct);
}

void gate_group_packets(struct gate_builder *b)
{
	for (int tr = 0; tr < GATE_TRANSPORTS; tr++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			group_ports(b, (enum gate_transport)tr, (enum gate_dir)dir);
		}
	}
}

/* ---- transactions ---- */

struct tx_inputs {
	struct gate_mpm_input *by_slot;
	BH_VEC(uint32_t) always;
};

static void add_tx_rule(const struct gate_builder *b, struct gate_sig *sig, enum gate_dir dir,
			struct tx_inputs *in)
{
	const struct gate_fast *fast = &b->fasts.items[sig->num];
	const struct gate_dlist *list;

	if (!fast->size) {
		*bh_vec_push(&in->always) = sig->num;
		return;
	}
	sig->fast_list = fast->list;
	list = &sig->lists[fast->list];
	/* Of a rule over both sides: the other side's transaction state brings it up. */
	if (list->dirs & GATE_DIR_BIT(dir)) {
		add_literal(&in->by_slot[list->slot], fast, sig->num);
	}
}

static void fill_engine(struct gate_builder *b, uint16_t slot_num, enum gate_dir dir,
			struct gate_mpm_input *input, struct gate_engine *engine)
{
	struct gate_slot *slot = &b->slots.items[slot_num];

	engine->slot = slot_num;
	engine->progress = slot->progress[dir];
	engine->stream = (slot->flags & GATE_BUFFER_STREAM) && !slot->transform_count;
	engine->once =
		engine->progress > 0 && !(slot->flags & (GATE_BUFFER_STREAM | GATE_BUFFER_FILE));
	input->large = engine->stream;
	engine->mpm = take_mpm(b, input);
	if (engine->mpm->longest > slot->back + 1) {
		slot->back = engine->mpm->longest - 1;
	}
}

static int engine_compare(const void *pa, const void *pb)
{
	const struct gate_engine *a = pa, *b = pb;

	if (a->progress != b->progress) {
		return (int)a->progress - (int)b->progress;
	}
	return (int)a->slot - (int)b->slot;
}

static struct gate_mpm_input *input_of(struct gate_builder *b, enum gate_buffer buffer,
				       struct gate_mpm_input *by_slot)
{
	for (size_t s = 0; s < b->slots.count; s++) {
		const struct gate_slot *slot = &b->slots.items[s];

		if (slot->buffer == buffer && !slot->transform_count && by_slot[s].literals.count) {
			return &by_slot[s];
		}
	}
	return NULL;
}

/* The response's body has two names, and the same bytes: it is searched once for both. */
static void join_bodies(struct gate_builder *b, struct gate_mpm_input *by_slot)
{
	struct gate_mpm_input *body = input_of(b, GATE_BUF_HTTP_RESPONSE_BODY, by_slot);
	struct gate_mpm_input *file = input_of(b, GATE_BUF_FILE_DATA, by_slot);

	if (!body || !file) {
		return;
	}
	bh_vec_foreach (literal, &file->literals) {
		*bh_vec_push(&body->literals) = *literal;
	}
	bh_vec_done(&file->literals);
}

static void group_app(struct gate_builder *b, enum gate_app app, enum gate_dir dir)
{
	struct gate_rule_set *set = b->set;
	struct gate_app_group *group = &set->apps[app][dir];
	struct tx_inputs in = {.by_slot = bh_alloc_array(b->slots.count + 1, sizeof(*in.by_slot))};
	uint32_t engines = 0;

	for (uint32_t i = 0; i < set->sig_count; i++) {
		struct gate_sig *sig = &set->sigs[i];

		if (sig->type == GATE_SIG_TX && (sig->dirs & GATE_DIR_BIT(dir)) &&
		    (!sig->apps || (sig->apps & (1u << app)))) {
			add_tx_rule(b, sig, dir, &in);
			group->files = group->files || sig->has_files;
		}
	}
	if (app == GATE_APP_HTTP1 && dir == GATE_TO_CLIENT) {
		join_bodies(b, in.by_slot);
	}
	for (size_t s = 0; s < b->slots.count; s++) {
		engines += in.by_slot[s].literals.count > 0;
	}
	group->engines = gate_arena_alloc(set->arena, engines * sizeof(*group->engines));
	for (size_t s = 0; s < b->slots.count; s++) {
		if (in.by_slot[s].literals.count) {
			fill_engine(b, (uint16_t)s, dir, &in.by_slot[s],
				    &group->engines[group->engine_count++]);
		}
	}
	if (engines) {
		qsort(group->engines, engines, sizeof(*group->engines), engine_compare);
	}
	group->always_count = (uint32_t)in.always.count;
	group->always = gate_arena_alloc(set->arena, in.always.count * sizeof(uint32_t));
	if (in.always.count) {
		memcpy(group->always, in.always.items, in.always.count * sizeof(uint32_t));
	}
	bh_vec_done(&in.always);
	free(in.by_slot);
	set->stats.groups += engines || group->always_count;
}

/* ---- what is searched for at once ---- */

static struct gate_gram_union *union_of(struct gate_rule_set *set, const struct gate_mpm *a,
					const struct gate_mpm *b)
{
	const struct gate_grams *grams[GATE_MPM_PARTS] = {a->grams, b->grams};
	struct gate_gram_set *new;

	bh_vec_foreach (known, &set->unions) {
		if (!memcmp(known->grams, grams, sizeof(grams))) {
			return known->all;
		}
	}
	new = bh_vec_push(&set->unions);
	memcpy(new->grams, grams, sizeof(grams));
	new->all = gate_gram_union_new(grams, GATE_MPM_PARTS);
	set->stats.bytes += gate_gram_union_bytes(new->all);
	return new->all;
}

static void make_search(struct gate_rule_set *set, const struct gate_mpm *a,
			const struct gate_mpm *b, struct gate_mpm_group *ret)
{
	ret->parts[0] = a ? a : b;
	ret->parts[1] = a ? b : NULL;
	ret->all = a && b ? union_of(set, a, b) : NULL;
	for (unsigned int i = 0; i < GATE_MPM_PARTS && ret->parts[i]; i++) {
		ret->longest = ret->parts[i]->longest > ret->longest ? ret->parts[i]->longest
								     : ret->longest;
	}
}

static void port_searches(struct gate_rule_set *set, struct gate_port_group *g)
{
	for (int i = 0; i < GATE_PORT_SEARCHES; i++) {
		make_search(set, g->packet[GATE_PORT_ANY + i], g->packet[GATE_PORT_OWN + i],
			    &g->packet_searches[i]);
		make_search(set, g->stream[GATE_PORT_ANY + i], g->stream[GATE_PORT_OWN + i],
			    &g->stream_searches[i]);
	}
}

void gate_group_searches(struct gate_builder *b)
{
	struct gate_rule_set *set = b->set;

	for (int tr = 0; tr < GATE_TRANSPORTS; tr++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			for (uint32_t g = 0; g < set->packets.counts[tr][dir]; g++) {
				port_searches(set, &set->packets.groups[tr][dir][g]);
			}
		}
	}
	for (int app = 0; app < GATE_APP_COUNT; app++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			struct gate_app_group *group = &set->apps[app][dir];

			for (uint32_t e = 0; e < group->engine_count; e++) {
				make_search(set, group->engines[e].mpm, NULL,
					    &group->engines[e].search);
			}
		}
	}
}

void gate_group_txs(struct gate_builder *b)
{
	for (int app = GATE_APP_FAILED + 1; app < GATE_APP_COUNT; app++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			group_app(b, (enum gate_app)app, (enum gate_dir)dir);
		}
	}
}
