/* SPDX-License-Identifier: Apache-2.0 */
/* Policy text comes from people and over the API: what parses must print, parse again and print the
 * same. */
#include "base/util.h"
#include "policy/compile.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMPILE_MAX 20000 /* bytes of text: the fuzzer needs many runs, not big ones */

static void compile(const struct bh_policy_set *set)
{
	struct bh_policy_compile_options options = {.max_rows = 10000, .max_ranges = 10000};
	struct bh_policy_universe *universe = bh_policy_universe_new();
	struct bh_policy_label label = {.key = "role", .value = "web"};
	struct bh_policy_label inside = {.key = BH_POLICY_QUARANTINE, .value = "1"};
	struct bh_policy_compiler *compiler;

	if (bh_policy_universe_add_tenant(universe, "shop", 2, NULL) ||
	    bh_policy_universe_add_identity(universe, 256, 2, &label, 1, NULL) ||
	    bh_policy_universe_add_identity(universe, 257, 2, NULL, 0, NULL) ||
	    bh_policy_universe_add_identity(universe, 258, 2, &inside, 1, NULL)) {
		abort();
	}
	compiler = bh_policy_compiler_new(set, universe, &options);
	for (int i = 0; i < 6; i++) {
		struct bh_segment *seg = NULL;

		if (!bh_policy_compile(compiler, 256 + (uint32_t)(i / 2),
				       (enum bh_policy_dir)(i % 2), &seg, NULL)) {
			bh_segment_unref(seg);
		}
	}
	bh_policy_compiler_free(compiler);
	bh_policy_universe_free(universe);
}

/* What decides where a VM may run and how it moves. */
static void ask(const struct bh_policy_set *set)
{
	struct bh_policy_label label = {.key = "zone", .value = "pci"};
	struct bh_policy_subject vm = {.tenant = "shop", .labels = &label, .label_count = 1};
	const struct bh_policy *policy;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	if (!bh_policy_placement_ok(set, &vm, &label, 1, &policy)) {
		bh_policy_placement_describe(policy, &w);
		assert(w.size);
		bh_policy_placement_compare(policy, &label, 1, &w);
	}
	bh_wbuf_done(&w);
	assert(!bh_policy_without_manager(set, &vm, &policy) || policy);
	if (bh_policy_rollback_of(set, &vm).release_after_s) {
		assert(bh_policy_rollback_of(set, &vm).quarantine);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_policy_parse_options options = {.file = "fuzz", .default_tenant = "shop"};
	struct bh_policy_set *set;
	struct bh_policy_set *again;
	struct bh_wbuf a;
	struct bh_wbuf b;
	struct bh_diag diag;

	if (bh_policy_parse((const char *)data, size, &options, &set, &diag)) {
		assert(*diag.text);
		return 0;
	}
	bh_wbuf_init(&a, 0);
	bh_wbuf_init(&b, 0);
	bh_policy_set_print(set, &a);
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		json_decref(bh_policy_to_json(bh_policy_set_at(set, i)));
	}
	ask(set);
	if (bh_policy_parse((const char *)a.data, a.size, &options, &again, &diag)) {
		abort();
	}
	bh_policy_set_print(again, &b);
	assert(!strcmp(bh_wbuf_cstr(&a), bh_wbuf_cstr(&b)));
	if (size < COMPILE_MAX) {
		compile(set);
	}
	bh_policy_set_free(set);
	bh_policy_set_free(again);
	bh_wbuf_done(&a);
	bh_wbuf_done(&b);
	return 0;
}
