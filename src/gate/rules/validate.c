/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks of a whole rule whether it can be true at all, and derives what follows from it: protocols,
 * directions, whether addresses alone decide. What can't be true is refused, as Suricata does.
 */
#include "gate/app/app.h"
#include "gate/rules/reading.h"

#include <ctype.h>

#define PLACE                                                                                      \
	(GATE_CONTENT_OFFSET | GATE_CONTENT_DEPTH | GATE_CONTENT_DISTANCE | GATE_CONTENT_WITHIN)

static const char *list_name(const struct gate_rule_list *list)
{
	return list->buffer == GATE_BUF_PAYLOAD ? "the payload"
						: gate_buffer_desc(list->buffer)->name;
}

/* The most that a comparison lets a size be; UINT64_MAX without bound. */
static uint64_t most(const struct gate_test *test)
{
	switch (test->op) {
	case GATE_EQ:
	case GATE_LE:
		return test->a;
	case GATE_LT:
		return test->a - 1;
	case GATE_RANGE:
		return test->b - 1;
	default:
		return UINT64_MAX;
	}
}

/* Where the buffer of a list is named. */
static size_t place_of(const struct gate_reading *r, const struct gate_rule_list *list)
{
	return r->list_at.items[list - r->rule->lists.items];
}

/* Contents that don't fit into what the sizes allow. */
static int check_room(struct gate_reading *r, const struct gate_rule_list *list, uint64_t room,
		      const char *by)
{
	bh_vec_foreach (m, &list->matches) {
		const struct gate_content *c = &m->content;
		uint64_t need;

		if (m->kind != GATE_M_CONTENT || (c->flags & GATE_CONTENT_NEGATED)) {
			continue;
		}
		need = c->size;
		if ((c->flags & GATE_CONTENT_OFFSET) && !c->offset.is_var) {
			need += (uint64_t)c->offset.value;
		}
		if (need > room) {
			return gate_refuse_at(r, place_of(r, list),
					      "a content of %s ends at %llu at the earliest, "
					      "%s allows %llu",
					      list_name(list), (unsigned long long)need, by,
					      (unsigned long long)room);
		}
	}
	return 0;
}

/* Letters that the buffer never has: what is compared there is known to be of one case. */
static void fold(struct gate_content *c, bool lower)
{
	for (unsigned int i = 0; i < c->size; i++) {
		c->bytes[i] = (uint8_t)(lower ? tolower(c->bytes[i]) : toupper(c->bytes[i]));
	}
}

static int check_content(struct gate_reading *r, const struct gate_rule_list *list,
			 struct gate_content *c, unsigned int *fast)
{
	*fast += (c->flags & GATE_CONTENT_FAST) != 0;
	if ((c->flags & GATE_CONTENT_FAST) && (c->flags & GATE_CONTENT_NEGATED) &&
	    (c->flags & PLACE)) {
		return gate_refuse_at(r, r->fast_at,
				      "fast_pattern: not for a negated content with a place");
	}
	if ((c->flags & GATE_CONTENT_REPLACE) && list && list->buffer != GATE_BUF_PAYLOAD) {
		return gate_refuse_at(r, place_of(r, list),
				      "replace: only what is in the payload is replaced");
	}
	if (!list || list->transforms.count) {
		return 0;
	}
	switch (list->buffer) {
	case GATE_BUF_JA3_HASH:
	case GATE_BUF_JA3S_HASH:
	case GATE_BUF_TLS_CERT_FINGERPRINT:
		fold(c, true);
		break;
	case GATE_BUF_TLS_CERT_SERIAL:
		fold(c, false);
		break;
	case GATE_BUF_HTTP_HOST:
		for (unsigned int i = 0; i < c->size && !(c->flags & GATE_CONTENT_NOCASE); i++) {
			if (isupper(c->bytes[i])) {
				return gate_refuse_at(r, place_of(r, list),
						      "http.host is in lower case; an upper "
						      "case letter never matches");
			}
		}
		break;
	default:
		break;
	}
	return 0;
}

