/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords about flows: direction and state, marks and numbers, sizes, protocol, reputation. */
#include "gate/app/app.h"
#include "gate/rules/reading.h"

int gate_kw_flow(struct gate_reading *r, const struct gate_option *o)
{
	static const struct {
		const char *word;
		uint16_t option, against;
	} words[] = {
		{"to_server", GATE_FLOWOPT_TO_SERVER, GATE_FLOWOPT_TO_CLIENT},
		{"from_client", GATE_FLOWOPT_TO_SERVER, GATE_FLOWOPT_TO_CLIENT},
		{"to_client", GATE_FLOWOPT_TO_CLIENT, GATE_FLOWOPT_TO_SERVER},
		{"from_server", GATE_FLOWOPT_TO_CLIENT, GATE_FLOWOPT_TO_SERVER},
		{"established", GATE_FLOWOPT_ESTABLISHED,
		 GATE_FLOWOPT_NOT_ESTABLISHED | GATE_FLOWOPT_STATELESS},
		{"not_established", GATE_FLOWOPT_NOT_ESTABLISHED,
		 GATE_FLOWOPT_ESTABLISHED | GATE_FLOWOPT_STATELESS},
		{"stateless", GATE_FLOWOPT_STATELESS,
		 GATE_FLOWOPT_ESTABLISHED | GATE_FLOWOPT_NOT_ESTABLISHED},
		{"only_stream", GATE_FLOWOPT_ONLY_STREAM, GATE_FLOWOPT_NO_STREAM},
		{"no_stream", GATE_FLOWOPT_NO_STREAM, GATE_FLOWOPT_ONLY_STREAM},
		{"only_frag", GATE_FLOWOPT_ONLY_FRAG, GATE_FLOWOPT_NO_FRAG},
		{"no_frag", GATE_FLOWOPT_NO_FRAG, GATE_FLOWOPT_ONLY_FRAG},
	};
	uint16_t *opts = &r->rule->flow_opts;
	char *rest = o->value, *part;

	while ((part = gate_part(&rest))) {
		size_t i = 0;

		while (i < BH_ARRAY_SIZE(words) && strcasecmp(words[i].word, part) != 0) {
			i++;
		}
		if (i == BH_ARRAY_SIZE(words)) {
			return gate_refuse(r, "flow: %s is not known", *part ? part : "nothing");
		}
		if (*opts & words[i].against) {
			return gate_refuse(r, "flow: %s contradicts what is before it", part);
		}
		if (*opts & words[i].option) {
			return gate_refuse(r, "flow: %s is there twice", part);
		}
		*opts |= words[i].option;
	}
	return 0;
}

/* ---- marks ---- */

static const char *const commands[] = {"set", "unset", "toggle", "isset", "isnotset", NULL};

static int bits_match(struct gate_reading *r, int command, struct gate_match **ret)
{
	bool asks = command == GATE_BITS_ISSET || command == GATE_BITS_ISNOTSET;

	*ret = asks ? gate_packet_match(r, GATE_M_FLOWBITS) : gate_post_match(r, GATE_M_FLOWBITS);
	if (!*ret) {
		return -EINVAL;
	}
	(*ret)->bits.cmd = (typeof((*ret)->bits.cmd))command;
	return 0;
}

#define NAMES_MAX 100 /* of one keyword: each is looked for at each packet */

/* "a|b": one of them. */
static int bits_names(struct gate_reading *r, struct gate_flowbits *bits, char *names)
{
	char *name;

	while ((name = strsep(&names, "|"))) {
		name = gate_trim(name);
		if (!*name) {
			return gate_refuse(r, "%s: a name is empty", r->option->name);
		}
		if (bits->names.count == NAMES_MAX) {
			return gate_refuse(r, "%s: more than %d names", r->option->name, NAMES_MAX);
		}
		*bh_vec_push(&bits->names) = gate_names_number(r->names, name);
	}
	bits->any = bits->names.count > 1;
	if (bits->any && bits->cmd != GATE_BITS_ISSET && bits->cmd != GATE_BITS_ISNOTSET) {
		return gate_refuse(r, "%s: several names are for isset and isnotset",
				   r->option->name);
	}
	return 0;
}

