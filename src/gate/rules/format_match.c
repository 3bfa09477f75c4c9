/* SPDX-License-Identifier: Apache-2.0 */
/* The keyword of each kind of match, written so that reading it gives the same match. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "gate/app/app.h"
#include "gate/rules/format.h"

#include <ctype.h>
#include <pcre2.h>

/* Bytes as between quotes: letters and digits as they are, the rest in hex. */
static void put_bytes(struct bh_wbuf *w, const uint8_t *bytes, size_t size)
{
	bool hex = false;

	bh_wbuf_u8(w, '"');
	for (size_t i = 0; i < size; i++) {
		bool plain = isalnum(bytes[i]) || (bytes[i] && strchr(" ./=?&-_", bytes[i]));

		if (plain == hex) {
			bh_wbuf_u8(w, '|');
			hex = !hex;
		}
		if (plain) {
			bh_wbuf_u8(w, bytes[i]);
		} else {
			bh_wbuf_printf(w, "%02x", bytes[i]);
		}
	}
	bh_wbuf_str(w, hex ? "|\"" : "\"");
}

/* Variables are named by their numbers. */
static void put_operand(struct bh_wbuf *w, const struct gate_operand *o)
{
	bh_wbuf_printf(w, o->is_var ? "v%lld" : "%lld", (long long)o->value);
}

void gate_format_transform(struct gate_format *f, const struct gate_transform *t)
{
	static const char *const names[] = {
		"compress_whitespace",
		"strip_whitespace",
		"strip_pseudo_headers",
		"header_lowercase",
		"to_lowercase",
		"to_uppercase",
		"to_md5",
		"to_sha1",
		"to_sha256",
		"dotprefix",
		"url_decode",
		"xor",
		"pcrexform",
		"from_base64",
		"domain",
		"tld",
		"gunzip",
		"zlib_deflate",
		"subslice",
	};
	static const char *const modes[] = {"rfc4648", "rfc2045", "strict"};
	struct bh_wbuf *w = f->w;

	bh_wbuf_str(w, names[t->kind]);
	switch (t->kind) {
	case GATE_XF_XOR:
		bh_wbuf_printf(w, ":offset %d, ", t->args[0]);
		if (t->args[1]) {
			bh_wbuf_printf(w, "extract %d %d", t->args[1], t->args[2]);
		}
		for (uint32_t i = 0; i < t->text_size; i++) {
			bh_wbuf_printf(w, "%02x", (uint8_t)t->text[i]);
		}
		break;
	case GATE_XF_PCREXFORM:
		bh_wbuf_printf(w, ":\"%s\"", t->text);
		break;
	case GATE_XF_FROM_BASE64:
		bh_wbuf_printf(w, ":offset %d, mode %s", t->args[1], modes[t->args[2]]);
		if (t->args[0]) {
			bh_wbuf_printf(w, ", bytes %d", t->args[0]);
		}
		break;
	case GATE_XF_GUNZIP:
	case GATE_XF_ZLIB_DEFLATE:
		bh_wbuf_printf(w, ":max-size %d", t->args[0]);
		break;
	case GATE_XF_SUBSLICE:
		bh_wbuf_printf(w, ":%d", t->args[0]);
		if (t->args[1] != GATE_SUBSLICE_ALL) {
			bh_wbuf_printf(w, ",%d", t->args[1]);
		}
		bh_wbuf_str(w, t->args[2] ? ",truncate" : "");
		break;
	default:
		break;
	}
	bh_wbuf_str(w, "; ");
}

