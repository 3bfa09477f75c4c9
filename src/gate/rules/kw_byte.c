/* SPDX-License-Identifier: Apache-2.0 */
/* byte_test, byte_jump, byte_extract, byte_math: what reads numbers out of bytes. */
#include "gate/app/app.h"
#include "gate/rules/reading.h"

#define OFFSET_MAX 65535

enum { OF_TEST = 1, OF_JUMP = 2, OF_EXTRACT = 4, OF_MATH = 8 };

/* Words without a value. */
static const struct {
	const char *word;
	uint8_t of;
	uint16_t flag;
	uint8_t base;
} words[] = {
	{"relative", OF_TEST | OF_JUMP | OF_EXTRACT | OF_MATH, GATE_BYTE_RELATIVE, 0},
	{"little", OF_TEST | OF_JUMP | OF_EXTRACT, GATE_BYTE_LITTLE, 0},
	{"big", OF_TEST | OF_JUMP | OF_EXTRACT, 0, 0},
	{"dce", OF_TEST | OF_JUMP | OF_EXTRACT | OF_MATH, GATE_BYTE_DCE, 0},
	{"string", OF_TEST | OF_JUMP | OF_EXTRACT, GATE_BYTE_STRING, 0},
	{"hex", OF_TEST | OF_JUMP | OF_EXTRACT, 0, 16},
	{"dec", OF_TEST | OF_JUMP | OF_EXTRACT, 0, 10},
	{"oct", OF_TEST | OF_JUMP | OF_EXTRACT, 0, 8},
	{"align", OF_JUMP, GATE_BYTE_ALIGN, 0},
	{"from_beginning", OF_JUMP, GATE_BYTE_FROM_BEGINNING, 0},
	{"from_end", OF_JUMP, GATE_BYTE_FROM_END, 0},
};

static int read_base(struct gate_reading *r, const char *word, uint8_t *ret)
{
	static const char *const names[] = {"oct", "dec", "hex", NULL};
	static const uint8_t bases[] = {8, 10, 16};
	int which = gate_word_index(word, names);

	if (which < 0) {
		return gate_refuse(r, "%s: hex, dec or oct is expected, not %s", r->option->name,
				   word);
	}
	*ret = bases[which];
	return 0;
}

static int read_u32(struct gate_reading *r, const char *word, const char *text, uint32_t *ret)
{
	uint64_t v;

	if (gate_number_read(text, UINT32_MAX, &v) || !v) {
		return gate_refuse(r, "%s: %s of %s is no number above 0", r->option->name, word,
				   *text ? text : "nothing");
	}
	*ret = (uint32_t)v;
	return 0;
}

/* Words with a value. */
static int read_valued(struct gate_reading *r, uint8_t of, const char *word, char *text,
		       struct gate_byte *b)
{
	int64_t post;
	uint64_t v;

	if (!strcmp(word, "bitmask")) {
		return read_u32(r, word, text, &b->bitmask);
	}
	if (!strcmp(word, "multiplier") && (of & (OF_JUMP | OF_EXTRACT))) {
		return read_u32(r, word, text, &b->multiplier);
	}
	if (!strcmp(word, "post_offset") && (of & OF_JUMP)) {
		if (gate_signed_read(text, -OFFSET_MAX, OFFSET_MAX, &post)) {
			return gate_refuse(r, "byte_jump: post_offset of %s", text);
		}
		b->post_offset = (int32_t)post;
		return 0;
	}
	if (!strcmp(word, "align") && (of & OF_EXTRACT)) {
		if (gate_number_read(text, 4, &v) || (v != 2 && v != 4)) {
			return gate_refuse(r, "byte_extract: align 2 or 4 is expected");
		}
		b->flags |= GATE_BYTE_ALIGN;
		b->align = (uint8_t)v;
		return 0;
	}
	if (!strcmp(word, "endian")) {
		b->flags |= !strcmp(text, "little") ? GATE_BYTE_LITTLE
			    : !strcmp(text, "dce")  ? GATE_BYTE_DCE
						    : 0;
		return strcmp(text, "little") && strcmp(text, "big") && strcmp(text, "dce")
			       ? gate_refuse(r, "%s: endian is big, little or dce", r->option->name)
			       : 0;
	}
	if (!strcmp(word, "string") && (of & OF_MATH)) {
		b->flags |= GATE_BYTE_STRING;
		return read_base(r, text, &b->base);
	}
	return gate_refuse(r, "%s: %s is not known", r->option->name, *word ? word : "nothing");
}

