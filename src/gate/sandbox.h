/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights are given up once everything that needs them is open and before the first foreign byte is
 * read: another user, no capabilities but those of capture, no new privileges, Landlock (writes
 * only below given folders), seccomp (calls that the program makes; programs can't be started).
 * Threads that begin later inherit all of it; no other thread may run yet.
 */
#ifndef BH_GATE_SANDBOX_H
#define BH_GATE_SANDBOX_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>

struct gate_sandbox {
	const char *user;	    /* NULL: who we are; root becomes nobody */
	bool capture;		    /* CAP_NET_RAW and CAP_NET_ADMIN stay */
	const char *const *folders; /* that may be written below; NULL entries are left out */
	size_t folder_count;
};
/* 0 or < 0 with diag. What the kernel does not have (Landlock before 5.13) is logged. */
[[nodiscard]] int gate_sandbox_enter(const struct gate_sandbox *sandbox, struct bh_diag *diag);

/* What we have made, for who we are going to be; nothing when we stay who we are. */
[[nodiscard]] int gate_sandbox_give(const char *user, const char *path, struct bh_diag *diag);

#endif
