/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords about the headers of one packet. */
#include "gate/rules/reading.h"

#include <ctype.h>
#include <netinet/in.h>

#define VLAN_MAX  4095
#define VLAN_TAGS 3 /* of a packet that rules can name */

void gate_needs_packet(struct gate_reading *r)
{
	if (!r->needs_packet) {
		r->needs_packet = r->option->keyword->name;
		r->needs_packet_at = r->option->at;
	}
}

static uint64_t largest(enum gate_match_kind kind)
{
	switch (kind) {
	case GATE_M_TTL:
	case GATE_M_TOS:
	case GATE_M_ITYPE:
	case GATE_M_ICODE:
	case GATE_M_IGMP_TYPE:
	case GATE_M_SCTP_CHUNK_TYPE:
	case GATE_M_TCP_WSCALE:
	case GATE_M_VLAN_LAYERS:
	case GATE_M_IP_PROTO:
		return 255;
	case GATE_M_IP_ID:
	case GATE_M_TCP_WINDOW:
	case GATE_M_TCP_MSS:
	case GATE_M_ICMP_ID:
	case GATE_M_ICMP_SEQ:
	case GATE_M_SCTP_CHUNK_CNT:
	case GATE_M_DSIZE:
		return UINT16_MAX;
	default:
		return UINT32_MAX;
	}
}

static int add_test(struct gate_reading *r, enum gate_match_kind kind, const struct gate_test *test)
{
	struct gate_match *match = gate_packet_match(r, kind);

	if (!match) {
		return -EINVAL;
	}
	gate_needs_packet(r);
	match->num.test = *test;
	return 0;
}

/* A comparison of any sort. */
int gate_kw_packet_test(struct gate_reading *r, const struct gate_option *o)
{
	enum gate_match_kind kind = o->keyword->number;
	struct gate_test test;

	if (gate_test_read(o->value, largest(kind), &test)) {
		return gate_refuse(r, "%s: %s can't be compared with", o->name, o->value);
	}
	return add_test(r, kind, &test);
}

/* "8", "!8", "x08" */
int gate_kw_tos(struct gate_reading *r, const struct gate_option *o)
{
	bool negated = *o->value == '!';
	const char *number = gate_trim(o->value + negated);
	bool hex = *number == 'x' || *number == 'X';
	BH_FREE char *text = bh_asprintf("%s%s%s", negated ? "!" : "", hex ? "0" : "", number);
	struct gate_test test;

	if (gate_test_read(text, largest(GATE_M_TOS), &test)) {
		return gate_refuse(r, "tos: %s can't be compared with", o->value);
	}
	return add_test(r, GATE_M_TOS, &test);
}

/* A comparison, or the name of a type (RFC 9260, 3.2), negated with a ! before it. */
int gate_kw_sctp_chunk_type(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {
		"data",	 "init",     "init_ack",	  "sack",  "heartbeat",	  "hb_ack",
		"abort", "shutdown", "shutdown_ack",	  "error", "cookie_echo", "cookie_ack",
		"ecne",	 "cwr",	     "shutdown_complete", NULL};
	bool negated = *o->value == '!';
	BH_FREE char *name = bh_strdup(gate_trim(o->value + negated));
	struct gate_test test = {.op = negated ? GATE_NE : GATE_EQ};
	int which;

	for (char *s = name; *s; s++) {
		*s = (char)tolower((unsigned char)*s);
	}
	which = gate_word_index(name, names);
	if (which >= 0) {
		test.a = (uint64_t)which;
	} else if (!strcmp(name, "forward_tsn")) {
		test.a = 192; /* RFC 3758 */
	} else if (gate_test_read(o->value, largest(o->keyword->number), &test)) {
		return gate_refuse(r, "%s: no type %s", o->name, o->value);
	}
	return add_test(r, o->keyword->number, &test);
}

int gate_kw_packet_flag(struct gate_reading *r, const struct gate_option *o)
{
	return gate_packet_match(r, o->keyword->number) ? 0 : -EINVAL;
}

int gate_kw_dsize(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_test test;

	if (r->has_dsize) {
		return gate_refuse_at(r, o->at, "dsize is there twice");
	}
	if (gate_test_read(o->value, UINT16_MAX, &test)) {
		return gate_refuse(r, "dsize: %s is no size that can be", o->value);
	}
	r->has_dsize = true;
	return add_test(r, GATE_M_DSIZE, &test);
}

