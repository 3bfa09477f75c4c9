/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is simulated: VMs of hosts and policies over them, the same each time. Ten hosts share a
 * network, tenants are spread over all of them. Pure.
 */
#ifndef BH_TESTS_SIMWORLD_H
#define BH_TESTS_SIMWORLD_H

#include "base/buf.h"

#include <jansson.h>

#define SIM_TENANTS 50

/* VM k of `vms` of that host as it stands in an inventory; owned. */
json_t *sim_vm(unsigned int host, unsigned int vms, unsigned int k, unsigned int tenants);
/* The policy of number n; version changes what it says. */
void sim_add_policy(struct bh_wbuf *w, unsigned int n, unsigned int version);
/* A policy that concerns every VM. */
void sim_add_guardrail(struct bh_wbuf *w, unsigned int version);

#endif