static int read_word(struct gate_reading *r, uint8_t of, char *part, struct gate_byte *b)
{
	char *word = gate_word(&part);

	part = gate_trim(part);
	for (size_t i = 0; !*part && i < BH_ARRAY_SIZE(words); i++) {
		if ((words[i].of & of) && !strcmp(words[i].word, word)) {
			b->flags |= words[i].flag;
			b->base = words[i].base ? words[i].base : b->base;
			b->align = words[i].flag == GATE_BYTE_ALIGN ? 4 : b->align;
			return 0;
		}
	}
	return read_valued(r, of, word, part, b);
}

/* What all have to be, and where they go. */
static int place(struct gate_reading *r, enum gate_match_kind kind, const struct gate_byte *b)
{
	bool string = b->flags & GATE_BYTE_STRING;
	struct gate_match *match;
	int64_t most = string ? 23 : 8;
	int32_t list;
	int err;

	if (!b->count.is_var &&
	    (b->count.value > most || (!b->count.value && !string && kind != GATE_M_BYTE_JUMP))) {
		return gate_refuse(r, "%s: %lld bytes, at most %lld %s", r->option->name,
				   (long long)b->count.value, (long long)most,
				   string ? "of a string" : "of a number");
	}
	if (b->base && !string) {
		return gate_refuse(r, "%s: hex, dec and oct are for strings", r->option->name);
	}
	if ((b->flags & GATE_BYTE_DCE) && (string || (b->flags & GATE_BYTE_LITTLE))) {
		return gate_refuse(r, "%s: dce says the order of bytes itself", r->option->name);
	}
	err = b->flags & GATE_BYTE_DCE
		      ? gate_apps_restrict(r, 1u << GATE_APP_DCERPC | 1u << GATE_APP_SMB)
		      : 0;
	err = err ? err : gate_list_target(r, b->flags & GATE_BYTE_RELATIVE, &list);
	if (err) {
		return err;
	}
	match = gate_list_add(r, list, kind);
	if (!match) {
		return -EINVAL;
	}
	match->byte = *b;
	return 0;
}

/* The next part, which must be there. */
static int need_part(struct gate_reading *r, char **rest, const char *what, char **ret)
{
	*ret = gate_part(rest);
	return *ret && **ret ? 0 : gate_refuse(r, "%s: %s is expected", r->option->name, what);
}

static int read_count(struct gate_reading *r, char **rest, struct gate_byte *b)
{
	char *part;
	int err;

	err = need_part(r, rest, "the number of bytes", &part);
	return err ? err : gate_operand_read(r, part, 0, 23, &b->count);
}

static int read_offset(struct gate_reading *r, char **rest, struct gate_byte *b)
{
	char *part;
	int err;

	err = need_part(r, rest, "the offset", &part);
	return err ? err : gate_operand_read(r, part, -OFFSET_MAX, OFFSET_MAX, &b->offset);
}

static int read_words(struct gate_reading *r, uint8_t of, char **rest, struct gate_byte *b)
{
	char *part;
	int err = 0;

	while (!err && (part = gate_part(rest))) {
		err = read_word(r, of, part, b);
	}
	return err;
}

/* A value of up to 64 bits, which may be above INT64_MAX. */
static int read_value(struct gate_reading *r, const char *part, struct gate_operand *ret)
{
	uint64_t v;

	if (!gate_number_read(part, UINT64_MAX, &v)) {
		ret->value = (int64_t)v;
		return 0;
	}
	return gate_operand_read(r, part, INT64_MIN, INT64_MAX, ret);
}

