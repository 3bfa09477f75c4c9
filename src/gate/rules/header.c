/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a rule (action, protocol, addresses, ports, direction) and the cutting of what is
 * in parentheses into keywords and values. Meaning of keywords: keywords.c.
 */
#include "gate/app/app.h"
#include "gate/config.h"
#include "gate/rules/reading.h"

#include <ctype.h>

#define BIT(app) (1u << (app))

static const struct {
	const char *name;
	enum gate_action action;
	uint16_t flags;
} actions[] = {
	{"alert", GATE_ALERT},
	{"drop", GATE_DROP},
	{"pass", GATE_PASS},
	{"reject", GATE_REJECT},
	{"rejectsrc", GATE_REJECT},
	{"rejectdst", GATE_REJECT_DST},
	{"rejectboth", GATE_REJECT_BOTH},
	{"config", GATE_ALERT, GATE_RULE_NOALERT},
};

static const struct {
	const char *name;
	enum gate_rule_proto proto;
} protos[] = {
	{"ip", GATE_RULE_IP},		{"ip4", GATE_RULE_IPV4},
	{"ipv4", GATE_RULE_IPV4},	{"ip6", GATE_RULE_IPV6},
	{"ipv6", GATE_RULE_IPV6},	{"tcp", GATE_RULE_TCP},
	{"tcp-pkt", GATE_RULE_TCP_PKT}, {"tcp-stream", GATE_RULE_TCP_STREAM},
	{"udp", GATE_RULE_UDP},		{"icmp", GATE_RULE_ICMP},
	{"icmpv4", GATE_RULE_ICMPV4},	{"icmpv6", GATE_RULE_ICMPV6},
	{"igmp", GATE_RULE_IGMP},	{"sctp", GATE_RULE_SCTP},
	{"pkthdr", GATE_RULE_PKTHDR},	{"ether", GATE_RULE_ETHER},
	{"arp", GATE_RULE_ARP},
};

/* Names that stand for several, or that are spelled otherwise in rules. */
static const struct {
	const char *name;
	enum gate_app app;
	uint32_t apps;
} names[] = {
	{"http", GATE_APP_HTTP1, BIT(GATE_APP_HTTP1) | BIT(GATE_APP_HTTP2) | BIT(GATE_APP_DOH2)},
	{"http1", GATE_APP_HTTP1, BIT(GATE_APP_HTTP1)},
	{"http2", GATE_APP_HTTP2, BIT(GATE_APP_HTTP2) | BIT(GATE_APP_DOH2)},
	{"dns", GATE_APP_DNS, BIT(GATE_APP_DNS) | BIT(GATE_APP_DOH2)},
	{"doh2", GATE_APP_DOH2, BIT(GATE_APP_DOH2)},
	{"dcerpc", GATE_APP_DCERPC, BIT(GATE_APP_DCERPC) | BIT(GATE_APP_SMB)},
	{"ssl", GATE_APP_TLS, BIT(GATE_APP_TLS)},
	{"failed", GATE_APP_FAILED, BIT(GATE_APP_FAILED)},
	{"unknown", GATE_APP_UNKNOWN, BIT(GATE_APP_UNKNOWN)},
};

uint32_t gate_apps_named(const char *name, enum gate_app *ret_app)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i].name, name)) {
			*ret_app = names[i].app;
			return names[i].apps;
		}
	}
	*ret_app = gate_app_find(name);
	return *ret_app == GATE_APP_UNKNOWN ? 0 : BIT(*ret_app);
}

/* The next word of the header; brackets keep blanks inside. */
static char *header_word(char **rest, size_t *ret_at, const char *buf)
{
	char *begin = *rest;
	int depth = 0;

	while (*begin == ' ' || *begin == '\t') {
		begin++;
	}
	*ret_at = (size_t)(begin - buf);
	*rest = begin;
	while (**rest && **rest != '(' && (depth > 0 || (**rest != ' ' && **rest != '\t'))) {
		depth += **rest == '[';
		depth -= **rest == ']';
		++*rest;
	}
	return begin;
}

static int read_action(struct gate_reading *r, const char *word, size_t at)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(actions); i++) {
		if (!strcmp(actions[i].name, word)) {
			r->rule->action = (uint8_t)actions[i].action;
			r->rule->flags |= actions[i].flags;
			r->rule->rank = gate_config_rank(r->config, r->rule->action);
			return 0;
		}
	}
	return gate_refuse_at(r, at, "%s is no action", *word ? word : "nothing");
}

static int read_proto(struct gate_reading *r, char *word, size_t at)
{
	char *hook = strchr(word, ':');
	size_t hook_at = at;

	if (hook) {
		*hook++ = '\0';
		hook_at += (size_t)(hook - word);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(protos); i++) {
		if (!strcmp(protos[i].name, word)) {
			r->rule->proto = protos[i].proto;
			return hook ? gate_read_packet_hook(r, hook, hook_at) : 0;
		}
	}
	r->rule->apps = gate_apps_named(word, &r->rule->app);
	if (!r->rule->apps || r->rule->app == GATE_APP_FAILED || r->rule->app == GATE_APP_UNKNOWN) {
		return gate_refuse_at(r, at, "%s: no such protocol", *word ? word : "nothing");
	}
	r->rule->proto = GATE_RULE_APP;
	return hook ? gate_read_app_hook(r, hook, hook_at) : 0;
}

static int read_direction(struct gate_reading *r, const char *word, size_t at)
{
	if (!strcmp(word, "->")) {
		return 0;
	}
	if (!strcmp(word, "<>")) {
		r->rule->flags |= GATE_RULE_BIDIRECTIONAL;
		return 0;
	}
	if (!strcmp(word, "=>")) {
		r->rule->flags |= GATE_RULE_BOTH_SIDES;
		return 0;
	}
	return gate_refuse_at(r, at, "%s is no direction: ->, <> or =>", *word ? word : "nothing");
}

