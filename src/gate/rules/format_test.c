/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons of numbers, written so that reading them gives the same. */
#include "gate/rules/format.h"

void gate_format_test(struct bh_wbuf *w, const struct gate_test *t)
{
	static const char *const signs[] = {"", "!", "<", "<=", ">", ">="};
	unsigned long long a = t->a, b = t->b;

	switch (t->op) {
	case GATE_RANGE:
		bh_wbuf_printf(w, "%llu<>%llu", a, b);
		break;
	case GATE_NOT_RANGE:
		bh_wbuf_printf(w, "!%llu<>%llu", a, b);
		break;
	case GATE_MASK:
		bh_wbuf_printf(w, "&%llu=%llu", a, b);
		break;
	case GATE_NOT_MASK:
		bh_wbuf_printf(w, "&%llu!=%llu", a, b);
		break;
	default:
		bh_wbuf_printf(w, "%s%llu", signs[t->op], a);
	}
}

void gate_format_split_test(struct bh_wbuf *w, const struct gate_test *t)
{
	static const char *const signs[] = {"=", "!=", "<", "<=", ">", ">="};

	bh_wbuf_printf(w, "%s,%llu", t->op <= GATE_GE ? signs[t->op] : "=",
		       (unsigned long long)t->a);
}

void gate_format_entropy(struct bh_wbuf *w, const struct gate_entropy *e)
{
	static const char *const signs[] = {"=", "!=", "<", "<=", ">", ">="};

	bh_wbuf_printf(w, "entropy:bytes %u, offset %u, value ", e->bytes, e->offset);
	if (e->op == GATE_RANGE || e->op == GATE_NOT_RANGE) {
		bh_wbuf_printf(w, "%s%.17g-%.17g; ", e->op == GATE_NOT_RANGE ? "!" : "", e->a,
			       e->b);
	} else {
		bh_wbuf_printf(w, "%s%.17g; ", signs[e->op], e->a);
	}
}

static void put_setting(struct bh_wbuf *w, const struct gate_test *t)
{
	static const char *const names[] = {"",
					    "HEADER_TABLE_SIZE",
					    "ENABLE_PUSH",
					    "MAX_CONCURRENT_STREAMS",
					    "INITIAL_WINDOW_SIZE",
					    "MAX_FRAME_SIZE",
					    "MAX_HEADER_LIST_SIZE"};
	uint64_t id = t->op == GATE_EQ ? t->a >> 32 : (t->b - 1) >> 32, base = id << 32;

	bh_wbuf_printf(w, "SETTINGS_%s", names[id < BH_ARRAY_SIZE(names) ? id : 0]);
	if (t->op == GATE_EQ) {
		bh_wbuf_printf(w, "=%u", (uint32_t)t->a);
	} else if (t->a + 1 == base) {
		bh_wbuf_printf(w, "<%llu", (unsigned long long)(t->b - base));
	} else if (t->b == base + ((uint64_t)1 << 32)) {
		bh_wbuf_printf(w, ">%u", (uint32_t)t->a);
	} else {
		bh_wbuf_printf(w, "=%llu<>%llu", (unsigned long long)(t->a - base),
			       (unsigned long long)(t->b - base));
	}
}

/* Behind a value which of several it is asked of. */
void gate_format_number(struct bh_wbuf *w, const struct gate_match *m)
{
	static const char *const names[] = {"any", "all", "all_or_absent", "or_absent", "nb"};
	const struct gate_multi *multi = &m->num.multi;

	if (multi->mode == GATE_MULTI_COUNT) {
		bh_wbuf_str(w, "count ");
		gate_format_test(w, &multi->count);
		return;
	}
	if (m->num.number == GATE_NUM_HTTP2_SETTINGS) {
		put_setting(w, &m->num.test);
		return;
	}
	gate_format_test(w, &m->num.test);
	if (multi->mode == GATE_MULTI_ANY && !multi->slice) {
		return;
	}
	if (multi->mode <= GATE_MULTI_TIMES) {
		bh_wbuf_printf(w, ",%s", names[multi->mode]);
	} else {
		bh_wbuf_printf(w, ",%s%d", multi->mode == GATE_MULTI_AT ? "" : "oob_or ",
			       multi->at);
	}
	if (multi->mode == GATE_MULTI_TIMES) {
		gate_format_test(w, &multi->count);
	}
	if (multi->slice) {
		bh_wbuf_printf(w, ",%d:%d", multi->from, multi->to);
	}
}
