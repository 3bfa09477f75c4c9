/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set from what was read: rules compiled and put into order, grouped, databases built or
 * taken from the cache. A rule that can't be compiled becomes a refusal; the others load.
 */
#include "base/time.h"
#include "gate/config.h"
#include "gate/detect/inspect.h"
#include "gate/detect/regexes.h"
#include "gate/detect/shared.h"
#include "gate/detect/transform.h"

#include <errno.h>

#define ARENA_CHUNK (256u << 10)

struct gate_arena {
	struct chunk {
		struct chunk *next;
		size_t size;
	} * chunks;
	char *at;
	size_t left, bytes;
};

struct gate_arena *gate_arena_new(void)
{
	return bh_alloc(sizeof(struct gate_arena));
}

void gate_arena_free(struct gate_arena *arena)
{
	while (arena && arena->chunks) {
		struct chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	free(arena);
}

void *gate_arena_alloc(struct gate_arena *arena, size_t size)
{
	struct chunk *chunk;
	void *at;

	size = (size + 15) & ~(size_t)15;
	if (size > arena->left || !arena->at) {
		size_t want = size > ARENA_CHUNK ? size : ARENA_CHUNK;

		chunk = bh_alloc(sizeof(*chunk) + want);
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->at = (char *)(chunk + 1);
		arena->left = want;
		arena->bytes += want;
	}
	at = arena->at;
	arena->at += size;
	arena->left -= size;
	return at;
}

size_t gate_arena_bytes(const struct gate_arena *arena)
{
	return arena->bytes;
}

struct gate_regex *gate_builder_regex(struct gate_builder *b, const char *pattern, uint32_t options,
				      struct bh_diag *diag)
{
	bool created;
	struct gate_regex_entry *entry = gate_regexes_take(gate_shared_regexes(b->set->shared),
							   pattern, options, &created, diag);

	if (!entry) {
		return NULL;
	}
	*bh_vec_push(&b->set->regexes) = entry;
	b->set->stats.bytes += created ? gate_regex_bytes(gate_regex_of(entry)) : 0;
	return gate_regex_of(entry);
}

static int rule_compare(const void *pa, const void *pb)
{
	return gate_rule_order(*(const struct gate_rule *const *)pa,
			       *(const struct gate_rule *const *)pb);
}

static void refuse(struct gate_rule_files *files, const struct gate_rule *rule,
		   const struct bh_diag *diag)
{
	*bh_vec_push(&files->refusals) =
		(struct gate_rule_refusal){.file = bh_strdup(rule->file ? rule->file : ""),
					   .line = rule->line,
					   .column = 1,
					   .sid = rule->sid,
					   .reason = bh_strdup(diag->text)};
}

/* Rules in order. Those that can't be compiled stay in the files' list, with a refusal that says
 * why: slots may have taken their transforms. */
static void compile_rules(struct gate_builder *b)
{
	struct gate_rule_set *set = b->set;
	struct gate_rule_files *files = set->files;

	if (files->rules.count) {
		qsort(files->rules.items, files->rules.count, sizeof(*files->rules.items),
		      rule_compare);
	}
	set->sigs = bh_alloc_array(files->rules.count + 1, sizeof(*set->sigs));
	bh_vec_foreach (rule, &files->rules) {
		struct gate_sig *sig = &set->sigs[set->sig_count];
		struct gate_fast *fast;
		struct bh_diag diag = {};

		if (gate_compile_rule(b, *rule, sig, &diag)) {
			refuse(files, *rule, &diag);
			continue;
		}
		sig->num = set->sig_count++;
		fast = bh_vec_push(&b->fasts);
		if (!gate_fast_pattern(b, sig, fast)) {
			*fast = (struct gate_fast){};
		}
	}
}

static void count_types(struct gate_rule_set *set)
{
	for (uint32_t i = 0; i < set->sig_count; i++) {
		switch (set->sigs[i].type) {
		case GATE_SIG_TX:
		case GATE_SIG_FRAME:
			set->stats.tx_rules++;
			break;
		case GATE_SIG_IP_ONLY:
			set->stats.ip_only++;
			break;
		case GATE_SIG_STREAM:
		case GATE_SIG_PACKET_STREAM:
			set->stats.stream_rules++;
			break;
		default:
			set->stats.packet_rules++;
			break;
		}
	}
	set->stats.rules = set->sig_count;
}

static void list_of_type(struct gate_rule_set *set, enum gate_sig_type type, uint32_t **ret,
			 uint32_t *ret_count)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < set->sig_count; i++) {
		count += set->sigs[i].type == type;
	}
	*ret = gate_arena_alloc(set->arena, count * sizeof(**ret));
	for (uint32_t i = 0; i < set->sig_count; i++) {
		if (set->sigs[i].type == type) {
			(*ret)[(*ret_count)++] = i;
		}
	}
}

