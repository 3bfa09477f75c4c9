/* SPDX-License-Identifier: Apache-2.0 */
/* Grants come from the manager's key and, shown by another host, from whoever got hold of it: what
 * is taken can be asked everything. */
#include "model/grant.h"

#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vm[] = "11111111-2222-4333-8444-555555555555";
	struct bh_grant *grant = NULL;
	uint8_t digest[BH_GRANT_DIGEST_SIZE];
	struct bh_diag diag = {};
	const char *name;

	if (bh_grant_read((const char *)data, size, &grant, &diag) < 0) {
		return *diag.text ? 0 : (abort(), 0);
	}
	for (size_t i = 0; (name = bh_grant_segment(grant, vm, i, digest)); i++) {
		if (strlen(name) >= BH_SEGMENT_NAME_MAX) {
			abort();
		}
	}
	for (size_t i = 0; (name = bh_grant_source(grant, i)); i++) {
		if (!*name) {
			abort();
		}
	}
	if (bh_grant_allows(grant, vm, "h2") && !bh_grant_has_vm(grant, vm)) {
		abort();
	}
	if (!bh_grant_check(grant, "h1", 1700000000, bh_grant_hash(grant), &diag) &&
	    bh_grant_until_s(grant) < 1700000000) {
		abort();
	}
	bh_grant_free(grant);
	return 0;
}