static int check_list(struct gate_reading *r, struct gate_rule_list *list, unsigned int *fast)
{
	bool app = list->buffer != GATE_BUF_PAYLOAD &&
		   !(gate_buffer_desc(list->buffer)->flags & GATE_BUFFER_PACKET);
	int err = 0;

	if (!list->matches.count) {
		return gate_refuse_at(r, place_of(r, list), "nothing is asked of %s",
				      list_name(list));
	}
	if (app && r->needs_packet) {
		return gate_refuse_at(r, r->needs_packet_at,
				      "%s is about one packet and %s about what many carry",
				      r->needs_packet, list_name(list));
	}
	bh_vec_foreach (m, &list->matches) {
		if (m->kind == GATE_M_CONTENT) {
			err = check_content(r, list, &m->content, fast);
		} else if (m->kind == GATE_M_BSIZE) {
			err = check_room(r, list, most(&m->num.test), "its size");
		} else if (m->kind == GATE_M_ABSENT && !m->other.args[0] &&
			   list->matches.count > 1) {
			err = gate_refuse_at(r, place_of(r, list),
					     "absent: %s can't be absent and match",
					     list_name(list));
		}
		if (err) {
			return err;
		}
	}
	if (list->buffer == GATE_BUF_PAYLOAD) {
		bh_vec_foreach (m, &r->rule->packet) {
			err = m->kind == GATE_M_DSIZE && !err
				      ? check_room(r, list, most(&m->num.test), "dsize")
				      : err;
		}
	}
	return err;
}

static int check_lists(struct gate_reading *r)
{
	unsigned int fast = 0;
	int err = 0;

	if (r->transforms.count) {
		return gate_refuse_at(r, r->list_at.items[r->list],
				      "nothing uses the last transforms");
	}
	if (r->list >= 0 && !r->rule->lists.items[r->list].matches.count) {
		return gate_refuse_at(r, r->list_at.items[r->list], "nothing is asked of %s",
				      list_name(&r->rule->lists.items[r->list]));
	}
	gate_lists_compact(r);
	bh_vec_foreach (list, &r->rule->lists) {
		err = err ? err : check_list(r, list, &fast);
	}
	bh_vec_foreach (m, &r->rule->base64_data) {
		if (!err && m->kind == GATE_M_CONTENT) {
			err = check_content(r, NULL, &m->content, &fast);
		}
	}
	if (!err && fast > 1) {
		err = gate_refuse_at(r, r->fast_at,
				     "fast_pattern stands at %u contents, one is possible", fast);
	}
	return err;
}

/* A rule on frames is about one kind of them, and about no transaction. */
static int check_frames(struct gate_reading *r)
{
	const struct gate_rule *rule = r->rule;
	enum gate_buffer kind = rule->lists.count ? rule->lists.items[0].buffer : GATE_BUF_PAYLOAD;
	bool frames = false;

	bh_vec_foreach (list, &rule->lists) {
		frames = frames || gate_buffer_desc(list->buffer)->flags & GATE_BUFFER_FRAME;
	}
	if (!frames) {
		return 0;
	}
	bh_vec_foreach (list, &rule->lists) {
		if (list->buffer != kind) {
			return gate_refuse_at(r, place_of(r, list),
					      "a frame goes with no other frame or buffer");
		}
	}
	if (rule->tx.count || rule->flags & GATE_RULE_BOTH_SIDES) {
		return gate_refuse_at(r, place_of(r, &rule->lists.items[0]),
				      "a frame goes with nothing that is asked of transactions");
	}
	return 0;
}

/* ---- protocols ---- */

static int narrow(struct gate_reading *r, uint32_t apps, const char *by, size_t at)
{
	if (!apps) {
		return 0;
	}
	/* DNS over HTTPS is both */
	if (apps & (1u << GATE_APP_HTTP2 | 1u << GATE_APP_DNS)) {
		apps |= 1u << GATE_APP_DOH2;
	}
	/* .. but only a rule that says so is about both */
	if (r->rule->apps &&
	    (!(r->rule->apps & apps) ||
	     ((r->rule->apps & apps) == 1u << GATE_APP_DOH2 && r->rule->app != GATE_APP_DOH2))) {
		return gate_refuse_at(r, at, "%s is of another protocol than what is before it",
				      by);
	}
	r->rule->apps = r->rule->apps ? r->rule->apps & apps : apps;
	return 0;
}

