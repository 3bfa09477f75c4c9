/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions: pcre2 with JIT, on a stack of the worker's own, with limits on matches,
 * depth (pcre.match-limit, pcre.match-limit-recursion) and memory: a pattern that runs into one
 * holds in neither way, counted. It took long, so it counts for many steps of its list: else a list
 * that tries it at each place of a content takes a second for a body of 60 kB.
 */
#include "gate/detect/inspect.h"

#include "base/counter.h"
#include "gate/config.h"

#include <errno.h>

#define JIT_STACK_MIN (32u << 10)
#define JIT_STACK_MAX (512u << 10)
#define HEAP_MAX_KB   (16u << 10) /* of a match without JIT */
#define GROUPS_MAX    32
#define LIMIT_STEPS   100

BH_COUNTER(gate_pcre_limit, "regular expressions that ran into pcre.match-limit: no match");
BH_COUNTER(gate_pcre_no_jit, "regular expressions of rules that run without JIT");

struct gate_regex {
	pcre2_code *code;
	bool jit;
};

void gate_inspect_init(struct gate_inspect *in, const struct gate_config *config)
{
	memset(in, 0, sizeof(*in));
	in->match_data = pcre2_match_data_create(GROUPS_MAX, NULL);
	in->match_context = pcre2_match_context_create(NULL);
	in->jit_stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
	if (!in->match_data || !in->match_context || !in->jit_stack) {
		abort();
	}
	pcre2_jit_stack_assign(in->match_context, NULL, in->jit_stack);
	pcre2_set_heap_limit(in->match_context, HEAP_MAX_KB);
	if (config->pcre_match_limit) {
		pcre2_set_match_limit(in->match_context, (uint32_t)config->pcre_match_limit);
	}
	if (config->pcre_depth_limit) {
		pcre2_set_depth_limit(in->match_context, (uint32_t)config->pcre_depth_limit);
	}
}

void gate_inspect_done(struct gate_inspect *in)
{
	pcre2_match_data_free(in->match_data);
	pcre2_match_context_free(in->match_context);
	pcre2_jit_stack_free(in->jit_stack);
	memset(in, 0, sizeof(*in));
}

struct gate_regex *gate_regex_new(const char *pattern, uint32_t options, struct bh_diag *diag)
{
	struct gate_regex *regex;
	PCRE2_UCHAR text[128];
	PCRE2_SIZE at;
	pcre2_code *code;
	int err;

	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &err, &at, NULL);
	if (!code) {
		pcre2_get_error_message(err, text, sizeof(text));
		bh_diag_put(diag, NULL, 0, 0, "pcre: %s at %zu", (const char *)text, (size_t)at);
		return NULL;
	}
	regex = bh_alloc(sizeof(*regex));
	regex->code = code;
	regex->jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
	if (!regex->jit) {
		bh_counter_add(&gate_pcre_no_jit, 1);
	}
	return regex;
}

void gate_regex_free(struct gate_regex *regex)
{
	if (regex) {
		pcre2_code_free(regex->code);
		free(regex);
	}
}

size_t gate_regex_bytes(const struct gate_regex *regex)
{
	size_t size = 0, jit = 0;

	pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &size);
	pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &jit);
	return size + jit;
}

bool gate_regex_match(struct gate_inspect *in, struct gate_regex *regex, const uint8_t *data,
		      uint32_t size, uint32_t from)
{
	int r;

	in->regex_failed = false;
	if (from > size) {
		return false;
	}
	r = pcre2_match(regex->code, data, size, from, 0, in->match_data, in->match_context);
	if (r < 0 && r != PCRE2_ERROR_NOMATCH) {
		bh_counter_add(&gate_pcre_limit, 1);
		in->regex_failed = true;
		in->steps += LIMIT_STEPS;
	}
	return r >= 0;
}

bool gate_regex_group(const struct gate_inspect *in, uint32_t group, uint32_t *ret_start,
		      uint32_t *ret_end)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(in->match_data);

	if (group >= pcre2_get_ovector_count(in->match_data) || at[2 * group] == PCRE2_UNSET ||
	    at[2 * group + 1] < at[2 * group]) {
		return false;
	}
	*ret_start = (uint32_t)at[2 * group];
	*ret_end = (uint32_t)at[2 * group + 1];
	return true;
}

static void keep_groups(struct gate_inspect *in, const struct gate_pcre *pcre, const uint8_t *data)
{
	uint32_t start, end;

	for (uint32_t i = 0; i < pcre->captures.count; i++) {
		const struct gate_pcre_capture *what = &pcre->captures.items[i];

		if (what->name && gate_regex_group(in, i + 1, &start, &end)) {
			gate_captures_put(&in->taken, pcre, what, data + start, end - start);
		}
	}
}

bool gate_pcre_match(struct gate_inspect *in, const struct gate_dm *m)
{
	uint32_t skip = m->pcre.relative ? in->pos : 0, start, end;
	uint32_t from = in->pcre_start > skip ? in->pcre_start - skip : 0;
	bool found = gate_regex_match(in, m->pcre.regex, in->data + skip, in->size - skip, from);

	if (!found || m->pcre.negated) {
		return found != m->pcre.negated && !in->regex_failed;
	}
	if (gate_regex_group(in, 0, &start, &end)) {
		in->pos = skip + end;
		/* The next try: behind where this one began. */
		in->pcre_start = skip + start + 1;
	}
	if (m->src->pcre.captures.count) {
		keep_groups(in, &m->src->pcre, in->data + skip);
	}
	return true;
}
