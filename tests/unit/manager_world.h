/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the manager share: its store, inventory and rulebook, VMs as hosts describe
 * them, and what people are told.
 */
#ifndef BH_TESTS_UNIT_MANAGER_WORLD_H
#define BH_TESTS_UNIT_MANAGER_WORLD_H

#include "manager/commit.h"

/* Opens all three, with the policies of the rulebook in force; fails the test when it can't.
 * path: of the database, or ":memory:". */
void manager_world_open(const char *path, struct manager_db **ret_db,
			struct manager_inventory **ret_inv, struct manager_rulebook **ret_book);

/* Puts documents into force; request has all but author and summary. What manager_commit() returns;
 * fails the test when they can't be read. */
[[nodiscard]] int manager_world_commit(struct manager_commit_request *request, const char *text,
				       struct manager_commit_result *ret, struct bh_diag *diag);

/* VM number n of tenant `shop` with one NIC at 10.0.0.n on bridge/br0; its name are the last digits
 * of its UUID. Owned. */
json_t *manager_world_vm(unsigned int n, const char *state, const char *role);

/* A manager_notice_fn whose argument is the list that gets {"type", "severity", ...}. */
manager_notice_fn manager_world_note;
/* The only one of that type since the last call for it, which takes it away; NULL when none. */
json_t *manager_world_take_note(json_t *noticed, const char *type);

#endif
