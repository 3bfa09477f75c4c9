/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What documents can't tell apart, for those who have millions of questions (eval.h): VMs of one
 * class, and addresses of one class, get the same answer to every question, at either end, from
 * each of the sets.
 *
 * A VM's class is its tenant, whether it is in quarantine, and what every selector that can speak
 * of VMs of its tenant says about it. An address's class is the narrowest prefix with it that any
 * rule names or excepts: whatever else has the one has the other. Classes may be finer than they
 * need be, never coarser. Pure; one thread. Borrows the compilers; identities may be added to the
 * universe meanwhile.
 */
#ifndef BH_POLICY_CLASSES_H
#define BH_POLICY_CLASSES_H

#include "policy/eval.h"

/* More selectors for VMs of one tenant, and each of its VMs is a class of its own. */
#define BH_POLICY_CLASS_SELECTORS_MAX 4096

struct bh_policy_classes;
/* All compilers share a universe. */
struct bh_policy_classes *bh_policy_classes_new(const struct bh_policy_compiler *const *compilers,
						size_t count);
void bh_policy_classes_free(struct bh_policy_classes *classes); /* NULL is fine */
/* Classes of VMs and of reserved identities are different numbers. 0: an unknown identity. */
uint32_t bh_policy_classes_identity(struct bh_policy_classes *classes, uint32_t identity);
/* Numbers of their own, from 0 on. */
uint32_t bh_policy_classes_address(const struct bh_policy_classes *classes, const uint8_t addr[16]);

#endif
