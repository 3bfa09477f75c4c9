/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcre: "/pattern/options, captures". Letters of PCRE become options of pcre2_compile; those of
 * buffers put the expression into that buffer's list. Whether it compiles is seen here, so that a
 * rule set that loads can be built.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "gate/rules/reading.h"

#include <pcre2.h>

#define CAPTURES_MAX 8 /* of an expression */
#define LETTERS	     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const struct gate_pcre_letter gate_pcre_letters[] = {
	{'i', PCRE2_CASELESS}, {'m', PCRE2_MULTILINE},
	{'s', PCRE2_DOTALL},   {'x', PCRE2_EXTENDED},
	{'A', PCRE2_ANCHORED}, {'E', PCRE2_DOLLAR_ENDONLY},
	{'G', PCRE2_UNGREEDY}, {},
};

static const struct {
	char letter;
	enum gate_buffer buffer;
} buffers[] = {
	{'U', GATE_BUF_HTTP_URI},	   {'I', GATE_BUF_HTTP_URI_RAW},
	{'H', GATE_BUF_HTTP_HEADER},	   {'D', GATE_BUF_HTTP_HEADER_RAW},
	{'M', GATE_BUF_HTTP_METHOD},	   {'C', GATE_BUF_HTTP_COOKIE},
	{'P', GATE_BUF_HTTP_REQUEST_BODY}, {'Q', GATE_BUF_HTTP_RESPONSE_BODY},
	{'Y', GATE_BUF_HTTP_STAT_MSG},	   {'S', GATE_BUF_HTTP_STAT_CODE},
	{'V', GATE_BUF_HTTP_USER_AGENT},   {'W', GATE_BUF_HTTP_HOST},
	{'Z', GATE_BUF_HTTP_HOST_RAW},
};

/* The letters behind the last slash. */
static int read_letters(struct gate_reading *r, const char *letters, size_t count,
			struct gate_pcre *pcre, enum gate_buffer *ret_buffer)
{
	for (size_t i = 0; i < count; i++) {
		bool known = letters[i] == 'R' || letters[i] == 'B' || letters[i] == 'O';

		pcre->flags |= letters[i] == 'R'   ? GATE_PCRE_RELATIVE
			       : letters[i] == 'B' ? GATE_PCRE_RAWBYTES
						   : 0;
		for (size_t j = 0; gate_pcre_letters[j].letter; j++) {
			if (gate_pcre_letters[j].letter == letters[i]) {
				pcre->options |= gate_pcre_letters[j].option;
				known = true;
			}
		}
		for (size_t j = 0; j < BH_ARRAY_SIZE(buffers); j++) {
			if (buffers[j].letter != letters[i]) {
				continue;
			}
			if (*ret_buffer != GATE_BUF_PAYLOAD && *ret_buffer != buffers[j].buffer) {
				return gate_refuse(r, "pcre: two buffers");
			}
			*ret_buffer = buffers[j].buffer;
			known = true;
		}
		if (!known) {
			return gate_refuse(r, "pcre: no option %c", letters[i]);
		}
	}
	return 0;
}

static const char *const scopes[] = {"pkt", "flow", "alert"};
static const char marks[] = ":_"; /* behind a scope: in the list, in the pattern */

/* The scope that a text begins with, and what is behind it; -1 none. */
static int scope_of(const char *text, char mark, const char **ret_name)
{
	for (int i = 0; i < (int)BH_ARRAY_SIZE(scopes); i++) {
		size_t len = strlen(scopes[i]);

		if (!strncmp(text, scopes[i], len) && text[len] == mark) {
			*ret_name = text + len + 1;
			return i;
		}
	}
	return -1;
}

static void capture_set(struct gate_reading *r, struct gate_pcre_capture *capture, int scope,
			const char *name)
{
	free(capture->name);
	capture->name = bh_strdup(name);
	capture->number = gate_names_number(r->names, name);
	capture->scope = (typeof(capture->scope))scope;
}

/* "flow:name, pkt:name, alert:name" */
static int read_captures(struct gate_reading *r, char *rest, struct gate_pcre *pcre)
{
	char *part;

	while ((part = gate_part(&rest))) {
		const char *name = NULL;
		int scope = scope_of(part, marks[0], &name);

		if (scope < 0 || pcre->captures.count == CAPTURES_MAX) {
			return gate_refuse(
				r,
				"pcre: flow:name, pkt:name or alert:name is expected, at "
				"most %d",
				CAPTURES_MAX);
		}
		name += strspn(name, " \t");
		if (!*name) {
			return gate_refuse(r, "pcre: the name of a capture is empty");
		}
		capture_set(r, bh_vec_push(&pcre->captures), scope, name);
	}
	return 0;
}

