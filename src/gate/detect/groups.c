/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules into groups, and a database of patterns for each.
 *
 * Payload rules: per transport and direction the 65536 ports of the server's side fall into ranges
 * with the same rules; each such range is a group. A packet is searched for the patterns of rules
 * of any port (databases that all groups have in common) and for those of its port only: some few,
 * which is fast. One database of both for each group would be a single search, and minutes to
 * compile. Of rules of any port most are of one protocol (dns, with bytes of the payload) and can
 * hold in its flows only: there is a database for each class of protocols with the same of them,
 * which has those of no protocol too. What is looked for in packets and in streams is together:
 * a packet's bytes are searched once for both (found.c).
 * There are GROUPS_MAX groups at most of each kind: rules whose ports cut up all 65536 would make
 * memory and time grow with their square. Beyond, neighbouring ranges share a group, which has the
 * rules of all of them; a rule's own ports are looked at in any case when it is a candidate.
 * Rules that name ports of the client only (in one of their directions: of a rule for port 21 that
 * says nothing of direction, that of the answers) are grouped by these: nearly no packet has one.
 * Transaction rules: per protocol and direction one database for each buffer.
 */
#include "gate/detect/set.h"

#define PORTS	   65536
#define CLIENT_MAX 1024 /* ports of a client that a rule by them names at most */
#define GROUPS_MAX 256
#define UNIONS_MAX 4096 /* two databases without a union are searched one after the other */

struct ports {
	uint16_t first, last;
};

