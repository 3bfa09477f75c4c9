/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations (tests/unit/gate_feed.h) for the parser of TLS. */
#include "gate_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return gate_feed_fuzz(GATE_APP_TLS, data, size);
}
