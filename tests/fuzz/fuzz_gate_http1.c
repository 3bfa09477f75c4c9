/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 (or whatever the first bytes look like): see gate_talk.h. */
#include "gate_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return gate_talk(data, size, 80, NULL);
}
