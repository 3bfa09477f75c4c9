/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas come from the bus and from disk: decode, apply to the empty image, encode again. */
#include "base/util.h"
#include "model/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_image *empty, *image;
	struct bh_delta *delta;
	struct bh_wbuf w;

	if (bh_delta_decode(data, size, &delta, NULL)) {
		return 0;
	}
	bh_wbuf_init(&w, 0);
	bh_delta_encode(delta, &w);
	bh_wbuf_done(&w);
	empty = bh_image_new();
	if (!bh_delta_apply(delta, empty, &image, NULL)) {
		bh_image_free(image);
	}
	bh_image_free(empty);
	bh_delta_free(delta);
	return 0;
}
