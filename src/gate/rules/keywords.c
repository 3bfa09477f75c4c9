/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keywords: keywords.def, and each buffer and number of app/buffers.def by name. */
#include "gate/rules/reading.h"

#define NOVAL  GATE_KW_NO_VALUE
#define OPTVAL GATE_KW_VALUE_OPTIONAL
#define NEG    GATE_KW_NEGATABLE
#define Q      GATE_KW_QUOTES
#define MUSTQ  GATE_KW_MUST_QUOTE
#define ONCE   GATE_KW_ONCE

static const struct gate_keyword_entry entries[] = {
#define KEYWORD(name, alias, fn, flags, number, help)                                              \
	{name, alias, gate_kw_##fn, flags, NULL, number},
#define REFUSED(name, reason) {name, NULL, NULL, 0, reason, 0},
#include "gate/rules/keywords.def"
#undef KEYWORD
#undef REFUSED
#define BUFFER(id, name, apps, dirs, progress, flags)                                              \
	{name, NULL, gate_kw_sticky, NOVAL, NULL, GATE_BUF_##id},
#define NUMBER(id, name, apps, dirs, progress) {name, NULL, gate_kw_number, Q, NULL, GATE_NUM_##id},
#include "gate/app/buffers.def"
#undef BUFFER
#undef NUMBER
};

static const struct gate_keyword manual[] = {
#define KEYWORD(name, alias, fn, flags, number, help) {name, alias, help},
#define REFUSED(name, reason)
#include "gate/rules/keywords.def"
#undef KEYWORD
#undef REFUSED
#define BUFFER(id, name, apps, dirs, progress, flags) {name, NULL, "buffer"},
#define NUMBER(id, name, apps, dirs, progress)	      {name, NULL, "whole number: 5, !5, >5, 3<>9"},
#include "gate/app/buffers.def"
#undef BUFFER
#undef NUMBER
};

const struct gate_keyword_entry *gate_keyword_entries(size_t *ret_count)
{
	*ret_count = BH_ARRAY_SIZE(entries);
	return entries;
}

const struct gate_keyword *gate_keywords(size_t *ret_count)
{
	*ret_count = BH_ARRAY_SIZE(manual);
	return manual;
}
