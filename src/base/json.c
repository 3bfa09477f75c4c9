/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>

int bh_json_load(const char *data, size_t size, size_t limit, json_t **ret_json,
		 struct bh_diag *diag)
{
	json_error_t err;
	json_t *json;

	if (limit && size > limit) {
		return bh_diag_set(diag, -EMSGSIZE, "JSON of %zu bytes is over the limit of %zu",
				   size, limit);
	}
	/* An empty buffer has no address, which jansson takes for a mistake of the caller. */
	json = json_loadb(size ? data : "", size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);
	if (!json) {
		return bh_diag_at(diag, -EBADMSG, NULL, err.line > 0 ? (unsigned int)err.line : 0,
				  err.column > 0 ? (unsigned int)err.column : 0,
				  "not valid JSON (line %d, column %d): %s", err.line, err.column,
				  err.text);
	}
	*ret_json = json;
	return 0;
}

static int member(const json_t *obj, const char *key, json_t **ret, struct bh_diag *diag)
{
	json_t *v = json_object_get(obj, key);

	if (!v || json_is_null(v)) {
		return bh_diag_set(diag, -ENOENT, "\"%s\" is missing", key);
	}
	*ret = v;
	return 0;
}

int bh_json_str(const json_t *obj, const char *key, const char **ret, struct bh_diag *diag)
{
	json_t *v;
	int r = member(obj, key, &v, diag);

	if (r) {
		return r;
	}
	if (!json_is_string(v)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" must be a string", key);
	}
	*ret = json_string_value(v);
	return 0;
}

int bh_json_u64(const json_t *obj, const char *key, uint64_t max, uint64_t *ret,
		struct bh_diag *diag)
{
	json_t *v;
	int r = member(obj, key, &v, diag);

	if (r) {
		return r;
	}
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" must be a whole number from 0 to %llu",
				   key, (unsigned long long)max);
	}
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int bh_json_bool(const json_t *obj, const char *key, bool *ret, struct bh_diag *diag)
{
	json_t *v;
	int r = member(obj, key, &v, diag);

	if (r) {
		return r;
	}
	if (!json_is_boolean(v)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" must be true or false", key);
	}
	*ret = json_is_true(v);
	return 0;
}

int bh_json_array(const json_t *obj, const char *key, json_t **ret, struct bh_diag *diag)
{
	int r = member(obj, key, ret, diag);

	if (!r && !json_is_array(*ret)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" must be a list", key);
	}
	return r;
}

int bh_json_object(const json_t *obj, const char *key, json_t **ret, struct bh_diag *diag)
{
	int r = member(obj, key, ret, diag);

	if (!r && !json_is_object(*ret)) {
		return bh_diag_set(diag, -EINVAL, "\"%s\" must be an object", key);
	}
	return r;
}

const char *bh_json_str_or(const json_t *obj, const char *key, const char *dflt)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : dflt;
}

uint64_t bh_json_u64_or(const json_t *obj, const char *key, uint64_t dflt)
{
	json_t *v = json_object_get(obj, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v)
								: dflt;
}

int bh_json_known(const json_t *obj, const char *const *keys, struct bh_diag *diag)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)obj, key, value) {
		const char *const *k = keys;

		while (*k && strcmp(*k, key)) {
			k++;
		}
		if (!*k) {
			return bh_diag_set(diag, -EINVAL, "unknown member \"%s\"", key);
		}
	}
	return 0;
}

json_t *bh_json_time(uint64_t wall_ns)
{
	char text[BH_TIME_TEXT_SIZE];

	bh_time_format(wall_ns, text);
	return json_string(text);
}

json_t *bh_json_time_or_null(uint64_t wall_ns)
{
	return wall_ns ? bh_json_time(wall_ns) : json_null();
}

char *bh_json_dump(const json_t *json)
{
	char *s = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	if (!s) {
		abort();
	}
	return s;
}

static void put_object(struct bh_wbuf *w, const json_t *object)
{
	const char *key;
	json_t *value;
	bool more = false;

	bh_wbuf_u8(w, '{');
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (more) {
			bh_wbuf_u8(w, ',');
		}
		more = true;
		bh_jtext_put_str(w, key);
		bh_wbuf_u8(w, ':');
		bh_json_put(w, value);
	}
	bh_wbuf_u8(w, '}');
}

static void put_array(struct bh_wbuf *w, const json_t *array)
{
	const json_t *value;
	size_t i;

	bh_wbuf_u8(w, '[');
	json_array_foreach (array, i, value) {
		if (i) {
			bh_wbuf_u8(w, ',');
		}
		bh_json_put(w, value);
	}
	bh_wbuf_u8(w, ']');
}

/* Rare: the text that leads back to the same number is jansson's business. */
static void put_real(struct bh_wbuf *w, const json_t *real)
{
	BH_FREE char *text = bh_json_dump(real);

	bh_wbuf_str(w, text);
}

static void put_integer(struct bh_wbuf *w, json_int_t v)
{
	if (v < 0) {
		bh_wbuf_u8(w, '-');
	}
	bh_jtext_put_u64(w, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void bh_json_put(struct bh_wbuf *w, const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		put_object(w, json);
		break;
	case JSON_ARRAY:
		put_array(w, json);
		break;
	case JSON_STRING:
		bh_jtext_put_str(w, json_string_value(json));
		break;
	case JSON_INTEGER:
		put_integer(w, json_integer_value(json));
		break;
	case JSON_REAL:
		put_real(w, json);
		break;
	case JSON_TRUE:
		bh_wbuf_str(w, "true");
		break;
	case JSON_FALSE:
		bh_wbuf_str(w, "false");
		break;
	case JSON_NULL:
		bh_wbuf_str(w, "null");
		break;
	}
}
