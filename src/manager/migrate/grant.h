/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts may do while the manager is away: one signed grant per host (model/grant.h), for hosts
 * of a fleet in which some policy says `migration: {withoutManager: allow}`.
 *
 * Theory of operation
 *   A pass looks at every host, a few milliseconds per tick, so it never stands in the way of a
 *   commit. What a host should hold is written anew; when it differs from what the host confirmed,
 *   or half of its time is over, it is signed and sent. Only hosts in sync get one, for the image
 *   that they confirmed: until the next pass after a commit their grant is not current, and they
 *   refuse. A host that holds one and should not is told to drop it.
 *
 * Owned by main; the rest is borrowed. Loop thread only.
 */
#ifndef BH_MANAGER_MIGRATE_GRANT_H
#define BH_MANAGER_MIGRATE_GRANT_H

#include "manager/distribute/distribute.h"
#include "manager/migrate/migrate.h"

struct manager_grants;

struct manager_grants_options {
	struct manager_inventory *inv;
	const struct manager_rulebook *book;
	const char *pki_dir; /* manager.crt and manager.key; copied */
	unsigned int valid_s;
	manager_command_fn *command;
	void *command_arg;
};
struct manager_grants *manager_grants_new(const struct manager_grants_options *options);
/* After the bus is gone. NULL is fine. */
void manager_grants_free(struct manager_grants *grants);
/* A slice of a pass; every second. */
void manager_grants_tick(struct manager_grants *grants, uint64_t now_s, uint64_t mono_ns);
/* The host says hello and names what it holds: lower-case hex of the SHA-256 of the text, "" none.
 */
void manager_grants_hello(struct manager_grants *grants, const struct manager_host *host,
			  const char *digest);

/* alone.c: the host says hello and names migrations that went on without the manager. From here on
 * they are as any other. True when there was a new one: flush before the host gets its image. */
bool manager_migrate_adopt(struct manager_migrate *part, struct manager_host *host,
			   const json_t *list);

/* What this host should hold, without times; owned. For tests. */
json_t *manager_grants_of(struct manager_grants *grants, struct manager_host *host);

#endif
