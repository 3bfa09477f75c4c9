/* SPDX-License-Identifier: Apache-2.0 */
/* content, its modifiers, and what else looks at bytes without reading numbers. */
#include "gate/rules/reading.h"

#define VALUE_MAX                                                                                  \
	1048576 /* of offset, depth, distance, within: Suricata's DETECT_CONTENT_VALUE_MAX */

static int content_new(struct gate_reading *r, const struct gate_option *o, int32_t list,
		       struct gate_match **ret)
{
	BH_FREE uint8_t *bytes = NULL;
	struct gate_match *match;
	size_t size;
	int err;

	err = gate_bytes_read(r, o->value, &bytes, &size);
	if (err) {
		return err;
	}
	if (!size) {
		return gate_refuse(r, "%s: it is empty", o->name);
	}
	match = gate_list_add(r, list, GATE_M_CONTENT);
	if (!match) {
		return -EINVAL;
	}
	match->content.bytes = bh_steal(&bytes);
	match->content.size = (uint16_t)size;
	match->content.flags = o->negated ? GATE_CONTENT_NEGATED : 0;
	*ret = match;
	return 0;
}

int gate_kw_content(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	int32_t list;
	int err;

	err = gate_list_target(r, false, &list);
	return err ? err : content_new(r, o, list, &match);
}

int gate_kw_uricontent(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	int32_t list;
	int err;

	if (r->list != GATE_LIST_PAYLOAD) {
		return gate_refuse_at(r, o->at, "uricontent: a buffer is open");
	}
	err = gate_list_of(r, GATE_BUF_HTTP_URI, &list);
	return err ? err : content_new(r, o, list, &match);
}

/* The buffer by this keyword alone: filename:"x", tls.subject:"x". */
static int content_in(struct gate_reading *r, const struct gate_option *o, uint16_t flags)
{
	enum gate_buffer buffer = o->keyword->number;
	struct gate_match_ref content = r->last_content, any = r->last_match,
			      anchor = r->last_anchor;
	struct gate_match *match;
	int32_t list;
	int err;

	err = gate_list_of(r, buffer, &list);
	err = err ? err : content_new(r, o, list, &match);
	if (!err) {
		match->content.flags |= flags;
		if (flags & GATE_CONTENT_STARTSWITH) {
			match->content.flags |= GATE_CONTENT_DEPTH;
			match->content.depth.value = match->content.size;
		}
	}
	/* modifiers go on to speak of the content before */
	r->last_content = content;
	r->last_match = any;
	r->last_anchor = anchor;
	return err;
}

int gate_kw_content_of(struct gate_reading *r, const struct gate_option *o)
{
	bool nocase = o->keyword->number == GATE_BUF_FILE_NAME ||
		      o->keyword->number == GATE_BUF_FILE_MAGIC ||
		      o->keyword->number == GATE_BUF_TLS_CERT_FINGERPRINT;

	return content_in(r, o, nocase ? GATE_CONTENT_NOCASE : 0);
}

/* All that is behind the last dot: "pd" is not at the end of x.pdf, nor "df". */
int gate_kw_fileext(struct gate_reading *r, const struct gate_option *o)
{
	BH_FREE char *text = bh_asprintf(".%s", o->value);
	struct gate_option in = *o;

	in.value = *o->value && *o->value != '.' ? text : o->value;
	return content_in(r, &in, GATE_CONTENT_NOCASE | GATE_CONTENT_ENDSWITH);
}

/* "2.0" is all of the version; "2_compat" is 2 and what speaks it too, 1.99. */
int gate_kw_ssh_protoversion(struct gate_reading *r, const struct gate_option *o)
{
	static const char compat[] = "^(?:2|1\\.99$)";
	struct gate_match *match;
	int32_t list;
	int err;

	if (strcmp(o->value, "2_compat") != 0) {
		return content_in(r, o, GATE_CONTENT_STARTSWITH | GATE_CONTENT_ENDSWITH);
	}
	err = gate_list_of(r, o->keyword->number, &list);
	match = err ? NULL : gate_list_add(r, list, GATE_M_PCRE);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->pcre.pattern = bh_strdup(compat);
	return 0;
}

int gate_kw_ftpdata_command(struct gate_reading *r, const struct gate_option *o)
{
	if (strcasecmp(o->value, "stor") != 0 && strcasecmp(o->value, "retr") != 0) {
		return gate_refuse(r, "ftpdata_command: stor or retr is expected, not %s",
				   o->value);
	}
	struct gate_keyword_entry entry = *o->keyword;
	struct gate_option in = *o;

	entry.number = GATE_BUF_FTPDATA_COMMAND;
	in.keyword = &entry;
	return content_in(r, &in, GATE_CONTENT_NOCASE | GATE_CONTENT_ENDSWITH);
}

