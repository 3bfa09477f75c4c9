/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of rights (rights.def) and the built-in roles (roles.def). A set of rights is one
 * uint64_t with MANAGER_RIGHT(verb) per verb; texts are what is stored, shown and sent, so that the
 * table may grow anywhere. Pure.
 */
#ifndef BH_MANAGER_AUTH_RIGHTS_H
#define BH_MANAGER_AUTH_RIGHTS_H

#include "base/buf.h"
#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum manager_verb {
	VERB_NONE,
#define RIGHT(name, text, flags, words) VERB_##name,
#include "manager/auth/rights.def"
#undef RIGHT
	VERB_COUNT,
};
_Static_assert(VERB_COUNT <= 64, "a set of rights is one word");

#define MANAGER_RIGHT(verb)    (1ull << (verb))
#define MANAGER_RIGHT_NAME_MAX 20

enum manager_right_flags {
	MANAGER_RIGHT_READS = 1,
	MANAGER_RIGHT_FACTOR = 2,
	MANAGER_RIGHT_DANGEROUS = 4 | MANAGER_RIGHT_FACTOR,
};

const char *manager_right_name(enum manager_verb verb);	 /* "vm.read"; "" for VERB_NONE */
json_t *manager_right_names_json(uint64_t mask);	 /* their names; owned */
const char *manager_right_words(enum manager_verb verb); /* what it lets one do */
unsigned int manager_right_flags(enum manager_verb verb);
/* VERB_NONE when there is none of that name. */
enum manager_verb manager_right_find(const char *name);
/* All rights that have each of these flags. */
uint64_t manager_rights_with(unsigned int flags);
/* "vm.read vm.labels", in the order of the table. */
void manager_rights_format(uint64_t rights, struct bh_wbuf *w);
/* Names with spaces or commas between. -EINVAL with words for one that is none; names that a newer
 * version knew are left out when `lenient`. */
[[nodiscard]] int manager_rights_parse(const char *text, bool lenient, uint64_t *ret,
				       struct bh_diag *diag);

struct manager_role {
	const char *name;
	uint64_t provider, tenant; /* what it gives at the provider, at a tenant */
	const char *words;
};
extern const struct manager_role manager_roles[];
extern const size_t manager_role_count;
const struct manager_role *manager_role_find(const char *name); /* NULL */
/* May it be given only by role.appoint: roles with rights at the provider, and tenant-admin. */
bool manager_role_appointed(const struct manager_role *role);

#endif
