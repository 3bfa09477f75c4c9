/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcre: "/pattern/options, captures". Letters of PCRE become options of pcre2_compile; those of
 * buffers put the expression into that buffer's list. Whether it compiles is seen here, so that a
 * rule set that loads can be built.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "gate/rules/reading.h"

#include <pcre2.h>

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

/* "flow:name, pkt:name" */
static int read_captures(struct gate_reading *r, char *rest, struct gate_pcre *pcre)
{
	char *part;

	while ((part = gate_part(&rest))) {
		bool of_flow = !strncmp(part, "flow:", 5);
		struct gate_pcre_capture *capture;

		if ((!of_flow && strncmp(part, "pkt:", 4) != 0) || pcre->captures.count == 8) {
			return gate_refuse(r, "pcre: flow:name or pkt:name is expected, at most 8");
		}
		part = gate_trim(strchr(part, ':') + 1);
		if (!*part) {
			return gate_refuse(r, "pcre: the name of a capture is empty");
		}
		capture = bh_vec_push(&pcre->captures);
		capture->name = bh_strdup(part);
		capture->of_flow = of_flow;
	}
	return 0;
}

/* (?P<flow_name>..): names in the pattern itself. */
static void named_captures(const pcre2_code *code, struct gate_pcre *pcre)
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
		const char *name = (const char *)names + 2;
		bool of_flow = !strncmp(name, "flow_", 5);

		if ((!of_flow && strncmp(name, "pkt_", 4) != 0) || !group || group > 8) {
			continue;
		}
		while (pcre->captures.count < group) {
			(void)bh_vec_push(&pcre->captures);
		}
		free(pcre->captures.items[group - 1].name);
		pcre->captures.items[group - 1].name = bh_strdup(strchr(name, '_') + 1);
		pcre->captures.items[group - 1].of_flow = of_flow;
	}
}

static int check(struct gate_reading *r, struct gate_pcre *pcre, size_t pattern_at)
{
	PCRE2_SIZE at = 0;
	int code = 0;
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pcre->pattern, PCRE2_ZERO_TERMINATED,
					     pcre->options, &code, &at, NULL);
	PCRE2_UCHAR text[128] = "";

	if (!compiled) {
		pcre2_get_error_message(code, text, sizeof(text));
		return gate_refuse_at(r, pattern_at + at, "pcre: %s", (char *)text);
	}
	named_captures(compiled, pcre);
	pcre2_code_free(compiled);
	return 0;
}

static int read_all(struct gate_reading *r, const struct gate_option *o, struct gate_pcre *pcre,
		    enum gate_buffer *ret_buffer)
{
	char *slash = strrchr(o->value, '/'), *rest;
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
