/* SPDX-License-Identifier: Apache-2.0 */
/* A rule in one normal spelling: header, flow, lists, what asks of packet and transaction, what is
 * set, and what is only text. Keywords of match kinds: format_match.c. */
#include "base/buf.h"
#include "gate/app/app.h"
#include "gate/rules/format.h"

#include <arpa/inet.h>

static const char *action_name(uint8_t action)
{
	switch (action) {
	case GATE_PASS:
		return "pass";
	case GATE_DROP:
		return "drop";
	case GATE_REJECT:
		return "reject";
	case GATE_REJECT_DST:
		return "rejectdst";
	case GATE_REJECT_BOTH:
		return "rejectboth";
	default:
		return "alert";
	}
}

static const char *proto_name(const struct gate_rule *rule)
{
	static const char *const names[] = {
		"ip",	  "ipv4",   "ipv6", "tcp",  "tcp-pkt", "tcp-stream", "udp", "icmp",
		"icmpv4", "icmpv6", "igmp", "sctp", "pkthdr",  "ether",	     "arp",
	};
	return rule->proto == GATE_RULE_APP ? gate_app_name(rule->app) : names[rule->proto];
}

/* What the header said: http for all of its versions, http1 for one. */
static const char *app_word(const struct gate_rule *rule)
{
	if (rule->proto != GATE_RULE_APP) {
		return proto_name(rule);
	}
	switch (rule->app) {
	case GATE_APP_HTTP1:
		return rule->apps == 1u << GATE_APP_HTTP1 ? "http1" : "http";
	case GATE_APP_HTTP2:
		return "http2";
	case GATE_APP_DOH2:
		return "doh2";
	default:
		return proto_name(rule);
	}
}

/* When it is asked, if the header says so. */
static void put_hook(const struct gate_rule *rule, struct bh_wbuf *w)
{
	bh_vec_foreach (m, &rule->packet) {
		if (m->kind == GATE_M_HOOK) {
			bh_wbuf_printf(w, ":%s", m->other.text);
		}
	}
	bh_vec_foreach (m, &rule->tx) {
		if (m->kind == GATE_M_STATE) {
			bh_wbuf_printf(w, ":%s", m->other.text);
		}
	}
}

static void put_addr(struct bh_wbuf *w, const struct gate_addr *addr)
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
	char text[INET6_ADDRSTRLEN] = "";

	if (!memcmp(addr->bytes, v4, sizeof(v4))) {
		inet_ntop(AF_INET, &addr->bytes[12], text, sizeof(text));
	} else {
		inet_ntop(AF_INET6, addr->bytes, text, sizeof(text));
	}
	bh_wbuf_str(w, text);
}

/* An address that the set does not have: one past the end of a range, or the first of all. */
static struct gate_addr outside_of(const struct gate_addr_set *set)
{
	struct gate_addr addr = {};

	for (size_t i = 0; i < set->in.count && gate_addr_set_has(set, &addr); i++) {
		addr = set->in.items[i].last;
		for (int at = 15; at >= 0 && !++addr.bytes[at]; at--) {
		}
	}
	return addr;
}

static void put_addrs(struct bh_wbuf *w, const struct gate_addr_set *set)
{
	if (set->any) {
		bh_wbuf_str(w, "any");
		return;
	}
	for (size_t i = 0; i < set->in.count; i++) {
		bh_wbuf_str(w, i ? "," : "[");
		put_addr(w, &set->in.items[i].first);
		bh_wbuf_str(w, "-");
		put_addr(w, &set->in.items[i].last);
	}
	/* What is not in it anyway: that there is a negation counts (GATE_RULE_LIKE_IP_ONLY). */
	if (set->negated) {
		struct gate_addr outside = outside_of(set);

		bh_wbuf_str(w, ",!");
		put_addr(w, &outside);
	}
	bh_wbuf_str(w, "]");
}

static void put_ports(struct bh_wbuf *w, const struct gate_port_set *set)
{
	if (set->any) {
		bh_wbuf_str(w, "any");
		return;
	}
	for (size_t i = 0; i < set->in.count; i++) {
		bh_wbuf_printf(w, "%s%u:%u", i ? "," : "[", set->in.items[i].first,
			       set->in.items[i].last);
	}
	bh_wbuf_str(w, "]");
}

void gate_format_escaped(struct bh_wbuf *w, const char *text)
{
	for (; *text; text++) {
		if (strchr("\";:\\", *text)) {
			bh_wbuf_u8(w, '\\');
		}
		bh_wbuf_u8(w, (uint8_t)*text);
	}
}

static void put_flow(const struct gate_rule *rule, struct bh_wbuf *w)
{
	static const char *const words[] = {"to_server",       "to_client", "established",
					    "not_established", "stateless", "only_stream",
					    "no_stream",       "only_frag", "no_frag"};
	const char *before = "flow:";

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(words); i++) {
		if (rule->flow_opts & 1u << i) {
			bh_wbuf_printf(w, "%s%s", before, words[i]);
			before = ",";
		}
	}
	if (rule->flow_opts) {
		bh_wbuf_str(w, "; ");
	}
}