static int check_apps(struct gate_reading *r)
{
	struct gate_rule *rule = r->rule;
	uint32_t header = rule->apps;
	int err;

	err = narrow(r, r->apps_wanted, "a keyword", 0);
	bh_vec_foreach (list, &rule->lists) {
		if (!err && list->buffer != GATE_BUF_PAYLOAD) {
			err = narrow(r, gate_buffer_desc(list->buffer)->apps, list_name(list),
				     place_of(r, list));
		}
	}
	bh_vec_foreach (m, &rule->tx) {
		if (!err && m->kind == GATE_M_NUMBER) {
			const struct gate_buffer_desc *d = gate_number_desc(m->num.number);

			err = narrow(r, d->apps, d->name, 0);
		} else if (!err && m->kind == GATE_M_FILE) {
			err = narrow(r, gate_buffer_desc(GATE_BUF_FILE_NAME)->apps, "a file", 0);
		}
	}
	if (err) {
		return err;
	}
	if (rule->apps && rule->app == GATE_APP_UNKNOWN) {
		rule->app = (enum gate_app)__builtin_ctz(rule->apps);
	}
	switch (rule->proto) {
	case GATE_RULE_ICMP:
	case GATE_RULE_ICMPV4:
	case GATE_RULE_ICMPV6:
	case GATE_RULE_IGMP:
	case GATE_RULE_PKTHDR:
	case GATE_RULE_ETHER:
	case GATE_RULE_ARP:
		return rule->apps && !header
			       ? gate_refuse_at(r, 0,
						"the protocol of the header carries no "
						"transactions")
			       : 0;
	default:
		return 0;
	}
}

/* ---- directions ---- */

struct sides {
	uint8_t dirs;	  /* that are left */
	const char *name; /* who took the other one */
};

static int take_side(struct gate_reading *r, struct sides *s, const struct gate_buffer_desc *d,
		     size_t at)
{
	if (!(s->dirs & d->dirs)) {
		return gate_refuse_at(r, at, "%s is of one direction and %s of the other", s->name,
				      d->name);
	}
	if ((s->dirs & d->dirs) != s->dirs) {
		s->name = d->name;
	}
	s->dirs &= d->dirs;
	return 0;
}

static int check_dirs(struct gate_reading *r)
{
	struct gate_rule *rule = r->rule;
	struct sides s = {.dirs = GATE_BOTH_DIRS, .name = "flow"};
	int err = 0;

	if (rule->flow_opts & GATE_FLOWOPT_TO_SERVER) {
		s.dirs = GATE_DIR_BIT(GATE_TO_SERVER);
	} else if (rule->flow_opts & GATE_FLOWOPT_TO_CLIENT) {
		s.dirs = GATE_DIR_BIT(GATE_TO_CLIENT);
	}
	if (rule->flags & GATE_RULE_BOTH_SIDES) {
		if (s.dirs != GATE_BOTH_DIRS) {
			return gate_refuse_at(r, 0, "=> is about both directions, flow about one");
		}
		if (!rule->apps) {
			return gate_refuse_at(r, 0, "=> is about transactions; there is none");
		}
		rule->dirs = GATE_BOTH_DIRS;
		return 0;
	}
	bh_vec_foreach (list, &rule->lists) {
		if (!err && list->buffer != GATE_BUF_PAYLOAD) {
			err = take_side(r, &s, gate_buffer_desc(list->buffer), place_of(r, list));
		}
	}
	bh_vec_foreach (m, &rule->tx) {
		if (!err && m->kind == GATE_M_NUMBER) {
			err = take_side(r, &s, gate_number_desc(m->num.number), 0);
		} else if (!err && m->kind == GATE_M_STATE) {
			const struct gate_buffer_desc state = {.name = m->other.text,
							       .dirs = (uint8_t)m->other.args[0]};

			err = take_side(r, &s, &state, 0);
		}
	}
	rule->dirs = s.dirs;
	return err;
}