static void put_content(struct bh_wbuf *w, const struct gate_content *c)
{
	const struct {
		uint16_t flag;
		const char *name;
		const struct gate_operand *operand;
	} places[] = {
		{GATE_CONTENT_OFFSET, "offset", &c->offset},
		{GATE_CONTENT_DEPTH, "depth", &c->depth},
		{GATE_CONTENT_DISTANCE, "distance", &c->distance},
		{GATE_CONTENT_WITHIN, "within", &c->within},
	};
	const struct {
		uint16_t flag;
		const char *name;
	} words[] = {
		{GATE_CONTENT_NOCASE, "nocase"},
		{GATE_CONTENT_STARTSWITH, "startswith"},
		{GATE_CONTENT_ENDSWITH, "endswith"},
		{GATE_CONTENT_RAWBYTES, "rawbytes"},
	};

	bh_wbuf_printf(w, "content:%s", c->flags & GATE_CONTENT_NEGATED ? "!" : "");
	put_bytes(w, c->bytes, c->size);
	bh_wbuf_str(w, "; ");
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(places); i++) {
		bool own = places[i].flag != GATE_CONTENT_DEPTH ||
			   !(c->flags & GATE_CONTENT_STARTSWITH);

		if ((c->flags & places[i].flag) && own) {
			bh_wbuf_printf(w, "%s:", places[i].name);
			put_operand(w, places[i].operand);
			bh_wbuf_str(w, "; ");
		}
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(words); i++) {
		bh_wbuf_printf(w, "%s%s", c->flags & words[i].flag ? words[i].name : "",
			       c->flags & words[i].flag ? "; " : "");
	}
	if (c->flags & GATE_CONTENT_FAST_ONLY) {
		bh_wbuf_str(w, "fast_pattern:only; ");
	} else if (c->flags & GATE_CONTENT_FAST_CHOP) {
		bh_wbuf_printf(w, "fast_pattern:%u,%u; ", c->chop_offset, c->chop_size);
	} else if (c->flags & GATE_CONTENT_FAST) {
		bh_wbuf_str(w, "fast_pattern; ");
	}
	if (c->flags & GATE_CONTENT_REPLACE) {
		bh_wbuf_str(w, "replace:");
		put_bytes(w, c->replace, c->size);
		bh_wbuf_str(w, "; ");
	}
}

static void put_pcre(struct bh_wbuf *w, const struct gate_pcre *p)
{
	static const char *const scopes[] = {"pkt", "flow", "alert"};

	bh_wbuf_printf(w, "pcre:%s\"/%s/", p->flags & GATE_PCRE_NEGATED ? "!" : "", p->pattern);
	for (const struct gate_pcre_letter *l = gate_pcre_letters; l->letter; l++) {
		if (p->options & l->option) {
			bh_wbuf_u8(w, (uint8_t)l->letter);
		}
	}
	bh_wbuf_str(w, p->flags & GATE_PCRE_RELATIVE ? "R" : "");
	bh_wbuf_str(w, p->flags & GATE_PCRE_RAWBYTES ? "B" : "");
	for (size_t i = 0; !strstr(p->pattern, "(?P<") && i < p->captures.count; i++) {
		bh_wbuf_printf(w, ", %s:%s", scopes[p->captures.items[i].scope],
			       p->captures.items[i].name);
	}
	bh_wbuf_str(w, "\"; ");
}

/* What byte_test, byte_jump and byte_extract have behind their first parts. */
static void put_byte_words(struct bh_wbuf *w, const struct gate_byte *b, enum gate_match_kind kind)
{
	static const struct {
		uint16_t flag;
		const char *word;
	} words[] = {
		{GATE_BYTE_RELATIVE, "relative"},
		{GATE_BYTE_LITTLE, "little"},
		{GATE_BYTE_DCE, "dce"},
		{GATE_BYTE_STRING, "string"},
		{GATE_BYTE_FROM_BEGINNING, "from_beginning"},
		{GATE_BYTE_FROM_END, "from_end"},
	};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(words); i++) {
		if (b->flags & words[i].flag) {
			bh_wbuf_printf(w, ",%s", words[i].word);
		}
	}
	if (b->base) {
		bh_wbuf_str(w, b->base == 8 ? ",oct" : b->base == 10 ? ",dec" : ",hex");
	}
	if (b->flags & GATE_BYTE_ALIGN) {
		bh_wbuf_str(w, ",align");
		if (kind == GATE_M_BYTE_EXTRACT) {
			bh_wbuf_printf(w, " %u", b->align);
		}
	}
	if (b->multiplier) {
		bh_wbuf_printf(w, ",multiplier %u", b->multiplier);
	}
	if (b->bitmask) {
		bh_wbuf_printf(w, ",bitmask 0x%x", b->bitmask);
	}
	if (b->post_offset) {
		bh_wbuf_printf(w, ",post_offset %d", b->post_offset);
	}
	bh_wbuf_str(w, "; ");
}

