/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of events as a damaged disk could have them: unpacked, and what is unpacked. */
#include "base/util.h"
#include "manager/events/terms.h"
#include "manager/events/view.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct bh_wbuf *payload)
{
	static const struct manager_scope scope = {.tenants = {1, 2}, .count = 2};
	BH_FREE struct manager_row *rows = bh_alloc_array(MANAGER_FRAME_ROWS, sizeof(*rows));
	int count = manager_frame_rows(payload, rows);
	struct bh_wbuf view;

	bh_wbuf_init(&view, 0);
	for (int i = 0; i < count; i++) {
		(void)manager_event_view(&scope, &rows[i], &view);
	}
	bh_wbuf_done(&view);
}

/* The same bytes as a part of the index. */
static void look_at_terms(const uint8_t *data, size_t size)
{
	BH_FREE struct manager_rowset *rows = bh_alloc(sizeof(*rows));
	struct manager_terms terms = {};

	if (manager_terms_decode(data, size, 4096, &terms) == 0) {
		for (size_t i = 0; i < terms.count; i++) {
			if ((uint32_t)terms.items[i] >= MANAGER_UNIT_ROWS_MAX) {
				abort();
			}
		}
	}
	for (uint32_t hash = 0; hash < 4; hash++) {
		(void)!manager_terms_find(data, size, hash << 30, rows);
	}
	manager_terms_done(&terms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_wbuf payload = {};
	ZSTD_DCtx *zstd = ZSTD_createDCtx();

	if (manager_frame_unpack(zstd, data, size, &payload, NULL) == 0) {
		look(&payload);
	}
	bh_wbuf_done(&payload);
	payload.data = bh_memdup(data, size ? size : 1);
	payload.size = size;
	look(&payload);
	free(payload.data);
	look_at_terms(data, size);
	ZSTD_freeDCtx(zstd);
	return 0;
}
