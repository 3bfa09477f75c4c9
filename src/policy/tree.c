/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/tree.h"

#include <errno.h>
#include <yaml.h>

#define NODES_MAX    4000000 /* per text */
#define MAP_KEYS_MAX 64	     /* so that looking for a key twice stays cheap */
#define SCALAR_MAX   65536
#define FLAT_HEAD    "firewall_rules:"

struct yaml_reader {
	yaml_parser_t parser;
	const char *file;
	const char *input; /* what the parser reads */
	size_t input_size;
	char *repaired_text;	       /* owned, or NULL */
	BH_VEC(unsigned int) repaired; /* lines (from 0) that were moved two columns to the right */
	unsigned int first_line;
	size_t nodes;
	bool ended;
};

static bool line_starts(const char *line, size_t size, const char *word)
{
	size_t n = strlen(word);

	return size >= n && !memcmp(line, word, n);
}

static bool is_flat_key(const char *line, size_t size)
{
	static const char *const keys[] = {
		"name:", "source:", "destination:", "protocol:", "port:", "action:", "log:"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(keys); i++) {
		if (line_starts(line, size, keys[i])) {
			return true;
		}
	}
	return false;
}

/*
 * The flat list is often printed without its indentation: items start with "- name:" at the margin,
 * and so do their other keys. Such keys move two columns to the right; nothing else is touched.
 */
static void repair_flat(struct yaml_reader *reader, const char *text, size_t size)
{
	struct bh_wbuf w;
	unsigned int number = 0;
	bool in_list = false;
	bool in_item = false;

	bh_wbuf_init(&w, 0);
	for (size_t pos = 0; pos < size; number++) {
		const char *line = text + pos;
		const char *end = memchr(line, '\n', size - pos);
		size_t n = end ? (size_t)(end - line) + 1 : size - pos;

		if (line_starts(line, n, FLAT_HEAD)) {
			in_list = true;
			in_item = false;
		} else if (line_starts(line, n, "---") || line_starts(line, n, "...")) {
			in_list = false;
		} else if (in_list && line_starts(line, n, "- ")) {
			in_item = true;
		} else if (in_list && in_item && is_flat_key(line, n)) {
			bh_wbuf_str(&w, "  ");
			*bh_vec_push(&reader->repaired) = number;
		}
		bh_wbuf_put(&w, line, n);
		pos += n;
	}
	if (reader->repaired.count) {
		reader->repaired_text = (char *)w.data;
		reader->input = reader->repaired_text;
		reader->input_size = w.size;
	} else {
		bh_wbuf_done(&w);
	}
}

static bool has_flat_head(const char *text, size_t size)
{
	const char *at = text;

	while ((at = memmem(at, size - (size_t)(at - text), FLAT_HEAD, strlen(FLAT_HEAD)))) {
		if (at == text || at[-1] == '\n') {
			return true;
		}
		at++;
	}
	return false;
}

struct yaml_reader *yaml_reader_new(const char *text, size_t size, const char *file,
				    unsigned int first_line)
{
	struct yaml_reader *reader = bh_alloc(sizeof(*reader));

	text = size ? text : "";		       /* libyaml takes no NULL */
	if (line_starts(text, size, "\xef\xbb\xbf")) { /* a byte order mark: editors leave it */
		text += 3;
		size -= 3;
	}
	if (!yaml_parser_initialize(&reader->parser)) {
		abort();
	}
	reader->file = file;
	reader->first_line = first_line ? first_line : 1;
	yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
	reader->input = text;
	reader->input_size = size;
	if (has_flat_head(text, size)) {
		repair_flat(reader, text, size);
	}
	yaml_parser_set_input_string(&reader->parser, (const unsigned char *)reader->input,
				     reader->input_size);
	return reader;
}

void yaml_reader_free(struct yaml_reader *reader)
{
	if (!reader) {
		return;
	}
	yaml_parser_delete(&reader->parser);
	free(reader->repaired_text);
	bh_vec_done(&reader->repaired);
	free(reader);
}

const char *yaml_reader_file(const struct yaml_reader *reader)
{
	return reader->file;
}

static bool was_repaired(const struct yaml_reader *reader, size_t line)
{
	size_t lo = 0;
	size_t hi = reader->repaired.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (reader->repaired.items[mid] == line) {
			return true;
		}
		if (reader->repaired.items[mid] < line) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return false;
}