static int proto_number(const char *name, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protos[] = {
		{"icmp", IPPROTO_ICMP},
		{"igmp", IPPROTO_IGMP},
		{"ipip", IPPROTO_IPIP},
		{"tcp", IPPROTO_TCP},
		{"egp", IPPROTO_EGP},
		{"udp", IPPROTO_UDP},
		{"ipv6", IPPROTO_IPV6},
		{"rsvp", IPPROTO_RSVP},
		{"gre", IPPROTO_GRE},
		{"esp", IPPROTO_ESP},
		{"ah", IPPROTO_AH},
		{"ipv6-icmp", IPPROTO_ICMPV6},
		{"icmpv6", IPPROTO_ICMPV6},
		{"eigrp", 88},
		{"ospf", 89},
		{"pim", IPPROTO_PIM},
		{"vrrp", 112},
		{"l2tp", 115},
		{"sctp", IPPROTO_SCTP},
		{"udplite", IPPROTO_UDPLITE},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(protos); i++) {
		if (!strcasecmp(protos[i].name, name)) {
			*ret = protos[i].number;
			return 0;
		}
	}
	return gate_number_read(name, 255, ret);
}

int gate_kw_ip_proto(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_test test = {.op = o->negated ? GATE_NE : GATE_EQ};
	char *name = o->value;

	if (!o->negated && (*name == '<' || *name == '>')) {
		test.op = *name == '<' ? GATE_LT : GATE_GT;
		name = gate_trim(name + 1);
	}
	if (proto_number(name, &test.a)) {
		return gate_refuse(r, "ip_proto: %s is no protocol", name);
	}
	return add_test(r, GATE_M_IP_PROTO, &test);
}

static int add_other(struct gate_reading *r, enum gate_match_kind kind, const char *text,
		     uint32_t a, uint32_t b)
{
	struct gate_match *match = gate_packet_match(r, kind);

	if (!match) {
		return -EINVAL;
	}
	gate_needs_packet(r);
	match->other.text = text ? bh_strdup(text) : NULL;
	match->other.args[0] = a;
	match->other.args[1] = b;
	return 0;
}

int gate_kw_ipopts(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {"rr",    "lsrr", "eol",    "nop",  "ts",
					    "sec",   "esec", "lsrre",  "ssrr", "satid",
					    "cipso", "qs",   "rtralt", "any",  NULL};
	static const uint16_t numbers[] = {7,	131, 0,	  1,   68, 130, 133,
					   131, 137, 136, 134, 25, 148, GATE_IPOPT_ANY};
	int which = gate_word_index(o->value, names);

	if (which < 0) {
		return gate_refuse(r, "ipopts: no option %s", o->value);
	}
	return add_other(r, GATE_M_IPOPTS, o->value, numbers[which], 0);
}

int gate_kw_fragbits(struct gate_reading *r, const struct gate_option *o)
{
	uint32_t bits = 0, modifier = 0;

	for (const char *s = o->value; *s; s++) {
		if (*s == '+' || *s == '*' || *s == '!') {
			if (modifier) {
				return gate_refuse(r, "fragbits: one of + * !");
			}
			modifier = (uint32_t)*s;
		} else if (strchr("MDRmdr", *s)) {
			bits |= toupper(*s) == 'M'   ? 0x2000u
				: toupper(*s) == 'D' ? 0x4000u
						     : 0x8000u;
		} else if (*s != ' ') {
			return gate_refuse(r, "fragbits: M, D or R is expected, not %c", *s);
		}
	}
	if (!bits) {
		return gate_refuse(r, "fragbits: M, D or R is expected");
	}
	return add_other(r, GATE_M_FRAGBITS, o->value, bits, modifier);
}

int gate_kw_fragoffset(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_test test;

	if (gate_test_read(o->value, 8191, &test) || test.op == GATE_RANGE) {
		return gate_refuse(r, "fragoffset: %s can't be compared with", o->value);
	}
	return add_test(r, GATE_M_FRAGOFFSET, &test);
}

/* Letters of TCP's flags; -1 none. */
static int flag_bit(char c)
{
	static const char letters[] = "FSRPAU21";

	switch (toupper((unsigned char)c)) {
	case 'E':
		return 0x40;
	case 'C':
		return 0x80;
	case '0':
		return 0;
	default:
		for (int i = 0; letters[i]; i++) {
			if (letters[i] == toupper((unsigned char)c)) {
				return 1 << i;
			}
		}
		return -1;
	}
}

int gate_kw_tcp_flags(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *flags = gate_part(&rest), *ignored = gate_part(&rest);
	struct gate_match *match;
	uint8_t set = 0, mask = 0xff;
	char op = 0;

	for (const char *s = flags; *s; s++) {
		if (strchr("+*!", *s)) {
			if (op) {
				return gate_refuse(r, "%s: one of + * !", o->name);
			}
			op = *s;
		} else if (flag_bit(*s) < 0) {
			return gate_refuse(r, "%s: no flag %c", o->name, *s);
		} else {
			set |= (uint8_t)flag_bit(*s);
		}
	}
	for (const char *s = ignored ? ignored : ""; *s; s++) {
		if (flag_bit(*s) < 0) {
			return gate_refuse(r, "%s: no flag %c", o->name, *s);
		}
		mask &= (uint8_t)~flag_bit(*s);
	}
	if (!*flags || rest) {
		return gate_refuse(r, "%s: flags[,ignored flags] are expected", o->name);
	}
	match = gate_packet_match(r, GATE_M_TCP_FLAGS);
	if (!match) {
		return -EINVAL;
	}
	gate_needs_packet(r);
	match->tcp_flags.set = set & mask;
	match->tcp_flags.mask = mask;
	match->tcp_flags.op = op;
	return 0;
}