int gate_kw_flowbits(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *command = gate_part(&rest);
	int which = gate_word_index(command, commands);
	struct gate_match *match;
	int err;

	if (!strcmp(command, "noalert") && !rest) {
		r->rule->flags |= GATE_RULE_NOALERT;
		return 0;
	}
	if (which < 0 || !rest || strchr(rest, ',')) {
		return gate_refuse(r,
				   "flowbits: set, unset, toggle, isset, isnotset and a name, or "
				   "noalert, is expected");
	}
	err = bits_match(r, which, &match);
	return err ? err : bits_names(r, &match->bits, rest);
}

/* track ip_src, expire 30 */
static int xbits_words(struct gate_reading *r, char *rest, struct gate_flowbits *bits)
{
	static const char *const tracks[] = {"", "ip_src", "ip_dst", "ip_pair", "tx", NULL};
	bool tracked = false;
	char *part;
	uint64_t v;

	bits->expire_s = 30;
	while ((part = gate_part(&rest))) {
		char *word = gate_word(&part);

		part = gate_trim(part);
		if (!strcmp(word, "track")) {
			int which = *part ? gate_word_index(part, tracks) : -1;

			if (which < 0) {
				return gate_refuse(r, "xbits: track ip_src, ip_dst, ip_pair or tx "
						      "is expected");
			}
			bits->track = (typeof(bits->track))which;
			tracked = true;
		} else if (!strcmp(word, "expire")) {
			if (gate_number_read(part, UINT32_MAX, &v) || !v) {
				return gate_refuse(r, "xbits: expire of %s", part);
			}
			bits->expire_s = (uint32_t)v;
		} else {
			return gate_refuse(r, "xbits: %s is not known", word);
		}
	}
	return tracked ? 0 : gate_refuse(r, "xbits: track is expected");
}

int gate_kw_xbits(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *command = gate_part(&rest), *name = gate_part(&rest);
	int which = gate_word_index(command, commands);
	struct gate_match *match;
	int err;

	if (!strcmp(command, "noalert") && !name) {
		r->rule->flags |= GATE_RULE_NOALERT;
		return 0;
	}
	if (which < 0 || !name || !*name) {
		return gate_refuse(r, "xbits: set, unset, toggle, isset, isnotset, a name and "
				      "track are expected");
	}
	err = bits_match(r, which, &match);
	err = err ? err : bits_names(r, &match->bits, name);
	return err ? err : xbits_words(r, rest, &match->bits);
}

/* set,name,src,30 */
int gate_kw_hostbits(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const sides[] = {"src", "dst", "both", NULL};
	char *rest = o->value, *command = gate_part(&rest), *name = gate_part(&rest);
	char *side = gate_part(&rest), *expire = gate_part(&rest);
	int which = gate_word_index(command, commands),
	    on = side ? gate_word_index(side, sides) : 0;
	uint64_t seconds = 300; /* Suricata's, of hostbits */
	struct gate_match *match;
	int err;

	if (!strcmp(command, "noalert") && !name) {
		r->rule->flags |= GATE_RULE_NOALERT;
		return 0;
	}
	if (which < 0 || !name || !*name || rest || on < 0 ||
	    (expire && (gate_number_read(expire, UINT32_MAX, &seconds) || !seconds))) {
		return gate_refuse(r, "hostbits: set, unset, toggle, isset, isnotset, a name, src, "
				      "dst or both, and seconds are expected");
	}
	err = bits_match(r, which, &match);
	err = err ? err : bits_names(r, &match->bits, name);
	if (err) {
		return err;
	}
	match->bits.track = on == 2 ? GATE_BITS_HOSTS : on ? GATE_BITS_DST : GATE_BITS_SRC;
	match->bits.expire_s = (uint32_t)seconds;
	return 0;
}