static void place(const struct yaml_reader *reader, const yaml_mark_t *mark, unsigned int *ret_line,
		  unsigned int *ret_column)
{
	size_t column = mark->column;

	if (column >= 2 && was_repaired(reader, mark->line)) {
		column -= 2;
	}
	*ret_line = (unsigned int)mark->line + reader->first_line;
	*ret_column = (unsigned int)column + 1;
}

static int fail_at(const struct yaml_reader *reader, const yaml_mark_t *mark, int err,
		   struct bh_diag *diag, const char *text)
{
	unsigned int line;
	unsigned int column;

	place(reader, mark, &line, &column);
	return bh_diag_at(diag, err, reader->file, line, column, "%s", text);
}

/* Bytes that are no text: the parser reads ahead of its marks, so their place is counted here. */
static int fail_encoding(const struct yaml_reader *reader, struct bh_diag *diag)
{
	const yaml_parser_t *p = &reader->parser;
	yaml_mark_t mark = {};
	unsigned int line;
	unsigned int column;

	for (size_t i = 0; i < p->problem_offset && i < reader->input_size; i++) {
		if (reader->input[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if ((reader->input[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	place(reader, &mark, &line, &column);
	return bh_diag_at(diag, -EINVAL, reader->file, line, column,
			  "not YAML text: %s (byte %zu); expected UTF-8", p->problem,
			  p->problem_offset);
}

static int fail_parser(const struct yaml_reader *reader, struct bh_diag *diag)
{
	const yaml_parser_t *p = &reader->parser;
	unsigned int line;
	unsigned int column;

	if (p->error == YAML_READER_ERROR) {
		return fail_encoding(reader, diag);
	}
	place(reader, &p->problem_mark, &line, &column);
	return bh_diag_at(diag, -EINVAL, reader->file, line, column, "not YAML: %s%s%s",
			  p->problem ? p->problem : "syntax error", p->context ? " " : "",
			  p->context ? p->context : "");
}

static int next_event(struct yaml_reader *reader, yaml_event_t *ret_event, struct bh_diag *diag)
{
	if (!yaml_parser_parse(&reader->parser, ret_event)) {
		return fail_parser(reader, diag);
	}
	return 0;
}

struct building {
	struct yaml_tree_node *node;
	struct yaml_tree_node *key; /* waits for its value */
};

static int check_key(const struct yaml_reader *reader, const struct yaml_tree_node *map,
		     const struct yaml_tree_node *key, struct bh_diag *diag)
{
	if (key->kind != YAML_TEXT) {
		return bh_diag_at(diag, -EINVAL, reader->file, key->line, key->column,
				  "a key must be text");
	}
	for (const struct yaml_tree_node *c = map->first; c; c = c->next) {
		if (!strcmp(c->key->text, key->text)) {
			return bh_diag_at(diag, -EINVAL, reader->file, key->line, key->column,
					  "key \"%.64s\" is there twice, first in line %u",
					  key->text, c->key->line);
		}
	}
	if (map->count >= MAP_KEYS_MAX) {
		return bh_diag_at(diag, -EMSGSIZE, reader->file, key->line, key->column,
				  "a mapping has more than %d keys", MAP_KEYS_MAX);
	}
	return 0;
}

/* Hangs node into what is being built; the first node becomes the root. */
static int attach(const struct yaml_reader *reader, struct building *top,
		  struct yaml_tree_node *node, struct bh_diag *diag)
{
	struct yaml_tree_node *parent = top->node;

	if (parent->kind == YAML_MAP && !top->key) {
		top->key = node;
		return check_key(reader, parent, node, diag);
	}
	node->key = top->key;
	top->key = NULL;
	if (parent->last) {
		parent->last->next = node;
	} else {
		parent->first = node;
	}
	parent->last = node;
	parent->count++;
	return 0;
}

/*
 * Does a text hold what terminals obey or what other YAML readers take for a line's end? Then what
 * people see is not what is there, and the canonical text would not read back.
 */
static bool has_control(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if ((*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f ||
		    (s[0] == 0xc2 && s[1] < 0xa0) || /* U+0080 to U+009F */
		    (s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xa8 && s[2] <= 0xae) ||
		    (s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9) || /* bidi */
		    (s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf) ||		      /* U+FEFF */
		    (s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe)) { /* U+FFFE, U+FFFF */
			return true;
		}
	}
	return false;
}

static int make_node(struct yaml_reader *reader, const yaml_event_t *e, struct policy_arena *arena,
		     struct yaml_tree_node **ret_node, struct bh_diag *diag)
{
	struct yaml_tree_node *node;

	if (e->type == YAML_ALIAS_EVENT) {
		return fail_at(reader, &e->start_mark, -EINVAL, diag,
			       "aliases (*name) are not accepted; write the value out");
	}
	if (++reader->nodes > NODES_MAX) {
		return fail_at(reader, &e->start_mark, -EMSGSIZE, diag,
			       "the text has more than 4000000 values");
	}
	node = policy_arena_alloc(arena, sizeof(*node));
	place(reader, &e->start_mark, &node->line, &node->column);
	if (e->type == YAML_MAPPING_START_EVENT) {
		node->kind = YAML_MAP;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		node->kind = YAML_LIST;
	} else if (e->data.scalar.length > SCALAR_MAX) {
		return fail_at(reader, &e->start_mark, -EMSGSIZE, diag,
			       "a text of more than 65536 bytes");
	} else if (memchr(e->data.scalar.value, 0, e->data.scalar.length)) {
		return fail_at(reader, &e->start_mark, -EINVAL, diag, "a text with a zero byte");
	} else if (has_control((const char *)e->data.scalar.value)) {
		return fail_at(reader, &e->start_mark, -EINVAL, diag,
			       "a text with a control character");
	} else {
		node->text = policy_arena_strdup(arena, (const char *)e->data.scalar.value);
		node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	}
	*ret_node = node;
	return 0;
}

static int refuse_extras(const struct yaml_reader *reader, const yaml_event_t *e,
			 struct bh_diag *diag)
{
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	}
	if (anchor) {
		return fail_at(reader, &e->start_mark, -EINVAL, diag,
			       "anchors (&name) are not accepted");
	}
	if (tag) {
		return fail_at(reader, &e->start_mark, -EINVAL, diag,
			       "tags (!name) are not accepted");
	}
	return 0;
}

struct tree {
	struct building stack[BH_POLICY_DEPTH_MAX];
	size_t depth;
	struct yaml_tree_node *root;
};

/* One event of a document; `e` stays the caller's. */
static int grow(struct yaml_reader *reader, struct policy_arena *arena, const yaml_event_t *e,
		struct tree *t, struct bh_diag *diag)
{
	struct yaml_tree_node *node;
	int r;

	if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT) {
		t->depth--;
		return 0;
	}
	r = refuse_extras(reader, e, diag);
	if (!r) {
		r = make_node(reader, e, arena, &node, diag);
	}
	if (r) {
		return r;
	}
	if (!t->depth) {
		t->root = node;
	} else {
		r = attach(reader, &t->stack[t->depth - 1], node, diag);
		if (r) {
			return r;
		}
	}
	if (node->kind == YAML_TEXT) {
		return 0;
	}
	if (t->depth == BH_POLICY_DEPTH_MAX) {
		return fail_at(reader, &e->start_mark, -EMSGSIZE, diag,
			       "nested deeper than 32 levels");
	}
	t->stack[t->depth++] = (struct building){.node = node};
	return 0;
}

static int read_tree(struct yaml_reader *reader, struct policy_arena *arena,
		     struct yaml_tree_node **ret_root, struct bh_diag *diag)
{
	struct tree t = {};

	for (;;) {
		yaml_event_t e;
		bool done;
		int r = next_event(reader, &e, diag);

		if (r) {
			return r;
		}
		done = e.type == YAML_DOCUMENT_END_EVENT;
		if (!done) {
			r = grow(reader, arena, &e, &t, diag);
		}
		yaml_event_delete(&e);
		if (r) {
			return r;
		}
		if (done) {
			*ret_root = t.root;
			return 0;
		}
	}
}

int yaml_reader_next(struct yaml_reader *reader, struct policy_arena *arena,
		     struct yaml_tree_node **ret_root, struct bh_diag *diag)
{
	*ret_root = NULL;
	while (!reader->ended) {
		yaml_event_t e;
		yaml_event_type_t type;
		int r = next_event(reader, &e, diag);

		if (r) {
			return r;
		}
		type = e.type;
		yaml_event_delete(&e);
		if (type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT) {
			reader->ended = true;
		} else if (type == YAML_DOCUMENT_START_EVENT) {
			return read_tree(reader, arena, ret_root, diag);
		}
	}
	return 0;
}
