/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exported audit log comes from anywhere. However it is cut into pieces the verdict is the same,
 * what is wrong has words and a line, and what is good has a signature. Trusted is what the file
 * names, else hardly any input would come past its first seal.
 */
#include "model/audit_verify.h"

#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int verify(const uint8_t *data, size_t size, size_t piece, struct bh_audit_report *report)
{
	struct bh_audit_verifier *v = bh_audit_verifier_new(NULL, 0);
	struct bh_diag diag = {};
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		r = bh_audit_verify_bytes(v, (const char *)data + at, n, &diag);
	}
	if (r == 0) {
		r = bh_audit_verify_end(v, report, &diag);
	}
	*report = *bh_audit_verify_report(v);
	if (r < 0 || (r > 0 && (!*diag.text || !report->wrong_line)) ||
	    (r == 0 && !*report->signer)) {
		abort();
	}
	bh_audit_verifier_free(v);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? 1 + data[size - 1] % 64u : 1;
	struct bh_audit_report whole = {}, parts = {};

	if (verify(data, size, size ? size : 1, &whole) != verify(data, size, piece, &parts) ||
	    whole.wrong_line != parts.wrong_line || whole.count != parts.count) {
		abort();
	}
	return 0;
}
