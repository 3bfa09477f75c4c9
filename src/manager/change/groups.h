/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows put together by what a verdict depends on: a table of counts by key, made for millions of
 * rows (open addressing, a keyed hash because hosts choose what the keys hold). One thread.
 */
#ifndef BH_MANAGER_CHANGE_GROUPS_H
#define BH_MANAGER_CHANGE_GROUPS_H

#include "manager/change/world.h"

struct manager_group_key { /* no padding: hashed and compared by its bytes */
	uint8_t src[16], dst[16];
	uint32_t src_identity, dst_identity;
	uint16_t port;
	uint8_t proto;
	uint8_t has_addr; /* bit 0 source, bit 1 destination */
	uint32_t spare;	  /* the user's: 0, or what else tells them apart */
};
struct manager_group {
	struct manager_group_key key;
	uint32_t first_s, last_s;
	uint64_t count, bytes;
};

struct manager_groups;
struct manager_groups *manager_groups_new(size_t max);
void manager_groups_free(struct manager_groups *groups); /* NULL is fine */
/* What the question asks, without addresses when they make no difference. */
void manager_group_key_of(const struct manager_question *question, bool addresses,
			  struct manager_group_key *ret);
void manager_group_question(const struct manager_group_key *key, struct manager_question *ret);
/* Counts the talk; false when there is no room for another key. */
bool manager_groups_add(struct manager_groups *groups, const struct manager_group_key *key,
			const struct manager_talk *talk);
size_t manager_groups_count(const struct manager_groups *groups);
const struct manager_group *manager_groups_at(const struct manager_groups *groups, size_t i);

#endif
