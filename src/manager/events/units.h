/* SPDX-License-Identifier: Apache-2.0 */
/* Units of the index (terms.h) in events.db: tables `units` and `terms`, where a chunk has the id
 * of its unit and its own number. Connections belong to their threads. */
#ifndef BH_MANAGER_EVENTS_UNITS_H
#define BH_MANAGER_EVENTS_UNITS_H

#include "manager/events/terms.h"
#include "manager/store/db.h"

struct manager_unit {
	uint64_t first, last; /* ids of events */
	unsigned int bits;    /* MANAGER_UNIT_BITS_*; 0: there is no such unit */
};

/* ---- the writer, in a transaction ---- */
/* Encodes terms, whose rows count from unit->first on. *bytes grows by what it takes on disk. */
[[nodiscard]] int manager_units_add(struct manager_db *db, const struct manager_unit *unit,
				    struct manager_terms *terms, uint64_t *bytes,
				    struct bh_diag *diag);
/* All small ones become one; *bytes changes by the difference. */
[[nodiscard]] int manager_units_merge(struct manager_db *db, uint64_t *bytes, struct bh_diag *diag);
/* Those that end at or before `last` are gone. */
[[nodiscard]] int manager_units_drop(struct manager_db *db, uint64_t last, uint64_t *bytes,
				     struct bh_diag *diag);

/* ---- readers, in a transaction ---- */
/* The unit that this event is in. */
[[nodiscard]] int manager_units_of(struct manager_db *db, uint64_t id, struct manager_unit *ret,
				   struct bh_diag *diag);
/* Its rows that have all of these terms, and those that must be looked at in any case; `hash` is
 * room for what is in between. Of what can't be read every row may have it. */
[[nodiscard]] int manager_units_find(struct manager_db *db, const struct manager_unit *unit,
				     const struct manager_filter_terms *want,
				     struct manager_rowset *ret, struct bh_diag *diag);

#endif
