/* SPDX-License-Identifier: Apache-2.0 */
/* byte_test, byte_jump, byte_extract and byte_math: numbers out of a buffer, binary or as text. */
#include "gate/detect/inspect.h"

#include <errno.h>

#define STRING_MAX 23 /* digits that are looked at, as Suricata */

uint64_t gate_operand(const struct gate_inspect *in, const struct gate_operand *op)
{
	return op->is_var ? in->vars[op->value % GATE_VARS_MAX] : (uint64_t)op->value;
}

struct number {
	uint64_t value;
	int64_t at;    /* where it begins */
	uint32_t used; /* bytes */
};

static bool read_text(const uint8_t *data, uint32_t count, uint8_t base, struct number *ret)
{
	char text[STRING_MAX + 1];
	char *end;

	if (count > STRING_MAX) {
		return false;
	}
	memcpy(text, data, count);
	text[count] = 0;
	errno = 0;
	ret->value = strtoull(text, &end, base);
	ret->used = (uint32_t)(end - text);
	return ret->used > 0 && errno != ERANGE;
}

static bool read_binary(const uint8_t *data, uint32_t count, bool little, struct number *ret)
{
	if (count > 8) {
		return false;
	}
	ret->value = 0;
	for (uint32_t i = 0; i < count; i++) {
		ret->value = ret->value << 8 | data[little ? count - 1 - i : i];
	}
	ret->used = count;
	return true;
}

static bool read_number(const struct gate_inspect *in, const struct gate_byte *b,
			struct number *ret)
{
	uint64_t count = gate_operand(in, &b->count);

	ret->at = (int64_t)gate_operand(in, &b->offset);
	ret->at += b->flags & GATE_BYTE_RELATIVE ? (int64_t)in->pos : 0;
	if (ret->at < 0 || ret->at > in->size || count > in->size - (uint64_t)ret->at) {
		return false;
	}
	if (count && (b->flags & GATE_BYTE_RELATIVE) && ret->at == in->size) {
		return false;
	}
	if (b->flags & GATE_BYTE_STRING) {
		return read_text(in->data + ret->at, (uint32_t)count, b->base, ret);
	}
	return read_binary(
		in->data + ret->at, (uint32_t)count,
		b->flags & GATE_BYTE_LITTLE || (b->flags & GATE_BYTE_DCE && !in->dce_big), ret);
}

static uint64_t masked(uint64_t value, uint32_t mask)
{
	return mask ? (value & mask) >> __builtin_ctz(mask) : value;
}

static bool test(const struct gate_inspect *in, const struct gate_byte *b)
{
	uint64_t value, against = gate_operand(in, &b->value);
	struct number n;
	bool holds = false;

	if (!read_number(in, b, &n)) {
		return false;
	}
	value = masked(n.value, b->bitmask);
	switch (b->op) {
	case '=':
		holds = value == against;
		break;
	case '<':
		holds = value < against;
		break;
	case '>':
		holds = value > against;
		break;
	case 'l':
		holds = value <= against;
		break;
	case 'g':
		holds = value >= against;
		break;
	case '&':
		holds = (value & against) != 0;
		break;
	case '^':
		holds = (value ^ against) != 0;
		break;
	default:
		return false;
	}
	return holds != !!(b->flags & GATE_BYTE_NEGATED);
}

static bool jump(struct gate_inspect *in, const struct gate_byte *b)
{
	struct number n;
	int64_t to;

	if (!read_number(in, b, &n)) {
		return false;
	}
	to = (int64_t)masked(n.value, b->bitmask);
	if (__builtin_mul_overflow(to, b->multiplier ? (int64_t)b->multiplier : 1, &to)) {
		return false;
	}
	if (b->flags & GATE_BYTE_ALIGN) {
		to += to % 4 ? 4 - to % 4 : 0;
	}
	if (__builtin_add_overflow(to, (int64_t)b->post_offset, &to)) {
		return false;
	}
	if (b->flags & GATE_BYTE_FROM_END) {
		n.at = in->size;
	} else if (b->flags & GATE_BYTE_FROM_BEGINNING) {
		n.at = 0;
	} else {
		n.at += n.used;
	}
	if (__builtin_add_overflow(to, n.at, &to) || to > in->size) {
		return false;
	}
	/* Before the beginning is the beginning. */
	in->pos = to < 0 ? 0 : (uint32_t)to;
	return true;
}

static bool extract(struct gate_inspect *in, const struct gate_byte *b)
{
	struct number n;
	uint64_t value;

	if (!read_number(in, b, &n)) {
		return false;
	}
	value = masked(n.value, b->bitmask) * (b->multiplier ? b->multiplier : 1);
	if ((b->flags & GATE_BYTE_ALIGN) && b->align && value % b->align) {
		value += b->align - value % b->align;
	}
	in->vars[b->var % GATE_VARS_MAX] = value;
	in->pos = (uint32_t)n.at + n.used;
	return true;
}

static bool math(struct gate_inspect *in, const struct gate_byte *b)
{
	uint64_t with = gate_operand(in, &b->value), value;
	struct number n;

	if (!read_number(in, b, &n)) {
		return false;
	}
	value = n.value;
	switch (b->op) {
	case '+':
		value += with;
		break;
	case '-':
		value -= with;
		break;
	case '*':
		value *= with;
		break;
	case '/':
		if (!with) {
			return false;
		}
		value /= with;
		break;
	case 'l':
		value = with < 64 ? value << with : 0;
		break;
	case 'r':
		value = with < 64 ? value >> with : 0;
		break;
	default:
		return false;
	}
	in->vars[b->var % GATE_VARS_MAX] = masked(value, b->bitmask);
	in->pos = (uint32_t)n.at + n.used;
	return true;
}

bool gate_byte_match(struct gate_inspect *in, const struct gate_dm *m)
{
	const struct gate_byte *b = &m->src->byte;

	switch (m->kind) {
	case GATE_M_BYTE_TEST:
		return test(in, b);
	case GATE_M_BYTE_JUMP:
		return jump(in, b);
	case GATE_M_BYTE_EXTRACT:
		return extract(in, b);
	default:
		return math(in, b);
	}
}
