/* SPDX-License-Identifier: Apache-2.0 */
/* Walks libyaml's events with a stack of names; knows mappings, lists and scalars, nothing else. */
#include "base/conf.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"

#include <errno.h>
#include <yaml.h>

#define CONF_SIZE_MAX  (1024 * 1024)
#define CONF_DEPTH_MAX 6
#define CONF_KEYS_MAX  192

struct level {
	bool list;
	unsigned int index; /* of the next list item */
	char *name;	    /* owned; key whose value comes next, NULL when a key comes next */
};

struct walk {
	yaml_parser_t parser;
	const char *file;
	const struct bh_conf_key *keys;
	size_t count;
	void *target;
	bool seen[CONF_KEYS_MAX];
	struct level stack[CONF_DEPTH_MAX];
	unsigned int depth;
	struct bh_diag *diag;
};

static int fail(struct walk *w, const yaml_event_t *ev, const char *what, const char *about)
{
	return bh_diag_at(w->diag, -EINVAL, w->file, (unsigned int)ev->start_mark.line + 1,
			  (unsigned int)ev->start_mark.column + 1, "%s%s%s%s", what,
			  about ? " '" : "", about ? about : "", about ? "'" : "");
}

static int set_bool(void *at, const char *value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(words); i++) {
		if (strcmp(words[i], value) == 0) {
			*(bool *)at = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

static bool chosen(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
		if (strcspn(p, "|") == len && strncmp(p, value, len) == 0) {
			return true;
		}
	}
	return false;
}

static int parse_size(const struct bh_conf_key *key, const char *value, uint64_t *ret)
{
	static const char *const units[] = {"", "k", "m", "g"};
	static const char *const tails[] = {"", "b", "ib"};
	size_t digits = strspn(value, "0123456789");
	const char *unit = value + digits + (value[digits] == ' ');
	char number[24];
	uint64_t n;

	if (digits >= sizeof(number)) {
		return -ERANGE;
	}
	memcpy(number, value, digits);
	number[digits] = '\0';
	if (bh_parse_u64(number, 0, UINT64_MAX, &n) < 0) {
		return -EINVAL;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(units) * BH_ARRAY_SIZE(tails); i++) {
		unsigned int shift = 10 * (unsigned int)(i / BH_ARRAY_SIZE(tails));
		char text[8];

		snprintf(text, sizeof(text), "%s%s", units[i / BH_ARRAY_SIZE(tails)],
			 tails[i % BH_ARRAY_SIZE(tails)]);
		if (!strcasecmp(text, unit)) {
			*ret = n << shift;
			return *ret >> shift == n && n << shift >= key->min &&
					       (!key->max || *ret <= key->max)
				       ? 0
				       : -ERANGE;
		}
	}
	return -EINVAL;
}

static int set_value(const struct bh_conf_key *key, void *target, const char *value,
		     struct bh_diag *diag)
{
	void *at = (char *)target + key->offset;

	switch (key->type) {
	case BH_CONF_STR:
		if (key->choices && !chosen(key->choices, value)) {
			return bh_diag_set(diag, -EINVAL, "%s: expected %s, not '%.80s'", key->key,
					   key->choices, value);
		}
		free(*(char **)at);
		*(char **)at = bh_strdup(value);
		return 0;
	case BH_CONF_BOOL:
		if (set_bool(at, value) < 0) {
			return bh_diag_set(diag, -EINVAL, "%s: expected yes or no, not '%.80s'",
					   key->key, value);
		}
		return 0;
	case BH_CONF_U64:
		if (bh_parse_u64(value, key->min, key->max ? key->max : UINT64_MAX, at) < 0) {
			return bh_diag_set(diag, -EINVAL,
					   "%s: expected a number from %llu to %llu, not '%.80s'",
					   key->key, (unsigned long long)key->min,
					   (unsigned long long)(key->max ? key->max : UINT64_MAX),
					   value);
		}
		return 0;
	case BH_CONF_SIZE:
		if (parse_size(key, value, at) < 0) {
			return bh_diag_set(
				diag, -EINVAL,
				"%s: expected a size from %llu to %llu bytes such as 64mb, "
				"not '%.80s'",
				key->key, (unsigned long long)key->min,
				(unsigned long long)(key->max ? key->max : UINT64_MAX), value);
		}
		return 0;
	case BH_CONF_EACH:
		return 0;
	}
	return -EINVAL;
}

/* Names from the root to the current value, with `sep` between them. */
static void path_of(const struct walk *w, char sep, struct bh_wbuf *out)
{
	for (unsigned int i = 0; i < w->depth; i++) {
		if (i) {
			bh_wbuf_u8(out, (uint8_t)sep);
		}
		if (w->stack[i].list) {
			bh_wbuf_printf(out, "%u", w->stack[i].index);
		} else {
			bh_wbuf_str(out, w->stack[i].name);
		}
	}
}

/* The key that the current path is, or whose EACH covers it; *ret_rest is the path below it. */
static const struct bh_conf_key *find_key(const struct bh_conf_key *keys, size_t count,
					  const char *lines, const char *dotted,
					  const char **ret_rest)
{
	for (size_t i = 0; i < count; i++) {
		const struct bh_conf_key *key = &keys[i];
		size_t len = strlen(key->key);

		if (key->type == BH_CONF_EACH && strncmp(dotted, key->key, len) == 0 &&
		    (lines[len] == '\n' || (key->alone && !lines[len]))) {
			*ret_rest = lines + len + (lines[len] == '\n');
			return key;
		}
		if (key->type != BH_CONF_EACH && strcmp(dotted, key->key) == 0) {
			return key;
		}
	}
	return NULL;
}

static int on_value(struct walk *w, const yaml_event_t *ev)
{
	const char *value = (const char *)ev->data.scalar.value;
	struct bh_wbuf lines, dotted;
	const struct bh_conf_key *key;
	const char *rest = NULL;
	int r;

	bh_wbuf_init(&lines, 0);
	bh_wbuf_init(&dotted, 0);
	path_of(w, '\n', &lines);
	path_of(w, '.', &dotted);
	key = find_key(w->keys, w->count, bh_wbuf_cstr(&lines), bh_wbuf_cstr(&dotted), &rest);
	if (strlen(value) != ev->data.scalar.length) {
		r = fail(w, ev, "a NUL byte in a value", NULL);
	} else if (!key) {
		r = fail(w, ev, "unknown key", bh_wbuf_cstr(&dotted));
	} else if (key->type != BH_CONF_EACH && w->seen[key - w->keys]) {
		r = fail(w, ev, "a second value for", key->key);
	} else {
		w->seen[key - w->keys] = true;
		r = key->type == BH_CONF_EACH ? key->each(w->target, rest, value, w->diag)
					      : set_value(key, w->target, value, w->diag);
		if (r < 0 && w->diag) {
			struct bh_diag inner = *w->diag;

			r = bh_diag_at(w->diag, r, w->file, (unsigned int)ev->start_mark.line + 1,
				       (unsigned int)ev->start_mark.column + 1, "%s", inner.text);
		}
	}
	bh_wbuf_done(&lines);
	bh_wbuf_done(&dotted);
	return r;
}

/* An empty mapping or list is fine only where a known key begins or lies below. */
static int on_open(struct walk *w, const yaml_event_t *ev, bool list)
{
	struct bh_wbuf dotted;
	bool known = w->depth == 0;
	size_t len;

	if (w->depth == 0 && list) {
		return fail(w, ev, "expected keys, not a list", NULL);
	}
	if (w->depth == CONF_DEPTH_MAX) {
		return fail(w, ev, "nested too deep", NULL);
	}
	bh_wbuf_init(&dotted, 0);
	path_of(w, '.', &dotted);
	len = strlen(bh_wbuf_cstr(&dotted));
	for (size_t i = 0; i < w->count && !known; i++) {
		const struct bh_conf_key *key = &w->keys[i];
		size_t key_len = strlen(key->key);

		known = (key->type == BH_CONF_EACH &&
			 strncmp(bh_wbuf_cstr(&dotted), key->key, key_len) == 0 &&
			 (bh_wbuf_cstr(&dotted)[key_len] == '\0' ||
			  bh_wbuf_cstr(&dotted)[key_len] == '.')) ||
			(!list && strncmp(key->key, bh_wbuf_cstr(&dotted), len) == 0 &&
			 key->key[len] == '.');
	}
	if (!known) {
		int r = fail(w, ev,
			     "unknown key, or a single value is expected:", bh_wbuf_cstr(&dotted));

		bh_wbuf_done(&dotted);
		return r;
	}
	bh_wbuf_done(&dotted);
	w->stack[w->depth++] = (struct level){.list = list};
	return 0;
}

static void value_ends(struct walk *w)
{
	struct level *top;

	if (w->depth == 0) {
		return;
	}
	top = &w->stack[w->depth - 1];
	if (top->list) {
		top->index++;
	} else {
		free(top->name);
		top->name = NULL;
	}
}

static void close_level(struct walk *w)
{
	free(w->stack[--w->depth].name);
	value_ends(w);
}

static int on_scalar(struct walk *w, const yaml_event_t *ev)
{
	struct level *top = w->depth ? &w->stack[w->depth - 1] : NULL;
	int r;

	if (ev->data.scalar.anchor) {
		return fail(w, ev, "anchors are not allowed", NULL);
	}
	if (!top) {
		/* A document of comments only is one empty plain scalar. */
		return ev->data.scalar.length ? fail(w, ev, "expected keys", NULL) : 0;
	}
	if (!top->list && !top->name) {
		if (!ev->data.scalar.length || ev->data.scalar.length > 255 ||
		    memchr(ev->data.scalar.value, '\0', ev->data.scalar.length) ||
		    memchr(ev->data.scalar.value, '\n', ev->data.scalar.length)) {
			return fail(w, ev, "expected a key", NULL);
		}
		top->name = bh_strdup((const char *)ev->data.scalar.value);
		return 0;
	}
	r = on_value(w, ev);
	value_ends(w);
	return r;
}

static int on_event(struct walk *w, const yaml_event_t *ev)
{
	struct level *top = w->depth ? &w->stack[w->depth - 1] : NULL;

	switch (ev->type) {
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (top && !top->list && !top->name) {
			return fail(w, ev, "expected a key", NULL);
		}
		if (ev->type == YAML_MAPPING_START_EVENT ? !!ev->data.mapping_start.anchor
							 : !!ev->data.sequence_start.anchor) {
			return fail(w, ev, "anchors are not allowed", NULL);
		}
		return on_open(w, ev, ev->type == YAML_SEQUENCE_START_EVENT);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		close_level(w);
		return 0;
	case YAML_SCALAR_EVENT:
		return on_scalar(w, ev);
	case YAML_ALIAS_EVENT:
		return fail(w, ev, "aliases are not allowed", NULL);
	default:
		return 0;
	}
}

static int walk_document(struct walk *w)
{
	unsigned int documents = 0;
	bool done = false;
	int r = 0;

	while (!done && r == 0) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&w->parser, &ev)) {
			return bh_diag_at(w->diag, -EINVAL, w->file,
					  (unsigned int)w->parser.problem_mark.line + 1,
					  (unsigned int)w->parser.problem_mark.column + 1,
					  "not YAML: %s",
					  w->parser.problem ? w->parser.problem : "unreadable");
		}
		if (ev.type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
			r = fail(w, &ev, "a second document", NULL);
		} else {
			r = on_event(w, &ev);
		}
		done = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
	}
	return r;
}