static void put_byte(struct bh_wbuf *w, const struct gate_match *m)
{
	const struct gate_byte *b = &m->byte;
	const char *op = b->op == 'l' ? "<=" : b->op == 'g' ? ">=" : NULL;

	bh_wbuf_str(w, m->kind == GATE_M_BYTE_TEST   ? "byte_test:"
		       : m->kind == GATE_M_BYTE_JUMP ? "byte_jump:"
						     : "byte_extract:");
	put_operand(w, &b->count);
	bh_wbuf_str(w, ",");
	if (m->kind == GATE_M_BYTE_TEST) {
		bh_wbuf_printf(w, "%s%.*s,", b->flags & GATE_BYTE_NEGATED ? "!" : "", op ? 2 : 1,
			       op ? op : &b->op);
		if (b->value.is_var) {
			put_operand(w, &b->value);
		} else {
			bh_wbuf_printf(w, "%llu", (unsigned long long)b->value.value);
		}
		bh_wbuf_str(w, ",");
	}
	put_operand(w, &b->offset);
	if (m->kind == GATE_M_BYTE_EXTRACT) {
		bh_wbuf_printf(w, ",v%u", b->var);
	}
	put_byte_words(w, b, m->kind);
}

static void put_byte_math(struct bh_wbuf *w, const struct gate_byte *b)
{
	const char *op = b->op == 'l' ? "<<" : b->op == 'r' ? ">>" : NULL;

	bh_wbuf_str(w, "byte_math:bytes ");
	put_operand(w, &b->count);
	bh_wbuf_str(w, ", offset ");
	put_operand(w, &b->offset);
	bh_wbuf_printf(w, ", oper %.*s, rvalue ", op ? 2 : 1, op ? op : &b->op);
	put_operand(w, &b->value);
	bh_wbuf_printf(w, ", result v%u", b->var);
	if (b->flags & GATE_BYTE_RELATIVE) {
		bh_wbuf_str(w, ", relative");
	}
	if (b->flags & (GATE_BYTE_LITTLE | GATE_BYTE_DCE)) {
		bh_wbuf_str(w, b->flags & GATE_BYTE_DCE ? ", dce" : ", endian little");
	}
	if (b->flags & GATE_BYTE_STRING) {
		bh_wbuf_printf(w, ", string %s",
			       b->base == 8    ? "oct"
			       : b->base == 10 ? "dec"
					       : "hex");
	}
	if (b->bitmask) {
		bh_wbuf_printf(w, ", bitmask 0x%x", b->bitmask);
	}
	bh_wbuf_str(w, "; ");
}

static void put_dataset(struct bh_wbuf *w, const struct gate_dataset *d)
{
	static const char *const commands[] = {"isset", "isnotset", "set", "unset"};
	static const char *const types[] = {"string", "md5", "sha256", "ipv4", "ip"};
	static const char *const formats[] = {"csv", "json", "ndjson"};

	if (d->cmd == GATE_DATA_REP) {
		bh_wbuf_printf(w, "datarep:%s,", d->name);
		gate_format_split_test(w, &d->rep);
	} else {
		bh_wbuf_printf(w, "dataset:%s,%s", commands[d->cmd], d->name);
	}
	bh_wbuf_printf(w, ",type %s,format %s", types[d->type], formats[d->format]);
	const struct {
		const char *word, *value;
	} texts[] = {{"load", d->load},
		     {"state", d->state},
		     {"value_key", d->value_key},
		     {"array_key", d->array_key},
		     {"context_key", d->context_key}};
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		if (texts[i].value) {
			bh_wbuf_printf(w, ",%s %s", texts[i].word, texts[i].value);
		}
	}
	bh_wbuf_str(w, d->subdomain ? ",match subdomain" : "");
	bh_wbuf_str(w, d->remove_key ? ",remove_key" : "");
	if (d->memcap) {
		bh_wbuf_printf(w, ",memcap %u", d->memcap);
	}
	if (d->hashsize) {
		bh_wbuf_printf(w, ",hashsize %u", d->hashsize);
	}
	bh_wbuf_str(w, "; ");
}