/* ---- numbers of a flow ---- */

static int flowint_sign(const char *sign, struct gate_flowint *f)
{
	static const struct {
		const char *sign;
		uint8_t cmd, op;
	} signs[] = {
		{"+", GATE_INT_ADD, 0},
		{"-", GATE_INT_SUB, 0},
		{"=", GATE_INT_SET, 0},
		{"==", GATE_INT_TEST, GATE_EQ},
		{"!=", GATE_INT_TEST, GATE_NE},
		{"<", GATE_INT_TEST, GATE_LT},
		{"<=", GATE_INT_TEST, GATE_LE},
		{">", GATE_INT_TEST, GATE_GT},
		{">=", GATE_INT_TEST, GATE_GE},
		{"isset", GATE_INT_ISSET, 0},
		{"isnotset", GATE_INT_ISNOTSET, 0},
		{"notset", GATE_INT_ISNOTSET, 0},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(signs); i++) {
		if (!strcmp(signs[i].sign, sign)) {
			f->cmd = (typeof(f->cmd))signs[i].cmd;
			f->op = (enum gate_compare)signs[i].op;
			return 0;
		}
	}
	return -EINVAL;
}

int gate_kw_flowint(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *name = gate_part(&rest), *sign = gate_part(&rest);
	char *value = gate_part(&rest);
	struct gate_flowint f = {};
	struct gate_match *match;
	bool asks;
	uint64_t v;

	if (!*name || !sign || flowint_sign(sign, &f) || rest) {
		return gate_refuse(r, "flowint: name, one of + - = == != < <= > >= isset isnotset, "
				      "value are expected");
	}
	if ((f.cmd == GATE_INT_ISSET || f.cmd == GATE_INT_ISNOTSET) != (!value || !*value)) {
		return gate_refuse(
			r, value ? "flowint: %s takes no value" : "flowint: %s takes a value",
			sign);
	}
	f.name = gate_names_number(r->names, name);
	if (value && *value && !gate_number_read(value, UINT32_MAX, &v)) {
		f.value = (uint32_t)v;
	} else if (value && *value) {
		if (*value >= '0' && *value <= '9') {
			return gate_refuse(r, "flowint: %s is no number of 32 bits", value);
		}
		f.value_is_name = true;
		f.value = gate_names_number(r->names, value);
	}
	asks = f.cmd == GATE_INT_TEST || f.cmd == GATE_INT_ISSET || f.cmd == GATE_INT_ISNOTSET;
	match = asks ? gate_packet_match(r, GATE_M_FLOWINT) : gate_post_match(r, GATE_M_FLOWINT);
	if (!match) {
		return -EINVAL;
	}
	match->flowint = f;
	return 0;
}

/* ---- what expressions captured ---- */

/* name,"text" */
int gate_kw_textvar(struct gate_reading *r, const struct gate_option *o)
{
	char *text = strchr(o->value, ',');
	struct gate_match *match;
	uint8_t *bytes;
	size_t len, size;
	int err;

	if (text) {
		*text = '\0';
		text = gate_trim(text + 1);
	}
	len = text ? strlen(text) : 0;
	if (len > 1 && *text == '"' && text[len - 1] == '"') {
		text[len - 1] = '\0';
		text++;
		len -= 2;
	}
	if (!len || !*gate_trim(o->value)) {
		return gate_refuse(r, "%s: a name and a text are expected", o->name);
	}
	err = gate_bytes_read(r, text, &bytes, &size);
	if (err) {
		return err;
	}
	match = gate_packet_match(r, GATE_M_FLOWVAR);
	if (!match) {
		free(bytes);
		return -EINVAL;
	}
	match->textvar.name = gate_names_number(r->names, gate_trim(o->value));
	match->textvar.of_flow = o->keyword->number == GATE_CAPTURE_FLOW;
	match->textvar.bytes = bytes;
	match->textvar.size = (uint16_t)size;
	return 0;
}

/* ---- sizes ---- */

