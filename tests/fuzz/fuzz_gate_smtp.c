/* SPDX-License-Identifier: Apache-2.0 */
/* SMTP and the mail in it. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return conversation(GATE_APP_SMTP, IPPROTO_TCP, data, size);
}
