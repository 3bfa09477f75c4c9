/* SPDX-License-Identifier: Apache-2.0 */
/* SMB of all versions, and the DCERPC in its pipes. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_SMB, IPPROTO_TCP, data, size);
}
