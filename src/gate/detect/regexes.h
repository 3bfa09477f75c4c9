/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions by their text and options: rules and rule sets that have the same one share
 * its code (and its JIT code, which is most of it), also over reloads. Owned by count; locks
 * itself.
 */
#ifndef BH_GATE_DETECT_REGEXES_H
#define BH_GATE_DETECT_REGEXES_H

#include "gate/detect/inspect.h"

struct gate_regexes;
/* memcap: bytes of all; 0: no limit. */
struct gate_regexes *gate_regexes_new(uint64_t memcap);
/* When no entry is left. */
void gate_regexes_free(struct gate_regexes *all);

struct gate_regex_entry;
/* A reference of the caller's; NULL with the reason. *ret_created: it was not there. */
struct gate_regex_entry *gate_regexes_take(struct gate_regexes *all, const char *pattern,
					   uint32_t options, bool *ret_created,
					   struct bh_diag *diag);
void gate_regexes_release(struct gate_regexes *all, struct gate_regex_entry *entry);
struct gate_regex *gate_regex_of(const struct gate_regex_entry *entry);

#endif
