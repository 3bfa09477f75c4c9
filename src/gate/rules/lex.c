/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the rules in the text of a file: comments, rules over several lines (a backslash at the end
 * of a line), and the place of each byte. What a rule says is not looked at here.
 */
#include "gate/rules/reading.h"

#include <ctype.h>

static const char *const actions[] = {"alert",	   "drop",	 "pass",   "reject", "rejectsrc",
				      "rejectdst", "rejectboth", "config", NULL};

void gate_rule_text_done(struct gate_rule_text *text)
{
	free(text->text);
	bh_vec_done(&text->joins);
	memset(text, 0, sizeof(*text));
}

void gate_rule_text_place(const struct gate_rule_text *text, size_t offset, uint32_t *ret_line,
			  uint32_t *ret_column)
{
	size_t begin = 0;

	*ret_line = text->line;
	bh_vec_foreach (j, &text->joins) {
		if (j->offset > offset) {
			break;
		}
		*ret_line = j->line;
		begin = j->offset;
	}
	*ret_column = (uint32_t)(offset - begin) + 1;
}

/* A comment that is a rule: after the marks comes an action and then, somewhere, options. */
static bool is_disabled_rule(const char *line, size_t size)
{
	size_t at = 0, begin;
	char word[16];

	while (at < size && (line[at] == '#' || line[at] == ' ' || line[at] == '\t')) {
		at++;
	}
	begin = at;
	while (at < size && isalpha((unsigned char)line[at])) {
		at++;
	}
	if (at == begin || at - begin >= sizeof(word) || at >= size || line[at] != ' ') {
		return false;
	}
	memcpy(word, line + begin, at - begin);
	word[at - begin] = '\0';
	return gate_word_index(word, actions) >= 0 && memchr(line + at, '(', size - at) &&
	       memmem(line + at, size - at, "sid:", 4);
}

/* Length of the line at pos without its end; *ret_next is behind it. */
static size_t line_at(const char *data, size_t size, size_t pos, size_t *ret_next)
{
	const char *end = memchr(data + pos, '\n', size - pos);
	size_t len = end ? (size_t)(end - data) - pos : size - pos;

	*ret_next = end ? pos + len + 1 : size;
	if (len && data[pos + len - 1] == '\r') {
		len--;
	}
	return len;
}

static void append(struct gate_rule_text *t, const char *data, size_t size)
{
	t->text = bh_realloc_array(t->text, t->size + size + 1, 1);
	memcpy(t->text + t->size, data, size);
	t->size += size;
	t->text[t->size] = '\0';
}

bool gate_lex_next(const char *data, size_t size, size_t *pos, uint32_t *line, uint64_t *disabled,
		   struct gate_rule_text *ret)
{
	memset(ret, 0, sizeof(*ret));
	while (*pos < size) {
		size_t next, len = line_at(data, size, *pos, &next), blank = 0;
		const char *text = data + *pos;

		*pos = next;
		++*line;
		while (blank < len && (text[blank] == ' ' || text[blank] == '\t')) {
			blank++;
		}
		if (!ret->text && (blank == len || text[blank] == '#' || text[blank] == ';')) {
			*disabled += blank < len && is_disabled_rule(text + blank, len - blank);
			continue;
		}
		if (!ret->text) {
			ret->line = *line;
		} else {
			struct gate_rule_join *join = bh_vec_push(&ret->joins);

			join->offset = ret->size;
			join->line = *line;
		}
		bool more = len && text[len - 1] == '\\';
		append(ret, text, len - more);
		if (!more || ret->size > GATE_RULE_SIZE_MAX) {
			return true;
		}
	}
	return ret->text != NULL;
}
