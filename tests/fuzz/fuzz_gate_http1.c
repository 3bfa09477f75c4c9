/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1, or whatever the first bytes look like. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct conversation_how how = {.ip_proto = IPPROTO_TCP, .port = 80};

	return conversation_run(&how, data, size);
}
