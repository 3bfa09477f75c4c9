/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled databases in a folder, one file each, named by what they were compiled from (patterns,
 * Hyperscan's version and platform: mpm.c), so one of another version has another name. A file is
 * written beside and renamed. Not used, counted and written anew: what does not fit its name, size
 * or checksum, is a link, belongs to another user than root and us, or may be written by group or
 * others. Blocking, control plane.
 */
#ifndef BH_GATE_DETECT_HSCACHE_H
#define BH_GATE_DETECT_HSCACHE_H

#include <hs/hs.h>
#include <stdint.h>

#define GATE_HS_KEY_SIZE 32

/* 0; < 0: there is none that can be used (-EPERM: it may be forged). */
[[nodiscard]] int gate_hscache_load(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE],
				    hs_database_t **ret);
/* What can't be written is counted: the next start compiles again. */
void gate_hscache_store(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE],
			const hs_database_t *db);

#endif