static void put_bits(struct gate_format *f, const struct gate_flowbits *b)
{
	static const char *const commands[] = {"set", "unset", "toggle", "isset", "isnotset"};
	static const char *const tracks[] = {"", "ip_src", "ip_dst", "ip_pair", "tx"};

	bh_wbuf_printf(f->w, "%s:%s,",
		       b->track == GATE_BITS_FLOW    ? "flowbits"
		       : b->track == GATE_BITS_HOSTS ? "hostbits"
						     : "xbits",
		       commands[b->cmd]);
	for (size_t i = 0; i < b->names.count; i++) {
		bh_wbuf_printf(f->w, "%s%s", i ? "|" : "",
			       gate_names_text(f->names, b->names.items[i]));
	}
	if (b->track == GATE_BITS_HOSTS) {
		bh_wbuf_printf(f->w, ",both,%u", b->expire_s);
	} else if (b->track != GATE_BITS_FLOW) {
		bh_wbuf_printf(f->w, ",track %s,expire %u", tracks[b->track], b->expire_s);
	}
	bh_wbuf_str(f->w, "; ");
}

static void put_flowint(struct gate_format *f, const struct gate_flowint *i)
{
	static const char *const tests[] = {"==", "!=", "<", "<=", ">", ">="};
	static const char *const commands[] = {"=", "+", "-", "", "isset", "isnotset"};

	bh_wbuf_printf(f->w, "flowint:%s,%s", gate_names_text(f->names, i->name),
		       i->cmd == GATE_INT_TEST ? tests[i->op] : commands[i->cmd]);
	if (i->value_is_name) {
		bh_wbuf_printf(f->w, ",%s", gate_names_text(f->names, i->value));
	} else if (i->cmd <= GATE_INT_TEST) {
		bh_wbuf_printf(f->w, ",%u", i->value);
	}
	bh_wbuf_str(f->w, "; ");
}

static void put_hex(struct bh_wbuf *w, const uint8_t *bytes, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++) {
		bh_wbuf_printf(w, "%02x", bytes[i]);
	}
}

/* The lists of hashes are files, which are not written again: how many there were. */
static void put_file(struct bh_wbuf *w, const struct gate_file_match *m)
{
	static const char *const names[] = {"filesize", "filemd5", "filesha1", "filesha256"};

	if (m->what == GATE_FM_ANY) {
		return; /* `filestore` says it */
	}
	bh_wbuf_printf(w, "%s:%s", names[m->what], m->negated ? "!" : "");
	if (m->what == GATE_FM_SIZE) {
		gate_format_test(w, &m->size);
	} else {
		bh_wbuf_printf(w, "%zu hashes", m->hash_count);
	}
	bh_wbuf_str(w, "; ");
}

static void put_dce(struct bh_wbuf *w, const struct gate_match *m)
{
	static const uint8_t groups[] = {4, 2, 2, 2, 6};
	const uint8_t *uuid = m->dce_iface.uuid;

	if (m->kind == GATE_M_DCE_OPNUM) {
		for (size_t i = 0; i < m->dce_opnum.in.count; i++) {
			bh_wbuf_printf(w, "%s%u-%u",
				       i ? "," : "dcerpc.opnum:", m->dce_opnum.in.items[i].first,
				       m->dce_opnum.in.items[i].last);
		}
		bh_wbuf_str(w, "; ");
		return;
	}
	bh_wbuf_str(w, "dcerpc.iface:");
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(groups); uuid += groups[i++]) {
		bh_wbuf_str(w, i ? "-" : "");
		put_hex(w, uuid, groups[i]);
	}
	if (m->dce_iface.has_version) {
		bh_wbuf_str(w, m->dce_iface.version.op == GATE_EQ ? ",=" : ",");
		gate_format_test(w, &m->dce_iface.version);
	}
	bh_wbuf_str(w, m->dce_iface.any_frag ? ",any_frag; " : "; ");
}

