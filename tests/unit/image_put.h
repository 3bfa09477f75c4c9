/* SPDX-License-Identifier: Apache-2.0 */
/* What tests do with a segment that they have filled. */
#ifndef BH_TESTS_IMAGE_PUT_H
#define BH_TESTS_IMAGE_PUT_H

#include "model/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Seals it and puts it into image; takes it over. */
static inline void image_put(struct bh_image *image, struct bh_segment *seg)
{
	struct bh_diag diag = {};

	if (bh_segment_seal(seg, &diag)) {
		fail_msg("%s", diag.text);
	}
	bh_image_set(image, seg);
	bh_segment_unref(seg);
}

#endif
