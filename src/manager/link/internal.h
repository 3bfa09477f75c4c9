/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the link room: the link itself, and handlers of requests that have a file of their own.
 * Loop thread only. */
#ifndef BH_MANAGER_LINK_INTERNAL_H
#define BH_MANAGER_LINK_INTERNAL_H

#include "manager/link/link.h"

struct manager_link {
	struct bh_bus *bus;
	struct manager_inventory *inv;
	struct manager_distribute *dist;
	struct manager_enroll *enroll;	 /* NULL: certificates are not renewed */
	struct manager_migrate *migrate; /* NULL: nothing migrates */
	struct manager_grants *grants;	 /* NULL: nothing does while the manager is away */
};

typedef void manager_link_handler_fn(struct manager_link *link, struct manager_host *host,
				     struct bh_bus_request *req, const json_t *json);
/* moves.c: `migrate`, `migrated` */
manager_link_handler_fn manager_link_on_migrate, manager_link_on_migrated;

#endif
