/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps files that transactions carry: a gate_file_sink for all workers. */
#ifndef BH_GATE_OUTPUT_FILESTORE_H
#define BH_GATE_OUTPUT_FILESTORE_H

#include "base/diag.h"
#include "gate/app/file.h"

struct gate_config;
/* Makes file-store.dir. Free with gate_filestore_free, after all workers. */
[[nodiscard]] int gate_filestore_new(const struct gate_config *config, struct gate_file_sink **ret,
				     struct bh_diag *diag);
void gate_filestore_free(struct gate_file_sink *sink);
const char *gate_filestore_folder(const struct gate_file_sink *sink);
/* A rule may want a file after it has ended: once more before its record is written. */
void gate_filestore_look(struct gate_file_sink *sink, struct gate_file *file);

#endif