/* ---- modifiers of the last content ---- */

static int last_content(struct gate_reading *r, struct gate_content **ret)
{
	struct gate_match *match = gate_match_at(r, r->last_content);

	if (!match) {
		return gate_refuse_at(r, r->option->at, "%s: a content is expected before it",
				      r->option->name);
	}
	*ret = &match->content;
	return 0;
}

/* Sets a flag that may be set once and not with others. */
static int content_flag(struct gate_reading *r, uint16_t flag, uint16_t forbidden,
			struct gate_content **ret)
{
	int err = last_content(r, ret);

	if (err) {
		return err;
	}
	if ((*ret)->flags & flag) {
		return gate_refuse_at(r, r->option->at, "%s: the content has it already",
				      r->option->name);
	}
	if ((*ret)->flags & forbidden) {
		return gate_refuse_at(r, r->option->at,
				      "%s: offset, depth and startswith don't go with distance and "
				      "within, nor startswith with offset and depth",
				      r->option->name);
	}
	if ((*ret)->flags & GATE_CONTENT_FAST_ONLY) {
		return gate_refuse_at(r, r->option->at,
				      "%s: a content with fast_pattern:only has no place",
				      r->option->name);
	}
	(*ret)->flags |= flag;
	return 0;
}

int gate_kw_nocase(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err = last_content(r, &content);

	if (err) {
		return err;
	}
	if (content->flags & GATE_CONTENT_NOCASE) {
		return gate_refuse_at(r, o->at, "nocase: the content has it already");
	}
	content->flags |= GATE_CONTENT_NOCASE;
	return 0;
}

int gate_kw_offset(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err;

	err = content_flag(r, GATE_CONTENT_OFFSET,
			   GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN | GATE_CONTENT_STARTSWITH,
			   &content);
	return err ? err : gate_operand_read(r, o->value, 0, VALUE_MAX, &content->offset);
}

static int not_smaller(struct gate_reading *r, const struct gate_content *content,
		       const struct gate_operand *operand)
{
	if (!operand->is_var && operand->value < content->size) {
		return gate_refuse(r, "%s: %lld is less than the content's %u bytes",
				   r->option->name, (long long)operand->value, content->size);
	}
	return 0;
}

int gate_kw_depth(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err;

	err = content_flag(r, GATE_CONTENT_DEPTH,
			   GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN | GATE_CONTENT_STARTSWITH,
			   &content);
	err = err ? err : gate_operand_read(r, o->value, 0, VALUE_MAX, &content->depth);
	return err ? err : not_smaller(r, content, &content->depth);
}

/* A content that is only searched for is nowhere: nothing can stand relative to it. */
static int relative_to_place(struct gate_reading *r)
{
	struct gate_match_ref ref = r->last_content;
	const struct gate_match *before;

	if (ref.list == GATE_LIST_NONE || !ref.index) {
		return 0;
	}
	ref.index--;
	before = gate_match_at(r, ref);
	if (before->kind == GATE_M_CONTENT && (before->content.flags & GATE_CONTENT_FAST_ONLY)) {
		return gate_refuse_at(r, r->option->at,
				      "%s: the content before has fast_pattern:only and no place",
				      r->option->name);
	}
	return 0;
}

int gate_kw_distance(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err;

	err = content_flag(r, GATE_CONTENT_DISTANCE,
			   GATE_CONTENT_OFFSET | GATE_CONTENT_DEPTH | GATE_CONTENT_STARTSWITH,
			   &content);
	err = err ? err : relative_to_place(r);
	return err ? err
		   : gate_operand_read(r, o->value, -VALUE_MAX, VALUE_MAX, &content->distance);
}

int gate_kw_within(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err;

	err = content_flag(r, GATE_CONTENT_WITHIN,
			   GATE_CONTENT_OFFSET | GATE_CONTENT_DEPTH | GATE_CONTENT_STARTSWITH,
			   &content);
	err = err ? err : relative_to_place(r);
	err = err ? err : gate_operand_read(r, o->value, -VALUE_MAX, VALUE_MAX, &content->within);
	return err ? err : not_smaller(r, content, &content->within);
}

