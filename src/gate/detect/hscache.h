/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled databases in a folder, one file each, named by what they were compiled from. A file is
 * written beside and renamed; what does not fit its checksum is not used. Blocking, control plane.
 */
#ifndef BH_GATE_DETECT_HSCACHE_H
#define BH_GATE_DETECT_HSCACHE_H

#include <hs/hs.h>
#include <stdint.h>

#define GATE_HS_KEY_SIZE 32

/* 0; < 0: there is none that can be used. */
[[nodiscard]] int gate_hscache_load(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE],
				    hs_database_t **ret);
/* What can't be written is counted: the next start compiles again. */
void gate_hscache_store(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE],
			const hs_database_t *db);

#endif
