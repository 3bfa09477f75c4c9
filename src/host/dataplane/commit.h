/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit in work: what plan.c works out and install.c writes. Owned by install.c; nobody else
 * includes this.
 */
#ifndef HOSTD_DATAPLANE_COMMIT_H
#define HOSTD_DATAPLANE_COMMIT_H

#include "host/dataplane/internal.h"

struct nic_change {
	struct dp_nic *nic;
	int refs;
	bool sets_rec;
	bool has_rec;
	struct bh_rec_nic rec;
};

struct shadow_change {
	struct dp_host_addr *addr;
	bool shadows;
	struct bh_rec rec;
};

struct dp_commit {
	BH_VEC(struct dp_op) ops;
	BH_VEC(struct nic_change) nics;
	BH_VEC(struct shadow_change) shadows;
	struct dp_lists *lists; /* new ones, by set */
	BH_VEC(struct dp_lists *) old_lists;
	size_t set_ops_begin, set_ops_end;
	struct dp_sum sum;
	/* Where the work stands: changes planned, lists written, ops written (for taking back
	 * too) and read back. */
	struct dp_changes changes;
	size_t planned;
	bool checked;
	struct dp_lists *list_next;
	bool lists_begun;
	size_t written, read_back;
	struct hostd_dp_report report;
	uint64_t begin_ns;
	size_t settled; /* ops and old lists settled, for going on after an error */
	size_t settled_lists;
	bool waited;
	bool deleted;
};

bool dp_op_learned(const struct dp_op *op); /* an address that the kernel learned stands there */

/* Sorts the changes; HOSTD_DP_FULL when the NICs alone don't fit. */
[[nodiscard]] int dp_plan_begin(struct hostd_dp *dp, struct dp_commit *c, struct bh_diag *diag);
/* Plans some changes more, at most *budget, which shrinks. HOSTD_DP_MORE; 0 all are planned and
 * fit; HOSTD_DP_FULL, HOSTD_DP_INVALID, < 0. Writes nothing but fresh, closed NIC entries. */
[[nodiscard]] int dp_plan_step(struct hostd_dp *dp, struct dp_commit *c, size_t *budget,
			       struct bh_diag *diag);

#endif