int bh_conf_parse(const char *data, size_t size, const char *file, const struct bh_conf_key *keys,
		  size_t count, void *target, struct bh_diag *diag)
{
	struct walk w = {
		.file = file, .keys = keys, .count = count, .target = target, .diag = diag};
	int r;

	if (count > CONF_KEYS_MAX) {
		return bh_diag_set(diag, -E2BIG, "too many configuration keys in the program");
	}
	for (size_t i = 0; i < count; i++) {
		if (keys[i].dflt) {
			r = set_value(&keys[i], target, keys[i].dflt, diag);
			if (r < 0) {
				return r;
			}
		}
	}
	if (!yaml_parser_initialize(&w.parser)) {
		return bh_diag_set(diag, -ENOMEM, "cannot start the YAML reader");
	}
	yaml_parser_set_input_string(&w.parser, (const unsigned char *)data, size);
	r = walk_document(&w);
	while (w.depth) {
		close_level(&w);
	}
	yaml_parser_delete(&w.parser);
	return r;
}

int bh_conf_load(const char *path, bool must_exist, const struct bh_conf_key *keys, size_t count,
		 void *target, struct bh_diag *diag)
{
	BH_FREE char *data = NULL;
	size_t size = 0;
	int r;

	r = bh_file_read(path, CONF_SIZE_MAX, &data, &size, diag);
	if (r == -ENOENT && !must_exist) {
		return bh_conf_parse("", 0, path, keys, count, target, diag);
	}
	if (r < 0) {
		return r;
	}
	return bh_conf_parse(data, size, path, keys, count, target, diag);
}

