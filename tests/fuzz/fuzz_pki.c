/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate requests and certificates, as hosts send them and as they lie on disk: whatever comes
 * is refused or gives the name that was meant, and never a wrong one. A certificate comes with
 * capsules too; here it stands for its own CA, so that what signs itself gets as far as it can. */
#include "bus/pki.h"
#include "bus/pki_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_signer(const uint8_t *data, size_t size)
{
	struct bh_pki_verifier *verifier = NULL;
	struct bh_diag diag = {};
	char path[64];
	int fd = memfd_create("ca", MFD_CLOEXEC);
	int r;

	if (fd < 0 || write(fd, data, size) < 0) {
		abort();
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = bh_pki_verifier_open(path, (const char *)data, size, "host.h1", &verifier, &diag);
	if (r ? !*diag.text : !bh_pki_verify(verifier, data, size, data, size, NULL)) {
		abort();
	}
	bh_pki_verifier_free(verifier);
	close(fd);
}

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
	check_signer(data, size);
	return 0;
}
