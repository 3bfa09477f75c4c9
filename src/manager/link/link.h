/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's end of the conversation with hosts (docs/architecture.md, "Bus"): serves `.req`,
 * carries `apply`, `ping` and `query` to `.cmd`. Everything that comes in is foreign: the host's
 * name is that of the subject, requests belong to a session and carry a growing number, so repeats
 * and older ones are refused. Loop thread only.
 */
#ifndef BH_MANAGER_LINK_LINK_H
#define BH_MANAGER_LINK_LINK_H

#include "bus/client.h"
#include "manager/distribute/distribute.h"
#include "manager/enroll/enroll.h"
#include "manager/migrate/grant.h"
#include "manager/migrate/migrate.h"

struct manager_link;

struct manager_link *manager_link_new(struct bh_bus *bus, struct manager_inventory *inv);
void manager_link_free(struct manager_link *link);
struct manager_carrier manager_link_carrier(struct manager_link *link);
/* From here on requests are served. */
void manager_link_serve(struct manager_link *link, struct manager_distribute *dist);
/* From here on hosts can renew their certificates. */
void manager_link_set_enroll(struct manager_link *link, struct manager_enroll *enroll);
/* From here on VMs can travel. */
void manager_link_set_migrate(struct manager_link *link, struct manager_migrate *migrate);
/* From here on it is known which hosts hold a grant. */
void manager_link_set_grants(struct manager_link *link, struct manager_grants *grants);
/* Sends a command to a host; body is owned by the callee and names its type; fn may be NULL. It is
 * a manager_command_fn. */
void manager_link_command(const char *host, json_t *body, uint64_t timeout_ms, bh_bus_reply_fn *fn,
			  void *arg, void *link);
/* Sends a query to a host. body is owned by the callee. */
void manager_link_query(struct manager_link *link, const char *host, json_t *body,
			uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg);

#endif
