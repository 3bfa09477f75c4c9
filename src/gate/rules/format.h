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

#endif