int gate_kw_startswith(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	int err;

	err = content_flag(r, GATE_CONTENT_STARTSWITH,
			   GATE_CONTENT_OFFSET | GATE_CONTENT_DEPTH | GATE_CONTENT_DISTANCE |
				   GATE_CONTENT_WITHIN,
			   &content);
	if (err) {
		return err;
	}
	content->flags |= GATE_CONTENT_DEPTH;
	content->depth = (struct gate_operand){.value = content->size};
	return 0;
}

int gate_kw_endswith(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;

	return content_flag(r, GATE_CONTENT_ENDSWITH, 0, &content);
}

int gate_kw_rawbytes(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;

	return content_flag(r, GATE_CONTENT_RAWBYTES, 0, &content);
}

static int chop_read(struct gate_reading *r, struct gate_content *content, char *rest)
{
	const char *offset = gate_part(&rest), *size = gate_part(&rest);
	uint64_t from, count;

	if (!size || rest || gate_number_read(offset, UINT16_MAX, &from) ||
	    gate_number_read(size, UINT16_MAX, &count) || !count) {
		return gate_refuse(r, "fast_pattern: only, or offset,size is expected");
	}
	if (from + count > content->size) {
		return gate_refuse(r, "fast_pattern: the content has only %u bytes", content->size);
	}
	content->flags |= GATE_CONTENT_FAST_CHOP;
	content->chop_offset = (uint16_t)from;
	content->chop_size = (uint16_t)count;
	return 0;
}

int gate_kw_fast_pattern(struct gate_reading *r, const struct gate_option *o)
{
	uint16_t place = GATE_CONTENT_OFFSET | GATE_CONTENT_DEPTH | GATE_CONTENT_DISTANCE |
			 GATE_CONTENT_WITHIN;
	struct gate_content *content;
	int err;

	err = last_content(r, &content);
	if (err) {
		return err;
	}
	if (content->flags & GATE_CONTENT_FAST) {
		return gate_refuse_at(r, o->at, "fast_pattern: the content has it already");
	}
	content->flags |= GATE_CONTENT_FAST;
	r->fast_at = o->at;
	if (!o->value) {
		return 0;
	}
	if (content->flags & GATE_CONTENT_NEGATED) {
		return gate_refuse(r, "fast_pattern: a negated content takes no %s", o->value);
	}
	if (strcmp(o->value, "only") != 0) {
		return chop_read(r, content, o->value);
	}
	if (content->flags & place) {
		return gate_refuse(r, "fast_pattern:only: the content has a place");
	}
	content->flags |= GATE_CONTENT_FAST_ONLY;
	return 0;
}

int gate_kw_replace(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_content *content;
	BH_FREE uint8_t *bytes = NULL;
	size_t size;
	int err;

	err = last_content(r, &content);
	err = err ? err : gate_bytes_read(r, o->value, &bytes, &size);
	if (err) {
		return err;
	}
	if (r->last_content.list != r->payload) {
		return gate_refuse_at(r, o->at, "replace: only what is in the payload is replaced");
	}
	if (content->flags & (GATE_CONTENT_NEGATED | GATE_CONTENT_REPLACE)) {
		return gate_refuse_at(r, o->at, "replace: the content is %s",
				      content->flags & GATE_CONTENT_NEGATED ? "negated"
									    : "replaced already");
	}
	if (size != content->size) {
		return gate_refuse(r, "replace: %zu bytes for the content's %u", size,
				   content->size);
	}
	content->flags |= GATE_CONTENT_REPLACE;
	content->replace = bh_steal(&bytes);
	return 0;
}

int gate_kw_move(struct gate_reading *r, const struct gate_option *o)
{
	return gate_list_move_last(r, o->keyword->number);
}

/* ---- buffers ---- */

int gate_kw_sticky(struct gate_reading *r, const struct gate_option *o)
{
	return gate_list_open(r, o->keyword->number);
}

/* As the guide writes names: behind the protocol, or without it when the header says it; those of
 * SMB's and SSL's versions also behind "smb." and "tls.". */
