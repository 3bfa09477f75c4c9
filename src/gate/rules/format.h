/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that write rules (format.c, format_match.c); nobody else includes it. */
#ifndef BH_GATE_RULES_FORMAT_H
#define BH_GATE_RULES_FORMAT_H

#include "base/buf.h"
#include "gate/rules/reading.h"

struct gate_format {
	const struct gate_rule *rule;
	struct gate_names *names;
	struct bh_wbuf *w;
};

void gate_format_escaped(struct bh_wbuf *w, const char *text);
void gate_format_transform(struct gate_format *f, const struct gate_transform *t);
void gate_format_match(struct gate_format *f, const struct gate_match *m);

/* format_test.c: "5", "3<>9"; "<,5" as parts of a list by commas; of a transaction's number with
 * what is behind it; of entropy with its keyword. */
void gate_format_test(struct bh_wbuf *w, const struct gate_test *t);
void gate_format_split_test(struct bh_wbuf *w, const struct gate_test *t);
void gate_format_number(struct bh_wbuf *w, const struct gate_match *m);
void gate_format_entropy(struct bh_wbuf *w, const struct gate_entropy *e);

#endif
