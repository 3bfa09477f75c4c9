/* SPDX-License-Identifier: Apache-2.0 */
/* pcapng blocks behind a section that is sound: settings (byte order, 1 byte), then the blocks. */
#include "gate/capture/capture.h"

#include "base/util.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t sections[2][28] = {
	{0x0a, 0x0d, 0x0d, 0x0a, 28,   0,    0,	   0,	 0x4d, 0x3c, 0x2b, 0x1a, 1, 0,
	 0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28,   0,	 0, 0},
	{0x0a, 0x0d, 0x0d, 0x0a, 0,    0,    0,	   28,	 0x1a, 0x2b, 0x3c, 0x4d, 0, 1,
	 0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,	   0,	 0, 28},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_FREE uint8_t *all = bh_alloc(sizeof(sections[0]) + size);
	struct gate_source *source;
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t sum = 0;
	int result;

	if (!size) {
		return 0;
	}
	memcpy(all, sections[data[0] & 1], sizeof(sections[0]));
	memcpy(all + sizeof(sections[0]), data + 1, size - 1);
	if (gate_source_memory("capture", all, sizeof(sections[0]) + size - 1, &source, &diag)) {
		abort();
	}
	while ((result = source->ops->next(source, &p, 0, &diag)) > 0) {
		if (p.size > size || p.wire_size < p.size) {
			abort();
		}
		for (uint32_t i = 0; i < p.size; i++) {
			sum += p.data[i];
		}
	}
	if (result != -ENODATA && !diag.text[0]) {
		abort();
	}
	source->ops->free(source);
	return sum == UINT64_MAX;
}
