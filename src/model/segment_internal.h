/* SPDX-License-Identifier: Apache-2.0 */
/* What image.c and delta.c share; nobody else includes this. */
#ifndef BH_MODEL_SEGMENT_INTERNAL_H
#define BH_MODEL_SEGMENT_INTERNAL_H

#include "base/util.h"
#include "model/image.h"

struct bh_segment {
	char name[BH_SEGMENT_NAME_MAX];
	unsigned int refs;
	bool sealed;
	BH_VEC(struct bh_rec) recs;
	size_t counts[BH_REC_TYPE_MAX + 1];
	struct bh_hash hash;
};

int bh_rec_key_compare(const struct bh_rec *a, const struct bh_rec *b);
/* The key alone, as a delta names what it deletes. Sets r->err. */
void bh_rec_read_key(struct bh_rbuf *r, struct bh_rec *ret_rec);
bool bh_rec_valid(const struct bh_rec *rec);

#endif