int gate_read_header(struct gate_reading *r, char *buf, size_t *ret_options)
{
	char *rest = buf, *words[7];
	size_t at[7];
	int err;

	for (unsigned int i = 0; i < 7; i++) {
		words[i] = header_word(&rest, &at[i], buf);
		if (rest == words[i] || (*rest == '(' && i < 6)) {
			return gate_refuse_at(r, at[i],
					      "the header is not complete: action, "
					      "protocol, address, port, direction, "
					      "address, port");
		}
		if (*rest && *rest != '(') {
			*rest++ = '\0';
		}
	}
	while (*rest == ' ' || *rest == '\t') {
		*rest++ = '\0';
	}
	if (*rest != '(') {
		return gate_refuse_at(r, (size_t)(rest - buf), "( is expected");
	}
	*rest = '\0';
	*ret_options = (size_t)(rest - buf) + 1;
	err = read_action(r, words[0], at[0]);
	err = err ? err : read_proto(r, words[1], at[1]);
	err = err ? err : read_direction(r, words[4], at[4]);
	err = err ? err : gate_read_addrs(r, words[2], at[2], &r->rule->src);
	err = err ? err : gate_read_ports(r, words[3], at[3], &r->rule->sport);
	err = err ? err : gate_read_addrs(r, words[5], at[5], &r->rule->dst);
	return err ? err : gate_read_ports(r, words[6], at[6], &r->rule->dport);
}

/* ---- options ---- */

/* The semicolon that ends an option: one without a backslash before it. */
static char *option_end(char *s)
{
	for (char *end = strchr(s, ';'); end; end = strchr(end + 1, ';')) {
		if (end == s || end[-1] != '\\') {
			return end;
		}
	}
	return NULL;
}

/* Takes off negation and quotes as the keyword wants it. */
static int option_value(struct gate_reading *r, struct gate_option *o, const char *buf)
{
	uint8_t flags = o->keyword->flags;
	size_t len;

	if (o->value && !*o->value) {
		o->value = NULL;
	}
	if (!o->value) {
		if (flags & (GATE_KW_NO_VALUE | GATE_KW_VALUE_OPTIONAL)) {
			return 0;
		}
		return gate_refuse_at(r, o->at, "%s: a value is expected", o->name);
	}
	if (flags & GATE_KW_NO_VALUE) {
		return gate_refuse_at(r, o->value_at, "%s takes no value", o->name);
	}
	if ((flags & GATE_KW_NEGATABLE) && *o->value == '!') {
		o->negated = true;
		o->value = gate_trim(o->value + 1);
	}
	len = strlen(o->value);
	if ((flags & GATE_KW_QUOTES) && *o->value == '"') {
		if (len < 2 || o->value[len - 1] != '"') {
			return gate_refuse_at(r, (size_t)(o->value - buf),
					      "%s: the quote is not closed", o->name);
		}
		o->quoted = true;
		o->value[len - 1] = '\0';
		o->value++;
	}
	o->value_at = (size_t)(o->value - buf);
	if ((flags & GATE_KW_MUST_QUOTE) && !o->quoted) {
		return gate_refuse_at(r, o->value_at, "%s: the value is expected in quotes",
				      o->name);
	}
	return 0;
}

static int option_once(struct gate_reading *r, const struct gate_option *o)
{
	if (!(o->keyword->flags & GATE_KW_ONCE)) {
		return 0;
	}
	bh_vec_foreach (once, &r->once) {
		if (*once == o->keyword) {
			return gate_refuse_at(r, o->at, "%s is there twice", o->name);
		}
	}
	*bh_vec_push(&r->once) = o->keyword;
	return 0;
}

static int read_option(struct gate_reading *r, char *text, const char *buf)
{
	struct gate_option o = {};
	char *colon = strchr(text, ':');

	if (colon) {
		*colon = '\0';
		o.value = gate_trim(colon + 1);
		o.value_at = (size_t)(o.value - buf);
	}
	o.name = gate_trim(text);
	o.at = (size_t)(o.name - buf);
	r->option = &o;
	for (char *p = o.name; *p; p++) {
		*p = (char)tolower((unsigned char)*p);
	}
	o.keyword = gate_shared_keyword(r->shared, o.name);
	if (!o.keyword) {
		return gate_refuse_at(r, o.at, "%s: no such keyword", *o.name ? o.name : "nothing");
	}
	if (!o.keyword->setup) {
		return gate_refuse_at(r, o.at, "%s is not supported: %s", o.name,
				      o.keyword->reason);
	}
	int err = option_once(r, &o);
	err = err ? err : option_value(r, &o, buf);
	err = err ? err : o.keyword->setup(r, &o);
	r->option = NULL;
	return err;
}

int gate_read_options(struct gate_reading *r, char *buf, size_t begin)
{
	char *at = buf + begin;
	int err;

	for (;;) {
		char *end;

		while (isspace((unsigned char)*at)) {
			at++;
		}
		if (*at == ')') {
			break;
		}
		end = *at ? option_end(at) : NULL;
		if (!end) {
			return gate_refuse_at(r, (size_t)(at - buf),
					      *at ? "the keyword does not end with ;"
						  : ") is expected");
		}
		*end = '\0';
		err = read_option(r, at, buf);
		if (err) {
			return err;
		}
		at = end + 1;
	}
	for (at++; isspace((unsigned char)*at); at++) {
	}
	return *at && *at != '#'
		       ? gate_refuse_at(r, (size_t)(at - buf), "there is something behind the rule")
		       : 0;
}
