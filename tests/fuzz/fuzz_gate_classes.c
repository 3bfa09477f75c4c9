/* SPDX-License-Identifier: Apache-2.0 */
/* classification.config, reference.config and the categories of iprep (first byte: which), read
 * with a rule that uses them. */
#include "fuzz_file.h"
#include "gate/config.h"
#include "gate/rules/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules[] = "alert ip any any -> any any (msg:\"a\"; classtype:c; sid:1;)\n"
			    "alert ip any any -> any any (msg:\"b\"; reference:r,x; sid:2;)\n"
			    "alert ip any any -> any any (msg:\"c\"; iprep:src,n,>,3; sid:3;)\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_config config = {};
	struct gate_names *names = gate_names_new();
	struct gate_rule_files *files = gate_rules_new();
	struct fuzz_file file = fuzz_file_new(data + (size != 0), size - (size != 0));
	char **const which[] = {&config.classification_file, &config.reference_file,
				&config.reputation_categories};
	const struct gate_view text = {(const uint8_t *)rules, sizeof(rules) - 1};
	struct bh_diag diag = {};

	*which[size ? data[0] % BH_ARRAY_SIZE(which) : 0] = file.path;
	if (gate_rules_read_text(files, &config, names, "fuzz.rules", text, &diag)) {
		if (!diag.text[0] || !diag.line) {
			abort();
		}
	} else if (files->rules.count + files->refusals.count != 3) {
		abort();
	}
	fuzz_file_done(&file);
	gate_rules_free(files);
	gate_names_free(names);
	return 0;
}
