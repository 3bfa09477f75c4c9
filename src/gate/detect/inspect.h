/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matches of bytes against a buffer: content, pcre, byte_test and the others in their order, each
 * where it stands relative to the one before, with every other place of an earlier one tried when a
 * later one fails (backtracking, as Suricata's DetectEngineContentInspection; at most
 * GATE_RECURSION_MAX steps a list, an expression that runs into its limits counting for many).
 * Reads only [data, data + size); no allocation.
 */
#ifndef BH_GATE_DETECT_INSPECT_H
#define BH_GATE_DETECT_INSPECT_H

#include "gate/detect/set.h"
#include "gate/detect/vars.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define GATE_RECURSION_MAX 3000
#define GATE_BASE64_MAX	   4096

struct gate_inspect {
	/* the buffer */
	const uint8_t *data;
	uint32_t size;
	uint64_t base; /* of data in what it is a window of */
	bool complete; /* nothing follows */
	bool dce_big;  /* what `dce` says of the order of bytes */
	/* where the evaluation is */
	uint32_t pos;	     /* behind the last match */
	uint32_t pcre_start; /* another match of a pcre begins here or later; 0: at its start */
	uint32_t steps;
	bool stop;	   /* no other place of an earlier match can help */
	bool regex_failed; /* the last expression ran into a limit */
	/* of the rule */
	uint64_t vars[GATE_VARS_MAX];
	/* `replace`: where contents with one matched, for a packet's payload */
	struct gate_replace {
		const struct gate_content *content;
		uint32_t at;
	} replaces[8];
	uint8_t replace_count;
	struct gate_captures taken; /* by its expressions, so far */
	/* of the worker */
	pcre2_match_data *match_data;
	pcre2_match_context *match_context;
	pcre2_jit_stack *jit_stack;
	uint8_t base64[GATE_BASE64_MAX];
	uint64_t recursion_limit, pcre_limit; /* counters */
};

void gate_inspect_init(struct gate_inspect *in, const struct gate_config *config);
void gate_inspect_done(struct gate_inspect *in);
/* A new rule: its variables are zero. */
void gate_inspect_begin(struct gate_inspect *in, unsigned int vars);
/* Does the list hold on this buffer? */
bool gate_inspect_list(struct gate_inspect *in, const struct gate_dm *matches,
		       const struct gate_buffer_view *view);

/* search.c: how often a byte is met, 0 seldom. */
uint8_t gate_byte_commonness(uint8_t c);
/* First place of the content in data, or -1. */
int64_t gate_content_search(const struct gate_dm *m, const uint8_t *data, uint32_t size);
void gate_content_prepare(struct gate_dm *m, const uint8_t *bytes, uint16_t size, bool nocase);

/* bytes.c: false when it does not hold; moves in->pos. */
bool gate_byte_match(struct gate_inspect *in, const struct gate_dm *m);
uint64_t gate_operand(const struct gate_inspect *in, const struct gate_operand *op);

/* pcre.c */
struct gate_regex;
struct gate_regex *gate_regex_new(const char *pattern, uint32_t options, struct bh_diag *diag);
void gate_regex_free(struct gate_regex *regex);
/* One match at or behind `from`; the part matched. */
bool gate_regex_match(struct gate_inspect *in, struct gate_regex *regex, const uint8_t *data,
		      uint32_t size, uint32_t from);
/* What the last match took; group 0 the whole. False: that group took no part. */
bool gate_regex_group(const struct gate_inspect *in, uint32_t group, uint32_t *ret_start,
		      uint32_t *ret_end);
/* As a match of a list. */
bool gate_pcre_match(struct gate_inspect *in, const struct gate_dm *m);
size_t gate_regex_bytes(const struct gate_regex *regex);

/* base64.c: Bytes written; what is no base64 ends it (RFC 4648 in Suricata's loose form). */
uint32_t gate_base64_decode(const uint8_t *data, uint32_t size, uint8_t *ret, uint32_t ret_size,
			    int mode);

/* dataset.c */
bool gate_dataset_match(struct gate_dataset_ref *ref, const uint8_t *data, uint32_t size);

#endif
