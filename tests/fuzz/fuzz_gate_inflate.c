/* SPDX-License-Identifier: Apache-2.0 */
/* Raw deflate in pieces, held against zlib: the first byte says how long pieces are and how much
 * room there is. What zlib takes must come out alike. */
#include "../unit/gate_inflate_twins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t rooms[] = {8192, 1, 100, 65536};

	if (size < 2) {
		return 0;
	}
	if (twins_differ(data + 1, size - 1, (data[0] & 63) * 23u + 1, rooms[data[0] >> 6])) {
		abort();
	}
	return 0;
}