int gate_kw_frame(struct gate_reading *r, const struct gate_option *o)
{
	static const struct {
		enum gate_app app;
		const char *before;
	} spellings[] = {
		{GATE_APP_UNKNOWN, ""},	  {GATE_APP_HTTP1, "http1."},
		{GATE_APP_TLS, "tls."},	  {GATE_APP_DNS, "dns."},
		{GATE_APP_SIP, "sip."},	  {GATE_APP_SSH, "ssh."},
		{GATE_APP_SMTP, "smtp."}, {GATE_APP_WEBSOCKET, "websocket."},
	};
	bool versioned = !strncmp(o->value, "smb.", 4) || !strncmp(o->value, "tls.ssl2", 8);
	const char *name = versioned ? o->value + 4 : o->value;

	for (size_t i = 0; i < BH_ARRAY_SIZE(spellings); i++) {
		BH_FREE char *full = bh_asprintf("frame:%s%s", spellings[i].before, name);
		enum gate_buffer frame = gate_buffer_find(full);

		if (frame != GATE_BUF_PAYLOAD && (!i || r->rule->app == spellings[i].app)) {
			return gate_list_open(r, frame);
		}
	}
	return gate_refuse(r, "frame: %s is no frame", o->value);
}

int gate_kw_pkt_data(struct gate_reading *r, const struct gate_option *o)
{
	if (r->transforms.count || (r->list >= 0 && !r->rule->lists.items[r->list].matches.count)) {
		return gate_refuse_at(r, o->at, "pkt_data: nothing is asked of the buffer before");
	}
	r->list = GATE_LIST_PAYLOAD;
	return 0;
}

int gate_kw_base64_data(struct gate_reading *r, const struct gate_option *o)
{
	if (!r->base64_decode) {
		return gate_refuse_at(r, o->at, "base64_data: base64_decode is expected before it");
	}
	if (r->transforms.count) {
		return gate_refuse_at(r, o->at, "base64_data: nothing uses the transforms before");
	}
	r->list = GATE_LIST_BASE64;
	return 0;
}

int gate_kw_base64_decode(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_base64 b = {};
	char *rest = o->value, *part;
	struct gate_match *match;
	int32_t list;
	uint64_t v;
	int err;

	if (r->base64_decode) {
		return gate_refuse_at(r, o->at, "base64_decode is there twice");
	}
	while ((part = gate_part(&rest))) {
		char *word = gate_word(&part);

		part = gate_trim(part);
		if (!strcmp(word, "relative")) {
			b.relative = true;
		} else if (!strcmp(word, "bytes") && !gate_number_read(part, 65535, &v) && v) {
			b.bytes = (uint32_t)v;
		} else if (!strcmp(word, "offset") && !gate_number_read(part, 65535, &v)) {
			b.offset = (uint32_t)v;
		} else {
			return gate_refuse(r, "base64_decode: bytes N, offset N, relative are "
					      "expected");
		}
	}
	err = gate_list_target(r, b.relative, &list);
	if (err) {
		return err;
	}
	if (list == GATE_LIST_BASE64) {
		return gate_refuse_at(r, o->at, "base64_decode: not of decoded bytes");
	}
	match = gate_list_add(r, list, GATE_M_BASE64_DECODE);
	if (!match) {
		return -EINVAL;
	}
	match->base64 = b;
	r->base64_decode = true;
	return 0;
}

/* ---- sizes ---- */

/* "!1,relative" behind a content is endswith, as in Suricata. */
static bool is_end(struct gate_reading *r, const struct gate_isdataat *is, int32_t list)
{
	struct gate_match *last = gate_match_at(r, r->last_anchor);

	if (!is->negated || !is->relative || is->offset.is_var || is->offset.value != 1 || !last ||
	    last->kind != GATE_M_CONTENT || r->last_anchor.list != list) {
		return false;
	}
	last->content.flags |= GATE_CONTENT_ENDSWITH;
	return true;
}

int gate_kw_isdataat(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_isdataat is = {.negated = o->negated};
	char *rest = o->value, *part = gate_part(&rest);
	struct gate_match *match;
	int32_t list;
	int err;

	err = gate_operand_read(r, part, 0, 65535, &is.offset);
	while (!err && (part = gate_part(&rest))) {
		if (!strcmp(part, "relative")) {
			is.relative = true;
		} else if (strcmp(part, "rawbytes") != 0) {
			err = gate_refuse(r, "isdataat: relative is expected, not %s", part);
		}
	}
	err = err ? err : gate_list_target(r, is.relative, &list);
	if (err || is_end(r, &is, list)) {
		return err;
	}
	match = gate_list_add(r, list, GATE_M_ISDATAAT);
	if (!match) {
		return -EINVAL;
	}
	match->isdataat = is;
	return 0;
}

int gate_kw_bsize(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	struct gate_test test;
	int err;

	if (gate_test_read(o->value, UINT64_MAX, &test)) {
		return gate_refuse(r, "bsize: %s is no size that can be", o->value);
	}
	err = gate_list_settle(r);
	if (err) {
		return err;
	}
	if (r->list < 0 && r->list != GATE_LIST_BASE64) {
		return gate_refuse_at(r, o->at, "bsize: a buffer is expected before it");
	}
	match = gate_list_add(r, r->list, GATE_M_BSIZE);
	if (!match) {
		return -EINVAL;
	}
	match->num.test = test;
	return 0;
}

