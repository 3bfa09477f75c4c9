/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read with a limit, replace atomically, make folders. Blocking; not for the data
 * path. */
#ifndef BH_BASE_FILE_H
#define BH_BASE_FILE_H

#include "base/diag.h"

#include <stddef.h>
#include <sys/types.h>

/* Reads at most limit bytes; a NUL stands behind them. Owned by the caller. "-" is standard input.
 */
[[nodiscard]] int bh_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size,
			       struct bh_diag *diag);

/* Writes beside the target, syncs, renames over it and syncs the folder: old or new, never half. */
[[nodiscard]] int bh_file_replace(const char *path, const void *data, size_t size, mode_t mode,
				  struct bh_diag *diag);

/* Renames, replacing what is there, and syncs the folder of `to`. */
[[nodiscard]] int bh_file_move(const char *from, const char *to, struct bh_diag *diag);

/* As `mkdir -p`; mode is for what it creates. */
[[nodiscard]] int bh_mkdirs(const char *path, mode_t mode, struct bh_diag *diag);

#endif
