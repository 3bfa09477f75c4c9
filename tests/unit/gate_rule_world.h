/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and names for tests that read rules, and a text as one file of them. */
#ifndef TESTS_GATE_RULE_WORLD_H
#define TESTS_GATE_RULE_WORLD_H

#include "base/util.h"
#include "gate/config.h"
#include "gate/rules/read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct world {
	struct gate_config config;
	struct gate_names *names;
};

static inline int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct bh_diag diag;

	assert_int_equal(gate_config_load(NULL, &w->config, &diag), 0);
	w->names = gate_names_new();
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	gate_names_free(w->names);
	gate_config_done(&w->config);
	free(w);
	return 0;
}

/* Free with gate_rules_free(). */
static inline struct gate_rule_files *read_text(struct world *w, const char *text)
{
	struct gate_rule_files *files = gate_rules_new();
	struct bh_diag diag;

	assert_int_equal(gate_rules_read_text(
				 files, &w->config, w->names, "t.rules",
				 (struct gate_view){(const uint8_t *)text, (uint32_t)strlen(text)},
				 &diag),
			 0);
	return files;
}

#endif
