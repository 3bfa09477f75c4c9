/* SPDX-License-Identifier: Apache-2.0 */
/* threshold.config over some rules: it is taken or refused with its place, and what a rule gets is
 * something that detection can hold. */
#include "fuzz_file.h"
#include "gate/config.h"
#include "gate/rules/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules[] =
	"alert tcp any any -> any any (msg:\"a\"; sid:1;)\n"
	"alert tcp any any -> any any (msg:\"b\"; "
	"threshold:type limit,track by_src,count 5,seconds 60; sid:2;)\n"
	"alert tcp any any -> any any (msg:\"c\"; detection_filter:track by_dst,count 1,seconds 1; "
	"sid:3; gid:7;)\n";

static bool can_be_held(const struct gate_threshold *t)
{
	if (t->type == GATE_TH_SUPPRESS) {
		return (t->track == GATE_TRACK_NONE) == (t->addrs == NULL);
	}
	return t->type != GATE_TH_NONE && t->track != GATE_TRACK_NONE && t->count &&
	       (t->seconds || t->type == GATE_TH_BACKOFF) &&
	       (t->new_action || t->type != GATE_TH_RATE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_config config = {};
	struct gate_names *names = gate_names_new();
	struct gate_rule_files *files = gate_rules_new();
	struct fuzz_file file = fuzz_file_new(data, size);
	const struct gate_view text = {(const uint8_t *)rules, sizeof(rules) - 1};
	struct bh_diag diag = {};

	if (gate_rules_read_text(files, &config, names, "fuzz.rules", text, &diag) ||
	    files->rules.count != 3) {
		abort();
	}
	if (gate_rules_read_thresholds(files, file.path, &diag) && (!diag.text[0] || !diag.line)) {
		abort();
	}
	bh_vec_foreach (limit, &files->limits) {
		if (!can_be_held(&limit->t)) {
			abort();
		}
	}
	fuzz_file_done(&file);
	gate_rules_free(files);
	gate_names_free(names);
	return 0;
}
