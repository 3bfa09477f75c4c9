/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2, behind the preface of the client: see gate_talk.h. */
#include "gate_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return gate_talk(data, size, 8443, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}