/* id[, layer]: of any tag, of all, of one from the outermost (0) or from the innermost (-1) on. */
int gate_kw_vlan_id(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_multi multi = {};
	struct gate_test test = {};
	struct gate_match *match;
	char *id;
	int err;

	err = gate_multi_read(r, o->value, &multi, &id);
	if (!err && id && gate_test_read(id, VLAN_MAX, &test)) {
		err = gate_refuse(r, "vlan.id: %s can't be compared with", id);
	}
	if (!err && (multi.at < -VLAN_TAGS || multi.at >= VLAN_TAGS)) {
		err = gate_refuse(r, "vlan.id: the layer is %d to %d", -VLAN_TAGS, VLAN_TAGS - 1);
	}
	match = err ? NULL : gate_packet_match(r, GATE_M_VLAN_ID);
	if (!match) {
		return err ? err : -EINVAL;
	}
	gate_needs_packet(r);
	match->num.test = test;
	match->num.multi = multi;
	return 0;
}

int gate_kw_csum(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const states[] = {"invalid", "valid", NULL};
	int which = gate_word_index(o->value, states);

	if (which < 0) {
		return gate_refuse(r, "%s: valid or invalid is expected", o->name);
	}
	return add_other(r, GATE_M_CSUM, NULL, o->keyword->number, (uint32_t)which);
}

int gate_kw_engine_event(struct gate_reading *r, const struct gate_option *o)
{
	bool of_stream = o->keyword->number == GATE_M_STREAM_EVENT;
	enum gate_event event;
	struct gate_match *match;
	BH_FREE char *name = of_stream && strncmp(o->value, "stream.", 7) != 0
				     ? bh_asprintf("stream.%s", o->value)
				     : bh_strdup(o->value);

	event = gate_event_find(name);
	if (event == GATE_EVENT_NONE ||
	    of_stream == (strncmp(gate_event_name(event), "stream.", 7) != 0)) {
		return gate_refuse(r, "%s: no event %s", o->name, o->value);
	}
	match = gate_packet_match(r, o->keyword->number);
	if (!match) {
		return -EINVAL;
	}
	match->event.event = (uint16_t)event;
	return 0;
}

/* program, version | *, procedure | * */
int gate_kw_rpc(struct gate_reading *r, const struct gate_option *o)
{
	BH_FREE char *text = bh_strdup(o->value);
	char *rest = o->value, *part;
	struct gate_match *match;
	uint32_t args[4] = {};
	uint64_t v;
	int at = 0;

	while ((part = gate_part(&rest))) {
		static const uint8_t places[] = {0, 2, 3};
		bool any = at && !strcmp(part, "*");

		if (at == 3 || (!any && gate_number_read(part, UINT32_MAX, &v))) {
			return gate_refuse(r, "rpc: program, version, procedure are expected");
		}
		if (!any) {
			args[places[at]] = (uint32_t)v;
			args[1] |= at == 1 ? GATE_RPC_VERSION : at == 2 ? GATE_RPC_PROCEDURE : 0;
		}
		at++;
	}
	match = gate_packet_match(r, GATE_M_RPC);
	if (!match) {
		return -EINVAL;
	}
	gate_needs_packet(r);
	match->other.text = bh_steal(&text);
	memcpy(match->other.args, args, sizeof(args));
	return 0;
}

/* Checks on ASN.1 from a place of the payload on. */
int gate_kw_asn1(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {"bitstring_overflow", "double_overflow",
					    "oversize_length",	  "absolute_offset",
					    "relative_offset",	  NULL};
	BH_FREE char *text = bh_strdup(o->value);
	char *rest = o->value, *part;
	struct gate_match *match;
	uint32_t args[4] = {};
	int32_t list;
	int64_t v;
	int err;

	while ((part = gate_part(&rest))) {
		char *word = gate_word(&part);
		int which = gate_word_index(word, names);

		if (which < 0 ||
		    (which >= 2 && gate_signed_read(gate_trim(part), which == 4 ? INT32_MIN : 0,
						    INT32_MAX, &v))) {
			return gate_refuse(r, "asn1: %s is not understood", word);
		}
		args[0] |= 1u << which;
		if (which >= 2) {
			args[which == 2 ? 1 : 2] = (uint32_t)v;
		}
	}
	if ((args[0] & GATE_ASN1_ABSOLUTE) && (args[0] & GATE_ASN1_RELATIVE)) {
		return gate_refuse(r, "asn1: absolute_offset or relative_offset, not both");
	}
	err = gate_list_target(r, args[0] & GATE_ASN1_RELATIVE, &list);
	match = err ? NULL : gate_list_add(r, list, GATE_M_ASN1);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->other.text = bh_steal(&text);
	memcpy(match->other.args, args, sizeof(args));
	return 0;
}