/* (?P<flow_name>..): names in the pattern itself. */
static void named_captures(struct gate_reading *r, const pcre2_code *code, struct gate_pcre *pcre)
{
	uint32_t count = 0, size = 0;
	PCRE2_SPTR names;

	if (pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &count) || !count ||
	    pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &size) ||
	    pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &names)) {
		return;
	}
	for (uint32_t i = 0; i < count; i++, names += size) {
		unsigned int group = (unsigned int)names[0] << 8 | names[1];
		const char *name = NULL;
		int scope = scope_of((const char *)names + 2, marks[1], &name);

		if (scope < 0 || !group || group > CAPTURES_MAX) {
			continue;
		}
		while (pcre->captures.count < group) {
			(void)bh_vec_push(&pcre->captures);
		}
		capture_set(r, &pcre->captures.items[group - 1], scope, name);
	}
}

static int check(struct gate_reading *r, struct gate_pcre *pcre, size_t pattern_at)
{
	PCRE2_SIZE at = 0;
	int code = 0;
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pcre->pattern, PCRE2_ZERO_TERMINATED,
					     pcre->options, &code, &at, NULL);
	PCRE2_UCHAR text[128] = "";
	uint32_t groups = 0;

	if (!compiled) {
		pcre2_get_error_message(code, text, sizeof(text));
		return gate_refuse_at(r, pattern_at + at, "pcre: %s", (char *)text);
	}
	(void)pcre2_pattern_info(compiled, PCRE2_INFO_CAPTURECOUNT, &groups);
	if (pcre->captures.count > groups) {
		pcre2_code_free(compiled);
		return gate_refuse(r, "pcre: %zu names for %u captures", pcre->captures.count,
				   groups);
	}
	named_captures(r, compiled, pcre);
	pcre2_code_free(compiled);
	return 0;
}

/* The slash behind the pattern: the last one, but not one in the name of a capture. */
static char *last_slash(char *value)
{
	for (char *comma = strchr(value, ','); comma; comma = strchr(comma + 1, ',')) {
		const char *scope = comma + 1 + strspn(comma + 1, " \t"), *name;
		char *slash = memrchr(value, '/', (size_t)(comma - value));

		if (scope_of(scope, marks[0], &name) >= 0 && slash && slash > value &&
		    strspn(slash + 1, LETTERS) == (size_t)(comma - slash) - 1) {
			return slash;
		}
	}
	return strrchr(value, '/');
}

static int read_all(struct gate_reading *r, const struct gate_option *o, struct gate_pcre *pcre,
		    enum gate_buffer *ret_buffer)
{
	char *slash = last_slash(o->value), *rest;
	size_t letters;
	int err;

	if (*o->value != '/' || slash == o->value) {
		return gate_refuse(r, "pcre: /pattern/options is expected");
	}
	*slash = '\0';
	rest = slash + 1;
	letters = strcspn(rest, ", ");
	pcre->flags = o->negated ? GATE_PCRE_NEGATED : 0;
	err = read_letters(r, rest, letters, pcre, ret_buffer);
	rest = gate_trim(rest + letters);
	if (!err && *rest) {
		err = *rest == ',' ? read_captures(r, rest + 1, pcre)
				   : gate_refuse(r, "pcre: a comma is expected behind the options");
	}
	if (err) {
		return err;
	}
	pcre->pattern = bh_strdup(o->value + 1);
	return check(r, pcre, o->value_at + 1);
}

static void pcre_done(struct gate_pcre *pcre)
{
	struct gate_match match = {.kind = GATE_M_PCRE, .pcre = *pcre};

	gate_match_done(&match);
}

/* The buffer of a letter is the open one. To Suricata Q and file_data are the same. */
static bool is_open(const struct gate_reading *r, enum gate_buffer buffer)
{
	enum gate_buffer open =
		r->list < 0 ? GATE_BUF_PAYLOAD : r->rule->lists.items[r->list].buffer;

	return open == buffer ||
	       (open == GATE_BUF_FILE_DATA && buffer == GATE_BUF_HTTP_RESPONSE_BODY);
}

int gate_kw_pcre(struct gate_reading *r, const struct gate_option *o)
{
	enum gate_buffer buffer = GATE_BUF_PAYLOAD;
	struct gate_pcre pcre = {};
	struct gate_match *match = NULL;
	int32_t list;
	int err;

	err = read_all(r, o, &pcre, &buffer);
	if (!err && buffer != GATE_BUF_PAYLOAD && r->list != GATE_LIST_PAYLOAD &&
	    !is_open(r, buffer)) {
		err = gate_refuse(r, "pcre: the letter of a buffer, and another buffer is open");
	}
	if (!err && buffer != GATE_BUF_PAYLOAD && r->list == GATE_LIST_PAYLOAD) {
		err = gate_list_of(r, buffer, &list);
	} else if (!err) {
		err = gate_list_target(r, false, &list);
	}
	if (!err) {
		match = gate_list_add(r, list, GATE_M_PCRE);
	}
	if (!match) {
		pcre_done(&pcre);
		return err ? err : -EINVAL;
	}
	match->pcre = pcre;
	return 0;
}
