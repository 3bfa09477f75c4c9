/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the mark of a VM's memory into its libvirt metadata (docs/migration.md, "Rollback and
 * quarantine"): into the persistent XML, and into the live one when the VM runs. On a thread with a
 * connection of its own, because libvirt lets a change of metadata wait as long as another job of
 * that VM takes. In the order of the calls; one that fails is only counted and logged, and whoever
 * wants the mark sees in the next list that it is not there.
 */
#ifndef BH_HOST_PLATFORM_MARK_H
#define BH_HOST_PLATFORM_MARK_H

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

#define HOSTD_MARKS_MAX 4096 /* that wait; the rest is dropped, and asked for again */

struct hostd_marker;

/* uri must outlive it. */
[[nodiscard]] int hostd_marker_new(const char *uri, struct hostd_marker **ret,
				   struct bh_diag *diag);
/* Lets go of what waits. Never blocks longer than 2 s; NULL is fine. */
void hostd_marker_free(struct hostd_marker *marker);
void hostd_marker_put(struct hostd_marker *marker, const uint8_t uuid[16], uint64_t generation,
		      bool live);

#endif
