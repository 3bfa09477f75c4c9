/* SPDX-License-Identifier: Apache-2.0 */
/* What a proxy says of its client, in either header (the first byte says which). Whatever it is,
 * the answer is an address, and of a peer that is not trusted the peer. */
#include "manager/api/proxy.h"

#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manager_proxies proxies = {.forwarded = size && (data[0] & 1)};
	char client[BH_ADDR_TEXT_SIZE];
	BH_FREE char *text = NULL;
	uint8_t addr[16];

	if (size < 1) {
		return 0;
	}
	text = bh_alloc(size);
	memcpy(text, data + 1, size - 1);
	check(manager_proxies_add(&proxies, "10.0.0.0/8", NULL) == 0);
	(void)manager_proxies_client(&proxies, "10.0.0.1", text, client);
	check(bh_addr_parse(client, addr) == 0);
	check(manager_proxies_client(&proxies, "192.0.2.1", text, client));
	check(strcmp(client, "192.0.2.1") == 0);
	return 0;
}
