/* SPDX-License-Identifier: Apache-2.0 */
/* Captures, pcap or pcapng, whatever they say of themselves. */
#include "gate/capture/capture.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_source *source;
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t sum = 0, number = 0;
	int result;

	if (gate_source_memory("capture", data, size, &source, &diag)) {
		return diag.text[0] ? 0 : (abort(), 0);
	}
	while ((result = source->ops->next(source, &p, 0, &diag)) > 0) {
		if (p.size > size || p.wire_size < p.size || p.number != ++number) {
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
