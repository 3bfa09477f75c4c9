/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which state of a VM's memory is the newest, and what happens to one that comes back older
 * (docs/migration.md, "Rollback and quarantine").
 *
 * Per VM: the newest generation that its host has told of, whether its last run ended by being
 * saved, and its quarantine. Hosts number while a VM runs, the manager gives the number of the next
 * run; so numbers only grow. A VM in quarantine has the class label `bulkhead/quarantine`, and with
 * it another identity, wherever it runs, until somebody or its time releases it. Entries outlive
 * the VM in the inventory: a saved VM that libvirt only knew while it ran is nobody's for a while.
 *
 * Part of the inventory, which makes and frees it. What concerns a quarantine is in the store
 * before it holds. Loop thread only; times are wall-clock nanoseconds.
 */
#ifndef BH_MANAGER_MIGRATE_ROLLBACK_H
#define BH_MANAGER_MIGRATE_ROLLBACK_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct manager_inventory;
struct manager_rollback;
struct manager_vm;
struct manager_host;

#define MANAGER_QUARANTINE_WHY_MAX 400

struct manager_quarantine {
	uint64_t since_ns;
	uint64_t until_ns; /* 0: until somebody releases it */
	char *why;
	json_t *by; /* [{...}]: clients of libvirt, {"api": who}; may be empty */
};

[[nodiscard]] int manager_rollback_new(struct manager_inventory *inv, struct bh_diag *diag);
void manager_rollback_free(struct manager_rollback *rb); /* NULL is fine */

/* Of this VM; NULL: it is in none. Borrowed. */
const struct manager_quarantine *manager_quarantine_of(const struct manager_inventory *inv,
						       const char *uuid);
json_t *manager_quarantine_json(const struct manager_quarantine *q); /* owned; NULL: null */

/* The VM starts on this host; state as in the request `birth`, NULL: an older host does not say.
 * Puts it in quarantine when that is what its policy wants. *ret_generation: of the run that
 * begins. */
[[nodiscard]] int manager_rollback_birth(struct manager_inventory *inv, struct manager_vm *vm,
					 const struct manager_host *host, const json_t *state,
					 uint64_t *ret_generation, struct bh_diag *diag);
/* Request `generations`: {uuid: {generation, next, saved, behind}}. True when the identity of a VM
 * has changed. */
bool manager_rollback_told(struct manager_inventory *inv, const struct manager_host *host,
			   const json_t *vms);

/* By somebody; who and why are copied, why may be "". Already so: fine, and *ret_changed is
 * false. */
[[nodiscard]] int manager_quarantine_begin(struct manager_inventory *inv, struct manager_vm *vm,
					   const char *who, const char *why, bool *ret_changed,
					   struct bh_diag *diag);
[[nodiscard]] int manager_quarantine_end(struct manager_inventory *inv, struct manager_vm *vm,
					 const char *who, const char *why, bool *ret_changed,
					 struct bh_diag *diag);
/* Ends those whose time is over; every few seconds. */
void manager_rollback_tick(struct manager_inventory *inv, uint64_t now_ns);

#endif