/* ---- payload ---- */

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
	const uint32_t other = GATE_NEED_ICMP | GATE_NEED_ICMP4 | GATE_NEED_ICMP6 | GATE_NEED_IGMP |
			       GATE_NEED_SCTP | GATE_NEED_ARP;

	if (sig->type == GATE_SIG_TX || sig->type == GATE_SIG_FRAME ||
	    sig->type == GATE_SIG_IP_ONLY || sig->type == GATE_SIG_PROTO_DETECTED) {
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

static bool has_one_of(const struct gate_port_set *set, struct ports ports)
{
	size_t low = 0, high = set->in.count;

	while (low < high) { /* the first range that does not end before */
		size_t mid = low + (high - low) / 2;

		if (set->in.items[mid].last < ports.first) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low < set->in.count && set->in.items[low].first <= ports.last;
}

static bool has_port(const struct gate_sig *sig, enum gate_dir dir, struct ports ports)
{
	return is_any_port(sig, dir) || has_one_of(key_ports(sig, dir, false), ports) ||
	       (sig->bidirectional && has_one_of(key_ports(sig, dir, true), ports));
}

static uint32_t count_ports(const struct gate_port_set *ports)
{
	uint32_t count = 0;

	bh_vec_foreach (range, &ports->in) {
		count += range->last - range->first + 1u;
	}
	return count;
}

/* By whose port the rule is found. */
static enum gate_port_side side_of(const struct gate_sig *sig, enum gate_transport tr,
				   enum gate_dir dir)
{
	const struct gate_port_set *client = key_ports(sig, dir, true);
	bool few = client && !sig->bidirectional && !key_ports(sig, dir, false) &&
		   count_ports(client) <= CLIENT_MAX;

	return few && tr != GATE_TR_OTHER ? GATE_PORT_OF_CLIENT : GATE_PORT_OF_SERVER;
}

/* Which rules, of which packets. */
struct scope {
	enum gate_transport tr;
	enum gate_dir dir;
	enum gate_port_side side;
	BH_VEC(const struct gate_sig *) sigs;
};

static void fill_scope(const struct gate_rule_set *set, struct scope *scope)
{
	for (uint32_t i = 0; i < set->sig_count; i++) {
		const struct gate_sig *sig = &set->sigs[i];

		if (in_transport(sig, scope->tr) && in_direction(sig, scope->dir) &&
		    side_of(sig, scope->tr, scope->dir) == scope->side) {
			*bh_vec_push(&scope->sigs) = sig;
		}
	}
}

/* Holds on packets of any port. */
static bool is_any(const struct gate_sig *sig, const struct scope *scope)
{
	return scope->side == GATE_PORT_OF_SERVER &&
	       (scope->tr == GATE_TR_OTHER || is_any_port(sig, scope->dir));
}

static bool is_for(const struct gate_sig *sig, const struct scope *scope, struct ports ports)
{
	if (scope->side == GATE_PORT_OF_CLIENT) {
		return has_one_of(key_ports(sig, scope->dir, true), ports);
	}
	return is_any(sig, scope) || has_port(sig, scope->dir, ports);
}

static void add_literal(struct gate_mpm_input *input, const struct gate_fast *fast, uint32_t num)
{
	*bh_vec_push(&input->literals) = (struct gate_mpm_literal){.bytes = fast->bytes,
								   .size = fast->size,
								   .nocase = fast->nocase,
								   .max_end = fast->max_end,
								   .sig = num};
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

static void add_payload(const struct gate_builder *b, const struct gate_sig *sig,
			struct gate_mpm_input *inputs)
{
	const struct gate_fast *fast = &b->fasts.items[sig->num];
	bool begin = fast->max_end <= GATE_BEGIN_MAX;

	if (fast->size) {
		add_literal(&inputs[begin ? GATE_SEARCH_BEGIN : GATE_SEARCH_WHOLE], fast, sig->num);
	}
}

static void take_mpms(struct gate_builder *b, struct gate_mpm_input *inputs, struct gate_mpm **ret)
{
	inputs[GATE_SEARCH_WHOLE].large = true;
	for (int part = 0; part < GATE_SEARCHES; part++) {
		ret[part] = take_mpm(b, &inputs[part]);
	}
}

static bool is_of_app(const struct gate_sig *sig, unsigned int app)
{
	return sig->apps && (sig->apps & 1u << app);
}

/* Which protocols have rules of any port of their own: equal hashes, equal rules. */
static void class_apps(const struct scope *scope, struct gate_port_groups *ret)
{
	uint64_t hashes[GATE_APP_COUNT] = {}, of_class[GATE_APP_COUNT] = {};

	bh_vec_foreach (at, &scope->sigs) {
		for (unsigned int app = 0; app < GATE_APP_COUNT; app++) {
			if (is_any(*at, scope) && is_of_app(*at, app)) {
				hashes[app] ^= mix((*at)->num);
			}
		}
	}
	ret->class_count = 1;
	for (unsigned int app = 0; app < GATE_APP_COUNT; app++) {
		uint8_t class = 0;

		while (class < ret->class_count && of_class[class] != hashes[app]) {
			class ++;
		}
		of_class[class] = hashes[app];
		ret->class_of[app] = class;
		ret->class_count += class == ret->class_count;
	}
}

/* Databases of rules of any port, of no protocol or of those of the class. */
static void fill_class(struct gate_builder *b, const struct scope *scope, uint8_t class,
		       struct gate_port_groups *ret)
{
	struct gate_mpm_input inputs[GATE_SEARCHES] = {};
	unsigned int app = 0;

	while (app < GATE_APP_COUNT && ret->class_of[app] != class) {
		app++;
	}
	bh_vec_foreach (at, &scope->sigs) {
		if (is_any(*at, scope) && (!(*at)->apps || (class && is_of_app(*at, app)))) {
			add_payload(b, *at, inputs);
		}
	}
	take_mpms(b, inputs, ret->any[class]);
}

static void fill_always(struct gate_builder *b, const struct scope *scope, struct ports ports,
			struct gate_port_group *group)
{
	BH_VEC(struct gate_always) always = {};

	bh_vec_foreach (at, &scope->sigs) {
		if (!b->fasts.items[(*at)->num].size && is_for(*at, scope, ports)) {
			gate_fast_none(*at, bh_vec_push(&always));
		}
	}
	if (always.count) {
		size_t size = always.count * sizeof(*always.items);
		struct gate_always *copy = gate_arena_alloc(b->set->arena, size);

		memcpy(copy, always.items, size);
		group->always = copy;
		group->always_count = (uint32_t)always.count;
	}
	bh_vec_done(&always);
}

static void fill_group(struct gate_builder *b, const struct scope *scope, struct ports ports,
		       struct gate_port_group *group)
{
	struct gate_mpm_input inputs[GATE_SEARCHES] = {};

	bh_vec_foreach (at, &scope->sigs) {
		if (!is_any(*at, scope) && is_for(*at, scope, ports)) {
			add_payload(b, *at, inputs);
		}
	}
	take_mpms(b, inputs, group->own);
	fill_always(b, scope, ports, group);
}

static void mark_ports(const struct gate_port_set *ports, uint64_t id, uint64_t *edges)
{
	bh_vec_foreach (range, &ports->in) {
		edges[range->first] ^= id;
		edges[(uint32_t)range->last + 1] ^= id;
	}
}

/* What rules a port has, as a number each: equal numbers, equal rules. */
static void port_hashes(const struct scope *scope, uint64_t *edges)
{
	bool client = scope->side == GATE_PORT_OF_CLIENT;

	bh_vec_foreach (at, &scope->sigs) {
		const struct gate_sig *sig = *at;

		if (is_any(sig, scope)) {
			continue;
		}
		mark_ports(key_ports(sig, scope->dir, client), mix(sig->num), edges);
		if (sig->bidirectional) {
			mark_ports(key_ports(sig, scope->dir, true), mix(sig->num + (1ull << 32)),
				   edges);
		}
	}
	for (uint32_t p = 1; p < PORTS; p++) {
		edges[p] ^= edges[p - 1];
	}
}

/* A group for each set of rules that a port can have; 0: there are too many. Its rules are those
 * of any one of its ports. */
static uint32_t groups_of_rules(const uint64_t *hashes, uint16_t *by_port,
				struct ports groups[GROUPS_MAX])
{
	uint64_t distinct[GROUPS_MAX];
	uint32_t count = 0;

	for (uint32_t p = 0; p < PORTS; p++) {
		uint32_t g = 0;

		if (p && hashes[p] == hashes[p - 1]) {
			by_port[p] = by_port[p - 1];
			continue;
		}
		while (g < count && distinct[g] != hashes[p]) {
			g++;
		}
		if (g == GROUPS_MAX) {
			return 0;
		}
		if (g == count) {
			distinct[count] = hashes[p];
			groups[count++] = (struct ports){(uint16_t)p, (uint16_t)p};
		}
		by_port[p] = (uint16_t)g;
	}
	return count;
}

/* As many, each of as many neighbouring ranges of ports with the same rules. */
static uint32_t groups_of_ranges(const uint64_t *hashes, uint16_t *by_port,
				 struct ports groups[GROUPS_MAX])
{
	uint32_t ranges = 1, range = 0;

	for (uint32_t p = 1; p < PORTS; p++) {
		ranges += hashes[p] != hashes[p - 1];
	}
	for (uint32_t p = 0; p < PORTS; p++) {
		uint32_t g;

		range += p && hashes[p] != hashes[p - 1];
		g = range * GROUPS_MAX / ranges;
		if (!p || g != by_port[p - 1]) {
			groups[g].first = (uint16_t)p;
		}
		groups[g].last = (uint16_t)p;
		by_port[p] = (uint16_t)g;
	}
	return GROUPS_MAX;
}

static void group_ports(struct gate_builder *b, const struct scope *scope)
{
	struct gate_port_groups *ret = &b->set->packets.of[scope->tr][scope->dir][scope->side];
	BH_FREE uint64_t *hashes = bh_alloc_array(PORTS + 1, sizeof(*hashes));
	struct ports groups[GROUPS_MAX];

	port_hashes(scope, hashes);
	ret->by_port = bh_alloc_array(PORTS, sizeof(*ret->by_port));
	ret->count = groups_of_rules(hashes, ret->by_port, groups);
	if (!ret->count) {
		ret->count = groups_of_ranges(hashes, ret->by_port, groups);
	}
	ret->groups = gate_arena_alloc(b->set->arena, ret->count * sizeof(*ret->groups));
	for (uint32_t g = 0; g < ret->count; g++) {
		fill_group(b, scope, groups[g], &ret->groups[g]);
	}
	class_apps(scope, ret);
	for (uint8_t class = 0; class < ret->class_count; class ++) {
		fill_class(b, scope, class, ret);
	}
	b->set->stats.groups += ret->count;
}

static void group_scope(struct gate_builder *b, int tr, int dir, int side)
{
	struct scope scope = {.tr = (enum gate_transport)tr,
			      .dir = (enum gate_dir)dir,
			      .side = (enum gate_port_side)side};

	fill_scope(b->set, &scope);
	if (scope.sigs.count || side == GATE_PORT_OF_SERVER) {
		group_ports(b, &scope);
	}
	bh_vec_done(&scope.sigs);
}

void gate_group_packets(struct gate_builder *b)
{
	for (int tr = 0; tr < GATE_TRANSPORTS; tr++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			for (int side = 0; side < GATE_PORT_SIDES; side++) {
				group_scope(b, tr, dir, side);
			}
		}
	}
}

/* ---- transactions ---- */

/* By slot: patterns that may stand anywhere, and of what grows those that can be at its beginning
 * only (GATE_SEARCH_WHOLE, GATE_SEARCH_BEGIN). */
struct gate_nums {
	uint32_t *items;
	size_t count, capacity;
};
struct tx_inputs {
	struct gate_mpm_input *by_slot[GATE_SEARCHES];
	struct gate_nums always, fickle;
};

/* Searched from where it was left. */
static bool is_growing(const struct gate_slot *slot)
{
	return (slot->flags & GATE_BUFFER_STREAM) && !slot->transform_count;
}

static bool is_whole_at_once(const struct gate_slot *slot, enum gate_dir dir)
{
	return slot->progress[dir] > 0 && !(slot->flags & (GATE_BUFFER_STREAM | GATE_BUFFER_FILE));
}

static void add_tx_rule(const struct gate_builder *b, struct gate_sig *sig, enum gate_dir dir,
			struct tx_inputs *in)
{
	const struct gate_fast *fast = &b->fasts.items[sig->num];
	const struct gate_dlist *list;
	bool begin;

	if (!fast->size) {
		*bh_vec_push(&in->always) = sig->num;
		return;
	}
	sig->fast_list = fast->list;
	list = &sig->lists[fast->list];
	begin = fast->max_end <= GATE_BEGIN_MAX && is_growing(&b->slots.items[list->slot]);
	/* Of a rule over both sides: the other side's transaction state brings it up. */
	if (list->dirs & GATE_DIR_BIT(dir)) {
		add_literal(&in->by_slot[begin ? GATE_SEARCH_BEGIN : GATE_SEARCH_WHOLE][list->slot],
			    fast, sig->num);
	}
}

static void fill_engine(struct gate_builder *b, uint16_t slot_num, enum gate_dir dir,
			struct gate_mpm_input *input, struct gate_engine *engine)
{
	struct gate_slot *slot = &b->slots.items[slot_num];

	engine->slot = slot_num;
	engine->progress = slot->progress[dir];
	engine->stream = is_growing(slot);
	engine->once = is_whole_at_once(slot, dir);
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

static void make_engines(struct gate_builder *b, enum gate_dir dir, struct tx_inputs *in,
			 struct gate_app_group *group)
{
	uint32_t count = 0;

	for (size_t s = 0; s < b->slots.count; s++) {
		count += in->by_slot[GATE_SEARCH_WHOLE][s].literals.count > 0;
		count += in->by_slot[GATE_SEARCH_BEGIN][s].literals.count > 0;
	}
	group->engines = gate_arena_alloc(b->set->arena, count * sizeof(*group->engines));
	for (size_t s = 0; s < b->slots.count; s++) {
		for (int part = 0; part < GATE_SEARCHES; part++) {
			struct gate_mpm_input *input = &in->by_slot[part][s];

			if (input->literals.count) {
				input->large =
					part == GATE_SEARCH_WHOLE && is_growing(&b->slots.items[s]);
				fill_engine(b, (uint16_t)s, dir, input,
					    &group->engines[group->engine_count++]);
			}
		}
	}
	if (count) {
		qsort(group->engines, count, sizeof(*group->engines), engine_compare);
	}
}

#define OF_PACKET                                                                                  \
	(GATE_NEED_PAYLOAD | GATE_NEED_PAYLOAD_OR_STREAM | GATE_NEED_STREAM | GATE_NEED_EMPTY |    \
	 GATE_NEED_REAL | GATE_NEED_EVENTS | GATE_NEED_FRAG | GATE_NEED_NO_FRAG | GATE_NEED_VLAN)

/* What was searched once, or from where it was left, brings its rules up once. */
static bool is_asked_again(const struct gate_builder *b, const struct gate_sig *sig,
			   enum gate_dir dir)
{
	const struct gate_slot *slot;

	if (sig->fast_list == UINT16_MAX) {
		return true;
	}
	slot = &b->slots.items[sig->lists[sig->fast_list].slot];
	return !is_growing(slot) && !is_whole_at_once(slot, dir);
}

static void note_fickle(const struct gate_builder *b, const struct gate_sig *sig, enum gate_dir dir,
			struct tx_inputs *in)
{
	if ((sig->packet_count || sig->dsize_op || (sig->need & OF_PACKET)) &&
	    is_asked_again(b, sig, dir)) {
		*bh_vec_push(&in->fickle) = sig->num;
	}
}

static uint32_t *take_nums(struct gate_builder *b, struct gate_nums *nums, uint32_t *ret_count)
{
	uint32_t *copy = gate_arena_alloc(b->set->arena, nums->count * sizeof(uint32_t));

	if (nums->count) {
		memcpy(copy, nums->items, nums->count * sizeof(uint32_t));
	}
	*ret_count = (uint32_t)nums->count;
	bh_vec_done(nums);
	return copy;
}

static void open_inputs(const struct gate_builder *b, struct tx_inputs *in)
{
	for (int part = 0; part < GATE_SEARCHES; part++) {
		in->by_slot[part] = bh_alloc_array(b->slots.count + 1, sizeof(**in->by_slot));
	}
}

/* Engines for what was put in, and the rules without a pattern. */
static void fill_app_group(struct gate_builder *b, enum gate_dir dir, struct tx_inputs *in,
			   struct gate_app_group *group)
{
	struct gate_rule_set *set = b->set;

	make_engines(b, dir, in, group);
	group->always = take_nums(b, &in->always, &group->always_count);
	group->fickle = take_nums(b, &in->fickle, &group->fickle_count);
	for (int part = 0; part < GATE_SEARCHES; part++) {
		free(in->by_slot[part]);
	}
	set->stats.groups += group->engine_count || group->always_count;
}

static void group_frames(struct gate_builder *b, enum gate_buffer kind, enum gate_dir dir)
{
	struct gate_rule_set *set = b->set;
	struct tx_inputs in = {};

	open_inputs(b, &in);
	for (uint32_t i = 0; i < set->sig_count; i++) {
		struct gate_sig *sig = &set->sigs[i];

		if (sig->type == GATE_SIG_FRAME && (sig->dirs & GATE_DIR_BIT(dir)) &&
		    sig->rule->lists.items[0].buffer == kind) {
			add_tx_rule(b, sig, dir, &in);
		}
	}
	fill_app_group(b, dir, &in, &set->frames[kind - GATE_BUF_FRAME_FIRST][dir]);
}

static void group_app(struct gate_builder *b, enum gate_app app, enum gate_dir dir)
{
	struct gate_rule_set *set = b->set;
	struct gate_app_group *group = &set->apps[app][dir];
	struct tx_inputs in = {};

	open_inputs(b, &in);
	for (uint32_t i = 0; i < set->sig_count; i++) {
		struct gate_sig *sig = &set->sigs[i];

		if (sig->type == GATE_SIG_TX && (sig->dirs & GATE_DIR_BIT(dir)) &&
		    (!sig->apps || (sig->apps & (1u << app)))) {
			add_tx_rule(b, sig, dir, &in);
			note_fickle(b, sig, dir, &in);
			group->files = group->files || sig->has_files;
		}
	}
	if (app == GATE_APP_HTTP1 && dir == GATE_TO_CLIENT) {
		for (int part = 0; part < GATE_SEARCHES; part++) {
			join_bodies(b, in.by_slot[part]);
		}
	}
	fill_app_group(b, dir, &in, group);
}

/* ---- what is searched for at once ---- */

static struct gate_gram_union *union_of(struct gate_builder *b, const struct gate_mpm *one,
					const struct gate_mpm *other)
{
	const struct gate_grams *grams[GATE_MPM_PARTS] = {one->grams, other->grams};
	uint64_t hash = mix((uintptr_t)grams[0] + mix((uintptr_t)grams[1]));
	uint32_t *bucket = &b->union_buckets[hash % GATE_UNION_BUCKETS];
	struct gate_gram_set *new;

	for (uint32_t i = *bucket; i; i = b->set->unions.items[i - 1].next) {
		if (!memcmp(b->set->unions.items[i - 1].grams, grams, sizeof(grams))) {
			return b->set->unions.items[i - 1].all;
		}
	}
	if (b->set->unions.count == UNIONS_MAX) {
		return NULL;
	}
	new = bh_vec_push(&b->set->unions);
	memcpy(new->grams, grams, sizeof(grams));
	new->all = gate_gram_union_new(grams, GATE_MPM_PARTS);
	new->next = *bucket;
	*bucket = (uint32_t)b->set->unions.count;
	b->set->stats.bytes += gate_gram_union_bytes(new->all);
	return new->all;
}

static void make_search(struct gate_builder *b, const struct gate_mpm *one,
			const struct gate_mpm *other, struct gate_mpm_group *ret)
{
	ret->parts[0] = one ? one : other;
	ret->parts[1] = one ? other : NULL;
	ret->all = one && other ? union_of(b, one, other) : NULL;
	for (unsigned int i = 0; i < GATE_MPM_PARTS && ret->parts[i]; i++) {
		ret->longest = ret->parts[i]->longest > ret->longest ? ret->parts[i]->longest
								     : ret->longest;
	}
}

static void port_searches(struct gate_builder *b, const struct gate_port_groups *of)
{
	for (uint32_t g = 0; g < of->count; g++) {
		struct gate_port_group *group = &of->groups[g];

		group->searches =
			gate_arena_alloc(b->set->arena, of->class_count * sizeof(*group->searches));
		for (uint8_t class = 0; class < of->class_count; class ++) {
			for (int part = 0; part < GATE_SEARCHES; part++) {
				make_search(b, of->any[class][part], group->own[part],
					    &group->searches[class][part]);
			}
		}
	}
}

static void engine_searches(struct gate_builder *b, struct gate_app_group *group)
{
	for (uint32_t e = 0; e < group->engine_count; e++) {
		make_search(b, group->engines[e].mpm, NULL, &group->engines[e].search);
	}
}

void gate_group_searches(struct gate_builder *b)
{
	struct gate_rule_set *set = b->set;

	for (int tr = 0; tr < GATE_TRANSPORTS; tr++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			for (int side = 0; side < GATE_PORT_SIDES; side++) {
				port_searches(b, &set->packets.of[tr][dir][side]);
			}
		}
	}
	for (int dir = 0; dir < GATE_DIRS; dir++) {
		for (int app = 0; app < GATE_APP_COUNT; app++) {
			engine_searches(b, &set->apps[app][dir]);
		}
		for (unsigned int kind = 0; kind < GATE_BUF_FRAMES; kind++) {
			engine_searches(b, &set->frames[kind][dir]);
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
	for (unsigned int kind = GATE_BUF_FRAME_FIRST; kind < GATE_BUF_COUNT; kind++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			group_frames(b, (enum gate_buffer)kind, (enum gate_dir)dir);
		}
	}
}
