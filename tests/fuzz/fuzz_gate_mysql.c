/* SPDX-License-Identifier: Apache-2.0 */
/* Logins to MySQL. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_MYSQL, IPPROTO_TCP, data, size);
}
