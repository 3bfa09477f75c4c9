/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders of the manager (docs/power.md) as a simulated host takes them: no libvirt is behind it, so
 * a VM's state and its snapshots are what the last order made of them. Keeps the rules that the
 * manager relies on: an order is done once, and one that is only looked for is not begun.
 *
 * What orders come to can be told beforehand (simorders_behave): that they go on until told
 * otherwise, or that they fail.
 */
#ifndef BH_TESTS_SIMORDERS_H
#define BH_TESTS_SIMORDERS_H

#include <jansson.h>

struct simorders;
/* The members that an order changes of a VM ("state"), or NULL when the host has it no more. */
typedef void simorders_fn(const char *uuid, const json_t *members, void *arg);

struct simorders *simorders_new(simorders_fn *changed, void *arg);
void simorders_free(struct simorders *orders);
/* {}: orders are done at once. {"state": "running", "percent": 40}: they go on;
 * {"state": "failed", "error": "words"}. Those that go on are looked at again by it. */
void simorders_behave(struct simorders *orders, const json_t *how);
/* The answer to an `order` or an `order-cancel`; owned. NULL: there is no such order here. */
json_t *simorders_answer(struct simorders *orders, const json_t *msg);

#endif
