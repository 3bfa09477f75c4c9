/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datasets: named sets of values that rules test, fill and load from files; they belong to
 * gate_shared, outlive rule sets and are shared by workers (sharded locks). Bounded by their
 * memcap: past it a value is not added, counted. One with `load` and without `state` is read again
 * when rules are, if its file has changed.
 */
#ifndef BH_GATE_DETECT_DATASET_H
#define BH_GATE_DETECT_DATASET_H

#include "gate/detect/detect.h"

struct gate_dataset_ref;
struct gate_datasets;
struct gate_datasets *gate_datasets_new(const struct gate_config *config);
void gate_datasets_free(struct gate_datasets *datasets);
[[nodiscard]] int gate_datasets_save(struct gate_datasets *datasets, struct bh_diag *diag);

/* The set by its name, made and loaded when it is new. The reference lives as long as shared. */
[[nodiscard]] int gate_dataset_open(struct gate_shared *shared, const struct gate_config *config,
				    const struct gate_dataset *how, struct gate_dataset_ref **ret,
				    struct bh_diag *diag);
/* Is the value in it, or is it put there? Holds as the rule says. */
bool gate_dataset_match(struct gate_dataset_ref *ref, const uint8_t *data, uint32_t size);

#endif