static void put_tcp_flags(struct bh_wbuf *w, const struct gate_match *m)
{
	static const char letters[] = "FSRPAU21";
	char op[2] = {m->tcp_flags.op};

	bh_wbuf_printf(w, "flags:%s", op);
	for (unsigned int i = 0; i < 8; i++) {
		if (m->tcp_flags.set & 1u << i) {
			bh_wbuf_u8(w, (uint8_t)letters[i]);
		}
	}
	bh_wbuf_str(w, m->tcp_flags.set ? "" : "0");
	bh_wbuf_str(w, m->tcp_flags.mask != 0xff ? "," : "");
	for (unsigned int i = 0; i < 8; i++) {
		if (!(m->tcp_flags.mask & 1u << i)) {
			bh_wbuf_u8(w, (uint8_t)letters[i]);
		}
	}
	bh_wbuf_str(w, "; ");
}

/* Keywords whose value is one comparison. */
static const char *test_name(const struct gate_match *m)
{
	static const char *const names[] = {
		[GATE_M_BSIZE] = "bsize",
		[GATE_M_DSIZE] = "dsize",
		[GATE_M_TTL] = "ttl",
		[GATE_M_TOS] = "tos",
		[GATE_M_IP_ID] = "id",
		[GATE_M_IP_PROTO] = "ip_proto",
		[GATE_M_FRAGOFFSET] = "fragoffset",
		[GATE_M_TCP_SEQ] = "seq",
		[GATE_M_TCP_ACK] = "ack",
		[GATE_M_TCP_WINDOW] = "window",
		[GATE_M_TCP_MSS] = "tcp.mss",
		[GATE_M_TCP_WSCALE] = "tcp.wscale",
		[GATE_M_ITYPE] = "itype",
		[GATE_M_ICODE] = "icode",
		[GATE_M_ICMP_ID] = "icmp_id",
		[GATE_M_ICMP_SEQ] = "icmp_seq",
		[GATE_M_ICMP6_MTU] = "icmpv6.mtu",
		[GATE_M_IGMP_TYPE] = "igmp.type",
		[GATE_M_SCTP_VTAG] = "sctp.vtag",
		[GATE_M_SCTP_CHUNK_TYPE] = "sctp.chunk_type",
		[GATE_M_SCTP_CHUNK_CNT] = "sctp.chunk_cnt",
		[GATE_M_VLAN_ID] = "vlan.id",
		[GATE_M_VLAN_LAYERS] = "vlan.layers",
		[GATE_M_FLOW_AGE] = "flow.age",
	};

	if (m->kind == GATE_M_NUMBER) {
		return gate_number_desc(m->num.number)->name;
	}
	return (size_t)m->kind < BH_ARRAY_SIZE(names) ? names[m->kind] : NULL;
}

static void put_sides(struct bh_wbuf *w, const struct gate_match *m)
{
	static const char *const stream[] = {"server", "client", "both", "either"};
	static const char *const flow[] = {"toserver", "toclient", "both", "either"};

	if (m->kind == GATE_M_STREAM_SIZE) {
		bh_wbuf_printf(w, "stream_size:%s,", stream[m->num.dir]);
		gate_format_split_test(w, &m->num.test);
	} else {
		bh_wbuf_printf(w, "%s:%s,",
			       m->kind == GATE_M_FLOW_PKTS ? "flow.pkts" : "flow.bytes",
			       flow[m->num.dir]);
		gate_format_test(w, &m->num.test);
	}
	bh_wbuf_str(w, "; ");
}