/* "<=4.5", "3-5", "!3-5". */
static int entropy_value(struct gate_reading *r, const char *s, struct gate_entropy *ret)
{
	static const struct {
		const char *sign;
		enum gate_compare op;
	} signs[] = {{"<=", GATE_LE}, {">=", GATE_GE}, {"!=", GATE_NE}, {"==", GATE_EQ},
		     {"<", GATE_LT},  {">", GATE_GT},  {"=", GATE_EQ},	{"!", GATE_NE}};
	char *end;

	ret->op = GATE_EQ;
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(signs); i++) {
		if (!strncmp(s, signs[i].sign, strlen(signs[i].sign))) {
			s += strlen(signs[i].sign);
			ret->op = signs[i].op;
			break;
		}
	}
	s += strspn(s, " \t");
	ret->a = *s >= '0' && *s <= '9' ? strtod(s, &end) : -1;
	if (ret->a < 0 || ret->a > 8) {
		return gate_refuse(r, "entropy: %s is no value from 0 to 8", s);
	}
	end += strspn(end, " \t");
	if (*end == '-' && (ret->op == GATE_EQ || ret->op == GATE_NE)) {
		ret->op = ret->op == GATE_EQ ? GATE_RANGE : GATE_NOT_RANGE;
		ret->b = strtod(end + 1, &end);
		if (!(ret->b > ret->a) || ret->b > 8) {
			return gate_refuse(r, "entropy: a range goes up, to 8 at most");
		}
	}
	return *end ? gate_refuse(r, "entropy: %s is not understood", end) : 0;
}

int gate_kw_entropy(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_entropy entropy = {};
	char *rest = o->value, *part;
	struct gate_match *match;
	bool valued = false;
	int32_t list;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		uint32_t *number = !strncmp(part, "bytes ", 6)	  ? &entropy.bytes
				   : !strncmp(part, "offset ", 7) ? &entropy.offset
								  : NULL;
		uint64_t v = 0;

		if (number && !gate_number_read(gate_trim(strchr(part, ' ')), UINT32_MAX, &v)) {
			*number = (uint32_t)v;
			continue;
		}
		part = !strncmp(part, "value ", 6) ? gate_trim(part + 6) : part;
		err = number || valued ? gate_refuse(r, "entropy: bytes N, offset N and one value "
							"are expected")
				       : entropy_value(r, part, &entropy);
		valued = true;
	}
	if (!err && !valued) {
		err = gate_refuse(r, "entropy: a value is expected");
	}
	err = err ? err : gate_list_target(r, false, &list);
	match = err ? NULL : gate_list_add(r, list, GATE_M_ENTROPY);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->entropy = entropy;
	return 0;
}

int gate_kw_urilen(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const kinds[] = {"norm", "raw", NULL};
	char *rest = o->value, *size = gate_part(&rest), *kind = gate_part(&rest);
	int which = kind ? gate_word_index(kind, kinds) : 0;
	struct gate_match *match;
	struct gate_test test;
	int32_t list;
	int err;

	if (which < 0 || rest) {
		return gate_refuse(r, "urilen: norm or raw is expected behind the comma");
	}
	if (gate_test_read(size, UINT16_MAX, &test)) {
		return gate_refuse(r, "urilen: %s is no size that can be", size);
	}
	err = gate_list_of(r, which ? GATE_BUF_HTTP_URI_RAW : GATE_BUF_HTTP_URI, &list);
	if (err) {
		return err;
	}
	match = gate_list_add(r, list, GATE_M_BSIZE);
	if (!match) {
		return -EINVAL;
	}
	match->num.test = test;
	return 0;
}

int gate_kw_absent(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	int err;

	if (o->value && strcmp(o->value, "or_else") != 0) {
		return gate_refuse(r, "absent: or_else is expected, not %s", o->value);
	}
	err = gate_list_settle(r);
	if (err) {
		return err;
	}
	if (r->list < 0 || r->rule->lists.items[r->list].matches.count) {
		return gate_refuse_at(r, o->at, "absent comes first behind a buffer");
	}
	match = gate_list_add(r, r->list, GATE_M_ABSENT);
	if (!match) {
		return -EINVAL;
	}
	match->other.args[0] = o->value != NULL;
	return 0;
}