static int sides_match(struct gate_reading *r, enum gate_match_kind kind, int side,
		       const char *text)
{
	struct gate_match *match;
	struct gate_test test;

	if (gate_test_read(text, UINT64_MAX, &test)) {
		return gate_refuse(r, "%s: %s can't be compared with", r->option->name, text);
	}
	match = gate_packet_match(r, kind);
	if (!match) {
		return -EINVAL;
	}
	match->num.test = test;
	match->num.dir = (uint8_t)side;
	return 0;
}

/* server,<,100 */
int gate_kw_stream_size(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const sides[] = {"server", "client", "both", "either", NULL};
	static const char *const signs[] = {"<", ">", "=", "!=", "<=", ">=", NULL};
	char *rest = o->value, *side = gate_part(&rest), *sign = gate_part(&rest);
	char *value = gate_part(&rest);
	int which = gate_word_index(side, sides);

	if (which < 0 || !value || rest || gate_word_index(sign, signs) < 0) {
		return gate_refuse(r, "stream_size: server, client, both or either, a comparison "
				      "and a size are expected");
	}
	BH_FREE char *text = bh_asprintf("%s%s", sign, value);

	return sides_match(r, GATE_M_STREAM_SIZE, which, text);
}

int gate_kw_flow_sides(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const sides[] = {"toserver", "toclient", "both", "either", NULL};
	char *rest = o->value, *side = gate_part(&rest);
	int which = gate_word_index(side, sides);

	if (which < 0 || !rest) {
		return gate_refuse(r,
				   "%s: toserver, toclient, both or either and a comparison are "
				   "expected",
				   o->name);
	}
	return sides_match(r, o->keyword->number, which, gate_trim(rest));
}

int gate_kw_flow_to_server(struct gate_reading *r, const struct gate_option *o)
{
	return sides_match(r, o->keyword->number, GATE_SIDE_SERVER, o->value);
}

int gate_kw_flow_to_client(struct gate_reading *r, const struct gate_option *o)
{
	return sides_match(r, o->keyword->number, GATE_SIDE_CLIENT, o->value);
}

int gate_kw_flow_test(struct gate_reading *r, const struct gate_option *o)
{
	return sides_match(r, o->keyword->number, 0, o->value);
}

/* ---- protocol, reputation ---- */

int gate_kw_app_protocol(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const modes[] = {"direction", "final",     "original", "either",
					    "to_server", "to_client", NULL};
	char *rest = o->value, *name = gate_part(&rest), *mode = gate_part(&rest);
	int which = mode ? gate_word_index(mode, modes) : 0;
	struct gate_match *match;
	enum gate_app app;
	uint32_t apps = gate_apps_named(name, &app);

	if (!apps) {
		return gate_refuse(r, "app-layer-protocol: no protocol %s", name);
	}
	if (which < 0 || rest) {
		return gate_refuse(r, "app-layer-protocol: direction, final, original, either, "
				      "to_server or to_client is expected");
	}
	if (r->rule->proto == GATE_RULE_APP) {
		return gate_refuse_at(r, o->at, "app-layer-protocol: the header names a protocol");
	}
	match = gate_packet_match(r, GATE_M_APP_PROTO);
	if (!match) {
		return -EINVAL;
	}
	match->app_proto.negated = o->negated;
	match->app_proto.dir = (uint8_t)which;
	match->app_proto.app = (uint16_t)app;
	match->app_proto.apps = apps;
	return 0;
}

/* ">", "30" as one comparison; isset is any value, isnotset none. */
static int iprep_test(struct gate_reading *r, const char *sign, const char *value,
		      struct gate_test *ret, bool *ret_unset)
{
	BH_FREE char *text = value ? bh_asprintf("%s%s", sign, value) : NULL;

	*ret_unset = !value && !strcmp(sign, "isnotset");
	if (!value && (*ret_unset || !strcmp(sign, "isset"))) {
		*ret = (struct gate_test){.op = GATE_GE};
		return 0;
	}
	return !text || gate_test_read(text, 127, ret)
		       ? gate_refuse(r, "iprep: %s %s is no comparison", sign, value ? value : "")
		       : 0;
}