int bh_conf_set(const struct bh_conf_key *keys, size_t count, void *target, const char *path,
		const char *value, struct bh_diag *diag)
{
	BH_FREE char *lines = bh_strdup(path);
	const struct bh_conf_key *key;
	const char *rest = NULL;

	/* A key's own dots have to stay: each prefix that ends at a dot may be an EACH key. The
	 * longest comes first. */
	key = find_key(keys, count, lines, path, &rest);
	for (size_t i = strlen(lines); i-- > 0 && !key;) {
		if (lines[i] == '.') {
			lines[i] = '\n';
			key = find_key(keys, count, lines, path, &rest);
			lines[i] = '.';
		}
	}
	if (!key) {
		return bh_diag_set(diag, -EINVAL, "unknown key '%.200s'", path);
	}
	if (key->type != BH_CONF_EACH) {
		return set_value(key, target, value, diag);
	}
	for (char *dot = lines + (rest - lines); *dot; dot++) {
		*dot = *dot == '.' ? '\n' : *dot;
	}
	return key->each(target, rest, value, diag);
}

void bh_conf_done(const struct bh_conf_key *keys, size_t count, void *target)
{
	for (size_t i = 0; i < count; i++) {
		if (keys[i].type == BH_CONF_STR) {
			char **s = (char **)((char *)target + keys[i].offset);

			free(*s);
			*s = NULL;
		}
	}
}
