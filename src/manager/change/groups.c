/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/groups.h"

#include <sodium.h>

#define SLOTS_FIRST 4096

struct manager_groups {
	BH_VEC(struct manager_group) items;
	uint32_t *slots; /* 0 free, else place + 1 */
	size_t size;
	size_t max;
	uint8_t secret[crypto_shorthash_KEYBYTES];
};

struct manager_groups *manager_groups_new(size_t max)
{
	struct manager_groups *g = bh_alloc(sizeof(*g));

	g->max = max;
	g->size = SLOTS_FIRST;
	g->slots = bh_alloc_array(g->size, sizeof(*g->slots));
	crypto_shorthash_keygen(g->secret);
	return g;
}

void manager_groups_free(struct manager_groups *g)
{
	if (g) {
		bh_vec_done(&g->items);
		free(g->slots);
		free(g);
	}
}

static uint64_t hash(const struct manager_groups *g, const struct manager_group_key *key)
{
	uint64_t h;

	crypto_shorthash((uint8_t *)&h, (const uint8_t *)key, sizeof(*key), g->secret);
	return h;
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t *slot_of(const struct manager_groups *g, const struct manager_group_key *key)
{
	size_t i = hash(g, key) & (g->size - 1);

	while (g->slots[i] &&
	       memcmp(&g->items.items[g->slots[i] - 1].key, key, sizeof(*key)) != 0) {
		i = (i + 1) & (g->size - 1);
	}
	return &g->slots[i];
}

static void grow(struct manager_groups *g)
{
	free(g->slots);
	g->size *= 2;
	g->slots = bh_alloc_array(g->size, sizeof(*g->slots));
	for (size_t i = 0; i < g->items.count; i++) {
		*slot_of(g, &g->items.items[i].key) = (uint32_t)i + 1;
	}
}

bool manager_groups_add(struct manager_groups *g, const struct manager_group_key *key,
			const struct manager_talk *talk)
{
	uint32_t *slot = slot_of(g, key);
	struct manager_group *item;

	if (!*slot) {
		if (g->items.count >= g->max) {
			return false;
		}
		if (g->items.count * 10 >= g->size * 7) {
			grow(g);
			slot = slot_of(g, key);
		}
		item = bh_vec_push(&g->items);
		item->key = *key;
		item->first_s = talk->first_s;
		*slot = (uint32_t)g->items.count;
	}
	item = &g->items.items[*slot - 1];
	item->count += talk->count;
	item->bytes += talk->bytes;
	item->first_s = talk->first_s < item->first_s ? talk->first_s : item->first_s;
	item->last_s = talk->last_s > item->last_s ? talk->last_s : item->last_s;
	return true;
}

void manager_group_key_of(const struct manager_question *q, bool addresses,
			  struct manager_group_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->src_identity = q->src.identity;
	ret->dst_identity = q->dst.identity;
	ret->proto = q->service.proto;
	ret->port = q->service.port;
	if (addresses && q->src.has_addr) {
		memcpy(ret->src, q->src.addr, sizeof(ret->src));
		ret->has_addr |= 1;
	}
	if (addresses && q->dst.has_addr) {
		memcpy(ret->dst, q->dst.addr, sizeof(ret->dst));
		ret->has_addr |= 2;
	}
}

void manager_group_question(const struct manager_group_key *key, struct manager_question *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->src.identity = key->src_identity;
	ret->dst.identity = key->dst_identity;
	ret->src.has_addr = key->has_addr & 1;
	ret->dst.has_addr = key->has_addr & 2;
	memcpy(ret->src.addr, key->src, sizeof(key->src));
	memcpy(ret->dst.addr, key->dst, sizeof(key->dst));
	ret->service.proto = key->proto;
	ret->service.port = key->port;
}

size_t manager_groups_count(const struct manager_groups *g)
{
	return g->items.count;
}

const struct manager_group *manager_groups_at(const struct manager_groups *g, size_t i)
{
	return &g->items.items[i];
}
