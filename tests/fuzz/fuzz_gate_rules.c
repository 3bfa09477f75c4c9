/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of rules: whatever the text, it ends, and each line is a rule, a refusal with its
 * place, or nothing. A rule that is read comes back from its normal spelling.
 */
#include "base/buf.h"
#include "gate/config.h"
#include "gate/rules/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the normal spelling does not say: hashes of files, categories; names with odd letters. */
static bool comes_back(const struct gate_rule *rule)
{
	bh_vec_foreach (m, &rule->tx) {
		if (m->kind == GATE_M_FILE && m->file.what != GATE_FM_SIZE) {
			return false;
		}
	}
	/* variables are numbered in the order of the text, and written in the order of the lists */
	return rule->var_count == 0;
}

static void check_rule(const struct gate_config *config, struct gate_names *names,
		       const struct gate_rule *rule)
{
	struct gate_rule_files *again = gate_rules_new();
	struct bh_diag diag;
	struct bh_wbuf text, second;

	bh_wbuf_init(&text, 0);
	bh_wbuf_init(&second, 0);
	gate_rule_format(rule, names, &text);
	if (gate_rules_read_text(again, config, names, "again",
				 (struct gate_view){text.data, (uint32_t)text.size}, &diag)) {
		abort();
	}
	if (comes_back(rule)) {
		if (again->rules.count != 1) {
			fprintf(stderr, "%s\n%s\n", rule->text, bh_wbuf_cstr(&text));
			abort();
		}
		gate_rule_format(again->rules.items[0], names, &second);
		if (strcmp(bh_wbuf_cstr(&text), bh_wbuf_cstr(&second)) != 0) {
			fprintf(stderr, "%s\n%s\n", bh_wbuf_cstr(&text), bh_wbuf_cstr(&second));
			abort();
		}
	}
	bh_wbuf_done(&text);
	bh_wbuf_done(&second);
	gate_rules_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_config config = {};
	struct gate_names *names = gate_names_new();
	struct gate_rule_files *files = gate_rules_new();
	struct bh_diag diag;

	if (gate_rules_read_text(files, &config, names, "fuzz.rules",
				 (struct gate_view){data, (uint32_t)size}, &diag)) {
		abort();
	}
	bh_vec_foreach (refusal, &files->refusals) {
		if (!refusal->line || !refusal->column || !*refusal->reason) {
			abort();
		}
	}
	bh_vec_foreach (rule, &files->rules) {
		check_rule(&config, names, *rule);
	}
	gate_rules_free(files);
	gate_names_free(names);
	return 0;
}