/* Those of packet and flow that are no comparison of one number. */
static void put_packet(struct gate_format *f, const struct gate_match *m)
{
	static const char *const csums[] = {"ipv4",  "tcpv4",  "tcpv6", "udpv4",
					    "udpv6", "icmpv4", "icmpv6"};
	static const char *const modes[] = {"direction", "final",     "original",
					    "either",	 "to_server", "to_client"};
	static const char *const sides[] = {"any", "src", "dst", "both"};
	static const struct {
		uint32_t apps;
		const char *name;
	} names[] = {{1u << GATE_APP_HTTP1, "http1"},
		     {1u << GATE_APP_DOH2, "doh2"},
		     {1u << GATE_APP_FAILED, "failed"},
		     {1u << GATE_APP_UNKNOWN, "unknown"}};
	struct bh_wbuf *w = f->w;
	const char *app;

	switch (m->kind) {
	case GATE_M_IPOPTS:
		bh_wbuf_printf(w, "ipopts:%s; ", m->other.text);
		break;
	case GATE_M_FRAGBITS:
		bh_wbuf_printf(w, "fragbits:%s; ", m->other.text);
		break;
	case GATE_M_ASN1:
		bh_wbuf_printf(w, "asn1:%s; ", m->other.text);
		break;
	case GATE_M_RPC:
		bh_wbuf_printf(w, "rpc:%s; ", m->other.text);
		break;
	case GATE_M_CSUM:
		bh_wbuf_printf(w, "%s-csum:%s; ", csums[m->other.args[0]],
			       m->other.args[1] ? "valid" : "invalid");
		break;
	case GATE_M_DECODE_EVENT:
		bh_wbuf_printf(w, "decode-event:%s; ", gate_event_name(m->event.event));
		break;
	case GATE_M_STREAM_EVENT:
		bh_wbuf_printf(w, "stream-event:%s; ", gate_event_name(m->event.event) + 7);
		break;
	case GATE_M_APP_PROTO:
		app = m->app_proto.app == GATE_APP_HTTP1   ? "http"
		      : m->app_proto.app == GATE_APP_HTTP2 ? "http2"
							   : gate_app_name(m->app_proto.app);
		for (unsigned int i = 0; i < BH_ARRAY_SIZE(names); i++) {
			app = m->app_proto.apps == names[i].apps ? names[i].name : app;
		}
		bh_wbuf_printf(w, "app-layer-protocol:%s%s,%s; ", m->app_proto.negated ? "!" : "",
			       app, modes[m->app_proto.dir]);
		break;
	case GATE_M_FLOWVAR:
		bh_wbuf_printf(w, "%s:%s,", m->textvar.of_flow ? "flowvar" : "pktvar",
			       gate_names_text(f->names, m->textvar.name));
		put_bytes(w, m->textvar.bytes, m->textvar.size);
		bh_wbuf_str(w, "; ");
		break;
	case GATE_M_IPREP:
		bh_wbuf_printf(w, "iprep:%s,%u,", sides[m->iprep.side], m->iprep.category);
		if (m->iprep.unset) {
			bh_wbuf_str(w, "isnotset");
		} else {
			gate_format_split_test(w, &m->iprep.test);
		}
		bh_wbuf_str(w, "; ");
		break;
	default:
		break;
	}
}

static void put_post(struct bh_wbuf *w, const struct gate_match *m)
{
	static const char *const dirs[] = {"", "request", "response", "both"};
	static const char *const scopes[] = {"file", "tx", "flow"};

	switch (m->kind) {
	case GATE_M_TAG:
		bh_wbuf_printf(w, "tag:%s,%u,%s%s; ", m->tag.host ? "host" : "session",
			       m->tag.count,
			       m->tag.packets	? "packets"
			       : m->tag.seconds ? "seconds"
						: "bytes",
			       !m->tag.host ? ""
			       : m->tag.src ? ",src"
					    : ",dst");
		break;
	case GATE_M_FILESTORE:
		bh_wbuf_str(w, "filestore");
		if (m->num.dir) {
			bh_wbuf_printf(w, ":%s,%s", dirs[m->num.dir], scopes[m->num.number]);
		}
		bh_wbuf_str(w, "; ");
		break;
	case GATE_M_CONFIG:
		bh_wbuf_str(w, "config:logging disable, type tx, scope tx; ");
		break;
	case GATE_M_BYPASS:
		bh_wbuf_str(w, "bypass; ");
		break;
	case GATE_M_TLS_STORE:
		bh_wbuf_str(w, "tls.store; ");
		break;
	case GATE_M_SAMEIP:
		bh_wbuf_str(w, "sameip; ");
		break;
	case GATE_M_FTPBOUNCE:
		bh_wbuf_str(w, "ftpbounce; ");
		break;
	default:
		break;
	}
}

