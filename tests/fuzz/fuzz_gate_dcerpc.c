/* SPDX-License-Identifier: Apache-2.0 */
/* DCERPC over TCP, and over UDP when the first byte is odd. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t transport = size && (data[0] & 1) ? IPPROTO_UDP : IPPROTO_TCP;
	return size ? conversation(GATE_APP_DCERPC, transport, data + 1, size - 1) : 0;
}