static void put_list(struct gate_format *f, const struct gate_rule_list *list, bool first)
{
	if (list->buffer == GATE_BUF_FTPDATA_COMMAND) {
		bh_wbuf_printf(f->w, "ftpdata_command:%.4s; ",
			       (const char *)list->matches.items[0].content.bytes);
		return;
	}
	if (list->buffer != GATE_BUF_PAYLOAD) {
		bh_wbuf_printf(f->w, "%s; ", gate_buffer_desc(list->buffer)->name);
	} else if (!first) {
		bh_wbuf_str(f->w, "pkt_data; ");
	}
	bh_vec_foreach (transform, &list->transforms) {
		gate_format_transform(f, transform);
	}
	bh_vec_foreach (m, &list->matches) {
		gate_format_match(f, m);
		if (m->kind == GATE_M_BASE64_DECODE && f->rule->base64_data.count) {
			bh_wbuf_str(f->w, "base64_data; ");
			bh_vec_foreach (decoded, &f->rule->base64_data) {
				gate_format_match(f, decoded);
			}
		}
	}
}

static void put_threshold(const struct gate_rule *rule, struct bh_wbuf *w)
{
	static const char *const types[] = {[GATE_TH_LIMIT] = "limit",
					    [GATE_TH_THRESHOLD] = "threshold",
					    [GATE_TH_BOTH] = "both",
					    [GATE_TH_BACKOFF] = "backoff"};
	static const char *const tracks[] = {"",	"by_src",  "by_dst",
					     "by_both", "by_rule", "by_flow"};
	const struct gate_threshold *t = &rule->threshold;

	if (t->type == GATE_TH_NONE) {
		return;
	}
	if (t->type == GATE_TH_DETECTION) {
		bh_wbuf_str(w, "detection_filter:");
	} else {
		bh_wbuf_printf(w, "threshold:type %s, ", types[t->type]);
	}
	bh_wbuf_printf(w, "track %s, count %u", tracks[t->track], t->count);
	if (t->seconds) {
		bh_wbuf_printf(w, ", seconds %u", t->seconds);
	}
	if (t->multiplier) {
		bh_wbuf_printf(w, ", multiplier %u", t->multiplier);
	}
	if (t->unique) {
		bh_wbuf_printf(w, ", unique_on %s", t->unique == 1 ? "src_port" : "dst_port");
	}
	bh_wbuf_str(w, "; ");
}

static void put_about(const struct gate_rule *rule, struct bh_wbuf *w)
{
	put_threshold(rule, w);
	if (rule->flags & GATE_RULE_NOALERT) {
		bh_wbuf_str(w, "noalert; ");
	}
	if (rule->flags & GATE_RULE_ALERT) {
		bh_wbuf_str(w, "alert; ");
	}
	if (rule->flags & GATE_RULE_PREFILTER) {
		bh_wbuf_str(w, "prefilter; ");
	}
	if (rule->flags & (GATE_RULE_TARGET_SRC | GATE_RULE_TARGET_DST)) {
		bh_wbuf_printf(w, "target:%s; ",
			       rule->flags & GATE_RULE_TARGET_SRC ? "src_ip" : "dest_ip");
	}
	bh_vec_foreach (reference, &rule->references) {
		bh_wbuf_printf(w, "reference:%s,%s; ", reference->key, reference->value);
	}
	if (rule->metadata.count) {
		for (size_t i = 0; i < rule->metadata.count; i++) {
			bh_wbuf_printf(w, "%s%s %s",
				       i ? ", " : "metadata:", rule->metadata.items[i].key,
				       rule->metadata.items[i].value);
		}
		bh_wbuf_str(w, "; ");
	}
	if (rule->classtype) {
		bh_wbuf_printf(w, "classtype:%s; ", rule->classtype);
	}
	bh_wbuf_printf(w, "priority:%u; gid:%u; sid:%u; rev:%u;", rule->priority, rule->gid,
		       rule->sid, rule->rev);
}

void gate_rule_format(const struct gate_rule *rule, struct gate_names *names, struct bh_wbuf *w)
{
	struct gate_format f = {.rule = rule, .names = names, .w = w};

	bh_wbuf_printf(w, "%s %s", action_name(rule->action), app_word(rule));
	put_hook(rule, w);
	bh_wbuf_str(w, " ");
	put_addrs(w, rule->src);
	bh_wbuf_str(w, " ");
	put_ports(w, rule->sport);
	bh_wbuf_str(w, rule->flags & GATE_RULE_BIDIRECTIONAL ? " <> "
		       : rule->flags & GATE_RULE_BOTH_SIDES  ? " => "
							     : " -> ");
	put_addrs(w, rule->dst);
	bh_wbuf_str(w, " ");
	put_ports(w, rule->dport);
	bh_wbuf_str(w, " (");
	if (rule->msg) {
		bh_wbuf_str(w, "msg:\"");
		gate_format_escaped(w, rule->msg);
		bh_wbuf_str(w, "\"; ");
	}
	put_flow(rule, w);
	bh_vec_foreach (m, &rule->packet) {
		gate_format_match(&f, m);
	}
	bh_vec_foreach (list, &rule->lists) {
		put_list(&f, list, list == rule->lists.items);
	}
	bh_vec_foreach (m, &rule->tx) {
		gate_format_match(&f, m);
	}
	bh_vec_foreach (m, &rule->post) {
		gate_format_match(&f, m);
	}
	put_about(rule, w);
	bh_wbuf_str(w, ")");
}
