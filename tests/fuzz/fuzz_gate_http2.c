/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2, behind the preface of the client. */
#include "gate_conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct conversation_how how = {
		.ip_proto = IPPROTO_TCP, .port = 8443, .first = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};

	return conversation_run(&how, data, size);
}
