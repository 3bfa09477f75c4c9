/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of foreign text, read without a tree (base/jtext.h) and as an event. What is accepted
 * must be accepted by jansson too, strictly, with the same members and values: it goes into pages
 * and streams as it is.
 */
#include "base/json.h"
#include "base/util.h"
#include "model/event.h"

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void check_member(const struct bh_jtext *j, const struct bh_jtext_member *m,
			 const json_t *value)
{
	BH_FREE char *key = strndup(j->text + m->key, m->key_size);
	BH_FREE char *text = bh_alloc(m->value_size + 1u);
	uint64_t number;

	check(bh_jtext_find(j, key) == m);
	switch ((enum bh_jtext_kind)m->kind) {
	case BH_JTEXT_STRING:
		check(json_is_string(value) && bh_jtext_str(j, key, text, m->value_size + 1u) &&
		      !strcmp(text, json_string_value(value)));
		check(strlen(text) == m->value_size);
		break;
	case BH_JTEXT_ESCAPED:
		check(json_is_string(value));
		break;
	case BH_JTEXT_INTEGER:
		check(json_is_integer(value));
		check(bh_jtext_u64(j, key, UINT64_MAX, &number) == (j->text[m->value] != '-'));
		check(j->text[m->value] == '-' || number == (uint64_t)json_integer_value(value));
		break;
	case BH_JTEXT_REAL:
		check(json_is_real(value));
		break;
	case BH_JTEXT_TRUE:
		check(json_is_true(value));
		break;
	case BH_JTEXT_FALSE:
		check(json_is_false(value));
		break;
	case BH_JTEXT_NULL:
		check(json_is_null(value));
		break;
	case BH_JTEXT_ARRAY:
		check(json_is_array(value));
		break;
	case BH_JTEXT_OBJECT:
		check(json_is_object(value));
		break;
	}
}

/* The members, written out again one by one, are the same object. */
static void check_object(const struct bh_jtext *j, const json_t *json)
{
	BH_JSON json_t *again = NULL;
	struct bh_wbuf w = {};

	check(json_is_object(json) && json_object_size(json) == j->count);
	bh_wbuf_u8(&w, '{');
	for (unsigned int i = 0; i < j->count; i++) {
		const struct bh_jtext_member *m = &j->members[i];

		check_member(j, m, json_object_getn(json, j->text + m->key, m->key_size));
		bh_jtext_add_member(&w, j, m);
	}
	bh_wbuf_u8(&w, '}');
	check(!bh_json_load((const char *)w.data, w.size, 0, &again, NULL));
	check(json_equal(json, again));
	bh_wbuf_done(&w);
}

/* Any bytes can be written as a string, and what was written is read. */
static void check_writing(const uint8_t *data, size_t size)
{
	BH_FREE char *s = strndup((const char *)data, size);
	struct bh_wbuf w = {};
	struct bh_jtext j;

	bh_wbuf_u8(&w, '{');
	bh_jtext_add_str(&w, "s", s);
	bh_wbuf_u8(&w, '}');
	check(w.size > BH_JTEXT_SIZE_MAX ||
	      !bh_jtext_parse((const char *)w.data, w.size, &j, NULL));
	bh_wbuf_done(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_JSON json_t *json = NULL;
	struct bh_event event;
	struct bh_jtext j;
	struct bh_diag diag;

	check_writing(data, size);
	if (bh_jtext_parse((const char *)data, size, &j, &diag)) {
		check(bh_event_parse((const char *)data, size, &event, &diag) < 0);
		return 0;
	}
	check(!bh_json_load((const char *)data, size, 0, &json, &diag));
	check_object(&j, json);
	if (!bh_event_parse((const char *)data, size, &event, &diag)) {
		check(!strcmp(event.producer, bh_json_str_or(json, "producer", "")));
		check(event.seq == bh_json_u64_or(json, "seq", 0));
	}
	return 0;
}
