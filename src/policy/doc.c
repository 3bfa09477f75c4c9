/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/doc.h"

#include "base/json.h"
#include "model/id.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdalign.h>

/* ---- arena ---- */
#define CHUNK_SIZE 16384
struct policy_arena_chunk {
	struct policy_arena_chunk *next;
	size_t used;
	size_t size;
	alignas(16) uint8_t data[];
};

void *policy_arena_alloc(struct policy_arena *arena, size_t size)
{
	struct policy_arena_chunk *chunk = arena->chunk;
	size_t need = (size + 15) & ~(size_t)15;
	void *p;

	if (!chunk || chunk->size - chunk->used < need) {
		/* Small documents stay small, big ones don't make a chunk per rule. */
		size_t grown = chunk ? chunk->size * 2 : 1024;
		size_t room = grown > CHUNK_SIZE * 16 ? CHUNK_SIZE * 16 : grown;

		room = need > room ? need : room;
		chunk = bh_alloc(sizeof(*chunk) + room);
		chunk->size = room;
		chunk->next = arena->chunk;
		arena->chunk = chunk;
	}
	p = chunk->data + chunk->used;
	chunk->used += need;
	return p;
}

char *policy_arena_strdup(struct policy_arena *arena, const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(policy_arena_alloc(arena, n), s, n);
}

void policy_arena_done(struct policy_arena *arena)
{
	while (arena->chunk) {
		struct policy_arena_chunk *next = arena->chunk->next;

		free(arena->chunk);
		arena->chunk = next;
	}
}

/* ---- names ---- */
const char *bh_policy_dir_name(enum bh_policy_dir dir)
{
	return dir == BH_POLICY_EGRESS ? "egress" : "ingress";
}

const char *bh_policy_action_name(enum bh_policy_action action)
{
	switch (action) {
	case BH_POLICY_ALLOW:
		return "allow";
	case BH_POLICY_DENY:
		return "deny";
	case BH_POLICY_REJECT:
		return "reject";
	}
	return "?";
}

const char *bh_policy_tier_name(enum bh_policy_tier tier)
{
	switch (tier) {
	case BH_POLICY_TIER_GUARDRAIL:
		return "guardrail";
	case BH_POLICY_TIER_TENANT:
		return "tenant";
	case BH_POLICY_TIER_DEFAULT:
		return "default";
	}
	return "?";
}

const char *bh_policy_builtin_text(uint32_t rule)
{
	switch (rule) {
	case BH_POLICY_RULE_IMPLICIT_DENY:
		return "implicit deny: a policy selects the VM here and no rule matches";
	case BH_POLICY_RULE_PROVIDER_DEFAULT:
		return "provider default: no policy selects the VM in this direction";
	case BH_POLICY_RULE_DHCP:
		return "built in: DHCP client";
	case BH_POLICY_RULE_DNS:
		return "built in: DNS to the host";
	case BH_POLICY_RULE_PING:
		return "built in: ping to the host";
	case BH_POLICY_RULE_DHCPV6:
		return "built in: DHCPv6 client";
	case BH_POLICY_RULE_QUARANTINE:
		return "in quarantine: no policy allows this there";
	default:
		return NULL;
	}
}

/* ---- order ---- */
int policy_cidr_compare(const void *a, const void *b)
{
	const struct policy_cidr *x = a;
	const struct policy_cidr *y = b;
	int r = memcmp(x->addr, y->addr, sizeof(x->addr));

	return r ? r : (int)x->bits - (int)y->bits;
}

int policy_label_compare(const void *a, const void *b)
{
	return strcmp(((const struct bh_policy_label *)a)->key,
		      ((const struct bh_policy_label *)b)->key);
}

int policy_string_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int policy_judgement_compare(const void *a, const void *b)
{
	const struct bh_policy *x = *(const struct bh_policy *const *)a;
	const struct bh_policy *y = *(const struct bh_policy *const *)b;
	int r = (int)x->tier - (int)y->tier;

	if (!r) {
		r = (x->order > y->order) - (x->order < y->order);
	}
	if (!r) {
		r = strcmp(x->name, y->name);
	}
	return r ? r : strcmp(x->tenant, y->tenant);
}

/* ---- life ---- */
struct bh_policy *policy_new(void)
{
	struct bh_policy *policy = bh_alloc(sizeof(*policy));

	policy->refs = 1;
	policy->name = policy->tenant = policy->description = policy->file = "";
	policy->tier = BH_POLICY_TIER_TENANT;
	policy->order = 1000;
	return policy;
}

struct bh_policy *bh_policy_ref(struct bh_policy *policy)
{
	policy->refs++;
	return policy;
}

void bh_policy_unref(struct bh_policy *policy)
{
	if (!policy || --policy->refs) {
		return;
	}
	policy_arena_done(&policy->arena);
	free(policy->canonical);
	free(policy);
}

/* The class is named after what the selector lists, so that equal lists share it. */
static void class_name(const char *kind, const struct bh_wbuf *list, char *ret_key)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	char hex[17];

	SHA256(list->data, list->size, hash);
	bh_hex_format(hash, 8, hex);
	snprintf(ret_key, POLICY_CLASS_SIZE, BH_POLICY_CLASS_PREFIX "%s.%s", kind, hex);
}

