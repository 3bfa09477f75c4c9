/* SPDX-License-Identifier: Apache-2.0 */
/* Logins to PostgreSQL. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_PGSQL, IPPROTO_TCP, data, size);
}