int gate_kw_iprep(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const sides[] = {"any", "src", "dst", "both", NULL};
	char *rest = o->value, *side = gate_part(&rest), *name = gate_part(&rest);
	char *sign = gate_part(&rest), *value = gate_part(&rest);
	int which = gate_word_index(side, sides), category;
	struct gate_match *match;
	struct gate_test test;
	bool unset;
	int err;

	if (which < 0 || !sign || rest) {
		return gate_refuse(r, "iprep: any, src, dst or both, category, comparison, value "
				      "or isset, isnotset are expected");
	}
	category = gate_shared_category(r->shared, name);
	if (category < 0) {
		return gate_refuse(r, "iprep: no category %s is configured", name);
	}
	err = iprep_test(r, sign, value, &test, &unset);
	match = err ? NULL : gate_packet_match(r, GATE_M_IPREP);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->iprep.side = (typeof(match->iprep.side))which;
	match->iprep.category = (uint8_t)category;
	match->iprep.unset = unset;
	match->iprep.test = test;
	return 0;
}

int gate_kw_bypass(struct gate_reading *r, const struct gate_option *o)
{
	return gate_post_match(r, GATE_M_BYPASS) ? 0 : -EINVAL;
}

int gate_kw_nfq_set_mark(struct gate_reading *r, const struct gate_option *o)
{
	BH_FREE char *text = bh_strdup(o->value);
	char *mask = strchr(text, '/');
	uint64_t number;

	if (mask) {
		*mask++ = '\0';
	}
	if (gate_number_read(gate_trim(text), UINT32_MAX, &number) ||
	    (mask && gate_number_read(gate_trim(mask), UINT32_MAX, &number))) {
		return gate_refuse(r, "nfq_set_mark: mark[/mask] is expected");
	}
	return 0;
}

static bool is_pair(char *part, const char *first, const char *second)
{
	return part && !strcmp(gate_word(&part), first) && !strcmp(gate_trim(part), second);
}

/* logging disable, type tx, scope tx */
int gate_kw_config(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *what = gate_part(&rest), *type = gate_part(&rest);
	char *scope = gate_part(&rest);

	if (!is_pair(what, "logging", "disable") || !is_pair(type, "type", "tx") ||
	    !is_pair(scope, "scope", "tx") || rest) {
		return gate_refuse(r, "config: \"logging disable, type tx, scope tx\" is expected; "
				      "tracking is of Suricata's firewall mode");
	}
	return gate_post_match(r, GATE_M_CONFIG) ? 0 : -EINVAL;
}

/* session,5,packets; host,100,seconds,src */
int gate_kw_tag(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const units[] = {"bytes", "packets", "seconds", NULL};
	static const char *const ends[] = {"dst", "src", NULL};
	char *rest = o->value, *what = o->value ? gate_part(&rest) : NULL;
	char *count = gate_part(&rest), *unit = gate_part(&rest), *end = gate_part(&rest);
	bool host = what && !strcmp(what, "host");
	int which = unit ? gate_word_index(unit, units) : 1;
	int src = end ? gate_word_index(end, ends) : 0;
	struct gate_match *match;
	uint64_t v = 256; /* packets, as Suricata */

	if ((what && !host && strcmp(what, "session") != 0) || which < 0 || src < 0 || rest ||
	    (end && !host) || (count && (gate_number_read(count, UINT32_MAX, &v) || !v || !unit))) {
		return gate_refuse(r, "tag: session or host, count, packets, seconds or bytes are "
				      "expected");
	}
	match = gate_post_match(r, GATE_M_TAG);
	if (!match) {
		return -EINVAL;
	}
	match->tag.host = host;
	match->tag.src = src;
	match->tag.packets = which == 1;
	match->tag.seconds = which == 2;
	match->tag.count = (uint32_t)v;
	return 0;
}