static int build_databases(struct gate_builder *b, struct bh_diag *diag)
{
	struct gate_rule_set *set = b->set;
	struct gate_mpm_jobs_stats stats;
	int r;

	gate_group_packets(b);
	gate_group_txs(b);
	r = gate_mpm_jobs_run(b->jobs, diag);
	if (r) {
		return r;
	}
	gate_group_searches(b);
	bh_vec_foreach (mpm, &set->mpms) {
		set->stats.bytes += (*mpm)->pattern_count * sizeof(*(*mpm)->patterns) +
				    (*mpm)->sig_count * sizeof(*(*mpm)->sigs);
	}
	gate_mpm_jobs_stats(b->jobs, &stats);
	set->stats.databases = stats.databases;
	set->stats.shared_databases = stats.shared;
	set->stats.bytes += stats.bytes;
	set->stats.from_cache = stats.databases && !stats.compiled;
	return 0;
}

static void take_tables(struct gate_builder *b)
{
	struct gate_rule_set *set = b->set;

	set->slots = b->slots.items;
	set->slot_count = (uint32_t)b->slots.count;
	set->addr_sets = b->addr_sets.items;
	set->addr_set_count = (uint16_t)b->addr_sets.count;
	set->port_sets = b->port_sets.items;
	set->port_set_count = (uint16_t)b->port_sets.count;
}

int gate_rule_set_new(struct gate_rule_files *files, const struct gate_config *config,
		      struct gate_shared *shared, struct gate_rule_set **ret, struct bh_diag *diag)
{
	struct gate_rule_set *set = bh_alloc(sizeof(*set));
	struct gate_builder b = {.set = set, .config = config};
	uint64_t begin = bh_time_mono_ns();
	int r;

	set->refs = 1;
	set->files = files;
	set->shared = shared;
	set->arena = gate_arena_new();
	/* One build at a time: a database that another one is at is not waited for. */
	gate_shared_build_begin(shared);
	set->id = gate_shared_set_id(shared);
	b.jobs = gate_mpm_jobs_new(gate_shared_registry(shared), config->cache_dir);
	compile_rules(&b);
	list_of_type(set, GATE_SIG_IP_ONLY, &set->ip_only, &set->ip_only_count);
	list_of_type(set, GATE_SIG_PROTO_DETECTED, &set->proto_detected,
		     &set->proto_detected_count);
	r = build_databases(&b, diag);
	take_tables(&b);
	count_types(set);
	set->stats.bytes += gate_arena_bytes(set->arena) + set->sig_count * sizeof(*set->sigs);
	set->stats.build_ms = (bh_time_mono_ns() - begin) / BH_NS_PER_MS;
	gate_mpm_jobs_free(b.jobs);
	bh_vec_done(&b.fasts);
	gate_shared_build_end(shared);
	if (r) {
		gate_rule_set_unref(set);
		return r;
	}
	*ret = set;
	return 0;
}

struct gate_rule_set *gate_rule_set_ref(struct gate_rule_set *set)
{
	if (set) {
		set->refs++;
	}
	return set;
}

static void set_free(struct gate_rule_set *set)
{
	bh_vec_foreach (mpm, &set->mpms) {
		gate_mpm_free(*mpm);
	}
	bh_vec_foreach (regex, &set->regexes) {
		gate_regexes_release(gate_shared_regexes(set->shared), *regex);
	}
	for (uint32_t i = 0; i < set->slot_count; i++) {
		for (uint8_t k = 0; k < set->slots[i].transform_count; k++) {
			gate_xf_done(&set->slots[i].transforms[k], set->slots[i].compiled[k]);
		}
	}
	for (int tr = 0; tr < GATE_TRANSPORTS; tr++) {
		for (int dir = 0; dir < GATE_DIRS; dir++) {
			for (int side = 0; side < GATE_PORT_SIDES; side++) {
				free(set->packets.of[tr][dir][side].by_port);
			}
		}
	}
	gate_rule_set_forget(set);
	bh_vec_foreach (both, &set->unions) {
		gate_gram_union_free(both->all);
	}
	bh_vec_done(&set->unions);
	bh_vec_done(&set->mpms);
	bh_vec_done(&set->regexes);
	free(set->slots);
	free(set->addr_sets);
	free(set->port_sets);
	free(set->sigs);
	gate_arena_free(set->arena);
	gate_rules_free(set->files);
	free(set);
}

void gate_rule_set_unref(struct gate_rule_set *set)
{
	if (set && --set->refs == 0) {
		set_free(set);
	}
}

const struct gate_rule_files *gate_rule_set_files(const struct gate_rule_set *set)
{
	return set->files;
}

void gate_rule_set_stats(const struct gate_rule_set *set, struct gate_rule_set_stats *ret)
{
	*ret = set->stats;
}
