/* SPDX-License-Identifier: Apache-2.0 */
/* FTP: commands and replies. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_FTP, IPPROTO_TCP, data, size);
}
