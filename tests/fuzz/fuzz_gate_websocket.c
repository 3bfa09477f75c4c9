/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket, after the upgrade. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_WEBSOCKET, IPPROTO_TCP, data, size);
}
