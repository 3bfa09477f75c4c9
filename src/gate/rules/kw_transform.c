/* SPDX-License-Identifier: Apache-2.0 */
/* Transforms: what is done to a buffer before the matches behind them look at it. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "gate/rules/reading.h"

#include <pcre2.h>

#define INFLATE_DEFAULT 1024
#define INFLATE_MAX	(1024 * 1024)

int gate_kw_transform(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_transform t = {.kind = o->keyword->number};

	return gate_list_transform(r, &t);
}

static int signed_arg(struct gate_reading *r, const char *text, int64_t min, int32_t *ret)
{
	int64_t v;

	if (gate_signed_read(text, min, INT32_MAX, &v)) {
		return gate_refuse(r, "%s: %s is no number that can be here", r->option->name,
				   *text ? text : "nothing");
	}
	*ret = (int32_t)v;
	return 0;
}

/* "0d0ac8ff", "offset 2", "extract size place", by commas. */
int gate_kw_xor(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_transform t = {.kind = GATE_XF_XOR};
	char *rest = o->value, *part;
	BH_FREE uint8_t *key = NULL;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		char *word = gate_word(&part);

		if (!strcmp(word, "offset")) {
			err = signed_arg(r, gate_trim(part), 0, &t.args[0]);
		} else if (!strcmp(word, "extract")) {
			char *size = gate_word(&part);

			err = signed_arg(r, size, 1, &t.args[1]);
			err = err ? err : signed_arg(r, gate_trim(part), 0, &t.args[2]);
			err = !err && t.args[1] > 255 ? gate_refuse(r, "xor: the key is too long")
						      : err;
		} else {
			size_t len = strlen(word);

			if (key || !len || len % 2 || len > 510) {
				return gate_refuse(r, "xor: a key of hex digits, extract or offset "
						      "is expected");
			}
			key = bh_alloc(len / 2);
			t.text_size = (uint32_t)(len / 2);
			err = bh_hex_parse(word, key, len / 2)
				      ? gate_refuse(r, "xor: %s is no key of hex digits", word)
				      : 0;
		}
	}
	if (!err && !key == !t.args[1]) {
		err = gate_refuse(r, "xor: a key or extract is expected, not both");
	}
	if (err) {
		return err;
	}
	t.text = (char *)bh_steal(&key);
	return gate_list_transform(r, &t);
}

int gate_kw_pcrexform(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_transform t = {.kind = GATE_XF_PCREXFORM};
	PCRE2_UCHAR text[128] = "";
	uint32_t groups = 0;
	PCRE2_SIZE at = 0;
	int code = 0;
	pcre2_code *compiled =
		pcre2_compile((PCRE2_SPTR)o->value, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);

	if (!compiled) {
		pcre2_get_error_message(code, text, sizeof(text));
		return gate_refuse_at(r, o->value_at + at, "pcrexform: %s", (char *)text);
	}
	(void)pcre2_pattern_info(compiled, PCRE2_INFO_CAPTURECOUNT, &groups);
	pcre2_code_free(compiled);
	if (groups != 1) {
		return gate_refuse(r, "pcrexform: one group is expected, there are %u", groups);
	}
	t.text = bh_strdup(o->value);
	t.text_size = (uint32_t)strlen(o->value);
	return gate_list_transform(r, &t);
}

int gate_kw_from_base64(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const modes[] = {"rfc4648", "rfc2045", "strict", NULL};
	struct gate_transform t = {.kind = GATE_XF_FROM_BASE64};
	char *rest = o->value, *part;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		char *word = gate_word(&part);

		part = gate_trim(part);
		if (!strcmp(word, "bytes")) {
			err = signed_arg(r, part, 1, &t.args[0]);
		} else if (!strcmp(word, "offset")) {
			err = signed_arg(r, part, 0, &t.args[1]);
		} else if (!strcmp(word, "mode")) {
			t.args[2] = gate_word_index(part, modes);
			err = t.args[2] < 0 ? gate_refuse(r, "from_base64: no mode %s", part) : 0;
		} else {
			err = gate_refuse(r, "from_base64: %s is not known", word);
		}
	}
	return err ? err : gate_list_transform(r, &t);
}

/* offset [, size] [, truncate] */
int gate_kw_subslice(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_transform t = {.kind = GATE_XF_SUBSLICE, .args = {0, GATE_SUBSLICE_ALL, 0}};
	char *rest = o->value, *part = gate_part(&rest);
	int err;

	err = signed_arg(r, part, -INT32_MAX, &t.args[0]);
	part = gate_part(&rest);
	if (!err && part && strcmp(part, "truncate") != 0) {
		err = signed_arg(r, part, -INT32_MAX, &t.args[1]);
		part = gate_part(&rest);
	}
	if (!err && part) {
		t.args[2] = 1;
		err = strcmp(part, "truncate") || rest
			      ? gate_refuse(r, "subslice: offset, size, truncate are expected")
			      : 0;
	}
	return err ? err : gate_list_transform(r, &t);
}

int gate_kw_inflate(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_transform t = {.kind = o->keyword->number, .args = {INFLATE_DEFAULT}};
	char *rest = o->value, *part;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		char *word = gate_word(&part);
		uint64_t size;

		if (strcmp(word, "max-size") != 0 ||
		    gate_number_read(gate_trim(part), INFLATE_MAX, &size) || !size) {
			err = gate_refuse(r, "%s: max-size N is expected, at most %d", o->name,
					  INFLATE_MAX);
			break;
		}
		t.args[0] = (int32_t)size;
	}
	return err ? err : gate_list_transform(r, &t);
}