static int read_sign(struct gate_reading *r, char *part, struct gate_byte *b)
{
	static const char *const signs[] = {"<", ">", "=", "&", "^", "<=", ">=", "", NULL};
	static const char codes[] = "<>=&^lg=";
	int which;

	if (*part == '!') {
		b->flags |= GATE_BYTE_NEGATED;
		part = gate_trim(part + 1);
	}
	which = gate_word_index(part, signs);
	if (which < 0) {
		return gate_refuse(r, "byte_test: %s is no comparison", part);
	}
	b->op = codes[which];
	return 0;
}

int gate_kw_byte_test(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_byte b = {};
	char *rest = o->value, *part;
	int err;

	err = read_count(r, &rest, &b);
	err = err ? err : need_part(r, &rest, "a comparison", &part);
	err = err ? err : read_sign(r, part, &b);
	err = err ? err : need_part(r, &rest, "a value", &part);
	err = err ? err : read_value(r, part, &b.value);
	err = err ? err : read_offset(r, &rest, &b);
	err = err ? err : read_words(r, OF_TEST, &rest, &b);
	return err ? err : place(r, GATE_M_BYTE_TEST, &b);
}

int gate_kw_byte_jump(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_byte b = {};
	char *rest = o->value;
	int err;

	err = read_count(r, &rest, &b);
	err = err ? err : read_offset(r, &rest, &b);
	err = err ? err : read_words(r, OF_JUMP, &rest, &b);
	if (!err && (b.flags & GATE_BYTE_FROM_BEGINNING) && (b.flags & GATE_BYTE_FROM_END)) {
		err = gate_refuse(r, "byte_jump: from_beginning or from_end, not both");
	}
	return err ? err : place(r, GATE_M_BYTE_JUMP, &b);
}

int gate_kw_byte_extract(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_byte b = {};
	char *rest = o->value, *name;
	int err;

	err = read_count(r, &rest, &b);
	err = err ? err : read_offset(r, &rest, &b);
	err = err ? err : need_part(r, &rest, "the name of a variable", &name);
	err = err ? err : read_words(r, OF_EXTRACT, &rest, &b);
	err = err ? err : gate_var_add(r, name, &b.var);
	return err ? err : place(r, GATE_M_BYTE_EXTRACT, &b);
}

static int read_operation(struct gate_reading *r, const char *text, struct gate_byte *b)
{
	static const char *const signs[] = {"+", "-", "*", "/", "<<", ">>", NULL};
	static const char codes[] = "+-*/lr";
	int which = gate_word_index(text, signs);

	if (which < 0) {
		return gate_refuse(r, "byte_math: %s is no operation", text);
	}
	b->op = codes[which];
	return 0;
}

int gate_kw_byte_math(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {"bytes", "offset", "oper", "rvalue", "result", NULL};
	struct gate_byte b = {};
	char *rest = o->value, *part, *result = NULL;
	unsigned int seen = 0;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		size_t len = strcspn(part, " \t");
		BH_FREE char *word = strndup(part, len);
		char *text = gate_trim(part + len);
		int which = word ? gate_word_index(word, names) : -1;

		if (which >= 0 && (!*text || (seen & 1u << which))) {
			err = gate_refuse(r, "byte_math: %s stands once, with its value", word);
			break;
		}
		seen |= which >= 0 ? 1u << which : 0;
		switch (which) {
		case 0:
			err = gate_operand_read(r, text, 1, 10, &b.count);
			break;
		case 1:
			err = gate_operand_read(r, text, -OFFSET_MAX, OFFSET_MAX, &b.offset);
			break;
		case 2:
			err = read_operation(r, text, &b);
			break;
		case 3:
			err = gate_operand_read(r, text, 0, UINT32_MAX, &b.value);
			break;
		case 4:
			result = text;
			break;
		default:
			err = read_word(r, OF_MATH, part, &b);
		}
	}
	if (!err && seen != 0x1f) {
		err = gate_refuse(r, "byte_math: bytes, offset, oper, rvalue, result are expected");
	}
	if (!err && b.op == '/' && !b.value.is_var && !b.value.value) {
		err = gate_refuse(r, "byte_math: division by zero");
	}
	err = err ? err : gate_var_add(r, result, &b.var);
	return err ? err : place(r, GATE_M_BYTE_MATH, &b);
}
