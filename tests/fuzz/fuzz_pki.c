/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate requests and certificates, as hosts send them and as they lie on disk: whatever comes
 * is refused or gives the name that was meant, and never a wrong one. */
#include "bus/pki.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_pki_info info;
	struct bh_diag diag = {};
	char name[64];
	int r = bh_pki_csr_name((const char *)data, size, name, sizeof(name), &diag);

	if (r ? !*diag.text : !memchr(name, '\0', sizeof(name))) {
		abort();
	}
	if (!bh_pki_info_pem((const char *)data, size, &info, NULL)) {
		(void)bh_pki_due(&info, 1800000000);
		if (strlen(info.fingerprint) != BH_PKI_FINGERPRINT_SIZE - 1 ||
		    !memchr(info.name, '\0', sizeof(info.name))) {
			abort();
		}
	}
	return 0;
}
