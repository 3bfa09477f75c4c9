/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager orders to be done with a VM of this host (docs/power.md).
 *
 * Theory of operation
 *   An order has a number of the manager's (32 hex digits) and is done once: one that comes again
 *   (its answer was lost, or somebody asks how far it is) finds the first one. Their ends are
 *   kept on disk (orders.json, the last HOSTD_ORDERS_KEPT), so that a restart of either side does
 *   nothing twice either; one that was under way then has the state `unknown`.
 *   The answer waits for the end, for a second and a half at most; then it says `running`, and the
 *   manager asks again (`look`). Only a first order does something: one that only looks, and is not
 *   known here, never arrived.
 *   Orders come on this host's command subject, which nobody but the manager may publish to, and
 *   are for VMs that this host has. One at a time for each VM; only power off goes past others.
 *
 * Loop thread only.
 */
#ifndef BH_HOST_AGENT_ORDERS_H
#define BH_HOST_AGENT_ORDERS_H

#include "host/agent/agent.h"

#define HOSTD_ORDER_ID_SIZE 33
#define HOSTD_ORDERS_KEPT   256

struct hostd_orders *hostd_orders_new(struct hostd_agent *agent);
/* Answers who waits and closes the timer; before session and platforms go. NULL is fine. */
void hostd_orders_stop(struct hostd_orders *orders);
void hostd_orders_free(struct hostd_orders *orders);
/* Commands `order` and `order-cancel`; false: it is neither. */
bool hostd_orders_command(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
			  const json_t *json);
json_t *hostd_orders_json(const struct hostd_agent *agent); /* those under way; owned */

#endif
