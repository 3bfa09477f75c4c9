/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose things a reader of events and talks may see: everything, or what concerns some tenants.
 *
 * A row belongs to the tenants of both its ends (0: that end is nobody's VM); what
 * is no tenant's is the provider's. Plain memory, copied by whoever keeps it; any
 * thread.
 */
#ifndef BH_MANAGER_EVENTS_SCOPE_H
#define BH_MANAGER_EVENTS_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANAGER_SCOPE_TENANTS_MAX 64
#define MANAGER_SCOPE_PROVIDER	  1u /* the tenant that the provider's own business belongs to */

struct manager_scope {
	bool all;
	uint32_t tenants[MANAGER_SCOPE_TENANTS_MAX]; /* numbers, none is 0 */
	size_t count;
};

static inline bool manager_scope_has(const struct manager_scope *scope, uint32_t tenant)
{
	for (size_t i = 0; !scope->all && i < scope->count; i++) {
		if (tenant && scope->tenants[i] == tenant) {
			return true;
		}
	}
	return scope->all;
}

/* Is either end theirs? */
static inline bool manager_scope_sees(const struct manager_scope *scope, uint32_t src, uint32_t dst)
{
	return manager_scope_has(scope, src) || manager_scope_has(scope, dst);
}

#endif