static void put_app_event(struct bh_wbuf *w, const struct gate_match *m)
{
	const struct gate_app_ops *ops = gate_app_ops_of(m->event.app);

	if (m->event.app == GATE_APP_UNKNOWN) {
		bh_wbuf_printf(w, "app-layer-event:%s; ",
			       gate_session_event_name((enum gate_session_event)m->event.event));
	} else if (ops && m->event.event < ops->event_count) {
		bh_wbuf_printf(w, "app-layer-event:%s.%s; ",
			       m->event.app == GATE_APP_HTTP1 ? "http" : ops->name,
			       ops->events[m->event.event].name);
	}
}

static void put_bytes_match(struct gate_format *f, const struct gate_match *m)
{
	struct bh_wbuf *w = f->w;

	switch (m->kind) {
	case GATE_M_ISDATAAT:
		bh_wbuf_str(w, m->isdataat.negated ? "isdataat:!" : "isdataat:");
		put_operand(w, &m->isdataat.offset);
		bh_wbuf_str(w, m->isdataat.relative ? ",relative; " : "; ");
		break;
	case GATE_M_BASE64_DECODE:
		bh_wbuf_printf(w, "base64_decode:offset %u%s", m->base64.offset,
			       m->base64.relative ? ", relative" : "");
		if (m->base64.bytes) {
			bh_wbuf_printf(w, ", bytes %u", m->base64.bytes);
		}
		bh_wbuf_str(w, "; ");
		break;
	case GATE_M_ENTROPY:
		gate_format_entropy(w, &m->entropy);
		break;
	case GATE_M_ABSENT:
		bh_wbuf_str(w, m->other.args[0] ? "absent:or_else; " : "absent; ");
		break;
	default:
		break;
	}
}

void gate_format_match(struct gate_format *f, const struct gate_match *m)
{
	const char *name = test_name(m);

	if (m->kind == GATE_M_NUMBER && m->num.number == GATE_NUM_TLS_CERT_EXPIRED) {
		bh_wbuf_str(f->w, m->num.test.a ? "tls_cert_expired; " : "tls_cert_valid; ");
		return;
	}
	if (name) {
		bh_wbuf_printf(f->w, "%s:", name);
		if (m->kind == GATE_M_NUMBER || m->kind == GATE_M_VLAN_ID) {
			gate_format_number(f->w, m);
		} else {
			gate_format_test(f->w, &m->num.test);
		}
		bh_wbuf_str(f->w, "; ");
		return;
	}
	switch (m->kind) {
	case GATE_M_CONTENT:
		put_content(f->w, &m->content);
		break;
	case GATE_M_PCRE:
		put_pcre(f->w, &m->pcre);
		break;
	case GATE_M_BYTE_TEST:
	case GATE_M_BYTE_JUMP:
	case GATE_M_BYTE_EXTRACT:
		put_byte(f->w, m);
		break;
	case GATE_M_BYTE_MATH:
		put_byte_math(f->w, &m->byte);
		break;
	case GATE_M_DATASET:
		put_dataset(f->w, &m->dataset);
		break;
	case GATE_M_FLOWBITS:
		put_bits(f, &m->bits);
		break;
	case GATE_M_FLOWINT:
		put_flowint(f, &m->flowint);
		break;
	case GATE_M_FILE:
		put_file(f->w, &m->file);
		break;
	case GATE_M_DCE_IFACE:
	case GATE_M_DCE_OPNUM:
		put_dce(f->w, m);
		break;
	case GATE_M_TCP_FLAGS:
		put_tcp_flags(f->w, m);
		break;
	case GATE_M_STREAM_SIZE:
	case GATE_M_FLOW_PKTS:
	case GATE_M_FLOW_BYTES:
		put_sides(f->w, m);
		break;
	case GATE_M_APP_EVENT:
		put_app_event(f->w, m);
		break;
	default:
		put_bytes_match(f, m);
		put_packet(f, m);
		put_post(f->w, m);
		break;
	}
}