static void make_classes(struct policy_selector *selector)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < selector->address_count; i++) {
		bh_wbuf_put(&w, selector->addresses[i].addr, 16);
		bh_wbuf_u8(&w, selector->addresses[i].bits);
	}
	if (selector->address_count) {
		class_name("addr", &w, selector->address_class);
	}
	w.size = 0;
	for (size_t i = 0; i < selector->vm_count; i++) {
		bh_wbuf_put(&w, selector->vms[i], strlen(selector->vms[i]) + 1);
	}
	if (selector->vm_count) {
		class_name("vm", &w, selector->vm_class);
	}
	bh_wbuf_done(&w);
}

static bool walk_rule(const struct policy_rule *rule, policy_peer_fn *fn, const void *arg)
{
	for (size_t i = 0; i < rule->peer_count; i++) {
		if (fn(&rule->peers[i], arg)) {
			return true;
		}
	}
	return false;
}

bool policy_walk_peers(const struct bh_policy *policy, policy_peer_fn *fn, const void *arg)
{
	for (int dir = 0; dir < 2; dir++) {
		for (size_t i = 0; i < policy->rule_count[dir]; i++) {
			if (walk_rule(&policy->rules[dir][i], fn, arg)) {
				return true;
			}
		}
	}
	return false;
}

static bool make_peer_classes(const struct policy_peer *peer, const void *arg)
{
	if (peer->kind == POLICY_PEER_SELECTOR) {
		make_classes(peer->selector);
	}
	return false;
}

void policy_seal(struct bh_policy *policy)
{
	struct bh_wbuf w;

	make_classes(policy->selector);
	policy_walk_peers(policy, make_peer_classes, NULL);
	bh_wbuf_init(&w, 0);
	policy_canonical_print(policy, &w);
	bh_wbuf_u8(&w, 0);
	policy->canonical = (char *)w.data;
}

/* ---- getters ---- */
const char *bh_policy_name(const struct bh_policy *policy)
{
	return policy->name;
}

const char *bh_policy_tenant(const struct bh_policy *policy)
{
	return policy->tenant;
}

const char *bh_policy_description(const struct bh_policy *policy)
{
	return policy->description;
}

enum bh_policy_tier bh_policy_tier(const struct bh_policy *policy)
{
	return policy->tier;
}

unsigned int bh_policy_order(const struct bh_policy *policy)
{
	return policy->order;
}

bool bh_policy_has_direction(const struct bh_policy *policy, enum bh_policy_dir dir)
{
	return policy->directions & (1u << dir);
}

size_t bh_policy_rule_count(const struct bh_policy *policy, enum bh_policy_dir dir)
{
	return policy->rule_count[dir];
}

const char *bh_policy_rule_name(const struct bh_policy *policy, enum bh_policy_dir dir,
				size_t index)
{
	return index < policy->rule_count[dir] ? policy->rules[dir][index].name : "";
}

enum bh_policy_action bh_policy_rule_action(const struct bh_policy *policy, enum bh_policy_dir dir,
					    size_t index)
{
	return index < policy->rule_count[dir] ? policy->rules[dir][index].action : BH_POLICY_DENY;
}

const char *bh_policy_file(const struct bh_policy *policy)
{
	return policy->file;
}

unsigned int bh_policy_line(const struct bh_policy *policy)
{
	return policy->line;
}

unsigned int bh_policy_rule_line(const struct bh_policy *policy, enum bh_policy_dir dir,
				 size_t index)
{
	return index < policy->rule_count[dir] ? policy->rules[dir][index].line : 0;
}

const char *bh_policy_canonical(const struct bh_policy *policy)
{
	return policy->canonical;
}

/* ---- where rules stood ---- */
json_t *bh_policy_source_dump(const struct bh_policy *policy)
{
	json_t *json = json_pack("{s:s, s:i}", "file", policy->file, "line", (int)policy->line);

	for (int dir = 0; dir < 2; dir++) {
		json_t *lines = json_array();

		for (size_t i = 0; i < policy->rule_count[dir]; i++) {
			json_array_append_new(lines, json_integer(policy->rules[dir][i].line));
		}
		json_object_set_new(json, bh_policy_dir_name((enum bh_policy_dir)dir), lines);
	}
	return json;
}

int bh_policy_source_load(struct bh_policy *policy, const json_t *source, struct bh_diag *diag)
{
	const char *file;
	uint64_t line;
	json_t *lines[2];
	int r = bh_json_str(source, "file", &file, diag);

	if (!r) {
		r = bh_json_u64(source, "line", UINT32_MAX, &line, diag);
	}
	for (int dir = 0; !r && dir < 2; dir++) {
		const char *name = bh_policy_dir_name((enum bh_policy_dir)dir);

		r = bh_json_array(source, name, &lines[dir], diag);
		if (!r && json_array_size(lines[dir]) != policy->rule_count[dir]) {
			r = bh_diag_set(diag, -EINVAL, "%s: %zu lines for %zu rules", name,
					json_array_size(lines[dir]), policy->rule_count[dir]);
		}
	}
	if (r) {
		return r;
	}
	policy->file = policy_arena_strdup(&policy->arena, file);
	policy->line = (unsigned int)line;
	for (int dir = 0; dir < 2; dir++) {
		for (size_t i = 0; i < policy->rule_count[dir]; i++) {
			policy->rules[dir][i].line =
				(unsigned int)json_integer_value(json_array_get(lines[dir], i));
		}
	}
	return 0;
}