/* ---- addresses only ---- */

/* Marks of a flow are another thing with each packet; those of hosts are asked when the flow
 * begins. */
static bool marks_flow(const struct gate_match *m)
{
	return m->kind == GATE_M_FLOWBITS &&
	       (m->bits.track == GATE_BITS_FLOW || m->bits.track == GATE_BITS_TX);
}

static bool sets_once(const struct gate_match *m)
{
	switch (m->kind) {
	case GATE_M_FLOWBITS:
		return !marks_flow(m) || m->bits.cmd == GATE_BITS_SET;
	case GATE_M_TAG:
		return true;
	default:
		return false;
	}
}

/* Addresses, ports and protocol are all it asks for, as Suricata's SIG_TYPE_IPONLY: they are the
 * same for all packets of a side. */
static bool is_ip_only(const struct gate_rule *rule)
{
	if (rule->proto > GATE_RULE_SCTP || rule->lists.count || rule->tx.count ||
	    rule->flow_opts || rule->apps) {
		return false;
	}
	bh_vec_foreach (m, &rule->packet) {
		if (m->kind != GATE_M_IPREP && (m->kind != GATE_M_FLOWBITS || marks_flow(m))) {
			return false;
		}
	}
	bh_vec_foreach (m, &rule->post) {
		if (!sets_once(m)) {
			return false;
		}
	}
	return true;
}

/* `filestore` that asks for nothing else of what is carried asks for a file. */
static int ask_for_file(struct gate_reading *r)
{
	struct gate_rule *rule = r->rule;
	struct gate_match *match;

	bh_vec_foreach (post, &rule->post) {
		if (post->kind == GATE_M_FILESTORE && !rule->tx.count && !rule->lists.count) {
			match = gate_tx_match(r, GATE_M_FILE);
			if (!match) {
				return -EINVAL;
			}
			match->file.what = GATE_FM_ANY;
			return 0;
		}
	}
	return 0;
}

static bool is_about_tx(const struct gate_rule *rule)
{
	bh_vec_foreach (list, &rule->lists) {
		const struct gate_buffer_desc *d = gate_buffer_desc(list->buffer);

		if (list->buffer != GATE_BUF_PAYLOAD && d->apps &&
		    !(d->flags & GATE_BUFFER_FRAME)) {
			return true;
		}
	}
	return rule->tx.count > 0;
}

static int check_config(struct gate_reading *r)
{
	bh_vec_foreach (post, &r->rule->post) {
		if (post->kind == GATE_M_CONFIG && !is_about_tx(r->rule)) {
			return gate_refuse_at(r, 0,
					      "config: nothing here is about a transaction, whose "
					      "record could be left out");
		}
	}
	return 0;
}

int gate_rule_validate(struct gate_reading *r)
{
	struct gate_rule *rule = r->rule;
	int err;

	if (!r->has_sid) {
		return gate_refuse_at(r, 0, "sid is missing");
	}
	err = check_lists(r);
	err = err ? err : ask_for_file(r);
	err = err ? err : check_frames(r);
	err = err ? err : check_config(r);
	err = err ? err : check_apps(r);
	err = err ? err : check_dirs(r);
	if (err) {
		return err;
	}
	if (r->needs_packet &&
	    (rule->proto == GATE_RULE_TCP_STREAM || (rule->flow_opts & GATE_FLOWOPT_ONLY_STREAM))) {
		return gate_refuse_at(r, r->needs_packet_at,
				      "%s is about one packet, the rule about streams",
				      r->needs_packet);
	}
	/* both ends the same: one direction says it all */
	if (rule->src == rule->dst && rule->sport == rule->dport) {
		rule->flags &= (uint16_t)~GATE_RULE_BIDIRECTIONAL;
	}
	if (is_ip_only(rule)) {
		rule->flags |= rule->src->negated || rule->dst->negated ? GATE_RULE_LIKE_IP_ONLY
									: GATE_RULE_IP_ONLY;
	}
	return 0;
}
